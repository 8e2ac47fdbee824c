"""Effective units: how many active units, rays and directions a layer has, and
how few would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..basis.checks import share
from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..basis.sizes import lengths
from ..networks import Objective
from ..units import Unit
from .embedding import Side, unit_rows
from .reduction import Reduction, reduce, sides

COMPARED = 64  # rows that are compared with all others in one product


@dataclass(frozen=True, repr=False)
class EffectiveUnits(Result):
    """Counts for one layer at one state.

    active: units with |u_i||v_i| above `tolerance` of the largest.
    rays: classes of active units with proportional u (by a positive factor, or
        any real one for units that have a parity) within an angle of 0.1 rad.
    rank: of the matrix of incoming weights of the active units, singular values
        above `tolerance` of the largest.
    minimal: units of the smallest network that reproduces the map (see `reduce`).

    Where minimal is 0 no unit does anything that is seen in the map, and all
    counts are 0, however alike the silent units are.
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
    theta: Float[np.ndarray, " P"],
    *,
    tolerance: float = 0.02,
    reduction: Reduction | None = None,
) -> tuple[EffectiveUnits, ...]:
    """Effective units of every layer.

    theta (P,): the state.
    tolerance: as in `reduce` for minimal, relative to the largest unit for the
        rest; below 1.
    reduction: of the same state, to save computing it again.

    Raises InputError as `reduce` does, and for a tolerance that leaves no unit. Cost:
    that of `reduce`.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.symmetry import effective_units
    >>> experiment = Experiment.named("linear")
    >>> (layer,) = effective_units(experiment.objective(), experiment.initial_state())
    >>> layer.active, layer.rays, layer.rank, layer.minimal
    (0, 0, 0, 0)
    """
    share(tolerance, "tolerance")
    found = reduction or reduce(objective, theta, tolerance=tolerance)
    network, params = objective.network, objective.params(np.asarray(theta, float))
    counts = []
    for k, layer in enumerate(network.layers):
        u, v = sides(network, params, k)
        counts.append(count_units(u, v, layer.unit, found.widths[k], tolerance))
    return tuple(counts)


def count_units(
    u: Side,
    v: Side,
    unit: Unit,
    minimal: int,
    tolerance: float,
) -> EffectiveUnits:
    """The counts of one layer from its two sides, u (H, U) and v (H, V)."""
    # Each side by its longest, since products of small lengths may be no numbers.
    size = _of_the_longest(u) * _of_the_longest(v)
    largest = size.max(initial=0.0)
    if minimal == 0 or largest == 0.0:
        return EffectiveUnits(active=0, rays=0, rank=0, minimal=minimal)
    active = u[size > tolerance * largest]
    singular = np.linalg.svd(active, compute_uv=False)
    return EffectiveUnits(
        active=len(active),
        rays=count_rays(active, both=unit.symmetry.parity is not None),
        rank=int(np.sum(singular > tolerance * singular[0])),
        minimal=minimal,
    )


def _of_the_longest(rows: Side) -> np.ndarray:
    """Lengths of rows, in that of the longest; zeros where all are."""
    long = lengths(rows)
    return long / (long.max(initial=0.0) or 1.0)


def count_rays(u: Side, *, both: bool, angle: float = 0.1) -> int:
    """Classes of rows (H, U) within `angle` radians of each other, greedily from
    the longest.

    both: of each other's line.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry.effective import count_rays
    >>> rows = np.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]])
    >>> count_rays(rows, both=False), count_rays(rows, both=True)
    (3, 2)
    """
    rows = unit_rows(u[np.argsort(-lengths(u))])
    least, count = np.cos(angle), 0
    while len(rows):
        block = rows[:COMPARED]
        cosine = block @ rows.T
        if both:
            cosine = np.abs(cosine)
        near = cosine >= least
        left = np.ones(len(rows), bool)
        for k in range(len(block)):
            if left[k]:
                count += 1
                left &= ~near[k]
        left[:COMPARED] = False
        rows = rows[left]
    return count
