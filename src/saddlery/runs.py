"""A run: the recorded trajectory of an experiment and everything needed to repeat it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

from . import driver
from .checks import NumericalError
from .driver import Trajectory
from .experiments import Experiment, find
from .objectives import Objective, draw_batch
from .observables import UnitObservables
from .precision import precision_context
from .records import html_table, number, text_table

FAILED = ("diverged", "not finite", "step too small")
SHORT = "float32: rounding can cut long plateaus short, and gradients stall near 1e-8 of their scale"


@dataclass(frozen=True, eq=False)
class Run:
    """A trained experiment.

    experiment: what was run. trajectory: what happened (see `Trajectory`). data: "samples", or the feature whose exact
    moments replaced them. versions: of saddlery and what it stands on. wall_seconds: including compilation. warnings:
    sentences a reader of the record should know.
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
        """Whether the run could not be continued: it diverged, or no step was small enough."""
        return self.trajectory.status in FAILED

    @property
    def final_loss(self) -> float:
        return float(self.trajectory.loss[-1])

    def rows(self) -> list[tuple[str, object]]:
        e, t = self.experiment, self.trajectory
        return [
            ("experiment", e.name),
            ("architecture", e.network.architecture),
            ("task", e.task.kind),
            ("data", self.data),
            ("rule", e.rule.kind),
            ("seed", e.seed),
            ("status", f"{t.status}: {t.reason}"),
            ("flow time", number(t.flow_time[-1])),
            ("steps", int(t.step[-1])),
            ("saved points", len(t.loss)),
            ("loss", f"{number(t.loss[0])} to {number(t.loss[-1])}"),
            ("wall seconds", round(self.wall_seconds, 2)),
            *[("warning", w) for w in self.warnings],
        ]

    def __repr__(self) -> str:
        return text_table(("run", ""), self.rows())

    def _repr_html_(self) -> str:
        return html_table(("run", ""), self.rows())


def versions() -> dict[str, str]:
    """The versions a record keeps."""
    packages = ("saddlery", "jax", "diffrax", "optax", "numpy", "scipy")
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "python": platform.python_version(), "platform": platform.platform()}


def train(
    experiment: Experiment | str,
    *,
    seed: int | None = None,
    progress: Callable[[float, float], None] | None = None,
    keep_failed: bool = False,
) -> Run:
    """Train an experiment (or the one of that shipped name or TOML path) and return its record.

    seed: replaces the experiment's. progress: called with (fraction done, loss). The same experiment gives the same
    bits again on the same machine. Ctrl-C returns what was finished, with status "interrupted".

    Raises InputError for an impossible experiment, and NumericalError where the run diverges, unless keep_failed.

    Example
    -------
    >>> from saddlery import train
    >>> run = train("linear")
    >>> run.final_loss < 1e-10
    True
    """
    chosen = experiment if isinstance(experiment, Experiment) else find(experiment)
    if seed is not None:
        chosen = chosen.replace(seed=seed)
    begin, chosen = time.perf_counter(), chosen.pinned()
    with precision_context(chosen.precision):
        objective = chosen.objective()
        function = objective.function
        trajectory = driver.run(
            function,
            objective.samples,
            chosen.initial_state(),
            chosen.rule.bound(objective.parts),
            chosen.stop,
            batch=draw_batch,
            observables=UnitObservables(function.network, function.shape, function.outputs),
            seed=chosen.seed,
            progress=progress,
        )
    warnings = (SHORT,) if chosen.precision == "float32" else ()
    run = Run(chosen, trajectory, objective.exact, versions(), time.perf_counter() - begin, warnings)
    if run.failed and not keep_failed:
        raise NumericalError(f"the run of {chosen.name!r} failed: {trajectory.reason}")
    return run
