"""Behind: whether a fixed point is the one that a run rests near. Three conditions,
each with its measured margin.

Let theta be the state where the run is nearest to rest, theta* a fixed point, d =
theta - theta*, g = grad L(theta), all in natural units of the weights
(`level_units`), so that no unit of inputs or targets changes a margin. Near theta*
the loss is L* plus a leading form of some order q >= 2, so that g . d = q (L(theta)
- L*), and g shrinks like |d|^(q - 1) on the way to it. A fixed point is *behind*
the plateau if

1. *close in weights*: |d| is at most `weights` of |theta| (of the task's natural
   weights, where in theta* nothing is learned);
2. *close in loss*: |L(theta) - L*|, above or below, is at most |g| |d|, twice what a
   quadratic form allows, and at most `drop` of the smaller neighbouring drop (and
   rounding of the run's losses);
3. *slowing down*: half-way to theta* the gradient is at most `half_way` times that at
   theta; and between its neighbouring stages the run comes closest to theta* on this
   plateau (to `passed` times as close).

Half-way need not be the middle of a straight line. Where most of d lies along
directions that are flat at theta* (dormant units, symmetries), the valley that the
run rests in bends: weights that the loss is stiff to have followed at second order
or higher, and are a quarter of the way back or less where the others are half-way.
The straight middle lies up the valley's wall then, and the more so the better the
run has settled. So from there stiff directions are relaxed by Newton steps, and any
point on the way counts that is still half-way, to `bent` of |d|. None counts where
the loss lies above both ends by more than |g| |d|: on the ridge between two valleys
the gradient may be zero.

Measured where everything is known in closed form (linear networks and attention, scales
1e-2 to 1e-8): the loss differs by at most 0.50 |g| |d|; the gradient half-way is 1/2 at
strict and 1/4 at third-order saddles, up to 1.3 where dormant units bend the valley of
fixed points; and the closest approach lies on the plateau. Derived for this project;
nothing but evidence at the state itself and along the run enters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np

from ..basis.precision import in_float64
from ..basis.records import number
from ..basis.tolerances import Tolerances, chosen
from ..networks import Objective, flatten, hessian
from ..symmetry.utility import unseen_coordinates


@dataclass(frozen=True)
class BehindTolerances(Tolerances, decides="behind"):
    """When a fixed point is the one behind a plateau: the limits
    of the conditions above."""

    weights: float = chosen(
        0.3,
        "distance of the fixed point from the state, of the state's size",
        "a judgement: at 0.3 the two still point the same way to within 17 degrees",
    )
    drop: float = chosen(
        0.25,
        "difference of the two losses, of the smaller neighbouring drop",
        "a judgement: half of what would make the next plateau as near",
        most=1.0,
    )
    half_way: float = chosen(
        2.0,
        "gradient half-way to the fixed point, of that at the state",
        "measured: 1/2 and 1/4 where it slows down, up to 1.3 where the valley bends",
    )
    bent: float = chosen(
        0.01,
        "how far a relaxed point may be from half-way, of the distance",
        "a judgement",
        most=0.5,
    )
    stiff: float = chosen(
        1e-3,
        "curvatures that are relaxed from the straight middle, of the largest",
        "measured on ten runs in bent valleys; a hundredth of it is tried next",
        most=1.0,
    )
    passed: float = chosen(
        1.1,
        "closest approach on the plateau, of that between its neighbours",
        "a judgement",
    )
    zero: float = chosen(
        1e-12,
        "gradients whose direction says nothing, of the task's natural gradient",
        "a bound: thousands of roundings of float64",
    )


# Newton's method takes so many steps down the walls of a valley.
RELAXATIONS = 4
# Where relaxing the stiff directions was not enough, those down to this share of
# `stiff` are relaxed too.
FINER_STIFF = 1e-2
# The rounding of a loss is so many times epsilon of it.
LOSS_ROUNDING = 64.0


@dataclass(frozen=True, eq=False)
class Around:
    """What is known of the plateau that a state lies on; nothing, by default.

    drop: the smaller of the neighbouring drops of the loss.
    epsilon: relative rounding of the run's arithmetic.
    closest: of a fixed point (P,), the smallest distance from the run on the plateau over
        that between the neighbouring stages.
    """

    drop: float = float("inf")
    epsilon: float = float(np.finfo(float).eps)
    closest: Callable[[np.ndarray], float] | None = None


@dataclass(frozen=True)
class Margin:
    """One measured condition: `measured` must be at most `limit`.

    words: what it means where it is not.
    """

    name: str
    measured: float
    limit: float
    words: str

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit

    def record(self) -> dict[str, object]:
        return {"measured": self.measured, "limit": self.limit, "holds": self.holds}


@dataclass(frozen=True)
class Behind:
    """The conditions of one fixed point."""

    margins: tuple[Margin, ...]

    @property
    def holds(self) -> bool:
        return all(margin.holds for margin in self.margins)

    @property
    def miss(self) -> str:
        """How it misses, in words; empty where all conditions hold."""
        return "; ".join(margin.words for margin in self.margins if not margin.holds)

    def record(self) -> dict[str, object]:
        """The stable JSON form: measured, limit and whether it holds, by condition."""
        return {margin.name: margin.record() for margin in self.margins}


@in_float64
def behind(
    objective: Objective,
    theta: np.ndarray,
    point: np.ndarray,
    around: Around | None = None,
    *,
    dense: bool = True,
) -> Behind:
    """The margins of a fixed point `point` (P,) as the one behind a state theta (P,).

    around: what is known of the plateau of the state.
    dense: whether Hessians may be formed; without them the valley counts as straight.

    Cost: three losses and two gradients, and where the middle of the straight line is
    steep up to eight Hessians, their eigenvectors, losses and gradients.

    Example
    -------
    Small random weights slow down towards the origin, a strict saddle: half-way there
    the gradient is half as large.

    >>> from saddlery import Experiment
    >>> experiment = Experiment.named("linear")
    >>> objective, start = experiment.objective(), experiment.initial_state()
    >>> found = behind(objective, np.asarray(start), np.zeros(objective.size))
    >>> found.holds, round(found.margins[2].measured, 3)
    (True, 0.5)
    >>> behind(objective, np.asarray(start), np.ones(objective.size)).miss[:40]
    "far: it is 9337 of the state's size away"
    """
    around = around or Around()
    here = _Here(objective, theta, point, level_units(objective, theta))
    margins = [_weights(here), _loss(here, around), _slowing(here, around, dense)]
    if around.closest is not None:
        margins.append(_passing(around.closest(point)))
    return Behind(tuple(margins))


def level_units(objective: Objective, theta: np.ndarray) -> np.ndarray:
    """The natural units (P,) of weights, balanced between incoming and outgoing ones as
    those of a state (P,) are.

    (`Objective.units_at` balances unit by unit, and would not see how large one is
    whose two sides differ.)
    """

    def even(leaf: np.ndarray) -> np.ndarray:
        return np.full_like(leaf, np.sqrt(np.mean(leaf**2)))

    level = jax.tree.map(even, objective.params(np.asarray(theta, float)))
    return objective.units_at(flatten(level))


@dataclass(frozen=True, eq=False)
class _Here:
    """A state and a fixed point (P,), and the natural units (P,) in
    which they are compared."""

    objective: Objective
    theta: np.ndarray
    point: np.ndarray
    units: np.ndarray

    @functools.cached_property
    def distance(self) -> float:
        return float(np.linalg.norm((self.theta - self.point) / self.units))

    @functools.cached_property
    def slope(self) -> float:
        """|g| at the state."""
        return self.slope_at(self.theta)

    def slope_at(self, theta: np.ndarray) -> float:
        gradient = np.asarray(self.objective.gradient(theta))
        return float(np.linalg.norm(self.units * gradient))

    def rounding(self, around: Around) -> float:
        """Of the losses that are compared."""
        size = max(abs(self.above), self.objective.scales.loss)
        return LOSS_ROUNDING * around.epsilon * size

    @functools.cached_property
    def losses(self) -> tuple[float, float]:
        """At the state and at the fixed point."""
        return self.loss_at(self.theta), self.loss_at(self.point)

    @property
    def above(self) -> float:
        """The higher of the losses at both ends."""
        return max(self.losses)

    def loss_at(self, theta: np.ndarray) -> float:
        return float(self.objective.loss(theta))

    def relaxed(self) -> Iterator[np.ndarray]:
        """Points half-way between both ends, from the middle of the straight line down
        the walls of the valley."""
        stiff = BehindTolerances.now().stiff
        for share in (stiff, FINER_STIFF * stiff):
            middle = 0.5 * (self.theta + self.point)
            for _ in range(RELAXATIONS):
                step = self._newton(middle, share)
                if step is None:
                    break
                middle = middle - self.units * step
                if self._is_half_way(middle):
                    yield middle

    def _is_half_way(self, theta: np.ndarray) -> bool:
        """Whether a point is as far from either end as half of d, to `bent` of |d|."""
        bent = BehindTolerances.now().bent
        for end in (self.theta, self.point):
            length = float(np.linalg.norm((theta - end) / self.units))
            if not abs(length / self.distance - 0.5) <= bent:
                return False
        return True

    def _newton(self, theta: np.ndarray, share: float) -> np.ndarray | None:
        """H^+ g in natural units, on directions of at least this share of the largest
        curvature, zeros where there is none; None where these are no numbers."""
        curvature = self.units[:, None] * hessian(self.objective, theta) * self.units
        slope = self.units * np.asarray(self.objective.gradient(theta))
        if not (np.isfinite(curvature).all() and np.isfinite(slope).all()):
            return None
        values, vectors = np.linalg.eigh(curvature)
        stiff = (values > 0) & (values >= share * values[-1])
        walls = vectors[:, stiff]
        return walls @ ((walls.T @ slope) / values[stiff])


# ------------------------------------------------------------------- the conditions
def _weights(here: _Here) -> Margin:
    size = here.objective.standard.weights
    # Weights of units that no sample turns on say nothing of what was learned.
    seen = ~unseen_coordinates(here.objective, here.point)
    if here.point[seen].any():
        size = float(np.linalg.norm(here.theta / here.units))
    share = here.distance / max(size, np.finfo(float).tiny)
    far = BehindTolerances.now().weights
    away = f"it is {number(share)} of the state's size away"
    return Margin(
        name="weights",
        measured=share,
        limit=far,
        words=f"far: {away}, where {far:g} counts as near",
    )


def _loss(here: _Here, around: Around) -> Margin:
    run, there = here.losses
    reach = here.slope * here.distance
    drop = BehindTolerances.now().drop * around.drop
    allowed = min(reach, drop) + here.rounding(around)
    side = "above" if there > run else "below"
    losses = f"{number(there)} lies {side} the run's {number(run)}"
    bound = f"its gradient and the neighbouring drops allow, {allowed:.1e}"
    return Margin(
        name="loss",
        measured=abs(run - there) / allowed if allowed > 0 else 0.0,
        limit=1.0,
        words=f"another loss: {losses} by more than {bound}",
    )


def _slowing(here: _Here, around: Around, dense: bool) -> Margin:
    most = BehindTolerances.now().half_way
    half_way = _HalfWay(here, around)
    least = half_way.measured(0.5 * (here.theta + here.point))
    if least[0] > most and dense:
        for theta in here.relaxed():
            least = min(least, half_way.measured(theta))
            if least[0] <= most:
                break
    ratio, words = least
    return Margin(
        name="slowing",
        measured=ratio,
        limit=most,
        words=f"no slowing down: half-way to it {words}",
    )


@dataclass(frozen=True, eq=False)
class _HalfWay:
    """What points half-way between both ends say."""

    here: _Here
    around: Around

    def measured(self, theta: np.ndarray) -> tuple[float, str]:
        """What is compared to `half_way` at a point, and what it is in words.

        It is the gradient, over that at the state; where the loss lies on a ridge,
        whose gradient may be zero, it is the ridge.
        """
        here, most = self.here, BehindTolerances.now().half_way
        height = here.loss_at(theta) - here.above
        slope, ridge = self._slope(theta), most * self._excess(height)
        if not (np.isfinite(slope) and np.isfinite(ridge)):
            return float("inf"), "the loss is not finite"
        if ridge > max(slope, most):
            return ridge, f"the loss lies {number(height)} above both"
        return slope, f"the gradient is {number(slope)} times as large"

    def _slope(self, theta: np.ndarray) -> float:
        """The gradient over that at the state; zero where it is rounding."""
        here, zero = self.here, BehindTolerances.now().zero
        floor = zero * here.objective.standard.gradient
        slope = here.slope_at(theta)
        if slope <= floor:
            return 0.0
        return slope / max(here.slope, floor)

    def _excess(self, height: float) -> float:
        """A height above both ends over |g| |d|, beyond which it is a ridge."""
        here = self.here
        allowed = here.slope * here.distance + here.rounding(self.around)
        if not allowed > 0:
            return 0.0
        return max(height, 0.0) / allowed


def _passing(ratio: float) -> Margin:
    closer = f"the run comes {number(ratio)} times as close to it"
    return Margin(
        name="passing",
        measured=ratio,
        limit=BehindTolerances.now().passed,
        words=f"passed elsewhere: outside this plateau {closer}",
    )
