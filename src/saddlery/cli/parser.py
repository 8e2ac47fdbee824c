"""What may be typed. Imports nothing heavy, so that --help answers at once."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import NoReturn

from ..basis.echo import shown
from .codes import INPUT, table
from .streams import put, say

KINDS = (
    *("units", "tasks", "losses", "initializations", "rules", "experiments"),
    *("observables", "theories", "studies", "figures", "engines"),
)
LARGEST_SEED = 2**63 - 1
HELP = {
    "tour": (
        (
            "train and certify the six networks of the paper and one on real data; writes "
            "index.html, summary.json and runs/"
        ),
        "saddlery tour --out tour",
    ),
    "train": (
        "train an experiment (a shipped name or a TOML file) and save its run folder",
        "saddlery train relu --seed 3 --set network.layers.0.width=20 --out runs/relu",
    ),
    "stages": (
        "find the plateaus of a run and the effective units on each",
        "saddlery stages runs/relu",
    ),
    "certify": (
        "certify the fixed point behind every plateau of a run",
        "saddlery certify runs/relu --json",
    ),
    "predict": (
        "say beforehand which stages theory expects of an experiment, and when",
        "saddlery predict linear --set initialization.scale=1e-6",
    ),
    "compare": (
        "put prediction and measurement of a run side by side",
        "saddlery compare runs/linear --page beside.html",
    ),
    "graph": (
        "find the saddles that can be reached from the origin, and what connects them",
        "saddlery graph relu --page relu.html",
    ),
    "study": (
        (
            "measure the claims of a study, or of all; writes index.html and claims.json, "
            "and goes on where it stopped"
        ),
        "saddlery study theorem4 --out studies",
    ),
    "sweep": (
        (
            "run an experiment over seeds and a grid or random design of its fields, stored so "
            "that nothing finished is lost"
        ),
        "saddlery sweep widths.toml --out sweeps/widths --workers 2",
    ),
    "runs": (
        "list the finished runs of sweeps that meet a condition",
        "saddlery runs sweeps/widths 'width >= 100 and units[2] = 2' --out chosen.csv",
    ),
    "report": (
        "write one self-contained HTML page about a run or a sweep",
        "saddlery report runs/relu --out relu.html",
    ),
    "list": ("list what experiments are made of", "saddlery list units"),
}
OUTS = {
    "tour": (
        "folder of the tour (default: tour); an earlier tour there is "
        "replaced, anything else refused"
    ),
    "train": "run folder (default: runs/NAME-seedSEED-ID); must not exist",
    "stages": "also write the JSON record to this file",
    "certify": "file of the JSON record (default: RUN/stages.json if RUN is a folder)",
    "predict": "also write the JSON record to this file",
    "compare": "also write the JSON record to this file",
    "graph": "also write the JSON record to this file",
    "study": (
        "folder of the studies (default: studies); what was measured there "
        "before is not measured again"
    ),
    "sweep": "folder of the sweep (default: sweeps/NAME); finished runs there are never made again",
    "runs": (
        "also write the runs to this file: .csv or .json; .nc or .npz for the "
        "arrays of a whole sweep"
    ),
    "report": "the HTML file (default: RUN/report.html, or NAME.html for an experiment)",
    "list": "also write the list to this file (as JSON with --json)",
}
PAGES = {
    "compare": "also write one self-contained HTML page, a figure and a table for each theory",
    "graph": "also write one self-contained HTML page, a figure and tables",
}
OF_RUN = "train RUN, an experiment, with this seed; a finished run folder has its own"
SEEDS = {
    "tour": "seed of every experiment (default: each one's own)",
    "train": (
        "seed of the data, the initial weights and the batches (default: the experiment's own)"
    ),
    "stages": OF_RUN,
    "certify": OF_RUN,
    "predict": "seed of the data and the initial weights (default: the experiment's own)",
    "compare": OF_RUN,
    "graph": "seed of the data (default: the experiment's own)",
    "study": "refused, since a study has its own seeds",
    "sweep": "refused, since a sweep has its own seeds",
    "runs": "refused: it is a column",
    "report": OF_RUN,
    "list": "refused, since a list is not random",
}


class Parser(argparse.ArgumentParser):
    """Errors in one sentence on stderr, exit code 2, with the nearest valid word."""

    def error(self, message: str) -> NoReturn:
        _, _, names = message.partition("arguments are required: ")
        if names:
            help_of = {str(a.metavar): a.help for a in self._actions}
            message = f"{names} is missing, {help_of[names]}"
        more = "" if message.endswith("?") else f"; see {self.prog} --help"
        say(f"saddlery: {message}{more}")
        sys.exit(INPUT)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            noun = "command" if action.dest == "command" else str(action.dest)
            raise argparse.ArgumentError(
                None, f"{noun} {shown(value)} is not known; {hint(str(value), action.choices)}"
            )


def hint(word: str, words: object) -> str:
    """The nearest valid word, or all of them."""
    valid = [str(w) for w in words]  # type: ignore[attr-defined]
    close = difflib.get_close_matches(word[:80], valid, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(valid)}"


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to 2^63 - 1, got {shown(text)}"
        )
    return value


def _workers(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to 10000, got {shown(text)}"
        )
    return int(text)


def _given(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty; is a variable of the shell unset?")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"must not hold the letter NUL, got {shown(text)}")
    return text


def build() -> tuple[Parser, dict[str, Parser]]:
    """The whole parser, and the parser of each command."""
    top = Parser(
        prog="saddlery",
        description="Train, find the plateaus, certify the saddles, name the smaller network.",
        epilog=f"example: saddlery tour\n\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, (words, example) in HELP.items():
        sub = parsers[name] = commands.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"example: {example}\n\n{table()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _subject(sub, name)
        if name in PAGES:
            sub.add_argument("--page", metavar="FILE.html", type=_given, help=PAGES[name])
        sub.add_argument("--json", action="store_true", help="print the record as JSON on stdout")
        sub.add_argument("--out", metavar="PATH", type=_given, help=OUTS[name])
        sub.add_argument("--seed", type=_seed, metavar="N", help=SEEDS[name])
    return top, parsers


def _subject(sub: argparse.ArgumentParser, name: str) -> None:
    if name in ("train", "predict", "graph"):
        sub.add_argument(
            "experiment",
            metavar="EXPERIMENT",
            type=_given,
            help="a shipped name (saddlery list experiments) or a TOML file",
        )
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="changes",
            help=(
                "change one entry, a dotted path and a TOML value, for example "
                "initialization.scale=1e-5; may be repeated"
            ),
        )
        _add_imports(sub)
    elif name == "study":
        sub.add_argument(
            "study",
            metavar="STUDY",
            nargs="?",
            type=_given,
            help="its name (saddlery list studies)",
        )
        sub.add_argument("--all", action="store_true", help="every study")
        sub.add_argument(
            "--full",
            action="store_true",
            help="the full number of seeds, not that of a minute or two",
        )
        _add_imports(sub)
        _add_engine(sub)
    elif name == "sweep":
        sub.add_argument(
            "sweep", metavar="SWEEP.toml", type=_given, help="the design (docs/sweeps.md)"
        )
        sub.add_argument(
            "--plan",
            action="store_true",
            help="say what it will take, from a few of its runs, and stop",
        )
        sub.add_argument(
            "--resume", action="store_true", help="go on with the same sweep in its folder"
        )
        sub.add_argument("--yes", action="store_true", help="more than a million runs are meant")
        _add_data(sub, "sweep")
        _add_imports(sub)
        _add_engine(sub)
    elif name == "runs":
        sub.add_argument(
            "folders",
            metavar="DIR",
            nargs="+",
            type=_given,
            help="folders of sweeps, then a condition on their columns (SQL)",
        )
        sub.add_argument(
            "--columns",
            metavar="A,B",
            type=_given,
            help="the columns to show (default: fields and results)",
        )
    elif name == "list":
        sub.add_argument(
            "kind", choices=KINDS, metavar="KIND", help="what to list: " + ", ".join(KINDS)
        )
        _add_imports(sub)
    elif name != "tour":
        words = "a run folder, or an experiment to train first, or DIR#17, run 17 of a sweep"
        if name == "report":
            words += "; or the folder of a sweep"
            sub.add_argument(
                "--fields", metavar="A,B", type=_given, help="the two fields of a sweep's maps"
            )
        sub.add_argument("run", metavar="RUN", type=_given, help=words)
        _add_data(sub, "run")
        _add_imports(sub)


def _add_data(sub: argparse.ArgumentParser, noun: str) -> None:
    words = f"where the data files of the {noun} are now, if moved"
    sub.add_argument("--data", metavar="PATH", type=_given, help=words)


def _add_imports(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--imports",
        action="extend",
        default=[],
        type=_modules,
        metavar="A,B",
        help=(
            "modules to import first, with units, tasks and all else of one's own; those "
            "that a folder names are not"
        ),
    )


def _modules(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise argparse.ArgumentTypeError(
                f"must be names of modules with commas between them, got {shown(text)}"
            )
    return names


def _add_engine(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--engine",
        type=_given,
        default="local",
        metavar="ENGINE",
        help="where: local (processes, the default), here (this process), dask or slurm",
    )
    sub.add_argument(
        "--workers",
        type=_workers,
        default=0,
        metavar="N",
        help="how many at a time (default: one a core)",
    )
    sub.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        type=_given,
        help="of a Dask cluster to join, tcp://HOST:PORT",
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; prints help or the version and exits where asked, exits 2 on misuse."""
    parser, parsers = build()
    if (
        arguments
        and arguments[0].startswith("-")
        and arguments[0] not in ("-h", "--help", "--version")
    ):
        parser.error(
            f"the command comes first, then {shown(arguments[0])}: saddlery COMMAND [options]"
        )
    options, rest = parser.parse_known_args(arguments)
    if options.version:
        from importlib import metadata

        put(f"saddlery {metadata.version('saddlery')}")
        sys.exit(0)
    if options.command is None:
        parser.error("a command is needed: " + ", ".join(HELP))
    if rest:
        _refuse(parsers[options.command], rest[0])
    return options


def _refuse(sub: Parser, word: str) -> NoReturn:
    """Something is left that no argument took."""
    if not word.startswith("-"):
        sub.error(
            f"{shown(word)} is one word too many; run the command once for each, and "
            "quote a path with spaces"
        )
    valid = [option for option in sub._option_string_actions if option.startswith("--")]
    sub.error(
        f"option {shown(word.partition('=')[0])} is not known; "
        f"{hint(word.partition('=')[0], valid)}"
    )
