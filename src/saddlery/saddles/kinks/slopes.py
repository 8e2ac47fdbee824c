"""First order of one unit on its kinks: the steepest descent, and on which sides
leaving is free. Arrays alone.

The function d -> g.d + sum_k gamma_k max(a_k.d, 0) is convex where every gamma_k > 0:
its steepest descent is minus the nearest point of its subdifferential. Kinks that bend
downwards make it the least of convex functions, one for each subset of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog, lsq_linear

from .base import EXACTLY, KinkTolerances, lengths, row_space

# Up to so many kinks of one unit that bend downwards have all their subsets tried.
SUBSETS = 10
# Of more kinks the subsets that so many random directions take are tried, each improved
# so many times at most.
DRAWS, ROUNDS = 64, 20
# Up to so many kinks of one unit it is found out on which sides leaving is free.
MANY = 200
# Multipliers balance the gradient to this share of the largest jump, which is rounding.
SLACK = 1e-10


class Steepest(NamedTuple):
    """The steepest descent of one unit.

    rest (U,): minus the steepest descent, its length the slope.
    proven: whether all subsets were tried.
    normals (K, U): of the kinks, those along one hyperplane as one.
    sides (K,): on which side of each leaving is free at first order (1 or -1, 2 for both,
        0 for neither); None where that is not known.
    """

    rest: np.ndarray
    proven: bool
    normals: np.ndarray
    sides: np.ndarray | None

    @property
    def strict(self) -> bool:
        """Whether leaving any kink costs first order."""
        return self.sides is not None and not self.sides.any()

    @property
    def held(self) -> np.ndarray:
        """The normals of the kinks that cost first order on both sides."""
        if self.sides is None:
            return self.normals[:0]
        return self.normals[self.sides == 0]


def steepest(
    gradient: np.ndarray,
    normals: np.ndarray,
    gamma: np.ndarray,
    tolerance: float,
) -> Steepest:
    """The steepest descent of d -> g.d + sum_k gamma_k max(a_k.d, 0), of
    either sign of gamma_k.

    gradient (U,), normals (K, U) of length one, gamma (K,). Its slope is -|rest|;
    it is zero, within the tolerance, where there is no descent, which is `proven`
    where all subsets of the kinks that bend downwards were tried (at most 2^10).
    Cost: one bounded least-squares problem a subset, two linear programs a kink
    where none bends downwards.

    Example
    -------
    >>> from saddlery.saddles.kinks import steepest
    >>> ridge = np.array([[0.0, 1.0]])
    >>> steepest(np.zeros(2), ridge, np.array([-0.25]), 1e-12).rest
    array([ 0.  , -0.25])
    """
    gradient, normals, gamma = _merged(gradient, normals, gamma)
    gamma = np.where(np.abs(gamma) > tolerance, gamma, 0.0)
    convex = _Convex(normals[gamma > 0], gamma[gamma > 0])
    down, depths = normals[gamma < 0], gamma[gamma < 0]
    worst = convex.nearest(gradient)
    for subset in _subsets(down):
        rest = _descended(gradient, convex, down, depths, subset)
        if np.linalg.norm(rest) > np.linalg.norm(worst):
            worst = rest
    if np.linalg.norm(worst) > tolerance:
        return Steepest(worst, proven=True, normals=normals, sides=None)
    sides = None
    if not len(down) and len(convex.heights) <= MANY:
        # What is left within the tolerance is not the kinks' to balance.
        sides = _free_sides(gradient - worst, normals, gamma)
    proven = len(down) <= SUBSETS
    return Steepest(worst, proven=proven, normals=normals, sides=sides)


class _Convex(NamedTuple):
    """The kinks that bend upwards. normals (K, U), heights (K,): their gamma_k > 0."""

    normals: np.ndarray
    heights: np.ndarray

    def nearest(self, gradient: np.ndarray) -> np.ndarray:
        return _nearest_point(gradient, self.normals, self.heights)


def _nearest_point(
    gradient: np.ndarray,
    normals: np.ndarray,
    heights: np.ndarray,
) -> np.ndarray:
    """The shortest g + sum_k lambda_k a_k with 0 <= lambda_k <= gamma_k."""
    if not len(normals):
        return gradient
    found = lsq_linear(
        normals.T * heights,
        -gradient,
        bounds=(0.0, 1.0),
        method="bvls",
        tol=1e-15,
        max_iter=20 * len(normals) + 100,
    )
    return gradient + normals.T @ (heights * found.x)


# ------------------------------------------------------------------- kinks that bend downwards
def _subsets(down: np.ndarray) -> Iterator[np.ndarray]:
    """All subsets of the kinks that bend downwards, as zeros and ones; of more than
    ten, those that random directions take."""
    count, width = down.shape
    if count <= SUBSETS:
        for chosen in product((0, 1), repeat=count):
            yield np.array(chosen, float)
        return
    draws = np.random.default_rng(0).standard_normal((DRAWS, width))
    sides = np.vstack([draws, down, -down]) @ down.T > 0
    yield from np.unique(sides, axis=0).astype(float)


def _descended(
    gradient: np.ndarray,
    convex: _Convex,
    down: np.ndarray,
    depths: np.ndarray,
    chosen: np.ndarray,
) -> np.ndarray:
    """The nearest point of a subset, and then again of the subset that its own
    direction takes, which is never nearer."""
    rest = convex.nearest(gradient + (depths * chosen) @ down)
    for _ in range(ROUNDS):
        taken = (down @ -rest > 0).astype(float)
        again = convex.nearest(gradient + (depths * taken) @ down)
        farther = np.linalg.norm(again) > np.linalg.norm(rest) * (1 + 1e-12)
        if not farther:
            break
        rest = again
    return rest


def _merged(
    gradient: np.ndarray, normals: np.ndarray, gamma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinks along one hyperplane as one: max(-x, 0) = max(x, 0) - x."""
    kept: list[np.ndarray] = []
    sizes: list[float] = []
    gradient = gradient.copy()
    parallel = 1 - KinkTolerances.now().parallel ** 2
    for normal, size in zip(normals, gamma, strict=True):
        cosines = np.array(kept) @ normal if kept else np.zeros(0)
        same = np.flatnonzero(np.abs(cosines) > parallel)
        if not len(same):
            kept.append(normal)
            sizes.append(float(size))
            continue
        k = int(same[0])
        sizes[k] += float(size)
        if cosines[k] < 0:
            gradient += size * normal
    merged = np.array(kept).reshape(-1, len(gradient))
    return gradient, merged, np.array(sizes)


# ------------------------------------------------------------------- sides that are free
def _free_sides(
    gradient: np.ndarray,
    normals: np.ndarray,
    gamma: np.ndarray,
) -> np.ndarray | None:
    """On which sides of each kink the function is zero for some d, where it is
    convex and nowhere negative; None where the linear programs fail.

    By strict complementarity (Goldman and Tucker 1956): multipliers in the relative
    interior of all that balance g stand at 0 where the side minus is free, at gamma_k
    where the side plus is, and between them where neither is.
    """
    limits = KinkTolerances.now()
    up = np.flatnonzero(gamma > 0)
    sides = np.full(len(gamma), 2)
    shares = _inner_shares(gradient, normals[up], gamma[up])
    if shares is None:
        return None
    sides[up] = 0
    sides[up[shares < limits.interior]] = -1
    sides[up[shares > 1 - limits.interior]] = 1
    held = normals[sides == 0]
    if len(held):
        # What the kinks that cost first order pin, no other kink can leave.
        outside = normals @ row_space(held)[1]
        sides[lengths(outside) < limits.parallel] = 0
    return sides


def _inner_shares(
    gradient: np.ndarray,
    normals: np.ndarray,
    heights: np.ndarray,
) -> np.ndarray | None:
    """lambda / gamma in the relative interior of {0 <= lambda <= gamma, g + A' lambda =
    0}: the mean of its extreme points along every coordinate."""
    count = len(heights)
    if not count:
        return np.zeros(0)
    size = float(heights.max())
    balance = normals.T * (heights / size)
    rows = np.vstack([balance, -balance])
    limits = np.concatenate([-gradient, gradient]) / size + SLACK
    found = []
    for cost in (*np.eye(count), *-np.eye(count)):
        solved = linprog(
            cost,
            A_ub=rows,
            b_ub=limits,
            bounds=(0, 1),
            options=EXACTLY,
        )
        if solved.status != 0:
            return None
        found.append(solved.x)
    return np.mean(found, axis=0)
