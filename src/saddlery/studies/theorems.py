"""Theorem 4 and Proposition 5: how small the rest is when the first direction, or the first unit,
is of order one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..runs import Run, train
from ..tasks import LinearTeacher
from .base import Claim, Row, Study, slopes
from .intervals import Real
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATIOS = (0.25, 0.5, 0.75)  # s_2 / s_1
SCALES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


def _at_half(run: Run, after: float) -> tuple[dict, Run]:
    """The parameters when the loss is half-way down to that of the next saddle."""
    loss = run.trajectory.loss
    k = int(np.flatnonzero(loss <= 0.5 * (loss[0] + after))[0])
    return run.objective().params(np.asarray(run.trajectory.states[k], float))[0], run


def design_directions(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for ratio in RATIOS:
        for scale in SCALES:
            for seed in range(seeds):
                e = changed(
                    "linear", task=LinearTeacher((1.0, ratio)), seed=seed, scale=scale, width=20
                )
                yield {"ratio": ratio, "scale": scale}, e


def measure_directions(experiment: Experiment) -> Row:
    """The largest part of a unit outside the first singular pair."""
    q, s, rt = np.linalg.svd(experiment.task.data(experiment.seed).moments.cross)  # type: ignore[union-attr]
    params, _ = _at_half(train(experiment), 0.5 * float(s[1] ** 2))
    stacked = np.hstack([np.asarray(params["u"]), np.asarray(params["v"])])
    leading = np.concatenate([rt[0], q[:, 0]]) / np.sqrt(2)
    rest = stacked - np.outer(stacked @ leading, leading)
    return {"rest": float(np.linalg.norm(rest, axis=1).max())}


def draw_directions(rows: Sequence[Row], axes: Axes) -> None:
    for ratio in RATIOS:
        means = [
            np.exp(
                np.mean([np.log(r["rest"]) for r in rows if (r["ratio"], r["scale"]) == (ratio, s)])
            )
            for s in SCALES
        ]
        axes.loglog(SCALES, means, "o-", label=f"s2/s1 = {ratio:g}")
    axes.set_xlabel("initial scale")
    axes.set_ylabel("part of the weights off the first direction")
    axes.legend(frameon=False)


THEOREM4 = Study(
    "theorem4",
    "When the leading direction is of order one, the rest is of order scale^(1 - s2/s1)",
    design_directions,
    measure_directions,
    tuple(
        Claim(
            f"theorem4.{ratio:g}",
            (
                f"With s2/s1 = {ratio:g} the part off the leading direction falls with the initial "
                f"scale to the power {1 - ratio:g}."
            ),
            "Zhang, Saxe & Latham 2026, Theorem 4",
            "exponent over scales 1e-3 to 1e-7",
            1 - ratio - 0.03,
            1 - ratio + 0.03,
            lambda rows, ratio=ratio: slopes(rows, "rest", "scale", ratio=ratio),
            kind=Real(),
        )
        for ratio in RATIOS
    ),
    draw_directions,
    quick=4,
    full=20,
)


def design_units(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name in ("quadratic", "linear_attention"):
        for scale in SCALES[:4]:
            for seed in range(seeds):
                e = changed(name, seed=seed, scale=scale)
                stop = type(e.stop)(
                    flow_time=4 * (e.stop.flow_time or 0.0) * 1e-3 / scale, loss=0.9 * _origin(e)
                )
                yield {"network": name, "scale": scale}, e.replace(stop=stop)


def _origin(experiment: Experiment) -> float:
    subject = experiment.objective()
    return float(subject.loss(np.zeros(subject.size)))


def measure_units(experiment: Experiment) -> Row:
    """The norm of the second largest unit when a tenth of the loss has gone."""
    run = train(experiment)
    params = run.objective().params(np.asarray(run.trajectory.states[-1], float))[0]
    sides = [np.asarray(params[side]).reshape(len(params[side]), -1) for side in ("u", "v")]
    norms = np.sort(np.linalg.norm(np.hstack(sides), axis=1))
    return {"rest": float(norms[-2]), "largest": float(norms[-1])}


def draw_units(rows: Sequence[Row], axes: Axes) -> None:
    for name in ("quadratic", "linear_attention"):
        scales = sorted({r["scale"] for r in rows})
        means = [
            np.exp(
                np.mean(
                    [np.log(r["rest"]) for r in rows if (r["network"], r["scale"]) == (name, s)]
                )
            )
            for s in scales
        ]
        axes.loglog(scales, means, "o-", label=name)
    axes.set_xlabel("initial scale")
    axes.set_ylabel("norm of the second largest unit")
    axes.legend(frameon=False)


PROPOSITION5 = Study(
    "proposition5",
    "When one unit is of order one, all others are of order scale",
    design_units,
    measure_units,
    tuple(
        Claim(
            f"proposition5.{name}",
            (
                f"In the {name} network the second largest unit falls in proportion "
                "to the initial scale."
            ),
            "Zhang, Saxe & Latham 2026, Proposition 5",
            "exponent over scales 1e-3 to 1e-6",
            0.9,
            1.1,
            lambda rows, name=name: slopes(rows, "rest", "scale", network=name),
            kind=Real(),
        )
        for name in ("quadratic", "linear_attention")
    ),
    draw_units,
    quick=4,
    full=20,
)
