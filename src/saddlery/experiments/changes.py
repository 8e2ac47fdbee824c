"""Entries of an experiment's table replaced by dotted paths, as by --set KEY=VALUE and by the
fields of a sweep."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ..basis.checks import InputError, hint
from ..basis.echo import MOST, shown
from ..doors.door import read_toml
from .experiment import LAYER_KEYS

PLACE, INVALID = (
    "value",
    "not valid TOML, ",
)  # how the door names a text, and what it says of one that is none
EXAMPLE = "for example --set initialization.scale=1e-5"


def changed(
    table: Mapping[str, Any], changes: Mapping[str, Any], label: str = ""
) -> dict[str, Any]:
    """A copy of the table with dotted entries replaced: {"network.layers.0.width": 20}.

    A new `kind` or `unit` drops the options of the old one, and is therefore set before everything
    else. Raises InputError, beginning with `label`, for a path that leads nowhere.
    """
    new = copy.deepcopy(dict(table))
    for path, value in sorted(
        changes.items(), key=lambda change: change[0].rpartition(".")[2] not in ("kind", "unit")
    ):
        try:
            _replace(new, path, value)
        except InputError as error:
            raise InputError(f"{label}{error}") from None
    return new


def parsed(changes: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE texts as paths and TOML values; a bare word is text."""
    pairs = [_parsed(change) for change in changes]
    paths = [path for path, _ in pairs]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(
                f"--set {path[:MOST]}: given {paths.count(path)} times; give each entry once"
            )
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
            raise InputError(f"--set {path[:MOST]}: {words.removeprefix(PLACE)}") from None
        if text[0] in "[{\"'":
            words = words.removeprefix(INVALID)
            raise InputError(
                f"--set {path}: {shown(text)} is not a TOML value ({words}); quote it for the shell"
            ) from None
        return path, text  # a bare word: rule.kind=adam
    if len(table) > 1:
        raise InputError(
            f"--set {path[:MOST]}: {shown(text)} is more than one value; repeat --set for each"
        )
    return path, table["value"]


def _replace(table: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = table
    for key in parents:
        place = place[_key(place, key, path)]
    if isinstance(place, list):
        index = _key(place, last, path)
        if isinstance(place[index], dict):
            raise InputError(
                f"{path[:MOST]}: entry {shown(last)} is a table; name a key in it, such "
                f"as {path[:MOST]}.width=20"
            )
        place[index] = value
        return
    if not isinstance(place, dict):
        _key(place, last, path)
    if isinstance(place.get(last), dict):
        raise InputError(
            f"{path[:MOST]}: {shown(last)} is a table; name a key in it: {', '.join(place[last])}"
        )
    if last == "kind" and place.get(last) != value:
        place.clear()
    if last == "unit" and place.get(last) != value:
        for option in set(place) - set(LAYER_KEYS):
            del place[option]
    place[last] = value


def _key(place: Any, key: str, path: str) -> Any:
    """The key or index of an entry that exists."""
    if isinstance(place, dict):
        if key in place:
            return key
        choice = hint(key, place)
    elif isinstance(place, list):
        if key.isdecimal() and len(key) < 10 and int(key) < len(place):
            return int(key)
        choice = f"choose one of 0 to {len(place) - 1}" if len(place) > 1 else "there is only 0"
    else:
        choice = f"what stands here is the value {shown(place)}"
    raise InputError(f"{path[:MOST]}: there is no {shown(key)} here; {choice}")
