"""The fields that experiments have in the code, beside the newest table of
`saddlery.experiments.fields`.

    .venv/bin/python tools/fields.py            what is new (exit code 1 where anything is)
    .venv/bin/python tools/fields.py --write    writes the table of the next version, or anew that
                                                which no release has yet
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from saddlery import units
from saddlery.experiments import Experiment, fields
from saddlery.experiments.experiment import PARTS, WORDS
from saddlery.initializations import Initialization
from saddlery.networks import Layer, Network
from saddlery.rules.base import RULES
from saddlery.sweeps import Sweep
from saddlery.sweeps.design import MEASURES
from saddlery.tasks.base import TASKS
from saddlery.training import Stop

ALWAYS = (
    "initialization",
    "rule",
    "sweep",
    "measure",
)  # families of which version 1 wrote every field
OWN = {"experiment": ("seed", "precision"), "layer": ("width",)}  # of others it always wrote these
ELSEWHERE = ("experiment", "grid", "random", "draws", "draw_seed", "measure", "imports", "slurm")
TABLES = Path(fields.__file__).parent


def declared() -> dict[str, dict[str, Any]]:
    """Every family's fields and defaults, as they are in the code."""
    families = {
        "experiment": _fields(Experiment, but=(*PARTS, *WORDS)),
        "network": _fields(Network, but=("layers",)),
        "layer": _fields(Layer, but=("unit",)),
        "initialization": _fields(Initialization),
        "stop": _fields(Stop),
        "sweep": _fields(Sweep, but=(*ELSEWHERE, *WORDS, "version")),
        "measure": dict.fromkeys(MEASURES, False),
        **{f"task {kind}": _fields(task) for kind, task in sorted(TASKS.items()) if _ours(task)},
        **{f"rule {kind}": _fields(rule) for kind, rule in sorted(RULES.items()) if _ours(rule)},
        **{f"unit {name}": fields.as_stored(units.options(name)) for name in _units()},
    }
    return {
        family: {"defaults": found, "always": _always(family, found)}
        for family, found in families.items()
    }


def _fields(cls: type, but: tuple[str, ...] = ()) -> dict[str, Any]:
    return {f.name: _default(f) for f in dataclasses.fields(cls) if f.name not in but}  # type: ignore[arg-type]


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return fields.as_stored(field.default_factory())
    return (
        fields.REQUIRED if field.default is dataclasses.MISSING else fields.as_stored(field.default)
    )


def _always(family: str, found: dict[str, Any]) -> list[str]:
    kind = family.partition(" ")[0]
    if kind in ALWAYS or family.startswith(("unit conv", "unit attention", "unit in_context")):
        return list(found)
    tables = [name for name, default in found.items() if isinstance(default, dict)]
    return [*OWN.get(kind, ()), *tables]


def _units() -> list[str]:
    """The names of saddlery's own units, not of those that installed packages bring."""
    return [name for name in units.names() if units.shipped(units.make(name))]


def _ours(cls: type) -> bool:
    return cls.__module__.startswith("saddlery.")


def new() -> list[str]:
    """In words, where the code is not what the newest table says."""
    words = []
    now, then = declared(), fields.fields_of(fields.VERSION)
    for family in sorted({*now, *then}):
        here = now.get(family, {}).get("defaults", {})
        there = then[family].defaults if family in then else {}
        for name in dict.fromkeys([*there, *here]):
            one, other = there.get(name, "(absent)"), here.get(name, "(absent)")
            if one != other:
                words.append(
                    f"{family}: {name} = {one!r} in version {fields.VERSION}, {other!r} in the code"
                )
    return words


def main(write: bool) -> int:
    words = new()
    print("\n".join(words) or f"as version {fields.VERSION} has it")
    if write and words:
        version = fields.RELEASED + 1
        path = TABLES / f"{version}.json"
        path.write_text(json.dumps(declared(), indent=1) + "\n", "utf-8")
        print(f"{path} written; VERSION in {TABLES / '__init__.py'} must be {version}")
    return int(bool(words) and not write)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
