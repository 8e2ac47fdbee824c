"""Filters of runs: one expression of SQL over the columns of a row, and
nothing else that SQL can say.

DuckDB parses the text into a tree, which is walked before anything is
computed: columns that exist, constants, comparisons, and functions that
make a value of values. What could read, write, call, join or count other
rows has no place in it, so that a filter ends as soon as it has seen each
row once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ..basis.checks import InputError, nearest, require
from ..basis.interruptions import patiently

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

# DuckDB's settings: a filter reaches nothing of the machine, nothing outside the
# package, and cannot change that.
SETTINGS = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    # no table but the runs, not even a variable of the caller's
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
# Operators of a filter: ~~ is LIKE, ~~* is ILIKE, ~~~ is GLOB.
OPERATORS = {
    *("+", "-", "*", "/", "//", "%", "^", "**", "||", "@"),
    *("~~", "!~~", "~~*", "!~~*", "~~~"),
}
# Functions that a filter may call: of numbers, of texts, of lists.
FUNCTIONS = {
    *("abs", "sign", "round", "floor", "ceil", "ceiling", "trunc"),
    *("sqrt", "cbrt", "exp", "pow", "power", "mod"),
    *("ln", "log", "log2", "log10", "greatest", "least"),
    *("isnan", "isinf", "isfinite", "nullif", "ifnull"),
    *("lower", "upper", "length", "len", "strlen", "contains"),
    *("starts_with", "ends_with", "prefix", "suffix"),
    *("like_escape", "not_like_escape"),
    *("regexp_matches", "regexp_full_match"),
    *("list_value", "array_extract", "list_extract", "list_element"),
    *("array_slice", "list_slice", "array_length"),
    *("list_contains", "list_has", "array_contains", "array_has"),
    *("list_position", "list_indexof"),
    *("list_min", "list_max", "list_sum", "list_avg"),
    *("list_count", "list_unique", "list_distinct"),
    *("list_first", "list_last"),
}
# Functions of SQL that make one number of many rows, which a filter cannot.
OF_MANY = {"count", "sum", "avg", "mean", "min", "max", "median", "stddev", "variance", "quantile"}
# The classes of DuckDB's tree that a filter may hold.
ALLOWED_PARTS = {
    *("COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION"),
    *("OPERATOR", "BETWEEN", "CASE", "CAST", "FUNCTION", "TYPE"),
}
# Some classes that it may not hold, in words.
REFUSED_PARTS = {
    "SUBQUERY": "a query within it",
    "WINDOW": "a window over other rows",
    "STAR": "a star",
    "LAMBDA": "a function of its own",
    "PARAMETER": "a question mark",
    "POSITIONAL_REFERENCE": "a column by its number",
}
# Clauses that make a query more than the one expression that it selects: it is refused.
CLAUSES = (
    "where_clause",
    "group_expressions",
    "having",
    "qualify",
    "sample",
    "modifiers",
)
# The condition has lines of its own, so that a comment in it ends with it.
SELECT = "SELECT\n"
AROUND = 24  # letters shown from the place of an error
Node = Mapping[str, Any]


class _Filter(NamedTuple):
    """A condition as it was given, and the columns that it may speak of."""

    condition: str
    columns: Sequence[str]

    def refused(self, why: str) -> InputError:
        """The sentence about a condition that is none."""
        return InputError(
            f"FILTER {self.condition!r} is not a condition on the runs: {why};"
            ' it reads like "width >= 20 and units[2] = 1",'
            f" and the columns are {', '.join(self.columns)}"
        )

    def without(self, name: str) -> InputError:
        """The sentence about a column that is not there."""
        nearly = difflib.get_close_matches(name, self.columns, cutoff=0.8)
        missing = f"FILTER {self.condition!r}: there is no"
        if f'"{name}"' in self.condition and not nearly:
            return InputError(
                f"{missing} column {name!r}; text goes in single quotes, '{name}'",
            )
        guess = nearest(name, self.columns)
        if self.condition.strip() == name and not guess:
            return InputError(
                f"{missing} such folder and no such column; a filter reads like 'width >= 20'"
            )
        hint = f"choose one of {', '.join(self.columns)}"
        if guess:
            hint = f"did you mean {guess!r}?"
        return InputError(f"{missing} column {name!r}; {hint}")


def chosen(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows of a table that meet a condition.

    Raises InputError where it is none, with the place.

    Example
    -------
    >>> import pandas as pd
    >>> from saddlery.sweeps.filters import chosen
    >>> runs = pd.DataFrame({"run": [0, 1], "initialization.scale": [1e-3, 1e-6]})
    >>> list(chosen(runs, "initialization.scale < 1e-4")["run"])
    [1]
    """
    import duckdb

    require(
        "\0" not in condition,
        "FILTER",
        "without the letter NUL",
        condition,
    )
    asked = _Filter(condition, list(table.columns))
    connection = duckdb.connect(config=dict(SETTINGS))
    try:
        text = quoted(condition, asked.columns)
        tree = _parsed(connection, text, asked)
        _check(tree, text, asked)
        _refuse_bare(tree, condition, table)
        connection.register("runs", table)
        query = f"SELECT * FROM runs WHERE (\n{text}\n)"
        answer = lambda: connection.execute(query).df()
        return patiently(answer, connection.interrupt)
    except RecursionError:
        raise asked.refused("it is nested too deeply") from None
    except duckdb.Error as error:
        raise asked.refused(_words(str(error))) from None
    finally:
        connection.close()


def quoted(condition: str, columns: Sequence[str]) -> str:
    """The condition with every dotted column in double quotes, as SQL wants
    it.

    Example
    -------
    >>> from saddlery.sweeps.filters import quoted
    >>> quoted("stop.loss < 1 and task = 'stop.loss'", ["stop.loss", "task"])
    '"stop.loss" < 1 and task = \\'stop.loss\\''
    """
    dotted = [re.escape(name) for name in columns if "." in name]
    if not dotted:
        return condition
    longest_first = "|".join(sorted(dotted, key=len, reverse=True))
    name = re.compile(rf"(?<![\w.])({longest_first})(?![\w.])")
    # What is quoted already stays: every second part, since the pattern is a group.
    parts = re.split(r"('[^']*'|\"[^\"]*\")", condition)
    for k in range(0, len(parts), 2):
        parts[k] = name.sub(r'"\1"', parts[k])
    return "".join(parts)


def _parsed(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    asked: _Filter,
) -> Node:
    """The tree of the one expression that the text is."""
    question = "SELECT json_serialize_sql(?::VARCHAR)"
    # Bare, without the brackets that a text could close: whatever follows the expression is a part
    # of its own.
    answered = connection.execute(question, [f"{SELECT}{text}\n"])
    ((answer,),) = answered.fetchall()
    tree = json.loads(answer)
    if tree.get("error"):
        where = _near(text, int(tree.get("position") or 0))
        raise asked.refused(f"{tree['error_message']}{where}")
    first, *further = tree["statements"]
    node = first["node"]
    if further or not _is_one_expression(node):
        raise asked.refused("it must be one expression")
    return node["select_list"][0]


def _is_one_expression(node: Node) -> bool:
    if node["type"] != "SELECT_NODE":
        return False
    items = node.get("select_list", [])
    if len(items) != 1 or items[0].get("alias"):
        return False
    if any(node.get(name) for name in CLAUSES):
        return False
    if node.get("cte_map", {}).get("map"):
        return False
    return node.get("from_table", {}).get("type") == "EMPTY"


def _check(tree: Node, text: str, asked: _Filter) -> None:
    columns = {name.casefold() for name in asked.columns}
    for node in _nodes(tree):
        kind = node["class"]
        where = _near(text, int(node.get("query_location") or 0))
        if kind == "COLUMN_REF":
            name = _column(node)
            if name.casefold() not in columns:
                raise asked.without(name)
        elif kind == "FUNCTION":
            _check_function(node, where, asked.condition)
        elif kind not in ALLOWED_PARTS:
            words = REFUSED_PARTS.get(kind, f"{kind.lower()!r}")
            raise asked.refused(f"it may not hold {words}{where}")


def _check_function(node: Node, where: str, condition: str) -> None:
    parts = (
        node.get("catalog"),
        node.get("schema"),
        node["function_name"],
    )
    name = ".".join(filter(None, parts)).casefold().removesuffix("_star")
    if name in OPERATORS or name in FUNCTIONS:
        return
    unknown = f"FILTER {condition!r}: {name!r} is no function of a filter{where}"
    raise InputError(f"{unknown}; {_instead_of(name)}")


def _column(node: Node) -> str:
    """The column that a part of a tree names."""
    names = node["column_names"]
    return names[-1] if len(names) == 2 and names[0] == "runs" else ".".join(names)


def _refuse_bare(tree: Node, condition: str, table: pd.DataFrame) -> None:
    """A column alone is a condition only where it is true or false: SQL takes every number but zero
    for true, which nobody means."""
    import pandas as pd

    if tree["class"] != "COLUMN_REF":
        return
    wanted = _column(tree).casefold()
    name = next(name for name in table.columns if name.casefold() == wanted)
    if pd.api.types.infer_dtype(table[name], skipna=True) != "boolean":
        raise InputError(
            f"FILTER {condition!r}: a column alone is no condition; compare it with a value, as in"
            f" 'width >= 20', or show it: --columns {name}"
        )


def _instead_of(name: str) -> str:
    """What to do where a filter does not have a function."""
    if name in OF_MANY:
        return (
            "a filter sees one run at a time, so choose runs by it and count or average what it"
            " chose (--out FILE.csv)"
        )
    guess = nearest(name, FUNCTIONS)
    if guess:
        return f"did you mean {guess!r}?"
    of_numbers_and_text = [one for one in sorted(FUNCTIONS) if "_" not in one]
    return (
        f"these are: {', '.join(of_numbers_and_text)}, and more of text and lists (docs/sweeps.md)"
    )


def _nodes(tree: Any) -> Iterator[Node]:
    """Every expression of a tree."""
    if isinstance(tree, Mapping):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _near(text: str, position: int) -> str:
    """Where in a condition, for a position in what was parsed (in bytes, as
    DuckDB counts)."""
    place = position - len(SELECT)
    rest = text.encode()[max(place, 0) :]
    found = rest.decode(errors="ignore").strip()
    if place < 0 or not found:
        return " at its end"
    return f" at {found[:AROUND]!r}"


def _words(error: str) -> str:
    """DuckDB's words, with the place that it marks below the line."""
    lines = error.splitlines()
    for above, line in pairwise(lines):
        mark = line.strip()
        if mark and not mark.strip(" ^~"):
            at = line.index(mark[0])
            place = above[at : at + AROUND].strip()
            return f"{lines[0]} at {place!r}"
    return lines[0]
