"""Tables in text files: what is header, row numbers and data, whatever separates the cells (oracle:
the numbers written)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from saddlery import load_run
from saddlery.basis.checks import InputError
from saddlery.cli import main
from saddlery.tasks import Arrays
from saddlery.tasks.tables import read_table

NUMBERS = (
    np.round(np.random.default_rng(5).standard_normal((7, 5)), 3) + 0.0005
)  # none is written as a whole number


def written(rows=NUMBERS, separator=",", decimal=".", header=None, index=None):
    """A table as other programs write it."""
    lines = [[repr(float(v)).replace(".", decimal) for v in row] for row in rows]
    if index is not None:
        lines = [[str(name), *line] for name, line in zip(index, lines, strict=True)]
    return (
        "\n".join(separator.join(map(str, line)) for line in ([header] if header else []) + lines)
        + "\n"
    )


def counted(first, count=5):
    return list(range(first, first + count))


# name -> (text, whether a header is found, whether row numbers are)
KINDS = {
    "plain": (written(), False, False),
    "names": (written(header=[*"abcdy"]), True, False),
    "columns counted from 0, as pandas does": (written(header=counted(0)), True, False),
    "columns counted from 1": (written(header=counted(1)), True, False),
    "years": (written(header=counted(1990)), True, False),
    "rows and columns counted": (written(header=["", *counted(0)], index=range(7)), True, True),
    "one column counted, as pandas writes a series": (
        written(rows=NUMBERS[:, :1], header=["", 0], index=range(7)),
        True,
        True,
    ),
    "rows and years": (written(header=["", *counted(1990)], index=range(7)), True, True),
    "rows with names": (
        written(header=["", *"abcdy"], index=[f"run {k}" for k in range(7)]),
        True,
        True,
    ),
    "a column called id": (written(header=["id", *"abcdy"], index=range(1, 8)), True, True),
    "rows counted without header": (written(index=range(7)), False, True),
    "semicolons": (written(separator=";"), False, False),
    "semicolons and decimal commas": (
        written(separator=";", decimal=",", header=[*"abcdy"]),
        True,
        False,
    ),
    "semicolons, commas, rows counted": (
        written(separator=";", decimal=",", index=range(7)),
        False,
        True,
    ),
    "tabs": (written(separator="\t", header=[*"abcdy"]), True, False),
    "tabs and decimal commas": (written(separator="\t", decimal=","), False, False),
    "bars": (written(separator="|"), False, False),
    "blanks": (written(separator="  "), False, False),
    "blanks and a line of them": ("   \n" + written(separator="  "), False, False),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_was_written_is_read(name, encoding, tmp_path):
    text, header, index = KINDS[name]
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode(encoding))
    table = read_table(str(path))
    np.testing.assert_array_equal(table.numbers, NUMBERS[:, : table.numbers.shape[1]])
    assert table.numbers.shape[1] in (1, 5)
    assert (table.header, table.index) == (header, index)
    assert table.plain == (name in ("plain", "names"))
    assert ("is its header" in table.notes[-1]) == header and (
        "numbers the rows" in table.notes[-1]
    ) == index


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("0,1,2\n4,5,6\n7,8,9\n", "first row counts its columns but may be data; header = true"),
        ("0,1\n0.5,1\n3,2\n", "first row counts its columns but may be data"),
        (
            "t,x,y\n" + "".join(f"{k},{k + 0.5},{k * 0.25}\n" for k in range(6)),
            "first column counts the rows but may be data",
        ),
    ],
)
def test_what_is_open_is_data_and_said(text, doubt, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(text)
    table = read_table(str(path))
    rows = text.splitlines()[table.header :]
    np.testing.assert_array_equal(
        table.numbers, [[float(cell) for cell in row.split(",")] for row in rows]
    )
    assert any(doubt in note for note in table.notes)


@pytest.mark.parametrize(
    "text",
    [
        ",5.1,3.2\n4.9,3.0,1.4\n4.7,3.2,1.3\n",
        ",2,3\n4,5,6\n7,8,9\n",
        ",3\n4,5\n",
        ";5,1;3,2\n4,9;3,0;1,4\n",
    ],
)
def test_a_number_that_is_missing_makes_no_header(text, tmp_path):
    """An empty first cell took the first row for names and the first column for row numbers."""
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="row 1, column 1 must be a number, got ''; correct the"):
        read_table(str(path))
    table = read_table(str(path), header=True)
    assert table.index and len(table.numbers) == len(text.splitlines()) - 1


def test_it_can_be_said(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("0,1,2\n4,5,6\n7,8,9\n")
    np.testing.assert_array_equal(
        read_table(str(path), header=True).numbers, [[4, 5, 6], [7, 8, 9]]
    )
    np.testing.assert_array_equal(read_table(str(path), True, True).numbers, [[5, 6], [8, 9]])
    path.write_text(written(header=["", *counted(0)], index=range(7)))
    np.testing.assert_array_equal(read_table(str(path), index=False).numbers[:, 0], range(7))
    path.write_text(written(header=counted(0)))
    assert len(read_table(str(path), header=False).numbers) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;b;y\n1,5;2,5;1\n1.234,5;2;3\n",
            r"row 3, column 1 must be a number, got '1.234,5' .*separated by semicolons",
        ),
        ("a\tb\n1\tx\n2\t3\n", r"row 2, column 2 must be a number, got 'x' .*separated by tabs"),
        ("1,5\n2,x\n", "row 2, column 2 must be a number, got 'x'; correct the cell"),
        (
            "1.5\n2.5\n3.5\n",
            "of inputs and targets, two columns or more.*got one column.*what separates its cells",
        ),
        (
            "1,2\n3," + "9" * 500 + "x\n",
            r"row 2, column 2 must be a number, got '9{70,80}\.\.\.'; correct",
        ),
    ],
)
def test_other_tables_are_one_sentence(text, message, tmp_path):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Arrays(str(tmp_path / "data.csv"), columns=1).data(0)
    assert "\n" not in str(caught.value)


def test_utf_16_without_a_mark_is_named(tmp_path):
    (tmp_path / "data.csv").write_bytes(written().encode("utf-16-le"))
    with pytest.raises(
        InputError, match=r"zero bytes, as UTF-16 without a mark .*save it as UTF-8"
    ):
        read_table(str(tmp_path / "data.csv"))


EXPERIMENT = """[task]
kind = "arrays"
inputs = "data.csv"
columns = 1
[network]
layers = [{ unit = "linear", width = 2 }]
[rule]
kind = "descent"
learning_rate = 0.01
[stop]
steps = 3
"""


def test_the_record_and_stderr_say_what_was_taken_as_what(tmp_path, capsys):
    (tmp_path / "data.csv").write_text(KINDS["rows and columns counted"][0])
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    assert main(["train", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    run = load_run(tmp_path / "run")
    (said,) = run.warnings
    assert said in err and json.loads((tmp_path / "run" / "record.json").read_text())[
        "warnings"
    ] == [said]
    for words in (
        "data.csv: 7 rows",
        "the first row (",
        "is its header",
        "is left out",
        "4 columns of inputs, 1 of targets",
    ):
        assert words in said
    assert (run.experiment.task.header, run.experiment.task.index) == (True, True)
    np.testing.assert_array_equal(run.experiment.data.inputs, NUMBERS[:, :4])


def test_a_digest_of_the_first_version_keeps_its_reading(tmp_path):
    """0.1.0 took a header of numbers for a sample: what was trained so stays so."""
    (tmp_path / "data.csv").write_text(written(header=counted(0)))
    now = Arrays(str(tmp_path / "data.csv"), columns=1)
    assert len(now.data(0).inputs) == 7
    then = Arrays(str(tmp_path / "data.csv"), columns=1, header=False).pinned()
    as_recorded = Arrays(str(tmp_path / "data.csv"), columns=1, digest=then.digest)
    assert len(as_recorded.data(0).inputs) == 8
