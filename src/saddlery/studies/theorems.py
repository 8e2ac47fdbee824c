"""Theorem 4 and Proposition 5: how small the rest is when the first
direction, or the first unit, is of order one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..experiments import Experiment
from ..runs import Run, train
from ..tasks import LinearTeacher
from ..training import Stop
from .base import Claim, Row, Study, of, slopes
from .intervals import Real
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRENGTH_RATIOS = (0.25, 0.5, 0.75)  # strength of the second mode over that of the first, s_2 / s_1
START_SCALES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


# Networks that grow unit by unit.
BY_UNITS = ("quadratic", "linear_attention")
Layers = dict[str, Any]  # the sides u and v of a layer's units


def _at_half(run: Run, after: float) -> Layers:
    """The parameters when the loss is half-way down to that of the next saddle."""
    loss = run.trajectory.loss
    below = loss <= 0.5 * (loss[0] + after)
    first = int(np.flatnonzero(below)[0])
    return _params(run, first)


def _params(run: Run, k: int) -> Layers:
    """The parameters of the only layer at a saved point."""
    state = np.asarray(run.trajectory.states[k], float)
    (layer,) = run.objective().params(state)
    return layer


def _geometric_mean(values: np.ndarray) -> float:
    return float(np.exp(np.mean(np.log(values))))


def design_directions(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for ratio, scale, seed in product(
        STRENGTH_RATIOS,
        START_SCALES,
        range(seeds),
    ):
        e = changed(
            "linear",
            task=LinearTeacher((1.0, ratio)),
            seed=seed,
            scale=scale,
            width=20,
        )
        yield {"ratio": ratio, "scale": scale}, e


def measure_directions(experiment: Experiment) -> Row:
    """The largest part of a unit outside the first singular pair."""
    moments = experiment.task.data(experiment.seed).moments
    assert moments is not None
    q, s, rt = np.linalg.svd(moments.cross)
    # The loss of the saddle that has learned the first pair: half the square of the other's value.
    params = _at_half(train(experiment), 0.5 * float(s[1] ** 2))
    stacked = np.hstack([np.asarray(params["u"]), np.asarray(params["v"])])
    leading = np.concatenate([rt[0], q[:, 0]]) / np.sqrt(2)
    rest = stacked - np.outer(stacked @ leading, leading)
    return {"rest": float(np.linalg.norm(rest, axis=1).max())}


def draw_directions(rows: Sequence[Row], axes: Axes) -> None:
    for ratio in STRENGTH_RATIOS:
        means = []
        for scale in START_SCALES:
            rest = of(rows, "rest", ratio=ratio, scale=scale)
            means.append(_geometric_mean(rest))
        axes.loglog(START_SCALES, means, "o-", label=f"s2/s1 = {ratio:g}")
    axes.set_xlabel("initial scale")
    axes.set_ylabel("part of the weights off the first direction")
    axes.legend(frameon=False)


THEOREM4 = Study(
    name="theorem4",
    title="When the leading direction is of order one, the rest is of order scale^(1 - s2/s1)",
    design=design_directions,
    measure=measure_directions,
    claims=tuple(
        Claim(
            id=f"theorem4.{ratio:g}",
            sentence=(
                f"With s2/s1 = {ratio:g} the part off the leading direction falls with the initial "
                f"scale to the power {1 - ratio:g}."
            ),
            source="Zhang, Saxe & Latham 2026, Theorem 4",
            quantity="exponent over scales 1e-3 to 1e-7",
            low=1 - ratio - 0.03,
            high=1 - ratio + 0.03,
            values=lambda rows, ratio=ratio: slopes(
                rows,
                "rest",
                "scale",
                ratio=ratio,
            ),
            kind=Real(),
        )
        for ratio in STRENGTH_RATIOS
    ),
    draw=draw_directions,
    quick=4,
    full=20,
)


def design_units(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, scale, seed in product(
        BY_UNITS,
        START_SCALES[:4],
        range(seeds),
    ):
        e = changed(name, seed=seed, scale=scale)
        # Units of degree two wait as 1/scale; the shipped experiments start from 1e-3.
        usual = e.stop.flow_time or 0.0
        stop = Stop(
            flow_time=4 * usual * 1e-3 / scale,
            loss=0.9 * _origin(e),
        )
        yield {"network": name, "scale": scale}, e.replace(stop=stop)


def _origin(experiment: Experiment) -> float:
    subject = experiment.objective()
    return float(subject.loss(np.zeros(subject.size)))


def measure_units(experiment: Experiment) -> Row:
    """The norm of the second largest unit when a tenth of the loss has gone."""
    params = _params(train(experiment), -1)
    sides = []
    for name in ("u", "v"):
        side = np.asarray(params[name])
        sides.append(side.reshape(len(side), -1))
    norms = np.sort(np.linalg.norm(np.hstack(sides), axis=1))
    return {"rest": float(norms[-2]), "largest": float(norms[-1])}


def draw_units(rows: Sequence[Row], axes: Axes) -> None:
    for name in BY_UNITS:
        scales = sorted({row["scale"] for row in rows})
        means = []
        for scale in scales:
            rest = of(rows, "rest", network=name, scale=scale)
            means.append(_geometric_mean(rest))
        axes.loglog(scales, means, "o-", label=name)
    axes.set_xlabel("initial scale")
    axes.set_ylabel("norm of the second largest unit")
    axes.legend(frameon=False)


PROPOSITION5 = Study(
    name="proposition5",
    title="When one unit is of order one, all others are of order scale",
    design=design_units,
    measure=measure_units,
    claims=tuple(
        Claim(
            id=f"proposition5.{name}",
            sentence=(
                f"In the {name} network the second largest unit falls in proportion "
                "to the initial scale."
            ),
            source="Zhang, Saxe & Latham 2026, Proposition 5",
            quantity="exponent over scales 1e-3 to 1e-6",
            low=0.9,
            high=1.1,
            values=lambda rows, name=name: slopes(
                rows,
                "rest",
                "scale",
                network=name,
            ),
            kind=Real(),
        )
        for name in BY_UNITS
    ),
    draw=draw_units,
    quick=4,
    full=20,
)
