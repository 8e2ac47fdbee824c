"""Theorem 1 and Corollary 2: embedded points are fixed points, and are not where the unit lacks the
property."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from planted import gradient_norm, random_fixed_point
from saddlery import units
from saddlery.basis.checks import InputError
from saddlery.networks import Layer, Network, flatten
from saddlery.symmetry import (
    applies,
    duplicate,
    embed,
    embed_near,
    nearest_embedding,
    ray,
    silent,
    span,
)
from saddlery.symmetry.embedding import shared_near
from saddlery.symmetry.reduction import sides
from slowly import slowly

SHAPES = {"conv": (2, 5), "attention": (4, 3), "in_context": (6, 4)}
EVERY = [(name, case) for name in units.names() for case in ("i", "ii", "iii", "iv")]
SINGLE = {
    "i": lambda u, v, rng: duplicate(u, v, 1, rng.normal()),
    "ii": lambda u, v, rng: silent(u, v),
    "iii": lambda u, v, rng: ray(u, v, 1, abs(rng.normal()) + 0.5, rng.normal()),
    "iv": lambda u, v, rng: span(u, v, rng.normal(size=len(u)), rng.normal(size=len(u))),
}


def narrow(name: str, seed: int = 0, width: int = 2):
    """A random fixed point of a narrow network of the named unit."""
    shape = next((s for prefix, s in SHAPES.items() if name.startswith(prefix)), (4,))
    network = Network(
        (Layer(units.make(name), width),), reads="last" if name.startswith("attention") else "all"
    )
    outputs = 1 if name.startswith("in_context") else 2
    return network, *random_fixed_point(network, shape, outputs, seed)


def embedded(network, subject, theta, u, v):
    wide, params = network.with_sides(
        subject.params(jnp.asarray(theta)), 0, jnp.asarray(u), jnp.asarray(v)
    )
    return subject.with_network(wide), flatten(params)


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_theorem_1_holds_exactly_where_the_unit_has_the_property(name, case):
    """Oracle (b): the wide gradient is zero; and not where the property is missing, so that this
    test can fail."""
    unit = units.make(name)
    for seed in range(3):
        network, subject, theta = narrow(name, seed)
        assert gradient_norm(subject, theta) < 1e-12
        u, v = sides(network, subject.params(jnp.asarray(theta)), 0)
        wide, state = embedded(
            network, subject, theta, *SINGLE[case](u, v, np.random.default_rng(seed))
        )
        norm = gradient_norm(wide, state)
        same = np.abs(
            np.asarray(wide.predictions(state)) - np.asarray(subject.predictions(theta))
        ).max()
        if applies(unit, case):
            assert norm <= 1e-12
            assert same <= 1e-12
        else:
            assert norm > 1e-4


@pytest.mark.parametrize("name", ["relu", "tanh", "linear"])
def test_a_layer_without_units_is_widened_by_silent_ones(name):
    """(b) What is left of an initial plateau, in five units: the same map, and at rest."""
    _, subject, _ = narrow(name)
    network = Network((Layer(units.make(name), 0),))
    empty = ({"u": np.zeros((0, 4)), "v": np.zeros((0, 2))},)
    wide, params = embed(network, empty, 5)
    assert wide.widths == (5,) and params[0]["u"].shape == (5, 4) and params[0]["v"].shape == (5, 2)
    assert embed(network, empty, 0).constructions == ("none",)
    assert gradient_norm(subject.with_network(wide), flatten(params)) == 0.0


def test_a_layer_without_units_and_without_silent_ones_is_refused():
    network = Network((Layer(units.make("sigmoid"), 0),))
    empty = ({"u": np.zeros((0, 2)), "v": np.zeros((0, 1))},)
    with pytest.raises(InputError, match="widened by silent ones alone, and unit 'sigmoid'"):
        embed(network, empty, 5)
    assert embed(network, empty, 0).constructions == ("none",)


@pytest.mark.parametrize("width", [10, 1000])
@pytest.mark.parametrize("case", ["i", "iii", "iv"])
def test_whatever_the_width_old_units_change_by_order_one(case, width):
    """(a) The product of n factors 1 - g is of order one where g has variance 1/n: of order
    e^(-sqrt(n)/2) for n^(-1/2)."""
    one = ({"u": np.ones((1, 2)), "v": np.ones((1, 1))},)
    network = Network((Layer(units.make("linear"), 1),))
    for seed in range(5):
        _, (params,) = embed(network, one, width, construction=case, seed=seed)
        assert 0.01 < abs(params["v"][0, 0]) < 100


def test_negative_factor_is_wrong_for_positive_homogeneity():
    """(iii) needs g_u >= 0 for ReLU: the same formula with g_u < 0 is no fixed point."""
    network, subject, theta = narrow("relu", 1)
    u, v = sides(network, subject.params(jnp.asarray(theta)), 0)
    wide, state = embedded(network, subject, theta, *ray(u, v, 0, -0.7, 0.4))
    assert gradient_norm(wide, state) > 1e-4


@pytest.mark.parametrize(
    "name", ["linear", "relu", "quadratic", "tanh", "conv_relu", "attention_linear"]
)
@pytest.mark.parametrize("width", [3, 50])
def test_embed_to_any_width(name, width):
    """Oracle (b): Theorem 1 applied repeatedly."""
    network, subject, theta = narrow(name, 5)
    wide, params = embed(network, subject.params(jnp.asarray(theta)), width, seed=2)
    assert wide.widths == (width,)
    assert gradient_norm(subject.with_network(wide), flatten(params)) <= 1e-12


DEEP = {
    "linear": Network(
        (Layer(units.make("linear"), 2, mixes=False), Layer(units.make("linear"), 3))
    ),
    "relu with bias": Network(
        (
            Layer(units.make("relu", bias=True), 2, mixes=False),
            Layer(units.make("relu", bias=True), 2),
        )
    ),
    "conv to dense": Network(
        (Layer(units.make("conv_relu"), 2, mixes=False), Layer(units.make("tanh", bias=True), 2))
    ),
    "residual": Network(
        (Layer(units.make("x_tanh_x"), 2, residual=True), Layer(units.make("relu"), 2))
    ),
    "transformer": Network(
        (
            Layer(units.make("attention_linear"), 2, residual=True),
            Layer(units.make("attention_merged"), 2, residual=True),
        ),
        readout=True,
        reads="last",
    ),
}


@pytest.mark.parametrize("kind", slowly(DEEP, "transformer"))
def test_corollary_2_several_layers(kind):
    """Oracle (b): every layer widened, one construction after another; the map and the zero
    gradient stay."""
    network = DEEP[kind]
    shape = (1, 5) if kind == "conv to dense" else (4, 3) if kind == "transformer" else (3,)
    subject, theta = random_fixed_point(network, shape, 2, seed=3, samples=80, size=0.5)
    wide, params = embed(
        network, subject.params(jnp.asarray(theta)), tuple(w + 2 for w in network.widths), seed=1
    )
    state, larger = flatten(params), subject.with_network(wide)
    scale = max(1.0, np.abs(state).max() ** 3)
    assert (
        np.abs(np.asarray(larger.predictions(state)) - np.asarray(subject.predictions(theta))).max()
        <= 1e-12 * scale
    )
    assert gradient_norm(larger, state) <= 1e-12 * scale


@pytest.mark.parametrize(
    "name", ["linear", "relu", "quadratic", "conv_linear", "in_context_linear"]
)
def test_embed_near_keeps_the_map_and_the_zero_gradient(name):
    """Oracle (b), and (c): embedding near an embedding gives that embedding back."""
    network, subject, theta = narrow(name, 7)
    wide, params = embed(network, subject.params(jnp.asarray(theta)), 6, seed=4)
    noisy = [
        side + 1e-3 * np.random.default_rng(0).standard_normal(side.shape)
        for side in sides(wide, params, 0)
    ]
    u, v = embed_near(
        sides(network, subject.params(jnp.asarray(theta)), 0), tuple(noisy), network.layers[0].unit
    )
    larger, state = embedded(network, subject, theta, u, v)
    assert gradient_norm(larger, state) <= 1e-11
    assert np.linalg.norm(state - flatten(params)) < 0.05 * np.linalg.norm(flatten(params))


@pytest.mark.parametrize(
    ("name", "case"), [("tanh", "iii"), ("relu", "iv"), ("sigmoid", "ii"), ("quadratic", "iii")]
)
def test_embed_refuses_a_construction_the_unit_does_not_allow(name, case):
    network, subject, theta = narrow(name)
    with pytest.raises(InputError, match="needs a property"):
        embed(network, subject.params(jnp.asarray(theta)), 4, construction=case)


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
@pytest.mark.parametrize("outgoing", [1.0, -1.0])
@pytest.mark.parametrize("near", [embed_near, nearest_embedding])
def test_a_ray_that_points_away_is_met_by_no_negative_factor(name, outgoing, near):
    """(c) u = 1, v = 2 beside a wide unit with u = -1: a positively homogeneous unit of u = -1 has
    another map."""
    beside = np.array([[-1.0]]), np.array([[outgoing]])
    u, v = near((np.array([[1.0]]), np.array([[2.0]])), beside, units.make(name))
    assert u.item() > 0 and u.item() * v.item() == pytest.approx(2.0, rel=1e-14)


def test_rays_that_point_away_share_with_those_that_do_not():
    """(c) Beside u = 1 and u = -1 on one ray, the first has all of it."""
    beside = np.array([[1.0], [-1.0]]), np.array([[2.0], [3.0]])
    member, one = np.zeros(2, int), (np.array([[1.0]]), np.array([[2.0]]))
    u, v = shared_near(*one, *beside, member, units.make("relu"))
    assert u.ravel().tolist() == [1.0, 0.0] and v[0].item() == 2.0


@pytest.mark.parametrize(
    ("widths", "words"),
    [
        (2.5, "width of layer 0 must be a whole number"),
        ("5", "width of layer 0 must be a whole number"),
        ((3, 4), "widths must be one number or 1"),
    ],
)
def test_widths_that_are_none(widths, words):
    network, subject, theta = narrow("relu")
    with pytest.raises(InputError, match=words):
        embed(network, subject.params(jnp.asarray(theta)), widths)


@pytest.mark.parametrize("widths", [np.int64(3), [3], np.array([3])])
def test_widths_of_numpy_are_widths(widths):
    network, subject, theta = narrow("relu")
    assert embed(network, subject.params(jnp.asarray(theta)), widths).network.widths == (3,)


def test_embed_refuses_a_smaller_width():
    network, subject, theta = narrow("relu")
    with pytest.raises(InputError, match="at least the narrow network's 2"):
        embed(network, subject.params(jnp.asarray(theta)), 1)
