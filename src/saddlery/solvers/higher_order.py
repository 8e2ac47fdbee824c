"""Descent of higher order: whether a critical point with flat directions is a saddle
all the same.

On the flat directions of the Hessian, with the stiff ones relaxed, the loss changes as

    L(x + r d + s(r d)) - L(x) = -r^q F(d) + ...,    q >= 3,

where s(.) is the minimum over the stiff directions (a Lyapunov-Schmidt reduction, here
by Newton steps). A direction with F > 0 proves that x is no minimum. It is sought as
the minimum of the loss on a sphere, from many starts, and followed to smaller and
smaller spheres: what falls may be a narrow valley, along which the direction turns. The
order q is measured from one sphere to the next and must be one whole number twice in a
row, down to where the fall is lost in rounding; a loss that rises on a smaller sphere,
or stops falling before rounding, has no descent here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from ..basis.checks import positive, whole
from ..basis.tolerances import Tolerances, chosen
from ..basis.values import Value
from .spectra import unit_vector

Vector = Float[np.ndarray, " P"]
Scalar = Callable[[Vector], float]
Field = Callable[[Vector], Vector]
Noise = float | Scalar
Path = Callable[[float], tuple[Vector, float, float]]


@dataclass(frozen=True)
class OrderTolerances(Tolerances, decides="orders"):
    """When a fall along flat directions has an order."""

    whole: float = chosen(
        0.25,
        "distance of a measured order from the whole number that it is",
        "a judgement: half-way between two orders is 0.5",
        most=0.5,
    )
    above_noise: float = chosen(
        1e3,
        "the last fall whose order is measured, of the noise of the loss",
        "a judgement",
    )
    least_radius: float = chosen(
        1e-3,
        "the last radius, of that at which the order settled",
        "a judgement",
        most=1.0,
    )


# The radii of the spheres that are searched, of the natural size of the weights.
RADII = (0.3, 0.05)
# The order is measured over so many halvings of each of them.
SMALLER = 6
# So many more halvings are allowed until it settles: a small term of low order takes
# over from a large one of high order.
YET_SMALLER = 18
# No search says that it has looked to a higher order.
HIGHEST_ORDER = 12
# The search on a sphere ends with a step that gains less than this share of the fall.
LEAST_GAIN = 1e-9
# So many of the lowest directions found are followed to smaller spheres.
POLISHED = 2
# Newton's method takes so many steps in the stiff directions.
RELAXATIONS = 2


@dataclass(frozen=True, eq=False)
class DescentDirection(Value):
    """A direction of descent found among flat ones.

    direction (P,): of unit length.
    order: q.
    measured_order: as observed.
    value: F(d).
    fall: of the loss at `radius`, the smallest at which it was clear.
    how: in words, what was followed.
    """

    direction: Vector
    order: int
    measured_order: float
    value: float
    fall: float
    radius: float
    how: str = "along flat directions"


@dataclass(frozen=True)
class Unsettled:
    """A fall of the loss on all spheres down to rounding, of no whole order.

    fall: at the smallest `radius`.
    """

    fall: float
    radius: float

    def __str__(self) -> str:
        where = f"at radius {self.radius:.2g} in natural units"
        return f"{self.fall:.1e} {where}, at no whole order"


def find_descent(
    loss: Scalar,
    gradient: Field,
    point: Vector,
    flat: Field,
    *,
    size: float,
    noise: Noise,
    stiff: Field | None = None,
    starts: int = 6,
    steps: int = 40,
    seed: int = 0,
) -> DescentDirection | Unsettled | None:
    """The clearest fall of the loss near `point` along flat directions, or None.

    One without an order is returned if there is no other.

    loss: (P,) -> number.
    gradient: (P,) -> (P,).
    point (P,): the critical point.
    flat: orthogonal projection (P,) -> (P,) on the flat directions.
    stiff: g -> H^+ g on the others, to relax them; None leaves them alone, and misses
        descent along curved valleys.
    size: natural size of the weights, of which the spheres searched have radii 0.3 and
        0.05.
    noise: rounding of changes of the loss, a number or a function of the place; smaller
        falls do not count.

    None is no proof of a minimum, only that the searches found nothing: `looked_to`
    says up to which order. Cost: 2 starts x steps (six times that with `stiff`) losses
    and gradients, and as many again where one falls.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.higher_order import find_descent
    >>> def valley(x):  # -1/2 y^4 on its floor, x = y^2
    ...     return float(x[0] ** 2 - 2 * x[0] * x[1] ** 2 + 0.5 * x[1] ** 4)
    >>> def slope(x):
    ...     return np.array([2 * x[0] - 2 * x[1] ** 2, -4 * x[0] * x[1] + 2 * x[1] ** 3])
    >>> found = find_descent(
    ...     valley,
    ...     slope,
    ...     np.zeros(2),
    ...     flat=lambda d: d * [0, 1],
    ...     stiff=lambda g: g * [0.5, 0],
    ...     size=1.0,
    ...     noise=1e-15,
    ... )
    >>> found.order, round(found.value, 4)
    (4, 0.5)
    """
    positive(size, "size")
    whole(starts, "starts")
    whole(steps, "steps")
    landscape = _Landscape(loss, gradient, point, flat=flat, stiff=stiff)
    rng = np.random.default_rng(seed)
    found = []
    for share in RADII:
        radius = share * size
        random = rng.standard_normal((starts, len(point)))
        draws = [unit_vector(flat(d)) for d in random]
        if not draws[0].any():
            return None
        lowest = [landscape.lowest(radius, draw, steps) for draw in draws]
        lowest.sort(key=lambda a: landscape.value(radius * a))
        for direction in lowest[:POLISHED]:
            path = _Valley(landscape, direction, steps)
            found.append(measured(path, radius, noise))
    return _clearest(found)


def _clearest(
    found: list[DescentDirection | Unsettled | None],
) -> DescentDirection | Unsettled | None:
    """The one of lowest order and largest value; without any order the largest fall."""
    settled = [d for d in found if isinstance(d, DescentDirection)]
    if settled:
        return max(settled, key=lambda d: (-d.order, d.value))
    unsettled = [d for d in found if isinstance(d, Unsettled)]
    return max(unsettled, key=lambda d: d.fall, default=None)


def looked_to(size: float, noise: float) -> int:
    """The highest order that a fall of natural size would have been seen to have.

    A fall of order q and natural size is of r^q of the loss at a share r of the natural
    weights; two measurements of q take three spheres, the smallest of a quarter of the
    first radius, and a fall above the noise there.

    size: of the loss.
    noise: of its changes.

    Example
    -------
    >>> from saddlery.solvers.higher_order import looked_to
    >>> looked_to(1.0, 1e-8), looked_to(1.0, 1.0)
    (7, 2)
    """
    if not noise < size:
        return 2
    least = RADII[0] / 4
    lost = least**HIGHEST_ORDER * size
    order = np.log(max(noise, lost) / size) / np.log(least)
    return max(2, int(order + 1e-9))


def measured(
    path: Path,
    radius: float,
    noise: Noise,
) -> DescentDirection | Unsettled | None:
    """The descent along a path, if its order is twice the same whole number, at least 3.

    path: radius -> (the place (P,), its distance from the point (the radius, or
        nearly), the change of the loss there).
    radius: the first.
    noise: as for `find_descent`.

    Halved until the fall is lost in rounding, or the order of the last two halvings has
    settled; then it is measured once more at a much smaller radius, lest another term
    take over in between. None where the loss rises, where it stops falling although any
    order up to the highest would still be seen, and where fewer than three spheres are
    above the noise.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.higher_order import measured
    >>> found = measured(lambda r: (np.array([r]), r, -2 * r**3), 0.3, noise=1e-15)
    >>> found.order, round(found.value, 6)
    (3, 2.0)
    """
    seen = _Spheres(path, noise)
    while len(seen.falls) <= SMALLER:
        if not seen.falls_at(radius * 0.5 ** len(seen.falls)):
            break
    while len(seen.falls) > SMALLER:
        radii = seen.next_radii()
        if not radii or not all(seen.falls_at(r) for r in radii):
            break
    if seen.ends_before_the_point or len(seen.falls) < 3:
        return None

    r, fall, order = seen.lengths[-1], seen.falls[-1], seen.order
    if order is None:
        return Unsettled(fall, r)
    centre = path(0.0)[0]
    return DescentDirection(
        direction=unit_vector(seen.last - centre),
        order=order,
        measured_order=float(seen.orders[-1]),
        value=fall / r**order,
        fall=fall,
        radius=r,
    )


class _Spheres:
    """The falls along a path at smaller and smaller radii, as far as these are above
    the noise."""

    def __init__(self, path: Path, noise: Noise) -> None:
        self.path, self.noise = path, noise
        self.falls: list[float] = []
        self.lengths: list[float] = []
        # The place at which the loss fell last.
        self.last = np.zeros(0)
        # Noise and change of the loss, where it was last tried.
        self.least, self.change = 0.0, 0.0
        # Whether the far radii were tried.
        self.far = False

    def falls_at(self, radius: float) -> bool:
        """Whether the loss falls at a radius by more than the noise; then it counts."""
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
        """Whether the loss rises at the last radius, or is level too early.

        Too early: where a fall of any order up to the highest would still be seen.
        """
        if self.change > self.least:
            return True
        level = self.change >= -self.least
        if not self.falls or not level:
            return False
        return self.falls[-1] * 0.5**HIGHEST_ORDER > self.least

    @property
    def orders(self) -> np.ndarray:
        """Slopes of log fall against log radius, from each sphere to the next."""
        return np.diff(np.log(self.falls)) / np.diff(np.log(self.lengths))

    @property
    def order(self) -> int | None:
        """The whole order, at least 3, of the last two halvings."""
        orders = self.orders
        order = round(float(orders[-1]))
        agree = np.abs(orders[-2:] - order).max() <= OrderTolerances.now().whole
        return order if order >= 3 and agree else None

    def next_radii(self) -> tuple[float, ...]:
        """The radii to look at next; none when the order is known or given up."""
        if self.order is None:
            give_up = len(self.falls) > SMALLER + YET_SMALLER
            return () if give_up else (0.5 * self.lengths[-1],)
        if self.far:
            return ()
        self.far = True
        return self._far_radii(self.order)

    def _far_radii(self, order: int) -> tuple[float, ...]:
        """Three much smaller radii, at which falls of this order are above the noise
        still; none where these are not much smaller than the last."""
        r, limits = self.lengths[-1], OrderTolerances.now()
        visible = (limits.above_noise * self.least / self.falls[-1]) ** (1 / order)
        least = r * max(visible, limits.least_radius)
        if 8 * least > r:
            return ()
        return 4 * least, 2 * least, least


class _Landscape:
    """The loss over flat displacements, the stiff directions relaxed."""

    def __init__(
        self,
        loss: Scalar,
        gradient: Field,
        point: Vector,
        *,
        flat: Field,
        stiff: Field | None,
    ) -> None:
        self.loss, self.gradient = loss, gradient
        self.flat, self.stiff = flat, stiff
        self.point = point
        self.base = float(loss(point))

    def relaxed(self, displacement: Vector) -> tuple[Vector, float]:
        """The point displaced and its stiff directions relaxed, and the loss there.

        A Newton step in the stiff directions that does not lower the loss is not taken.
        """
        x = self.point + displacement
        loss = float(self.loss(x))
        if self.stiff is None:
            return x, loss
        for _ in range(RELAXATIONS):
            better = x - self.stiff(np.asarray(self.gradient(x)))
            lower = float(self.loss(better))
            if not lower <= loss:
                break
            x, loss = better, lower
        return x, loss

    def value(self, displacement: Vector) -> float:
        """The change of the loss."""
        return self.relaxed(displacement)[1] - self.base

    def lowest(self, radius: float, start: Vector, steps: int) -> Vector:
        """The unit direction, from one to a minimum on the sphere, by L-BFGS.

        The loss is measured by its fall so far, lest a small one look converged: from
        the start, and once more from what this found.
        """
        options = {"maxiter": steps, "ftol": LEAST_GAIN, "gtol": 1e-12}
        a, fall = start, self.value(radius * start)
        for _ in range(2):
            scale = abs(fall)
            if not scale > 0:
                return a
            found = minimize(
                self._on_sphere,
                a,
                args=(radius, scale),
                jac=True,
                method="L-BFGS-B",
                options=options,
            )
            better = unit_vector(self.flat(found.x))
            lower = self.value(radius * better)
            if not better.any() or not lower <= fall:
                return a
            a, fall = better, lower
        return a

    def _on_sphere(
        self,
        c: Vector,
        radius: float,
        scale: float,
    ) -> tuple[float, Vector]:
        """The change of the loss along c, and its slope by c, over `scale`.

        By the envelope theorem the slope of the relaxed loss is the flat part of the
        gradient.
        """
        own = self.flat(c)
        size = float(np.linalg.norm(own))
        if not size > 0:
            # A step of the search has led to the centre, which is no direction.
            return 0.0, np.zeros_like(c)
        a = own / size
        x, loss = self.relaxed(radius * a)
        slope = radius * self.flat(np.asarray(self.gradient(x)))
        tangent = (slope - a * (a @ slope)) / size
        return (loss - self.base) / scale, tangent / scale


class _Valley:
    """The minimum on smaller and smaller spheres, each from that on the one before."""

    def __init__(self, landscape: _Landscape, direction: Vector, steps: int) -> None:
        self.landscape, self.direction, self.steps = landscape, direction, steps

    def __call__(self, radius: float) -> tuple[Vector, float, float]:
        landscape = self.landscape
        if radius == 0:
            return landscape.point, 0.0, 0.0
        self.direction = landscape.lowest(radius, self.direction, self.steps)
        place, loss = landscape.relaxed(radius * self.direction)
        distance = float(np.linalg.norm(place - landscape.point))
        return place, distance, loss - landscape.base
