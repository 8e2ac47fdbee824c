"""Processes of this machine: workers are started afresh, never forked,
spoken to in lines of JSON, and replaced when they die."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from ..basis.precision import spare_programs
from .base import (
    JOB_ATTEMPTS,
    Done,
    Engine,
    Job,
    Progress,
    failure,
    perform,
)

XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def surroundings() -> dict[str, str]:
    """Environment variables of a worker.

    One thread, and a folder of this user's own in which compiled programs
    are kept between processes (SADDLERY_CACHE names another, or "" none;
    only what this user compiled is ever loaded).
    """
    flags = [os.environ.get("XLA_FLAGS", ""), XLA]
    found = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "XLA_FLAGS": " ".join(filter(None, flags)),
    }
    folder = _programs()
    if folder:
        found["JAX_COMPILATION_CACHE_DIR"] = folder
        # Seconds; what compiles faster is not worth a file.
        found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    return found


def _programs() -> str:
    """The folder of compiled programs.

    Empty where there is no home, or nothing can be written there: it only
    saves time.
    """
    try:
        home = Path(
            os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache",
        )
        usual = str(home / "saddlery" / "programs")
        folder = os.environ.get("SADDLERY_CACHE", usual)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):
        return ""
    return folder if folder and os.access(folder, os.W_OK) else ""


@dataclass(frozen=True)
class Here(Engine):
    """This process itself, one job after the other.

    For tests, notebooks, debugging and units of one's own.
    """

    name: ClassVar[str] = "here"

    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress | None = None,
    ) -> Iterator[Done]:
        for job in jobs:
            done = _tried(job, progress)
            spare_programs()
            yield done


def _tried(job: Job, progress: Progress | None) -> Done:
    """Do a job in this process, again where it fails."""

    def tell(fraction: float, _: str) -> None:
        if progress is not None:
            progress({job.key: fraction})

    attempt = 1
    while True:
        try:
            perform(job, tell)
        except Exception as error:
            if attempt == JOB_ATTEMPTS:
                return Done.of(job, failure(error), attempt)
            attempt += 1
        else:
            return Done(job, attempts=attempt)


@dataclass(frozen=True)
class _Try:
    """A job, and which attempt at it this is, from 1."""

    job: Job
    attempt: int = 1


class _Waiting:
    """Jobs not begun, in as many blocks as workers.

    Neighbours often share compiled programs, so each worker keeps to its
    own block, and takes from the end of the longest when that is empty.
    """

    def __init__(self, jobs: Sequence[Job], count: int) -> None:
        bounds = [len(jobs) * k // count for k in range(count + 1)]
        self.blocks = [deque(map(_Try, jobs[a:b])) for a, b in pairwise(bounds)]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def next(self, block: int) -> _Try:
        own = self.blocks[block]
        if own:
            return own.popleft()
        return max(self.blocks, key=len).pop()

    def again(self, failed: _Try) -> None:
        """A job that failed, at the end of the shortest block."""
        shortest = min(self.blocks, key=len)
        shortest.append(_Try(failed.job, failed.attempt + 1))


class _Worker:
    """A process that does jobs, and a thread that reads what it says into a
    queue shared by all."""

    def __init__(self, said: _Said, block: int) -> None:
        self.block = block
        self.process = subprocess.Popen(
            [sys.executable, "-m", "saddlery.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **surroundings()},
        )
        self.doing: _Try | None = None
        self.fraction = 0.0
        self.listener = threading.Thread(
            target=self._listen,
            args=(said,),
            daemon=True,
        )
        self.listener.start()

    def _listen(self, said: _Said) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                said.put((self, json.loads(line)))
        except ValueError:
            # Half a line: it was killed, and what it says is not understood any more.
            self.process.kill()
        finally:
            said.put((self, None))  # the process ended

    def give(self, task: _Try) -> None:
        self.doing = task
        self.fraction = 0.0
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(task.job.to_json() + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it died meanwhile; its listener says so

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            # What was still to be written to it.
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()


# Who says it, and an answer: None when the process ended.
_Said = queue.Queue[tuple[_Worker, dict[str, Any] | None]]


class _Crew:
    """The workers, and what they have not begun."""

    def __init__(self, jobs: Sequence[Job], size: int) -> None:
        self.said: _Said = queue.Queue()
        self.size = size
        self.left = len(jobs)
        self.waiting = _Waiting(jobs, size)
        self.workers = {_Worker(self.said, block) for block in range(size)}

    def begin(self) -> None:
        for worker in self.workers:
            worker.give(self.waiting.next(worker.block))

    def go_on(self) -> None:
        """Give workers that have nothing to do what is waiting.

        (The job of one that died may wait for another, idle since long.)
        """
        for worker in self.workers:
            if len(self.waiting) and worker.doing is None:
                worker.give(self.waiting.next(worker.block))

    def fractions(self) -> dict[str, float]:
        """How much of each job under way is done, by its key."""
        found = {}
        for worker in self.workers:
            if worker.doing:
                found[worker.doing.job.key] = worker.fraction
        return found

    def hear(self, worker: _Worker, answer: dict[str, Any] | None) -> Done | None:
        """What is over by the answer of a worker (None: its process ended),
        or nothing: a job that failed may be tried again."""
        tried, worker.doing = worker.doing, None
        if answer is None:
            answer = self.bury(worker)
            self.replace(worker)
        if tried is None:
            return None  # a process that died while it had nothing to do
        if answer.get("error") and tried.attempt < JOB_ATTEMPTS:
            self.waiting.again(tried)
            return None
        self.left -= 1
        return Done.of(tried.job, answer, tried.attempt)

    def bury(self, worker: _Worker) -> dict[str, Any]:
        """Take leave of a process that ended; what it would have answered."""
        self.workers.discard(worker)
        code = worker.process.wait()
        worker.stop()
        return {
            "error": f"its worker process died (exit code {code}); out of memory, or killed",
        }

    def replace(self, worker: _Worker) -> None:
        """Add another worker for the same block, where there is still work for it."""
        if len(self.workers) < min(self.size, self.left):
            self.workers.add(_Worker(self.said, worker.block))

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


@dataclass(frozen=True)
class Local(Engine):
    """Worker processes, as many as cores unless `workers` says otherwise.

    One that dies is replaced, its job done again.
    """

    name: ClassVar[str] = "local"

    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress | None = None,
    ) -> Iterator[Done]:
        if not jobs:
            return
        cores = len(os.sched_getaffinity(0))
        crew = _Crew(jobs, min(self.workers or cores, len(jobs)))
        try:
            crew.begin()
            while crew.left:
                worker, answer = crew.said.get()
                if answer is not None and "fraction" in answer:
                    worker.fraction = answer["fraction"]
                    if progress is not None:
                        progress(crew.fractions())
                    continue
                done = crew.hear(worker, answer)
                if done is not None:
                    yield done
                crew.go_on()
        finally:
            crew.stop()
