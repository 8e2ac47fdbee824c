"""What several commands take: each function adds it to a parser, and each
type reads one word. Imports nothing heavy."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError

from ..basis.echo import shown

LARGEST_SEED = 2**63 - 1

# What --help says of RUN, --out and --seed in more commands than one.
RECORD_OUT = "also write the JSON record to this file"
SEED_OF_RUN = "train RUN, an experiment, with this seed; a finished run folder has its own"
RUN = "a run folder, or an experiment to train first, or DIR#17, run 17 of a sweep"


# -------------------------------------------------------------------- one word
def given(text: str) -> str:
    """A word of any kind; an empty one was not meant."""
    if not text.strip():
        raise ArgumentTypeError("must not be empty; is a variable of the shell unset?")
    if "\0" in text:
        raise ArgumentTypeError(f"must not hold the letter NUL, got {shown(text)}")
    return text


def seed(text: str) -> int:
    """A whole number that files and tables hold."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= LARGEST_SEED:
        raise ArgumentTypeError(f"must be a whole number from 0 to 2^63 - 1, got {shown(text)}")
    return value


def workers(text: str) -> int:
    """How many work at a time."""
    # Its length first: Python refuses to read thousands of digits.
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 10_000:
        raise ArgumentTypeError(f"must be a whole number from 1 to 10000, got {shown(text)}")
    return int(text)


def modules(text: str) -> list[str]:
    """Names of modules, with commas between them."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ArgumentTypeError(
                f"must be names of modules with commas between them, got {shown(text)}"
            )
    return names


# ------------------------------------------------------------ what is added to a parser
def add_experiment(parser: ArgumentParser) -> None:
    """EXPERIMENT, changed by --set (see `subjects.experiment_of`)."""
    parser.add_argument(
        "experiment",
        metavar="EXPERIMENT",
        type=given,
        help="a shipped name (saddlery list experiments) or a TOML file",
    )
    parser.add_argument(
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
    add_imports(parser)


def add_run(parser: ArgumentParser, words: str = RUN) -> None:
    """RUN, where its data are, and what it needs imported (see
    `subjects.run_of`)."""
    parser.add_argument("run", metavar="RUN", type=given, help=words)
    add_data(parser, "run")
    add_imports(parser)
    add_tolerance(parser)


def add_shipped(parser: ArgumentParser) -> None:
    """NAME, a shipped experiment (see `shipped`)."""
    words = "a shipped experiment (saddlery list experiments)"
    parser.add_argument("name", metavar="NAME", type=given, help=words)


def add_data(parser: ArgumentParser, noun: str) -> None:
    words = f"where the data files of the {noun} are now, if moved"
    parser.add_argument("--data", metavar="PATH", type=given, help=words)


def add_imports(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--imports",
        action="extend",
        default=[],
        type=modules,
        metavar="A,B",
        help=(
            "modules to import first, with units, tasks and all else of one's own; those "
            "that a folder names are not"
        ),
    )


def add_tolerance(parser: ArgumentParser) -> None:
    """Other numbers to decide by than the defaults (docs/tolerances.md)."""
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="tolerances",
        help=(
            "decide by another number than the default, for example behind.weights=0.1 "
            "(docs/tolerances.md has all of them); may be repeated"
        ),
    )


def add_page(parser: ArgumentParser, words: str) -> None:
    parser.add_argument("--page", metavar="FILE.html", type=given, help=words)


def add_engine(parser: ArgumentParser) -> None:
    """Where the work is done (see `subjects.engine_of`)."""
    parser.add_argument(
        "--engine",
        type=given,
        default="local",
        metavar="ENGINE",
        help="where: local (processes, the default), here (this process), dask or slurm",
    )
    parser.add_argument(
        "--workers",
        type=workers,
        default=0,
        metavar="N",
        help="how many at a time (default: one a core)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        type=given,
        help="of a Dask cluster to join, tcp://HOST:PORT",
    )
