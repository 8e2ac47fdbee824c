"""One's own data from .npz, .npy or CSV files; never unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from ..basis.checks import InputError, finite, flag, require, whole
from ..basis.echo import Words
from ..doors.door import read_npy, read_npz
from ..networks import Data, loss_named
from .base import Task
from .tables import read_table

# of an .npz that holds other names
NAMES = (
    "(an .npz holds two arrays, named inputs and targets; else name"
    " two .npy or CSV files in inputs and targets, or one table whose last columns = k are targets)"
)


class Read(NamedTuple):
    """inputs, targets: as the files hold them. notes: what was taken as what. header, index: as
    `Arrays` has them, to be kept with a digest where the files leave room for another reading."""

    inputs: np.ndarray
    targets: np.ndarray
    notes: tuple[str, ...] = ()
    header: bool | None = None
    index: bool | None = None


@dataclass(frozen=True)
class Arrays(Task):
    """One's own samples: inputs (N, ...) and targets (N, O) or (N,) from files.

    inputs: an .npz with arrays "inputs" and "targets" (others are not looked at), or an .npy or CSV
    file of inputs, with `targets` naming the file of targets. A CSV holds numbers only, with or
    without one header line and a first column of row numbers; with `columns` = k and no `targets`
    file, its last k columns are the targets. header, index: whether a CSV has them, where that is
    not to be found out (see `tables.read_table`). shape: reshape each input. loss: "squared" or
    "cross_entropy". digest: SHA-256 of the numbers, filled in when a run is trained; files with
    other numbers are refused from then on, and where the files lie is no longer part of the
    experiment's identity.
    """

    kind: ClassVar[str] = "arrays"
    seeded: ClassVar[bool] = False
    FILES: ClassVar[tuple[str, ...]] = ("inputs", "targets")
    inputs: str = ""
    targets: str = ""
    columns: int = 0
    shape: tuple[int, ...] = ()
    loss: str = "squared"
    digest: str = ""
    header: bool | None = None
    index: bool | None = None

    def __post_init__(self) -> None:
        for name in ("header", "index"):
            if getattr(self, name) is not None:
                flag(getattr(self, name), name)
        super().__post_init__()

    def pinned(self) -> Arrays:
        """With absolute paths and the digest of what the files hold now (of what they must hold,
        where it is given)."""
        self.data(0)
        found = self._matching()
        digest = _digest(found.inputs, found.targets)
        header = found.header if self.header is None else self.header
        index = found.index if self.index is None else self.index
        return replace(self, **self.places(), digest=digest, header=header, index=index)

    def notes(self) -> tuple[str, ...]:
        """What of each CSV file was taken as header, row numbers, inputs and targets."""
        return self._matching().notes

    def without_places(self, options: dict[str, object]) -> dict[str, object]:
        """The options without where the files lie, where the digest says which numbers they
        hold."""
        return {k: v for k, v in options.items() if not (self.digest and k in self.FILES)}

    def found(self, folders: Sequence[Path], given: Path | None = None) -> Arrays:
        """The same task with its files where they are now: the first place where they hold the
        numbers of the digest.

        folders: in which and in whose parents a path is looked for by its last parts, however many,
        so that what was moved together is found. given: a folder or a file to look in first.
        Unchanged where nothing fits, or without a digest.
        """
        if not self.digest or not self.inputs:
            return self
        for places in self._places(folders, given):
            moved = replace(self, **places)
            try:
                moved._matching()
            except InputError:
                continue
            return moved
        return self

    def demand_at(self, given: Path) -> None:
        """Raise InputError unless files with the numbers of the digest are at the given place, a
        file or a folder."""
        for places in self._given(given):
            with contextlib.suppress(InputError):
                replace(self, **places)._matching()
                return
        names = " and ".join(
            Path(getattr(self, name)).name for name in self.FILES if getattr(self, name)
        )
        raise InputError(
            f"{given}: must hold the data this was trained on ({names}), got "
            "none with their numbers"
        )

    def _given(self, given: Path) -> Iterator[dict[str, str]]:
        """Where the files might be, of a file or a folder that was given."""
        names = {name: Path(getattr(self, name)).name for name in self.FILES if getattr(self, name)}
        if os.path.isfile(given):
            yield {
                name: str(given if name == "inputs" else given.parent / own)
                for name, own in names.items()
            }
        else:
            yield {name: str(given / own) for name, own in names.items()}

    def _places(self, folders: Sequence[Path], given: Path | None) -> Iterator[dict[str, str]]:
        """Where the files might be: at the given place, at their own, then by ever fewer of the
        last parts of their paths."""
        files = {name: Path(getattr(self, name)) for name in self.FILES if getattr(self, name)}
        here = lambda homes: dict(zip(files, map(str, homes), strict=True))
        if given is not None:
            yield from self._given(given)
        yield here(files.values())
        homes = [
            home for folder in folders for home in (folder.absolute(), *folder.absolute().parents)
        ]
        longest = max(len(path.parts) for path in files.values())
        for parts in range(longest - 1, 0, -1):
            for home in homes:
                moved = [
                    home.joinpath(*path.parts[-min(parts, len(path.parts) - 1) :])
                    for path in files.values()
                ]
                if all(map(os.path.isfile, moved)):
                    yield here(moved)

    def data(self, seed: int) -> Data:
        require(bool(self.inputs), "inputs", "the path of a file", self.inputs)
        x, y, *_ = self._matching()
        finite(x, f"{self.inputs}: inputs")
        finite(y, f"{self.targets or self.inputs}: targets")
        require(
            x.ndim >= 2,
            f"{self.inputs}: inputs",
            "an array of at least two axes, samples first",
            x.shape,
        )
        require(
            y.ndim >= 1,
            f"{self.targets or self.inputs}: targets",
            "an array with one row a sample",
            y.shape,
        )
        y = y[:, None] if y.ndim == 1 else y
        require(
            len(x) == len(y), "inputs and targets", "equally many", Words(f"{len(x)} and {len(y)}")
        )
        for entries in self.shape:
            whole(entries, "shape")
        if self.shape:
            size = int(np.prod(x.shape[1:]))
            require(int(np.prod(self.shape)) == size, "shape", f"of {size} entries", self.shape)
            x = x.reshape(len(x), *self.shape)
        return Data(tuple(x.shape[1:]), y.shape[-1], x, y, loss=loss_named(self.loss))

    def _matching(self) -> Read:
        """What the files hold; with a digest, by the reading that gives its numbers: version 0.1.0
        took the first row of a table and its first column for data wherever they were numbers."""
        for name in self.FILES if self.digest else ():
            path = getattr(self, name)
            if path and not os.path.exists(path):
                raise InputError(
                    f"{path}: there is no such file; if it was moved, say where it is: --data PATH"
                )
        found = self._read(self.header, self.index)
        for reading in (found, *self._as_then()):
            if self.digest in ("", _digest(reading.inputs, reading.targets)):
                return reading
        raise InputError(
            f"{self.inputs}: the data must be those the experiment was trained on, got other"
            " numbers; restore the file, or"
            " remove digest from the experiment to train anew"
        )

    def _as_then(self) -> Iterator[Read]:
        """Readings without row numbers and, then, without a header of numbers."""
        for header in (
            (None, False)
            if self.header is None and self.index is None and not self._archived
            else ()
        ):
            with contextlib.suppress(InputError):
                yield self._read(header, False)._replace(header=None, index=None)

    @property
    def _archived(self) -> bool:
        return (
            Path(self.inputs).suffix.lower() != ".csv"
            and Path(self.targets).suffix.lower() != ".csv"
        )

    def _read(self, header: bool | None, index: bool | None) -> Read:
        require(
            not (self.targets and self.columns),
            "columns",
            "left out when a file of targets is named",
            self.columns,
        )
        endings = [Path(path).suffix.lower() for path in (self.inputs, self.targets) if path]
        require(
            ".csv" in endings or (self.header is None and self.index is None),
            "header and index",
            "left out unless a file is a CSV",
            Words(" and ".join(endings)),
        )
        if endings[0] == ".npz":
            require(
                not (self.targets or self.columns),
                "targets and columns",
                "left out for an .npz file, which holds both",
                (self.targets, self.columns),
            )
            arrays = read_npz(self.inputs, ("inputs", "targets"), remedy=NAMES)
            inputs, targets = (
                _numbers(array, f"{self.inputs}: {name}") for name, array in arrays.items()
            )
            return Read(inputs, targets)
        x = read_array(self.inputs, header, index)
        if self.targets:
            y = read_array(self.targets, header, index)
            return Read(
                x.numbers, y.numbers, x.notes + y.notes
            )  # the two need not be alike: nothing to keep for both
        width = x.numbers.shape[-1] if x.numbers.ndim else 0
        require(
            x.numbers.ndim == 2,
            f"{self.inputs}: the array",
            "a table when no file of targets is named",
            x.numbers.shape,
        )
        require(
            width > 1,
            f"{self.inputs}: the table",
            "of inputs and targets, two columns or more, when no file of targets is named",
            Words("one column"),
            "name a file of targets, or check what separates its cells",
        )
        require(
            0 < self.columns < width,
            "columns",
            f"between 1 and {width - 1} of the {width} columns",
            self.columns,
            "or name a file of targets",
        )
        notes = tuple(
            f"{note}; {width - self.columns} columns of inputs, {self.columns} of targets"
            for note in x.notes
        )
        return Read(
            x.numbers[:, : -self.columns], x.numbers[:, -self.columns :], notes, x.header, x.index
        )


def _digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the shapes and the float64 numbers, its first 32 hexadecimal digits."""
    parts = [
        part
        for a in arrays
        for part in (repr(a.shape).encode(), np.ascontiguousarray(a, "<f8").tobytes())
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


class Column(NamedTuple):
    """numbers: what a file holds. notes, header, index: see `Read`."""

    numbers: np.ndarray
    notes: tuple[str, ...] = ()
    header: bool | None = None
    index: bool | None = None


def read_array(path: str, header: bool | None = None, index: bool | None = None) -> Column:
    """One array from an .npy or .csv file."""
    require("\0" not in path, "a file's name", "without the letter NUL", path)
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        return Column(_numbers(read_npy(path), path))
    if suffix != ".csv":
        raise InputError(f"{path}: the file must end in .npz, .npy or .csv; convert it")
    table = read_table(path, header, index)
    note = f"{path}: {len(table.numbers):,} rows; " + "; ".join(table.notes)
    return Column(
        table.numbers, (note,), *((None, None) if table.plain else (table.header, table.index))
    )


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    require(
        array.dtype.kind in "fiub", what, "an array of real numbers", Words(f"dtype {array.dtype}")
    )
    return np.asarray(array, dtype=float)
