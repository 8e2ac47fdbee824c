"""Dormant units: each follows the gradient of its own utility,

    theta_i' = grad U(theta_i),
    U homogeneous of degree kappa in theta_i = (u_i, v_i),

until the first reaches the threshold size.

Source: Kunin et al. (2025), Algorithm 1, utility maximisation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .base import Units
from .norms import norm, tiny

# A wait is cut into about so many steps, so that a record shows the plateau (kappa = 2;
# more for kappa > 2).
CUTS = 4
# The utility of units with kinks counts as quadratic over a step of no larger relative
# error.
QUADRATIC_ERROR = 1e-3
# Where it does not, so many Runge-Kutta steps are taken, each this long over the
# fastest rate.
SHORT_STEPS, SHORT_STEP = 8, 0.25
# Length of a Runge-Kutta step (kappa > 2), in units of the time in which the fastest
# unit changes by itself.
TURN = 0.05
# A unit this many times its size at the last saddle, and settled, grows in closed form
# (kappa > 2).
GROWN_SINCE_SADDLE = 100.0
# A direction has settled up to this share of grad U across it, |component across| /
# |grad U|.
ACROSS = 1e-3
# Units that do not cross first are held back at this share of the threshold.
HELD_BACK = 0.99
# Newton steps to the moment at which a unit crosses the threshold.
CROSSING_STEPS = 10


class Modes(NamedTuple):
    """The Hessian of U, decomposed: all units grow by themselves.

    rates (N, d), vectors (N, d, d): eigenvalues and eigenvectors; one for all
        where all units have the same.
    parts (N, d): the units in these.
    """

    rates: Array
    vectors: Array
    parts: Array

    def at(self, time: Array) -> Array:
        """The units (N, d) after a time."""
        return jnp.einsum("nij,nj->ni", self.vectors, self.parts_at(time))

    def parts_at(self, time: Array) -> Array:
        """The parts (N, d) after a time; what is zero stays so at any rate."""
        rates = jnp.where(self.parts == 0, 0.0, self.rates)
        return jnp.exp(rates * time) * self.parts


class Dormant(NamedTuple):
    """The utility of every dormant unit beside the active ones.

    Through the gradient of the loss with all dormant units so small that they do
    not feel each other: of delta natural sizes, with delta^kappa and machine
    precision / delta^(kappa - 1) equal.

    active (P,): the weights, with the dormant units at zero.
    units, index (N, d): where they lie.
    mask (N,): which are dormant.
    gradient: of the loss, theta (P,) -> (P,).
    least: a smaller |grad U| on the unit sphere is what the rest of the active
        units leaves, and counts as none.
    natural: the natural size of a weight, a power of two: what is multiplied by it
        keeps its digits.
    threshold: the size at which a unit is active.
    """

    active: Array
    units: Units
    index: np.ndarray
    mask: Array
    gradient: Callable[[Array], Array]
    least: Array
    natural: float
    threshold: float

    def at(self, directions: Array) -> Array:
        """grad U at unit vectors (N, d)."""
        kappa = self.units.order
        eps = float(jnp.finfo(directions.dtype).eps)
        size = eps ** (1 / (2 * kappa - 1)) * self.natural
        small = jnp.where(self.mask[:, None], size * directions, 0.0)
        slope = self.gradient(self.active + self.flat(small))
        found = -slope[self.index] / size ** (kappa - 1)
        return jnp.where(self.mask[:, None], found, 0.0)

    def slope(self, units: Array) -> Array:
        """grad U(theta_i) of every unit (N, d)."""
        slope = self.at(_directions(units))
        counts = sizes(slope)[:, None] > self.least
        lengths = sizes(units)[:, None]
        return jnp.where(counts, slope, 0.0) * lengths ** (self.units.order - 1)

    def pull(self, units: Array) -> Array:
        """The largest |grad U| of any unit, were it of size one."""
        return jnp.max(sizes(self.at(_directions(units))))

    def modes(self, units: Array) -> Modes:
        """Of the Hessian of U (kappa = 2)."""
        rates, vectors = jnp.linalg.eigh(self.hessian(units))
        rates = jnp.where(jnp.abs(rates) > self.least, rates, 0.0)
        return Modes(rates, vectors, jnp.einsum("nij,ni->nj", vectors, units))

    def hessian(self, units: Array) -> Array:
        """The Hessian of U (N, d, d).

        Of smooth units at zero, where it is constant; (1, d, d) where it is that
        of all.
        """
        if not self.units.smooth:
            column = functools.partial(self._columns_at, _directions(units))
        elif self.units.alike:
            column = self._column_of_one
        else:
            column = self._columns_at_zero
        columns = jax.vmap(column)(jnp.eye(units.shape[1], dtype=units.dtype))
        found = jnp.moveaxis(columns, 0, 2)
        return 0.5 * (found + jnp.swapaxes(found, 1, 2))

    def _columns_at(self, directions: Array, e: Array) -> Array:
        """The Hessian of every unit along e, at unit vectors (N, d), (N, d)."""
        along = jnp.broadcast_to(e, directions.shape)
        _, columns = jax.jvp(self.at, (directions,), (along,))
        return columns

    def _columns_at_zero(self, e: Array) -> Array:
        """The Hessian of every unit along e, (N, d)."""
        along = jnp.broadcast_to(e, self.index.shape)
        return self._curved(self.flat(along))[self.index]

    def _column_of_one(self, e: Array) -> Array:
        """The Hessian of the first dormant unit along e, (1, d)."""
        places = jnp.asarray(self.index)[jnp.argmax(self.mask)]
        direction = jnp.zeros_like(self.active).at[places].set(e)
        return self._curved(direction)[places][None]

    def flat(self, units: Array) -> Array:
        """Weights (P,) from those of units (N, d)."""
        return units.ravel()[places_in(self.index)]

    def _curved(self, direction: Array) -> Array:
        """-(d^2 L / d theta^2) along a direction of dormant units."""
        _, along = jax.jvp(self.gradient, (self.active,), (direction,))
        return -along


# ------------------------------------------------------------------------ growth
class Grown(NamedTuple):
    """Units (N, d) after a time, and how long the next step should be, 0 for not
    known."""

    units: Array
    time: Array
    step: Array


def grow_by_modes(dormant: Dormant, units: Array, step: Array, room: Array) -> Grown:
    """theta_i(h) = e^(H_i h) theta_i, H_i the Hessian of the utility (kappa = 2).

    Up to where the first unit crosses.

    step: h, 0 for not chosen.
    room: the longest h.
    """
    modes = dormant.modes(units)
    limit = jnp.minimum(_crossed_by(modes, dormant.threshold), room)
    if not dormant.units.smooth:
        return _between_kinks(dormant, units, modes, step, limit)
    step = jnp.where(step > 0, step, limit / CUTS)
    h = _first_crossing(modes, jnp.minimum(limit, step), dormant.threshold)
    return Grown(modes.at(h), h, step)


def _between_kinks(
    dormant: Dormant,
    units: Array,
    modes: Modes,
    step: Array,
    limit: Array,
) -> Grown:
    """The exponential where no unit meets a kink, else short Runge-Kutta steps.

    Whether one does is seen by taking the second half of the step anew.
    """
    fastest = jnp.max(jnp.abs(modes.rates))
    shortest = SHORT_STEPS * SHORT_STEP / _above_zero(fastest)
    longest = jnp.minimum(limit, jnp.maximum(step, shortest))
    h = _first_crossing(modes, longest, dormant.threshold)
    moved = modes.at(h)
    again = dormant.modes(modes.at(h / 2)).at(h / 2)
    error = sizes(again - moved) / _above_zero(sizes(again))
    sound = jnp.max(error) <= QUADRATIC_ERROR

    short = jnp.minimum(limit, shortest) / SHORT_STEPS

    def one(_: Any, at: Array) -> Array:
        return _runge_kutta(dormant.slope, at, dormant.slope(at), short)

    through = lambda: jax.lax.fori_loop(0, SHORT_STEPS, one, units)
    return Grown(
        units=jax.lax.cond(sound, lambda: moved, through),
        time=jnp.where(sound, h, SHORT_STEPS * short),
        step=jnp.where(sound, 4 * h, 0.0),
    )


def grow_by_steps(dormant: Dormant, units: Array, first: Array, room: Array) -> Grown:
    """A step of order four, or in closed form the last one, of the unit that crosses
    first (kappa > 2).

    first (N,): sizes when the wait began.
    room: the longest step.
    """
    slope = dormant.slope(units)
    left = _until_crossing(dormant, units, slope=slope, first=first)
    winner = jnp.argmin(left)
    crosses = left[winner] <= room

    lengths = _above_zero(sizes(units))
    plain = TURN / _above_zero(jnp.max(sizes(slope) / lengths))
    h = jnp.minimum(jnp.where(crosses, left[winner], plain), room)
    moved = _runge_kutta(dormant.slope, units, slope, h)

    # The winner alone crosses.
    held_back = HELD_BACK * dormant.threshold / _above_zero(sizes(moved))
    below = jnp.minimum(1.0, held_back)
    crossing = dormant.threshold * units[winner] / lengths[winner]
    ended = (below[:, None] * moved).at[winner].set(crossing)
    return Grown(jnp.where(crosses, ended, moved), h, jnp.zeros_like(h))


def _until_crossing(
    dormant: Dormant,
    units: Array,
    slope: Array,
    first: Array,
) -> Array:
    """How long every unit takes to the threshold, (N,): where it has settled,
    |theta|^(2 - kappa) falls linearly in time; infinite where it has not."""
    lengths = sizes(units)
    safe = _above_zero(lengths)
    along = jnp.sum(slope * units, axis=1)  # kappa U(theta_i)
    across = sizes(slope - (along / safe**2)[:, None] * units)
    settled = across <= ACROSS * sizes(slope)
    grown = (lengths > GROWN_SINCE_SADDLE * first) & (lengths < dormant.threshold)
    ready = (along > 0) & settled & grown

    power = 2 - dormant.units.order
    left = lengths**2 / along * (1 - (dormant.threshold / lengths) ** power) / -power
    return jnp.where(ready, left, jnp.inf)


def _crossed_by(modes: Modes, size: float) -> Array:
    """A time by which the first unit has crossed, and no earlier than it does: when
    one part of a unit alone is as large. Newton's method falls from there onto the
    crossing itself."""
    rates, _, parts = modes
    grows = (rates > 0) & (parts != 0)
    begins = jnp.where(grows, jnp.abs(parts), size)
    times = jnp.log(size / begins) / jnp.where(grows, rates, 1.0)
    return jnp.maximum(jnp.min(jnp.where(grows, times, jnp.inf)), 0.0)


def _first_crossing(modes: Modes, h: Array, size: float) -> Array:
    """The time at which the first unit crosses, or h if none has by then.

    log |theta_i(t)|^2 is convex in t, and so is the largest: Newton's method from
    the right falls onto the root.
    """

    def excess(t: Array) -> Array:
        squares = jnp.sum(modes.parts_at(t) ** 2, axis=1)
        return jnp.log(jnp.max(squares) / size**2)

    def newton(_: int, t: Array) -> Array:
        value, slope = jax.value_and_grad(excess)(t)
        return jnp.where(value > 0, t - value / slope, t)

    return jax.lax.fori_loop(0, CROSSING_STEPS, newton, h)


def _runge_kutta(
    field: Callable[[Array], Array],
    units: Float[Array, "N d"],
    slope: Array,
    h: Array,
) -> Array:
    """The units after one classical step of order four; slope: of the field there."""
    second = field(units + 0.5 * h * slope)
    third = field(units + 0.5 * h * second)
    fourth = field(units + h * third)
    return units + h / 6 * (slope + 2 * second + 2 * third + fourth)


# ------------------------------------------------------------------------- units
def places_in(index: np.ndarray) -> np.ndarray:
    """Where every weight (P,) stands among those of the units (N, d), laid flat."""
    return np.argsort(index, axis=None)


def sizes(units: Array) -> Array:
    """|theta_i| of every unit, (N,)."""
    return norm(units, axis=1)


def _directions(units: Array) -> Array:
    return units / _above_zero(sizes(units))[:, None]


def _above_zero(x: Array) -> Array:
    """x, or the least number above zero, which one can divide by."""
    return jnp.maximum(x, tiny(x.dtype))
