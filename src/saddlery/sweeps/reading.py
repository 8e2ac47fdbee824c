"""Reading sweeps: the rows of their runs as one catalog that answers SQL
conditions, their arrays, and both as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import InputError, Words, installed, known, require
from ..basis.records import plain
from ..doors import schema
from ..doors.door import NUMBERS
from ..doors.labels import described
from ..doors.outlets import placed
from . import filters
from .storage import (
    FOLDERS,
    PACKAGES,
    REPEAT,
    batch_name,
    check_part,
    finished,
    number_of,
    read_record,
    rows_of,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Folders = str | Path | Sequence[str | Path]
# Endings of files of rows, and those of files of arrays.
ROW_ENDINGS = (".csv", ".json")
ARRAY_ENDINGS = (".nc", ".npz")
# Arrays that a part always holds, and the kind of their numbers (a letter of NumPy's).
ARRAY_KINDS = {
    "flow_time": "f",
    "step": "i",
    "loss": "f",
    "gradient_norm": "f",
    "states": "f",
}
# Columns that arrays carry along their runs, beside the fields that vary.
OF_RUNS = ("seed", "status")


def index(folders: Folders) -> pd.DataFrame:
    """One row a finished run of one sweep, or of many (columns `folder` and `sweep`)."""
    installed(PACKAGES, "reading a sweep", "sweeps")
    import pandas as pd

    tables = []
    for folder in _listed(folders):
        record = read_record(folder)
        for path in finished(folder, "index"):
            rows = _rows(path, record)
            rows = rows.assign(folder=str(folder), sweep=record["name"])
            tables.append(rows)
    if not tables:
        return pd.DataFrame()
    return pd.concat(tables, ignore_index=True)


def _listed(folders: Folders) -> list[str | Path]:
    given = [folders] if isinstance(folders, (str, Path)) else list(folders)
    require(
        len(given) > 0,
        "folders",
        "at least one sweep's folder",
        Words("none"),
    )
    places = [Path(folder).resolve() for folder in given]
    for folder, place in zip(given, places, strict=True):
        once = places.count(place) == 1
        require(
            once,
            "folders",
            "different ones",
            Words(f"{folder} twice"),
        )
    return given


def _rows(path: Path, record: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of an index file, those of its batch and no others."""
    runs = _runs_of(path, record)
    if not runs:
        raise schema.damaged(path, "no batch of this sweep", "remove it")
    return rows_of(path, runs, record["fields"], record["identity"])


def _runs_of(path: Path, record: Mapping[str, Any]) -> range:
    """The numbers of the runs that a file of this name holds; none where it is no batch."""
    number = number_of(path)
    if path.suffix != ".parquet" or number is None:
        return range(0)
    first = number * record["batch"]
    return range(first, min(first + record["batch"], record["runs"]))


# ----------------------------------------------------------------------- query
def query(folders: Folders, condition: str = "") -> pd.DataFrame:
    """The finished runs that meet an SQL condition over the columns of the
    index.

    By DuckDB, within this process.

    Lists count from one: "width >= 100 and units[2] = 2". Text stands in
    single quotes; fields that vary are written as they are, such as
    initialization.scale < 1e-4. One expression, of functions of values (see
    `filters`). Raises InputError with the nearest column, or the place and
    DuckDB's words, where the condition is none.
    """
    is_text = isinstance(condition, str)
    require(
        is_text,
        "FILTER",
        "a text, such as 'width >= 100'",
        condition,
    )
    table = index(folders)
    if not condition.strip() or table.empty:
        return table
    return filters.chosen(table, condition)


# ---------------------------------------------------------------------- arrays
def arrays(folder: str | Path, batch: int | None = None) -> xr.Dataset:
    """The labelled arrays of one batch, or of all that are done, one after
    the other along `run`.

    With the seed, the status and the fields that vary of every run as
    coordinates.
    """
    installed(PACKAGES, "reading a sweep", "sweeps")
    import xarray as xr

    record = read_record(folder)
    wanted, none_there = "[0-9]*", "none"
    if batch is not None:
        wanted = batch_name(record["identity"], batch)
        none_there = f"no batch {batch}"
    rows = [path for path in finished(folder, "index") if path.match(f"{wanted}.parquet")]
    require(
        bool(rows),
        argument=f"{folder}",
        needed="a sweep with finished runs",
        given=Words(none_there),
    )
    parts = [_part(Path(folder), path, record) for path in rows]
    if len(parts) == 1:
        return described(parts[0], "ensemble")
    largest = _largest(parts)
    padded = [_padded(part, largest) for part in parts]
    return described(xr.concat(padded, "run"), "ensemble")


def _largest(parts: Sequence[xr.Dataset]) -> dict[Any, int]:
    """The largest size of every dimension, but for runs."""
    sizes: dict[Any, int] = {}
    for part in parts:
        for dim, size in part.sizes.items():
            if dim != "run":
                sizes[dim] = max(size, sizes.get(dim, 0))
    return sizes


def _part(
    folder: Path,
    index_file: Path,
    record: Mapping[str, Any],
) -> xr.Dataset:
    rows = _rows(index_file, record)
    ran = rows.loc[rows["saved"].notna()]
    path = folder / "parts" / f"{index_file.stem}.zarr.zip"
    part = _read_zarr(path, rows, ran)
    of_runs = ran.set_index("run")
    coordinates = {}
    for name in (*OF_RUNS, *record["fields"]):
        coordinates[name] = ("run", _labels(of_runs[name]))
    return part.assign_coords(coordinates)


def _labels(values: pd.Series) -> np.ndarray:
    """Numbers and flags as they are, everything else as text."""
    if values.dtype.kind in "iufb":
        return values.to_numpy()
    return values.to_numpy(str)


def _padded(part: xr.Dataset, largest: Mapping[Any, int]) -> xr.Dataset:
    """A part as large as the largest: NaN, or -1 where numbers are whole,
    beyond its own."""
    missing = {}
    for dim, size in part.sizes.items():
        if largest.get(dim, 0) > size:
            missing[dim] = (0, largest[dim] - size)
    if not missing:
        return part
    fill = {}
    for name, values in part.data_vars.items():
        fill[name] = -1 if values.dtype.kind == "i" else float("nan")
    return part.pad(missing, constant_values=fill)


def _read_zarr(
    path: Path,
    rows: pd.DataFrame,
    ran: pd.DataFrame,
) -> xr.Dataset:
    """The arrays of a part, if they are those of its rows.

    ran: the rows of runs that were not impossible.
    """
    import xarray as xr
    from zarr.storage import ZipStore

    check_part(path, rows)
    try:
        store = ZipStore(path, mode="r")
        opened = xr.open_zarr(store, consolidated=False, chunks=None)
        with opened as dataset:
            _check_sizes(dataset, ran)
            data = dataset.load()
        _check_curves(data, ran)
        data = _flags_as_written(data, ran)
    except Exception as error:  # xarray, zarr and its codecs have kinds of their own
        raise schema.damaged(path, error, REPEAT) from None
    return data


def _flags_as_written(data: xr.Dataset, ran: pd.DataFrame) -> xr.Dataset:
    """Flags as numbers, -1 beyond a run's own points: version 0.1.0 wrote
    them as flags, which were true there."""
    import xarray as xr

    flags = [name for name, values in data.data_vars.items() if values.dtype.kind == "b"]
    if not flags:
        return data
    saved = ran["saved"].to_numpy(dtype=np.int64)
    points = np.arange(data.sizes["point"])
    own = xr.DataArray(points < saved[:, None], dims=("run", "point"))
    for name in flags:
        data[name] = data[name].astype(np.int8).where(own, -1)
    return data


def _check_sizes(data: xr.Dataset, ran: pd.DataFrame) -> None:
    """Before anything is unpacked: the arrays are as large as the rows say."""
    if not len(ran):
        return
    points = ran["saved"].to_numpy(dtype=np.int64, na_value=0)
    stages = ran["stages"].to_numpy(dtype=np.int64, na_value=0)
    expected = {
        "run": len(ran),
        "point": int(points.max()),
        "stage": int(stages.max()) + 1,  # with the end of the run
    }
    for dim, size in expected.items():
        found = data.sizes.get(dim)
        if found != size:
            raise ValueError(
                f"{found} along {dim}, and its index says {size}",
            )
    for name in ARRAY_KINDS:
        if name not in data:
            raise ValueError(f"without {name}")
    for name, values in data.variables.items():
        if values.size > NUMBERS or values.dtype.kind not in "fib":
            raise ValueError(f"{name} of {values.dtype}, {values.shape}")
    kinds = {name: data[name].dtype.kind for name in ARRAY_KINDS}
    if kinds != ARRAY_KINDS:
        raise ValueError(f"arrays of kinds {kinds}")


def _check_curves(data: xr.Dataset, ran: pd.DataFrame) -> None:
    """Runs in the order of the rows, each as long as its row says, in order
    of time, and ending with the loss of its row."""
    if data["run"].values.tolist() != ran["run"].tolist():
        raise ValueError("other runs than in its index")
    named = zip(ran["run"], ran["saved"], ran["loss"], strict=True)
    for k, (run, saved, loss) in enumerate(named):
        count = int(saved)
        time = data["flow_time"].values[k]
        step = data["step"].values[k]
        curve = data["loss"].values[k]
        if not (_in_order(time[:count], step[:count]) and _empty(time, step, curve, count)):
            raise ValueError(f"points of run {run} that are out of order")
        if not np.array_equal(
            curve[count - 1],
            np.float64(loss),
            equal_nan=True,
        ):
            raise ValueError(
                f"run {run} ends with another loss than its row",
            )


def _in_order(time: np.ndarray, step: np.ndarray) -> bool:
    if not np.isfinite(time).all():
        return False
    # Flow time may stay: float32 rounds a small step away.
    return bool((np.diff(time) >= 0).all() and (np.diff(step) > 0).all())


def _empty(
    time: np.ndarray,
    step: np.ndarray,
    curve: np.ndarray,
    count: int,
) -> bool:
    """Whether nothing but padding follows a run's own points."""
    numbers = np.concatenate([time[count:], curve[count:]])
    return bool(np.isnan(numbers).all() and (step[count:] == -1).all())


# ---------------------------------------------------------------------- export
def export(
    folders: Folders,
    target: str | Path,
    condition: str = "",
) -> Path:
    """The rows of the runs that meet a condition (see `query`) as .csv or
    .json; the arrays of one whole sweep as .nc (netCDF) or .npz.

    Raises InputError for another ending, where arrays are asked of a part,
    and for a file of a sweep itself.
    """
    path = export_place(target)
    if path.suffix.lower() in ROW_ENDINGS:
        return write_rows(query(folders, condition), path)
    given = _listed(folders)
    if condition or len(given) > 1:
        raise InputError(
            "arrays are exported of one whole sweep; leave the filter out, or write a .csv",
        )
    return _write_arrays(arrays(given[0]), path)


def export_place(target: str | Path) -> Path:
    """The path, if runs may be written there."""
    path = Path(target)
    endings = (*ROW_ENDINGS, *ARRAY_ENDINGS)
    known(path.suffix.lower(), endings, "ending of an export")
    require(
        not _belongs_to_a_sweep(path),
        argument="--out",
        needed="a file of your own",
        given=Words(f"{path}, which belongs to the sweep"),
        remedy="choose another name",
    )
    return path


def _belongs_to_a_sweep(path: Path) -> bool:
    home, inside = path.parent, path.name == "sweep.json"
    if home.name in FOLDERS:
        home, inside = home.parent, True
    return inside and (home / "sweep.json").exists()


def write_rows(table: pd.DataFrame, path: Path) -> Path:
    """Rows as .csv or .json, every number exact; lists are JSON in a cell of a .csv."""
    with placed(path) as staging:
        if path.suffix.lower() == ".json":
            content = json.dumps(as_records(table), indent=1)
            staging.write_text(content, encoding="utf-8")
        else:
            texts = {}
            for name in table:
                if table[name].dtype == object:
                    texts[name] = table[name].map(_cell)
            table.assign(**texts).to_csv(staging, index=False)
    return path


def _cell(value: Any) -> Any:
    """A value as a cell of a .csv."""
    if isinstance(value, (list, np.ndarray)):
        return json.dumps(plain(value))
    return value


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict a row, of values that JSON can hold exactly; None where there
    is none.

    Example
    -------
    >>> import pandas as pd
    >>> from saddlery.sweeps import as_records
    >>> as_records(pd.DataFrame({"run": [0], "loss": [float("nan")]}))
    [{'run': 0, 'loss': None}]
    """
    import pandas as pd

    def value(cell: Any) -> Any:
        return None if cell is pd.NA else plain(cell)

    records = []
    for row in table.to_dict("records"):
        records.append(
            {str(name): value(cell) for name, cell in row.items()},
        )
    return records


def _of_32_bits(data: xr.Dataset) -> xr.Dataset:
    """Whole numbers that need more than 32 bits, which netCDF 3 lacks, in
    float64.

    Raises InputError where that does not hold them.
    """
    bound = np.iinfo(np.int32)
    for name, variable in data.variables.items():
        values = variable.values
        if values.dtype.kind != "i" or np.all((bound.min <= values) & (values <= bound.max)):
            continue
        exact = all(int(float(value)) == value for value in values.ravel().tolist())
        require(
            exact,
            argument=f"{name} in an .nc",
            needed="of whole numbers that float64 holds",
            given=Words(f"numbers up to {values.max()}"),
            remedy="write an .npz",
        )
        data = data.assign({name: data[name].astype(float)})
    return data


def _write_arrays(data: xr.Dataset, path: Path) -> Path:
    with placed(path) as staging:
        if path.suffix.lower() == ".nc":
            _of_32_bits(data).to_netcdf(staging, engine="scipy")
            return path
        kept: dict[str, Any] = {}
        for name, values in data.variables.items():
            if values.dtype.kind in "biufU":
                kept[str(name)] = values.values
        with open(staging, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **kept)
    return path
