"""What is measured at every saved point, for each layer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .networks import Network, Shape, unflatten
from .rows import by_blocks

SHOWN = 12  # singular values kept
ROWS = 32  # states of one call


@dataclass(frozen=True)
class UnitObservables:
    """theta -> {"unit_norms_k", "alignment_k", "singular_values_k"[, "product_singular_values_k"]} for each layer k.

    unit_norms (H,): |u_i| |v_i|. alignment (): largest share of the squared incoming weights in one direction,
    s_1^2 / sum s^2 of the matrix u (1 when all units lie on one line). singular_values: of the stacked weights [u, v]
    (H, U + V), at most 12. product_singular_values: of sum_i v_i u_i', for units linear in u. only: "unit_norms" for those
    alone.
    """

    network: Network
    shape: Shape
    outputs: int
    only: str = ""

    def __call__(self, theta: Array) -> dict[str, Array]:
        params = unflatten(self.network, theta, self.shape, self.outputs)
        found: dict[str, Array] = {}
        for k, layer in enumerate(self.network.layers):
            u, v = (jnp.asarray(side(params, k)) for side in (self.network.incoming, self.network.outgoing))
            found[f"unit_norms_{k}"] = jnp.linalg.norm(u, axis=1) * jnp.linalg.norm(v, axis=1)
            if self.only == "unit_norms":
                continue
            spread = _singular_values(u) ** 2
            found[f"alignment_{k}"] = spread[0] / jnp.maximum(
                jnp.sum(spread), 1e-300 if u.dtype == jnp.float64 else 1e-37
            )
            found[f"singular_values_{k}"] = _singular_values(jnp.concatenate([u, v], axis=1))[:SHOWN]
            if layer.unit.symmetry.linear:
                found[f"product_singular_values_{k}"] = jnp.linalg.svd(v.T @ u, compute_uv=False)[:SHOWN]
        return found


def _singular_values(matrix: Array) -> Array:
    return jnp.linalg.svd(matrix, compute_uv=False)


def observe(observables: UnitObservables, states: Float[np.ndarray, "T P"]) -> Mapping[str, np.ndarray]:
    """The observables of T states, name -> (T, ...). Cost: two or three singular value decompositions a layer and state."""
    return by_blocks(functools.partial(_observed, observables), states, ROWS)


@functools.partial(jax.jit, static_argnums=0)
def _observed(observables: UnitObservables, states: Array) -> dict[str, Array]:
    return jax.lax.map(observables, states)
