"""Initial weights have the statistics and the structure they are named after."""

from __future__ import annotations

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, initializations, train
from saddlery.basis.checks import InputError
from saddlery.initializations import Initialization
from saddlery.initializations.linear_networks import factors
from saddlery.initializations.unit_relations import balanced
from saddlery.networks import Data, Layer, Network, unflatten
from saddlery.symmetry import effective_units, nearest_of_width
from saddlery.tasks import LinearTeacher, Teacher
from saddlery.training import Stop
from saddlery.units import attention, convolution, dense

WIDE = Network((Layer(dense("linear"), 100),))
DATA = Data((2,), 2, np.eye(2), np.eye(2))
DEEP = Network((Layer(dense("relu"), 4, mixes=False), Layer(dense("relu"), 3)))


def sides(network, theta, shape, outputs):
    (p,) = unflatten(network, theta, shape, outputs)
    return (np.asarray(p[k]).reshape(network.widths[0], -1) for k in ("u", "v"))


@pytest.mark.parametrize("scale", [1e-8, 0.3])
def test_isotropic(scale):
    """(a) Mean 0 and variance scale^2, each within 5 standard errors of 3,000 weights."""
    theta = Initialization(scale=scale).draw(WIDE, (20,), 10, 0) / scale
    assert theta.shape == (3000,) and theta.dtype == np.float64
    assert abs(theta.mean()) < 5 / np.sqrt(3000)
    assert abs(theta.var() - 1) < 5 * np.sqrt(2 / 3000)


def test_scale_only_scales_and_seeds_repeat():
    """(c) The same seed at another scale gives the same direction; another seed, another start."""
    draw = lambda scale, seed: Initialization(scale=scale).draw(DEEP, (3,), 2, seed)
    np.testing.assert_array_equal(draw(1e-3, 5), draw(1e-3, 5))
    np.testing.assert_allclose(draw(1e-3, 5) * 1e3, draw(1.0, 5), rtol=1e-15)
    assert not np.array_equal(draw(1e-3, 5), draw(1e-3, 6))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Network((Layer(dense("linear"), 5),)), (3,)),
        (Network((Layer(convolution("relu", (2,)), 4),)), (2, 5)),
        (Network((Layer(attention("linear", 2), 3),)), (4, 3)),
    ],
    ids=["dense", "conv", "attention"],
)
def test_balanced(network, shape):
    """(b) |u_i| = |v_i| for every unit; incoming weights as for isotropic."""
    u, v = sides(network, Initialization("balanced", 0.1).draw(network, shape, 2, 1), shape, 2)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1), rtol=1e-13)
    free, _ = sides(network, Initialization("isotropic", 0.1).draw(network, shape, 2, 1), shape, 2)
    np.testing.assert_array_equal(u, free)


# ------------------------------------------------------------- on an invariant manifold
def test_manifold_of_linear_units():
    """(b) Exactly `width` large singular values of [u, v], entries of variance size^2, and the rest
    at the scale of the noise."""
    start = Initialization("manifold", 1e-6, width=2, size=0.5)
    u, v = sides(WIDE, start.draw(WIDE, (20,), 10, 2), (20,), 10)
    for side in (u, v, np.concatenate([u, v], axis=1)):
        values = np.linalg.svd(side, compute_uv=False)
        assert values[1] > 0.5 and values[2] < 1e-4
    several = [start.draw(WIDE, (20,), 10, s) for s in range(40)]
    assert 0.2 < np.var(several) < 0.3  # size^2 = 0.25, within 20 percent


KINDS = {
    "linear": (dense("linear"), (4,), 3),
    "relu": (dense("relu", bias=True), (4,), 3),
    "quadratic": (dense("quadratic"), (4,), 3),
    "sigmoid": (dense("sigmoid"), (4,), 3),
    "conv_relu": (convolution("relu", (2,)), (2, 5), 1),
    "attention": (attention("softmax", 2), (4, 3), 2),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("width", [1, 2, 7])
def test_exactly_on_the_manifold(name, width):
    """(b) With scale 0 the nearest state of that effective width is itself, and none is nearer of
    one unit less."""
    unit, shape, outputs = KINDS[name]
    network = Network((Layer(unit, 7),))
    for seed in range(5):
        theta = Initialization("manifold", 0.0, width, 0.5).draw(network, shape, outputs, seed)
        u, v = sides(network, theta, shape, outputs)
        size = np.linalg.norm(theta)
        assert nearest_of_width(u, v, unit, width).distance < 1e-12 * size
        assert nearest_of_width(u, v, unit, width - 1).distance > 1e-6 * size  # a million roundings


def test_the_relation_is_the_freest_that_units_keep():
    """(b) Copies, silent units, rays and combinations, each with the units of its own kind."""
    stacked = {}
    for name in ("linear", "relu", "quadratic", "sigmoid"):
        network = Network((Layer(dense(name), 40),))
        u, v = sides(
            network, Initialization("manifold", 0.0, 2, 0.5).draw(network, (4,), 3, 1), (4,), 3
        )
        stacked[name] = np.hstack([u, v])
    assert len(np.unique(stacked["sigmoid"], axis=0)) == 2
    assert np.count_nonzero(stacked["quadratic"].any(axis=1)) == 2
    rays = stacked["relu"] / np.linalg.norm(stacked["relu"], axis=1)[:, None]
    assert (
        len(np.unique(rays.round(12), axis=0)) == 2
        and len(np.unique(stacked["relu"], axis=0)) == 40
    )
    assert np.linalg.matrix_rank(stacked["linear"]) == 2
    assert len(np.unique((stacked["linear"] / stacked["linear"][:, :1]).round(9), axis=0)) == 40


def test_noise_is_added_everywhere():
    """(c) With noise the start is that without it plus N(0, scale^2), whatever the unit."""
    network = Network((Layer(dense("quadratic"), 100),))
    on, near = (
        Initialization("manifold", scale, 3, 0.5).draw(network, (20,), 10, 4)
        for scale in (0.0, 1e-3)
    )
    noise = (near - on) / 1e-3
    assert abs(noise.mean()) < 5 / np.sqrt(3000) and abs(noise.var() - 1) < 5 * np.sqrt(2 / 3000)


@pytest.mark.parametrize("name", ["linear", "relu", "quadratic", "sigmoid"])
def test_a_run_from_the_manifold_stays_on_it(name):
    """(c) Theorem 3 along the flow: the relation is kept, and at the end as few units would do."""
    task = Teacher(name, 3, (4,), outputs=2)
    start = Initialization("manifold", 0.0, 2, 0.5)
    run = train(Experiment(task, Network((Layer(dense(name), 8),)), Stop(flow_time=15.0), start))
    assert run.trajectory.loss[-1] < 0.8 * run.trajectory.loss[0]
    objective, unit = run.objective(), dense(name)
    for state in run.trajectory.states[:: len(run.trajectory.states) // 5]:
        u, v = sides(objective.network, state, (4,), 2)
        assert nearest_of_width(u, v, unit, 2).distance < 1e-9 * np.linalg.norm(state)
    (found,) = effective_units(objective, run.trajectory.states[-1], tolerance=1e-6)
    assert found.minimal == 2


# ------------------------------------------------------------- linear networks
def linear(*widths, **options):
    last = len(widths) - 1
    layers = (Layer(dense("linear"), h, mixes=k == last, **options) for k, h in enumerate(widths))
    return Network(tuple(layers))


@pytest.mark.parametrize(
    ("units", "inputs", "outputs", "imbalance"),
    [
        *[
            (h, d, o, 0.0)
            for h, d, o in ((5, 3, 4), (5, 4, 3), (2, 4, 3), (1, 1, 1), (3, 1, 6), (3, 6, 1))
        ],
        *[(h, d, o, 0.7) for h, d, o in ((3, 2, 4), (3, 5, 3), (1, 1, 1), (3, 1, 3))],
        *[(h, d, o, -0.3) for h, d, o in ((3, 4, 2), (3, 3, 5), (1, 1, 1))],
    ],
)
@pytest.mark.parametrize("scale", [1e-4, 2.0])
def test_lambda_balanced(units, inputs, outputs, imbalance, scale):
    """(b) W2'W2 - W1W1' = lambda I to rounding, with all the singular values that shapes allow."""
    network = linear(units)
    theta = Initialization("lambda_balanced", scale, imbalance=imbalance).draw(
        network, (inputs,), outputs, 3
    )
    first, second = factors(network, unflatten(network, theta, (inputs,), outputs))
    departure = second.T @ second - first @ first.T - imbalance * np.eye(units)
    assert np.abs(departure).max() < 1e-14 * max(scale**2, abs(imbalance)) * units * max(
        inputs, outputs
    )
    assert np.linalg.matrix_rank(first) == min(units, inputs, *([outputs] * (imbalance >= 0)))
    assert np.linalg.matrix_rank(second) == min(units, outputs, *([inputs] * (imbalance <= 0)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "imbalance"), [(5, 9, 0.0), (9, 5, 0.0), (5, 60, 1.0), (60, 5, -1.0)]
)
def test_one_side_of_a_lambda_balanced_start_is_isotropic(inputs, outputs, imbalance):
    """(a) Variance scale^2 of the side that is drawn, and of nothing else where imbalance is
    large."""
    network, small = linear(50), 0.01
    start = Initialization("lambda_balanced", small, imbalance=imbalance)
    weights = [
        factors(
            network,
            unflatten(network, start.draw(network, (inputs,), outputs, s), (inputs,), outputs),
        )
        for s in range(20)
    ]
    drawn = np.array([w[0] if inputs < outputs else w[1].T for w in weights]).ravel() / small
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2 / drawn.size)


def deep(kind):
    """Linear networks that write a product of matrices in different ways, and how many they are."""
    unit = dense("linear")
    return {
        "one layer": (linear(6), 2),
        "passed on": (linear(6, 4, 5), 4),
        "mixing": (Network((Layer(unit, 6, outputs=4), Layer(unit, 5))), 4),
        "read-out": (Network((Layer(unit, 6, outputs=5),), readout=True), 3),
        "narrow": (linear(6, 2), 3),
    }[kind]


@pytest.mark.parametrize("kind", ["one layer", "passed on", "mixing", "read-out", "narrow"])
def test_aligned(kind):
    """(b) Strengths scale^L in the product along the modes of E[y x'] and nothing else; neighbours
    balanced; and (d) the product is the network's map."""
    network, layers = deep(kind)
    task = LinearTeacher((1.0, 0.6, 0.2), inputs=4, outputs=3, covariance=(2.0, 1.0, 1.0, 0.5))
    e = Experiment(task, network, Stop(flow_time=1.0), Initialization("aligned", 0.3), seed=2)
    theta = e.initial_state()
    params = unflatten(network, theta, (4,), 3)
    weights = factors(network, params)
    assert len(weights) == layers
    product = np.linalg.multi_dot(weights[::-1])
    q, _, rt = np.linalg.svd(task.data(2).moments.cross)
    count = min(3, *network.widths)
    np.testing.assert_allclose(
        q.T @ product @ rt.T,
        np.eye(3, 4) * (np.arange(3) < count)[:, None] * 0.3**layers,
        atol=1e-15,
    )
    for first, second in pairwise(weights):
        np.testing.assert_allclose(second.T @ second, first @ first.T, atol=1e-15)
    x = np.random.default_rng(0).standard_normal((5, 4))
    np.testing.assert_allclose(
        network.outputs(unflatten(network, jnp.asarray(theta), (4,), 3), jnp.asarray(x)),
        x @ product.T,
        atol=1e-14,
    )


def test_aligned_with_samples_and_another_seed():
    """The data stay those of the experiment: another seed turns the bases inside, not the map."""
    e = Experiment(
        Teacher("linear", 2, (3,), outputs=2),
        linear(5),
        Stop(flow_time=1.0),
        Initialization("aligned", 0.1),
    )
    one, other = e.initial_state(), e.initial_state(seed=7)
    assert np.array_equal(one, e.initial_state(seed=0)) and np.abs(one - other).max() > 0.01
    maps = [
        np.linalg.multi_dot(factors(e.network, unflatten(e.network, t, (3,), 2))[::-1])
        for t in (one, other)
    ]
    np.testing.assert_allclose(*maps, atol=1e-15)
    assert np.array_equal(
        e.replace(initialization=Initialization()).initial_state(7),
        Initialization().draw(e.network, (3,), 2, 7),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Initialization("balance"), "did you mean 'balanced'"),
        (
            lambda: Initialization(scale=0.0),
            "scale of the initialization must be a finite number above zero, got 0.0; saddle-to",
        ),
        (lambda: Initialization(scale=-1e-3), "above zero"),
        (lambda: Initialization(scale=float("nan")), "above zero"),
        (
            lambda: Initialization("manifold", 1e-3),
            "width of the initialization must be a whole number of at least 1",
        ),
        (
            lambda: Initialization("manifold", 1e-3, width=1),
            "size of the initialization must be a finite number above zero",
        ),
        (
            lambda: Initialization("manifold", -1e-3, 1, 1.0),
            (
                "scale of the initialization must be at least zero, got -0.001; 0 starts "
                "exactly on the manifold"
            ),
        ),
        (
            lambda: Initialization("manifold", float("nan"), 1, 1.0),
            "must be a finite number, got nan",
        ),
        (
            lambda: Initialization("lambda_balanced", 0.0),
            "scale of the initialization must be a finite number above zero",
        ),
        (lambda: Initialization("isotropic", 1e-3, width=1), 'left out unless kind is "manifold"'),
        (
            lambda: Initialization("balanced", imbalance=0.5),
            'imbalance must be left out unless kind is "lambda_balanced", got 0.5',
        ),
        (
            lambda: Initialization("lambda_balanced", imbalance=float("inf")),
            "imbalance of the initialization must be a finite",
        ),
        (
            lambda: Initialization("manifold", 1e-3, 101, 1.0).draw(WIDE, (2,), 2, 0),
            "at most the width 100, got 101",
        ),
        (
            lambda: Initialization("balanced").draw(DEEP, (2,), 2, 0),
            "use isotropic for layers that pass on",
        ),
        (
            lambda: Initialization("manifold", 1e-3, 1, 1.0).draw(DEEP, (2,), 2, 0),
            "use isotropic for layers that pass on",
        ),
        (
            lambda: Initialization("lambda_balanced").draw(linear(3, 4), (2,), 2, 0),
            "the network must be of two weight matrices for a lambda_balanced start, got 3",
        ),
        (
            lambda: Initialization("lambda_balanced", imbalance=0.5).draw(linear(3), (4,), 2, 0),
            "imbalance of the initialization must be 0, above it with at most as many units as"
            " outputs, or below it with"
            " at most as many units as inputs, got 0.5 with 3 units, 4 inputs and 2 outputs",
        ),
        (
            lambda: Initialization("lambda_balanced", imbalance=-0.5).draw(linear(3), (2,), 4, 0),
            "got -0.5 with 3 units, 2 inputs and 4 outputs",
        ),
        (
            lambda: Initialization("lambda_balanced").draw(DEEP, (2,), 2, 0),
            r"the network must be dense and linear for a lambda_balanced start, got one where"
            r" units of layer 0 are relu\(\),",
        ),
        (
            lambda: Initialization("aligned").draw(
                Network((Layer(dense("linear", bias=True), 2),)), (2,), 2, 0, data=DATA
            ),
            r"units of layer 0 are linear\(bias=True\), not linear neurons without bias",
        ),
        (
            lambda: Initialization("aligned").draw(
                Network((Layer(dense("linear"), 2, residual=True),)), (2,), 2, 0, data=DATA
            ),
            "layer 0 is residual",
        ),
        (
            lambda: Initialization("aligned").draw(
                Network((Layer(dense("linear"), 2),), reads="last"), (2,), 2, 0, data=DATA
            ),
            "of its output only the last is read",
        ),
        (
            lambda: Initialization("aligned").draw(linear(2), (2,), 2, 0),
            r"data must be given for an aligned start, got nothing; use"
            r" Experiment.initial_state\(\)",
        ),
        (
            lambda: Initialization("aligned").draw(
                linear(2), (2,), 2, 0, data=Data((2,), 2, np.eye(2), np.zeros((2, 2)))
            ),
            r"E\[y x'\] must be other than zero for an aligned start, got zero",
        ),
        (lambda: initializations.make(scael=1.0), "did you mean 'scale'"),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_from_a_table():
    assert initializations.make(kind="manifold", width=1, size=2.0) == Initialization(
        "manifold", 1e-3, 1, 2.0
    )
    e = Experiment(
        LinearTeacher((1.0,)),
        linear(1),
        Stop(flow_time=1.0),
        Initialization("lambda_balanced", imbalance=0.5),
    )
    assert Experiment.from_toml(e.to_toml()).initialization == e.initialization


# ---------------------------------------------------------------------------- several at once
DRAWN = {
    "isotropic": (Initialization(), DEEP, (3,), 2, None),
    "balanced": (Initialization("balanced", 0.1), WIDE, (20,), 10, None),
    **{
        f"manifold of {name}": (
            Initialization("manifold", 1e-3, 3, 0.5),
            Network((Layer(unit, 7),)),
            shape,
            outputs,
            None,
        )
        for name, (unit, shape, outputs) in KINDS.items()
    },
    "lambda_balanced": (Initialization("lambda_balanced", 0.1), linear(4), (3,), 5, None),
    "imbalanced": (
        Initialization("lambda_balanced", 0.1, imbalance=0.5),
        linear(4),
        (3,),
        5,
        None,
    ),
    "aligned": (Initialization("aligned", 0.1), linear(4, 3), (2,), 2, DATA),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_several_draws_are_those_of_each_seed_alone(kind):
    """(c) To the last bit, whatever seeds stand beside them; and of no seed, none."""
    start, network, shape, outputs, data = DRAWN[kind]
    seeds = [5, 0, 2**62, 1_000_003]
    several = start.draws(network, shape, outputs, seeds, data=data)
    alone = [start.draw(network, shape, outputs, seed, data=data) for seed in seeds]
    np.testing.assert_array_equal(several, alone)
    assert start.draws(network, shape, outputs, [], data=data).shape == (0, several.shape[1])


@pytest.mark.parametrize("kind", ["balanced", "lambda_balanced"])
@pytest.mark.parametrize("power", [-700, -560, 500])
def test_balanced_starts_of_any_scale(kind, power):
    """(c) Those of scale one times a power of two, to the last bit; squares of small weights made
    them NaN or zero."""
    network = linear(4)
    plain = Initialization(kind, scale=1.0).draw(network, (3,), 2, seed=0)
    scaled = Initialization(kind, scale=2.0**power).draw(network, (3,), 2, seed=0)
    if kind == "balanced":
        np.testing.assert_array_equal(scaled, np.ldexp(plain, power))
    np.testing.assert_allclose(np.ldexp(scaled, -power), plain, rtol=1e-12)


def test_balanced_weights_keep_their_bits():
    """(d) The formula as it stands, for stored runs."""
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, 5, 3)), 1e-3 * rng.standard_normal((2, 5, 4))
    found = balanced({"u": u, "v": v})
    ratio = np.linalg.norm(u, axis=2) / np.linalg.norm(v, axis=2)
    np.testing.assert_array_equal(found["v"], v * ratio[..., None])


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, None])
def test_a_seed_is_a_whole_number(seed):
    for draw in (
        lambda: Initialization().draw(DEEP, (3,), 2, seed),
        lambda: LinearTeacher((1.0, 0.4)).data(seed),
    ):
        with pytest.raises(InputError, match="seed must be a whole number of at least 0, got"):
            draw()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**63 + 7])
def test_a_draw_is_that_of_numpy_with_the_seed_and_the_label(seed):
    """(d) The numbers of stored runs: NumPy's generator of the seed and the letters of the label,
    layer by layer."""
    rng = np.random.default_rng([seed, *b"initial weights"])
    drawn = Initialization(scale=0.5).draw(DEEP, (3,), 2, seed)
    np.testing.assert_array_equal(drawn, 0.5 * rng.standard_normal(len(drawn)))


def test_an_experiment_draws_several_on_its_own_data():
    """(c) Each as `initial_state` of that seed."""
    e = Experiment.named("linear")
    np.testing.assert_array_equal(
        e.initial_states(range(3)), [e.initial_state(seed) for seed in range(3)]
    )
