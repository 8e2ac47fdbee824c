"""What the two mechanisms share: a new unit joins those that have grown, and all of them flow to rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import NumericalError
from ..curvature import hessian
from ..experiments import Experiment
from ..networks import flatten
from ..objectives import Objective
from ..settling import Settled, settle
from ..symmetry import leading_tensor
from .base import INTERVAL, DoesNotApply, Spread, demand

BEGIN = 0.03  # of the natural weights: the size at which a new unit joins the flow
ROOM = 8  # units of the narrow network to begin with, most of them silent: one compiled program for many widths
DRAWS, FEWEST = 1000, 40  # of initial weights, for the spread; and how many must be left for it to be stated
SEED = 1_000_003  # draws for the spread are of other seeds than a user's
LEARNED = 1e-7  # of the first correlation: below, nothing is left to learn
Sides = tuple[np.ndarray, np.ndarray]  # (N, U) and (N, V)


def one_layer_from_small_weights(experiment: Experiment) -> None:
    """Demand a single sum of units, small random weights, and gradient flow or full-batch descent."""
    network, start, rule = experiment.network, experiment.initialization, experiment.rule
    single = len(network.layers) == 1 and not network.readout and not network.layers[0].residual
    demand(single, "the network is deep, residual or has a read-out, not one sum of units")
    demand(start.kind != "low_rank", "initial weights are low-rank and large, not small")
    demand(
        rule.kind in ("flow", "descent") and not rule.batch,
        f"the rule is {rule.kind}, not gradient flow or full descent",
    )


def with_units(objective: Objective, units: int) -> Objective:
    """The same objective with so many units."""
    return objective.with_network(objective.network.with_widths([units]))


def state_of(objective: Objective, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The flat parameters of a network with these units and silent ones."""
    width = objective.network.widths[0]
    pad = lambda side: np.vstack([side, np.zeros((width - len(side), side.shape[1]))])
    _, params = objective.network.with_sides(objective.params(np.zeros(objective.size)), 0, pad(u), pad(v))
    return flatten(params)


def initial_sides(experiment: Experiment, objective: Objective, seeds: list[int]) -> Sides:
    """The units of several draws: u (M, H, U) and v (M, H, V)."""
    f, network = objective.function, objective.network
    states = [experiment.initialization.draw(network, f.shape, f.outputs, seed) for seed in seeds]
    found = [objective.params(state) for state in states]
    return (
        np.array([np.asarray(network.incoming(params, 0)) for params in found]),
        np.array([np.asarray(network.outgoing(params, 0)) for params in found]),
    )


def other_seeds(experiment: Experiment) -> list[int]:
    return [experiment.seed + SEED * (k + 1) for k in range(DRAWS)]


@dataclass(frozen=True, eq=False)
class Learned:
    """The units that have grown, at rest. objective: of a network with room for more; state (P,): with silent units."""

    objective: Objective
    state: np.ndarray
    count: int

    @staticmethod
    def nothing(objective: Objective) -> Learned:
        room = with_units(objective, min(ROOM, objective.network.widths[0]))
        return Learned(room, np.zeros(room.size), 0)

    @property
    def loss(self) -> float:
        return float(self.objective.loss(self.state))

    def residual(self) -> np.ndarray:
        """The leading form of one more unit."""
        return leading_tensor(self.objective, self.state)

    def lowest_curvature(self) -> float:
        """The lowest eigenvalue of the Hessian within the units that have grown."""
        mark = [
            np.where(np.arange(self.objective.network.widths[0])[:, None] < self.count, 1.0, side)
            for side in self._zeros
        ]
        own = np.flatnonzero(state_of(self.objective, *mark))
        curvature = hessian(self.objective, self.state)[np.ix_(own, own)]
        return float(np.linalg.eigvalsh(curvature)[0]) if len(own) else 0.0

    @property
    def _zeros(self) -> Sides:
        network, params = self.objective.network, self.objective.params(np.zeros(self.objective.size))
        return np.asarray(network.incoming(params, 0)), np.asarray(network.outgoing(params, 0))

    def size_to_join(self, strength: float, order: int) -> float:
        """The size |theta| of a new unit whose correlation is `strength` of the first: small for what it has to learn."""
        return BEGIN * with_units(self.objective, 1).scales.weights * strength ** (1 / order)

    def join(self, new: Sides) -> tuple[Learned, Settled]:
        """The flow of these units and new ones to rest. Raises DoesNotApply where it does not rest at a fixed point."""
        network, params = self.objective.network, self.objective.params(self.state)
        u, v = (
            np.vstack([np.asarray(side(params, 0))[: self.count], added])
            for side, added in zip((network.incoming, network.outgoing), new, strict=True)
        )
        larger = with_units(self.objective, 2 * network.widths[0]) if len(u) > network.widths[0] else self.objective
        try:
            settled = settle(larger, state_of(larger, u, v))
        except NumericalError as error:
            raise DoesNotApply(f"with {len(u)} units {error}") from None
        demand(
            settled.refinement.converged, f"with {len(u)} units the flow ends at no fixed point: {settled.refinement}"
        )
        return Learned(larger, settled.end, len(u)), settled


def spread(times: np.ndarray) -> Spread:
    """Mean and nominal interval of jump times over draws; nothing where too few are left."""
    if len(times) < FEWEST:
        return None, None, None
    low, high = np.quantile(times, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(times.mean()), float(low), float(high)
