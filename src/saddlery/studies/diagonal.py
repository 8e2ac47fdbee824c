"""Diagonal linear networks: jump times against the limit of Pesme & Flammarion as the initial scale
goes to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..rules import GradientFlow
from ..runs import train
from ..theory import diagonal_jumps
from ..training import Stop
from .base import Claim, Row, Study, of
from .intervals import Real
from .measures import changed, falls_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCALES = (1e-2, 1e-4, 1e-8, 1e-16)


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for scale in SCALES:
        for seed in range(seeds):
            time = 12 * np.log(1 / scale)
            e = changed(
                "diagonal",
                seed=seed,
                scale=scale,
                rule=GradientFlow(1e-8),
                stop=Stop(flow_time=float(time)),
            )
            yield {"scale": scale}, e


def measure(experiment: Experiment) -> Row:
    """The relative error of the limit's first two jump times, times ln(1/scale); the first losses
    of the saddles."""
    moments = experiment.task.data(experiment.seed).moments
    assert moments is not None
    jumps = diagonal_jumps(moments.features, moments.cross[0])
    run = train(experiment)
    log = np.log(1 / experiment.initialization.scale)
    levels = [0.5 * (a.loss + b.loss) for a, b in pairwise(jumps)]
    times = [falls_below(run, level) for level in levels[:2]]
    errors = [abs(jump.time * log / t - 1) for jump, t in zip(jumps[1:], times, strict=False)]
    return {"error": float(np.mean(errors))}


def draw(rows: Sequence[Row], axes: Axes) -> None:
    means = [np.nanmean(of(rows, "error", scale=s)) for s in SCALES]
    axes.plot([1 / np.log(1 / s) for s in SCALES], means, "o-")
    axes.set_xlabel("1 / ln(1 / initial scale)")
    axes.set_ylabel("mean relative error of the jump times")


STUDY = Study(
    "diagonal",
    "The jump times of diagonal linear networks tend to those of Pesme & Flammarion",
    design,
    measure,
    (
        Claim(
            "diagonal.limit",
            "At scale 1e-16 the limit's jump times are right to within a twentieth.",
            "Pesme & Flammarion 2023, Theorem 2",
            "mean relative error of the first two jump times",
            0.0,
            0.05,
            lambda rows: of(rows, "error", scale=1e-16),
            kind=Real(least=0.0),
        ),
        Claim(
            "diagonal.falls",
            "The error falls as the scale does.",
            "Pesme & Flammarion 2023, Theorem 2",
            "error at scale 1e-16 over that at 1e-4",
            0.0,
            0.5,
            lambda rows: of(rows, "error", scale=1e-16) / of(rows, "error", scale=1e-4),
            kind=Real(least=0.0),
        ),
    ),
    draw,
    quick=6,
    full=40,
)
