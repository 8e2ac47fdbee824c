"""The page of a sweep: heat maps of what its runs did over two of the fields that vary, and a table of its runs."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..checks import InputError, known
from ..studies.base import interval_of_mean, interval_of_share
from ..sweeps import failures, index, read_record
from .figures import figure
from .pages import page
from .sketches import card, curves, stages_of
from .tables import Linked, escaped, grid

if TYPE_CHECKING:
    import pandas as pd

SIZE = (4.4, 3.0)  # inches
LISTED = 500  # runs in the table
CELLS = 4000  # of one heat map


def quantities(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """What is shown of every run (R,), NaN where a run has none: title -> values."""
    plateaus = [stages_of(row) for row in table.to_dict("records")]
    found = {
        "number of plateaus": table["stages"].astype(float).to_numpy(),
        "plateaus between two drops": table["intermediate"].astype(float).to_numpy(),
        "length of the first plateau (flow time)": np.array([_first_length(p) for p in plateaus]),
        "effective units at the end": np.array([_last_units(p) for p in plateaus]),
        "effective units of the first plateau between": np.array([_first_between(p) for p in plateaus]),
        "log10 of the last loss": np.log10(np.maximum(table["loss"].astype(float).to_numpy(), 1e-300)),
        "share of runs that failed": (table["status"] != "stopped").astype(float).to_numpy(),
    }
    if bool(table["predicted"].notna().any()):
        found["share of runs as predicted"] = table["predicted"].astype("float").to_numpy()
        found["largest error of a predicted jump"] = table["jump_error"].astype(float).to_numpy()
    return found


def _first_length(plateaus: Sequence[tuple[Any, ...]]) -> float:
    return float(plateaus[0][2] - plateaus[0][1]) if plateaus else np.nan


def _last_units(plateaus: Sequence[tuple[Any, ...]]) -> float:
    return float(plateaus[-1][3]) if plateaus else np.nan


def _first_between(plateaus: Sequence[tuple[Any, ...]]) -> float:
    return next((float(units) for kind, _, _, units, _ in plateaus if kind == "intermediate"), np.nan)


def sweep_page(folder: str | Path, fields: Sequence[str] | None = None) -> str:
    """One self-contained page about a sweep. fields: the one or two that the maps are over (default: every pair of those that
    take several values, at most three pairs); over all others, and over seeds, is averaged.

    Raises InputError where no run is done, or a field is not one that varies.
    """
    record, table = read_record(folder), index(folder)
    if table.empty:
        raise InputError(
            f"{folder}: no run is finished; go on with saddlery sweep {folder}/sweep.toml --out {folder} --resume"
        )
    varied = record["fields"]
    chosen = [known(name, varied, "field that varies") for name in fields] if fields else varied
    several = [name for name in chosen if len(table[name].unique()) > 1] or list(chosen)
    pairs = list(itertools.combinations(several, 2))[:3] or [tuple(several[:1])]
    head = (
        f"<header><p class=small>saddlery: report of a sweep</p><h1>{escaped(record['name'])}</h1>"
        f"<p class=lead>{len(table):,} of {record['runs']:,} runs, over {escaped(', '.join(varied) or 'seeds')}.</p></header>"
    )
    failed = "".join(map(_failure, failures(folder)))
    shown = quantities(table)
    sections = "".join(_section(table, shown, pair, k) for k, pair in enumerate(pairs))
    toml = html.escape((Path(folder) / "sweep.toml").read_text(encoding="utf-8"))
    design = f"<details><summary>The design (TOML)</summary><pre>{toml}</pre></details>"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    words = f"<p class=small>Id {escaped(record['identity'])}; {escaped(versions)}.</p>"
    body = head + failed + sections + _runs(table, varied, folder) + design + words
    return page(f"{record['name']}, a sweep of saddlery", body)


def _failure(entry: dict[str, Any]) -> str:
    first, last = entry["runs"]
    return f'<p class="note" role="note">Runs {first} to {last} failed: {escaped(entry["error"])}</p>'


def _section(table: pd.DataFrame, shown: Mapping[str, np.ndarray], pair: Sequence[str], k: int) -> str:
    pictures = []
    for j, (title, values) in enumerate(shown.items()):
        if not np.isfinite(values).any():
            continue
        caption = f"{title[0].upper()}{title[1:]}: mean over seeds and all other fields, and half its 95% interval."
        draw = lambda axes, title=title, values=values: _draw(table, pair, title, values, axes)
        pictures.append(figure(draw, f"map-{k}-{j}", caption, SIZE, shown=True))
    heading = " and ".join(pair) or "seeds"
    return f'<section class="run"><h2>{escaped(heading)}</h2><div class=curves>{"".join(pictures)}</div></section>'


def _draw(table: pd.DataFrame, pair: Sequence[str], title: str, values: np.ndarray, axes: Any) -> None:
    if len(pair) == 2:
        columns, rows = (sorted(table[name].unique()) for name in pair)
        if len(columns) * len(rows) <= CELLS:
            shape = (len(rows), len(columns))
            means, halves, counts = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, int)
            x, y = table[pair[0]].to_numpy(), table[pair[1]].to_numpy()
            for r, c in itertools.product(range(len(rows)), range(len(columns))):
                means[r, c], halves[r, c], counts[r, c] = _mean(values[(x == columns[c]) & (y == rows[r])], title)
            plots.heat_map(means, halves, counts, columns, rows, (pair[0], pair[1], title), axes)
            return
        axes.scatter(table[pair[0]], table[pair[1]], c=values, s=6)
        axes.set_xlabel(pair[0])
        axes.set_ylabel(pair[1])
        return
    name = pair[0] if pair else "seed"
    places = sorted(table[name].unique())
    found = np.array([_mean(values[(table[name] == place).to_numpy()], title)[:2] for place in places])
    axes.errorbar(range(len(places)), found[:, 0], np.nan_to_num(found[:, 1]), fmt="o", capsize=3)
    axes.set_xticks(range(len(places)), [str(place) for place in places], rotation=30)
    axes.set_xlabel(name)
    axes.set_ylabel(title)


def _mean(values: np.ndarray, title: str) -> tuple[float, float, int]:
    """(mean, half its 95% interval, how many) of the finite values; exact where they are a share."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.nan, np.nan, 0
    shares = title.startswith("share")
    low, high = interval_of_share(int(finite.sum()), len(finite)) if shares else interval_of_mean(finite)
    return float(finite.mean()), float(max(finite.mean() - low, high - finite.mean())), len(finite)


def _runs(table: pd.DataFrame, varied: Sequence[str], folder: str | Path) -> str:
    """A row a run, which leads to its card."""
    rows = table.sort_values("run").head(LISTED).to_dict("records")
    drawn = curves(folder, [row["run"] for row in rows if row["status"] != "impossible"])
    cards = [card(row, varied, drawn.get(row["run"]), f"saddlery report '{folder}#{row['run']}'") for row in rows]
    columns = ("run", "seed", *varied, "status", "units", "loss")
    cells = [
        [Linked(f"#run-{row['run']}", row["run"]), *(row[c] for c in columns[1:-2]), _units(row["units"]), row["loss"]]
        for row in rows
    ]
    more = f" (the first {LISTED} of {len(table):,}; saddlery runs shows all)" if len(table) > LISTED else ""
    caption = (
        f"Runs{more}. Each number leads to the run's card; the command there repeats, certifies and shows it whole."
    )
    return (
        f'<section class="run"><h2>Runs</h2>{grid(columns, cells, caption=caption)}'
        f"<h3>Each run</h3><div class=cards>{''.join(cards)}</div></section>"
    )


def _units(units: Any) -> str:
    return "-" if units is None or np.isscalar(units) else " > ".join(map(str, units))
