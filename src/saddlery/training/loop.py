"""The compiled part of the driving loop: members of one program step side by side.

A chunk of B members is stepped as one, until a look at the clock is due: every array of
the carry has a leading axis B. Between two looks each member takes a `stride`, of as
many steps as move it at most three times as far as points are saved apart; a look finds
which members have moved far enough to be saved, and saves those. A stride that went
further is taken again in fewer steps, so that at any learning rate a drop is seen in as
many points as single steps allow. Strides are powers of two and end at their multiples,
so that members look together. A chunk of one is not mapped, so that a rule that branches
takes one branch only.
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
LONGEST_STRIDE = 3.0  # the farthest that one may go, in units of how far apart points are saved
# of those units: a stride that went less far says no more about how long the next may be
SHORTEST_WAY = 1e-3
PLATEAU = 0.01  # of the run so far: after so long a point is saved where nothing moves
# of the initial loss: what changes of the loss are compared to where it is near zero
LOSS_FLOOR = 1e-3
LARGEST_LOSS = 1e6  # times the initial one: a run beyond it has diverged

Limits = dict[str, Any]
Carry = dict[str, Any]


class Programs(NamedTuple):
    """start(thetas, samples, keys, limits) and advance(carry, samples, keys, limits, resolution).

    thetas (B, P), keys (B,), resolution (B,).
    limits: of every member, where it ends, the `numbers` of its rule, and its `pace`,
        the most steps of a stride.

    Returned by `advance`: the carry, how many points were saved of every member (B,), and
    these, (B, saves, ...).
    """

    start: Callable[..., Carry]
    advance: Callable[..., tuple[Carry, Array, dict[str, Any]]]


@functools.lru_cache(maxsize=256)
def programs(
    loss: LossFunction,
    rule: Rule,
    batch: BatchFunction | None,
    shared: bool,
    saves: int,
    attempts: int,
) -> Programs:
    """The compiled programs of one kind of run.

    loss: (theta (P,), samples) -> number.
    rule: a `Rule.program`.
    shared: whether all members train on the same samples.
    saves, attempts: of one member between two returns of `advance`.
    """

    def own(limits: Limits) -> Rule:
        return rule.given(limits["numbers"])

    def gradient_on(samples: Any) -> Callable[[Array, Array], Array]:
        def gradient(theta: Array, key: Array) -> Array:
            drawn = samples if batch is None else batch(samples, key, rule.batch)
            return jax.grad(loss)(theta, drawn)

        return gradient

    def valued(theta: Array, samples: Any) -> tuple[Array, Array]:
        """The loss, and the norm of its gradient."""
        value, slope = jax.value_and_grad(loss)(theta, samples)
        return value, jnp.linalg.norm(slope)

    def start(theta: Array, samples: Any, key: Array, limits: Limits) -> Carry:
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
        carry: Carry,
        samples: Any,
        key: Array,
        limits: Limits,
        resolution: Array,
        *,
        longest: Array,
    ) -> Carry:
        """One stride of one member that is not at rest, and whether it is due to be saved then."""
        mine, before, taken = own(limits), carry["walker"], carry["steps"]
        rests = carry["due"] | carry["halt"]
        draw = lambda k: jax.random.fold_in(key, taken + k)
        to_multiple = carry["stride"] - taken % carry["stride"]
        most = jnp.minimum(to_multiple, limits["steps"] - taken).astype(jnp.int32)
        most = jnp.where(rests, 0, most)
        walker, kept = mine.stride(
            before, gradient_on(samples), draw, limits["flow_time"], most, longest
        )
        step = walker.theta - before.theta
        fall = walker.gradient @ step
        new = {
            **carry,
            "walker": walker,
            "steps": taken + kept,
            "attempts": carry["attempts"] + jnp.maximum(kept, 1),
            "failing": jnp.where(kept > 0, 0, carry["failing"] + 1),
            "change": carry["change"] + fall,
        }
        showing = _differ(mine.observe(before), mine.observe(walker))
        new["due"] = _due(carry, new, limits, resolution) | showing

        way = _way(carry, step, fall, resolution)
        too_far = (kept > 1) & ~(way <= LONGEST_STRIDE)
        new = _where(too_far, carry, new)
        room = kept * LONGEST_STRIDE / jnp.maximum(way, SHORTEST_WAY)
        room = jnp.where(jnp.isfinite(way), room, 1.0)
        new["stride"] = _power_of_two(jnp.clip(room, 1.0, limits["pace"]))
        return _where(rests, carry, new)

    def saved(carry: Carry, limits: Limits, value: Array, norm: Array) -> Carry:
        """The carry of one member after a look; as it was where none was due."""
        walker = carry["walker"]
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
        return _where(carry["due"], new, carry)

    def point(carry: Carry, limits: Limits) -> dict[str, Any]:
        """What is recorded of one member."""
        walker = carry["walker"]
        return {
            "flow_time": walker.time,
            "step": carry["steps"],
            "loss": carry["loss"],
            "gradient_norm": carry["gradient_norm"],
            "states": walker.theta,
            "observables": dict(own(limits).observe(walker)),
        }

    def advance(carry: Carry, samples: Any, keys: Array, limits: Limits, resolution: Array):
        members = carry["halt"].shape[0]
        each = functools.partial(_each, members=members, shared=shared)

        def save(carry: Carry, count: Array, record: Any) -> tuple[Carry, Array, Any]:
            due = carry["due"]
            value, norm = each(valued)(carry["walker"].theta, samples)
            carry = jax.vmap(saved)(carry, limits, value, norm)
            # beyond the record where none is due
            place = jnp.arange(members), jnp.where(due, count, saves)
            write = lambda buffer, now: buffer.at[place].set(now, mode="drop")
            points = jax.vmap(point)(carry, limits)
            return carry, count + due, jax.tree.map(write, record, points)

        def body(state: tuple) -> tuple:
            carry, count, record, tried = state
            longest = jnp.max(carry["stride"])
            step = each(functools.partial(leap, longest=longest))
            carry = step(carry, samples, keys, limits, resolution)
            carry, count, record = jax.lax.cond(
                jnp.any(carry["due"]),
                save,
                lambda carry, count, record: (carry, count, record),
                carry,
                count,
                record,
            )
            return carry, count, record, tried + longest

        def going(state: tuple) -> Array:
            carry, count, _, tried = state
            return jnp.all(count < saves) & (tried < attempts) & ~jnp.all(carry["halt"])

        def blank(like: Any) -> Array:
            return jnp.zeros((members, saves, *like.shape[1:]), like.dtype)

        record = jax.tree.map(blank, jax.eval_shape(jax.vmap(point), carry, limits))
        count, tried = jnp.zeros(members, jnp.int32), jnp.zeros((), jnp.int32)
        carry, count, record, _ = jax.lax.while_loop(going, body, (carry, count, record, tried))
        return carry, count, record

    def start_all(thetas: Array, samples: Any, keys: Array, limits: Limits) -> Carry:
        return _each(start, members=len(thetas), shared=shared)(thetas, samples, keys, limits)

    return Programs(start=jax.jit(start_all), advance=jax.jit(advance))


def _each(function: Callable, *, members: int, shared: bool) -> Callable:
    """function(member, samples, *members) for every member of a chunk; one alone is not mapped."""
    if members > 1:
        mapped = jax.vmap(
            lambda first, samples, rest: function(first, samples, *rest),
            (0, None if shared else 0, 0),
        )
        return lambda first, samples, *rest: mapped(first, samples, rest)

    def only(tree: Any) -> Any:
        return jax.tree.map(lambda a: a[0], tree)

    def alone(first: Any, samples: Any, *rest: Any) -> Any:
        own = samples if shared else only(samples)
        result = function(only(first), own, *only(rest))
        return jax.tree.map(lambda a: jnp.asarray(a)[None], result)

    return alone


def _due(before: Carry, carry: Carry, limits: Limits, resolution: Array) -> Array:
    """Whether a member has moved far, or long, since it was saved, or is at its end."""
    walker = carry["walker"]
    moved = _way(before, walker.theta - before["last"], carry["change"], resolution)
    late = walker.time - before["saved_at"] > PLATEAU * walker.time
    ended = (walker.time >= limits["flow_time"]) | (carry["steps"] >= limits["steps"])
    return (moved > 1) | late | ended | _broken(carry)


def _way(carry: Carry, step: Array, change: Array, resolution: Array) -> Array:
    """How far a member has moved, in units of how far apart points are saved.

    In weights or in loss, what is more.
    """
    size = jnp.linalg.norm(carry["last"])
    level = jnp.abs(carry["loss"]) + LOSS_FLOOR * jnp.abs(carry["first_loss"])
    tiny = jnp.finfo(size.dtype).tiny
    moved = jnp.linalg.norm(step) / (resolution * jnp.maximum(size, tiny))
    lost = jnp.abs(change) / (resolution * jnp.maximum(level, tiny))
    return jnp.maximum(moved, lost)


def _power_of_two(most: Array) -> Array:
    """The largest one that is not larger, of most >= 1.

    By its bits, since compiled exp2 and log2 round.
    """
    return jnp.left_shift(jnp.int32(1), 31 - jax.lax.clz(most.astype(jnp.int32)))


def _where(condition: Array, yes: Carry, no: Carry) -> Carry:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _differ(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """Whether the rule's own state has changed; such points are saved too."""
    changes = [jnp.any(before[name] != after[name]) for name in before]
    return jnp.any(jnp.array(changes, bool))


def _broken(carry: Carry) -> Array:
    """Whether a member cannot go on."""
    return ~jnp.all(jnp.isfinite(carry["walker"].theta)) | (carry["failing"] > REFUSED)


def finished(carry: Carry, limits: Limits) -> Array:
    """Whether a member has met a criterion or cannot go on."""
    loss, largest = carry["loss"], LARGEST_LOSS * jnp.abs(carry["first_loss"]) + 1.0
    met = (
        (carry["walker"].time >= limits["flow_time"])
        | (carry["steps"] >= limits["steps"])
        | (loss <= limits["loss"])
        | (carry["gradient_norm"] <= limits["gradient_norm"])
    )
    diverged = ~jnp.isfinite(loss) | (jnp.abs(loss) > largest)
    return met | diverged | _broken(carry)
