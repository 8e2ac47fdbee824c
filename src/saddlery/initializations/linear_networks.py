"""Linear networks as products of weight matrices, and the starts from which
their whole path is known.

    f(x) = W_L ... W_1 x

The incoming weights u of a layer are a matrix (H, U), its outgoing weights v,
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

# Singular values of E[y x'] below this share of the largest count as zero.
ZERO = 1e-12
Place = tuple[int, str]  # (layer, name) of a weight matrix in the parameters


def why_not_linear(network: Network) -> str:
    """What keeps a network from being a plain product of weight matrices, in
    words; empty for one that is.

    Example
    -------
    >>> from saddlery.initializations.linear_networks import why_not_linear
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.units import dense
    >>> why_not_linear(Network((Layer(dense("linear"), 3, residual=True),)))
    'layer 0 is residual'
    """
    for k, layer in enumerate(network.layers):
        if layer.unit.name != "linear" or layer.unit.options:
            return f"units of layer {k} are {layer.unit!r}, not linear neurons without bias"
        if layer.residual:
            return f"layer {k} is residual"
    if network.reads != "all":
        return f"of its output only the {network.reads} is read"
    return ""


def factors(network: Network, params: Params) -> list[np.ndarray]:
    """W_1 ... W_L of a linear network, first to last, each (outputs, inputs).

    params: u (H, U), and v (H, O) and readout (H, O) where the network has
        them.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.initializations.linear_networks import factors
    >>> from saddlery.networks import Layer, Network, unflatten
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("linear"), 4),))
    >>> params = unflatten(network, np.zeros(20), (3,), 2)
    >>> [w.shape for w in factors(network, params)]
    [(4, 3), (2, 4)]
    """
    found = []
    for k, name in _places(network):
        matrix = np.asarray(params[k][name])
        found.append(matrix if name == "u" else matrix.T)
    return found


def modes(
    correlation: Float[np.ndarray, "O D"],
) -> tuple[Float[np.ndarray, "O r"], Float[np.ndarray, " r"], Float[np.ndarray, "r D"]]:
    """The modes of E[y x'] = q s r': its singular values that are not zero,
    in descending order, and their vectors.

    correlation (O, D): E[y x'], a mean over samples.

    q (O, r), s (r,) and r' (r, D). Cost: one singular value decomposition.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.initializations.linear_networks import modes
    >>> q, s, rt = modes(np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> s.tolist(), np.abs(q.T).tolist(), np.abs(rt).tolist()
    ([2.0], [[1.0, 0.0]], [[0.0, 1.0, 0.0]])
    """
    q, s, rt = np.linalg.svd(correlation, full_matrices=False)
    kept = s > ZERO * s[0]
    return q[:, kept], s[kept], rt[kept]


# ------------------------------------------------------------------------- starts
def lambda_balanced(
    network: Network,
    shapes: Params,
    scale: float,
    imbalance: float,
    streams: Streams,
) -> Params:
    """Weights of R runs, run axis first, with W2'W2 - W1W1' = imbalance I.

    With u = W1 (H, D) and v = W2' (H, O) this is v v' = u u' + imbalance I. One
    side is drawn from N(0, scale^2): u where imbalance > 0, v where it is below, and
    at 0 the one with fewer columns. If L diag(s) R' is that side, the other is

        L diag(sqrt(s^2 + |imbalance|)) B'

    of a random B with orthonormal columns.

    network: linear, of two weight matrices W1 (H, D) and W2 (O, H).
    shapes: of its parameters.
    imbalance: 0; above it needs H <= O, below it H <= D.

    Raises InputError for other networks and for more units than that. Source:
    Domine et al. (2025).
    """
    places = _demand_linear(network, "a lambda_balanced start")
    require(
        len(places) == 2,
        "the network",
        needed="of two weight matrices for a lambda_balanced start",
        given=Words(f"{len(places)}"),
    )
    units, inputs = shapes[0]["u"]
    outputs = shapes[0]["v"][1]
    _demand_room(imbalance, units, inputs, outputs)

    if imbalance > 0 or (imbalance == 0 and inputs <= outputs):
        u = scale * streams.standard_normal((units, inputs))
        v = _partner(u, outputs, abs(imbalance), streams)
    else:
        v = scale * streams.standard_normal((units, outputs))
        u = _partner(v, inputs, abs(imbalance), streams)
    return ({"u": u, "v": v},)


def _demand_room(imbalance: float, units: int, inputs: int, outputs: int) -> None:
    """Raise InputError where the larger square would need a rank that it
    cannot have."""
    larger = outputs if imbalance > 0 else inputs
    sizes = f"{units} units, {inputs} inputs and {outputs} outputs"
    require(
        imbalance == 0 or units <= larger,
        "imbalance of the initialization",
        needed=(
            "0, above it with at most as many units as outputs, or below it with at "
            "most as many units as inputs"
        ),
        given=Words(f"{imbalance:g} with {sizes}"),
    )


def _partner(
    side: Float[np.ndarray, "R H K"], columns: int, more: float, streams: Streams
) -> Float[np.ndarray, "R H C"]:
    """Matrices m with m m' = side side' + more I."""
    left, s, _ = np.linalg.svd(side, full_matrices=more > 0)
    missing = left.shape[2] - s.shape[1]
    sizes = np.pad(s, ((0, 0), (0, missing)))
    if more > 0:  # small squares underflow
        sizes = np.sqrt(sizes**2 + more)
    basis = orthogonal(streams, columns, sizes.shape[1])
    return (left * sizes[:, None]) @ basis.swapaxes(1, 2)


def aligned(
    network: Network,
    shapes: Params,
    correlation: Float[np.ndarray, "O D"],
    scale: float,
    streams: Streams,
) -> Params:
    """Weights of R runs, run axis first, whose product has the modes of E[y
    x'].

        W_l = scale B_l B_(l-1)'

    B_0 and B_L are the singular vectors of E[y x'], those between random
    orthonormal columns, as many in each as the narrowest layer and E[y x']
    allow.

    network: linear, of any depth.
    shapes: of its parameters.
    correlation (O, D): E[y x'], a mean over samples, other than zero.

    Raises InputError for other networks and for no correlation. Source: Saxe,
    McClelland & Ganguli (2014), Section 1.2.
    """
    places = _demand_linear(network, "an aligned start")
    q, s, rt = modes(correlation)
    require(
        len(s) > 0,
        "E[y x']",
        needed="other than zero for an aligned start",
        given=Words("zero"),
    )

    inner = [_outputs(shapes, place) for place in places[:-1]]
    count = min(len(s), *inner)
    between = [orthogonal(streams, size, count) for size in inner]
    bases = [rt[:count].T, *between, q[:, :count]]
    matrices = []
    for before, after in pairwise(bases):
        matrices.append(scale * after @ before.swapaxes(-1, -2))
    return _with_factors(shapes, places, matrices)


# ---------------------------------------------------------------- weight matrices
def _places(network: Network) -> list[Place]:
    """Where W_1 ... W_L stand in the parameters."""
    found: list[Place] = []
    for k, layer in enumerate(network.layers):
        found.append((k, "u"))
        if layer.mixes:
            found.append((k, "v"))
    if network.readout:
        found.append((len(network.layers) - 1, "readout"))
    return found


def _outputs(shapes: Params, place: Place) -> int:
    """Of one weight matrix."""
    k, name = place
    rows, columns = shapes[k][name]
    return rows if name == "u" else columns


def _with_factors(
    shapes: Params, places: Sequence[Place], matrices: Sequence[np.ndarray]
) -> Params:
    """The parameters that have these weight matrices (R, outputs, inputs)."""
    params: Params = tuple({} for _ in shapes)
    for (k, name), matrix in zip(places, matrices, strict=True):
        params[k][name] = matrix if name == "u" else matrix.swapaxes(1, 2)
    return params


def _demand_linear(network: Network, purpose: str) -> list[Place]:
    reason = why_not_linear(network)
    require(
        not reason,
        "the network",
        needed=f"dense and linear for {purpose}",
        given=Words(f"one where {reason}"),
    )
    return _places(network)
