"""Alternating gradient flows as a prediction: the limit of vanishing initial
weights, for any single sum of units.

The rule `agf` is run from the experiment's own initial weights; its rests are
the plateaus. It needs no more of the units than their leading degree, so it
speaks of networks that no other theory does; where one of them applies that one
is nearer to the flow, since it keeps what many units of finite size do together.

Source: Kunin et al. (2025), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..networks import Objective
from ..rules import AlternatingFlow
from ..rules.base import Units
from ..symmetry import effective_units
from ..training import Stop, Trajectory, driver
from .base import PredictedStage, Prediction, demand, register
from .draws import one_layer_from_small_weights
from .ranges import Range, RangeTolerances, demand_range, sharpness_range, worst

FOREVER = 1e15  # natural waits, after which all has grown that grows at all
STEPS = 60_000  # most steps of the rule's run, which needs hundreds a jump
LOWER = 1e-5  # a rest is the one before unless its loss is lower by this share of the first loss
# Jump times have the stated error (ALONE + SHARED ln H) / ln(1/size) of order two, KINKED
# times that of units with kinks, and above EVEN_SO + SIDE_BY_SIDE (size /
# threshold)^(order - 2).
ALONE, SHARED, KINKED = 1.0, 0.5, 2.0
EVEN_SO, SIDE_BY_SIDE = 0.02, 3.0
LIMIT = (
    "exact as the initial scale goes to zero, for the experiment's own weights; before, jump"
    " times err by what many units"
    " of finite size do together"
)


@register("alternating gradient flows")
@in_float64
def alternating_gradient_flows(experiment: Experiment) -> Prediction:
    """The rests of the rule `agf` from the experiment's own weights.

    Raises DoesNotApply. Cost: one run of the rule, hundreds of steps a jump.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.vanishing import alternating_gradient_flows
    >>> found = alternating_gradient_flows(Experiment.named("diagonal"))
    >>> [(round(stage.loss, 6), stage.units) for stage in found.stages]
    [(0.5, (0,)), (0.093248, (1,)), (0.014664, (1,)), (0.0, (1,))]
    >>> print(f"jump times to {found.error:.0%}")
    jump times to 11%

    Source: Kunin et al. (2025), Algorithm 1.
    """
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    demand(
        unit.symmetry.degree is not None,
        f"units {unit.name} have no silent point",
    )
    objective, start = experiment.objective(), experiment.initial_state()
    index = np.array(objective.parts.units.index)
    largest = float(np.linalg.norm(start[index], axis=1).max())
    trajectory = _run(objective, start, largest)
    ranges = (sharpness_range(experiment, objective, np.asarray(trajectory.states[-1])),)
    demand_range(ranges)
    stages = tuple(_stages(objective, index, trajectory))
    size = largest / objective.parts.unit_size
    error = _error(objective.parts.units, size) + 0.5 * ranges[0].value
    return Prediction(
        theory="alternating gradient flows",
        source="Kunin et al. 2025, Algorithm 1",
        limit=LIMIT,
        stages=stages,
        ranges=ranges,
        error=error,
    )


def _run(objective: Objective, start: np.ndarray, largest: float) -> Trajectory:
    """The rule's run to its end, from weights (P,) whose largest unit is of this size."""
    parts = objective.parts
    limit = AlternatingFlow.threshold * parts.unit_size
    size = f"a unit is of size {largest:.2g}, where {limit:.2g} is active"
    demand(largest < limit, f"initial weights are not small: {size}")
    rule = AlternatingFlow().bound(parts)
    # A unit of relative size s and degree kappa grows at s^(kappa - 2) of the natural rate.
    slower = (largest / parts.unit_size) ** (parts.units.order - 2)
    stop = Stop(flow_time=FOREVER / (objective.scales.curvature * slower), steps=STEPS)
    trajectory = driver.run(
        objective.function,
        objective.samples,
        start,
        rule,
        stop,
    )
    demand(
        trajectory.status == "stopped",
        f"its run could not be continued: {trajectory.reason}",
    )
    at = f"after {STEPS:,} steps, at loss {trajectory.loss[-1]:.3g}"
    demand(
        int(trajectory.step[-1]) < STEPS,
        f"its run goes on {at}: new units join for ever",
    )
    return trajectory


def _error(units: Units, size: float) -> float:
    """The relative error that jump times are stated to have, from units of
    this size, of the natural one.

    Of order two, waits last ln(1/size) over their rate, and of H units that
    grow at one rate the strengths add up, which is worth 1/2 ln H and
    something of order one, of units with kinks twice that, as their
    directions are not settled then. Above, a unit takes from the threshold on
    a part (size / threshold)^(order - 2) of its wait, in which the others
    grow by the old residual.
    """
    if units.order == 2:
        together = ALONE + SHARED * np.log(len(units.index))
        unsettled = 1.0 if units.smooth else KINKED
        return unsettled * together / np.log(1 / size)
    part = (size / AlternatingFlow.threshold) ** (units.order - 2)
    return EVEN_SO + SIDE_BY_SIDE * part


def _stages(
    objective: Objective,
    index: np.ndarray,
    trajectory: Trajectory,
) -> Iterator[PredictedStage]:
    """One for each rest with a lower loss than the one before.

    The clock is late by what waits were too short to make up for, as where units
    grow side by side: that is taken off, and is the measure of how far they do.

    index (H, units' weights): where the weights of every unit stand.
    """
    seen = trajectory.observables
    before, last = np.inf, 0.0
    turns = _turns(objective, index, trajectory)
    along = zip(
        trajectory.states,
        seen["active"],
        seen["moving"],
        seen["owed"],
        strict=True,
    )
    for state, active, moving, owed in along:
        if moving:
            continue
        alone = np.zeros_like(state)
        alone[index[active]] = state[index[active]]
        loss, turn = float(objective.loss(alone)), next(turns)
        if before - loss <= LOWER * trajectory.loss[0]:
            continue
        units = tuple(layer.minimal for layer in effective_units(objective, alone))
        crossed = None
        if not np.isinf(before):
            crossed = trajectory.crossing(0.5 * (before + loss))
        if crossed is None:
            yield PredictedStage(loss, units)
        else:
            found = worst((_waits(float(owed), crossed), turn))
            assert found is not None
            last = max(last, crossed - float(owed))
            jump = last if found.verdict != "outside" else None
            yield PredictedStage(loss, units, jump, range=found)
        before = loss


def _waits(owed: float, crossed: float) -> Range:
    return Range(
        "part of a jump time by which waits overlap",
        owed / crossed,
        *RangeTolerances.now().wait,
    )


def _turns(
    objective: Objective,
    index: np.ndarray,
    trajectory: Trajectory,
) -> Iterator[Range]:
    """For each rest: how far, at most, the units that joined since the one
    before had turned while they waited, 1 - cos; with all jumps before it,
    since times add up.

    Before anything is learned every unit moves by itself, exactly so at
    vanishing size. Later the drops have moved those that wait, and at finite
    size otherwise than in no time. Units with kinks may end up on either side
    of one, which decides how fast they grow: jump times of single runs
    differed by a factor of seven.
    """
    smooth = objective.network.layers[0].unit.smooth
    seen = trajectory.observables
    largest, rests = 0.0, 0
    waiting, known = np.asarray(trajectory.states[0]), np.zeros(len(index), bool)
    along = zip(trajectory.states, seen["active"], seen["moving"], strict=True)
    for state, active, moving in along:
        active = np.asarray(active, bool)
        # Before the second rest nothing is learned, or has been just now.
        if rests >= 2 and not smooth:
            joined = index[active & ~known]
            turned = [_turned(waiting[unit], state[unit]) for unit in joined]
            largest = max([largest, *turned])
        known |= active
        if moving:
            continue
        yield Range(
            "turn of the units that join, while they wait",
            largest,
            *RangeTolerances.now().turn,
        )
        rests += 1
        waiting, known = np.asarray(state), active.copy()


def _turned(before: np.ndarray, after: np.ndarray) -> float:
    sizes = float(np.linalg.norm(before) * np.linalg.norm(after))
    return 1.0 - float(before @ after) / sizes if sizes > 0 else 1.0
