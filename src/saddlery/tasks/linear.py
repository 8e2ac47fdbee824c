"""Tasks for linear maps: teachers with a chosen spectrum, and the hierarchical data of semantic
development."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..basis.checks import numbers, real, require, whole
from ..networks import Data, Moments
from .base import WIDEST, Task, generator, orthogonal, square


@dataclass(frozen=True)
class LinearTeacher(Task):
    """A linear map with a chosen singular spectrum on white (or chosen) inputs; exact moments, no
    samples.

    y = W x with W = sum_k s_k q_k r_k', E[x x'] = diag(covariance) (identity by default); q_k and
    r_k are random orthonormal vectors, or the coordinate axes when `rotate` is false. Give
    `singular_values`, or `count` and `exponent` for s_k proportional to k^-exponent with sum 1
    (Zhang, Saxe & Latham 2026, Figure 2). `noise` is the variance of y per output that no map
    explains: it adds noise * outputs / 2 to every loss.
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

    def spectrum(self) -> np.ndarray:
        """s_k, in the order given."""
        if self.singular_values:
            require(self.count == 0, "count", "left out when singular_values are given", self.count)
            values = numbers(self.singular_values, "singular_values")
            require(
                bool(np.all(np.isfinite(values) & (values > 0))),
                "singular_values",
                "finite numbers above zero",
                self.singular_values,
            )
            return values
        square(whole(self.count, "count", remedy="or give singular_values"), "count")
        real(self.exponent, "exponent")
        values = np.arange(1, self.count + 1) ** -float(self.exponent)
        return values / values.sum()

    def teacher(self, seed: int) -> np.ndarray:
        """W (O, D)."""
        s = self.spectrum()
        d, o = self.inputs or len(s), self.outputs or len(s)
        for name, size in (("inputs", d), ("outputs", o)):
            square(whole(size, name, len(s), remedy=f"the teacher has rank {len(s)}"), name)
        rng = generator(seed, self.kind)
        q, r = (
            orthogonal(rng, n, len(s)) if self.rotate else np.eye(n)[:, : len(s)] for n in (o, d)
        )
        return (q * s) @ r.T

    def data(self, seed: int) -> Data:
        w = self.teacher(seed)
        o, d = w.shape
        variances = numbers(self.covariance, "covariance") if self.covariance else np.ones(d)
        require(len(variances) == d, "covariance", f"{d} variances, one an input", self.covariance)
        require(
            bool(np.all(np.isfinite(variances) & (variances > 0))),
            "covariance",
            "finite variances above zero",
            self.covariance,
        )
        require(real(self.noise, "noise") >= 0, "noise", "a variance of at least zero", self.noise)
        cross = w * variances
        moments = Moments(
            "input", np.diag(variances), cross, float(np.sum(cross * w)) + self.noise * o
        )
        root = np.sqrt(d) * np.diag(
            np.sqrt(variances)
        )  # d equivalent samples, for units that are not linear
        samples = {"inputs": root, "targets": root @ w.T} if self.noise == 0 else {}
        return Data(shape=(d,), outputs=o, moments=moments, **samples)


@dataclass(frozen=True)
class ConvolutionalLinearTeacher(Task):
    """A scalar linear teacher for convolutional networks: patches times positions with a chosen
    spectrum.

    x (1, kernel * positions) is white and cut into `positions` patches z_p of length `kernel`; y =
    sum_p w_p . z_p with [w_1 ... w_P] = sum_k s_k q_k r_k', so that each learned kernel adds one
    singular value. Use kernels of the same length and stride = kernel. Setting of Zhang, Saxe &
    Latham (2026), Figure 1C.
    """

    kind: ClassVar[str] = "convolutional_linear_teacher"
    singular_values: tuple[float, ...] = (1.0, 0.5)
    kernel: int = 2
    positions: int = 2

    def data(self, seed: int) -> Data:
        least = len(numbers(self.singular_values, "singular_values"))
        whole(self.kernel, "kernel", least, remedy=f"the teacher has rank {least}")
        whole(self.positions, "positions", least, remedy=f"the teacher has rank {least}")
        square(self.kernel * self.positions, "kernel * positions")
        w = LinearTeacher(self.singular_values, inputs=self.kernel, outputs=self.positions).teacher(
            seed
        )
        d = w.size
        moments = Moments("input", np.eye(d), w.reshape(1, -1), float(np.sum(w**2)))
        inputs = np.sqrt(d) * np.eye(d)
        return Data((1, d), 1, inputs.reshape(d, 1, d), inputs @ w.reshape(-1, 1), moments)


@dataclass(frozen=True)
class Hierarchy(Task):
    """Semantic data with a tree structure: items branch `branches` ways for `levels` levels, one
    feature a node.

    x is the one-hot item; y has one entry for each node of the tree, which is 1 for the items below
    it, scaled so that the inputs are white: x = sqrt(items) e_item. Broad distinctions have the
    larger singular values and are learned first. Source: Saxe, McClelland & Ganguli (2019), Figures
    3 and 4.
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
        require(self.levels < 64, "levels", "below 64", self.levels, remedy)
        items = self.branches**self.levels
        require(items <= WIDEST, "branches ** levels", f"at most {WIDEST} items", items, remedy)
        blocks = [
            np.kron(np.eye(self.branches**k), np.ones((1, self.branches ** (self.levels - k))))
            for k in range(self.levels + 1)
        ]
        y = np.concatenate(blocks)  # (nodes, items)
        inputs = np.sqrt(items) * np.eye(items)
        cross = y @ inputs / items
        moments = Moments("input", np.eye(items), cross, float(np.sum(y**2) / items))
        return Data((items,), len(y), inputs, y.T.copy(), moments)
