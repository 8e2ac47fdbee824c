"""Running a sweep: what is left of it goes to an engine, batch by batch; and what it will cost,
before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..basis.checks import InputError, SaddleryError, StorageError
from ..basis.precision import precision_context
from ..basis.records import Printed, Result, number
from ..engines import Engine, Job, Local, engine_of
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

ASK = 1_000_000  # runs beyond which a sweep must be confirmed
SAMPLED = 12  # points of a plan that are tried
TOGETHER = 8  # seeds of each that are timed
Progress = Callable[[float, str], None]


@dataclass(frozen=True, repr=False)
class Finished(Result):
    """How a call of `run_sweep` ended. made: runs of this call; kept: those that were there before;
    failed: what its batches failed of, by batch; seconds: of this call."""

    folder: Path
    sweep: Sweep
    made: int
    kept: int
    failed: Mapping[int, str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """The stable JSON form."""
        return {
            "folder": str(self.folder),
            "identity": self.sweep.identity,
            "runs": len(self.sweep),
            "made": self.made,
            "kept": self.kept,
            "failed": [
                {"batch": k, "runs": list(self.sweep.numbers(k)), "error": v}
                for k, v in self.failed.items()
            ],
            "seconds": self.seconds,
        }

    def to_dataframe(self) -> pd.DataFrame:
        """A row a finished run, see `sweeps.index`."""
        return index(self.folder)

    def to_xarray(self) -> xr.Dataset:
        """The arrays of all finished runs, see `sweeps.arrays`."""
        return arrays(self.folder)

    def printed(self) -> Printed:
        speed = (
            f", {self.made / self.seconds:.3g} runs a second" if self.made and self.seconds else ""
        )
        lines = [
            f"{self.sweep.name}: {self.made + self.kept:,} of {len(self.sweep):,} runs"
            f" are in {self.folder}"
            f" ({self.made:,} made now in {self.seconds:.1f} s{speed})"
        ]
        for batch, error in self.failed.items():
            numbers = self.sweep.numbers(batch)
            lines.append(
                f"batch {batch} failed, runs {numbers[0]} to {numbers[-1]}, of"
                f" {self.sweep.point(numbers[0]) or 'the experiment'} on: {error}"
            )
        return Printed(head=lines)


def run_sweep(
    sweep: Sweep | str | Path,
    folder: str | Path,
    *,
    engine: Engine | str | None = None,
    resume: bool = False,
    confirmed: bool = False,
    progress: Progress | None = None,
) -> Finished:
    """Do every run of a sweep that its folder does not hold yet; runs are kept a batch at a time,
    whatever ends the process.

    sweep: one, or the path of its TOML file. engine: where (`engines`) or its name, processes of
        this machine by default.
    resume: go on in the folder of the same sweep. confirmed:
    needed beyond a million runs. progress: called with (fraction of the runs, what is being done).
    A batch that fails twice is named in the result and in the folder, the others go on.

    Raises InputError where the folder holds something else, too many runs are asked for, or workers
    have nothing to compute on; StorageError where the folder cannot be written.

    Example
    -------
    >>> import tempfile
    >>> from saddlery import Experiment
    >>> from saddlery.engines import Here
    >>> from saddlery.sweeps import Sweep, index, run_sweep
    >>> sweep = Sweep(Experiment.named("linear"), grid={"network.layers.0.width": (4, 20)}, seeds=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = run_sweep(sweep, folder, engine=Here()).made
    ...     units = [list(map(int, row)) for row in index(folder)["units"]]
    >>> made, units
    (4, [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]])
    """
    sweep = sweep_of(sweep)
    if len(sweep) > ASK and not confirmed:
        raise InputError(
            f"this sweep has {len(sweep):,} runs, more than {ASK:,}; see --plan, and "
            "give --yes if that is meant"
        )
    chosen, begin, target = engine_of(engine, Local), time.perf_counter(), Path(folder)
    chosen.check()
    frozen = create(sweep, target, resume=resume)
    left = [k for k in frozen.batches() if not is_done(target, frozen, k)]
    arguments = {"folder": str(target.absolute()), **_places(frozen)}
    jobs = [
        Job("sweep", batch_name(frozen.identity, k), {**arguments, "batch": k}, frozen.imports)
        for k in left
    ]
    kept = len(frozen) - sum(len(frozen.numbers(k)) for k in left)
    made, failed, told = 0, {}, _Told(frozen, kept, begin, progress)
    for done in chosen.run(jobs, told.under_way) if jobs else ():
        batch = int(done.job.arguments["batch"])
        if done.fatal:
            kind = StorageError if done.fatal == "storage" else InputError
            raise kind(
                f"{done.error}; {kept + made:,} of {len(frozen):,} runs are kept, and "
                "--resume goes on with the rest"
            )
        if done.error:
            numbers = frozen.numbers(batch)
            failed[batch] = done.error
            entry = {
                "batch": batch,
                "runs": [numbers[0], numbers[-1]],
                "error": done.error,
                "attempts": done.attempts,
            }
            write_failure(target, done.job.key, entry)
        else:
            made += len(frozen.numbers(batch))
        told.over(batch, bool(done.error))
    return Finished(
        target, frozen, made, kept, dict(sorted(failed.items())), time.perf_counter() - begin
    )


def _places(sweep: Sweep) -> dict[str, Any]:
    """What tells a worker where the data files are, for a sweep on files."""
    places = sweep.experiment.task.places()
    return {"data": places} if places else {}


class _Told:
    """What a reader is told while it runs: runs, runs a second, time left, failures."""

    def __init__(self, sweep: Sweep, kept: int, begin: float, progress: Progress | None) -> None:
        self.sweep, self.kept, self.begin, self.progress = sweep, kept, begin, progress
        self.done, self.failed, self.told = 0, 0, 0.0
        self.fractions: dict[str, float] = {}  # of the batches under way, by the keys of their jobs
        self._last = len(sweep.batches()) - 1
        self.mark: tuple[float, float] | None = (
            None  # when the first was heard of, and how much it was
        )

    def under_way(self, fractions: Mapping[str, float]) -> None:
        self.fractions = dict(fractions)
        self.tell()

    def over(self, batch: int, failed: bool) -> None:
        self.done += len(self.sweep.numbers(batch))
        self.failed += failed
        self.fractions.pop(batch_name(self.sweep.identity, batch), None)
        self.tell()

    def _partly(self) -> float:
        """Runs done of the batches under way; the last batch may be a small one."""
        size = {
            batch_name(self.sweep.identity, k): len(self.sweep.numbers(k)) for k in (0, self._last)
        }
        return sum(share * size.get(key, self.sweep.batch) for key, share in self.fractions.items())

    def tell(self) -> None:
        if self.progress is None:
            return
        total = len(self.sweep)
        # A worker that died begins its batch anew; what a reader was told is not taken back.
        now = self.told = max(self.told, min(self.done + self._partly(), total - self.kept))
        speed = self._speed(now)
        words = f"{int(self.kept + now):,} of {total:,} runs, {speed:.3g} a second"
        words += f", {duration((total - self.kept - now) / speed)} left" if speed else ""
        words += f", {self.failed} batches failed" if self.failed else ""
        self.progress((self.kept + now) / total, words)

    def _speed(self, now: float) -> float:
        """Runs a second since the first was heard of: before, programs were compiled."""
        clock = time.perf_counter()
        if self.mark is None and now:
            self.mark = clock, now
        start, first = self.mark if self.mark and now > self.mark[1] else (self.begin, 0.0)
        return (now - first) / max(clock - start, 1e-9)


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


# ------------------------------------------------------------------------ plan
@dataclass(frozen=True, repr=False)
class Plan(Result):
    """What a sweep will take. programs: to compile; seconds_a_run: of one core, measured on a few
    points, without compiling;
    compile_seconds: of all programs; bytes_a_run: on disk."""

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
        return (self.seconds_a_run * len(self.sweep) + self.compile_seconds) / 3600

    def printed(self) -> Printed:
        size = self.bytes_a_run * len(self.sweep)
        rows = [
            ("runs", f"{len(self.sweep):,}"),
            ("batches", f"{len(self.sweep.batches()):,} of {self.sweep.batch} runs"),
            ("programs", f"{self.programs} or so, {duration(self.compile_seconds)} to compile"),
            ("data", ", ".join(self.data)),
            (
                "a run",
                (
                    f"{number(1e3 * self.seconds_a_run)} ms of one core, "
                    f"{number(self.bytes_a_run / 1e3)} kB"
                ),
            ),
            ("in all", f"{number(self.core_hours)} core-hours, {number(size / 1e9)} GB"),
        ]
        columns = ("plan", f"from {self.sampled} points")
        return Printed(columns, rows, head=self.sweep.printed().head)


def plan(sweep: Sweep | str | Path, progress: Progress | None = None) -> Plan:
    """Find out what a sweep will take by doing a few of its runs: up to 12 points spread over it,
    eight seeds each. Writing is not timed (1 to 2 ms a run).

    Nothing is written. Raises InputError where none of them can be run.
    """
    sweep = sweep_of(sweep)
    points = len(sweep) // sweep.seeds
    picked = sorted({round(k * (points - 1) / max(SAMPLED - 1, 1)) for k in range(SAMPLED)})
    programs, seconds, first, sizes, data, reasons = set(), [], [], [], [], []
    for done, point in enumerate(picked):
        numbers = range(point * sweep.seeds, point * sweep.seeds + min(sweep.seeds, 2 * TOGETHER))
        try:
            experiments = [sweep.experiment_of(number) for number in numbers]
            with precision_context(experiments[0].precision):
                ready = prepare(experiments[0])
                key = program_of(ready)
        except SaddleryError as error:
            reasons.append(str(error))
            continue
        count = (
            len(experiments) + 1
        ) // 2  # once to compile, and others to be timed, since data are kept
        begin = time.perf_counter()
        if key not in programs:
            _dry(sweep, experiments[:count])
        warm = time.perf_counter()
        sizes.append(_dry(sweep, experiments[-count:]))
        seconds.append((time.perf_counter() - warm) / count)
        if key not in programs:
            first.append(max(warm - begin - seconds[-1] * count, 0.0))
        programs.add(key)
        data.append(ready.whole.exact)
        if progress is not None:
            progress((done + 1) / len(picked), f"point {point}")
    if not seconds:
        raise InputError(f"no run of this sweep is possible: {reasons[0]}")
    mean = lambda values: float(sum(values) / len(values))
    many = _extrapolated(len(programs), len(seconds), points)
    words = tuple(sorted({"samples" if d == "samples" else f"exact moments of {d}" for d in data}))
    return Plan(sweep, many, len(picked), mean(seconds), mean(first) * many, mean(sizes), words)


def _extrapolated(found: int, tried: int, points: int) -> int:
    """How many programs all points take, of those found at the points tried: no more, unless nearly
    every point has its own."""
    return round(points * found / tried) if found > 0.9 * tried else found


def _dry(sweep: Sweep, experiments: list) -> float:
    """The runs without writing; bytes of what would be kept of each, compressed to three quarters
    (measured: 0.72 to 0.8) and with its row."""
    sizes = []
    for _, found in train_many(experiments, observables="observables" in sweep.measure):
        if isinstance(found, Run):
            _, arrays = measure(found, sweep.measure)
            sizes.append(0.75 * sum(a.nbytes for a in arrays.values()) + 500)
    return sum(sizes) / max(len(sizes), 1)
