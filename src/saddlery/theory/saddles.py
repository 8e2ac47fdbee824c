"""The saddles of a two-layer linear network, in closed form, for any data.

With S = E[x x'], C = E[y x'] and W_* = C S^+, the eigenvectors e_k of C S^+ C'
(eigenvalues l_1 >= l_2 >= ... > 0) are the modes, and s_k = sqrt(l_k) their sizes. What is
small or equal is judged of sizes, since that of squares is lost at 1e-8. Every critical map is
W_A = P_A W_*, with P_A the projection on the modes of a set A of at most H of them, and
    loss      1/2 (E|y|^2 - sum_{k in A} l_k)
    index     (H - |A|) (r - |A|) + #{(i, j): i in A, j not in A, l_j > l_i},
              r the rank of C S^+
    lowest    -|C - W_A S|_2, where H > |A|
at balanced weights, the two layers sharing each mode and no other weight. From small
weights the sets {1..k} are visited where inputs are white; else the order is one of
dynamics, by the singular values of what is left of C.

Source: Baldi & Hornik (1989), Theorem 1 and Fact 4; index and lowest eigenvalue:
counted from the second variation and checked numerically on white and on
correlated inputs (Achour, Malgouyres & Gerchinovitz 2024 classify the saddles).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ..basis.checks import InputError, Words, finite, require, whole
from ..basis.sizes import TINY, moment_sizes
from ..basis.values import Value

RANK = 1e-12  # eigenvalues of S and sizes of modes below this share of the largest are zero
# Losses below this share of the target moment are zero, and so are sizes of modes below this
# share of what the entries of C could make.
ROUNDING = 64 * np.finfo(float).eps
# Modes whose sizes differ by less than this share of the largest are one multiple mode.
EQUAL = 1e-9
OUTSIDE = 1e-9  # C may lie outside the range of S by this share of it
# The target moment may be rounded by this share of what the best map explains.
EXPLAINED = 1e-9


@dataclass(frozen=True, eq=False)
class LinearSaddle(Value):
    """One critical map of a two-layer linear network of width H.

    modes: the set A, counted from 0 in descending order of l_k.
    product (O, D): W_A.
    loss: with the half.
    index: negative eigenvalues of the Hessian at balanced weights.
    lowest_eigenvalue: of it; None where all H units are used (then only
        exchanges of modes lower the loss).
    escape (K,): singular values of C - W_A S, the rates at which new modes
        leave it.
    """

    modes: tuple[int, ...]
    product: Float[np.ndarray, "O D"]
    loss: float
    index: int
    lowest_eigenvalue: float | None
    escape: Float[np.ndarray, " K"]


@dataclass(frozen=True, eq=False)
class LinearSaddles(Value):
    """All saddles of a task.

    strengths (r,): the l_k in descending order.
    vectors (O, r): the modes e_k.
    covariance (D, D): S.
    correlation (O, D): C.
    target: E|y|^2.
    width: H.
    """

    strengths: Float[np.ndarray, " r"]
    vectors: Float[np.ndarray, "O r"]
    covariance: Float[np.ndarray, "D D"]
    correlation: Float[np.ndarray, "O D"]
    target: float
    width: int

    def saddle(self, modes: Sequence[int]) -> LinearSaddle:
        """The saddle of a set of modes.

        Raises InputError for modes that do not exist or more of them than units.
        """
        chosen = self._checked(modes)
        rank, width = len(self.strengths), self.width
        left = [k for k in range(rank) if k not in chosen]
        e = self.vectors[:, list(chosen)]
        learned = e @ (e.T @ self.correlation)
        escape = np.linalg.svd(self.correlation - learned, compute_uv=False)
        product = learned @ pseudo_inverse(self.covariance)

        unexplained = self.target - float(self.strengths[list(chosen)].sum())
        if abs(unexplained) <= ROUNDING * self.target:
            unexplained = 0.0
        new = (width - len(chosen)) * len(left)
        lowest = -float(escape[0]) if width > len(chosen) else None
        return LinearSaddle(
            modes=chosen,
            product=product,
            loss=0.5 * unexplained,
            index=new + self._exchanges(chosen, left),
            lowest_eigenvalue=lowest,
            escape=escape,
        )

    def __iter__(self) -> Iterator[LinearSaddle]:
        """Every saddle, by the number of modes; 2^r of them where the width allows it."""
        rank = len(self.strengths)
        for count in range(min(rank, self.width) + 1):
            for modes in combinations(range(rank), count):
                yield self.saddle(modes)

    def _checked(self, modes: Sequence[int]) -> tuple[int, ...]:
        """The set of modes in ascending order."""
        chosen = tuple(sorted({int(k) for k in modes}))
        rank = len(self.strengths)
        require(
            len(chosen) == len(modes),
            "modes",
            needed="different from each other",
            given=tuple(modes),
        )
        require(
            all(0 <= k < rank for k in chosen),
            "modes",
            needed=f"among the {rank}, counted from 0",
            given=tuple(modes),
        )
        require(
            len(chosen) <= self.width,
            "modes",
            needed=f"at most as many as units, {self.width}",
            given=Words(len(chosen)),
        )
        self._refuse_split(chosen)
        return chosen

    def _refuse_split(self, chosen: tuple[int, ...]) -> None:
        """A multiple mode has no members of its own.

        All of it or nothing, or a continuum of saddles.
        """
        for k in chosen:
            strength, sizes = self.strengths[k], np.sqrt(self.strengths)
            near = np.abs(sizes - sizes[k]) <= EQUAL * sizes[0]
            same = np.flatnonzero(near).tolist()
            if set(same) <= set(chosen):
                continue
            raise InputError(
                f"modes {', '.join(map(str, same))} have one strength, {strength:.6g},"
                " so that a part of them is a continuum of saddles;"
                " take all of them or none"
            )

    def _exchanges(self, chosen: tuple[int, ...], left: list[int]) -> int:
        """Pairs of a mode of the set and a stronger one outside, which would
        lower the loss."""
        if not chosen or not left:
            return 0
        sizes = np.sqrt(self.strengths)
        inside = sizes[list(chosen)] + EQUAL * sizes[0]
        outside = sizes[left]
        return int(np.sum(outside > inside[:, None]))


def pseudo_inverse(s: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D D"]:
    """S^+ of a positive semi-definite matrix S (D, D).

    The rank is judged with every diagonal entry one: no input in a small unit of
    measure is lost beside others.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory.saddles import pseudo_inverse
    >>> pseudo_inverse(np.diag([4.0, 0.0, 1e-20])).diagonal()
    array([2.5e-01, 0.0e+00, 1.0e+20])
    """
    side = inverse_root(s)
    return side.T @ side


def inverse_root(s: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "r D"]:
    """R with S^+ = R'R, of a positive semi-definite matrix S (D, D) of rank r; the rank
    is judged as by `pseudo_inverse`.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory.saddles import inverse_root
    >>> np.abs(inverse_root(np.diag([4.0, 0.0]))).tolist()
    [[0.5, 0.0]]
    """
    size = moment_sizes(s)
    values, vectors, _ = _directions(s)
    if not len(values):
        return np.zeros((0, len(s)))
    # S = root root'. Rows are sorted before the QR decomposition, so that each
    # keeps its digits.
    root = size[:, None] * vectors * np.sqrt(values)
    order = np.argsort(-size)
    decomposed = scipy.linalg.qr(root[order], mode="economic", pivoting=True)
    q, r = map(np.asarray, decomposed[:2])
    # S = q r r' q'
    return np.asarray(scipy.linalg.solve_triangular(r, q.T))[:, np.argsort(order)]


def _directions(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues of S that are not zero and their eigenvectors (D, r), and those in
    which there are no inputs (D, D - r), with every diagonal entry of S one."""
    size = moment_sizes(s)
    values, vectors = np.linalg.eigh(0.5 * (s + s.T) / size / size[:, None])
    there = values > RANK * max(values[-1], 0.0)
    return values[there], vectors[:, there], vectors[:, ~there]


def linear_saddles(
    covariance: Float[np.ndarray, "D D"],
    correlation: Float[np.ndarray, "O D"],
    target: float,
    width: int,
) -> LinearSaddles:
    """The saddles of y ~ W2 W1 x with `width` units.

    covariance (D, D): S = E[x x'].
    correlation (O, D): C = E[y x'].
    target: E|y|^2.
    width: H, at least 1.

    Raises InputError for a covariance that is not positive semi-definite, a
    correlation outside its range, or a target moment below what the best map
    explains. Cost: one eigendecomposition.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import linear_saddles
    >>> found = linear_saddles(np.eye(2), np.diag([1.0, 0.4]), 1.16, width=50)
    >>> [(s.modes, round(s.loss, 6), s.index) for s in found]
    [((), 0.58, 100), ((0,), 0.08, 49), ((1,), 0.5, 50), ((0, 1), 0.0, 0)]
    """
    s, c = _moments(covariance, correlation)
    whole(width, "width")
    _require_in_range(c, s)

    # C S^+ C' = (C R')(C R')'
    side = inverse_root(s)
    vectors, sizes, _ = np.linalg.svd(c @ side.T, full_matrices=False)
    seen = sizes > max(RANK * sizes.max(initial=0.0), _rounding(c, side, moment_sizes(s)))
    strengths = sizes[seen] ** 2
    explained = float(strengths.sum())
    require(
        target >= explained * (1 - EXPLAINED),
        "target",
        needed=f"at least {explained:.6g}, what the best map explains",
        given=target,
    )
    return LinearSaddles(
        strengths=strengths,
        vectors=vectors[:, seen],
        covariance=s,
        correlation=c,
        target=float(target),
        width=width,
    )


def _rounding(c: np.ndarray, side: np.ndarray, size: np.ndarray) -> float:
    """Of the singular values of C R', each input in its own unit of measure: where inputs
    nearly depend on each other R is large, and so is what C's last digits make of it."""
    return float(ROUNDING * np.linalg.norm(c / size) * np.linalg.norm(side * size))


def _moments(
    covariance: np.ndarray,
    correlation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """S and C; raises InputError where S is no covariance, each input in its own unit."""
    s = finite(np.asarray(covariance, float), "covariance")
    c = finite(np.asarray(correlation, float), "correlation")
    require(
        s.ndim == 2 and c.ndim == 2 and s.shape == (c.shape[1], c.shape[1]),
        "covariance and correlation",
        needed="of shapes (D, D) and (O, D)",
        given=Words(f"{s.shape} and {c.shape}"),
    )
    size = moment_sizes(s)
    even = s / size / size[:, None]
    values = np.linalg.eigvalsh(0.5 * (even + even.T))
    rounding = 1e-12 * np.abs(even).max()
    symmetric = np.allclose(even, even.T, rtol=0, atol=rounding)
    require(
        symmetric and values[0] >= -RANK * max(values[-1], 0.0),
        "covariance",
        needed="symmetric positive semi-definite",
        given=Words(f"a lowest eigenvalue of {values[0]:.2e}"),
    )
    return s, c


def _require_in_range(c: np.ndarray, s: np.ndarray) -> None:
    """C = C S^+ S, each input in its own unit of measure."""
    even = c / moment_sizes(s)
    _, _, nowhere = _directions(s)
    outside = float(np.linalg.norm(even @ nowhere))
    whole_size = max(float(np.linalg.norm(even)), TINY)
    require(
        outside <= OUTSIDE * whole_size,
        "correlation",
        needed="zero where the inputs are",
        given=Words(f"a part of norm {outside:.1e} outside the range of the covariance"),
    )
