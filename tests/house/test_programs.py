"""Compiled programs are let go, so that one process may work on any number of different
networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from saddlery import Experiment, certify, train
from saddlery.basis import precision
from saddlery.symmetry import best_silent_unit, silent_coordinates, silent_units
from saddlery.training import Stop

SESSION = Path(__file__).parent.parent / "many_problems.py"


def session(count):
    done = subprocess.run(
        [sys.executable, str(SESSION), str(count)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(),
    reason="the system does not say how many maps a process has",
)
def test_hundreds_of_different_problems_in_one_process():
    """(b) Under 10,000 mappings and 2 GB, where each problem used to leave 580 and 45 MB until the
    process was ended at 113."""
    taken = session(200)
    assert len(taken) == 200 and any(line["verdicts"] for line in taken)
    assert max(line["maps"] for line in taken) < 10_000
    assert max(line["resident"] for line in taken) < 2000


class Counted:
    """What `spare_programs` sees, without a program being compiled: so many of them, in a process
    of so many maps."""

    def __init__(self, monkeypatch, maps):
        self.counter, self.let_go = precision._Compiled(), 0
        monkeypatch.setattr(precision, "_COMPILED", self.counter)
        monkeypatch.setattr(self.counter, "listen", lambda: None)
        monkeypatch.setattr(jax, "clear_caches", self._cleared)
        monkeypatch.setattr(precision, "maps_of_process", lambda: maps)

    def _cleared(self):
        self.let_go += 1

    def compile(self, programs):
        for _ in range(programs):
            self.counter._heard(precision.COMPILED, 0.1)
        self.counter._heard("/jax/core/compile/jaxpr_trace_duration", 0.1)
        precision.spare_programs()


@pytest.mark.parametrize(
    ("maps", "let_go"), [(precision.MAPS + 1, 1), (precision.MAPS, 0), (None, 0)]
)
def test_the_system_is_looked_at_rarely(monkeypatch, maps, let_go):
    """(a) Nothing happens before LOOK programs; then the number of maps decides, and the count
    begins anew."""
    seen = Counted(monkeypatch, maps)
    seen.compile(precision.LOOK - 1)
    assert seen.let_go == 0
    seen.compile(1)
    seen.compile(precision.LOOK - 1)
    assert seen.let_go == let_go


def test_where_the_system_says_nothing_programs_are_counted(monkeypatch):
    """(a) Without /proc all programs are let go once more than PROGRAMS have been compiled since
    the last time."""
    seen = Counted(monkeypatch, None)
    for _ in range(2 * precision.PROGRAMS // precision.LOOK + 2):
        seen.compile(precision.LOOK)
    assert seen.let_go == 2


@pytest.mark.slow
def test_a_verb_lets_go_and_goes_on(monkeypatch):
    """(d) With every look finding too many maps, certificates and runs are what they are otherwise,
    bit for bit."""
    e = Experiment.named("quadratic").replace(stop=Stop(flow_time=500.0))
    e = e.replace(network=e.network.with_widths([4]))
    plain = certify(train(e))
    monkeypatch.setattr(precision, "MAPS", 0)
    monkeypatch.setattr(precision, "LOOK", 1)
    monkeypatch.setattr(precision, "maps_of_process", lambda: 1)
    again = certify(train(e))
    np.testing.assert_array_equal(again.run.trajectory.loss, plain.run.trajectory.loss)
    assert [s.certificate.record() for s in again.stages] == [
        s.certificate.record() for s in plain.stages
    ]


def test_nothing_is_compiled_for_what_numpy_does():
    """(b) Silent units are found, and weights moved about, without a program of JAX."""
    subject = Experiment.named("tanh").objective()
    counter = precision._Compiled()
    counter.listen()
    state = np.zeros(subject.size)
    assert silent_units(subject, state, 0).all() and silent_coordinates(subject, state).all()
    assert counter.programs == 0
    best_silent_unit(
        subject.with_network(subject.network.with_widths([3])),
        state[: subject.size * 3 // 20],
        steps=3,
    )
    assert counter.programs > 0
