"""Descent of higher order: whether a critical point with a flat Hessian direction is a saddle all the same.

On the kernel of the Hessian the loss changes as L(x + r d) - L(x) = -r^q F(d) + ..., q >= 3. A direction with F > 0 proves
that x is no minimum. It is sought by following -grad L, projected on the kernel, over a small sphere, from many starts;
the order q is then measured by halving r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .checks import positive, whole

Vector = Float[np.ndarray, " P"]


@dataclass(frozen=True, eq=False)
class Descent:
    """A direction of descent found in a subspace. direction (P,): of unit length. order: q, rounded; measured_order:
    as observed. value: F(d), the fall over r^q. fall: at `radius`, where it was searched."""

    direction: Vector
    order: int
    measured_order: float
    value: float
    fall: float
    radius: float


def find_descent(
    loss: Callable[[Vector], float],
    gradient: Callable[[Vector], Vector],
    point: Vector,
    basis: Float[np.ndarray, "P k"],
    *,
    radius: float,
    starts: int = 8,
    steps: int = 60,
    seed: int = 0,
) -> Descent | None:
    """The steepest fall of the loss found on a sphere around `point` within the span of `basis`, or None.

    basis: orthonormal columns, the Hessian's kernel. radius: of the sphere; small enough that the lowest order rules,
    which the measured order (from radius / 2) shows. A fall must exceed rounding, 1e-13 of the loss. None is no proof of
    a minimum, only that `starts` local searches found nothing. Cost: starts x steps gradients.
    """
    positive(radius, "radius")
    whole(starts, "starts")
    if basis.shape[1] == 0:
        return None
    base, rng = float(loss(point)), np.random.default_rng(seed)
    best, lowest = None, -1e-13 * max(abs(base), 1e-3)
    for _ in range(starts):
        a = _unit(rng.standard_normal(basis.shape[1]))
        for _ in range(steps):
            slope = _unit(-basis.T @ np.asarray(gradient(point + radius * (basis @ a))))
            a = _unit(slope + 2.0 * a)
        change = float(loss(point + radius * (basis @ a))) - base
        if change < lowest:
            best, lowest = basis @ a, change
    if best is None:
        return None
    half = float(loss(point + 0.5 * radius * best)) - base
    order = float(np.log2(lowest / half)) if half < 0 else float("inf")
    if not 1.5 < order < 12:
        return None
    return Descent(best, round(order), order, -lowest / radius ** round(order), -lowest, radius)


def _unit(vector: np.ndarray) -> np.ndarray:
    size = float(np.linalg.norm(vector))
    return vector / size if size > 0 else vector
