"""One direction at a time: networks linear in their incoming weights, any data covariance, from
their own small weights.

At a saddle with residual correlation R = E[r z'] (the leading form of a new unit, V x U) every unit
obeys u' = R'v, v' = R u. Its part a_i along the leading singular pair, (r.u_i + q.v_i)/sqrt 2,
grows like e^(sigma t) and lends the map the strength 1/2 sum_i a_i^2 e^(2 sigma t): when that is of
order one, the direction joins those that have been learned, and the network flows to rest on the
manifold of its rank. The units' other parts go on as they are, and grow next with the next R. Equal
singular values join as one, each combination of them that grows by itself at its own time; and so
do those that overlap: when one is half learned the next has reached (u0/s)^(1 - s_2/s_1) of its
end, with u0 the strength of the initial weights, and where that is more than a fifth no plateau
lies between them.
Source: Zhang, Saxe & Latham (2026), eqs 10 and 12; Kunin et al. (2025), Conjecture 4.1, here with
finite weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..basis.precision import in_float64
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

EQUAL = 1e-6  # relative difference of singular values that count as one, whatever the scale
BISECTIONS, NEWTON = 60, 20
RISE = 1.15  # of 1/rate before its jump a mode is a tenth learned: ln(10)/2
# of the first correlation: a negative curvature within the learned units that counts as none
RESTORED = 1e-6
LIMIT = (
    "neglects what directions do to each other while small; exact as the initial scale goes to zero"
)


@register("directions one by one")
@in_float64
def directions_one_by_one(experiment: Experiment) -> Prediction:
    """The directions that join, in the order of the residual correlation's singular values. Raises
    DoesNotApply."""
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    demand(unit.symmetry.linear, f"units {unit.name} are not linear in their incoming weights")
    source = "Zhang, Saxe & Latham 2026, Section 5.1"
    path = _Path(experiment, experiment.objective())
    stages = tuple(path.stages())
    ranges = path.ranges()
    demand_range(ranges)
    return Prediction("directions one by one", source, LIMIT, stages, ranges=ranges)


class _Path:
    """The way from saddle to saddle, for the experiment's own draw and for others."""

    def __init__(self, experiment: Experiment, objective: Objective) -> None:
        seeds = [experiment.seed, *other_seeds(experiment)]
        u, v = initial_sides(experiment, objective, seeds)
        self.experiment, self.objective = experiment, objective
        self.width, self.step = objective.network.layers[0].width, step_of(experiment)
        self.draws, self.initial = _Draws.of(u, v, self.step), _Draws.of(u, v, self.step)
        self.start, self.fastest = 0.0, 0.0
        self.earlier = (0.0, np.zeros(1), np.zeros(1), 0.0, 0.0)

    def ranges(self) -> tuple[Range, ...]:
        return start_range(self.start), step_range(self.experiment, self.fastest)

    def _left(self, time: float) -> float:
        """The loss that what was learned before still has to lose at a flow time, beyond what is
        left of a mode that is learned by itself, p/(1-p) = (sqrt 2 - 1) e^(2 s t) from its jump on
        (that part is the overlap's)."""
        begun, times, left, jump, rate = self.earlier
        alone = left[0] / (1 + (np.sqrt(2) - 1) * np.exp(min(2 * rate * (time - jump), 600.0))) ** 2
        return max(float(np.interp(time - begun, times, left, right=0.0)) - float(alone), 0.0)

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
            self.fastest = max(self.fastest, float(leading.s[0]))
            self.start = max(
                self.start, float(np.exp(self.initial.parts(leading)[:, leading.count - 1].mean()))
            )
            before, joined = learned.loss, self.draws.escape(leading)
            learned, settled = learned.join(leading.units())
            slower = float(leading.s[0] / rates(leading.s[0], self.step))
            jumps = _half_way(joined, settled, before, slower)
            begins = float(np.median(jumps)) - RISE / float(rates(leading.s[0], self.step))
            relaxing = relaxing_range(self._left(begins) / (before - learned.loss))
            demand_range([relaxing])
            self.earlier = (
                float(np.median(joined)),
                slower * settled.flow_time,
                settled.loss - learned.loss,
                float(np.median(jumps)),
                float(rates(leading.s[0], self.step)),
            )
            after = leading.overlap
            rate = float(leading.s[leading.count - 1])
            together = spread_range(rate, float(leading.s[0]))
            demand_range([together])
            found = worst([overlap_range(max(overlap, after)), together, relaxing])
            unrest = relaxing.value if relaxing.verdict == "near" else 0.0
            early, late = (
                RangeTolerances.now().doubt * max(after, unrest),
                RangeTolerances.now().doubt * max(overlap, unrest),
            )
            interval = widened(spread(jumps[1:]), rate, early=early, late=late)
            yield PredictedStage(
                learned.loss, (learned.count,), float(jumps[0]), *interval, range=found
            )
            overlap = after
            leading = _leading(learned, self.width, first, self.draws)
            if leading is not None:
                residuals = leading_tensor(learned.objective, settled.states)
                self.draws.follow(slower * settled.flow_time, residuals, leading)


def _half_way(joined: np.ndarray, settled: Settled, before: float, slower: float) -> np.ndarray:
    """When the loss is half-way down (M,), where equal directions join at times (M, n) and each
    then takes the path's course, `slower` by that factor where steps take the place of the flow."""
    times = slower * settled.flow_time
    end = settled.loss[-1] if settled.refinement.loss is None else settled.refinement.loss
    left = (settled.loss - end) / (before - end)
    low, high = joined.min(axis=1), joined.max(axis=1) + times[-1]
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        share = np.interp(middle[:, None] - joined, times, left, left=1.0, right=0.0).mean(axis=1)
        low, high = np.where(share > 0.5, middle, low), np.where(share > 0.5, high, middle)
    return 0.5 * (low + high)


@dataclass(frozen=True, eq=False)
class _Leading:
    """The directions that escape next. q, s, rt: of the residual R = q s rt; count of those that
    join as one, of which `joining` find a unit; strength: in the map, at which they join; overlap:
    with the next ones."""

    q: np.ndarray
    s: np.ndarray
    rt: np.ndarray
    strength: float
    count: int = 1
    joining: int = 1
    overlap: float = 0.0

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        size = np.sqrt(self.strength)
        return size * self.rt[: self.joining], size * self.q.T[: self.joining]

    def growing(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(r_k.u + q_k.v) / sqrt 2 of every singular pair k, in the last axis."""
        pairs = len(self.s)
        return (u @ self.rt[:pairs].T + v @ self.q[:, :pairs]) / np.sqrt(2)

    def excess(self, growing: np.ndarray) -> np.ndarray:
        """log of the mean strength 1/2 sum_i a_i^2 of the leading directions, over that at which
        they join (M,)."""
        mean = 0.5 * np.sum(growing[..., : self.count] ** 2, axis=(1, 2)) / self.joining
        return np.log(np.maximum(mean, 1e-300) / self.strength)

    def ends(self) -> np.ndarray:
        """The strength of every pair once it is learned, as far as its singular value tells."""
        return self.strength / BEGIN**2 * self.s / self.s[0]


def _leading(
    learned: NarrowNetwork, width: int, first: _Leading | None, draws: _Draws
) -> _Leading | None:
    """What escapes from this saddle; None where nothing is left to learn or no unit to learn it."""
    q, s, rt = np.linalg.svd(learned.residual())
    largest = float(s[0]) if first is None else float(first.s[0])
    if s[0] <= LEARNED * largest:
        return None
    lowest = learned.lowest_curvature()
    demand(
        lowest >= -RESTORED * largest,
        (
            f"with {learned.count} units learned, they do not bring back what joins next "
            f"(curvature {lowest:.2g} within them)"
        ),
    )
    if learned.count >= width:
        return None
    strength = 0.5 * learned.size_to_join(float(s[0]) / largest, 2) ** 2
    alone = _Leading(q, s, rt, strength)
    overlaps = draws.overlaps(alone)
    apart = np.flatnonzero(
        (overlaps <= RangeTolerances.now().overlap[1]) & (s[1:] < (1 - EQUAL) * s[:-1])
    )
    count = int(apart[0]) + 1 if len(apart) else len(s)
    overlap = (
        float(overlaps[count - 1]) if count < len(s) and learned.count + count < width else 0.0
    )
    return replace(alone, count=count, joining=min(count, width - learned.count), overlap=overlap)


@dataclass
class _Draws:
    """Units of many draws: u (M, H, U) and v (M, H, V), times e^log (M,); now (M,): the flow time
    at which they are there.
    step: the learning rate, 0 for a flow."""

    u: np.ndarray
    v: np.ndarray
    log: np.ndarray
    now: np.ndarray
    step: float

    @staticmethod
    def of(u: np.ndarray, v: np.ndarray, step: float) -> _Draws:
        return _Draws(u, v, np.zeros(len(u)), np.zeros(len(u)), step)

    def parts(self, leading: _Leading) -> np.ndarray:
        """log of the strength of every pair, of its end (M, pairs)."""
        strengths = 0.5 * np.sum(leading.growing(self.u, self.v) ** 2, axis=1)
        ends = np.maximum(leading.ends(), 1e-300)
        return np.log(np.maximum(strengths, 1e-300) / ends) + 2 * self.log[:, None]

    def overlaps(self, leading: _Leading) -> np.ndarray:
        """How far pair k + 1 will be when pair k is learned, of its end: (pairs - 1,), in the
        geometric mean over draws."""
        mean, s = self.parts(leading).mean(axis=0), rates(leading.s, self.step)
        learned = leading.s > LEARNED * leading.s[0]
        ratio = s[1:] / np.where(learned[:-1], s[:-1], 1.0)
        return np.where(learned[1:], np.exp(np.minimum(mean[1:] - ratio * mean[:-1], 0.0)), 0.0)

    def escape(self, leading: _Leading) -> np.ndarray:
        """Grow until the leading directions join; what is on them is learned. Returns when each
        joins (M, joining): with A the units' parts on them once their mean strength is large
        enough, each eigenvector of 1/2 A'A grows from its own strength at its own rate."""
        growing, s = leading.growing(self.u, self.v), rates(leading.s, self.step)
        wait = _until(leading, growing, s, self.log)
        grown = growing * np.exp(s * wait[:, None])[:, None]
        together = grown[..., : leading.count]
        strengths = (
            0.5
            * np.linalg.eigvalsh(np.swapaxes(together, 1, 2) @ together)[
                :, : -leading.joining - 1 : -1
            ]
        )
        logs = np.log(np.maximum(strengths, 1e-300) / leading.strength) + 2 * self.log[:, None]
        joined = (self.now + wait)[:, None] - logs / (2 * s[: leading.joining])
        learned = np.linalg.qr(together)[0]  # (M, H, count), orthonormal
        grown = grown - learned @ (np.swapaxes(learned, 1, 2) @ grown)
        pairs = len(s)
        both = grown / np.sqrt(2)  # what shrinks has shrunk
        self.u, self.v, self.now = (
            both @ leading.rt[:pairs],
            both @ leading.q[:, :pairs].T,
            self.now + wait,
        )
        return joined

    def follow(self, times: np.ndarray, residuals: np.ndarray, leading: _Leading) -> None:
        """u' = R'v, v' = R u while the learned units flow to rest; each draw as long as its leading
        directions are small.

        times (T,), residuals R (T, V, U): of the flow. Each interval is taken with the mean of R at
        its ends.
        """
        small = np.arange(len(self.now))
        for length, residual in zip(
            np.diff(times), 0.5 * (residuals[1:] + residuals[:-1]), strict=True
        ):
            small = small[
                leading.excess(leading.growing(self.u[small], self.v[small])) + 2 * self.log[small]
                < 0
            ]
            if not len(small):
                return
            q, s, rt = np.linalg.svd(residual, full_matrices=False)
            u, v = self.u[small], self.v[small]
            incoming, outgoing = u @ rt.T, v @ q
            grown = 0.5 * (incoming + outgoing) * np.expm1(rates(s, self.step) * length)
            shrunk = 0.5 * (incoming - outgoing) * np.expm1(-s * length)
            u = u + (grown + shrunk) @ rt
            v = v + (grown - shrunk) @ q.T
            size = np.maximum(np.abs(u).max(axis=(1, 2)), np.abs(v).max(axis=(1, 2)))
            self.u[small], self.v[small] = u / size[:, None, None], v / size[:, None, None]
            self.log[small] += np.log(size)
            self.now[small] += length


def _until(leading: _Leading, growing: np.ndarray, s: np.ndarray, log: np.ndarray) -> np.ndarray:
    """How long until the mean strength of the leading directions is that at which they join (M,):
    it is convex in its logarithm, so that Newton's method from where the fastest rate alone would
    have it falls onto the root."""
    squares = 0.5 * np.sum(growing[..., : leading.count] ** 2, axis=1) / leading.joining
    leads = 2 * s[: leading.count]
    target = np.log(leading.strength) - 2 * log
    wait = (target - np.log(np.maximum(squares.sum(axis=1), 1e-300))) / leads[-1]
    for _ in range(NEWTON):
        each = squares * np.exp(leads * (wait[:, None] - 0.0))
        total = np.maximum(each.sum(axis=1), 1e-300)
        wait = wait - (np.log(total) - target) * total / np.maximum(each @ leads, 1e-300)
    return wait
