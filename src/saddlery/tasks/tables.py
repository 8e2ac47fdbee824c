"""Tables of numbers in text files: how their cells are separated, and which of them are header, row
numbers and data.

Programs write tables in many ways, and a header of numbers or a column of row numbers looks like
data. What a file leaves no doubt about is recognised, what it leaves open is taken as data, and
both are said (`Table.notes`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError, require
from ..basis.echo import Words, said, shown
from ..doors.door import read_text

MOST = (
    256 * 2**20
)  # bytes of a file: as text a number takes about ten times the memory that it takes as a number
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
FEWEST = 5  # rows from which a first column that counts them can hardly be data
ROW_NAMES = (
    "",
    "index",
    "id",
    "row",
    "no",
    "nr",
    "#",
    "unnamed: 0",
)  # names of a column that counts rows
NAME = re.compile(
    r"[^;|\t]*[^;|\t\d\s.,+][^;|\t]*"
)  # of a row: no separators in it, and more than a number's signs
CELLS = 6  # of a header that a note repeats

Row = tuple[int, list[str]]  # number of its line, cells


class Table(NamedTuple):
    """numbers (N, K). notes: sentences on what was taken as what. header, index: whether there is a
    header line and a first column of row numbers, and `plain` whether a reader that looks at single
    cells alone would have taken it the same way."""

    numbers: Float[np.ndarray, "N K"]
    notes: tuple[str, ...]
    header: bool
    index: bool
    plain: bool


def read_table(path: str, header: bool | None = None, index: bool | None = None) -> Table:
    """The numbers of a CSV file: cells separated by commas, semicolons, tabs, bars or blanks, with
    decimal points or commas.

    header: whether the first line is one, None to find out: one without any number is, and so is
    one that counts its columns (0, 1, 2, ... or years) above numbers of another kind. index:
    whether the first column only names the rows, None to find out: one without a name under a
    header is, and so is one that counts the rows.

    Raises InputError naming file, row and column of a cell that is no number, with the separator
    where it is another.
    """
    rows, separator, decimal = _rows(path)
    require(bool(rows), path, "a CSV file with at least one row of numbers", Words("none"))
    notes = [] if (separator, decimal) == (",", ".") else [_format_note(separator, decimal)]

    cells = rows[0][1]
    wordy = all(not is_number(cell) for cell in cells)
    unnamed = len(cells) > 1 and not cells[0].strip() and len(rows) > 1
    counted = _counts_columns(rows)
    titled = header if header is not None else wordy or unnamed or counted
    body = rows[1:] if titled else rows
    require(bool(body), path, "a CSV file with at least one row of numbers", Words("none"))
    for number, row in body:
        require(
            len(row) == len(body[0][1]),
            f"{path}: row {number}",
            f"of {len(body[0][1])} cells like the first",
            len(row),
        )

    name = cells[0].strip().lower() if titled and not counted else None
    counting = len(cells) > 2 and _counts_rows(body)
    left_out = (
        index
        if index is not None
        else (titled and unnamed) or (counting and (name is None or name in ROW_NAMES))
    )
    require(
        not left_out or len(body[0][1]) > 1,
        "index",
        "false for a table of one column",
        Words("true"),
        "remove the key",
    )
    notes.append(_roles(cells, titled, left_out))
    if header is None and not titled and _consecutive(cells):
        notes.append(
            "the first row counts its columns but may be data; header = true would take it as names"
        )
    if index is None and not left_out and _counts_rows(body):
        notes.append(
            "the first column counts the rows but may be data; index = true would leave it out"
        )
    values = np.array([_values(row, number, left_out, path) for number, row in body])
    plain = titled == wordy and not left_out and (separator, decimal) == (",", ".")
    return Table(values, tuple(notes), titled, left_out, plain)


def _roles(cells: list[str], titled: bool, left_out: bool) -> str:
    """What was taken as header and as row numbers."""
    names = ", ".join(cells[:CELLS])[:60] + (", ..." if len(cells) > CELLS else "")
    first = f"the first row ({names}) is its header" if titled else "no header"
    second = (
        "the first column numbers the rows and is left out"
        if left_out
        else "no column of row numbers"
    )
    return f"{first}, {second}"


def _format_note(separator: str, decimal: str) -> str:
    return f"cells are separated by {SEPARATORS[separator]}" + (
        ", with decimal commas" if decimal == "," else ""
    )


# -------------------------------------------------------------- cells of a text
def _rows(path: str) -> tuple[list[Row], str, str]:
    """The rows that hold anything, the separator and the decimal sign: of the first pair by which
    all cells are numbers, else commas and points. Cells are given with decimal points."""
    text = read_text(path, MOST, what="CSV text")
    usual = _split(text, ",", path)
    if _fits(usual):
        return usual, ",", "."
    for separator in SEPARATORS:
        rows = _split(text, separator, path)
        for decimal in ".,":
            pointed = (
                rows
                if decimal == "."
                else [(n, [cell.replace(",", ".") for cell in row]) for n, row in rows]
            )
            commas_left = separator == "," and decimal == ","
            if len(pointed[0][1] if pointed else []) > 1 and not commas_left and _fits(pointed):
                return pointed, separator, decimal
    _refuse_other(text, path)
    return usual, ",", "."


def _split(text: str, separator: str, path: str) -> list[Row]:
    blanks = separator == " "
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=blanks)
    try:
        rows = [
            (reader.line_num, [cell for cell in row if cell] if blanks else row)
            for row in reader
            if row
        ]
    except csv.Error as error:
        raise InputError(f"{path}: the file cannot be read as CSV text ({said(error)})") from None
    return [(number, row) for number, row in rows if len(row) > 1 or row[0].strip()]


def _fits(rows: Sequence[Row]) -> bool:
    """Whether rows are equally long, and numbers but for a first row and the names in a first
    column."""
    if not rows:
        return False
    (_, first), *others = rows
    width = len(first)
    body = others if others and not all(is_number(cell) for cell in first) else rows
    named = lambda cell: is_number(cell) or bool(NAME.fullmatch(cell))
    return all(
        len(row) == width and all(map(is_number, row[1:] or row)) and named(row[0])
        for _, row in body
    )


def _refuse_other(text: str, path: str) -> None:
    """Of a text whose lines hold equally many of another separator: name it, and the first cell
    that is no number by it."""
    for separator, words in SEPARATORS.items():
        rows = _split(text, separator, path)
        widths = {len(row) for _, row in rows}
        if separator == "," or len(rows) < 2 or len(widths) != 1 or widths == {1}:
            continue
        number, column, cell = next(
            (
                (n, k, c)
                for n, row in rows[1:]
                for k, c in enumerate(row, 1)
                if not is_number(c.replace(",", "."))
            ),
            (0, 0, ""),
        )
        if number:
            raise InputError(
                f"{path}: row {number}, column {column} must be a number, got {shown(cell)}"
                " (cells are separated by"
                f" {words}); correct the cell or remove the row, and write numbers as 1234.5"
            )


def is_number(cell: str) -> bool:
    """Whether a cell is a number as every program writes it."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, no other program does


def _values(row: list[str], number: int, left_out: bool, path: str) -> list[float]:
    for column, cell in enumerate(row[left_out:], start=1 + left_out):
        if not is_number(cell):
            raise InputError(
                f"{path}: row {number}, column {column} must be a number, got {shown(cell)};"
                " correct the cell or remove the row"
            )
    return [float(cell) for cell in row[left_out:]]


# ------------------------------------------------------------------ what counts
def _written_whole(cell: str) -> bool:
    return cell.strip().lstrip("+-").isdecimal() and len(cell) < 16


def _consecutive(cells: Sequence[str]) -> bool:
    """Whether cells are written as whole numbers that follow each other: 0, 1, 2 or 1990, 1991."""
    if len(cells) < 2 or not all(map(_written_whole, cells)):
        return False
    counts = [int(cell) for cell in cells]
    return all(b - a == 1 for a, b in pairwise(counts))


def _counts_columns(rows: Sequence[Row]) -> bool:
    """Whether the first row counts the columns above numbers of another kind: most columns hold no
    other whole number (all of two columns)."""
    cells, body = rows[0][1], [row for _, row in rows[1:]]
    if not body or not _consecutive(cells) or any(len(row) != len(cells) for row in body):
        return False
    other = sum(all(not _written_whole(row[k]) for row in body) for k in range(len(cells)))
    return other == len(cells) if len(cells) == 2 else 2 * other > len(cells)


def _counts_rows(body: Sequence[Row]) -> bool:
    """Whether the first column counts the rows from 0 or 1."""
    first = [row[0] for _, row in body]
    return len(first) >= FEWEST and _consecutive(first) and int(first[0]) in (0, 1)
