"""Kinks: one-sided slopes, B-stationarity and what is certified there, against plain loops, brute
force and closed forms."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, train
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, flatten, objective
from saddlery.saddles import certify_state, kinks
from saddlery.saddles.judging import spectrum_at
from saddlery.saddles.kinks import (
    across,
    base,
    directional,
    kinks_at,
    slopes,
    states,
    steepest,
    touched,
)
from saddlery.symmetry import utility_maxima
from saddlery.tasks import OrthogonalReLU
from saddlery.training import Stop
from saddlery.units import Symmetry, Unit, check_smooth, make, register, shipped
from saddlery.units.base import lowest_order
from saddlery.units.smoothness import find_jump
from scaled import one_layer, rescaled
from slowly import slowly

HOMOGENEOUS = Symmetry(silent=True, homogeneous="positive", degree=1)
ABS = Unit("absolute", lambda z, u: jnp.abs(z @ u), lambda shape: shape, HOMOGENEOUS, smooth=False)
SATURATED = Unit(
    "saturated",
    lambda z, u: jnp.clip(z @ u, 0, 1),
    lambda s: s,
    Symmetry(silent=True),
    smooth=False,
)
UNITS = {
    "relu": make("relu"),
    "leaky_relu": make("leaky_relu"),
    "absolute": ABS,
    "saturated": SATURATED,
}
SIGMA = {
    "relu": lambda a: np.maximum(a, 0.0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.1 * a),
    "absolute": np.abs,
    "saturated": lambda a: np.clip(a, 0.0, 1.0),
}


def problem(unit, x, y, width):
    x, y = np.asarray(x, float), np.asarray(y, float)
    return objective(Network((Layer(unit, width),)), Data(x.shape[1:], y.shape[1], x, y))


def losses(name, x, y, u, v, directions, step):
    """(d) The loss at theta + step d for every direction, one NumPy expression."""
    h, d = u.shape
    moved = np.concatenate([u.ravel(), v.ravel()]) + step * directions
    w, out = moved[:, : h * d].reshape(-1, h, d), moved[:, h * d :].reshape(-1, h, v.shape[1])
    f = np.einsum("thn,tho->tno", SIGMA[name](np.einsum("thd,nd->thn", w, x)), out)
    return 0.5 * np.sum((f - y) ** 2, axis=(1, 2)) / len(x)


def state_of(u, v):
    return flatten(({"u": np.asarray(u, float), "v": np.asarray(v, float)},))


def directions(rng, count, size):
    """Random ones, dense and sparse, of unit length."""
    found = rng.standard_normal((count, size)) * np.where(
        np.arange(count)[:, None] % 2, 1.0, rng.random((count, size)) < 0.4
    )
    found = found[np.linalg.norm(found, axis=1) > 0]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def integers(rng, samples=5, inputs=3, width=2, outputs=1):
    """Integer inputs, weights and targets, so that many samples lie exactly on kinks."""
    x, y = (
        rng.integers(-2, 3, (samples, inputs)).astype(float),
        rng.integers(-2, 3, (samples, outputs)).astype(float),
    )
    return (
        x,
        y,
        rng.integers(-1, 2, (width, inputs)).astype(float),
        rng.integers(-1, 2, (width, outputs)).astype(float),
    )


# ---------------------------------------------------------- slopes
@pytest.mark.parametrize("name", UNITS)
def test_the_steepest_slope_against_one_sided_differences(name):
    """(d) 3,000 directions a state: none falls more steeply than what is said, and that one falls
    as steeply."""
    compare(name, seeds=range(12))


@pytest.mark.slow
@pytest.mark.parametrize("name", UNITS)
def test_the_steepest_slope_of_many_networks(name):
    compare(name, seeds=range(12, 400))


def compare(name, seeds):
    found = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x, y, u, v = integers(rng)
        state = state_of(u, v)
        on = kinks_at(problem(UNITS[name], x, y, 2), state, 1e-12)
        if on is None:
            continue
        base = losses(name, x, y, u, v, np.zeros((1, state.size)), 0.0)[0]
        slopes = lambda d, a=(x, y, u, v), b=base: (losses(name, *a, d, 1e-7) - b) / 1e-7
        assert slopes(directions(rng, 3000, state.size)).min() >= -on.residual - 1e-5
        if on.slope < 0:
            assert slopes(on.direction[None])[0] == pytest.approx(on.slope, abs=1e-5)
            found += 1
        rest = 0 * state if on.direction is None else on.residual * on.direction
        for own in np.arange(u.size).reshape(
            u.shape
        ):  # nothing is steeper within one unit's u, where directions are dense
            d = np.zeros((3000, state.size))
            d[:, own] = directions(rng, 6000, 3)[:3000]
            assert slopes(d).min() >= -np.linalg.norm(rest[own]) - 1e-5
    assert found > len(seeds) / 3


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "absolute"])
def test_the_directional_derivative_in_closed_form(name):
    """(a) g.d + sum c [slope_+ max(z.du, 0) + slope_- min(z.du, 0)] over samples on kinks, in a
    loop over samples and units."""
    above, below = {"relu": (1.0, 0.0), "leaky_relu": (1.0, 0.1), "absolute": (1.0, -1.0)}[name]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y, u, v = integers(rng)
        subject, state = problem(UNITS[name], x, y, 2), state_of(u, v)
        residual = (SIGMA[name](x @ u.T) @ v - y) / len(x)
        d = rng.standard_normal(state.size)
        du, dv = d[: u.size].reshape(u.shape), d[u.size :].reshape(v.shape)
        expected = 0.0
        for n in range(len(x)):
            for i in range(len(u)):
                a, da = float(x[n] @ u[i]), float(x[n] @ du[i])
                side = a if a != 0 else da
                expected += residual[n] @ v[i] * (above if side > 0 else below) * da + residual[
                    n
                ] @ dv[i] * SIGMA[name](a)
        assert directional(subject, state, d) == pytest.approx(expected, abs=1e-6)


def planted(rng, name, samples=6, inputs=2, on=2):
    """A state on the kinks of one unit, where no slope falls: multipliers are drawn, and targets
    solved for them.

    (b) The balance g + sum lambda_k a_k = 0 and dL/dv = 0 are linear in the errors e_n; e is drawn
    in their null space until the kinks bend upwards, e_n v J > 0.
    """
    above, below = {"relu": (1.0, 0.0), "leaky_relu": (1.0, 0.1), "absolute": (1.0, -1.0)}[name]
    while True:
        u, v = np.r_[1.0, 0.0][None, :inputs], np.ones((1, 1))
        x = rng.integers(-3, 4, (samples, inputs)).astype(float)
        x[:on, 0], x[on:, 0] = 0.0, np.where(x[on:, 0] == 0, 1.0, x[on:, 0])
        if np.any(x[:on, 1] == 0):
            continue
        share = rng.uniform(0.2, 0.8, on)
        a = x @ u[0]
        slope = np.where(a > 0, above, below)
        slope[:on] = below + share * (above - below)
        conditions = np.vstack([(slope[:, None] * x).T, SIGMA[name](a)])
        null = np.linalg.svd(conditions)[2][np.linalg.matrix_rank(conditions) :]
        e = null.T @ rng.standard_normal(len(null))
        if np.all(e[:on] > 0.05):
            return x, (SIGMA[name](a) - e)[:, None], u, v


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "absolute"])
def test_a_stationary_state_is_not_refuted_by_search(name):
    """(d) Planted points: the verdict says that they rest on a kink; no random direction falls at
    first order."""
    for seed in range(3):
        refute(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "absolute"])
def test_many_stationary_states_are_not_refuted(name):
    for seed in range(3, 60):
        refute(name, seed)


def refute(name, seed):
    rng = np.random.default_rng(seed)
    x, y, u, v = planted(rng, name)
    subject, state = problem(UNITS[name], x, y, 1), state_of(u, v)
    on = kinks_at(subject, state, 1e-12 * subject.scales.gradient)
    assert (
        on.slope == 0.0
        and on.residual < 1e-12 * subject.scales.gradient
        and on.decided
        and on.covered
    )
    assert {kink.sample for kink in on.live} == {0, 1}
    d = directions(rng, 4000, state.size)
    base = losses(name, x, y, u, v, 0 * d[:1], 0.0)[0]
    assert (losses(name, x, y, u, v, d, 1e-6) - base).min() > -1e-10
    for kink in on.live:  # the slopes that are said, by one-sided differences along +-u_2
        for side, slope in ((1.0, kink.forth), (-1.0, kink.back)):
            moved = losses(name, x, y, u, v, np.array([[0.0, side, 0.0]]), 1e-7)[0]
            assert (moved - base) / 1e-7 == pytest.approx(slope, abs=1e-5) and slope > 0
    c = certify_state(subject, state)
    assert "rests on a kink: sample 0 on unit 0" in c.reason and c.smooth_dimension == 2
    assert c.gradient_norm <= c.tolerance
    falls = base - losses(name, x, y, u, v, d, 1e-3).min()
    if c.verdict == "minimum":
        assert falls < 1e-12
    else:
        assert c.verdict == "strict saddle"
        fall = base - losses(name, x, y, u, v, c.escape_direction[None], 1e-3)[0]
        assert fall == pytest.approx(0.5 * c.escape_rate * 1e-6, rel=0.05)


def edges(rng, name, samples=6, on=1, second=1.0):
    """A state on the kinks of one unit with two outputs, some of which may be left on one side at
    no cost; v = (1, 0).

    Errors of the first output balance the slopes of u at multipliers 0, 1/2 or 1; those of the
    second, of size `second`, are only orthogonal to the features, so that the loss may fall at
    second order along (du, dv_2).
    """
    above, below = {"relu": (1.0, 0.0), "leaky_relu": (1.0, 0.1), "absolute": (1.0, -1.0)}[name]
    while True:
        u, v = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]])
        x = rng.integers(-3, 4, (samples, 2)).astype(float)
        x[:on, 0], x[on:, 0] = 0.0, np.where(x[on:, 0] == 0, 1.0, x[on:, 0])
        a, features = x @ u[0], SIGMA[name](x @ u[0])
        slope = np.where(a > 0, above, below)
        slope[:on] = below + rng.choice([0.0, 0.5, 1.0], on) * (above - below)
        conditions = np.vstack([(slope[:, None] * x).T, features])
        null = np.linalg.svd(conditions)[2][np.linalg.matrix_rank(conditions) :]
        first, other = null.T @ rng.standard_normal(len(null)), rng.standard_normal(samples)
        other -= features * (features @ other) / max(float(features @ features), 1e-300)
        if features.any() and np.all(x[:on, 1] != 0) and np.all(first[:on] > 0.02):
            return x, np.stack([features - first, -second * other], axis=1), u, v


@pytest.mark.parametrize(
    ("name", "seeds"), [("relu", range(2)), ("leaky_relu", range(2)), ("absolute", range(2))]
)
def test_second_order_across_kinks_is_not_refuted(name, seeds):
    """(d) 20,000 directions at a small radius: minima do not fall, and saddles fall along the
    direction that is said."""
    second_order(name, seeds)


@pytest.mark.parametrize("seed", [27, 28])
def test_falls_across_kinks_are_of_their_own_side(seed):
    """(d) From JAX's slope at a kink, which is that of one side, the other side was taken for one
    that falls (27); and a search on a sphere that was led to its centre ended in an error (28)."""
    second_order("relu", (seed,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "absolute"])
def test_second_order_across_many_kinks(name):
    seen = second_order(name, range(2, 30))
    assert (
        {"minimum", "strict saddle"} <= seen <= {"minimum", "strict saddle", "undecided"}
    )  # both kinds are there


def second_order(name, seeds):
    seen = set()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x, y, u, v = edges(rng, name, second=10.0 if seed % 2 else 0.02)
        c = certify_state(problem(UNITS[name], x, y, 1), state_of(u, v))
        d = np.vstack([directions(rng, 20_000, 4), np.eye(4), -np.eye(4)])
        base = losses(name, x, y, u, v, 0 * d[:1], 0.0)[0]
        assert (
            "rests on a kink" in c.reason
            and (losses(name, x, y, u, v, d, 1e-7) - base).min() > -1e-12
        )
        if c.verdict == "minimum":
            assert (losses(name, x, y, u, v, d, 1e-4) - base).min() > -1e-12
        if c.verdict == "strict saddle":
            along = losses(name, x, y, u, v, c.escape_direction[None], 1e-4)[0] - base
            assert along < -1e-12 and (
                c.escape_rate is None or along == pytest.approx(-0.5e-8 * c.escape_rate, rel=0.05)
            )
        seen.add(c.verdict)
    return seen


def test_a_kink_that_bends_downwards_is_no_fixed_point():
    """(a) Inputs I_2, targets (1, .5), one ReLU at u = (1, 0), v = 1: slope -1/4 along u_2, -.0225
    at .1; the gradient there is zero on the side that is inactive."""
    subject = problem(make("relu"), np.eye(2), [[1.0], [0.5]], 1)
    state = np.array([1.0, 0.0, 1.0])
    c = certify_state(subject, state)
    assert (c.verdict, c.escape_order, c.certified) == ("no fixed point found", 1, False)
    assert (
        "first-order descent on a kink: the loss falls at slope -0.25" in c.reason
        and "sample 1 on unit 0" in c.reason
    )
    np.testing.assert_allclose(c.escape_direction, [0, 1, 0], atol=1e-15)
    assert float(
        subject.loss(state + 0.1 * c.escape_direction) - subject.loss(state)
    ) == pytest.approx(-0.0225)
    near = certify_state(
        subject, np.array([1.0, -1e-12, 1.0])
    )  # within rounding of the kink is on it
    assert near.verdict == "no fixed point found" and near.escape_order == 1


def test_an_edge_that_may_be_left_on_one_side():
    """(a) Target -.5 instead: forward costs 1/4, backward nothing; that piece has no negative
    curvature: a minimum."""
    subject = problem(make("relu"), np.eye(2), [[1.0], [-0.5]], 1)
    c = certify_state(subject, np.array([1.0, 0.0, 1.0]))
    assert c.verdict == "minimum" and "slopes 0.25 forth, 0 back" in c.reason


def test_the_origin_of_leaky_units_has_no_hessian():
    """(a) The gain G of a silent unit is piecewise linear: 100,000 angles in NumPy give the rate 2
    max U = max |G|. The loss falls along the direction at that rate; the Hessian of JAX's slope at
    the kink would say .99, in four directions."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2))
    y = (x[:, 1] - 0.5 * np.abs(x[:, 0]))[:, None]
    subject = problem(make("leaky_relu"), x, y, 4)
    c = certify_state(subject, np.zeros(subject.size))
    angles = np.linspace(0, 2 * np.pi, 100_001)
    gains = (
        SIGMA["leaky_relu"](np.stack([np.cos(angles), np.sin(angles)], axis=1) @ x.T)
        @ y[:, 0]
        / len(x)
    )
    assert (c.verdict, c.index, c.zero_modes, c.smooth_dimension) == ("strict saddle", 0, 4, 4)
    assert c.escape_rate == pytest.approx(np.abs(gains).max(), rel=1e-6)
    fall = float(subject.loss(c.state)) - float(subject.loss(c.state + 1e-3 * c.escape_direction))
    assert fall == pytest.approx(0.5 * c.escape_rate * 1e-6, rel=1e-3)
    assert "the 4 of 12 dimensions that cross no kink" in c.reason


def test_lanczos_is_taken_within_the_smooth_directions(monkeypatch):
    subject = problem(make("leaky_relu"), np.eye(3)[:, :2] + 1.0, np.ones((3, 1)), 40)
    monkeypatch.setattr("saddlery.saddles.fixed_points.DENSE", 10)
    found = spectrum_at(subject, np.zeros(subject.size))
    assert found.size == 40 and found.index == 0 and found.lowest_vector.shape == (subject.size,)


def test_units_of_their_own():
    """(c) The same subspace for weights in other units: d crosses no kink however it is
    measured."""
    x, y, u, v = integers(np.random.default_rng(3))
    on = kinks_at(problem(make("relu"), x, y, 2), state_of(u, v), 1e-12)
    units = np.exp(np.random.default_rng(0).standard_normal(u.size + v.size))
    mine = on.scaled(units).smooth.toarray()
    np.testing.assert_allclose(mine.T @ mine, np.eye(on.dimension), atol=1e-12)
    moved = units[:, None] * mine
    np.testing.assert_allclose(on.smooth @ (on.smooth.T @ moved), moved, atol=1e-12)
    assert on.scaled(2 * np.ones(len(units))) is on and 0 < on.dimension < len(units)


def test_dead_units_on_kinks():
    """(d) v = 0 and u on a kink: the loss falls at second order, -t s |G'|, which no smooth
    direction shows."""
    subject = problem(make("relu"), np.eye(2), [[0.0], [0.5]], 1)
    c = certify_state(subject, np.array([1.0, 0.0, 0.0]), route="direct")
    assert c.verdict == "strict saddle" and "across kinks" in c.reason
    assert (
        float(subject.loss(c.state + 1e-3 * c.escape_direction))
        < float(subject.loss(c.state)) - 1e-8
    )


def test_what_is_not_known_is_undecided(monkeypatch):
    """A dead unit whose kinked sample has no error: nothing falls at second order, and nothing
    proves that none does."""
    subject = problem(
        make("relu"), [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [[0.0], [0.0], [0.5]], 1
    )
    monkeypatch.setattr(across, "_pieces_rise", lambda *a: False)
    c = certify_state(subject, np.array([1.0, 0.0, 0.0]), route="direct")
    assert c.verdict == "undecided" and c.certified and "which proves nothing" in c.reason
    monkeypatch.undo()
    assert certify_state(subject, np.array([1.0, 0.0, 0.0]), route="direct").verdict == "minimum"


def test_kinks_away_from_the_origin():
    """(a) A saturated ReLU with u.z = 1 on one sample, error e: slopes e on the side below 1
    only."""
    subject = problem(SATURATED, [[1.0, 0.0], [0.0, 1.0]], [[2.0], [0.25]], 1)
    on = kinks_at(subject, np.array([1.0, 0.25, 1.0]), 1e-12)
    (kink,) = on.live
    assert (kink.sample, kink.forth) == (0, pytest.approx(0.0, abs=1e-12))
    assert kink.back == pytest.approx(0.5)  # e v / N = -1/2, downwards


def test_kinks_of_curved_units():
    """(a) relu(a) + sin(a)^2 at a = 0: slopes 1 and 0, whatever its curvature, so that it costs 1/4
    forth and nothing back."""
    curved = Unit(
        "curved",
        lambda z, u: jax.nn.relu(z @ u) + jnp.sin(z @ u) ** 2,
        lambda shape: shape,
        smooth=False,
    )
    subject = problem(curved, np.eye(2), [[1.0 + np.sin(1.0) ** 2], [-0.5]], 1)
    on = kinks_at(subject, np.array([1.0, 0.0, 1.0]), 1e-12)
    (kink,) = on.live
    assert kink.forth == pytest.approx(0.25, abs=1e-14) and kink.back == pytest.approx(
        0.0, abs=1e-14
    )
    assert on.residual < 1e-14 and on.slope == 0.0


def test_deep_networks_are_not_called_stationary():
    """Live kinks below another layer: a descent is said where the loss falls, stationarity is
    not."""
    network = Network((Layer(make("relu"), 1, mixes=False), Layer(make("tanh"), 1)))
    x = np.eye(2)
    for target, falls in ((0.5, True), (-0.5, False)):
        data = Data((2,), 1, x, np.array([[float(np.tanh(1.0))], [target]]))
        subject, state = objective(network, data), np.array([1.0, 0.0, 1.0, 1.0])
        on = kinks_at(subject, state, 1e-12)
        assert (on.slope < 0, on.decided) == (falls, falls)
        c = certify_state(subject, state)
        assert (c.verdict, c.escape_order) == (
            ("no fixed point found", 1) if falls else ("undecided", None)
        )


def test_many_kinks_that_bend_downwards():
    """(d) 14 of them, more than all subsets are tried of: the descent is found, and where none is
    found none is proven."""
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((14, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = steepest(np.zeros(3), normals, -np.ones(14), 1e-12)
    d = directions(rng, 20_000, 3)
    brute = (-np.maximum(normals @ d.T, 0)).sum(axis=0).min()
    assert -np.linalg.norm(found.rest) <= brute + 1e-9 and np.linalg.norm(
        found.rest
    ) == pytest.approx(-brute, rel=1e-2)
    held = np.vstack([normals, np.eye(3), -np.eye(3)])
    high = steepest(np.zeros(3), held, np.r_[-0.01 * np.ones(14), 5 * np.ones(6)], 1e-12)
    assert np.linalg.norm(high.rest) < 1e-12 and not high.proven and high.sides is None


@pytest.mark.parametrize(("share", "side"), [(0.5, 0), (1.0, 1), (0.0, -1)])
@pytest.mark.parametrize("left", [0.0, 5e-13])
def test_sides_that_are_free_beside_what_the_tolerance_leaves(share, side, left):
    """(a) g = (-s gamma, r): leaving costs on both sides for 0 < s < 1, on neither side more than
    r, which is within the tolerance and no kink's to balance."""
    found = steepest(np.array([-share * 1e-11, left]), np.eye(2)[:1], np.array([1e-11]), 1e-12)
    assert found.sides.tolist() == [side]


# ---------------------------------------------------------- kinks that the layers below cross
def deep(first, x, y, u1, u2, v, residual=False):
    """A layer that passes its units on and a ReLU layer that reads them, and the state of these
    weights."""
    x, y, u1, u2, v = (np.asarray(a, float) for a in (x, y, u1, u2, v))
    layers = (
        Layer(make(first), len(u1), mixes=False),
        Layer(make("relu"), len(u2), residual=residual),
    )
    return objective(Network(layers), Data(x.shape[1:], y.shape[1], x, y)), flatten(
        ({"u": u1}, {"u": u2, "v": v})
    )


def assert_falls(subject, state, slope):
    """The certificate says a first-order descent at this slope, and the loss falls as steeply along
    its direction."""
    c = certify_state(subject, state)
    assert (c.verdict, c.escape_order, c.certified) == ("no fixed point found", 1, False), c.reason
    assert "first-order descent on a kink" in c.reason and "where layers below cross it" in c.reason
    seen = (
        float(subject.loss(state + 1e-6 * c.escape_direction)) - float(subject.loss(state))
    ) / 1e-6
    assert float(c.reason.split("at slope ")[1].split()[0]) == pytest.approx(slope, rel=1e-4)
    assert seen == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("first", ["linear", "tanh", "relu"])
def test_a_layer_of_zeros_below_a_kink(first):
    """(a) Inputs I_2, targets (1, 1/2), W_1 = 0: where all units are on, L' = -sum_nj (y_n / 2) (v
    W_2)_j dW_1jn."""
    u2, v = np.array([[1.0, 0.3], [0.2, 1.0]]), np.array([[1.0], [0.7]])
    subject, state = deep(first, np.eye(2), [[1.0], [0.5]], np.zeros((2, 2)), u2, v)
    assert_falls(subject, state, -np.linalg.norm(v.T @ u2) * np.linalg.norm([0.5, 0.25]))


@pytest.mark.parametrize("first", ["linear", "tanh", "relu"])
def test_a_sample_that_no_unit_below_sees_yet(first):
    """(a) z = 0 on sample 2 alone, W_2 = (1, 0): the first unit may see it, at slope -(1/4) v /
    2."""
    v = 0.5 / {"linear": 1.0, "tanh": np.tanh(1.0), "relu": 1.0}[first]
    subject, state = deep(
        first, np.eye(2), [[0.5], [0.25]], [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]], [[v]]
    )
    assert_falls(subject, state, -v / 8)
    rises, _ = deep(
        first, np.eye(2), [[0.5], [-0.25]], [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]], [[v]]
    )
    c = certify_state(rises, state)
    assert c.verdict == "undecided" and "whose first order is not decided" in c.reason


def test_a_stream_below_a_kink():
    """(a) A residual layer reads z = W_1 x = 0 and adds to it: f = z + v relu(u.z), errors -y, so
    that where all is on L' = -(y / 2).(dz + v u.dz); on the other side of u the stream alone would
    fall."""
    subject, state = deep(
        "linear", np.eye(2), np.eye(2), np.zeros((2, 2)), [[1.0, 0.0]], [[1.0, 0.0]], residual=True
    )
    on = kinks_at(subject, state, 1e-12)
    assert {(one.layer, one.unit, one.sample) for one in on.below} == {(1, 0, 0), (1, 0, 1)}
    d = np.r_[1.0, 0.0, 0.0, 0.0, np.zeros(4)]
    assert on.slope <= directional(subject, state, d) == pytest.approx(-1.0)
    assert directional(subject, state, on.direction) == pytest.approx(on.slope) and on.decided


def test_kinks_above_that_nothing_can_cross():
    """(a) Sample 2 is off in the first layer and stays so: its kink above counts for nothing, and
    the state is a minimum."""
    subject, state = deep("relu", [[1.0], [-1.0]], [[1.0], [0.5]], [[1.0]], [[1.0]], [[1.0]])
    assert kinks_at(subject, state, 1e-12) is None
    assert certify_state(subject, state).verdict == "minimum"


def spare(first, target):
    """A unit that is off on sample 2 and a silent one, which no unit above reads; the loss is that
    of sample 2 alone."""
    return deep(
        first, np.eye(2), [[0.5], [target]], [[1.0, -1.0], [0.0, 0.0]], [[1.0, 0.0]], [[0.5]]
    )


def test_a_silent_unit_below_a_kink():
    """(a) Where the silent unit (du, dw) is on, L falls by (1/4) (1/2) / 2 du_2 dw = du_2 dw / 16,
    so by r^2 / 32 at best; JAX's slope of 0 at the kink above would say that it has no utility."""
    subject, state = spare("relu", 0.25)
    c = certify_state(subject, state)
    assert c.verdict == "strict saddle" and "falls across kinks at second order" in c.reason, (
        c.reason
    )
    fall = float(subject.loss(state)) - float(subject.loss(state + 1e-3 * c.escape_direction))
    assert fall == pytest.approx(1e-6 / 32, rel=1e-2)


@pytest.mark.slow
def test_utilities_through_kinks_above_prove_no_minimum():
    """Target -1/4 instead: nothing falls, and what passes through the kink does not say so."""
    c = certify_state(*spare("relu", -0.25))
    assert c.verdict == "undecided" and "which proves nothing" in c.reason


def test_smooth_directions_cross_no_kink_of_a_layer_above():
    """(a) The normals of u_i.(W_1 x_n) = 0: u_i x_n in W_1, and W_1 x_n in u_i, which is zero on
    sample 2 and not on sample 3."""
    u1, u2 = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    subject, state = deep("linear", np.eye(3), np.ones((3, 1)), u1, u2, [[1.0], [0.5]])
    on = kinks_at(subject, state, 1e-12)
    touched = [(0, 1), (1, 1), (1, 2)]
    assert sorted((one.unit, one.sample) for one in on.below) == touched
    for unit, sample in touched:
        below, own = np.outer(u2[unit], np.eye(3)[sample]), np.zeros((2, 2))
        own[unit] = u1[:, sample]
        normal = flatten(({"u": below}, {"u": own, "v": np.zeros((2, 1))}))
        np.testing.assert_allclose(on.smooth.T @ normal, 0, atol=1e-12)
    assert (
        on.dimension == subject.size - 4
    )  # W_1: both weights of x_2, one of x_3; one of the second u


DEEP = {
    "falls": lambda: deep(
        "linear", np.eye(2), [[0.5], [0.25]], [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]], [[0.5]]
    ),
    "rises": lambda: deep(
        "linear", np.eye(2), [[0.5], [-0.25]], [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]], [[0.5]]
    ),
    "falls at second order": lambda: spare("relu", 0.25),
}


@pytest.mark.parametrize("name", slowly(DEEP, "falls"))
def test_kinks_of_deep_networks_commute_with_units_of_measure(name):
    """(c) Slopes and curvatures across kinks, of targets and inputs in any units of measure: the
    same verdict and order. In plain weights a slope that is rounding would be held against
    tolerances of another size, and falls would not be seen."""
    kind = lambda c: (c.verdict, c.escape_order)
    subject, state = DEEP[name]()
    first = kind(certify_state(subject, state))
    for units in (
        {"inputs": 1e-5},
        {"inputs": 1e5, "targets": 1e5},
        {"targets": 1e-5},
        {"inputs": np.array([1e4, 1.0])},
    ):
        assert kind(certify_state(*rescaled(subject, state, **units))) == first, units


@pytest.mark.parametrize("features", [(1.0, 1.0), (1e8, 1.0), (1.0, 1e8), (1e-8, 1e4)])
def test_slopes_on_kinks_in_units_of_each_feature(features):
    """(c) Inputs I_2, targets (1, 1e-10), u = e_1, v = 1: along u_2 the loss falls at a slope of
    5e-11 in natural units, which no unit of measure hides; and its kink is live in all of them."""
    subject = one_layer("relu", 1, np.eye(2), [[1.0], [1e-10]])
    scaled, state = rescaled(subject, np.array([1.0, 0.0, 1.0]), inputs=np.array(features))
    on = kinks_at(scaled, state, 1e-12 * scaled.scales.gradient)
    assert on.slope < 0 and on.decided and np.argmax(np.abs(on.direction)) == 1
    assert [(kink.unit, kink.sample) for kink in on.live] == [(0, 1)]


@pytest.mark.parametrize("features", [(1.0, 1.0), (1e8, 1.0), (1e12, 1.0), (1.0, 1e-9)])
def test_kinks_that_a_small_feature_alone_crosses(features):
    """(a) The sample (0, 5e-3) lies on the kink of u = e_1, which beside a column of 1e8 is 5e-11
    of its largest slope: along u_2 the loss falls at 1e-2 5e-3 / 3, whatever its unit of
    measure."""
    subject = one_layer("relu", 1, [[1.0, 0.0], [0.0, 5e-3], [1.0, 1.0]], [[1.0], [1e-2], [1.0]])
    scaled, state = rescaled(subject, np.array([1.0, 0.0, 1.0]), inputs=np.array(features))
    c = certify_state(scaled, state)
    assert (c.verdict, c.escape_order) == ("no fixed point found", 1)
    on = kinks_at(scaled, state, 1e-12 * scaled.scales.gradient)
    assert on.slope == pytest.approx(-1e-2 * 5e-3 / 3 * features[1], rel=1e-6)


def unbalanced(y, second, c):
    """A ReLU unit of u = c e_1, v = 1/(2 c) above a linear layer that reads x_1 and a little of
    x_2: one map for all c."""
    first = np.zeros((2, len(y)))
    first[0, :2] = 1.0, second
    return deep("linear", np.eye(len(y)), y, first, [[c, 0.0]], [[0.5 / c]])


@pytest.mark.parametrize("c", [1e-7, 1e-3, 30.0, 1e4, 1e5, 1e6])
def test_units_above_a_kink_may_be_unbalanced(c):
    """(c) What moves a little where a unit is balanced would cross the kinks next to it, or none,
    where u is 1e-7 of v. From u of 1e10 v on, third order over 1e-9 of the state is more than the
    tolerance of slopes, and no slope."""
    falls = certify_state(*unbalanced([[0.5], [0.25]], 0.0, c))
    assert (falls.verdict, falls.escape_order) == ("no fixed point found", 1)
    rests = certify_state(*unbalanced([[0.5], [5e-4], [-0.25]], 1e-3, c))
    assert rests.verdict == "undecided" and "whose first order is not decided" in rests.reason


@pytest.mark.parametrize(("ridge", "falls"), [(1e-3, False), (0.0, True)])
def test_what_rises_first_does_not_fall(ridge, falls):
    """(a) Along u_2 = t the loss is L(0) + (t^2 / 2 - max(t - ridge, 0) + max(t - ridge, 0)^2 / 2)
    / 2."""
    subject = one_layer("relu", 1, [[1.0, 1.0], [-ridge, 1.0]], [[1.0], [1.0]])
    assert (
        kinks.lowers(subject, np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), 0.1, 1) == falls
    )


@pytest.mark.parametrize("inputs", [1e-11, (1.0, 1.0, 1e11), (1.0, 1e11, 1.0)])
def test_directions_that_cross_kinks_above_in_any_units(inputs):
    """(c) Their number, of the network of
    `test_smooth_directions_cross_no_kink_of_a_layer_above`."""
    u1, u2 = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    subject, state = deep("linear", np.eye(3), np.ones((3, 1)), u1, u2, [[1.0], [0.5]])
    on = kinks_at(*rescaled(subject, state, inputs=np.array(inputs)), 1e-12)
    assert on.dimension == subject.size - 4


def test_kinks_of_silent_units_in_units_of_each_feature():
    """(a) A silent unit of three features lies on the kinks of all samples, which leave it v
    alone."""
    rng = np.random.default_rng(0)
    subject = one_layer("relu", 2, rng.standard_normal((9, 3)), rng.standard_normal((9, 1)))
    state = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    for features in (np.ones(3), np.array([1e8, 1.0, 1e-3])):
        on = kinks_at(*rescaled(subject, state, inputs=features), 1e-12)
        assert on.dimension == subject.size - 3 and on.silent.shape[1] == 3


@pytest.mark.parametrize("targets", [1e-8, 1e8])
def test_what_is_left_on_deep_kinks_is_measured_as_gradients_are(targets):
    """(c) A rise of 1 and 1/4 in the weights beside a slope of 1e-9: still zero to a tolerance of
    1e-8 of the task's gradient."""
    subject, state = DEEP["rises"]()
    scaled, moved = rescaled(
        subject, state + 1e-9 * np.eye(subject.size)[-1], targets=targets, inputs=1 / targets
    )
    on = kinks_at(scaled, moved, 1e-8 * scaled.scales.gradient)
    assert on is not None and on.slope == 0.0 and on.residual < 1e-8 * scaled.scales.gradient


def test_a_dead_unit_above_is_on_its_kinks():
    """Balanced units of a unit with v ~ 1e-17 would move its u far over all kinks, in which none
    would be seen."""
    x, u2 = [[1.0, 1.0], [1.0, 0.0]], [[1.0, -1.0], [1.0, 0.0]]
    subject, state = deep("linear", x, [[0.5], [0.0]], np.eye(2), u2, [[1e-17], [0.5]])
    on = kinks_at(subject, state, 1e-12)
    assert [(one.unit, one.sample) for one in on.below] == [(0, 0)] and not on.live


# ---------------------------------------------------- units that forget to say that they have kinks
KINKED = {
    "relu": lambda z, u: jax.nn.relu(z @ u),
    "abs": lambda z, u: jnp.abs(z @ u),
    "curvature only": lambda z, u: (z @ u) * jnp.abs(z @ u),
    "huber": lambda z, u: jnp.where(jnp.abs(z @ u) < 1, 0.5 * (z @ u) ** 2, jnp.abs(z @ u) - 0.5),
    "saturated": lambda z, u: jnp.clip(z @ u, 0, 1),
    "far": lambda z, u: jnp.maximum(z @ u - 100, 0),
    "at u = 0 only": lambda z, u: jnp.linalg.norm(u) * z.sum(),
    "small": lambda z, u: jnp.tanh(z @ u) + 1e-3 * jax.nn.relu(z @ u),
}
STEEP = {
    "tanh": lambda z, u: jnp.tanh(100 * (z @ u)),
    "sine": lambda z, u: jnp.sin(50 * (z @ u)),
    "sigmoid": lambda z, u: jax.nn.sigmoid(1000 * (z @ u)),
    "three times": lambda z, u: jax.nn.relu(z @ u) ** 3,
    "softplus": lambda z, u: jax.nn.softplus(100 * (z @ u)),
}


@pytest.mark.parametrize("kind", KINKED)
def test_kinks_of_units_are_found(kind):
    unit = Unit("mine", KINKED[kind], lambda shape: shape)
    with pytest.raises(
        InputError,
        match=r"unit 'mine' must be twice differentiable in u, got a jump of .*declare"
        r" smooth=False",
    ):
        check_smooth(unit)
    check_smooth(dataclasses.replace(unit, smooth=False))


def test_a_jump_of_phi_itself_is_refused():
    unit = Unit(
        "mine", lambda z, u: jnp.where(z @ u > 0, 1.0, 0.0), lambda shape: shape, smooth=False
    )
    with pytest.raises(InputError, match="continuous in u"):
        check_smooth(unit)


@pytest.mark.parametrize("kind", STEEP)
def test_steep_units_are_smooth(kind):
    """No false alarm where phi saturates to rounding, at weights up to thousands."""
    check_smooth(Unit("mine", STEEP[kind], lambda shape: shape))


@pytest.mark.slow
def test_kinks_by_many_draws():
    with jax.enable_x64(True):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            for forms, expected in ((KINKED, True), (STEEP, False)):
                for phi in forms.values():
                    assert (
                        find_jump(phi, rng.standard_normal(3), (3,), rng) is not None
                    ) == expected


def test_a_forgotten_declaration_cannot_certify():
    """A unit of one's own is checked where it is registered, and in a network."""
    forgot = dataclasses.replace(ABS, smooth=True)
    with pytest.raises(InputError, match="declare smooth=False"):
        register(forgot)
    with pytest.raises(InputError, match="declare smooth=False"):
        problem(forgot, np.eye(2), np.ones((2, 1)), 2)
    nameless = dataclasses.replace(make("relu"), smooth=True)  # its name does not vouch for it
    with pytest.raises(InputError, match="declare smooth=False"):
        problem(nameless, np.eye(2), np.ones((2, 1)), 2)
    assert shipped(make("conv_relu", kernel=(2,))) and not shipped(ABS)


def test_one_sided_leading_forms():
    """(a) relu(a) + tanh(a)^2 is of degree one with slopes 1 and 0: the coefficient of its own
    side, not JAX's at the kink."""
    unit = Unit(
        "mine",
        lambda z, u: jax.nn.relu(z @ u) + jnp.tanh(z @ u) ** 2,
        lambda s: s,
        Symmetry(silent=True, degree=1),
        smooth=False,
    )
    with jax.enable_x64(True):
        z = jnp.array([1.0, 0.0])
        for side, expected in ((2.0, 2.0), (-2.0, 0.0)):
            form = lowest_order(unit, lambda eps, w=side * z: unit.phi(z, eps * w))
            assert float(form) == pytest.approx(expected, abs=1e-8)
    subject = problem(unit, [[1.0, 0.0], [0.0, 1.0]], [[1.0], [-0.6]], 2)
    found = utility_maxima(subject, np.zeros(subject.size))
    assert found[0].value == pytest.approx(0.25, rel=1e-6)  # half of |mean y x| over y > 0


# ---------------------------------------------------------- seen to fail
MUTATIONS = {
    "JAX's gradient at the kink": (
        touched,
        "steepest",
        lambda g, a, c, t: kinks.Steepest(0 * g, True, a, np.zeros(len(a))),
        test_a_kink_that_bends_downwards_is_no_fixed_point,
    ),
    "multipliers without bounds": (
        slopes,
        "_nearest_point",
        lambda g, a, heights: g - a.T @ np.linalg.lstsq(a.T, g)[0] if len(a) else g,
        lambda: compare("absolute", range(12)),
    ),
    "JAX's Hessian at silent units": (
        kinks,
        "restricted",
        lambda matrix, on: matrix,
        test_the_origin_of_leaky_units_has_no_hessian,
    ),
    "no look across": (
        kinks,
        "look_across",
        lambda *a, **k: kinks.Across(None, True),
        test_dead_units_on_kinks,
    ),
    "kinks of the unit's own weights alone": (
        states,
        "crossed_from_below",
        lambda subject, state: [],
        lambda: test_a_layer_of_zeros_below_a_kink("linear"),
    ),
    "a kink above passed through": (
        states,
        "jumps_below",
        lambda subject, state, below, units: np.zeros((0, subject.size)),
        test_smooth_directions_cross_no_kink_of_a_layer_above,
    ),
    "slopes in plain weights": (
        states,
        "_units_of_slopes",
        lambda subject, state: np.ones(subject.size),
        lambda: test_what_is_left_on_deep_kinks_is_measured_as_gradients_are(1e8),
    ),
    "one unit of measure for all features": (
        states,
        "_units_of_slopes",
        lambda subject, state: np.full(
            subject.size, np.exp(np.mean(np.log(subject.units_at(state))))
        ),
        lambda: test_slopes_on_kinks_in_units_of_each_feature((1e8, 1.0)),
    ),
    "curvatures across kinks in plain weights": (
        across,
        "natural",
        lambda subject, state: (
            np.ones(subject.size),
            max(subject.scales.weights, float(np.linalg.norm(state))),
        ),
        lambda: test_kinks_of_deep_networks_commute_with_units_of_measure("falls at second order"),
    ),
    "directions told apart in plain weights": (
        states,
        "_unseen",
        lambda normals, units: base.row_space(normals)[1],
        lambda: test_kinks_of_silent_units_in_units_of_each_feature(),
    ),
}


@pytest.mark.parametrize("name", slowly(MUTATIONS, "kinks of the unit's own weights alone"))
def test_each_decision_has_been_seen_to_fail(name, monkeypatch, fresh_programs):
    where, what, broken, test = MUTATIONS[name]
    monkeypatch.setattr(where, what, broken)
    with pytest.raises((AssertionError, ValueError)):
        test()


# ------------------------------------------------------------------- units that no sample turns on
@pytest.mark.parametrize("size", slowly([1e-4, 1e-2, 1.0], 1e-2))
def test_units_that_no_sample_turns_on_stay(size):
    """(a) One unit has learned the first of two samples, the other is off on both, and nothing can
    turn it on: the loss is constant around it. Exactly silent it would be born again (utility 1/8),
    but that is another fixed point."""
    subject = one_layer("relu", 2, np.eye(2), [[1.0], [0.5]])
    state = np.array([1.0, -1.0, -size, -size, 1.0, size])
    rng = np.random.default_rng(0)
    for _ in range(200):
        beside = state + 0.9 * size * rng.uniform(-1, 1, 6) * [0, 0, 1, 1, 0, 1]
        assert float(subject.loss(beside)) == float(subject.loss(state))
    c = certify_state(subject, state)
    assert (c.verdict, c.distance, c.narrow_units) == ("minimum", 0.0, (1,))
    assert "no sample turns on" in c.reason
    silent = certify_state(subject, np.array([1.0, -1.0, 0, 0, 1.0, 0]))
    assert (silent.verdict, silent.escape_order) == ("strict saddle", 2)
    assert silent.utility.value == pytest.approx(1 / 8)


@pytest.mark.parametrize("size", [1e-2, 0.2])
def test_units_that_no_sample_turns_on_stay_where_the_run_still_moves(size):
    """(b) The fixed point beside a state that is not quite at rest has them where they are: by way
    of the narrow network they would be silent."""
    subject = one_layer("relu", 2, np.eye(2), [[1.0], [0.5]])
    state = np.array([1.0, -1.0, -size, -size, 1.0 + 1e-5, size])
    c = certify_state(subject, state)
    assert (c.verdict, c.route, c.narrow_units) == ("minimum", "reduce", (1,))
    assert c.distance < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-4, 1e-5, 1e-6])
def test_a_run_whose_last_unit_is_off_rests(scale):
    """(b) The flow from where such a run ends does not move: the certificate is that of its end, no
    saddle beside it."""
    task = OrthogonalReLU((1.0, 0.5, 0.3))
    e = Experiment.named("relu").replace(
        task=task,
        seed=2,
        initialization=Initialization(scale=scale),
        network=Network((Layer(make("relu"), 3),)),
        stop=Stop(flow_time=400.0),
    )
    found = certify(train(e))
    end = found[-1].certificate
    assert found.rest.at_rest
    assert end.verdict == "minimum" and end.loss == pytest.approx(
        0.5**2 / 6
    )  # the second sample is left


@pytest.mark.parametrize("size", [1e-3, 1e-5])
@pytest.mark.parametrize("away", slowly([0.0, 1e-7], 0.0))
def test_a_small_unit_that_is_off_where_the_error_is_stays(size, away):
    """(b) Two orthogonal samples, one learned by the first unit. The second unit, of this size, is
    on for that sample too and off for the other: nothing moves it, and the state is a minimum.
    Turned towards the other sample it grows: the same state is left by a strict saddle."""
    subject = one_layer("relu", 2, np.eye(2), np.array([[1.0], [0.5]]), moments=False)
    first = np.sqrt(1 - size**2) * np.array([1.0, 1.0])
    off = np.array([first[0], -0.1, size, -size, first[1], size])
    on = np.array([first[0], -0.1, size, size, first[1], size])
    moved = away * np.random.default_rng(0).standard_normal(6)
    rests = certify_state(subject, off + moved)
    assert (rests.verdict, rests.loss) == ("minimum", pytest.approx(0.5**2 / 4))
    assert rests.distance < 10 * away + 1e-12
    leaves = certify_state(subject, on + moved)
    assert (leaves.verdict, leaves.loss) == ("strict saddle", pytest.approx(0.5**2 / 4))


@pytest.mark.parametrize(("inputs", "targets"), [(1e-5, 1e-5), (1e5, 1e-5), (1.0, 1e5)])
def test_a_small_unit_that_is_off_stays_in_other_units_of_the_data(inputs, targets):
    """(e) The same two verdicts."""
    y = targets * np.array([[1.0], [0.5]])
    subject = one_layer("relu", 2, inputs * np.eye(2), y, moments=False)
    size, natural = 1e-3, np.sqrt(targets / inputs)
    first = np.sqrt(1 - size**2)
    for turned, verdict in ((-size, "minimum"), (size, "strict saddle")):
        state = natural * np.array([first, -0.1, size, turned, first, size])
        moved = 1e-9 * natural * np.random.default_rng(0).standard_normal(6)
        assert certify_state(subject, state + moved).verdict == verdict


@pytest.mark.parametrize("size", [1e-7, 1e-9, 1e-12])
def test_what_is_left_of_a_silent_unit_is_none_of_its_own(size):
    """(a) One quadratic unit has learned x_1^2 of x_1^2 + x_2^2/2; a second one of 1e-7 has a
    gradient of 1e-14, which is zero. It grows all the same: a degenerate saddle, of order 3."""
    x = np.array([[1.0, 0], [0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    y = x[:, :1] ** 2 + 0.5 * x[:, 1:] ** 2
    subject = one_layer("quadratic", 2, x, y, moments=False)
    away = size * np.array([0.6, 0.8, 0.5])
    learned = certify_state(subject, np.array([1.0, 0.0, 0, 0, 1.0, 0]))
    assert (learned.verdict, learned.escape_order) == ("degenerate saddle", 3)
    beside = learned.state + np.array([0, 0, away[0], away[1], 0, away[2]])
    found = certify_state(subject, beside)
    assert (found.verdict, found.escape_order) == ("degenerate saddle", 3)


def test_a_half_silent_unit_at_rest_is_not_exchanged():
    """(a) One quadratic unit with u = 0 and v < 0, y = |x|^2: the Hessian in u is -2 v E[y x x'] >
    0, flat in v: a minimum, while v = 0 is a degenerate and v > 0 a strict saddle."""
    x = np.vstack([np.eye(2), -np.eye(2), [[1, 1]]])
    subject = one_layer("quadratic", 1, x, np.sum(x**2, axis=1, keepdims=True), moments=False)
    verdicts = [certify_state(subject, np.array([0.0, 0.0, v])).verdict for v in (-1e-4, 0.0, 1e-4)]
    assert verdicts == ["minimum", "degenerate saddle", "strict saddle"]
