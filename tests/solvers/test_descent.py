"""Descent of higher order on textbook critical points."""

from __future__ import annotations

import numpy as np
import pytest

from saddlery.basis.checks import InputError
from saddlery.solvers import DescentDirection, find_descent
from saddlery.solvers.higher_order import Unsettled, measured

CASES = {
    "monkey saddle, order 3": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, 2, 3, 1.0),
    "product, order 3": (lambda x: -x[0] * x[1] * x[2], 3, 3, 3**-1.5),
    "quartic saddle, order 4": (lambda x: x[0] ** 4 - 2 * x[1] ** 4, 2, 4, 2.0),
}


def everywhere(d):
    return d


def gradient_of(loss):
    return lambda x: np.array(
        [(loss(x + 1e-6 * e) - loss(x - 1e-6 * e)) / 2e-6 for e in np.eye(len(x))]
    )


def search(loss, size, flat=everywhere, **options):
    return find_descent(
        loss, gradient_of(loss), np.zeros(size), flat, size=1.0, noise=1e-15, **options
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_order_and_value(name, scale):
    """Oracle (a): the maximum of the leading form on the sphere, in whatever units the loss is
    measured."""
    form, size, order, value = CASES[name]
    loss = lambda x: scale * form(x)
    found = find_descent(
        loss, gradient_of(loss), np.zeros(size), everywhere, size=1.0, noise=1e-15 * scale
    )
    assert found.order == order
    assert found.value == pytest.approx(scale * value, rel=1e-3)
    assert loss(found.radius * found.direction) == pytest.approx(-found.fall)


def test_a_minimum_has_none():
    assert search(lambda x: np.sum(x**4) + x[0] ** 2, 3) is None
    assert search(lambda x: -np.sum(x**4), 3, np.zeros_like) is None  # no flat direction at all


def test_a_fall_at_a_distance_is_no_descent():
    """A strict minimum of a loss that falls from a radius of 0.02 on."""
    assert search(lambda x: x[0] ** 4 - 2000 * x[0] ** 6, 1) is None


def test_a_curved_valley_is_followed():
    """x^2 - 2 x y^2 + y^4 / 2 falls as -y^4 / 2 along x = y^2, and on no straight line."""
    loss = lambda x: x[0] ** 2 - 2 * x[0] * x[1] ** 2 + 0.5 * x[1] ** 4
    flat = lambda d: d * np.array([0.0, 1.0])
    assert search(loss, 2, flat) is None
    found = search(loss, 2, flat, stiff=lambda g: g * np.array([0.5, 0.0]))
    assert found is not None and found.order == 4 and found.value == pytest.approx(0.5, rel=1e-3)


def test_only_the_given_subspace_is_searched():
    assert search(lambda x: x[0] ** 4 - x[1] ** 4, 2, lambda d: d * np.array([1.0, 0.0])) is None


def test_falls_under_the_noise_do_not_count():
    loss = lambda x: -(x[0] ** 3)
    assert (
        find_descent(loss, gradient_of(loss), np.zeros(1), everywhere, size=1.0, noise=1.0) is None
    )


def test_bad_size():
    with pytest.raises(InputError, match="size"):
        find_descent(np.sum, np.ones_like, np.zeros(2), everywhere, size=0.0, noise=1e-15)


@pytest.mark.parametrize(
    ("change", "kind", "order"),
    [
        (
            lambda r: -(r**5) - 1e-6 * r**3,
            DescentDirection,
            3,
        ),  # the order settles beyond six halvings
        (lambda r: -(r**3.5), Unsettled, None),
        (
            lambda r: -(max(r - 1e-3, 0.0) ** 3),
            type(None),
            None,
        ),  # flat within a radius, far above rounding
        (lambda r: -(r**3) + 1e-3 * r**2, type(None), None),  # a minimum with another basin near
        (lambda r: -1e-18 * r**3, type(None), None),  # never above rounding
    ],
)
def test_falls_along_a_path(change, kind, order):
    """(a) Settled, without a whole order, and those that end before the point."""
    found = measured(
        lambda r: (np.array([r]), r, change(r)), 0.3, lambda x: 1e-20 if order else 1e-17
    )
    assert isinstance(found, kind)
    assert getattr(found, "order", None) == order
