"""Where results go: found out before the work, not after it, and shown on stdout."""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from ..checks import StorageError
from ..records import plain

OWN = ("experiment.toml", "record.json", "trajectory.npz")  # files of a run that are never rewritten


def say(words: str) -> None:
    sys.stderr.write(words + "\n")


def show(options: Namespace, record: Any, text: str) -> None:
    sys.stdout.write((json.dumps(plain(record), indent=1) if options.json else text) + "\n")


def file_to_write(target: Path) -> Path:
    """The path, if a file may be written there; nothing is created."""
    if target.is_dir():
        raise StorageError(f"{target} is a folder, and a file is written here; name a file in it with --out")
    if target.name in OWN and (target.parent / "record.json").exists():
        raise StorageError(f"{target} belongs to a finished run and is never rewritten; choose another --out")
    return place_to_write(target)


def place_to_write(target: Path) -> Path:
    """The path, if something may be made there: its nearest existing parent takes files. Nothing is created."""
    from ..store import storage_errors

    with storage_errors(target):
        parent = target.absolute().parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            raise StorageError(f"{target} cannot be written: {parent} is a file; choose another --out")
        with tempfile.TemporaryFile(dir=parent):
            pass
    return target
