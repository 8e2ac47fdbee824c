"""Alternating gradient flows against gradient flow, as the initial scale goes to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
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
# Networks by how long their plateaus last: as ln(1/scale), units of degree one, and as
# 1/scale, units of degree two.
LOGARITHMIC = ("linear", "relu")
POWERS = ("quadratic", "linear_attention")
# From 1e-3 the plateaus of ReLU units are not yet apart (seen on one seed before the criteria of
# the times were tried).
SCALES_OF_DEGREE_ONE = (1e-4, 1e-8, 1e-16)
SCALES_OF_DEGREE_TWO = (3e-3, 1e-3, 3e-4, 1e-4)
# Rate of the last jump of each network, roughly.
SLOWEST = {
    "linear": 0.4,
    "relu": 0.3,
    "quadratic": 1 / 6,
    "linear_attention": 0.01,
}


def scales_of(name: str) -> tuple[float, ...]:
    """The initial scales at which a network is looked at, falling."""
    if name in LOGARITHMIC:
        return SCALES_OF_DEGREE_ONE
    return SCALES_OF_DEGREE_TWO


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name in (*LOGARITHMIC, *POWERS):
        for scale, seed in product(scales_of(name), range(seeds)):
            e = changed(
                name,
                seed=seed,
                scale=scale,
                rule=_rule(name),
                stop=Stop(flow_time=_duration(name, scale)),
            )
            yield {"network": name, "scale": scale}, e


def _rule(name: str) -> Rule:
    if name in LOGARITHMIC:
        return GradientFlow(1e-8)
    return GradientFlow(1e-8, solver="kvaerno5")


def _duration(name: str, scale: float) -> float:
    """Of a run: plateaus last as ln(1/scale) for units of degree one, as
    1/scale for those of degree two."""
    waits = 6 / scale
    if name in LOGARITHMIC:
        waits = np.log(1 / scale) + 10
    return float(waits / SLOWEST[name])


def measure(experiment: Experiment) -> Row:
    """The mean relative error of the jump times, the largest error of a
    plateau's loss (of the first), whether all were seen, and ln(1/scale)."""
    (limit,) = predict(experiment, theory="alternating gradient flows")
    found = compare(limit, stages(train(experiment)))
    first = found.stages[0].predicted.loss
    errors, losses = [], []
    for stage in found.stages:
        if stage.error is not None:
            errors.append(abs(stage.error))
        if stage.loss is not None:
            losses.append(abs(stage.loss - stage.predicted.loss) / first)
    scale = experiment.initialization.scale
    return {
        "error": float(np.mean(errors)) if errors else float("nan"),
        "losses": float(np.max(losses, initial=0.0)),
        "seen": float(np.mean([stage.seen for stage in found.stages])),
        "log": float(np.log(1 / scale)),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for name in (*LOGARITHMIC, *POWERS):
        scales = scales_of(name)
        means = []
        for scale in scales:
            errors = of(rows, "error", network=name, scale=scale)
            means.append(np.nanmean(errors))
        axes.loglog(scales, means, "o-", label=name)
    axes.set_xlabel("initial scale")
    axes.set_ylabel("mean relative error of the jump times")
    axes.legend(frameon=False)


def _claims(name: str) -> Iterator[Claim]:
    smallest = scales_of(name)[-1]
    yield Claim(
        id=f"agf.{name}.stages",
        sentence=f"From small weights the {name} network rests where"
        " alternating gradient flows rest.",
        source=SOURCE,
        quantity=f"share of predicted rests that are plateaus of the run, at scale {smallest:g}",
        low=0.95,
        high=1.0,
        values=lambda rows: of(
            rows,
            "seen",
            network=name,
            scale=smallest,
        ),
        kind=Share(),
    )
    if name in LOGARITHMIC:
        yield Claim(
            id=f"agf.{name}.times",
            sentence=f"In the {name} network the error of the jump times falls as 1 / ln(1/scale).",
            source=SOURCE + "; the rate is derived here",
            quantity="exponent of the error in ln(1/scale)",
            low=-1.3,
            high=-0.7,
            values=lambda rows: slopes(
                rows,
                "error",
                "log",
                network=name,
            ),
            kind=Real(),
        )
    else:
        yield Claim(
            id=f"agf.{name}.times",
            sentence=f"In the {name} network the error of the jump times falls"
            " as a power of the scale.",
            source=SOURCE + "; that it is a power is derived here",
            quantity="exponent of the error in the scale",
            low=0.5,
            high=float("inf"),
            values=lambda rows: slopes(
                rows,
                "error",
                "scale",
                network=name,
            ),
            kind=Real(),
        )


STUDY = Study(
    name="agf",
    title="Gradient flow tends to alternating gradient flows as the initial scale goes to zero",
    design=design,
    measure=measure,
    claims=tuple(claim for name in (*LOGARITHMIC, *POWERS) for claim in _claims(name)),
    draw=draw,
    quick=3,
    full=80,
)
