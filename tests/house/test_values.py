"""What is passed around is a value: it can be copied, compared, hashed and sent to another process
by the standard library."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import rooms

from registries import kept
from saddlery import Experiment, Layer, Network, certify, compare, predict, train, units
from saddlery.basis.checks import InputError
from saddlery.basis.values import Value, same
from saddlery.networks import losses, objective
from saddlery.rules import RULES
from saddlery.tasks import TASKS
from saddlery.training import Stop
from saddlery.units import Lift, Symmetry, Unit


# ------------------------------------------------------------------------- of one's own
def _phi(z, u):
    return jnp.sin(2 * (z @ u))


def _other_phi(z, u):
    return (z @ u) ** 2


def _shape(shape):
    return shape


def _form(x):
    return jnp.outer(x, x).ravel()


def _loss(y, f):
    return jnp.sum((y - f) ** 4)


LOOSE = Unit(
    "square_of_values",
    _other_phi,
    _shape,
    Symmetry(silent=True, degree=2, parity="even"),
    lift=Lift("square of values", _form, _form),
)
LAMBDA = Unit("lambda_of_values", lambda z, u: z @ u, _shape)


# ----------------------------------------------------------------------------- the kinds
def _made() -> dict[str, object]:
    """One of every kind that is passed around."""
    from own_values import UNIT, OwnTask

    experiment = Experiment.named("linear")
    run, found = train(experiment), certify("linear")
    shown = compare(predict("linear")[0], found)
    own = objective(Network((Layer(LOOSE, 2),)), OwnTask().data(0))
    quartic = replace(OwnTask(2.0).data(0), loss=losses.Loss("quartic", _loss))
    return {
        "experiment": experiment,
        "experiment of one's own": Experiment(
            OwnTask(0.5), Network((Layer(UNIT, 3),)), Stop(flow_time=1.0)
        ),
        "network": experiment.network,
        "objective": experiment.objective(),
        "objective of lifted units": Experiment.named("quadratic").objective(),
        "objective of cross entropy": replace(
            Experiment.named("digits"), task=TASKS["digits"](loss="cross_entropy")
        ).objective(),
        "objective of units of one's own": own,
        "data": experiment.data,
        "data of a loss of one's own": quartic,
        "run": run,
        "trajectory": run.trajectory,
        "stages": found,
        "stage": found[1],
        "certificate": found[1].certificate,
        "predictions": predict("linear"),
        "prediction": predict("linear")[0],
        "comparison": shown,
        "registered unit": UNIT,
        "unit of a module": LOOSE,
        "lifted unit of a module": LOOSE.lifted(),
        **{f"unit {name}": units.make(name) for name in units.names()},
        **{f"rule {kind}": rule() for kind, rule in RULES.items()},
        **{f"task {kind}": task() for kind, task in TASKS.items() if not task.FILES},
        **{f"loss {name}": loss for name, loss in losses.LOSSES.items()},
        **{f"bound rule {kind}": rule().bound(own.parts) for kind, rule in RULES.items()},
        "initialization": experiment.initialization,
        "stop": experiment.stop,
    }


@pytest.fixture(scope="module")
def made():
    with kept():
        yield _made()


def back(values):
    """What arrives in another process, sent back."""
    return values


WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_every_kind_equals_it(made, way):
    """(c) In one truth value, whatever arrays are inside; with the same hash where there is one."""
    for kind, value in made.items():
        copied = WAYS[way](value)
        assert (copied == value) is True, kind
        assert (copied != value) is False, kind
        assert (value == "another") is False, kind
        try:
            expected = hash(value)
        except TypeError:
            assert "teacher" in kind, kind  # its options are a table, which has no hash
            continue
        assert hash(copied) == expected, kind


def test_every_kind_arrives_in_another_process_and_comes_back(made):
    """(c) By the standard library's spawn, in one message."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        returned = pool.submit(back, made).result()
    assert returned.keys() == made.keys()
    for kind, value in made.items():
        assert returned[kind] == value, kind


def test_a_registered_unit_brings_the_module_that_registers_it(made):
    """(c) In a process that has imported nothing of it."""
    unit = made["registered unit"]
    received = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).name)"
    here = os.pathsep.join(sys.path)
    arrived = subprocess.run(
        [sys.executable, "-c", received],
        input=pickle.dumps(unit),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": here},
        check=False,
    )
    assert arrived.stdout.decode().strip() == unit.name, arrived.stderr.decode()


def test_values_that_differ_in_a_number_anywhere_are_not_equal(made):
    """(c) One number of one array; one of the experiment; one more stage."""
    run = made["run"]
    states = run.trajectory.states.copy()
    states[-1, -1] += 1e-12
    other = replace(run, trajectory=replace(run.trajectory, states=states))
    assert other != run and other.trajectory != run.trajectory
    assert replace(run, experiment=run.experiment.replace(seed=9)) != run
    stages = made["stages"]
    assert replace(stages, stages=stages.stages[:-1]) != stages
    data = made["data"]
    assert replace(data, moments=None) != data
    assert replace(run, wall_seconds=0.0) != run
    assert len({run, copy.deepcopy(run), other}) == 2


def test_what_is_the_same():
    """(b) NaN is NaN, arrays are of one type and shape, other types are others."""
    nan = float("nan")
    assert same((np.array([nan, 1.0]), {"a": nan}), (np.array([nan, 1.0]), {"a": float("nan")}))
    assert same(jnp.arange(3), jnp.arange(3))
    assert not same(np.zeros(2), np.zeros((2, 1)))
    assert not same(np.zeros(2), np.zeros(2, np.float32))
    assert not same(np.zeros(2), [0.0, 0.0])
    assert not same((1, 2), [1, 2])
    assert not same({"a": np.zeros(2)}, {"b": np.zeros(2)})
    assert not same((1.0,), (1.0, 1.0))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (LAMBDA, "every function of unit 'lambda_of_values', which is not registered, must be"),
        (LAMBDA.__class__("own", _phi, lambda shape: shape), "every function of unit 'own'"),
        (replace(LOOSE, name="own", tensors=lambda shape: {}), "every function of unit 'own'"),
        (losses.Loss("own", lambda y, f: y), "the function of loss 'own' must be a function of a"),
        (losses.Loss("own", _loss, admit=lambda targets: None), "`admit` of loss 'own' must be"),
    ],
)
def test_what_cannot_be_sent_says_so_in_a_sentence(value, words):
    with pytest.raises(InputError, match=words):
        pickle.dumps(value)
    assert copy.deepcopy(value) is value and copy.copy(value) is value


def test_no_record_with_arrays_compares_as_dataclasses_do():
    """Such a comparison asks an array for its truth value."""
    found = 0
    for path in rooms.modules():
        module = importlib.import_module(f"saddlery.{rooms.module_of(path)}")
        for name, record in vars(module).items():
            public = isinstance(record, type) and not name.startswith("_")
            if not (public and dataclasses.is_dataclass(record)):
                continue
            kinds = [str(field.type) for field in dataclasses.fields(record)]
            if any("ndarray" in kind or kind.startswith("Float[") for kind in kinds):
                assert record.__eq__ in (object.__eq__, Value.__eq__), record
                found += 1
    assert found > 30
