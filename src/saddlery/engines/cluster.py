"""Clusters: Dask (a local one, or a scheduler to join) and Slurm job arrays
through submitit.

Both are installed as extras.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..basis.checks import (
    InputError,
    installed,
    known,
    positive,
    require,
    whole,
)
from ..basis.echo import said
from ..basis.precision import spare_programs
from ..runs.run import versions
from .base import (
    JOB_ATTEMPTS,
    Done,
    Engine,
    Job,
    Progress,
    answer_at_once,
    failure,
    perform,
)
from .local import surroundings

# Packages of which workers must have the versions of the sender.
PACKAGES_THAT_COMPUTE = ("saddlery", "jax", "numpy")
TIME_TO_ANSWER = 10.0  # seconds within which a scheduler must answer
POLL = 1.0  # seconds between two looks at job arrays


def attempt(text: str) -> dict[str, Any]:
    """A job given as JSON, done on a worker; an error is an answer."""
    job = Job.from_json(text)
    try:
        answer_at_once()
        perform(job)
        return {"key": job.key}
    except Exception as error:
        return {"key": job.key, **failure(error)}
    finally:
        spare_programs()


def worker_versions() -> dict[str, str]:
    found = versions()
    return {name: found[name] for name in PACKAGES_THAT_COMPUTE}


class _Tries:
    """The jobs that were sent to a scheduler, and how often each was."""

    def __init__(self, client: Any, jobs: Sequence[Job]) -> None:
        self.client = client
        self.jobs = {job.key: job for job in jobs}
        self.count = dict.fromkeys(self.jobs, 0)

    def send(self, key: str) -> Any:
        """Submit a job once more; Dask itself repeats it when its worker dies."""
        self.count[key] += 1
        return self.client.submit(
            attempt,
            self.jobs[key].to_json(),
            key=f"{key}-try{self.count[key]}",
            pure=False,
            retries=JOB_ATTEMPTS,
        )


@dataclass(frozen=True)
class Dask(Engine):
    """Dask Distributed.

    options: "scheduler", the address of one that runs (over SSH,
    Kubernetes, a cloud), else a cluster of `workers` processes of this
    machine is started. A worker that dies is replaced by Dask, and its jobs
    are done by others.
    """

    name: ClassVar[str] = "dask"

    def check(self) -> None:
        super().check()
        distributed = _needed("distributed")
        address = self.options.get("scheduler")
        if address:
            with _joined(distributed, address) as client:
                _check_versions(client)

    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress | None = None,
    ) -> Iterator[Done]:
        if not jobs:
            return
        distributed = _needed("distributed")
        cluster, client = self._connected(distributed)
        try:
            with client:
                _check_versions(client)
                sent = _Tries(client, jobs)
                first = [sent.send(job.key) for job in jobs]
                futures = distributed.as_completed(first)
                for future in futures:
                    key = future.key.rpartition("-try")[0]
                    answer = _answer(future)
                    tries = sent.count[key]
                    if answer.get("error") and tries < JOB_ATTEMPTS:
                        futures.add(sent.send(key))
                        continue
                    yield Done.of(sent.jobs[key], answer, tries)
        finally:
            if cluster is not None:
                cluster.close()

    def _connected(self, distributed: Any) -> tuple[Any, Any]:
        """A cluster of our own, or None where one is joined, and its client."""
        address = self.options.get("scheduler")
        if address:
            return None, _joined(distributed, address)
        before_workers = "distributed.nanny.pre-spawn-environ"
        _needed("dask").config.set({before_workers: surroundings()})
        cluster = distributed.LocalCluster(
            n_workers=self.workers or len(os.sched_getaffinity(0)),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
        )
        return cluster, distributed.Client(cluster)


def _joined(distributed: Any, address: str) -> Any:
    """A client of the scheduler at an address."""
    try:
        return distributed.Client(address, timeout=TIME_TO_ANSWER)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"the scheduler at {address} does not answer within"
            f" {TIME_TO_ANSWER:g} seconds ({said(error)});"
            " check the address, tcp://HOST:PORT, and that dask scheduler runs there"
        ) from None


def _answer(future: Any) -> dict[str, Any]:
    try:
        return future.result()
    except Exception as error:  # its worker died again and again
        return failure(error)


def _check_versions(client: Any) -> None:
    """Workers that compute with other versions would leave results that
    nobody can repeat."""
    ours = worker_versions()
    for worker, theirs in client.run(worker_versions).items():
        for name, version in theirs.items():
            if version == ours[name]:
                continue
            raise InputError(
                f"worker {worker} has {name} {version}, this machine {ours[name]};"
                " install the same versions on both"
            )


def _needed(module: str) -> Any:
    installed([module], "this engine", "cluster")
    return importlib.import_module(module)


# --------------------------------------------------------------------- Slurm
class Share:
    """The jobs that one task of an array does, one after the other.

    A task that Slurm stops goes on where it was: finished batches are
    skipped.
    """

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        return [attempt(text) for text in texts]

    def checkpoint(self, texts: Sequence[str]) -> Any:
        """What to submit when Slurm pre-empts the task or its time is up: the same."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, texts)

    __submitit_checkpoint__ = checkpoint


# The options that are whole numbers, and their defaults.
WHOLE_OPTIONS = {"minutes": 60, "cpus": 1, "requeues": 3}
SLURM_DEFAULTS = {
    "cluster": "slurm",
    "folder": "slurm",
    "memory_gb": 4,
    **WHOLE_OPTIONS,
}
TASKS_OF_AN_ARRAY = 64  # most tasks of a job array, unless `tasks` or `workers` say otherwise
SLURM = (
    "cluster",
    "folder",
    "partition",
    "minutes",
    "memory_gb",
    "cpus",
    "tasks",
    "account",
    "requeues",
)


@dataclass(frozen=True)
class Slurm(Engine):
    """Job arrays through submitit.

    options, the [slurm] table of a sweep:
        partition, minutes, memory_gb, cpus, account: of each task;
        tasks: of the array (each does its share of the batches);
        requeues: after time-outs, at most;
        cluster: "slurm", or "local" to try the same without one;
        folder: of submitit's own files (its default: slurm in the sweep's folder).
    """

    name: ClassVar[str] = "slurm"

    def check(self) -> None:
        super().check()
        self._executor()

    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress | None = None,
    ) -> Iterator[Done]:
        if not jobs:
            return
        count = self._tasks(jobs)
        shares = [list(jobs[k::count]) for k in range(count)]
        texts = [[job.to_json() for job in share] for share in shares]
        tasks = self._executor().map_array(Share(), texts)
        yield from _collected(tasks, shares)

    def _executor(self) -> Any:
        submitit = _needed("submitit")
        options = self._checked()
        try:
            executor = submitit.AutoExecutor(
                folder=str(options["folder"]),
                cluster=options["cluster"],
                slurm_max_num_timeout=options["requeues"],
            )
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"Slurm cannot be reached from here ({said(error)}); run this where sbatch works"
            ) from None
        executor.update_parameters(**self._settings(options))
        return executor

    def _checked(self) -> dict[str, Any]:
        """The options, those left out at their defaults."""
        for key in self.options:
            known(key, SLURM, "[slurm] option")
        options = {**SLURM_DEFAULTS, **self.options}
        known(options["cluster"], ("slurm", "local"), "[slurm] cluster")
        for name in WHOLE_OPTIONS:
            least = 0 if name == "requeues" else 1
            whole(options[name], f"[slurm] {name}", least)
        positive(options["memory_gb"], "[slurm] memory_gb")
        for name in ("partition", "account"):
            require(
                isinstance(options.get(name, ""), str),
                argument=f"[slurm] {name}",
                needed="a text",
                given=options.get(name),
            )
        return options

    def _settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "name": "saddlery",
            "timeout_min": options["minutes"],
            "mem_gb": options["memory_gb"],
            "cpus_per_task": options["cpus"],
        }
        if options["cluster"] != "slurm":
            return found
        for name in ("partition", "account"):
            if name in options:
                found[f"slurm_{name}"] = options[name]
        if self.workers:
            found["slurm_array_parallelism"] = self.workers
        return found

    def _tasks(self, jobs: Sequence[Job]) -> int:
        usual = self.workers or self._usual_tasks()
        asked = whole(self.options.get("tasks", usual), "[slurm] tasks")
        return min(len(jobs), asked)

    def _usual_tasks(self) -> int:
        if self.options.get("cluster", "slurm") == "slurm":
            return TASKS_OF_AN_ARRAY
        return len(os.sched_getaffinity(0))


def _collected(
    tasks: Sequence[Any],
    shares: Sequence[Sequence[Job]],
) -> Iterator[Done]:
    left = dict(enumerate(tasks))
    while left:
        over = [k for k, task in left.items() if task.done()]
        for k in over:
            answers = _answers(left.pop(k), shares[k])
            for job in shares[k]:
                yield Done.of(job, answers[job.key])
        time.sleep(POLL if left else 0)


def _answers(task: Any, share: Sequence[Job]) -> dict[str, Any]:
    """What a task of an array says of its jobs, by their keys."""
    try:
        return {answer["key"]: answer for answer in task.result()}
    except Exception as error:
        why = failure(error)["error"]
        words = f"task {task.job_id} of the array failed: {why}"
        return {job.key: {"error": words} for job in share}
