"""One driving loop for every rule: it stops, saves and observes; the rule only steps.

States are saved where the trajectory moves and sparsely on plateaus. A point is saved when, since
the last saved one, the weights moved by more than `resolution` of their norm, or the loss changed
by more than that share of itself (plus a thousandth of the initial loss), or one part in a hundred
of the run so far has passed; and where what the rule shows of its own state changes. Rules of fixed
steps take up to sixteen steps from look to look, fewer where they would go beyond three times as
far. A run is a chunk of one of the runs that `run_chunk` takes side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from ..basis.checks import InputError, Words, finite, positive, real, require, settle, whole
from ..basis.interruptions import partial_runs_count
from ..basis.values import Value
from ..rules import Rule
from .loop import REFUSED, BatchFunction, LossFunction, programs

SAVES, ATTEMPTS = (
    256,
    20_000,
)  # of one run: what is compiled and done between two looks at the clock
LEAST = 32  # saved points a member between two looks, however large the chunk
FEWEST = 1000  # attempts between two looks, however large the chunk


@dataclass(frozen=True)
class Stop:
    """When a run ends: whichever comes first. None means never for that reason.

    flow_time: for descent, learning rate times steps. steps: accepted ones. loss: at or below.
    gradient_norm: 2-norm of the full gradient at or below; saddles have small gradients too, so a
    run may stop on a plateau. The last two are looked at where states are saved.
    """

    flow_time: float | None = None
    steps: int | None = None
    loss: float | None = None
    gradient_norm: float | None = None

    def __post_init__(self) -> None:
        limits = (self.flow_time, self.steps)
        require(
            any(v is not None for v in limits),
            "flow_time or steps",
            "given",
            Words("neither"),
            "without one a run on a plateau might never end",
        )
        if self.flow_time is not None:
            positive(self.flow_time, "flow_time")
        if self.steps is not None:
            whole(self.steps, "steps")
        for name in ("loss", "gradient_norm"):
            value = getattr(self, name)
            if value is not None:
                real(value, f"stop: {name}")
        settle(self)


@dataclass(frozen=True, eq=False)
class Trajectory(Value):
    """A recorded run: T saved points of P weights.

    flow_time, loss, gradient_norm: (T,). step: (T,) accepted steps so far. states: (T, P).
    observables: name -> (T, ...), what the rule shows of its own state, and in a run's record those
    of its units (see `observables`).
    status: "stopped" (a criterion was met), "diverged", "not finite", "step too small" or
    "interrupted"; reason says it in words. rejected: attempts the error control refused.
    """

    flow_time: Float[np.ndarray, " T"]
    step: np.ndarray
    loss: Float[np.ndarray, " T"]
    gradient_norm: Float[np.ndarray, " T"]
    states: Float[np.ndarray, "T P"]
    observables: Mapping[str, np.ndarray]
    status: str
    reason: str
    rejected: int

    def crossing(self, level: float) -> float | None:
        """The flow time at which the loss falls through a level for good, by monotone cubic
        interpolation between saved points (Fritsch & Carlson 1980); None if it does not."""
        above = np.flatnonzero(self.loss > level)
        if not len(above) or above[-1] + 1 >= len(self.loss):
            return None
        k = int(above[-1])
        near = slice(max(k - 1, 0), k + 3)
        curve = PchipInterpolator(self.flow_time[near], self.loss[near])
        start, end = float(self.flow_time[k]), float(self.flow_time[k + 1])
        return brentq(lambda t: float(curve(t)) - level, start, end, xtol=1e-12 * end)  # type: ignore[return-value]


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
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory:
    """Move theta by the rule until a stop criterion is met.

    loss, batch and rule must be hashable: runs that share them and the shapes share one compiled
        program.
    limit: beyond so many saved points the resolution is halved again and again, to bound memory.
    progress: called with (fraction done, current loss). Ctrl-C returns what was finished, with
        status "interrupted".

    Raises InputError for an empty or non-finite start, or one that meets a criterion already. Cost:
    the rule's steps plus one gradient a saved point.
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
    progress: Callable[[float, float], None] | None = None,
) -> list[Trajectory]:
    """The trajectories of B runs of one program, stepped side by side: each is what `run` gives, to
    rounding.

    thetas: a row a run. rules, stops, seeds: one a run, the rules of one `program`. samples: of all
    runs where `shared`, else with a leading axis B. A run that diverges, or is over before it
    begins (status "refused"), leaves the others as they are. The cost is that of the longest run
    for every member. progress: called with (fraction done, loss), means over the chunk.
    """
    for theta in thetas:
        finite(np.asarray(theta), "the initial weights")
    positive(resolution, "resolution")
    shared_rules = {rule.program for rule in rules}
    require(len(shared_rules) == 1, "rules", "of one program", Words("several"))
    (rule,) = shared_rules
    if rule.batch and batch is None:
        raise InputError(
            "a rule with a batch size needs a way to draw batches; train on "
            "samples (moments = false)"
        )
    members = len(thetas)
    saves = max(LEAST, SAVES // members) if members > 1 else SAVES
    attempts = max(FEWEST, ATTEMPTS // members)
    start, advance = programs(loss, rule, batch if rule.batch else None, shared, saves, attempts)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    limits = jax.tree.map(lambda *values: jnp.stack(values), *map(_limits, stops, rules))
    carry = start(jnp.asarray(thetas), samples, keys, limits)
    runs = [_Member(stop, resolution, rule) for rule, stop in zip(rules, stops, strict=True)]
    first = {name: np.asarray(carry[name]) for name in ("loss", "gradient_norm")}
    for k, member in enumerate(runs):
        member.refuse({name: value[k] for name, value in first.items()})
    try:
        while not bool(jnp.all(carry["halt"])):
            carry, counts, record = advance(
                carry,
                samples,
                keys,
                limits,
                jnp.array([member.resolution for member in runs], carry["last"].dtype),
            )
            record = jax.tree.map(np.asarray, record)
            seen = {name: np.asarray(value) for name, value in carry.items() if name != "walker"}
            for k, (member, count) in enumerate(zip(runs, np.asarray(counts), strict=True)):
                saved = jax.tree.map(lambda a, k=k, n=int(count): a[k, :n], record)
                member.take(saved, {name: value[k] for name, value in seen.items()}, limit)
            if progress is not None:
                progress(
                    float(np.mean([member.fraction for member in runs])),
                    float(np.mean(seen["loss"])),
                )
    except KeyboardInterrupt:
        if not partial_runs_count():
            raise
        for member in runs:
            member.interrupt()
    if not runs[0].parts:
        raise KeyboardInterrupt
    return [member.trajectory() for member in runs]


def expected(stop: Stop, rule: Rule) -> float:
    """The steps of a run, as far as they are known beforehand (else infinite)."""
    flow_time, steps = (
        math.inf if limit is None else limit for limit in (stop.flow_time, stop.steps)
    )
    return rule.length(flow_time, steps)


def _limits(stop: Stop, rule: Rule) -> dict[str, Any]:
    infinite = [stop.flow_time, stop.steps]
    lower = [stop.loss, stop.gradient_norm]
    values = [math.inf if v is None else v for v in infinite] + [
        -math.inf if v is None else v for v in lower
    ]
    ends = dict(
        zip(
            ("flow_time", "steps", "loss", "gradient_norm"),
            map(jnp.asarray, map(float, values)),
            strict=True,
        )
    )
    pace = rule.pace(expected(stop, rule))
    numbers = {name: jnp.asarray(float(value)) for name, value in rule.values.items()}
    return ends | {"pace": jnp.asarray(pace, jnp.int32), "numbers": numbers}


class _Member:
    """One run of a chunk as the host sees it: what was saved so far, and how it ended."""

    def __init__(self, stop: Stop, resolution: float, rule: Rule) -> None:
        self.stop, self.resolution, self.rule = stop, resolution, rule
        self.parts: list[dict[str, Any]] = []
        self.saved, self.rejected, self.fraction = 0, 0, 0.0
        self.status, self.reason = "", ""

    def refuse(self, carry: Mapping[str, Any]) -> None:
        """A criterion that the start meets would end the run before it begins: every start near
        zero has a small gradient."""
        for name in ("loss", "gradient_norm"):
            limit, value = getattr(self.stop, name), float(carry[name])
            if limit is not None and value <= limit:
                self.status = "refused"
                self.reason = (
                    f"stop: {name} must be below its value {value:.3g} at the start, got {limit!r};"
                    " lower it or stop on flow_time"
                )

    def take(self, record: Mapping[str, Any], carry: Mapping[str, Any], limit: int) -> None:
        """Keep what was saved since the last look, and see whether the run is over."""
        self.parts.append(dict(record))
        self.saved += len(record["loss"])
        self.resolution *= 1.0 if self.saved < limit else 2.0
        self.rejected = int(carry["attempts"]) - int(carry["steps"])
        self.fraction = _fraction(carry, self.stop)
        if not self.status:
            self.status, self.reason = _verdict(carry, record["states"], self.stop, self.rule)

    def interrupt(self) -> None:
        self.status, self.reason = (
            "interrupted",
            "stopped by the keyboard; the record holds what was finished",
        )

    def trajectory(self) -> Trajectory:
        record = jax.tree.map(lambda *arrays: np.concatenate(arrays), *self.parts)
        return Trajectory(**record, status=self.status, reason=self.reason, rejected=self.rejected)


def _remedy(rule: Rule) -> str:
    """What to do about a run that leaves the numbers: a flow has no learning rate."""
    if hasattr(rule, "learning_rate"):
        return "lower the learning rate"
    return "standardise the data, or start from smaller weights"


def _verdict(
    carry: Mapping[str, Any], states: np.ndarray, stop: Stop, rule: Rule
) -> tuple[str, str]:
    """How a run ended, empty while it has not; states: those saved last."""
    if not bool(carry["halt"]):
        return "", ""
    loss, norm, time = (float(carry[k]) for k in ("loss", "gradient_norm", "saved_at"))
    if not (math.isfinite(loss) and bool(np.all(np.isfinite(states[-1:])))):
        return (
            "not finite",
            (
                "the loss or the weights stopped being finite at flow time "
                f"{time:.6g}; {_remedy(rule)}"
            ),
        )
    if loss > 1e6 * abs(float(carry["first_loss"])) + 1.0:
        return "diverged", f"the loss grew to {loss:.3g} at flow time {time:.6g}; {_remedy(rule)}"
    if int(carry["failing"]) > REFUSED:
        return "step too small", f"{rule.refusal}, at flow time {time:.6g}"
    met = [
        (
            stop.loss is not None and loss <= stop.loss,
            f"loss {loss:.3g} reached the asked {stop.loss}",
        ),
        (
            stop.gradient_norm is not None and norm <= stop.gradient_norm,
            f"gradient norm {norm:.3g} reached the asked {stop.gradient_norm}",
        ),
        (
            stop.steps is not None and int(carry["steps"]) >= stop.steps,
            f"all {stop.steps} steps were taken",
        ),
        (time == stop.flow_time, f"flow time {stop.flow_time} was reached"),
        (True, f"flow time {stop.flow_time} was passed by the last step, to {time:.6g}"),
    ]
    return "stopped", next(words for true, words in met if true)


def _fraction(carry: Mapping[str, Any], stop: Stop) -> float:
    if bool(carry["halt"]):
        return 1.0
    parts = [float(carry["saved_at"]) / stop.flow_time] if stop.flow_time else []
    parts += [int(carry["steps"]) / stop.steps] if stop.steps else []
    return min(1.0, max(parts))
