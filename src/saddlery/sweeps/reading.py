"""Reading sweeps: the rows of their runs as one catalog that answers SQL conditions, their arrays,
and both as files."""

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
    DIGITS,
    FOLDERS,
    PACKAGES,
    batch_name,
    check_part,
    finished,
    read_record,
    rows_of,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Folders = str | Path | Sequence[str | Path]
ROWS, ARRAYS = (".csv", ".json"), (".nc", ".npz")
CURVES = ("flow_time", "step", "loss", "gradient_norm", "states")
BESIDE = (
    "seed",
    "status",
)  # columns that arrays carry along their runs, beside the fields that vary


def index(folders: Folders) -> pd.DataFrame:
    """One row a finished run of one sweep, or of many (columns `folder` and `sweep`)."""
    installed(PACKAGES, "reading a sweep", "sweeps")
    import pandas as pd

    tables = []
    for folder in _listed(folders):
        record = read_record(folder)
        for path in finished(folder, "index"):
            tables.append(_rows(path, record).assign(folder=str(folder), sweep=record["name"]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _listed(folders: Folders) -> list[str | Path]:
    given = [folders] if isinstance(folders, (str, Path)) else list(folders)
    require(len(given) > 0, "folders", "at least one sweep's folder", Words("none"))
    places = [Path(folder).resolve() for folder in given]
    for folder, place in zip(given, places, strict=True):
        require(places.count(place) == 1, "folders", "different ones", Words(f"{folder} twice"))
    return given


def _rows(path: Path, record: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of an index file, those of its batch and no others."""
    number = path.name.partition("-")[0]
    first = (
        int(number) * record["batch"]
        if number.isdecimal() and len(number) < DIGITS
        else record["runs"]
    )
    if path.suffix != ".parquet" or first >= record["runs"]:
        raise schema.damaged(path, "no batch of this sweep", "remove it")
    runs = range(first, min(first + record["batch"], record["runs"]))
    return rows_of(path, runs, record["fields"], record["identity"])


# ----------------------------------------------------------------------- query
def query(folders: Folders, condition: str = "") -> pd.DataFrame:
    """The finished runs that meet an SQL condition over the columns of the index, by DuckDB within
    this process.

    Lists count from one: "width >= 100 and units[2] = 2". Text stands in single quotes; fields that
    vary are written as they are, such as initialization.scale < 1e-4. One expression, of functions
    of values (see `filters`). Raises InputError with the nearest column, or the place and DuckDB's
    words, where the condition is none.
    """
    require(isinstance(condition, str), "FILTER", "a text, such as 'width >= 100'", condition)
    table = index(folders)
    if not condition.strip() or table.empty:
        return table
    return filters.chosen(table, condition)


# ---------------------------------------------------------------------- arrays
def arrays(folder: str | Path, batch: int | None = None) -> xr.Dataset:
    """The labelled arrays of one batch, or of all that are done, one after the other along `run`;
    with the seed, the status and the fields that vary of every run as coordinates."""
    installed(PACKAGES, "reading a sweep", "sweeps")
    import xarray as xr

    record = read_record(folder)
    wanted = "[0-9]*" if batch is None else batch_name(record["identity"], batch)
    rows = [path for path in finished(folder, "index") if path.match(f"{wanted}.parquet")]
    require(
        bool(rows),
        f"{folder}",
        "a sweep with finished runs",
        Words("none" if batch is None else f"no batch {batch}"),
    )
    parts = [_part(Path(folder), path, record) for path in rows]
    most = {
        dim: max(part.sizes.get(dim, 0) for part in parts)
        for part in parts
        for dim in part.sizes
        if dim != "run"
    }
    whole = parts[0]
    if len(parts) > 1:
        whole = xr.concat([_padded(part, most) for part in parts], "run")
    return described(whole, "ensemble")


def _part(folder: Path, index_file: Path, record: Mapping[str, Any]) -> xr.Dataset:
    columns, rows = (*BESIDE, *record["fields"]), _rows(index_file, record)
    ran = rows.loc[rows["saved"].notna()]
    part = _read_zarr(folder / "parts" / f"{index_file.stem}.zarr.zip", rows, ran)
    rows = ran.set_index("run")
    text = lambda values: (
        values.to_numpy(str) if values.dtype.kind not in "iufb" else values.to_numpy()
    )
    return part.assign_coords({name: ("run", text(rows[name])) for name in columns})


def _padded(part: xr.Dataset, most: Mapping[Any, int]) -> xr.Dataset:
    """A part as large as the largest: NaN, or -1 where numbers are whole, beyond its own."""
    missing = {
        dim: (0, most[dim] - size) for dim, size in part.sizes.items() if most.get(dim, 0) > size
    }
    if not missing:
        return part
    fill = {
        name: -1 if values.dtype.kind == "i" else float("nan")
        for name, values in part.data_vars.items()
    }
    return part.pad(missing, constant_values=fill)


def _read_zarr(path: Path, rows: pd.DataFrame, ran: pd.DataFrame) -> xr.Dataset:
    """The arrays of a part, if they are those of its rows. ran: the rows of runs that were not
    impossible."""
    import xarray as xr
    from zarr.storage import ZipStore

    check_part(path, rows)
    try:
        store = ZipStore(path, mode="r")
        with xr.open_zarr(store, consolidated=False, chunks=None) as dataset:
            _check_sizes(dataset, ran)
            data = dataset.load()
        _check_curves(data, ran)
    except Exception as error:  # xarray, zarr and its codecs have kinds of their own
        raise schema.damaged(path, error, f"remove it and {schema.AGAIN_BATCH}") from None
    return data


def _check_sizes(data: xr.Dataset, ran: pd.DataFrame) -> None:
    """Before anything is unpacked: the arrays are as large as the rows say."""
    if not len(ran):
        return
    points, stages = (
        ran[name].to_numpy(dtype=np.int64, na_value=0) for name in ("saved", "stages")
    )
    expected = {"run": len(ran), "point": int(points.max()), "stage": int(stages.max()) + 1}
    for dim, size in expected.items():
        if data.sizes.get(dim) != size:
            raise ValueError(f"{data.sizes.get(dim)} along {dim}, and its index says {size}")
    missing = [name for name in CURVES if name not in data]
    if missing:
        raise ValueError(f"without {missing[0]}")
    for name, values in data.variables.items():
        if values.size > NUMBERS or values.dtype.kind not in "fib":
            raise ValueError(f"{name} of {values.dtype}, {values.shape}")
    kinds = {name: data[name].dtype.kind for name in CURVES}
    if kinds != {name: "i" if name == "step" else "f" for name in CURVES}:
        raise ValueError(f"arrays of kinds {kinds}")


def _check_curves(data: xr.Dataset, ran: pd.DataFrame) -> None:
    """Runs in the order of the rows, each as long as its row says, in order of time, and ending
    with the loss of its row."""
    if data["run"].values.tolist() != ran["run"].tolist():
        raise ValueError("other runs than in its index")
    for k, (run, saved, loss) in enumerate(zip(ran["run"], ran["saved"], ran["loss"], strict=True)):
        time, step, curve = (data[name].values[k] for name in ("flow_time", "step", "loss"))
        own, rest = slice(int(saved)), slice(int(saved), None)
        sound = (
            np.isfinite(time[own]).all()
            and (np.diff(time[own]) >= 0).all()
            and (np.diff(step[own]) > 0).all()
        )
        empty = (
            np.isnan(time[rest]).all() and np.isnan(curve[rest]).all() and (step[rest] == -1).all()
        )
        if not (sound and empty):
            raise ValueError(f"points of run {run} that are out of order")
        if not np.array_equal(curve[int(saved) - 1], np.float64(loss), equal_nan=True):
            raise ValueError(f"run {run} ends with another loss than its row")


# ---------------------------------------------------------------------- export
def export(folders: Folders, target: str | Path, condition: str = "") -> Path:
    """The rows of the runs that meet a condition (see `query`) as .csv or .json; the arrays of one
    whole sweep as .nc (netCDF) or .npz. Raises InputError for another ending, where arrays are
    asked of a part, and for a file of a sweep itself."""
    path = export_place(target)
    if path.suffix.lower() in ROWS:
        return write_rows(query(folders, condition), path)
    given = _listed(folders)
    if condition or len(given) > 1:
        raise InputError(
            "arrays are exported of one whole sweep; leave the filter out, or write a .csv"
        )
    return _write_arrays(arrays(given[0]), path)


def export_place(target: str | Path) -> Path:
    """The path, if runs may be written there."""
    path = Path(target)
    known(path.suffix.lower(), (*ROWS, *ARRAYS), "ending of an export")
    home = path.parent.parent if path.parent.name in FOLDERS else path.parent
    own = (home / "sweep.json").exists() and (home != path.parent or path.name == "sweep.json")
    require(
        not own,
        "--out",
        "a file of your own",
        Words(f"{path}, which belongs to the sweep"),
        "choose another name",
    )
    return path


def write_rows(table: pd.DataFrame, path: Path) -> Path:
    """Rows as .csv or .json, every number exact; lists are JSON in a cell of a .csv."""
    with placed(path) as staging:
        if path.suffix.lower() == ".json":
            staging.write_text(json.dumps(as_records(table), indent=1), encoding="utf-8")
        else:
            listed = lambda cell: (
                json.dumps(plain(cell)) if isinstance(cell, (list, np.ndarray)) else cell
            )
            texts = {name: table[name].map(listed) for name in table if table[name].dtype == object}
            table.assign(**texts).to_csv(staging, index=False)
    return path


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict a row, of values that JSON can hold exactly; None where there is none."""
    import pandas as pd

    value = lambda cell: None if cell is pd.NA else plain(cell)
    return [
        {str(name): value(cell) for name, cell in row.items()} for row in table.to_dict("records")
    ]


def _write_arrays(data: xr.Dataset, path: Path) -> Path:
    with placed(path) as staging:
        if path.suffix.lower() == ".nc":
            data.to_netcdf(staging, engine="scipy")
        else:
            kept: dict[str, Any] = {
                str(k): v.values for k, v in data.variables.items() if v.dtype.kind in "biufU"
            }
            with open(staging, "wb") as file:
                np.savez_compressed(file, allow_pickle=False, **kept)
    return path
