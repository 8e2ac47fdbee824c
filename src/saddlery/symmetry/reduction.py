"""Reduction, the inverse of embedding: from a wide state the narrow network that computes (nearly)
the same map."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np

from ..basis.checks import finite, numbers, positive, require
from ..basis.precision import in_float64
from ..basis.records import html_table, text_table
from ..basis.values import Value
from ..networks import Network, Objective, Params, flatten
from ..units import Unit
from .embedding import Side, Sides, embed_near, gaps, richest, unit_rows

TOGETHER = 4  # candidates tried in one call
LIKE = (1e-6, 1e-3, 0.1)  # relative distances (or angles) within which units are looked at as one
CANCELS = (
    0.5  # of their weights, that alike units together do: less, and they are looked at together
)


@dataclass(frozen=True, eq=False)
class Reduction(Value):
    """The narrow network found in a wide state.

    network, theta: the narrow network and its flat parameters. widths: units kept a layer.
    constructions: by which case of Theorem 1 each layer of the wide state embeds it ("none" where
    nothing was removed). error: sqrt(mean |f - g|^2) of the two maps over sqrt(mean |y|^2).
    tolerance: what was allowed. before: both sides of each layer just before it was reduced (the
    layers before it already narrow), which is what an embedding back beside the wide state needs.
    """

    network: Network
    theta: np.ndarray
    widths: tuple[int, ...]
    constructions: tuple[str, ...]
    error: float
    tolerance: float
    before: tuple[Sides, ...]

    def rows(self) -> list[tuple[str, object]]:
        """What one reads first."""
        widths = ", ".join(map(str, self.widths))
        return [
            ("units kept", widths),
            ("construction", self.construction),
            ("network", self.network.architecture),
            ("map error", f"{self.error:.2e} of the targets (tolerance {self.tolerance:.2e})"),
        ]

    def __repr__(self) -> str:
        return text_table(("reduction", ""), self.rows())

    def _repr_html_(self) -> str:
        return html_table(("reduction", ""), self.rows())

    @property
    def construction(self) -> str:
        """One word for all layers, for example "iii", or "iii, ii" where layers differ."""
        return ", ".join(dict.fromkeys(self.constructions))


@in_float64
def reduce(
    objective: Objective,
    theta: np.ndarray,
    *,
    tolerance: float = 0.02,
    widths: tuple[int, ...] | None = None,
) -> Reduction:
    """The smallest narrow network, of those that symmetry leads to, that reproduces the map of a
    wide state.

    Layer by layer, the fewest units h = 0, 1, 2, ... whose map is within `tolerance` of the wide
    one's: root-mean-square difference over the objective's samples relative to that of the targets
    (2% by default: a judgement, recorded in the result). Linear units are reduced by the singular
    value decomposition of sum_i v_i u_i', homogeneous ones by merging rays, others by merging equal
    units, up to sign where the unit has a parity (tanh: (-u, -v) is (u, v) again; quadratic: (-u,
    v) is), and by dropping silent ones: what embedding can have made. Units are kept by what they
    do to the map: those whose parts cancel, and those that no sample turns on, go first.
    Coincidences outside Theorem 1 are not looked for: the quadratic units u and 2u count as two,
    and so do attention heads whose key and query are scaled against each other.
    widths: take these instead of searching.

    Units that a residual layer adds to are all kept.

    Raises InputError for a state of the wrong size or one that is not finite. Cost: a pass of the
    wide network over the samples and one for every width tried, after the first four at a time; of
    linear units only as many as the rank are passed.

    Example
    -------
    >>> from saddlery import Experiment, reduce
    >>> experiment = Experiment.named("linear")
    >>> objective = experiment.objective()
    >>> reduce(objective, 0 * experiment.initial_state()).widths
    (0,)
    """
    theta = finite(numbers(theta, "theta"), "theta")
    positive(tolerance, "tolerance")
    network, params = objective.network, objective.params(theta)
    if widths is not None:
        require(
            len(widths) == len(network.layers),
            "widths",
            f"{len(network.layers)} numbers, one a layer",
            widths,
        )
    target = np.asarray(objective.predictions(theta))
    constructions, before, current, error = [], [], objective, 0.0
    for index in range(len(network.layers)):
        before.append(sides(current.network, params, index))
        width = None if widths is None else widths[index]
        found = _narrowed(current, params, index, target, tolerance, width)
        if found is None:
            constructions.append("none")
            continue
        current, params, error = found
        narrow = sides(current.network, params, index)
        constructions.append(construction_of(before[-1], narrow, network.layers[index].unit))
    return Reduction(
        current.network,
        flatten(params),
        current.network.widths,
        tuple(constructions),
        error,
        tolerance,
        tuple(before),
    )


def _narrowed(
    current: Objective,
    params: Params,
    index: int,
    target: np.ndarray,
    tolerance: float,
    width: int | None,
) -> tuple[Objective, Params, float] | None:
    """The objective and weights with fewer units in one layer, and the error of its map; None where
    none can be spared."""
    network = current.network
    u, v = sides(network, params, index)
    if network.streams(index):
        fixed = f"the {len(u)} units that a residual layer adds to"
        require(width in (None, len(u)), f"width of layer {index}", fixed, width)
        return None
    responses = lambda: current.responses(flatten(params), index)
    fewer, most = fewer_units(u, v, network.layers[index].unit, responses)
    room = u[:most], v[:most]  # as many units as any map of the layer needs
    capped, start = network.with_sides(params, index, *room)
    capped_sides = lambda narrow: (
        narrow[0][:most],
        narrow[1][:most],
    )  # beyond the rank linear units are zero
    shown = lambda narrow: flatten(
        capped.with_sides(start, index, *_padded(capped_sides(narrow), *room))[1]
    )
    counts = range(min(len(u), most + 1)) if width is None else [width] * (width < len(u))
    tries = ((count, narrow) for count in counts for narrow in fewer(count))
    tried = _errors(current.with_network(capped), shown, tries, target)
    for _count, several in groupby(tried, key=lambda one: one[0]):
        _, narrow, error = min(several, key=lambda one: one[2])
        if error <= tolerance or width is not None:
            narrow, params = network.with_sides(params, index, *narrow)
            return current.with_network(narrow), params, error
    return None


Try = tuple[int, Sides]  # a width and the units tried for it


def _errors(
    objective: Objective,
    shown: Callable[[Sides], np.ndarray],
    tries: Iterator[Try],
    target: np.ndarray,
) -> Iterator[tuple[int, Sides, float]]:
    """Each try with the error of its map: the first alone, since often it will do, then a few in
    one call."""
    for count, narrow in islice(tries, 1):
        error = objective.map_error(np.asarray(objective.predictions(shown(narrow))), target)
        yield count, narrow, error
    while some := list(islice(tries, TOGETHER)):
        states = [shown(narrow) for _, narrow in some]
        states += states[-1:] * (TOGETHER - len(some))
        errors = objective.map_errors(np.array(states), target).tolist()
        yield from ((*one, error) for one, error in zip(some, errors, strict=False))


def _padded(narrow: Sides, u: Side, v: Side) -> Sides:
    """The same map by as many units as in u, v: silent ones are added, so that every width is one
    compiled program."""
    count = len(narrow[0])
    return np.vstack([narrow[0], u[count:]]), np.vstack([narrow[1], np.zeros_like(v[count:])])


def sides(network: Network, params: Params, index: int) -> Sides:
    """Both sides of a layer's units as float64 arrays, u (H, U) and v (H, V)."""
    return np.asarray(network.incoming(params, index), float), np.asarray(
        network.outgoing(params, index), float
    )


def construction_of(wide: Sides, narrow: Sides, unit: Unit) -> str:
    """The case of Theorem 1 that embeds `narrow` near `wide`: ii if only silent units were added,
    else the richest."""
    u, v = embed_near(narrow, wide, unit)
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    active = int(np.sum(size > 1e-3 * size.max(initial=0.0)))
    if active <= len(narrow[0]) and unit.symmetry.silent:
        return "ii"
    return richest(unit) if unit.symmetry.homogeneous else "i"


def fewer_units(
    u: Side, v: Side, unit: Unit, responses: Callable[[], np.ndarray]
) -> tuple[Callable[[int], list[Sides]], int]:
    """count -> the best `count` units for one layer, or a few candidates, and how many make any map
    of the layer: as many as the rank can be where units are linear, else all. What all counts have
    in common is computed once, when it is needed.

    responses() (H,): the root-mean-square of phi(z; u_i) over the samples.
    """
    if unit.symmetry.linear:
        ranks = functools.cache(lambda: low_rank(u, v))
        return lambda count: [ranks()(count) if count else (u[:0], v[:0])], min(
            len(u), u.shape[1], v.shape[1]
        )
    merged = functools.cache(lambda: _merged(u, v, unit, responses()))
    different = lambda count: _different([some(count) for some in merged()])
    return lambda count: different(count) if count else [(u[:0], v[:0])], len(u)


def _merged(u: Side, v: Side, unit: Unit, responses: np.ndarray) -> list[Callable[[int], Sides]]:
    seen = np.where(
        responses[:, None] > 0, v, 0.0
    )  # of a unit that no sample turns on nothing joins another
    return [merge(u, seen, unit, weight) for weight in net_weights(u, seen, unit, responses)]


def _different(candidates: list[Sides]) -> list[Sides]:
    """Each candidate once."""
    found: list[Sides] = []
    for u, v in candidates:
        if not any(np.array_equal(u, a) and np.array_equal(v, b) for a, b in found):
            found.append((u, v))
    return found


def low_rank(u: Side, v: Side) -> Callable[[int], Sides]:
    """Balanced units u_k = sqrt(s_k) r_k, v_k = sqrt(s_k) q_k of the leading singular triplets of
    sum_i v_i u_i'."""
    q, s, rt = np.linalg.svd(v.T @ u, full_matrices=False)
    root, more = np.sqrt(s[:, None]), max(len(u) - len(s), 0)  # beyond the rank units are zero
    every = [np.vstack([root * side, np.zeros((more, side.shape[1]))]) for side in (rt, q.T)]
    return lambda count: (every[0][:count], every[1][:count])


def net_weights(u: Side, v: Side, unit: Unit, responses: np.ndarray) -> list[np.ndarray]:
    """What each unit does to the map, (H,), alone and together with those like it, whose parts may
    cancel.

    First weight_i = |phi(.; u_i)| |v_i|, so that a unit that no sample turns on weighs nothing.
    Then, for neighbourhoods of each of LIKE where something cancels, |sum_j phi_j v_j| / sum_j
    |phi_j| |v_j| of that: of the neighbours as if they were one unit.
    """
    weight = responses * np.linalg.norm(v, axis=1)
    points, flip = _points(u, unit), unit.symmetry.flip
    distance, sign = gaps(points, points, flip)
    parts = np.where(sign < 0, flip or 1.0, 1.0)
    found = [weight]
    for radius in LIKE:
        near = distance <= radius * np.linalg.norm(points, axis=1)
        sums = np.linalg.norm((near * parts) @ (responses[:, None] * v), axis=1)
        share = sums / np.maximum(near @ weight, 1e-300)
        if share.min(initial=1.0, where=weight > 0) < CANCELS:
            found.append(weight * share)
    return found


def _points(u: Side, unit: Unit) -> Side:
    """What is compared of incoming weights: directions where units are homogeneous, else
    themselves."""
    return unit_rows(u) if unit.symmetry.homogeneous else u


def merge(u: Side, v: Side, unit: Unit, weight: np.ndarray) -> Callable[[int], Sides]:
    """`count` clusters of units on one ray (homogeneous) or with equal u (otherwise), the rest
    dropped as silent.

    Where units have a parity, -u counts as u: a line for a ray. Centres are chosen greedily by the
    weight they would explain, then units join the nearest centre and centres move to the weighted
    mean, a few rounds (spherical k-means).
    Cost: a few H x count distances a count.
    """
    points, flip = _points(u, unit), unit.symmetry.flip
    chosen = _Chosen(points, weight, flip)

    def merged(count: int) -> Sides:
        centres = points[chosen.first(count)]
        centres, joined = _cluster(
            points, weight, centres, flip, normalise=unit.symmetry.homogeneous is not None
        )
        distance, sign = gaps(centres, points, flip)
        parts = joined * np.where(sign < 0, flip or 1.0, 1.0)
        if unit.symmetry.homogeneous:
            return _on_rays(centres, parts @ (np.linalg.norm(u, axis=1)[:, None] * v))
        near = distance <= 0.1 * np.linalg.norm(centres, axis=1)[:, None]
        return centres, (parts * near) @ v

    return merged


def _on_rays(centres: Side, total: Side) -> Sides:
    root = np.sqrt(np.maximum(np.linalg.norm(total, axis=1), 1e-300))[:, None]
    return root * centres, total / root


class _Chosen:
    """Units in the order in which they would be centres: the heaviest, then always the one with
    most weight x distance^2."""

    def __init__(self, points: Side, weight: np.ndarray, flip: float | None) -> None:
        self._points, self._weight, self._flip = points, weight, flip
        self._order: list[int] = []
        self._gap = np.full(len(points), np.inf)

    def first(self, count: int) -> list[int]:
        while len(self._order) < count:
            far = self._gap**2 if self._order else 1.0
            self._order.append(int((self._weight * far).argmax()))
            gap, _ = gaps(self._points, self._points[self._order[-1:]], self._flip)
            self._gap = np.minimum(self._gap, gap[:, 0])
        return self._order[:count]


def _cluster(
    points: Side, weight: np.ndarray, centres: Side, flip: float | None, *, normalise: bool
) -> tuple[Side, np.ndarray]:
    """Centres (count, .) moved to the means of what joins them, and who joined which, (count, H) of
    zeros and ones."""
    labels, before, every = np.arange(len(centres))[:, None], None, np.arange(len(points))
    joined = np.zeros((len(centres), len(points)))
    for _ in range(10):
        distance, sign = gaps(points, centres, flip)
        member, nearest = distance.argmin(axis=1), distance.min(axis=1)
        near = nearest < (
            1.0 if normalise else 0.1 * np.linalg.norm(centres, axis=1)[member] + 1e-300
        )
        joined = (member == labels).astype(float)
        shares = joined * np.where(near, weight, 0.0)
        if before is not None and np.array_equal(shares, before):
            break
        total, before = shares.sum(axis=1, keepdims=True), shares
        means = (shares * sign[every, member]) @ points / np.where(total > 0, total, 1.0)
        if normalise:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-300)
        centres = np.where(total > 0, means, centres)
    return centres, joined
