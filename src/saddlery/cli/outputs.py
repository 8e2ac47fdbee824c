"""Where results go: found out before the work, not after it."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from ..basis.checks import StorageError
from ..basis.records import plain
from ..doors.outlets import check_place, storage_errors
from .streams import put, say

__all__ = ["file_to_write", "place_to_write", "say", "show"]
OWN = (
    "experiment.toml",
    "record.json",
    "trajectory.npz",
)  # files of a run that are never rewritten


def show(options: Namespace, record: Any, text: str) -> None:
    """The result on stdout: as JSON where that is asked for, else as text."""
    put(json.dumps(plain(record), indent=1) if options.json else text)


def file_to_write(target: Path) -> Path:
    """The path, if a file may be written there; nothing is created."""
    if os.path.isdir(target):
        raise StorageError(
            f"{target} is a folder, and a file is written here; name a file in it with --out"
        )
    with storage_errors(target):  # relative to a folder that may be gone
        real = Path(os.path.realpath(target))
    if real.name in OWN and (real.parent / "record.json").exists():
        raise StorageError(
            f"{target} belongs to a finished run and is never rewritten; choose another --out"
        )
    return place_to_write(target)


def place_to_write(target: Path) -> Path:
    """The path, if something may be made there: its nearest existing parent takes files. Nothing is
    created."""
    check_place(target)
    return target
