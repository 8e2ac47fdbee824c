"""The utility of a silent unit: whether a unit born at its silent point lowers
the loss, and how.

For a unit whose phi starts at degree p in u, a silent unit (u, v) changes the
loss by -U(u, v) + higher orders, with
    U(u, v) = mean <phi_p(.; u) v, residual> = v . G(u),
    residual = -d loss / d output,    G(u) = -dL/dv of a unit at v = 0,
homogeneous of degree p + 1. For p >= 2 the Hessian on silent units is zero, so
only U tells a saddle from a minimum: max U > 0 on the unit sphere proves a
descent direction of order p + 1, max U <= 0 that there is none of that order.

Source: the utility of Kunin et al. (2025), eq 3; derived here for networks that
are sums of units.
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
from jaxtyping import Array, Bool, Float

from ..basis.checks import InputError
from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY
from ..networks import MeanLoss, Network, Objective, flatten, unflatten
from ..networks.network import mix, sum_of_units
from ..networks.rounding import Rounded, sizes_of, sway
from ..units.base import lowest_order
from .reduction import sides

# Two maximisers whose cosine is larger than this are one.
ONE = 0.999
# A Taylor coefficient that vanishes at so many random units vanishes everywhere (one
# would do, with probability one).
RANDOM_UNITS = 4
# Second moments below this share of the largest are rounding: nothing is seen there.
RESOLVED_MOMENT = 1e-14
# A state lies on a kink that is nearer than this share of |u|.
ON_KINK = 1e-9
# The unit of greatest correlation is sought in so many rounds of so many random units,
# each round drawn within this share of the width before.
CLIMB, DRAWS_A_ROUND, NARROWER = 12, 32, 0.6

State = Float[np.ndarray, " P"]


@dataclass(frozen=True, eq=False, repr=False)
class Utility(Result):
    """The best silent unit of one layer.

    value: max U over |u|^2 + |v|^2 = 1.
    order: p + 1, the order in the size of the unit at which the loss falls.
    rate: for p = 1 the exponential rate 2 U at which the unit grows from its
        silent point; None for higher p (it grows like a power).
    u (U,), v (V,): the maximiser, flattened.
    layer: which.
    spread: relative difference between the best two of the starts that found it,
        a measure of how well the maximum was located.
    """

    value: float
    order: int
    rate: float | None
    u: Float[np.ndarray, " U"]
    v: Float[np.ndarray, " V"]
    layer: int
    spread: float

    def printed(self) -> Printed:
        numbers = [(name, value) for name, value in self.record().items() if name not in "uv"]
        return Printed(("utility", ""), numbers)

    def record(self) -> dict[str, object]:
        """JSON form."""
        return plain(vars(self))

    def stretch(self, u: Float[np.ndarray, " U"], v: Float[np.ndarray, " V"]) -> float:
        """|u*|^p |v*| of the maximiser in units of u and v: U over this is the utility of a unit
        whose two sides have length one in these units."""
        incoming = float(np.linalg.norm(self.u / u))
        outgoing = float(np.linalg.norm(self.v / v))
        return incoming ** (self.order - 1) * outgoing


@in_float64
def best_silent_unit(
    objective: Objective,
    theta: State,
    layer: int = 0,
    *,
    starts: int = 32,
    steps: int = 200,
    seed: int = 0,
) -> Utility:
    """max U over silent units of one layer, by a shifted power iteration on the sphere.

    The maximum over v is closed: v is along G(u), and |u|^2 = p/(p+1) is the best
    split, so
        max U = (p/(p+1))^(p/2) (p+1)^(-1/2) max_{|u|=1} |G(u)|.
    The search over u is a local method from many random and data-free starts: the
    value is a proven lower bound of the maximum (a positive value proves
    descent), unless v = 0 is a kink of a layer above (see `gain`).

    theta (P,): the state.
    layer: which, counted from 0.
    starts, steps: of the search. seed: of the starts.

    Raises InputError for a unit without a silent point. Cost: steps passes over
    the samples with `starts` extra units.

    Example
    -------
    The correlation E[y x'] of "linear" has the singular values 1 and 0.4.

    >>> from saddlery import Experiment
    >>> from saddlery.symmetry import best_silent_unit
    >>> experiment = Experiment.named("linear")
    >>> found = best_silent_unit(experiment.objective(), 0 * experiment.initial_state())
    >>> round(found.value, 6), found.order, round(found.rate, 6)
    (0.5, 2, 1.0)
    """
    u, gain, degree = _climbed(objective, theta, layer, starts=starts, steps=steps, seed=seed)
    return _record(u, gain, degree, layer)


@in_float64
def utility_maxima(
    objective: Objective,
    theta: State,
    layer: int = 0,
    *,
    starts: int = 64,
    steps: int = 400,
    seed: int = 0,
) -> list[Utility]:
    """The local maxima of the utility found from many starts, highest first.

    Each direction once (and not its mirror image, where units have a parity).
    Arguments as for `best_silent_unit`.
    """
    u, gain, degree = _climbed(objective, theta, layer, starts=starts, steps=steps, seed=seed)
    found: list[Utility] = []
    flip = objective.network.layers[layer].unit.symmetry.flip
    sizes = np.linalg.norm(gain.reshape(len(gain), -1), axis=1)
    for k in np.argsort(-sizes):
        one = _record(u[[k]], gain[[k]], degree, layer)
        seen = any(_likeness(one, other, flip) > ONE for other in found)
        if one.value > 0 and not seen:
            found.append(one)
    return found


def _likeness(one: Utility, other: Utility, flip: float | None) -> float:
    """The cosine between two units, or between one and the mirror image of the
    other."""
    u, v = float(one.u @ other.u), float(one.v @ other.v)
    if flip is None:
        return u + v
    return max(u + v, -u + flip * v)


def _climbed(
    objective: Objective,
    theta: State,
    layer: int,
    *,
    starts: int,
    steps: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    """The best u of every start (K, ...), G there (K, V), and p."""
    network = objective.network
    unit = network.layers[layer].unit
    degree = unit.symmetry.degree
    if degree is None:
        what = f"unit {unit.name!r} declares no leading degree"
        raise InputError(f"{what}, so silent units have no utility")
    rng = np.random.default_rng(seed)
    shape = _shape(objective, theta, layer)
    function = _with_more(objective, layer, starts)
    state = jnp.asarray(np.asarray(theta, float))
    us, gains = [], []
    for frame in _frames(objective, theta, layer, rng):
        drawn = rng.standard_normal((starts, *shape))
        u, gain = _ascend(
            function,
            network,
            layer,
            steps,
            drawn,
            frame,
            state,
            objective.samples,
        )
        us.append(np.asarray(u))
        gains.append(np.asarray(gain))
    return np.concatenate(us), np.concatenate(gains), degree


def _shape(objective: Objective, theta: State, layer: int) -> tuple[int, ...]:
    """Of one unit's incoming weights."""
    return objective.params(jnp.asarray(theta))[layer]["u"].shape[1:]


def _with_more(objective: Objective, layer: int, units: int) -> MeanLoss:
    """The loss of the network with more units in one layer."""
    network = objective.network
    wide = network.with_width(layer, network.widths[layer] + units)
    return objective.with_network(wide).function


def _frames(
    objective: Objective,
    theta: State,
    layer: int,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Coordinates u = A g in which to search, (U, U).

    Those of the weights and, for units with kinks, those in which the data lie
    evenly around the origin. Samples far from it, and a bias beside, leave kinks
    between them only a narrow cone of u.
    """
    shape = _shape(objective, theta, layer)
    yield np.eye(math.prod(shape))
    if objective.network.layers[layer].unit.smooth:
        return
    # What one of u and -u does not turn on the other does.
    u = rng.standard_normal((RANDOM_UNITS, *shape))
    u = jnp.asarray(np.concatenate([u, -u]))
    inputs = objective.samples[0]
    moments = _slopes(objective.function, layer, jnp.asarray(theta), u, inputs)
    values, vectors = np.linalg.eigh(moments)
    seen = values > RESOLVED_MOMENT * values[-1]
    kept = vectors[:, seen]
    yield kept @ (kept / np.sqrt(values[seen])).T


@in_float64
def leading_tensor(
    objective: Objective,
    theta: State | Float[np.ndarray, "T P"],
    layer: int = 0,
) -> Float[np.ndarray, ...]:
    """T (V, U, ..., U) with U(u, v) = v . T[u, ..., u], symmetric in its p last axes.

        T = -(1/p!) d^p/du^p dL/dv of a new unit at u = 0, v = 0,
    for p the unit's leading degree: for quadratic units and one output the matrix
    E[r Z], r the residual.

    theta: a state (P,), or several (T, P), for which the result has a leading
        axis T.
    layer: which, counted from 0.

    Raises InputError for units that are not smooth or have no silent point. Cost:
    U^(p-1) passes over the samples.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery import Experiment
    >>> from saddlery.symmetry import leading_tensor
    >>> experiment = Experiment.named("linear")
    >>> form = leading_tensor(experiment.objective(), 0 * experiment.initial_state())
    >>> np.linalg.svd(form, compute_uv=False)[:2].round(6)
    array([1. , 0.4])
    """
    network = objective.network
    unit = network.layers[layer].unit
    if unit.symmetry.degree is None or not unit.smooth:
        what = f"unit {unit.name!r} has no smooth silent point"
        raise InputError(f"{what}, so its utility has no leading tensor")
    function = _with_more(objective, layer, 1)
    state = np.asarray(theta, float)
    return np.asarray(_leading(function, network, layer, state, objective.samples))


@in_float64
def silent_units(
    objective: Objective,
    state: State,
    index: int,
) -> Bool[np.ndarray, " H"]:
    """Which units of a layer stand at their silent point, u = 0 and v = 0, as
    booleans (H,).

    state (P,).
    index: of the layer.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.symmetry import silent_units
    >>> experiment = Experiment.named("linear")
    >>> silent_units(experiment.objective(), 0 * experiment.initial_state(), 0).sum()
    np.int64(50)
    """
    params = objective.params(np.asarray(state, float))
    u, v = sides(objective.network, params, index)
    no_u = np.linalg.norm(u, axis=1) == 0
    no_v = np.linalg.norm(v, axis=1) == 0
    return no_u & no_v


@in_float64
def unseen_units(
    objective: Objective,
    state: State,
    index: int,
) -> Bool[np.ndarray, " H"]:
    """Which units of a layer no sample turns on, at the state and beside it, as
    booleans (H,).

    phi(z_n; .) is zero around u. Nothing moves them, so that they stay as they
    are. Only units with kinks can be so.

    state (P,).
    index: of the layer.
    """
    network = objective.network
    params = objective.params(np.asarray(state, float))
    u, v = sides(network, params, index)
    if network.layers[index].unit.smooth:
        return np.zeros(len(u), bool)
    lengths = np.linalg.norm(u, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    directions = _rows_of_length_one(rng.standard_normal(u.shape))
    step = ON_KINK * lengths * directions
    off = []
    for side in (0.0, 1.0, -1.0):
        _, beside = network.with_sides(params, index, u + side * step, v)
        responses = objective.responses(flatten(beside), index)
        off.append(np.asarray(responses) == 0.0)
    return np.all(off, axis=0) & (lengths[:, 0] > 0)


@in_float64
def silent_direction(
    objective: Objective,
    state: State,
    utility: Utility,
) -> State:
    """The unit vector (P,) that moves the first silent unit along the maximiser.

    state (P,).
    utility: of the layer in which that unit is.
    """
    params = objective.params(np.zeros(objective.size))
    are_silent = silent_units(objective, state, utility.layer)
    first = int(np.flatnonzero(are_silent)[0])
    both = sides(objective.network, params, utility.layer)
    u, v = (np.array(side) for side in both)
    u[first], v[first] = utility.u, utility.v
    _, moved = objective.network.with_sides(params, utility.layer, u, v)
    return flatten(moved)


@in_float64
def silent_coordinates(
    objective: Objective,
    state: State,
) -> Bool[np.ndarray, " P"]:
    """Booleans (P,): which parameters belong to units at their silent point.
    state (P,)."""
    chosen = lambda index: silent_units(objective, state, index)
    return _unit_coordinates(objective, chosen)


@in_float64
def unseen_coordinates(
    objective: Objective,
    state: State,
) -> Bool[np.ndarray, " P"]:
    """Booleans (P,): which parameters belong to units that no sample turns on.
    state (P,)."""
    chosen = lambda index: unseen_units(objective, state, index)
    return _unit_coordinates(objective, chosen)


def _unit_coordinates(
    objective: Objective,
    chosen: Callable[[int], np.ndarray],
) -> np.ndarray:
    """Booleans (P,): which parameters belong to the chosen units.

    chosen: layer -> booleans (H,).
    """
    network = objective.network
    params = objective.params(np.zeros(objective.size))
    for index in range(len(network.layers)):
        mask = chosen(index)
        u, v = (np.array(side) for side in sides(network, params, index))
        u[mask], v[mask] = 1.0, 1.0
        _, params = network.with_sides(params, index, u, v)
    return flatten(params) > 0


# ------------------------------- rounding, and degrees beyond the leading one
@in_float64
def utility_rounded(
    objective: Objective,
    theta: State,
    utility: Utility,
) -> Rounded:
    """The value of a utility with what rounding of samples and weights moves it by.

    theta (P,): the state. Cost: a few gradients.
    """
    network, layer = objective.network, utility.layer
    function = _with_more(objective, layer, 1)
    u = jnp.asarray(utility.u).reshape(1, *_shape(objective, theta, layer))
    v = jnp.asarray(utility.v)
    moved = _utility_sway(
        function,
        network,
        layer,
        u,
        v,
        theta=jnp.asarray(theta),
        samples=objective.samples,
        sizes=sizes_of(objective),
    )
    return Rounded(utility.value, float(moved))


@dataclass(frozen=True, eq=False)
class Series:
    """The correlation of new units with what is left, degree by degree.

    degree: the first at which it is not zero to rounding, None where it is zero
        up to `highest`.
    highest: the last one looked at.
    doubt: the number of lowest degree that is neither zero nor certain, None
        without one.
    u (U,), v (V,): the unit of unit length in natural units whose correlation of
    that
        degree is greatest found, flattened.
    """

    degree: int | None
    highest: int
    doubt: Rounded | None = None
    u: Float[np.ndarray, " U"] | None = None
    v: Float[np.ndarray, " V"] | None = None


@in_float64
def correlation_series(
    objective: Objective,
    theta: State,
    layer: int = 0,
    *,
    highest: int = 9,
    seed: int = 0,
) -> Series | None:
    """The first degree j at which the correlation of new units does not vanish.

        T_j(u) = j-th Taylor coefficient of eps -> G(eps u),    G(u) = -dL/dv
    A form that vanishes at random units vanishes everywhere, so that "zero up to
    degree J" leaves no descent of order J + 1 or lower to silent units of this
    layer alone. Where T_q is the first that does not, the loss falls at order
    q + 1 along several units whose lower degrees cancel, or of one unit along a
    curve. None for units that are not smooth, or made of functions whose Taylor
    series JAX does not know.

    theta (P,): the state. layer: which, counted from 0.
    highest: the last degree looked at. seed: of the random units.

    Cost: a Taylor series of phi on all samples, and some ten passes a degree.
    """
    unit = objective.network.layers[layer].unit
    if unit.symmetry.degree is None or not unit.smooth:
        return None
    rng = np.random.default_rng(seed)
    shape = _shape(objective, theta, layer)
    units = np.asarray(_units_of(objective, layer, shape))
    u = units * _rows_of_length_one(rng.standard_normal((RANDOM_UNITS, *shape)))
    try:
        values, moved = _series_at(objective, theta, layer, u=u, highest=highest, rng=rng)
    except NotImplementedError:
        return None
    doubt = None
    for degree in range(1, highest + 1):
        pairs = zip(values[:, degree - 1], moved[:, degree - 1], strict=True)
        some = [Rounded(float(value), float(size)) for value, size in pairs]
        if any(one.decided for one in some):
            best, v = _highest(
                objective,
                theta,
                layer,
                degree=degree,
                units=units,
                rng=rng,
            )
            return Series(degree, highest, doubt=doubt, u=best, v=v)
        doubt = doubt or next((one for one in some if not one.zero), None)
    return Series(None, highest, doubt=doubt)


def _series_at(
    objective: Objective,
    theta: State,
    layer: int,
    *,
    u: np.ndarray,
    highest: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """v_k . T_j(u_k) for random v_k, (K, J), and the sway of each."""
    network, function = objective.network, objective.function
    state = jnp.asarray(theta)
    inputs = objective.samples[0]
    taylor = _taylor(function, layer, highest, state, jnp.asarray(u), inputs)
    rows = np.asarray(taylor)
    count = len(u)
    outputs = network.outgoing(objective.params(state), layer).shape[1]
    v = rng.standard_normal((count, outputs))
    # K J units, one after the other.
    features = rows.reshape(count * highest, *rows.shape[2:])
    degrees = np.tile(np.arange(1.0, highest + 1), count)
    values, moved = _correlated(
        function,
        layer,
        jnp.asarray(features),
        jnp.asarray(np.repeat(v, highest, axis=0)),
        jnp.asarray(degrees),
        state,
        objective.samples,
        sizes_of(objective),
    )
    a_degree_a_column = lambda found: np.asarray(found).reshape(count, highest)
    return a_degree_a_column(values), a_degree_a_column(moved)


def _highest(
    objective: Objective,
    theta: State,
    layer: int,
    *,
    degree: int,
    units: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The unit of greatest |T_degree| found, and the direction of T_degree there.

    Random ones are tried, and ever nearer to the best.
    """
    function, samples = objective.function, objective.samples
    state = jnp.asarray(theta)
    best, width = np.zeros_like(units), 1.0
    for _ in range(CLIMB):
        around = width * rng.standard_normal((DRAWS_A_ROUND, *units.shape))
        draws = _rows_of_length_one(best + around)
        if best.any():
            draws[0] = best
        u = jnp.asarray(units * draws)
        features = _taylor(function, layer, degree, state, u, samples[0])[:, -1]
        gains = np.asarray(_gains(function, layer, features, state, samples))
        lengths = np.linalg.norm(gains, axis=1)
        first = lengths.argmax()
        best, width = draws[first], NARROWER * width
        v = gains[first] / lengths.max()
    return (units * best).ravel(), v


def _units_of(
    objective: Objective,
    layer: int,
    shape: tuple[int, ...],
) -> jax.Array:
    """The natural units of one unit's incoming weights; ones where the layer has
    no unit."""
    params = objective.params(objective.units)
    u = params[layer]["u"]
    return jnp.asarray(u[0] if len(u) else np.ones(shape))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _utility_sway(
    function: MeanLoss,
    network: Network,
    layer: int,
    u,
    v,
    theta,
    samples,
    sizes,
):
    unit = network.layers[layer].unit

    def value(theta, samples):
        def along(eps):
            return gain(function, network, layer, eps * u, theta, samples)[0] @ v

        return lowest_order(unit, along)

    return sway(value, theta, samples, sizes)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _taylor(function: MeanLoss, layer: int, highest: int, theta, u, inputs):
    """The Taylor coefficients 1 ... highest of eps -> phi(z_n; eps u_k),
    (K, J, N, ...).

    z_n: what the layer reads.
    """
    network = function.reading
    params = unflatten(function.network, theta, function.shape, function.outputs)
    unit = network.layers[layer].unit
    start = [jnp.ones(()), *[jnp.zeros(())] * (highest - 1)]

    def one(x, u):
        z = _before(network, params, x, layer)
        along = lambda eps: unit.phi(z, eps * u)
        _, derivatives = jet(along, (jnp.zeros(()),), (start,))
        coefficients = []
        for k, derivative in enumerate(derivatives, 1):
            coefficients.append(jnp.asarray(derivative) / math.factorial(k))
        return jnp.stack(coefficients)

    on_samples = jax.vmap(one, (0, None))
    every = jax.vmap(on_samples, (None, 0))(inputs, u)  # (K, N, J, ...)
    return jnp.moveaxis(every, 2, 1)


def _before(network: Network, params, z: jax.Array, layer: int) -> jax.Array:
    """What a layer reads of a sample."""
    for below, p in zip(network.layers[:layer], params, strict=False):
        if not below.mixes:
            z = below.unit.features(z, p["u"])
            continue
        mixed = sum_of_units(below.unit, z, p["u"], p["v"])
        z = z + mixed if below.residual else mixed
    return z


def _loss_with(
    function: MeanLoss,
    layer: int,
    features,
    v,
    theta,
    samples,
) -> jax.Array:
    """The loss with K more units in one layer.

    features (K, N, ...): theirs.
    v (K, V): their outgoing weights.
    """
    network = function.reading
    inputs, targets, constant = samples
    params = unflatten(function.network, theta, function.shape, function.outputs)
    own_u = network.incoming(params, layer)
    own_v = network.outgoing(params, layer)
    more = jnp.zeros((len(v), own_u.shape[1]), theta.dtype)
    both = jnp.concatenate([own_u, more]), jnp.concatenate([own_v, v])
    _, wide = network.with_sides(params, layer, *both)

    def predict(x, extra):
        z = x
        for index, (one, p) in enumerate(zip(network.layers, wide, strict=True)):
            if index == layer:
                own = one.unit.features(z, params[index]["u"])
                every = jnp.concatenate([own, extra])
            else:
                every = one.unit.features(z, p["u"])
            if not one.mixes:
                z = every
                continue
            mixed = mix(every, p["v"], one.unit.mixed)
            z = z + mixed if one.residual else mixed
        if network.readout:
            z = z @ wide[-1]["readout"]
        return z[-1] if network.reads == "last" else z

    predictions = jax.vmap(predict, (0, 1))(inputs, features)
    losses = jax.vmap(function.loss.function)(targets, predictions)
    return jnp.mean(losses) + constant


@functools.partial(jax.jit, static_argnums=(0, 1))
def _gains(function: MeanLoss, layer: int, features, theta, samples):
    """-dL/dv at v = 0 of units of given features, (K, V)."""
    return _gains_of(function, layer, features, theta, samples)


def _gains_of(function: MeanLoss, layer: int, features, theta, samples):
    params = unflatten(function.network, theta, function.shape, function.outputs)
    outputs = function.reading.outgoing(params, layer).shape[1]
    loss = lambda v: _loss_with(function, layer, features, v, theta, samples)
    return -jax.grad(loss)(jnp.zeros((len(features), outputs), theta.dtype))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _correlated(
    function: MeanLoss,
    layer: int,
    features,
    v,
    degrees,
    theta,
    samples,
    sizes,
):
    """v . G of each unit alone, and its sway.

    Its features of degree j sway by j + 1 times themselves.
    """

    def one(given):
        feature, v, degree = given

        def value(feature, theta, samples):
            return _gains_of(function, layer, feature[None], theta, samples)[0] @ v

        by_feature = jax.grad(value)(feature, theta, samples)
        moved = (degree + 1) * jnp.sum(jnp.abs(by_feature * feature))
        by_rest = sway(functools.partial(value, feature), theta, samples, sizes)
        return value(feature, theta, samples), moved + by_rest

    return jax.lax.map(one, (features, v, degrees))


def _rows_of_length_one(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows.reshape(len(rows), -1), axis=1)
    return rows / lengths.reshape(-1, *[1] * (rows.ndim - 1))


def _record(u: np.ndarray, gain: np.ndarray, degree: int, layer: int) -> Utility:
    """The best of units u (K, ...) at unit length, with G there, its weights
    split at best."""
    sizes = np.linalg.norm(gain.reshape(len(gain), -1), axis=1)
    order = np.argsort(-sizes)
    best = order[0]
    size, direction = float(sizes[best]), gain[best].ravel()
    spread = 0.0
    if size > 0:
        direction = direction / size
    if size > 0 and len(order) > 1:
        spread = float((size - sizes[order[1]]) / size)
    # |u| = a, |v| = b
    a, b = np.sqrt(degree / (degree + 1)), np.sqrt(1 / (degree + 1))
    value = float(a**degree * b * size)
    return Utility(
        value=value,
        order=degree + 1,
        rate=2 * value if degree == 1 else None,
        u=a * u[best].ravel(),
        v=b * direction,
        layer=layer,
        spread=spread,
    )


def gain(
    function: MeanLoss,
    network: Network,
    layer: int,
    u: Float[Array, "K ..."],
    theta: Float[Array, " P"],
    samples,
) -> Float[Array, "K V"]:
    """G(u_k) = -dL/dv_k of extra units k with incoming weights u_k and v_k = 0, (K, V).

    function: the loss of the network with K more units in the layer.
    network: without them.
    u (K, ...): theirs.
    theta (P,): the state of the network.

    Where a layer above has a kink at v_k = 0, the slope on one of its sides: no
    evidence there (see `kinks.Kinks.below`).
    """
    narrow = unflatten(network, theta, function.shape, function.outputs)
    own_u = network.incoming(narrow, layer)
    own_v = network.outgoing(narrow, layer)
    both_u = jnp.concatenate([own_u, u.reshape(len(u), -1)])

    def loss(v: jax.Array) -> jax.Array:
        both_v = jnp.concatenate([own_v, v])
        _, params = network.with_sides(narrow, layer, both_u, both_v)
        flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
        return function(flat, samples)

    return -jax.grad(loss)(jnp.zeros((len(u), own_v.shape[1]), theta.dtype))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _ascend(
    function: MeanLoss,
    network: Network,
    layer: int,
    steps: int,
    g,
    frame,
    theta,
    samples,
):
    """The best u = A g of length one that each start comes by, and G there."""
    unit = network.layers[layer].unit
    degree = unit.symmetry.degree or 1

    def framed(g: jax.Array) -> jax.Array:
        return (g.reshape(len(g), -1) @ frame.T).reshape(g.shape)

    def leading(u: jax.Array) -> jax.Array:
        """The degree-p form of G at u."""
        along = lambda eps: gain(function, network, layer, eps * u, theta, samples)
        return lowest_order(unit, along)

    def sizes(g: jax.Array) -> jax.Array:
        forms = leading(framed(g)).reshape(len(g), -1)
        return jnp.sqrt(jnp.sum(forms**2, axis=1) + 1e-60)

    def step(
        carry: tuple[jax.Array, ...],
        _: None,
    ) -> tuple[tuple[jax.Array, ...], None]:
        g, best, highest = carry
        size, back = jax.vjp(sizes, g)
        (slope,) = back(jnp.ones_like(size))
        value = size / _lengths(framed(g)) ** degree
        better = value > highest
        best = jnp.where(better.reshape(-1, *[1] * (g.ndim - 1)), g, best)
        ascended = _on_sphere(g + _on_sphere(slope))
        return (ascended, best, jnp.maximum(value, highest)), None

    g = _on_sphere(g)
    begin = g, g, jnp.zeros(len(g))
    (_, best, _), _ = jax.lax.scan(step, begin, None, length=steps + 1)
    u = _on_sphere(framed(best))
    return u, leading(u)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _leading(
    function: MeanLoss,
    network: Network,
    layer: int,
    theta: jax.Array,
    samples,
) -> jax.Array:
    """T at a state, or at each of several."""
    shape = network.shapes(function.shape, function.outputs)[layer]["u"][1:]
    degree = network.layers[layer].unit.symmetry.degree or 0

    def at(state: jax.Array) -> jax.Array:
        def form(u: jax.Array) -> jax.Array:
            return gain(function, network, layer, u.reshape(1, *shape), state, samples)[0]

        derivative = form
        for _ in range(degree):
            derivative = jax.jacfwd(derivative)
        return derivative(jnp.zeros(math.prod(shape), theta.dtype)) / math.factorial(degree)

    return at(theta) if theta.ndim == 1 else jax.lax.map(at, theta)


def _lengths(u: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.linalg.norm(u.reshape(len(u), -1), axis=1), TINY)


def _on_sphere(u: jax.Array) -> jax.Array:
    return u / _lengths(u).reshape(-1, *[1] * (u.ndim - 1))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _slopes(function: MeanLoss, layer: int, theta, u, inputs):
    """sum_k E[(d phi/du)'(d phi/du)] at units u_k, (U, U).

    For ReLU units u and -u the second moment of what the layer reads.
    """
    network = function.reading
    params = unflatten(function.network, theta, function.shape, function.outputs)
    by_u = jax.jacobian(network.layers[layer].unit.phi, argnums=1)

    def one(u: jax.Array) -> jax.Array:
        def rows(x):
            slope = by_u(_before(network, params, x, layer), u)
            return slope.reshape(-1, u.size)

        moments = jax.vmap(lambda x: rows(x).T @ rows(x))(inputs)
        return jnp.mean(moments, axis=0)

    return jnp.sum(jax.lax.map(one, u), axis=0)
