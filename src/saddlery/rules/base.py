"""What every rule is: a way to move a `Walker`."""

from __future__ import annotations

import copy
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..basis.checks import settle, unpacked
from ..basis.families import Family

# (theta (P,), key) -> dL/dtheta (P,), on a batch drawn with the key
Gradient = Callable[[Array, Array], Array]
RULES: Family[type[Rule]] = Family("rule")


class Matrices(Protocol):
    """A stack of weight matrices y = x W within the flat vector (P,).

    stack: how many matrices, of how many inputs and outputs.
    take: theta (P,) -> the matrices (M, I, O).
    put: theta (P,) and such matrices -> theta with these in place of its own.
    """

    @property
    def stack(self) -> tuple[int, int, int]: ...

    def take(self, theta: Array) -> Array: ...

    def put(self, theta: Array, stack: Array) -> Array: ...


class Units(Protocol):
    """The units of a single sum.

    index (N, d): where they lie in the flat vector (P,).
    order: the degree in all their weights.
    smooth: whether they have no kinks.
    alike: whether all are of one kind, so that near silence they have one
        Hessian.
    """

    @property
    def index(self) -> tuple[tuple[int, ...], ...]: ...

    @property
    def order(self) -> int: ...

    @property
    def smooth(self) -> bool: ...

    @property
    def alike(self) -> bool: ...


class Parts(Protocol):
    """What a rule may ask about the weights.

    Their matrices, their units and the natural size of one unit.
    """

    @property
    def matrices(self) -> Iterable[Matrices]: ...

    @property
    def units(self) -> Units: ...

    @property
    def unit_size(self) -> float: ...


class Walker(NamedTuple):
    """Where a run stands.

    theta (P,): the weights.
    time: flow time.
    gradient (P,): the latest one the rule computed, at theta (flow) or one step
        before (descent).
    inner: what the rule remembers.
    """

    theta: Float[Array, " P"]
    time: Float[Array, ""]
    gradient: Float[Array, " P"]
    inner: Any


class Rule(ABC):
    """Base of all rules: a frozen dataclass with a `kind`, a `start` and an `advance`.

    batch: samples drawn for one step (with replacement), 0 for all of them.
    rotates: whether a step commutes with every rotation of the weights, so that
        units linear in u may be trained in their span (see `spans`).
    together: how many runs are stepped side by side at most; 1 where a step takes
        one of several ways by its state, since side by side all would take all of
        them.
    numbers: fields that enter a step as plain numbers, such as the learning rate:
        rules that differ in those alone share one compiled program, in which JAX,
        not Python, computes with them.

    A rule of one's own is such a class with a `kind` of its own; named kinds are
    found by `make`, and in experiments.

    Example
    -------
    Of weights theta (P,), a step halves what is left to go on 1/2 |theta|^2:

    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from saddlery.rules import Rule, Walker
    >>> @dataclass(frozen=True)
    ... class Halving(Rule):
    ...     def start(self, theta, gradient, key):
    ...         return Walker(theta, jnp.zeros(()), gradient(theta, key), ())
    ...
    ...     def advance(self, walker, gradient, key, horizon):
    ...         slope = gradient(walker.theta, key)
    ...         theta = walker.theta - 0.5 * slope
    ...         return Walker(theta, walker.time + 0.5, slope, ()), True
    >>> bowl, key = lambda theta, key: theta, jax.random.key(0)
    >>> walker = Halving().start(jnp.array([8.0]), bowl, key)
    >>> walker, kept = Halving().advance(walker, bowl, key, jnp.inf)
    >>> walker.theta.tolist(), kept
    ([4.0], True)
    """

    kind: ClassVar[str] = ""
    rotates: ClassVar[bool] = False
    together: ClassVar[int] = 64
    numbers: ClassVar[tuple[str, ...]] = ()
    batch: int = 0

    @property
    def refusal(self) -> str:
        """Why a run ends whose rule keeps no step, in words."""
        return "the error control refused 60 steps in a row (loosen it)"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("kind"):
            RULES.add(cls.kind, cls)

    def __post_init__(self) -> None:
        settle(self)

    def bound(self, parts: Parts) -> Rule:
        """The rule for these weights; itself where it treats all weights alike."""
        return self

    @property
    def values(self) -> dict[str, float]:
        """The rule's `numbers`, by name."""
        return {name: getattr(self, name) for name in self.numbers}

    def given(self, values: Mapping[str, Any]) -> Rule:
        """The rule with other numbers, unchecked: in a compiled program they are
        not known yet."""
        made = copy.copy(self)
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    @property
    def program(self) -> Rule:
        """The rule that stands for all those that share a compiled program."""
        return self.given(dict.fromkeys(self.values, 0.0))

    def observe(self, walker: Walker) -> Mapping[str, Array]:
        """What a record should keep of the rule's own state, beside the weights."""
        return {}

    @abstractmethod
    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        """The walker before the first step, from weights theta (P,)."""

    @abstractmethod
    def advance(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
    ) -> tuple[Walker, Bool[Array, ""]]:
        """One attempted step; False where it was rejected (the walker then waits).

        gradient: (theta (P,), key) -> dL/dtheta (P,).
        key: of the batch that is drawn.
        horizon: the flow time at which the run ends.

        An adaptive flow never goes past flow time `horizon`; a rule of fixed
        steps takes the last one whole, and so ends less than a step behind it.
        """

    def stride(
        self,
        walker: Walker,
        gradient: Gradient,
        draw: Callable[[Any], Array],
        horizon: Array,
        most: Array,
        longest: Array,
    ) -> tuple[Walker, Array]:
        """Up to `most` steps between two looks of the driver, and how many were
        kept: one attempt, unless a rule says more.

        draw: k -> the key of the k-th of these steps.
        longest: the largest `most` of all runs stepped side by side.
        """
        walker, kept = self.advance(walker, gradient, draw(0), horizon)
        return walker, jnp.asarray(kept, jnp.int32)

    def length(self, flow_time: float, steps: float) -> float:
        """The steps of a run that ends after so much flow time or so many steps.

        Infinite where nobody knows beforehand.
        """
        return math.inf

    def pace(self, length: float) -> int:
        """The most steps between two looks at a run of so many."""
        return 1

    def options(self) -> dict[str, Any]:
        """The kind and every field, as in an experiment file."""
        options: dict[str, Any] = {"kind": self.kind}
        fields = dataclasses.asdict(self)  # type: ignore[call-overload]
        for name, value in fields.items():
            options[name] = unpacked(value)
        return options
