"""How the lines of each room read, by numbers: means to look at, not ends.

python tools/lines.py [CHECKOUT]        a row a room, of this checkout or another

letters: mean length of lines; filled: of those that are not empty. Of a thousand of the latter: over 100 columns, with a
conditional expression, with a comment. Of public docstrings of functions and classes: with an
example, with a shape or a signature that states one, with a source. Last: functions of more than
40 statements. The last rows: rooms that compute, and all.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Public = ast.FunctionDef | ast.ClassDef
SHAPE = re.compile(r"\([A-Z]'?(, ?[A-Z]'?)*,?\)|Float\[|Int\[|Vector")
SOURCE = re.compile(r"\(\d{4}\)|\b(19|20)\d\d\b|Source|Theorem|Algorithm")
LONG = 40
COMPUTE = (
    *("units", "networks", "tasks", "initializations", "rules", "training", "solvers"),
    *("symmetry", "theory", "saddles", "plateaus", "predictions"),
)


class Counts(NamedTuple):
    """lines: lengths of those that are not empty. The others: how many; every: lines."""

    every: int
    lines: list[int]
    conditionals: int
    comments: int
    docstrings: int
    examples: int
    shapes: int
    sources: int
    long: int


def counts(*folders: Path) -> Counts:
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    texts = [path.read_text("utf-8") for path in paths]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    trees = [ast.parse(text) for text in texts]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    said = [
        (node, words)
        for tree in trees
        for node in public(tree)
        if (words := ast.get_docstring(node))
    ]
    return Counts(
        every=sum(len(text.splitlines()) for text in texts),
        lines=[len(line) for line in lines],
        conditionals=sum(isinstance(node, ast.IfExp) for node in nodes),
        comments=sum(line.lstrip().startswith("#") or "  # " in line for line in lines),
        docstrings=len(said),
        examples=sum(">>>" in words for _, words in said),
        shapes=sum(bool(SHAPE.search(words + signature(node))) for node, words in said),
        sources=sum(bool(SOURCE.search(words)) for _, words in said),
        long=sum(isinstance(node, ast.FunctionDef) and statements(node) > LONG for node in nodes),
    )


def public(tree: ast.Module) -> Iterator[Public]:
    """Functions and classes of a module that users may call."""
    for node in tree.body:
        if isinstance(node, Public) and not node.name.startswith("_"):
            yield node


def signature(node: Public) -> str:
    if isinstance(node, ast.FunctionDef):
        return ast.unparse(node.args) + ast.unparse(node.returns or ast.Constant(None))
    return " ".join(ast.unparse(part) for part in node.body if isinstance(part, ast.AnnAssign))


def statements(node: ast.AST) -> int:
    return sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1


def row(name: str, found: Counts) -> str:
    thousand = max(len(found.lines), 1) / 1000
    hundred = max(found.docstrings, 1) / 100
    cells = [
        f"{len(found.lines):6}",
        f"{sum(found.lines) / max(found.every, 1):8.1f}",
        f"{sum(found.lines) / max(len(found.lines), 1):7.1f}",
        f"{sum(length > 100 for length in found.lines) / thousand:6.1f}",
        f"{found.conditionals / thousand:12.1f}",
        f"{found.comments / thousand:9.1f}",
        f"{found.docstrings:11}",
        f"{found.examples / hundred:9.0f}%",
        f"{found.shapes / hundred:7.0f}%",
        f"{found.sources / hundred:8.0f}%",
        f"{found.long:5}",
    ]
    return f"{name:16}" + "".join(cells)


def main() -> int:
    checkout = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent.parent
    house = checkout / "src" / "saddlery"
    print(
        "room             lines letters filled  >100 conditionals comments docstrings examples  shapes"
        " sources long"
    )
    for folder in sorted(path for path in house.iterdir() if (path / "__init__.py").exists()):
        print(row(folder.name, counts(folder)))
    print(row("that compute", counts(*(house / room for room in COMPUTE))))
    print(row("all", counts(house)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
