"""What guards the door has been seen to fail: each part is broken on purpose, and the named test
must go red."""

from __future__ import annotations

import numpy as np
import pytest
import test_door
import test_tables

from saddlery.basis import checks
from saddlery.doors import door
from saddlery.experiments import foresight
from saddlery.sweeps import design
from saddlery.tasks import Arrays, tables


def kept(tmp_path):
    test_door.test_numbers_of_other_libraries_in_every_field("float32")


def bombs(tmp_path):
    path = test_door.bomb(
        tmp_path / "bomb.npz", (2**12, 2**17), targets=np.arange(6.0)
    )  # twice what is let in
    with pytest.raises(checks.InputError, match="must be an array of at most"):
        Arrays(str(path)).data(0)


def nested(tmp_path):
    with pytest.raises(checks.InputError, match="nested at most"):
        door.read_toml("a = " + "[" * 40 + "]" * 40, "x")


def counted(tmp_path):
    test_tables.test_what_was_written_is_read("years", "utf-8", tmp_path)


def rows(tmp_path):
    test_tables.test_what_was_written_is_read("rows counted without header", "utf-8", tmp_path)


def foretold(tmp_path):
    e = test_door.on_data(tmp_path, 1e9)
    with pytest.raises(checks.InputError, match="steps of an explicit solver, more than"):
        foresight.foretold(e.objective(), e.initial_state(), e.rule, e.stop)


def places(tmp_path):
    test_door.test_where_data_lie_is_no_part_of_what_a_run_is(tmp_path)


def repeated(tmp_path):
    with pytest.raises(checks.InputError, match="different values"):
        design._different("a", [[1, 2], [3], [1, 2]])


MUTATIONS = [
    (checks, "settle", lambda instance: instance, kept, "fields keep what was given"),
    (door, "_admitted", lambda *_: None, bombs, "headers are not looked at"),
    (door, "_examine", lambda *_: None, nested, "depth is not looked at"),
    (tables, "_consecutive", lambda cells: False, counted, "no header counts"),
    (tables, "FEWEST", 100, rows, "no column counts"),
    (foresight, "ENDLESS", 1e300, foretold, "every number of steps is taken"),
    (
        Arrays,
        "without_places",
        lambda self, options: options,
        places,
        "places are part of the identity",
    ),
    (design, "unpacked", lambda value: id(value), repeated, "equal values count as different"),
]


@pytest.mark.parametrize(
    ("where", "name", "broken", "test", "why"), MUTATIONS, ids=[m[-1] for m in MUTATIONS]
)
def test_each_guard_is_needed(where, name, broken, test, why, monkeypatch, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    test(tmp_path / "whole")
    monkeypatch.setattr(where, name, broken)
    for module in (
        "saddlery.tasks.base",
        "saddlery.rules.base",
        "saddlery.networks.network",
        "saddlery.training.driver",
    ):
        if name == "settle":
            monkeypatch.setattr(f"{module}.settle", broken)
    with pytest.raises(
        (AssertionError, TypeError, MemoryError, checks.InputError, pytest.fail.Exception)
    ):
        test(tmp_path / "broken")
