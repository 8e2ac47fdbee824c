"""The section of one run: facts, curves, a card a stage, certificates, experiment and versions."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from .. import plots
from ..basis.echo import said
from ..basis.records import number
from ..plateaus import Stages
from ..saddles import Certificate, FixedPoint
from .figures import SQUARE, WIDE, figure
from .markup import Markup, fill, joined
from .tables import certificates, interval, verdict

_DRAWN: WeakKeyDictionary[Stages, dict[tuple[int, str], Markup]] = (
    WeakKeyDictionary()
)  # a growing tour redraws nothing


def section(found: Stages, k: int, heading: str) -> Markup:
    """The section of one run, drawn once for each Stages (which are immutable) and place."""
    drawn = _DRAWN.setdefault(found, {})
    if (k, heading) not in drawn:
        drawn[k, heading] = _draw_section(found, k, heading)
    return drawn[k, heading]


def _draw_section(found: Stages, k: int, heading: str) -> Markup:
    run, e = found.run, found.run.experiment
    anchor = f"run-{k}"
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    named = '<h1 id="{}-name">{}</h1>' if heading == "h1" else '<h2 id="{}-name">{}</h2>'
    parts = [
        fill('<section class="run" id="{anchor}" aria-labelledby="{anchor}-name">', anchor=anchor),
        fill(named, anchor, e.name),
        fill("<p class=lead>{}</p>", e.description) if e.description else "",
        _facts(found),
        _curves(found, anchor),
        _cards(found, anchor),
        certificates(found) if found.stages else "",
        fill(
            "<details><summary>The experiment (TOML)</summary><pre>{}</pre></details>", e.to_toml()
        ),
        fill('<p class="small">Experiment id {}; {}.</p></section>', e.identity, versions),
    ]
    return joined(parts)


def _facts(found: Stages) -> Markup:
    """Who, what, how it ended; and what a reader should be warned of."""
    run, t = found.run, found.run.trajectory
    data = "samples" if run.data == "samples" else f"exact moments of the {run.data} feature"
    rows = [
        (name, {"data": data, "flow time": plots.readable(t.flow_time[-1])}.get(name, value))
        for name, value in run.rows()
        if name not in ("experiment", "warning", "loss")
    ]
    rows += [("loss at the start", number(t.loss[0])), ("final loss", number(run.final_loss))]
    cells = joined(fill("<div><dt>{}</dt><dd>{}</dd></div>", name, value) for name, value in rows)
    notes = [*run.warnings, *(f"{words[0].upper()}{words[1:]}." for words in found.notes)]
    if t.status != "stopped":
        notes.append(f"This run was not completed: {t.status}, {t.reason}.")
    if not found.stages:
        notes.append("No plateau was found on this run.")
    return fill("<dl class=facts>{}</dl>", cells) + joined(
        fill('<p class="note" role="note">{}</p>', note) for note in notes
    )


def _curves(found: Stages, anchor: str) -> Markup:
    """Every figure of the family, those of one layer beside each other; what cannot be drawn says
    so."""
    plots.new_axes()  # the message where matplotlib is missing
    drawn: list[tuple[int, Markup]] = []
    for name, pictures in plots.FIGURES.items():
        try:
            drawn += [_curve(picture, f"{anchor}-{name}") for picture in pictures(found)]
        except Exception as error:  # of a figure of one's own: no reason to lose the page
            words = f"The figure {name} could not be drawn: {type(error).__name__}: {said(error)}."
            drawn.append((-1, fill('<p class="note" role="note">{}</p>', words)))
    in_order = sorted(drawn, key=lambda one: one[0])
    return fill("<div class=curves>{}</div>", joined(picture for _, picture in in_order))


def _curve(picture: plots.Picture, name: str) -> tuple[int, Markup]:
    """(the layer, or -1 for the whole run; the picture)."""
    if picture.layer is None:
        return -1, figure(picture.draw, name, picture.caption, WIDE)
    return picture.layer, figure(picture.draw, f"{name}_{picture.layer}", picture.caption, WIDE)


def _cards(found: Stages, anchor: str) -> Markup:
    """One card a stage: the units of every layer there and the Hessian's spectrum at the fixed
    point behind it."""
    if not found.stages:
        return Markup()
    layers = range(len(found.run.experiment.network.layers))
    views = [plots.view(found.run, found.stages, layer=k) for k in layers]
    cards = joined(_card(found, j, views, f"{anchor}-stage-{j}") for j in range(len(found)))
    hessian = any(s.certificate is not None for s in found.stages)
    title = "Stages: the units of the run" + (
        ", and the Hessian at the fixed point" if hessian else ""
    )
    return fill("<h3>{}</h3><div class=cards>{}</div>", title, cards)


def _card(found: Stages, j: int, views: Sequence[plots.View], anchor: str) -> Markup:
    stage, run = found[j], found.run
    name = f"the {stage.kind} stage with {plots.units_label(stage)}"
    figures = []
    for k, shared in enumerate(views):
        of = f" of layer {k + 1}" if len(views) > 1 else ""
        unit = run.experiment.network.layers[k].unit
        pictures = [("units", plots.unit_weights, f"Units{of} at {name}.")]
        if plots.is_head(unit) and "rank" in unit.options:
            pictures.append(
                ("directions", plots.head_directions, f"Keys and queries{of} at {name}.")
            )
        figures += [
            figure(
                lambda ax, draw=draw, k=k, shared=shared: draw(
                    run, stage, ax, layer=k, shared=shared
                ),
                f"{anchor}-{what}-{k}",
                words,
                SQUARE,
                shown=False,
            )
            for what, draw, words in pictures
        ]
    c = stage.certificate
    if c is not None:
        words, place = _spectrum_words(c, name), f"{anchor}-spectrum"
        figures.append(figure(lambda ax: plots.spectrum(c, ax), place, words, SQUARE, shown=False))
    return fill(
        '<article class="card"><h4>{units} <small>{kind}</small></h4><p>{verdict}<br><span'
        " class=small>flow time {interval}"
        "<br>loss {loss}</span></p>{figures}</article>",
        units=plots.units_label(stage),
        kind=stage.kind,
        verdict=verdict(stage),
        interval=interval(stage),
        loss=stage.loss,
        figures=joined(figures),
    )


def _spectrum_words(certificate: Certificate, name: str) -> str:
    if not isinstance(certificate, FixedPoint):
        return f"No fixed point was found behind {name}, so there is no spectrum."
    counts = f"{_counts(certificate.index)} negative, {_counts(certificate.zero_modes)} zero"
    return f"Hessian eigenvalues at the fixed point behind {name}: {counts}."


def _counts(count: int | None) -> str:
    return "an unknown number" if count is None else str(count)
