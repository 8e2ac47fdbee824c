"""Two-layer ReLU networks on orthogonal inputs: one cluster of targets of one sign after the other.

With w_k = u.x_k / |x_k| and g_k = y_k |x_k| / n, a small unit obeys, exactly, v' = sum_k g_k w_k
and w_k' = v g_k over the samples with w_k > 0, so that w_k that have reached zero stay there. Each
unit ends with one sign of v, sees only samples of that sign, and grows like e^(c t), c = |g| over
these: fastest if it sees all of them, c = |D|, D = mean y x over the sign. With amplitude a_i =
(|v| + g.w / c) / sqrt 2 the cluster has the strength 1/2 sum_i a_i^2 e^(2 c t); it is fitted when
that is of order one, and leaves the other cluster as it is, since no unit of one sees a sample of
the other.
Source: Boursier, Pillaud-Vivien & Flammarion (2022); the times for finite initial weights are
derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..networks import Objective
from ..networks.losses import SQUARED
from ..saddles.narrow_networks import BEGIN, NarrowNetwork
from .base import PredictedStage, Prediction, demand, off_diagonal, register
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

ORTHOGONAL = 1e-9  # largest cosine of two inputs
EARLY, STEPS = (
    12.0,
    1500,
)  # how long units sort themselves out, in 1/c of the slower cluster, and in how many steps
LIMIT = (
    "neglects what units do to each other while small; exact as the initial scale goes to zero"
    " (mean and interval are over the draws that take this path)"
)


@register("orthogonal ReLU")
@in_float64
def orthogonal_relu(experiment: Experiment) -> Prediction:
    """The clusters of positive and of negative targets, in the order of their times. Raises
    DoesNotApply."""
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
    lengths = np.linalg.norm(objective.inputs, axis=1)
    w, ends = u @ (objective.inputs / lengths[:, None]).T, v[..., 0]
    ends, w, begun = _sorted_out(ends, w, clusters)
    starts = {c.sign: 0.5 * np.sum(c.amplitudes(ends, w) ** 2, axis=1) for c in clusters}
    for cluster in clusters:
        which = "positive" if cluster.sign > 0 else "negative"
        demand(
            starts[cluster.sign][0] > 0,
            f"no unit sees all samples of {which} target; raise the width",
        )
    step, learned = step_of(experiment), NarrowNetwork.nothing(objective)
    rate = {c.sign: float(rates(np.asarray(c.rate), step)) for c in clusters}
    join = {c.sign: BEGIN**2 * c.end(lengths) for c in clusters}
    growth = {
        sign: np.log(join[sign] / np.maximum(start, 1e-300)) for sign, start in starts.items()
    }
    logs = {sign: begun + growth[sign] / (2 * rate[sign]) for sign in growth}
    order = sorted(clusters, key=lambda c: logs[c.sign][0])
    ranges = (
        start_range(max(_at_start(u, v, c, objective.inputs) / c.end(lengths) for c in clusters)),
        step_range(experiment, max(c.rate for c in clusters)),
    )
    demand_range(ranges)
    overlap = _overlap(order, logs, rate)
    demand_range([overlap])
    stages, same = [PredictedStage(learned.loss, (0,))], np.ones(len(seeds), bool)
    for k, cluster in enumerate(order):
        before = learned.loss
        learned, settled = learned.join(
            cluster.unit(objective.inputs, np.sqrt(2 * join[cluster.sign]))
        )
        same &= (starts[cluster.sign] > 0) & np.all(
            [logs[cluster.sign] <= logs[c.sign] for c in order[k:]], axis=0
        )
        times = logs[cluster.sign] + settled.half_time(before) * cluster.rate / rate[cluster.sign]
        doubt = (
            RangeTolerances.now().doubt * overlap.value
        )  # the first cluster is earlier for the second beside it, which is later
        early, late = (doubt, 0.0) if k == 0 else (0.0, doubt)
        statistics = widened(
            spread(times[1:][same[1:]]), rate[cluster.sign], early=early, late=late
        )
        share = float(np.mean(same[1:]))
        stages.append(
            PredictedStage(
                learned.loss,
                (learned.count,),
                float(times[0]),
                *statistics,
                share=share,
                range=overlap,
            )
        )
    return Prediction(
        "orthogonal ReLU",
        "Boursier, Pillaud-Vivien & Flammarion 2022",
        LIMIT,
        tuple(stages),
        ranges=ranges,
    )


@dataclass(frozen=True, eq=False)
class _Cluster:
    """The samples of one sign. drive g (n,), zero for the others; rate c = |g|."""

    sign: int
    drive: np.ndarray

    @property
    def rate(self) -> float:
        return float(np.linalg.norm(self.drive))

    def end(self, lengths: np.ndarray) -> float:
        """The strength at which one unit along the cluster fits it best; lengths |x_n| (n,)."""
        shape = np.abs(self.drive) / self.rate * lengths  # the map of strength one on the samples
        targets = len(lengths) * np.abs(self.drive) / lengths
        return float(shape @ targets / (shape @ shape))

    def amplitudes(self, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        """a_i of the units that see all of the cluster, 0 for the others; v (M, H), w (M, H, n)."""
        sees = np.all((w > 0) | (self.drive == 0), axis=-1) & (self.sign * v > 0)
        return np.where(sees, (np.abs(v) + w @ (np.abs(self.drive) / self.rate)) / np.sqrt(2), 0.0)

    def unit(self, inputs: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
        """A balanced unit along the cluster that sees nothing else: u (1, D), v (1, 1)."""
        w = np.where(
            self.drive != 0, np.abs(self.drive), -self.rate
        )  # elsewhere off, with a margin
        u = (w / np.linalg.norm(inputs, axis=1)) @ inputs * size / (np.sqrt(2) * self.rate)
        return u[None], np.array([[self.sign * size / np.sqrt(2)]])


def _clusters(objective: Objective) -> list[_Cluster]:
    """The conditions on the data, and the clusters they make."""
    x, y = objective.inputs, objective.targets
    demand(
        objective.function.loss is SQUARED,
        f"the loss is {objective.function.loss.name}, not squared",
    )
    demand(x.ndim == 2, f"inputs have shape {x.shape[1:]}, not vectors")
    demand(y.shape[1:] == (1,), f"targets have shape {y.shape[1:]}, not one number")
    gram = x @ x.T
    demand(bool(np.all(np.diag(gram) > 0)), "an input is zero")
    worst = off_diagonal(gram)
    demand(
        worst <= ORTHOGONAL,
        f"inputs are not orthogonal: largest off-diagonal correlation {worst:.2g}",
    )
    drive = y[:, 0] * np.sqrt(np.diag(gram)) / len(x)
    found = [_Cluster(sign, np.where(sign * drive > 0, drive, 0.0)) for sign in (1, -1)]
    found = [cluster for cluster in found if cluster.rate > 0]
    demand(len(found) > 0, "all targets are zero")
    return found


def _at_start(u: np.ndarray, v: np.ndarray, cluster: _Cluster, inputs: np.ndarray) -> float:
    """The mean strength over draws of all units along a cluster, before they have sorted themselves
    out."""
    along = u @ (
        np.abs(cluster.drive) / cluster.rate @ (inputs / np.linalg.norm(inputs, axis=1)[:, None])
    )
    grown = np.maximum(cluster.sign * v[..., 0] + along, 0.0) / np.sqrt(2)
    return float(np.mean(0.5 * np.sum(grown**2, axis=1)))


def _overlap(order: list[_Cluster], logs: dict[int, np.ndarray], rate: dict[int, float]) -> Range:
    """How far the second cluster is when the first is fitted, of its end, for our own draw: they
    join at BEGIN^2."""
    if len(order) < 2:
        return overlap_range(0.0)
    first, second = (c.sign for c in order)
    fitted = logs[first][0] - np.log(BEGIN) / rate[first]
    return overlap_range(
        float(np.minimum(BEGIN**2 * np.exp(2 * rate[second] * (fitted - logs[second][0])), 1.0))
    )


def _sorted_out(
    v: np.ndarray, w: np.ndarray, clusters: list[_Cluster]
) -> tuple[np.ndarray, np.ndarray, float]:
    """v (M, H) and w (M, H, n) after the early phase, and its duration: exact between the moments
    at which samples are lost."""
    drive = sum(cluster.drive for cluster in clusters)
    duration = EARLY / min(cluster.rate for cluster in clusters)
    step = duration / STEPS
    for _ in range(STEPS):
        g = np.where(w > 0, drive, 0.0)
        c = np.maximum(np.linalg.norm(g, axis=-1), 1e-300)
        along = np.sum(g * w, axis=-1) / c
        cosh, sinh = np.cosh(c * step), np.sinh(c * step)
        w = np.where(
            w > 0,
            np.maximum(w + g / c[..., None] * (v * sinh + along * (cosh - 1))[..., None], 0.0),
            w,
        )
        v = v * cosh + along * sinh
    return v, w, duration
