"""Invariant manifolds of Theorem 3: tangent velocities (b), runs that stay on them (c), and
relations that do not hold."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, flatten, objective
from saddlery.symmetry import (
    Manifold,
    combination,
    equal,
    nearest_embedding,
    nearest_of_width,
    proportional,
    silent_unit,
    widths_distances,
)
from saddlery.symmetry.effective import count_units
from saddlery.symmetry.embedding import unit_rows
from saddlery.symmetry.reduction import sides
from saddlery.units import make

WIDTH = 5
KINDS = ("i", "ii", "iii", "iv")


def alone(name, **options):
    return Network((Layer(make(name, **options), WIDTH),)), 0


def first_of_two(name, after="relu"):
    return Network((Layer(make(name), WIDTH, mixes=False), Layer(make(after), 3))), 0


def second_of_two(name):
    return Network((Layer(make("tanh"), 3, mixes=False), Layer(make(name), WIDTH))), 1


# name: (network, layer, input shape, outputs)
ARCHITECTURES = {
    "linear": (*alone("linear"), (3,), 2),
    "relu": (*alone("relu", bias=True), (3,), 2),
    "leaky_relu": (*alone("leaky_relu"), (3,), 2),
    "quadratic": (*alone("quadratic"), (3,), 2),
    "tanh": (*alone("tanh", bias=True), (3,), 2),
    "sigmoid": (*alone("sigmoid"), (3,), 2),
    "conv_linear": (*alone("conv_linear"), (6,), 2),
    "conv_relu": (*alone("conv_relu", kernel=(3,)), (6,), 2),
    "in_context_merged": (*alone("in_context_merged"), (5, 3), 1),
    "in_context_linear": (*alone("in_context_linear", rank=2), (5, 3), 1),
    "in_context_softmax": (*alone("in_context_softmax"), (5, 3), 1),
    "first of two, linear": (*first_of_two("linear", "tanh"), (3,), 2),
    "first of two, relu": (*first_of_two("relu"), (3,), 2),
    "second of two, linear": (*second_of_two("linear"), (3,), 2),
    "second of two, quadratic": (*second_of_two("quadratic"), (3,), 2),
}


def problem(name, rng):
    network, layer, shape, outputs = ARCHITECTURES[name]
    x = rng.standard_normal((30, *shape))
    return objective(
        network, Data(shape, outputs, x, rng.standard_normal((30, outputs))), moments=False
    ), layer


def relation(kind, rng):
    """A random relation between two or more of the units."""
    unit, other = rng.choice(WIDTH, 2, replace=False)
    if kind == "i":
        return equal(WIDTH, unit, other)
    if kind == "ii":
        return silent_unit(WIDTH, unit)
    if kind == "iii":
        return proportional(WIDTH, unit, other, float(rng.uniform(0.3, 2)))
    return combination(
        WIDTH, unit, np.where(np.arange(WIDTH) == unit, 0.0, rng.standard_normal(WIDTH))
    )


def stacked(subject, theta, layer):
    return np.hstack(sides(subject.network, subject.params(theta), layer))


def state_on(subject, layer, manifold, rng):
    """Random weights everywhere, the layer's units projected on the manifold."""
    params = subject.params(0.7 * rng.standard_normal(subject.size))
    u, _ = sides(subject.network, params, layer)
    theta = manifold.project(np.hstack(sides(subject.network, params, layer)))
    _, moved = subject.network.with_sides(
        params, layer, theta[:, : u.shape[1]], theta[:, u.shape[1] :]
    )
    return flatten(moved)


def departure(subject, layer, manifold, theta):
    """|A dTheta/dt| over |dTheta/dt|: zero where the velocity is tangent."""
    velocity = stacked(subject, np.asarray(subject.gradient(theta)), layer)
    return manifold.residual(velocity) / np.linalg.norm(velocity)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_theorem_3(name):
    """(b) Twenty random states a relation: tangent to 1e-12 where the theorem says so, and seen not
    to be elsewhere."""
    rng = np.random.default_rng(0)
    unit = ARCHITECTURES[name][0].layers[ARCHITECTURES[name][1]].unit
    for kind in KINDS:
        worst, subjects = 0.0, [problem(name, rng) for _ in range(2)]
        for k in range(20):
            subject, layer = subjects[k % 2]
            manifold = Manifold(WIDTH, (relation(kind, rng),))
            theta = state_on(subject, layer, manifold, rng)
            assert manifold.residual(stacked(subject, theta, layer)) < 1e-13
            worst = max(worst, departure(subject, layer, manifold, theta))
        assert (worst < 1e-12) == manifold.invariant(unit), (kind, worst)
        assert worst < 1e-12 or worst > 1e-3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_descent_stays_on_it(name):
    """(c) 300 steps of gradient descent from a manifold of several relations."""
    rng = np.random.default_rng(1)
    subject, layer = problem(name, rng)
    unit = subject.network.layers[layer].unit
    strongest = [
        relation for relation in _independent(rng) if Manifold(WIDTH, (relation,)).invariant(unit)
    ]
    manifold = Manifold(WIDTH, tuple(strongest))
    assert manifold.width == WIDTH - len(strongest) and strongest
    theta = jnp.asarray(state_on(subject, layer, manifold, rng))
    step = jax.jit(lambda t: t - 0.003 * subject.gradient(t))
    start = stacked(subject, np.asarray(theta), layer)
    for _ in range(300):
        theta = step(theta)
    end = stacked(subject, np.asarray(theta), layer)
    assert np.linalg.norm(end - start) > 1e-2
    assert manifold.residual(end) < 1e-11


def _independent(rng):
    free = np.where(np.arange(WIDTH) < 2, rng.standard_normal(WIDTH), 0.0)
    return [equal(WIDTH, 2, 0), silent_unit(WIDTH, 3), combination(WIDTH, 4, free)]


def test_a_negative_ratio_is_kept_by_odd_units_only():
    """-theta_j: linear units keep it, ReLU units do not (the unit on the other side of its kink
    learns from other data)."""
    rng = np.random.default_rng(2)
    opposite = Manifold(WIDTH, (proportional(WIDTH, 1, 0, -0.5),))
    for name, kept in (("linear", True), ("in_context_merged", True), ("relu", False)):
        subject, layer = problem(name, rng)
        unit = subject.network.layers[layer].unit
        assert opposite.invariant(unit) == kept
        worst = max(
            departure(subject, layer, opposite, state_on(subject, layer, opposite, rng))
            for _ in range(5)
        )
        assert (worst < 1e-12) == kept


# --------------------------------------------------------------- projections and widths
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_projection_is_the_nearest_point(seed, count):
    """(c) Idempotent, on the manifold, the displacement orthogonal to it."""
    rng = np.random.default_rng(seed)
    manifold = Manifold(WIDTH, tuple(relation(kind, rng) for kind in rng.choice(KINDS, count)))
    theta, other = rng.standard_normal((2, WIDTH, 4))
    nearest = manifold.project(theta)
    assert manifold.residual(nearest) < 1e-11 * max(1.0, np.abs(manifold.matrix).max())
    np.testing.assert_allclose(manifold.project(nearest), nearest, atol=1e-11)
    assert abs(np.sum((theta - nearest) * manifold.project(other))) < 1e-10
    assert manifold.distance(theta) == pytest.approx(np.linalg.norm(theta - nearest))


@pytest.mark.parametrize("kinds", [("i",), ("i", "ii"), ("iii", "iv"), ("ii", "ii", "i")])
def test_a_random_state_on_it(kinds):
    """(b) It satisfies the relations and no other: its own rank is the manifold's width."""
    rng = np.random.default_rng(6)
    manifold = Manifold(WIDTH, tuple(relation(kind, rng) for kind in kinds))
    states = [manifold.random(rng, 7) for _ in range(2000)]
    assert manifold.residual(states[0]) < 1e-12
    assert np.linalg.matrix_rank(states[0]) == manifold.width
    power = np.mean(
        [np.sum(state**2) for state in states]
    )  # of 7 columns, N(0, 1) along each free direction
    assert power == pytest.approx(
        7 * manifold.width, rel=5 * np.sqrt(2 / (7 * manifold.width * 2000))
    )


def test_relations_that_say_the_same_count_once():
    assert Manifold(4, (equal(4, 1, 0), equal(4, 0, 1))).width == 3
    assert Manifold(4, (equal(4, 1, 0), equal(4, 2, 1), equal(4, 2, 0))).width == 2
    assert Manifold(4, ()).width == 4


def planted(unit, width, rng):
    """A layer of 7 units that needs `width`: the nearest state of that width is itself."""
    rows = rng.standard_normal((width, 5))
    if unit.symmetry.linear:
        return rng.standard_normal((7, width)) @ rows
    member = np.r_[np.arange(width), rng.integers(0, max(width, 1), 7 - width)]
    if unit.symmetry.homogeneous:
        return rng.uniform(0.2, 2, 7)[:, None] * rows[member]
    return (
        np.where(rng.random(7)[:, None] < 0.3, 0.0, 1.0) * rows[member]
        if width
        else np.zeros((7, 5))
    )


@pytest.mark.parametrize("name", ["linear", "relu", "quadratic", "tanh"])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_distance_to_a_width(name, width):
    """(a) Zero on the manifold; near it, no more than the displacement; and falling with the
    width."""
    rng, unit = np.random.default_rng(3), make(name)
    for _ in range(10):
        exact = planted(unit, width, rng)
        u, v = exact[:, :3], exact[:, 3:]
        assert nearest_of_width(u, v, unit, width).distance < 1e-10
        moved = exact + 1e-3 * rng.standard_normal(exact.shape)
        found = nearest_of_width(moved[:, :3], moved[:, 3:], unit, width)
        assert found.distance <= np.linalg.norm(moved - exact) * (1 + 1e-9)
        assert found.distance == pytest.approx(np.linalg.norm(moved - found.stacked))
        distances = [
            nearest_of_width(moved[:, :3], moved[:, 3:], unit, h).distance for h in range(8)
        ]
        assert np.all(np.diff(distances) < 1e-9) and distances[7] == 0


def test_distances_of_linear_units_are_exact():
    """(a) Eckart & Young: the root of the sum of squares of the singular values that are left."""
    rng = np.random.default_rng(4)
    u, v = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    s = np.linalg.svd(np.hstack([u, v]), compute_uv=False)
    for h in range(6):
        found = nearest_of_width(u, v, make("linear"), h)
        assert found.exact and found.distance == pytest.approx(np.sqrt(np.sum(s[h:] ** 2)))


def test_rays_have_a_side():
    """Opposite units are one line and two rays."""
    u, v = np.array([[1.0], [-1.0]]), np.array([[1.0], [-1.0]])
    assert nearest_of_width(u, v, make("linear"), 1).distance == pytest.approx(0)
    assert nearest_of_width(u, v, make("relu"), 1).distance == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("name", ["tanh", "quadratic", "sigmoid"])
def test_mirror_images_are_one_point(name):
    """(a) A unit and its mirror image: at distance 0 from width 1; a sigmoid has none, and is at
    that of two points."""
    unit, flip = make(name), make(name).symmetry.flip
    a, b = np.array([1.0, 2.0]), np.array([3.0])
    u, v = np.array([a, -a]), np.array([b, (flip or 1.0) * b])
    apart = 0.0 if flip is not None else np.sqrt(2 * np.sum(a**2))
    assert nearest_of_width(u, v, unit, 1).distance == pytest.approx(apart, abs=1e-12)


def test_opposite_units_stay_opposite_where_phi_is_odd():
    """(b) theta_1 = -theta_0 is kept by tanh units, and not by ReLU ones; `equal` says so."""
    rng = np.random.default_rng(1)
    for name, holds in (("tanh", True), ("relu", False), ("quadratic", False)):
        manifold = Manifold(2, (equal(2, 1, 0, mirrored=True),))
        assert manifold.invariant(make(name)) == holds
        data = Data((3,), 2, rng.standard_normal((20, 3)), rng.standard_normal((20, 2)))
        subject = objective(Network((Layer(make(name), 2),)), data)
        both = manifold.random(rng, 5)
        theta = flatten(({"u": both[:, :3], "v": both[:, 3:]},))
        params = subject.params(np.asarray(subject.gradient(theta)))
        slope = np.hstack(sides(subject.network, params, 0))
        assert (manifold.residual(slope) < 1e-12) == holds


def test_no_silent_point_no_manifold_without_units():
    one = np.ones((3, 2))
    assert nearest_of_width(one, one, make("sigmoid"), 0).distance == np.inf
    assert nearest_of_width(one, one, make("sigmoid"), 1).distance < 1e-12


def test_a_trajectory_is_relative_to_its_own_size():
    rng = np.random.default_rng(5)
    u, v = rng.standard_normal((4, 6, 3)), rng.standard_normal((4, 6, 2))
    found = widths_distances(u, v, make("linear"), (0, 1, 6))
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found[:, [0, 2]], [[1, 0]] * 4, atol=1e-12)
    np.testing.assert_allclose(
        widths_distances(1e-3 * u, 1e-3 * v, make("linear"), (0, 1, 6)), found
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equal(3, 1, 1), "other must be another of the 3 units"),
        (lambda: silent_unit(3, 3), "unit must be one of the 3"),
        (lambda: combination(3, 0, [1.0, 0.0, 0.0]), "that of the unit itself zero"),
        (lambda: combination(3, 0, [0.0, 1.0]), "coefficients must be 3 numbers"),
        (lambda: Manifold(4, (equal(3, 1, 0),)), "a relation must be between 4 units"),
        (
            lambda: Manifold(4, ()).random(np.random.default_rng(0), 0),
            "numbers must be a whole number of at least 1",
        ),
        (
            lambda: nearest_of_width(np.ones((2, 1)), np.ones((2, 1)), make("relu"), -1),
            "width must be a whole number",
        ),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "quadratic", "relu", "linear"])
@pytest.mark.parametrize("power", [-450, -67, 67, 400])
def test_distances_have_the_unit_of_the_weights(name, power):
    """(c) Of 2^k times the units they are 2^k times as far: below 1e-15 centres stood still at
    once."""
    u, v = np.random.default_rng(0).standard_normal((2, 30, 2))
    plain = nearest_of_width(u, v, make(name), 3)
    scaled = nearest_of_width(np.ldexp(u, power), np.ldexp(v, power), make(name), 3)
    assert np.ldexp(scaled.distance, -power) == pytest.approx(plain.distance, rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "quadratic", "relu", "linear"])
@pytest.mark.parametrize("power", [-1000, -550, -67, 480])
def test_layers_in_other_units_of_weights_are_the_same(name, power):
    """(c) Embeddings, distances and counts of 2^k times the weights, whose squares and products
    are no numbers."""
    rng, unit = np.random.default_rng(1), make(name)
    narrow, wide = ((rng.standard_normal((h, 3)), rng.standard_normal((h, 2))) for h in (2, 5))

    def times(sides):
        return tuple(np.ldexp(side, power) for side in sides)

    found = nearest_embedding(times(narrow), times(wide), unit)
    for large, expected in zip(found, nearest_embedding(narrow, wide, unit), strict=True):
        np.testing.assert_array_equal(np.ldexp(large, -power), expected)
    u, v = wide
    far = widths_distances(*(side[None] for side in times(wide)), unit, (1, 2))
    np.testing.assert_array_equal(far, widths_distances(u[None], v[None], unit, (1, 2)))
    u[3], v[4] = 1e-4 * u[3], 1e-5 * v[4]  # two that are hardly there
    counts = count_units(*times(wide), unit, 2, 1e-3)
    assert counts.active == 3 and counts == count_units(u, v, unit, 2, 1e-3)


def test_rows_of_any_size_have_directions():
    """(c) Also those whose squares underflow; rows of zeros have none."""
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    for power in (-1000, -560, 0, 560):
        found = unit_rows(np.ldexp(rows, power))
        np.testing.assert_array_equal(found, [[0.6, 0.8], [0.0, 0.0]])
