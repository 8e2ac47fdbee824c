"""Text for terminals and names of files: nothing invisible passes."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saddlery import Experiment, stages, train
from saddlery.basis.records import number, text_table
from saddlery.basis.text import file_name, visible, visible_lines, width
from saddlery.training import Stop

NASTY = "a\n\x1b[31m\x1b]0;title\x07b\r\x9b2J\u202ec\u2066\u200f\u2028\ud800\x00é λ 字 😀"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    """Oracle (c): no letter of the categories control, format, surrogate, line and paragraph; what
    is printable stays."""
    seen = visible(text)
    assert not {unicodedata.category(c) for c in seen} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert visible(seen) == seen
    assert not text.isprintable() or seen == text


def test_what_can_be_seen_stays():
    assert visible("Größe λ 字 \u3000😀") == "Größe λ 字 \u3000😀"
    assert visible("a\tb\x1b[0m\u202e") == "a\\tb\\x1b[0m\\u202e"
    assert visible_lines("a\nb\x07") == "a\nb\\x07"


@given(st.text(max_size=300))
def test_a_name_of_a_file(name):
    made = file_name(name)
    assert (
        len(made.encode()) <= 100
        and made not in (".", "..")
        and "/" not in made
        and made.isprintable()
    )


def test_a_table_stays_a_table():
    """Given names with line breaks, colours and wide letters, then a row is a line and the columns
    stand below each other."""
    lines = text_table(("name", "n"), [[NASTY, 1], ["字字", 2], ["e\u0301", 3]]).split("\n")
    assert len(lines) == 5 and all(line.isprintable() for line in lines)
    assert len({width(line) for line in lines}) == 1  # the last column is one letter wide


def test_titles_of_tables_too():
    experiment = Experiment.named("linear")
    small = experiment.replace(
        name=NASTY, network=experiment.network.with_widths([2]), stop=Stop(flow_time=1.0)
    )
    run = train(small)
    for text in (repr(run), repr(stages(run)), repr(small)):
        assert visible_lines(text) == text and "a\\n" in text


def test_a_table_that_shows_what_it_gets_is_seen(monkeypatch):
    """Broken on purpose: nothing is escaped."""
    from saddlery.basis import records

    monkeypatch.setattr(records, "visible", lambda text: text)
    with pytest.raises(AssertionError):
        test_a_table_stays_a_table()


def test_a_header_is_folded_where_its_column_is_narrow():
    """Whole where the cells are as wide, else on two lines, the lower just above the rule; no letter
    of it is lost."""
    lines = text_table(("units", "loss of the run", "verdict of it"), [[1, 0.5, "strict saddle"]])
    assert lines.split("\n") == [
        "       loss of",
        "units  the run  verdict of it",
        "-----  -------  -------------",
        "1      0.5      strict saddle",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [(9999.6, "10000"), (12345.67, "12346"), (-98765.4, "-98765"), (99999.9, "100000"), (1e5, "1.0e+05"),
     (999.94, "999.9"), (np.float32("nan"), "-"), (np.bool_(True), "True"), (np.float32(0.5), "0.5")],
)  # fmt: skip
def test_numbers_for_people(value, words):
    """Written out up to 1e5."""
    assert number(value) == words
