"""What is measured at every saved point, for each layer: by every observable of the family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError, SaddleryError, require
from ..basis.echo import Words, said
from ..basis.families import Family
from ..units import Unit
from .network import Network, Shape, places_of_units

SHOWN = 12  # singular values kept
SMALL, TINY = (
    1e-200,
    np.finfo(float).tiny,
)  # a sum of squares whose rounding would underflow; the least normal number


@dataclass(frozen=True, eq=False)
class Observable:
    """A measure of the weights of one layer.

    name: of the arrays, with the number of the layer behind it. function: (u (T, H, U), v (T, H,
    V)) of T states of H units -> (T, ...), in NumPy. of: whether units of a kind have it, None for
    all of them. in_span: whether it stays the same where H units linear in u are written as fewer
    (see `spans`), in which it costs less.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks.observables import Observable
    >>> Observable("largest_weight", lambda u, v: np.abs(u).max(axis=(1, 2)))
    Observable(largest_weight)
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of: Callable[[Unit], bool] | None = None
    in_span: bool = False

    def __repr__(self) -> str:
        return f"Observable({self.name})"

    def __call__(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The measure of T states. Raises InputError where the function does, or gives no array
        (T, ...) of numbers."""
        name = f"observable {self.name!r}"
        try:
            found = np.asarray(self.function(u, v))
        except (SaddleryError, MemoryError):
            raise
        except Exception as error:
            raise InputError(
                f"{name} could not be measured: {type(error).__name__}: {said(error)}"
            ) from error
        fit = found.ndim > 0 and len(found) == len(u) and found.dtype.kind in "fiub"
        words = Words(f"{found.dtype} of shape {found.shape}")
        require(fit, name, f"an array of numbers, one row for each of {len(u)} states", words)
        return found.astype(float)


OBSERVABLES: Family[Observable] = Family("observable")


def register(observable: Observable) -> Observable:
    """Have every run measure one's own observable too; returns it. Raises InputError for a name
    that is taken or is no word."""
    name = observable.name
    require(name.isidentifier(), "the name of an observable", "a word, as in Python", name)
    return OBSERVABLES.add(name, observable)


def observe(
    network: Network,
    shape: Shape,
    outputs: int,
    states: Float[np.ndarray, "T P"],
    wanted: Iterable[Observable] | None = None,
) -> Mapping[str, np.ndarray]:
    """The observables of T states for each layer k, in float64: "unit_norms_k" (T, H),
    "alignment_k" (T,), "singular_values_k" (T, at most 12), or "product_singular_values_k" in its
    place, and those that were registered.

    unit_norms: |u_i| |v_i|. alignment: largest share of the squared incoming weights in one
    direction, s_1^2 / sum s^2 of the matrix u (H, U): 1 when all units lie on one line, 0 where all
    are zero. singular_values: of the weights [u, v] side by side (H, U + V); for units linear in u
    those of sum_i v_i u_i', the product. wanted: which of them; None for all. What is made of
    weights that are not finite is NaN, and so is what overflows. Raises InputError where one of
    one's own cannot be measured. Cost: a singular value decomposition and the eigenvalues of a Gram
    matrix a layer and state.
    """
    chosen = tuple(OBSERVABLES.values() if wanted is None else wanted)
    states = np.asarray(states, float)
    found: dict[str, np.ndarray] = {}
    for k, (layer, sides) in enumerate(
        zip(network.layers, places_of_units(network, shape, outputs), strict=True)
    ):
        u, v = (states[:, where].reshape(len(states), *shape) for where, shape in sides)
        for one in chosen:
            if one.of is None or one.of(layer.unit):
                found[f"{one.name}_{k}"] = one(u, v)
    return found


def unit_norms(
    u: Float[np.ndarray, "T H U"], v: Float[np.ndarray, "T H V"]
) -> Float[np.ndarray, "T H"]:
    """|u_i| |v_i|."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = [np.einsum("thi,thi->th", side, side) for side in (u, v)]
        norms = np.sqrt(squares[0]) * np.sqrt(squares[1])
    return np.where(np.isfinite(norms), norms, np.nan)


def alignment(u: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, " T"]:
    """s_1^2 / sum s^2 of each matrix; the largest eigenvalue of a Gram matrix is as exact as
    s_1."""
    gram, total = _gram(u)
    fit = np.ones(len(u), bool)
    if not np.all(
        (total > SMALL) & (total < 1 / SMALL)
    ):  # squares that underflow or overflow, or are not finite
        largest = np.abs(u).max(axis=(1, 2), initial=0.0)
        fit = np.isfinite(largest)
        scale = np.where(fit, np.maximum(largest, TINY), 1.0)
        gram, total = _gram(np.where(fit[:, None, None], u, 0.0) / scale[:, None, None])
    return np.where(fit, np.linalg.eigvalsh(gram)[:, -1] / np.where(total > 0, total, 1.0), np.nan)


def singular_values(matrices: Float[np.ndarray, "T M N"]) -> Float[np.ndarray, "T K"]:
    """At most 12, in falling order."""
    fit = np.all(np.isfinite(matrices), axis=(1, 2))
    values = np.linalg.svd(np.where(fit[:, None, None], matrices, 0.0), compute_uv=False)[:, :SHOWN]
    return np.where(fit[:, None] & np.isfinite(values), values, np.nan)


def _gram(
    u: Float[np.ndarray, "T H U"],
) -> tuple[Float[np.ndarray, "T N N"], Float[np.ndarray, " T"]]:
    """The Gram matrices on the shorter side and their traces."""
    across = u.swapaxes(1, 2)
    gram = _product(u, across) if u.shape[1] < u.shape[2] else _product(across, u)
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


OBSERVABLES.members.update(
    unit_norms=Observable("unit_norms", unit_norms),
    alignment=Observable("alignment", _alignment, in_span=True),
    product_singular_values=Observable(
        "product_singular_values", _of_product, of=_is_linear, in_span=True
    ),
    singular_values=Observable(
        "singular_values", _of_both_sides, of=lambda unit: not _is_linear(unit), in_span=True
    ),
)
