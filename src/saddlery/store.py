"""Runs on disk: a folder that is written whole or not at all, and never holds anything that could run code.

Layout of a run folder, schema version 1:
    experiment.toml    the experiment (see `experiments`)
    record.json        {"schema": "saddlery-run", "version": 1, "experiment", "identity", "data", "status", "reason",
                        "rejected", "wall_seconds", "warnings", "versions"}
    trajectory.npz     flow_time, step, loss, gradient_norm (T,); states (T, P); observable.NAME (T, ...)
    stages.json        added by `saddlery certify`: the stages and certificates, as in a tour's summary
Numbers are float64 (float32 runs: float32). Loss is the mean over samples, squared loss with the half.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .checks import InputError, StorageError, require
from .door import RECORD, npz_headers, read_json, read_npz
from .driver import Trajectory
from .experiments import Experiment, as_written
from .records import plain
from .runs import Run

SCHEMA, VERSION = "saddlery-run", 1
ARRAYS = ("flow_time", "step", "loss", "gradient_norm", "states")


def save_run(run: Run, folder: str | Path) -> Path:
    """Write a run to a new folder; all of it or nothing. Raises StorageError if the folder exists or cannot be written."""
    target = Path(folder)
    refuse_existing(target)
    with storage_errors(target), _staging(target) as staging:
        (staging / "experiment.toml").write_text(run.experiment.to_toml(), encoding="utf-8")
        t = run.trajectory
        record = {
            "schema": SCHEMA,
            "version": VERSION,
            "experiment": run.experiment.name,
            "identity": run.experiment.identity,
            "data": run.data,
            "status": t.status,
            "reason": t.reason,
            "rejected": t.rejected,
            "wall_seconds": run.wall_seconds,
            "warnings": list(run.warnings),
            "versions": dict(run.versions),
        }
        (staging / "record.json").write_text(json.dumps(plain(record), indent=1), encoding="utf-8")
        arrays: dict[str, Any] = {name: getattr(t, name) for name in ARRAYS}
        arrays |= {f"observable.{k}": v for k, v in t.observables.items()}
        np.savez_compressed(staging / "trajectory.npz", **arrays)
        for path in (*staging.iterdir(), staging):
            _flush(path)
        os.replace(staging, target)
    return target


def _flush(path: Path) -> None:
    """To the disk itself, so that a power cut after the renaming loses nothing."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_existing(target: Path) -> None:
    """Raise StorageError unless nothing is at `target` (an empty folder is fine)."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise StorageError(
            f"{target} exists already and finished results are never overwritten; choose another --out or remove it"
        )


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target, removed whatever happens; moved into place by the caller when complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    os.chmod(staging, 0o755)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the system's errors into one sentence."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        remedy = {28: "free some space", 13: "choose a folder you may write to", 30: "choose a folder you may write to"}
        raise StorageError(
            f"{target} cannot be written: {error.strerror or error}; nothing was left half-written,"
            f" {remedy.get(error.errno or 0, 'choose another --out')}"
        ) from None


@contextlib.contextmanager
def placed(target: Path) -> Iterator[Path]:
    """A file beside its place to write to; then flushed to the disk and renamed, or removed on failure."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        staging = Path(name)
        try:
            yield staging
            os.chmod(staging, 0o644)
            _flush(staging)
            os.replace(staging, target)
            _flush(target.parent)
        finally:
            staging.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a file whole or not at all, replacing an older one."""
    with placed(Path(path)) as staging:
        staging.write_text(text, encoding="utf-8")
    return Path(path)


def run_of(subject: Run | str | Path) -> Run:
    """The run meant by what every verb takes: one that is at hand, or its folder."""
    if isinstance(subject, Run):
        return subject
    require(isinstance(subject, (str, Path)), "a run", "a Run or the path of a run folder", subject)
    return load_run(subject)


def load_run(folder: str | Path, *, data: str | Path | None = None) -> Run:
    """Read a run folder.

    data: where its data files are now (a file or a folder), for a run on files of one's own; without it they are looked for
    where they were, and by the last parts of their paths beside and above the folder. Their digest decides.

    Raises InputError, naming the file, where it is damaged, of another version, or its experiment.toml is not the one the
    run was trained by. Nothing is unpickled.
    """
    source = Path(folder)
    if not source.is_dir():
        raise InputError(f"{source}: there is no such run folder; make one with `saddlery train`")
    record = _read_record(source / "record.json")
    experiment = as_written(source / "experiment.toml")
    arrays = _read_arrays(source / "trajectory.npz")
    observables = {k.removeprefix("observable."): v for k, v in arrays.items() if k.startswith("observable.")}
    _check_same(source, record, experiment, arrays["states"])
    experiment = experiment.found(source, data=data)
    trajectory = Trajectory(
        **{name: arrays[name] for name in ARRAYS},
        observables=observables,
        status=record["status"],
        reason=record["reason"],
        rejected=record["rejected"],
    )
    return Run(
        experiment, trajectory, record["data"], record["versions"], record["wall_seconds"], tuple(record["warnings"])
    )


def _check_same(source: Path, record: dict[str, Any], experiment: Experiment, states: np.ndarray) -> None:
    """A run is judged by the experiment it was trained by, and by no other."""
    if record["identity"] not in (experiment.identity, experiment.former_identity):
        raise InputError(
            f"{source}: experiment.toml is not the one this run was trained by (its id is {experiment.identity}, the"
            f" record's {record['identity']}); restore it, or train the new one"
        )
    if states.ndim != 2:
        raise _damaged(source / "trajectory.npz", f"states of shape {states.shape}")


def _read_record(path: Path) -> dict[str, Any]:
    missing = f", so {path.parent} is not a complete run folder; train it again"
    try:
        record = read_json(path, RECORD, missing=missing)
    except InputError as error:
        raise _unless_missing(path, error) from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError(f"{path}: not the record of a saddlery run; give a folder written by `saddlery train`")
    if record.get("version") != VERSION:
        raise InputError(
            f"{path}: written in version {record.get('version')!r} of the run format, this saddlery reads"
            f" version {VERSION}; train it again or install the matching saddlery"
        )
    missing = {"identity", "status", "reason", "rejected", "data", "versions", "wall_seconds", "warnings"} - set(record)
    if missing:
        raise _damaged(path, f"without {sorted(missing)}")
    return record


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        headers = npz_headers(path, missing=f", so {path.parent} is not a complete run folder; train it again")
        arrays = read_npz(path, [name for name in headers if name in ARRAYS or name.startswith("observable.")])
    except InputError as error:
        raise _unless_missing(path, error) from None
    missing = set(ARRAYS) - set(arrays)
    lengths = {len(arrays[name]) for name in ARRAYS if name in arrays and arrays[name].ndim}
    if missing or len(lengths) != 1 or 0 in lengths:
        raise _damaged(path, f"without {sorted(missing)}" if missing else "arrays of different lengths")
    return arrays


def _unless_missing(path: Path, error: InputError) -> InputError:
    """A file that is there and cannot be read is damaged."""
    return _damaged(path, str(error).removeprefix(f"{path}: ")) if path.exists() else error


def _damaged(path: Path, error: object) -> InputError:
    return InputError(f"{path}: damaged ({error}); train the experiment again, experiment.toml repeats it exactly")
