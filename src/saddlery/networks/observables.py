"""What is measured at every saved point, for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

from .network import Network, Shape, places_of_units

SHOWN = 12  # singular values kept
SMALL, TINY = (
    1e-200,
    np.finfo(float).tiny,
)  # a sum of squares whose rounding would underflow; the least normal number

Observable = Literal["unit_norms", "alignment", "singular_values"]
OBSERVABLES: tuple[Observable, ...] = ("unit_norms", "alignment", "singular_values")


def observe(
    network: Network,
    shape: Shape,
    outputs: int,
    states: Float[np.ndarray, "T P"],
    wanted: tuple[Observable, ...] = OBSERVABLES,
) -> Mapping[str, np.ndarray]:
    """The observables of T states for each layer k, in float64: "unit_norms_k" (T, H),
    "alignment_k" (T,) and "singular_values_k" (T, at most 12), or "product_singular_values_k" in
    its place.

    unit_norms: |u_i| |v_i|. alignment: largest share of the squared incoming weights in one
    direction, s_1^2 / sum s^2 of the matrix u (H, U): 1 when all units lie on one line, 0 where all
    are zero. singular_values: of the weights [u, v] side by side (H, U + V); for units linear in u
    those of sum_i v_i u_i', the product. wanted: which of the three. What is made of weights that
    are not finite is NaN, and so is what overflows. Cost: a singular value decomposition and the
    eigenvalues of a Gram matrix a layer and state.
    """
    states = np.asarray(states, float)
    found: dict[str, np.ndarray] = {}
    for k, (layer, sides) in enumerate(
        zip(network.layers, places_of_units(network, shape, outputs), strict=True)
    ):
        u, v = (states[:, where].reshape(len(states), *shape) for where, shape in sides)
        if "unit_norms" in wanted:
            found[f"unit_norms_{k}"] = unit_norms(u, v)
        if "alignment" in wanted:
            found[f"alignment_{k}"] = alignment(u)
        if "singular_values" in wanted and layer.unit.symmetry.linear:
            found[f"product_singular_values_{k}"] = singular_values(_product(v.swapaxes(1, 2), u))
        elif "singular_values" in wanted:
            found[f"singular_values_{k}"] = singular_values(np.concatenate([u, v], axis=2))
    return found


def unit_norms(
    u: Float[np.ndarray, "T H U"], v: Float[np.ndarray, "T H V"]
) -> Float[np.ndarray, "T H"]:
    """|u_i| |v_i|."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = [np.einsum("thi,thi->th", side, side) for side in (u, v)]
        norms = np.sqrt(squares[0]) * np.sqrt(squares[1])
    return np.where(np.isfinite(norms), norms, np.nan)


def alignment(u: Float[np.ndarray, "T H U"]) -> Float[np.ndarray, " T"]:
    """s_1^2 / sum s^2 of each matrix; the largest eigenvalue of a Gram matrix is as exact as
    s_1."""
    gram, total = _gram(u)
    fit = np.ones(len(u), bool)
    if not np.all(
        (total > SMALL) & (total < 1 / SMALL)
    ):  # squares that underflow or overflow, or are not finite
        largest = np.abs(u).max(axis=(1, 2), initial=0.0)
        fit = np.isfinite(largest)
        scale = np.where(fit, np.maximum(largest, TINY), 1.0)
        gram, total = _gram(np.where(fit[:, None, None], u, 0.0) / scale[:, None, None])
    return np.where(fit, np.linalg.eigvalsh(gram)[:, -1] / np.where(total > 0, total, 1.0), np.nan)


def singular_values(matrices: Float[np.ndarray, "T M N"]) -> Float[np.ndarray, "T K"]:
    """At most 12, in falling order."""
    fit = np.all(np.isfinite(matrices), axis=(1, 2))
    values = np.linalg.svd(np.where(fit[:, None, None], matrices, 0.0), compute_uv=False)[:, :SHOWN]
    return np.where(fit[:, None] & np.isfinite(values), values, np.nan)


def _gram(
    u: Float[np.ndarray, "T H U"],
) -> tuple[Float[np.ndarray, "T N N"], Float[np.ndarray, " T"]]:
    """The Gram matrices on the shorter side and their traces."""
    across = u.swapaxes(1, 2)
    gram = _product(u, across) if u.shape[1] < u.shape[2] else _product(across, u)
    return gram, np.trace(gram, axis1=1, axis2=2)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of matrices, which may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return a @ b
