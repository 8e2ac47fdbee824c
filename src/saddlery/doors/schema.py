"""What the files of runs, sweeps and studies hold: one written table each, and one check at the
door.

A folder may have been cut short, edited by hand, put together from two, or made by a stranger to do
harm. Everything that is read back passes here first: its size before it is unpacked, then every
field by type, shape, order and range. What does not pass is one sentence that begins with the name
of the file; what passes is used without another look. Tables are of schema version 1; fields marked
`optional` came later, and folders without them are read for ever.

Axes: T saved points of a run, P parameters. Numbers are finite where nothing else is said: JSON
holds null, never NaN.

`LABELS` says what the same things are called in data frames and labelled arrays (`doors.labels`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..basis.checks import InputError
from ..basis.echo import shown
from .door import Header

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

POINTS = 2**20  # saved points of a run: from 4,000 on they are thinned out
ROW = 100_000  # bytes of a row of an index when unpacked: those of saddlery take a few hundred
REASON = 300  # letters of a reason that a sentence repeats
HEXADECIMAL = re.compile("[0-9a-f]{12}")
STATUSES = ("stopped", "diverged", "not finite", "step too small", "interrupted")
FAILED = (
    "diverged",
    "not finite",
    "step too small",
    "interrupted",
)  # the last point may not be finite
NEVER_RAN = ("refused", "impossible")
AGAIN_RUN = "train the experiment again, experiment.toml repeats it exactly"
AGAIN_BATCH = "--resume, which repeats its batch"
AGAIN_ROW = "remove the file, and it is measured again"


class Field(NamedTuple):
    """A field of a record, or a column of a table of rows. kind: see `KINDS` and `COLUMNS`. none:
    whether it may be null.
    least, among: of its values. optional: whether it may be missing."""

    name: str
    kind: str
    none: bool = False
    least: float | None = None
    among: tuple[str, ...] = ()
    optional: bool = False


class Numbers(NamedTuple):
    """An array. axes: by letter. kind: "f" floating, "i" whole. order: "rising" or "never falling"
    along its first axis.
    least: of its values. last: whether the last entry of a failed run may be no finite number."""

    name: str
    axes: str
    kind: str = "f"
    order: str = ""
    least: float | None = None
    last: bool = False


# ----------------------------------------------------------------------- tables
RUN_RECORD = (  # record.json of a run
    Field("experiment", "text", optional=True),
    Field("identity", "identity"),
    Field("data", "text"),
    Field("status", "text", among=STATUSES),
    Field("reason", "text"),
    Field("rejected", "whole", least=0),
    Field("wall_seconds", "number", least=0),
    Field("warnings", "texts"),
    Field("versions", "table of texts"),
)
TRAJECTORY = (  # trajectory.npz of a run, beside observable.NAME (T, ...)
    Numbers("flow_time", "T", order="never falling", least=0),  # float32 rounds a small step away
    Numbers("step", "T", "i", order="rising", least=0),
    Numbers("loss", "T", last=True),
    Numbers("gradient_norm", "T", least=0, last=True),
    Numbers("states", "TP", last=True),
)
RUN_STAGES = (  # stages.json: an entry of runs
    Field("experiment", "text"),
    Field("architecture", "text"),
    Field("seed", "whole", least=0),
    Field("final_loss", "number", none=True),
    Field("identity", "text"),
    Field("status", "text", among=STATUSES),
    Field("warnings", "texts"),
    Field("stages", "tables"),
)
STAGE = (  # an entry of stages
    Field("kind", "text", among=("initial", "intermediate", "end")),
    Field("start", "number", least=0),
    Field("end", "number", least=0),
    Field("loss", "number"),
    Field("strength", "number", none=True),
    Field("effective_units", "any"),
    Field("effective", "tables"),
    Field("certificate", "table", none=True),
)
SWEEP_RECORD = (  # sweep.json
    Field("identity", "identity"),
    Field("name", "text"),
    Field("runs", "whole", least=1),
    Field("batch", "whole", least=1),
    Field("fields", "texts"),
    Field("created", "text"),
    Field("versions", "table of texts"),
    Field("git", "table", none=True),
)
FAILURE = (  # failed/BATCH.json
    Field("batch", "whole", least=0),
    Field("runs", "first and last"),
    Field("error", "text"),
    Field("attempts", "whole", least=1),
)
INDEX = (  # a row a run of index/BATCH.parquet, beside a column for each field that varies
    Field("run", "whole", least=0),
    Field("seed", "whole", least=0),
    Field("identity", "text", none=True),
    Field("experiment", "text"),
    Field("architecture", "text", none=True),
    Field("width", "whole", none=True, least=1),
    Field("task", "text", none=True),
    Field("rule", "text", none=True),
    Field("data", "text", none=True),
    Field("status", "text", among=(*STATUSES, *NEVER_RAN)),
    Field("reason", "text"),
    Field("loss", "number", none=True),
    Field("flow_time", "number", none=True, least=0),
    Field("steps", "whole", none=True, least=0),
    Field("saved", "whole", none=True, least=1),
    Field("wall_seconds", "number", none=True, least=0),
    Field("stages", "whole", none=True, least=0),
    Field("intermediate", "whole", none=True, least=0),
    Field("units", "wholes", none=True, least=0),
    Field("units_by_layer", "lists", none=True),
    Field("stage_kind", "texts", none=True, among=("initial", "intermediate", "end")),
    Field("stage_start", "numbers", none=True, least=0),
    Field("stage_end", "numbers", none=True, least=0),
    Field("stage_loss", "numbers", none=True),
    Field("verdict", "texts", none=True),
    Field("gradient_norm", "numbers", none=True, least=0),
    Field("distance", "numbers", none=True, least=0),
    Field("index", "wholes", none=True),
    Field("theory", "text", none=True),
    Field("predicted", "flag", none=True),
    Field("jump_error", "number", none=True),
    Field("digest", "text", optional=True),  # of the part, since it is written; see sweeps.storage
)
PER_STAGE = ("units", "units_by_layer", "stage_kind", "stage_start", "stage_end", "stage_loss")


# ----------------------------------------------------------------------- labels
class Label(NamedTuple):
    """A labelled array, or a column of a data frame. axes: its dimensions, see `DIMENSIONS`. kind:
    see `KINDS`. definition: what it is, and where the number that it is does not exist. units: "1"
    for counts and ratios. coordinate: whether others are drawn against it."""

    name: str
    axes: tuple[str, ...]
    definition: str
    units: str = "1"
    kind: str = "number"
    coordinate: bool = False


DIMENSIONS = {
    "run": "runs of an ensemble or a sweep, by number",
    "point": "saved points of a run, in order of time",
    "curve_point": "points of the curve of a theory, in order of time",
    "parameter": "weights, layer by layer: u, then v",
    "stage": "plateaus of a run, or stages that a theory expects, in order",
    "layer": "layers of units, from the input on",
    "escape": "a layer of a run at a drop between two plateaus",
    "node": "fixed points of a saddle graph, in the order they were found",
    "edge": "paths of a saddle graph",
}
TIME = "flow time"  # of theta' = -dL/dtheta; a step of descent is its learning rate
LOSS = "loss"  # mean over samples; squared loss is half the squared norm
SLOPE = "loss per weight"


def _labels(axes: tuple[str, ...], *labels: Label) -> tuple[Label, ...]:
    return tuple(label._replace(axes=axes + label.axes) for label in labels)


_CURVES = (
    Label("flow_time", (), "time of theta' = -dL/dtheta; a step of descent is its learning rate",
          TIME, coordinate=True),
    Label("step", (), "accepted steps so far", kind="whole", coordinate=True),
    Label("loss", (), "mean over samples; squared loss is half the squared norm", LOSS),
    Label("gradient_norm", (), "2-norm of the gradient of the loss", SLOPE),
)  # fmt: skip
_FIXED_POINT = (
    Label("certified", (), "whether there is a fixed point; missing where nobody looked",
          kind="flag"),
    Label("verdict", (), "of the certificate; empty where nobody looked", kind="text"),
    Label("fixed_point_loss", (), "of the fixed point; missing where there is none", LOSS),
    Label("gradient_norm", (), "at the fixed point; missing where there is none", SLOPE),
    Label("distance", (), "from the state to the fixed point, 2-norm; missing as above", "weights"),
    Label("relative_distance", (), "that over the norm of the state"),
    Label("index", (), "negative Hessian eigenvalues; missing where unknown", kind="whole"),
    Label("zero_modes", (), "zero Hessian eigenvalues; missing where unknown", kind="whole"),
    Label("lowest_eigenvalue", (), "of the Hessian", "loss per weight squared"),
    Label("escape_order", (), "in distance, at which the loss falls; missing without descent",
          kind="whole"),
    Label("escape_rate", (), "of exponential escape; missing where it is none", "1 / flow time"),
    Label("utility", (), "of the best silent unit; missing where no unit is silent", LOSS),
    Label("construction", (), "case of Theorem 1 that embeds the narrow network", kind="text"),
    Label("reason", (), "of the verdict, in words", kind="text"),
)  # fmt: skip
_PREDICTED = (
    Label("loss", (), "of the fixed point that theory expects", LOSS),
    Label("units", (), "effective units, over all layers", kind="whole"),
    Label("jump", (), "when the loss is half-way from the stage before; missing for the first",
          TIME),
    Label("mean", (), "of that time over draws of the initial weights", TIME),
    Label("low", (), "of the interval of 90% of the draws", TIME),
    Label("high", (), "of the interval of 90% of the draws", TIME),
    Label("index", (), "negative Hessian eigenvalues; missing where not said", kind="whole"),
    Label("share", (), "of the draws that come here by the same path; missing for one path"),
)  # fmt: skip
LABELS: dict[str, tuple[Label, ...]] = {
    "run": (
        *_labels(("point",), *_CURVES),
        Label("states", ("point", "parameter"), "the weights", "weights"),
    ),
    "ensemble": (
        *_labels(("run", "point"), *_CURVES),
        Label("states", ("run", "point", "parameter"), "the weights", "weights"),
        Label("seed", ("run",), "of the experiment", kind="whole", coordinate=True),
        Label("experiment", ("run",), "its name", kind="text"),
        Label("identity", ("run",), "of the experiment, by its content", kind="text"),
        Label("status", ("run",), "how the run ended", kind="text"),
        Label("final_loss", ("run",), "at the end; missing where nothing ran", LOSS),
        Label("steps", ("run",), "in all; missing where nothing ran", kind="whole"),
        Label("reason", ("run",), "why it ended, or could not be run, in words", kind="text"),
    ),
    "stages": _labels(
        ("stage",),
        Label("kind", (), "initial, intermediate or end", kind="text"),
        Label("start", (), "of the plateau", TIME),
        Label("end", (), "of the plateau", TIME),
        Label("loss", (), "where the run is nearest to rest", LOSS),
        Label("strength", (), "of the plateau (see find_plateaus)"),
        Label("effective_units", (), "over all layers", kind="whole"),
        Label("effective_units_by_layer", ("layer",), "of the smallest network with this map",
              kind="whole"),
        Label("states", ("parameter",), "the weights where it is nearest to rest", "weights"),
        *_FIXED_POINT,
    ),
    "prediction": (
        *_labels(("stage",), *_PREDICTED),
        Label("curve_flow_time", ("curve_point",), "of the curve of the whole run", TIME,
              coordinate=True),
        Label("curve_loss", ("curve_point",), "of the whole run, by the theory", LOSS),
    ),
    "comparison": _labels(
        ("stage",),
        *_PREDICTED,
        Label("seen", (), "whether a plateau of the run is this stage", kind="flag"),
        Label("run_loss", (), "of that plateau, or of its fixed point; missing where none", LOSS),
        Label("run_units", (), "of that plateau, over all layers; missing where none",
              kind="whole"),
        Label("run_jump", (), "when the run's loss was half-way; missing if never", TIME),
        Label("error", (), "of the predicted jump, relative"),
        Label("inside", (), "whether the run's jump lies in the interval", kind="flag"),
    ),
    "mechanism": _labels(
        ("escape",),
        Label("drop", (), "which drop between two plateaus, from 0", kind="whole"),
        Label("layer_number", (), "which layer, from 0", kind="whole"),
        Label("units", (), "participation ratio of the units that grow"),
        Label("directions", (), "participation ratio of the directions that grow"),
        Label("measured", (), "directions or units; empty for fewer than four", kind="text"),
        Label("expected", (), "by the leading degree; empty where none is declared", kind="text"),
    ),
    "nodes": _labels(
        ("node",),
        Label("units", (), "of the narrow network", kind="whole"),
        Label("loss", (), "of the fixed point", LOSS),
        Label("states", ("parameter",), "the fixed point in the wide network", "weights"),
        *_FIXED_POINT,
    ),
    "edges": _labels(
        ("edge",),
        Label("start", (), "node that is left", kind="whole"),
        Label("end", (), "node that is reached", kind="whole"),
        Label("edge_utility", (), "of the unit that escapes", LOSS),
        Label("order", (), "p + 1, at which the loss falls", kind="whole"),
        Label("rate", (), "of exponential growth; missing where it is none", "1 / flow time"),
    ),
}  # fmt: skip


# ------------------------------------------------------------------------ kinds
def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    return (isinstance(value, float) and np.isfinite(value)) or _is_whole(value)


def _listed(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_range(value: Any) -> bool:
    return _listed(_is_whole)(value) and len(value) == 2 and 0 <= value[0] <= value[1]


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", _is_text),
    "identity": (
        "twelve hexadecimal digits",
        lambda value: _is_text(value) and bool(HEXADECIMAL.fullmatch(value)),
    ),
    "whole": ("a whole number", _is_whole),
    "number": ("a finite number", _is_number),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "texts": ("a list of texts", _listed(_is_text)),
    "table": ("a table", _is_table),
    "tables": ("a list of tables", _listed(_is_table)),
    "table of texts": (
        "a table of texts",
        lambda value: _is_table(value) and all(map(_is_text, value.values())),
    ),
    "first and last": ("the first and the last of its runs", _is_range),
    "any": ("given", lambda value: True),
}


def damaged(path: str | Path, words: object, remedy: str) -> InputError:
    """The sentence about a file that is not what it should be; words: why, cut where other
    libraries quote the file itself."""
    line = " ".join(str(words).split())
    line = line if len(line) <= REASON else f"{line[: REASON - 3]}..."
    return InputError(f"{path}: damaged ({line}); {remedy}")


@contextmanager
def as_damaged(path: str | Path, remedy: str) -> Iterator[None]:
    """What the door says of a file of ours that is there, with what to do about it; a missing file
    is left as it is."""
    try:
        yield
    except InputError as error:
        if not os.path.exists(path):  # also of names that no file can have
            raise
        words = str(error).removeprefix(f"{path}: ")
        raise damaged(
            path, words.rpartition("; ")[0] or words, remedy
        ) from None  # the door's own remedy is another one


def check(
    record: Any, table: Sequence[Field], path: str | Path, remedy: str = AGAIN_RUN
) -> dict[str, Any]:
    """The record, if it has every field of the table as it should be. Raises InputError that begins
    with `path`.

    Example
    -------
    >>> from saddlery.doors.schema import FAILURE, check
    >>> check({"batch": 0, "runs": [0, 3], "error": "", "attempts": "two"}, FAILURE, "failed/0.json", "remove it")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: failed/0.json: damaged (attempts must be a whole number, got 'two'); remove it
    """
    if not isinstance(record, dict):
        raise damaged(path, f"a table is needed, got {shown(record)}", remedy)
    for field in table:
        if field.name not in record:
            if field.optional:
                continue
            raise damaged(path, f"without {field.name!r}", remedy)
        value = record[field.name]
        if value is None and field.none:
            continue
        words, fits = KINDS[field.kind]
        if not fits(value):
            raise damaged(path, f"{field.name} must be {words}, got {shown(value)}", remedy)
        if field.least is not None and isinstance(value, (int, float)) and value < field.least:
            raise damaged(
                path, f"{field.name} must be at least {field.least:g}, got {shown(value)}", remedy
            )
        if field.among and value not in field.among:
            raise damaged(
                path,
                f"{field.name} must be one of {', '.join(field.among)}, got {shown(value)}",
                remedy,
            )
    return record


def check_stages(record: Any, path: str | Path) -> dict[str, Any]:
    """The content of a stages.json, if it is what `saddlery certify` writes."""
    remedy = "certify the run again"
    whole = check(record, (Field("runs", "tables"),), path, remedy)
    for run in whole["runs"]:
        for stage in check(run, RUN_STAGES, path, remedy)["stages"]:
            check(stage, STAGE, path, remedy)
    return whole


def check_row(row: Any, path: str | Path) -> dict[str, Any]:
    """A row of a study: a table, by name, of numbers, texts, nulls and lists of them."""
    if not isinstance(row, dict) or not row:
        raise damaged(path, f"a table of numbers is needed, got {shown(row)}", AGAIN_ROW)
    return row


# ----------------------------------------------------------------------- arrays
def check_headers(
    headers: Mapping[str, Header],
    table: Sequence[Numbers],
    path: str | Path,
    prefix: str,
    parameters: int | None = None,
) -> dict[str, int]:
    """The size of every axis, if all arrays are there, of their kinds, and agree on them: before
    anything is unpacked.

    prefix: of further arrays, (T, ...). parameters: P, where it is known. Raises InputError.
    """
    sizes: dict[str, int] = {} if parameters is None else {"P": parameters}
    for array in table:
        if array.name not in headers:
            raise damaged(path, f"without {array.name!r}", AGAIN_RUN)
        header = headers[array.name]
        if header.dtype.kind != array.kind:
            words = "whole" if array.kind == "i" else "floating"
            raise damaged(
                path, f"{array.name} must be of {words} numbers, got {header.dtype}", AGAIN_RUN
            )
        if len(header.shape) != len(array.axes):
            raise damaged(
                path,
                f"{array.name} must have axes {', '.join(array.axes)}, got {header.shape}",
                AGAIN_RUN,
            )
        for axis, size in zip(array.axes, header.shape, strict=True):
            if sizes.setdefault(axis, size) != size or size == 0:
                raise damaged(
                    path,
                    f"{array.name} must have {axis} = {sizes[axis]}, got shape {header.shape}",
                    AGAIN_RUN,
                )
    if sizes["T"] > POINTS:
        raise damaged(path, f"at most {POINTS:,} saved points, got {sizes['T']:,}", AGAIN_RUN)
    for name, header in headers.items():
        if name.startswith(prefix) and (
            header.dtype.kind not in "fib" or header.shape[:1] != (sizes["T"],)
        ):
            words = (
                f"{name} must be of numbers, {sizes['T']} along its first axis, got "
                f"{header.dtype} of {header.shape}"
            )
            raise damaged(path, words, AGAIN_RUN)
    return sizes


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    table: Sequence[Numbers],
    path: str | Path,
    *,
    failed: bool,
    remedy: str = AGAIN_RUN,
) -> None:
    """Raise InputError where numbers are out of order or range, or none; `failed`: a run whose last
    point may be so."""
    for array in table:
        values = arrays[array.name]
        sound = values[:-1] if array.last and failed else values
        if not np.isfinite(sound).all():
            where = tuple(int(k) for k in np.argwhere(~np.isfinite(sound))[0])
            raise damaged(
                path, f"{array.name} must be finite, got {sound[where]} at index {where}", remedy
            )
        if array.least is not None and sound.size and sound.min() < array.least:
            raise damaged(
                path, f"{array.name} must be at least {array.least:g}, got {sound.min():g}", remedy
            )
        steps = np.diff(values) if array.order else np.ones(1)
        if (steps < 0).any() or (array.order == "rising" and (steps == 0).any()):
            where = int(np.argmax(steps <= 0 if array.order == "rising" else steps < 0))
            raise damaged(
                path, f"{array.name} must be {array.order}, got {values[where : where + 2]}", remedy
            )


# ------------------------------------------------------------------------- rows
def read_rows(path: str | Path, runs: range, fields: Sequence[str], identity: str) -> pd.DataFrame:
    """The index of one batch, if it is the whole of it: a row for each of `runs`, in order, with
    every column of `INDEX` and of the fields that vary. identity: of the sweep, which the name of
    the file holds.

    Raises InputError; FileNotFoundError where there is no such file. Cost: milliseconds.
    """
    import pyarrow.parquet as parquet

    path = Path(path)
    if path.stem.partition("-")[2] != identity:
        raise damaged(path, f"a batch of another sweep than {identity}", "remove it")
    try:
        with open(path, "rb") as handle:
            metadata = parquet.read_metadata(handle)
        sizes = [metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups)]
        if metadata.num_rows != len(runs):
            raise ValueError(
                f"{metadata.num_rows:,} rows for the {len(runs):,} runs "
                f"{runs.start} to {runs.stop - 1}"
            )
        if sum(sizes) > ROW * (len(runs) + 10):
            raise ValueError(f"{len(runs):,} rows that unpack to {sum(sizes):,} bytes")
        table = parquet.read_table(path, page_checksum_verification=True)
        _check_columns(table, fields)
        _check_cells(table, runs)
        return _frame(table)
    except (FileNotFoundError, InputError):
        raise
    except Exception as error:  # Arrow has many kinds of its own
        raise damaged(path, error, f"remove it and {AGAIN_BATCH}") from None


def _frame(table: pyarrow.Table) -> pd.DataFrame:
    """As pandas reads it, but for what the file says of pandas' own types, which nothing has
    checked: the tables here say it."""
    import pandas as pd

    frame = table.replace_schema_metadata(None).to_pandas()
    nullable = {"whole": "Int64", "flag": "boolean"}
    for field in INDEX:
        if field.none and field.kind in nullable:
            frame[field.name] = pd.array(
                table.column(field.name).to_pylist(), dtype=nullable[field.kind]
            )
        elif field.kind == "number":
            frame[field.name] = frame[field.name].astype("float64")
    return frame


def _check_columns(table: pyarrow.Table, fields: Sequence[str]) -> None:
    import pyarrow.types as types

    text = lambda kind: types.is_string(kind) or types.is_large_string(kind)
    number = lambda kind: types.is_floating(kind) or types.is_integer(kind)
    listed = lambda each: (
        lambda kind: (types.is_list(kind) or types.is_large_list(kind)) and each(kind.value_type)
    )
    kinds: dict[str, Callable[[Any], bool]] = {
        "text": text,
        "whole": types.is_integer,
        "number": number,
        "flag": types.is_boolean,
        "wholes": listed(lambda kind: types.is_integer(kind) or types.is_null(kind)),
        "numbers": listed(lambda kind: number(kind) or types.is_null(kind)),
        "texts": listed(lambda kind: text(kind) or types.is_null(kind)),
        "lists": listed(
            lambda kind: types.is_list(kind) or types.is_large_list(kind) or types.is_null(kind)
        ),
        "any": lambda kind: (
            text(kind) or number(kind) or types.is_boolean(kind) or types.is_null(kind)
        ),
    }
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError("a column twice")
    for field in (*INDEX, *(Field(name, "any", none=True) for name in fields)):
        if field.name not in names:
            if field.optional:
                continue
            raise ValueError(f"without the column {field.name!r}")
        column = table.column(field.name)
        if field.none and types.is_null(column.type):
            continue
        if not kinds[field.kind](column.type):
            raise ValueError(f"column {field.name} must be of {field.kind}, got {column.type}")
        if column.null_count and not field.none:
            raise ValueError(f"column {field.name} has rows without a value")


def _check_cells(table: pyarrow.Table, runs: range) -> None:
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if columns["run"] != list(runs):
        raise ValueError(f"runs must be {runs.start} to {runs.stop - 1}, each once and in order")
    for field in INDEX:
        for value in columns.get(field.name, ()):
            for entry in value if isinstance(value, list) else (value,):
                bad = (
                    field.least is not None
                    and isinstance(entry, (int, float))
                    and entry < field.least
                )
                if bad or (field.among and entry is not None and entry not in field.among):
                    raise ValueError(f"{field.name} of a run is {shown(entry)}")
    for k in range(len(runs)):
        _check_run({name: values[k] for name, values in columns.items()})


def _check_run(row: Mapping[str, Any]) -> None:
    """What the cells of one run must be to each other."""
    ran = row["status"] not in NEVER_RAN
    needed = (
        "identity",
        "architecture",
        "width",
        "task",
        "rule",
        "data",
        "flow_time",
        "steps",
        "saved",
    )
    missing = [name for name in needed if row[name] is None and ran]
    if missing:
        raise ValueError(f"run {row['run']} has no {missing[0]}")
    if ran and row["status"] not in FAILED and not _is_number(row["loss"]):
        raise ValueError(f"run {row['run']} ended well with a loss of {row['loss']}")
    plateaus = row["stages"]
    for name in PER_STAGE:
        if (row[name] is None) != (plateaus is None) or (
            row[name] is not None and len(row[name]) != plateaus
        ):
            raise ValueError(
                f"run {row['run']} has {plateaus} stages and {name} {shown(row[name])}"
            )
    if plateaus:
        ends = (*row["stage_start"], *row["stage_end"])
        if not all(map(_is_number, (*ends, *row["stage_loss"]))):
            raise ValueError(f"run {row['run']} has stages without a finite time or loss")
        if any(
            start > end for start, end in zip(row["stage_start"], row["stage_end"], strict=True)
        ):
            raise ValueError(f"run {row['run']} has a stage that ends before it begins")
