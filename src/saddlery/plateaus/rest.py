"""Whether a run rests where it ends: the speed of its loss against its last drop, and the steps its
rule still takes.

A plateau of a loss curve is no rest yet. Along a flow dL/dt = -|grad L|^2, so that a gradient that
stays while the loss does not fall is paid for by steps that undo each other: descent whose step
size times the curvature along its steps is two or more goes to and fro for ever (Cohen et al. 2021,
the edge of stability). And a loss that loses as much from one time to four times that as it lost
before, in proportion, falls like a power of time: slowly, but it does not rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..basis.precision import in_float64
from ..basis.records import number, plain
from ..basis.values import Value
from ..rules import GradientDescent, Momentum, Rule
from ..rules.descent import Descent
from ..runs import Run
from ..saddles.fixed_points import TOLERANCE
from .plateau import RESOLUTION, SETTLED, Plateau, find_plateaus

TAIL = 0.1  # of the flow time, at the end: where the loss must fall as the gradient says
SHORT = (
    0.25  # of what the gradient says; descent at half the edge of stability still loses half of it
)
FURTHER = 64  # steps that are taken beyond the end, where the gradient and the loss disagree
KINDS = ("at rest", "still falling", "oscillates", "ended early")


@dataclass(frozen=True, eq=False)
class Rest(Value):
    """Whether a run rests where it ends, and what says so.

    kind: "at rest" (slow against its last drop), "still falling" (as slowly as a power of time),
    "oscillates" (steps undo each other) or "ended early" (in the middle of a drop, or before the
    first). evidence: the numbers behind it, by name. sentence: for people.
    """

    kind: str
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def at_rest(self) -> bool:
        return self.kind == "at rest"

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

    plateaus: those of its loss, found if they are not given. What is looked at, in this order:
    - a loss that is what it was at the start: "at rest" if the gradient is zero (1e-12 of the
      task's), else "ended early";
    - the loss over the last tenth of the flow time against what the gradient says, the integral of
      |grad|^2: "oscillates" where that is a hundredth of the last drop or more and the loss fell by
      less than a quarter of it. Descent is then taken 64 steps on, and must keep its step length
      and turn it round. Rules whose steps do not shrink with the gradient (sign, normalised, Adam,
      matrices) never settle below a step: they oscillate where one step is worth a hundredth of the
      drop. Rules that draw batches are not asked: their steps never end;
    - an end plateau among the plateaus: "at rest", unless the falls over successive fourfold times
      keep their ratio or grow, and the last is more than 1e-5 of the drop: "still falling". Without
      an end plateau they must keep it and shrink;
    - else "ended early".

    Cost: nothing where nothing oscillates, else 64 gradients.

    Example
    -------
    >>> from saddlery import train
    >>> rest_of(train("linear")).kind
    'at rest'
    """
    t = run.trajectory
    found = find_plateaus(t.flow_time, t.loss) if plateaus is None else plateaus
    if run.failed:
        return Rest("ended early", f"the run ended before it came to rest: {t.status}, {t.reason}")
    tail = _Tail.of(run, found)
    if _unmoved(run):
        return _where_it_began(run, tail)
    swing = _oscillation(run, tail)
    if swing is not None:
        return swing
    ends = bool(found) and found[-1].kind == "end"
    if tail.slow or (ends and tail.unfinished):
        how = "as slowly as a power of time" if tail.slow else "no slower than before"
        share = number(tail.quarters[2] / tail.drop, 2)
        return Rest(
            "still falling",
            (
                f"the run is not at rest: its loss still falls, {how} ({share} of its last drop "
                "since a quarter of the time)"
            ),
            tail.evidence,
        )
    if ends:
        return Rest("at rest", "the run came to rest", tail.evidence)
    more = (
        "; give it more of it"
        if t.reason.startswith("flow time") or t.reason.endswith("steps were taken")
        else ""
    )
    return Rest(
        "ended early",
        f"the run ended before it came to rest, at loss {number(run.final_loss)}: {t.reason}{more}",
        tail.evidence,
    )


@dataclass(frozen=True)
class _Tail:
    """The end of a loss curve. drop: the loss lost since the last plateau before it. quarters: what
    was lost from a 64th to a 16th of the time since the middle of that drop, from there to a
    quarter, and from there on. fell, said: what was lost over the last tenth of the flow time, and
    what the gradient says."""

    drop: float
    quarters: tuple[float, float, float]
    fell: float
    said: float

    @classmethod
    def of(cls, run: Run, found: Sequence[Plateau]) -> _Tail:
        t = run.trajectory
        time, loss = np.asarray(t.flow_time, float), np.asarray(t.loss, float)
        moving = [plateau for plateau in found if plateau.kind != "end"]
        first = moving[-1].last if moving else 0
        drop = float(loss[first] - loss[-1])
        lowest = np.minimum.accumulate(loss[first:])
        middle = time[first + int(np.argmax(lowest <= loss[first] - 0.5 * drop))]
        since = time[-1] - middle
        at = lambda share: float(np.interp(middle + share * since, time[first:], lowest))
        levels = [at(1 / 64), at(1 / 16), at(1 / 4), float(lowest[-1])]
        begin = time[-1] - TAIL * (time[-1] - time[0])
        late = np.append(begin, time[time > begin])
        speed = np.interp(
            late, time, _speed(run.experiment.rule, np.asarray(t.gradient_norm, float))
        )
        return cls(
            drop=drop,
            quarters=(levels[0] - levels[1], levels[1] - levels[2], levels[2] - levels[3]),
            fell=float(np.interp(begin, time, loss) - loss[-1]),
            said=float(np.sum(0.5 * (speed[1:] + speed[:-1]) * np.diff(late))),
        )

    @property
    def slow(self) -> bool:
        """Whether the loss falls like a power of time: of successive fourfold times each loses its
        share of the one before; along an exponential the share itself falls away."""
        first, second, third = self.quarters
        return first > second > third and self.unfinished

    @property
    def unfinished(self) -> bool:
        """Whether what is lost in fourfold times does not fall away: at a steady speed it even
        grows fourfold."""
        first, second, third = self.quarters
        if min(self.quarters) <= 0 or third <= 10 * RESOLUTION * self.drop:
            return False
        return third / second > 0.5 * second / first or third > second > first

    @property
    def evidence(self) -> dict[str, float]:
        return {"last drop": self.drop, "lost at the end": self.fell, "gradient says": self.said}


def _unmoved(run: Run) -> bool:
    """Whether the loss is what it was at the start, to 1e-6 of what there is to learn."""
    moved, loss = float(np.ptp(run.trajectory.loss)), float(np.max(np.abs(run.trajectory.loss)))
    return moved <= RESOLUTION * loss and moved <= RESOLUTION * run.objective().scales.loss


def _where_it_began(run: Run, tail: _Tail) -> Rest:
    """A run that has not moved: at rest if there is no gradient either."""
    norm, scale = float(run.trajectory.gradient_norm[-1]), run.objective().scales.gradient
    words = (
        f"the loss is what it was at the start, {number(run.final_loss)}, and the gradient "
        f"{norm / scale:.1e} of the task's"
    )
    evidence = {**tail.evidence, "gradient norm": norm}
    if norm <= TOLERANCE * scale:
        return Rest("at rest", f"the run rests where it began: {words}", evidence)
    return Rest(
        "ended early",
        f"the run ended before it left its start: {words}; give it more time",
        evidence,
    )


def _speed(rule: Rule, norm: np.ndarray) -> np.ndarray:
    """At least how fast the loss falls, by the gradient norm (T), if steps are short."""
    return norm**2 if _shrinking(rule) else norm


def _shrinking(rule: Rule) -> bool:
    """Whether steps shrink with the gradient."""
    return isinstance(rule, (GradientDescent, Momentum)) or not isinstance(rule, Descent)


def _oscillation(run: Run, tail: _Tail) -> Rest | None:
    """The run oscillates, or None."""
    rule, total = run.experiment.rule, float(np.ptp(run.trajectory.loss))
    fixed = isinstance(rule, Descent) and not rule.batch
    drop = tail.drop if tail.drop > RESOLUTION * total else total
    if not fixed or tail.fell > SHORT * tail.said:
        return None
    counts = 1.0 if _shrinking(rule) else max(1.0, TAIL * float(run.trajectory.step[-1]))
    if tail.said <= SETTLED * drop * counts:
        return None
    evidence = tail.evidence
    if not isinstance(rule, GradientDescent):
        words = "its gradient stays and its loss does not fall: steps that undo each other"
        return Rest(
            "oscillates",
            f"the run is not at rest, the loss oscillates: {words}; lower the learning rate",
            evidence,
        )
    losses, curvature, kept = _further(run, rule.learning_rate)
    if not kept:
        return None
    evidence |= {
        "lowest": min(losses),
        "highest": max(losses),
        "step size times curvature": curvature,
    }
    return Rest(
        "oscillates",
        f"the run is not at rest, the loss oscillates (from {number(min(losses))} to"
        f" {number(max(losses))}):"
        f" the step size {number(rule.learning_rate)} is beyond the edge of stability, times the"
        " curvature along its"
        f" steps it is {curvature:.2f} (2 and more do not settle); lower the learning rate",
        evidence,
    )


def _further(run: Run, rate: float) -> tuple[list[float], float, bool]:
    """Descent from where the run ended: losses of every step, the step size times the mean
    curvature along a step, <s, grad' - grad> / |s|^2, and whether steps keep their length (by half
    at least) and undo each other."""
    subject = run.objective()
    theta = np.asarray(run.trajectory.states[-1], float)
    losses, lengths, curvatures = [], [], []
    slope = np.asarray(subject.gradient(theta))
    for _ in range(FURTHER):
        step = -rate * slope
        after = np.asarray(subject.gradient(theta + step))
        losses.append(float(subject.loss(theta)))
        lengths.append(float(np.linalg.norm(step)))
        curvatures.append(float(step @ (after - slope)) / max(lengths[-1] ** 2, 1e-300))
        theta, slope = theta + step, after
    curvature = rate * float(np.mean(curvatures[FURTHER // 2 :]))
    kept = float(np.mean(lengths[-8:])) > 0.5 * float(np.mean(lengths[:8]))
    return losses, curvature, kept and curvature > 1.0
