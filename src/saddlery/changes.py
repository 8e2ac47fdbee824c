"""Entries of an experiment's table replaced by dotted paths, as by --set KEY=VALUE and by the fields of a sweep."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from .checks import InputError, nearest
from .experiments import LAYER_KEYS

EXAMPLE = "for example --set initialization.scale=1e-5"


def changed(table: Mapping[str, Any], changes: Mapping[str, Any], label: str = "") -> dict[str, Any]:
    """A copy of the table with dotted entries replaced: {"network.layers.0.width": 20}.

    A new `kind` or `unit` drops the options of the old one, and is therefore set before everything else. Raises InputError,
    beginning with `label`, for a path that leads nowhere.
    """
    new = copy.deepcopy(dict(table))
    for path, value in sorted(changes.items(), key=lambda change: change[0].rpartition(".")[2] not in ("kind", "unit")):
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
            raise InputError(f"--set {path}: given {paths.count(path)} times; give each entry once")
    return dict(pairs)


def _parsed(change: str) -> tuple[str, Any]:
    path, equals, text = (part.strip() for part in change.partition("="))
    if not equals or not path or not text:
        raise InputError(f"--set needs KEY=VALUE, {EXAMPLE}, got {change!r}")
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text[0] in "[{\"'":
            raise InputError(f"--set {path}: {text!r} is not a TOML value ({error}); quote it for the shell") from None
        return path, text  # a bare word: rule.kind=adam


def _replace(table: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = table
    for key in parents:
        place = place[_key(place, key, path)]
    if isinstance(place, list):
        index = _key(place, last, path)
        if isinstance(place[index], dict):
            raise InputError(f"{path}: entry {last!r} is a table; name a key in it, such as {path}.width=20")
        place[index] = value
        return
    if not isinstance(place, dict):
        _key(place, last, path)
    if isinstance(place.get(last), dict):
        raise InputError(f"{path}: {last!r} is a table; name a key in it: {', '.join(place[last])}")
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
        guess = nearest(key, place)
        choice = f"did you mean {guess!r}?" if guess else f"choose one of {', '.join(place)}"
    elif isinstance(place, list):
        if key.isdecimal() and int(key) < len(place):
            return int(key)
        choice = f"choose one of 0 to {len(place) - 1}" if len(place) > 1 else "there is only 0"
    else:
        choice = f"what stands here is the value {place!r}"
    raise InputError(f"{path}: there is no {key!r} here; {choice}")
