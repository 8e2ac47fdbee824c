"""The page of studies: the figure of each, and the claims it decides."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..basis.records import number
from ..studies import Judged, Outcome
from .figures import figure
from .markup import Markup, fill, joined
from .pages import page
from .tables import scroll

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (5.2, 3.2)  # inches
WRAP = 36  # letters of a vertical label in a line
MARKS = {"holds": ("minimum", "●"), "fails": ("strict", "✕"), "undecided": ("degenerate", "◆")}


def studies_page(outcomes: Sequence[Outcome]) -> str:
    """One self-contained page: a section a study, with its figure and a table of its claims."""
    judged = [j for outcome in outcomes for j in outcome.judged]
    counts = ", ".join(
        f"{sum(j.verdict == v for j in judged)} {words}" for v, words in _WORDS.items()
    )
    head = fill(
        "<header><h1>Studies</h1><p class=lead>{} claims: {}.</p></header>", len(judged), counts
    )
    return page("Studies, saddlery", head + joined(map(_section, outcomes)))


_WORDS = {"holds": "hold", "fails": "fail", "undecided": "are undecided"}


def _section(outcome: Outcome) -> Markup:
    study = outcome.study
    picture = (
        figure(lambda axes: _draw(outcome, axes), study.name, study.title, SIZE, shown=False)
        if outcome.rows
        else ""
    )
    said = [*study.notes(outcome.rows), *(f"not measured: {words}" for words in outcome.failed)]
    return fill(
        (
            '<section class="run"><h2>{}</h2><p class=lead>{}</p><div '
            "class=curves>{}</div>{}{}</section>"
        ),
        study.name,
        study.title,
        picture,
        _table(outcome),
        joined(fill("<p class=small>{}</p>", words) for words in said),
    )


def _draw(outcome: Outcome, axes: Axes) -> None:
    """The study's own figure, its labels wrapped where they would be longer than the axes."""
    outcome.study.draw(outcome.rows, axes)
    axes.spines[["top", "right"]].set_visible(False)
    words = axes.get_ylabel()
    lines = -(-len(words) // WRAP)
    axes.set_ylabel(textwrap.fill(words, len(words) // max(lines, 1) + 4))


def _table(outcome: Outcome) -> Markup:
    columns = ("verdict", "claim", "measured", "criterion", "seeds", "source")
    head = joined(fill('<th scope="col">{}</th>', word) for word in columns)
    caption = (
        f"Claims of {outcome.study.name}; measured: the mean over seeds and half its 95% interval."
    )
    table = "<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return scroll(fill(table, caption, head, joined(map(_row, outcome.judged))), caption)


def _row(j: Judged) -> Markup:
    kind, mark = MARKS[j.verdict]
    spread = "" if j.uncertainty is None else f" ± {number(j.uncertainty, 2)}"
    verdict = fill(
        '<span class="mark {}"><i aria-hidden="true">{}</i>{}</span>', kind, mark, j.verdict
    )
    cells = (verdict, j.sentence, f"{number(j.measured)}{spread}", j.criterion, j.seeds, j.source)
    return fill("<tr>{}</tr>", joined(fill("<td>{}</td>", cell) for cell in cells))
