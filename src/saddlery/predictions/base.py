"""A prediction: the stages that theory expects of an experiment, before it is run.

A theory is a function from an experiment to a `Prediction`; it raises `DoesNotApply`, naming the
condition that fails, for experiments it says nothing about. Adding one is one file that calls
`register`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.families import Family
from ..basis.records import Printed, Result, plain
from ..doors import labels
from ..experiments import Experiment
from .ranges import DoesNotApply, Range, worst

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Spread = tuple[float | None, float | None, float | None]  # mean, low, high
INTERVAL = 0.9  # the nominal probability of the intervals of jump times


@dataclass(frozen=True, repr=False)
class PredictedStage(Result):
    """One plateau as theory expects it.

    loss: of its fixed point. units: effective units a layer. jump: the flow time at which the loss
    is half-way from the plateau before, for the experiment's own initial weights; None for the
    first. mean, low, high: of that time over random draws of the initial weights, and the interval
    that holds 90% of them. index: negative Hessian eigenvalues, where the theory says. share: of
    the draws that come to this stage by the same path; the mean and the interval are over these.
    None where there is only one path. range: the assumption behind this jump that holds least,
    beside those of the whole prediction.
    """

    loss: float
    units: tuple[int, ...]
    jump: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    index: int | None = None
    share: float | None = None
    range: Range | None = None

    def printed(self) -> Printed:
        rows = {**vars(self), "units": " > ".join(map(str, self.units)), "range": range_of(self)}
        return Printed(("predicted stage", ""), list(rows.items()))

    def columns(self) -> dict[str, Any]:
        """By the names of the schema."""
        kept = ("loss", "jump", "mean", "low", "high", "index", "share")
        return {**{name: getattr(self, name) for name in kept}, "units": sum(self.units)}

    def record(self) -> dict[str, object]:
        """JSON form."""
        units = self.units[0] if len(self.units) == 1 else list(self.units)
        return plain(
            {
                **vars(self),
                "units": units,
                "range": None if self.range is None else self.range.record(),
            }
        )


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """The stages of one experiment by one theory. theory: its name; source: where it comes from;
    limit: what it neglects.

    curve: flow times and losses (T,) of the whole run, where the theory has them; else None.
    ranges: how far the assumptions hold that all its stages share. error: the relative error that
    its jump times are stated to have, of theories that give no intervals.
    """

    theory: str
    source: str
    limit: str
    stages: tuple[PredictedStage, ...]
    curve: tuple[np.ndarray, np.ndarray] | None = None
    ranges: tuple[Range, ...] = ()
    error: float | None = None

    @property
    def range(self) -> Range | None:
        """Of all assumptions, of the whole and of its stages, the one that holds least."""
        return worst(
            [*self.ranges, *(stage.range for stage in self.stages if stage.range is not None)]
        )

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, k: int) -> PredictedStage:
        return self.stages[k]

    def record(self) -> dict[str, object]:
        """JSON form."""
        return {
            "theory": self.theory,
            "source": self.source,
            "limit": self.limit,
            "error": self.error,
            "range": None if self.range is None else self.range.record(),
            "ranges": [r.record() for r in self.ranges],
            "stages": [s.record() for s in self.stages],
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = (
            "stage",
            "loss",
            "units",
            "jump",
            "mean jump",
            "90% of draws",
            "index",
            "share",
            "range",
        )
        return columns, [_row(k, stage) for k, stage in enumerate(self.stages)]

    @property
    def assumptions(self) -> str:
        """What all stages share, in a line: each measure with its verdict and limits; empty where
        there is none."""
        stated = [] if not self.error else [f"jump times are stated to {100 * self.error:.0f}%"]
        return "; ".join([*map(str, self.ranges), *stated])

    def printed(self) -> Printed:
        head = [f"{self.theory} ({self.source}); {self.limit}", self.assumptions]
        return Printed(*self.table(), head=[line for line in head if line])

    def to_dataframe(self) -> pd.DataFrame:
        """A row a stage, by the names of `schema.LABELS["prediction"]`; what theory does not say is
        missing. Needs pandas.

        Example
        -------
        >>> from saddlery import predict
        >>> predict("linear")[0].to_dataframe()["units"].tolist()
        [0, 1, 2]
        """
        return labels.frame("prediction", self._columns(), self._about())

    def to_xarray(self) -> xr.Dataset:
        """The same along `stage`, and the curve of the whole run, where theory has it. Needs
        xarray."""
        values: dict[str, Any] = {**self._columns()}
        if self.curve is not None:
            values["curve_flow_time"], values["curve_loss"] = map(np.asarray, self.curve)
        return labels.dataset({"prediction": values}, self._about())

    def _columns(self) -> dict[str, list[Any]]:
        return transposed([stage.columns() for stage in self.stages])

    def _about(self) -> dict[str, str]:
        return {"theory": self.theory, "source": self.source, "limit": self.limit}


def transposed(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of rows that have the same names."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _row(k: int, stage: PredictedStage) -> list[object]:
    spread = None if stage.low is None else f"{stage.low:.4g} - {stage.high:.4g}"
    units = " > ".join(map(str, stage.units))
    return [
        k,
        stage.loss,
        units,
        stage.jump,
        stage.mean,
        spread,
        stage.index,
        stage.share,
        range_of(stage),
    ]


def range_of(stage: PredictedStage) -> str | None:
    """For tables: the verdict on a stage and the number behind it."""
    return None if stage.range is None else f"{stage.range.verdict} ({stage.range.value:.2g})"


Theory = Callable[[Experiment], Prediction]
THEORIES: Family[Theory] = Family("theory")


def register(name: str) -> Callable[[Theory], Theory]:
    """Make a theory known to `predict` under a name, as a decorator; raises InputError where the
    name is taken."""
    return lambda theory: THEORIES.add(name, theory)


def demand(condition: bool, words: str) -> None:
    """Raise DoesNotApply with the words unless the condition holds."""
    if not condition:
        raise DoesNotApply(words)


def off_diagonal(matrix: np.ndarray) -> float:
    """The largest off-diagonal entry relative to the diagonal entries it stands between."""
    size = np.sqrt(np.maximum(np.outer(np.diag(matrix), np.diag(matrix)), 1e-300))
    relative = np.abs(matrix) / size
    return float(np.max(relative - np.diag(np.diag(relative)), initial=0.0))
