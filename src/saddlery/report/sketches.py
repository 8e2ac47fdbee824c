"""One run of a sweep as a small card, from what the sweep's folder keeps of
it: nothing is trained again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..basis.records import number
from ..sweeps import arrays, read_record
from .markup import Markup, fill, joined

SKETCH_WIDTH, SKETCH_HEIGHT = 240, 90  # in a sketch's own units
SKETCH_POINTS = 80  # points of a sketch's curve


class Curve(NamedTuple):
    """What was recorded of a run, at T saved points."""

    time: Float[np.ndarray, " T"]
    loss: Float[np.ndarray, " T"]


class Plateau(NamedTuple):
    """A plateau, as the row of a run keeps it; times are flow times."""

    kind: str
    start: float
    end: float
    units: int
    loss: float


def curves(folder: str | Path, runs: Iterable[int]) -> dict[int, Curve]:
    """The recorded loss of each of these runs; none of a run that was impossible."""
    wanted = set(runs)
    size = read_record(folder)["batch"]
    found = {}
    for batch in sorted({run // size for run in wanted}):
        data = arrays(folder, batch)
        for place, run in enumerate(data["run"].values.tolist()):
            if run not in wanted:
                continue
            time = data["flow_time"].values[place]
            loss = data["loss"].values[place]
            there = np.isfinite(time) & np.isfinite(loss)
            found[run] = Curve(time[there], loss[there])
    return found


def card(
    row: Mapping[Any, Any],
    fields: Sequence[str],
    curve: Curve | None,
    command: str,
) -> Markup:
    """The run of a row of the index: its fields, a sketch of its loss with
    the plateaus shaded, and the command that shows it whole, if there is
    one."""
    where = [fill("{} = {}", name, setting(row[name])) for name in ("seed", *fields)]
    plateaus = stages_of(row)
    verdicts = _verdicts(row) if plateaus else ()
    lines = []
    for plateau, verdict in itertools.zip_longest(plateaus, verdicts):
        lines.append(_line(plateau, verdict))
    picture = again = Markup()
    if curve is not None:
        spans = [(plateau.start, plateau.end) for plateau in plateaus]
        picture = sketch(*curve, spans)
    if command:
        again = fill("<p class=small><code>{}</code></p>", command)
    return fill(
        '<article class=card id="run-{run}">'
        "<h4>Run {run} <small>{status}</small></h4>"
        "<p class=small>{where}</p>{picture}"
        "<p class=small>{reason}{lines}</p>{again}</article>",
        run=row["run"],
        status=row["status"],
        where=joined(where, ", "),
        picture=picture,
        reason=row["reason"],
        lines=joined(lines),
        again=again,
    )


def setting(value: Any) -> Any:
    """The value of a field that varies, which someone chose or drew: six digits of a number."""
    return f"{value:.6g}" if isinstance(value, float) else value


def _verdicts(row: Mapping[Any, Any]) -> Sequence[str]:
    verdicts = row["verdict"]
    if verdicts is None or np.isscalar(verdicts):
        return ()
    return verdicts


def _line(plateau: Plateau, verdict: str | None) -> Markup:
    """A plateau in words, and the verdict on the fixed point behind it,
    where there is one."""
    words = fill(
        "<br>{}: {} {}, loss {}, {} to {}",
        plateau.kind,
        plateau.units,
        "unit" if plateau.units == 1 else "units",
        float(plateau.loss),
        float(plateau.start),
        float(plateau.end),
    )
    return words + f", {verdict}" if verdict else words


def stages_of(row: Mapping[Any, Any]) -> list[Plateau]:
    """Every plateau in a row of the index; none where it has no lists."""
    columns = (
        "stage_kind",
        "stage_start",
        "stage_end",
        "units",
        "stage_loss",
    )
    lists = [row[name] for name in columns]
    if any(entries is None or np.isscalar(entries) for entries in lists):
        return []
    return [Plateau(*entries) for entries in zip(*lists, strict=True)]


def sketch(
    time: Float[np.ndarray, " T"],
    loss: Float[np.ndarray, " T"],
    plateaus: Sequence[tuple[float, float]],
) -> Markup:
    """The loss against flow time as inline SVG, zero at the bottom (or the
    least loss, where that is negative), up to a little after the last of
    several plateaus begins."""
    if not len(time):
        return Markup("<p class=small>No finite loss was recorded.</p>")
    last = float(time[-1])
    if len(plateaus) > 1:
        begin, _ = plateaus[-1]
        last = min(last, 1.15 * begin) or last

    def at(t: float) -> float:
        share = float(t) / (last or 1.0)
        return round(SKETCH_WIDTH * min(share, 1.0), 1)

    band = '<rect x="{}" y="0" width="{}" height="{}" fill="var(--soft)"/>'
    bands = []
    for start, end in plateaus:
        width = round(at(end) - at(start), 1)
        bands.append(fill(band, at(start), width, SKETCH_HEIGHT))

    low, high = _range(loss)
    shown = np.linspace(0.0, last, SKETCH_POINTS)
    shares = np.clip((np.interp(shown, time, loss) - low) / (high - low), 0, 1)
    heights = SKETCH_HEIGHT * (1 - shares)
    points = [f"{at(t)},{height:.1f}" for t, height in zip(shown, heights, strict=True)]

    end = float(np.interp(last, time, loss))
    falls = f"Loss from {number(float(loss[0]))} to {number(end)}"
    return fill(
        '<svg role="img" aria-label="{label}" viewBox="0 -2 {width} {height}">'
        '{bands}<polyline points="{points}"'
        ' fill="none" stroke="var(--blue)" stroke-width="1.6"/></svg>'
        "<p class=small>{label}.</p>",
        label=f"{falls} up to flow time {number(last)}",
        width=SKETCH_WIDTH,
        height=SKETCH_HEIGHT + 4,
        bands=joined(bands),
        points=" ".join(points),
    )


def _range(loss: Float[np.ndarray, " T"]) -> tuple[float, float]:
    """What a sketch shows of a loss: of one that grew without end as much as it could fall."""
    first, largest = float(loss[0]), float(np.max(loss))
    low = min(0.0, float(np.min(loss)))
    high = min(largest, 2 * first - low)
    if high <= low:  # it began at its least, and grew or never moved
        high = largest if largest > low else low + 1.0
    return low, high
