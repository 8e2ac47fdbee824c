"""Experiments are their TOML files; every mistake in one is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saddlery import Experiment, Initialization, load_run, save_run, train, units
from saddlery.basis.checks import InputError
from saddlery.experiments.changes import changed
from saddlery.experiments.experiment import catalog, find, from_table
from saddlery.rules import Adam, GradientDescent, GradientFlow, Momentum
from saddlery.tasks import Digits, LinearTeacher, Teacher
from saddlery.training import Stop

MINIMAL = """
[task]
kind = "linear_teacher"
singular_values = [1.0, 0.4]
[network]
[[network.layers]]
unit = "linear"
width = 5
[stop]
flow_time = 10.0
"""


@pytest.mark.parametrize("name", catalog())
def test_shipped_experiments_round_trip(name):
    e = Experiment.named(name)
    again = Experiment.from_toml(e.to_toml())
    assert again == e
    assert again.identity == e.identity
    assert e.name == name and e.description
    assert name in repr(e)


@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-12, 1.0),
    width=st.integers(1, 9),
    rule=st.sampled_from(
        [
            GradientFlow(1e-5),
            GradientDescent(0.1),
            GradientDescent(0.1, batch=4),
            Momentum(0.2),
            Adam(),
        ]
    ),
    values=st.lists(st.floats(0.01, 10), min_size=1, max_size=4),
    moments=st.sampled_from([None, False]),
)
def test_round_trip(seed, scale, width, rule, values, moments):
    base = Experiment.from_toml(MINIMAL)
    e = base.replace(
        seed=seed,
        initialization=Initialization(scale=scale),
        rule=rule,
        moments=moments,
        network=base.network.with_widths([width]),
        task=LinearTeacher(tuple(values)),
    )
    assert Experiment.from_toml(e.to_toml()) == e


def test_identity_depends_on_what_determines_the_run_only():
    e = Experiment.from_toml(MINIMAL)
    assert e.replace(name="other", description="words").identity == e.identity
    for change in (
        {"seed": 1},
        {"stop": Stop(flow_time=11.0)},
        {"task": Digits()},
        {"precision": "float32"},
    ):
        assert e.replace(**change).identity != e.identity


def test_defaults_are_filled_in():
    e = Experiment.from_toml(MINIMAL)
    assert isinstance(e.rule, GradientFlow) and e.initialization.scale == 1e-3 and e.seed == 0
    assert e.initial_state().shape == (20,)
    assert np.array_equal(e.initial_state(), e.initial_state())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'unit = "linear"',
            'unit = "lineer"',
            r"layer|unit 'lineer' is not known; did you mean 'linear'",
        ),
        ("width = 5", "width = 0", "width must be a whole number of at least 1, got 0"),
        ("width = 5", "width = 2.5", "width must be a whole number"),
        ("width = 5", "widht = 5", "layer 0: width must be given"),
        (
            "width = 5",
            "width = 5\nbais = true",
            "option of unit 'linear' 'bais' is not known; did you mean 'bias'",
        ),
        (
            'kind = "linear_teacher"',
            'kind = "linear_techer"',
            "task 'linear_techer' is not known; did you mean 'linear_teacher'",
        ),
        ("singular_values", "singular_value", "did you mean 'singular_values'"),
        ("[1.0, 0.4]", "[1.0, -0.4]", None),
        ("[1.0, 0.4]", "[]", None),
        ("flow_time = 10.0", "flowtime = 10.0", "did you mean 'flow_time'"),
        ("flow_time = 10.0", "flow_time = -1.0", "flow_time must be a finite number above zero"),
        ("flow_time = 10.0", "", r"\[stop\] flow_time or steps must be given, got neither"),
        ("[stop]", "[stopp]", "key 'stopp' is not known; did you mean 'stop'"),
        (
            "[stop]",
            "[initialization]\nscale = 0.0\n[stop]",
            r"\[initialization\] scale of the initialization must be a finite",
        ),
        ("[stop]", "[initialization]\nscale = -1e-3\n[stop]", r"\[initialization\] scale"),
        (
            "[stop]",
            "[rule]\nkind = 'flwo'\n[stop]",
            "rule 'flwo' is not known; did you mean 'flow'",
        ),
        ("[stop]", "[rule]\nkind = 'descent'\nlearning_rate = 0\n[stop]", "learning_rate must be"),
        ("[task]", "seed = -1\n[task]", "seed must be a whole number"),
        ("[task]", "precision = 'float16'\n[task]", "precision 'float16' is not known"),
        ("[task]", "seed = 9223372036854775808\n[task]", "seed must be below 2"),
        ("[task]", "name = 3\n[task]", "name must be text, got 3"),
        ("width = 5", "width = 5\nmixes = 1", "mixes must be true or false, got 1"),
        ("width = 5", "width = 5\noutputs = 2.0", "outputs of a layer must be a whole number"),
        ("[network]", "[network]\nreadout = 1", "readout must be true or false, got 1"),
        ('unit = "linear"', 'unit = "linear"\nbias = 3', "bias must be true or false, got 3"),
        ("[task]", "moments = 3\n[task]", "moments must be true or false"),
        ("[task]\nkind", "[task]\nkidn", "kind must be given"),
        ("[network]", "[[network]]", "must be a table"),
    ],
)
def test_mistakes_are_named(old, new, message):
    text = MINIMAL.replace(old, new, 1)
    with pytest.raises(InputError, match=message) as caught:
        Experiment.from_toml(text, "my.toml").objective()
    if message:
        assert "my.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_malformed_toml_names_file_and_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("seed = 1\n[task\n")
    with pytest.raises(InputError, match=r"broken\.toml: not valid TOML, .*line 2"):
        Experiment.load(path)


def test_unknown_names_and_missing_files(tmp_path):
    with pytest.raises(InputError, match="did you mean 'linear'"):
        find("linaer")
    with pytest.raises(InputError, match="no such file"):
        find(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="leave out the ending: relu"):
        find("relu.toml")
    with pytest.raises(InputError, match=r"a shipped experiment is Experiment.named\('relu'\)"):
        Experiment.load("relu")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        find(tmp_path / "binary.toml")


def test_unknown_field():
    with pytest.raises(InputError, match="did you mean 'seed'"):
        Experiment.named("linear").replace(sede=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Experiment.named("linear").seed = 3


def test_a_network_too_large_to_record_is_refused():
    e = Experiment.from_toml(MINIMAL)
    huge = e.replace(network=e.network.with_widths([10**9]))
    with pytest.raises(
        InputError, match=r"at most 1,000,000 parameters.*got 4,000,000,000; lower a width"
    ):
        huge.initial_state()


# ---------------------------------------------------------------------- data files
@pytest.fixture
def own(tmp_path):
    """An experiment beside its data, in a folder that is not the current one."""
    (tmp_path / "data.csv").write_text("1,2\n-1,0.5\n0.25,-1\n")
    path = tmp_path / "mine.toml"
    task = '"arrays"\ninputs = "data.csv"\ncolumns = 1'
    path.write_text(MINIMAL.replace('"linear_teacher"\nsingular_values = [1.0, 0.4]', task))
    return path


def test_data_files_are_relative_to_the_experiment_file(own):
    e = Experiment.load(own)
    assert e.task.data(0).inputs.tolist() == [[1.0], [-1.0], [0.25]]
    assert Experiment.from_toml(e.pinned().to_toml()).pinned() == e.pinned()


def test_a_run_is_never_judged_by_other_data_than_it_saw(own, tmp_path):
    run = train(Experiment.load(own))
    folder = save_run(run, tmp_path / "run")
    assert load_run(folder).experiment == run.experiment == Experiment.load(own).pinned()
    assert load_run(folder).objective().loss(run.trajectory.states[-1]) == pytest.approx(
        run.final_loss, rel=1e-12
    )
    (tmp_path / "data.csv").write_text("1,2\n-1,0.5\n0.25,-1.0000001\n")
    with pytest.raises(
        InputError,
        match=r"data.csv: the data must be those the experiment was trained on, got other numbers",
    ):
        load_run(folder).objective()
    assert train(Experiment.load(own)).experiment.identity != run.experiment.identity


def test_the_unit_of_a_task_is_changed_alone():
    """Its own options go with it; the rest of the task stays, and so does a layer."""
    e = Experiment.named("tanh")
    made = from_table(changed(e.table(), {"task.unit": "relu"}))
    assert made == e.replace(task=dataclasses.replace(e.task, unit="relu"))
    like = Teacher("conv_relu", inputs=(1, 4), options_of_unit={"kernel": (2,)})
    table = changed(e.replace(task=like).table(), {"task.unit": "conv_linear"})
    assert "options_of_unit" not in table["task"] and table["task"]["inputs"] == [1, 4]
    table = changed(Experiment.named("relu_conv").table(), {"network.layers.0.unit": "relu"})
    assert table["network"]["layers"] == [{"unit": "relu", "width": 50}]


def test_what_is_given_to_an_experiment_may_change_later():
    """It keeps what it was given, however deep."""
    options = {"kernel": [2], "further": {"deep": [1]}}
    task = Teacher("conv_relu", inputs=(1, 4), options_of_unit=options)
    unit = dataclasses.replace(units.make("relu"), name="own", options=options)
    before = task.options(), dict(unit.options)
    options["kernel"].append(3)
    options["further"]["deep"].append(2)
    options["stride"] = 2
    assert (task.options(), dict(unit.options)) == before
    assert before[1] == {"kernel": [2], "further": {"deep": [1]}}


def test_a_misspelt_width_is_named():
    table = Experiment.named("linear").table()
    (layer,) = table["network"]["layers"]
    layer["widht"] = layer.pop("width")
    with pytest.raises(
        InputError, match=r"width must be given, got nothing; was it meant by 'widht'\?"
    ):
        from_table(table)
