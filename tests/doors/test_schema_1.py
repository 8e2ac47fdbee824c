"""What saddlery 0.1.0 wrote must be read for ever: runs, certificates, sweeps and rows of schema 1
(tests/fixtures/schema-1)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from saddlery import certify, stages
from saddlery.cli import main
from saddlery.engines import Here
from saddlery.experiments import Experiment
from saddlery.report import run_page
from saddlery.runs import load_run
from saddlery.studies import STUDIES
from saddlery.studies.work import kept_row
from saddlery.sweeps import Sweep, index, query, run_sweep
from saddlery.sweeps.reading import arrays

HERE = Path(__file__).parent.parent / "fixtures" / "schema-1"
NETWORKS = {
    "linear": [0, 1, 2],
    "linear_conv": [0, 1, 2],
    "relu": [0, 1],  # it ended before its second unit was at rest
    "relu_conv": [0, 1, 2],
    "linear_attention": [0, 1, 2],
    "quadratic": [0, 1, 2],
}
IDENTITIES = json.loads((HERE / "identities.json").read_text(encoding="utf-8"))


@pytest.fixture
def stored(tmp_path):
    """A copy of the fixtures in another folder, as a reader of today has them."""
    return shutil.copytree(HERE, tmp_path / "schema-1")


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_identity_of_every_experiment_stays(name):
    assert Experiment.from_toml(IDENTITIES[name]["toml"]).identity == IDENTITIES[name]["identity"]


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_load_and_have_their_stages(stored, name):
    run = load_run(stored / "runs" / name)
    found = stages(run)
    assert [stage.effective_units for stage in found.stages] == NETWORKS[name]
    assert np.isclose(
        float(run.objective().loss(run.trajectory.states[-1])),
        run.final_loss,
        rtol=1e-6,
        atol=1e-12,
    )
    assert run.experiment.name in run_page(found)


def test_a_float32_run_of_two_layers_loads(stored):
    run = load_run(stored / "runs" / "deep32")
    assert run.trajectory.states.dtype == np.float32
    assert run.experiment.network.widths == (3, 3)


def test_certificates_are_those_of_then(stored):
    then = json.loads((stored / "runs" / "linear" / "stages.json").read_text())["runs"][0]["stages"]
    for stage, before in zip(
        certify(load_run(stored / "runs" / "linear")).stages, then, strict=True
    ):
        now, old = stage.certificate, before["certificate"]
        assert (now.verdict, now.index, now.zero_modes) == (
            old["verdict"],
            old["index"],
            old["zero_modes"],
        )
        assert np.isclose(now.loss, old["loss"], rtol=1e-9, atol=1e-15)
        assert np.isclose(now.distance, old["distance"], rtol=1e-4, atol=1e-6)


def test_the_command_line_certifies_and_reports_them(stored, capsys):
    run = str(stored / "runs" / "linear_conv")
    assert main(["certify", run, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    verdicts = [stage["certificate"]["verdict"] for stage in record["runs"][0]["stages"]]
    assert verdicts == ["strict saddle", "strict saddle", "minimum"]
    assert main(["report", run]) == 0
    assert (stored / "runs" / "linear_conv" / "report.html").exists()


def test_a_verdict_that_changed_is_said(stored, capsys):
    """The record of then called its saddle a minimum, and its end what today is
    `no fixed point found`."""
    path = stored / "runs" / "linear" / "stages.json"
    record = json.loads(path.read_text())
    for entry, verdict in zip(
        record["runs"][0]["stages"], ("strict saddle", "minimum", "not a fixed point"), strict=True
    ):
        entry["certificate"]["verdict"] = verdict
    path.write_text(json.dumps(record))
    assert main(["certify", str(stored / "runs" / "linear")]) == 0
    said = capsys.readouterr().err
    assert "note: stage 1 was 'minimum' and is 'strict saddle' now" in said
    assert (
        "stage 2 was 'not a fixed point' and is 'minimum' now" in said and "stage 0 was" not in said
    )
    assert (
        main(["certify", str(stored / "runs" / "linear")]) == 0
        and "was" not in capsys.readouterr().err
    )


def test_sweeps_are_queried(stored):
    assert len(index(stored / "sweep")) == 8
    assert len(query(stored / "sweep", "units[2] = 1 and seed = 1")) == 3
    assert arrays(stored / "sweep")["loss"].sizes["run"] == 8


def test_a_sweep_half_done_goes_on(stored):
    sweep = Sweep.load(stored / "sweep.toml")
    done = run_sweep(sweep, stored / "sweep_half", engine=Here(), resume=True)
    assert (done.made, done.kept) == (4, 4)
    whole, resumed = index(stored / "sweep"), index(stored / "sweep_half")
    assert whole["units"].map(list).tolist() == resumed["units"].map(list).tolist()


def test_rows_of_a_study_are_not_measured_again(stored):
    folder = stored / "studies" / "theorem4"
    study = STUDIES["theorem4"]
    planned = [experiment for _, experiment in study.design(study.quick)]
    assert all(kept_row(folder, study.name, experiment) for experiment in planned)
