"""The page of predictions beside a run: for each theory its figure and its table."""

from __future__ import annotations

from collections.abc import Sequence

from .. import plots
from ..basis.checks import require
from ..predictions import Comparison
from .figures import figure
from .markup import Markup, counted, fill, joined
from .pages import page
from .tables import grid

COMPARISON_SIZE = (5.2, 3.2)  # inches
HOW_TO_READ = Markup("""<details><summary>How to read this page</summary>
<dl class=legend>
<dt>Jump</dt><dd>The flow time at which the loss is half-way between two \
fixed points: as predicted for the initial weights of
this run, as measured on it, and the relative error of the prediction.</dd>
<dt>In 90%</dt><dd>Whether the measured jump lies in the interval that \
holds 90% of the predictions over random draws of the
initial weights.</dd>
<dt>Range</dt><dd>How far the assumptions of the theory hold: within, near \
or outside the limits of a number that is computed
beforehand, the one that holds least.</dd>
<dt>Seen</dt><dd>Whether a plateau of the run has the predicted loss and \
effective units.</dd>
</dl></details>""")


def comparisons_page(compared: Sequence[Comparison]) -> str:
    """One self-contained page about one run: a section a theory.

    Raises InputError where there is none, or where they are not all of one
    run. Cost: one picture a theory, about 0.2 s.
    """
    compared = list(compared)
    _check(compared)
    e = compared[0].run.experiment
    head = fill(
        "<header><p class=small>saddlery: predictions beside a run</p>"
        "<h1>{}</h1><p class=lead>{}</p></header>",
        e.name,
        e.description,
    )
    sections = joined(_section(c, k) for k, c in enumerate(compared))
    toml = fill(
        "<details><summary>The experiment (TOML)</summary><pre>{}</pre></details>",
        e.to_toml(),
    )
    words = fill(
        "<p class=small>Experiment id {}, seed {}.</p>",
        e.identity,
        e.seed,
    )
    body = head + sections + HOW_TO_READ + toml + words
    return page(f"{e.name}, predictions beside a run of saddlery", body)


def _check(compared: Sequence[Comparison]) -> None:
    require(
        len(compared) > 0,
        argument="comparisons",
        needed="at least one",
        given=compared,
        remedy="pass compare(prediction, stages) of a run",
    )
    for c in compared:
        require(
            isinstance(c, Comparison),
            argument="a page of comparisons",
            needed="made of Comparisons",
            given=type(c).__name__,
        )
    runs = {id(c.run) for c in compared}
    require(
        len(runs) == 1,
        argument="comparisons",
        needed="of one run",
        given=len(runs),
        remedy="write one page for each",
    )


def _section(c: Comparison, k: int) -> Markup:
    prediction, theory = c.prediction, c.prediction.theory
    picture = figure(
        lambda axes: plots.comparison(c, axes),
        name=f"theory-{k}",
        caption=f"Loss against flow time beside what theory expected: {theory}.",
        size=COMPARISON_SIZE,
    )
    note = Markup()
    if c.extra:
        plateaus = counted(c.extra, "plateau of the run was", "plateaus of the run were")
        note = fill('<p class="note" role="note">{} not predicted.</p>', plateaus)
    assumptions = ""
    if prediction.assumptions:
        assumptions = f" {prediction.assumptions}."
    return fill(
        '<section class="run"><h2>{theory}</h2>'
        "<p class=small>{source}; {limit}.{assumptions}</p>{note}"
        "<div class=curves>{picture}</div>"
        "{table}</section>",
        theory=theory,
        source=prediction.source,
        limit=prediction.limit,
        assumptions=assumptions,
        note=note,
        picture=picture,
        table=grid(
            *c.table(),
            caption=f"Stages by {theory}, and what the run did.",
        ),
    )
