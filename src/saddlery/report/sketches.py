"""One run of a sweep as a small card, from what the sweep's folder keeps of it: nothing is trained
again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..basis.records import number
from ..sweeps import arrays, read_record
from .markup import Markup, fill, joined

WIDTH, HEIGHT = 240, 90  # of a sketch, in its own units
POINTS = 80  # of its curve
Curve = tuple[np.ndarray, np.ndarray]  # flow time and loss


def curves(folder: str | Path, runs: Iterable[int]) -> dict[int, Curve]:
    """The recorded loss of each of these runs; none of a run that was impossible."""
    wanted, size = set(runs), read_record(folder)["batch"]
    found = {}
    for batch in sorted({run // size for run in wanted}):
        data = arrays(folder, batch)
        for place, run in enumerate(data["run"].values.tolist()):
            if run in wanted:
                time, loss = (data[name].values[place] for name in ("flow_time", "loss"))
                there = np.isfinite(time) & np.isfinite(loss)
                found[run] = time[there], loss[there]
    return found


def card(
    row: Mapping[Any, Any], fields: Sequence[str], curve: Curve | None, command: str
) -> Markup:
    """The run of a row of the index: its fields, a sketch of its loss with the plateaus shaded, and
    the command that shows it whole, if there is one."""
    where = joined((fill("{} = {}", name, row[name]) for name in ("seed", *fields)), ", ")
    plateaus = stages_of(row)
    verdicts = (
        row["verdict"]
        if plateaus and not (row["verdict"] is None or np.isscalar(row["verdict"]))
        else ()
    )
    lines = joined(
        _line(plateau, verdict) for plateau, verdict in itertools.zip_longest(plateaus, verdicts)
    )
    again = fill("<p class=small><code>{}</code></p>", command) if command else ""
    picture = (
        "" if curve is None else sketch(*curve, [(start, end) for _, start, end, _, _ in plateaus])
    )
    return fill(
        '<article class=card id="run-{run}"><h4>Run {run} <small>{status}</small></h4><p'
        " class=small>{where}</p>{picture}"
        "<p class=small>{reason}{lines}</p>{again}</article>",
        run=row["run"],
        status=row["status"],
        where=where,
        picture=picture,
        reason=row["reason"],
        lines=lines,
        again=again,
    )


def _line(plateau: tuple[Any, ...], verdict: str | None) -> Markup:
    """A plateau in words, and the verdict on the fixed point behind it, where there is one."""
    kind, start, end, units, loss = plateau
    noun = "unit" if units == 1 else "units"
    words = (kind, units, noun, float(loss), float(start), float(end))
    return fill("<br>{}: {} {}, loss {}, {} to {}", *words) + (f", {verdict}" if verdict else "")


def stages_of(row: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    """(kind, start, end, units, loss) of every plateau in a row of the index; none where it has no
    lists."""
    lists = [
        row[name] for name in ("stage_kind", "stage_start", "stage_end", "units", "stage_loss")
    ]
    return [] if any(a is None or np.isscalar(a) for a in lists) else list(zip(*lists, strict=True))


def sketch(time: np.ndarray, loss: np.ndarray, plateaus: Sequence[tuple[float, float]]) -> Markup:
    """The loss against flow time as inline SVG, zero at the bottom, up to a little after the last
    plateau begins."""
    last = float(time[-1])
    if plateaus:
        last = min(last, 1.15 * plateaus[-1][0]) or last
    most = (
        min(float(np.max(loss)), 2 * float(loss[0])) or 1.0
    )  # a loss that grew without end leaves the picture
    at = lambda t: round(WIDTH * min(float(t) / (last or 1.0), 1.0), 1)
    shown = np.linspace(0.0, last, POINTS)
    heights = HEIGHT * (1 - np.clip(np.interp(shown, time, loss) / most, 0, 1))
    band = '<rect x="{}" y="0" width="{}" height="{}" fill="var(--soft)"/>'
    bands = joined(
        fill(band, at(start), round(at(end) - at(start), 1), HEIGHT) for start, end in plateaus
    )
    points = " ".join(f"{at(t)},{height:.1f}" for t, height in zip(shown, heights, strict=True))
    label = (
        f"Loss from {number(float(loss[0]))} to {number(float(loss[-1]))} up to "
        f"flow time {number(last)}"
    )
    return fill(
        '<svg role="img" aria-label="{label}" viewBox="0 -2 {width} {height}">{bands}'
        '<polyline points="{points}" fill="none" stroke="var(--blue)" stroke-width="1.6"/></svg>'
        "<p class=small>{label}.</p>",
        label=label,
        width=WIDTH,
        height=HEIGHT + 4,
        bands=bands,
        points=points,
    )
