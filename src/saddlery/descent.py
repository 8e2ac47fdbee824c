"""Descent of higher order: whether a critical point with flat directions is a saddle all the same.

On the flat directions of the Hessian, with the stiff ones relaxed, the loss changes as L(x + r d + s(r d)) - L(x) =
-r^q F(d) + ..., q >= 3, where s(.) is the minimum over the stiff directions (a Lyapunov-Schmidt reduction, here by Newton
steps). A direction with F > 0 proves that x is no minimum. It is sought by following -grad L over small spheres, from
many starts; the order q is then measured by halving r, and must be one whole number twice in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .checks import positive, whole

Vector = Float[np.ndarray, " P"]
RADII = (0.3, 0.05)  # of the natural size of the weights, where directions are sought
HALVINGS = 6  # of each of them, over which the order is measured
WHOLE = 0.25  # how near to a whole number the measured order must be


@dataclass(frozen=True, eq=False)
class Descent:
    """A direction of descent found among flat ones. direction (P,): of unit length. order: q; measured_order: as observed.
    value: F(d). fall: of the loss at `radius`, the smallest at which it was clear."""

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
    flat: Callable[[Vector], Vector],
    *,
    size: float,
    noise: float,
    stiff: Callable[[Vector], Vector] | None = None,
    starts: int = 6,
    steps: int = 40,
    seed: int = 0,
) -> Descent | None:
    """The clearest fall of the loss found near `point` along flat directions, or None.

    flat: orthogonal projection (P,) -> (P,) on the flat directions. stiff: g -> H^+ g on the others, to relax them; None
    leaves them alone, and misses descent along curved valleys. size: natural size of the weights, of which the spheres
    searched have radii 0.3 and 0.05. noise: rounding of the loss; smaller falls do not count. None is no proof of a
    minimum, only that the searches found nothing. Cost: 2 starts x steps (twice that with `stiff`) gradients.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.descent import find_descent
    >>> valley = lambda x: float(x[0] ** 2 - 2 * x[0] * x[1] ** 2 + 0.5 * x[1] ** 4)
    >>> slope = lambda x: np.array([2 * x[0] - 2 * x[1] ** 2, -4 * x[0] * x[1] + 2 * x[1] ** 3])
    >>> found = find_descent(valley, slope, np.zeros(2), lambda d: d * [0, 1], stiff=lambda g: g * [0.5, 0], size=1.0,
    ...                      noise=1e-15)
    >>> found.order, round(found.value, 6)
    (4, 0.5)
    """
    positive(size, "size")
    whole(starts, "starts")
    landscape = _Landscape(loss, gradient, point, flat, stiff)
    rng, base, found = np.random.default_rng(seed), float(loss(point)), []
    for radius in RADII:
        for _ in range(starts):
            a = _unit(flat(rng.standard_normal(len(point))))
            if not a.any():
                return None
            for _ in range(steps):
                a = _unit(_unit(flat(-landscape.slope(radius * size * a))) + 2.0 * a)
            found += _measured(landscape, base, a, radius * size, noise)
    return max(found, key=lambda d: (-d.order, d.value), default=None)


@dataclass(frozen=True)
class _Landscape:
    """The loss over flat displacements, the stiff directions relaxed."""

    loss: Callable[[Vector], float]
    gradient: Callable[[Vector], Vector]
    point: Vector
    flat: Callable[[Vector], Vector]
    stiff: Callable[[Vector], Vector] | None

    def relaxed(self, displacement: Vector) -> Vector:
        """The point displaced, after two Newton steps in the stiff directions (where they lower the loss)."""
        x = self.point + displacement
        for _ in range(0 if self.stiff is None else 2):
            assert self.stiff is not None
            better = x - self.stiff(np.asarray(self.gradient(x)))
            if not self.loss(better) <= self.loss(x):
                break
            x = better
        return x

    def slope(self, displacement: Vector) -> Vector:
        return np.asarray(self.gradient(self.relaxed(displacement)))

    def value(self, displacement: Vector) -> float:
        return float(self.loss(self.relaxed(displacement)))


def _measured(landscape: _Landscape, base: float, a: Vector, radius: float, noise: float) -> list[Descent]:
    """The descent along one direction, if its order is the same whole number, at least 3, over two halvings."""
    radii = radius * 0.5 ** np.arange(HALVINGS + 1)
    falls = np.array([base - landscape.value(r * a) for r in radii])
    clear = falls > noise
    last = int(np.argmin(clear)) if not clear.all() else len(radii)  # radii before the first that is not clear
    if last < 3:
        return []
    orders = np.log2(falls[: last - 1] / falls[1:last])
    order = round(float(orders[-1]))
    if order < 3 or np.abs(orders[-2:] - order).max() > WHOLE:
        return []
    r, fall = float(radii[last - 1]), float(falls[last - 1])
    return [Descent(a, order, float(orders[-1]), fall / r**order, fall, r)]


def _unit(vector: np.ndarray) -> np.ndarray:
    size = float(np.linalg.norm(vector))
    return vector / size if size > 0 else vector
