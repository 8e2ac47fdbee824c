"""What a rule has to be: whether one of a user's own gives back what the driver takes.

Saddlery's rules are held against oracles of their own by the tests. One from elsewhere is
tried here before a run begins: a clock that stands still would train for ever.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..basis.checks import InputError, answered
from .base import Rule, Walker

ATTEMPTS = 3  # most steps that are tried until one is kept
OURS = __name__.partition(".")[0]
LOOK = "see saddlery/rules/base.py for what they take and give back"


def check_rule(rule: Rule, theta: Float[np.ndarray, " P"]) -> None:
    """Try a rule from weights theta (P,) on the bowl |theta|^2/2, as JAX traces it and in
    numbers; saddlery's own are taken as they are.

    `start` must give a `Walker` of these weights, `advance` one alike whose time has moved
    on if the step was kept, and a bool that says whether it was. Raises InputError with
    what is wrong. Cost: `start` and up to three steps, not compiled.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.rules import GradientDescent
    >>> from saddlery.rules.checking import check_rule
    >>> check_rule(GradientDescent(0.1), np.ones(3))
    """
    if type(rule).__module__.partition(".")[0] == OURS:
        return
    _Tried(rule, theta).check()


class _Tried:
    """A rule and the weights (P,) on which it is tried."""

    def __init__(self, rule: Rule, theta: np.ndarray) -> None:
        self.rule, self.theta = rule, jnp.asarray(theta)
        self.name = f"rule {rule.kind!r}"
        self.key = jax.random.key(0)

    def check(self) -> None:
        self._answer("start or advance, traced by JAX,", self._traced)
        walker = self._answer("start", lambda: self.rule.start(self.theta, _bowl, self.key))
        self._check_walker(walker, "start", walker)
        for _ in range(ATTEMPTS):
            after, kept = self._stepped(walker)
            self._check_walker(after, "advance", walker)
            if kept:
                break
            walker = after
        moved = float(after.time) > float(walker.time)
        self._demand(
            moved or not kept,
            "advance the flow time with every step that is kept",
            f"time {float(after.time):g} after a step from {float(walker.time):g}",
            "a run that waits for its flow time would never end",
        )

    def _traced(self) -> Any:
        """The shapes of a start and a step with the rule's numbers not yet known, as in a
        compiled program."""

        def both(values: dict[str, Array], theta: Array) -> Any:
            rule = self.rule.given(values)
            walker = rule.start(theta, _bowl, self.key)
            return rule.advance(walker, _bowl, self.key, jnp.asarray(1.0, theta.dtype))

        values = {name: jnp.asarray(value) for name, value in self.rule.values.items()}
        return jax.eval_shape(both, values, self.theta)

    def _stepped(self, walker: Walker) -> tuple[Walker, bool]:
        horizon = jnp.asarray(np.inf, self.theta.dtype)
        advance = lambda: self.rule.advance(walker, _bowl, self.key, horizon)
        answer = self._answer("advance", advance)
        pair = isinstance(answer, tuple) and len(answer) == 2 and not isinstance(answer, Walker)
        needed = "give back from advance a walker and whether the step was kept"
        self._demand(pair, needed, type(answer).__name__)
        after, kept = answer
        flag = np.asarray(kept)
        self._demand(flag.shape == () and flag.dtype == bool, needed, _shown(kept))
        return after, bool(flag)

    def _check_walker(self, walker: Any, where: str, first: Walker) -> None:
        """A walker of these weights, whose parts are like those of the first one."""
        known = isinstance(walker, Walker)
        self._demand(known, f"give back from {where} a Walker", type(walker).__name__)
        weights = self.theta
        for name, shape in (("theta", weights.shape), ("gradient", weights.shape), ("time", ())):
            value = getattr(walker, name)
            alike = _like(value) == (shape, weights.dtype)
            needed = f"give back from {where} a {name} of shape {shape} and {weights.dtype}"
            self._demand(alike, needed, _shown(value))
        same = _shapes(walker.inner) == _shapes(first.inner)
        self._demand(same, f"keep the shapes of what it remembers in {where}", "others")
        finite = bool(jnp.all(jnp.isfinite(walker.theta)) & jnp.isfinite(walker.time))
        self._demand(finite, f"give back finite weights from {where}", "some that are not")

    def _demand(self, holds: bool, needed: str, given: str, remedy: str = LOOK) -> None:
        if not holds:
            raise InputError(f"{self.name} must {needed}, got {given}; {remedy}")

    def _answer(self, what: str, question: Any) -> Any:
        """What the rule answers; InputError with what it raised, if it does."""
        needed = f"a rule whose {what} ends without an error"
        return answered(question, self.name, needed, LOOK)


def _bowl(theta: Array, key: Array) -> Array:
    """The gradient of |theta|^2/2."""
    return theta


def _shapes(tree: Any) -> Any:
    """Shape and type of every array, and how they are joined."""
    leaves, joined = jax.tree.flatten(tree)
    return [_like(leaf) for leaf in leaves], joined


def _like(value: Any) -> tuple[Any, Any]:
    """Shape and type of an array or a number; of all else, its class."""
    if isinstance(value, bool | int | float):
        value = np.asarray(value)
    return getattr(value, "shape", type(value)), getattr(value, "dtype", None)


def _shown(value: Any) -> str:
    shape, dtype = _like(value)
    return type(value).__name__ if dtype is None else f"shape {shape} and {dtype}"
