"""Bad input for theories, graph and rule: ties, data of low rank, starts on a manifold, nothing to
learn, too few units.

Each case gives the right number or is refused with the condition that fails.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, saddle_graph, stages, train
from saddlery.basis.checks import InputError
from saddlery.basis.tolerances import using
from saddlery.networks import Layer, Network, Objective
from saddlery.plateaus import mechanism
from saddlery.predictions import THEORIES, DoesNotApply, compare, predict
from saddlery.predictions.ranges import RangeTolerances
from saddlery.predictions.unit_by_unit import _Draws
from saddlery.rules import AlternatingFlow
from saddlery.saddles.narrow_networks import NarrowNetwork
from saddlery.tasks import Arrays, InContextRegression, LinearTeacher, OrthogonalReLU
from saddlery.training import Stop
from saddlery.units import make
from slowly import slowly

HEADS = make("in_context_linear", rank=1)
DIRECTIONS, MODES, RELU = "directions one by one", "linear modes", "orthogonal ReLU"
UNITS, DIAGONAL, LIMIT = "units one by one", "diagonal jumps", "alternating gradient flows"


def experiment(unit, width, task, flow_time=60.0, scale=1e-6, **changes):
    unit = make(unit) if isinstance(unit, str) else unit
    start = changes.pop("initialization", Initialization(scale=scale))
    e = Experiment.named("linear").replace(
        name="bad input", task=task, initialization=start, stop=Stop(flow_time=flow_time)
    )
    return e.replace(network=Network((Layer(unit, width),)), **changes)


@pytest.fixture
def arrays(tmp_path):
    def make_task(x, y):
        path = tmp_path / "data.npz"
        np.savez(path, inputs=np.asarray(x, float), targets=np.asarray(y, float))
        return Arrays(str(path))

    return make_task


def beside(e, theory):
    return compare(predict(e, theory=theory)[0], stages(train(e)))


def losses(subject) -> list[float]:
    return [stage.loss for stage in subject.stages]


def refusal(e, theory) -> str:
    with pytest.raises(DoesNotApply) as caught:
        THEORIES[theory](e)
    return str(caught.value)


# ----------------------------------------------------------- equal singular values
@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [((1.0, 1.0, 1.0), 8, [(0, 1.5), (3, 0.0)]), ((1.0, 1.0, 0.4), 8, [(0, 1.08), (2, 0.08), (3, 0.0)]),
     ((1.0, 0.4, 0.4), 8, [(0, 0.66), (1, 0.16), (3, 0.0)]), ((1.0, 1.0, 1.0), 2, [(0, 1.5), (2, 0.5)])],
)  # fmt: skip
def test_equal_singular_values_join_as_one(values, width, expected):
    """(a) Losses of what is left, as many of equal ones as find a unit; (d) jumps of a run to a
    thousandth."""
    e = experiment("linear", width, LinearTeacher(values), 80.0)
    found = beside(e, DIRECTIONS)
    assert [(s.predicted.units[0], round(s.predicted.loss, 12)) for s in found.stages] == expected
    assert all(s.seen for s in found.stages) and found.extra == 0
    assert max(abs(s.error) for s in found.stages[1:]) < 1e-3
    if width < len(values):  # which two of the three are learned is a continuum
        assert "are not learned as one, and so a continuum of saddles" in refusal(e, MODES)
        return
    (modes,) = predict(e, theory=MODES)
    assert [(s.units[0], round(s.loss, 12)) for s in modes.stages] == expected
    jumps = [s.predicted.jump for s in found.stages[1:]]
    assert [s.jump for s in modes.stages[1:]] == pytest.approx(jumps, rel=1e-2)


@pytest.mark.slow
def test_white_attention_keeps_its_plateaus():
    """(a) L_m = 1/2 (tr - sum of what m eigenvectors explain), whichever they are."""
    e = experiment(HEADS, 4, InContextRegression((1.0, 1.0), length=31), 500.0, 1e-2)
    gain = 1 / (1 + (1 + 2) / 31)
    found = beside(e, UNITS)
    assert [s.predicted.loss for s in found.stages] == pytest.approx(
        [1 - 0.5 * m * gain for m in range(3)], abs=1e-10
    )
    assert all(s.seen for s in found.stages) and max(abs(s.error) for s in found.stages[1:]) < 2e-3


@pytest.mark.slow
def test_clusters_of_equal_norm_come_in_either_order():
    """(a) Losses 1/2n of what is left; (c) by symmetry either cluster is first on half of the
    draws, and then the earlier."""
    task = OrthogonalReLU((1.0, 1.0, -1.0, -1.0))
    (found,) = predict(experiment("relu", 20, task), theory=RELU)
    assert losses(found) == pytest.approx([0.5, 0.25, 0.0], abs=1e-12)
    assert found[1].share == pytest.approx(0.5, abs=0.08) and found[2].share <= found[1].share
    assert found[1].mean < found[2].mean


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_jump_times_of_clusters_of_equal_norm():
    """(d) The mean over draws of one order is that of as many predictions for single draws of that
    order. (Most single draws overlap by more than the theory is good for; the mean is that of its
    formula over all of them.)"""
    e = experiment("relu", 24, OrthogonalReLU((1.0, -1.0)))
    with using(RangeTolerances(overlap=(1.0, 2.0))):
        own = [predict(e.replace(seed=seed), theory=RELU)[0] for seed in range(40)]
    for k in (1, 2):
        times = np.array([p[k].jump for p in own])
        assert own[0][k].mean == pytest.approx(
            times.mean(), abs=3.5 * times.std() / np.sqrt(len(times))
        )


def test_equal_correlations_of_a_diagonal_network(arrays):
    """(a) 1/2n of what is left after each coordinate, never below zero."""
    n = 3
    x = np.sqrt(n) * np.eye(n)
    e = experiment("diagonal", 1, arrays(x, np.sqrt(n) * np.array([[1.0], [0.5], [-0.5]])), 200.0)
    found = beside(e, DIAGONAL)
    assert [s.predicted.loss for s in found.stages] == pytest.approx(
        [0.75, 0.25, 0.125, 0.0], abs=1e-15
    )
    assert all(s.predicted.loss >= 0 for s in found.stages)
    assert max(abs(s.error) for s in found.stages[1:]) < 2e-3


@pytest.mark.parametrize(
    ("unit", "task"),
    [("linear", LinearTeacher((1.0, 1.0, 0.4))), ("linear", LinearTeacher((1.0, 0.4, 0.4))),
     (HEADS, InContextRegression((1.0, 1.0), length=31))],
)  # fmt: skip
def test_a_graph_of_a_continuum_is_refused(unit, task):
    with pytest.raises(
        InputError,
        match=r"escapes must be isolated, got two of equal utility .* from node 0, and with them",
    ):
        saddle_graph(experiment(unit, 4, task))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "task"),
    [
        (make("in_context_linear", rank=2), InContextRegression((1.0, 0.5), length=31)),
        ("relu", OrthogonalReLU((1.0, -1.0))),
    ],
)
def test_equal_maps_and_clusters_of_equal_norm_are_no_continuum(unit, task):
    """(a) Heads of rank two have each eigenvector twice, with one map; ReLU clusters are two
    points: a square of saddles each."""
    graph = saddle_graph(experiment(unit, 2, task))
    assert [node.units for node in graph.nodes] == [0, 1, 1, 2] and len(graph.edges) == 4


def test_coordinates_of_a_diagonal_unit_are_no_units_of_a_graph():
    with pytest.raises(
        InputError,
        match=r"units must be whole, got diagonal\(\); its coordinates join one by one within it",
    ):
        saddle_graph(Experiment.named("diagonal"))


@pytest.mark.parametrize(
    "values", [(1.0, 0.3, 0.1), pytest.param((1.0, 0.7, 0.4, 0.2), marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_weak_heads_keep_to_their_path(values):
    """(a) A cube: every edge adds one eigenvector, also where rounding along a faster one would
    grow by many orders before."""
    heads, trace = len(values), sum(values)
    graph = saddle_graph(experiment(HEADS, heads, InContextRegression(values, length=31)))
    gain = [x / (1 + (1 + trace / x) / 31) for x in values]
    sets = [s for size in range(heads + 1) for s in combinations(range(heads), size)]
    which = [
        min(sets, key=lambda s: abs(0.5 * (trace - sum(gain[d] for d in s)) - node.loss))
        for node in graph.nodes
    ]
    assert sorted(which) == sorted(sets) and graph.complete and not graph.failures
    edges = {(which[edge.start], which[edge.end]) for edge in graph.edges}
    assert edges == {(s, tuple(sorted((*s, d)))) for s in sets for d in range(heads) if d not in s}


@pytest.mark.slow
def test_silent_units_stay_silent_while_others_settle(arrays):
    """(b) At a fixed point of h quadratic units the residual form annihilates all of them, and the
    loss is theirs alone."""
    x = np.random.default_rng(3).standard_normal((40, 3))
    y = (x**2 @ np.array([1.0, 1.0, 0.5]))[:, None]
    graph = saddle_graph(experiment("quadratic", 3, arrays(x, y)))
    for node in graph.nodes:
        u, v = sides(node.narrow)
        residual = y[:, 0] - ((x @ u.T) ** 2) @ v[:, 0]
        assert node.loss == pytest.approx(0.5 * np.mean(residual**2), abs=1e-12)
        form = np.einsum("n,ni,nj->ij", residual, x, x) / len(x)
        assert np.abs(form @ u.T).max(initial=0.0) < 1e-10


def test_a_fixed_point_of_more_units_than_have_grown_is_not_taken(arrays, monkeypatch):
    """(b) Where refinement moves a silent unit, the units that have grown are refined alone."""
    from saddlery.saddles import narrow_networks

    e = experiment("quadratic", 4, LinearTeacher((1.0,)), 10.0)
    x = np.random.default_rng(3).standard_normal((30, 2))
    e = e.replace(task=arrays(x, (x**2 @ np.array([2.0, 1.0]))[:, None]))
    original = narrow_networks.settle

    def awakened(objective: Objective, start, **options):
        settled = original(objective, start, **options)
        wrong = np.where(settled.end == 0, 1e-3, settled.end)
        return narrow_networks.replace(
            settled, refinement=narrow_networks.replace(settled.refinement, point=wrong)
        )

    nothing = NarrowNetwork.nothing(e.objective())
    pair = (np.array([[0.3, 0.0]]), np.array([[0.2]]))
    right, _ = nothing.join(pair)
    monkeypatch.setattr(narrow_networks, "settle", awakened)
    found, path = nothing.join(pair)
    assert found.loss == pytest.approx(right.loss, abs=1e-12) and np.count_nonzero(path.end) <= 3


def sides(narrow):
    """u (h, U) and v (h, V), read apart from `NarrowNetwork.sides`."""
    width = narrow.objective.network.widths[0]
    state = np.asarray(narrow.state, float)
    u, v = state[:-width].reshape(width, -1), state[-width:].reshape(width, -1)
    grown = np.linalg.norm(u, axis=1) > 0
    assert grown.sum() == narrow.count
    return u[grown], v[grown]


# --------------------------------------------------------------- data of low rank
def reduced_rank(x, y, rank):
    """(d) The least loss of a map of this rank: Baldi & Hornik's projection on the first
    eigenvectors of what is explained."""
    best = np.linalg.pinv(x) @ y
    q = np.linalg.svd(x @ best)[2][:rank]
    return 0.5 * float(np.mean(np.sum((y - x @ best @ q.T @ q) ** 2, axis=1)))


@pytest.mark.parametrize(
    "case",
    slowly(
        ["more inputs than samples", "an input without variance", "collinear inputs"],
        "an input without variance",
    ),
)
def test_low_rank_inputs_of_a_linear_network(case, arrays):
    rng = np.random.default_rng(5)
    x, map_ = rng.standard_normal((9, 3)), np.array([[2.0, 0.3], [0.1, 0.8], [0.0, 0.0]])
    if case == "more inputs than samples":
        x, y = (
            rng.standard_normal((4, 7)),
            np.outer([1.0, -1.0, 0.5, 0.3], [2.0, 1.0]) + 0.5 * rng.standard_normal((4, 2)),
        )
    elif case == "an input without variance":
        x[:, 2] = 0.0
        y = x @ map_
    else:
        x[:, 2] = x[:, 0] + x[:, 1]
        y = x @ map_
    found = beside(experiment("linear", 6, arrays(x, y), 120.0, 1e-9), DIRECTIONS)
    expected = [reduced_rank(x, y, rank) for rank in range(3)]
    assert [s.predicted.loss for s in found.stages] == pytest.approx(expected, abs=1e-10)
    assert all(s.seen for s in found.stages) and max(abs(s.error) for s in found.stages[1:]) < 0.01


@pytest.mark.parametrize("samples", [2, 6])
def test_low_rank_inputs_of_a_diagonal_network(samples, arrays):
    """(a) It ends at the least loss of all, zero with fewer samples than inputs."""
    rng = np.random.default_rng(samples)
    x, y = rng.standard_normal((samples, 4)), rng.standard_normal((samples, 1))
    x[:, 3] = 0.0
    (found,) = predict(experiment("diagonal", 1, arrays(x, y)), theory=DIAGONAL)
    rest = 0.5 * float(np.mean((y - x @ np.linalg.pinv(x) @ y) ** 2))
    assert losses(found)[0] == pytest.approx(0.5 * np.mean(y**2)) and losses(found)[
        -1
    ] == pytest.approx(rest, abs=1e-12)
    assert all(a > b >= 0 for a, b in zip(losses(found), losses(found)[1:], strict=False))


@pytest.mark.parametrize(
    ("unit", "width", "theories"),
    [pytest.param("linear", 5, (DIRECTIONS, MODES, LIMIT), marks=pytest.mark.slow),
     pytest.param("relu", 8, (RELU, LIMIT), marks=pytest.mark.slow),
     pytest.param("quadratic", 3, (UNITS, LIMIT), marks=pytest.mark.slow),
     ("diagonal", 1, (DIAGONAL, LIMIT))],
)  # fmt: skip
def test_one_sample_is_learned_in_one_step(unit, width, theories, arrays):
    """(a) From half its squared target to nothing; (d) the jump of a run."""
    scale = 1e-2 if unit == "quadratic" else 1e-6
    e = experiment(unit, width, arrays([[1.0, 2.0]], [[1.5]]), 100.0, scale)
    found = stages(train(e))
    for theory in theories:
        side = compare(predict(e, theory=theory)[0], found)
        if unit == "diagonal":  # (a) input by input in general: the larger first, which fits all
            assert side.stages[0].predicted.loss == pytest.approx(1.125)
        else:
            assert losses(predict(e, theory=theory)[0]) == pytest.approx([1.125, 0.0], abs=1e-9)
            assert abs(side.stages[1].error) < (0.08 if theory == LIMIT else 2e-3)
    if unit != "diagonal":
        graph = saddle_graph(e)
        assert [node.loss for node in graph.nodes] == pytest.approx(
            [1.125, 0.0], abs=1e-12
        ) and len(graph.edges) == 1


# ------------------------------------------------------------- little or nothing to learn
@pytest.mark.parametrize(
    ("unit", "theory", "words"),
    [pytest.param("linear", DIRECTIONS, "nothing is to be learned", marks=pytest.mark.slow),
     ("linear", MODES, "nothing linear is to be learned"),
     ("linear", "exact linear path", "nothing linear is to be learned"),
     pytest.param("relu", RELU, "all targets are zero", marks=pytest.mark.slow),
     pytest.param("quadratic", UNITS, ("the leading correlation of a new unit with the "
         "targets is zero"), marks=pytest.mark.slow),
     ("diagonal", DIAGONAL, "nothing is to be learned")],
)  # fmt: skip
def test_zero_targets(unit, theory, words, arrays):
    e = experiment(
        unit, 1 if unit == "diagonal" else 4, arrays(np.eye(3), np.zeros((3, 1))), 20.0, 1e-3
    )
    assert words in refusal(e, theory)
    (found,) = predict(e, theory=LIMIT)  # (a) the limit is the origin, where all is learned
    assert [(s.loss, s.units) for s in found.stages] == [(0.0, (0,))]
    run = certify(train(e))
    assert len(mechanism(run)) == 0 and compare(found, run).extra == 0
    if unit != "diagonal":
        graph = saddle_graph(e)
        assert [(n.units, n.loss, n.certificate.verdict) for n in graph.nodes] == [
            (0, 0.0, "minimum")
        ] and not graph.edges


@pytest.mark.parametrize("theory", [DIRECTIONS, MODES, LIMIT])
@pytest.mark.slow
def test_targets_that_one_linear_unit_fits(theory):
    e = experiment("linear", 6, LinearTeacher((0.7,), inputs=3, outputs=2))
    found = beside(e, theory)
    assert [(s.predicted.units, round(s.predicted.loss, 9)) for s in found.stages] == [
        ((0,), 0.245),
        ((1,), 0.0),
    ]  # (a)
    assert all(s.seen for s in found.stages) and abs(found.stages[1].error) < (
        0.06 if theory == LIMIT else 1e-3
    )


@pytest.mark.slow
def test_targets_that_one_quadratic_unit_fits(arrays):
    x = np.random.default_rng(2).standard_normal((40, 3))
    e = experiment("quadratic", 6, arrays(x, ((x @ [1.0, 0.5, 0.0]) ** 2)[:, None]), 4000.0, 1e-2)
    found = beside(e, UNITS)
    assert [s.predicted.units for s in found.stages] == [(0,), (1,)] and all(
        s.seen for s in found.stages
    )
    assert (
        found.stages[1].predicted.loss == pytest.approx(0.0, abs=1e-20)
        and abs(found.stages[1].error) < 2e-3
    )
    assert [node.units for node in saddle_graph(e).nodes] == [0, 1]


# --------------------------------------------------------------------- too few units
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("theory", [DIRECTIONS, MODES, LIMIT])
@pytest.mark.slow
def test_a_network_narrower_than_the_rank_of_its_targets(width, theory):
    """(a) No stage beyond its width, and at its end what the units it lacks would have learned."""
    values = (1.0, 0.5, 0.25)
    e = experiment("linear", width, LinearTeacher(values))
    left = [0.5 * sum(x**2 for x in values[k:]) for k in range(width + 1)]
    (found,) = predict(e, theory=theory)
    assert losses(found) == pytest.approx(left, abs=1e-9) and [s.units for s in found.stages] == [
        (k,) for k in range(width + 1)
    ]
    if theory == MODES:
        assert found[width].index == 0 and compare(found, certify(train(e))).stages[width].seen


@pytest.mark.slow
def test_a_quadratic_network_of_one_unit(arrays):
    x = np.random.default_rng(4).standard_normal((40, 3))
    e = experiment("quadratic", 1, arrays(x, (x**2 @ [2.0, 1.0, -1.0])[:, None]), 4000.0, 1e-2)
    found = beside(e, UNITS)
    assert [s.predicted.units for s in found.stages] == [(0,), (1,)] and all(
        s.seen for s in found.stages
    )
    assert max(node.units for node in saddle_graph(e).nodes) == 1


@pytest.mark.slow
def test_one_relu_unit_cannot_see_both_signs():
    e = experiment("relu", 1, OrthogonalReLU((1.0, -0.6)))
    assert "no unit sees all samples of" in refusal(e, RELU) and "raise the width" in refusal(
        e, RELU
    )
    graph = saddle_graph(e)
    assert sorted(node.loss for node in graph.nodes) == pytest.approx(
        [0.09, 0.25, 0.34], abs=1e-12
    )  # (a)


# -------------------------------------------------- a start exactly on a manifold
START = Initialization(kind="manifold", scale=0, width=1, size=1e-4)
ON_MANIFOLD = {
    "linear": (experiment("linear", 8, LinearTeacher((1.0, 0.5, 0.25)), 25.0, initialization=START), 0.15625),
    "relu": (experiment("relu", 8, OrthogonalReLU((1.0, -0.6)), 60.0, initialization=START), 0.09),
    "heads": (
        experiment(HEADS, 4, InContextRegression((1.0, 0.5), length=31), 20000.0,
                   initialization=Initialization(kind="manifold", scale=0, width=1, size=1e-2)),
        0.5 * (1.5 - 1 / (1 + (1 + 1.5) / 31)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_MANIFOLD)
def test_nothing_is_promised_from_exactly_on_a_manifold(name):
    """(c) The run reaches width one and no more (a linear one until rounding has grown); no theory
    says otherwise."""
    e, rest = ON_MANIFOLD[name]
    for theory in THEORIES:
        assert refusal(e, theory)
    with pytest.raises(InputError, match="initial weights are manifold, not small and independent"):
        predict(e)
    found = stages(train(e))
    assert max(stage.effective_units for stage in found.stages) == 1
    assert found.run.final_loss == pytest.approx(rest, rel=1e-3)


@pytest.mark.parametrize("name", ["relu", "heads"])
@pytest.mark.slow
def test_the_rule_agf_keeps_to_a_manifold(name):
    e, rest = ON_MANIFOLD[name]
    found = stages(train(e.replace(rule=AlternatingFlow(), stop=Stop(flow_time=1e9))))
    assert max(stage.effective_units for stage in found.stages) == 1
    assert found.run.final_loss == pytest.approx(rest, rel=1e-6)


@pytest.mark.parametrize("size", 0.01 * 2.0 ** -np.arange(4))
def test_two_units_that_escape_at_one_time(size):
    """(a) The second of two equal units, v' = u^2/2, u' = u v, is followed to just before its
    escape at 1/v, where it is v/1e-5, and no further."""
    start = _Draws(
        u=np.full((1, 2, 1), np.sqrt(2) * size),
        v=np.full((1, 2, 1), size),
        dormant=np.ones((1, 2), bool),
        since=np.zeros(1),
    )
    wait, _ = start.escape(np.array([[[0.5]]]))
    assert wait == pytest.approx([1 / size], rel=1e-5)
    assert start.dormant.tolist() == [[False, True]]
    assert start.v[0, 1, 0] == pytest.approx(size / 1e-5, rel=0.2)
