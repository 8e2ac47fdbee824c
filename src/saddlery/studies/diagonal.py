"""Diagonal linear networks: jump times against the limit of Pesme &
Flammarion as the initial scale goes to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..rules import GradientFlow
from ..runs import train
from ..theory import diagonal_jumps
from ..training import Stop
from .base import Claim, Row, Study, of, ratio
from .intervals import Real
from .measures import changed, falls_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

START_SCALES = (1e-2, 1e-4, 1e-8, 1e-16)


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for scale, seed in product(START_SCALES, range(seeds)):
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
    """The mean relative error of the limit's first two jump times, times ln(1/scale)."""
    moments = experiment.task.data(experiment.seed).moments
    assert moments is not None
    jumps = diagonal_jumps(moments.features, moments.cross[0])
    run = train(experiment)
    log = np.log(1 / experiment.initialization.scale)
    errors = []
    for before, jump in list(pairwise(jumps))[:2]:
        half_way = 0.5 * (before.loss + jump.loss)
        time = falls_below(run, half_way)
        errors.append(abs(jump.time * log / time - 1))
    return {"error": float(np.mean(errors))}


def draw(rows: Sequence[Row], axes: Axes) -> None:
    means = [np.nanmean(of(rows, "error", scale=scale)) for scale in START_SCALES]
    small = [1 / np.log(1 / scale) for scale in START_SCALES]
    axes.plot(small, means, "o-")
    axes.set_xlabel("1 / ln(1 / initial scale)")
    axes.set_ylabel("mean relative error of the jump times")


STUDY = Study(
    name="diagonal",
    title="The jump times of diagonal linear networks tend to those of Pesme & Flammarion",
    design=design,
    measure=measure,
    claims=(
        Claim(
            id="diagonal.limit",
            sentence="At scale 1e-16 the limit's jump times are right to within a twentieth.",
            source="Pesme & Flammarion 2023, Theorem 2",
            quantity="mean relative error of the first two jump times",
            low=0.0,
            high=0.05,
            values=lambda rows: of(rows, "error", scale=1e-16),
            kind=Real(least=0.0),
        ),
        Claim(
            id="diagonal.falls",
            sentence="The error falls as the scale does.",
            source="Pesme & Flammarion 2023, Theorem 2",
            quantity="error at scale 1e-16 over that at 1e-4",
            low=0.0,
            high=0.5,
            values=lambda rows: ratio(rows, "error", {"scale": 1e-16}, {"scale": 1e-4}),
            kind=Real(least=0.0),
        ),
    ),
    draw=draw,
    quick=6,
    full=40,
)
