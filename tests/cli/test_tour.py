"""The tour: repeatable, readable at every moment, and never over somebody's files."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from saddlery import load_run
from saddlery.basis.checks import StorageError
from saddlery.cli import tour as tours
from saddlery.cli.tour import prepare, summary, table, tour

FIELDS = {
    "verdict",
    "loss",
    "gradient_norm",
    "distance",
    "index",
    "zero_modes",
    "utility",
    "construction",
    "narrow_units",
}


@pytest.mark.slow
def test_a_tour_can_be_repeated_and_refuses_other_folders(tmp_path):
    for _ in range(2):
        runs = tour(tmp_path / "tour", names=("linear",))
    assert {p.name for p in (tmp_path / "tour").iterdir()} == {"index.html", "summary.json", "runs"}
    assert summary(runs)["runs"][0]["experiment"] == "linear"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(StorageError, match="is not a tour"):
        prepare(tmp_path / "other")
    with pytest.raises(StorageError, match="is a file"):
        prepare(tmp_path / "other" / "thesis.tex")
    for foreign in ("{}", "[]", "nonsense", '{"runs": [3]}'):
        (tmp_path / "other" / "summary.json").write_text(foreign)
        with pytest.raises(StorageError, match="is not a tour"):
            prepare(tmp_path / "other")


@pytest.mark.slow
def test_a_new_tour_replaces_the_old_runs_and_nothing_else(tmp_path):
    tour(tmp_path, names=("linear", "linear_conv"))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "runs" / "mine").mkdir()
    tour(tmp_path, names=("linear",), seed=5)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"linear", "mine"}
    assert load_run(tmp_path / "runs" / "linear").experiment.seed == 5


@pytest.mark.slow
def test_a_run_of_ones_own_among_those_of_a_tour_stays(tmp_path):
    """Only those of its summary and of the names to come are the tour's."""
    tour(tmp_path, names=("linear",))
    shutil.copytree(tmp_path / "runs" / "linear", tmp_path / "runs" / "mine")
    shutil.copytree(tmp_path / "runs" / "linear", tmp_path / "runs" / "quadratic")
    tour(tmp_path, names=("quadratic",))
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"mine", "quadratic"}
    assert load_run(tmp_path / "runs" / "mine").experiment.name == "linear"
    assert load_run(tmp_path / "runs" / "quadratic").experiment.name == "quadratic"


def test_a_place_that_is_taken_is_found_before_the_training(tmp_path, monkeypatch):
    """A folder that is no run, or a link, where a later run would go."""
    (tmp_path / "summary.json").write_text('{"runs": []}')
    (tmp_path / "runs" / "relu").mkdir(parents=True)
    (tmp_path / "runs" / "relu" / "notes.txt").write_text("mine")
    monkeypatch.setattr(tours, "train", None)
    with pytest.raises(StorageError, match="relu exists already"):
        tour(tmp_path, names=("linear", "relu"))


def test_the_summary_has_the_documented_form(tmp_path):
    seen = []
    runs = tour(
        tmp_path / "tour",
        names=("linear", "quadratic"),
        seed=1,
        progress=lambda f, words: seen.append((f, words)),
    )
    record = json.loads((tmp_path / "tour" / "summary.json").read_text())
    assert [run["experiment"] for run in record["runs"]] == ["linear", "quadratic"]
    for run in record["runs"]:
        assert (
            set(run) >= {"experiment", "architecture", "seed", "final_loss", "stages"}
            and run["seed"] == 1
        )
        for stage in run["stages"]:
            assert set(stage) >= {"start", "end", "loss", "effective_units", "certificate"}
            assert set(stage["certificate"]) >= FIELDS
            assert None not in [
                stage["certificate"][k] for k in ("verdict", "loss", "gradient_norm", "index")
            ]
            assert stage["certificate"]["utility"] is not None or stage["certificate"]["reason"]
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert "strict saddle" in table(runs)
    for folder in (tmp_path / "tour" / "runs").iterdir():
        assert load_run(folder).trajectory.status == "stopped"


def interrupted_in_training(name, original):
    """Ctrl-C as the driver reports it: a record of what was finished."""
    run = original(name)
    return dataclasses.replace(
        run, trajectory=dataclasses.replace(run.trajectory, status="interrupted")
    )


def test_an_interrupted_tour_keeps_what_was_finished(tmp_path, monkeypatch):
    original = tours.train
    monkeypatch.setattr(
        tours,
        "train",
        lambda name, **o: (
            original(name) if name == "linear" else interrupted_in_training(name, original)
        ),
    )
    with pytest.raises(KeyboardInterrupt, match="finished before: linear, readable in"):
        tour(tmp_path / "tour", names=("linear", "relu"))
    record = json.loads((tmp_path / "tour" / "summary.json").read_text())
    assert [run["experiment"] for run in record["runs"]] == ["linear"]
    assert (tmp_path / "tour" / "index.html").read_text().startswith("<!doctype html>")
    assert load_run(tmp_path / "tour" / "runs" / "relu").trajectory.status == "interrupted"


@pytest.mark.slow
def test_a_tour_interrupted_in_its_first_run_can_be_repeated(tmp_path, monkeypatch):
    original = tours.train
    with monkeypatch.context() as patch:
        patch.setattr(tours, "train", lambda name, **o: interrupted_in_training(name, original))
        with pytest.raises(KeyboardInterrupt, match="no run of the tour was finished"):
            tour(tmp_path / "tour", names=("linear",))
    assert json.loads((tmp_path / "tour" / "summary.json").read_text()) == {"runs": []}
    assert len(tour(tmp_path / "tour", names=("linear",))) == 1


def test_an_interrupt_before_the_first_run_leaves_the_old_tour(tmp_path, monkeypatch):
    tour(tmp_path / "tour", names=("linear",))
    before = {p: p.read_bytes() for p in (tmp_path / "tour").rglob("*") if p.is_file()}

    def stop(name, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(tours, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        tour(tmp_path / "tour", names=("linear",))
    assert {p: p.read_bytes() for p in (tmp_path / "tour").rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_a_run_that_diverges_does_not_end_the_tour(tmp_path, monkeypatch):
    """Its record has no stages and says why; the page says so too; the others are as always."""
    original = tours.train

    def diverging(name, **options):
        run = original(name)
        failed = dataclasses.replace(run.trajectory, status="diverged", reason="the loss grew")
        return dataclasses.replace(run, trajectory=failed) if name == "linear_conv" else run

    monkeypatch.setattr(tours, "train", diverging)
    tour(tmp_path, names=("linear_conv", "linear"))
    failed, sound = json.loads((tmp_path / "summary.json").read_text())["runs"]
    assert (failed["stages"], failed["status"], failed["reason"]) == (
        [],
        "diverged",
        "the loss grew",
    )
    assert len(sound["stages"]) == 3 and "reason" not in sound
    assert "diverged, the loss grew" in (tmp_path / "index.html").read_text()
