"""A prediction beside a run: the loss, the fixed points it should rest at, and the times at which
it should jump."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..basis.checks import require
from ..basis.pictures import picture_of
from ..predictions import ComparedStage, Comparison
from .axes import BLUE, INK, MUTED, SMALL, Window, literal, new_axes, time_axis, window
from .curves import loss_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

SIZE = (5.2, 3.2)  # inches
Box = tuple[
    float, float, float, float
]  # left, bottom, right, top, in points from the corner of the axes
ROOM = 1.08  # of the last time that is marked: where the axis of flow time ends at least
CROWDED = 0.05  # of a linear axis: jumps nearer than this ask for a logarithmic one
LINE, LETTER = 1.2 * SMALL, 0.55 * SMALL  # points: height of a line, width of a letter


@picture_of(Comparison)
def comparison(comparison: Comparison, axes: Axes | None = None) -> Axes:
    """The loss of a run beside what a theory expected: everything predicted is blue, everything of
    the run is black.

    Thin lines: the losses of the predicted fixed points, named by effective units. At the height
    half-way between two of them, where the run's curve is at its own jump: a dot at the predicted
    jump, a bar over 90% of the draws with a stroke at their mean, a ring at the jump of the run,
    and the relative error where there is room. Dashed: the exact curve, of theories that have one.
    Flow time is logarithmic where predicted jumps would crowd.

    Example
    -------
    >>> from saddlery import compare, predict, stages, train
    >>> from saddlery import plots
    >>> axes = plots.comparison(compare(predict("linear")[0], stages(train("linear"))))
    >>> sorted(text.get_text() for text in axes.texts if "unit" in text.get_text())
    ['0 units', '1 unit', '2 units']
    """
    require(
        isinstance(comparison, Comparison),
        "what is drawn",
        "a Comparison",
        type(comparison).__name__,
        "pass compare(prediction, stages(run))",
    )
    axes, t, shown = new_axes(axes, SIZE), comparison.run.trajectory, _window(comparison)
    axes.plot(
        t.flow_time,
        t.loss,
        color=INK,
        linewidth=1.7,
        solid_joinstyle="round",
        zorder=3,
        label="run",
    )
    if comparison.prediction.curve is not None:
        axes.plot(
            *comparison.prediction.curve,
            color=BLUE,
            linewidth=1.1,
            linestyle=(0, (4, 2)),
            zorder=4,
            label="theory",
        )
    time_axis(axes, shown)
    axes.set_ylabel(loss_label(comparison.run))
    axes.set_ylim(*_limits(comparison, shown))
    for k, stage in enumerate(comparison.stages):
        words = f"fixed points, {literal(comparison.prediction.theory)}" if k == 0 else None
        axes.axhline(
            stage.predicted.loss, color=BLUE, linewidth=0.7, alpha=0.6, zorder=1, label=words
        )
    _mark_jumps(axes, comparison)
    paper = _Paper.of(axes)
    marks = paper.marks(comparison)
    _write_errors(axes, comparison, paper, marks + _name_levels(axes, comparison, paper, marks))
    entries = len(axes.get_legend_handles_labels()[0])
    axes.legend(
        fontsize=SMALL - 1, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=(entries + 1) // 2, borderpad=0.2,
        handlelength=1.4, columnspacing=1.2, labelspacing=0.25,
    )  # fmt: skip
    return axes


def _heights(comparison: Comparison) -> list[float]:
    """The loss half-way down to each stage but the first."""
    losses = [stage.predicted.loss for stage in comparison.stages]
    return [0.5 * (above + below) for above, below in pairwise(losses)]


def _times(stage: ComparedStage) -> list[float]:
    """All flow times that are marked for a stage."""
    p = stage.predicted
    return [
        float(t)
        for t in (p.jump, p.low, p.mean, p.high, stage.jump)
        if t is not None and np.isfinite(t)
    ]


def _window(comparison: Comparison) -> Window:
    """That of the run, and as much more as shows every mark."""
    own, jumps = window(comparison.run), comparison.stages[1:]
    times = [t for stage in jumps for t in _times(stage)]
    end = max([own.end, *(ROOM * t for t in times)])
    linear = Window(0.0, end, max(own.last, end))
    if len(jumps) < 2 or min(times, default=0.0) <= 0:
        return linear
    log = Window(min(times) / 1.6, linear.end, linear.last, log=True)
    places = [
        [w.place(s.predicted.jump) for s in jumps if s.predicted.jump is not None]
        for w in (linear, log)
    ]
    gap, log_gap = (float(np.min(np.diff(sorted(p)), initial=np.inf)) for p in places)
    return log if gap < CROWDED and log_gap > 1.5 * gap else linear


def _limits(comparison: Comparison, shown: Window) -> tuple[float, float]:
    """The range of the losses that are shown, of the run and of the predicted fixed points."""
    t = comparison.run.trajectory
    inside = (t.flow_time >= shown.start) & (t.flow_time <= shown.end) & np.isfinite(t.loss)
    values = np.concatenate([t.loss[inside], [stage.predicted.loss for stage in comparison.stages]])
    low, high = float(values.min()), float(values.max())
    span = (high - low) or max(abs(high), 1.0)
    return low - 0.04 * span, high + 0.09 * span


def _mark_jumps(axes: Axes, comparison: Comparison) -> None:
    """Bars, strokes, dots and rings; in the legend once each."""
    bar, stroke, dot, ring = "90% of draws", "mean of draws", "predicted jump", "jump of the run"
    named: set[str] = set()

    def once(words: str) -> str | None:
        new = words not in named
        named.add(words)
        return words if new else None

    for stage, height in zip(comparison.stages[1:], _heights(comparison), strict=True):
        p = stage.predicted
        if p.low is not None and p.high is not None:
            axes.plot([p.low, p.high], [height] * 2, color=BLUE, linewidth=3, alpha=0.4, zorder=2, label=once(bar),
                      solid_capstyle="butt")  # fmt: skip
        if p.mean is not None:
            axes.plot(
                p.mean,
                height,
                "|",
                color=BLUE,
                markersize=9,
                markeredgewidth=1.1,
                zorder=4,
                label=once(stroke),
            )
        if stage.jump is not None:
            axes.plot(stage.jump, height, "o", color=INK, markersize=7.5, markerfacecolor="none", markeredgewidth=1.1, zorder=5,
                      label=once(ring))  # fmt: skip
        if p.jump is not None:
            axes.plot(p.jump, height, "o", color=BLUE, markersize=4, zorder=6, label=once(dot))


@dataclass(frozen=True)
class _Paper:
    """Where flow times and losses fall on the axes, in points, before any layout is adjusted."""

    width: float
    height: float
    times: tuple[float, float]
    losses: tuple[float, float]
    log: bool

    @staticmethod
    def of(axes: Axes) -> _Paper:
        figure, box = axes.get_figure(root=True), axes.get_position()
        inches = figure.get_size_inches() if figure is not None else SIZE
        width, height = 72 * box.width * float(inches[0]), 72 * box.height * float(inches[1])
        return _Paper(width, height, axes.get_xlim(), axes.get_ylim(), axes.get_xscale() == "log")

    def across(self, t: ArrayLike) -> np.ndarray:
        scale = np.log if self.log else np.asarray
        left, right = (scale(edge) for edge in self.times)
        return self.width * (scale(np.maximum(t, self.times[0])) - left) / (right - left)

    def up(self, loss: ArrayLike) -> np.ndarray:
        low, high = self.losses
        return self.height * (np.asarray(loss) - low) / (high - low)

    def marks(self, comparison: Comparison) -> list[Box]:
        """The boxes of the marks of every jump, and of the run's curve in short pieces."""
        jumps = zip(comparison.stages[1:], _heights(comparison), strict=True)
        found = [
            _around(self.across(_times(s)), self.up([loss]), 4) for s, loss in jumps if _times(s)
        ]
        t, steps = comparison.run.trajectory, np.arange(0.0, self.width, 2.0)
        curve = np.interp(steps, self.across(t.flow_time), self.up(t.loss))
        return found + [
            _around(steps[k : k + 2], curve[k : k + 2], 1) for k in range(len(steps) - 1)
        ]


def _around(x: np.ndarray, y: np.ndarray, margin: float) -> Box:
    return (
        float(x.min()) - margin,
        float(y.min()) - margin,
        float(x.max()) + margin,
        float(y.max()) + margin,
    )


def _free(box: Box, taken: list[Box]) -> bool:
    return not any(
        box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken
    )


def _name_levels(axes: Axes, comparison: Comparison, paper: _Paper, marks: list[Box]) -> list[Box]:
    """Effective units above the lines, at their right ends, where there is room, the last first;
    the boxes the words take."""
    taken: list[Box] = []
    for stage in (*comparison.stages[-1:], *comparison.stages[:-1]):
        words = _units(stage.predicted.units) + ("" if stage.seen else ", not seen")
        bottom = float(paper.up(stage.predicted.loss)) + 1.5
        box = (paper.width - LETTER * len(words), bottom, paper.width, bottom + LINE)
        if _free(box, taken + marks):
            taken.append(box)
            axes.annotate(
                words, (1, stage.predicted.loss), (-1, 1), axes.get_yaxis_transform(), "offset points", ha="right", va="bottom",
                fontsize=SMALL - 1, color=BLUE if stage.seen else MUTED,
            )  # fmt: skip
    return taken


def _units(units: tuple[int, ...]) -> str:
    return " > ".join(map(str, units)) + (" unit" if units == (1,) else " units")


def _write_errors(axes: Axes, comparison: Comparison, paper: _Paper, taken: list[Box]) -> None:
    """The relative error of a predicted jump to the upper right of its marks, unless that would
    hide something."""
    for stage, loss in zip(comparison.stages[1:], _heights(comparison), strict=True):
        if stage.error is None:
            continue
        words, last = _percent(stage.error), max(_times(stage))
        left, bottom = float(paper.across(last)) + 4.5, float(paper.up(loss))
        box = (left, bottom, left + LETTER * len(words), bottom + LINE)
        if box[2] <= paper.width and _free(box, taken):
            taken = [*taken, box]
            axes.annotate(
                words,
                (last, loss),
                (5, 0),
                "data",
                "offset points",
                va="bottom",
                fontsize=SMALL - 1,
                color=MUTED,
            )


def _percent(error: float) -> str:
    """+0.02%, −11%: two decimals below ten percent."""
    return f"{100 * error:+.{2 if abs(error) < 0.1 else 0}f}%".replace("-", "−")
