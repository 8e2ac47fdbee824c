"""Rules that take every weight matrix as one thing.

Schatten-p and spectral descent, and Muon through optax.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array

from ..basis.checks import InputError, positive, require, share, whole
from .base import Matrices, Parts, Rule
from .descent import Descent, stateless
from .norms import of_order_one, tiny


@dataclass(frozen=True)
class MatrixDescent(Descent):
    """Rules that take every weight matrix as one thing.

    `bound` tells them where the matrices (M, I, O) are: every tensor of a unit is
    one, or a part of that of its layer (see `networks.tensors`).
    """

    learning_rate: float = 1e-3

    def bound(self, parts: Parts) -> Rule:
        return _Bound(
            learning_rate=self.learning_rate,
            batch=self.batch,
            rule=self,
            matrices=tuple(parts.matrices),
        )

    def transformation(self) -> optax.GradientTransformation:
        needed = "the weight matrices: call bound(parts) first"
        raise InputError(f"the rule {self.kind!r} needs to know {needed}")

    @abstractmethod
    def on_matrices(self) -> optax.GradientTransformation:
        """The update of a tuple of stacks (matrices, inputs, outputs)."""


@dataclass(frozen=True)
class _Bound(Descent):
    """A rule, and the matrices it is told; its numbers are the rule's."""

    rule: MatrixDescent | None = None
    matrices: tuple[Matrices, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        assert self.rule is not None
        return self.rule.values

    def given(self, values: Mapping[str, Any]) -> Rule:
        assert self.rule is not None
        own: dict[str, Any] = {"rule": self.rule.given(values)}
        if "learning_rate" in values:
            own["learning_rate"] = values["learning_rate"]
        return super().given(own)

    def transformation(self) -> optax.GradientTransformation:
        assert self.rule is not None
        inner = self.rule.on_matrices()

        def take(theta: Array) -> tuple[Array, ...]:
            return tuple(matrices.take(theta) for matrices in self.matrices)

        def init(theta: Any) -> Any:
            return inner.init(take(theta))

        def update(slope: Any, state: Any, theta: Any = None) -> tuple[Any, Any]:
            stacks: Any
            stacks, state = inner.update(take(slope), state)
            moved = jnp.zeros_like(slope)
            for m, stack in zip(self.matrices, stacks, strict=True):
                moved = m.put(moved, stack)
            return moved, state

        return optax.GradientTransformation(init, update)  # pyright: ignore (names)


@dataclass(frozen=True)
class SchattenDescent(MatrixDescent):
    """Steepest descent of every weight matrix under the Schatten-p norm, at unit norm:

        W <- W - eta D,    D = A diag(s^(q-1)) B' / |s|_q^(q-1),
    with the gradient g = A diag(s) B' (I, O) of each matrix and 1/p + 1/q = 1:
    the step of Schatten-p norm one that lowers the loss most. p = 2: g over its
    Frobenius norm; p to infinity: the polar factor (see `spectral`).

    p: above 1.

    Source: Bernstein & Newhouse (2024), Section 2.

    Example
    -------
    >>> from saddlery.rules import SchattenDescent
    >>> SchattenDescent(learning_rate=0.01, p=3).options()["p"]
    3
    """

    kind: ClassVar[str] = "schatten"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    p: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.p > 1,
            "p",
            needed="above 1",
            given=self.p,
            remedy="2 is normalised descent of each matrix; for infinity use spectral",
        )

    def on_matrices(self) -> optax.GradientTransformation:
        q = self.p / (self.p - 1)

        def dual(s: Array) -> Array:
            """The singular values of the step, of Schatten-p norm one."""
            # At least one, where there is a gradient.
            powers = jnp.maximum(jnp.sum(s**q, axis=-1, keepdims=True), 1.0)
            return s ** (q - 1) / powers ** (1 - 1 / q)

        return stateless(lambda g: -self.learning_rate * _spectral(g, dual))


@dataclass(frozen=True)
class SpectralDescent(MatrixDescent):
    """Exact spectral descent by the polar factor of the gradient of every matrix,

        W <- W - eta A B'    with g = A diag(s) B' (I, O).

    cutoff: singular values below this share of the largest count as zero and do
        not move.

    Source: Carlson et al. (2015); what Muon approximates.

    Example
    -------
    >>> from saddlery.rules import SpectralDescent
    >>> SpectralDescent().options()
    {'kind': 'spectral', 'learning_rate': 0.001, 'batch': 0, 'cutoff': 1e-12}
    """

    kind: ClassVar[str] = "spectral"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    cutoff: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.cutoff, "cutoff")

    def on_matrices(self) -> optax.GradientTransformation:
        def kept(s: Array) -> Array:
            return (s > self.cutoff).astype(s.dtype)

        return stateless(lambda g: -self.learning_rate * _spectral(g, kept))


@dataclass(frozen=True)
class Muon(MatrixDescent):
    """Muon by optax: Nesterov momentum, then Newton-Schulz steps towards the
    polar factor.

    Of every matrix (I, O), without the width factor sqrt(max(1, outputs/inputs))
    and without weight decay, so that it is spectral descent but for the momentum
    and the iteration. The iteration starts from g / |g|: singular values below
    about 1e-3 of that stay small.

    momentum: at least 0 and below 1.
    steps: of Newton-Schulz.

    Source: Jordan et al. (2024).

    Example
    -------
    >>> from saddlery.rules import Muon
    >>> Muon(steps=4).steps
    4
    """

    kind: ClassVar[str] = "muon"
    numbers: ClassVar[tuple[str, ...]] = ("learning_rate",)
    momentum: float = 0.95
    steps: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.momentum, "momentum")
        whole(self.steps, "steps")

    def on_matrices(self) -> optax.GradientTransformation:
        def axes(stacks: Any) -> Any:
            return tuple(optax.contrib.MuonDimensionNumbers(1, 2) for _ in stacks)

        # optax divides by |g|, which needs g of order one, and so the mean before it.
        orthogonal = optax.contrib.scale_by_muon(
            ns_steps=self.steps,
            beta=0.0,
            eps=1e-30,
            weight_dimension_numbers=axes,
        )
        return optax.chain(
            _nesterov(self.momentum),
            stateless(lambda g: of_order_one(g, axis=(1, 2))),
            orthogonal,
            optax.scale(-self.learning_rate),
        )


def _nesterov(beta: float) -> optax.GradientTransformation:
    """The mean of gradients that optax's Muon takes, one step ahead as Nesterov's:

    m <- beta m + (1 - beta) g,
    beta m / (1 - beta^(k+1)) + (1 - beta) g / (1 - beta^k)    at step k = 1, 2, ...
    """

    def init(stacks: Any) -> Any:
        return jnp.zeros((), jnp.int32), optax.tree.zeros_like(stacks)

    def update(g: Any, state: Any, theta: Any = None) -> tuple[Any, Any]:
        count, mean = state
        k = count + 1
        mean = optax.tree.update_moment(g, mean, beta, 1)
        later = optax.tree.bias_correction(mean, beta, k + 1)
        now = optax.tree.bias_correction(g, beta, k)
        ahead = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, later, now)
        return ahead, (k, mean)

    return optax.GradientTransformation(init, update)  # pyright: ignore (names)


def _spectral(g: Array, function: Callable[[Array], Array]) -> Array:
    """A function of the singular values of every matrix of a stack (M, I, O), as shares
    of the largest."""
    a, s, bt = jnp.linalg.svd(g, full_matrices=False)
    largest = jnp.max(s, axis=-1, keepdims=True)
    shares = s / jnp.maximum(largest, tiny(s.dtype))
    return (a * function(shares)[..., None, :]) @ bt
