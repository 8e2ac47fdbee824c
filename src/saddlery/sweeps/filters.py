"""Filters of runs: one expression of SQL over the columns of a row, and nothing else that SQL can
say.

DuckDB parses the text into a tree, which is walked before anything is computed: columns that exist,
constants, comparisons, and functions that make a value of values. What could read, write, call,
join or count other rows has no place in it, so that a filter ends as soon as it has seen each row
once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..basis.checks import InputError, nearest, require
from ..basis.interruptions import patiently

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

# Nothing of the machine, nothing that is not in the package, and no filter can change that.
SETTINGS = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    # no table but the runs, not even a variable of the caller's
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
OPERATORS = {
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "^",
    "**",
    "||",
    "@",
    "~~",
    "!~~",
    "~~*",
    "!~~*",
    "~~~",
}  # ~~ is LIKE
FUNCTIONS = {
    *(
        "abs",
        "sign",
        "round",
        "floor",
        "ceil",
        "ceiling",
        "trunc",
        "sqrt",
        "cbrt",
        "exp",
        "pow",
        "power",
        "mod",
    ),
    *(
        "ln",
        "log",
        "log2",
        "log10",
        "greatest",
        "least",
        "isnan",
        "isinf",
        "isfinite",
        "nullif",
        "ifnull",
    ),
    *(
        "lower",
        "upper",
        "length",
        "len",
        "strlen",
        "contains",
        "starts_with",
        "ends_with",
        "prefix",
        "suffix",
    ),
    *("like_escape", "not_like_escape", "regexp_matches", "regexp_full_match"),
    *(
        "list_value",
        "array_extract",
        "list_extract",
        "list_element",
        "array_slice",
        "list_slice",
        "array_length",
    ),
    *("list_contains", "list_has", "array_contains", "array_has", "list_position", "list_indexof"),
    *("list_min", "list_max", "list_sum", "list_avg", "list_count", "list_unique", "list_distinct"),
    *("list_first", "list_last"),
}
# functions of SQL that make one number of many rows
OF_MANY = {"count", "sum", "avg", "mean", "min", "max", "median", "stddev", "variance", "quantile"}
PARTS = {
    "COLUMN_REF",
    "CONSTANT",
    "COMPARISON",
    "CONJUNCTION",
    "OPERATOR",
    "BETWEEN",
    "CASE",
    "CAST",
    "FUNCTION",
    "TYPE",
}
WORDS = {
    "SUBQUERY": "a query within it",
    "WINDOW": "a window over other rows",
    "STAR": "a star",
    "LAMBDA": "a function of its own",
    "PARAMETER": "a question mark",
    "POSITIONAL_REFERENCE": "a column by its number",
}
BEGIN = "SELECT\n"  # so that the condition has lines of its own, and a comment in it ends with it
AROUND = 24  # letters shown from the place of an error
Node = Mapping[str, Any]


def chosen(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows of a table that meet a condition. Raises InputError where it is none, with the
    place."""
    import duckdb

    require("\0" not in condition, "FILTER", "without the letter NUL", condition)
    columns = list(table.columns)
    connection = duckdb.connect(config=dict(SETTINGS))
    try:
        text = quoted(condition, columns)
        tree = _parsed(connection, text, condition, columns)
        _check(tree, text, condition, columns)
        _refuse_bare(tree, condition, table)
        connection.register("runs", table)
        query = f"SELECT * FROM runs WHERE (\n{text}\n)"
        return patiently(lambda: connection.execute(query).df(), connection.interrupt)
    except RecursionError:
        raise InputError(_no_condition(condition, "it is nested too deeply", columns)) from None
    except duckdb.Error as error:
        raise InputError(_failed(condition, str(error), columns)) from None
    finally:
        connection.close()


def quoted(condition: str, columns: Sequence[str]) -> str:
    """The condition with every dotted column in double quotes, as SQL wants it."""
    dotted = sorted((re.escape(name) for name in columns if "." in name), key=len, reverse=True)
    if not dotted:
        return condition
    parts = re.split(r"('[^']*'|\"[^\"]*\")", condition)  # what is quoted already stays
    name = re.compile(rf"(?<![\w.])({'|'.join(dotted)})(?![\w.])")
    return "".join(part if k % 2 else name.sub(r'"\1"', part) for k, part in enumerate(parts))


def _parsed(
    connection: duckdb.DuckDBPyConnection, text: str, condition: str, columns: Sequence[str]
) -> Node:
    """The tree of the one expression that the text is."""
    ((answer,),) = connection.execute(
        "SELECT json_serialize_sql(?::VARCHAR)", [f"{BEGIN}{text}\n"]
    ).fetchall()
    tree = json.loads(answer)
    if tree.get("error"):
        where = _near(text, int(tree.get("position") or 0))
        raise InputError(_no_condition(condition, f"{tree['error_message']}{where}", columns))
    statements = tree["statements"]
    node = statements[0]["node"]
    items = node.get("select_list", [])
    # Bare, without the brackets that a text could close: whatever follows the expression is a part
    # of its own.
    others = [
        node.get(name)
        for name in (
            "where_clause",
            "group_expressions",
            "having",
            "qualify",
            "sample",
            "modifiers",
        )
    ]
    alone = (
        len(statements) == 1
        and node["type"] == "SELECT_NODE"
        and len(items) == 1
        and not items[0].get("alias")
        and not any(others)
        and not node.get("cte_map", {}).get("map")
        and node.get("from_table", {}).get("type") == "EMPTY"
    )
    if not alone:
        raise InputError(_no_condition(condition, "it must be one expression", columns))
    return items[0]


def _check(tree: Node, text: str, condition: str, columns: Sequence[str]) -> None:
    known = {name.casefold() for name in columns}
    for node in _nodes(tree):
        kind, where = node["class"], _near(text, int(node.get("query_location") or 0))
        if kind == "COLUMN_REF":
            name = _column(node)
            if name.casefold() not in known:
                raise InputError(_no_column(name, condition, columns))
        elif kind == "FUNCTION":
            parts = (node.get("catalog"), node.get("schema"), node["function_name"])
            name = ".".join(part for part in parts if part).casefold().removesuffix("_star")
            if name not in OPERATORS | FUNCTIONS:
                unknown = f"FILTER {condition!r}: {name!r} is no function of a filter{where}"
                raise InputError(f"{unknown}; {_instead_of(name)}")
        elif kind not in PARTS:
            words = WORDS.get(kind, f"{kind.lower()!r}")
            raise InputError(_no_condition(condition, f"it may not hold {words}{where}", columns))


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
    return f"did you mean {guess!r}?" if guess else f"these are: {', '.join(sorted(FUNCTIONS))}"


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
    """Where in a condition, for a position in what was parsed (in bytes, as DuckDB counts)."""
    place = position - len(BEGIN)
    found = text.encode()[max(place, 0) :].decode(errors="ignore").strip()
    if place < 0 or not found:
        return " at its end"
    return f" at {found[:AROUND]!r}"


def _failed(condition: str, words: str, columns: Sequence[str]) -> str:
    """DuckDB's words, with the place that it marks below the line."""
    lines = words.splitlines()
    marks = [k for k, line in enumerate(lines) if line.strip() and not line.strip(" ^~")]
    where = ""
    if marks and marks[0]:
        at = lines[marks[0]].index(lines[marks[0]].strip()[0])
        where = f" at {lines[marks[0] - 1][at : at + AROUND].strip()!r}"
    return _no_condition(condition, f"{lines[0]}{where}", columns)


def _no_condition(condition: str, words: str, columns: Sequence[str]) -> str:
    return (
        f'FILTER {condition!r} is not a condition on the runs: {words}; it reads like "width >='
        ' 20 and units[2] = 1",'
        f" and the columns are {', '.join(columns)}"
    )


def _no_column(name: str, condition: str, columns: Sequence[str]) -> str:
    if f'"{name}"' in condition and not difflib.get_close_matches(name, columns, cutoff=0.8):
        return (
            f"FILTER {condition!r}: there is no column {name!r}; text goes in "
            f"single quotes, '{name}'"
        )
    guess = nearest(name, columns)
    if condition.strip() == name and not guess:
        return (
            f"FILTER {condition!r}: there is no such folder and no such column; a filter "
            "reads like 'width >= 20'"
        )
    hint = f"did you mean {guess!r}?" if guess else f"choose one of {', '.join(columns)}"
    return f"FILTER {condition!r}: there is no column {name!r}; {hint}"
