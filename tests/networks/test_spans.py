"""Linear units trained in the span of their weights move as all of them do."""

from __future__ import annotations

import numpy as np
import pytest

from saddlery import Experiment, Layer, Network
from saddlery.initializations import Initialization
from saddlery.networks import Data, objective, spans
from saddlery.networks.spans import span
from saddlery.rules import Adam, GradientDescent, GradientFlow, Momentum, NormalisedDescent
from saddlery.runs.run import prepare
from saddlery.training import Stop
from saddlery.training.driver import run
from saddlery.units import dense, make

RNG = np.random.default_rng


def subject(network, shape, outputs, seed=0):
    rng = RNG(seed)
    data = Data(
        shape, outputs, rng.standard_normal((30, *shape)), rng.standard_normal((30, outputs))
    )
    whole = objective(network, data, moments=False)
    return whole, 0.3 * rng.standard_normal(whole.size)


LINEAR, RELU = dense("linear"), dense("relu")
CASES = {
    "one layer": (Network((Layer(LINEAR, 9),)), (3,), 2),
    "one output, as many units as numbers and one more": (Network((Layer(LINEAR, 5),)), (3,), 1),
    "below relu units": (Network((Layer(LINEAR, 20, mixes=False), Layer(RELU, 4))), (3,), 2),
    "above relu units": (Network((Layer(RELU, 4, mixes=False), Layer(LINEAR, 11))), (3,), 2),
    "two layers": (Network((Layer(LINEAR, 12, outputs=3), Layer(LINEAR, 10))), (3,), 2),
    "kernels": (Network((Layer(make("conv_linear", kernel=[2], stride=2), 9),)), (1, 6), 2),
    "with a read-out": (Network((Layer(LINEAR, 9, outputs=2),), readout=True), (3,), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_map_and_gradient(name):
    """(b) The narrow start widens to the wide one, has its loss, and its gradient widens to the
    wide gradient."""
    whole, theta = subject(*CASES[name])
    found = span(whole, theta)
    assert found is not None and len(found.theta) < len(theta)
    np.testing.assert_allclose(found.widen(found.theta[None])[0], theta, atol=1e-14)
    assert float(found.objective.loss(found.theta)) == pytest.approx(
        float(whole.loss(theta)), rel=1e-13
    )
    narrow = np.asarray(found.objective.gradient(found.theta))
    np.testing.assert_allclose(found.widen(narrow[None])[0], whole.gradient(theta), atol=1e-13)


RULES = [
    GradientDescent(0.05),
    Momentum(0.02),
    NormalisedDescent(0.01),
    GradientFlow(1e-8, solver="dopri8"),
]
QUICK = ("descent", "flow")  # rules of whose kinds all the others are


def costly(name, kind):
    """The flow below ReLU units, whose steps meet kinks, and rules like another."""
    return (name, kind) == ("below relu units", "flow") or kind not in QUICK


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        pytest.param(
            name, rule, marks=[pytest.mark.slow] * costly(name, rule.kind), id=f"{name}-{rule.kind}"
        )
        for name in ("one layer", "below relu units", "two layers")
        for rule in RULES
    ],
)
def test_the_same_path(name, rule):
    """(d) Every saved state equals that of the wide network, stepped by the same rule."""
    whole, theta = subject(*CASES[name])
    found, stop = span(whole, theta), Stop(flow_time=1.0)
    assert rule.rotates
    wide = run(whole.function, whole.samples, theta, rule, stop)
    narrow = run(found.objective.function, found.objective.samples, found.theta, rule, stop)
    np.testing.assert_allclose(found.widen(narrow.states)[-1], wide.states[-1], atol=1e-6)
    assert narrow.loss[-1] == pytest.approx(wide.loss[-1], rel=1e-6)


def test_rules_that_do_not_rotate_keep_all_units():
    """(d) Adam's path is another in rotated coordinates, so it is not taken there."""
    whole, theta = subject(*CASES["one layer"])
    found, rule, stop = span(whole, theta), Adam(0.01), Stop(steps=100)
    wide = run(whole.function, whole.samples, theta, rule, stop)
    narrow = run(found.objective.function, found.objective.samples, found.theta, rule, stop)
    assert np.abs(found.widen(narrow.states)[-1] - wide.states[-1]).max() > 1e-3
    assert not rule.rotates and prepare(Experiment.named("linear").replace(rule=rule)).span is None
    assert prepare(Experiment.named("linear")).span is not None


def test_what_does_not_gain_or_would_be_rounding_stays():
    relu = Experiment.named("relu")
    assert span(relu.objective(), relu.initial_state()) is None
    narrow = Network((Layer(LINEAR, 5),))
    assert span(*subject(narrow, (3,), 2)) is None
    on = Experiment.named("linear").replace(
        initialization=Initialization("manifold", 0.0, width=1, size=0.1)
    )
    assert (
        span(on.objective(), on.initial_state()) is None
    )  # rank one: the other directions are rounding
    streams = Network(
        (Layer(LINEAR, 9, mixes=False), Layer(LINEAR, 12, residual=True)), readout=True
    )
    whole, theta = subject(streams, (3,), 2)
    found = span(whole, theta)
    assert (
        found is None or 0 not in found.layout.layers
    )  # its units are what the residual layer adds to


def test_states_that_are_not_finite_widen_in_silence():
    """The last state of a run that diverged, in float64 and float32."""
    whole, theta = subject(*CASES["one layer"])
    found = span(whole, theta)
    assert found is not None
    bad = np.stack([found.theta, np.where(np.arange(len(found.theta)) % 2, np.inf, -np.inf)])
    for kind in (float, np.float32):
        wide = found.widen(bad.astype(kind))
        assert wide.dtype == kind and np.isfinite(wide[0]).all() and not np.isfinite(wide[1]).any()


def test_a_wrong_frame_is_noticed(monkeypatch):
    """(break) Frames that are not orthonormal change the gradient."""
    real = np.linalg.qr

    def stretched(matrix):
        q, r = real(matrix)
        return 2 * q, r / 2

    monkeypatch.setattr(spans.np.linalg, "qr", stretched)
    with pytest.raises(AssertionError):
        test_the_same_map_and_gradient("one layer")
