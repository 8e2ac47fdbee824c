"""A quantity of many runs over two of the fields that were varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..basis.records import number
from .axes import folded, literal, names_of, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Colours of letters on the map's own colours, which a page leaves as they are in the dark.
DARK, LIGHT = "#101010", "#fefefe"
WRITTEN = 12  # values are written into the cells of a map of at most so many a side
LETTERS = 7  # font size of the letters of a map, in points
LUMINANCE = 0.299, 0.587, 0.114  # shares of red, green and blue in brightness (ITU-R BT.601)


def heat_map(
    means: Float[np.ndarray, "R C"],
    intervals: Float[np.ndarray, "R C 2"],
    columns: Sequence[Any],
    rows: Sequence[Any],
    labels: tuple[str, str, str],
    axes: Axes | None = None,
) -> Axes:
    """Means of a quantity as colours and, where there are few, numbers with their intervals.

    means (R, C): cells without a value stay empty.
    intervals (R, C, 2): written where they are finite.
    columns (C,), rows (R,): the values of the two fields.
    labels: of the columns, the rows and the quantity.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.plots import heat_map
    >>> means = np.array([[1.0, 2.0]])
    >>> intervals = np.array([[[0.5, 1.5], [np.nan, np.nan]]])
    >>> axes = heat_map(means, intervals, [10, 20], [0.1], ("width", "scale", "loss"))
    >>> [text.get_text() for text in axes.texts]
    ['1\\n0.5 to 1.5', '2']
    """
    size = 1.1 * len(columns) + 2.0, 0.55 * len(rows) + 1.4
    axes = new_axes(axes, size)
    shown = axes.imshow(
        np.ma.masked_invalid(means),
        aspect="auto",
        cmap="viridis",
        origin="lower",
    )
    axes.set_xticks(range(len(columns)), names_of(columns), rotation=30 if len(columns) > 6 else 0)
    axes.set_yticks(range(len(rows)), names_of(rows))
    axes.set_xlabel(literal(labels[0]))
    axes.set_ylabel(literal(labels[1]))
    assert axes.figure is not None
    bar = axes.figure.colorbar(shown, ax=axes)
    lines = folded(labels[2]).split("\n")
    bar.set_label("\n".join(map(literal, lines)), fontsize=LETTERS)
    if len(columns) <= WRITTEN and len(rows) <= WRITTEN:
        for r, c in np.argwhere(np.isfinite(means)):
            axes.text(
                c,
                r,
                _words(float(means[r, c]), *intervals[r, c]),
                ha="center",
                va="center",
                fontsize=LETTERS,
                color=DARK if _bright(shown, means[r, c]) else LIGHT,
            )
    return axes


def _words(mean: float, low: float, high: float) -> str:
    """The mean, and its interval where there is one."""
    if not np.isfinite(low + high) or low >= high:
        return number(mean, 3)
    return f"{number(mean, 3)}\n{number(low, 2)} to {number(high, 2)}"


def _bright(shown: AxesImage, value: Any) -> bool:
    """Whether the colour of a cell asks for dark letters."""
    colour = shown.cmap(shown.norm(value))
    return sum(share * part for share, part in zip(LUMINANCE, colour, strict=False)) > 0.5
