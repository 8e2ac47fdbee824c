"""Deep linear networks: the least loss they can reach, and the descent along a
chain of free directions.

A network of linear layers computes f = W_L ... W_1 x with no more rank than its
narrowest layer. For the squared loss it has no local minimum above the global one,
whatever its widths and data (Kawaguchi 2016 under conditions on data, Lu &
Kawaguchi 2017; without conditions Zhang 2019, by Zhou & Liang 2018 for two layers),
and the global minimum is that of reduced rank regression, in closed form. A fixed
point above it is therefore a saddle, found to fall or not.

How it falls, with R = E[(y - f) x'] and p_k a unit of layer k that neither reads
nor is read (W_k' p_k = 0 and W_{k+1} p_k = 0): along D_i = p_i q', D_k = p_k
p_{k-1}', D_j = p p_{j-1}' every product with some but not all of the D vanishes,
and L(t) = L - t^l p' (W_L...W_{j+1})' R (W_{i-1}...W_1)' q + O(t^2l), l = j - i +
1. Derived here.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy.linalg import null_space

from ..basis.precision import in_float64
from ..basis.sizes import column_sizes
from ..networks import Layer, Objective, flatten

Matrices = list[np.ndarray]
# A residual below this share of E[y x'] is what an inexact fixed point leaves.
LEFT = 1e-9
# A matrix does not see directions with singular values below this share of the largest.
FREE = 1e-9


class LeastLoss(NamedTuple):
    """The least loss of a deep linear network.

    loss: itself.
    rank: of the maps that its layers let through.
    """

    loss: float
    rank: int


class Chain(NamedTuple):
    """A descent along a chain of free directions.

    direction (P,): of unit length.
    order: l, the matrices moved.
    value: F in L(t) = L - t^l F.
    """

    direction: np.ndarray
    order: int
    value: float


def is_deep_linear(objective: Objective) -> bool:
    """Whether the theorem applies: dense linear layers without biases or residual
    streams, quadratic loss.

    Example
    -------
    >>> from saddlery import Experiment
    >>> names = ("linear", "linear_conv", "relu")
    >>> [is_deep_linear(Experiment.named(name).objective()) for name in names]
    [True, False, False]
    """
    network = objective.network
    if not objective.function.loss.quadratic or network.reads != "all":
        return False
    if not network.layers[0].unit.channels:
        return False
    return all(_is_plain(layer) for layer in network.layers)


def _is_plain(layer: Layer) -> bool:
    """W alone: no bias, no stream beside it."""
    return layer.unit.name == "linear" and not layer.unit.extra and not layer.residual


@in_float64
def least_loss(objective: Objective) -> LeastLoss | None:
    """The least loss of any weights (P,), in closed form; None unless the network is
    deep linear.

        c/2 (E|y - W* x|^2 + sum_{k > r} s_k^2)

    c is the factor of the loss, s_k the singular values of W* S_xx^(1/2), W* the best
    linear map, r the least of all widths. Cost: one least-squares problem of the
    samples.

    Example
    -------
    One unit of a map with singular values 1 and 0.4 leaves 0.4^2 / 2.

    >>> from saddlery import Experiment
    >>> experiment = Experiment.named("linear")
    >>> one = experiment.replace(network=experiment.network.with_widths([1]))
    >>> least = least_loss(one.objective())
    >>> least.rank, round(least.loss, 6)
    (1, 0.08)

    Source: reduced rank regression (Izenman 1975).
    """
    if not is_deep_linear(objective):
        return None
    matrices = _matrices(objective, np.zeros(objective.size))
    rank = min(min(w.shape) for w in matrices)
    x, y = _data(objective)
    # No feature is lost beside others in larger units.
    even = x / column_sizes(x)
    fitted = even @ np.linalg.lstsq(even, y, rcond=None)[0]
    beyond = np.linalg.svd(fitted, compute_uv=False)[rank:]
    missed = float(np.sum((y - fitted) ** 2)) + float(np.sum(beyond**2))
    left = 0.5 * _factor(objective) * missed / len(x)
    return LeastLoss(objective.constant + left, rank)


@in_float64
def free_chain(objective: Objective, state: np.ndarray) -> Chain | None:
    """The descent of lowest order along a chain of free directions at a state (P,) of a
    deep linear network, or None; also where less than 1e-9 of E[y x'] is left to learn.

    Of chains of one order that of greatest value. Cost: a singular value
    decomposition a pair of layers.

    Example
    -------
    From the origin of three matrices, each with a share t / sqrt(3) of the weights, the
    first mode lowers the loss by s (t / sqrt(3))^3, here with s = 1.

    >>> from saddlery import Experiment
    >>> from saddlery.networks import Network
    >>> from saddlery.units import make
    >>> layers = (Layer(make("linear"), 3, mixes=False), Layer(make("linear"), 3))
    >>> experiment = Experiment.named("linear").replace(network=Network(layers))
    >>> objective = experiment.objective()
    >>> chain = free_chain(objective, np.zeros(objective.size))
    >>> chain.order, round(chain.value * 3**1.5, 6)
    (3, 1.0)
    """
    matrices = _matrices(objective, state)
    x, y = _data(objective)
    errors = y - x @ _product(matrices, x.shape[1]).T
    residual = errors.T @ x / len(x)
    if not np.linalg.norm(residual) > LEFT * np.linalg.norm(y.T @ x / len(x)):
        return None
    residual *= _factor(objective)
    free = [_free(below, above) for below, above in itertools.pairwise(matrices)]
    for length in range(2, len(matrices) + 1):
        chains = []
        for first in range(len(matrices) - length + 1):
            chain = _chain(objective, matrices, residual, free, first, first + length)
            if chain is not None:
                chains.append(chain)
        if chains:
            return max(chains, key=lambda chain: chain.value)
    return None


def _data(objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """The samples, (N, D) and (N, O)."""
    x = np.asarray(objective.inputs, float).reshape(len(objective.inputs), -1)
    y = np.asarray(objective.targets, float).reshape(len(x), -1)
    return x, y


def _chain(
    objective: Objective,
    matrices: Matrices,
    residual: np.ndarray,
    free: Matrices,
    first: int,
    end: int,
) -> Chain | None:
    """Through matrices first ... end - 1, if every layer between them has a free unit
    and the residual is seen there."""
    length, inner = end - first, free[first : end - 1]
    if not all(p.shape[1] for p in inner):
        return None
    before = _product(matrices[:first], residual.shape[1])
    after = _product(matrices[end:], matrices[end - 1].shape[0])
    left, values, right = np.linalg.svd(after.T @ residual @ before.T)
    if not values[0] > FREE * _seen(residual, before, after):
        return None
    ends = [right[0], *(p[:, 0] for p in inner), left[:, 0]]
    moved = [np.zeros_like(w) for w in matrices]
    for k in range(length):
        moved[first + k] = np.outer(ends[k + 1], ends[k]) / np.sqrt(length)
    return Chain(
        direction=_flat(objective, moved),
        order=length,
        value=float(values[0] * length ** (-length / 2)),
    )


def _seen(residual: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """What could be seen of a residual at most, by matrices of these norms."""
    sizes = np.linalg.norm(before, 2), np.linalg.norm(after, 2)
    return float(np.linalg.norm(residual) * sizes[0] * sizes[1])


def _factor(objective: Objective) -> float:
    return objective.function.loss.factor(objective.targets.shape[1:])


def _free(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the units that W does not write and the next one
    does not read, (H, k)."""
    both = []
    for matrix in (below.T, above):
        size = np.linalg.norm(matrix, 2)
        if size > 0:
            both.append(matrix / size)
    if not both:
        return np.eye(len(below))
    return null_space(np.vstack(both), rcond=FREE)


def _product(matrices: Matrices, size: int) -> np.ndarray:
    total = np.eye(size)
    for w in matrices:
        total = w @ total
    return total


def _matrices(objective: Objective, state: np.ndarray) -> Matrices:
    """W_1 ... W_L of f = W_L ... W_1 x."""
    found: Matrices = []
    params = objective.params(np.asarray(state, float))
    for layer, entry in zip(objective.network.layers, params, strict=True):
        found.append(np.asarray(entry["u"]).reshape(layer.width, -1))
        if layer.mixes:
            found.append(np.asarray(entry["v"]).reshape(layer.width, -1).T)
    if objective.network.readout:
        found.append(np.asarray(params[-1]["readout"]).T)
    return found


def _flat(objective: Objective, matrices: Matrices) -> np.ndarray:
    """The inverse of `_matrices`."""
    left, params = list(matrices), []
    for entry in objective.params(np.zeros(objective.size)):
        new = {"u": left.pop(0).reshape(entry["u"].shape)}
        if "v" in entry:
            new["v"] = left.pop(0).T.reshape(entry["v"].shape)
        params.append(new)
    if objective.network.readout:
        params[-1]["readout"] = left.pop(0).T
    return flatten(tuple(params))
