"""Orthogonal inputs for ReLU networks: fully connected and convolutional."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..basis.checks import flag, numbers, require, whole
from ..networks import Data
from .base import Task, generator, orthogonal, room, square


@dataclass(frozen=True)
class OrthogonalReLU(Task):
    """Orthogonal inputs x_n of equal length with scalar targets of both signs.

    N = len(targets) inputs in D = `inputs` >= N dimensions, x_n . x_m = N delta_nm (so that the
    mean x x' has unit eigenvalues). From small weights neurons align with D+ = mean_{y>0} y x or D-
    and the cluster of the larger norm is fitted first; the saddle's loss is 1/(2N) sum of y^2 over
    the other sign.
    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """

    kind: ClassVar[str] = "orthogonal_relu"
    targets: tuple[float, ...] = (1.0, -0.6)
    inputs: int = 0

    def data(self, seed: int) -> Data:
        y = numbers(self.targets, "targets")
        n = len(y)
        require(
            n > 0 and bool(np.all(np.isfinite(y) & (y != 0))),
            "targets",
            "finite non-zero numbers",
            self.targets,
        )
        d = whole(
            self.inputs or n,
            "inputs",
            n,
            remedy="orthogonal inputs need at least as many dimensions",
        )
        square(d, "inputs")
        x = np.sqrt(n) * orthogonal(generator(seed, self.kind), d, n).T
        return Data((d,), 1, x, y[:, None])


@dataclass(frozen=True)
class OrthogonalPatches(Task):
    """Inputs with one patch each, patches orthogonal, for ReLU convolutional networks with scalar
    output.

    Sample (a, p) shows patch a (orthonormal, of length `kernel`) at position p and nothing
    elsewhere. Its target is amplitudes[a] at every position, scaled so that E[x x'] is white and
    kernel a has singular value |amplitudes[a]|: inputs are sqrt(n) times the patch and targets
    sqrt(n / positions) times the amplitude, n the number of samples. Each learned kernel fits the
    patches of one sign. Use kernels of length `kernel` and stride = kernel. split: every patch has
    an output of its own, and the scalar target is their sum.
    """

    kind: ClassVar[str] = "orthogonal_patches"
    amplitudes: tuple[float, ...] = (1.0, -0.6)
    kernel: int = 0
    positions: int = 2
    split: bool = False

    def data(self, seed: int) -> Data:
        amplitudes = numbers(self.amplitudes, "amplitudes")
        k = len(amplitudes)
        require(
            k > 0 and bool(np.all(np.isfinite(amplitudes) & (amplitudes != 0))),
            "amplitudes",
            "finite non-zero numbers",
            self.amplitudes,
        )
        length = whole(
            self.kernel or k, "kernel", k, remedy="orthogonal patches need at least as many entries"
        )
        places = whole(self.positions, "positions")
        square(length, "kernel")
        room("amplitudes, kernel and positions", k * places, places * length)
        patches = orthogonal(generator(seed, self.kind), length, k).T
        x = np.einsum(
            "ak,pq->apqk", patches, np.eye(places)
        )  # patch, position shown, position, entry
        n = k * places
        inputs = np.sqrt(n) * x.reshape(n, 1, places * length)
        targets = np.sqrt(n / places) * np.repeat(amplitudes, places)[:, None]
        if flag(self.split, "split"):
            targets = targets * np.repeat(np.eye(k), places, axis=0)
        return Data((1, places * length), targets.shape[1], inputs, targets)
