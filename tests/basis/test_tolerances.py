"""Tolerances: records whose values hold within a block, are checked, and say where they differ."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import tolerances as page

from saddlery import Experiment, certify, stages, train
from saddlery.basis.checks import InputError
from saddlery.basis.tolerances import RECORDS, Tolerances, changed, parsed, using
from saddlery.plateaus import PlateauTolerances
from saddlery.predictions import RangeTolerances
from saddlery.saddles import BehindTolerances
from saddlery.studies import STUDIES, run_study
from saddlery.sweeps import Sweep, run_sweep


def test_values_hold_within_their_block_alone():
    with using(BehindTolerances(weights=0.1)):
        assert BehindTolerances.now().weights == 0.1
        with using(BehindTolerances(weights=0.2), PlateauTolerances(prominence=2.0)):
            assert BehindTolerances.now().weights == 0.2
            assert changed() == {"behind": {"weights": 0.2}, "plateaus": {"prominence": 2.0}}
        assert BehindTolerances.now().weights == 0.1
        assert changed() == {"behind": {"weights": 0.1}}
    assert BehindTolerances.now() == BehindTolerances() and changed() == {}


def test_a_block_that_fails_ends_too():
    with pytest.raises(RuntimeError), using(BehindTolerances(weights=0.1)):
        raise RuntimeError
    assert changed() == {}


def test_another_thread_begins_with_the_defaults():
    seen = []
    with using(BehindTolerances(weights=0.1)):
        thread = threading.Thread(target=lambda: seen.append(BehindTolerances.now().weights))
        thread.start()
        thread.join()
    assert seen == [0.3]


def test_what_is_kept_for_later_is_decided_by_the_defaults(tmp_path):
    """A sweep's workers, and whoever resumes it, begin with these."""
    words = "decides by the default tolerances, got others for behind.weights; call it outside"
    with using(BehindTolerances(weights=0.1)):
        with pytest.raises(InputError, match=f"a sweep {words}"):
            run_sweep(Sweep(Experiment.named("linear")), tmp_path / "sweep")
        with pytest.raises(InputError, match=f"a study {words}"):
            run_study(STUDIES["figure1"], folder=tmp_path / "study")
    assert not list(tmp_path.iterdir())


def test_texts_are_read():
    found = parsed(["behind.weights=0.1", " behind.drop = 0.2", "ranges.overlap=0.1,0.4"])
    assert found == [
        BehindTolerances(weights=0.1, drop=0.2),
        RangeTolerances(overlap=(0.1, 0.4)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights=0.1", r"a tolerance is written DECISION.NAME=VALUE, as behind.weights=0.1"),
        ("behind.weights", r"is written DECISION.NAME=VALUE"),
        ("behnd.weights=1", r"decision 'behnd' is not known; did you mean 'behind'"),
        ("behind.weihgts=1", r"tolerance of behind 'weihgts' is not known; did you mean 'weights'"),
        ("behind.weights=near", r"behind.weights must be a number, got 'near'"),
        ("behind.weights=-1", r"behind.weights must be a finite number above zero, got -1"),
        ("behind.weights=nan", r"behind.weights must be a finite number above zero"),
        ("behind.weights=1,2", r"behind.weights must be a finite number above zero"),
        ("behind.drop=2", r"behind.drop must be at most 1, got 2"),
        ("ranges.overlap=0.1", r"ranges.overlap must be two numbers, near and outside, got 0.1"),
        ("ranges.overlap=0.4,0.1", r"ranges.overlap must be two rising numbers"),
    ],
)
def test_what_is_no_tolerance_is_one_sentence(text, message):
    with pytest.raises(InputError, match=message):
        parsed([text])


def test_what_is_no_record_is_refused():
    with pytest.raises(InputError, match="given records of tolerances"), using(0.3):  # pyright: ignore
        pass


@pytest.fixture(scope="module")
def run():
    return train("linear")


def test_stages_say_by_what_they_were_decided(run):
    """With a distance of a ten-thousandth nothing but the end is behind; every verdict says why."""
    with using(BehindTolerances(weights=1e-4)):
        found = certify(run)
    assert found[0].certificate.verdict == "no fixed point found"
    assert found.record()["tolerances"] == {"behind": {"weights": 1e-4}}
    assert "decided with behind.weights = 0.0001, not the default" in repr(found)
    again = certify(found)
    assert again[0].certificate.verdict == "strict saddle"
    assert "tolerances" not in stages(run).record()


def test_more_prominent_plateaus_are_fewer(run):
    with using(PlateauTolerances(prominence=50.0)):
        few = len(stages(run))
    assert few < len(stages(run))


def test_every_tolerance_is_on_the_page():
    """With its meaning and its origin; the page is made of the code."""
    assert page.PAGE.read_text("utf-8") == page.page()
    assert len(RECORDS) >= 11
    for record in RECORDS.values():
        assert issubclass(record, Tolerances)
        for field in dataclasses.fields(record):
            assert field.metadata["meaning"] and field.metadata["origin"]
