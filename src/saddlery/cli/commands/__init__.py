"""The commands, a file each: a file that is put here is a command, and
nothing else is touched.

Each file ends in its `COMMAND`, a `Command` of the same name. Files are
imported when --help shows them or their command is typed, so they import
nothing heavy before their function runs.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from ..command import Command

if TYPE_CHECKING:
    from ...basis.families import Family

_added: Family[Command] | None = None


def shipped() -> list[str]:
    """The names of the files, without importing them."""
    found = []
    for folder in __path__:
        for name in os.listdir(folder):
            if name.endswith(".py") and not name.startswith("_"):
                found.append(name.removesuffix(".py"))
    return sorted(found)


def added() -> Family[Command]:
    """The commands from outside the package: registered ones, and those of
    installed packages."""
    global _added
    if _added is None:
        from ...basis.families import Family  # not above: it is not needed for a shipped command

        _added = Family("command")
    return _added


def names() -> list[str]:
    """The names of all commands, in order."""
    return sorted({*shipped(), *added()})


def command(name: str) -> Command | None:
    """The command of that name, or None; a shipped one without a look at any
    other."""
    if name not in shipped():
        return added().get(name)
    module = import_module(f".{name}", __name__)
    found = getattr(module, "COMMAND", None)
    if isinstance(found, Command):
        return found
    from ...basis.checks import InputError

    raise InputError(f"{module.__file__} must end in COMMAND, a Command; add it or take it away")


def commands() -> dict[str, Command]:
    """name -> the command, of all that there are."""
    found = {name: command(name) for name in names()}
    return {name: one for name, one in found.items() if one is not None}


def register(one: Command) -> Command:
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

    require(isinstance(one, Command), "a command", "a Command", one)
    function = f"the function of command {one.name!r}"
    require(callable(one.function), function, needed="callable", given=one.function)
    one_word = one.name.replace("-", "_").isidentifier()
    require(one_word, "the name of a command", "one word", one.name)
    if one.name in shipped():
        raise InputError(f"there is a command {one.name!r} already; choose another name")
    return added().add(one.name, one)
