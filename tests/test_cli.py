"""The command line: records on stdout, talk on stderr, one sentence and a documented code for every mistake."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saddlery import cli, store, units
from saddlery.cli.commands import changed
from saddlery.experiments import catalog
from saddlery.rules import RULES
from saddlery.tasks import TASKS

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


@pytest.mark.parametrize(
    ("kind", "names"), [("units", units.names()), ("tasks", TASKS), ("rules", RULES), ("experiments", catalog())]
)
def test_lists_are_complete(kind, names, capsys, tmp_path):
    code, out, _ = run(capsys, "list", kind, "--json", "--out", tmp_path / "list.txt")
    listed = json.loads(out)
    assert code == 0 and [entry["name"] for entry in listed] == sorted(names)
    assert all(entry["description"] for entry in listed)
    assert (tmp_path / "list.txt").exists()


@pytest.mark.parametrize("command", ["tour", "train", "stages", "certify", "report", "list"])
def test_help_has_an_example_and_the_codes(command, capsys):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    for needed in ("example: saddlery", "exit codes", "--json", "--out", "--seed"):
        assert needed in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "a command is needed"),
        (["trian", "linear"], 2, "did you mean 'train'?"),
        (["train"], 2, "required: EXPERIMENT"),
        (["train", "linaer"], 2, "did you mean 'linear'?"),
        (["train", "nothing.toml"], 2, "there is no such file"),
        (["train", "linear", "--seed", "x"], 2, "invalid int value"),
        (["train", "linear", "--seed", "-1"], 2, "seed must be a whole number"),
        (["train", "linear", "--set", "network.layers.0.width=0"], 2, "at least 1, got 0"),
        (["train", "linear", "--set", "network.layers.0.widht=4"], 2, "did you mean 'width'?"),
        (["train", "linear", "--set", "network.layers.7.width=4"], 2, "there is no '7' here; choose one of 0 to 0"),
        (["train", "linear", "--set", "nettwork.width=4"], 2, "there is no 'nettwork' here"),
        (["train", "linear", "--set", "initialization.scale=0"], 2, "must be a finite number above zero"),
        (["train", "linear", "--set", "initialization.scale"], 2, "--set needs KEY=VALUE"),
        (["train", "linear", "--set", "rule.kind=desent"], 2, "did you mean 'descent'?"),
        (["list", "unit"], 2, "did you mean 'units'?"),
        (["list", "units", "--seed", "2"], 2, "no meaning"),
        (["certify", "nowhere"], 2, "must be a run folder or an experiment"),
        (["stages", "/"], 2, "not a complete run folder"),
        (["report", "linear", "--out", "/proc/nothing/x.html"], 3, "cannot be written"),
        (["train", "linear", "--out", "/proc/nothing"], 3, "cannot be written"),
        (["tour", "--out", "/"], 3, "is not a tour"),
    ],
)
def test_mistakes(arguments, code, message, capsys):
    got, out, err = run(capsys, *arguments)
    assert got == code
    assert message in err
    assert out == "" and err.count("\n") == 1


def test_the_seed_of_a_finished_run(trained, capsys):
    assert run(capsys, "stages", trained, "--seed", 0)[0] == 0
    code, _, err = run(capsys, "stages", trained, "--seed", 5)
    assert code == 2 and "trained with seed 0" in err


def test_an_existing_folder_is_refused_before_training(trained, capsys):
    code, _, err = run(capsys, "train", "linear", "--out", trained)
    assert code == 3 and "exists already" in err


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
    assert not (tmp_path / "x").exists()


def test_a_full_disk(tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.np, "savez_compressed", full)
    code, _, err = run(capsys, "train", "linear", *SMALL, "--out", tmp_path / "x")
    assert code == 3 and "free some space" in err
    assert os.listdir(tmp_path) == []


def test_an_unexpected_error_is_one_sentence(capsys, monkeypatch):
    from saddlery.cli import commands

    def broken(options):
        raise RuntimeError("odd")

    monkeypatch.setitem(commands.COMMANDS, "list", broken)
    code, _, err = run(capsys, "list", "units")
    assert code == 4 and "unexpected RuntimeError: odd" in err and "SADDLERY_TRACEBACK" in err


def test_changing_a_kind_drops_the_old_options():
    table = {"rule": {"kind": "flow", "solver": "tsit5"}}
    assert changed(table, ["rule.kind=adam"]) == {"rule": {"kind": "adam"}}


# ------------------------------------------------------------- real processes
def saddlery(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "saddlery", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom saddlery.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_ctrl_c_leaves_a_readable_record(tmp_path):
    process = saddlery("train", "quadratic", "--set", "stop.flow_time=1e9", "--out", tmp_path / "run")
    assert "train" in process.stderr.readline()  # the first line of progress, ten seconds into the run
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    run = store.load_run(tmp_path / "run")
    assert run.trajectory.status == "interrupted" and len(run.trajectory.loss) > 10


def test_a_broken_pipe_is_no_error():
    process = saddlery("list", "units", "--json")
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 120)
    err = process.stderr.read()
    process.stderr.close()
    assert "Traceback" not in err
