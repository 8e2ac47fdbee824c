"""Units of one's own with several weight tensors train, certify and embed like any others."""

from __future__ import annotations

import numpy as np
import pytest

from own_units import HEAD, KERNEL
from planted import gradient_norm, random_fixed_point
from registries import kept
from saddlery import Experiment, Initialization, certify, train, units
from saddlery.networks import Layer, Network, flatten
from saddlery.rules import GradientFlow, Muon
from saddlery.saddles import certify_state
from saddlery.symmetry import embed, reduce
from saddlery.tasks import Teacher
from saddlery.training import Stop
from slowly import slowly

SHAPES = {"own_kernel": (2, 5), "own_head": (4, 3)}
UNITS = [KERNEL, HEAD]


@pytest.fixture
def registered():
    with kept():
        for unit in UNITS:
            units.register(unit)
        yield


def experiment(unit, rule, stop, scale=0.3):
    shape = SHAPES[unit.name]
    task = Teacher(unit=unit.name, count=1, inputs=shape, outputs=2, samples=60, norm=2.0)
    return Experiment(
        task=task,
        network=Network((Layer(unit, 2),)),
        initialization=Initialization(scale=scale),
        rule=rule,
        stop=stop,
    )


@pytest.mark.parametrize("unit", slowly(UNITS, HEAD), ids=str)
def test_they_train_by_muon(unit, registered):
    """(b) The loss falls; and the table of the experiment makes the same network again."""
    e = experiment(unit, Muon(3e-3), Stop(steps=300))
    losses = train(e).trajectory.loss
    assert losses[-1] < 0.5 * losses[0]
    assert Experiment.from_toml(e.to_toml()).network == e.network


@pytest.mark.parametrize(
    ("unit", "scale", "verdict", "order"),
    slowly(
        [(KERNEL, 1e-3, "strict saddle", 2), (HEAD, 0.1, "degenerate saddle", 4)],
        (HEAD, 0.1, "degenerate saddle", 4),
    ),
    ids=str,
)
def test_they_certify(unit, scale, verdict, order, registered):
    """(a) From small weights a run first rests at the origin, which it leaves at the degree of phi
    in u and one more, of v."""
    first = certify(train(experiment(unit, GradientFlow(), Stop(flow_time=20.0), scale)))[0]
    assert first.certificate.verdict == verdict
    assert first.certificate.escape_order == order
    assert first.certificate.narrow_units == (0,)
    assert np.all(first.certificate.state == 0)


@pytest.mark.parametrize("unit", slowly(UNITS, HEAD), ids=str)
def test_they_embed_and_reduce(unit):
    """(b) A wide network at a fixed point of the narrow one, certified, and taken back."""
    network = Network((Layer(unit, 1),))
    subject, theta = random_fixed_point(network, SHAPES[unit.name], 2)
    wide, params = embed(network, subject.params(theta), 3)
    state = flatten(params)
    embedded = subject.with_network(wide)
    assert gradient_norm(embedded, state) < 1e-12
    certificate = certify_state(embedded, state)
    assert certificate.verdict != "no fixed point found"
    assert certificate.narrow_units == (1,)
    assert certificate.loss == pytest.approx(float(subject.loss(theta)), rel=1e-10)
    reduced = reduce(embedded, state)
    assert reduced.network.widths == (1,)
    (views,) = subject.tensors.views(reduced.theta)
    for name, array in subject.tensors.views(theta)[0].items():
        np.testing.assert_allclose(np.abs(views[name]), np.abs(array), atol=1e-8)
