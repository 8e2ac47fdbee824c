"""`saddlery list`: what experiments are made of, read from the registries
themselves."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any

from ..arguments import add_imports
from ..codes import DONE
from ..command import Command

Entry = tuple[str, str, Mapping[str, Any]]  # name, description, options with their defaults
REQUIRED = "required"


def _options(parser: ArgumentParser) -> None:
    words = f"what to list (default: everything): {', '.join(LISTS)}"
    parser.add_argument("kind", nargs="?", choices=LISTS, metavar="KIND", help=words)
    add_imports(parser)


def listing(options: Namespace) -> int:
    """List the members of a family, units, tasks, losses and all else that
    has a name, or of all."""
    from ...basis.families import left_out
    from ..outputs import out_to_write, say, show, write_words
    from ..subjects import import_given

    target = out_to_write(options)
    import_given(options)
    kinds = [options.kind] if options.kind else list(LISTS)
    listed = {kind: LISTS[kind]() for kind in kinds}
    record: Any = {kind: _record(entries) for kind, entries in listed.items()}
    if options.kind:
        record = record[options.kind]
    text = "\n\n".join(_text(kind, entries) for kind, entries in listed.items())
    for words in left_out():
        say(f"note: {words}")
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
    if not any(keys for _, _, keys in entries):
        return text_table((noun, "what it is"), [[name, words] for name, words, _ in entries])
    rows = [[name, ", ".join(keys) or "-", words] for name, words, keys in entries]
    return text_table((noun, "keys", "what it is"), rows)


def _units() -> list[Entry]:
    from ... import units

    found = []
    for name in units.names():
        words = _properties(units.make(name).symmetry)
        found.append((name, words, units.options(name)))
    return found


def _properties(symmetry: Any) -> str:
    silent = "no silent point"
    if symmetry.degree:
        silent = f"leading degree {symmetry.degree}"
    if symmetry.linear:
        return f"linear in its weights, {silent}"
    if symmetry.homogeneous:
        return f"homogeneous ({symmetry.homogeneous}), {silent}"
    return silent


def _classes(classes: Mapping[str, type]) -> list[Entry]:
    found = []
    for name, cls in sorted(classes.items()):
        found.append((name, first_sentence(cls.__doc__ or ""), _keys(cls)))
    return found


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a word.

    Example
    -------
    >>> from saddlery.cli.commands.list import first_sentence
    >>> first_sentence("Weights N(0, 0.1^2), ... and no bias. Then\\nmore.")
    'Weights N(0, 0.1^2), ... and no bias.'
    """
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    found = re.match(r".*?[^\s.]\.(?=\s|$)", paragraph)
    if found is None:
        return paragraph
    return found.group()


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

    return _functions(THEORIES)


def _initializations() -> list[Entry]:
    from ...initializations import INITIALIZATIONS

    return _functions(INITIALIZATIONS)


def _figures() -> list[Entry]:
    from ...plots import FIGURES

    return _functions(FIGURES)


def _engines() -> list[Entry]:
    from ...engines import ENGINES

    return _functions(ENGINES)


def _losses() -> list[Entry]:
    from ...networks.losses import LOSSES

    return _functions({name: loss.function for name, loss in LOSSES.items()})


def _observables() -> list[Entry]:
    from ...networks.observables import OBSERVABLES

    return _functions({name: one.function for name, one in OBSERVABLES.items()})


def _commands() -> list[Entry]:
    from . import commands

    return [(name, one.help, {}) for name, one in commands().items()]


def _functions(members: Mapping[str, Any]) -> list[Entry]:
    return [(name, first_sentence(made.__doc__ or ""), {}) for name, made in members.items()]


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
    "losses": _losses,
    "initializations": _initializations,
    "rules": _rules,
    "experiments": _experiments,
    "observables": _observables,
    "theories": _theories,
    "studies": _studies,
    "figures": _figures,
    "engines": _engines,
    "commands": _commands,
}
SINGULAR = {"losses": "loss", "theories": "theory", "studies": "study"}

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
