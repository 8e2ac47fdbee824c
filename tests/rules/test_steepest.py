"""Rules under other norms: step for step against NumPy, their defining property, and what they do
to the order of learning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, Initialization, train
from saddlery.basis.checks import InputError
from saddlery.networks import Layer, Network, flatten, unflatten
from saddlery.networks.network import weight_matrices
from saddlery.rules import Muon, NormalisedDescent, SchattenDescent, SignDescent, SpectralDescent
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop
from saddlery.units import make

RNG = np.random.default_rng(0)


# ------------------------------------------------------------- where matrices are
@pytest.mark.parametrize(
    ("unit", "shape"),
    [
        ("linear", (4,)),
        ("conv_relu", (1, 6)),
        ("in_context_linear", (6, 4)),
        ("in_context_merged", (6, 4)),
        ("attention_linear", (5, 3)),
    ],
)
def test_matrices_cover_all_weights_once(unit, shape):
    """(b) Taking and putting back is the identity, and no weight is in two matrices."""
    network = Network((Layer(make(unit), 5),))
    size = network.count(shape, 2)
    theta = jnp.arange(size, dtype=float)
    found = weight_matrices(network, shape, 2)
    assert sum(np.prod(m.stack) for m in found) == size
    np.testing.assert_array_equal(np.concatenate([m.put(m.take(theta)) for m in found]), theta)


def test_matrices_are_those_of_the_formula():
    """(a) Inputs by units, units by outputs; keys of all heads side by side, queries likewise."""
    dense = Network((Layer(make("linear"), 5),))
    u, v = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 2))
    first, second = (
        m.take(jnp.asarray(flatten(({"u": u, "v": v},)))) for m in weight_matrices(dense, (4,), 2)
    )
    np.testing.assert_array_equal(first[0], u.T.astype(np.asarray(first).dtype))
    np.testing.assert_array_equal(second[0], v.astype(np.asarray(first).dtype))
    heads = Network((Layer(make("in_context_linear", rank=2), 5),))
    u, v = RNG.standard_normal((5, 2, 3, 2)), RNG.standard_normal((5, 1))
    stack = weight_matrices(heads, (6, 4), 1)[0].take(jnp.asarray(flatten(({"u": u, "v": v},))))
    assert stack.shape == (2, 3, 10)
    np.testing.assert_array_equal(stack[1][:, 4:6], u[2, 1].astype(np.asarray(stack).dtype))


# ------------------------------------------------------------------ step for step
def two_steps(rule):
    """The weights of a linear network after 0, 1, 2 steps, its matrices and its gradient as NumPy
    functions."""
    e = Experiment.named("linear")
    e = e.replace(
        network=e.network.with_widths([4]),
        initialization=Initialization(scale=0.3),
        rule=rule,
        stop=Stop(steps=2),
    )
    run = train(e)
    with jax.enable_x64(True):
        subject = run.objective()
        gradient = lambda theta: np.asarray(subject.gradient(theta))
        split = lambda theta: [
            np.asarray(a)
            for p in unflatten(e.network, theta, (2,), 2)
            for _, a in sorted(p.items())
        ]
        states = np.asarray(run.trajectory.states)
        return (
            states,
            [split(gradient(theta)) for theta in states],
            [split(theta) for theta in states],
        )


def polar(g):
    a, _, bt = np.linalg.svd(g, full_matrices=False)
    return a @ bt


@pytest.mark.parametrize(
    "rule", [SignDescent(0.01), SpectralDescent(0.01), SchattenDescent(0.01, p=3.0)]
)
def test_two_steps_of_rules_that_treat_matrices_alone(rule):
    """(d) Again in NumPy. The transpose of u makes no difference to functions of singular
    values."""

    def direction(g):
        if isinstance(rule, SignDescent):
            return np.sign(g)
        if isinstance(rule, SpectralDescent):
            return polar(g)
        a, s, bt = np.linalg.svd(g, full_matrices=False)
        q = 1.5
        return a @ np.diag(s ** (q - 1) / np.sum(s**q) ** ((q - 1) / q)) @ bt

    _, slopes, weights = two_steps(rule)
    for k in range(2):
        for after, before, g in zip(weights[k + 1], weights[k], slopes[k], strict=True):
            np.testing.assert_allclose(after, before - 0.01 * direction(g), atol=1e-12)


def test_two_steps_of_normalised_descent():
    states, slopes, _ = two_steps(NormalisedDescent(0.01))
    for k in range(2):
        g = np.concatenate([s.ravel() for s in slopes[k]])
        np.testing.assert_allclose(
            states[k + 1], states[k] - 0.01 * g / np.linalg.norm(g), atol=1e-13
        )
        assert np.linalg.norm(states[k + 1] - states[k]) == pytest.approx(0.01)


def test_a_schatten_step_is_steepest():
    """(a) Of all steps of Schatten-p norm one none lowers the linear model more: <g, D> is the dual
    norm |s|_q."""
    g, p = RNG.standard_normal((1, 5, 3)), 4.0
    q = p / (p - 1)
    with jax.enable_x64(True):
        rule = SchattenDescent(1.0, p=p).on_matrices()
        step = -np.asarray(rule.update((jnp.asarray(g),), rule.init((jnp.asarray(g),)))[0][0])
    s = np.linalg.svd(g[0], compute_uv=False)
    assert np.sum(g * step) == pytest.approx(np.sum(s**q) ** (1 / q), rel=1e-12)
    assert np.sum(np.linalg.svd(step[0], compute_uv=False) ** p) == pytest.approx(1, rel=1e-12)


def test_schatten_lies_between_normalised_and_spectral():
    """(b) p = 2 is the gradient over its Frobenius norm; large p tends to the polar factor."""
    g = jnp.asarray(RNG.standard_normal((1, 4, 4)))
    step = lambda rule: (
        -np.asarray(rule.on_matrices().update((g,), rule.on_matrices().init((g,)))[0][0][0])
    )
    np.testing.assert_allclose(
        step(SchattenDescent(1.0, p=2.0)), g[0] / jnp.linalg.norm(g), atol=1e-5
    )
    np.testing.assert_allclose(
        step(SchattenDescent(1.0, p=1e7)), polar(np.asarray(g[0])), atol=1e-4
    )


def test_muon_orthogonalises_large_and_not_small_singular_values():
    """(a) Five Newton-Schulz steps: 0.7-1.2 for singular values above 1e-2 of the norm, far less
    below 1e-3."""
    a, b = (np.linalg.qr(RNG.standard_normal((6, 6)))[0] for _ in range(2))
    s = np.array([1.0, 0.3, 0.1, 0.02, 1e-3, 1e-5])
    with jax.enable_x64(True):
        g = jnp.asarray(a @ np.diag(s) @ b.T)[None]
        rule = Muon(1.0, momentum=0.0).on_matrices()
        step = -np.asarray(rule.update((g,), rule.init((g,)))[0][0][0])
    found = np.diag(a.T @ step @ b)
    assert np.all((found[:4] > 0.6) & (found[:4] < 1.25))
    assert found[4] < 0.6 and found[5] < 0.01


def test_muon_does_not_stop_at_a_saddle():
    """A step is as long where the gradient is 1e-12: optax's default epsilon would make it nothing
    there."""
    with jax.enable_x64(True):
        g = jnp.asarray(RNG.standard_normal((1, 3, 3)))
        rule = Muon(1.0).on_matrices()
        steps = [np.asarray(rule.update((c * g,), rule.init((g,)))[0][0]) for c in (1.0, 1e-12)]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-10)


# --------------------------------------------------------------- order of learning
def learning_times(rule, steps):
    """When each of two modes reaches half of its strength, in flow time."""
    e = Experiment.named("linear").replace(
        task=LinearTeacher((1.0, 0.3)), initialization=Initialization(scale=1e-3), rule=rule
    )
    run = train(e.replace(stop=Stop(steps=steps)))
    with jax.enable_x64(True):
        q, s, rt = np.linalg.svd(e.task.data(0).moments.cross)
        subject = run.objective()
        params = [subject.params(np.asarray(state))[0] for state in run.trajectory.states]
        strengths = np.array(
            [np.diag(q.T @ np.asarray(p["v"]).T @ np.asarray(p["u"]) @ rt.T) for p in params]
        )
    return [
        run.trajectory.flow_time[np.flatnonzero(strengths[:, k] > s[k] / 2)[0]] for k in range(2)
    ]


def test_normalised_descent_keeps_the_order_and_spectral_descent_reverses_it():
    strong, weak = learning_times(NormalisedDescent(1e-3), 8000)
    assert strong < weak
    strong, weak = learning_times(SpectralDescent(1e-3), 3000)
    assert weak < strong
    assert weak / strong == pytest.approx(
        np.sqrt(0.3), rel=0.1
    )  # each matrix grows by eta a step: sqrt(s/2) / eta


def test_misuse():
    with pytest.raises(InputError, match="p must be above 1, got 1"):
        SchattenDescent(p=1.0)
    with pytest.raises(InputError, match="call bound"):
        SpectralDescent().transformation()
    with pytest.raises(InputError, match="momentum must be at least 0 and below 1"):
        Muon(momentum=1.0)
