"""What may be typed. Imports nothing heavy, so that --help answers at once."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import NoReturn

CODES = "exit codes: 0 done, 1 numerical failure, 2 bad input, 3 storage, 4 unexpected, 130 interrupted"
KINDS = ("units", "tasks", "rules", "experiments")
HELP = {
    "tour": (
        "train and certify the six networks of the paper and one on real data; writes index.html and summary.json",
        "saddlery tour --out tour",
    ),
    "train": (
        "train an experiment (a shipped name or a TOML file) and save its run folder",
        "saddlery train relu --seed 3 --set network.layers.0.width=20 --out runs/relu",
    ),
    "stages": ("find the plateaus of a run and the effective units on each", "saddlery stages runs/relu"),
    "certify": ("certify the fixed point behind every plateau of a run", "saddlery certify runs/relu --json"),
    "report": ("write one self-contained HTML page about a run", "saddlery report runs/relu --out relu.html"),
    "list": ("list what experiments are made of", "saddlery list units"),
}
OUTS = {
    "tour": "folder of the tour (default: tour)",
    "train": "run folder (default: runs/NAME-seedSEED-ID)",
    "stages": "also write the JSON record to this file",
    "certify": "file of the JSON record (default: RUN/stages.json)",
    "report": "the HTML file (default: RUN/report.html)",
    "list": "write the list to this file",
}


class Parser(argparse.ArgumentParser):
    """Errors in one sentence on stderr, exit code 2, with the nearest valid word."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"saddlery: {message}; see {self.prog} --help\n")
        sys.exit(2)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            words = [str(c) for c in action.choices]
            close = difflib.get_close_matches(str(value), words, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(words)}"
            raise argparse.ArgumentError(None, f"{value!r} is not known; {hint}")


def build() -> Parser:
    """The whole parser."""
    top = Parser(
        prog="saddlery",
        description="Train, find the plateaus, certify the saddles, name the smaller network.",
        epilog=f"example: saddlery tour\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, (words, example) in HELP.items():
        sub = commands.add_parser(
            name,
            help=words,
            description=words,
            epilog=f"example: {example}\n{CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _subject(sub, name)
        sub.add_argument("--json", action="store_true", help="print the record as JSON on stdout")
        sub.add_argument("--out", metavar="PATH", help=OUTS[name])
        sub.add_argument("--seed", type=int, metavar="N", help="replace the experiment's seed")
    return top


def _subject(sub: argparse.ArgumentParser, name: str) -> None:
    if name == "train":
        sub.add_argument(
            "experiment", metavar="EXPERIMENT", help="a shipped name (saddlery list experiments) or a TOML file"
        )
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="changes",
            help="change one entry, a dotted path and a TOML value; may be given more than once",
        )
    elif name == "list":
        sub.add_argument("kind", choices=KINDS, metavar="{" + ",".join(KINDS) + "}", help="what to list")
    elif name != "tour":
        sub.add_argument("run", metavar="RUN", help="a run folder, or an experiment to train first")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; prints help or the version and exits where asked, exits 2 on misuse."""
    parser = build()
    options = parser.parse_args(arguments)
    if options.version:
        from importlib import metadata

        sys.stdout.write(f"saddlery {metadata.version('saddlery')}\n")
        sys.exit(0)
    if options.command is None:
        parser.error("a command is needed: " + ", ".join(HELP))
    return options
