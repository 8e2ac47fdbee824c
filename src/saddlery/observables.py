"""What is measured at every saved point, for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

from .networks import Network, Shape, places_of_units

SHOWN = 12  # singular values kept
SMALL, TINY = 1e-200, np.finfo(float).tiny  # a sum of squares whose rounding would underflow; the least positive number
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
    broken, huge = _unfit(states)
    directions = np.where(broken[:, None], 0.0, states) if broken.any() else states
    states = np.where(huge[:, None], 0.0, states) if huge.any() else states
    found: dict[str, np.ndarray] = {}
    for k, (layer, sides) in enumerate(zip(network.layers, places_of_units(network, shape, outputs), strict=True)):
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


def _unfit(states: Float[np.ndarray, "T P"]) -> tuple[np.ndarray, np.ndarray]:
    """Which states (T) are not finite, and which of them or of the others hold weights that overflow."""
    if np.vdot(states, states) < HUGE**2:  # one pass tells of nearly all runs that every weight is below
        return np.zeros(len(states), bool), np.zeros(len(states), bool)
    largest = np.abs(states).max(axis=1, initial=0.0)  # NaN where a weight is
    return ~np.isfinite(largest), ~(largest < HUGE)


def alignment(u: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, " T"]:
    """s_1^2 / sum s^2 of each matrix; the largest eigenvalue of a Gram matrix is as exact as s_1."""
    gram, total = _gram(u)
    if not np.all((total > SMALL) & (total < 1 / SMALL)):  # squares that underflow or overflow
        gram, total = _gram(u / np.maximum(np.abs(u).max(axis=(1, 2), initial=0.0), TINY)[:, None, None])
    return np.linalg.eigvalsh(gram)[:, -1] / np.where(total > 0, total, 1.0)


def _gram(u: Float[np.ndarray, "T H U"]) -> tuple[Float[np.ndarray, "T N N"], Float[np.ndarray, " T"]]:
    """The Gram matrices on the shorter side and their traces."""
    across = u.swapaxes(1, 2)
    with np.errstate(over="ignore", invalid="ignore"):
        gram = u @ across if u.shape[1] < u.shape[2] else across @ u
        return gram, np.trace(gram, axis1=1, axis2=2)


def _lengths(rows: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, "T H"]:
    return np.sqrt(np.einsum("thi,thi->th", rows, rows))
