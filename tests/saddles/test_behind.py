"""Behind: which fixed point a plateau rests near, by three conditions whose margins are known where
everything is."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, train
from saddlery.networks import (
    Data,
    Layer,
    Network,
    flatten,
    hessian,
    objective,
    objectives,
)
from saddlery.saddles import behind, certify_state
from saddlery.saddles.behind import Around, BehindTolerances
from saddlery.saddles.certificates import UNFOUND
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop
from saddlery.units import Symmetry, Unit, make


def network(width, singular_values, size=2):
    task = LinearTeacher(tuple(singular_values), inputs=size, outputs=size)
    return objective(Network((Layer(make("linear"), width),)), task.data(0))


def saddle(subject, modes, singular_values, size):
    """(a) The balanced fixed point of the first modes, u_k = sqrt(s_k) r_k, v_k = sqrt(s_k) q_k."""
    q, s, rt = np.linalg.svd(
        np.asarray(
            LinearTeacher(tuple(singular_values), inputs=size, outputs=size).data(0).moments.cross
        )
    )
    u, v = np.zeros((subject.network.widths[0], size)), np.zeros((subject.network.widths[0], size))
    u[:modes], v[:modes] = (
        np.sqrt(s[:modes, None]) * rt[:modes],
        np.sqrt(s[:modes, None]) * q.T[:modes],
    )
    return flatten(({"u": u, "v": v},))


def margin(found, name):
    return next(m for m in found.margins if m.name == name)


# ---------------------------------------------------------- the margins themselves
def test_margins_near_a_saddle_in_closed_form():
    """(a) Beside a strict saddle, L - L* = d'Hd/2 and g = Hd: the gradient halves half-way, the
    loss differs by g.d/2."""
    subject = network(6, (1.0, 0.4))
    point = saddle(subject, 1, (1.0, 0.4), 2)
    d = 1e-4 * np.random.default_rng(0).standard_normal(subject.size)
    found = behind.behind(subject, point + d, point)
    g = np.asarray(subject.gradient(point + d))
    explained = abs(0.5 * g @ d) / (np.linalg.norm(g) * np.linalg.norm(d))
    assert found.holds and found.miss == ""
    assert margin(found, "weights").measured == pytest.approx(
        np.linalg.norm(d) / np.linalg.norm(point + d), rel=1e-12
    )
    assert margin(found, "slowing").measured == pytest.approx(0.5, abs=1e-3)
    assert margin(found, "loss").measured == pytest.approx(explained, rel=1e-2)


def test_the_gradient_falls_by_the_order_of_the_saddle():
    """(a) At the origin of a quadratic network the loss falls at third order: a quarter of the
    gradient half-way."""
    e = Experiment.named("quadratic")
    subject = e.objective()
    direction = np.random.default_rng(0).standard_normal(subject.size)
    theta = 1e-4 * subject.scales.weights * direction / np.linalg.norm(direction)
    found = behind.behind(subject, theta, np.zeros(subject.size))
    assert margin(found, "slowing").measured == pytest.approx(0.25, abs=1e-2)
    size = np.linalg.norm(theta / behind.level_units(subject, theta))
    assert margin(found, "weights").measured == pytest.approx(
        size / subject.standard.weights, rel=1e-9
    )
    assert 3e-5 < margin(found, "weights").measured < 3e-4


@pytest.mark.parametrize("c", [1e-5, 1e5])
def test_margins_do_not_know_the_units_of_the_inputs(c):
    """(c) x -> c x, u -> u / c: every margin stays (to the ten that they may differ by)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    y = np.tanh(x @ rng.standard_normal((3, 2)))
    layers = Network((Layer(make("tanh"), 3),))
    one, other = (objective(layers, Data((3,), 2, scale * x, y)) for scale in (1.0, c))
    point, d = 0.5 * rng.standard_normal(one.size), 0.01 * rng.standard_normal(one.size)
    stretch = flatten(({"u": np.full((3, 3), 1 / c), "v": np.ones((3, 2))},))
    before = behind.behind(one, point + d, point, Around(drop=0.1))
    after = behind.behind(other, stretch * (point + d), stretch * point, Around(drop=0.1))
    assert [m.measured for m in after.margins] == pytest.approx(
        [m.measured for m in before.margins], rel=0.02
    )


@pytest.mark.parametrize("c", [1e-5, 1e5])
def test_margins_do_not_know_the_units_of_the_targets(c):
    """(c) y -> c y, theta -> sqrt(c) theta: every margin stays (units balanced to ten are left
    alone)."""
    one, other = network(4, (1.0, 0.4)), network(4, (c, 0.4 * c))
    d = 1e-2 * np.random.default_rng(0).standard_normal(one.size)
    point = saddle(one, 1, (1.0, 0.4), 2)
    before = behind.behind(one, point + d, point, Around(drop=0.08))
    after = behind.behind(
        other, np.sqrt(c) * (point + d), np.sqrt(c) * point, Around(drop=0.08 * c**2)
    )
    assert [m.measured for m in after.margins] == pytest.approx(
        [m.measured for m in before.margins], rel=0.02
    )


# ---------------------------------------------------------- what is not behind
def test_a_converged_run_is_at_its_minimum_and_not_at_the_saddle_above():
    """A last mode of .002: the coarse reduction has one unit, whose saddle has loss 2e-6; the run
    rests at 1e-13."""
    task = LinearTeacher((1.0, 0.002), inputs=4, outputs=4)
    e = Experiment(
        task,
        Network((Layer(make("linear"), 8),)),
        Stop(flow_time=20_000.0),
        Initialization(scale=1e-6),
    )
    found = certify(train(e))
    end = found[len(found) - 1]
    assert end.kind == "end" and end.loss < 1e-11
    assert (end.certificate.verdict, end.certificate.narrow_units) == ("minimum", (2,))
    assert end.certificate.loss < 1e-20


def test_a_fixed_point_of_another_loss_is_not_behind():
    """(a) The saddle of one mode, seen from the minimum of two whose second is small: near in
    weights, not in loss."""
    subject = network(8, (1.0, 0.002), 4)
    minimum, above = (saddle(subject, modes, (1.0, 0.002), 4) for modes in (2, 1))
    theta = minimum + 1e-9 * np.random.default_rng(0).standard_normal(subject.size)
    found = behind.behind(subject, theta, above)
    assert margin(found, "weights").holds and not margin(found, "loss").holds
    assert "another loss: 2.0e-06 lies above the run's" in found.miss
    assert behind.behind(subject, theta, minimum).holds
    below = behind.behind(subject, above + 1e-9 * np.ones(subject.size), minimum)
    assert "lies below the run's" in below.miss


def test_far_fixed_points_are_none():
    """(a) 0.375 of the state's size away along its own ray: another verdict, the nearest by name,
    none of its numbers."""
    subject = network(1, (1.0, 0.4))
    point = saddle(subject, 1, (1.0, 0.4), 2)
    near, far = (certify_state(subject, c * point) for c in (1.2, 1.6))
    assert (near.verdict, near.certified) == ("strict saddle" if near.index else near.verdict, True)
    assert (far.verdict, far.certified) == ("no fixed point found", False)
    assert far.nearest.certified and far.nearest.relative_distance == pytest.approx(
        0.6 / 1.6, rel=1e-9
    )
    assert (
        far.reason.startswith("far: it is 0.375 of the state's size away")
        and far.nearest.verdict in far.reason
    )
    assert not any(hasattr(far, name) for name in ("loss", "gradient_norm", "index", "state"))
    record = far.record()
    assert record["nearest"]["loss"] == pytest.approx(float(subject.loss(point)))
    assert record["behind"]["weights"] == {
        "measured": pytest.approx(0.375),
        "limit": BehindTolerances().weights,
        "holds": False,
    }


def test_the_run_must_slow_down():
    """(a) A path from one saddle to the next: half-way along it no fixed point is behind, although
    both are near in weights."""
    subject = network(4, (1.0, 0.6))
    low, high = (saddle(subject, modes, (1.0, 0.6), 2) for modes in (1, 2))
    theta = 0.5 * (low + high)
    for point in (low, high):
        found = behind.behind(subject, theta, point, Around(drop=0.18))
        assert not found.holds, found


def bent_valley(eps):
    """A quadratic unit that has learned its teacher, and a dormant one of u = v = eps orthogonal to
    it, which adds eps^3 to the map; the first has moved by as much to make up for it. Returns the
    loss, the state, and the fixed point without the second."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2))
    subject = objective(Network((Layer(make("quadratic"), 2),)), Data((2,), 1, x, x[:, :1] ** 2))
    point = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    theta = np.array([1.0, 0.0, 0.0, eps, 1.0, eps])
    own = np.array([0, 1, 4])
    for _ in range(8):
        slope = np.asarray(subject.gradient(theta))[own]
        theta[own] -= np.linalg.lstsq(hessian(subject, theta)[np.ix_(own, own)], slope, rcond=1e-8)[
            0
        ]
    return subject, theta, point


@pytest.mark.parametrize("eps", [0.1, 0.01])
def test_a_valley_that_bends_is_followed(eps):
    """(a) Half-way back the dormant unit adds an eighth of what it did, and so must the other have
    moved: there the gradient is that of a form of sixth order. On the straight line it is larger
    than at the state, the more so the smaller eps."""
    subject, theta, point = bent_valley(eps)
    straight, bent = (
        margin(behind.behind(subject, theta, point, dense=dense), "slowing").measured
        for dense in (False, True)
    )
    assert straight > 0.2 / eps**2 and bent == pytest.approx(1 / 32, rel=0.01)
    assert behind.behind(subject, theta, point).holds


def test_the_next_valley_is_not_behind():
    """(a) v sin(u x) at x = 1 and 2 is the same at u and u + 2 pi: two minima that are near in
    weights and alike in loss, with a ridge between them. d is stiff, and no bend of a valley."""
    x = np.array([[1.0], [2.0]])
    subject = objective(Network((Layer(make("sine"), 1),)), Data((1,), 1, x, np.sin(40 * x)))
    theta, other = np.array([40.0, 1.0]) + 1e-6, np.array([40.0 + 2 * np.pi, 1.0])
    found = behind.behind(subject, theta, other)
    assert margin(found, "weights").holds and margin(found, "loss").holds
    assert margin(found, "slowing").measured > 1e3


def valleys(zeros, rest):
    """phi = 1 + rest(a) prod_k (a - zeros_k), a = u x, at x = 1 and 0, of which the second holds
    v = 1: a minimum at each zero."""
    phi = lambda z, u: 1 + rest(z @ u) * jnp.prod(z @ u - jnp.asarray(zeros))
    unit = Unit("valleys", phi, lambda shape: shape, Symmetry(), example=(1,))
    at_zero = float(phi(jnp.zeros(1), jnp.zeros(1)))
    data = Data((1,), 1, np.array([[1.0], [0.0]]), np.array([[1.0], [at_zero]]))
    return objective(Network((Layer(unit, 1),)), data)


def test_a_ridge_half_way_is_no_valley():
    """(a) Between minima at u = 1 and 1.3 that are alike the ridge lies exactly half-way, and the
    gradient there is zero."""
    subject = valleys([1.0, 1.3], lambda a: 4.0)
    found = behind.behind(subject, np.array([1.3, 1.0]) + 1e-7, np.array([1.0, 1.0]))
    assert margin(found, "weights").holds and margin(found, "loss").holds
    assert not margin(found, "slowing").holds and np.isfinite(margin(found, "slowing").measured)
    assert "above both" in found.miss


def test_half_way_is_so_from_both_ends():
    """(a) Minima at t = -1/2, 0 and 1 of t = (u - 1) / 0.3: from the middle of the way from 1 to 0
    Newton steps lead beyond, to -1/2, which is half as far from 0 as 1 is."""
    base = np.poly1d([1.0, 0.0]) * np.poly1d([1.0, -1.0]) * np.poly1d([1.0, 0.5])
    powers = [base * np.poly1d([1.0] + [0.0] * j) for j in range(3)]
    rows = [[p(0.5) if k == 0 else p.deriv(k)(0.5) for p in powers] for k in range(3)]
    rest = np.linalg.solve(rows, [0.02, 0.05, 0.05 - 0.05**2 / 0.02])  # one step leads there
    scaled = lambda a: jnp.polyval(jnp.asarray(rest[::-1]), (a - 1.0) / 0.3) / 0.3**3
    subject = valleys([0.85, 1.0, 1.3], scaled)
    found = behind.behind(subject, np.array([1.3 + 1e-6, 1.0]), np.array([1.0, 1.0]))
    assert margin(found, "weights").holds and margin(found, "loss").holds
    assert not margin(found, "slowing").holds


def test_a_middle_without_a_loss_is_no_valley(monkeypatch):
    monkeypatch.setattr(
        objectives, "check_units", lambda *of: None
    )  # phi is infinite on most inputs
    phi = lambda z, u: jnp.exp(1e3 * (z @ u))
    unit = Unit("steep", phi, lambda shape: shape, Symmetry(), example=(2,))
    x, y = np.array([[1.0, 0.0], [0.0, 1e-3]]), np.array([[2.0], [1.0]])
    subject = objective(Network((Layer(unit, 1),)), Data((2,), 1, x, y))
    found = behind.behind(subject, np.array([0.0, 0.0, 1.0]), np.array([2.0, 0.0, 1.0]))
    assert not found.holds


def test_between_two_valleys_of_unlike_width():
    """(a) With exp(8 (a - 1)) the ridge between u = 1 and 1.3 is at 1.22. The middle lies in the
    valley of u = 1 already, and relaxed it would lead there: no longer half-way."""
    subject = valleys([1.0, 1.3], lambda a: jnp.exp(8 * (a - 1)))
    found = behind.behind(subject, np.array([1.3, 1.0]) + 1e-4, np.array([1.0, 1.0]))
    assert margin(found, "weights").holds and margin(found, "loss").holds
    assert not margin(found, "slowing").holds


def test_the_closest_approach_must_be_on_the_plateau():
    subject = network(4, (1.0, 0.4))
    point = saddle(subject, 1, (1.0, 0.4), 2)
    found = behind.behind(subject, 1.01 * point, point, Around(closest=lambda p: 2.0))
    assert (
        found.miss == "passed elsewhere: outside this plateau the run comes 2 times as close to it"
    )


def test_a_drop_bounds_the_loss():
    """The loss may differ by `drop` of the smaller neighbouring drop, however large the gradient
    is."""
    subject = network(4, (1.0, 0.4))
    point = saddle(subject, 1, (1.0, 0.4), 2)
    theta = 1.1 * point
    gap = abs(float(subject.loss(theta)) - float(subject.loss(point)))
    assert behind.behind(
        subject, theta, point, Around(drop=1.01 * gap / BehindTolerances().drop)
    ).holds
    assert not behind.behind(
        subject, theta, point, Around(drop=0.99 * gap / BehindTolerances().drop)
    ).holds


# --------------------------------------------------------- calibration, where every saddle is known
@pytest.mark.parametrize(
    "scale",
    [1e-3, pytest.param(1e-6, marks=pytest.mark.slow), pytest.param(1e-8, marks=pytest.mark.slow)],
)
def test_every_plateau_of_a_linear_network_has_its_saddle(scale):
    """(a) Losses .58, .08 and 0, with margins well inside: the conditions refuse nothing that is
    known to be there."""
    e = Experiment.named("linear").replace(
        initialization=Initialization(scale=scale), stop=Stop(flow_time=160.0)
    )
    found = certify(train(e))
    losses = [stage.certificate.loss for stage in found.stages]
    assert losses == pytest.approx([0.58, 0.08, 0.0], abs=1e-12)
    for stage in found.stages:
        margins = {m.name: m.measured for m in stage.certificate.behind.margins}
        assert margins["loss"] <= 0.55 and margins["slowing"] <= 0.6 and margins["passing"] <= 1.01
        assert margins["weights"] <= 0.1


def test_counts_leave_out_what_is_not_found():
    """Both words, today's and that of stored work, are read as none."""
    assert UNFOUND == ("no fixed point found", "not a fixed point")
