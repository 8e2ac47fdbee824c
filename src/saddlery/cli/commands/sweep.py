"""`saddlery sweep`: thousands of runs of one experiment, stored so that
nothing finished is lost."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from ...basis.interruptions import endable, finishing
from ...basis.text import file_name
from ..arguments import add_data, add_engine, add_imports, given
from ..codes import DONE, NUMERICAL
from ..command import Command


def _options(parser: ArgumentParser) -> None:
    words = "the design (docs/sweeps.md)"
    parser.add_argument("sweep", metavar="SWEEP.toml", type=given, help=words)
    words = "say what it will take, from a few of its runs, and stop"
    parser.add_argument("--plan", action="store_true", help=words)
    words = "go on with the same sweep in its folder"
    parser.add_argument("--resume", action="store_true", help=words)
    parser.add_argument("--yes", action="store_true", help="more than a million runs are meant")
    add_data(parser, "sweep")
    add_imports(parser)
    add_engine(parser)


@finishing
def sweep(options: Namespace) -> int:
    """Run a sweep, or say what it would take."""
    from pathlib import Path

    from ...sweeps import kept, plan, run_sweep
    from ..interrupts import check
    from ..outputs import place_to_write, show
    from ..progress import progress
    from ..subjects import engine_of

    check()
    design = endable(_design, options)
    if options.plan:
        with progress(f"plan {design.name}") as report:
            found = endable(plan, design, report)
        show(options, found.record(), repr(found))
        return DONE
    out = Path(options.out or Path("sweeps") / file_name(design.name))
    place_to_write(out / "sweep.toml")
    engine = engine_of(options, out, design.slurm)
    try:
        with progress(f"sweep {design.name}") as report:
            work = partial(
                run_sweep,
                engine=engine,
                resume=options.resume,
                confirmed=options.yes,
                progress=report,
            )
            done = endable(work, design, out)
    except KeyboardInterrupt:
        runs = f"{kept(out):,} of {len(design):,} runs"
        words = f"interrupted; {runs} are kept in {out}, --resume goes on"
        raise KeyboardInterrupt(words) from None
    show(options, done.record(), repr(done))
    return NUMERICAL if done.failed else DONE


def _design(options: Namespace) -> Any:
    """One's own design, which is trusted with its imports, or the frozen one
    of a folder, which is not."""
    from dataclasses import replace
    from pathlib import Path

    from ...sweeps import Sweep
    from ..subjects import import_given

    import_given(options)
    folder = Path(options.sweep).parent
    frozen = os.path.exists(folder / "sweep.json")
    design = Sweep.load(options.sweep, imports=options.imports if frozen else None)
    if options.data is not None:
        experiment = design.experiment.found(folder, data=options.data)
        design = design.on(experiment.task)
    if frozen:
        return design
    imports = dict.fromkeys((*design.imports, *options.imports))  # each once, in order
    return replace(design, imports=tuple(imports))


COMMAND = Command(
    name="sweep",
    help=(
        "run an experiment over seeds and a grid or random design of its fields, stored so "
        "that nothing finished is lost"
    ),
    example="saddlery sweep widths.toml --out sweeps/widths --workers 2",
    function=sweep,
    options=_options,
    out="folder of the sweep (default: sweeps/NAME); finished runs there are never made again",
    seed="refused, since a sweep has its own seeds",
    refusal=(
        "a sweep has its own seeds: set seeds and first_seed in its file, and leave --seed out"
    ),
)
