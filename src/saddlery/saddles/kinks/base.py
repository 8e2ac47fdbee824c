"""What all that is said of kinks shares: its tolerances, and the units and
lengths in which it is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...basis.sizes import TINY
from ...basis.tolerances import Tolerances, chosen
from ...networks import Objective
from ...networks.network import as_rows

Vector = Float[np.ndarray, " P"]


@dataclass(frozen=True)
class KinkTolerances(Tolerances, decides="kinks"):
    """When a state lies on a kink, and what is a fall across one."""

    near: float = chosen(
        1e-9,
        "distance of a kink that the state lies on, of |u| in natural units",
        "a judgement: a gradient of 1e-12 leaves weights known to about as much, with room",
    )
    rounding: float = chosen(
        1e-10,
        "jumps of a slope that are none, of a unit's largest slope",
        "a judgement: rounding of a slope that is taken beside the kink",
    )
    bend: float = chosen(
        1e-6,
        "a jump that curvature does not explain, of a slope",
        "a judgement: more than what curvature makes of a slope over the distance that is near",
    )
    parallel: float = chosen(
        1e-7,
        "difference of the unit normals of two kinks that are one",
        "a judgement: a hundred times as far as what counts as on the kink",
    )
    interior: float = chosen(
        1e-8,
        "how far a multiplier is from its bounds where leaving costs first order",
        "a bound: a hundred times what the linear programs leave",
    )
    sure: float = chosen(
        10.0,
        "slope of a direction that falls, of the tolerance of the gradient",
        "a judgement: slopes along random directions are rounded several times",
    )
    second_order: float = chosen(
        1e-6,
        "one-sided curvature that falls, of the natural curvature",
        "a judgement",
    )
    displaced: float = chosen(
        1e-7,
        "how far inside a piece its Hessian is taken, of the weights",
        "a judgement: a hundred times as far as what counts as on the kink",
    )
    blurred: float = chosen(
        1e-6,
        "eigenvalues of a piece that are zero, of the largest",
        "a judgement: what that displacement can make of a zero one",
    )


# Slopes are compared at `near` and so many times nearer: a jump stays, a bend shrinks.
CLOSER = 8.0
# Tolerances of linear programs: the least that HiGHS takes.
EXACTLY = {
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}


# ------------------------------------------------------------------- units and places
def natural(objective: Objective, state: Vector) -> tuple[Vector, float]:
    """The natural units (P,) at a state, and its size in them, at least that of the
    task's weights."""
    units = objective.units_at(state)
    size = float(np.linalg.norm(state / units))
    return units, max(objective.standard.weights, size)


def reach(objective: Objective, state: Vector, direction: Vector) -> float:
    """The t at which theta + t d is as far away as the state is large, in natural
    units, for a state and a direction d (P,)."""
    units, size = natural(objective, state)
    length = float(np.linalg.norm(direction / units))
    return size / length if length > 0 else 0.0


def places(objective: Objective, index: int, side: str = "u") -> np.ndarray:
    """Where one side of every unit of a layer, u (H, U) or v (H, V),
    lies in the flat vector."""
    numbered = objective.params(np.arange(float(objective.size)))
    return as_rows(np.asarray(numbered[index][side]).astype(int))


def sides_of_units(objective: Objective) -> list[np.ndarray]:
    """The places of u, and where a layer mixes of v, of every unit.

    Example
    -------
    Two units with two inputs and two outputs: first all u, then all v.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> two = objective.with_network(objective.network.with_widths([2]))
    >>> [side.tolist() for side in sides_of_units(two)]
    [[0, 1], [2, 3], [4, 5], [6, 7]]
    """
    found: list[np.ndarray] = []
    for index, layer in enumerate(objective.network.layers):
        for side in ("u", "v")[: 1 + layer.mixes]:
            found += [own for own in places(objective, index, side) if len(own)]
    return found


# ------------------------------------------------------------------- slopes on two sides
def on_the_kink(near: np.ndarray, nearer: np.ndarray) -> np.ndarray:
    """A value on the kink itself, extrapolated from two on one side of it, the second
    CLOSER times as near.

    Example
    -------
    Of 1 + 2 t at t = 8 and t = 1.

    >>> float(on_the_kink(np.array(17.0), np.array(3.0)))
    1.0
    """
    return (CLOSER * nearer - near) / (CLOSER - 1)


def stays(wide: np.ndarray, narrow: np.ndarray, size: float) -> np.ndarray:
    """Where a difference between two sides does not shrink as they come together,
    beside the rounding of values of this size.

    wide, narrow: the difference at a distance, and CLOSER times as near.

    Example
    -------
    A jump of 1, a bend, and rounding.

    >>> wide, narrow = np.array([1.0, 1.0, 1e-15]), np.array([1.0, 0.125, 1e-15])
    >>> stays(wide, narrow, size=1.0).tolist()
    [True, False, False]
    """
    floor = KinkTolerances.now().rounding * size
    return (narrow > 0.5 * wide) & (narrow > floor)


# ------------------------------------------------------------------- lengths and spans
def lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=-1)


def largest(*values: np.ndarray) -> float:
    return max(float(np.abs(one).max(initial=0.0)) for one in values)


def of_length_one(rows: np.ndarray) -> np.ndarray:
    """Those rows (K, U) that are not zero, at unit length.

    Example
    -------
    >>> of_length_one(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8]]
    """
    sizes = lengths(rows)
    return rows[sizes > 0] / sizes[sizes > 0, None]


def row_space(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases (U, k) of the span of all rows, and (U, U - k) of what is
    orthogonal to it.

    Example
    -------
    >>> inside, outside = row_space(np.array([[3.0, 0.0, 0.0], [6.0, 0.0, 0.0]]))
    >>> inside.shape, outside.shape
    ((3, 1), (3, 2))
    """
    values, vectors = np.linalg.eigh(normals.T @ normals)
    kept = values > 1e-14 * max(float(values.max(initial=0.0)), TINY)
    return vectors[:, kept], vectors[:, ~kept]
