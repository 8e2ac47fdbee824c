"""Modes of deep linear networks against high-accuracy integration (d), limits (a) and their own
equation (b)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from saddlery.basis.checks import InputError
from saddlery.theory import mode_strength, mode_time

CASES = [(1.0, 1.0, 1e-4), (0.4, 2.0, 1e-3), (3.0, 0.5, 0.2), (1e-2, 1.0, 1e-9)]


def integrated(times, s, c, start, layers):
    """log u by a Runge-Kutta method of order 8."""
    slope = lambda t, y: layers * np.exp(y * (1 - 2 / layers)) * (s - c * np.exp(y))
    found = solve_ivp(
        slope, (0, times[-1]), [np.log(start)], "DOP853", times, rtol=1e-13, atol=1e-14
    )
    return np.exp(found.y[0])


@pytest.mark.parametrize("layers", [2, 3, 4, 7])
@pytest.mark.parametrize(("s", "c", "start"), CASES)
def test_the_whole_path(layers, s, c, start):
    times = np.linspace(
        0, 1.1 * mode_time(0.999999 * s / c, s, start, layers=layers, variance=c), 40
    )
    found = mode_strength(times, s, start, layers=layers, variance=c)
    np.testing.assert_allclose(found, integrated(times, s, c, start, layers), rtol=1e-9)
    assert found[0] == pytest.approx(start, rel=1e-12)


@given(
    layers=st.integers(2, 9),
    s=st.floats(0.05, 5),
    c=st.floats(0.1, 4),
    fraction=st.floats(1e-8, 0.9),
    share=st.floats(0.01, 0.99),
)
def test_time_and_strength_are_inverse(layers, s, c, fraction, share):
    start = fraction * s / c
    u = start + share * (s / c - start)
    t = mode_time(u, s, start, layers=layers, variance=c)
    assert mode_strength(t, s, start, layers=layers, variance=c) == pytest.approx(u, rel=1e-7)


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_stable_for_long_horizons(layers):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        ends = mode_strength(np.array([1e6, 1e12]), 0.4, 1e-3, layers=layers, variance=2.0)
    assert ends == pytest.approx([0.2, 0.2], rel=1e-14)


def test_two_layers_from_above_and_without_signal():
    times = np.array([0.0, 0.5, 3.0])
    np.testing.assert_allclose(
        mode_strength(times, 1.0, 3.0), 1 / (1 - (2 / 3) * np.exp(-2 * times)), rtol=1e-14
    )
    np.testing.assert_allclose(mode_strength(times, 0.0, 0.1), 0.1 / (1 + 0.2 * times), rtol=1e-14)
    np.testing.assert_allclose(mode_strength(times, 1e-9, 0.1), 0.1 / (1 + 0.2 * times), rtol=1e-8)


def test_half_time_of_two_layers():
    assert mode_time(0.5, 1.0, 1e-4) == pytest.approx(np.log(1e4 - 1) / 2, rel=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mode_strength(-1.0, 1.0, 0.1), "flow_time must be at or after 0"),
        (lambda: mode_strength(1.0, -1.0, 0.1), "s must be a finite singular value"),
        (lambda: mode_strength(1.0, 1.0, 0.0), "start must be a finite number above zero"),
        (
            lambda: mode_strength(1.0, 1.0, 2.0, layers=3),
            "start must be below the end of the mode, 1,",
        ),
        (lambda: mode_strength(1.0, 0.0, 0.1, layers=3), "start must be below the end"),
        (
            lambda: mode_strength(1.0, 1.0, 0.1, layers=1),
            "layers must be a whole number of at least 2",
        ),
        (lambda: mode_time(1.0, 1.0, 0.1), "u and start must be between 0 and the end of the mode"),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()
