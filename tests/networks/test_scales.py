"""Natural scales in any unit of measure, and of units that the first random direction turns off."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import certify_state
from saddlery.networks import Data, Layer, Network, objective
from saddlery.networks.losses import SQUARED, Loss
from saddlery.networks.scales import natural_scales
from saddlery.units import make

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))
Y = X @ RNG.standard_normal((3, 2))


def thrice(y, f):
    return 1.5 * jnp.sum((y - f) ** 2)


LINEAR = Network((Layer(make("linear"), 3),))


def subject_of(network, inputs=1.0, targets=1.0):
    return objective(network, Data((3,), 2, inputs * X, targets * Y))


# Up to the sizes that `Data` admits, 1e-75 and 1e75.
@pytest.mark.parametrize(
    ("inputs", "targets"),
    [(1.0, 2.0**-240), (1.0, 2.0**240), (2.0**240, 2.0**-240), (2.0**-240, 2.0**240)],
)
def test_scales_follow_the_units_of_measure(inputs, targets):
    """(c) Inputs a x and targets b y have weights sqrt(b/a) theta, gradients sqrt(a/b) b^2 g and
    losses b^2 L. Beyond 2^-60 and 2^60 the factor was 1."""
    usual, found = subject_of(LINEAR).scales, subject_of(LINEAR, inputs, targets).scales
    weights = np.sqrt(targets / inputs)
    assert found.weights / weights == pytest.approx(usual.weights, rel=1e-12)
    assert found.gradient * weights / targets**2 == pytest.approx(usual.gradient, rel=1e-9)
    assert found.loss / targets**2 == pytest.approx(usual.loss, rel=1e-9)


@pytest.mark.parametrize("power", [0, 80])
def test_a_random_state_has_the_same_fixed_point_beside_it(power):
    """(c) Inputs 2^80 x and targets 2^-80 y: the point named as the nearest was one with a gradient
    of 0.43 in natural units, and of another index."""
    a = 2.0**-power
    subject = subject_of(LINEAR, 1 / a, a)
    theta = a * np.random.default_rng(1).standard_normal(subject.size)
    nearest = certify_state(subject, theta).nearest
    assert (nearest.verdict, nearest.index) == ("strict saddle", 3)
    assert nearest.gradient_norm / a < 1e-12


def test_a_unit_that_the_first_direction_turns_off():
    """(c) A ReLU unit on positive inputs: its size is that of its map, and follows sqrt(|y|); the
    size of the direction itself, in no unit of the targets, stood in for it."""
    inputs, targets = np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([[1.0], [2.0]])
    first = np.random.default_rng(0).standard_normal(3)
    assert np.all(inputs @ first[:2] < 0)
    relu = Network((Layer(make("relu"), 4),))
    sizes = [
        objective(relu, Data((2,), 1, inputs, a**2 * targets)).parts.unit_size / a
        for a in (1.0, 2.0**-20, 2.0**20)
    ]
    assert sizes[0] == sizes[1] == sizes[2] and 0.3 < sizes[0] < 3


def test_a_map_that_overflows():
    """(a) f = (1e40 theta)^9: the factor is found from above, through infinite f and such that is
    no number."""

    def ninth(theta):
        with np.errstate(over="ignore", invalid="ignore"):
            powers = (1e40 * theta) ** 9
            return powers + 0 * powers

    scales = natural_scales(ninth, lambda theta: theta, size=1, target=1.0, loss=1.0)
    assert 1 <= 1e40 * scales.weights < 2


@pytest.mark.parametrize(
    ("unit", "count", "known"),
    [("linear", 20, True), ("linear", 3, False), ("quadratic", 20, True), ("relu", 20, False)],
)
@pytest.mark.parametrize("loss", [SQUARED, Loss("thrice", thrice, quadratic=True)])
def test_what_no_map_can_remove(unit, count, known, loss):
    """(d) By samples as by moments, and by least squares in NumPy: noise beside a map of the
    features; nothing where no moments suffice, or samples are as few as features."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 3))
    y = x @ rng.standard_normal((3, 2)) + rng.standard_normal((count, 2))
    network = Network((Layer(make(unit), 3),))
    subject = objective(network, Data((3,), 2, x, y, loss=loss), moments=False)
    features = np.stack([np.outer(z, z).ravel() for z in x]) if unit == "quadratic" else x
    rest = y - features @ np.linalg.lstsq(features, y, rcond=None)[0]
    factor = 1.0 if loss is SQUARED else 3.0
    expected = factor * 0.5 * np.sum(rest**2) / count if known else 0.0
    assert subject.irreducible == pytest.approx(expected, rel=1e-10, abs=1e-14)
    assert subject.scales.loss == pytest.approx(factor * 0.5 * np.sum(y**2) / count - expected)
    if known:
        moments = objective(network, Data((3,), 2, x, y, loss=loss))
        assert moments.exact != "samples"
        assert moments.irreducible == pytest.approx(expected, rel=1e-10)
        assert moments.scales.loss == pytest.approx(subject.scales.loss, rel=1e-10)
