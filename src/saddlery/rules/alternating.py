"""Alternating gradient flows: the limit of vanishing initial weights, one unit at
a time.

Units are dormant or active. While the active ones rest, every dormant unit
follows the gradient of its own utility,
    theta_i' = grad U(theta_i),
    U homogeneous of degree kappa in theta_i = (u_i, v_i),
until the first reaches the threshold size. It joins the active ones, which then
run gradient flow to rest as if nothing else were there, while the others stand
still; an active unit that falls well below the threshold is dormant again. Units
with kinks (ReLU) may slide: the gradient points at a kink from both sides, and
the flow follows it. No error-controlled step is long there, so that such a flow
is continued by short steps of fixed length, whose mean velocity is that of the
sliding flow (Filippov 1988) and vanishes where it rests. One that comes to rest
in neither way is refused.

Source: Kunin et al. (2025), Algorithm 1, in which that flow takes no time. Here
the clock runs until its gradient has fallen to a tenth of the largest, which is
the jump of the loss, and the wait that follows is shorter by as much: the same in
the limit, nearer to the flow before it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..basis.checks import InputError, positive, require
from .base import Gradient, Parts, Rule, Units, Walker
from .flow import GradientFlow

# The active units rest when their gradient is below this share of the largest on the
# way.
RESTS = 1e-5
# The jump is over when the gradient is below this share of the largest; the clock
# stands as good as still from then until the units rest.
CALM = 0.1
# An active unit smaller than this share of the threshold is dormant again.
DROPPED = 0.5

# A flow that takes more steps of controlled error slides along kinks, where no such
# step is long.
CONTROLLED = 2_000
# Such a flow is looked at after so many steps of fixed length, averaged over their
# halves.
SLIDE = 128
# These steps are of this length over lambda_max, and move the weights by this share at
# most.
STABLE, SHARE_MOVED = 0.5, 0.1
# Steps of the power iteration for lambda_max.
POWER_ITERATIONS = 12
# After so many looks a flow rests that still creeps, and after so many one that does
# not rest is refused.
CREEPING, REFUSED_LOOKS = 1_000, 3_000

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
# Newton steps to the moment at which a unit crosses the threshold.
CROSSING_STEPS = 10
# Stands in for a size of zero wherever one divides by it.
TINY = 1e-300


UNBOUND = "the rule 'agf' needs to know the units: call bound(parts) first"


@dataclass(frozen=True)
class AlternatingFlow(Rule):
    """Alternating gradient flows (AGF) of one sum of units, in place of a flow
    from tiny weights.

    threshold: the size |theta_i| of a unit (d,) at which it becomes active, as a
        fraction, below one, of the natural size of one unit.
    relative_tolerance: of the flow of the active units.

    Dormant units move by the exponential of the Hessian of their utility where
    kappa = 2 (exact for linear units, and for ReLU ones between two kinks), by
    Runge-Kutta steps and the closed form of the blow-up for kappa > 2. Jump times
    differ from those of the flow by O(1 / ln(1/scale)) for kappa = 2 (many units
    share in what one does here) and by a power of the scale for kappa > 2; the
    cost does not depend on the scale.

    Example
    -------
    >>> from saddlery.rules import AlternatingFlow
    >>> AlternatingFlow(threshold=0.02).options()
    {'kind': 'agf', 'threshold': 0.02, 'relative_tolerance': 1e-07}
    """

    kind: ClassVar[str] = "agf"
    together: ClassVar[int] = 1
    threshold: float = 0.01
    relative_tolerance: float = 1e-7

    def __post_init__(self) -> None:
        positive(self.threshold, "threshold")
        require(
            self.threshold < 1,
            "threshold",
            needed="below 1, the natural size of a unit",
            given=self.threshold,
        )
        positive(self.relative_tolerance, "relative_tolerance")
        super().__post_init__()

    def bound(self, parts: Parts) -> Rule:
        flow = GradientFlow(relative_tolerance=self.relative_tolerance, solver="dopri8")
        size = self.threshold * parts.unit_size
        return _Bound(flow=flow, units=parts.units, size=size)

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        raise InputError(UNBOUND)

    def advance(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
    ) -> tuple[Walker, Bool[Array, ""]]:
        raise InputError(UNBOUND)


class _Flow(NamedTuple):
    """The flow of the active units.

    state: what the solver remembers.
    slope (P,), peak: the latest gradient, and the largest norm of one.
    clock, steps: its own time, and its steps.
    calm: whether the jump is over.
    lost: whether it was given up.
    """

    state: Any
    slope: Array
    peak: Array
    clock: Array
    steps: Array
    calm: Array
    lost: Array


class _Phase(NamedTuple):
    """What the units do: the active ones flow, or all wait.

    active (N,): which are.
    moving: whether the active units flow.
    flow: theirs.
    spent: flow time that the dormant units have to make up for.
    owed: of that, what was left of earlier flows when this one began: by so much
        the clock is late, as where units grow side by side.
    first (N,): sizes when the wait began.
    step: the next one of a wait, 0 for not chosen.
    pull: the largest |grad U| on the unit sphere so far.
    """

    active: Array
    moving: Array
    flow: _Flow
    spent: Array
    owed: Array
    first: Array
    step: Array
    pull: Array


@dataclass(frozen=True)
class _Bound(Rule):
    """AGF of these units, with a flow for the active ones; `size` is the threshold."""

    together: ClassVar[int] = 1
    flow: GradientFlow
    units: Units
    size: float

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        sizes = _sizes(theta[self._index])
        zero = jnp.zeros((), theta.dtype)
        begin = _Departure(
            theta=theta,
            time=zero,
            active=sizes >= self.size,
            first=sizes,
            pull=zero,
            owed=zero,
        )
        return self._set_off(begin, gradient, key)

    @property
    def refusal(self) -> str:
        short = REFUSED_LOOKS * SLIDE
        steps = f"{CONTROLLED:,} steps of controlled error and {short:,} short ones"
        return f"the flow of the active units did not come to rest in {steps}"

    def advance(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
    ) -> tuple[Walker, Bool[Array, ""]]:
        return jax.lax.cond(
            walker.inner.moving,
            lambda w: self._flow_on(w, gradient, key, horizon),
            lambda w: self._wait(w, gradient, key, horizon),
            walker,
        )

    def observe(self, walker: Walker) -> Mapping[str, Array]:
        phase = walker.inner
        return {"active": phase.active, "moving": phase.moving, "owed": phase.owed}

    @property
    def _index(self) -> np.ndarray:
        """The places of the weights of every unit, (N, d): all places, once each."""
        return np.array(self.units.index)

    @property
    def _owner(self) -> np.ndarray:
        """Whose every weight (P,) is."""
        return _places(self._index) // self._index.shape[1]

    # ---------------------------------------------------------------- active units
    def _set_off(
        self,
        begin: _Departure,
        gradient: Gradient,
        key: Array,
    ) -> Walker:
        """The walker where the flow of the active units begins."""
        theta, active = begin.theta, begin.active
        zero = jnp.zeros((), theta.dtype)
        own = self._own(gradient, active)
        alone = self.flow.start(self._only(theta, active), own, key)
        flow = _Flow(
            state=alone.inner,
            slope=alone.gradient,
            peak=jnp.linalg.norm(alone.gradient),
            clock=zero,
            steps=jnp.zeros((), jnp.int32),
            calm=jnp.array(False),
            lost=jnp.array(False),
        )
        phase = _Phase(
            active=active,
            moving=jnp.any(active),
            flow=flow,
            spent=begin.owed,
            owed=begin.owed,
            first=begin.first,
            step=zero,
            pull=begin.pull,
        )
        return Walker(theta, begin.time, alone.gradient, phase)

    def _flow_on(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
    ) -> tuple[Walker, Array]:
        """One step of the active units; at rest the wait begins."""
        phase, flow = walker.inner, walker.inner.flow
        # Where the jump is over the clock stands still, and no horizon is near.
        end = jnp.where(flow.calm, jnp.inf, flow.clock + horizon - walker.time)
        alone = Walker(
            theta=self._only(walker.theta, phase.active),
            time=flow.clock,
            gradient=flow.slope,
            inner=flow.state,
        )
        own = self._own(gradient, phase.active)
        sliding = flow.steps >= CONTROLLED
        moved, kept, speed = jax.lax.cond(
            sliding,
            lambda: _slide(alone, own, key),
            lambda: _controlled(self.flow, alone, own, key, end),
        )
        theta = jnp.where(phase.active[self._owner], moved.theta, walker.theta)
        sizes = _sizes(theta[self._index])

        counted = jnp.where(flow.calm, _tick(walker.time), moved.time - flow.clock)
        arrived = ~flow.calm & (moved.time >= end)
        time = jnp.where(arrived, horizon, walker.time + counted)

        peak = jnp.maximum(flow.peak, jnp.where(sliding, 0.0, speed))
        # A flow that still creeps after so long, and slower than any unit that counts
        # would grow, rests too.
        slow = speed <= RESTS * phase.pull * jnp.linalg.norm(moved.theta)
        creeps = (flow.steps >= CONTROLLED + CREEPING) & slow
        rests = kept & ~flow.lost & ((speed <= RESTS * peak) | creeps)
        lost = flow.lost | (~rests & (flow.steps >= CONTROLLED + REFUSED_LOOKS))
        after = _Flow(
            state=moved.inner,
            slope=moved.gradient,
            peak=peak,
            clock=moved.time,
            steps=flow.steps + 1,
            calm=flow.calm | (speed <= CALM * peak),
            lost=lost,
        )
        phase = phase._replace(
            active=phase.active & (sizes >= DROPPED * self.size),
            moving=~rests,
            flow=after,
            spent=phase.spent + counted,
            first=sizes,
            step=jnp.zeros_like(phase.step),
        )
        return Walker(theta, time, moved.gradient, phase), kept & ~lost

    # --------------------------------------------------------------- dormant units
    def _wait(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
    ) -> tuple[Walker, Array]:
        """One step of the dormant units; with the first to cross the threshold
        the flow begins."""
        phase = walker.inner
        room = horizon - walker.time + phase.spent
        dormant = _Dormant(
            active=self._only(walker.theta, phase.active),
            units=self.units,
            index=self._index,
            mask=~phase.active,
            gradient=gradient,
            key=key,
            least=RESTS * phase.pull,
        )
        own = jnp.where(phase.active[:, None], 0.0, walker.theta[self._index])
        move = self._exponential if self.units.order == 2 else self._runge_kutta
        units, length, step = move(dormant, own, phase, room)
        theta = jnp.where(phase.active[self._owner], walker.theta, dormant.flat(units))

        made_up = jnp.minimum(phase.spent, length)
        left = phase.spent - made_up
        counted = jnp.maximum(length - made_up, _tick(walker.time))
        time = jnp.where(length >= room, horizon, walker.time + counted)
        pull = jnp.maximum(phase.pull, dormant.pull(own))

        sizes = jnp.where(phase.active, 0.0, _sizes(units))
        crossed = jnp.max(sizes) >= self.size * (1 - 1e-6)
        waiting = phase._replace(spent=left, step=step, pull=pull)
        departing = _Departure(
            theta=theta,
            time=time,
            active=phase.active.at[jnp.argmax(sizes)].set(True),
            first=phase.first,
            pull=pull,
            owed=left,
        )
        went_on = jax.lax.cond(
            crossed,
            lambda: self._set_off(departing, gradient, key),
            lambda: Walker(theta, time, phase.flow.slope, waiting),
        )
        return went_on, jnp.array(True)

    def _exponential(
        self,
        dormant: _Dormant,
        units: Array,
        phase: _Phase,
        room: Array,
    ) -> tuple[Array, ...]:
        """theta_i(h) = e^(H_i h) theta_i, H_i the Hessian of the utility.

        Up to where the first unit crosses. Returned: the units, h, and the next
        step.
        """
        modes = dormant.modes(units)
        limit = jnp.minimum(_crossed_by(modes, self.size), room)
        if not self.units.smooth:
            return self._between_kinks(dormant, units, modes, limit, phase.step)
        step = jnp.where(phase.step > 0, phase.step, limit / CUTS)
        h = _first_crossing(modes, jnp.minimum(limit, step), self.size)
        return _after(modes, h), h, step

    def _between_kinks(
        self,
        dormant: _Dormant,
        units: Array,
        modes: Modes,
        limit: Array,
        step: Array,
    ) -> tuple[Array, ...]:
        """The exponential where no unit meets a kink, else short Runge-Kutta steps.

        Whether one does is seen by taking the second half of the step anew.
        """
        rates, _, _ = modes
        shortest = SHORT_STEPS * SHORT_STEP / jnp.maximum(jnp.max(jnp.abs(rates)), TINY)
        longest = jnp.minimum(limit, jnp.maximum(step, shortest))
        h = _first_crossing(modes, longest, self.size)
        moved, half = _after(modes, h), _after(modes, h / 2)
        twice = _after(dormant.modes(half), h / 2)
        error = _sizes(twice - moved) / jnp.maximum(_sizes(twice), TINY)
        sound = jnp.max(error) <= QUADRATIC_ERROR

        short = jnp.minimum(limit, shortest) / SHORT_STEPS

        def one(_: Any, at: Array) -> Array:
            return _runge_kutta(dormant.slope, at, dormant.slope(at), short)

        through = lambda: jax.lax.fori_loop(0, SHORT_STEPS, one, units)
        moved = jax.lax.cond(sound, lambda: moved, through)
        length = jnp.where(sound, h, SHORT_STEPS * short)
        return moved, length, jnp.where(sound, 4 * h, 0.0)

    def _runge_kutta(
        self,
        dormant: _Dormant,
        units: Array,
        phase: _Phase,
        room: Array,
    ) -> tuple[Array, ...]:
        """A step of order four, or in closed form the last one, of the unit that
        crosses first."""
        slope = dormant.slope(units)
        slopes = _sizes(slope)
        sizes = _sizes(units)
        lengths = jnp.maximum(sizes, TINY)
        along = jnp.sum(slope * units, axis=1)  # kappa U(theta_i)
        across = _sizes(slope - (along / lengths**2)[:, None] * units)
        settled = across <= ACROSS * slopes
        grown = (sizes > GROWN_SINCE_SADDLE * phase.first) & (sizes < self.size)
        ready = (along > 0) & settled & grown

        # |theta|^(2 - kappa) falls linearly in time.
        power = 2 - self.units.order
        left = sizes**2 / along * (1 - (self.size / sizes) ** power) / -power
        left = jnp.where(ready, left, jnp.inf)
        winner = jnp.argmin(left)
        closed = left[winner] <= room
        plain = TURN / (jnp.max(slopes / lengths) + TINY)
        h = jnp.minimum(jnp.where(closed, left[winner], plain), room)

        moved = _runge_kutta(dormant.slope, units, slope, h)
        # The winner alone crosses.
        held_back = 0.99 * self.size / jnp.maximum(_sizes(moved), TINY)
        below = jnp.minimum(1.0, held_back)
        crossing = self.size * units[winner] / lengths[winner]
        ended = (below[:, None] * moved).at[winner].set(crossing)
        return jnp.where(closed, ended, moved), h, phase.step

    # ------------------------------------------------------------------- weights
    def _only(self, theta: Array, units: Array) -> Array:
        """The weights of these units, the others' zero."""
        return jnp.where(units[self._owner], theta, 0.0)

    def _own(self, gradient: Gradient, active: Array) -> Gradient:
        """The gradient with respect to the active units."""
        return lambda theta, key: self._only(gradient(theta, key), active)


class _Departure(NamedTuple):
    """Where a flow of active units begins.

    theta (P,), time: there.
    active (N,): which they are.
    first (N,): sizes when the wait before it began.
    pull: as of `_Phase`.
    owed: flow time that the wait was too short to make up for.
    """

    theta: Array
    time: Array
    active: Array
    first: Array
    pull: Array
    owed: Array


Own = Callable[[Array, Array], Array]


def _controlled(
    flow: GradientFlow,
    walker: Walker,
    gradient: Own,
    key: Array,
    end: Array,
) -> tuple[Walker, Array, Array]:
    """One step of controlled error: the walker, whether it was kept, and its
    speed there."""
    moved, kept = flow.advance(walker, gradient, key, end)
    return moved, kept, jnp.linalg.norm(moved.gradient)


def _slide(
    walker: Walker,
    gradient: Own,
    key: Array,
) -> tuple[Walker, Array, Array]:
    """SLIDE short steps.

    The mean place over the later half less that over the earlier one has the
    velocity of a sliding flow, whatever the single steps do across the kinks;
    where that vanishes the later mean is the place of rest.
    """
    length = _stable_step(walker.theta, gradient, key)
    half = SLIDE // 2

    def step(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        theta, total = state
        theta = theta - length * gradient(theta, key)
        return theta, total + theta / half

    zero = jnp.zeros_like(walker.theta)
    middle, earlier = jax.lax.fori_loop(0, half, step, (walker.theta, zero))
    _, later = jax.lax.fori_loop(0, half, step, (middle, zero))
    velocity = (later - earlier) / (half * length)
    # The middle of the later half.
    time = walker.time + 0.75 * SLIDE * length
    moved = Walker(later, time, -velocity, walker.inner)
    return moved, jnp.array(True), jnp.linalg.norm(velocity)


def _stable_step(theta: Array, gradient: Own, key: Array) -> Array:
    """Half of 1/lambda_max, by power iteration; shorter where that would move the
    weights far."""

    def curved(d: Array) -> Array:
        _, along = jax.jvp(lambda t: gradient(t, key), (theta,), (d,))
        return along

    def unit(d: Array) -> Array:
        return d / jnp.maximum(jnp.linalg.norm(d), TINY)

    slope = gradient(theta, key)
    iterated = lambda _, d: unit(curved(d))
    direction = jax.lax.fori_loop(0, POWER_ITERATIONS, iterated, unit(slope + theta))
    largest = jnp.linalg.norm(curved(direction))
    stable = STABLE / jnp.maximum(largest, TINY)
    speed = jnp.maximum(jnp.linalg.norm(slope), TINY)
    short = SHARE_MOVED * jnp.linalg.norm(theta) / speed
    return jnp.minimum(stable, short)


# Eigenvalues (N, d) and eigenvectors (N, d, d) of the Hessian of U, and the units in
# these (N, d).
Modes = tuple[Array, Array, Array]


class _Dormant(NamedTuple):
    """The utility of every dormant unit beside the active ones.

    Through the gradient of the loss with all dormant units so small that they do
    not feel each other: of size delta, with delta^kappa and machine
    precision / delta^(kappa - 1) equal.

    active (P,): the weights, with the dormant units at zero.
    units, index (N, d): where they lie.
    mask (N,): which are dormant.
    gradient, key: of the loss.
    least: a smaller |grad U| on the unit sphere is what the rest of the active
        units leaves, and counts as none.
    """

    active: Array
    units: Units
    index: np.ndarray
    mask: Array
    gradient: Gradient
    key: Array
    least: Array

    def at(self, directions: Array) -> Array:
        """grad U at unit vectors (N, d)."""
        kappa = self.units.order
        eps = float(jnp.finfo(directions.dtype).eps)
        delta = eps ** (1 / (2 * kappa - 1))
        small = jnp.where(self.mask[:, None], delta * directions, 0.0)
        slope = self.gradient(self.active + self.flat(small), self.key)
        found = -slope[self.index] / delta ** (kappa - 1)
        return jnp.where(self.mask[:, None], found, 0.0)

    def slope(self, units: Array) -> Array:
        """grad U(theta_i) of every unit (N, d)."""
        sizes = _sizes(units)[:, None]
        slope = self.at(units / jnp.maximum(sizes, TINY))
        counts = _sizes(slope)[:, None] > self.least
        return jnp.where(counts, slope, 0.0) * sizes ** (self.units.order - 1)

    def pull(self, units: Array) -> Array:
        """The largest |grad U| of any unit, were it of size one."""
        return jnp.max(_sizes(self.at(_directions(units))))

    def modes(self, units: Array) -> Modes:
        """Of the Hessian of U (kappa = 2)."""
        rates, vectors = jnp.linalg.eigh(self.hessian(units))
        rates = jnp.where(jnp.abs(rates) > self.least, rates, 0.0)
        return rates, vectors, jnp.einsum("nij,ni->nj", vectors, units)

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
        return units.ravel()[_places(self.index)]

    def _curved(self, direction: Array) -> Array:
        """-(d^2 L / d theta^2) along a direction of dormant units."""
        slope = lambda theta: self.gradient(theta, self.key)
        _, along = jax.jvp(slope, (self.active,), (direction,))
        return -along


def _places(index: np.ndarray) -> np.ndarray:
    """Where every weight (P,) stands among those of the units (N, d), laid flat."""
    return np.argsort(index, axis=None)


def _sizes(units: Array) -> Array:
    """|theta_i| of every unit, (N,)."""
    return jnp.linalg.norm(units, axis=1)


def _directions(units: Array) -> Array:
    return units / jnp.maximum(_sizes(units), TINY)[:, None]


def _tick(time: Array) -> Array:
    """The least by which a clock that stands still moves, so that no two records
    share a time."""
    return 4 * jnp.finfo(time.dtype).eps * time


def _after(modes: Modes, h: Array) -> Array:
    """The units (N, d) after a time h."""
    rates, vectors, parts = modes
    return jnp.einsum("nij,nj->ni", vectors, jnp.exp(rates * h) * parts)


def _crossed_by(modes: Modes, size: float) -> Array:
    """A time by which the first unit has crossed: when a part of it alone has."""
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
    rates, _, parts = modes

    def excess(t: Array) -> Array:
        squares = jnp.sum((jnp.exp(rates * t) * parts) ** 2, axis=1)
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
