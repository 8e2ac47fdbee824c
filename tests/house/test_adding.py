"""Adding without touching: a unit, a task, a loss, an initialization, a rule, a theory, an
observable, a study, a figure, an engine and a command, each from a file outside the package, in the two ways
there are: a module that is imported, and an installed package that brings it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from registries import FAMILIES, kept
from saddlery import Experiment, load_run, predict, train
from saddlery.basis import families
from saddlery.basis.checks import InputError
from saddlery.cli import main
from saddlery.sweeps import index

# ------------------------------------------------------------------ one file a member
FILES = {
    "unit": """
import jax.numpy as jnp
from saddlery.units import Symmetry, Unit, register

register(Unit("own_unit", lambda z, u: jnp.tanh(z @ u), lambda shape: shape,
              Symmetry(silent=True, degree=1, parity="odd")))
""",
    "task": """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from saddlery.networks import Data, loss_named
from saddlery.tasks import Task

@dataclass(frozen=True)
class Own(Task):
    '''Two linear outputs of three inputs.'''
    kind: ClassVar[str] = "own_task"
    loss: str = "squared"

    def data(self, seed):
        rng = np.random.default_rng([seed, 7])
        x = rng.standard_normal((12, 3))
        return Data((3,), 2, x, x @ rng.standard_normal((3, 2)), loss=loss_named(self.loss))
""",
    "loss": """
import jax.numpy as jnp
from saddlery.networks.losses import Loss, register

register(Loss("own_loss", lambda y, f: jnp.sum(jnp.log(jnp.cosh(y - f)))))
""",
    "initialization": """
import numpy as np
from saddlery.initializations import register

@register("own_initialization")
def constant(start, weights, rng):
    '''Every weight the same.'''
    return [{name: np.full(p[name], start.scale) for name in p} for p in weights.shapes]
""",
    "rule": """
from dataclasses import dataclass
from typing import ClassVar
import optax
from saddlery.rules import GradientDescent

@dataclass(frozen=True)
class Halved(GradientDescent):
    '''Descent by half steps.'''
    kind: ClassVar[str] = "own_rule"

    def transformation(self):
        return optax.sgd(0.5 * self.learning_rate)
""",
    "theory": """
from saddlery.predictions import DoesNotApply, PredictedStage, Prediction, register

@register("own theory")
def own(experiment):
    '''One plateau, always.'''
    if experiment.task.kind != "own_task":
        raise DoesNotApply("the task is another")
    return Prediction("own theory", "none", "nothing", (PredictedStage(1.0, (0,)),))
""",
    "observable": """
import numpy as np
from saddlery.networks.observables import Observable, register

def largest(u, v):
    '''The largest incoming weight.'''
    return np.abs(u).max(axis=(1, 2))

register(Observable("own_observable", largest))
""",
    "study": """
from saddlery import Experiment, train
from saddlery.studies import Claim, Study
from saddlery.studies.intervals import Real
from saddlery.training import Stop

def design(seeds):
    base = Experiment.named("linear").replace(stop=Stop(steps=2))
    return [({"case": "only"}, base.replace(seed=seed)) for seed in range(seeds)]

def measure(experiment):
    return {"loss": train(experiment).final_loss}

claim = Claim("own_study.loss", "The loss is finite.", "none", "loss", 0.0, 9.0,
              lambda rows: [row["loss"] for row in rows], Real())
Study("own_study", "One's own study", design, measure, (claim,), lambda rows, axes: None, 2, 2)
""",
    "figure": """
from saddlery.plots import Picture, register

@register("own_figure")
def steps(found):
    '''Steps against flow time.'''
    t = found.run.trajectory
    yield Picture(lambda axes: axes.plot(t.flow_time, t.step), "Own: steps against flow time.")
""",
    "engine": """
from saddlery.engines import Here

class Own(Here):
    '''This process, again.'''
    name = "own_engine"
""",
    "command": """
from saddlery.cli.command import Command
from saddlery.cli.commands import register
from saddlery.cli.outputs import show

def greet(options):
    show(options, {"hello": "world"}, "hello world")
    return 0

register(Command("own_command", "say hello", "saddlery own_command", greet, "unused", "unused"))
""",
}
MODULES = [f"own_{kind}" for kind in FILES]
NAMES = {kind: "own theory" if kind == "theory" else f"own_{kind}" for kind in FILES}
PLURALS = {"loss": "losses", "theory": "theories", "study": "studies"}

EXPERIMENT = """
name = "own"
[task]
kind = "own_task"
loss = "own_loss"
[[network.layers]]
unit = "own_unit"
width = 4
[initialization]
kind = "own_initialization"
scale = 0.1
[rule]
kind = "own_rule"
learning_rate = 0.1
[stop]
steps = 20
"""
SWEEP = """
name = "own"
experiment = "own.toml"
seeds = 2
batch = 1
[grid]
initialization.scale = [0.1, 0.2]
"""


def package(home, name, **modules):
    """A package as installing leaves it on the path: its modules, and the metadata that name
    them."""
    for module, text in modules.items():
        (home / f"{module}.py").write_text(text)
    points = "".join(f"{module} = {module}\n" for module in modules)
    about = home / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[saddlery]\n{points}")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder on the path, of this process and of its workers; what it adds is taken back."""
    folder = tmp_path / "home"
    folder.mkdir()
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(EXPERIMENT)
    with kept():
        yield folder


@pytest.fixture(params=["file", "package"])
def own(request, home):
    """The members outside the package; the options by which the command line gets to know them."""
    texts = dict(zip(MODULES, FILES.values(), strict=True))
    if request.param == "package":
        package(home, "own-members", **texts)
        return []
    for module, text in texts.items():
        (home / f"{module}.py").write_text(text)
    return ["--imports", ",".join(MODULES)]


def called(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_member_is_used(own, tmp_path, capsys):
    """In Python where an object is asked for, on the command line where a name is given, and in
    worker processes."""
    done = lambda *words: called(capsys, *words, *own)
    # every list
    for kind, name in NAMES.items():
        code, out, err = done("list", PLURALS.get(kind, f"{kind}s"), "--json")
        assert code == 0 and name in [entry["name"] for entry in json.loads(out)], err
    # a run: unit, task, loss, initialization, rule and observable
    assert done("train", "own.toml", "--out", "run")[0] == 0
    run = load_run("run")
    states = run.trajectory.states
    assert np.all(states[0] == 0.1) and states.shape[1] == 4 * (3 + 2)
    u, v = states[:, :12].reshape(-1, 4, 3), states[:, 12:].reshape(-1, 4, 2)
    data = run.experiment.data
    maps = np.einsum("thn,tho->tno", np.tanh(np.einsum("nd,thd->thn", data.inputs, u)), v)
    by_hand = np.log(np.cosh(data.targets - maps)).sum(axis=2).mean(axis=1)  # (d)
    np.testing.assert_allclose(run.trajectory.loss, by_hand, rtol=1e-12)
    largest = run.trajectory.observables["own_observable_0"]
    np.testing.assert_array_equal(largest, np.abs(u).max(axis=(1, 2)))
    step = states[1] - states[0]  # (b) half a step of descent, or several
    slope = np.asarray(run.objective().gradient(states[0]))
    assert run.trajectory.step[1] == 1
    np.testing.assert_allclose(step, -0.05 * slope, rtol=1e-9)
    # certificates, the page with its figure, the theory
    code, out, _ = done("certify", "run", "--json")
    assert code == 0 and len(json.loads(out)["runs"]) == 1
    assert done("report", "run", "--out", "page.html")[0] == 0
    assert "Own: steps against flow time." in (tmp_path / "page.html").read_text()
    code, out, _ = done("predict", "own.toml", "--json")
    assert code == 0 and "own theory" in out
    assert predict(run, theory="own theory")[0].theory == "own theory"
    # a command; by now its module is imported, from a file as from a package
    code, out, _ = called(capsys, "own_command", "--json")
    assert code == 0 and json.loads(out) == {"hello": "world"}
    with pytest.raises(SystemExit):
        main(["own_comand"])
    assert "did you mean 'own_command'?" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_know_them(own, tmp_path, capsys):
    """A sweep and a study in worker processes; an engine of one's own does a study as well."""
    imports = f"imports = {json.dumps(MODULES)}\n" if own else ""
    (tmp_path / "sweep.toml").write_text(imports + SWEEP)
    words = "sweep", "sweep.toml", "--out", "out", "--workers", "2"
    code, _, err = called(capsys, *words, *own)
    assert code == 0, err
    rows = index("out")
    assert list(rows["status"]) == ["stopped"] * 4
    assert set(rows["task"]) == {"own_task"} and set(rows["rule"]) == {"own_rule"}
    for k, engine in enumerate((["--workers", "1"], ["--engine", "own_engine"])):
        words = "study", "own_study", "--json", "--out", f"studies{k}", *engine
        code, out, err = called(capsys, *words, *own)
        assert code == 0 and [claim["seeds"] for claim in json.loads(out)] == [2], err


# ---------------------------------------------------------------- without the module
@pytest.mark.parametrize("kind", ["unit", "task", "loss", "initialization", "rule"])
def test_an_unknown_name_says_what_to_import(home, tmp_path, capsys, kind):
    for other, text in FILES.items():
        if other != kind:
            (home / f"own_{other}.py").write_text(text)
    others = ",".join(module for module in MODULES if module != f"own_{kind}")
    code, _, err = called(capsys, "train", "own.toml", "--imports", others)
    assert code == 2 and err.count("\n") == 1
    assert f"{kind} 'own_{kind}' is not known" in err and "--imports MODULE" in err


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "linear", "--theory"),
        ("study", "own_study"),
        ("study", "figure2c", "--engine", "own_engine"),
    ],
    ids=" ".join,
)
def test_likewise_where_a_command_names_it(home, capsys, words):
    if words[-1] == "--theory":
        with pytest.raises(InputError, match=r"theory 'own theory' is not known.*--imports"):
            predict("linear", theory="own theory")
        return
    code, _, err = called(capsys, *words)
    assert code == 2 and "is not known" in err and "--imports MODULE" in err


def test_a_run_folder_with_an_unknown_loss_says_what_is_missing(home, tmp_path, capsys):
    (home / "own_task.py").write_text(FILES["task"])
    (home / "own_loss.py").write_text(FILES["loss"])
    table = Experiment.named("linear").table()
    table["stop"] = {"steps": 2}
    with kept():
        import own_loss
        import own_task

        assert own_loss and own_task
        table["task"] = {"kind": "own_task", "loss": "own_loss"}
        (tmp_path / "linear.toml").write_text(
            EXPERIMENT.replace("own_unit", "linear")
            .replace("own_initialization", "isotropic")
            .replace("own_rule", "descent")
        )
        assert called(capsys, "train", "linear.toml", "--out", "run")[0] == 0
    code, _, err = called(capsys, "stages", "run", "--imports", "own_task")
    assert code == 2 and err.count("\n") == 1
    assert "loss 'own_loss' is not known" in err and "--imports MODULE" in err
    assert called(capsys, "stages", "run", "--imports", "own_task,own_loss")[0] == 0


# ---------------------------------------------------------------- installed packages
def test_entry_points_are_loaded_when_a_name_is_unknown(home):
    """Not before: what is known needs none, and importing saddlery even less."""
    package(home, "own-members", own_unit=FILES["unit"])
    code = (
        "import sys\nfrom saddlery import units\nunits.make('relu')\n"
        "assert 'own_unit' not in sys.modules\n"
        "assert units.make('own_unit').name == 'own_unit' and 'own_unit' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_entry_point_loses_nothing_else(home, capsys):
    """It is named, with its package and what to do: by lists, and where a name stays unknown."""
    package(home, "own-broken", own_broken="import no_such_module_here\n")
    taken = FILES["loss"].replace('"own_loss"', '"squared"')
    package(home, "own-taken", own_taken=taken, own_exit="raise SystemExit(3)\n")
    package(home, "own-members", own_unit=FILES["unit"])
    (home / "unreadable-1.0.dist-info").mkdir()
    (home / "unreadable-1.0.dist-info" / "entry_points.txt").write_text("[saddlery]\nno equals\n")
    code, out, err = called(capsys, "list", "units", "--json")
    assert code == 0 and "own_unit" in [entry["name"] for entry in json.loads(out)]
    assert len(err.splitlines()) == 3
    for words in (
        "the entry point 'own_broken' (own_broken) of the package own-broken is left out: "
        "ModuleNotFoundError: No module named 'no_such_module_here'; mend the package or uninstall",
        "of the package own-taken is left out: a loss named 'squared' exists already",
        "'own_exit' (own_exit) of the package own-taken is left out: SystemExit: 3",
    ):
        assert words in err
    from saddlery.units import make

    with pytest.raises(InputError, match=r"unit 'own_unti' is not known; did you mean 'own_unit'"):
        make("own_unti")
    with pytest.raises(InputError, match=r"of the package own-broken is left out"):
        make("own_unti")


def test_packages_are_looked_for_again_where_the_path_changes(home, monkeypatch):
    assert "own_unit" not in FAMILIES["unit"]
    later = home.parent / "later"
    later.mkdir()
    package(later, "own-members", own_unit=FILES["unit"])
    monkeypatch.syspath_prepend(str(later))
    assert "own_unit" in FAMILIES["unit"] and families.left_out() == ()


# ------------------------------------------------------------------ what is refused
@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "command"])
def test_what_ships_is_not_replaced(home, kind):
    """By none of the ways in which a member is added (commands: tests/cli/test_commands.py)."""
    shipped = next(iter(FAMILIES[kind].members))
    text = FILES[kind].replace(f'"{NAMES[kind]}"', f'"{shipped}"')
    with pytest.raises(InputError, match="exists already; give yours another name"):
        exec(text, {"__name__": "own_taken"})


def test_a_class_that_is_written_anew_takes_the_old_ones_place(home):
    """As where a cell of a notebook is run twice."""
    scope: dict = {"__name__": "own_notebook"}
    exec(FILES["engine"], scope)
    first = scope["Own"]
    exec(FILES["engine"], scope)
    assert FAMILIES["engine"].members["own_engine"] is scope["Own"] is not first


def test_observables_and_figures_that_fail_lose_nothing(home, tmp_path, capsys):
    """A run names the observable that could not be measured, a page the figure."""
    (home / "own_wrong.py").write_text(
        "from saddlery.networks import observables\nfrom saddlery import plots\n"
        "observables.register(observables.Observable('own_zero', lambda u, v: 1 / 0))\n"
        "observables.register(observables.Observable('own_shape', lambda u, v: u[0]))\n"
        "@plots.register('own_figure')\ndef own(found):\n    raise KeyError('x')\n"
    )
    import own_wrong

    assert own_wrong
    table = Experiment.named("linear").table()
    run = train({**table, "stop": {"steps": 5}})
    assert "own_zero_0" not in run.trajectory.observables
    assert "unit_norms_0" in run.trajectory.observables
    said = " ".join(run.warnings)
    assert "observable 'own_zero' could not be measured: ZeroDivisionError" in said
    assert "observable 'own_shape' must be an array of numbers, one row for each of" in said
    assert called(capsys, "report", "linear", "--imports", "own_wrong", "--out", "p.html")[0] == 0
    page = (tmp_path / "p.html").read_text()
    assert "The figure own_figure could not be drawn: KeyError" in page and "Loss against" in page
    shutil.rmtree(home)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "return [{name: np.full(p[name], np.nan) for name in p} for p in weights.shapes]",
            "finite numbers",
        ),
        ("return [{'u': np.zeros(2)}]", "arrays a layer of the shapes"),
        ("return 3", "arrays a layer of the shapes"),
    ],
)
def test_an_initialization_draws_what_it_was_asked_for(home, body, words):
    text = FILES["initialization"]
    (home / "own_start.py").write_text(text[: text.index("    return")] + f"    {body}\n")
    import own_start

    assert own_start
    table = Experiment.named("linear").table()
    start = {"kind": "own_initialization", "scale": 0.1}
    with pytest.raises(InputError, match=words):
        train({**table, "initialization": start})
