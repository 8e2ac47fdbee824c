"""In-context linear regression, sampled or as exact population statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..basis.checks import Words, numbers, require, whole
from ..networks import Data, Moments
from .base import WIDEST, Task, generator, orthogonal, room


@dataclass(frozen=True)
class InContextRegression(Task):
    """Predict y_q = w . x_q from a prompt of N pairs (x_n, w . x_n), with a
    new w ~ N(0, I) every sequence.

    Inputs are drawn from N(0, Lambda); a prompt (N + 1, D + 1) has rows (x_n,
    y_n) and the last row (x_q, 0). The population has exact moments of the
    cubic feature z = vec(b x_q'), b = mean y_n x_n, which
    `population_moments` states.

    eigenvalues (D,): of Lambda, above zero.
    length: N.
    sequences: how many to sample, or 0 for the population.
    rotate: whether the eigenvectors of Lambda are random, else the coordinate
        axes.

    Losses carry the half. Source: Zhang, Singh, Latham & Saxe (2025), eq 15 and
    Appendix.

    Example
    -------
    >>> from saddlery.tasks import InContextRegression
    >>> data = InContextRegression((0.7, 0.3), length=4, sequences=10).data(seed=0)
    >>> data.inputs.shape, data.targets.shape
    ((10, 5, 3), (10, 1))
    """

    kind: ClassVar[str] = "in_context_regression"
    eigenvalues: tuple[float, ...] = (0.7, 0.3)
    length: int = 31
    sequences: int = 0
    rotate: bool = False

    def covariance(self, seed: int) -> Float[np.ndarray, "D D"]:
        """Lambda (D, D)."""
        values = numbers(self.eigenvalues, "eigenvalues")
        d = len(values)
        require(
            d > 0 and bool(np.all(np.isfinite(values) & (values > 0))),
            "eigenvalues",
            needed="finite numbers above zero",
            given=self.eigenvalues,
        )
        pairs = d**2  # entries of the cubic feature
        require(
            pairs <= WIDEST,
            "eigenvalues",
            needed=f"at most {math.isqrt(WIDEST)} numbers",
            given=Words(f"{d:,}"),
        )
        q = np.eye(d)
        if self.rotate:
            q = orthogonal(generator(seed, self.kind), d, d)
        return (q * values) @ q.T

    def data(self, seed: int) -> Data:
        whole(self.length, "length")
        whole(self.sequences, "sequences", 0, "0 asks for the population")
        covariance = self.covariance(seed)
        shape = (self.length + 1, len(covariance) + 1)
        room("sequences and length", max(self.sequences, 1), *shape)
        if self.sequences == 0:
            return Data(shape, 1, moments=population_moments(covariance, self.length))
        rng = generator(seed, self.kind + " draw")
        prompts, answers = sample_prompts(covariance, self.length, self.sequences, rng)
        return Data(shape, 1, inputs=prompts, targets=answers)


def second_moment_of_covariance(
    covariance: Float[np.ndarray, "D D"], length: int
) -> Float[np.ndarray, "D D"]:
    """E[S^2] for the sample covariance S of N Gaussian vectors.

        E[S^2] = Lambda^2 + (Lambda + tr(Lambda) I) Lambda / N

    covariance (D, D): Lambda.
    length: N.

    S = mean x_n x_n' is taken about the known mean zero.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks.regression import second_moment_of_covariance
    >>> second_moment_of_covariance(np.eye(1), length=1)  # the fourth moment of N(0, 1)
    array([[3.]])
    """
    identity = np.eye(len(covariance))
    spread = covariance + np.trace(covariance) * identity
    return covariance @ covariance + spread @ covariance / length


def population_moments(covariance: Float[np.ndarray, "D D"], length: int) -> Moments:
    """The exact moments of the cubic feature z = vec(b x_q'), b = mean y_n
    x_n.

        E[y z'] = vec(Lambda^2)',    E|y|^2 = tr Lambda,
        E[z z'] = (Lambda^2 + (Lambda + tr(Lambda) I) Lambda / N) (x) Lambda

    covariance (D, D): Lambda.
    length: N, of a prompt.

    Source: Zhang, Singh, Latham & Saxe (2025), Appendix.
    """
    second = second_moment_of_covariance(covariance, length)
    return Moments(
        feature="in-context",
        features=np.kron(second, covariance),
        cross=(covariance @ covariance).reshape(1, -1),
        target=float(np.trace(covariance)),
    )


def sample_prompts(
    covariance: Float[np.ndarray, "D D"],
    length: int,
    sequences: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "R N K"], Float[np.ndarray, "R 1"]]:
    """Prompts (R, N + 1, D + 1) of R sequences and their answers (R, 1).

    covariance (D, D): Lambda, of the inputs.
    length: N, of a prompt.
    sequences: R.
    """
    d = len(covariance)
    white = rng.standard_normal((sequences, length + 1, d))
    x = white @ np.linalg.cholesky(covariance).T
    w = rng.standard_normal((sequences, d))
    y = np.einsum("pnd,pd->pn", x, w)
    prompts = np.concatenate([x, y[..., None]], axis=2)
    prompts[:, -1, -1] = 0.0  # the answer is not shown
    return prompts, y[:, -1:]
