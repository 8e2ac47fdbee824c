"""Alternating gradient flows: the limit of vanishing initial weights, one unit at
a time.

Units are dormant or active. While the active ones rest, every dormant unit
follows the gradient of its own utility (see `dormant_units`), until the first reaches
the threshold size: *utility maximisation*. It joins the active ones, which then
run gradient flow to rest as if nothing else were there, while the others stand
still: *cost minimisation*. An active unit that falls well below the threshold is
dormant again. Units with kinks (ReLU) may slide along these, which is followed by
short steps (see `sliding`). A flow that comes to rest in neither way is refused.

Source: Kunin et al. (2025), Algorithm 1, in which that flow takes no time. Here
the clock runs until its gradient has fallen to a tenth of the largest, which is
the jump of the loss, and the wait that follows is shorter by as much: the same in
the limit, nearer to the flow before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..basis.checks import InputError, positive, require
from .base import Gradient, Parts, Rule, Units, Walker
from .dormant_units import Dormant, grow_by_modes, grow_by_steps, places_in, sizes
from .flow import GradientFlow
from .norms import norm
from .sliding import SLIDE, slide

# The active units rest when their gradient is below this share of the largest on the
# way.
RESTS = 1e-5
# The jump is over when the gradient is below this share of the largest; the clock
# stands as good as still from then until the units rest.
CALM = 0.1
# An active unit smaller than this share of the threshold is dormant again.
DROPPED = 0.5
# A dormant unit this near to the threshold, as a share of it, has crossed.
CROSSED = 1e-6

# A flow that takes more steps of controlled error slides along kinks, where no such
# step is long.
CONTROLLED = 2_000
# After so many looks a flow rests that still creeps, and after so many one that does
# not rest is refused.
CREEPING, REFUSED_LOOKS = 1_000, 3_000


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
        return _Bound(
            flow=flow,
            units=parts.units,
            natural=parts.unit_size,
            threshold=self.threshold,
        )

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


class Step(NamedTuple):
    """One step of the active units alone.

    walker: theirs, the others' weights zero.
    kept: whether it was.
    speed: |theta'| after it, of a sliding flow the mean.
    sliding: whether it is one.
    """

    walker: Walker
    kept: Array
    speed: Array
    sliding: Array


@dataclass(frozen=True)
class _Bound(Rule):
    """AGF of these units, with a flow for the active ones.

    natural: the natural size of a unit.
    threshold: at which share of it a unit is active.
    """

    together: ClassVar[int] = 1
    flow: GradientFlow
    units: Units
    natural: float
    threshold: float

    @property
    def size(self) -> float:
        """At which a unit is active."""
        return self.threshold * self.natural

    @property
    def _natural_weight(self) -> float:
        """The natural size of a weight: the power of two below what makes d of them
        a natural unit."""
        _, d = self._index.shape
        return 2.0 ** math.floor(math.log2(self.natural / math.sqrt(d)))

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        every = sizes(theta[self._index])
        zero = jnp.zeros((), theta.dtype)
        begin = _Departure(
            theta=theta,
            time=zero,
            active=every >= self.size,
            first=every,
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
            lambda w: self._minimise_cost(w, gradient, key, horizon),
            lambda w: self._maximise_utility(w, gradient, key, horizon),
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
        return places_in(self._index) // self._index.shape[1]

    # ---------------------------------------------------------- cost minimisation
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
            peak=norm(alone.gradient),
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

    def _minimise_cost(
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
        step = self._step(walker, gradient, key, end)
        alone, kept = step.walker, step.kept
        theta = jnp.where(phase.active[self._owner], alone.theta, walker.theta)
        lengths = sizes(theta[self._index])

        counted = jnp.where(flow.calm, _tick(walker.time), alone.time - flow.clock)
        arrived = ~flow.calm & (alone.time >= end)
        time = jnp.where(arrived, horizon, walker.time + counted)

        rests, after = self.judged(phase, step)
        phase = phase._replace(
            active=phase.active & (lengths >= DROPPED * self.size),
            moving=~rests,
            flow=after,
            spent=phase.spent + counted,
            first=lengths,
            step=jnp.zeros_like(phase.step),
        )
        return Walker(theta, time, alone.gradient, phase), kept & ~after.lost

    def _step(self, walker: Walker, gradient: Gradient, key: Array, end: Array) -> Step:
        """One of controlled error up to the time `end`, or, of a flow that has taken
        many, short ones."""
        phase, flow = walker.inner, walker.inner.flow
        own = self._own(gradient, phase.active)
        alone = Walker(
            theta=self._only(walker.theta, phase.active),
            time=flow.clock,
            gradient=flow.slope,
            inner=flow.state,
        )
        sliding = flow.steps >= CONTROLLED
        moved, kept = jax.lax.cond(
            sliding,
            lambda: (slide(alone, lambda theta: own(theta, key)), jnp.array(True)),
            lambda: self.flow.advance(alone, own, key, end),
        )
        speed = norm(moved.gradient)
        return Step(moved, kept, speed=speed, sliding=sliding)

    def judged(self, phase: _Phase, step: Step) -> tuple[Array, _Flow]:
        """Whether the active units rest after a step, and their flow then."""
        flow, speed = phase.flow, step.speed
        peak = jnp.maximum(flow.peak, jnp.where(step.sliding, 0.0, speed))
        # A flow that still creeps after so long, and slower than any unit that counts
        # would grow, rests too.
        growth = phase.pull * norm(step.walker.theta) ** (self.units.order - 1)
        slow = speed <= RESTS * growth
        creeps = (flow.steps >= CONTROLLED + CREEPING) & slow
        rests = step.kept & ~flow.lost & ((speed <= RESTS * peak) | creeps)
        endless = flow.steps >= CONTROLLED + REFUSED_LOOKS
        after = _Flow(
            state=step.walker.inner,
            slope=step.walker.gradient,
            peak=peak,
            clock=step.walker.time,
            steps=flow.steps + 1,
            calm=flow.calm | (speed <= CALM * peak),
            lost=flow.lost | (~rests & endless),
        )
        return rests, after

    # ------------------------------------------------------- utility maximisation
    def _maximise_utility(
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
        dormant = Dormant(
            active=self._only(walker.theta, phase.active),
            units=self.units,
            index=self._index,
            mask=~phase.active,
            gradient=lambda theta: gradient(theta, key),
            least=RESTS * phase.pull,
            natural=self._natural_weight,
            threshold=self.size,
        )
        own = jnp.where(phase.active[:, None], 0.0, walker.theta[self._index])
        if self.units.order == 2:
            grown = grow_by_modes(dormant, own, phase.step, room)
        else:
            grown = grow_by_steps(dormant, own, phase.first, room)
        theta = jnp.where(phase.active[self._owner], walker.theta, dormant.flat(grown.units))

        made_up = jnp.minimum(phase.spent, grown.time)
        left = phase.spent - made_up
        counted = jnp.maximum(grown.time - made_up, _tick(walker.time))
        time = jnp.where(grown.time >= room, horizon, walker.time + counted)
        pull = jnp.maximum(phase.pull, dormant.pull(own))

        lengths = jnp.where(phase.active, 0.0, sizes(grown.units))
        crossed = jnp.max(lengths) >= self.size * (1 - CROSSED)
        waiting = phase._replace(spent=left, step=grown.step, pull=pull)
        departing = _Departure(
            theta=theta,
            time=time,
            active=phase.active.at[jnp.argmax(lengths)].set(True),
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

    # ------------------------------------------------------------------- weights
    def _only(self, theta: Array, units: Array) -> Array:
        """The weights of these units, the others' zero."""
        return jnp.where(units[self._owner], theta, 0.0)

    def _own(self, gradient: Gradient, active: Array) -> Gradient:
        """The gradient with respect to the active units."""
        return lambda theta, key: self._only(gradient(theta, key), active)


def _tick(time: Array) -> Array:
    """The least by which a clock that stands still moves, so that no two records
    share a time."""
    return 4 * jnp.finfo(time.dtype).eps * time
