"""Records as values: equal where all their fields are, arrays too; copied and
sent by their fields.

The comparison that `dataclass` writes asks arrays for one truth value, which
NumPy refuses. Records with arrays derive from `Value` and are declared with
`eq=False`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from .checks import require

T = TypeVar("T", bound="Immutable")


class Value:
    """Base of frozen dataclasses whose fields may hold arrays.

    Two are equal if they are of one class and all their fields are the
    `same`. Hashed by what of the fields can be; arrays count by their shape,
    mappings by their keys. Copies and pickles hold the fields alone, nothing
    that was kept on the way.

    Example
    -------
    >>> from copy import deepcopy
    >>> from saddlery import Experiment
    >>> data = Experiment.named("digits").data
    >>> deepcopy(data) == data, hash(deepcopy(data)) == hash(data)
    (True, True)
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return same(self, other)

    def __hash__(self) -> int:
        return hash((type(self), *map(_hashable, _fields(self).values())))

    def __getstate__(self) -> dict[str, Any]:
        return _fields(self)


class Immutable(Value):
    """A value that holds nothing that could be changed: a copy of it is
    itself."""

    __slots__ = ()

    def __copy__(self: T) -> T:
        return self

    def __deepcopy__(self: T, memo: dict[int, Any]) -> T:
        return self


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, in one truth value, however deep arrays
    lie in them.

    Arrays are the same that have the same dtype, shape and numbers; NaN is
    the same as NaN, so that a copy is the same as what it was made from.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.values import same
    >>> same({"a": (np.zeros(2), float("nan"))}, {"a": (np.zeros(2), float("nan"))})
    True
    """
    if one is other:
        return True
    arrays = _is_array(one), _is_array(other)
    if any(arrays):
        return all(arrays) and _same_arrays(np.asarray(one), np.asarray(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is type(other) and isinstance(one, (tuple, list)):
        return _all_same(one, other)
    if type(one) is type(other) and dataclasses.is_dataclass(one):
        return _all_same(_fields(one).values(), _fields(other).values())
    return bool(one == other or (one != one and other != other))  # NaN is not itself


def demand_travels(function: Any, what: str) -> None:
    """Raise InputError unless a function can be sent to another process."""
    require(
        travels(function),
        what,
        needed="a function of a module, to be sent on",
        given=function,
        remedy="define it there, not within another function",
    )


def travels(function: Any) -> bool:
    """Whether another process finds a function by its module and name; of a
    dataclass that can be called, all its functions.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.values import travels
    >>> travels(np.linalg.norm), travels(lambda x: x)
    (True, False)
    """
    if dataclasses.is_dataclass(function):
        return all(travels(part) for part in _fields(function).values() if callable(part))
    name = getattr(function, "__qualname__", None)
    if name is None:
        return True  # an object, which is sent by its own parts
    found = sys.modules.get(function.__module__)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is function


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _all_same(one: Iterable[Any], other: Iterable[Any]) -> bool:
    first, second = list(one), list(other)
    return len(first) == len(second) and all(map(same, first, second))


def _is_array(value: Any) -> bool:
    """NumPy's arrays and JAX's, not NumPy's numbers."""
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _same_arrays(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def _hashable(value: Any) -> Any:
    """Of a value, what can be hashed and is the same for all values that are
    the same."""
    if _is_array(value):
        return value.shape
    if isinstance(value, Mapping):
        return frozenset(value)
    if isinstance(value, (tuple, list)):
        return tuple(map(_hashable, value))
    if value != value:
        return "nan"
    try:
        hash(value)
    except TypeError:
        if dataclasses.is_dataclass(value):
            return tuple(map(_hashable, _fields(value).values()))
        raise
    return value
