"""Reduction, the inverse of embedding: the narrow network that computes (nearly)
the same map."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..basis.checks import finite, numbers, positive, require, unpacked, whole
from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY
from ..networks import Network, Objective, Params, flatten
from ..units import Unit
from .embedding import ACTIVE, Side, Sides, embed_near, gaps, richest, unit_rows

# So many candidates are tried in one call.
CANDIDATES = 4
# Units within these relative distances (or angles) of each other are looked at as one.
LIKE = (1e-6, 1e-3, 0.1)
# Alike units that together do less than this share of their weights cancel, and are
# looked at together.
CANCELS = 0.5
# A unit farther from a cluster's centre than this share of the centre's length is no
# member.
JOINS = 0.1
# At most so many rounds of clustering; they stop when no unit changes its cluster.
CLUSTERINGS = 10

State = Float[np.ndarray, " P"]
Weights = Float[np.ndarray, " H"]
Fewer = Callable[[int], list[Sides]]  # how many units -> candidates of so many


@dataclass(frozen=True, eq=False, repr=False)
class Reduction(Result):
    """The narrow network found in a wide state.

    network, theta (P,): the narrow network and its flat parameters.
    widths: units kept a layer.
    constructions: by which case of Theorem 1 each layer of the wide state embeds
        it ("none" where nothing was removed).
    error: sqrt(mean |f - g|^2) of the two maps over sqrt(mean |y|^2).
    tolerance: what was allowed.
    before: both sides of each layer, u (H, U) and v (H, V), just before it was
        reduced (the layers before it already narrow), which is what an embedding
        back beside the wide state needs.
    """

    network: Network
    theta: State
    widths: tuple[int, ...]
    constructions: tuple[str, ...]
    error: float
    tolerance: float
    before: tuple[Sides, ...]

    def rows(self) -> list[tuple[str, object]]:
        """What one reads first."""
        widths = ", ".join(map(str, self.widths))
        error = f"{self.error:.2e} of the targets (tolerance {self.tolerance:.2e})"
        return [
            ("units kept", widths),
            ("construction", self.construction),
            ("network", self.network.architecture),
            ("map error", error),
        ]

    def printed(self) -> Printed:
        return Printed(("reduction", ""), self.rows())

    def record(self) -> dict[str, object]:
        """JSON form, without weights."""
        kept = ("widths", "constructions", "error", "tolerance")
        own = {name: getattr(self, name) for name in kept}
        return plain({"network": self.network.architecture, **own})

    @property
    def construction(self) -> str:
        """One word for all layers, for example "iii", or "iii, ii" where layers
        differ."""
        return ", ".join(dict.fromkeys(self.constructions))


@in_float64
def reduce(
    objective: Objective,
    theta: State,
    *,
    tolerance: float = 0.02,
    widths: tuple[int, ...] | None = None,
) -> Reduction:
    """The smallest network, of those that symmetry leads to, of the map of a wide
    state.

    Layer by layer, the fewest units h = 0, 1, 2, ... whose map is within
    `tolerance` of the wide one's. Linear units are reduced by the singular value
    decomposition of sum_i v_i u_i', homogeneous ones by merging rays, others by
    merging equal units, up to sign where the unit has a parity (tanh: (-u, -v) is
    (u, v) again; quadratic: (-u, v) is), and by dropping silent ones: what
    embedding can have made. Units are kept by what they do to the map: those
    whose parts cancel, and those that no sample turns on, go first. Coincidences
    outside Theorem 1 are not looked for: the quadratic units u and 2u count as
    two, and so do attention heads whose key and query are scaled against each
    other. Units that a residual layer adds to are all kept.

    theta (P,): the wide state.
    tolerance: root-mean-square difference over the objective's samples relative
        to that of the targets (2% by default: a judgement, recorded in the
        result).
    widths: take these, one a layer, instead of searching; none above the wide one's.

    Raises InputError for a state of the wrong size or one that is not finite, and for
    widths that are none.
    Cost: a pass of the wide network over the samples and one for every width
    tried, after the first four at a time; of linear units only as many as the
    rank are passed.

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
    chosen = _checked(widths, network)
    target = np.asarray(objective.predictions(theta))
    constructions, before = [], []
    current, error = objective, 0.0
    for index, layer in enumerate(network.layers):
        wide = sides(current.network, params, index)
        before.append(wide)
        found = _narrowed(
            current, params, index, target=target, tolerance=tolerance, width=chosen[index]
        )
        if found is None:
            constructions.append("none")
            continue
        current, params, error = found
        narrow = sides(current.network, params, index)
        constructions.append(construction_of(wide, narrow, layer.unit))
    return Reduction(
        network=current.network,
        theta=flatten(params),
        widths=current.network.widths,
        constructions=tuple(constructions),
        error=error,
        tolerance=tolerance,
        before=tuple(before),
    )


def _checked(widths: Any, network: Network) -> tuple[int | None, ...]:
    """The width that was asked for of every layer, None where it is searched for."""
    own = network.widths
    if widths is None:
        return (None,) * len(own)
    given = unpacked(widths)
    require(
        isinstance(given, tuple) and len(given) == len(own),
        "widths",
        needed=f"one number a layer, {len(own)} in all",
        given=widths,
    )
    for index, (width, most) in enumerate(zip(given, own, strict=True)):
        name = f"width of layer {index}"
        needed = f"at most its {most} units"
        require(whole(width, name, 0) <= most, name, needed, given=width)
    return given


def _narrowed(
    current: Objective,
    params: Params,
    index: int,
    *,
    target: np.ndarray,
    tolerance: float,
    width: int | None,
) -> tuple[Objective, Params, float] | None:
    """The objective and weights with fewer units in one layer, and the error of
    its map.

    None where none can be spared.
    """
    network = current.network
    u, v = sides(network, params, index)
    if network.streams(index):
        require(
            width in (None, len(u)),
            f"width of layer {index}",
            needed=f"the {len(u)} units that a residual layer adds to",
            given=width,
        )
        return None

    def responses() -> np.ndarray:
        return current.responses(flatten(params), index)

    fewer, most = fewer_units(u, v, network.layers[index].unit, responses)
    stand_in = _StandIn.of(network, params, index, u=u[:most], v=v[:most])

    def tries() -> Iterator[Try]:
        for count in _counts(len(u), most, width):
            for narrow in fewer(count):
                yield count, narrow

    wide_enough = current.with_network(stand_in.network)
    tried = _errors(wide_enough, stand_in.state, tries(), target)
    for _count, several in groupby(tried, key=lambda one: one[0]):
        _, narrow, error = min(several, key=lambda one: one[2])
        if error <= tolerance or width is not None:
            found, params = network.with_sides(params, index, *narrow)
            return current.with_network(found), params, error
    return None


def _counts(units: int, most: int, width: int | None) -> range | list[int]:
    """The widths to try, below that of the layer; `most` make any map of it."""
    if width is None:
        return range(min(units, most + 1))
    return [width] if width < units else []


class _StandIn(NamedTuple):
    """A network wide enough for any map of a layer, so that every width is one program.

    Narrower layers are filled up by silent units, u (H, U) as they were and v
    (H, V) zero.
    """

    network: Network
    params: Params
    index: int
    u: Side
    v: Side

    @classmethod
    def of(
        cls,
        network: Network,
        params: Params,
        index: int,
        *,
        u: Side,
        v: Side,
    ) -> _StandIn:
        wide, start = network.with_sides(params, index, u, v)
        return cls(wide, start, index, u=u, v=v)

    def state(self, narrow: Sides) -> np.ndarray:
        """The flat weights with these units in the layer."""
        most = len(self.u)
        u, v = narrow[0][:most], narrow[1][:most]  # beyond the rank linear units are zero
        count = len(u)
        padded = (
            np.vstack([u, self.u[count:]]),
            np.vstack([v, np.zeros_like(self.v[count:])]),
        )
        return flatten(self.network.with_sides(self.params, self.index, *padded)[1])


Try = tuple[int, Sides]  # a width and the units tried for it


def _errors(
    objective: Objective,
    state: Callable[[Sides], np.ndarray],
    tries: Iterator[Try],
    target: np.ndarray,
) -> Iterator[tuple[int, Sides, float]]:
    """Each try with the error of its map.

    The first alone, since often it will do, then a few in one call.
    """
    for count, narrow in islice(tries, 1):
        predictions = np.asarray(objective.predictions(state(narrow)))
        yield count, narrow, objective.map_error(predictions, target)
    while some := list(islice(tries, CANDIDATES)):
        states = [state(narrow) for _, narrow in some]
        states += states[-1:] * (CANDIDATES - len(some))
        errors = objective.map_errors(np.array(states), target).tolist()
        for (count, narrow), error in zip(some, errors, strict=False):
            yield count, narrow, error


def sides(network: Network, params: Params, index: int) -> Sides:
    """Both sides of a layer's units as float64 arrays, u (H, U) and v (H, V)."""
    u = np.asarray(network.incoming(params, index), float)
    v = np.asarray(network.outgoing(params, index), float)
    return u, v


def construction_of(wide: Sides, narrow: Sides, unit: Unit) -> str:
    """The case of Theorem 1 that embeds `narrow` near `wide`.

    ii if only silent units were added, else the richest by which units share what
    one unit does: iv, iii or i.

    wide: u (H, U) and v (H, V). narrow: u (h, U) and v (h, V).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry.reduction import construction_of
    >>> from saddlery.units import make
    >>> narrow = np.array([[1.0]]), np.array([[1.0]])
    >>> wide = np.array([[1.0], [0.5]]), np.array([[0.5], [1.0]])
    >>> construction_of(wide, narrow, make("relu"))
    'iii'
    """
    u, v = embed_near(narrow, wide, unit)
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    active = int(np.sum(size > ACTIVE * size.max(initial=0.0)))
    if active <= len(narrow[0]) and unit.symmetry.silent:
        return "ii"
    return richest(unit) if unit.symmetry.homogeneous else "i"


def fewer_units(
    u: Side,
    v: Side,
    unit: Unit,
    responses: Callable[[], Weights],
) -> tuple[Fewer, int]:
    """count -> the best `count` units for one layer, or a few candidates, and the
    most needed.

    These make any map of the layer: as many as the rank can be where units are
    linear, else all. What all counts have in common is computed once, when it is
    needed.

    u (H, U), v (H, V): the layer.
    responses: () -> the root-mean-square of phi(z; u_i) over the samples, (H,).
    """
    nothing = u[:0], v[:0]
    if unit.symmetry.linear:
        ranks = functools.cache(lambda: low_rank(u, v))
        most = min(len(u), u.shape[1], v.shape[1])
        return lambda count: [ranks()(count) if count else nothing], most
    merged = functools.cache(lambda: _merged(u, v, unit, responses()))

    def candidates(count: int) -> list[Sides]:
        if not count:
            return [nothing]
        return _different([some(count) for some in merged()])

    return candidates, len(u)


def _merged(
    u: Side,
    v: Side,
    unit: Unit,
    responses: Weights,
) -> list[Callable[[int], Sides]]:
    # Of a unit that no sample turns on nothing joins another.
    seen = np.where(responses[:, None] > 0, v, 0.0)
    weights = net_weights(u, seen, unit, responses)
    return [merge(u, seen, unit, weight) for weight in weights]


def _different(candidates: list[Sides]) -> list[Sides]:
    """Each candidate once."""
    found: list[Sides] = []
    for u, v in candidates:
        if not any(np.array_equal(u, a) and np.array_equal(v, b) for a, b in found):
            found.append((u, v))
    return found


def low_rank(u: Side, v: Side) -> Callable[[int], Sides]:
    """count -> the best linear units, of the leading singular triplets of sum_i
    v_i u_i'.

        u_k = sqrt(s_k) r_k,    v_k = sqrt(s_k) q_k,
    balanced; beyond the rank they are zero. u (H, U), v (H, V): the layer.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.symmetry.reduction import low_rank
    >>> u, v = low_rank(np.array([[2.0], [1.0]]), np.array([[1.0], [2.0]]))(1)
    >>> round(float((v.T @ u).item()), 12)
    4.0
    """
    q, s, rt = np.linalg.svd(v.T @ u, full_matrices=False)
    root, zeros = np.sqrt(s[:, None]), max(len(u) - len(s), 0)
    every_u = np.vstack([root * rt, np.zeros((zeros, u.shape[1]))])
    every_v = np.vstack([root * q.T, np.zeros((zeros, v.shape[1]))])
    return lambda count: (every_u[:count], every_v[:count])


def net_weights(
    u: Side,
    v: Side,
    unit: Unit,
    responses: Weights,
) -> list[Weights]:
    """What each unit does to the map, (H,), alone and together with those like it.

    First weight_i = |phi(.; u_i)| |v_i|, so that a unit that no sample turns on weighs
    nothing. Parts of units that are alike may cancel. So then, for neighbourhoods of
    each of LIKE where something cancels,
        |sum_j phi_j v_j| / sum_j |phi_j| |v_j|
    of that: of the neighbours as if they were one unit.

    u (H, U), v (H, V): the layer. responses (H,): |phi(.; u_i)|.
    """
    weight = responses * np.linalg.norm(v, axis=1)
    points, flip = _points(u, unit), unit.symmetry.flip
    distance, sign = gaps(points, points, flip)
    parts = np.where(sign < 0, flip or 1.0, 1.0)
    effects = responses[:, None] * v
    found = [weight]
    for radius in LIKE:
        near = distance <= radius * np.linalg.norm(points, axis=1)
        together = np.linalg.norm((near * parts) @ effects, axis=1)
        share = together / np.maximum(near @ weight, TINY)
        if share.min(initial=1.0, where=weight > 0) < CANCELS:
            found.append(weight * share)
    return found


def _points(u: Side, unit: Unit) -> Side:
    """What is compared of incoming weights: directions of homogeneous units, else
    themselves."""
    return unit_rows(u) if unit.symmetry.homogeneous else u


def merge(
    u: Side,
    v: Side,
    unit: Unit,
    weight: Weights,
) -> Callable[[int], Sides]:
    """count -> clusters of units on one ray (homogeneous) or with equal u (otherwise).

    The rest are dropped as silent. Where units have a parity, -u counts as u: a
    line for a ray. Centres are chosen greedily by the weight they would explain,
    then units join the nearest centre and centres move to the weighted mean, a
    few rounds (spherical k-means).

    u (H, U), v (H, V): the layer. weight (H,): what each unit does to the map.

    Cost: a few H x count distances a count.
    """
    homogeneous, flip = unit.symmetry.homogeneous is not None, unit.symmetry.flip
    points = _points(u, unit)
    chosen = _Chosen(points, weight, flip)

    def merged(count: int) -> Sides:
        centres = points[chosen.first(count)]
        centres, joined = _cluster(points, weight, centres, flip=flip, normalise=homogeneous)
        distance, sign = gaps(centres, points, flip)
        parts = joined * np.where(sign < 0, flip or 1.0, 1.0)
        if homogeneous:
            lengths = np.linalg.norm(u, axis=1)[:, None]
            return _on_rays(centres, parts @ (lengths * v))
        near = distance <= JOINS * np.linalg.norm(centres, axis=1)[:, None]
        return centres, (parts * near) @ v

    return merged


def _on_rays(centres: Side, total: Side) -> Sides:
    """Balanced units, |u| = |v|, that do on each ray what all its units do."""
    root = np.sqrt(np.maximum(np.linalg.norm(total, axis=1), TINY))[:, None]
    return root * centres, total / root


class _Chosen:
    """Units in the order in which they would be centres.

    The heaviest, then always the one with most weight x distance^2.
    """

    def __init__(
        self,
        points: Side,
        weight: Weights,
        flip: float | None,
    ) -> None:
        self._points, self._weight, self._flip = points, weight, flip
        self._order: list[int] = []
        self._gap = np.full(len(points), np.inf)

    def first(self, count: int) -> list[int]:
        while len(self._order) < count:
            far = self._gap**2 if self._order else 1.0
            self._order.append(int((self._weight * far).argmax()))
            newest = self._points[self._order[-1:]]
            gap, _ = gaps(self._points, newest, self._flip)
            self._gap = np.minimum(self._gap, gap[:, 0])
        return self._order[:count]


def _cluster(
    points: Side,
    weight: Weights,
    centres: Side,
    *,
    flip: float | None,
    normalise: bool,
) -> tuple[Side, np.ndarray]:
    """Centres (count, U) moved to the means of what joins them, and who joined which.

    The latter (count, H), of zeros and ones.
    """
    labels, every = np.arange(len(centres))[:, None], np.arange(len(points))
    joined = np.zeros((len(centres), len(points)))
    before = None
    for _ in range(CLUSTERINGS):
        distance, sign = gaps(points, centres, flip)
        member, nearest = distance.argmin(axis=1), distance.min(axis=1)
        reach = 1.0
        if not normalise:
            reach = JOINS * np.linalg.norm(centres, axis=1)[member] + TINY
        joined = (member == labels).astype(float)
        shares = joined * np.where(nearest < reach, weight, 0.0)
        if before is not None and np.array_equal(shares, before):
            break
        before = shares
        total = shares.sum(axis=1, keepdims=True)
        sums = (shares * sign[every, member]) @ points
        means = sums / np.where(total > 0, total, 1.0)
        if normalise:
            means = unit_rows(means)
        centres = np.where(total > 0, means, centres)
    return centres, joined
