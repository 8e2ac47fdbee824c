"""How results print themselves: plain tables in a terminal, HTML tables in a notebook, and
JSON-ready records."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .text import visible, visible_lines, width


def number(value: Any, digits: int = 4) -> str:
    """A number for people: fixed where that reads well, scientific elsewhere, a dash where there is
    none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    size = abs(float(value))
    return (
        f"{float(value):.{digits}g}" if size == 0 or 1e-3 <= size < 1e5 else f"{float(value):.1e}"
    )


def tiny(value: float | None) -> str:
    """A number that is nothing but rounding, by its size; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.1e}"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns, one row a line, no frame; what a terminal would obey is spelled out
    (`text.visible`). A header of several words that is wider than what stands below it is folded,
    so that a narrow column has its full name."""
    cells = [[visible(number(cell)) for cell in row] for row in rows]
    below = [max((width(row[k]) for row in cells), default=0) for k in range(len(columns))]
    heads = list(map(_folded, columns, below))
    deepest = max(map(len, heads), default=0)
    above = [[""] * (deepest - len(head)) + head for head in heads]
    widths = [max(room, *map(width, head)) for room, head in zip(below, above, strict=True)]

    padded = lambda cell, room: cell + " " * (room - width(cell))
    line = lambda row: "  ".join(map(padded, row, widths)).rstrip()
    rule = "  ".join("-" * room for room in widths)
    return "\n".join([*map(line, zip(*above, strict=True)), rule, *map(line, cells)])


def _folded(header: str, room: int) -> list[str]:
    """A header above cells of a width: whole where it fits, else on two lines of which the longer
    is as short as can be."""
    whole = visible(header)
    words = whole.split(" ")
    if width(whole) <= room or len(words) == 1:
        return [whole]
    splits = [[" ".join(words[:k]), " ".join(words[k:])] for k in range(1, len(words))]
    return min(splits, key=lambda lines: max(map(width, lines)))


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """The same table as HTML, every cell escaped, and what has no shape spelled out."""
    escaped = lambda words: html.escape(visible_lines(words))
    head = "".join(f"<th>{escaped(str(c))}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escaped(number(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plain(value: Any) -> Any:
    """A value JSON can hold: NumPy numbers become Python's, arrays lists, non-finite numbers
    None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
