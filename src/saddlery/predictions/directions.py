"""One direction at a time: networks linear in their incoming weights, any data
covariance, from their own small weights.

At a saddle with residual correlation R = E[r z'] (the leading form of a
new unit, V x U) every unit obeys u' = R'v, v' = R u. Its part along the
leading singular pair,

    a_i = (r.u_i + q.v_i) / sqrt 2,

grows like e^(sigma t) and lends the map the strength 1/2 sum_i a_i^2 e^(2
sigma t): when that is of order one, the direction joins those that have been
learned, and the network flows to rest on the manifold of its rank. The units'
other parts go on as they are, and grow next with the next R. Equal singular
values join as one, each combination of them that grows by itself at its own
time; and so do those that overlap: when one is half learned the next has
reached (u0/s)^(1 - s_2/s_1) of its end, with u0 the strength of the initial
weights, and where that is more than a fifth no plateau lies between them.

Source: Zhang, Saxe & Latham (2026), eqs 10 and 12; Kunin et al. (2025),
Conjecture 4.1, here with finite weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..basis.precision import in_float64
from ..basis.sizes import TINY
from ..experiments import Experiment
from ..networks import Objective
from ..saddles.narrow_networks import BEGIN, NarrowNetwork
from ..saddles.settling import Settled
from ..symmetry import leading_tensor
from .base import PredictedStage, Prediction, demand, register
from .draws import (
    LEARNED,
    initial_sides,
    one_layer_from_small_weights,
    other_seeds,
    spread,
    widened,
)
from .ranges import (
    Range,
    RangeTolerances,
    demand_range,
    overlap_range,
    rates,
    relaxing_range,
    spread_range,
    start_range,
    step_of,
    step_range,
    worst,
)

EQUAL = 1e-6  # singular values that differ by less, relatively, count as one, whatever the scale
BISECTIONS, NEWTON = 60, 20
# This many times 1/rate before the jump of a mode its p/(1-p) is a tenth of that at the
# jump: ln(10)/2.
RISE = 1.15
# A negative curvature within the learned units counts as none below this share of the
# first correlation.
RESTORED = 1e-6
EXPONENT = 600.0  # the largest exponent that is taken: e to this is still a number
LIMIT = (
    "neglects what directions do to each other while small; exact as the initial scale goes to zero"
)


@register("directions one by one")
@in_float64
def directions_one_by_one(experiment: Experiment) -> Prediction:
    """The directions that join, in the order of the residual
    correlation's singular values.

    Raises DoesNotApply. Cost: the flow of each narrow network that is learned,
    and along it a decomposition of R a step for all of a thousand draws.

    Source: Zhang, Saxe & Latham (2026), Section 5.1, eqs 10 and 12.
    """
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    demand(
        unit.symmetry.linear,
        f"units {unit.name} are not linear in their incoming weights",
    )
    path = _Path(experiment, experiment.objective())
    stages = tuple(path.stages())
    ranges = path.ranges()
    demand_range(ranges)
    return Prediction(
        theory="directions one by one",
        source="Zhang, Saxe & Latham 2026, Section 5.1",
        limit=LIMIT,
        stages=stages,
        ranges=ranges,
    )


@dataclass(frozen=True, eq=False)
class _Earlier:
    """How what was learned last still loses loss.

    begun: the flow time at which it joined, in the median over draws.
    times (T,), left (T,): from there on, and the loss above its end.
    jump, rate: of its mode.
    """

    begun: float
    times: np.ndarray
    left: np.ndarray
    jump: float
    rate: float

    def at(self, time: float) -> float:
        """The loss still to lose at a flow time, beyond what is left of a mode
        that is learned by itself (that part is the overlap's).

        Such a mode has p/(1-p) = (sqrt 2 - 1) e^(2 s t) from its jump on.
        """
        grown = np.exp(min(2 * self.rate * (time - self.jump), EXPONENT))
        alone = self.left[0] / (1 + (np.sqrt(2) - 1) * grown) ** 2
        still = np.interp(time - self.begun, self.times, self.left, right=0.0)
        return max(float(still) - float(alone), 0.0)


NOTHING = _Earlier(
    begun=0.0,
    times=np.zeros(1),
    left=np.zeros(1),
    jump=0.0,
    rate=0.0,
)


class _Path:
    """The way from saddle to saddle, for the experiment's own draw and for others."""

    def __init__(self, experiment: Experiment, objective: Objective) -> None:
        seeds = [experiment.seed, *other_seeds(experiment)]
        u, v = initial_sides(experiment, objective, seeds)
        self.experiment, self.objective = experiment, objective
        self.width = objective.network.layers[0].width
        self.step = step_of(experiment)
        self.draws = _Draws.of(u, v, self.step)
        self.initial = _Draws.of(u, v, self.step)
        self.start, self.fastest = 0.0, 0.0
        self.earlier = NOTHING

    def ranges(self) -> tuple[Range, ...]:
        return start_range(self.start), step_range(self.experiment, self.fastest)

    def stages(self) -> Iterator[PredictedStage]:
        learned = NarrowNetwork.nothing(self.objective)
        yield PredictedStage(learned.loss, (0,))
        leading = first = _leading(learned, self.width, None, self.draws)
        demand(
            first is not None,
            "nothing is to be learned: the correlation of a new unit with the targets is zero",
        )
        overlap = 0.0
        while leading is not None:
            self._see(leading)
            before, joined = learned.loss, self.draws.escape(leading)
            learned, settled = learned.join(leading.units())
            fastest = float(leading.s[0])
            rate = float(rates(leading.s[0], self.step))
            # Steps in place of a flow take longer, by the ratio of the two rates.
            slower = float(leading.s[0] / rates(leading.s[0], self.step))
            jumps = _half_way(joined, settled, before, slower)
            begins = float(np.median(jumps)) - RISE / rate
            drop = before - learned.loss
            relaxing = relaxing_range(self.earlier.at(begins) / drop)
            demand_range([relaxing])
            self.earlier = _Earlier(
                begun=float(np.median(joined)),
                times=slower * settled.flow_time,
                left=settled.loss - learned.loss,
                jump=float(np.median(jumps)),
                rate=rate,
            )
            after = leading.overlap
            slowest = float(leading.s[leading.count - 1])
            together = spread_range(slowest, fastest)
            demand_range([together])
            found = worst([overlap_range(max(overlap, after)), together, relaxing])
            # What relaxes may move the jump either way, as neighbouring modes do.
            unrest = relaxing.value if relaxing.verdict == "near" else 0.0
            doubt = RangeTolerances.now().doubt
            mean, low, high = widened(
                spread(jumps[1:]),
                slowest,
                early=doubt * max(after, unrest),
                late=doubt * max(overlap, unrest),
            )
            yield PredictedStage(
                loss=learned.loss,
                units=(learned.count,),
                jump=float(jumps[0]),
                mean=mean,
                low=low,
                high=high,
                range=found,
            )
            overlap = after
            leading = _leading(learned, self.width, first, self.draws)
            if leading is not None:
                residuals = leading_tensor(learned.objective, settled.states)
                self.draws.follow(slower * settled.flow_time, residuals, leading)

    def _see(self, leading: _Leading) -> None:
        """Keep the fastest rate and the strongest start of all that joins."""
        self.fastest = max(self.fastest, float(leading.s[0]))
        last = self.initial.parts(leading)[:, leading.count - 1]
        self.start = max(self.start, float(np.exp(last.mean())))


def _half_way(
    joined: np.ndarray,
    settled: Settled,
    before: float,
    slower: float,
) -> np.ndarray:
    """When the loss is half-way down (M,), where equal directions join at
    times (M, n) and each then takes the path's course, `slower` by that factor
    where steps take the place of the flow."""
    times = slower * settled.flow_time
    refined = settled.refinement.loss
    end = settled.loss[-1] if refined is None else refined
    left = (settled.loss - end) / (before - end)
    low, high = joined.min(axis=1), joined.max(axis=1) + times[-1]
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        since = middle[:, None] - joined
        share = np.interp(since, times, left, left=1.0, right=0.0).mean(axis=1)
        early = share > 0.5
        low = np.where(early, middle, low)
        high = np.where(early, high, middle)
    return 0.5 * (low + high)


@dataclass(frozen=True, eq=False)
class _Leading:
    """The directions that escape next.

    q (V, V), s (pairs,), rt (U, U): of the residual R = q s rt.
    strength: in the map, at which they join.
    count: of those that join as one.
    joining: how many of these find a unit.
    overlap: with the next ones.
    """

    q: np.ndarray
    s: np.ndarray
    rt: np.ndarray
    strength: float
    count: int = 1
    joining: int = 1
    overlap: float = 0.0

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """The new units' u (joining, U) and v (joining, V)."""
        size = np.sqrt(self.strength)
        return size * self.rt[: self.joining], size * self.q.T[: self.joining]

    def growing(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(r_k.u + q_k.v) / sqrt 2 of every singular pair k, in the last axis."""
        pairs = len(self.s)
        return (u @ self.rt[:pairs].T + v @ self.q[:, :pairs]) / np.sqrt(2)

    def excess(self, growing: np.ndarray) -> np.ndarray:
        """log of the mean strength 1/2 sum_i a_i^2 of the leading directions,
        over that at which they join (M,)."""
        squares = np.sum(growing[..., : self.count] ** 2, axis=(1, 2))
        mean = 0.5 * squares / self.joining
        return np.log(np.maximum(mean, TINY) / self.strength)

    def ends(self) -> np.ndarray:
        """The strength of every pair once it is learned, as far as its
        singular value tells."""
        return self.strength / BEGIN**2 * self.s / self.s[0]


def _leading(
    learned: NarrowNetwork,
    width: int,
    first: _Leading | None,
    draws: _Draws,
) -> _Leading | None:
    """What escapes from this saddle; None where nothing is left to learn or no
    unit to learn it."""
    q, s, rt = np.linalg.svd(learned.residual())
    largest = float(s[0]) if first is None else float(first.s[0])
    if s[0] <= LEARNED * largest:
        return None
    lowest = learned.lowest_curvature()
    demand(
        lowest >= -RESTORED * largest,
        f"with {learned.count} units learned, they do not bring back what joins next "
        f"(curvature {lowest:.2g} within them)",
    )
    left = width - learned.count
    if left <= 0:
        return None
    strength = 0.5 * learned.size_to_join(float(s[0]) / largest, 2) ** 2
    return _grouped(_Leading(q, s, rt, strength), left, draws)


def _grouped(alone: _Leading, left: int, draws: _Draws) -> _Leading:
    """With as many of its pairs as are learned together, up to the first that escapes
    later and overlaps little with the next; left: units that may still join."""
    s, overlaps = alone.s, draws.overlaps(alone)
    separate = overlaps <= RangeTolerances.now().overlap[1]
    falls = s[1:] < (1 - EQUAL) * s[:-1]
    apart = np.flatnonzero(separate & falls)
    count = int(apart[0]) + 1 if len(apart) else len(s)
    overlap = 0.0
    if count < len(s) and count < left:
        overlap = float(overlaps[count - 1])
    return replace(alone, count=count, joining=min(count, left), overlap=overlap)


@dataclass
class _Draws:
    """Units of many draws.

    u (M, H, U), v (M, H, V): their weights, times e^log (M,).
    now (M,): the flow time at which they are there.
    step: the learning rate, 0 for a flow.
    """

    u: np.ndarray
    v: np.ndarray
    log: np.ndarray
    now: np.ndarray
    step: float

    @staticmethod
    def of(u: np.ndarray, v: np.ndarray, step: float) -> _Draws:
        return _Draws(u, v, log=np.zeros(len(u)), now=np.zeros(len(u)), step=step)

    def parts(self, leading: _Leading) -> np.ndarray:
        """log of the strength of every pair, of its end (M, pairs)."""
        strengths = 0.5 * np.sum(leading.growing(self.u, self.v) ** 2, axis=1)
        ends = np.maximum(leading.ends(), TINY)
        return np.log(np.maximum(strengths, TINY) / ends) + 2 * self.log[:, None]

    def overlaps(self, leading: _Leading) -> np.ndarray:
        """How far pair k + 1 will be when pair k is learned, of its end:
        (pairs - 1,), in the geometric mean over draws."""
        mean = self.parts(leading).mean(axis=0)
        s = rates(leading.s, self.step)
        learned = leading.s > LEARNED * leading.s[0]
        ratio = s[1:] / np.where(learned[:-1], s[:-1], 1.0)
        reached = np.minimum(mean[1:] - ratio * mean[:-1], 0.0)
        return np.where(learned[1:], np.exp(reached), 0.0)

    def escape(self, leading: _Leading) -> np.ndarray:
        """Grow until the leading directions join; what is on them is learned.

        Returns when each joins (M, joining): with A the units' parts on them
        once their mean strength is large enough, each eigenvector of 1/2 A'A
        grows from its own strength at its own rate.
        """
        growing, s = leading.growing(self.u, self.v), rates(leading.s, self.step)
        wait = _until(leading, growing, s, self.log)
        grown = growing * np.exp(s * wait[:, None])[:, None]
        together = grown[..., : leading.count]
        values = np.linalg.eigvalsh(np.swapaxes(together, 1, 2) @ together)
        largest_first = slice(None, -leading.joining - 1, -1)
        strengths = 0.5 * values[:, largest_first]
        ratio = np.maximum(strengths, TINY) / leading.strength
        logs = np.log(ratio) + 2 * self.log[:, None]
        joined = (self.now + wait)[:, None] - logs / (2 * s[: leading.joining])
        learned = np.linalg.qr(together)[0]  # (M, H, count), orthonormal
        grown = grown - learned @ (np.swapaxes(learned, 1, 2) @ grown)
        pairs = len(s)
        both = grown / np.sqrt(2)  # what shrinks has shrunk
        self.u = both @ leading.rt[:pairs]
        self.v = both @ leading.q[:, :pairs].T
        self.now = self.now + wait
        return joined

    def follow(
        self,
        times: np.ndarray,
        residuals: np.ndarray,
        leading: _Leading,
    ) -> None:
        """u' = R'v, v' = R u while the learned units flow to rest; each draw
        as long as its leading directions are small.

        times (T,), residuals R (T, V, U): of the flow. Each interval is taken
        with the mean of R at its ends.
        """
        lengths = np.diff(times)
        means = 0.5 * (residuals[1:] + residuals[:-1])
        small = np.arange(len(self.now))
        for length, residual in zip(lengths, means, strict=True):
            growing = leading.growing(self.u[small], self.v[small])
            small = small[leading.excess(growing) + 2 * self.log[small] < 0]
            if not len(small):
                return
            self._move(small, residual, length)

    def _move(
        self,
        small: np.ndarray,
        residual: np.ndarray,
        length: float,
    ) -> None:
        """The draws `small` for a while by one R, exactly: what grows along
        its singular pairs and what shrinks. The largest weight is one
        afterwards, the rest in `log`."""
        q, s, rt = np.linalg.svd(residual, full_matrices=False)
        u, v = self.u[small], self.v[small]
        incoming, outgoing = u @ rt.T, v @ q
        grown = 0.5 * (incoming + outgoing) * np.expm1(rates(s, self.step) * length)
        shrunk = 0.5 * (incoming - outgoing) * np.expm1(-s * length)
        u = u + (grown + shrunk) @ rt
        v = v + (grown - shrunk) @ q.T
        size = np.maximum(np.abs(u).max(axis=(1, 2)), np.abs(v).max(axis=(1, 2)))
        self.u[small] = u / size[:, None, None]
        self.v[small] = v / size[:, None, None]
        self.log[small] += np.log(size)
        self.now[small] += length


def _until(
    leading: _Leading,
    growing: np.ndarray,
    s: np.ndarray,
    log: np.ndarray,
) -> np.ndarray:
    """How long until the mean strength of the leading directions is that at
    which they join (M,).

    It is convex in its logarithm, so that Newton's method from where the
    fastest rate alone would have it falls onto the root.
    """
    together = growing[..., : leading.count]
    squares = 0.5 * np.sum(together**2, axis=1) / leading.joining
    leads = 2 * s[: leading.count]
    target = np.log(leading.strength) - 2 * log
    begun = np.log(np.maximum(squares.sum(axis=1), TINY))
    wait = (target - begun) / leads[-1]
    for _ in range(NEWTON):
        each = squares * np.exp(leads * wait[:, None])
        total = np.maximum(each.sum(axis=1), TINY)
        over = np.log(total) - target
        wait = wait - over * total / np.maximum(each @ leads, TINY)
    return wait
