"""Objectives: exact moments against the samples they came from, and the in-context formulas against
simulation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Moments, Network, draw_batch, loss_named, objective
from saddlery.networks.losses import LOSSES
from saddlery.networks.objectives import equivalent_samples, sample_moments
from saddlery.rules import GradientDescent
from saddlery.tasks import Arrays, InContextRegression, LinearTeacher
from saddlery.tasks.regression import population_moments, sample_prompts
from saddlery.training import Stop
from saddlery.training.driver import run
from saddlery.units import Lift, Symmetry, Unit, attention, convolution, dense, in_context

LINEAR = Symmetry(silent=True, homogeneous="real", linear=True, degree=1)
tokenwise = Unit(
    "tokenwise",
    lambda z, u: z * u,
    lambda shape: (shape[-1],),
    LINEAR,
    mixed=1,
    linear_in_input=True,
    example=(4, 3),
)
both = Unit(
    "both",
    lambda z, u: z @ u,
    lambda shape: shape,
    LINEAR,
    linear_in_input=True,
    lift=Lift("once", lambda z: z, lambda u: u),
)


def one(unit, width=3, **options):
    return Network((Layer(unit, width),), **options)


# name: (network, shape, shape of a target)
POLYNOMIAL = {
    "linear": (one(dense("linear")), (5,), (2,)),
    "linear, one of everything": (one(dense("linear"), 1), (1,), (1,)),
    "conv linear": (one(convolution("linear", (2,), 2)), (2, 5), (2,)),
    "deep linear": (
        Network((Layer(dense("linear"), 4, mixes=False), Layer(dense("linear"), 3))),
        (4,),
        (2,),
    ),
    "conv > linear": (
        Network((Layer(convolution("linear", (2,)), 3, mixes=False), Layer(dense("linear"), 2))),
        (1, 4),
        (1,),
    ),
    "residual linear": (
        Network((Layer(dense("linear"), 2, residual=True), Layer(dense("linear"), 3))),
        (3,),
        (2,),
    ),
    "residual readout": (
        Network((Layer(dense("linear"), 2, residual=True),), readout=True),
        (3,),
        (2,),
    ),
    "quadratic": (one(dense("quadratic")), (3,), (2,)),
    "cubic": (one(dense("cubic")), (3,), (1,)),
    "in context merged": (one(in_context("merged")), (5, 4), (1,)),
    "in context": (one(in_context("linear", 2)), (5, 4), (1,)),
    "one vector a token": (one(tokenwise), (3, 2), (3, 2)),
    "linear with a lift": (one(both), (3,), (2,)),
}


def made(name, seed=0, samples=40):
    network, shape, target = POLYNOMIAL[name]
    rng = np.random.default_rng(seed)
    data = Data(
        shape,
        target[-1],
        rng.standard_normal((samples, *shape)),
        rng.standard_normal((samples, *target)),
    )
    exact, sampled = objective(network, data, moments=True), objective(network, data, moments=False)
    theta, d = rng.standard_normal((2, exact.size))
    return exact, sampled, theta, d


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.max(np.abs(b)))


def derivatives(subject, theta, d):
    """Loss, gradient and Hessian-vector product as one program; the methods are held to loops
    below."""
    f = subject.function
    program = jax.jit(
        lambda t, e, data: (f(t, data), *jax.jvp(lambda x: jax.grad(f)(x, data), (t,), (e,)))
    )
    return program(theta, d, subject.samples)


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_moments_equal_their_samples(name):
    """(d) Loss, gradient and Hessian-vector product of the moments equal those of the samples, to
    1e-12 relative."""
    exact, sampled, theta, d = made(name)
    assert exact.exact != "samples" and sampled.exact == "samples"
    for mine, other in zip(
        derivatives(exact, theta, d), derivatives(sampled, theta, d), strict=True
    ):
        close(mine, other)


def test_moments_are_float64_whatever_the_context():
    """(d) An objective made in a float32 context has the same moments; training may be float32, the
    data are not."""
    network, shape, _ = POLYNOMIAL["quadratic"]
    rng = np.random.default_rng(0)
    data = Data(shape, 1, rng.standard_normal((30, 3)), rng.standard_normal((30, 1)))
    with jax.enable_x64(False):
        narrow = objective(network, data, moments=True)
    wide = objective(network, data, moments=True)
    np.testing.assert_array_equal(narrow.inputs, wide.inputs)
    assert narrow.inputs.shape == (6, 9)  # products z_i z_j and z_j z_i are one direction


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "float16", "float32", "float64"])
def test_samples_of_any_type_are_taken_as_they_are(dtype):
    """(d) The moments, and the loss by moments and by samples, are those of the same whole numbers
    in float64: sums of squares of uint8 ran over, those of float16 ended in a TypeError."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 100, (50, 3)), rng.integers(0, 100, (50, 1))
    linear = one(dense("linear"))
    expected = sample_moments(linear, Data((3,), 1, x.astype(float), y.astype(float)), "input")
    data = Data((3,), 1, x.astype(dtype), y.astype(dtype))
    assert sample_moments(linear, data, "input") == expected
    theta = rng.standard_normal(linear.count((3,), 1))
    exact, sampled = objective(linear, data), objective(linear, data, moments=False)
    assert exact.exact == "input"
    assert float(exact.loss(theta)) == pytest.approx(float(sampled.loss(theta)), rel=1e-12)
    assert exact.target_scale == pytest.approx(sampled.target_scale, rel=1e-12)


def test_more_samples_than_features_are_replaced():
    """Moments are used where they apply and save work, unless forbidden."""
    network, (d,), _ = POLYNOMIAL["linear"]
    rng = np.random.default_rng(1)
    for samples, exact in ((5, "samples"), (6, "input")):
        data = Data((d,), 2, rng.standard_normal((samples, d)), rng.standard_normal((samples, 2)))
        assert objective(network, data).exact == exact
        assert objective(network, data, moments=False).exact == "samples"


# ------------------------------------------------------------ a loss by loops
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_losses_by_loops(loss):
    """(d) Plain sums: 1/2 |y - f|^2 and -sum y log softmax(f), averaged over samples; derivatives
    by (f) differences."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((7, 3)), np.eye(4)[rng.integers(0, 4, 7)]
    subject = objective(one(dense("tanh"), 2), Data((3,), 4, x, y, loss=loss_named(loss)))
    theta, d = rng.standard_normal((2, subject.size))
    u, v = theta[:6].reshape(2, 3), theta[6:].reshape(2, 4)
    total = 0.0
    for row, target in zip(x, y, strict=True):
        f = sum(np.tanh(w @ row) * out for w, out in zip(u, v, strict=True))
        if loss == "squared":
            total += 0.5 * sum((a - b) ** 2 for a, b in zip(target, f, strict=True))
        else:
            total -= sum(a * (b - np.log(np.exp(f).sum())) for a, b in zip(target, f, strict=True))
    np.testing.assert_allclose(subject.loss(theta), total / 7, rtol=1e-13)
    h = 1e-5
    along = (subject.loss(theta + h * d) - subject.loss(theta - h * d)) / (2 * h)
    np.testing.assert_allclose(subject.gradient(theta) @ d, along, rtol=1e-8)
    bend = (subject.gradient(theta + h * d) - subject.gradient(theta - h * d)) / (2 * h)
    np.testing.assert_allclose(subject.hessian_vector(theta, d), bend, rtol=1e-6, atol=1e-8)


def test_target_scale_and_map_error_in_closed_form():
    """(a) sqrt(mean |y|^2), and the root-mean-square difference of two maps relative to it."""
    data = Data((1,), 2, np.ones((2, 1)), np.array([[3.0, 4.0], [0.0, 0.0]]))
    subject = objective(one(dense("relu")), data)
    assert subject.target_scale == pytest.approx(np.sqrt(12.5), rel=1e-15)
    assert subject.map_error(np.array([[1.0, 0], [0, 1]]), np.zeros((2, 2))) == pytest.approx(
        1 / np.sqrt(12.5), rel=1e-15
    )


# -------------------------------------------------------- equivalent samples
def test_equivalent_samples_have_the_moments():
    """(b) mean x x', mean y x' and mean |y|^2 + 2 constant are what was asked, also with a null
    direction."""
    rng = np.random.default_rng(3)
    for drop in (0, 2):
        a = rng.standard_normal((6, 5 - drop)) @ rng.standard_normal((5 - drop, 5))
        y = rng.standard_normal((6, 2))
        moments = Moments("input", a.T @ a / 6, y.T @ a / 6, float(np.sum(y**2) / 6))
        x, t, constant = equivalent_samples(moments)
        assert len(x) == 5 - drop
        np.testing.assert_allclose(x.T @ x / len(x), moments.features, atol=1e-13)
        np.testing.assert_allclose(t.T @ x / len(x), moments.cross, atol=1e-13)
        assert np.sum(t**2) / len(x) + 2 * constant == pytest.approx(moments.target, rel=1e-12)
        residual = y - a @ np.linalg.lstsq(a, y, rcond=None)[0]
        assert constant == pytest.approx(0.5 * np.sum(residual**2) / 6, rel=1e-10)


def counts_beside_flags(unit):
    """Targets that are a flag, beside a feature in much smaller units: populations, or incomes."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(3e7, 9e7, 60), rng.integers(0, 2, 60)], axis=1).astype(float)
    x[:, 0] *= 1.0 if unit == "linear" else 3e-3
    return x, x[:, 1:]


@pytest.mark.parametrize("unit", ["linear", "quadratic"])
def test_no_unit_of_measure_drops_a_feature(unit):
    """(d) All features are kept, whatever their units; the loss of the flag alone is zero, that of
    any state that of samples."""
    x, y = counts_beside_flags(unit)
    network, data = one(dense(unit), 2), Data((2,), 1, x, y)
    exact, sampled = objective(network, data), objective(network, data, moments=False)
    assert exact.exact != "samples" and len(exact.inputs) == (2 if unit == "linear" else 3)
    solution, rng = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0]), np.random.default_rng(1)
    assert float(exact.loss(solution)) == pytest.approx(0, abs=1e-15) and exact.constant == 0
    for _ in range(5):
        theta = rng.standard_normal(6) / np.array([x[0, 0], 1.0, x[0, 0], 1.0, 1.0, 1.0])
        assert float(exact.loss(theta)) == pytest.approx(float(sampled.loss(theta)), rel=1e-12)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_features_nearly_the_same_are_told_apart(gap):
    """(a) Targets of the difference of two features, of which their moments hold no digit: the best
    map explains all but what is orthogonal to both."""
    q = np.sqrt(50) * np.linalg.qr(np.random.default_rng(0).standard_normal((50, 3)))[0]
    x, y = np.stack([q[:, 0], q[:, 0] + gap * q[:, 1]], axis=1), q[:, 1:2] + 0.1 * q[:, 2:]
    subject = objective(one(dense("linear"), 2), Data((2,), 1, x, y))
    assert subject.exact == "input" and len(subject.inputs) == 2
    assert subject.constant == pytest.approx(0.005, rel=1e-6)


def test_stated_moments_in_units_of_their_own():
    """(b) mean x x' and mean y x' are what was asked, entry by entry, for features of sizes from 1
    to 1e12."""
    size, rng = np.array([1e12, 1.0, 1e5]), np.random.default_rng(2)
    a, y = rng.standard_normal((8, 3)) * size, rng.standard_normal((8, 2))
    moments = Moments("input", a.T @ a / 8, y.T @ a / 8, float(np.sum(y**2) / 8))
    x, t, constant = equivalent_samples(moments)
    assert len(x) == 3
    np.testing.assert_allclose(
        x.T @ x / len(x) / size / size[:, None], moments.features / size / size[:, None], atol=1e-13
    )
    np.testing.assert_allclose(t.T @ x / len(x) / size, moments.cross / size, atol=1e-13)
    residual = y - a @ (np.linalg.lstsq(a / size, y, rcond=None)[0] / size[:, None])
    assert constant == pytest.approx(0.5 * np.sum(residual**2) / 8, rel=1e-10)


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.ones((2, 3)), "symmetric"),
        (np.diag([1.0, -0.1]), "positive semi-definite, got 'a lowest eigenvalue of -1.00e-01'"),
        (np.zeros((2, 2)), "non-zero"),
    ],
)
def test_impossible_moments(features, message):
    with pytest.raises(InputError, match=message):
        equivalent_samples(Moments("input", features, np.zeros((1, len(features))), 1.0))


# ------------------------------------------------- in-context linear regression
def test_population_moments_by_simulation():
    """(d) 40,000 prompts: every moment of the cubic feature within 5 standard errors of its
    formula."""
    covariance = np.array([[0.5, 0.2], [0.2, 0.3]])
    exact = population_moments(covariance, 5)
    prompts, answers = sample_prompts(covariance, 5, 40_000, np.random.default_rng(4))
    x, y, query = prompts[:, :-1, :-1], prompts[:, :-1, -1], prompts[:, -1, :-1]
    b = np.einsum("pn,pnd->pd", y, x) / 5
    feature = np.einsum("pi,pj->pij", b, query).reshape(len(b), -1)
    for draws, value in (
        (np.einsum("pi,pj->pij", feature, feature), exact.features),
        (np.einsum("po,pj->poj", answers, feature), exact.cross),
        (np.sum(answers**2, axis=1), np.array(exact.target)),
    ):
        error = draws.std(axis=0) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - value) < 5 * error)
        assert np.all(error < 0.1 * np.abs(exact.features).max() + 0.01)  # the test is sharp


def saddle_loss(eigenvalues, length, learned):
    """Zhang et al. (2025), eq 19, with the half of our losses."""
    trace = sum(eigenvalues)
    parts = [
        v - (v / (1 + (1 + trace / v) / length) if k < learned else 0)
        for k, v in enumerate(eigenvalues)
    ]
    return 0.5 * sum(parts)


def test_saddle_losses_of_linear_attention():
    """(a) Rank-m minimizers over the merged weights lose what eq 19 says; reference numbers for
    (.4,.3,.2,.1), N = 31."""
    eigenvalues, length = (0.4, 0.3, 0.2, 0.1), 31
    reference = [1.0, 0.64057971, 0.37737216, 0.20980460, 0.13599507]
    data = InContextRegression(eigenvalues, length).data(0)
    subject = objective(one(in_context("linear"), 4), data)
    for m, twice in enumerate(reference):
        best = [
            v / (v + (v + sum(eigenvalues)) / length) for v in eigenvalues
        ]  # scale of Lambda^-1 e e'
        u, v = np.zeros((4, 2, 4, 1)), np.zeros((4, 1))
        for k in range(m):
            u[k, :, k, 0], v[k] = 1.0, best[k] / eigenvalues[k]
        theta = np.concatenate([u.ravel(), v.ravel()])
        assert float(subject.loss(theta)) == pytest.approx(
            saddle_loss(eigenvalues, length, m), rel=1e-13
        )
        assert 2 * float(subject.loss(theta)) == pytest.approx(twice, abs=5e-9)
        assert np.linalg.norm(subject.gradient(theta)) < 1e-14


@pytest.mark.parametrize("kind", ["merged", "linear"])
def test_training_from_statistics_equals_training_on_the_sequences(kind):
    """(d) 200 steps of gradient descent, step for step to 1e-10: statistics against the sequences
    they are of."""
    data = InContextRegression((0.7, 0.3), 6, sequences=50).data(1)
    network = one(in_context(kind), 4)
    theta = 0.3 * np.random.default_rng(5).standard_normal(objective(network, data).size)
    paths = []
    for moments in (False, True):
        subject = objective(network, data, moments=moments)
        record = run(
            subject.function,
            subject.samples,
            theta,
            GradientDescent(0.3),
            Stop(steps=200),
            resolution=1e-9,
        )
        assert len(record.loss) == 201
        paths.append(record)
    np.testing.assert_allclose(paths[0].states, paths[1].states, rtol=0, atol=1e-10)
    np.testing.assert_allclose(paths[0].loss, paths[1].loss, rtol=1e-10)
    assert paths[0].loss[-1] < 0.7 * paths[0].loss[0]  # it did learn


# --------------------------------------------------------- batches and networks
def test_batches_are_drawn_from_the_samples():
    """(c) Every row of a batch is a sample with its own target; the same key gives the same
    batch."""
    samples = (jnp.arange(5.0)[:, None], 10 * jnp.arange(5.0)[:, None], jnp.zeros(()))
    x, y, _ = draw_batch(samples, jax.random.key(0), 64)
    assert x.shape == (64, 1) and set(np.ravel(x)) == {0.0, 1.0, 2.0, 3.0, 4.0}
    np.testing.assert_array_equal(y, 10 * x)
    np.testing.assert_array_equal(x, draw_batch(samples, jax.random.key(0), 64)[0])


def test_the_same_data_for_another_width():
    """(c) A narrower network on the same equivalent samples: duplicating its unit gives the loss of
    the wider one."""
    for name in ("linear", "quadratic", "in context"):
        exact, _, _, _ = made(name)
        narrow = exact.with_network(exact.network.with_widths((1,)))
        theta = np.random.default_rng(6).standard_normal(narrow.size)
        u, v = (np.asarray(a) for a in (narrow.params(theta)[0]["u"], narrow.params(theta)[0]["v"]))
        wide = np.concatenate(
            [np.concatenate([u, u, u]).ravel(), np.concatenate([v, v, -v]).ravel()]
        )
        assert float(exact.loss(wide)) == pytest.approx(float(narrow.loss(theta)), rel=1e-12)


# --------------------------------------------------------------------- misuse
def gaussian(shape, outputs, loss="squared", targets=None):
    rng = np.random.default_rng(7)
    y = np.eye(outputs)[rng.integers(0, outputs, 30)] if targets is None else targets
    return Data(shape, outputs, rng.standard_normal((30, *shape)), y, loss=LOSSES[loss])


@pytest.mark.parametrize(
    ("network", "loss"),
    [
        (one(dense("relu")), "squared"),
        (one(dense("quadratic", True)), "squared"),
        (one(dense("linear")), "cross_entropy"),
        (
            Network((Layer(dense("linear"), 2, mixes=False), Layer(dense("quadratic"), 2))),
            "squared",
        ),
        (Network((Layer(dense("quadratic"), 2, residual=True),), readout=True), "squared"),
    ],
    ids=["relu", "bias", "cross-entropy", "deep quadratic", "readout"],
)
def test_moments_demanded_where_impossible(network, loss):
    data = gaussian((3,), 3, loss)
    with pytest.raises(InputError, match=r"moments were asked for.*train it on samples"):
        objective(network, data, moments=True)
    assert objective(network, data).exact == "samples"


def test_cross_entropy_never_uses_moments():
    """Also where the task states them."""
    given = gaussian((3,), 3)
    moments = sample_moments(one(dense("linear")), given, "input")
    data = Data((3,), 3, given.inputs, given.targets, moments, LOSSES["cross_entropy"])
    assert objective(one(dense("linear")), data).exact == "samples"
    with pytest.raises(InputError, match="moments of the feature 'input' only"):
        objective(
            one(dense("linear")), Data((3,), 3, moments=moments, loss=LOSSES["cross_entropy"])
        )


def stated_alone():
    """Moments without samples."""
    return LinearTeacher((1.0,), noise=0.1).data(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Data((3,), 1), "data must be samples or moments, got neither"),
        (
            lambda: Data((1,), 1, np.zeros((0, 1)), np.zeros((0, 1))),
            "inputs must be a non-empty array",
        ),
        (
            lambda: Data((1,), 1, np.ones((2, 1)), np.array([[1.0], [np.nan]])),
            r"targets must be finite, got nan at index \(1, 0\)",
        ),
        (
            lambda: Data((1,), 1, np.array([["a"]]), np.ones((1, 1))),
            "inputs must be an array of real numbers",
        ),
        (lambda: Data((1,), 1, np.ones((3, 1)), np.ones((2, 1))), "equally many, got '3 and 2'"),
        (lambda: Data((1,), 1, np.ones((3, 1))), "inputs and targets, got no targets; give both"),
        (lambda: Data((1,), 1, targets=np.ones((3, 1))), "got no inputs; give both"),
        (
            lambda: Data((2,), 1, np.ones((3, 4)), np.ones((3, 1))),
            r"every input must be of the stated shape \(2,\), got \(4,\)",
        ),
        (
            lambda: sample_moments(one(dense("linear")), stated_alone(), "input"),
            "must state samples",
        ),
        (
            lambda: Data(
                (1,), 1, np.ones((3, 1)), 2 * np.ones((3, 1)), loss=LOSSES["cross_entropy"]
            ),
            "one-hot rows",
        ),
        (
            lambda: Data(
                (1,), 2, np.ones((1, 1)), np.array([[2.0, -1.0]]), loss=LOSSES["cross_entropy"]
            ),
            "probabilities",
        ),
        (
            lambda: objective(one(dense("relu")), InContextRegression().data(0)),
            "moments of the feature 'in-context' only",
        ),
        (
            lambda: objective(one(dense("relu")), LinearTeacher((1.0,), noise=0.1).data(0)),
            "noise = 0 for a linear teacher",
        ),
        (
            lambda: objective(one(attention("linear")), gaussian((4, 3), 3)),
            r"targets' shape \(3,\), got \(4, 3\); check",
        ),
        (
            lambda: objective(one(dense("linear"), reads="last"), gaussian((3,), 3)),
            "check `outputs`, `reads`",
        ),
        (
            lambda: objective(
                one(dense("quadratic"), reads="last"), gaussian((3,), 3), moments=True
            ),
            "of 3 numbers",
        ),
        (lambda: loss_named("squard"), "did you mean 'squared'"),
        (lambda: Arrays().data(0), "inputs must be the path of a file"),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_list_of_numbers_will_do():
    subject = Experiment.named("linear").objective()
    theta = np.linspace(-1, 1, subject.size)
    for function in (subject.loss, subject.gradient, subject.predictions):
        np.testing.assert_array_equal(function(theta.tolist()), function(theta))
    with pytest.raises(InputError, match="theta must be a list of numbers, got 'all'"):
        subject.loss("all")
