"""A run: the recorded trajectory of an experiment and everything needed to repeat it."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import InputError, NumericalError
from ..basis.interruptions import finishing, giving_up
from ..basis.pictures import Pictured
from ..basis.precision import precision_context, spare_programs
from ..basis.records import Printed, Result, number, plain
from ..experiments import Experiment
from ..experiments.experiment import chosen as subject_of
from ..experiments.foresight import foretold
from ..networks import Objective, draw_batch
from ..networks.observables import OBSERVABLES, Observable, observe
from ..networks.spans import Span, span
from ..rules import Rule
from ..training import Trajectory, driver

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FAILED = ("diverged", "not finite", "step too small")
# A loss below its bound by less than this share of the largest above it is rounding, of
# float32 too.
BELOW = 1e-5
SHORT = (
    "float32: rounding can cut long plateaus short, and gradients stall near 1e-8 of their scale"
)
# Packages whose versions a record keeps.
PACKAGES = ("saddlery", "jax", "diffrax", "optax", "numpy", "scipy")


@dataclass(frozen=True, eq=False, repr=False)
class Run(Pictured, Result):
    """A trained experiment.

    experiment: what was run.
    trajectory: what happened (see `Trajectory`).
    data: "samples", or the feature whose exact moments replaced them.
    versions: of saddlery and what it stands on.
    wall_seconds: including compilation.
    warnings: sentences a reader of the record should know.

    Example
    -------
    >>> from saddlery import train
    >>> run = train("linear")
    >>> run.trajectory.status, run.data, run.failed
    ('stopped', 'input', False)
    """

    experiment: Experiment
    trajectory: Trajectory
    data: str
    versions: Mapping[str, str]
    wall_seconds: float
    warnings: tuple[str, ...] = ()

    def objective(self) -> Objective:
        """The loss that was trained."""
        return self.experiment.objective()

    @property
    def failed(self) -> bool:
        """Whether the run could not be continued: it diverged, or no step
        was small enough."""
        return self.trajectory.status in FAILED

    @property
    def final_loss(self) -> float:
        return float(self.trajectory.loss[-1])

    def rows(self) -> list[tuple[str, object]]:
        e = self.experiment
        return [
            ("experiment", e.name),
            ("architecture", e.network.architecture),
            ("task", e.task.kind),
            ("data", self.data),
            ("rule", e.rule.kind),
            ("seed", e.seed),
            *self.trajectory.rows(),
            ("wall seconds", round(self.wall_seconds, 2)),
            *[("warning", w) for w in self.warnings],
        ]

    def printed(self) -> Printed:
        return Printed(("run", ""), self.rows())

    def record(self) -> dict[str, object]:
        """The stable JSON form, without the trajectory."""
        kept = {
            "experiment": self.experiment.name,
            "identity": self.experiment.identity,
            "seed": self.experiment.seed,
            "status": self.trajectory.status,
            "reason": self.trajectory.reason,
            "final_loss": self.final_loss,
            "steps": self.trajectory.step[-1],
            "wall_seconds": self.wall_seconds,
            "warnings": self.warnings,
        }
        return plain(kept)

    def about(self) -> dict[str, Any]:
        """Which run it is: the attributes of its data frames and arrays."""
        kept = ("experiment", "identity", "seed", "status")
        return {name: value for name, value in self.record().items() if name in kept}

    def to_dataframe(self) -> pd.DataFrame:
        """A row a saved point, by the names of `schema.LABELS["run"]`: the
        curves, and observables of one number a point. Needs pandas.

        Example
        -------
        >>> from saddlery import train
        >>> train("linear").to_dataframe().attrs["units"]["flow_time"]
        'flow time'
        """
        return self.trajectory.labelled_frame(self.about())

    def to_xarray(self) -> xr.Dataset:
        """The curves, the observables and the weights along `point`. Needs xarray."""
        return self.trajectory.labelled_arrays(self.about())


@functools.cache
def versions() -> Mapping[str, str]:
    """The versions a record keeps."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["python"] = platform.python_version()
    found["platform"] = platform.platform()
    return found


@finishing
def train(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    seed: int | None = None,
    progress: Callable[[float, float], None] | None = None,
    note: Callable[[str], None] | None = None,
    keep_failed: bool = False,
) -> Run:
    """Train an experiment (or the one of that shipped name, TOML path or
    table) and return its record.

    seed: replaces the experiment's.
    progress: called with (fraction done, loss).
    note: called with each of the record's warnings, those known before
        the first step then.
    keep_failed: whether a run that diverges is returned, with that status.

    The same experiment gives the same bits again on the same machine. Ctrl-C
    returns what was finished, with status "interrupted".

    Raises InputError for an impossible experiment, and NumericalError where
    the run diverges, unless keep_failed.

    Example
    -------
    >>> from saddlery import train
    >>> run = train("linear")
    >>> run.final_loss < 1e-10
    True
    """
    spare_programs()
    chosen = subject_of(experiment)
    if seed is not None:
        chosen = chosen.replace(seed=seed)
    begin = time.perf_counter()
    with precision_context(chosen.precision):
        ready = prepare(chosen)
        _tell(note, ready.warnings)
        trajectory = driver.run(
            ready.objective.function,
            ready.objective.samples,
            ready.theta,
            ready.rule,
            ready.experiment.stop,
            batch=draw_batch,
            seed=chosen.seed,
            progress=progress,
        )
        run = ready.record(trajectory, time.perf_counter() - begin)
        _tell(note, run.warnings[len(ready.warnings) :])
    if run.failed and not keep_failed:
        name, reason = chosen.name, trajectory.reason
        raise NumericalError(f"the run of {name!r} failed: {reason}")
    return run


def _tell(note: Callable[[str], None] | None, warnings: Iterable[str]) -> None:
    if note is None:
        return
    for warning in warnings:
        note(warning)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An experiment as the driver takes it: what is stepped from where, in the
    span of linear units where that is the same.

    whole: the loss of all weights.
    span: of linear units, where their number makes no difference to the loss.
    rule: bound to the parts of the network.
    start (P,): the initial weights.
    warnings: what a reader of the record should know, and whoever waits for
        it; all known before the first step.
    """

    experiment: Experiment
    whole: Objective
    span: Span | None
    rule: Rule
    start: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def objective(self) -> Objective:
        return self.whole if self.span is None else self.span.objective

    @property
    def theta(self) -> np.ndarray:
        return self.start if self.span is None else self.span.theta

    def record(
        self,
        trajectory: Trajectory,
        wall_seconds: float,
        *,
        observables: bool = True,
    ) -> Run:
        """The run of what the driver recorded, in the weights of the
        experiment's own network."""
        narrow = trajectory.states
        states = narrow if self.span is None else self.span.widen(narrow)
        shown, warnings = dict(trajectory.observables), list(self.warnings)
        asked = OBSERVABLES.values() if observables else ()
        for observable in asked:
            try:
                shown |= self._measured(observable, states, narrow)
            except InputError as error:  # of one's own: no reason to lose a run
                warnings.append(str(error))
        warnings += self._below_its_bound(trajectory.loss)
        return Run(
            experiment=self.experiment,
            trajectory=replace(trajectory, states=states, observables=shown),
            data=self.whole.exact,
            versions=versions(),
            wall_seconds=wall_seconds,
            warnings=tuple(warnings),
        )

    def _below_its_bound(self, loss: np.ndarray) -> tuple[str, ...]:
        """A warning where the loss went below what certificates take for its least."""
        bound = self.whole.constant
        excess = loss[np.isfinite(loss)] - bound
        rounding = BELOW * np.abs(excess).max(initial=0.0)
        if not excess.min(initial=0.0) < -rounding:
            return ()
        least = bound + excess.min()
        fell = f"the loss fell to {number(least)}, below {number(bound)}"
        remedy = f"add a constant to loss {self.whole.function.loss.name!r}"
        return (f"{fell} which is taken for its lower bound; {remedy}",)

    def _measured(
        self,
        observable: Observable,
        wide: np.ndarray,
        narrow: np.ndarray,
    ) -> Mapping[str, np.ndarray]:
        """An observable of the states; in the span, where it costs less, if it
        is the same there.

        wide (T, P), narrow (T, P'): states of the whole network and in the span.
        """
        subject, states = self.whole, wide
        if self.span is not None and observable.in_span:
            subject, states = self.objective, narrow
        f = subject.function
        return observe(f.network, f.shape, f.outputs, states, (observable,))


@giving_up
def prepare(experiment: Experiment) -> Prepared:
    """An experiment ready to be stepped; call it in the precision of the experiment.

    Raises InputError where it is impossible (see `foretold`).

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.basis.precision import in_float64
    >>> from saddlery.runs.run import prepare
    >>> ready = in_float64(prepare)(Experiment.named("linear"))
    >>> ready.start.size, ready.theta.size  # 50 units on inputs and targets of two entries
    (200, 16)
    """
    pinned = experiment.pinned()
    whole = pinned.objective()
    start = pinned.initial_state()
    rule = pinned.rule.bound(whole.parts)
    ahead = foretold(whole, start, pinned.rule, pinned.stop)
    warnings = [*pinned.task.notes(), *ahead]
    if pinned.precision == "float32":
        warnings.insert(0, SHORT)
    return Prepared(
        experiment=pinned,
        whole=whole,
        span=span(whole, start) if rule.rotates else None,
        rule=rule,
        start=start,
        warnings=tuple(warnings),
    )
