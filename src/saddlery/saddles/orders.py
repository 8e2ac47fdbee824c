"""Descents of order above two, sought where theory says they are, and up to which
order they were looked for.

Three searches, of which any may find one: chains of free directions through a deep
linear network (closed form, looked at first), silent units by rising degree of
their Taylor series (several whose lower degrees cancel, or one along a curve), and
all flat directions of the Hessian together. What is found is measured: the loss
falls, by more than rounding, at one whole order. Distances are in natural units of
the weights, directions in the weights as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..networks import Objective, flatten, hessian
from ..networks.rounding import Change, Rounded
from ..solvers import DescentDirection, Spectrum, find_descent
from ..solvers.higher_order import RADII, Unsettled, looked_to, measured
from ..solvers.spectra import complement, orthonormal
from ..symmetry import silent_units
from ..symmetry.reduction import sides
from ..symmetry.utility import Series, correlation_series, unseen_coordinates
from . import fixed_points, kinks
from .deep_linear import free_chain, is_deep_linear
from .fixed_points import FixedPointTolerances, Found
from .kinks import Kinks, kinks_at

# Silent units are looked at up to this degree of their Taylor series.
HIGHEST = 9
# The first radius of a path is halved at most so many times until the loss falls from
# there on.
STARTS = 24
# At most so many silent units are used together: they cancel that many degrees less
# one.
NODES = 6

# t -> (a state (P,), its distance in natural units, the change of the loss)
Path = Callable[[float], tuple[np.ndarray, float, float]]


class Looked(NamedTuple):
    """What was found below second order.

    descent: of the lowest order found, or None.
    words: what was looked at.
    doubt: a number that rounding leaves open.
    unsettled: a fall that no whole order settles.
    """

    descent: DescentDirection | None
    words: str
    doubt: Rounded | None = None
    unsettled: Unsettled | None = None


class Flat(NamedTuple):
    """A fixed point in natural units: what the search of flat directions works on.

    state, units (P,): the fixed point, and the natural units of weights there.
    kernel (P, k): of theta / units, without the weights of units that no sample turns
        on, on which the loss does not depend nearby.
    unseen: how many these are.
    """

    objective: Objective
    state: np.ndarray
    units: np.ndarray
    kernel: np.ndarray
    unseen: int = 0

    @property
    def words(self) -> str:
        """What is left out of the search."""
        if not self.unseen:
            return ""
        which = f"the {self.unseen} weights of units that no sample turns on"
        return f"; {which} do nothing nearby"


def look_for_descent(
    objective: Objective,
    found: Found,
    flat: Flat | None,
    seed: int,
) -> Looked:
    """The descent of lowest order along silent units or flat directions.

    found: a fixed point (P,) without descent of second order.
    flat: what is flat there (`flat_directions`); None where the network is too large.
    seed: of the search along it.

    Cost: a Taylor series for each layer with silent units, losses along three paths of
    these, and the search of `find_descent` along what is flat.

    Example
    -------
    Units of degree two at the origin: one of them alone lowers the loss at third order.

    >>> from saddlery import Experiment
    >>> from saddlery.saddles.fixed_points import find_fixed_point
    >>> objective = Experiment.named("quadratic").objective()
    >>> origin = find_fixed_point(objective, np.zeros(objective.size))
    >>> descent = look_for_descent(objective, origin, None, seed=0).descent
    >>> descent.order, descent.how
    (3, 'along 1 silent unit of correlation of degree 2')
    """
    silent = _series_of_silent_units(objective, found.state)
    change = Change(objective, found.state)
    descents = []
    for layer, series in silent.items():
        descents += _silent_descents(objective, found.state, layer, series, change)

    joint, words = None, ""
    # At the origin of one layer all there are is its silent units.
    alone = len(objective.network.layers) == 1 and not found.state.any()
    if not (descents and alone):
        joint, words = _along_flat_directions(flat, seed)
    if isinstance(joint, DescentDirection):
        descents.append(joint)
    if descents:
        return Looked(min(descents, key=lambda d: (d.order, -d.value)), "")

    doubts = [one.doubt for one in silent.values() if one.doubt is not None]
    vanish = [one.highest for one in silent.values() if one.degree is None]
    if vanish:
        zero = f"is zero to degree {min(vanish)}"
        words = f"the correlation of new units with what is left {zero}; {words}"
    return Looked(
        descent=None,
        words=words,
        doubt=doubts[0] if doubts else None,
        unsettled=joint if isinstance(joint, Unsettled) else None,
    )


def _series_of_silent_units(
    objective: Objective,
    state: np.ndarray,
) -> dict[int, Series]:
    """By layer, of those that have silent units."""
    found = {}
    for layer in range(len(objective.network.layers)):
        if not silent_units(objective, state, layer).any():
            continue
        series = correlation_series(objective, state, layer, highest=HIGHEST)
        if series is not None:
            found[layer] = series
    return found


# ------------------------------------------------------------------- deep linear networks
def along_chain(objective: Objective, state: np.ndarray) -> DescentDirection | None:
    """The descent along a chain of free directions of a deep linear network at a fixed
    point (P,), where the loss is seen to fall along it; else None.

    Cost: that of `free_chain`, and some losses.

    Example
    -------
    At the origin of three matrices the loss falls at third order (see `free_chain`).

    >>> from saddlery import Experiment
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.units import make
    >>> layers = (Layer(make("linear"), 3, mixes=False), Layer(make("linear"), 3))
    >>> experiment = Experiment.named("linear").replace(network=Network(layers))
    >>> objective = experiment.objective()
    >>> descent = along_chain(objective, np.zeros(objective.size))
    >>> descent.order, round(descent.measured_order, 3)
    (3, 3.0)
    """
    if not is_deep_linear(objective):
        return None
    chain = free_chain(objective, state)
    if chain is None:
        return None
    change = Change(objective, state)
    units = objective.units_at(state)
    step = chain.direction / np.linalg.norm(chain.direction / units)

    def ray(r: float) -> tuple[np.ndarray, float, float]:
        return state + r * step, r, change(state + r * step)

    size = max(objective.standard.weights, float(np.linalg.norm(state / units)))
    how = f"along a chain of free directions through {chain.order} matrices"
    return _first(ray, size, change, how)


def _first(
    path: Path,
    radius: float,
    change: Change,
    how: str,
) -> DescentDirection | None:
    """The descent along a path, from the largest radius from which on the loss
    falls."""
    for k in range(STARTS):
        seen = measured(path, radius * 0.5**k, change.noise)
        if isinstance(seen, DescentDirection):
            return replace(seen, how=how)
    return None


# ------------------------------------------------------------------- silent units
def _silent_descents(
    objective: Objective,
    state: np.ndarray,
    layer: int,
    series: Series,
    change: Change,
) -> list[DescentDirection]:
    """Falls along silent units in the direction of the first correlation T_q that
    does not vanish.

    sum_i b_i phi(.; t a_i u) starts at the degree k whose sum b_i a_i^k does not
    cancel, so that with v_i = t^s b_i v

        L(t) - L = -c t^(q + s) + O(t^(2k + 2s)),

    which falls at order q + 1 (s = 1) where 2k > q - 1, and else along v ~ t^s, s = q -
    2k, at order 2 (q - k).
    """
    degree = objective.network.layers[layer].unit.symmetry.degree
    if series.degree is None or series.u is None or degree is None:
        return []
    q = series.degree
    places = np.flatnonzero(silent_units(objective, state, layer))[:NODES]
    found = []
    for shares in _shares(degree, q, len(places)):
        nodes = len(shares.a)
        path = _silent_path(objective, state, layer, places[:nodes], series, shares, change)
        descent = _first(path, 1.0, change, shares.words(q))
        if descent is not None:
            found.append(descent)
    return found


class _Shares(NamedTuple):
    """Silent units together: weights t a_i u and t^power b_i v."""

    a: np.ndarray
    b: np.ndarray
    power: int

    def words(self, q: int) -> str:
        units = f"{len(self.a)} silent unit{'s' * (len(self.a) > 1)}"
        how = f"along {units} of correlation of degree {q}"
        if self.power == 1:
            return how
        return f"{how}, outgoing weights as the {self.power}th power of incoming ones"


def _shares(degree: int, q: int, most: int) -> Iterator[_Shares]:
    """Of up to so many units, whose Taylor series begin at `degree`: three ways to
    leave a correlation of degree q."""
    # Degrees k with 2k <= q - 1, which would be felt before the correlation is.
    low = list(range(degree, (q + 1) // 2))
    # Odd and even units have those of one parity alone.
    alike = [k for k in low if (k - q) % 2 == 0]
    for cancelled, there in ((low, low), (alike, alike or low), ([], low)):
        nodes = min(most, len(cancelled) + 1)
        gone = cancelled[: nodes - 1]
        left = [k for k in there if k not in gone]
        a, b = _cancelling(nodes, gone, q)
        yield _Shares(a, b, max(1, q - 2 * min(left, default=q)))


def _cancelling(
    nodes: int,
    degrees: list[int],
    q: int,
) -> tuple[np.ndarray, np.ndarray]:
    """a_i and b_i with sum b_i a_i^k = 0 for the given degrees, fewer than `nodes`, and
    sum b_i a_i^q > 0, of unit length."""
    a = np.arange(1.0, nodes + 1) / nodes
    projector = np.eye(nodes)
    if len(degrees):
        rows = np.array([a**k for k in degrees])
        projector = projector - np.linalg.pinv(rows) @ rows
    b = projector @ (projector @ a**q)
    return a, b / np.linalg.norm(b)


def _silent_path(
    objective: Objective,
    state: np.ndarray,
    layer: int,
    places: np.ndarray,
    series: Series,
    shares: _Shares,
    change: Change,
) -> Path:
    """Units t a_i u and t^power b_i v at `places`."""
    network, params = objective.network, objective.params(np.asarray(state, float))
    assert series.u is not None and series.v is not None
    natural = sides(network, objective.params(objective.units), layer)[1]
    size = float(np.abs(natural[places]).max())
    u, v = series.u, size * series.v

    def path(t: float) -> tuple[np.ndarray, float, float]:
        u_now, v_now = (side.copy() for side in sides(network, params, layer))
        u_now[places] = t * np.outer(shares.a, u)
        v_now[places] = t**shares.power * np.outer(shares.b, v)
        place = flatten(network.with_sides(params, layer, u_now, v_now)[1])
        distance = float(np.linalg.norm((place - state) / objective.units))
        return place, distance, change(place)

    return path


# ------------------------------------------------------------------- all flat directions
def flat_directions(
    objective: Objective,
    found: Found,
    spectrum: Spectrum,
    again: Callable[[Objective, np.ndarray], Spectrum],
) -> Flat | None:
    """What the search of flat directions works on: the fixed point (P,) itself, or,
    beyond dense Hessians, the narrow network with two silent units more a layer, which
    embeds the same map: what more of them could do, two can.

    spectrum: of the Hessian there.
    again: (objective, state) -> its spectrum.

    None where the network has too many parameters.

    Example
    -------
    At the origin of units of degree two the loss is flat in all weights.

    >>> from saddlery import Experiment
    >>> from saddlery.saddles.fixed_points import find_fixed_point
    >>> from saddlery.saddles.judging import spectrum_at
    >>> objective = Experiment.named("quadratic").objective()
    >>> origin = find_fixed_point(objective, np.zeros(objective.size))
    >>> spectrum = spectrum_at(objective, origin.state)
    >>> flat_directions(objective, origin, spectrum, spectrum_at).kernel.shape
    (30, 30)
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
    kernel = kinks.with_silent(_kinks(objective, state), spectrum.kernel)
    unseen = unseen_coordinates(objective, state)
    natural = orthonormal(kernel / units[:, None])
    return Flat(
        objective=objective,
        state=state,
        units=units,
        kernel=_without(natural, unseen),
        unseen=int(unseen.sum()),
    )


def _kinks(objective: Objective, state: np.ndarray) -> Kinks | None:
    zero = FixedPointTolerances.now().gradient * objective.scales.gradient
    return kinks_at(objective, state, zero)


def _without(kernel: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """The part of a kernel, of orthonormal columns (P, k), in which these weights do
    not move; each of them alone is in it."""
    if not unseen.any():
        return kernel
    seen = np.where(unseen[:, None], 0.0, kernel)
    left, values, _ = np.linalg.svd(seen, full_matrices=False)
    return left[:, values > 0.5]  # they are 0 or 1


def _along_flat_directions(
    flat: Flat | None, seed: int
) -> tuple[DescentDirection | Unsettled | None, str]:
    """Search the flat directions for a descent of higher order, in natural units; and
    in words what was searched."""
    if flat is None:
        words = "flat directions were not searched: the network has too many parameters"
        return None, words
    objective, state, units, kernel, _ = flat
    count = kernel.shape[1]
    if not count:
        words = "no direction is flat: the loss rises in all of them at second order"
        return None, f"{words}{flat.words}"
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
    if isinstance(descent, DescentDirection):
        plain = units * descent.direction
        return replace(descent, direction=plain / np.linalg.norm(plain)), ""
    if descent is not None:
        return descent, f"along the {count} flat directions the loss falls by {descent}"
    # Up to which order falls show above rounding, on the smallest sphere that measures
    # one.
    some = kernel @ np.random.default_rng(seed).standard_normal(count)
    away = state / units + RADII[0] / 4 * scales.weights * some / np.linalg.norm(some)
    seen = looked_to(max(scales.loss, float(objective.loss(state))), noise(away))
    words = f"a search of the {count} flat directions found no descent up to order {seen}"
    return None, f"{words}{flat.words}"


def _projection(
    kernel: np.ndarray,
    rest: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """On the span of the columns of a kernel (P, k), whose complement others (P, P - k)
    span: by the fewer of them."""
    if rest.shape[1] < kernel.shape[1]:
        return lambda d: d - rest @ (rest.T @ d)
    return lambda d: kernel @ (kernel.T @ d)


def _stiff(
    objective: Objective,
    state: np.ndarray,
    units: np.ndarray,
    rest: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """g -> H^+ g on the span of the columns of `rest` (P, s), which are no zero
    modes, in natural units, within the directions that cross no kink."""
    on = _kinks(objective, state)
    if on is not None:
        on = on.scaled(units)
    matrix = units[:, None] * hessian(objective, state) * units
    matrix = kinks.padded(matrix, on)
    largest = np.abs(matrix).max(initial=0.0) or 1.0
    # Weights that do nothing stay.
    rows = np.abs(matrix).max(axis=1, initial=0.0)
    idle = rows <= np.finfo(float).eps * largest
    matrix = matrix + largest * np.diag(idle.astype(float))
    back = rest @ np.linalg.pinv(rest.T @ matrix @ rest, hermitian=True)
    return lambda g: back @ (rest.T @ g)


def _padded(objective: Objective, found: Found) -> tuple[Objective, np.ndarray] | None:
    """The narrow fixed point with up to two silent units more a layer, if that is
    small and every unit can be silent."""
    network = objective.network
    if found.narrow_state is None or found.reduction is None:
        return None
    if not all(layer.unit.symmetry.silent for layer in network.layers):
        return None
    narrow = found.reduction.network
    params = objective.with_network(narrow).params(np.asarray(found.narrow_state, float))
    for index in reversed(range(len(network.layers))):
        u, v = sides(narrow, params, index)
        more = ((0, min(2, network.widths[index] - len(u))), (0, 0))
        u, v = np.pad(u, more), np.pad(v, more)
        narrow, params = narrow.with_sides(params, index, u, v)
    small = objective.with_network(narrow)
    if small.size > fixed_points.DENSE:
        return None
    return small, flatten(params)
