"""Whole pages, of one run or of a tour."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..basis.checks import require
from ..doors.outlets import write_text
from ..plateaus import Stages
from .markup import Markup, fill, joined
from .sections import section
from .style import LEGEND, STYLE
from .tables import summary_table


def run_page(found: Stages) -> str:
    """The page of one run: curves, stages, certificates, experiment and versions, as one HTML
    document.

    Cost: two or three pictures a stage and layer, about 0.1 s each. Raises InputError where
    matplotlib is missing.
    """
    require(
        isinstance(found, Stages),
        "a report",
        "made of the Stages of a run",
        type(found).__name__,
        "pass stages(run) or certify(run)",
    )
    body = fill(
        "<header><p class=small>saddlery: report of a run</p></header>{}{}",
        section(found, 0, "h1"),
        LEGEND,
    )
    return page(f"{found.run.experiment.name}, a run of saddlery", body)


def tour_page(runs: Sequence[Stages], summary: Mapping[str, Any] | None = None) -> str:
    """One page for many runs: a table of all runs and stages first, then a section a run.

    summary: the record of the tour, if it should be on the page as text (see `tour.summary`).
    """
    runs = list(runs)
    for found in runs:
        require(
            isinstance(found, Stages), "a tour", "made of the Stages of runs", type(found).__name__
        )
    count = sum(len(found) for found in runs)
    certified = sum(stage.fixed_point is not None for found in runs for stage in found.stages)
    parts = [
        fill(
            "<header><h1>A tour of saddles</h1><p class=lead>{}, {}, {}: what each network rests"
            " on while it learns, and which"
            " smaller network that is.</p></header>",
            _plural(len(runs), "run"),
            _plural(count, "plateau"),
            _plural(certified, "certified fixed point"),
        ),
        summary_table(runs),
        LEGEND,
        *(section(found, k, "h2") for k, found in enumerate(runs)),
    ]
    if summary is not None:
        text = json.dumps(summary, indent=1)
        parts.append(
            fill(
                "<details><summary>Record of the tour (JSON)</summary><pre>{}</pre></details>", text
            )
        )
    return page("A tour of saddles", joined(parts))


def write_report(found: Stages | Sequence[Stages], path: str | Path) -> Path:
    """Write the page of a run, or of several, whole or not at all; returns the path. Raises
    StorageError."""
    return write_text(path, run_page(found) if isinstance(found, Stages) else tour_page(found))


def page(title: str, body: Markup) -> str:
    """A whole HTML document in the style of all pages; a body that is no markup is shown as
    text."""
    head = fill(
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>{}</title><style>{}</style>',
        title,
        STYLE,
    )
    document = (
        '<!doctype html>\n<html lang="en"><head>{}</head>\n<body><main>{}</main></body></html>\n'
    )
    return str(fill(document, head, body))


def _plural(count: int, noun: str) -> str:
    return (
        f"{count} {noun}" if count == 1 else f"{count} {noun}{'x' if noun.endswith('eau') else 's'}"
    )
