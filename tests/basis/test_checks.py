"""Errors speak in one grammar: which argument, what was required, what arrived, what to do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from saddlery.basis import checks
from saddlery.basis.checks import InputError, NumericalError, SaddleryError, StorageError


def message(call):
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_require():
    checks.require(True, "x", "y", None)
    assert (
        message(lambda: checks.require(False, "width", "a whole number", 2.5))
        == "width must be a whole number, got 2.5"
    )
    assert (
        message(lambda: checks.require(False, "a", "b", "c", "do d"))
        == "a must be b, got 'c'; do d"
    )


@pytest.mark.parametrize("value", [1e-300, 3, 2.5, np.float64(1.0)])
def test_positive(value):
    assert checks.positive(value, "x") == value and isinstance(checks.positive(value, "x"), float)


@pytest.mark.parametrize("value", [0, 0.0, -1.0, math.nan, math.inf, True, "1", None, [1.0]])
def test_not_positive(value):
    assert (
        message(lambda: checks.positive(value, "x", "fix"))
        == f"x must be a finite number above zero, got {value!r}; fix"
    )


@pytest.mark.parametrize("value", [math.nan, -math.inf, True, "1", None])
def test_not_real(value):
    assert message(lambda: checks.real(value, "x")) == f"x must be a finite number, got {value!r}"
    assert checks.real(-2, "x") == -2.0


def test_whole():
    assert checks.whole(np.int64(3), "n") == 3 and type(checks.whole(np.int64(3), "n")) is int
    assert checks.whole(0, "n", 0) == 0
    for value in (0, -1, 1.0, True, "1", None):
        assert (
            message(lambda v=value: checks.whole(v, "n"))
            == f"n must be a whole number of at least 1, got {value!r}"
        )


def test_numbers():
    np.testing.assert_array_equal(checks.numbers([1, 2.5], "x"), [1.0, 2.5])
    np.testing.assert_array_equal(checks.numbers((), "x"), [])
    for value in ("12", 3.0, ["a"], [[1.0], [2.0]], [[1.0], 2.0], None):
        assert (
            message(lambda v=value: checks.numbers(v, "x"))
            == f"x must be a list of numbers, got {value!r}"
        )


def test_known_and_nearest():
    assert checks.known("relu", {"relu": 1, "tanh": 2}, "unit") == "relu"
    assert (
        message(lambda: checks.known("rleu", ["relu", "tanh"], "unit"))
        == "unit 'rleu' is not known; did you mean 'relu'?"
    )
    assert (
        message(lambda: checks.known("zzz", ["b", "a"], "unit"))
        == "unit 'zzz' is not known; choose one of a, b"
    )
    assert checks.nearest("kernl", ["kernel", "stride"]) == "kernel"
    assert checks.nearest(3, ["kernel"]) == ""


def test_finite():
    array = np.arange(6).reshape(2, 3)
    assert checks.finite(array, "x") is array
    bad = np.where(array == 4, np.inf, array)
    bad[1, 2] = np.nan
    assert message(lambda: checks.finite(bad, "inputs")).startswith(
        "inputs must be finite, got inf at index (1, 1) and 2 such entries in all; remove"
    )
    assert (
        message(lambda: checks.finite(np.zeros((0, 3)), "x"))
        == "x must be a non-empty array, got shape (0, 3)"
    )
    for values in (np.array(["a"]), np.array([None]), np.array([1j])):
        assert message(lambda v=values: checks.finite(v, "x")).startswith(
            "x must be an array of real numbers, got dtype "
        )


def test_errors_are_of_one_family():
    assert issubclass(InputError, ValueError) and issubclass(NumericalError, ArithmeticError)
    assert issubclass(StorageError, OSError)
    assert all(
        issubclass(kind, SaddleryError) for kind in (InputError, NumericalError, StorageError)
    )
    assert str(StorageError("the disk is full")) == "the disk is full" and str(StorageError()) == ""


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("lineer", "did you mean 'linear_teacher'?"),
        ("Adam", "did you mean 'adam'?"),
        ("desent", "did you mean 'descent'?"),
        ("sgd", "choose one of adam, descent, sign, linear_teacher"),
        ("", "choose one of adam, descent, sign, linear_teacher"),
        (3, "choose one of adam, descent, sign, linear_teacher"),
    ],
)
def test_a_hint_is_near_or_all_there_is(word, answer):
    assert checks.hint(word, ("adam", "descent", "sign", "linear_teacher")) == answer
