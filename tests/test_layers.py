"""Imports point down, solvers know no model, importing changes nothing, and only the command line talks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import saddlery

ROOT = Path(saddlery.__file__).parent
LAYERS = {
    0: ["checks", "precision", "records"],
    1: ["units", "networks", "losses", "objectives", "tasks", "initializations", "observables", "curvature"],
    2: ["rules", "driver", "refinement", "spectra", "plateaus", "descent"],
    3: ["symmetry", "fixed_points", "zero_modes"],
    4: ["experiments", "runs", "stage", "certificates", "visits", "store"],
    5: ["plots", "report", "tour"],
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
            found |= {name.split(".")[1] for name in names if name.startswith("saddlery.")}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("saddlery.")}
    return found & set(LAYER)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    own = top(path)
    assert own in LAYER, f"{own} is in no layer: add it to the table"
    for other in imported(path) - {own}:
        assert LAYER[other] <= LAYER[own], f"{own} (layer {LAYER[own]}) imports {other} (layer {LAYER[other]})"
        if LAYER[own] == 2:
            assert LAYER[other] != 1, f"the solver {own} knows the model {other}"


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
    tree = ast.parse(source)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if top(path) not in ("cli", "__main__"):
        assert "print" not in calls
    assert not {call for call in calls if call.endswith("config.update") or call.startswith("pickle.")}
    assert "allow_pickle=True" not in source


def test_importing_changes_no_global_state_and_is_lazy():
    code = (
        "import sys, saddlery; assert 'jax' not in sys.modules; saddlery.Experiment; import jax;"
        "assert not jax.config.jax_enable_x64; import jax.numpy as jnp; assert jnp.ones(1).dtype == 'float32'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_at_most_twenty_names_at_top_level():
    assert len(saddlery.__all__) <= 20
    for name in saddlery.__all__:
        assert getattr(saddlery, name).__doc__
    with pytest.raises(AttributeError, match="no 'trian'"):
        saddlery.trian  # noqa: B018
