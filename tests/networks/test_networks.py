"""Networks against loops over units, and what permuting, removing and replacing units leaves
unchanged."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from saddlery.basis.checks import InputError
from saddlery.networks import Layer, Network, flatten, unflatten
from saddlery.networks import network as networks
from saddlery.networks.network import mixed_shape
from saddlery.units import Symmetry, Unit, attention, convolution, dense, in_context, make

relu = lambda a: np.maximum(a, 0.0)


apply = jax.jit(lambda network, params, z: network.apply(params, z), static_argnums=0)


def passing(unit, width):
    return Layer(unit, width, mixes=False)


# name: (network, shape of a sample, outputs)
NETWORKS = {
    "dense": (Network((Layer(dense("relu"), 4),)), (3,), 2),
    "dense bias": (Network((Layer(dense("tanh", True), 3),)), (2,), 1),
    "conv 1-D": (Network((Layer(convolution("relu", (2,), 2), 3),)), (2, 5), 2),
    "conv 2-D": (Network((Layer(convolution("linear", (2, 2)), 3),)), (1, 3, 4), 2),
    "attention": (Network((Layer(attention("softmax", 2), 3),)), (4, 3), 2),
    "attention last": (Network((Layer(attention("linear"), 2),), reads="last"), (4, 3), 2),
    "in context": (Network((Layer(in_context("linear", 2), 3),)), (5, 3), 1),
    "deep linear": (Network((passing(dense("linear"), 4), Layer(dense("linear"), 3))), (3,), 2),
    "deep relu bias": (
        Network(
            (
                passing(dense("relu", True), 4),
                passing(dense("tanh", True), 3),
                Layer(dense("relu", True), 5),
            )
        ),
        (3,),
        2,
    ),
    "conv > dense": (
        Network((passing(convolution("relu", (2,)), 3), Layer(dense("tanh", True), 4))),
        (2, 4),
        2,
    ),
    "conv > conv": (
        Network((passing(convolution("relu", (2,)), 3), Layer(convolution("linear", (2,)), 2))),
        (1, 5),
        1,
    ),
    "conv 2-D > dense": (
        Network((passing(convolution("relu", (2, 2), 2), 2), Layer(dense("relu"), 3))),
        (1, 4, 4),
        2,
    ),
    "residual": (
        Network((Layer(dense("tanh"), 4, residual=True), Layer(dense("relu"), 3))),
        (3,),
        2,
    ),
    "residual readout": (
        Network(
            (Layer(dense("relu"), 4, residual=True), Layer(dense("tanh"), 2, residual=True)),
            readout=True,
        ),
        (3,),
        2,
    ),
    "attention stack": (
        Network(
            (
                Layer(attention("linear"), 2, residual=True),
                Layer(attention("softmax"), 3, outputs=4),
            ),
            readout=True,
            reads="last",
        ),
        (4, 3),
        2,
    ),
    "mixes inside": (
        Network((Layer(dense("relu"), 4, outputs=3), Layer(dense("tanh"), 2))),
        (3,),
        2,
    ),
}


def made(name, seed=0):
    network, shape, outputs = NETWORKS[name]
    rng = np.random.default_rng(seed)
    size = len(flatten(network.zeros(shape, outputs)))
    theta = rng.standard_normal(size)
    return network, unflatten(network, theta, shape, outputs), rng.standard_normal(shape), theta


def plain(params):
    return [{k: np.asarray(v) for k, v in p.items()} for p in params]


# --------------------------------------------------------- maps by loops
def affine(row, z, bias):
    return z.ravel() @ row[: z.size] + (row[-1] if bias else 0.0)


def kernel_response(u, z, stride):
    total = sum(correlate(z[c], u[c], mode="valid", method="direct") for c in range(len(z)))
    return total[(slice(None, None, stride),) * total.ndim]


def head(kind, u, z):
    scores = z @ (u[0] @ u[1].T).T @ z.T
    if kind == "linear":
        return scores / len(z) @ z
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True) @ z


def loop_dense(p, z):
    return sum(relu(affine(u, z, False)) * v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))


def loop_dense_bias(p, z):
    return sum(np.tanh(affine(u, z, True)) * v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))


def loop_conv_1d(p, z):
    return sum(
        relu(kernel_response(u, z, 2)) @ v for u, v in zip(p[0]["u"], p[0]["v"], strict=True)
    )


def loop_conv_2d(p, z):
    total = np.zeros(2)
    for u, v in zip(p[0]["u"], p[0]["v"], strict=True):
        response = kernel_response(u, z, 1)
        for i, j in np.ndindex(response.shape):
            total += response[i, j] * v[i, j]
    return total


def loop_attention(p, z):
    return sum(head("softmax", u, z) @ v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))


def loop_attention_last(p, z):
    return sum(head("linear", u, z) @ v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))[-1]


def loop_in_context(p, z):
    x, y, query = z[:-1, :-1], z[:-1, -1], z[-1, :-1]
    b = sum(t * row for t, row in zip(y, x, strict=True)) / len(x)
    return sum((b @ u[0]) @ (u[1].T @ query) * v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))


def loop_deep_linear(p, z):
    return p[1]["v"].T @ p[1]["u"] @ p[0]["u"] @ z


def loop_deep_relu_bias(p, z):
    first = np.array([relu(affine(u, z, True)) for u in p[0]["u"]])
    second = np.array([np.tanh(affine(u, first, True)) for u in p[1]["u"]])
    return sum(relu(affine(u, second, True)) * v for u, v in zip(p[2]["u"], p[2]["v"], strict=True))


def loop_conv_then_dense(p, z):
    first = np.array([relu(kernel_response(u, z, 1)) for u in p[0]["u"]])
    return sum(
        np.tanh(affine(u, first, True)) * v for u, v in zip(p[1]["u"], p[1]["v"], strict=True)
    )


def loop_conv_then_conv(p, z):
    first = np.array([relu(kernel_response(u, z, 1)) for u in p[0]["u"]])
    return sum(kernel_response(u, first, 1) @ v for u, v in zip(p[1]["u"], p[1]["v"], strict=True))


def loop_conv_2d_then_dense(p, z):
    first = np.array([relu(kernel_response(u, z, 2)) for u in p[0]["u"]])
    return sum(relu(affine(u, first, False)) * v for u, v in zip(p[1]["u"], p[1]["v"], strict=True))


def loop_residual(p, z):
    z = z + sum(np.tanh(u @ z) * v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))
    return sum(relu(u @ z) * v for u, v in zip(p[1]["u"], p[1]["v"], strict=True))


def loop_residual_readout(p, z):
    z = z + sum(relu(u @ z) * v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))
    z = z + sum(np.tanh(u @ z) * v for u, v in zip(p[1]["u"], p[1]["v"], strict=True))
    return z @ p[1]["readout"]


def loop_attention_stack(p, z):
    z = z + sum(head("linear", u, z) @ v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))
    z = sum(head("softmax", u, z) @ v for u, v in zip(p[1]["u"], p[1]["v"], strict=True))
    return (z @ p[1]["readout"])[-1]


def loop_mixes_inside(p, z):
    z = sum(relu(u @ z) * v for u, v in zip(p[0]["u"], p[0]["v"], strict=True))
    return sum(np.tanh(u @ z) * v for u, v in zip(p[1]["u"], p[1]["v"], strict=True))


LOOPS = dict(
    zip(
        NETWORKS,
        (
            loop_dense,
            loop_dense_bias,
            loop_conv_1d,
            loop_conv_2d,
            loop_attention,
            loop_attention_last,
            loop_in_context,
            loop_deep_linear,
            loop_deep_relu_bias,
            loop_conv_then_dense,
            loop_conv_then_conv,
            loop_conv_2d_then_dense,
            loop_residual,
            loop_residual_readout,
            loop_attention_stack,
            loop_mixes_inside,
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("name", NETWORKS)
def test_apply_by_loops(name):
    """(d) One unit after the other in NumPy, on one sample and on a batch of samples."""
    network, params, z, _ = made(name)
    expected = LOOPS[name](plain(params), z)
    np.testing.assert_allclose(
        apply(network, params, jnp.asarray(z)), expected, rtol=1e-11, atol=1e-12
    )
    batch = jax.jit(network.outputs)(params, jnp.stack([jnp.asarray(z), jnp.zeros_like(z)]))
    np.testing.assert_allclose(batch[0], expected, rtol=1e-11, atol=1e-12)


# ------------------------------------------------------ the two sides of units
EVERY_LAYER = [
    (name, k) for name, (network, _, _) in NETWORKS.items() for k in range(len(network.layers))
]


@pytest.mark.parametrize(("name", "layer"), EVERY_LAYER)
def test_sides_round_trip_and_permutation(name, layer):
    """(c) Writing both sides back gives the same weights; the order of units does not change the
    map."""
    network, params, z, theta = made(name, 1)
    u, v = network.incoming(params, layer), network.outgoing(params, layer)
    assert len(u) == len(v) == network.widths[layer]
    same, back = network.with_sides(params, layer, u, v)
    assert same == network
    np.testing.assert_array_equal(flatten(back), theta)
    order = np.random.default_rng(2).permutation(len(u))[::-1]
    order = np.roll(np.arange(len(u)), 1) if np.all(order == np.arange(len(u))) else order
    _, moved = network.with_sides(params, layer, u[order], v[order])
    assert not np.array_equal(flatten(moved), theta)
    f = apply(network, params, jnp.asarray(z))
    np.testing.assert_allclose(apply(network, moved, jnp.asarray(z)), f, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("name", "layer"), EVERY_LAYER)
def test_splitting_and_silencing_a_unit(name, layer):
    """(c) A unit split in two with outgoing shares 0.3 and 0.7, and one more with v = 0, leave the
    map; widths follow."""
    network, params, z, _ = made(name, 3)
    u, v = network.incoming(params, layer), network.outgoing(params, layer)
    wide_u = jnp.concatenate([u, u[:1], 5 * u[-1:]])
    wide_v = jnp.concatenate([0.3 * v[:1], v[1:], 0.7 * v[:1], 0 * v[-1:]])
    wide, split = network.with_sides(params, layer, wide_u, wide_v)
    assert wide.widths[layer] == network.widths[layer] + 2
    f = apply(network, params, jnp.asarray(z))
    np.testing.assert_allclose(apply(wide, split, jnp.asarray(z)), f, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("name", "layer"), EVERY_LAYER)
def test_a_layer_without_units(name, layer):
    """(a) Without units a layer returns zero (or its input, if residual); its sides can be put
    back."""
    network, params, z, theta = made(name, 4)
    u, v = network.incoming(params, layer), network.outgoing(params, layer)
    empty, bare = network.with_sides(params, layer, u[:0], v[:0])
    assert empty.widths[layer] == 0
    silent = network.with_sides(params, layer, u, 0 * v)[1]
    f = apply(empty, bare, jnp.asarray(z))
    np.testing.assert_allclose(f, apply(network, silent, jnp.asarray(z)), rtol=1e-12, atol=1e-13)
    _, again = empty.with_sides(bare, layer, u, v)
    np.testing.assert_array_equal(flatten(again), theta)


def test_outgoing_of_a_chained_layer_in_closed_form():
    """(a) For W3 sigma(W2 sigma(W1 x)), unit i of the first layer has outgoing weights W2[:, i]."""
    network, params, _, _ = made("deep linear")
    np.testing.assert_array_equal(network.outgoing(params, 0), params[1]["u"].T)
    network, params, _, _ = made("conv > dense")
    weights = np.asarray(params[1]["u"])  # (4, 3 kernels x 3 places + bias)
    expected = [[weights[k, 3 * i + p] for k in range(4) for p in range(3)] for i in range(3)]
    np.testing.assert_array_equal(network.outgoing(params, 0), expected)


# --------------------------------------------------------------- flat vectors
@pytest.mark.parametrize("name", NETWORKS)
def test_flatten_and_unflatten_are_inverse(name):
    """(c) And P is the number of entries of all shapes."""
    network, shape, outputs = NETWORKS[name]
    leaves = jax.tree.leaves(network.zeros(shape, outputs))
    size = sum(math.prod(leaf.shape) for leaf in leaves)
    theta = np.arange(size, dtype=float)
    params = unflatten(network, theta, shape, outputs)
    np.testing.assert_array_equal(flatten(params), theta)
    with pytest.raises(
        InputError, match=f"must have {size} parameters for this network, got shape"
    ):
        unflatten(network, theta[:-1], shape, outputs)


def test_architecture_in_words_and_other_widths():
    network = NETWORKS["residual readout"][0]
    assert network.architecture == "relu 4 +skip > tanh 2 +skip > readout"
    assert network.with_widths((7, 1)).widths == (7, 1)
    assert network.with_unit(1, dense("erf")).architecture.endswith("erf 2 +skip > readout")
    with pytest.raises(ValueError):
        network.with_widths((7,))


# --------------------------------------------------------------------- misuse
unchannelled = Unit("mine", lambda z, u: z @ u, lambda shape: shape, Symmetry())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Layer(dense("relu"), -1),
            "width of a layer must be a whole number of at least 0, got -1",
        ),
        (lambda: Layer(dense("relu"), 2.5), "width of a layer"),
        (lambda: Layer(dense("relu"), 3, mixes=False, residual=True), "residual"),
        (lambda: Network(()), "at least one layer"),
        (lambda: Network((passing(dense("relu"), 3),)), "last layer must be one that mixes"),
        (lambda: Network((Layer(dense("relu"), 3),), readout=True), "read-out"),
        (
            lambda: Network((Layer(dense("relu"), 3), Layer(dense("relu"), 3))),
            "set outputs, or mixes = false",
        ),
        (lambda: Network((Layer(dense("relu"), 3),), reads="lst"), "did you mean 'last'"),
        (
            lambda: Network(
                (passing(convolution("relu"), 3), Layer(attention("linear"), 2)), reads="last"
            ),
            "channels",
        ),
        (lambda: Network((passing(dense("relu"), 3), Layer(unchannelled, 2))), "channels"),
        (
            lambda: Network((Layer(dense("relu"), 3, outputs=5),)).shapes((3,), 2),
            "task's 2, got 5; leave it out",
        ),
        (
            lambda: Network(
                (Layer(dense("relu"), 3, outputs=5, residual=True),), readout=True
            ).shapes((3,), 2),
            "dimension 3 of its input",
        ),
        (
            lambda: Network((Layer(dense("relu"), 3, residual=True),)).shapes((4, 3), 3),
            r"residual layer 0 adds to its input must be of its input's shape \(4, 3\), got \(3,\)",
        ),
        (
            lambda: Network((Layer(convolution("relu", (1, 2)), 3, residual=True),)).seen(
                (4, 3), 3
            ),
            r"its input's shape \(4, 3\), got ",
        ),
        (
            lambda: Network((Layer(convolution("relu", (4,)), 3),)).shapes((1, 3), 1),
            "no longer than the input",
        ),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("width", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("unit", "shape"),
    [
        (dense("linear"), (4,)),
        (make("conv_linear", kernel=[2], stride=1), (2, 5)),
        (make("in_context_merged"), (6, 4)),
        (dense("relu"), (4,)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_sums_of_units_by_a_loop(unit, shape, width):
    """(d) Also where linear units are added up before they meet the sample: more of them than the
    two outputs."""
    rng = np.random.default_rng(width)
    z = rng.standard_normal(shape)
    u = rng.standard_normal((width, *unit.shape(shape)))
    mixed = mixed_shape(unit, np.shape(unit.phi(z, u[0])))
    v = rng.standard_normal((width, *mixed, 2))
    axes = (range(-len(mixed), 0), range(len(mixed)))
    by_loop = sum(
        np.tensordot(np.asarray(unit.phi(z, one)), o, axes) for one, o in zip(u, v, strict=True)
    )
    found = networks.sum_of_units(unit, *map(jnp.asarray, (z, u, v)))
    assert found.shape == by_loop.shape
    np.testing.assert_allclose(found, by_loop, rtol=1e-12, atol=1e-12)
