"""Spectra of Hessians: dense, or both ends by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

from .checks import finite, require


@dataclass(frozen=True)
class Spectrum:
    eigenvalues: np.ndarray
    lowest_vector: np.ndarray
    size: int
    tolerance: float
    method: str
    complete: bool
    kernel: np.ndarray | None = None

    @property
    def index(self) -> int | None:
        count = int(np.sum(self.eigenvalues < -self.tolerance))
        return count if self.complete or count < len(self.eigenvalues) else None

    @property
    def zero_modes(self) -> int | None:
        return int(np.sum(np.abs(self.eigenvalues) <= self.tolerance)) if self.complete else None


def dense_spectrum(hessian, *, tolerance=None) -> Spectrum:
    matrix = finite(np.asarray(hessian), "the Hessian")
    values, vectors = np.linalg.eigh(matrix)
    if tolerance is None:
        tolerance = 1e-9 * max(float(np.abs(values).max()), 1e-300)
    flat = np.abs(values) <= tolerance
    return Spectrum(values, vectors[:, 0], len(values), tolerance, "dense", True, vectors[:, flat])


def lanczos_spectrum(hessian_vector, size, *, count=24, tolerance=None, seed=0) -> Spectrum:
    op = LinearOperator((size, size), matvec=lambda d: np.asarray(hessian_vector(d.ravel())), dtype=float)
    v0 = np.random.default_rng(seed).standard_normal(size)
    top = eigsh(op, k=1, which="LA", v0=v0, return_eigenvectors=False)
    low, vec = eigsh(op, k=count, which="SA", v0=v0)
    order = np.argsort(low)
    tolerance = tolerance or 1e-8 * max(abs(top[0]), abs(low.min()))
    return Spectrum(np.r_[low[order], top], vec[:, order[0]], size, tolerance, "lanczos", False)
