"""Entries of an experiment's table replaced by dotted paths, as by --set
KEY=VALUE and by the fields of a sweep."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ..basis.checks import InputError, hint
from ..basis.echo import LETTERS, shown
from ..doors.door import read_toml
from .experiment import LAYER_KEYS

PLACE = "value"  # how the door names the text of a value
INVALID = "not valid TOML, "  # how it begins what it says of a text that is no value
EXAMPLE = "for example --set initialization.scale=1e-5"


def changed(
    table: Mapping[str, Any],
    changes: Mapping[str, Any],
    label: str = "",
) -> dict[str, Any]:
    """A copy of the table with dotted entries replaced.

    A new `kind` or `unit` drops the options of the old one (the unit of a
    task its options_of_unit), and is therefore set before everything else.

    Raises InputError, beginning with `label`, for a path that leads nowhere.

    Example
    -------
    >>> from saddlery.experiments.changes import changed
    >>> table = {"rule": {"kind": "adam", "beta1": 0.8}, "seed": 0}
    >>> changed(table, {"rule.learning_rate": 0.1, "rule.kind": "descent"})
    {'rule': {'kind': 'descent', 'learning_rate': 0.1}, 'seed': 0}
    """
    new = copy.deepcopy(dict(table))
    for path, value in sorted(changes.items(), key=_is_option):
        try:
            _replace(new, path, value)
        except InputError as error:
            raise InputError(f"{label}{error}") from None
    return new


def _is_option(change: tuple[str, Any]) -> bool:
    """False of what is set first."""
    path, _ = change
    last = path.rpartition(".")[2]
    return last not in ("kind", "unit")


def parsed(changes: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE texts as paths and TOML values; a bare word is text.

    Raises InputError for a text that is no such pair, and for a path
    that is given twice.

    Example
    -------
    >>> from saddlery.experiments.changes import parsed
    >>> parsed(["rule.kind=adam", "network.layers.0.width=20"])
    {'rule.kind': 'adam', 'network.layers.0.width': 20}
    """
    pairs = [_parsed(change) for change in changes]
    paths = [path for path, _ in pairs]
    for path in paths:
        count = paths.count(path)
        if count > 1:
            remedy = "give each entry once"
            raise InputError(f"--set {path[:LETTERS]}: given {count} times; {remedy}")
    return dict(pairs)


def _parsed(change: str) -> tuple[str, Any]:
    path, equals, text = (part.strip() for part in change.partition("="))
    if not equals or not path or not text:
        raise InputError(f"--set needs KEY=VALUE, {EXAMPLE}, got {shown(change)}")
    try:
        table = read_toml(f"value = {text}", PLACE)
    except InputError as error:
        words = str(error).removeprefix(f"{PLACE}: ")
        if not words.startswith(INVALID):  # a value, but one too large or too deep
            why = words.removeprefix(PLACE)
            raise InputError(f"--set {path[:LETTERS]}: {why}") from None
        if text[0] in "[{\"'":
            why = f"is not a TOML value ({words.removeprefix(INVALID)})"
            refused = f"--set {path}: {shown(text)} {why}"
            raise InputError(f"{refused}; quote it for the shell") from None
        return path, text  # a bare word: rule.kind=adam
    if len(table) > 1:
        refused = f"--set {path[:LETTERS]}: {shown(text)} is more than one value"
        raise InputError(f"{refused}; repeat --set for each")
    return path, table["value"]


def _replace(table: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = table
    for key in parents:
        place = place[_key(place, key, path)]
    if isinstance(place, list):
        index = _key(place, last, path)
        if isinstance(place[index], dict):
            remedy = f"name a key in it, such as {path[:LETTERS]}.width=20"
            raise InputError(f"{path[:LETTERS]}: entry {shown(last)} is a table; {remedy}")
        place[index] = value
        return
    if not isinstance(place, dict):
        _key(place, last, path)
    if isinstance(place.get(last), dict):
        keys = ", ".join(place[last])
        raise InputError(f"{path[:LETTERS]}: {shown(last)} is a table; name a key in it: {keys}")
    if place.get(last) != value:
        for option in _options_of(parents, last, place):
            del place[option]
    place[last] = value


def _options_of(parents: Sequence[str], last: str, place: Mapping[str, Any]) -> list[str]:
    """The entries of a table that are options of this one of them."""
    if last == "kind":
        return list(place)
    if last != "unit":
        return []
    if parents[-2:-1] == ["layers"]:
        return [option for option in place if option not in LAYER_KEYS]
    return [option for option in place if option == "options_of_unit"]


def _key(place: Any, key: str, path: str) -> Any:
    """The key or index of an entry that exists."""
    if isinstance(place, dict):
        if key in place:
            return key
        choice = hint(key, place)
    elif isinstance(place, list):
        if key.isdecimal() and len(key) < 10 and int(key) < len(place):
            return int(key)
        choice = "there is only 0"
        if len(place) > 1:
            choice = f"choose one of 0 to {len(place) - 1}"
    else:
        choice = f"what stands here is the value {shown(place)}"
    raise InputError(f"{path[:LETTERS]}: there is no {shown(key)} here; {choice}")
