"""The utility of silent units against closed forms, brute force and the loss itself."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import certify_state, units
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, objective
from saddlery.symmetry import best_silent_unit, silent_direction
from saddlery.tasks import LinearTeacher, OrthogonalReLU
from saddlery.units import make


def problem(name, outputs=1, seed=0, **options):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((50, 3))
    y = rng.standard_normal((50, outputs))
    network = Network((Layer(units.make(name, **options), 3),))
    return objective(network, Data((3,), outputs, x, y), moments=False), x, y


def test_linear_utility_is_half_the_largest_singular_value():
    """Oracle (a): U = v'Ru over |u|^2+|v|^2 = 1 has maximum s_1/2, rate s_1."""
    task = LinearTeacher((1.3, 0.4), inputs=4, outputs=3)
    subject = objective(Network((Layer(units.make("linear"), 5),)), task.data(0))
    found = best_silent_unit(subject, np.zeros(subject.size))
    assert found.value == pytest.approx(1.3 / 2, rel=1e-9)
    assert found.rate == pytest.approx(1.3, rel=1e-9)
    assert found.order == 2


def test_quadratic_utility_is_the_largest_eigenvalue():
    """Oracle (a): U = v u'Su, max over the sphere = (2/3) (1/3)^(1/2) max |eigenvalue|."""
    subject, x, y = problem("quadratic")
    s = np.einsum("n,ni,nj->ij", y[:, 0], x, x) / len(x)
    expected = 2 / 3 / np.sqrt(3) * np.abs(np.linalg.eigvalsh(s)).max()
    found = best_silent_unit(subject, np.zeros(subject.size))
    assert found.value == pytest.approx(expected, rel=1e-8)
    assert (found.order, found.rate) == (3, None)


def test_relu_utility_on_orthogonal_inputs():
    """Oracle (a): the best direction is D+ = mean_{y>0} y x, with |G| = |D+|."""
    task = OrthogonalReLU((1.0, 0.5, -0.6))
    subject = objective(Network((Layer(units.make("relu"), 3),)), task.data(0))
    data = task.data(0)
    positive = np.maximum(data.targets, 0)[:, 0]
    expected = 0.5 * np.linalg.norm(positive @ data.inputs / 3)
    assert best_silent_unit(subject, np.zeros(subject.size)).value == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize(
    "name", ["linear", "relu", "quadratic", "cubic", "tanh", "x_tanh_x", "gelu", "leaky_relu"]
)
def test_no_direction_beats_the_maximiser(name):
    """Oracle (d): 20,000 random units, the utility computed by a NumPy mean."""
    subject, x, y = problem(name, outputs=2, seed=3)
    found = best_silent_unit(subject, np.zeros(subject.size))
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    degree = units.make(name).symmetry.degree
    eps = 1.0 if name in ("linear", "relu", "quadratic", "cubic", "leaky_relu") else 1e-3
    unit = units.make(name)
    import jax

    phi = jax.vmap(lambda u: jax.vmap(lambda z: unit.phi(z, u))(jnp.asarray(x)))(
        jnp.asarray(eps * directions)
    )
    gain = np.linalg.norm(np.asarray(phi) @ y / len(x), axis=1) / eps**degree
    brute = (degree / (degree + 1)) ** (degree / 2) / np.sqrt(degree + 1) * gain.max()
    assert found.value >= brute * (1 - 1e-3)
    assert found.value <= brute * 1.03


@pytest.mark.parametrize("name", ["linear", "relu", "quadratic", "cubic", "x_tanh_x"])
def test_the_loss_falls_at_the_predicted_order_and_by_the_predicted_amount(name):
    """Oracles (b), (e): L(0 + s d) - L(0) = -U s^(p+1), observed order p + 1."""
    subject, _, _ = problem(name, outputs=2, seed=5)
    origin = np.zeros(subject.size)
    found = best_silent_unit(subject, origin)
    direction = silent_direction(subject, origin, found)
    assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-9)
    base = float(subject.loss(origin))
    falls = [base - float(subject.loss(s * direction)) for s in (0.02, 0.01)]
    assert falls[1] > 0
    assert np.log2(falls[0] / falls[1]) == pytest.approx(found.order, abs=0.05)
    assert falls[1] == pytest.approx(found.value * 0.01**found.order, rel=0.05)


def test_units_without_a_silent_point_have_no_utility():
    subject, _, _ = problem("sigmoid")
    with pytest.raises(InputError, match="no leading degree"):
        best_silent_unit(subject, np.zeros(subject.size))


@pytest.mark.parametrize("centre", [0.0, 10.0, 300.0, 1990.0])
def test_kinks_between_samples_far_from_the_origin(centre):
    """(b) An affine fit of a line with a bend, samples at c ... c + 10: the best silent unit, by
    scanning its kink. The units that bend between samples are a cone of angle range / c^2, and
    outside it the utility is zero."""
    x = centre + np.linspace(0, 10, 11)[:, None]
    y, rows = np.maximum(x - centre - 5, 0) + 5, np.hstack([x, np.ones_like(x)])
    fit = np.linalg.lstsq(rows, y, rcond=None)[0][:, 0]
    residual, size = y[:, 0] - rows @ fit, np.sqrt(np.linalg.norm(fit))
    places = np.linspace(centre, centre + 10, 2001)
    bends = np.stack([np.ones_like(places), -places], axis=1) / np.hypot(1.0, places)[:, None]
    bends = np.concatenate([bends, -bends])
    highest = np.abs(np.maximum(rows @ bends.T, 0).T @ residual).max() / len(x) / 2
    subject = objective(Network((Layer(make("relu", bias=True), 2),)), Data((1,), 1, x, y))
    c = certify_state(subject, np.concatenate([fit / size, [0.0, 0.0, size, 0.0]]))
    assert (c.verdict, c.escape_order) == ("strict saddle", 2)
    assert c.utility.value == pytest.approx(highest, rel=1e-2)
