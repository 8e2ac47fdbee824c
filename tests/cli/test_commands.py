"""Commands are files, and nothing else is touched to add one; what the newest of them do."""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from pathlib import Path

import pytest

from registries import kept
from saddlery import Experiment, cli
from saddlery.basis.checks import InputError
from saddlery.cli import commands as room
from saddlery.cli import parser, progress, shipped
from saddlery.cli.codes import CODES
from saddlery.cli.command import Command
from saddlery.cli.commands import command, commands, names, register
from saddlery.cli.commands.list import LISTS
from saddlery.cli.commands.report import _default_page
from saddlery.experiments.experiment import catalog
from saddlery.predictions import THEORIES
from saddlery.sweeps import Sweep, run_sweep
from saddlery.tasks import TASKS

ROOT = Path(__file__).parent.parent.parent
GREET = """
from saddlery.cli.arguments import given
from saddlery.cli.command import Command
from saddlery.cli.outputs import show


def options(parser):
    parser.add_argument("who", metavar="WHO", type=given, help="whom to greet")


def greet(options):
    show(options, {"hello": options.who}, f"hello {options.who}")
    return 0


COMMAND = Command("greet", "say hello", "saddlery greet me", greet, "unused", "unused", "no {seed}", options)
"""


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command in this process."""
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as leave:
        code = int(leave.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


# ------------------------------------------------------------------- what a command is
def test_every_file_is_the_command_of_its_name():
    files = {path.stem for path in Path(room.__file__).parent.glob("[!_]*.py")}
    assert set(names()) == files == set(commands())
    assert {name: one.name for name, one in commands().items()} == {name: name for name in files}


@pytest.fixture
def greeting(tmp_path, monkeypatch):
    """A file of one's own beside those of the package."""
    (tmp_path / "greet.py").write_text(GREET)
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])


def test_a_new_file_is_a_command_and_nothing_else_is_touched(greeting, capsys):
    assert run(capsys, "greet", "you")[:2] == (0, "hello you\n")
    assert json.loads(run(capsys, "greet", "you", "--json")[1]) == {"hello": "you"}
    assert "  greet       say hello\n" in run(capsys, "--help")[1]
    assert "example: saddlery greet me" in run(capsys, "greet", "--help")[1]
    assert "did you mean 'greet'?" in run(capsys, "graet")[2]
    assert run(capsys, "greet")[2].startswith("saddlery: WHO is missing, whom to greet")
    assert run(capsys, "greet", "you", "--seed", 3) == (2, "", "saddlery: no 3\n")


@pytest.fixture
def families():
    with kept():
        yield


def test_a_command_from_outside_the_package(capsys, families):
    added = Command("bye-bye", "say goodbye", "saddlery bye-bye", lambda options: 7, "-", "-")
    assert register(added) is added and command("bye-bye") is added
    assert run(capsys, "bye-bye")[0] == 7 and "bye-bye" in run(capsys, "--help")[1]
    other = added._replace(help="say farewell")
    with pytest.raises(InputError, match="a command named 'bye-bye' exists already"):
        register(other)
    with pytest.raises(InputError, match="there is a command 'train' already"):
        register(added._replace(name="train"))
    with pytest.raises(InputError, match="name of a command must be one word, got 'two words'"):
        register(added._replace(name="two words"))


def test_a_command_in_a_module_that_is_named(tmp_path, monkeypatch, capsys, families):
    """No other word of the command line brings it; its own options are read as ever."""
    text = GREET.replace('COMMAND = Command("greet"', 'COMMAND = Command("own_greet"')
    text += "\nfrom saddlery.cli.commands import register\nregister(COMMAND)\n"
    (tmp_path / "own_commands.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = run(capsys, "own_greet", "you")
    assert code == 2 and "one of your own is known with --imports MODULE" in err
    assert run(capsys, "own_greet", "--imports", "own_commands", "you")[:2] == (0, "hello you\n")


def test_what_is_no_command_is_refused_where_it_is_added(families):
    whole = Command("own", "100 % sure", "saddlery own", lambda options: 0, "-", "-")
    for wrong, words in (
        ("own", "a command must be a Command"),
        (whole._replace(function=None), "must be callable"),
    ):
        with pytest.raises(InputError, match=words):
            register(wrong)


def test_a_percent_sign_in_a_help_is_one(families, capsys):
    register(Command("own", "100 % sure", "saddlery own", lambda options: 0, "-", "-"))
    assert "100 % sure" in run(capsys, "--help")[1]


def test_a_percent_sign_in_the_words_of_out_and_seed_is_one(families, capsys):
    register(Command("own", "-", "saddlery own", lambda options: 0, "5 % do", "7 % do"))
    code, out, _ = run(capsys, "own", "--help")
    assert code == 0 and "5 % do" in out and "7 % do" in out


def test_arguments_of_ones_own_command_need_no_help(families, capsys):
    """Nor another name than that of argparse; an option is called as it is typed."""

    def options(parser):
        parser.add_argument("thing")
        parser.add_argument("--need", required=True)
        parser.add_argument("--kind", choices=["one", "two"], dest="other")

    register(Command("own", "-", "saddlery own", lambda options: 0, "-", "-", options=options))
    for words, sentence in (
        ([], "thing is missing; see saddlery own --help"),
        (["x"], "--need is missing; see saddlery own --help"),
        (["x", "--need", "y", "--kind", "oen"], "--kind 'oen' is not known; did you mean 'one'?"),
    ):
        assert run(capsys, "own", *words) == (2, "", f"saddlery: {sentence}\n")
    assert run(capsys, "own", "x", "--need", "y", "--kind", "one")[0] == 0


def test_a_file_without_a_command_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty.py").write_text("")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    code, _, err = run(capsys, "empty")
    assert code == 2 and "empty.py must end in COMMAND" in err


@pytest.mark.parametrize("name", names())
def test_help_has_an_example_and_the_codes(name, capsys):
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    for needed in ("example: saddlery", "exit codes", "--json", "--out", "--seed", *CODES.values()):
        assert needed in out


# ---------------------------------------------------------------- the examples of --help
@pytest.mark.parametrize("name", names())
def test_examples_are_of_their_command_and_parse(name):
    program, *words = shlex.split(command(name).example)
    chosen, options = parser.parse(words)
    assert program == "saddlery" and chosen is command(name) and options.json in (True, False)


def examples_run(capsys, *ordered: str) -> None:
    for name in ordered:
        code, out, err = run(capsys, *shlex.split(command(name).example)[1:])
        assert code == 0 and out, f"{name}: {err}"


QUICK = ("list", "show", "new", "train", "stages", "certify")  # the later need what the first leave


def test_quick_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples_run(capsys, *QUICK)


@pytest.mark.slow
def test_all_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    design = 'name = "widths"\nexperiment = "linear"\nseeds = 2\n[grid]\n'
    (tmp_path / "widths.toml").write_text(design + "network.layers.0.width = [50, 100]\n")
    assert run(capsys, "train", "linear", "--out", "runs/linear")[0] == 0
    later = ("report", "predict", "compare", "graph", "sweep", "runs", "study", "tour")
    assert sorted((*QUICK, *later)) == names()
    examples_run(capsys, *QUICK, *later)


# ----------------------------------------------------------------------- show and new
@pytest.mark.parametrize("name", catalog())
def test_show_prints_the_file_itself(name, capsys):
    """(d) With --json what tomllib reads of it."""
    file = (shipped.FOLDER / f"{name}.toml").read_text("utf-8")
    assert run(capsys, "show", name)[:2] == (0, file)
    assert json.loads(run(capsys, "show", name, "--json")[1]) == tomllib.loads(file)


def test_show_writes_what_it_prints(tmp_path, capsys):
    for options in ([], ["--json"]):
        _, out, err = run(capsys, "show", "relu", *options, "--out", tmp_path / "relu")
        assert (tmp_path / "relu").read_text() == out and "experiment in" in err


def test_new_is_the_shipped_experiment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "new", "linear")
    assert (code, out) == (0, "linear.toml\n")
    assert err == "linear.toml is yours: change it, then saddlery train linear.toml\n"
    assert Experiment.load("linear.toml").identity == Experiment.named("linear").identity
    code, out, err = run(capsys, "new", "relu", "--out", "a b/mine.toml", "--json")
    assert json.loads(out) == {"experiment": "relu", "file": "a b/mine.toml"}
    assert err.endswith("then saddlery train 'a b/mine.toml'\n")


def test_a_file_like_an_option_is_trained_by_the_command_that_is_named(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "new", "linear", "--out=-x.toml")
    assert (code, out) == (0, "-x.toml\n")
    onwards = shlex.split(err.partition("then ")[2])
    assert parser.parse(onwards[1:])[1].experiment == "./-x.toml" and Path("./-x.toml").exists()


def test_new_replaces_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("linear.toml").write_text("mine")
    os.symlink("nowhere", "link.toml")
    for options in ([], ["--out", "link.toml"]):
        code, out, err = run(capsys, "new", "linear", *options)
        assert (code, out) == (3, "") and "exists already and is not replaced; choose" in err
    assert Path("linear.toml").read_text() == "mine" and not os.path.exists("nowhere")
    assert run(capsys, "new", "linear", "--out", ".")[0] == 3
    code, _, err = run(capsys, "new", "linear", "--out", "linear.txt")
    assert code == 2 and "--out must be a file that ends in .toml" in err
    assert sorted(os.listdir()) == ["linear.toml", "link.toml"]


@pytest.mark.parametrize("name", ["show", "new"])
def test_other_names_are_answered(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word, words in (
        ("linaer", "experiment 'linaer' is not known; did you mean 'linear'?"),
        ("linear.toml", "did you mean 'linear'?"),
        ("RELU", "did you mean 'relu'?"),
        ("transformer", f"choose one of {', '.join(catalog())}"),
        ("../catalog/linear", "is not known"),
    ):
        code, out, err = run(capsys, name, word)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1
    assert run(capsys, name)[2].startswith("saddlery: NAME is missing, a shipped experiment")
    assert os.listdir() == []


# ------------------------------------------------------------------------------- list
def test_a_list_without_a_kind_is_all_of_them(capsys):
    code, out, _ = run(capsys, "list")
    everything = json.loads(run(capsys, "list", "--json")[1])
    assert code == 0 and list(everything) == list(LISTS)
    parts = []
    for kind in LISTS:
        parts.append(run(capsys, "list", kind)[1].rstrip("\n"))
        assert json.loads(run(capsys, "list", kind, "--json")[1]) == everything[kind]
    assert out == "\n\n".join(parts) + "\n"


def test_a_list_of_experiments_says_how_to_see_one(capsys):
    for arguments in (["experiments"], []):
        assert "saddlery show NAME prints" in run(capsys, "list", *arguments)[2]
    assert run(capsys, "list", "rules")[2] == ""


# --------------------------------------------------------------------- tables and talk
def test_headers_are_whole_words(tmp_path, capsys):
    short = ["--set", "network.layers.0.width=3", "--set", "stop.flow_time=30.0"]
    assert run(capsys, "train", "linear", *short, "--out", tmp_path / "run")[0] == 0
    upper, lower = run(capsys, "certify", tmp_path / "run")[1].splitlines()[1:3]
    starts = [0, *(k + 2 for k in range(len(lower)) if lower[k : k + 2] == "  ")]
    heads = [
        f"{upper[a:].partition('  ')[0]} {lower[a:].partition('  ')[0]}".strip() for a in starts
    ]
    assert {"fixed-point loss", "gradient norm", "zero modes"} <= set(heads)


def test_predictions_show_their_progress(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    code, out, err = run(capsys, "predict", "diagonal", "--json")
    assert code == 0 and json.loads(out)["predictions"]
    assert [line.partition("(")[2] for line in err.splitlines()] == [
        f"{name})" for name in THEORIES
    ]
    assert err.startswith("predict diagonal: 0% (")


def test_a_sweep_that_is_not_finished_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    design = Sweep.from_toml(
        'name = "s"\nexperiment = "linear"\nseeds = 4\nbatch = 2\n'
        "[grid]\nnetwork.layers.0.width = [2]\nstop.flow_time = [1.0]\n"
    )
    run_sweep(design, "all of it")
    assert run(capsys, "runs", "all of it")[2] == ""
    next(Path("all of it/index").glob("000001-*")).unlink()
    code, out, err = run(capsys, "runs", "all of it")
    assert code == 0 and out.endswith("\n2 runs\n")
    assert "all of it is not finished, 2 of 4 runs are there; saddlery sweep 'all of it/sw" in err
    onwards = shlex.split(err.partition("; ")[2].removesuffix(" goes on\n"))
    assert run(capsys, *onwards[1:], "--engine", "here")[0] == 0
    assert run(capsys, "runs", "all of it")[1:] == (run(capsys, "runs", "all of it")[1], "")


DESIGN = 'name = "s"\nexperiment = "linear"\nseeds = 2\n[grid]\nstop.flow_time = [1.0]\n'


@pytest.fixture(scope="module")
def small_sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "s"
    run_sweep(Sweep.from_toml(DESIGN), folder)
    return folder


def test_the_table_of_runs_fits_the_terminal(small_sweep, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = run(capsys, "runs", small_sweep)
    assert code == 0 and max(map(len, out.splitlines())) <= 40
    assert all(name in out.replace("\n", " ") for name in ("run", "units", "stopped", "2 runs"))


def test_a_column_is_named_once(small_sweep, capsys):
    code, out, err = run(capsys, "runs", small_sweep, "--columns", "run, run")
    assert (code, out) == (2, "") and "--columns must name each column once, got run, run" in err


def test_options_that_the_page_of_a_sweep_does_not_look_at(small_sweep, capsys):
    page = small_sweep / "report.html"
    for options, sentence in (
        (["--tolerance", "behind.weights=0.1"], "leave --tolerance out"),
        (["--imports", "no_such_module"], "no_such_module cannot be imported"),
    ):
        code, _, err = run(capsys, "report", small_sweep, *options)
        assert code == 2 and sentence in err and not page.exists()


def test_the_page_of_an_experiment_is_named_after_it_in_a_sweep_too(small_sweep, monkeypatch):
    """`DIR#17` alone is a run of a sweep."""
    monkeypatch.chdir(small_sweep)
    assert str(_default_page("linear")) == "linear.html"
    assert str(_default_page(f"{small_sweep}#1")) == f"{small_sweep}/run1.html"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--engine", "here", "--workers", "2"], "--engine here does one thing at a time"),
        (
            ["--engine", "dask", "--scheduler", "tcp://x:1", "--workers", "2"],
            "a cluster that is joined has workers of its own; leave --workers out",
        ),
    ],
)
def test_options_that_a_sweep_would_not_look_at(options, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(DESIGN)
    code, out, err = run(capsys, "sweep", "s.toml", *options)
    assert (code, out, err.count("\n")) == (2, "", 1) and sentence in err
    assert os.listdir() == ["s.toml"]


def test_the_readme_says_what_a_seed_draws():
    """Of all tasks those that it names have the same data whatever the seed."""
    readme = (ROOT / "README.md").read_text("utf-8")
    named = readme.partition("the data of every task but")[2].partition("the initial weights")[0]
    assert {name for name in TASKS if f"`{name}`" in named} == {
        name for name, task in TASKS.items() if not task.seeded
    }


# ------------------------------------------------------------------- tolerances
def test_stages_are_decided_by_the_tolerance_that_is_given(capsys):
    more = ("--tolerance", "plateaus.prominence=50")
    code, out, _ = run(capsys, "stages", "linear", *more, "--json")
    found = json.loads(out)["runs"][0]
    assert code == 0 and found["tolerances"] == {"plateaus": {"prominence": 50.0}}
    _, out, _ = run(capsys, "stages", "linear", "--json")
    usual = json.loads(out)["runs"][0]
    assert "tolerances" not in usual and len(found["stages"]) < len(usual["stages"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("behnd.weights=1", "decision 'behnd' is not known; did you mean 'behind'?"),
        ("behind.weights=near", "behind.weights must be a number, got 'near'"),
    ],
)
def test_a_tolerance_that_is_none_is_one_sentence(capsys, given, sentence):
    code, _, err = run(capsys, "stages", "linear", "--tolerance", given)
    assert code == 2 and err.strip() == f"saddlery: {sentence}"
