"""Jumps of diagonal linear networks: published reference numbers (a), the flow itself (d), and bad
data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from saddlery.basis.checks import InputError, NumericalError
from saddlery.theory import diagonal_jumps, diagonal_paths

ANGLE = np.deg2rad(150)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
PLANE = TURN @ np.diag([1.0, 25.0]) @ TURN.T


def test_a_coordinate_that_is_taken_back():
    """(a) Pesme & Flammarion's example: the first coordinate is learned, unlearned, and learned
    with the other sign."""
    x = np.linalg.cholesky(PLANE)
    g = x.T @ x
    np.testing.assert_allclose(g, [[22.428571, 7.423075], [7.423075, 3.571429]], atol=1e-6)
    jumps = diagonal_jumps(g, g @ np.array([-0.2, 2.0]))
    np.testing.assert_allclose(
        [j.time for j in jumps], [0, 0.096521, 0.300110, 1.728681], atol=1e-6
    )
    np.testing.assert_allclose(
        [j.beta for j in jumps], [[0, 0], [0.46193, 0], [0, 1.584308], [-0.2, 2]], atol=1e-5
    )
    np.testing.assert_allclose([j.loss for j in jumps], [4.622199, 2.229299, 0.14, 0], atol=1e-6)


def test_a_second_reference():
    jumps = diagonal_jumps(PLANE, PLANE @ np.array([-0.2, 2.0]))
    np.testing.assert_allclose([j.time for j in jumps], [0, 0.027838, 5.878461], atol=1e-6)
    np.testing.assert_allclose([j.loss for j in jumps], [jumps[0].loss, 0.026316, 0], atol=1e-6)


def jump_times_of_the_flow(g, b, scale, levels, horizon):
    """(d) Gradient flow in the exact reduced variables m, beta = scale^2 sinh(2 m): when the loss
    crosses the levels."""
    beta = lambda m: scale**2 * np.sinh(np.clip(2 * m, -200, 200))
    minimum = b @ np.linalg.solve(g, b)
    loss = lambda m: 0.5 * (beta(m) @ g @ beta(m) - 2 * b @ beta(m) + minimum)
    events = [lambda t, m, level=level: loss(m) - level for level in levels]
    found = solve_ivp(
        lambda t, m: b - g @ beta(m),
        (0, horizon),
        np.zeros(2),
        "DOP853",
        rtol=1e-8,
        atol=1e-9,
        events=events,
    )
    return np.array([times[0] for times in found.t_events]) / np.log(1 / scale)


def test_the_flow_tends_to_it():
    """The error of the jump times falls like 1 / ln(1 / scale)."""
    x = np.linalg.cholesky(PLANE)
    g = x.T @ x
    b = g @ np.array([-0.2, 2.0])
    expected = np.array([j.time for j in diagonal_jumps(g, b)])[1:]
    levels = [3.4, 1.2, 0.07]
    errors = [
        np.abs(jump_times_of_the_flow(g, b, scale, levels, 3 * np.log(1 / scale)) - expected)
        for scale in (1e-4, 1e-10, 1e-20)
    ]
    assert (
        np.all(errors[1] < errors[0])
        and np.all(errors[2] < errors[1])
        and np.all(errors[2] < 0.03 * expected + 0.005)
    )


@given(st.lists(st.floats(0.05, 5) | st.floats(-5, -0.05), min_size=1, max_size=6))
@example([-5.0, -4.999999999999999])
def test_without_correlations_each_coordinate_jumps_alone(b):
    """(a) At 1/|b|, to b; those that rounding does not tell apart jump as one."""
    b = np.array(b)
    jumps = diagonal_jumps(np.eye(len(b)), b)
    times = np.sort(1 / np.abs(b))
    first = np.diff(times, prepend=0.0) > 1e-12 * times
    np.testing.assert_allclose(times[first], [j.time for j in jumps[1:]], rtol=1e-9)
    np.testing.assert_allclose(jumps[-1].beta, b, rtol=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 8))
def test_the_loss_falls_and_ends_at_the_minimum(seed, size, samples):
    """(b, c) Any data, also with fewer samples than coordinates: every stage is lower, the last one
    fits."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((samples, size)), rng.standard_normal(samples)
    jumps = diagonal_jumps(x.T @ x / samples, x.T @ y / samples)
    losses = np.array([j.loss for j in jumps])
    assert np.all(np.diff(losses) < 1e-12) and np.all(np.diff([j.time for j in jumps]) > 0)
    assert losses[-1] == pytest.approx(0, abs=1e-9)


def test_several_walls_at_once_are_each_alone():
    """(c, a) To the last bit, though some take other ways and end earlier; and by hand where two
    coordinates do not meet."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((9, 4))
    g, b = x.T @ x / 9, x.T @ rng.standard_normal(9) / 9
    high, low = rng.uniform(0.3, 4.0, (2, 50, 4))
    paths = diagonal_paths(g, b, high, low)
    assert len({tuple(jump.loss for jump in path) for path in paths}) > 3
    assert len({len(path) for path in paths}) > 1
    for path, *walls in zip(paths, high, low, strict=True):
        alone = diagonal_jumps(g, b, walls=tuple(walls))
        assert [jump.time for jump in path] == [jump.time for jump in alone]
        assert [jump.loss for jump in path] == [jump.loss for jump in alone]
    walls = np.array([[1.0, 1.0], [1.0, 0.2]])
    first, second = diagonal_paths(np.eye(2), np.array([1.0, -0.5]), walls, walls)
    assert [jump.time for jump in first] == [0.0, 1.0, 2.0]
    assert [jump.time for jump in second] == pytest.approx([0.0, 0.4, 1.0])


def test_nothing_to_learn_is_one_stage():
    assert [j.time for j in diagonal_jumps(np.eye(2), np.zeros(2))] == [0.0]


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: diagonal_jumps(np.eye(2), np.ones(3)), InputError, r"shapes \(D, D\) and \(D,\)"),
        (
            lambda: diagonal_jumps(np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones(2)),
            InputError,
            "curvature must be symmetric",
        ),
        (lambda: diagonal_jumps(-np.eye(2), np.ones(2)), InputError, "positive semi-definite"),
        (
            lambda: diagonal_jumps(np.diag([1.0, 0.0]), np.ones(2)),
            InputError,
            "outside the range of the curvature",
        ),
        (
            lambda: diagonal_jumps(np.eye(2), np.array([1.0, np.nan])),
            InputError,
            "correlation must be finite",
        ),
        (
            lambda: diagonal_jumps(np.eye(2), np.array([1.0, 0.5]), limit=1),
            NumericalError,
            "more than 1 jumps",
        ),
        (
            lambda: diagonal_jumps(np.eye(2), np.ones(2), walls=(np.ones(3), np.ones(2))),
            InputError,
            "walls must be two arrays of 2 positive numbers",
        ),
        (
            lambda: diagonal_jumps(np.eye(2), np.ones(2), walls=(np.ones(2), np.zeros(2))),
            InputError,
            "walls must be two arrays of 2 positive numbers",
        ),
    ],
)
def test_misuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_coordinate_in_small_units_is_learned_too():
    """(a) Two features of sizes 1e7 and 1, targets both depend on: the first loss is b' g^-1 b / 2,
    the last zero."""
    d, g = np.array([1e7, 1.0]), np.array([[1.0, 0.3], [0.3, 1.0]])
    beta = np.array([1.0, 2.0])
    jumps = diagonal_jumps(d * g * d[:, None], d * (g @ beta))
    assert jumps[0].loss == pytest.approx(0.5 * beta @ g @ beta, rel=1e-12)
    assert jumps[-1].loss == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(jumps[-1].beta * d, beta, rtol=1e-9)
