"""The compiled part of the driving loop: members of one program step side by side.

A chunk of B members is stepped as one, until a look at the clock is due: every
array of the carry has a leading axis B. Between two looks each member takes a
`stride`, of as many steps as move it at most three times as far as points are
saved apart; a look finds which members have moved far enough to be saved, and
saves those. A stride that went further is taken again in fewer steps, so that at
any learning rate a drop is seen in as many points as single steps allow. Strides
are powers of two and end at their multiples, so that members look together. A
chunk of one is not mapped, so that a rule that branches takes one branch only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..rules import Rule
from ..rules.norms import norm

LossFunction = Callable[[Array, Any], Array]  # (theta, samples) -> loss
BatchFunction = Callable[[Any, Array, int], Any]  # (samples, key, size) -> samples

# A member is stuck after so many attempts in a row that its error control refused.
REFUSED = 60
# The farthest that a stride may go, in units of how far apart points are saved.
LONGEST_STRIDE = 3.0
# In the same units: the next stride after one that went less far is as long as if it
# had gone as far as this.
SHORTEST_STRIDE = 1e-3
# Where nothing moves, a point is saved after this share of the run's time so far.
LONGEST_SILENCE = 0.01
# Changes of the loss are compared to the loss, and to this share of the initial loss
# where it is nearer to zero.
LOSS_FLOOR = 1e-3
# A run has diverged whose loss is more than so many times the initial one and that of
# zero weights.
LARGEST_LOSS = 1e6

# By name: of every member where it ends, the `numbers` of its rule, and its `pace`,
# the most steps of a stride.
Limits = dict[str, Any]
# By name: all that a loop carries of every member, see `_Chunk._start_one`.
Carry = dict[str, Any]


class Programs(NamedTuple):
    """The two compiled functions of a chunk of B members.

    start: (thetas, samples, keys, limits) -> carry.
    advance: (carry, samples, keys, limits, resolution) -> the carry, how many
        points were saved of every member (B,), and these, (B, saves, ...).

    thetas (B, P), keys (B,), resolution (B,): a row a member.
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
    batch: (samples, key, size) -> samples; None without batches.
    shared: whether all members train on the same samples.
    saves, attempts: of one member between two returns of `advance`.
    """
    chunk = _Chunk(loss, rule, batch, shared=shared, saves=saves, attempts=attempts)
    return Programs(start=jax.jit(chunk.start), advance=jax.jit(chunk.advance))


@dataclass(frozen=True, eq=False)
class _Chunk:
    """What is compiled of one kind of run, see `programs`.

    Methods whose name ends in `one` are of one member, without the axis B.
    """

    loss: LossFunction
    rule: Rule
    batch: BatchFunction | None
    shared: bool
    saves: int
    attempts: int

    def start(
        self,
        thetas: Array,
        samples: Any,
        keys: Array,
        limits: Limits,
    ) -> Carry:
        every = _each(self._start_one, members=len(thetas), shared=self.shared)
        return every(thetas, samples, keys, limits)

    def advance(
        self,
        carry: Carry,
        samples: Any,
        keys: Array,
        limits: Limits,
        resolution: Array,
    ) -> tuple[Carry, Array, dict[str, Any]]:
        """Strides and looks until a member's record is full, or it is time to
        show how far they came."""
        members = carry["halt"].shape[0]
        each = functools.partial(_each, members=members, shared=self.shared)

        def save(carry: Carry, count: Array, record: Any) -> tuple[Carry, Array, Any]:
            due = carry["due"]
            valued = each(self._valued_one)(carry["walker"].theta, samples)
            carry = jax.vmap(_saved_one)(carry, limits, *valued)
            # Beyond the record where none is due, which drops what is written.
            place = jnp.arange(members), jnp.where(due, count, self.saves)
            write = lambda buffer, now: buffer.at[place].set(now, mode="drop")
            points = jax.vmap(self._point_one)(carry, limits)
            return carry, count + due, jax.tree.map(write, record, points)

        def pass_by(carry: Carry, count: Array, record: Any) -> tuple[Carry, Array, Any]:
            return carry, count, record

        def body(state: tuple) -> tuple:
            carry, count, record, tried = state
            longest = jnp.max(carry["stride"])
            step = each(functools.partial(self._leap_one, longest=longest))
            carry = step(carry, samples, keys, limits, resolution)
            look = jnp.any(carry["due"])
            carry, count, record = jax.lax.cond(look, save, pass_by, carry, count, record)
            return carry, count, record, tried + longest

        def going(state: tuple) -> Array:
            carry, count, _, tried = state
            room = jnp.all(count < self.saves) & (tried < self.attempts)
            return room & ~jnp.all(carry["halt"])

        def blank(like: Any) -> Array:
            return jnp.zeros((members, self.saves, *like.shape[1:]), like.dtype)

        points = jax.eval_shape(jax.vmap(self._point_one), carry, limits)
        record = jax.tree.map(blank, points)
        count = jnp.zeros(members, jnp.int32)
        tried = jnp.zeros((), jnp.int32)
        state = carry, count, record, tried
        carry, count, record, _ = jax.lax.while_loop(going, body, state)
        return carry, count, record

    def _own(self, limits: Limits) -> Rule:
        return self.rule.given(limits["numbers"])

    def _gradient_on(self, samples: Any) -> Callable[[Array, Array], Array]:
        def gradient(theta: Array, key: Array) -> Array:
            drawn = samples
            if self.batch is not None:
                drawn = self.batch(samples, key, self.rule.batch)
            return jax.grad(self.loss)(theta, drawn)

        return gradient

    def _valued_one(self, theta: Array, samples: Any) -> tuple[Array, Array]:
        """The loss, and the norm of its gradient."""
        value, slope = jax.value_and_grad(self.loss)(theta, samples)
        return value, norm(slope)

    def _largest_loss(self, theta: Array, first: Array, samples: Any) -> Array:
        """The loss (first at theta) beyond which a run has diverged."""
        of_zero = jnp.abs(self.loss(jnp.zeros_like(theta), samples))
        of_zero = jnp.where(jnp.isfinite(of_zero), of_zero, 0.0)
        return LARGEST_LOSS * jnp.maximum(jnp.abs(first), of_zero)

    def _start_one(
        self,
        theta: Array,
        samples: Any,
        key: Array,
        limits: Limits,
    ) -> Carry:
        walker = self._own(limits).start(theta, self._gradient_on(samples), key)
        zero = jnp.zeros((), jnp.int32)
        value, steepness = self._valued_one(theta, samples)
        return {
            "walker": walker,
            "last": theta,
            "saved_at": walker.time - 1.0,
            "change": jnp.zeros((), theta.dtype),
            "loss": value,
            "first_loss": value,
            "largest_loss": self._largest_loss(theta, value, samples),
            "gradient_norm": steepness,
            "steps": zero,
            "attempts": zero,
            "stride": zero + 1,
            "due": jnp.array(True),
            "failing": zero,
            "halt": jnp.array(False),
        }

    def _leap_one(
        self,
        carry: Carry,
        samples: Any,
        key: Array,
        limits: Limits,
        resolution: Array,
        *,
        longest: Array,
    ) -> Carry:
        """One stride of a member, and whether it is due to be saved then.

        A member that is due or has halted stands still. A stride that went too far
        is taken back, and comes again in fewer steps.
        """
        stands_still = carry["due"] | carry["halt"]
        most = jnp.where(stands_still, 0, _steps_of_a_stride(carry, limits))
        rule, before = self._own(limits), carry["walker"]
        walker, kept = rule.stride(
            before,
            self._gradient_on(samples),
            lambda k: jax.random.fold_in(key, carry["steps"] + k),
            limits["flow_time"],
            most,
            longest,
        )
        step = walker.theta - before.theta
        change = walker.gradient @ step
        new = {
            **carry,
            "walker": walker,
            "steps": carry["steps"] + kept,
            "attempts": carry["attempts"] + jnp.maximum(kept, 1),
            "failing": jnp.where(kept > 0, 0, carry["failing"] + 1),
            "change": carry["change"] + change,
        }
        switched = _differ(rule.observe(before), rule.observe(walker))
        new["due"] = _due(carry, new, limits, resolution) | switched

        moved = _moved(carry, step, change, resolution)
        # So written that what is not a number is too far as well.
        too_far = (kept > 1) & ~(moved <= LONGEST_STRIDE)
        new = _where(too_far, carry, new)
        new["stride"] = _next_stride(kept, moved, limits)
        return _where(stands_still, carry, new)

    def _point_one(self, carry: Carry, limits: Limits) -> dict[str, Any]:
        """What is recorded of a member."""
        walker = carry["walker"]
        return {
            "flow_time": walker.time,
            "step": carry["steps"],
            "loss": carry["loss"],
            "gradient_norm": carry["gradient_norm"],
            "states": walker.theta,
            "observables": dict(self._own(limits).observe(walker)),
        }


def _saved_one(carry: Carry, limits: Limits, value: Array, steepness: Array) -> Carry:
    """The carry of a member after a look; as it was where none was due."""
    walker = carry["walker"]
    new = {
        **carry,
        "last": walker.theta,
        "saved_at": walker.time,
        "due": jnp.array(False),
        "change": jnp.zeros_like(carry["change"]),
        "loss": value,
        "gradient_norm": steepness,
    }
    new["halt"] = finished(new, limits)
    return _where(carry["due"], new, carry)


def _each(function: Callable, *, members: int, shared: bool) -> Callable:
    """function(member, samples, *members) for every member of a chunk; one alone
    is not mapped."""
    if members > 1:
        packed = lambda first, samples, rest: function(first, samples, *rest)
        mapped = jax.vmap(packed, in_axes=(0, None if shared else 0, 0))
        return lambda first, samples, *rest: mapped(first, samples, rest)

    def only(tree: Any) -> Any:
        return jax.tree.map(lambda a: a[0], tree)

    def alone(first: Any, samples: Any, *rest: Any) -> Any:
        own = samples if shared else only(samples)
        result = function(only(first), own, *only(rest))
        return jax.tree.map(lambda a: jnp.asarray(a)[None], result)

    return alone


def _due(
    before: Carry,
    carry: Carry,
    limits: Limits,
    resolution: Array,
) -> Array:
    """Whether a member has moved far, or long, since it was saved, or is at its end."""
    walker = carry["walker"]
    moved = _moved(before, walker.theta - before["last"], carry["change"], resolution)
    late = walker.time - before["saved_at"] > LONGEST_SILENCE * walker.time
    ended = (walker.time >= limits["flow_time"]) | (carry["steps"] >= limits["steps"])
    return (moved > 1) | late | ended | _broken(carry)


def _steps_of_a_stride(carry: Carry, limits: Limits) -> Array:
    """To the next multiple of the stride, and no more than are left."""
    taken, stride = carry["steps"], carry["stride"]
    to_multiple = stride - taken % stride
    return jnp.minimum(to_multiple, limits["steps"] - taken).astype(jnp.int32)


def _next_stride(kept: Array, moved: Array, limits: Limits) -> Array:
    """As many steps as move the member as far as a stride may go, if each goes as
    far as those of the last stride; one where that is not known."""
    steps = kept * LONGEST_STRIDE / jnp.maximum(moved, SHORTEST_STRIDE)
    steps = jnp.where(jnp.isfinite(moved), steps, 1.0)
    return _power_of_two(jnp.clip(steps, 1.0, limits["pace"]))


def _moved(carry: Carry, step: Array, change: Array, resolution: Array) -> Array:
    """How far a member has moved, in units of how far apart points are saved.

    In weights or in loss, what is more.
    """
    size = norm(carry["last"])
    level = jnp.abs(carry["loss"]) + LOSS_FLOOR * jnp.abs(carry["first_loss"])
    tiny = jnp.finfo(size.dtype).tiny
    moved = norm(step) / (resolution * jnp.maximum(size, tiny))
    lost = jnp.abs(change) / (resolution * jnp.maximum(level, tiny))
    return jnp.maximum(moved, lost)


def _power_of_two(most: Array) -> Array:
    """The largest one that is not larger, of most >= 1.

    By its bits, since compiled exp2 and log2 round.
    """
    leading_zeros = jax.lax.clz(most.astype(jnp.int32))
    return jnp.left_shift(jnp.int32(1), 31 - leading_zeros)


def _where(condition: Array, yes: Carry, no: Carry) -> Carry:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _differ(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """Whether the rule's own state has changed; such points are saved too."""
    changes = [jnp.any(before[name] != after[name]) for name in before]
    return jnp.any(jnp.array(changes, bool))


def _broken(carry: Carry) -> Array:
    """Whether a member cannot go on."""
    finite = jnp.all(jnp.isfinite(carry["walker"].theta))
    return ~finite | (carry["failing"] > REFUSED)


def finished(carry: Carry, limits: Limits) -> Array:
    """Whether a member has met a criterion or cannot go on."""
    loss = carry["loss"]
    met = (
        (carry["walker"].time >= limits["flow_time"])
        | (carry["steps"] >= limits["steps"])
        | (loss <= limits["loss"])
        | (carry["gradient_norm"] <= limits["gradient_norm"])
    )
    diverged = ~jnp.isfinite(loss) | (jnp.abs(loss) > carry["largest_loss"])
    return met | diverged | _broken(carry)
