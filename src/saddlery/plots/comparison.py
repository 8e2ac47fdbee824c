"""A prediction beside a run: the loss, the fixed points expected, and the times of jumps."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..basis.checks import require
from ..basis.pictures import picture_of
from ..predictions import ComparedStage, Comparison
from .axes import BLUE, INK, MUTED, SMALL, Window, literal, lone, new_axes, time_axis, window
from .curves import loss_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

COMPARISON_INCHES = (5.2, 3.2)
ROOM_BEYOND = 1.08  # the axis of flow time ends at so many times the last marked time, or later
CROWDED = 0.05  # jumps nearer than this share of a linear axis ask for a logarithmic one
# Height of a line and width of a letter, in points.
LINE_HEIGHT, LETTER_WIDTH = 1.2 * SMALL, 0.55 * SMALL
# Points that marks and the run's curve keep free around them, and how long the pieces of the curve
# are that do.
AROUND_MARKS, AROUND_CURVE, PIECE = 4, 1, 2.0


@picture_of(Comparison)
def comparison(comparison: Comparison, axes: Axes | None = None) -> Axes:
    """The loss of a run beside what a theory expected, all predicted in blue, the run in black.

    Thin lines: the losses of the predicted fixed points, named by effective units. At
    the height half-way between two of them, where the run's curve is at its own jump: a
    dot at the predicted jump, a bar over 90% of the draws with a stroke at their mean, a
    ring at the jump of the run, and the relative error where there is room. Dashed: the
    exact curve, of theories that have one. Flow time is logarithmic where predicted
    jumps would crowd.

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
        needed="a Comparison",
        given=type(comparison).__name__,
        remedy="pass compare(prediction, stages(run))",
    )
    axes, shown = new_axes(axes, COMPARISON_INCHES), _window(comparison)
    _draw_curves(axes, comparison)
    time_axis(axes, shown)
    axes.set_ylabel(loss_label(comparison.run))
    axes.set_ylim(*_limits(comparison, shown))
    _draw_levels(axes, comparison)
    _mark_jumps(axes, comparison)
    paper = _Paper.of(axes)
    marks = paper.marks(comparison)
    names = _name_levels(axes, comparison, paper, marks)
    _write_errors(axes, comparison, paper, marks + names)
    entries = len(axes.get_legend_handles_labels()[0])
    axes.legend(
        fontsize=SMALL - 1,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=(entries + 1) // 2,
        borderpad=0.2,
        handlelength=1.4,
        columnspacing=1.2,
        labelspacing=0.25,
    )
    return axes


def _draw_curves(axes: Axes, comparison: Comparison) -> None:
    """The loss of the run, and of the theory where it has a curve."""
    t, curve = comparison.run.trajectory, comparison.prediction.curve
    axes.plot(
        t.flow_time,
        t.loss,
        color=INK,
        marker=lone(t.loss),
        linewidth=1.7,
        solid_joinstyle="round",
        zorder=3,
        label="run",
    )
    if curve is None:
        return
    axes.plot(
        *curve,
        color=BLUE,
        linewidth=1.1,
        linestyle=(0, (4, 2)),
        zorder=4,
        label="theory",
    )


def _draw_levels(axes: Axes, comparison: Comparison) -> None:
    """The losses of the predicted fixed points; in the legend once."""
    words: str | None = f"fixed points, {literal(comparison.prediction.theory)}"
    for stage in comparison.stages:
        axes.axhline(
            stage.predicted.loss,
            color=BLUE,
            linewidth=0.7,
            alpha=0.6,
            zorder=1,
            label=words,
        )
        words = None


def _heights(comparison: Comparison) -> list[float]:
    """The loss half-way down to each stage but the first."""
    losses = [stage.predicted.loss for stage in comparison.stages]
    return [0.5 * (above + below) for above, below in pairwise(losses)]


def _times(stage: ComparedStage) -> list[float]:
    """All flow times that are marked for a stage."""
    p = stage.predicted
    marked = (p.jump, p.low, p.mean, p.high, stage.jump)
    return [float(t) for t in marked if t is not None and np.isfinite(t)]


def _window(comparison: Comparison) -> Window:
    """That of the run, and as much more as shows every mark."""
    own, jumps = window(comparison.run), comparison.stages[1:]
    times = [t for stage in jumps for t in _times(stage)]
    end = max([own.end, *(ROOM_BEYOND * t for t in times)])
    linear = Window(0.0, end, max(own.last, end))
    if len(jumps) < 2 or min(times, default=0.0) <= 0:
        return linear
    log = Window(min(times) / 1.6, linear.end, linear.last, log=True)
    predicted = [s.predicted.jump for s in jumps if s.predicted.jump is not None]
    gap, log_gap = _narrowest(predicted, linear), _narrowest(predicted, log)
    if gap < CROWDED and log_gap > 1.5 * gap:
        return log
    return linear


def _narrowest(times: list[float], shown: Window) -> float:
    """The least distance of two times, as a fraction of the axis."""
    places = sorted(shown.place(t) for t in times)
    return float(np.min(np.diff(places), initial=np.inf))


def _limits(comparison: Comparison, shown: Window) -> tuple[float, float]:
    """The range of the losses that are shown, of the run and of the predicted fixed points."""
    t = comparison.run.trajectory
    inside = (t.flow_time >= shown.start) & (t.flow_time <= shown.end)
    own = t.loss[inside & np.isfinite(t.loss)]
    expected = [stage.predicted.loss for stage in comparison.stages]
    values = np.concatenate([own, expected])
    low, high = float(values.min()), float(values.max())
    span = (high - low) or max(abs(high), 1.0)
    return low - 0.04 * span, high + 0.09 * span


def _mark_jumps(axes: Axes, comparison: Comparison) -> None:
    """Bars, strokes, dots and rings; in the legend once each."""
    named: set[str] = set()

    def once(words: str) -> str | None:
        if words in named:
            return None
        named.add(words)
        return words

    for stage, height in zip(comparison.stages[1:], _heights(comparison), strict=True):
        p = stage.predicted
        if p.low is not None and p.high is not None:
            axes.plot(
                [p.low, p.high],
                [height] * 2,
                color=BLUE,
                linewidth=3,
                alpha=0.4,
                zorder=2,
                label=once("90% of draws"),
                solid_capstyle="butt",
            )
        if p.mean is not None:
            axes.plot(
                p.mean,
                height,
                "|",
                color=BLUE,
                markersize=9,
                markeredgewidth=1.1,
                zorder=4,
                label=once("mean of draws"),
            )
        if stage.jump is not None:
            axes.plot(
                stage.jump,
                height,
                "o",
                color=INK,
                markersize=7.5,
                markerfacecolor="none",
                markeredgewidth=1.1,
                zorder=5,
                label=once("jump of the run"),
            )
        if p.jump is not None:
            axes.plot(
                p.jump,
                height,
                "o",
                color=BLUE,
                markersize=4,
                zorder=6,
                label=once("predicted jump"),
            )


class _Box(NamedTuple):
    """A rectangle, in points from the corner of the axes."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        up = self.bottom < other.top and other.bottom < self.top
        return across and up

    def free(self, taken: list[_Box]) -> bool:
        """Whether it meets none of these."""
        return not any(self.meets(other) for other in taken)


@dataclass(frozen=True)
class _Paper:
    """Where flow times and losses fall on the axes, in points, before the layout is adjusted."""

    width: float
    height: float
    times: tuple[float, float]
    losses: tuple[float, float]
    log: bool

    @staticmethod
    def of(axes: Axes) -> _Paper:
        figure, box = axes.get_figure(root=True), axes.get_position()
        inches = COMPARISON_INCHES if figure is None else figure.get_size_inches()
        return _Paper(
            width=72 * box.width * float(inches[0]),
            height=72 * box.height * float(inches[1]),
            times=axes.get_xlim(),
            losses=axes.get_ylim(),
            log=axes.get_xscale() == "log",
        )

    def across(self, t: ArrayLike) -> np.ndarray:
        scale = np.log if self.log else np.asarray
        left, right = (scale(edge) for edge in self.times)
        return self.width * (scale(np.maximum(t, self.times[0])) - left) / (right - left)

    def up(self, loss: ArrayLike) -> np.ndarray:
        low, high = self.losses
        return self.height * (np.asarray(loss) - low) / (high - low)

    def marks(self, comparison: Comparison) -> list[_Box]:
        """The boxes of the marks of every jump, and of the run's curve in short pieces."""
        found = []
        for stage, loss in zip(comparison.stages[1:], _heights(comparison), strict=True):
            times = _times(stage)
            if times:
                found.append(_around(self.across(times), self.up([loss]), AROUND_MARKS))
        t = comparison.run.trajectory
        steps = np.arange(0.0, self.width, PIECE)
        curve = np.interp(steps, self.across(t.flow_time), self.up(t.loss))
        for k in range(len(steps) - 1):
            found.append(_around(steps[k : k + 2], curve[k : k + 2], AROUND_CURVE))
        return found


def _around(x: np.ndarray, y: np.ndarray, margin: float) -> _Box:
    return _Box(
        left=float(x.min()) - margin,
        bottom=float(y.min()) - margin,
        right=float(x.max()) + margin,
        top=float(y.max()) + margin,
    )


def _name_levels(
    axes: Axes, comparison: Comparison, paper: _Paper, marks: list[_Box]
) -> list[_Box]:
    """Effective units above the lines, at their right ends, where there is room.

    The last first. Returned: the boxes the words take.
    """
    taken: list[_Box] = []
    for stage in (*comparison.stages[-1:], *comparison.stages[:-1]):
        loss, words = stage.predicted.loss, _units(stage.predicted.units)
        if not stage.seen:
            words += ", not seen"
        bottom = float(paper.up(loss)) + 1.5
        box = _Box(
            left=paper.width - LETTER_WIDTH * len(words),
            bottom=bottom,
            right=paper.width,
            top=bottom + LINE_HEIGHT,
        )
        if not box.free(taken + marks):
            continue
        taken.append(box)
        axes.annotate(
            words,
            (1, loss),
            xytext=(-1, 1),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=SMALL - 1,
            color=BLUE if stage.seen else MUTED,
        )
    return taken


def _units(units: tuple[int, ...]) -> str:
    if units == (1,):
        return "1 unit"
    return " > ".join(map(str, units)) + " units"


def _write_errors(axes: Axes, comparison: Comparison, paper: _Paper, taken: list[_Box]) -> None:
    """The relative error of a predicted jump to the upper right of its marks.

    Unless that would hide something.
    """
    for stage, loss in zip(comparison.stages[1:], _heights(comparison), strict=True):
        if stage.error is None:
            continue
        words, last = _percent(stage.error), max(_times(stage))
        left, bottom = float(paper.across(last)) + 4.5, float(paper.up(loss))
        box = _Box(
            left=left,
            bottom=bottom,
            right=left + LETTER_WIDTH * len(words),
            top=bottom + LINE_HEIGHT,
        )
        if box.right > paper.width or not box.free(taken):
            continue
        taken = [*taken, box]
        axes.annotate(
            words,
            (last, loss),
            xytext=(5, 0),
            xycoords="data",
            textcoords="offset points",
            va="bottom",
            fontsize=SMALL - 1,
            color=MUTED,
        )


def _percent(error: float) -> str:
    """+0.02%, −11%: two decimals below ten percent."""
    decimals = 2 if abs(error) < 0.1 else 0
    return f"{100 * error:+.{decimals}f}%".replace("-", "−")
