"""The page of a sweep: heat maps of what its runs did over two of the fields that vary, and a table
of its runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..basis.checks import InputError, known
from ..basis.records import number
from ..doors.door import read_text
from ..sweeps import failures, index, read_record
from .figures import figure
from .markup import Markup, fill, joined
from .pages import page
from .quantities import Quantity, estimate, quantities
from .sketches import card, curves
from .tables import Linked, grid

if TYPE_CHECKING:
    import pandas as pd

SIZE = (4.4, 3.0)  # inches
LISTED = 500  # runs in the table
MANY = 24  # values of a field beyond which it is drawn as a continuum
DECADES = 30.0  # between the least and the largest, beyond which its axis is logarithmic


def sweep_page(folder: str | Path, fields: Sequence[str] | None = None) -> str:
    """One self-contained page about a sweep. fields: the one or two that the maps are over
    (default: every pair of those that take several values, at most three pairs); over all others,
    and over seeds, is averaged.

    Raises InputError where no run is done, or a field is not one that varies.
    """
    record, table = read_record(folder), index(folder)
    if table.empty:
        raise InputError(
            f"{folder}: no run is finished; go on with saddlery sweep "
            f"{folder}/sweep.toml --out {folder} --resume"
        )
    varied = record["fields"]
    chosen = [known(name, varied, "field that varies") for name in fields] if fields else varied
    several = [name for name in chosen if len(table[name].unique()) > 1] or list(chosen)
    pairs = list(itertools.combinations(several, 2))[:3] or [tuple(several[:1])]
    head = fill(
        "<header><p class=small>saddlery: report of a sweep</p><h1>{}</h1>"
        "<p class=lead>{:,} of {:,} runs, over {}.</p></header>",
        record["name"],
        len(table),
        record["runs"],
        ", ".join(varied) or "seeds",
    )
    failed = joined(map(_failure, failures(folder))) + _impossible(table)
    shown = quantities(table)
    sections = joined(_section(table, shown, pair, k) for k, pair in enumerate(pairs))
    toml = read_text(Path(folder) / "sweep.toml")
    design = fill("<details><summary>The design (TOML)</summary><pre>{}</pre></details>", toml)
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    words = fill("<p class=small>Id {}; {}.</p>", record["identity"], versions)
    body = head + failed + sections + _runs(table, varied, folder) + design + words
    return page(f"{record['name']}, a sweep of saddlery", body)


def _failure(entry: dict[str, Any]) -> Markup:
    first, last = entry["runs"]
    return fill(
        '<p class="note" role="note">Runs {} to {} failed: {}</p>', first, last, entry["error"]
    )


def _impossible(table: pd.DataFrame) -> Markup:
    rows = [row for row in table.to_dict("records") if row["status"] == "impossible"]
    if not rows:
        return Markup()
    return fill(
        (
            '<p class="note" role="note">{:,} of the runs are impossible and left out of the '
            "maps, such as run {}: {}</p>"
        ),
        len(rows),
        rows[0]["run"],
        rows[0]["reason"],
    )


def _section(table: pd.DataFrame, shown: Sequence[Quantity], pair: Sequence[str], k: int) -> Markup:
    pictures, same = [], []
    scattered = any(_continuous(table, name) for name in pair)
    means = (
        "a point a run"
        if scattered
        else "mean over seeds and all other fields, and its 95% interval over seeds"
    )
    for j, quantity in enumerate(shown):
        values = quantity.values(table)
        there = values[np.isfinite(values)]
        if np.ptp(there) == 0:
            same.append(f"{quantity.title}: {number(there[0])}")
            continue
        title = f"{quantity.title[0].upper()}{quantity.title[1:]}"
        caption = f"{title}: {means}."
        draw = lambda axes, quantity=quantity, values=values: _draw(
            table, pair, quantity, values, axes
        )
        pictures.append(figure(draw, f"map-{k}-{j}", caption, SIZE, shown=True))
    heading = " and ".join(pair) or "seeds"
    constant = (
        fill("<p class=small>The same in every run that has one: {}.</p>", "; ".join(same))
        if same
        else ""
    )
    section = '<section class="run"><h2>{}</h2>{}<div class=curves>{}</div></section>'
    return fill(section, heading, constant, joined(pictures))


def _draw(
    table: pd.DataFrame, pair: Sequence[str], quantity: Quantity, values: np.ndarray, axes: Any
) -> None:
    seeds = table["seed"].to_numpy()
    if any(_continuous(table, name) for name in pair):
        _scatter(table, pair, quantity, values, axes)
    elif len(pair) == 2:
        columns, rows = (sorted(table[name].unique()) for name in pair)
        x, y = table[pair[0]].to_numpy(), table[pair[1]].to_numpy()
        chosen = [[(x == column) & (y == row) for column in columns] for row in rows]
        found = np.array(
            [[estimate(quantity, values[at], seeds[at]) for at in line] for line in chosen]
        )
        plots.heat_map(
            found[..., 0], found[..., 1:3], columns, rows, (pair[0], pair[1], quantity.title), axes
        )
    else:
        name = pair[0] if pair else "seed"
        column, places = table[name].to_numpy(), sorted(table[name].unique())
        found = np.array(
            [estimate(quantity, values[column == p], seeds[column == p]) for p in places]
        )
        spread = np.nan_to_num(np.abs(found[:, 1:3] - found[:, :1])).T
        axes.errorbar(range(len(places)), found[:, 0], spread, fmt="o", capsize=3)
        axes.set_xticks(
            range(len(places)), [plots.literal(number(place, 3)) for place in places], rotation=30
        )
        axes.set_xlabel(plots.literal(name))
        axes.set_ylabel(quantity.title)


def _continuous(table: pd.DataFrame, name: str) -> bool:
    """Whether a field has so many values that each is one of a continuum."""
    return table[name].dtype.kind in "if" and len(table[name].unique()) > MANY


def _scatter(
    table: pd.DataFrame, pair: Sequence[str], quantity: Quantity, values: np.ndarray, axes: Any
) -> None:
    """A point a run: in colour over two continuous fields, else against the one, the values of the
    other in colour."""
    along = [name for name in pair if _continuous(table, name)]
    if len(along) == 2:
        points = axes.scatter(table[along[0]], table[along[1]], c=values, s=8)
        axes.figure.colorbar(points, ax=axes).set_label(quantity.title, fontsize=7)
        axes.set_ylabel(plots.literal(along[1]))
    else:
        for name, value in [
            (other, v)
            for other in pair
            if other not in along
            for v in sorted(table[other].unique())
        ] or [("", 0)]:
            at = (table[name] == value).to_numpy() if name else slice(None)
            words = plots.literal(f"{name.rpartition('.')[2]} {number(value, 3)}")
            axes.scatter(table[along[0]].to_numpy()[at], values[at], s=8, label=words)
        if len(pair) == 2:
            axes.legend(fontsize=7, frameon=False)
        axes.set_ylabel(quantity.title)
    axes.set_xlabel(plots.literal(along[0]))
    for name, scale in zip(along, (axes.set_xscale, axes.set_yscale), strict=False):
        low, high = np.min(table[name].to_numpy()), np.max(table[name].to_numpy())
        if low > 0 and high > DECADES * low:
            scale("log")


def _runs(table: pd.DataFrame, varied: Sequence[str], folder: str | Path) -> Markup:
    """A row a run, which leads to its card."""
    rows = table.sort_values("run").head(LISTED).to_dict("records")
    drawn = curves(folder, [row["run"] for row in rows if row["status"] != "impossible"])
    command = lambda row: (
        f"saddlery report '{folder}#{row['run']}'" if row["status"] == "stopped" else ""
    )
    cards = [card(row, varied, drawn.get(row["run"]), command(row)) for row in rows]
    columns = ("run", "seed", *varied, "status", "units", "loss")
    cells = [
        [
            Linked(f"run-{row['run']}", row["run"]),
            *(row[c] for c in columns[1:-2]),
            _units(row["units"]),
            row["loss"],
        ]
        for row in rows
    ]
    more = (
        f" (the first {LISTED} of {len(table):,}; saddlery runs shows all)"
        if len(table) > LISTED
        else ""
    )
    caption = (
        f"Runs{more}. Each number leads to the run's card; the command there repeats, "
        "certifies and shows it whole."
    )
    return fill(
        '<section class="run"><h2>Runs</h2>{}<h3>Each run</h3><div class=cards>{}</div></section>',
        grid(columns, cells, caption=caption),
        joined(cards),
    )


def _units(units: Any) -> str:
    return "-" if units is None or np.isscalar(units) else " > ".join(map(str, units))
