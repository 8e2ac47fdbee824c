"""Predictions beside runs: losses, indices, jump times, and how often the interval holds them."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import jax
import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, train
from saddlery.basis.checks import InputError
from saddlery.plateaus import Stages
from saddlery.predictions import compare, predict
from saddlery.predictions.base import off_diagonal
from saddlery.rules import Adam, GradientFlow
from saddlery.tasks import InContextRegression, LinearTeacher, OrthogonalReLU
from saddlery.training import Stop, driver
from saddlery.units import make
from slowly import slowly

TEXT = """
name = "small"
[task]
kind = "linear_teacher"
singular_values = [1.0, 0.4]
[network]
[[network.layers]]
unit = "linear"
width = 10
[initialization]
scale = 1e-6
[stop]
flow_time = 60.0
"""


def small(**changes):
    return Experiment.from_toml(TEXT).replace(**changes)


def jumps(experiment, theory="linear modes"):
    run = train(experiment)
    return compare(predict(experiment, theory=theory)[0], Stages(run, ()))


def scaled(e, a):
    """An experiment whose targets are a times as large, its weights sqrt(a) times, so that all
    takes 1/a of the time and losses are a^2 times as large."""
    task = dataclasses.replace(e.task, singular_values=tuple(a * s for s in e.task.singular_values))
    start = dataclasses.replace(e.initialization, scale=e.initialization.scale * np.sqrt(a))
    return e.replace(task=task, initialization=start)


@pytest.mark.parametrize("a", [4.0**-26, 4.0**8])
@pytest.mark.parametrize(
    ("theory", "error"),
    slowly(
        [("diagonal jumps", 1e-9), ("alternating gradient flows", 5e-3)],
        ("alternating gradient flows", 5e-3),
    ),
)
def test_paths_of_diagonal_networks_know_no_unit_of_targets(theory, error, a):
    """(b) Losses, times, intervals and the share of draws on the same path, to how exactly the
    theory follows them."""
    e = Experiment.named("diagonal")
    e = e.replace(
        task=dataclasses.replace(e.task, inputs=5),
        seed=0,
        initialization=Initialization(scale=1e-4),
    )
    (usual,), (other,) = predict(e, theory=theory), predict(scaled(e, a), theory=theory)
    assert len(other.stages) == len(usual.stages)
    for one, two in zip(usual.stages[1:], other.stages[1:], strict=True):
        assert two.loss == pytest.approx(a**2 * one.loss, rel=1e-6, abs=1e-12 * a**2)
        assert two.share == one.share
        for name in ("jump", "mean", "low", "high"):
            assert (getattr(one, name) is None) == (getattr(two, name) is None)
            if getattr(one, name) is not None:
                assert a * getattr(two, name) == pytest.approx(getattr(one, name), rel=error)


@pytest.mark.slow
def test_no_wait_is_too_long():
    """(d) From weights of 1e-16 quadratic units wait 1e16 and more: as many stages as those of
    the theory that follows units through their leading forms."""
    e = Experiment.named("quadratic").replace(initialization=Initialization(scale=1e-16))
    (agf,) = predict(e, theory="alternating gradient flows")
    (other,) = predict(e, theory="units one by one")
    losses = [[stage.loss for stage in found.stages] for found in (agf, other)]
    assert len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], abs=1e-6)


# ------------------------------------------------------------- linear networks
def test_stages_of_a_linear_network():
    """(a) Losses 1/2 the sum of squares left, indices (r* - r)(H - r); (d) certificates of a
    run."""
    task = LinearTeacher((2.0, 1.0, 0.5))
    e = small(
        task=task,
        initialization=Initialization(scale=1e-8),
        stop=type(small().stop)(flow_time=80.0),
    )
    (prediction,) = predict(e, theory="linear modes")
    assert [s.loss for s in prediction.stages] == pytest.approx(
        [2.625, 0.625, 0.125, 0.0], abs=1e-12
    )
    assert [s.index for s in prediction.stages] == [30, 18, 8, 0]
    found = compare(prediction, certify(train(e)))
    assert all(s.seen for s in found.stages) and found.extra == 0
    assert [s.loss for s in found.stages] == pytest.approx(
        [s.loss for s in prediction.stages], abs=1e-12
    )
    assert max(abs(s.error) for s in found.stages[1:]) < 0.01
    assert [s.units for s in found.stages] == [(0,), (1,), (2,), (3,)]


@pytest.mark.slow
def test_inputs_of_other_variances():
    """(d) The largest correlation comes first, although the other mode has the larger share of the
    loss."""
    task = LinearTeacher((0.4, 2.4), covariance=(4.0, 0.25), rotate=False)
    e = small(task=task, stop=type(small().stop)(flow_time=60.0))
    (prediction,) = predict(e, theory="linear modes")
    found = compare(prediction, certify(train(e)))
    assert all(s.seen for s in found.stages)
    assert max(abs(s.error) for s in found.stages[1:]) < 0.02


@pytest.mark.parametrize("seeds", [40, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_jump_times_over_draws(seeds):
    """(d) Means within a percent, 99 draws of 100 within two, and nine in ten inside the interval
    (more draws, less room)."""
    compared = [jumps(small(seed=seed)) for seed in range(seeds)]
    errors = np.array([[s.error for s in c.stages[1:]] for c in compared])
    measured = np.array([[s.jump for s in c.stages[1:]] for c in compared])
    inside = np.mean([[s.inside for s in c.stages[1:]] for c in compared], axis=0)
    mean = np.array([s.mean for s in predict(small(), theory="linear modes")[0].stages[1:]])
    assert np.quantile(np.abs(errors), 0.99) < 0.02
    np.testing.assert_allclose(measured.mean(axis=0), mean, rtol=0.01)
    room = 3 * np.sqrt(0.09 / seeds)
    assert np.all(np.abs(inside - 0.9) < room), inside


def test_errors_fall_with_the_initial_scale():
    worst = []
    for scale in (1e-1, 1e-2, 1e-4):
        e = small(initialization=Initialization(scale=scale))
        worst.append(
            np.mean(
                [max(abs(s.error) for s in jumps(e.replace(seed=k)).stages[1:]) for k in range(4)]
            )
        )
    assert worst[2] < worst[1] < worst[0]


def test_a_run_without_the_stages_says_so():
    """From large weights nothing is seen but the end; a prediction that is wrong is not helped to
    look right."""
    e = small(initialization=Initialization(scale=1.0))
    found = compare(predict(small(), theory="linear modes")[0], certify(train(e)))
    assert [s.seen for s in found.stages] == [False, False, True]
    assert found.stages[2].inside is False
    wrong = dataclasses.replace(
        predict(small(), theory="linear modes")[0],
        stages=predict(small(task=LinearTeacher((1.0, 0.8))), theory="linear modes")[0].stages,
    )
    assert not all(s.seen for s in compare(wrong, certify(train(small()))).stages)


def test_they_print_themselves_and_are_json():
    import json

    (prediction,) = predict(small(), theory="linear modes")
    found = compare(prediction, certify(train(small())))
    assert {"mean", "jump"} <= set(
        repr(prediction).split()
    ) and "<table>" in prediction._repr_html_()
    assert {"loss", "run", "seen"} <= set(repr(found).split()) and "<table>" in found._repr_html_()
    assert json.loads(json.dumps(found.record()))["stages"][1]["predicted"]["units"] == 1
    assert json.loads(json.dumps(prediction.record()))["stages"][0]["jump"] is None


def test_two_theories_of_one_network_agree():
    """(d) Closed form beside the flow of the rank-one network, each with its own route to the same
    times."""
    e = small(task=LinearTeacher((2.0, 1.0, 0.5)))
    one, other = (predict(e, theory=name)[0] for name in ("linear modes", "directions one by one"))
    for a, b in zip(one.stages[1:], other.stages[1:], strict=True):
        assert b.loss == pytest.approx(a.loss, abs=1e-12) and b.units == a.units
        assert b.jump == pytest.approx(a.jump, rel=2e-3) and b.mean == pytest.approx(
            a.mean, rel=5e-3
        )


# ---------------------------------------------------- other networks, one run each
def mixed(rates=(2.0, 1.0, 0.5)):
    return LinearTeacher((1.0, 0.4, 0.2), inputs=3, outputs=3, covariance=rates)


@pytest.mark.parametrize(
    ("experiment", "theory", "error"),
    [
        (small(task=mixed(), stop=Stop(flow_time=150.0)), "directions one by one", 0.005),
        (small(task=LinearTeacher((1.0, 1.0, 0.4))), "directions one by one", 0.005),
        pytest.param(
            Experiment.named("linear_conv"), "directions one by one", 0.005, marks=pytest.mark.slow
        ),
        pytest.param(Experiment.named("relu"), "orthogonal ReLU", 0.005, marks=pytest.mark.slow),
        pytest.param(
            Experiment.named("relu").replace(task=OrthogonalReLU((1.0, 0.7, -0.5, -0.3), inputs=6)),
            "orthogonal ReLU",
            0.01,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Experiment.named("quadratic"), "units one by one", 0.002, marks=pytest.mark.slow
        ),
        pytest.param(
            Experiment.named("linear_attention"), "units one by one", 0.002, marks=pytest.mark.slow
        ),
        pytest.param(
            Experiment.named("x_tanh_x"), "units one by one", 0.002, marks=pytest.mark.slow
        ),
        (Experiment.named("diagonal"), "diagonal jumps", 0.005),
    ],
    ids=lambda value: value.name if isinstance(value, Experiment) else None,
)
def test_every_stage_of_a_run(experiment, theory, error):
    """(d) Losses of all fixed points, effective units and jump times, beforehand."""
    found = compare(predict(experiment, theory=theory)[0], certify(train(experiment)))
    assert all(stage.seen for stage in found.stages) and found.extra == 0
    for stage in found.stages:
        assert stage.loss == pytest.approx(stage.predicted.loss, abs=1e-9)
    assert max(abs(stage.error) for stage in found.stages[1:]) < error


@pytest.mark.slow
def test_heads_of_rank_two_learn_two_eigenvectors():
    """(a) Zhang et al. (2025): rank-R heads rest only after multiples of R eigenvectors, at the
    losses of eq 19."""
    values, n = np.array([0.4, 0.3, 0.2, 0.1]), 31
    e = Experiment.named("linear_attention")
    network = e.network.with_unit(0, make("in_context_linear", rank=2)).with_widths([4])
    task = InContextRegression(tuple(values), length=n)
    found = predict(e.replace(task=task, network=network))
    gains = values / (1 + (1 + values.sum() / values) / n)
    expected = [0.5 * (values.sum() - gains[:m].sum()) for m in (0, 2, 4)]
    for prediction in found:
        assert [s.loss for s in prediction.stages] == pytest.approx(expected, abs=1e-9)
    assert 2 * expected[1] == pytest.approx(0.37737216, abs=1e-8)


@pytest.mark.slow
def test_merged_attention_has_one_jump():
    """(a) Two fixed points: zero and the population optimum."""
    e = Experiment.named("linear_attention")
    merged = e.replace(network=e.network.with_unit(0, make("in_context_merged")))
    found = predict(merged)
    assert [prediction.theory for prediction in found] == [
        "directions one by one",
        "alternating gradient flows",
    ]
    assert all([s.units for s in prediction.stages] == [(0,), (1,)] for prediction in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quadratic", "linear_attention"])
def test_jump_times_of_units_over_draws(name):
    """(d) Scale 1e-6, 200 runs: means within 5%, nominal 90% intervals that hold 85-95%, and each
    run's own within 0.5%."""
    e = Experiment.named(name).replace(
        initialization=Initialization(scale=1e-6), rule=GradientFlow(solver="kvaerno5")
    )
    prediction = predict(e)[0]
    losses = [s.loss for s in prediction.stages]
    stop = Stop(
        flow_time=5 * prediction.stages[-1].high, loss=losses[-1] + 0.2 * (losses[-2] - losses[-1])
    )
    times = []
    with jax.enable_x64(True):
        subject = e.objective()
        f = subject.function
        for seed in range(200):
            state = e.initialization.draw(subject.network, f.shape, f.outputs, seed)
            trajectory = driver.run(f, subject.samples, state, e.rule, stop)
            path = all(
                np.any(np.abs(trajectory.loss - loss) < 1e-3 * losses[0]) for loss in losses[:-1]
            )
            if path:
                times.append([crossing(trajectory, 0.5 * (a + b)) for a, b in pairwise(losses)])
    measured = np.array(times)
    assert abs(len(measured) / 200 - prediction.stages[-1].share) < 0.06
    for k, stage in enumerate(prediction.stages[1:]):
        assert np.mean(measured[:, k]) == pytest.approx(stage.mean, rel=0.05)
        assert (
            0.85 <= np.mean((stage.low <= measured[:, k]) & (measured[:, k] <= stage.high)) <= 0.95
        )


def crossing(trajectory, level):
    k = int(np.flatnonzero(trajectory.loss > level)[-1])
    share = (trajectory.loss[k] - level) / (trajectory.loss[k] - trajectory.loss[k + 1])
    return trajectory.flow_time[k] + share * (trajectory.flow_time[k + 1] - trajectory.flow_time[k])


# ------------------------------------------------------------- what does not apply
def with_unit(name, **options):
    e = Experiment.named("relu")
    return e.replace(network=e.network.with_unit(0, make(name, **options)))


@pytest.mark.parametrize(
    ("experiment", "theory", "message"),
    [
        (
            small(task=LinearTeacher((1.0, 0.4), covariance=(1.0, 2.0))),
            "linear modes",
            "the input covariance mixes the modes: by 0.",
        ),
        (
            small(initialization=Initialization("manifold", 1e-6, 1, 1.0)),
            "linear modes",
            "initial weights are manifold, not isotropic",
        ),
        (
            small(task=LinearTeacher((1.0, 0.5), covariance=(1.0, 4.0), rotate=False)),
            "linear modes",
            "two modes have the same share of the loss but are not learned as one",
        ),
        (
            small(task=LinearTeacher((0.4, 2.4), covariance=(4.0, 0.25), rotate=False)),
            "directions one by one",
            r"with 1 units learned, they do not bring back what joins next \(curvature -0.",
        ),
        (
            with_unit("tanh"),
            "directions one by one",
            "units tanh are not linear in their incoming weights",
        ),
        (
            with_unit("tanh"),
            "units one by one",
            "units tanh start at degree 1, so they grow by directions",
        ),
        (with_unit("sigmoid"), "units one by one", "units sigmoid have no silent point"),
        (
            with_unit("relu", bias=True),
            "orthogonal ReLU",
            r"units are relu\(bias=True\), not ReLU neurons without bias",
        ),
        (
            Experiment.named("relu").replace(task=Experiment.named("tanh").task),
            "orthogonal ReLU",
            "inputs are not orthogonal: largest off-diagonal correlation [01]",
        ),
        (
            Experiment.named("relu").replace(
                task=OrthogonalReLU((1.0, 0.9, 0.8, 0.7, 0.6, -1.0)),
                network=with_unit("relu").network.with_widths([2]),
            ),
            "orthogonal ReLU",
            "no unit sees all samples of (positive|negative) target; raise the width",
        ),
        (
            Experiment.named("diagonal").replace(initialization=Initialization(scale=2.0)),
            "diagonal jumps",
            "initial weights are not small",
        ),
        (
            small(rule=Adam()),
            "units one by one",
            "the rule is adam, not gradient flow or full descent",
        ),
    ],
)
def test_a_theory_says_which_condition_fails(experiment, theory, message):
    with pytest.raises(InputError, match=f"no theory applies to '.*'; {theory}: {message}"):
        predict(experiment, theory=theory)


def test_misuse():
    with pytest.raises(
        InputError, match="theory 'linear mode' is not known; did you mean 'linear modes'"
    ):
        predict(small(), theory="linear mode")
    with pytest.raises(InputError, match="the subject must be a run, the path of its folder"):
        compare(predict(small(), theory="linear modes")[0], 3)


def test_off_diagonal_is_relative():
    assert off_diagonal(np.array([[4.0, 1.0], [1.0, 1.0]])) == pytest.approx(0.5)
    assert off_diagonal(np.diag([3.0, 0.0])) == 0
