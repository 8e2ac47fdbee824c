"""Invariant manifolds: relations between the units of a layer that gradient flow keeps.

With theta_i = [u_i; v_i], once true these stay true under gradient flow (and
under gradient descent with any step):
    (i)   theta_i = theta_j              any unit; theta_i = -theta_j where phi is odd in u
    (ii)  theta_i = 0                    units with phi(z; 0) = 0
    (iii) theta_i = g theta_j            phi homogeneous of degree 1 in u: any real g,
                                         or g >= 0 only
    (iv)  theta_i = sum_j g_j theta_j    phi linear in u
Each is theta_i = sum_j c_j theta_j with its own c, so that a set of them is a
linear subspace A Theta = 0 of the stacked units Theta (H, U + V), and every
independent one lowers the effective width by one. How far a state is from them is
measured in weights.

Source: Zhang, Saxe & Latham (2026), Theorem 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ..basis.checks import Words, require, whole
from ..basis.sizes import common_power, lengths
from ..basis.values import Value
from ..units import Unit
from .embedding import Side, unit_rows

Stacked = Float[np.ndarray, "H K"]  # rows [u_i, v_i]
Mirrors = Float[np.ndarray, "M K"]  # factors of a row
Rows = np.ndarray  # (H, K), as many as are at hand
# rows (H, K) and the centres chosen (C, K) -> the point nearest to each row (H, K)
Nearby = Callable[[Rows, Rows], Rows]

# At most so many rounds between lines and members; they stop when nothing moves.
ALTERNATIONS = 50
# Centres that move by less than this share of the largest weight stand still.
MOVED = 1e-15


@dataclass(frozen=True)
class Relation:
    """theta_unit = sum_j coefficients_j theta_j.

    construction: the case of Theorem 3, "i" to "iv".
    coefficients (H,): its own entry zero.
    """

    construction: str
    unit: int
    coefficients: tuple[float, ...]


def equal(
    width: int,
    unit: int,
    other: int,
    *,
    mirrored: bool = False,
) -> Relation:
    """(i) theta_unit = theta_other, of `width` units.

    mirrored: theta_unit = -theta_other, the same unit again where phi is odd in
        u.

    Example
    -------
    >>> from saddlery.symmetry import equal
    >>> equal(3, unit=0, other=2).coefficients
    (0.0, 0.0, 1.0)
    """
    ratio = -1.0 if mirrored else 1.0
    return proportional(width, unit, other, ratio, construction="i")


def silent_unit(width: int, unit: int) -> Relation:
    """(ii) theta_unit = 0, of `width` units."""
    return combination(width, unit, np.zeros(width), construction="ii")


def proportional(
    width: int,
    unit: int,
    other: int,
    ratio: float,
    *,
    construction: str = "iii",
) -> Relation:
    """(iii) theta_unit = ratio theta_other, of `width` units."""
    require(
        other != unit and 0 <= other < width,
        "other",
        needed=f"another of the {width} units",
        given=other,
    )
    return combination(width, unit, ratio * np.eye(width)[other], construction=construction)


def combination(
    width: int,
    unit: int,
    coefficients: Sequence[float] | Float[np.ndarray, " H"],
    *,
    construction: str = "iv",
) -> Relation:
    """(iv) theta_unit = sum_j coefficients_j theta_j, over the other units.

    coefficients (H,): that of the unit itself zero.

    Example
    -------
    >>> from saddlery.symmetry import combination
    >>> combination(3, 2, [0.5, -1.0, 0.0]).construction
    'iv'
    """
    c = np.asarray(coefficients, float)
    require(
        0 <= unit < width,
        "unit",
        needed=f"one of the {width}, counted from 0",
        given=unit,
    )
    require(
        c.shape == (width,) and c[unit] == 0,
        "coefficients",
        needed=f"{width} numbers, that of the unit itself zero",
        given=tuple(c),
    )
    return Relation(construction, unit, coefficients=tuple(c.tolist()))


def holds_for(relation: Relation, unit: Unit) -> bool:
    """Whether Theorem 3 says that flow keeps the relation between units of this
    kind."""
    symmetry, case = unit.symmetry, relation.construction
    unsigned = min(relation.coefficients) >= 0
    if case == "i":
        return unsigned or symmetry.parity == "odd"
    if case == "ii":
        return symmetry.silent
    if case == "iii" and symmetry.homogeneous == "positive":
        return unsigned
    return {"iii": symmetry.homogeneous is not None, "iv": symmetry.linear}[case]


@dataclass(frozen=True, eq=False)
class Manifold(Value):
    """The states of one layer of H units on which some relations hold: A Theta = 0.

    Nothing here asks whether flow keeps the relations; `invariant` says which
    units it does so for.

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
            count = len(relation.coefficients)
            require(
                count == self.units,
                "a relation",
                needed=f"between {self.units} units",
                given=count,
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
        if not self.relations:
            return self.units
        return self.units - int(np.linalg.matrix_rank(self.matrix))

    def invariant(self, unit: Unit) -> bool:
        """Whether Theorem 3 says that flow stays on it, for units of this kind."""
        return all(holds_for(relation, unit) for relation in self.relations)

    def residual(self, stacked: Stacked) -> float:
        """|A Theta|, Frobenius norm: zero on the manifold. stacked (H, K): Theta."""
        return float(np.linalg.norm(self.matrix @ stacked))

    def project(self, stacked: Stacked) -> Stacked:
        """The nearest state on the manifold, (H, K) as stacked: Theta - A^+ A Theta."""
        if not self.relations:
            return stacked.copy()
        a = self.matrix
        return stacked - np.linalg.pinv(a) @ (a @ stacked)

    def random(self, rng: np.random.Generator, numbers: int) -> Stacked:
        """A random state on it, of units with `numbers` = U + V weights.

        The projection of one with entries N(0, 1).
        """
        drawn = rng.standard_normal((self.units, whole(numbers, "numbers")))
        return self.project(drawn)

    def distance(self, stacked: Stacked) -> float:
        """To the nearest state on the manifold, in weights. stacked (H, K): Theta."""
        return float(np.linalg.norm(stacked - self.project(stacked)))


# --------------------------------------------------------------- effective width
@dataclass(frozen=True, eq=False)
class Nearest(Value):
    """The nearest state of effective width h that was found.

    distance: to it, in weights.
    stacked (H, U + V): itself.
    exact: whether no nearer one exists (linear units); otherwise the distance is
        an upper bound from a local search.
    """

    distance: float
    stacked: Stacked
    exact: bool


def nearest_of_width(u: Side, v: Side, unit: Unit, width: int) -> Nearest:
    """The nearest state whose units span an invariant manifold of effective width
    h or less.

    u (H, U), v (H, V): the two sides of the layer. width: h, at least 0.

    Linear units: the best approximation of rank h of Theta = [u, v] (Eckart &
    Young 1936), exactly. Homogeneous units: h lines (or rays) through the origin,
    each unit on one of them; others: h points and the silent point, if there is
    one, each unit at one of them; both by alternating between members and lines
    or points, from a greedy start, which gives an upper bound. Where units have a
    parity a point stands for its mirror image too, (-u, -v) for odd units and
    (-u, v) for even ones. Cost: one singular value decomposition, or 50 passes of
    H h (U + V).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry import nearest_of_width
    >>> from saddlery.units import make
    >>> found = nearest_of_width(np.diag([3.0, 0.5]), np.zeros((2, 1)), make("linear"), 1)
    >>> round(found.distance, 12), found.exact
    (0.5, True)
    """
    whole(width, "width", 0)
    stacked = np.hstack([np.asarray(u, float), np.asarray(v, float)])
    power = common_power(stacked)
    found = _nearest_of_order_one(np.ldexp(stacked, -power), u.shape[1], unit, width)
    distance = float(np.ldexp(found.distance, power))
    return replace(found, distance=distance, stacked=np.ldexp(found.stacked, power))


def _nearest_of_order_one(stacked: Stacked, inputs: int, unit: Unit, width: int) -> Nearest:
    """`nearest_of_width` for weights (H, inputs + V) whose squares are numbers."""
    symmetry = unit.symmetry
    if width >= len(stacked):
        return Nearest(distance=0.0, stacked=stacked, exact=True)
    if symmetry.linear:
        q, s, rt = np.linalg.svd(stacked, full_matrices=False)
        best = (q[:, :width] * s[:width]) @ rt[:width]
        return Nearest(distance=float(np.linalg.norm(s[width:])), stacked=best, exact=True)
    if width == 0:
        return _nearest_silence(stacked, silent=symmetry.silent)
    if symmetry.homogeneous:
        found = _lines(stacked, width, signed=symmetry.homogeneous == "real")
    else:
        mirrors = _mirrors(inputs, stacked.shape[1] - inputs, symmetry.flip)
        found = _points(stacked, width, mirrors, silent=symmetry.silent)
    distance = float(np.linalg.norm(stacked - found))
    return Nearest(distance=distance, stacked=found, exact=False)


def _nearest_silence(stacked: Stacked, *, silent: bool) -> Nearest:
    """The state without units; there is none where a unit cannot be silent."""
    if not silent:
        nowhere = np.full_like(stacked, np.nan)
        return Nearest(distance=float("inf"), stacked=nowhere, exact=True)
    distance = float(np.linalg.norm(stacked))
    return Nearest(distance=distance, stacked=np.zeros_like(stacked), exact=True)


def widths_distances(
    u: Float[np.ndarray, "T H U"],
    v: Float[np.ndarray, "T H V"],
    unit: Unit,
    widths: Sequence[int],
) -> Float[np.ndarray, "T W"]:
    """Distance of a trajectory of one layer to the manifolds of each effective width.

    Relative to the norm of the layer, (T, W).

    u (T, H, U), v (T, H, V): the two sides at T times. widths (W,).
    """
    require(
        len(u) == len(v),
        "u and v",
        needed="of one length in time",
        given=Words(f"{len(u)} and {len(v)}"),
    )
    rows = []
    for a, b in zip(u, v, strict=True):
        size = float(lengths(np.hstack([a, b]).ravel())) or 1.0
        rows.append([nearest_of_width(a, b, unit, h).distance / size for h in widths])
    return np.array(rows).reshape(len(u), len(widths))


def _lines(stacked: Stacked, count: int, *, signed: bool) -> Stacked:
    """Every row on the nearest of `count` lines (rays unless signed) through the
    origin."""

    def nearest(rows: Rows, directions: Rows) -> Rows:
        return _on_lines(rows, directions, signed)

    directions = _greedy(stacked, count, nearest, directions=True)
    for _ in range(ALTERNATIONS):
        member, _amount = _member(stacked, directions, signed)
        axes = [_axis(stacked[member == k], directions[k], signed) for k in range(count)]
        moved = np.array(axes).reshape(count, -1)
        if np.abs(moved - directions).max() <= MOVED:  # of length one
            break
        directions = moved
    return _on_lines(stacked, directions, signed)


def _member(
    rows: Rows,
    directions: Rows,
    signed: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """On which line every row has most of its length, and how much of it along each."""
    amount = rows @ directions.T
    length = np.abs(amount) if signed else amount
    return length.argmax(axis=1), amount


def _on_lines(rows: Rows, directions: Rows, signed: bool) -> Rows:
    if not len(directions):  # the first choice of all
        return np.zeros_like(rows)
    member, amount = _member(rows, directions, signed)
    along = amount[np.arange(len(rows)), member]
    if not signed:
        along = np.maximum(along, 0.0)
    return along[:, None] * directions[member]


def _axis(members: Rows, before: np.ndarray, signed: bool) -> np.ndarray:
    """The line nearest to some rows; as a ray it points the way most of their
    weight does."""
    if not signed:
        members = members[members @ before > 0]
    if not members.any():
        return before
    axis = np.linalg.svd(members, full_matrices=False)[2][0]
    return axis if axis @ members.sum(axis=0) >= 0 else -axis


def _mirrors(incoming: int, outgoing: int, flip: float | None) -> Mirrors:
    """Factors of [u, v] that give the same unit: one, and its mirror image if it
    has a parity."""
    own = np.ones(incoming + outgoing)
    if flip is None:
        return own[None]
    mirrored = np.concatenate([-own[:incoming], flip * own[incoming:]])
    return np.array([own, mirrored])


def _points(
    stacked: Stacked,
    count: int,
    mirrors: Mirrors,
    *,
    silent: bool,
) -> Stacked:
    """Every row at the nearest of `count` points or of their mirror images.

    Or at the origin where that is allowed.
    """
    origin = np.zeros((int(silent), stacked.shape[1]))

    def places(points: Rows) -> Rows:
        return np.vstack([origin, *(factors * points for factors in mirrors)])

    def nearest(rows: Rows, points: Rows) -> Rows:
        return _at_points(rows, places(points))

    points = _greedy(stacked, count, nearest, directions=False)
    for _ in range(ALTERNATIONS):
        place = _nearest_place(stacked, places(points)) - len(origin)
        mirror, member = np.divmod(np.maximum(place, 0), count)
        member = np.where(place < 0, -1, member)  # at the origin
        unfolded = mirrors[mirror] * stacked  # a mirror image of its own mirror image
        moved = points.copy()
        for k in range(count):
            if np.any(member == k):
                moved[k] = unfolded[member == k].mean(axis=0)
        if np.abs(moved - points).max() <= MOVED * np.abs(stacked).max():
            break
        points = moved
    return _at_points(stacked, places(points))


def _at_points(rows: Rows, points: Rows) -> Rows:
    if not len(points):
        return np.full_like(rows, np.inf)
    return points[_nearest_place(rows, points)]


def _nearest_place(rows: Rows, points: Rows) -> np.ndarray:
    return np.linalg.norm(rows[:, None] - points[None], axis=2).argmin(axis=1)


def _greedy(
    rows: Rows,
    count: int,
    nearest: Nearby,
    *,
    directions: bool,
) -> Rows:
    """`count` rows (or their directions), each the farthest from what the others
    leave."""
    chosen = np.zeros((0, rows.shape[1]))
    for _ in range(count):
        left = rows - nearest(rows, chosen)
        sizes = np.linalg.norm(np.where(np.isfinite(left), left, rows), axis=1)
        row = rows[[int(sizes.argmax())]]
        if directions:
            row = unit_rows(row)
        chosen = np.vstack([chosen, row])
    return chosen
