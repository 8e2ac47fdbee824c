"""Embedded fixed points: the four constructions of Theorem 1, one at a time and to any width.

The raw constructions act on the two sides of one layer's units, u (H, U) and v (H, V), and check
nothing: they are the formulas. `embed` applies them to a network, only where the unit has the
property that the construction needs.
Source: Zhang, Saxe & Latham (2026), Theorem 1 (eqs 4-7) and Corollary 2; (i), (ii): Fukumizu &
Amari (2000).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from ..basis.checks import InputError, known, require
from ..basis.precision import in_float64
from ..basis.records import html_table, text_table
from ..basis.values import Value
from ..networks import Network, Params
from ..units import Unit

Side = Float[np.ndarray, "_ _"]  # (units, numbers a unit)
Sides = tuple[Side, Side]
CONSTRUCTIONS = ("i", "ii", "iii", "iv")


def duplicate(u: Side, v: Side, unit: int, share: float) -> Sides:
    """(i) u_H = u_i, v_H = g v_i, v_i <- (1 - g) v_i; needs nothing, any real g."""
    return ray(u, v, unit, 1.0, share)


def silent(u: Side, v: Side) -> Sides:
    """(ii) u_H = 0, v_H = 0; needs phi(z; 0) = 0."""
    return np.vstack([u, np.zeros_like(u[:1])]), np.vstack([v, np.zeros_like(v[:1])])


def ray(u: Side, v: Side, unit: int, incoming: float, outgoing: float) -> Sides:
    """(iii) u_H = g_u u_i, v_H = g_v v_i, v_i <- (1 - g_u g_v) v_i; needs degree-1 homogeneity (g_u
    >= 0 if positive)."""
    rest = v.copy()
    rest[unit] *= 1.0 - incoming * outgoing
    return np.vstack([u, incoming * u[unit]]), np.vstack([rest, outgoing * v[unit]])


def span(
    u: Side, v: Side, incoming: Float[np.ndarray, " H"], outgoing: Float[np.ndarray, " H"]
) -> Sides:
    """(iv) u_H = sum_i a_i u_i, v_H = sum_i b_i v_i, v_i <- v_i - a_i v_H; needs phi linear in
    u."""
    new = outgoing @ v
    return np.vstack([u, incoming @ u]), np.vstack([v - np.outer(incoming, new), new])


def applies(unit: Unit, construction: str) -> bool:
    """Whether the unit's declared symmetry allows a construction."""
    symmetry = unit.symmetry
    return {
        "i": True,
        "ii": symmetry.silent,
        "iii": symmetry.homogeneous is not None,
        "iv": symmetry.linear,
    }[known(construction, CONSTRUCTIONS, "construction")]


def richest(unit: Unit) -> str:
    """The construction that describes this unit's saddles: iv if linear, iii if homogeneous, ii if
    silent, else i."""
    return next(c for c in ("iv", "iii", "ii", "i") if applies(unit, c))


def embed_sides(
    u: Side, v: Side, construction: str, width: int, rng: np.random.Generator, positive: bool
) -> Sides:
    """Apply one construction until there are `width` units, each new one made from the units there
    were at first.

    Coefficients are normal with variance n^(-1/2), n the number of new units, so that all n
    together change the old units by order one whatever the width.
    """
    first, new = len(u), width - len(u)
    draw = lambda *size: rng.standard_normal(size) * max(new, 1) ** -0.25
    for _ in range(new):
        unit = int(rng.integers(first)) if first else 0
        incoming = float(np.abs(draw()) if positive else draw())
        if construction == "ii":
            u, v = silent(u, v)
        elif construction == "i":
            u, v = duplicate(u, v, unit, float(draw()))
        elif construction == "iii":
            u, v = ray(u, v, unit, incoming, float(draw()))
        else:
            pad = np.zeros(len(u) - first)
            u, v = span(
                u, v, np.concatenate([draw(first), pad]), np.concatenate([draw(first), pad])
            )
    return u, v


@dataclass(frozen=True, eq=False)
class Embedding(Value):
    """A wide network at an embedded point; unpacks as (network, params).

    constructions: the case of Theorem 1 used in each layer, "none" where no unit was added.
    """

    network: Network
    params: Params
    constructions: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.network, self.params))

    def rows(self) -> list[tuple[str, object]]:
        """What one reads first."""
        largest = max(float(np.abs(a).max(initial=0.0)) for p in self.params for a in p.values())
        return [
            ("network", self.network.architecture),
            ("construction", ", ".join(self.constructions)),
            ("parameters", sum(a.size for p in self.params for a in p.values())),
            ("largest weight", largest),
        ]

    def __repr__(self) -> str:
        return text_table(("embedding", ""), self.rows())

    def _repr_html_(self) -> str:
        return html_table(("embedding", ""), self.rows())


@in_float64
def embed(
    network: Network,
    params: Params,
    widths: int | tuple[int, ...],
    *,
    construction: str | None = None,
    seed: int = 0,
) -> Embedding:
    """A wide network at a fixed point, from a narrow one at a fixed point, computing the same map.

    widths: of the wide network, one number for all layers or one a layer, none below the narrow
        one's.
    construction: "i", "ii", "iii" or "iv"; by default the richest that every widened layer's unit
    allows. The coefficients are random, drawn from `seed` and scaled so that weights stay of the
    narrow network's size.

    The result unpacks as (network, parameters), the latter NumPy float64. The wide gradient is a
    combination of the narrow one's, so it is zero as far as the narrow one is. Raises InputError
    where a unit lacks the property. Cost: O(H^2).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.symmetry import embed
    >>> from saddlery.units import dense
    >>> narrow = ({"u": np.array([[1.0, 2.0]]), "v": np.array([[3.0]])},)
    >>> wide, params = embed(Network((Layer(dense("relu"), 1),)), narrow, 4, construction="iii")
    >>> wide.widths, bool(np.isclose(sum(np.linalg.norm(u) * v for u, v in zip(params[0]["u"], params[0]["v"].ravel())),
    ...                              3 * 5**0.5))
    ((4,), True)
    """
    targets = (widths,) * len(network.layers) if isinstance(widths, int) else tuple(widths)
    require(
        len(targets) == len(network.layers),
        "widths",
        f"one number or {len(network.layers)}",
        widths,
    )
    params, rng, used = _numpy(params), np.random.default_rng(seed), []
    for index, target in enumerate(targets):
        layer = network.layers[index]
        require(
            target >= layer.width,
            f"width of layer {index}",
            f"at least the narrow network's {layer.width}",
            target,
        )
        fixed = f"the {layer.width} units that a residual layer adds to"
        require(
            target == layer.width or not network.streams(index),
            f"width of layer {index}",
            fixed,
            target,
        )
        chosen = construction or richest(layer.unit)
        if target > layer.width and not applies(layer.unit, chosen):
            raise InputError(
                f"construction ({chosen}) needs a property that unit {layer.unit.name!r} does not"
                " declare"
                f" ({layer.unit.symmetry}); use ({richest(layer.unit)})"
            )
        if layer.width == 0:
            chosen = "ii"
        used.append(chosen if target > layer.width else "none")
        u, v = (np.asarray(side(params, index)) for side in (network.incoming, network.outgoing))
        u, v = embed_sides(u, v, chosen, target, rng, layer.unit.symmetry.homogeneous == "positive")
        network, params = network.with_sides(params, index, u, v)
    return Embedding(network, params, tuple(used))


def _numpy(params: Params) -> Params:
    return tuple({k: np.asarray(a, float) for k, a in p.items()} for p in params)


# --------------------------------------------- the embedding nearest to a state
def embed_near(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    """The embedding of a narrow layer that lies near a wide one: coefficients read off the wide
    layer, then corrected.

    Linear units: U = A U*, V = B V* with B' A = 1 (all compositions of (iv)); homogeneous units:
    each wide unit joins the ray it lies on, or is silent; other units: each narrow unit is shared
    by the wide units equal to it, or to its mirror image where the unit has a parity, all others
    are silent (or, without a silent point, share the nearest). The map is exactly that of the
    narrow layer.
    """
    (un, vn), (uw, vw) = narrow, wide
    if len(un) == 0:
        return np.zeros_like(uw), np.zeros_like(vw)
    if unit.symmetry.linear:
        return _span_near(un, vn, uw, vw)
    return shared_near(un, vn, uw, vw, assign(un, uw, vw, unit), unit)


def _span_near(un: Side, vn: Side, uw: Side, vw: Side) -> Sides:
    a = uw @ np.linalg.pinv(un)
    b = vw @ np.linalg.pinv(vn)
    overlap = b.T @ a
    if np.linalg.matrix_rank(overlap, tol=1e-8 * max(np.abs(overlap).max(), 1e-300)) < len(un):
        a = b = np.linalg.qr(a + 1e-12 * np.eye(*a.shape))[0]
        overlap = b.T @ a
    return a @ un, (b @ np.linalg.inv(overlap).T) @ vn


def assign(un: Side, uw: Side, vw: Side, unit: Unit) -> np.ndarray:
    """Which narrow unit each wide one realises, -1 for none (a silent unit)."""
    size = np.linalg.norm(uw, axis=1) * np.linalg.norm(vw, axis=1)
    if unit.symmetry.homogeneous is None:
        distance, _ = gaps(uw, un, unit.symmetry.flip)
        likeness = 1.0 - distance / np.maximum(np.linalg.norm(un, axis=1), 1e-300)
    else:
        likeness = unit_rows(uw) @ unit_rows(un).T
        likeness = likeness if unit.symmetry.flip is None else np.abs(likeness)
    best = likeness.argmax(axis=1)
    close = likeness[np.arange(len(uw)), best] > 0.9
    live = size > 1e-3 * size.max(initial=0.0)
    member = np.where((close & live) | (not unit.symmetry.silent), best, -1)
    for k in range(len(un)):  # every narrow unit must be realised somewhere
        if not np.any(member == k):
            spare = np.bincount(member[member >= 0], minlength=len(un))[member] > 1
            member[int(np.argmax(np.where((member == -1) | spare, likeness[:, k], -np.inf)))] = k
    return member


def gaps(rows: Side, others: Side, flip: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Distances |u_i -+ w_j| (., .) of incoming weights, of the nearer of w_j and its mirror image
    -w_j where units have a parity, and the signs -1 where that is the mirror image."""
    distance = cdist(rows, others)
    if flip is None:
        return distance, np.ones_like(distance)
    mirrored = cdist(rows, -others)
    return np.minimum(distance, mirrored), np.where(mirrored < distance, -1.0, 1.0)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Every row over its length; rows of zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def shared_near(un: Side, vn: Side, uw: Side, vw: Side, member: np.ndarray, unit: Unit) -> Sides:
    """The embedding in which wide unit i realises narrow unit member_i (-1: silent), its
    coefficients read off the wide layer.

    u_i = a_i u*, v_i = b_i v* / sum_j a_j b_j over the units that share it, for homogeneous units;
    otherwise u_i is u* or -u*, whichever is nearer, and b_i carries the sign of the unit's parity.
    """
    symmetry = unit.symmetry
    u, v = np.zeros_like(uw), np.zeros_like(vw)
    for k in range(len(un)):
        group = np.flatnonzero(member == k)
        size_u, size_v = un[k] @ un[k], max(vn[k] @ vn[k], 1e-300)
        if symmetry.homogeneous is None:
            incoming = gaps(uw[group], un[[k]], symmetry.flip)[1][:, 0]
            seen = np.where(
                incoming < 0, symmetry.flip or 1.0, 1.0
            )  # phi(z; u_i) = seen_i phi(z; u*)
        else:
            incoming = seen = uw[group] @ un[k] / size_u
        outgoing = vw[group] @ vn[k] / size_v
        total = seen @ outgoing
        if not np.isfinite(total) or abs(total) < 1e-8:
            if symmetry.homogeneous is not None:
                incoming = seen = np.ones(len(group))
            outgoing, total = seen, float(len(group))
        u[group] = np.outer(incoming, un[k])
        v[group] = np.outer(outgoing / total, vn[k])
    return u, v
