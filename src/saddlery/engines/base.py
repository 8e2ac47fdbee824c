"""An engine runs jobs; a job may be run twice, by anyone, at any time, and
leaves the same result in its folder.

That is all that correctness rests on: engines differ in where the work is
done, and in who notices that a worker died.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..basis.checks import (
    InputError,
    SaddleryError,
    StorageError,
    whole,
)
from ..basis.families import Family
from ..basis.precision import NoDevice, check_platform

JOB_ATTEMPTS = 2  # a job that failed so often is reported, and the rest goes on
# What a job may call, by the name under which it is sent.
JOB_FUNCTIONS = {
    "sweep": "saddlery.sweeps.work:do_batch",
    "study": "saddlery.studies.work:measure_rows",
}
ENGINES: Family[type[Engine]] = Family("engine")
Progress = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Job:
    """A call of a registered function with plain arguments.

    key: unique among the jobs of one folder. imports: modules that hold
    units, tasks and rules of one's own.

    Example
    -------
    >>> from saddlery.engines import Job
    >>> job = Job("sweep", "000003-0123456789ab", {"folder": "runs", "batch": 3})
    >>> Job.from_json(job.to_json()) == job
    True
    """

    function: str
    key: str
    arguments: Mapping[str, Any]
    imports: tuple[str, ...] = ()

    def to_json(self) -> str:
        plain = {**vars(self), "arguments": dict(self.arguments)}
        return json.dumps(plain)

    @staticmethod
    def from_json(text: str) -> Job:
        table = json.loads(text)
        return Job(
            function=table["function"],
            key=table["key"],
            arguments=table["arguments"],
            imports=tuple(table["imports"]),
        )


@dataclass(frozen=True)
class Done:
    """A job that is over.

    error: why it failed `attempts` times; empty where it did not. fatal:
    "storage" or "input" where no other job will escape it: the folder
    cannot be written, or there is nothing to compute on; empty else.
    """

    job: Job
    error: str = ""
    attempts: int = 1
    fatal: str = ""

    @staticmethod
    def of(
        job: Job,
        answer: Mapping[str, Any],
        attempts: int = 1,
    ) -> Done:
        """From the answer of a worker: what `failure` makes of an error, or
        nothing of the kind."""
        return Done(
            job,
            error=answer.get("error", ""),
            attempts=attempts,
            fatal=answer.get("fatal", ""),
        )


def answer_at_once() -> None:
    """Have compiled programs answer on the calling thread.

    Small ones take 15 microseconds then, and 70 where another thread is
    handed each. For worker processes, before JAX is first used; a switch of
    the whole process, so nothing else sets it.
    """
    import jax

    # A JAX that no longer has the switch.
    with contextlib.suppress(AttributeError):
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def perform(
    job: Job,
    progress: Callable[[float, str], None] | None = None,
) -> None:
    """Do a job in this process.

    Raises what the job raises, and NoDevice before it is begun.
    """
    check_platform()
    for module in job.imports:
        importlib.import_module(module)
    if job.function not in JOB_FUNCTIONS:
        raise InputError(
            f"a job for {job.function!r} is not known;"
            " workers and sender must be of one saddlery version"
        )
    place, _, name = JOB_FUNCTIONS[job.function].partition(":")
    function = getattr(importlib.import_module(place), name)
    function(**job.arguments, progress=progress)


def failure(error: BaseException) -> dict[str, Any]:
    """An error as an answer: our own in a sentence, others with the place
    they come from."""
    if isinstance(error, SaddleryError):
        return {"error": str(error), "fatal": _fatal(error)}
    where = ""
    if error.__traceback__:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({place.filename}:{place.lineno})"
    return {"error": f"{type(error).__name__}: {error}{where}"}


def _fatal(error: SaddleryError) -> str:
    """Why no other job will fare better, or nothing."""
    if isinstance(error, StorageError):
        return "storage"
    if isinstance(error, NoDevice):
        return "input"
    return ""


@dataclass(frozen=True)
class Engine(ABC):
    """Where jobs are done.

    workers: how many at a time; 0 for what the engine finds best.
    """

    name: ClassVar[str] = ""
    workers: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("name"):
            ENGINES.add(cls.name, cls)

    def check(self) -> None:
        """Raise InputError where no job could be done: before anything is written."""
        remedy = "0 takes what the engine finds best"
        whole(self.workers, "workers", 0, remedy)

    @abstractmethod
    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress | None = None,
    ) -> Iterator[Done]:
        """Yield every job once, when it is over, in any order; nothing where
        there is none.

        progress: called with key -> fraction done of those under way.
        """
