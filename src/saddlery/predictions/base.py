"""A prediction: the stages that theory expects of an experiment, before it is run.

A theory is a function from an experiment to a `Prediction`; it raises `DoesNotApply`, naming the condition that fails, for
experiments it says nothing about. Adding one is one file that calls `register`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..checks import SaddleryError
from ..experiments import Experiment
from ..records import html_table, plain, text_table

Spread = tuple[float | None, float | None, float | None]  # mean, low, high
INTERVAL = 0.9  # the nominal probability of the intervals of jump times


class DoesNotApply(SaddleryError):
    """A condition of a theory that an experiment does not meet; the message says which, with the number."""


@dataclass(frozen=True)
class PredictedStage:
    """One plateau as theory expects it.

    loss: of its fixed point. units: effective units a layer. jump: the flow time at which the loss is half-way from the
    plateau before, for the experiment's own initial weights; None for the first. mean, low, high: of that time over random
    draws of the initial weights, and the interval that holds 90% of them. index: negative Hessian eigenvalues, where the
    theory says. share: of the draws that come to this stage by the same path; the mean and the interval are over these.
    None where there is only one path.
    """

    loss: float
    units: tuple[int, ...]
    jump: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    index: int | None = None
    share: float | None = None

    def record(self) -> dict[str, object]:
        units = self.units[0] if len(self.units) == 1 else list(self.units)
        return plain({**vars(self), "units": units})


@dataclass(frozen=True, eq=False)
class Prediction:
    """The stages of one experiment by one theory. theory: its name; source: where it comes from; limit: what it neglects.

    curve: flow times and losses (T,) of the whole run, where the theory has them; else None.
    """

    theory: str
    source: str
    limit: str
    stages: tuple[PredictedStage, ...]
    curve: tuple[np.ndarray, np.ndarray] | None = None

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
            "stages": [s.record() for s in self.stages],
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = ("stage", "loss", "units", "jump", "mean jump", "90% of draws", "index", "share")
        return columns, [_row(k, stage) for k, stage in enumerate(self.stages)]

    def __repr__(self) -> str:
        return f"{self.theory} ({self.source}); {self.limit}\n{text_table(*self.table())}"

    def _repr_html_(self) -> str:
        return html_table(*self.table(), caption=f"{self.theory} ({self.source}); {self.limit}")


def _row(k: int, stage: PredictedStage) -> list[object]:
    spread = None if stage.low is None else f"{stage.low:.4g} - {stage.high:.4g}"
    return [k, stage.loss, " > ".join(map(str, stage.units)), stage.jump, stage.mean, spread, stage.index, stage.share]


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
