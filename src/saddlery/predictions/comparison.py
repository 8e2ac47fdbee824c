"""Prediction and measurement side by side, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..basis.records import html_table, plain, text_table
from ..basis.text import visible
from ..basis.values import Value
from ..plateaus import Stages
from ..plateaus.stage import stages_of
from ..runs import Run
from ..runs.store import Subject
from .base import PredictedStage, Prediction, range_of

# of the smaller neighbouring drop: a plateau whose loss is farther from a predicted one is another
NEAR = 0.25


@dataclass(frozen=True)
class ComparedStage:
    """One predicted stage and what the run did.

    predicted: the stage. seen: whether a plateau of the run has its loss, to a quarter of the
    smaller neighbouring drop, and its effective units. loss, units: of that plateau (of its fixed
    point, where certified); None where none was seen. jump: the flow time at which the run's loss
    was half-way between the predicted losses; None if it never was. error: of the predicted jump,
    relative. inside: whether the measured jump lies within the interval of the prediction.
    """

    predicted: PredictedStage
    seen: bool
    loss: float | None
    units: tuple[int, ...] | None
    jump: float | None
    error: float | None
    inside: bool | None

    def record(self) -> dict[str, object]:
        """JSON form."""
        return {**plain(vars(self)), "predicted": self.predicted.record()}


@dataclass(frozen=True, eq=False)
class Comparison(Value):
    """A prediction beside a run. extra: plateaus of the run that were not predicted."""

    prediction: Prediction
    run: Run
    stages: tuple[ComparedStage, ...]
    extra: int

    def record(self) -> dict[str, object]:
        """JSON form."""
        stages = [stage.record() for stage in self.stages]
        return {
            "experiment": self.run.experiment.name,
            "theory": self.prediction.theory,
            "range": None if self.prediction.range is None else self.prediction.range.record(),
            "stages": stages,
            "extra": self.extra,
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = (
            "units",
            "loss",
            "seen",
            "loss of the run",
            "jump",
            "jump of the run",
            "error",
            "in 90%",
            "range",
        )
        return columns, [_row(stage) for stage in self.stages]

    def __repr__(self) -> str:
        ending = f"; {self.extra} plateaus of the run were not predicted" if self.extra else ""
        head = (
            f"{visible(self.run.experiment.name)}: {self.prediction.theory} beside the run{ending}"
        )
        assumptions = self.prediction.assumptions
        return "\n".join([head, *([assumptions] if assumptions else []), text_table(*self.table())])

    def _repr_html_(self) -> str:
        return html_table(
            *self.table(),
            caption=f"{self.run.experiment.name}: {self.prediction.theory} beside the run",
        )


def _row(stage: ComparedStage) -> list[object]:
    p = stage.predicted
    error = None if stage.error is None else f"{100 * stage.error:+.2f}%"
    inside = None if stage.inside is None else "yes" if stage.inside else "no"
    units = " > ".join(map(str, p.units))
    return [
        units,
        p.loss,
        "yes" if stage.seen else "no",
        stage.loss,
        p.jump,
        stage.jump,
        error,
        inside,
        range_of(p),
    ]


def compare(prediction: Prediction, subject: Stages | Subject) -> Comparison:
    """A prediction beside the stages of a run (certified or not) of the same experiment.

    subject: the stages, a run or its folder, or an experiment, which is trained.

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.predictions import compare, predict
    >>> side_by_side = compare(predict("linear")[0], stages(train("linear")))
    >>> all(stage.seen for stage in side_by_side.stages), abs(side_by_side.stages[1].error) < 0.02
    (True, True)
    """
    found = stages_of(subject)
    losses = [stage.loss for stage in prediction.stages]
    taken, compared = set(), []
    for k, stage in enumerate(prediction.stages):
        match = _plateau(found, stage, _reach(losses, k), taken)
        taken.add(match)
        jump = None if k == 0 else found.run.trajectory.crossing(0.5 * (losses[k - 1] + losses[k]))
        compared.append(_compared(found, stage, match, jump))
    return Comparison(prediction, found.run, tuple(compared), len(found) - len(taken - {None}))


def _compared(
    found: Stages, stage: PredictedStage, match: int | None, jump: float | None
) -> ComparedStage:
    error = None if jump is None or stage.jump is None else stage.jump / jump - 1
    inside = (
        None
        if jump is None or stage.low is None or stage.high is None
        else stage.low <= jump <= stage.high
    )
    if match is None:
        return ComparedStage(stage, False, None, None, jump, error, inside)
    plateau = found[match]
    certificate = plateau.certificate
    loss = certificate.loss if certificate is not None and certificate.certified else plateau.loss
    return ComparedStage(stage, True, loss, _units(found, match), jump, error, inside)


def _units(found: Stages, k: int) -> tuple[int, ...]:
    return tuple(layer.minimal for layer in found[k].effective)


def _reach(losses: list[float], k: int) -> float:
    drops = [abs(a - b) for a, b in pairwise(losses)]
    return NEAR * min(drops[max(k - 1, 0) : k + 1], default=np.inf)


def _plateau(
    found: Stages, stage: PredictedStage, reach: float, taken: set[int | None]
) -> int | None:
    """The plateau nearest in loss among those of the right effective units, if it is near
    enough."""
    able = [k for k in range(len(found)) if k not in taken and _units(found, k) == stage.units]
    best = min(able, key=lambda k: abs(found[k].loss - stage.loss), default=None)
    return best if best is not None and abs(found[best].loss - stage.loss) <= reach else None
