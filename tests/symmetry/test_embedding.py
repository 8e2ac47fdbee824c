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
from saddlery.symmetry import applies, duplicate, embed, embed_near, ray, silent, span
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


def test_embed_refuses_a_smaller_width():
    network, subject, theta = narrow("relu")
    with pytest.raises(InputError, match="at least the narrow network's 2"):
        embed(network, subject.params(jnp.asarray(theta)), 1)
