"""Strange surroundings: closed streams, odd encodings, settings of JAX, signals at any moment; the
work comes first.

Processes are few, since each start costs seconds; what one process can show about several things it
shows at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from saddlery import Experiment, cli, load_run
from saddlery.basis import interruptions, precision
from saddlery.cli import interrupts, progress, streams
from saddlery.cli.commands.list import COMMAND as LIST
from saddlery.engines import Here, Job, perform
from saddlery.engines.local import surroundings
from saddlery.sweeps import Sweep, kept, query, run_sweep, running
from saddlery.sweeps.running import _Told
from saddlery.sweeps.storage import create
from saddlery.units import check_smooth, make
from slowly import slowly

SMALL = ["--set", "network.layers.0.width=3", "--set", "stop.flow_time=20.0"]
NAME = "Größe λ\n\x1b[31mred\x1b]0;title\x07\u202e"
SEEN = "Größe λ\\n\\x1b[31mred\\x1b]0;title\\x07\\u202e"
TWO = Sweep(
    Experiment.named("linear"), {"network.layers.0.width": (2, 3)}, seeds=3, batch=4, name="two"
)


def usual_signals() -> None:
    """A test run in the background of a shell has SIGINT ignored, and its children would inherit
    that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(
    *arguments: object, flags: tuple[str, ...] = (), env: dict[str, str] | None = None, **options
):
    return subprocess.Popen(
        [sys.executable, *flags, "-m", "saddlery", *map(str, arguments)],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        env={**os.environ, **(env or {})},
        preexec_fn=options.pop("preexec_fn", usual_signals),
        **options,
    )


def ended(process: subprocess.Popen, seconds: float = 200) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


# --------------------------------------------------------------------- streams
def closed(*numbers: int):
    def close() -> None:
        usual_signals()
        for number in numbers:
            os.close(number)

    return close


@pytest.mark.parametrize("numbers", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_are_tolerated(numbers, tmp_path):
    """The code is that of the work, and no file of ours becomes the stream that others talk
    into."""
    out = tmp_path / "list.json"
    process = start("list", "units", "--json", "--out", out, preexec_fn=closed(*numbers))
    assert ended(process)[0] == 0
    assert {entry["name"] for entry in json.loads(out.read_text())} > {"relu", "linear"}


@pytest.mark.slow
def test_a_name_that_the_encoding_lacks_and_a_terminal_would_obey(tmp_path):
    """Given a name with letters that ASCII lacks, a line break, a colour and a title, no home, no
    place for temporary files, a narrow and dumb terminal, another language, strict JAX and no
    assertions: trained, saved, and told within the terminal's width."""
    env = {
        "PYTHONIOENCODING": "ascii:strict",
        "HOME": "/proc/nothing",
        "TMPDIR": "/proc/nothing",
        "XDG_CACHE_HOME": "/proc/nothing",
        "COLUMNS": "20",
        "TERM": "dumb",
        "LC_ALL": "tr_TR.UTF-8",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_TRANSFER_GUARD": "disallow",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
    }
    name = f"name={json.dumps(NAME)}"
    process = start("train", "linear", *SMALL, "--set", name, flags=("-O",), env=env, cwd=tmp_path)
    code, out, err = ended(process)
    assert code == 0, err
    spelled = SEEN.encode("ascii", "backslashreplace").decode()
    assert out.isascii()  # what is spelled out in ASCII is wider than what was folded
    told = out[out.index("experiment") : out.index("architectu")].removeprefix("experiment")
    assert "".join(told.split()) == "".join(spelled.split())  # folded, not cut
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.isprintable() and folder.name.startswith(
        "Größe λ--[31mred-]0;title---seed0-"
    )
    assert err.startswith("saved in runs/Gr\\xf6\\xdfe") and err.count("\n") == 1
    assert load_run(folder).experiment.name == NAME
    usual = Experiment.named("linear").replace(stop=load_run(folder).experiment.stop)
    same = usual.replace(network=usual.network.with_widths([3])).initial_state()
    assert np.array_equal(load_run(folder).trajectory.states[0], same)  # the seed's own numbers


def test_streams_in_this_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["list", "units"]) == 0
    assert sys.stderr is None and "quadratic" in capsys.readouterr().out


def test_a_reader_who_has_gone_changes_no_code(monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr(streams, "discard_stdout", lambda: None)
    monkeypatch.setattr(sys, "stderr", Gone())
    streams.say("nobody hears this")
    monkeypatch.setattr(sys, "stdout", Gone())
    streams.put("nor this")
    assert streams.Tolerated(Gone()).write("abc") == 3


@pytest.mark.parametrize(
    "words",
    [
        [f"\x1b[31m\n{NAME}"],
        ["list", "units\n\x9b2J"],
        ["certify", "no\x1b]0;x\x07"],
        ["train", "a\0b"],
    ],
)
def test_errors_are_one_line_that_no_terminal_obeys(words, capsys):
    try:
        code = cli.main(words)
    except SystemExit as leave:  # misuse of options
        code = leave.code
    err = capsys.readouterr().err
    assert (
        code == 2
        and err.count("\n") == 1
        and err[:-1].isprintable()
        and err.startswith("saddlery: ")
    )


# ------------------------------------------------------------------------- JAX
def test_a_platform_that_is_not_there_is_one_sentence(tmp_path):
    """Also of a sweep, whose batches must not be written off as impossible."""
    design = tmp_path / "two.toml"
    design.write_text(TWO.to_toml())
    lost = {"JAX_PLATFORMS": "nonsense"}
    both = [
        start("train", "linear", "--out", tmp_path / "run", env=lost),
        start("sweep", design, "--engine", "here", "--out", tmp_path / "sweep", env=lost),
    ]
    for process in both:
        code, out, err = ended(process)
        assert code == 2 and out == "" and err.count("\n") == 1
        assert (
            "JAX finds no device for JAX_PLATFORMS=nonsense; unset that variable, or set it to cpu"
            in err
        )
    assert not (tmp_path / "run").exists() and not list((tmp_path / "sweep" / "failed").iterdir())


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, AttributeError])
def test_however_jax_says_that_there_is_no_device(kind, monkeypatch):
    """An assertion, or under `python -O`, which leaves assertions out, what comes next."""
    import jax

    def devices():
        raise kind("none")

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(precision.NoDevice, match="JAX finds no device"):
        precision.check_platform.__wrapped__()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_ENABLE_X64", "x"),
        ("JAX_TRANSFER_GUARD", "never"),
        ("JAX_TRACER_ERROR_NUM_TRACEBACK_FRAMES", "few"),
    ],
)
def test_settings_that_jax_does_not_know_are_one_sentence(name, value, tmp_path):
    code, out, err = ended(start("train", "linear", "--out", tmp_path / "run", env={name: value}))
    assert (code, out, err.count("\n")) == (2, "", 1) and not (tmp_path / "run").exists()
    assert err.startswith("saddlery: JAX does not start here: ")
    assert value in err and f"; mend {name}, or unset it" in err


def test_units_are_checked_whatever_the_caller_forbids():
    """What `check_smooth` computes is moved to the device like all else; in debug mode every unit
    is checked when it is made."""
    import jax

    with jax.transfer_guard("disallow"), jax.numpy_dtype_promotion("strict"):
        check_smooth.__wrapped__(make("tanh"))
        check_smooth.__wrapped__(make("relu"))


def test_settings_of_jax_are_those_of_the_caller_again():
    import jax

    with (
        jax.numpy_dtype_promotion("strict"),
        jax.transfer_guard_host_to_device("disallow"),
        jax.disable_jit(),
    ):
        with precision.precision_context("float64"):
            assert (
                not jax.config.jax_disable_jit
                and jax.numpy.ones(2, "float32") + jax.numpy.ones(2, "int8") is not None
            )
        assert jax.config.jax_numpy_dtype_promotion == "strict" and jax.config.jax_disable_jit
        assert jax.config.jax_transfer_guard_host_to_device == "disallow"


def test_no_home_no_cache(monkeypatch):
    monkeypatch.setenv("SADDLERY_CACHE", "/proc/nothing/at/all")
    assert "JAX_COMPILATION_CACHE_DIR" not in surroundings()


def test_a_job_that_finds_no_device_ends_all(monkeypatch, tmp_path):
    def none() -> None:
        raise precision.NoDevice("JAX finds no device")

    import saddlery.engines.base as base

    monkeypatch.setattr(base, "check_platform", none)
    (done,) = Here().run([Job("sweep", "key", {"folder": str(tmp_path), "batch": 0})])
    assert done.fatal == "input" and done.error == "JAX finds no device"
    with pytest.raises(precision.NoDevice):
        perform(Job("sweep", "key", {}))


# --------------------------------------------------------------------- signals
def pressed(after: float, number: int = signal.SIGINT) -> threading.Timer:
    timer = threading.Timer(after, os.kill, (os.getpid(), number))
    timer.start()
    return timer


@pytest.fixture
def default_signals():
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    for number, usual in interrupts.SIGNALS.items():
        signal.signal(number, usual)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_counts_and_no_other(default_signals):
    with interrupts.watch():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert interrupts.asked()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_waits_for_what_is_finishing(default_signals):
    """And is raised once it is over, without anybody looking: tried again every twentieth of a
    second."""
    ends = []

    @interruptions.finishing
    def saves() -> None:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(4 * interrupts.AGAIN)
        ends.append("saved")

    @interruptions.finishing
    def saves_after(work) -> None:
        work()

    @interruptions.giving_up
    def endless() -> None:
        signal.raise_signal(signal.SIGINT)
        ends.append("never")

    with interrupts.watch(), pytest.raises(KeyboardInterrupt):
        saves()
        time.sleep(20)
    with interrupts.watch(), pytest.raises(KeyboardInterrupt):
        saves_after(endless)
    with interrupts.watch(), pytest.raises(KeyboardInterrupt):
        with interrupts.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            ends.append("kept")
        interrupts.check()
    assert ends == ["saved", "kept"]


def test_a_signal_waits_for_imports_and_for_jax(default_signals, tmp_path, monkeypatch):
    (tmp_path / "half_a_module.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with interrupts.watch(), pytest.raises(KeyboardInterrupt):
        import half_a_module  # noqa: F401

        time.sleep(20)
    assert sys.modules.pop("half_a_module").whole
    frame = {"__name__": "jax._src.interpreters", "signal": signal}
    exec("def traces():\n    signal.raise_signal(signal.SIGINT)\n    return 'traced'", frame)
    with interrupts.watch(), pytest.raises(KeyboardInterrupt):
        assert frame["traces"]() == "traced"
        time.sleep(20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_destructor_swallows_comes_back(default_signals):
    class Dies:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with interrupts.watch(), pytest.raises(KeyboardInterrupt):
        Dies()
        time.sleep(20)


def test_a_signal_that_comes_too_late_is_told(default_signals, monkeypatch, capsys):
    @interruptions.finishing
    def done(options) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr("saddlery.cli.commands.list.COMMAND", LIST._replace(function=done))
    assert cli.main(["list", "units"]) == 130
    assert capsys.readouterr().err == f"{cli.TOO_LATE}\n"


def test_half_a_run_is_no_measurement():
    """A study that is interrupted must not keep the row of a run that was cut short."""
    with pytest.raises(KeyboardInterrupt), interruptions.whole_runs():
        from saddlery import train

        def press(fraction: float, loss: float) -> None:
            raise KeyboardInterrupt

        train("linear", progress=press)
    assert interruptions.partial_runs_count()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_filter_without_end_ends(number, default_signals, tmp_path, monkeypatch, capsys):
    """A cross join of a million million million rows, as DuckDB would do it: gone a moment after
    the signal."""
    import duckdb

    def for_ever(folders, condition):
        with duckdb.connect() as made:
            text = (
                "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c "
                "where a.range+b.range+c.range=7"
            )
            return interruptions.patiently(lambda: made.execute(text).df(), made.interrupt)

    import saddlery.sweeps as sweeps

    monkeypatch.setattr(sweeps, "query", for_ever)
    timer = pressed(1.0, number)
    code = cli.main(["runs", str(tmp_path), "true"])
    timer.join()
    assert code == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "interrupted" in err


def test_what_is_waited_for_is_what_was_called():
    assert interruptions.patiently(lambda: 3, lambda: None) == 3
    with pytest.raises(ZeroDivisionError):
        interruptions.patiently(lambda: 1 // 0, lambda: None)


def heeds_signals(process: subprocess.Popen) -> None:
    """Wait for the first line of ours: how Python itself begins is not for us to say. It shows in
    the masks of signals that the process blocks or catches, where SIGTERM is bit 14."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        time.sleep(1.0)
        return
    while process.poll() is None:
        masks = [
            line.split()[1]
            for line in status.read_text().splitlines()
            if line.startswith(("SigBlk", "SigCgt"))
        ]
        if any(int(mask, 16) >> 14 & 1 for mask in masks):
            return
        time.sleep(0.005)


def at_random_moments(kind: str, folder: Path, seed: int, longest: float) -> None:
    """One process, up to three signals within a twentieth of a second: 130, one sentence, and what
    it says is there."""
    draw, out = random.Random(seed), folder / f"{kind}{seed}"
    design = folder / "many.toml"
    design.write_text(Sweep(TWO.experiment, seeds=400, batch=10, name="many").to_toml())
    arguments = {
        "train": ["train", "quadratic", "--set", "stop.flow_time=1e9", "--out", out],
        "sweep": [
            "sweep",
            design,
            "--out",
            out,
            "--workers",
            "1",
            "--engine",
            draw.choice(["here", "local"]),
        ],
    }
    process = start(*arguments[kind], cwd=folder)
    heeds_signals(process)
    time.sleep(draw.uniform(0, longest))
    number = draw.choice([signal.SIGINT, signal.SIGTERM])
    for _ in range(draw.randint(2, 3)):
        process.send_signal(number)
        time.sleep(draw.uniform(0, 0.05))
    code, _, err = ended(process)
    lines = [
        line for line in err.splitlines() if not line.startswith(("train ", "sweep "))
    ]  # progress
    assert code == 130 and len(lines) == 1 and "interrupted" in lines[0], (code, err)
    if "is saved in" in lines[0]:
        assert len(load_run(out).trajectory.loss) > 10
    if "are kept in" in lines[0]:
        assert f"{kept(out)} of 400" in lines[0]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("kind", slowly(["train", "sweep"], "sweep"))
def test_two_signals_at_once(kind, tmp_path):
    at_random_moments(kind, tmp_path, 1, 8.0)


AT_EXIT = """
import atexit, os, signal, sys, threading, time

def late():
    threading.Thread(target=lambda: None).start()
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
    print("ended", flush=True)

class Last:
    def __del__(self, os=os, kill=os.kill, number=signal.SIGINT, sleep=time.sleep):
        for _ in range(3):
            kill(os.getpid(), number)
            sleep(0.05)
        os.write(1, b"gone")

idle = threading.Thread(target=time.sleep, args=(30.0,), daemon=True)
idle.start()  # takes the signals that the main thread blocks
atexit.register(late)
last = Last()  # deleted when Python has taken its handlers off
sys.argv = ["saddlery", "list", "rules"]
from saddlery.__main__ import main
sys.exit(main())
"""


def test_a_signal_at_exit_does_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("ended\ngone")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["train", "sweep"])
def test_signals_at_forty_moments(kind, tmp_path):
    for seed in range(20):
        at_random_moments(kind, tmp_path, 100 + seed, 12.0)


# ---------------------------------------------------------------- other places
def test_a_folder_that_is_gone(tmp_path):
    """Works where nothing is written here, and else says why not."""
    place = tmp_path / "gone"
    place.mkdir()

    def remove() -> None:
        usual_signals()
        place.rmdir()

    code, out, err = ended(
        start("list", "rules", cwd=place, preexec_fn=remove, env={"PYTHONSAFEPATH": "1"})
    )
    assert code == 0 and "descent" in out and err == ""
    place.mkdir()
    process = start(
        "list", "rules", "--out", "x", cwd=place, preexec_fn=remove, env={"PYTHONSAFEPATH": "1"}
    )
    code, out, err = ended(process)
    assert (
        code == 3 and err.count("\n") == 1 and "cannot be written: No such file or directory" in err
    )


def test_another_thread_and_a_loop_of_events(capsys):
    """Handlers of signals belong to the main thread; a notebook's kernel runs a loop in it."""
    before, codes = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["list", "rules"])))
    thread.start()
    thread.join()

    async def cell() -> int:
        return cli.main(["list", "rules"])

    codes.append(asyncio.run(cell()))
    assert codes == [0, 0] and capsys.readouterr().out.count("adam") >= 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_takes_nothing(tmp_path, monkeypatch, capsys):
    tmp_path.chmod(0o500)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "linear"]) == 3
    assert "you may write to" in capsys.readouterr().err


def test_a_long_filter_is_no_path(tmp_path, capsys):
    """More than 255 letters, which no file can be called."""
    create(TWO, tmp_path / "two")
    long = " or ".join(["run < 2"] * 50)
    assert cli.main(["runs", str(tmp_path / "two"), long]) == 0
    assert cli.main(["stages", "x" * 400]) == 2
    assert cli.main(["report", "linear", "--out", str(tmp_path / ("x" * 300))]) == 3
    err = capsys.readouterr().err
    assert "free some space" not in err and "unexpected" not in err and "255 bytes" in err
    assert query(tmp_path / "two", long).empty


# -------------------------------------------------------------------- progress
def test_progress_of_a_sweep_never_runs_backwards():
    """Three batches of two workers, the last batch a small one; one batch ends while the other is
    half done, and one begins anew after its worker died. By hand: half of 4, 4 + half of 4, then 4
    + a fifth of 4 (told as 6), 8, and 10 of 10."""
    sweep, told = Sweep(TWO.experiment, seeds=10, batch=4, name="ten"), []
    counter = _Told(
        sweep, 0, time.perf_counter(), lambda fraction, words: told.append(round(10 * fraction, 6))
    )
    key = [running.batch_name(sweep.identity, k) for k in range(3)]
    counter.under_way({key[0]: 0.5})
    counter.under_way({key[0]: 0.5, key[1]: 0.5})
    counter.over(0, False)
    counter.under_way({key[1]: 0.2, key[2]: 0.0})
    counter.over(1, False)
    counter.under_way({key[2]: 0.5})
    counter.over(2, False)
    assert told == [2.0, 4.0, 6.0, 6.0, 8.0, 9.0, 10.0]


def test_progress_as_it_is_shown_never_runs_backwards(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST", -1.0)
    monkeypatch.setattr(progress, "EVERY", -1.0)
    with progress.progress(NAME) as report:
        for fraction in (0.1, 0.5, 0.2, 0.6, 0.999):
            report(fraction, "a\nb")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{SEEN}: {share}% (a\\nb)" for share in (10, 50, 50, 60, 99)]


def test_sweeps_are_told_in_one_line_each(tmp_path):
    made = run_sweep(
        Sweep(TWO.experiment.replace(name=NAME), seeds=1, name="a\x1b[31mb"),
        tmp_path / "s",
        engine=Here(),
    )
    assert repr(made).isprintable() and "a\\x1b[31mb" in repr(made)
