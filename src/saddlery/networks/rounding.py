"""Rounding: how far the last digits of what was given move a number that was
computed from it.

For a sum Q = sum_n a_n b_n of data the rounding of the data alone moves Q by up
to eps sum_n |a_n b_n|, however exactly it is added up. For any Q that is sum_z |z
dQ/dz| over all numbers z it was computed from (samples and weights): its *sway*,
one backward pass. One model for curvatures, utilities, correlations and falls of
the loss:

    |Q| <= eps sway                     zero: nothing that the data could tell from it
    eps sway < |Q| <= margin eps sway   undecided to rounding: neither zero nor a sign
    margin eps sway < |Q|               decided

Sums over samples are taken exactly (math.fsum) where a decision is that close:
what is left is the rounding of each term, which is of the size of the data's own,
so that more digits would decide nothing. Source: Higham (2002), Accuracy and
Stability of Numerical Algorithms, sections 1.5 and 4.2.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..basis.precision import in_float64
from ..basis.tolerances import Tolerances, chosen
from .objectives import MeanLoss, Objective, Samples

EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class RoundingTolerances(Tolerances, decides="rounding"):
    """From when on a number is more than its own rounding."""

    margin: float = chosen(
        16.0,
        "a number whose sign is certain, of what the rounding of the data moves it by",
        "a judgement: about a dozen operations behind a term round once each; sums are exact",
    )


# A fall is computed so often at weights moved by their last digit.
TRIES = 4


@dataclass(frozen=True)
class Rounded:
    """A number and how far rounding moves it.

    sway: sum |z dQ/dz| over all numbers z it was computed from.

    Example
    -------
    1 - (1 - 1e-15), each given to float64's last digit, is known to be above zero
    up to rounding, and no more:

    >>> from saddlery.networks.rounding import Rounded
    >>> difference = Rounded(value=1e-15, sway=2.0)
    >>> difference.zero, difference.decided
    (False, False)
    """

    value: float
    sway: float

    @property
    def least(self) -> float:
        """What the rounding of the data alone explains."""
        return EPS * self.sway

    @property
    def bound(self) -> float:
        """What all rounding may explain; beyond it the sign is certain."""
        return RoundingTolerances.now().margin * EPS * self.sway

    @property
    def zero(self) -> bool:
        return abs(self.value) <= self.least

    @property
    def decided(self) -> bool:
        return abs(self.value) > self.bound

    def __str__(self) -> str:
        return f"{self.value:.3g} where rounding explains {self.bound:.1g}"


def exact_mean(terms: Float[np.ndarray, " N"]) -> float:
    """The mean of the terms, their sum rounded once; infinite where numbers end
    before the sum does, as far from any fall.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks.rounding import exact_mean
    >>> terms = np.array([1e17, 1.0, -1e17])
    >>> float(np.mean(terms)), exact_mean(terms) == 1 / 3
    (0.0, True)
    """
    # fsum raises for a sum beyond 1e308, and for infinities of both signs.
    try:
        return math.fsum(terms) / len(terms)
    except (OverflowError, ValueError):
        return math.inf


def sway(
    value: Any,
    theta: Any,
    samples: Samples,
    sizes: tuple[Any, Any],
) -> Any:
    """sum |z dQ/dz| of Q = value(theta, samples), z the weights, inputs and targets.

    theta (P,), samples: where Q is taken, in JAX's numbers.
    sizes: of inputs (N, ...) and of targets (N, ...), as of `sizes_of`.

    Cost: one backward pass.
    """
    of_inputs, of_targets = sizes
    slopes = jax.grad(value, argnums=(0, 1))
    by_theta, (by_inputs, by_targets, _) = slopes(theta, samples)
    weights = jnp.sum(jnp.abs(by_theta * theta))
    inputs = jnp.sum(jnp.abs(by_inputs) * of_inputs)
    targets = jnp.sum(jnp.abs(by_targets) * of_targets)
    return weights + inputs + targets


def sizes_of(objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """What the rounding of inputs (N, ...) and targets (N, ...) is relative to:
    themselves, or, for equivalent samples, the sums of absolute values behind the
    moments they stand for, which cancel."""
    inputs, targets = np.abs(objective.inputs), np.abs(objective.targets)
    if objective.doubt is not None:
        targets = np.maximum(targets, objective.doubt)
    return inputs, targets


@in_float64
def curvatures(
    objective: Objective,
    theta: Float[np.ndarray, " P"],
    directions: Float[np.ndarray, "K P"],
) -> list[Rounded]:
    """d'Hd along each direction d, with its sway; summed exactly over samples.

    H is the Hessian of the mean loss at theta. Cost: some ten gradients each.
    """
    terms, sways = _curvatures(
        objective.function,
        jnp.asarray(theta),
        directions=jnp.asarray(directions),
        samples=objective.samples,
        sizes=sizes_of(objective),
    )
    found = []
    for row, moved in zip(np.asarray(terms), np.asarray(sways), strict=True):
        found.append(Rounded(exact_mean(row), float(moved)))
    return found


@functools.partial(jax.jit, static_argnums=0)
def _curvatures(
    function: MeanLoss,
    theta: Any,
    directions: Any,
    samples: Samples,
    sizes: tuple[Any, Any],
) -> tuple[Any, Any]:
    """Of every direction the terms of d'Hd, one a sample (K, N), and their mean's
    sway (K,)."""
    loss = jax.vmap(function.loss.function)

    def terms(theta: Any, samples: Samples, d: Any) -> Any:
        inputs, targets, _ = samples
        losses = lambda t: loss(targets, function.predict(t, inputs))
        slope = lambda t: jax.jvp(losses, (t,), (d,))[1]
        return jax.jvp(slope, (theta,), (d,))[1]

    def one(d: Any) -> tuple[Any, Any]:
        value = lambda t, s: jnp.mean(terms(t, s, d))
        return terms(theta, samples, d), sway(value, theta, samples, sizes)

    return jax.lax.map(one, directions)


@dataclass(frozen=True, eq=False)
class Change:
    """L(x) - L(point) as a function of x (P,), without the cancellation of two
    losses, and its noise.

    For a quadratic loss it is c mean (f - y).D + c |D|^2 / 2 with D the change of
    the map, which is exact to a few eps of the terms where the loss itself is
    exact to eps L only: falls far below eps L are seen.
    """

    objective: Objective
    point: Float[np.ndarray, " P"]
    _seen: dict[str, np.ndarray] = field(default_factory=dict)

    @in_float64
    def __call__(self, x: Float[np.ndarray, " P"]) -> float:
        return exact_mean(self._terms(x))

    @in_float64
    def noise(self, x: Float[np.ndarray, " P"]) -> float:
        """How far rounding moves the change: that of the data as above, that of
        the arithmetic by trying."""
        rng = np.random.default_rng(0)
        found = []
        for _ in range(TRIES):
            signs = rng.choice([-1.0, 1.0], x.shape)
            found.append(self(x * (1 + EPS * signs)))
        arithmetic = float(np.ptp([self(x), *found]))
        moved = _sway_of_change(
            self.objective.function,
            jnp.asarray(x),
            point=jnp.asarray(self.point),
            samples=self.objective.samples,
            sizes=sizes_of(self.objective),
        )
        return RoundingTolerances.now().margin * (arithmetic + EPS * float(moved))

    def _terms(self, x: np.ndarray) -> np.ndarray:
        """Whose mean is the change, one a sample, (N,)."""
        objective = self.objective
        loss = objective.function.loss
        if not loss.quadratic:
            return _losses(objective, x) - _losses(objective, self.point)
        residual = self._base - objective.targets
        gap = self._map(x) - self._base
        with np.errstate(over="ignore", invalid="ignore"):  # far points of a search
            terms = residual * gap + 0.5 * gap**2
        terms *= loss.factor(objective.targets.shape[1:])
        return terms.reshape(len(terms), -1).sum(axis=1)

    @property
    def _base(self) -> np.ndarray:
        """The map of the point, computed once."""
        if "base" not in self._seen:
            self._seen["base"] = self._map(self.point)
        return self._seen["base"]

    def _map(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.objective.predictions(x))


@functools.partial(jax.jit, static_argnums=0)
def _sway_of_change(
    function: MeanLoss,
    x: Any,
    point: Any,
    samples: Samples,
    sizes: tuple[Any, Any],
) -> Any:
    """`sway` of L(x) - L(point), of which `point` is not rounded."""
    change = lambda t, s: function(t, s) - function(point, s)
    return sway(change, x, samples, sizes)


def _losses(objective: Objective, x: np.ndarray) -> np.ndarray:
    """Of every sample, (N,)."""
    loss = jax.vmap(objective.function.loss.function)
    targets = jnp.asarray(objective.targets)
    return np.asarray(loss(targets, objective.predictions(x)))
