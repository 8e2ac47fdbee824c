"""What may be typed, made of the commands. Imports nothing heavy, so that
--help answers at once."""

from __future__ import annotations

import sys
from argparse import (
    Action,
    ArgumentError,
    ArgumentParser,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Iterable
from typing import Any, NoReturn

from ..basis.echo import shown
from .arguments import add_imports, given, seed
from .codes import DONE, INPUT, table
from .command import Command
from .commands import command, commands, names
from .streams import put, say

# Where a namespace keeps which options were given.
GIVEN = "_given"


class Once(Action):
    """An option with one value. A second one would take the place of the
    first in silence."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault(GIVEN, set())
        if option_string and self.dest in given:
            raise ArgumentError(self, "given more than once; give it once")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(ArgumentParser):
    """Errors in one sentence on stderr, exit code 2, with the nearest valid
    word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("action", None, Once)  # where add_argument names no action

    def error(self, message: str) -> NoReturn:
        _, _, missing = message.partition("arguments are required: ")
        if missing:
            message = self._missing(missing.partition(", ")[0])
        if not message.endswith("?"):  # a guess is remedy enough
            message += f"; see {self.prog} --help"
        say(f"saddlery: {message}")
        sys.exit(INPUT)

    def _missing(self, name: str) -> str:
        """That an argument is missing, and what it is where its help says
        so."""
        words = {_name(action): action.help for action in self._actions}.get(name)
        if words:
            return f"{name} is missing, {words}"
        return f"{name} is missing"

    def _check_value(self, action: Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.dest
            if action.option_strings:
                name = _name(action)
            unknown = f"{name} {shown(value)} is not known"
            raise ArgumentError(None, f"{unknown}; {_hint(str(value), action.choices)}")


def _name(action: Action) -> str:
    """An argument as argparse calls it where it is missing."""
    return "/".join(action.option_strings) or str(action.metavar or action.dest)


def _hint(word: str, valid: Iterable[str]) -> str:
    from ..basis.checks import hint

    return hint(word, valid)


def parse(arguments: list[str]) -> tuple[Command, Namespace]:
    """The command and its options; prints help or the version and exits where
    asked, exits 2 on misuse."""
    first, *rest = arguments or [""]
    if first in ("-h", "--help"):
        put(_overview())
        sys.exit(DONE)
    if first == "--version":
        from importlib import metadata

        put(f"saddlery {metadata.version('saddlery')}")
        sys.exit(DONE)
    found, rest = _found(first, rest)
    if found is None:
        Parser(prog="saddlery").error(_no_command(first))
    return _parsed(found, rest)


def _found(first: str, rest: list[str]) -> tuple[Command | None, list[str]]:
    """The command of that name, and the words after it. One of one's own may
    be in a module that --imports names among them: it is imported then, and
    the option is taken away."""
    if first.startswith("-"):
        return None, rest
    found = command(first)
    if found is not None or not any(word.startswith("--imports") for word in rest):
        return found, rest
    own = Parser(prog="saddlery", add_help=False, allow_abbrev=False)
    add_imports(own)
    options, left = own.parse_known_args(rest)
    from .subjects import import_given

    import_given(options)
    return command(first), left


def _no_command(word: str) -> str:
    if not word:
        return "a command is needed: " + ", ".join(names())
    if word.startswith("-"):
        return f"the command comes first, then {shown(word)}: saddlery COMMAND [options]"
    own = "one of your own is known with --imports MODULE"
    return f"command {shown(word)} is not known; {_hint(word, names())} ({own})"


def _overview() -> str:
    """What --help shows where no command is named."""
    top = Parser(
        prog="saddlery",
        usage="saddlery [--help] [--version] COMMAND ...",
        description="Train, find the plateaus, certify the saddles, name the smaller network.",
        epilog=f"example: saddlery tour\n\n{table()}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    listed = top.add_argument_group("commands", "(saddlery COMMAND --help says more of each)")
    for name, one in commands().items():
        listed.add_argument(name, help=_plain(one.help))
    return top.format_help().rstrip("\n")


def _plain(words: str) -> str:
    """Words of a command for argparse, which would fill in what follows a
    percent sign."""
    return words.replace("%", "%%")


def _parsed(chosen: Command, arguments: list[str]) -> tuple[Command, Namespace]:
    parser = parser_of(chosen)
    options, rest = parser.parse_known_args(arguments)
    vars(options).pop(GIVEN, None)
    if rest:
        _refuse(parser, rest[0])
    return chosen, options


def parser_of(one: Command) -> Parser:
    """The parser of a command: its own options, and those that every command
    takes."""
    below = [one.epilog] if one.epilog else []
    below += [f"example: {one.example}", table()]
    parser = Parser(
        prog=f"saddlery {one.name}",
        description=f"{one.help[0].upper()}{one.help[1:]}.",
        epilog="\n\n".join(below),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    one.options(parser)
    parser.add_argument("--json", action="store_true", help="print the record as JSON on stdout")
    parser.add_argument("--out", metavar="PATH", type=given, help=_plain(one.out))
    parser.add_argument("--seed", type=seed, metavar="N", help=_plain(one.seed))
    return parser


def _refuse(parser: Parser, word: str) -> NoReturn:
    """Something is left that no argument took."""
    if not word.startswith("-"):
        parser.error(
            f"{shown(word)} is one word too many; run the command once for each, and "
            "quote a path with spaces"
        )
    option = word.partition("=")[0]
    valid = [name for name in parser._option_string_actions if name.startswith("--")]
    parser.error(f"option {shown(option)} is not known; {_hint(option, valid)}")
