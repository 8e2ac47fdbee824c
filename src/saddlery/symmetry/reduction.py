"""Reduction, the inverse of embedding: from a wide state the narrow network that computes (nearly) the same map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import positive, require
from ..networks import Network, Params, flatten
from ..objectives import Objective
from ..precision import in_float64
from ..records import html_table, text_table
from ..units import Unit
from .embedding import Side, Sides, embed_near, richest, unit_rows


@dataclass(frozen=True, eq=False)
class Reduction:
    """The narrow network found in a wide state.

    network, theta: the narrow network and its flat parameters. widths: units kept a layer. constructions: by which case
    of Theorem 1 each layer of the wide state embeds it ("none" where nothing was removed). error: sqrt(mean |f - g|^2)
    of the two maps over sqrt(mean |y|^2). tolerance: what was allowed. before: both sides of each layer just before it
    was reduced (the layers before it already narrow), which is what an embedding back beside the wide state needs.
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
    objective: Objective, theta: np.ndarray, *, tolerance: float = 0.02, widths: tuple[int, ...] | None = None
) -> Reduction:
    """The smallest narrow network, of those that symmetry leads to, that reproduces the map of a wide state.

    Layer by layer, the fewest units h = 0, 1, 2, ... whose map is within `tolerance` of the wide one's: root-mean-square
    difference over the objective's samples relative to that of the targets (2% by default: a judgement, recorded in the
    result). Linear units are reduced by the singular value decomposition of sum_i v_i u_i', homogeneous ones by merging
    rays, others by merging equal units and dropping silent ones: what embedding can have made. Coincidences outside Theorem 1
    are not looked for (the quadratic units u and -u, or u and 2u, count as two). widths: take these instead of searching.

    Units that a residual layer adds to are all kept.

    Raises InputError for a state of the wrong size. Cost: (widths found + 1) passes over the samples a layer.

    Example
    -------
    >>> from saddlery import Experiment, reduce
    >>> experiment = Experiment.named("linear")
    >>> objective = experiment.objective()
    >>> reduce(objective, 0 * experiment.initial_state()).widths
    (0,)
    """
    theta = np.asarray(theta, dtype=float)
    positive(tolerance, "tolerance")
    network, params = objective.network, objective.params(theta)
    if widths is not None:
        require(len(widths) == len(network.layers), "widths", f"{len(network.layers)} numbers, one a layer", widths)
    target = np.asarray(objective.predictions(theta))
    constructions, before, current = [], [], objective
    for index in range(len(network.layers)):
        before.append(sides(current.network, params, index))
        current, params, construction = _reduce_layer(
            current, params, index, target, tolerance, None if widths is None else widths[index]
        )
        constructions.append(construction)
    state = flatten(params)
    error = objective.map_error(np.asarray(current.predictions(state)), target)
    return Reduction(
        current.network, state, current.network.widths, tuple(constructions), error, tolerance, tuple(before)
    )


def _reduce_layer(
    current: Objective, params: Params, index: int, target: np.ndarray, tolerance: float, width: int | None
) -> tuple[Objective, Params, str]:
    network = current.network
    wide = sides(network, params, index)
    unit = network.layers[index].unit
    if network.streams(index):
        fixed = f"the {len(wide[0])} units that a residual layer adds to"
        require(width in (None, len(wide[0])), f"width of layer {index}", fixed, width)
        return current, params, "none"
    candidates = range(len(wide[0]) + 1) if width is None else [width]
    best: tuple[Objective, Params] | None = None
    for count in candidates:
        if count >= len(wide[0]):
            break
        narrow = fewer_units(*wide, count, unit)
        candidate, smaller = network.with_sides(params, index, *narrow)
        reduced = current.with_network(candidate)
        error = current.map_error(np.asarray(reduced.predictions(flatten(smaller))), target)
        if error <= tolerance or width is not None:
            best = (reduced, smaller)
            break
    if best is None:
        return current, params, "none"
    return *best, construction_of(wide, sides(best[0].network, best[1], index), unit)


def sides(network: Network, params: Params, index: int) -> Sides:
    """Both sides of a layer's units as float64 arrays, u (H, U) and v (H, V)."""
    return np.asarray(network.incoming(params, index), float), np.asarray(network.outgoing(params, index), float)


def construction_of(wide: Sides, narrow: Sides, unit: Unit) -> str:
    """The case of Theorem 1 that embeds `narrow` near `wide`: ii if only silent units were added, else the richest."""
    u, v = embed_near(narrow, wide, unit)
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    active = int(np.sum(size > 1e-3 * size.max(initial=0.0)))
    if active <= len(narrow[0]) and unit.symmetry.silent:
        return "ii"
    return richest(unit) if unit.symmetry.homogeneous else "i"


def fewer_units(u: Side, v: Side, count: int, unit: Unit) -> Sides:
    """The best `count` units for one layer."""
    if count == 0:
        return u[:0], v[:0]
    if unit.symmetry.linear:
        return low_rank(u, v, count)
    return merge(u, v, count, unit)


def low_rank(u: Side, v: Side, count: int) -> Sides:
    """Balanced units u_k = sqrt(s_k) r_k, v_k = sqrt(s_k) q_k of the leading singular triplets of sum_i v_i u_i'."""
    q, s, rt = np.linalg.svd(v.T @ u, full_matrices=False)
    kept = min(count, len(s))
    root = np.sqrt(s[:kept, None])
    narrow = root * rt[:kept], root * q.T[:kept]
    pad = ((0, count - kept), (0, 0))
    return np.pad(narrow[0], pad), np.pad(narrow[1], pad)


def merge(u: Side, v: Side, count: int, unit: Unit) -> Sides:
    """`count` clusters of units on one ray (homogeneous) or with equal u (otherwise), the rest dropped as silent.

    Centres are chosen greedily by the weight they would explain, then units join the nearest centre and centres move to
    the weighted mean, a few rounds (spherical k-means). Weights: |u_i| |v_i|.
    """
    homogeneous = unit.symmetry.homogeneous
    weight = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    points = unit_rows(u) if homogeneous else u
    if homogeneous == "real":
        points = points * np.where(points @ points[weight.argmax()] < 0, -1.0, 1.0)[:, None]
    centres, member = _cluster(points, weight, count, normalise=homogeneous is not None)
    if not homogeneous:
        return _shared(u, v, centres, member)
    scale = np.einsum("hk,hk->h", u, points)  # signed length along its own ray
    narrow_u, narrow_v = [], []
    for k in range(len(centres)):
        total = (scale[member == k, None] * v[member == k]).sum(axis=0)
        root = np.sqrt(max(np.linalg.norm(total), 1e-300))
        narrow_u.append(root * centres[k])
        narrow_v.append(total / root)
    return np.array(narrow_u), np.array(narrow_v)


def _shared(u: Side, v: Side, centres: np.ndarray, member: np.ndarray) -> Sides:
    near = np.linalg.norm(u - centres[member], axis=1) <= 0.1 * np.linalg.norm(centres[member], axis=1)
    out = [v[(member == k) & near].sum(axis=0) for k in range(len(centres))]
    return centres, np.array(out)


def _cluster(points: np.ndarray, weight: np.ndarray, count: int, *, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    centres = points[[int(weight.argmax())]]
    while len(centres) < count:
        gap = np.min(np.linalg.norm(points[:, None] - centres[None], axis=2), axis=1)
        centres = np.vstack([centres, points[int((weight * gap**2).argmax())]])
    member = np.zeros(len(points), int)
    for _ in range(10):
        distance = np.linalg.norm(points[:, None] - centres[None], axis=2)
        member = distance.argmin(axis=1)
        near = distance.min(axis=1) < (1.0 if normalise else 0.1 * np.linalg.norm(centres, axis=1)[member] + 1e-300)
        for k in range(count):
            chosen = (member == k) & near
            if weight[chosen].sum() > 0:
                centre = weight[chosen] @ points[chosen] / weight[chosen].sum()
                centres[k] = centre / max(np.linalg.norm(centre), 1e-300) if normalise else centre
    return centres, member
