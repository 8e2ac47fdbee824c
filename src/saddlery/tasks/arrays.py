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
from jaxtyping import Float

from ..basis.checks import InputError, finite, flag, require, whole
from ..basis.echo import Words
from ..doors.door import read_npy, read_npz
from ..networks import Data, loss_named
from .base import Task
from .tables import read_table

# What to do with an .npz that holds other names.
NAMES = (
    "(an .npz holds two arrays, named inputs and targets; else name"
    " two .npy or CSV files in inputs and targets, or one table whose last columns = k"
    " are targets)"
)


class Read(NamedTuple):
    """What the files hold.

    inputs (N, ...), targets (N, ...): as they stand there.
    notes: what was taken as what.
    header, index: as `Arrays` has them, to be kept with a digest where the
        files leave room for another reading.
    """

    inputs: np.ndarray
    targets: np.ndarray
    notes: tuple[str, ...] = ()
    header: bool | None = None
    index: bool | None = None


@dataclass(frozen=True)
class Arrays(Task):
    """One's own samples: inputs (N, ...) and targets (N, O) or (N,) from
    files.

    inputs: an .npz with arrays "inputs" and "targets" (others are not looked
        at), or an .npy or CSV file of inputs, with
    targets: naming the file of targets. A CSV holds numbers only, with or
        without one header line and a first column of row numbers.
    columns: k, where there is no file of targets: the last k columns of the
        table are.
    shape: reshape each input.
    loss: "squared" or "cross_entropy".
    digest: SHA-256 of the numbers, filled in when a run is trained; files
        with other numbers are refused from then on, and where the files lie
        is no longer part of the experiment's identity.
    header, index: whether a CSV has them, where that is not to be found out
        (see `tables.read_table`).

    Files are never unpickled.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from saddlery.tasks import Arrays
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder) / "mine.csv"
    ...     _ = table.write_text("height;weight;age\\n1,8;70,5;30\\n1,7;60,0;20\\n")
    ...     data = Arrays(str(table), columns=1).data(seed=0)
    >>> data.inputs.tolist(), data.targets.tolist()
    ([[1.8, 70.5], [1.7, 60.0]], [[30.0], [20.0]])
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
        """With absolute paths and the digest of what the files hold now (of
        what they must hold, where it is given)."""
        self.data(0)
        found = self._matching()
        return replace(
            self,
            **self.places(),
            digest=_digest(found.inputs, found.targets),
            header=found.header if self.header is None else self.header,
            index=found.index if self.index is None else self.index,
        )

    def notes(self) -> tuple[str, ...]:
        """What of each CSV file was taken as header, row numbers, inputs and
        targets."""
        return self._matching().notes

    def without_places(self, options: dict[str, object]) -> dict[str, object]:
        """The options without where the files lie, where the digest says
        which numbers they hold."""
        if not self.digest:
            return dict(options)
        return {k: v for k, v in options.items() if k not in self.FILES}

    def found(self, folders: Sequence[Path], given: Path | None = None) -> Arrays:
        """The same task with its files where they are now: the first place
        where they hold the numbers of the digest.

        folders: in which and in whose parents a path is looked for by its
            last parts, however many, so that what was moved together is
            found.
        given: a folder or a file to look in first.

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
        """Raise InputError unless files with the numbers of the digest are at
        the given place, a file or a folder."""
        for places in self._given(given):
            with contextlib.suppress(InputError):
                replace(self, **places)._matching()
                return
        names = " and ".join(path.name for path in self._files().values())
        raise InputError(
            f"{given}: must hold the data this was trained on ({names}), got "
            "none with their numbers"
        )

    # ------------------------------------------------------- where the files are now
    def _places(self, folders: Sequence[Path], given: Path | None) -> Iterator[dict[str, str]]:
        """Where the files might be: at the given place, at their own, then by
        ever fewer of the last parts of their paths."""
        files = self._files()
        if given is not None:
            yield from self._given(given)
        yield {name: str(path) for name, path in files.items()}
        homes: list[Path] = []
        for folder in folders:
            homes += [folder.absolute(), *folder.absolute().parents]
        longest = max(len(path.parts) for path in files.values())
        for parts in range(longest - 1, 0, -1):
            for home in homes:
                moved = {name: _moved(path, home, parts) for name, path in files.items()}
                if all(map(os.path.isfile, moved.values())):
                    yield {name: str(path) for name, path in moved.items()}

    def _given(self, given: Path) -> Iterator[dict[str, str]]:
        """Where the files might be, of a file or a folder that was given."""
        alone = os.path.isfile(given)
        folder = given.parent if alone else given
        places = {name: str(folder / path.name) for name, path in self._files().items()}
        if alone:  # it may have another name now
            places["inputs"] = str(given)
        yield places

    # ----------------------------------------------------------- what the files hold
    def data(self, seed: int) -> Data:
        require(bool(self.inputs), "inputs", needed="the path of a file", given=self.inputs)
        x, y, *_ = self._matching()
        self._demand_samples(x, y)
        if y.ndim == 1:
            y = y[:, None]
        require(
            len(x) == len(y),
            "inputs and targets",
            needed="equally many",
            given=Words(f"{len(x)} and {len(y)}"),
        )
        x = self._in_shape(x)
        loss = loss_named(self.loss)
        return Data(tuple(x.shape[1:]), y.shape[-1], inputs=x, targets=y, loss=loss)

    def _demand_samples(self, x: np.ndarray, y: np.ndarray) -> None:
        inputs = f"{self.inputs}: inputs"
        targets = f"{self.targets or self.inputs}: targets"
        finite(x, inputs)
        finite(y, targets)
        needed = "an array of at least two axes, samples first"
        require(x.ndim >= 2, inputs, needed, given=x.shape)
        needed = "an array with one row a sample"
        require(y.ndim >= 1, targets, needed, given=y.shape)

    def _in_shape(self, x: Float[np.ndarray, "N ..."]) -> Float[np.ndarray, "N ..."]:
        for entries in self.shape:
            whole(entries, "shape")
        if not self.shape:
            return x
        size = int(np.prod(x.shape[1:]))
        fits = int(np.prod(self.shape)) == size
        require(fits, "shape", needed=f"of {size} entries", given=self.shape)
        return x.reshape(len(x), *self.shape)

    def _matching(self) -> Read:
        """What the files hold; with a digest, by the reading that gives its
        numbers."""
        self._demand_files()
        for reading in self._readings():
            if self.digest in ("", _digest(reading.inputs, reading.targets)):
                return reading
        raise InputError(
            f"{self.inputs}: the data must be those the experiment was trained on, got other"
            " numbers; restore the file, or"
            " remove digest from the experiment to train anew"
        )

    def _demand_files(self) -> None:
        """With a digest, that they are there: they were, when it was
        taken."""
        if not self.digest:
            return
        for path in (self.inputs, self.targets):
            if path and not os.path.exists(path):
                raise InputError(
                    f"{path}: there is no such file; if it was moved, say where it is: --data PATH"
                )

    def _readings(self) -> Iterator[Read]:
        """As it is read today, then without row numbers, then without a
        header of numbers too.

        Version 0.1.0 took the first row of a table and its first column for
        data wherever they were numbers, and a digest of its may be of those.
        """
        yield self._read(self.header, self.index)
        if self.header is not None or self.index is not None:
            return
        if ".csv" not in self._endings():
            return
        for header in (None, False):
            with contextlib.suppress(InputError):
                yield self._read(header, False)._replace(header=None, index=None)

    def _endings(self) -> list[str]:
        return [path.suffix.lower() for path in self._files().values()]

    def _read(self, header: bool | None, index: bool | None) -> Read:
        require(
            not (self.targets and self.columns),
            "columns",
            needed="left out when a file of targets is named",
            given=self.columns,
        )
        endings = self._endings()
        require(
            ".csv" in endings or (self.header is None and self.index is None),
            "header and index",
            needed="left out unless a file is a CSV",
            given=Words(" and ".join(endings)),
        )
        if endings[0] == ".npz":
            return self._read_archive()
        x = read_array(self.inputs, header, index)
        if not self.targets:
            return self._split(x)
        y = read_array(self.targets, header, index)
        # The two need not be alike: no header and index to keep for both.
        return Read(x.numbers, y.numbers, notes=x.notes + y.notes)

    def _read_archive(self) -> Read:
        require(
            not (self.targets or self.columns),
            "targets and columns",
            needed="left out for an .npz file, which holds both",
            given=(self.targets, self.columns),
        )
        arrays = read_npz(self.inputs, ("inputs", "targets"), remedy=NAMES)
        inputs = _numbers(arrays["inputs"], f"{self.inputs}: inputs")
        targets = _numbers(arrays["targets"], f"{self.inputs}: targets")
        return Read(inputs, targets)

    def _split(self, table: Column) -> Read:
        """Inputs and targets, which are the last columns of one table."""
        numbers = table.numbers
        require(
            numbers.ndim == 2,
            f"{self.inputs}: the array",
            needed="a table when no file of targets is named",
            given=numbers.shape,
        )
        width = numbers.shape[1]
        require(
            width > 1,
            f"{self.inputs}: the table",
            needed="of inputs and targets, two columns or more, when no file of targets is named",
            given=Words("one column"),
            remedy="name a file of targets, or check what separates its cells",
        )
        require(
            0 < self.columns < width,
            "columns",
            needed=f"between 1 and {width - 1} of the {width} columns",
            given=self.columns,
            remedy="or name a file of targets",
        )
        first = width - self.columns
        parts = f"{first} columns of inputs, {self.columns} of targets"
        return Read(
            inputs=numbers[:, :first],
            targets=numbers[:, first:],
            notes=tuple(f"{note}; {parts}" for note in table.notes),
            header=table.header,
            index=table.index,
        )


def _moved(path: Path, home: Path, parts: int) -> Path:
    """The last parts of a path below another folder, never its root."""
    count = min(parts, len(path.parts) - 1)
    return home.joinpath(*path.parts[-count:])


def _digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the shapes and the float64 numbers, its first 32 hexadecimal
    digits."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr(array.shape).encode())
        found.update(np.ascontiguousarray(array, "<f8").tobytes())
    return found.hexdigest()[:32]


class Column(NamedTuple):
    """What one file holds.

    numbers: (N, K) of a table, of any shape of an array.
    notes, header, index: see `Read`.
    """

    numbers: np.ndarray
    notes: tuple[str, ...] = ()
    header: bool | None = None
    index: bool | None = None


def read_array(path: str, header: bool | None = None, index: bool | None = None) -> Column:
    """One array from an .npy or .csv file.

    header, index: whether a CSV has them, None to find out (see
        `tables.read_table`).

    Raises InputError for other files, and for what holds no numbers.
    """
    require("\0" not in path, "a file's name", needed="without the letter NUL", given=path)
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        return Column(_numbers(read_npy(path), path))
    if suffix != ".csv":
        raise InputError(f"{path}: the file must end in .npz, .npy or .csv; convert it")
    table = read_table(path, header, index)
    note = f"{path}: {len(table.numbers):,} rows; " + "; ".join(table.notes)
    found = Column(table.numbers, notes=(note,))
    if table.plain:  # no other reading to tell it from
        return found
    return found._replace(header=table.header, index=table.index)


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    require(
        array.dtype.kind in "fiub",
        what,
        needed="an array of real numbers",
        given=Words(f"dtype {array.dtype}"),
    )
    return np.asarray(array, dtype=float)
