"""The page of studies: the figure of each, and the claims it decides."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..studies import Judged, Outcome
from .figures import figure
from .pages import page
from .tables import escaped

SIZE = (5.2, 3.2)  # inches
MARKS = {"holds": ("minimum", "●"), "fails": ("none", "○"), "undecided": ("degenerate", "◆")}


def studies_page(outcomes: Sequence[Outcome]) -> str:
    """One self-contained page: a section a study, with its figure and a table of its claims."""
    judged = [j for outcome in outcomes for j in outcome.judged]
    counts = ", ".join(f"{sum(j.verdict == v for j in judged)} {words}" for v, words in _WORDS.items())
    head = f"<header><h1>Studies</h1><p class=lead>{len(judged)} claims: {counts}.</p></header>"
    return page("Studies, saddlery", head + "".join(map(_section, outcomes)))


_WORDS = {"holds": "hold", "fails": "fail", "undecided": "are undecided"}


def _section(outcome: Outcome) -> str:
    study = outcome.study
    picture = figure(lambda axes: study.draw(outcome.rows, axes), study.name, study.title, SIZE, shown=False)
    notes = "".join(f"<p class=small>not measured: {html.escape(words)}</p>" for words in outcome.failed)
    title = f"<h2>{html.escape(study.name)}</h2><p>{html.escape(study.title)}</p>"
    return f"<section>{title}{picture if outcome.rows else ''}{_table(outcome.judged)}{notes}</section>"


def _table(judged: Sequence[Judged]) -> str:
    head = "".join(f"<th>{word}</th>" for word in ("verdict", "claim", "measured", "criterion", "seeds", "source"))
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, judged))}</tbody></table></div>"


def _row(j: Judged) -> str:
    kind, mark = MARKS[j.verdict]
    spread = "" if j.uncertainty is None else f" ± {escaped(j.uncertainty)}"
    cells = (j.sentence, None, j.criterion, j.seeds, j.source)
    rest = "".join(f"<td>{escaped(j.measured) + spread if c is None else escaped(c)}</td>" for c in cells)
    return f'<tr><td class="{kind}">{mark} {j.verdict}</td>{rest}</tr>'
