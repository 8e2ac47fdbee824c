"""What a command is. Imports nothing heavy."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NamedTuple


def nothing(parser: ArgumentParser) -> None:
    """No options but those that every command takes."""


class Command(NamedTuple):
    """A command, whole: what it is called, what may be typed after it, and what it
    does.

    name: the word that is typed; a shipped command's file has the same name.
    help: what it does, in one line without a full stop.
    example: a command line that runs.
    function: takes the parsed options and returns an exit code (see `codes`).
    out, seed: what --help says of these two, which every command takes, as it takes
        --json.
    refusal: the sentence that refuses a seed where nothing is drawn, in which
        {seed} is the one given; empty where it is taken.
    options: adds whatever else may be typed (see `arguments`).
    epilog: what --help says beside the example.

    Parsing imports the files of all commands, so a file imports what computes
    within its function.
    """

    name: str
    help: str
    example: str
    function: Callable[[Namespace], int]
    out: str
    seed: str
    refusal: str = ""
    options: Callable[[ArgumentParser], None] = nothing
    epilog: str = ""
