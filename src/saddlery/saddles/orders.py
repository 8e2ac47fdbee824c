"""Descents of order above two, sought where theory says they are, and up to which order they were
looked for.

Three searches, of which any may find one: chains of free directions through a deep linear network
(closed form, looked at first), silent units by rising degree of their Taylor series (several whose
lower degrees cancel, or one along a curve), and all flat directions of the Hessian together. What
is found is measured: the loss falls, by more than rounding, at one whole order. Distances are in
natural units of the weights, directions in the weights as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..networks import Objective, flatten, hessian
from ..networks.rounding import Change, Rounded
from ..solvers import Descent, Spectrum, find_descent
from ..solvers.descent import RADII, Unsettled, looked_to, measured
from ..solvers.spectra import complement, orthonormal
from ..symmetry import silent_units
from ..symmetry.reduction import sides
from ..symmetry.utility import Series, correlation_series, unseen_coordinates
from . import fixed_points, kinks
from .deep_linear import free_chain, is_deep_linear
from .fixed_points import FixedPointTolerances, Found
from .kinks import kinks_at

HIGHEST = 9  # degree of a unit's Taylor series up to which silent units are looked at
STARTS = 24  # times the first radius of a path is halved until the loss falls from there on
NODES = 6  # silent units used at most: they cancel that many degrees less one


class Looked(NamedTuple):
    """The descent of lowest order found, or None; what was looked at, in words; a number that
    rounding leaves open; a fall that no whole order settles."""

    descent: Descent | None
    words: str
    doubt: Rounded | None = None
    unsettled: Unsettled | None = None


class Flat(NamedTuple):
    """A fixed point in natural units: what the search of flat directions works on. kernel (P, k):
    of theta / units, without the weights of units that no sample turns on, on which the loss does
    not depend nearby; unseen: how many these are."""

    objective: Objective
    state: np.ndarray
    units: np.ndarray
    kernel: np.ndarray
    unseen: int = 0

    @property
    def words(self) -> str:
        """What is left out of the search."""
        return (
            f"; the {self.unseen} weights of units that no sample turns on do nothing nearby"
            if self.unseen
            else ""
        )


def look_for_descent(objective: Objective, found: Found, flat: Flat | None, seed: int) -> Looked:
    """The descent of lowest order along silent units or flat directions; flat: None where it is too
    large."""
    change = Change(objective, found.state)
    series = {
        k: one
        for k in _layers_with_silent_units(objective, found.state)
        if (one := _series(objective, found, k))
    }
    silent = [
        d
        for k, one in series.items()
        for d in _silent_descents(objective, found.state, k, one, change)
    ]
    alone = (
        len(objective.network.layers) == 1 and not found.state.any()
    )  # all there is are silent units of one layer
    joint, words = (None, "") if silent and alone else _along_flat_directions(flat, seed)
    silent += [joint] if isinstance(joint, Descent) else []
    best = min(silent, key=lambda d: (d.order, -d.value), default=None)
    if best is not None:
        return Looked(best, "")
    doubt = next((one.doubt for one in series.values() if one.doubt is not None), None)
    vanish = [one.highest for one in series.values() if one.degree is None]
    if vanish:
        words = (
            "the correlation of new units with what is left is zero to degree "
            f"{min(vanish)}; {words}"
        )
    return Looked(None, words, doubt, joint if isinstance(joint, Unsettled) else None)


def _layers_with_silent_units(objective: Objective, state: np.ndarray) -> list[int]:
    return [
        k for k in range(len(objective.network.layers)) if silent_units(objective, state, k).any()
    ]


def _series(objective: Objective, found: Found, layer: int) -> Series | None:
    return correlation_series(objective, found.state, layer, highest=HIGHEST)


# ------------------------------------------------------------------- deep linear networks
def along_chain(objective: Objective, state: np.ndarray) -> Descent | None:
    """The descent along a chain of free directions, where the loss is seen to fall along it."""
    chain = free_chain(objective, state) if is_deep_linear(objective) else None
    if chain is None:
        return None
    change = Change(objective, state)
    how = f"along a chain of free directions through {chain.order} matrices"
    units = objective.units_at(state)
    step = chain.direction / np.linalg.norm(chain.direction / units)
    ray = lambda r: (state + r * step, r, change(state + r * step))
    size = max(objective.standard.weights, float(np.linalg.norm(state / units)))
    return _first(ray, size, change, how)


def _first(path: Callable, radius: float, change: Change, how: str) -> Descent | None:
    """The descent along a path, from the largest radius from which on the loss falls."""
    for k in range(STARTS):
        seen = measured(path, radius * 0.5**k, change.noise)
        if isinstance(seen, Descent):
            return replace(seen, how=how)
    return None


# ------------------------------------------------------------------- silent units
def _silent_descents(
    objective: Objective, state: np.ndarray, layer: int, series: Series, change: Change
) -> list[Descent]:
    """Falls along silent units in the direction of the first correlation T_q that does not vanish.

    sum_i b_i phi(.; t a_i u) starts at the degree k whose sum b_i a_i^k does not cancel, so that
    with v_i = t^s b_i v

        L(t) - L = -c t^(q + s) + O(t^(2k + 2s)),

    which falls at order q + 1 (s = 1) where 2k > q - 1, and else along v ~ t^s, s = q - 2k, at
    order 2 (q - k).
    """
    degree = objective.network.layers[layer].unit.symmetry.degree
    if series.degree is None or series.u is None or degree is None:
        return []
    q, places = series.degree, np.flatnonzero(silent_units(objective, state, layer))[:NODES]
    low = list(range(degree, (q + 1) // 2))  # degrees k with 2k <= q - 1, to be cancelled
    found = []
    for cancelled in (
        low,
        [k for k in low if (k - q) % 2 == 0],
        low[:0],
    ):  # all; of one parity (odd, even units); none
        nodes = min(len(places), len(cancelled) + 1)
        gone = cancelled[: nodes - 1]
        left = [
            k
            for k in low
            if k not in gone and (cancelled == low or (k - q) % 2 == 0 or not cancelled)
        ]
        power = max(1, q - 2 * min(left, default=q))
        a, b = _cancelling(nodes, gone, q)
        path = _silent_path(objective, state, layer, places[:nodes], series, (a, b, power), change)
        how = f"along {nodes} silent unit{'s' * (nodes > 1)} of correlation of degree {q}"
        how += f", outgoing weights as the {power}th power of incoming ones" if power > 1 else ""
        descent = _first(path, 1.0, change, how)
        if descent is not None:
            found.append(descent)
    return found


def _cancelling(nodes: int, degrees: list[int], q: int) -> tuple[np.ndarray, np.ndarray]:
    """a_i and b_i with sum b_i a_i^k = 0 for the given degrees and sum b_i a_i^q > 0, of unit
    length; fewer than `nodes`."""
    a = np.arange(1.0, nodes + 1) / nodes
    rows = np.array([a**k for k in degrees]).reshape(len(degrees), nodes)
    projector = np.eye(nodes) - np.linalg.pinv(rows) @ rows if len(degrees) else np.eye(nodes)
    b = projector @ (projector @ a**q)
    return a, b / np.linalg.norm(b)


def _silent_path(
    objective: Objective,
    state: np.ndarray,
    layer: int,
    places: np.ndarray,
    series: Series,
    shares: tuple[np.ndarray, np.ndarray, int],
    change: Change,
) -> Callable[[float], tuple[np.ndarray, float, float]]:
    """t -> (the state, its distance in natural units, the change of the loss): units t a_i u and
    t^s b_i v at `places`."""
    network, params = objective.network, objective.params(np.asarray(state, float))
    assert series.u is not None and series.v is not None
    size = float(np.abs(sides(network, objective.params(objective.units), layer)[1][places]).max())
    (a, b, power), u, v = shares, series.u, size * series.v

    def path(t: float) -> tuple[np.ndarray, float, float]:
        u_now, v_now = (side.copy() for side in sides(network, params, layer))
        u_now[places] = t * np.outer(a, u)
        v_now[places] = t**power * np.outer(b, v)
        place = flatten(network.with_sides(params, layer, u_now, v_now)[1])
        return place, float(np.linalg.norm((place - state) / objective.units)), change(place)

    return path


# ------------------------------------------------------------------- all flat directions
def flat_directions(
    objective: Objective, found: Found, spectrum: Spectrum, again: Callable
) -> Flat | None:
    """What the search of flat directions works on: the fixed point itself, or, beyond dense
    Hessians, the narrow network with two silent units more a layer, which embeds the same map: what
    more of them could do, two can.

    again: (objective, state) -> its spectrum. None where the network has too many parameters.
    """
    state = found.state
    if spectrum.kernel is None:
        small = _padded(objective, found)
        if small is None:
            return None
        objective, state = small
        spectrum = again(objective, state)
    assert spectrum.kernel is not None
    units = objective.units_at(state)
    on = kinks_at(objective, state, FixedPointTolerances.now().gradient * objective.scales.gradient)
    kernel = kinks.with_silent(on, spectrum.kernel) / units[:, None]
    unseen = unseen_coordinates(objective, state)
    return Flat(objective, state, units, _without(orthonormal(kernel), unseen), int(unseen.sum()))


def _without(kernel: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """The part of a kernel, of orthonormal columns (P, k), in which these weights do not move; each
    of them alone is in it."""
    if not unseen.any():
        return kernel
    left, values, _ = np.linalg.svd(np.where(unseen[:, None], 0.0, kernel), full_matrices=False)
    return left[:, values > 0.5]  # they are 0 or 1


def _along_flat_directions(flat: Flat | None, seed: int) -> tuple[Descent | Unsettled | None, str]:
    """Search the flat directions for a descent of higher order, in natural units; and in words what
    was searched."""
    if flat is None:
        return None, "flat directions were not searched: the network has too many parameters"
    objective, state, units, kernel, _ = flat
    if not kernel.shape[1]:
        return (
            None,
            f"no direction is flat: the loss rises in all of them at second order{flat.words}",
        )
    scales, change = objective.standard, Change(objective, state)
    noise = lambda x: change.noise(units * x)
    rest = complement(kernel)
    descent = find_descent(
        lambda x: change(units * x),
        lambda x: units * np.asarray(objective.gradient(units * x)),
        state / units,
        _projection(kernel, rest),
        size=scales.weights,
        noise=noise,
        stiff=_stiff(objective, state, units, rest),
        seed=seed,
    )
    if isinstance(descent, Descent):
        raw = units * descent.direction
        return replace(descent, direction=raw / np.linalg.norm(raw)), ""
    if descent is not None:
        return descent, f"along the {kernel.shape[1]} flat directions the loss falls by {descent}"
    some = kernel @ np.random.default_rng(seed).standard_normal(kernel.shape[1])
    away = state / units + RADII[0] / 4 * scales.weights * some / np.linalg.norm(some)
    seen = looked_to(max(scales.loss, float(objective.loss(state))), noise(away))
    return (
        None,
        (
            f"a search of the {kernel.shape[1]} flat directions found no descent up to "
            f"order {seen}{flat.words}"
        ),
    )


def _projection(kernel: np.ndarray, rest: np.ndarray) -> Callable:
    """On the span of the columns of a kernel (P, k), whose complement others (P, P - k) span: by
    the fewer of them."""
    if rest.shape[1] < kernel.shape[1]:
        return lambda d: d - rest @ (rest.T @ d)
    return lambda d: kernel @ (kernel.T @ d)


def _stiff(
    objective: Objective, state: np.ndarray, units: np.ndarray, rest: np.ndarray
) -> Callable:
    """g -> H^+ g on the span of the columns of `rest` (P, s), which are no zero modes, in natural
    units, within the directions that cross no kink."""
    on = kinks_at(objective, state, FixedPointTolerances.now().gradient * objective.scales.gradient)
    matrix = kinks.padded(
        units[:, None] * hessian(objective, state) * units, None if on is None else on.scaled(units)
    )
    size = np.abs(matrix).max(initial=0.0) or 1.0
    idle = (
        np.abs(matrix).max(axis=1, initial=0.0) <= np.finfo(float).eps * size
    )  # weights that do nothing stay
    matrix = matrix + size * np.diag(idle.astype(float))
    back = rest @ np.linalg.pinv(rest.T @ matrix @ rest, hermitian=True)
    return lambda g: back @ (rest.T @ g)


def _padded(objective: Objective, found: Found) -> tuple[Objective, np.ndarray] | None:
    """The narrow fixed point with up to two silent units more a layer, if that is small and every
    unit can be silent."""
    network = objective.network
    if (
        found.narrow is None
        or found.reduction is None
        or not all(x.unit.symmetry.silent for x in network.layers)
    ):
        return None
    narrow = found.reduction.network
    params = objective.with_network(narrow).params(np.asarray(found.narrow, float))
    for index in reversed(range(len(network.layers))):
        u, v = sides(narrow, params, index)
        more = ((0, min(2, network.widths[index] - len(u))), (0, 0))
        narrow, params = narrow.with_sides(params, index, np.pad(u, more), np.pad(v, more))
    small = objective.with_network(narrow)
    return (small, flatten(params)) if small.size <= fixed_points.DENSE else None
