"""Learning rules: do the stages survive, and the order in which modes are learned?"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool

from ..experiments import Experiment
from ..initializations.linear_networks import factors
from ..networks import Layer, Network, Params
from ..plateaus import stages
from ..plots.axes import MUTED
from ..rules import (
    Adam,
    GradientDescent,
    GradientFlow,
    Momentum,
    Muon,
    NormalisedDescent,
    Rule,
    SchattenDescent,
    SignDescent,
    SpectralDescent,
)
from ..runs import Run, train
from ..tasks import LinearTeacher
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of, ratio
from .intervals import Count, Real
from .measures import changed, counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRENGTHS, FAR_APART = (1.0, 0.3), (1.0, 1e-5)
# By name: a rule, and the flow time (steps times their size) that it takes to learn both modes.
TWO_LAYERS = {
    "flow": (GradientFlow(), 60.0),
    "descent": (GradientDescent(1e-2), 60.0),
    "stochastic": (GradientDescent(1e-2, batch=1), 60.0),
    "momentum": (Momentum(1e-3), 12.0),
    "adam": (Adam(1e-4), 3.0),
    "sign": (SignDescent(1e-4), 3.0),
    "normalised": (NormalisedDescent(1e-3), 10.0),
    "schatten": (SchattenDescent(1e-3, p=4.0), 6.0),
    "spectral": (SpectralDescent(1e-3), 3.0),
    "muon": (Muon(1e-3), 6.0),
}
THREE_LAYERS = {
    "flow": (GradientFlow(), 400.0),
    "normalised": (NormalisedDescent(1e-3), 10.0),
    "spectral": (SpectralDescent(1e-3), 3.0),
    "muon": (Muon(1e-3), 6.0),
}
SMALL_STEPS = {
    "spectral": (SpectralDescent(1e-4), 1.0),
    "muon": (Muon(1e-4), 3.0),
}
NAMED = "known for deep linear networks; derived"


class Case(NamedTuple):
    """A network and what it learns, by which rules."""

    network: Network
    strengths: tuple[float, float]
    scale: float
    rules: Mapping[str, tuple[Rule, float]]


def _cases() -> dict[str, Case]:
    """Two layers, three layers ("deep"), and two layers with a mode of a
    strength of 1e-5 ("tiny")."""
    last = Layer(make("linear"), 20)
    two = Network((last,))
    three = Network((replace(last, mixes=False), last))
    return {
        "two": Case(two, STRENGTHS, 1e-4, TWO_LAYERS),
        "deep": Case(three, STRENGTHS, 1e-2, THREE_LAYERS),
        "tiny": Case(two, FAR_APART, 1e-7, SMALL_STEPS),
    }


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, case in _cases().items():
        for (rule_name, (rule, time)), seed in product(
            case.rules.items(),
            range(seeds),
        ):
            e = changed(
                "linear",
                task=LinearTeacher(case.strengths),
                network=case.network,
                rule=rule,
                seed=seed,
                scale=case.scale,
                stop=Stop(flow_time=time),
            )
            yield {"case": name, "rule": rule_name}, e


def measure(experiment: Experiment) -> Row:
    """When each mode has half of its strength, their order, and the plateaus."""
    run = train(experiment)
    moments = experiment.task.data(experiment.seed).moments
    assert moments is not None
    q, s, rt = np.linalg.svd(moments.cross)
    objective = run.objective()
    strengths = []
    for state in run.trajectory.states:
        params = objective.params(np.asarray(state, float))
        product_of_all = _product(experiment.network, params)
        strengths.append(np.diag(q.T @ product_of_all @ rt.T))
    half = np.array(strengths) >= 0.5 * s
    strong, weak = (_first_time(run, half[:, k]) for k in range(2))
    return {
        **counts(stages(run)),
        "strong": strong,
        "weak": weak,
        "order": weak / strong,
    }


def _first_time(run: Run, when: Bool[np.ndarray, " T"]) -> float:
    there = np.flatnonzero(when)
    if not len(there):
        return float("nan")
    return float(run.trajectory.flow_time[there[0]])


def _product(network: Network, params: Params) -> np.ndarray:
    """W_L ... W_1."""
    return functools.reduce(
        lambda done, w: w @ done,
        factors(network, params),
    )


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(TWO_LAYERS):
        values = of(rows, "order", rule=name, case="two")
        axes.plot([k] * len(values), values, "o", alpha=0.5, color="C0")
    axes.axhline(1.0, color=MUTED, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(TWO_LAYERS)), list(TWO_LAYERS), rotation=30)
    axes.set_ylabel("learning time of the weak mode over the strong one's")


def _slug(rule: str, case: str, quantity: str) -> str:
    if case == "two":
        return f"rules.{rule}.{quantity}"
    return f"rules.{case}.{rule}.{quantity}"


def _order(
    rule: str,
    low: float,
    high: float,
    sentence: str,
    case: str = "two",
) -> Claim:
    return Claim(
        id=_slug(rule, case, "order"),
        sentence=sentence,
        source=NAMED,
        quantity="time of the weak mode over that of the strong one",
        low=low,
        high=high,
        values=lambda rows: of(rows, "order", rule=rule, case=case),
        kind=Real(least=0.0),
    )


def _stages(
    rule: str,
    low: float,
    high: float,
    sentence: str,
    case: str = "two",
) -> Claim:
    return Claim(
        id=_slug(rule, case, "stages"),
        sentence=sentence,
        source=NAMED,
        quantity="intermediate plateaus",
        low=low,
        high=high,
        values=lambda rows: of(
            rows,
            "intermediate",
            rule=rule,
            case=case,
        ),
        kind=Count(),
    )


def _notes(rows: Sequence[Row]) -> list[str]:
    """What survives each rule, in a sentence a rule: no criterion, the
    answer to the question."""
    said = []
    for name in TWO_LAYERS:
        order = of(rows, "order", rule=name, case="two")
        between = of(rows, "intermediate", rule=name, case="two")
        if len(order):
            said.append(
                f"{name}: the weak mode after {np.nanmean(order):.2f} of the strong one's time,"
                f" {np.mean(between):.2g} plateaus between on average"
            )
    return said


INF = float("inf")
STUDY = Study(
    name="rules",
    title="Which rules keep the stages, and which the order, of a two-mode linear network",
    design=design,
    measure=measure,
    claims=(
        _order(
            "flow",
            low=2.5,
            high=3.9,
            sentence="Gradient flow learns a mode after a time inverse"
            " to its singular value (1 : 0.3).",
        ),
        _order(
            "descent",
            low=2.5,
            high=3.9,
            sentence="Gradient descent likewise.",
        ),
        _order(
            "stochastic",
            low=2.5,
            high=3.9,
            sentence="Stochastic gradient descent likewise.",
        ),
        _order(
            "momentum",
            low=1.0,
            high=INF,
            sentence="Heavy-ball momentum keeps the order.",
        ),
        _order(
            "normalised",
            low=1.0,
            high=INF,
            sentence="Normalised descent keeps the order.",
        ),
        _order(
            "spectral",
            low=0.45,
            high=0.65,
            sentence="Exact spectral descent reverses it:"
            " a mode takes a time of sqrt(s), sqrt(0.3) = 0.55.",
        ),
        _order(
            "muon",
            low=0.0,
            high=1.0,
            sentence="Muon reverses it too, once its five Newton-Schulz steps reach the weak mode.",
        ),
        _stages(
            "flow",
            low=0.9,
            high=1.1,
            sentence="Gradient flow rests between the modes.",
        ),
        _stages(
            "descent",
            low=0.9,
            high=1.1,
            sentence="Gradient descent rests between the modes.",
        ),
        _stages(
            "stochastic",
            low=0.9,
            high=1.1,
            sentence="Stochastic gradient descent rests between the modes.",
        ),
        _stages(
            "spectral",
            low=0.0,
            high=0.1,
            sentence="Exact spectral descent rests nowhere between.",
        ),
        _stages(
            "sign",
            low=0.0,
            high=0.1,
            sentence="Sign descent rests nowhere between.",
        ),
        _order(
            "flow",
            low=2.5,
            high=3.9,
            sentence="Three layers: gradient flow learns a mode after a time inverse to its s.",
            case="deep",
        ),
        _order(
            "normalised",
            low=1.0,
            high=INF,
            sentence="Three layers: normalised descent keeps the order.",
            case="deep",
        ),
        _order(
            "spectral",
            low=0.57,
            high=0.77,
            sentence=(
                "Three layers: exact spectral descent reverses it, a mode takes a time of "
                "s^(1/3), 0.3^(1/3) = 0.67."
            ),
            case="deep",
        ),
        _stages(
            "flow",
            low=0.9,
            high=1.1,
            sentence="Three layers: gradient flow rests between the modes.",
            case="deep",
        ),
        _stages(
            "spectral",
            low=0.0,
            high=0.1,
            sentence="Three layers: exact spectral descent rests nowhere between.",
            case="deep",
        ),
        Claim(
            id="rules.tiny.muon",
            sentence="Five Newton-Schulz steps do not equalise"
            " a mode whose relative gradient is 1e-5.",
            source=NAMED,
            quantity="time of that mode under Muon over that under exact spectral descent",
            low=10.0,
            high=INF,
            values=lambda rows: ratio(
                rows,
                "weak",
                above={"rule": "muon", "case": "tiny"},
                below={"rule": "spectral", "case": "tiny"},
            ),
            kind=Real(least=0.0),
        ),
        Claim(
            id="rules.two.muon",
            sentence="They do equalise one of 0.3.",
            source=NAMED,
            quantity="time of that mode under Muon over that under exact spectral descent",
            low=0.5,
            high=2.0,
            values=lambda rows: ratio(
                rows,
                "weak",
                above={"rule": "muon", "case": "two"},
                below={"rule": "spectral", "case": "two"},
            ),
            kind=Real(least=0.0),
        ),
    ),
    draw=draw,
    quick=3,
    full=40,
    notes=_notes,
)
