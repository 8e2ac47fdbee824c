"""Every example of the README and of the docstrings runs, and its output is what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import saddlery
from registries import kept
from saddlery import Experiment, units
from saddlery.engines.cluster import SLURM
from saddlery.experiments.experiment import catalog
from saddlery.networks import loss_named
from saddlery.sweeps import Sweep
from saddlery.tasks import TASKS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(saddlery.__path__, "saddlery.")
    if not m.name.endswith("__main__")
)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_python_of_the_readme_runs(capsys):
    scope: dict = {}
    with kept():  # what the README registers stays in this test
        for block in blocks(README, "python"):
            exec(compile(block, "README.md", "exec"), scope)
        assert units.make("softened").symmetry.degree == 2
    out = capsys.readouterr().out
    assert "(1,) iv" in out and "visited" in out and "strict saddle" in out


def test_the_python_of_the_guide_runs():
    with kept():  # what the guide registers stays in this test
        for block in blocks((ROOT / "docs" / "guide.md").read_text(), "python"):
            exec(compile(block, "guide.md", "exec"), {})
        assert loss_named("log_cosh").name == "log_cosh"
        assert units.make("head_with_value").shape((4, 5)) == (30,)


def test_the_experiments_of_the_readme_and_the_guide_are_valid():
    for text in blocks(README, "toml"):
        assert Experiment.from_toml(text).objective().size > 0
    for text in blocks((ROOT / "docs" / "guide.md").read_text(), "toml"):
        assert tomllib.loads(text)["network"]["layers"]


def test_the_sweeps_of_the_docs(tmp_path, monkeypatch):
    """The design is valid, the Python runs as a script, and reads what it wrote by xarray and
    pandas alone."""
    text = (ROOT / "docs" / "sweeps.md").read_text()
    design, slurm = blocks(text, "toml")
    assert len(Sweep.from_toml(design)) == 3 * 2 * 4 * 20
    assert set(tomllib.loads(slurm)["slurm"]) <= set(SLURM)
    monkeypatch.chdir(tmp_path)
    scope: dict = {"__name__": "__main__"}
    for block in blocks(text, "python"):
        exec(compile(block, "sweeps.md", "exec"), scope)
    assert len(scope["index"]) == 20 and scope["data"].sizes["run"] == 20
    scope["data"].close()


def test_what_the_guide_lists_exists_and_all_of_it():
    guide = (ROOT / "docs" / "guide.md").read_text()
    for name in [*units.names(), *TASKS]:
        if name != "softened":
            assert f"`{name}`" in guide, f"{name} is missing from the guide"
    assert {
        "linear",
        "linear_conv",
        "relu",
        "relu_conv",
        "linear_attention",
        "quadratic",
        "digits",
    } <= set(catalog())


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    with kept():  # what an example registers stays in it
        failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_public_names_have_docstrings_with_an_example():
    for name in (
        "train",
        "stages",
        "certify",
        "embed",
        "reduce",
        "Experiment",
        "Unit",
        "Network",
        "Initialization",
    ):
        assert ">>>" in (getattr(saddlery, name).__doc__ or ""), f"{name} has no example"
