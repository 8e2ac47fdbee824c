"""One direction at a time: networks linear in their incoming weights, any data covariance, from their own small weights.

At a saddle with residual correlation R = E[r z'] (the leading form of a new unit, V x U) every unit obeys u' = R'v, v' = R u.
Its part a_i along the leading singular pair, (r.u_i + q.v_i)/sqrt 2, grows like e^(sigma t) and lends the map the strength
1/2 sum_i a_i^2 e^(2 sigma t): when that is of order one, the direction joins those that have been learned, and the network
flows to rest on the manifold of its rank. The units' other parts go on as they are, and grow next with the next R.
Equal singular values join as one, each combination of them that grows by itself at its own time.
Source: Zhang, Saxe & Latham (2026), eqs 10 and 12; Kunin et al. (2025), Conjecture 4.1, here with finite weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..experiments import Experiment
from ..narrow import Narrow
from ..objectives import Objective
from ..precision import in_float64
from ..settling import Settled
from ..symmetry import leading_tensor
from .base import PredictedStage, Prediction, demand, register
from .draws import LEARNED, initial_sides, one_layer_from_small_weights, other_seeds, spread

EQUAL = 1e-6  # relative difference of singular values that count as one
BISECTIONS = 60
RESTORED = 1e-6  # of the first correlation: a negative curvature within the learned units that counts as none
LIMIT = "neglects what directions do to each other while small; exact as the initial scale goes to zero"


@register("directions one by one")
@in_float64
def directions_one_by_one(experiment: Experiment) -> Prediction:
    """The directions that join, in the order of the residual correlation's singular values. Raises DoesNotApply."""
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    demand(unit.symmetry.linear, f"units {unit.name} are not linear in their incoming weights")
    source = "Zhang, Saxe & Latham 2026, Section 5.1"
    stages = _path(experiment, experiment.objective())
    return Prediction("directions one by one", source, LIMIT, tuple(stages))


def _path(experiment: Experiment, objective: Objective) -> Iterator[PredictedStage]:
    width, seeds = objective.network.layers[0].width, [experiment.seed, *other_seeds(experiment)]
    u, v = initial_sides(experiment, objective, seeds)
    draws = _Draws(u, v, np.zeros(len(seeds)), np.zeros(len(seeds)))
    learned = Narrow.nothing(objective)
    yield PredictedStage(learned.loss, (0,))
    leading = first = _leading(learned, width, None)
    demand(first is not None, "nothing is to be learned: the correlation of a new unit with the targets is zero")
    while leading is not None:
        before, joined = learned.loss, draws.escape(leading)
        learned, settled = learned.join(leading.units())
        jumps = _half_way(joined, settled, before)
        yield PredictedStage(learned.loss, (learned.count,), float(jumps[0]), *spread(jumps[1:]))
        leading = _leading(learned, width, first)
        if leading is not None:
            draws.follow(settled.flow_time, leading_tensor(learned.objective, settled.states), leading)


def _half_way(joined: np.ndarray, settled: Settled, before: float) -> np.ndarray:
    """When the loss is half-way down (M,), where equal directions join at times (M, n) and each then takes the path's course."""
    end = settled.loss[-1] if settled.refinement.loss is None else settled.refinement.loss
    left = (settled.loss - end) / (before - end)
    low, high = joined.min(axis=1), joined.max(axis=1) + settled.flow_time[-1]
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        share = np.interp(middle[:, None] - joined, settled.flow_time, left, left=1.0, right=0.0).mean(axis=1)
        low, high = np.where(share > 0.5, middle, low), np.where(share > 0.5, high, middle)
    return 0.5 * (low + high)


@dataclass(frozen=True, eq=False)
class _Leading:
    """The directions that escape next. q, s, rt: of the residual R = q s rt; count of equal ones, of which `joining` find a
    unit; strength: in the map, at which they join."""

    q: np.ndarray
    s: np.ndarray
    rt: np.ndarray
    count: int
    joining: int
    strength: float

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        size = np.sqrt(self.strength)
        return size * self.rt[: self.joining], size * self.q.T[: self.joining]

    def growing(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(r_k.u + q_k.v) / sqrt 2 of every singular pair k, in the last axis."""
        pairs = len(self.s)
        return (u @ self.rt[:pairs].T + v @ self.q[:, :pairs]) / np.sqrt(2)

    def excess(self, growing: np.ndarray) -> np.ndarray:
        """log of the mean strength 1/2 sum_i a_i^2 of the leading directions, over that at which they join (M,)."""
        mean = 0.5 * np.sum(growing[..., : self.count] ** 2, axis=(1, 2)) / self.joining
        return np.log(np.maximum(mean, 1e-300) / self.strength)


def _leading(learned: Narrow, width: int, first: _Leading | None) -> _Leading | None:
    """What escapes from this saddle; None where nothing is left to learn or no unit to learn it."""
    q, s, rt = np.linalg.svd(learned.residual())
    largest = float(s[0]) if first is None else float(first.s[0])
    if s[0] <= LEARNED * largest:
        return None
    equal = int(np.sum(s >= (1 - EQUAL) * s[0]))
    lowest = learned.lowest_curvature()
    demand(
        lowest >= -RESTORED * largest,
        f"with {learned.count} units learned, they do not bring back what joins next (curvature {lowest:.2g} within them)",
    )
    if learned.count >= width:
        return None
    strength = 0.5 * learned.size_to_join(float(s[0]) / largest, 2) ** 2
    return _Leading(q, s, rt, equal, min(equal, width - learned.count), strength)


@dataclass
class _Draws:
    """Units of many draws: u (M, H, U) and v (M, H, V), times e^log (M,); now (M,): the flow time at which they are there."""

    u: np.ndarray
    v: np.ndarray
    log: np.ndarray
    now: np.ndarray

    def escape(self, leading: _Leading) -> np.ndarray:
        """Grow until the leading directions join; what is on them is learned. Returns when each joins (M, joining): with A the
        units' parts on equal ones, the eigenvectors of 1/2 A'A grow each from its own strength."""
        growing, s = leading.growing(self.u, self.v), leading.s
        equal = growing[..., : leading.count]
        strengths = 0.5 * np.linalg.eigvalsh(np.swapaxes(equal, 1, 2) @ equal)[:, -leading.joining :]
        logs = np.log(np.maximum(strengths, 1e-300) / leading.strength) + 2 * self.log[:, None]
        joined = self.now[:, None] - logs / (2 * s[0])
        wait = -(leading.excess(growing) + 2 * self.log) / (2 * s[0])
        grown = growing * np.exp(s * wait[:, None])[:, None]
        learned = np.linalg.qr(growing[..., : leading.count])[0]  # (M, H, count), orthonormal
        grown = grown - learned @ (np.swapaxes(learned, 1, 2) @ grown)
        pairs = len(s)
        both = grown / np.sqrt(2)  # what shrinks has shrunk
        self.u, self.v, self.now = both @ leading.rt[:pairs], both @ leading.q[:, :pairs].T, self.now + wait
        return joined

    def follow(self, times: np.ndarray, residuals: np.ndarray, leading: _Leading) -> None:
        """u' = R'v, v' = R u while the learned units flow to rest; each draw as long as its leading directions are small.

        times (T,), residuals R (T, V, U): of the flow. Each interval is taken with the mean of R at its ends.
        """
        small = np.arange(len(self.now))
        for length, residual in zip(np.diff(times), 0.5 * (residuals[1:] + residuals[:-1]), strict=True):
            small = small[leading.excess(leading.growing(self.u[small], self.v[small])) + 2 * self.log[small] < 0]
            if not len(small):
                return
            q, s, rt = np.linalg.svd(residual, full_matrices=False)
            u, v = self.u[small], self.v[small]
            incoming, outgoing = u @ rt.T, v @ q
            cosh, sinh = np.cosh(s * length) - 1, np.sinh(s * length)
            u = u + (incoming * cosh + outgoing * sinh) @ rt
            v = v + (outgoing * cosh + incoming * sinh) @ q.T
            size = np.maximum(np.abs(u).max(axis=(1, 2)), np.abs(v).max(axis=(1, 2)))
            self.u[small], self.v[small] = u / size[:, None, None], v / size[:, None, None]
            self.log[small] += np.log(size)
            self.now[small] += length
