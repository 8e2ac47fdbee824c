"""Losses of one's own: what is refused where they are registered, and that a multiple of the
squared loss makes the same multiple of everything."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from registries import kept
from saddlery import Experiment, train
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, hessian, loss_named, objective
from saddlery.networks.losses import LOSSES, SQUARED, Loss, check_loss, register
from saddlery.networks.rounding import Change
from saddlery.saddles import certify_state
from saddlery.saddles.deep_linear import free_chain, least_loss
from saddlery.tasks import Arrays
from saddlery.training import Stop
from saddlery.units import dense, diagonal

MEAN = Loss("mean_squared", lambda y, f: jnp.mean((y - f) ** 2), quadratic=True)  # c = 2 / outputs


def test_a_loss_of_ones_own():
    with kept():
        mine = register(Loss("own_cauchy", lambda y, f: jnp.sum(jnp.log1p((y - f) ** 2))))
        assert loss_named("own_cauchy") is mine and "own_cauchy" in list(LOSSES)
        with pytest.raises(InputError, match="a loss named 'own_cauchy' exists already"):
            register(mine)
    assert "own_cauchy" not in LOSSES


@pytest.mark.parametrize("loss", [*LOSSES.values(), MEAN], ids=str)
def test_what_ships_is_what_a_loss_has_to_be(loss):
    check_loss(loss)


@pytest.mark.parametrize(
    "loss",
    [
        Loss("logistic", lambda y, f: jnp.sum(jax.nn.softplus(-y * f))),
        Loss("log_cosh", lambda y, f: jnp.sum(jnp.log(jnp.cosh(y - f)))),
        Loss(
            "deviance",
            lambda y, f: jnp.sum(jnp.exp(f) - y * f + y * jnp.log(y) - y),
            example=(1, 2),
        ),
        Loss("quartic", lambda y, f: jnp.sum((y - f) ** 4)),
        Loss("classes", lambda y, f: jnp.log(jnp.sum(jnp.exp(f))) - f[0]),  # constant of one output
    ],
    ids=str,
)
def test_other_smooth_losses_are_accepted(loss):
    check_loss(loss)


def rounded(y, f):
    return jnp.sum(jnp.round(y - f) ** 2)


def huber(y, f):
    r = jnp.abs(y - f)
    return jnp.sum(jnp.where(r < 1, 0.5 * r**2, r - 0.5))


def stopped(y, f):
    return jnp.sum(jax.lax.stop_gradient((f - y) ** 2) * (1 + 0.01 * f**2))


REFUSED = {
    "zero gradient": (rounded, {}, "differentiable in f, got a gradient of zero wherever"),
    "whole numbers": (
        lambda y, f: jnp.sum(jnp.argmax(y) != jnp.argmax(f)),
        {},
        "gives one real number, got int",
    ),
    "no scalar": (lambda y, f: (y - f) ** 2, {}, r"one real number, got float64 of shape \(3,\)"),
    "nothing": (lambda y, f: None, {}, "one real number, got NoneType"),
    "raises": (lambda y, f: 1 / 0, {}, "got ZeroDivisionError: division by zero"),
    "not JAX": (lambda y, f: float(f[0]), {}, "one real number, got Concretization"),
    "raises on the gradient": (
        lambda y, f: jax.pure_callback(lambda r: np.sum(r**2), jnp.zeros(()), y - f),
        {},
        "differentiable in f by JAX, got ValueError",
    ),
    "wrong gradient": (stopped, {}, "got a derivative of .* where differences give .*; correct"),
    "not finite": (lambda y, f: jnp.sum(jnp.log(f)), {}, "finite with its gradient at"),
    "kink at the target": (lambda y, f: jnp.linalg.norm(y - f), {}, "gradient of up to nan"),
    "kink of the curvature": (huber, {}, "twice differentiable in f, got a jump of its curvature"),
    "below zero": (
        lambda y, f: jnp.sum((y - f) ** 2) - 0.1,
        {},
        "at least zero, got -0.1 at its least; add a constant",
    ),
    "no bound": (lambda y, f: jnp.sum(f), {}, "at least zero, got -"),
    "not quadratic": (
        lambda y, f: jnp.sum(jnp.log(jnp.cosh(y - f))),
        {"quadratic": True},
        r"c/2 \|y - f\|\^2 as declared quadratic, .*; leave out quadratic=True",
    ),
    "weighted": (
        lambda y, f: jnp.sum(jnp.arange(1, 1 + len(y)) * (y - f) ** 2),
        {"quadratic": True},
        "as declared quadratic",
    ),
    "an example that is none": (rounded, {"example": ("a",)}, "example of a loss must be a list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    function, options, words = REFUSED[name]
    with pytest.raises(InputError, match=words) as refusal:
        check_loss(Loss("mine", function, **options))
    assert "\n" not in str(refusal.value)


def test_no_loss_at_all():
    with pytest.raises(InputError, match="a loss must be a Loss, got 3"):
        register(3)


def test_targets_that_a_loss_does_not_admit():
    def positive(targets):
        if np.min(targets) <= 0:
            raise InputError("targets must be positive counts")

    counts = Loss("counts", lambda y, f: jnp.sum(jnp.exp(f) - y * f), admit=positive)
    with pytest.raises(InputError, match="positive counts"):
        Data((1,), 1, np.ones((2, 1)), np.array([[1.0], [0.0]]), loss=counts)


# --------------------------------------------------- a multiple of the squared loss
def problem(loss, network, samples=40, outputs=3):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((samples, 4))
    y = x @ rng.standard_normal((4, outputs)) + 0.1 * rng.standard_normal((samples, outputs))
    return objective(network, Data((4,), outputs, x, y, loss=loss))


def one(unit, width=2):
    return Network((Layer(unit, width),))


@pytest.mark.parametrize("name", ["linear", "tanh", "quadratic"])
def test_a_multiple_of_the_squared_loss(name):
    """(c) Loss, gradient, Hessian and changes are 2/3 of those of the squared loss, whose natural
    weights are the same; with moments as with samples."""
    mine, squared = (problem(loss, one(dense(name))) for loss in (MEAN, SQUARED))
    assert mine.exact == squared.exact and (name == "tanh") == (mine.exact == "samples")
    rng = np.random.default_rng(0)
    theta, other = 0.3 * rng.standard_normal((2, mine.size))
    third = lambda value: np.asarray(value) * 2 / 3
    np.testing.assert_allclose(mine.loss(theta), third(squared.loss(theta)), rtol=1e-13)
    np.testing.assert_allclose(mine.gradient(theta), third(squared.gradient(theta)), atol=1e-13)
    np.testing.assert_allclose(hessian(mine, theta), third(hessian(squared, theta)), atol=1e-12)
    changes = [Change(subject, theta)(other) for subject in (mine, squared)]
    assert changes[0] == pytest.approx(third(changes[1]), rel=1e-12)
    assert mine.unseen == pytest.approx(squared.unseen, rel=1e-12)
    assert mine.scales.weights == pytest.approx(squared.scales.weights, rel=1e-6)


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_the_hessian_of_a_multiple_by_jax(name):
    """(d) jax.hessian of the mean over samples."""
    subject = problem(MEAN, one(dense(name)))
    theta = 0.3 * np.random.default_rng(1).standard_normal(subject.size)
    by_jax = jax.hessian(lambda t: subject.function(t, subject.samples))(jnp.asarray(theta))
    np.testing.assert_allclose(hessian(subject, theta), by_jax, atol=1e-12)


def test_the_least_loss_and_the_chain_of_a_multiple():
    """(c) 2/3 of those of the squared loss; the chain's direction is the same."""
    deep = Network((Layer(dense("linear"), 2, mixes=False), Layer(dense("linear"), 2)))
    mine, squared = (problem(loss, deep) for loss in (MEAN, SQUARED))
    found = [least_loss(subject) for subject in (mine, squared)]
    assert found[0].rank == found[1].rank == 2
    assert found[0].loss == pytest.approx(found[1].loss * 2 / 3, rel=1e-12)
    chains = [free_chain(subject, np.zeros(subject.size)) for subject in (mine, squared)]
    assert chains[0].order == chains[1].order
    assert chains[0].value == pytest.approx(chains[1].value * 2 / 3, rel=1e-12)


def test_certificates_of_a_multiple_are_those_of_the_squared_loss():
    """(c) At the origin of a linear network."""
    mine, squared = (problem(loss, one(dense("linear"))) for loss in (MEAN, SQUARED))
    certificates = [certify_state(s, np.zeros(s.size)) for s in (mine, squared)]
    assert [c.verdict for c in certificates] == ["strict saddle"] * 2
    assert certificates[0].index == certificates[1].index
    rates = [c.escape_rate for c in certificates]
    assert rates[0] == pytest.approx(rates[1] * 2 / 3, rel=1e-9)


def test_theories_of_the_squared_loss_do_not_speak_of_a_multiple(monkeypatch):
    """Their times would be those of another loss."""
    from dataclasses import replace

    from saddlery import Experiment
    from saddlery.predictions import THEORIES, DoesNotApply
    from saddlery.tasks import LinearTeacher

    data = LinearTeacher.data
    monkeypatch.setattr(
        LinearTeacher, "data", lambda self, seed: replace(data(self, seed), loss=MEAN)
    )
    experiment = Experiment.named("linear").replace(seed=91)  # whose data nobody keeps
    for theory in ("linear modes", "exact linear path"):
        with pytest.raises(DoesNotApply, match="the loss is mean_squared, not squared"):
            THEORIES[theory](experiment)


def test_diagonal_units_have_a_factor_too():
    """(b) The factor is that of the output's shape."""
    subject = problem(MEAN, one(diagonal(), 4), outputs=1)
    assert subject.function.loss.factor((1,)) == 2 and MEAN.factor((4,)) == 0.5
    assert SQUARED.factor((7, 3)) == 1.0


def test_an_admit_that_answers_is_refused():
    """A predicate would be passed over, and targets that have no such loss be trained on."""
    said = Loss("answers", lambda y, f: jnp.sum((y - f) ** 2), admit=lambda targets: False)
    with pytest.raises(
        InputError, match="`admit` of loss 'answers' must be a function that returns"
    ):
        Data((1,), 1, np.ones((2, 1)), np.ones((2, 1)), loss=said)


def test_a_loss_that_falls_below_its_bound_says_so(tmp_path):
    """Registration looks for minima by descent from a few outputs: a dip elsewhere is met by the
    run. (a) exp(-(f - 30)^2) lowers this loss to about -100 beside f = 30."""
    dip = lambda y, f: jnp.sum(0.5 * (y - f) ** 2 - 500 * jnp.exp(-0.05 * (f - 30) ** 2))
    x = np.array([[1.0], [-1.0]])
    np.savez(tmp_path / "data.npz", inputs=x, targets=30 * np.abs(x))
    with kept():
        LOSSES.add("dip", Loss("dip", dip))
        e = Experiment.named("relu").replace(
            task=Arrays(str(tmp_path / "data.npz"), loss="dip"), stop=Stop(flow_time=1.0)
        )
        heard: list[str] = []
        run = train(e, note=heard.append)
    (warning,) = run.warnings
    assert heard == [warning] and "below 0 which is taken for its lower bound" in warning
    assert "add a constant to loss 'dip'" in warning
