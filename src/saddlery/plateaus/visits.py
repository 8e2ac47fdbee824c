"""Visits: whether a run passed close to the fixed point of a narrower network, and how close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..basis.checks import InputError, positive, unpacked, whole
from ..basis.precision import in_float64, spare_programs
from ..basis.records import text_table
from ..basis.values import Value
from ..networks import Objective
from ..runs.store import Subject, run_of
from ..saddles.fixed_points import EXACT, embed_state_near, fixed_point
from ..symmetry import Reduction, nearest_embedding, reduce

SAME = 1.01  # of the smallest distance: as near
ENDED = "; the run ends there, and is not seen to leave it"
SCAN, STARTS = (
    64,
    16,
)  # states compared with the fixed points; and those of them from which these are sought


@dataclass(frozen=True, eq=False)
class Visit(Value):
    """Whether a run passed close to a fixed point of given effective widths.

    verdict: "visited", "not visited" or "no fixed point" (the narrow refinement found none;
        `reason` says why).
    distance: from the trajectory to the nearest embedding found of the fixed point, in weights: an
    upper bound of the smallest distance, since embeddings make up many families and only the best
    of a search is known. relative: over the norm of the fixed point. flow_time: when. loss: of the
    fixed point; run_loss: of the run there. at_end: whether the run ends as near, or near enough to
    count as a visit: it has not been seen to leave the point again, or was on its way.
    """

    widths: tuple[int, ...]
    verdict: str
    reason: str
    distance: float
    relative: float
    flow_time: float
    loss: float
    run_loss: float
    state: np.ndarray | None
    at_end: bool = False

    def __repr__(self) -> str:
        return text_table(
            ("visit", ""),
            [
                ("widths", ", ".join(map(str, self.widths))),
                ("verdict", self.verdict),
                ("reason", self.reason),
                ("distance, at most", self.distance),
                ("relative distance, at most", self.relative),
                ("flow time", self.flow_time),
                ("loss of the fixed point", self.loss),
                ("loss of the run", self.run_loss),
            ],
        )


class _Approach:
    """One saved state beside an embedding of a fixed point."""

    def __init__(self, index: int, state: np.ndarray, at: np.ndarray) -> None:
        self.index, self.state = index, state
        self.distance = float(np.linalg.norm(state - at))


@in_float64
def visit(subject: Subject, widths: int | tuple[int, ...], *, within: float = 0.1) -> Visit:
    """How close a run came to the fixed point of its reduction to the given widths.

    States along the run are reduced to `widths` and refined; the fixed points found are embedded
    back beside 64 states of the run, each time as near as a search finds (`nearest_embedding`), and
    the closest approach decides: the run came at least as close as said. Fixed points that need
    fewer units than asked (the origin, for one) do not count.
    within: relative distance below which the point counts as visited (10%: a judgement; the
    distance is reported).

    Raises InputError where the widths do not fit the network. Cost: 64 reductions and 16
    refinements of the narrow network.

    Example
    -------
    >>> from saddlery import train, visit
    >>> visit(train("linear"), 1).verdict
    'visited'
    """
    spare_programs()
    positive(within, "within")
    run, given = run_of(subject), unpacked(widths)
    each = given if isinstance(given, tuple) else (given,) * len(run.experiment.network.layers)
    chosen = tuple(whole(width, "widths", 0) for width in each)
    if any(w < 1 for w in chosen):
        raise InputError(
            f"widths must be at least one unit a layer, got {chosen}; the origin "
            "is the initial plateau"
        )
    objective, t = run.objective(), run.trajectory
    scan = {
        int(k): reduce(objective, np.asarray(t.states[k], float), widths=chosen)
        for k in _spread(len(t.loss), SCAN)
    }
    starts = [list(scan.values())[k] for k in _spread(len(scan), STARTS)]
    points, refusal = _narrow_points(objective, starts, objective.scales.gradient)
    if not points:
        nan = float("nan")
        return Visit(chosen, "no fixed point", refusal, nan, nan, nan, nan, nan, None)
    near = [
        _Approach(
            k, embed_state_near(objective, small, point, reduction, nearest_embedding), t.states[k]
        )
        for small, point in points
        for k, reduction in scan.items()
    ]
    closest = min(near, key=lambda one: one.distance)
    k, state, distance = closest.index, closest.state, closest.distance
    size = max(float(np.linalg.norm(state)), 1e-300)
    relative = distance / size
    of_the_point = near.index(closest) // len(scan)
    last = near[(of_the_point + 1) * len(scan) - 1]
    at_end = last.distance <= max(SAME * distance, within * size)
    words = (
        f"the trajectory comes within {distance:.3g} ({relative:.3g} of the fixed point's norm)"
        " or less at flow time"
        f" {t.flow_time[k]:.4g}" + at_end * ENDED
    )
    return Visit(
        chosen,
        "visited" if relative <= within else "not visited",
        words,
        distance,
        relative,
        float(t.flow_time[k]),
        float(objective.loss(state)),
        float(t.loss[k]),
        state,
        at_end,
    )


def _spread(count: int, most: int) -> np.ndarray:
    """At most `most` indices spread evenly over `count`, the last included."""
    return np.unique(np.linspace(0, count - 1, most).astype(int))


def _narrow_points(
    objective: Objective, reductions: list[Reduction], scale: float
) -> tuple[list[tuple[Objective, np.ndarray]], str]:
    """The different fixed points of full width that the reductions lead to (by their map), and why
    the last failed."""
    found: list[tuple[Objective, np.ndarray]] = []
    refusal = "no state to start from"
    for reduction in reductions:
        small = objective.with_network(reduction.network)
        refinement = fixed_point(small, reduction.theta, scale, None)
        if not refinement.converged:
            refusal = f"{refinement.status}: {refinement.reason}"
        elif reduce(small, refinement.point).widths != reduction.widths:
            refusal = "the fixed points found need fewer units"
        elif not any(_same_map(small, refinement.point, *other) for other in found):
            found.append((small, refinement.point))
    return found, refusal


def _same_map(a: Objective, x: np.ndarray, b: Objective, y: np.ndarray) -> bool:
    return a.map_error(np.asarray(a.predictions(x)), np.asarray(b.predictions(y))) < EXACT
