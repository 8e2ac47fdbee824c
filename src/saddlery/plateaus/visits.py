"""Visits: whether a run passed close to the fixed point of a narrower network, and how
close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..basis.checks import InputError, positive, unpacked, whole
from ..basis.precision import in_float64, spare_programs
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY
from ..networks import Objective
from ..runs import Run
from ..runs.store import Subject, run_of
from ..saddles.fixed_points import FixedPointTolerances, embed_state_near, fixed_point
from ..symmetry import Reduction, nearest_embedding, reduce

# A state counts as near as the nearest up to so many times its distance.
SAME = 1.01
ENDED = "; the run ends there, and is not seen to leave it"
# At most so many states of the run are compared with the fixed points.
SCAN = 64
# Fixed points are sought from at most so many of these.
STARTS = 16


@dataclass(frozen=True, eq=False, repr=False)
class Visit(Result):
    """Whether a run passed close to a fixed point of given effective widths.

    verdict: "visited", "not visited" or "no fixed point" (the narrow refinement found
        none).
    reason: in words, with the numbers that decided.
    distance: from the trajectory to the nearest embedding found of the fixed point,
        2-norm in weights: an upper bound of the smallest distance, since embeddings
        make up many families and only the best of a search is known.
    relative: the distance over the norm of the fixed point.
    flow_time: when.
    loss, run_loss: of the fixed point, and of the run then.
    state (P,): the embedded fixed point; None where there is none.
    at_end: whether the run ends as near, or near enough to count as a visit: it has not
        been seen to leave the point again, or was on its way.
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

    def printed(self) -> Printed:
        rows = [
            ("widths", ", ".join(map(str, self.widths))),
            ("verdict", self.verdict),
            ("reason", self.reason),
            ("distance, at most", self.distance),
            ("relative distance, at most", self.relative),
            ("flow time", self.flow_time),
            ("loss of the fixed point", self.loss),
            ("loss of the run", self.run_loss),
        ]
        return Printed(("visit", ""), rows)

    def record(self) -> dict[str, object]:
        """JSON form, without the state; null where there is no fixed point."""
        return plain({name: value for name, value in vars(self).items() if name != "state"})


class _Approach(NamedTuple):
    """A saved state of a run beside an embedding of a fixed point.

    index: of the saved state.
    state (P,): the embedding.
    distance: between them.
    """

    index: int
    state: np.ndarray
    distance: float


class _Narrow(NamedTuple):
    """A fixed point of full width of a narrow network: its objective and its state
    (P',)."""

    objective: Objective
    point: np.ndarray


@in_float64
def visit(subject: Subject, widths: int | tuple[int, ...], *, within: float = 0.1) -> Visit:
    """How close a run came to the fixed point of its reduction to the given widths.

    Weights (P,) along the run are reduced to `widths` and refined; the fixed points
    found are embedded back beside 64 states of the run, each time as near as a search
    finds (`nearest_embedding`), and the closest approach decides: the run came at least
    as close as said. Fixed points that need fewer units than asked (the origin, for
    one) do not count.

    subject: a run or its folder, or an experiment, which is trained.
    widths: effective units, at least one: of every layer, or one number a layer.
    within: relative distance below which the point counts as visited (10%: a judgement;
        the distance is reported).

    Raises InputError where the widths do not fit the network. Cost: 64 reductions and
    16 refinements of the narrow network.

    Example
    -------
    >>> from saddlery import train, visit
    >>> found = visit(train("linear"), 1)
    >>> found.verdict, round(found.loss, 3), found.relative < 0.05, found.at_end
    ('visited', 0.08, True, False)
    """
    spare_programs()
    positive(within, "within")
    run = run_of(subject)
    chosen = _widths(run, widths)
    objective, states = run.objective(), run.trajectory.states
    scan: dict[int, Reduction] = {}
    for k in _spread(len(states), SCAN):
        scan[int(k)] = reduce(objective, np.asarray(states[k], float), widths=chosen)
    reductions = list(scan.values())
    starts = [reductions[k] for k in _spread(len(scan), STARTS)]
    points, refusal = _narrow_points(objective, starts, objective.scales.gradient)
    if not points:
        return _no_fixed_point(chosen, refusal)

    ways = [_way_by(run, objective, narrow, scan) for narrow in points]
    closest = [min(way, key=lambda one: one.distance) for way in ways]
    nearest = min(range(len(points)), key=lambda k: closest[k].distance)
    return _visit(
        run,
        chosen,
        closest[nearest],
        last=ways[nearest][-1],
        within=within,
    )


def _widths(run: Run, given: int | tuple[int, ...]) -> tuple[int, ...]:
    """One a layer."""
    each = unpacked(given)
    if not isinstance(each, tuple):
        each = (each,) * len(run.experiment.network.layers)
    chosen = tuple(whole(width, "widths", 0) for width in each)
    if any(width < 1 for width in chosen):
        raise InputError(
            f"widths must be at least one unit a layer, got {chosen}; the origin "
            "is the initial plateau"
        )
    return chosen


def _way_by(
    run: Run, objective: Objective, narrow: _Narrow, scan: dict[int, Reduction]
) -> list[_Approach]:
    """How the run passes one fixed point: its nearest embedding beside every state that
    was looked at, in order."""
    way = []
    for k, reduction in scan.items():
        small, point = narrow
        at = embed_state_near(objective, small, point, reduction, nearest_embedding)
        away = float(np.linalg.norm(at - run.trajectory.states[k]))
        way.append(_Approach(k, at, away))
    return way


def _visit(
    run: Run, widths: tuple[int, ...], closest: _Approach, *, last: _Approach, within: float
) -> Visit:
    """The record of the closest approach, on a way that ends with `last`."""
    trajectory = run.trajectory
    distance = closest.distance
    size = max(float(np.linalg.norm(closest.state)), TINY)
    relative = distance / size
    at_end = last.distance <= max(SAME * distance, within * size)
    flow_time = float(trajectory.flow_time[closest.index])
    near = f"within {distance:.3g} ({relative:.3g} of the fixed point's norm) or less"
    words = f"the trajectory comes {near} at flow time {flow_time:.4g}"
    if at_end:
        words += ENDED
    return Visit(
        widths=widths,
        verdict="visited" if relative <= within else "not visited",
        reason=words,
        distance=distance,
        relative=relative,
        flow_time=flow_time,
        loss=float(run.objective().loss(closest.state)),
        run_loss=float(trajectory.loss[closest.index]),
        state=closest.state,
        at_end=at_end,
    )


def _no_fixed_point(widths: tuple[int, ...], refusal: str) -> Visit:
    nothing = float("nan")
    return Visit(
        widths=widths,
        verdict="no fixed point",
        reason=refusal,
        distance=nothing,
        relative=nothing,
        flow_time=nothing,
        loss=nothing,
        run_loss=nothing,
        state=None,
    )


def _spread(count: int, most: int) -> np.ndarray:
    """At most `most` indices spread evenly over `count`, the last included."""
    return np.unique(np.linspace(0, count - 1, most).astype(int))


def _narrow_points(
    objective: Objective, reductions: list[Reduction], scale: float
) -> tuple[list[_Narrow], str]:
    """The different fixed points of full width that the reductions lead to (by their
    map), and why the last failed."""
    found: list[_Narrow] = []
    refusal = "no state to start from"
    for reduction in reductions:
        small = objective.with_network(reduction.network)
        refinement = fixed_point(small, reduction.theta, scale, None)
        narrow = _Narrow(small, refinement.point)
        if not refinement.converged:
            refusal = f"{refinement.status}: {refinement.reason}"
        elif reduce(small, refinement.point).widths != reduction.widths:
            refusal = "the fixed points found need fewer units"
        elif not any(_same_map(narrow, other) for other in found):
            found.append(narrow)
    return found, refusal


def _same_map(one: _Narrow, other: _Narrow) -> bool:
    first, second = (np.asarray(n.objective.predictions(n.point)) for n in (one, other))
    error = one.objective.map_error(first, second)
    return error < FixedPointTolerances.now().same_map
