"""Processes of this machine: workers are started afresh, never forked, spoken to in lines of JSON,
and replaced when they die."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from ..basis.precision import spare_programs
from .base import ATTEMPTS, Done, Engine, Job, failure, perform

XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def surroundings() -> dict[str, str]:
    """Environment variables of a worker: one thread, and a folder of this user's own in which
    compiled programs are kept between processes (SADDLERY_CACHE names another, or "" none; only
    what this user compiled is ever loaded)."""
    folder = _programs()
    kept = (
        {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
        if folder
        else {}
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **threads,
        **kept,
        "XLA_FLAGS": " ".join(filter(None, [os.environ.get("XLA_FLAGS", ""), XLA])),
    }


def _programs() -> str:
    """The folder of compiled programs; empty where there is no home, or nothing can be written
    there: it only saves time."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = os.environ.get("SADDLERY_CACHE", str(home / "saddlery" / "programs"))
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):
        return ""
    return folder if folder and os.access(folder, os.W_OK) else ""


@dataclass(frozen=True)
class Here(Engine):
    """This process itself, one job after the other: for tests, notebooks, debugging and units of
    one's own."""

    name: ClassVar[str] = "here"

    def run(
        self, jobs: Sequence[Job], progress: Callable[[Mapping[str, float]], None] | None = None
    ) -> Iterator[Done]:
        for job in jobs:
            shown = (
                None
                if progress is None
                else lambda fraction, _, job=job: progress({job.key: fraction})
            )
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    perform(job, shown)
                    done = Done(job, attempts=attempt)
                    break
                except Exception as error:
                    done = Done.of(job, failure(error), attempt)
            spare_programs()
            yield done


class _Waiting:
    """Jobs not begun, in as many blocks as workers: neighbours often share compiled programs, so
    each worker keeps to its own block, and takes from the end of the longest when that is empty."""

    def __init__(self, jobs: Sequence[Job], count: int) -> None:
        bounds = [len(jobs) * k // count for k in range(count + 1)]
        self.blocks = [deque((job, 1) for job in jobs[a:b]) for a, b in pairwise(bounds)]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def next(self, block: int) -> tuple[Job, int]:
        return (
            self.blocks[block].popleft() if self.blocks[block] else max(self.blocks, key=len).pop()
        )

    def again(self, job: Job, attempt: int) -> None:
        """A job that failed, at the end of the shortest block."""
        min(self.blocks, key=len).append((job, attempt))


class _Worker:
    """A process that does jobs, and a thread that reads what it says into a queue shared by all."""

    def __init__(
        self, said: queue.Queue[tuple[_Worker, dict[str, Any] | None]], block: int
    ) -> None:
        self.block = block
        self.process = subprocess.Popen(
            [sys.executable, "-m", "saddlery.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **surroundings()},
        )
        self.job: tuple[Job, int] | None = None
        self.fraction = 0.0
        self.listener = threading.Thread(target=self._listen, args=(said,), daemon=True)
        self.listener.start()

    def _listen(self, said: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said.put((self, json.loads(line)))
        said.put((self, None))  # the process ended

    def give(self, job: Job, attempt: int) -> None:
        self.job, self.fraction = (job, attempt), 0.0
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it died meanwhile; its listener says so

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was still to be written to it
                assert pipe is not None
                pipe.close()


@dataclass(frozen=True)
class Local(Engine):
    """Worker processes, as many as cores unless `workers` says otherwise; one that dies is
    replaced, its job done again."""

    name: ClassVar[str] = "local"

    def run(
        self, jobs: Sequence[Job], progress: Callable[[Mapping[str, float]], None] | None = None
    ) -> Iterator[Done]:
        said: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        count = min(self.workers or len(os.sched_getaffinity(0)), len(jobs))
        waiting = _Waiting(jobs, count)
        workers = {_Worker(said, block) for block in range(count)}
        try:
            for worker in workers:
                worker.give(*waiting.next(worker.block))
            left = len(jobs)
            while left:
                worker, answer = said.get()
                if answer is not None and "fraction" in answer:
                    worker.fraction = answer["fraction"]
                    if progress is not None:
                        progress({w.job[0].key: w.fraction for w in workers if w.job})
                    continue
                job, attempt = worker.job or (None, 0)
                worker.job = None
                if answer is None:
                    workers.discard(worker)
                    code = worker.process.wait()
                    worker.stop()
                    answer = {
                        "error": (
                            f"its worker process died (exit code {code}); out of memory, or killed"
                        )
                    }
                    if len(workers) < min(count, left):
                        worker = _Worker(said, worker.block)
                        workers.add(worker)
                if job is not None:
                    error = answer.get("error", "")
                    if error and attempt < ATTEMPTS:
                        waiting.again(job, attempt + 1)
                    else:
                        left -= 1
                        yield Done.of(job, answer, attempt)
                if len(waiting) and worker.job is None:
                    worker.give(*waiting.next(worker.block))
        finally:
            for worker in workers:
                worker.stop()
