"""Rest: how runs end, told apart on curves and cycles known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saddlery import Experiment, Initialization, stages, train
from saddlery.networks import Layer, Network
from saddlery.plateaus.rest import KINDS, rest_of
from saddlery.rules import Adam, GradientDescent, NormalisedDescent, SignDescent
from saddlery.tasks import Arrays, LinearTeacher
from saddlery.training import Stop
from saddlery.units import make

SCALAR = Experiment.named("linear").replace(
    network=Network((Layer(make("linear"), 1),)),
    task=LinearTeacher((1.0,), inputs=1, outputs=1),
    initialization=Initialization(scale=0.1),
)


def descended(rate, steps=400):
    return train(SCALAR.replace(rule=GradientDescent(rate), stop=Stop(steps=steps)))


@pytest.fixture(scope="module")
def flow():
    return train(SCALAR.replace(stop=Stop(flow_time=30.0)))


def ended(flow, time, loss):
    """The flow's record with this loss curve, and the gradient norm that a flow along it has."""
    speed = np.maximum(-np.gradient(loss, time), 0.0)
    states = np.repeat(flow.trajectory.states[-1:], len(time), axis=0)
    curve = replace(
        flow.trajectory,
        flow_time=time,
        step=np.arange(len(time)),
        loss=loss,
        gradient_norm=np.sqrt(speed),
        states=states,
    )
    return replace(flow, trajectory=curve)


# ---------------------------------------------------------------- cycles
def cycle(rate):
    """(d) Losses of the cycle of period two of a' = a + rate (1 - a^2) a, the scalar linear network
    with equal weights."""
    a = 1.05
    for _ in range(20000):
        a += rate * (1 - a * a) * a
    other = a + rate * (1 - a * a) * a
    return sorted(0.5 * (1 - b * b) ** 2 for b in (a, other))


@pytest.mark.parametrize(("rate", "mean"), [(1.03, 0.0144), (1.2, 0.0763)])
@pytest.mark.parametrize("steps", [400, 401])
def test_descent_beyond_the_edge_of_stability_is_not_at_rest(rate, mean, steps):
    """(d) 2/lambda = 1: beyond it the minimum is no rest of descent. The loss cycles; it used to
    end at a "minimum" of loss 0."""
    run = descended(rate, steps)
    found = stages(run)
    low, high = cycle(rate)
    assert 0.5 * (low + high) == pytest.approx(mean, abs=2e-4)
    assert found.rest.kind == "oscillates" and not found.rest.at_rest
    evidence = found.rest.evidence
    assert (evidence["lowest"], evidence["highest"]) == pytest.approx((low, high), rel=1e-6)
    assert evidence["step size times curvature"] == pytest.approx(
        2.0, abs=1e-6
    )  # of a cycle of period two, exactly
    assert [stage.kind for stage in found.stages if stage.kind == "end"] == []
    assert "the loss oscillates" in repr(found) and "beyond the edge of stability" in repr(found)


def test_saved_points_that_show_one_phase_of_a_cycle_do_not_hide_it():
    """Every other point of the cycle: the loss is constant, and only the gradient shows that it is
    no rest."""
    run = descended(1.2)
    t = run.trajectory
    names = ("flow_time", "step", "loss", "gradient_norm", "states")
    single = replace(t, **{name: getattr(t, name)[-2::-2][::-1] for name in names})
    assert np.ptp(single.loss[-50:]) < 1e-12
    assert rest_of(replace(run, trajectory=single)).kind == "oscillates"


@pytest.mark.parametrize("rate", [0.3, 0.9, 0.97])
def test_descent_within_the_edge_comes_to_rest(rate):
    found = stages(descended(rate))
    assert found.rest.kind == "at rest" and found[-1].kind == "end" and found.notes == ()


@pytest.mark.parametrize(
    ("rule", "time", "kind"),
    [
        (NormalisedDescent(1e-3), 10.0, "at rest"),  # to within a step
        (NormalisedDescent(0.1), 50.0, "oscillates"),
        (SignDescent(0.1), 50.0, "oscillates"),
        (Adam(1e-3), 5.0, "at rest"),
    ],
)
def test_rules_whose_steps_do_not_shrink(rule, time, kind):
    e = Experiment.named("linear").replace(rule=rule, stop=Stop(flow_time=time))
    assert rest_of(train(e)).kind == kind


# ---------------------------------------------------------------- curves
@pytest.mark.parametrize(
    ("curve", "last", "kind"),
    [
        (lambda t: np.exp(-t), 30.0, "at rest"),
        (lambda t: np.exp(-t), 8.0, "at rest"),
        (lambda t: np.exp(-t), 4.0, "ended early"),
        (lambda t: 1 / (1 + t), 1e3, "still falling"),
        (lambda t: 1 / (1 + t) ** 2, 1e2, "still falling"),
        (lambda t: 1 / np.sqrt(1 + t), 1e4, "still falling"),
        (lambda t: np.exp(-t) - 1e-6 * t, 3e3, "still falling"),  # at a steady speed
        (lambda t: np.round(np.exp(-t), 4), 30.0, "at rest"),
        (lambda t: np.tanh(8 - t), 8.5, "ended early"),
    ],
)
def test_ways_to_end(flow, curve, last, kind):
    """(a) Exponentials rest after seven time constants, powers of time never do, rounding to digits
    is no cycle."""
    time = np.linspace(0, last, 6001)
    found = rest_of(ended(flow, time, curve(time)))
    assert found.kind == kind and kind in KINDS
    assert found.record()["kind"] == kind


def test_a_run_that_ends_early_says_so(flow):
    """(a) Cut while the second mode falls: the record and the table say that no rest was
    reached."""
    run = train(Experiment.named("linear").replace(stop=Stop(flow_time=18.0)))
    found = stages(run)
    assert [stage.kind for stage in found.stages] == ["initial", "intermediate"]
    assert found.rest.kind == "ended early"
    assert "the run ended before it came to rest" in repr(found)
    assert found.record()["rest"]["kind"] == "ended early"
    assert stages(flow).rest.at_rest


def test_a_run_whose_loss_has_not_moved(tmp_path):
    """(a) Beside the origin a run waits (14 time units would be needed); in a minimum it rests for
    ever."""
    waiting = Experiment.named("linear").replace(
        initialization=Initialization(scale=1e-6), stop=Stop(flow_time=3.0)
    )
    found = rest_of(train(waiting))
    assert found.kind == "ended early" and "before it left its start" in found.sentence
    np.savez(tmp_path / "zero.npz", inputs=np.eye(3), targets=np.zeros((3, 1)))
    learned = waiting.replace(
        task=Arrays(str(tmp_path / "zero.npz")), initialization=Initialization(scale=1e-12)
    )
    found = rest_of(train(learned))
    assert found.kind == "at rest" and "rests where it began" in found.sentence
    rows = np.linalg.qr(
        np.hstack([np.ones((20, 1)), np.random.default_rng(0).standard_normal((20, 2))])
    )[0][:, 1:]
    np.savez(
        tmp_path / "off.npz",
        inputs=np.sqrt(20) * rows,
        targets=np.sqrt(20) * rows * [1.0, 0.4] + 2000.0,
    )
    offset = Experiment.named("linear").replace(
        task=Arrays(str(tmp_path / "off.npz")), stop=Stop(flow_time=60.0)
    )
    assert rest_of(train(offset)).kind == "at rest"  # 0.58 of 4e6 was there to learn


# ---------------------------------------------------------------- seeded by rounding
@pytest.mark.parametrize(("scale", "seeded"), [(0.0, True), (1e-10, False)])
def test_a_start_exactly_on_a_manifold_is_left_by_rounding(scale, seeded):
    """(a) Theorem 3: from width one the second unit cannot come; it does, by rounding, after 97 of
    flow time."""
    start = Initialization(kind="manifold", width=1, size=1e-3, scale=scale)
    found = stages(
        train(Experiment.named("linear").replace(initialization=start, stop=Stop(flow_time=200.0)))
    )
    assert [stage.effective_units for stage in found.stages] == [0, 1, 2]
    assert [bool(stage.note) for stage in found.stages] == [False, seeded, False]
    assert ("seeded by rounding" in repr(found)) == seeded


def test_equal_units_of_any_rule_are_seeded_by_rounding():
    """(a) Sign descent keeps no rank, but equal units equal: tanh copies of one unit stay one."""
    from saddlery.plateaus.seeding import kept_width

    e = Experiment.named("tanh").replace(
        initialization=Initialization(kind="manifold", width=1, size=0.1, scale=0.0),
        rule=SignDescent(1e-3),
        stop=Stop(steps=3),
    )
    run = train(e)
    assert kept_width(run, run.objective(), 3) == 1
    apart = train(e.replace(initialization=Initialization(scale=0.1)))
    assert kept_width(apart, apart.objective(), 3) is None
