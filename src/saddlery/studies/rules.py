"""Learning rules: do the stages survive, and the order in which modes are learned?"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..initializations.linear import factors
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
    SchattenDescent,
    SignDescent,
    SpectralDescent,
)
from ..runs import train
from ..tasks import LinearTeacher
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of, ratio
from .intervals import Count, Kind, Real
from .measures import changed, counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRENGTHS, TINY = (1.0, 0.3), (1.0, 1e-5)
RULES = {
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
DEEP = {
    "flow": (GradientFlow(), 400.0),
    "normalised": (NormalisedDescent(1e-3), 10.0),
    "spectral": (SpectralDescent(1e-3), 3.0),
    "muon": (Muon(1e-3), 6.0),
}
SMALL = {"spectral": (SpectralDescent(1e-4), 1.0), "muon": (Muon(1e-4), 3.0)}
NAMED = "known for deep linear networks; derived"


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    """Two layers, three layers ("deep"), and two layers with a mode of a strength of 1e-5
    ("tiny")."""
    layers = Layer(make("linear"), 20)
    two, three = Network((layers,)), Network((replace(layers, mixes=False), layers))
    cases = {
        "two": (two, STRENGTHS, 1e-4, RULES),
        "deep": (three, STRENGTHS, 1e-2, DEEP),
        "tiny": (two, TINY, 1e-7, SMALL),
    }
    for case, (network, strengths, scale, rules) in cases.items():
        for name, (rule, time) in rules.items():
            for seed in range(seeds):
                e = changed(
                    "linear",
                    task=LinearTeacher(strengths),
                    network=network,
                    rule=rule,
                    seed=seed,
                    scale=scale,
                )
                yield {"case": case, "rule": name}, e.replace(stop=Stop(flow_time=time))


def measure(experiment: Experiment) -> Row:
    """When each mode has half of its strength, their order, and the plateaus."""
    run = train(experiment)
    q, s, rt = np.linalg.svd(experiment.task.data(experiment.seed).moments.cross)  # type: ignore[union-attr]
    network, subject = experiment.network, run.objective()
    products = [
        _product(network, subject.params(np.asarray(state, float)))
        for state in run.trajectory.states
    ]
    strengths = np.array([np.diag(q.T @ product @ rt.T) for product in products])
    times = []
    for k in range(len(s)):
        learned = np.flatnonzero(strengths[:, k] >= 0.5 * s[k])
        times.append(float(run.trajectory.flow_time[learned[0]]) if len(learned) else float("nan"))
    return {
        **counts(stages(run)),
        "strong": times[0],
        "weak": times[1],
        "order": times[1] / times[0],
    }


def _product(network: Network, params: Params) -> np.ndarray:
    """W_L ... W_1."""
    return functools.reduce(lambda done, w: w @ done, factors(network, params))


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(RULES):
        values = of(rows, "order", rule=name, case="two")
        axes.plot([k] * len(values), values, "o", alpha=0.5, color="C0")
    axes.axhline(1.0, color=MUTED, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(RULES)), list(RULES), rotation=30)
    axes.set_ylabel("learning time of the weak mode over the strong one's")


def _claim(
    slug: str,
    quantity: str,
    words: str,
    kind: Kind,
    low: float,
    high: float,
    sentence: str,
    **labels: str,
) -> Claim:
    values = lambda rows: of(rows, quantity, **labels)
    return Claim(f"rules.{slug}", sentence, NAMED, words, low, high, values, kind)


def _order(rule: str, low: float, high: float, sentence: str, case: str = "two") -> Claim:
    slug = f"{rule}.order" if case == "two" else f"{case}.{rule}.order"
    words = "time of the weak mode over that of the strong one"
    return _claim(slug, "order", words, Real(least=0.0), low, high, sentence, rule=rule, case=case)


def _stages(rule: str, low: float, high: float, sentence: str, case: str = "two") -> Claim:
    slug = f"{rule}.stages" if case == "two" else f"{case}.{rule}.stages"
    return _claim(
        slug,
        "intermediate",
        "intermediate plateaus",
        Count(),
        low,
        high,
        sentence,
        rule=rule,
        case=case,
    )


def _notes(rows: Sequence[Row]) -> list[str]:
    """What survives each rule, in a sentence a rule: no criterion, the answer to the question."""
    said = []
    for name in RULES:
        order, between = (
            of(rows, quantity, rule=name, case="two") for quantity in ("order", "intermediate")
        )
        if len(order):
            said.append(
                f"{name}: the weak mode after {np.nanmean(order):.2f} of the strong one's time, "
                f"{np.mean(between):.2g} plateaus between on average"
            )
    return said


INF = float("inf")
STUDY = Study(
    "rules",
    "Which rules keep the stages, and which the order, of a two-mode linear network",
    design,
    measure,
    (
        _order(
            "flow",
            2.5,
            3.9,
            "Gradient flow learns a mode after a time inverse to its singular value (1 : 0.3).",
        ),
        _order("descent", 2.5, 3.9, "Gradient descent likewise."),
        _order("stochastic", 2.5, 3.9, "Stochastic gradient descent likewise."),
        _order("momentum", 1.0, INF, "Heavy-ball momentum keeps the order."),
        _order("normalised", 1.0, INF, "Normalised descent keeps the order."),
        _order(
            "spectral",
            0.45,
            0.65,
            "Exact spectral descent reverses it: a mode takes a time of sqrt(s), sqrt(0.3) = 0.55.",
        ),
        _order(
            "muon",
            0.0,
            1.0,
            "Muon reverses it too, once its five Newton-Schulz steps reach the weak mode.",
        ),
        _stages("flow", 0.9, 1.1, "Gradient flow rests between the modes."),
        _stages("descent", 0.9, 1.1, "Gradient descent rests between the modes."),
        _stages("stochastic", 0.9, 1.1, "Stochastic gradient descent rests between the modes."),
        _stages("spectral", 0.0, 0.1, "Exact spectral descent rests nowhere between."),
        _stages("sign", 0.0, 0.1, "Sign descent rests nowhere between."),
        _order(
            "flow",
            2.5,
            3.9,
            "Three layers: gradient flow learns a mode after a time inverse to its s.",
            "deep",
        ),
        _order("normalised", 1.0, INF, "Three layers: normalised descent keeps the order.", "deep"),
        _order(
            "spectral",
            0.57,
            0.77,
            (
                "Three layers: exact spectral descent reverses it, a mode takes a time of "
                "s^(1/3), 0.3^(1/3) = 0.67."
            ),
            "deep",
        ),
        _stages("flow", 0.9, 1.1, "Three layers: gradient flow rests between the modes.", "deep"),
        _stages(
            "spectral",
            0.0,
            0.1,
            "Three layers: exact spectral descent rests nowhere between.",
            "deep",
        ),
        Claim(
            "rules.tiny.muon",
            "Five Newton-Schulz steps do not equalise a mode whose relative gradient is 1e-5.",
            NAMED,
            "time of that mode under Muon over that under exact spectral descent",
            10.0,
            INF,
            lambda rows: ratio(
                rows, "weak", {"rule": "muon", "case": "tiny"}, {"rule": "spectral", "case": "tiny"}
            ),
            kind=Real(least=0.0),
        ),
        Claim(
            "rules.two.muon",
            "They do equalise one of 0.3.",
            NAMED,
            "time of that mode under Muon over that under exact spectral descent",
            0.5,
            2.0,
            lambda rows: ratio(
                rows, "weak", {"rule": "muon", "case": "two"}, {"rule": "spectral", "case": "two"}
            ),
            kind=Real(least=0.0),
        ),
    ),
    draw,
    quick=3,
    full=40,
    notes=_notes,
)
