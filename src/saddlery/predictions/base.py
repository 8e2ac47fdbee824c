"""A prediction: the stages that theory expects of an experiment, before it is run.

A theory is a function from an experiment to a `Prediction`; it raises
`DoesNotApply`, naming the condition that fails, for experiments it says
nothing about. Adding one is one file that calls `register`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..basis.families import Family
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY
from ..doors import labels
from ..experiments import Experiment
from .ranges import DoesNotApply, Range, worst

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Numbers = Float[np.ndarray, " T"]
Spread = tuple[float | None, float | None, float | None]  # mean, low, high
INTERVAL = 0.9  # the nominal probability of the intervals of jump times
COLUMNS = (
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
# Fields of a stage that its columns take over as they are.
SHARED = ("loss", "jump", "mean", "low", "high", "index", "share")


@dataclass(frozen=True, repr=False)
class PredictedStage(Result):
    """One plateau as theory expects it; None stands for what the theory does not say.

    loss: of its fixed point.
    units: effective units, a layer each.
    jump: the flow time at which the loss is half-way from the plateau before,
        for the experiment's own initial weights; None for the first.
    mean, low, high: of that time over random draws of the initial weights, and
        the interval that holds 90% of them.
    index: negative Hessian eigenvalues.
    share: of the draws that come to this stage by the same path; the mean and
        the interval are over these. None where there is only one path.
    range: the assumption behind this jump that holds least, beside those of
        the whole prediction.

    Example
    -------
    >>> from saddlery import predict
    >>> found = predict("linear", theory="linear modes")[0]
    >>> stage = found.stages[1]
    >>> round(stage.jump, 1), round(stage.low, 1), round(stage.high, 1)
    (7.2, 7.0, 7.3)
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
        said = {"units": chain(self.units), "range": range_of(self)}
        rows = {**vars(self), **said}
        return Printed(("predicted stage", ""), list(rows.items()))

    def columns(self) -> dict[str, Any]:
        """By the names of the schema."""
        kept = {name: getattr(self, name) for name in SHARED}
        return {**kept, "units": sum(self.units)}

    def record(self) -> dict[str, object]:
        """JSON form."""
        one_layer = len(self.units) == 1
        units = self.units[0] if one_layer else list(self.units)
        said = {"units": units, "range": _recorded(self.range)}
        return plain({**vars(self), **said})


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """The stages of one experiment by one theory.

    theory: its name.
    source: where it comes from.
    limit: what it neglects.
    curve: flow times (T,) and losses (T,) of the whole run, where the theory
        has them.
    ranges: how far the assumptions hold that all its stages share.
    error: the relative error that its jump times are stated to have, of
        theories that give no intervals.

    Example
    -------
    >>> from saddlery import predict
    >>> found = predict("linear")[0]
    >>> found.theory, len(found), found[2].units
    ('directions one by one', 3, (2,))
    """

    theory: str
    source: str
    limit: str
    stages: tuple[PredictedStage, ...]
    curve: tuple[Numbers, Numbers] | None = None
    ranges: tuple[Range, ...] = ()
    error: float | None = None

    @property
    def range(self) -> Range | None:
        """Of all assumptions, of the whole and of its stages, the one
        that holds least."""
        of_stages = [stage.range for stage in self.stages if stage.range is not None]
        return worst([*self.ranges, *of_stages])

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
            "range": _recorded(self.range),
            "ranges": [r.record() for r in self.ranges],
            "stages": [s.record() for s in self.stages],
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        return COLUMNS, [_row(k, stage) for k, stage in enumerate(self.stages)]

    @property
    def assumptions(self) -> str:
        """What all stages share, in a line: each measure with its verdict and
        limits; empty where there is none."""
        stated = [str(found) for found in self.ranges]
        if self.error:
            stated.append(f"jump times are stated to {100 * self.error:.0f}%")
        return "; ".join(stated)

    def printed(self) -> Printed:
        title = f"{self.theory} ({self.source}); {self.limit}"
        head = [title, self.assumptions]
        return Printed(*self.table(), head=[line for line in head if line])

    def to_dataframe(self) -> pd.DataFrame:
        """A row a stage, by the names of `schema.LABELS["prediction"]`; what
        theory does not say is missing. Needs pandas.

        Example
        -------
        >>> from saddlery import predict
        >>> predict("linear")[0].to_dataframe()["units"].tolist()
        [0, 1, 2]
        """
        return labels.frame("prediction", self._columns(), self._about())

    def to_xarray(self) -> xr.Dataset:
        """The same along `stage`, and the curve of the whole run, where theory
        has it. Needs xarray."""
        values: dict[str, Any] = {**self._columns()}
        if self.curve is not None:
            flow_time, loss = self.curve
            values["curve_flow_time"] = np.asarray(flow_time)
            values["curve_loss"] = np.asarray(loss)
        return labels.dataset({"prediction": values}, self._about())

    def _columns(self) -> dict[str, list[Any]]:
        return transposed([stage.columns() for stage in self.stages])

    def _about(self) -> dict[str, str]:
        return {"theory": self.theory, "source": self.source, "limit": self.limit}


def transposed(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of rows that have the same names.

    Example
    -------
    >>> from saddlery.predictions.base import transposed
    >>> transposed([{"loss": 0.5, "units": 0}, {"loss": 0.1, "units": 1}])
    {'loss': [0.5, 0.1], 'units': [0, 1]}
    """
    if not rows:
        return {}
    return {name: [row[name] for row in rows] for name in rows[0]}


def chain(units: Sequence[int]) -> str:
    """Effective units from the first layer to the last, for tables.

    Example
    -------
    >>> from saddlery.predictions.base import chain
    >>> chain((2, 1))
    '2 > 1'
    """
    return " > ".join(map(str, units))


def range_of(stage: PredictedStage) -> str | None:
    """For tables: the verdict on a stage and the number behind it."""
    if stage.range is None:
        return None
    return f"{stage.range.verdict} ({stage.range.value:.2g})"


def _row(k: int, stage: PredictedStage) -> list[object]:
    spread = None
    if stage.low is not None:
        spread = f"{stage.low:.4g} - {stage.high:.4g}"
    return [
        k,
        stage.loss,
        chain(stage.units),
        stage.jump,
        stage.mean,
        spread,
        stage.index,
        stage.share,
        range_of(stage),
    ]


def _recorded(found: Range | None) -> dict[str, Any] | None:
    return None if found is None else found.record()


# --------------------------------------------------------------------- the theories
Theory = Callable[[Experiment], Prediction]
THEORIES: Family[Theory] = Family("theory")


def register(name: str) -> Callable[[Theory], Theory]:
    """Make a theory known to `predict` under a name, as a decorator.

    Raises InputError where the name is taken.
    """
    return lambda theory: THEORIES.add(name, theory)


def demand(condition: bool, words: str) -> None:
    """Raise DoesNotApply with the words unless the condition holds.

    Example
    -------
    >>> from saddlery.predictions.base import demand
    >>> demand(False, "the loss is logistic, not squared")
    Traceback (most recent call last):
    saddlery.predictions.ranges.DoesNotApply: the loss is logistic, not squared
    """
    if not condition:
        raise DoesNotApply(words)


def off_diagonal(matrix: Float[np.ndarray, "D D"]) -> float:
    """max |m_ij| / sqrt(m_ii m_jj) over i != j: how far a matrix is from diagonal.

    matrix (D, D): with no negative number on its diagonal, such as a covariance.

    Returns 0 of a diagonal matrix, the largest correlation of a covariance.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.predictions.base import off_diagonal
    >>> off_diagonal(np.array([[4.0, 1.0], [1.0, 1.0]]))
    0.5
    """
    diagonal = np.diag(matrix)
    size = np.sqrt(np.maximum(np.outer(diagonal, diagonal), TINY))
    relative = np.abs(matrix) / size
    apart = relative - np.diag(np.diag(relative))
    return float(np.max(apart, initial=0.0))
