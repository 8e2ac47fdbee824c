"""A study: an ensemble of experiments, what is measured on each, and claims that the measurements
decide.

A claim is a number of every seed and an interval that its mean must lie in, fixed before the study
is run. It *holds* where the 95% interval of the mean over seeds lies inside, *fails* where it lies
outside, and is *undecided* else. A claim that allows one value only speaks of the mean itself. Each
claim says what kind of number it is about (`intervals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.families import Family
from ..basis.records import Printed, Result, plain
from ..experiments import Experiment
from .intervals import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]  # the labels of one experiment, its seed, and what was measured
STUDIES: Family[Study] = Family("study")


@dataclass(frozen=True, eq=False)
class Claim:
    """A sentence that can be wrong. values: from all rows the number of every seed; low, high:
    where their mean must lie; kind: what kind of number it is, which decides the interval of the
    mean."""

    id: str
    sentence: str
    source: str
    quantity: str
    low: float
    high: float
    values: Callable[[Sequence[Row]], Sequence[float] | np.ndarray]
    kind: Kind

    @property
    def criterion(self) -> str:
        if self.low == self.high:
            return f"{self.quantity} is {self.low:g}"
        if np.isinf(self.high):
            return f"{self.quantity} at least {self.low:g}"
        return (
            f"{self.quantity} {'at most' if np.isinf(self.low) else f'from {self.low:g} to'} "
            f"{self.high:g}"
        )


@dataclass(frozen=True)
class Judged:
    """One claim, measured. uncertainty: half the 95% interval of the mean over seeds, None for a
    single one. seeds: how many."""

    study: str
    claim: str
    sentence: str
    source: str
    criterion: str
    measured: float | None
    uncertainty: float | None
    verdict: str
    seeds: int


@dataclass(frozen=True, eq=False)
class Study:
    """design: from a number of seeds the labelled experiments. measure: numbers of one. draw: the
    figure of all rows.

    quick, full: seeds of the two sizes. notes: from all rows what else was seen, in sentences,
    shown under the claims.
    """

    name: str
    title: str
    design: Callable[[int], Iterable[tuple[Row, Experiment]]]
    measure: Callable[[Experiment], Row]
    claims: tuple[Claim, ...]
    draw: Callable[[Sequence[Row], Axes], None]
    quick: int
    full: int
    notes: Callable[[Sequence[Row]], Sequence[str]] = lambda rows: ()

    def __post_init__(self) -> None:
        STUDIES.add(self.name, self)


@dataclass(frozen=True, eq=False, repr=False)
class Outcome(Result):
    """What a study found. failed: experiments that could not be measured, with the reason."""

    study: Study
    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    failed: tuple[str, ...]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = ("claim", "verdict", "measured", "uncertainty", "seeds", "criterion")
        return columns, [
            [j.claim, j.verdict, j.measured, j.uncertainty, j.seeds, j.criterion]
            for j in self.judged
        ]

    def printed(self) -> Printed:
        missed = [f"not measured: {words}" for words in self.failed]
        head = [f"{self.study.name}: {self.study.title}"]
        return Printed(*self.table(), head=head, notes=[*self.study.notes(self.rows), *missed])

    def record(self) -> list[dict[str, Any]]:
        """The stable JSON form, an entry a claim."""
        return [plain(vars(j)) for j in self.judged]


def judge(study: str, claim: Claim, rows: Sequence[Row]) -> Judged:
    """The verdict on one claim; undecided where nothing could be measured."""
    values = np.asarray(claim.values(rows), float)
    values = values[np.isfinite(values)]
    if not len(values):
        return Judged(
            study,
            claim.id,
            claim.sentence,
            claim.source,
            claim.criterion,
            None,
            None,
            "undecided",
            0,
        )
    mean = float(values.mean())
    exact = claim.low == claim.high
    below, above = (mean, mean) if exact else claim.kind.interval(values)
    slack = 1e-9 * max(abs(mean), 1.0)
    inside = claim.low - slack <= below and above <= claim.high + slack
    outside = above < claim.low - slack or below > claim.high + slack
    verdict = "holds" if inside else "fails" if outside else "undecided"
    half = None if len(values) == 1 else max(mean - below, above - mean)
    return Judged(
        study,
        claim.id,
        claim.sentence,
        claim.source,
        claim.criterion,
        mean,
        half,
        verdict,
        len(values),
    )


# ------------------------------------------------------------------ for claims
def of(rows: Sequence[Row], quantity: str, **labels: Any) -> np.ndarray:
    """A quantity of the rows with these labels, in the order of their seeds."""
    chosen = [row for row in rows if all(row.get(k) == v for k, v in labels.items())]
    return np.array(
        [
            float("nan") if row[quantity] is None else row[quantity]
            for row in sorted(chosen, key=lambda r: r["seed"])
        ]
    )


def ratio(rows: Sequence[Row], quantity: str, above: Row, below: Row) -> np.ndarray:
    """The quantity under some labels over that under others, seed by seed."""
    one, other = of(rows, quantity, **above), of(rows, quantity, **below)
    return one / other if len(one) == len(other) else np.array([])


def slopes(rows: Sequence[Row], quantity: str, against: str, **labels: Any) -> list[float]:
    """The exponent of quantity ~ against^slope, a least-squares line through logarithms, for every
    seed."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        chosen = [
            r for r in rows if r["seed"] == seed and all(r.get(k) == v for k, v in labels.items())
        ]
        pairs = [(r[against], r[quantity]) for r in chosen if r[quantity]]
        if len(pairs) > 1:
            x, y = np.log(np.array(pairs, float)).T
            found.append(float(np.polyfit(x, y, 1)[0]))
    return found
