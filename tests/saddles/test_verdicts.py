"""Verdicts where they are easily wrong: hidden descents, zeros that are rounding, states that are
at rest, odd scales."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from registries import kept
from saddlery import Experiment, Initialization, certify, reduce, train, visit
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Moments, Network, flatten, loss_named, objective
from saddlery.networks.objectives import equivalent_samples
from saddlery.saddles import certify_state
from saddlery.saddles.judging import spectrum_at
from saddlery.tasks import LinearTeacher, Teacher
from saddlery.training import Stop
from saddlery.units import Symmetry, Unit, make, register
from slowly import slowly


def one_layer(unit, width, x, y, **options):
    x, y = np.asarray(x, float), np.asarray(y, float)
    return objective(
        Network((Layer(make(unit), width),)), Data(x.shape[1:], y.shape[1], x, y), **options
    )


def deep_linear(matrices, width, strengths, outputs=2, scale=1.0):
    layers = tuple(
        Layer(make("linear"), width, mixes=k == matrices - 2) for k in range(matrices - 1)
    )
    task = LinearTeacher(tuple(scale * s for s in strengths), inputs=outputs, outputs=outputs)
    return objective(Network(layers), task.data(0))


def falls(subject, state, *, seed=0):
    """(d) Whether plain random search lowers the loss, which a minimum does not allow."""
    rng, base = np.random.default_rng(seed), float(subject.loss(state))
    for _ in range(400):
        d = rng.standard_normal(subject.size)
        if any(
            float(subject.loss(state + r * d / np.linalg.norm(d))) < base - 1e-9
            for r in (0.2, 0.1, 0.05)
        ):
            return True
    return False


# ---------------------------------------------------------- descents that hide
LINE = np.array([[-2.0], [-1.0], [1.0], [2.0]])


@pytest.mark.parametrize(
    ("unit", "targets", "order"),
    [
        pytest.param("gelu", LINE**2, 3, marks=pytest.mark.slow),
        ("tanh", np.array([[1.0], [-2.0], [2.0], [-1.0]]), 4),
    ],
)
def test_a_unit_whose_leading_correlation_vanishes(unit, targets, order):
    """The lowest order says nothing where the statistic that goes with it is zero; the next one
    decides."""
    subject = one_layer(unit, 3, LINE, targets)
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.escape_order, c.index) == ("degenerate saddle", order, 0)
    assert c.utility.value < 1e-12 and falls(subject, c.state)


def test_a_unit_with_no_incoming_but_some_outgoing_weights():
    x = np.random.default_rng(0).standard_normal((60, 2))
    subject = one_layer("cubic", 1, x, x[:, :1] ** 3)
    c = certify_state(subject, np.array([0.0, 0.0, 1.0]), route="direct")
    assert (c.verdict, c.escape_order) == ("degenerate saddle", 3)  # u^3 at a fixed v


def test_the_lowest_order_of_several_layers_wins():
    """A ReLU layer that helps at second order, beside a quadratic one of larger utility at
    third."""
    x = 3 * np.random.default_rng(0).standard_normal((80, 3))
    y = 0.2 * np.abs(x[:, :1]) + (x[:, 1:2] ** 2 - 9)
    layers = (Layer(make("relu"), 2, residual=True), Layer(make("quadratic"), 2, residual=True))
    subject = objective(Network(layers, readout=True), Data((3,), 1, x, y), moments=False)
    params = list(subject.params(jnp.zeros(subject.size)))
    params[-1] = {**params[-1], "readout": np.linalg.lstsq(x, y, rcond=None)[0]}
    c = certify_state(subject, flatten(tuple(params)))
    assert (c.verdict, c.escape_order, c.utility.layer) == ("strict saddle", 2, 0)


@pytest.mark.parametrize("matrices", slowly([3, 5], 5))
def test_the_origin_of_deep_networks_falls_at_the_order_of_their_depth(matrices):
    subject = deep_linear(matrices, 4, (1.0, 0.5))
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.escape_order) == ("degenerate saddle", matrices)


@pytest.mark.parametrize("scale", [1e3, 1e-3, 1e-6, 1e-8])
def test_the_units_of_the_targets_change_no_verdict(scale):
    """(c) y -> c y."""
    subject = deep_linear(3, 4, (1.0, 0.5), scale=scale)
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.escape_order) == ("degenerate saddle", 3)


@pytest.mark.slow
def test_deep_networks_beyond_dense_hessians():
    """2,400 parameters: the narrow network with two silent units more a layer answers for the wide
    one."""
    subject = deep_linear(3, 40, (1.0, 0.5), outputs=10)
    assert subject.size > 2000
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.escape_order, c.method) == ("degenerate saddle", 3, "lanczos")
    task = LinearTeacher((1.0, 0.5), inputs=10, outputs=10)
    q, s, rt = np.linalg.svd(task.data(0).moments.cross)
    small = subject.with_network(subject.network.with_widths((1, 1)))
    chain = flatten(
        (
            {"u": rt[:1] * s[0] ** (1 / 3)},
            {"u": np.full((1, 1), s[0] ** (1 / 3)), "v": q[:, :1].T * s[0] ** (1 / 3)},
        )
    )
    assert float(small.loss(chain)) == pytest.approx(0.125, abs=1e-12)
    rank_one = np.random.default_rng(0).standard_normal(subject.size) * 1e-3
    params = subject.params(rank_one)
    first, second, last = (
        np.array(params[0]["u"]),
        np.array(params[1]["u"]),
        np.array(params[1]["v"]),
    )
    first[0], second[0, 0], last[0] = (
        rt[0] * s[0] ** (1 / 3),
        s[0] ** (1 / 3),
        q[:, 0] * s[0] ** (1 / 3),
    )
    c = certify_state(subject, flatten(({"u": first}, {"u": second, "v": last})), tolerance=0.1)
    assert (c.verdict, c.escape_order, c.narrow_units) == ("degenerate saddle", 3, (1, 1))
    assert c.loss == pytest.approx(0.125, abs=1e-12)


# ---------------------------------------------------------- zeros that are rounding
@pytest.mark.parametrize("moments", [False, True])
def test_a_hessian_that_is_rounding_has_no_negative_eigenvalue(moments):
    """Targets that no linear map explains: the origin is the global minimum, its Hessian zero up to
    1e-16."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 2))
    y -= x @ np.linalg.lstsq(x, y, rcond=None)[0]
    subject = one_layer("linear", 4, x, y, moments=moments)
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.index, c.zero_modes) == ("minimum", 0, subject.size)


@pytest.mark.slow
def test_both_spectra_call_the_same_eigenvalues_zero(monkeypatch):
    """(d) A nearly converged minimum, dense and by Lanczos."""
    found = certify(train("x_tanh_x"))
    subject, c = found.run.objective(), found[2].certificate
    dense = spectrum_at(subject, c.state, gradient_norm=c.gradient_norm)
    monkeypatch.setattr("saddlery.saddles.fixed_points.DENSE", 1)
    lanczos = spectrum_at(subject, c.state, gradient_norm=c.gradient_norm)
    assert lanczos.method == "dense" or lanczos.tolerance == pytest.approx(dense.tolerance, rel=0.5)
    assert dense.index == lanczos.index == 0


def test_an_infimum_at_infinity_is_no_fixed_point_however_small_the_gradient():
    """Separable classes: the cross-entropy falls for ever, and its gradient underflows."""
    x = np.array([[-2.0, 1.0], [-1.0, 0.0], [1.0, 0.5], [2.0, -1.0]])
    y = np.eye(2)[[0, 0, 1, 1]]
    data = Data((2,), 2, x, y, loss=loss_named("cross_entropy"))
    subject = objective(Network((Layer(make("linear"), 2),)), data)
    for size in (3.0, 8.0, 20.0, 40.0):
        theta = flatten(({"u": size * np.eye(2), "v": size * np.array([[-1.0, 1.0], [0.0, 0.0]])},))
        c = certify_state(subject, theta)
        assert c.verdict == "no fixed point found", (size, c.verdict, c.reason)


# ---------------------------------------------------------- which fixed point
def test_a_state_at_rest_is_its_own_fixed_point():
    """A minimum whose second mode is under the tolerance of the reduction is not the saddle without
    it."""
    task = LinearTeacher((1.0, 0.015), inputs=3, outputs=3)
    subject = objective(Network((Layer(make("linear"), 4),)), task.data(0))
    q, s, rt = np.linalg.svd(task.data(0).moments.cross)
    u, v = np.zeros((4, 3)), np.zeros((4, 3))
    u[:2], v[:2] = np.sqrt(s[:2, None]) * rt[:2], np.sqrt(s[:2, None]) * q.T[:2]
    exact = flatten(({"u": u, "v": v},))
    for theta, most in (
        (exact, 1e-12),
        (exact + 1e-7 * np.random.default_rng(0).standard_normal(24), 1e-5),
    ):
        c = certify_state(subject, theta)
        assert (c.verdict, c.narrow_units) == ("minimum", (2,)) and c.distance < most


def test_units_that_a_refinement_silences_are_silent():
    x = np.random.default_rng(0).standard_normal((300, 3))
    subject = one_layer("quadratic", 1, x, x[:, :1] ** 2 + 0.5 * x[:, 1:2] ** 2)
    for route in ("auto", "direct"):
        c = certify_state(subject, np.array([0.0, 0.05, 0.0, 0.05]), tolerance=1e-6, route=route)
        assert (c.verdict, c.escape_order, c.narrow_units) == ("degenerate saddle", 3, (0,))
        assert not c.state.any() and reduce(subject, c.state).widths == (0,)


# ---------------------------------------------------------- scales
def test_scales_know_nothing_of_the_start_nor_of_how_data_are_given():
    """(c) Moments and samples have the same targets; scales follow y -> c y."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, 3))
    y = 0.1 * x[:, :1] + rng.standard_normal((500, 1))
    samples, moments = (one_layer("linear", 4, x, y, moments=m) for m in (False, True))
    assert samples.target_scale == pytest.approx(moments.target_scale, rel=1e-12)
    assert samples.target_scale == pytest.approx(np.sqrt(np.mean(y**2)), rel=1e-12)
    theta = rng.standard_normal(samples.size)
    assert reduce(samples, theta).widths == reduce(moments, theta).widths
    larger = one_layer("linear", 4, x, 4.0**6 * y, moments=False)
    assert larger.scales.weights == pytest.approx(2.0**6 * samples.scales.weights)
    assert larger.scales.curvature == pytest.approx(4.0**6 * samples.scales.curvature, rel=0.5)


def test_a_residual_network_does_not_start_at_zero():
    """Its natural weights move the map; they are not those at which the map is large, which would
    be none."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((40, 3))
    subject = objective(
        Network((Layer(make("linear"), 4, residual=True),)), Data((3,), 3, x, 1.5 * x)
    )
    assert 0.1 < subject.scales.weights < 10
    certificate = certify_state(subject, np.zeros(subject.size))
    assert certificate.verdict == "strict saddle" and certificate.index == 12


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (
            Moments("input", np.eye(2), np.array([[2.0, 0.0]]), 0.1),
            "the target moment .* must be at least 4",
        ),
        (Moments("input", np.diag([1.0, 0.0]), np.array([[0.5, 0.5]]), 1.0), "outside the range"),
        (
            Moments("input", np.array([[1.0, 1e-6], [0.0, 1.0]]), np.array([[0.5, 0.5]]), 1.0),
            "a symmetric matrix",
        ),
    ],
)
def test_moments_of_no_data_are_refused(moments, message):
    with pytest.raises(InputError, match=message):
        equivalent_samples(moments)


# ---------------------------------------------------------- each number again, by another route
@pytest.fixture(scope="module")
def linear():
    with jax.enable_x64(True):
        return certify(train("linear"))


def test_distances_and_losses_of_the_record(linear):
    """(d) From the states themselves."""
    run, subject = linear.run, linear.run.objective()
    for stage in linear.stages:
        c, theta = stage.certificate, np.asarray(run.trajectory.states[stage.index])
        assert c.distance == pytest.approx(np.linalg.norm(c.state - theta), rel=1e-12)
        assert c.relative_distance == pytest.approx(c.distance / np.linalg.norm(theta), rel=1e-12)
        assert (
            c.gradient_scale == subject.scales.gradient and c.tolerance == 1e-12 * c.gradient_scale
        )
        assert c.loss == pytest.approx(float(subject.loss(c.state)), abs=1e-15)


def test_a_fixed_point_beyond_the_basin_is_not_the_one_behind_the_state():
    """Small weights of a task without silent units settle far away: refused, with the distance."""
    x = np.random.default_rng(0).standard_normal((60, 2))
    subject = one_layer("sine", 1, x, np.sin(3 * x[:, :1]))
    c = certify_state(subject, np.array([0.3, 0.0, 0.3]), tolerance=1e-6, route="reduce")
    assert (
        c.verdict == "no fixed point found"
        and "left the basin" in c.reason
        and "farther than the allowed" in c.reason
    )


def test_an_origin_too_far_away_is_not_behind_the_state():
    subject = objective(Network((Layer(make("linear"), 4),)), LinearTeacher((1.0, 0.4)).data(0))
    wide = 3 * subject.scales.weights / 4 * np.ones(16)
    u, v = (
        np.ones((4, 2)),
        np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]]),
    )  # the map is zero
    theta = flatten(({"u": u, "v": v},)) * np.linalg.norm(wide) / 4
    assert reduce(subject, theta).widths == (0,) and np.linalg.norm(theta) > subject.scales.weights
    c = certify_state(subject, theta, route="reduce")
    assert c.verdict == "no fixed point found" and "left the basin" in c.reason


def test_tolerances_of_stages_in_closed_form(linear):
    """(a) A fifth of sqrt(2 dL) of the smaller neighbouring drop, over sqrt(mean |y|^2); 2% at most
    at the end."""
    losses, size = [stage.loss for stage in linear.stages], np.sqrt(1.16)
    first = 0.2 * np.sqrt(2 * (losses[0] - losses[1])) / size
    second = 0.2 * np.sqrt(2 * min(losses[0] - losses[1], losses[1] - losses[2])) / size
    assert [s.tolerance for s in linear.stages] == pytest.approx([first, second, 0.02], rel=1e-9)


def test_a_visit_again_by_hand(linear):
    """(d) The closest of the run's states to the state that is reported, and the losses of both."""
    run, subject = linear.run, linear.run.objective()
    found = visit(run, 1)
    k = int(np.flatnonzero(run.trajectory.flow_time == found.flow_time)[0])
    assert linear[1].start < found.flow_time < linear[1].end
    assert found.distance == pytest.approx(
        np.linalg.norm(found.state - run.trajectory.states[k]), rel=1e-12
    )
    assert (
        found.distance <= np.min(np.linalg.norm(run.trajectory.states - found.state, axis=1)) * 1.5
    )
    assert found.relative == pytest.approx(found.distance / np.linalg.norm(found.state), rel=1e-12)
    assert found.loss == pytest.approx(0.08, abs=1e-12) and found.run_loss == run.trajectory.loss[k]
    assert float(subject.loss(found.state)) == pytest.approx(found.loss, abs=1e-14)


@pytest.mark.slow
# ------------------------------------------------------- what a state leaves of the loss
def test_an_almost_flat_minimum_is_no_saddle():
    """(a) The targets are two such units, so that the end has loss zero; a gradient of 1e-12 leaves
    1e-17 of it along a direction that is almost flat, and with that a utility of 1e-9."""
    softened = Unit(
        "softened_once",
        lambda z, u: jnp.tanh(z @ u) ** 2,
        lambda shape: shape,
        Symmetry(silent=True, degree=2),
    )
    teacher = {"count": 2, "inputs": (2,), "samples": 200, "strengths": (1.0, -0.6), "norm": 1.0}
    with kept():
        register(softened)
        task = Teacher(unit="softened_once", design="axes", **teacher)
        network = Network((Layer(softened, 20),))
        experiment = Experiment(task, network, Stop(flow_time=12000.0))
        found = certify(train(experiment.replace(initialization=Initialization(scale=1e-4))))
    end = found[-1].certificate
    assert end.utility.value > 1e-10 and end.loss > 1e-18
    assert end.verdict == "minimum", end.reason
    assert [stage.certificate.verdict for stage in found.stages[:-1]] == ["degenerate saddle"] * 2


@pytest.mark.parametrize("strength", [1e-4, 1e-7])
def test_little_that_is_left_to_learn_is_a_saddle(strength):
    """(a) One quadratic unit of two, samples on the axes: the loss that the other would take is
    1e-14 of the task's, and the narrow network has none of it to lose."""
    size = np.random.default_rng(0).standard_normal(50)
    x = np.concatenate([np.column_stack([size, 0 * size]), np.column_stack([0 * size, size])])
    subject = one_layer("quadratic", 4, x, x[:, :1] ** 2 - strength * x[:, 1:] ** 2)
    state = np.zeros(subject.size)
    state[0] = state[8] = 1.0  # u = (1, 0), v = 1: exact on its axis, silent on the other
    found = certify_state(subject, state)
    assert found.verdict == "degenerate saddle", found.reason
