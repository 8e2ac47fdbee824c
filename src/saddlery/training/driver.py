"""One driving loop for every rule: it stops, saves and observes; the rule only steps.

States are saved where the trajectory moves and sparsely on plateaus. A point is
saved when, since the last saved one, the weights moved by more than `resolution`
of their norm, or the loss changed by more than that share of itself (plus a
thousandth of the initial loss), or one part in a hundred of the run so far has
passed; and where what the rule shows of its own state changes. Rules of fixed
steps take up to sixteen steps from look to look, fewer where they would go beyond
three times as far. A run is a chunk of one of the runs that `run_chunk` takes
side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from ..basis.checks import InputError, Words, finite, positive, real, require, settle, whole
from ..basis.interruptions import partial_runs_count
from ..basis.records import Printed, Result, number, plain
from ..doors import labels
from ..rules import Rule
from ..rules.checking import check_rule
from .loop import REFUSED, BatchFunction, LossFunction, programs

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

# A chunk of runs saves at most so many points, and tries so many steps, between two
# looks at the clock: one compiled call.
SAVES, ATTEMPTS = 256, 20_000
# Each of its runs may have so many of either, however many runs there are.
FEWEST_SAVES, FEWEST_ATTEMPTS = 32, 1000

# The curves of a trajectory, (T,) each.
CURVES = ("flow_time", "step", "loss", "gradient_norm")

# Called with (fraction done, current loss).
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Stop:
    """When a run ends: whichever comes first. None means never for that reason.

    flow_time: for descent, learning rate times steps.
    steps: accepted ones.
    loss: at or below.
    gradient_norm: 2-norm of the full gradient at or below; saddles have small
        gradients too, so a run may stop on a plateau.

    The last two are looked at where states are saved. Raises InputError without a
    flow time and without steps.

    Example
    -------
    >>> from saddlery.training import Stop
    >>> Stop(steps=100, loss=1e-6)
    Stop(flow_time=None, steps=100, loss=1e-06, gradient_norm=None)
    """

    flow_time: float | None = None
    steps: int | None = None
    loss: float | None = None
    gradient_norm: float | None = None

    def __post_init__(self) -> None:
        require(
            self.flow_time is not None or self.steps is not None,
            "flow_time or steps",
            needed="given",
            given=Words("neither"),
            remedy="without one a run on a plateau might never end",
        )
        if self.flow_time is not None:
            positive(self.flow_time, "flow_time")
        if self.steps is not None:
            whole(self.steps, "steps")
        if self.loss is not None:
            real(self.loss, "stop: loss")
        if self.gradient_norm is not None:
            real(self.gradient_norm, "stop: gradient_norm")
        settle(self)


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Result):
    """A recorded run: T saved points of P weights.

    flow_time, loss, gradient_norm (T,).
    step (T,): accepted steps so far.
    states (T, P).
    observables: name -> (T, ...), what the rule shows of its own state, and in a
        run's record those of its units (see `observables`).
    status: "stopped" (a criterion was met), "diverged", "not finite", "step too
        small" or "interrupted"; reason says it in words.
    rejected: attempts the error control refused.
    """

    flow_time: Float[np.ndarray, " T"]
    step: Int[np.ndarray, " T"]
    loss: Float[np.ndarray, " T"]
    gradient_norm: Float[np.ndarray, " T"]
    states: Float[np.ndarray, "T P"]
    observables: Mapping[str, np.ndarray]
    status: str
    reason: str
    rejected: int

    def rows(self) -> list[tuple[str, object]]:
        """What one reads first."""
        return [
            ("status", f"{self.status}: {self.reason}"),
            ("flow time", number(self.flow_time[-1])),
            ("steps", int(self.step[-1])),
            ("saved points", len(self.loss)),
            ("loss", f"{number(self.loss[0])} to {number(self.loss[-1])}"),
        ]

    def printed(self) -> Printed:
        parameters = ("parameters", self.states.shape[1])
        return Printed(("trajectory", ""), [*self.rows(), parameters])

    def record(self) -> dict[str, object]:
        """JSON form: how it ended, and the curves, without weights and observables."""
        ending = {
            "status": self.status,
            "reason": self.reason,
            "rejected": self.rejected,
        }
        return plain({**ending, **self._curves()})

    def to_dataframe(self) -> pd.DataFrame:
        """A row a saved point, by the names of `schema.LABELS["run"]`: the
        curves, and observables of one number a point. Needs pandas."""
        return self.labelled_frame({})

    def to_xarray(self) -> xr.Dataset:
        """The curves, the observables and the weights along `point`. Needs xarray."""
        return self.labelled_arrays({})

    def labelled_frame(self, about: Mapping[str, Any]) -> pd.DataFrame:
        """`to_dataframe` of what these attributes say."""
        columns = {}
        for name, values in {**self._curves(), **self._observed()}.items():
            if values.ndim == 1:
                columns[name] = values.tolist()
        return labels.frame("run", columns, about)

    def labelled_arrays(self, about: Mapping[str, Any]) -> xr.Dataset:
        """`to_xarray` of what these attributes say."""
        values = {**self._curves(), **self._observed(), "states": self.states}
        ending = {"status": self.status, "reason": self.reason}
        return labels.dataset({"run": values}, {**ending, **about})

    def _curves(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in CURVES}

    def _observed(self) -> dict[str, np.ndarray]:
        shown = {}
        for name, values in self.observables.items():
            shown[f"{labels.OBSERVABLE}{name}"] = np.asarray(values)
        return shown

    def crossing(self, level: float) -> float | None:
        """The flow time at which the loss falls through a level for good; None if
        it does not.

        By monotone cubic interpolation between saved points; those that are not
        finite, or saved at one time with the one before, are left out.

        Source: Fritsch & Carlson (1980).
        """
        later = np.diff(self.flow_time, prepend=-np.inf) > 0
        seen = later & np.isfinite(self.loss)
        times, losses = self.flow_time[seen], self.loss[seen]
        above = np.flatnonzero(losses > level)
        if not len(above) or above[-1] + 1 >= len(losses):
            return None
        k = int(above[-1])
        near = slice(max(k - 1, 0), k + 3)
        curve = PchipInterpolator(times[near], losses[near])
        above_level = lambda t: float(curve(t)) - level
        start, end = float(times[k]), float(times[k + 1])
        found = brentq(above_level, start, end, xtol=1e-12 * end)
        return found  # type: ignore[return-value]


def run(
    loss: LossFunction,
    samples: Any,
    theta: Float[np.ndarray, " P"],
    rule: Rule,
    stop: Stop,
    *,
    batch: BatchFunction | None = None,
    seed: int = 0,
    resolution: float = 0.03,
    limit: int = 4000,
    progress: Progress | None = None,
) -> Trajectory:
    """Move theta by the rule until a stop criterion is met.

    loss: (theta (P,), samples) -> number. loss, batch and rule must be hashable:
        runs that share them and the shapes share one compiled program.
    samples: what the loss reads.
    theta (P,): the start.
    batch: (samples, key, size) -> samples; needed where the rule has a batch
        size.
    seed: of the batches.
    resolution: how far the run moves between two saved points, see above.
    limit: beyond so many saved points the resolution is halved again and again,
        to bound memory.
    progress: called with (fraction done, current loss).

    Ctrl-C returns what was finished, with status "interrupted". Raises InputError
    for an empty or non-finite start, or one that meets a criterion already. Cost:
    the rule's steps plus one gradient a saved point.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.rules import GradientDescent
    >>> from saddlery.training import Stop
    >>> from saddlery.training.driver import run
    >>> def bowl(theta, samples):
    ...     return 0.5 * theta @ theta
    >>> record = run(bowl, None, np.array([1.0]), GradientDescent(0.1), Stop(steps=3))
    >>> record.states[-1].round(6), record.reason
    (array([0.729]), 'all 3 steps were taken')
    """
    (found,) = run_chunk(
        loss,
        samples,
        np.asarray(theta)[None],
        [rule],
        [stop],
        batch=batch,
        seeds=[seed],
        resolution=resolution,
        limit=limit,
        progress=progress,
    )
    if found.status == "refused":
        raise InputError(found.reason)
    return found


def run_chunk(
    loss: LossFunction,
    samples: Any,
    thetas: Float[np.ndarray, "B P"],
    rules: Sequence[Rule],
    stops: Sequence[Stop],
    *,
    seeds: Sequence[int],
    shared: bool = True,
    batch: BatchFunction | None = None,
    resolution: float = 0.03,
    limit: int = 4000,
    progress: Progress | None = None,
) -> list[Trajectory]:
    """The trajectories of B runs of one program, stepped side by side.

    Each is what `run` gives, to rounding. A run that diverges, or is over before
    it begins (status "refused"), leaves the others as they are.

    thetas (B, P): a row a run.
    rules, stops, seeds (B,): one a run, the rules of one `program`.
    samples: of all runs where `shared`, else with a leading axis B.
    progress: called with (fraction done, loss), means over the chunk.
    loss, batch, resolution, limit: as for `run`.

    Raises InputError for starts that are not finite, rules of several programs,
    and a rule of one's own that does not do what rules do (see `check_rule`). The
    cost is that of the longest run for every member.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.rules import GradientDescent
    >>> from saddlery.training import Stop
    >>> from saddlery.training.driver import run_chunk
    >>> def bowl(theta, samples):
    ...     return 0.5 * theta @ theta
    >>> rules = [GradientDescent(0.1), GradientDescent(0.5)]
    >>> starts, stops = np.ones((2, 1)), [Stop(steps=1)] * 2
    >>> runs = run_chunk(bowl, None, starts, rules, stops, seeds=[0, 0])
    >>> [float(run.states[-1].round(6)[0]) for run in runs]
    [0.9, 0.5]
    """
    for theta in thetas:
        finite(np.asarray(theta), "the initial weights")
    positive(resolution, "resolution")
    rule = _program(rules, batch)
    check_rule(rules[0], thetas[0])
    members = len(thetas)
    start, advance = programs(
        loss,
        rule,
        batch if rule.batch else None,
        shared,
        _saves(members),
        max(FEWEST_ATTEMPTS, ATTEMPTS // members),
    )
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    stacked = lambda *values: jnp.stack(values)
    limits = jax.tree.map(stacked, *map(_limits, stops, rules))
    carry = start(jnp.asarray(thetas), samples, keys, limits)
    runs = []
    for stop, own in zip(stops, rules, strict=True):
        runs.append(_Member(stop, resolution, own))
    for member, seen in zip(runs, _each_member(carry), strict=True):
        member.refuse(seen)
    try:
        while not bool(jnp.all(carry["halt"])):
            resolutions = [member.resolution for member in runs]
            apart = jnp.array(resolutions, carry["last"].dtype)
            carry, counts, record = advance(carry, samples, keys, limits, apart)
            record = jax.tree.map(np.asarray, record)
            every = zip(runs, np.asarray(counts), _each_member(carry), strict=True)
            for k, (member, count, seen) in enumerate(every):
                of_member = lambda a, k=k, n=int(count): a[k, :n]
                member.take(jax.tree.map(of_member, record), seen, limit)
            if progress is not None:
                fraction = float(np.mean([member.fraction for member in runs]))
                mean_loss = float(np.mean(np.asarray(carry["loss"])))
                progress(fraction, mean_loss)
    except KeyboardInterrupt:
        if not partial_runs_count():
            raise
        for member in runs:
            member.interrupt()
    if not runs[0].parts:
        raise KeyboardInterrupt
    return [member.trajectory() for member in runs]


def _program(rules: Sequence[Rule], batch: BatchFunction | None) -> Rule:
    """The rule that stands for all of them."""
    several = {rule.program for rule in rules}
    require(
        len(several) == 1,
        "rules",
        needed="of one program",
        given=Words("several"),
    )
    (rule,) = several
    if rule.batch and batch is None:
        raise InputError(
            "a rule with a batch size needs a way to draw batches; train on "
            "samples (moments = false)"
        )
    return rule


def _saves(members: int) -> int:
    """Points of a member between two looks: one alone has the room of all."""
    if members == 1:
        return SAVES
    return max(FEWEST_SAVES, SAVES // members)


def _each_member(carry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the carry holds of one member after another, but for the walker."""
    arrays = {}
    for name, value in carry.items():
        if name != "walker":
            arrays[name] = np.asarray(value)
    for k in range(len(arrays["loss"])):
        yield {name: array[k] for name, array in arrays.items()}


def expected(stop: Stop, rule: Rule) -> float:
    """The steps of a run, as far as they are known beforehand (else infinite).

    Example
    -------
    >>> from saddlery.rules import GradientDescent, GradientFlow
    >>> from saddlery.training.driver import Stop, expected
    >>> stop = Stop(flow_time=10.0)
    >>> expected(stop, GradientDescent(0.05)), expected(stop, GradientFlow())
    (200.0, inf)
    """
    flow_time = math.inf if stop.flow_time is None else stop.flow_time
    steps = math.inf if stop.steps is None else stop.steps
    return rule.length(flow_time, steps)


def _limits(stop: Stop, rule: Rule) -> dict[str, Any]:
    """Where a member ends, the pace and the numbers of its rule, as arrays."""
    never = {
        "flow_time": math.inf,
        "steps": math.inf,
        "loss": -math.inf,
        "gradient_norm": -math.inf,
    }
    limits: dict[str, Any] = {}
    for name, none in never.items():
        limit = getattr(stop, name)
        limits[name] = _number(none if limit is None else limit)
    pace = rule.pace(expected(stop, rule))
    limits["pace"] = jnp.asarray(pace, jnp.int32)
    limits["numbers"] = {name: _number(value) for name, value in rule.values.items()}
    return limits


def _number(value: Any) -> Any:
    return jnp.asarray(float(value))


class _Member:
    """One run of a chunk as the host sees it: what was saved so far, and how it
    ended."""

    def __init__(self, stop: Stop, resolution: float, rule: Rule) -> None:
        self.stop = stop
        self.resolution = resolution
        self.rule = rule
        self.parts: list[dict[str, Any]] = []
        self.saved = 0
        self.rejected = 0
        self.fraction = 0.0
        self.status, self.reason = "", ""

    def refuse(self, carry: Mapping[str, Any]) -> None:
        """A criterion that the start meets would end the run before it begins.

        Every start near zero has a small gradient.
        """
        for name in ("loss", "gradient_norm"):
            limit, value = getattr(self.stop, name), float(carry[name])
            if limit is None or not value <= limit:
                continue
            needed = f"below its value {value:.3g} at the start"
            self.status = "refused"
            self.reason = (
                f"stop: {name} must be {needed}, got {limit!r}; lower it or stop on flow_time"
            )

    def take(
        self,
        record: Mapping[str, Any],
        carry: Mapping[str, Any],
        limit: int,
    ) -> None:
        """Keep what was saved since the last look, and see whether the run is over."""
        self.parts.append(dict(record))
        self.saved += len(record["loss"])
        if self.saved >= limit:
            self.resolution *= 2.0
        self.rejected = int(carry["attempts"]) - int(carry["steps"])
        self.fraction = _fraction(carry, self.stop)
        if not self.status:
            ending = _verdict(carry, record["states"], self.stop, self.rule)
            self.status, self.reason = ending

    def interrupt(self) -> None:
        self.status = "interrupted"
        self.reason = "stopped by the keyboard; the record holds what was finished"

    def trajectory(self) -> Trajectory:
        joined = lambda *arrays: np.concatenate(arrays)
        record = jax.tree.map(joined, *self.parts)
        return Trajectory(
            **record,
            status=self.status,
            reason=self.reason,
            rejected=self.rejected,
        )


def _remedy(rule: Rule) -> str:
    """What to do about a run that leaves the numbers: a flow has no learning rate."""
    if hasattr(rule, "learning_rate"):
        return "lower the learning rate"
    return "standardise the data, or start from smaller weights"


def _verdict(
    carry: Mapping[str, Any],
    states: np.ndarray,
    stop: Stop,
    rule: Rule,
) -> tuple[str, str]:
    """(status, reason) of how a run ended, empty while it has not.

    states (T, P): those saved last.
    """
    if not bool(carry["halt"]):
        return "", ""
    loss = float(carry["loss"])
    when = f"at flow time {float(carry['saved_at']):.6g}"
    if not math.isfinite(loss) or not np.all(np.isfinite(states[-1:])):
        what = f"the loss or the weights stopped being finite {when}"
        return "not finite", f"{what}; {_remedy(rule)}"
    if abs(loss) > float(carry["largest_loss"]):
        went = "grew" if loss > 0 else "fell"
        return "diverged", f"the loss {went} to {loss:.3g} {when}; {_remedy(rule)}"
    if int(carry["failing"]) > REFUSED:
        return "step too small", f"{rule.refusal}, {when}"
    return "stopped", _met(carry, stop)


def _met(carry: Mapping[str, Any], stop: Stop) -> str:
    """The criterion that ended a run, in words."""
    loss = float(carry["loss"])
    norm = float(carry["gradient_norm"])
    time = float(carry["saved_at"])
    if stop.loss is not None and loss <= stop.loss:
        return f"loss {loss:.3g} reached the asked {stop.loss}"
    if stop.gradient_norm is not None and norm <= stop.gradient_norm:
        return f"gradient norm {norm:.3g} reached the asked {stop.gradient_norm}"
    if stop.steps is not None and int(carry["steps"]) >= stop.steps:
        return f"all {stop.steps} steps were taken"
    # The clock has the precision of the run.
    if time == carry["saved_at"].dtype.type(stop.flow_time):
        return f"flow time {stop.flow_time} was reached"
    return f"flow time {stop.flow_time} was passed by the last step, to {time:.6g}"


def _fraction(carry: Mapping[str, Any], stop: Stop) -> float:
    """How much of the run is done, by its clock or its steps, whichever is further."""
    if bool(carry["halt"]):
        return 1.0
    parts = []
    if stop.flow_time:
        parts.append(float(carry["saved_at"]) / stop.flow_time)
    if stop.steps:
        parts.append(int(carry["steps"]) / stop.steps)
    return min(1.0, max(parts))
