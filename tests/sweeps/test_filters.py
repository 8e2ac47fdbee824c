"""Filters of runs: one expression over the columns, and nothing else that SQL can say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from saddlery.basis.checks import InputError
from saddlery.sweeps import filters

TABLE = pd.DataFrame(
    {
        "run": np.arange(6),
        "width": [4, 4, 8, 8, 16, 16],
        "status": ["stopped", "stopped", "diverged", "stopped", "stopped", "not finite"],
        "units": [[0, 1], [0, 1, 2], [0], [0, 2], [0, 1], []],
        "initialization.scale": [1e-3, 1e-5] * 3,
        "héight": [1.0, np.nan, 3.0, 4.0, 5.0, 6.0],
    }
)


def runs(condition: str) -> list[int]:
    return filters.chosen(TABLE, condition)["run"].tolist()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("run < 3", lambda r: r["run"] < 3),
        ("RUN < 3 and runs.width = 4", lambda r: r["run"] < 3 and r["width"] == 4),
        ("units[2] = 1", lambda r: r["units"][1:2] == [1]),
        (
            "units[-1] = 2 or len(units) = 1",
            lambda r: r["units"][-1:] == [2] or len(r["units"]) == 1,
        ),
        ("list_contains(units, 2)", lambda r: 2 in r["units"]),
        ("not (width between 5 and 10)", lambda r: not 5 <= r["width"] <= 10),
        (
            "width in (4, 16) and status <> 'stopped'",
            lambda r: r["width"] in (4, 16) and r["status"] != "stopped",
        ),
        ("initialization.scale < 1e-4 -- and so on", lambda r: r["initialization.scale"] < 1e-4),
        ('log10("initialization.scale") < -4', lambda r: np.log10(r["initialization.scale"]) < -4),
        (
            "status like 'st%' and run % 2 = 0",
            lambda r: r["status"].startswith("st") and r["run"] % 2 == 0,
        ),
        (
            "case when width = 4 then run = 0 else run = 5 end",
            lambda r: r["run"] == (0 if r["width"] == 4 else 5),
        ),
        ("width::double / 3 > 2 or status is null", lambda r: r["width"] / 3 > 2),
        ("(run < 3) or (1 = 1)", lambda r: True),
        ("héight is null or héight > 5", lambda r: not r["héight"] <= 5),
        ("greatest(run, width) = 4 /* all of\n it */", lambda r: max(r["run"], r["width"]) == 4),
    ],
)
def test_conditions_mean_what_they_say(condition, expected):
    """(d) By a loop over the rows."""
    assert runs(condition) == [row["run"] for row in TABLE.to_dict("records") if expected(row)]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("run < 3) OR (1=1", r"syntax error .* at '\) OR \(1=1'"),
        ("1=1); SELECT 99 AS run, (1=1", "syntax error"),
        ("1=1; SELECT 2", "must be one expression"),
        ("1=1); CALL enable_logging(level='debug'", "syntax error"),
        ("1=1; CALL enable_logging()", "is not a condition on the runs"),
        ("1=1; COPY runs TO 'x.csv'", "is not a condition on the runs"),
        ("run, width", "must be one expression"),
        ("run as x", "must be one expression"),
        ("1 from runs", "must be one expression"),
        ("run limit 2", "must be one expression"),
        ("1=1 order by run", "must be one expression"),
        ("1=1 group by 1", "must be one expression"),
        ("1=1 union all select 1", "must be one expression"),
        ("distinct run", "must be one expression"),
        ("exists(select 1 from runs a, runs b, runs c)", "a query within it at 'exists"),
        ("run = (select max(run) from runs)", "a query within it"),
        ("run in (select 1)", "a query within it"),
        ("sum(run) over () > 1", "a window over other rows"),
        ("sum(run) > 1", "'sum' is no function of a filter at 'sum.*one run at a time"),
        ("count(*) > 1", r"'count' is no function of a filter at 'count\(.*one run at a time"),
        ("lenght(status) > 1", "did you mean 'length'"),
        ("sgd(run) = 1", "'sgd' is no function .*; these are: abs, .*, and more of text and lists"),
        ("width", "a column alone is no condition; compare .* show it: --columns width"),
        ("runs.WIDTH", "a column alone .* --columns width"),
        ("units", "a column alone is no condition"),
        ("initialization.scale", "a column alone .* --columns initialization.scale"),
        ("columns(*) > 1", "a star"),
        ("*", "a star"),
        ("#1 = 1", "a column by its number"),
        ("run = ?", "a question mark"),
        ("run = $x", "a question mark"),
        ("len(list_filter(units, x -> x > 1)) > 0", "no function of a filter"),
        ("getenv('HOME') = 'x'", "'getenv' is no function of a filter"),
        ("current_setting('threads') = '1'", "is no function of a filter"),
        ("current_user = 'x'", "FILTER"),
        ("length(repeat('x', 1000000000)) > 1", "'repeat' is no function of a filter"),
        ("len(range(10000000000)) > 1", "'range' is no function of a filter"),
        ("main.abs(run) = 1", "'main.abs' is no function of a filter at 'main.abs"),
        ("error('x')", "'error' is no function of a filter"),
        ("rowid = 1", "there is no column 'rowid'"),
        ("heights > 1 and other.run = 1", "there is no column"),
        ("other.run = 1", "there is no column 'other.run'"),
        ("widht = 4", "there is no column 'widht'; did you mean 'width'"),
        ("run < 'abc'", "Could not convert string 'abc' to INT64 at .'abc'"),
        ("héight > 1 and run < 'abc'", "Could not convert string"),
        ("run = 1 /* never closed", "unterminated"),
        ("run =", "syntax error"),
        ("run = 1\0", "without the letter NUL"),
        ("'", "unterminated"),
        ("not " * 3000 + "true", "FILTER"),
        ("(" * 3000 + "true" + ")" * 3000, "FILTER"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(condition, words):
    """Before, brackets of the text closed those around it: more rows than asked for, an invented
    row, another statement."""
    with pytest.raises(InputError, match=words):
        runs(condition)


@pytest.mark.parametrize("kind", [bool, "boolean", object])
def test_a_column_of_true_and_false_is_a_condition(kind):
    table = TABLE.assign(predicted=pd.Series([True, False] * 3).astype(kind))
    assert filters.chosen(table, "predicted")["run"].tolist() == [0, 2, 4]


def test_nothing_else_is_in_reach(tmp_path):
    """(c) By DuckDB itself: the settings forbid what the walk should never let through, and cannot
    be changed."""
    import duckdb

    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    mine = pd.DataFrame({"a": [1]})
    connection = duckdb.connect(config=dict(filters.SETTINGS))
    for statement in (
        f"SELECT * FROM read_csv('{secret}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        "SET enable_external_access = true",
        "SELECT * FROM mine",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    assert len(mine) == 1 and not (tmp_path / "out.csv").exists()


def test_a_walk_that_skips_functions_is_seen(monkeypatch):
    """Broken on purpose: with every function allowed, the environment can be read."""
    monkeypatch.setattr(filters, "FUNCTIONS", filters.FUNCTIONS | {"getenv"})
    try:
        assert runs("getenv('HOME') = 'x'") == []
    except InputError as error:
        assert "is no function of a filter" not in str(error)


def test_a_filter_can_be_ended(monkeypatch):
    """What DuckDB computes is waited for patiently, with its own way to be interrupted."""
    waited = []

    def spy(call, stop):
        waited.append(stop.__name__)
        return call()

    monkeypatch.setattr(filters, "patiently", spy)
    assert runs("run < 2") == [0, 1] and waited == ["interrupt"]


def test_a_sentence_does_not_list_all_there_is():
    """Long names of files, none of which is near a function, leave room for what to do."""
    with pytest.raises(InputError) as refused:
        runs("read_csv('/etc/passwd')")
    assert len(str(refused.value)) < 600
