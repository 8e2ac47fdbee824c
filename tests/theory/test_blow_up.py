"""Blow-up times of quadratic units against their differential equation (d), closed forms (a) and
scaling (c)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from saddlery.basis.checks import InputError
from saddlery.theory import blow_up

FAR = 1e3


def integrated(v, u, strengths):
    """(time, sign, direction) by a Runge-Kutta method to |v| = 1000, and 1 / (2 l v) from there."""
    slope = lambda t, y: np.concatenate(
        [[np.sum(strengths * y[1:] ** 2)], 2 * y[0] * strengths * y[1:]]
    )
    reached = lambda t, y: abs(y[0]) - FAR
    reached.terminal = True
    found = solve_ivp(
        slope, (0, 1e7), np.r_[v, u], "DOP853", rtol=1e-12, atol=1e-17, events=reached
    )
    end, direction = found.y[0, -1], int(np.argmax(np.abs(found.y[1:, -1])))
    return found.t[-1] + 1 / (2 * strengths[direction] * end), np.sign(end), direction


@pytest.mark.parametrize("seed", range(12))
def test_time_sign_and_direction(seed):
    rng = np.random.default_rng(seed)
    strengths = np.array([1.0, -1.0, 0.5]) * rng.uniform(
        0.2, 2, 3
    )  # of both signs, so that no unit dies
    v, u = 1e-2 * rng.standard_normal(), 1e-2 * rng.standard_normal(3)
    time, sign, direction = integrated(v, u, strengths)
    found = blow_up(v, u, strengths)
    assert (found.sign, found.direction) == (sign, direction)
    assert found.time == pytest.approx(time, rel=2e-8)


@given(st.floats(1e-8, 1.0), st.floats(0.05, 5))
def test_a_balanced_unit_along_one_direction(v, strength):
    """(a) v' = 2 l v^2."""
    assert blow_up(v, np.array([np.sqrt(2) * v]), np.array([strength])).time == pytest.approx(
        1 / (2 * strength * v), rel=1e-9
    )


@given(st.integers(0, 1000), st.floats(1e-6, 1e3))
def test_times_scale_inversely_with_the_weights(seed, factor):
    rng = np.random.default_rng(seed)
    strengths, v, u = np.array([1.0, -0.5]), rng.standard_normal(), rng.standard_normal(2)
    assert blow_up(factor * v, factor * u, strengths).time * factor == pytest.approx(
        blow_up(v, u, strengths).time, rel=1e-6
    )


def test_a_unit_can_die():
    """All strengths positive and too negative an outgoing weight: v tends to -sqrt(v0^2 - |u0|^2 /
    2)."""
    dead = blow_up(-1.0, np.array([0.5, 0.5]), np.array([1.0, 0.5]))
    assert (dead.time, dead.sign, dead.direction) == (float("inf"), 0, None)
    alive = blow_up(-0.3, np.array([0.5, 0.5]), np.array([1.0, 0.5]))
    assert np.isfinite(alive.time) and alive.sign == 1
    assert blow_up(0.0, np.zeros(2), np.array([1.0, -1.0])).sign == 0
    assert blow_up(1.0, np.zeros(2), np.array([1.0, -1.0])).sign == 0


def test_starting_at_the_turn():
    time, sign, direction = integrated(0.0, np.array([0.02, 0.01]), np.array([1.0, -0.5]))
    found = blow_up(0.0, np.array([0.02, 0.01]), np.array([1.0, -0.5]))
    assert (found.sign, found.direction) == (sign, direction) and found.time == pytest.approx(
        time, rel=2e-8
    )


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, np.ones(2), np.ones(3)), r"u and strengths must be of one shape \(D,\)"),
        ((np.nan, np.ones(2), np.ones(2)), "v must be a finite number"),
        ((1.0, np.ones(2), np.array([1.0, np.inf])), "strengths must be finite"),
    ],
)
def test_misuse(arguments, message):
    with pytest.raises(InputError, match=message):
        blow_up(*arguments)
