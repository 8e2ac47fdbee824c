"""Inputs spoilt on purpose: each mutation says what the truth is, "refuse" where no reading of it
is right, else None."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutated = tuple[Any, str | None]  # what came out, and the truth
REFUSE = "refuse"
ODD_NUMBERS = (
    0,
    -1,
    1,
    2,
    3.5,
    -0.0,
    1e-320,
    1e308,
    2**31,
    2**63,
    10**25,
    float("nan"),
    float("inf"),
    -float("inf"),
    True,
)
ODD_TEXTS = (
    "",
    " ",
    "nan",
    "linear ",
    "LINEAR",
    "../up",
    "a\nb",
    "\x1b[31m",
    "\u202e",
    "é" * 300,
    "$\\frac{$",
    "<script>",
    "x" * 5000,
    "\x00",
)
ODD_VALUES = (
    *ODD_NUMBERS,
    *ODD_TEXTS,
    [],
    {},
    [[]],
    [1, [2]],
    [1, "2"],
    {"kind": 3},
    [None],
    list(range(2000)),
)


def leaves(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in nested tables and lists."""
    if isinstance(table, dict) and table:
        return [p for k, v in table.items() for p in leaves(v, (*path, k))]
    if isinstance(table, list) and table:
        return [p for k, v in enumerate(table) for p in leaves(v, (*path, k))]
    return [path]


def put(table: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(table)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return made


def get(table: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        table = table[key]
    return table


def pick(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


# ------------------------------------------------------------------ tables
def another_kind(rng: Rng, table: dict[str, Any]) -> Mutated:
    """Text where a number was, a number where text was."""
    path = pick(
        rng,
        [
            p
            for p in leaves(table)
            if not isinstance(get(table, p), (dict, list, bool)) and p[0] != "description"
        ],
    )
    value = get(table, path)
    return put(table, path, "a word" if not isinstance(value, str) else 17), REFUSE


def odd_value(rng: Rng, table: dict[str, Any]) -> Mutated:
    return put(table, pick(rng, leaves(table)), pick(rng, ODD_VALUES)), None


def unknown_key(rng: Rng, table: dict[str, Any]) -> Mutated:
    path = pick(rng, leaves(table))
    parent = get(table, path[:-1])
    if not isinstance(parent, dict):
        return unknown_key(rng, table)
    return put(
        table, (*path[:-1], pick(rng, ("sclae", "Width", "x y", "é", "__class__"))), 1
    ), REFUSE


def lost_key(rng: Rng, table: dict[str, Any]) -> Mutated:
    made = copy.deepcopy(table)
    key = pick(rng, [k for k in made if k in ("task", "network", "stop")] or list(made))
    del made[key]
    return made, REFUSE if key in ("task", "network", "stop") else None


def negative(rng: Rng, table: dict[str, Any]) -> Mutated:
    """Every number of an experiment that is changed here must be above zero."""
    paths = [
        p
        for p in leaves(table)
        if p[-1] in ("width", "scale", "flow_time", "steps", "learning_rate", "samples")
    ]
    return put(table, pick(rng, paths), pick(rng, (-1, -3.5, float("nan")))), REFUSE


TABLES = (another_kind, odd_value, odd_value, odd_value, unknown_key, lost_key, negative)


# ------------------------------------------------------------------ bytes and text
def flipped(rng: Rng, content: bytes) -> Mutated:
    """Some bytes changed."""
    made = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        made[int(rng.integers(len(made)))] ^= int(rng.integers(1, 256))
    return bytes(made), None


def cut(rng: Rng, content: bytes) -> Mutated:
    return content[: int(rng.integers(len(content)))], None


def grown(rng: Rng, content: bytes) -> Mutated:
    place = int(rng.integers(len(content) + 1))
    return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:], None


def marked(rng: Rng, content: bytes) -> Mutated:
    return pick(
        rng, (b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\x80", b"[" * 5000, b"PK\x03\x04")
    ) + content, None


BYTES = (flipped, cut, grown, marked)


# ------------------------------------------------------------------ data tables
def bad_cell(rng: Rng, rows: list[list[str]]) -> Mutated:
    made = copy.deepcopy(rows)
    place = int(rng.integers(1, len(made))), int(rng.integers(len(made[0])))
    made[place[0]][place[1]] = pick(
        rng, ("word", "nan", "inf", "", "1_000", "0x10", "1,5", "1e999", "--3")
    )
    return made, REFUSE


def ragged(rng: Rng, rows: list[list[str]]) -> Mutated:
    made = copy.deepcopy(rows)
    made[int(rng.integers(1, len(made)))].append("1.0")
    return made, REFUSE


def other_size(rng: Rng, rows: list[list[str]]) -> Mutated:
    """All numbers of a column of another size."""
    made, column, factor = (
        copy.deepcopy(rows),
        int(rng.integers(len(rows[0]))),
        10.0 ** int(rng.choice([-200, -20, 9, 19, 160])),
    )
    for row in made[1:]:
        row[column] = repr(float(row[column]) * factor)
    return made, None


def plain_rows(rng: Rng, rows: list[list[str]]) -> Mutated:
    """Nothing wrong: must be read."""
    return copy.deepcopy(rows), "accept"


ROWS: tuple[Callable[[Rng, list[list[str]]], Mutated], ...] = (
    bad_cell,
    ragged,
    other_size,
    plain_rows,
)


# ------------------------------------------------------------------ filters
COLUMNS = ("run", "seed", "loss", "steps", "stages", "initialization.scale")
ATTACKS = (
    *(
        "run < 3) OR (1=1",
        "1=1); SELECT 1",
        "CALL enable_logging()",
        "run IN (SELECT run FROM t)",
        "1=1 UNION SELECT 1",
    ),
    *(
        "read_csv('/etc/passwd')",
        "1=1) --",
        "run < 3 /*",
        "(run < 3",
        "run <",
        "getenv('HOME') = ''",
        "exists(select 1)",
    ),
    *("COPY t TO 'x'", "PRAGMA database_list", ";", "\x00"),
)


def comparison(rng: Rng) -> tuple[str, Callable[[Any], Any]]:
    """A condition and the same for a pandas table."""
    column, sign, value = (
        pick(rng, COLUMNS),
        pick(rng, ("<", "<=", ">", ">=", "=", "<>")),
        float(rng.choice([0, 1, 2, 5, 1e-3, 1e-12])),
    )
    python = {
        "<": lambda t: t[column] < value, "<=": lambda t: t[column] <= value, ">": lambda t: t[column] > value,
        ">=": lambda t: t[column] >= value, "=": lambda t: t[column] == value, "<>": lambda t: t[column] != value,
    }[sign]  # fmt: skip
    comment = str(
        rng.choice(["", "", "", " -- and so on", " /* so */"])
    )  # of SQL's: it says nothing
    return f"{column} {sign} {value!r}{comment}\n", python


def condition(rng: Rng, depth: int = 2) -> tuple[str, Callable[[Any], Any]]:
    if depth == 0 or rng.random() < 0.4:
        return comparison(rng)
    (a, one), (b, other) = condition(rng, depth - 1), condition(rng, depth - 1)
    if rng.random() < 0.5:
        return f"({a}) and ({b})", lambda t: one(t) & other(t)
    return f"({a}) or not ({b})", lambda t: one(t) | ~other(t)
