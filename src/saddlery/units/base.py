"""A unit: one neuron, kernel or head, phi(z; u) v, with its declared symmetry."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..basis.checks import InputError, SaddleryError, Words, require
from ..basis.echo import said
from ..basis.precision import precision_context
from ..basis.values import Immutable
from .smoothness import find_jump
from .tensors import Shape, Shapes, check_tensors, is_shape


@dataclass(frozen=True)
class Symmetry:
    """What phi(z; u) is declared to satisfy; each field is verified by `check_symmetry`.

    silent: phi(z; 0) = 0 for every z, so that u = 0 is a silent point u_zero.
    homogeneous: "real" if phi(z; a u) = a phi(z; u) for every real a, "positive" if only for a >=
        0, else None.
    linear: phi(z; u) is linear in u.
    degree: the lowest order p at which phi(z; eps u) does not vanish as eps -> 0; None without a
        silent point.
    parity: "odd" if phi(z; -u) = -phi(z; u), "even" if phi(z; -u) = phi(z; u), else None. Then (-u,
    -v), or (-u, v), is the same unit written otherwise. What is homogeneous over the reals is odd,
    declared or not.

    Source: Zhang, Saxe & Latham (2026), Theorem 1, conditions (ii)-(iv), and Section 5; parity:
    Fukumizu & Amari (2000).
    """

    silent: bool = False
    homogeneous: Literal["real", "positive"] | None = None
    linear: bool = False
    degree: int | None = None
    parity: Literal["odd", "even"] | None = None

    def __post_init__(self) -> None:
        require(
            self.homogeneous in (None, "real", "positive"),
            "homogeneous",
            '"real", "positive" or None',
            self.homogeneous,
        )
        require(
            self.degree is None or self.degree >= 1,
            "degree",
            "a whole number of at least 1, or None",
            self.degree,
        )
        require(
            self.parity in (None, "odd", "even"), "parity", '"odd", "even" or None', self.parity
        )
        if self.homogeneous == "real":
            require(
                self.parity != "even",
                "parity",
                '"odd", since phi(z; -u) = -phi(z; u) over the reals',
                self.parity,
            )
            object.__setattr__(self, "parity", "odd")

    @property
    def flip(self) -> float | None:
        """The sign s with phi(z; -u) = s phi(z; u), so that (-u, s v) is the unit (u, v) again;
        None where there is none."""
        return None if self.parity is None else {"odd": -1.0, "even": 1.0}[self.parity]


@dataclass(frozen=True)
class Lift:
    """phi(z; u) = <coefficients(u), features(z)> for a scalar unit that is polynomial in z.

    `name` says which feature the unit needs, so that a task can state its moments without samples.
    """

    name: str
    features: Callable[[Array], Array]
    coefficients: Callable[[Array], Array]


@dataclass(frozen=True)
class OfFeatures:
    """phi of a lifted unit: <coefficients(u), l> of the features l."""

    coefficients: Callable[[Array], Array]

    def __call__(self, z: Array, u: Array) -> Array:
        return self.coefficients(u) @ z


@dataclass(frozen=True, eq=False)
class Unit(Immutable):
    """One unit of a layer f = g_out(sum_i phi(g_in(x); u_i) v_i); Zhang, Saxe & Latham (2026), eq
    1.

    name: how experiments refer to it, together with `options`.
    phi: (z, u) -> features of shape (*positions, *mixed), for one sample z and one unit u.
    shape: shape of z -> shape of u.
    symmetry: the declarations, see `Symmetry`.
    mixed: how many trailing axes of phi the outgoing weight v contracts.
    extra: trailing entries of u that belong to no input channel (1 for a bias).
    linear_in_input: phi is linear in z as well, so second moments of z are all that training needs.
    lift: for a scalar unit polynomial in z, its feature map; None otherwise.
    smooth: twice differentiable in u; False for ReLU-like units, whose kinks are then looked for at
        every state.
    channels: phi sees z through products z_c u_c, one block of u for each entry c of z's leading
        axis, so that the unit may follow a layer that passes its units on.
    tensors: shape of z -> names and shapes of the tensors that lie in u one after the other, row by
        row (kernel and bias; key and query); None where u is one. `split` takes u apart by them.
    outgoing: shape of z -> names and shapes of the parts that the mixed axes of phi consist of;
        each is contracted by a tensor of its own of v, of that shape and the outputs. None where v
        is one.
    own_matrices: every unit's tensors are matrices of its own, the first axis by all others, as of
        a head. Otherwise units stand side by side in one matrix for each tensor, a unit a column,
        as neurons and kernels do. Rules that act on matrices ask (see `networks.tensors`).
    separable: phi is an entry of u times an entry of z each, and v contracts them: one unit is a
        sum of smaller ones, of an entry of u and its row of v.
    example: a shape of z on which the declarations are checked.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units import Symmetry, Unit
    >>> sine = Unit("sine", lambda z, u: jnp.sin(z @ u), lambda shape: shape, Symmetry(silent=True, degree=1))
    """

    name: str
    phi: Callable[[Array, Array], Array]
    shape: Callable[[Shape], Shape]
    symmetry: Symmetry = Symmetry()
    mixed: int = 0
    extra: int = 0
    linear_in_input: bool = False
    lift: Lift | None = None
    smooth: bool = True
    channels: bool = False
    tensors: Callable[[Shape], Mapping[str, Shape]] | None = None
    outgoing: Callable[[Shape], Mapping[str, Shape]] | None = None
    own_matrices: bool = False
    separable: bool = False
    example: Shape = (3,)
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if debugging():
            check_symmetry(self)

    def __hash__(self) -> int:
        return hash((self.name, self.phi))  # asked for at every call of a compiled program

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        return f"{self.name}({options})"

    def features(self, z: Float[Array, ...], u: Float[Array, "H ..."]) -> Float[Array, "H ..."]:
        """phi(z; u_i) of every unit of a layer, leading axis H."""
        return jax.vmap(self.phi, in_axes=(None, 0))(z, u)

    def lifted(self) -> Unit:
        """The same unit as a function of its lifted features, phi = <coefficients(u), l>."""
        if self.lift is None:
            raise InputError(
                f"unit {self.name!r} is not polynomial in its input; train it on samples instead"
            )
        return _lifted(self)


@functools.cache
def _lifted(unit: Unit) -> Unit:
    """One lifted unit for each unit, so that networks of lifted units compare equal."""
    assert unit.lift is not None
    return replace(
        unit,
        phi=OfFeatures(unit.lift.coefficients),
        lift=None,
        linear_in_input=False,
        channels=False,
        example=(),
    )


@functools.lru_cache(maxsize=1024)
def shapes_of(unit: Unit, z: Shape) -> tuple[Shape, Shape]:
    """The shapes of u and of phi(z; u), for one sample of shape z and one unit.

    Raises InputError where JAX cannot follow phi, as where it is written in numpy, or it gives no
    array of real numbers.
    """
    shape, phi = (f"{what} of unit {unit.name!r}" for what in ("shape", "phi"))
    u = _answer(lambda: unit.shape(z), shape, f"a function of the shape {z} of its input")
    require(is_shape(u), shape, "a function that gives a tuple of whole numbers", u)
    u = tuple(map(int, u))
    given = (jax.ShapeDtypeStruct(s, jnp.float32) for s in (z, u))
    words = f"a function of arrays z {z} and u {u} in jax.numpy"
    found = _answer(lambda: jax.eval_shape(unit.phi, *given), phi, words)
    one = isinstance(found, jax.ShapeDtypeStruct)
    real = one and jnp.issubdtype(found.dtype, jnp.floating)
    kind = Words(str(found.dtype) if one else type(found).__name__)
    require(real, phi, "a function that gives one array of real numbers", kind)
    return u, found.shape


def tensors_of(unit: Unit, z: Shape) -> tuple[Shapes, Shapes]:
    """Names and shapes of the tensors of u, and of the parts of phi that those of v contract; "u"
    and "v" where the unit names none.

    Raises InputError naming the tensor that overlaps another, leaves a gap or has a name that is
    taken: of each side they fill all numbers, in their order.
    """
    u, features = shapes_of(unit, z)
    mixed = features[len(features) - unit.mixed :]
    incoming = _declared(unit, z, "tensors", {"u": u}, side="u")
    outgoing = _declared(unit, z, "outgoing", {"v": mixed}, side="phi that v contracts")
    taken = ["readout"]
    for name in (*incoming, *outgoing):
        argument = f"name of tensor {name!r} of unit {unit.name!r}"
        require(name not in taken, argument, f"another than {', '.join(taken)}", name)
        taken.append(name)
    return incoming, outgoing


def _declared(unit: Unit, z: Shape, field: str, whole: Shapes, *, side: str) -> Shapes:
    declared = getattr(unit, field)
    if declared is None:
        return whole
    (shape,) = whole.values()
    argument = f"{field} of unit {unit.name!r}"
    given = _answer(lambda: declared(z), argument, f"a function of the shape {z} of its input")
    return check_tensors(given, math.prod(shape), unit.name, side)


def _answer(question: Callable[[], Any], argument: str, needed: str) -> Any:
    """What a function of the user's own gives; InputError with what it raised, if it does."""
    try:
        return question()
    except (SaddleryError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{argument} must be {needed}, got {type(error).__name__}: {said(error)}"
        ) from error


_DEBUG = False


def debugging() -> bool:
    """True inside `debug()` or when the environment sets SADDLERY_DEBUG=1."""
    return _DEBUG or os.environ.get("SADDLERY_DEBUG", "") == "1"


@contextlib.contextmanager
def debug() -> Iterator[None]:
    """Inside this context every unit is checked against its declarations when it is constructed."""
    global _DEBUG
    before, _DEBUG = _DEBUG, True
    try:
        yield
    finally:
        _DEBUG = before


def check_symmetry(unit: Unit, *, seed: int = 0, trials: int = 8) -> None:
    """Verify every declaration of `unit` on random inputs and weights in float64.

    Raises InputError naming the declaration that fails, with the size of the violation relative to
    phi.
    Cost: a few dozen evaluations of phi, and those of `check_smooth`.
    """
    if unit.example == ():
        return
    tensors_of(unit, tuple(unit.example))
    with precision_context("float64"):
        rng = np.random.default_rng(seed)
        for _ in range(trials):
            _check_once(unit, rng)
    check_smooth(unit)


@functools.lru_cache(maxsize=256)
def check_smooth(unit: Unit, shape: Shape | None = None) -> None:
    """Verify that a unit is twice differentiable in u where it says so, and continuous in any case;
    once a unit.

    shape: of the inputs z it is tried on, by default its `example`.
    Jumps of phi, of its slope and of its curvature are looked for on random lines of u, of sizes
    from 1e-2 to 1e3: kinks at the origin, away from it, and those of the curvature alone. Raises
    InputError with the kink that was found. A jump of the slope below a millionth of the largest
    slope on its line, or of the curvature below a thousandth, may be missed. Cost: about half a
    second.
    """
    shape = tuple(unit.example if shape is None else shape)
    with precision_context("float64"):
        rng = np.random.default_rng(0)
        jump = find_jump(unit.phi, rng.standard_normal(shape), shapes_of(unit, shape)[0], rng)
    if jump is None:
        return
    words, name = Words(jump), f"unit {unit.name!r}"
    require(
        jump.order > 0, name, "continuous in u", words, "gradient flow is not defined across a jump"
    )
    require(not unit.smooth, name, "twice differentiable in u", words, "declare smooth=False")


def _check_once(unit: Unit, rng: np.random.Generator) -> None:
    shape = unit.shape(unit.example)
    z, u, w = (jnp.asarray(rng.standard_normal(s)) for s in (unit.example, shape, shape))
    a, b = float(rng.uniform(0.3, 3)), float(rng.uniform(0.3, 3))
    phi = unit.phi
    size = float(jnp.max(jnp.abs(phi(z, u)))) + float(jnp.max(jnp.abs(phi(z, w)))) + 1e-3
    symmetry = unit.symmetry
    require(
        np.isfinite(size),
        f"phi of unit {unit.name!r}",
        "finite at random z and u",
        Words(f"{size}"),
    )

    def demand(claim: str, error: Array) -> None:
        worst = float(jnp.max(jnp.abs(error))) / size
        require(
            worst < 1e-9,
            f"unit {unit.name!r}",
            claim,
            f"a relative violation of {worst:.1e}",
            "correct the declared symmetry or phi",
        )

    if symmetry.silent:
        demand("silent at u = 0, phi(z; 0) = 0", phi(z, 0 * u))
    if symmetry.homogeneous:
        demand("homogeneous, phi(z; a u) = a phi(z; u) for a >= 0", phi(z, a * u) - a * phi(z, u))
    if symmetry.homogeneous == "real":
        demand(
            "homogeneous over the reals, phi(z; -a u) = -a phi(z; u)",
            phi(z, -a * u) + a * phi(z, u),
        )
    if symmetry.flip is not None:
        sign = "" if symmetry.flip > 0 else "-"
        demand(
            f"{symmetry.parity}, phi(z; -u) = {sign}phi(z; u)",
            phi(z, -u) - symmetry.flip * phi(z, u),
        )
    if symmetry.linear:
        demand("linear in u", phi(z, a * u - b * w) - a * phi(z, u) + b * phi(z, w))
    if unit.linear_in_input:
        y = jnp.asarray(rng.standard_normal(unit.example))
        demand("linear in z", phi(a * z - b * y, u) - a * phi(z, u) + b * phi(y, u))
    if unit.channels:
        scale = jnp.asarray(rng.uniform(0.3, 3, unit.example[0]))
        scaled = scale.reshape(-1, *[1] * (z.ndim - 1)) * z
        demand(
            "weighted by channel, through products z_c u_c",
            phi(scaled, u) - phi(z, _scale_channels(unit, scale, u)),
        )
    if unit.separable:
        demand(
            "separable, phi(z; a * u) = a * phi(z; u) entry by entry",
            phi(z, u * w) - u.reshape(phi(z, w).shape) * phi(z, w),
        )
    if unit.lift is not None:
        demand(
            "polynomial, phi(z; u) = <coefficients(u), features(z)>",
            phi(z, u) - unit.lift.coefficients(u) @ unit.lift.features(z),
        )
    if symmetry.degree is not None:
        _check_degree(unit, z, u)
    _check_consistent(unit)


def _scale_channels(unit: Unit, scale: Array, u: Array) -> Array:
    """u with its block of weights for channel c multiplied by scale[c]."""
    tied = u.size - unit.extra
    require(
        tied % len(scale) == 0,
        f"unit {unit.name!r}",
        "weighted by channel, with as many weights for each",
        f"{tied} weights for {len(scale)} channels",
        "leave out channels=True",
    )
    factors = jnp.concatenate([jnp.repeat(scale, tied // len(scale)), jnp.ones(unit.extra)])
    return (factors * u.ravel()).reshape(u.shape)


def _check_degree(unit: Unit, z: Array, u: Array) -> None:
    degree = unit.symmetry.degree
    small = [float(jnp.linalg.norm(unit.phi(z, eps * u))) for eps in (1e-3, 1e-4)]
    if small[0] == 0.0 and not unit.smooth:
        return  # an inactive side of a ReLU
    require(
        min(small) > 0,
        f"unit {unit.name!r}",
        f"of leading degree {degree} in u",
        "a phi that vanishes for small u",
        "correct the declared degree or phi",
    )
    slope = np.log10(small[0] / small[1])
    require(
        abs(slope - float(degree or 0)) < 0.02,
        f"unit {unit.name!r}",
        f"of leading degree {degree} in u",
        f"a measured order of {slope:.3f}",
        "correct the declared degree",
    )


def _check_consistent(unit: Unit) -> None:
    symmetry = unit.symmetry
    if symmetry.linear:
        require(
            symmetry.homogeneous == "real" and symmetry.degree == 1,
            f"unit {unit.name!r}",
            'declared homogeneous="real" and degree=1, since it is linear',
            symmetry,
        )
    if symmetry.homogeneous or symmetry.degree is not None:
        require(
            symmetry.silent,
            f"unit {unit.name!r}",
            "declared silent, since it is homogeneous or has a degree",
            symmetry,
        )


def leading_form(unit: Unit, z: Array, u: Array) -> Array:
    """The lowest-order form of phi at the silent point, lim phi(z; eps u) / eps^p with p the
    declared degree.

    phi itself for a homogeneous unit; otherwise (1/p!) d^p/d eps^p phi(z; eps u) at eps = 0, from
    the side eps > 0 for units that are not smooth. Cost: 2^p evaluations, twice as many from one
    side.
    """
    if unit.symmetry.degree is None:
        raise InputError(f"unit {unit.name!r} has no silent point, so it has no leading form")
    return lowest_order(unit, lambda eps: unit.phi(z, eps * u))


ASIDE = (
    1e-5  # one-sided coefficients are extrapolated from here and half of it to zero, to about 1e-10
)


def lowest_order(unit: Unit, form: Callable[[Array], Array]) -> Array:
    """lim form(eps) / eps^p as eps -> 0 from above, of anything linear in phi(z; eps u): form(1)
    for a homogeneous unit, else its p-th Taylor coefficient, p the declared degree; of a unit with
    kinks the one-sided coefficient."""
    if unit.symmetry.homogeneous:
        return form(jnp.ones(()))
    for order in range(1, (unit.symmetry.degree or 0) + 1):
        form = _derivative(form, order)
    if unit.smooth:
        return form(jnp.zeros(()))
    return 2 * form(jnp.asarray(0.5 * ASIDE)) - form(jnp.asarray(ASIDE))  # never at the kink itself


def _derivative(function: Callable[[Array], Array], divisor: int) -> Callable[[Array], Array]:
    return lambda eps: jax.jvp(function, (eps,), (jnp.ones_like(eps),))[1] / divisor
