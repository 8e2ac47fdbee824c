"""A quantity of many runs over two of the fields that were varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import number
from .axes import INK, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12  # values a side that are written into their cells


def heat_map(
    means: np.ndarray,
    halves: np.ndarray,
    counts: np.ndarray,
    columns: Sequence[Any],
    rows: Sequence[Any],
    labels: tuple[str, str, str],
    axes: Axes | None = None,
) -> Axes:
    """Means (R, C) of a quantity as colours and, where there are few, numbers with half their 95% intervals.

    counts (R, C): finite values behind each. columns, rows: the values of the two fields. labels: of the columns, the rows and
    the quantity. Cells without a value stay empty.
    """
    axes = new_axes(axes, (1.1 * len(columns) + 2.0, 0.55 * len(rows) + 1.4))
    shown = axes.imshow(np.ma.masked_invalid(means), aspect="auto", cmap="viridis", origin="lower")
    axes.set_xticks(range(len(columns)), [number(c, 3) for c in columns], rotation=30 if len(columns) > 6 else 0)
    axes.set_yticks(range(len(rows)), [number(r, 3) for r in rows])
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    assert axes.figure is not None
    bar = axes.figure.colorbar(shown, ax=axes)
    bar.set_label(labels[2])
    if len(columns) <= MOST and len(rows) <= MOST:
        low, high = (float(f(means[np.isfinite(means)])) if np.isfinite(means).any() else 0.0 for f in (np.min, np.max))
        for r, c in np.argwhere(counts > 0):
            bright = means[r, c] > 0.6 * high + 0.4 * low
            spread = f"\n±{number(halves[r, c], 2)}" if np.isfinite(halves[r, c]) and counts[r, c] > 1 else ""
            words = f"{number(means[r, c], 3)}{spread}"
            axes.text(c, r, words, ha="center", va="center", fontsize=7, color=INK if bright else "white")
    return axes
