"""What the page of a sweep shows of every run, and what many runs say of
it: a mean, and its interval over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ..saddles.certificates import UNFOUND
from ..studies.intervals import Count, Kind, Real, Share
from .sketches import Plateau, stages_of

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[Any, Any]
POSITIVE = Real(least=0.0)
Measured = Callable[[Row], float | None]


@dataclass(frozen=True)
class Quantity:
    """A number of every run.

    of: from its row of the index, None or NaN where it has none. kind: what
    kind of number it is, which decides the interval of its mean.
    """

    title: str
    of: Measured
    kind: Kind = POSITIVE

    def values(self, table: pd.DataFrame) -> Float[np.ndarray, " R"]:
        """(R,), NaN where a run has none."""
        values = []
        for row in table.to_dict("records"):
            value = self.of(row)
            values.append(np.nan if value is None else float(value))
        return np.array(values)


class Estimate(NamedTuple):
    """The mean of a quantity over runs, and its 95% interval over seeds
    (NaN of a single one).

    runs: how many have it.
    """

    mean: float
    low: float
    high: float
    runs: int


def estimate(
    quantity: Quantity,
    values: Float[np.ndarray, " R"],
    seeds: Shaped[np.ndarray, " R"],
) -> Estimate:
    """The mean over seeds of the means within each, and its interval.

    Runs of one seed share their draws, so that seeds, not runs, are
    independent: averaged first is over all else that varies, within each
    seed.

    values, seeds: of R runs, NaN where a run has none.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.report.quantities import Quantity, estimate
    >>> plateaus = Quantity("number of plateaus", lambda row: row["stages"])
    >>> estimate(plateaus, np.array([2.0, 4.0, 3.0]), np.array([0, 0, 1])).mean
    3.0
    """
    there = np.isfinite(values)
    values, seeds = values[there], seeds[there]
    runs = len(values)
    if not runs:
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, places, counts = np.unique(
        seeds,
        return_inverse=True,
        return_counts=True,
    )
    per_seed = np.bincount(places, values) / counts
    mean = float(per_seed.mean())
    if len(per_seed) == 1:
        return Estimate(mean, np.nan, np.nan, runs)
    low, high = quantity.kind.interval(per_seed)
    return Estimate(mean, low, high, runs)


def quantities(table: pd.DataFrame) -> tuple[Quantity, ...]:
    """Those that some run of a sweep has."""
    found = []
    for quantity in QUANTITIES:
        if np.isfinite(quantity.values(table)).any():
            found.append(quantity)
    return tuple(found)


def _number(name: str) -> Measured:
    def of(row: Row) -> float | None:
        value = row[name]
        return None if _missing(value) else float(value)

    return of


def _missing(value: Any) -> bool:
    if value is None or str(value) == "<NA>":
        return True
    is_nan = np.isscalar(value) and value != value
    return bool(is_nan)


def _first(
    kind: str,
    value: Callable[[Plateau], float],
) -> Measured:
    """Of the first plateau of a kind."""

    def of(row: Row) -> float | None:
        for plateau in stages_of(row):
            if plateau.kind == kind:
                return value(plateau)
        return None

    return of


def _length(plateau: Plateau) -> float:
    return plateau.end - plateau.start


def _units(plateau: Plateau) -> float:
    return plateau.units


def _last_units(row: Row) -> float | None:
    plateaus = stages_of(row)
    return plateaus[-1].units if plateaus else None


def _failed(row: Row) -> float | None:
    status = row["status"]
    if status == "impossible":
        return None
    return float(status != "stopped")


def _log_loss(row: Row) -> float | None:
    """None of a loss that has no logarithm: zero, or negative by rounding or by its definition."""
    loss = row["loss"]
    if _missing(loss) or not 0 < loss < np.inf:
        return None
    return float(np.log10(loss))


def _listed(name: str, value: Callable[[list[Any]], float]) -> Measured:
    """Of a column of lists, an entry a plateau."""

    def of(row: Row) -> float | None:
        entries = row[name]
        if entries is None or np.isscalar(entries) or not len(entries):
            return None
        return value(list(entries))

    return of


def _share_certified(verdicts: Sequence[str]) -> float:
    found = [verdict not in UNFOUND for verdict in verdicts]
    return float(np.mean(found))


def _largest(distances: Sequence[float | None]) -> float:
    """Of those that exist, NaN where none does."""
    numbers = [float(d) for d in distances if d is not None]
    there = [number for number in numbers if not np.isnan(number)]
    return max(there, default=np.nan)


QUANTITIES = (
    Quantity("number of plateaus", _number("stages"), Count()),
    Quantity(
        "plateaus between two drops",
        _number("intermediate"),
        Count(),
    ),
    Quantity(
        "length of the initial plateau (flow time)",
        _first("initial", _length),
    ),
    Quantity(
        "length of the first plateau between (flow time)",
        _first("intermediate", _length),
    ),
    Quantity(
        "effective units of the first plateau between",
        _first("intermediate", _units),
        Count(),
    ),
    Quantity("effective units of the last plateau", _last_units, Count()),
    Quantity("log10 of the last loss", _log_loss, Real()),
    Quantity("share of runs that failed", _failed, Share()),
    Quantity("share of runs as predicted", _number("predicted"), Share()),
    Quantity("largest error of a predicted jump", _number("jump_error")),
    Quantity(
        "share of plateaus with a certified fixed point",
        _listed("verdict", _share_certified),
        Share(),
    ),
    Quantity(
        "largest distance to a certified fixed point",
        _listed("distance", _largest),
    ),
)
