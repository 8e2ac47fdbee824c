"""Units that are linear in u, in the span of their own weights: the same training with fewer of them.

Where phi is linear in u, rotating the H units of a layer among each other, (u, v) -> (Q'u, Q'v) with Q'Q = 1, leaves the map
as it is. The gradient of [u v] (H, U + V) is [u v] K with K of the weights' products alone, so training never leaves the
columns of [u v](0): with [u v](0) = Q R, Q (H, U + V), the H units move as Q times the U + V units of a network that starts at
R. This is the invariant manifold of rank U + V (Zhang, Saxe & Latham 2026, Theorem 3), on which every state lies. It holds for
rules that commute with rotations of the weights, and to rounding.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .networks import Network, Shape, flatten, unflatten
from .objectives import Objective
from .rows import by_blocks

ROWS = 128  # states of one call
WELL = 1e-6  # smallest over largest singular value of [u v] below which a start is left as it is: rounding would count


@dataclass(frozen=True)
class _Layout:
    """Which flat vectors are meant: of the wide network and of the narrow one; layers: those that became narrower."""

    wide: Network
    narrow: Network
    shape: Shape
    outputs: int
    layers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Span:
    """objective: of the narrow network. theta (P',): its start. layout, frames: Q (H, U + V) of every layer that became
    narrower."""

    objective: Objective
    theta: Float[np.ndarray, " P_"]
    layout: _Layout
    frames: tuple[np.ndarray, ...]

    def widen(self, states: Float[np.ndarray, "T P_"]) -> Float[np.ndarray, "T P"]:
        """The states of all H units; cost H (U + V)^2 a state."""
        frames = tuple(jnp.asarray(frame, states.dtype) for frame in self.frames)
        return by_blocks(functools.partial(_widened, self.layout, frames), states, ROWS)


def span(objective: Objective, theta: Float[np.ndarray, " P"]) -> Span | None:
    """The same training with fewer units, or None where no layer gains. Cost: one QR factorization a layer."""
    function, network = objective.function, objective.network
    params = unflatten(network, theta, function.shape, function.outputs)
    frames, layers, narrow = [], [], network
    for k, layer in enumerate(network.layers):
        if not layer.unit.symmetry.linear or network.streams(k):
            continue
        u, v = (np.asarray(side(params, k), float) for side in (narrow.incoming, narrow.outgoing))
        both = np.hstack([u, v])
        if both.shape[0] <= both.shape[1]:
            continue
        frame, small = np.linalg.qr(both)
        singular = np.linalg.svd(small, compute_uv=False)
        if not singular[-1] > WELL * singular[0]:
            return None
        narrow, params = narrow.with_sides(params, k, small[:, : u.shape[1]], small[:, u.shape[1] :])
        frames.append(frame)
        layers.append(k)
    if not layers:
        return None
    layout = _Layout(network, narrow, function.shape, function.outputs, tuple(layers))
    return Span(objective.with_network(narrow), flatten(params), layout, tuple(frames))


@functools.partial(jax.jit, static_argnums=0)
def _widened(layout: _Layout, frames: tuple[Array, ...], states: Array) -> Array:
    def one(state: Array) -> Array:
        network, params = layout.narrow, unflatten(layout.narrow, state, layout.shape, layout.outputs)
        for k, frame in zip(reversed(layout.layers), reversed(frames), strict=True):
            u, v = frame @ network.incoming(params, k), frame @ network.outgoing(params, k)
            network, params = network.with_sides(params, k, u, v)
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])

    return jax.vmap(one, in_axes=1, out_axes=1)(states.T).T  # states side by side: one product of matrices a layer
