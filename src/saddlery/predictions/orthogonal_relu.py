"""Two-layer ReLU networks on orthogonal inputs: one cluster of targets of one
sign after the other.

With w_k = u.x_k / |x_k| and g_k = y_k |x_k| / n, a small unit obeys, exactly,

    v' = sum_k g_k w_k,    w_k' = v g_k,    over the samples with w_k > 0,

so that w_k that have reached zero stay there. Each unit ends with one sign of v,
sees only samples of that sign, and grows like e^(c t), c = |g| over these: fastest
if it sees all of them, c = |D|, D = mean y x over the sign. With amplitude

    a_i = (|v| + |g|.w / c) / sqrt 2

the cluster has the strength 1/2 sum_i a_i^2 e^(2 c t); it is fitted when that
is of order one, and leaves the other cluster as it is, since no unit of one
sees a sample of the other.

Source: Boursier, Pillaud-Vivien & Flammarion (2022); the times for finite
initial weights are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from ..basis.precision import in_float64
from ..basis.sizes import TINY
from ..experiments import Experiment
from ..networks import Objective
from ..networks.losses import SQUARED
from ..saddles.narrow_networks import BEGIN, NarrowNetwork
from .base import (
    PredictedStage,
    Prediction,
    Spread,
    demand,
    off_diagonal,
    register,
)
from .draws import initial_sides, one_layer_from_small_weights, other_seeds, spread, widened
from .ranges import (
    Range,
    RangeTolerances,
    demand_range,
    overlap_range,
    rates,
    start_range,
    step_of,
    step_range,
)

ORTHOGONAL = 1e-9  # largest cosine between two inputs that are orthogonal
# Units sort themselves out for so many times 1/c of a cluster, and so many steps follow
# that time.
EARLY, STEPS = 12.0, 1500
LIMIT = (
    "neglects what units do to each other while small; exact as the initial scale goes to zero"
    " (mean and interval are over the draws that take this path)"
)


@register("orthogonal ReLU")
@in_float64
def orthogonal_relu(experiment: Experiment) -> Prediction:
    """The clusters of positive and of negative targets, in the order of their times.

    Raises DoesNotApply. Cost: up to 3000 steps of a thousand draws of H units on N
    samples, and the flow of one or two units.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    demand(
        unit.name == "relu" and not unit.options,
        f"units are {unit!r}, not ReLU neurons without bias",
    )
    objective = experiment.objective()
    clusters = _clusters(objective)
    seeds = [experiment.seed, *other_seeds(experiment)]
    u, v = initial_sides(experiment, objective, seeds)
    fits = _fits(experiment, objective, clusters, u, v)
    fits.sort(key=lambda fit: fit.times[0])
    x = objective.inputs
    strengths = [_at_start(u, v, fit.cluster, x) / fit.end for fit in fits]
    fastest = max(fit.cluster.rate for fit in fits)
    ranges = start_range(max(strengths)), step_range(experiment, fastest)
    demand_range(ranges)
    overlap = _overlap(fits)
    demand_range([overlap])
    return Prediction(
        theory="orthogonal ReLU",
        source="Boursier, Pillaud-Vivien & Flammarion 2022",
        limit=LIMIT,
        stages=tuple(_stages(objective, fits, overlap)),
        ranges=ranges,
    )


@dataclass(frozen=True, eq=False)
class _Cluster:
    """The samples of one sign.

    drive (N,): g, zero for the other samples; the rate is c = |g|.
    """

    sign: int
    drive: np.ndarray

    @property
    def rate(self) -> float:
        return float(np.linalg.norm(self.drive))

    @property
    def shape(self) -> np.ndarray:
        """|g| / c (N,), of length one."""
        return np.abs(self.drive) / self.rate

    def end(self, lengths: np.ndarray) -> float:
        """The strength at which one unit along the cluster fits it best;
        lengths |x_n| (N,)."""
        one = self.shape * lengths  # the map of strength one on the samples
        targets = len(lengths) * np.abs(self.drive) / lengths
        return float(one @ targets / (one @ one))

    def amplitudes(self, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        """a_i of the units that see all of the cluster, 0 for the others; v
        (M, H), w (M, H, N)."""
        sees = np.all((w > 0) | (self.drive == 0), axis=-1) & (self.sign * v > 0)
        amplitudes = (np.abs(v) + w @ self.shape) / np.sqrt(2)
        return np.where(sees, amplitudes, 0.0)

    def unit(
        self,
        inputs: np.ndarray,
        size: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A balanced unit along the cluster that sees nothing else: u
        (1, D), v (1, 1)."""
        # Elsewhere it is off, with a margin.
        w = np.where(self.drive != 0, np.abs(self.drive), -self.rate)
        along = (w / np.linalg.norm(inputs, axis=1)) @ inputs
        u = along * size / (np.sqrt(2) * self.rate)
        return u[None], np.array([[self.sign * size / np.sqrt(2)]])


def _clusters(objective: Objective) -> list[_Cluster]:
    """The conditions on the data, and the clusters they make."""
    x, y, loss = objective.inputs, objective.targets, objective.function.loss
    demand(loss is SQUARED, f"the loss is {loss.name}, not squared")
    demand(x.ndim == 2, f"inputs have shape {x.shape[1:]}, not vectors")
    demand(y.shape[1:] == (1,), f"targets have shape {y.shape[1:]}, not one number")
    gram = x @ x.T
    demand(bool(np.all(np.diag(gram) > 0)), "an input is zero")
    largest = off_diagonal(gram)
    demand(
        largest <= ORTHOGONAL,
        f"inputs are not orthogonal: largest off-diagonal correlation {largest:.2g}",
    )
    drive = y[:, 0] * np.sqrt(np.diag(gram)) / len(x)
    found = []
    for sign in (1, -1):
        cluster = _Cluster(sign, np.where(sign * drive > 0, drive, 0.0))
        if cluster.rate > 0:
            found.append(cluster)
    demand(len(found) > 0, "all targets are zero")
    return found


# -------------------------------------------------------------- when clusters are fitted
@dataclass(frozen=True, eq=False)
class _Fit:
    """When one cluster is fitted, in every draw.

    rate: c, as the learning rule takes it.
    end: the strength at which one unit fits the cluster.
    times (M,): the flow time at which the strength is BEGIN^2 of the end; infinite
        where no unit sees all of it.
    """

    cluster: _Cluster
    rate: float
    end: float
    times: np.ndarray

    @property
    def join(self) -> float:
        """The strength from which on units no longer grow by themselves."""
        return BEGIN**2 * self.end


def _fits(
    experiment: Experiment,
    objective: Objective,
    clusters: list[_Cluster],
    u: np.ndarray,
    v: np.ndarray,
) -> list[_Fit]:
    """Of units u (M, H, D) and v (M, H, 1) of M draws."""
    lengths = np.linalg.norm(objective.inputs, axis=1)
    w = u @ (objective.inputs / lengths[:, None]).T
    early = _sorted_out(v[..., 0], w, clusters)
    fits = []
    for cluster in clusters:
        strengths = early.log_strengths(cluster)
        which = "positive" if cluster.sign > 0 else "negative"
        demand(
            bool(np.isfinite(strengths[0])),
            f"no unit sees all samples of {which} target; raise the width",
        )
        rate = float(rates(np.asarray(cluster.rate), step_of(experiment)))
        end = cluster.end(lengths)
        growth = np.log(BEGIN**2 * end) - strengths
        times = early.time + growth / (2 * rate)
        fits.append(_Fit(cluster, rate, end=end, times=times))
    return fits


class _Early(NamedTuple):
    """Units after the early phase, which lasts for a time.

    v (M, H), w (M, H, N): each over its unit's e^log, which may be beyond all numbers.
    log (M, H).
    """

    v: np.ndarray
    w: np.ndarray
    log: np.ndarray
    time: float

    def log_strengths(self, cluster: _Cluster) -> np.ndarray:
        """ln 1/2 sum_i a_i^2 (M,); minus infinity where no unit sees all of it."""
        with np.errstate(divide="ignore"):
            logs = np.log(cluster.amplitudes(self.v, self.w)) + self.log
        return logsumexp(2 * logs, axis=1) - np.log(2)


def _sorted_out(v: np.ndarray, w: np.ndarray, clusters: list[_Cluster]) -> _Early:
    """Units v (M, H) and w (M, H, N) after twelve times 1/c of the slowest cluster, the
    clusters in their turns: steps that resolve a fast one are too many for a slow one."""
    drive = np.sum([cluster.drive for cluster in clusters], axis=0)
    log, time = np.zeros_like(v), 0.0
    for rate in sorted({cluster.rate for cluster in clusters}, reverse=True):
        phase = EARLY / rate - time
        steps = math.ceil(STEPS * phase * rate / EARLY)
        for _ in range(steps):
            v, w, more = _stepped(v, w, drive, phase / steps)
            log = log + more
        time = EARLY / rate
    return _Early(v, w, log, time)


def _stepped(
    v: np.ndarray, w: np.ndarray, drive: np.ndarray, t: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """v (M, H) and w (M, H, N) after a time t, each over a size, whose logarithm is (M, H).

    As long as a unit sees the same samples, with c = |g| over these, exactly

        v(t) = v cosh ct + g.w / c sinh ct,
        w_k(t) = w_k + g_k / c (v sinh ct + g.w / c (cosh ct - 1));

    afterwards samples with w_k <= 0 are lost for ever.
    """
    sees = w > 0
    g = np.where(sees, drive, 0.0)
    c = np.maximum(np.linalg.norm(g, axis=-1), TINY)
    along = np.sum(g * w, axis=-1) / c
    # 1, cosh ct and sinh ct over e^(ct), lest they be beyond all numbers.
    one = np.exp(-c * t)
    cosh, sinh = 0.5 * (1 + one**2), 0.5 * (1 - one**2)
    grown = v * sinh + along * (cosh - one)
    moved = one[..., None] * w + (grown / c)[..., None] * g
    w = np.where(sees, np.maximum(moved, 0.0), 0.0)
    v = v * cosh + along * sinh
    size = np.maximum(np.maximum(np.abs(v), w.max(axis=-1)), TINY)
    return v / size, w / size[..., None], c * t + np.log(size)


# ------------------------------------------------------------------------ the stages
def _stages(
    objective: Objective,
    fits: list[_Fit],
    overlap: Range,
) -> Iterator[PredictedStage]:
    """One a cluster, in the order of our own draw; other draws count while
    theirs is the same."""
    learned = NarrowNetwork.nothing(objective)
    yield PredictedStage(learned.loss, (0,))
    same = np.ones(len(fits[0].times), bool)
    for k, fit in enumerate(fits):
        before = learned.loss
        unit = fit.cluster.unit(objective.inputs, np.sqrt(2 * fit.join))
        learned, settled = learned.join(unit)
        is_next = np.all([fit.times <= later.times for later in fits[k:]], axis=0)
        same &= np.isfinite(fit.times) & is_next
        # Steps in place of a flow take longer, by the ratio of the two rates.
        delay = settled.half_time(before) * fit.cluster.rate / fit.rate
        times = fit.times + delay
        mean, low, high = _interval(times[1:][same[1:]], fit.rate, overlap, k)
        yield PredictedStage(
            loss=learned.loss,
            units=(learned.count,),
            jump=float(times[0]),
            mean=mean,
            low=low,
            high=high,
            share=float(np.mean(same[1:])),
            range=overlap,
        )


def _interval(times: np.ndarray, rate: float, overlap: Range, k: int) -> Spread:
    """The first cluster is earlier for the second beside it, which is later."""
    doubt = RangeTolerances.now().doubt * overlap.value
    if k == 0:
        return widened(spread(times), rate, early=doubt)
    return widened(spread(times), rate, late=doubt)


def _at_start(
    u: np.ndarray,
    v: np.ndarray,
    cluster: _Cluster,
    inputs: np.ndarray,
) -> float:
    """The mean strength over draws of all units along a cluster, before they
    have sorted themselves out."""
    unit_inputs = inputs / np.linalg.norm(inputs, axis=1)[:, None]
    along = u @ (cluster.shape @ unit_inputs)
    grown = np.maximum(cluster.sign * v[..., 0] + along, 0.0) / np.sqrt(2)
    return float(np.mean(0.5 * np.sum(grown**2, axis=1)))


def _overlap(fits: list[_Fit]) -> Range:
    """How far the second cluster is when the first is fitted, of its end, for
    our own draw: they join at BEGIN^2."""
    if len(fits) < 2:
        return overlap_range(0.0)
    first, second = fits
    fitted = first.times[0] - np.log(BEGIN) / first.rate
    ahead = fitted - second.times[0]
    strength = BEGIN**2 * np.exp(2 * second.rate * ahead)
    return overlap_range(float(np.minimum(strength, 1.0)))
