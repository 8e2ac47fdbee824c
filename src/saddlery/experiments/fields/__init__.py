"""The fields of experiments, version by version: why what is stored outlives
the code that wrote it.

*A stored experiment means what it meant*: what its file leaves out has the
default of the version that wrote it, whatever the default is today. *Its
identity stays*: what version 1 always wrote is part of it, and all else only
where it differs from the default that it came with.

The tables are files beside this one, a version each, and those of released
versions never change. Whoever adds a field or changes a default runs
`python tools/fields.py`, which says what is new and writes the next table.

A family is a set of fields: "experiment", "network", "layer",
"initialization", "stop", "sweep", "measure", and one for each shipped kind,
such as "task linear_teacher", "rule flow" or "unit conv_relu". Kinds of one's
own are in no table.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from ...basis.checks import InputError
from ...basis.echo import shown

VERSION = 1  # the version of experiments that this saddlery writes
RELEASED = 1  # the newest version that a release has; a later one may still be written anew
REQUIRED = "(required)"  # stands in the place of a default where there is none


class Family(NamedTuple):
    """The fields of one family in one version.

    defaults: of all fields, in the order in which they are written.
    always: those that are written whatever they are; others where they differ
        from their defaults.
    """

    defaults: dict[str, Any]
    always: tuple[str, ...]


@functools.cache
def fields_of(version: int) -> dict[str, Family]:
    """The table of a version. Raises InputError where this saddlery lacks it.

    Example
    -------
    >>> from saddlery.experiments.fields import fields_of
    >>> fields_of(1)["initialization"].defaults["scale"]
    0.001
    """
    file = resources.files("saddlery.experiments.fields") / f"{version}.json"
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        lacking = f"the table of version {version} of experiments is missing"
        raise InputError(f"{lacking}; install saddlery again") from None
    families = {}
    for name, one in json.loads(text).items():
        families[name] = Family(one["defaults"], tuple(one["always"]))
    return families


def _family(version: int, name: str) -> Family:
    return fields_of(version).get(name, Family({}, ()))


def came_with(family: str, name: str, declared: Any) -> Any:
    """The default that a field had when it came; the declared one where no
    table has it yet."""
    for version in range(1, VERSION + 1):
        defaults = _family(version, family).defaults
        if name in defaults:
            return defaults[name]
    return declared


def essential(
    family: str,
    values: Mapping[str, Any],
    declared: Mapping[str, Any],
    *,
    always: bool = False,
) -> dict[str, Any]:
    """Of the values of all fields of a family, as they stand in a file, those
    that are part of an identity, in the order in which fields came; what is
    absent (None) is left out.

    declared: today's defaults, of fields that no table has.
    always: how a family in no table, of a kind of one's own, is written.

    Example
    -------
    >>> from saddlery.experiments.fields import essential
    >>> usual = {"unit": "mine", "gain": 1.0}
    >>> essential("unit mine", {"unit": "mine", "gain": 2.0}, usual)
    {'gain': 2.0}
    >>> essential("unit mine", {"unit": "mine", "gain": 2.0}, usual, always=True)
    {'unit': 'mine', 'gain': 2.0}
    """
    versions = [fields_of(version) for version in range(1, VERSION + 1)]
    tables = [one[family] for one in versions if family in one]
    of_ones_own = tuple(values) if always else ()
    written = tables[0].always if tables else of_ones_own
    came = [name for one in tables for name in one.defaults if name in values]
    kept = {}
    for name in dict.fromkeys([*came, *values]):
        usual = as_stored(came_with(family, name, declared.get(name, REQUIRED)))
        differs = name in written or values[name] != usual
        if values[name] is not None and differs:
            kept[name] = values[name]
    return kept


def completed(
    family: str,
    values: Mapping[str, Any],
    version: int,
) -> dict[str, Any]:
    """Values read from a file of some version, with what it left out and what
    has another default today."""
    if version == VERSION:
        return dict(values)
    then = _family(version, family).defaults
    now = _family(VERSION, family).defaults
    other = {}
    for name, default in now.items():
        meant = then.get(name, came_with(family, name, default))
        if meant not in (default, REQUIRED):
            other[name] = meant
    return {**other, **values}


def as_meant(table: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The table of an experiment as the version that wrote it meant it.
    Sections of the wrong kind are left as they are."""
    if version == VERSION:
        return dict(table)

    def section(family: str, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return completed(family, values, version)

    def layer(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        return section(f"unit {entry.get('unit')}", section("layer", entry))

    found = section("experiment", table)
    for name in ("initialization", "stop"):
        found[name] = section(name, found.get(name, {}))
    for name in ("task", "rule"):
        entry = found.get(name, {})
        kind = entry.get("kind", "flow") if isinstance(entry, Mapping) else ""
        found[name] = section(f"{name} {kind}", entry)
    taught = found["task"]
    # A teacher's units.
    if isinstance(taught, dict) and isinstance(taught.get("unit"), str):
        options = taught.get("options_of_unit", {})
        taught["options_of_unit"] = section(f"unit {taught['unit']}", options)
    network = section("network", found.get("network", {}))
    if isinstance(network, dict) and isinstance(network.get("layers"), list):
        network["layers"] = [layer(entry) for entry in network["layers"]]
    return {**found, "network": network}


def check_version(version: Any) -> int:
    """The version of a stored table. Raises InputError where this saddlery
    cannot read it."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        given = f"got {shown(version)}; leave it out"
        raise InputError(f"version must be a whole number from 1 on, {given}")
    if version > VERSION:
        written = f"written in version {version} of experiments"
        remedy = "install a later one"
        raise InputError(f"{written}, this saddlery reads up to {VERSION}; {remedy}")
    for between in range(version, VERSION + 1):
        fields_of(between)
    return version


def as_stored(value: Any) -> Any:
    """A value as it stands in a file: lists for tuples.

    Example
    -------
    >>> from saddlery.experiments.fields import as_stored
    >>> as_stored({"kernel": (3, 3)})
    {'kernel': [3, 3]}
    """
    if isinstance(value, Mapping):
        return {key: as_stored(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_stored(one) for one in value]
    return value
