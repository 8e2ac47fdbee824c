"""Tables of numbers in text files: how their cells are separated, and which
of them are header, row numbers and data.

Programs write tables in many ways, and a header of numbers or a column of row
numbers looks like data. What a file leaves no doubt about is recognised, what
it leaves open is taken as data, and both are said (`Table.notes`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError, require
from ..basis.echo import Words, said, shown
from ..doors.door import read_text

# Most bytes of a file: as text a number takes ten times the memory that it takes as a
# number.
MOST_BYTES = 256 * 2**20
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
# Rows from which a first column that counts them can hardly be data.
FEWEST = 5
# Names of a column that counts rows.
ROW_NAMES = ("", "index", "id", "row", "no", "nr", "#", "unnamed: 0")
# The name of a row: it has no separators in it, and more than a number's signs.
NAME = re.compile(r"[^;|\t]*[^;|\t\d\s.,+][^;|\t]*")
# A note repeats at most so many cells of a header, and so many letters.
CELLS, LETTERS = 6, 60

COUNTING_HEADER = (
    "the first row counts its columns but may be data; header = true would take it as names"
)
COUNTING_COLUMN = (
    "the first column counts the rows but may be data; index = true would leave it out"
)

Row = tuple[int, list[str]]  # number of its line, cells


class Table(NamedTuple):
    """A table, and what was taken as what.

    numbers (N, K): the data.
    notes: sentences on what was taken as what.
    header, index: whether there is a header line and a first column of row
        numbers.
    plain: whether a reader that looks at single cells alone would have taken
        it the same way.
    """

    numbers: Float[np.ndarray, "N K"]
    notes: tuple[str, ...]
    header: bool
    index: bool
    plain: bool


class Signs(NamedTuple):
    """How a table is written: what separates its cells, and its decimal
    sign."""

    separator: str = ","
    decimal: str = "."

    @property
    def note(self) -> str:
        words = f"cells are separated by {SEPARATORS[self.separator]}"
        if self.decimal == ",":
            words += ", with decimal commas"
        return words


USUAL = Signs()


def read_table(path: str, header: bool | None = None, index: bool | None = None) -> Table:
    """The numbers of a CSV file: cells separated by commas, semicolons, tabs,
    bars or blanks, with decimal points or commas.

    header: whether the first line is one, None to find out: one without any
        number is, and so is one that counts its columns (0, 1, 2, ... or
        years) above numbers of another kind.
    index: whether the first column only names the rows, None to find out: one
        without a name under a header is, and so is one that counts the rows. An empty
        first cell beside numbers is one that is missing, unless they count the columns.

    Raises InputError naming file, row and column of a cell that is no number,
    with the separator where it is another. Cost: the text is taken apart once
    for every separator that is tried.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from saddlery.tasks.tables import read_table
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "mine.csv"
    ...     _ = path.write_text("x;y\\n1,5;2\\n3,5;4\\n")
    ...     table = read_table(str(path))
    >>> table.numbers.tolist()
    [[1.5, 2.0], [3.5, 4.0]]
    >>> table.notes[0]
    'cells are separated by semicolons, with decimal commas'
    """
    rows, signs = _rows(path)
    _demand_rows(rows, path)
    first = _first_row(rows)
    titled = first.likely if header is None else header
    body = rows[1:] if titled else rows
    _demand_rows(body, path)
    _demand_equal(body, path)

    left_out = _names_rows(body, first, titled) if index is None else index
    require(
        not left_out or len(body[0][1]) > 1,
        "index",
        needed="false for a table of one column",
        given=Words("true"),
        remedy="remove the key",
    )
    notes = [] if signs == USUAL else [signs.note]
    notes.append(_roles(first.cells, titled, left_out))
    if header is None and not titled and _consecutive(first.cells):
        notes.append(COUNTING_HEADER)
    if index is None and not left_out and _counts_rows(body):
        notes.append(COUNTING_COLUMN)
    return Table(
        numbers=np.array([_values(row, number, left_out, path) for number, row in body]),
        notes=tuple(notes),
        header=titled,
        index=left_out,
        plain=titled == first.wordy and not left_out and signs == USUAL,
    )


def _demand_rows(rows: Sequence[Row], path: str) -> None:
    needed = "a CSV file with at least one row of numbers"
    require(bool(rows), path, needed, given=Words("none"))


def _demand_equal(rows: Sequence[Row], path: str) -> None:
    width = len(rows[0][1])
    for number, row in rows:
        needed = f"of {width} cells like the first"
        require(len(row) == width, f"{path}: row {number}", needed, given=len(row))


# --------------------------------------------------------------- header and row numbers
class _First(NamedTuple):
    """The first row, and what speaks for a header.

    wordy: it has no number.
    unnamed: its first cell is empty, as over row numbers, or as where a number is
        missing, which makes no header of numbers.
    counted: it counts the columns above numbers of another kind.
    """

    cells: list[str]
    wordy: bool
    unnamed: bool
    counted: bool

    @property
    def likely(self) -> bool:
        return self.wordy or self.counted


def _first_row(rows: Sequence[Row]) -> _First:
    cells = rows[0][1]
    return _First(
        cells=cells,
        wordy=all(not is_number(cell) for cell in cells),
        unnamed=len(cells) > 1 and len(rows) > 1 and not cells[0].strip(),
        counted=_counts_columns(rows),
    )


def _names_rows(body: Sequence[Row], first: _First, titled: bool) -> bool:
    """Whether the first column does, and holds no data."""
    if titled and first.unnamed:
        return True
    if len(first.cells) < 3 or not _counts_rows(body):
        return False
    named = titled and not first.counted
    return not named or first.cells[0].strip().lower() in ROW_NAMES


def _roles(cells: list[str], titled: bool, left_out: bool) -> str:
    """What was taken as header and as row numbers."""
    header = "no header"
    if titled:
        names = ", ".join(cells[:CELLS])[:LETTERS]
        if len(cells) > CELLS:
            names += ", ..."
        header = f"the first row ({names}) is its header"
    index = "no column of row numbers"
    if left_out:
        index = "the first column numbers the rows and is left out"
    return f"{header}, {index}"


# -------------------------------------------------------------- cells of a text
def _rows(path: str) -> tuple[list[Row], Signs]:
    """The rows that hold anything, cells with decimal points, and how they
    are written: by the first signs by which all cells are numbers, else by
    the usual ones."""
    text = read_text(path, MOST_BYTES, what="CSV text")
    usual = _split(text, USUAL.separator, path)
    if _fits(usual):
        return usual, USUAL
    for separator in SEPARATORS:
        rows = _split(text, separator, path)
        if not rows or len(rows[0][1]) < 2:
            continue
        if _fits(rows):
            return rows, Signs(separator)
        pointed = _with_points(rows)
        if separator != "," and _fits(pointed):
            return pointed, Signs(separator, decimal=",")
    _refuse_other(text, path)
    return usual, USUAL


def _split(text: str, separator: str, path: str) -> list[Row]:
    blanks = separator == " "
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=blanks)
    rows: list[Row] = []
    try:
        for cells in reader:
            if blanks:  # several in a row separate once
                cells = [cell for cell in cells if cell]
            if len(cells) > 1 or "".join(cells).strip():
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputError(f"{path}: the file cannot be read as CSV text ({said(error)})") from None
    return rows


def _with_points(rows: Sequence[Row]) -> list[Row]:
    return [(number, [cell.replace(",", ".") for cell in row]) for number, row in rows]


def _fits(rows: Sequence[Row]) -> bool:
    """Whether rows are equally long, and numbers but for a first row and the
    names in a first column."""
    if not rows:
        return False
    (_, first), *others = rows
    if others and not all(is_number(cell) for cell in first):
        return all(_fits_row(row, len(first)) for _, row in others)
    return all(_fits_row(row, len(first)) for _, row in rows)


def _fits_row(row: list[str], width: int) -> bool:
    name, *numbers = row
    if len(row) != width or not all(map(is_number, numbers or row)):
        return False
    return is_number(name) or bool(NAME.fullmatch(name))


def _refuse_other(text: str, path: str) -> None:
    """Of a text whose lines hold equally many of another separator: name it,
    and the first cell that is no number by it."""
    for separator, words in SEPARATORS.items():
        rows = _split(text, separator, path)
        widths = {len(row) for _, row in rows}
        if separator == "," or len(rows) < 2 or len(widths) != 1 or widths == {1}:
            continue
        for number, column, cell in _cells(rows[1:]):
            if not is_number(cell.replace(",", ".")):
                raise InputError(
                    f"{path}: row {number}, column {column} must be a number, got {shown(cell)}"
                    " (cells are separated by"
                    f" {words}); correct the cell or remove the row, and write numbers as 1234.5"
                )


def _cells(rows: Sequence[Row]) -> Iterator[tuple[int, int, str]]:
    """Number of the line, number of the column from 1, cell."""
    for number, row in rows:
        for column, cell in enumerate(row, start=1):
            yield number, column, cell


def is_number(cell: str) -> bool:
    """Whether a cell is a number as every program writes it.

    Example
    -------
    >>> from saddlery.tasks.tables import is_number
    >>> [is_number(cell) for cell in ("-1.5e3", "1_000", "1,5", "nan")]
    [True, False, False, True]
    """
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
    """Whether cells are written as whole numbers that follow each other: 0,
    1, 2 or 1990, 1991."""
    if len(cells) < 2 or not all(map(_written_whole, cells)):
        return False
    counts = [int(cell) for cell in cells]
    return all(b - a == 1 for a, b in pairwise(counts))


def _counts_columns(rows: Sequence[Row]) -> bool:
    """Whether the first row counts the columns above numbers of another kind:
    most columns hold no other whole number (all of two columns). Beside an empty
    first cell its others may do so, from 0 above any numbers."""
    cells, *body = (row for _, row in rows)
    if not cells[0].strip():
        cells, body = cells[1:], [row[1:] for row in body]
        if body and [cell.strip() for cell in cells] == [str(k) for k in range(len(cells))]:
            return True
    if not body or not _consecutive(cells) or any(len(row) != len(cells) for row in body):
        return False
    others = 0
    for column in zip(*body, strict=True):
        others += not any(map(_written_whole, column))
    if len(cells) == 2:
        return others == 2
    return 2 * others > len(cells)


def _counts_rows(body: Sequence[Row]) -> bool:
    """Whether the first column counts the rows from 0 or 1."""
    first = [row[0] for _, row in body]
    return len(first) >= FEWEST and _consecutive(first) and int(first[0]) in (0, 1)
