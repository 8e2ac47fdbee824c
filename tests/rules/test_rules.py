"""Rules against closed forms and plain NumPy loops, step for step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import rules
from saddlery.basis.checks import InputError
from saddlery.basis.precision import precision_context
from saddlery.rules import RULES, Adam, GradientDescent, GradientFlow, Momentum
from saddlery.training import Stop
from saddlery.training.driver import run
from slowly import slowly

MATRIX = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
START = np.array([1.0, -2.0, 0.5])
TIGHT = GradientFlow(1e-10)
EVERY_STEP = {"resolution": 1e-12}


def bowl(theta, samples):
    return 0.5 * theta @ samples @ theta


def bent(theta, samples):
    """Neither quadratic nor symmetric."""
    return bowl(theta, samples) + 0.1 * jnp.sum(theta**4) + jnp.sin(theta[0])


def slope(theta):
    return MATRIX @ theta + 0.4 * theta**3 + np.array([np.cos(theta[0]), 0, 0])


def path(rule, steps, loss=bent):
    record = run(loss, jnp.asarray(MATRIX), START, rule, Stop(steps=steps), **EVERY_STEP)
    np.testing.assert_array_equal(record.step, np.arange(steps + 1))
    return record


# ------------------------------------------------------------ descent by loops
def test_gradient_descent():
    """(d) theta <- theta - eta g."""
    record, theta = path(GradientDescent(0.05), 30), START
    for k in range(30):
        np.testing.assert_allclose(record.states[k], theta, rtol=1e-13)
        theta = theta - 0.05 * slope(theta)
    np.testing.assert_allclose(record.flow_time, 0.05 * np.arange(31), rtol=1e-15)


def test_momentum():
    """(d) m <- beta m + g, theta <- theta - eta m."""
    record, theta, m = path(Momentum(0.02, momentum=0.8), 30), START, np.zeros(3)
    for k in range(31):
        np.testing.assert_allclose(record.states[k], theta, rtol=1e-12)
        m = 0.8 * m + slope(theta)
        theta = theta - 0.02 * m


def test_adam():
    """(d) Kingma & Ba (2015), Algorithm 1, epsilon 1e-8."""
    record, theta, m, v = (
        path(Adam(0.05, first=0.8, second=0.95), 30),
        START,
        np.zeros(3),
        np.zeros(3),
    )
    for k in range(31):
        np.testing.assert_allclose(record.states[k], theta, rtol=1e-11)
        g = slope(theta)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        theta = theta - 0.05 * (m / (1 - 0.8 ** (k + 1))) / (
            np.sqrt(v / (1 - 0.95 ** (k + 1))) + 1e-8
        )


@pytest.mark.parametrize(
    ("rate", "flow_time", "steps"), [(0.1, 1.0, 10), (0.1, 0.3, 3), (0.01, 0.58, 58), (0.3, 1.0, 4)]
)
def test_flow_time_of_descent_is_rate_times_steps(rate, flow_time, steps):
    """(a) ceil(T / eta) steps, without the extra one that a running sum of rates takes by
    rounding."""
    record = run(bowl, jnp.asarray(MATRIX), START, GradientDescent(rate), Stop(flow_time=flow_time))
    assert record.step[-1] == steps
    assert record.flow_time[-1] == pytest.approx(rate * steps, rel=1e-15)


# ------------------------------------------------------------------------ flow
@pytest.mark.parametrize("solver", slowly(["tsit5", "dopri8"], "dopri8"))
def test_exponential_decay(solver):
    """(a) theta(t) = exp(-M t) theta(0) at every saved time, and the last time is exact; (e) the
    error falls in proportion to the tolerance (exponent 1 within 0.25, over four decades)."""
    values, vectors = np.linalg.eigh(MATRIX)
    errors = []
    for tolerance in (1e-4, 1e-8):
        rule = GradientFlow(tolerance, solver=solver)
        record = run(bowl, jnp.asarray(MATRIX), START, rule, Stop(flow_time=np.pi))
        decay = np.exp(-np.outer(record.flow_time, values)) * (vectors.T @ START)
        errors.append(np.abs(record.states - decay @ vectors.T).max())
        assert errors[-1] < 5 * tolerance
        assert record.flow_time[-1] == np.pi and record.flow_time[0] == 0.0
        assert record.status == "stopped"
    assert 0.75 < np.log10(errors[0] / errors[1]) / 4 < 1.25


def linear_network(theta, samples):
    """1/2 |S - W2 W1|^2 with W1 and W2 of shape (3, 3)."""
    w1, w2 = theta.reshape(2, 3, 3)
    return 0.5 * jnp.sum((samples - w2 @ w1) ** 2)


def test_modes_of_a_linear_network():
    """(a) u_k(t) = s e^{2st}/(e^{2st} - 1 + s/u_0) from a balanced aligned start (Saxe, McClelland
    & Ganguli 2014)."""
    rng = np.random.default_rng(0)
    q, r = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    s, small = np.array([2.0, 1.0, 0.5]), 1e-4
    root = np.sqrt(small)
    theta = np.concatenate([(root * r.T).ravel(), (root * q).ravel()])
    record = run(linear_network, jnp.asarray((q * s) @ r.T), theta, TIGHT, Stop(flow_time=14.0))
    u = s / (1 + (s / small - 1) * np.exp(-2 * s * record.flow_time[:, None]))
    product = np.einsum(
        "tij,tjk->tik",
        record.states[:, 9:].reshape(-1, 3, 3),
        record.states[:, :9].reshape(-1, 3, 3),
    )
    found = np.einsum("ia,tij,ja->ta", q, product, r)
    assert np.abs(found - u).max() < 100 * TIGHT.relative_tolerance
    np.testing.assert_allclose(
        record.loss, 0.5 * np.sum((s - u) ** 2, axis=1), atol=300 * TIGHT.relative_tolerance
    )


def test_balancedness_is_conserved():
    """(c) W2'W2 - W1W1' stays what it was, along a generic path."""
    rng = np.random.default_rng(1)
    theta, target = 0.5 * rng.standard_normal(18), rng.standard_normal((3, 3))
    record = run(linear_network, jnp.asarray(target), theta, TIGHT, Stop(flow_time=5.0))
    w1, w2 = record.states[:, :9].reshape(-1, 3, 3), record.states[:, 9:].reshape(-1, 3, 3)
    balance = np.einsum("tki,tkj->tij", w2, w2) - np.einsum("tik,tjk->tij", w1, w1)
    assert np.abs(balance - balance[0]).max() < 1e-8
    assert np.abs(w1[-1] - w1[0]).max() > 0.1


def test_loss_falls_as_the_squared_gradient():
    """(b) dL/dt = -|g|^2: the trapezoidal integral of |g|^2 over saved points is the loss that was
    lost."""
    record = run(
        bent, jnp.asarray(MATRIX), START, GradientFlow(1e-13), Stop(flow_time=4.0), resolution=1e-9
    )
    lost = np.sum(
        np.diff(record.flow_time)
        * (record.gradient_norm[1:] ** 2 + record.gradient_norm[:-1] ** 2)
        / 2
    )
    assert lost == pytest.approx(record.loss[0] - record.loss[-1], rel=1e-4)
    assert np.all(np.diff(record.loss) < 0)


@pytest.mark.parametrize("solver", ["tsit5", "dopri8"])
def test_the_walker_knows_the_gradient_where_it_stands(solver):
    """(b) Also after a rejected attempt, which leaves it where it was."""
    rule, gradient = (
        GradientFlow(1e-6, solver=solver),
        lambda theta, key: jax.grad(bent)(theta, jnp.asarray(MATRIX)),
    )
    key = jax.random.key(0)
    walker = jax.jit(lambda theta: rule.start(theta, gradient, key))(jnp.asarray(START))
    inner = {**walker.inner, "end": jnp.asarray(5.0)}  # far too long a first step
    step, kept = jax.jit(lambda w: rule.advance(w, gradient, key, jnp.asarray(np.inf))), []
    walker = walker._replace(inner=inner)
    for _ in range(8):
        before = walker
        walker, keep = step(walker)
        kept.append(bool(keep))
        if not keep:
            np.testing.assert_array_equal(walker.theta, before.theta)
            assert float(walker.time) == float(before.time) and float(walker.inner["end"]) < float(
                before.inner["end"]
            )
        np.testing.assert_allclose(
            walker.gradient, slope(np.asarray(walker.theta)), rtol=1e-10, atol=1e-12
        )
    assert not kept[0] and any(kept)


def test_small_weights_are_followed_as_closely_as_large_ones():
    """(c) Weights of 1e-8 that grow exponentially have the same relative error as weights of 1."""
    errors = []
    for size in (1.0, 1e-8):
        record = run(
            bowl, -jnp.eye(2), size * np.array([1.0, -0.3]), GradientFlow(1e-6), Stop(flow_time=3.0)
        )
        errors.append(np.abs(record.states[-1] / size / np.exp(3.0) - [1.0, -0.3]).max())
    assert errors[1] == pytest.approx(errors[0], rel=1e-3) and errors[0] < 2e-6


@pytest.mark.parametrize("size", [1e-8, 1e-20, 1e-30])
def test_the_tolerance_of_a_weight_is_a_share_of_weights_of_any_size(size):
    """(a) rtol sqrt(mean theta^2), also where float32 holds no theta^2: the size of weights that
    are all zero, 1e-3, stood in for those of 1e-20."""
    with precision_context("float32"):
        theta = size * jnp.array([3.0, 4.0, 0.0])
        walker = GradientFlow(1e-6).start(theta, lambda theta, key: theta, None)
    share = float(walker.inner["floor"] / size)
    assert share == pytest.approx(1e-6 * np.sqrt(25 / 3), rel=1e-5, abs=0)


# --------------------------------------------------------------------- misuse
def test_options_round_trip():
    assert {
        "flow",
        "descent",
        "momentum",
        "adam",
        "sign",
        "normalised",
        "schatten",
        "spectral",
        "muon",
        "agf",
    } == set(RULES)
    for kind in RULES:
        rule = rules.make(kind)
        options = rule.options()
        assert rules.make(options.pop("kind"), **options) == rule and hash(rule) == hash(
            rules.make(kind)
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rules.make("adm"), "did you mean 'adam'"),
        (lambda: rules.make("descent", learning_rat=0.1), "did you mean 'learning_rate'"),
        (lambda: rules.make("flow", batch=3), "option of rule 'flow' 'batch' is not known"),
        (lambda: rules.make("momentum", momentum="a"), "momentum must be a finite number, got 'a'"),
        (lambda: GradientDescent(0.0), "learning_rate must be a finite number above zero"),
        (
            lambda: GradientDescent(0.1, batch=-1),
            "batch must be a whole number of at least 0, got -1; 0 takes all samples",
        ),
        (lambda: Momentum(0.1, momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda: Adam(first=1.0), "first must be a decay"),
        (lambda: Adam(second=-0.1), "second must be a decay"),
        (lambda: GradientFlow(0.0), "relative_tolerance must be a finite number above zero"),
        (lambda: GradientFlow(absolute_tolerance=-1.0), "absolute_tolerance"),
        (lambda: GradientFlow(solver="rk4"), "solver 'rk4' is not known"),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()
