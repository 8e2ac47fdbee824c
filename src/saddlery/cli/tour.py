"""The tour: the six networks of the paper and one on real data, trained,
certified, and shown on one page.

Layout of a tour folder:
    summary.json   {"runs": [...]}, one record a finished run (see `Stages.record`)
    index.html     the page; self-contained
    runs/NAME      one run folder each (see `store`)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..basis.checks import InputError, StorageError
from ..basis.interruptions import finishing
from ..basis.records import plain, text_table, tiny
from ..doors.door import read_json
from ..doors.outlets import refuse_existing, write_text
from ..plateaus import Stage, Stages, certify, stages
from ..report import tour_page
from ..runs import save_run, train
from ..runs.store import SCHEMA

NAMES = ("linear", "linear_conv", "relu", "relu_conv", "linear_attention", "quadratic", "digits")
COLUMNS = (
    "run",
    "stage",
    "flow time",
    "loss",
    "units",
    "verdict",
    "gradient norm",
    "distance",
    "index",
    "case",
)
# Training moves the progress bar of a run by this share (measured), certifying by the
# rest.
TRAINING = 0.4
Progress = Callable[[float, str], None]


def prepare(folder: str | Path, names: tuple[str, ...] = NAMES) -> Path:
    """The folder of a tour of these names: new, empty, or an earlier tour,
    which is replaced. Raises StorageError for anything else, also where a run
    would go."""
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise StorageError(f"{target} is a file, and a tour needs a folder; choose another --out")
    if target.is_dir() and any(target.iterdir()) and not _is_tour(target):
        raise StorageError(
            f"{target} exists already and is not a tour; choose another --out or remove it"
        )
    for name in names:
        place = target / "runs" / name
        if not _is_own_run(place):
            refuse_existing(place)
    return target


def _is_tour(folder: Path) -> bool:
    try:
        summary = read_json(folder / "summary.json")
    except InputError:
        return False
    if not isinstance(summary, dict):
        return False
    entries = summary.get("runs")
    return isinstance(entries, list) and all(map(_is_entry, entries))


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and {"experiment", "stages"} <= set(entry)


def _clear(target: Path, names: tuple[str, ...]) -> None:
    """Take away an earlier tour: its page, and its runs, which are those that
    its summary names and those of the names to come. Whatever else lies there
    is somebody's and stays, runs too."""
    own = {*names, *_finished_before(target)}
    page = target / "index.html"
    if page.is_file() and not page.is_symlink():
        page.unlink()
    for folder in (target / "runs").glob("*"):
        if folder.name in own and _is_own_run(folder):
            shutil.rmtree(folder)
    write_text(target / "summary.json", json.dumps({"runs": []}))


def _finished_before(target: Path) -> list[str]:
    """The names of the runs in the summary of an earlier tour."""
    if not _is_tour(target):
        return []
    return [str(entry["experiment"]) for entry in read_json(target / "summary.json")["runs"]]


def _is_own_run(folder: Path) -> bool:
    """Whether there is a run folder, and no link to one."""
    if folder.is_symlink():
        return False
    try:
        record = read_json(folder / "record.json")
    except InputError:
        return False
    return isinstance(record, dict) and record.get("schema") == SCHEMA


@finishing
def tour(
    folder: str | Path,
    *,
    seed: int | None = None,
    names: tuple[str, ...] = NAMES,
    progress: Progress | None = None,
) -> list[Stages]:
    """Train and certify the named experiments; write index.html, summary.json
    and one folder a run.

    An earlier tour in the folder is replaced when the first run is trained.
    The summary is written anew after each run and the page when the tour
    ends, also by Ctrl-C or an error, so that what was finished is readable.

    seed: of every experiment, in place of its own.
    progress: called with (fraction done, what is being done).

    Raises StorageError for a folder that holds something else.
    """
    target, done = prepare(folder, names), []
    report = progress or (lambda fraction, words: None)
    try:
        for k, name in enumerate(names):
            part = lambda share, words, k=k: report((k + share) / len(names), words)
            replaced = names if k == 0 else ()
            done.append(_run(target, name, seed, replaced, part))
            write_text(target / "summary.json", json.dumps(summary(done), indent=1))
            part(1.0, name)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {_finished(done, target)}") from None
    finally:
        if done:
            write_text(target / "index.html", tour_page(done, summary(done)))
    return done


@finishing
def _run(
    target: Path,
    name: str,
    seed: int | None,
    replaced: tuple[str, ...],
    progress: Progress,
) -> Stages:
    """Train, save, then certify one experiment; one that diverges has no
    stages, and the tour goes on.

    replaced: names of runs, where this one begins a tour: an earlier tour is
    taken away.
    """
    run = train(
        name,
        seed=seed,
        keep_failed=True,
        progress=lambda share, _: progress(TRAINING * share, f"train {name}"),
    )
    if replaced:
        _clear(target, replaced)
    save_run(run, target / "runs" / name)
    if run.trajectory.status == "interrupted":
        raise KeyboardInterrupt
    if run.failed:
        return Stages(run, ())
    found, certified = stages(run), []
    for k, stage in enumerate(found.stages):
        progress(TRAINING + (1 - TRAINING) * k / len(found), f"certify {name}")
        certified += certify(replace(found, stages=(stage,))).stages
    return replace(found, stages=tuple(certified))


def _finished(done: list[Stages], target: Path) -> str:
    if not done:
        return "no run of the tour was finished"
    names = ", ".join(found.run.experiment.name for found in done)
    return f"finished before: {names}, readable in {target}"


def summary(runs: list[Stages]) -> dict[str, object]:
    """The stable JSON form of a tour."""
    return plain({"runs": [found.record() for found in runs]})


def table(runs: list[Stages]) -> str:
    """The printed table of a tour."""
    return text_table(COLUMNS, [_row(found, stage) for found in runs for stage in found.stages])


def _row(found: Stages, stage: Stage) -> list[object]:
    units = stage.effective_units
    layers = (units,) if isinstance(units, int) else units
    verdict = None
    if stage.certificate is not None:
        verdict = stage.certificate.verdict
    row = [
        found.run.experiment.name,
        stage.kind,
        f"{stage.start:.4g} - {stage.end:.4g}",
        stage.loss,
        " > ".join(map(str, layers)),
        verdict,
    ]
    point = stage.fixed_point
    if point is None:
        return [*row, None, None, None, None]
    return [*row, tiny(point.gradient_norm), point.distance, point.index, point.construction]
