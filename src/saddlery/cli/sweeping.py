"""The commands about sweeps: run one, query its runs, write its page."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..basis.checks import InputError, known, require
from ..basis.interruptions import endable, finishing
from ..basis.text import file_name
from .codes import DONE, NUMERICAL
from .interrupts import check
from .outputs import file_to_write, place_to_write, say, show
from .progress import progress

SHOWN = 40  # rows of a printed table of runs


@finishing
def sweep(options: Namespace) -> int:
    """Run a sweep, or say what it would take."""
    from ..engines import make
    from ..sweeps import kept, plan, run_sweep

    check()
    design = endable(_design, options)
    if options.seed is not None:
        raise InputError(
            "a sweep has its own seeds: set seeds and first_seed in its file, and leave --seed out"
        )
    if options.plan:
        with progress(f"plan {design.name}") as report:
            found = endable(plan, design, report)
        show(options, found.record(), repr(found))
        return DONE
    out = Path(options.out or Path("sweeps") / file_name(design.name))
    place_to_write(out / "sweep.toml")
    engine = make(options.engine, options.workers, engine_options(options, out, design.slurm))
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
        raise KeyboardInterrupt(
            f"interrupted; {kept(out):,} of {len(design):,} runs are kept in "
            f"{out}, --resume goes on"
        ) from None
    show(options, done.record(), repr(done))
    return NUMERICAL if done.failed else DONE


def _design(options: Namespace) -> Any:
    """One's own design, which is trusted with its imports, or the frozen one of a folder, which is
    not."""
    from ..sweeps import Sweep

    import_given(options)
    folder = Path(options.sweep).parent
    frozen = os.path.exists(folder / "sweep.json")
    design = Sweep.load(options.sweep, imports=options.imports if frozen else None)
    if options.data is not None:
        design = design.on(design.experiment.found(folder, data=options.data).task)
    if frozen:
        return design
    return replace(design, imports=tuple(dict.fromkeys((*design.imports, *options.imports))))


def import_given(options: Namespace) -> None:
    """Import the modules that the command line names: those of units, tasks and rules of one's
    own."""
    if options.imports:
        from ..sweeps import import_modules

        import_modules(options.imports)


def engine_options(
    options: Namespace, out: Path, slurm: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The options of the chosen engine; slurm: the [slurm] table of a sweep."""
    if options.scheduler and options.engine != "dask":
        raise InputError(f"--scheduler belongs to --engine dask, got --engine {options.engine}")
    if options.engine == "slurm":
        return {"folder": str(out / "slurm"), **(slurm or {})}
    return {"scheduler": options.scheduler} if options.scheduler else {}


def runs(options: Namespace) -> int:
    """The runs of one or more sweeps that meet a condition."""
    from ..sweeps import as_records, export, export_place, query, write_rows

    words = options.folders
    filtered = len(words) > 1 and not os.path.isdir(words[-1])
    folders, condition = (words[:-1], words[-1]) if filtered else (words, "")
    if options.seed is not None:
        raise InputError(
            f"give the seed in the filter, such as 'seed = {options.seed}', and leave --seed out"
        )
    target = file_to_write(export_place(options.out)) if options.out else None
    table = query(folders, condition)
    columns = _columns(options, table)
    chosen: Any = table[columns]
    if target and target.suffix.lower() in (".csv", ".json"):
        write_rows(chosen if options.columns else table, target)
    elif target:
        require(
            not options.columns,
            "--columns",
            "left out",
            options.columns,
            "arrays are written whole",
        )
        export(folders, target, condition)
    if target:
        say(f"{len(table):,} runs in {target}")
    text = chosen.head(SHOWN).to_string(index=False) if len(table) else "no run"
    more = (
        f"\n... {len(table) - SHOWN:,} more; --out FILE.csv writes all"
        if len(table) > SHOWN
        else ""
    )
    show(options, as_records(chosen), f"{text}{more}\n{len(table):,} runs")
    return DONE


def _columns(options: Namespace, table: Any) -> list[str]:
    if options.columns:
        return [
            known(name.strip(), list(table.columns), "column")
            for name in options.columns.split(",")
        ]
    if options.json:
        return list(table.columns)
    fields = [name for name in table.columns if "." in name]
    return [
        name
        for name in ("run", "seed", *fields, "status", "stages", "units", "loss")
        if name in table.columns
    ]


def sweep_report(options: Namespace) -> int:
    """Write the page of a sweep."""
    from ..doors.outlets import write_text
    from ..report.sweeps import sweep_page

    folder = Path(options.run)
    if options.seed is not None:
        raise InputError(f"{folder} is a sweep, with seeds of its own; leave --seed out")
    if options.data is not None:
        raise InputError(f"the page of the sweep {folder} needs no data; leave --data out")
    target = file_to_write(Path(options.out) if options.out else folder / "report.html")
    fields = [name.strip() for name in options.fields.split(",")] if options.fields else None
    write_text(target, sweep_page(folder, fields))
    say(f"page in {target}")
    show(options, {"report": str(target)}, str(target))
    return DONE
