"""What is measured at every saved point, for each layer: by every observable of
the family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError, SaddleryError, require
from ..basis.echo import Words, said
from ..basis.families import Family
from ..basis.sizes import powers_apart
from ..units import Unit
from .network import Network, Place, Shape, places_of_units

# At most so many singular values are kept.
SHOWN = 12
# A sum of squares not between SMALL and 1/SMALL is formed of scaled numbers, since its
# rounding would underflow; TINY is the least normal number.
SMALL, TINY = 1e-200, np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Observable:
    """A measure of the weights of one layer.

    name: of the arrays, with the number of the layer behind it.
    function: (u, v) -> (T, ...) in NumPy, of T states of H units, u (T, H, U) and
        v (T, H, V).
    of: whether units of a kind have it, None for all of them.
    in_span: whether it stays the same where H units linear in u are written as
        fewer (see `spans`), in which it costs less.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks.observables import Observable
    >>> largest = Observable("largest_weight", lambda u, v: np.abs(u).max(axis=(1, 2)))
    >>> largest(np.array([[[1.0, -3.0]], [[2.0, 0.0]]]), np.ones((2, 1, 1))).tolist()
    [3.0, 2.0]
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of: Callable[[Unit], bool] | None = None
    in_span: bool = False

    def __repr__(self) -> str:
        return f"Observable({self.name})"

    def __call__(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The measure (T, ...) of T states. Raises InputError where the function
        does, or gives no such array of numbers."""
        name = f"observable {self.name!r}"
        try:
            found = np.asarray(self.function(u, v))
        except (SaddleryError, MemoryError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {said(error)}"
            raise InputError(f"{name} could not be measured: {reason}") from error
        a_row_a_state = found.ndim > 0 and len(found) == len(u)
        require(
            a_row_a_state and found.dtype.kind in "fiub",
            name,
            needed=f"an array of numbers, one row for each of {len(u)} states",
            given=Words(f"{found.dtype} of shape {found.shape}"),
        )
        return found.astype(float)


OBSERVABLES: Family[Observable] = Family("observable")


def register(observable: Observable) -> Observable:
    """Have every run measure one's own observable too; returns it.

    Raises InputError for a name that is taken or is no word.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks.observables import Observable, register
    >>> largest = lambda u, v: np.abs(u).max(axis=(1, 2))
    >>> register(Observable("largest_weight", largest))
    Observable(largest_weight)
    """
    name = observable.name
    require(
        name.isidentifier(),
        "the name of an observable",
        needed="a word, as in Python",
        given=name,
    )
    return OBSERVABLES.add(name, observable)


def observe(
    network: Network,
    shape: Shape,
    outputs: int,
    states: Float[np.ndarray, "T P"],
    wanted: Iterable[Observable] | None = None,
) -> Mapping[str, np.ndarray]:
    """The observables of T states for each layer k, in float64, by name:

    - unit_norms_k (T, H): |u_i| |v_i|;
    - alignment_k (T,): the largest share of the squared incoming weights in one
      direction, s_1^2 / sum s^2 of the matrix u (H, U): 1 when all units lie on
      one line, 0 where all are zero;
    - singular_values_k (T, at most 12): of the weights [u, v] side by side
      (H, U + V); for units linear in u, product_singular_values_k in its place,
      those of the product sum_i v_i u_i';
    - those that were registered.

    shape, outputs: of a sample, (D,) for vectors, and O of its target.
    states (T, P): flat vectors.
    wanted: which observables; None for all.

    What is made of weights that are not finite is NaN, and so is what overflows.
    Raises InputError where one of one's own cannot be measured. Cost: a singular
    value decomposition and the eigenvalues of a Gram matrix a layer and state.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.observables import observe
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("relu"), 2),))
    >>> states = np.array([[3.0, 4.0, 1.0, 0.0, 2.0, 5.0]])
    >>> observe(network, (2,), 1, states)["unit_norms_0"].tolist()
    [[10.0, 5.0]]
    """
    chosen = tuple(OBSERVABLES.values() if wanted is None else wanted)
    states = np.asarray(states, float)
    places = places_of_units(network, shape, outputs)
    found: dict[str, np.ndarray] = {}
    for k, (layer, sides) in enumerate(zip(network.layers, places, strict=True)):
        u, v = (_side(states, place) for place in sides)
        for one in chosen:
            if one.of is None or one.of(layer.unit):
                found[f"{one.name}_{k}"] = one(u, v)
    return found


def _side(states: np.ndarray, place: Place) -> np.ndarray:
    """u (T, H, U) or v (T, H, V) of states (T, P)."""
    return states[:, place.numbers].reshape(len(states), *place.shape)


def unit_norms(
    u: Float[np.ndarray, "T H U"],
    v: Float[np.ndarray, "T H V"],
) -> Float[np.ndarray, "T H"]:
    """|u_i| |v_i|; NaN where that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = _lengths(u) * _lengths(v)
    return np.where(np.isfinite(norms), norms, np.nan)


def _lengths(rows: Float[np.ndarray, "T H N"]) -> Float[np.ndarray, "T H"]:
    squares = np.einsum("thi,thi->th", rows, rows)
    lengths = np.sqrt(squares)
    resolved = (squares > SMALL) & (squares < 1 / SMALL)
    if resolved.all():
        return lengths
    even, powers = powers_apart(rows)
    apart = np.sqrt(np.einsum("thi,thi->th", even, even))
    return np.where(resolved, lengths, np.ldexp(apart, powers))


def alignment(u: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, " T"]:
    """s_1^2 / sum s^2 of each matrix u (H, U): 1 where all units lie on one line,
    0 where all are zero, NaN where weights are not finite.

    The largest eigenvalue of a Gram matrix is as exact as s_1, and costs less.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks.observables import alignment
    >>> on_a_line, across = [[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> alignment(np.array([on_a_line, across])).round(6).tolist()
    [1.0, 0.5]
    """
    gram, total = _gram(u)
    fit = np.ones(len(u), bool)
    if not np.all((total > SMALL) & (total < 1 / SMALL)):
        # Squares that underflow or overflow, or are not finite: the share does not
        # depend on the size of u.
        largest = np.abs(u).max(axis=(1, 2), initial=0.0)
        fit = np.isfinite(largest)
        scale = np.where(fit, np.maximum(largest, TINY), 1.0)
        finite = np.where(fit[:, None, None], u, 0.0)
        gram, total = _gram(finite / scale[:, None, None])
    first = np.linalg.eigvalsh(gram).max(axis=1, initial=0.0)
    return np.where(fit, first / np.where(total > 0, total, 1.0), np.nan)


def singular_values(matrices: Float[np.ndarray, "T M N"]) -> Float[np.ndarray, "T K"]:
    """At most 12 of each matrix, in falling order; NaN of one that is not finite."""
    fit = np.all(np.isfinite(matrices), axis=(1, 2))
    finite = np.where(fit[:, None, None], matrices, 0.0)
    values = np.linalg.svd(finite, compute_uv=False)[:, :SHOWN]
    return np.where(fit[:, None] & np.isfinite(values), values, np.nan)


def _gram(
    u: Float[np.ndarray, "T H U"],
) -> tuple[Float[np.ndarray, "T N N"], Float[np.ndarray, " T"]]:
    """The Gram matrices on the shorter side and their traces."""
    across = u.swapaxes(1, 2)
    _, units, numbers = u.shape
    gram = _product(u, across) if units < numbers else _product(across, u)
    return gram, np.trace(gram, axis1=1, axis2=2)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of matrices, which may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return a @ b


def _alignment(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The largest share of the squared incoming weights in one direction."""
    return alignment(u)


def _of_product(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Singular values of sum_i v_i u_i', for units linear in u."""
    return singular_values(_product(v.swapaxes(1, 2), u))


def _of_both_sides(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Singular values of the weights [u, v] side by side, for all other units."""
    return singular_values(np.concatenate([u, v], axis=2))


def _is_linear(unit: Unit) -> bool:
    return unit.symmetry.linear


def _is_not_linear(unit: Unit) -> bool:
    return not unit.symmetry.linear


SHIPPED = (
    Observable("unit_norms", unit_norms),
    Observable("alignment", _alignment, in_span=True),
    Observable(
        "product_singular_values",
        _of_product,
        of=_is_linear,
        in_span=True,
    ),
    Observable(
        "singular_values",
        _of_both_sides,
        of=_is_not_linear,
        in_span=True,
    ),
)
OBSERVABLES.members.update({one.name: one for one in SHIPPED})
