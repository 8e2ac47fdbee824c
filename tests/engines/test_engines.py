"""Engines: every job once, whoever dies; the local ones here, Dask with real workers, Slurm by
submitit's local executor."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from saddlery import Experiment
from saddlery.basis.checks import InputError
from saddlery.engines import Dask, Here, Job, Local, Slurm, cluster, local, make, perform
from saddlery.sweeps import Sweep, arrays, index, run_sweep
from saddlery.tasks import TASKS
from saddlery.training import Stop

SMALL = Sweep(Experiment.named("linear").replace(stop=Stop(flow_time=40.0)), seeds=12, batch=2)
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines") / "whole"
    run_sweep(SMALL, folder, engine=Here())
    return folder


def same(one, other):
    left, right = (index(f).drop(columns=["wall_seconds", "folder"]) for f in (one, other))
    assert left.astype(str).equals(right.astype(str))
    assert arrays(one).identical(arrays(other))


def children():
    """Process ids of the workers of this process."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as words:
                parent = int(stat.read().rpartition(")")[2].split()[1])
                if parent == os.getpid() and "saddlery.engines.worker" in words.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


def test_workers_give_what_this_process_gives(undisturbed, tmp_path):
    seen = []
    done = run_sweep(
        SMALL, tmp_path / "out", engine=Local(2), progress=lambda f, w: seen.append((f, w))
    )
    assert done.made == 12 and not done.failed
    assert seen[-1][0] == 1.0 and "12 of 12 runs" in seen[-1][1]
    same(tmp_path / "out", undisturbed)
    assert not children()


def test_a_killed_worker_is_replaced_and_nothing_is_lost(undisturbed, tmp_path):
    killed = []

    def kill(fraction, words):
        if not killed and fraction > 0:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    done = run_sweep(SMALL, tmp_path / "out", engine=Local(2), progress=kill)
    assert killed and not done.failed
    same(tmp_path / "out", undisturbed)


DEADLY = """
import dataclasses, os, pathlib, time
from saddlery.tasks import LinearTeacher

@dataclasses.dataclass(frozen=True)
class Deadly(LinearTeacher):
    kind = "deadly"

    def data(self, seed):
        if seed == 3:
            {dies}
        return super().data(seed)
"""


@pytest.fixture
def deadly(tmp_path, monkeypatch, request):
    """dies -> a sweep whose run of seed 3 does that in its worker."""

    def sweep_that(dies, seeds):
        (tmp_path / "deadly.py").write_text(DEADLY.format(dies=dies))
        monkeypatch.syspath_prepend(tmp_path)
        path = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path).rstrip(os.pathsep))
        import deadly

        request.addfinalizer(
            lambda: (TASKS.members.pop("deadly"), sys.modules.pop("deadly"))
        )  # other tests list all tasks
        base = SMALL.experiment.replace(task=deadly.Deadly((1.0, 0.4)))
        return replace(SMALL, experiment=base, seeds=seeds, imports=("deadly",))

    return sweep_that


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_reported(deadly, tmp_path):
    """Twice, and the others are done."""
    sweep = deadly("os._exit(9)", seeds=6)
    done = run_sweep(sweep, tmp_path / "out", engine=Local(1))
    assert list(done.failed) == [1] and "worker process died (exit code 9)" in done.failed[1]
    assert sorted(index(tmp_path / "out")["seed"]) == [0, 1, 4, 5]


@pytest.mark.slow
def test_the_last_job_of_a_worker_that_died_is_done_by_an_idle_one(deadly, tmp_path):
    """The other worker is long done then, and nothing else will be said by it."""
    flag = tmp_path / "died"
    once = (
        f"p = pathlib.Path({str(flag)!r}); p.exists() or (p.touch(), time.sleep(20), os._exit(9))"
    )
    done = run_sweep(deadly(once, seeds=4), tmp_path / "out", engine=Local(2))
    assert flag.exists() and done.made == 4 and not done.failed


@pytest.mark.parametrize("line", ['{"key": "000', "\udcff", ""], ids=["half", "garbage", "nothing"])
def test_half_a_line_of_a_worker_that_was_killed_is_its_end(line):
    """What it had said before is heard, then that it ended; nobody waits for more."""
    killed = []
    lines = ['{"fraction": 0.5}\n', line] if line else ['{"fraction": 0.5}\n']
    process = SimpleNamespace(stdout=iter(lines), kill=lambda: killed.append(True))
    worker, said = SimpleNamespace(process=process), queue.Queue()
    with contextlib.suppress(ValueError):
        local._Worker._listen(worker, said)
    assert [answer for _, answer in said.queue] == [{"fraction": 0.5}, None]
    assert bool(killed) == bool(line)


@pytest.mark.parametrize("engine", [Here, Local, Dask, Slurm])
def test_no_jobs_are_nothing_to_do(engine):
    assert list(engine().run([])) == []


def test_jobs_survive_json_and_unknown_ones_are_refused():
    job = Job("sweep", "key", {"folder": "x", "batch": 3}, ("a", "b"))
    assert Job.from_json(job.to_json()) == job
    with pytest.raises(InputError, match="of one saddlery version"):
        perform(Job("swep", "key", {}))
    with pytest.raises(InputError, match="engine 'dsk' is not known; did you mean 'dask'"):
        make("dsk")


# ------------------------------------------------------------------------ clusters
@pytest.mark.slow
def test_dask_with_a_worker_killed(undisturbed, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as there,
        distributed.Client(there) as client,
    ):
        killed = []

        def kill(fraction, words):
            if not killed and fraction > 0:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        engine = Dask(options={"scheduler": there.scheduler_address})
        done = run_sweep(SMALL, tmp_path / "out", engine=engine, progress=kill)
    assert killed and not done.failed
    same(tmp_path / "out", undisturbed)


@pytest.mark.slow
def test_dask_starts_a_cluster_of_its_own(undisturbed, tmp_path):
    pytest.importorskip("distributed")
    assert run_sweep(SMALL, tmp_path / "out", engine=Dask(1)).made == 12
    same(tmp_path / "out", undisturbed)


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "TIME_TO_ANSWER", 0.5)
    with pytest.raises(
        InputError, match=r"scheduler at tcp://127.0.0.1:9 does not answer within 0.5 seconds"
    ):
        run_sweep(SMALL, tmp_path / "out", engine=Dask(options={"scheduler": "tcp://127.0.0.1:9"}))
    assert not (tmp_path / "out").exists()  # nothing was begun


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"partitions": "gpu"},
            r"\[slurm\] option 'partitions' is not known; did you mean 'partition'",
        ),
        ({"cluster": "locale"}, r"\[slurm\] cluster 'locale' is not known; did you mean 'local'"),
        (
            {"cluster": "local", "minutes": "60"},
            r"\[slurm\] minutes must be a whole number of at least 1, got '60'",
        ),
        (
            {"cluster": "local", "memory_gb": -1},
            r"\[slurm\] memory_gb must be a finite number above zero",
        ),
        ({"partition": 3}, r"\[slurm\] partition must be a text, got 3"),
    ],
)
def test_bad_options_are_found_before_anything_is_written(options, words, tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(InputError, match=words):
        run_sweep(SMALL, tmp_path / "out", engine=Slurm(options=options))
    assert not (tmp_path / "out").exists()


def test_a_number_of_workers_that_is_none(tmp_path):
    with pytest.raises(InputError, match="workers must be a whole number of at least 0"):
        run_sweep(SMALL, tmp_path / "out", engine=Local(-1))


def test_workers_of_other_versions_are_refused():
    class Client:
        def run(self, function):
            return {"tcp://one": function(), "tcp://two": {**function(), "jax": "0.0.1"}}

    with pytest.raises(
        InputError, match=r"worker tcp://two has jax 0.0.1, this machine .*install the same"
    ):
        cluster._check_versions(Client())


@pytest.mark.slow
def test_slurm_by_the_local_executor(undisturbed, tmp_path):
    pytest.importorskip("submitit")
    engine = Slurm(2, {"cluster": "local", "folder": str(tmp_path / "slurm"), "minutes": 5})
    assert run_sweep(SMALL, tmp_path / "out", engine=engine).made == 12
    same(tmp_path / "out", undisturbed)


def test_slurm_options_and_what_is_submitted_again():
    submitit = pytest.importorskip("submitit")
    engine = Slurm(100, {"partition": "short", "minutes": 30, "memory_gb": 8})
    found = engine._settings(engine._checked())
    assert (
        found["slurm_partition"] == "short" and found["timeout_min"] == 30 and found["mem_gb"] == 8
    )
    assert found["slurm_array_parallelism"] == 100
    share = cluster.Share()
    again = share.checkpoint(["a"])
    assert (
        isinstance(again, submitit.helpers.DelayedSubmission)
        and again.function is share
        and again.args == (["a"],)
    )


@pytest.mark.slow
def test_two_at_once_in_one_folder(undisturbed, tmp_path):
    """Threads stand for two machines: both do what is left, and the folder is whole."""
    folder, errors = tmp_path / "out", []
    run_sweep(replace(SMALL), folder, engine=Local(1), progress=None)
    for path in sorted((folder / "index").iterdir())[1:]:
        path.unlink()

    def go():
        try:
            run_sweep(SMALL, folder, engine=Local(1), resume=True)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert not errors and sys.exc_info() == (None, None, None)
    same(folder, undisturbed)
