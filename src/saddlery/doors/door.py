"""The door: what comes from outside comes in here.

Read up to a limit, decoded, parsed, measured; only then used.

Files and texts may be anything: another encoding, a device without an end,
an archive of two megabytes that unpacks to two gigabytes, brackets nested
two hundred thousand deep. Sizes are therefore looked at before anything is
unpacked, only what is asked for is read, nothing is ever unpickled, and
errors of other libraries end here: what leaves is data, or an `InputError`
of one sentence that begins with the name of the file or text.
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

# Limits of what is let in.

# Most bytes of an experiment's or a sweep's text: a grid of 50,000 values is a
# twentieth of it.
TEXT = 4 * 2**20
RECORD = 64 * 2**20  # most bytes of a JSON record: those of saddlery are a few kilobytes
NUMBERS = 2**28  # most numbers of one array: two gigabytes in float64
MEMBERS = 10_000  # most arrays of one archive
LEVELS = 32  # most tables and lists inside each other: experiments have five

# Byte-order marks, by which a text says its encoding. The longer ones first:
# that of UTF-32 begins like that of UTF-16.
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# A dotted key of n parts costs a TOML reader n^2 steps; possessive, and from the
# beginning of a word only, so that looking for one costs n.
PART_OF_KEY = r"""[\w"'-]++[ \t]*+\.[ \t]*+"""
LONG_KEY = re.compile(
    rf"""(?<![\w"'-])(?:{PART_OF_KEY}){{{LEVELS}}}""",
    re.ASCII,
)
# A byte-order mark that was read as a letter.
LETTER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
PICKLE = b"\x80"  # the first byte of a pickle
ZIP = b"PK"  # the first bytes of a zip file, which an .npz is


# ------------------------------------------------------------------------ bytes
@contextmanager
def _opened(path: str | Path, missing: str = "") -> Iterator[IO[bytes]]:
    """A file to read from.

    missing: what the sentence about a file that is not there ends with.
    """
    try:
        with open(path, "rb") as handle:
            yield handle
    except FileNotFoundError:
        ending = missing or "; check the path"
        raise InputError(f"{path}: there is no such file{ending}") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except InputError:  # which is a ValueError
        raise
    except ValueError as error:  # a NUL in the path
        name = shown(str(path))
        raise InputError(
            f"{name} cannot be the path of a file ({error})",
        ) from None


def _unreadable(path: str | Path, error: OSError) -> InputError:
    why = error.strerror or error
    what = remedy(error, "check the path")
    if isinstance(error, PermissionError):
        what = "choose a file you may read"
    return InputError(f"{path}: the file cannot be read ({why}); {what}")


def _size(count: int) -> str:
    if count < 2**20:
        return f"{count:,} bytes"
    return f"{count / 2**20:,.0f} MB"


def read_bytes(
    path: str | Path,
    limit: int,
    *,
    missing: str = "",
    remedy: str = "is it the right file?",
) -> bytes:
    """The content of a file of at most `limit` bytes.

    Of a longer one (or an endless one) no more than that is read.
    """
    with _opened(path, missing) as handle:
        content = handle.read(limit + 1)
    require(
        len(content) <= limit,
        argument=f"{path}",
        needed=f"a file of at most {_size(limit)}",
        given=Words("more"),
        remedy=remedy,
    )
    return content


def decoded(content: bytes, source: str, what: str = "text") -> str:
    """Bytes as text: UTF-8, or what a byte-order mark at their beginning
    says.

    source: begins the sentence that refuses them.

    Example
    -------
    >>> from saddlery.doors.door import decoded
    >>> decoded("seed = 1".encode("utf-16"), "mine.toml")
    'seed = 1'
    >>> decoded(b"caf\\xe9", "mine.toml")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: mine.toml: the file cannot be read as text
    (byte 0xe9 at place 3 is not UTF-8); save it as UTF-8
    """
    encoding = _encoding(content)
    refused = f"{source}: the file cannot be read as {what}"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at place {error.start}"
        place = f"{byte} is not {encoding.upper()}"
        raise InputError(f"{refused} ({place}); save it as UTF-8") from None
    if "\0" in text[:1000]:  # in UTF-16 every second byte of plain letters is zero
        raise InputError(
            f"{refused}: it holds zero bytes, as UTF-16 without a mark at its beginning"
            " does; save it as UTF-8"
        )
    return text


def _encoding(content: bytes) -> str:
    for mark, name in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return name
    return "utf-8"


def read_text(
    path: str | Path,
    limit: int = TEXT,
    *,
    missing: str = "",
    what: str = "text",
) -> str:
    """The text of a file of at most `limit` bytes (see `decoded`).

    Its line ends are as they stand there.
    """
    content = read_bytes(path, limit, missing=missing)
    return decoded(content, f"{path}", what)


# ---------------------------------------------------------------- TOML and JSON
def read_toml(
    given: str | Path,
    source: str = "",
    *,
    missing: str = "",
) -> dict[str, Any]:
    """The table of a TOML text, or of the file at a `Path`.

    source: begins the sentences, by default the path.

    Whole numbers are below 2^63 in size, as TOML has them, and nothing is
    nested more than 32 deep.

    Example
    -------
    >>> from saddlery.doors.door import read_toml
    >>> read_toml("stop.flow_time = 20.0")
    {'stop': {'flow_time': 20.0}}
    """
    if isinstance(given, Path):
        text = read_text(given, missing=missing)
        source = source or f"{given}"
    else:
        text = given
        source = source or "TOML"
    require(isinstance(text, str), source, "a text", text)
    table = _parsed_toml(text.removeprefix(LETTER_MARK), source)
    _examine(table, source)
    return table


def _parsed_toml(text: str, source: str) -> dict[str, Any]:
    require(
        len(text) <= TEXT,
        argument=source,
        needed=f"a text of at most {_size(TEXT)}",
        given=Words(_size(len(text))),
    )
    require(
        not LONG_KEY.search(text),
        argument=source,
        needed=f"nested at most {LEVELS} deep",
        given=Words("a key of more parts"),
    )
    refused = f"{source}: not valid TOML"
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{refused}, {said(error)}") from None
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError as error:
        # Whole numbers of more than 4,300 digits, and dates such as the 31st
        # of June.
        raise InputError(f"{refused}, {_first_clause(error)}") from None


def read_json(
    path: str | Path,
    limit: int = RECORD,
    *,
    missing: str = "",
) -> Any:
    """What a JSON file of at most `limit` bytes holds (see `parse_json`)."""
    text = read_text(path, limit, missing=missing, what="JSON")
    return parse_json(text, f"{path}")


def parse_json(text: str, source: str) -> Any:
    """What a JSON text holds, nested at most 32 deep.

    Without NaN, and without a key twice. source: begins the sentences.

    Example
    -------
    >>> from saddlery.doors.door import parse_json
    >>> parse_json('{"loss": NaN}', "record.json")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: record.json: not valid JSON, NaN is no number of JSON
    """
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            object_pairs_hook=_once,
        )
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError as error:
        why = _first_clause(error)
        raise InputError(f"{source}: not valid JSON, {why}") from None
    _examine(value, source)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{shown(name)} is there twice")
        table[name] = value
    return table


def _first_clause(error: Exception) -> str:
    """Python's words, without its advice to programmers."""
    return str(error).partition(";")[0]


def _too_deep(source: str) -> InputError:
    return InputError(
        f"{source}: must be nested at most {LEVELS} deep,"
        " got more brackets inside each other than that"
    )


def _examine(value: Any, source: str) -> None:
    """Raise InputError for a parsed value that is nested too deeply, or for
    whole numbers that no file or table of ours can hold."""
    # A list of what is left to see, not a recursion: the nesting is
    # what is in doubt.
    waiting: list[tuple[str, Any, int]] = [("", value, 1)]
    while waiting:
        place, found, level = waiting.pop()
        if level > LEVELS:
            raise _too_deep(source)
        if isinstance(found, int):
            _examine_whole(found, place, source)
        for inside, entry in _entries(place, found):
            waiting.append((inside, entry, level + 1))


def _entries(place: str, value: Any) -> list[tuple[str, Any]]:
    """What a table or a list holds, with the dotted path of each."""
    if isinstance(value, Mapping):
        prefix = f"{place}." if place else ""
        return [(f"{prefix}{key}", entry) for key, entry in value.items()]
    if isinstance(value, list):
        return [(place, entry) for entry in value]
    return []


def _examine_whole(value: int, place: str, source: str) -> None:
    if -LARGEST <= value < LARGEST:
        return
    raise InputError(
        f"{source}: {place} must be below 2^63 in size as a whole number,"
        f" got {shown(value)}; write large numbers with a point, such as 1.0e30"
    )


# ----------------------------------------------------------------------- arrays
class Header(NamedTuple):
    """What an array says of itself before its numbers.

    fortran: whether columns come first.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What its numbers take."""
        return self.size * self.dtype.itemsize


def _header(handle: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_2_0
    if version == (1, 0):
        read = np.lib.format.read_array_header_1_0
    found = Header(*read(handle))
    shortest = min(found.shape, default=0)
    if shortest < 0:
        raise ValueError(f"an axis of length {shortest}")
    return found


def _admitted(header: Header, what: str, limit: int) -> None:
    """Raise InputError for what is never loaded, by its header alone."""
    if header.dtype.hasobject:
        raise _objects(what)
    require(
        header.size <= limit,
        argument=what,
        needed=f"an array of at most {limit:,} numbers",
        given=Words(f"shape {header.shape}"),
    )


def _objects(what: str) -> InputError:
    return InputError(
        f"{what}: the file holds Python objects, which are never loaded"
        " because that can run code; save plain numeric arrays"
    )


def _damaged(path: str | Path, error: BaseException) -> InputError:
    why = said(error)
    return InputError(
        f"{path}: the file is damaged or not a NumPy file ({why}); save it again",
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
    """The array of an .npy file, of at most `limit` numbers; never
    unpickles.

    Raises InputError for archives too.
    """
    with _opened(path) as handle, _as_numpy(path):
        begin = handle.read(2)
        require(
            begin != ZIP,
            argument=f"{path}",
            needed="a single array, as numpy.save writes it",
            given="an archive",
            remedy="give it the ending .npz",
        )
        if begin.startswith(PICKLE):
            raise _objects(f"{path}")
        handle.seek(0)
        header = _header(handle)
        _admitted(header, f"{path}", limit)
        there = handle.seek(0, 2)
        if header.nbytes > there:
            raise ValueError(
                f"{there:,} bytes cannot hold an array of shape {header.shape}",
            )
        handle.seek(0)
        return np.lib.format.read_array(handle, allow_pickle=False)


class _Member(NamedTuple):
    """An array of an archive, not unpacked yet."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def opened(self) -> IO[bytes]:
        return self.archive.open(self.info)


@contextmanager
def _archive(
    path: str | Path,
    missing: str = "",
) -> Iterator[dict[str, _Member]]:
    """The members of an .npz file by the names of their arrays."""
    with _opened(path, missing) as handle, _as_numpy(path):
        if handle.read(1) == PICKLE:
            raise _objects(f"{path}")
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            entries = archive.infolist()
            _refuse_twice([info.filename for info in entries])
            require(
                len(entries) <= MEMBERS,
                argument=f"{path}",
                needed=f"an archive of at most {MEMBERS:,} arrays",
                given=len(entries),
            )
            members = {}
            for info in entries:
                name = info.filename.removesuffix(".npy")
                members[name] = _Member(archive, info)
            yield members


def _refuse_twice(names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice")


def npz_headers(
    path: str | Path,
    *,
    missing: str = "",
) -> dict[str, Header]:
    """Shape and dtype of every array of an .npz file, none of which is
    unpacked.

    Cost: a few hundred bytes an array.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from saddlery.doors.door import npz_headers
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "trajectory.npz"
    ...     np.savez(file, loss=np.zeros(7))
    ...     headers = npz_headers(file)
    >>> headers["loss"].shape, headers["loss"].nbytes
    ((7,), 56)
    """
    headers = {}
    with _archive(path, missing) as members:
        for name, member in members.items():
            with member.opened() as handle:
                headers[name] = _header(handle)
    return headers


def read_npz(
    path: str | Path,
    names: Collection[str] | None = None,
    limits: int | Mapping[str, int] = NUMBERS,
    remedy: str = "",
) -> dict[str, np.ndarray]:
    """The arrays of these names (None: all) of an .npz file.

    Others are not even looked at. Never unpickles.

    limits: how many numbers an array may have, by its header, before it is
    unpacked; one for all, or by name. What an array unpacks to is bounded
    by its header, whatever the archive says.
    remedy: what else to do about one that is missing.

    Raises InputError, naming file and array, for one that is missing, too
    large, of objects or damaged.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from saddlery.doors.door import read_npz
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "trajectory.npz"
    ...     np.savez(file, loss=np.array([0.5, 0.1]), states=np.zeros((2, 9)))
    ...     arrays = read_npz(file, ["loss"])
    >>> arrays
    {'loss': array([0.5, 0.1])}
    """
    arrays = {}
    with _archive(path) as members:
        for name in members if names is None else names:
            known(name, members, f"{path}: array", remedy)
            limit = _limit_of(name, limits)
            arrays[name] = _unpacked(members[name], name, path, limit)
    return arrays


def _limit_of(name: str, limits: int | Mapping[str, int]) -> int:
    if isinstance(limits, int):
        return limits
    return limits.get(name, NUMBERS)


def _unpacked(
    member: _Member,
    name: str,
    path: str | Path,
    limit: int,
) -> np.ndarray:
    with member.opened() as handle:
        header = _header(handle)
        begin = handle.tell()
    _admitted(header, f"{path}: {name}", limit)
    size = member.info.file_size
    if begin + header.nbytes != size:
        raise ValueError(
            f"{name} of shape {header.shape} cannot be {size:,} bytes",
        )
    with member.opened() as handle:
        return np.lib.format.read_array(handle, allow_pickle=False)
