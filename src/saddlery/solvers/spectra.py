"""Spectra of Hessians: all eigenvalues by a dense decomposition, or every negative one and the
largest by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from ..basis.checks import finite, positive, require, whole
from ..basis.values import Value

Vector = Float[np.ndarray, " P"]
Blur = Callable[[float], float]  # max|eigenvalue| -> what cannot be told from zero
Bounds = Callable[
    [np.ndarray], np.ndarray
]  # unit directions (K, P) -> how far rounding moves d'Hd of each (K,)

ROUNDING = 64.0  # eps P max|l| times this is the default zero of a dense spectrum
# max|l| times this is the default zero of a Lanczos spectrum, whose Ritz values are good to about
# 1e-11
RITZ = 1e-9
NEAR = 1e-9  # of the largest: eigenvalues above it are no matter of rounding
CLOSE = 1e3  # nor those that many times larger than what else counts as zero
BATCH = 8  # eigenvalues whose rounding is asked for at a time, the smallest first
SMALL = 64  # parameters up to which a matrix-free spectrum forms the matrix: Lanczos needs room
REMEDY = "the sign of a small eigenvalue is lost in float32; use float64 (jax.enable_x64)"


@dataclass(frozen=True, eq=False)
class Spectrum(Value):
    """Eigenvalues of a symmetric matrix and what they say about a fixed point.

    eigenvalues: ascending; all P of them if `complete`, else those found (the lowest ones, then the
        largest).
    lowest_vector (P,): unit eigenvector of the lowest, its entry of greatest magnitude positive
    (arbitrary within the eigenspace if the lowest eigenvalue is multiple). size: P. tolerance:
    absolute; |eigenvalue| <= tolerance counts as zero. method: "dense" or "lanczos". kernel (P, k):
    orthonormal basis of the zero modes, dense only. reason: why the index is not known, else empty.
    signs: (negative, zero, positive) where they were counted in other coordinates, in which they
    are clearer (a congruence keeps them: Sylvester's law of inertia); else the eigenvalues are
    counted.
    """

    eigenvalues: np.ndarray
    lowest_vector: Vector
    size: int
    tolerance: float
    method: str
    complete: bool
    kernel: np.ndarray | None = None
    reason: str = ""
    signs: tuple[int, int | None, int | None] | None = None

    @property
    def index(self) -> int | None:
        """Number of eigenvalues below -tolerance; None where Lanczos did not establish it (see
        `reason`)."""
        if self.signs is not None:
            return self.signs[0]
        return None if self.reason else int(np.sum(self.eigenvalues < -self.tolerance))

    @property
    def zero_modes(self) -> int | None:
        """Number of eigenvalues within the tolerance of zero; None unless all are known."""
        if self.signs is not None:
            return self.signs[1]
        return int(np.sum(np.abs(self.eigenvalues) <= self.tolerance)) if self.complete else None

    @property
    def positive(self) -> int | None:
        """Number of eigenvalues above the tolerance; None unless all are known."""
        if self.signs is not None:
            return self.signs[2]
        return int(np.sum(self.eigenvalues > self.tolerance)) if self.complete else None

    @property
    def gap(self) -> float | None:
        """Smallest non-zero |eigenvalue| over the largest that counts as zero: how clear-cut the
        counts are.

        Above about 100 no nearby tolerance would count otherwise. Infinite if the zeros are exact;
        None if all or none count as zero, or if not all eigenvalues are known.
        """
        sizes = np.abs(self.eigenvalues)
        zero = sizes <= self.tolerance
        if not self.complete or zero.all() or not zero.any():
            return None
        largest = float(sizes[zero].max())
        return float(sizes[~zero].min()) / largest if largest > 0 else float("inf")

    def __str__(self) -> str:
        low, high, unknown = self.eigenvalues[0], self.eigenvalues[-1], "not known"
        counts = ", ".join(
            f"{unknown if n is None else n} {name}"
            for n, name in (
                (self.index, "negative"),
                (self.zero_modes, "zero"),
                (self.positive, "positive"),
            )
        )
        return (
            f"{self.size} eigenvalues from {low:.4g} to {high:.4g} ({self.method}): {counts},"
            " zero being"
            f" {self.tolerance:.1e}" + (f"; {self.reason}" if self.reason else "")
        )


def dense_spectrum(
    hessian: Float[np.ndarray, "P P"],
    *,
    tolerance: float | None = None,
    blur: Blur | None = None,
    rounding: Bounds | None = None,
) -> Spectrum:
    """All eigenvalues of a symmetric float64 matrix (P, P).

    tolerance: absolute zero; by default 64 eps P max|eigenvalue|, the rounding of the decomposition
    (at most eps P max|eigenvalue|) with room for that of the Hessian itself. blur: max|eigenvalue|
    -> the size up to which eigenvalues cannot be told from zero for reasons of one's own, which
    counts where it is larger (at a fixed point known only to a gradient norm g, symmetry modes are
    of order g / |theta| and those of a degenerate saddle of order g^(1/2) to g^(2/3)).
    rounding: unit directions (K, P) -> how far rounding moves d'Hd of each; eigenvalues within it
    count as zero. It is asked for those under 1e-9 of the largest or 1000 times what else counts as
    zero, the smallest first.

    Raises InputError unless the matrix is square, float64, finite and symmetric to 1e-8 of its
    largest entry. Cost: about 10 P^3, 0.1 s at P = 750 on one core.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.spectra import dense_spectrum
    >>> found = dense_spectrum(np.diag([2.0, 0.0, -1.0]))
    >>> found.index, found.zero_modes, found.positive, found.gap
    (1, 1, 1, inf)
    """
    matrix = _checked(hessian)
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    largest = float(np.abs(values).max())
    zero = _zero(ROUNDING * np.finfo(float).eps * len(values) * largest, largest, tolerance, blur)
    if rounding is not None:
        zero = _beyond_rounding(values, vectors, zero, max(NEAR * largest, CLOSE * zero), rounding)
    return _spectrum(values, vectors[:, 0], zero, "dense", vectors[:, np.abs(values) <= zero])


def lanczos_spectrum(
    hessian_vector: Callable[[Vector], Vector],
    size: int,
    *,
    count: int = 24,
    cap: int = 512,
    tolerance: float | None = None,
    blur: Blur | None = None,
    seed: int = 0,
) -> Spectrum:
    """Every negative eigenvalue (the lowest if none is negative) and the largest, from products H d
    alone.

    Eigenvalues are found `count` or more at a time from the lower end, each batch with those found
    before shifted out of the way; it stops when a fresh start on what is left finds no negative
    one, so that copies of a multiple eigenvalue, of which a Krylov space sees one, are not missed.
    More than `cap` negative ones, or no convergence, leave the index None with a reason. tolerance:
    absolute zero, by default 1e-9 max|eigenvalue|. blur: as in `dense_spectrum`. seed: of the
    starting vectors. Up to 64 parameters the matrix is formed from P products instead (method
    "dense").

    Raises InputError if a product is not a float64 (P,) array, or H is not symmetric on a random
    pair. Cost: some hundreds of products a batch, and 4 P (number found) a product.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.spectra import lanczos_spectrum
    >>> diagonal = np.r_[-2.0, -1.0, np.linspace(0.5, 3.0, 98)]
    >>> found = lanczos_spectrum(lambda d: diagonal * d, 100)
    >>> found.index, round(float(found.eigenvalues[0]), 9), found.zero_modes
    (2, -2.0, None)
    """
    for value, name in ((size, "size"), (count, "count"), (cap, "cap")):
        whole(value, name)
    product = _checked_product(hessian_vector, size, np.random.default_rng(seed))
    if size <= SMALL:
        return dense_spectrum(
            np.stack([product(d) for d in np.eye(size)], axis=1), tolerance=tolerance, blur=blur
        )
    rng = np.random.default_rng(seed)
    zero = lambda largest: _zero(RITZ * largest, largest, tolerance, blur)
    multiple = _multiple_of_identity(product, rng, size, zero)
    return multiple or _Lanczos(product, size, rng).spectrum(count, cap, zero)


def _multiple_of_identity(
    product: Callable[[Vector], Vector], rng: np.random.Generator, size: int, zero: Blur
) -> Spectrum | None:
    """The spectrum of H = c 1, where Lanczos breaks down: a random vector is an eigenvector of no
    other matrix."""
    start = rng.standard_normal(size)
    image = product(start)
    c = float(start @ image / (start @ start))
    if np.linalg.norm(image - c * start) > 1e-13 * np.linalg.norm(image):
        return None
    return _spectrum(
        np.full(size, c), np.eye(1, size)[0], zero(abs(c)), "lanczos", None, complete=True
    )


class _Lanczos:
    """H + b, with b above |H| so that an accuracy relative to the eigenvalue is one relative to
    |H|."""

    def __init__(
        self, product: Callable[[Vector], Vector], size: int, rng: np.random.Generator
    ) -> None:
        self.product, self.size, self.rng = product, size, rng
        self.values, self.vectors, self.shift = np.zeros(0), np.zeros((size, 0)), 0.0
        self.top = float(self._end(1, "LA", 1e-8)[0][0])
        self.shift = 2.0 * max(abs(self.top), abs(float(self._end(1, "SA", 1e-4)[0][0])), 1e-300)

    def spectrum(self, count: int, cap: int, zero_of: Blur) -> Spectrum:
        zero = zero_of(0.5 * self.shift)
        top = float(self._end(1, "LA", 1e-13)[0][0]) - self.shift
        reason = self._collect(count, cap, zero)
        order = np.argsort(self.values)
        values = (
            np.append(self.values[order], top)
            if self.values.size < self.size
            else self.values[order]
        )
        return _spectrum(values, self.vectors[:, order[0]], zero, "lanczos", None, reason)

    def _collect(self, count: int, cap: int, zero: float) -> str:
        """Find the negative eigenvalues; why that failed, or an empty string."""
        batch = count
        while self.values.size < self.size - 1:
            try:
                negative, all_negative = self._batch(
                    min(batch, self.size - 1 - self.values.size), zero
                )
            except ArpackError as error:
                return f"Lanczos gave up after {self.values.size} eigenvalues: {error}"
            if not negative:
                return ""
            if self.values.size > cap:
                return f"more than {cap} negative eigenvalues, the cap"
            batch = min(2 * batch, 4 * count) if all_negative else 2
        return ""  # the one eigenvalue left is the largest

    def _batch(self, count: int, zero: float) -> tuple[bool, bool]:
        """Find the lowest `count` of what is left; whether any, and whether all of them, are
        negative."""
        values, vectors = self._end(count, "SA", 1e-13)
        values = values - self.shift
        fresh = values < -zero
        if fresh.any():
            self._add(values[fresh], vectors[:, fresh])
        elif not self.values.size:
            self._add(values[:1], vectors[:, :1])
        return bool(fresh.any()), bool(fresh.all())

    def _add(self, values: np.ndarray, vectors: np.ndarray) -> None:
        self.values = np.append(self.values, values)
        self.vectors = np.linalg.qr(np.column_stack([self.vectors, vectors]))[0]

    def _end(self, count: int, which: str, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` eigenvalues (ascending) and vectors of one end; fewer where Arnoldi
        breaks down."""
        for room in (max(2 * count + 1, 40), 4 * count + 80, 60, 120):
            start = self.rng.standard_normal(self.size)
            try:
                values, vectors = eigsh(
                    self._operator(which == "SA"),
                    k=count,
                    which=which,
                    v0=start,
                    tol=accuracy,  # pyright: ignore (a float, whatever the stubs say)
                    ncv=min(self.size, room),
                    maxiter=3000,
                )
                order = np.argsort(values)
                return values[order], vectors[:, order]
            except ArpackError as error:  # few distinct eigenvalues end the Krylov space early
                failure, count = error, max(1, count // 4)
        raise failure

    def _operator(self, deflated: bool) -> LinearOperator:
        v = self.vectors if deflated else self.vectors[:, :0]

        def apply(d: Vector) -> Vector:
            d = d.ravel()
            return self.product(d) + self.shift * d + 4 * self.shift * (v @ (v.T @ d))

        # the stubs of LinearOperator know only its subclasses' signature
        return LinearOperator((self.size, self.size), matvec=apply, dtype=float)  # pyright: ignore


def in_plain_units(
    natural: Spectrum,
    units: Vector,
    plain: Callable[[], Spectrum],
    matrix: np.ndarray | Callable[[Vector], Vector],
) -> Spectrum:
    """The spectrum of H with the signs counted for S H S, S = diag(units); plain: computes that of
    H, where units differ.

    Where rounding hides the lowest eigenvalue of H beside much larger ones, the curvature along the
    lowest direction of S H S stands for it, which bounds it from above. matrix: H, or d -> H d.
    """
    scale = float(units[0]) ** 2 if units.size else 1.0
    if np.all(units == units[:1]):
        return replace(
            natural, eigenvalues=natural.eigenvalues / scale, tolerance=natural.tolerance / scale
        )
    own = plain()
    direction = units * natural.lowest_vector
    direction /= np.linalg.norm(direction)
    curvature = float(direction @ (matrix(direction) if callable(matrix) else matrix @ direction))
    values, lowest = np.array(own.eigenvalues), own.lowest_vector
    if natural.index and curvature < min(values[0], 0.0):
        values[0], lowest = curvature, direction
    kernel = None if natural.kernel is None else orthonormal(units[:, None] * natural.kernel)
    tolerance = natural.tolerance / float(units.max()) ** 2
    if natural.complete and natural.zero_modes:
        zeros = values[natural.index or 0 :][: natural.zero_modes]
        tolerance = max(tolerance, float(np.abs(zeros).max(initial=0.0)))
    signs = None if natural.reason else (natural.index or 0, natural.zero_modes, natural.positive)
    return replace(
        own,
        eigenvalues=values,
        lowest_vector=lowest,
        tolerance=tolerance,
        kernel=kernel,
        reason=natural.reason,
        signs=signs,
    )


def orthonormal(columns: Float[np.ndarray, "P K"]) -> Float[np.ndarray, "P K"]:
    """An orthonormal basis of what independent columns span, every row to its own last digits,
    however small beside others.

    Householder QR with the columns pivoted and the rows sorted. Source: Cox & Higham (1998).
    """
    if not columns.shape[1]:
        return columns
    order = np.argsort(-np.abs(columns).max(axis=1))
    basis = np.empty_like(columns)
    basis[order] = scipy.linalg.qr(columns[order], mode="economic", pivoting=True)[0]
    return basis


def complement(columns: Float[np.ndarray, "P K"]) -> Float[np.ndarray, "P N"]:
    """An orthonormal basis of what is orthogonal to all of orthonormal columns, N = P - K."""
    return np.linalg.qr(columns, mode="complete")[0][:, columns.shape[1] :]


def unit_vector(vector: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """At length one; zero stays zero."""
    size = float(np.linalg.norm(vector))
    return vector / size if size > 0 else vector


# ------------------------------------------------------------------- checks and assembly
def _checked(hessian: np.ndarray) -> np.ndarray:
    matrix = np.asarray(hessian)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    require(square, "the Hessian", "a square matrix", f"shape {matrix.shape}")
    require(matrix.dtype == np.float64, "the Hessian", "float64", str(matrix.dtype), REMEDY)
    finite(matrix, "the Hessian")
    skew, size = float(np.abs(matrix - matrix.T).max()), float(np.abs(matrix).max())
    require(
        skew <= 1e-8 * size,
        "the Hessian",
        "symmetric",
        f"asymmetry {skew:.1e} of {size:.1e}",
        "pass (H + H')/2",
    )
    return matrix


def _checked_product(
    hessian_vector: Callable[[Vector], Vector], size: int, rng: np.random.Generator
) -> Callable[[Vector], Vector]:
    def product(d: Vector) -> Vector:
        w = np.asarray(hessian_vector(d))
        require(w.shape == (size,), "the Hessian-vector product", f"of shape ({size},)", w.shape)
        require(
            w.dtype == np.float64, "the Hessian-vector product", "float64", str(w.dtype), REMEDY
        )
        return w

    a, b = rng.standard_normal((2, size))
    ha, hb = finite(product(a), "the Hessian-vector product"), product(b)
    skew, scale = abs(float(b @ ha - a @ hb)), float(np.linalg.norm(a) * np.linalg.norm(hb))
    require(
        skew <= 1e-8 * scale,
        "the Hessian-vector product",
        "symmetric, a.Hb = b.Ha",
        f"a difference of {skew:.1e}",
    )
    return product


def _zero(usual: float, largest: float, tolerance: float | None, blur: Blur | None) -> float:
    """What counts as zero: the tolerance asked for or the usual one, or the blur where that is
    larger."""
    chosen = (
        usual if tolerance is None else 0.0 if tolerance == 0 else positive(tolerance, "tolerance")
    )
    return chosen if blur is None else max(chosen, blur(largest))


def _beyond_rounding(
    values: np.ndarray, vectors: np.ndarray, zero: float, near: float, rounding: Bounds
) -> float:
    """What counts as zero, raised until the smallest eigenvalues above it are no rounding."""
    sizes = np.abs(values)
    while True:
        above = np.flatnonzero((sizes > zero) & (sizes <= near))
        some = above[np.argsort(sizes[above])][:BATCH]
        if not some.size:
            return zero
        bounds = rounding(vectors[:, some].T)
        lost = sizes[some] <= bounds
        if not lost.any():
            return zero
        zero = max(zero, float(sizes[some][lost].max()))


def _spectrum(
    values: np.ndarray,
    lowest: Vector,
    zero: float,
    method: str,
    kernel: np.ndarray | None,
    reason: str = "",
    *,
    complete: bool = False,
) -> Spectrum:
    sign = -1.0 if lowest[np.argmax(np.abs(lowest))] < 0 else 1.0
    arrays = [values, sign * lowest] + ([] if kernel is None else [np.ascontiguousarray(kernel)])
    for array in arrays:
        array.flags.writeable = False
    return Spectrum(
        values,
        arrays[1],
        len(lowest),
        float(zero),
        method,
        complete or method == "dense",
        arrays[2] if kernel is not None else None,
        reason,
    )
