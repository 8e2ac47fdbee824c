"""Errors in one grammar: which argument, what was required, what arrived, what to do."""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Iterable

import numpy as np


class SaddleryError(Exception):
    """Base of every error saddlery raises on purpose; the message is one sentence with its remedy."""


class InputError(SaddleryError, ValueError):
    """An argument, a file or a table entry is not what was asked for."""


class NumericalError(SaddleryError, ArithmeticError):
    """A computation failed although its input was well formed (for example a diverging run)."""


class StorageError(SaddleryError, OSError):
    """A file or folder could not be read or written."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class Words(str):
    """What was given, in words of our own: printed without the quotes of a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


NOTHING = Words("nothing")


def require(condition: bool | np.bool_, argument: str, needed: str, given: object, remedy: str = "") -> None:
    """Raise InputError "`argument` must be <needed>, got <given>; <remedy>" unless `condition` holds."""
    if not condition:
        tail = f"; {remedy}" if remedy else ""
        raise InputError(f"{argument} must be {needed}, got {given!r}{tail}")


def positive(value: float, argument: str, remedy: str = "") -> float:
    """Return `value` if it is a finite number above zero."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    require(ok, argument, "a finite number above zero", value, remedy)
    return float(value)


def real(value: float, argument: str) -> float:
    """Return `value` if it is a finite number."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    require(ok, argument, "a finite number", value)
    return float(value)


def whole(value: int, argument: str, least: int = 1, remedy: str = "") -> int:
    """Return `value` if it is an integer of at least `least` that fits into 64 bits."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    require(integer and value >= least, argument, f"a whole number of at least {least}", value, remedy)
    require(value < 2**63, argument, "below 2^63", value, remedy)
    return int(value)


def flag(value: bool, argument: str) -> bool:
    """Return `value` if it is true or false."""
    require(isinstance(value, bool), argument, "true or false", value)
    return value


def numbers(values: object, argument: str) -> np.ndarray:
    """Return a list of numbers (from an experiment file, say) as a one-dimensional float array."""
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError):
        array = np.zeros(())
    require(array.ndim == 1 and not isinstance(values, str), argument, "a list of numbers", values)
    return array


def nearest(name: object, valid: Iterable[str]) -> str:
    """The valid name closest to a misspelt one, or an empty string."""
    hits = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return hits[0] if hits else ""


def known(name: str, valid: Iterable[str], argument: str) -> str:
    """Return `name` if it is one of `valid`; the error names the nearest valid one."""
    names = sorted(valid)
    if name in names:
        return name
    guess = nearest(name, names)
    hint = f"did you mean {guess!r}?" if guess else f"choose one of {', '.join(names)}"
    raise InputError(f"{argument} {name!r} is not known; {hint}")


def installed(modules: Iterable[str], what: str, extra: str) -> None:
    """Raise InputError unless optional packages are there; looks for them without importing."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise InputError(f"{what} needs {module}; install it by: pip install 'saddlery[{extra}]'")


def finite(array: np.ndarray, argument: str, remedy: str = "remove or impute them before training") -> np.ndarray:
    """Return `array` if it holds at least one number and every number is finite."""
    values = np.asarray(array)
    require(values.size > 0, argument, "a non-empty array", Words(f"shape {values.shape}"))
    require(values.dtype.kind in "fiub", argument, "an array of real numbers", Words(f"dtype {values.dtype}"))
    fit = np.isfinite(values)
    if not fit.all():
        bad = np.argwhere(~fit)
        where = tuple(int(k) for k in bad[0])
        raise InputError(
            f"{argument} must be finite, got {values[where]} at index {where} and {len(bad)} such entries in all; {remedy}"
        )
    return values
