"""What the files of runs, sweeps and studies hold: one written table each,
and one check at the door.

A folder may have been cut short, edited by hand, put together from two, or
made by a stranger to do harm. Everything that is read back passes here
first: its size before it is unpacked, then every field by type, shape,
order and range. What does not pass is one sentence that begins with the
name of the file; what passes is used without another look. Tables are of
schema version 1; fields marked `optional` came later, and folders without
them are read for ever.

Axes: T saved points of a run, P parameters. Numbers are finite where
nothing else is said: JSON holds null, never NaN.

`LABELS` says what the same things are called in data frames and labelled arrays
(`doors.labels`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..basis.checks import LARGEST, InputError
from ..basis.echo import shown
from .door import Header

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

SAVED_POINTS = 2**20  # most saved points of a run: from 4,000 on they are thinned out
# Most bytes of a row of an index when unpacked: those of saddlery take a few hundred.
ROW = 100_000
REASON = 300  # letters of a reason that a sentence repeats at most
HEXADECIMAL = re.compile("[0-9a-f]{12}")
STATUSES = (
    "stopped",
    "diverged",
    "not finite",
    "step too small",
    "interrupted",
)
# Statuses of runs whose last point may not be finite.
FAILED = ("diverged", "not finite", "step too small", "interrupted")
NEVER_RAN = ("refused", "impossible")
AGAIN_RUN = "train the experiment again, experiment.toml repeats it exactly"
AGAIN_BATCH = "--resume, which repeats its batch"
AGAIN_ROW = "remove the file, and it is measured again"


class Field(NamedTuple):
    """A field of a record, or a column of a table of rows.

    kind: see `FIELD_KINDS` and `_column_kinds`.
    none: whether it may be null.
    least, among: of its values.
    optional: whether it may be missing.
    """

    name: str
    kind: str
    none: bool = False
    least: float | None = None
    among: tuple[str, ...] = ()
    optional: bool = False

    def too_small(self, value: Any) -> bool:
        if self.least is None or not isinstance(value, (int, float)):
            return False
        return value < self.least


class Numbers(NamedTuple):
    """An array.

    axes: by letter.
    kind: "f" floating, "i" whole.
    order: "rising" or "never falling" along its first axis.
    least: of its values.
    last: whether the last entry of a failed run may be no finite number.
    """

    name: str
    axes: str
    kind: str = "f"
    order: str = ""
    least: float | None = None
    last: bool = False


# ----------------------------------------------------------------------- tables
# record.json of a run
RUN_RECORD = (
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
# trajectory.npz of a run, beside observable.NAME (T, ...)
TRAJECTORY = (
    # Never falling, not rising: float32 rounds a small step away.
    Numbers("flow_time", "T", order="never falling", least=0),
    Numbers("step", "T", "i", order="rising", least=0),
    Numbers("loss", "T", last=True),
    Numbers("gradient_norm", "T", least=0, last=True),
    Numbers("states", "TP", last=True),
)
# An entry of `runs` in stages.json.
RUN_STAGES = (
    Field("experiment", "text"),
    Field("architecture", "text"),
    Field("seed", "whole", least=0),
    Field("final_loss", "number", none=True),
    Field("identity", "text"),
    Field("status", "text", among=STATUSES),
    Field("warnings", "texts"),
    Field("stages", "tables"),
)
# An entry of `stages` in that entry.
STAGE = (
    Field("kind", "text", among=("initial", "intermediate", "end")),
    Field("start", "number", least=0),
    Field("end", "number", least=0),
    Field("loss", "number"),
    Field("strength", "number", none=True),
    Field("effective_units", "any"),
    Field("effective", "tables"),
    Field("certificate", "table", none=True),
)
# sweep.json
SWEEP_RECORD = (
    Field("identity", "identity"),
    Field("name", "text"),
    Field("runs", "whole", least=1),
    Field("batch", "whole", least=1),
    Field("fields", "texts"),
    Field("created", "text"),
    Field("versions", "table of texts"),
    Field("git", "table", none=True),
)
# failed/BATCH.json
FAILURE = (
    Field("batch", "whole", least=0),
    Field("runs", "first and last"),
    Field("error", "text"),
    Field("attempts", "whole", least=1),
)
# index/BATCH.parquet: a row a run, beside a column for each field that varies
INDEX = (
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
    Field(
        "stage_kind",
        "texts",
        none=True,
        among=("initial", "intermediate", "end"),
    ),
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
    # of the part, since it is written; see sweeps.storage
    Field("digest", "text", optional=True),
)
# Columns that hold lists with an entry for each stage of a run.
PER_STAGE = (
    "units",
    "units_by_layer",
    "stage_kind",
    "stage_start",
    "stage_end",
    "stage_loss",
)
# Columns in which a run that was trained always has a value.
OF_TRAINED = (
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


# ----------------------------------------------------------------------- labels
class Label(NamedTuple):
    """A labelled array, or a column of a data frame.

    axes: its dimensions, see `DIMENSIONS`.
    definition: what it is, and where the number that it is does not exist.
    units: "1" for counts and ratios.
    kind: see `labels.DTYPES`.
    coordinate: whether others are drawn against it.
    """

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
TIME = "flow time"  # that of theta' = -dL/dtheta; a step of descent takes its learning rate
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
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return -LARGEST <= value < LARGEST


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return bool(np.isfinite(value))
    return _is_whole(value)


def _listed(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_range(value: Any) -> bool:
    if not _listed(_is_whole)(value) or len(value) != 2:
        return False
    first, last = value
    return 0 <= first <= last


def _is_identity(value: Any) -> bool:
    return _is_text(value) and bool(HEXADECIMAL.fullmatch(value))


def _is_table_of_texts(value: Any) -> bool:
    return _is_table(value) and all(map(_is_text, value.values()))


# By the name of a kind: its words in a sentence, and its test.
FIELD_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", _is_text),
    "identity": ("twelve hexadecimal digits", _is_identity),
    "whole": ("a whole number", _is_whole),
    "number": ("a finite number", _is_number),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "texts": ("a list of texts", _listed(_is_text)),
    "table": ("a table", _is_table),
    "tables": ("a list of tables", _listed(_is_table)),
    "table of texts": ("a table of texts", _is_table_of_texts),
    "first and last": ("the first and the last of its runs", _is_range),
    "any": ("given", lambda value: True),
}


def damaged(path: str | Path, words: object, remedy: str) -> InputError:
    """The sentence about a file that is not what it should be.

    words: why, cut where other libraries quote the file itself.

    Example
    -------
    >>> from saddlery.doors.schema import damaged
    >>> print(damaged("record.json", "without 'status'", "train it again"))
    record.json: damaged (without 'status'); train it again
    """
    line = " ".join(str(words).split())
    if len(line) > REASON:
        line = f"{line[: REASON - 3]}..."
    return InputError(f"{path}: damaged ({line}); {remedy}")


@contextmanager
def as_damaged(path: str | Path, remedy: str) -> Iterator[None]:
    """What the door says of a file of ours that is there, with what to do
    about it.

    A missing file is left as it is.
    """
    try:
        yield
    except InputError as error:
        # Also of names that no file can have.
        if not os.path.exists(path):
            raise
        words = str(error).removeprefix(f"{path}: ")
        # The door's own remedy is for files of the user's, not for ours.
        why = words.rpartition("; ")[0] or words
        raise damaged(path, why, remedy) from None


def check(
    record: Any,
    table: Sequence[Field],
    path: str | Path,
    remedy: str = AGAIN_RUN,
) -> dict[str, Any]:
    """The record, if it has every field of the table as it should be.

    Raises InputError that begins with `path`.

    Example
    -------
    >>> from saddlery.doors.schema import FAILURE, check
    >>> record = {"batch": 0, "runs": [0, 3], "error": "", "attempts": "two"}
    >>> check(record, FAILURE, "failed/0.json", "remove it")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: failed/0.json: damaged
    (attempts must be a whole number, got 'two'); remove it
    """
    if not isinstance(record, dict):
        raise damaged(
            path,
            f"a table is needed, got {shown(record)}",
            remedy,
        )
    for field in table:
        if field.name in record:
            _check_value(record[field.name], field, path, remedy)
        elif not field.optional:
            raise damaged(path, f"without {field.name!r}", remedy)
    return record


def _check_value(
    value: Any,
    field: Field,
    path: str | Path,
    remedy: str,
) -> None:
    if value is None and field.none:
        return
    needed = ""
    words, fits = FIELD_KINDS[field.kind]
    if not fits(value):
        needed = words
    elif field.too_small(value):
        needed = f"at least {field.least:g}"
    elif field.among and value not in field.among:
        needed = f"one of {', '.join(field.among)}"
    if needed:
        words = f"{field.name} must be {needed}, got {shown(value)}"
        raise damaged(path, words, remedy)


def check_stages(record: Any, path: str | Path) -> dict[str, Any]:
    """The content of a stages.json, if it is what `saddlery certify` writes."""
    remedy = "certify the run again"
    whole = check(record, (Field("runs", "tables"),), path, remedy)
    for run in whole["runs"]:
        for stage in check(run, RUN_STAGES, path, remedy)["stages"]:
            check(stage, STAGE, path, remedy)
    return whole


def check_row(row: Any, path: str | Path) -> dict[str, Any]:
    """A row of a study: a table, by name, of numbers, texts, nulls and lists
    of them."""
    if not isinstance(row, dict) or not row:
        words = f"a table of numbers is needed, got {shown(row)}"
        raise damaged(path, words, AGAIN_ROW)
    return row


# ----------------------------------------------------------------------- arrays
def check_headers(
    headers: Mapping[str, Header],
    table: Sequence[Numbers],
    path: str | Path,
    prefix: str,
    parameters: int | None = None,
) -> dict[str, int]:
    """The size of every axis, if all arrays are there, of their kinds, and
    agree on them.

    Looked at before anything is unpacked.

    prefix: of further arrays, (T, ...).
    parameters: P, where it is known.

    Raises InputError.
    """
    sizes: dict[str, int] = {}
    if parameters is not None:
        sizes["P"] = parameters
    for array in table:
        if array.name not in headers:
            raise damaged(path, f"without {array.name!r}", AGAIN_RUN)
        words = _misfit(headers[array.name], array, sizes)
        if words:
            raise damaged(path, f"{array.name} must {words}", AGAIN_RUN)

    points = sizes["T"]
    if points > SAVED_POINTS:
        words = f"at most {SAVED_POINTS:,} saved points, got {points:,}"
        raise damaged(path, words, AGAIN_RUN)

    for name, header in headers.items():
        if name.startswith(prefix):
            _check_further(name, header, points, path)
    return sizes


def _misfit(header: Header, array: Numbers, sizes: dict[str, int]) -> str:
    """Why an array is not what the table says, or nothing; notes the sizes
    of axes seen first."""
    shape = header.shape
    if header.dtype.kind != array.kind:
        words = "whole" if array.kind == "i" else "floating"
        return f"be of {words} numbers, got {header.dtype}"
    if len(shape) != len(array.axes):
        return f"have axes {', '.join(array.axes)}, got {shape}"
    for axis, size in zip(array.axes, shape, strict=True):
        if sizes.setdefault(axis, size) != size or size == 0:
            return f"have {axis} = {sizes[axis]}, got shape {shape}"
    return ""


def _check_further(
    name: str,
    header: Header,
    points: int,
    path: str | Path,
) -> None:
    numeric = header.dtype.kind in "fib"
    if numeric and header.shape[:1] == (points,):
        return
    needed = f"of numbers, {points} along its first axis"
    words = f"{name} must be {needed}, got {header.dtype} of {header.shape}"
    raise damaged(path, words, AGAIN_RUN)


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    table: Sequence[Numbers],
    path: str | Path,
    *,
    failed: bool,
    remedy: str = AGAIN_RUN,
) -> None:
    """Raise InputError where numbers are out of order or range, or none.

    failed: a run whose last point may be so.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.doors.schema import Numbers, check_arrays
    >>> steps = {"step": np.array([0, 2, 1])}
    >>> table = [Numbers("step", "T", "i", order="rising")]
    >>> check_arrays(steps, table, "trajectory.npz", failed=False, remedy="remove it")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: trajectory.npz: damaged
    (step must be rising, got [2 1]); remove it
    """
    for array in table:
        values = arrays[array.name]
        sound = values[:-1] if array.last and failed else values
        needed = _not_finite(sound)
        needed = needed or _below(sound, array.least)
        needed = needed or _out_of_order(values, array.order)
        if needed:
            words = f"{array.name} must be {needed}"
            raise damaged(path, words, remedy)


def _not_finite(values: np.ndarray) -> str:
    bad = ~np.isfinite(values)
    if not bad.any():
        return ""
    where = tuple(int(k) for k in np.argwhere(bad)[0])
    return f"finite, got {values[where]} at index {where}"


def _below(values: np.ndarray, least: float | None) -> str:
    if least is None or not values.size or values.min() >= least:
        return ""
    return f"at least {least:g}, got {values.min():g}"


def _out_of_order(values: np.ndarray, order: str) -> str:
    if not order:
        return ""
    steps = np.diff(values)
    bad = steps <= 0 if order == "rising" else steps < 0
    if not bad.any():
        return ""
    where = int(np.argmax(bad))
    return f"{order}, got {values[where : where + 2]}"


# ------------------------------------------------------------------------- rows
def read_rows(
    path: str | Path,
    runs: range,
    fields: Sequence[str],
    identity: str,
) -> pd.DataFrame:
    """The index of one batch, if it is the whole of it.

    A row for each of `runs`, in order, with every column of `INDEX` and of
    the fields that vary.

    identity: of the sweep, which the name of the file holds.

    Raises InputError; FileNotFoundError where there is no such file.
    Cost: milliseconds.
    """
    import pyarrow.parquet as parquet

    path = Path(path)
    if path.stem.partition("-")[2] != identity:
        raise damaged(
            path,
            f"a batch of another sweep than {identity}",
            "remove it",
        )
    try:
        with open(path, "rb") as handle:
            _check_size(parquet.read_metadata(handle), runs)
        table = parquet.read_table(path, page_checksum_verification=True)
        _check_columns(table, fields)
        _check_cells(table, runs)
        return _frame(table)
    except (FileNotFoundError, InputError):
        raise
    except Exception as error:  # Arrow has many kinds of its own
        raise damaged(
            path,
            error,
            f"remove it and {AGAIN_BATCH}",
        ) from None


def _check_size(metadata: Any, runs: range) -> None:
    """Before anything is unpacked: as many rows as runs, and none of them huge."""
    count = len(runs)
    if metadata.num_rows != count:
        numbers = f"{runs.start} to {runs.stop - 1}"
        raise ValueError(
            f"{metadata.num_rows:,} rows for the {count:,} runs {numbers}",
        )
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    if size > ROW * (count + 10):
        raise ValueError(f"{count:,} rows that unpack to {size:,} bytes")


def _frame(table: pyarrow.Table) -> pd.DataFrame:
    """As pandas reads it, by the tables here.

    What the file says of pandas' own types is left out: nothing has checked
    it.
    """
    import pandas as pd

    frame = table.replace_schema_metadata(None).to_pandas()
    nullable = {"whole": "Int64", "flag": "boolean"}
    for field in INDEX:
        if field.none and field.kind in nullable:
            cells = table.column(field.name).to_pylist()
            frame[field.name] = pd.array(
                cells,
                dtype=nullable[field.kind],
            )
        elif field.kind == "number":
            frame[field.name] = frame[field.name].astype("float64")
    return frame


def _column_kinds() -> dict[str, Callable[[Any], bool]]:
    """The tests of Arrow's types, by the kind of a field."""
    from pyarrow.types import (
        is_boolean,
        is_floating,
        is_integer,
        is_large_list,
        is_large_string,
        is_list,
        is_null,
        is_string,
    )

    def either(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
        return lambda kind: any(test(kind) for test in tests)

    text = either(is_string, is_large_string)
    number = either(is_floating, is_integer)
    listing = either(is_list, is_large_list)

    def listed(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
        # Lists that are empty in every row are lists of nulls.
        entry = either(each, is_null)
        return lambda kind: listing(kind) and entry(kind.value_type)

    return {
        "text": text,
        "whole": is_integer,
        "number": number,
        "flag": is_boolean,
        "wholes": listed(is_integer),
        "numbers": listed(number),
        "texts": listed(text),
        "lists": listed(listing),
        "any": either(text, number, is_boolean, is_null),
    }


def _check_columns(table: pyarrow.Table, fields: Sequence[str]) -> None:
    from pyarrow.types import is_null

    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError("a column twice")
    kinds = _column_kinds()
    varying = [Field(name, "any", none=True) for name in fields]
    for field in (*INDEX, *varying):
        name = field.name
        if name not in names:
            if field.optional:
                continue
            raise ValueError(f"without the column {name!r}")
        column = table.column(name)
        if field.none and is_null(column.type):
            continue
        if not kinds[field.kind](column.type):
            raise ValueError(
                f"column {name} must be of {field.kind}, got {column.type}",
            )
        if column.null_count and not field.none:
            raise ValueError(f"column {name} has rows without a value")


def _check_cells(table: pyarrow.Table, runs: range) -> None:
    columns = {}
    for name in table.column_names:
        columns[name] = table.column(name).to_pylist()
    if columns["run"] != list(runs):
        raise ValueError(
            f"runs must be {runs.start} to {runs.stop - 1}, each once and in order",
        )
    for field in INDEX:
        for value in columns.get(field.name, ()):
            _check_cell(value, field)
    for k in range(len(runs)):
        _check_run({name: values[k] for name, values in columns.items()})


def _check_cell(value: Any, field: Field) -> None:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        unknown = field.among and entry is not None and entry not in field.among
        if unknown or field.too_small(entry):
            raise ValueError(f"{field.name} of a run is {shown(entry)}")


def _check_run(row: Mapping[str, Any]) -> None:
    """What the cells of one run must be to each other."""
    run, status = f"run {row['run']}", row["status"]
    if status not in NEVER_RAN:
        for name in OF_TRAINED:
            if row[name] is None:
                raise ValueError(f"{run} has no {name}")
        if status not in FAILED and not _is_number(row["loss"]):
            raise ValueError(
                f"{run} ended well with a loss of {row['loss']}",
            )
    stages = row["stages"]
    for name in PER_STAGE:
        listed = row[name]
        count = None if listed is None else len(listed)
        if count != stages:
            raise ValueError(
                f"{run} has {stages} stages and {name} {shown(listed)}",
            )
    if stages:
        _check_times(row, run)


def _check_times(row: Mapping[str, Any], run: str) -> None:
    starts, ends = row["stage_start"], row["stage_end"]
    if not all(map(_is_number, (*starts, *ends, *row["stage_loss"]))):
        raise ValueError(f"{run} has stages without a finite time or loss")
    if any(start > end for start, end in zip(starts, ends, strict=True)):
        raise ValueError(f"{run} has a stage that ends before it begins")
