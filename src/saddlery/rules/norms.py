"""Sizes of arrays whose squares the numbers of their type may not hold.

float32 ends at 1e-38, so that |g|^2 is nothing for a gradient of 1e-20, which is usual
beside a saddle. An array is measured by a power of two near its largest entry: that
rounds nothing, and where squares are held, norms are to the last bit what they were.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def tiny(dtype: Any) -> float:
    """The smallest normal number of a type, which stands in for a size of zero wherever
    one divides by it."""
    return float(jnp.finfo(dtype).tiny)


def power_of_two(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """The largest power of two that is no larger than max |x|; one where that is zero or
    not finite.

    axis: over which the largest is taken, and which the result keeps; None for all,
        where it keeps none.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.rules.norms import power_of_two
    >>> float(power_of_two(jnp.array([3.0, -5.0]))), float(power_of_two(jnp.zeros(2)))
    (4.0, 1.0)
    """
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=axis is not None, initial=0.0)
    mantissa, _ = jnp.frexp(largest)  # from 1/2 to 1
    has_size = (largest > 0) & jnp.isfinite(largest)
    return jnp.where(has_size, largest / (2 * mantissa), 1.0)


def of_order_one(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """x over its power of two: max |x| from 1 to 2, or zero."""
    return x / power_of_two(x, axis)


def norm(x: Array, axis: int | None = None) -> Array:
    """The 2-norm |x|, of all numbers or along an axis.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.rules.norms import norm
    >>> x = jnp.array([3e-30, 4e-30], jnp.float32)
    >>> print(f"{jnp.linalg.norm(x):.0e} {norm(x):.0e}")
    0e+00 5e-30
    """
    power = power_of_two(x, axis)
    length = jnp.linalg.norm(x / power, axis=axis)
    return length * (power if axis is None else jnp.squeeze(power, axis))
