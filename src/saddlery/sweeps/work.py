"""One batch of a sweep: train its runs, find their stages, keep what was asked for. Idempotent:
done twice, it is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import SaddleryError
from ..experiments import Experiment
from ..plateaus import Stages, certify, stages
from ..predictions import THEORIES, compare, predict
from ..runs import Failure, Run, train_many
from .design import Sweep
from .storage import batch_name, design_of, is_done, write_batch

if TYPE_CHECKING:
    import xarray as xr

CURVES = ("flow_time", "step", "loss", "gradient_norm")
Row = dict[str, Any]


def do_batch(
    folder: str,
    batch: int,
    data: Mapping[str, str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> int:
    """Do one batch of the sweep in a folder, unless it is done; returns how many of its runs this
    call made. data: where the files of its task are now."""
    sweep = design_of(folder)
    if data:
        sweep = sweep.on(replace(sweep.experiment.task, **data))  # type: ignore[type-var]
    if is_done(Path(folder), sweep, batch):
        return 0
    import pandas as pd

    numbers = sweep.numbers(batch)
    rows: dict[int, Row] = {}
    curves: dict[int, dict[str, np.ndarray]] = {}
    made: dict[int, Experiment] = {}
    for number, found in zip(numbers, sweep.experiments(numbers), strict=True):
        if isinstance(found, Experiment):
            made[number] = found
        else:
            rows[number] = {
                "experiment": sweep.experiment.name,
                "status": "impossible",
                "reason": found,
            }
    places, watch = list(made), "observables" in sweep.measure
    for k, found in train_many(list(made.values()), chunk=sweep.chunk or None, observables=watch):
        number = places[k]
        if isinstance(found, Failure):
            rows[number] = {
                **described(found.experiment),
                "status": "impossible",
                "reason": found.reason,
            }
        else:
            measured, curves[number] = measure(found, sweep.measure)
            rows[number] = {**described(found.experiment), **measured}
        if progress is not None:
            progress(len(rows) / len(numbers), f"run {number}")
    table = pd.DataFrame(
        [{**dict.fromkeys(COLUMNS), **_fields(sweep, n), **rows[n]} for n in sorted(rows)]
    )
    arrays = _labelled(sorted(curves), [curves[n] for n in sorted(curves)])
    write_batch(Path(folder), batch_name(sweep.identity, batch), arrays, table.astype(TYPES))
    return len(numbers)


def _fields(sweep: Sweep, number: int) -> Row:
    point = sweep.point(number)
    return {
        "run": number,
        "seed": sweep.seed(number),
        **{path: _cell(value) for path, value in point.items()},
    }


def _cell(value: Any) -> Any:
    """A swept value as a cell of a table: numbers and text as they are, lists as text."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


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


def measure(run: Run, wanted: Sequence[str]) -> tuple[Row, dict[str, np.ndarray]]:
    """The columns of a run and its arrays; a measurement that fails is a reason in its row, never a
    lost run."""
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
    found = None
    if not run.failed:
        try:
            found = (certify if "certificates" in wanted else stages)(run)
            row |= _stages(found) | (_prediction(found) if "predictions" in wanted else {})
        except SaddleryError as error:
            row["reason"] = f"{t.reason}; its stages could not be measured: {error}"
    places = [stage.index for stage in found.stages] if found else []
    kept = {name: np.asarray(getattr(t, name)) for name in CURVES}
    kept["states"] = t.states[[*places, -1]]
    if "observables" in wanted:
        kept |= {f"observable.{name}": np.asarray(values) for name, values in t.observables.items()}
    return row, kept


def _stages(found: Stages) -> Row:
    counts = [tuple(layer.minimal for layer in stage.effective) for stage in found.stages]
    kinds = [stage.kind for stage in found.stages]
    certificates = [stage.certificate.record() for stage in found.stages if stage.certificate]
    row: Row = {
        "stages": len(found),
        "intermediate": kinds.count("intermediate"),
        "units": [sum(c) for c in counts],
        "units_by_layer": [list(c) for c in counts],
        "stage_kind": kinds,
        "stage_start": [stage.start for stage in found.stages],
        "stage_end": [stage.end for stage in found.stages],
        "stage_loss": [stage.loss for stage in found.stages],
    }
    if certificates:
        judged = ("verdict", "gradient_norm", "distance", "index")
        row |= {name: [kept[name] for kept in certificates] for name in judged}
    return row


def _prediction(found: Stages) -> Row:
    """By the first theory that applies: whether all its stages were seen and no others, and the
    largest error of a jump."""
    for theory in THEORIES:
        try:
            (prediction,) = predict(found.run.experiment, theory=theory)
        except SaddleryError:
            continue
        compared = compare(prediction, found)
        errors = [abs(stage.error) for stage in compared.stages if stage.error is not None]
        seen = all(stage.seen for stage in compared.stages) and compared.extra == 0
        return {"theory": theory, "predicted": seen, "jump_error": max(errors, default=None)}
    return {"theory": "none applies"}


def _labelled(numbers: Sequence[int], runs: Sequence[dict[str, np.ndarray]]) -> xr.Dataset:
    """The arrays of a batch with named dimensions, padded by NaN (steps: by -1) to the longest run
    and the largest state."""
    import xarray as xr

    variables = {}
    for name in sorted({name for run in runs for name in run}):
        chosen = [run.get(name, np.zeros(())) for run in runs]
        most = max(a.ndim for a in chosen)
        chosen = [a if a.ndim == most else np.zeros((0,) * most) for a in chosen]
        shape = tuple(max(sizes) for sizes in zip(*(a.shape for a in chosen), strict=True))
        whole = name == "step"
        block = np.full(
            (len(chosen), *shape), -1 if whole else np.nan, np.int64 if whole else chosen[0].dtype
        )
        for place, a in zip(block, chosen, strict=True):
            place[tuple(slice(n) for n in a.shape)] = a
        variables[name] = (_dimensions(name, len(shape)), block)
    return xr.Dataset(variables, coords={"run": np.array(numbers, np.int64)}, attrs=ATTRIBUTES)


def _dimensions(name: str, axes: int) -> tuple[str, ...]:
    if name == "states":
        return "run", "stage", "parameter"
    return ("run", "point", *(f"{name}_{k}" for k in range(axes - 1)))


ATTRIBUTES = {
    "schema": "saddlery-sweep 1",
    "loss": "mean over samples; squared loss is half the squared norm",
    "flow_time": "theta' = -dL/dtheta; a step of descent is its learning rate",
    "states": (
        "at the quietest point of each stage, the last one at the end; layer by layer u, then v"
    ),
}
TYPES = {
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
COLUMNS = (
    *("run", "seed", "identity", "experiment", "architecture", "width", "task", "rule"),
    *("data", "status", "reason", "loss", "flow_time", "steps", "saved", "wall_seconds"),
    *(
        "stages",
        "intermediate",
        "units",
        "units_by_layer",
        "stage_kind",
        "stage_start",
        "stage_end",
        "stage_loss",
    ),
    *("verdict", "gradient_norm", "distance", "index", "theory", "predicted", "jump_error"),
)
