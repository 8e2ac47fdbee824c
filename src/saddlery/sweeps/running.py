"""Running a sweep: what is left of it goes to an engine, batch by batch;
and what it will cost, before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..basis.checks import InputError, SaddleryError, StorageError
from ..basis.precision import precision_context
from ..basis.records import Printed, Result, number
from ..basis.tolerances import demand_defaults
from ..engines import Done, Engine, Job, Local, engine_of
from ..experiments import Experiment
from ..runs import Run, train_many
from ..runs.ensembles import program_of
from ..runs.run import prepare
from .design import Sweep, sweep_of
from .reading import arrays, index
from .storage import batch_name, create, is_done, write_failure
from .work import measure

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ASK = 1_000_000  # a sweep of more runs must be confirmed
POINTS_TRIED = 12  # points of a sweep that a plan tries at most
SEEDS_TIMED = 8  # seeds of each of these points that are timed at most
# What is written of a run: this share of its arrays (compressed, measured: 0.72 to
# 0.8), and so many bytes for its row.
COMPRESSED, ROW_BYTES = 0.75, 500
Progress = Callable[[float, str], None]


@dataclass(frozen=True, repr=False)
class Finished(Result):
    """How a call of `run_sweep` ended.

    made: runs of this call; kept: those that were there before; failed:
    what its batches failed of, by batch; seconds: of this call.
    """

    folder: Path
    sweep: Sweep
    made: int
    kept: int
    failed: Mapping[int, str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """The stable JSON form."""
        failed = []
        for batch, error in self.failed.items():
            runs = list(self.sweep.numbers(batch))
            failed.append({"batch": batch, "runs": runs, "error": error})
        return {
            "folder": str(self.folder),
            "identity": self.sweep.identity,
            "runs": len(self.sweep),
            "made": self.made,
            "kept": self.kept,
            "failed": failed,
            "seconds": self.seconds,
        }

    def to_dataframe(self) -> pd.DataFrame:
        """A row a finished run, see `sweeps.index`."""
        return index(self.folder)

    def to_xarray(self) -> xr.Dataset:
        """The arrays of all finished runs, see `sweeps.arrays`."""
        return arrays(self.folder)

    def printed(self) -> Printed:
        there = f"{self.made + self.kept:,} of {len(self.sweep):,} runs are in"
        now = f"{self.made:,} made now in {self.seconds:.1f} s{self._speed()}"
        lines = [f"{self.sweep.name}: {there} {self.folder} ({now})"]
        for batch, error in self.failed.items():
            numbers = self.sweep.numbers(batch)
            first, last = numbers[0], numbers[-1]
            point = self.sweep.point(first) or "the experiment"
            lines.append(
                f"batch {batch} failed, runs {first} to {last}, of {point} on: {error}",
            )
        return Printed(head=lines)

    def _speed(self) -> str:
        if not self.made or not self.seconds:
            return ""
        return f", {self.made / self.seconds:.3g} runs a second"


def run_sweep(
    sweep: Sweep | str | Path,
    folder: str | Path,
    *,
    engine: Engine | str | None = None,
    resume: bool = False,
    confirmed: bool = False,
    progress: Progress | None = None,
) -> Finished:
    """Do every run of a sweep that its folder does not hold yet.

    Runs are kept a batch at a time, whatever ends the process.

    Arguments:
        sweep: one, or the path of its TOML file.
        engine: where (`engines`) or its name, processes of this machine by default.
        resume: go on in the folder of the same sweep.
        confirmed: needed beyond a million runs.
        progress: called with (fraction of the runs, what is being done).

    A batch that fails twice is named in the result and in the folder, the
    others go on.

    Raises InputError where the folder holds something else, too many runs
    are asked for, or workers have nothing to compute on; StorageError where
    the folder cannot be written.

    Example
    -------
    >>> import tempfile
    >>> from saddlery import Experiment
    >>> from saddlery.engines import Here
    >>> from saddlery.sweeps import Sweep, index, run_sweep
    >>> grid = {"network.layers.0.width": (4, 20)}
    >>> sweep = Sweep(Experiment.named("linear"), grid=grid, seeds=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = run_sweep(sweep, folder, engine=Here()).made
    ...     units = [list(map(int, row)) for row in index(folder)["units"]]
    >>> made, units
    (4, [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]])
    """
    demand_defaults("a sweep")
    sweep = sweep_of(sweep)
    if len(sweep) > ASK and not confirmed:
        raise InputError(
            f"this sweep has {len(sweep):,} runs, more than {ASK:,};"
            " see --plan, and give --yes if that is meant"
        )
    begin = time.perf_counter()
    chosen = engine_of(engine, Local)
    chosen.check()
    target = Path(folder)
    frozen = create(sweep, target, resume=resume)
    left = [k for k in frozen.batches() if not is_done(target, frozen, k)]
    jobs = _jobs(frozen, target, left)
    kept = len(frozen) - sum(len(frozen.numbers(k)) for k in left)
    told = _Told(frozen, kept, begin, progress)
    made = 0
    failed = {}
    for done in chosen.run(jobs, told.under_way) if jobs else ():
        batch = int(done.job.arguments["batch"])
        if done.fatal:
            words = f"{kept + made:,} of {len(frozen):,} runs are kept"
            raise _fatal(done, words)
        if done.error:
            failed[batch] = done.error
            _write_failure(done, target, frozen.numbers(batch))
        else:
            made += len(frozen.numbers(batch))
        told.over(batch, bool(done.error))
    return Finished(
        folder=target,
        sweep=frozen,
        made=made,
        kept=kept,
        failed=dict(sorted(failed.items())),
        seconds=time.perf_counter() - begin,
    )


def _jobs(
    sweep: Sweep,
    folder: Path,
    batches: Sequence[int],
) -> list[Job]:
    arguments: dict[str, Any] = {"folder": str(folder.absolute())}
    places = sweep.experiment.task.places()
    if places:  # what tells a worker where the data files are
        arguments["data"] = places
    jobs = []
    for batch in batches:
        job = Job(
            function="sweep",
            key=batch_name(sweep.identity, batch),
            arguments={**arguments, "batch": batch},
            imports=sweep.imports,
        )
        jobs.append(job)
    return jobs


def _fatal(done: Done, kept: str) -> SaddleryError:
    kind = StorageError if done.fatal == "storage" else InputError
    return kind(f"{done.error}; {kept}, and --resume goes on with the rest")


def _write_failure(done: Done, folder: Path, runs: range) -> None:
    entry = {
        "batch": int(done.job.arguments["batch"]),
        "runs": [runs[0], runs[-1]],
        "error": done.error,
        "attempts": done.attempts,
    }
    write_failure(folder, done.job.key, entry)


class _Told:
    """What a reader is told while it runs: runs, runs a second, time left, failures."""

    def __init__(
        self,
        sweep: Sweep,
        kept: int,
        begin: float,
        progress: Progress | None,
    ) -> None:
        self.sweep = sweep
        self.kept = kept
        self.begin = begin
        self.progress = progress
        self.done = 0
        self.failed = 0
        self.told = 0.0
        # Of the batches under way, by the keys of their jobs.
        self.fractions: dict[str, float] = {}
        # The last batch may be a small one, and the first the last.
        last = len(sweep.batches()) - 1
        self._sizes = {self._key(k): len(sweep.numbers(k)) for k in (0, last)}
        # When the first was heard of, and how much it was.
        self.mark: tuple[float, float] | None = None

    def _key(self, batch: int) -> str:
        return batch_name(self.sweep.identity, batch)

    def under_way(self, fractions: Mapping[str, float]) -> None:
        self.fractions = dict(fractions)
        self.tell()

    def over(self, batch: int, failed: bool) -> None:
        self.done += len(self.sweep.numbers(batch))
        self.failed += failed
        self.fractions.pop(self._key(batch), None)
        self.tell()

    def _partly(self) -> float:
        """Runs done of the batches under way."""
        runs = 0.0
        for key, share in self.fractions.items():
            runs += share * self._sizes.get(key, self.sweep.batch)
        return runs

    def tell(self) -> None:
        if self.progress is None:
            return
        total = len(self.sweep)
        now = min(self.done + self._partly(), total - self.kept)
        # A worker that died begins its batch anew; what a reader was told is not taken back.
        now = self.told = max(self.told, now)
        speed = self._speed(now)
        there = self.kept + now
        words = f"{int(there):,} of {total:,} runs, {speed:.3g} a second"
        if speed:
            words += f", {duration((total - there) / speed)} left"
        if self.failed:
            words += f", {self.failed} batches failed"
        self.progress(there / total, words)

    def _speed(self, now: float) -> float:
        """Runs a second since the first was heard of: before, programs were compiled."""
        clock = time.perf_counter()
        if self.mark is None and now:
            self.mark = clock, now
        start, first = self.begin, 0.0
        if self.mark and now > self.mark[1]:
            start, first = self.mark
        return (now - first) / max(clock - start, 1e-9)


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two.

    Example
    -------
    >>> from saddlery.sweeps.running import duration
    >>> duration(90), duration(150)
    ('90 seconds', '2.5 minutes')
    """
    for size, unit in (
        (86400, "days"),
        (3600, "hours"),
        (60, "minutes"),
    ):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


# ------------------------------------------------------------------------ plan
@dataclass(frozen=True, repr=False)
class Plan(Result):
    """What a sweep will take.

    programs: to compile; seconds_a_run: of one core, measured on a few
    points, without compiling; compile_seconds: of all programs;
    bytes_a_run: on disk.
    """

    sweep: Sweep
    programs: int
    sampled: int
    seconds_a_run: float
    compile_seconds: float
    bytes_a_run: float
    data: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """The stable JSON form."""
        return {
            "identity": self.sweep.identity,
            "runs": len(self.sweep),
            "batches": len(self.sweep.batches()),
            "programs": self.programs,
            "sampled_points": self.sampled,
            "seconds_a_run": self.seconds_a_run,
            "core_hours": self.core_hours,
            "bytes": self.bytes_a_run * len(self.sweep),
            "data": list(self.data),
        }

    @property
    def core_hours(self) -> float:
        running = self.seconds_a_run * len(self.sweep)
        return (running + self.compile_seconds) / 3600

    def printed(self) -> Printed:
        gigabytes = self.bytes_a_run * len(self.sweep) / 1e9
        batches = f"{len(self.sweep.batches()):,}"
        milliseconds = number(1e3 * self.seconds_a_run)
        kilobytes = number(self.bytes_a_run / 1e3)
        compiling = duration(self.compile_seconds)
        rows = [
            ("runs", f"{len(self.sweep):,}"),
            ("batches", f"{batches} of {self.sweep.batch} runs"),
            (
                "programs",
                f"{self.programs} or so, {compiling} to compile",
            ),
            ("data", ", ".join(self.data)),
            ("a run", f"{milliseconds} ms of one core, {kilobytes} kB"),
            (
                "in all",
                f"{number(self.core_hours)} core-hours, {number(gigabytes)} GB",
            ),
        ]
        heads = ("plan", f"from {self.sampled} points")
        return Printed(heads, rows, head=self.sweep.printed().head)


def plan(
    sweep: Sweep | str | Path,
    progress: Progress | None = None,
) -> Plan:
    """Find out what a sweep will take by doing a few of its runs.

    Up to 12 points spread over it, eight seeds each. Writing is not timed
    (1 to 2 ms a run).

    Nothing is written. Raises InputError where none of them can be run.
    """
    sweep = sweep_of(sweep)
    points = len(sweep) // sweep.seeds
    picked = _spread(points)
    programs: set[Any] = set()
    data: set[str] = set()
    timed: list[_Timed] = []
    why = ""
    for done, point in enumerate(picked):
        try:
            prepared = _prepared(sweep, point)
        except SaddleryError as error:
            why = why or str(error)
            continue
        is_new = prepared.program not in programs
        timed.append(_timed(sweep, prepared.experiments, is_new))
        programs.add(prepared.program)
        data.add(prepared.data)
        if progress is not None:
            progress((done + 1) / len(picked), f"point {point}")
    if not timed:
        raise InputError(f"no run of this sweep is possible: {why}")
    many = _extrapolated(len(programs), len(timed), points)
    compiling = [one.compiling for one in timed if one.compiling is not None]
    return Plan(
        sweep,
        programs=many,
        sampled=len(picked),
        seconds_a_run=_mean([one.seconds for one in timed]),
        compile_seconds=_mean(compiling) * many,
        bytes_a_run=_mean([one.size for one in timed]),
        data=tuple(sorted(data)),
    )


def _spread(points: int) -> list[int]:
    """Some of the points, from the first to the last."""
    stride = (points - 1) / max(POINTS_TRIED - 1, 1)
    return sorted({round(k * stride) for k in range(POINTS_TRIED)})


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))


class _Prepared(NamedTuple):
    """Runs of a point, the program that they need, and their data in words."""

    experiments: list[Experiment]
    program: Any
    data: str


def _prepared(sweep: Sweep, point: int) -> _Prepared:
    seeds = min(sweep.seeds, 2 * SEEDS_TIMED)
    first = point * sweep.seeds
    experiments = [sweep.experiment_of(first + k) for k in range(seeds)]
    with precision_context(experiments[0].precision):
        ready = prepare(experiments[0])
        program = program_of(ready)
    data = ready.whole.exact
    if data != "samples":
        data = f"exact moments of {data}"
    return _Prepared(experiments, program, data)


class _Timed(NamedTuple):
    """What a point of a plan took.

    seconds: a run; compiling: seconds, None where the program was there;
    size: bytes of a run.
    """

    seconds: float
    compiling: float | None
    size: float


def _timed(
    sweep: Sweep,
    experiments: list[Experiment],
    is_new: bool,
) -> _Timed:
    """Run a few seeds: once to compile, where the program is new, and
    others to be timed, since data are kept."""
    count = (len(experiments) + 1) // 2
    begin = time.perf_counter()
    if is_new:
        _dry(sweep, experiments[:count])
    warm = time.perf_counter()
    size = _dry(sweep, experiments[-count:])
    running = time.perf_counter() - warm
    compiling = max(warm - begin - running, 0.0) if is_new else None
    return _Timed(running / count, compiling, size)


def _extrapolated(found: int, tried: int, points: int) -> int:
    """How many programs all points take, of those found at the points
    tried.

    No more, unless nearly every point has its own.
    """
    if found > 0.9 * tried:
        return round(points * found / tried)
    return found


def _dry(sweep: Sweep, experiments: list[Experiment]) -> float:
    """The runs without writing; bytes of what would be kept of each."""
    sizes = []
    watch = "observables" in sweep.measure
    for _, found in train_many(experiments, observables=watch):
        if isinstance(found, Run):
            _, arrays = measure(found, sweep.measure)
            content = sum(array.nbytes for array in arrays.values())
            sizes.append(COMPRESSED * content + ROW_BYTES)
    return sum(sizes) / max(len(sizes), 1)
