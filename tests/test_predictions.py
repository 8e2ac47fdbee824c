"""Predictions beside runs: losses, indices, jump times, and how often the interval holds them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, train
from saddlery.checks import InputError
from saddlery.predictions import compare, predict
from saddlery.predictions.base import off_diagonal
from saddlery.stage import Stages
from saddlery.tasks import LinearTeacher

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


def jumps(experiment):
    run = train(experiment)
    return compare(predict(experiment)[0], Stages(run, ()))


# ------------------------------------------------------------- linear networks
def test_stages_of_a_linear_network():
    """(a) Losses 1/2 the sum of squares left, indices (r* - r)(H - r); (d) certificates of a run."""
    task = LinearTeacher((2.0, 1.0, 0.5))
    e = small(task=task, initialization=Initialization(scale=1e-8), stop=type(small().stop)(flow_time=80.0))
    (prediction,) = predict(e)
    assert [s.loss for s in prediction.stages] == pytest.approx([2.625, 0.625, 0.125, 0.0], abs=1e-12)
    assert [s.index for s in prediction.stages] == [30, 18, 8, 0]
    found = compare(prediction, certify(train(e)))
    assert all(s.seen for s in found.stages) and found.extra == 0
    assert [s.loss for s in found.stages] == pytest.approx([s.loss for s in prediction.stages], abs=1e-12)
    assert max(abs(s.error) for s in found.stages[1:]) < 0.01
    assert [s.units for s in found.stages] == [(0,), (1,), (2,), (3,)]


def test_inputs_of_other_variances():
    """(d) The largest correlation comes first, although the other mode has the larger share of the loss."""
    task = LinearTeacher((0.4, 2.4), covariance=(4.0, 0.25), rotate=False)
    e = small(task=task, stop=type(small().stop)(flow_time=60.0))
    (prediction,) = predict(e)
    found = compare(prediction, certify(train(e)))
    assert all(s.seen for s in found.stages)
    assert max(abs(s.error) for s in found.stages[1:]) < 0.02


@pytest.mark.parametrize("seeds", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_jump_times_over_draws(seeds):
    """(d) Means within a percent, 99 draws of 100 within two, and nine in ten inside the interval (more draws, less room)."""
    compared = [jumps(small(seed=seed)) for seed in range(seeds)]
    errors = np.array([[s.error for s in c.stages[1:]] for c in compared])
    measured = np.array([[s.jump for s in c.stages[1:]] for c in compared])
    inside = np.mean([[s.inside for s in c.stages[1:]] for c in compared], axis=0)
    mean = np.array([s.mean for s in predict(small())[0].stages[1:]])
    assert np.quantile(np.abs(errors), 0.99) < 0.02
    np.testing.assert_allclose(measured.mean(axis=0), mean, rtol=0.01)
    room = 3 * np.sqrt(0.09 / seeds)
    assert np.all(np.abs(inside - 0.9) < room), inside


def test_errors_fall_with_the_initial_scale():
    worst = []
    for scale in (1e-1, 1e-2, 1e-4):
        e = small(initialization=Initialization(scale=scale))
        worst.append(np.mean([max(abs(s.error) for s in jumps(e.replace(seed=k)).stages[1:]) for k in range(4)]))
    assert worst[2] < worst[1] < worst[0]


def test_a_run_without_the_stages_says_so():
    """From large weights nothing is seen but the end; a prediction that is wrong is not helped to look right."""
    e = small(initialization=Initialization(scale=1.0))
    found = compare(predict(small())[0], certify(train(e)))
    assert [s.seen for s in found.stages] == [False, False, True]
    assert found.stages[2].inside is False
    wrong = dataclasses.replace(predict(small())[0], stages=predict(small(task=LinearTeacher((1.0, 0.8))))[0].stages)
    assert not all(s.seen for s in compare(wrong, certify(train(small()))).stages)


def test_they_print_themselves_and_are_json():
    import json

    (prediction,) = predict(small())
    found = compare(prediction, certify(train(small())))
    assert "mean jump" in repr(prediction) and "<table>" in prediction._repr_html_()
    assert "loss of the run" in repr(found) and "<table>" in found._repr_html_()
    assert json.loads(json.dumps(found.record()))["stages"][1]["predicted"]["units"] == 1
    assert json.loads(json.dumps(prediction.record()))["stages"][0]["jump"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": LinearTeacher((1.0, 0.4), covariance=(1.0, 2.0))}, "the input covariance mixes the modes: by 0."),
        ({"initialization": Initialization("low_rank", 1e-6, 1, 1.0)}, "initial weights are low_rank, not isotropic"),
    ],
)
def test_a_theory_says_which_condition_fails(changes, message):
    with pytest.raises(InputError, match=f"no theory applies to 'small'; linear modes: {message}"):
        predict(small(**changes))


def test_misuse():
    with pytest.raises(InputError, match="theory 'linear mode' is not known; did you mean 'linear modes'"):
        predict(small(), theory="linear mode")
    with pytest.raises(InputError, match=r"must be the Stages of a run, got 'Run'; pass stages\(run\)"):
        compare(predict(small())[0], train(small()))


def test_off_diagonal_is_relative():
    assert off_diagonal(np.array([[4.0, 1.0], [1.0, 1.0]])) == pytest.approx(0.5)
    assert off_diagonal(np.diag([3.0, 0.0])) == 0
