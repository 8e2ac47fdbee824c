"""What every picture shares: axes, colours, the window of flow time and the shaded plateaus.

Colours are those of Okabe & Ito, safe for the colour-blind, and whatever colour says is also said
by a marker, a place or a word.
"""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import InputError, require
from ..basis.records import number
from ..basis.text import visible
from ..plateaus import Stage, Stages
from ..runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1a1a1a", "#6b6b6b", "#c4c4c4"
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
FLOW_TIME = "flow time (learning rate × steps)"
TAIL_SHOWN = 1.25  # the converged tail is cropped to a quarter of what came before
SMALL = 8  # font size of labels inside the axes, in points
MOVING = 2e-3  # the run has settled where less than this share of the loss's range is left
# Plateaus whose middles are nearer than this share of a linear axis ask for a logarithmic one.
TIGHT = 0.03
BANDS = 0.28, 0.15  # opacities of the bands of plateaus, in turns
# Width of a letter over its size, alone and with the space that words keep from each other.
LETTER, SPACED = 0.6, 0.7
FOLDED = 36  # a vertical label is broken into lines of about so many letters
DIGITS = 17  # tell all floating numbers apart
FEW_DECADES = 3  # a logarithmic axis of no more has 1, 2 and 5 of each, others 1 alone


def new_axes(axes: Axes | None = None, size: tuple[float, float] = (5.0, 3.0)) -> Axes:
    """The given axes, or those of a new figure of `size` inches.

    Raises InputError where matplotlib is not installed.

    Example
    -------
    >>> from saddlery.plots import new_axes
    >>> [float(inches) for inches in new_axes(size=(4.0, 2.0)).figure.get_size_inches()]
    [4.0, 2.0]
    """
    if axes is None:
        axes = _figure(size).add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            'pictures need matplotlib; install it with pip install "saddlery[plots]"'
        ) from None
    return Figure(figsize=size, layout="constrained")


def literal(words: object) -> str:
    """Text that someone else chose, for a picture: drawn letter by letter, never as mathematics.

    Matplotlib takes what stands between two dollars for a formula, and ends with its
    parser's error where it is none. Signs that steer a terminal or a line become
    visible. Every text of a picture that is not written in this package goes through
    here: names, swept values, theories.

    Example
    -------
    >>> from saddlery.plots import literal
    >>> print(literal("2$ a run"))
    2\\$ a run
    """
    return visible(str(words)).replace("$", r"\$")


def folded(words: str) -> str:
    """A vertical label in lines of about one length, none longer than the axes of a page."""
    lines = max(-(-len(words) // FOLDED), 1)
    # Room for the words that do not fit.
    return textwrap.fill(words, len(words) // lines + 4)


def names_of(values: Sequence[Any]) -> list[str]:
    """Different values as short words that differ: three digits, or as many as tell them apart."""
    names = [number(value, 3) for value in values]
    digits = 3
    while len(set(names)) < len(names) and digits <= DIGITS:
        names = [_of_digits(value, digits) for value in values]
        digits += 1
    return [literal(name) for name in names]


def _of_digits(value: Any, digits: int) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.{digits}g}"
    return number(value)


def parts(subject: Run | Stages) -> tuple[Run, tuple[Stage, ...]]:
    """The run, and its stages (none, for a run alone); raises InputError for anything else."""
    require(
        isinstance(subject, (Run, Stages)),
        "what is drawn",
        needed="a Run or its Stages",
        given=type(subject).__name__,
    )
    if isinstance(subject, Run):
        return subject, ()
    return subject.run, subject.stages


@dataclass(frozen=True)
class Window:
    """The part of flow time that is drawn, and on which scale.

    start, end: of what is drawn. last: flow time at which the run ends.
    log: whether the scale is logarithmic.

    Example
    -------
    >>> from saddlery.plots import Window
    >>> Window(1.0, 100.0, last=100.0, log=True).place(10.0)
    0.5
    """

    start: float
    end: float
    last: float
    log: bool = False

    def place(self, flow_time: float) -> float:
        """Where a flow time falls, as a fraction of the axis."""
        inside = min(max(flow_time, self.start), self.end)
        if self.log:
            return float(np.log(inside / self.start) / np.log(self.end / self.start))
        return (inside - self.start) / (self.end - self.start)

    @property
    def label(self) -> str:
        """What the axis is, and what of it is left out."""
        if self.end >= 0.99 * self.last:
            return FLOW_TIME
        return f"{FLOW_TIME}\ncropped at {readable(self.end)} of {readable(self.last)}"


def readable(value: float) -> str:
    """Four digits, with commas rather than exponents up to a million.

    Example
    -------
    >>> from saddlery.plots import readable
    >>> readable(12345.6), readable(1e-5)
    ('12,350', '1e-05')
    """
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    rounded = float(f"{value:.4g}")
    return f"{rounded:,.10g}"


def window(subject: Run | Stages) -> Window:
    """The window in which the stages of a run are legible.

    From zero to a quarter beyond the last change of the loss (of a five-hundredth of its
    range, or the last plateau's start). Logarithmic only where the narrowest pair of
    neighbouring stages would be less than 3% of a linear axis apart and the logarithm at
    least doubles that.
    """
    run, stages = parts(subject)
    t, loss = run.trajectory.flow_time, run.trajectory.loss
    last = float(t[-1]) if np.isfinite(t[-1]) and t[-1] > 0 else 1.0
    settled = last
    # a loss that is no number counts as moving
    moving = np.flatnonzero(~(np.abs(loss - loss[-1]) <= MOVING * np.ptp(loss)))
    if len(moving):
        settled = float(t[min(moving[-1] + 1, len(t) - 1)])
    if len(stages) > 1:
        settled = max(settled, stages[-1].start)
    linear = Window(0.0, min(TAIL_SHOWN * settled, last) or last, last)

    first = stages[0].end / 3 if stages else 0.0
    if len(stages) < 3 or not 0 < first < linear.end:
        return linear
    log = Window(first, linear.end, last, log=True)
    gap, log_gap = _narrowest(stages, linear), _narrowest(stages, log)
    if gap < TIGHT and log_gap > 2 * gap:
        return log
    return linear


def _narrowest(stages: Sequence[Stage], shown: Window) -> float:
    """The least distance of neighbouring plateaus, as a fraction of the axis."""
    return float(np.min(np.diff(middles(stages, shown))))


def middles(stages: Sequence[Stage], shown: Window) -> list[float]:
    """Where the middles of the plateaus fall, as fractions of the axis."""
    return [0.5 * (shown.place(s.start) + shown.place(s.end)) for s in stages]


def time_axis(axes: Axes, shown: Window) -> None:
    """Scale, limits and label of an axis of flow time."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if shown.log:
        axes.set_xscale("log")
        few = shown.end <= 10**FEW_DECADES * shown.start
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5) if few else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(shown.start, shown.end)
    axes.set_xlabel(shown.label)


def lone(values: np.ndarray) -> str:
    """The marker of a curve of values (T, ...): a dot where a single one is there, else none."""
    seen = np.isfinite(values).reshape(len(values), -1).any(axis=1)
    return "." if seen.sum() == 1 else ""


def bands(axes: Axes, stages: Sequence[Stage]) -> None:
    """Plateaus as shaded bands, alternately darker."""
    for k, stage in enumerate(stages):
        axes.axvspan(
            stage.start,
            stage.end,
            color=SKY,
            alpha=BANDS[k % 2],
            linewidth=0,
            zorder=0,
        )


def units_label(stage: Stage) -> str:
    """ "1 unit", "2 units", or "1 > 2 units" for several layers."""
    units = stage.effective_units
    if units == 1:
        return "1 unit"
    if isinstance(units, int):
        return f"{units} units"
    return " > ".join(map(str, units)) + " units"


def name_bands(axes: Axes, stages: Sequence[Stage], shown: Window) -> None:
    """Effective units above each band, in two rows where that is tight.

    In words where there is room, else the number.
    """
    width, centres = _points_wide(axes), middles(stages, shown)
    raised = False
    for k, (stage, middle) in enumerate(zip(stages, centres, strict=True)):
        others = [abs(middle - other) for other in centres[:k] + centres[k + 1 :]]
        free = width * min(others or [1.0])
        words = units_label(stage)
        if len(words) * LETTER * SMALL >= free:
            words = words.removesuffix("s").removesuffix(" unit")
        tight = len(words) * SPACED * SMALL > free
        raised = tight and not raised
        half = 0.5 * LETTER * len(words) * SMALL / width
        axes.annotate(
            words,
            (min(max(middle, half), 1 - half), 1),
            xytext=(0, 12 if raised else 3),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=MUTED,
        )


def _points_wide(axes: Axes) -> float:
    """The width of the axes."""
    figure = axes.get_figure(root=True)
    inches = figure.get_figwidth() if figure is not None else 5.0
    return 72 * axes.get_position().width * inches
