"""Exact two-layer linear networks against high-accuracy integration (d), invariants (c) and limits
(a)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from saddlery.basis.checks import InputError
from saddlery.theory import balanced_path, mode_strength
from saddlery.theory.balanced import _gains

# outputs, width, inputs, lambda, scale
CASES = [
    (3, 5, 4, 0.0, 1e-2),
    (3, 3, 3, 0.7, 0.5),
    (4, 2, 3, 0.0, 0.1),
    (3, 2, 4, -0.3, 0.5),
    (2, 20, 6, 0.0, 1e-3),
]


def basis(rng, size, columns):
    return np.linalg.qr(rng.standard_normal((size, size)))[0][:, :columns]


def balanced(case, rng):
    """W1 (H, D) and W2 (O, H) with W2'W2 - W1W1' = lambda I."""
    outputs, width, inputs, imbalance, scale = case
    modes = min(outputs, inputs, width)
    s = scale * rng.random(modes)
    first, second = np.sqrt(s**2 + max(-imbalance, 0)), np.sqrt(s**2 + max(imbalance, 0))
    shared = basis(rng, width, modes)
    return (shared * first) @ basis(rng, inputs, modes).T, basis(rng, outputs, modes) @ (
        shared * second
    ).T


def blocks(first, second):
    return np.block([[first.T @ first, (second @ first).T], [second @ first, second @ second.T]])


def integrated(times, first, second, correlation):
    size = first.size

    def slope(t, y):
        a, b = y[:size].reshape(first.shape), y[size:].reshape(second.shape)
        rest = correlation - b @ a
        return np.concatenate([(b.T @ rest).ravel(), (rest @ a.T).ravel()])

    start = np.concatenate([first.ravel(), second.ravel()])
    found = solve_ivp(slope, (0, times[-1]), start, "DOP853", times, rtol=1e-13, atol=1e-15).y.T
    return np.stack(
        [blocks(y[:size].reshape(first.shape), y[size:].reshape(second.shape)) for y in found]
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_whole_path(case):
    rng = np.random.default_rng(1)
    first, second = balanced(case, rng)
    correlation = rng.standard_normal((case[0], case[2]))
    times = np.linspace(0, 12, 25)
    found = balanced_path(times, first, second, correlation)
    assert np.abs(found - integrated(times, first, second, correlation)).max() < 1e-9


@pytest.mark.parametrize("case", CASES, ids=str)
def test_finite_and_right_at_long_horizons(case):
    """The best map of rank H, whatever exponentials stand in between."""
    rng = np.random.default_rng(2)
    first, second = balanced(case, rng)
    correlation = rng.standard_normal((case[0], case[2]))
    q, s, rt = np.linalg.svd(correlation)
    kept = min(case[1], len(s))
    best = (q[:, :kept] * s[:kept]) @ rt[:kept]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for found in balanced_path(np.array([1e3, 1e6]), first, second, correlation):
            assert np.abs(found[case[2] :, : case[2]] - best).max() < 1e-12


def test_many_modes_with_huge_gaps():
    """Every mode on its own, where exponents differ by thousands."""
    s = np.linspace(1, 40, 30)
    weights = 1e-4 * np.eye(30)
    found = balanced_path(np.array([7.0, 400.0]), weights, weights, np.diag(s))
    for k, time in enumerate((7.0, 400.0)):
        expected = [mode_strength(time, strength, 1e-8) for strength in s]
        np.testing.assert_allclose(np.diag(found[k][30:, :30]), expected, rtol=1e-9)


def test_semigroup_and_imbalance():
    """(c) What holds along the flow: the same path from a point on it, and lambda."""
    rng = np.random.default_rng(3)
    first, second = balanced(CASES[1], rng)
    correlation = rng.standard_normal((3, 3))
    middle, end = balanced_path(np.array([0.7, 1.9]), first, second, correlation)
    left, right = middle[:3, :3], middle[3:, 3:]
    assert np.trace(right) - np.trace(left) == pytest.approx(3 * 0.7, rel=1e-10)
    values, vectors = np.linalg.eigh(middle)
    root = vectors[:, -3:] * np.sqrt(values[-3:])  # any Q with QQ' is as good: H = 3 columns
    again = balanced_path(np.array([1.2]), root[:3].T, root[3:], correlation)
    np.testing.assert_allclose(again[0], end, atol=1e-12)


def test_rates_of_zero_are_a_limit():
    rates = np.array([-1e-15, 0.0, 1e-15, 1e-11])
    log_gain, pull = _gains(rates, 2.0)
    np.testing.assert_allclose(log_gain, 0.5 * np.log(2.0), atol=1e-10)
    np.testing.assert_allclose(pull, 1 / np.sqrt(2.0), rtol=1e-10)


def test_no_times_make_no_states():
    found = balanced_path(np.array([]), 0.1 * np.eye(2), 0.1 * np.eye(2), np.eye(2))
    assert found.shape == (0, 4, 4)


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (1.0, np.ones((2, 3)), np.zeros((2, 2)), np.ones((2, 3))),
            r"must be balanced, .* depart from it by",
        ),
        (
            (1.0, np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))),
            r"must be of shapes \(H, D\), \(O, H\) and \(O, D\)",
        ),
        ((-1.0, np.eye(2), np.eye(2), np.eye(2)), "flow_time must be finite and at or after 0"),
        ((np.inf, np.eye(2), np.eye(2), np.eye(2)), "flow_time must be finite and at or after 0"),
        ((1.0, np.eye(2), np.eye(2), np.full((2, 2), np.nan)), "correlation must be finite"),
    ],
)
def test_misuse(arguments, message):
    with pytest.raises(InputError, match=message):
        balanced_path(*arguments)
