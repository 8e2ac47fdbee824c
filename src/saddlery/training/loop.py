"""The compiled part of the driving loop: members that share a program step side by side until a
look at the clock is due.

A chunk of B members is stepped as one: every array of the carry has a leading axis B. Between two
looks each member takes a `stride`, of as many steps as move it at most three times as far as points
are saved apart; a look finds which members have moved far enough to be saved, and saves those. A
stride that went further is taken again in fewer steps, so that at any learning rate a drop is seen
in as many points as single steps allow. Strides are powers of two and end at their multiples, so
that members look together. A chunk of one is not mapped, so that a rule that branches takes one
branch only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..rules import Rule

LossFunction = Callable[[Array, Any], Array]  # (theta, samples) -> loss
BatchFunction = Callable[[Any, Array, int], Any]  # (samples, key, size) -> samples
REFUSED = 60  # attempts in a row that the error control may refuse
FARTHEST = 3.0  # that a stride may go, in units of how far apart points are saved


class Programs(NamedTuple):
    """start(thetas, samples, keys, limits) and advance(carry, samples, keys, limits, resolution).
    limits: of every member, where it ends, the `numbers` of its rule, and its `pace`, the most
    steps of a stride."""

    start: Callable[..., dict[str, Any]]
    advance: Callable[..., tuple[dict[str, Any], Array, dict[str, Any]]]


@functools.lru_cache(maxsize=256)
def programs(
    loss: LossFunction,
    rule: Rule,
    batch: BatchFunction | None,
    shared: bool,
    saves: int,
    attempts: int,
) -> Programs:
    """The compiled programs of one kind of run. rule: a `Rule.program`. shared: whether all members
    train on the same samples.
    saves, attempts: of one member between two returns of `advance`."""

    def own(limits: dict) -> Rule:
        return rule.given(limits["numbers"])

    def gradient_on(samples: Any) -> Callable[[Array, Array], Array]:
        def gradient(theta: Array, key: Array) -> Array:
            return jax.grad(loss)(
                theta, samples if batch is None else batch(samples, key, rule.batch)
            )

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
            "stride": zero + 1,
            "due": jnp.array(True),
            "failing": zero,
            "halt": jnp.array(False),
        }

    def leap(
        carry: dict, samples: Any, key: Array, limits: dict, resolution: Array, *, longest: Array
    ) -> dict:
        """One stride of one member that is not at rest, and whether it is due to be saved then."""
        mine, before, taken = own(limits), carry["walker"], carry["steps"]
        draw = lambda k: jax.random.fold_in(key, taken + k)
        most = jnp.minimum(
            carry["stride"] - taken % carry["stride"], limits["steps"] - taken
        ).astype(jnp.int32)
        most = jnp.where(carry["due"] | carry["halt"], 0, most)
        walker, kept = mine.stride(
            before, gradient_on(samples), draw, limits["flow_time"], most, longest
        )
        fall = walker.gradient @ (walker.theta - before.theta)
        new = {
            **carry,
            "walker": walker,
            "steps": taken + kept,
            "attempts": carry["attempts"] + jnp.maximum(kept, 1),
            "failing": jnp.where(kept > 0, 0, carry["failing"] + 1),
            "change": carry["change"] + fall,
        }
        way = _way(carry, walker.theta - before.theta, fall, resolution)
        ended = (walker.time >= limits["flow_time"]) | (new["steps"] >= limits["steps"])
        late = walker.time - carry["saved_at"] > 0.01 * walker.time
        far = _way(carry, walker.theta - carry["last"], new["change"], resolution) > 1
        new["due"] = (
            far | late | ended | _broken(new) | _differ(mine.observe(before), mine.observe(walker))
        )
        new = _where((kept > 1) & ~(way <= FARTHEST), carry, new)
        room = jnp.where(jnp.isfinite(way), kept * FARTHEST / jnp.maximum(way, 1e-3), 1.0)
        new["stride"] = _power_of_two(jnp.clip(room, 1.0, limits["pace"]))
        return _where(carry["due"] | carry["halt"], carry, new)

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
        return _where(due, new, carry)

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
            place = (
                jnp.arange(members),
                jnp.where(due, count, saves),
            )  # beyond the record where none is due
            write = lambda buffer, now: buffer.at[place].set(now, mode="drop")
            return carry, count + due, jax.tree.map(write, record, jax.vmap(point)(carry, limits))

        def body(state: tuple) -> tuple:
            carry, count, record, tried = state
            longest = jnp.max(carry["stride"])
            carry = each(functools.partial(leap, longest=longest))(
                carry, samples, keys, limits, resolution
            )
            carry, count, record = jax.lax.cond(
                jnp.any(carry["due"]), save, lambda c, n, r: (c, n, r), carry, count, record
            )
            return carry, count, record, tried + longest

        def going(state: tuple) -> Array:
            carry, count, _, tried = state
            return jnp.all(count < saves) & (tried < attempts) & ~jnp.all(carry["halt"])

        blank = jax.tree.map(
            lambda a: jnp.zeros((members, saves, *a.shape[1:]), a.dtype),
            jax.eval_shape(jax.vmap(point), carry, limits),
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
        mapped = jax.vmap(
            lambda first, samples, rest: function(first, samples, *rest),
            (0, None if shared else 0, 0),
        )
        return lambda first, samples, *rest: mapped(first, samples, rest)
    only = lambda tree: jax.tree.map(lambda a: a[0], tree)

    def alone(first: Any, samples: Any, *rest: Any) -> Any:
        result = function(only(first), samples if shared else only(samples), *only(rest))
        return jax.tree.map(lambda a: jnp.asarray(a)[None], result)

    return alone


def _way(carry: dict, step: Array, change: Array, resolution: Array) -> Array:
    """How far a member has moved, in units of how far apart points are saved: in weights or in
    loss, what is more."""
    size, level = (
        jnp.linalg.norm(carry["last"]),
        jnp.abs(carry["loss"]) + 1e-3 * jnp.abs(carry["first_loss"]),
    )
    tiny = jnp.finfo(size.dtype).tiny
    moved = jnp.linalg.norm(step) / (resolution * jnp.maximum(size, tiny))
    lost = jnp.abs(change) / (resolution * jnp.maximum(level, tiny))
    return jnp.maximum(moved, lost)


def _power_of_two(most: Array) -> Array:
    """The largest one that is not larger, of most >= 1; by its bits, since compiled exp2 and log2
    round."""
    return jnp.left_shift(jnp.int32(1), 31 - jax.lax.clz(most.astype(jnp.int32)))


def _where(condition: Array, yes: dict, no: dict) -> dict:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


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
