"""Figure 1: six two-layer networks, each from the origin to a saddle of width one to a solution of
width two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..plateaus import certify, mechanism
from ..rules import GradientFlow
from ..runs import train
from ..training import Stop
from .base import Claim, Row, Study, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NETWORKS = ("linear", "linear_conv", "relu", "relu_conv", "linear_attention", "quadratic")
SADDLES = ("strict saddle", "degenerate saddle")


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name in NETWORKS:
        for seed in range(seeds):
            yield {"network": name}, _patient(Experiment.named(name)).replace(seed=seed)


def _patient(experiment: Experiment) -> Experiment:
    """Heads wait for times that vary tenfold between draws: long enough for the slowest, by
    implicit steps."""
    if experiment.name != "linear_attention":
        return experiment
    return experiment.replace(stop=Stop(flow_time=200_000.0), rule=GradientFlow(solver="kvaerno5"))


def measure(experiment: Experiment) -> Row:
    """Whether the certified stages are 0, 1, 2 units, and whether both escapes grew as their units'
    degree says."""
    found = certify(train(experiment))
    widths = [stage.effective_units for stage in found.stages]
    verdicts = [s.certificate.verdict for s in found.stages if s.certificate is not None]
    staircase = (
        widths == [0, 1, 2] and verdicts[-1] == "minimum" and set(verdicts[:-1]) <= set(SADDLES)
    )
    grown = mechanism(found).growths
    levels = [point.loss for point in found.fixed_points]
    return {
        "staircase": float(staircase),
        "mechanism": float(np.mean([g.measured == g.expected for g in grown]))
        if grown
        else float("nan"),
        "levels": [level / levels[0] for level in levels] if levels else [],
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(NETWORKS):
        for row in rows:
            if row["network"] == name:
                axes.plot(
                    [k] * len(row["levels"]),
                    row["levels"],
                    "o",
                    color="C0",
                    alpha=0.4,
                    markersize=5,
                )
    axes.set_xticks(range(len(NETWORKS)), [n.replace("_", "\n") for n in NETWORKS], fontsize=7)
    axes.set_ylabel("losses of the fixed points, of the first")


def _claim(name: str) -> tuple[Claim, Claim]:
    source = "Zhang, Saxe & Latham 2026, Figure 1"
    return (
        Claim(
            f"figure1.{name}.staircase",
            (
                f"The {name} network rests at the origin, at a saddle of effective width one, and "
                "ends at a minimum of width two."
            ),
            source,
            "share of seeds with exactly these certified fixed points",
            0.9,
            1.0,
            lambda rows: of(rows, "staircase", network=name),
            kind=Share(),
        ),
        Claim(
            f"figure1.{name}.mechanism",
            (
                f"Weights of the {name} network grow by directions or by units as the "
                "leading degree of a unit says."
            ),
            "Zhang, Saxe & Latham 2026, Section 5",
            "share of escapes with the expected mechanism",
            0.9,
            1.0,
            lambda rows: of(rows, "mechanism", network=name),
            kind=Share(),
        ),
    )


STUDY = Study(
    "figure1",
    "Six networks learn two units one after the other",
    design,
    measure,
    tuple(claim for name in NETWORKS for claim in _claim(name)),
    draw,
    quick=3,
    full=160,
)
