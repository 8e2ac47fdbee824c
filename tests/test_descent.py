"""Descent of higher order on textbook critical points."""

from __future__ import annotations

import numpy as np
import pytest

from saddlery.checks import InputError
from saddlery.descent import find_descent

CASES = {
    "monkey saddle, order 3": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, 2, 3, 1.0),
    "product, order 3": (lambda x: -x[0] * x[1] * x[2], 3, 3, 3**-1.5),
    "quartic saddle, order 4": (lambda x: x[0] ** 4 - 2 * x[1] ** 4, 2, 4, 2.0),
}


def gradient_of(loss):
    return lambda x: np.array([(loss(x + 1e-6 * e) - loss(x - 1e-6 * e)) / 2e-6 for e in np.eye(len(x))])


@pytest.mark.parametrize("name", CASES)
def test_order_and_value(name):
    """Oracle (a): the maximum of the leading form on the sphere."""
    loss, size, order, value = CASES[name]
    found = find_descent(loss, gradient_of(loss), np.zeros(size), np.eye(size), radius=0.1)
    assert found.order == order
    assert found.value == pytest.approx(value, rel=1e-3)
    assert loss(0.1 * found.direction) == pytest.approx(-found.fall)


def test_a_minimum_has_none():
    loss = lambda x: np.sum(x**4) + x[0] ** 2
    assert find_descent(loss, gradient_of(loss), np.zeros(3), np.eye(3), radius=0.1) is None
    assert find_descent(loss, gradient_of(loss), np.zeros(3), np.zeros((3, 0)), radius=0.1) is None


def test_only_the_given_subspace_is_searched():
    loss = lambda x: x[0] ** 4 - x[1] ** 4
    assert find_descent(loss, gradient_of(loss), np.zeros(2), np.eye(2)[:, :1], radius=0.1) is None


def test_bad_radius():
    with pytest.raises(InputError, match="radius"):
        find_descent(np.sum, np.ones_like, np.zeros(2), np.eye(2), radius=0.0)
