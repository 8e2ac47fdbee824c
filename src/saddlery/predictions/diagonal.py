"""Diagonal linear networks: coordinates are released, and taken back, in the order of Pesme &
Flammarion.

With f = sum_d u_d v_d x_d, beta = u v and m = integral of -dL/dbeta, beta = ((u+v)^2 e^(2m) -
(u-v)^2 e^(-2m)) / 4 at the initial weights: coordinate d is half learned from m = 1/2 ln(4
b/(u+v)^2) on, or down from -1/2 ln(4 b/(u-v)^2), with b the size at which a coordinate alone has
lost half of its loss. Between, beta is as good as zero.
Source: Pesme & Flammarion (2023), Algorithm 1; the walls for unequal initial weights are derived
here.
"""

from __future__ import annotations

import numpy as np

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..networks import input_moments
from ..networks.losses import SQUARED
from ..theory import Jump, diagonal_paths
from ..theory.saddles import pseudo_inverse
from .base import PredictedStage, Prediction, demand, off_diagonal, register
from .draws import initial_sides, one_layer_from_small_weights, other_seeds, spread
from .ranges import Range, RangeTolerances, demand_range, step_range

HALF = (
    np.sqrt(2) - 1
    # x / (1 - x) of the x = 1 - sqrt(1/2) at which a mode x' = 2 s x (1 - x) has lost half of its loss
)
ROUNDING = 1e-14  # of the first loss: what is left when all is learned
LIMIT = (
    "exact for uncorrelated inputs and small weights; otherwise the error of the times falls like"
    " 1 / ln(1/scale)"
    " (mean and interval are over the draws of the same sequence)"
)


@register("diagonal jumps")
@in_float64
def diagonal_sequence(experiment: Experiment) -> Prediction:
    """The saddles of a diagonal linear network and their times. Raises DoesNotApply."""
    one_layer_from_small_weights(experiment)
    network = experiment.network
    demand(
        network.layers[0].unit.name == "diagonal",
        f"units are {network.layers[0].unit.name}, not diagonal",
    )
    demand(
        network.widths == (1,),
        f"the layer has {network.widths[0]} units, not the one of a diagonal network",
    )
    data = experiment.task.data(experiment.seed)
    demand(data.loss is SQUARED, f"the loss is {data.loss.name}, not squared")
    demand(data.outputs == 1, f"the network has {data.outputs} outputs, not one")
    moments = input_moments(network, data)
    g, b = moments.features, moments.cross[0]
    demand(bool(np.any(b)), "nothing is to be learned: E[y x] is zero")
    u, v = initial_sides(
        experiment, experiment.objective(), [experiment.seed, *other_seeds(experiment)]
    )
    steps = step_range(experiment, float(np.abs(b).max()), RangeTolerances.now().sharp)
    demand_range([steps])
    sizes = HALF * np.maximum(
        np.abs(pseudo_inverse(g) @ b), 1e-3 * np.abs(b).max() / np.abs(g).max()
    )
    high, low = _walls(u[:, 0], v[:, 0], sizes)
    mixed = Range(
        "correlation of inputs over the shortest wall",
        off_diagonal(g) / float(min(high[0].min(), low[0].min())),
        *RangeTolerances.now().mixed,
    )
    demand_range([mixed])
    own, *others = diagonal_paths(g, b, high, low)
    expected = _losses(own)
    same = [path for path in others if _losses(path) == expected]
    share = len(same) / len(others)
    constant = 0.5 * moments.target - own[0].loss
    losses = [jump.loss + constant for jump in own]
    losses = [loss if loss > ROUNDING * losses[0] else 0.0 for loss in losses]
    stages = [PredictedStage(losses[0], (0,))]
    for k in range(1, len(own)):
        times = np.array([path[k].time for path in same])
        stages.append(
            PredictedStage(losses[k], (1,), own[k].time, *spread(times), share=share, range=mixed)
        )
    source = "Pesme & Flammarion 2023, Algorithm 1"
    return Prediction("diagonal jumps", source, LIMIT, tuple(stages), ranges=(steps, mixed))


def _walls(u: np.ndarray, v: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1/2 ln(4 b / (u + v)^2) and 1/2 ln(4 b / (u - v)^2) of every draw and coordinate
    (R, D)."""
    high, low = (0.5 * np.log(4 * sizes / side**2) for side in (u + v, u - v))
    demand(
        min(high.min(), low.min()) > 0,
        "initial weights are not small beside what they have to learn",
    )
    return high, low


def _losses(path: tuple[Jump, ...]) -> list[float]:
    return [round(jump.loss, 9) for jump in path]
