"""Figure 1: six two-layer networks, each from the origin to a saddle of
width one to a solution of width two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..plateaus import Stages, certify, mechanism
from ..rules import GradientFlow
from ..runs import train
from ..training import Stop
from .base import Claim, Row, Study, labelled, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TWO_LAYERS = (
    "linear",
    "linear_conv",
    "relu",
    "relu_conv",
    "linear_attention",
    "quadratic",
)
SADDLES = ("strict saddle", "degenerate saddle")


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, seed in product(TWO_LAYERS, range(seeds)):
        e = _patient(Experiment.named(name))
        yield {"network": name}, e.replace(seed=seed)


def _patient(experiment: Experiment) -> Experiment:
    """Heads wait for times that vary tenfold between draws: long enough for
    the slowest, by implicit steps."""
    if experiment.name != "linear_attention":
        return experiment
    return experiment.replace(
        stop=Stop(flow_time=200_000.0),
        rule=GradientFlow(solver="kvaerno5"),
    )


def measure(experiment: Experiment) -> Row:
    """Whether the certified stages are 0, 1, 2 units, and whether both
    escapes grew as their units' degree says."""
    found = certify(train(experiment))
    widths = [stage.effective_units for stage in found.stages]
    certificates = [stage.certificate for stage in found.stages if stage.certificate is not None]
    verdicts = [certificate.verdict for certificate in certificates]
    staircase = (
        widths == [0, 1, 2]
        and verdicts[-1] == "minimum"
        and all(verdict in SADDLES for verdict in verdicts[:-1])
    )
    losses = [point.loss for point in found.fixed_points]
    return {
        "staircase": float(staircase),
        "mechanism": share_as_expected(found),
        "levels": [loss / losses[0] for loss in losses],
    }


def share_as_expected(found: Stages) -> float:
    """The share of layers and escapes whose weights grew as the units'
    degree says; NaN of none."""
    grown = mechanism(found).growths
    if not grown:
        return float("nan")
    return float(np.mean([g.measured == g.expected for g in grown]))


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(TWO_LAYERS):
        for row in labelled(rows, network=name):
            levels = row["levels"]
            places = [k] * len(levels)
            axes.plot(
                places,
                levels,
                "o",
                color="C0",
                alpha=0.4,
                markersize=5,
            )
    names = [name.replace("_", "\n") for name in TWO_LAYERS]
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_ylabel("losses of the fixed points, of the first")


def _claim(name: str) -> tuple[Claim, Claim]:
    source = "Zhang, Saxe & Latham 2026, Figure 1"
    return (
        Claim(
            id=f"figure1.{name}.staircase",
            sentence=(
                f"The {name} network rests at the origin, at a saddle of effective width one, and "
                "ends at a minimum of width two."
            ),
            source=source,
            quantity="share of seeds with exactly these certified fixed points",
            low=0.9,
            high=1.0,
            values=lambda rows: of(rows, "staircase", network=name),
            kind=Share(),
        ),
        Claim(
            id=f"figure1.{name}.mechanism",
            sentence=(
                f"Weights of the {name} network grow by directions or by units as the "
                "leading degree of a unit says."
            ),
            source="Zhang, Saxe & Latham 2026, Section 5",
            quantity="share of escapes with the expected mechanism",
            low=0.9,
            high=1.0,
            values=lambda rows: of(rows, "mechanism", network=name),
            kind=Share(),
        ),
    )


STUDY = Study(
    name="figure1",
    title="Six networks learn two units one after the other",
    design=design,
    measure=measure,
    claims=tuple(claim for name in TWO_LAYERS for claim in _claim(name)),
    draw=draw,
    quick=3,
    full=160,
)
