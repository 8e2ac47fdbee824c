"""What keeps work safe in strange surroundings has been seen to fail: broken on purpose, the named
test goes red."""

from __future__ import annotations

import sys

import pytest
import test_surroundings

from saddlery.basis import interruptions
from saddlery.cli import interrupts, streams

default_signals = test_surroundings.default_signals


def test_signals_that_are_raised_every_time(default_signals, monkeypatch):
    """As before: a second Ctrl-C spoils what the first one left."""

    def always(number, frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupts, "_heard", always)
    with pytest.raises(KeyboardInterrupt):
        test_surroundings.test_the_first_signal_counts_and_no_other(None)


def test_signals_that_wait_for_nothing(default_signals, monkeypatch):
    monkeypatch.setattr(interrupts, "may_end", lambda frame: True)
    with pytest.raises(AssertionError):
        test_surroundings.test_a_signal_waits_for_what_is_finishing(None)


def test_half_an_import(default_signals, monkeypatch, tmp_path):
    monkeypatch.setattr(interrupts, "_delicate", lambda frame: False)
    with pytest.raises(KeyError):
        test_surroundings.test_a_signal_waits_for_imports_and_for_jax(None, tmp_path, monkeypatch)
    assert "half_a_module" not in sys.modules


def test_half_a_run_that_counts(monkeypatch):
    monkeypatch.setattr(
        test_surroundings.interruptions, "whole_runs", interruptions.contextlib.nullcontext
    )
    with pytest.raises(pytest.fail.Exception):
        test_surroundings.test_half_a_run_is_no_measurement()


def test_a_stream_that_is_written_to_as_it_is(monkeypatch):
    def say(words: str) -> None:
        sys.stderr.write(words + "\n")

    monkeypatch.setattr(streams, "say", say)
    with pytest.raises(BrokenPipeError):
        test_surroundings.test_a_reader_who_has_gone_changes_no_code(monkeypatch)


def test_progress_that_forgets_the_others(monkeypatch):
    """As before: when one batch ends, what the others have done is not counted."""

    def over(self, batch, failed):
        self.done += len(self.sweep.numbers(batch))
        self.told, self.fractions = 0.0, {}
        self.tell()

    monkeypatch.setattr(test_surroundings._Told, "over", over)
    with pytest.raises(AssertionError):
        test_surroundings.test_progress_of_a_sweep_never_runs_backwards()
