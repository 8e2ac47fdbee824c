"""Alternating gradient flows: the limit of vanishing initial weights, one unit at a time.

Units are dormant or active. While the active ones rest, every dormant unit follows the gradient of
its own utility,
    theta_i' = grad U(theta_i),    U homogeneous of degree kappa in theta_i = (u_i, v_i),
until the first reaches the threshold size. It joins the active ones, which then run gradient flow
to rest as if nothing else were there, while the others stand still; an active unit that falls well
below the threshold is dormant again. Units with kinks (ReLU) may slide: the gradient points at a
kink from both sides, and the flow follows it. No error-controlled step is long there, so that such
a flow is continued by short steps of fixed length, whose mean velocity is that of the sliding flow
(Filippov 1988) and vanishes where it rests. One that comes to rest in neither way is refused.
Source: Kunin et al. (2025), Algorithm 1, in which that flow takes no time. Here the clock runs
until its gradient has fallen to a tenth of the largest, which is the jump of the loss, and the wait
that follows is shorter by as much: the same in the limit, nearer to the flow before it.
"""

from __future__ import annotations

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

REST = 1e-5  # of the largest gradient on the way: below this the active units rest
# of the largest gradient: below this the jump is over, and the clock stands as good as still until
# the units rest
CALM = 0.1
DROPPED = 0.5  # of the threshold: an active unit smaller than this is dormant again
# steps of an error-controlled flow; one that takes more slides along kinks, where no such step is
# long
SMOOTH = 2_000
SLIDE, HALVES = (
    128,
    2,
)  # steps of fixed length between two looks at such a flow; what is averaged over
STABLE = 0.5  # of 1/lambda_max: that length
POWER = 12  # iterations for lambda_max
LONG, MOST = (
    1_000,
    3_000,
)  # looks after which a creeping flow rests, and after which one that does not rest is refused
# steps into which a wait is cut, so that a record shows the plateau (kappa = 2; more for kappa > 2)
LOOKS = 4
KINKS = (
    1e-3  # relative error of a step over which the utility of units with kinks counts as quadratic
)
SHORT, BLOCK = 0.25, 8  # where it does not, so many Runge-Kutta steps, in units of the fastest rate
# of a Runge-Kutta step (kappa > 2), in units of the time in which the fastest unit changes by
# itself
TURN = 0.05
# a unit this many times its size at the last saddle, and settled, grows in closed form (kappa > 2)
AWAY = 100.0
# |component of grad U across the direction| / |grad U| from which a direction counts as settled
SETTLED = 1e-3
NEWTON = 10  # steps to the moment at which a unit crosses


@dataclass(frozen=True)
class AlternatingFlow(Rule):
    """Alternating gradient flows (AGF) of a single sum of units, in place of a flow from very small
    weights.

    threshold: the size |theta_i| at which a unit becomes active, as a fraction of the natural size
    of one unit. Dormant units move by the exponential of the Hessian of their utility where kappa =
    2 (exact for linear units, and for ReLU ones between two kinks), by Runge-Kutta steps and the
    closed form of the blow-up for kappa > 2. relative_tolerance: of the flow of the active units.
    Jump times differ from those of the flow by O(1 / ln(1/scale)) for kappa = 2 (many units share
    in what one does here) and by a power of the scale for kappa > 2; the cost does not depend on
    the scale.
    """

    kind: ClassVar[str] = "agf"
    together: ClassVar[int] = 1
    threshold: float = 0.01
    relative_tolerance: float = 1e-7

    def __post_init__(self) -> None:
        positive(self.threshold, "threshold")
        require(
            self.threshold < 1, "threshold", "below 1, the natural size of a unit", self.threshold
        )
        positive(self.relative_tolerance, "relative_tolerance")
        super().__post_init__()

    def bound(self, parts: Parts) -> Rule:
        flow = GradientFlow(relative_tolerance=self.relative_tolerance, solver="dopri8")
        return _Bound(flow, parts.units, self.threshold * parts.unit_size)

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        raise InputError("the rule 'agf' needs to know the units: call bound(parts) first")

    def advance(
        self, walker: Walker, gradient: Gradient, key: Array, horizon: Array
    ) -> tuple[Walker, Bool[Array, ""]]:
        raise InputError("the rule 'agf' needs to know the units: call bound(parts) first")


class _Flow(NamedTuple):
    """The flow of the active units. state: what the solver remembers. slope: the latest gradient;
    peak: its largest norm.
    clock: its own time. calm: whether the jump is over. lost: whether it was given up."""

    state: Any
    slope: Array
    peak: Array
    clock: Array
    steps: Array
    calm: Array
    lost: Array


class _Phase(NamedTuple):
    """active (N,). moving: whether the active units flow, or all wait. spent: flow time the dormant
    units have to make up for. owed: of that, what was left of earlier flows when this one began: by
    so much the clock is late, as where units grow side by side. first (N,): sizes when the wait
    began. step: the next one of a wait, 0 for not chosen. pull: the largest |grad U| on the unit
    sphere so far."""

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
        sizes, zero = _sizes(theta[self._index]), jnp.zeros((), theta.dtype)
        return self._set_off(theta, zero, sizes >= self.size, sizes, zero, zero, gradient, key)

    @property
    def refusal(self) -> str:
        steps = f"{SMOOTH:,} steps of controlled error and {MOST * SLIDE:,} short ones"
        return f"the flow of the active units did not come to rest in {steps}"

    def advance(
        self, walker: Walker, gradient: Gradient, key: Array, horizon: Array
    ) -> tuple[Walker, Bool[Array, ""]]:
        return jax.lax.cond(
            walker.inner.moving,
            lambda w: self._flow_on(w, gradient, key, horizon),
            lambda w: self._wait(w, gradient, key, horizon),
            walker,
        )

    def observe(self, walker: Walker) -> Mapping[str, Array]:
        return {
            "active": walker.inner.active,
            "moving": walker.inner.moving,
            "owed": walker.inner.owed,
        }

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
        theta: Array,
        time: Array,
        active: Array,
        first: Array,
        pull: Array,
        owed: Array,
        gradient: Gradient,
        key: Array,
    ) -> Walker:
        """The walker where the flow of the active units begins. owed: flow time that the wait was
        too short to make up for."""
        walker = self.flow.start(self._only(theta, active), self._own(gradient, active), key)
        peak, zero = jnp.linalg.norm(walker.gradient), jnp.zeros((), theta.dtype)
        flow = _Flow(
            walker.inner,
            walker.gradient,
            peak,
            zero,
            jnp.zeros((), jnp.int32),
            jnp.array(False),
            jnp.array(False),
        )
        phase = _Phase(active, jnp.any(active), flow, owed, owed, first, zero, pull)
        return Walker(theta, time, walker.gradient, phase)

    def _flow_on(
        self, walker: Walker, gradient: Gradient, key: Array, horizon: Array
    ) -> tuple[Walker, Array]:
        """One step of the active units; at rest the wait begins."""
        phase, flow = walker.inner, walker.inner.flow
        end = jnp.where(flow.calm, jnp.inf, flow.clock + horizon - walker.time)
        alone = Walker(self._only(walker.theta, phase.active), flow.clock, flow.slope, flow.state)
        own = self._own(gradient, phase.active)
        sliding = flow.steps >= SMOOTH
        moved, kept, speed = jax.lax.cond(
            sliding,
            lambda: _slide(alone, own, key),
            lambda: _controlled(self.flow, alone, own, key, end),
        )
        theta = jnp.where(phase.active[self._owner], moved.theta, walker.theta)
        sizes = _sizes(theta[self._index])
        peak = jnp.maximum(flow.peak, jnp.where(sliding, 0.0, speed))
        counted = jnp.where(flow.calm, _tick(walker.time), moved.time - flow.clock)
        time = jnp.where(~flow.calm & (moved.time >= end), horizon, walker.time + counted)
        # A flow that still creeps after so long, and slower than any unit that counts would grow,
        # rests too.
        creeps = (flow.steps >= SMOOTH + LONG) & (
            speed <= REST * phase.pull * jnp.linalg.norm(moved.theta)
        )
        rests = kept & ~flow.lost & ((speed <= REST * peak) | creeps)
        lost = flow.lost | (~rests & (flow.steps >= SMOOTH + MOST))
        calm = flow.calm | (speed <= CALM * peak)
        phase = phase._replace(
            active=phase.active & (sizes >= DROPPED * self.size),
            moving=~rests,
            flow=_Flow(moved.inner, moved.gradient, peak, moved.time, flow.steps + 1, calm, lost),
            spent=phase.spent + counted,
            first=sizes,
            step=jnp.zeros_like(phase.step),
        )
        return Walker(theta, time, moved.gradient, phase), kept & ~lost

    # --------------------------------------------------------------- dormant units
    def _wait(
        self, walker: Walker, gradient: Gradient, key: Array, horizon: Array
    ) -> tuple[Walker, Array]:
        """One step of the dormant units; with the first to cross the threshold the flow begins."""
        phase = walker.inner
        room = horizon - walker.time + phase.spent
        rest = self._only(walker.theta, phase.active)
        dormant = _Dormant(
            rest, self.units, self._index, ~phase.active, gradient, key, REST * phase.pull
        )
        own = jnp.where(phase.active[:, None], 0.0, walker.theta[self._index])
        move = self._exponential if self.units.order == 2 else self._runge_kutta
        units, length, step = move(dormant, own, phase, room)
        theta = jnp.where(phase.active[self._owner], walker.theta, dormant.flat(units))
        made_up = jnp.minimum(phase.spent, length)
        time = jnp.where(
            length >= room, horizon, walker.time + jnp.maximum(length - made_up, _tick(walker.time))
        )
        sizes = jnp.where(phase.active, 0.0, _sizes(units))
        crossed = jnp.max(sizes) >= self.size * (1 - 1e-6)
        pull = jnp.maximum(phase.pull, dormant.pull(own))
        waiting = Walker(
            theta,
            time,
            phase.flow.slope,
            phase._replace(spent=phase.spent - made_up, step=step, pull=pull),
        )
        joined = phase.active.at[jnp.argmax(sizes)].set(True)
        go = lambda: self._set_off(
            theta, time, joined, phase.first, pull, phase.spent - made_up, gradient, key
        )
        return jax.lax.cond(crossed, go, lambda: waiting), jnp.array(True)

    def _exponential(
        self, dormant: _Dormant, units: Array, phase: _Phase, room: Array
    ) -> tuple[Array, ...]:
        """theta_i(h) = e^(H_i h) theta_i, H_i the Hessian of the utility, up to where the first
        unit crosses."""
        modes = dormant.modes(units)
        limit = jnp.minimum(_crossed_by(modes, self.size), room)
        if self.units.smooth:
            step = jnp.where(phase.step > 0, phase.step, limit / LOOKS)
            h = _first_crossing(modes, jnp.minimum(limit, step), self.size)
            return _after(modes, h), h, step
        shortest = BLOCK * SHORT / jnp.maximum(jnp.max(jnp.abs(modes[0])), 1e-300)
        h = _first_crossing(modes, jnp.minimum(limit, jnp.maximum(phase.step, shortest)), self.size)
        moved, half = _after(modes, h), _after(modes, h / 2)
        twice = _after(dormant.modes(half), h / 2)
        sound = jnp.max(_sizes(twice - moved) / jnp.maximum(_sizes(twice), 1e-300)) <= KINKS
        short = jnp.minimum(limit, shortest) / BLOCK
        step = lambda _, at: _runge_kutta(dormant.slope, at, dormant.slope(at), short)
        through = lambda: jax.lax.fori_loop(0, BLOCK, step, units)
        moved = jax.lax.cond(sound, lambda: moved, through)
        return moved, jnp.where(sound, h, BLOCK * short), jnp.where(sound, 4 * h, 0.0)

    def _runge_kutta(
        self, dormant: _Dormant, units: Array, phase: _Phase, room: Array
    ) -> tuple[Array, ...]:
        """A step of order four, or in closed form the last one, of the unit that crosses first."""
        kappa, slope, sizes = self.units.order, dormant.slope(units), _sizes(units)
        along = jnp.sum(slope * units, axis=1)  # kappa U(theta_i)
        across = _sizes(slope - (along / jnp.maximum(sizes, 1e-300) ** 2)[:, None] * units)
        ready = (
            (along > 0)
            & (across <= SETTLED * _sizes(slope))
            & (sizes > AWAY * phase.first)
            & (sizes < self.size)
        )
        power = 2 - kappa
        left = sizes**2 / along * (1 - (self.size / sizes) ** power) / -power
        left = jnp.where(ready, left, jnp.inf)
        winner = jnp.argmin(left)
        plain = TURN / (jnp.max(_sizes(slope) / jnp.maximum(sizes, 1e-300)) + 1e-300)
        closed = left[winner] <= room
        h = jnp.minimum(jnp.where(closed, left[winner], plain), room)
        moved = _runge_kutta(dormant.slope, units, slope, h)
        least = (
            jnp.minimum(1.0, 0.99 * self.size / jnp.maximum(_sizes(moved), 1e-300))[:, None] * moved
        )
        ended = least.at[winner].set(self.size * units[winner] / jnp.maximum(sizes[winner], 1e-300))
        return jnp.where(closed, ended, moved), h, phase.step

    # ------------------------------------------------------------------- weights
    def _only(self, theta: Array, units: Array) -> Array:
        """The weights of these units, the others' zero."""
        return jnp.where(units[self._owner], theta, 0.0)

    def _own(self, gradient: Gradient, active: Array) -> Gradient:
        """The gradient with respect to the active units."""
        return lambda theta, key: self._only(gradient(theta, key), active)


Own = Callable[[Array, Array], Array]


def _controlled(
    flow: GradientFlow, walker: Walker, gradient: Own, key: Array, end: Array
) -> tuple[Walker, Array, Array]:
    """One step of controlled error: the walker, whether it was kept, and its speed there."""
    moved, kept = flow.advance(walker, gradient, key, end)
    return moved, kept, jnp.linalg.norm(moved.gradient)


def _slide(walker: Walker, gradient: Own, key: Array) -> tuple[Walker, Array, Array]:
    """SLIDE short steps. The mean place over the later half less that over the earlier one has the
    velocity of a sliding flow, whatever the single steps do across the kinks; where that vanishes
    the later mean is the place of rest."""
    length = _stable_step(walker.theta, gradient, key)
    half = SLIDE // HALVES

    def step(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        theta, total = state
        theta = theta - length * gradient(theta, key)
        return theta, total + theta / half

    zero = jnp.zeros_like(walker.theta)
    middle, earlier = jax.lax.fori_loop(0, half, step, (walker.theta, zero))
    _, later = jax.lax.fori_loop(0, half, step, (middle, zero))
    velocity = (later - earlier) / (half * length)
    moved = Walker(later, walker.time + 0.75 * SLIDE * length, -velocity, walker.inner)
    return moved, jnp.array(True), jnp.linalg.norm(velocity)


def _stable_step(theta: Array, gradient: Own, key: Array) -> Array:
    """Half of 1/lambda_max, by power iteration; shorter where that would move the weights by more
    than a tenth."""
    curved = lambda d: jax.jvp(lambda t: gradient(t, key), (theta,), (d,))[1]
    unit = lambda d: d / jnp.maximum(jnp.linalg.norm(d), 1e-300)
    slope = gradient(theta, key)
    direction = jax.lax.fori_loop(0, POWER, lambda _, d: unit(curved(d)), unit(slope + theta))
    largest = jnp.linalg.norm(curved(direction))
    short = 0.1 * jnp.linalg.norm(theta) / jnp.maximum(jnp.linalg.norm(slope), 1e-300)
    return jnp.minimum(STABLE / jnp.maximum(largest, 1e-300), short)


class _Dormant(NamedTuple):
    """The utility of every dormant unit beside the active ones, through the gradient of the loss
    with all dormant units so small that they do not feel each other: of size delta, with
    delta^kappa and machine precision / delta^(kappa - 1) equal."""

    active: Array  # (P,): with the dormant units at zero
    units: Units
    index: np.ndarray  # (N, d)
    mask: Array  # (N,)
    gradient: Gradient
    key: Array
    # a smaller |grad U| on the unit sphere is what the rest of the active units leaves, and counts
    # as none
    least: Array

    def at(self, directions: Array) -> Array:
        """grad U at unit vectors (N, d)."""
        delta = float(jnp.finfo(directions.dtype).eps) ** (1 / (2 * self.units.order - 1))
        theta = self.active + self.flat(jnp.where(self.mask[:, None], delta * directions, 0.0))
        found = -self.gradient(theta, self.key)[self.index] / delta ** (self.units.order - 1)
        return jnp.where(self.mask[:, None], found, 0.0)

    def slope(self, units: Array) -> Array:
        """grad U(theta_i) of every unit (N, d)."""
        sizes = _sizes(units)[:, None]
        slope = self.at(units / jnp.maximum(sizes, 1e-300))
        return jnp.where(_sizes(slope)[:, None] > self.least, slope, 0.0) * sizes ** (
            self.units.order - 1
        )

    def pull(self, units: Array) -> Array:
        """The largest |grad U| of any unit, were it of size one."""
        return jnp.max(_sizes(self.at(units / jnp.maximum(_sizes(units), 1e-300)[:, None])))

    def modes(self, units: Array) -> tuple[Array, Array, Array]:
        """Eigenvalues (N, d) and eigenvectors (N, d, d) of the Hessian of U (kappa = 2), and the
        unit in these (N, d)."""
        rates, vectors = jnp.linalg.eigh(self.hessian(units))
        rates = jnp.where(jnp.abs(rates) > self.least, rates, 0.0)
        return rates, vectors, jnp.einsum("nij,ni->nj", vectors, units)

    def hessian(self, units: Array) -> Array:
        """The Hessian of U (N, d, d); of smooth units at zero, where it is constant, (1, d, d)
        where it is that of all."""
        if not self.units.smooth:
            n = units / jnp.maximum(_sizes(units), 1e-300)[:, None]
            columns = lambda e: jax.jvp(self.at, (n,), (jnp.broadcast_to(e, n.shape),))[1]
        elif self.units.alike:
            places = jnp.asarray(self.index)[jnp.argmax(self.mask)]
            columns = lambda e: self._curved(jnp.zeros_like(self.active).at[places].set(e))[places][
                None
            ]
        else:
            columns = lambda e: self._curved(self.flat(jnp.broadcast_to(e, self.index.shape)))[
                self.index
            ]
        found = jnp.moveaxis(jax.vmap(columns)(jnp.eye(units.shape[1], dtype=units.dtype)), 0, 2)
        return 0.5 * (found + jnp.swapaxes(found, 1, 2))

    def flat(self, units: Array) -> Array:
        """Weights (P,) from those of units (N, d)."""
        return units.ravel()[_places(self.index)]

    def _curved(self, direction: Array) -> Array:
        """-(d^2 L / d theta^2) along a direction of dormant units."""
        return -jax.jvp(lambda theta: self.gradient(theta, self.key), (self.active,), (direction,))[
            1
        ]


def _places(index: np.ndarray) -> np.ndarray:
    """Where every weight (P,) stands among those of the units (N, d), laid flat."""
    return np.argsort(index, axis=None)


def _sizes(units: Array) -> Array:
    return jnp.linalg.norm(units, axis=1)


def _tick(time: Array) -> Array:
    """The least by which a clock that stands still moves, so that no two records are of one
    time."""
    return 4 * jnp.finfo(time.dtype).eps * time


def _after(modes: tuple[Array, Array, Array], h: Array) -> Array:
    rates, vectors, parts = modes
    return jnp.einsum("nij,nj->ni", vectors, jnp.exp(rates * h) * parts)


def _crossed_by(modes: tuple[Array, Array, Array], size: float) -> Array:
    """A time by which the first unit has crossed: when a part of it alone has."""
    rates, _, parts = modes
    grows = (rates > 0) & (parts != 0)
    times = jnp.log(size / jnp.where(grows, jnp.abs(parts), size)) / jnp.where(grows, rates, 1.0)
    return jnp.maximum(jnp.min(jnp.where(grows, times, jnp.inf)), 0.0)


def _first_crossing(modes: tuple[Array, Array, Array], h: Array, size: float) -> Array:
    """The time at which the first unit crosses, or h if none has by then.

    log |theta_i(t)|^2 is convex in t, and so is the largest: Newton's method from the right falls
    onto the root."""
    rates, _, parts = modes
    excess = lambda t: jnp.log(
        jnp.max(jnp.sum((jnp.exp(rates * t) * parts) ** 2, axis=1)) / size**2
    )

    def newton(_: int, t: Array) -> Array:
        value, slope = jax.value_and_grad(excess)(t)
        return jnp.where(value > 0, t - value / slope, t)

    return jax.lax.fori_loop(0, NEWTON, newton, h)


def _runge_kutta(field: Any, units: Float[Array, "N d"], slope: Array, h: Array) -> Array:
    second = field(units + 0.5 * h * slope)
    third = field(units + 0.5 * h * second)
    fourth = field(units + h * third)
    return units + h / 6 * (slope + 2 * second + 2 * third + fourth)
