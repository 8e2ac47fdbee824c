"""Embedded fixed points: the four constructions of Theorem 1, one at a time and
to any width.

The raw constructions act on the two sides of one layer's units, u (H, U) and v
(H, V), and check nothing: they are the formulas. `embed` applies them to a
network, only where the unit has the property that the construction needs.

Source: Zhang, Saxe & Latham (2026), Theorem 1 (eqs 4-7) and Corollary 2; (i),
(ii): Fukumizu & Amari (2000).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from ..basis.checks import InputError, known, require, unpacked, whole
from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY, powers_apart
from ..networks import Layer, Network, Params
from ..units import Unit

Side = Float[np.ndarray, "_ _"]  # (units, numbers a unit)
Sides = tuple[Side, Side]
CONSTRUCTIONS = ("i", "ii", "iii", "iv")

# Units whose |u||v| is below this share of the largest are silent.
ACTIVE = 1e-3
# A unit realises another one from this likeness on: their cosine, or one less their
# relative distance.
LIKENESS = 0.9
# Shares of a unit that add up to less than this cancel: they say nothing of it.
CANCELLED = 1e-8


def duplicate(u: Side, v: Side, unit: int, share: float) -> Sides:
    """(i) u_H = u_i, v_H = g v_i, v_i <- (1 - g) v_i; needs nothing.

    u (H, U), v (H, V): the layer.
    unit: i.
    share: g, any real number.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import duplicate
    >>> duplicate(np.array([[2.0]]), np.array([[1.0]]), 0, 0.25)[1].ravel()
    array([0.75, 0.25])
    """
    return ray(u, v, unit, incoming=1.0, outgoing=share)


def silent(u: Side, v: Side) -> Sides:
    """(ii) u_H = 0, v_H = 0; needs phi(z; 0) = 0.

    u (H, U), v (H, V): the layer, which may have no units.
    """
    more_u = np.vstack([u, np.zeros((1, u.shape[1]))])
    more_v = np.vstack([v, np.zeros((1, v.shape[1]))])
    return more_u, more_v


def ray(u: Side, v: Side, unit: int, incoming: float, outgoing: float) -> Sides:
    """(iii) u_H = g_u u_i, v_H = g_v v_i, v_i <- (1 - g_u g_v) v_i; needs
    degree-1 homogeneity.

    u (H, U), v (H, V): the layer. unit: i.
    incoming, outgoing: g_u and g_v, any real numbers; g_u >= 0 if phi is only
        positively homogeneous.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import ray
    >>> u, v = ray(np.array([[1.0]]), np.array([[3.0]]), 0, 2.0, 0.25)
    >>> u.ravel(), v.ravel()
    (array([1., 2.]), array([1.5 , 0.75]))
    """
    rest = v.copy()
    rest[unit] *= 1.0 - incoming * outgoing
    return np.vstack([u, incoming * u[unit]]), np.vstack([rest, outgoing * v[unit]])


def span(
    u: Side,
    v: Side,
    incoming: Float[np.ndarray, " H"],
    outgoing: Float[np.ndarray, " H"],
) -> Sides:
    """(iv) u_H = sum_i a_i u_i, v_H = sum_i b_i v_i, v_i <- v_i - a_i v_H; needs
    phi linear in u.

    u (H, U), v (H, V): the layer. incoming (H,), outgoing (H,): a and b.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import span
    >>> u, v = np.eye(2), np.array([[1.0], [2.0]])
    >>> wide = span(u, v, np.array([1.0, 1.0]), np.array([0.5, 0.0]))
    >>> np.allclose(wide[1].T @ wide[0], v.T @ u)  # the map is the same
    True
    """
    new = outgoing @ v
    return np.vstack([u, incoming @ u]), np.vstack([v - np.outer(incoming, new), new])


def applies(unit: Unit, construction: str) -> bool:
    """Whether the unit's declared symmetry allows a construction.

    Example
    -------
    >>> from saddlery.symmetry import applies
    >>> from saddlery.units import make
    >>> [case for case in ("i", "ii", "iii", "iv") if applies(make("relu"), case)]
    ['i', 'ii', 'iii']
    """
    symmetry = unit.symmetry
    allowed = {
        "i": True,
        "ii": symmetry.silent,
        "iii": symmetry.homogeneous is not None,
        "iv": symmetry.linear,
    }
    return allowed[known(construction, CONSTRUCTIONS, "construction")]


def richest(unit: Unit) -> str:
    """The construction that describes this unit's saddles.

    iv if linear, iii if homogeneous, ii if silent, else i.
    """
    return next(case for case in reversed(CONSTRUCTIONS) if applies(unit, case))


def embed_sides(
    u: Side,
    v: Side,
    construction: str,
    width: int,
    rng: np.random.Generator,
    positive: bool,
) -> Sides:
    """One construction applied until there are `width` units, each new one made
    from the first.

    u (H, U), v (H, V): the narrow layer. positive: whether incoming factors must
    be.

    Coefficients are normal with variance n^(-1/2), n the number of new units, and a
    share of (i), which takes its old unit alone, with variance 1/n as products of two
    have: all n together then change the old units by order one whatever the width.
    """
    first, new = len(u), width - len(u)
    size = max(new, 1) ** -0.25

    def draw(*shape: int):
        return rng.standard_normal(shape) * size

    for _ in range(new):
        unit = int(rng.integers(first)) if first else 0
        incoming = float(draw())
        if positive:
            incoming = abs(incoming)
        if construction == "ii":
            u, v = silent(u, v)
        elif construction == "i":
            u, v = duplicate(u, v, unit, share=float(draw()) * size)
        elif construction == "iii":
            u, v = ray(u, v, unit, incoming=incoming, outgoing=float(draw()))
        else:
            others = np.zeros(len(u) - first)  # new units are made from the first ones alone
            a = np.concatenate([draw(first), others])
            b = np.concatenate([draw(first), others])
            u, v = span(u, v, a, b)
    return u, v


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(Result):
    """A wide network at an embedded point; unpacks as (network, params).

    constructions: the case of Theorem 1 used in each layer, "none" where no unit
        was added.
    """

    network: Network
    params: Params
    constructions: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.network, self.params))

    def rows(self) -> list[tuple[str, object]]:
        """What one reads first."""
        arrays = [array for layer in self.params for array in layer.values()]
        return [
            ("network", self.network.architecture),
            ("construction", ", ".join(self.constructions)),
            ("parameters", sum(array.size for array in arrays)),
            ("largest weight", max(float(np.abs(array).max(initial=0.0)) for array in arrays)),
        ]

    def printed(self) -> Printed:
        return Printed(("embedding", ""), self.rows())

    def record(self) -> dict[str, object]:
        """JSON form, without weights."""
        kept = {"network": self.network.architecture, "constructions": self.constructions}
        return plain(kept)


@in_float64
def embed(
    network: Network,
    params: Params,
    widths: int | tuple[int, ...],
    *,
    construction: str | None = None,
    seed: int = 0,
) -> Embedding:
    """A wide network at a fixed point, from a narrow one at a fixed point, of the
    same map.

    params: of every layer the incoming "u" (H, ...), and of one that mixes the
        outgoing "v" (H, V).
    widths: of the wide network, one number for all layers or one a layer, none
        below the narrow one's. To a layer without units silent ones are added.
    construction: "i", "ii", "iii" or "iv"; by default the richest that every
        widened layer's unit allows.
    seed: of the coefficients, which are random and scaled so that weights stay of
        the narrow network's size.

    The result unpacks as (network, parameters), the latter NumPy float64. The
    wide gradient is a combination of the narrow one's, so it is zero as far as
    the narrow one is. Raises InputError where a unit lacks the property. Cost:
    O(H^2).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.symmetry import embed
    >>> from saddlery.units import dense
    >>> narrow = Network((Layer(dense("relu"), 1),))
    >>> weights = ({"u": np.array([[1.0, 2.0]]), "v": np.array([[3.0]])},)
    >>> wide, params = embed(narrow, weights, 4, construction="iii")
    >>> slopes = np.linalg.norm(params[0]["u"], axis=1) @ params[0]["v"]  # all on one ray
    >>> wide.widths, bool(np.isclose(slopes.item(), 3 * 5**0.5))
    ((4,), True)
    """
    layers = len(network.layers)
    each = unpacked(widths)
    targets = each if isinstance(each, tuple) else (each,) * layers
    require(
        len(targets) == layers,
        "widths",
        needed=f"one number or {layers}",
        given=widths,
    )
    rng = np.random.default_rng(seed)
    params, used = _numpy(params), []
    for index, target in enumerate(targets):
        layer = network.layers[index]
        _check_width(network, index, target)
        chosen = _chosen(layer, target, construction)
        used.append(chosen if target > layer.width else "none")
        u = np.asarray(network.incoming(params, index))
        v = np.asarray(network.outgoing(params, index))
        positive = layer.unit.symmetry.homogeneous == "positive"
        u, v = embed_sides(u, v, chosen, width=target, rng=rng, positive=positive)
        network, params = network.with_sides(params, index, u, v)
    return Embedding(network, params, constructions=tuple(used))


def _check_width(network: Network, index: int, target: int) -> None:
    name, own = f"width of layer {index}", network.layers[index].width
    require(
        whole(target, name, 0) >= own,
        name,
        needed=f"at least the narrow network's {own}",
        given=target,
    )
    require(
        target == own or not network.streams(index),
        name,
        needed=f"the {own} units that a residual layer adds to",
        given=target,
    )


def _chosen(layer: Layer, target: int, construction: str | None) -> str:
    """The construction asked for, or the richest; of a layer without units what
    needs none."""
    unit, empty = layer.unit, layer.width == 0
    chosen = "ii" if empty else construction or richest(unit)
    if target == layer.width or applies(unit, chosen):
        return chosen
    if empty:
        raise InputError(
            f"a layer without units can be widened by silent ones alone, and unit {unit.name!r}"
            " does not declare that it has a silent point; begin with one unit"
        )
    raise InputError(
        f"construction ({chosen}) needs a property that unit {unit.name!r}"
        f" does not declare ({unit.symmetry}); use ({richest(unit)})"
    )


def _numpy(params: Params) -> Params:
    of_layer = lambda layer: {k: np.asarray(a, float) for k, a in layer.items()}
    return tuple(of_layer(layer) for layer in params)


# --------------------------------------------- the embedding nearest to a state
def embed_near(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    """The embedding of a narrow layer that lies near a wide one.

    Its coefficients are read off the wide layer, then corrected. Linear units:
    U = A U*, V = B V* with B' A = 1 (all compositions of (iv)); homogeneous
    units: each wide unit joins the ray it lies on, or is silent; other units:
    each narrow unit is shared by the wide units equal to it, or to its mirror
    image where the unit has a parity, all others are silent (or, without a silent
    point, share the nearest). The map is exactly that of the narrow layer. Of one
    without units all weights are zero, a fixed point where units have a silent point.

    narrow: u (h, U) and v (h, V).
    wide: u (H, U) and v (H, V), as the result.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import embed_near
    >>> from saddlery.units import make
    >>> narrow = np.array([[1.0]]), np.array([[2.0]])
    >>> wide = np.array([[1.1], [0.9]]), np.array([[1.0], [1.0]])
    >>> u, v = embed_near(narrow, wide, make("relu"))
    >>> float((u.T @ v).item())  # the same slope, 1 x 2
    2.0
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
    rounding = 1e-8 * max(np.abs(overlap).max(), TINY)
    if np.linalg.matrix_rank(overlap, tol=rounding) < len(un):
        # Nothing to be read off: any orthonormal frame that is near is as good.
        a = b = np.linalg.qr(a + 1e-12 * np.eye(*a.shape))[0]
        overlap = b.T @ a
    return a @ un, (b @ np.linalg.inv(overlap).T) @ vn


def assign(un: Side, uw: Side, vw: Side, unit: Unit) -> Int[np.ndarray, " H"]:
    """Which narrow unit each wide one realises, (H,); -1 for none (a silent unit).

    un (h, U): incoming weights of the narrow units.
    uw (H, U), vw (H, V): the wide ones.
    """
    symmetry, count = unit.symmetry, len(un)
    likeness = _likeness(un, uw, unit)
    best = likeness.argmax(axis=1)
    close = likeness[np.arange(len(uw)), best] > LIKENESS
    size = np.linalg.norm(uw, axis=1) * np.linalg.norm(vw, axis=1)
    live = size > ACTIVE * size.max(initial=0.0)
    member = np.where((close & live) | (not symmetry.silent), best, -1)
    # Every narrow unit must be realised somewhere.
    for k in range(count):
        if np.any(member == k):
            continue
        spare = np.bincount(member[member >= 0], minlength=count)[member] > 1
        free = (member == -1) | spare
        likest = np.argmax(np.where(free, likeness[:, k], -np.inf))
        member[int(likest)] = k
    return member


def _likeness(un: Side, uw: Side, unit: Unit) -> Float[np.ndarray, "H h"]:
    """One where a wide unit is on the ray of a narrow one, or equal to it; less
    elsewhere."""
    symmetry = unit.symmetry
    if symmetry.homogeneous is None:
        distance, _ = gaps(uw, un, symmetry.flip)
        return 1.0 - distance / np.maximum(np.linalg.norm(un, axis=1), TINY)
    cosine = unit_rows(uw) @ unit_rows(un).T
    return cosine if symmetry.flip is None else np.abs(cosine)


def gaps(
    rows: Side,
    others: Side,
    flip: float | None,
) -> tuple[Float[np.ndarray, "M N"], Float[np.ndarray, "M N"]]:
    """Distances of incoming weights, up to the sign where units have a parity,
    and the signs.

        |u_i -+ w_j| (M, N), and -1 (M, N) where the mirror image -w_j is nearer

    rows (M, U): u.
    others (N, U): w.
    flip: phi(z; -u) = flip phi(z; u), None without a parity.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry.embedding import gaps
    >>> gaps(np.array([[1.0]]), np.array([[-1.5]]), flip=-1.0)
    (array([[0.5]]), array([[-1.]]))
    """
    distance = cdist(rows, others)
    if flip is None:
        return distance, np.ones_like(distance)
    mirrored = cdist(rows, -others)
    sign = np.where(mirrored < distance, -1.0, 1.0)
    return np.minimum(distance, mirrored), sign


def unit_rows(rows: Float[np.ndarray, "M U"]) -> Float[np.ndarray, "M U"]:
    """Every row over its length; rows of zeros stay zeros."""
    even, _ = powers_apart(rows)
    lengths = np.linalg.norm(even, axis=1, keepdims=True)
    return even / np.where(lengths > 0, lengths, 1.0)


def shared_near(
    un: Side,
    vn: Side,
    uw: Side,
    vw: Side,
    member: Int[np.ndarray, " H"],
    unit: Unit,
) -> Sides:
    """The embedding in which wide unit i realises narrow unit member_i (-1: silent).

    Its coefficients are read off the wide layer:
        u_i = a_i u*,    v_i = b_i v* / sum_j a_j b_j
    over the units that share it, for homogeneous units, a_i >= 0 where they are only
    positively so. Otherwise u_i = a_i u* is u* or -u*, whichever is nearer, and
        v_i = b_i v* / sum_j s_j b_j
    with s_i = 1 or, at a mirror image, the sign of the unit's parity: phi(z; u_i) =
    s_i phi(z; u*). Where the sums say nothing, all shares are equal.

    un (h, U), vn (h, V): the narrow layer.
    uw (H, U), vw (H, V): the wide one.
    """
    u, v = np.zeros_like(uw), np.zeros_like(vw)
    for k in range(len(un)):
        group = np.flatnonzero(member == k)
        incoming, seen = _incoming(un[k], uw[group], unit)
        outgoing = vw[group] @ vn[k] / max(vn[k] @ vn[k], TINY)
        total = seen @ outgoing
        if not np.isfinite(total) or abs(total) < CANCELLED:
            # The shares say nothing: equal ones.
            if unit.symmetry.homogeneous is not None:
                incoming = seen = np.ones(len(group))
            outgoing, total = seen, float(len(group))
        u[group] = np.outer(incoming, un[k])
        v[group] = np.outer(outgoing / total, vn[k])
    return u, v


def _incoming(
    narrow: np.ndarray,
    wide: Side,
    unit: Unit,
) -> tuple[np.ndarray, np.ndarray]:
    """a_i with u_i = a_i u*, and s_i with phi(z; u_i) = s_i phi(z; u*)."""
    symmetry = unit.symmetry
    if symmetry.homogeneous is not None:
        amount = wide @ narrow / max(narrow @ narrow, TINY)
        if symmetry.homogeneous == "positive":
            amount = np.maximum(amount, 0.0)
        return amount, amount
    sign = gaps(wide, narrow[None], symmetry.flip)[1][:, 0]
    return sign, np.where(sign < 0, symmetry.flip or 1.0, 1.0)
