"""Initial weights that relate the two sides of a unit, or the units of a layer, to each other."""

from __future__ import annotations

import math

import numpy as np

from ..basis.checks import InputError, require
from ..units import Symmetry, Unit
from .streams import Streams

Entry = dict[str, np.ndarray]  # the parameters of one layer, run axis first


def balanced(params: Entry) -> Entry:
    """|v_i| made equal to |u_i|, unit by unit."""
    u, v = _sides(params)
    scaled = v * (np.linalg.norm(u, axis=2) / np.linalg.norm(v, axis=2))[..., None]
    return {**params, "v": scaled.reshape(params["v"].shape)}


def add_manifold(params: Entry, unit: Unit, width: int, size: float, streams: Streams) -> Entry:
    """The parameters plus a random state of effective width h: M Theta_h, of h units with entries
    N(0, size^2)."""
    u, v = _sides(params)
    units = u.shape[1]
    require(width <= units, "width of the initialization", f"at most the width {units}", width)
    mixing = size * _mixing(unit.symmetry, units, width, streams)
    sides = {
        name: mixing @ streams.standard_normal((width, side.shape[2]))
        for name, side in (("u", u), ("v", v))
    }
    return {
        **params,
        **{name: params[name] + side.reshape(params[name].shape) for name, side in sides.items()},
    }


def _mixing(symmetry: Symmetry, units: int, width: int, streams: Streams) -> np.ndarray:
    """M (R, H, h), or (H, h) where it is the same for all, of Theta = M Theta_h: the relation of
    Theorem 3 with the most freedom that units of this kind keep."""
    if symmetry.linear:  # (iv) combinations
        return streams.standard_normal((units, width)) / np.sqrt(width)
    if symmetry.silent and not symmetry.homogeneous:  # (ii) all but h silent
        return np.eye(units, width)
    member = np.eye(width)[streams.permutation(np.arange(units) % width)]
    if not symmetry.homogeneous:  # (i) copies
        return member
    multiples = streams.standard_normal((units, 1))  # (iii)
    return member * (multiples if symmetry.homogeneous == "real" else np.abs(multiples))


def _sides(params: Entry) -> tuple[np.ndarray, np.ndarray]:
    """u (R, H, U) and v (R, H, V)."""
    if "v" not in params:
        raise InputError(
            "this initialization needs layers that mix (with outgoing weights of their own);"
            " use isotropic for layers that pass on"
        )
    rows = lambda side: side.reshape(*side.shape[:2], math.prod(side.shape[2:]))
    return rows(params["u"]), rows(params["v"])
