"""Invariant manifolds: relations between the units of a layer that gradient flow keeps, and how far
a state is from them.

With theta_i = [u_i; v_i], once true these stay true under gradient flow (and under gradient descent
with any step):
    (i)   theta_i = theta_j                      any unit; theta_i = -theta_j where phi is odd in u
    (ii)  theta_i = 0                            units with phi(z; 0) = 0
    (iii) theta_i = g theta_j                    phi homogeneous of degree 1 in u: any real g, or g >= 0 only
    (iv)  theta_i = sum_j g_j theta_j            phi linear in u
Each is theta_i = sum_j c_j theta_j with its own c, so that a set of them is a linear subspace A
Theta = 0 of the stacked units Theta (H, U + V), and every independent one lowers the effective
width by one.
Source: Zhang, Saxe & Latham (2026), Theorem 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..basis.checks import Words, require, whole
from ..basis.values import Value
from ..units import Unit
from .embedding import Side, unit_rows

Stacked = Float[np.ndarray, "H K"]  # rows [u_i, v_i]
Mirrors = Float[np.ndarray, "M K"]  # factors of a row
ROUNDS = 50  # of alternating between lines and members; it stops when nothing moves


@dataclass(frozen=True)
class Relation:
    """theta_unit = sum_j coefficients_j theta_j. construction: the case of Theorem 3, "i" to
    "iv"."""

    construction: str
    unit: int
    coefficients: tuple[float, ...]  # (H,), its own entry zero


def equal(width: int, unit: int, other: int, *, mirrored: bool = False) -> Relation:
    """(i) theta_unit = theta_other; mirrored: theta_unit = -theta_other, the same unit again where
    phi is odd in u."""
    return proportional(width, unit, other, -1.0 if mirrored else 1.0, construction="i")


def silent_unit(width: int, unit: int) -> Relation:
    """(ii) theta_unit = 0."""
    return combination(width, unit, np.zeros(width), construction="ii")


def proportional(
    width: int, unit: int, other: int, ratio: float, *, construction: str = "iii"
) -> Relation:
    """(iii) theta_unit = ratio theta_other."""
    require(other != unit and 0 <= other < width, "other", f"another of the {width} units", other)
    return combination(width, unit, ratio * np.eye(width)[other], construction=construction)


def combination(
    width: int, unit: int, coefficients: Sequence[float] | np.ndarray, *, construction: str = "iv"
) -> Relation:
    """(iv) theta_unit = sum_j coefficients_j theta_j, over the other units."""
    c = np.asarray(coefficients, float)
    require(0 <= unit < width, "unit", f"one of the {width}, counted from 0", unit)
    require(
        c.shape == (width,) and c[unit] == 0,
        "coefficients",
        f"{width} numbers, that of the unit itself zero",
        tuple(c),
    )
    return Relation(construction, unit, tuple(c.tolist()))


def holds_for(relation: Relation, unit: Unit) -> bool:
    """Whether Theorem 3 says that flow keeps the relation between units of this kind."""
    symmetry = unit.symmetry
    if relation.construction == "iii" and symmetry.homogeneous == "positive":
        return min(relation.coefficients) >= 0
    return {
        "i": min(relation.coefficients) >= 0 or symmetry.parity == "odd",
        "ii": symmetry.silent,
        "iii": symmetry.homogeneous is not None,
        "iv": symmetry.linear,
    }[relation.construction]


@dataclass(frozen=True, eq=False)
class Manifold(Value):
    """The states of one layer of H units on which some relations hold: a linear subspace A Theta =
    0.

    Nothing here asks whether flow keeps the relations; `invariant` says which units it does so for.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import Manifold, proportional, silent_unit
    >>> rays = Manifold(3, (proportional(3, 1, 0, 2.0), silent_unit(3, 2)))
    >>> rays.width, rays.project(np.ones((3, 2))).round(3).tolist()
    (1, [[0.6, 0.6], [1.2, 1.2], [0.0, 0.0]])
    """

    units: int
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        for relation in self.relations:
            require(
                len(relation.coefficients) == self.units,
                "a relation",
                f"between {self.units} units",
                len(relation.coefficients),
            )

    @property
    def matrix(self) -> Float[np.ndarray, "R H"]:
        """A, one row a relation: theta_unit - sum_j c_j theta_j."""
        eye = np.eye(self.units)
        rows = [eye[r.unit] - np.array(r.coefficients) for r in self.relations]
        return np.array(rows).reshape(len(rows), self.units)

    @property
    def width(self) -> int:
        """The effective width: units less independent relations."""
        return self.units - (int(np.linalg.matrix_rank(self.matrix)) if self.relations else 0)

    def invariant(self, unit: Unit) -> bool:
        """Whether Theorem 3 says that flow stays on it, for units of this kind."""
        return all(holds_for(relation, unit) for relation in self.relations)

    def residual(self, stacked: Stacked) -> float:
        """|A Theta|, Frobenius norm: zero on the manifold."""
        return float(np.linalg.norm(self.matrix @ stacked))

    def project(self, stacked: Stacked) -> Stacked:
        """The nearest state on the manifold."""
        a = self.matrix
        return stacked - np.linalg.pinv(a) @ (a @ stacked) if self.relations else stacked.copy()

    def random(self, rng: np.random.Generator, numbers: int) -> Stacked:
        """A random state on it, of units with `numbers` = U + V weights: the projection of one with
        entries N(0, 1)."""
        return self.project(rng.standard_normal((self.units, whole(numbers, "numbers"))))

    def distance(self, stacked: Stacked) -> float:
        """To the nearest state on the manifold, in weights."""
        return float(np.linalg.norm(stacked - self.project(stacked)))


# --------------------------------------------------------------- effective width
@dataclass(frozen=True, eq=False)
class Nearest(Value):
    """The nearest state of effective width h that was found. distance: to it, in weights. stacked
    (H, U + V): itself.
    exact: whether no nearer one exists (linear units); otherwise the distance is an upper bound
    from a local search."""

    distance: float
    stacked: Stacked
    exact: bool


def nearest_of_width(u: Side, v: Side, unit: Unit, width: int) -> Nearest:
    """The nearest state of one layer whose units span an invariant manifold of effective width h or
    less.

    u (H, U), v (H, V): the two sides. Linear units: the best approximation of rank h of Theta = [u,
    v] (Eckart & Young 1936), exactly. Homogeneous units: h lines (or rays) through the origin, each
    unit on one of them; others: h points and the silent point, if there is one, each unit at one of
    them; both by alternating between members and lines or points, from a greedy start, which gives
    an upper bound. Where units have a parity a point stands for its mirror image too, (-u, -v) for
    odd units and (-u, v) for even ones. Cost: one singular value decomposition, or 50 passes of H h
    (U + V).
    """
    whole(width, "width", 0)
    stacked = np.hstack([np.asarray(u, float), np.asarray(v, float)])
    if width >= len(stacked):
        return Nearest(0.0, stacked, True)
    symmetry = unit.symmetry
    if symmetry.linear:
        q, s, rt = np.linalg.svd(stacked, full_matrices=False)
        return Nearest(
            float(np.linalg.norm(s[width:])), (q[:, :width] * s[:width]) @ rt[:width], True
        )
    if width == 0:
        distance = float(np.linalg.norm(stacked)) if symmetry.silent else float("inf")
        return Nearest(
            distance,
            np.zeros_like(stacked) if symmetry.silent else np.full_like(stacked, np.nan),
            True,
        )
    if symmetry.homogeneous:
        found = _lines(stacked, width, signed=symmetry.homogeneous == "real")
    else:
        found = _points(
            stacked, width, _mirrors(u.shape[1], v.shape[1], symmetry.flip), silent=symmetry.silent
        )
    return Nearest(float(np.linalg.norm(stacked - found)), found, False)


def widths_distances(
    u: Float[np.ndarray, "T H U"], v: Float[np.ndarray, "T H V"], unit: Unit, widths: Sequence[int]
) -> Float[np.ndarray, "T W"]:
    """Distance of a trajectory of one layer to the manifolds of each effective width, relative to
    the norm of the layer."""
    require(len(u) == len(v), "u and v", "of one length in time", Words(f"{len(u)} and {len(v)}"))
    sizes = [
        max(float(np.sqrt(np.sum(a**2) + np.sum(b**2))), 1e-300) for a, b in zip(u, v, strict=True)
    ]
    return np.array(
        [
            [nearest_of_width(a, b, unit, h).distance / size for h in widths]
            for a, b, size in zip(u, v, sizes, strict=True)
        ]
    ).reshape(len(u), len(widths))


def _lines(stacked: Stacked, count: int, *, signed: bool) -> Stacked:
    """Every row on the nearest of `count` lines (rays unless signed) through the origin."""
    directions = _greedy(stacked, count, lambda rows, chosen: _on_lines(rows, chosen, signed))
    for _ in range(ROUNDS):
        amount = stacked @ directions.T
        member = (np.abs(amount) if signed else amount).argmax(axis=1)
        moved = np.array(
            [_axis(stacked[member == k], directions[k], signed) for k in range(count)]
        ).reshape(count, -1)
        if np.allclose(moved, directions, rtol=0, atol=1e-15):
            break
        directions = moved
    return _on_lines(stacked, directions, signed)


def _on_lines(rows: np.ndarray, directions: np.ndarray, signed: bool) -> np.ndarray:
    if not len(directions):  # the first choice of all
        return np.zeros_like(rows)
    amount = rows @ directions.T
    best = (np.abs(amount) if signed else amount).argmax(axis=1)
    along = amount[np.arange(len(rows)), best]
    return (along if signed else np.maximum(along, 0.0))[:, None] * directions[best]


def _axis(members: np.ndarray, before: np.ndarray, signed: bool) -> np.ndarray:
    """The line nearest to some rows; as a ray it points the way most of their weight does."""
    if not len(members) or not members.any():
        return before
    if not signed:
        members = members[members @ before > 0]
        if not len(members):
            return before
    axis = np.linalg.svd(members, full_matrices=False)[2][0]
    return axis if axis @ members.sum(axis=0) >= 0 else -axis


def _mirrors(incoming: int, outgoing: int, flip: float | None) -> Mirrors:
    """Factors of [u, v] that give the same unit: one, and its mirror image where units have a
    parity."""
    own = np.ones(incoming + outgoing)
    if flip is None:
        return own[None]
    return np.array([own, np.concatenate([-own[:incoming], flip * own[incoming:]])])


def _points(stacked: Stacked, count: int, mirrors: Mirrors, *, silent: bool) -> Stacked:
    """Every row at the nearest of `count` points or of their mirror images, or at the origin where
    that is allowed."""
    origin = np.zeros((int(silent), stacked.shape[1]))
    places = lambda points: np.vstack([origin, *(factors * points for factors in mirrors)])
    points = _greedy(
        stacked, count, lambda rows, chosen: _at_points(rows, places(chosen)), directions=False
    )
    for _ in range(ROUNDS):
        place = np.linalg.norm(stacked[:, None] - places(points)[None], axis=2).argmin(
            axis=1
        ) - len(origin)
        mirror, member = np.divmod(np.maximum(place, 0), count)
        member = np.where(place < 0, -1, member)  # at the origin
        unfolded = mirrors[mirror] * stacked  # a mirror image of its own mirror image
        moved = np.array(
            [
                unfolded[member == k].mean(axis=0) if np.any(member == k) else points[k]
                for k in range(count)
            ]
        )
        moved = moved.reshape(points.shape)
        if np.allclose(moved, points, rtol=0, atol=1e-15):
            break
        points = moved
    return _at_points(stacked, places(points))


def _at_points(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
    if not len(points):
        return np.full_like(rows, np.inf)
    return points[np.linalg.norm(rows[:, None] - points[None], axis=2).argmin(axis=1)]


def _greedy(rows: np.ndarray, count: int, nearest, *, directions: bool = True) -> np.ndarray:
    """`count` rows (or their directions), each the one farthest from what the ones before it
    leave."""
    chosen = np.zeros((0, rows.shape[1]))
    for _ in range(count):
        left = rows - nearest(rows, chosen)
        sizes = np.linalg.norm(np.where(np.isfinite(left), left, rows), axis=1)
        row = rows[[int(sizes.argmax())]]
        chosen = np.vstack([chosen, unit_rows(row) if directions else row])
    return chosen
