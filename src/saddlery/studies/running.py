"""Running a study: its experiments measured wherever an engine does them,
its claims judged, what came of it written down."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ..basis.checks import InputError, StorageError
from ..basis.tolerances import demand_defaults
from ..doors import schema
from ..doors.outlets import write_text
from ..engines import Engine, Here, Job, engine_of
from ..experiments import Experiment
from .base import Judged, Outcome, Row, Study, judge
from .work import Kept, kept_row


def run_study(
    study: Study,
    *,
    full: bool = False,
    folder: str | Path | None = None,
    engine: Engine | str | None = None,
    imports: Sequence[str] = (),
    progress: Callable[[float, str], None] | None = None,
) -> Outcome:
    """Measure every experiment of a study and judge its claims.

    Arguments:
        full: with as many seeds as the study's full size has.
        folder: where the measurements are kept, a file each (rows/STUDY-IDENTITY.json);
            those that are there already are not made again, so that a study that was
            stopped goes on; None for nowhere.
        engine: where the work is done (`engines`), this process by default.
        imports: modules that workers import first, of a study of one's own.
        progress: called with (fraction done, experiment).

    Experiments that fail are left out and named. Raises StorageError where
    the folder cannot be written.
    """
    demand_defaults("a study")
    if folder is None:
        with tempfile.TemporaryDirectory() as nowhere:
            return run_study(
                study,
                full=full,
                folder=nowhere,
                engine=engine,
                imports=imports,
                progress=progress,
            )
    where = engine_of(engine, Here)
    where.check()
    design = list(study.design(study.full if full else study.quick))
    errors = _do(study, design, folder, where, imports, progress)
    rows: list[Row] = []
    failed = []
    for k, (labels, experiment) in enumerate(design):
        found = kept_row(folder, study.name, experiment)
        if found is None or "failed" in found:
            reason = errors.get(k, "its row is missing") if found is None else found["failed"]
            failed.append(f"{labels}: {reason}")
        else:
            row = {**labels, "seed": experiment.seed, **found}
            rows.append(Kept(row, found.path, found.marked))
    judged = _judged(study, rows, folder)
    return Outcome(study, tuple(rows), judged, tuple(failed))


def _do(
    study: Study,
    design: Sequence[tuple[Row, Experiment]],
    folder: str | Path,
    engine: Engine,
    imports: Sequence[str],
    progress: Callable[[float, str], None] | None,
) -> dict[int, str]:
    """Measure what has no row yet; why that failed, by its place in the design."""
    places: dict[str, int] = {}
    jobs = []
    for k, (_, experiment) in enumerate(design):
        if kept_row(folder, study.name, experiment) is not None:
            continue
        arguments = {
            "folder": str(folder),
            "study": study.name,
            "experiment": experiment.to_toml(),
        }
        job = Job("study", f"{study.name}-{k}", arguments, tuple(imports))
        places[job.key] = k
        jobs.append(job)
    there = len(design) - len(jobs)
    errors: dict[int, str] = {}
    for count, done in enumerate(engine.run(jobs) if jobs else (), 1):
        place = places[done.job.key]
        if done.fatal == "storage":
            raise StorageError(done.error)
        if done.fatal:
            raise InputError(done.error)
        if done.error:
            errors[place] = done.error
        if progress is not None:
            _, experiment = design[place]
            progress((there + count) / len(design), experiment.name)
    return errors


def _judged(
    study: Study,
    rows: Sequence[Row],
    folder: str | Path,
) -> tuple[Judged, ...]:
    try:
        return tuple(judge(study.name, claim, rows) for claim in study.claims)
    except (TypeError, ValueError) as error:
        # Rows of older versions do not say what their numbers were: they may have been edited.
        unmarked = [row for row in rows if isinstance(row, Kept) and not row.marked]
        if isinstance(error, InputError) or not unmarked:
            raise
        place = f"{folder}/rows: one of {len(unmarked)} files of an older version"
        remedy = "remove those that were edited, and they are measured again"
        raise schema.damaged(place, error, remedy) from None


def write_claims(outcomes: Sequence[Outcome], path: str | Path) -> None:
    """claims.json: every claim of every study, a list."""
    entries = []
    for outcome in outcomes:
        entries += outcome.record()
    write_text(Path(path), json.dumps(entries, indent=1))
