"""The saddles of linear networks against their Hessians, formed by finite sums (d), and their own
equations (b)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from saddlery.basis.checks import InputError
from saddlery.theory import linear_saddles
from saddlery.theory.saddles import pseudo_inverse


def task(rng, outputs, inputs, white=False):
    a = rng.standard_normal((inputs, inputs))
    s = np.eye(inputs) if white else a @ a.T / inputs + 0.1 * np.eye(inputs)
    c = rng.standard_normal((outputs, inputs))
    return s, c, float(np.trace(c @ np.linalg.solve(s, c.T))) + 0.3


def balanced_factors(saddle, width):
    q, strength, rt = np.linalg.svd(saddle.product)
    kept = len(saddle.modes)
    root = np.sqrt(strength[:kept])
    first, second = np.zeros((width, rt.shape[1])), np.zeros((q.shape[0], width))
    first[:kept], second[:, :kept] = root[:, None] * rt[:kept], q[:, :kept] * root
    return first, second


def hessian(first, second, s, c):
    """Of 1/2 E|y - W2 W1 x|^2, by its second variation on every pair of coordinates."""
    rest = c - second @ first @ s
    size = first.size + second.size

    def split(d):
        return d[: first.size].reshape(first.shape), d[first.size :].reshape(second.shape)

    def product_of(a, b):
        (a1, a2), (b1, b2) = split(a), split(b)
        move_a, move_b = second @ a1 + a2 @ first, second @ b1 + b2 @ first
        return np.sum((move_a @ s) * move_b) - np.sum(rest * (a2 @ b1 + b2 @ a1))

    eye = np.eye(size)
    return np.array([[product_of(a, b) for b in eye] for a in eye])


@pytest.mark.parametrize(("white", "seed"), list(product([True, False], range(3))))
def test_loss_gradient_index_and_lowest_eigenvalue(white, seed):
    rng = np.random.default_rng(seed)
    s, c, target = task(rng, 3, 4, white)
    width = 4
    for saddle in linear_saddles(s, c, target, width):
        first, second = balanced_factors(saddle, width)
        rest = c - second @ first @ s
        assert max(np.abs(second.T @ rest).max(), np.abs(rest @ first.T).max()) < 1e-12
        map_loss = 0.5 * (
            target - 2 * np.sum(saddle.product * c) + np.sum((saddle.product @ s) * saddle.product)
        )
        assert saddle.loss == pytest.approx(map_loss, abs=1e-12)
        values = np.linalg.eigvalsh(hessian(first, second, s, c))
        assert saddle.index == np.sum(values < -1e-9)
        if saddle.index:
            assert saddle.lowest_eigenvalue == pytest.approx(values[0], abs=1e-10)


def test_a_full_width_leaves_exchanges_only():
    rng = np.random.default_rng(5)
    s, c, target = task(rng, 3, 3)
    saddle = linear_saddles(s, c, target, 2).saddle((1, 2))
    values = np.linalg.eigvalsh(hessian(*balanced_factors(saddle, 2), s, c))
    assert saddle.index == np.sum(values < -1e-9) == 2 and saddle.lowest_eigenvalue is None


def test_rank_deficient_data_have_fewer_modes():
    x = np.random.default_rng(0).standard_normal((2, 5))
    y = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]) @ x
    found = linear_saddles(x @ x.T / 5, y @ x.T / 5, float(np.mean(np.sum(y**2, axis=0))), 6)
    assert len(found.strengths) == 2 and found.saddle((0, 1)).loss == pytest.approx(0, abs=1e-12)
    wide = np.random.default_rng(1).standard_normal((6, 3))
    singular = linear_saddles(wide @ wide.T / 3, np.eye(2, 3) @ wide.T / 3, 2 / 3, 4)
    assert len(singular.strengths) == 2 and singular.saddle((0, 1)).loss == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("ratio", [1e-3, 3e-7, 1e-9, 1e-11])
def test_a_mode_is_as_small_as_its_singular_value(ratio):
    """(a) diag(1, r), white: index 2 H at the origin and H - 1 beside the first mode; the squares
    of small modes were taken for rounding."""
    found = linear_saddles(np.eye(2), np.diag([1.0, ratio]), 1 + ratio**2, 50)
    np.testing.assert_allclose(np.sqrt(found.strengths), [1.0, ratio], rtol=1e-4)
    origin, first = found.saddle(()), found.saddle((0,))
    assert (origin.index, first.index) == (100, 49)
    assert first.lowest_eigenvalue == pytest.approx(-ratio, rel=1e-4)
    inputs = np.diag([1.0, 1e-6])
    moved = linear_saddles(inputs**2, np.diag([1.0, ratio]) @ inputs, 1 + ratio**2, 50)
    assert [saddle.index for saddle in moved] == [saddle.index for saddle in found]


def test_small_modes_change_places_as_large_ones_do():
    """(a) Of sizes 1, 2e-6 and 1e-6 the last alone leads to the second; both have squares below
    1e-9."""
    found = linear_saddles(np.eye(3), np.diag([1.0, 2e-6, 1e-6]), 2.0, 2)
    assert found.saddle((0, 2)).index == 1 and found.saddle((0, 1)).index == 0


@pytest.mark.parametrize("seed", range(5))
def test_rounding_is_no_mode(seed):
    """(c) Two inputs that are one to 1e-4, beside others: the rank is that of the map, whatever the
    last digits of the correlation are."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, 40))
    x[3] = x[0] + 1e-4 * x[3]
    y = rng.standard_normal((3, 1)) @ rng.standard_normal((1, 4)) @ x
    found = linear_saddles(x @ x.T / 40, y @ x.T / 40, float(np.sum(y**2) / 40) * 1.01, 5)
    assert len(found.strengths) == 1


def test_a_multiple_mode_is_one():
    found = linear_saddles(np.eye(3), np.diag([1.0, 1.0, 0.5]), 2.25, 5)
    assert found.saddle((0, 1)).index == 3
    with pytest.raises(
        InputError, match=r"modes 0, 1 have one strength, 1, .* take all of them or none"
    ):
        found.saddle((0,))


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (np.eye(2), np.ones((2, 3)), 9.0, 2),
            r"of shapes \(D, D\) and \(O, D\), got \(2, 2\) and \(2, 3\)",
        ),
        (
            (-np.eye(2), np.eye(2), 9.0, 2),
            "positive semi-definite, got a lowest eigenvalue of -1.00e",
        ),
        (
            (np.diag([1.0, 0.0]), np.eye(2), 9.0, 2),
            "zero where the inputs are, got a part of norm 1.0e",
        ),
        ((np.eye(2), np.eye(2), 1.0, 2), "target must be at least 2, what the best map explains"),
        ((np.eye(2), np.eye(2), 2.0, 0), "width must be a whole number"),
    ],
)
def test_misuse(arguments, message):
    with pytest.raises(InputError, match=message):
        linear_saddles(*arguments)


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ((3,), "among the 2"),
        ((0, 0), "different from each other"),
        ((0, 1), "at most as many as units"),
    ],
)
def test_modes_that_do_not_exist(modes, message):
    with pytest.raises(InputError, match=message):
        linear_saddles(np.eye(2), np.diag([1.0, 0.5]), 1.25, 1).saddle(modes)


@pytest.mark.parametrize("units", [(1e8, 1.0, 1e-3, 1.0), (1.0, 1e-9, 1e9, 1e4)])
def test_saddles_commute_with_the_units_of_each_input(units):
    """(c) Inputs D x: the same modes, losses and indices, and maps W D^-1, also where the
    covariance is singular."""
    d = np.array(units)
    for rank in (4, 3):
        s, c, target = task(np.random.default_rng(3), 3, 4)
        if rank < 4:
            s[:, -1], c[:, -1] = s[:, 0], c[:, 0]
            s[-1] = s[0]
            target = float(np.trace(c @ np.linalg.pinv(s, rcond=1e-12) @ c.T)) + 0.3
        plain, moved = (
            linear_saddles(s, c, target, 2),
            linear_saddles(d * s * d[:, None], c * d, target, 2),
        )
        np.testing.assert_allclose(moved.strengths, plain.strengths, rtol=1e-9)
        for one, other in zip(plain, moved, strict=True):
            assert (one.modes, one.index) == (other.modes, other.index)
            assert other.loss == pytest.approx(one.loss, rel=1e-9)
            reached = [
                w.product @ moments @ w.product.T
                for w, moments in ((one, s), (other, d * s * d[:, None]))
            ]
            np.testing.assert_allclose(reached[1], reached[0], rtol=0, atol=1e-9 * target)
            if rank == 4:
                np.testing.assert_allclose(other.product * d, one.product, rtol=1e-6, atol=1e-9)


def test_pseudo_inverse_by_its_four_equations():
    """(b) Moore and Penrose: S X S = S, X S X = X, both products symmetric; and zeros of zeros."""
    a = np.random.default_rng(0).standard_normal((5, 3)) @ np.random.default_rng(1).standard_normal(
        (3, 4)
    )
    s = a.T @ a
    x = pseudo_inverse(s)
    for found, wanted in ((s @ x @ s, s), (x @ s @ x, x), (s @ x, (s @ x).T), (x @ s, (x @ s).T)):
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=1e-11 * max(np.abs(s).max(), np.abs(x).max())
        )
    np.testing.assert_array_equal(pseudo_inverse(np.zeros((2, 2))), np.zeros((2, 2)))
