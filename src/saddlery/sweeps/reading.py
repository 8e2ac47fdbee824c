"""Reading sweeps: the rows of their runs as one catalog that answers SQL conditions, their arrays, and both as files."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import InputError, Words, installed, known, nearest, require
from ..moments import patiently
from ..outlets import placed
from ..records import plain
from .storage import FOLDERS, PACKAGES, batch_name, finished, read_record

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Folders = str | Path | Sequence[str | Path]
ROWS, ARRAYS = (".csv", ".json"), (".nc", ".npz")
BESIDE = ("seed", "status")  # columns that arrays carry along their runs, beside the fields that vary


def index(folders: Folders) -> pd.DataFrame:
    """One row a finished run of one sweep, or of many (columns `folder` and `sweep`)."""
    installed(PACKAGES, "reading a sweep", "sweeps")
    import pandas as pd

    tables = []
    for folder in _listed(folders):
        record = read_record(folder)
        for path in finished(folder, "index"):
            tables.append(_rows(path).assign(folder=str(folder), sweep=record["name"]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _listed(folders: Folders) -> list[str | Path]:
    given = [folders] if isinstance(folders, (str, Path)) else list(folders)
    require(len(given) > 0, "folders", "at least one sweep's folder", Words("none"))
    places = [Path(folder).resolve() for folder in given]
    for folder, place in zip(given, places, strict=True):
        require(places.count(place) == 1, "folders", "different ones", Words(f"{folder} twice"))
    return given


def _rows(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    words = f"damaged ({error}); remove it and" if path.exists() else "missing;"
    return InputError(f"{path}: {words} --resume, which repeats its batch")


# ----------------------------------------------------------------------- query
def query(folders: Folders, condition: str = "") -> pd.DataFrame:
    """The finished runs that meet an SQL condition over the columns of the index, by DuckDB within this process.

    Lists count from one: "width >= 100 and units[2] = 2". Text stands in single quotes; fields that vary are written as they
    are, such as initialization.scale < 1e-4. Raises InputError with the nearest column, or DuckDB's words, where the condition is
    none.
    """
    import duckdb

    require(isinstance(condition, str), "FILTER", "a text, such as 'width >= 100'", condition)
    table = index(folders)
    if not condition.strip() or table.empty:
        return table
    connection = duckdb.connect(config={"enable_external_access": "false"})
    try:
        connection.register("runs", table)
        text = f"SELECT * FROM runs WHERE (\n{quoted(condition, list(table.columns))}\n)"
        return patiently(lambda: connection.execute(text).df(), connection.interrupt)
    except duckdb.Error as error:
        raise InputError(_no_condition(condition, str(error), list(table.columns))) from None
    finally:
        connection.close()


def quoted(condition: str, columns: Sequence[str]) -> str:
    """The condition with every dotted column in double quotes, as SQL wants it."""
    dotted = sorted((re.escape(name) for name in columns if "." in name), key=len, reverse=True)
    if not dotted:
        return condition
    parts = re.split(r"('[^']*'|\"[^\"]*\")", condition)  # what is quoted already stays
    name = re.compile(rf"(?<![\w.])({'|'.join(dotted)})(?![\w.])")
    return "".join(part if k % 2 else name.sub(r'"\1"', part) for k, part in enumerate(parts))


def _no_condition(condition: str, words: str, columns: Sequence[str]) -> str:
    missing = re.search(r'Referenced column "([^"]*)" not found|Referenced table "([^"]*)" not found', words)
    if missing is None:
        return (
            f"FILTER {condition!r} is not a condition on the runs: {words.splitlines()[0]}; it reads like"
            f' "width >= 20 and units[2] = 1", and the columns are {", ".join(columns)}'
        )
    name = missing[1] or missing[2]
    if f'"{name}"' in condition and not difflib.get_close_matches(name, columns, cutoff=0.8):
        return f"FILTER {condition!r}: there is no column {name!r}; text goes in single quotes, '{name}'"
    guess = nearest(name, columns)
    if condition.strip() == name and not guess:
        return f"FILTER {condition!r}: there is no such folder and no such column; a filter reads like 'width >= 20'"
    hint = f"did you mean {guess!r}?" if guess else f"choose one of {', '.join(columns)}"
    return f"FILTER {condition!r}: there is no column {name!r}; {hint}"


# ---------------------------------------------------------------------- arrays
def arrays(folder: str | Path, batch: int | None = None) -> xr.Dataset:
    """The labelled arrays of one batch, or of all that are done, one after the other along `run`; with the seed, the status and
    the fields that vary of every run as coordinates."""
    installed(PACKAGES, "reading a sweep", "sweeps")
    import xarray as xr

    record = read_record(folder)
    wanted = "[0-9]*" if batch is None else batch_name(record["identity"], batch)
    rows = [path for path in finished(folder, "index") if path.match(f"{wanted}.parquet")]
    require(
        bool(rows), f"{folder}", "a sweep with finished runs", Words("none" if batch is None else f"no batch {batch}")
    )
    parts = [_part(Path(folder), path, (*BESIDE, *record["fields"])) for path in rows]
    most = {dim: max(part.sizes.get(dim, 0) for part in parts) for part in parts for dim in part.sizes if dim != "run"}
    return parts[0] if len(parts) == 1 else xr.concat([_padded(part, most) for part in parts], "run")


def _part(folder: Path, index_file: Path, columns: Sequence[str]) -> xr.Dataset:
    part = _read_zarr(folder / "parts" / f"{index_file.stem}.zarr.zip")
    rows = _rows(index_file).set_index("run").loc[part["run"].values]
    text = lambda values: values.to_numpy(str) if values.dtype.kind not in "iufb" else values.to_numpy()
    return part.assign_coords({name: ("run", text(rows[name])) for name in columns})


def _padded(part: xr.Dataset, most: Mapping[Any, int]) -> xr.Dataset:
    """A part as large as the largest: NaN, or -1 where numbers are whole, beyond its own."""
    missing = {dim: (0, most[dim] - size) for dim, size in part.sizes.items() if most.get(dim, 0) > size}
    if not missing:
        return part
    fill = {name: -1 if values.dtype.kind == "i" else float("nan") for name, values in part.data_vars.items()}
    return part.pad(missing, constant_values=fill)


def _read_zarr(path: Path) -> xr.Dataset:
    import xarray as xr
    from zarr.storage import ZipStore

    try:
        store = ZipStore(path, mode="r")
        with xr.open_zarr(store, consolidated=False, chunks=None) as dataset:
            return dataset.load()
    except Exception as error:
        raise _damaged(path, error) from None


# ---------------------------------------------------------------------- export
def export(folders: Folders, target: str | Path, condition: str = "") -> Path:
    """The rows of the runs that meet a condition (see `query`) as .csv or .json; the arrays of one whole sweep as .nc (netCDF) or
    .npz. Raises InputError for another ending, where arrays are asked of a part, and for a file of a sweep itself."""
    path = export_place(target)
    if path.suffix.lower() in ROWS:
        return write_rows(query(folders, condition), path)
    given = _listed(folders)
    if condition or len(given) > 1:
        raise InputError("arrays are exported of one whole sweep; leave the filter out, or write a .csv")
    return _write_arrays(arrays(given[0]), path)


def export_place(target: str | Path) -> Path:
    """The path, if runs may be written there."""
    path = Path(target)
    known(path.suffix.lower(), (*ROWS, *ARRAYS), "ending of an export")
    home = path.parent.parent if path.parent.name in FOLDERS else path.parent
    own = (home / "sweep.json").exists() and (home != path.parent or path.name == "sweep.json")
    require(not own, "--out", "a file of your own", Words(f"{path}, which belongs to the sweep"), "choose another name")
    return path


def write_rows(table: pd.DataFrame, path: Path) -> Path:
    """Rows as .csv or .json, every number exact; lists are JSON in a cell of a .csv."""
    import numpy as np

    with placed(path) as staging:
        if path.suffix.lower() == ".json":
            staging.write_text(json.dumps(as_records(table), indent=1), encoding="utf-8")
        else:
            listed = lambda cell: json.dumps(plain(cell)) if isinstance(cell, (list, np.ndarray)) else cell
            texts = {name: table[name].map(listed) for name in table if table[name].dtype == object}
            table.assign(**texts).to_csv(staging, index=False)
    return path


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict a row, of values that JSON can hold exactly; None where there is none."""
    import pandas as pd

    value = lambda cell: None if cell is pd.NA else plain(cell)
    return [{str(name): value(cell) for name, cell in row.items()} for row in table.to_dict("records")]


def _write_arrays(data: xr.Dataset, path: Path) -> Path:
    import numpy as np

    with placed(path) as staging:
        if path.suffix.lower() == ".nc":
            data.to_netcdf(staging, engine="scipy")
        else:
            kept: dict[str, Any] = {str(k): v.values for k, v in data.variables.items() if v.dtype.kind in "biufU"}
            with open(staging, "wb") as file:
                np.savez_compressed(file, allow_pickle=False, **kept)
    return path
