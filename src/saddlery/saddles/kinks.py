"""Kinks: what is true of a loss where samples lie on the kinks of its units, decided by one-sided
slopes alone.

A sample n lies on a kink of unit i where phi(z_n; .) has another slope on either side of u_i. With
K these (sample, unit, feature) triples, a_k the direction across the kink, J_k the jump of the
slope of phi and g the gradient of the side -a,

    L'(theta; d) = lim (L(theta + t d) - L(theta)) / t = g.d + sum_{k in K} gamma_k max(a_k.d, 0),   gamma_k = dL/dphi_k J_k

for the own weights of the units of one layer. theta is *B-stationary* where L'(theta; d) >= 0 for
every d, which is more than a zero among the subgradients: a kink that bends downwards (gamma_k < 0)
leaves no stationary point where it is crossed. Since -|gamma| max(x, 0) = min(0, -|gamma| x), L' is
the least, over the subsets S of the kinks that bend downwards, of convex functions, each with a
nearest point of its subdifferential,

    r_S = argmin |r|,   r = g + sum_S gamma_k a_k + sum_up lambda_k a_k,   0 <= lambda_k <= gamma_k        (least squares)

so that the steepest descent is -r_S of the largest |r_S|, at slope -|r_S|, and theta is
B-stationary exactly where all r_S are zero. No value that automatic differentiation gives *at* a
kink is used: slopes are taken beside it, on both sides.

*Several layers.* A kink is also crossed by the weights of the layers below, which move what the
unit reads: where a sample gives z = 0, phi(z; u) has no kink in u, and one in z. Such kinks are
found by moving all weights at random and looking whether the slope d phi/dz takes several values
however near. Kinks of several layers are composed, and their L' is no longer the sum above: it is
looked at along random directions, where it is linear if all of them see the same gradient, and
descended from the best.

*Second order.* On the subspace that crosses no kink, {d : a_k.d = 0 for all k}, the loss is smooth
and has a Hessian. Where every live kink costs first order on both sides (`strict`), nothing else
needs looking at; silent units are decided by their utility; what is left (kinks with a slope of
zero) is searched by one-sided curvature and otherwise called open.

Sources: Rockafellar and Wets (1998), "Variational Analysis", for one-sided derivatives; Shapiro
(1990), "On concepts of directional differentiability", for their chain rule; Pang, Razaviyayn and
Alvarado (2017) for B-stationarity of differences of convex functions, of which the subsets S are
theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float
from scipy.optimize import linprog, lsq_linear

from ..basis.precision import in_float64
from ..basis.tolerances import Tolerances, chosen
from ..networks import MeanLoss, Network, Objective, Params, hessian, unflatten
from ..networks.network import as_rows, mix
from ..networks.objectives import Samples
from ..solvers import Spectrum
from ..solvers.spectra import orthonormal, unit_vector
from ..units import Unit, check_smooth, shipped

Vector = Float[np.ndarray, " P"]


@dataclass(frozen=True)
class KinkTolerances(Tolerances, decides="kinks"):
    """When a state lies on a kink, and what is a fall across one."""

    near: float = chosen(
        1e-9,
        "distance of a kink that the state lies on, of |u| in natural units",
        "a judgement: a gradient of 1e-12 leaves weights known to about as much, with room",
    )
    rounding: float = chosen(
        1e-10,
        "jumps of a slope that are none, of a unit's largest slope",
        "a judgement: rounding of a slope that is taken beside the kink",
    )
    bend: float = chosen(
        1e-6,
        "a jump that curvature does not explain, of a slope",
        "a judgement: more than what curvature makes of a slope over the distance that is near",
    )
    parallel: float = chosen(
        1e-7,
        "difference of the unit normals of two kinks that are one",
        "a judgement: a hundred times as far as what counts as on the kink",
    )
    interior: float = chosen(
        1e-8,
        "how far a multiplier is from its bounds where leaving costs first order",
        "a bound: a hundred times what the linear programs leave",
    )
    sure: float = chosen(
        10.0,
        "slope of a direction that falls, of the tolerance of the gradient",
        "a judgement: slopes along random directions are rounded several times",
    )
    second_order: float = chosen(
        1e-6,
        "one-sided curvature that falls, of the natural curvature",
        "a judgement",
    )
    displaced: float = chosen(
        1e-7,
        "how far inside a piece its Hessian is taken, of the weights",
        "a judgement: a hundred times as far as what counts as on the kink",
    )
    blurred: float = chosen(
        1e-6,
        "eigenvalues of a piece that are zero, of the largest",
        "a judgement: what that displacement can make of a zero one",
    )


CLOSER = 8.0  # slopes are compared `near` and as many times nearer: a jump stays, a bend shrinks
SUBSETS = 10  # kinks of one unit that bend downwards: up to so many all their subsets are tried
# of more: directions whose subsets are tried, and how often each is improved
DRAWS, ROUNDS = 64, 20
MANY = 200  # kinks of one unit up to which it is found out on which sides leaving is free
EXACTLY = {
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}  # of HiGHS, the least it takes
PIECES = 64  # combinations of sides whose Hessians are looked at
STARTS, CLIMBS = 24, 60  # searches for one-sided curvature
FEW = 8  # random sums of jumps in which a kink that is crossed at first order would be seen
# random directions, each forth and back, along which a deep network is looked at beside the state
PROBES = 24
DESCENTS, STEPS = 4, 40  # of these the steepest, each improved so often


class Kink(NamedTuple):
    """One kink of a live unit, and the slopes of the loss along its unit normal, forth and back."""

    layer: int
    unit: int
    sample: int
    forth: float
    back: float


class Crossing(NamedTuple):
    """A kink that can be left at no cost of first order. normal (P,): of unit length. side: 1 or
    -1, 2 for both."""

    normal: np.ndarray
    side: int


class Place(NamedTuple):
    """A sample on the kink of a unit."""

    layer: int
    unit: int
    sample: int


@dataclass(frozen=True, eq=False)
class Kinks:
    """Where a state stands on kinks.

    live: kinks of units that the loss feels at first order. residual: the steepest slope, or what
    is left of the gradient, as the sizes of gradients are measured (`Objective.gradient_units`).
    slope: L'(theta; direction) along a direction (P,) of unit length in plain weights, the steepest
    that was found; zero where there is no first-order descent, and the direction None where nothing
    is left. decided: whether first order is, so that slope 0 proves B-stationarity.
    smooth (P, m): orthonormal basis of the directions that cross no kink, sparse. free (P, m'):
    without those only that cost first order on both sides. within (P, m''): of these, without those
    that cross kinks of silent units, which are `silent` (P, k). crossings: kinks that can be
    left at no cost of first order. unknown: how many units stand on kinks of which that is not
    known.
    below: kinks that weights of the layers below cross, of first or of higher order; no derivative
    that passes through one of them is evidence.
    """

    live: tuple[Kink, ...]
    slope: float
    residual: float
    direction: np.ndarray | None
    decided: bool
    smooth: scipy.sparse.csr_matrix
    free: scipy.sparse.csr_matrix
    within: scipy.sparse.csr_matrix
    silent: scipy.sparse.csr_matrix
    crossings: tuple[Crossing, ...]
    unknown: int
    below: tuple[Place, ...] = ()

    @property
    def dimension(self) -> int:
        """m, in how many directions the loss is smooth."""
        return int(self.smooth.shape[1])  # pyright: ignore (the stubs of sparse matrices know no shape)

    @property
    def covered(self) -> bool:
        """Whether the Hessian on `smooth` and the utility of silent units are all of second order:
        whether leaving any kink of another unit costs first order."""
        return not self.crossings and not self.unknown and not self.below

    def scaled(self, units: Vector) -> Kinks:
        """The same directions for weights measured in units of their own (P,), theta / units: the
        bases orthonormal there."""
        if np.all(units == units[:1]):
            return self
        names = ("smooth", "free", "within", "silent")
        return replace(self, **{name: _orthonormal(getattr(self, name), units) for name in names})

    def words(self) -> str:
        """The live kinks with their one-sided slopes, and those that layers below cross; empty
        where there are none."""
        live = [
            (
                f"sample {kink.sample} on unit {kink.unit} (slopes {kink.forth:.3g} "
                f"forth, {kink.back:.3g} back)"
            )
            for kink in self.live
        ]
        below = [
            f"sample {one.sample} on unit {one.unit} of layer {one.layer}" for one in self.below
        ]
        crossed = f"{_first_few(below)}, where layers below cross it"
        return "; ".join([_first_few(live)] * bool(live) + [crossed] * bool(below))


def _first_few(words: list[str]) -> str:
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return f"{', '.join(words[:3])}{more}"


@in_float64
def kinks_at(objective: Objective, state: Vector, tolerance: float) -> Kinks | None:
    """The kinks that a state (P,) lies on, and the one-sided slopes there; None where it lies on
    none.

    tolerance: slopes below it are zero, as gradients are measured (`Objective.gradient_units`).
    Kinks within 1e-9 of |u|, in natural units, count as touched.
    Cost: six Jacobians of phi a unit, samples times numbers in u; one bounded least-squares problem
    for each subset of a unit's kinks that bend downwards, at most 2^10; in networks of several
    layers some 100 passes over the samples, and, where layers below cross kinks, some 300
    gradients.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.saddles.kinks import kinks_at
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.objectives import Data, objective
    >>> from saddlery.units import make
    >>> data = Data((2,), 1, np.eye(2), np.array([[1.0], [0.5]]))
    >>> subject = objective(Network((Layer(make("relu"), 1),)), data)
    >>> found = kinks_at(subject, np.array([1.0, 0.0, 1.0]), 1e-12)
    >>> found.slope, found.direction
    (-0.25, array([0., 1., 0.]))
    """
    if all(layer.unit.smooth for layer in objective.network.layers):
        return None
    state = np.asarray(state, float)
    units = _units_of_slopes(objective, state)
    touched = list(_touched(objective, state, units, tolerance))
    below = crossed_from_below(objective, state)
    if not touched and not below:
        return None
    return _Assembly(objective, state, units, tolerance, touched, below).kinks()


def _units_of_slopes(objective: Objective, state: Vector) -> Vector:
    """s (P,), so that |s g| is held against a tolerance; a slope g.d along d is one of (s g).e, e =
    (d / s) / |d / s|."""
    units, factor = objective.gradient_units(state)
    return factor * units


@in_float64
def check_units(objective: Objective) -> None:
    """Raise InputError where a unit of one's own has kinks and is declared smooth (see
    `check_smooth`); once a unit."""
    function = objective.function
    if all(shipped(layer.unit) for layer in function.network.layers):
        return
    params = function.network.zeros(function.shape, function.outputs)
    reads = lambda z: _features(function.network, params, z)[0]
    for layer, z in zip(
        function.network.layers, jax.eval_shape(reads, jnp.zeros(function.shape)), strict=True
    ):
        if not shipped(layer.unit):
            check_smooth(layer.unit, z.shape)


@in_float64
def directional(
    objective: Objective, state: Vector, direction: Vector, step: float = 1e-7
) -> float:
    """L'(theta; d) = lim (L(theta + t d) - L(theta)) / t, from the gradient beside the state, where
    it is smooth.

    For d that crosses every kink it leaves, such as random ones; accurate to the curvature along d
    times `step`, which is one of the state in natural units.
    """
    most = step * _reach(objective, state, direction)
    near = [
        float(np.asarray(objective.gradient(state + t * direction)) @ direction)
        for t in (most, 0.5 * most)
    ]
    return 2 * near[1] - near[0]


def restricted(matrix: np.ndarray, kinks: Kinks | None) -> np.ndarray:
    """A Hessian (P, P) on the directions that cross no kink, (m, m); itself where there are no
    kinks."""
    return matrix if kinks is None else kinks.smooth.T @ (kinks.smooth.T @ matrix).T


def padded(matrix: np.ndarray, kinks: Kinks | None) -> np.ndarray:
    """A Hessian (P, P) on the directions that cross no kink, zero across those of silent units, and
    as stiff as its largest entry across all others."""
    if kinks is None:
        return matrix
    basis, size = kinks.smooth.toarray(), max(float(np.abs(matrix).max()), 1e-300)
    covered = np.linalg.qr(np.hstack([basis, kinks.silent.toarray()]))[0]
    others = np.eye(len(matrix)) - covered @ covered.T
    return basis @ restricted(matrix, kinks) @ basis.T + size * others


def spread(rows: np.ndarray, kinks: Kinks | None) -> np.ndarray:
    """Directions (K, m) among those that cross no kink as directions (K, P) of all weights."""
    return rows if kinks is None else (kinks.smooth @ rows.T).T


def lifted(spectrum: Spectrum, kinks: Kinks | None) -> Spectrum:
    """The spectrum on the directions that cross no kink, its vectors as ones of all weights."""
    if kinks is None:
        return spectrum
    kernel = None if spectrum.kernel is None else kinks.smooth @ spectrum.kernel
    return replace(spectrum, lowest_vector=kinks.smooth @ spectrum.lowest_vector, kernel=kernel)


def with_silent(kinks: Kinks | None, kernel: np.ndarray) -> np.ndarray:
    """The kernel (P, k) of a Hessian on smooth directions, with what belongs to silent units across
    their kinks: where their utility is zero the loss is flat to second order there as well."""
    return kernel if kinks is None else np.hstack([kernel, kinks.silent.toarray()])


# ------------------------------------------------------------------- all units together
class _Assembly:
    """One record for a state, from what its units touch."""

    def __init__(
        self,
        objective: Objective,
        state: Vector,
        units: Vector,
        tolerance: float,
        touched: list[_Touched],
        below: list[Place],
    ) -> None:
        self.objective, self.state, self.units, self.tolerance = objective, state, units, tolerance
        self.touched, self.below = touched, below
        self.single = len(objective.network.layers) == 1
        self.places = [_places(objective, index) for index in range(len(objective.network.layers))]
        self.found = [one.steepest(tolerance) for one in touched]

    def kinks(self) -> Kinks:
        rest = self._rest(self.found)
        residual = float(np.linalg.norm(self.units * rest))
        beyond_zero = residual > self.tolerance
        slope, direction = self._steepest(rest, also_plain=beyond_zero)
        falls = direction is not None and beyond_zero and self._really_falls(direction, slope)
        live = tuple(self._live())
        probed = None if self.single or not (live or self.below) else self._probed()
        if probed is not None and probed.residual > (residual if falls else 0.0):
            residual, slope, direction, falls = (
                probed.residual,
                probed.slope,
                probed.direction,
                True,
            )
        held = [
            found.held if self._known(one, found) else found.normals[:0]
            for one, found in self._pairs()
        ]
        within = [
            one.normals if self._silent(one) else part
            for one, part in zip(self.touched, held, strict=True)
        ]
        silent = [one for one in self.touched if self._silent(one)]
        return Kinks(
            live=live,
            slope=slope if falls else 0.0,
            residual=residual,
            direction=direction,
            decided=falls
            or (self._proven() if self.single else probed is None or not (live or probed.bends)),
            smooth=self._smooth(),
            free=self._basis(self._owned(held)),
            within=self._basis(self._owned(within)),
            silent=self._columns(
                [(self._own(one), _seen(one.normals, one.units)) for one in silent]
            ),
            crossings=tuple(self._crossings()),
            unknown=sum(
                not (self._known(*pair) or self._silent(pair[0])) for pair in self._pairs()
            ),
            below=tuple(self.below),
        )

    def _pairs(self) -> Iterator[tuple[_Touched, Steepest]]:
        return zip(self.touched, self.found, strict=True)

    def _live(self) -> Iterator[Kink]:
        """The kinks that the loss feels at first order."""
        for one in self.touched:
            for k in np.flatnonzero(one.live(self.tolerance)):
                normal = one.normals[k] * np.sign(one.normals[k][np.argmax(np.abs(one.normals[k]))])
                forth, back = (_slope(one, side * normal) for side in (1.0, -1.0))
                yield Kink(one.layer, one.unit, int(one.samples[k]), forth, back)

    def _rest(self, found: list[Steepest]) -> Vector:
        """The gradient r, and on the kinks of units the r that were found in their
        subdifferentials; L falls along -s^2 r."""
        rest = np.array(self.objective.gradient(self.state), float)
        for one, part in zip(self.touched, found, strict=True):
            rest[self._own(one)] = part.rest / one.units
        return rest

    def _steepest(self, rest: Vector, *, also_plain: bool) -> tuple[float, Vector | None]:
        """L' and the direction of steepest descent in natural units, or, where that is steeper, of
        that in plain weights."""
        if not rest.any():
            return 0.0, None
        own = self.units**2 * rest
        natural = (-float(rest @ own) / float(np.linalg.norm(own)), own)
        if not also_plain or np.all(self.units == self.units[:1]):
            return natural[0], _against(own)
        plain = self._rest([one.steepest_in_plain(self.tolerance) for one in self.touched])
        plain = np.where(
            np.abs(self.units * plain) > self.tolerance, plain, 0.0
        )  # what is zero is no direction
        slope, way = min(natural, (-float(np.linalg.norm(plain)), plain), key=lambda pair: pair[0])
        return slope, _against(way)

    def _really_falls(self, direction: Vector, slope: float) -> bool:
        """Whether the loss falls along it as it should: proven for one layer, looked at in deeper
        networks, at three distances. What third order makes over a distance is a quarter at half of
        it; a slope is the same."""
        if self.single:
            return True
        far, near, half = (
            directional(self.objective, self.state, direction, step) for step in (1e-7, 1e-9, 5e-10)
        )
        return max(far, near, half) < 0.5 * slope and half < 0.5 * near

    def _probed(self) -> Probed:
        found = probe(self.objective, self.state, self.units, self.tolerance)
        if found.direction is None or self._really_falls(found.direction, found.slope):
            return found
        return Probed(found.bends, 0.0, 0.0, None)

    def _proven(self) -> bool:
        """Whether the absence of first-order descent is proven, to the tolerance, for one layer."""
        live = [(one, found) for one, found in self._pairs() if one.live(self.tolerance).any()]
        return all(found.proven and not one.meeting for one, found in live)

    def _silent(self, one: _Touched) -> bool:
        """Whether the utility of silent units decides."""
        return (
            one.silent and self.objective.network.layers[one.layer].unit.symmetry.degree is not None
        )

    def _known(self, one: _Touched, found: Steepest) -> bool:
        """Whether the sides on which leaving the unit's kinks is free are known."""
        return self.single and not one.meeting and found.sides is not None

    def _crossings(self) -> Iterator[Crossing]:
        for one, found in self._pairs():
            if self._silent(one) or not self._known(one, found):
                continue
            assert found.sides is not None
            for normal, side in zip(found.normals, found.sides, strict=True):
                if side:
                    across = np.zeros(self.objective.size)
                    across[self._own(one)] = normal
                    yield Crossing(across, int(side))

    def _smooth(self) -> scipy.sparse.csr_matrix:
        """The directions that cross no kink, unit by unit and, where layers below cross some, side
        by side of these."""
        none = np.zeros((0, self.objective.size))
        jumps = _jumps(self.objective, self.state, self.below, self.units) if self.below else none
        owned = self._owned([one.normals for one in self.touched])
        if not len(jumps):
            return self._basis(owned)
        normals = {places[0]: rows for places, rows in owned}
        return self._basis(
            [
                (
                    places,
                    np.vstack(
                        [
                            _of_length_one(jumps[:, places]),
                            normals.get(places[0], np.zeros((0, len(places)))),
                        ]
                    ),
                )
                for places in _sides_of_units(self.objective)
            ]
        )

    def _owned(self, normals: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """A set of normals for each touched unit, with the places of its weights."""
        return [(self._own(one), rows) for one, rows in zip(self.touched, normals, strict=True)]

    def _basis(self, normals: list[tuple[np.ndarray, np.ndarray]]) -> scipy.sparse.csr_matrix:
        """The directions that these normals, a set for each block of weights, do not see: an
        orthonormal basis (P, m)."""
        own = np.ones(self.objective.size, bool)
        blocks = []
        for places, rows in normals:
            if len(rows):
                own[places] = False
                blocks.append((places, _unseen(rows, self.units[places])))
        return self._columns(
            [*((np.array([k]), np.ones((1, 1))) for k in np.flatnonzero(own)), *blocks]
        )

    def _own(self, one: _Touched) -> np.ndarray:
        """Where the weights u of a unit lie in the flat vector."""
        return self.places[one.layer][one.unit]

    def _columns(self, blocks: list[tuple[np.ndarray, np.ndarray]]) -> scipy.sparse.csr_matrix:
        """Columns (P, k) that hold each block (places, k) at its places."""
        found = scipy.sparse.lil_matrix(
            (self.objective.size, sum(block.shape[1] for _, block in blocks))
        )
        count = 0
        for places, block in blocks:
            found[places, count : count + block.shape[1]] = block
            count += block.shape[1]
        return found.tocsr()  # pyright: ignore (a matrix of a matrix, whatever the stubs say)


def _places(objective: Objective, index: int, side: str = "u") -> np.ndarray:
    """Where one side of every unit of a layer, u (H, U) or v (H, V), lies in the flat vector."""
    found = np.asarray(objective.params(np.arange(float(objective.size)))[index][side]).astype(int)
    return as_rows(found)


def _sides_of_units(objective: Objective) -> list[np.ndarray]:
    """The places of u, and where a layer mixes of v, of every unit."""
    layers = enumerate(objective.network.layers)
    sides = [(index, side) for index, layer in layers for side in ("u", "v")[: 1 + layer.mixes]]
    return [
        places for index, side in sides for places in _places(objective, index, side) if len(places)
    ]


def _slope(one: _Touched, d: np.ndarray) -> float:
    """L'(theta; d) along the own weights of a unit."""
    return float(one.gradient @ d + one.gamma @ np.maximum(one.normals @ d, 0.0))


def _orthonormal(basis: scipy.sparse.csr_matrix, units: Vector) -> scipy.sparse.csr_matrix:
    """An orthonormal basis of the same directions d as d / units."""
    return scipy.sparse.csr_matrix(orthonormal(basis.toarray() / units[:, None]))


def _unseen(normals: np.ndarray, units: np.ndarray) -> np.ndarray:
    """An orthonormal basis (U, m) of what is orthogonal to all rows; which these are is told in the
    units of the weights."""
    return orthonormal(units[:, None] * _row_space(_of_length_one(normals * units))[1])


def _seen(normals: np.ndarray, units: np.ndarray) -> np.ndarray:
    """An orthonormal basis (U, k) of the span of all rows, told likewise."""
    return orthonormal(_row_space(_of_length_one(normals * units))[0] / units[:, None])


def _row_space(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(normals.T @ normals)
    kept = values > 1e-14 * max(float(values.max(initial=0.0)), 1e-300)
    return vectors[:, kept], vectors[:, ~kept]


# ------------------------------------------------------------------- second order, across kinks
class Fall(NamedTuple):
    """A fall of second order. direction (P,): of unit length. curvature: 2 (L(theta + t d) - L) /
    t^2 as t -> 0. rate: of the exponential growth along it, where it is an eigenvector of its own
    side."""

    direction: np.ndarray
    curvature: float
    rate: float | None


class Across(NamedTuple):
    """Second order across kinks. fall: the lowest found, or None. proven: whether there is none
    where None was found."""

    fall: Fall | None
    proven: bool


@in_float64
def look_across(
    objective: Objective, state: Vector, kinks: Kinks | None, *, dense: bool, seed: int = 0
) -> Across:
    """Whether the loss falls at second order across kinks that can be left at no cost of first
    order.

    Piece by piece: the Hessian of every combination of sides, on the directions that cost no first
    order, is one of a smooth function; where none has a negative eigenvalue there is no descent.
    Where one has, the one-sided curvature is searched, since its eigenvector may point out of the
    piece. dense: whether Hessians may be formed. Cost: one Hessian a piece, at most 64.
    """
    if kinks is None or kinks.covered:
        return Across(None, proven=True)
    if dense and not kinks.unknown and not kinks.below and _pieces_rise(objective, state, kinks):
        return Across(None, proven=True)
    return Across(fall_across(objective, state, kinks, seed=seed), proven=False)


def _pieces_rise(objective: Objective, state: Vector, kinks: Kinks) -> bool:
    """Whether the Hessian of no piece has a negative eigenvalue, in natural units."""
    choices = [(1, -1) if crossing.side == 2 else (crossing.side,) for crossing in kinks.crossings]
    if np.prod([float(len(sides)) for sides in choices]) > PIECES:
        return False
    limits = KinkTolerances.now()
    units, size = _natural(objective, state)
    normals = _of_length_one(units * np.array([crossing.normal for crossing in kinks.crossings]))
    basis = kinks.scaled(units).within.toarray()
    for sides in product(*choices):
        inside = _inside(basis, np.array(sides)[:, None] * normals)
        if inside is None:
            continue  # no point lies strictly within this piece
        moved = hessian(objective, state + limits.displaced * size * units * inside)
        values = np.linalg.eigvalsh(basis.T @ (units[:, None] * moved * units) @ basis)
        largest = max(float(np.abs(values).max()), objective.standard.curvature)
        if values[0] < -limits.blurred * largest:
            return False
    return True


def _natural(objective: Objective, state: Vector) -> tuple[Vector, float]:
    """The natural units (P,) at a state, and its size in them, at least that of the task's
    weights."""
    units = objective.units_at(state)
    return units, max(objective.standard.weights, float(np.linalg.norm(state / units)))


def _reach(objective: Objective, state: Vector, direction: Vector) -> float:
    """The t at which theta + t d is as far away as the state is large, in natural units."""
    units, size = _natural(objective, state)
    length = float(np.linalg.norm(direction / units))
    return size / length if length > 0 else 0.0


def _inside(basis: np.ndarray, normals: np.ndarray) -> np.ndarray | None:
    """A unit direction of the span that all of these normals see from their own side; None if there
    is none."""
    seen = normals @ basis
    cost = np.r_[np.zeros(basis.shape[1]), -1.0]  # the largest distance to all of them within a box
    found = linprog(
        cost,
        A_ub=np.hstack([-seen, np.ones((len(seen), 1))]),
        b_ub=np.zeros(len(seen)),
        bounds=[(-1, 1)] * basis.shape[1] + [(0, 1)],
        options=EXACTLY,
    )
    return unit_vector(basis @ found.x[:-1]) if found.status == 0 and found.x[-1] > 1e-6 else None


@in_float64
def fall_across(objective: Objective, state: Vector, kinks: Kinks, *, seed: int = 0) -> Fall | None:
    """A descent of second order across kinks that cost nothing at first order, or None where none
    was found.

    Searched within the directions that are free at first order from 24 random starts, in natural
    units of the weights, where what counts does not depend on those of inputs and targets; and from
    what is found once more in the weights as they are, to which rates belong. A fall proves
    descent, None proves nothing. Cost: 1,500 gradients.
    """
    units, size = _natural(objective, state)
    basis, rng = kinks.scaled(units).free, np.random.default_rng(seed)
    random = lambda: unit_vector(basis @ rng.standard_normal(int(basis.shape[1])))  # pyright: ignore (as above)
    climbed = [_climbed(objective, state, basis, random(), units, size) for _ in range(STARTS)]
    lowest = min(climbed, key=lambda found: found.curvature)
    seen = lambda d, curvature: lowers(objective, state, d, -0.5 * curvature, 2)
    least = KinkTolerances.now().second_order * objective.standard.curvature
    if lowest.curvature > -least or not seen(units * lowest.e, lowest.curvature):
        return None
    length = float(np.linalg.norm(units * lowest.e))
    fall = Fall(units * lowest.e / length, lowest.curvature / length**2, None)
    size = max(objective.scales.weights, float(np.linalg.norm(state)))
    plain = _climbed(objective, state, kinks.free, fall.direction, np.ones_like(units), size)
    if not (plain.curvature <= fall.curvature and seen(plain.e, plain.curvature)):
        return fall
    own = plain.skew <= 1e-3 * -plain.curvature
    return Fall(plain.e, plain.curvature, -plain.curvature if own else None)


class _Climbed(NamedTuple):
    """The lowest one-sided curvature met, along e of theta / units, and how far e is from an
    eigenvector of its side."""

    curvature: float
    e: np.ndarray
    skew: float


def _climbed(
    objective: Objective,
    state: Vector,
    basis: scipy.sparse.csr_matrix,
    e: Vector,
    units: Vector,
    size: float,
) -> _Climbed:
    """Power iteration e <- mu e - s grad L(theta + t s e) / t on the sphere of a basis. No gradient
    is taken at theta itself, which would be that of one side: of directions that are free it is
    zero on their own."""
    step, shift, best = 1e-6 * size, 0.0, _Climbed(np.inf, e, np.inf)
    for _ in range(CLIMBS):
        slope = units * np.asarray(objective.gradient(state + step * units * e))
        pulled = basis @ (basis.T @ slope) / step
        curvature = float(e @ pulled)
        if curvature < best.curvature:
            best = _Climbed(curvature, e, float(np.linalg.norm(pulled - curvature * e)))
        shift = max(shift, 2 * float(np.linalg.norm(pulled)))
        e = unit_vector(shift * e - pulled)
    return best


@in_float64
def lowers(objective: Objective, state: Vector, direction: Vector, fall: float, order: int) -> bool:
    """Whether the loss falls by at least half of fall * t^order at theta + t d, at the least t
    where a change is above rounding, of 1e-5 to 1e-2 of the state in natural units: what rises
    first falls beyond a ridge, if at all."""
    base = float(objective.loss(state))
    for t in _reach(objective, state, direction) * 10.0 ** np.arange(-5.0, -1.0):
        seen = base - float(objective.loss(state + t * direction))
        if abs(seen) > 1e-14 * max(base, objective.scales.loss):
            return seen > 0.5 * fall * t**order
    return False


# ------------------------------------------------------------------- what lies on a kink
class _Touched(NamedTuple):
    """The kinks that one unit's samples lie on. normals (K, U): of unit length. gamma (K,): jumps
    of the loss's slope. samples (K,). gradient (U,): of the side -normals. bent: whether phi's
    curvature jumps although its slope does not.
    meeting: whether several kinks meet at one sample. silent: u = 0 and v = 0. units (U,): of
    slopes along its own weights."""

    layer: int
    unit: int
    normals: np.ndarray
    gamma: np.ndarray
    samples: np.ndarray
    gradient: np.ndarray
    bent: bool
    meeting: bool
    silent: bool
    units: np.ndarray

    def live(self, tolerance: float) -> np.ndarray:
        """Which kinks (K,) the loss feels at first order."""
        return np.abs(self.gamma) * _lengths(self.units * self.normals) > tolerance

    def steepest(self, tolerance: float) -> Steepest:
        """Of d / units, in which slopes are held against the tolerance; its normals as those of
        d."""
        normals = self.units * self.normals
        sizes = _lengths(normals)
        found = steepest(
            self.units * self.gradient, normals / sizes[:, None], sizes * self.gamma, tolerance
        )
        return found._replace(normals=_of_length_one(found.normals / self.units))

    def steepest_in_plain(self, tolerance: float) -> Steepest:
        """Of d itself, without the kinks and slopes that are zero to the tolerance; its rest as one
        of d / units."""
        clear = np.abs(self.units * self.gradient) > tolerance
        live = np.where(self.live(tolerance), self.gamma, 0.0)
        found = steepest(np.where(clear, self.gradient, 0.0), self.normals, live, 0.0)
        return found._replace(rest=self.units * found.rest)


def _touched(
    objective: Objective, state: Vector, own: Vector, tolerance: float
) -> Iterator[_Touched]:
    """What every unit touches; own (P,): see `_units_of_slopes`."""
    layers = objective.network.layers
    inputs, pulls = _tangents(objective.function, jnp.asarray(state), objective.samples)
    params, units = objective.params(state), objective.params(objective.units)
    for index, layer in enumerate(layers):
        if layer.unit.smooth:
            continue
        sizes = own[_places(objective, index)]
        sides_at = functools.partial(_Sides.at, layer.unit, inputs[index])
        outgoing = np.asarray(objective.network.outgoing(params, index))
        pull = np.asarray(pulls[index])
        at_zero = None
        for i, (u, one) in enumerate(
            zip(np.asarray(params[index]["u"], float), units[index]["u"], strict=True)
        ):
            zero = not u.any()
            if zero and at_zero is None:
                at_zero = sides_at(u, one)
            sides = at_zero if zero and at_zero is not None else sides_at(u, one)
            silent = zero and not outgoing[i].any()
            found = sides.touched(
                index, i, pull[:, i].reshape(len(pull), -1), sizes[i], silent, tolerance
            )
            if found is not None:
                yield found


class _Sides(NamedTuple):
    """Slopes of phi on the two sides of a unit: minus (N, F, U), jump (N, F, U) across a random
    direction, bend (N, F, U) the jump of the curvature along it, on (N, F) and curved (N, F) where
    there are such jumps, meeting (N, F)."""

    minus: np.ndarray
    jump: np.ndarray
    direction: np.ndarray
    on: np.ndarray
    bend: np.ndarray
    curved: np.ndarray
    meeting: np.ndarray

    @staticmethod
    def at(unit: Unit, inputs: Array, u: np.ndarray, units: np.ndarray) -> _Sides:
        limits, rng = KinkTolerances.now(), np.random.default_rng(0)
        size = float(np.linalg.norm(u / units)) or 1.0
        first, second = (
            units * w / np.linalg.norm(w) * size for w in rng.standard_normal((2, *u.shape))
        )
        beside = lambda d, step: [
            units.ravel() * np.asarray(x) for x in _beside(unit, inputs, jnp.asarray(u), d, step)
        ]
        near, nearer, other = (
            beside(first, limits.near),
            beside(first, limits.near / CLOSER),
            beside(second, limits.near),
        )
        jumps, bends = ([_lengths(a[k + 1] - a[k]) for a in (near, nearer)] for k in (0, 2))
        steepest = max(
            float(np.abs(near[0]).max(initial=0.0)), float(np.abs(near[1]).max(initial=0.0))
        )
        on = _stays(jumps, steepest)
        # A kink farther away than the nearer point is not touched.
        passed = (jumps[0] > limits.bend * steepest) & ~on
        minus, plus, before, after = (
            _at_zero(a, b, passed) for a, b in zip(near, nearer, strict=True)
        )
        jump, bend, again = plus - minus, after - before, other[1] - other[0]
        curvature = max(
            float(np.abs(near[2]).max(initial=0.0)), float(np.abs(near[3]).max(initial=0.0))
        )
        curved = _stays(bends, curvature) & ~on
        gap = np.minimum(_lengths(jump - again), _lengths(jump + again))
        meeting = on & (gap > limits.bend * jumps[0])
        minus, jump, bend = (slopes / units.ravel() for slopes in (minus, jump, bend))
        return _Sides(minus, jump, first.ravel(), on, bend, curved, meeting)

    def touched(
        self,
        layer: int,
        unit: int,
        pull: np.ndarray,
        units: np.ndarray,
        silent: bool,
        tolerance: float,
    ) -> _Touched | None:
        """The kinks of one unit, given dL/dphi (N, F); None where no sample lies on one."""
        felt = np.abs(pull)[..., None] * np.abs(units * self.bend)
        bent = self.curved & (felt.max(axis=-1, initial=0.0) > tolerance)
        if not (self.on.any() or bent.any()):
            return None
        marks = np.argwhere(self.on | bent)
        jumps = np.where(self.on[..., None], self.jump, 0.0)[tuple(marks.T)]
        across = np.where(self.on[..., None], self.jump, self.bend)[tuple(marks.T)]
        normals = across / np.linalg.norm(across, axis=1, keepdims=True)
        normals *= np.where(normals @ self.direction < 0, -1.0, 1.0)[
            :, None
        ]  # the side plus is that of the direction
        gamma = pull[tuple(marks.T)] * np.sum(jumps * normals, axis=1)
        gradient = np.einsum("nf,nfu->u", pull, self.minus)
        return _Touched(
            layer,
            unit,
            normals,
            gamma,
            marks[:, 0],
            gradient,
            bool(bent.any()),
            bool(self.meeting.any()),
            silent,
            units,
        )


def _at_zero(near: np.ndarray, nearer: np.ndarray, passed: np.ndarray) -> np.ndarray:
    """The value on the kink itself, from this side: extrapolated, except where another kink lies
    between the two."""
    return np.where(passed[..., None], nearer, (CLOSER * nearer - near) / (CLOSER - 1))


def _stays(sizes: list[np.ndarray], largest: float) -> np.ndarray:
    """Where a difference between two sides does not shrink as they come together."""
    return (sizes[1] > 0.5 * sizes[0]) & (sizes[1] > KinkTolerances.now().rounding * largest)


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=-1)


@functools.partial(jax.jit, static_argnums=0)
def _beside(
    unit: Unit, inputs: Array, u: Array, direction: Array, step: float
) -> tuple[Array, ...]:
    """dphi/du (N, F, U) at u - step w and u + step w, and their derivatives along w."""

    def slope(weights: Array) -> Array:
        rows = jax.vmap(
            jax.jacfwd(lambda z, w: unit.phi(z, w).ravel(), argnums=1), in_axes=(0, None)
        )(inputs, weights)
        return rows.reshape(*rows.shape[:2], -1)

    minus, plus = u - step * direction, u + step * direction
    pairs = [jax.jvp(slope, (weights,), (direction,)) for weights in (minus, plus)]
    return pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]


@functools.partial(jax.jit, static_argnums=0)
def _tangents(
    function: MeanLoss, theta: Array, samples: Samples
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The inputs (N, ...) of every layer, and dL/dphi (N, H, ...) of every layer's features."""
    inputs, targets, constant = samples
    network, params = (
        function.reading,
        unflatten(function.network, theta, function.shape, function.outputs),
    )
    nothing = jax.vmap(lambda z: _features(network, params, z)[1])(inputs)

    def loss(shifts: tuple[Array, ...]) -> Array:
        outputs = jax.vmap(lambda z, s: _shifted(network, params, z, s)[0])(inputs, shifts)
        return jnp.mean(jax.vmap(function.loss.function)(targets, outputs)) + constant

    pulls = jax.grad(loss)(tuple(jnp.zeros_like(f) for f in nothing))
    return jax.vmap(lambda z: _features(network, params, z)[0])(inputs), pulls


def _features(
    network: Network, params: Params, z: Array
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The input and the features (H, ...) of every layer, for one sample."""
    _, inputs, features = _shifted(network, params, z, (0.0,) * len(network.layers))
    return inputs, features


def _shifted(
    network: Network, params: Params, z: Array, shifts: tuple
) -> tuple[Array, tuple, tuple]:
    """f(z) with the features of every layer shifted, as `Network.apply` has it; the layers' inputs
    and features."""
    inputs, features = [], []
    for layer, p, shift in zip(network.layers, params, shifts, strict=True):
        inputs.append(z)
        phi = layer.unit.features(z, p["u"]) + shift
        features.append(phi)
        mixed = mix(phi, p["v"], layer.unit.mixed) if layer.mixes else phi
        z = z + mixed if layer.residual else mixed
    if network.readout:
        z = z @ params[-1]["readout"]
    return z[-1] if network.reads == "last" else z, tuple(inputs), tuple(features)


# ---------------------------------------------------------------- kinks that the layers below cross
def crossed_from_below(objective: Objective, state: Vector) -> list[Place]:
    """Kinks whose slope d phi/dz takes several values however little the weights are moved.

    Not where z stays what it is, as that of a sample which no unit below is active on; nor where u
    = 0, so that d phi/dz is as small as the weights were moved by. Cost: some 100 passes over the
    samples.
    """
    layers = _kinked_above(objective.network)
    if not layers or not objective.size:
        return []
    moves = _moves(objective, state)
    far, near = (_spans(objective, state, step * moves) for step in (1.0, 1.0 / CLOSER))
    on = [
        _stays([wide, narrow], largest)
        for (wide, largest), (narrow, _) in zip(far, near, strict=True)
    ]
    pairs = zip(layers, on, strict=True)
    return [
        Place(k, int(unit), int(sample))
        for k, marks in pairs
        for sample, unit in np.argwhere(marks)
    ]


def _kinked_above(network: Network) -> list[int]:
    """The layers with kinks that other layers lie below."""
    return [k for k, layer in enumerate(network.layers) if k and not layer.unit.smooth]


def _moves(objective: Objective, state: Vector) -> np.ndarray:
    """Random moves of all weights (2 K, P), in pairs forth and back, as far as what is near, in
    natural units."""
    units, size = _natural(objective, state)
    draws = np.random.default_rng(0).standard_normal((PROBES, objective.size))
    draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    pairs = np.stack([draws, -draws], axis=1).reshape(-1, objective.size)
    return KinkTolerances.now().near * size * units * pairs


def _spans(
    objective: Objective, state: Vector, moves: np.ndarray
) -> list[tuple[np.ndarray, float]]:
    """For every layer with kinks above another, between which values d phi/dz varies over the moves
    (N, H), and the largest."""
    slopes = lambda move: [
        np.asarray(x) for x in _in_inputs(objective.function, state + move, objective.samples[0])
    ]
    first = slopes(moves[0])
    lowest, highest = ([x.copy() for x in first] for _ in range(2))
    for move in moves[1:]:
        for low, high, new in zip(lowest, highest, slopes(move), strict=True):
            np.minimum(low, new, out=low)
            np.maximum(high, new, out=high)
    return [
        (_widest(high - low), _largest(low, high))
        for low, high in zip(lowest, highest, strict=True)
    ]


def _widest(span: np.ndarray) -> np.ndarray:
    """The largest of every unit's features, (N, H)."""
    return span.reshape(*span.shape[:2], -1).max(axis=-1, initial=0.0)


def _largest(*values: np.ndarray) -> float:
    return max(float(np.abs(one).max(initial=0.0)) for one in values)


@functools.partial(jax.jit, static_argnums=0)
def _in_inputs(function: MeanLoss, theta: Array, inputs: Array) -> tuple[Array, ...]:
    """d phi/dz (N, H, ...) of every layer with kinks above another, along one random direction of
    its inputs."""
    network, params = (
        function.reading,
        unflatten(function.network, theta, function.shape, function.outputs),
    )

    def along(k: int, z: Array) -> Array:
        features = lambda z: network.layers[k].unit.features(z, params[k]["u"])
        return jax.jvp(features, (z,), (_direction(z.shape),))[1]

    def slopes(x: Array) -> tuple[Array, ...]:
        reads, _ = _features(network, params, x)
        return tuple(along(k, reads[k]) for k in _kinked_above(network))

    return jax.vmap(slopes)(inputs)


def _direction(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


def _jumps(objective: Objective, state: Vector, below: list[Place], units: Vector) -> np.ndarray:
    """Jumps of the slopes of these units' phi in all weights, which are normal to their kinks: as
    many random sums of them (M, P) as span those of any one block of weights. None where kinks are
    crossed at higher order only. units (P,): in which they are told from rounding."""
    function, inputs = objective.function, objective.samples[0]
    features = jax.eval_shape(lambda t: _all_features(function, t, inputs), jnp.asarray(state))
    marks = [np.zeros(f.shape[:2], bool) for f in features]
    for place in below:
        marks[place.layer][place.sample, place.unit] = True
    rng, forth = np.random.default_rng(2), _moves(objective, state)[::2]

    def jump(k: int) -> tuple[np.ndarray, float]:
        draws = [rng.standard_normal(f.shape) for f in features]
        weights = tuple(
            w * m.reshape(*m.shape, *[1] * (w.ndim - 2)) for w, m in zip(draws, marks, strict=True)
        )
        slope = lambda theta: units * np.asarray(_weighted(function, theta, weights, inputs))
        sides = [_beside_state(slope, state, side * forth[k % len(forth)]) for side in (1.0, -1.0)]
        return sides[0] - sides[1], float(np.abs(sides).max())

    some = [jump(k) for k in range(FEW)]
    floor = KinkTolerances.now().rounding * max(size for _, size in some)
    if max(float(np.abs(row).max()) for row, _ in some) <= floor:
        return np.zeros((0, objective.size))
    most = min(
        2 * sum(int(m.sum()) for m in marks),
        max(len(places) for places in _sides_of_units(objective)),
    )
    rows = np.array([row for row, _ in some] + [jump(k)[0] for k in range(FEW, most + FEW)])
    return np.where(np.abs(rows) > floor, rows, 0.0) / units


def _all_features(function: MeanLoss, theta: Array, inputs: Array) -> tuple[Array, ...]:
    params = unflatten(function.network, theta, function.shape, function.outputs)
    return jax.vmap(lambda x: _features(function.reading, params, x)[1])(inputs)


@functools.partial(jax.jit, static_argnums=0)
def _weighted(function: MeanLoss, theta: Array, weights: tuple[Array, ...], inputs: Array) -> Array:
    """The gradient of sum_n w_n . phi_n over all layers."""
    total = lambda t: sum(
        jnp.sum(w * f) for w, f in zip(weights, _all_features(function, t, inputs), strict=True)
    )
    return jax.grad(total)(theta)


def _beside_state(
    slope: Callable[[np.ndarray], np.ndarray], state: Vector, move: Vector
) -> np.ndarray:
    """A slope on the side of the state that a small move leads to, extrapolated to the state
    itself."""
    return (CLOSER * slope(state + move / CLOSER) - slope(state + move)) / (CLOSER - 1)


def _against(rest: np.ndarray) -> np.ndarray:
    """The direction -rest, without minus zeros."""
    return 0.0 - unit_vector(rest)


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    """Those rows that are not zero, at unit length."""
    sizes = _lengths(rows)
    return rows[sizes > 0] / sizes[sizes > 0, None]


class Probed(NamedTuple):
    """First order along random directions. bends: whether they see several gradients, so that L' is
    not linear. slope: L' along the direction (P,), of unit length, of the steepest descent found,
    in the units of slopes; zero where none falls. residual: its size in these units."""

    bends: bool
    slope: float
    residual: float
    direction: np.ndarray | None


@in_float64
def probe(objective: Objective, state: Vector, units: Vector, tolerance: float) -> Probed:
    """L'(theta; d) = g(d).d along random d, g(d) the gradient beside the state, and descended from
    the steepest of them.

    units (P,): of slopes, which are held against the tolerance as (s g).e of e = (d / s) / |d / s|.
    What falls by no more than rounding and curvature make over its steps is for the caller to look
    at; where nothing falls, nothing is proven.
    Cost: 100 gradients, and 400 more where L' is not linear.
    """
    state = np.asarray(state, float)
    slope_at = lambda theta: units * np.asarray(objective.gradient(theta))
    moves = _moves(objective, state)
    size = float(_lengths(moves / units).max())
    beside = lambda e: _beside_state(slope_at, state, size * units * e)
    starts = np.array([unit_vector(move / units) for move in moves])
    gradients = np.array([beside(e) for e in starts])
    if _lengths(gradients - slope_at(state)).max() <= tolerance:
        return Probed(False, 0.0, 0.0, None)
    best = (-KinkTolerances.now().sure * tolerance, np.zeros(objective.size))
    for k in np.argsort(np.sum(starts * gradients, axis=1))[:DESCENTS]:
        e, g = starts[k], gradients[k]
        for count in range(STEPS):
            best = min(best, (float(g @ e), e), key=lambda pair: pair[0])
            e = unit_vector(e - 2.0 / (count + 1) * unit_vector(g))
            g = beside(e)
    slope, e = best
    if not e.any():
        return Probed(True, 0.0, 0.0, None)
    length = float(np.linalg.norm(units * e))
    return Probed(True, slope / length, -slope, units * e / length)


# ------------------------------------------------------------------- first order, one unit
class Steepest(NamedTuple):
    """rest (U,): minus the steepest descent, its length the slope. proven: whether all subsets were
    tried. normals (K, U) and sides (K,): of the kinks, those along one hyperplane as one, on which
    side leaving is free at first order (1 or -1, 2 for both, 0 for neither); None where that is not
    known."""

    rest: np.ndarray
    proven: bool
    normals: np.ndarray
    sides: np.ndarray | None

    @property
    def strict(self) -> bool:
        """Whether leaving any kink costs first order."""
        return self.sides is not None and not self.sides.any()

    @property
    def held(self) -> np.ndarray:
        """The normals of the kinks that cost first order on both sides."""
        return self.normals[:0] if self.sides is None else self.normals[self.sides == 0]


def steepest(
    gradient: np.ndarray, normals: np.ndarray, gamma: np.ndarray, tolerance: float
) -> Steepest:
    """The steepest descent of d -> g.d + sum_k gamma_k max(a_k.d, 0), of either sign of gamma_k.

    gradient (U,), normals (K, U) of length one, gamma (K,). Its slope is -|rest|; it is zero,
    within the tolerance, where there is no descent, which is `proven` where all subsets of the
    kinks that bend downwards were tried (at most 2^10).
    """
    gradient, normals, gamma = _merged(gradient, normals, gamma)
    gamma = np.where(np.abs(gamma) > tolerance, gamma, 0.0)
    up, down = normals[gamma > 0], normals[gamma < 0]
    heights, depths = gamma[gamma > 0], gamma[gamma < 0]
    worst = _nearest_point(gradient, up, heights)
    for subset in _subsets(down):
        rest = _descended(gradient, up, heights, down, depths, subset)
        if np.linalg.norm(rest) > np.linalg.norm(worst):
            worst = rest
    if np.linalg.norm(worst) > tolerance:
        return Steepest(worst, True, normals, None)
    known = not len(down) and len(up) <= MANY
    return Steepest(
        worst,
        len(down) <= SUBSETS,
        normals,
        _free_sides(gradient, normals, gamma) if known else None,
    )


def _free_sides(gradient: np.ndarray, normals: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """On which sides of each kink the function is zero for some d, where it is convex and nowhere
    negative.

    By strict complementarity (Goldman and Tucker 1956): multipliers in the relative interior of all
    that balance g stand at 0 where the side minus is free, at gamma_k where the side plus is, and
    between them where neither is.
    """
    up = gamma > 0
    sides = np.full(len(gamma), 2)
    shares = _inner_shares(gradient, normals[up], gamma[up])
    limits = KinkTolerances.now()
    sides[up] = 0
    sides[np.flatnonzero(up)[shares < limits.interior]] = -1
    sides[np.flatnonzero(up)[shares > 1 - limits.interior]] = 1
    held = normals[sides == 0]
    if len(held):  # what the kinks that cost first order pin, no other kink can leave
        outside = normals @ _row_space(held)[1]
        sides[_lengths(outside) < limits.parallel] = 0
    return sides


def _inner_shares(gradient: np.ndarray, normals: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """lambda / gamma in the relative interior of {0 <= lambda <= gamma, g + A' lambda = 0}: the
    mean of its extreme points along every coordinate."""
    count, size = len(heights), float(np.max(heights, initial=1e-300))
    if not count:
        return np.zeros(0)
    balance = normals.T * (heights / size)
    slack = 1e-10  # of the largest jump: the balance holds to rounding only
    rows, limits = (
        np.vstack([balance, -balance]),
        np.concatenate([-gradient, gradient]) / size + slack,
    )
    found = []
    for cost in (*np.eye(count), *-np.eye(count)):
        solved = linprog(cost, A_ub=rows, b_ub=limits, bounds=(0, 1), options=EXACTLY)
        if solved.status != 0:
            return np.zeros(count)  # nothing is known to be held
        found.append(solved.x)
    return np.mean(found, axis=0)


def _subsets(down: np.ndarray) -> Iterator[np.ndarray]:
    """All subsets of the kinks that bend downwards, as zeros and ones; of more than ten, those that
    random directions take."""
    count, width = down.shape
    if count <= SUBSETS:
        yield from (np.array(chosen, float) for chosen in product((0, 1), repeat=count))
        return
    draws = np.random.default_rng(0).standard_normal((DRAWS, width))
    sides = np.vstack([draws, down, -down]) @ down.T > 0
    yield from np.unique(sides, axis=0).astype(float)


def _descended(
    gradient: np.ndarray,
    up: np.ndarray,
    heights: np.ndarray,
    down: np.ndarray,
    depths: np.ndarray,
    chosen: np.ndarray,
) -> np.ndarray:
    """The nearest point of a subset, and then again of the subset that its own direction takes,
    which is never nearer."""
    rest = _nearest_point(gradient + (depths * chosen) @ down, up, heights)
    for _ in range(ROUNDS):
        taken = (down @ -rest > 0).astype(float)
        again = _nearest_point(gradient + (depths * taken) @ down, up, heights)
        if not np.linalg.norm(again) > np.linalg.norm(rest) * (1 + 1e-12):
            break
        rest = again
    return rest


def _merged(
    gradient: np.ndarray, normals: np.ndarray, gamma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinks along one hyperplane as one: max(-x, 0) = max(x, 0) - x."""
    kept: list[np.ndarray] = []
    sizes: list[float] = []
    gradient = gradient.copy()
    for normal, size in zip(normals, gamma, strict=True):
        cosines = np.array(kept) @ normal if kept else np.zeros(0)
        same = np.flatnonzero(np.abs(cosines) > 1 - KinkTolerances.now().parallel ** 2)
        if not len(same):
            kept.append(normal)
            sizes.append(float(size))
            continue
        k = int(same[0])
        sizes[k] += float(size)
        if cosines[k] < 0:
            gradient += size * normal
    return gradient, np.array(kept).reshape(-1, len(gradient)), np.array(sizes)


def _nearest_point(gradient: np.ndarray, normals: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The shortest g + sum_k lambda_k a_k with 0 <= lambda_k <= gamma_k."""
    if not len(normals):
        return gradient
    most = 20 * len(normals) + 100
    found = lsq_linear(
        normals.T * heights, -gradient, bounds=(0.0, 1.0), method="bvls", tol=1e-15, max_iter=most
    )
    return gradient + normals.T @ (heights * found.x)
