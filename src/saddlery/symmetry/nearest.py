"""The nearest embedding of a narrow layer: how far a wide one is from its fixed points.

These, which Theorem 1 makes of a narrow layer, are a union of smooth families:
one for each choice of which wide unit realises which narrow one (or, where there
is a silent point, none), and in which of its mirror images; within a family the
shares are free but for one equation a narrow unit. The nearest point of a family
is closed, or the root of one equation. Over the families there is a local search
from several starts: what is found is an upper bound of the distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, linear_sum_assignment

from ..basis.sizes import TINY, common_power
from ..units import Unit
from .embedding import Sides, embed_near, gaps

# At most so many passes over all units; they stop when none moves.
PASSES = 20
# Rounds between incoming and outgoing coefficients of linear units, each nearest to the
# other.
PROJECTIONS = 30
# B'A = 1 holds where no entry is farther off than this, which is rounding.
COMPLETE = 1e-12
# A search begins with these shares of the wide units, those that gain most by joining.
BEGINNINGS = (0.125, 0.25, 0.5, 1.0)
# A move that gains less than this share of the largest change of the squared distance
# is none.
LEAST_MOVE = 1e-12

Array = np.ndarray


def nearest_embedding(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    """The nearest embedding found of a narrow layer beside a wide one.

    Linear units: U = A U*, V = B V* with B'A = 1, by alternating projections from
    what `embed_near` reads off. Homogeneous ones: a_i u* and b_i v* with sum_i
    a_i b_i = 1 on every ray, by the root of its multiplier. Others: copies of u*,
    or mirror images where units have a parity, with shares that add up to one,
    others silent: every unit moves to where the distance falls most, from an
    assignment of narrow units to single wide ones and from a few that share. The
    map is exactly that of the narrow layer, and the distance never above that of
    `embed_near`.

    narrow: u* (h, U) and v* (h, V). wide: (H, U) and (H, V), as the result;
        h <= H.

    Cost: some 100 H h steps.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import nearest_embedding
    >>> from saddlery.units import make
    >>> narrow = np.array([[1.0]]), np.array([[1.0]])
    >>> wide = np.array([[1.0], [0.1]]), np.array([[1.0], [0.1]])
    >>> u, v = nearest_embedding(narrow, wide, make("relu"))
    >>> round(float((u.T @ v).item()), 12)
    1.0
    """
    # Embeddings of the same layers in another unit of weights are the same ones.
    power = common_power(*narrow, *wide)
    u, v = _nearest_of_order_one(_over(power, narrow), _over(power, wide), unit)
    return np.ldexp(u, power), np.ldexp(v, power)


def _over(power: int, sides: Sides) -> Sides:
    u, v = sides
    return np.ldexp(u, -power), np.ldexp(v, -power)


def _nearest_of_order_one(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    """`nearest_embedding` of weights whose squares are numbers."""
    near = embed_near(narrow, wide, unit)
    if len(narrow[0]) == 0:
        return near
    if unit.symmetry.linear:
        found = _spans(narrow, wide, near)
    elif unit.symmetry.homogeneous is not None:
        found = [_rays(narrow, wide, unit)]
    else:
        found = _copies(narrow, wide, unit)
    return min([near, *found], key=lambda sides: distance(sides, wide))


def distance(a: Sides, b: Sides) -> float:
    """Of two layers, u (H, U) and v (H, V) each, in weights."""
    squares = [np.sum((x - y) ** 2) for x, y in zip(a, b, strict=True)]
    return float(np.sqrt(sum(squares)))


# ------------------------------------------------------------------ linear units
def _spans(narrow: Sides, wide: Sides, near: Sides) -> list[Sides]:
    """Embeddings A U*, B V* with B'A = 1, from two starts of B.

    Given B, the nearest A is that of least squares plus B (B'B)^-1 (1 - B'A); and
    the other way round. B is what was read off or, since that is huge beside a
    state of hardly any weights, an orthonormal frame.
    """
    inverse_u, inverse_v = np.linalg.pinv(narrow[0]), np.linalg.pinv(narrow[1])
    free_a, free_b = wide[0] @ inverse_u, wide[1] @ inverse_v
    size = max(np.abs(free_a).max(), np.abs(free_b).max(), TINY)
    both = (free_a + free_b) / size
    frame = np.linalg.qr(both + 1e-12 * np.eye(*free_a.shape))[0]
    one, found = np.eye(len(narrow[0])), []
    for b in (near[1] @ inverse_v, frame):
        for _ in range(PROJECTIONS):
            a = free_a + np.linalg.pinv(b).T @ (one - b.T @ free_a)
            b = free_b + np.linalg.pinv(a).T @ (one - a.T @ free_b)
        # Where a side has lost rank no correction can restore B'A = 1: that is no
        # embedding, however near.
        if np.abs(b.T @ a - one).max() < COMPLETE:
            found.append((a @ narrow[0], b @ narrow[1]))
    return found


# ------------------------------------------------------------- homogeneous units
def _rays(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    un, vn, square = _balanced(narrow)
    a, b = wide[0] @ un.T / square, wide[1] @ vn.T / square
    if unit.symmetry.homogeneous == "positive":
        a = np.maximum(a, 0.0)
    seen = (a**2 + b**2) * square  # of every wide unit, along every narrow one
    member = _each_somewhere(np.argmax(seen, axis=1), -seen)
    u, v = np.zeros_like(wide[0]), np.zeros_like(wide[1])
    signed = unit.symmetry.homogeneous == "real"
    for k in range(len(un)):
        group = np.flatnonzero(member == k)
        first, second = _on_hyperbola(a[group, k], b[group, k], signed=signed)
        u[group] = np.outer(first, un[k])
        v[group] = np.outer(second, vn[k])
    return u, v


def _balanced(narrow: Sides) -> tuple[Array, Array, Array]:
    """The same units with |u*| = |v*|, on the same ray, and the squares of these
    lengths."""
    un, vn = narrow
    size_u = np.maximum(np.linalg.norm(un, axis=1), TINY)
    size_v = np.maximum(np.linalg.norm(vn, axis=1), TINY)
    root = np.sqrt(size_u * size_v)
    u = un / size_u[:, None] * root[:, None]
    v = vn / size_v[:, None] * root[:, None]
    return u, v, root**2


def _on_hyperbola(a: Array, b: Array, *, signed: bool) -> tuple[Array, Array]:
    """The nearest (a', b') with sum a' b' = 1, and a' >= 0 unless signed.

    With p = (a + b)/sqrt 2 and m = (a - b)/sqrt 2 it is |p|^2 - |m|^2 = 2, solved
    by p/(1 + l), m/(1 - l), -1 < l < 1.
    """
    p, m = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
    edge = 1 - 1e-9
    equal = np.full(len(a), 1 / np.sqrt(len(a)))

    def excess(rate: float) -> float:
        return p @ p / (1 + rate) ** 2 - m @ m / (1 - rate) ** 2 - 2

    if not excess(-edge) > 0:  # nothing of the map is here yet: it begins with equal parts
        return equal, equal
    rate = float(np.sqrt(p @ p / 2) - 1)
    if excess(edge) < 0:
        root = brentq(excess, -edge, edge, xtol=1e-15)
        rate = float(root)  # pyright: ignore (a number, unless full output is asked for)
    plus, minus = p / (1 + rate), m / (1 - rate)
    first = (plus + minus) / np.sqrt(2)
    second = (plus - minus) / np.sqrt(2)
    if not signed:
        first = np.maximum(first, 0.0)
    whole = float(first @ second)
    if not whole > 0:
        return equal, equal
    return first, second / whole


# ------------------------------------------------------------------- other units
class _Prices(NamedTuple):
    """Of each wide unit i at place s = (narrow unit, mirror image), (H, S), where S is
    2h with a parity and h without.

    cost: its squared distance to the best unit there less that to silence: where
        negative, the place is better than silence.
    share: the part of v* it has.
    sign, factor, owner (S,): of u* and v* at the places, and whose they are.
    weight (h,): |v*|^2, what a missing share costs.
    """

    cost: Array
    share: Array
    sign: Array
    factor: Array
    owner: Array
    weight: Array


def _copies(narrow: Sides, wide: Sides, unit: Unit) -> list[Sides]:
    """One embedding from every start."""
    prices = _priced(narrow, wide, unit)
    found = []
    for start in _starts(prices, silent=unit.symmetry.silent):
        place = _settled(prices, start, silent=unit.symmetry.silent)
        found.append(_placed(narrow, prices, place))
    return found


def _starts(prices: _Prices, *, silent: bool) -> list[Array]:
    """Places (H,): each narrow unit at one wide one, and shared by some that gain
    most."""
    units, count = len(prices.cost), len(prices.weight)
    alone = _alone(prices)
    best = prices.cost.argmin(axis=1)
    order = np.argsort(prices.cost.min(axis=1))
    starts = [alone]
    for part in BEGINNINGS:
        joined = alone.copy()
        some = order[: max(count, int(part * units))]
        joined[some] = np.where(alone[some] >= 0, alone[some], best[some])
        starts.append(joined)
    if silent:
        return starts
    return [np.where(start < 0, best, start) for start in starts]


def _alone(prices: _Prices) -> Array:
    """The cheapest assignment of every narrow unit to one wide one; -1 elsewhere."""
    units, count = len(prices.cost), len(prices.weight)
    missing = prices.weight[prices.owner] * (1 - prices.share) ** 2
    cost = prices.cost + missing
    cheapest = [cost[:, prices.owner == k].min(axis=1) for k in range(count)]
    rows, owners = linear_sum_assignment(np.array(cheapest).T)
    place = np.full(units, -1)
    for i, k in zip(rows, owners, strict=True):
        place[i] = np.where(prices.owner == k, cost[i], np.inf).argmin()
    return place


def _priced(narrow: Sides, wide: Sides, unit: Unit) -> _Prices:
    (un, vn), (uw, vw) = narrow, wide
    flip = unit.symmetry.flip
    signs = np.array([1.0] if flip is None else [1.0, -1.0])
    owner = np.repeat(np.arange(len(un)), len(signs))
    sign = np.tile(signs, len(un))
    factor = np.where(sign < 0, flip or 1.0, 1.0)
    weight = np.maximum(np.sum(vn**2, axis=1), TINY)
    distance, _ = gaps(uw, sign[:, None] * un[owner], None)
    share = factor * (vw @ vn[owner].T) / weight[owner]
    silence = np.sum(uw**2, axis=1)[:, None]
    return _Prices(
        cost=distance**2 - silence - share**2 * weight[owner],
        share=share,
        sign=sign,
        factor=factor,
        owner=owner,
        weight=weight,
    )


def _settled(prices: _Prices, place: Array, *, silent: bool) -> Array:
    """Places (-1: silent) from which no unit alone can move so that the distance
    falls."""
    place = place.copy()
    for _ in range(PASSES):
        moved = False
        for i in range(len(place)):
            change = _changes(prices, place, i)
            if change is None:
                continue
            best = int(change.argmin())
            target = best if change[best] < 0 or not silent else -1
            least = _cost(change, place[i]) - LEAST_MOVE * abs(change).max()
            if target != place[i] and _cost(change, target) < least:
                place[i] = target
                moved = True
        if not moved:
            break
    return place


def _changes(prices: _Prices, place: Array, unit: int) -> Array | None:
    """The cost of a unit at each place over its being silent, the others being where
    they are, (S,).

    None where it is the only one that realises a narrow unit.
    """
    count, k = len(prices.weight), prices.owner
    others = np.flatnonzero((place >= 0) & (np.arange(len(place)) != unit))
    owner, share = k[place[others]], prices.share[others, place[others]]
    members = np.bincount(owner, minlength=count)
    if np.any(members == 0):
        return None
    missing = 1 - np.bincount(owner, share, minlength=count)
    before = prices.weight * missing**2 / members
    after = prices.weight[k] * (missing[k] - prices.share[unit]) ** 2 / (members[k] + 1)
    return prices.cost[unit] + after - before[k]


def _cost(change: Array, place: int) -> float:
    return 0.0 if place < 0 else float(change[place])


def _placed(narrow: Sides, prices: _Prices, place: Array) -> Sides:
    """The nearest point of the family: shares as they are, what is missing in
    equal parts."""
    (un, vn), units = narrow, len(place)
    u, v = np.zeros((units, un.shape[1])), np.zeros((units, vn.shape[1]))
    for k in range(len(un)):
        group = np.flatnonzero((place >= 0) & (prices.owner[place] == k))
        at = place[group]
        share = prices.share[group, at]
        share = share + (1 - share.sum()) / len(group)
        u[group] = prices.sign[at][:, None] * un[k]
        v[group] = (prices.factor[at] * share)[:, None] * vn[k]
    return u, v


def _each_somewhere(member: Array, price: Array) -> Array:
    """The members with every narrow unit realised by one wide unit at least.

    By the assignment that costs least.
    """
    if len(np.unique(member)) == price.shape[1]:
        return member
    rows, columns = linear_sum_assignment(price)
    member = member.copy()
    member[rows] = columns
    return member
