"""Rounding: bounds that hold, zeros that are none, and verdicts that do not depend on units of
measure."""

from __future__ import annotations

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from planted import random_fixed_point
from saddlery.basis.precision import in_float64
from saddlery.networks import Data, Layer, Network, flatten, objective
from saddlery.networks.losses import SQUARED, Loss
from saddlery.networks.rounding import EPS, Change, Rounded, curvatures, exact_mean
from saddlery.saddles import certify_state
from saddlery.symmetry import embed
from saddlery.units import make
from scaled import one_layer, orthogonal_polynomial, rescaled

LINE = (np.arange(-10, 11) / 10)[:, None]


# ------------------------------------------------------------------ the model
def test_sway_of_a_curvature_in_closed_form():
    """(a) At the origin d'Hd = -2 u v E[y x]: targets and inputs each sway it by 2 |u v| E|y x|,
    however much cancels."""
    x, y = LINE, orthogonal_polynomial(21, 5)[:, None]
    subject = one_layer("tanh", 1, x, y)
    (found,) = curvatures(subject, np.zeros(2), np.array([[0.6, 0.8]]))
    assert found.sway == pytest.approx(2 * 2 * 0.6 * 0.8 * np.mean(np.abs(y * x)), rel=1e-12)
    assert found.zero and not found.decided


def curvature_exactly(x, y, u, v):
    """(d) d'Hd at the origin of a linear unit, by fractions."""
    terms = [
        Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x.ravel(), y.ravel(), strict=True)
    ]
    return float(-2 * Fraction(u) * Fraction(v) * sum(terms) / len(terms))


def test_bounds_hold_for_data_moved_by_their_last_digit():
    """(b), (d) The data's own rounding, half a last digit each, moves no curvature by more than
    `least`."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.standard_normal((2, 30, 1))
        y -= x * (x.ravel() @ y.ravel()) / (x.ravel() @ x.ravel())  # orthogonal to rounding
        (found,) = curvatures(
            one_layer("linear", 1, x, y, moments=False), np.zeros(2), np.array([[0.6, 0.8]])
        )
        exact = curvature_exactly(x, y, 0.6, 0.8)
        assert abs(found.value - exact) <= found.bound
        for _ in range(10):
            signs = rng.choice([-0.5, 0.5], (2, *x.shape))
            moved = curvature_exactly(x * (1 + EPS * signs[0]), y * (1 + EPS * signs[1]), 0.6, 0.8)
            assert (
                abs(moved - exact) <= 1.5 * found.least
            )  # products with 1 + eps/2 round once more


def change_exactly(x, y, u, v):
    """(d) L(u, v) - L(0) of a quadratic unit, by fractions."""
    terms = []
    for a, b in zip(x.ravel(), y.ravel(), strict=True):
        f = Fraction(float(v)) * (Fraction(float(u)) * Fraction(float(a))) ** 2
        terms.append(f * f / 2 - f * Fraction(float(b)))
    return float(sum(terms) / len(terms))


def test_changes_far_below_the_rounding_of_the_loss():
    """(d) L(x) - L(point) by fractions, 1e-15 of the loss, to a thousandth; the difference of
    losses has no digit."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 9, 1))
    subject = one_layer("quadratic", 1, x, 1e3 * y, moments=False)
    point, there = np.zeros(2), np.array([1e-4, 2e-5])
    change = Change(subject, point)
    exact = change_exactly(x, subject.targets, *there)
    assert abs(exact) < 1e-14 * float(subject.loss(point))
    assert change(there) == pytest.approx(exact, rel=1e-9, abs=0)
    assert abs(change(there) - exact) <= change.noise(there)


def cancelling(seed, samples):
    """Inputs and targets, of which mean y x^2 is zero to rounding."""
    x, y = np.random.default_rng(seed).standard_normal((2, samples, 1))
    return x, y - x**2 * np.sum(x**2 * y) / np.sum(x**4)


def test_noise_covers_data_moved_by_their_last_digit():
    """(b), (d) Inputs and targets, whose terms cancel to rounding, each moved the worst way; and
    no more than a hundred times that."""
    x, y = cancelling(2, 10_000)
    there = np.array([1e-4, 2e-5])
    change = Change(one_layer("quadratic", 1, x, y, moments=False), np.zeros(2))
    # Near the origin a term is -f y, of which each sample's f is positive.
    by = EPS / 2 * np.sign(y)
    moved = change_exactly(x * (1 + by), y * (1 + by), *there) - change_exactly(x, y, *there)
    assert abs(moved) <= change.noise(there) <= 100 * abs(moved)


def test_noise_grows_with_the_loss():
    """(c) A loss of 500 |y - f|^2 has a thousand times the noise of the squared loss."""
    x, y = cancelling(3, 1000)
    large = Loss("large", lambda y, f: 500 * jnp.sum((y - f) ** 2), quadratic=True)
    noise = []
    for loss in (SQUARED, large):
        data = Data((1,), 1, x, y, loss=loss)
        subject = objective(Network((Layer(make("quadratic"), 1),)), data)
        noise.append(Change(subject, np.zeros(2)).noise(np.array([1e-4, 2e-5])))
    assert noise[1] == pytest.approx(1e3 * noise[0], rel=0.1, abs=0)


@pytest.mark.parametrize("terms", [[1e308, 1e308, -1e308], [np.inf, -np.inf, 1.0]])
def test_a_change_beyond_all_numbers_is_no_fall(terms):
    """Found by random problems: the sum of a search's far points ended in OverflowError."""
    assert exact_mean(np.array(terms)) == np.inf


@pytest.mark.parametrize(
    ("times", "zero", "decided"), [(0.5, True, False), (5.0, False, False), (20.0, False, True)]
)
def test_three_answers(times, zero, decided):
    number = Rounded(times * EPS * 3.0, 3.0)
    assert (number.zero, number.decided) == (zero, decided)


# ------------------------------------------------------------------ verdicts
@pytest.mark.parametrize(
    ("last_digits", "verdict"), [(2, "minimum"), (30, "undecided"), (2000, "strict saddle")]
)
def test_a_correlation_of_some_last_digits(last_digits, verdict):
    """(a) E[y x] = k eps / 2 beside a sway of 2: zero to the data, neither zero nor certain,
    certain."""
    subject = one_layer("tanh", 2, [[-1.0], [1.0]], [[1.0], [1.0 + last_digits * EPS]])
    c = certify_state(subject, np.zeros(subject.size))
    assert c.verdict == verdict
    assert c.certified
    if verdict == "undecided":
        assert "undecided to rounding" in c.reason and "where rounding explains" in c.reason


@pytest.mark.parametrize("share", [1.0, 1 / 3, 1e-5, 7e5])
def test_a_hessian_of_zeros_has_no_negative_eigenvalue(share):
    """(a) Targets without a correlation with x^k, k < 5: the Hessian is zero, and the loss falls at
    order six (two units or more: the degrees below cancel)."""
    subject = one_layer("tanh", 3, LINE, share * orthogonal_polynomial(21, 5)[:, None])
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.index, c.escape_order, c.zero_modes) == ("degenerate saddle", 0, 6, 6)


@pytest.mark.parametrize("incoming", [1e-9, 1e-8, 1e-6])
def test_weights_that_are_hardly_any_are_the_origin(incoming):
    """(a) u of 1e-8 and v of 1e-5 leave a cubic unit a gradient of zero and curvatures of 1e-16,
    negative ones: they are not those of a fixed point, of which the only one near is all units
    silent, where the loss falls at order four."""
    rng = np.random.default_rng(3)
    subject = one_layer(
        "cubic", 2, rng.standard_normal((9, 3)), 1e-3 * rng.standard_normal((9, 2)), moments=False
    )
    u, v = incoming * rng.standard_normal((2, 3)), 1e-5 * rng.standard_normal((2, 2))
    c = certify_state(subject, flatten(({"u": u, "v": v},)))
    assert (c.verdict, c.index, c.escape_order) == ("degenerate saddle", 0, 4)
    assert not c.state.any()


def test_a_half_silent_unit_is_judged_as_it_is(incoming=1e-120):
    """(a) u of what Newton's method leaves of zero, and v: curvatures -2 E[v.y x x'] of u, whatever
    is left of it."""
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((9, 2)), np.array([[0.3], [-0.2]])
    y = rng.standard_normal((9, 1))
    subject = one_layer("quadratic", 2, x, y, moments=False)
    moment = np.einsum("n,ni,nj->ij", y[:, 0], x, x) / 9
    values = np.linalg.eigvalsh(-2 * np.kron(np.diag(v[:, 0]), moment))
    c = certify_state(subject, flatten(({"u": incoming * rng.standard_normal((2, 2)), "v": v},)))
    assert (c.verdict, c.index, c.zero_modes) == ("strict saddle", int(np.sum(values < 0)), 2)
    assert c.lowest_eigenvalue == pytest.approx(values[0])


def test_moments_know_how_exact_they_are():
    """(a) The equivalent sample of targets orthogonal to x^3 is 1e-17; its doubt is that of the sum
    that cancelled, of a last digit of every y and of every x, which x^3 has three times."""
    x, y = LINE, orthogonal_polynomial(21, 5)[:, None]
    subject = one_layer("cubic", 3, x, y, moments=True)
    assert subject.exact == "power 3" and subject.doubt is not None
    root = np.sqrt(np.mean(x**6))
    assert subject.doubt.ravel() == pytest.approx(4 * np.mean(np.abs(y * x**3)) / root, rel=1e-9)
    c = certify_state(subject, np.zeros(subject.size))
    assert (c.verdict, c.index) == ("minimum", 0)


# ------------------------------------------------------------------ units of measure
@in_float64
def subjects(name):
    """A network at a fixed point with something left to learn."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    if name == "no correlation below degree five":
        subject = one_layer("tanh", 3, LINE, orthogonal_polynomial(21, 5)[:, None])
        return subject, np.zeros(subject.size)
    unit, stage = name.split(", ")
    if stage == "origin":
        subject = one_layer(unit, 3, x, y, moments=False)
        return subject, np.zeros(subject.size)
    if stage == "two layers":
        network = Network((Layer(make(unit), 2, mixes=False), Layer(make(unit), 2)))
        return random_fixed_point(network, (3,), 2, seed=5, samples=50)
    network = Network((Layer(make(unit), 2),))
    subject, theta = random_fixed_point(network, (3,), 2, seed=4, samples=40)
    wide, params = embed(network, subject.params(jnp.asarray(theta)), 4, construction=stage, seed=1)
    return subject.with_network(wide), flatten(params)


NAMES = ["quadratic, ii", "no correlation below degree five"]
MORE = [
    *("tanh, ii", "relu, iii", "linear, origin", "tanh, origin", "quadratic, origin", "relu, origin", "linear, iv", "tanh, i"),
    *("relu, ii", "cubic, ii", "linear, two layers", "tanh, two layers"),
]  # fmt: skip
UNITS = [
    {"targets": 1e-5}, {"targets": 1e3}, {"targets": 1e5}, {"inputs": 1e-5}, {"inputs": 1e-2}, {"inputs": 1e5},
    {"targets": 1e5, "inputs": 1e5}, {"targets": 1e5, "inputs": 1e-5},
]  # fmt: skip
WEIGHTS = [{"units": 1e-5}, {"units": 1e2}, {"units": 1e5}, {"units": 1e8}]


@pytest.mark.parametrize(
    "name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
)
def test_verdicts_commute_with_units_of_measure(name):
    """(c) Targets, inputs and units in any units of measure: the same kind of point, index, zero
    modes and order."""
    subject, theta = subjects(name)
    kind = lambda c: (c.verdict, c.index, c.zero_modes, c.escape_order)
    first = kind(certify_state(subject, theta))
    assert first[0] != "no fixed point found"
    forms = len(subject.network.layers) == 1 and name.split(", ")[0] in (
        "linear",
        "relu",
        "quadratic",
        "cubic",
    )
    for units in [*UNITS, *(WEIGHTS if forms else [])]:
        assert kind(certify_state(*rescaled(subject, theta, **units))) == first, units


COLUMNS = [(1e3, 1.0, 1.0), (1.0, 1e-6, 1e3), (1e8, 1.0, 1e-3)]


@pytest.mark.parametrize(
    "name",
    [
        "tanh, ii",
        "linear, iv",
        "relu, ii",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("relu, iii", "relu, origin", "quadratic, ii")
        ),
    ],
)
def test_verdicts_commute_with_units_of_each_feature(name):
    """(c) A unit of measure of every input's own: the same kind of point, index, zero modes by
    cause, and order."""
    subject, theta = subjects(name)
    kind = lambda c: (c.verdict, c.index, c.zero_modes, c.explained, c.escape_order)
    first = kind(certify_state(subject, theta))
    assert first[0] != "no fixed point found" and first[3]["unexplained"] == 0
    for units in COLUMNS:
        assert kind(certify_state(*rescaled(subject, theta, inputs=np.array(units)))) == first, (
            units
        )


def test_a_saddle_of_features_in_very_different_units():
    """(a) Counts of 1e7 beside a flag, both to be learned, from exact moments: with the leading
    mode e learned, the other grows at |C - e e' C| (Baldi & Hornik 1989)."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(3e7, 9e7, 60), rng.integers(0, 2, 60)], axis=1).astype(float)
    best = np.diag([1 / 6e7, 1.0])
    y = x @ best
    mode = np.linalg.eigh(y.T @ y)[1][:, 1:]
    subject = one_layer("linear", 2, x, y)
    assert subject.exact == "input"
    theta = flatten(
        (
            {
                "u": np.vstack([mode.T @ best, np.zeros((1, 2))]),
                "v": np.vstack([mode.T, np.zeros((1, 2))]),
            },
        )
    )
    c = certify_state(subject, theta)
    rest = y.T @ x / 60 - mode @ (mode.T @ y.T @ x / 60)
    assert (c.verdict, c.index) == ("strict saddle", 1)
    assert c.escape_rate == pytest.approx(np.linalg.norm(rest, 2), rel=1e-6)
