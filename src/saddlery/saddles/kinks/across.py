"""Second order across kinks: whether the loss falls where a kink can be left at
no cost of first order.

Every combination of sides of such kinks bounds a piece on which the loss is smooth;
where no piece has a negative eigenvalue there is no descent. Where one has, its
eigenvector may point out of the piece, so that the curvature of one side is searched,
by gradients taken beside the state.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.optimize import linprog

from ...basis.precision import in_float64
from ...networks import Objective, hessian
from ...solvers.spectra import unit_vector
from .base import EXACTLY, KinkTolerances, Vector, natural, of_length_one, reach
from .records import Crossing, Kinks

# The Hessian of every combination of sides is looked at where there are no more than so
# many.
PIECES = 64
# So many searches for one-sided curvature are made, of so many steps each.
STARTS, CLIMBS = 24, 60
# A one-sided curvature is a rate where it belongs to an eigenvector of its side, to
# this share of it.
SKEW = 1e-3


class Fall(NamedTuple):
    """A fall of second order.

    direction (P,): of unit length.
    curvature: 2 (L(theta + t d) - L) / t^2 as t -> 0.
    rate: of the exponential growth along it, where it is an eigenvector of its own
        side.
    """

    direction: np.ndarray
    curvature: float
    rate: float | None


class Across(NamedTuple):
    """Second order across kinks.

    fall: the lowest found, or None.
    proven: whether there is none where None was found.
    """

    fall: Fall | None
    proven: bool


@in_float64
def look_across(
    objective: Objective,
    state: Vector,
    kinks: Kinks | None,
    *,
    dense: bool,
    seed: int = 0,
) -> Across:
    """Whether the loss falls at second order from a state (P,) across kinks that can be
    left at no cost of first order.

    Piece by piece: the Hessian of every combination of sides, on the directions that
    cost no first order, is one of a smooth function; where none has a negative
    eigenvalue there is no descent. Where one has, the one-sided curvature is searched,
    since its eigenvector may point out of the piece.

    kinks: those of the state (`kinks_at`); without any there is nothing to cross.
    dense: whether Hessians may be formed.
    seed: of the search.

    Cost: one Hessian a piece, at most 64.
    """
    if kinks is None or kinks.covered:
        return Across(None, proven=True)
    able = dense and not kinks.unknown and not kinks.below
    if able and _pieces_rise(objective, state, kinks):
        return Across(None, proven=True)
    return Across(fall_across(objective, state, kinks, seed=seed), proven=False)


# ------------------------------------------------------------------- piece by piece
def _pieces_rise(objective: Objective, state: Vector, kinks: Kinks) -> bool:
    """Whether the Hessian of no piece has a negative eigenvalue, in natural units."""
    choices = [_sides(crossing) for crossing in kinks.crossings]
    if np.prod([float(len(sides)) for sides in choices]) > PIECES:
        return False
    limits = KinkTolerances.now()
    units, size = natural(objective, state)
    across = np.array([crossing.normal for crossing in kinks.crossings])
    normals = of_length_one(units * across)
    basis = kinks.scaled(units).within.toarray()
    for sides in product(*choices):
        inside = _inside(basis, np.array(sides)[:, None] * normals)
        if inside is None:
            continue  # no point lies strictly within this piece
        point = state + limits.displaced * size * units * inside
        curvature = units[:, None] * hessian(objective, point) * units
        values = np.linalg.eigvalsh(basis.T @ curvature @ basis)
        largest = max(float(np.abs(values).max()), objective.standard.curvature)
        if values[0] < -limits.blurred * largest:
            return False
    return True


def _sides(crossing: Crossing) -> tuple[int, ...]:
    """On which sides of a kink leaving is free."""
    if crossing.side == 2:
        return (1, -1)
    return (crossing.side,)


def _inside(basis: np.ndarray, normals: np.ndarray) -> np.ndarray | None:
    """A unit direction of the span that all of these normals see from their own side;
    None if there is none."""
    seen = normals @ basis
    width = basis.shape[1]
    # The largest distance to all of them within a box.
    found = linprog(
        np.r_[np.zeros(width), -1.0],
        A_ub=np.hstack([-seen, np.ones((len(seen), 1))]),
        b_ub=np.zeros(len(seen)),
        bounds=[(-1, 1)] * width + [(0, 1)],
        options=EXACTLY,
    )
    if found.status != 0 or not found.x[-1] > 1e-6:
        return None
    return unit_vector(basis @ found.x[:-1])


# ------------------------------------------------------------------- searched
@in_float64
def fall_across(
    objective: Objective,
    state: Vector,
    kinks: Kinks,
    *,
    seed: int = 0,
) -> Fall | None:
    """A descent of second order across kinks that cost nothing at first order, or None
    where none was found.

    Searched within the directions that are free at first order from 24 random
    starts, in natural units of the weights, where what counts does not depend on
    those of inputs and targets; and from what is found once more in the weights as
    they are, to which rates belong. A fall proves descent, None proves nothing.
    Cost: 1,500 gradients.
    """
    units, size = natural(objective, state)
    within = kinks.scaled(units).free
    fall = _lowest(_Climber(objective, state, within, units, size), seed)
    if fall is None:
        return None
    size = max(objective.scales.weights, float(np.linalg.norm(state)))
    climber = _Climber(objective, state, kinks.free, np.ones_like(units), size)
    plain = climber.climbed(fall.direction)
    lower = plain.curvature <= fall.curvature
    if not (lower and climber.falls(plain.e, plain.curvature)):
        return fall
    own = plain.skew <= SKEW * -plain.curvature
    return Fall(plain.e, plain.curvature, -plain.curvature if own else None)


def _lowest(climber: _Climber, seed: int) -> Fall | None:
    """Of many random starts in natural units; in the weights as they are."""
    rng = np.random.default_rng(seed)
    climbed = [climber.climbed(climber.drawn(rng)) for _ in range(STARTS)]
    lowest = min(climbed, key=lambda found: found.curvature)
    objective, moved = climber.objective, climber.units * lowest.e
    least = KinkTolerances.now().second_order * objective.standard.curvature
    if lowest.curvature > -least or not climber.falls(moved, lowest.curvature):
        return None
    length = float(np.linalg.norm(moved))
    return Fall(moved / length, lowest.curvature / length**2, None)


class _Climbed(NamedTuple):
    """The lowest one-sided curvature met, along e of theta / units, and how far e is
    from an eigenvector of its side."""

    curvature: float
    e: np.ndarray
    skew: float


class _Climber(NamedTuple):
    """A search for the lowest one-sided curvature within a basis (P, m) of theta /
    units (P,), in which the state is so large."""

    objective: Objective
    state: Vector
    basis: scipy.sparse.csr_matrix
    units: Vector
    size: float

    def drawn(self, rng: np.random.Generator) -> Vector:
        """A random direction (P,) of the basis, of unit length."""
        width = int(self.basis.shape[1])  # pyright: ignore (the stubs know no shape)
        return unit_vector(self.basis @ rng.standard_normal(width))

    def climbed(self, e: Vector) -> _Climbed:
        """Power iteration e <- mu e - s grad L(theta + t s e) / t on
        the sphere of the basis.

        No gradient is taken at theta itself, which would be that of one side: of
        directions that are free it is zero on their own.
        """
        basis, units = self.basis, self.units
        step, shift = 1e-6 * self.size, 0.0
        best = _Climbed(np.inf, e, np.inf)
        for _ in range(CLIMBS):
            beside = self.state + step * units * e
            slope = units * np.asarray(self.objective.gradient(beside))
            pulled = basis @ (basis.T @ slope) / step
            curvature = float(e @ pulled)
            if curvature < best.curvature:
                skew = float(np.linalg.norm(pulled - curvature * e))
                best = _Climbed(curvature, e, skew)
            shift = max(shift, 2 * float(np.linalg.norm(pulled)))
            e = unit_vector(shift * e - pulled)
        return best

    def falls(self, direction: Vector, curvature: float) -> bool:
        return lowers(self.objective, self.state, direction, -0.5 * curvature, order=2)


@in_float64
def lowers(
    objective: Objective,
    state: Vector,
    direction: Vector,
    fall: float,
    order: int,
) -> bool:
    """Whether the loss falls by at least half of fall * t^order at theta + t d, from a
    state theta along a direction d (P,).

    Looked at where a change is first above rounding, t of 1e-5 to 1e-2 of the
    state in natural units: what rises first falls beyond a ridge, if at all.
    Cost: at most five losses.

    Example
    -------
    From the origin of a linear network along the first mode, s = 1, by t^2 s / 2.

    >>> from saddlery import Experiment, certify_state
    >>> objective = Experiment.named("linear").objective()
    >>> origin = np.zeros(objective.size)
    >>> down = certify_state(objective, origin).escape_direction
    >>> [lowers(objective, origin, down, fall, order=2) for fall in (0.5, 1.5)]
    [True, False]
    """
    base = float(objective.loss(state))
    noise = 1e-14 * max(base, objective.scales.loss)
    for t in reach(objective, state, direction) * 10.0 ** np.arange(-5.0, -1.0):
        seen = base - float(objective.loss(state + t * direction))
        if abs(seen) > noise:
            return bool(seen > 0.5 * fall * t**order)
    return False
