"""Units that are linear in u, in the span of their own weights: the same training with fewer of
them.

Where phi is linear in u, rotating the H units of a layer among each other, (u, v) -> (Q'u, Q'v)
with Q'Q = 1, leaves the map as it is. The gradient of [u v] (H, U + V) is [u v] K with K of the
weights' products alone, so training never leaves the columns of [u v](0): with [u v](0) = Q R, Q
(H, U + V), the H units move as Q times the U + V units of a network that starts at R. This is the
invariant manifold of rank U + V (Zhang, Saxe & Latham 2026, Theorem 3), on which every state lies.
It holds for rules that commute with rotations of the weights, and to rounding.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .network import Network, Place, Shape, flatten, places_of_units, unflatten
from .objectives import Objective

# smallest over largest singular value of [u v] below which a start is left as it is: rounding would
# count
WELL = 1e-6


@dataclass(frozen=True)
class _Layout:
    """Which flat vectors are meant: of the wide network and of the narrow one; layers: those that
    became narrower."""

    wide: Network
    narrow: Network
    shape: Shape
    outputs: int
    layers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Span:
    """objective: of the narrow network. theta (P',): its start. layout, frames: Q (H, U + V) of
    every layer that became narrower."""

    objective: Objective
    theta: Float[np.ndarray, " P_"]
    layout: _Layout
    frames: tuple[np.ndarray, ...]

    def widen(self, states: Float[np.ndarray, "T P_"]) -> Float[np.ndarray, "T P"]:
        """The states of all H units; cost H (U + V)^2 a state."""
        network, layout = self.layout.narrow, self.layout
        for k, frame in zip(reversed(layout.layers), reversed(self.frames), strict=True):
            wider = network.with_width(k, len(frame))
            here, there = (_places(n, layout.shape, layout.outputs, k) for n in (network, wider))
            states, network = _widened(states, frame.astype(states.dtype), here, there), wider
        return states


def span(objective: Objective, theta: Float[np.ndarray, " P"]) -> Span | None:
    """The same training with fewer units, or None where no layer gains. Cost: one QR factorization
    a layer."""
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
        narrow, params = narrow.with_sides(
            params, k, small[:, : u.shape[1]], small[:, u.shape[1] :]
        )
        frames.append(frame)
        layers.append(k)
    if not layers:
        return None
    layout = _Layout(network, narrow, function.shape, function.outputs, tuple(layers))
    return Span(objective.with_network(narrow), flatten(params), layout, tuple(frames))


class _Places(NamedTuple):
    """Of a layer in the flat vector of P numbers: its units' u and v, and all that is neither."""

    size: int
    sides: tuple[Place, Place]
    rest: np.ndarray


@functools.lru_cache(maxsize=64)
def _places(network: Network, shape: Shape, outputs: int, layer: int) -> _Places:
    size, sides = network.count(shape, outputs), places_of_units(network, shape, outputs)[layer]
    rest = np.ones(size, bool)
    for side in sides:
        rest[side.numbers] = False
    return _Places(size, sides, np.flatnonzero(rest))


def _widened(states: np.ndarray, frame: np.ndarray, here: _Places, there: _Places) -> np.ndarray:
    """The states with Q u and Q v for u and v of one layer."""
    found = np.empty((len(states), there.size), states.dtype)
    found[:, there.rest] = states[:, here.rest]
    for narrow, wide in zip(here.sides, there.sides, strict=True):
        rows = states[:, narrow.numbers].reshape(len(states), *narrow.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # the last state of a run that diverged
            found[:, wide.numbers] = (frame @ rows).reshape(len(states), -1)
    return found
