"""float64 is promised by the library, not by its caller: with JAX's switch off every number comes
out as with it on."""

from __future__ import annotations

import dataclasses
import functools
import inspect

import jax
import numpy as np
import pytest

import saddlery
from saddlery import Experiment, symmetry, theory, units
from saddlery.networks import Data, Layer, Network, curvature, objective
from saddlery.plateaus import graph
from saddlery.saddles import fixed_points, narrow_networks, zero_modes
from saddlery.solvers import spectra
from saddlery.symmetry.reduction import sides
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop

RELATIVE = 1e-13
SMALL = LinearTeacher((1.0, 0.4), inputs=3, outputs=3)


def numbers_of(value, seen=()):
    """All numbers of a result, with their places in it: records field by field, arrays, and what
    holds these."""
    if (
        value is None
        or isinstance(value, str | bool)
        or (callable(value) and not dataclasses.is_dataclass(value))
    ):
        return
    if isinstance(value, int | float | np.number | np.ndarray | jax.Array):
        yield seen, np.asarray(value, float)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.name != "wall_seconds":
                yield from numbers_of(getattr(value, field.name), (*seen, field.name))
    elif isinstance(value, dict):
        for key in value:
            yield from numbers_of(value[key], (*seen, key))
    elif isinstance(value, list | tuple):
        for k, one in enumerate(value):
            yield from numbers_of(one, (*seen, k))


@functools.cache
def experiment():
    e = Experiment.named("linear").replace(task=SMALL, stop=Stop(flow_time=40.0))
    return e.replace(network=e.network.with_widths([4]))


@functools.cache
def run():
    with jax.enable_x64(True):
        return saddlery.train(experiment())


@functools.cache
def certified():
    with jax.enable_x64(True):
        return saddlery.certify(run())


@functools.cache
def saddles():
    with jax.enable_x64(True):
        return saddlery.saddle_graph(experiment())


STACKS = {
    "relu > relu": ("relu", "relu"),
    "tanh > relu": ("tanh", "relu"),
    "conv > conv > quadratic": ("conv_relu", "conv_relu", "quadratic"),
    "four matrices": ("linear", "linear", "linear"),
    "tanh": ("tanh",),
}


def stack(kind, width=2):
    """(objective, weights) of layers that pass their units on."""
    layers = [Layer(units.make(name), width, mixes=False) for name in STACKS[kind][:-1]]
    network = Network((*layers, Layer(units.make(STACKS[kind][-1]), width)))
    shape, rng = (1, 6) if kind.startswith("conv") else (3,), np.random.default_rng(0)
    subject = objective(
        network, Data(shape, 2, rng.standard_normal((20, *shape)), rng.standard_normal((20, 2)))
    )
    return subject, rng.standard_normal(subject.size)


def embedded(kind):
    """As the README has it: NumPy weights, and no scope around the call."""
    subject, theta = stack(kind)
    widths = tuple(w + 2 for w in subject.network.widths)
    return saddlery.embed(subject.network, subject.params(theta), widths).params


def on(kind, call):
    subject, theta = stack(kind, 3)
    return call(subject, theta)


def two_sides():
    subject, theta = stack("tanh", 3)
    return sides(subject.network, subject.params(theta), 0)


def utilities(call):
    subject, theta = stack("tanh")
    return call(subject, 0.1 * theta)


def silent(subject):
    best = symmetry.best_silent_unit(subject, np.zeros(subject.size), steps=20)
    return symmetry.silent_direction(subject, np.zeros(subject.size), best)


def products(subject, theta):
    matrix = curvature.hessian(subject, theta)
    return spectra.dense_spectrum(matrix), spectra.lanczos_spectrum(
        lambda d: matrix @ d, len(matrix)
    )


def grown():
    form = np.random.default_rng(0).standard_normal((1, 3, 3))
    form = form + form.transpose(0, 2, 1)
    u, v = 0.1 * np.ones((2, 3)), 0.1 * np.ones((2, 1))
    return theory.grow(form, u, v, 1.0), theory.escapes(form, u, v)


def path():
    row = 0.1 * np.ones((1, 3))
    return theory.balanced_path(
        np.array([0.0, 1.0]), row, np.array([[np.linalg.norm(row)]]), np.ones((1, 3))
    )


# every public name that takes or returns numbers: a call of it
CALLS = {
    "certify": lambda: saddlery.certify(run()),
    "certify_state": lambda: saddlery.certify_state(run().objective(), run().trajectory.states[-1]),
    "compare": lambda: saddlery.compare(
        saddlery.predict(experiment(), theory="linear modes")[0], certified()
    ),
    "effective_units": lambda: saddlery.effective_units(*on("relu > relu", lambda s, t: (s, t))),
    **{f"embed {kind}": functools.partial(embedded, kind) for kind in STACKS},
    "mechanism": lambda: saddlery.mechanism(certified()),
    "predict": lambda: saddlery.predict(experiment()),
    **{f"reduce {kind}": functools.partial(on, kind, saddlery.reduce) for kind in STACKS},
    "saddle_graph": lambda: saddlery.saddle_graph(experiment()),
    "stages": lambda: saddlery.stages(run()),
    "train": lambda: saddlery.train(experiment()),
    "visit": lambda: saddlery.visit(run(), 1),
    "best_silent_unit": lambda: utilities(symmetry.best_silent_unit),
    "utility_maxima": lambda: utilities(symmetry.utility_maxima),
    "leading_tensor": lambda: utilities(symmetry.leading_tensor),
    "silent_units": lambda: utilities(lambda s, t: symmetry.silent_units(s, t, 0)),
    "silent_coordinates": lambda: utilities(symmetry.silent_coordinates),
    "silent_direction": lambda: silent(stack("tanh")[0]),
    "embed_near": lambda: symmetry.embed_near(
        tuple(a[:1] for a in two_sides()), two_sides(), units.make("tanh")
    ),
    "nearest_embedding": lambda: symmetry.nearest_embedding(
        tuple(a[:1] for a in two_sides()), two_sides(), units.make("tanh")
    ),
    "nearest_of_width": lambda: symmetry.nearest_of_width(*two_sides(), units.make("tanh"), 1),
    "widths_distances": lambda: symmetry.widths_distances(
        *(a[None] for a in two_sides()), units.make("tanh"), (0, 1, 2)
    ),
    "raw constructions": lambda: (
        symmetry.duplicate(*two_sides(), 0, 0.3),
        symmetry.silent(*two_sides()),
        symmetry.ray(*two_sides(), 0, 0.3, 0.2),
        symmetry.span(*two_sides(), np.arange(3.0), np.arange(3.0)),
    ),
    "Manifold": lambda: symmetry.Manifold(
        3,
        (
            symmetry.equal(3, 1, 0),
            symmetry.proportional(3, 2, 0, 0.3),
            symmetry.combination(3, 2, [0.1, 0.2, 0.0]),
        ),
    ).project(np.hstack(two_sides())),
    "silent_unit": lambda: symmetry.silent_unit(3, 0),
    "hessian": lambda: on("tanh > relu", curvature.hessian),
    "spectra": lambda: on("tanh > relu", products),
    "explain_zero_modes": lambda: on(
        "tanh", lambda s, t: zero_modes.explain_zero_modes(s, t, np.eye(s.size)[:, :2])
    ),
    "find_fixed_point": lambda: fixed_points.find_fixed_point(
        run().objective(), run().trajectory.states[-1]
    ),
    "fixed_point": lambda: fixed_points.fixed_point(
        run().objective(), run().trajectory.states[-1], 1.0, None
    ),
    "route": lambda: graph.route(saddles(), certified()),
    "NarrowNetwork": lambda: [
        (n.narrow.loss, n.narrow.residual(), n.narrow.lowest_curvature(), n.narrow.sides())
        for n in saddles().nodes
    ],
    "size_to_join": lambda: narrow_networks.NarrowNetwork.nothing(run().objective()).size_to_join(
        0.5, 2
    ),
    "scales": lambda: stack("tanh")[0].scales,
    "initial_state": lambda: experiment().initial_state(),
    "data": lambda: SMALL.data(0).moments,
    "linear_saddles": lambda: theory.linear_saddles(np.eye(3), np.diag([2.0, 1.0, 0.5]), 10.0, 3),
    "mode_strength": lambda: (
        theory.mode_strength(1.0, 1e-3, 2.0),
        theory.mode_time(0.5, 1.0, 1e-3),
    ),
    "blow_up": lambda: theory.blow_up(0.1, np.ones(3), np.array([1.0, -0.5, 0.3])),
    "grow": grown,
    "balanced_path": path,
    "diagonal_jumps": lambda: theory.diagonal_jumps(np.eye(3), np.array([1.0, 0.5, -0.2])),
    "diagonal_paths": lambda: theory.diagonal_paths(
        np.eye(3), np.array([1.0, 0.5, -0.2]), np.ones((2, 3)), np.ones((2, 3))
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_switch_of_jax_changes_no_number(name):
    """(d) The same call with JAX's 64-bit switch off and on: equal to 1e-13 of the largest number
    of each array."""
    with jax.enable_x64(False):  # first, so that nothing kept from the other call can help
        found = dict(numbers_of(CALLS[name]()))
    with jax.enable_x64(True):
        expected = dict(numbers_of(CALLS[name]()))
    assert expected and found.keys() == expected.keys()
    for place, value in expected.items():
        size = np.abs(value[np.isfinite(value)]).max(initial=0.0)
        np.testing.assert_allclose(
            found[place], value, rtol=0, atol=RELATIVE * size, err_msg=str(place)
        )


def test_an_embedding_outside_a_scope_is_a_fixed_point():
    """(b) Four linear matrices at a planted fixed point: the wide gradient is zero, as it is inside
    the scope."""
    from planted import gradient_norm, random_fixed_point

    network = stack("four matrices")[0].network
    subject, theta = random_fixed_point(network, (3,), 2, seed=1, samples=80)
    with jax.enable_x64(False):
        wide, params = saddlery.embed(network, subject.params(theta), (4, 4, 4), seed=3)
    state = np.concatenate([np.asarray(p[k]).ravel() for p in params for k in sorted(p)])
    assert (
        state.dtype == float
        and gradient_norm(subject.with_network(wide), state) <= 1e-12 * np.abs(state).max() ** 6
    )


# public names that neither take nor return numbers, or whose numbers are those of a call above
ELSEWHERE = {
    "applies", "Experiment", "Initialization", "Layer", "Network", "Symmetry", "Unit", "load_run", "save_run",
}  # fmt: skip


def test_every_public_function_is_called():
    """No verb of the top level, of symmetry or of theory is left out of the list above."""
    source = inspect.getsource(inspect.getmodule(test_every_public_function_is_called))
    for module in (saddlery, symmetry, theory):
        for name in module.__all__:
            if name in ELSEWHERE or not inspect.isfunction(getattr(module, name)):
                continue
            assert f".{name}" in source, name
