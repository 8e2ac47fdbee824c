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

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .checks import InputError
from .driver import Trajectory
from .experiments import Experiment
from .moments import finishing
from .outlets import placed_folder
from .records import plain
from .runs import Run

SCHEMA, VERSION = "saddlery-run", 1
ARRAYS = ("flow_time", "step", "loss", "gradient_norm", "states")


@finishing
def save_run(run: Run, folder: str | Path) -> Path:
    """Write a run to a new folder; all of it or nothing. Raises StorageError if the folder exists or cannot be written."""
    target = Path(folder)
    with placed_folder(target) as staging:
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
    return target


def load_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises InputError, naming the file, where it is damaged, of another version, or its experiment.toml is not the one the
    run was trained by. Nothing is unpickled.
    """
    source = Path(folder)
    if not os.path.isdir(source):  # also of names that no folder can have
        raise InputError(f"{source}: there is no such run folder; make one with `saddlery train`")
    record = _read_record(source / "record.json")
    experiment = Experiment.load(source / "experiment.toml")
    arrays = _read_arrays(source / "trajectory.npz")
    observables = {k.removeprefix("observable."): v for k, v in arrays.items() if k.startswith("observable.")}
    _check_same(source, record, experiment, arrays["states"])
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
    if record["identity"] != experiment.identity:
        raise InputError(
            f"{source}: experiment.toml is not the one this run was trained by (its id is {experiment.identity}, the"
            f" record's {record['identity']}); restore it, or train the new one"
        )
    if states.ndim != 2:
        raise _damaged(source / "trajectory.npz", f"states of shape {states.shape}")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing, so {path.parent} is not a complete run folder; train it again") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
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
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: missing, so {path.parent} is not a complete run folder; train it again") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from None
    missing = set(ARRAYS) - set(arrays)
    lengths = {len(arrays[name]) for name in ARRAYS if name in arrays and arrays[name].ndim}
    if missing or len(lengths) != 1 or 0 in lengths:
        raise _damaged(path, f"without {sorted(missing)}" if missing else "arrays of different lengths")
    return arrays


def _damaged(path: Path, error: object) -> InputError:
    return InputError(f"{path}: damaged ({error}); train the experiment again, experiment.toml repeats it exactly")
