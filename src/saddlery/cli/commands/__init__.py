"""The commands, a file each: a file that is put here is a command, and nothing else is touched.

Each file ends in its `COMMAND`, a `Command` of the same name. Files are imported when --help shows
them or their command is typed, so they import nothing heavy before their function runs.
"""

from __future__ import annotations

import os
from importlib import import_module

from ..command import Command

_ADDED: dict[str, Command] = {}  # from outside the package


def names() -> list[str]:
    """The names of all commands, in order; those of the files without importing them."""
    files = [name for folder in __path__ for name in os.listdir(folder)]
    shipped = [name.removesuffix(".py") for name in files if name.endswith(".py")]
    return sorted({*(name for name in shipped if not name.startswith("_")), *_ADDED})


def command(name: str) -> Command:
    """The command of that name, one of `names`."""
    return _ADDED[name] if name in _ADDED else import_module(f".{name}", __name__).COMMAND


def commands() -> dict[str, Command]:
    """name -> the command, of all that there are."""
    return {name: command(name) for name in names()}


def register(added: Command) -> Command:
    """Add a command from outside the package, and return it.

    Raises InputError where the name is taken, or is none.

    Example (not run here, since a command that is added stays)
    -------
    >>> from saddlery.cli.command import Command
    >>> greet = Command("greet", "say hello", "saddlery greet", lambda options: 0, "unused", "unused")
    >>> register(greet).name  # doctest: +SKIP
    'greet'
    """
    from ...basis.checks import InputError, require

    one_word = added.name.replace("-", "_").isidentifier()
    require(one_word, "the name of a command", "one word", added.name)
    if added.name in names():
        raise InputError(f"there is a command {added.name!r} already; choose another name")
    _ADDED[added.name] = added
    return added
