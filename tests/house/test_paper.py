"""What the saddle-to-saddle theory promises, seen on certified runs: the main job, end to end."""

from __future__ import annotations

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, embed, stages, train, visit
from saddlery.networks import flatten
from saddlery.rules import GradientDescent
from saddlery.saddles import certify_state
from saddlery.tasks import (
    Digits,
    InContextRegression,
    LinearTeacher,
    OrthogonalPatches,
    OrthogonalReLU,
    Teacher,
)
from saddlery.training import Stop
from slowly import slowly

SIX = {
    "linear": "iv",
    "linear_conv": "iv",
    "relu": "iii",
    "relu_conv": "iii",
    "linear_attention": "ii",
    "quadratic": "ii",
}


@functools.lru_cache(maxsize=64)
def _certified(text: str):
    return certify(train(Experiment.from_toml(text)))


def certified(experiment: Experiment):
    """Trained and certified once a test process."""
    return _certified(experiment.to_toml())


# ------------------------------------------------------- 1. linear networks
def linear(spectrum, **options) -> Experiment:
    task = LinearTeacher(tuple(spectrum), inputs=max(len(spectrum), options.pop("inputs", 0)))
    return Experiment.named("linear").replace(
        task=task, initialization=Initialization(scale=1e-9), **options
    )


RANDOM = tuple(np.sort(np.random.default_rng(7).uniform(0.2, 1.5, 4))[::-1])
SPECTRA = {
    "two": ((1.0, 0.4), {}),
    "five": ((2.0, 1.0, 0.5, 0.25, 0.125), {"stop": Stop(flow_time=800.0), "inputs": 10}),
    "random": (RANDOM, {"stop": Stop(flow_time=400.0), "inputs": 6}),
}


@pytest.mark.parametrize("kind", slowly(SPECTRA, "five"))
def test_every_saddle_of_a_linear_network(kind):
    """Oracle (a): theory of linear networks. Loss, index (r* - r)(H - r), lowest eigenvalue
    -s_{r+1}."""
    spectrum, options = SPECTRA[kind]
    found = certified(linear(spectrum, **dict(options)))
    s, rank, width = np.array(spectrum), len(spectrum), 50
    seen = {stage.effective_units for stage in found.stages}
    if kind != "random":
        assert seen == set(range(rank + 1))
    assert {0, rank} <= seen and len(seen) >= 3
    for stage in found.stages:
        c, r = stage.certificate, stage.effective_units
        assert c.gradient_norm <= 1e-14
        assert c.loss == pytest.approx(0.5 * np.sum(s[r:] ** 2), abs=1e-12)
        assert c.index == (rank - r) * (width - r)
        assert c.narrow_units == (r,)
        assert sum(c.explained.values()) == c.zero_modes
        assert c.explained["unexplained"] == 0
        if r < rank:
            assert c.verdict == "strict saddle"
            assert c.lowest_eigenvalue == pytest.approx(-s[r], abs=1e-10)
            assert c.escape_rate == pytest.approx(s[r], abs=1e-10)
        else:
            assert c.verdict == "minimum"


def test_saddles_that_training_does_not_visit_are_certified_too():
    """Oracle (a), Achour et al.: #negative = (H - |S|)(r* - |S|) + #{(i in S, j not in S): s_j >
    s_i}."""
    s = np.array([1.0, 0.7, 0.4])
    e = Experiment.named("linear").replace(task=LinearTeacher(tuple(s), rotate=False))
    e = e.replace(network=e.network.with_widths([5]))
    objective = e.objective()
    rng = np.random.default_rng(0)
    for chosen in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        u, v = np.zeros((5, 3)), np.zeros((5, 3))
        for row, k in enumerate(chosen):
            u[row, k] = v[row, k] = np.sqrt(s[k])
        state = flatten(({"u": u, "v": v},)) + 1e-6 * rng.standard_normal(30)
        c = certify_state(objective, state, gradient_scale=1.0)
        others = [k for k in range(3) if k not in chosen]
        extra = sum(s[j] > s[i] for i in chosen for j in others)
        assert c.index == (5 - len(chosen)) * (3 - len(chosen)) + extra
        assert c.loss == pytest.approx(0.5 * np.sum(s[others] ** 2), abs=1e-12)


# ------------------------------------------------- 2. and 3. the six networks
def check_staircase(found, construction: str) -> None:
    kinds = [(stage.kind, stage.effective_units) for stage in found.stages]
    assert kinds == [("initial", 0), ("intermediate", 1), ("end", 2)]
    middle, end = found[1].certificate, found[2].certificate
    assert middle.certified and middle.gradient_norm <= 1e-12
    assert (middle.construction, middle.narrow_units) == (construction, (1,))
    assert middle.relative_distance < 0.15
    assert end.verdict == "minimum"
    assert end.loss < middle.loss < found[0].certificate.loss
    run, objective = found.run, found.run.objective()
    narrow = objective.with_network(run.experiment.network.with_widths([1]))
    wide, params = embed(
        narrow.network,
        narrow.params(jnp.asarray(middle.narrow_state)),
        run.experiment.network.widths,
        construction=construction,
    )
    assert wide == run.experiment.network
    state = flatten(params)
    norm = np.linalg.norm(np.asarray(objective.gradient(state)))
    assert norm <= 1e-12


@pytest.mark.parametrize("name", SIX)
def test_six_networks(name):
    """Zhang, Saxe & Latham (2026), Figure 1: a width-1 saddle, then a width-2 solution, by the
    stated construction."""
    check_staircase(certified(Experiment.named(name)), SIX[name])


VARIANTS = {
    "linear, other seed": ("linear", {"seed": 3}),
    "linear, width 12": ("linear", {"widths": [12], "seed": 1}),
    "linear, other teacher": (
        "linear",
        {"task": LinearTeacher((1.2, 0.5), inputs=4, outputs=3), "seed": 2},
    ),
    "linear conv, seed": ("linear_conv", {"seed": 2, "widths": [20]}),
    "relu, seed": ("relu", {"seed": 1}),
    "relu, width 20": ("relu", {"widths": [20], "seed": 2}),
    "relu, more inputs": ("relu", {"task": OrthogonalReLU((1.0, 0.7, -0.4), inputs=5), "seed": 3}),
    "relu conv, seed": ("relu_conv", {"seed": 5}),
    "relu conv, teacher": (
        "relu_conv",
        {"task": OrthogonalPatches((1.0, -0.3)), "seed": 1, "widths": [30]},
    ),
    "attention, seed": ("linear_attention", {"seed": 1}),
    "attention, covariance": (
        "linear_attention",
        {"task": InContextRegression((0.6, 0.4), length=15), "seed": 2},
    ),
    "attention, 6 heads": ("linear_attention", {"widths": [6], "seed": 3}),
    "quadratic, seed": ("quadratic", {"seed": 4}),
    "quadratic, width 20": ("quadratic", {"widths": [20], "seed": 1}),
    "quadratic, teacher": (
        "quadratic",
        {"task": Teacher("quadratic", 2, (3,), strengths=(1.0, -0.8)), "seed": 2},
    ),
}


@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.slow
def test_sensible_variants_of_the_six(kind):
    name, changes = VARIANTS[kind]
    changes = dict(changes)
    e = Experiment.named(name)
    if "widths" in changes:
        e = e.replace(network=e.network.with_widths(changes.pop("widths")))
    check_staircase(certified(e.replace(**changes)), SIX[name])


@pytest.mark.parametrize("name", ["quadratic", "linear_attention"])
def test_degenerate_saddles(name):
    """No negative eigenvalue, positive utility, and the loss falls along the escape direction at
    order p + 1 = 3."""
    found = certified(Experiment.named(name))
    objective = found.run.objective()
    for stage in found.stages[:2]:
        c = stage.certificate
        assert (c.verdict, c.index, c.escape_rate) == ("degenerate saddle", 0, None)
        assert c.lowest_eigenvalue >= -c.zero_tolerance
        assert c.utility.value > 0 and c.utility.order == 3
        base = float(objective.loss(c.state))
        sizes = np.array([0.04, 0.02, 0.01])
        falls = np.array(
            [base - float(objective.loss(c.state + s * c.escape_direction)) for s in sizes]
        )
        assert np.all(falls > 0)
        assert np.log2(falls[:-1] / falls[1:]) == pytest.approx(3.0, abs=0.15)
        assert falls[-1] == pytest.approx(c.utility.value * sizes[-1] ** 3, rel=0.1)


@pytest.mark.parametrize("name", ["linear", "relu", "linear_conv", "relu_conv"])
def test_strict_saddles_escape_at_second_order(name):
    """Oracle (e): along the escape direction the loss falls as rate/2 s^2."""
    found = certified(Experiment.named(name))
    objective = found.run.objective()
    c = found[1].certificate
    base = float(objective.loss(c.state))
    falls = [base - float(objective.loss(c.state + s * c.escape_direction)) for s in (0.02, 0.01)]
    assert falls[1] == pytest.approx(0.5 * c.escape_rate * 0.01**2, rel=0.02)
    assert np.log2(falls[0] / falls[1]) == pytest.approx(2.0, abs=0.1)


# ------------------------------------------------------ 5. tanh and x tanh x
@pytest.mark.slow
def test_tanh_does_not_visit_the_width_1_fixed_point_and_x_tanh_x_does():
    missed, seen = visit(train("tanh"), 1), visit(train("x_tanh_x"), 1)
    assert missed.verdict == "not visited" and missed.distance > 0.5 and missed.relative > 0.3
    assert seen.verdict == "visited" and seen.relative < 0.02


# --------------------------------------------------------- 6. linear attention
@pytest.mark.parametrize(
    ("eigenvalues", "length"),
    [((0.4, 0.3, 0.2, 0.1), 31), ((0.7, 0.3), 10), ((1.0, 0.5, 0.25), 63)],
)
@pytest.mark.slow
def test_saddle_losses_of_linear_attention(eigenvalues, length):
    """Oracle (a): Zhang et al. (2025), eq 19, with our half, at every nested saddle m = 0 ... D."""
    lam = np.array(eigenvalues)
    gain = lam / (1 + (1 + lam.sum() / lam) / length)
    e = Experiment.named("linear_attention").replace(
        task=InContextRegression(eigenvalues, length=length)
    )
    e = e.replace(network=e.network.with_widths([len(lam) + 1]))
    objective = e.objective()
    for m in range(len(lam) + 1):
        u = np.zeros((len(lam) + 1, 2, len(lam), 1))
        v = np.zeros((len(lam) + 1, 1))
        for k in range(m):  # eq 20: v = k = q along eigenvector k
            size = (lam[k] * (1 + (1 + lam.sum() / lam[k]) / length)) ** (-1 / 3)
            u[k, :, k, 0], v[k] = size, size
        state = flatten(({"u": u, "v": v},)) * 1.001
        c = certify_state(objective, state, gradient_scale=1.0, tolerance=0.02)
        assert c.loss == pytest.approx(0.5 * (lam.sum() - gain[:m].sum()), abs=1e-12)
        assert c.verdict == ("minimum" if m == len(lam) else "degenerate saddle")


@pytest.mark.slow
def test_reference_numbers_of_linear_attention():
    """Published levels for eigenvalues .4 .3 .2 .1 and N = 31 (without the half)."""
    e = Experiment.named("linear_attention").replace(
        task=InContextRegression((0.4, 0.3, 0.2, 0.1)),
        initialization=Initialization(scale=1e-2),
        stop=Stop(flow_time=60000.0),
        seed=1,
    )
    losses = [2 * stage.certificate.loss for stage in certified(e).stages]
    published = [1.0, 0.64057971, 0.37737216, 0.20980460, 0.13599507]
    assert losses[0] == pytest.approx(1.0, abs=1e-12)
    assert losses[-1] == pytest.approx(published[-1], abs=1e-8)
    for value in losses:
        assert min(abs(value - level) for level in published) < 1e-8


@pytest.mark.slow
def test_training_from_statistics_is_training_on_the_sequences():
    """Oracle (d): gradient descent on 300 sampled prompts and on their moments, the same weights
    step for step."""
    e = Experiment.named("linear_attention").replace(
        task=InContextRegression((0.7, 0.3), length=12, sequences=300),
        initialization=Initialization(scale=0.3),
        rule=GradientDescent(0.05),
        stop=Stop(steps=400),
    )
    sampled, statistics = train(e.replace(moments=False)), train(e.replace(moments=True))
    assert (sampled.data, statistics.data) == ("samples", "in-context")
    for k in (1, 10, 100, 400):
        a, b = (
            train(e.replace(moments=m, stop=Stop(steps=k))).trajectory.states[-1]
            for m in (False, True)
        )
        assert np.abs(a - b).max() < 1e-10
    assert sampled.final_loss == pytest.approx(statistics.final_loss, abs=1e-10)
    assert sampled.final_loss < 0.5 * sampled.trajectory.loss[0]


# ------------------------------------------------------------------ 7. digits
def baldi_hornik(task: Digits) -> tuple[np.ndarray, float]:
    """Explained variances lambda_k of S_yx S_xx^-1 S_xy and the mean |y|^2, from the samples in
    plain NumPy."""
    data = task.data(0)
    x, y = data.inputs, data.targets
    sxx, syx = x.T @ x / len(x), y.T @ x / len(x)
    return np.sort(np.linalg.eigvalsh(syx @ np.linalg.solve(sxx, syx.T)))[::-1], float(
        np.sum(y**2) / len(y)
    )


@pytest.mark.slow
def test_digits_in_stages_with_the_losses_of_the_closed_form():
    """Oracle (a), Baldi & Hornik (1989): the loss of a saddle is 1/2 (mean |y|^2 - sum of its
    lambda_k)."""
    found = certified(Experiment.named("digits"))
    lam, total = baldi_hornik(found.run.experiment.task)
    assert len(found) >= 5
    visited = [stage.effective_units for stage in found.stages]
    assert visited == sorted(set(visited))
    for stage in found.stages:
        c, r = stage.certificate, stage.effective_units
        # passed at a third of the state's size or more: the nearest has its closed form all the
        # same
        if not c.certified:
            assert c.reason.startswith("far") and c.nearest.relative_distance > 0.3
            c = c.nearest
        assert c.certified and c.gradient_norm <= 1e-14
        levels = subset_levels(lam[:9], r)
        assert np.min(np.abs(0.5 * (total - levels) - c.loss)) < 1e-12
    assert sum(stage.certificate.certified for stage in found.stages) == len(found) - 2
    assert found[0].certificate.loss == pytest.approx(0.5 * total, abs=1e-12)
    assert found[len(found) - 1].certificate.loss == pytest.approx(
        0.5 * (total - lam.sum()), abs=1e-12
    )


def subset_levels(values: np.ndarray, size: int) -> np.ndarray:
    from itertools import combinations

    return np.array([sum(chosen) for chosen in combinations(values, size)])


def test_digits_relu_learns_in_stages():
    found = stages(train("digits_relu"))
    assert [stage.effective_units for stage in found.stages] == [0, 1, 2, 3]


# ------------------------------------------------------------------- float32
def test_no_verdict_from_float32():
    """A float32 run is certified in float64 from its states, and its record warns."""
    run = train(Experiment.named("linear").replace(precision="float32", stop=Stop(flow_time=40.0)))
    assert run.trajectory.states.dtype == np.float32
    assert any("float32" in warning for warning in run.warnings)
    c = certify(run)[1].certificate
    assert c.precision == "float64"
    assert c.gradient_norm <= 1e-14


def test_two_routes_agree():
    """Oracle (d): the direct refinement of the wide state finds a fixed point of the same loss and
    index."""
    run = train("linear")
    by_narrow, direct = certify(run), certify(run, route="direct")
    for a, b in zip(by_narrow.stages, direct.stages, strict=True):
        assert b.certificate.route == "direct"
        assert a.certificate.loss == pytest.approx(b.certificate.loss, abs=1e-12)
        assert a.certificate.index == b.certificate.index


def test_loss_scale_and_units_order_do_not_matter():
    """Oracle (c): permuting the units of a state changes no number of its certificate."""
    found = certified(Experiment.named("relu"))
    objective, stage = found.run.objective(), found[1]
    state = np.asarray(found.run.trajectory.states[stage.index])
    (params,) = objective.params(jnp.asarray(state))
    order = np.random.default_rng(0).permutation(50)
    shuffled = flatten(({k: np.asarray(a)[order] for k, a in params.items()},))
    c = certify_state(objective, shuffled, tolerance=stage.tolerance)
    d = dataclasses.asdict(stage.certificate)
    for name in ("loss", "distance", "index", "zero_modes", "lowest_eigenvalue"):
        assert getattr(c, name) == pytest.approx(d[name], rel=1e-6, abs=1e-12)
