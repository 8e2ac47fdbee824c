"""The tour: the six networks of the paper and one on real data, trained, certified, and shown on one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .checks import StorageError
from .records import text_table
from .report import tour_page
from .runs import train
from .stage import Stages, certify
from .store import save_run, write_text

NAMES = ("linear", "linear_conv", "relu", "relu_conv", "linear_attention", "quadratic", "digits")
COLUMNS = ("run", "stage", "flow time", "loss", "units", "verdict", "|gradient|", "distance", "index", "case")


def prepare(folder: str | Path) -> Path:
    """The folder of a tour, made if need be; an earlier tour there may be replaced, anything else is refused."""
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise StorageError(f"{target} is a file, and a tour needs a folder; choose another --out")
    if target.is_dir() and any(target.iterdir()) and not (target / "summary.json").is_file():
        raise StorageError(f"{target} exists already and is not a tour; choose another --out or remove it")
    return target


def tour(
    folder: str | Path,
    *,
    seed: int | None = None,
    names: tuple[str, ...] = NAMES,
    progress: Callable[[float, str], None] | None = None,
) -> list[Stages]:
    """Train and certify the named experiments; write index.html, summary.json and one folder a run.

    After each run the page and the summary are written anew, so that an interrupted tour is readable. progress: called
    with (fraction done, what is being done). Raises StorageError for a folder that holds something else.
    """
    target, done = prepare(folder), []
    report = progress or (lambda fraction, words: None)
    for k, name in enumerate(names):
        part = lambda share, words, k=k: report((k + share) / len(names), words)
        run = train(
            name, seed=seed, progress=lambda fraction, _, part=part, name=name: part(0.7 * fraction, f"train {name}")
        )
        if run.trajectory.status == "interrupted":
            raise KeyboardInterrupt
        part(0.7, f"certify {name}")
        done.append(certify(run))
        place = target / "runs" / f"{name}-{run.experiment.identity}"
        if not place.exists():
            save_run(run, place)
        write_text(target / "summary.json", json.dumps(summary(done), indent=1))
        write_text(target / "index.html", tour_page(done))
        part(1.0, name)
    return done


def summary(runs: list[Stages]) -> dict[str, object]:
    """The stable JSON form of a tour."""
    return {"runs": [found.record() for found in runs]}


def table(runs: list[Stages]) -> str:
    """The printed table of a tour."""
    rows = []
    for found in runs:
        for stage in found.stages:
            c = stage.certificate
            numbers = (
                [None] * 5 if c is None else [c.verdict, f"{c.gradient_norm:.1e}", c.distance, c.index, c.construction]
            )
            rows.append(
                [
                    found.run.experiment.name,
                    stage.kind,
                    f"{stage.start:.4g} - {stage.end:.4g}",
                    stage.loss,
                    str(stage.effective_units),
                    *numbers,
                ]
            )
    return text_table(COLUMNS, rows)
