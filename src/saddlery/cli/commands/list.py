"""`saddlery list`: what experiments are made of, read from the registries themselves."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any

from ..codes import DONE
from ..command import Command

Entry = tuple[str, str, Mapping[str, Any]]  # name, description, options with their defaults
REQUIRED = "required"


def _options(parser: ArgumentParser) -> None:
    words = f"what to list (default: everything): {', '.join(LISTS)}"
    parser.add_argument("kind", nargs="?", choices=LISTS, metavar="KIND", help=words)


def listing(options: Namespace) -> int:
    """List units, tasks, rules, experiments, theories or studies, or all of them."""
    from ..outputs import out_to_write, say, show, write_words

    target = out_to_write(options)
    kinds = [options.kind] if options.kind else list(LISTS)
    listed = {kind: LISTS[kind]() for kind in kinds}
    records = {kind: _record(entries) for kind, entries in listed.items()}
    record = records[options.kind] if options.kind else records
    text = "\n\n".join(_text(kind, entries) for kind, entries in listed.items())
    write_words(options, record, text, target, "list")
    show(options, record, text)
    if "experiments" in listed:
        say("saddlery show NAME prints an experiment's file, saddlery new NAME begins your own")
    return DONE


def _record(entries: list[Entry]) -> list[dict[str, Any]]:
    return [{"name": name, "description": words, "options": keys} for name, words, keys in entries]


def _text(kind: str, entries: list[Entry]) -> str:
    from ...basis.records import text_table

    noun = SINGULAR.get(kind, kind.removesuffix("s"))
    columns, rows = (noun, "what it is"), [[name, words] for name, words, _ in entries]
    if any(keys for _, _, keys in entries):
        columns = (noun, "keys", "what it is")
        rows = [[name, ", ".join(keys) or "-", words] for name, words, keys in entries]
    return text_table(columns, rows)


def _units() -> list[Entry]:
    from ... import units

    return [
        (name, _properties(units.make(name).symmetry), units.options(name))
        for name in units.names()
    ]


def _properties(s: Any) -> str:
    kind = f"homogeneous ({s.homogeneous})" if s.homogeneous else ""
    if s.linear:
        kind = "linear in its weights"
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
    import dataclasses

    return {f.name: _default(f) for f in dataclasses.fields(cls)}


def _default(field: Any) -> Any:
    from dataclasses import MISSING

    if field.default_factory is not MISSING:
        return field.default_factory()
    return REQUIRED if field.default is MISSING else field.default


def _tasks() -> list[Entry]:
    from ...tasks import TASKS

    return _classes(TASKS)


def _rules() -> list[Entry]:
    from ...rules import RULES

    return _classes(RULES)


def _theories() -> list[Entry]:
    from ...predictions import THEORIES

    return [(name, first_sentence(theory.__doc__ or ""), {}) for name, theory in THEORIES.items()]


def _studies() -> list[Entry]:
    from ...studies import STUDIES

    return [(name, study.title, {}) for name, study in STUDIES.items()]


def _experiments() -> list[Entry]:
    from .. import shipped

    tables = map(shipped.table_of, shipped.names())
    return [(table["name"], table["description"], {}) for table in tables]


LISTS: dict[str, Callable[[], list[Entry]]] = {
    "units": _units,
    "tasks": _tasks,
    "rules": _rules,
    "experiments": _experiments,
    "theories": _theories,
    "studies": _studies,
}
SINGULAR = {"theories": "theory", "studies": "study"}

COMMAND = Command(
    name="list",
    help="list what experiments are made of",
    example="saddlery list units",
    function=listing,
    options=_options,
    out="also write the list to this file (as JSON with --json)",
    seed="refused, since a list is not random",
    refusal="--seed has no meaning for list, which is not random; leave it out",
)
