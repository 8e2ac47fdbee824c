"""Saddle graphs against closed forms: every node, every edge, every index; and the route of a
run."""

from __future__ import annotations

import dataclasses
import json
from itertools import combinations

import numpy as np
import pytest

from saddlery import Experiment, certify, saddle_graph, train
from saddlery.basis.checks import InputError
from saddlery.networks import Layer, Network
from saddlery.plateaus import stages
from saddlery.plateaus.graph import route
from saddlery.symmetry import utility_maxima
from saddlery.tasks import InContextRegression, LinearTeacher, OrthogonalReLU
from saddlery.theory import linear_saddles
from saddlery.units import make


def named(name, width, task):
    e = Experiment.named(name)
    return e.replace(network=e.network.with_widths([width]), task=task)


def losses(graph):
    return [node.loss for node in graph.nodes]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("strengths", [(1.0, 0.5, 0.25), (3.0, 1.0, 0.3)])
def test_a_linear_network_of_three_modes_is_a_cube(strengths, seed):
    """(a) 2^3 saddles and 12 edges that add one mode; losses, indices and rates of Baldi & Hornik's
    saddles."""
    task = LinearTeacher(strengths)
    graph = saddle_graph(named("linear", 10, task).replace(seed=seed))
    moments = task.data(seed).moments
    exact = {
        s.modes: s for s in linear_saddles(moments.features, moments.cross, moments.target, 10)
    }
    assert (
        len(graph.nodes) == 8 and len(graph.edges) == 12 and graph.complete and not graph.failures
    )
    modes = {}
    for k, node in enumerate(graph.nodes):
        (modes[k],) = [m for m, s in exact.items() if abs(s.loss - node.loss) < 1e-12]
        assert node.certificate.index == exact[modes[k]].index and node.units == len(modes[k])
        assert node.certificate.gradient_norm < 1e-12
    assert len(set(modes.values())) == 8
    for edge in graph.edges:
        (added,) = set(modes[edge.end]) - set(modes[edge.start])
        assert set(modes[edge.start]) < set(modes[edge.end])
        assert edge.rate == pytest.approx(strengths[added], rel=1e-9) and edge.order == 2
        assert edge.path.loss[0] > graph.nodes[edge.end].loss and np.all(
            np.diff(edge.path.loss) < 1e-12
        )


def test_a_relu_network_on_two_orthogonal_inputs():
    """(a) Each cluster or not: 1/2n times the sum of squares left."""
    graph = saddle_graph(named("relu", 8, OrthogonalReLU((1.0, -0.6))))
    assert sorted(losses(graph)) == pytest.approx([0, 0.09, 0.25, 0.34], abs=1e-12)
    assert len(graph.edges) == 4
    top = [edge for edge in graph.edges if edge.start == 0]
    assert [edge.rate for edge in top] == pytest.approx(
        [np.sqrt(2) / 2, 0.6 * np.sqrt(2) / 2]
    )  # |D|, inputs of length sqrt 2


@pytest.mark.parametrize(
    "values", [(0.7, 0.3), pytest.param((0.5, 0.3, 0.2), marks=pytest.mark.slow)]
)
def test_linear_attention(values):
    """(a) One node a set of eigenvectors learned, eq 19 of Zhang et al. (2025) with the half, and
    the hypercube's edges."""
    heads, n, trace = len(values), 31, sum(values)
    graph = saddle_graph(named("linear_attention", heads, InContextRegression(values, length=n)))
    gain = [x / (1 + (1 + trace / x) / n) for x in values]
    sets = [s for size in range(heads + 1) for s in combinations(range(heads), size)]
    assert sorted(losses(graph)) == pytest.approx(
        sorted(0.5 * (trace - sum(gain[d] for d in s)) for s in sets), abs=1e-10
    )
    assert len(graph.edges) == heads * 2 ** (heads - 1)
    assert {edge.order for edge in graph.edges} == {3} and {edge.rate for edge in graph.edges} == {
        None
    }


@pytest.mark.slow
def test_the_route_of_a_run():
    """(b) The strongest escape each time, along the manifold of the next width; reversed labels are
    noticed."""
    e = named("quadratic", 10, Experiment.named("quadratic").task)
    graph, found = saddle_graph(e), certify(train(e))
    steps = route(graph, found)
    assert [step.node for step in steps] == [0, 1, 3]
    assert all(step.departure < 0.01 for step in steps[:2]) and steps[2].departure is None
    shorter = dataclasses.replace(graph, nodes=graph.nodes[:1])
    assert [step.node for step in route(shorter, found)] == [0, None, None]
    with pytest.raises(
        InputError, match=r"stages must be certified, got stages that are not; pass certify\(run\)"
    ):
        route(graph, stages(found.run))


def test_a_budget_is_kept_and_said():
    graph = saddle_graph(named("linear", 4, LinearTeacher((1.0, 0.5))), budget=1)
    assert not graph.complete and len(graph.nodes) == 3 and "raise the budget" in repr(graph)
    assert json.loads(json.dumps(graph.record()))["edges"][0]["order"] == 2


def test_fewer_units_than_modes():
    graph = saddle_graph(named("linear", 1, LinearTeacher((1.0, 0.5))))
    assert len(graph.nodes) == 3 and max(node.units for node in graph.nodes) == 1


def test_maxima_of_the_utility():
    """(a) Two of a ReLU unit on two orthogonal inputs of either sign; none where nothing is left to
    learn."""
    subject = named("relu", 3, OrthogonalReLU((1.0, -0.6))).objective()
    found = utility_maxima(subject, np.zeros(subject.size))
    assert [m.value for m in found] == pytest.approx([np.sqrt(2) / 4, 0.6 * np.sqrt(2) / 4])
    flat = named("linear", 3, LinearTeacher((1.0, 0.5))).objective()
    done = certify(train(named("linear", 3, LinearTeacher((1.0, 0.5)))))[-1].certificate.state
    assert not [m for m in utility_maxima(flat, done) if m.value > 1e-12]


def test_misuse():
    e = Experiment.named("linear")
    deep = e.replace(
        network=Network((Layer(make("linear"), 3, mixes=False), Layer(make("linear"), 3)))
    )
    with pytest.raises(
        InputError,
        match=r"the network must be one sum of units, got .*; deep networks have no saddle graph"
        r" yet",
    ):
        saddle_graph(deep)
    with pytest.raises(InputError, match="with a silent point"):
        saddle_graph(e.replace(network=e.network.with_unit(0, make("sigmoid"))))
    with pytest.raises(InputError, match="budget"):
        saddle_graph(e, budget=0)
