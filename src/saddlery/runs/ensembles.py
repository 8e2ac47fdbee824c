"""Many experiments trained as few programs: runs of one shape are stepped side
by side, a chunk that fits the cache at a time."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..basis.checks import SaddleryError, Words, require, unpacked, whole
from ..basis.precision import precision_context, spare_programs, usual_rules
from ..basis.records import Printed, Result
from ..doors import labels
from ..experiments import Experiment
from ..networks import Objective, draw_batch
from ..training import driver
from .run import Prepared, Run, prepare

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

# The gradients of a chunk may touch so many bytes (measured, see docs/development.md).
CACHE = 1_300_000
WIDEST = 16_384  # most runs in one chunk on an accelerator
# Entries of a run's record that the printed table of an ensemble shows, and that its
# data frame holds.
SHOWN = ("experiment", "seed", "status", "steps", "final_loss")
KEPT = ("experiment", "identity", "seed", "status", "final_loss", "steps", "reason")
# What an ensemble's labelled arrays hold along the points of a run, and once for each
# run.
CURVES = ("flow_time", "step", "loss", "gradient_norm", "states")
OWN = ("experiment", "identity", "seed", "status")


@dataclass(frozen=True, repr=False)
class Failure(Result):
    """An experiment that could not be run, and why."""

    experiment: Experiment
    reason: str

    def printed(self) -> Printed:
        return Printed(("failure", ""), list(self.record().items()))

    def record(self) -> dict[str, object]:
        """JSON form; it has no identity, which may be what failed."""
        return {
            "experiment": self.experiment.name,
            "seed": self.experiment.seed,
            "status": "impossible",
            "reason": self.reason,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Result):
    """Runs side by side, in the order of their experiments, and in the place
    of each experiment that could not be run its `Failure`.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.runs.ensembles import Ensemble, train_many
    >>> base = Experiment.named("linear")
    >>> found = Ensemble.of(train_many([base.replace(seed=seed) for seed in range(3)]))
    >>> found.to_xarray().sizes["run"]
    3
    """

    members: tuple[Run | Failure, ...]

    @staticmethod
    def of(found: Iterable[tuple[int, Run | Failure]]) -> Ensemble:
        """Of what `train_many` yields, all of it in memory."""
        in_order = sorted(found, key=lambda pair: pair[0])
        return Ensemble(tuple(member for _, member in in_order))

    @property
    def runs(self) -> dict[int, Run]:
        """Those that ran, by their places."""
        placed = enumerate(self.members)
        return {k: member for k, member in placed if isinstance(member, Run)}

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, k: int) -> Run | Failure:
        return self.members[k]

    def printed(self) -> Printed:
        columns = ("run", "experiment", "seed", "status", "steps", "loss")
        ran = self.runs
        rows, missed = [], []
        for k, member in enumerate(self.members):
            record = member.record()
            rows.append([k, *map(record.get, SHOWN)])
            if k not in ran:
                missed.append(f"run {k}: {record['reason']}")
        return Printed(columns, rows, notes=missed)

    def record(self) -> list[dict[str, object]]:
        """JSON form, an entry a member."""
        return [member.record() for member in self.members]

    def to_dataframe(self) -> pd.DataFrame:
        """A row a member, by the names of `schema.LABELS["ensemble"]`. Needs pandas."""
        records = [member.record() for member in self.members]
        columns = {name: [record.get(name) for record in records] for name in KEPT}
        return labels.frame("ensemble", columns, {})

    def to_xarray(self) -> xr.Dataset:
        """The curves and the weights of those that ran along `run` and
        `point`, filled up beyond the end of shorter ones. Raises InputError
        where none ran. Needs xarray."""
        runs = self.runs
        require(len(runs) > 0, "members", "at least one that ran", Words("none"))
        paths = [run.trajectory for run in runs.values()]
        records = [run.record() for run in runs.values()]
        values: dict[str, Any] = {}
        for name in CURVES:
            values[name] = labels.stacked([getattr(path, name) for path in paths])
        for name in OWN:
            values[name] = [record[name] for record in records]
        return labels.dataset({"ensemble": values}, {}, {"run": list(runs)})


def train_many(
    experiments: Sequence[Experiment],
    *,
    chunk: int | None = None,
    observables: bool = True,
    progress: Callable[[float, float], None] | None = None,
) -> Iterator[tuple[int, Run | Failure]]:
    """Train experiments and yield (place in the sequence, run), a chunk at a
    time, so that memory stays bounded.

    Experiments of the same network, rule, precision and data shape share one
    compiled program; their seeds, initial weights, data, ends and learning
    rates (the rule's `numbers`) may differ. Each run is what `train` gives, to
    rounding. A run that diverges is yielded with that status, an experiment
    that is impossible as a `Failure`; neither touches its neighbours.

    chunk: runs stepped side by side, None for as many as the cache
        holds (`chunk_size`).
    observables: whether those of every saved state are recorded.
    progress: called with (fraction of the chunk done, mean loss).

    Raises KeyboardInterrupt where a chunk was interrupted: none of its runs is
    yielded.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.runs.ensembles import train_many
    >>> base = Experiment.named("linear")
    >>> runs = [run for _, run in train_many([base.replace(seed=seed) for seed in range(3)])]
    >>> all(run.final_loss < 1e-10 for run in runs)
    True
    """
    if chunk is not None:
        whole(chunk, "chunk")
    waiting: dict[Any, list[tuple[int, Prepared]]] = {}
    sizes: dict[Any, int] = {}
    for k, experiment in enumerate(experiments):
        spare_programs()
        try:
            with precision_context(experiment.precision):
                ready = prepare(experiment)
                steps = driver.expected(experiment.stop, ready.rule)
                key = (program_of(ready), _scale(steps))
        except SaddleryError as error:
            yield k, Failure(experiment, str(error))
            continue
        if key not in sizes:
            with usual_rules():
                sizes[key] = chunk or chunk_size(ready)
        waiting.setdefault(key, []).append((k, ready))
        if len(waiting[key]) == sizes[key]:
            yield from _trained(waiting.pop(key), observables, progress)
    for members in waiting.values():
        yield from _trained(members, observables, progress)


def _scale(steps: float) -> int:
    """Of how many steps, to a factor of two: a chunk takes as long as its longest run."""
    if not 0 < steps < math.inf:
        return 0
    return round(math.log2(steps))


def chunk_size(ready: Prepared) -> int:
    """How many runs to step side by side.

    As many as keep what their gradients touch within the cache, a power of two
    and at most `Rule.together`; on an accelerator a whole ensemble.
    """
    if jax.default_backend() != "cpu" and ready.rule.together > 1:
        return WIDEST
    room = CACHE // touched(ready.objective)
    power_of_two = 2 ** max(room.bit_length() - 1, 0)
    return int(min(ready.rule.together, power_of_two))


def time_chunks(
    experiment: Experiment,
    sizes: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
) -> dict[int, float]:
    """CPU seconds a run for every chunk size, on this machine: what `chunk` of
    `train_many` or of a sweep is best set to.

    The seeds from the experiment's own up are trained, as many as the largest
    size, once to compile and once to be timed. Raises InputError for sizes
    that are none.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.runs.ensembles import time_chunks
    >>> sorted(time_chunks(Experiment.named("linear"), (1, 4)))
    [1, 4]
    """
    given = unpacked(sizes)
    listed = isinstance(given, tuple) and len(given) > 0
    require(listed, "sizes", "a list of at least one size", sizes)
    chunks = [whole(size, "sizes") for size in given]
    seeds = [experiment.replace(seed=experiment.seed + k) for k in range(max(chunks))]
    seconds = {}
    for size in chunks:
        for _ in range(2):
            begin = time.process_time()
            for _ in train_many(seeds, chunk=size, observables=False):
                pass
            seconds[size] = (time.process_time() - begin) / len(seeds)
    return seconds


def touched(objective: Objective) -> int:
    """Bytes of everything that one gradient computes on the way, from its
    trace; what fuses is counted too."""
    samples = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in objective.samples)
    theta = jax.ShapeDtypeStruct((objective.size,), samples[0].dtype)
    return _touched(objective.function, theta, samples)


@functools.lru_cache(maxsize=256)
def _touched(
    function: Any,
    theta: jax.ShapeDtypeStruct,
    samples: tuple[jax.ShapeDtypeStruct, ...],
) -> int:
    trace = jax.make_jaxpr(jax.grad(function))(theta, samples)
    made = [variable for equation in trace.eqns for variable in equation.outvars]
    return max(1, sum(_bytes(variable.aval) for variable in made))


def _bytes(aval: Any) -> int:
    if not hasattr(aval, "shape"):
        return 0
    return int(np.prod(aval.shape)) * aval.dtype.itemsize


def program_of(ready: Prepared) -> Any:
    """What runs of one program have in common."""
    arrays = ready.objective.samples[:2]
    shapes = tuple((a.shape, str(a.dtype)) for a in arrays)
    return (
        ready.objective.function,
        ready.rule.program,
        ready.experiment.precision,
        len(ready.theta),
        shapes,
    )


def _trained(
    members: Sequence[tuple[int, Prepared]],
    observables: bool,
    progress: Any,
) -> Iterator[tuple[int, Run]]:
    ready = [member for _, member in members]
    first, begin = ready[0], time.perf_counter()
    with precision_context(first.experiment.precision):
        samples, shared = _samples([member.objective for member in ready])
        found = driver.run_chunk(
            first.objective.function,
            samples,
            np.stack([member.theta for member in ready]),
            [member.rule for member in ready],
            [member.experiment.stop for member in ready],
            seeds=[member.experiment.seed for member in ready],
            shared=shared,
            batch=draw_batch,
            progress=progress,
        )
        if any(trajectory.status == "interrupted" for trajectory in found):
            raise KeyboardInterrupt
    spent = (time.perf_counter() - begin) / len(members)
    for (k, member), trajectory in zip(members, found, strict=True):
        with precision_context(first.experiment.precision):
            run = member.record(trajectory, spent, observables=observables)
        yield k, run


def _samples(objectives: Sequence[Objective]) -> tuple[Any, bool]:
    """The samples of all, and whether they are the same ones."""
    arrays = [(o.inputs, o.targets, np.asarray(o.constant)) for o in objectives]
    first = arrays[0]
    if all(_equal(other, first) for other in arrays[1:]):
        return objectives[0].samples, True
    stacked = [jnp.asarray(np.stack(parts)) for parts in zip(*arrays, strict=True)]
    return tuple(stacked), False


def _equal(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))
