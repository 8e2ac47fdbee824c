"""The tour: repeatable, readable at every moment, and never over somebody's files."""

from __future__ import annotations

import json

import pytest

from saddlery import load_run
from saddlery import tour as tours
from saddlery.checks import StorageError
from saddlery.tour import prepare, summary, table, tour

FIELDS = {"verdict", "loss", "gradient_norm", "distance", "index", "zero_modes", "utility", "construction", "narrow_units"}


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


def test_the_summary_has_the_documented_form(tmp_path):
    seen = []
    runs = tour(tmp_path / "tour", names=("linear", "quadratic"), seed=1, progress=lambda f, words: seen.append((f, words)))
    record = json.loads((tmp_path / "tour" / "summary.json").read_text())
    assert [run["experiment"] for run in record["runs"]] == ["linear", "quadratic"]
    for run in record["runs"]:
        assert set(run) >= {"experiment", "architecture", "seed", "final_loss", "stages"} and run["seed"] == 1
        for stage in run["stages"]:
            assert set(stage) >= {"start", "end", "loss", "effective_units", "certificate"}
            assert set(stage["certificate"]) >= FIELDS
            assert None not in [stage["certificate"][k] for k in ("verdict", "loss", "gradient_norm", "index")]
            assert stage["certificate"]["utility"] is not None or stage["certificate"]["reason"]
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert "strict saddle" in table(runs)
    for folder in (tmp_path / "tour" / "runs").iterdir():
        assert load_run(folder).trajectory.status == "stopped"


def test_an_interrupted_tour_keeps_what_was_finished(tmp_path, monkeypatch):
    original = tours.train

    def interrupted(name, **options):
        if name == "relu":
            raise KeyboardInterrupt
        return original(name, **options)

    monkeypatch.setattr(tours, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tour(tmp_path / "tour", names=("linear", "relu"))
    record = json.loads((tmp_path / "tour" / "summary.json").read_text())
    assert [run["experiment"] for run in record["runs"]] == ["linear"]
    assert (tmp_path / "tour" / "index.html").read_text().startswith("<!doctype html>")
