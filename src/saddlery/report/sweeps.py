"""The page of a sweep: heat maps of what its runs did over two of the
fields that vary, and a table of its runs."""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..basis.checks import InputError, known
from ..basis.records import number
from ..doors.door import read_text
from ..plots.axes import CYCLE, folded, names_of
from ..sweeps import failures, index, read_record
from .figures import figure
from .markup import Markup, counted, fill, joined
from .pages import page
from .quantities import Quantity, estimate, quantities
from .sketches import card, curves, setting
from .tables import Linked, grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MAP_SIZE = (4.4, 3.0)  # inches
LISTED = 500  # most runs in the table
# A field of more values than this is drawn as a continuum.
CONTINUUM = 24
LETTERS = 7  # font size of a legend or of the label of colours, in points
BESIDE = 0.72  # of the width is left to axes that have a legend beside them
# Of groups of runs: seven, which with the six colours tell forty-two apart.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_PAIRS = 3  # most pairs of fields that maps are over
LOGARITHMIC_FROM = (
    30.0  # an axis whose largest value is over so many times the least is logarithmic
)


def sweep_page(
    folder: str | Path,
    fields: Sequence[str] | None = None,
) -> str:
    """One self-contained page about a sweep.

    fields: the one or two that the maps are over (default: every pair of
    those that take several values, at most three pairs); over all others,
    and over seeds, is averaged.

    Raises InputError where no run is done, or a field is not one that
    varies.
    """
    record = read_record(folder)
    table = index(folder)
    if table.empty:
        raise InputError(
            f"{folder}: no run is finished; go on with saddlery sweep"
            f" {shlex.quote(f'{folder}/sweep.toml')} --out {shlex.quote(str(folder))} --resume"
        )
    varied = record["fields"]
    chosen = varied
    if fields:
        chosen = [known(name, varied, "field that varies") for name in fields]
    parts = [_head(record, len(table))]
    parts += map(_failure, failures(folder))
    parts.append(_impossible(table))
    shown = quantities(table)
    pairs = _pairs(table, chosen)
    parts += [_section(table, shown, pair, k) for k, pair in enumerate(pairs[:MOST_PAIRS])]
    if len(pairs) > MOST_PAIRS:
        words = "<p class=small>Maps of {} of {} pairs of fields; --fields A,B shows another.</p>"
        parts.append(fill(words, MOST_PAIRS, len(pairs)))
    parts.append(_runs(table, varied, folder))
    toml = read_text(Path(folder) / "sweep.toml")
    design = "<details><summary>The design (TOML)</summary><pre>{}</pre></details>"
    parts.append(fill(design, toml))
    versions = [f"{name} {version}" for name, version in record["versions"].items()]
    words = "<p class=small>Id {}; {}.</p>"
    parts.append(fill(words, record["identity"], ", ".join(versions)))
    return page(f"{record['name']}, a sweep of saddlery", joined(parts))


def _pairs(
    table: pd.DataFrame,
    fields: Sequence[str],
) -> list[tuple[str, ...]]:
    """The fields that maps may be over: pairs, or one alone, or none."""
    several = [name for name in fields if len(table[name].unique()) > 1]
    several = several or list(fields)
    pairs = list(itertools.combinations(several, 2))
    return pairs or [tuple(several[:1])]


def _head(record: dict[str, Any], count: int) -> Markup:
    return fill(
        "<header><p class=small>saddlery: report of a sweep</p><h1>{}</h1>"
        "<p class=lead>{:,} of {}, over {}.</p></header>",
        record["name"],
        count,
        counted(record["runs"], "run"),
        ", ".join(record["fields"]) or "seeds",
    )


def _failure(entry: dict[str, Any]) -> Markup:
    first, last = entry["runs"]
    which = f"Run {first}" if first == last else f"Runs {first} to {last}"
    return fill('<p class="note" role="note">{} failed: {}</p>', which, entry["error"])


def _impossible(table: pd.DataFrame) -> Markup:
    rows = [row for row in table.to_dict("records") if row["status"] == "impossible"]
    if not rows:
        return Markup()
    return fill(
        '<p class="note" role="note">{} impossible'
        " and left out of the maps, such as run {}: {}</p>",
        counted(len(rows), "of the runs is", "of the runs are"),
        rows[0]["run"],
        rows[0]["reason"],
    )


def _section(
    table: pd.DataFrame,
    shown: Sequence[Quantity],
    pair: Sequence[str],
    k: int,
) -> Markup:
    pictures, same = [], []
    for j, quantity in enumerate(shown):
        values = quantity.values(table)
        there = values[np.isfinite(values)]
        if np.ptp(there) == 0:
            same.append(f"{quantity.title}: {number(there[0])}")
            continue
        title = f"{quantity.title[0].upper()}{quantity.title[1:]}"
        draw = functools.partial(_draw, table, pair, quantity, values)
        picture = figure(
            draw,
            name=f"map-{k}-{j}",
            caption=f"{title}: {_means(table, pair, quantity, values)}.",
            size=MAP_SIZE,
            shown=True,
        )
        pictures.append(picture)
    constant = Markup()
    if same:
        words = "<p class=small>The same in every run that has one: {}.</p>"
        constant = fill(words, "; ".join(same))
    return fill(
        '<section class="run"><h2>{}</h2>{}<div class=curves>{}</div></section>',
        " and ".join(pair) or "seeds",
        constant,
        joined(pictures),
    )


def _means(
    table: pd.DataFrame,
    pair: Sequence[str],
    quantity: Quantity,
    values: np.ndarray,
) -> str:
    """What a point or a cell of a picture is."""
    if any(_continuous(table, name) for name in pair):
        return "a point a run"
    if pair:
        return "mean over seeds and all other fields, and its 95% interval over seeds"
    found = estimate(quantity, values, table["seed"].to_numpy())
    words = f"a point a seed; their mean is {number(found.mean)}"
    if not np.isfinite(found.low):
        return words
    return f"{words}, its 95% interval {number(found.low)} to {number(found.high)}"


def _draw(
    table: pd.DataFrame,
    pair: Sequence[str],
    quantity: Quantity,
    values: np.ndarray,
    axes: Axes,
) -> None:
    if any(_continuous(table, name) for name in pair):
        _scatter(table, pair, quantity, values, axes)
    elif len(pair) == 2:
        _draw_map(table, pair, quantity, values, axes)
    elif pair:
        _draw_means(table, pair[0], quantity, values, axes)
    else:
        _draw_seeds(table, quantity, values, axes)


def _draw_map(
    table: pd.DataFrame,
    pair: Sequence[str],
    quantity: Quantity,
    values: np.ndarray,
    axes: Axes,
) -> None:
    """The mean and its interval over the first field, to the right, and the
    second, upwards."""
    across, upwards = pair
    seeds = table["seed"].to_numpy()
    x, y = table[across].to_numpy(), table[upwards].to_numpy()
    columns, rows = (
        sorted(table[across].unique()),
        sorted(table[upwards].unique()),
    )
    found = np.empty((len(rows), len(columns), 4))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            at = (x == column) & (y == row)
            found[i, j] = estimate(quantity, values[at], seeds[at])
    names = (across, upwards, quantity.title)
    means, intervals = found[..., 0], found[..., 1:3]
    plots.heat_map(means, intervals, columns, rows, names, axes)


def _draw_means(
    table: pd.DataFrame,
    name: str,
    quantity: Quantity,
    values: np.ndarray,
    axes: Axes,
) -> None:
    """The mean and its interval at every value of one field."""
    seeds = table["seed"].to_numpy()
    column = table[name].to_numpy()
    places = sorted(table[name].unique())
    found = []
    for place in places:
        at = column == place
        found.append(estimate(quantity, values[at], seeds[at]))
    mean, low, high, _ = np.array(found).T
    spread = np.nan_to_num(np.abs(np.array([low, high]) - mean))
    ticks = range(len(places))
    axes.errorbar(ticks, mean, spread, fmt="o", capsize=3)
    axes.set_xticks(ticks, names_of(places), rotation=30)
    axes.set_xlabel(plots.literal(name))
    axes.set_ylabel(folded(quantity.title))


def _draw_seeds(
    table: pd.DataFrame,
    quantity: Quantity,
    values: np.ndarray,
    axes: Axes,
) -> None:
    """A point a seed, where nothing else varies."""
    axes.scatter(table["seed"], values, s=8)
    axes.locator_params(axis="x", nbins=8, integer=True)
    axes.set_xlabel("seed")
    axes.set_ylabel(folded(quantity.title))


def _continuous(table: pd.DataFrame, name: str) -> bool:
    """Whether a field has so many values that each is one of a continuum."""
    column = table[name]
    return column.dtype.kind in "if" and len(column.unique()) > CONTINUUM


def _scatter(
    table: pd.DataFrame,
    pair: Sequence[str],
    quantity: Quantity,
    values: np.ndarray,
    axes: Axes,
) -> None:
    """A point a run: in colour over two continuous fields, else against the
    one, the values of the other by colour and marker."""
    along = [name for name in pair if _continuous(table, name)]
    others = [name for name in pair if name not in along]
    x = table[along[0]]
    if len(along) == 2:
        points = axes.scatter(x, table[along[1]], c=values, s=8)
        bar = axes.figure.colorbar(points, ax=axes)
        bar.set_label(folded(quantity.title), fontsize=LETTERS)
        axes.set_ylabel(plots.literal(along[1]))
    else:
        for k, (at, words) in enumerate(_groups(table, others)):
            axes.scatter(
                x.to_numpy()[at],
                values[at],
                s=8,
                color=CYCLE[k % len(CYCLE)],
                marker=MARKERS[k % len(MARKERS)],
                label=words,
            )
        if others:
            _legend_beside(axes)
        axes.set_ylabel(folded(quantity.title))
    axes.set_xlabel(plots.literal(along[0]))
    for name, scale in zip(
        along,
        (axes.set_xscale, axes.set_yscale),
        strict=False,
    ):
        numbers = table[name].to_numpy()
        low, high = np.min(numbers), np.max(numbers)
        if low > 0 and high > LOGARITHMIC_FROM * low:
            scale("log")


def _groups(
    table: pd.DataFrame,
    others: Sequence[str],
) -> Iterator[tuple[Any, str]]:
    """The runs of each value of the other field, and its words; all of them
    where there is none."""
    if not others:
        yield slice(None), ""
    for name in others:
        short = plots.literal(name.rpartition(".")[2])
        values = sorted(table[name].unique())
        for value, words in zip(values, names_of(values), strict=True):
            at = (table[name] == value).to_numpy()
            yield at, f"{short} {words}"


def _legend_beside(axes: Axes) -> None:
    """The legend to the right of axes that make room for it, where it hides nothing."""
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, BESIDE * box.width, box.height))
    axes.legend(
        fontsize=LETTERS - 1,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1, 1),
        borderpad=0,
        labelspacing=0.1,
        handletextpad=0.1,
    )


def _runs(
    table: pd.DataFrame,
    varied: Sequence[str],
    folder: str | Path,
) -> Markup:
    """A row a run, which leads to its card."""
    rows = table.sort_values("run").head(LISTED).to_dict("records")
    possible = [row["run"] for row in rows if row["status"] != "impossible"]
    drawn = curves(folder, possible)
    cards, cells = [], []
    for row in rows:
        run = row["run"]
        command = ""
        if row["status"] == "stopped":
            command = f"saddlery report {shlex.quote(f'{folder}#{run}')}"
        cards.append(card(row, varied, drawn.get(run), command))
        cells.append(_cells_of(row, varied))
    columns = ("run", "seed", *varied, "status", "units", "loss")
    more = ""
    if len(table) > LISTED:
        more = f" (the first {LISTED} of {len(table):,}; saddlery runs shows all)"
    caption = (
        f"Runs{more}. Each number leads to the run's card;"
        " the command there repeats, certifies and shows it whole."
    )
    return fill(
        '<section class="run"><h2>Runs</h2>{}<h3>Each run</h3><div class=cards>{}</div></section>',
        grid(columns, cells, caption=caption),
        joined(cards),
    )


def _cells_of(
    row: Mapping[Any, Any],
    varied: Sequence[str],
) -> list[object]:
    return [
        Linked(f"run-{row['run']}", row["run"]),
        row["seed"],
        *(setting(row[name]) for name in varied),
        row["status"],
        _units(row["units"]),
        row["loss"],
    ]


def _units(units: Any) -> str:
    if units is None or np.isscalar(units):
        return "-"
    return " > ".join(map(str, units))
