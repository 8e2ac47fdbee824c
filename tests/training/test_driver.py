"""The driving loop: it stops for the reason it says, saves where the path moves, repeats bit for
bit."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, draw_batch, objective
from saddlery.networks.observables import observe
from saddlery.rules import Adam, GradientDescent, GradientFlow, Momentum
from saddlery.training import Stop, driver, loop
from saddlery.training.driver import run
from saddlery.units import dense


def bowl(theta, samples):
    return 0.5 * jnp.sum((theta - samples) ** 2)


def staircase(theta, samples):
    """A two-layer linear map of two modes, one unit each: plateaus between its drops."""
    return 0.5 * jnp.sum((samples - theta[:2] * theta[2:]) ** 2)


def edge(theta, samples):
    """theta(t) = (sqrt(theta(0)) - t/2)^2 until it reaches the edge of the domain, beyond which
    there is no gradient."""
    return 2 / 3 * jnp.sum(theta**1.5) + 0 * jnp.sum(samples)


TARGET = jnp.asarray([2.0, 0.2])
SMALL = np.array([1e-3, 1.2e-3, 0.9e-3, 1.1e-3])
STEPS = GradientDescent(0.1)


def regression(seed=0):
    rng = np.random.default_rng(seed)
    network = Network((Layer(dense("tanh"), 3),))
    data = Data((2,), 1, rng.standard_normal((40, 2)), rng.standard_normal((40, 1)))
    subject = objective(network, data, moments=False)
    return subject, rng.standard_normal(subject.size)


# ------------------------------------------------------------------------ ends
@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (Stop(flow_time=1.5), "flow time 1.5 was reached"),
        (Stop(steps=7), "all 7 steps were taken"),
        (Stop(flow_time=100.0, loss=1e-2), "reached the asked 0.01"),
        (Stop(flow_time=100.0, gradient_norm=1e-2), "gradient norm .* reached the asked 0.01"),
        (Stop(flow_time=0.5, steps=500, loss=1e-9), "flow time 0.5 was reached"),
    ],
)
@pytest.mark.parametrize("rule", [STEPS, GradientFlow()], ids=["descent", "flow"])
def test_stops(rule, stop, reason):
    """(b) The last saved point is the first that meets the criterion, and the reason says which."""
    record = run(bowl, jnp.ones(2), np.zeros(2), rule, stop)
    assert record.status == "stopped"
    assert re.search(reason, record.reason)
    if stop.loss is not None and "asked" in reason:
        assert record.loss[-1] <= stop.loss < record.loss[-2]
    if stop.gradient_norm is not None:
        assert record.gradient_norm[-1] <= stop.gradient_norm < record.gradient_norm[-2]
    if stop.flow_time is not None and stop.flow_time < 2:
        assert record.flow_time[-1] == stop.flow_time
    if stop.steps == 7:
        assert record.step[-1] == 7
    assert np.all(np.diff(record.flow_time) > 0) and np.all(np.diff(record.step) > 0)
    exact = 0.5 * np.sum((record.states - 1) ** 2, axis=1)
    np.testing.assert_allclose(record.loss, exact, rtol=1e-13)
    np.testing.assert_allclose(record.gradient_norm, np.sqrt(2 * exact), rtol=1e-13)


def test_divergence_is_a_status():
    """A learning rate above 2/curvature: diverged, with the remedy; the record ends at the
    excess."""
    record = run(bowl, jnp.ones(2), np.zeros(2), GradientDescent(2.5), Stop(steps=1000))
    assert (
        record.status == "diverged"
        and "the loss grew to" in record.reason
        and "lower the learning rate" in record.reason
    )
    assert record.loss[-1] > 1e6 and record.step[-1] < 100


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-30])
def test_divergence_knows_no_unit_of_weights(size):
    """(b) 1/2 theta^2 grows fourfold a step from any start, and diverges after as many steps."""
    record = run(bowl, jnp.zeros(1), np.array([size]), GradientDescent(3.0), Stop(steps=40))
    assert record.status == "diverged" and record.step[-1] == 10


def test_a_start_at_the_least_loss_is_held_against_that_of_zero_weights():
    """(a) A rise from 0 to 1e-16 of it is none."""
    start = np.ones(2) + 1e-9
    record = run(bowl, jnp.ones(2), start, GradientDescent(2.5), Stop(steps=10))
    assert record.status == "stopped" and record.loss[-1] > 10 * record.loss[0]


def test_a_loss_without_bound_diverges_downwards():
    """(a) -1/2 theta^2 under descent."""
    record = run(
        lambda theta, samples: -bowl(theta, samples),
        jnp.zeros(1),
        np.ones(1),
        GradientDescent(0.1),
        Stop(flow_time=1000.0),
    )
    assert record.status == "diverged" and "the loss fell to -" in record.reason


def test_not_finite_is_a_status():
    """An absurd learning rate: the loss or the weights overflow, with the remedy; what was before
    is kept."""
    record = run(bowl, jnp.ones(2), np.zeros(2), GradientDescent(1e200), Stop(steps=50))
    assert record.status == "not finite" and "stopped being finite" in record.reason
    assert record.loss[0] == 1.0 and not np.isfinite(record.loss[-1])


@pytest.mark.parametrize("solver", ["tsit5", "dopri8"])
def test_step_too_small_is_a_status(solver):
    """(a) Every step past the edge is refused, so the run closes in on it and says so; the record
    up to it is kept."""
    record = run(
        edge, jnp.zeros(1), np.ones(1), GradientFlow(1e-8, solver=solver), Stop(flow_time=3.0)
    )
    assert record.status == "step too small" and "refused 60 steps in a row" in record.reason
    assert record.flow_time[-1] == pytest.approx(2.0, abs=1e-4) and record.rejected > 60
    np.testing.assert_allclose(record.states[:, 0], (1 - record.flow_time / 2) ** 2, atol=1e-7)


def test_interrupted_from_the_progress_callback():
    """Ctrl-C keeps what was finished, and says so; before anything is finished it passes on."""
    seen = []

    def interrupt(fraction, loss):
        seen.append((fraction, loss))
        raise KeyboardInterrupt

    record = run(
        bowl,
        jnp.ones(2),
        np.zeros(2),
        GradientDescent(1e-4),
        Stop(steps=300_000),
        progress=interrupt,
        resolution=1e-9,
    )
    assert record.status == "interrupted" and "keyboard" in record.reason
    assert 0 < len(record.loss) == len(record.states) == driver.SAVES and record.rejected == 0
    assert 0 < seen[0][0] < 1 and seen[0][1] == record.loss[-1]
    whole = run(
        bowl, jnp.ones(2), np.zeros(2), GradientDescent(1e-4), Stop(steps=255), resolution=1e-9
    )
    np.testing.assert_array_equal(record.states, whole.states)


def test_progress_ends_at_one():
    fractions = []
    run(
        bowl,
        jnp.ones(2),
        np.zeros(2),
        GradientDescent(1e-3),
        Stop(steps=600),
        resolution=1e-9,
        progress=lambda fraction, loss: fractions.append(fraction),
    )
    assert len(fractions) == 3 and fractions == sorted(fractions) and fractions[-1] == 1.0


# ----------------------------------------------------------------------- saving
def test_saved_where_it_moves_and_sparsely_on_plateaus():
    """(b) Between saved points the weights move by little and a hundredth of the run passes; drops
    are dense."""
    record = run(staircase, TARGET, SMALL, GradientDescent(2e-3), Stop(flow_time=60.0))
    t, loss = record.flow_time, record.loss
    assert len(t) < 1500 and record.step[-1] == 30_000
    drops = [np.sum((loss > a) & (loss < b)) for a, b in ((0.2, 1.8), (0.002, 0.018))]
    plateau = np.sum((t > 8) & (t < 12))
    assert min(drops) > 30 and plateau < 60
    moved = np.linalg.norm(np.diff(record.states, axis=0), axis=1) / np.linalg.norm(
        record.states[:-1], axis=1
    )
    assert np.median(moved) < 0.05
    assert np.max(np.abs(np.diff(loss))) < 0.05 * loss[0]
    late = t[1:] > 1
    assert np.all(np.diff(t)[late] < 0.05 * t[1:][late] + 1.0)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.4])
def test_no_stride_passes_over_a_drop(rate):
    """(b) At any stable learning rate: between saved points more than one step apart the run moves
    by a resolution, after which it is due, and by the longest stride at most."""
    record = run(staircase, TARGET, SMALL, GradientDescent(rate), Stop(steps=20_000))
    states, loss = record.states, record.loss
    moved = np.linalg.norm(np.diff(states, axis=0), axis=1) / np.linalg.norm(states[:-1], axis=1)
    lost = np.abs(np.diff(loss)) / (loss[:-1] + loop.LOSS_FLOOR * loss[0])
    strides = np.diff(record.step) > 1
    assert np.maximum(moved, lost)[strides].max() < 0.03 * (1 + loop.LONGEST_STRIDE)


def test_coarser_resolution_saves_fewer_points_of_the_same_path():
    """(c) What is saved does not change the steps: coarse points are among the fine ones."""
    fine, coarse = (
        run(staircase, TARGET, SMALL, GradientDescent(0.02), Stop(flow_time=30.0), resolution=r)
        for r in (1e-9, 0.3)
    )
    assert len(coarse.loss) < len(fine.loss) and coarse.step[-1] == fine.step[-1]
    np.testing.assert_array_equal(coarse.states, fine.states[np.isin(fine.step, coarse.step)])


def test_limit_bounds_the_saved_points():
    """(b) Beyond `limit` points the resolution doubles chunk by chunk; without it every one of
    20,000 steps is saved."""
    every, bounded = (
        run(
            bowl,
            jnp.ones(2),
            np.zeros(2),
            GradientDescent(1e-4),
            Stop(steps=20_000),
            resolution=1e-6,
            limit=n,
        )
        for n in (100_000, 300)
    )
    assert len(every.loss) == 20_001 and bounded.step[-1] == 20_000
    assert len(bounded.loss) < 300 + driver.SAVES * np.log2(1 / 1e-6)
    np.testing.assert_array_equal(every.states[bounded.step], bounded.states)


def test_observables_are_of_the_saved_states():
    """(d) Observables, losses and gradients of a record are those of each saved state, computed
    alone."""
    subject, theta = regression()
    watch = lambda states: observe(subject.network, (2,), 1, states)
    record = run(subject.function, subject.samples, theta, GradientFlow(), Stop(flow_time=2.0))
    observables = watch(record.states)
    for k in (0, len(record.loss) // 2, -1):
        again = {name: value[0] for name, value in watch(record.states[[k]]).items()}
        assert again.keys() == observables.keys()
        for name, value in again.items():
            np.testing.assert_allclose(observables[name][k], value, rtol=1e-12)
        np.testing.assert_allclose(record.loss[k], subject.loss(record.states[k]), rtol=1e-13)
        np.testing.assert_allclose(
            record.gradient_norm[k], np.linalg.norm(subject.gradient(record.states[k])), rtol=1e-12
        )


# ----------------------------------------------------------------- repeatability
@pytest.mark.parametrize(
    "rule", [GradientFlow(), Momentum(0.05, batch=4), Adam(0.05)], ids=["flow", "sgd", "adam"]
)
def test_repeats_bit_for_bit_without_compiling_again(rule):
    """(c) Two runs give the same bits, with one program: also from another start and for another
    length."""
    subject, theta = regression()
    go = lambda start, steps, seed=3: run(
        subject.function,
        subject.samples,
        start,
        rule,
        Stop(steps=steps),
        batch=draw_batch,
        seed=seed,
    )
    first, second = go(theta, 40), go(theta, 40)
    for name in ("flow_time", "step", "loss", "gradient_norm", "states"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    go(theta[::-1], 60)
    drawn = draw_batch if rule.batch else None
    made = loop.programs(subject.function, rule.program, drawn, True, driver.SAVES, driver.ATTEMPTS)
    assert [program._cache_size() for program in made] == [1, 1]
    equal, _ = regression()  # made anew: an equal architecture shares the program
    assert equal.function == subject.function and hash(equal.function) == hash(subject.function)
    other = go(theta, 40, seed=4)
    assert np.array_equal(other.states, first.states) == (rule.batch == 0)


def test_stochastic_descent_by_a_loop():
    """(d) The batches of each step drawn one by one with the run's own keys, weights moved in
    NumPy."""
    subject, theta = regression()
    record = run(
        subject.function,
        subject.samples,
        theta,
        GradientDescent(0.1, batch=5),
        Stop(steps=12),
        batch=draw_batch,
        seed=9,
        resolution=1e-12,
    )
    keys = jax.jit(lambda k: jax.random.fold_in(jax.random.key(9), k))
    slope = jax.jit(
        lambda t, key: jax.grad(subject.function)(t, draw_batch(subject.samples, key, 5))
    )
    for k in range(13):
        np.testing.assert_allclose(record.states[k], theta, rtol=1e-11)
        theta = theta - 0.1 * np.asarray(slope(theta, keys(k)))


def test_an_ensemble_member_is_the_run_alone():
    """(c) A diverging run before leaves the next one untouched."""
    alone = run(bowl, jnp.ones(2), np.zeros(2), STEPS, Stop(steps=20))
    run(bowl, jnp.ones(2), np.full(2, 1e200), STEPS, Stop(steps=20))
    np.testing.assert_array_equal(
        run(bowl, jnp.ones(2), np.zeros(2), STEPS, Stop(steps=20)).states, alone.states
    )


@pytest.mark.slow
def test_float32():
    """In a float32 context the record is float32 and close to the float64 one; the argument is left
    alone."""
    theta = SMALL.copy()
    wide = run(staircase, TARGET, theta, GradientFlow(1e-5), Stop(flow_time=5.0))
    with jax.enable_x64(False):
        narrow = run(
            staircase, jnp.asarray([2.0, 0.2]), theta, GradientFlow(1e-5), Stop(flow_time=5.0)
        )
        steps = run(staircase, jnp.asarray([2.0, 0.2]), theta, STEPS, Stop(flow_time=5.0))
    assert (
        narrow.states.dtype == narrow.loss.dtype == np.float32 and wide.states.dtype == np.float64
    )
    assert (
        narrow.status == "stopped"
        and narrow.flow_time[-1] == 5.0 == steps.flow_time[-1]
        and steps.step[-1] == 50
    )
    np.testing.assert_allclose(narrow.states[-1], wide.states[-1], rtol=1e-3)
    np.testing.assert_array_equal(theta, SMALL)


@pytest.mark.parametrize("size", [1.0, 2.0**-80, 2.0**50])
def test_gradients_of_any_size_have_a_norm_in_float32(size):
    """(c) |g|^2 of 1e-24 is nothing there, and a run of such gradients was at rest."""

    def scaled(theta, target):
        return jnp.asarray(size, theta.dtype) * bowl(theta, target)

    with jax.enable_x64(False):
        target, rule = jnp.ones(2), GradientDescent(0.1 / size)
        record = run(scaled, target, np.zeros(2), rule, Stop(steps=20, gradient_norm=0.5 * size))
        plain = run(bowl, target, np.zeros(2), STEPS, Stop(steps=20, gradient_norm=0.5))
    np.testing.assert_array_equal(record.states, plain.states)
    np.testing.assert_array_equal(record.gradient_norm / np.float32(size), plain.gradient_norm)
    assert 0 < record.step[-1] == plain.step[-1] < 20


def test_a_flow_time_that_float32_rounds_is_reached():
    with jax.enable_x64(False):
        record = run(bowl, jnp.ones(2), np.zeros(2), GradientFlow(1e-5), Stop(flow_time=10.1))
    assert record.reason == "flow time 10.1 was reached"


@pytest.mark.parametrize(
    ("times", "losses"),
    [
        ([0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, np.nan]),
        ([0.0, 1.0, 1.0, 2.0], [3.0, 2.0, 2.0, 1.0]),
    ],
)
def test_a_level_is_crossed_beside_points_that_say_nothing(times, losses):
    """(a) On a straight line, beside a loss that is none and a time that was saved twice."""
    nothing = np.zeros(4)
    path = driver.Trajectory(
        flow_time=np.array(times),
        step=np.arange(4),
        loss=np.array(losses),
        gradient_norm=nothing,
        states=nothing[:, None],
        observables={},
        status="stopped",
        reason="",
        rejected=0,
    )
    assert path.crossing(1.5) == pytest.approx(1.5)


# --------------------------------------------------------------------- misuse
def go(theta=(0.0, 0.0), rule=STEPS, stop=None, **options):
    return run(bowl, jnp.ones(2), np.asarray(theta), rule, stop or Stop(steps=3), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Stop(),
            (
                "flow_time or steps must be given, got neither; without one a run on a "
                "plateau might never end"
            ),
        ),
        (lambda: Stop(loss=0.1), "flow_time or steps must be given"),
        (lambda: Stop(flow_time=0.0), "flow_time must be a finite number above zero"),
        (lambda: Stop(flow_time=float("inf")), "flow_time must be a finite number above zero"),
        (lambda: Stop(steps=0), "steps must be a whole number of at least 1"),
        (lambda: Stop(steps=2.5), "steps must be a whole number"),
        (lambda: Stop(steps=2, loss=float("nan")), "stop: loss must be a finite number"),
        (lambda: Stop(steps=2, gradient_norm="a"), "stop: gradient_norm must be a finite number"),
        (lambda: go([np.nan, 0.0]), r"the initial weights must be finite, got nan at index \(0,\)"),
        (lambda: go([]), "the initial weights must be a non-empty array"),
        (lambda: go(resolution=0.0), "resolution must be a finite number above zero"),
        (
            lambda: go(rule=GradientDescent(0.1, batch=2)),
            "needs a way to draw batches; train on samples",
        ),
        (
            lambda: go(stop=Stop(steps=3, loss=2.0)),
            "stop: loss must be below its value 1 at the start, got 2.0; lower it",
        ),
        (
            lambda: go([1.0, 1.0], stop=Stop(steps=3, gradient_norm=0.1)),
            "stop: gradient_norm must be below its value 0",
        ),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()
