"""Runs on disk: a folder that is written whole or not at all, and never holds anything that could
run code.

Layout of a run folder, schema version 1:
    experiment.toml    the experiment (see `experiments`)
    record.json        {"schema": "saddlery-run", "version": 1, "experiment", "identity", "data", "status", "reason",
                        "rejected", "wall_seconds", "warnings", "versions"}
    trajectory.npz     flow_time, step, loss, gradient_norm (T,); states (T, P); observable.NAME (T, ...)
    stages.json        added by `saddlery certify`: the stages and certificates, as in a tour's summary
Numbers are float64 (float32 runs: float32). Loss is the mean over samples, squared loss with the
half.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ..basis.checks import InputError, SaddleryError, require
from ..basis.echo import shown
from ..basis.interruptions import finishing
from ..basis.precision import in_float64
from ..basis.records import plain
from ..doors import schema
from ..doors.door import npz_headers, read_json, read_npz
from ..doors.outlets import placed_folder
from ..experiments import Experiment
from ..experiments.experiment import as_written, chosen, is_file
from ..networks import Objective
from ..training import Trajectory
from .run import Run, train

SCHEMA, VERSION = "saddlery-run", 1
ARRAYS = ("flow_time", "step", "loss", "gradient_norm", "states")
# ends the sentence about a file that is missing
NO_RUN = ", so {} is not a complete run folder; train it again"
OBSERVED = "observable."  # before the names of observables among the arrays


@finishing
def save_run(run: Run, folder: str | Path) -> Path:
    """Write a run to a new folder; all of it or nothing. Raises StorageError if the folder exists
    or cannot be written."""
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


Subject = Run | Experiment | Mapping[str, Any] | str | Path


def run_of(subject: Subject) -> Run:
    """The run meant by what every verb takes: one that is at hand, or its folder; of an experiment,
    its table, its shipped name or the path of its file, the run that training it gives."""
    if isinstance(subject, Run):
        return subject
    _demand_subject(subject)
    return load_run(subject) if _is_folder(subject) else train(_experiment(subject))


def experiment_of(subject: Subject) -> Experiment:
    """The experiment meant by what every verb takes: see `run_of`; nothing is trained."""
    if isinstance(subject, Run):
        return subject.experiment
    _demand_subject(subject)
    return load_run(subject).experiment if _is_folder(subject) else _experiment(subject)


def _demand_subject(subject: Any) -> None:
    require(
        isinstance(subject, (Experiment, Mapping, str, Path)),
        "the subject",
        "a run, the path of its folder, or an experiment by itself, its shipped name or the path of"
        " its file",
        subject,
    )


def _is_folder(subject: Subject) -> TypeGuard[str | Path]:
    """Whether a run folder is meant: a folder, or a path that ends otherwise than experiments do."""
    if not isinstance(subject, (str, Path)):
        return False
    path = str(subject)
    named = isinstance(subject, str) and "/" not in path
    return os.path.isdir(path) or not (named or path.lower().endswith(".toml"))


def _experiment(subject: Experiment | Mapping[str, Any] | str | Path) -> Experiment:
    """One of which it is known that it is no run folder."""
    try:
        return chosen(subject)
    except InputError as error:
        if isinstance(subject, str) and not is_file(subject):
            raise InputError(f"{subject}: there is no such run folder, and {error}") from None
        raise


def load_run(folder: str | Path, *, data: str | Path | None = None) -> Run:
    """Read a run folder.

    data: where its data files are now (a file or a folder), for a run on files of one's own;
    without it they are looked for where they were, and by the last parts of their paths beside and
    above the folder. Their digest decides.

    Every file passes the check of `schema`, and where the experiment's data are at hand the
    recorded losses are computed again from three of the saved states. Raises InputError, naming the
    file, where one is damaged, of another version, or experiment.toml is not the one the run was
    trained by. Nothing is unpickled, and nothing is unpacked before its size is known.
    """
    source = Path(folder)
    if not os.path.isdir(source):  # also of names that no folder can have
        raise InputError(f"{source}: there is no such run folder; make one with `saddlery train`")
    record = _read_record(source / "record.json")
    experiment = as_written(source / "experiment.toml")
    if record["identity"] not in (experiment.identity, experiment.former_identity):
        raise InputError(
            f"{source}: experiment.toml is not the one this run was trained by (its id is"
            f" {experiment.identity}, the"
            f" record's {record['identity']}); restore it, or train the new one"
        )
    experiment = experiment.found(source, data=data)
    objective = _objective_of(experiment)
    arrays = _read_arrays(
        source / "trajectory.npz", record["status"], None if objective is None else objective.size
    )
    if objective is not None:
        _check_losses(source / "trajectory.npz", objective, arrays["loss"], arrays["states"])
    trajectory = Trajectory(
        **{name: arrays[name] for name in ARRAYS},
        observables={
            k.removeprefix(OBSERVED): v for k, v in arrays.items() if k.startswith(OBSERVED)
        },
        status=record["status"],
        reason=record["reason"],
        rejected=record["rejected"],
    )
    return Run(
        experiment,
        trajectory,
        record["data"],
        record["versions"],
        record["wall_seconds"],
        tuple(record["warnings"]),
    )


def _read_record(path: Path) -> dict[str, Any]:
    with schema.as_damaged(path, schema.AGAIN_RUN):
        record = read_json(path, missing=NO_RUN.format(path.parent))
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: not the record of a saddlery run; give a folder written by `saddlery train`"
        )
    if record.get("version") != VERSION:
        raise InputError(
            f"{path}: written in version {shown(record.get('version'))} of the run format, this"
            " saddlery reads"
            f" version {VERSION}; train it again or install the matching saddlery"
        )
    return schema.check(record, schema.RUN_RECORD, path)


def _read_arrays(path: Path, status: str, parameters: int | None) -> dict[str, np.ndarray]:
    """The arrays of a trajectory. parameters: of its network, if known; else what is unpacked is
    bounded by a fixed size."""
    with schema.as_damaged(path, schema.AGAIN_RUN):
        headers = npz_headers(path, missing=NO_RUN.format(path.parent))
    sizes = schema.check_headers(headers, schema.TRAJECTORY, path, OBSERVED, parameters)
    names = [*ARRAYS, *(name for name in headers if name.startswith(OBSERVED))]
    limits = {} if parameters is None else {"states": sizes["T"] * parameters}
    with schema.as_damaged(path, schema.AGAIN_RUN):
        arrays = read_npz(path, names, limits)
    schema.check_arrays(arrays, schema.TRAJECTORY, path, failed=status in schema.FAILED)
    return arrays


@in_float64
def _objective_of(experiment: Experiment) -> Objective | None:
    """The loss of an experiment; None where its data are not at hand, which is said where they are
    needed."""
    try:
        return experiment.objective()
    except SaddleryError:
        return None


@in_float64
def _check_losses(path: Path, objective: Objective, loss: np.ndarray, states: np.ndarray) -> None:
    """Raise InputError where the loss of the first, the middle or the last saved state is not the
    recorded one.

    A loss is a sum of products of numbers as large as the largest loss of the run, and is exact to
    the rounding of those: 1e-6 of it and 1e-9 of the largest is far above what float64 leaves
    (1e-15 on all shipped experiments), float32 leaves the square root of that.
    """
    relative, absolute = (1e-3, 1e-5) if states.dtype == np.float32 else (1e-6, 1e-9)
    finite = np.flatnonzero(np.isfinite(loss))
    scale = float(np.abs(loss[finite]).max(initial=0.0))
    for k in {0, len(loss) // 2, len(loss) - 1} & set(finite.tolist()):
        found = float(objective.loss(np.asarray(states[k], float)))
        if not abs(found - loss[k]) <= relative * abs(loss[k]) + absolute * scale:
            words = (
                f"the loss of saved point {k} is recorded as {loss[k]:.6g}, and its "
                f"state has {found:.6g}"
            )
            raise schema.damaged(path, words, schema.AGAIN_RUN)
