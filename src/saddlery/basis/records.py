"""How results print themselves: plain tables in a terminal, HTML tables in a notebook, and
JSON-ready records.

A result says once what is printed of it (`Result.printed`); how wide a terminal is, and what may
stand in a page, is known here alone.
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

GAP = "  "  # between two columns


class Printed(NamedTuple):
    """What is printed of a result: lines above, a table (none without columns), lines below."""

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    head: Sequence[str] = ()
    notes: Sequence[str] = ()


class Result(Value):
    """What is handed to a person: a table in a terminal, as wide as that is; HTML in a notebook;
    plain values for JSON.

    A result derives from it, says what is `printed` of it and what its `record` is; a dataclass
    leaves its own `repr` away.
    """

    __slots__ = ()

    def printed(self) -> Printed:
        """Its lines and its table."""
        raise NotImplementedError(f"what is printed of a {type(self).__name__} is not said")

    def record(self) -> Any:
        """Values that JSON can hold; what does not exist is null, and never NaN."""
        raise NotImplementedError(f"what is kept of a {type(self).__name__} is not said")

    def __repr__(self) -> str:
        said, most = self.printed(), room()
        lines = lambda words: ["\n".join(wrapped(visible(line), most)) for line in words]
        table = [text_table(said.columns, said.rows)] if said.columns else []
        return "\n".join([*lines(said.head), *table, *lines(said.notes)])

    def _repr_html_(self) -> str:
        said = self.printed()
        notes = said.notes if said.columns else (*said.head, *said.notes)
        table = html_table(said.columns, said.rows, "; ".join(said.head)) if said.columns else ""
        return table + "".join(f"<p>{escaped(line)}</p>" for line in notes)


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
    (`text.visible`).

    A header of several words that is wider than what stands below it is folded, so that a narrow
    column has its full name. Where a terminal is too narrow (`text.room`) the columns stand in several tables, the first
    column in each of them; where two columns are still too wide, the words of a cell take several
    lines.
    """
    cells = [[visible(number(cell)) for cell in row] for row in (columns, *rows)]
    most = room()
    tables = [[[row[k] for k in kept] for row in cells] for kept in _fitting(cells, most)]
    return "\n\n".join(_aligned(table, most) for table in tables)


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    """Of columns whose first cell is the header."""
    found = []
    for header, *below in zip(*cells, strict=True):
        least = max(map(width, below), default=0)
        found.append(max(least, _folded(header, least)))
    return found


def _folded(header: str, least: int) -> int:
    """The width that a header needs above cells of a width: whole where it fits, else on two lines
    of which the longer is as short as can be."""
    words = header.split(" ")
    if width(header) <= least or len(words) == 1:
        return width(header)
    splits = [(" ".join(words[:k]), " ".join(words[k:])) for k in range(1, len(words))]
    return min(max(map(width, lines)) for lines in splits)


def _fitting(cells: Sequence[Sequence[str]], most: int | None) -> list[list[int]]:
    """Which columns stand beside each other: at least the first and one more."""
    widths = _widths(cells)
    tables, taken = [[0]], widths[0]
    for k in range(1, len(widths)):
        if most is not None and len(tables[-1]) > 1 and taken + len(GAP) + widths[k] > most:
            tables.append([0])
            taken = widths[0]
        tables[-1].append(k)
        taken += len(GAP) + widths[k]
    return tables


def _aligned(cells: Sequence[Sequence[str]], most: int | None) -> str:
    """One table; what is wider than `most` is taken from its widest columns. The first, of names,
    stays whole up to half of it."""
    widths = _widths(cells)
    while most is not None and sum(widths) + len(GAP) * (len(widths) - 1) > most:
        wide = widths if 2 * widths[0] > most else [0, *widths[1:]]
        widest = wide.index(max(wide))
        if widths[widest] <= 2:  # a wide letter
            break
        widths[widest] -= 1
    rule = GAP.join("-" * size for size in widths)
    below = [line for row in cells[1:] for line in _lines(row, widths)]
    return "\n".join([*_header(cells[0], widths), rule, *below])


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
    padded = [cell + " " * (size - width(cell)) for cell, size in zip(cells, widths, strict=True)]
    return GAP.join(padded).rstrip()


def escaped(value: Any) -> str:
    """Any value as it may stand in HTML, between tags or in a quoted attribute: numbers as people
    write them, letters without a shape spelled out (`text.visible`). All of this package's HTML is
    escaped here."""
    return html.escape(visible_lines(number(value)))


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """The same table as HTML, every cell escaped, and what has no shape spelled out."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    cells = ("".join(f"<td>{escaped(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plain(value: Any) -> Any:
    """A value JSON can hold: NumPy numbers become Python's, arrays lists, non-finite numbers
    None."""
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
        return float(value) if math.isfinite(value) else None
    return value
