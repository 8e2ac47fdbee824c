"""Orders above two: saddles whose order is known by construction, and what is said where none is
found."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from planted import random_fixed_point
from saddlery.basis.precision import in_float64
from saddlery.networks import Data, Layer, Network, Objective, flatten, objective
from saddlery.saddles import certify_state, judging
from saddlery.saddles.deep_linear import free_chain, is_deep_linear, least_loss
from saddlery.saddles.orders import Looked
from saddlery.solvers.higher_order import looked_to
from saddlery.symmetry import embed
from saddlery.symmetry.utility import correlation_series
from saddlery.units import make
from scaled import one_layer, orthogonal_polynomial

SEVEN = (np.arange(-3, 4) / 3)[:, None]
SIXTH = np.array(
    [[-1.0], [4.0], [-5.0], [0.0], [5.0], [-4.0], [1.0]]
)  # orthogonal to all powers below five


def origin(subject: Objective):
    return certify_state(subject, np.zeros(subject.size))


@in_float64
def falls_along(subject, certificate, radii=(0.2, 0.1)):
    """(d) The order of the fall along the direction of a certificate, by the losses themselves."""
    start = float(subject.loss(certificate.state))
    falls = [
        start - float(subject.loss(certificate.state + r * certificate.escape_direction))
        for r in radii
    ]
    assert min(falls) > 0
    return np.log2(falls[0] / falls[1])


# --------------------------------------------------------- silent units, degree by degree
def test_a_saddle_of_order_six():
    """(a) The first correlation is that of x^5, which tanh has; two units cancel the degrees
    below."""
    assert pytest.approx(orthogonal_polynomial(7, 5)[:, None]) == SIXTH
    subject = one_layer("tanh", 3, SEVEN, SIXTH)
    c = origin(subject)
    assert (c.verdict, c.escape_order, c.index) == ("degenerate saddle", 6, 0)
    assert "2 silent units of correlation of degree 5" in c.reason
    assert falls_along(subject, c) == pytest.approx(6, abs=0.3)


def longdouble_fall(activation, x, y, width, radius, starts=12):
    """(d) The deepest fall at a distance from the origin, by L-BFGS on the sphere in long double;
    nothing of ours."""
    x, y = (np.asarray(a, np.longdouble).ravel() for a in (x, y))

    def change(c):
        a = np.asarray(c, np.longdouble)
        a = radius * a / np.sqrt(np.sum(a * a))
        u, v = a[:width], a[width:]
        t = activation(np.outer(x, u))
        f = t @ v
        slope = np.concatenate([((f - y) * x) @ ((1 - t * t) * v), (f - y) @ t]) / len(x)
        return np.mean(f * f / 2 - f * y), slope, a

    def scaled(c, unit):
        value, slope, a = change(c)
        length = np.linalg.norm(np.asarray(c, float))
        tangent = radius * (slope - a * (a @ slope) / radius**2) / length
        return float(value / unit), np.asarray(tangent / unit, float)

    rng, deepest = np.random.default_rng(0), 0.0
    for _ in range(starts):
        c = rng.standard_normal(2 * width)
        for _ in range(4):
            unit = abs(change(c)[0])
            options = {"maxiter": 400, "ftol": 0.0, "gtol": 1e-13}
            c = minimize(scaled, c, args=(unit,), jac=True, method="L-BFGS-B", options=options).x
        deepest = max(deepest, -float(change(c)[0]))
    return deepest


def test_the_order_of_six_by_brute_force():
    """(d) An own search on spheres of radius .5 and .25 finds falls of that order, and the claimed
    fall at .5."""
    falls = [longdouble_fall(np.tanh, SEVEN, SIXTH, 3, r) for r in (0.5, 0.25)]
    assert falls[0] > 4e-6
    assert np.log2(falls[0] / falls[1]) == pytest.approx(6, abs=0.2)


# unit, width, first degree q of the targets, order: q + 1, or 2 (q - p) along a curve of one unit
ORDERS = [
    ("tanh", 3, 3, 4), ("erf", 2, 5, 6),
]  # fmt: skip
SLOW = [
    ("erf", 1, 5, 8), ("sine", 3, 7, 8), ("tanh", 3, 7, 8), ("x_tanh_x", 1, 6, 8), ("gelu", 3, 4, 5), ("tanh", 1, 3, 4),
    ("sine", 2, 5, 6), ("x_tanh_x", 3, 4, 5), ("tanh", 1, 5, 8), ("x_tanh_x", 2, 6, 7),
]  # fmt: skip


@pytest.mark.parametrize(
    "unit, width, degree, order",
    [*ORDERS, *(pytest.param(*c, marks=pytest.mark.slow) for c in SLOW)],
)
def test_orders_known_by_construction(unit, width, degree, order):
    """(a) Targets orthogonal to all powers below q: order q + 1 where units enough cancel the lower
    ones, else 2 (q - p)."""
    subject = one_layer(
        unit, width, (np.arange(-10, 11) / 10)[:, None], orthogonal_polynomial(21, degree)[:, None]
    )
    c = origin(subject)
    assert (c.verdict, c.escape_order, c.index) == ("degenerate saddle", order, 0)


def test_degrees_of_what_is_left():
    """(a) Odd units see odd targets only; the unit found has unit length in the inputs' units."""
    x = (np.arange(-10, 11) / 10)[:, None]
    subject = one_layer("tanh", 2, x, orthogonal_polynomial(21, 5)[:, None])
    found = correlation_series(subject, np.zeros(4))
    assert found.degree == 5 and abs(found.u[0]) * np.sqrt(np.mean(x**2)) == pytest.approx(1.0)
    even = correlation_series(
        one_layer("tanh", 2, x, orthogonal_polynomial(21, 4)[:, None]), np.zeros(4)
    )
    assert even.degree is None and even.highest == 9


@pytest.mark.slow
def test_a_minimum_says_to_which_order_it_was_looked():
    """(a) Odd units cannot fit even targets at all: a minimum above the lower bound of the loss."""
    subject = one_layer(
        "tanh", 2, (np.arange(-10, 11) / 10)[:, None], orthogonal_polynomial(21, 4)[:, None]
    )
    c = origin(subject)
    assert c.verdict == "minimum"
    assert "zero to degree 9" in c.reason
    order = re.search(r"no descent up to order (\d+)", c.reason)
    assert order is not None and int(order[1]) >= 6


def test_looked_to_in_closed_form():
    """(a) A fall of the natural size at .3/4 of the weights is (.3/4)^q of the loss."""
    assert looked_to(2.0, 2.0 * 0.075**7.5) == 7
    assert looked_to(1.0, 1.0) == 2
    assert looked_to(1.0, 0.0) == 12  # the highest that is claimed


# ------------------------------------------------------------------- deep linear networks
def deep(widths, x, y):
    layers = tuple(
        Layer(make("linear"), h, mixes=k == len(widths) - 1) for k, h in enumerate(widths)
    )
    return objective(Network(layers), Data(x.shape[1:], y.shape[1], x, y))


@in_float64
def embedded(construction, seed, narrow=(1, 1, 1), wide=(3, 3, 3)):
    """Balanced rank one, the least of narrow widths one, embedded: (objective, state, residual
    correlation)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 4))
    y = x @ rng.standard_normal((4, 3)) + 0.5 * rng.standard_normal((40, 3))
    best = np.linalg.lstsq(x, y, rcond=None)[0].T
    q = np.linalg.svd(x @ best.T)[2][0]
    r, matrices = q @ best, len(narrow) + 1
    g = np.linalg.norm(r) ** (1 / matrices)
    theta = np.concatenate([g * r / np.linalg.norm(r), np.full(matrices - 2, g), g * q])
    small = deep(narrow, x, y)
    network, params = embed(
        small.network, small.params(jnp.asarray(theta)), wide, construction=construction, seed=seed
    )
    return small.with_network(network), flatten(params), (y - x @ np.outer(q, r).T).T @ x / len(x)


@pytest.mark.parametrize("construction", ["i", "iii", "iv"])
def test_a_deep_linear_network_has_no_minimum_above_its_least(construction):
    """(a) Four matrices: order four along a chain, F = |residual| / 4^2; (d) the losses fall so."""
    subject, state, residual = embedded(construction, 0)
    chain = free_chain(subject, state)
    assert chain.order == 4
    assert chain.value == pytest.approx(np.linalg.norm(residual, 2) / 16, rel=1e-9)
    c = certify_state(subject, state)
    assert (c.verdict, c.escape_order, c.index) == ("degenerate saddle", 4, 0)
    assert falls_along(subject, c) == pytest.approx(4, abs=0.02)


def test_the_theorem_stands_where_no_search_finds_a_way(monkeypatch):
    monkeypatch.setattr(judging, "along_chain", lambda *a: None)
    monkeypatch.setattr(judging, "look_for_descent", lambda *a: Looked(None, "nothing found"))
    subject, state, _ = embedded("iii", 0)
    c = certify_state(subject, state)
    assert (c.verdict, c.escape_order) == ("degenerate saddle", None)
    assert "Kawaguchi" in c.reason and "nothing found" in c.reason


@pytest.mark.parametrize("widths", [(1, 1), (2, 3), (4, 4)])
def test_the_least_loss_by_descent(widths):
    """(d) L-BFGS from random weights, the best of five."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((25, 3)), rng.standard_normal((25, 3))
    subject = deep(widths, x, y)
    from jax import enable_x64

    with enable_x64(True):
        value = lambda t: (float(subject.loss(t)), np.asarray(subject.gradient(t)))
        draws = [rng.standard_normal(subject.size) for _ in range(5)]
        ends = [
            minimize(
                value,
                d,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 5000, "ftol": 0, "gtol": 1e-10},
            )
            for d in draws
        ]
    least = least_loss(subject)
    assert least.rank == min(*widths, 3)
    assert min(e.fun for e in ends) == pytest.approx(least.loss, rel=1e-8)
    c = certify_state(subject, min(ends, key=lambda e: e.fun).x)
    assert c.verdict == "minimum"
    assert "least of any linear map" in c.reason or "lower bound" in c.reason


def test_where_the_theorem_applies():
    x = np.random.default_rng(0).standard_normal((9, 3))
    linear = make("linear")
    assert is_deep_linear(deep((2, 2), x, x))
    residual = Network((Layer(linear, 2, residual=True), Layer(linear, 2)))
    assert not is_deep_linear(objective(residual, Data((3,), 3, x, x)))
    assert not is_deep_linear(one_layer("tanh", 2, x, x))
    assert not is_deep_linear(one_layer("diagonal", 1, x, x[:, :1]))
    assert not is_deep_linear(
        objective(Network((Layer(make("linear", bias=True), 2),)), Data((3,), 3, x, x))
    )
    assert least_loss(one_layer("tanh", 2, x, x)) is None
    assert (
        free_chain(*random_fixed_point(Network((Layer(linear, 2),)), (3,), 2)) is None
    )  # no unit is free


# -------------------------------------------------------- what is left is small, or two orders meet
@pytest.mark.parametrize("second", [3e-7, 1e-5])
@pytest.mark.parametrize("kind", ["linear", "relu", "deep"])
def test_a_small_second_target_is_left_to_learn(kind, second):
    """(a) The first mode is learned and the excess is s^2 / 4, 1e-14 of the whole: no minimum while
    a new unit would help, at order two, and through three matrices at order three."""
    one, both = np.diag([1.0, 0.0]), np.diag([1.0, second])
    if kind == "deep":
        network = Network((Layer(make("linear"), 2, mixes=False), Layer(make("linear"), 2)))
        subject, state = (
            objective(network, Data((2,), 2, np.eye(2), both)),
            flatten(({"u": one}, {"u": one, "v": one})),
        )
    elif kind == "linear":
        subject, state = (
            one_layer("linear", 2, np.eye(2), both),
            np.array([1.0, 0, 0, 0, 1, 0, 0, 0]),
        )
    else:
        subject, state = (
            one_layer("relu", 2, np.eye(2), [[1.0], [second]]),
            np.array([1.0, -1, 0, 0, 1, 0]),
        )
    c = certify_state(subject, state)
    assert (c.certified, c.escape_order) == (True, 3 if kind == "deep" else 2)
    assert c.verdict == ("degenerate saddle" if kind == "deep" else "strict saddle")


@pytest.mark.parametrize("offset", [1e3, 1e7])
def test_a_large_offset_that_has_been_learned(offset):
    """(b) Targets c + x^2 of which c is learned: a unit at every angle, and the best of them is the
    utility."""
    x = np.linspace(-1, 1, 21)[:, None]
    angles = np.linspace(0, 2 * np.pi, 2881)
    bends = np.maximum(x * np.cos(angles) + np.sin(angles), 0.0)
    highest = np.abs(bends.T @ (x**2 - np.mean(x**2))).max() / len(x) / 2
    size = np.sqrt(offset + np.mean(x**2))
    subject = objective(
        Network((Layer(make("relu", bias=True), 3),)), Data((1,), 1, x, offset + x**2)
    )
    c = certify_state(subject, np.array([0, size, 0, 0, 0, 0, size, 0, 0]))
    assert c.verdict == "strict saddle"
    assert c.utility.value == pytest.approx(highest, rel=1e-3)


@pytest.mark.slow
def test_a_small_term_of_low_order_takes_over():
    """(a) Two tanh layers and targets whose correlation with x is 4e-6: order five at 0.01 of the
    weights, three below."""
    x = np.linspace(-1, 1, 21)[:, None]
    y = x**3 - x * np.mean(x**4) / np.mean(x**2) + 1e-5 * x
    network = Network((Layer(make("tanh"), 2, mixes=False), Layer(make("tanh"), 2)))
    c = origin(objective(network, Data((1,), 1, x, y)))
    assert (c.verdict, c.escape_order) == ("degenerate saddle", 3)


def test_the_least_loss_in_any_units():
    """(a) A feature of 1e-16 beside one of order one explains the targets all the same."""
    x = (
        np.sqrt(20)
        * np.linalg.qr(np.random.default_rng(0).standard_normal((20, 2)))[0]
        * np.array([1.0, 1e-16])
    )
    least = least_loss(one_layer("linear", 2, x, 1e16 * x[:, 1:], moments=False))
    assert least is not None and least.loss == pytest.approx(0, abs=1e-15)
