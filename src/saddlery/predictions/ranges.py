"""How far a theory's assumptions hold for one experiment: a computed number, and the limits that
runs have set it.

Every theory here neglects something that is small: what modes do to each other while the first is
learned, the map of the initial weights, the step of a discrete rule. Each of these is a number that
can be computed beforehand. Up to `near` the theory stands as it is; beyond `outside` it says
nothing (or takes stages that run together as one); between the two its intervals are widened. The limits
below were set once, by the study "range": random problems, where 90% intervals must hold 85
to 95% of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..basis.checks import SaddleryError
from ..basis.records import Printed, Result, plain
from ..basis.tolerances import Tolerances, chosen
from ..experiments import Experiment
from ..networks import Objective

ITERATIONS = 60  # of a power iteration
STUDY = "range"  # where the limits come from
Limits = tuple[float, float]  # near, outside
MEASURED = 'measured by the study "range"'


@dataclass(frozen=True)
class RangeTolerances(Tolerances, decides="ranges"):
    """How far the assumptions of the theories hold: up to the first number a theory stands as it
    is, beyond the second it does not apply, between the two its intervals are widened."""

    overlap: tuple[float, float] = chosen(
        (0.03, 0.2), "strength of the next mode when one is learned, of its end", MEASURED
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
        (0.005, 0.02), "strength of the slowest mode at the start, of its end", MEASURED
    )
    start_jointly: tuple[float, float] = chosen(
        (0.05, 0.2), "the same where modes are followed together", MEASURED
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
        (0.1, 0.3), "the same of the next unit when one has grown", MEASURED
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
    """A condition of a theory that an experiment does not meet; the message says which, with the
    number."""


class OutsideRange(DoesNotApply):
    """An assumption of a theory that holds too little for an experiment that it otherwise speaks
    of."""


@dataclass(frozen=True, repr=False)
class Range(Result):
    """One assumption, measured. measure: of what; value: small where it holds; near, outside: the
    limits.

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
    """The assumption that holds least, by what part of its limit it uses up; None of none."""
    return max(
        ranges, key=lambda r: r.value / r.outside if np.isfinite(r.value) else np.inf, default=None
    )


def demand_range(ranges: Sequence[Range]) -> None:
    """Raise OutsideRange, with the number, where an assumption does not hold."""
    for found in ranges:
        if found.verdict == "outside":
            raise OutsideRange(
                f"{found.measure} is {found.value:.2g}, and beyond {found.outside:g} the theory"
                " does not hold"
                f' (study "{STUDY}")'
            )


# ------------------------------------------------------------------ the measures
def start_range(strength: float, limits: Limits | None = None) -> Range:
    """Of the map at the start, of what is learned last."""
    return Range(
        "strength of the initial map", float(strength), *(limits or RangeTolerances.now().start)
    )


def step_range(experiment: Experiment, rate: float, limits: Limits | None = None) -> Range:
    """Of the learning rate, beside the fastest rate; zero for a flow."""
    value = step_of(experiment) * float(rate)
    return Range(
        "learning rate times the fastest rate", value, *(limits or RangeTolerances.now().step)
    )


def overlap_range(overlap: float) -> Range:
    """Of neighbouring modes: how far the next one is when one is half learned."""
    return Range("overlap of neighbouring modes", float(overlap), *RangeTolerances.now().overlap)


def sharpness_range(experiment: Experiment, objective: Objective, end: np.ndarray) -> Range:
    """Of the learning rate, beside the largest that rests at the end, 2/lambda_max; zero for a
    flow."""
    step = step_of(experiment)
    value = 0.5 * step * sharpness(objective, end) if step else 0.0
    return Range(
        "learning rate times half the sharpness at the end", value, *RangeTolerances.now().sharp
    )


def sharpness(objective: Objective, state: np.ndarray) -> float:
    """lambda_max of the Hessian at a state, by power iteration, to about a percent."""
    direction, largest = np.random.default_rng(0).standard_normal(len(state)), 0.0
    for _ in range(ITERATIONS):
        image = np.asarray(objective.hessian_vector(state, direction / np.linalg.norm(direction)))
        largest, direction = float(np.linalg.norm(image)), image
        if largest == 0:
            break
    return largest


def relaxing_range(left: float) -> Range:
    """Of what has been learned, while the next mode is: the network has not come to the saddle that
    theory starts from."""
    return Range(
        "relaxation still to come when the next mode grows",
        float(left),
        *RangeTolerances.now().relaxing,
    )


def spread_range(slowest: float, fastest: float) -> Range:
    """Of the rates of modes that overlap and are taken as one stage."""
    return Range(
        "spread of rates within one stage", 1 - slowest / fastest, *RangeTolerances.now().spread
    )


# ------------------------------------------------------------------ steps in place of a flow
def step_of(experiment: Experiment) -> float:
    """The learning rate; 0 for a flow."""
    return float(getattr(experiment.rule, "learning_rate", 0.0))


def rates(s: np.ndarray, step: float) -> np.ndarray:
    """At which small weights grow in flow time: s for a flow; ln(1 + eta s) / eta for descent, (1 +
    eta s)^n in n steps."""
    return np.log1p(step * np.asarray(s)) / step if step else np.asarray(s, float)


def shift(value: float, rate: float) -> float:
    """By how much a jump may be early or late where strengths are known up to a factor 1 + value:
    ln(1 + value) / (2 rate)."""
    return float(np.log1p(value) / (2 * rate))
