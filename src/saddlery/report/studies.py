"""The page of studies: the figure of each, and the claims it decides."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..records import number
from ..studies import Judged, Outcome
from .figures import figure
from .pages import page
from .tables import escaped, scroll

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (5.2, 3.2)  # inches
WRAP = 36  # letters of a vertical label in a line
MARKS = {"holds": ("minimum", "●"), "fails": ("strict", "✕"), "undecided": ("degenerate", "◆")}


def studies_page(outcomes: Sequence[Outcome]) -> str:
    """One self-contained page: a section a study, with its figure and a table of its claims."""
    judged = [j for outcome in outcomes for j in outcome.judged]
    counts = ", ".join(f"{sum(j.verdict == v for j in judged)} {words}" for v, words in _WORDS.items())
    head = f"<header><h1>Studies</h1><p class=lead>{len(judged)} claims: {counts}.</p></header>"
    return page("Studies, saddlery", head + "".join(map(_section, outcomes)))


_WORDS = {"holds": "hold", "fails": "fail", "undecided": "are undecided"}


def _section(outcome: Outcome) -> str:
    study = outcome.study
    picture = (
        figure(lambda axes: _draw(outcome, axes), study.name, study.title, SIZE, shown=False) if outcome.rows else ""
    )
    said = [*study.notes(outcome.rows), *(f"not measured: {words}" for words in outcome.failed)]
    notes = "".join(f"<p class=small>{html.escape(words)}</p>" for words in said)
    title = f"<h2>{escaped(study.name)}</h2><p class=lead>{escaped(study.title)}</p>"
    return f'<section class="run">{title}<div class=curves>{picture}</div>{_table(outcome)}{notes}</section>'


def _draw(outcome: Outcome, axes: Axes) -> None:
    """The study's own figure, its labels wrapped where they would be longer than the axes."""
    outcome.study.draw(outcome.rows, axes)
    axes.spines[["top", "right"]].set_visible(False)
    words = axes.get_ylabel()
    lines = -(-len(words) // WRAP)
    axes.set_ylabel(textwrap.fill(words, len(words) // max(lines, 1) + 4))


def _table(outcome: Outcome) -> str:
    columns = ("verdict", "claim", "measured", "criterion", "seeds", "source")
    head = "".join(f'<th scope="col">{word}</th>' for word in columns)
    caption = f"Claims of {outcome.study.name}; measured: the mean over seeds and half its 95% interval."
    return scroll(
        f"<table><caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(map(_row, outcome.judged))}</tbody></table>",
        caption,
    )


def _row(j: Judged) -> str:
    kind, mark = MARKS[j.verdict]
    spread = "" if j.uncertainty is None else f" ± {escaped(number(j.uncertainty, 2))}"
    verdict = f'<span class="mark {kind}"><i aria-hidden="true">{mark}</i>{escaped(j.verdict)}</span>'
    cells = (
        verdict,
        escaped(j.sentence),
        escaped(j.measured) + spread,
        *map(escaped, (j.criterion, j.seeds, j.source)),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
