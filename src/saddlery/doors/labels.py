"""Data frames and labelled arrays, named by one written schema
(`schema.LABELS`): results give values, and names, dimensions, units and
definitions come from there.

A value that does not exist is None in what a result gives. In a data frame it is
missing, in an array NaN, or -1 where numbers are whole or flags, or an empty text.
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
# Types of the columns of data frames, by kind.
DTYPES = {
    "number": "float64",
    "whole": "Int64",
    "flag": "boolean",
    "text": "object",
}
# Of arrays, by kind: what stands for a value that does not exist, and their type.
NOTHING = {
    "number": (np.nan, float),
    "whole": (-1, int),
    "flag": (-1, np.int8),
}
OBSERVABLE = "observable."  # before the name of what a run records beside its loss


def frame(
    table: str,
    columns: Columns,
    about: Mapping[str, Any],
) -> pd.DataFrame:
    """Columns as a data frame with a row for each entry of the table's first
    dimension.

    table: of `schema.LABELS`.
    about: what goes into its `attrs`, beside the units and the
        definition of every column.

    Raises InputError where pandas is not installed.

    Example
    -------
    >>> from saddlery.doors.labels import frame
    >>> columns = {"jump": [None, 7.2], "units": [0, 1]}
    >>> made = frame("prediction", columns, {"theory": "linear modes"})
    >>> made.index.name, str(made.dtypes["units"]), made.attrs["units"]
    ('stage', 'Int64', {'jump': 'flow time', 'units': '1'})
    """
    installed(("pandas",), "a data frame", "sweeps")
    import pandas as pd

    labels = {name: label_of(table, name) for name in columns}
    series = {}
    for name, values in columns.items():
        dtype: Any = DTYPES[labels[name].kind]
        series[name] = pd.Series(list(values), dtype=dtype)
    made = pd.DataFrame(series)
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
    """Arrays, by table and name, as a dataset; every variable has its units
    and its definition, and those others are drawn against are coordinates.

    about: its attributes.
    numbers: along dimensions whose entries are not counted from 0.

    Raises InputError where xarray is not installed.
    """
    installed(("xarray",), "a dataset", "sweeps")
    import xarray as xr

    variables, coordinates = {}, []
    for table, values in tables.items():
        for name, value in values.items():
            label = label_of(table, name)
            array = filled(value, label.kind)
            # Axes that no table names, as an observable may have.
            inner = [f"{name}_{k}" for k in range(array.ndim - len(label.axes))]
            variables[name] = ((*label.axes, *inner), array, attributes(label))
            if label.coordinate:
                coordinates.append(name)
    made = xr.Dataset(variables, attrs=dict(about)).set_coords(coordinates)

    given = numbers or {}
    places = {}
    for name, size in made.sizes.items():
        if name in DIMENSIONS:
            counted = np.asarray(given.get(str(name), range(size)))
            places[name] = (name, counted, {"definition": DIMENSIONS[str(name)]})
    return made.assign_coords(places)


def described(data: xr.Dataset, table: str) -> xr.Dataset:
    """A dataset that was read, with the units and the definitions of what
    the table names."""
    for label in LABELS[table]:
        if label.name in data:
            data[label.name].attrs.update(attributes(label))
    return data


def attributes(label: Label) -> dict[str, str]:
    """Of a variable: its units and its definition."""
    return {"units": label.units, "definition": label.definition}


def label_of(table: str, name: str) -> Label:
    """The label of a variable of a table; of an observable, that of its first
    dimensions.

    Example
    -------
    >>> from saddlery.doors.labels import label_of
    >>> label_of("run", "loss").definition
    'mean over samples; squared loss is half the squared norm'
    >>> label_of("run", "observable.rank").axes
    ('point',)
    """
    if name.startswith(OBSERVABLE):
        return Label(
            name,
            axes=LABELS[table][0].axes,
            definition="recorded beside the loss (see networks.observables)",
            units="as recorded",
        )
    return next(label for label in LABELS[table] if label.name == name)


def filled(values: Any, kind: str) -> np.ndarray:
    """Values as an array, what does not exist as said above.

    Example
    -------
    >>> from saddlery.doors.labels import filled
    >>> filled([0.5, None], "number"), filled([3, None], "whole")
    (array([0.5, nan]), array([ 3, -1]))
    """
    if isinstance(values, np.ndarray):
        return values
    nothing, dtype = ("", str) if kind == "text" else NOTHING[kind]
    listed = [nothing if value is None else value for value in values]
    return np.array(listed, dtype=dtype)


def stacked(runs: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays (T, ...) of different lengths one above the other (R, T, ...),
    of a type that holds the numbers of all: NaN, or -1 where they are whole
    or flags, beyond the end of each.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.doors.labels import stacked
    >>> stacked([np.array([0.5, 0.1, 0.0]), np.array([0.4])])
    array([[0.5, 0.1, 0. ],
           [0.4, nan, nan]])
    >>> stacked([np.array([True]), np.array([False, True])])
    array([[ 1, -1],
           [ 0,  1]], dtype=int8)
    """
    # Beside the type of flags that may not exist flags are numbers, and other types what they are.
    _, of_flags = NOTHING["flag"]
    dtype = np.result_type(of_flags, *{values.dtype for values in runs})
    beyond, _ = NOTHING["whole" if dtype.kind == "i" else "number"]
    shapes = [values.shape for values in runs]
    longest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    block = np.full((len(runs), *longest), beyond, dtype)
    for place, values in zip(block, runs, strict=True):
        there = tuple(slice(size) for size in values.shape)
        place[there] = values
    return block
