"""Kinks in networks of several layers: those that the weights of the layers below
cross, and first order along random directions.

Where a sample gives z = 0, phi(z; u) has no kink in u, and one in z. All weights
are moved at random and the slopes d phi/dz compared: on a kink they take several
values however small the moves. Kinks of several layers are composed, and L' is no
longer a sum over them, so that it is looked at along random directions and
descended from the steepest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...basis.precision import in_float64
from ...networks import MeanLoss, Network, Objective, unflatten
from ...solvers.spectra import unit_vector
from .base import (
    CLOSER,
    KinkTolerances,
    Vector,
    largest,
    lengths,
    natural,
    on_the_kink,
    reach,
    sides_of_units,
    stays,
)
from .records import Place
from .touched import layers_at

# A deep network is looked at along so many random directions, each forth and back.
PROBES = 24
# Descents begin at so many of these, the steepest, and take so many steps each.
DESCENTS, STEPS = 4, 40
# A kink that is crossed at first order would be seen in so many random sums of jumps.
FEW = 8


# ------------------------------------------------------------------- which kinks are crossed
def crossed_from_below(objective: Objective, state: Vector) -> list[Place]:
    """Kinks whose slope d phi/dz takes several values however little
    the weights are moved.

    Not where z stays what it is, as that of a sample which no unit below is active on;
    nor where u = 0, so that d phi/dz is as small as the weights were moved by. Cost:
    some 100 passes over the samples.
    """
    layers = _kinked_above(objective.network)
    if not layers or not objective.size:
        return []
    moves = _moves(objective, state)
    far = _spans(objective, state, moves)
    near = _spans(objective, state, 1.0 / CLOSER * moves)
    found = []
    for layer, wide, narrow in zip(layers, far, near, strict=True):
        marks = stays(wide.width, narrow.width, wide.largest)
        for sample, unit in np.argwhere(marks):
            found.append(Place(layer, int(unit), int(sample)))
    return found


def _kinked_above(network: Network) -> list[int]:
    """The layers with kinks that other layers lie below."""
    return [k for k, layer in enumerate(network.layers) if k and not layer.unit.smooth]


def _moves(objective: Objective, state: Vector) -> np.ndarray:
    """Random moves of all weights (2 K, P), in pairs forth and back, as far as what is
    near, in natural units."""
    units, size = natural(objective, state)
    draws = np.random.default_rng(0).standard_normal((PROBES, objective.size))
    draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    pairs = np.stack([draws, -draws], axis=1).reshape(-1, objective.size)
    return KinkTolerances.now().near * size * units * pairs


class _Span(NamedTuple):
    """Between which values d phi/dz varies.

    width (N, H): of a unit's features the widest.
    largest: of all values.
    """

    width: np.ndarray
    largest: float


def _spans(objective: Objective, state: Vector, moves: np.ndarray) -> list[_Span]:
    """Over the moves, for every layer with kinks above another."""
    function, inputs = objective.function, objective.samples[0]

    def slopes(move: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(x) for x in _in_inputs(function, state + move, inputs)]

    first = slopes(moves[0])
    lowest = [x.copy() for x in first]
    highest = [x.copy() for x in first]
    for move in moves[1:]:
        for low, high, new in zip(lowest, highest, slopes(move), strict=True):
            np.minimum(low, new, out=low)
            np.maximum(high, new, out=high)
    spans = []
    for low, high in zip(lowest, highest, strict=True):
        features = (high - low).reshape(*low.shape[:2], -1)
        width = features.max(axis=-1, initial=0.0)
        spans.append(_Span(width, largest(low, high)))
    return spans


@functools.partial(jax.jit, static_argnums=0)
def _in_inputs(function: MeanLoss, theta: Array, inputs: Array) -> tuple[Array, ...]:
    """d phi/dz (N, H, ...) of every layer with kinks above another, along one random
    direction of its inputs."""
    network = function.reading
    params = unflatten(function.network, theta, function.shape, function.outputs)

    def along(k: int, z: Array) -> Array:
        features = lambda z: network.layers[k].unit.features(z, params[k]["u"])
        return jax.jvp(features, (z,), (_direction(z.shape),))[1]

    def slopes(x: Array) -> tuple[Array, ...]:
        reads, _ = layers_at(network, params, x)
        return tuple(along(k, reads[k]) for k in _kinked_above(network))

    return jax.vmap(slopes)(inputs)


def _direction(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


# ------------------------------------------------------------------- directions across them
def jumps_below(
    objective: Objective,
    state: Vector,
    below: list[Place],
    units: Vector,
) -> np.ndarray:
    """Jumps of the slopes of these units' phi in all weights, which are normal to their
    kinks: as many random sums of them (M, P) as span those of any one block of weights.

    None where kinks are crossed at higher order only. units (P,): in which they
    are told from rounding.
    """
    sums = _RandomSums(objective, state, below, units)
    some = [sums.jump(k) for k in range(FEW)]
    floor = KinkTolerances.now().rounding * max(size for _, size in some)
    if max(float(np.abs(row).max()) for row, _ in some) <= floor:
        return np.zeros((0, objective.size))
    block = max(len(places) for places in sides_of_units(objective))
    most = min(2 * sum(int(m.sum()) for m in sums.marks), block)
    more = [sums.jump(k) for k in range(FEW, most + FEW)]
    rows = np.array([row for row, _ in (*some, *more)])
    return np.where(np.abs(rows) > floor, rows, 0.0) / units


class _RandomSums:
    """Random sums of the features of units on kinks, and how their slopes jump."""

    def __init__(
        self,
        objective: Objective,
        state: Vector,
        below: list[Place],
        units: Vector,
    ) -> None:
        self.function, self.inputs = objective.function, objective.samples[0]
        self.state, self.units = state, units
        says = lambda t: _all_features(self.function, t, self.inputs)
        self.features = jax.eval_shape(says, jnp.asarray(state))
        self.marks = [np.zeros(f.shape[:2], bool) for f in self.features]
        for place in below:
            self.marks[place.layer][place.sample, place.unit] = True
        self.rng = np.random.default_rng(2)
        self.forth = _moves(objective, state)[::2]

    def jump(self, k: int) -> tuple[np.ndarray, float]:
        """Of the slope (P,) of the next sum across the k-th move, and the largest entry
        of the slopes on both sides."""
        weights = self._drawn()
        move = self.forth[k % len(self.forth)]

        def slope(theta: np.ndarray) -> np.ndarray:
            found = _weighted(self.function, theta, weights, self.inputs)
            return self.units * np.asarray(found)

        plus = _beside_state(slope, self.state, 1.0 * move)
        minus = _beside_state(slope, self.state, -1.0 * move)
        return plus - minus, float(np.abs([plus, minus]).max())

    def _drawn(self) -> tuple[np.ndarray, ...]:
        """Weights of a sum, zero for units that lie on no kink."""
        draws = [self.rng.standard_normal(f.shape) for f in self.features]
        found = []
        for drawn, marks in zip(draws, self.marks, strict=True):
            beyond = [1] * (drawn.ndim - 2)
            found.append(drawn * marks.reshape(*marks.shape, *beyond))
        return tuple(found)


def _all_features(function: MeanLoss, theta: Array, inputs: Array) -> tuple[Array, ...]:
    params = unflatten(function.network, theta, function.shape, function.outputs)
    return jax.vmap(lambda x: layers_at(function.reading, params, x)[1])(inputs)


@functools.partial(jax.jit, static_argnums=0)
def _weighted(
    function: MeanLoss,
    theta: Array,
    weights: tuple[Array, ...],
    inputs: Array,
) -> Array:
    """The gradient of sum_n w_n . phi_n over all layers."""

    def total(t: Array) -> Array | int:
        features = _all_features(function, t, inputs)
        return sum(jnp.sum(w * f) for w, f in zip(weights, features, strict=True))

    return jax.grad(total)(theta)


def _beside_state(
    slope: Callable[[np.ndarray], np.ndarray],
    state: Vector,
    move: Vector,
) -> np.ndarray:
    """A slope on the side of the state that a small move leads to,
    extrapolated to the state itself."""
    return on_the_kink(slope(state + move), slope(state + move / CLOSER))


# ------------------------------------------------------------------- gradients beside
@in_float64
def directional(
    objective: Objective,
    state: Vector,
    direction: Vector,
    step: float = 1e-7,
) -> float:
    """L'(theta; d) = lim (L(theta + t d) - L(theta)) / t, from the gradient beside the
    state (P,), where it is smooth.

    For a direction (P,) that crosses every kink it leaves, such as random ones;
    accurate to the curvature along d times `step`, which is one of the state in natural
    units. Cost: two gradients.
    """
    far = step * reach(objective, state, direction)

    def slope(t: float) -> float:
        gradient = np.asarray(objective.gradient(state + t * direction))
        return float(gradient @ direction)

    return 2 * slope(0.5 * far) - slope(far)


class Probed(NamedTuple):
    """First order along random directions.

    bends: whether they see several gradients, so that L' is not linear.
    slope: L' along the direction (P,), of unit length, of the steepest descent found, in
        the units of slopes; zero where none falls.
    residual: its size in these units.
    """

    bends: bool
    slope: float
    residual: float
    direction: np.ndarray | None


@in_float64
def probe(
    objective: Objective,
    state: Vector,
    units: Vector,
    tolerance: float,
) -> Probed:
    """L'(theta; d) = g(d).d along random d, g(d) the gradient beside the state (P,),
    and descended from the steepest of them.

    units (P,): of slopes, which are held against the tolerance as (s g).e of e = (d /
    s) / |d / s|. What falls by no more than rounding and curvature make over its steps
    is for the caller to look at; where nothing falls, nothing is proven. Cost: 100
    gradients, and 400 more where L' is not linear.
    """
    state = np.asarray(state, float)
    slope_at = lambda theta: units * np.asarray(objective.gradient(theta))
    moves = _moves(objective, state)
    size = float(lengths(moves / units).max())
    beside = lambda e: _beside_state(slope_at, state, size * units * e)
    starts = np.array([unit_vector(move / units) for move in moves])
    gradients = np.array([beside(e) for e in starts])
    if lengths(gradients - slope_at(state)).max() <= tolerance:
        return Probed(bends=False, slope=0.0, residual=0.0, direction=None)

    lowest = -KinkTolerances.now().sure * tolerance
    best = None
    for k in np.argsort(np.sum(starts * gradients, axis=1))[:DESCENTS]:
        e, g = starts[k], gradients[k]
        for count in range(STEPS):
            slope = float(g @ e)
            if slope < lowest:
                lowest, best = slope, e
            # Steps that shrink as 2 / n: what falls is not smooth, and lengths say
            # nothing.
            e = unit_vector(e - 2.0 / (count + 1) * unit_vector(g))
            g = beside(e)
    if best is None:
        return Probed(bends=True, slope=0.0, residual=0.0, direction=None)
    length = float(np.linalg.norm(units * best))
    return Probed(
        bends=True,
        slope=lowest / length,
        residual=-lowest,
        direction=units * best / length,
    )
