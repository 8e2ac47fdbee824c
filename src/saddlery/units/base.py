"""A unit: one neuron, kernel or head, phi(z; u) v, with its declared symmetry."""

from __future__ import annotations

import contextlib
import copy
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

from ..basis.checks import InputError, Words, answered, require, whole
from ..basis.precision import precision_context
from ..basis.values import Immutable
from .smoothness import find_jump
from .tensors import Shape, Shapes, check_tensors, is_shape

# A declaration that holds is violated by less than this share of phi, in float64: by
# rounding alone.
VIOLATION = 1e-9


@dataclass(frozen=True)
class Symmetry:
    """What phi(z; u) is declared to satisfy; each field is verified by
    `check_symmetry`.

    silent: phi(z; 0) = 0 for every z, so that u = 0 is a silent point u_zero.
    homogeneous: "real" if phi(z; a u) = a phi(z; u) for every real a, "positive"
        if only for a >= 0, else None.
    linear: phi(z; u) is linear in u.
    degree: p, the lowest order at which phi(z; eps u) does not vanish as
        eps -> 0, at least 1; None without a silent point. What is homogeneous is of
        degree 1, declared or not.
    parity: "odd" if phi(z; -u) = -phi(z; u), "even" if phi(z; -u) = phi(z; u),
        else None. Then (-u, -v), or (-u, v), is the same unit written otherwise.
        What is homogeneous over the reals is odd, declared or not.

    Raises InputError for other values, and for an even unit that is homogeneous
    over the reals.

    Example
    -------
    >>> from saddlery.units import Symmetry
    >>> linear = Symmetry(silent=True, homogeneous="real", linear=True, degree=1)
    >>> linear.parity, linear.flip
    ('odd', -1.0)

    Source: Zhang, Saxe & Latham (2026), Theorem 1, conditions (ii)-(iv), and
    Section 5; parity: Fukumizu & Amari (2000).
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
            needed='"real", "positive" or None',
            given=self.homogeneous,
        )
        if self.degree is not None:
            whole(self.degree, "degree", remedy="or None without a silent point")
        require(
            self.parity in (None, "odd", "even"),
            "parity",
            needed='"odd", "even" or None',
            given=self.parity,
        )
        if self.homogeneous is not None and self.degree is None:
            object.__setattr__(self, "degree", 1)
        if self.homogeneous == "real":
            require(
                self.parity != "even",
                "parity",
                needed='"odd", since phi(z; -u) = -phi(z; u) over the reals',
                given=self.parity,
            )
            object.__setattr__(self, "parity", "odd")

    @property
    def flip(self) -> float | None:
        """The sign s with phi(z; -u) = s phi(z; u), so that (-u, s v) is the unit
        (u, v) again; None where there is none."""
        if self.parity is None:
            return None
        return {"odd": -1.0, "even": 1.0}[self.parity]


@dataclass(frozen=True)
class Lift:
    """A scalar unit that is polynomial in z, as one that is linear in features:

        phi(z; u) = <coefficients(u), features(z)>.

    name: which features these are, so that a task can state their moments without
        samples.
    features: z -> (F,). coefficients: u -> (F,).
    """

    name: str
    features: Callable[[Array], Array]
    coefficients: Callable[[Array], Array]


@dataclass(frozen=True)
class OfFeatures:
    """phi of a lifted unit: <coefficients(u), l> of the features l (F,)."""

    coefficients: Callable[[Array], Array]

    def __call__(self, z: Array, u: Array) -> Array:
        return self.coefficients(u) @ z


@dataclass(frozen=True, eq=False)
class Unit(Immutable):
    """One unit of a layer

        f = g_out(sum_i phi(g_in(x); u_i) v_i).

    name: how experiments refer to it, together with `options`.
    phi: (z, u) -> features of shape (*positions, *mixed), for one sample z and
        one unit u.
    shape: shape of z -> shape of u.
    symmetry: the declarations, see `Symmetry`.
    mixed: how many trailing axes of phi the outgoing weight v contracts.
    extra: trailing entries of u that belong to no input channel (1 for a bias).
    linear_in_input: phi is linear in z as well, so second moments of z are all
        that training needs.
    lift: for a scalar unit polynomial in z, its feature map; None otherwise.
    smooth: twice differentiable in u; False for ReLU-like units, whose kinks are
        then looked for at every state.
    channels: phi sees z through the sum over c of products z_c u_c alone, one block
        of u for each entry c of z's leading axis, so that the unit may follow a
        layer that passes its units on.
    tensors: shape of z -> names and shapes of the tensors that lie in u one after
        the other, row by row (kernel and bias; key and query); None where u is
        one. `split` takes u apart by them.
    outgoing: shape of z -> names and shapes of the parts that the mixed axes of
        phi consist of; each is contracted by a tensor of its own of v, of that
        shape and the outputs. None where v is one.
    own_matrices: every unit's tensors are matrices of its own, the first axis by
        all others, as of a head. Otherwise units stand side by side in one matrix
        for each tensor, a unit a column, as neurons and kernels do. Rules that
        act on matrices ask (see `networks.tensors`).
    separable: phi is an entry of u times an entry of z each, and v contracts
        them: one unit is a sum of smaller ones, of an entry of u and its row of
        v.
    example: a shape of z on which the declarations are checked; of two channels at
        least where `channels` are declared.

    Shapes of z and u are whatever the unit says: (D,) and (D,) for a neuron.
    Units are compared by what they are made of, functions by identity. Raises
    InputError inside `debug()` where phi is not what is declared.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units import Symmetry, Unit, check_symmetry
    >>> sine = Unit(
    ...     name="sine",
    ...     phi=lambda z, u: jnp.sin(z @ u),
    ...     shape=lambda shape: shape,
    ...     symmetry=Symmetry(silent=True, degree=1, parity="odd"),
    ... )
    >>> check_symmetry(sine)

    Source: Zhang, Saxe & Latham (2026), eq 1.
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
        own = MappingProxyType(copy.deepcopy(dict(self.options)))
        object.__setattr__(self, "options", own)
        if debugging():
            check_symmetry(self)

    def __hash__(self) -> int:
        # Asked for at every call of a compiled program, so of two fields alone.
        return hash((self.name, self.phi))

    def __repr__(self) -> str:
        options = [f"{key}={value!r}" for key, value in self.options.items()]
        return f"{self.name}({', '.join(options)})"

    def features(
        self,
        z: Float[Array, ...],
        u: Float[Array, "H ..."],
    ) -> Float[Array, "H ..."]:
        """phi(z; u_i) of every unit of a layer, leading axis H."""
        return jax.vmap(self.phi, in_axes=(None, 0))(z, u)

    def lifted(self) -> Unit:
        """The same unit as a function of its lifted features l = features(z),

            phi(l; u) = <coefficients(u), l>.

        Raises InputError for a unit without a `lift`.
        """
        if self.lift is None:
            what = f"unit {self.name!r} is not polynomial in its input"
            raise InputError(f"{what}; train it on samples instead")
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

    z: (D,) for vectors, (N, D) for tokens, (C, L) for signals.

    Raises InputError where JAX cannot follow phi, as where it is written in
    numpy, or it gives no array of real numbers. Cost: phi is traced, not
    computed.

    Example
    -------
    >>> from saddlery.units import attention
    >>> from saddlery.units.base import shapes_of
    >>> shapes_of(attention("linear", rank=2), (8, 3))
    ((2, 3, 2), (8, 3))
    """
    u = _shape_of_u(unit, z)
    of_z = jax.ShapeDtypeStruct(z, jnp.float32)
    of_u = jax.ShapeDtypeStruct(u, jnp.float32)
    phi = f"phi of unit {unit.name!r}"
    found = answered(
        lambda: jax.eval_shape(unit.phi, of_z, of_u),
        phi,
        needed=f"a function of arrays z {z} and u {u} in jax.numpy",
    )
    needed = "a function that gives one array of real numbers"
    one = isinstance(found, jax.ShapeDtypeStruct)
    require(one, phi, needed, given=Words(type(found).__name__))
    real = jnp.issubdtype(found.dtype, jnp.floating)
    require(real, phi, needed, given=Words(str(found.dtype)))
    return u, found.shape


def _shape_of_u(unit: Unit, z: Shape) -> Shape:
    argument = f"shape of unit {unit.name!r}"
    found = answered(
        lambda: unit.shape(z),
        argument,
        needed=f"a function of the shape {z} of its input",
    )
    require(
        is_shape(found),
        argument,
        needed="a function that gives a tuple of whole numbers",
        given=found,
    )
    return tuple(map(int, found))


def tensors_of(unit: Unit, z: Shape) -> tuple[Shapes, Shapes]:
    """Names and shapes of the tensors of u, and of the parts of phi that those of
    v contract; "u" and "v" where the unit names none.

    z: the shape of its input, (D,) for vectors.

    Raises InputError naming the tensor that overlaps another, leaves a gap or has
    a name that is taken: of each side they fill all numbers, in their order.

    Example
    -------
    >>> from saddlery.units import dense
    >>> from saddlery.units.base import tensors_of
    >>> tensors_of(dense("relu", bias=True), (4,))
    ({'weight': (4,), 'bias': ()}, {'v': ()})
    """
    u, features = shapes_of(unit, z)
    mixed = features[len(features) - unit.mixed :]
    incoming = _declared(
        unit,
        z,
        field="tensors",
        whole={"u": u},
        side="u",
    )
    outgoing = _declared(
        unit,
        z,
        field="outgoing",
        whole={"v": mixed},
        side="phi that v contracts",
    )
    taken = ["readout"]
    for name in (*incoming, *outgoing):
        argument = f"name of tensor {name!r} of unit {unit.name!r}"
        needed = f"another than {', '.join(taken)}"
        require(name not in taken, argument, needed, given=name)
        taken.append(name)
    return incoming, outgoing


def _declared(
    unit: Unit,
    z: Shape,
    field: str,
    whole: Shapes,
    *,
    side: str,
) -> Shapes:
    """What a unit's field says of one side, checked; the whole side where it says
    nothing."""
    declared = getattr(unit, field)
    if declared is None:
        return whole
    given = answered(
        lambda: declared(z),
        f"{field} of unit {unit.name!r}",
        needed=f"a function of the shape {z} of its input",
    )
    (shape,) = whole.values()
    return check_tensors(given, math.prod(shape), unit.name, side)


_DEBUG = False


def debugging() -> bool:
    """True inside `debug()` or when the environment sets SADDLERY_DEBUG=1."""
    return _DEBUG or os.environ.get("SADDLERY_DEBUG", "") == "1"


@contextlib.contextmanager
def debug() -> Iterator[None]:
    """Inside this context every unit is checked against its declarations when it
    is constructed.

    Example
    -------
    >>> from saddlery.basis.checks import InputError
    >>> from saddlery.units import Symmetry, Unit, debug
    >>> shifted = lambda z, u: u @ z + 1
    >>> try:
    ...     with debug():
    ...         Unit("shifted", shifted, tuple, Symmetry(silent=True))
    ... except InputError as error:
    ...     print(str(error)[:60])
    unit 'shifted' must be silent at u = 0, phi(z; 0) = 0, got '
    """
    global _DEBUG
    before, _DEBUG = _DEBUG, True
    try:
        yield
    finally:
        _DEBUG = before


def check_symmetry(
    unit: Unit,
    shape: Shape | None = None,
    *,
    seed: int = 0,
    trials: int = 8,
) -> None:
    """Verify every declaration of `unit` on random inputs and weights in float64.

    shape: of the inputs z it is tried on, (D,) for vectors; by default `Unit.example`.
    seed: of the z and of the weights.
    trials: how many of them each declaration is tried on.

    Raises InputError naming the declaration that fails, with the size of the
    violation relative to phi. Cost: a few dozen evaluations of phi, and those of
    `check_smooth`.

    Example
    -------
    >>> from dataclasses import replace
    >>> from saddlery.basis.checks import InputError
    >>> from saddlery.units import check_symmetry, dense
    >>> try:
    ...     check_symmetry(replace(dense("leaky_relu"), smooth=True))
    ... except InputError as error:
    ...     print(str(error)[:52])
    unit 'leaky_relu' must be twice differentiable in u,
    """
    if isinstance(unit.phi, OfFeatures):  # a lifted unit: what it was made of is checked
        return
    shape = unit.example if shape is None else shape
    require(
        is_shape(shape),
        f"example of unit {unit.name!r}",
        needed="a shape, a tuple of whole numbers",
        given=shape,
    )
    shape = tuple(shape)
    _check_counts(unit, shape)
    tensors_of(unit, shape)
    with precision_context("float64"):
        rng = np.random.default_rng(seed)
        for _ in range(trials):
            _check_once(unit, shape, rng)
        check_smooth(unit, shape)  # before the degree, of which a kink has two
        for _ in range(trials):
            _check_degree(unit, shape, rng)
    _check_consistent(unit)


def _check_counts(unit: Unit, shape: Shape) -> None:
    """The axes that v contracts, the entries beside the channels, and channels to
    mix are there."""
    u, features = shapes_of(unit, shape)
    require(
        not unit.channels or max(shape[:1], default=0) > 1,
        f"example of unit {unit.name!r}",
        needed="a shape with two channels at least, such as (2, 5)",
        given=shape,
        remedy="channels=True is checked by mixing them",
    )
    for name, has, what in (
        ("mixed", len(features), f"axes of phi, {features}"),
        ("extra", math.prod(u), f"entries of u, {u}"),
    ):
        count = getattr(unit, name)
        whole_number = isinstance(count, int) and not isinstance(count, bool)
        require(
            whole_number and 0 <= count <= has,
            f"{name} of unit {unit.name!r}",
            needed=f"a whole number from 0 to {has}, the {what}",
            given=count,
        )


@functools.lru_cache(maxsize=256)
def check_smooth(unit: Unit, shape: Shape | None = None) -> None:
    """Verify that a unit is twice differentiable in u where it says so, and
    continuous in any case; once a unit.

    shape: of the inputs z it is tried on, (D,) for vectors; by default `example`.

    Jumps of phi, of its slope and of its curvature are looked for on random lines
    of u, of sizes from 1e-2 to 1e3: kinks at the origin, away from it, and those
    of the curvature alone. A jump of the slope below a millionth of the largest
    slope on its line, or of the curvature below a thousandth, may be missed.
    Raises InputError with the kink that was found. Cost: about half a second.
    """
    shape = tuple(unit.example if shape is None else shape)
    with precision_context("float64"):
        rng = np.random.default_rng(0)
        z = rng.standard_normal(shape)
        of_u, _ = shapes_of(unit, shape)
        jump = find_jump(unit.phi, z, of_u, rng)
    if jump is None:
        return
    require(
        jump.order > 0,
        f"unit {unit.name!r}",
        needed="continuous in u",
        given=Words(jump),
        remedy="gradient flow is not defined across a jump",
    )
    require(
        not unit.smooth,
        f"unit {unit.name!r}",
        needed="twice differentiable in u",
        given=Words(jump),
        remedy="declare smooth=False",
    )


def _check_once(unit: Unit, shape: Shape, rng: np.random.Generator) -> None:
    """Every declaration at one random input z and random weights."""
    of_u = unit.shape(shape)
    z = jnp.asarray(rng.standard_normal(shape))
    u = jnp.asarray(rng.standard_normal(of_u))
    w = jnp.asarray(rng.standard_normal(of_u))
    a = float(rng.uniform(0.3, 3))
    b = float(rng.uniform(0.3, 3))
    phi = unit.phi
    size = _largest(phi(z, u)) + _largest(phi(z, w)) + 1e-3
    require(
        np.isfinite(size),
        f"phi of unit {unit.name!r}",
        needed="finite at random z and u",
        given=Words(f"{size}"),
    )

    def demand(claim: str, error: Array) -> None:
        worst = _largest(error) / size
        require(
            worst < VIOLATION,
            f"unit {unit.name!r}",
            needed=claim,
            given=f"a relative violation of {worst:.1e}",
            remedy="correct the declared symmetry or phi",
        )

    symmetry = unit.symmetry
    if symmetry.silent:
        demand("silent at u = 0, phi(z; 0) = 0", phi(z, 0 * u))
    if symmetry.homogeneous:
        demand(
            "homogeneous, phi(z; a u) = a phi(z; u) for a >= 0",
            phi(z, a * u) - a * phi(z, u),
        )
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
        demand(
            "linear in u",
            phi(z, a * u - b * w) - a * phi(z, u) + b * phi(z, w),
        )
    if unit.linear_in_input:
        y = jnp.asarray(rng.standard_normal(shape))
        demand(
            "linear in z",
            phi(a * z - b * y, u) - a * phi(z, u) + b * phi(y, u),
        )
    if unit.channels:
        channels = len(z)
        mixing = jnp.asarray(rng.standard_normal((channels, channels)))
        demand(
            "weighted by channel, phi(A z; u) = phi(z; A'u), through the sum of z_c u_c",
            phi(jnp.tensordot(mixing, z, axes=1), u) - phi(z, _mixed_channels(unit, mixing.T, u)),
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


def _largest(values: Array) -> float:
    return float(jnp.max(jnp.abs(values)))


def _mixed_channels(unit: Unit, mixing: Array, u: Array) -> Array:
    """u with its blocks of weights, one a channel, mixed by a matrix (C, C)."""
    tied = u.size - unit.extra
    require(
        tied % len(mixing) == 0,
        f"unit {unit.name!r}",
        needed="weighted by channel, with as many weights for each",
        given=f"{tied} weights for {len(mixing)} channels",
        remedy="leave out channels=True",
    )
    blocks = u.ravel()[:tied].reshape(len(mixing), -1)
    rest = u.ravel()[tied:]
    return jnp.concatenate([(mixing @ blocks).ravel(), rest]).reshape(u.shape)


def _check_degree(unit: Unit, shape: Shape, rng: np.random.Generator) -> None:
    """phi(z; eps u) falls like eps^p from eps = 1e-3 to 1e-4; with kinks, where -u may
    lie on another side of them than u, on the side of the larger one."""
    degree = unit.symmetry.degree
    if degree is None:
        return
    z = jnp.asarray(rng.standard_normal(shape))
    u = jnp.asarray(rng.standard_normal(unit.shape(shape)))
    sides = (u,) if unit.smooth else (u, -u)

    def size(eps: float) -> float:
        return max(float(jnp.linalg.norm(unit.phi(z, eps * side))) for side in sides)

    larger, smaller = size(1e-3), size(1e-4)
    if larger == 0.0 and not unit.smooth:
        return  # inactive on both sides
    require(
        min(larger, smaller) > 0,
        f"unit {unit.name!r}",
        needed=f"of leading degree {degree} in u",
        given="a phi that vanishes for small u",
        remedy="correct the declared degree or phi",
    )
    order = np.log10(larger / smaller)
    require(
        abs(order - degree) < 0.02,
        f"unit {unit.name!r}",
        needed=f"of leading degree {degree} in u",
        given=f"a measured order of {order:.3f}",
        remedy="correct the declared degree",
    )


def _check_consistent(unit: Unit) -> None:
    """What one declaration implies is declared too."""
    symmetry = unit.symmetry
    if symmetry.linear:
        require(
            symmetry.homogeneous == "real" and symmetry.degree == 1,
            f"unit {unit.name!r}",
            needed='declared homogeneous="real" and degree=1, since it is linear',
            given=symmetry,
        )
    if symmetry.homogeneous or symmetry.degree is not None:
        require(
            symmetry.silent,
            f"unit {unit.name!r}",
            needed="declared silent, since it is homogeneous or has a degree",
            given=symmetry,
        )


def leading_form(unit: Unit, z: Array, u: Array) -> Array:
    """The lowest-order form of phi at the silent point,

        lim phi(z; eps u) / eps^p as eps -> 0, p the declared degree,

    of one input z, (D,) or what the unit takes, and one u, (U,) or what it has.
        phi itself for a homogeneous unit; otherwise (1/p!) d^p/d eps^p phi(z; eps u)
    at eps = 0, from the side eps > 0 for units that are not smooth.

    Raises InputError for a unit that declares no degree, as one without a silent
    point does not. Cost: 2^p evaluations, twice as many from one side.

    Example
    -------
    A sine starts like the linear unit:

    >>> import jax.numpy as jnp
    >>> from saddlery.units import dense, leading_form
    >>> z, u = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])
    >>> float(leading_form(dense("sine"), z, u))
    11.0
    """
    if unit.symmetry.degree is None:
        why = "declares no degree" if unit.symmetry.silent else "has no silent point"
        raise InputError(f"unit {unit.name!r} {why}, so it has no leading form")
    return lowest_order(unit, lambda eps: unit.phi(z, eps * u))


# One-sided coefficients are extrapolated from here and half of it to zero, to about
# 1e-10.
ASIDE = 1e-5


def lowest_order(unit: Unit, form: Callable[[Array], Array]) -> Array:
    """lim form(eps) / eps^p as eps -> 0 from above, of anything linear in
    phi(z; eps u), p the declared degree.

    form: of a number eps; the result has its shape.

    form(1) for a homogeneous unit, else the p-th Taylor coefficient; of a unit with
    kinks the one-sided one.
    """
    if unit.symmetry.homogeneous:
        return form(jnp.ones(()))
    for order in range(1, (unit.symmetry.degree or 0) + 1):
        form = _derivative(form, order)
    if unit.smooth:
        return form(jnp.zeros(()))
    # Never at the kink itself.
    beside, half_way = jnp.asarray(ASIDE), jnp.asarray(0.5 * ASIDE)
    return 2 * form(half_way) - form(beside)


def _derivative(
    function: Callable[[Array], Array],
    divisor: int,
) -> Callable[[Array], Array]:
    def derivative(eps: Array) -> Array:
        _, slope = jax.jvp(function, (eps,), (jnp.ones_like(eps),))
        return slope / divisor

    return derivative
