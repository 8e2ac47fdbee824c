"""What the mechanisms of growth share: their conditions, the draws, and the spread over them."""

from __future__ import annotations

import numpy as np

from ..experiments import Experiment
from ..networks import Objective
from ..networks.network import places_of_units
from ..saddles.narrow_networks import Sides
from .base import INTERVAL, Spread, demand
from .ranges import shift

DRAWS, FEWEST = (
    1000,
    40,
)  # of initial weights, for the spread; and how many must be left for it to be stated
INDEPENDENT = ("isotropic", "balanced")  # kinds of initial weights that draw unit by unit
SEED = 1_000_003  # draws for the spread are of other seeds than a user's
LEARNED = 1e-7  # of the first correlation: below, nothing is left to learn


def one_layer_from_small_weights(experiment: Experiment) -> None:
    """Demand a single sum of units, small random weights, and gradient flow or full-batch
    descent."""
    network, start = experiment.network, experiment.initialization
    single = len(network.layers) == 1 and not network.readout and not network.layers[0].residual
    demand(single, "the network is deep, residual or has a read-out, not one sum of units")
    demand(
        start.kind in INDEPENDENT, f"initial weights are {start.kind}, not small and independent"
    )
    flow_or_descent(experiment)


def flow_or_descent(experiment: Experiment) -> None:
    """Demand gradient flow or full-batch descent."""
    rule = experiment.rule
    demand(
        rule.kind in ("flow", "descent") and not rule.batch,
        f"the rule is {rule.kind}, not gradient flow or full descent",
    )


def initial_sides(experiment: Experiment, objective: Objective, seeds: list[int]) -> Sides:
    """The units of several draws on the same data: u (M, H, U) and v (M, H, V)."""
    f, network = objective.function, objective.network
    states = experiment.initialization.draws(network, f.shape, f.outputs, seeds)
    (u, v), *_ = places_of_units(network, f.shape, f.outputs)
    return (
        states[:, u.numbers].reshape(-1, *u.shape),
        states[:, v.numbers].reshape(-1, *v.shape),
    )


def other_seeds(experiment: Experiment) -> list[int]:
    return [experiment.seed + SEED * (k + 1) for k in range(DRAWS)]


def spread(times: np.ndarray) -> Spread:
    """Mean and nominal interval of jump times over draws; nothing where too few are left."""
    if len(times) < FEWEST:
        return None, None, None
    low, high = np.quantile(times, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(times.mean()), float(low), float(high)


def widened(found: Spread, rate: float, *, early: float = 0.0, late: float = 0.0) -> Spread:
    """The interval where neighbours move a jump: earlier by between half of `early` and all of it,
    or later, where the strengths behind it are known up to these factors (less one)."""
    mean, low, high = found
    if low is None or high is None:
        return found
    sooner, later = shift(early, rate), shift(late, rate)
    return mean, low - sooner + 0.5 * later, high + later - 0.5 * sooner
