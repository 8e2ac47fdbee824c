"""In-context linear regression, sampled or as exact population statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..basis.checks import Words, numbers, require, whole
from ..networks import Data, Moments
from .base import WIDEST, Task, generator, orthogonal, room


@dataclass(frozen=True)
class InContextRegression(Task):
    """Predict y_q = w . x_q from a prompt of N pairs (x_n, w . x_n), with a new w ~ N(0, I) every
    sequence.

    x ~ N(0, Lambda), Lambda with eigenvalues `eigenvalues` (any positive numbers; coordinate axes
    unless `rotate`).
    length: N. sequences: how many to sample (rows (x_n, y_n), last row (x_q, 0)), or 0 for the
    population. Population statistics of the cubic feature vec(b x_q'), b = mean y_n x_n:
        E[y z'] = vec(Lambda^2)',  E[z z'] = (Lambda^2 + (Lambda + tr(Lambda) I) Lambda / N) (x) Lambda,  E|y|^2 = tr Lambda.
    Source: Zhang, Singh, Latham & Saxe (2025), eq 15 and Appendix; losses here carry the half.
    """

    kind: ClassVar[str] = "in_context_regression"
    eigenvalues: tuple[float, ...] = (0.7, 0.3)
    length: int = 31
    sequences: int = 0
    rotate: bool = False

    def covariance(self, seed: int) -> np.ndarray:
        """Lambda (D, D)."""
        values = numbers(self.eigenvalues, "eigenvalues")
        require(
            len(values) > 0 and bool(np.all(np.isfinite(values) & (values > 0))),
            "eigenvalues",
            "finite numbers above zero",
            self.eigenvalues,
        )
        pairs = len(values) ** 2  # entries of the cubic feature
        require(
            pairs <= WIDEST,
            "eigenvalues",
            f"at most {math.isqrt(WIDEST)} numbers",
            Words(f"{len(values):,}"),
        )
        q = (
            orthogonal(generator(seed, self.kind), len(values), len(values))
            if self.rotate
            else np.eye(len(values))
        )
        return (q * values) @ q.T

    def data(self, seed: int) -> Data:
        whole(self.length, "length")
        whole(self.sequences, "sequences", 0, "0 asks for the population")
        covariance = self.covariance(seed)
        shape = (self.length + 1, len(covariance) + 1)
        room("sequences and length", max(self.sequences, 1), *shape)
        if self.sequences == 0:
            return Data(shape, 1, moments=population_moments(covariance, self.length))
        prompts, answers = sample_prompts(
            covariance, self.length, self.sequences, generator(seed, self.kind + " draw")
        )
        return Data(shape, 1, prompts, answers)


def second_moment_of_covariance(covariance: np.ndarray, length: int) -> np.ndarray:
    """E[S^2] for the sample covariance S of `length` Gaussian vectors: L^2 + (L + tr(L) I) L /
    N."""
    identity = np.eye(len(covariance))
    return (
        covariance @ covariance
        + (covariance + np.trace(covariance) * identity) @ covariance / length
    )


def population_moments(covariance: np.ndarray, length: int) -> Moments:
    """The exact moments of the cubic feature; see `InContextRegression`."""
    features = np.kron(second_moment_of_covariance(covariance, length), covariance)
    cross = (covariance @ covariance).reshape(1, -1)
    return Moments("in-context", features, cross, float(np.trace(covariance)))


def sample_prompts(
    covariance: np.ndarray, length: int, sequences: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Prompts (P, N + 1, D + 1) and answers (P, 1)."""
    d = len(covariance)
    x = rng.standard_normal((sequences, length + 1, d)) @ np.linalg.cholesky(covariance).T
    w = rng.standard_normal((sequences, d))
    y = np.einsum("pnd,pd->pn", x, w)
    prompts = np.concatenate([x, y[..., None]], axis=2)
    prompts[:, -1, -1] = 0.0
    return prompts, y[:, -1:]
