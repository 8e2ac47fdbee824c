"""One driving loop for every rule: it stops, saves and observes; the rule only steps.

States are saved where the trajectory moves and sparsely on plateaus. A point is saved when, since the last saved one,
the weights moved by more than `resolution` of their norm, or the loss changed by more than resolution/3 of itself (plus
a thousandth of the initial loss), or one part in a hundred of the run so far has passed; and where what the rule shows
of its own state changes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .checks import InputError, Words, finite, positive, require, whole
from .rules import Rule, Walker

LossFunction = Callable[[Array, Any], Array]  # (theta, samples) -> loss
BatchFunction = Callable[[Any, Array, int], Any]  # (samples, key, size) -> samples
Observables = Callable[[Array], Mapping[str, Array]]
SAVES, ATTEMPTS = 256, 20_000  # a chunk: what is compiled and run between two looks at the clock


@dataclass(frozen=True)
class Stop:
    """When a run ends: whichever comes first. None means never for that reason.

    flow_time: for descent, learning rate times steps. steps: accepted ones. loss: at or below. gradient_norm: 2-norm of
    the full gradient at or below; saddles have small gradients too, so a run may stop on a plateau. The last two are
    looked at where states are saved.
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
            require(
                value is None or (isinstance(value, (int, float)) and math.isfinite(value)),
                f"stop: {name}",
                "a finite number",
                value,
            )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A recorded run: T saved points of P weights.

    flow_time, loss, gradient_norm: (T,). step: (T,) accepted steps so far. states: (T, P). observables: name -> (T, ...).
    status: "stopped" (a criterion was met), "diverged", "not finite", "step too small" or "interrupted"; reason says it
    in words. rejected: attempts the error control refused.
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
        """The flow time at which the loss falls through a level for good, between saved points; None if it does not."""
        above = np.flatnonzero(self.loss > level)
        if not len(above) or above[-1] + 1 >= len(self.loss):
            return None
        k = int(above[-1])
        share = (self.loss[k] - level) / (self.loss[k] - self.loss[k + 1])
        return float(self.flow_time[k] + share * (self.flow_time[k + 1] - self.flow_time[k]))


def run(
    loss: LossFunction,
    samples: Any,
    theta: Float[np.ndarray, " P"],
    rule: Rule,
    stop: Stop,
    *,
    observables: Observables | None = None,
    batch: BatchFunction | None = None,
    seed: int = 0,
    resolution: float = 0.03,
    limit: int = 4000,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory:
    """Move theta by the rule until a stop criterion is met.

    loss, observables, batch and rule must be hashable: runs that share them and the shapes share one compiled program.
    limit: beyond so many saved points the resolution is halved again and again, to bound memory. progress: called with
    (fraction done, current loss). Ctrl-C returns what was finished, with status "interrupted".

    Raises InputError for an empty or non-finite start. Cost: the rule's steps plus one gradient a saved point.
    """
    finite(np.asarray(theta), "the initial weights")
    positive(resolution, "resolution")
    if rule.batch and batch is None:
        raise InputError("a rule with a batch size needs a way to draw batches; train on samples (moments = false)")
    key = jax.random.key(seed)
    start, advance = _compiled(loss, rule, observables or _nothing, batch if rule.batch else None)
    limits = _limits(stop)
    carry, parts = start(jnp.asarray(theta), samples, key), []
    _refuse_met(carry, stop)
    saved = 0
    status, reason = "", ""
    try:
        while not status:
            carry, count, record = advance(carry, samples, key, limits, resolution)
            parts.append(jax.tree.map(lambda a, n=int(count): np.asarray(a)[:n], record))
            saved += int(count)
            resolution *= 1.0 if saved < limit else 2.0
            status, reason = _verdict(carry, stop)
            if progress is not None:
                progress(_fraction(carry, stop), float(carry["loss"]))
    except KeyboardInterrupt:
        status, reason = "interrupted", "stopped by the keyboard; the record holds what was finished"
    if not parts:
        raise KeyboardInterrupt
    return _trajectory(parts, status, reason, int(carry["attempts"]) - int(carry["steps"]))


def _nothing(theta: Array) -> dict[str, Array]:
    return {}


def _refuse_met(carry: dict, stop: Stop) -> None:
    """A criterion that the start meets would end the run before it begins: every start near zero has a small gradient."""
    for name in ("loss", "gradient_norm"):
        limit, value = getattr(stop, name), float(carry[name])
        if limit is not None and value <= limit:
            raise InputError(
                f"stop: {name} must be below its value {value:.3g} at the start, got {limit!r};"
                " lower it or stop on flow_time"
            )


def _limits(stop: Stop) -> dict[str, Array]:
    infinite = [stop.flow_time, stop.steps]
    lower = [stop.loss, stop.gradient_norm]
    values = [math.inf if v is None else v for v in infinite] + [-math.inf if v is None else v for v in lower]
    return dict(zip(("flow_time", "steps", "loss", "gradient_norm"), map(jnp.asarray, map(float, values)), strict=True))


@functools.lru_cache(maxsize=256)
def _compiled(loss: LossFunction, rule: Rule, observables: Observables, batch: BatchFunction | None):
    """The compiled (start, advance) of one kind of run."""

    def gradient_on(samples: Any) -> Callable[[Array, Array], Array]:
        def gradient(theta: Array, key: Array) -> Array:
            return jax.grad(loss)(theta, samples if batch is None else batch(samples, key, rule.batch))

        return gradient

    def observe(walker: Walker, samples: Any, steps: Array) -> dict[str, Any]:
        value, slope = jax.value_and_grad(loss)(walker.theta, samples)
        return {
            "flow_time": walker.time,
            "step": steps,
            "loss": value,
            "gradient_norm": jnp.linalg.norm(slope),
            "states": walker.theta,
            "observables": {**observables(walker.theta), **rule.observe(walker)},
        }

    def start(theta: Array, samples: Any, key: Array) -> dict[str, Any]:
        walker = rule.start(theta, gradient_on(samples), key)
        zero = jnp.zeros((), jnp.int32)
        first = observe(walker, samples, zero)
        return {
            "walker": walker,
            "last": theta,
            "saved_at": walker.time - 1.0,
            "change": jnp.zeros((), theta.dtype),
            "loss": first["loss"],
            "first_loss": first["loss"],
            "gradient_norm": first["gradient_norm"],
            "steps": zero,
            "attempts": zero,
            "due": jnp.array(True),
            "failing": zero,
            "halt": jnp.array(False),
        }

    def advance(carry: dict, samples: Any, key: Array, limits: dict, resolution: Any):
        blank = jax.tree.map(
            lambda a: jnp.zeros((SAVES, *a.shape), a.dtype),
            jax.eval_shape(observe, carry["walker"], samples, carry["steps"]),
        )

        def save(carry: dict, count: Array, record: Any) -> tuple[dict, Array, Any]:
            point = observe(carry["walker"], samples, carry["steps"])
            record = jax.tree.map(lambda buffer, value: buffer.at[count].set(value), record, point)
            carry = {
                **carry,
                "last": carry["walker"].theta,
                "saved_at": carry["walker"].time,
                "due": jnp.array(False),
                "change": jnp.zeros_like(carry["change"]),
                "loss": point["loss"],
                "gradient_norm": point["gradient_norm"],
            }
            return {**carry, "halt": _finished(carry, limits)}, count + 1, record

        def attempt(carry: dict) -> dict:
            before = rule.observe(carry["walker"])
            walker, kept = rule.advance(
                carry["walker"], gradient_on(samples), jax.random.fold_in(key, carry["steps"]), limits["flow_time"]
            )
            steps = carry["steps"] + kept
            carry = {
                **carry,
                "walker": walker,
                "steps": steps,
                "attempts": carry["attempts"] + 1,
                "change": carry["change"] + walker.gradient @ (walker.theta - carry["walker"].theta),
                "failing": jnp.where(kept, 0, carry["failing"] + 1),
            }
            at_end = (walker.time >= limits["flow_time"]) | (steps >= limits["steps"]) | _broken(carry)
            return {**carry, "due": _moved(carry, resolution) | at_end | _differ(before, rule.observe(walker))}

        def body(state: tuple) -> tuple:
            carry, count, record, tried = state
            carry = jax.lax.cond(carry["due"] | carry["halt"], lambda c: c, attempt, carry)
            carry, count, record = jax.lax.cond(carry["due"], save, lambda c, n, r: (c, n, r), carry, count, record)
            return carry, count, record, tried + 1

        def going(state: tuple) -> Array:
            carry, count, _, tried = state
            return (count < SAVES) & (tried < ATTEMPTS) & ~carry["halt"]

        zero = jnp.zeros((), jnp.int32)
        carry, count, record, _ = jax.lax.while_loop(going, body, (carry, zero, blank, zero))
        return carry, count, record

    return jax.jit(start), jax.jit(advance)


def _moved(carry: dict, resolution: Any) -> Array:
    walker = carry["walker"]
    far = jnp.linalg.norm(walker.theta - carry["last"]) > resolution * jnp.linalg.norm(carry["last"])
    fell = jnp.abs(carry["change"]) > resolution / 3 * (jnp.abs(carry["loss"]) + 1e-3 * jnp.abs(carry["first_loss"]))
    return far | fell | (walker.time - carry["saved_at"] > 0.01 * walker.time)


def _differ(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """Whether the rule's own state has changed; such points are saved too."""
    return jnp.any(jnp.array([jnp.any(before[name] != after[name]) for name in before], bool))


def _broken(carry: dict) -> Array:
    return ~jnp.all(jnp.isfinite(carry["walker"].theta)) | (carry["failing"] > 60)


def _finished(carry: dict, limits: dict) -> Array:
    return (
        (carry["walker"].time >= limits["flow_time"])
        | (carry["steps"] >= limits["steps"])
        | (carry["loss"] <= limits["loss"])
        | (carry["gradient_norm"] <= limits["gradient_norm"])
        | _broken(carry)
        | ~jnp.isfinite(carry["loss"])
        | (jnp.abs(carry["loss"]) > 1e6 * jnp.abs(carry["first_loss"]) + 1.0)
    )


def _verdict(carry: dict, stop: Stop) -> tuple[str, str]:
    if not bool(carry["halt"]):
        return "", ""
    loss, norm, time = (float(carry[k]) for k in ("loss", "gradient_norm", "saved_at"))
    if not (math.isfinite(loss) and bool(jnp.all(jnp.isfinite(carry["walker"].theta)))):
        return (
            "not finite",
            f"the loss or the weights stopped being finite at flow time {time:.6g}; lower the learning rate",
        )
    if loss > 1e6 * abs(float(carry["first_loss"])) + 1.0:
        return "diverged", f"the loss grew to {loss:.3g} at flow time {time:.6g}; lower the learning rate"
    if int(carry["failing"]) > 60:
        return "step too small", f"the error control refused 60 steps in a row at flow time {time:.6g}; loosen it"
    met = [
        (stop.loss is not None and loss <= stop.loss, f"loss {loss:.3g} reached the asked {stop.loss}"),
        (
            stop.gradient_norm is not None and norm <= stop.gradient_norm,
            f"gradient norm {norm:.3g} reached the asked {stop.gradient_norm}",
        ),
        (stop.steps is not None and int(carry["steps"]) >= stop.steps, f"all {stop.steps} steps were taken"),
        (True, f"flow time {stop.flow_time} was reached"),
    ]
    return "stopped", next(words for true, words in met if true)


def _fraction(carry: dict, stop: Stop) -> float:
    if bool(carry["halt"]):
        return 1.0
    parts = [float(carry["saved_at"]) / stop.flow_time] if stop.flow_time else []
    parts += [int(carry["steps"]) / stop.steps] if stop.steps else []
    return min(1.0, max(parts))


def _trajectory(parts: list, status: str, reason: str, rejected: int) -> Trajectory:
    whole_record = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    return Trajectory(**whole_record, status=status, reason=reason, rejected=rejected)
