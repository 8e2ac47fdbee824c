"""One run of a sweep as a small card, from what the sweep's folder keeps of it: nothing is trained again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..sweeps import arrays, read_record
from .tables import escaped

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


def card(row: Mapping[Any, Any], fields: Sequence[str], curve: Curve | None, command: str) -> str:
    """The run of a row of the index: its fields, a sketch of its loss with the plateaus shaded, and the command that
    shows it whole, if there is one."""
    where = ", ".join(f"{name} = {escaped(row[name])}" for name in ("seed", *fields))
    plateaus = stages_of(row)
    verdicts = row["verdict"] if plateaus and not (row["verdict"] is None or np.isscalar(row["verdict"])) else ()
    lines = "".join(
        f"<br>{escaped(kind)}: {escaped(units)} unit{'' if units == 1 else 's'}, loss {escaped(float(loss))},"
        f" {escaped(float(start))} to {escaped(float(end))}{f', {escaped(verdict)}' if verdict else ''}"
        for (kind, start, end, units, loss), verdict in itertools.zip_longest(plateaus, verdicts)
    )
    again = f"<p class=small><code>{escaped(command)}</code></p>" if command else ""
    picture = "" if curve is None else sketch(*curve, [(start, end) for _, start, end, _, _ in plateaus])
    return (
        f'<article class=card id="run-{row["run"]}"><h4>Run {row["run"]} <small>{escaped(row["status"])}</small></h4>'
        f"<p class=small>{where}</p>{picture}<p class=small>{escaped(row['reason'])}{lines}</p>"
        f"{again}</article>"
    )


def stages_of(row: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    """(kind, start, end, units, loss) of every plateau in a row of the index; none where it has no lists."""
    lists = [row[name] for name in ("stage_kind", "stage_start", "stage_end", "units", "stage_loss")]
    return [] if any(a is None or np.isscalar(a) for a in lists) else list(zip(*lists, strict=True))


def sketch(time: np.ndarray, loss: np.ndarray, plateaus: Sequence[tuple[float, float]]) -> str:
    """The loss against flow time as inline SVG, zero at the bottom, up to a little after the last plateau begins."""
    last = float(time[-1])
    if plateaus:
        last = min(last, 1.15 * plateaus[-1][0]) or last
    most = min(float(np.max(loss)), 2 * float(loss[0])) or 1.0  # a loss that grew without end leaves the picture
    at = lambda t: round(WIDTH * min(float(t) / (last or 1.0), 1.0), 1)
    shown = np.linspace(0.0, last, POINTS)
    heights = HEIGHT * (1 - np.clip(np.interp(shown, time, loss) / most, 0, 1))
    bands = "".join(
        f'<rect x="{at(start)}" y="0" width="{round(at(end) - at(start), 1)}" height="{HEIGHT}" fill="var(--soft)"/>'
        for start, end in plateaus
    )
    points = " ".join(f"{at(t)},{height:.1f}" for t, height in zip(shown, heights, strict=True))
    label = f"Loss from {escaped(float(loss[0]))} to {escaped(float(loss[-1]))} up to flow time {escaped(last)}"
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 -2 {WIDTH} {HEIGHT + 4}">{bands}'
        f'<polyline points="{points}" fill="none" stroke="var(--blue)" stroke-width="1.6"/></svg>'
        f"<p class=small>{label}.</p>"
    )
