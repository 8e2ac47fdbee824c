"""All that goes out to files passes here: whole or not at all, and nothing
is replaced that is not a regular file.

A regular file is written beside its place, flushed to the disk and renamed;
one that is there keeps its permissions. Links are followed: what they point
to is replaced, and the link stays. Devices, pipes and open descriptors
(/dev/stdout) are written to. Folders are never replaced, but for empty ones
by a whole run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..basis.checks import StorageError
from ..basis.interruptions import finishing, giving_up

LINKS = 40  # links that are followed one after the other at most, as many as Linux does
BETWEEN_LOOKS = 0.1  # seconds between two looks at a pipe that has no reader yet
LONGEST_NAME = 255  # bytes of the longest file name on Linux's file systems
SPACE = "free some space"
PERMISSION = "choose a place you may write to"
REMEDIES = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: PERMISSION,
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file; check it",
    errno.EISDIR: "name a file in that folder",
    errno.ENAMETOOLONG: "give a shorter name, of 255 bytes at most",
    errno.ELOOP: "its links lead back to themselves; name the place itself",
    errno.EBUSY: "name a folder in it",
    errno.EMFILE: "close files, or raise the limit that ulimit -n shows",
}


def remedy(
    error: OSError,
    otherwise: str = "choose another --out",
) -> str:
    """What to do about an error of the system.

    Example
    -------
    >>> import errno
    >>> from saddlery.doors.outlets import remedy
    >>> remedy(OSError(errno.ENOSPC, "No space left on device"))
    'free some space'
    """
    return REMEDIES.get(error.errno or 0, otherwise)


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the system's errors into one sentence.

    It says which place, why not, and what to do.

    Example
    -------
    >>> from pathlib import Path
    >>> from saddlery.doors.outlets import storage_errors
    >>> with storage_errors(Path("results")):
    ...     raise PermissionError(13, "Permission denied")
    Traceback (most recent call last):
    saddlery.basis.checks.StorageError: results cannot be written: Permission
    denied; nothing was left half-written, choose a place you may write to
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise StorageError(
            f"{target} cannot be written: {why}; nothing was left half-written, {remedy(error)}",
        ) from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        name = repr(str(target))
        raise StorageError(
            f"{name} cannot be written: the name holds the letter NUL; leave it out",
        ) from None


# ----------------------------------------------------------------------- where
@dataclass(frozen=True)
class Place:
    """Where a file goes.

    path: of the regular file that is replaced or made, links followed.
    stream: what is written to instead, a path to open or the number of a
    descriptor that is open already.
    """

    path: Path
    stream: Path | int | None = None


def place_of(target: Path) -> Place:
    """Where a file of that name goes.

    Raises OSError where links go in circles, a descriptor is closed, or the
    name is that of a disk or a socket; IsADirectoryError for a folder.
    """
    descriptor = _descriptor(target)
    if descriptor is not None:
        os.fstat(descriptor)  # raises where it is closed
        return Place(target, stream=descriptor)
    behind_links = Path(os.path.realpath(target))
    try:
        kind = os.stat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return Place(behind_links)
    if stat.S_ISDIR(kind):
        words = "it is a folder, and a file is written here"
        raise IsADirectoryError(errno.EISDIR, words, str(target))
    if stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
        words = "it is a disk or a socket"
        raise OSError(errno.EINVAL, words, str(target))
    if stat.S_ISREG(kind):
        return Place(behind_links)
    return Place(behind_links, stream=target)


def _descriptor(target: Path) -> int | None:
    """The descriptor that /dev/stdout, /dev/fd/3 and their like stand for.

    Opening them again would begin at byte 0.
    """
    own = f"/proc/{os.getpid()}/fd"
    here = os.path.abspath(target)
    for _ in range(LINKS):
        folder, name = os.path.split(here)
        if os.path.realpath(folder) == own and name.isdecimal():
            return int(name)
        if not os.path.islink(here):
            return None
        here = os.path.join(folder, os.readlink(here))
    raise _system_error(errno.ELOOP, target)


def _system_error(code: int, *where: Path) -> OSError:
    return OSError(code, os.strerror(code), *map(str, where))


def check_place(target: Path) -> None:
    """Raise StorageError unless a file may be written there, or a folder
    made.

    Found out before the work; makes nothing.
    """
    with storage_errors(target):
        place = Place(target) if target.is_dir() else place_of(target)
        if place.stream is None:
            _check_parent(target, Path(os.path.abspath(place.path)))
            return
        is_open = isinstance(place.stream, int)
        if not is_open and not os.access(place.stream, os.W_OK):
            raise _system_error(errno.EACCES)


def _check_parent(target: Path, path: Path) -> None:
    if path.is_file():
        _check_writable(path)
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise _system_error(errno.ENAMETOOLONG)
    parent = path.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise StorageError(
            f"{target} cannot be written: {parent} is a file; choose another --out",
        )
    with tempfile.TemporaryFile(dir=parent):
        pass


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is write-protected")


def refuse_existing(target: Path) -> None:
    """Raise StorageError unless a new folder can take that name.

    Nothing is there, or a folder that is empty.
    """
    with storage_errors(target):
        if target.is_symlink():
            raise StorageError(
                f"{target} is a link, and a run is a folder of its own; choose another --out",
            )
        if not os.path.lexists(target):
            return
        if not target.is_dir() or any(target.iterdir()):
            raise StorageError(
                f"{target} exists already and finished results are never overwritten;"
                " choose another --out or remove it"
            )
        if os.path.ismount(target) or target.samefile(os.curdir):
            raise StorageError(
                f"{target} is in use and cannot be replaced by a run; name a new folder in it",
            )


# --------------------------------------------------------------------- writing
@contextlib.contextmanager
def placed(target: Path) -> Iterator[Path]:
    """A file to write to; then it takes its place (see the head of this
    module), or is removed on failure.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from saddlery.doors.outlets import placed
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "losses.csv"
    ...     _ = path.write_text("older")
    ...     with placed(path) as staging:
    ...         _ = staging.write_text("newer")
    ...         meanwhile = path.read_text()
    ...     afterwards = path.read_text()
    >>> meanwhile, afterwards
    ('older', 'newer')
    """
    with storage_errors(target):
        place = place_of(target)
        if place.stream is None:
            with _beside(place.path) as staging:
                yield staging
                _take_place(staging, place.path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                staging = Path(folder) / f"content{target.suffix}"
                yield staging
                _pour(staging, place.stream)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty file beside a path, with the permissions of new files.

    Removed if it is still there in the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _unused(path)
    made_anew = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(os.open(staging, made_anew, 0o666))
    try:
        yield staging
    finally:
        staging.unlink(missing_ok=True)


def _unused(path: Path) -> Path:
    """A hidden name beside a path, of at most 255 bytes whatever the length
    of that one's."""
    start = os.fsencode(path.name)[:200].decode(errors="ignore")
    chance = secrets.token_hex(4)
    ending = path.suffix[:20]
    return path.with_name(f".{start}-{chance}{ending}")


@finishing
def _take_place(staging: Path, path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        before = os.stat(path)
        _check_writable(path)
        os.chmod(staging, stat.S_IMODE(before.st_mode))
        # Only root may give files away.
        with contextlib.suppress(OSError):
            os.chown(staging, before.st_uid, before.st_gid)
    flush(staging)
    os.replace(staging, path)
    flush(path.parent)


@giving_up
def _pour(content: Path, stream: Path | int) -> None:
    """Copy a file into a device, a pipe or a descriptor; waits for the
    reader of a pipe."""
    with os.fdopen(_opened(stream), "wb") as out, open(content, "rb") as source:
        shutil.copyfileobj(source, out)


def _opened(stream: Path | int) -> int:
    if isinstance(stream, int):
        return os.dup(stream)
    while True:
        try:
            handle = os.open(stream, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            # Of a pipe, this says that nobody reads it yet.
            if error.errno != errno.ENXIO or not _is_pipe(stream):
                raise
            time.sleep(BETWEEN_LOOKS)
        else:
            os.set_blocking(handle, True)
            return handle


def _is_pipe(path: Path) -> bool:
    return stat.S_ISFIFO(os.stat(path).st_mode)


def flush(path: Path) -> None:
    """To the disk itself, so that a power cut after the renaming loses nothing."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems do not flush folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> Path:
    """Write a file whole or not at all, replacing an older one.

    Letters that UTF-8 lacks are spelled out.
    """
    path = Path(path)
    with placed(path) as staging:
        staging.write_text(
            text,
            encoding="utf-8",
            errors="backslashreplace",
        )
    return path


@contextlib.contextmanager
def placed_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; then it takes its place as a whole, or is removed
    on failure.

    Raises StorageError where something is there.
    """
    refuse_existing(target)
    with storage_errors(target):
        path = Path(os.path.abspath(target))
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = _unused(path)
        staging.mkdir()
        try:
            yield staging
            _take_folder(staging, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@finishing
def _take_folder(staging: Path, path: Path) -> None:
    for inside in (*staging.iterdir(), staging):
        flush(inside)
    # The system refuses anything but an empty folder.
    os.replace(staging, path)
    flush(path.parent)
