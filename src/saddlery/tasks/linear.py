"""Tasks for linear maps: teachers with a chosen spectrum, and the
hierarchical data of semantic development."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..basis.checks import numbers, real, require, whole
from ..networks import Data, Moments
from .base import WIDEST, Task, generator, orthogonal, square


@dataclass(frozen=True)
class LinearTeacher(Task):
    """A linear map with a chosen singular spectrum on white (or chosen)
    inputs; exact moments, no samples.

        y = W x,    W = sum_k s_k q_k r_k',    E[x x'] = diag(covariance)

    singular_values: s_k, in any order, or
    count, exponent: for s_k proportional to k^-exponent with sum 1.
    inputs, outputs: D and O, at least as many as s_k; 0 for just as many.
    covariance (D,): variances of the inputs; 1 where left out.
    rotate: q_k and r_k are random orthonormal vectors, else the coordinate
        axes.
    noise: the variance of y per output that no map explains: it adds noise *
        O / 2 to every loss.

    Without noise the data also hold D equivalent samples, for units that are
    not linear. Source: Zhang, Saxe & Latham (2026), Figure 2 (powers of k).

    Example
    -------
    >>> from saddlery.tasks import LinearTeacher
    >>> task = LinearTeacher((1.0, 0.4), covariance=(2.0, 0.5), rotate=False, noise=0.1)
    >>> moments = task.data(seed=0).moments
    >>> moments.cross.tolist(), round(moments.target, 12)
    ([[2.0, 0.0], [0.0, 0.2]], 2.28)
    """

    kind: ClassVar[str] = "linear_teacher"
    singular_values: tuple[float, ...] = ()
    count: int = 0
    exponent: float = 1.0
    inputs: int = 0
    outputs: int = 0
    covariance: tuple[float, ...] = ()
    rotate: bool = True
    noise: float = 0.0

    def spectrum(self) -> Float[np.ndarray, " K"]:
        """s_k, in the order given."""
        if self.singular_values:
            require(self.count == 0, "count", "left out when singular_values are given", self.count)
            values = numbers(self.singular_values, "singular_values")
            require(
                bool(np.all(np.isfinite(values) & (values > 0))),
                "singular_values",
                needed="finite numbers above zero",
                given=self.singular_values,
            )
            return values
        square(whole(self.count, "count", remedy="or give singular_values"), "count")
        real(self.exponent, "exponent")
        values = np.arange(1, self.count + 1) ** -float(self.exponent)
        return values / values.sum()

    def teacher(self, seed: int) -> Float[np.ndarray, "O D"]:
        """W (O, D)."""
        s = self.spectrum()
        rank = len(s)
        d, o = self.inputs or rank, self.outputs or rank
        for name, size in (("inputs", d), ("outputs", o)):
            square(whole(size, name, rank, remedy=f"the teacher has rank {rank}"), name)
        if self.rotate:
            rng = generator(seed, self.kind)
            q = orthogonal(rng, o, rank)
            r = orthogonal(rng, d, rank)
        else:
            q, r = np.eye(o, rank), np.eye(d, rank)
        return (q * s) @ r.T

    def data(self, seed: int) -> Data:
        w = self.teacher(seed)
        o, d = w.shape
        variances = self._variances(d)
        noise = real(self.noise, "noise")
        require(noise >= 0, "noise", needed="a variance of at least zero", given=noise)
        cross = w * variances
        explained = float(np.sum(cross * w))
        moments = Moments(
            feature="input",
            features=np.diag(variances),
            cross=cross,
            target=explained + noise * o,
        )
        if noise != 0:  # no finite number of samples states it
            return Data((d,), o, moments=moments)
        root = np.sqrt(d) * np.diag(np.sqrt(variances))
        return Data((d,), o, inputs=root, targets=root @ w.T, moments=moments)

    def _variances(self, inputs: int) -> Float[np.ndarray, " D"]:
        if not self.covariance:
            return np.ones(inputs)
        variances = numbers(self.covariance, "covariance")
        require(
            len(variances) == inputs,
            "covariance",
            needed=f"{inputs} variances, one an input",
            given=self.covariance,
        )
        require(
            bool(np.all(np.isfinite(variances) & (variances > 0))),
            "covariance",
            needed="finite variances above zero",
            given=self.covariance,
        )
        return variances


@dataclass(frozen=True)
class ConvolutionalLinearTeacher(Task):
    """A scalar linear teacher for convolutional networks: patches times
    positions with a chosen spectrum.

        y = sum_p w_p . z_p,    [w_1 ... w_P] = sum_k s_k q_k r_k'

    The input (1, K P) is white and cut into P patches z_p of length K, so
    that each learned kernel adds one singular value. Use kernels of the same
    length and stride = kernel.

    singular_values: s_k, in any order.
    kernel, positions: K and P, at least as many as s_k.

    Source: Zhang, Saxe & Latham (2026), Figure 1C.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks import ConvolutionalLinearTeacher
    >>> data = ConvolutionalLinearTeacher((1.0, 0.5), kernel=3).data(seed=0)
    >>> patches = data.moments.cross.reshape(2, 3)
    >>> np.linalg.svd(patches, compute_uv=False).round(12).tolist()
    [1.0, 0.5]
    """

    kind: ClassVar[str] = "convolutional_linear_teacher"
    singular_values: tuple[float, ...] = (1.0, 0.5)
    kernel: int = 2
    positions: int = 2

    def data(self, seed: int) -> Data:
        rank = len(numbers(self.singular_values, "singular_values"))
        whole(self.kernel, "kernel", rank, remedy=f"the teacher has rank {rank}")
        whole(self.positions, "positions", rank, remedy=f"the teacher has rank {rank}")
        square(self.kernel * self.positions, "kernel * positions")
        task = LinearTeacher(self.singular_values, inputs=self.kernel, outputs=self.positions)
        w = task.teacher(seed)
        d = w.size
        moments = Moments(
            feature="input",
            features=np.eye(d),
            cross=w.reshape(1, -1),
            target=float(np.sum(w**2)),
        )
        # d samples with these moments, for units that are not linear
        inputs = np.sqrt(d) * np.eye(d)
        return Data(
            shape=(1, d),
            outputs=1,
            inputs=inputs.reshape(d, 1, d),
            targets=inputs @ w.reshape(-1, 1),
            moments=moments,
        )


@dataclass(frozen=True)
class Hierarchy(Task):
    """Semantic data with a tree structure: items branch `branches` ways for
    `levels` levels, one feature a node.

    There are N = branches^levels items. Inputs (N, N) are one-hot and scaled
    so that they are white, x = sqrt(N) e_item; targets (N, O) have one entry
    for each of the O nodes of the tree, which is 1 for the items below it.
    Broad distinctions have the larger singular values and are learned first.

    Source: Saxe, McClelland & Ganguli (2019), Figures 3 and 4.

    Example
    -------
    >>> from saddlery.tasks import Hierarchy
    >>> Hierarchy(levels=1, branches=2).data(seed=0).targets.tolist()
    [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """

    kind: ClassVar[str] = "hierarchy"
    seeded: ClassVar[bool] = False
    levels: int = 3
    branches: int = 2

    def data(self, seed: int) -> Data:
        whole(self.levels, "levels")
        whole(self.branches, "branches", 2)
        remedy = "lower one of them"
        # beyond, the power alone would fill the memory
        require(self.levels < 64, "levels", needed="below 64", given=self.levels, remedy=remedy)
        items = self.branches**self.levels
        require(
            items <= WIDEST,
            "branches ** levels",
            needed=f"at most {WIDEST} items",
            given=items,
            remedy=remedy,
        )
        y = np.concatenate([self._nodes(level) for level in range(self.levels + 1)])
        inputs = np.sqrt(items) * np.eye(items)
        moments = Moments(
            feature="input",
            features=np.eye(items),
            cross=y @ inputs / items,
            target=float(np.sum(y**2) / items),
        )
        return Data((items,), len(y), inputs=inputs, targets=y.T.copy(), moments=moments)

    def _nodes(self, level: int) -> Float[np.ndarray, "nodes items"]:
        """Which items are below each node of a level."""
        nodes = self.branches**level
        below = self.branches ** (self.levels - level)
        return np.kron(np.eye(nodes), np.ones((1, below)))
