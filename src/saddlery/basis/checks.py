"""Errors in one grammar: which argument, what was required, what arrived,
what to do."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from .echo import LETTERS, Words, said, shown

T = TypeVar("T")
Keep = Callable[[Any, str], Any]  # (value, argument) -> what is kept of it
# A name is a misspelt one from this similarity on: widht and width have 0.8, sgd and
# sign 0.57, count and contains 0.62.
NEAR = 0.65
# Whole numbers are smaller than this: files, tables and seeds hold no larger ones.
LARGEST = 2**63


class SaddleryError(Exception):
    """Base of every error saddlery raises on purpose; the message is one
    sentence with its remedy."""


class InputError(SaddleryError, ValueError):
    """An argument, a file or a table entry is not what was asked for."""


class NumericalError(SaddleryError, ArithmeticError):
    """A computation failed although its input was well formed (for example a
    diverging run)."""


class StorageError(SaddleryError, OSError):
    """A file or folder could not be read or written."""

    def __str__(self) -> str:
        if not self.args:
            return ""
        return str(self.args[0])


NOTHING = Words("nothing")


def require(
    condition: bool | np.bool_,
    argument: str,
    needed: str,
    given: object,
    remedy: str = "",
) -> None:
    """Raise InputError "`argument` must be <needed>, got <given>; <remedy>"
    unless `condition` holds.

    given: shown as `echo.shown` does, on one line and in 80 letters at most,
        unless it is `Words`.

    Example
    -------
    >>> from saddlery.basis.checks import require
    >>> require(2.5 == 2, "width", needed="a whole number", given=2.5, remedy="round it")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: width must be a whole number, got 2.5; round it
    """
    if condition:
        return
    sentence = f"{argument} must be {needed}, got {shown(given)}"
    if remedy:
        sentence += f"; {remedy}"
    raise InputError(sentence)


# ---------------------------------------------------------------------- what is kept
PLAIN = frozenset({bool, int, float, str})


def scalar(value: Any) -> Any:
    """A number of NumPy or JAX (also an array without axes) as Python's own;
    everything else as it is.

    Example
    -------
    float32 numbers are kept exactly.

    >>> import numpy as np
    >>> from saddlery.basis.checks import scalar
    >>> scalar(np.float32(0.1)), scalar(np.array(3)), scalar("0.1")
    (0.10000000149011612, 3, '0.1')
    """
    if value is None or type(value) in PLAIN:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.str_):
        return str(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        try:
            return value.item()
        except TypeError:  # inside a compiled program a number is not known yet
            return value
    return value


def unpacked(value: Any) -> Any:
    """`scalar`, and lists, tuples and arrays as tuples of such, tables as
    copies, however deep: what a frozen description keeps, whatever becomes of
    what was given.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.checks import unpacked
    >>> unpacked([np.int64(1), np.eye(2)])
    (1, ((1.0, 0.0), (0.0, 1.0)))
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, (list, tuple)):
        return tuple(unpacked(entry) for entry in value)
    if isinstance(value, Mapping):
        return {str(key): unpacked(entry) for key, entry in value.items()}
    if getattr(value, "ndim", 0) and hasattr(value, "tolist"):
        return unpacked(value.tolist())
    return scalar(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    """Whether it is a number that float64 holds; of whole ones those that
    files hold too."""
    if not _is_number(value):
        return False
    if isinstance(value, int):
        return abs(value) < LARGEST
    return math.isfinite(value)


def positive(value: Any, argument: str, remedy: str = "") -> float:
    """Return `value` as a float if it is a finite number above zero."""
    kept = scalar(value)
    require(_is_finite(kept) and kept > 0, argument, "a finite number above zero", value, remedy)
    return float(kept)


def real(value: Any, argument: str) -> float:
    """Return `value` as a float if it is a finite number."""
    kept = scalar(value)
    require(_is_finite(kept), argument, "a finite number", value)
    return float(kept)


def share(value: Any, argument: str, needed: str = "at least 0 and below 1") -> float:
    """Return `value` as a float if it is a number of at least 0 and below
    1."""
    kept = scalar(value)
    require(_is_finite(kept) and 0 <= kept < 1, argument, needed, value)
    return float(kept)


def whole(value: Any, argument: str, least: int | None = 1, remedy: str = "") -> int:
    """The integer of at least `least` (None: of any size) that was given and
    fits into 64 bits, as Python's own.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.checks import whole
    >>> whole(np.int32(3), "width")
    3
    >>> whole(3.0, "width")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: width must be a whole number of at least 1, got 3.0
    """
    kept = scalar(value)
    integer = isinstance(kept, int) and not isinstance(kept, bool)
    needed = "a whole number"
    if least is not None:
        needed += f" of at least {least}"
    require(integer and (least is None or kept >= least), argument, needed, value, remedy)
    require(abs(kept) < LARGEST, argument, "below 2^63", value, remedy)
    return int(kept)


def flag(value: Any, argument: str) -> bool:
    """Return `value` if it is true or false."""
    kept = scalar(value)
    require(isinstance(kept, bool), argument, "true or false", value)
    return bool(kept)


def text(value: Any, argument: str) -> str:
    """Return `value` if it is a text."""
    require(isinstance(value, str), argument, "text", value)
    return str(value)


def numbers(values: object, argument: str) -> np.ndarray:
    """Return a list of N numbers (from an experiment file, say) as a float
    array (N,).

    They need not be finite.
    """
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "f":
        return np.array(values, dtype=float)  # states are long: not one by one
    kept = unpacked(values)
    listed = isinstance(kept, tuple) and all(map(_is_listed, kept))
    require(listed, argument, "a list of numbers", values)
    return np.array(kept, dtype=float)


def _is_listed(value: Any) -> bool:
    """Whether a list of numbers may hold it: any of float64, whole ones that
    files hold."""
    if not _is_number(value):
        return False
    return isinstance(value, float) or abs(value) < LARGEST


# ------------------------------------------------------- by the annotation of a field
def _integer(value: Any, argument: str) -> int:
    return whole(value, argument, least=None)


def _real(value: Any, argument: str) -> int | float:
    """The number itself: 80 and 80.0 are the same to a run, but not to the
    text whose hash is its identity."""
    real(value, argument)
    return scalar(value)


def _reals(values: Any, argument: str) -> tuple[Any, ...]:
    numbers(values, argument)
    return unpacked(values)


def _wholes(values: Any, argument: str) -> tuple[int, ...]:
    kept = unpacked(values)
    require(isinstance(kept, tuple), argument, "a list of whole numbers", values)
    return tuple(_integer(value, argument) for value in kept)


def _table(value: Any, argument: str) -> Mapping[str, Any]:
    require(isinstance(value, Mapping), argument, "a table", value)
    return unpacked(value)


def _or_none(keep: Keep) -> Keep:
    def kept(value: Any, argument: str) -> Any:
        if value is None:
            return None
        return keep(value, argument)

    return kept


def _plain(value: Any, _argument: str) -> Any:
    if isinstance(value, (list, tuple, Mapping)):
        return unpacked(value)
    return scalar(value)


# By the annotation of a field: what is kept of a value given for it.
KEPT: dict[str, Keep] = {
    "int": _integer,
    "float": _real,
    "bool": flag,
    "str": text,
    "int | None": _or_none(_integer),
    "float | None": _or_none(_real),
    "bool | None": _or_none(flag),
    "tuple[int, ...]": _wholes,
    "tuple[float, ...]": _reals,
    "Mapping[str, Any]": _table,
}


def settle(instance: T) -> T:
    """Replace the fields of a frozen dataclass by what is kept of them, by
    their annotations (`KEPT`), and return it.

    Plain int, float, bool, text and tuples of them, whatever numbers of NumPy
    or JAX were given: what is printed, hashed and saved is then the same.
    Fields of other kinds keep their value, its numbers made plain. A field's
    own default is kept as it is. To be called in `__post_init__`.

    Raises InputError naming the field whose value is of another kind.

    Example
    -------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from saddlery.basis.checks import settle
    >>> @dataclass(frozen=True)
    ... class Grid:
    ...     sizes: tuple[int, ...] = ()
    >>> settle(Grid(np.array([2, 3])))
    Grid(sizes=(2, 3))
    """
    for field in dataclasses.fields(instance):  # type: ignore[arg-type]
        value = getattr(instance, field.name)
        if value is field.default:
            continue
        kind = field.type
        if isinstance(kind, type):
            kind = kind.__name__
        keep = KEPT.get(str(kind), _plain)
        object.__setattr__(instance, field.name, keep(value, field.name))
    return instance


# ----------------------------------------------------------------------------- names
def nearest(name: object, valid: Iterable[str]) -> str:
    """The valid name that a misspelt one is near to, whatever its letters'
    case, or an empty string.

    Near is a similarity of `NEAR`, also of a word to the beginning of a
    longer name.

    Example
    -------
    >>> from saddlery.basis.checks import nearest
    >>> names = ("linear_teacher", "sign")
    >>> nearest("lineer", names), nearest("sgd", names)
    ('linear_teacher', '')
    """
    word = str(name)[:LETTERS].casefold()
    likeness = lambda other: difflib.SequenceMatcher(None, other.casefold(), word).ratio()
    by_likeness = lambda other: (likeness(other), likeness(other.partition("_")[0]))
    near = [other for other in valid if max(by_likeness(other)) >= NEAR]
    return max(near, key=by_likeness, default="")


def hint(name: object, valid: Iterable[str]) -> str:
    """What to do about a name that is not among the valid ones: the nearest,
    or all to choose from."""
    names = list(valid)
    if isinstance(name, str) and (guess := nearest(name, names)):
        return f"did you mean {guess!r}?"
    return f"choose one of {', '.join(names)}"


def known(name: str, valid: Iterable[str], argument: str, remedy: str = "") -> str:
    """Return `name` if it is one of `valid`; the error names the nearest
    valid one.

    remedy: what else may be done.

    Example
    -------
    >>> from saddlery.basis.checks import known
    >>> known("rleu", ("relu", "tanh"), "unit")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: unit 'rleu' is not known; did you mean 'relu'?
    """
    names = sorted(valid)
    if isinstance(name, str) and name in names:
        return str(name)
    sentence = f"{argument} {shown(name)} is not known; {hint(name, names)}"
    if remedy:
        sentence += f" {remedy}"
    raise InputError(sentence)


def installed(modules: Iterable[str], what: str, extra: str) -> None:
    """Raise InputError unless optional packages are there; looks for them
    without importing.

    modules: what to look for.
    what: needs them, in words.
    extra: of saddlery, which installs them.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise InputError(
                f"{what} needs {module}; install it by: pip install 'saddlery[{extra}]'"
            )


def finite(
    array: np.ndarray,
    argument: str,
    remedy: str = "remove or impute them before training",
) -> np.ndarray:
    """Return an array of any shape if it holds at least one number and every
    number is finite.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.checks import finite
    >>> finite(np.array([[1.0, np.nan]]), "inputs", remedy="remove it")
    Traceback (most recent call last):
    saddlery.basis.checks.InputError: inputs must be finite, got nan at index (0, 1) and
    1 such entries in all; remove it
    """
    values = np.asarray(array)
    require(values.size > 0, argument, "a non-empty array", Words(f"shape {values.shape}"))
    require(
        values.dtype.kind in "fiub",
        argument,
        needed="an array of real numbers",
        given=Words(f"dtype {values.dtype}"),
    )
    fit = np.isfinite(values)
    if fit.all():
        return values
    bad = np.argwhere(~fit)
    where = tuple(int(k) for k in bad[0])
    raise InputError(
        f"{argument} must be finite, got {values[where]} at index {where} and {len(bad)} "
        f"such entries in all; {remedy}"
    )


def answered(question: Callable[[], T], argument: str, needed: str, remedy: str = "") -> T:
    """What a function of the user's own gives.

    Raises InputError "`argument` must be <needed>, got <what it raised>; <remedy>" if it
    raises anything but an error of saddlery's.
    """
    try:
        return question()
    except (SaddleryError, MemoryError):
        raise
    except Exception as error:
        tail = f"; {remedy}" if remedy else ""
        got = f"{type(error).__name__}: {said(error)}"
        raise InputError(f"{argument} must be {needed}, got {got}{tail}") from error
