"""A study: an ensemble of experiments, what is measured on each, and claims
that the measurements decide.

A claim is a number of every seed and an interval that its mean must lie in,
fixed before the study is run. It *holds* where the 95% interval of the mean
over seeds lies inside, *fails* where it lies outside, and is *undecided*
else. A claim that allows one value only speaks of the mean itself. Each
claim says what kind of number it is about (`intervals`).

Seeds that a claim does not speak of are left out of its numbers. A seed
that it speaks of and that could not be measured is NaN: it has no part in
the mean, and how many there are is counted and said. An infinite number is
a number: it lies outside an interval that ends on its side, and one that
does not end there it leaves undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from ..basis.checks import Words, require
from ..basis.families import Family
from ..basis.records import Printed, Result, plain
from ..experiments import Experiment
from .intervals import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The labels of one experiment, its seed, and what was measured (None where that is no finite
# number, which a file of rows cannot hold).
Row = dict[str, Any]
STUDIES: Family[Study] = Family("study")


@dataclass(frozen=True, eq=False)
class Claim:
    """A sentence that can be wrong.

    values: from all rows the number of every seed that the claim speaks
    of, NaN where it could not be measured; low, high: where their mean must
    lie; kind: what kind of number it is, which decides the interval of the
    mean.
    """

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
        """In words where the mean must lie."""
        low, high = f"{self.low:g}", f"{self.high:g}"
        if self.low == self.high:
            return f"{self.quantity} is {low}"
        if np.isinf(self.high):
            return f"{self.quantity} at least {low}"
        if np.isinf(self.low):
            return f"{self.quantity} at most {high}"
        return f"{self.quantity} from {low} to {high}"

    def verdict(self, below: float, above: float, slack: float) -> str:
        """On a mean that lies from `below` to `above`, up to a slack."""
        low, high = self.low - slack, self.high + slack
        if low <= below and above <= high:
            return "holds"
        if above < low or below > high:
            return "fails"
        return "undecided"


@dataclass(frozen=True)
class Judged:
    """One claim, measured.

    measured: the mean over seeds, None where there is none. uncertainty:
    half its 95% interval, None for a single one and where the mean is
    infinite. seeds: how many were measured. unmeasured: how many could not
    be.
    """

    study: str
    claim: str
    sentence: str
    source: str
    criterion: str
    measured: float | None
    uncertainty: float | None
    verdict: str
    seeds: int
    unmeasured: int


@dataclass(frozen=True, eq=False)
class Study:
    """design: from a number of seeds the labelled experiments.

    measure: numbers of one. draw: the figure of all rows.

    quick, full: seeds of the two sizes. notes: from all rows what else was
    seen, in sentences, shown under the claims.
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
    """What a study found.

    failed: experiments that could not be measured, with the reason.
    """

    study: Study
    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    failed: tuple[str, ...]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = (
            "claim",
            "verdict",
            "measured",
            "uncertainty",
            "seeds",
            "criterion",
        )
        rows = []
        for j in self.judged:
            row = [
                j.claim,
                j.verdict,
                j.measured,
                j.uncertainty,
                j.seeds,
                j.criterion,
            ]
            rows.append(row)
        return columns, rows

    def printed(self) -> Printed:
        head = [f"{self.study.name}: {self.study.title}"]
        return Printed(*self.table(), head=head, notes=self.notes())

    def notes(self) -> list[str]:
        """What the study has to say of its rows, then what could not be
        measured."""
        said = list(self.study.notes(self.rows))
        for j in self.judged:
            if j.unmeasured:
                seeds = f"{j.unmeasured} of {j.seeds + j.unmeasured} seeds"
                said.append(
                    f"{j.claim}: {seeds} could not be measured and have no part in its mean"
                )
        return [*said, *(f"not measured: {words}" for words in self.failed)]

    def record(self) -> list[dict[str, Any]]:
        """The stable JSON form, an entry a claim."""
        return [plain(vars(j)) for j in self.judged]


def judge(study: str, claim: Claim, rows: Sequence[Row]) -> Judged:
    """The verdict on one claim, of the seeds that could be measured;
    undecided where none could.

    Example
    -------
    >>> from saddlery.studies.base import Claim, judge, of
    >>> from saddlery.studies.intervals import Real
    >>> claim = Claim(
    ...     id="errors.small",
    ...     sentence="Errors are small.",
    ...     source="",
    ...     quantity="error",
    ...     low=0.0,
    ...     high=0.1,
    ...     values=lambda rows: of(rows, "error"),
    ...     kind=Real(least=0.0),
    ... )
    >>> judge("errors", claim, [{"seed": k, "error": 0.01} for k in range(3)]).verdict
    'holds'
    """
    values = np.asarray(claim.values(rows), float)
    measured = values[~np.isnan(values)]
    mean, half, verdict = _decided(claim, measured)
    return Judged(
        study=study,
        claim=claim.id,
        sentence=claim.sentence,
        source=claim.source,
        criterion=claim.criterion,
        measured=mean,
        uncertainty=half,
        verdict=verdict,
        seeds=len(measured),
        unmeasured=len(values) - len(measured),
    )


def _decided(
    claim: Claim,
    values: Float[np.ndarray, " seeds"],
) -> tuple[float | None, float | None, str]:
    """The mean of numbers, half its interval, and the verdict on it."""
    if not len(values):
        return None, None, "undecided"
    if np.isinf(values).any():
        return _decided_by_infinite(claim, values)
    mean = float(values.mean())
    below, above = mean, mean
    if claim.low != claim.high:
        below, above = claim.kind.interval(values)
    half = None
    if len(values) > 1:
        half = max(mean - below, above - mean)
    # Rounding of the mean decides nothing.
    slack = 1e-9 * max(abs(mean), 1.0)
    return mean, half, claim.verdict(below, above, slack)


def _decided_by_infinite(
    claim: Claim,
    values: Float[np.ndarray, " seeds"],
) -> tuple[float | None, None, str]:
    infinite = set(values[np.isinf(values)].tolist())
    outside = any(not claim.low <= value <= claim.high for value in infinite)
    # Numbers without bound on both sides have no mean.
    mean = None if len(infinite) == 2 else infinite.pop()
    return mean, None, "fails" if outside else "undecided"


# ------------------------------------------------------------------ for claims
def labelled(rows: Sequence[Row], **labels: Any) -> list[Row]:
    """The rows that have these labels."""
    found = []
    for row in rows:
        if all(row.get(name) == value for name, value in labels.items()):
            found.append(row)
    return found


def of(
    rows: Sequence[Row],
    quantity: str,
    **labels: Any,
) -> Shaped[np.ndarray, " seeds"]:
    """A quantity of the rows with these labels, in the order of their
    seeds.

    Example
    -------
    >>> from saddlery.studies.base import of
    >>> rows = [{"seed": 1, "error": 0.2}, {"seed": 0, "error": 0.1}]
    >>> of(rows, "error").tolist()
    [0.1, 0.2]
    """
    chosen = labelled(rows, **labels)
    chosen.sort(key=lambda row: row["seed"])
    values = [row[quantity] for row in chosen]
    return np.array(
        [np.nan if value is None else value for value in values],
    )


def paired(
    rows: Sequence[Row],
    quantity: str,
    one: Row,
    other: Row,
) -> tuple[Shaped[np.ndarray, " seeds"], Shaped[np.ndarray, " seeds"]]:
    """The quantity under some labels and under others, of the seeds that
    have a row of both, in their order.

    Raises InputError where labels do not single out one row of a seed.

    Example
    -------
    >>> from saddlery.studies.base import paired
    >>> rows = [{"seed": k, "width": h, "time": 1.0 * k} for k, h in ((0, 6), (1, 6), (1, 48))]
    >>> paired(rows, "time", {"width": 48}, {"width": 6})
    (array([1.]), array([1.]))
    """
    first, second = _by_seed(rows, one), _by_seed(rows, other)
    seeds = first.keys() & second.keys()
    return (
        of([first[seed] for seed in seeds], quantity),
        of([second[seed] for seed in seeds], quantity),
    )


def _by_seed(rows: Sequence[Row], labels: Row) -> dict[int, Row]:
    chosen = labelled(rows, **labels)
    found = {row["seed"]: row for row in chosen}
    require(
        len(found) == len(chosen),
        argument=f"rows labelled {labels}",
        needed="one of every seed",
        given=Words(f"{len(chosen)} of {len(found)} seeds"),
        remedy="give more labels",
    )
    return found


def ratio(
    rows: Sequence[Row],
    quantity: str,
    above: Row,
    below: Row,
) -> Shaped[np.ndarray, " seeds"]:
    """The quantity under some labels over that under others, seed by seed
    (see `paired`); infinite over zero.

    Example
    -------
    >>> from saddlery.studies.base import ratio
    >>> rows = [{"seed": 0, "width": h, "time": t} for h, t in ((6, 4.0), (48, 1.0))]
    >>> ratio(rows, "time", {"width": 48}, {"width": 6}).tolist()
    [0.25]
    """
    one, other = paired(rows, quantity, above, below)
    with np.errstate(divide="ignore", invalid="ignore"):
        return one / other


def slopes(
    rows: Sequence[Row],
    quantity: str,
    against: str,
    **labels: Any,
) -> list[float]:
    """The exponent of quantity ~ against^slope for every seed with these
    labels, NaN for one with fewer than two points.

    A least-squares line through the logarithms of the points that could be
    measured and are not zero.

    Example
    -------
    >>> from saddlery.studies.base import slopes
    >>> rows = [{"seed": 0, "scale": s, "rest": 2 * s**0.5} for s in (1e-2, 1e-4)]
    >>> [round(slope, 6) for slope in slopes(rows, "rest", "scale")]
    [0.5]
    """
    found = []
    chosen = labelled(rows, **labels)
    for seed in sorted({row["seed"] for row in chosen}):
        pairs = []
        for row in labelled(chosen, seed=seed):
            if row[quantity]:
                pairs.append((row[against], row[quantity]))
        slope = float("nan")
        if len(pairs) > 1:
            x, y = np.log(np.array(pairs, float)).T
            slope = float(np.polyfit(x, y, 1)[0])
        found.append(slope)
    return found
