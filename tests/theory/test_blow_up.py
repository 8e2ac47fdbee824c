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


@pytest.mark.parametrize("v", [-1.0, -1e-3, -1e-10, -1e-170, 0.0, 1e-200, 1e-10, 0.5])
def test_a_unit_with_the_larger_u(v):
    """(a) u^2/2 - v^2 = b^2 is kept, so v' = 2 l (v^2 + b^2): v = b tan(2 l b t + c)."""
    b = np.sqrt(2.0 - v**2)
    time = (np.pi / 2 - np.arctan(v / b)) / (2 * 0.3 * b)
    assert blow_up(v, np.array([2.0]), np.array([0.3])).time == pytest.approx(time, rel=1e-9)


@pytest.mark.parametrize("u", [1.0, 1e-3, 1e-100, 1e-170, 1e-300])
def test_a_unit_with_hardly_any_u(u):
    """(a) v^2 - u^2/2 = a^2 is kept, so v' = 2 l (v^2 - a^2): of a^2 = 1 it takes arcsinh(sqrt(2)
    a/u) / (2 l a)."""
    a = np.sqrt(1 - u**2 / 2)
    found = blow_up(1.0, np.array([u, 0.0]), np.array([0.5, 50.0]))
    assert found.time == pytest.approx(np.arcsinh(np.sqrt(2) * a / u) / a, rel=1e-9)
    assert (found.sign, found.direction) == (1, 0)


@pytest.mark.parametrize("factor", [1e-200, 1e-12, 1e12, 1e15, 1e20, 1e200])
@pytest.mark.parametrize("v", [-0.01, 0.01])
def test_times_do_not_depend_on_the_units_of_weights_and_strengths(v, factor):
    """(c) Of c u, c v and of c S they are those of u, v and S over c, however large or small c: a
    root was found to 1e-15 of no unit, and sizes below 1e-150 counted as that."""
    u, strengths = np.array([0.03, 0.02, 0.01]), np.array([0.5, 0.2, -0.3])
    plain = blow_up(v, u, strengths)
    for found in (blow_up(factor * v, factor * u, strengths), blow_up(v, u, factor * strengths)):
        assert found.time * factor == pytest.approx(plain.time, rel=1e-8)
        assert (found.sign, found.direction) == (plain.sign, plain.direction)


def test_a_direction_in_which_there_is_nothing_does_nothing():
    """(c) Whatever its strength: the fastest of all made no time of one, and a dead unit."""
    u, strengths = np.array([0.02, 0.0, 0.01]), np.array([0.5, 50.0, -0.3])
    with_it, without = blow_up(0.01, u, strengths), blow_up(0.01, u[::2], strengths[::2])
    assert with_it.time == without.time and (with_it.sign, with_it.direction) == (1, 0)


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
