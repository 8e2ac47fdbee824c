"""Rules of one's own that do not do what rules do: one sentence each, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from registries import kept
from saddlery import Experiment, train
from saddlery.basis.checks import InputError
from saddlery.rules import RULES, GradientDescent
from saddlery.rules.base import Rule, Walker
from saddlery.rules.checking import check_rule
from saddlery.training import Stop


@dataclass(frozen=True)
class Plain(Rule):
    """Descent, written anew from the base, which tests spoil."""

    learning_rate: float = 0.1
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def start(self, theta, gradient, key):
        zero = jnp.zeros((), theta.dtype)
        return Walker(theta=theta, time=zero, gradient=gradient(theta, key), inner={"seen": zero})

    def advance(self, walker, gradient, key, horizon):
        slope = gradient(walker.theta, key)
        step = self.learning_rate * slope
        after = Walker(
            theta=walker.theta - step,
            time=walker.time + self.learning_rate,
            gradient=slope,
            inner={"seen": walker.inner["seen"] + 1},
        )
        return after, jnp.array(True)


def advancing(change):
    """A rule whose step is changed: (walker before, after, kept) -> answer."""

    class Changed(Plain):
        kind = "changed"

        def advance(self, walker, gradient, key, horizon):
            return change(walker, *super().advance(walker, gradient, key, horizon))

    return Changed


def branching(walker, after, kept):
    return (after, kept) if after.theta[0] > 0 else (walker, kept)


SPOILED = [
    (lambda w, after, kept: (after._replace(time=w.time), kept), r"advance the flow time .*, got time 0 .* would never end"),
    (lambda w, after, kept: after, r"must give back from advance a walker and whether .*, got Walker"),
    (lambda w, after, kept: (after, 1), r"whether the step was kept, got shape \(\) and int"),
    (lambda w, after, kept: (after.theta, kept), r"must give back from advance a Walker, got"),
    (lambda w, after, kept: (after._replace(theta=after.theta[:2]), kept), r"a theta of shape \(3,\) .*, got shape \(2,\)"),
    (lambda w, after, kept: (after._replace(time=jnp.zeros(3)), kept), r"a time of shape \(\) and float64, got shape \(3,\)"),
    (lambda w, after, kept: (after._replace(theta=after.theta.astype("float32")), kept), r"got shape \(3,\) and float32"),
    (lambda w, after, kept: (after._replace(gradient=None), kept), r"a gradient of shape \(3,\) and float64, got"),
    (lambda w, after, kept: (after._replace(inner={}), kept), r"keep the shapes of what it remembers in advance"),
    (lambda w, after, kept: (after._replace(theta=after.theta * np.nan), kept), r"finite weights from advance"),
    (lambda w, after, kept: w.nothing, r"ends without an error, got AttributeError: 'Walker' object has no attribute 'nothing'"),
    (branching, r"traced by JAX, ends without an error, got TracerBoolConversionError"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), SPOILED)
def test_what_a_step_gives_back(change, words):
    with kept():
        rule = advancing(change)()
        with pytest.raises(InputError, match=words) as caught:
            check_rule(rule, np.ones(3))
    assert str(caught.value).startswith("rule 'changed' must ") and "\n" not in str(caught.value)


STARTS = [
    (lambda w: w.theta, r"must"),
    (lambda w: w._replace(theta=w.theta[:2]), r"from start a theta of shape \(3,\) .*, got shape \(2,\)"),
    (lambda w: w._replace(time=jnp.zeros(3)), r"from start a time of shape \(\) and float64, got shape \(3,\)"),
    (lambda w: w._replace(gradient=None), r"from start a gradient of shape \(3,\)"),
    (lambda w: w._replace(theta=w.theta * np.inf), r"finite weights from start"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), STARTS)
def test_a_start_that_is_none(change, words):
    with kept():

        class Unstarted(Plain):
            kind = "unstarted"

            def start(self, theta, gradient, key):
                return change(super().start(theta, gradient, key))

        with pytest.raises(InputError, match=words) as caught:
            check_rule(Unstarted(), np.ones(3))
    assert str(caught.value).startswith("rule 'unstarted' must ")


def test_a_rule_that_does_is_trained():
    """(c) It is gradient descent."""
    e = Experiment.named("linear").replace(stop=Stop(steps=50))
    with kept():

        class Mine(Plain):
            kind = "mine"

        mine = train(e.replace(rule=Mine(0.05)))
    usual = train(e.replace(rule=GradientDescent(0.05)))
    assert mine.final_loss == pytest.approx(usual.final_loss, rel=1e-12)
    assert "mine" not in RULES


def test_a_clock_that_stands_still_is_not_waited_for():
    e = Experiment.named("linear").replace(stop=Stop(flow_time=5.0))
    with kept():
        still = advancing(lambda w, after, kept: (after._replace(time=w.time), kept))
        with pytest.raises(InputError, match="would never end"):
            train(e.replace(rule=still()))


def test_steps_that_are_refused_say_nothing_of_the_clock():
    with kept():
        refused = advancing(lambda w, after, kept: (w, ~kept))
        check_rule(refused(), np.ones(3))
