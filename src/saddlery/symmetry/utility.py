"""The utility of a silent unit: whether a new unit, born at its silent point, lowers the loss, and
at which order.

For a unit whose phi starts at degree p in u, a silent unit (u, v) changes the loss by -U(u, v) +
higher orders, with
    U(u, v) = mean <phi_p(.; u) v, residual> = v . G(u),   residual = -d loss / d output,  G(u) = -dL/dv of a unit at v = 0
homogeneous of degree p + 1. For p >= 2 the Hessian on silent units is zero, so only U tells a
saddle from a minimum: max U > 0 on the unit sphere proves a descent direction of order p + 1, max U
    <= 0 that there is none of that order.
Source: the utility of Kunin et al. (2025), eq 3; derived for saddle-to-saddle networks in the
project's theory notes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.jet import jet

from ..basis.checks import InputError
from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..networks import MeanLoss, Network, Objective, flatten, unflatten
from ..networks.network import mix, sum_of_units
from ..networks.rounding import Rounded, sizes_of, sway
from ..units.base import lowest_order
from .reduction import sides

SAME = 0.999  # cosine between two maximisers that are one
# random units at which a Taylor coefficient must vanish to vanish everywhere (one would do, with
# probability one)
TRIALS = 4
SEEN = 1e-14  # of the largest: second moments below it are rounding, and nothing is seen there
BESIDE = 1e-9  # of |u|: as near as a kink that a state lies on
CLIMB = 12  # rounds of random search for the unit of greatest correlation


@dataclass(frozen=True, eq=False, repr=False)
class Utility(Result):
    """The best silent unit of one layer.

    value: max U over |u|^2 + |v|^2 = 1. order: p + 1, the order in the size of the unit at which
    the loss falls. rate: for p = 1 the exponential rate 2 U at which the unit grows from its silent
    point; None for higher p (it grows like a power). u, v: the maximiser, flattened. layer: which.
    spread: relative difference between the best two of the starts that found it, a measure of how
    well the maximum was located.
    """

    value: float
    order: int
    rate: float | None
    u: np.ndarray
    v: np.ndarray
    layer: int
    spread: float

    def printed(self) -> Printed:
        numbers = [(name, value) for name, value in self.record().items() if name not in "uv"]
        return Printed(("utility", ""), numbers)

    def record(self) -> dict[str, object]:
        """JSON form."""
        return plain(vars(self))


@in_float64
def best_silent_unit(
    objective: Objective,
    theta: np.ndarray,
    layer: int = 0,
    *,
    starts: int = 32,
    steps: int = 200,
    seed: int = 0,
) -> Utility:
    """max U over silent units of one layer at a state, from many starts of a shifted power
    iteration on the sphere.

    The maximum over v is closed: v is along G(u), and |u|^2 = p/(p+1) is the best split, so
    max U = (p/(p+1))^(p/2) (p+1)^(-1/2) max_{|u|=1} |G(u)|. The search over u is a local method
    from `starts` random and data-free starts: the value is a proven lower bound of the maximum (a
    positive value proves descent), unless v = 0 is a kink of a layer above (see `gain`).

    Raises InputError for a unit without a silent point. Cost: steps passes over the samples with
    `starts` extra units.
    """
    u, gain, degree = _climbed(objective, theta, layer, starts, steps, seed)
    return _record(u, gain, degree, layer)


@in_float64
def utility_maxima(
    objective: Objective,
    theta: np.ndarray,
    layer: int = 0,
    *,
    starts: int = 64,
    steps: int = 400,
    seed: int = 0,
) -> list[Utility]:
    """The local maxima of the utility found from many starts, highest first, each direction once
    (and not its mirror image, where units have a parity); see `best_silent_unit`."""
    u, gain, degree = _climbed(objective, theta, layer, starts, steps, seed)
    found: list[Utility] = []
    flip = objective.network.layers[layer].unit.symmetry.flip
    for k in np.argsort(-np.linalg.norm(gain.reshape(len(gain), -1), axis=1)):
        one = _record(u[[k]], gain[[k]], degree, layer)
        seen = any(_alike(one, other, flip) > SAME for other in found)
        if one.value > 0 and not seen:
            found.append(one)
    return found


def _alike(one: Utility, other: Utility, flip: float | None) -> float:
    """The cosine between two units, or between one and the mirror image of the other."""
    u, v = float(one.u @ other.u), float(one.v @ other.v)
    return u + v if flip is None else max(u + v, -u + flip * v)


def _climbed(
    objective: Objective, theta: np.ndarray, layer: int, starts: int, steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    unit = objective.network.layers[layer].unit
    degree = unit.symmetry.degree
    if degree is None:
        raise InputError(
            f"unit {unit.name!r} declares no leading degree, so silent units have no utility"
        )
    shape = objective.params(np.asarray(theta))[layer]["u"].shape[1:]
    rng, network = np.random.default_rng(seed), objective.network
    function = objective.with_network(
        network.with_width(layer, network.widths[layer] + starts)
    ).function
    data = jnp.asarray(np.asarray(theta, float)), objective.samples
    found = []
    for frame in _frames(objective, theta, layer, rng):
        drawn = rng.standard_normal((starts, *shape))
        found.append(_ascend(function, network, layer, steps, drawn, frame, *data))
    u, gain = (
        np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*found, strict=True)
    )
    return u, gain, degree


def _frames(
    objective: Objective, theta: np.ndarray, layer: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Coordinates u = A g in which to search, (U, U): those of the weights and, for units with
    kinks, those in which the data lie evenly around the origin. Samples far from it, and a bias
    beside, leave kinks between them only a narrow cone of u."""
    unit = objective.network.layers[layer].unit
    shape = objective.params(np.asarray(theta))[layer]["u"].shape[1:]
    size = math.prod(shape)
    yield np.eye(size)
    if unit.smooth:
        return
    u = rng.standard_normal((TRIALS, *shape))
    u = jnp.asarray(np.concatenate([u, -u]))  # what one does not turn on the other does
    values, vectors = np.linalg.eigh(
        _slopes(objective.function, layer, jnp.asarray(theta), u, objective.samples[0])
    )
    seen = values > SEEN * values[-1]
    yield vectors[:, seen] @ (vectors[:, seen] / np.sqrt(values[seen])).T


@in_float64
def leading_tensor(objective: Objective, theta: np.ndarray, layer: int = 0) -> np.ndarray:
    """T (V, U, ..., U) with the utility of a silent unit U(u, v) = v . T[u, ..., u], symmetric in
    its p last axes.

    theta: a state (P,), or several (T, P), for which the result has a leading axis T.
    T = -(1/p!) d^p/du^p dL/dv of a new unit at u = 0, v = 0, for p the unit's leading degree: for
    quadratic units and one output the matrix E[r Z], r the residual. Raises InputError for units
    that are not smooth or have no silent point.
    Cost: U^(p-1) passes over the samples.
    """
    unit = objective.network.layers[layer].unit
    degree = unit.symmetry.degree
    if degree is None or not unit.smooth:
        raise InputError(
            f"unit {unit.name!r} has no smooth silent point, so its utility has no leading tensor"
        )
    network = objective.network
    function = objective.with_network(network.with_width(layer, network.widths[layer] + 1)).function
    return np.asarray(
        _leading(function, network, layer, np.asarray(theta, float), objective.samples)
    )


@in_float64
def silent_units(objective: Objective, state: np.ndarray, index: int) -> np.ndarray:
    """Which units of a layer stand at their silent point, u = 0 and v = 0, as booleans (H,)."""
    u, v = sides(objective.network, objective.params(np.asarray(state, float)), index)
    return (np.linalg.norm(u, axis=1) == 0) & (np.linalg.norm(v, axis=1) == 0)


@in_float64
def unseen_units(objective: Objective, state: np.ndarray, index: int) -> np.ndarray:
    """Which units of a layer no sample turns on, at the state and beside it, as booleans (H,):
    phi(z_n; .) is zero around u.

    Nothing moves them, so that they stay as they are. Only units with kinks can be so.
    """
    network, params = objective.network, objective.params(np.asarray(state, float))
    u, v = sides(network, params, index)
    if network.layers[index].unit.smooth:
        return np.zeros(len(u), bool)
    step = (
        BESIDE
        * np.linalg.norm(u, axis=1, keepdims=True)
        * _rows_of_length_one(np.random.default_rng(0).standard_normal(u.shape))
    )
    around = [
        flatten(network.with_sides(params, index, u + side * step, v)[1])
        for side in (0.0, 1.0, -1.0)
    ]
    off = [np.asarray(objective.responses(place, index)) == 0.0 for place in around]
    return np.all(off, axis=0) & (np.linalg.norm(u, axis=1) > 0)


@in_float64
def silent_direction(objective: Objective, state: np.ndarray, utility: Utility) -> np.ndarray:
    """The unit vector (P,) that moves the first silent unit of a layer along the maximiser of the
    utility."""
    params = objective.params(np.zeros(objective.size))
    first = int(np.flatnonzero(silent_units(objective, state, utility.layer))[0])
    u, v = (np.array(side) for side in sides(objective.network, params, utility.layer))
    u[first], v[first] = utility.u, utility.v
    _, moved = objective.network.with_sides(params, utility.layer, u, v)
    return flatten(moved)


@in_float64
def silent_coordinates(objective: Objective, state: np.ndarray) -> np.ndarray:
    """Booleans (P,): which parameters belong to units at their silent point."""
    return _unit_coordinates(objective, lambda index: silent_units(objective, state, index))


@in_float64
def unseen_coordinates(objective: Objective, state: np.ndarray) -> np.ndarray:
    """Booleans (P,): which parameters belong to units that no sample turns on."""
    return _unit_coordinates(objective, lambda index: unseen_units(objective, state, index))


def _unit_coordinates(objective: Objective, chosen: Callable[[int], np.ndarray]) -> np.ndarray:
    """Booleans (P,): which parameters belong to the chosen units. chosen: layer -> booleans
    (H,)."""
    network, params = objective.network, objective.params(np.zeros(objective.size))
    for index in range(len(network.layers)):
        mask = chosen(index)
        u, v = (np.array(side) for side in sides(network, params, index))
        u[mask], v[mask] = 1.0, 1.0
        _, params = network.with_sides(params, index, u, v)
    return flatten(params) > 0


# ----------------------------------------------------- rounding, and degrees beyond the leading one
@in_float64
def utility_rounded(objective: Objective, theta: np.ndarray, utility: Utility) -> Rounded:
    """The value of a utility with what rounding of samples and weights moves it by; cost: a few
    gradients."""
    shape = objective.params(jnp.asarray(theta))[utility.layer]["u"].shape[1:]
    function, network = (
        objective.with_network(_one_more(objective.network, utility.layer)).function,
        objective.network,
    )
    u, v = jnp.asarray(utility.u).reshape(1, *shape), jnp.asarray(utility.v)
    data = jnp.asarray(theta), objective.samples, sizes_of(objective)
    moved = _utility_sway(function, network, utility.layer, u, v, *data)
    return Rounded(utility.value, float(moved))


@dataclass(frozen=True, eq=False)
class Series:
    """The correlation of new units with what is left, degree by degree.

    degree: the first at which it is not zero to rounding, None where it is zero up to `highest`.
    highest: the last one looked at. doubt: the number of lowest degree that is neither zero nor
    certain, None without one. u, v: the unit of unit length in natural units whose correlation of
    that degree is greatest found, flattened.
    """

    degree: int | None
    highest: int
    doubt: Rounded | None = None
    u: np.ndarray | None = None
    v: np.ndarray | None = None


@in_float64
def correlation_series(
    objective: Objective, theta: np.ndarray, layer: int = 0, *, highest: int = 9, seed: int = 0
) -> Series | None:
    """The first degree j at which T_j(u) = j-th Taylor coefficient of eps -> G(eps u) does not
    vanish, G(u) = -dL/dv.

    A form that vanishes at random units vanishes everywhere, so that "zero up to degree J" leaves
    no descent of order J + 1 or lower to silent units of this layer alone. Where T_q is the first
    that does not, the loss falls at order q + 1 along several units whose lower degrees cancel, or
    of one unit along a curve. None for units that are not smooth, or made of functions whose Taylor
    series JAX does not know. Cost: a Taylor series of phi on all samples, and some ten passes a
    degree.
    """
    unit = objective.network.layers[layer].unit
    if unit.symmetry.degree is None or not unit.smooth:
        return None
    shape = objective.params(jnp.asarray(theta))[layer]["u"].shape[1:]
    rng, units = np.random.default_rng(seed), np.asarray(_units_of(objective, layer, shape))
    u = units * _rows_of_length_one(rng.standard_normal((TRIALS, *shape)))
    try:
        values, moved = _series_at(objective, theta, layer, u, highest, rng)
    except NotImplementedError:
        return None
    doubt = None
    for degree in range(1, highest + 1):
        pairs = zip(values[:, degree - 1], moved[:, degree - 1], strict=True)
        some = [Rounded(float(value), float(size)) for value, size in pairs]
        if any(one.decided for one in some):
            u, v = _highest(objective, theta, layer, degree, units, rng)
            return Series(degree, highest, doubt, u, v)
        doubt = doubt or next((one for one in some if not one.zero), None)
    return Series(None, highest, doubt)


def _series_at(
    objective: Objective,
    theta: np.ndarray,
    layer: int,
    u: np.ndarray,
    highest: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """v_k . T_j(u_k) for random v_k, (K, J), and the sway of each."""
    network, function = objective.network, objective.function
    rows = np.asarray(
        _taylor(function, layer, highest, jnp.asarray(theta), jnp.asarray(u), objective.samples[0])
    )
    size = network.outgoing(objective.params(jnp.asarray(theta)), layer).shape[1]
    v = rng.standard_normal((len(u), size))
    features = rows.reshape(len(u) * highest, *rows.shape[2:])  # K J units, one after the other
    degrees = np.tile(np.arange(1.0, highest + 1), len(u))
    given = jnp.asarray(features), jnp.asarray(np.repeat(v, highest, axis=0)), jnp.asarray(degrees)
    values, moved = _correlated(
        function, layer, *given, jnp.asarray(theta), objective.samples, sizes_of(objective)
    )
    return np.asarray(values).reshape(len(u), highest), np.asarray(moved).reshape(len(u), highest)


def _highest(
    objective: Objective,
    theta: np.ndarray,
    layer: int,
    degree: int,
    units: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The unit of greatest |T_degree| found, and the direction of T_degree there: random ones, and
    ever nearer to the best."""
    best, width = np.zeros_like(units), 1.0
    for _ in range(CLIMB):
        draws = _rows_of_length_one(best + width * rng.standard_normal((32, *units.shape)))
        draws[0] = best if best.any() else draws[0]
        given = jnp.asarray(theta), jnp.asarray(units * draws), objective.samples[0]
        features = _taylor(objective.function, layer, degree, *given)[:, -1]
        gains = np.asarray(
            _gains(objective.function, layer, features, jnp.asarray(theta), objective.samples)
        )
        lengths = np.linalg.norm(gains, axis=1)
        best, width = draws[lengths.argmax()], 0.6 * width
        v = gains[lengths.argmax()] / lengths.max()
    return (units * best).ravel(), v


def _one_more(network: Network, layer: int) -> Network:
    return network.with_width(layer, network.widths[layer] + 1)


def _units_of(objective: Objective, layer: int, shape: tuple[int, ...]) -> jax.Array:
    """The natural units of one unit's incoming weights; of another layer's first unit, where this
    one has none."""
    params = objective.params(objective.units)
    return jnp.asarray(params[layer]["u"][0] if len(params[layer]["u"]) else np.ones(shape))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _utility_sway(function: MeanLoss, network: Network, layer: int, u, v, theta, samples, sizes):
    unit = network.layers[layer].unit

    def value(theta, samples):
        return lowest_order(
            unit, lambda eps: gain(function, network, layer, eps * u, theta, samples)[0] @ v
        )

    return sway(value, theta, samples, sizes)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _taylor(function: MeanLoss, layer: int, highest: int, theta, u, inputs):
    """The Taylor coefficients 1 ... highest of eps -> phi(z_n; eps u_k), (K, J, N, ...), z_n what
    the layer reads."""
    network = function.reading
    params = unflatten(function.network, theta, function.shape, function.outputs)
    unit = network.layers[layer].unit

    def one(x, u):
        z = _before(network, params, x, layer)
        start = [jnp.ones(()), *[jnp.zeros(())] * (highest - 1)]
        _, derivatives = jet(lambda eps: unit.phi(z, eps * u), (jnp.zeros(()),), (start,))
        return jnp.stack([jnp.asarray(d) / math.factorial(k) for k, d in enumerate(derivatives, 1)])

    return jnp.moveaxis(jax.vmap(jax.vmap(one, (0, None)), (None, 0))(inputs, u), 2, 1)


def _before(network: Network, params, z: jax.Array, layer: int) -> jax.Array:
    """What a layer reads of a sample."""
    for below, p in zip(network.layers[:layer], params, strict=False):
        if not below.mixes:
            z = below.unit.features(z, p["u"])
            continue
        mixed = sum_of_units(below.unit, z, p["u"], p["v"])
        z = z + mixed if below.residual else mixed
    return z


def _loss_with(function: MeanLoss, layer: int, features, v, theta, samples) -> jax.Array:
    """The loss with K more units in one layer, of given features (K, N, ...) and outgoing weights v
    (K, V)."""
    network = function.reading
    inputs, targets, constant = samples
    params = unflatten(function.network, theta, function.shape, function.outputs)
    own = network.incoming(params, layer), network.outgoing(params, layer)
    more = jnp.zeros((len(v), own[0].shape[1]), theta.dtype)
    _, wide = network.with_sides(
        params, layer, jnp.concatenate([own[0], more]), jnp.concatenate([own[1], v])
    )

    def predict(x, extra):
        z = x
        for index, (one, p, q) in enumerate(zip(network.layers, wide, params, strict=True)):
            own = one.unit.features(z, (q if index == layer else p)["u"])
            every = jnp.concatenate([own, extra]) if index == layer else own
            if one.mixes:
                mixed = mix(every, p["v"], one.unit.mixed)
                z = z + mixed if one.residual else mixed
            else:
                z = every
        if network.readout:
            z = z @ wide[-1]["readout"]
        return z[-1] if network.reads == "last" else z

    predictions = jax.vmap(predict, (0, 1))(inputs, features)
    return jnp.mean(jax.vmap(function.loss.function)(targets, predictions)) + constant


@functools.partial(jax.jit, static_argnums=(0, 1))
def _gains(function: MeanLoss, layer: int, features, theta, samples):
    """-dL/dv at v = 0 of units of given features, (K, V)."""
    return _gains_of(function, layer, features, theta, samples)


def _gains_of(function: MeanLoss, layer: int, features, theta, samples):
    params = unflatten(function.network, theta, function.shape, function.outputs)
    size = function.reading.outgoing(params, layer).shape[1]
    loss = lambda v: _loss_with(function, layer, features, v, theta, samples)
    return -jax.grad(loss)(jnp.zeros((len(features), size), theta.dtype))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _correlated(function: MeanLoss, layer: int, features, v, degrees, theta, samples, sizes):
    """v . G of each unit alone, and its sway: its features of degree j sway by j + 1 times
    themselves."""

    def one(given):
        feature, v, degree = given
        value = lambda f, t, s: _gains_of(function, layer, f[None], t, s)[0] @ v
        by_feature = jax.grad(value)(feature, theta, samples)
        moved = (degree + 1) * jnp.sum(jnp.abs(by_feature * feature))
        return value(feature, theta, samples), moved + sway(
            lambda t, s: value(feature, t, s), theta, samples, sizes
        )

    return jax.lax.map(one, (features, v, degrees))


def _rows_of_length_one(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows.reshape(len(rows), -1), axis=1)
    return rows / lengths.reshape(-1, *[1] * (rows.ndim - 1))


def _record(u: np.ndarray, gain: np.ndarray, degree: int, layer: int) -> Utility:
    sizes = np.linalg.norm(gain.reshape(len(gain), -1), axis=1)
    order = np.argsort(-sizes)
    best, size = order[0], float(sizes[order[0]])
    a, b = np.sqrt(degree / (degree + 1)), np.sqrt(1 / (degree + 1))
    value = float(a**degree * b * size)
    spread = float((size - sizes[order[1]]) / size) if size > 0 and len(order) > 1 else 0.0
    direction = gain[best].ravel() / size if size > 0 else gain[best].ravel()
    return Utility(
        value,
        degree + 1,
        2 * value if degree == 1 else None,
        a * u[best].ravel(),
        b * direction,
        layer,
        spread,
    )


def gain(
    function: MeanLoss, network: Network, layer: int, u: jax.Array, theta: jax.Array, samples
) -> jax.Array:
    """G(u_k) = -dL/dv_k of extra units k with incoming weights u_k and v_k = 0, shape (K, V).

    Where a layer above has a kink at v_k = 0, the slope on one of its sides: no evidence there (see
    `kinks.Kinks.below`).
    """
    narrow = unflatten(network, theta, function.shape, function.outputs)

    def loss(v: jax.Array) -> jax.Array:
        own = network.incoming(narrow, layer), network.outgoing(narrow, layer)
        both = (jnp.concatenate([own[0], u.reshape(len(u), -1)]), jnp.concatenate([own[1], v]))
        _, params = network.with_sides(narrow, layer, *both)
        flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
        return function(flat, samples)

    size = network.outgoing(narrow, layer).shape[1]
    return -jax.grad(loss)(jnp.zeros((len(u), size), theta.dtype))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _ascend(function: MeanLoss, network: Network, layer: int, steps: int, g, frame, theta, samples):
    """The best u = A g of length one that each start comes by, and G there."""
    unit, degree = network.layers[layer].unit, network.layers[layer].unit.symmetry.degree or 1

    def framed(g: jax.Array) -> jax.Array:
        return (g.reshape(len(g), -1) @ frame.T).reshape(g.shape)

    def leading(u: jax.Array) -> jax.Array:
        """The degree-p form of G at u."""
        return lowest_order(
            unit, lambda eps: gain(function, network, layer, eps * u, theta, samples)
        )

    def sizes(g: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.sum(leading(framed(g)).reshape(len(g), -1) ** 2, axis=1) + 1e-60)

    def step(carry: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], None]:
        g, best, highest = carry
        size, back = jax.vjp(sizes, g)
        (slope,) = back(jnp.ones_like(size))
        value = size / _lengths(framed(g)) ** degree
        better = value > highest
        best = jnp.where(better.reshape(-1, *[1] * (g.ndim - 1)), g, best)
        return (_on_sphere(g + _on_sphere(slope)), best, jnp.maximum(value, highest)), None

    g = _on_sphere(g)
    (_, best, _), _ = jax.lax.scan(step, (g, g, jnp.zeros(len(g))), None, length=steps + 1)
    u = _on_sphere(framed(best))
    return u, leading(u)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _leading(
    function: MeanLoss, network: Network, layer: int, theta: jax.Array, samples
) -> jax.Array:
    shape = network.shapes(function.shape, function.outputs)[layer]["u"][1:]
    degree = network.layers[layer].unit.symmetry.degree or 0

    def at(state: jax.Array) -> jax.Array:
        form = lambda u: gain(function, network, layer, u.reshape(1, *shape), state, samples)[0]
        for _ in range(degree):
            form = jax.jacfwd(form)
        return form(jnp.zeros(math.prod(shape), theta.dtype)) / math.factorial(degree)

    return at(theta) if theta.ndim == 1 else jax.lax.map(at, theta)


def _lengths(u: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.linalg.norm(u.reshape(len(u), -1), axis=1), 1e-300)


def _on_sphere(u: jax.Array) -> jax.Array:
    return u / _lengths(u).reshape(-1, *[1] * (u.ndim - 1))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _slopes(function: MeanLoss, layer: int, theta, u, inputs):
    """sum_k E[(d phi/du)'(d phi/du)] at units u_k, (U, U): for ReLU units u and -u the second
    moment of what the layer reads."""
    network = function.reading
    params = unflatten(function.network, theta, function.shape, function.outputs)

    def one(u: jax.Array) -> jax.Array:
        def rows(x):
            slope = jax.jacobian(network.layers[layer].unit.phi, argnums=1)(
                _before(network, params, x, layer), u
            )
            return slope.reshape(-1, u.size)

        return jnp.mean(jax.vmap(lambda x: rows(x).T @ rows(x))(inputs), axis=0)

    return jnp.sum(jax.lax.map(one, u), axis=0)
