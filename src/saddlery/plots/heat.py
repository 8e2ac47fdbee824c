"""A quantity of many runs over two of the fields that were varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.records import number
from .axes import literal, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK, LIGHT = (
    "#101010",
    "#fefefe",
)  # on the map's own colours, which a page leaves as they are in the dark
MOST = 12  # values a side that are written into their cells


def heat_map(
    means: np.ndarray,
    intervals: np.ndarray,
    columns: Sequence[Any],
    rows: Sequence[Any],
    labels: tuple[str, str, str],
    axes: Axes | None = None,
) -> Axes:
    """Means (R, C) of a quantity as colours and, where there are few, numbers with their intervals
    (R, C, 2) where those are finite.

    columns, rows: the values of the two fields. labels: of the columns, the rows and the quantity.
    Cells without a value stay empty.
    """
    axes = new_axes(axes, (1.1 * len(columns) + 2.0, 0.55 * len(rows) + 1.4))
    shown = axes.imshow(np.ma.masked_invalid(means), aspect="auto", cmap="viridis", origin="lower")
    axes.set_xticks(
        range(len(columns)),
        [literal(number(c, 3)) for c in columns],
        rotation=30 if len(columns) > 6 else 0,
    )
    axes.set_yticks(range(len(rows)), [literal(number(r, 3)) for r in rows])
    axes.set_xlabel(literal(labels[0]))
    axes.set_ylabel(literal(labels[1]))
    assert axes.figure is not None
    bar = axes.figure.colorbar(shown, ax=axes)
    bar.set_label(literal(labels[2]), fontsize=7)
    if len(columns) <= MOST and len(rows) <= MOST:
        for r, c in np.argwhere(np.isfinite(means)):
            low, high = intervals[r, c]
            spread = (
                f"\n{number(low, 2)} to {number(high, 2)}"
                if np.isfinite(low + high) and low < high
                else ""
            )
            red, green, blue, _ = shown.cmap(shown.norm(means[r, c]))
            bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            words = f"{number(means[r, c], 3)}{spread}"
            axes.text(
                c, r, words, ha="center", va="center", fontsize=7, color=DARK if bright else LIGHT
            )
    return axes
