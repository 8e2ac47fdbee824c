"""Imports point down, solvers know no model, importing changes nothing, and only the command line
talks."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import rooms
from packaging.requirements import Requirement
from packaging.version import Version

import saddlery

ROOT = Path(saddlery.__file__).parent
CHECKOUT = Path(__file__).parent.parent.parent
UNSAFE = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
}  # may run code on load
HEAVY = {"jax", "equinox", "diffrax", "optax", "numpy", "scipy", "sklearn", "matplotlib"}
MODULES = rooms.modules()


def test_imports_point_down():
    assert rooms.upwards() == []


def test_an_import_that_points_up_is_seen(monkeypatch):
    """Broken on purpose: the saddles stand below the networks they know."""
    monkeypatch.setitem(rooms.FLOOR, "saddles", 1)
    assert {one.room for one in rooms.upwards()} >= {"networks", "symmetry"}


def test_every_module_lives_in_a_room():
    top = [path for path in MODULES if path.parent == ROOT]
    assert [path.name for path in top] == ["__main__.py"]
    assert {rooms.room_of(path) for path in MODULES if path not in top} == set(rooms.FLOOR)
    assert sum(map(len, rooms.FLOORS)) == len(rooms.FLOOR), "a room stands on two floors"


@pytest.mark.parametrize("room", rooms.FLOOR)
def test_a_room_says_what_lives_there_and_what_does_not(room):
    what = rooms.sentences(room)
    assert len(what.split(". ")) >= 2 and what.endswith(".")


def test_modules_of_a_room_import_each_other_in_no_circle():
    """Rooms themselves import their modules; packages within rooms are modules like others."""
    inner = [path for path in MODULES if path.name != "__init__.py" or path.parent.parent != ROOT]
    graph = {path: {one.module for one in rooms.imports(path)} for path in inner}
    names = {path: rooms.module_of(path) for path in graph}
    done: set[str] = set()
    left = dict(names)
    while left:
        free = [
            path
            for path, name in left.items()
            if graph[path] & set(names.values()) - {name} <= done
        ]
        assert free, f"a circle among {sorted(left.values())}"
        done |= {left.pop(path) for path in free}


def test_tests_lie_where_what_they_test_lives():
    folders = {path.parent.name for path in (CHECKOUT / "tests").rglob("test_*.py")}
    assert folders <= {*rooms.FLOOR, "house", "adversary"}


def test_picture_and_table_are_those_of_the_imports():
    assert rooms.PICTURE.read_text("utf-8") == rooms.picture(), "python tools/rooms.py --write"
    page = rooms.PAGE.read_text("utf-8")
    assert page == rooms.page(page), "python tools/rooms.py --write"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_print_no_pickle_no_global_switch(path):
    source = path.read_text()
    nodes = list(ast.walk(ast.parse(source)))
    if rooms.room_of(path) not in ("cli", "__main__"):
        assert "print" not in {node.id for node in nodes if isinstance(node, ast.Name)}
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {
        node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert not UNSAFE & {name.split(".")[0] for name in modules}
    switches = [
        n
        for n in nodes
        if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("config.update")
    ]
    assert len(switches) == (
        path == ROOT / "engines" / "base.py"
    )  # for workers, which are processes of saddlery's own
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False"
    assert (
        "enable_x64(" not in source or path == ROOT / "basis" / "precision.py"
    )  # which sets the other strict settings aside as well
    assert "../shared" not in source


def test_importing_changes_no_global_state_and_is_lazy():
    code = (
        "import sys, saddlery; assert 'jax' not in sys.modules; saddlery.Experiment; import jax;"
        "assert not jax.config.jax_enable_x64; import jax.numpy as jnp; assert jnp.ones(1).dtype"
        " == 'float32'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join
)
def test_help_answers_without_the_engine(arguments):
    code = (
        "import sys; from saddlery.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: sys.stderr.write(' '.join(sorted({HEAVY!r} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "saddlery" in done.stdout
    assert done.stderr == "", f"imported for nothing: {done.stderr}"


def test_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert saddlery.__version__ == project["version"]
    extras = project["optional-dependencies"]
    declared = [
        *project["dependencies"],
        *extras["plots"],
        *extras["sweeps"],
        *extras["cluster"][1:],
    ]
    lower = {
        needed.name: Version(part.version)
        for needed in map(Requirement, declared)
        for part in needed.specifier
        if part.operator == ">="
    }
    lines = (CHECKOUT / "tools" / "oldest.txt").read_text().splitlines()
    pinned = {
        name: Version(version)
        for name, _, version in (line.partition("==") for line in lines if line[0] != "#")
    }
    assert pinned.pop("jaxlib") == pinned["jax"]
    assert pinned == lower


def test_at_most_twenty_names_at_top_level():
    assert len(saddlery.__all__) <= 20
    for name in saddlery.__all__:
        assert getattr(saddlery, name).__doc__
    with pytest.raises(AttributeError, match="no 'trian'"):
        saddlery.trian  # noqa: B018
