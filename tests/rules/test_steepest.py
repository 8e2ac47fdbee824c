"""Rules under other norms: step for step against NumPy, their defining property, and what they do
to the order of learning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from own_units import HEAD, KERNEL
from saddlery import Experiment, Initialization, train
from saddlery.basis.checks import InputError
from saddlery.basis.precision import precision_context
from saddlery.networks import Data, Layer, Network, objective, unflatten
from saddlery.rules import Muon, NormalisedDescent, SchattenDescent, SignDescent, SpectralDescent
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop
from saddlery.units import make

RNG = np.random.default_rng(0)


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


# ------------------------------------------------------------------- any gradient
OF_ANY_SIZE = {
    "normalised": lambda: NormalisedDescent(0.1).transformation(),
    "schatten p = 1.1": lambda: SchattenDescent(0.1, p=1.1).on_matrices(),
    "schatten p = 4": lambda: SchattenDescent(0.1, p=4.0).on_matrices(),
    "schatten p = 50": lambda: SchattenDescent(0.1, p=50.0).on_matrices(),
    "spectral": lambda: SpectralDescent(0.1).on_matrices(),
    "muon": lambda: Muon(0.1).on_matrices(),
}
# Near the ends of the type: |g|^2 is no number of it.
ENDS = [
    ("float32", 2.0**-110),
    ("float32", 2.0**100),
    ("float64", 2.0**-900),
    ("float64", 2.0**900),
]


@pytest.mark.parametrize("name", OF_ANY_SIZE)
@pytest.mark.parametrize(("precision", "size"), ENDS)
def test_a_step_is_the_same_at_any_size_of_the_gradient(name, precision, size):
    """(c) Rules at unit norm: c g moves the weights as g does. Three steps, since Muon has a
    memory; both sides are computed in the same type."""
    rng = np.random.default_rng(0)
    slopes = rng.standard_normal((3, 2, 3, 3))

    def steps(c):
        rule = OF_ANY_SIZE[name]()
        state, found = rule.init((jnp.zeros((2, 3, 3)),)), []
        for slope in slopes:
            (step,), state = rule.update((c * jnp.asarray(slope),), state)
            found.append(np.asarray(step))
        return np.array(found)

    with precision_context(precision):
        usual, found = steps(1.0), steps(size)
    assert found.dtype == precision and np.abs(usual).max() > 0.01
    np.testing.assert_allclose(found, usual, atol=100 * np.finfo(precision).eps)


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_where_the_gradient_is_zero_nothing_moves(name):
    """(a) A matrix that nothing depends on, beside one that moves: 0/0 made all weights no
    number."""
    slope = jnp.stack([jnp.zeros((3, 2)), jnp.ones((3, 2))])
    rule = OF_ANY_SIZE[name]()
    (step,), _ = rule.update((slope,), rule.init((slope,)))
    assert np.all(step[0] == 0) and np.all(step[1] < 0)


# ------------------------------------------------------------- every tensor of a unit
def on_dense(f, u, v):
    """The matrix of all neurons; the bias is a vector of its own, not a row of it."""
    weight, bias = f(u[:, :-1].T).T, f(u[:, -1:].T).T
    return np.hstack([weight, bias]), f(v)


def on_kernels(f, u, v):
    """A kernel is a column, whatever its shape; the features of all kernels are inputs of v."""
    columns = f(u.reshape(len(u), -1).T)
    return columns.T.reshape(u.shape), f(v.reshape(-1, v.shape[-1])).reshape(v.shape)


def on_own_kernels(f, u, v):
    """Kernel and bias, apart."""
    kernel, bias = on_kernels(f, u[:, :-1], v)[0], f(u[:, -1:].T).T
    return np.hstack([kernel, bias]), f(v.reshape(-1, v.shape[-1])).reshape(v.shape)


def each(f, matrices):
    return np.array([f(matrix) for matrix in matrices])


def on_keys_and_queries(f, u):
    """Key and query of one head after the other."""
    return np.array([each(f, head) for head in u])


def on_heads(f, u, v):
    return on_keys_and_queries(f, u), each(f, v)


def on_merged_heads(f, u, v):
    return each(f, u), each(f, v)


def on_prompt_heads(f, u, v):
    """The scalars of all heads are one matrix."""
    return on_keys_and_queries(f, u), f(v)


def on_own_heads(f, u, v):
    """Query, key, value (3, 2) lie in u one after the other."""
    parts = [each(f, u[:, start : start + 6].reshape(-1, 3, 2)) for start in (0, 6, 12)]
    return np.hstack([part.reshape(-1, 6) for part in parts]), each(f, v)


CASES = {
    "bias": (make("tanh", bias=True), (4,), on_dense),
    "kernels": (make("conv_relu", kernel=(2, 2)), (2, 4, 3), on_kernels),
    "heads": (make("attention_softmax", rank=2), (4, 3), on_heads),
    "merged heads": (make("attention_merged"), (4, 3), on_merged_heads),
    "prompt heads": (make("in_context_linear", rank=2), (6, 4), on_prompt_heads),
    "own kernels": (KERNEL, (2, 5), on_own_kernels),
    "own heads": (HEAD, (4, 3), on_own_heads),
}


def subject_of(unit, shape):
    """An objective of three units on random data, and random weights; heads on tokens are read at
    the last one."""
    rng = np.random.default_rng(1)
    tokens = unit.name.startswith(("attention", "own_head"))
    network = Network((Layer(unit, 3),), reads="last" if tokens else "all")
    data = Data(shape, 2, rng.standard_normal((20, *shape)), rng.standard_normal((20, 2)))
    theta = rng.standard_normal(network.count(shape, 2))
    return objective(network, data, moments=False), theta


def newton_schulz(g, steps=5):
    """Jordan et al. (2024): a quintic iteration from g / |g|."""
    x = g / np.linalg.norm(g)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


@pytest.mark.parametrize("name", CASES)
def test_three_steps_of_muon_by_a_loop_over_tensors(name):
    """(d) Nesterov momentum, both averages without their bias, and the iteration, in NumPy."""
    unit, shape, on_tensors = CASES[name]
    subject, theta = subject_of(unit, shape)
    rate, beta = 0.01, 0.9
    rule = Muon(rate, momentum=beta).bound(subject.parts)
    gradient = lambda theta, _: subject.gradient(theta)
    walker = rule.start(jnp.asarray(theta), gradient, jax.random.key(0))
    average = np.zeros_like(theta)
    for step in (1, 2, 3):
        g = np.asarray(subject.gradient(theta))
        average = beta * average + (1 - beta) * g
        ahead = beta * average / (1 - beta ** (step + 1)) + (1 - beta) * g / (1 - beta**step)
        (parts,) = subject.params(ahead)
        u, v = on_tensors(newton_schulz, parts["u"], parts["v"])
        theta = theta - rate * np.concatenate([u.ravel(), v.ravel()])
        walker, _ = rule.advance(walker, gradient, jax.random.key(0), jnp.asarray(np.inf))
        np.testing.assert_allclose(walker.theta, theta, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_a_step_of_spectral_descent_by_a_loop_over_tensors(name):
    """(d) Again in NumPy, matrix by matrix."""
    unit, shape, on_tensors = CASES[name]
    subject, theta = subject_of(unit, shape)
    (slopes,) = subject.params(np.asarray(subject.gradient(theta)))
    u, v = on_tensors(polar, slopes["u"], slopes["v"])
    expected = theta - 0.01 * np.concatenate([u.ravel(), v.ravel()])
    np.testing.assert_allclose(stepped(SpectralDescent(0.01), subject, theta), expected, atol=1e-12)


def stepped(rule, subject, theta):
    """The weights after one step of a rule."""
    bound = rule.bound(subject.parts)
    gradient = lambda theta, _: subject.gradient(theta)
    walker = bound.start(jnp.asarray(theta), gradient, jax.random.key(0))
    moved, _ = bound.advance(walker, gradient, jax.random.key(0), jnp.asarray(np.inf))
    return np.asarray(moved.theta)


@pytest.mark.parametrize("name", ["own kernels", "own heads", "heads", "kernels"])
def test_the_step_of_every_tensor_is_orthogonal(name):
    """(c) W'W is the identity (of the shorter side): exactly for spectral descent, to 0.5 for
    Muon."""
    unit, shape, _ = CASES[name]
    subject, theta = subject_of(unit, shape)
    for rule, room in ((SpectralDescent(0.01), 1e-9), (Muon(0.01, momentum=0.0), 0.5)):
        update = (stepped(rule, subject, theta) - theta) / 0.01
        (views,) = subject.tensors.views(update)
        if subject.network.layers[0].unit.own_matrices:
            matrices = [one for array in views.values() for one in array]
        else:
            columns = [views.pop("kernel").reshape(3, -1)]
            columns += [views.pop("bias")[:, None]] if "bias" in views else []
            matrices = [*columns, views["v"].reshape(-1, views["v"].shape[-1])]
        for matrix in matrices:
            values = np.linalg.svd(matrix, compute_uv=False)
            assert np.all(np.abs(values - 1) < room)


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
