"""Prediction and measurement side by side, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.pictures import Pictured
from ..basis.records import Printed, Result, plain
from ..basis.tolerances import Tolerances, chosen
from ..doors import labels
from ..plateaus import Stages
from ..plateaus.stage import stages_of
from ..runs import Run
from ..runs.store import Subject
from .base import PredictedStage, Prediction, chain, range_of, transposed

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class ComparisonTolerances(Tolerances, decides="comparison"):
    """When a plateau of a run is the predicted one."""

    loss: float = chosen(
        0.25,
        "difference of the two losses, of the smaller neighbouring drop",
        "a judgement: half of what would make the next stage as near",
        most=0.5,
    )


# Columns of the printed table.
COLUMNS = (
    "units",
    "loss",
    "seen",
    "loss of the run",
    "jump",
    "jump of the run",
    "error",
    "within 90% of draws",
    "range",
)


@dataclass(frozen=True, repr=False)
class ComparedStage(Result):
    """One predicted stage and what the run did.

    predicted: the stage.
    seen: whether a plateau of the run has its loss, to a quarter of the
        smaller neighbouring drop, and its effective units.
    loss, units: of that plateau (of its fixed point, where certified); None
        where none was seen.
    jump: the flow time at which the run's loss was half-way between the
        predicted losses; None if it never was.
    error: of the predicted jump, relative: predicted / measured - 1.
    inside: whether the measured jump lies within the interval of the prediction.
    """

    predicted: PredictedStage
    seen: bool
    loss: float | None
    units: tuple[int, ...] | None
    jump: float | None
    error: float | None
    inside: bool | None

    def printed(self) -> Printed:
        rows = zip(COLUMNS, _row(self), strict=True)
        return Printed(("compared stage", ""), list(rows))

    def columns(self) -> dict[str, Any]:
        """By the names of the schema."""
        return {
            **self.predicted.columns(),
            "seen": self.seen,
            "run_loss": self.loss,
            "run_units": None if self.units is None else sum(self.units),
            "run_jump": self.jump,
            "error": self.error,
            "inside": self.inside,
        }

    def record(self) -> dict[str, object]:
        """JSON form."""
        return {**plain(vars(self)), "predicted": self.predicted.record()}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Pictured, Result):
    """A prediction beside a run.

    stages: one for each predicted stage.
    extra: plateaus of the run that were not predicted.
    """

    prediction: Prediction
    run: Run
    stages: tuple[ComparedStage, ...]
    extra: int

    def record(self) -> dict[str, object]:
        """JSON form."""
        worst = self.prediction.range
        return {
            "experiment": self.run.experiment.name,
            "theory": self.prediction.theory,
            "range": None if worst is None else worst.record(),
            "stages": [stage.record() for stage in self.stages],
            "extra": self.extra,
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        return COLUMNS, [_row(stage) for stage in self.stages]

    def printed(self) -> Printed:
        title = f"{self.run.experiment.name}: {self.prediction.theory} beside the run"
        if self.extra:
            title += f"; {self.extra} plateaus of the run were not predicted"
        head = [title, self.prediction.assumptions]
        return Printed(*self.table(), head=[line for line in head if line])

    def to_dataframe(self) -> pd.DataFrame:
        """A row a predicted stage, by the names of
        `schema.LABELS["comparison"]`. Needs pandas."""
        return labels.frame("comparison", self._columns(), self._about())

    def to_xarray(self) -> xr.Dataset:
        """The same along `stage`. Needs xarray."""
        return labels.dataset({"comparison": self._columns()}, self._about())

    def _columns(self) -> dict[str, list[Any]]:
        return transposed([stage.columns() for stage in self.stages])

    def _about(self) -> dict[str, Any]:
        theory = self.prediction.theory
        return {**self.run.about(), "theory": theory, "extra": self.extra}


def _row(stage: ComparedStage) -> list[object]:
    expected = stage.predicted
    error = None
    if stage.error is not None:
        error = f"{100 * stage.error:+.2f}%"
    return [
        chain(expected.units),
        expected.loss,
        _yes_or_no(stage.seen),
        stage.loss,
        expected.jump,
        stage.jump,
        error,
        None if stage.inside is None else _yes_or_no(stage.inside),
        range_of(expected),
    ]


def _yes_or_no(holds: bool) -> str:
    return "yes" if holds else "no"


def compare(prediction: Prediction, subject: Stages | Subject) -> Comparison:
    """A prediction beside the stages of a run (certified or not) of the same
    experiment.

    subject: the stages, a run or its folder, or an experiment, which is trained.

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.predictions import compare, predict
    >>> side_by_side = compare(predict("linear")[0], stages(train("linear")))
    >>> all(stage.seen for stage in side_by_side.stages)
    True
    >>> abs(side_by_side.stages[1].error) < 0.02
    True
    """
    found = stages_of(subject)
    losses = [stage.loss for stage in prediction.stages]
    taken: set[int | None] = set()
    compared = []
    for k, stage in enumerate(prediction.stages):
        match = _plateau(found, stage, _reach(losses, k), taken)
        taken.add(match)
        compared.append(_compared(found, stage, match, _jump(found, losses, k)))
    extra = len(found) - len(taken - {None})
    return Comparison(prediction, found.run, tuple(compared), extra)


def _jump(found: Stages, losses: list[float], k: int) -> float | None:
    """When the loss of the run is half-way to predicted stage k."""
    if k == 0:
        return None
    half_way = 0.5 * (losses[k - 1] + losses[k])
    return found.run.trajectory.crossing(half_way)


def _compared(
    found: Stages,
    stage: PredictedStage,
    match: int | None,
    jump: float | None,
) -> ComparedStage:
    loss, units, error, inside = None, None, None, None
    if match is not None:
        plateau = found[match]
        known = plateau if plateau.fixed_point is None else plateau.fixed_point
        loss, units = known.loss, _units(found, match)
    if jump is not None and stage.jump is not None:
        error = stage.jump / jump - 1
    if jump is not None and stage.low is not None and stage.high is not None:
        inside = stage.low <= jump <= stage.high
    return ComparedStage(
        predicted=stage,
        seen=match is not None,
        loss=loss,
        units=units,
        jump=jump,
        error=error,
        inside=inside,
    )


def _units(found: Stages, k: int) -> tuple[int, ...]:
    return tuple(layer.minimal for layer in found[k].effective)


def _reach(losses: list[float], k: int) -> float:
    """How far from its predicted loss stage k is looked for."""
    drops = [abs(a - b) for a, b in pairwise(losses)]
    beside = drops[max(k - 1, 0) : k + 1]
    return ComparisonTolerances.now().loss * min(beside, default=np.inf)


def _plateau(
    found: Stages,
    stage: PredictedStage,
    reach: float,
    taken: set[int | None],
) -> int | None:
    """The plateau nearest in loss among those of the right effective units, if
    it is near enough."""

    def away(k: int) -> float:
        return abs(found[k].loss - stage.loss)

    free = [k for k in range(len(found)) if k not in taken]
    able = [k for k in free if _units(found, k) == stage.units]
    if not able:
        return None
    best = min(able, key=away)
    return best if away(best) <= reach else None
