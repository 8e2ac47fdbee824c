"""Learning rules: do the stages survive, and the order in which modes are learned?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..driver import Stop
from ..experiments import Experiment
from ..rules import (
    Adam,
    GradientDescent,
    GradientFlow,
    Momentum,
    Muon,
    NormalisedDescent,
    SchattenDescent,
    SignDescent,
    SpectralDescent,
)
from ..runs import train
from ..stage import stages
from ..tasks import LinearTeacher
from .base import Claim, Row, Study, of
from .measures import changed, counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRENGTHS = (1.0, 0.3)
RULES = {
    "flow": (GradientFlow(), 60.0),
    "descent": (GradientDescent(1e-2), 60.0),
    "momentum": (Momentum(1e-3), 12.0),
    "adam": (Adam(1e-4), 3.0),
    "sign": (SignDescent(1e-4), 3.0),
    "normalised": (NormalisedDescent(1e-3), 10.0),
    "schatten": (SchattenDescent(1e-3, p=4.0), 6.0),
    "spectral": (SpectralDescent(1e-3), 3.0),
    "muon": (Muon(1e-3), 6.0),
}
NAMED = "known for deep linear networks; derived"


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, (rule, time) in RULES.items():
        for seed in range(seeds):
            e = changed(
                "linear",
                task=LinearTeacher(STRENGTHS),
                rule=rule,
                stop=Stop(flow_time=time),
                seed=seed,
                scale=1e-4,
                width=20,
            )
            yield {"rule": name}, e


def measure(experiment: Experiment) -> Row:
    """When each mode has half of its strength, and the plateaus."""
    run = train(experiment)
    q, s, rt = np.linalg.svd(experiment.task.data(experiment.seed).moments.cross)  # type: ignore[union-attr]
    subject = run.objective()
    params = [subject.params(np.asarray(state, float))[0] for state in run.trajectory.states]
    strengths = np.array([np.diag(q.T @ np.asarray(p["v"]).T @ np.asarray(p["u"]) @ rt.T) for p in params])
    times = []
    for k in range(len(s)):
        learned = np.flatnonzero(strengths[:, k] >= 0.5 * s[k])
        times.append(float(run.trajectory.flow_time[learned[0]]) if len(learned) else float("nan"))
    return {**counts(stages(run)), "strong": times[0], "weak": times[1], "order": times[1] / times[0]}


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(RULES):
        values = of(rows, "order", rule=name)
        axes.plot([k] * len(values), values, "o", alpha=0.5, color="#1b4965")
    axes.axhline(1.0, color="#888888", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(RULES)), list(RULES), rotation=30)
    axes.set_ylabel("learning time of the weak mode over the strong one's")


def _order(name: str, low: float, high: float, sentence: str) -> Claim:
    return Claim(
        f"rules.{name}.order",
        sentence,
        NAMED,
        "time of the weak mode over that of the strong one",
        low,
        high,
        lambda rows: of(rows, "order", rule=name),
    )


def _stages(name: str, low: float, high: float, sentence: str) -> Claim:
    return Claim(
        f"rules.{name}.stages",
        sentence,
        NAMED,
        "intermediate plateaus",
        low,
        high,
        lambda rows: of(rows, "intermediate", rule=name),
    )


STUDY = Study(
    "rules",
    "Which rules keep the stages, and which the order, of a two-mode linear network",
    design,
    measure,
    (
        _order("flow", 2.5, 3.9, "Gradient flow learns a mode after a time inverse to its singular value (1 : 0.3)."),
        _order("descent", 2.5, 3.9, "Gradient descent likewise."),
        _order("normalised", 1.0, float("inf"), "Normalised descent keeps the order."),
        _order(
            "spectral",
            0.45,
            0.65,
            "Exact spectral descent reverses it: a mode takes a time of sqrt(s), sqrt(0.3) = 0.55.",
        ),
        _order("muon", 0.0, 1.0, "Muon reverses it too, once its five Newton-Schulz steps reach the weak mode."),
        _stages("flow", 0.9, 1.1, "Gradient flow rests between the modes."),
        _stages("descent", 0.9, 1.1, "Gradient descent rests between the modes."),
        _stages("spectral", 0.0, 0.1, "Exact spectral descent rests nowhere between."),
        _stages("sign", 0.0, 0.1, "Sign descent rests nowhere between."),
    ),
    draw,
    quick=4,
    full=20,
)
