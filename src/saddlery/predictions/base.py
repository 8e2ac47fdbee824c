"""A prediction: the stages that theory expects of an experiment, before it is run.

A theory is a function from an experiment to a `Prediction`; it raises `DoesNotApply`, naming the
condition that fails, for experiments it says nothing about. Adding one is one file that calls
`register`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..basis.records import html_table, plain, text_table
from ..basis.values import Value
from ..experiments import Experiment
from .ranges import DoesNotApply, Range, worst

Spread = tuple[float | None, float | None, float | None]  # mean, low, high
INTERVAL = 0.9  # the nominal probability of the intervals of jump times


@dataclass(frozen=True)
class PredictedStage:
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

    def record(self) -> dict[str, object]:
        units = self.units[0] if len(self.units) == 1 else list(self.units)
        return plain(
            {
                **vars(self),
                "units": units,
                "range": None if self.range is None else self.range.record(),
            }
        )


@dataclass(frozen=True, eq=False)
class Prediction(Value):
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

    def __repr__(self) -> str:
        head = f"{self.theory} ({self.source}); {self.limit}"
        return "\n".join(
            [head, *([self.assumptions] if self.assumptions else []), text_table(*self.table())]
        )

    def _repr_html_(self) -> str:
        caption = "; ".join(
            filter(None, (f"{self.theory} ({self.source})", self.limit, self.assumptions))
        )
        return html_table(*self.table(), caption=caption)


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
THEORIES: dict[str, Theory] = {}


def register(name: str) -> Callable[[Theory], Theory]:
    """Make a theory known to `predict` under a name."""

    def add(theory: Theory) -> Theory:
        THEORIES[name] = theory
        return theory

    return add


def demand(condition: bool, words: str) -> None:
    """Raise DoesNotApply with the words unless the condition holds."""
    if not condition:
        raise DoesNotApply(words)


def off_diagonal(matrix: np.ndarray) -> float:
    """The largest off-diagonal entry relative to the diagonal entries it stands between."""
    size = np.sqrt(np.maximum(np.outer(np.diag(matrix), np.diag(matrix)), 1e-300))
    relative = np.abs(matrix) / size
    return float(np.max(relative - np.diag(np.diag(relative)), initial=0.0))
