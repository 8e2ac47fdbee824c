"""Rules of fixed steps on all weights alike.

Descent, momentum and Adam through optax, sign and normalised descent.
"""

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
from .norms import of_order_one

# A run is looked at after so many steps at most, and so often at least.
PACE, FEWEST_LOOKS = 16, 500
# A time no farther from the horizon than so many roundings of the clock is the horizon.
NEAR_HORIZON = 8


@dataclass(frozen=True)
class Descent(Rule):
    """theta <- theta - update, of weights (P,).

    Flow time is the learning rate times the steps: the last may end past a
    horizon.

    `numbers` names the fields that may differ between runs stepped side by side: the
    compiled program is given them as arrays. A rule with an update of its own
    (`transformation`, `on_matrices`) may do with its learning rate what arrays do not
    allow, such as branching on it, and therefore inherits no `numbers`: it names its
    own.
    """

    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    learning_rate: float = 1e-2
    batch: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = set(vars(cls))
        if own & {"transformation", "on_matrices"} and "numbers" not in own:
            cls.numbers = ()

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate")
        super().__post_init__()
        whole(self.batch, "batch", least=0, remedy="0 takes all samples")

    def transformation(self) -> optax.GradientTransformation:
        return optax.sgd(self.learning_rate)

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        optimizer = self.transformation().init(theta)
        return Walker(
            theta=theta,
            time=jnp.zeros((), theta.dtype),
            gradient=jnp.zeros_like(theta),
            inner={"steps": jnp.zeros((), jnp.int32), "optimizer": optimizer},
        )

    def advance(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
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
        rounding = NEAR_HORIZON * jnp.finfo(walker.time.dtype).eps
        last = jnp.ceil(horizon / self.learning_rate * (1 - rounding))
        count = jnp.clip(last - first, 0, most).astype(jnp.int32)

        def one(k: Array, state: tuple) -> tuple:
            theta, optimizer, _ = state
            moved = self._step(theta, optimizer, gradient, draw(k))
            # The longest of all strides side by side goes on; this one is over.
            counted = lambda old, new: jnp.where(k < count, new, old)
            return jax.tree.map(counted, state, moved)

        state = (walker.theta, walker.inner["optimizer"], walker.gradient)
        theta, optimizer, slope = jax.lax.fori_loop(0, longest, one, state)
        steps = first + count
        arrived = Walker(
            theta=theta,
            time=self._clock(steps, horizon, walker.time.dtype),
            gradient=slope,
            inner={"steps": steps, "optimizer": optimizer},
        )
        return arrived, count

    def length(self, flow_time: float, steps: float) -> float:
        return min(steps, flow_time / self.learning_rate)

    def pace(self, length: float) -> int:
        """Sixteen, or fewer where a run is so short that it would be looked at
        too rarely."""
        return int(min(PACE, max(1, length // FEWEST_LOOKS)))

    def _step(
        self,
        theta: Array,
        optimizer: Any,
        gradient: Gradient,
        key: Array,
    ) -> tuple[Array, Any, Array]:
        """theta, the optimizer's state after the step, and the gradient before."""
        slope = gradient(theta, key)
        update, optimizer = self.transformation().update(slope, optimizer, theta)
        theta = jnp.asarray(optax.apply_updates(theta, update))
        return theta, optimizer, slope

    def _clock(self, steps: Array, horizon: Array, dtype: Any) -> Array:
        """Flow time after so many steps; a running sum would drift by rounding."""
        time = (steps * self.learning_rate).astype(dtype)
        close = jnp.abs(time - horizon) <= NEAR_HORIZON * jnp.finfo(dtype).eps * time
        return jnp.where(close, horizon, time)


@dataclass(frozen=True)
class GradientDescent(Descent):
    """theta <- theta - eta g: full-batch gradient descent, or stochastic where
    `batch` is given.

    theta, g (P,): the weights and the gradient of the loss. One step is
    `learning_rate` of flow time.

    Example
    -------
    >>> from saddlery.rules import GradientDescent
    >>> rule = GradientDescent(learning_rate=0.05)
    >>> rule.length(flow_time=10.0, steps=1e6)
    200.0
    """

    kind: ClassVar[str] = "descent"
    rotates: ClassVar[bool] = True


@dataclass(frozen=True)
class Momentum(Descent):
    """Heavy-ball momentum (optax.sgd), all (P,):

        m <- beta m + g,    theta <- theta - eta m.

    momentum: beta, at least 0 and below 1.

    Flow time counts eta a step.

    Source: Polyak (1964).

    Example
    -------
    >>> from saddlery.rules import Momentum
    >>> Momentum(momentum=0.8).options()["momentum"]
    0.8
    """

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
    """Adam of weights (P,) with optax's default for epsilon.

    Flow time counts the learning rate a step.

    first, second: decay of the means of g and g^2, at least 0 and below 1.

    Source: Kingma & Ba (2015), Algorithm 1.

    Example
    -------
    >>> from saddlery.rules import Adam
    >>> Adam().values
    {'learning_rate': 0.001, 'first': 0.9, 'second': 0.999}
    """

    kind: ClassVar[str] = "adam"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate", "first", "second")
    learning_rate: float = 1e-3
    first: float = 0.9
    second: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.first, "first", "a decay of at least 0 and below 1")
        share(self.second, "second", "a decay of at least 0 and below 1")

    def transformation(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, self.first, self.second)


@dataclass(frozen=True)
class SignDescent(Descent):
    """theta <- theta - eta sign(g) of weights (P,), each at the same pace; sign(0) = 0.

    What Adam does without its means. Flow time counts eta a step.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.rules import SignDescent
    >>> update = SignDescent(learning_rate=0.1).transformation().update
    >>> step, _ = update(jnp.array([3.0, -0.01]), ())
    >>> [round(float(entry), 6) for entry in step]
    [-0.1, 0.1]
    """

    kind: ClassVar[str] = "sign"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    learning_rate: float = 1e-3

    def transformation(self) -> optax.GradientTransformation:
        return stateless(lambda g: -self.learning_rate * jnp.sign(g))


@dataclass(frozen=True)
class NormalisedDescent(Descent):
    """theta <- theta - eta g / |g|, the 2-norm over all weights (P,): a step has
    length eta, also on a plateau. Flow time counts eta a step.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.rules import NormalisedDescent
    >>> update = NormalisedDescent(learning_rate=0.1).transformation().update
    >>> step, _ = update(jnp.array([3e-9, 4e-9]), ())
    >>> [round(float(entry), 6) for entry in step]
    [-0.06, -0.08]
    """

    kind: ClassVar[str] = "normalised"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    rotates: ClassVar[bool] = True
    learning_rate: float = 1e-3

    def transformation(self) -> optax.GradientTransformation:
        def update(g: Array) -> Array:
            scaled = of_order_one(g)
            # At least one, where there is a gradient.
            length = jnp.maximum(jnp.linalg.norm(scaled), 1.0)
            return -self.learning_rate * scaled / length

        return stateless(update)


def stateless(function: Callable[[Any], Any]) -> optax.GradientTransformation:
    """The update that is a function of the gradient alone, array by array of any
    shape."""
    return optax.stateless(lambda g, _: jax.tree.map(function, g))
