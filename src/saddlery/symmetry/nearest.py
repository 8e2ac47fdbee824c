"""The nearest embedding of a narrow layer: the distance of a wide layer to the fixed points that
Theorem 1 makes of a narrow one.

These are a union of smooth families: one for each choice of which wide unit realises which narrow
one (or, where there is a silent point, none), and in which of its mirror images; within a family
the shares are free but for one equation a narrow unit. The nearest point of a family is closed, or
the root of one equation. Over the families there is a local search from several starts: what is
found is an upper bound of the distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, linear_sum_assignment

from ..units import Unit
from .embedding import Sides, embed_near, gaps

ROUNDS = 20  # over all units; it stops when none moves
ALTERNATIONS = 30  # between incoming and outgoing coefficients of linear units
EXACT = 1e-12  # of B'A: rounding
PARTS = (
    0.125,
    0.25,
    0.5,
    1.0,
)  # of the wide units, those that come first, with which a search begins


def nearest_embedding(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    """The nearest embedding found of a narrow layer, (h, U) and (h, V), beside a wide one, (H, U)
    and (H, V); h <= H.

    Linear units: U = A U*, V = B V* with B'A = 1, by alternating projections from what `embed_near`
    reads off. Homogeneous ones: a_i u* and b_i v* with sum_i a_i b_i = 1 on every ray, by the root
    of its multiplier. Others: copies of u*, or mirror images where units have a parity, with shares
    that add up to one, others silent: every unit moves to where the distance falls most, from an
    assignment of narrow units to single wide ones and from a few that share. The map is exactly
    that of the narrow layer, and the distance never above that of `embed_near`. Cost: some 100 H h
    steps.
    """
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
    """In weights."""
    return float(np.sqrt(sum(np.sum((x - y) ** 2) for x, y in zip(a, b, strict=True))))


# ------------------------------------------------------------------ linear units
def _spans(narrow: Sides, wide: Sides, near: Sides) -> list[Sides]:
    """Given B, the nearest A with B'A = 1 is that of least squares plus B (B'B)^-1 (1 - B'A); and
    the other way round.

    From what is read off, and, since that is huge beside a state of hardly any weights, from an
    orthonormal frame.
    """
    inverse = [np.linalg.pinv(side) for side in narrow]
    free_a, free_b = (side @ back for side, back in zip(wide, inverse, strict=True))
    size = max(np.abs(free_a).max(), np.abs(free_b).max(), 1e-300)
    frame = np.linalg.qr((free_a + free_b) / size + 1e-12 * np.eye(*free_a.shape))[0]
    one, found = np.eye(len(narrow[0])), []
    for b in (near[1] @ inverse[1], frame):
        for _ in range(ALTERNATIONS):
            a = free_a + np.linalg.pinv(b).T @ (one - b.T @ free_a)
            b = free_b + np.linalg.pinv(a).T @ (one - a.T @ free_b)
        # Where a side has lost rank no correction can restore B'A = 1: that is no embedding,
        # however near.
        if np.abs(b.T @ a - one).max() < EXACT:
            found.append((a @ narrow[0], b @ narrow[1]))
    return found


# ------------------------------------------------------------- homogeneous units
def _rays(narrow: Sides, wide: Sides, unit: Unit) -> Sides:
    un, vn = narrow
    sizes = [np.maximum(np.linalg.norm(side, axis=1), 1e-300) for side in (un, vn)]
    root = np.sqrt(sizes[0] * sizes[1])[:, None]
    un, vn = (
        un / sizes[0][:, None] * root,
        vn / sizes[1][:, None] * root,
    )  # |u*| = |v*|, on the same ray
    a, b = (side @ other.T / root[:, 0] ** 2 for side, other in zip(wide, (un, vn), strict=True))
    if unit.symmetry.homogeneous == "positive":
        a = np.maximum(a, 0.0)
    member = _each_somewhere(
        np.argmax((a**2 + b**2) * root[:, 0] ** 2, axis=1), -(a**2 + b**2) * root[:, 0] ** 2
    )
    u, v = np.zeros_like(wide[0]), np.zeros_like(wide[1])
    for k in range(len(un)):
        group = np.flatnonzero(member == k)
        first, second = _on_hyperbola(
            a[group, k], b[group, k], signed=unit.symmetry.homogeneous == "real"
        )
        u[group], v[group] = np.outer(first, un[k]), np.outer(second, vn[k])
    return u, v


def _on_hyperbola(a: np.ndarray, b: np.ndarray, *, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The nearest (a', b') with sum a' b' = 1, and a' >= 0 unless signed.

    With p = (a + b)/sqrt 2 and m = (a - b)/sqrt 2 it is |p|^2 - |m|^2 = 2, solved by p/(1 + l),
    m/(1 - l), -1 < l < 1.
    """
    p, m = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
    excess = lambda rate: p @ p / (1 + rate) ** 2 - m @ m / (1 - rate) ** 2 - 2
    edge = 1 - 1e-9
    part = np.full(len(a), 1 / np.sqrt(len(a)))
    if not excess(-edge) > 0:  # nothing of the map is here yet: it begins with equal parts
        return part, part
    rate = float(np.sqrt(p @ p / 2) - 1)
    if excess(edge) < 0:
        rate = float(brentq(excess, -edge, edge, xtol=1e-15))  # pyright: ignore (a number, unless full output is asked for)
    first, second = (
        (p / (1 + rate) + m / (1 - rate)) / np.sqrt(2),
        (p / (1 + rate) - m / (1 - rate)) / np.sqrt(2),
    )
    first = first if signed else np.maximum(first, 0.0)
    whole = float(first @ second)
    return (first, second / whole) if whole > 0 else (part, part)


# ------------------------------------------------------------------- other units
class _Prices(NamedTuple):
    """Of each wide unit i at place p = (narrow unit, mirror image), H x 2h: `gain`, its squared
    distance to the best unit there less that to silence; `share`, the part of v* it has; signs and
    factors of the places; weight
    |v*|^2, what a missing share costs."""

    gain: np.ndarray
    share: np.ndarray
    sign: np.ndarray
    factor: np.ndarray
    owner: np.ndarray
    weight: np.ndarray


def _copies(narrow: Sides, wide: Sides, unit: Unit) -> list[Sides]:
    prices = _priced(narrow, wide, unit)
    units, count = len(wide[0]), len(narrow[0])
    alone = np.full(units, -1)
    one_each = prices.gain + prices.weight[prices.owner] * (1 - prices.share) ** 2
    rows, places = linear_sum_assignment(
        np.array([one_each[:, prices.owner == k].min(axis=1) for k in range(count)]).T
    )
    for i, k in zip(rows, places, strict=True):
        alone[i] = np.where(prices.owner == k, one_each[i], np.inf).argmin()
    best, order = prices.gain.argmin(axis=1), np.argsort(prices.gain.min(axis=1))
    starts = [alone]
    for part in PARTS:
        joined = alone.copy()
        some = order[: max(count, int(part * units))]
        joined[some] = np.where(alone[some] >= 0, alone[some], best[some])
        starts.append(joined)
    if not unit.symmetry.silent:
        starts = [np.where(start < 0, best, start) for start in starts]
    return [
        _placed(narrow, prices, _settled(prices, start, count, silent=unit.symmetry.silent))
        for start in starts
    ]


def _priced(narrow: Sides, wide: Sides, unit: Unit) -> _Prices:
    (un, vn), (uw, vw) = narrow, wide
    signs = np.array([1.0] if unit.symmetry.flip is None else [1.0, -1.0])
    owner, sign = np.repeat(np.arange(len(un)), len(signs)), np.tile(signs, len(un))
    factor = np.where(sign < 0, unit.symmetry.flip or 1.0, 1.0)
    weight = np.maximum(np.sum(vn**2, axis=1), 1e-300)
    distance, _ = gaps(uw, sign[:, None] * un[owner], None)
    share = factor * (vw @ vn[owner].T) / weight[owner]
    gain = distance**2 - np.sum(uw**2, axis=1)[:, None] - share**2 * weight[owner]
    return _Prices(gain, share, sign, factor, owner, weight)


def _settled(prices: _Prices, place: np.ndarray, count: int, *, silent: bool) -> np.ndarray:
    """Places (-1: silent) from which no unit alone can move so that the distance falls."""
    place, every = place.copy(), np.arange(count)
    for _ in range(ROUNDS):
        moved = False
        for i in range(len(place)):
            others = np.flatnonzero((place >= 0) & (np.arange(len(place)) != i))
            owner = prices.owner[place[others]]
            members = np.bincount(owner, minlength=count)
            if np.any(members == 0):
                continue  # the only one that realises a narrow unit
            missing = 1 - np.bincount(owner, prices.share[others, place[others]], minlength=count)
            before = prices.weight[every] * missing**2 / members
            k = prices.owner
            after = prices.weight[k] * (missing[k] - prices.share[i]) ** 2 / (members[k] + 1)
            change = prices.gain[i] + after - before[k]
            best = int(change.argmin())
            target = best if change[best] < 0 or not silent else -1
            if (
                target != place[i]
                and _cost(change, target) < _cost(change, place[i]) - 1e-12 * abs(change).max()
            ):
                place[i], moved = target, True
        if not moved:
            break
    return place


def _cost(change: np.ndarray, place: int) -> float:
    return 0.0 if place < 0 else float(change[place])


def _placed(narrow: Sides, prices: _Prices, place: np.ndarray) -> Sides:
    """The nearest point of the family: shares as they are, and what is missing in equal parts."""
    (un, vn), units = narrow, len(place)
    u, v = np.zeros((units, un.shape[1])), np.zeros((units, vn.shape[1]))
    for k in range(len(un)):
        group = np.flatnonzero((place >= 0) & (prices.owner[place] == k))
        share = prices.share[group, place[group]]
        share = share + (1 - share.sum()) / len(group)
        u[group] = prices.sign[place[group]][:, None] * un[k]
        v[group] = (prices.factor[place[group]] * share)[:, None] * vn[k]
    return u, v


def _each_somewhere(member: np.ndarray, price: np.ndarray) -> np.ndarray:
    """The members with every narrow unit realised by one wide unit at least, the assignment that
    costs least."""
    if len(np.unique(member)) < price.shape[1]:
        rows, columns = linear_sum_assignment(price)
        member = member.copy()
        member[rows] = columns
    return member
