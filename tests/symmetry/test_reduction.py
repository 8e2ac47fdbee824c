"""Reduction is the inverse of embedding; effective units count what was planted."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from test_embedding import DEEP, embedded, narrow

from planted import gradient_norm, random_fixed_point
from saddlery import Experiment, units
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, flatten, objective
from saddlery.symmetry import effective_units, embed, embed_near, nearest_embedding, reduce
from saddlery.symmetry.effective import count_rays
from saddlery.symmetry.reduction import sides

CASES = [
    ("linear", "iv"),
    ("relu", "iii"),
    ("leaky_relu", "iii"),
    ("quadratic", "ii"),
    ("tanh", "i"),
    ("tanh", "ii"),
    ("cubic", "ii"),
    ("conv_linear", "iv"),
    ("conv_relu", "iii"),
    ("in_context_linear", "ii"),
    ("in_context_merged", "iv"),
    ("attention_linear", "ii"),
    ("gelu", "i"),
    ("relu", "ii"),
    ("sigmoid", "i"),
]


@pytest.mark.parametrize(("name", "case"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_reduce_inverts_embed(name, case, seed):
    """Oracle (c): width, construction and map come back."""
    network, subject, theta = narrow(name, seed)
    wide, params = embed(
        network, subject.params(jnp.asarray(theta)), 6, construction=case, seed=seed
    )
    larger = subject.with_network(wide)
    found = reduce(larger, flatten(params), tolerance=1e-6)
    assert found.widths == (
        (1,) if name == "in_context_merged" else (2,)
    )  # one merged head expresses every map
    assert found.construction == case
    smaller = subject.with_network(found.network)
    error = np.abs(
        np.asarray(smaller.predictions(found.theta)) - np.asarray(subject.predictions(theta))
    ).max()
    assert error <= 1e-6 * subject.target_scale * np.sqrt(60)


@pytest.mark.parametrize("kind", ["linear", "relu with bias", "residual", "conv to dense"])
def test_reduce_every_layer(kind):
    network = DEEP[kind]
    shape = (1, 5) if kind == "conv to dense" else (3,)
    subject, theta = random_fixed_point(network, shape, 2, seed=3, samples=80)
    case = None if kind != "conv to dense" else "ii"
    wide, params = embed(
        network,
        subject.params(jnp.asarray(theta)),
        tuple(w + 2 for w in network.widths),
        seed=1,
        construction=case,
    )
    found = reduce(subject.with_network(wide), flatten(params), tolerance=1e-6)
    assert all(a <= b for a, b in zip(found.widths, network.widths, strict=True))
    assert found.error <= 1e-6


@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "conv_relu", "in_context_linear"])
def test_the_fewest_units_and_their_error_by_narrow_networks(name):
    """Oracle (d): each width as a network of its own; the first within the tolerance is found, with
    that error."""
    _network, subject, _ = narrow(name, width=6)
    theta = np.random.default_rng(2).standard_normal(subject.size)
    target = np.asarray(subject.predictions(theta))
    errors = []
    for count in range(6):
        forced = reduce(subject, theta, widths=(count,))
        map_of = np.asarray(subject.with_network(forced.network).predictions(forced.theta))
        errors.append(subject.map_error(map_of, target))
        assert forced.widths == (count,) and forced.error == pytest.approx(errors[-1], rel=1e-9)
    for tolerance in (0.9 * min(errors), 1.01 * errors[1], 1.01 * errors[3], 1.01 * errors[0]):
        wanted = next((count for count, error in enumerate(errors) if error <= tolerance), 6)
        assert reduce(subject, theta, tolerance=tolerance).widths == (wanted,)


def test_zero_state_has_no_units():
    _network, subject, theta = narrow("relu")
    found = reduce(subject, 0 * theta)
    assert found.widths == (0,)
    assert effective_units(subject, 0 * theta)[0].active == 0


def test_effective_units_of_a_planted_state():
    """Oracle (a): three rays, one of them shared by two units, one silent unit; rank 2 in the
    plane."""
    _network, subject, _ = narrow("relu", width=5)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 4))
    u = np.array([a, 2 * a, -a, b, 0 * a])
    v = np.array([[1.0, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
    (counted,) = effective_units(subject, flatten(({"u": u, "v": v},)), tolerance=1e-3)
    assert (counted.active, counted.rays, counted.rank, counted.minimal) == (4, 3, 2, 3)


def test_rays_of_both_signs():
    u = np.array([[1.0, 0], [-2, 0], [0, 1]])
    assert count_rays(u, both=False) == 3
    assert count_rays(u, both=True) == 2


def test_reduction_tolerance_is_respected():
    """More tolerance never needs more units, and the reported error is below it."""
    _network, subject, _ = narrow("linear", width=4)
    theta = np.random.default_rng(2).standard_normal(subject.size)
    widths = []
    for tolerance in (1e-9, 0.05, 0.3, 2.0):
        found = reduce(subject, theta, tolerance=tolerance)
        assert found.error <= tolerance
        widths.append(found.widths[0])
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("name", units.names())
def test_permuting_units_changes_nothing(name):
    """Oracle (c): permutation symmetry."""
    _network, subject, theta = narrow(name, width=3)
    (params,) = subject.params(jnp.asarray(theta))
    shuffled = flatten(({k: np.asarray(a)[[2, 0, 1]] for k, a in params.items()},))
    first, second = reduce(subject, theta, tolerance=0.1), reduce(subject, shuffled, tolerance=0.1)
    assert first.widths == second.widths
    assert first.error == pytest.approx(second.error, abs=1e-9)


def test_units_that_a_residual_layer_adds_to_are_kept():
    """(b) Their number is the dimension of what the skip connection carries; the other layers are
    reduced, the map unchanged."""
    linear = units.make("linear")
    layers = (Layer(linear, 3, mixes=False), Layer(linear, 4, residual=True), Layer(linear, 5))
    rng = np.random.default_rng(0)
    data = Data((3,), 2, rng.standard_normal((20, 3)), rng.standard_normal((20, 2)))
    subject = objective(Network(layers), data)
    theta = rng.standard_normal(subject.size)
    found = reduce(subject, theta, tolerance=1e-9)
    assert found.widths == (3, 3, 2) and found.error < 1e-9 and found.constructions[0] == "none"
    with pytest.raises(
        InputError, match="width of layer 0 must be the 3 units that a residual layer adds to"
    ):
        reduce(subject, theta, widths=(1, 1, 1))
    with pytest.raises(InputError, match="width of layer 0 must be the 3 units"):
        embed(subject.network, subject.params(theta), 6)


@pytest.mark.parametrize("name", ["relu", "linear"])
@pytest.mark.parametrize(
    ("widths", "words"),
    [
        ((9,), "width of layer 0 must be at most its 4 units, got 9"),
        ((-1,), "width of layer 0 must be a whole number of at least 0, got -1"),
        ((2.5,), "width of layer 0 must be a whole number of at least 0, got 2.5"),
        (3, "widths must be one number a layer, 1 in all, got 3"),
        ((1, 2), "widths must be one number a layer, 1 in all"),
    ],
)
def test_widths_that_are_none(name, widths, words):
    _network, subject, theta = narrow(name, width=4)
    with pytest.raises(InputError, match=words):
        reduce(subject, theta, widths=widths)
    assert reduce(subject, theta, widths=(4,)).widths == reduce(subject, theta, widths=[4]).widths


def test_effective_units_at_a_tolerance_that_leaves_none():
    _network, subject, theta = narrow("relu", width=4)
    with pytest.raises(InputError, match=r"tolerance must be at least 0 and below 1, got 1\.0"):
        effective_units(subject, 5 * theta, tolerance=1.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_refused(wrong):
    subject = Experiment.named("linear").objective()
    with pytest.raises(InputError, match="theta must be finite"):
        reduce(subject, np.full(subject.size, wrong))


def of_units(name, u, v, samples=40):
    """(objective, state) of one layer of units with these weights, on random data."""
    rng, layer = np.random.default_rng(0), Layer(units.make(name), len(u))
    data = Data(
        (len(u[0]),),
        1,
        rng.standard_normal((samples, len(u[0]))),
        rng.standard_normal((samples, 1)),
    )
    return objective(Network((layer,)), data), flatten(
        ({"u": np.array(u, float), "v": np.array(v, float)},)
    )


@pytest.mark.parametrize(
    "name", ["tanh", "relu", "quadratic", "erf", "cubic", "sine", "gelu", "x_tanh_x", "sigmoid"]
)
def test_what_cancels_is_no_unit(name):
    """(a) (1, 0) with v = 1 beside two of opposite signs, which were two units, or kept where one
    unit was asked for.

    ReLU: on one ray, 2 and -1 of twice the length; units with a parity: mirror images of v = 2 and
    of its cancelling copy.
    """
    flip = units.make(name).symmetry.flip
    longer = 2.0 if name == "relu" else 1.0
    u, v = (
        np.array([[1, 0], [0.3, 0.8], [longer * 0.3, longer * 0.8]]),
        np.array([[1.0], [2], [-2 / longer]]),
    )
    pairs = [(u, v)]
    if flip is not None:
        mirrored = np.array([1.0, 1.0, -1.0])[:, None]
        pairs.append((mirrored * u, v * np.array([1.0, 1.0, flip])[:, None]))
    for sides_of_pair in pairs:
        subject, theta = of_units(name, *sides_of_pair)
        for found in (reduce(subject, theta, tolerance=1e-9), reduce(subject, theta, widths=(1,))):
            assert found.widths == (1,) and found.error < 1e-12


def test_a_pair_that_cancels_nearly_goes_within_the_tolerance():
    """(a) Two tanh units 1e-4 apart leave a map of 2e-4; one unit at a tolerance above it, and not
    below."""
    subject, theta = of_units("tanh", [[1, 0], [0.3, 0.8], [0.3, 0.8001]], [[1], [2], [-2]])
    assert reduce(subject, theta, tolerance=1e-3).widths == (1,)
    assert reduce(subject, theta, tolerance=1e-9).widths == (3,)


def test_units_that_no_sample_turns_on_go_first():
    """(a) A ReLU unit with weights of size 100 that is off on all samples does nothing; one unit is
    the other."""
    rng = np.random.default_rng(0)
    data = Data((2,), 1, np.abs(rng.standard_normal((30, 2))), rng.standard_normal((30, 1)))
    subject = objective(Network((Layer(units.make("relu"), 2),)), data)
    theta = flatten(({"u": np.array([[-100.0, -100], [1, 1]]), "v": np.array([[100.0], [1]])},))
    for found in (reduce(subject, theta, tolerance=1e-9), reduce(subject, theta, widths=(1,))):
        assert found.widths == (1,) and found.error < 1e-12


@pytest.mark.parametrize("name", ["tanh", "erf", "sine", "cubic", "quadratic", "x_tanh_x"])
def test_mirror_images_are_no_further_units(name):
    """(c) Two units embedded by (i) in six, half of them written as their mirror images: two units,
    and back again.

    They used to count as more; the map and the zero gradient of the embedding beside the state are
    those of the two.
    """
    network, subject, theta = narrow(name, 3)
    wide, params = embed(network, subject.params(theta), 6, construction="i", seed=1)
    u, v = sides(wide, params, 0)
    signs, flip = np.array([1, 1, -1, -1, -1, 1.0])[:, None], units.make(name).symmetry.flip
    mirrored = signs * u, np.where(signs < 0, flip, 1.0) * v
    assert len(np.unique(mirrored[0].round(9), axis=0)) == 4  # both images of both units are there
    larger, state = embedded(network, subject, theta, *mirrored)
    np.testing.assert_allclose(larger.predictions(state), subject.predictions(theta), atol=1e-12)
    rounding = 1e-14 * max(1.0, np.abs(state).max() ** 6)  # cubic units: products of six weights
    assert gradient_norm(larger, state) < 100 * rounding
    found = reduce(larger, state, tolerance=1e-9)
    assert found.widths == (2,) and found.constructions == ("i",)
    assert effective_units(larger, state, tolerance=1e-9)[0].minimal == 2
    for near in (embed_near, nearest_embedding):
        noise = 1e-4 * np.random.default_rng(0).standard_normal((2, 6, 4))
        beside = mirrored[0] + noise[0], mirrored[1] + noise[1][:, :2]
        _, back = embedded(
            network,
            subject,
            theta,
            *near(sides(network, subject.params(theta), 0), beside, wide.layers[0].unit),
        )
        assert gradient_norm(larger, back) < 100 * rounding and np.linalg.norm(back - state) < 1e-2


def test_what_is_said_not_to_be_looked_for():
    """Quadratic units u and 2u have one map and are two units: Theorem 1 does not make one of the
    other."""
    subject, theta = of_units("quadratic", [[1, 0.5], [2, 1]], [[1], [1]])
    assert reduce(subject, theta, tolerance=1e-9).widths == (2,)
