"""What EXPERIMENT and RUN on the command line mean, and what becomes of a run
whose command is interrupted."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ..basis.checks import InputError
from ..basis.echo import shown
from ..basis.interruptions import endable, giving_up
from ..basis.text import file_name
from .interrupts import check, uninterrupted
from .outputs import say
from .progress import progress

# The number of a run has at most so many digits: Python reads no more of them.
MOST_DIGITS = 18


# -------------------------------------------------------------------- experiments
def import_given(options: Namespace) -> None:
    """Import the modules that the command line names: those of units, tasks
    and rules of one's own."""
    if options.imports:
        from ..sweeps import import_modules

        import_modules(options.imports)


@giving_up
def experiment_of(options: Namespace) -> Any:
    """The experiment of `arguments.add_experiment`, with its changes and its
    seed."""
    from ..experiments.changes import changed, parsed
    from ..experiments.experiment import find, from_table

    import_given(options)
    _refuse_other_files(Path(options.experiment))
    experiment = find(options.experiment)
    if options.changes:
        keys = [change.partition("=")[0].strip() for change in options.changes]
        if options.seed is not None and "seed" in keys:
            raise InputError("the seed is given twice, by --seed and by --set seed; give it once")
        table = changed(experiment.table(), parsed(options.changes), "--set ")
        experiment = from_table(table)
    return _with_seed(experiment, options.seed).pinned()


def _with_seed(experiment: Any, seed: int | None) -> Any:
    """With another seed, where one is given."""
    if seed is None:
        return experiment
    return experiment.replace(seed=seed)


def _refuse_other_files(given: Path) -> None:
    wanted = "EXPERIMENT must be a shipped name or a TOML file"
    if os.path.isdir(given):
        remedy = f"to repeat a run give {given / 'experiment.toml'}"
        raise InputError(f"{wanted}, got the folder {given}; {remedy}")
    if os.path.isfile(given) and given.suffix.lower() != ".toml":
        raise InputError(f"{wanted}, got the file {given}; its name must end in .toml")


def default_folder(experiment: Any) -> Path:
    """Where a run goes that is given no --out."""
    name = file_name(experiment.name)
    return Path("runs") / f"{name}-seed{experiment.seed}-{experiment.identity}"


def trained(experiment: Any) -> Any:
    """The run of an experiment."""
    from ..runs import train as run_experiment

    check()  # imports take seconds, and a signal waits for their end
    with progress(f"train {experiment.name}") as report:
        return run_experiment(
            experiment,
            progress=lambda fraction, loss: report(fraction, f"loss {loss:.3g}"),
            note=lambda words: say(f"note: {words}"),
        )


# ---------------------------------------------------------------------------- runs
def run_of(options: Namespace) -> tuple[Any, bool]:
    """(the run of `arguments.add_run`, whether it was trained only now): a
    stored one, or that of an experiment."""
    import_given(options)
    if os.path.isdir(options.run):
        return _stored(options), False
    folder, mark, place = options.run.rpartition("#")
    if mark and place.isdecimal():
        return _trained_of_sweep(options, folder, place), True
    return _trained_of_experiment(options), True


def _stored(options: Namespace) -> Any:
    """The run of a folder."""
    from ..runs import load_run

    run = load_run(options.run, data=options.data)
    if options.seed not in (None, run.experiment.seed):
        raise InputError(
            f"{options.run} was trained with seed {run.experiment.seed}, got --seed"
            f" {options.seed};"
            " leave it out, or name an experiment to train"
        )
    if run.trajectory.status != "stopped":
        say(
            f"note: this run did not come to its stop ({run.trajectory.reason}); its last "
            "plateau may not be its end"
        )
    return run


def _trained_of_sweep(options: Namespace, folder: str, place: str) -> Any:
    """The run of DIR#17."""
    if options.seed is not None:
        raise InputError(f"run {place} of {folder} has its own seed; leave --seed out")
    if len(place) > MOST_DIGITS:
        raise InputError(
            f"the number of a run must have at most {MOST_DIGITS} digits, got {shown(place)}"
        )
    experiment = _of_sweep(
        Path(folder),
        place=int(place),
        data=options.data,
        imports=options.imports,
    )
    return _whole(trained(experiment))


def _trained_of_experiment(options: Namespace) -> Any:
    """The run of a shipped name or a TOML file."""
    from ..experiments.experiment import find

    if os.path.isfile(options.run) and not options.run.lower().endswith(".toml"):
        raise InputError(
            "RUN must be a run folder or an experiment, got the file "
            f"{options.run}; give its folder"
        )
    try:
        experiment = find(options.run)
    except InputError as error:
        raise InputError(f"RUN must be a run folder or an experiment: {error}") from None
    experiment = experiment.found(data=options.data)
    return _whole(trained(_with_seed(experiment, options.seed)))


def _whole(run: Any) -> Any:
    """A run trained just now; where that was interrupted the command ends."""
    if run.trajectory.status == "interrupted":
        stop(run, fresh=True)
    return run


@giving_up
def _of_sweep(folder: Path, place: int, data: str | None, imports: list[str]) -> Any:
    """Run number `place` of a sweep, as an experiment: the very one that was
    run, where it is done."""
    from ..sweeps import as_written, design_of, query

    design = design_of(folder, data=data, imports=imports)
    experiment = design.experiment_of(place)
    # Version 0.1.0 took the places of data files into the identity: those that the design
    # names, wherever they are now.
    written = as_written(folder / "sweep.toml", imports)
    former = written.experiment_of(place).former_identity
    done = query(folder, f"run = {place}")
    identities = list(done["identity"].dropna()) if len(done) else []
    for identity in identities:
        if identity not in (experiment.identity, former):
            raise InputError(
                f"run {place} of {folder} was experiment {identity}, and this saddlery makes"
                f" {experiment.identity} of"
                " it; use the version that sweep.json names"
            )
    return experiment.replace(name=f"{design.name}-run{place}")


# --------------------------------------------------------------------- interrupted
def stop(run: Any, fresh: bool, words: str = "") -> NoReturn:
    """End by Ctrl-C; a run that is nowhere on disk yet is saved first."""
    from ..runs import save_run

    if not fresh:
        kept = words or "the run folder is as it was"
        raise KeyboardInterrupt(f"interrupted; {kept}")
    out = default_folder(run.experiment)
    if os.path.lexists(out):
        raise KeyboardInterrupt(f"interrupted; {out} exists already, so this run was not saved")
    with uninterrupted():
        save_run(run, out)
    kept = f"the training done so far is saved in {out}"
    if words:
        kept += f", {words}"
    raise KeyboardInterrupt(f"interrupted; {kept}")


def after(
    run: Any,
    fresh: bool,
    work: Callable[..., Any],
    *arguments: Any,
    words: str = "",
) -> Any:
    """What `work` makes of the arguments; where it is interrupted the run
    that it was made for is kept."""
    try:
        return endable(work, *arguments)
    except KeyboardInterrupt:
        stop(run, fresh, words)


def stages_of(run: Any, fresh: bool) -> Any:
    from ..plateaus import stages

    return after(run, fresh, stages, run)


def certified(run: Any, fresh: bool) -> tuple[Any, bool]:
    """(the stages, whether all are certified): stage by stage, so that Ctrl-C
    keeps those that are done."""
    from ..plateaus import certify

    found, done = stages_of(run, fresh), []
    try:
        with progress(f"certify {run.experiment.name}") as report:
            for k, stage in enumerate(found.stages):
                report(k / len(found), f"{stage.kind} stage")
                done += certify(replace(found, stages=(stage,))).stages
    except KeyboardInterrupt:
        left = found.stages[len(done) :]
        return replace(found, stages=(*done, *left)), False
    return replace(found, stages=tuple(done)), True


# ------------------------------------------------------------------------- engines
def engine_of(options: Namespace, out: Path, slurm: Mapping[str, Any] | None = None) -> Any:
    """The engine of `arguments.add_engine`; slurm: the [slurm] table of a
    sweep."""
    from ..engines import make

    _refuse_idle(options)
    chosen: dict[str, Any] = {}
    if options.scheduler:
        chosen = {"scheduler": options.scheduler}
    if options.engine == "slurm":
        chosen = {"folder": str(out / "slurm"), **(slurm or {})}
    return make(options.engine, options.workers, chosen)


def _refuse_idle(options: Namespace) -> None:
    """Raise InputError for what the chosen engine would not look at."""
    if options.scheduler and options.engine != "dask":
        raise InputError(f"--scheduler belongs to --engine dask, got --engine {options.engine}")
    if options.scheduler and options.workers:
        raise InputError("a cluster that is joined has workers of its own; leave --workers out")
    if options.engine == "here" and options.workers > 1:
        raise InputError(
            f"--engine here does one thing at a time, got --workers {options.workers}; "
            "leave it out, or give --engine local"
        )
