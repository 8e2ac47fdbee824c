"""Diagonal linear networks: coordinates are released, and taken back, in the
order of Pesme & Flammarion.

With f = sum_d u_d v_d x_d, beta = u v and m the integral of -dL/dbeta,

    beta = ((u + v)^2 e^(2m) - (u - v)^2 e^(-2m)) / 4

at the initial weights: coordinate d is half learned from m = 1/2 ln(4 b/(u + v)^2)
on, or down from -1/2 ln(4 b/(u - v)^2), with b the size at which a coordinate
alone has lost half of its loss. Between these two walls beta is as good as zero.

Source: Pesme & Flammarion (2023), Algorithm 1; the walls for unequal initial
weights are derived here.
"""

from __future__ import annotations

import numpy as np

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..networks import Moments, input_moments
from ..networks.losses import SQUARED
from ..theory import Jump, diagonal_paths
from ..theory.saddles import pseudo_inverse
from .base import PredictedStage, Prediction, demand, off_diagonal, register
from .draws import initial_sides, one_layer_from_small_weights, other_seeds, spread
from .ranges import Range, RangeTolerances, demand_range, step_range

# A mode x' = 2 s x (1 - x) has lost half of its loss at x = 1 - sqrt(1/2):
# this is its x / (1 - x).
HALF = np.sqrt(2) - 1
SAME = 1e-9  # losses nearer than this share of the first are of one saddle
ROUNDING = 1e-14  # losses below this share of the first are rounding, left when all is learned
# Coordinates that have nothing to learn count as learning this share of the largest
# size.
SMALLEST = 1e-3
LIMIT = (
    "exact for uncorrelated inputs and small weights; otherwise the error of the times falls like"
    " 1 / ln(1/scale)"
    " (mean and interval are over the draws of the same sequence)"
)


@register("diagonal jumps")
@in_float64
def diagonal_sequence(experiment: Experiment) -> Prediction:
    """The saddles of a diagonal linear network and their times.

    Raises DoesNotApply. Cost: the sequence of every draw, about 0.2 s.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.diagonal import diagonal_sequence
    >>> found = diagonal_sequence(Experiment.named("diagonal"))
    >>> [(round(stage.loss, 6), stage.units) for stage in found.stages]
    [(0.5, (0,)), (0.093248, (1,)), (0.014664, (1,)), (0.0, (1,))]

    Source: Pesme & Flammarion (2023), Algorithm 1.
    """
    moments = _conditions(experiment)
    g, b = moments.features, moments.cross[0]
    fastest = float(np.abs(b).max())
    steps = step_range(experiment, fastest, RangeTolerances.now().sharp)
    seeds = [experiment.seed, *other_seeds(experiment)]
    u, v = initial_sides(experiment, experiment.objective(), seeds)
    demand_range([steps])
    high, low = _walls(u[:, 0], v[:, 0], _half_sizes(g, b))
    shortest = float(min(high[0].min(), low[0].min()))
    mixed = Range(
        "correlation of inputs over the shortest wall",
        off_diagonal(g) / shortest,
        *RangeTolerances.now().mixed,
    )
    demand_range([mixed])
    own, *others = diagonal_paths(g, b, high, low)
    same = [path for path in others if _alike(path, own)]
    share = len(same) / len(others)
    losses = _without_rounding(own, moments)
    stages = [PredictedStage(losses[0], (0,))]
    for k in range(1, len(own)):
        times = np.array([path[k].time for path in same])
        mean, lowest, highest = spread(times)
        stage = PredictedStage(
            loss=losses[k],
            units=(1,),
            jump=own[k].time,
            mean=mean,
            low=lowest,
            high=highest,
            share=share,
            range=mixed,
        )
        stages.append(stage)
    return Prediction(
        theory="diagonal jumps",
        source="Pesme & Flammarion 2023, Algorithm 1",
        limit=LIMIT,
        stages=tuple(stages),
        ranges=(steps, mixed),
    )


def _conditions(experiment: Experiment) -> Moments:
    one_layer_from_small_weights(experiment)
    network = experiment.network
    unit, width = network.layers[0].unit, network.widths[0]
    demand(unit.name == "diagonal", f"units are {unit.name}, not diagonal")
    demand(
        width == 1,
        f"the layer has {width} units, not the one of a diagonal network",
    )
    data = experiment.task.data(experiment.seed)
    demand(data.loss is SQUARED, f"the loss is {data.loss.name}, not squared")
    demand(data.outputs == 1, f"the network has {data.outputs} outputs, not one")
    moments = input_moments(network, data)
    demand(
        bool(np.any(moments.cross[0])),
        "nothing is to be learned: E[y x] is zero",
    )
    return moments


def _half_sizes(g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b (D,): the |beta| at which a coordinate alone has lost half of its loss.

    g (D, D): E[x x']; b (D,): E[y x].
    """
    learned = np.abs(pseudo_inverse(g) @ b)
    least = SMALLEST * np.abs(b).max() / np.abs(g).max()
    return HALF * np.maximum(learned, least)


def _walls(
    u: np.ndarray,
    v: np.ndarray,
    sizes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """1/2 ln(4 b / (u + v)^2) and 1/2 ln(4 b / (u - v)^2) of every draw and
    coordinate (M, D)."""
    high = 0.5 * np.log(4 * sizes / (u + v) ** 2)
    low = 0.5 * np.log(4 * sizes / (u - v) ** 2)
    demand(
        min(high.min(), low.min()) > 0,
        "initial weights are not small beside what they have to learn",
    )
    return high, low


def _alike(path: tuple[Jump, ...], own: tuple[Jump, ...]) -> bool:
    """Whether two draws pass saddles of the same losses."""
    if len(path) != len(own):
        return False
    apart = [abs(jump.loss - ours.loss) for jump, ours in zip(path, own, strict=True)]
    return max(apart) <= SAME * own[0].loss


def _without_rounding(path: tuple[Jump, ...], moments: Moments) -> list[float]:
    """The losses of a path, which `diagonal_paths` knows up to a constant."""
    constant = 0.5 * moments.target - path[0].loss
    losses = [jump.loss + constant for jump in path]
    rounding = ROUNDING * losses[0]
    return [loss if loss > rounding else 0.0 for loss in losses]
