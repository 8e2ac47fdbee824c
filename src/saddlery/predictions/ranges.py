"""How far a theory's assumptions hold for one experiment: a computed number,
and the limits that runs have set it.

Every theory here neglects something that is small: what modes do to each other
while the first is learned, the map of the initial weights, the step of a
discrete rule. Each of these is a number that can be computed beforehand. Up to
`near` the theory stands as it is; beyond `outside` it says nothing (or takes
stages that run together as one); between the two its intervals are widened.
The limits below were set once, by the study "range": random problems, where
90% intervals must hold 85 to 95% of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..basis.checks import SaddleryError
from ..basis.records import Printed, Result, plain
from ..basis.tolerances import Tolerances, chosen
from ..experiments import Experiment
from ..networks import Objective

ITERATIONS = 60  # steps of the power iteration: the largest curvature to about a percent
STUDY = "range"  # the study that the limits come from
Limits = tuple[float, float]  # near, outside
MEASURED = 'measured by the study "range"'


@dataclass(frozen=True)
class RangeTolerances(Tolerances, decides="ranges"):
    """How far the assumptions of the theories hold: up to the first number a
    theory stands as it is, beyond the second it does not apply, between the
    two its intervals are widened."""

    overlap: tuple[float, float] = chosen(
        (0.03, 0.2),
        "strength of the next mode when one is learned, of its end",
        MEASURED,
    )
    doubt: float = chosen(
        3.0,
        "part of its strength by which a neighbouring mode moves a jump, of the overlap",
        MEASURED,
    )
    relaxing: tuple[float, float] = chosen(
        (0.02, 0.2),
        "loss that what is learned still has to lose when the next mode is a tenth learned, of its"
        " drop",
        MEASURED + "; at 0.15 the nine jumps of digits come within 1.1%, at 0.30 intervals of a"
        " random problem held 0 of 40 second jumps",
    )
    spread: tuple[float, float] = chosen(
        (0.25, 0.4),
        "spread of the rates of modes that run together as one stage, of the fastest",
        MEASURED,
    )
    start: tuple[float, float] = chosen(
        (0.005, 0.02),
        "strength of the slowest mode at the start, of its end",
        MEASURED,
    )
    start_jointly: tuple[float, float] = chosen(
        (0.05, 0.2),
        "the same where modes are followed together",
        MEASURED,
    )
    wait: tuple[float, float] = chosen(
        (0.1, 0.5),
        "flow time that waits were too short for, of the jump time (alternating gradient flows)",
        MEASURED,
    )
    turn: tuple[float, float] = chosen(
        (0.02, 0.1),
        "turn 1 - cos of a unit with kinks while it waits, after another has joined (alternating"
        " gradient flows)",
        MEASURED,
    )
    small: tuple[float, float] = chosen(
        (0.05, 0.2),
        "size of the largest unit at the start, of one that has learned",
        MEASURED,
    )
    next: tuple[float, float] = chosen(
        (0.1, 0.3),
        "the same of the next unit when one has grown",
        MEASURED,
    )
    sharp: tuple[float, float] = chosen(
        (0.02, 0.1),
        "learning rate times rate (half the sharpness), of theories of the flow",
        MEASURED + "; times err by half of it",
    )
    mixed: tuple[float, float] = chosen(
        (0.03, 0.15),
        "correlation of inputs over the integrated gradient that releases a coordinate (diagonal"
        " units)",
        MEASURED,
    )
    step: tuple[float, float] = chosen(
        (0.3, 0.7),
        "learning rate times the largest rate",
        MEASURED + "; from 1 on no learned mode rests (2/lambda_max)",
    )


class DoesNotApply(SaddleryError):
    """A condition of a theory that an experiment does not meet; the message
    says which, with the number."""


class OutsideRange(DoesNotApply):
    """An assumption of a theory that holds too little for an experiment that
    it otherwise speaks of."""


@dataclass(frozen=True, repr=False)
class Range(Result):
    """One assumption, measured.

    measure: of what.
    value: small where it holds.
    near, outside: the limits.

    Example
    -------
    >>> from saddlery.predictions import Range
    >>> print(Range("overlap of neighbouring modes", 0.05, 0.03, 0.2))
    near: overlap of neighbouring modes 0.05 (within to 0.03, outside from 0.2)
    """

    measure: str
    value: float
    near: float
    outside: float

    @property
    def verdict(self) -> str:
        """within, near or outside."""
        if not self.value <= self.outside:  # what is no number is outside
            return "outside"
        return "within" if self.value <= self.near else "near"

    def printed(self) -> Printed:
        return Printed(("range", ""), list(self.record().items()))

    def record(self) -> dict[str, Any]:
        """JSON form."""
        return plain({**vars(self), "verdict": self.verdict})

    def __str__(self) -> str:
        limits = f"within to {self.near:g}, outside from {self.outside:g}"
        return f"{self.verdict}: {self.measure} {self.value:.2g} ({limits})"


def worst(ranges: Sequence[Range]) -> Range | None:
    """The assumption that holds least, by what part of its limit it
    uses up; None of none.

    Example
    -------
    >>> from saddlery.predictions import Range
    >>> from saddlery.predictions.ranges import worst
    >>> overlap = Range("overlap", 0.02, near=0.03, outside=0.2)
    >>> step = Range("step", 0.4, near=0.3, outside=0.7)
    >>> worst([overlap, step]).measure
    'step'
    """
    return max(ranges, key=_used_up, default=None)


def _used_up(found: Range) -> float:
    part = found.value / found.outside
    return part if np.isfinite(found.value) else np.inf


def demand_range(ranges: Sequence[Range]) -> None:
    """Raise OutsideRange, with the number, where an assumption does not hold.

    Example
    -------
    >>> from saddlery.predictions import Range
    >>> from saddlery.predictions.ranges import demand_range
    >>> demand_range([Range("overlap", 0.5, near=0.03, outside=0.2)])
    Traceback (most recent call last):
    saddlery.predictions.ranges.OutsideRange: overlap is 0.5, and beyond 0.2 the theory
    does not hold (study "range")
    """
    for found in ranges:
        if found.verdict == "outside":
            limit = f"beyond {found.outside:g} the theory does not hold"
            source = f'(study "{STUDY}")'
            raise OutsideRange(f"{found.measure} is {found.value:.2g}, and {limit} {source}")


# ------------------------------------------------------------------ the measures
def start_range(strength: float, limits: Limits | None = None) -> Range:
    """Of the map at the start, of what is learned last: its strength over
    that at its end."""
    limits = limits or RangeTolerances.now().start
    return Range("strength of the initial map", float(strength), *limits)


def step_range(
    experiment: Experiment,
    rate: float,
    limits: Limits | None = None,
) -> Range:
    """Of the learning rate, beside the fastest rate 1/flow time; zero for a flow.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.ranges import step_range
    >>> from saddlery.rules import GradientDescent
    >>> print(step_range(Experiment.named("linear").replace(rule=GradientDescent(0.5)), 1.0))
    near: learning rate times the fastest rate 0.5 (within to 0.3, outside from 0.7)
    """
    limits = limits or RangeTolerances.now().step
    value = step_of(experiment) * float(rate)
    return Range("learning rate times the fastest rate", value, *limits)


def overlap_range(overlap: float) -> Range:
    """Of neighbouring modes: how far the next one is when one is half learned."""
    limits = RangeTolerances.now().overlap
    return Range("overlap of neighbouring modes", float(overlap), *limits)


def sharpness_range(
    experiment: Experiment,
    objective: Objective,
    end: Float[np.ndarray, " P"],
) -> Range:
    """Of the learning rate, beside the largest that rests at the end,
    2/lambda_max; zero for a flow.

    end (P,): the state that the run ends in.
    """
    step = step_of(experiment)
    value = 0.0
    if step:
        value = 0.5 * step * sharpness(objective, end)
    limits = RangeTolerances.now().sharp
    return Range(
        "learning rate times half the sharpness at the end",
        value,
        *limits,
    )


def sharpness(objective: Objective, state: Float[np.ndarray, " P"]) -> float:
    """lambda_max of the Hessian at a state (P,), in absolute value, by power
    iteration.

    To about a percent. Cost: 60 Hessian-vector products.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.ranges import sharpness
    >>> linear = Experiment.named("linear")  # at zero weights +-s_k: here 1.0 and 0.4
    >>> round(sharpness(linear.objective(), np.zeros(200)), 2)
    1.0
    """
    direction = np.random.default_rng(0).standard_normal(len(state))
    largest = 0.0
    for _ in range(ITERATIONS):
        unit = direction / np.linalg.norm(direction)
        direction = np.asarray(objective.hessian_vector(state, unit))
        largest = float(np.linalg.norm(direction))
        if largest == 0:
            break
    return largest


def relaxing_range(left: float) -> Range:
    """Of what has been learned, while the next mode is: the network has not
    come to the saddle that theory starts from.

    left: the loss still to lose, of the next drop.
    """
    limits = RangeTolerances.now().relaxing
    return Range(
        "relaxation still to come when the next mode grows",
        float(left),
        *limits,
    )


def spread_range(slowest: float, fastest: float) -> Range:
    """Of the rates of modes that overlap and are taken as one stage."""
    limits = RangeTolerances.now().spread
    return Range("spread of rates within one stage", 1 - slowest / fastest, *limits)


# ------------------------------------------------------------------ steps in place of a flow
def step_of(experiment: Experiment) -> float:
    """The learning rate; 0 for a flow."""
    return float(getattr(experiment.rule, "learning_rate", 0.0))


def rates(s: Float[np.ndarray, "*r"] | np.floating, step: float) -> Any:
    """At which small weights grow in flow time: s for a flow; for descent of
    rate eta ln(1 + eta s) / eta, since n steps make (1 + eta s)^n.

    s: rates of the flow, an array of any shape or one number.
    step: eta, 0 for a flow.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.predictions.ranges import rates
    >>> rates(np.array([1.0, 0.4]), 0.1).round(4)
    array([0.9531, 0.3922])
    """
    if step == 0:
        return np.asarray(s, float)
    return np.log1p(step * np.asarray(s)) / step


def shift(value: float, rate: float) -> float:
    """By how much a jump may be early or late where strengths are known up to
    a factor 1 + value: ln(1 + value) / (2 rate).

    Example
    -------
    >>> from saddlery.predictions.ranges import shift
    >>> round(shift(0.1, 1.0), 4)
    0.0477
    """
    return float(np.log1p(value) / (2 * rate))
