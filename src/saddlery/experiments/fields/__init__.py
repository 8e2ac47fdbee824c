"""The fields of experiments, version by version: why what is stored outlives the code that wrote
it.

*A stored experiment means what it meant*: what its file leaves out has the default of the version
that wrote it, whatever the default is today. *Its identity stays*: what version 1 always wrote is
part of it, and all else only where it differs from the default that it came with.

The tables are files beside this one, a version each, and those of released versions never change.
Whoever adds a field or changes a default runs `python tools/fields.py`, which says what is new and
writes the next table.

A family is a set of fields: "experiment", "network", "layer", "initialization", "stop", "sweep",
"measure", and one for each shipped kind, such as "task linear_teacher", "rule flow" or "unit
conv_relu". Kinds of one's own are in no table.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from ...basis.checks import InputError
from ...basis.echo import shown

VERSION = 1  # that this saddlery writes
RELEASED = 1  # the newest that a release has; a later one may still be written anew
REQUIRED = "(required)"  # in the place of a default: there is none


class Family(NamedTuple):
    """defaults: of all fields of a family, in the order in which they are written. always: those
    that are written whatever they are; others where they differ from their defaults."""

    defaults: dict[str, Any]
    always: tuple[str, ...]


@functools.cache
def fields_of(version: int) -> dict[str, Family]:
    """The table of a version. Raises InputError where this saddlery lacks it."""
    try:
        text = (resources.files("saddlery.experiments.fields") / f"{version}.json").read_text(
            "utf-8"
        )
    except FileNotFoundError:
        raise InputError(
            f"the table of version {version} of experiments is missing; install saddlery again"
        ) from None
    return {
        name: Family(one["defaults"], tuple(one["always"]))
        for name, one in json.loads(text).items()
    }


def _family(version: int, name: str) -> Family:
    return fields_of(version).get(name, Family({}, ()))


def came_with(family: str, name: str, declared: Any) -> Any:
    """The default that a field had when it came; the declared one where no table has it yet."""
    for version in range(1, VERSION + 1):
        defaults = _family(version, family).defaults
        if name in defaults:
            return defaults[name]
    return declared


def essential(
    family: str, values: Mapping[str, Any], declared: Mapping[str, Any], *, always: bool = False
) -> dict[str, Any]:
    """Of the values of all fields of a family, as they stand in a file, those that are part of an
    identity, in the order in which fields came; what is absent (None) is left out.

    declared: today's defaults, of fields that no table has. always: how a family in no table, of a
    kind of one's own, is written.
    """
    versions = [fields_of(version) for version in range(1, VERSION + 1)]
    tables = [one[family] for one in versions if family in one]
    of_ones_own = tuple(values) if always else ()
    written = tables[0].always if tables else of_ones_own
    order = dict.fromkeys(name for one in tables for name in one.defaults if name in values)
    usual = {
        name: as_stored(came_with(family, name, declared.get(name, REQUIRED))) for name in values
    }
    return {
        name: values[name]
        for name in (*order, *(name for name in values if name not in order))
        if values[name] is not None and (name in written or values[name] != usual[name])
    }


def completed(family: str, values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Values read from a file of some version, with what it left out and what has another default
    today."""
    if version == VERSION:
        return dict(values)
    then, now = (_family(v, family).defaults for v in (version, VERSION))
    meant = {
        name: then.get(name, came_with(family, name, default)) for name, default in now.items()
    }
    return {**{k: v for k, v in meant.items() if v != now[k] and v != REQUIRED}, **values}


def as_meant(table: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The table of an experiment as the version that wrote it meant it. Sections of the wrong kind
    are left as they are."""
    if version == VERSION:
        return dict(table)

    def section(family: str, values: Any) -> Any:
        return completed(family, values, version) if isinstance(values, Mapping) else values

    found = section("experiment", table)
    for name in ("initialization", "stop"):
        found[name] = section(name, found.get(name, {}))
    for name in ("task", "rule"):
        entry = found.get(name, {})
        kind = entry.get("kind", "flow") if isinstance(entry, Mapping) else ""
        found[name] = section(f"{name} {kind}", entry)
    taught = found["task"]
    if isinstance(taught, dict) and isinstance(taught.get("unit"), str):  # a teacher's units
        options = taught.get("options_of_unit", {})
        taught["options_of_unit"] = section(f"unit {taught['unit']}", options)
    network = section("network", found.get("network", {}))
    if isinstance(network, dict) and isinstance(network.get("layers"), list):
        layer = lambda entry: section(f"unit {entry.get('unit')}", section("layer", entry))
        network["layers"] = [
            layer(entry) if isinstance(entry, Mapping) else entry for entry in network["layers"]
        ]
    return {**found, "network": network}


def check_version(version: Any) -> int:
    """The version of a stored table. Raises InputError where this saddlery cannot read it."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InputError(
            f"version must be a whole number from 1 on, got {shown(version)}; leave it out"
        )
    if version > VERSION:
        raise InputError(
            f"written in version {version} of experiments, this saddlery reads up to "
            f"{VERSION}; install a later one"
        )
    for between in range(version, VERSION + 1):
        fields_of(between)
    return version


def as_stored(value: Any) -> Any:
    """A value as it stands in a file: lists for tuples."""
    if isinstance(value, Mapping):
        return {k: as_stored(v) for k, v in value.items()}
    return [as_stored(v) for v in value] if isinstance(value, (tuple, list)) else value
