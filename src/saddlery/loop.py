"""The compiled part of the driving loop: members that share a program step side by side until a look at the clock is due.

A chunk of B members is stepped as one: every array of the carry has a leading axis B. Between two looks each member takes
`every` attempts; a look finds which members have moved far enough to be saved, and saves those. A chunk of one is not
mapped, so that a rule that branches takes one branch only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .rules import Descent, Rule

LossFunction = Callable[[Array, Any], Array]  # (theta, samples) -> loss
BatchFunction = Callable[[Any, Array, int], Any]  # (samples, key, size) -> samples
REFUSED = 60  # attempts in a row that the error control may refuse


class Programs(NamedTuple):
    """start(thetas, samples, keys, limits) and advance(carry, samples, keys, limits, resolution). limits: of every member, where
    it ends and the `numbers` of its rule."""

    start: Callable[..., dict[str, Any]]
    advance: Callable[..., tuple[dict[str, Any], Array, dict[str, Any]]]


@functools.lru_cache(maxsize=256)
def programs(
    loss: LossFunction,
    rule: Rule,
    batch: BatchFunction | None,
    shared: bool,
    every: int,
    saves: int,
    attempts: int,
) -> Programs:
    """The compiled programs of one kind of run. rule: a `Rule.program`. shared: whether all members train on the same samples.
    saves, attempts: of one member between two returns of `advance`."""

    def own(limits: dict) -> Rule:
        return rule.given(limits["numbers"])

    def gradient_on(samples: Any) -> Callable[[Array, Array], Array]:
        def gradient(theta: Array, key: Array) -> Array:
            return jax.grad(loss)(theta, samples if batch is None else batch(samples, key, rule.batch))

        return gradient

    def valued(theta: Array, samples: Any) -> tuple[Array, Array]:
        value, slope = jax.value_and_grad(loss)(theta, samples)
        return value, jnp.linalg.norm(slope)

    def start(theta: Array, samples: Any, key: Array, limits: dict) -> dict[str, Any]:
        walker = own(limits).start(theta, gradient_on(samples), key)
        zero = jnp.zeros((), jnp.int32)
        value, norm = valued(theta, samples)
        return {
            "walker": walker,
            "last": theta,
            "saved_at": walker.time - 1.0,
            "change": jnp.zeros((), theta.dtype),
            "loss": value,
            "first_loss": value,
            "gradient_norm": norm,
            "steps": zero,
            "attempts": zero,
            "due": jnp.array(True),
            "failing": zero,
            "halt": jnp.array(False),
        }

    def attempt(moving: dict, samples: Any, key: Array, limits: dict) -> dict:
        """One step of one member, unless it rests."""
        walker, kept = own(limits).advance(
            moving["walker"], gradient_on(samples), jax.random.fold_in(key, moving["steps"]), limits["flow_time"]
        )
        steps = moving["steps"] + kept
        moved = {
            "walker": walker,
            "steps": steps,
            "attempts": moving["attempts"] + 1,
            "rests": (walker.time >= limits["flow_time"]) | (steps >= limits["steps"]),
            "failing": jnp.where(kept, 0, moving["failing"] + 1),
        }
        return jax.tree.map(lambda old, new: jnp.where(moving["rests"], old, new), moving, moved)

    def strides(moving: dict, samples: Any, key: Array, limits: dict) -> dict:
        """`every` steps of a rule that never refuses one."""
        mine = own(limits)
        assert isinstance(mine, Descent)
        most = jnp.where(moving["rests"], 0.0, limits["steps"] - moving["steps"])
        draw = lambda number: jax.random.fold_in(key, number)
        walker, count = mine.stride(moving["walker"], gradient_on(samples), draw, limits["flow_time"], most, every)
        steps = moving["steps"] + count
        ended = (walker.time >= limits["flow_time"]) | (steps >= limits["steps"])
        return {**moving, "walker": walker, "steps": steps, "attempts": moving["attempts"] + count, "rests": ended}

    def leap(carry: dict, samples: Any, key: Array, limits: dict, resolution: Array) -> dict:
        """`every` attempts of one member, and whether it is due to be saved then."""
        before, waits = carry["walker"], carry["due"] | carry["halt"]
        moving = {name: carry[name] for name in ("walker", "steps", "attempts", "failing")} | {"rests": waits}
        if every == 1:
            moving = attempt(moving, samples, key, limits)
        elif isinstance(rule, Descent):
            moving = strides(moving, samples, key, limits)
        else:
            moving, _ = jax.lax.scan(lambda m, _: (attempt(m, samples, key, limits), None), moving, None, length=every)
        ended, walker = moving.pop("rests"), moving["walker"]
        carry = {**carry, **moving, "change": carry["change"] + walker.gradient @ (walker.theta - before.theta)}
        due = (
            _moved(carry, resolution)
            | ended
            | _broken(carry)
            | _differ(own(limits).observe(before), own(limits).observe(walker))
        )
        return {**carry, "due": jnp.where(waits, carry["due"], due)}

    def saved(carry: dict, limits: dict, value: Array, norm: Array) -> dict:
        """The carry of one member after a look; as it was where none was due."""
        walker, due = carry["walker"], carry["due"]
        new = {
            **carry,
            "last": walker.theta,
            "saved_at": walker.time,
            "due": jnp.array(False),
            "change": jnp.zeros_like(carry["change"]),
            "loss": value,
            "gradient_norm": norm,
        }
        new["halt"] = finished(new, limits)
        return jax.tree.map(lambda old, now: jnp.where(due, now, old), carry, new)

    def advance(carry: dict, samples: Any, keys: Array, limits: dict, resolution: Array):
        members = carry["halt"].shape[0]
        each = functools.partial(_each, members=members, shared=shared)

        def point(carry: dict, limits: dict) -> dict[str, Any]:
            walker = carry["walker"]
            return {
                "flow_time": walker.time,
                "step": carry["steps"],
                "loss": carry["loss"],
                "gradient_norm": carry["gradient_norm"],
                "states": walker.theta,
                "observables": dict(own(limits).observe(walker)),
            }

        def save(carry: dict, count: Array, record: Any) -> tuple[dict, Array, Any]:
            due = carry["due"]
            value, norm = each(valued)(carry["walker"].theta, samples)
            carry = jax.vmap(saved)(carry, limits, value, norm)
            place = (jnp.arange(members), jnp.where(due, count, saves))  # beyond the record where none is due
            write = lambda buffer, now: buffer.at[place].set(now, mode="drop")
            return carry, count + due, jax.tree.map(write, record, jax.vmap(point)(carry, limits))

        def body(state: tuple) -> tuple:
            carry, count, record, tried = state
            carry = each(leap)(carry, samples, keys, limits, resolution)
            carry, count, record = jax.lax.cond(
                jnp.any(carry["due"]), save, lambda c, n, r: (c, n, r), carry, count, record
            )
            return carry, count, record, tried + every

        def going(state: tuple) -> Array:
            carry, count, _, tried = state
            return jnp.all(count < saves) & (tried < attempts) & ~jnp.all(carry["halt"])

        blank = jax.tree.map(
            lambda a: jnp.zeros((members, saves, *a.shape[1:]), a.dtype), jax.eval_shape(jax.vmap(point), carry, limits)
        )
        zero = jnp.zeros((), jnp.int32)
        none = jnp.zeros(members, jnp.int32)
        carry, count, record, _ = jax.lax.while_loop(going, body, (carry, none, blank, zero))
        return carry, count, record

    def start_all(thetas: Array, samples: Any, keys: Array, limits: dict) -> dict:
        return _each(start, members=len(thetas), shared=shared)(thetas, samples, keys, limits)

    return Programs(jax.jit(start_all), jax.jit(advance))


def _each(function: Callable, *, members: int, shared: bool) -> Callable:
    """function(member, samples, *members) for every member of a chunk; one alone is not mapped."""
    if members > 1:
        mapped = jax.vmap(lambda first, samples, rest: function(first, samples, *rest), (0, None if shared else 0, 0))
        return lambda first, samples, *rest: mapped(first, samples, rest)
    only = lambda tree: jax.tree.map(lambda a: a[0], tree)

    def alone(first: Any, samples: Any, *rest: Any) -> Any:
        result = function(only(first), samples if shared else only(samples), *only(rest))
        return jax.tree.map(lambda a: jnp.asarray(a)[None], result)

    return alone


def _moved(carry: dict, resolution: Array) -> Array:
    walker = carry["walker"]
    far = jnp.linalg.norm(walker.theta - carry["last"]) > resolution * jnp.linalg.norm(carry["last"])
    fell = jnp.abs(carry["change"]) > resolution / 3 * (jnp.abs(carry["loss"]) + 1e-3 * jnp.abs(carry["first_loss"]))
    return far | fell | (walker.time - carry["saved_at"] > 0.01 * walker.time)


def _differ(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """Whether the rule's own state has changed; such points are saved too."""
    return jnp.any(jnp.array([jnp.any(before[name] != after[name]) for name in before], bool))


def _broken(carry: dict) -> Array:
    return ~jnp.all(jnp.isfinite(carry["walker"].theta)) | (carry["failing"] > REFUSED)


def finished(carry: dict, limits: dict) -> Array:
    """Whether a member has met a criterion or cannot go on."""
    return (
        (carry["walker"].time >= limits["flow_time"])
        | (carry["steps"] >= limits["steps"])
        | (carry["loss"] <= limits["loss"])
        | (carry["gradient_norm"] <= limits["gradient_norm"])
        | _broken(carry)
        | ~jnp.isfinite(carry["loss"])
        | (jnp.abs(carry["loss"]) > 1e6 * jnp.abs(carry["first_loss"]) + 1.0)
    )
