"""Clusters: Dask (a local one, or a scheduler to join) and Slurm job arrays through submitit. Both
are installed as extras."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..basis.checks import InputError, installed, known, positive, require, whole
from ..basis.echo import said
from ..basis.precision import spare_programs
from ..runs.run import versions
from .base import ATTEMPTS, Done, Engine, Job, answer_at_once, failure, perform
from .local import surroundings

SAME = ("saddlery", "jax", "numpy")  # of these, workers must have the versions of the sender
PATIENCE = 10.0  # seconds a scheduler has to answer
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
    return {name: versions()[name] for name in SAME}


@dataclass(frozen=True)
class Dask(Engine):
    """Dask Distributed. options: "scheduler", the address of one that runs (over SSH, Kubernetes, a
    cloud), else a cluster of `workers` processes of this machine is started. A worker that dies is
    replaced by Dask, and its jobs are done by others."""

    name: ClassVar[str] = "dask"

    def check(self) -> None:
        super().check()
        distributed = _needed("distributed")
        if self.options.get("scheduler"):
            with self._connected(distributed)[1] as client:
                _check_versions(client)

    def run(
        self, jobs: Sequence[Job], progress: Callable[[Mapping[str, float]], None] | None = None
    ) -> Iterator[Done]:
        distributed = _needed("distributed")
        cluster, client = self._connected(distributed)
        try:
            with client:
                _check_versions(client)
                by_key = {job.key: job for job in jobs}
                tries = dict.fromkeys(by_key, 1)
                send = lambda job: client.submit(
                    attempt,
                    job.to_json(),
                    key=f"{job.key}-try{tries[job.key]}",
                    pure=False,
                    retries=ATTEMPTS,
                )
                futures = distributed.as_completed([send(job) for job in jobs])
                for future in futures:
                    key = future.key.rpartition("-try")[0]
                    try:
                        answer = future.result()
                    except Exception as error:  # its worker died again and again
                        answer = failure(error)
                    error = answer.get("error", "")
                    if error and tries[key] < ATTEMPTS:
                        tries[key] += 1
                        futures.add(send(by_key[key]))
                        continue
                    yield Done.of(by_key[key], answer, tries[key])
        finally:
            if cluster is not None:
                cluster.close()

    def _connected(self, distributed: Any) -> tuple[Any, Any]:
        address = self.options.get("scheduler")
        if not address:
            _needed("dask").config.set({"distributed.nanny.pre-spawn-environ": surroundings()})
            cluster = distributed.LocalCluster(
                n_workers=self.workers or len(os.sched_getaffinity(0)),
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
            )
            return cluster, distributed.Client(cluster)
        try:
            return None, distributed.Client(address, timeout=PATIENCE)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"the scheduler at {address} does not answer within {PATIENCE:g} seconds"
                f" ({said(error)});"
                " check the address, tcp://HOST:PORT, and that dask scheduler runs there"
            ) from None


def _check_versions(client: Any) -> None:
    """Workers that compute with other versions would leave results that nobody can repeat."""
    ours = worker_versions()
    for worker, theirs in client.run(worker_versions).items():
        for name, version in theirs.items():
            if version != ours[name]:
                raise InputError(
                    f"worker {worker} has {name} {version}, this machine {ours[name]}; install "
                    "the same versions on both"
                )


def _needed(module: str) -> Any:
    installed([module], "this engine", "cluster")
    return importlib.import_module(module)


# --------------------------------------------------------------------- Slurm
class Share:
    """The jobs that one task of an array does, one after the other. A task that Slurm stops goes on
    where it was: finished batches are skipped."""

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        return [attempt(text) for text in texts]

    def checkpoint(self, texts: Sequence[str]) -> Any:
        """What to submit when Slurm pre-empts the task or its time is up: the same."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, texts)

    __submitit_checkpoint__ = checkpoint


WHOLE = {"minutes": 60, "cpus": 1, "requeues": 3}  # and their defaults
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
    """Job arrays through submitit. options, the [slurm] table of a sweep: partition, minutes,
    memory_gb, cpus, account; tasks: of the array (each does its share of the batches); requeues:
    after time-outs, at most; cluster: "slurm", or "local" to try the same without one; folder: of
    submitit's own files (its default: slurm in the sweep's folder)."""

    name: ClassVar[str] = "slurm"

    def check(self) -> None:
        super().check()
        self._executor()

    def run(
        self, jobs: Sequence[Job], progress: Callable[[Mapping[str, float]], None] | None = None
    ) -> Iterator[Done]:
        shares = [list(jobs[k :: self._tasks(jobs)]) for k in range(self._tasks(jobs))]
        tasks = self._executor().map_array(
            Share(), [[job.to_json() for job in share] for share in shares]
        )
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
        options = {"cluster": "slurm", "folder": "slurm", **WHOLE, "memory_gb": 4, **self.options}
        known(options["cluster"], ("slurm", "local"), "[slurm] cluster")
        for name in WHOLE:
            whole(options[name], f"[slurm] {name}", 0 if name == "requeues" else 1)
        positive(options["memory_gb"], "[slurm] memory_gb")
        for name in ("partition", "account"):
            require(
                isinstance(options.get(name, ""), str),
                f"[slurm] {name}",
                "a text",
                options.get(name),
            )
        return options

    def _settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "name": "saddlery",
            "timeout_min": options["minutes"],
            "mem_gb": options["memory_gb"],
            "cpus_per_task": options["cpus"],
        }
        if options["cluster"] == "slurm":
            found |= {
                f"slurm_{name}": options[name]
                for name in ("partition", "account")
                if name in options
            }
            found |= {"slurm_array_parallelism": self.workers} if self.workers else {}
        return found

    def _tasks(self, jobs: Sequence[Job]) -> int:
        usual = self.workers or (
            64 if self.options.get("cluster", "slurm") == "slurm" else len(os.sched_getaffinity(0))
        )
        return min(len(jobs), whole(self.options.get("tasks", usual), "[slurm] tasks"))


def _collected(tasks: Sequence[Any], shares: Sequence[Sequence[Job]]) -> Iterator[Done]:
    left = dict(enumerate(tasks))
    while left:
        for k, task in list(left.items()):
            if not task.done():
                continue
            del left[k]
            try:
                answers = {answer["key"]: answer for answer in task.result()}
            except Exception as error:
                answers = {
                    job.key: {
                        "error": (
                            f"task {task.job_id} of the array failed: {failure(error)['error']}"
                        )
                    }
                    for job in shares[k]
                }
            for job in shares[k]:
                yield Done.of(job, answers[job.key])
        time.sleep(POLL if left else 0)
