"""Alternating gradient flows as a prediction: the limit of vanishing initial weights, for any single sum of units.

The rule `agf` is run from the experiment's own initial weights; its rests are the plateaus. It needs no more of the units
than their leading degree, so it speaks of networks that no other theory does; where one of them applies that one is nearer
to the flow, since it keeps what many units of finite size do together.
Source: Kunin et al. (2025), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import driver
from ..driver import Stop, Trajectory
from ..experiments import Experiment
from ..objectives import Objective
from ..precision import in_float64
from ..rules import AlternatingFlow
from ..symmetry import effective_units
from .base import PredictedStage, Prediction, demand, register
from .draws import one_layer_from_small_weights

FOREVER = 1e15  # flow time: what grows at all has grown by then
LOWER = 1e-5  # of the first loss: a rest whose loss is not lower by this is the one before
LIMIT = "exact as the initial scale goes to zero; before, jump times err by a part that falls like 1 / ln(1/scale) or faster"


@register("alternating gradient flows")
@in_float64
def alternating_gradient_flows(experiment: Experiment) -> Prediction:
    """The rests of the rule `agf` from the experiment's own weights. Raises DoesNotApply."""
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    demand(unit.symmetry.degree is not None, f"units {unit.name} have no silent point")
    objective, start = experiment.objective(), experiment.initial_state()
    parts = objective.parts
    largest = float(np.linalg.norm(start[np.array(parts.units.index)], axis=1).max())
    limit = AlternatingFlow.threshold * parts.unit_size
    demand(
        largest < limit, f"initial weights are not small: a unit is of size {largest:.2g}, where {limit:.2g} is active"
    )
    rule = AlternatingFlow().bound(parts)
    trajectory = driver.run(objective.function, objective.samples, start, rule, Stop(flow_time=FOREVER))
    demand(trajectory.status == "stopped", f"its run could not be continued: {trajectory.reason}")
    stages = tuple(_stages(objective, np.array(parts.units.index), trajectory))
    return Prediction("alternating gradient flows", "Kunin et al. 2025, Algorithm 1", LIMIT, stages)


def _stages(objective: Objective, index: np.ndarray, trajectory: Trajectory) -> Iterator[PredictedStage]:
    """One for each rest with a lower loss than the one before."""
    before = np.inf
    for state, active, moving in zip(trajectory.states, *_phases(trajectory), strict=True):
        if moving:
            continue
        alone = np.zeros_like(state)
        alone[index[active]] = state[index[active]]
        loss = float(objective.loss(alone))
        if before - loss > LOWER * trajectory.loss[0]:
            units = tuple(layer.minimal for layer in effective_units(objective, alone))
            jump = None if np.isinf(before) else trajectory.crossing(0.5 * (before + loss))
            yield PredictedStage(loss, units, jump)
            before = loss


def _phases(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    return trajectory.observables["active"], trajectory.observables["moving"]
