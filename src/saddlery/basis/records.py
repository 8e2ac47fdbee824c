"""How results print themselves: plain tables in a terminal, HTML tables in a
notebook, and JSON-ready records.

A result says once what is printed of it (`Result.printed`); how wide a
terminal is, and what may stand in a page, is known here alone.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from .text import room, visible, visible_lines, width, wrapped
from .values import Value

Cells = Sequence[Sequence[str]]  # a table whose first row is its header

GAP = "  "  # between two columns
# Numbers within this range are written out; smaller and larger ones have an exponent.
FIXED = (1e-3, 1e5)
# No column is narrowed below this, the width of a wide letter.
NARROWEST = 2


class Printed(NamedTuple):
    """What is printed of a result.

    columns, rows: a table; none without columns.
    head, notes: lines above and below it.
    """

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    head: Sequence[str] = ()
    notes: Sequence[str] = ()


class Result(Value):
    """What is handed to a person: a table in a terminal, as wide as that is;
    HTML in a notebook; plain values for JSON.

    A result derives from it, says what is `printed` of it and what its
    `record` is; a dataclass leaves its own `repr` away.
    """

    __slots__ = ()

    def printed(self) -> Printed:
        """Its lines and its table."""
        raise NotImplementedError(f"what is printed of a {type(self).__name__} is not said")

    def record(self) -> Any:
        """Values that JSON can hold; what does not exist is null, and never
        NaN."""
        raise NotImplementedError(f"what is kept of a {type(self).__name__} is not said")

    def __repr__(self) -> str:
        said, most = self.printed(), room()
        head = [_paragraph(line, most) for line in said.head]
        notes = [_paragraph(line, most) for line in said.notes]
        if not said.columns:
            return "\n".join([*head, *notes])
        return "\n".join([*head, text_table(said.columns, said.rows), *notes])

    def _repr_html_(self) -> str:
        said = self.printed()
        if not said.columns:
            return _html_lines([*said.head, *said.notes])
        caption = "; ".join(said.head)
        return html_table(said.columns, said.rows, caption) + _html_lines(said.notes)


def _paragraph(line: str, most: int | None) -> str:
    return "\n".join(wrapped(visible(line), most))


def number(value: Any, digits: int = 4) -> str:
    """A number for people: fixed where that reads well, scientific elsewhere,
    a dash where there is none.

    digits: of those that are not scientific.

    Example
    -------
    >>> from saddlery.basis.records import number
    >>> [number(value) for value in (1234.5678, 1e-7, 0.0, 12, None, float("nan"))]
    ['1235', '1.0e-07', '0', '12', '-', '-']
    """
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return "-"
    if isinstance(value, (bool, np.bool_, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    size = abs(float(value))
    if 10**digits - 0.5 <= size < FIXED[1]:  # more digits than asked for, all written
        return f"{float(value):.0f}"
    if size == 0 or FIXED[0] <= size < FIXED[1]:
        return f"{float(value):.{digits}g}"
    return f"{float(value):.1e}"


def tiny(value: float | None) -> str:
    """A number that is nothing but rounding, by its size; a dash where there
    is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.1e}"


# ------------------------------------------------------------------ tables of text
def text_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns, one row a line, no frame; what a terminal would obey
    is spelled out (`text.visible`).

    columns (K,): their headers.
    rows (N, K): values of any kind.

    A header of several words that is wider than what stands below it is
    folded, so that a narrow column has its full name. Where a terminal is too
    narrow (`text.room`) the columns stand in several tables, the first column
    in each of them; where two columns are still too wide, the words of a cell
    take several lines.

    Example
    -------
    >>> from saddlery.basis.records import text_table
    >>> print(text_table(("saddle", "loss of it"), [["origin", 0.58], ["second", 0.08]]))
            loss
    saddle  of it
    ------  -----
    origin  0.58
    second  0.08
    """
    cells = [[visible(number(cell)) for cell in row] for row in (columns, *rows)]
    most = room()
    tables = []
    for kept in _fitting(cells, most):
        table = [[row[k] for k in kept] for row in cells]
        tables.append(_aligned(table, most))
    return "\n\n".join(tables)


def _widths(cells: Cells) -> list[int]:
    """Of columns whose first cell is the header."""
    found = []
    for header, *below in zip(*cells, strict=True):
        least = max(map(width, below), default=0)
        found.append(max(least, _folded(header, least)))
    return found


def _folded(header: str, least: int) -> int:
    """The width that a header needs above cells of a width: whole where it
    fits, else on two lines of which the longer is as short as can be."""
    words = header.split(" ")
    if width(header) <= least or len(words) == 1:
        return width(header)
    longer = []
    for k in range(1, len(words)):
        above, below = " ".join(words[:k]), " ".join(words[k:])
        longer.append(max(width(above), width(below)))
    return min(longer)


def _fitting(cells: Cells, most: int | None) -> list[list[int]]:
    """Which columns stand beside each other: at least the first and one
    more."""
    widths = _widths(cells)
    if most is None:
        return [list(range(len(widths)))]
    tables, taken = [[0]], widths[0]
    for k in range(1, len(widths)):
        more = len(GAP) + widths[k]
        if len(tables[-1]) > 1 and taken + more > most:
            tables.append([0])
            taken = widths[0]
        tables[-1].append(k)
        taken += more
    return tables


def _aligned(cells: Cells, most: int | None) -> str:
    """One table, no wider than `most` where letters allow it."""
    widths = _widths(cells)
    if most is not None:
        widths = _narrowed(widths, most)
    rule = GAP.join("-" * size for size in widths)
    lines = [*_header(cells[0], widths), rule]
    for row in cells[1:]:
        lines += _lines(row, widths)
    return "\n".join(lines)


def _narrowed(widths: Sequence[int], most: int) -> list[int]:
    """What is wider than `most` is taken from the widest columns. The first,
    of names, stays whole up to half of it."""
    found = list(widths)
    gaps = len(GAP) * (len(found) - 1)
    while sum(found) + gaps > most:
        others = found
        if 2 * found[0] <= most:
            others = [0, *found[1:]]
        widest = others.index(max(others))
        if found[widest] <= NARROWEST:
            break
        found[widest] -= 1
    return found


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row of cells, of which each takes as many lines as it needs."""
    lines = zip_longest(*map(wrapped, row, widths), fillvalue="")
    return [_line(line, widths) for line in lines]


def _header(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The same from below: a short header stands on the rule."""
    columns = [wrapped(cell, size)[::-1] for cell, size in zip(row, widths, strict=True)]
    lines = zip_longest(*columns, fillvalue="")
    return [_line(line, widths) for line in lines][::-1]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for cell, size in zip(cells, widths, strict=True):
        padded.append(cell + " " * (size - width(cell)))
    return GAP.join(padded).rstrip()


# ------------------------------------------------------------------------- HTML
def escaped(value: Any) -> str:
    """Any value as it may stand in HTML, between tags or in a quoted
    attribute: numbers as people write them, letters without a shape spelled
    out (`text.visible`).

    All of this package's HTML is escaped here.

    Example
    -------
    >>> from saddlery.basis.records import escaped
    >>> escaped("<b>"), escaped(0.123456)
    ('&lt;b&gt;', '0.1235')
    """
    return html.escape(visible_lines(number(value)))


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """The same table as HTML, every cell escaped, and what has no shape
    spelled out."""
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    head = _html_row("th", columns)
    body = "".join(_html_row("td", row) for row in rows)
    return f"<table>{title}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _html_row(tag: str, cells: Sequence[Any]) -> str:
    inside = "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inside}</tr>"


def _html_lines(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escaped(line)}</p>" for line in lines)


# ------------------------------------------------------------------------- JSON
def plain(value: Any) -> Any:
    """A value JSON can hold: NumPy numbers become Python's, arrays lists,
    non-finite numbers None.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.records import plain
    >>> plain({"loss": np.array([0.5, np.nan]), "units": np.int64(2)})
    {'loss': [0.5, None], 'units': 2}
    """
    if isinstance(value, Mapping):
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
        if not math.isfinite(value):
            return None
        return float(value)
    return value
