"""Families: units, tasks, losses, studies and all else that is found by its
name.

A member is there because saddlery ships it, because a module registered it
when it was imported, or because an installed package brings it: a package
lists such modules as entry points of the group "saddlery" (see
docs/development.md). They are imported when a name is asked for that nobody
knows yet, and when all names are listed; one that cannot be is left out, with
a sentence, and hinders no other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TypeVar

from .echo import said

T = TypeVar("T")
GROUP = "saddlery"
OWN = "(one of your own is known once its module is imported: --imports MODULE)"


class Family(Mapping[str, T]):
    """The members of one kind by their names, those of saddlery first.

    noun: what one of them is called, as in "unit".
    members: those that are there already; to ask the family itself also asks
        installed packages.

    Example
    -------
    >>> from saddlery.basis.families import Family
    >>> colours = Family("colour")
    >>> colours.add("blue", "#0072b2")
    '#0072b2'
    >>> colours.named("blue"), "blu" in colours
    ('#0072b2', False)
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self.members: dict[str, T] = {}

    def add(self, name: str, member: T) -> T:
        """Make a member known by a name in this process, and return it.

        Raises InputError where the name is no text, or another member has it.
        """
        from .checks import InputError, text

        text(name, f"the name of a {self.noun}")
        taken = name in self.members and not _written_anew(self.members[name], member)
        if taken:
            raise InputError(
                f"a {self.noun} named {name!r} exists already; give yours another name"
            )
        self.members[name] = member
        return member

    def named(self, name: str) -> T:
        """The member of that name.

        Raises InputError, with the nearest name there is and with the entry
        points that were left out.
        """
        if not isinstance(name, str) or name not in self:
            from .checks import known  # not above: a command line that starts needs no NumPy

            remedy = "; ".join([OWN, *left_out()])
            known(name, self.members, self.noun, remedy)
        return self[name]

    def __eq__(self, other: object) -> bool:
        return self is other  # not a table that is compared by what it holds

    def __hash__(self) -> int:
        return id(self)

    def __getitem__(self, name: str) -> T:
        if name not in self.members:
            _bring()
        return self.members[name]

    def __iter__(self) -> Iterator[str]:
        _bring()
        return iter(tuple(self.members))

    def __len__(self) -> int:
        _bring()
        return len(self.members)

    def __repr__(self) -> str:
        return f"Family({self.noun}: {', '.join(self.members)})"


def _written_anew(old: object, new: object) -> bool:
    """Whether a class or function stands where the old one stood: a cell of a
    notebook run twice, or a dataclass with slots, which Python makes
    twice."""
    place = _place(old)
    return place is not None and place == _place(new)


def _place(member: object) -> tuple[str, str] | None:
    """Module and name; None of a lambda, and of what is no class or
    function."""
    name = getattr(member, "__qualname__", "<lambda>")
    if name.endswith("<lambda>"):
        return None
    return getattr(member, "__module__", ""), name


# ------------------------------------------------------------------ installed packages
_searched: tuple[str, ...] = ()  # the path on which packages were looked for
_tried: dict[tuple[str, str], str] = {}  # (package, entry point) -> why it was left out, or ""


def left_out() -> tuple[str, ...]:
    """A sentence for every entry point that could not be used."""
    _bring()
    return tuple(words for words in _tried.values() if words)


def _bring() -> None:
    """Import the modules of the entry points that were not tried yet;
    packages are looked for once, and again where the path has changed."""
    global _searched
    path = tuple(sys.path)
    if path == _searched:
        return
    _searched = path  # before: a module may ask for names itself
    for package, entry in _entry_points():
        if (package, entry.name) not in _tried:
            _tried[package, entry.name] = ""
            _tried[package, entry.name] = _imported(package, entry)


def _imported(package: str, entry: metadata.EntryPoint) -> str:
    """Import what an entry point names; why that failed, or an empty text."""
    try:
        entry.load()
    except (Exception, SystemExit) as error:
        reason = said(error)
        if not isinstance(error, ValueError):  # sentences of our own say what they are
            reason = f"{type(error).__name__}: {reason}"
        return (
            f"the entry point {entry.name!r} ({entry.value}) of the package {package} is left out: "
            f"{reason}; mend the package or uninstall it"
        )
    return ""


def _entry_points() -> Iterator[tuple[str, metadata.EntryPoint]]:
    """(package, entry point) of every installed package; of two of one name
    the first on the path, as for imports."""
    packages = set()
    for distribution in metadata.distributions():
        try:
            found = distribution.entry_points.select(group=GROUP)
            name = str(distribution.metadata["Name"]) if found else ""
        except Exception:  # a package whose description cannot be read brings nothing
            continue
        if found and name not in packages:
            packages.add(name)
            yield from ((name, entry) for entry in found)
