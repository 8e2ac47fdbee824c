"""Tests lie in a tree that mirrors the rooms; those of no single one are in `house`.

Every test runs in float64 by JAX's scoped context; nothing here changes a global switch.

The shapes that signatures state (jaxtyping) are checked at run time, in tests only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

import shapes

install_import_hook("saddlery", "shapes.check")
HERE = Path(__file__).parent
sys.path[:0] = [
    str(folder) for folder in HERE.iterdir() if folder.is_dir()
]  # mutations name tests of every room

os.environ.setdefault("MPLBACKEND", "Agg")
hypothesis.settings.register_profile("saddlery", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("saddlery")


@pytest.fixture(autouse=True)
def stated_shapes(request):
    """Tests that pass wrong shapes on purpose are marked `wrong_shapes`, so that saddlery itself
    refuses them."""
    with shapes.checking(request.node.get_closest_marker("wrong_shapes") is None):
        yield


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Tables are as wide as they need; workers of pytest are told a width of their own."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Drop compiled programs before a process has so many that the system refuses another."""
    from saddlery.basis.precision import spare_programs

    yield
    spare_programs()


@pytest.fixture
def fresh_programs():
    """Compiled programs do not see a mutation, and those made of one outlive it, as does all that
    was computed once: dropped before and after."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    jax.clear_caches()
    for name, module in list(sys.modules.items()):
        of_a_test = HERE in Path(getattr(module, "__file__", None) or "/").parents
        if not (of_a_test or name.partition(".")[0] == "saddlery"):
            continue
        for value in vars(module).values():
            if not hasattr(value, "cache_clear"):
                continue
            # Ours without a limit hold units and other things that there is one of; tests keep
            # runs and certificates, which a mutation spoils for the tests after it.
            if of_a_test or value.cache_parameters()["maxsize"]:
                value.cache_clear()
