"""How the lines of each room read, by numbers: means to look at, not ends.

python tools/lines.py [CHECKOUT]        a row a room, of this checkout or another

letters: mean length of lines that are not empty. Of a thousand of these: over 100 columns, with a
conditional expression, with a comment. Of public docstrings of functions and classes: with an
example, with a shape or a signature that states one, with a source. Last: functions of more than
40 statements.
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


class Counts(NamedTuple):
    """lines: their lengths. The others: how many."""

    lines: list[int]
    conditionals: int
    comments: int
    docstrings: int
    examples: int
    shapes: int
    sources: int
    long: int


def counts(folder: Path) -> Counts:
    texts = [path.read_text("utf-8") for path in sorted(folder.rglob("*.py"))]
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
        f"{sum(found.lines) / max(len(found.lines), 1):8.1f}",
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
        "room             lines letters  >100 conditionals comments docstrings examples  shapes"
        " sources long"
    )
    for folder in sorted(path for path in house.iterdir() if (path / "__init__.py").exists()):
        print(row(folder.name, counts(folder)))
    print(row("all", counts(house)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
