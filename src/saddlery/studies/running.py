"""Running a study: its experiments measured wherever an engine does them, its claims judged, what
came of it written down."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ..basis.checks import InputError, StorageError
from ..doors import schema
from ..doors.outlets import write_text
from ..engines import Engine, Here, Job, engine_of
from .base import Outcome, Study, judge
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

    folder: where the measurements are kept, a file each (rows/IDENTITY.json); those that are there
    already are not made again, so that a study that was stopped goes on; None for nowhere. engine:
    where the work is done (`engines`), this process by default. imports: modules that workers
    import first, of a study of one's own. progress: called with (fraction
    done, experiment). Experiments that fail are left out and named. Raises StorageError where the
    folder cannot be written.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as nowhere:
            return run_study(
                study, full=full, folder=nowhere, engine=engine, imports=imports, progress=progress
            )
    where = engine_of(engine, Here)
    where.check()
    design = list(study.design(study.full if full else study.quick))
    left = [k for k, (_, experiment) in enumerate(design) if kept_row(folder, experiment) is None]
    arguments = {"folder": str(folder), "study": study.name}
    places = {f"{study.name}-{k}": k for k in left}
    jobs = [
        Job("study", key, {**arguments, "experiment": design[k][1].to_toml()}, tuple(imports))
        for key, k in places.items()
    ]
    errors: dict[int, str] = {}
    for count, done in enumerate(where.run(jobs) if jobs else (), 1):
        place = places[done.job.key]
        if done.fatal:
            raise StorageError(done.error) if done.fatal == "storage" else InputError(done.error)
        if done.error:
            errors[place] = done.error
        if progress is not None:
            progress((len(design) - len(left) + count) / len(design), design[place][1].name)
    rows, failed = [], []
    for k, (labels, experiment) in enumerate(design):
        measured = kept_row(folder, experiment) or {"failed": errors.get(k, "its row is missing")}
        if "failed" in measured:
            failed.append(f"{labels}: {measured['failed']}")
        else:
            row = {**labels, "seed": experiment.seed, **measured}
            rows.append(
                Kept(row, measured.path, measured.marked) if isinstance(measured, Kept) else row
            )
    try:
        judged = tuple(judge(study.name, claim, rows) for claim in study.claims)
    except (TypeError, ValueError) as error:
        unmarked = [row for row in rows if isinstance(row, Kept) and not row.marked]
        if isinstance(error, InputError) or not unmarked:
            raise
        place = f"{folder}/rows: one of {len(unmarked)} files of an older version"
        raise schema.damaged(
            place, error, "remove those that were edited, and they are measured again"
        ) from None
    return Outcome(study, tuple(rows), judged, tuple(failed))


def write_claims(outcomes: Sequence[Outcome], path: str | Path) -> None:
    """claims.json: every claim of every study, a list."""
    write_text(
        Path(path),
        json.dumps([entry for outcome in outcomes for entry in outcome.record()], indent=1),
    )
