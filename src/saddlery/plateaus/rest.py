"""Whether a run rests where it ends: the speed of its loss against its last drop, and the
steps its rule still takes.

A plateau of a loss curve is no rest yet. Along a flow dL/dt = -|grad L|^2, so that a
gradient that stays while the loss does not fall is paid for by steps that undo each
other: descent whose step size times the curvature along its steps is two or more goes
to and fro for ever (Cohen et al. 2021, the edge of stability). And a loss that loses as
much from one time to four times that as it lost before, in proportion, falls like a
power of time: slowly, but it does not rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..basis.precision import in_float64
from ..basis.records import Printed, Result, number, plain
from ..basis.sizes import TINY
from ..basis.tolerances import Tolerances, chosen
from ..rules import GradientDescent, Momentum, Rule
from ..rules.descent import Descent
from ..runs import Run
from ..saddles.fixed_points import FixedPointTolerances
from .plateau import Plateau, PlateauTolerances, find_plateaus


@dataclass(frozen=True)
class RestTolerances(Tolerances, decides="rest"):
    """Whether a run rests where it ends. (Its last drop and what is settled
    are those of `PlateauTolerances`.)"""

    tail: float = chosen(
        0.1,
        "flow time at the end where the loss must fall as the gradient says, of all of it",
        "a judgement",
        most=0.5,
    )
    short: float = chosen(
        0.25,
        "fall of the loss at the end of a run that oscillates, of what the gradient says",
        "derived: descent at half the edge of stability still loses half of it",
        most=1.0,
    )
    keeps: float = chosen(
        0.5,
        "ratio of falls over successive fourfold times, of the one before, of a loss that falls on",
        "derived: along a power of time it is 1, along an exponential it falls to zero",
        most=1.0,
    )


# Steps that are taken beyond the end, where the gradient and the loss disagree.
FURTHER = 64
# The lengths of so many of these steps are compared, the first and the last.
COMPARED = 8
# A late fall is seen that is larger than so many times the resolution of plateaus, of
# the last drop.
CLEARLY = 10.0
# The loss is read after these shares of the time since the middle of the last drop,
# each fourfold the one before.
FOURFOLD = (1 / 64, 1 / 16, 1 / 4)
KINDS = ("at rest", "still falling", "oscillates", "ended early")


@dataclass(frozen=True, eq=False, repr=False)
class Rest(Result):
    """Whether a run rests where it ends, and what says so.

    kind: "at rest" (slow against its last drop), "still falling" (as slowly as a power
        of time), "oscillates" (steps undo each other) or "ended early" (in the middle
        of a drop, or before the first).
    sentence: for people.
    evidence: the numbers behind it, by name.
    """

    kind: str
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def at_rest(self) -> bool:
        return self.kind == "at rest"

    def printed(self) -> Printed:
        rows = [("kind", self.kind), ("sentence", self.sentence), *self.evidence.items()]
        return Printed(("rest", ""), rows)

    def record(self) -> dict[str, Any]:
        """The stable JSON form."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "evidence": plain(dict(self.evidence)),
        }


@in_float64
def rest_of(run: Run, plateaus: Sequence[Plateau] | None = None) -> Rest:
    """Whether a run rests where it ends.

    plateaus: those of its loss (T), found if they are not given.

    What is looked at, in this order:

    - A loss that is what it was at the start: "at rest" if the gradient (P,) is zero
      (1e-12 of the task's), else "ended early".
    - The loss over the last tenth of the flow time against what the gradient says, the
      integral of |grad|^2: "oscillates" where that is a hundredth of the last drop or
      more and the loss fell by less than a quarter of it. Descent is then taken 64
      steps on, and must keep its step length and turn it round. Rules whose steps do
      not shrink with the gradient (sign, normalised, Adam, matrices) never settle below
      a step: they oscillate where one step is worth a hundredth of the drop. Rules that
      draw batches are not asked: their steps never end.
    - An end plateau among the plateaus: "at rest", unless the falls over successive
      fourfold times keep their ratio or grow, and the last is more than 1e-5 of the
      drop: "still falling". Without an end plateau they must keep it and shrink.
    - Else "ended early".

    Cost: nothing where nothing oscillates, else 65 gradients and 64 losses.

    Example
    -------
    >>> from saddlery import Experiment, train
    >>> from saddlery.training import Stop
    >>> rest_of(train("linear")).kind
    'at rest'
    >>> short = Experiment.named("linear").replace(stop=Stop(flow_time=8.0))
    >>> print(rest_of(train(short)).sentence)
    the run ended before it came to rest, at loss 0.1325: flow time 8.0 was reached; give
    it more of it
    """
    trajectory = run.trajectory
    if run.failed:
        how = f"{trajectory.status}, {trajectory.reason}"
        return Rest("ended early", f"the run ended before it came to rest: {how}")
    found = plateaus
    if found is None:
        found = find_plateaus(trajectory.flow_time, trajectory.loss)
    tail = _Tail.of(run, found)
    if _unmoved(run):
        return _where_it_began(run, tail)
    swing = _oscillation(run, tail)
    if swing is not None:
        return swing
    ends = bool(found) and found[-1].kind == "end"
    if tail.slow or (ends and tail.unfinished):
        return _still_falling(tail)
    if ends:
        return Rest("at rest", "the run came to rest", tail.evidence)
    return _too_short(run, tail)


def _still_falling(tail: _Tail) -> Rest:
    how = "as slowly as a power of time" if tail.slow else "no slower than before"
    share = number(tail.lost[2] / tail.drop, 2)
    since = f"{share} of its last drop since a quarter of the time"
    words = f"the run is not at rest: its loss still falls, {how} ({since})"
    return Rest("still falling", words, tail.evidence)


def _too_short(run: Run, tail: _Tail) -> Rest:
    """A run that was ended in the middle of a drop."""
    reason = run.trajectory.reason
    words = f"the run ended before it came to rest, at loss {number(run.final_loss)}: {reason}"
    if reason.startswith("flow time") or reason.endswith("steps were taken"):
        words += "; give it more of it"
    return Rest("ended early", words, tail.evidence)


@dataclass(frozen=True)
class _Tail:
    """The end of a loss curve.

    drop: the loss lost since the last plateau before it.
    lost: early, from a 64th to a 16th of the time since the middle of that drop; in the
        middle, from there to a quarter of it; and late, from there on.
    fell, said: what was lost over the last tenth of the flow time, and what the
        gradient says.
    """

    drop: float
    lost: tuple[float, float, float]
    fell: float
    said: float

    @classmethod
    def of(cls, run: Run, found: Sequence[Plateau]) -> _Tail:
        trajectory = run.trajectory
        time = np.asarray(trajectory.flow_time, float)
        loss = np.asarray(trajectory.loss, float)
        moving = [plateau for plateau in found if plateau.kind != "end"]
        first = moving[-1].last if moving else 0
        begin = time[-1] - RestTolerances.now().tail * (time[-1] - time[0])
        slope = np.asarray(trajectory.gradient_norm, float)
        return cls(
            drop=float(loss[first] - loss[-1]),
            lost=_lost_in_fourfold_times(time[first:], loss[first:]),
            fell=float(np.interp(begin, time, loss) - loss[-1]),
            said=_said(time, _speed(run.experiment.rule, slope), begin),
        )

    @property
    def slow(self) -> bool:
        """Whether the loss falls like a power of time: of successive fourfold times
        each loses its share of the one before; along an exponential the share itself
        falls away."""
        early, middle, late = self.lost
        return early > middle > late and self.unfinished

    @property
    def unfinished(self) -> bool:
        """Whether what is lost in fourfold times does not fall away: at a steady speed
        it even grows fourfold."""
        early, middle, late = self.lost
        seen = CLEARLY * PlateauTolerances.now().resolution * self.drop
        if min(self.lost) <= 0 or late <= seen:
            return False
        keeps = RestTolerances.now().keeps
        keeps_its_share = late / middle > keeps * middle / early
        speeds_up = late > middle > early
        return keeps_its_share or speeds_up

    @property
    def evidence(self) -> dict[str, float]:
        return {
            "last drop": self.drop,
            "lost at the end": self.fell,
            "gradient says": self.said,
        }


def _lost_in_fourfold_times(time: np.ndarray, loss: np.ndarray) -> tuple[float, float, float]:
    """What of the loss (T) was lost in successive fourfold times since the middle of the
    drop that the curve is, the last of them its end."""
    lowest = np.minimum.accumulate(loss)
    drop = loss[0] - loss[-1]
    middle = time[int(np.argmax(lowest <= loss[0] - 0.5 * drop))]
    since = time[-1] - middle
    a, b, c = (float(np.interp(middle + share * since, time, lowest)) for share in FOURFOLD)
    return a - b, b - c, c - float(lowest[-1])


def _said(time: np.ndarray, speed: np.ndarray, begin: float) -> float:
    """The integral of a speed (T) from a time on, by the trapezoidal rule."""
    late = np.append(begin, time[time > begin])
    at = np.interp(late, time, speed)
    return float(np.sum(0.5 * (at[1:] + at[:-1]) * np.diff(late)))


def _unmoved(run: Run) -> bool:
    """Whether the loss is what it was at the start, to 1e-6 of what there is to learn."""
    moved = float(np.ptp(run.trajectory.loss))
    loss = float(np.max(np.abs(run.trajectory.loss)))
    hardly = PlateauTolerances.now().resolution * min(loss, run.objective().scales.loss)
    return moved <= hardly


def _where_it_began(run: Run, tail: _Tail) -> Rest:
    """A run that has not moved: at rest if there is no gradient either."""
    norm = float(run.trajectory.gradient_norm[-1])
    scale = run.objective().scales.gradient
    loss = f"the loss is what it was at the start, {number(run.final_loss)}"
    words = f"{loss}, and the gradient {norm / scale:.1e} of the task's"
    evidence = {**tail.evidence, "gradient norm": norm}
    if norm <= FixedPointTolerances.now().gradient * scale:
        return Rest("at rest", f"the run rests where it began: {words}", evidence)
    return Rest(
        kind="ended early",
        sentence=f"the run ended before it left its start: {words}; give it more time",
        evidence=evidence,
    )


def _speed(rule: Rule, norm: np.ndarray) -> np.ndarray:
    """At least how fast the loss falls, by the gradient norm (T), if steps are short."""
    return norm**2 if _shrinking(rule) else norm


def _shrinking(rule: Rule) -> bool:
    """Whether steps shrink with the gradient."""
    return isinstance(rule, (GradientDescent, Momentum)) or not isinstance(rule, Descent)


def _oscillation(run: Run, tail: _Tail) -> Rest | None:
    """The run oscillates, or None."""
    rule = run.experiment.rule
    fixed = isinstance(rule, Descent) and not rule.batch
    if not fixed or tail.fell > RestTolerances.now().short * tail.said:
        return None
    if tail.said <= _worth(run, tail):
        return None
    if isinstance(rule, GradientDescent):
        return _beyond_the_edge(run, rule.learning_rate, tail)
    how = "its gradient stays and its loss does not fall: steps that undo each other"
    return Rest(
        kind="oscillates",
        sentence=f"the run is not at rest, the loss oscillates: {how}; lower the learning rate",
        evidence=tail.evidence,
    )


def _worth(run: Run, tail: _Tail) -> float:
    """Up to what the gradient may say at the end of a run that rests: what counts as
    settled of the last drop; of rules that never settle below a step, every step."""
    curve = PlateauTolerances.now()
    total = float(np.ptp(run.trajectory.loss))
    drop = tail.drop if tail.drop > curve.resolution * total else total
    steps = 1.0
    if not _shrinking(run.experiment.rule):
        steps = max(1.0, RestTolerances.now().tail * float(run.trajectory.step[-1]))
    return curve.settled * drop * steps


def _beyond_the_edge(run: Run, rate: float, tail: _Tail) -> Rest | None:
    """Descent whose further steps undo each other, or None where they do not."""
    further = _Further.of(run, rate)
    if not further.kept:
        return None
    low, high = further.lowest, further.highest
    loss = f"the loss oscillates (from {number(low)} to {number(high)})"
    edge = f"the step size {number(rate)} is beyond the edge of stability"
    steps = f"times the curvature along its steps it is {further.curvature:.2f}"
    remedy = "(2 and more do not settle); lower the learning rate"
    evidence = {
        "lowest": low,
        "highest": high,
        "step size times curvature": further.curvature,
    }
    return Rest(
        kind="oscillates",
        sentence=f"the run is not at rest, {loss}: {edge}, {steps} {remedy}",
        evidence=tail.evidence | evidence,
    )


@dataclass(frozen=True)
class _Further:
    """Descent from where a run ended.

    lowest, highest: of the losses of every step.
    curvature: the step size times the mean curvature along a step, <s, grad' - grad> /
        |s|^2.
    kept: whether steps keep their length (by half at least) and undo each other.
    """

    lowest: float
    highest: float
    curvature: float
    kept: bool

    @classmethod
    def of(cls, run: Run, rate: float) -> _Further:
        subject = run.objective()
        theta = np.asarray(run.trajectory.states[-1], float)
        losses, lengths, curvatures = [], [], []
        slope = np.asarray(subject.gradient(theta))
        for _ in range(FURTHER):
            step = -rate * slope
            after = np.asarray(subject.gradient(theta + step))
            losses.append(float(subject.loss(theta)))
            lengths.append(float(np.linalg.norm(step)))
            curvatures.append(float(step @ (after - slope)) / max(lengths[-1] ** 2, TINY))
            theta, slope = theta + step, after
        # The first half of the steps may still turn into the direction of the swing.
        curvature = rate * float(np.mean(curvatures[FURTHER // 2 :]))
        last, first = np.mean(lengths[-COMPARED:]), np.mean(lengths[:COMPARED])
        long = float(last) > 0.5 * float(first)
        return cls(
            lowest=min(losses),
            highest=max(losses),
            curvature=curvature,
            kept=long and curvature > 1.0,
        )
