"""Self-contained HTML pages for a run and for a tour: styles and figures are inside, and no request leaves the page.

Everything that a user can name is escaped. The figures are SVG with text as text; their colours become variables of the
page's style, so that they follow a light or a dark setting. The same stages give the same bytes.
"""

# ruff: noqa: RUF001 (the page is set like print: a minus is a minus, a dash a dash)

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from . import plots
from .checks import require
from .records import number
from .stage import Stage, Stages
from .store import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Axes"], object]
WIDE, SQUARE = (4.0, 2.6), (2.5, 2.3)  # inches
MARKS = {
    "minimum": ("minimum", "●"),
    "strict saddle": ("strict", "▲"),
    "degenerate saddle": ("degenerate", "◆"),
    "not a fixed point": ("none", "○"),
}
NOT_CERTIFIED = ("none", "·")

# name: (as plots draws it, on a dark page)
COLOURS = {
    "ink": (plots.INK, "#ececec"),
    "muted": (plots.MUTED, "#a3a3a3"),
    "rule": (plots.RULE, "#4a4a4a"),
    "blue": (plots.BLUE, "#5ab4ec"),
    "vermilion": (plots.VERMILION, "#ff8f4d"),
    "green": (plots.GREEN, "#2cc39a"),
    "purple": (plots.PURPLE, "#e3a0c5"),
    "orange": (plots.ORANGE, "#f0b73d"),
    "sky": (plots.SKY, "#3f8fc0"),
}
STYLE = (
    ":root{color-scheme:light dark;--page:#fff;--card:#fafafa;--soft:#f1f3f5;"
    + "".join(f"--{name}:{light};" for name, (light, _) in COLOURS.items())
    + "}\n@media(prefers-color-scheme:dark){:root{--page:#15171a;--card:#1c1f23;--soft:#24282d;"
    + "".join(f"--{name}:{dark};" for name, (_, dark) in COLOURS.items())
    + """}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--page);margin:0}
main{max-width:80rem;margin:0 auto;padding:1.5rem clamp(.8rem,3vw,2rem) 4rem}
h1{font-size:clamp(1.6rem,4vw,2.2rem);line-height:1.15;margin:.5rem 0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.5rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h3{font-size:1.05rem;margin:2rem 0 .6rem}
a{color:var(--blue)}
a:focus-visible,[tabindex]:focus-visible,summary:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
.lead{max-width:46rem;color:var(--muted);margin:.2rem 0 1rem}
.run{border-top:2px solid var(--ink);margin-top:3.5rem;padding-top:1.2rem}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.7rem 1.2rem;margin:1rem 0}
.facts div{min-width:0} dt{font-size:.78rem;color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.note{border-left:4px solid var(--orange);background:var(--soft);padding:.5rem .9rem;margin:1rem 0;border-radius:0 6px 6px 0}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1.2rem 1.4rem;align-items:start}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15.5rem),1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.8rem .9rem;min-width:0}
.card h4{margin:0;font-size:1.05rem;display:flex;justify-content:space-between;gap:.5rem;align-items:baseline;flex-wrap:wrap}
.card h4 small{font-weight:400;color:var(--muted);font-size:.8rem}
.card p{margin:.15rem 0 .5rem;font-size:.9rem}
figure{margin:0;min-width:0} .curves figure{max-width:36rem} .card figure{max-width:20rem;margin:.6rem auto 0}
figcaption{font-size:.82rem;color:var(--muted);line-height:1.4;margin-top:.2rem}
svg{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:8px}
table{border-collapse:collapse;font-size:.86rem;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.6rem .7rem;color:var(--muted);caption-side:bottom}
th,td{padding:.36rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
tbody:last-of-type tr:last-child>*{border-bottom:0}
thead th{background:var(--soft);white-space:nowrap;font-weight:600}
tbody th{font-weight:500} .tour{font-size:.82rem}
.tour :is(td,th){padding:.32rem .5rem} .tour td{white-space:nowrap}
.tour tbody th[scope=rowgroup]{border-right:1px solid var(--rule);min-width:8.5rem}
.fields th:first-child{position:sticky;left:0;background:var(--soft);min-width:7.5rem;color:var(--muted)}
.fields td{min-width:11rem;max-width:20rem}
th small{display:block;font-weight:400;color:var(--muted)}
.legend{font-size:.9rem;margin:.6rem 0}.legend dt{margin-top:.6rem;font-weight:600;color:var(--ink)}
.mark{white-space:nowrap;font-weight:600}.mark i{font-style:normal;margin-right:.3em}
.minimum{color:var(--blue)}.strict{color:var(--vermilion)}.degenerate{color:var(--purple)}.none{color:var(--muted)}
@media not all and (prefers-color-scheme:dark){.strict{color:#b34700}.degenerate{color:#a3447c}}
details{margin:1rem 0;border:1px solid var(--rule);border-radius:8px;padding:.5rem .9rem} summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;font-size:.84rem;line-height:1.45;margin:.6rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
.small{font-size:.82rem;color:var(--muted);overflow-wrap:anywhere}
@media print{.card,figure,tr{break-inside:avoid}.scroll{overflow:visible}}
"""
)
LEGEND = """<details><summary>How to read this page</summary>
<dl class=legend>
<dt>Plateau</dt><dd>A stretch of flow time in which the loss rests, shaded in the curves and found from the loss alone.
Flow time is learning rate × steps; the loss is a mean over samples, and squared loss carries the half.</dd>
<dt>Effective units</dt><dd>The units of the smallest network that computes the same map: the names above the shaded bands.</dd>
<dt>Certificate</dt><dd>The fixed point found behind a plateau (dashed: its loss), with its gradient norm in float64 and its
distance in weights from the run. Index: negative Hessian eigenvalues. Zero modes: eigenvalues that are zero to rounding.</dd>
<dt>Verdict</dt><dd><span class="mark strict"><i aria-hidden="true">▲</i>strict saddle</span>: descent at second order.
<span class="mark degenerate"><i aria-hidden="true">◆</i>degenerate saddle</span>: descent only at higher order.
<span class="mark minimum"><i aria-hidden="true">●</i>minimum</span>: no descent found.
<span class="mark none"><i aria-hidden="true">○</i>not a fixed point</span>:
none was found near the plateau, and the reason says why.</dd>
<dt>Construction</dt><dd>How Theorem 1 of Zhang, Saxe &amp; Latham (2026) embeds the narrow network in the wide one:
(i) copies of a unit, (ii) silent units, (iii) proportional units, (iv) linear combinations of units.</dd>
</dl></details>"""


# ---------------------------------------------------------------------- pages
def run_page(found: Stages) -> str:
    """The page of one run: curves, stages, certificates, experiment and versions, as one HTML document.

    Cost: two or three pictures a stage and layer, about 0.1 s each. Raises InputError where matplotlib is missing.
    """
    require(
        isinstance(found, Stages),
        "a report",
        "made of the Stages of a run",
        type(found).__name__,
        "pass stages(run) or certify(run)",
    )
    body = f"<header><p class=small>saddlery: report of a run</p></header>{_section(found, 0, 'h1')}{LEGEND}"
    return _page(f"{found.run.experiment.name}, a run of saddlery", body)


def tour_page(runs: Sequence[Stages], summary: Mapping[str, Any] | None = None) -> str:
    """One page for many runs: a table of all runs and stages first, then a section a run.

    summary: the record of the tour, if it should be on the page as text (see `tour.summary`).
    """
    runs = list(runs)
    for found in runs:
        require(isinstance(found, Stages), "a tour", "made of the Stages of runs", type(found).__name__)
    count = sum(len(found) for found in runs)
    certified = sum(s.certificate is not None and s.certificate.certified for found in runs for s in found.stages)
    parts = [
        "<header><h1>A tour of saddles</h1><p class=lead>",
        f"{_plural(len(runs), 'run')}, {_plural(count, 'plateau')}, {_plural(certified, 'certified fixed point')}: what each",
        " network rests on while it learns, and which smaller network that is.</p></header>",
        _summary(runs),
        LEGEND,
        *(_section(found, k, "h2") for k, found in enumerate(runs)),
    ]
    if summary is not None:
        text = html.escape(json.dumps(summary, indent=1))
        parts.append(f"<details><summary>Record of the tour (JSON)</summary><pre>{text}</pre></details>")
    return _page("A tour of saddles", "".join(parts))


def write_report(found: Stages | Sequence[Stages], path: str | Path) -> Path:
    """Write the page of a run, or of several, whole or not at all; returns the path. Raises StorageError."""
    return write_text(path, run_page(found) if isinstance(found, Stages) else tour_page(found))


def _page(title: str, body: str) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>{body}</main></body></html>\n'


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'x' if noun.endswith('eau') else 's'}"


def _e(value: object) -> str:
    """Any value as escaped text; numbers as people write them."""
    return html.escape(number(value))


# --------------------------------------------------------------------- tables
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


def _summary(runs: Sequence[Stages]) -> str:
    head = "".join(f'<th scope="col">{_e(name)}</th>' for name in COLUMNS)
    body = "".join(_summary_rows(found, k) for k, found in enumerate(runs))
    caption = "Every run and its stages. Distance is in weights, from the plateau to its fixed point."
    return _scroll(
        f"<table class=tour><caption>{caption}</caption><thead><tr>{head}</tr></thead>{body}</table>", caption
    )


def _summary_rows(found: Stages, k: int) -> str:
    e = found.run.experiment
    first = (
        f'<th scope="rowgroup" rowspan="{max(len(found), 1)}"><a href="#run-{k}">{_e(e.name)}</a>'
        f"<small>{_e(e.network.architecture)}</small></th>"
    )
    rows = [_summary_cells(stage) for stage in found.stages]
    rows = rows or [f'<td colspan="{len(COLUMNS) - 1}">no plateau found; {_e(found.run.trajectory.status)}</td>']
    return "<tbody>" + "".join(f"<tr>{first if j == 0 else ''}{row}</tr>" for j, row in enumerate(rows)) + "</tbody>"


def _summary_cells(stage: Stage) -> str:
    c = stage.certificate
    cells = [_e(stage.kind), _e(_units(stage)), _e(_interval(stage)), _e(stage.loss), _verdict(stage)]
    if c is None:
        cells += ["-"] * 7
    else:
        utility = None if c.utility is None else c.utility.value
        gradient = f"{c.gradient_norm:.1e}"
        cells += [_e(v) for v in (c.loss, gradient, c.distance, c.index, c.zero_modes, utility, c.construction)]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _units(stage: Stage) -> str:
    return plots.units_label(stage).removesuffix("s").removesuffix(" unit")


def _interval(stage: Stage) -> str:
    return f"{plots.readable(stage.start)} – {plots.readable(stage.end)}"


def _verdict(stage: Stage) -> str:
    words = "not certified" if stage.certificate is None else stage.certificate.verdict
    name, sign = MARKS.get(words, NOT_CERTIFIED)
    return f'<span class="mark {name}"><i aria-hidden="true">{sign}</i>{_e(words)}</span>'


def _certificates(found: Stages) -> str:
    """One column a stage, one row a field: what the plateau shows, then what the certificate says."""
    head = "".join(f'<th scope="col">{_e(s.kind)}<small>{_e(plots.units_label(s))}</small></th>' for s in found.stages)
    columns = [{**_plateau_fields(s), **_certificate_fields(s)} for s in found.stages]
    names = list(dict.fromkeys(name for column in columns for name in column))
    cells = {name: "".join(f"<td>{column.get(name, '-')}</td>" for column in columns) for name in names}
    rows = "".join(f'<tr><th scope="row">{_e(name)}</th>{cells[name]}</tr>' for name in names)
    caption = "Plateaus and certificates, one column a stage."
    head = f'<thead><tr><th scope="col">field</th>{head}</tr></thead>'
    table = f"<table class=fields><caption>{caption}</caption>{head}<tbody>{rows}</tbody></table>"
    return f"<h3>Certificates</h3>{_scroll(table, caption)}"


def _plateau_fields(stage: Stage) -> dict[str, str]:
    counts = [f"{e.active} active, {e.rays} rays, rank {e.rank}, minimal {e.minimal}" for e in stage.effective]
    return {
        "flow time": _e(_interval(stage)),
        "loss on the plateau": _e(number(stage.loss, 8)),
        "units by layer": "<br>".join(map(_e, counts)),
        "plateau strength": _e(stage.strength),
        "map tolerance": _e(stage.tolerance),
    }


def _certificate_fields(stage: Stage) -> dict[str, str]:
    c = stage.certificate
    if c is None:
        return {"verdict": _verdict(stage)}
    fields = {name: _e(value) for name, value in c.rows()}
    return {**fields, "verdict": _verdict(stage), "Newton steps": _e(c.steps), "spectrum": _e(c.method or None)}


def _scroll(table: str, label: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}">{table}</div>'


# ------------------------------------------------------------------- sections
_DRAWN: WeakKeyDictionary[Stages, dict[tuple[int, str], str]] = WeakKeyDictionary()  # a growing tour redraws nothing


def _section(found: Stages, k: int, heading: str) -> str:
    """The section of one run, drawn once for each Stages (which are immutable) and place."""
    sections = _DRAWN.setdefault(found, {})
    if (k, heading) not in sections:
        sections[k, heading] = _draw_section(found, k, heading)
    return sections[k, heading]


def _draw_section(found: Stages, k: int, heading: str) -> str:
    run, e = found.run, found.run.experiment
    anchor = f"run-{k}"
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    parts = [
        f'<section class="run" id="{anchor}" aria-labelledby="{anchor}-name">',
        f'<{heading} id="{anchor}-name">{_e(e.name)}</{heading}>',
        f"<p class=lead>{_e(e.description)}</p>" if e.description else "",
        _facts(found),
        _curves(found, anchor),
        _cards(found, anchor),
        _certificates(found) if found.stages else "",
        f"<details><summary>The experiment (TOML)</summary><pre>{html.escape(e.to_toml())}</pre></details>",
        f'<p class="small">Experiment id {_e(e.identity)}; {_e(versions)}.</p></section>',
    ]
    return "".join(parts)


def _facts(found: Stages) -> str:
    """Who, what, how it ended; and what a reader should be warned of."""
    run, t = found.run, found.run.trajectory
    data = "samples" if run.data == "samples" else f"exact moments of the {run.data} feature"
    rows = [
        (name, {"data": data, "flow time": plots.readable(t.flow_time[-1])}.get(name, value))
        for name, value in run.rows()
        if name not in ("experiment", "warning", "loss")
    ]
    rows += [("loss at the start", number(t.loss[0])), ("final loss", number(run.final_loss))]
    cells = "".join(f"<div><dt>{_e(name)}</dt><dd>{_e(value)}</dd></div>" for name, value in rows)
    notes = list(run.warnings)
    if t.status != "stopped":
        notes.append(f"This run was not completed: {t.status}, {t.reason}.")
    if not found.stages:
        notes.append("No plateau was found on this run.")
    return f"<dl class=facts>{cells}</dl>" + "".join(f'<p class="note" role="note">{_e(note)}</p>' for note in notes)


def _curves(found: Stages, anchor: str) -> str:
    run = found.run
    dashed = any(s.certificate is not None and s.certificate.certified for s in found.stages)
    words = "Loss against flow time." + (" Shaded: plateaus, named by effective units." if found.stages else "")
    words += " Dashed: the loss of each certified fixed point." if dashed else ""
    figures = [_figure(lambda ax: plots.loss_curve(found, ax), f"{anchor}-loss", words, WIDE)]
    layers = range(len(run.experiment.network.layers))
    for k in layers:
        of = f" of layer {k + 1}" if len(layers) > 1 else ""
        pictures = (
            (f"singular_values_{k}", plots.singular_values, f"The largest singular values{of} against flow time."),
            (f"unit_norms_{k}", plots.unit_norms, f"The strength of every unit{of} against flow time."),
        )
        figures += [
            _figure(lambda ax, draw=draw, k=k: draw(found, ax, layer=k), f"{anchor}-{name}", caption, WIDE)
            for name, draw, caption in pictures
            if name in run.trajectory.observables
        ]
    return f"<div class=curves>{''.join(figures)}</div>"


def _cards(found: Stages, anchor: str) -> str:
    """One card a stage: the units of every layer there and the Hessian's spectrum at the fixed point behind it."""
    if not found.stages:
        return ""
    layers = range(len(found.run.experiment.network.layers))
    views = [plots.view(found.run, found.stages, layer=k) for k in layers]
    cards = "".join(_card(found, j, views, f"{anchor}-stage-{j}") for j in range(len(found)))
    hessian = any(s.certificate is not None for s in found.stages)
    title = "Stages: the units of the run" + (", and the Hessian at the fixed point" if hessian else "")
    return f"<h3>{title}</h3><div class=cards>{cards}</div>"


def _card(found: Stages, j: int, views: Sequence[plots.View], anchor: str) -> str:
    stage, run = found[j], found.run
    name = f"the {stage.kind} stage with {plots.units_label(stage)}"
    figures = []
    for k, shared in enumerate(views):
        of = f" of layer {k + 1}" if len(views) > 1 else ""
        unit = run.experiment.network.layers[k].unit
        pictures = [("units", plots.unit_weights, f"Units{of} at {name}.")]
        if plots.is_head(unit) and "rank" in unit.options:
            pictures.append(("directions", plots.head_directions, f"Keys and queries{of} at {name}."))
        figures += [
            _figure(
                lambda ax, draw=draw, k=k, shared=shared: draw(run, stage, ax, layer=k, shared=shared),
                f"{anchor}-{what}-{k}",
                words,
                SQUARE,
                shown=False,
            )
            for what, draw, words in pictures
        ]
    c = stage.certificate
    if c is not None:
        counts = f"{_counts(c.index)} negative, {_counts(c.zero_modes)} zero"
        there = f"Hessian eigenvalues at the fixed point behind {name}: {counts}."
        words = there if c.certified else f"No fixed point was found behind {name}, so there is no spectrum."
        figures.append(_figure(lambda ax: plots.spectrum(c, ax), f"{anchor}-spectrum", words, SQUARE, shown=False))
    interval = f"<span class=small>flow time {_e(_interval(stage))}<br>loss {_e(stage.loss)}</span>"
    return (
        f'<article class="card"><h4>{_e(plots.units_label(stage))} <small>{_e(stage.kind)}</small></h4>'
        f"<p>{_verdict(stage)}<br>{interval}</p>{''.join(figures)}</article>"
    )


def _counts(count: int | None) -> str:
    return "an unknown number" if count is None else str(count)


# -------------------------------------------------------------------- figures
@contextmanager
def _style(salt: str):
    """Matplotlib's settings for figures of a page, inside the context only."""
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.hashsalt": salt,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 8.5,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.linewidth": 0.7,
        "axes.edgecolor": plots.MUTED,
        "axes.labelcolor": plots.INK,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": plots.INK,
        "xtick.color": plots.MUTED,
        "ytick.color": plots.MUTED,
        "xtick.labelcolor": plots.INK,
        "ytick.labelcolor": plots.INK,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "legend.labelcolor": plots.INK,
        "path.simplify": True,
        "path.simplify_threshold": 0.2,
    }
    with matplotlib.rc_context(settings):
        yield


def _figure(draw: Draw, name: str, caption: str, size: tuple[float, float], *, shown: bool = True) -> str:
    """One picture as inline SVG with ids of its own; the caption is its description, and printed below it if `shown`."""
    plots.new_axes()  # the message where matplotlib is missing
    from matplotlib.figure import Figure

    with _style(name):
        figure = Figure(figsize=size)
        axes = figure.add_axes(_frame(size))
        draw(axes)
        svg = _svg(figure, name)
    label = html.escape(caption)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure>{svg}{f'<figcaption>{label}</figcaption>' if shown else ''}</figure>"


def _frame(size: tuple[float, float]) -> tuple[float, float, float, float]:
    """The same margins in inches for every picture of a size, so that their axes line up in a grid."""
    width, height = size
    left, right, bottom, top = (
        0.68 if width > 3 else 0.62,
        0.24,
        0.58 if width > 3 else 0.44,
        0.36 if width > 3 else 0.06,
    )
    return left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height


def _svg(figure: Figure, name: str) -> str:
    """The figure's SVG, small and safe to inline: no header, no metadata, unused ids dropped and the others prefixed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    opening, rest = text.split(">", 1)
    text = re.sub(r' (?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", opening) + ">" + rest
    text = text.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for variable, (drawn, _) in COLOURS.items():
        text = text.replace(drawn, f"var(--{variable})")
    text = re.sub(r'( (?:d|x|y|transform|clip-path)=")([^"]*)', lambda m: m[1] + _rounded(m[2]), text)
    return re.sub(r">\s+<", "><", text).strip()


def _rounded(numbers: str) -> str:
    """Coordinates to a fiftieth of a point."""
    return " ".join(re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), numbers).split())
