"""What training cannot do but by rounding: leave an invariant manifold that it starts on
exactly.

Equal, silent, proportional or combined units stay so under gradient flow (Zhang, Saxe &
Latham 2026, Theorem 3). From such a start the effective width never grows; a run in
floating point leaves the manifold all the same, after about ln(1/eps) over the rate of
escape, a time that says nothing of the task.
"""

from __future__ import annotations

import numpy as np

from ..networks import Objective
from ..runs import Run
from ..symmetry import nearest_of_width
from ..symmetry.reduction import sides
from ..units import Unit

# A start no farther from the manifold than so many roundings of its weights is on it.
ROUNDINGS = 64
SEEDED = (
    "seeded by rounding: the start lies exactly on the manifold of width {}, and "
    "nothing else feeds the way out"
)


def kept_width(run: Run, objective: Objective, most: int) -> int | None:
    """The effective width that a run of one layer keeps in exact arithmetic, if it is
    less than `most`.

    None if it is not less, or nobody knows (several layers). Of flow, descent, momentum
    and normalised descent it is that of the nearest invariant manifold of the first
    weights (P,); rules that move weight by weight keep only equal and silent units.

    Cost: one `nearest_of_width`, more where there is something to tell.

    Example
    -------
    Weights of linear units with two inputs and two outputs span four directions at most.

    >>> from saddlery import train
    >>> run = train("linear")
    >>> kept_width(run, run.objective(), 5), kept_width(run, run.objective(), 2)
    (4, None)
    """
    layers = objective.network.layers
    if len(layers) != 1 or most < 1:
        return None
    unit = layers[0].unit
    start = objective.params(np.asarray(run.trajectory.states[0], float))
    u, v = sides(objective.network, start, 0)
    if not run.experiment.rule.rotates:
        distinct = _distinct(u, v, unit)
        return distinct if distinct < most else None
    size = float(np.hypot(np.linalg.norm(u), np.linalg.norm(v)))
    near = ROUNDINGS * float(np.finfo(run.experiment.precision).eps) * size

    def on(width: int) -> bool:
        return nearest_of_width(u, v, unit, width).distance <= near

    # Manifolds are nested: most starts are off the widest, and off all with it.
    if not on(most - 1):
        return None
    return next(width for width in range(most) if on(width))


def _distinct(u: np.ndarray, v: np.ndarray, unit: Unit) -> int:
    """How many units, u (H, U) and v (H, V), are unlike each other and not silent."""
    rows = np.unique(np.hstack([u, v]), axis=0)
    one_is_silent = unit.symmetry.silent and not rows.any(axis=1).all()
    return len(rows) - int(one_is_silent)
