"""Losses of one sample; a run's loss is their mean over samples, plus a constant the network cannot
change.

Scale convention: the squared loss carries the half, 1/2 |y - f|^2, and is summed over outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..basis.checks import known
from ..basis.values import Immutable, demand_travels


@dataclass(frozen=True, eq=False)
class Loss(Immutable):
    """loss(y, f) of one sample, twice differentiable in f. quadratic: whether second moments
    determine it."""

    name: str
    function: Callable[[Array, Array], Array]
    quadratic: bool = False

    def __hash__(self) -> int:
        return hash((self.name, self.function))  # asked for at every call of a compiled program

    def __repr__(self) -> str:
        return f"Loss({self.name})"

    def __reduce__(self) -> tuple[Callable[..., Loss], tuple[object, ...]]:
        """Sent to another process by its name, or by that of its function."""
        if LOSSES.get(self.name) is self:
            return loss_named, (self.name,)
        demand_travels(self.function, f"the function of loss {self.name!r}")
        return Loss, (self.name, self.function, self.quadratic)


def _squared(y: Array, f: Array) -> Array:
    return 0.5 * jnp.sum((y - f) ** 2)


def _cross_entropy(y: Array, f: Array) -> Array:
    return -jnp.sum(y * jax.nn.log_softmax(f))


LOSSES = {
    "squared": Loss("squared", _squared, quadratic=True),
    "cross_entropy": Loss("cross_entropy", _cross_entropy),
}


def loss_named(name: str) -> Loss:
    """The loss called "squared" (1/2 |y - f|^2) or "cross_entropy" (softmax, y a distribution over
    classes)."""
    return LOSSES[known(name, LOSSES, "loss")]
