"""The commands. Each takes parsed options, holds no mathematics, and returns an exit code."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from ..basis.checks import InputError, known
from ..basis.interruptions import endable, finishing, giving_up
from ..basis.records import plain
from ..basis.text import file_name
from .codes import DONE, INTERRUPTED, NUMERICAL
from .interrupts import asked, check, uninterrupted
from .listing import listing
from .outputs import file_to_write, place_to_write, say, show
from .progress import progress
from .sweeping import engine_options, import_given, runs, sweep, sweep_report


# -------------------------------------------------------------------- train
@finishing
def train(options: Namespace) -> int:
    """Train an experiment and save its run folder, also when Ctrl-C ends it early."""
    from ..doors.outlets import refuse_existing
    from ..runs import save_run

    experiment = _experiment(options)
    out = Path(options.out) if options.out else _default_folder(experiment)
    refuse_existing(out)
    place_to_write(out)
    run = _trained(experiment)
    with uninterrupted():
        save_run(run, out)
        interrupted = run.trajectory.status == "interrupted" or asked()
        say(
            f"interrupted; what was finished is saved in {out}"
            if interrupted
            else f"saved in {out}"
        )
        show(options, _run_record(run, out), repr(run))
    return INTERRUPTED if interrupted else DONE


@giving_up
def _experiment(options: Namespace) -> Any:
    from ..experiments.changes import changed, parsed
    from ..experiments.experiment import find, from_table

    import_given(options)
    given = Path(options.experiment)
    if os.path.isdir(given) or (os.path.isfile(given) and given.suffix.lower() != ".toml"):
        kind, remedy = (
            ("folder", f"to repeat a run give {given / 'experiment.toml'}")
            if os.path.isdir(given)
            else ("file", "its name must end in .toml")
        )
        raise InputError(
            f"EXPERIMENT must be a shipped name or a TOML file, got the {kind} {given}; {remedy}"
        )
    experiment = find(options.experiment)
    if options.changes:
        if options.seed is not None and any(
            change.partition("=")[0].strip() == "seed" for change in options.changes
        ):
            raise InputError("the seed is given twice, by --seed and by --set seed; give it once")
        experiment = from_table(changed(experiment.table(), parsed(options.changes), "--set "))
    return (experiment if options.seed is None else experiment.replace(seed=options.seed)).pinned()


def _default_folder(experiment: Any) -> Path:
    return (
        Path("runs") / f"{file_name(experiment.name)}-seed{experiment.seed}-{experiment.identity}"
    )


def _trained(experiment: Any) -> Any:
    from ..runs import train as run_experiment

    check()  # imports take seconds, and a signal waits for their end
    with progress(f"train {experiment.name}") as report:
        shown = lambda fraction, loss: report(fraction, f"loss {loss:.3g}")
        return run_experiment(experiment, progress=shown, note=lambda words: say(f"note: {words}"))


def _run_record(run: Any, out: Path) -> dict[str, Any]:
    kept = run.record()
    which = {name: kept[name] for name in ("experiment", "identity", "seed")}
    return {**which, "folder": str(out), **kept}


# ---------------------------------------------------------- stages, certify, report
def _run_of(options: Namespace) -> tuple[Any, bool]:
    """(a run, whether it was trained only now): a stored one, or that of an experiment."""
    from ..experiments.experiment import find
    from ..runs import load_run

    import_given(options)
    if os.path.isdir(options.run):
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
        return run, False
    folder, mark, place = options.run.rpartition("#")
    if mark and place.isdecimal():
        if options.seed is not None:
            raise InputError(f"run {place} of {folder} has its own seed; leave --seed out")
        return _trained(_of_sweep(Path(folder), int(place), options.data, options.imports)), True
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
    run = _trained(experiment if options.seed is None else experiment.replace(seed=options.seed))
    if run.trajectory.status == "interrupted":
        _stop(run, True)
    return run, True


@giving_up
def _of_sweep(folder: Path, place: int, data: str | None, imports: list[str]) -> Any:
    """Run number `place` of a sweep, as an experiment: the very one that was run, where it is
    done."""
    from ..sweeps import as_written, design_of, query

    design = design_of(folder, data=data, imports=imports)
    experiment = design.experiment_of(place)
    # version 0.1.0 took the places of data files into the identity: those that the design names,
    # wherever they are now
    former = as_written(folder / "sweep.toml", imports).experiment_of(place).former_identity
    done = query(folder, f"run = {place}")
    for identity in done["identity"].dropna() if len(done) else ():
        if identity not in (experiment.identity, former):
            raise InputError(
                f"run {place} of {folder} was experiment {identity}, and this saddlery makes"
                f" {experiment.identity} of"
                " it; use the version that sweep.json names"
            )
    return experiment.replace(name=f"{design.name}-run{place}")


def _stop(run: Any, fresh: bool, words: str = "") -> NoReturn:
    """End by Ctrl-C; a run that is nowhere on disk yet is saved first."""
    from ..runs import save_run

    kept = words or "the run folder is as it was"
    if fresh:
        out = _default_folder(run.experiment)
        if os.path.lexists(out):
            kept = f"{out} exists already, so this run was not saved"
        else:
            with uninterrupted():
                save_run(run, out)
            kept = f"the training done so far is saved in {out}" + (f", {words}" if words else "")
    raise KeyboardInterrupt(f"interrupted; {kept}")


def _after(
    run: Any, fresh: bool, work: Callable[..., Any], *arguments: Any, words: str = ""
) -> Any:
    """What `work` makes of the arguments; where it is interrupted the run that it was made for is
    kept."""
    try:
        return endable(work, *arguments)
    except KeyboardInterrupt:
        _stop(run, fresh, words)


def _stages(run: Any, fresh: bool) -> Any:
    from ..plateaus import stages as find_stages

    return _after(run, fresh, find_stages, run)


def _certified(run: Any, fresh: bool) -> tuple[Any, bool]:
    """(the stages, whether all are certified): stage by stage, so that Ctrl-C keeps those that are
    done."""
    from ..plateaus import certify as certify_stages

    found, done = _stages(run, fresh), []
    try:
        with progress(f"certify {run.experiment.name}") as report:
            for k, stage in enumerate(found.stages):
                report(k / len(found), f"{stage.kind} stage")
                done += certify_stages(replace(found, stages=(stage,))).stages
    except KeyboardInterrupt:
        return replace(found, stages=(*done, *found.stages[len(done) :])), False
    return replace(found, stages=tuple(done)), True


def _record(found: Any) -> dict[str, Any]:
    return {"runs": [found.record()]}


def _write(record: dict[str, Any], target: Path | None) -> None:
    from ..doors.outlets import write_text

    if target is not None:
        write_text(target, json.dumps(plain(record), indent=1))
        say(f"record in {target}")


@finishing
def stages(options: Namespace) -> int:
    """Find the plateaus and the effective units on each."""
    target = file_to_write(Path(options.out)) if options.out else None
    found = _stages(*_run_of(options))
    _write(_record(found), target)
    show(options, _record(found), repr(found))
    return DONE


@finishing
def certify(options: Namespace) -> int:
    """Certify the fixed point behind every plateau; the record also goes into the run folder."""
    from ..plateaus.earlier import changed_verdicts, read_stages

    folder = Path(options.run)
    target = Path(options.out) if options.out else None
    if target is None and os.path.isdir(folder):
        target = folder / "stages.json"
    if target is not None:
        file_to_write(target)
    before = read_stages(target) if target is not None else None
    run, fresh = _run_of(options)
    found, complete = _certified(run, fresh)
    if not complete and not any(stage.certificate for stage in found.stages):
        _stop(run, fresh)
    with uninterrupted():
        for words in changed_verdicts(before, found):
            say(f"note: {words} ({target}); CHANGELOG.md says what changed between versions")
        if complete or (target is not None and not os.path.isfile(target)):
            _write(_record(found), target)
        done = [stage for stage in found.stages if stage.certificate]
        reasons = "\n".join(f"{stage.kind}: {stage.certificate.reason}" for stage in done)
        show(options, _record(found), f"{found!r}\n\n{reasons}".rstrip())
        if not complete:
            _stop(run, fresh, f"{len(done)} of {len(found)} stages are certified")
    return DONE


def predict(options: Namespace) -> int:
    """Say which stages every theory that applies expects."""
    from ..predictions import predict as predict_stages

    target = file_to_write(Path(options.out)) if options.out else None
    experiment = _experiment(options)
    found = predict_stages(experiment)
    predictions = [p.record() for p in found]
    record = {
        "experiment": experiment.name,
        "seed": experiment.seed,
        "predictions": predictions,
        "outside": found.outside,
    }
    _write(record, target)
    show(options, record, "\n\n".join([*map(repr, found), *found.outside]))
    return DONE


@finishing
def compare(options: Namespace) -> int:
    """Put every prediction that applies beside a run."""
    from ..predictions import compare as put_beside
    from ..predictions import predict as predict_stages
    from ..report import comparisons_page

    target, page = (
        file_to_write(Path(options.out)) if options.out else None,
        _page_to_write(options),
    )
    run, fresh = _run_of(options)
    predictions = _after(run, fresh, predict_stages, run.experiment)
    found = _stages(run, fresh)
    compared = [_after(run, fresh, put_beside, prediction, found) for prediction in predictions]
    record = {"comparisons": [c.record() for c in compared]}
    _write(record, target)
    _after(run, fresh, _write_page, page, lambda: comparisons_page(compared))
    show(options, record, "\n\n".join(map(repr, compared)))
    return DONE


def graph(options: Namespace) -> int:
    """Find the saddles of an experiment and what connects them."""
    from ..plateaus import saddle_graph
    from ..report import graph_page

    target, page = (
        file_to_write(Path(options.out)) if options.out else None,
        _page_to_write(options),
    )
    experiment = _experiment(options)
    with progress(f"graph {experiment.name}") as report_progress:
        found = saddle_graph(
            experiment, progress=lambda left, of: report_progress(left / of, f"{of} fixed points")
        )
    record = {"experiment": experiment.name, "seed": experiment.seed, **found.record()}
    _write(record, target)
    _write_page(page, lambda: graph_page(found, experiment))
    show(options, record, repr(found))
    return DONE


def _page_to_write(options: Namespace) -> Path | None:
    """Where the page goes, found out before the work: a file of its own, and matplotlib to draw
    it."""
    if not options.page:
        return None
    from ..plots import new_axes

    if options.out and Path(options.out).absolute() == Path(options.page).absolute():
        raise InputError(
            f"--out and --page both name {options.page}; give the page a file of its own"
        )
    new_axes()
    return file_to_write(Path(options.page))


def _write_page(target: Path | None, text: Callable[[], str]) -> None:
    from ..doors.outlets import write_text

    if target is not None:
        write_text(target, text())
        say(f"page in {target}")


@finishing
def study(options: Namespace) -> int:
    """Measure and judge the claims of one study or of all."""
    from ..doors.outlets import write_text
    from ..engines import make
    from ..report.studies import studies_page
    from ..studies import STUDIES, run_study, write_claims

    if options.seed is not None:
        raise InputError("a study has its own seeds; leave --seed out")
    if options.all == (options.study is not None):
        raise InputError("name one study or give --all; see `saddlery list studies`")
    names = list(STUDIES) if options.all else [known(options.study, STUDIES, "study")]
    out = Path(options.out or "studies")
    place_to_write(out / "claims.json")
    engine, outcomes = make(options.engine, options.workers, engine_options(options, out)), []
    for name in names:
        with progress(f"study {name}") as report_progress:
            study, folder = STUDIES[name], (out / name).absolute()
            measure = partial(
                run_study, full=options.full, folder=folder, engine=engine, progress=report_progress
            )
            try:
                outcome = endable(measure, study)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"interrupted; what was measured is kept in {out / name}"
                ) from None
            outcomes.append(outcome)
        if options.all:
            say(f"{name}: " + ", ".join(f"{j.claim} {j.verdict}" for j in outcomes[-1].judged))
    target = out if options.all else out / names[0]
    write_claims(outcomes, target / "claims.json")
    write_text(target / "index.html", studies_page(outcomes))
    say(f"page in {target / 'index.html'}, claims in {target / 'claims.json'}")
    show(
        options,
        [entry for outcome in outcomes for entry in outcome.record()],
        "\n\n".join(map(repr, outcomes)),
    )
    return DONE


@finishing
def report(options: Namespace) -> int:
    """Write the page of a run."""
    from ..report import write_report

    folder = Path(options.run)
    if os.path.exists(folder / "sweep.json"):
        return endable(sweep_report, options)
    if options.fields:
        raise InputError(
            f"--fields is for the page of a sweep, and {options.run} is none; leave it out"
        )
    default = folder / "report.html" if os.path.isdir(folder) else Path(f"{folder.stem}.html")
    home, _, number = options.run.rpartition("#")
    if os.path.exists(Path(home) / "sweep.json"):
        default = Path(home) / f"run{number}.html"
    target = file_to_write(Path(options.out) if options.out else default)
    run, fresh = _run_of(options)
    found, complete = _certified(run, fresh)
    if not complete:
        _stop(run, fresh, "no page was written")
    _after(run, fresh, write_report, found, target, words="no page was written")
    say(f"page in {target}")
    show(options, {"report": str(target)}, str(target))
    return DONE


# --------------------------------------------------------------------- tour
def tour(options: Namespace) -> int:
    """The six networks of the paper and one on real data."""
    from . import tour as tours

    out = tours.prepare(options.out or "tour")
    place_to_write(out / "index.html")
    with progress("tour") as show_progress:
        runs = tours.tour(out, seed=options.seed, progress=show_progress)
    say(f"page in {out / 'index.html'}, record in {out / 'summary.json'}")
    show(options, tours.summary(runs), tours.table(runs))
    failed = [found.run for found in runs if found.run.failed]
    for run in failed:
        say(f"the run of {run.experiment.name!r} failed: {run.trajectory.reason}")
    return NUMERICAL if failed else DONE


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "tour": tour,
    "train": train,
    "stages": stages,
    "certify": certify,
    "predict": predict,
    "compare": compare,
    "graph": graph,
    "study": study,
    "sweep": sweep,
    "runs": runs,
    "report": report,
    "list": listing,
}
