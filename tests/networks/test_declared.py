"""Units of one's own are what they declare, before anything believes it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, train
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, declared, objective
from saddlery.units import Symmetry, Unit, convolution, dense

LINEAR = Symmetry(silent=True, homogeneous="real", linear=True, degree=1, parity="odd")


def on_samples(unit, dimension):
    x = np.random.default_rng(0).standard_normal((30, dimension))
    data = Data((dimension,), 1, inputs=x, targets=np.sin(x[:, :1]))
    return objective(Network((Layer(unit, 9),)), data)


FALSE = {
    "homogeneous": Unit("bent", lambda z, u: jnp.sinh(z @ u), tuple, LINEAR),
    "weighted by channel": Unit(
        "pooled", lambda z, u: z.sum() * u.sum(), tuple, LINEAR, channels=True
    ),
    "even": Unit("odd", lambda z, u: jnp.tanh(z @ u), tuple, Symmetry(parity="even")),
    "silent": Unit("loud", lambda z, u: jnp.cos(z @ u), tuple, Symmetry(silent=True)),
    "declare smooth=False": Unit("kinked", lambda z, u: jnp.abs(z @ u), tuple),
}


@pytest.mark.parametrize("claim", FALSE)
def test_what_is_declared_falsely_is_not_believed(claim):
    with pytest.raises(InputError, match=claim):
        on_samples(FALSE[claim], 3)


def test_declarations_are_tried_on_the_inputs_of_the_network():
    """(a) Linear on its own example of three entries, and on no other inputs."""
    one = Unit("of_three", lambda z, u: (z @ u) ** (1 if z.size == 3 else 3), tuple, LINEAR)
    assert on_samples(one, 3).size
    with pytest.raises(InputError, match="unit 'of_three' must be homogeneous"):
        on_samples(one, 2)


def test_an_experiment_of_a_false_unit_is_not_trained():
    """What it would be trained in, the span of linear units, is of another network."""
    linear = Experiment.named("linear")
    network = Network((Layer(FALSE["homogeneous"], 50),))
    with pytest.raises(InputError, match="unit 'bent' must be homogeneous"):
        train(linear.replace(network=network))


@pytest.mark.parametrize(
    ("unit", "shape"),
    [
        (convolution("tanh", (2, 2)), (3, 4)),
        (convolution("sine", (2,)), (5,)),
        (dense("relu"), (1,)),
    ],
)
def test_one_channel_or_none_is_no_false_alarm(unit, shape):
    declared.check_units(Network((Layer(unit, 2),)), shape, 1)


def test_it_is_tried_once_a_unit_and_shape(monkeypatch):
    tried = []
    monkeypatch.setattr(declared, "check_symmetry", lambda unit, shape: tried.append(shape))
    unit = Unit("once", lambda z, u: jnp.tanh(z @ u), tuple)
    for dimension in (3, 3, 2):
        on_samples(unit, dimension)
    assert tried == [(3,), (2,)]
