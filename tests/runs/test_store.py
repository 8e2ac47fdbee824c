"""Runs on disk: whole or not at all, readable again bit for bit, damage named, nothing ever
unpickled."""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import pickle

import numpy as np
import pytest

from saddlery import (
    Experiment,
    certify,
    compare,
    load_run,
    mechanism,
    predict,
    saddle_graph,
    save_run,
    stages,
    train,
    visit,
)
from saddlery.basis.checks import InputError, NumericalError, StorageError
from saddlery.doors.outlets import write_text
from saddlery.rules import GradientDescent
from saddlery.training import Stop


@functools.lru_cache(maxsize=1)
def small():
    e = Experiment.named("linear")
    return train(e.replace(network=e.network.with_widths([4]), stop=Stop(flow_time=40.0)))


def test_round_trip(tmp_path):
    """Oracle (c): what is read is what was written, bit for bit, and it repeats bit for bit from
    its experiment."""
    run = small()
    again = load_run(save_run(run, tmp_path / "run"))
    assert again.experiment == run.experiment
    for name in ("flow_time", "step", "loss", "gradient_norm", "states"):
        assert np.array_equal(getattr(again.trajectory, name), getattr(run.trajectory, name))
    for name, values in run.trajectory.observables.items():
        assert np.array_equal(again.trajectory.observables[name], values)
    repeated = train(again.experiment)
    assert np.array_equal(repeated.trajectory.states, run.trajectory.states)
    assert repr(certify(again)) == repr(certify(run))
    assert sorted(os.listdir(tmp_path / "run")) == [
        "experiment.toml",
        "record.json",
        "trajectory.npz",
    ]
    assert again.wall_seconds == run.wall_seconds and again.versions == run.versions


def test_never_overwrites(tmp_path):
    save_run(small(), tmp_path / "run")
    with pytest.raises(StorageError, match="exists already"):
        save_run(small(), tmp_path / "run")
    (tmp_path / "empty").mkdir()
    save_run(small(), tmp_path / "empty")


def test_no_permission_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_run(small(), tmp_path / "file" / "run")


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(
        StorageError,
        match="No space left on device; nothing was left half-written, free some space",
    ):
        save_run(small(), tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_killed_in_the_middle_leaves_no_run(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_run(small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def spoil(folder, name, content):
    (folder / name).write_bytes(content)


def stored(values) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("record.json", b"{", "record.json: damaged"),
        ("record.json", b"[]", "not the record of a saddlery run"),
        (
            "record.json",
            b'{"schema": "saddlery-run", "version": 99}',
            "version 99 of the run format, this saddlery reads version 1",
        ),
        ("record.json", b'{"schema": "saddlery-run", "version": 1}', "damaged"),
        ("record.json", None, "not a complete run folder"),
        ("trajectory.npz", None, "not a complete run folder"),
        ("trajectory.npz", b"PK\x03\x04 nonsense", "trajectory.npz: damaged"),
        ("trajectory.npz", b"", "damaged"),
        ("trajectory.npz", stored({"loss": np.ones(3)}), "without"),
        ("trajectory.npz", stored({"states": np.array([{1: 2}], dtype=object)}), "damaged"),
        ("experiment.toml", b"seed = ", "not valid TOML"),
    ],
)
def test_damage_is_named(tmp_path, name, content, message):
    folder = save_run(small(), tmp_path / "run")
    (folder / name).unlink()
    if content is not None:
        spoil(folder, name, content)
    with pytest.raises(InputError, match=message):
        load_run(folder)


def test_truncated_trajectory(tmp_path):
    folder = save_run(small(), tmp_path / "run")
    whole = (folder / "trajectory.npz").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        spoil(folder, "trajectory.npz", whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="damaged"):
            load_run(folder)
    spoil(
        folder,
        "trajectory.npz",
        whole[: len(whole) // 2] + b"\x00\x01" + whole[len(whole) // 2 + 2 :],
    )
    with pytest.raises(InputError, match="damaged"):
        load_run(folder)


def test_files_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    folder = save_run(small(), tmp_path / "run")
    spoil(folder, "trajectory.npz", pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="damaged"):
        load_run(folder)
    assert not (tmp_path / "exploded").exists()


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        load_run(tmp_path / "nothing")


def test_record_is_plain_json(tmp_path):
    record = json.loads((save_run(small(), tmp_path / "run") / "record.json").read_text())
    assert record["schema"] == "saddlery-run" and record["versions"]["jax"]


def test_write_text_replaces_atomically(tmp_path):
    path = write_text(tmp_path / "deep" / "a.txt", "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["a.txt"]


def test_diverging_run_is_an_error_with_a_remedy_and_can_be_kept():
    e = Experiment.named("linear").replace(rule=GradientDescent(50.0), stop=Stop(steps=2000))
    with pytest.raises(NumericalError, match="lower the learning rate"):
        train(e)
    assert train(e, keep_failed=True).trajectory.status in ("diverged", "not finite")


# ---------------------------------------------------------- every verb takes what the others take
def test_every_verb_takes_what_the_others_take(tmp_path, monkeypatch):
    """A shipped name, the path of a TOML file, an experiment, its table, a run and its folder."""
    experiment = Experiment.named("linear")
    (tmp_path / "mine.toml").write_text(experiment.to_toml())
    run = train(experiment)
    save_run(run, tmp_path / "run")
    subjects = (
        "linear",
        tmp_path / "mine.toml",
        experiment,
        experiment.table(),
        run,
        tmp_path / "run",
    )
    (prediction, *_) = predict(run)
    for subject in subjects:
        assert [stage.effective_units for stage in stages(subject).stages] == [0, 1, 2]
        assert predict(subject)[0].stages == prediction.stages
        assert len(saddle_graph(subject).nodes) == 4
        assert len(mechanism(subject).growths) == 2
        assert compare(prediction, subject).stages[1].seen
        assert visit(subject, 1).verdict == "visited"
    assert len(certify("linear")) == 3


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("liner", "liner: there is no such run folder, and .*did you mean .linear"),
        ("runs/liner", "runs/liner: there is no such run folder; make one"),
        ("runs/liner.toml", "runs/liner.toml: there is no such file"),
        (3, "the subject must be a run, the path of its folder, or an experiment"),
        (None, "the subject must be a run"),
    ],
)
def test_what_is_no_subject_is_one_sentence(subject, words):
    for verb in (stages, predict, saddle_graph, mechanism, certify):
        with pytest.raises(InputError, match=words):
            verb(subject)
