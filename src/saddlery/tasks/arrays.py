"""One's own data from .npz, .npy or CSV files; never unpickled."""

from __future__ import annotations

import csv
import hashlib
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..checks import InputError, Words, finite, known, require, whole
from ..losses import loss_named
from ..objectives import Data
from .base import Task


@dataclass(frozen=True)
class Arrays(Task):
    """One's own samples: inputs (N, ...) and targets (N, O) or (N,) from files.

    inputs: an .npz with arrays "inputs" and "targets", or an .npy or CSV file of inputs, with `targets` naming the
    file of targets. A CSV holds numbers only, with or without one header line; with `columns` = k and no `targets`
    file, its last k columns are the targets. shape: reshape each input. loss: "squared" or "cross_entropy".
    digest: SHA-256 of the numbers, filled in when a run is trained; files with other numbers are refused from then on.
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

    def pinned(self) -> Arrays:
        """With absolute paths and the digest of what the files hold now (of what they must hold, where it is given)."""
        self.data(0)
        absolute = {name: str(Path(getattr(self, name)).absolute()) for name in self.FILES if getattr(self, name)}
        return replace(self, **absolute, digest=_digest(*self._read()))

    def data(self, seed: int) -> Data:
        require(bool(self.inputs), "inputs", "the path of a file", self.inputs)
        x, y = self._read()
        require(
            self.digest in ("", _digest(x, y)),
            f"{self.inputs}: the data",
            "those the experiment was trained on",
            Words("other numbers"),
            "restore the file, or remove digest from the experiment to train anew",
        )
        finite(x, f"{self.inputs}: inputs")
        finite(y, f"{self.targets or self.inputs}: targets")
        require(x.ndim >= 2, f"{self.inputs}: inputs", "an array of at least two axes, samples first", x.shape)
        require(y.ndim >= 1, f"{self.targets or self.inputs}: targets", "an array with one row a sample", y.shape)
        y = y[:, None] if y.ndim == 1 else y
        require(len(x) == len(y), "inputs and targets", "equally many", Words(f"{len(x)} and {len(y)}"))
        for entries in self.shape:
            whole(entries, "shape")
        if self.shape:
            size = int(np.prod(x.shape[1:]))
            require(int(np.prod(self.shape)) == size, "shape", f"of {size} entries", self.shape)
            x = x.reshape(len(x), *self.shape)
        return Data(tuple(x.shape[1:]), y.shape[-1], x, y, loss=loss_named(self.loss))

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        require(
            not (self.targets and self.columns), "columns", "left out when a file of targets is named", self.columns
        )
        if Path(self.inputs).suffix.lower() == ".npz":
            require(
                not (self.targets or self.columns),
                "targets and columns",
                "left out for an .npz file, which holds both",
                (self.targets, self.columns),
            )
            arrays = _load(self.inputs)
            for name in ("inputs", "targets"):
                known(name, arrays, f"{self.inputs}: array")
            return arrays["inputs"], arrays["targets"]
        x = read_array(self.inputs)
        if self.targets:
            return x, read_array(self.targets)
        require(x.ndim == 2, f"{self.inputs}: the array", "a table when no file of targets is named", x.shape)
        require(
            0 < self.columns < x.shape[-1],
            "columns",
            f"between 1 and {x.shape[-1] - 1} of the {x.shape[-1]} columns",
            self.columns,
            "or name a file of targets",
        )
        return x[:, : -self.columns], x[:, -self.columns :]


def _digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the shapes and the float64 numbers, its first 32 hexadecimal digits."""
    parts = [part for a in arrays for part in (repr(a.shape).encode(), np.ascontiguousarray(a, "<f8").tobytes())]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def read_array(path: str) -> np.ndarray:
    """One array from an .npy or .csv file."""
    require("\0" not in path, "a file's name", "without the letter NUL", path)
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        arrays = _load(path)
        require("" in arrays, path, "a single array, as numpy.save writes it", "an archive", "give it the ending .npz")
        return arrays[""]
    if suffix == ".csv":
        return read_csv(path)
    raise InputError(f"{path}: the file must end in .npz, .npy or .csv; convert it")


def _load(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, or that of an .npy file under the empty name; never unpickles."""
    try:
        with open(path, "rb") as handle:
            content = np.load(handle, allow_pickle=False)
            named = (
                {"": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}
            )
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from None
    return {name: _numbers(array, f"{path}: {name}".removesuffix(": ")) for name, array in named.items()}


def _unreadable(path: str, error: Exception) -> InputError:
    """NumPy takes every file it does not know for a pickle; only a pickle's first byte makes it one."""
    with open(path, "rb") as handle:
        pickled = handle.read(1) == b"\x80"
    if "Object arrays" in str(error) or pickled:
        return InputError(
            f"{path}: the file holds Python objects, which are never loaded because that can run code;"
            " save plain numeric arrays"
        )
    return InputError(f"{path}: the file is damaged or not a NumPy file ({error}); save it again")


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    require(array.dtype.kind in "fiub", what, "an array of real numbers", Words(f"dtype {array.dtype}"))
    return np.asarray(array, dtype=float)


def read_csv(path: str) -> np.ndarray:
    """Numbers (rows, columns) of a CSV file with at most one header line; errors name the row and the column."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the file cannot be read as CSV text ({error})") from None
    header = bool(rows) and all(not _is_number(cell) for cell in rows[0][1])
    body = rows[1:] if header else rows
    require(bool(body), path, "a CSV file with at least one row of numbers", Words("none"))
    return np.array([_csv_row(row, number, len(body[0][1]), path) for number, row in body])


def _csv_row(row: list[str], number: int, width: int, path: str) -> list[float]:
    require(len(row) == width, f"{path}: row {number}", f"of {width} cells like the first", len(row))
    for column, cell in enumerate(row, start=1):
        if not _is_number(cell):
            raise InputError(
                f"{path}: row {number}, column {column} must be a number, got {cell!r};"
                " correct the cell or remove the row"
            )
    return [float(cell) for cell in row]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, no other program does
