"""Exact paths of linear networks: the curve against an integration that shares no code with it (d),
ends and saddles (a), jumps of tight runs (d), and the conditions that are named."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from saddlery import Experiment, Initialization, certify, stages, train
from saddlery.basis.checks import InputError
from saddlery.networks import Layer, Network
from saddlery.predictions import compare, predict
from saddlery.rules import Adam, GradientDescent, GradientFlow
from saddlery.tasks import Arrays, LinearTeacher, Teacher
from saddlery.training import Stop
from saddlery.units import make

THEORY = "exact linear path"
WHITE = LinearTeacher((2.0, 1.0, 0.5), inputs=4, outputs=3)
NOISY = LinearTeacher((1.5, 0.6), inputs=3, outputs=4, covariance=(2.5, 2.5, 2.5), noise=0.1)
COMMUTING = LinearTeacher(
    (0.4, 2.4, 1.0), inputs=3, outputs=4, covariance=(4.0, 0.25, 1.0), rotate=False
)
MIXING = LinearTeacher((1.0, 0.4), covariance=(1.0, 2.0))


def network(*widths, unit="linear", **options):
    last = len(widths) - 1
    return Network(
        tuple(Layer(make(unit, **options), h, mixes=k == last) for k, h in enumerate(widths))
    )


def experiment(task, widths, kind, scale, *, flow_time=80.0, imbalance=0.0, **changes):
    start = Initialization(kind, scale, imbalance=imbalance)
    return Experiment(task, network(*widths), Stop(flow_time=flow_time), start, **changes)


def exact(e):
    (prediction,) = predict(e, theory=THEORY)
    return prediction


CASES = {
    "lambda 0": experiment(WHITE, (6,), "lambda_balanced", 1e-3),
    "lambda 0.5": experiment(WHITE, (3,), "lambda_balanced", 1e-2, imbalance=0.5),
    "lambda -0.5": experiment(WHITE, (4,), "lambda_balanced", 1e-2, imbalance=-0.5),
    "lambda 0.01": experiment(WHITE, (3,), "lambda_balanced", 1e-3, imbalance=0.01),
    "two drops in one": experiment(WHITE, (6,), "lambda_balanced", 1e-3, seed=3),
    "large": experiment(WHITE, (5,), "lambda_balanced", 1.0),
    "narrow": experiment(WHITE, (2,), "lambda_balanced", 1e-3),
    "variance 2.5 and noise": experiment(NOISY, (5,), "lambda_balanced", 1e-3, imbalance=0.0),
    "two layers, aligned": experiment(WHITE, (6,), "aligned", 1e-3),
    "two layers, covariance": experiment(COMMUTING, (6,), "aligned", 1e-3),
    "two layers, from above": experiment(WHITE, (6,), "aligned", 2.0),
    "samples": experiment(Teacher("linear", 2, (3,), outputs=2), (4,), "lambda_balanced", 1e-2),
    "three layers": experiment(WHITE, (6, 5), "aligned", 0.05),
    "three layers, covariance": experiment(COMMUTING, (4, 5), "aligned", 0.05),
    "three layers, narrow": experiment(WHITE, (6, 2), "aligned", 0.05),
    "four layers": experiment(WHITE, (6, 4, 5), "aligned", 0.15),
}
STAGED = (
    "lambda 0",
    "variance 2.5 and noise",
    "two layers, covariance",
    "two drops in one",
    "three layers",
    "four layers",
    "narrow",
)


def moments_of(e):
    """E[x x'], E[y x'] and E|y|^2."""
    data = e.task.data(e.seed)
    if data.moments is not None:
        return data.moments.features, data.moments.cross, data.moments.target
    x, y = data.inputs, data.targets
    return x.T @ x / len(x), y.T @ x / len(x), float(np.sum(y**2)) / len(x)


def integrated(e, times):
    """The loss at times by DOP853 on the matrices themselves, from the experiment's own initial
    weights."""
    s, c, target = moments_of(e)
    sizes = [c.shape[1], *e.network.widths, c.shape[0]]
    flat, weights = e.initial_state(), []
    for k, (rows, columns) in enumerate(zip(sizes[1:], sizes, strict=False)):
        shape = (
            (rows, columns) if k < len(sizes) - 2 else (columns, rows)
        )  # the last one is stored as v (H, O)
        weights.append(
            flat[: rows * columns].reshape(shape)
            if k < len(sizes) - 2
            else flat[: rows * columns].reshape(shape).T
        )
        flat = flat[rows * columns :]
    assert not flat.size
    shapes = [w.shape for w in weights]
    cuts = np.cumsum([w.size for w in weights])[:-1]

    def matrices(y):
        return [part.reshape(shape) for part, shape in zip(np.split(y, cuts), shapes, strict=True)]

    def multiplied(ws, size):
        product = np.eye(size)
        for w in ws:
            product = w @ product
        return product

    def slope(_, y):
        ws = matrices(y)
        rest = c - multiplied(ws, sizes[0]) @ s
        return np.concatenate(
            [
                (
                    multiplied(ws[k + 1 :], sizes[k + 1]).T @ rest @ multiplied(ws[:k], sizes[0]).T
                ).ravel()
                for k in range(len(ws))
            ]
        )

    start = np.concatenate([w.ravel() for w in weights])
    found = solve_ivp(slope, (0, times[-1]), start, "DOP853", times, rtol=3e-14, atol=1e-17).y.T
    maps = [multiplied(matrices(y), sizes[0]) for y in found]
    return np.array([0.5 * (target - 2 * np.sum(w * c) + np.sum(w @ s * w)) for w in maps])


@pytest.mark.parametrize("name", CASES)
def test_the_whole_curve(name):
    """(d) Every point of the curve to 1e-9, over the whole run."""
    e = CASES[name]
    time, loss = exact(e).curve
    some = np.unique(np.append(np.arange(0, len(time), 4), len(time) - 1))
    assert len(some) > 100 and np.ptp(loss) > 0.5
    assert np.abs(integrated(e, time[some]) - loss[some]).max() < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_long_horizons(name):
    """(a) Finite at flow time 1e6, never rising, and at the end of what so many units can learn."""
    e = CASES[name].replace(stop=Stop(flow_time=1e6))
    time, loss = exact(e).curve
    covariance, correlation, target = moments_of(e)
    gains = np.sort(np.linalg.eigvalsh(correlation @ np.linalg.inv(covariance) @ correlation.T))[
        ::-1
    ]
    assert time[0] == 0 and time[-1] == 1e6 and np.all(np.diff(time) > 0)
    assert np.all(np.isfinite(loss)) and np.diff(loss).max() < 1e-15 * loss[0]
    nothing_to_learn = min(*correlation.shape, *e.network.widths) - np.linalg.matrix_rank(
        correlation
    )
    tail = max(nothing_to_learn, 0) / (
        8e12 * covariance[0, 0]
    )  # u = 1/(2 c t) at most, the power law of s = 0
    expected = 0.5 * (target - gains[: min(e.network.widths)].sum())
    assert loss[-1] == pytest.approx(expected, rel=0, abs=tail + 1e-15 + 1e-14 * loss[0])


@pytest.mark.parametrize("name", ["lambda 0", "lambda 0.5", "three layers"])
def test_neighbours_on_the_curve(name):
    """(c) They differ by at most 0.03 of what is still to be lost, until a billionth is: so it is
    safe to draw lines between."""
    e = CASES[name]
    time, loss = exact(e).curve
    left = np.maximum(loss - loss[-1], 1e-9 * loss[0])
    assert np.abs(np.diff(np.log(left))).max() <= 0.03
    assert 300 < len(time) < 3000


# ------------------------------------------------------------------------- stages
def hermite(run, level):
    """When a run's loss falls through a level, with dL/dt = -|gradient|^2 between its saved
    points."""
    t = run.trajectory
    k = int(np.flatnonzero(t.loss > level)[-1])
    spline = CubicHermiteSpline(
        t.flow_time[k : k + 2], t.loss[k : k + 2], -(t.gradient_norm[k : k + 2] ** 2)
    )
    return brentq(
        lambda x: float(spline(x)) - level, t.flow_time[k], t.flow_time[k + 1], xtol=1e-12
    )


@pytest.mark.parametrize(
    "name", [*STAGED[:3], *(pytest.param(k, marks=pytest.mark.slow) for k in STAGED[3:])]
)
def test_stages_of_a_run(name):
    """(d) Every plateau seen and no other, and jumps within 1e-5 of those of a tight flow."""
    e = CASES[name].replace(
        rule=GradientFlow(relative_tolerance=1e-10, solver="dopri8"), stop=Stop(flow_time=150.0)
    )
    prediction, run = exact(e), train(e)
    found = compare(prediction, stages(run))
    assert len(found.stages) >= 3 and all(stage.seen for stage in found.stages) and found.extra == 0
    losses = [stage.loss for stage in prediction.stages]
    for k, stage in enumerate(prediction.stages[1:], 1):
        assert stage.jump == pytest.approx(
            hermite(run, 0.5 * (losses[k - 1] + losses[k])), rel=1e-5
        )
    assert prediction.stages[0].jump is None and prediction.limit == "exact"


@pytest.mark.parametrize("seed", range(4))
def test_saddles_of_white_inputs(seed):
    """(a) Losses 1/2 the sum of squares left, (3 - r)(6 - r) negative eigenvalues."""
    prediction = exact(experiment(WHITE, (6,), "lambda_balanced", 1e-6, seed=seed))
    assert [s.loss for s in prediction.stages] == pytest.approx(
        [2.625, 0.625, 0.125, 0.0], abs=1e-14
    )
    assert [s.index for s in prediction.stages] == [18, 10, 4, 0]


def test_saddles_of_other_covariances():
    """(a) Modes by their singular values 1.6, 1, 0.6 of E[y x'], each worth s^2 / (2 c)."""
    prediction = exact(CASES["two layers, covariance"])
    assert [s.loss for s in prediction.stages] == pytest.approx([1.54, 1.22, 0.72, 0.0], abs=1e-14)
    assert [s.index for s in prediction.stages] == [
        18,
        10 + 2,
        4 + 2,
        0,
    ]  # the mode worth least comes first: two exchanges


def test_a_loss_that_nothing_explains_changes_no_stage():
    """(c) Noise a million times what can be learned: the same jumps, and no point of the curve is
    spent on rounding."""
    quiet, loud = (
        exact(CASES["lambda 0"].replace(task=dataclasses.replace(WHITE, noise=n)))
        for n in (0.0, 1e6)
    )
    assert [s.units for s in loud.stages] == [s.units for s in quiet.stages]
    for a, b in zip(loud.stages[1:], quiet.stages[1:], strict=True):
        assert a.jump == pytest.approx(b.jump, rel=1e-7)
    assert len(loud.curve[0]) <= len(quiet.curve[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lambda 0", "two layers, covariance", "variance 2.5 and noise"])
def test_saddles_are_those_that_certificates_find(name):
    """(d) Loss and index of the fixed point behind every plateau."""
    prediction, certified = exact(CASES[name]), certify(train(CASES[name]))
    assert [s.certificate.index for s in certified.stages] == [s.index for s in prediction.stages]
    assert [s.loss for s in compare(prediction, certified).stages] == pytest.approx(
        [s.loss for s in prediction.stages], abs=1e-10
    )


def test_units_of_every_layer_and_no_index_where_none_is_known():
    assert [s.units for s in exact(CASES["three layers, narrow"]).stages] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert {s.index for s in exact(CASES["four layers"]).stages} == {None}
    assert {s.index for s in exact(CASES["lambda 0.5"]).stages} == {None}


def test_equal_modes_are_learned_together():
    """A pair of equal singular values is one drop of two units, in whatever directions; the index
    of all of it is known."""
    found = exact(experiment(LinearTeacher((1.0, 1.0, 0.4)), (6,), "lambda_balanced", 1e-5))
    assert [(s.units, round(s.loss, 12), s.index) for s in found.stages] == [
        ((0,), 1.08, 18),
        ((2,), 0.08, 4),
        ((3,), 0.0, 0),
    ]


def test_one_of_two_equal_modes_is_a_continuum():
    """From a start of which one unit knows one of two equal modes: the saddle has a loss, and no
    index of its own."""
    found = exact(experiment(LinearTeacher((1.0, 1.0)), (1,), "lambda_balanced", 1e-5))
    assert [(s.units, round(s.loss, 12), s.index) for s in found.stages] == [
        ((0,), 1.0, 4 // 2),
        ((1,), 0.5, None),
    ]


def test_half_of_the_balanced_starts_of_square_maps_cannot_learn_the_last_mode():
    """(c) det W2W1 keeps its sign: where it is not that of det E[y x'] rounding decides, and no
    curve is made up."""
    refused = []
    for seed in range(12):
        e = experiment(LinearTeacher((1.0, 0.7)), (4,), "lambda_balanced", 1e-3, seed=seed)
        u, v = e.initial_state().reshape(2, 4, 2)
        wrong = np.linalg.det(v.T @ u) * np.linalg.det(moments_of(e)[1]) < 0
        refused.append(wrong)
        if wrong:
            with pytest.raises(
                InputError,
                match=r"rounding decides when the last mode is learned, if ever: the start has"
                r" .*e-1",
            ):
                exact(e)
        else:
            assert exact(e).stages[-1].loss == 0
    assert any(refused) and not all(refused)


def test_weights_that_are_neither_independent_nor_small_are_left_to_other_theories():
    for kind in ("lambda_balanced", "aligned"):
        with pytest.raises(
            InputError, match=f"initial weights are {kind}, not small and independent"
        ):
            predict(experiment(WHITE, (4,), kind, 1e-4), theory="directions one by one")


def test_large_weights_have_no_plateau_but_the_end():
    assert [s.units for s in exact(CASES["large"]).stages] == [(3,)]


@pytest.mark.slow
def test_descent():
    """(e) Jumps of descent are those of the flow to first order in the step."""
    errors = []
    for step in (4e-2, 2e-2):
        e = CASES["samples"].replace(rule=GradientDescent(learning_rate=step))
        found = compare(exact(e), stages(train(e)))
        assert all(stage.seen for stage in found.stages) and len(found.stages) > 1
        errors.append(np.array([stage.error for stage in found.stages[1:]]))
    assert np.all(np.abs(errors[1]) < 0.02) and np.all(np.abs(errors[1]) < 0.7 * np.abs(errors[0]))


def test_the_record_is_without_the_curve():
    prediction = exact(CASES["two layers, aligned"])
    assert set(json.loads(json.dumps(prediction.record()))) == {
        *("theory", "source", "limit", "error", "range", "ranges", "stages"),
    }
    time, loss = prediction.curve
    assert time.shape == loss.shape and time.dtype == loss.dtype == np.float64
    assert predict("linear", theory="linear modes")[0].curve is None


# ------------------------------------------------------------------- what does not apply
NOT_WHITE = r"inputs are not white: E\[x x'\] departs by 0.33 of the mean variance from a multiple of the identity"


@pytest.mark.parametrize(
    ("e", "message"),
    [
        (
            Experiment.named("relu"),
            r"units of layer 0 are relu\(\), not linear neurons without bias",
        ),
        (Experiment.named("linear_conv"), "units of layer 0 are conv_linear"),
        (
            CASES["lambda 0"].replace(rule=Adam()),
            "the rule is adam, not gradient flow or full descent",
        ),
        (CASES["lambda 0"].replace(rule=GradientDescent(batch=2)), "the rule is descent, not"),
        (experiment(MIXING, (4,), "lambda_balanced", 1e-3), NOT_WHITE),
        (
            experiment(WHITE, (4,), "isotropic", 1e-3),
            r"weights are not balanced: W2'W2 - W1W1' departs by 0\.[0-9]+ of their size from"
            r" lambda I; start from",
        ),
        (experiment(WHITE, (4,), "balanced", 1e-3), "weights are not balanced: .* departs by 0"),
        (
            experiment(MIXING, (4,), "aligned", 1e-3),
            r"the input covariance mixes the modes: by 0\.[0-9]+ of the largest",
        ),
        (experiment(MIXING, (4, 4), "aligned", 1e-1), "the input covariance mixes the modes"),
        (
            experiment(WHITE, (4, 4), "isotropic", 1e-1),
            r"weights depart by [0-9.]+ of their size from aligned and balanced modes, and for 3"
            r" weight matrices no closed form",
        ),
        (
            experiment(WHITE, (4, 4), "aligned", 0.9),
            "mode 2 starts at strength 0.729, not between 1e-80 and its end 0.5",
        ),
        (
            experiment(WHITE, (4, 4), "aligned", 1e-30),
            "mode 0 starts at strength 1e-90, not between 1e-80 and its end 2",
        ),
    ],
)
def test_a_condition_that_fails_is_named(e, message):
    with pytest.raises(InputError, match=f"no theory applies to '.*'; {THEORY}: {message}"):
        predict(e, theory=THEORY)


def test_other_losses_and_nothing_to_learn(tmp_path):
    x = np.sqrt(2) * np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    for loss, y, message in (
        ("squared", np.ones((4, 1)), r"nothing linear is to be learned: E\[y x'\] is zero"),
        ("cross_entropy", np.eye(2)[[0, 1, 0, 1]], "the loss is cross_entropy, not squared"),
    ):
        np.savez(tmp_path / f"{loss}.npz", inputs=x, targets=y)
        task = Arrays(inputs=str(tmp_path / f"{loss}.npz"), loss=loss)
        with pytest.raises(InputError, match=message):
            predict(experiment(task, (3,), "isotropic", 1e-3), theory=THEORY)
