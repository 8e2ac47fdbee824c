"""What can be said of a run before it begins: how large the numbers are, how
fast the fastest direction moves, how many steps.

An explicit solver takes steps as short as the fastest direction allows,
r = max |eigenvalue of the Hessian|: some r T of them in a flow time T, however
little happens. Inputs of size s make r of order s^2 near a fit and s at small
weights, so that data which are not standardised cost steps, not accuracy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError
from ..networks import Objective
from ..rules import GradientDescent, GradientFlow, Momentum, Rule
from ..training import Stop

# Explicit Runge-Kutta pairs of order 5 become unstable where step times rate is larger
# than this (dopri8: 6).
REACH = 3.3
# Where a bound foretells more steps than this it is worth 20 products with the Hessian
# to know better.
LOOK = 1e6
# A run that will take more steps says so: minutes of a small network at 10 to 100
# microseconds a step.
LONG = 1e7
ENDLESS = 1e9  # a run that would take more steps is not begun: hours to days
USUAL = (1e-3, 1e3)  # inputs and targets whose root mean square lies within need no remark
PRODUCTS = 20  # steps of the power iteration: the largest eigenvalue to a few percent
ADVICE = "standardise the inputs (subtract the mean, divide by the standard deviation)"


@dataclass(frozen=True)
class Sizes:
    """Root mean squares of data.

    inputs, targets: of one entry.
    norm: of the length of a whole input.
    output: of the length of a whole target.
    """

    inputs: float
    targets: float
    norm: float
    output: float


@functools.lru_cache(maxsize=8)  # an ensemble asks for the same data again and again
def sizes(objective: Objective) -> Sizes:
    """How large inputs and targets are.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.experiments.foresight import sizes
    >>> found = sizes(Experiment.named("linear").objective())
    >>> round(found.inputs, 3), round(found.norm, 3)
    (1.0, 1.414)
    """
    inputs = _rows(objective.inputs)
    targets = _rows(objective.targets)
    norm = _rms(inputs) * float(np.sqrt(inputs.shape[1]))
    return Sizes(
        _rms(inputs),
        _rms(targets),
        norm=norm,
        output=objective.target_scale,
    )


def _rows(samples: np.ndarray) -> np.ndarray:
    """Samples of any shape as |entries|, a row each."""
    return np.abs(np.asarray(samples, float)).reshape(len(samples), -1)


def _rms(values: np.ndarray) -> float:
    """The root mean square, of numbers whose squares overflow too."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0:
        return 0.0
    return largest * float(np.sqrt(np.mean((values / largest) ** 2)))


def rate(objective: Objective, start: Float[np.ndarray, " P"]) -> float:
    """The largest |eigenvalue| of the Hessian at the initial weights
    (P,), 1/flow time.

    From below, by power iteration. Cost: 20 products with the Hessian.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.experiments.foresight import rate
    >>> linear = Experiment.named("linear")  # it learns modes of 1.0 and 0.4
    >>> round(rate(linear.objective(), linear.initial_state()), 2)
    1.0
    """
    direction = np.random.default_rng(0).standard_normal(len(start))
    size = float(np.linalg.norm(direction))
    for _ in range(PRODUCTS):
        if not 0 < size < np.inf:
            return size
        image = objective.hessian_vector(start, direction / size)
        direction = np.asarray(image, float)
        size = float(np.linalg.norm(direction))
    return size


def foretold(
    objective: Objective,
    start: Float[np.ndarray, " P"],
    rule: Rule,
    stop: Stop,
) -> tuple[str, ...]:
    """Sentences on what a run will meet, for its record and for whoever waits
    for it; none where it is as usual.

    start (P,): the initial weights.

    Raises InputError where the loss of the initial weights is not finite, or
    an explicit flow would take more than 10^9 steps: with the sizes, the
    rate, and what to do.
    Cost: a pass over the samples, and 20 products with the Hessian where a
    bound on the rate gives cause.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.experiments.foresight import foretold
    >>> from saddlery.rules import GradientDescent
    >>> linear = Experiment.named("linear")
    >>> objective, start = linear.objective(), linear.initial_state()
    >>> foretold(objective, start, GradientDescent(0.1), linear.stop)
    ()
    >>> (sentence,) = foretold(objective, start, GradientDescent(5.0), linear.stop)
    >>> print(sentence)
    at the initial weights the largest curvature is 1, where steps of descent are stable
    up to a learning rate of 2; this one is 5
    """
    found, weights = sizes(objective), _rms(start)
    said = _unusual(found)
    # The rate at small weights, and what these weights add to it.
    with np.errstate(over="ignore", invalid="ignore"):
        of_weights = np.float64(found.norm * weights) ** 2 * len(start)
        bound = float(found.norm * found.output + of_weights)
    if not bound < np.inf:
        _demand_finite(objective, start, found)
    descent = isinstance(rule, (GradientDescent, Momentum))
    if descent and bound * rule.learning_rate > 2:
        _demand_finite(objective, start, found)
        return (*said, *_too_long_steps(rule, rate(objective, start)))
    explicit = isinstance(rule, GradientFlow) and rule.solver != "kvaerno5"
    if explicit and bound * (stop.flow_time or 0) > LOOK * REACH:
        _demand_finite(objective, start, found)
        fastest = rate(objective, start)
        return (*said, *_too_many_steps(found, weights, fastest, stop))
    return tuple(said)


def _unusual(found: Sizes) -> list[str]:
    """What data are much larger or smaller than one."""
    said = []
    least, most = USUAL
    for what, size in (("inputs", found.inputs), ("targets", found.targets)):
        if size and not least <= size <= most:
            advice = ADVICE.replace("inputs", what)
            said.append(f"{what} are of size {size:.2g} (root mean square); {advice}")
    if not found.targets:
        said.append("all targets are zero, so that nothing is to be learned")
    return said


def _demand_finite(
    objective: Objective,
    start: np.ndarray,
    found: Sizes,
) -> None:
    loss = float(objective.loss(start))
    slope = np.asarray(objective.gradient(start))
    if np.isfinite(loss) and bool(np.all(np.isfinite(slope))):
        return
    given = f"{loss:.3g} with weights of size {_rms(start):.2g} on inputs of size"
    raise InputError(
        "the loss and its gradient at the initial weights must be finite, got"
        f" {given} {found.inputs:.2g};"
        " lower the scale of the initialization, or standardise"
    )


def _too_many_steps(
    found: Sizes,
    weights: float,
    fastest: float,
    stop: Stop,
) -> tuple[str, ...]:
    """Of an explicit flow: what its first curvature makes of its flow time."""
    count = fastest * (stop.flow_time or 0.0) / REACH
    if count < LONG:
        return ()
    taken = min(count, float(stop.steps or np.inf))
    of_size = f"inputs of size {found.inputs:.2g}, targets of {found.targets:.2g}"
    words = (
        f"at the initial weights the fastest direction moves at rate {fastest:.2g} ({of_size},"
        f" weights of {weights:.2g}), so that a flow time of {stop.flow_time:.3g} takes about"
        f" {count:.1g} steps of an explicit solver"
    )
    if taken > ENDLESS:
        remedy = f"{ADVICE}, shorten flow_time, or give [stop] steps"
        raise InputError(f"{words}, more than {ENDLESS:.0e}; {remedy}")
    return (f"{words}; {ADVICE} or shorten flow_time",)


def _too_long_steps(rule: Rule, fastest: float) -> tuple[str, ...]:
    """Of descent: steps longer than the first curvature allows, 2 / c, or 2
    (1 + beta) / c with momentum beta."""
    learning_rate = float(rule.values["learning_rate"])
    most = 2 * (1 + float(rule.values.get("momentum", 0.0)))
    if learning_rate * fastest <= most:
        return ()
    stable = f"steps of descent are stable up to a learning rate of {most / fastest:.2g}"
    return (
        f"at the initial weights the largest curvature is {fastest:.2g}, where {stable};"
        f" this one is {learning_rate:.2g}",
    )
