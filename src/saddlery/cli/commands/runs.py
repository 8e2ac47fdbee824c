"""`saddlery runs`: the finished runs of sweeps that meet a condition."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from ..arguments import given
from ..codes import DONE
from ..command import Command

# The printed table of runs has at most so many rows.
SHOWN = 40
# Columns that the printed table shows beside the fields.
USUAL = ("status", "stages", "units", "loss")


def _options(parser: ArgumentParser) -> None:
    words = "folders of sweeps, then a condition on their columns (SQL)"
    parser.add_argument("folders", metavar="DIR", nargs="+", type=given, help=words)
    words = "the columns to show (default: fields and results)"
    parser.add_argument("--columns", metavar="A,B", type=given, help=words)


def runs(options: Namespace) -> int:
    """The runs of one or more sweeps that meet a condition."""
    from ...basis.checks import require
    from ...sweeps import as_records, export, export_place, query, write_rows
    from ..outputs import file_to_write, say, show

    folders, condition = options.folders, ""
    if len(folders) > 1 and not os.path.isdir(folders[-1]):
        *folders, condition = folders
    target = None
    if options.out:
        target = file_to_write(export_place(options.out))
    table = query(folders, condition)
    chosen: Any = table[_columns(options, table)]
    if target and target.suffix.lower() in (".csv", ".json"):
        write_rows(chosen if options.columns else table, target)
    elif target:
        require(
            not options.columns,
            "--columns",
            needed="left out",
            given=options.columns,
            remedy="arrays are written whole",
        )
        export(folders, target, condition)
    if target:
        say(f"{len(table):,} runs in {target}")
    for folder in folders:
        _say_unfinished(folder)
    show(options, as_records(chosen), _text(chosen))
    return DONE


def _say_unfinished(folder: str) -> None:
    """That runs are missing, where a sweep has not come to its end, and how
    it goes on."""
    from shlex import join

    from ...sweeps import kept, read_record
    from ..outputs import as_word, say

    done, wanted = kept(folder), read_record(folder)["runs"]
    if done < wanted:
        there = as_word(folder)
        design = os.path.join(there, "sweep.toml")
        command = ["saddlery", "sweep", design, "--out", there, "--resume"]
        count = f"{done:,} of {wanted:,} runs are there"
        say(f"note: {folder} is not finished, {count}; {join(command)} goes on")


def _text(chosen: Any) -> str:
    """The first rows as a table, and how many there are."""
    from ...basis.records import text_table
    from ...sweeps import as_records

    lines = ["no run"]
    if len(chosen):
        rows = [list(map(_cell, row.values())) for row in as_records(chosen.head(SHOWN))]
        lines = [text_table(list(chosen.columns), rows)]
    if len(chosen) > SHOWN:
        lines.append(f"... {len(chosen) - SHOWN:,} more; --out FILE.csv writes all")
    return "\n".join([*lines, f"{len(chosen):,} runs"])


def _cell(value: Any) -> Any:
    """A number, a word, or a list as it is written."""
    if isinstance(value, list):
        return str(value)
    return value


def _columns(options: Namespace, table: Any) -> list[str]:
    from ...basis.checks import InputError, known

    there = list(table.columns)
    if options.columns:
        named = [known(name.strip(), there, "column") for name in options.columns.split(",")]
        if len(set(named)) < len(named):
            raise InputError(f"--columns must name each column once, got {options.columns}")
        return named
    if options.json:
        return there
    fields = [name for name in there if "." in name]
    return [name for name in ("run", "seed", *fields, *USUAL) if name in there]


COMMAND = Command(
    name="runs",
    help="list the finished runs of sweeps that meet a condition",
    example="saddlery runs sweeps/widths 'width >= 100 and units[2] = 2' --out chosen.csv",
    function=runs,
    options=_options,
    out=(
        "also write the runs to this file: .csv or .json; .nc or .npz for the "
        "arrays of a whole sweep"
    ),
    seed="refused: it is a column",
    refusal="give the seed in the filter, such as 'seed = {seed}', and leave --seed out",
)
