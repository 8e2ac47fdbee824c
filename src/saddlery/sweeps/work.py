"""One batch of a sweep: train its runs, find their stages, keep what was
asked for.

Idempotent: done twice, it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import SaddleryError
from ..doors.labels import stacked
from ..experiments import Experiment
from ..plateaus import Stages, certify, stages
from ..predictions import THEORIES, compare, predict
from ..runs import Failure, Run, train_many
from .design import Sweep
from .storage import batch_name, design_of, is_done, write_batch

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

CURVES = ("flow_time", "step", "loss", "gradient_norm")
Arrays = dict[str, np.ndarray]  # of one run, by name
NONE = np.zeros(0, bool)  # of a run without an array that others have; any type holds it
Row = dict[str, Any]


def do_batch(
    folder: str,
    batch: int,
    data: Mapping[str, str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> int:
    """Do one batch of the sweep in a folder, unless it is done; returns how
    many of its runs this call made.

    data: where the files of its task are now.
    """
    sweep = design_of(folder)
    if data:
        task = replace(sweep.experiment.task, **data)  # type: ignore[type-var]
        sweep = sweep.on(task)
    if is_done(Path(folder), sweep, batch):
        return 0
    numbers = sweep.numbers(batch)
    rows, curves = _measured(sweep, numbers, progress)
    ran = sorted(curves)
    arrays = _labelled(ran, [curves[number] for number in ran])
    name = batch_name(sweep.identity, batch)
    write_batch(Path(folder), name, arrays, _table(sweep, rows))
    return len(numbers)


def _measured(
    sweep: Sweep,
    numbers: range,
    progress: Callable[[float, str], None] | None,
) -> tuple[dict[int, Row], dict[int, Arrays]]:
    """The rows of all runs, and the arrays of those that were possible, by
    their numbers."""
    rows: dict[int, Row] = {}
    curves: dict[int, Arrays] = {}
    made: dict[int, Experiment] = {}
    for number, found in zip(
        numbers,
        sweep.experiments(numbers),
        strict=True,
    ):
        if isinstance(found, Experiment):
            made[number] = found
        else:
            name = {"experiment": sweep.experiment.name}
            rows[number] = name | _impossible(found)
    places = list(made)
    trained = train_many(
        list(made.values()),
        chunk=sweep.chunk or None,
        observables="observables" in sweep.measure,
    )
    for k, found in trained:
        number = places[k]
        of_what = described(found.experiment)
        if isinstance(found, Failure):
            rows[number] = of_what | _impossible(found.reason)
        else:
            measured, curves[number] = measure(found, sweep.measure)
            rows[number] = of_what | measured
        if progress is not None:
            progress(len(rows) / len(numbers), f"run {number}")
    return rows, curves


def _impossible(reason: str) -> Row:
    return {"status": "impossible", "reason": reason}


def _table(sweep: Sweep, rows: Mapping[int, Row]) -> pd.DataFrame:
    import pandas as pd

    empty = dict.fromkeys(INDEX_COLUMNS)
    table = []
    for number in sorted(rows):
        table.append({**empty, **_fields(sweep, number), **rows[number]})
    return pd.DataFrame(table).astype(INDEX_TYPES)


def _fields(sweep: Sweep, number: int) -> Row:
    row: Row = {"run": number, "seed": sweep.seed(number)}
    for path, value in sweep.point(number).items():
        row[path] = _cell(value)
    return row


def _cell(value: Any) -> Any:
    """A swept value as a cell of a table: numbers and text as they are, lists as text."""
    if isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def described(experiment: Experiment) -> Row:
    """Columns that say what a run is of."""
    return {
        "identity": experiment.identity,
        "experiment": experiment.name,
        "architecture": experiment.network.architecture,
        "width": experiment.network.widths[0],
        "task": experiment.task.kind,
        "rule": experiment.rule.kind,
    }


def measure(run: Run, wanted: Sequence[str]) -> tuple[Row, Arrays]:
    """The columns of a run and its arrays.

    Saved points T, stages S, parameters P: the curves (T,), states (S + 1,
    P) at the stages and at the end, observable.NAME (T, ...) where wanted.

    A measurement that fails is a reason in its row, never a lost run.
    """
    t = run.trajectory
    row: Row = {
        "data": run.data,
        "status": t.status,
        "reason": t.reason,
        "loss": run.final_loss,
        "flow_time": float(t.flow_time[-1]),
        "steps": int(t.step[-1]),
        "saved": len(t.loss),
        "wall_seconds": run.wall_seconds,
    }
    places: list[int] = []
    if not run.failed:
        try:
            found = _found(run, wanted)
            places = [stage.index for stage in found.stages]
            measured = _stages(found)
            if "predictions" in wanted:
                measured |= _prediction(found)
            row |= measured
        except SaddleryError as error:
            row["reason"] = f"{t.reason}; its stages could not be measured: {error}"
    kept = {name: np.asarray(getattr(t, name)) for name in CURVES}
    kept["step"] = kept["step"].astype(np.int64)
    kept["states"] = t.states[[*places, -1]]
    if "observables" in wanted:
        for name, values in t.observables.items():
            kept[f"observable.{name}"] = np.asarray(values)
    return row, kept


def _found(run: Run, wanted: Sequence[str]) -> Stages:
    if "certificates" in wanted:
        return certify(run)
    return stages(run)


def _stages(found: Stages) -> Row:
    counts = []
    for stage in found.stages:
        counts.append([layer.minimal for layer in stage.effective])
    kinds = [stage.kind for stage in found.stages]
    row: Row = {
        "stages": len(found),
        "intermediate": kinds.count("intermediate"),
        "units": [sum(count) for count in counts],
        "units_by_layer": counts,
        "stage_kind": kinds,
        "stage_start": [stage.start for stage in found.stages],
        "stage_end": [stage.end for stage in found.stages],
        "stage_loss": [stage.loss for stage in found.stages],
    }
    certificates = [stage.certificate.record() for stage in found.stages if stage.certificate]
    if certificates:
        judged = ("verdict", "gradient_norm", "distance", "index")
        row |= {name: [kept[name] for kept in certificates] for name in judged}
    return row


def _prediction(found: Stages) -> Row:
    """By the first theory that applies: whether all its stages were seen
    and no others, and the largest error of a jump."""
    for theory in THEORIES:
        try:
            (prediction,) = predict(found.run.experiment, theory=theory)
        except SaddleryError:
            continue
        compared = compare(prediction, found)
        seen = all(stage.seen for stage in compared.stages)
        errors = [abs(stage.error) for stage in compared.stages if stage.error is not None]
        return {
            "theory": theory,
            "predicted": seen and compared.extra == 0,
            "jump_error": max(errors, default=None),
        }
    return {"theory": "none applies"}


def _labelled(
    numbers: Sequence[int],
    runs: Sequence[Arrays],
) -> xr.Dataset:
    """The arrays of a batch with named dimensions, padded by NaN (steps and
    flags: by -1) to the longest run and the largest state."""
    import xarray as xr

    variables = {}
    for name in sorted({name for run in runs for name in run}):
        block = _block([run.get(name, NONE) for run in runs])
        variables[name] = (_dimensions(name, block.ndim - 1), block)
    return xr.Dataset(
        variables,
        coords={"run": np.array(numbers, np.int64)},
        attrs=ATTRIBUTES,
    )


def _block(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of as many axes, side by side along a first one; of fewer axes: none."""
    most = max(array.ndim for array in arrays)
    nothing = NONE.reshape((0,) * most)
    return stacked([array if array.ndim == most else nothing for array in arrays])


def _dimensions(name: str, axes: int) -> tuple[str, ...]:
    if name == "states":
        return "run", "stage", "parameter"
    further = [f"{name}_{k}" for k in range(axes - 1)]
    return "run", "point", *further


ATTRIBUTES = {
    "schema": "saddlery-sweep 1",
    "loss": "mean over samples; squared loss is half the squared norm",
    "flow_time": "theta' = -dL/dtheta; a step of descent is its learning rate",
    "states": (
        "at the quietest point of each stage, the last one at the end; layer by layer u, then v"
    ),
}
INDEX_TYPES = {
    "run": "int64",
    "seed": "int64",
    "width": "Int64",
    "loss": "float64",
    "flow_time": "float64",
    "steps": "Int64",
    "saved": "Int64",
    "stages": "Int64",
    "intermediate": "Int64",
    "predicted": "boolean",
    "jump_error": "float64",
    "wall_seconds": "float64",
}
# Columns of the index, in their order.
INDEX_COLUMNS = (
    *("run", "seed", "identity", "experiment", "architecture"),
    *("width", "task", "rule", "data", "status", "reason"),
    *("loss", "flow_time", "steps", "saved", "wall_seconds"),
    *("stages", "intermediate", "units", "units_by_layer"),
    *("stage_kind", "stage_start", "stage_end", "stage_loss"),
    *("verdict", "gradient_norm", "distance", "index"),
    *("theory", "predicted", "jump_error"),
)
