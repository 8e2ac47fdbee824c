"""Linear networks as products of weight matrices, and the starts from which their whole path is
known.

f(x) = W_L ... W_1 x: the incoming weights u of a layer are a matrix (H, U), its outgoing weights v,
where it mixes, the transpose of one, and so is a read-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from ..basis.checks import Words, require
from ..networks import Network, Params
from ..tasks.base import orthogonal
from .streams import Streams

ZERO = 1e-12  # of the largest: singular values of E[y x'] below are none


def why_not_linear(network: Network) -> str:
    """What keeps a network from being a plain product of weight matrices, in words; empty for one
    that is."""
    for k, layer in enumerate(network.layers):
        if layer.unit.name != "linear" or layer.unit.options:
            return f"units of layer {k} are {layer.unit!r}, not linear neurons without bias"
        if layer.residual:
            return f"layer {k} is residual"
    return "" if network.reads == "all" else f"of its output only the {network.reads} is read"


def factors(network: Network, params: Params) -> list[np.ndarray]:
    """W_1 ... W_L of a linear network, first to last, each (outputs, inputs)."""
    found = [np.asarray(params[k][name]) for k, name in _places(network)]
    return [w if name == "u" else w.T for w, (_, name) in zip(found, _places(network), strict=True)]


def modes(
    correlation: Float[np.ndarray, "O D"],
) -> tuple[Float[np.ndarray, "O r"], Float[np.ndarray, " r"], Float[np.ndarray, "r D"]]:
    """The modes of E[y x'] = q s r': its singular values that are not zero, in descending order,
    and their vectors."""
    q, s, rt = np.linalg.svd(correlation, full_matrices=False)
    kept = s > ZERO * s[0]
    return q[:, kept], s[kept], rt[kept]


def lambda_balanced(
    network: Network, shapes: Params, scale: float, imbalance: float, streams: Streams
) -> Params:
    """W2'W2 - W1W1' = imbalance I. The side with fewer columns (or the one whose square has to be
    the smaller) is N(0, scale^2); the other has its singular basis over units, sizes sqrt(s^2 +
    |imbalance|) and a random basis outside; run axis first."""
    places = _demand_linear(network, "a lambda_balanced start")
    require(
        len(places) == 2,
        "the network",
        "of two weight matrices for a lambda_balanced start",
        Words(f"{len(places)}"),
    )
    (units, inputs), (_, outputs) = shapes[0]["u"], shapes[0]["v"]
    require(
        imbalance == 0 or units <= (outputs if imbalance > 0 else inputs),
        "imbalance of the initialization",
        (
            "0, above it with at most as many units as outputs, or below it with at "
            "most as many units as inputs"
        ),
        Words(f"{imbalance:g} with {units} units, {inputs} inputs and {outputs} outputs"),
    )
    incoming_first = imbalance > 0 or (imbalance == 0 and inputs <= outputs)
    side = scale * streams.standard_normal((units, inputs if incoming_first else outputs))
    other = _partner(side, outputs if incoming_first else inputs, abs(imbalance), streams)
    u, v = (side, other) if incoming_first else (other, side)
    return ({"u": u, "v": v},)


def _partner(side: np.ndarray, columns: int, more: float, streams: Streams) -> np.ndarray:
    """Matrices m (R, H, columns) with m m' = side side' + more I."""
    left, s, _ = np.linalg.svd(side, full_matrices=more > 0)
    missing = left.shape[2] - s.shape[1]
    sizes = np.sqrt(np.pad(s**2, ((0, 0), (0, missing))) + more)
    basis = orthogonal(streams, columns, sizes.shape[1])
    return (left * sizes[:, None]) @ basis.swapaxes(1, 2)


def aligned(
    network: Network,
    shapes: Params,
    correlation: np.ndarray,
    scale: float,
    streams: Streams,
) -> Params:
    """W_l = scale B_l B_(l-1)', with B_0 and B_L the singular vectors of E[y x'] and random
    orthonormal ones between; run axis first."""
    places = _demand_linear(network, "an aligned start")
    q, s, rt = modes(correlation)
    require(len(s) > 0, "E[y x']", "other than zero for an aligned start", Words("zero"))
    inner = [shapes[k][name][0 if name == "u" else 1] for k, name in places[:-1]]
    count = min(len(s), *inner)
    bases = [rt[:count].T, *(orthogonal(streams, size, count) for size in inner), q[:, :count]]
    matrices = [scale * after @ before.swapaxes(-1, -2) for before, after in pairwise(bases)]
    return _with_factors(shapes, places, matrices)


def _places(network: Network) -> list[tuple[int, str]]:
    """Where W_1 ... W_L stand in the parameters: (layer, name)."""
    found = []
    for k, layer in enumerate(network.layers):
        found += [(k, "u"), (k, "v")] if layer.mixes else [(k, "u")]
    return [*found, (len(network.layers) - 1, "readout")] if network.readout else found


def _with_factors(
    shapes: Params, places: Sequence[tuple[int, str]], matrices: Sequence[np.ndarray]
) -> Params:
    params: Params = tuple({} for _ in shapes)
    for (k, name), w in zip(places, matrices, strict=True):
        params[k][name] = w if name == "u" else w.swapaxes(1, 2)
    return params


def _demand_linear(network: Network, purpose: str) -> list[tuple[int, str]]:
    reason = why_not_linear(network)
    require(
        not reason, "the network", f"dense and linear for {purpose}", Words(f"one where {reason}")
    )
    return _places(network)
