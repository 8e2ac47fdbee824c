"""Effective units: how many active units, rays and directions a layer has, and how few would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..networks import Objective
from ..units import Unit
from .embedding import Side, unit_rows
from .reduction import Reduction, reduce, sides

BLOCK = 64  # rows compared with all others in one product


@dataclass(frozen=True, repr=False)
class EffectiveUnits(Result):
    """Counts for one layer at one state.

    active: units with |u_i||v_i| above `tolerance` of the largest. rays: classes of active units
    with proportional u (by a positive factor, or any real one for units that have a parity) within
    an angle of 0.1 rad. rank: of the matrix of incoming weights of the active units, singular
    values above `tolerance` of the largest. minimal: units of the smallest network that reproduces
    the map (see `reduce`). Where minimal is 0 no unit does anything that is seen in the map, and
    all counts are 0, however alike the silent units are.
    """

    active: int
    rays: int
    rank: int
    minimal: int

    def printed(self) -> Printed:
        return Printed(("effective units", ""), list(vars(self).items()))

    def record(self) -> dict[str, int]:
        """The stable JSON form."""
        return plain(vars(self))


@in_float64
def effective_units(
    objective: Objective,
    theta: np.ndarray,
    *,
    tolerance: float = 0.02,
    reduction: Reduction | None = None,
) -> tuple[EffectiveUnits, ...]:
    """Effective units of every layer; `tolerance` as in `reduce` for minimal, relative to the
    largest unit for the rest.

    Pass a `reduction` of the same state to save computing it again. Cost: that of `reduce`.
    """
    found = reduction or reduce(objective, theta, tolerance=tolerance)
    network, params = objective.network, objective.params(np.asarray(theta, float))
    return tuple(
        count_units(*sides(network, params, k), layer.unit, found.widths[k], tolerance)
        for k, layer in enumerate(network.layers)
    )


def count_units(u: Side, v: Side, unit: Unit, minimal: int, tolerance: float) -> EffectiveUnits:
    """The counts of one layer from its two sides."""
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    if minimal == 0 or size.max(initial=0.0) == 0.0:
        return EffectiveUnits(0, 0, 0, minimal)
    active = size > tolerance * size.max()
    singular = np.linalg.svd(u[active], compute_uv=False)
    return EffectiveUnits(
        int(active.sum()),
        count_rays(u[active], both=unit.symmetry.parity is not None),
        int(np.sum(singular > tolerance * singular[0])),
        minimal,
    )


def count_rays(u: Side, *, both: bool, angle: float = 0.1) -> int:
    """Classes of rows within `angle` radians of each other (of each other's line when `both`),
    greedily from the longest."""
    rows = unit_rows(u[np.argsort(-np.linalg.norm(u, axis=1))])
    least, count = np.cos(angle), 0
    while len(rows):
        block = rows[:BLOCK]
        cosine = block @ rows.T
        near, left = (np.abs(cosine) if both else cosine) >= least, np.ones(len(rows), bool)
        for k in range(len(block)):
            if left[k]:
                count += 1
                left &= ~near[k]
        left[:BLOCK] = False
        rows = rows[left]
    return count
