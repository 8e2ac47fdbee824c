"""Runs stepped side by side are the runs alone."""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from saddlery import Experiment, Layer, Network, train
from saddlery.basis.checks import InputError, NumericalError
from saddlery.initializations import Initialization
from saddlery.networks.network import places_of_units
from saddlery.plateaus import find_plateaus
from saddlery.rules import (
    Adam,
    AlternatingFlow,
    GradientDescent,
    Momentum,
    Muon,
    SignDescent,
    SpectralDescent,
)
from saddlery.rules.descent import Descent
from saddlery.runs import Failure, ensembles, train_many
from saddlery.runs.ensembles import chunk_size
from saddlery.runs.run import prepare
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop, driver, loop
from saddlery.training.driver import run, run_chunk
from saddlery.units import dense
from slowly import slowly

BASE = Experiment.named("linear").replace(stop=Stop(flow_time=12.0))


def collected(experiments, **options):
    found = dict(train_many(experiments, **options))
    assert sorted(found) == list(range(len(experiments)))
    return [found[k] for k in range(len(experiments))]


@pytest.mark.parametrize(
    "name", slowly(["linear", "relu", "quadratic", "linear_attention"], "relu", "quadratic")
)
def test_a_chunk_equals_each_run_alone(name):
    """(d) Seeds with data, initial weights and ends of their own."""
    base = Experiment.named(name)
    short = [
        base.replace(seed=k, stop=Stop(flow_time=(1 + 0.3 * k) * base.stop.flow_time / 8))
        for k in range(5)
    ]
    for together, e in zip(collected(short, chunk=3), short, strict=True):
        alone = train(e)
        assert together.experiment == alone.experiment and together.data == alone.data
        assert together.trajectory.status == alone.trajectory.status == "stopped"
        assert together.trajectory.reason == alone.trajectory.reason
        assert len(together.trajectory.loss) == pytest.approx(
            len(alone.trajectory.loss), rel=0.1
        )  # kinks are met by rounding
        last, size = alone.trajectory.states[-1], np.abs(alone.trajectory.states[-1]).max()
        np.testing.assert_allclose(
            together.trajectory.states[-1], last, rtol=1e-4, atol=3e-6 * size
        )
        for shown, value in alone.trajectory.observables.items():
            seen = together.trajectory.observables[shown][-1]
            np.testing.assert_allclose(
                seen, value[-1], rtol=1e-4, atol=3e-6 * np.abs(value[-1]).max()
            )


def plain_descent(e: Experiment, loss, steps: int) -> np.ndarray:
    """The states (steps + 1, P) of gradient descent, by a loop."""
    move = jax.jit(lambda theta: theta - e.rule.learning_rate * jax.grad(loss)(theta))
    states = [jnp.asarray(prepare(e).start)]
    for _ in range(steps):
        states.append(move(states[-1]))
    return np.array(states)


@pytest.mark.parametrize("rate", [0.02, 0.5, 2.5], ids=["small", "large", "hopeless"])
def test_steps_of_descent_are_the_same_to_rounding(rate):
    """(d) A loop step by step: the last of steps that are no multiple of a stride, and every one
    that is saved; from a small rate, at which strides are long, to one that diverges, at which they
    are single steps."""
    e = BASE.replace(rule=GradientDescent(rate), stop=Stop(steps=1003))
    (together, *_) = collected([e.replace(seed=s) for s in range(4)])
    path = together.trajectory
    assert path.step[-1] == 1003 or path.status == "diverged"
    expected = plain_descent(e.replace(seed=0), together.objective().loss, int(path.step[-1]))
    assert len(path.step) > 5
    np.testing.assert_allclose(
        path.states, expected[path.step], rtol=1e-7, atol=1e-10 * np.abs(expected).max()
    )
    np.testing.assert_allclose(path.flow_time, rate * path.step, rtol=1e-12)


def test_strides_are_powers_of_two_that_end_together():
    """(a) At rest every look is sixteen steps after the last, at a multiple of sixteen; where the
    run moves, at one of fewer."""
    e = BASE.replace(rule=GradientDescent(0.0055), stop=Stop(steps=8_000))
    steps = train(e).trajectory.step[2:-1]  # the first step is saved, and the end
    early, gaps = steps[steps < 300], np.diff(steps)
    assert len(early) > 15 and np.all(early % 16 == 0)
    assert gaps.min() in (1, 2, 4, 8) and np.all(steps % gaps.min() == 0)


@pytest.mark.parametrize("rate", slowly([0.25, 0.5, 1.0, 2.0], 0.25))
def test_plateaus_are_those_of_every_step_at_any_rate(rate):
    """(d) Digits has nine stages a few units of time apart; at rate 2 some pass in three steps."""
    es = [Experiment.named("digits").replace(rule=GradientDescent(rate), seed=s) for s in range(3)]
    for e, made in zip(es, collected(es), strict=True):
        path, alone = made.trajectory, train(e)
        found = find_plateaus(path.flow_time, path.loss)
        loss = made.objective().loss
        losses = np.asarray(
            jax.lax.map(loss, jnp.asarray(plain_descent(e, loss, int(path.step[-1]))))
        )
        expected = find_plateaus(rate * np.arange(len(losses)), losses)
        assert [p.kind for p in found] == [p.kind for p in expected]
        np.testing.assert_allclose([p.loss for p in found], [p.loss for p in expected], rtol=0.01)
        assert [
            p.kind for p in find_plateaus(alone.trajectory.flow_time, alone.trajectory.loss)
        ] == [p.kind for p in found]


@pytest.mark.parametrize("rate", [2.0, 3.0, 10.0, 1e200])
def test_a_run_that_diverges_says_the_same_alone_and_in_company(rate):
    es = [BASE.replace(rule=GradientDescent(rate), seed=s, stop=Stop(steps=600)) for s in range(3)]
    for e, made in zip(es, collected(es), strict=True):
        with pytest.raises(NumericalError, match=re.escape(made.trajectory.reason)):
            train(e)


@pytest.mark.slow
def test_a_chunk_of_hundreds_goes_on_for_a_thousand_steps_between_looks(monkeypatch):
    """(a) What an accelerator is given: the host is not asked every few steps, and every run is
    what it is alone."""
    looks, real = [], driver._Member.take
    monkeypatch.setattr(
        driver._Member, "take", lambda self, *args: (looks.append(self), real(self, *args))[1]
    )
    es = [
        BASE.replace(rule=GradientDescent(1e-4), stop=Stop(steps=8_000), seed=s) for s in range(300)
    ]
    found = collected(es, chunk=512, observables=False)
    assert len(looks) <= 300 * 20
    for k in (0, 150, 299):
        np.testing.assert_allclose(
            found[k].trajectory.loss, train(es[k]).trajectory.loss, rtol=1e-9
        )


@pytest.mark.slow
def test_batches_are_drawn_by_each_runs_own_seed():
    task = Experiment.named("tanh").task
    e = Experiment.named("tanh").replace(
        rule=GradientDescent(0.01, batch=5), stop=Stop(steps=30), task=task
    )
    for together, seed in zip(
        collected([e.replace(seed=s) for s in (0, 7)], chunk=2), (0, 7), strict=True
    ):
        np.testing.assert_allclose(
            together.trajectory.states[-1], train(e, seed=seed).trajectory.states[-1], rtol=1e-9
        )


def test_a_diverging_run_leaves_its_neighbours_alone():
    rule = GradientDescent(0.3)
    sizes = [1e-2, 50.0, 1e-2, 1e-3]
    es = [
        BASE.replace(rule=rule, seed=k, initialization=Initialization(scale=s))
        for k, s in enumerate(sizes)
    ]
    found = collected(es, chunk=4)
    assert [r.trajectory.status in ("diverged", "not finite") for r in found] == [
        False,
        True,
        False,
        False,
    ]
    without = collected([es[k] for k in (0, 2, 3)], chunk=3)
    for one, other in zip([found[0], *found[2:]], without, strict=True):
        np.testing.assert_allclose(
            one.trajectory.states[-1], other.trajectory.states[-1], rtol=1e-12
        )


def test_an_impossible_experiment_is_named_and_the_others_run():
    impossible = BASE.replace(task=LinearTeacher((1.0, 0.4), inputs=1))
    ended = BASE.replace(stop=Stop(flow_time=1.0, loss=5.0))
    first, second, third = collected([BASE, impossible, ended])
    assert (
        first.trajectory.status == "stopped"
        and isinstance(second, Failure)
        and "inputs" in second.reason
    )
    assert third.trajectory.status == "refused" and "at the start" in third.trajectory.reason
    with pytest.raises(InputError, match="chunk must be a whole number"):
        list(train_many([BASE], chunk=0))


def test_runs_of_equal_shape_share_a_program():
    """Also those of other widths, where linear units are trained in their span."""
    widths = [BASE.replace(network=BASE.network.with_widths([h]), seed=h) for h in (8, 20, 50)]
    loop.programs.cache_clear()
    collected([e.replace(seed=s) for e in widths for s in range(2)], chunk=2)
    assert loop.programs.cache_info().currsize == 1
    made = prepare(widths[0])
    _, advance = loop.programs(made.objective.function, made.rule.program, None, False, 128, 10_000)
    assert loop.programs.cache_info().currsize == 1 and advance._cache_size() == 1


RATES = {
    "descent": [GradientDescent(rate) for rate in (0.01, 0.02, 0.005)],
    "stochastic": [GradientDescent(rate, batch=4) for rate in (0.01, 0.02)],
    "momentum": [Momentum(0.01, momentum=m) for m in (0.9, 0.5, 0.0)],
    "adam": [Adam(rate, first=first) for rate, first in ((1e-3, 0.9), (2e-3, 0.8))],
    "sign": [SignDescent(1e-3), SignDescent(3e-3)],
    "spectral": [SpectralDescent(rate) for rate in (1e-3, 2e-3)],
    "muon": [Muon(rate) for rate in (1e-3, 2e-3)],
}


@pytest.mark.parametrize("kind", slowly(RATES, "stochastic", "spectral", "muon"))
def test_rates_share_one_program(kind):
    """(d) Side by side, each with its own learning rate, they are the runs alone; (a) flow time is
    the rate times the steps."""
    base = BASE.replace(
        stop=Stop(steps=200), moments=False, initialization=Initialization(scale=0.1)
    )
    es = [base.replace(rule=rule) for rule in RATES[kind]]
    loop.programs.cache_clear()
    together = collected(es, chunk=len(es))
    assert loop.programs.cache_info().currsize == 1
    ends = []
    for run_, e in zip(together, es, strict=True):
        alone = train(e)
        last = alone.trajectory.states[-1]
        np.testing.assert_allclose(
            run_.trajectory.states[-1], last, rtol=1e-7, atol=1e-9 * np.abs(last).max()
        )
        assert run_.trajectory.flow_time[-1] == pytest.approx(200 * e.rule.learning_rate, rel=1e-12)
        assert run_.experiment.rule == e.rule
        ends.append(run_.final_loss)
    assert len(set(ends)) == len(ends)


@dataclasses.dataclass(frozen=True)
class Capped(Descent):
    """A rule of one's own that asks its learning rate in Python, where a number that JAX computes
    with has no answer."""

    def transformation(self):
        return optax.sgd(min(self.learning_rate, 0.02))


def test_a_rule_of_ones_own_may_use_its_learning_rate_in_any_way():
    es = [BASE.replace(rule=Capped(rate), stop=Stop(steps=300)) for rate in (0.01, 0.04)]
    slow, capped = collected(es)
    plain = train(BASE.replace(rule=GradientDescent(0.02), stop=Stop(steps=300)))
    np.testing.assert_allclose(capped.trajectory.states[-1], plain.trajectory.states[-1], rtol=1e-9)
    assert slow.final_loss > capped.final_loss and capped.trajectory.flow_time[-1] == pytest.approx(
        12.0
    )


def test_runs_of_very_different_lengths_do_not_wait_for_each_other(monkeypatch):
    steps = []
    real = ensembles.driver.run_chunk

    def watched(*args, **options):
        steps.append(
            [
                stop.flow_time / rule.learning_rate
                for rule, stop in zip(args[3], args[4], strict=True)
            ]
        )
        return real(*args, **options)

    monkeypatch.setattr(ensembles.driver, "run_chunk", watched)
    rates = (0.02, 0.5, 0.021, 0.45, 0.1)
    found = collected([BASE.replace(rule=GradientDescent(rate)) for rate in rates])
    assert [run.experiment.rule.learning_rate for run in found] == list(rates)
    assert sorted(map(len, steps)) == [1, 2, 2] and all(
        max(chunk) < 2 * min(chunk) for chunk in steps
    )


def test_rules_of_several_programs_are_not_one_chunk():
    f = prepare(BASE).objective
    thetas = np.stack([prepare(BASE).theta] * 2)
    with pytest.raises(InputError, match="rules must be of one program"):
        run_chunk(
            f.function,
            f.samples,
            thetas,
            [GradientDescent(), Adam()],
            [Stop(steps=2)] * 2,
            seeds=[0, 0],
        )


def test_order_does_not_matter():
    es = [BASE.replace(seed=s) for s in range(3)]
    for one, other in zip(
        collected(es, chunk=3), reversed(collected(es[::-1], chunk=3)), strict=True
    ):
        np.testing.assert_array_equal(one.trajectory.states, other.trajectory.states)


def test_chunks_by_what_a_gradient_touches():
    assert chunk_size(prepare(Experiment.named("quadratic").replace(rule=AlternatingFlow()))) == 1
    steps = BASE.replace(rule=GradientDescent(0.01))
    assert chunk_size(prepare(steps)) == 64 and chunk_size(prepare(BASE)) == 8
    assert ensembles.touched(prepare(Experiment.named("tanh")).objective) > ensembles.touched(
        prepare(BASE).objective
    )


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((), r"sizes must be a list of at least one size, got \(\)"),
        (4, "sizes must be a list of at least one size, got 4"),
        ((1, 0), "sizes must be a whole number of at least 1, got 0"),
    ],
)
def test_sizes_of_chunks_that_are_none(sizes, words):
    with pytest.raises(InputError, match=words):
        ensembles.time_chunks(BASE, sizes)


def test_a_chunk_of_shared_samples_is_that_of_copies():
    made = [prepare(BASE.replace(seed=0)) for _ in range(2)]
    thetas = np.stack([made[0].theta, 2 * made[0].theta])
    f, stops = made[0].objective, [Stop(flow_time=5.0)] * 2
    shared = run_chunk(f.function, f.samples, thetas, [made[0].rule] * 2, stops, seeds=[0, 0])
    copies = tuple(np.stack([a, a]) for a in map(np.asarray, f.samples))
    apart = run_chunk(
        f.function, copies, thetas, [made[0].rule] * 2, stops, seeds=[0, 0], shared=False
    )
    alone = run(f.function, f.samples, thetas[1], made[0].rule, stops[1])
    np.testing.assert_allclose(shared[1].states[-1], apart[1].states[-1], rtol=1e-10)
    np.testing.assert_allclose(shared[1].states[-1], alone.states[-1], rtol=1e-6)


def test_observables_know_where_weights_lie_in_large_networks():
    """(a) Beyond 2^24 weights, where float32 no longer counts them."""
    (((incoming, _), (outgoing, _)),) = places_of_units(
        Network((Layer(dense("linear"), 9_000_000),)), (1,), 1
    )
    assert (incoming, outgoing) == (slice(0, 9_000_000), slice(9_000_000, 18_000_000))
