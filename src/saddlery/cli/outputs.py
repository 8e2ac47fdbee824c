"""Where results go: found out before the work, not after it."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..basis.checks import InputError, StorageError
from ..basis.records import plain
from ..doors.outlets import check_place, storage_errors, write_text
from .streams import put, say

__all__ = [
    "as_word",
    "file_to_write",
    "out_to_write",
    "page_to_write",
    "place_to_write",
    "say",
    "show",
    "write_page",
    "write_record",
    "write_words",
]
# Files that are never rewritten, of a run and of a sweep: beside the one that says that the
# folder is one.
OWN = {
    "finished run": ("record.json", ("experiment.toml", "record.json", "trajectory.npz")),
    "sweep": ("sweep.json", ("sweep.json", "sweep.toml")),
}
# What a command reads that may be a file, as it is typed.
INPUTS = {"experiment": "EXPERIMENT", "run": "RUN", "data": "--data"}


def show(options: Namespace, record: Any, text: str) -> None:
    """The result on stdout: as JSON where that is asked for, else as text."""
    put(_as_asked(options, record, text))


def _as_asked(options: Namespace, record: Any, text: str) -> str:
    if options.json:
        return _as_json(record)
    return text


def _as_json(record: Any) -> str:
    return json.dumps(plain(record), indent=1)


# ----------------------------------------------------------------------- places
def file_to_write(target: Path) -> Path:
    """The path, if a file may be written there; nothing is created."""
    if os.path.isdir(target):
        raise StorageError(
            f"{target} is a folder, and a file is written here; name a file in it with --out"
        )
    with storage_errors(target):  # relative to a folder that may be gone
        real = Path(os.path.realpath(target))
    for owner, (mark, names) in OWN.items():
        if real.name in names and (real.parent / mark).exists():
            raise StorageError(
                f"{target} belongs to a {owner} and is never rewritten; choose another --out"
            )
    return place_to_write(target)


def place_to_write(target: Path) -> Path:
    """The path, if something may be made there: its nearest existing parent
    takes files. Nothing is created."""
    check_place(target)
    return target


def out_to_write(options: Namespace) -> Path | None:
    """The file of --out, if one is named, found out before the work."""
    if not options.out:
        return None
    return _named(options, "--out", options.out)


def _named(options: Namespace, option: str, path: str) -> Path:
    """The file that an option names, if it may be written: not one that the
    same command reads."""
    for name, typed in INPUTS.items():
        source = getattr(options, name, None)
        if source and os.path.isfile(source) and _same(source, path):
            raise InputError(
                f"{typed} and {option} both name {path}, which would be lost; "
                f"choose another {option}"
            )
    return file_to_write(Path(path))


def _same(one: str, other: str) -> bool:
    """Whether two paths are one place, whatever links lie between."""
    return os.path.realpath(one) == os.path.realpath(other)


def page_to_write(options: Namespace) -> Path | None:
    """Where the page goes, found out before the work: a file of its own, and
    matplotlib to draw it."""
    if not options.page:
        return None
    from ..plots import new_axes

    if options.out and _same(options.out, options.page):
        raise InputError(
            f"--out and --page both name {options.page}; give the page a file of its own"
        )
    new_axes()
    return _named(options, "--page", options.page)


def as_word(path: str | Path) -> str:
    """A path as it is typed after a command: one that begins with a dash
    would be an option."""
    typed = str(path)
    if typed.startswith("-"):
        return os.path.join(os.curdir, typed)
    return typed


# ---------------------------------------------------------------------- writing
def write_record(record: Any, target: Path | None) -> None:
    if target is not None:
        write_text(target, _as_json(record))
        say(f"record in {target}")


def write_words(
    options: Namespace,
    record: Any,
    text: str,
    target: Path | None,
    noun: str,
) -> None:
    """What `show` prints, also to a file."""
    if target is not None:
        write_text(target, _as_asked(options, record, text) + "\n")
        say(f"{noun} in {target}")


def write_page(target: Path | None, text: Callable[[], str]) -> None:
    if target is not None:
        write_text(target, text())
        say(f"page in {target}")
