"""Units that are linear in u, in the span of their own weights: the same training
with fewer of them.

Where phi is linear in u, rotating the H units of a layer among each other,
(u, v) -> (Q'u, Q'v) with Q'Q = 1, leaves the map as it is. The gradient of [u v]
(H, U + V) is [u v] K with K of the weights' products alone, so training never
leaves the columns of [u v](0): with [u v](0) = Q R, Q (H, U + V), the H units
move as Q times the U + V units of a network that starts at R. This is the
invariant manifold of rank U + V (Zhang, Saxe & Latham 2026, Theorem 3), on which
every state lies. It holds for rules that commute with rotations of the weights,
and to rounding.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .network import Network, Place, Shape, flatten, places_of_units, unflatten
from .objectives import Objective

# Smallest over largest singular value of [u v] below which a start is left as it is:
# rounding would count.
WELL = 1e-6


@dataclass(frozen=True)
class _Layout:
    """Which flat vectors are meant: of the wide network and of the narrow one.

    layers: those that became narrower.
    """

    wide: Network
    narrow: Network
    shape: Shape
    outputs: int
    layers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Span:
    """A narrow network that is trained in place of a wide one.

    objective: of the narrow network.
    theta (P',): its start.
    layout: how it lies in the wide one.
    frames: Q (H, U + V) of every layer that became narrower.
    """

    objective: Objective
    theta: Float[np.ndarray, " P_"]
    layout: _Layout
    frames: tuple[np.ndarray, ...]

    def widen(
        self,
        states: Float[np.ndarray, "T P_"],
    ) -> Float[np.ndarray, "T P"]:
        """The states of all H units; cost H (U + V)^2 a state."""
        layout = self.layout
        network = layout.narrow
        backwards = zip(reversed(layout.layers), reversed(self.frames), strict=True)
        for k, frame in backwards:
            wider = network.with_width(k, len(frame))
            here = _places(network, layout.shape, layout.outputs, k)
            there = _places(wider, layout.shape, layout.outputs, k)
            states = _widened(states, frame.astype(states.dtype), here, there)
            network = wider
        return states


def span(objective: Objective, theta: Float[np.ndarray, " P"]) -> Span | None:
    """The same training from theta with fewer units, or None where no layer gains
    (or a start is so near to fewer still that rounding would count).

    Cost: one QR factorization a layer.

    Example
    -------
    Ten linear units of three numbers are trained as three:

    >>> import numpy as np
    >>> from saddlery.networks import Data, Layer, Network, objective
    >>> from saddlery.networks.spans import span
    >>> from saddlery.units import dense
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> data = Data(shape=(2,), outputs=1, inputs=x, targets=x[:, :1])
    >>> wide = objective(Network((Layer(dense("linear"), 10),)), data)
    >>> theta = np.random.default_rng(0).standard_normal(wide.size)
    >>> narrow = span(wide, theta)
    >>> narrow.objective.network.widths
    (3,)
    >>> np.allclose(narrow.widen(narrow.theta[None]), theta)
    True
    """
    function, network = objective.function, objective.network
    params = unflatten(network, theta, function.shape, function.outputs)
    narrow = network
    frames, layers = [], []
    for k, layer in enumerate(network.layers):
        if not layer.unit.symmetry.linear or network.streams(k):
            continue
        u = np.asarray(narrow.incoming(params, k), float)
        v = np.asarray(narrow.outgoing(params, k), float)
        both = np.hstack([u, v])
        units, numbers = both.shape
        if units <= numbers:
            continue
        frame, small = np.linalg.qr(both)
        singular = np.linalg.svd(small, compute_uv=False)
        if not singular[-1] > WELL * singular[0]:
            return None
        small_u, small_v = np.split(small, [u.shape[1]], axis=1)
        narrow, params = narrow.with_sides(params, k, small_u, small_v)
        frames.append(frame)
        layers.append(k)
    if not layers:
        return None
    return Span(
        objective=objective.with_network(narrow),
        theta=flatten(params),
        layout=_Layout(
            wide=network,
            narrow=narrow,
            shape=function.shape,
            outputs=function.outputs,
            layers=tuple(layers),
        ),
        frames=tuple(frames),
    )


class _Places(NamedTuple):
    """Where a layer lies in the flat vector.

    size: P.
    sides: of its units, u and v.
    rest: all that is neither.
    """

    size: int
    sides: tuple[Place, Place]
    rest: np.ndarray


@functools.lru_cache(maxsize=64)
def _places(network: Network, shape: Shape, outputs: int, layer: int) -> _Places:
    size = network.count(shape, outputs)
    sides = places_of_units(network, shape, outputs)[layer]
    rest = np.ones(size, bool)
    for side in sides:
        rest[side.numbers] = False
    return _Places(size, sides, np.flatnonzero(rest))


def _widened(
    states: np.ndarray,
    frame: np.ndarray,
    here: _Places,
    there: _Places,
) -> np.ndarray:
    """The states (T, P) with Q u and Q v for u and v of one layer."""
    found = np.empty((len(states), there.size), states.dtype)
    found[:, there.rest] = states[:, here.rest]
    for narrow, wide in zip(here.sides, there.sides, strict=True):
        rows = states[:, narrow.numbers].reshape(len(states), *narrow.shape)
        # Whatever the last state of a run that diverged gives.
        with np.errstate(over="ignore", invalid="ignore"):
            found[:, wide.numbers] = (frame @ rows).reshape(len(states), -1)
    return found
