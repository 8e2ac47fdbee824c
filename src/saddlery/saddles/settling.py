"""Settling: gradient flow of a network until it rests, followed by refinement of
where it rests.

This is one jump of a saddle-to-saddle sequence, started next to the saddle it
leaves: from a narrow network with a new unit just off its silent point to the fixed
point of that width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..basis.checks import NumericalError
from ..basis.precision import in_float64
from ..basis.sizes import TINY
from ..basis.values import Value
from ..networks import Objective
from ..rules import GradientFlow
from ..solvers import Refinement
from ..training import Stop, driver
from .fixed_points import fixed_point

# The flow rests where its gradient is below this share of the largest on the way.
REST = 1e-6
# The flow is looked at after times that grow by this factor, so often at most.
GROWTH, ROUNDS = 1.6, 60
# Most steps between two looks; a flow that takes them does not rest.
STEPS = 20_000
# Along held directions a part below this share of the weights is rounding; they grow by
# so many e-folds between two looks, of which there are so many at most.
NOISE, GROWN, LOOKS = 1e-6, 12.0, 2000
RULE = GradientFlow(relative_tolerance=1e-8)


@dataclass(frozen=True, eq=False)
class Held:
    """Directions along which the exact path does not move.

    directions (K, P): orthonormal.
    rate: at which the fastest of them grows by itself.
    """

    directions: np.ndarray
    rate: float

    def cleaned(self, theta: np.ndarray) -> np.ndarray:
        """theta without its part along the directions, where that is rounding."""
        along = self.directions @ theta
        if np.linalg.norm(along) <= NOISE * np.linalg.norm(theta):
            return theta - along @ self.directions
        return theta


@dataclass(frozen=True, eq=False)
class Settled(Value):
    """A flow to rest.

    flow_time, loss, gradient_norm (T,), states (T, P): the way.
    refinement: of its end.
    """

    flow_time: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray
    states: np.ndarray
    refinement: Refinement

    @property
    def end(self) -> np.ndarray:
        """The fixed point (P,), if the refinement converged."""
        return self.refinement.point

    def half_time(self, before: float) -> float:
        """When the loss was half-way from the one before, of the saddle that was left,
        to that of the fixed point.

        Raises NumericalError for a flow that did not begin beside that saddle,
        or did not end below it.
        """
        refined = self.refinement.loss
        end = float(self.loss[-1] if refined is None else refined)
        level = 0.5 * (before + end)
        above = np.flatnonzero(self.loss > level)
        if not len(above) or above[-1] + 1 >= len(self.loss):
            raise NumericalError(
                f"the flow from loss {self.loss[0]:.4g} to {end:.4g} does not fall through "
                f"the half-way level {level:.4g} below the saddle's {before:.4g}: "
                "what joins is not small, or is not learned"
            )
        # Between two samples the loss counts as linear.
        k = int(above[-1])
        share = (self.loss[k] - level) / (self.loss[k] - self.loss[k + 1])
        step = self.flow_time[k + 1] - self.flow_time[k]
        return float(self.flow_time[k] + share * step)


@in_float64
def settle(
    objective: Objective,
    start: np.ndarray,
    *,
    rest: float = REST,
    held: Held | None = None,
) -> Settled:
    """Gradient flow from a state (P,) beside a saddle until it rests, and
    the fixed point there.

    From exactly on a fixed point nothing moves: start beside it.

    rest: the flow rests where its gradient is first this part of the largest on the
        way.
    held: directions along which the exact path does not move although the saddle is
        unstable along them. What rounding has made of them is taken away before it
        grows; a path that moves along them after all is left alone.

    Raises NumericalError where the flow does not rest, for example because the loss
    falls for ever towards infinite weights. Cost: the flow, and a few Newton steps.

    Example
    -------
    One small linear unit learns the first mode, and is half-way when it has lost half
    of 0.58 - 0.08.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> small = objective.with_network(objective.network.with_widths([1]))
    >>> jump = settle(small, np.full(4, 0.01))
    >>> round(jump.refinement.loss, 6)
    0.08
    >>> half = np.interp(jump.half_time(0.58), jump.flow_time, jump.loss)
    >>> round(float(half), 6)
    0.33
    """
    parts: list[driver.Trajectory] = []
    theta = np.asarray(start, float)
    duration = _first_duration(objective, theta)
    peak = 0.0
    for _ in range(ROUNDS if held is None else LOOKS):
        if held is not None:
            duration = min(duration, GROWN / held.rate)
        stop = Stop(flow_time=duration, steps=STEPS)
        last = driver.run(objective.function, objective.samples, theta, RULE, stop)
        parts.append(last)
        if last.status != "stopped":
            raise NumericalError(f"the flow did not come to rest: {last.reason}")
        peaks = np.maximum(np.maximum.accumulate(last.gradient_norm), peak)
        calm = np.flatnonzero(last.gradient_norm <= rest * peaks)
        if len(calm):
            return _settled(objective, parts, int(calm[0]))
        theta, peak = np.asarray(last.states[-1]), float(peaks[-1])
        if held is not None:
            theta = held.cleaned(theta)
        if int(last.step[-1]) >= STEPS:
            break
        duration *= GROWTH
    raise _restless(parts, peak)


def _first_duration(objective: Objective, theta: np.ndarray) -> float:
    """The flow time in which the weights would move by their own size."""
    slope = float(np.linalg.norm(np.asarray(objective.gradient(theta))))
    size = max(float(np.linalg.norm(theta)), 1e-3 * objective.scales.weights)
    return size / max(slope, TINY)


def _restless(parts: list[driver.Trajectory], peak: float) -> NumericalError:
    total = sum(part.flow_time[-1] for part in parts)
    share = float(parts[-1].gradient_norm[-1]) / peak
    return NumericalError(
        f"the flow did not come to rest: after flow time {total:.3g} its gradient was still"
        f" {share:.1e} of the largest"
    )


def _settled(
    objective: Objective,
    parts: list[driver.Trajectory],
    rest: int,
) -> Settled:
    """All parts as one, the last one up to the sample `rest`, and
    the fixed point there."""
    theta = np.asarray(parts[-1].states[rest])
    refinement = fixed_point(objective, theta, objective.scales.gradient, 1.0)
    offsets = np.cumsum([0.0, *(part.flow_time[-1] for part in parts[:-1])])
    ends = [*(len(part.loss) for part in parts[:-1]), rest + 1]

    def joined(name: str) -> np.ndarray:
        pieces = zip(parts, ends, strict=True)
        return np.concatenate([getattr(part, name)[:end] for part, end in pieces])

    times = []
    for part, end, offset in zip(parts, ends, offsets, strict=True):
        times.append(part.flow_time[:end] + offset)
    return Settled(
        flow_time=np.concatenate(times),
        loss=joined("loss"),
        gradient_norm=joined("gradient_norm"),
        states=joined("states"),
        refinement=refinement,
    )
