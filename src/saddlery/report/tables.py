"""Tables of a page: every run of a tour, and the certificates of one run.

Every cell is escaped as it is filled in.
"""

# ruff: noqa: RUF001 (the page is set like print: a minus is a minus, a dash a dash)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .. import plots
from ..basis.records import number
from ..plateaus import Stage, Stages
from ..plateaus.stage import fixed_point_cells
from ..saddles import FixedPoint
from .markup import Markup, counted, fill, joined

# How a verdict is set: the class of its style, and a sign for those who see no colours.
VERDICT_SIGNS = {
    "minimum": ("minimum", "●"),
    "strict saddle": ("strict", "▲"),
    "degenerate saddle": ("degenerate", "◆"),
    "undecided": ("none", "◇"),
    "no fixed point found": ("none", "○"),
}
NOT_CERTIFIED = ("none", "·")
BREAK = Markup("<br>")


class Linked(NamedTuple):
    """A value that leads to a place of the page, by its id."""

    place: str
    value: object


SUMMARY_COLUMNS = (
    "run",
    "stage",
    "units",
    "flow time",
    "loss",
    "verdict",
    "fixed-point loss",
    "|gradient|",
    "distance",
    "index",
    "zero modes",
    "utility",
    "case",
)


def summary_table(runs: Sequence[Stages]) -> Markup:
    """All runs and their stages, one row a stage."""
    body = joined(_summary_rows(found, k) for k, found in enumerate(runs))
    caption = (
        "Every run and its stages. Distance is in weights, from the plateau to its fixed point."
    )
    table = fill(
        "<table class=tour><caption>{}</caption><thead><tr>{}</tr></thead>{}</table>",
        caption,
        _heads(SUMMARY_COLUMNS),
        body,
    )
    return scroll(table, caption)


def _heads(names: Sequence[str]) -> Markup:
    return joined(fill('<th scope="col">{}</th>', name) for name in names)


def _cells(values: Iterable[object]) -> Markup:
    return joined(fill("<td>{}</td>", value) for value in values)


def _summary_rows(found: Stages, k: int) -> Markup:
    e = found.run.experiment
    first = fill(
        '<th scope="rowgroup" rowspan="{}"><a href="#run-{}">{}</a><small>{}</small></th>',
        max(len(found), 1),
        k,
        e.name,
        e.network.architecture,
    )
    rows = [_summary_cells(stage) for stage in found.stages]
    if not rows:
        none = fill(
            '<td colspan="{}">no plateau found; {}</td>',
            len(SUMMARY_COLUMNS) - 1,
            found.run.trajectory.status,
        )
        rows = [none]
    rows[0] = first + rows[0]
    lines = joined(fill("<tr>{}</tr>", row) for row in rows)
    return fill("<tbody>{}</tbody>", lines)


def _summary_cells(stage: Stage) -> Markup:
    cells: list[object] = [
        stage.kind,
        units(stage),
        interval(stage),
        stage.loss,
        verdict(stage),
    ]
    return _cells([*cells, *fixed_point_cells(stage)])


def units(stage: Stage) -> str:
    """The effective units, as a number a layer."""
    return plots.units_label(stage).removesuffix("s").removesuffix(" unit")


def interval(stage: Stage) -> str:
    """From when to when a plateau lasts, in flow time."""
    return f"{plots.readable(stage.start)} – {plots.readable(stage.end)}"


def verdict(stage: Stage) -> Markup:
    """The verdict, as a sign and a word."""
    words = "not certified"
    if stage.certificate is not None:
        words = stage.certificate.verdict
    name, sign = VERDICT_SIGNS.get(words, NOT_CERTIFIED)
    return marked(words, name, sign)


def marked(words: str, name: str, sign: str) -> Markup:
    """Words after a sign, in the style of a name."""
    return fill(
        '<span class="mark {}"><i aria-hidden="true">{}</i>{}</span>',
        name,
        sign,
        words,
    )


def certificates(found: Stages) -> Markup:
    """One column a stage, one row a field: what the plateau shows, then
    what the certificate says."""
    heads, columns = [], []
    for stage in found.stages:
        head = '<th scope="col">{}<small>{}</small></th>'
        heads.append(fill(head, stage.kind, plots.units_label(stage)))
        columns.append(
            {**_plateau_fields(stage), **_certificate_fields(stage)},
        )
    names = dict.fromkeys(name for column in columns for name in column)
    rows = []
    for name in names:
        cells = _cells(column.get(name, "-") for column in columns)
        rows.append(fill('<tr><th scope="row">{}</th>{}</tr>', name, cells))
    caption = "Plateaus and certificates, one column a stage."
    table = fill(
        "<table class=fields><caption>{}</caption>"
        '<thead><tr><th scope="col">field</th>{}</tr></thead>'
        "<tbody>{}</tbody></table>",
        caption,
        joined(heads),
        joined(rows),
    )
    return fill("<h3>Certificates</h3>{}", scroll(table, caption))


def _plateau_fields(stage: Stage) -> dict[str, object]:
    counts = []
    for layer in stage.effective:
        counts.append(
            f"{layer.active} active, {counted(layer.rays, 'ray')},"
            f" rank {layer.rank}, minimal {layer.minimal}"
        )
    return {
        "flow time": interval(stage),
        "loss on the plateau": number(stage.loss, 8),
        "units by layer": joined(counts, BREAK),
        "plateau strength": stage.strength,
        "map tolerance": stage.tolerance,
    }


def _certificate_fields(stage: Stage) -> dict[str, object]:
    c = stage.certificate
    if c is None:
        return {"verdict": verdict(stage)}
    return {
        **dict(c.rows()),
        "verdict": verdict(stage),
        "Newton steps": c.steps,
        "spectrum": c.method if isinstance(c, FixedPoint) else None,
    }


def grid(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    caption: str,
) -> Markup:
    """A plain table, numbers as people write them.

    Example
    -------
    >>> from saddlery.report.tables import grid
    >>> "<td>1.5</td>" in grid(["loss"], [[1.5]], caption="Losses.")
    True
    """
    lines = [fill("<tr>{}</tr>", joined(map(_cell, row))) for row in rows]
    table = fill(
        "<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
        caption,
        _heads(columns),
        joined(lines),
    )
    return scroll(table, caption)


def _cell(value: object) -> Markup:
    if isinstance(value, Linked):
        return fill('<td><a href="#{}">{}</a></td>', value.place, value.value)
    return fill("<td>{}</td>", value)


def scroll(table: Markup, label: str) -> Markup:
    """A table that scrolls by itself where the page is narrow, and by the keyboard."""
    return fill(
        '<div class="scroll" role="region" tabindex="0" aria-label="{}">{}</div>',
        label,
        table,
    )
