"""Spectra of Hessians: all eigenvalues by a dense decomposition, or every negative one
and the largest by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from ..basis.checks import finite, positive, require, whole
from ..basis.sizes import TINY
from ..basis.tolerances import Tolerances, chosen
from ..basis.values import Value

Vector = Float[np.ndarray, " P"]
# d -> H d
Product = Callable[[Vector], Vector]
# max|eigenvalue| -> what cannot be told from zero
Blur = Callable[[float], float]
# unit directions (K, P) -> how far rounding moves d'Hd of each (K,)
Bounds = Callable[[Float[np.ndarray, "K P"]], Float[np.ndarray, " K"]]


@dataclass(frozen=True)
class SpectrumTolerances(Tolerances, decides="spectra"):
    """Which eigenvalues are zero."""

    rounding: float = chosen(
        64.0,
        "eigenvalues of a dense spectrum that are zero, of eps P max|l|",
        "a judgement: a decomposition rounds by a few eps a parameter",
    )
    ritz: float = chosen(
        1e-9,
        "eigenvalues of a Lanczos spectrum that are zero, of max|l|",
        "a judgement: Ritz values are good to about 1e-11",
    )
    clearly: float = chosen(
        1e-9,
        "eigenvalues that are no matter of rounding, of max|l|",
        "a judgement",
    )
    far_above: float = chosen(
        1e3,
        "eigenvalues that are none either, of what else counts as zero",
        "a judgement",
    )


# The rounding of so many eigenvalues is asked for at a time, of the smallest first.
ASKED = 8
# A matrix-free spectrum forms the matrix up to so many parameters: Lanczos needs room.
FORMED = 64
# Relative accuracy to which Lanczos finds an eigenvalue that is kept.
KEPT_ACCURACY = 1e-13
# A matrix that lacks at most this share of its size in symmetry is symmetric.
SKEW = 1e-8
SIGNS_NEED_DOUBLE = (
    "the sign of a small eigenvalue is lost in float32; use float64 (jax.enable_x64)"
)


@dataclass(frozen=True, eq=False)
class Spectrum(Value):
    """Eigenvalues of a symmetric matrix and what they say about a fixed point.

    eigenvalues (K,): ascending; all P of them if `complete`, else those found (the
        lowest ones, then the largest).
    lowest_vector (P,): unit eigenvector of the lowest, its entry of greatest magnitude
        positive (arbitrary within the eigenspace if the lowest eigenvalue is multiple).
    size: P.
    tolerance: absolute; |eigenvalue| <= tolerance counts as zero.
    method: "dense" or "lanczos".
    kernel (P, k): orthonormal basis of the zero modes, dense only.
    reason: why the index is not known, else empty.
    signs: (negative, zero, positive) where they were counted in other coordinates, in
        which they are clearer (a congruence keeps them: Sylvester's law of inertia);
        else the eigenvalues are counted.
    """

    eigenvalues: Float[np.ndarray, " K"]
    lowest_vector: Vector
    size: int
    tolerance: float
    method: str
    complete: bool
    kernel: Float[np.ndarray, "P k"] | None = None
    reason: str = ""
    signs: tuple[int, int | None, int | None] | None = None

    @property
    def index(self) -> int | None:
        """Number of eigenvalues below -tolerance; None where `reason` says why it is not
        known."""
        if self.signs is not None:
            return self.signs[0]
        if self.reason:
            return None
        return int(np.sum(self.eigenvalues < -self.tolerance))

    @property
    def zero_modes(self) -> int | None:
        """Number of eigenvalues within the tolerance of zero; None unless all of them
        are known."""
        if self.signs is not None:
            return self.signs[1]
        if not self.complete:
            return None
        return int(np.sum(np.abs(self.eigenvalues) <= self.tolerance))

    @property
    def positive(self) -> int | None:
        """Number of eigenvalues above the tolerance; None unless all are known."""
        if self.signs is not None:
            return self.signs[2]
        if not self.complete:
            return None
        return int(np.sum(self.eigenvalues > self.tolerance))

    @property
    def gap(self) -> float | None:
        """How clear-cut the counts are: the smallest |eigenvalue| that is not zero over
        the largest that is.

        Above about 100 no nearby tolerance would count otherwise. Infinite if the zeros
        are exact; None if all or none count as zero, or if not all eigenvalues are
        known.
        """
        sizes = np.abs(self.eigenvalues)
        zero = sizes <= self.tolerance
        if not self.complete or zero.all() or not zero.any():
            return None
        largest = float(sizes[zero].max())
        if largest == 0:
            return float("inf")
        return float(sizes[~zero].min()) / largest

    def __str__(self) -> str:
        low, high = self.eigenvalues[0], self.eigenvalues[-1]
        counts = (
            _counted(self.index, "negative"),
            _counted(self.zero_modes, "zero"),
            _counted(self.positive, "positive"),
        )
        tail = f"; {self.reason}" if self.reason else ""
        return (
            f"{self.size} eigenvalues from {low:.4g} to {high:.4g} ({self.method}):"
            f" {', '.join(counts)}, zero being {self.tolerance:.1e}{tail}"
        )


def _counted(count: int | None, name: str) -> str:
    return f"not known {name}" if count is None else f"{count} {name}"


def dense_spectrum(
    hessian: Float[np.ndarray, "P P"],
    *,
    tolerance: float | None = None,
    blur: Blur | None = None,
    rounding: Bounds | None = None,
) -> Spectrum:
    """All eigenvalues of a symmetric float64 matrix.

    hessian (P, P): H.
    tolerance: absolute zero; by default 64 eps P max|eigenvalue|, the rounding of the
        decomposition (at most eps P max|eigenvalue|) with room for that of the Hessian
        itself.
    blur: max|eigenvalue| -> the size up to which eigenvalues cannot be told from zero
        for reasons of one's own, which counts where it is larger (at a fixed point
        known only to a gradient norm g, symmetry modes are of order g / |theta| and
        those of a degenerate saddle of order g^(1/2) to g^(2/3)).
    rounding: unit directions (K, P) -> how far rounding moves d'Hd of each (K,);
        eigenvalues within it count as zero. It is asked for those under 1e-9 of the
        largest or 1000 times what else counts as zero, the smallest first.

    Raises InputError unless the matrix is square, float64, finite and symmetric to 1e-8
    of its largest entry. Cost: about 10 P^3, 0.1 s at P = 750 on one core.

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
    limits = SpectrumTolerances.now()
    usual = limits.rounding * np.finfo(float).eps * len(values) * largest
    zero = _zero(usual, largest, tolerance, blur)
    if rounding is not None:
        doubtful = max(limits.clearly * largest, limits.far_above * zero)
        zero = _beyond_rounding(values, vectors, zero, doubtful, rounding)
    return _spectrum(
        values,
        lowest=vectors[:, 0],
        zero=zero,
        method="dense",
        kernel=vectors[:, np.abs(values) <= zero],
    )


def lanczos_spectrum(
    hessian_vector: Product,
    size: int,
    *,
    count: int = 24,
    cap: int = 512,
    tolerance: float | None = None,
    blur: Blur | None = None,
    seed: int = 0,
) -> Spectrum:
    """Every negative eigenvalue (the lowest if none is) and the largest, from products
    H d.

    Eigenvalues are found `count` or more at a time from the lower end, each batch with
    those found before shifted out of the way; it stops when a fresh start on what is
    left finds no negative one, so that copies of a multiple eigenvalue, of which a
    Krylov space sees one, are not missed. More than `cap` negative ones, or no
    convergence, leave the index None with a reason. Up to 64 parameters the matrix is
    formed from P products instead (method "dense").

    hessian_vector: d (P,) -> H d (P,).
    size: P.
    tolerance: absolute zero, by default 1e-9 max|eigenvalue|.
    blur: as for `dense_spectrum`.
    seed: of the starting vectors.

    Raises InputError if a product is not a float64 (P,) array, or H is not symmetric on
    a random pair. Cost: some hundreds of products a batch, and 4 P (number found) a
    product.

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
    if size <= FORMED:
        columns = [product(d) for d in np.eye(size)]
        return dense_spectrum(np.stack(columns, axis=1), tolerance=tolerance, blur=blur)

    def zero(largest: float) -> float:
        return _zero(SpectrumTolerances.now().ritz * largest, largest, tolerance, blur)

    rng = np.random.default_rng(seed)
    multiple = _multiple_of_identity(product, rng, size, zero)
    return multiple or _Lanczos(product, size, rng).spectrum(count, cap, zero)


def _multiple_of_identity(
    product: Product, rng: np.random.Generator, size: int, zero: Blur
) -> Spectrum | None:
    """The spectrum of H = c 1, where Lanczos breaks down.

    A random vector is an eigenvector of no other matrix.
    """
    start = rng.standard_normal(size)
    image = product(start)
    c = float(start @ image / (start @ start))
    if np.linalg.norm(image - c * start) > 1e-13 * np.linalg.norm(image):
        return None
    return _spectrum(
        np.full(size, c),
        lowest=np.eye(1, size)[0],
        zero=zero(abs(c)),
        method="lanczos",
        complete=True,
    )


class _Lanczos:
    """H + b, with b above |H|: accuracy relative to an eigenvalue is accuracy relative
    to |H|."""

    def __init__(self, product: Product, size: int, rng: np.random.Generator) -> None:
        self.product, self.size, self.rng = product, size, rng
        self.values, self.vectors = np.zeros(0), np.zeros((size, 0))
        self.shift = 0.0
        top = float(self._end(1, "LA", accuracy=1e-8)[0][0])
        bottom = float(self._end(1, "SA", accuracy=1e-4)[0][0])
        self.shift = 2.0 * max(abs(top), abs(bottom), TINY)

    def spectrum(self, count: int, cap: int, zero_of: Blur) -> Spectrum:
        """What was found, `count` or more at a time from below, up to `cap` negative."""
        zero = zero_of(0.5 * self.shift)
        top = float(self._end(1, "LA", accuracy=KEPT_ACCURACY)[0][0]) - self.shift
        reason = self._collect(count, cap, zero)
        order = np.argsort(self.values)
        values = self.values[order]
        if values.size < self.size:
            values = np.append(values, top)
        return _spectrum(
            values,
            lowest=self.vectors[:, order[0]],
            zero=zero,
            method="lanczos",
            reason=reason,
        )

    def _collect(self, count: int, cap: int, zero: float) -> str:
        """Find the negative eigenvalues; why that failed, or an empty string."""
        batch = count
        while self.values.size < self.size - 1:
            left = self.size - 1 - self.values.size
            try:
                negative, all_negative = self._batch(min(batch, left), zero)
            except ArpackError as error:
                return f"Lanczos gave up after {self.values.size} eigenvalues: {error}"
            if not negative:
                return ""
            if self.values.size > cap:
                return f"more than {cap} negative eigenvalues, the cap"
            batch = min(2 * batch, 4 * count) if all_negative else 2
        return ""  # the one eigenvalue left is the largest

    def _batch(self, count: int, zero: float) -> tuple[bool, bool]:
        """Find the lowest `count` of what is left; whether any, and whether all of them
        are negative."""
        values, vectors = self._end(count, "SA", accuracy=KEPT_ACCURACY)
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

    def _end(
        self,
        count: int,
        which: str,
        *,
        accuracy: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` eigenvalues (ascending) and vectors of one end.

        Fewer where Arnoldi breaks down: few distinct eigenvalues end the Krylov space
        early.
        """
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
            except ArpackError as error:
                failure, count = error, max(1, count // 4)
        raise failure

    def _operator(self, deflated: bool) -> LinearOperator:
        """H + b; `deflated`: with the eigenvalues found shifted above all others."""
        v = self.vectors if deflated else self.vectors[:, :0]

        def apply(d: Vector) -> Vector:
            d = d.ravel()
            return self.product(d) + self.shift * d + 4 * self.shift * (v @ (v.T @ d))

        shape = (self.size, self.size)
        # The stubs of LinearOperator know only its subclasses' signature.
        return LinearOperator(shape, matvec=apply, dtype=float)  # pyright: ignore


def in_plain_units(
    natural: Spectrum,
    units: Vector,
    plain: Callable[[], Spectrum],
    matrix: Float[np.ndarray, "P P"] | Product,
) -> Spectrum:
    """The spectrum of H with the signs counted for S H S, S = diag(units).

    Where rounding hides the lowest eigenvalue of H beside much larger ones, the
    curvature along the lowest direction of S H S stands for it, which bounds it from
    above.

    natural: the spectrum of S H S.
    units (P,): above zero.
    plain: computes the spectrum of H, where units differ.
    matrix: H (P, P), or d -> H d.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.spectra import dense_spectrum, in_plain_units
    >>> h, units = np.diag([1e20, -1.0]), np.array([1e-10, 1.0])
    >>> natural = dense_spectrum(h * units * units[:, None])
    >>> found = in_plain_units(natural, units, lambda: dense_spectrum(h), h)
    >>> found.index, found.eigenvalues
    (1, array([-1.e+00,  1.e+20]))
    """
    if np.all(units == units[:1]):
        scale = float(units[0]) ** 2 if units.size else 1.0
        return replace(
            natural,
            eigenvalues=natural.eigenvalues / scale,
            tolerance=natural.tolerance / scale,
        )
    own = plain()
    values, lowest = np.array(own.eigenvalues), own.lowest_vector
    direction = units * natural.lowest_vector
    direction /= np.linalg.norm(direction)
    image = matrix(direction) if callable(matrix) else matrix @ direction
    curvature = float(direction @ image)
    if natural.index and curvature < min(values[0], 0.0):
        values[0], lowest = curvature, direction

    kernel = natural.kernel
    if kernel is not None:
        kernel = orthonormal(units[:, None] * kernel)
    signs = None
    if not natural.reason:
        signs = natural.index or 0, natural.zero_modes, natural.positive
    return replace(
        own,
        eigenvalues=values,
        lowest_vector=lowest,
        tolerance=_plain_tolerance(natural, units, values),
        kernel=kernel,
        reason=natural.reason,
        signs=signs,
    )


def _plain_tolerance(natural: Spectrum, units: Vector, values: np.ndarray) -> float:
    """The zero of S H S in the units of H, at least the largest of its zero modes."""
    tolerance = natural.tolerance / float(units.max()) ** 2
    if not natural.complete or not natural.zero_modes:
        return tolerance
    first = natural.index or 0
    zeros = np.abs(values[first : first + natural.zero_modes])
    return max(tolerance, float(zeros.max(initial=0.0)))


def orthonormal(columns: Float[np.ndarray, "P K"]) -> Float[np.ndarray, "P K"]:
    """An orthonormal basis of what independent columns span.

    Every row to its own last digits, however small beside others: Householder QR with
    the columns pivoted and the rows sorted. Source: Cox & Higham (1998).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.spectra import orthonormal
    >>> np.abs(orthonormal(np.array([[2.0], [0.0]])))
    array([[1.],
           [0.]])
    """
    if not columns.shape[1]:
        return columns
    order = np.argsort(-np.abs(columns).max(axis=1))
    basis = np.empty_like(columns)
    basis[order] = scipy.linalg.qr(columns[order], mode="economic", pivoting=True)[0]
    return basis


def complement(columns: Float[np.ndarray, "P K"]) -> Float[np.ndarray, "P N"]:
    """An orthonormal basis of what is orthogonal to orthonormal columns, N = P - K.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.spectra import complement
    >>> np.abs(complement(np.array([[1.0], [0.0]])))
    array([[0.],
           [1.]])
    """
    count = columns.shape[1]
    return np.linalg.qr(columns, mode="complete")[0][:, count:]


def unit_vector(vector: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """A vector (P,) at length one; zero stays zero.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.spectra import unit_vector
    >>> unit_vector(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    size = float(np.linalg.norm(vector))
    return vector / size if size > 0 else vector


# ------------------------------------------------------------------- checks and assembly
def _checked(hessian: np.ndarray) -> np.ndarray:
    matrix = np.asarray(hessian)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    given = f"shape {matrix.shape}"
    require(square, "the Hessian", needed="a square matrix", given=given)
    _require_double(matrix, "the Hessian")
    finite(matrix, "the Hessian")
    skew, size = float(np.abs(matrix - matrix.T).max()), float(np.abs(matrix).max())
    require(
        skew <= SKEW * size,
        "the Hessian",
        needed="symmetric",
        given=f"asymmetry {skew:.1e} of {size:.1e}",
        remedy="pass (H + H')/2",
    )
    return matrix


def _require_double(array: np.ndarray, name: str) -> None:
    double = array.dtype == np.float64
    require(double, name, needed="float64", given=str(array.dtype), remedy=SIGNS_NEED_DOUBLE)


def _checked_product(
    hessian_vector: Product,
    size: int,
    rng: np.random.Generator,
) -> Product:
    """The product, checked whenever it is taken, and its symmetry on a random pair."""
    name = "the Hessian-vector product"

    def product(d: Vector) -> Vector:
        w = np.asarray(hessian_vector(d))
        require(w.shape == (size,), name, needed=f"of shape ({size},)", given=w.shape)
        _require_double(w, name)
        return w

    a, b = rng.standard_normal((2, size))
    ha, hb = finite(product(a), name), product(b)
    skew = abs(float(b @ ha - a @ hb))
    scale = float(np.linalg.norm(a) * np.linalg.norm(hb))
    require(
        skew <= SKEW * scale,
        name,
        needed="symmetric, a.Hb = b.Ha",
        given=f"a difference of {skew:.1e}",
    )
    return product


def _zero(
    usual: float,
    largest: float,
    tolerance: float | None,
    blur: Blur | None,
) -> float:
    """What counts as zero: the tolerance asked for or the usual one, or a blur that is
    larger."""
    chosen = usual
    if tolerance is not None:
        chosen = 0.0 if tolerance == 0 else positive(tolerance, "tolerance")
    if blur is None:
        return chosen
    return max(chosen, blur(largest))


def _beyond_rounding(
    values: np.ndarray,
    vectors: np.ndarray,
    zero: float,
    doubtful: float,
    rounding: Bounds,
) -> float:
    """What counts as zero, raised until the smallest eigenvalues above it are more than
    rounding."""
    sizes = np.abs(values)
    while True:
        above = np.flatnonzero((sizes > zero) & (sizes <= doubtful))
        some = above[np.argsort(sizes[above])][:ASKED]
        if not some.size:
            return zero
        bounds = rounding(vectors[:, some].T)
        lost = sizes[some] <= bounds
        if not lost.any():
            return zero
        zero = max(zero, float(sizes[some][lost].max()))


def _spectrum(
    values: np.ndarray,
    *,
    lowest: Vector,
    zero: float,
    method: str,
    kernel: np.ndarray | None = None,
    reason: str = "",
    complete: bool = False,
) -> Spectrum:
    """The record, its arrays read-only and the sign of the lowest vector fixed."""
    sign = -1.0 if lowest[np.argmax(np.abs(lowest))] < 0 else 1.0
    vector = sign * lowest
    if kernel is not None:
        kernel = np.ascontiguousarray(kernel)
        kernel.flags.writeable = False
    values.flags.writeable = False
    vector.flags.writeable = False
    return Spectrum(
        eigenvalues=values,
        lowest_vector=vector,
        size=len(lowest),
        tolerance=float(zero),
        method=method,
        complete=complete or method == "dense",
        kernel=kernel,
        reason=reason,
    )
