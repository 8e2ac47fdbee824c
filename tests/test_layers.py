"""Imports point down, solvers know no model, importing changes nothing, and only the command line talks."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import saddlery

ROOT = Path(saddlery.__file__).parent
CHECKOUT = Path(__file__).parent.parent
UNSAFE = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}  # may run code on load
HEAVY = {"jax", "equinox", "diffrax", "optax", "numpy", "scipy", "sklearn", "matplotlib"}
LAYERS = {
    0: ["checks", "door", "echo", "moments", "outlets", "precision", "records", "schema", "text"],
    1: [
        "scales",
        "units",
        "networks",
        "losses",
        "objectives",
        "tasks",
        "initializations",
        "observables",
        "curvature",
        "spans",
        "rounding",
    ],
    2: ["rules", "loop", "driver", "refinement", "spectra", "plateaus", "descent"],
    3: ["symmetry", "behind", "fixed_points", "settling", "narrow", "kinks", "zero_modes", "theory"],
    4: [
        *[
            "experiments",
            "foresight",
            "changes",
            "runs",
            "rest",
            "seeding",
            "stage",
            "certificates",
            "judging",
            "orders",
            "visits",
            "store",
            "predictions",
            "graph",
            "growth",
        ],
        *["ensembles", "engines", "sweeps"],
    ],
    5: ["plots", "report", "tour", "studies"],
    6: ["cli", "__main__"],
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def top(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The top-level modules of saddlery that a file imports, wherever the import stands."""
    package = ["saddlery", *path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{full}.{alias.name}" for alias in node.names] if full == "saddlery" else [full]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.partition(".")[2].partition(".")[0] for name in names if name.split(".")[0] == "saddlery"}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    own = top(path)
    assert own in LAYER, f"{own} is in no layer: add it to the table"
    for other in imported(path) - {own}:
        assert other in LAYER, f"{own} imports saddlery.{other}, which is no module: import it from its home"
        assert LAYER[other] <= LAYER[own], f"{own} (layer {LAYER[own]}) imports {other} (layer {LAYER[other]})"
        if LAYER[own] == 2:
            assert LAYER[other] != 1, f"the solver {own} knows the model {other}"


def test_the_table_is_the_package():
    assert sum(map(len, LAYERS.values())) == len(LAYER), "a module stands in two layers"
    assert set(LAYER) == {top(path) for path in MODULES}


def test_the_graph_has_no_cycle():
    graph = {name: set() for name in LAYER}
    for path in MODULES:
        graph[top(path)] |= imported(path) - {top(path)}
    done: list[str] = []
    while len(done) < len(graph):
        free = [name for name, needs in graph.items() if name not in done and needs <= set(done)]
        assert free, f"a cycle among {sorted(set(graph) - set(done))}"
        done += free


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_print_no_pickle_no_global_switch(path):
    source = path.read_text()
    nodes = list(ast.walk(ast.parse(source)))
    if top(path) not in ("cli", "__main__"):
        assert "print" not in {node.id for node in nodes if isinstance(node, ast.Name)}
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    assert not UNSAFE & {name.split(".")[0] for name in modules}
    switches = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("config.update")]
    assert len(switches) == (path == ROOT / "engines" / "base.py")  # for workers, which are processes of saddlery's own
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False"
    assert (
        "enable_x64(" not in source or path == ROOT / "precision.py"
    )  # which sets the other strict settings aside as well
    assert "../shared" not in source


def test_importing_changes_no_global_state_and_is_lazy():
    code = (
        "import sys, saddlery; assert 'jax' not in sys.modules; saddlery.Experiment; import jax;"
        "assert not jax.config.jax_enable_x64; import jax.numpy as jnp; assert jnp.ones(1).dtype == 'float32'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_help_answers_without_the_engine(arguments):
    code = (
        "import sys; from saddlery.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: sys.stderr.write(' '.join(sorted({HEAVY!r} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "saddlery" in done.stdout
    assert done.stderr == "", f"imported for nothing: {done.stderr}"


def test_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert saddlery.__version__ == project["version"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["plots"], *extras["sweeps"], *extras["cluster"][1:]]
    lower = {
        needed.name: Version(part.version)
        for needed in map(Requirement, declared)
        for part in needed.specifier
        if part.operator == ">="
    }
    lines = (CHECKOUT / "tools" / "oldest.txt").read_text().splitlines()
    pinned = {name: Version(version) for name, _, version in (line.partition("==") for line in lines if line[0] != "#")}
    assert pinned.pop("jaxlib") == pinned["jax"]
    assert pinned == lower


def test_at_most_twenty_names_at_top_level():
    assert len(saddlery.__all__) <= 20
    for name in saddlery.__all__:
        assert getattr(saddlery, name).__doc__
    with pytest.raises(AttributeError, match="no 'trian'"):
        saddlery.trian  # noqa: B018
