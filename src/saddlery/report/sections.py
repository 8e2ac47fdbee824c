"""The section of one run: facts, curves, a card a stage, certificates,
experiment and versions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from .. import plots
from ..basis.records import number
from ..plateaus import Stages
from ..runs import Run
from ..saddles import Certificate, FixedPoint
from .figures import SQUARE, WIDE, Draw, figure, not_drawn
from .markup import Markup, fill, joined
from .tables import certificates, interval, verdict

# Sections that were drawn, by place, heading and figures: a growing tour redraws nothing.
_Sections = dict[tuple[object, ...], Markup]
_DRAWN: WeakKeyDictionary[Stages, _Sections] = WeakKeyDictionary()


def section(found: Stages, k: int, heading: str) -> Markup:
    """The section of one run, drawn once for each Stages (which are
    immutable), place and list of figures."""
    drawn = _DRAWN.setdefault(found, {})
    key = (k, heading, *plots.FIGURES.items())
    if key not in drawn:
        drawn[key] = _draw_section(found, k, heading)
    return drawn[key]


def _draw_section(found: Stages, k: int, heading: str) -> Markup:
    run = found.run
    e = run.experiment
    anchor = f"run-{k}"
    versions = [f"{name} {version}" for name, version in run.versions.items()]
    opening = '<section class="run" id="{anchor}" aria-labelledby="{anchor}-name">'
    named = '<h2 id="{}-name">{}</h2>'
    if heading == "h1":
        named = '<h1 id="{}-name">{}</h1>'
    parts = [fill(opening, anchor=anchor), fill(named, anchor, e.name)]
    if e.description:
        parts.append(fill("<p class=lead>{}</p>", e.description))
    parts += [
        _facts(found),
        _curves(found, anchor),
        _cards(found, anchor),
    ]
    if found.stages:
        parts.append(certificates(found))
    parts += [
        fill(
            "<details><summary>The experiment (TOML)</summary><pre>{}</pre></details>",
            e.to_toml(),
        ),
        fill(
            '<p class="small">Experiment id {}; {}.</p></section>',
            e.identity,
            ", ".join(versions),
        ),
    ]
    return joined(parts)


def _facts(found: Stages) -> Markup:
    """Who, what, how it ended; and what a reader should be warned of."""
    cells = []
    for name, value in _facts_of(found.run):
        cells.append(fill("<div><dt>{}</dt><dd>{}</dd></div>", name, value))
    facts = fill("<dl class=facts>{}</dl>", joined(cells))
    notes = []
    for note in _warnings(found):
        notes.append(fill('<p class="note" role="note">{}</p>', note))
    return facts + joined(notes)


def _facts_of(run: Run) -> list[tuple[str, object]]:
    t = run.trajectory
    in_words = {"flow time": plots.readable(t.flow_time[-1])}
    if run.data != "samples":
        in_words["data"] = f"exact moments of the {run.data} feature"
    facts: list[tuple[str, object]] = []
    for name, value in run.rows():
        if name not in ("experiment", "warning", "loss"):
            facts.append((name, in_words.get(name, value)))
    facts.append(("loss at the start", number(t.loss[0])))
    facts.append(("final loss", number(run.final_loss)))
    return facts


def _warnings(found: Stages) -> list[str]:
    run, t = found.run, found.run.trajectory
    notes = list(run.warnings)
    for words in found.notes:
        notes.append(f"{words[0].upper()}{words[1:]}.")
    if t.status != "stopped":
        notes.append(f"This run was not completed: {t.status}, {t.reason}.")
    if not found.stages:
        notes.append("No plateau was found on this run.")
    return notes


def _curves(found: Stages, anchor: str) -> Markup:
    """Every figure of the family, those of one layer beside each other; what cannot be drawn says
    so."""
    plots.new_axes()  # the message where matplotlib is missing
    drawn: list[tuple[int, Markup]] = []
    for name, pictures in plots.FIGURES.items():
        try:
            for j, picture in enumerate(pictures(found)):
                drawn.append(_curve(picture, f"{anchor}-{name}-{j}"))
        except Exception as error:  # of a figure of one's own: no reason to lose the page
            drawn.append((-1, not_drawn(name, error)))
    in_order = sorted(drawn, key=lambda one: one[0])
    return fill("<div class=curves>{}</div>", joined(picture for _, picture in in_order))


def _curve(picture: plots.Picture, name: str) -> tuple[int, Markup]:
    """(the layer, or -1 for the whole run; the picture)."""
    layer = -1 if picture.layer is None else picture.layer
    return layer, figure(picture.draw, name, picture.caption, WIDE)


def _of_layer(k: int, layers: int) -> str:
    """Which layer is meant, where there are several."""
    return f" of layer {k + 1}" if layers > 1 else ""


def _cards(found: Stages, anchor: str) -> Markup:
    """One card a stage: the units of every layer there and the Hessian's
    spectrum at the fixed point behind it."""
    if not found.stages:
        return Markup()
    layers = range(len(found.run.experiment.network.layers))
    views = [plots.view(found.run, found.stages, layer=k) for k in layers]
    cards = []
    for j in range(len(found)):
        cards.append(_card(found, j, views, f"{anchor}-stage-{j}"))
    title = "Stages: the units of the run"
    if any(stage.certificate is not None for stage in found.stages):
        title += ", and the Hessian at the fixed point"
    return fill(
        "<h3>{}</h3><div class=cards>{}</div>",
        title,
        joined(cards),
    )


def _card(
    found: Stages,
    j: int,
    views: Sequence[plots.View],
    anchor: str,
) -> Markup:
    stage = found[j]
    name = f"the {stage.kind} stage with {plots.units_label(stage)}"
    figures = []
    for k, shared in enumerate(views):
        of = _of_layer(k, len(views))
        unit = found.run.experiment.network.layers[k].unit
        pictures = {
            "units": (plots.unit_weights, f"Units{of} at {name}."),
        }
        if plots.is_head(unit) and "rank" in unit.options:
            caption = f"Keys and queries{of} at {name}."
            pictures["directions"] = (plots.head_directions, caption)
        for what, (draw, caption) in pictures.items():
            drawn = functools.partial(
                draw,
                found.run,
                stage,
                layer=k,
                shared=shared,
            )
            figures.append(
                _unlabelled(drawn, f"{anchor}-{what}-{k}", caption),
            )
    if stage.certificate is not None:
        figures.append(_spectrum(stage.certificate, name, anchor))
    return fill(
        '<article class="card"><h4>{units} <small>{kind}</small></h4>'
        "<p>{verdict}<br>"
        "<span class=small>flow time {interval}<br>loss {loss}</span></p>"
        "{figures}</article>",
        units=plots.units_label(stage),
        kind=stage.kind,
        verdict=verdict(stage),
        interval=interval(stage),
        loss=stage.loss,
        figures=joined(figures),
    )


def _unlabelled(draw: Draw, name: str, caption: str) -> Markup:
    """A figure of a card, whose caption is for those who do not see it."""
    return figure(draw, name, caption, SQUARE, shown=False)


def _spectrum(certificate: Certificate, name: str, anchor: str) -> Markup:
    words = f"No fixed point was found behind {name}, so there is no spectrum."
    if isinstance(certificate, FixedPoint):
        negative = _counts(certificate.index)
        zero = _counts(certificate.zero_modes)
        words = (
            f"Hessian eigenvalues at the fixed point behind {name}:"
            f" {negative} negative, {zero} zero."
        )
    draw = lambda axes: plots.spectrum(certificate, axes)
    return _unlabelled(draw, f"{anchor}-spectrum", words)


def _counts(count: int | None) -> str:
    return "an unknown number" if count is None else str(count)
