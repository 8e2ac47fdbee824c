"""Tables of a page: every run of a tour, and the certificates of one run. Every cell is escaped."""

# ruff: noqa: RUF001 (the page is set like print: a minus is a minus, a dash a dash)

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from .. import plots
from ..records import number
from ..stage import Stage, Stages

MARKS = {
    "minimum": ("minimum", "●"),
    "strict saddle": ("strict", "▲"),
    "degenerate saddle": ("degenerate", "◆"),
    "undecided": ("none", "◇"),
    "not a fixed point": ("none", "○"),
}
NOT_CERTIFIED = ("none", "·")


@dataclass(frozen=True)
class Linked:
    """A value that leads to a place."""

    target: str
    value: object


def escaped(value: object) -> str:
    """Any value as escaped text; numbers as people write them."""
    if isinstance(value, Linked):
        return f'<a href="{html.escape(value.target)}">{escaped(value.value)}</a>'
    return html.escape(number(value))


COLUMNS = (
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


def summary_table(runs: Sequence[Stages]) -> str:
    """All runs and their stages, one row a stage."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in COLUMNS)
    body = "".join(_summary_rows(found, k) for k, found in enumerate(runs))
    caption = "Every run and its stages. Distance is in weights, from the plateau to its fixed point."
    return scroll(
        f"<table class=tour><caption>{caption}</caption><thead><tr>{head}</tr></thead>{body}</table>", caption
    )


def _summary_rows(found: Stages, k: int) -> str:
    e = found.run.experiment
    first = (
        f'<th scope="rowgroup" rowspan="{max(len(found), 1)}"><a href="#run-{k}">{escaped(e.name)}</a>'
        f"<small>{escaped(e.network.architecture)}</small></th>"
    )
    rows = [_summary_cells(stage) for stage in found.stages]
    rows = rows or [f'<td colspan="{len(COLUMNS) - 1}">no plateau found; {escaped(found.run.trajectory.status)}</td>']
    return "<tbody>" + "".join(f"<tr>{first if j == 0 else ''}{row}</tr>" for j, row in enumerate(rows)) + "</tbody>"


def _summary_cells(stage: Stage) -> str:
    c = stage.certificate
    cells = [escaped(stage.kind), escaped(units(stage)), escaped(interval(stage)), escaped(stage.loss), verdict(stage)]
    if c is None:
        cells += ["-"] * 7
    else:
        utility = None if c.utility is None else c.utility.value
        gradient = f"{c.gradient_norm:.1e}"
        cells += [escaped(v) for v in (c.loss, gradient, c.distance, c.index, c.zero_modes, utility, c.construction)]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def units(stage: Stage) -> str:
    """The effective units, as a number a layer."""
    return plots.units_label(stage).removesuffix("s").removesuffix(" unit")


def interval(stage: Stage) -> str:
    """From when to when a plateau lasts, in flow time."""
    return f"{plots.readable(stage.start)} – {plots.readable(stage.end)}"


def verdict(stage: Stage) -> str:
    """The verdict, as a sign and a word."""
    words = "not certified" if stage.certificate is None else stage.certificate.verdict
    name, sign = MARKS.get(words, NOT_CERTIFIED)
    return f'<span class="mark {name}"><i aria-hidden="true">{sign}</i>{escaped(words)}</span>'


def certificates(found: Stages) -> str:
    """One column a stage, one row a field: what the plateau shows, then what the certificate says."""
    head = "".join(
        f'<th scope="col">{escaped(s.kind)}<small>{escaped(plots.units_label(s))}</small></th>' for s in found.stages
    )
    columns = [{**_plateau_fields(s), **_certificate_fields(s)} for s in found.stages]
    names = list(dict.fromkeys(name for column in columns for name in column))
    cells = {name: "".join(f"<td>{column.get(name, '-')}</td>" for column in columns) for name in names}
    rows = "".join(f'<tr><th scope="row">{escaped(name)}</th>{cells[name]}</tr>' for name in names)
    caption = "Plateaus and certificates, one column a stage."
    head = f'<thead><tr><th scope="col">field</th>{head}</tr></thead>'
    table = f"<table class=fields><caption>{caption}</caption>{head}<tbody>{rows}</tbody></table>"
    return f"<h3>Certificates</h3>{scroll(table, caption)}"


def _plateau_fields(stage: Stage) -> dict[str, str]:
    counts = [f"{e.active} active, {e.rays} rays, rank {e.rank}, minimal {e.minimal}" for e in stage.effective]
    return {
        "flow time": escaped(interval(stage)),
        "loss on the plateau": escaped(number(stage.loss, 8)),
        "units by layer": "<br>".join(map(escaped, counts)),
        "plateau strength": escaped(stage.strength),
        "map tolerance": escaped(stage.tolerance),
    }


def _certificate_fields(stage: Stage) -> dict[str, str]:
    c = stage.certificate
    if c is None:
        return {"verdict": verdict(stage)}
    fields = {name: escaped(value) for name, value in c.rows()}
    return {
        **fields,
        "verdict": verdict(stage),
        "Newton steps": escaped(c.steps),
        "spectrum": escaped(c.method or None),
    }


def grid(columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str) -> str:
    """A plain table, numbers as people write them."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<table><caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return scroll(table, caption)


def scroll(table: str, label: str) -> str:
    """A table that scrolls by itself where the page is narrow, and by the keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}">{table}</div>'
