"""What is stored outlives the code that wrote it: identities stay where fields come, and files mean
what they meant."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import fields as tool
import numpy as np
import pytest

from registries import kept
from saddlery import Experiment, Initialization, train, units
from saddlery.basis.checks import InputError
from saddlery.experiments import fields
from saddlery.experiments.experiment import from_table
from saddlery.networks import Layer, Network
from saddlery.rules import GradientFlow
from saddlery.runs import load_run, save_run
from saddlery.sweeps import Sweep, design
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop

CONV = Experiment.named("linear_conv")  # its units have options
LINEAR = Experiment.named("linear")


# ---------------------------------------------------------- a field is added to each family
@pytest.fixture
def registries():
    """Classes of the same kind, and of others, may be defined within a test."""
    with kept():
        yield


def with_later(made, **changes):
    """An object of the same class with one more field, `later` = 3.0 by default, and that field
    changed."""
    cls = dataclass(frozen=True)(
        type(
            "Later",
            (type(made),),
            {"__annotations__": {"later": "float"}, "later": 3.0, "__module__": __name__},
        )
    )
    own = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    return cls(**{**own, **changes})


def a_unit(later):
    unit = CONV.network.layers[0].unit
    return dataclasses.replace(unit, options={**unit.options, "later": later})


ADDED = {
    "experiment": lambda **new: with_later(CONV, **new),
    "network": lambda **new: CONV.replace(network=with_later(CONV.network, **new)),
    "layer": lambda **new: CONV.replace(
        network=Network((with_later(CONV.network.layers[0], **new),))
    ),
    "initialization": lambda **new: CONV.replace(
        initialization=with_later(CONV.initialization, **new)
    ),
    "stop": lambda **new: CONV.replace(stop=with_later(CONV.stop, **new)),
    "rule": lambda **new: CONV.replace(rule=with_later(CONV.rule, **new)),
    "task": lambda **new: CONV.replace(task=with_later(CONV.task, **new)),
    "unit": lambda later=3.0: CONV.replace(
        network=Network((Layer(a_unit(later), CONV.network.widths[0]),))
    ),
}


@pytest.mark.parametrize("family", ADDED)
def test_a_new_field_with_a_default_changes_no_identity(family, registries, monkeypatch):
    """(c) At its default the identity is that of before; elsewhere it is another experiment."""
    options = units.options
    monkeypatch.setattr(units, "options", lambda name: {**options(name), "later": 3.0})
    assert ADDED[family]().identity == CONV.identity
    assert ADDED[family](later=4.0).identity != CONV.identity


@pytest.mark.parametrize("name", ["attention_merged", "in_context_merged", "diagonal", "relu"])
def test_a_new_option_of_a_unit_without_any(name):
    usual = {"later": 3.0}
    assert fields.essential(f"unit {name}", {"later": 3.0}, usual, always=True) == {}
    assert fields.essential(f"unit {name}", {"later": 4.0}, usual, always=True) == {"later": 4.0}


def test_nested_defaults_of_ones_own_tasks_are_left_out(registries):
    """As version 1 left them out, which saw tuples."""

    @dataclass(frozen=True)
    class Own(LinearTeacher):
        kind = "own"
        centres: tuple = ((0.0, 1.0), (1.0, 0.0))

    assert "centres" not in LINEAR.replace(task=Own((1.0, 0.4))).determining()["task"]
    other = LINEAR.replace(task=Own((1.0, 0.4), centres=((0.0, 2.0),)))
    assert other.determining()["task"]["centres"] == [[0.0, 2.0]]


def test_a_new_field_of_sweeps_changes_no_identity(monkeypatch):
    before = Sweep(LINEAR, grid={"initialization.scale": (1e-3, 1e-6)}, seeds=5)
    table = Sweep.table
    assert with_later(before).identity == before.identity
    for later, same in ((3.0, True), (4.0, False)):
        monkeypatch.setattr(
            Sweep, "table", lambda self, later=later: {**table(self), "later": later}
        )
        assert (with_later(before, later=later).identity == before.identity) == same
    monkeypatch.setattr(Sweep, "table", table)
    monkeypatch.setattr(design, "MEASURES", (*design.MEASURES, "postures"))
    assert dataclasses.replace(before).identity == before.identity


# ---------------------------------------------------------- a default is changed
@pytest.fixture
def second(monkeypatch):
    """A second version, in which initial weights are larger by default, runs stop at a loss, and
    another mode is taught."""
    first = fields.fields_of(1)
    changed = {
        "initialization": {**first["initialization"].defaults, "scale": 0.5},
        "task linear_teacher": {**first["task linear_teacher"].defaults, "inputs": 7},
        "rule descent": {**first["rule descent"].defaults, "batch": 16},
    }
    tables = {
        1: first,
        2: {k: f._replace(defaults=changed.get(k, f.defaults)) for k, f in first.items()},
    }
    monkeypatch.setattr(fields, "VERSION", 2)
    monkeypatch.setattr(fields, "fields_of", lambda version: tables[version])
    return tables


def test_what_a_file_leaves_out_has_the_default_of_its_version(second):
    table = {"task": {"kind": "linear_teacher"}, "rule": {"kind": "descent", "learning_rate": 0.1}}
    meant = fields.as_meant(table, 1)
    assert meant["initialization"] == {"scale": 1e-3}
    assert meant["task"]["inputs"] == second[1]["task linear_teacher"].defaults["inputs"]
    assert meant["rule"] == {"batch": 0, "kind": "descent", "learning_rate": 0.1}
    assert fields.as_meant(table, 2) == table


def test_kinds_that_a_stored_sweep_names_keep_their_defaults(second):
    """A sweep of version 1 over rules: descent drew no batches by default then."""
    stored = {**LINEAR.table(), "version": 1, "rule": {"kind": "descent", "learning_rate": 0.1}}
    sweep = design.from_sweep_table({"experiment": stored, "grid": {"rule.learning_rate": [0.2]}})
    assert sweep.version == 1 and sweep.table()["experiment"]["version"] == 1
    assert [e.rule.batch for e in sweep.experiments(range(1))] == [0]


def test_units_of_a_stored_teacher_keep_their_defaults(second):
    kernel = second[1]["unit conv_relu"]._replace(defaults={"kernel": [3], "stride": 1})
    second[2]["unit conv_relu"] = kernel
    meant = fields.as_meant({"task": {"kind": "teacher", "unit": "conv_relu"}}, 1)
    assert meant["task"]["options_of_unit"] == {"kernel": [2]}


def test_what_a_file_says_stays(second):
    table = {"initialization": {"scale": 0.25}, "task": {"kind": "linear_teacher", "inputs": 3}}
    meant = fields.as_meant(table, 1)
    assert meant["initialization"] == {"scale": 0.25} and meant["task"]["inputs"] == 3


def test_identities_stay_where_a_default_changes(registries, second):
    """(c) inputs = 4 was the default and is left out of an identity; 7, today's, is not."""

    @dataclass(frozen=True)
    class Today(LinearTeacher):
        inputs: int = 7

    usual = LinearTeacher().inputs
    for task, is_kept in ((Today(inputs=usual), False), (Today(), True)):
        assert ("inputs" in LINEAR.replace(task=task).determining()["task"]) == is_kept
    assert (
        LINEAR.replace(task=Today(inputs=usual)).identity
        == LINEAR.replace(task=LinearTeacher()).identity
    )


def test_the_code_is_what_the_newest_table_says(monkeypatch):
    """Where this fails, a field came or a default changed: `python tools/fields.py --write` makes
    the table of a new version, and what older ones wrote keeps its meaning."""
    assert tool.new() == []
    monkeypatch.setattr(tool, "MEASURES", (*tool.MEASURES, "postures"))
    words = f"measure: postures = '(absent)' in version {fields.VERSION}, False in the code"
    assert tool.new() == [words]


def test_a_changed_default_needs_a_new_version(monkeypatch):
    @dataclass(frozen=True)
    class Larger(Initialization):
        scale: float = 0.5

    monkeypatch.setattr(tool, "Initialization", Larger)
    words = f"initialization: scale = 0.001 in version {fields.VERSION}, 0.5 in the code"
    assert tool.new() == [words]


def test_a_new_field_of_sweeps_is_seen(monkeypatch):
    monkeypatch.setattr(tool, "Sweep", type(with_later(Sweep(LINEAR))))
    words = f"sweep: later = '(absent)' in version {fields.VERSION}, 3.0 in the code"
    assert tool.new() == [words]


def test_the_next_table_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "MEASURES", (*tool.MEASURES, "postures"))
    monkeypatch.setattr(tool, "TABLES", tmp_path)
    assert tool.main(write=False) == 1 and tool.main(write=True) == 0
    version = fields.RELEASED + 1
    assert f"must be {version}" in capsys.readouterr().out
    written = json.loads((tmp_path / f"{version}.json").read_text())
    assert written["measure"]["defaults"]["postures"] is False


# ---------------------------------------------------------- versions of files
def test_a_table_says_its_version(second, monkeypatch):
    monkeypatch.setattr("saddlery.experiments.experiment.VERSION", 2)
    assert LINEAR.table()["version"] == 2
    assert from_table(LINEAR.table()) == LINEAR


def test_stored_runs_that_do_not_say_are_of_the_first(second, tmp_path):
    """A run of version 1 whose file leaves the scale out was begun at 1e-3, whatever the default is
    now."""
    e = LINEAR.replace(stop=Stop(steps=3))
    save_run(train(e.replace(initialization=Initialization(scale=1e-3))), tmp_path / "run")
    path = tmp_path / "run" / "experiment.toml"
    text = path.read_text().replace("scale = 0.001\n", "").replace("version = 1\n", "")
    path.write_text(text)
    assert load_run(tmp_path / "run").experiment.initialization.scale == 1e-3


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (
            99,
            "written in version 99 of experiments, this saddlery reads up to "
            f"{fields.VERSION}; install a later one",
        ),
        (0, "version must be a whole number from 1 on, got 0; leave it out"),
        ("1", "version must be a whole number from 1 on, got '1'; leave it out"),
        (True, "version must be a whole number from 1 on, got True; leave it out"),
    ],
)
def test_other_versions_are_one_sentence(version, words):
    with pytest.raises(InputError, match=f"^{words}$"):
        from_table({**LINEAR.table(), "version": version})


def test_a_missing_table_is_one_sentence(monkeypatch):
    monkeypatch.setattr(fields, "VERSION", 99)
    with pytest.raises(InputError, match=r"^the table of version \d+ of experiments is missing"):
        fields.check_version(1)


def test_a_field_that_no_version_knows_is_one_sentence():
    with pytest.raises(InputError, match="later"):
        from_table({**LINEAR.table(), "initialization": {"scale": 1e-3, "later": 3.0}})


def test_rules_of_ones_own_are_written_whole(registries):
    @dataclass(frozen=True)
    class Own(GradientFlow):
        kind = "own"
        extra: float = 1.0

    assert LINEAR.replace(rule=Own()).determining()["rule"]["extra"] == 1.0
    assert np.isscalar(Own().extra)
