"""One experiment of a study, measured and kept. Idempotent: done twice, it is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..basis.checks import InputError, SaddleryError
from ..basis.interruptions import whole_runs
from ..basis.records import plain
from ..doors import schema
from ..doors.door import read_json
from ..doors.outlets import write_text
from ..experiments import Experiment
from .base import STUDIES

# Key of a row's digest beside its numbers in its file; no study measures anything of that name.
MARK = "digest"


def row_path(folder: str | Path, study: str, experiment: Experiment) -> Path:
    """Where the row of an experiment of a study is kept."""
    return Path(folder) / "rows" / f"{study}-{experiment.identity}.json"


def former_row_path(folder: str | Path, experiment: Experiment) -> Path:
    """Where version 0.1.0 kept it, whichever study had measured it."""
    return Path(folder) / "rows" / f"{experiment.identity}.json"


class Kept(dict[str, Any]):
    """A row that was read back.

    marked: whether its file says what its numbers were; rows of older
    versions do not, and asking one for a number that it lacks names its
    file.
    """

    def __init__(
        self,
        row: Mapping[str, Any],
        path: Path,
        marked: bool,
    ) -> None:
        super().__init__(row)
        self.path = path
        self.marked = marked

    def __missing__(self, name: str) -> Any:
        raise schema.damaged(
            self.path,
            f"without {name!r}",
            schema.AGAIN_ROW,
        )


def kept_row(folder: str | Path, study: str, experiment: Experiment) -> Kept | None:
    """The row of an experiment that a study measured before.

    None where it did not, or its file is damaged: it is measured again.
    """
    own = _row_at(row_path(folder, study, experiment))
    return _row_at(former_row_path(folder, experiment)) if own is None else own


def _row_at(path: Path) -> Kept | None:
    try:
        row = schema.check_row(read_json(path), path)
    except InputError:
        return None
    if MARK not in row:  # of an older version
        return Kept(row, path, marked=False)
    mark = row.pop(MARK)
    if mark != marked(row):
        return None
    return Kept(row, path, marked=True)


def marked(row: Mapping[str, Any]) -> str:
    """What a row says of its own numbers.

    SHA-256 of its JSON by sorted names, the first 32 hexadecimal digits.

    Example
    -------
    >>> from saddlery.studies.work import marked
    >>> len(marked({"error": 0.1})), marked({"error": 0.1}) == marked({"error": 0.2})
    (32, False)
    """
    content = json.dumps(row, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:32]


def measure_rows(
    folder: str,
    study: str,
    experiment: str,
    progress: object = None,
) -> int:
    """Measure one experiment, given as TOML, as a study does, unless its
    row is there.

    Returns how many were measured.
    """
    chosen = STUDIES.named(study)
    made = Experiment.from_toml(experiment)
    if kept_row(folder, study, made) is not None:
        return 0
    try:
        with whole_runs():
            row = plain(chosen.measure(made))
    except SaddleryError as error:
        row = {"failed": str(error)}
    content = json.dumps({**row, MARK: marked(row)})
    write_text(row_path(folder, study, made), content)
    return 1
