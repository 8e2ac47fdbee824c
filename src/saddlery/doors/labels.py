"""Data frames and labelled arrays, named by one written schema (`schema.LABELS`): results give
values, and names, dimensions, units and definitions come from there.

A value that does not exist is None in what a result gives. In a data frame it is missing, in an
array NaN, or -1 where numbers are whole or flags, or an empty text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import installed
from .schema import DIMENSIONS, LABELS, Label

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Columns = Mapping[str, Sequence[Any]]
DTYPES = {"number": "float64", "whole": "Int64", "flag": "boolean", "text": "object"}
OBSERVABLE = "observable."  # before the name of what a run records beside its loss


def frame(table: str, columns: Columns, about: Mapping[str, Any]) -> pd.DataFrame:
    """Columns as a data frame with a row for each entry of the table's first dimension; `attrs`
    holds what it is about, and the units and the definition of every column.

    Raises InputError where pandas is not installed.
    """
    installed(("pandas",), "a data frame", "sweeps")
    import pandas as pd

    labels = {name: label_of(table, name) for name in columns}
    made = pd.DataFrame(
        {name: pd.Series(list(columns[name]), dtype=DTYPES[labels[name].kind]) for name in columns}
    )
    made.index.name = LABELS[table][0].axes[0]
    units = {name: label.units for name, label in labels.items()}
    definitions = {name: label.definition for name, label in labels.items()}
    made.attrs = {**about, "units": units, "definitions": definitions}
    return made


def dataset(
    tables: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
    numbers: Mapping[str, Sequence[int]] | None = None,
) -> xr.Dataset:
    """Arrays, by table and name, as a dataset; every variable has its units and its definition, and
    those others are drawn against are coordinates.

    about: its attributes. numbers: along dimensions whose entries are not counted from 0.

    Raises InputError where xarray is not installed.
    """
    installed(("xarray",), "a dataset", "sweeps")
    import xarray as xr

    variables, coordinates = {}, []
    for table, values in tables.items():
        for name, value in values.items():
            label = label_of(table, name)
            made = filled(value, label.kind)
            inner = tuple(f"{name}_{k}" for k in range(made.ndim - len(label.axes)))
            variables[name] = (label.axes + inner, made, attributes(label))
            coordinates += [name] if label.coordinate else []
    made = xr.Dataset(variables, attrs=dict(about)).set_coords(coordinates)
    counted = lambda name, size: np.asarray((numbers or {}).get(name, range(size)))
    places = {
        name: (name, counted(name, size), {"definition": DIMENSIONS[str(name)]})
        for name, size in made.sizes.items()
        if name in DIMENSIONS
    }
    return made.assign_coords(places)


def described(data: xr.Dataset, table: str) -> xr.Dataset:
    """A dataset that was read, with the units and the definitions of what the table names."""
    for label in LABELS[table]:
        if label.name in data:
            data[label.name].attrs.update(attributes(label))
    return data


def attributes(label: Label) -> dict[str, str]:
    """Of a variable: its units and its definition."""
    return {"units": label.units, "definition": label.definition}


def label_of(table: str, name: str) -> Label:
    """The label of a variable of a table; of an observable, that of its first dimensions."""
    if name.startswith(OBSERVABLE):
        axes = LABELS[table][0].axes
        return Label(
            name, axes, "recorded beside the loss (see networks.observables)", "as recorded"
        )
    return next(label for label in LABELS[table] if label.name == name)


def filled(values: Any, kind: str) -> np.ndarray:
    """Values as an array, what does not exist as said above."""
    if isinstance(values, np.ndarray):
        return values
    if kind == "text":
        return np.array(["" if value is None else value for value in values], dtype=str)
    nothing, dtype = {"number": (np.nan, float), "whole": (-1, int), "flag": (-1, np.int8)}[kind]
    listed = [nothing if value is None else value for value in values]
    return np.array(listed, dtype=dtype)


def stacked(runs: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of different lengths one above the other: NaN, or -1 where numbers are whole, beyond
    the end of each."""
    whole = runs[0].dtype.kind == "i"
    shape = tuple(max(sizes) for sizes in zip(*(a.shape for a in runs), strict=True))
    block = np.full((len(runs), *shape), -1 if whole else np.nan, runs[0].dtype)
    for place, values in zip(block, runs, strict=True):
        place[tuple(slice(size) for size in values.shape)] = values
    return block
