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
    """Orthogonal inputs x_n of equal length with scalar targets of both
    signs.

        x_n . x_m = N delta_nm

    so that the mean x x' of the inputs (N, D) has unit eigenvalues. From
    small weights neurons align with D+ = mean_{y>0} y x or D- and the cluster
    of the larger norm is fitted first; the saddle's loss is 1/(2N) sum of y^2
    over the other sign.

    targets (N,): none of them zero.
    inputs: D, at least N; 0 for N.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks import OrthogonalReLU
    >>> data = OrthogonalReLU((1.0, -0.6)).data(seed=0)
    >>> bool(np.allclose(data.inputs @ data.inputs.T, 2 * np.eye(2)))
    True
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
            needed="finite non-zero numbers",
            given=self.targets,
        )
        remedy = "orthogonal inputs need at least as many dimensions"
        d = whole(self.inputs or n, "inputs", least=n, remedy=remedy)
        square(d, "inputs")
        directions = orthogonal(generator(seed, self.kind), d, n).T
        return Data((d,), 1, inputs=np.sqrt(n) * directions, targets=y[:, None])


@dataclass(frozen=True)
class OrthogonalPatches(Task):
    """Inputs with one patch each, patches orthogonal, for ReLU convolutional
    networks with scalar output.

    Sample (a, p) shows patch a (orthonormal, of length K) at position p and
    nothing elsewhere. Its target is amplitudes[a] at every position. Inputs
    (N, 1, K P) are sqrt(N) times the patch and targets sqrt(N / P) times the
    amplitude, so that mean x x' is white and kernel a has singular value
    |amplitudes[a]|. Each learned kernel fits the patches of one sign.

    amplitudes (A,): none of them zero; N = A P.
    kernel: K, at least A; 0 for A. Use kernels of this length and as far
        apart.
    positions: P.
    split: every patch has an output of its own, targets (N, A), and the
        scalar target is their sum.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks import OrthogonalPatches
    >>> data = OrthogonalPatches((1.0, -0.5), positions=2).data(seed=0)
    >>> shown = np.abs(data.inputs.reshape(4, 2, 2)).max(axis=2) > 0
    >>> shown.tolist()[:2], data.targets.round(3).ravel().tolist()
    ([[True, False], [False, True]], [1.414, 1.414, -0.707, -0.707])
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
            needed="finite non-zero numbers",
            given=self.amplitudes,
        )
        remedy = "orthogonal patches need at least as many entries"
        length = whole(self.kernel or k, "kernel", least=k, remedy=remedy)
        places = whole(self.positions, "positions")
        square(length, "kernel")
        room("amplitudes, kernel and positions", k * places, places * length)
        patches = orthogonal(generator(seed, self.kind), length, k).T
        # axes: patch, position shown, position, entry
        x = np.einsum("ak,pq->apqk", patches, np.eye(places))
        n = k * places
        inputs = np.sqrt(n) * x.reshape(n, 1, places * length)
        targets = np.sqrt(n / places) * np.repeat(amplitudes, places)[:, None]
        if flag(self.split, "split"):
            targets = targets * np.repeat(np.eye(k), places, axis=0)
        shape = (1, places * length)
        return Data(shape, targets.shape[1], inputs=inputs, targets=targets)
