"""Units against plain NumPy loops, and every declaration against what it declares."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate
from scipy.special import erf, expit, log_ndtr

from saddlery import units
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, objective
from saddlery.units import (
    Lift,
    Symmetry,
    Unit,
    attention,
    check_symmetry,
    convolution,
    debug,
    dense,
    in_context,
    leading_form,
)
from saddlery.units.base import debugging

LINEAR = Symmetry(silent=True, homogeneous="real", linear=True, degree=1)
BIASED = ("linear", "relu", "leaky_relu", "quadratic", "cubic", "tanh", "x_tanh_x", "erf", "gelu")
OPTIONS = {
    "conv_relu": [{"kernel": [3], "stride": 2}, {"kernel": [2, 3]}, {"kernel": [1]}],
    "conv_linear": [{"kernel": [2], "stride": 2}, {"kernel": [2, 2], "stride": 2}],
    "attention_linear": [{"rank": 2}, {"rank": 5}],
    "attention_softmax": [{"rank": 3}],
    "in_context_linear": [{"rank": 2}],
    "in_context_softmax": [{"rank": 2}],
    **{name: [{"bias": True}] for name in BIASED},
}
EVERY = [(name, options) for name in units.names() for options in [{}, *OPTIONS.get(name, [])]]


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def simple(name="mine", phi=lambda z, u: z @ u, symmetry=LINEAR, **fields):
    return Unit(name, phi, lambda shape: shape, symmetry, **fields)


# ------------------------------------------------------------------- contract
@pytest.mark.parametrize(("name", "options"), EVERY, ids=[f"{n}{o or ''}" for n, o in EVERY])
def test_contract(name, options):
    """(b) Every declaration of every registered unit holds by its defining equation; shapes are as
    documented."""
    unit = units.make(name, **options)
    check_symmetry(unit)
    assert dict(unit.options) == ({**dict(unit.options), **options})
    shape = unit.shape(unit.example)
    z, u = draw(1, unit.example, (3, *shape))
    features = unit.features(jnp.asarray(z), jnp.asarray(u))
    assert features.shape[0] == 3 and features.ndim - 1 >= unit.mixed
    np.testing.assert_allclose(features[1], unit.phi(jnp.asarray(z), jnp.asarray(u[1])), rtol=1e-13)
    assert units.make(unit.name, **unit.options) is unit or not options


@pytest.mark.parametrize(("name", "options"), EVERY, ids=[f"{n}{o or ''}" for n, o in EVERY])
def test_no_parity_is_left_undeclared(name, options):
    """(b) What is not declared odd (even) is not: phi(z; -u) differs from -phi(z; u) (from phi(z;
    u))."""
    unit = units.make(name, **options)
    z, u = (jnp.asarray(a) for a in draw(2, unit.example, unit.shape(unit.example)))
    for parity, sign in (("odd", -1.0), ("even", 1.0)):
        violation = float(jnp.max(jnp.abs(unit.phi(z, -u) - sign * unit.phi(z, u))))
        assert (violation < 1e-12) == (unit.symmetry.parity == parity)


def test_what_is_homogeneous_is_of_degree_one_and_over_the_reals_odd():
    assert Symmetry(silent=True, homogeneous="real").parity == "odd" == LINEAR.parity
    for numbers in ("real", "positive"):
        assert Symmetry(silent=True, homogeneous=numbers).degree == 1
    assert (LINEAR.flip, Symmetry(parity="even").flip, Symmetry().flip) == (-1.0, 1.0, None)
    with pytest.raises(InputError, match='parity must be "odd"'):
        Symmetry(silent=True, homogeneous="real", parity="even")


def test_the_issue_asks_for_these():
    wanted = {
        *BIASED,
        "conv_linear",
        "conv_relu",
        "attention_merged",
        "attention_linear",
        "attention_softmax",
    }
    assert wanted <= set(units.names())


def bent(z, u):
    """Linear but for a small cubic part."""
    return z @ u + 1e-3 * (z @ u) ** 3


WRONG = {
    "silent": (
        simple(phi=lambda z, u: z @ u + 1.0, symmetry=Symmetry(silent=True)),
        r"silent at u = 0",
    ),
    "positive": (
        simple(phi=bent, symmetry=Symmetry(silent=True, homogeneous="positive")),
        "for a >= 0",
    ),
    "real": (
        simple(
            phi=lambda z, u: jax.nn.relu(z @ u),
            symmetry=Symmetry(silent=True, homogeneous="real"),
            smooth=False,
        ),
        "over the reals",
    ),
    "odd": (
        simple(phi=lambda z, u: jnp.tanh(z @ u) ** 2, symmetry=Symmetry(parity="odd")),
        r"odd, phi\(z; -u\) = -phi",
    ),
    "even": (
        simple(phi=lambda z, u: jnp.tanh(z @ u), symmetry=Symmetry(parity="even")),
        r"even, phi\(z; -u\) = phi",
    ),
    "linear": (simple(phi=lambda z, u: jnp.cbrt((z @ u) ** 2 * jnp.sum(u))), "linear in u"),
    "degree": (
        simple(phi=lambda z, u: (z @ u) ** 2, symmetry=Symmetry(silent=True, degree=3)),
        "leading degree 3 in u, got 'a measured order of 2.000'",
    ),
    "vanishing": (
        simple(phi=lambda z, u: 0.0 * (z @ u), symmetry=Symmetry(silent=True, degree=1)),
        "vanishes for small u",
    ),
    "linear_in_input": (simple(phi=lambda z, u: (z**3) @ u, linear_in_input=True), "linear in z"),
    "lift": (
        simple(
            phi=lambda z, u: (z @ u) ** 2,
            symmetry=Symmetry(silent=True, degree=2),
            lift=Lift(
                "power 2", lambda z: jnp.outer(z, z).ravel(), lambda u: 2 * jnp.outer(u, u).ravel()
            ),
        ),
        r"<coefficients\(u\), features\(z\)>",
    ),
    "channels": (simple(phi=lambda z, u: z[::-1] @ u, channels=True), "weighted by channel"),
    "channels one by one": (
        simple(
            phi=lambda z, u: jnp.sum(jnp.tanh(z * u)),
            symmetry=Symmetry(silent=True, degree=1, parity="odd"),
            channels=True,
        ),
        "weighted by channel, .* through the sum of z_c u_c",
    ),
    "one channel alone": (
        simple(phi=lambda z, u: jnp.tanh(z @ u), symmetry=Symmetry(), channels=True, example=(1,)),
        r"a shape with two channels at least, such as \(2, 5\), got \(1,\)",
    ),
    "a number as input": (
        simple(phi=lambda z, u: z * u + 1, symmetry=Symmetry(silent=True), example=()),
        r"silent at u = 0",
    ),
    "example that is no shape": (simple(example=3), "example of unit 'mine' must be a shape"),
    "channels count": (
        Unit("mine", lambda z, u: z.sum() * u.sum(), lambda shape: (4,), LINEAR, channels=True),
        "4 weights for 3 channels",
    ),
    "linear but not homogeneous": (
        simple(symmetry=Symmetry(silent=True, linear=True)),
        "since it is linear",
    ),
    "homogeneous but not silent": (
        simple(symmetry=Symmetry(homogeneous="real")),
        "declared silent",
    ),
    "degree but not silent": (simple(symmetry=Symmetry(degree=1)), "declared silent"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_declarations_are_caught(kind):
    """(b) A unit that declares what its phi does not satisfy is refused with the declaration in the
    message."""
    unit, message = WRONG[kind]
    with pytest.raises(InputError, match=message) as caught:
        check_symmetry(unit)
    assert "'mine'" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{"homogeneous": "Real"}, {"degree": 0}, {"degree": 1.5}, {"degree": "2"}, {"parity": "Odd"}],
)
def test_impossible_declarations(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        Symmetry(silent=True, **fields)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"mixed": 1}, r"mixed of unit 'miscounted' must be a whole number from 0 to 0, the axes of phi, \(\), got 1"),
        ({"mixed": -1}, "from 0 to 0"),
        ({"mixed": 0.5}, "a whole number"),
        ({"extra": 4}, r"extra of unit 'miscounted' must be a whole number from 0 to 3, the entries of u, \(3,\), got 4"),
        ({"extra": True}, "a whole number"),
    ],
)  # fmt: skip
def test_axes_and_entries_that_are_not_there(counts, words):
    with pytest.raises(InputError, match=words):
        check_symmetry(Unit("miscounted", lambda z, u: jnp.tanh(z @ u), tuple, **counts))


def test_debug_mode_checks_at_construction(monkeypatch):
    wrong = lambda: simple(symmetry=Symmetry(silent=True, degree=2))
    wrong()  # nothing is checked outside
    with debug():
        assert debugging()
        with pytest.raises(InputError, match="leading degree 2"):
            wrong()
        simple()
    assert not debugging()
    monkeypatch.setenv("SADDLERY_DEBUG", "1")
    with pytest.raises(InputError, match="leading degree 2"):
        wrong()


def test_debug_mode_ends_also_after_an_error():
    with pytest.raises(KeyError), debug():
        raise KeyError
    assert not debugging()


# ------------------------------------------------------------------ phi
SIGMA = {
    "linear": lambda a: a,
    "relu": lambda a: max(a, 0.0),
    "leaky_relu": lambda a: a if a > 0 else 0.1 * a,
    "quadratic": lambda a: a * a,
    "cubic": lambda a: a * a * a,
    "tanh": math.tanh,
    "x_tanh_x": lambda a: a * math.tanh(a),
    "erf": erf,
    "gelu": lambda a: a * math.exp(log_ndtr(a)),
    "sine": math.sin,
    "sigmoid": expit,
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SIGMA)
def test_dense(name, bias):
    """(d) A loop over entries and the activation from math and scipy; inputs of any shape are
    flattened."""
    for seed in range(5):
        z, u = draw(seed, (2, 3), (6 + bias,))
        total = u[6] if bias else 0.0
        for value, weight in zip(z.ravel(), u, strict=False):
            total += value * weight
        np.testing.assert_allclose(
            dense(name, bias).phi(jnp.asarray(z), jnp.asarray(u)), SIGMA[name](total), rtol=1e-12
        )
    assert dense(name, bias).shape((2, 3)) == (6 + bias,)
    assert dense(name, bias).extra == bias


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [
        ((1, 5), (2,), 1),
        ((5,), (2,), 2),
        ((3, 7), (3,), 2),
        ((2, 4), (4,), 3),
        ((3, 4), (1,), 1),
        ((1, 4, 5), (2, 3), 1),
        ((4, 5), (2, 2), 2),
        ((3, 5, 7), (3, 2), 2),
        ((2, 3, 3), (3, 3), 1),
    ],
)
def test_convolution(activation, shape, kernel, stride):
    """(d) scipy.signal.correlate in its valid part, summed over channels, every stride-th place."""
    unit = convolution(activation, kernel, stride)
    channels = shape[0] if len(shape) > len(kernel) else 1
    assert unit.shape(shape) == (channels, *kernel)
    z, u = draw(3, shape, (channels, *kernel))
    full = z.reshape(channels, *shape[-len(kernel) :])
    response = sum(correlate(full[c], u[c], mode="valid", method="direct") for c in range(channels))
    expected = np.vectorize(SIGMA[activation])(response[(slice(None, None, stride),) * len(kernel)])
    np.testing.assert_allclose(
        unit.phi(jnp.asarray(z), jnp.asarray(u)), expected, rtol=1e-12, atol=1e-13
    )


def scores_by_loops(kind, u, left, right):
    """left' K Q' right with explicit sums."""
    d = len(left)
    if kind == "merged":
        return sum(left[i] * u[i, j] * right[j] for i, j in itertools.product(range(d), range(d)))
    return sum(
        left[i] * u[0][i, r] * u[1][j, r] * right[j]
        for i, j, r in itertools.product(range(d), range(d), range(u.shape[2]))
    )


@pytest.mark.parametrize(
    ("kind", "rank"), [("merged", 1), ("linear", 1), ("linear", 3), ("softmax", 1), ("softmax", 2)]
)
def test_attention(kind, rank):
    """(d) Explicit sums: token a attends to token b with z_b' K Q' z_a, over N or in a softmax over
    b."""
    unit, (n, d) = attention(kind, rank), (4, 3)
    z, u = draw(5, (n, d), unit.shape((n, d)))
    expected = np.zeros((n, d))
    for a in range(n):
        weights = np.array([scores_by_loops(kind, u, z[b], z[a]) for b in range(n)])
        weights = np.exp(weights) / np.exp(weights).sum() if kind == "softmax" else weights / n
        for b in range(n):
            expected[a] += weights[b] * z[b]
    np.testing.assert_allclose(
        unit.phi(jnp.asarray(z), jnp.asarray(u)), expected, rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize(
    ("kind", "rank"), [("merged", 1), ("linear", 1), ("linear", 3), ("softmax", 1), ("softmax", 2)]
)
def test_in_context(kind, rank):
    """(d) Explicit sums over the pairs of the prompt; the query row's last entry is never read."""
    unit, (n, d) = in_context(kind, rank), (5, 3)
    z, u = draw(6, (n + 1, d + 1), unit.shape((n + 1, d + 1)))
    x, y, query = z[:n, :d], z[:n, d], z[n, :d]
    scores = [scores_by_loops(kind, u, x[k], query) for k in range(n)]
    if kind == "softmax":
        expected = sum(math.exp(s) * t for s, t in zip(scores, y, strict=True)) / sum(
            math.exp(s) for s in scores
        )
    else:
        expected = sum(s * t for s, t in zip(scores, y, strict=True)) / n
    np.testing.assert_allclose(unit.phi(jnp.asarray(z), jnp.asarray(u)), expected, rtol=1e-11)
    z[n, d] = 17.0
    np.testing.assert_allclose(unit.phi(jnp.asarray(z), jnp.asarray(u)), expected, rtol=1e-11)


def test_merged_attention_of_a_product_is_separate_attention():
    """(c) u = K Q' in a merged head gives the same features as (K, Q)."""
    z, u = draw(7, (5, 3), (2, 3, 2))
    for family in (attention, in_context):
        d = 3 if family is attention else 2
        w = u[:, :d]
        apart = family("linear", 2).phi(jnp.asarray(z), jnp.asarray(w))
        np.testing.assert_allclose(
            family("merged").phi(jnp.asarray(z), jnp.asarray(w[0] @ w[1].T)), apart, rtol=1e-12
        )


# ------------------------------------------------------------- leading forms
def taylor(unit, z, u, degree, h=0.02):
    """(1/p!) d^p/d eps^p phi(z; eps u) at 0 by central differences of order h^4, for p <= 3."""
    stencils = {
        1: ([-2, -1, 1, 2], [1 / 12, -2 / 3, 2 / 3, -1 / 12]),
        2: ([-2, -1, 0, 1, 2], [-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12]),
        3: ([-3, -2, -1, 1, 2, 3], [1 / 8, -1, 13 / 8, -13 / 8, 1, -1 / 8]),
    }
    places, weights = stencils[degree]
    total = sum(
        w * np.asarray(unit.phi(z, k * h * u)) for k, w in zip(places, weights, strict=True)
    )
    return total / h**degree / math.factorial(degree)


LEADING = [
    (n, o) for n, o in EVERY if units.make(n, **o).symmetry.degree and units.make(n, **o).smooth
]


@pytest.mark.parametrize(("name", "options"), LEADING, ids=[f"{n}{o or ''}" for n, o in LEADING])
def test_leading_form_by_finite_differences(name, options):
    """(f) The p-th derivative along the ray of u, at the silent point."""
    unit = units.make(name, **options)
    z, u = (jnp.asarray(a) for a in draw(8, unit.example, unit.shape(unit.example)))
    u = 0.4 * u
    form = leading_form(unit, z, u)
    np.testing.assert_allclose(form, taylor(unit, z, u, unit.symmetry.degree), rtol=1e-5, atol=1e-7)


def test_leading_forms_in_closed_form():
    """(a) tanh a ~ a, a tanh a ~ a^2, gelu ~ a/2, erf ~ 2a/sqrt(pi), a^3 itself."""
    z, u = jnp.array([0.5, -1.0]), jnp.array([2.0, 0.3])
    a = 0.7
    for name, value in {
        "tanh": a,
        "x_tanh_x": a**2,
        "gelu": a / 2,
        "erf": 2 * a / math.sqrt(math.pi),
        "cubic": a**3,
        "relu": a,
        "sine": a,
    }.items():
        np.testing.assert_allclose(leading_form(dense(name), z, u), value, rtol=1e-13)


@pytest.mark.parametrize("unit", [dense("sigmoid"), attention("softmax")], ids=repr)
def test_no_leading_form_without_a_silent_point(unit):
    with pytest.raises(InputError, match="no silent point"):
        leading_form(unit, jnp.ones(unit.example), jnp.ones(unit.shape(unit.example)))


def test_the_leading_form_of_what_is_homogeneous_is_phi():
    """(b) A unit that declares that it is homogeneous, and no degree, has one; one that is silent
    alone has none."""
    z, u = (jnp.asarray(a) for a in draw(3, (3,), (3,)))
    ray = simple(
        phi=lambda z, u: jax.nn.relu(z @ u),
        symmetry=Symmetry(silent=True, homogeneous="positive"),
        smooth=False,
    )
    check_symmetry(ray)
    assert float(leading_form(ray, z, u)) == float(ray.phi(z, u))
    with pytest.raises(InputError, match="'mine' declares no degree, so it has no leading form"):
        leading_form(simple(symmetry=Symmetry(silent=True)), z, u)


# ------------------------------------------------------------------- lifts
@pytest.mark.parametrize(
    "unit",
    [dense("quadratic"), dense("cubic"), in_context("merged"), in_context("linear", 2)],
    ids=repr,
)
def test_lifted_units_read_features(unit):
    """(d) The lifted unit on l(z) equals the unit on z, and is made once."""
    z, u = (jnp.asarray(a) for a in draw(9, unit.example, unit.shape(unit.example)))
    lifted = unit.lifted()
    np.testing.assert_allclose(lifted.phi(unit.lift.features(z), u), unit.phi(z, u), rtol=1e-12)
    assert lifted is unit.lifted()
    check_symmetry(lifted)  # what it was made of is checked


def test_units_without_a_lift_say_so():
    with pytest.raises(InputError, match=r"'tanh' is not polynomial.*samples"):
        dense("tanh").lifted()
    assert dense("quadratic", True).lift is None


# ------------------------------------------------------------------- registry
def test_register_a_unit_of_ones_own(monkeypatch):
    monkeypatch.setattr(units.UNITS, "members", dict(units.UNITS))
    mine = units.register(simple("bent", bent, Symmetry(silent=True, degree=1)))
    assert units.make("bent") is mine and "bent" in units.names()
    check_symmetry(mine)
    with pytest.raises(InputError, match="'bent' exists already"):
        units.register(mine)
    with pytest.raises(InputError, match="bias"):
        units.make("bent", bias=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: units.make("rleu"), "did you mean 'relu'"),
        (lambda: units.make("relu", stride=2), "stride"),
        (lambda: units.make("conv_relu", kernel=3), "kernel"),
        (lambda: dense("tahn"), "did you mean 'tanh'"),
        (lambda: convolution("relu", (0,)), "kernel must be a whole number of at least 1, got 0"),
        (lambda: convolution("relu", (2, 2, 2)), "one or two lengths"),
        (lambda: convolution("relu", 3), "kernel must be a list of one or two lengths, got 3"),
        (lambda: dense(["relu"]), r"activation \['relu'\] is not known"),
        (lambda: dense("relu", bias=1), "bias must be true or false"),
        (lambda: attention(["linear"]), "kind of attention .* is not known"),
        (lambda: convolution("relu", (2,), 0), "stride must be a whole number of at least 1"),
        (
            lambda: convolution("relu", (5,)).shape((1, 4)),
            "no longer than the input .* shorten the kernel",
        ),
        (lambda: convolution("relu", (2,)).shape((1, 4, 4)), "1 spatial axes"),
        (lambda: attention("softmx"), "did you mean 'softmax'"),
        (lambda: attention("linear", 0), "rank must be a whole number"),
        (lambda: in_context("linear", 1.5), "rank must be a whole number"),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()


SPELLINGS = {
    "dense": [
        dense("tanh"),
        dense("tanh", False),
        dense(activation="tanh", bias=np.bool_(False)),
        units.make("tanh"),
    ],
    "with a bias": [dense("relu", True), dense("relu", bias=True), units.make("relu", bias=True)],
    "kernels": [
        convolution("relu"),
        convolution("relu", [2]),
        convolution("relu", np.array([2]), stride=1),
        convolution(kernel=(np.int64(2),), activation="relu"),
        units.make("conv_relu"),
    ],
    "heads": [
        attention("linear", 2),
        attention("linear", rank=2),
        units.make("attention_linear", rank=2),
    ],
    "merged heads": [attention("merged"), attention("merged", 1), units.make("attention_merged")],
    "in context": [in_context(), in_context(rank=1), units.make("in_context_linear")],
}


@pytest.mark.parametrize("family", SPELLINGS)
def test_a_unit_is_the_same_however_its_options_are_written(family):
    """Units are values: equal to what their name makes, known as shipped, and sent by it."""
    first = SPELLINGS[family][0]
    for unit in SPELLINGS[family]:
        assert unit is first and units.shipped(unit)
        assert pickle.loads(pickle.dumps(unit)) == first


# ------------------------------------------------------------------- functions of a user's own
FOREIGN = {
    "numpy": (
        lambda z, u: np.tanh(np.asarray(z) @ np.asarray(u)),
        "in jax.numpy, got TracerArrayConversionError",
    ),
    "a branch": (
        lambda z, u: z @ u if z @ u > 0 else 0.0,
        "in jax.numpy, got TracerBoolConversionError",
    ),
    "a text": (lambda z, u: "x", "in jax.numpy, got TypeError"),
    "one argument": (lambda z: z, r"arrays z \(3,\) and u \(3,\) in jax.numpy, got TypeError"),
    "whole numbers": (
        lambda z, u: jnp.round(z @ u).astype(int),
        "one array of real numbers, got int",
    ),
    "complex numbers": (
        lambda z, u: jnp.exp(1j * (z @ u)),
        "one array of real numbers, got complex",
    ),
    "two arrays": (lambda z, u: (z @ u, u @ z), "one array of real numbers, got tuple"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_jax_cannot_follow_is_one_sentence(name):
    """Where a unit is registered, and where a network of it meets data; no error of JAX's gets
    out."""
    phi, words = FOREIGN[name]
    data = Data((3,), 1, np.ones((4, 3)), np.ones((4, 1)))
    for verb in (
        units.register,
        lambda unit: objective(Network((Layer(unit, 2),)), data).loss(np.ones(8)),
    ):
        with pytest.raises(InputError, match=f"phi of unit 'mine' must be a function .*{words}"):
            verb(simple(phi=phi, symmetry=Symmetry()))


@pytest.mark.parametrize(
    "shape",
    [lambda shape: shape[7:8][0], lambda shape: "wide", lambda shape: (2.5,), lambda shape: (-3,)],
)
def test_a_shape_that_is_none(shape):
    with pytest.raises(InputError, match="shape of unit 'mine' must be a function"):
        units.register(dataclasses.replace(simple(symmetry=Symmetry()), shape=shape))


def test_whole_numbers_of_numpy_are_a_shape():
    check_symmetry(dataclasses.replace(simple(), shape=lambda shape: (np.prod(shape),)))


def test_phi_that_is_no_number():
    with pytest.raises(
        InputError, match="phi of unit 'mine' must be finite at random z and u, got nan"
    ):
        units.register(
            simple(phi=lambda z, u: jnp.sqrt(z @ u - 10), symmetry=Symmetry(silent=True))
        )
