"""Flows that slide along kinks: the gradient points at a kink from both sides, and
the flow follows it.

No error-controlled step is long there, so that such a flow is continued by short
steps of fixed length, whose mean velocity is that of the sliding flow and vanishes
where it rests.

Source: Filippov (1988).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .base import Walker
from .norms import norm, tiny

# The flow is looked at after so many steps of fixed length, averaged over their halves.
SLIDE = 128
# These steps are of this length over lambda_max, and move the weights by this share at
# most.
STABLE, SHARE_MOVED = 0.5, 0.1
# Steps of the power iteration for lambda_max.
POWER_ITERATIONS = 12

Slope = Callable[[Array], Array]


def slide(walker: Walker, gradient: Slope) -> Walker:
    """The walker after SLIDE short steps; its gradient is less the mean velocity.

    The mean place over the later half less that over the earlier one has the
    velocity of a sliding flow, whatever the single steps do across the kinks;
    where that vanishes the later mean is the place of rest.

    gradient: theta (P,) -> dL/dtheta (P,).
    """
    length = stable_step(walker.theta, gradient)
    half = SLIDE // 2

    def step(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        theta, total = state
        theta = theta - length * gradient(theta)
        return theta, total + theta / half

    zero = jnp.zeros_like(walker.theta)
    middle, earlier = jax.lax.fori_loop(0, half, step, (walker.theta, zero))
    _, later = jax.lax.fori_loop(0, half, step, (middle, zero))
    velocity = (later - earlier) / (half * length)
    # The middle of the later half.
    time = walker.time + 0.75 * SLIDE * length
    return Walker(later, time, -velocity, walker.inner)


def stable_step(theta: Array, gradient: Slope) -> Array:
    """Half of 1/lambda_max, by power iteration; shorter where that would move the
    weights far."""

    def curved(d: Array) -> Array:
        _, along = jax.jvp(gradient, (theta,), (d,))
        return along

    least = tiny(theta.dtype)
    unit = lambda d: d / jnp.maximum(norm(d), least)
    slope = gradient(theta)
    iterated = lambda _, d: unit(curved(d))
    direction = jax.lax.fori_loop(0, POWER_ITERATIONS, iterated, unit(slope + theta))
    stable = STABLE / jnp.maximum(norm(curved(direction)), least)
    short = SHARE_MOVED * norm(theta) / jnp.maximum(norm(slope), least)
    return jnp.minimum(stable, short)
