"""The house: which room stands on which floor. The picture and the table of docs/development.md are
made of it.

python tools/rooms.py            whether they are up to date, and every import points down (exit code 1 where not)
python tools/rooms.py --write    brings them up to date
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

FLOORS = (  # from the ground up; a room imports from lower floors alone
    ("basis",),
    ("doors",),
    ("units", "rules", "theory", "solvers"),
    ("networks",),
    ("tasks", "training"),
    ("initializations", "symmetry"),
    ("saddles",),
    ("experiments",),
    ("runs",),
    ("plateaus", "engines"),
    ("predictions",),
    ("sweeps", "plots"),
    ("studies",),
    ("report",),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
CHECKOUT = Path(__file__).parent.parent
HOUSE = CHECKOUT / "src" / "saddlery"
PAGE = CHECKOUT / "docs" / "development.md"
PICTURE = CHECKOUT / "docs" / "rooms.svg"
BEGIN, END = "<!-- made by tools/rooms.py -->\n", "<!-- end -->\n"

WIDE, HIGH, GAP = 150, 34, 26  # of a room in the picture, and between two floors
PAGE_WIDTH = 760
# where a room stands on its floor, as a share of the width, so that no arrow passes behind another
# room
ACROSS = {
    "basis": 0.5,
    "doors": 0.5,
    "solvers": 0.1,
    "units": 0.31,
    "rules": 0.69,
    "theory": 0.9,
    "networks": 0.33,
    "tasks": 0.45,
    "training": 0.69,
    "symmetry": 0.25,
    "initializations": 0.52,
    "saddles": 0.12,
    "experiments": 0.45,
    "runs": 0.45,
    "plateaus": 0.2,
    "engines": 0.5,
    "predictions": 0.75,
    "sweeps": 0.3,
    "plots": 0.8,
    "studies": 0.55,
    "report": 0.45,
    "cli": 0.45,
}


class Import(NamedTuple):
    """One import of saddlery's own. path: of the file that imports. room, module: that it imports
    from; line: where."""

    path: Path
    room: str
    module: str
    line: int


def modules() -> list[Path]:
    return sorted(path for path in HOUSE.rglob("*.py") if path != HOUSE / "__init__.py")


def room_of(path: Path) -> str:
    """The room of a file; of one that lies in none, its own name."""
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    """Its name below `saddlery`, as in "networks.losses"; of a room's own file, the room's."""
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[Import]:
    """All imports of saddlery in a file, wherever they stand."""
    package = ["saddlery", *path.relative_to(HOUSE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for name in _names(node, package):
            first, _, rest = name.partition(".")
            if first == "saddlery":
                yield Import(path, rest.partition(".")[0], rest, node.lineno)  # pyright: ignore (an import has a line)


def _names(node: ast.AST, package: list[str]) -> list[str]:
    """The modules that a node imports, by their full names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) - node.level + 1] if node.level else []
    full = ".".join([*base, *([node.module] if node.module else [])])
    return [_module(full, alias.name) for alias in node.names]


def _module(package: str, name: str) -> str:
    """What `from package import name` loads: the package, or a module of it."""
    place = HOUSE.parent.joinpath(*package.split("."), name)
    return f"{package}.{name}" if place.is_dir() or place.with_suffix(".py").exists() else package


def arrows() -> dict[str, set[str]]:
    """room -> the rooms it imports from."""
    found: dict[str, set[str]] = {room: set() for room in FLOOR}
    for path in modules():
        own = room_of(path)
        if own in FLOOR:
            found[own] |= {one.room for one in imports(path)} - {own}
    return found


def upwards() -> list[Import]:
    """Imports that do not point down, of files that lie in rooms."""
    return [
        one
        for path in modules()
        if (own := room_of(path)) in FLOOR
        for one in imports(path)
        if one.room != own and not FLOOR.get(one.room, len(FLOORS)) < FLOOR[own]
    ]


def direct(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without the arrows that others imply: a room that is reached by way of another is not drawn
    again."""
    reached: dict[str, set[str]] = {}
    for room in sorted(graph, key=FLOOR.__getitem__):
        reached[room] = graph[room].union(*(reached[other] for other in graph[room]))
    implied = {room: set().union(*(reached[other] for other in graph[room])) for room in graph}
    return {room: graph[room] - implied[room] for room in graph}


def sentences(room: str) -> str:
    """What lives in a room and what does not, in one line: the first two paragraphs of its
    docstring."""
    text = ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text("utf-8"))) or ""
    return " ".join(" ".join(text.split("\n\n")[:2]).split())


def table() -> str:
    """A row a room, the ground floor last."""
    rows = [
        f"| {room} | {sentences(room)} | {', '.join(modules_of(room))} |"
        for rooms in reversed(FLOORS)
        for room in rooms
    ]
    return "\n".join(["| room | what lives there | modules |", "|---|---|---|", *rows]) + "\n"


def modules_of(room: str) -> list[str]:
    """The names of the modules of a room, and of packages within it."""
    files = [path.stem for path in (HOUSE / room).glob("[!_]*.py")]
    return sorted([*files, *(path.parent.name for path in (HOUSE / room).glob("*/__init__.py"))])


def picture() -> str:
    """Rooms floor by floor, the ground floor under all of them, and an arrow from each to those it
    imports from, without what others imply."""
    places = _places()
    height = len(FLOORS) * (HIGH + GAP) + GAP
    ends = lambda room, other: (
        places[room][0] if other in FLOORS[0] else places[other][0],
        places[other][1],
    )
    pairs = [(room, other) for room, others in direct(arrows()).items() for other in sorted(others)]
    lines = [_arrow(places[room], ends(room, other)) for room, other in pairs]
    boxes = [
        _box(room, *places[room], PAGE_WIDTH - GAP if room in FLOORS[0] else WIDE) for room in FLOOR
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PAGE_WIDTH} {height}"'
        ' font-family="sans-serif" font-size="14">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5f7f95"/></marker></defs>\n'
        f'<rect width="{PAGE_WIDTH}" height="{height}" fill="white"/>\n'
    )
    return head + "".join(lines + boxes) + "</svg>\n"


def _places() -> dict[str, tuple[float, float]]:
    """The middle of every room."""
    top = len(FLOORS) - 0.5
    return {
        room: (PAGE_WIDTH * ACROSS[room], (top - FLOOR[room]) * (HIGH + GAP) + GAP / 2)
        for room in FLOOR
    }


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x0, y0), (x1, y1) = start, end
    y0, y1 = y0 + HIGH / 2, y1 - HIGH / 2
    bend = (y1 - y0) / 2
    curve = f"M{x0:g},{y0:g} C{x0:g},{y0 + bend:g} {x1:g},{y1 - bend:g} {x1:g},{y1:g}"
    return f'<path d="{curve}" fill="none" stroke="#5f7f95" marker-end="url(#tip)"/>\n'


def _box(room: str, x: float, y: float, width: float) -> str:
    corner = f'x="{x - width / 2:g}" y="{y - HIGH / 2:g}" width="{width}" height="{HIGH}" rx="6"'
    label = (
        f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="#12303f">{escape(room)}</text>'
    )
    title = f"<title>{escape(sentences(room))}</title>"
    return f'<g>{title}<rect {corner} fill="#e8f0f4" stroke="#1b4965"/>{label}</g>\n'


def page(text: str) -> str:
    """The page with its table made anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def main(write: bool) -> int:
    for one in upwards():
        print(f"{one.path.relative_to(CHECKOUT)}:{one.line} imports {one.room}, which is not below")
    made = {PICTURE: picture(), PAGE: page(PAGE.read_text("utf-8"))}
    old = [
        path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    for path in old:
        if write:
            path.write_text(made[path], "utf-8")
        else:
            place = path.relative_to(CHECKOUT)
            print(f"{place} is not up to date: .venv/bin/python tools/rooms.py --write")
    return int(bool(upwards()) or bool(old and not write))


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
