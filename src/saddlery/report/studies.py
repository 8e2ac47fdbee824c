"""The page of studies: the figure of each, and the claims it decides."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..basis.records import number
from ..plots.axes import folded
from ..studies import Judged, Outcome
from .figures import figure, not_drawn
from .markup import Markup, counted, fill, joined
from .pages import page
from .tables import grid, marked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STUDY_SIZE = (5.2, 3.2)  # inches
# How a verdict is set: the class of its style, and a sign for those who see no colours.
CLAIM_SIGNS = {
    "holds": ("minimum", "●"),
    "fails": ("strict", "✕"),
    "undecided": ("degenerate", "◆"),
}
COUNTED = {
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "undecided": ("is undecided", "are undecided"),
}
CLAIM_COLUMNS = (
    "verdict",
    "claim",
    "measured",
    "criterion",
    "seeds",
    "source",
)


def studies_page(outcomes: Sequence[Outcome]) -> str:
    """One self-contained page: a section a study, with its figure and a
    table of its claims."""
    judged = [claim for outcome in outcomes for claim in outcome.judged]
    counts = []
    for verdict, (one, several) in COUNTED.items():
        count = sum(claim.verdict == verdict for claim in judged)
        counts.append(counted(count, one, several))
    head = fill(
        "<header><h1>Studies</h1><p class=lead>{}: {}.</p></header>",
        counted(len(judged), "claim"),
        ", ".join(counts),
    )
    return page(
        "Studies, saddlery",
        head + joined(map(_section, outcomes)),
    )


def _section(outcome: Outcome) -> Markup:
    study = outcome.study
    picture = Markup()
    if outcome.rows:
        picture = _picture(outcome)
    return fill(
        '<section class="run"><h2>{}</h2><p class=lead>{}</p>'
        "<div class=curves>{}</div>{}{}</section>",
        study.name,
        study.title,
        picture,
        _table(outcome),
        joined(fill("<p class=small>{}</p>", words) for words in outcome.notes()),
    )


def _picture(outcome: Outcome) -> Markup:
    """The study's own figure; a note where its code fails, which is no reason to lose the claims."""
    study = outcome.study
    draw = functools.partial(_draw, outcome)
    try:
        return figure(draw, study.name, study.title, STUDY_SIZE, shown=False)
    except Exception as error:
        return not_drawn(study.name, error)


def _draw(outcome: Outcome, axes: Axes) -> None:
    """The study's own figure, its labels wrapped where they would be longer
    than the axes."""
    outcome.study.draw(outcome.rows, axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel(folded(axes.get_ylabel()))


def _table(outcome: Outcome) -> Markup:
    caption = (
        f"Claims of {outcome.study.name}; measured: the mean over seeds and half its 95% interval."
    )
    rows = [_cells(claim) for claim in outcome.judged]
    return grid(CLAIM_COLUMNS, rows, caption=caption)


def _cells(claim: Judged) -> list[object]:
    name, sign = CLAIM_SIGNS[claim.verdict]
    measured = number(claim.measured)
    if claim.uncertainty is not None:
        measured += f" ± {number(claim.uncertainty, 2)}"
    return [
        marked(claim.verdict, name, sign),
        claim.sentence,
        measured,
        claim.criterion,
        claim.seeds,
        claim.source,
    ]
