"""Descent of higher order: whether a critical point with flat directions is a saddle all the same.

On the flat directions of the Hessian, with the stiff ones relaxed, the loss changes as L(x + r d +
s(r d)) - L(x) = -r^q F(d) + ..., q >= 3, where s(.) is the minimum over the stiff directions (a
Lyapunov-Schmidt reduction, here by Newton steps). A direction with F > 0 proves that x is no
minimum. It is sought as the minimum of the loss on a sphere, from many starts, and followed to
smaller and smaller spheres: what falls may be a narrow valley, along which the direction turns. The
order q is measured from one sphere to the next and must be one whole number twice in a row, down to
where the fall is lost in rounding; a loss that rises on a smaller sphere, or stops falling before
rounding, has no descent here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from ..basis.checks import positive, whole
from ..basis.values import Value
from .spectra import unit_vector

Vector = Float[np.ndarray, " P"]
Noise = float | Callable[[Vector], float]
RADII = (0.3, 0.05)  # of the natural size of the weights, where directions are sought
HALVINGS = 6  # of each of them, over which the order is measured,
# and as many more at most, until it settles: a small term of low order takes over from a large one
# of high order
FURTHER = 18
CLEAR = 1e3  # times the noise: falls whose order is measured last,
FARTHEST = 1e-3  # of the radius at which it settled, at the least
WHOLE = 0.25  # how near to a whole number the measured order must be
HIGHEST = 12  # no search says that it has looked to a higher order
LEVEL = 1e-9  # of the fall: a step of the search on a sphere that gains less is its last
POLISHED = 2  # of the starts, the best ones, that are followed to smaller spheres


@dataclass(frozen=True, eq=False)
class Descent(Value):
    """A direction of descent found among flat ones. direction (P,): of unit length. order: q;
    measured_order: as observed.
    value: F(d). fall: of the loss at `radius`, the smallest at which it was clear. how: in words,
        what was followed."""

    direction: Vector
    order: int
    measured_order: float
    value: float
    fall: float
    radius: float
    how: str = "along flat directions"


@dataclass(frozen=True)
class Unsettled:
    """A fall of the loss on all spheres down to rounding, whose order is not one whole number.
    fall, at the smallest `radius`."""

    fall: float
    radius: float

    def __str__(self) -> str:
        return f"{self.fall:.1e} at radius {self.radius:.2g} in natural units, at no whole order"


def find_descent(
    loss: Callable[[Vector], float],
    gradient: Callable[[Vector], Vector],
    point: Vector,
    flat: Callable[[Vector], Vector],
    *,
    size: float,
    noise: Noise,
    stiff: Callable[[Vector], Vector] | None = None,
    starts: int = 6,
    steps: int = 40,
    seed: int = 0,
) -> Descent | Unsettled | None:
    """The clearest fall of the loss found near `point` along flat directions, or None; one without
    an order if there is no other.

    flat: orthogonal projection (P,) -> (P,) on the flat directions. stiff: g -> H^+ g on the
    others, to relax them; None leaves them alone, and misses descent along curved valleys. size:
    natural size of the weights, of which the spheres searched have radii 0.3 and 0.05. noise:
    rounding of changes of the loss, a number or a function of the place; smaller falls do not
    count. None is no proof of a minimum, only that the searches found nothing: `looked_to` says up
    to which order. Cost: 2 starts x steps (six times that with `stiff`) losses and gradients, and
    as many again where one falls.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.descent import find_descent
    >>> valley = lambda x: float(x[0] ** 2 - 2 * x[0] * x[1] ** 2 + 0.5 * x[1] ** 4)
    >>> slope = lambda x: np.array([2 * x[0] - 2 * x[1] ** 2, -4 * x[0] * x[1] + 2 * x[1] ** 3])
    >>> found = find_descent(valley, slope, np.zeros(2), lambda d: d * [0, 1], stiff=lambda g: g * [0.5, 0], size=1.0,
    ...                      noise=1e-15)
    >>> found.order, round(found.value, 4)
    (4, 0.5)
    """
    positive(size, "size")
    whole(starts, "starts")
    whole(steps, "steps")
    landscape = _Landscape(loss, gradient, point, flat, stiff)
    rng, found = np.random.default_rng(seed), []
    for radius in RADII:
        draws = [unit_vector(flat(rng.standard_normal(len(point)))) for _ in range(starts)]
        if not draws[0].any():
            return None
        lowest = [landscape.lowest(radius * size, a, steps) for a in draws]
        lowest = sorted(lowest, key=lambda a: landscape.value(radius * size * a))
        for a in lowest[:POLISHED]:
            path = _Valley(landscape, a, radius * size, steps)
            found.append(measured(path, radius * size, noise))
    settled = [d for d in found if isinstance(d, Descent)]
    unsettled = [d for d in found if isinstance(d, Unsettled)]
    return max(settled, key=lambda d: (-d.order, d.value), default=None) or max(
        unsettled, key=lambda d: d.fall, default=None
    )


def looked_to(size: float, noise: float) -> int:
    """The highest order whose fall, of natural size, would have been seen to have that order above
    the noise.

    A fall of order q and natural size is of r^q of the loss at a share r of the natural weights;
    two measurements of q take three spheres, the smallest of a quarter of the first radius. size:
    of the loss.
    """
    if not noise < size:
        return 2
    lost = (RADII[0] / 4) ** HIGHEST * size
    return max(2, int(np.log(max(noise, lost) / size) / np.log(RADII[0] / 4) + 1e-9))


def measured(
    path: Callable[[float], tuple[Vector, float, float]], radius: float, noise: Noise
) -> Descent | Unsettled | None:
    """The descent along a path, if its order is the same whole number, at least 3, over the last
    two halvings.

    path: radius -> (the place, its distance from the point (the radius, or nearly), the change of
    the loss there). Halved until the fall is lost in rounding, or the order has settled; then it is
    measured once more at a much smaller radius, lest another term take over in between. None where
    the loss rises, where it stops falling although any order up to the highest would still be seen,
    and where fewer than three spheres are above the noise.
    """
    seen = _Spheres(path, noise)
    while len(seen.falls) <= HALVINGS and seen.falls_at(radius * 0.5 ** len(seen.falls)):
        pass
    while (
        len(seen.falls) > HALVINGS
        and (radii := seen.next())
        and all(seen.falls_at(r) for r in radii)
    ):
        pass
    if seen.ends_before_the_point or len(seen.falls) < 3:
        return None
    r, fall, order = seen.lengths[-1], seen.falls[-1], seen.order
    if order is None:
        return Unsettled(fall, r)
    direction = unit_vector(seen.last - path(0.0)[0])
    return Descent(direction, order, float(seen.orders[-1]), fall / r**order, fall, r)


class _Spheres:
    """The falls along a path at smaller and smaller radii, as far as they are above the noise."""

    def __init__(self, path: Callable[[float], tuple[Vector, float, float]], noise: Noise) -> None:
        self.path, self.noise = path, noise
        self.falls: list[float] = []
        self.lengths: list[float] = []
        self.last, self.least, self.change = np.zeros(0), 0.0, 0.0
        self.far = False  # whether the far radii were tried

    def falls_at(self, radius: float) -> bool:
        """Whether the loss falls by more than the noise at a radius, which then counts."""
        place, length, self.change = self.path(radius)
        self.least = self.noise(place) if callable(self.noise) else self.noise
        if not self.change < -self.least:
            return False
        self.falls.append(-self.change)
        self.lengths.append(length)
        self.last = place
        return True

    @property
    def ends_before_the_point(self) -> bool:
        """Whether, at the last radius, the loss rises, or is level where any order up to the
        highest would still be seen."""
        level = (
            bool(self.falls)
            and self.change >= -self.least
            and self.falls[-1] * 0.5**HIGHEST > self.least
        )
        return self.change > self.least or level

    @property
    def orders(self) -> np.ndarray:
        return np.diff(np.log(self.falls)) / np.diff(np.log(self.lengths))

    @property
    def order(self) -> int | None:
        """The whole order, at least 3, of the last two halvings."""
        order = round(float(self.orders[-1]))
        return order if order >= 3 and np.abs(self.orders[-2:] - order).max() <= WHOLE else None

    def next(self) -> tuple[float, ...]:
        """Half the radius, until the order settles; then once three much smaller ones, above the
        noise if it holds; then none."""
        r = self.lengths[-1]
        if self.order is None:
            return (0.5 * r,) if len(self.falls) <= HALVINGS + FURTHER else ()
        least = r * max((CLEAR * self.least / self.falls[-1]) ** (1 / self.order), FARTHEST)
        if self.far or 8 * least > r:
            return ()
        self.far = True
        return 4 * least, 2 * least, least


class _Landscape:
    """The loss over flat displacements, the stiff directions relaxed."""

    def __init__(
        self,
        loss: Callable[[Vector], float],
        gradient: Callable[[Vector], Vector],
        point: Vector,
        flat: Callable[[Vector], Vector],
        stiff: Callable[[Vector], Vector] | None,
    ) -> None:
        self.loss, self.gradient, self.point, self.flat, self.stiff = (
            loss,
            gradient,
            point,
            flat,
            stiff,
        )
        self.base = float(loss(point))

    def relaxed(self, displacement: Vector) -> tuple[Vector, float]:
        """The point displaced, after two Newton steps in the stiff directions (where they lower the
        loss), and the loss there."""
        x = self.point + displacement
        loss = float(self.loss(x))
        for _ in range(2 if self.stiff else 0):
            assert self.stiff is not None
            better = x - self.stiff(np.asarray(self.gradient(x)))
            lower = float(self.loss(better))
            if not lower <= loss:
                break
            x, loss = better, lower
        return x, loss

    def value(self, displacement: Vector) -> float:
        return self.relaxed(displacement)[1] - self.base

    def lowest(self, radius: float, start: Vector, steps: int) -> Vector:
        """The unit direction, from one to a minimum on the sphere (L-BFGS; by the envelope theorem
        the slope of the relaxed loss is the gradient's flat part). The loss is measured by its fall
        so far, lest a small one look converged."""

        def sphere(c: Vector, scale: float) -> tuple[float, Vector]:
            own = self.flat(c)
            size = float(np.linalg.norm(own))
            if not size > 0:  # a step of the search has led to the centre, which is no direction
                return 0.0, np.zeros_like(c)
            a = own / size
            x, loss = self.relaxed(radius * a)
            slope = radius * self.flat(np.asarray(self.gradient(x)))
            tangent = (slope - a * (a @ slope)) / size
            return (loss - self.base) / scale, tangent / scale

        a, fall = start, self.value(radius * start)
        for _ in range(2):
            if not abs(fall) > 0:
                return a
            options = {"maxiter": steps, "ftol": LEVEL, "gtol": 1e-12}
            found = minimize(
                sphere, a, args=(abs(fall),), jac=True, method="L-BFGS-B", options=options
            )
            better = unit_vector(self.flat(found.x))
            lower = self.value(radius * better)
            if not better.any() or not lower <= fall:
                return a
            a, fall = better, lower
        return a


class _Valley:
    """The minimum on smaller and smaller spheres, each from the direction of the one before."""

    def __init__(self, landscape: _Landscape, direction: Vector, radius: float, steps: int) -> None:
        self.landscape, self.direction, self.last, self.steps = landscape, direction, radius, steps

    def __call__(self, radius: float) -> tuple[Vector, float, float]:
        if radius == 0:
            return self.landscape.point, 0.0, 0.0
        self.direction = self.landscape.lowest(radius, self.direction, self.steps)
        place, loss = self.landscape.relaxed(radius * self.direction)
        return (
            place,
            float(np.linalg.norm(place - self.landscape.point)),
            loss - self.landscape.base,
        )
