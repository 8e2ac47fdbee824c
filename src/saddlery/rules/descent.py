"""Rules of fixed steps on all weights alike: descent, momentum and Adam through optax, sign and
normalised descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..basis.checks import positive, share, whole
from .base import Gradient, Rule, Walker

PACE, LOOKS = 16, 500  # steps between two looks at most; looks at a run at least


@dataclass(frozen=True)
class Descent(Rule):
    """theta <- theta - update; flow time is the learning rate times the steps: the last may end
    past a horizon.

    A rule with an update of its own (`transformation`, `on_matrices`) has those `numbers` that it
    names itself: none, if it names none, so that it may use its learning rate in any way.
    """

    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    learning_rate: float = 1e-2
    batch: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if {"transformation", "on_matrices"} & set(vars(cls)) and "numbers" not in vars(cls):
            cls.numbers = ()

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate")
        super().__post_init__()
        whole(self.batch, "batch", 0, "0 takes all samples")

    def transformation(self) -> optax.GradientTransformation:
        return optax.sgd(self.learning_rate)

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        return Walker(
            theta,
            jnp.zeros((), theta.dtype),
            jnp.zeros_like(theta),
            {"steps": jnp.zeros((), jnp.int32), "optimizer": self.transformation().init(theta)},
        )

    def advance(
        self, walker: Walker, gradient: Gradient, key: Array, horizon: Array
    ) -> tuple[Walker, Array]:
        one = jnp.ones((), jnp.int32)
        moved, count = self.stride(walker, gradient, lambda _: key, horizon, one, one)
        return moved, count > 0

    def stride(
        self,
        walker: Walker,
        gradient: Gradient,
        draw: Callable[[Any], Array],
        horizon: Array,
        most: Array,
        longest: Array,
    ) -> tuple[Walker, Array]:
        """`most` steps, but none beyond the horizon; the clock is set once."""
        first = walker.inner["steps"]
        last = jnp.ceil(horizon / self.learning_rate * (1 - 8 * jnp.finfo(walker.time.dtype).eps))
        count = jnp.clip(last - first, 0, most).astype(jnp.int32)

        def one(k: Array, state: tuple) -> tuple:
            theta, optimizer, _ = state
            moved = self._step(theta, optimizer, gradient, draw(k))
            return jax.tree.map(lambda old, new: jnp.where(k < count, new, old), state, moved)

        state = (walker.theta, walker.inner["optimizer"], walker.gradient)
        theta, optimizer, slope = jax.lax.fori_loop(0, longest, one, state)
        return self._arrived(walker, theta, optimizer, slope, first + count, horizon), count

    def length(self, flow_time: float, steps: float) -> float:
        return min(steps, flow_time / self.learning_rate)

    def pace(self, length: float) -> int:
        """Sixteen, or fewer where a run is so short that it would be looked at less than five
        hundred times."""
        return int(min(PACE, max(1, length // LOOKS)))

    def _step(
        self, theta: Array, optimizer: Any, gradient: Gradient, key: Array
    ) -> tuple[Array, Any, Array]:
        slope = gradient(theta, key)
        update, optimizer = self.transformation().update(slope, optimizer, theta)
        return jnp.asarray(optax.apply_updates(theta, update)), optimizer, slope

    def _arrived(
        self,
        walker: Walker,
        theta: Array,
        optimizer: Any,
        slope: Array,
        steps: Array,
        horizon: Array,
    ) -> Walker:
        time = (steps * self.learning_rate).astype(
            walker.time.dtype
        )  # a running sum would drift by rounding
        close = jnp.abs(time - horizon) <= 8 * jnp.finfo(time.dtype).eps * time
        return Walker(
            theta, jnp.where(close, horizon, time), slope, {"steps": steps, "optimizer": optimizer}
        )


@dataclass(frozen=True)
class GradientDescent(Descent):
    """Full-batch gradient descent, or stochastic gradient descent where `batch` is given; one step
    is `learning_rate` of flow time."""

    kind: ClassVar[str] = "descent"
    rotates: ClassVar[bool] = True


@dataclass(frozen=True)
class Momentum(Descent):
    """Heavy-ball momentum m <- beta m + g, theta <- theta - eta m (optax.sgd); flow time counts eta
    a step."""

    kind: ClassVar[str] = "momentum"
    rotates: ClassVar[bool] = True
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate", "momentum")
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.momentum, "momentum")

    def transformation(self) -> optax.GradientTransformation:
        return optax.sgd(self.learning_rate, momentum=self.momentum)


@dataclass(frozen=True)
class Adam(Descent):
    """Adam (Kingma & Ba 2015) with optax's defaults for epsilon; flow time counts the learning rate
    a step."""

    kind: ClassVar[str] = "adam"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate", "first", "second")
    learning_rate: float = 1e-3
    first: float = 0.9
    second: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("first", self.first), ("second", self.second)):
            share(value, name, "a decay of at least 0 and below 1")

    def transformation(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, self.first, self.second)


@dataclass(frozen=True)
class SignDescent(Descent):
    """theta <- theta - eta sign(g), each weight at the same pace; sign(0) = 0."""

    kind: ClassVar[str] = "sign"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    learning_rate: float = 1e-3

    def transformation(self) -> optax.GradientTransformation:
        return stateless(lambda g: -self.learning_rate * jnp.sign(g))


@dataclass(frozen=True)
class NormalisedDescent(Descent):
    """theta <- theta - eta g / |g|, the 2-norm over all weights, so that a step has length eta."""

    kind: ClassVar[str] = "normalised"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    rotates: ClassVar[bool] = True
    learning_rate: float = 1e-3

    def transformation(self) -> optax.GradientTransformation:
        return stateless(
            lambda g: -self.learning_rate * g / jnp.maximum(jnp.linalg.norm(g), tiny(g))
        )


def stateless(function: Callable[[Any], Any]) -> optax.GradientTransformation:
    return optax.stateless(lambda g, _: jax.tree.map(function, g))


def tiny(g: Array) -> float:
    return float(jnp.finfo(g.dtype).tiny)
