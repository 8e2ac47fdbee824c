"""One experiment of a study, measured and kept. Idempotent: done twice, it is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..checks import SaddleryError
from ..experiments import Experiment
from ..moments import whole_runs
from ..outlets import write_text
from ..records import plain
from . import base


def row_path(folder: str | Path, experiment: Experiment) -> Path:
    """Where the row of an experiment is kept."""
    return Path(folder) / "rows" / f"{experiment.identity}.json"


def kept_row(folder: str | Path, experiment: Experiment) -> dict[str, Any] | None:
    """The row of an experiment that was measured before; None where it was not."""
    try:
        return json.loads(row_path(folder, experiment).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def measure_rows(folder: str, study: str, experiment: str, progress: object = None) -> int:
    """Measure one experiment, given as TOML, as a study does, unless its row is there; returns how many were measured."""
    chosen, made = base.STUDIES[study], Experiment.from_toml(experiment)
    if kept_row(folder, made) is not None:
        return 0
    try:
        with whole_runs():
            row = plain(chosen.measure(made))
    except SaddleryError as error:
        row = {"failed": str(error)}
    write_text(row_path(folder, made), json.dumps(row))
    return 1
