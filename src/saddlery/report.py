"""Self-contained HTML pages for a run and for a tour: no request leaves the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

from . import plots
from .records import html_table
from .stage import Stages
from .store import write_text

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1,h2,h3{line-height:1.2} figure{margin:1rem 0;overflow-x:auto} figcaption{font-size:.85rem;opacity:.8}
svg{max-width:100%;height:auto;background:#fff;border-radius:6px}
.scroll{overflow-x:auto} table{border-collapse:collapse;font-size:.85rem;margin:1rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{background:var(--soft)} caption{text-align:left;font-weight:600;padding:.3rem 0}
pre{background:var(--soft);padding:1rem;overflow-x:auto;border-radius:6px}
"""


def run_page(found: Stages) -> str:
    """The page of one run."""
    return _page(f"saddlery: {found.run.experiment.name}", _section(found, "run"))


def tour_page(runs: Sequence[Stages]) -> str:
    """One page for many runs: a summary first, then a section a run."""
    columns = ("run", "architecture", "stage", "loss", "units", "verdict", "|gradient|", "distance", "index", "case")
    rows = [row for found in runs for row in _summary(found)]
    links = "".join(f'<li><a href="#{_anchor(r)}">{html.escape(r.run.experiment.name)}</a></li>' for r in runs)
    body = "<h1>A tour of saddles</h1><p>Every plateau of every run, and the fixed point behind it.</p>"
    body += f"<nav><ul>{links}</ul></nav><div class=scroll>{html_table(columns, rows)}</div>"
    return _page("saddlery: tour", body + "".join(_section(found, _anchor(found)) for found in runs))


def write_report(found: Stages | Sequence[Stages], path: str | Path) -> Path:
    """Write the page of a run, or of several, whole or not at all."""
    return write_text(path, run_page(found) if isinstance(found, Stages) else tour_page(found))


def _anchor(found: Stages) -> str:
    return f"run-{found.run.experiment.identity}"


def _summary(found: Stages) -> list[list[object]]:
    rows = []
    for stage in found.stages:
        c = stage.certificate
        numbers = (
            [None] * 5 if c is None else [c.verdict, f"{c.gradient_norm:.1e}", c.distance, c.index, c.construction]
        )
        e = found.run.experiment
        rows.append([e.name, e.network.architecture, stage.kind, stage.loss, str(stage.effective_units), *numbers])
    return rows


def _page(title: str, body: str) -> str:
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
    head += f"<title>{html.escape(title)}</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"


def _section(found: Stages, anchor: str) -> str:
    run, e = found.run, found.run.experiment
    parts = [
        f"<section id={anchor}><h2>{html.escape(e.name)}</h2><p>{html.escape(e.description)}</p>",
        html_table(("run", ""), run.rows()),
        _loss(found, anchor),
    ]
    if found.stages:
        parts += [
            _weights(found, anchor),
            _spectra(found, anchor),
            f"<div class=scroll>{html_table(*found.table())}</div>",
        ]
        parts += [
            html_table((f"{s.kind}, {plots.label(s)}", ""), s.certificate.rows())
            for s in found.stages
            if s.certificate is not None
        ]
    toml = html.escape(e.to_toml())
    versions = ", ".join(f"{k} {v}" for k, v in run.versions.items())
    parts.append(
        f"<details><summary>experiment.toml</summary><pre>{toml}</pre></details><p><small>{html.escape(versions)}</small></p></section>"
    )
    return "".join(parts)


def _loss(found: Stages, anchor: str) -> str:
    figure, axes = plots.figure(1, 2, (9, 3))
    plots.loss_curve(found, axes[0][0])
    plots.observable(found.run, "singular_values_0", axes[0][1])
    axes[0][1].set_xlim(axes[0][0].get_xlim())
    return _figure(
        figure,
        f"{anchor}-loss",
        "Loss with its plateaus, labelled by effective units (dashed: loss of the certified"
        " fixed point), and the singular values of the stacked weights.",
    )


def _weights(found: Stages, anchor: str) -> str:
    layers = len(found.run.experiment.network.layers)
    figure, axes = plots.figure(layers, len(found.stages), (2.4 * len(found.stages), 2.5 * layers))
    for k, stage in enumerate(found.stages):
        for layer in range(layers):
            plots.unit_weights(found.run, plots.stage_state(found.run, stage), axes[layer][k], layer=layer)
        axes[0][k].set_title(f"{stage.kind}: {plots.label(stage)}", fontsize=9)
    return _figure(figure, f"{anchor}-weights", "The units of each layer at each stage.")


def _spectra(found: Stages, anchor: str) -> str:
    certificates = [stage.certificate for stage in found.stages if stage.certificate is not None]
    if not certificates:
        return ""
    figure, axes = plots.figure(1, len(certificates), (2.6 * len(certificates), 2.3))
    for ax, certificate in zip(axes[0], certificates, strict=True):
        plots.spectrum(certificate, ax)
        ax.set_title(certificate.verdict, fontsize=9)
    return _figure(figure, f"{anchor}-spectra", "Hessian spectra of the certified fixed points.")


def _figure(figure, name: str, caption: str) -> str:
    """The figure as inline SVG whose ids are its own."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<\?xml.*?<svg", "<svg", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(caption)}" ', 1)
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
