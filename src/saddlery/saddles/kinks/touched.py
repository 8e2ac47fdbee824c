"""What lies on a kink: the samples on the kinks of each unit's own weights, and the
slopes of phi on either side.

No value that automatic differentiation gives at a kink is used. Slopes are taken beside
it, on both sides along a random direction, at two distances: where they differ by a
jump, the difference stays; where phi is only curved, it shrinks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...networks import MeanLoss, Network, Objective, Params, unflatten
from ...networks.network import mix
from ...networks.objectives import Samples
from ...units import Unit
from .base import (
    CLOSER,
    KinkTolerances,
    Vector,
    largest,
    lengths,
    of_length_one,
    on_the_kink,
    places,
    stays,
)
from .slopes import Steepest, steepest


class Touched(NamedTuple):
    """The kinks that one unit's samples lie on.

    normals (K, U): of unit length.
    gamma (K,): jumps of the loss's slope.
    samples (K,): which lie there.
    gradient (U,): of the side -normals.
    bent: whether phi's curvature jumps although its slope does not.
    meeting: whether several kinks meet at one sample.
    silent: u = 0 and v = 0.
    units (U,): of slopes along its own weights.
    """

    layer: int
    unit: int
    normals: np.ndarray
    gamma: np.ndarray
    samples: np.ndarray
    gradient: np.ndarray
    bent: bool
    meeting: bool
    silent: bool
    units: np.ndarray

    def live(self, tolerance: float) -> np.ndarray:
        """Which kinks (K,) the loss feels at first order."""
        return np.abs(self.gamma) * lengths(self.units * self.normals) > tolerance

    def slope(self, d: np.ndarray) -> float:
        """L'(theta; d) along the own weights (U,) of the unit."""
        across = np.maximum(self.normals @ d, 0.0)
        return float(self.gradient @ d + self.gamma @ across)

    def steepest(self, tolerance: float) -> Steepest:
        """Of d / units, in which slopes are held against the tolerance; its
        normals as those of d."""
        normals = self.units * self.normals
        sizes = lengths(normals)
        found = steepest(
            self.units * self.gradient,
            normals / sizes[:, None],
            sizes * self.gamma,
            tolerance,
        )
        own = of_length_one(found.normals / self.units)
        return found._replace(normals=own)

    def steepest_in_plain(self, tolerance: float) -> Steepest:
        """Of d itself, without the kinks and slopes that are zero to the tolerance; its
        rest as one of d / units."""
        clear = np.abs(self.units * self.gradient) > tolerance
        gradient = np.where(clear, self.gradient, 0.0)
        live = np.where(self.live(tolerance), self.gamma, 0.0)
        found = steepest(gradient, self.normals, live, 0.0)
        return found._replace(rest=self.units * found.rest)


def touched_by(
    objective: Objective,
    state: Vector,
    own: Vector,
    tolerance: float,
) -> Iterator[Touched]:
    """What every unit touches at a state (P,).

    own (P,): the units of slopes, which are held against the tolerance.
    """
    inputs, pulls = _tangents(objective.function, jnp.asarray(state), objective.samples)
    params, units = objective.params(state), objective.params(objective.units)
    for index, layer in enumerate(objective.network.layers):
        if layer.unit.smooth:
            continue
        sizes = own[places(objective, index)]
        sides_at = functools.partial(Sides.at, layer.unit, inputs[index])
        outgoing = np.asarray(objective.network.outgoing(params, index))
        pull = np.asarray(pulls[index])
        incoming = np.asarray(params[index]["u"], float)
        at_zero = None
        for i, (u, one) in enumerate(zip(incoming, units[index]["u"], strict=True)):
            zero = not u.any()
            if zero and at_zero is None:
                # All units without weights have the same two sides.
                at_zero = sides_at(u, one)
            sides = at_zero if zero and at_zero is not None else sides_at(u, one)
            found = sides.touched(
                pull[:, i].reshape(len(pull), -1),
                layer=index,
                unit=i,
                units=sizes[i],
                silent=zero and not outgoing[i].any(),
                tolerance=tolerance,
            )
            if found is not None:
                yield found


# ------------------------------------------------------------------- slopes on two sides
class Beside(NamedTuple):
    """Slopes of phi (N, F, U) a step before a unit's weights and a step beyond, and how
    these change along the step."""

    minus: np.ndarray
    plus: np.ndarray
    change_minus: np.ndarray
    change_plus: np.ndarray

    @property
    def jump(self) -> np.ndarray:
        return lengths(self.plus - self.minus)

    @property
    def bend(self) -> np.ndarray:
        return lengths(self.change_plus - self.change_minus)


class Sides(NamedTuple):
    """Slopes of phi on the two sides of a unit.

    minus (N, F, U): on the side minus.
    jump (N, F, U): of the slope, across a random direction (U,).
    on (N, F): where there are such jumps.
    bend (N, F, U): the jump of the curvature along the direction.
    curved (N, F): where the curvature jumps alone.
    meeting (N, F): where another direction sees another jump.
    """

    minus: np.ndarray
    jump: np.ndarray
    direction: np.ndarray
    on: np.ndarray
    bend: np.ndarray
    curved: np.ndarray
    meeting: np.ndarray

    @staticmethod
    def at(unit: Unit, inputs: Array, u: np.ndarray, units: np.ndarray) -> Sides:
        """Of one unit with weights u on all inputs (N, ...), in natural units of u."""
        limits = KinkTolerances.now()
        size = float(np.linalg.norm(u / units)) or 1.0
        draws = np.random.default_rng(0).standard_normal((2, *u.shape))
        first, second = (units * w / np.linalg.norm(w) * size for w in draws)

        def beside(direction: np.ndarray, step: float) -> Beside:
            slopes = _beside(unit, inputs, jnp.asarray(u), direction, step)
            return Beside(*(units.ravel() * np.asarray(x) for x in slopes))

        near = beside(first, limits.near)
        nearer = beside(first, limits.near / CLOSER)
        other = beside(second, limits.near)

        steep, wide = largest(near.minus, near.plus), near.jump
        on = stays(wide, nearer.jump, steep)
        # A kink farther away than the nearer point is not touched.
        passed = (wide > limits.bend * steep) & ~on
        at = Beside(*(_at_zero(a, b, passed) for a, b in zip(near, nearer, strict=True)))
        jump, bend = at.plus - at.minus, at.change_plus - at.change_minus

        curvature = largest(near.change_minus, near.change_plus)
        curved = stays(near.bend, nearer.bend, curvature) & ~on

        # Where several kinks meet, what jumps depends on where they are crossed.
        again = other.plus - other.minus
        gap = np.minimum(lengths(jump - again), lengths(jump + again))
        meeting = on & (gap > limits.bend * wide)
        return Sides(
            minus=at.minus / units.ravel(),
            jump=jump / units.ravel(),
            direction=first.ravel(),
            on=on,
            bend=bend / units.ravel(),
            curved=curved,
            meeting=meeting,
        )

    def touched(
        self,
        pull: np.ndarray,
        *,
        layer: int,
        unit: int,
        units: np.ndarray,
        silent: bool,
        tolerance: float,
    ) -> Touched | None:
        """The kinks of one unit, given dL/dphi (N, F); None where
        no sample lies on one."""
        felt = np.abs(pull)[..., None] * np.abs(units * self.bend)
        bent = self.curved & (felt.max(axis=-1, initial=0.0) > tolerance)
        if not (self.on.any() or bent.any()):
            return None
        marks = np.argwhere(self.on | bent)
        chosen = tuple(marks.T)
        on = self.on[..., None]
        jumps = np.where(on, self.jump, 0.0)[chosen]
        across = np.where(on, self.jump, self.bend)[chosen]
        normals = across / np.linalg.norm(across, axis=1, keepdims=True)
        # The side plus is that of the direction.
        turned = np.where(normals @ self.direction < 0, -1.0, 1.0)
        normals *= turned[:, None]
        return Touched(
            layer=layer,
            unit=unit,
            normals=normals,
            gamma=pull[chosen] * np.sum(jumps * normals, axis=1),
            samples=marks[:, 0],
            gradient=np.einsum("nf,nfu->u", pull, self.minus),
            bent=bool(bent.any()),
            meeting=bool(self.meeting.any()),
            silent=silent,
            units=units,
        )


def _at_zero(near: np.ndarray, nearer: np.ndarray, passed: np.ndarray) -> np.ndarray:
    """The value on the kink itself, from this side: extrapolated, except where another
    kink lies between the two."""
    return np.where(passed[..., None], nearer, on_the_kink(near, nearer))


@functools.partial(jax.jit, static_argnums=0)
def _beside(
    unit: Unit,
    inputs: Array,
    u: Array,
    direction: Array,
    step: float,
) -> tuple[Array, ...]:
    """dphi/du (N, F, U) at u - step w and u + step w, and their derivatives along w."""

    def features(z: Array, w: Array) -> Array:
        return unit.phi(z, w).ravel()

    def slope(weights: Array) -> Array:
        each = jax.vmap(jax.jacfwd(features, argnums=1), in_axes=(0, None))
        rows = each(inputs, weights)
        return rows.reshape(*rows.shape[:2], -1)

    minus, plus = u - step * direction, u + step * direction
    before, change_before = jax.jvp(slope, (minus,), (direction,))
    beyond, change_beyond = jax.jvp(slope, (plus,), (direction,))
    return before, beyond, change_before, change_beyond


# ------------------------------------------------------------------- what units read and say
@functools.partial(jax.jit, static_argnums=0)
def _tangents(
    function: MeanLoss, theta: Array, samples: Samples
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The inputs (N, ...) of every layer, and dL/dphi (N, H, ...) of
    every layer's features."""
    inputs, targets, constant = samples
    network = function.reading
    params = unflatten(function.network, theta, function.shape, function.outputs)
    nothing = jax.vmap(lambda z: layers_at(network, params, z)[1])(inputs)

    def loss(shifts: tuple[Array, ...]) -> Array:
        shifted = lambda z, s: _shifted(network, params, z, s)[0]
        outputs = jax.vmap(shifted)(inputs, shifts)
        return jnp.mean(jax.vmap(function.loss.function)(targets, outputs)) + constant

    pulls = jax.grad(loss)(tuple(jnp.zeros_like(f) for f in nothing))
    reads = jax.vmap(lambda z: layers_at(network, params, z)[0])(inputs)
    return reads, pulls


def layers_at(
    network: Network, params: Params, z: Array
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The input and the features (H, ...) of every layer, for one sample z (...)."""
    nothing = (0.0,) * len(network.layers)
    _, inputs, features = _shifted(network, params, z, nothing)
    return inputs, features


def _shifted(
    network: Network, params: Params, z: Array, shifts: tuple
) -> tuple[Array, tuple, tuple]:
    """f(z) with the features of every layer shifted, as `Network.apply` has it; the
    layers' inputs and features."""
    inputs, features = [], []
    for layer, p, shift in zip(network.layers, params, shifts, strict=True):
        inputs.append(z)
        phi = layer.unit.features(z, p["u"]) + shift
        features.append(phi)
        mixed = mix(phi, p["v"], layer.unit.mixed) if layer.mixes else phi
        z = z + mixed if layer.residual else mixed
    if network.readout:
        z = z @ params[-1]["readout"]
    said = z[-1] if network.reads == "last" else z
    return said, tuple(inputs), tuple(features)
