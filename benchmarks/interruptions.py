"""What a sweep survives: SIGKILL at ten random moments, a Dask worker killed, two resumes at once,
a full disk; and what two Dask workers gain over one.

usage: interruptions.py [KILLS]
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from common import Bench

from saddlery import Experiment
from saddlery.engines import Dask, Local
from saddlery.rules import GradientDescent
from saddlery.sweeps import Sweep, arrays, index, run_sweep
from saddlery.training import Stop

BASE = Experiment.named("linear").replace(rule=GradientDescent(0.005), stop=Stop(steps=10_000))
SWEEP = Sweep(
    BASE, grid={"initialization.scale": (1e-2, 1e-3)}, seeds=320, batch=4, name="interrupted"
)


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same rows (but for seconds) and the same arrays, bit for bit."""
    left, right = (
        index(f).drop(columns=["wall_seconds", "folder"]).astype(str) for f in (one, other)
    )
    return left.equals(right) and arrays(one).identical(arrays(other))


def command(design: Path, out: Path, *more: str) -> list[str]:
    saddlery = [sys.executable, "-m", "saddlery"]
    return [*saddlery, "sweep", str(design), "--out", str(out), "--resume", "--json", *more]


def killed(bench: Bench, work: Path, design: Path, whole: Path, kills: int, seconds: float) -> None:
    """The whole process group of the command, at random moments while it writes; the sweep takes
    `seconds`."""
    out, moments = work / "killed", random.Random(1)
    done = lambda: len(list((out / "index").glob("[0-9]*.parquet")))
    for _ in range(kills):
        process = subprocess.Popen(
            command(design, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        before, patience = done(), time.monotonic() + seconds
        while moments.random() < 0.999 and done() == before and time.monotonic() < patience:
            time.sleep(0.01)  # most of the time is starting: kills belong where batches are written
        time.sleep(moments.uniform(0.0, 0.2))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        readable = len(index(out)) if (out / "sweep.json").exists() else 0
        bench.note("killed", runs_readable=readable)
    last = json.loads(
        subprocess.run(command(design, out), capture_output=True, text=True, check=True).stdout
    )
    bench.note("resumed", kept=last["kept"], made=last["made"])
    bench.demand(
        f"after {kills} SIGKILLs and a resume the folder equals the undisturbed one",
        same(out, whole),
    )


def together(bench: Bench, work: Path, design: Path, whole: Path) -> None:
    """Two commands resume one folder at the same time."""
    out = work / "together"
    run_sweep(SWEEP, out, engine=Local(1), progress=None)
    for path in sorted((out / "index").iterdir())[4:]:
        path.unlink()
    both = [
        subprocess.Popen(command(design, out, "--workers", "1"), stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    codes = [process.wait() for process in both]
    bench.demand(
        "two concurrent resumes end well, and the folder equals the undisturbed one",
        codes == [0, 0] and same(out, whole),
    )


def worker_killed(bench: Bench, work: Path, whole: Path) -> None:
    import distributed

    out, victims = work / "dask", []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as there,
        distributed.Client(there) as client,
    ):

        def kill(fraction: float, words: str) -> None:
            if not victims and fraction > 0.3:
                victims.append(next(iter(client.run(os.getpid).values())))
                os.kill(victims[0], signal.SIGKILL)

        done = run_sweep(
            SWEEP, out, engine=Dask(options={"scheduler": there.scheduler_address}), progress=kill
        )
    bench.demand(
        "a Dask worker killed in the middle loses nothing",
        bool(victims) and not done.failed and same(out, whole),
    )


def efficiency(bench: Bench, work: Path) -> None:
    """Wall seconds of one worker over twice those of two."""
    seconds = []
    longer = replace(SWEEP, seeds=256, batch=32)
    for workers in (1, 2):
        begin = time.perf_counter()
        run_sweep(longer, work / f"workers{workers}", engine=Dask(workers))
        seconds.append(time.perf_counter() - begin)
        bench.note(f"Dask, {workers} local workers", seconds=round(seconds[-1], 2))
    bench.note(
        "efficiency of two workers",
        share=round(seconds[0] / (2 * seconds[1]), 3),
        load=os.getloadavg()[0],
    )


def full_disk(bench: Bench, work: Path, design: Path) -> None:
    """A tmpfs of a few hundred kilobytes, where one may be mounted."""
    place = work / "small"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True
    ).returncode:
        print("skipped: a full disk, since no tmpfs may be mounted here")
        return
    try:
        done = subprocess.run(command(design, place / "out"), capture_output=True, text=True)
        said = done.stderr.splitlines()[-1]
        bench.note("full disk", code=done.returncode, runs_readable=len(index(place / "out")))
        bench.demand(
            f"a full disk is one sentence: {said}", "No space left" in said and done.returncode != 0
        )
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        again = json.loads(
            subprocess.run(
                command(design, place / "out"), capture_output=True, text=True, check=True
            ).stdout
        )
        bench.demand(
            "and with room again the folder resumes", again["made"] + again["kept"] == len(SWEEP)
        )
    finally:
        subprocess.run(["umount", str(place)], check=False)


def main() -> None:
    bench = Bench("interruptions")
    work = Path(tempfile.mkdtemp(prefix="saddlery-interruptions-"))
    try:
        design = work / "design.toml"
        design.write_text(SWEEP.to_toml())
        whole = work / "whole"
        begin = time.perf_counter()
        run_sweep(SWEEP, whole, engine=Local())
        seconds = time.perf_counter() - begin
        bench.note("undisturbed, processes", seconds=round(seconds, 2), runs=len(SWEEP))
        killed(bench, work, design, whole, int(sys.argv[1]) if len(sys.argv) > 1 else 10, seconds)
        together(bench, work, design, whole)
        worker_killed(bench, work, whole)
        full_disk(bench, work, design)
        efficiency(bench, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    bench.finish()


if __name__ == "__main__":
    main()
