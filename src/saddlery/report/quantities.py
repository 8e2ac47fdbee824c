"""What the page of a sweep shows of every run, and what many runs say of it: a mean, and its
interval over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..saddles.certificates import UNFOUND
from ..studies.intervals import Count, Kind, Real, Share
from .sketches import stages_of

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[Any, Any]
POSITIVE = Real(least=0.0)
LEAST = 1e-40  # loss that is shown; below is rounding


@dataclass(frozen=True)
class Quantity:
    """A number of every run. of: from its row of the index, None or NaN where it has none. kind:
    what kind of number it is, which decides the interval of its mean."""

    title: str
    of: Callable[[Row], float | None]
    kind: Kind = POSITIVE

    def values(self, table: pd.DataFrame) -> np.ndarray:
        """(R,), NaN where a run has none."""
        found = [self.of(row) for row in table.to_dict("records")]
        return np.array(
            [np.nan if value is None or value != value else float(value) for value in found]
        )


class Estimate(NamedTuple):
    """The mean of a quantity over runs, its 95% interval over seeds (NaN of a single one), and how
    many runs have it."""

    mean: float
    low: float
    high: float
    runs: int


def estimate(quantity: Quantity, values: np.ndarray, seeds: np.ndarray) -> Estimate:
    """Runs of one seed share their draws, so that seeds, not runs, are independent: averaged first
    is over all else that varies, within each seed."""
    there = np.isfinite(values)
    values, seeds = values[there], seeds[there]
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, places, counts = np.unique(seeds, return_inverse=True, return_counts=True)
    per_seed = np.bincount(places, values) / counts
    mean = float(per_seed.mean())
    if len(per_seed) == 1:
        return Estimate(mean, np.nan, np.nan, len(values))
    low, high = quantity.kind.interval(per_seed)
    return Estimate(mean, low, high, len(values))


def quantities(table: pd.DataFrame) -> tuple[Quantity, ...]:
    """Those that some run of a sweep has."""
    return tuple(q for q in QUANTITIES if np.isfinite(q.values(table)).any())


def _number(name: str) -> Callable[[Row], float | None]:
    return lambda row: None if _missing(row[name]) else float(row[name])


def _missing(value: Any) -> bool:
    return value is None or (np.isscalar(value) and value != value) or str(value) == "<NA>"


def _first(kind: str, value: Callable[[tuple[Any, ...]], float]) -> Callable[[Row], float | None]:
    """Of the first plateau of a kind, (kind, start, end, units, loss)."""
    return lambda row: next(
        (value(plateau) for plateau in stages_of(row) if plateau[0] == kind), None
    )


def _last_units(row: Row) -> float | None:
    plateaus = stages_of(row)
    return plateaus[-1][3] if plateaus else None


def _failed(row: Row) -> float | None:
    return None if row["status"] == "impossible" else float(row["status"] != "stopped")


def _log_loss(row: Row) -> float | None:
    loss = row["loss"]
    return None if _missing(loss) or not loss < np.inf else float(np.log10(max(loss, LEAST)))


def _listed(name: str, value: Callable[[list[Any]], float]) -> Callable[[Row], float | None]:
    """Of a column of lists, an entry a plateau."""
    return lambda row: (
        None
        if np.isscalar(row[name]) or row[name] is None or not len(row[name])
        else value(list(row[name]))
    )


QUANTITIES = (
    Quantity("number of plateaus", _number("stages"), Count()),
    Quantity("plateaus between two drops", _number("intermediate"), Count()),
    Quantity("length of the initial plateau (flow time)", _first("initial", lambda p: p[2] - p[1])),
    Quantity(
        "length of the first plateau between (flow time)",
        _first("intermediate", lambda p: p[2] - p[1]),
    ),
    Quantity(
        "effective units of the first plateau between",
        _first("intermediate", lambda p: p[3]),
        Count(),
    ),
    Quantity("effective units of the last plateau", _last_units, Count()),
    Quantity("log10 of the last loss", _log_loss, Real()),
    Quantity("share of runs that failed", _failed, Share()),
    Quantity("share of runs as predicted", _number("predicted"), Share()),
    Quantity("largest error of a predicted jump", _number("jump_error")),
    Quantity(
        "share of plateaus with a certified fixed point",
        _listed(
            "verdict", lambda found: float(np.mean([verdict not in UNFOUND for verdict in found]))
        ),
        Share(),
    ),
    Quantity(
        "largest distance to a certified fixed point",
        _listed("distance", lambda found: max(map(_finite, found))),
    ),
)


def _finite(value: Any) -> float:
    return float("nan") if value is None else float(value)
