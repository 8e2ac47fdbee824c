"""Visits against what the run itself shows: exact distances to the saddle, which fixed point, and
when."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from saddlery import Experiment, train, units, visit
from saddlery.basis.checks import InputError
from saddlery.saddles import certify_state
from saddlery.studies import figure4
from saddlery.symmetry import embed_near, nearest_embedding
from saddlery.symmetry.nearest import distance
from saddlery.tasks import LinearTeacher, OrthogonalReLU
from saddlery.training import Stop


@functools.cache
def linear_run():
    e = Experiment.named("linear").replace(
        task=LinearTeacher((1.0, 0.4), inputs=3, outputs=3), stop=Stop(flow_time=60.0)
    )
    return train(e.replace(network=e.network.with_widths([6])))


def distance_to_rank_one(u, v, q, s, r):
    """The closest of all (a r', b q') with a.b = s to incoming weights u and outgoing v, both (H,
    .).

    In p = (a + b)/sqrt 2 and m = (a - b)/sqrt 2 the constraint is |p|^2 - |m|^2 = 2 s, and the
    closest point is p0 / (1 + l), m0 / (1 - l) with the multiplier l (here rate) in (-1, 1) that
    meets it.
    """
    a, b = u @ r, v @ q
    p, m = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
    excess = lambda rate: p @ p / (1 + rate) ** 2 - m @ m / (1 - rate) ** 2 - 2 * s
    rate = brentq(excess, -1 + 1e-9, 1 - 1e-9, xtol=1e-15)
    beside = np.sum(u**2) - a @ a + np.sum(v**2) - b @ b
    return np.sqrt(beside + p @ p * (rate / (1 + rate)) ** 2 + m @ m * (rate / (1 - rate)) ** 2)


def test_the_closest_approach_to_the_rank_one_saddle():
    """(a) Every state's distance to the whole manifold of the saddle; the closest of the 64
    compared is reported.

    Distance, time and losses used to be free to be anything: no test but the sign of a verdict
    looked at them.
    """
    run = linear_run()
    found, t = visit(run, 1), run.trajectory
    q, s, rt = np.linalg.svd(run.experiment.task.data(0).moments.cross)
    params = [run.objective().params(state)[0] for state in np.asarray(t.states, float)]
    exact = np.array(
        [
            distance_to_rank_one(np.asarray(p["u"]), np.asarray(p["v"]), q[:, 0], s[0], rt[0])
            for p in params
        ]
    )
    compared = np.unique(np.linspace(0, len(exact) - 1, 64).astype(int))
    closest = compared[np.argmin(exact[compared])]
    assert 0 < closest < len(exact) - 1
    assert found.flow_time == pytest.approx(t.flow_time[closest], rel=0.1)
    k = int(np.flatnonzero(t.flow_time == found.flow_time)[0])
    assert exact[k] * (1 - 1e-9) <= found.distance <= 1.1 * exact[closest]
    assert found.relative == pytest.approx(found.distance / np.linalg.norm(found.state), rel=1e-12)
    assert np.linalg.norm(found.state) == pytest.approx(
        np.sqrt(2 * s[0]), rel=0.05
    )  # nearly balanced
    assert (found.loss, found.run_loss) == (pytest.approx(0.5 * 0.4**2, abs=1e-12), t.loss[k])
    assert (
        found.verdict == "visited"
        and visit(run, 1, within=0.9 * found.relative).verdict == "not visited"
    )


@pytest.mark.parametrize("width", [7, (7,)])
def test_widths_that_the_network_does_not_have(width):
    """Seven of six units; it was said that there is no fixed point."""
    words = "width of layer 0 must be at most its 6 units, got 7"
    with pytest.raises(InputError, match=words):
        visit(linear_run(), width)


def test_a_width_that_the_task_does_not_need():
    found = visit(linear_run(), 3)
    assert (found.verdict, found.state) == (
        "no fixed point",
        None,
    ) and "fewer units" in found.reason
    assert np.isnan(
        [found.distance, found.relative, found.flow_time, found.loss, found.run_loss]
    ).all()


def one_sided(subject, which):
    """The certified width-1 fixed point of a ReLU network that has learned one of two targets, +1
    and -1.

    Its unit is off on the other sample, with a margin: at zero it would sit on the kink.
    """
    u, v = np.zeros((4, subject.inputs.shape[1])), np.zeros((4, 1))
    direction = np.linalg.lstsq(
        subject.inputs, np.where(subject.targets[:, 0] * which > 0, 1.0, -0.3), rcond=None
    )[0]
    size = np.linalg.norm(direction)
    u[0], v[0] = direction / np.sqrt(size), which * np.sqrt(size)
    c = certify_state(subject, np.concatenate([u.ravel(), v.ravel()]), tolerance=0.1)
    assert c.verdict == "strict saddle" and c.narrow_units == (1,) and c.distance < 1e-6
    return c.state


@pytest.mark.slow
def test_fixed_points_of_equal_loss_and_different_maps_are_two():
    """(b) A run that starts beside one and ends on the other has visited the other.

    Fixed points used to be told apart by their loss, so the second was taken for the first.
    """
    task = OrthogonalReLU((1.0, -1.0))
    e = Experiment.named("relu").replace(task=task, stop=Stop(flow_time=1.0))
    run = train(e.replace(network=e.network.with_widths([4])))
    subject, count = run.objective(), len(run.trajectory.loss)
    up, down = one_sided(subject, 1.0), one_sided(subject, -1.0)
    assert float(subject.loss(up)) == pytest.approx(float(subject.loss(down)), abs=1e-12)
    assert not np.allclose(subject.predictions(up), subject.predictions(down), atol=0.1)
    states = np.tile(up, (count, 1)) + 0.05 * np.random.default_rng(0).standard_normal(
        (count, up.size)
    )
    states[-1] = down
    loss = np.array([float(subject.loss(s)) for s in states])
    made = replace(run, trajectory=replace(run.trajectory, states=states, loss=loss))
    found = visit(made, 1)
    assert found.distance < 1e-6 and found.flow_time == run.trajectory.flow_time[-1]
    np.testing.assert_allclose(
        subject.predictions(found.state), subject.predictions(down), atol=1e-9
    )


def tanh_sides(seed=0, width=6, narrow=2):
    """A narrow layer of tanh units and a wide one that is no embedding of it."""
    rng = np.random.default_rng(seed)
    return [tuple(rng.standard_normal((count, n)) for n in (2, 1)) for count in (narrow, width)]


def nearest_by_trying_all(narrow, wide):
    """The smallest distance to an embedding: every place of every wide unit, its shares in closed
    form."""
    (un, vn), (uw, vw) = narrow, wide
    places = [None, *((k, s) for k in range(len(un)) for s in (1.0, -1.0))]
    best = np.inf
    for chosen in itertools.product(places, repeat=len(uw)):
        if any(all(place is None or place[0] != k for place in chosen) for k in range(len(un))):
            continue
        square = sum(
            u @ u + v @ v for u, v, place in zip(uw, vw, chosen, strict=True) if place is None
        )
        for k in range(len(un)):
            own = [
                (i, place[1])
                for i, place in enumerate(chosen)
                if place is not None and place[0] == k
            ]
            wanted = np.array([s * (vw[i] @ vn[k]) / (vn[k] @ vn[k]) for i, s in own])
            shares = wanted + (1 - wanted.sum()) / len(own)
            for (i, s), share in zip(own, shares, strict=True):
                square += np.sum((uw[i] - s * un[k]) ** 2) + np.sum(
                    (vw[i] - s * share * vn[k]) ** 2
                )
        best = min(best, square)
    return np.sqrt(best)


def test_the_nearest_embedding_is_that_of_trying_all():
    """(d) Five tanh units beside embeddings of one and of two: 3^5 and 5^5 families, and never
    below the best of them."""
    for seed in range(6):
        narrow, wide = tanh_sides(seed, width=5, narrow=1 + seed % 2)
        smallest = nearest_by_trying_all(narrow, wide)
        found = distance(nearest_embedding(narrow, wide, units.make("tanh")), wide)
        assert smallest * (1 - 1e-9) <= found <= 1.02 * smallest


@pytest.mark.parametrize("name", ["tanh", "quadratic", "relu", "linear", "sigmoid"])
def test_the_nearest_embedding_has_the_map_and_is_no_farther(name):
    """(c) sum_i phi(z; u_i) v_i of the narrow layer, at no more than the distance of
    `embed_near`."""
    unit, z = units.make(name), np.random.default_rng(9).standard_normal((7, 2))
    layer_map = lambda u, v: np.array(
        [np.asarray(unit.features(jnp.asarray(row), jnp.asarray(u))) @ v for row in z]
    )
    for seed in range(4):
        narrow, wide = tanh_sides(seed)
        u, v = nearest_embedding(narrow, wide, unit)
        np.testing.assert_allclose(layer_map(u, v), layer_map(*narrow), atol=1e-9)
        assert distance((u, v), wide) <= distance(embed_near(narrow, wide, unit), wide) * (
            1 + 1e-12
        )


def test_a_visit_says_when_it_is_the_end():
    """(a) The run passes the fixed point of width 1 and rests at that of width 2."""
    assert not visit(linear_run(), 1).at_end
    found = visit(linear_run(), 2)
    assert (
        found.at_end
        and "the run ends there" in found.reason
        and "ends there" not in visit(linear_run(), 1).reason
    )
    assert "at most" in repr(found)


def test_cubic_units_of_the_study_need_two():
    """(a) No single cubic unit has the study's targets: the best of every direction leaves more
    than a hundredth.

    On samples along the axes, which it had, one unit left nothing.
    """
    made = figure4._experiment("cubic")
    for seed in range(3):
        left = {}
        for design in ("axes", "gaussian"):
            data = replace(made.task, design=design).data(seed)
            y, angles = data.targets[:, 0], np.linspace(0, np.pi, 20_001)
            features = (data.inputs @ np.array([np.cos(angles), np.sin(angles)])) ** 3
            explained = (features.T @ y) ** 2 / np.sum(features**2, axis=0)
            left[design] = 1 - explained.max() / (y @ y)
        assert made.task.design == "gaussian" and left["gaussian"] > 0.01 and left["axes"] < 1e-6


@pytest.mark.slow
def test_tanh_comes_nearer_than_was_said():
    """(d) The tanh network of Figure 4: distances relative to the fixed point of at most .59, .60
    and .70 were found from 40 starts by other means where .88 to .91 was said; still no visit."""
    for seed, most in ((0, 0.60), (1, 0.61), (2, 0.71)):
        found = visit(train(Experiment.named("tanh").replace(seed=seed)), 1)
        assert 0.1 < found.relative < most and found.verdict == "not visited"
