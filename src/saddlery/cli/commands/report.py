"""`saddlery report`: one page about a run or a sweep."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ...basis.interruptions import endable, finishing
from ..arguments import RUN, SEED_OF_RUN, add_run, given
from ..codes import DONE
from ..command import Command

if TYPE_CHECKING:
    from pathlib import Path


def _options(parser: ArgumentParser) -> None:
    add_run(parser, f"{RUN}; or the folder of a sweep")
    words = "the two fields of a sweep's maps"
    parser.add_argument("--fields", metavar="A,B", type=given, help=words)


@finishing
def report(options: Namespace) -> int:
    """Write the page of a run, or of a sweep."""
    from pathlib import Path

    from ...basis.checks import InputError
    from ...report import write_report
    from ..outputs import file_to_write, out_to_write, say, show
    from ..subjects import after, certified, run_of, stop

    if os.path.exists(Path(options.run) / "sweep.json"):
        return endable(_of_sweep, options)
    if options.fields:
        raise InputError(
            f"--fields is for the page of a sweep, and {options.run} is none; leave it out"
        )
    target = out_to_write(options) or file_to_write(_default_page(options.run))
    run, fresh = run_of(options)
    found, complete = certified(run, fresh)
    if not complete:
        stop(run, fresh, "no page was written")
    after(run, fresh, write_report, found, target, words="no page was written")
    say(f"page in {target}")
    show(options, {"report": str(target)}, str(target))
    return DONE


def _default_page(subject: str) -> Path:
    """Where the page of a run goes: in its folder, in that of its sweep, or
    here."""
    from pathlib import Path

    folder = Path(subject)
    home, mark, number = subject.rpartition("#")
    if mark and os.path.exists(Path(home) / "sweep.json"):
        return Path(home) / f"run{number}.html"
    if os.path.isdir(folder):
        return folder / "report.html"
    return Path(f"{folder.stem}.html")


def _of_sweep(options: Namespace) -> int:
    """Write the page of a sweep."""
    from pathlib import Path

    from ...basis.checks import InputError
    from ...doors.outlets import write_text
    from ...report.sweeps import sweep_page
    from ..outputs import file_to_write, out_to_write, say, show
    from ..subjects import import_given

    folder = Path(options.run)
    if options.seed is not None:
        raise InputError(f"{folder} is a sweep, with seeds of its own; leave --seed out")
    if options.data is not None:
        raise InputError(f"the page of the sweep {folder} needs no data; leave --data out")
    if options.tolerances:
        raise InputError(
            f"the runs of the sweep {folder} were decided when they were made; "
            "leave --tolerance out"
        )
    import_given(options)
    target = out_to_write(options) or file_to_write(folder / "report.html")
    fields = None
    if options.fields:
        fields = [name.strip() for name in options.fields.split(",")]
    write_text(target, sweep_page(folder, fields))
    say(f"page in {target}")
    show(options, {"report": str(target)}, str(target))
    return DONE


COMMAND = Command(
    name="report",
    help="write one self-contained HTML page about a run or a sweep",
    example="saddlery report runs/relu --out relu.html",
    function=report,
    options=_options,
    out=(
        "the HTML file (default: RUN/report.html, NAME.html for an experiment, "
        "DIR/run17.html for DIR#17)"
    ),
    seed=SEED_OF_RUN,
)
