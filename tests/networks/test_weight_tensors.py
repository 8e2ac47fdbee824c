"""Weight tensors: views of the flat vector by name, and the matrices they consist of."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from own_units import HEAD, KERNEL
from saddlery.networks import Data, Layer, Network, objective, unflatten, weight_tensors
from saddlery.units import Unit, make

DEEP = Network(
    (
        Layer(make("conv_relu", kernel=(3,)), 4, mixes=False),
        Layer(make("relu", bias=True), 5, mixes=False),
        Layer(make("tanh"), 3, outputs=2),
    ),
    readout=True,
)
NETWORKS = {
    "linear": (Network((Layer(make("linear"), 5),)), (4,)),
    "bias": (Network((Layer(make("tanh", bias=True), 5),)), (4,)),
    "diagonal": (Network((Layer(make("diagonal"), 1),)), (4,)),
    "kernels": (Network((Layer(make("conv_relu", kernel=(2, 2)), 5),)), (2, 4, 3)),
    "heads": (Network((Layer(make("attention_linear", rank=2), 4),)), (5, 3)),
    "merged heads": (Network((Layer(make("attention_merged"), 4),)), (5, 3)),
    "in context": (Network((Layer(make("in_context_linear", rank=2), 5),)), (6, 4)),
    "own kernels": (Network((Layer(KERNEL, 4),)), (2, 5)),
    "own heads": (Network((Layer(HEAD, 4),)), (4, 3)),
    "deep": (DEEP, (2, 7)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_cover_all_weights_once(name):
    """(b) Taking and putting back is the identity, and no weight is in two matrices."""
    network, shape = NETWORKS[name]
    theta = jnp.arange(network.count(shape, 2), dtype=float)
    found = weight_tensors(network, shape, 2)
    numbers = [np.asarray(tensor.take(theta)).ravel() for tensor in found]
    np.testing.assert_array_equal(np.sort(np.concatenate(numbers)), theta)
    again = jnp.zeros_like(theta)
    for tensor in found:
        again = tensor.put(again, tensor.take(theta))
    np.testing.assert_array_equal(again, theta)


def test_views_of_a_head_by_loops():
    """(d) Query i, entry (d, r), is the number of the flat vector at which the declaration puts
    it."""
    network, shape = NETWORKS["own heads"]
    theta = np.random.default_rng(0).standard_normal(network.count(shape, 2))
    (views,) = weight_tensors(network, shape, 2).views(theta)
    assert {name: array.shape for name, array in views.items()} == {
        "query": (4, 3, 2),
        "key": (4, 3, 2),
        "value": (4, 3, 2),
        "output": (4, 2, 2),
    }
    place = 0
    for i in range(4):
        for name in ("query", "key", "value"):
            for d in range(3):
                for r in range(2):
                    assert views[name][i, d, r] == theta[place]
                    place += 1
    np.testing.assert_array_equal(views["output"].ravel(), theta[place:])


def test_views_are_the_parameters_and_share_their_memory():
    network, shape = NETWORKS["deep"]
    theta = np.random.default_rng(0).standard_normal(network.count(shape, 2))
    first, second, third = weight_tensors(network, shape, 2).views(theta)
    params = unflatten(network, theta, shape, 2)
    np.testing.assert_array_equal(first["kernel"], params[0]["u"])
    np.testing.assert_array_equal(second["weight"], params[1]["u"][:, :-1])
    np.testing.assert_array_equal(second["bias"], params[1]["u"][:, -1])
    np.testing.assert_array_equal(third["v"], params[2]["v"])
    np.testing.assert_array_equal(third["readout"], params[2]["readout"])
    second["bias"][:] = 7.0
    np.testing.assert_array_equal(params[1]["u"][:, -1], 7.0)


def test_an_objective_knows_its_tensors():
    network, shape = NETWORKS["heads"]
    rng = np.random.default_rng(0)
    data = Data(shape, 2, rng.standard_normal((6, *shape)), rng.standard_normal((6, 5, 2)))
    subject = objective(network, data)
    theta = rng.standard_normal(subject.size)
    (views,) = subject.tensors.views(theta)
    np.testing.assert_array_equal(views["query"], subject.params(theta)[0]["u"][:, 1])


def test_the_table():
    assert repr(weight_tensors(*NETWORKS["deep"], 2)).splitlines() == [
        "layer  tensor   shape      matrices",
        "-----  -------  ---------  -----------",
        "0      kernel   4 x 2 x 3  1 of 6 x 4",
        "1      weight   5 x 20     1 of 20 x 5",
        "1      bias     5          1 of 1 x 5",
        "2      readout  2 x 2      1 of 2 x 2",
        "2      weight   3 x 5      1 of 5 x 3",
        "2      v        3 x 2      1 of 3 x 2",
    ]


# ------------------------------------------------------------- which matrices
@pytest.mark.parametrize("name", ["linear", "bias", "kernels"])
def test_matrices_of_neurons_and_kernels_make_their_map(name):
    """(b) y = x W: what the units weigh is x W (+ b), and the layer's output is features times
    W."""
    network, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    theta = jnp.asarray(rng.standard_normal(network.count(shape, 2)))
    taken = {t.name: np.asarray(t.take(theta)) for t in weight_tensors(network, shape, 2)}
    assert all(len(stack) == 1 for stack in taken.values())
    z = rng.standard_normal(shape)
    if name == "kernels":
        # patches (positions, channels and entries)
        x = np.array([z[:, a : a + 2, b : b + 2].ravel() for a in range(3) for b in range(2)])
        features = np.maximum(x @ taken["kernel"][0], 0)
    else:
        features = z @ taken["weight"][0]
    if name == "bias":
        features = np.tanh(features + taken["bias"][0])
    expected = network.apply(unflatten(network, theta, shape, 2), jnp.asarray(z))
    # the features of unit 0 first
    found = features.T.ravel() @ taken["v"][0]
    np.testing.assert_allclose(found.squeeze(), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["heads", "merged heads", "own heads"])
def test_matrices_of_heads_make_their_map(name):
    """(b) sum_i A_i Z V_i (or A_i Z V_i O_i), of matrices that are each head's own."""
    network, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    theta = jnp.asarray(rng.standard_normal(network.count(shape, 2)))
    taken = {t.name: np.asarray(t.take(theta)) for t in weight_tensors(network, shape, 2)}
    assert all(len(stack) == 4 for stack in taken.values())
    z = rng.standard_normal(shape)
    found = np.zeros((len(z), 2))
    for i in range(4):
        w = {key: stack[i] for key, stack in taken.items()}
        product = w["key_query"] if name == "merged heads" else w["key"] @ w["query"].T
        mixed = z @ product.T @ z.T / len(z) @ z @ w["value"]
        found += mixed @ w["output"] if name == "own heads" else mixed
    expected = network.apply(unflatten(network, theta, shape, 2), jnp.asarray(z))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_scalars_of_all_heads_are_one_matrix():
    """(a) A head on prompts is a scalar feature, so v is H x O, as a read-out of features is."""
    stacks = {t.name: t.stack for t in weight_tensors(*NETWORKS["in context"], 2)}
    assert stacks == {"key": (5, 3, 2), "query": (5, 3, 2), "value": (1, 5, 2)}


def test_several_outgoing_tensors():
    """(d) Parts of the features have matrices of their own; kernels' side by side, heads' each."""
    fields = {
        "mixed": 1,
        "outgoing": lambda inputs: {"first": (1,), "rest": (inputs[0] - 1,)},
    }
    theta = np.arange(2 * (3 + 3 * 2), dtype=float)
    rows = theta[6:].reshape(2, 3, 2)  # two units, three features, two outputs
    for own in (False, True):
        unit = Unit("parted", lambda z, u: u * z, lambda s: s, own_matrices=own, **fields)
        found = weight_tensors(Network((Layer(unit, 2),)), (3,), 2)
        first, rest = (t.take(theta) for t in list(found)[1:])
        expected = (rows[:, :1], rows[:, 1:])
        if not own:
            expected = tuple(part.reshape(1, -1, 2) for part in expected)
        np.testing.assert_array_equal(first, expected[0])
        np.testing.assert_array_equal(rest, expected[1])
