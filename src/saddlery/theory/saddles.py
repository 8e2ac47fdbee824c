"""The saddles of a two-layer linear network, in closed form, for any data.

With S = E[x x'], C = E[y x'] and W_* = C S^+, the eigenvectors e_k of C S^+ C' (eigenvalues l_1 >=
l_2 >= ... > 0) are the modes. Every critical map is W_A = P_A W_*, with P_A the projection on the
modes of a set A of at most H of them, and
    loss          1/2 (E|y|^2 - sum_{k in A} l_k)
    index         (H - |A|) (r - |A|) + #{(i, j): i in A, j not in A, l_j > l_i},   r the rank of C S^+
    lowest        -|C - W_A S|_2, where H > |A|
at balanced weights, the two layers sharing each mode and no other weight. From small weights the
sets {1..k} are visited where inputs are white; else the order is one of dynamics, by the singular
values of what is left of C.
Source: Baldi & Hornik (1989), Theorem 1 and Fact 4; index and lowest eigenvalue: counted from the
second variation and checked numerically on white and on correlated inputs (Achour, Malgouyres &
Gerchinovitz 2024 classify the saddles).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ..basis.checks import InputError, Words, finite, require, whole
from ..basis.sizes import moment_sizes
from ..basis.values import Value

RANK = 1e-12  # of the largest: eigenvalues and modes below are zero
ROUNDING = 64 * np.finfo(float).eps  # of the target moment: losses below are zero
EQUAL = 1e-9  # of the largest: modes nearer than this are one multiple mode


@dataclass(frozen=True, eq=False)
class LinearSaddle(Value):
    """One critical map of a two-layer linear network of width H.

    modes: the set A, counted from 0 in descending order of l_k. product (O, D): W_A. loss: with the
    half. index: negative eigenvalues of the Hessian at balanced weights. lowest_eigenvalue: of it,
    None where all H units are used (then only exchanges of modes lower the loss). escape: singular
    values of C - W_A S, the rates at which new modes leave it.
    """

    modes: tuple[int, ...]
    product: Float[np.ndarray, "O D"]
    loss: float
    index: int
    lowest_eigenvalue: float | None
    escape: Float[np.ndarray, " K"]


@dataclass(frozen=True, eq=False)
class LinearSaddles(Value):
    """All saddles of a task: strengths (r,), the l_k in descending order; vectors (O, r), the modes
    e_k; width H."""

    strengths: Float[np.ndarray, " r"]
    vectors: Float[np.ndarray, "O r"]
    covariance: Float[np.ndarray, "D D"]
    correlation: Float[np.ndarray, "O D"]
    target: float
    width: int

    def saddle(self, modes: Sequence[int]) -> LinearSaddle:
        """The saddle of a set of modes. Raises InputError for modes that do not exist or more of
        them than units."""
        chosen = tuple(sorted({int(k) for k in modes}))
        rank = len(self.strengths)
        require(len(chosen) == len(modes), "modes", "different from each other", tuple(modes))
        require(
            all(0 <= k < rank for k in chosen),
            "modes",
            f"among the {rank}, counted from 0",
            tuple(modes),
        )
        require(
            len(chosen) <= self.width,
            "modes",
            f"at most as many as units, {self.width}",
            Words(len(chosen)),
        )
        self._refuse_split(chosen)
        e = self.vectors[:, list(chosen)]
        rest = self.correlation - e @ (e.T @ self.correlation)
        left = [k for k in range(rank) if k not in chosen]
        close = EQUAL * self.strengths[0] if rank else 0.0
        exchanges = sum(
            bool(self.strengths[j] > self.strengths[i] + close) for i in chosen for j in left
        )
        escape = np.linalg.svd(rest, compute_uv=False)
        left_over = self.target - float(self.strengths[list(chosen)].sum())
        return LinearSaddle(
            chosen,
            e @ (e.T @ self.correlation) @ pseudo_inverse(self.covariance),
            0.5 * (left_over if abs(left_over) > ROUNDING * self.target else 0.0),
            (self.width - len(chosen)) * len(left) + exchanges,
            -float(escape[0]) if self.width > len(chosen) else None,
            escape,
        )

    def __iter__(self) -> Iterator[LinearSaddle]:
        """Every saddle, by the number of modes; 2^r of them where the width allows it."""
        rank = len(self.strengths)
        for count in range(min(rank, self.width) + 1):
            for modes in combinations(range(rank), count):
                yield self.saddle(modes)

    def _refuse_split(self, chosen: tuple[int, ...]) -> None:
        """A multiple mode has no members of its own: all of it or nothing, or a continuum of
        saddles."""
        for k in chosen:
            same = np.flatnonzero(
                np.abs(self.strengths - self.strengths[k]) <= EQUAL * self.strengths[0]
            )
            if not set(same.tolist()) <= set(chosen):
                raise InputError(
                    f"modes {', '.join(map(str, same))} have one strength,"
                    f" {self.strengths[k]:.6g}, so that a part of them"
                    " is a continuum of saddles; take all of them or none"
                )


def pseudo_inverse(s: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D D"]:
    """S^+ of a positive semi-definite matrix whose rank is judged with every diagonal entry one: no
    input in a small unit of measure is lost beside others."""
    size = moment_sizes(s)
    values, vectors = np.linalg.eigh(0.5 * (s + s.T) / size / size[:, None])
    keep = values > RANK * max(values[-1], 0.0)
    if not keep.any():
        return np.zeros_like(s)
    order, root = np.argsort(-size), size[:, None] * vectors[:, keep] * np.sqrt(values[keep])
    q, r = map(np.asarray, scipy.linalg.qr(root[order], mode="economic", pivoting=True)[:2])
    side = scipy.linalg.solve_triangular(r, q.T)[:, np.argsort(order)]  # S = q r r' q'
    return side.T @ side


def linear_saddles(
    covariance: Float[np.ndarray, "D D"],
    correlation: Float[np.ndarray, "O D"],
    target: float,
    width: int,
) -> LinearSaddles:
    """The saddles of y ~ W2 W1 x with `width` units. covariance: S = E[x x']; correlation: C = E[y
    x']; target: E|y|^2.

    Raises InputError for a covariance that is not positive semi-definite, a correlation outside its
    range, or a target moment below what the best map explains. Cost: one eigendecomposition.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import linear_saddles
    >>> found = linear_saddles(np.eye(2), np.diag([1.0, 0.4]), 1.16, width=50)
    >>> [(s.modes, round(s.loss, 6), s.index) for s in found]
    [((), 0.58, 100), ((0,), 0.08, 49), ((1,), 0.5, 50), ((0, 1), 0.0, 0)]
    """
    s, c = (
        finite(np.asarray(covariance, float), "covariance"),
        finite(np.asarray(correlation, float), "correlation"),
    )
    require(s.ndim == 2 and c.ndim == 2 and s.shape == (c.shape[1], c.shape[1]), "covariance and"
                                                                                 " correlation",
            "of shapes (D, D) and (O, D)", Words(f"{s.shape} and {c.shape}"))  # fmt: skip
    whole(width, "width")
    size = moment_sizes(s)
    even = s / size / size[:, None]
    values = np.linalg.eigvalsh(0.5 * (even + even.T))
    require(values[0] >= -RANK * max(values[-1], 0.0) and np.allclose(even, even.T, rtol=0, atol=1e-12 * np.abs(even).max()),
            "covariance", ("symmetric positive "
                "semi-definite"), Words(f"a lowest eigenvalue of {values[0]:.2e}"))  # fmt: skip
    inverse = pseudo_inverse(s)
    outside = float(np.linalg.norm((c - c @ inverse @ s) / size))
    require(outside <= 1e-9 * max(float(np.linalg.norm(c / size)), 1e-300), "correlation", ("zero where the inputs "
        "are"),
            Words(f"a part of norm {outside:.1e} outside the range of the covariance"))  # fmt: skip
    strengths, vectors = np.linalg.eigh(c @ inverse @ c.T)
    order = np.argsort(-strengths)[: int(np.sum(strengths > RANK * max(strengths[-1], 0.0)))]
    explained = float(strengths[order].sum())
    require(
        target >= explained * (1 - 1e-9),
        "target",
        f"at least {explained:.6g}, what the best map explains",
        target,
    )
    return LinearSaddles(strengths[order], vectors[:, order], s, c, float(target), width)
