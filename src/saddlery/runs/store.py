"""Runs on disk: a folder that is written whole or not at all, and never holds
anything that could run code.

Layout of a run folder, schema version 1:

    experiment.toml    the experiment (see `experiments`)
    record.json        {"schema": "saddlery-run", "version": 1, "experiment", "identity",
                        "data", "status", "reason", "rejected", "wall_seconds",
                        "warnings", "versions"}
    trajectory.npz     flow_time, step, loss, gradient_norm (T,); states (T, P);
                       observable.NAME (T, ...)
    stages.json        added by `saddlery certify`: the stages and certificates, as in a
                       tour's summary

Numbers are float64 (float32 runs: float32). Loss is the mean over samples,
squared loss with the half.
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
# End of the sentence about a file that is missing.
NO_RUN = ", so {} is not a complete run folder; train it again"
OBSERVED = "observable."  # before the names of observables among the arrays
# How near a recorded loss is to that of its state: of itself, and of the
# largest of the run. A loss is a sum of products of numbers as large as that,
# and is exact to their rounding: this is far above what float64 leaves (1e-15
# on all shipped experiments), and float32 leaves the square root of that.
NEAR, NEAR_IN_FLOAT32 = (1e-6, 1e-9), (1e-3, 1e-5)


@finishing
def save_run(run: Run, folder: str | Path) -> Path:
    """Write a run to a new folder; all of it or nothing.

    Raises StorageError if the folder exists or cannot be written.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from saddlery import load_run, save_run, train
    >>> run = train("linear")
    >>> with TemporaryDirectory() as place:
    ...     folder = save_run(run, Path(place) / "run")
    ...     files = sorted(file.name for file in folder.iterdir())
    ...     again = load_run(folder)
    >>> files
    ['experiment.toml', 'record.json', 'trajectory.npz']
    >>> again == run
    True
    """
    target = Path(folder)
    with placed_folder(target) as staging:
        experiment = run.experiment.to_toml()
        record = json.dumps(plain(_record(run)), indent=1)
        (staging / "experiment.toml").write_text(experiment, encoding="utf-8")
        (staging / "record.json").write_text(record, encoding="utf-8")
        np.savez_compressed(staging / "trajectory.npz", **_arrays(run.trajectory))
    return target


def _record(run: Run) -> dict[str, Any]:
    trajectory = run.trajectory
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "experiment": run.experiment.name,
        "identity": run.experiment.identity,
        "data": run.data,
        "status": trajectory.status,
        "reason": trajectory.reason,
        "rejected": trajectory.rejected,
        "wall_seconds": run.wall_seconds,
        "warnings": list(run.warnings),
        "versions": dict(run.versions),
    }


def _arrays(trajectory: Trajectory) -> dict[str, Any]:
    arrays: dict[str, Any] = {name: getattr(trajectory, name) for name in ARRAYS}
    for name, values in trajectory.observables.items():
        arrays[f"{OBSERVED}{name}"] = values
    return arrays


Subject = Run | Experiment | Mapping[str, Any] | str | Path


def run_of(subject: Subject) -> Run:
    """The run meant by what every verb takes: one that is at hand, or its
    folder; of an experiment, its table, its shipped name or the path of its
    file, the run that training it gives.

    Example
    -------
    >>> from saddlery import train
    >>> from saddlery.runs.store import run_of
    >>> run = train("linear")
    >>> run_of(run) is run, run_of("linear").final_loss == run.final_loss
    (True, True)
    """
    if isinstance(subject, Run):
        return subject
    _demand_subject(subject)
    if _is_folder(subject):
        return load_run(subject)
    return train(_experiment(subject))


def experiment_of(subject: Subject) -> Experiment:
    """The experiment meant by what every verb takes: see `run_of`; nothing is trained."""
    if isinstance(subject, Run):
        return subject.experiment
    _demand_subject(subject)
    if _is_folder(subject):
        return load_run(subject).experiment
    return _experiment(subject)


def _demand_subject(subject: Any) -> None:
    ways = "by itself, its shipped name or the path of its file"
    require(
        isinstance(subject, (Experiment, Mapping, str, Path)),
        "the subject",
        needed=f"a run, the path of its folder, or an experiment {ways}",
        given=subject,
    )


def _is_folder(subject: Subject) -> TypeGuard[str | Path]:
    """Whether a run folder is meant: a folder, or a path that ends otherwise
    than experiments do."""
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
            missing = "there is no such run folder"
            raise InputError(f"{subject}: {missing}, and {error}") from None
        raise


def load_run(folder: str | Path, *, data: str | Path | None = None) -> Run:
    """Read a run folder.

    data: where its data files are now (a file or a folder), for a run on files of
        one's own; without it they are looked for where they were, and by the last
        parts of their paths beside and above the folder. Their digest decides.

    Every file passes the check of `schema`, and where the experiment's data are
    at hand the recorded losses are computed again from three of the saved states.
    Nothing is unpickled, and nothing is unpacked before its size is known.

    Raises InputError, naming the file, where one is damaged, of another
    version, or experiment.toml is not the one the run was trained by.
    """
    source = Path(folder)
    if not os.path.isdir(source):  # also of names that no folder can have
        remedy = "make one with `saddlery train`"
        raise InputError(f"{source}: there is no such run folder; {remedy}")
    record = _read_record(source / "record.json")
    experiment = as_written(source / "experiment.toml")
    if record["identity"] not in (experiment.identity, experiment.former_identity):
        ids = f"its id is {experiment.identity}, the record's {record['identity']}"
        raise InputError(
            f"{source}: experiment.toml is not the one this run was trained by ({ids});"
            " restore it, or train the new one"
        )
    experiment = experiment.found(source, data=data)
    objective = _objective_of(experiment)
    path = source / "trajectory.npz"
    parameters = None if objective is None else objective.size
    arrays = _read_arrays(path, record["status"], parameters)
    if objective is not None:
        _check_losses(path, objective, arrays["loss"], arrays["states"])
    return Run(
        experiment=experiment,
        trajectory=_trajectory(arrays, record),
        data=record["data"],
        versions=record["versions"],
        wall_seconds=record["wall_seconds"],
        warnings=tuple(record["warnings"]),
    )


def _trajectory(
    arrays: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
) -> Trajectory:
    observed = [name for name in arrays if name.startswith(OBSERVED)]
    return Trajectory(
        **{name: arrays[name] for name in ARRAYS},
        observables={name.removeprefix(OBSERVED): arrays[name] for name in observed},
        status=record["status"],
        reason=record["reason"],
        rejected=record["rejected"],
    )


def _read_record(path: Path) -> dict[str, Any]:
    with schema.as_damaged(path, schema.AGAIN_RUN):
        record = read_json(path, missing=NO_RUN.format(path.parent))
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        remedy = "give a folder written by `saddlery train`"
        raise InputError(f"{path}: not the record of a saddlery run; {remedy}")
    if record.get("version") != VERSION:
        written = f"written in version {shown(record.get('version'))} of the run format"
        remedy = "train it again or install the matching saddlery"
        reads = f"this saddlery reads version {VERSION}"
        raise InputError(f"{path}: {written}, {reads}; {remedy}")
    return schema.check(record, schema.RUN_RECORD, path)


def _read_arrays(
    path: Path,
    status: str,
    parameters: int | None,
) -> dict[str, np.ndarray]:
    """The arrays of a trajectory.

    parameters: of its network, if known; else what is unpacked is
        bounded by a fixed size.
    """
    with schema.as_damaged(path, schema.AGAIN_RUN):
        headers = npz_headers(path, missing=NO_RUN.format(path.parent))
    sizes = schema.check_headers(
        headers,
        schema.TRAJECTORY,
        path,
        OBSERVED,
        parameters,
    )
    names = [*ARRAYS, *(name for name in headers if name.startswith(OBSERVED))]
    limits = {} if parameters is None else {"states": sizes["T"] * parameters}
    with schema.as_damaged(path, schema.AGAIN_RUN):
        arrays = read_npz(path, names, limits)
    schema.check_arrays(
        arrays,
        schema.TRAJECTORY,
        path,
        failed=status in schema.FAILED,
    )
    return arrays


@in_float64
def _objective_of(experiment: Experiment) -> Objective | None:
    """The loss of an experiment; None where its data are not at hand, which is
    said where they are needed."""
    try:
        return experiment.objective()
    except SaddleryError:
        return None


@in_float64
def _check_losses(
    path: Path,
    objective: Objective,
    loss: np.ndarray,
    states: np.ndarray,
) -> None:
    """Raise InputError where the loss (T,) of the first, the middle or the
    last saved state (T, P) is not the recorded one."""
    single = states.dtype == np.float32
    relative, absolute = NEAR_IN_FLOAT32 if single else NEAR
    finite = np.flatnonzero(np.isfinite(loss))
    scale = float(np.abs(loss[finite]).max(initial=0.0))
    for k in {0, len(loss) // 2, len(loss) - 1} & set(finite.tolist()):
        found = float(objective.loss(np.asarray(states[k], float)))
        near = relative * abs(loss[k]) + absolute * scale
        if not abs(found - loss[k]) <= near:
            recorded = f"the loss of saved point {k} is recorded as {loss[k]:.6g}"
            words = f"{recorded}, and its state has {found:.6g}"
            raise schema.damaged(path, words, schema.AGAIN_RUN)
