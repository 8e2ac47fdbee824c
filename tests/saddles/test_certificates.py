"""Certificates: the evidence is right, refusals are honest, zero modes add up, Lanczos agrees with
dense."""

from __future__ import annotations

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from planted import gradient_norm, random_fixed_point
from saddlery import Experiment, Initialization, certify, train, visit
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, flatten, hessian, objective
from saddlery.saddles import certify_state, fixed_points, judging
from saddlery.saddles.judging import spectrum_at
from saddlery.saddles.orders import Looked
from saddlery.saddles.zero_modes import explain_zero_modes
from saddlery.solvers import dense_spectrum
from saddlery.symmetry import embed, reduce
from saddlery.tasks import Digits, LinearTeacher, Teacher
from saddlery.training import Stop
from saddlery.units import dense, make


@functools.lru_cache(maxsize=8)
def certified(name: str):
    return certify(train(name))


@pytest.mark.parametrize("name", ["linear", "relu", "quadratic", "linear_attention"])
def test_every_number_again_by_another_route(name):
    """Oracle (d), (f): loss in NumPy, gradient by finite differences, index from a
    finite-difference Hessian."""
    found = certified(name)
    subject = found.run.objective()
    for stage in found.stages:
        c = stage.certificate
        predictions = np.asarray(subject.predictions(c.state))
        assert c.loss == pytest.approx(
            0.5 * np.sum((predictions - subject.targets) ** 2) / len(predictions)
            + subject.constant,
            abs=1e-14,
        )
        assert c.distance == pytest.approx(
            np.linalg.norm(c.state - found.run.trajectory.states[stage.index])
        )
        assert c.gradient_norm == pytest.approx(gradient_norm(subject, c.state), abs=1e-15)
        rng = np.random.default_rng(0)
        for _ in range(3):  # dL/ds = 0 along random lines, by central differences
            d = rng.standard_normal(subject.size)
            d /= np.linalg.norm(d)
            slope = (
                float(subject.loss(c.state + 1e-7 * d)) - float(subject.loss(c.state - 1e-7 * d))
            ) / 2e-7
            assert abs(slope) < 1e-6  # one-sided curvature of silent ReLU units, times the step


@pytest.mark.parametrize("name", ["linear", "linear_attention", "quadratic"])
def test_index_by_finite_differences(name):
    found = certified(name)
    subject, c = found.run.objective(), found[1].certificate
    columns = [
        (
            np.asarray(subject.gradient(c.state + 1e-5 * e))
            - np.asarray(subject.gradient(c.state - 1e-5 * e))
        )
        / 2e-5
        for e in np.eye(subject.size)
    ]
    values = np.linalg.eigvalsh(0.5 * (np.array(columns) + np.array(columns).T))
    assert int(np.sum(values < -1e-6)) == c.index
    assert values[0] == pytest.approx(c.lowest_eigenvalue, abs=1e-6)


def test_lanczos_agrees_with_dense(monkeypatch):
    """Oracle (d): beyond the dense limit the same index and lowest eigenvalue come from
    Hessian-vector products."""
    found = certified("linear")
    subject, exact = found.run.objective(), found[1].certificate
    state = np.asarray(found.run.trajectory.states[found[1].index])
    monkeypatch.setattr(fixed_points, "DENSE", 10)
    c = certify_state(subject, state, tolerance=found[1].tolerance)
    assert c.method == "lanczos"
    assert c.verdict == exact.verdict
    assert c.lowest_eigenvalue == pytest.approx(exact.lowest_eigenvalue, abs=1e-8)
    assert c.gradient_norm <= c.tolerance
    assert c.index == exact.index


@pytest.mark.slow
def test_a_large_network_by_lanczos():
    """3,700 parameters: digits pixels, 50 linear units, at the origin: index rank x H, lowest
    eigenvalue -s_1."""
    e = Experiment.named("digits").replace(task=Digits())
    e = e.replace(network=e.network.with_widths([50]))
    subject = e.objective()
    assert subject.size == 3700
    c = certify_state(subject, np.zeros(subject.size), gradient_scale=1.0)
    x, y = (getattr(Digits().data(0), k) for k in ("inputs", "targets"))
    s = np.linalg.svd(y.T @ x / len(x), compute_uv=False)
    assert c.lowest_eigenvalue == pytest.approx(-s[0], rel=1e-6)
    assert (c.verdict, c.method) == ("strict saddle", "lanczos")
    assert c.index == 50 * np.sum(s > 1e-9 * s[0])


@pytest.mark.slow
def test_not_a_fixed_point_says_why():
    """A ReLU network on digits has no smooth fixed point behind its plateaus: refused with a
    reason, no number made up."""
    c = certified("digits_relu")[1].certificate
    assert c.verdict == "no fixed point found" and not c.certified
    assert len(c.reason) > 20
    assert not any(hasattr(c, name) for name in ("loss", "distance", "index", "utility", "state"))
    assert c.residual > c.tolerance
    record = certified("digits_relu")[1].record()
    assert record["certificate"]["loss"] is None and record["certificate"]["reason"]


def test_separable_cross_entropy_has_its_minimum_at_infinity():
    """The loss falls for ever: refinement must say so and never call the end a minimum."""
    x = np.array([[1.0, 0.2], [-1.0, 0.1]])
    from saddlery.networks import loss_named

    data = Data((2,), 2, x, np.eye(2), loss=loss_named("cross_entropy"))
    subject = objective(Network((Layer(dense("linear"), 2),)), data)
    c = certify_state(
        subject, Initialization(scale=1.0).draw(subject.network, (2,), 2, 0), route="direct"
    )
    assert c.verdict == "no fixed point found"


@pytest.mark.parametrize("unit", ["linear", "relu", "tanh", "quadratic", "conv_linear"])
def test_zero_modes_add_up_and_symmetry_is_counted(unit):
    """Oracle (a): rescaling one unit is one zero mode (homogeneous); GL(2) gives 4 for two linear
    units."""
    network = Network((Layer(make(unit, **({"stride": 2} if unit == "conv_linear" else {})), 2),))
    subject, theta = random_fixed_point(
        network, (1, 4) if unit == "conv_linear" else (4,), 2, seed=3, samples=90
    )
    spectrum = spectrum_at(subject, theta)
    explained = explain_zero_modes(subject, theta, spectrum.kernel)
    assert sum(explained.values()) == spectrum.zero_modes
    assert (
        explained["symmetry"]
        == {"linear": 4, "conv_linear": 4, "relu": 2, "tanh": 0, "quadratic": 2}[unit]
    )
    assert explained["unexplained"] == 0


def test_zero_modes_of_an_embedding():
    """Silent quadratic units: every coordinate is a zero mode, since the loss is of third order
    there. The two active ones have three symmetries: a rescaling each, and the rotation that keeps
    the quadratic form v_1 u_1 u_1' + v_2 u_2 u_2'."""
    network = Network((Layer(make("quadratic"), 2),))
    subject, theta = random_fixed_point(network, (4,), 1, seed=1, samples=60)
    wide, params = embed(network, subject.params(jnp.asarray(theta)), 5)
    larger, state = subject.with_network(wide), flatten(params)
    explained = explain_zero_modes(larger, state, dense_spectrum(hessian(larger, state)).kernel)
    assert explained == {"symmetry": 3, "silent": 3 * 5, "data": 0, "unexplained": 0}


def test_directions_the_data_do_not_see():
    """Fewer samples than parameters: flat directions that change the map elsewhere are called
    data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5))
    network = Network((Layer(make("tanh"), 4),))
    theta = rng.standard_normal(24)
    draft = objective(network, Data((5,), 1, x, np.zeros((3, 1))))
    subject = objective(network, Data((5,), 1, x, np.asarray(draft.predictions(theta))))
    explained = explain_zero_modes(subject, theta, spectrum_at(subject, theta).kernel)
    assert explained == {"symmetry": 0, "silent": 0, "data": 21, "unexplained": 0}


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e-3, 1e4, np.array([1e-8, 1e3])], ids=str)
def test_zero_modes_are_explained_alike_in_any_units(scale):
    """(c) Three samples leave three directions of two tanh units free, whatever the units of
    inputs: neither a saturated nor a linear tanh is a symmetry."""
    x = np.random.default_rng(1).standard_normal((3, 2))
    u, v = np.array([[1.0, 0.5], [-0.3, 0.8]]), np.array([[1.0], [0.6]])
    subject = objective(
        Network((Layer(dense("tanh"), 2),)), Data((2,), 1, x * scale, np.tanh(x @ u.T) @ v)
    )
    c = certify_state(subject, flatten(({"u": u / scale, "v": v},)))
    assert c.verdict == "minimum"
    assert c.explained == {"symmetry": 0, "silent": 0, "data": 3, "unexplained": 0}


@pytest.mark.slow
def test_a_minimum_with_silent_units_that_help_is_no_minimum():
    """Breaking both searches on purpose: without them the quadratic saddle would pass for a
    minimum; one is enough."""
    found = certified("quadratic")
    subject, c = found.run.objective(), found[1].certificate
    assert c.index == 0 and c.verdict == "degenerate saddle"
    original = judging.best_silent_unit
    try:
        judging.best_silent_unit = lambda *a, **k: dataclasses.replace(original(*a, **k), value=0.0)
        second = certify_state(subject, c.state)
        search, judging.look_for_descent = (
            judging.look_for_descent,
            lambda *a, **k: Looked(None, ""),
        )
        wrong = certify_state(subject, c.state)
    finally:
        judging.best_silent_unit, judging.look_for_descent = original, search
    assert second.verdict == "degenerate saddle" and second.escape_order == c.escape_order == 3
    assert (
        wrong.verdict == "minimum"
    )  # what the code would say with both broken: the tests do see it


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.zeros(3), "must have shape"),
        (np.full(200, np.nan), "finite"),
        (np.full(200, np.inf), "finite"),
    ],
)
def test_bad_states(state, message):
    with pytest.raises(InputError, match=message):
        certify_state(Experiment.named("linear").objective(), state)


def test_bad_options():
    subject = Experiment.named("linear").objective()
    with pytest.raises(InputError, match="did you mean 'reduce'"):
        certify_state(subject, np.zeros(200), route="redcue")
    with pytest.raises(InputError, match="at least one unit"):
        visit(certified("linear").run, 0)


def test_results_print_themselves():
    found = certified("linear")
    text, html = repr(found), found._repr_html_()
    assert "strict saddle" in text and "intermediate" in text
    assert html.startswith("<table>") and "strict saddle" in html
    assert "symmetry" in repr(found[1].certificate)
    assert "flow time" in repr(found.run) and found.run._repr_html_()


@pytest.mark.slow
def test_deep_networks_are_certified_layer_by_layer():
    """Three-layer linear network (oracle (a)): stages of rank 0, 1, 2, saddle loss 1/2 s_2^2,
    widths one a layer."""
    task = LinearTeacher((1.0, 0.5), inputs=3, outputs=3)
    network = Network((Layer(make("linear"), 8, mixes=False), Layer(make("linear"), 6)))
    e = Experiment(task, network, Stop(flow_time=3000.0), Initialization(scale=0.02), seed=1)
    found = certify(train(e))
    inner = [s for s in found.stages if s.effective_units == (1, 1)]
    assert inner and inner[0].certificate.certified
    assert inner[0].certificate.loss == pytest.approx(0.5 * 0.25, abs=1e-12)
    assert found[len(found) - 1].certificate.loss == pytest.approx(0.0, abs=1e-12)
    origin = found[0].certificate  # of three layers: descent at third order only
    assert (origin.verdict, origin.escape_order) == ("degenerate saddle", 3)


@pytest.mark.slow
def test_zero_utility_in_a_deep_network_is_no_descent():
    """At theta = 0 of a deep network every utility vanishes: rounding above that zero must not make
    a minimum a saddle."""
    network = Network((Layer(dense("relu", True), 8, mixes=False), Layer(dense("relu", True), 8)))
    e = Experiment(
        Teacher("relu", 2, (3,)), network, Stop(flow_time=200.0), Initialization(scale=1e-2)
    )
    found = certify(train(e))
    end = found[len(found) - 1].certificate
    assert end.verdict in ("minimum", "no fixed point found")
    if end.certified:
        assert end.utility is None or abs(end.utility.value) < 1e-12


def test_large_low_rank_start_and_the_tolerance_of_the_end():
    """A huge first drop must not loosen the tolerance of later stages: the end keeps its three
    units."""
    start = Initialization("manifold", scale=1e-6, width=1, size=0.5)
    network = Network((Layer(dense("linear"), 10),))
    e = Experiment(LinearTeacher((1.0, 0.5, 0.25)), network, Stop(flow_time=100.0), start)
    found = certify(train(e))
    assert "initial" not in [stage.kind for stage in found.stages]
    assert found[len(found) - 1].effective_units == 3
    assert found[len(found) - 1].certificate.verdict == "minimum"


def test_reductions_and_embeddings_print_themselves():
    network = Network((Layer(make("relu"), 2),))
    subject, theta = random_fixed_point(network, (4,), 2)
    wide = embed(network, subject.params(jnp.asarray(theta)), 5)
    assert "relu 5" in repr(wide) and "iii" in wide._repr_html_()
    small = reduce(subject.with_network(wide.network), flatten(wide.params), tolerance=1e-6)
    assert "units kept    2" in repr(small) and "<table>" in small._repr_html_()


@pytest.mark.slow
def test_zero_eigenvalues_of_a_nearly_converged_minimum_are_no_descent():
    """The tanh run ends within 1e-12 of a minimum whose Hessian is nearly flat: rounding of the
    state is no saddle."""
    found = certified("tanh")
    end = found[len(found) - 1].certificate
    assert end.verdict in ("minimum", "no fixed point found")
    assert end.loss < 1e-10 or not end.certified
