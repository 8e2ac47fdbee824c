"""The shipped experiments as the files that they are. Imports nothing that
trains them, so that they are listed and shown at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..basis.checks import known
from ..doors.door import read_text, read_toml

FOLDER = Path(__file__).parent.parent / "experiments" / "catalog"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def text_of(name: str) -> str:
    """The TOML of a shipped experiment. Raises InputError with the nearest
    name for another."""
    return read_text(FOLDER / f"{known(name, names(), 'experiment')}.toml")


def table_of(name: str) -> dict[str, Any]:
    """The same as a table."""
    return read_toml(text_of(name), name)
