"""The command line: records on stdout, talk on stderr, one sentence and a documented code for every
mistake."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from saddlery import cli, units
from saddlery.basis.checks import InputError
from saddlery.cli.commands import commands
from saddlery.cli.commands.list import COMMAND as LIST
from saddlery.cli.commands.list import first_sentence
from saddlery.experiments.changes import changed, parsed
from saddlery.experiments.experiment import catalog
from saddlery.rules import RULES
from saddlery.runs import store
from saddlery.tasks import TASKS

LISTING = "saddlery.cli.commands.list"
SMALL = ["--set", "network.layers.0.width=5", "--set", "stop.flow_time=30.0"]


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command in this process."""
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as leave:
        code = int(leave.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def trained(tmp_path, capsys) -> Path:
    assert run(capsys, "train", "linear", *SMALL, "--out", tmp_path / "run")[0] == 0
    return tmp_path / "run"


def test_a_session(trained, capsys):
    code, out, _ = run(capsys, "stages", trained)
    assert code == 0 and "intermediate" in out
    code, out, err = run(capsys, "certify", trained, "--json")
    record = json.loads(out)
    assert code == 0 and [s["effective_units"] for s in record["runs"][0]["stages"]] == [0, 1, 2]
    assert json.loads((trained / "stages.json").read_text()) == record
    assert "stages.json" in err
    code, out, _ = run(capsys, "report", trained)
    assert code == 0 and (trained / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_pages_of_predictions_and_of_the_graph(trained, tmp_path, capsys):
    """Beside the record and the table, which stay as they are."""
    page = tmp_path / "pages" / "beside.html"
    code, out, err = run(capsys, "compare", trained, "--page", page, "--json")
    theories = [entry["theory"] for entry in json.loads(out)["comparisons"]]
    text = page.read_text(encoding="utf-8")
    assert code == 0 and f"page in {page}" in err and text.startswith("<!doctype html>")
    assert [name for name in theories if f"<h2>{name}</h2>" not in text] == []
    code, out, err = run(capsys, "graph", "linear", *SMALL[:2], "--page", tmp_path / "graph.html")
    assert code == 0 and "strict saddle" in out
    assert "4 fixed points, 4 paths" in (tmp_path / "graph.html").read_text(encoding="utf-8")


def test_the_stable_record(trained, capsys):
    """Every field of the documented format, and null with a reason where a value does not exist."""
    (entry,) = json.loads(run(capsys, "certify", trained, "--json")[1])["runs"]
    assert {"experiment", "architecture", "seed", "final_loss", "stages"} <= set(entry)
    for stage in entry["stages"]:
        assert {"start", "end", "loss", "effective_units", "certificate"} <= set(stage)
        fields = {
            "verdict",
            "loss",
            "gradient_norm",
            "distance",
            "index",
            "zero_modes",
            "utility",
            "construction",
            "narrow_units",
            "reason",
        }
        assert fields <= set(stage["certificate"])
        assert stage["certificate"]["reason"]
    (plain,) = json.loads(run(capsys, "stages", trained, "--json")[1])["runs"]
    assert all(stage["certificate"] is None and stage["reason"] for stage in plain["stages"])


def test_an_experiment_instead_of_a_run(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    assert run(capsys, "train", "relu", *SMALL, "--out", tmp_path / "r", "--json")[0] == 0
    shutil.copy(tmp_path / "r" / "experiment.toml", path)
    code, out, _ = run(capsys, "stages", path, "--seed", 4, "--json", "--out", tmp_path / "s.json")
    assert code == 0 and json.loads(out)["runs"][0]["seed"] == 4
    assert json.loads((tmp_path / "s.json").read_text()) == json.loads(out)


def test_a_unit_of_ones_own_comes_with_its_module(tmp_path, capsys, monkeypatch):
    """In every command that reads an experiment; without it the sentence says how."""
    (tmp_path / "softened_units.py").write_text(
        "import jax.numpy as jnp\nfrom saddlery.units import Symmetry, Unit, register\n"
        "register(Unit('softened_here', lambda z, u: jnp.tanh(z @ u) ** 2, lambda s: s,"
        " Symmetry(silent=True, degree=2)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    options = "--set", "network.layers.0.unit='softened_here'", "--set", "stop.steps=3"
    code, _, err = run(capsys, "train", "linear", *options, "--out", tmp_path / "run")
    assert code == 2 and "'softened_here' is not known" in err and "--imports MODULE" in err
    try:
        code, _, err = run(
            capsys,
            "train",
            "linear",
            *options,
            "--imports",
            "softened_units",
            "--out",
            tmp_path / "run",
        )
        assert code == 0, err
    finally:
        units.UNITS.members.pop("softened_here", None)
    for command in ("predict", "graph"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert "--imports" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "names"),
    [("units", units.names()), ("tasks", TASKS), ("rules", RULES), ("experiments", catalog())],
)
def test_lists_are_complete(kind, names, capsys, tmp_path):
    code, out, _ = run(capsys, "list", kind, "--json", "--out", tmp_path / "list.txt")
    listed = json.loads(out)
    assert code == 0 and [entry["name"] for entry in listed] == sorted(names)
    assert all(entry["description"] for entry in listed)
    assert json.loads((tmp_path / "list.txt").read_text()) == listed
    assert (
        run(capsys, "list", kind, "--out", tmp_path / "list.txt")[1]
        == (tmp_path / "list.txt").read_text()
    )


def test_a_list_names_the_keys_of_an_experiment_file(capsys):
    """Each listed key is taken by the maker it belongs to."""
    for entry in json.loads(run(capsys, "list", "units", "--json")[1]):
        units.make(entry["name"], **entry["options"])
    rules = {
        entry["name"]: entry["options"]
        for entry in json.loads(run(capsys, "list", "rules", "--json")[1])
    }
    for name, options in rules.items():
        assert RULES[name]().options() == {"kind": name, **options}
    tasks = {
        entry["name"]: entry["options"]
        for entry in json.loads(run(capsys, "list", "tasks", "--json")[1])
    }
    assert {"inputs", "targets"} <= set(tasks["arrays"]) and tasks["digits"]["loss"] == "squared"


def test_first_sentence():
    assert (
        first_sentence("One w . x and (N, ...) of it.\n    More. ")
        == "One w . x and (N, ...) of it."
    )
    assert first_sentence("Two\n    lines, no stop\n\n    more") == "Two lines, no stop"


def test_the_readme_says_which_commands_take_a_seed(tmp_path, capsys):
    """Exactly those that it names refuse one, here and in --help; it names all others too."""
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    taken, refused = re.search(
        r"`--seed N` is taken by (.*?);(.*?) refuse it", readme, flags=re.DOTALL
    ).groups()
    named = set(re.findall(r"`(\w+)`", refused))
    assert named == {name for name, command in commands().items() if command.refusal}
    assert set(re.findall(r"`(\w+)`", taken)) == set(commands()) - named
    assert all(
        command.seed.startswith("refused") == bool(command.refusal)
        for command in commands().values()
    )
    design = tmp_path / "s.toml"
    design.write_text('experiment = "linear"\nseeds = 1\n')
    subjects = {"study": ["theorem4"], "sweep": [design], "runs": [tmp_path], "list": ["units"]}
    subjects |= {"show": ["linear"], "new": ["linear"]}
    for name in sorted(named):
        code, _, err = run(capsys, name, *subjects[name], "--seed", 1, "--out", tmp_path / "out")
        assert code == 2 and "seed" in err and err.count("\n") == 1


def test_the_version(capsys):
    assert run(capsys, "--version")[1].startswith("saddlery ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "a command is needed"),
        (["trian", "linear"], 2, "did you mean 'train'?"),
        (["train"], 2, "EXPERIMENT is missing, a shipped name"),
        (["--seed", "3"], 2, "the command comes first"),
        (
            ["train", "linear", "--sede", "3"],
            2,
            "option '--sede' is not known; did you mean '--seed'?",
        ),
        (["stages", "linear", "--set", "a=1"], 2, "option '--set' is not known"),
        (["train", "linear", "relu"], 2, "'relu' is one word too many"),
        (["train", "linear", "--out", ""], 2, "must not be empty"),
        (["stages", ""], 2, "must not be empty"),
        (["train", "/"], 2, "got the folder /; to repeat a run give /experiment.toml"),
        (["train", "/etc/hostname"], 2, "its name must end in .toml"),
        (["certify", "/etc/hostname"], 2, "got the file /etc/hostname; give its folder"),
        (["train", "linear.toml"], 2, "leave out the ending: linear"),
        (["train", "linaer"], 2, "did you mean 'linear'?"),
        (["train", "nothing.toml"], 2, "there is no such file"),
        (
            ["train", "linear", "--seed", "x"],
            2,
            "must be a whole number from 0 to 2^63 - 1, got 'x'",
        ),
        (["train", "linear", "--seed", "-1"], 2, "must be a whole number"),
        (["train", "linear", "--seed", "9" * 30], 2, "from 0 to 2^63 - 1"),
        (["train", "linear", "--set", "network.layers.0.width=0"], 2, "at least 1, got 0"),
        (["train", "linear", "--set", "network.layers.0.widht=4"], 2, "did you mean 'width'?"),
        (
            ["train", "linear", "--set", "network.layers.7.width=4"],
            2,
            "there is no '7' here; there is only 0",
        ),
        (
            ["train", "linear", "--set", "nettwork.width=4"],
            2,
            "no 'nettwork' here; did you mean 'network'?",
        ),
        (["train", "linear", "--set", "seed.x=3"], 2, "what stands here is the value 0"),
        (
            ["train", "linear", "--set", "network=3"],
            2,
            "'network' is a table; name a key in it: layers",
        ),
        (["train", "linear", "--set", "network.layers.0=3"], 2, "'0' is a table"),
        (["train", "linear", "--set", "seed=1", "--seed", "2"], 2, "the seed is given twice"),
        (["train", "linear", "--set", "seed=1", "--set", "seed=2"], 2, "given 2 times"),
        (["train", "linear", "--set", "task.singular_values=[1.0,"], 2, "not a TOML value"),
        (
            ["train", "linear", "--set", "task.singular_values=[1.0, nan]"],
            2,
            "singular_values must be finite",
        ),
        (
            ["train", "linear", "--set", "stop.flow_time=soon"],
            2,
            "flow_time must be a finite number above zero, got 'soon'",
        ),
        (
            ["train", "linear", "--set", "initialization.scale=-1"],
            2,
            "must be a finite number above zero, got -1",
        ),
        (["train", "linear", "--set", "task.kind=lineer"], 2, "did you mean 'linear_teacher'?"),
        (
            ["train", "linear", "--set", "initialization.scale=0"],
            2,
            "must be a finite number above zero",
        ),
        (["train", "linear", "--set", "initialization.scale"], 2, "--set needs KEY=VALUE"),
        (["train", "linear", "--set", "rule.kind=desent"], 2, "did you mean 'descent'?"),
        (["list", "unit"], 2, "did you mean 'units'?"),
        (["list", "units", "--seed", "2"], 2, "no meaning"),
        (["certify", "nowhere"], 2, "must be a run folder or an experiment"),
        (["stages", "/"], 2, "not a complete run folder"),
        (["report", "linear", "--out", "/proc/nothing/x.html"], 3, "cannot be written"),
        (["compare", "linear", "--page", "/proc/nothing/x.html"], 3, "cannot be written"),
        (["graph", "linear", "--page", "/etc"], 3, "/etc is a folder, and a file is written here"),
        (
            ["graph", "linear", "--page", "x.html", "--out", "x.html"],
            2,
            "--out and --page both name x.html",
        ),
        (
            ["compare", "linear", "--page", "x.html", "--out", "no/../x.html"],
            2,
            "--out and --page both name x.html",
        ),
        (["train", "linear", "--seed", "1", "--seed", "2"], 2, "--seed: given more than once"),
        (["list", "units", "--out", "a", "--out", "b"], 2, "--out: given more than once"),
        (
            ["stages", "linear", *2 * ["--tolerance", "behind.weights=0.1"]],
            2,
            "behind.weights is given more than once; give it once",
        ),
        (["stages", f"sweep#{'9' * 5000}"], 2, "the number of a run must have at most 18 digits"),
        (["compare", "linear", "--page", ""], 2, "must not be empty"),
        (["report", "linear", "--page", "x.html"], 2, "option '--page' is not known"),
        (["train", "linear", "--out", "/proc/nothing"], 3, "cannot be written"),
        (["tour", "--out", "/"], 3, "is not a tour"),
        (["tour", "--out", "/etc/hostname"], 3, "is a file"),
        (["train", "linear", "--out", "/etc/hostname"], 3, "exists already"),
        (
            ["train", "linear", "--out", "/etc/hostname/run"],
            3,
            "/etc/hostname is a file; choose another --out",
        ),
        (["certify", "linear", "--out", "/etc"], 3, "/etc is a folder, and a file is written here"),
        (["list", "rules", "--out", "/proc/nothing"], 3, "cannot be written"),
    ],
)
def test_mistakes(arguments, code, message, capsys):
    got, out, err = run(capsys, *arguments)
    assert got == code
    assert message in err
    assert out == "" and err.count("\n") == 1 and err.startswith("saddlery: ")


def test_the_seed_of_a_finished_run(trained, capsys):
    assert run(capsys, "stages", trained, "--seed", 0)[0] == 0
    code, _, err = run(capsys, "stages", trained, "--seed", 5)
    assert code == 2 and "trained with seed 0" in err


def test_an_existing_folder_is_refused_before_training(trained, capsys):
    code, _, err = run(capsys, "train", "linear", "--out", trained)
    assert code == 3 and "exists already" in err


@pytest.mark.parametrize("command", ["stages", "certify", "report"])
def test_the_files_of_a_run_are_never_rewritten(command, trained, capsys):
    before = (trained / "record.json").read_bytes()
    code, _, err = run(capsys, command, trained, "--out", trained / "record.json")
    assert code == 3 and "never rewritten" in err
    assert (trained / "record.json").read_bytes() == before


@pytest.mark.parametrize("file", ["sweep.toml", "sweep.json"])
def test_the_files_of_a_sweep_are_never_rewritten(file, tmp_path, capsys):
    (tmp_path / "sweep.json").write_text("{}")
    (tmp_path / file).write_text("{}")
    for words in (
        ["list", "units"],
        ["show", "linear"],
        ["certify", "linear"],
        ["predict", "relu"],
    ):
        code, out, err = run(capsys, *words, "--out", tmp_path / file)
        assert (code, out) == (3, "") and f"{file} belongs to a sweep and is never" in err
    assert (tmp_path / file).read_text() == "{}"


def test_what_is_read_is_not_written_over(tmp_path, capsys):
    """One's own experiment, by whatever path and in every command that reads one and writes a
    file."""
    mine = tmp_path / "mine.toml"
    assert run(capsys, "new", "linear", "--out", mine)[0] == 0
    before, other = mine.read_bytes(), tmp_path / "link"
    other.symlink_to(mine)
    for command in ("predict", "graph", "stages", "certify", "compare", "report"):
        for path in (mine, other):
            code, out, err = run(capsys, command, mine, "--out", path)
            assert (code, out) == (2, "") and f"and --out both name {path}, which would" in err
    for command in ("graph", "compare"):
        code, _, err = run(capsys, command, mine, "--page", mine)
        assert code == 2 and f"both name {mine}, which would be lost; choose another --page" in err
    data = tmp_path / "data.npz"
    data.write_bytes(b"mine")
    code, _, err = run(capsys, "stages", mine, "--data", data, "--out", data)
    assert code == 2 and f"--data and --out both name {data}" in err
    assert mine.read_bytes() == before and data.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "bad.toml",
            "[task\nkind = 1",
            "bad.toml: not valid TOML, Expected ']' at the end of a table declaration (at line 1",
        ),
        ("key.toml", "nmae = 'x'", "key.toml: key 'nmae' is not known; did you mean 'name'?"),
        ("empty.toml", "", "empty.toml: [task] must be given"),
    ],
)
def test_a_malformed_file(file, text, message, tmp_path, capsys):
    (tmp_path / file).write_text(text)
    code, _, err = run(capsys, "train", tmp_path / file)
    assert code == 2 and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [("1,2\n3,x\n", "'x'"), ("", "data.csv"), ("1,2\n3\n", "data.csv"), ("1,2\nnan,3\n", "nan")],
)
def test_bad_data(cells, message, tmp_path, capsys):
    data, file = tmp_path / "data.csv", tmp_path / "mine.toml"
    data.write_text(cells)
    layer = "[[network.layers]]\nunit = 'linear'\nwidth = 3\n"
    file.write_text(
        f"[task]\nkind = 'arrays'\ninputs = '{data}'\ncolumns = 1\n{layer}[stop]\nflow_time = 1.0\n"
    )
    code, out, err = run(capsys, "train", file, "--out", tmp_path / "run")
    assert code == 2 and message in err and err.count("\n") == 1 and "unexpected" not in err
    assert out == "" and not (tmp_path / "run").exists()


def test_a_run_of_another_version(trained, capsys):
    record = json.loads((trained / "record.json").read_text())
    (trained / "record.json").write_text(json.dumps({**record, "version": 99}))
    code, _, err = run(capsys, "certify", trained)
    assert code == 2 and "version 99" in err and "reads version 1" in err


def test_a_run_that_ended_early_says_so(trained, capsys):
    record = json.loads((trained / "record.json").read_text())
    (trained / "record.json").write_text(
        json.dumps({**record, "status": "interrupted", "reason": "by the keyboard"})
    )
    code, out, err = run(capsys, "stages", trained, "--json")
    assert code == 0 and "did not come to its stop (by the keyboard)" in err
    assert json.loads(out)["runs"][0]["status"] == "interrupted"


def test_a_damaged_run(trained, capsys):
    (trained / "trajectory.npz").write_bytes(b"nonsense")
    code, _, err = run(capsys, "certify", trained)
    assert code == 2 and "damaged" in err and "Traceback" not in err


def test_a_diverging_run(tmp_path, capsys):
    code, _, err = run(
        capsys,
        "train",
        "linear",
        "--set",
        "rule.kind=descent",
        "--set",
        "rule.learning_rate=50.0",
        "--set",
        "stop.flow_time=1e6",
        "--out",
        tmp_path / "x",
    )
    assert code == 1 and "lower the learning rate" in err
    assert os.listdir(tmp_path) == []


def test_a_full_disk(tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.np, "savez_compressed", full)
    code, _, err = run(capsys, "train", "linear", *SMALL, "--out", tmp_path / "x")
    assert code == 3 and "free some space" in err
    assert os.listdir(tmp_path) == []


def test_an_unexpected_error_is_one_sentence(capsys, monkeypatch):
    def broken(options):
        raise RuntimeError("odd")

    monkeypatch.setattr(f"{LISTING}.COMMAND", LIST._replace(function=broken))
    code, _, err = run(capsys, "list", "units")
    assert code == 4 and "unexpected RuntimeError: odd" in err and "SADDLERY_TRACEBACK" in err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 4, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "No space left on device"),
        (KeyboardInterrupt(), 130, "nothing was saved"),
    ],
)
def test_other_errors(error, code, message, capsys, monkeypatch):
    def broken(options):
        raise error

    monkeypatch.setattr(f"{LISTING}.COMMAND", LIST._replace(function=broken))
    got, _, err = run(capsys, "list", "units")
    assert got == code and message in err and err.count("\n") == 1


def test_the_traceback_on_demand(capsys, monkeypatch):
    monkeypatch.setenv("SADDLERY_TRACEBACK", "1")
    code, _, err = run(capsys, "train", "linaer")
    assert code == 2 and "Traceback" in err and err.endswith("did you mean 'linear'?\n")


def test_changing_a_kind_drops_the_old_options():
    table = {"rule": {"kind": "flow", "solver": "tsit5"}}
    assert changed(table, parsed(["rule.kind=adam"])) == {"rule": {"kind": "adam"}}


def test_the_order_of_changes_does_not_matter():
    for changes in (["rule.batch=4", "rule.kind=adam"], ["rule.kind=adam", "rule.batch=4"]):
        assert changed({"rule": {"kind": "flow"}}, parsed(changes)) == {
            "rule": {"kind": "adam", "batch": 4}
        }


def test_changing_a_unit_drops_the_options_of_the_old_one():
    table = {"layers": [{"unit": "conv_relu", "width": 3, "kernel": [2]}]}
    assert changed(table, parsed(["layers.0.unit=relu"])) == {
        "layers": [{"unit": "relu", "width": 3}]
    }


def test_values_of_changes():
    table = {"a": [1.0, 2.0], "b": "x"}
    assert changed(table, parsed(["a.1=0.5", "b=1e-3", "c=[1, 2]", "d = adam"])) == {
        "a": [1.0, 0.5],
        "b": 1e-3,
        "c": [1, 2],
        "d": "adam",
    }
    with pytest.raises(InputError, match="choose one of 0 to 1"):
        changed({"a": [1.0, 2.0]}, parsed(["a.2=3"]))


def test_a_record_goes_into_a_pipe(trained, tmp_path, capsys):
    """Which is written to and never read: whoever reads it would wait for itself."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(pipe.read_text()), daemon=True)
    reader.start()
    code, _, _ = run(capsys, "certify", trained, "--out", pipe)
    reader.join(timeout=60)
    assert code == 0 and json.loads(lines[0])["runs"]


def test_interrupted_certification_keeps_the_certified_stages(trained, capsys, monkeypatch):
    from saddlery import plateaus

    original, calls = plateaus.certify, []

    def certify(found, **options):
        calls.append(found)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return original(found, **options)

    monkeypatch.setattr(plateaus, "certify", certify)
    code, out, err = run(capsys, "certify", trained, "--json")
    stages = json.loads(out)["runs"][0]["stages"]
    assert code == 130 and "2 of 3 stages are certified" in err
    assert [s["certificate"] is not None for s in stages] == [True, True, False] and stages[2][
        "reason"
    ]
    assert json.loads((trained / "stages.json").read_text()) == json.loads(out)
    assert run(capsys, "report", trained)[0] == 130 and not (trained / "report.html").exists()


def test_a_page_that_is_interrupted_loses_nothing_else(trained, tmp_path, capsys, monkeypatch):
    """What was computed is shown, and nobody is told that nothing was saved."""
    from saddlery import report

    def page(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "graph_page", page)
    monkeypatch.setattr(report, "comparisons_page", page)
    narrow = ["--set", "network.layers.0.width=1"]
    for words in (["graph", "linear", *narrow], ["compare", trained]):
        out_file, html = tmp_path / f"{words[0]}.json", tmp_path / f"{words[0]}.html"
        code, out, err = run(capsys, *words, "--json", "--out", out_file, "--page", html)
        assert code == 130 and err.endswith("saddlery: interrupted; no page was written\n")
        assert json.loads(out) == json.loads(out_file.read_text()) and not html.exists()


def test_an_interrupted_analysis_of_an_experiment_keeps_the_training(tmp_path, capsys, monkeypatch):
    from saddlery import plateaus

    def stages(run):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plateaus, "stages", stages)
    code, out, err = run(capsys, "stages", "linear")
    (folder,) = (tmp_path / "runs").iterdir()
    assert code == 130 and out == "" and f"saved in runs/{folder.name}" in err
    assert store.load_run(folder).trajectory.status == "stopped"


def test_a_swallowed_ctrl_c_is_not_lost(tmp_path, capsys, monkeypatch):
    """JAX's garbage collection callback may print and forget it; the next progress report raises it
    again."""
    from saddlery.training import driver

    original, pressed = driver._fraction, []

    def fraction(carry, stop):
        if not pressed:
            pressed.append(True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        return original(carry, stop)

    monkeypatch.setattr(driver, "_fraction", fraction)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code, _, err = run(capsys, "train", "linear", "--out", tmp_path / "run")
    assert code == 130 and "what was finished is saved" in err
    assert store.load_run(tmp_path / "run").trajectory.status == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ------------------------------------------------------------- real processes
# a test run in the background of a shell has SIGINT ignored, and its children would inherit that
START = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from saddlery.cli import main
sys.exit(main())"""


def saddlery(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [(["--help"], ["jax", "numpy", "rich"]), (["train", "--help"], ["jax", "numpy", "rich"]),
     (["list", "experiments"], ["jax", "scipy", "rich"]), (["show", "relu"], ["jax", "scipy", "rich"]),
     (["--help"], ["saddlery.cli.outputs", "saddlery.cli.subjects", "saddlery.basis.checks"])],
)  # fmt: skip
def test_quick_answers_import_nothing_heavy(arguments, heavy):
    code = (
        f"import sys\nfrom saddlery.cli import main\ntry: main({arguments})\nexcept SystemExit:"
        " pass\n"
        f"assert not set({[*heavy, 'matplotlib']}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "saddlery", "trian"], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == "" and "did you mean 'train'?" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_a_readable_record(tmp_path, number):
    process = saddlery(
        "train", "quadratic", "--set", "stop.flow_time=1e9", "--out", tmp_path / "run"
    )
    assert (
        "train" in process.stderr.readline()
    )  # the first line of progress, when something is finished
    process.send_signal(number)
    process.send_signal(number)  # impatience costs nothing
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    run = store.load_run(tmp_path / "run")
    assert run.trajectory.status == "interrupted" and len(run.trajectory.loss) > 10
    assert os.listdir(tmp_path) == ["run"]


def test_a_broken_pipe_is_no_error():
    process = saddlery("list", "units", "--json")
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    err = process.stderr.read()
    process.stderr.close()
    assert err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        process = saddlery("list", "experiments", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3 and "No space left on device" in err and "Traceback" not in err


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.system(
        f"mount -t tmpfs -o size=16k tmpfs {place} 2>/dev/null"
    ):
        pytest.skip("no small file system can be mounted here")
    yield place
    os.system(f"umount {place}")


def test_a_really_full_disk(small_disk, capsys):
    code, _, err = run(capsys, "train", "linear", *SMALL, "--out", small_disk / "run")
    assert code == 3 and "free some space" in err and err.count("\n") == 1
    assert os.listdir(small_disk) == []
