"""Visits: whether a run passed close to the fixed point of a narrower network, and how close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .certificates import embed_state_near, fixed_point
from .checks import InputError, positive
from .objectives import Objective
from .precision import in_float64
from .records import text_table
from .runs import Run
from .symmetry import reduce


STARTS = 16  # states of the run from which the narrow fixed point is sought


@dataclass(frozen=True, eq=False)
class Visit:
    """Whether a run passed close to a fixed point of given effective widths.

    verdict: "visited", "not visited" or "no fixed point" (the narrow refinement found none; `reason` says why).
    distance: smallest distance in weights from the trajectory to an embedding of the fixed point; relative: over the
    norm of the fixed point. flow_time: when. loss: of the fixed point; run_loss: of the run there.
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

    def __repr__(self) -> str:
        return text_table(("visit", ""), [("widths", ", ".join(map(str, self.widths))), ("verdict", self.verdict),
                                          ("reason", self.reason), ("distance", self.distance),
                                          ("relative distance", self.relative), ("flow time", self.flow_time),
                                          ("loss of the fixed point", self.loss), ("loss of the run", self.run_loss)])


@in_float64
def visit(run: Run, widths: int | tuple[int, ...], *, within: float = 0.1) -> Visit:
    """How close a run came to the fixed point of its reduction to the given widths.

    From at most 16 states along the run the state is reduced to `widths`, refined, and embedded back near the trajectory; the
    closest approach decides. Fixed points that need fewer units than asked (the origin, for one) do not count.
    within: relative distance below which the point counts as visited (10%: a judgement; the distance is reported).

    Raises InputError where the widths do not fit the network.
    """
    positive(within, "within")
    chosen = (widths,) * len(run.experiment.network.layers) if isinstance(widths, int) else tuple(widths)
    if any(w < 1 for w in chosen):
        raise InputError(f"widths must be at least one unit a layer, got {chosen}; the origin is the initial plateau")
    objective = run.objective()
    t = run.trajectory
    best, reasons = None, []
    for k in np.unique(np.linspace(0, len(t.loss) - 1, STARTS).astype(int)):
        state = np.asarray(t.states[k], float)
        reduction = reduce(objective, state, widths=chosen)
        small = objective.with_network(reduction.network)
        refinement = fixed_point(small, reduction.theta, run.gradient_scale, None)
        if not refinement.converged:
            reasons.append(f"{refinement.status}: {refinement.reason}")
            continue
        if reduce(small, refinement.point).widths != chosen:
            reasons.append("the fixed points found need fewer units")
            continue
        for j, near in _nearest(objective, small, refinement.point, t.states):
            distance = float(np.linalg.norm(near - t.states[j]))
            if best is None or distance < best[0]:
                best = (distance, j, near)
    if best is None:
        nan = float("nan")
        return Visit(chosen, "no fixed point", reasons[-1], nan, nan, nan, nan, nan, None)
    distance, j, near = best
    relative = distance / max(float(np.linalg.norm(near)), 1e-300)
    words = f"the trajectory comes within {distance:.3g} ({relative:.3g} of the fixed point's norm) at flow time {t.flow_time[j]:.4g}"
    return Visit(chosen, "visited" if relative <= within else "not visited", words, distance, relative,
                 float(t.flow_time[j]), float(objective.loss(near)), float(t.loss[j]), near)


def _nearest(objective: Objective, small: Objective, narrow: np.ndarray, states: np.ndarray):
    """(saved point, embedding near it) for a coarse scan of the trajectory."""
    for j in np.unique(np.linspace(0, len(states) - 1, 60).astype(int)):
        yield int(j), embed_state_near(objective, small, narrow, np.asarray(states[j], float))
