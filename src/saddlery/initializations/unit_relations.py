"""Initial weights that relate the two sides of a unit, or the units of a
layer, to each other."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError, require
from ..basis.sizes import powers_apart
from ..units import Symmetry, Unit
from .streams import Streams

Entry = dict[str, np.ndarray]  # the parameters of one layer, run axis first
Sides = tuple[Float[np.ndarray, "R H U"], Float[np.ndarray, "R H V"]]


def balanced(params: Entry) -> Entry:
    """|v_i| made equal to |u_i|, unit by unit.

        v_i <- v_i |u_i| / |v_i|

    params: u (R, H, ...) and v (R, H, ...) of a layer that mixes; none of v_i
        zero.

    Raises InputError for a layer without outgoing weights of its own.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.initializations.unit_relations import balanced
    >>> unit = {"u": np.array([[[3.0, 4.0]]]), "v": np.array([[[-0.1]]])}
    >>> balanced(unit)["v"].tolist()
    [[[-5.0]]]
    """
    (u, size), (v, _) = map(powers_apart, _sides(params))
    ratio = np.linalg.norm(u, axis=2) / np.linalg.norm(v, axis=2)
    scaled = np.ldexp(v * ratio[..., None], size[..., None])
    return {**params, "v": scaled.reshape(params["v"].shape)}


def add_manifold(
    params: Entry,
    unit: Unit,
    width: int,
    size: float,
    streams: Streams,
) -> Entry:
    """The parameters plus a random state of effective width h.

        Theta <- Theta + M Theta_h

    Rows theta_i = (u_i, v_i) are units, entries of Theta_h (h, U + V) are
    N(0, size^2), and M (H, h) relates the units of a layer as the flow keeps
    those of their kind.

    params: u (R, H, ...) and v (R, H, ...) of a layer that mixes.
    unit: of what kind its units are.
    width: h, at least 1.

    Raises InputError for more than H units, and for a layer without outgoing
    weights of its own. Source: Zhang, Saxe & Latham (2026), Theorem 3.
    """
    u, v = _sides(params)
    units = u.shape[1]
    require(
        width <= units,
        "width of the initialization",
        needed=f"at most the width {units}",
        given=width,
    )
    mixing = size * _mixing(unit.symmetry, units, width, streams)
    moved = dict(params)
    for name, side in (("u", u), ("v", v)):
        few = streams.standard_normal((width, side.shape[2]))
        state = mixing @ few
        moved[name] = params[name] + state.reshape(params[name].shape)
    return moved


def _mixing(
    symmetry: Symmetry, units: int, width: int, streams: Streams
) -> Float[np.ndarray, "H h"] | Float[np.ndarray, "R H h"]:
    """M of Theta = M Theta_h, one for all runs or one for each.

    The relation of Theorem 3 with the most freedom that units of this kind
    keep.
    """
    if symmetry.linear:  # (iv) combinations
        return streams.standard_normal((units, width)) / np.sqrt(width)
    if symmetry.silent and not symmetry.homogeneous:  # (ii) all but h silent
        return np.eye(units, width)
    member = np.eye(width)[streams.permutation(np.arange(units) % width)]
    if not symmetry.homogeneous:  # (i) copies
        return member
    multiples = streams.standard_normal((units, 1))  # (iii)
    if symmetry.homogeneous == "positive":
        multiples = np.abs(multiples)
    return member * multiples


def _sides(params: Entry) -> Sides:
    if "v" not in params:
        raise InputError(
            "this initialization needs layers that mix (with outgoing weights of their own);"
            " use isotropic for layers that pass on"
        )
    return _rows(params["u"]), _rows(params["v"])


def _rows(side: np.ndarray) -> Float[np.ndarray, "R H K"]:
    """Every unit's numbers in a row."""
    runs, units, *numbers = side.shape
    # Not -1, which NumPy cannot tell where there is no run.
    return side.reshape(runs, units, math.prod(numbers))
