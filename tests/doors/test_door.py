"""What comes from outside: numbers of other libraries are kept as Python's own, and whatever is
wrong is one sentence, rc 2, before anything runs. Oracles: (c) a run of NumPy's numbers is that of
Python's; (d) archives and files made by hand."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tracemalloc
import warnings
import zipfile
from dataclasses import fields
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import (
    Experiment,
    Initialization,
    Layer,
    Network,
    certify,
    load_run,
    mechanism,
    saddle_graph,
    save_run,
    stages,
    tasks,
    train,
    units,
    visit,
)
from saddlery.basis.checks import InputError, settle, whole
from saddlery.basis.echo import Words, shown
from saddlery.cli import main
from saddlery.doors.door import (
    MEMBERS,
    npz_headers,
    parse_json,
    read_bytes,
    read_json,
    read_npy,
    read_npz,
    read_text,
    read_toml,
)
from saddlery.experiments.changes import parsed
from saddlery.experiments.experiment import find, from_table
from saddlery.rules import RULES, Adam, GradientDescent, GradientFlow
from saddlery.sweeps import Drawn, Sweep, design_of, run_sweep
from saddlery.tasks import (
    TASKS,
    Arrays,
    ConvolutionalLinearTeacher,
    Hierarchy,
    InContextRegression,
    LinearTeacher,
    OrthogonalPatches,
    OrthogonalReLU,
    Teacher,
)
from saddlery.training import Stop

FIXTURES = Path(__file__).parent.parent / "fixtures" / "schema-1"
LINEAR = """[task]
kind = "linear_teacher"
singular_values = [1.0, 0.4]
[network]
layers = [{ unit = "linear", width = 3 }]
[initialization]
scale = 0.1
[rule]
kind = "descent"
learning_rate = 0.1
[stop]
steps = 5
"""


def one_sentence(capsys, *arguments: object, code: int = 2) -> str:
    """The sentence on stderr of a command that fails with this code, and says nothing else."""
    try:
        got = main([str(a) for a in arguments])
    except SystemExit as left:
        got = left.code
    out, err = capsys.readouterr()
    assert got == code, err
    assert (
        out == ""
        and err.startswith("saddlery: ")
        and err.count("\n") == 1
        and "unexpected" not in err
    )
    assert "Traceback" not in err and len(err) < 600
    return err


# ------------------------------------------------------------------------- echo
def test_values_are_shown_on_one_line_and_short():
    assert (
        shown("abc") == "'abc'"
        and shown(1.5) == "1.5"
        and shown((1,)) == "(1,)"
        and shown([True, None]) == "[True, None]"
    )
    assert shown(Words("our own")) == "our own"
    assert shown(10**4999) == "a whole number of about 5,000 digits" and shown(-(10**400)).endswith(
        "401 digits"
    )
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for value in (
        "x" * 10**6,
        [10**5000] * 3,
        np.ones((500, 500)),
        nested,
        {"a": "b" * 500},
        "line\nline",
    ):
        assert len(shown(value)) <= 80 and "\n" not in shown(value)
    while nested:  # let it go level by level, as Python's own end of nested lists is recursive
        nested = nested[0]


# ------------------------------------------------------------- D5: what is kept
SCALARS = {
    "numpy int": (np.arange(3)[1], 1),
    "numpy uint8": (np.uint8(7), 7),
    "array without axes": (np.array(4), 4),
    "jax int": (jnp.asarray(5), 5),
}
REALS = {
    "float64": np.float64(0.25),
    "float32": np.float32(0.25),
    "float16": np.float16(0.25),
    "jax": jnp.asarray(0.25),
}


@pytest.mark.parametrize("name", SCALARS)
def test_whole_numbers_of_other_libraries(name, tmp_path):
    """(c) A run of them is saved, and has the identity and the bits of the run of Python's own."""
    given, number = SCALARS[name]
    run, plain = train("linear", seed=given), train("linear", seed=number)
    assert type(run.experiment.seed) is int and run.experiment == plain.experiment
    assert run.experiment.identity == plain.experiment.identity
    np.testing.assert_array_equal(run.trajectory.states, plain.trajectory.states)
    assert load_run(save_run(run, tmp_path / "run")).experiment == plain.experiment


@pytest.mark.parametrize("name", REALS)
def test_numbers_of_other_libraries_in_every_field(name):
    real, two, list_of = REALS[name], np.int64(2), np.array([1.0, 0.5])
    made = Experiment(
        LinearTeacher(list_of, inputs=two, noise=real, rotate=np.bool_(True)),
        Network(
            [
                Layer(
                    units.make("conv_linear", kernel=np.array([2]), stride=two),
                    two,
                    mixes=np.bool_(True),
                )
            ]
        ),
        Stop(real, np.int64(9), real, real),
        Initialization("lambda_balanced", real, imbalance=real),
        Adam(real, np.int64(0), real, real),
        seed=np.int32(3),
        moments=np.bool_(False),
    )
    plain = Experiment(
        LinearTeacher((1.0, 0.5), inputs=2, noise=0.25, rotate=True),
        Network((Layer(units.make("conv_linear", kernel=(2,), stride=2), 2),)),
        Stop(0.25, 9, 0.25, 0.25),
        Initialization("lambda_balanced", 0.25, imbalance=0.25),
        Adam(0.25, 0, 0.25, 0.25),
        seed=3,
        moments=False,
    )
    assert (
        made.identity == plain.identity
        and Experiment.from_toml(made.to_toml()).identity == plain.identity
    )
    for part, other in ((made.task, plain.task), (made.stop, plain.stop), (made.rule, plain.rule)):
        assert part == other
        for entry in fields(part):
            assert type(getattr(part, entry.name)) is type(getattr(other, entry.name)), entry.name
    assert json.dumps(made.table()) == json.dumps(plain.table())


def test_a_sweep_of_numpy_numbers_is_that_of_plain_ones(tmp_path):
    base = Experiment.from_toml(LINEAR)
    path = "initialization.scale"
    made = Sweep(
        base,
        {path: np.array([0.1, 0.2])},
        seeds=np.int64(2),
        first_seed=np.uint8(3),
        batch=np.int16(2),
    )
    plain = Sweep(base, {path: (0.1, 0.2)}, seeds=2, first_seed=3, batch=2)
    assert made.to_toml() == plain.to_toml() and made.identity == plain.identity
    drawn = Sweep(
        base,
        random={path: Drawn("uniform", np.array([0.1, 0.2]))},
        draws=np.int64(3),
        draw_seed=np.int64(1),
    )
    assert Sweep.from_toml(drawn.to_toml()).identity == drawn.identity
    assert run_sweep(made, tmp_path / "out", engine="here").made == 4


@pytest.mark.parametrize("kind", sorted(TASKS))
def test_every_option_of_every_task_is_checked_by_its_kind(kind):
    """A list for a number, a number for a list, text for a truth: one sentence that names the
    option."""
    for entry in fields(TASKS[kind]):
        for wrong in (
            object(),
            [[[]]],
            "soon" if entry.type != "str" else 7,
            True if "bool" not in str(entry.type) else 3,
        ):
            with pytest.raises(InputError, match=entry.name) as caught:
                tasks.make(kind, **{entry.name: wrong}).data(0)
            assert "\n" not in str(caught.value) and "could not be made" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(RULES))
def test_every_option_of_every_rule_is_checked_by_its_kind(kind):
    for entry in fields(RULES[kind]):
        for wrong in (object(), [1.0], "soon", True, 10**400, float("nan")):
            with pytest.raises(InputError, match=entry.name) as caught:
                RULES[kind](**{entry.name: wrong})
            assert "\n" not in str(caught.value)


def test_whole_numbers_keep_their_kind_in_fields_of_either():
    """80 and 80.0 are different texts, whose hash the first version kept: both stay as they were
    given."""
    assert (
        type(Stop(flow_time=80).flow_time) is int and type(Stop(flow_time=80.0).flow_time) is float
    )
    assert (
        settle(GradientFlow()) == GradientFlow() and whole(np.uint64(2**63 - 1), "x") == 2**63 - 1
    )


# ------------------------------------------------------------------- D6: texts
LONG = "9" * 5000
TEXTS = {
    "rule = 1": (LINEAR.replace(('[rule]\nkind = "descent"\nlearning_rate '
        '= 0.1\n'), "").replace("[task]", "rule = 1\n[task]", 1),
                 r"\[rule\] must be a table, got 1"),
    "400 digits": (LINEAR.replace("0.4]", "9" * 400 + "]"), ("must be below 2.63 in size.*about "
        "40. digits")),
    "5,000 digits": (f"seed = {LONG}\n{LINEAR}", "not valid TOML, Exceeds the limit"),
    "a 400-digit float": (LINEAR.replace("0.4]", "9" * 400 + ".0]"), ("singular_values must be"
                                                                      " finite "
        "numbers above zero")),
    "a thousand brackets": (LINEAR.replace("0.4]", "[" * 1000 + "]" * 1000 + "]"), ("nested at most 32 "
        "deep")),
    "200,000 brackets": ("a = " + "[" * 200_000, "nested at most 32 deep"),
    "a key of a million parts": ("a." * 1_000_000 + "a = 1", "nested at most 32 deep"),
    "five megabytes": ("# " + "x" * 5 * 2**20, "a file of at most 4 MB, got more"),
    "true for a number": (LINEAR.replace("0.4]", "true]"), r"singular_values must be a list of"
                                                           r" numbers, got \(1.0, True\)"),
    "a date": (f"seed = 2026-01-01\n{LINEAR}", "seed must be a whole number"),
    "a date that is none": (f"seed = 2026-02-31\n{LINEAR}", "not valid TOML"),
    "a time": (LINEAR.replace("steps = 5", "steps = 12:00:00"), "steps must be a whole number"),
    "a large seed": (f"seed = {2**63}\n{LINEAR}", "seed must be below 2.63"),
    "text for text": (f"name = {'[' * 3}{']' * 3}\n{LINEAR}", "name must be text"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_experiments(name, tmp_path, capsys):
    text, message = TEXTS[name]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Experiment.load(path).data  # noqa: B018
    sentence = one_sentence(capsys, "train", path, "--out", tmp_path / "run")
    assert str(caught.value) in sentence and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task.singular_values=[1.0, true]", "singular_values must be a list of numbers"),
        ("task.singular_values=[1.0, " + "9" * 400 + "]", "must be below 2^63 in size"),
        ("task.singular_values=" + "[" * 1000 + "]" * 1000, "nested at most 32 deep"),
        ("seed=" + LONG, "seed must be a whole number of at least 0, got '999"),
        (
            "initialization.scale=" + "9" * 400 + ".0",
            "scale of the initialization must be a finite number above zero, got inf",
        ),
        ("rule=1", "'rule' is a table; name a key in it"),
        ("network.layers." + LONG + "=1", "there is no '999"),
        ("network.layers.0.width=1e9", "width must be a whole number"),
        ("network.layers.0.width=1000000000", "at most 1,000,000 parameters"),
        ("network.layers.0.width=10000000000", "at most 1,000,000 parameters"),
        ("task.count=30000", "count must be left out when singular_values are given"),
        ("x" * 10_000, "--set needs KEY=VALUE"),
        ("x" * 10_000 + "=1", "key 'xxx"),
        ("seed=1\nseed=2", "--set"),
    ],
)
def test_changes_on_the_command_line(change, message, capsys, tmp_path):
    sentence = one_sentence(capsys, "train", "linear", "--set", change, "--out", tmp_path / "run")
    assert message in sentence and len(sentence) < 500


def test_arguments_are_echoed_short(capsys):
    for arguments in (
        ["train", "linear", "--seed", LONG],
        ["list", "y" * 5000],
        ["z" * 5000],
        ["train", "linear", "q" * 5000],
    ):
        assert len(one_sentence(capsys, *arguments)) < 400
    for command in ("train", "certify"):
        sentence = one_sentence(capsys, command, "w" * 200)
        assert len(sentence) < 500 and "is not known" in sentence


def test_values_of_changes_are_read_as_before():
    assert parsed(["a=1e-3", "b=[1, 2]", "c=adam", "d='x.y'"]) == {
        "a": 1e-3,
        "b": [1, 2],
        "c": "adam",
        "d": "x.y",
    }


SWEEPS = {
    "integers beyond 64 bits": (
        f"[random.fields]\nseed2.integers = [0, {2**64}]",
        "must be below 2^63 in size",
    ),
    "seeds that end beyond": (
        f"first_seed = {2**63 - 1}\nseeds = 2",
        "the last seed must be below 2^63",
    ),
    "a large scale": (f'[grid]\n"initialization.scale" = [{2**200}]', "must be below 2^63 in size"),
    "a nested value": (
        '[grid]\n"initialization.scale" = [[[0.1]]]',
        "scale of the initialization must be a finite number",
    ),
    "a date": (
        '[grid]\n"initialization.scale" = [2026-01-01]',
        "a list of texts, numbers, true or false",
    ),
    "a width beyond all": (
        '[grid]\n"network.layers.0.width" = [3, 1000000000]',
        "width must be at most 1,000,000",
    ),
    "numbers too far apart": (
        '[random.fields]\n"initialization.scale".uniform = [-1.7e308, 1.7e308]',
        "less than 1e308 apart",
    ),
    "more runs than there are": (f"seeds = {2**62}", "at most 1,000,000,000 runs"),
    "a million draws of nothing": ("[random]\ndraws = 3", "at least one field"),
    "a truth for seeds": ("seeds = true", "seeds must be a whole number"),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_texts_of_sweeps(name, tmp_path, capsys):
    text, message = SWEEPS[name]
    (tmp_path / "base.toml").write_text(LINEAR)
    path = tmp_path / "sweep.toml"
    path.write_text(f'experiment = "base.toml"\n{text}\n')
    for more in ([], ["--plan"]):
        assert message in one_sentence(
            capsys, "sweep", path, "--engine", "here", "--out", tmp_path / "out", *more
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e: Sweep(e, {"initialization.scale": [2**200]}), "below 2.63 in size"),
        (lambda e: Sweep(e, {"initialization.scale": [object()]}), "texts, numbers, true or false"),
        (lambda e: Sweep(e, {"initialization.scale": 0.1}), "a list of values"),
        (lambda e: Sweep(e, seeds=2, first_seed=2**63 - 1), "the last seed must be below 2.63"),
        (lambda e: Sweep(e, random={"seed2": Drawn("integers", (0, 2**63))}), "integers"),
        (lambda e: Sweep(e, grid=[1]), "grid must be a table"),
    ],
)
def test_sweeps_in_python(make, message):
    with pytest.raises(InputError, match=message):
        make(Experiment.from_toml(LINEAR))


# ---------------------------------------------------------------- D7: how large
LARGE = {
    "samples": (lambda: Teacher(samples=10**8), "samples, inputs and outputs"),
    "samples beyond memory": (lambda: Teacher(samples=10**18), "samples, inputs and outputs"),
    "units of a teacher": (lambda: Teacher(count=10**9), "count, inputs and outputs"),
    "inputs of a teacher": (lambda: Teacher(inputs=(10**9,)), "samples, inputs and outputs"),
    "weights of its units": (lambda: Teacher(inputs=(10**5,)), "weights of a unit of the teacher"),
    "outputs of a teacher": (lambda: Teacher(outputs=10**9), "samples, inputs and outputs"),
    "a large image": (
        lambda: Teacher("conv_relu", inputs=(1, 10**6, 10**6)),
        "samples, inputs and outputs",
    ),
    "singular values": (lambda: LinearTeacher(count=30_000), "count must be at most 4,096"),
    "singular values beyond memory": (
        lambda: LinearTeacher(count=10**12),
        "count must be at most 4,096",
    ),
    "linear inputs": (lambda: LinearTeacher((1.0,), inputs=30_000), "inputs must be at most 4,096"),
    "a convolutional teacher": (
        lambda: ConvolutionalLinearTeacher(kernel=10**6),
        "kernel . positions must be at most",
    ),
    "levels": (lambda: Hierarchy(10**9, 2), "levels must be below 64"),
    "branches": (lambda: Hierarchy(2, 10**15), "at most 4096 items"),
    "orthogonal inputs": (lambda: OrthogonalReLU(inputs=50_000), "inputs must be at most 4,096"),
    "positions": (lambda: OrthogonalPatches(positions=10**6), "amplitudes, kernel and positions"),
    "patches": (lambda: OrthogonalPatches(kernel=10**6), "kernel must be at most 4,096"),
    "prompts": (lambda: InContextRegression(sequences=10**10), "sequences and length"),
    "long prompts": (lambda: InContextRegression(length=10**10), "sequences and length"),
    "wide prompts": (lambda: InContextRegression((1.0,) * 300), "eigenvalues must be at most 64"),
}


@pytest.mark.parametrize("name", LARGE)
def test_sizes_are_looked_at_before_anything_is_drawn(name):
    make, message = LARGE[name]
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        make().data(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("width", [10**9, 10**10, 10**18])
@pytest.mark.parametrize(
    "verb", [train, saddle_graph, lambda e: e.objective(), lambda e: e.initial_state()]
)
def test_wide_networks_are_refused_at_once(width, verb):
    e = Experiment.named("linear")
    tracemalloc.start()
    with pytest.raises(InputError, match="at most 1,000,000 parameters"):
        verb(e.replace(network=e.network.with_widths([width])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


class Compared(str):
    """A text that counts how often one is held against another."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Compared.times += 1
        return str.__eq__(self, other)


def test_long_grids_are_linear_in_their_values():
    """Values are compared by hash: 2,000 of them pair by pair would be two million comparisons."""
    from saddlery.sweeps.design import _different

    names = [Compared(number) for number in range(2_000)]
    assert len(_different("a", names)) == 2_000
    assert Compared.times < 2_000
    with pytest.raises(
        InputError, match=r"grid a must be different values, got \[\[1, 2\]\] twice"
    ):
        _different("a", [[1, 2], [3], [1, 2]])


# --------------------------------------------------------- D8: marks and endings
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["e1.toml", "E1.TOML", "e1.Toml"])
def test_experiments_of_any_mark_and_ending(name, encoding, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(LINEAR.encode(encoding))
    assert find(name) == Experiment.from_toml(LINEAR) == Experiment.load(name)
    assert main(["stages", name]) == 0
    (tmp_path / "s.toml").write_text(f'experiment = "{name}"\n')
    assert len(Sweep.load("s.toml")) == 1
    capsys.readouterr()


def test_a_text_that_kept_its_mark():
    assert read_toml("\N{ZERO WIDTH NO-BREAK SPACE}a = 1", "x") == {"a": 1}


# -------------------------------------------------------------- D9: what verbs take
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "r"
    save_run(train("linear"), place)
    return place


def test_verbs_take_folders_names_and_tables(folder, tmp_path):
    run = load_run(folder)
    assert len(stages(str(folder))) == len(stages(folder)) == 3
    assert [s.certificate.verdict for s in certify(str(folder)).stages] == [
        "strict saddle",
        "strict saddle",
        "minimum",
    ]
    assert visit(folder, np.int64(1)).verdict == visit(run, (1,)).verdict
    assert repr(mechanism(folder)) == repr(mechanism(stages(run)))
    assert train(read_toml(LINEAR)).experiment == Experiment.from_toml(LINEAR)
    assert len(saddle_graph("linear").nodes) == 4
    (tmp_path / "sweep.toml").write_text('experiment = "base.toml"\nseeds = 2\n')
    (tmp_path / "base.toml").write_text(LINEAR)
    assert run_sweep(tmp_path / "sweep.toml", tmp_path / "out", engine="here").made == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stages("nowhere"), "there is no such run folder"),
        (lambda: certify(3), "the subject must be a run, the path of its folder, or an experiment"),
        (
            lambda: train(3),
            "an experiment must be a shipped name or the path of a TOML file, got 3",
        ),
        (lambda: train({"task": 3}), "must be given"),
        (lambda: train({1: 2}), "key 1 is not known"),
        (lambda: run_sweep(3, "out"), "a sweep must be the path of a TOML file, got 3"),
        (
            lambda: run_sweep(Sweep(Experiment.named("linear")), "out", engine="heer"),
            "did you mean 'here'",
        ),
        (
            lambda: run_sweep(Sweep(Experiment.named("linear")), "out", engine=3),
            "engine must be an Engine or the name",
        ),
        (lambda: Sweep(3), "an experiment must be"),
        (lambda: Experiment(3, 4, 5), "task must be a Task, got 3"),
        (lambda: Experiment.from_toml(b"a = 1"), "must be a text"),
        (lambda: Network([3]), "layers must be a list of layers"),
        (lambda: Layer("relu", 3), "unit of a layer must be a Unit"),
    ],
)
def test_other_things_are_one_sentence(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------- D3, F4: archives
X, Y = np.random.default_rng(0).standard_normal((6, 3)), np.arange(6.0)


def bomb(path: Path, shape: tuple[int, ...], member: str = "inputs", **others: np.ndarray) -> Path:
    """An archive of a few kilobytes whose one member says to be zeros of this shape; its first
    megabyte is there."""
    header = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            f"{member}.npy",
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(2**20),
        )
        for name, array in others.items():
            with archive.open(f"{name}.npy", "w") as handle:
                np.lib.format.write_array(handle, array, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "; name a file in that folder"),
        ("a" * 300, "; give a shorter name"),
        ("file/b", "; a part of the path is a file; check it"),
        ("loop", "; its links lead back to themselves"),
        ("no", "; check the path"),
        ("a\0b", "cannot be the path of a file"),
    ],
)
def test_every_error_of_reading_has_its_own_remedy(name, words, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for read in (lambda path: read_text(path), read_npy, read_npz, read_json):
        with pytest.raises(InputError, match=words):
            read(tmp_path / name)


@pytest.mark.parametrize(("brackets", "inside"), [(31, "1"), (32, "")])
def test_the_deepest_that_is_read(brackets, inside):
    """A value within 31 brackets is the 32nd of its kind, and so is the last of 32 empty ones; one
    more is refused."""
    text = "[" * brackets + inside + "]" * brackets
    parse_json(text, "x")
    read_toml(f"a = {text[1:-1]}", "x")  # the table itself is the first level
    for read, deeper in ((parse_json, f"[{text}]"), (read_toml, f"a = {text}")):
        with pytest.raises(InputError, match="nested at most 32 deep"):
            read(deeper, "x")


def test_archives_that_say_two_things(tmp_path):
    """An array twice, of which readers differ in which they take, and one of another size than the
    archive says."""
    path = tmp_path / "twice.npz"
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(6.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the archive's writer warns of the second
        with zipfile.ZipFile(path, "w") as archive:
            for _ in range(2):
                archive.writestr("inputs.npy", buffer.getvalue())
    for read in (read_npz, npz_headers):
        with pytest.raises(InputError, match=r"inputs\.npy is there twice"):
            read(path)
    with pytest.raises(InputError, match=r"inputs of shape \(7, 3\) cannot be"):
        read_npz(bomb(tmp_path / "other.npz", (7, 3)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
    ],
)
def test_what_is_no_json(text, words, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_json(tmp_path / "a.json")


def test_further_arrays_are_not_looked_at(tmp_path):
    """Names as text, objects and bombs beside the two arrays asked for."""
    objects, names = np.array([{"a": 1}], dtype=object), np.array(["a", "b"])
    path = bomb(
        tmp_path / "all.npz",
        (10**6, 10**6),
        "huge",
        inputs=X,
        targets=Y,
        objects=objects,
        names=names,
    )
    data = Arrays(str(path)).data(0)
    np.testing.assert_array_equal(data.inputs, X)
    np.testing.assert_array_equal(data.targets, Y[:, None])
    assert npz_headers(path)["names"].dtype == names.dtype and npz_headers(path)["huge"].shape == (
        10**6,
        10**6,
    )
    assert list(read_npz(path, ["targets"])) == ["targets"]
    with pytest.raises(
        InputError, match=r"all.npz: objects: the file holds Python objects, which are never loaded"
    ):
        read_npz(path, ["objects"])


BOMBS = {
    "more than fits": ((2**20, 2**10), "inputs must be an array of at most 268,435,456 numbers"),
    "a size beyond 64 bits": ((2**40, 2**40), "inputs must be an array of at most"),
    "a negative axis": ((-(2**40), 3), "damaged"),
    "less than it says": ((2**12, 2**6), "damaged"),
    "more than it says": ((3, 3), r"damaged .*inputs of shape \(3, 3\) cannot be [0-9,]* bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_not_unpacked(name, tmp_path, capsys):
    shape, message = BOMBS[name]
    path = bomb(tmp_path / "bomb.npz", shape, targets=Y)
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        Arrays(str(path)).data(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6 and path.stat().st_size < 10_000
    (tmp_path / "e.toml").write_text(
        LINEAR.replace(
            '"linear_teacher"\nsingular_values = [1.0, 0.4]', '"arrays"\ninputs = "bomb.npz"'
        )
    )
    assert "bomb.npz" in one_sentence(
        capsys, "train", tmp_path / "e.toml", "--out", tmp_path / "run"
    )


def test_bombs_in_a_run_folder(folder, tmp_path, capsys):
    """Extras of a run's archive are not read; a bomb in place of the states is refused by its
    header."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    arrays = dict(np.load(folder / "trajectory.npz"))
    bomb(copy / "trajectory.npz", (10**6, 10**6), "extra", **arrays)
    assert load_run(copy).final_loss == load_run(folder).final_loss
    del arrays["states"]
    bomb(copy / "trajectory.npz", (10**6, 10**6), "states", **arrays)
    assert "damaged" in one_sentence(capsys, "stages", copy)
    (copy / "record.json").write_text("[" * 200_000)
    assert "nested at most 32 deep" in one_sentence(capsys, "stages", copy)


def test_npy_files_that_say_too_much(tmp_path):
    np.save(tmp_path / "x.npy", X)
    good = (tmp_path / "x.npy").read_bytes()
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), X)
    (tmp_path / "x.npy").write_bytes(good.replace(b"(6, 3)", b"(9**9,)"))
    with pytest.raises(InputError, match="damaged"):
        read_npy(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(
        good.replace(b"(6, 3), }", b"(66666, 3), }").replace(b"    \n", b"\n")
    )
    with pytest.raises(InputError, match="damaged"):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(InputError, match="at most 17 numbers"):
        np.save(tmp_path / "x.npy", X)
        read_npy(tmp_path / "x.npy", 17)


def test_what_a_damaged_file_holds_is_not_repeated_at_length(tmp_path):
    """zipfile quotes all that it took for a name: a length that was changed makes that a thousand
    letters."""
    np.savez(tmp_path / "x.npz", inputs=X, targets=X)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[26:28] = (400).to_bytes(2, "little")  # of the first member's name
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(InputError, match="damaged or not a NumPy file") as caught:
        Arrays(str(tmp_path / "x.npz")).data(0)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_every_flipped_byte_of_an_archive_is_a_sentence_or_the_data(tmp_path):
    """200 mutations of a small archive, none of which ends in an error of another library."""
    np.savez_compressed(tmp_path / "good.npz", inputs=X, targets=Y)
    good, rng = (tmp_path / "good.npz").read_bytes(), np.random.default_rng(1)
    for k in range(200):
        content = bytearray(good)
        content[rng.integers(len(good))] ^= int(rng.integers(1, 256))
        path = tmp_path / "bad.npz"
        path.write_bytes(bytes(content[: rng.integers(len(good))] if k % 4 == 0 else content))
        try:
            arrays = read_npz(path, ["inputs", "targets"])
        except InputError as error:
            assert "\n" not in str(error) and "bad.npz" in str(error)
        else:
            assert (
                arrays["inputs"].shape[0] == 6
                or arrays["inputs"].dtype != X.dtype
                or arrays["inputs"].size == X.size
            )


def test_bytes_texts_and_records(tmp_path):
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="nested at most 32 deep"):
        read_json(tmp_path / "x.json")
    for text in ("{", "9" * 5000, '{"a": 1e', "nul", f'{{"a": {10**30}}}'):
        with pytest.raises(InputError, match=r"^here: "):
            parse_json(text, "here")
    assert parse_json('{"a": [1, 2.5, null]}', "here") == {"a": [1, 2.5, None]}
    with pytest.raises(InputError, match="a file of at most 1 MB, got more"):
        read_bytes("/dev/zero", 2**20)
    for path, message in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "no such file"),
        ("a\0b", "cannot be the path"),
    ):
        with pytest.raises(InputError, match=message):
            read_bytes(path, 10)
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for k in range(MEMBERS + 1):
            archive.writestr(f"{k}.npy", b"")
    with pytest.raises(InputError, match="an archive of at most 10,000 arrays"):
        read_npz(tmp_path / "many.npz", ["0"])


# ----------------------------------------------------- D4: what a run will meet
def on_data(tmp_path, size, unit="linear", targets=1.0, **changes):
    x = np.random.default_rng(2).standard_normal((20, 3))
    np.savez(
        tmp_path / "data.npz",
        inputs=size * x,
        targets=targets * (x @ np.array([[1.0, 0.5], [0.2, -1.0], [0.0, 0.3]])),
    )
    e = Experiment.named(unit)
    stop = changes.pop("stop", Stop(flow_time=50.0))
    return e.replace(
        task=Arrays(str(tmp_path / "data.npz")),
        network=e.network.with_widths([3]),
        stop=stop,
        **changes,
    )


@pytest.mark.parametrize(
    ("size", "targets", "message"),
    [
        (
            1e9,
            1.0,
            r"fastest direction moves at rate .*inputs of size .*steps of an explicit solver,"
            r" more than 1e\+09; standardise",
        ),
        (1e19, 1.0, "fastest direction moves at rate .*more than"),
        (1.0, 1e12, "fastest direction moves at rate .*targets of .*more than"),
        (
            1e160,
            1.0,
            r"inputs must be of a size between 1e-75 and 1e\+75, got numbers of up to .*e\+160;"
            r" standardise",
        ),
        (1e-200, 1.0, r"inputs must be of a size between .*e-200; standardise"),
        (1.0, 1e160, "targets must be of a size between"),
    ],
)
def test_sizes_that_no_run_bears(size, targets, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(on_data(tmp_path, size, targets=targets))


def test_what_is_foretold_comes_true(tmp_path):
    """(d) The steps that the first curvature foretells beside those a flow takes, within a factor
    of three."""
    import saddlery.experiments.foresight as foresight

    e = on_data(tmp_path, 300.0, stop=Stop(flow_time=20.0))
    rate = foresight.rate(e.objective(), e.initial_state())
    assert rate == pytest.approx(np.linalg.eigvalsh(_hessian(e))[[0, -1]].__abs__().max(), rel=0.1)
    taken = int(train(e).trajectory.step[-1])
    assert 1 / 3 < taken / (rate * 20.0 / foresight.REACH) < 3


def _hessian(e):
    objective, start = e.objective(), e.initial_state()
    return np.stack(
        [np.asarray(objective.hessian_vector(start, row)) for row in np.eye(len(start))]
    )


def test_what_is_far_from_usual_is_said_before_and_kept(tmp_path, capsys):
    e = on_data(tmp_path, 1e6, stop=Stop(flow_time=50.0, steps=30))
    heard = []
    run = train(e, note=heard.append)
    assert tuple(heard) == run.warnings and len(heard) == 2
    assert "inputs are of size" in heard[0] and "steps of an explicit solver" in heard[1]
    (tmp_path / "e.toml").write_text(e.to_toml())
    assert main(["train", str(tmp_path / "e.toml"), "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert all(f"note: {words}" in err for words in heard)
    assert list(load_run(tmp_path / "run").warnings) == heard
    descent = train(
        on_data(tmp_path, 30.0, rule=GradientDescent(0.1), stop=Stop(steps=1)), keep_failed=True
    )
    (said,) = descent.warnings
    assert "stable up to a learning rate of" in said
    assert train(on_data(tmp_path, 1.0, stop=Stop(steps=3, flow_time=50.0))).warnings == ()


@pytest.mark.parametrize("scale", [1e200, 1e100])
def test_a_start_beyond_the_numbers(scale, capsys, tmp_path):
    with pytest.raises(
        InputError,
        match=r"at the initial weights must be finite, got .*lower the scale of the initialization",
    ):
        train(Experiment.named("linear").replace(initialization=Initialization(scale=scale)))
    sentence = one_sentence(
        capsys,
        "train",
        "linear",
        "--set",
        f"initialization.scale={scale}",
        "--out",
        tmp_path / "run",
    )
    assert "learning rate" not in sentence and "lower the scale of the initialization" in sentence


# ------------------------------------------------------------- F2: moved data
@pytest.fixture
def moved(tmp_path):
    """The fixtures of version 0.1.0 in a folder they were not made in; their CSV run says where its
    data were."""
    return shutil.copytree(FIXTURES, tmp_path / "elsewhere" / "schema-1")


def test_a_run_of_the_first_version_finds_its_moved_data(moved, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (moved / "runs" / "csv" / "experiment.toml").read_text()
    (moved / "runs" / "csv" / "experiment.toml").write_text(text)
    run = load_run(moved / "runs" / "csv")
    assert np.isclose(
        float(run.objective().loss(run.trajectory.states[-1])), run.final_loss, rtol=1e-9
    )
    assert len(certify(run)) >= 1
    assert main(["certify", str(moved / "runs" / "csv")]) == 0
    capsys.readouterr()


def lost(moved: Path, monkeypatch) -> Path:
    """The CSV run where the path it was trained on does not exist on this machine."""
    real = os.path.isfile
    monkeypatch.setattr(
        os.path, "isfile", lambda path: not str(path).startswith("/work/main") and real(path)
    )
    original = Arrays._matching

    def matching(self):
        if self.inputs.startswith("/work/main"):
            raise InputError(f"{self.inputs}: there is no such file; check the path")
        return original(self)

    monkeypatch.setattr(Arrays, "_matching", matching)
    return moved / "runs" / "csv"


def test_data_are_found_by_the_last_parts_of_their_path(moved, monkeypatch, capsys):
    folder = lost(moved, monkeypatch)
    run = load_run(folder)
    assert run.experiment.task.inputs == str(moved / "experiments" / "data.csv")
    assert json.loads((folder / "record.json").read_text())["identity"] == "3b97e64af726"
    assert len(certify(folder)) >= 1
    assert main(["stages", str(folder), "--json"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("whole", [True, False])
def test_data_are_given_anew(whole, moved, monkeypatch, capsys, tmp_path):
    folder = lost(moved, monkeypatch)
    (tmp_path / "far" / "away").mkdir(parents=True)
    place = tmp_path / "far" / "away" / ("data.csv" if whole else "other.csv")
    shutil.move(moved / "experiments" / "data.csv", place)
    with pytest.raises(InputError, match="no such file"):
        load_run(folder).objective()
    given = place.parent if whole else place
    assert load_run(folder, data=given).experiment.task.inputs == str(place)
    assert main(["certify", str(folder), "--data", str(given)]) == 0
    capsys.readouterr()
    place.write_text("1,2,3\n4,5,7\n")
    assert "got none with their numbers" in one_sentence(capsys, "certify", folder, "--data", given)
    assert "no such file or folder" in one_sentence(
        capsys, "certify", folder, "--data", tmp_path / "nowhere"
    )
    assert "leave it out" in one_sentence(capsys, "certify", "linear", "--data", given)


def test_where_data_lie_is_no_part_of_what_a_run_is(tmp_path):
    task = '"arrays"\ninputs = "data.csv"\ncolumns = 1'
    text = LINEAR.replace('"linear_teacher"\nsingular_values = [1.0, 0.4]', task)
    identities = set()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "data.csv").write_text("x,y\n1.5,2.25\n0.5,-1.5\n-1.25,0.75\n")
        (tmp_path / place / "e.toml").write_text(text)
        identities.add(Experiment.load(tmp_path / place / "e.toml").pinned().identity)
    assert len(identities) == 1
    (tmp_path / "b" / "data.csv").write_text("x,y\n1.5,2.25\n0.5,-1.5\n-1.25,0.7500001\n")
    assert Experiment.load(tmp_path / "b" / "e.toml").pinned().identity not in identities


def test_a_sweep_on_data_is_resumed_where_it_was_moved(tmp_path):
    """Also one whose folder the first version named by the places of its data."""
    (tmp_path / "old").mkdir()
    task = '"arrays"\ninputs = "data.csv"\ncolumns = 1'
    (tmp_path / "old" / "e.toml").write_text(
        LINEAR.replace('"linear_teacher"\nsingular_values = [1.0, 0.4]', task)
    )
    (tmp_path / "old" / "data.csv").write_text("x,y\n1.5,2.25\n0.5,-1.5\n-1.25,0.75\n")
    (tmp_path / "old" / "s.toml").write_text('experiment = "e.toml"\nseeds = 4\nbatch = 2\n')
    assert run_sweep(tmp_path / "old" / "s.toml", tmp_path / "old" / "out", engine="here").made == 4
    record = tmp_path / "old" / "out" / "sweep.json"
    table = json.loads(record.read_text())
    former = Sweep.load(tmp_path / "old" / "out" / "sweep.toml").former_identities[-1]
    assert former != table["identity"]
    for path in (tmp_path / "old" / "out").glob("*/*"):
        path.rename(path.with_name(path.name.replace(table["identity"], former)))
    record.write_text(json.dumps({**table, "identity": former}))
    shutil.move(tmp_path / "old", tmp_path / "new")
    for path in (tmp_path / "new" / "out").glob("*/000001-*"):
        path.unlink()
    assert design_of(tmp_path / "new" / "out").experiment.task.inputs == str(
        tmp_path / "new" / "data.csv"
    )
    finished = run_sweep(
        tmp_path / "new" / "s.toml", tmp_path / "new" / "out", engine="here", resume=True
    )
    assert (finished.made, finished.kept, finished.failed) == (2, 2, {})
    with pytest.raises(InputError, match="give --resume"):
        run_sweep(tmp_path / "new" / "s.toml", tmp_path / "new" / "out", engine="here")


def test_tables_with_odd_keys():
    for table in (
        {"task": {"kind": "digits", "": 1}},
        {"rule": []},
        {"stop": None, "task": {}, "network": {}},
    ):
        with pytest.raises(InputError):
            from_table({"task": {}, "network": {}, "stop": {}, **table})
