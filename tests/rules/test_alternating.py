"""Alternating gradient flows: exact sequences, the flow they are the limit of, what stands still
when, and misuse."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from test_diagonal import PLANE

from saddlery import Experiment, certify, stages, train
from saddlery.basis.checks import InputError
from saddlery.basis.precision import in_float64
from saddlery.networks import Data, Layer, Network, objective
from saddlery.networks.network import UnitWeights, unit_weights
from saddlery.predictions import DoesNotApply, compare, predict
from saddlery.predictions.vanishing import alternating_gradient_flows
from saddlery.rules import AlternatingFlow, alternating
from saddlery.tasks import OrthogonalReLU
from saddlery.theory import diagonal_jumps
from saddlery.training import Stop, driver
from saddlery.units import make
from slowly import slowly

CLUSTERS = {"linear": 2, "relu": 2, "diagonal": 3, "quadratic": 2, "linear_attention": 2}


def at_scale(name, scale, **changes):
    e = Experiment.named(name)
    return e.replace(initialization=dataclasses.replace(e.initialization, scale=scale), **changes)


# --------------------------------------------------------------------- exact
@in_float64
def diagonal_path(g, target, scale, present=1.0):
    """Loss and weights of AGF on data with E[x x'] = g, from u = sqrt(2) scale, v = 0; of
    coordinates that are not present u = 0."""
    x = np.sqrt(len(g)) * np.linalg.cholesky(g).T
    network = Network((Layer(make("diagonal"), 1),))
    subject = objective(network, Data((len(g),), 1, x, (x @ target)[:, None]), moments=False)
    start = np.concatenate([np.full(len(g), np.sqrt(2) * scale) * present, np.zeros(len(g))])
    rule = AlternatingFlow().bound(subject.parts)
    return driver.run(
        subject.function, subject.samples, start, rule, Stop(flow_time=3 * np.log(1 / scale))
    )


def test_a_coordinate_that_is_taken_back():
    """(a) Pesme & Flammarion's example: released, taken back, and released with the other sign.
    Jump times at a finite scale are T ln(1/scale) + a constant, so that two scales give T."""
    chol = np.linalg.cholesky(PLANE)
    g, target = chol.T @ chol, np.array([-0.2, 2.0])
    expected = diagonal_jumps(g, g @ target)
    found, other = diagonal_path(g, target, 1e-6), diagonal_path(g, target, 1e-3)
    rest = np.flatnonzero(~found.observables["moving"])
    active = found.observables["active"][rest]
    order = [tuple(a) for k, a in enumerate(active) if k == 0 or tuple(a) != tuple(active[k - 1])]
    assert order == [(False, False), (True, False), (False, True), (True, True)]
    levels = [0.5 * (a.loss + b.loss) for a, b in itertools.pairwise(expected)]
    times = np.array([found.crossing(level) - other.crossing(level) for level in levels]) / np.log(
        1e-3 / 1e-6
    )
    np.testing.assert_allclose(times, [jump.time for jump in expected[1:]], rtol=1e-3)
    assert found.loss[-1] < 1e-9


def test_the_modes_of_a_linear_network():
    """(a) Saddle losses of the modes in order, and times that tend to ln(1/scale) / s."""
    ratios = []
    for scale in (1e-4, 1e-8, 1e-12):
        found = alternating_gradient_flows(at_scale("linear", scale))
        np.testing.assert_allclose([s.loss for s in found.stages], [0.58, 0.08, 0.0], atol=1e-9)
        assert [s.units for s in found.stages] == [(0,), (1,), (2,)]
        ratios.append(
            [
                s.jump * strength / np.log(1 / scale)
                for s, strength in zip(found[1:], (1.0, 0.4), strict=True)
            ]
        )
    assert np.all(np.abs(np.diff(np.abs(np.array(ratios) - 1), axis=0)) > 0)
    errors = np.abs(np.array(ratios) - 1)
    assert (
        np.all(errors[2] < errors[1]) and np.all(errors[1] < errors[0]) and np.all(errors[2] < 0.05)
    )


@pytest.mark.slow
def test_the_order_of_principal_components_in_attention():
    """(a) Saddle losses of the eigenvectors of the token covariance, largest first, as the other
    theory has them."""
    found = alternating_gradient_flows(Experiment.named("linear_attention"))
    other = predict("linear_attention", theory="units one by one")[0]
    np.testing.assert_allclose(
        [s.loss for s in found.stages], [s.loss for s in other.stages], rtol=1e-7
    )
    assert [s.units for s in found.stages] == [(0,), (1,), (2,)]


# ------------------------------------------------------------------- of any size
def jumps_of_relu(a):
    """When units join, less by what the clock is late, and the last loss, of targets a y from
    weights sqrt(a) theta, for a time T / a: in units of 1/a and of a^2."""
    e = at_scale("relu", 1e-4 * np.sqrt(a), rule=AlternatingFlow())
    e = e.replace(task=OrthogonalReLU((a, -0.5 * a)), stop=Stop(flow_time=120 / a))
    t = train(e).trajectory
    joins = np.flatnonzero(np.diff(t.observables["active"].sum(axis=1))) + 1
    return a * (t.flow_time - t.observables["owed"])[joins], t.loss[-1] / a**2


@pytest.mark.slow
def test_the_size_of_targets_is_that_of_units():
    """(c) Powers of four, by which weights and the first wait scale to the last bit, and what
    follows to the rest of the active units, 1e-5. The probe of the utility had a size of its own,
    larger than the units' where targets are small: 4^-17 moved nothing."""
    times, loss = jumps_of_relu(1.0)
    assert len(times) == 2 and loss < 1e-5
    for power in (-17, 17):
        scaled, last = jumps_of_relu(4.0**power)
        assert scaled[0] == pytest.approx(times[0], rel=1e-13)
        np.testing.assert_allclose(scaled, times, rtol=1e-7)
        assert last < 1e-5


@pytest.mark.slow
def test_weights_whose_squares_float32_does_not_hold():
    """(c) The wait of small weights is ln(1/scale) over the rate, in float32 down to 1e-30 too:
    their norm was zero."""
    waits = []
    for scale in (1e-10, 1e-20, 1e-30):
        e = at_scale("linear", scale, rule=AlternatingFlow(), precision="float32")
        t = train(e.replace(stop=Stop(flow_time=150.0))).trajectory
        joins = np.flatnonzero(t.observables["active"].any(axis=1))
        waits.append(float(t.flow_time[joins[0]]))
    np.testing.assert_allclose(np.diff(waits), np.log(1e10), rtol=1e-3)


@pytest.mark.slow
def test_units_of_higher_degree_in_float32():
    """(d) As in float64. Ratios of two sizes of zero were no numbers there."""
    found = []
    for precision in ("float64", "float32"):
        e = Experiment.named("quadratic").replace(rule=AlternatingFlow(), precision=precision)
        t = train(e).trajectory
        active = t.observables["active"].sum(axis=1)
        found.append([t.flow_time[np.flatnonzero(active == k)[0]] for k in (1, 2)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-2)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("share", "rests"), [(0.5, True), (2.0, False)])
def test_what_creeps_is_held_against_the_growth_of_units_as_large(size, share, rests):
    """(a) |grad U| = |theta|^(kappa - 1) of a unit whose pull is one, kappa = 3; of that a share of
    1e-5 counts as rest."""
    cubic = UnitWeights(index=((0, 1),), order=3, smooth=False, alike=True)
    rule = AlternatingFlow().bound(SimpleNamespace(units=cubic, unit_size=1.0))
    theta = jnp.array([0.6, 0.8]) * size
    walker = rule.start(theta, lambda theta, key: theta, None)
    phase = walker.inner._replace(pull=jnp.array(1.0))
    long = phase.flow.steps + alternating.CONTROLLED + alternating.CREEPING
    step = alternating.Step(
        walker=walker._replace(inner=phase.flow.state),
        kept=jnp.array(True),
        speed=jnp.array(share * 1e-5 * size**2),
        sliding=jnp.array(True),
    )
    found, _ = rule.judged(phase._replace(flow=phase.flow._replace(steps=long, peak=0.0)), step)
    assert bool(found) == rests


def test_what_is_zero_stays_zero_at_any_rate():
    """(a) A coordinate whose weights are zero, and whose rate is 500 times that of the other: its
    growth over the wait of the other, e^7000, is no number."""
    found = diagonal_path(np.diag([1.0, 500.0]), np.ones(2), 1e-6, present=np.array([1.0, 0.0]))
    assert found.observables["active"][-1].tolist() == [True, False]
    assert found.loss[-1] == pytest.approx(250.0) and np.all(found.states[-1][[1, 3]] == 0)


# --------------------------------------------------------------- beside the flow
@pytest.mark.parametrize(
    ("name", "tolerance"),
    slowly(
        [("quadratic", 0.02), ("linear_attention", 0.03), ("x_tanh_x", 2e-3)],
        ("linear_attention", 0.03),
        ("x_tanh_x", 2e-3),
    ),
)
def test_units_of_higher_degree_beside_the_flow(name, tolerance):
    """(d) Every plateau is seen, and every jump time right at the shipped scale; the first one to
    1e-3."""
    found = compare(alternating_gradient_flows(Experiment.named(name)), stages(train(name)))
    assert all(stage.seen for stage in found.stages) and found.extra == 0
    errors = np.abs([stage.error for stage in found.stages[1:]])
    assert errors[0] < 1e-3 and np.all(errors < tolerance)


def test_errors_fall_with_the_scale():
    """(d) ReLU units: both jumps, relative to the flow, at three scales."""
    errors = []
    for scale in (1e-3, 1e-6, 1e-9):
        e = at_scale("relu", scale, stop=Stop(flow_time=60 - 6 * np.log10(scale) * 3))
        compared = compare(alternating_gradient_flows(e), stages(train(e)))
        errors.append([abs(stage.error) for stage in compared.stages[1:]])
    assert np.all(np.diff(errors, axis=0) < 0)


# --------------------------------------------------------------------- as a rule
@pytest.mark.parametrize("name", sorted(CLUSTERS))
def test_what_stands_still_when(name):
    """(b) Bit for bit: dormant units while active ones flow, active ones while all wait; and the
    loss falls only then."""
    run = train(Experiment.named(name).replace(rule=AlternatingFlow()))
    t = run.trajectory
    index = np.array(run.objective().parts.units.index)
    units = t.states[:, index]
    active, moving = t.observables["active"], t.observables["moving"]
    for k in range(len(t.loss) - 1):
        still = ~active[k] if moving[k] else active[k]
        np.testing.assert_array_equal(units[k + 1][still], units[k][still])
    assert np.all(np.diff(t.flow_time) > 0)
    assert active[-1].sum() == CLUSTERS[name]
    assert t.loss[-1] < 0.1 * t.loss[0]


def test_the_cost_does_not_depend_on_the_scale():
    for name, first, last in (
        ("linear", 1e-5, 1e-12),
        ("relu", 1e-5, 1e-12),
        ("quadratic", 1e-5, 1e-9),
    ):
        steps = []
        for scale in (first, last):
            e = at_scale(name, scale, rule=AlternatingFlow(), stop=Stop(flow_time=1e12))
            steps.append(int(train(e).trajectory.step[-1]))
        assert abs(steps[1] - steps[0]) < 0.15 * steps[0], (name, steps)


def test_its_plateaus_are_certified():
    found = certify(stages(train(Experiment.named("quadratic").replace(rule=AlternatingFlow()))))
    assert [stage.certificate.verdict for stage in found.stages] == [
        "degenerate saddle",
        "degenerate saddle",
        "minimum",
    ]


def test_from_large_weights_it_is_gradient_flow():
    e = at_scale("linear", 0.5, stop=Stop(flow_time=3.0))
    flow, agf = train(e), train(e.replace(rule=AlternatingFlow()))
    assert agf.trajectory.observables["active"].all()
    assert agf.trajectory.crossing(1.0) == pytest.approx(flow.trajectory.crossing(1.0), rel=2e-2)


# -------------------------------------------------------------------- bad input
def test_misuse():
    with pytest.raises(InputError, match="threshold must be below 1"):
        AlternatingFlow(threshold=2.0)
    with pytest.raises(InputError, match="call bound"):
        AlternatingFlow().start(np.zeros(3), lambda theta, key: theta, None)
    deep = Network((Layer(make("linear"), 3, mixes=False), Layer(make("linear"), 2)))
    with pytest.raises(InputError, match="a single sum of units"):
        unit_weights(deep, (4,), 1)
    with pytest.raises(InputError, match="no silent point"):
        unit_weights(Network((Layer(make("sigmoid"), 3),)), (4,), 1)
    with pytest.raises(DoesNotApply, match="not small"):
        alternating_gradient_flows(at_scale("linear", 0.5))


def test_nothing_to_learn():
    """Zero residual: no unit ever joins, and the clock runs to its end."""
    found = diagonal_path(PLANE, np.zeros(2), 1e-4)
    assert not found.observables["active"].any() and found.status == "stopped"
