"""`saddlery list`: what experiments are made of, read from the registries themselves."""

from __future__ import annotations

import dataclasses
import json
import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..basis.checks import InputError
from ..basis.families import left_out
from ..basis.records import plain, text_table
from ..doors.door import read_toml
from .codes import DONE
from .outputs import file_to_write, say, show
from .sweeping import import_given

Entry = tuple[str, str, Mapping[str, Any]]  # name, description, options with their defaults
REQUIRED = "required"
SINGULAR = {"losses": "loss", "theories": "theory", "studies": "study"}


def listing(options: Namespace) -> int:
    """List the members of a family: units, tasks, losses and all else that has a name."""
    if options.seed is not None:
        raise InputError("--seed has no meaning for list, which is not random; leave it out")
    target = file_to_write(Path(options.out)) if options.out else None
    import_given(options)
    entries = LISTS[options.kind]()
    for words in left_out():
        say(f"note: {words}")
    record = [
        {"name": name, "description": words, "options": keys} for name, words, keys in entries
    ]
    text = _text(options.kind, entries)
    if target is not None:
        from ..doors.outlets import write_text

        write_text(target, (json.dumps(plain(record), indent=1) if options.json else text) + "\n")
        say(f"list in {target}")
    show(options, record, text)
    return DONE


def _text(kind: str, entries: list[Entry]) -> str:
    columns, rows = (
        (SINGULAR.get(kind, kind.removesuffix("s")), "what it is"),
        [[name, words] for name, words, _ in entries],
    )
    if any(keys for _, _, keys in entries):
        columns = (columns[0], "keys", columns[1])
        rows = [[name, ", ".join(keys) or "-", words] for name, words, keys in entries]
    return text_table(columns, rows)


def _units() -> list[Entry]:
    from .. import units

    return [
        (name, _properties(units.make(name).symmetry), units.options(name))
        for name in units.names()
    ]


def _properties(s: Any) -> str:
    kind = (
        "linear in its weights"
        if s.linear
        else f"homogeneous ({s.homogeneous})"
        if s.homogeneous
        else ""
    )
    silent = f"leading degree {s.degree}" if s.degree else "no silent point"
    return ", ".join(words for words in (kind, silent) if words)


def _classes(classes: Mapping[str, type]) -> list[Entry]:
    return [
        (name, first_sentence(cls.__doc__ or ""), _keys(cls))
        for name, cls in sorted(classes.items())
    ]


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a word."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    found = re.match(r".*?[^\s.]\.(?=\s|$)", paragraph)
    return found.group() if found else paragraph


def _keys(cls: Any) -> dict[str, Any]:
    return {f.name: _default(f) for f in dataclasses.fields(cls)}


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _tasks() -> list[Entry]:
    from ..tasks import TASKS

    return _classes(TASKS)


def _rules() -> list[Entry]:
    from ..rules import RULES

    return _classes(RULES)


def _engines() -> list[Entry]:
    from ..engines import ENGINES

    return [(name, first_sentence(cls.__doc__ or ""), {}) for name, cls in ENGINES.items()]


def _theories() -> list[Entry]:
    from ..predictions import THEORIES

    return _functions(THEORIES)


def _initializations() -> list[Entry]:
    from ..initializations import INITIALIZATIONS

    return _functions(INITIALIZATIONS)


def _figures() -> list[Entry]:
    from ..plots import FIGURES

    return _functions(FIGURES)


def _functions(functions: Mapping[str, Any]) -> list[Entry]:
    return [(name, first_sentence(made.__doc__ or ""), {}) for name, made in functions.items()]


def _losses() -> list[Entry]:
    from ..networks.losses import LOSSES

    return _functions({name: loss.function for name, loss in LOSSES.items()})


def _observables() -> list[Entry]:
    from ..networks.observables import OBSERVABLES

    return _functions({name: one.function for name, one in OBSERVABLES.items()})


def _studies() -> list[Entry]:
    from ..studies import STUDIES

    return [(name, study.title, {}) for name, study in STUDIES.items()]


def _experiments() -> list[Entry]:
    folder = Path(__file__).parent.parent / "experiments" / "catalog"
    tables = [read_toml(path) for path in sorted(folder.glob("*.toml"))]
    return [(table["name"], table["description"], {}) for table in tables]


LISTS: dict[str, Callable[[], list[Entry]]] = {
    "units": _units,
    "tasks": _tasks,
    "losses": _losses,
    "initializations": _initializations,
    "rules": _rules,
    "experiments": _experiments,
    "observables": _observables,
    "theories": _theories,
    "studies": _studies,
    "figures": _figures,
    "engines": _engines,
}
