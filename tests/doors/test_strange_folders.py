"""Folders of others: reading one imports nothing, and data that were moved are found again by their
numbers."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from saddlery.basis.checks import InputError
from saddlery.cli import main
from saddlery.engines import Here
from saddlery.experiments import Experiment
from saddlery.sweeps import Sweep, as_written, design_of, index, query, run_sweep
from saddlery.tasks.base import TASKS

EXPERIMENT = """
[experiment]
[experiment.task]
kind = "arrays"
inputs = "data/numbers.npz"
[experiment.network]
layers = [{ unit = "linear", width = 3 }]
[experiment.initialization]
scale = 0.01
[experiment.stop]
flow_time = 20.0
"""


# ------------------------------------------------------------------------ imports
@pytest.fixture
def strange(tmp_path, monkeypatch, request):
    """A sweep with a task of its own, made by its author; whoever imports the module leaves a
    mark."""
    home, mark = tmp_path / "modules", tmp_path / "imported"
    home.mkdir()
    (home / "strange_task.py").write_text(
        f"import pathlib, dataclasses\npathlib.Path({str(mark)!r}).write_text('ran')\n"
        "from saddlery.tasks import LinearTeacher\n"
        "@dataclasses.dataclass(frozen=True)\nclass Strange(LinearTeacher):\n    kind = 'strange'\n"
    )
    monkeypatch.syspath_prepend(home)
    design = tmp_path / "design.toml"
    own = EXPERIMENT.replace('"arrays"', '"strange"').replace(
        'inputs = "data/numbers.npz"', "singular_values = [1.0, 0.4]"
    )
    design.write_text(f'name = "strange"\nseeds = 2\nbatch = 1\nimports = ["strange_task"]\n{own}')
    forget = lambda: (
        TASKS.members.pop("strange", None),
        sys.modules.pop("strange_task", None),
        mark.unlink(missing_ok=True),
    )
    request.addfinalizer(forget)
    assert main(["sweep", str(design), "--out", str(tmp_path / "out"), "--engine", "here"]) == 0
    assert mark.exists()  # one's own design is trusted
    forget()
    return tmp_path / "out", mark, design, forget


@pytest.mark.parametrize(
    "words",
    [
        ["certify", "OUT#1"],
        ["stages", "OUT#0"],
        ["report", "OUT#0"],
        ["compare", "OUT#0"],
        ["sweep", "OUT/sweep.toml", "--plan"],
        ["sweep", "OUT/sweep.toml", "--out", "OUT", "--resume", "--engine", "here"],
    ],
    ids=" ".join,
)
def test_reading_a_folder_imports_nothing(strange, words, capsys):
    """Before, each of these ran the module that the folder names, without a word."""
    folder, mark, *_ = strange
    assert main([word.replace("OUT", str(folder)) for word in words]) == 2
    error = capsys.readouterr().err
    assert "needs modules of its own, strange_task, and reading imports none" in error
    assert "--imports strange_task" in error and error.count("\n") == 1
    assert not mark.exists() and "strange_task" not in sys.modules


def test_pages_and_rows_need_no_module(strange):
    folder, mark, *_ = strange
    assert main(["report", str(folder)]) == 0 and main(["runs", str(folder), "run = 1"]) == 0
    assert not mark.exists()


def test_modules_that_are_granted_are_imported(strange, capsys):
    folder, mark, *_ = strange
    assert main(["stages", f"{folder}#1", "--imports", "strange_task"]) == 0
    assert mark.exists() and "strange" in TASKS


def test_a_frozen_copy_goes_on_with_the_grant_or_with_the_design(strange, capsys):
    folder, _, design, forget = strange
    sorted((folder / "index").iterdir())[1].unlink()
    again = [
        "sweep",
        str(folder / "sweep.toml"),
        "--out",
        str(folder),
        "--resume",
        "--engine",
        "here",
    ]
    assert main([*again, "--imports", "strange_task"]) == 0
    assert len(index(folder)) == 2
    forget()
    sorted((folder / "index").iterdir())[1].unlink()
    assert main(["sweep", str(design), "--out", str(folder), "--resume", "--engine", "here"]) == 0
    assert len(index(folder)) == 2


def test_in_python(strange):
    folder, mark, *_ = strange
    for read in (lambda: design_of(folder), lambda: Sweep.load(folder / "sweep.toml")):
        with pytest.raises(InputError, match=r"imports=\['strange_task'\] in Python"):
            read()
    assert not mark.exists()
    assert design_of(folder, imports=["strange_task"]).experiment.task.kind == "strange"


@pytest.mark.parametrize("names", ["a b", "../x", "a,,b", ""])
def test_names_of_modules(names, capsys):
    with pytest.raises(SystemExit):
        main(["stages", "linear", "--imports", names])
    assert "names of modules" in capsys.readouterr().err


# -------------------------------------------------------------------- moved data
@pytest.fixture
def project(tmp_path):
    """A project folder with data, a design and its sweep, of which one of two batches is done."""
    home = tmp_path / "old" / "project"
    (home / "data").mkdir(parents=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3))
    np.savez(home / "data" / "numbers.npz", inputs=x, targets=x @ np.diag([1.0, 0.5, 0.0]))
    (home / "design.toml").write_text('name = "own"\nseeds = 2\nbatch = 1\n' + EXPERIMENT)
    run_sweep(Sweep.load(home / "design.toml"), home / "sweeps" / "own", engine=Here())
    return home


def cut(folder):
    """Take the last batch away."""
    sorted((folder / "index").iterdir())[-1].unlink()
    return folder


def rows(folder):
    return index(folder).drop(columns=["wall_seconds", "folder"])


def test_a_project_that_was_moved_goes_on(project, tmp_path):
    """(d) Certified and resumed elsewhere, it is what it was. Before: the absolute path was part of
    the identity."""
    before = rows(project / "sweeps" / "own")
    moved = tmp_path / "elsewhere" / "named_anew"
    shutil.move(project, moved)
    folder = moved / "sweeps" / "own"
    assert main(["certify", f"{folder}#1"]) == 0
    cut(folder)
    for design in (moved / "design.toml", folder / "sweep.toml"):
        assert (
            main(["sweep", str(design), "--out", str(folder), "--resume", "--engine", "here"]) == 0
        )
        assert rows(folder).equals(before)
        cut(folder)
    assert main(["sweep", str(folder / "sweep.toml"), "--plan"]) == 0


def test_a_sweep_alone_needs_its_data_given_anew(project, tmp_path, capsys):
    before = rows(project / "sweeps" / "own")
    folder = tmp_path / "alone"
    shutil.move(project / "sweeps" / "own", folder)
    data = tmp_path / "other.npz"
    shutil.move(project / "data" / "numbers.npz", data)
    assert main(["certify", f"{folder}#1"]) == 2
    error = capsys.readouterr().err
    assert (
        "numbers.npz: there is no such file; if it was moved, say where it is: --data PATH" in error
    )
    assert main(["certify", f"{folder}#1", "--data", str(data)]) == 0
    design = tmp_path / "again.toml"
    design.write_text(
        (project / "design.toml").read_text().replace("data/numbers.npz", "other.npz")
    )
    cut(folder)
    assert main(["sweep", str(design), "--out", str(folder), "--resume", "--engine", "here"]) == 0
    assert rows(folder).equals(before)
    cut(folder)
    frozen = str(folder / "sweep.toml")
    assert (
        main(
            [
                "sweep",
                frozen,
                "--out",
                str(folder),
                "--resume",
                "--engine",
                "here",
                "--data",
                str(data),
            ]
        )
        == 0
    )
    assert rows(folder).equals(before)
    assert main(["sweep", frozen, "--plan"]) == 2
    assert main(["sweep", frozen, "--plan", "--data", str(data)]) == 0
    assert (
        main(["sweep", str(design), "--plan", "--data", str(data)]) == 2
    )  # its numbers are not fixed yet: it names its files
    shutil.copy(data, folder / "numbers.npz")
    assert main(["certify", f"{folder}#1"]) == 0


def test_two_files_under_other_names(project, tmp_path):
    """A worker is told each file by its own path: neither its name nor its folder need be that of
    the design."""
    with np.load(project / "data" / "numbers.npz") as stored:
        np.save(tmp_path / "x.npy", stored["inputs"])
        np.save(tmp_path / "y.npy", stored["targets"])
    text = (project / "design.toml").read_text()
    design, folder = tmp_path / "design.toml", tmp_path / "out"
    design.write_text(text.replace('"data/numbers.npz"', '"x.npy"\ntargets = "y.npy"'))
    run_sweep(design, folder, engine=Here())
    before = rows(folder)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    shutil.move(tmp_path / "x.npy", tmp_path / "one" / "a.npy")
    shutil.move(tmp_path / "y.npy", tmp_path / "two" / "b.npy")
    design.write_text(text.replace('"data/numbers.npz"', '"one/a.npy"\ntargets = "two/b.npy"'))
    cut(folder)
    assert run_sweep(design, folder, engine=Here(), resume=True).made == 1
    assert rows(folder).equals(before)


def test_the_digest_decides(project, tmp_path, capsys):
    """Other numbers under the same name are passed over, wherever they are, and a design on them is
    another sweep."""
    folder = project / "sweeps" / "own"
    with np.load(project / "data" / "numbers.npz") as stored:
        x, y = stored["inputs"], stored["targets"]
    np.savez(project / "data" / "numbers.npz", inputs=x, targets=2 * y)
    with pytest.raises(InputError, match="those the experiment was trained on, got other numbers"):
        design_of(folder).experiment_of(0).objective()
    cut(folder)
    assert (
        main(
            [
                "sweep",
                str(project / "design.toml"),
                "--out",
                str(folder),
                "--resume",
                "--engine",
                "here",
            ]
        )
        == 2
    )
    assert "holds another sweep" in capsys.readouterr().err
    np.savez(folder / "numbers.npz", inputs=x, targets=y)
    found, written = design_of(folder), as_written(folder / "sweep.toml")
    assert written.experiment.task.inputs == str(project / "data" / "numbers.npz")
    assert found.identity == written.identity
    assert found.experiment_of(0).task.inputs == str((folder / "numbers.npz").absolute())
    assert (
        found.experiment_of(0).identity
        == written.experiment_of(0).identity
        == query(folder)["identity"][0]
    )


def test_a_design_without_files_is_left_alone():
    sweep = Sweep(Experiment.named("linear"), seeds=2)
    assert (
        sweep.experiment.found(".") is sweep.experiment and sweep.on(sweep.experiment.task) is sweep
    )
