"""The door: what comes from outside comes in here. Read up to a limit, decoded, parsed, measured;
only then used.

Files and texts may be anything: another encoding, a device without an end, an archive of two
megabytes that unpacks to two gigabytes, brackets nested two hundred thousand deep. Sizes are
therefore looked at before anything is unpacked, only what is asked for is read, nothing is ever
unpickled, and errors of other libraries end here: what leaves is data, or an `InputError` of one
sentence that begins with the name of the file or text.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..basis.checks import LARGEST, InputError, known, require
from ..basis.echo import Words, said, shown
from .outlets import remedy

TEXT = (
    4 * 2**20
)  # bytes of an experiment's or a sweep's text: a grid of 50,000 values is a twentieth of it
RECORD = 64 * 2**20  # bytes of a JSON record: those of saddlery are a few kilobytes
NUMBERS = 2**28  # numbers of one array: two gigabytes in float64
MEMBERS = 10_000  # arrays of one archive
LEVELS = 32  # of tables and lists inside each other: experiments have five
# what a text may begin with to say its encoding (byte-order marks); the longer ones first
MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# A dotted key of n parts costs a TOML reader n^2 steps; possessive, and from the beginning of a
# word only, so that looking for one costs n.
LONG_KEY = re.compile(rf"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{LEVELS}}}""", re.ASCII)


# ------------------------------------------------------------------------ bytes
@contextmanager
def _opened(path: str | Path, missing: str = "") -> Iterator[IO[bytes]]:
    """A file to read from; missing: what the sentence about a file that is not there ends with."""
    try:
        with open(path, "rb") as handle:
            yield handle
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file{missing or '; check the path'}") from None
    except OSError as error:
        what = (
            "choose a file you may read"
            if isinstance(error, PermissionError)
            else remedy(error, "check the path")
        )
        raise InputError(
            f"{path}: the file cannot be read ({error.strerror or error}); {what}"
        ) from None
    except InputError:  # which is a ValueError
        raise
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{shown(str(path))} cannot be the path of a file ({error})") from None


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MB" if count >= 2**20 else f"{count:,} bytes"


def read_bytes(
    path: str | Path, limit: int, *, missing: str = "", remedy: str = "is it the right file?"
) -> bytes:
    """The content of a file of at most `limit` bytes; of a longer one (or an endless one) no more
    than that is read."""
    with _opened(path, missing) as handle:
        content = handle.read(limit + 1)
    require(
        len(content) <= limit, f"{path}", f"a file of at most {_size(limit)}", Words("more"), remedy
    )
    return content


def decoded(content: bytes, source: str, what: str = "text") -> str:
    """Bytes as text: UTF-8, or what a byte-order mark at their beginning says. source: begins the
    sentence that refuses them."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        place = (
            f"byte {error.object[error.start]:#04x} at place {error.start} is "
            f"not {encoding.upper()}"
        )
        raise InputError(
            f"{source}: the file cannot be read as {what} ({place}); save it as UTF-8"
        ) from None
    if "\0" in text[:1000]:  # in UTF-16 every second byte of plain letters is zero
        raise InputError(
            f"{source}: the file cannot be read as {what}: it holds zero bytes, as UTF-16 without"
            " a mark at its beginning"
            " does; save it as UTF-8"
        )
    return text


def read_text(path: str | Path, limit: int = TEXT, *, missing: str = "", what: str = "text") -> str:
    """The text of a file of at most `limit` bytes (see `decoded`), its line ends as they stand
    there."""
    return decoded(read_bytes(path, limit, missing=missing), f"{path}", what)


# ---------------------------------------------------------------- TOML and JSON
def read_toml(given: str | Path, source: str = "", *, missing: str = "") -> dict[str, Any]:
    """The table of a TOML text, or of the file at a `Path`. source: begins the sentences, by
    default the path.

    Whole numbers are below 2^63 in size, as TOML has them, and nothing is nested more than 32 deep.
    """
    source = source or (f"{given}" if isinstance(given, Path) else "TOML")
    text = read_text(given, missing=missing) if isinstance(given, Path) else given
    require(isinstance(text, str), source, "a text", text)
    text = text.removeprefix(
        "\N{ZERO WIDTH NO-BREAK SPACE}"
    )  # a byte-order mark that was read as a letter
    require(len(text) <= TEXT, source, f"a text of at most {_size(TEXT)}", Words(_size(len(text))))
    require(
        not LONG_KEY.search(text),
        source,
        f"nested at most {LEVELS} deep",
        Words("a key of more parts"),
    )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not valid TOML, {said(error)}") from None
    except RecursionError:
        raise _too_deep(source) from None
    except (
        ValueError
    ) as error:  # whole numbers of more than 4,300 digits, dates such as the 31st of June
        raise InputError(f"{source}: not valid TOML, {_first_clause(error)}") from None
    _examine(table, source)
    return table


def read_json(path: str | Path, limit: int = RECORD, *, missing: str = "") -> Any:
    """What a JSON file of at most `limit` bytes holds (see `parse_json`)."""
    return parse_json(read_text(path, limit, missing=missing, what="JSON"), f"{path}")


def parse_json(text: str, source: str) -> Any:
    """What a JSON text holds, nested at most 32 deep, without NaN and without a key twice; source:
    begins the sentences."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError as error:
        raise InputError(f"{source}: not valid JSON, {_first_clause(error)}") from None
    _examine(value, source)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{shown(twice)} is there twice")
    return table


def _first_clause(error: Exception) -> str:
    """Python's words, without its advice to programmers."""
    return str(error).partition(";")[0]


def _too_deep(source: str) -> InputError:
    return InputError(
        f"{source}: must be nested at most {LEVELS} deep, got more brackets "
        "inside each other than that"
    )


def _examine(value: Any, source: str) -> None:
    """Raise InputError where a parsed value is nested too deeply, or holds whole numbers that no
    file or table of ours can."""
    waiting: list[tuple[str, Any, int]] = [("", value, 1)]
    while waiting:
        place, found, level = waiting.pop()
        if level > LEVELS:
            raise _too_deep(source)
        if isinstance(found, Mapping):
            waiting += [
                (f"{place}.{key}" if place else f"{key}", entry, level + 1)
                for key, entry in found.items()
            ]
        elif isinstance(found, list):
            waiting += [(place, entry, level + 1) for entry in found]
        elif isinstance(found, int) and not -LARGEST <= found < LARGEST:
            needed, remedy = (
                "below 2^63 in size as a whole number",
                "write large numbers with a point, such as 1.0e30",
            )
            raise InputError(f"{source}: {place} must be {needed}, got {shown(found)}; {remedy}")


# ----------------------------------------------------------------------- arrays
class Header(NamedTuple):
    """What an array says of itself before its numbers: shape, dtype, and whether columns come first
    (`fortran`)."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def _header(handle: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(handle)
    reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    found = Header(*reader(handle))
    if min(found.shape, default=0) < 0:
        raise ValueError(f"an axis of length {min(found.shape)}")
    return found


def _admitted(header: Header, what: str, limit: int) -> None:
    """Raise InputError for what is never loaded, by its header alone."""
    if header.dtype.hasobject:
        raise _objects(what)
    require(
        header.size <= limit,
        what,
        f"an array of at most {limit:,} numbers",
        Words(f"shape {header.shape}"),
    )


def _objects(what: str) -> InputError:
    return InputError(
        f"{what}: the file holds Python objects, which are never loaded because that can run "
        "code; save plain numeric arrays"
    )


def _damaged(path: str | Path, error: BaseException) -> InputError:
    return InputError(
        f"{path}: the file is damaged or not a NumPy file ({said(error)}); save it again"
    )


@contextmanager
def _as_numpy(path: str | Path) -> Iterator[None]:
    """Whatever NumPy, zipfile and zlib make of a damaged file, in one sentence."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(path, error) from None


def read_npy(path: str | Path, limit: int = NUMBERS) -> np.ndarray:
    """The array of an .npy file, of at most `limit` numbers; never unpickles. Raises InputError for
    archives too."""
    with _opened(path) as handle, _as_numpy(path):
        begin = handle.read(2)
        if begin == b"PK":
            require(
                False,
                f"{path}",
                "a single array, as numpy.save writes it",
                "an archive",
                "give it the ending .npz",
            )
        if begin[:1] == b"\x80":  # the first byte of a pickle
            raise _objects(f"{path}")
        handle.seek(0)
        header = _header(handle)
        _admitted(header, f"{path}", limit)
        there = handle.seek(0, 2)
        if header.size * header.dtype.itemsize > there:
            raise ValueError(f"{there:,} bytes cannot hold an array of shape {header.shape}")
        handle.seek(0)
        return np.lib.format.read_array(handle, allow_pickle=False)


@contextmanager
def _archive(
    path: str | Path, missing: str = ""
) -> Iterator[dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]]]:
    """The members of an .npz file by the names of their arrays."""
    with _opened(path, missing) as handle, _as_numpy(path):
        if handle.read(1) == b"\x80":
            raise _objects(f"{path}")
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            found = archive.infolist()
            names = [info.filename for info in found]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"{next(name for name in names if names.count(name) > 1)} is there twice"
                )
            require(
                len(found) <= MEMBERS,
                f"{path}",
                f"an archive of at most {MEMBERS:,} arrays",
                len(found),
            )
            yield {info.filename.removesuffix(".npy"): (archive, info) for info in found}


def npz_headers(path: str | Path, *, missing: str = "") -> dict[str, Header]:
    """Shape and dtype of every array of an .npz file, none of which is unpacked. Cost: a few
    hundred bytes an array."""
    headers = {}
    with _archive(path, missing) as members:
        for name, (archive, info) in members.items():
            with archive.open(info) as member:
                headers[name] = _header(member)
    return headers


def read_npz(
    path: str | Path,
    names: Collection[str] | None = None,
    limits: int | Mapping[str, int] = NUMBERS,
    remedy: str = "",
) -> dict[str, np.ndarray]:
    """The arrays of these names (None: all) of an .npz file; others are not even looked at. Never
    unpickles.

    limits: how many numbers an array may have, by its header, before it is unpacked; one for all,
    or by name. remedy: what else to do about one that is missing. What an array unpacks to is
    bounded by its header, whatever the archive says. Raises InputError, naming file and array, for
    one that is missing, too large, of objects or damaged.
    """
    arrays = {}
    with _archive(path) as members:
        for name in members if names is None else names:
            known(name, members, f"{path}: array", remedy)
            archive, info = members[name]
            limit = limits if isinstance(limits, int) else limits.get(name, NUMBERS)
            with archive.open(info) as member:
                header, begin = _header(member), member.tell()
            _admitted(header, f"{path}: {name}", limit)
            if begin + header.size * header.dtype.itemsize != info.file_size:
                raise ValueError(
                    f"{name} of shape {header.shape} cannot be {info.file_size:,} bytes"
                )
            with archive.open(info) as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    return arrays
