"""The structured Hessian against automatic differentiation and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from planted import gradient_norm, random_fixed_point
from saddlery.networks import Data, Layer, Network, hessian, objective
from saddlery.networks.curvature import is_structured
from saddlery.networks.losses import LOSSES
from saddlery.networks.observables import observe, unit_norms
from saddlery.tasks import LinearTeacher
from saddlery.units import Symmetry, Unit, attention, convolution, dense, in_context

tokenwise = Unit(
    "tokenwise",
    lambda z, u: jnp.tanh(z * u),
    lambda shape: (shape[-1],),
    Symmetry(silent=True, degree=1),
    mixed=1,
    example=(4, 3),
)
weighted = Unit(
    "weighted",
    lambda z, u: jnp.tanh(z * u),
    lambda shape: shape,
    Symmetry(silent=True, degree=1),
    mixed=1,
)

SINGLE = {
    **{
        name: (dense(name), (3,), 2)
        for name in (
            "linear",
            "relu",
            "leaky_relu",
            "quadratic",
            "cubic",
            "tanh",
            "x_tanh_x",
            "erf",
            "gelu",
            "sine",
            "sigmoid",
        )
    },
    "tanh bias": (dense("tanh", True), (3,), 2),
    "conv linear": (convolution("linear", (2,), 2), (2, 5), 2),
    "conv relu": (convolution("relu", (2,)), (1, 4), 1),
    "conv 2-D": (convolution("tanh", (2, 2)), (3, 4), 2),
    "in context merged": (in_context("merged"), (4, 3), 1),
    "in context": (in_context("linear", 2), (4, 3), 1),
    "in context softmax": (in_context("softmax"), (4, 3), 2),
    "one of one": (dense("tanh"), (1,), 1),
    "a unit of one's own": (weighted, (3,), 2),
}
GENERAL = {
    "deep": (
        Network((Layer(dense("tanh"), 2, mixes=False), Layer(dense("tanh"), 3))),
        (3,),
        (2,),
        "squared",
    ),
    "conv > dense": (
        Network((Layer(convolution("tanh"), 2, mixes=False), Layer(dense("tanh"), 2))),
        (1, 3),
        (1,),
        "squared",
    ),
    "residual readout": (
        Network((Layer(dense("tanh"), 2, residual=True),), readout=True),
        (2,),
        (2,),
        "squared",
    ),
    "attention": (Network((Layer(attention("linear"), 2),)), (3, 2), (3, 2), "squared"),
    "attention last": (
        Network((Layer(attention("softmax"), 2),), reads="last"),
        (3, 2),
        (2,),
        "squared",
    ),
    "a vector a token": (Network((Layer(tokenwise, 2),)), (3, 2), (3, 2), "squared"),
    "cross-entropy": (Network((Layer(dense("tanh"), 3),)), (2,), (3,), "cross_entropy"),
}


def made(network, shape, target, loss="squared", moments=False, seed=0, samples=9):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((samples, *target))
    y = np.eye(target[-1])[rng.integers(0, target[-1], samples)] if loss == "cross_entropy" else y
    subject = objective(
        network,
        Data(shape, target[-1], rng.standard_normal((samples, *shape)), y, loss=LOSSES[loss]),
        moments=moments,
    )
    return subject, rng.standard_normal(subject.size)


DIFFERENCES = (
    "relu",
    "cubic",
    "tanh bias",
    "conv 2-D",
    "in context softmax",
    *GENERAL,
)  # the others have (d) only


def check(name, subject, theta, structured):
    assert is_structured(subject.function) == structured
    found = hessian(subject, theta)
    np.testing.assert_array_equal(found, found.T)
    size = np.abs(found).max()
    if structured:  # (d) automatic differentiation, which knows nothing of sums of units
        direct = jax.jit(jax.hessian(lambda t: subject.function(t, subject.samples)))(
            jnp.asarray(theta)
        )
        np.testing.assert_allclose(found, direct, rtol=0, atol=1e-12 * size)
    if name not in DIFFERENCES:
        return
    h = 1e-6  # (f) central differences of the gradient along two directions
    for d in np.random.default_rng(1).standard_normal((2, len(theta))):
        bend = (
            np.asarray(subject.gradient(theta + h * d))
            - np.asarray(subject.gradient(theta - h * d))
        ) / (2 * h)
        np.testing.assert_allclose(found @ d, bend, rtol=0, atol=2e-8 * size * np.linalg.norm(d))


@pytest.mark.parametrize("name", SINGLE)
def test_single_layers(name):
    """(d), (f) Every single-layer unit takes the structured path and equals both other routes."""
    unit, shape, outputs = SINGLE[name]
    check(name, *made(Network((Layer(unit, 3),)), shape, (outputs,)), structured=True)


@pytest.mark.parametrize("name", ["linear", "quadratic", "in context"])
def test_from_moments(name):
    """(d) The Hessian of the equivalent samples is that of the samples."""
    unit, shape, outputs = SINGLE[name]
    network = Network((Layer(unit, 2),))
    exact, theta = made(network, shape, (outputs,), moments=True, samples=30)
    sampled, _ = made(network, shape, (outputs,), samples=30)
    assert is_structured(exact.function) and exact.exact != "samples"
    a, b = hessian(exact, theta), hessian(sampled, theta)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("name", GENERAL)
def test_general_path(name):
    """(f) Deep networks, tokens and cross-entropy go by forward over reverse."""
    network, shape, target, loss = GENERAL[name]
    check(name, *made(network, shape, target, loss), structured=False)


def test_index_of_a_linear_saddle():
    """(a) At the balanced rank-1 saddle: (r* - 1)(H - 1) negative eigenvalues, the lowest -s_2."""
    task = LinearTeacher((2.0, 1.0, 0.5))
    left, s, right = np.linalg.svd(task.teacher(0))
    width, subject = 5, objective(Network((Layer(dense("linear"), 5),)), task.data(0))
    u, v = np.zeros((width, 3)), np.zeros((width, 3))
    u[0], v[0] = np.sqrt(s[0]) * right[0], np.sqrt(s[0]) * left[:, 0]
    theta = np.concatenate([u.ravel(), v.ravel()])
    assert gradient_norm(subject, theta) < 1e-14
    values = np.linalg.eigvalsh(hessian(subject, theta))
    assert np.sum(values < -1e-10) == 2 * (width - 1)
    assert values[0] == pytest.approx(-1.0, abs=1e-12)


def test_no_units_and_any_context():
    """An empty network has an empty Hessian; a float32 context gets float64 all the same."""
    bare, _ = made(Network((Layer(dense("linear"), 0),)), (2,), (1,))
    assert hessian(bare, np.zeros(0)).shape == (0, 0)
    subject, theta = made(Network((Layer(dense("tanh"), 2),)), (2,), (1,))
    with jax.enable_x64(False):
        narrow = hessian(subject, theta)
    np.testing.assert_array_equal(narrow, hessian(subject, theta))


def test_planted_fixed_points_are_fixed():
    """(b) The device the other tests stand on: its gradient vanishes, its loss does not."""
    subject, theta = random_fixed_point(Network((Layer(dense("tanh"), 2),)), (3,), 2)
    assert gradient_norm(subject, theta) < 1e-13 and float(subject.loss(theta)) > 0.1


# ------------------------------------------------------------------ observables
def test_observables_by_loops():
    """(d) Norms unit by unit, singular values from the eigenvalues of the Gram matrices."""
    network = Network((Layer(dense("linear"), 4, mixes=False), Layer(dense("relu"), 3)))
    rng = np.random.default_rng(3)
    w1, w2, w3 = (
        rng.standard_normal((4, 2)),
        rng.standard_normal((3, 4)),
        rng.standard_normal((3, 2)),
    )
    one = lambda net, inputs, outputs, theta: {
        k: a[0] for k, a in observe(net, inputs, outputs, theta[None]).items()
    }
    seen = one(network, (2,), 2, np.concatenate([w1.ravel(), w2.ravel(), w3.ravel()]))
    root = lambda m: np.sqrt(np.maximum(np.linalg.eigvalsh(m)[::-1], 0))
    norms = [
        np.sqrt(sum(a * a for a in w1[i])) * np.sqrt(sum(a * a for a in w2[:, i])) for i in range(4)
    ]
    np.testing.assert_allclose(seen["unit_norms_0"], norms, rtol=1e-13)
    np.testing.assert_allclose(
        seen["unit_norms_1"],
        [np.linalg.norm(a) * np.linalg.norm(b) for a, b in zip(w2, w3, strict=True)],
        rtol=1e-13,
    )
    values = np.linalg.eigvalsh(w1.T @ w1)
    assert float(seen["alignment_0"]) == pytest.approx(values[-1] / values.sum(), rel=1e-12)
    product = w2 @ w1
    np.testing.assert_allclose(
        seen["product_singular_values_0"], root(product.T @ product), rtol=1e-9
    )
    stacked = np.concatenate([w2, w3], axis=1)
    np.testing.assert_allclose(seen["singular_values_1"], root(stacked @ stacked.T), rtol=1e-9)
    assert "singular_values_0" not in seen and "product_singular_values_1" not in seen
    relu = Network((Layer(dense("relu"), 3),))
    lined = np.array([1.0, 2, -2, -4, 3, 6, 1, 1, 1])
    for scale in (1.0, 1e-200, 1e200):
        assert float(one(relu, (2,), 1, scale * lined)["alignment_0"]) == pytest.approx(
            1.0, abs=1e-15
        )
    still = one(relu, (2,), 1, np.zeros(9))
    assert float(still["alignment_0"]) == 0.0
    for bad in (np.nan, np.inf):
        mixed = observe(relu, (2,), 1, np.array([lined, [bad, *lined[1:]], [*lined[:8], bad]]))
        assert all(np.isfinite(a[0]).all() and np.isnan(a[1].ravel()[0]) for a in mixed.values())
        assert np.isnan(mixed["singular_values_0"][1:]).all() and np.isnan(
            mixed["unit_norms_0"][2, 2]
        )
        assert mixed["alignment_0"][2] == mixed["alignment_0"][0]  # it is made of u alone
    assert np.isnan(one(relu, (2,), 1, np.full(9, 1e308))["singular_values_0"][0])  # it overflows


def test_norms_of_any_size():
    """(a) |u| |v| of weights whose squares underflow or overflow, beside usual ones, whose digits
    stay."""
    u = np.array([[3e-170, 4e-170], [3e-200, 4e-200], [3e200, 4e200], [0.3, 0.7], [0.0, 0.0]])
    v = np.array([[1.0], [1e200], [2e-190], [0.9], [1e300]])
    expected = [5e-170, 5.0, 1e11, np.sqrt(0.3**2 + 0.7**2) * 0.9, 0.0]
    found = unit_norms(u[None], v[None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert found[3] == unit_norms(u[None, 3:4], v[None, 3:4]).item()
    too_large = np.array([[[np.inf], [np.nan], [1e200]]])
    broken = unit_norms(too_large, np.array([[[1.0], [1.0], [1e200]]]))
    assert np.isnan(broken).all()


def test_observables_of_a_layer_without_units():
    """(a) No norms, no singular values, and an alignment of 0, as where all units are zero."""
    for name in ("relu", "linear"):
        found = observe(Network((Layer(dense(name), 0),)), (2,), 1, np.zeros((3, 0)))
        assert found["unit_norms_0"].shape == (3, 0)
        assert found["alignment_0"].tolist() == [0.0, 0.0, 0.0]
