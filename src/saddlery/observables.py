"""What is measured at every saved point, for each layer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Array, Float

from .networks import Network, Shape, unflatten
from .precision import precision_context

SHOWN = 12  # singular values kept
HUGE = np.finfo(float).max ** 0.25  # a weight whose products overflow

Observable = Literal["unit_norms", "alignment", "singular_values"]
OBSERVABLES: tuple[Observable, ...] = ("unit_norms", "alignment", "singular_values")


def observe(
    network: Network,
    shape: Shape,
    outputs: int,
    states: Float[np.ndarray, "T P"],
    wanted: tuple[Observable, ...] = OBSERVABLES,
) -> Mapping[str, np.ndarray]:
    """The observables of T states for each layer k, in float64: "unit_norms_k" (T, H), "alignment_k" (T,) and
    "singular_values_k" (T, at most 12), or "product_singular_values_k" in its place.

    unit_norms: |u_i| |v_i|. alignment: largest share of the squared incoming weights in one direction, s_1^2 / sum s^2 of the
    matrix u (H, U): 1 when all units lie on one line, 0 where all are zero. singular_values: of the weights [u, v] side by side
    (H, U + V); for units linear in u those of sum_i v_i u_i', the product. wanted: which of the three. A state that is not
    finite has none (NaN), one with weights beyond 1e77 its alignment only. Cost: a singular value decomposition and the
    eigenvalues of a Gram matrix a layer and state.
    """
    states = np.asarray(states, float)
    broken = np.logical_not(np.isfinite(states).all(axis=1))
    huge = np.logical_not((np.abs(states) < HUGE).all(axis=1))
    directions = np.where(broken[:, None], 0.0, states) if broken.any() else states
    states = np.where(huge[:, None], 0.0, states) if huge.any() else states
    found: dict[str, np.ndarray] = {}
    for k, (layer, sides) in enumerate(zip(network.layers, _places(network, shape, outputs), strict=True)):
        u, v = (states[:, where].reshape(len(states), *shape) for where, shape in sides)
        if "unit_norms" in wanted:
            found[f"unit_norms_{k}"] = _lengths(u) * _lengths(v)
        if "alignment" in wanted:
            where, size = sides[0]
            found[f"alignment_{k}"] = alignment(directions[:, where].reshape(len(states), *size))
        if "singular_values" in wanted:
            linear = layer.unit.symmetry.linear
            name = f"product_singular_values_{k}" if linear else f"singular_values_{k}"
            matrix = v.swapaxes(1, 2) @ u if linear else np.concatenate([u, v], axis=2)
            found[name] = np.linalg.svd(matrix, compute_uv=False)[:, :SHOWN]
    for name, values in found.items():
        values[broken if name.startswith("alignment") else huge] = np.nan
    return found


def alignment(u: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, " T"]:
    """s_1^2 / sum s^2 of each matrix; the largest eigenvalue of a Gram matrix is as exact as s_1."""
    u = u / np.maximum(np.abs(u).max(axis=(1, 2), initial=0.0), np.finfo(float).tiny)[:, None, None]
    across = u.swapaxes(1, 2)
    gram = u @ across if u.shape[1] < u.shape[2] else across @ u
    total = np.trace(gram, axis1=1, axis2=2)
    return np.linalg.eigvalsh(gram)[:, -1] / np.where(total > 0, total, 1.0)


def _lengths(rows: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, "T H"]:
    return np.sqrt(np.einsum("thi,thi->th", rows, rows))


Place = tuple[slice | np.ndarray, tuple[int, ...]]  # which numbers, and the shape they make


@functools.lru_cache(maxsize=256)
def _places(network: Network, shape: Shape, outputs: int) -> tuple[tuple[Place, Place], ...]:
    """Where u (H, U) and v (H, V) of every layer lie in the flat vector."""
    with precision_context("float64"):  # float32 holds whole numbers to 2^24
        params = unflatten(network, np.arange(network.count(shape, outputs), dtype=float), shape, outputs)
        sides = lambda k: (_place(network.incoming(params, k)), _place(network.outgoing(params, k)))
        return tuple(sides(k) for k in range(len(network.layers)))


def _place(side: Array | np.ndarray) -> Place:
    numbers = np.asarray(side).astype(int).ravel()
    together = len(numbers) > 0 and np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers)))
    return slice(numbers[0], numbers[0] + len(numbers)) if together else numbers, side.shape
