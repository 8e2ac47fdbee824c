"""Whole pages, of one run or of a tour."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..basis.checks import require
from ..doors.outlets import write_text
from ..plateaus import Stages
from .markup import Markup, counted, fill, joined
from .sections import section
from .style import LEGEND, STYLE
from .tables import summary_table


def run_page(found: Stages) -> str:
    """The page of one run, as one HTML document.

    Curves, stages, certificates, experiment and versions.

    Cost: two or three pictures a stage and layer, about 0.1 s each. Raises
    InputError where matplotlib is missing.
    """
    require(
        isinstance(found, Stages),
        argument="a report",
        needed="made of the Stages of a run",
        given=type(found).__name__,
        remedy="pass stages(run) or certify(run)",
    )
    body = fill(
        "<header><p class=small>saddlery: report of a run</p></header>{}{}",
        section(found, 0, "h1"),
        LEGEND,
    )
    return page(f"{found.run.experiment.name}, a run of saddlery", body)


def tour_page(
    runs: Sequence[Stages],
    summary: Mapping[str, Any] | None = None,
) -> str:
    """One page for many runs: a table of all runs and stages first, then a
    section a run.

    summary: the record of the tour, if it should be on the page as text
    (see `tour.summary`).
    """
    runs = list(runs)
    for found in runs:
        require(
            isinstance(found, Stages),
            argument="a tour",
            needed="made of the Stages of runs",
            given=type(found).__name__,
        )
    parts = [_tour_head(runs), summary_table(runs), LEGEND]
    for k, found in enumerate(runs):
        parts.append(section(found, k, "h2"))
    if summary is not None:
        record = fill(
            "<details><summary>Record of the tour (JSON)</summary><pre>{}</pre></details>",
            json.dumps(summary, indent=1),
        )
        parts.append(record)
    return page("A tour of saddles", joined(parts))


def _tour_head(runs: Sequence[Stages]) -> Markup:
    stages = [stage for found in runs for stage in found.stages]
    certified = sum(stage.fixed_point is not None for stage in stages)
    return fill(
        "<header><h1>A tour of saddles</h1><p class=lead>{}, {}, {}:"
        " what each network rests on while it learns, and which"
        " smaller network that is.</p></header>",
        counted(len(runs), "run"),
        counted(len(stages), "plateau"),
        counted(certified, "certified fixed point"),
    )


def write_report(
    found: Stages | Sequence[Stages],
    path: str | Path,
) -> Path:
    """Write the page of a run, or of several, whole or not at all; returns
    the path.

    Raises StorageError.
    """
    if isinstance(found, Stages):
        return write_text(path, run_page(found))
    return write_text(path, tour_page(found))


def page(title: str, body: Markup) -> str:
    """A whole HTML document in the style of all pages.

    A body that is no markup is shown as text.
    """
    head = fill(
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<title>{}</title><style>{}</style>",
        title,
        STYLE,
    )
    document = fill(
        '<!doctype html>\n<html lang="en"><head>{}</head>\n<body><main>{}</main></body></html>\n',
        head,
        body,
    )
    return str(document)
