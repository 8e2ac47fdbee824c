"""Alternating gradient flows against gradient flow, as the initial scale goes to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..plateaus import stages
from ..predictions import compare, predict
from ..rules import GradientFlow, Rule
from ..runs import train
from ..training import Stop
from .base import Claim, Row, Study, of, slopes
from .intervals import Real, Share
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCE = "Kunin et al. 2025, Section 3"
# From 1e-3 the plateaus of ReLU units are not yet apart (seen on one seed before the criteria of
# the times were tried).
LOGARITHMIC, POWERS = ("linear", "relu"), ("quadratic", "linear_attention")
SCALES = {"log": (1e-4, 1e-8, 1e-16), "power": (3e-3, 1e-3, 3e-4, 1e-4)}
SLOWEST = {
    "linear": 0.4,
    "relu": 0.3,
    "quadratic": 1 / 6,
    "linear_attention": 0.01,
}  # rate of the last jump, roughly


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name in (*LOGARITHMIC, *POWERS):
        for scale in SCALES["log" if name in LOGARITHMIC else "power"]:
            for seed in range(seeds):
                e = changed(
                    name,
                    seed=seed,
                    scale=scale,
                    rule=_rule(name),
                    stop=Stop(flow_time=_duration(name, scale)),
                )
                yield {"network": name, "scale": scale}, e


def _rule(name: str) -> Rule:
    return GradientFlow(1e-8) if name in LOGARITHMIC else GradientFlow(1e-8, solver="kvaerno5")


def _duration(name: str, scale: float) -> float:
    """Of a run: plateaus last as ln(1/scale) for units of degree one, as 1/scale for those of
    degree two."""
    waits = np.log(1 / scale) + 10 if name in LOGARITHMIC else 6 / scale
    return float(waits / SLOWEST[name])


def measure(experiment: Experiment) -> Row:
    """The mean relative error of the jump times, the largest error of a plateau's loss (of the
    first), whether all were seen, and ln(1/scale)."""
    (limit,) = predict(experiment, theory="alternating gradient flows")
    found = compare(limit, stages(train(experiment)))
    errors = [abs(stage.error) for stage in found.stages if stage.error is not None]
    first = found.stages[0].predicted.loss
    losses = [
        abs(stage.loss - stage.predicted.loss) / first
        for stage in found.stages
        if stage.loss is not None
    ]
    return {
        "error": float(np.mean(errors)) if errors else float("nan"),
        "losses": float(np.max(losses, initial=0.0)),
        "seen": float(np.mean([stage.seen for stage in found.stages])),
        "log": float(np.log(1 / experiment.initialization.scale)),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for name in (*LOGARITHMIC, *POWERS):
        scales = SCALES["log" if name in LOGARITHMIC else "power"]
        means = [np.nanmean(of(rows, "error", network=name, scale=scale)) for scale in scales]
        axes.loglog(scales, means, "o-", label=name)
    axes.set_xlabel("initial scale")
    axes.set_ylabel("mean relative error of the jump times")
    axes.legend(frameon=False)


def _claims(name: str) -> Iterator[Claim]:
    smallest = SCALES["log" if name in LOGARITHMIC else "power"][-1]
    yield Claim(
        f"agf.{name}.stages",
        f"From small weights the {name} network rests where alternating gradient flows rest.",
        SOURCE,
        f"share of predicted rests that are plateaus of the run, at scale {smallest:g}",
        0.95,
        1.0,
        lambda rows: of(rows, "seen", network=name, scale=smallest),
        kind=Share(),
    )
    if name in LOGARITHMIC:
        yield Claim(
            f"agf.{name}.times",
            f"In the {name} network the error of the jump times falls as 1 / ln(1/scale).",
            SOURCE + "; the rate is derived here",
            "exponent of the error in ln(1/scale)",
            -1.3,
            -0.7,
            lambda rows: slopes(rows, "error", "log", network=name),
            kind=Real(),
        )
    else:
        yield Claim(
            f"agf.{name}.times",
            f"In the {name} network the error of the jump times falls as a power of the scale.",
            SOURCE + "; that it is a power is derived here",
            "exponent of the error in the scale",
            0.5,
            float("inf"),
            lambda rows: slopes(rows, "error", "scale", network=name),
            kind=Real(),
        )


STUDY = Study(
    "agf",
    "Gradient flow tends to alternating gradient flows as the initial scale goes to zero",
    design,
    measure,
    tuple(claim for name in (*LOGARITHMIC, *POWERS) for claim in _claims(name)),
    draw,
    quick=3,
    full=80,
)
