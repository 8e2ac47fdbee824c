"""Where a state stands on kinks: one record, from what its units touch and from what
the layers below cross."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse

from ...basis.precision import in_float64
from ...networks import Objective
from ...solvers.spectra import orthonormal, unit_vector
from .base import Vector, of_length_one, places, row_space, sides_of_units
from .layers import Probed, crossed_from_below, directional, jumps_below, probe
from .records import Crossing, Kink, Kinks, Place
from .slopes import Steepest
from .touched import Touched, touched_by


@in_float64
def kinks_at(objective: Objective, state: Vector, tolerance: float) -> Kinks | None:
    """The kinks that a state (P,) lies on, and the one-sided slopes there; None
    where it lies on none.

    tolerance: slopes below it are zero, as gradients are measured
    (`Objective.gradient_units`). Kinks within 1e-9 of |u|, in natural
    units, count as touched.
    Cost: six Jacobians of phi a unit, samples times numbers in u; one bounded
    least-squares problem for each subset of a unit's kinks that bend downwards, at most
    2^10; in networks of several layers some 100 passes over the samples, and, where
    layers below cross kinks, some 300 gradients.

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
    touched = list(touched_by(objective, state, units, tolerance))
    below = crossed_from_below(objective, state)
    if not touched and not below:
        return None
    assembly = Assembly(
        objective,
        state,
        units=units,
        tolerance=tolerance,
        touched=touched,
        below=below,
    )
    return assembly.kinks()


def _units_of_slopes(objective: Objective, state: Vector) -> Vector:
    """s (P,), so that |s g| is held against a tolerance; a slope g.d along d is one of
    (s g).e, e = (d / s) / |d / s|."""
    units, factor = objective.gradient_units(state)
    return factor * units


class Block(NamedTuple):
    """Numbers of some weights alone. places (k,): of these in the flat vector. rows: of
    normals (n, k), or of columns (k, n) of a basis."""

    places: np.ndarray
    rows: np.ndarray


class First(NamedTuple):
    """The steepest that was found at first order, and whether the loss falls along it."""

    slope: float
    residual: float
    direction: Vector | None
    falls: bool


class Assembly:
    """One record for a state, from what its units touch."""

    def __init__(
        self,
        objective: Objective,
        state: Vector,
        *,
        units: Vector,
        tolerance: float,
        touched: list[Touched],
        below: list[Place],
    ) -> None:
        self.objective, self.state = objective, state
        self.units, self.tolerance = units, tolerance
        self.touched, self.below = touched, below
        layers = range(len(objective.network.layers))
        self.single = len(layers) == 1
        self.places = [places(objective, index) for index in layers]
        self.found = [one.steepest(tolerance) for one in touched]

    def kinks(self) -> Kinks:
        live = tuple(self._live())
        held = [self._held(*pair) for pair in self._pairs()]
        pinned = [self._pinned(*pair) for pair in self._pairs()]
        first, probed = self._of_own_weights(), None
        if not self.single and (live or self.below):
            probed = self._probed()
            first = _steeper(first, probed)
        return Kinks(
            live=live,
            slope=first.slope if first.falls else 0.0,
            residual=first.residual,
            direction=first.direction,
            decided=first.falls or self._proven(live, probed),
            smooth=self._smooth(),
            free=self._basis(self._owned(held)),
            within=self._basis(self._owned(pinned)),
            silent=self._columns(self._of_silent()),
            crossings=tuple(self._crossings()),
            unknown=sum(not self._covered(*pair) for pair in self._pairs()),
            below=tuple(self.below),
        )

    def _pairs(self) -> Iterator[tuple[Touched, Steepest]]:
        return zip(self.touched, self.found, strict=True)

    # ---------------------------------------------------------------- first order
    def _live(self) -> Iterator[Kink]:
        """The kinks that the loss feels at first order."""
        for one in self.touched:
            for k in np.flatnonzero(one.live(self.tolerance)):
                normal = _upright(one.normals[k])
                yield Kink(
                    layer=one.layer,
                    unit=one.unit,
                    sample=int(one.samples[k]),
                    forth=one.slope(1.0 * normal),
                    back=one.slope(-1.0 * normal),
                )

    def _of_own_weights(self) -> First:
        """The steepest descent across kinks that units cross by their own weights."""
        rest = self._rest(self.found)
        residual = float(np.linalg.norm(self.units * rest))
        beyond_zero = residual > self.tolerance
        slope, direction = self._steepest(rest, also_plain=beyond_zero)
        falls = False
        if direction is not None and beyond_zero:
            falls = self._really_falls(direction, slope)
        return First(slope, residual, direction, falls)

    def _rest(self, found: list[Steepest]) -> Vector:
        """The gradient r, and on the kinks of units the r that were found in their
        subdifferentials; L falls along -s^2 r."""
        rest = np.array(self.objective.gradient(self.state), float)
        for one, part in zip(self.touched, found, strict=True):
            rest[self._own(one)] = part.rest / one.units
        return rest

    def _steepest(
        self,
        rest: Vector,
        *,
        also_plain: bool,
    ) -> tuple[float, Vector | None]:
        """L' and the direction of steepest descent in natural units, or, where that is
        steeper, of that in plain weights."""
        if not rest.any():
            return 0.0, None
        own = self.units**2 * rest
        slope = -float(rest @ own) / float(np.linalg.norm(own))
        if not also_plain or np.all(self.units == self.units[:1]):
            return slope, _against(own)
        in_plain = [one.steepest_in_plain(self.tolerance) for one in self.touched]
        plain = self._rest(in_plain)
        # What is zero to the tolerance is no direction.
        plain = np.where(np.abs(self.units * plain) > self.tolerance, plain, 0.0)
        slope_in_plain = -float(np.linalg.norm(plain))
        if slope_in_plain < slope:
            return slope_in_plain, _against(plain)
        return slope, _against(own)

    def _really_falls(self, direction: Vector, slope: float) -> bool:
        """Whether the loss falls along it as it should: proven for one layer, looked at
        in deeper networks, at three distances. What third order makes over a distance
        is a quarter at half of it; a slope is the same."""
        if self.single:
            return True

        def slope_over(step: float) -> float:
            return directional(self.objective, self.state, direction, step)

        far, near, half = slope_over(1e-7), slope_over(1e-9), slope_over(5e-10)
        return max(far, near, half) < 0.5 * slope and half < 0.5 * near

    def _probed(self) -> Probed:
        found = probe(self.objective, self.state, self.units, self.tolerance)
        if found.direction is None or self._really_falls(found.direction, found.slope):
            return found
        return Probed(found.bends, slope=0.0, residual=0.0, direction=None)

    def _proven(self, live: tuple[Kink, ...], probed: Probed | None) -> bool:
        """Whether the absence of first-order descent is proven, to the tolerance: of
        several layers where L' is linear."""
        if not self.single:
            return probed is None or not (live or probed.bends)
        felt = [pair for pair in self._pairs() if pair[0].live(self.tolerance).any()]
        return all(found.proven and not one.meeting for one, found in felt)

    # ---------------------------------------------------------------- what is known of a unit
    def _silent(self, one: Touched) -> bool:
        """Whether the utility of silent units decides."""
        unit = self.objective.network.layers[one.layer].unit
        return one.silent and unit.symmetry.degree is not None

    def _known(self, one: Touched, found: Steepest) -> bool:
        """Whether the sides on which leaving the unit's kinks is free are known."""
        return self.single and not one.meeting and found.sides is not None

    def _covered(self, one: Touched, found: Steepest) -> bool:
        return self._known(one, found) or self._silent(one)

    def _held(self, one: Touched, found: Steepest) -> np.ndarray:
        """The normals of the unit's kinks that are known to cost
        first order on both sides."""
        if self._known(one, found):
            return found.held
        return found.normals[:0]

    def _pinned(self, one: Touched, found: Steepest) -> np.ndarray:
        """The same, and of a silent unit those of all its kinks."""
        if self._silent(one):
            return one.normals
        return self._held(one, found)

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

    # ---------------------------------------------------------------- directions
    def _smooth(self) -> scipy.sparse.csr_matrix:
        """The directions that cross no kink, unit by unit and, where layers below cross
        some, side by side of these."""
        owned = self._owned([one.normals for one in self.touched])
        if not self.below:
            return self._basis(owned)
        jumps = jumps_below(self.objective, self.state, self.below, self.units)
        if not len(jumps):
            return self._basis(owned)
        normals = {block.places[0]: block.rows for block in owned}
        blocks = []
        for side in sides_of_units(self.objective):
            across = of_length_one(jumps[:, side])
            own = normals.get(side[0], across[:0])
            blocks.append(Block(side, np.vstack([across, own])))
        return self._basis(blocks)

    def _of_silent(self) -> list[Block]:
        """The directions across the kinks of silent units."""
        blocks = []
        for one in self.touched:
            if self._silent(one):
                blocks.append(Block(self._own(one), _seen(one.normals, one.units)))
        return blocks

    def _owned(self, normals: list[np.ndarray]) -> list[Block]:
        """A set of normals for each touched unit, with the places of its weights."""
        pairs = zip(self.touched, normals, strict=True)
        return [Block(self._own(one), rows) for one, rows in pairs]

    def _own(self, one: Touched) -> np.ndarray:
        """Where the weights u of a unit lie in the flat vector."""
        return self.places[one.layer][one.unit]

    def _basis(self, normals: list[Block]) -> scipy.sparse.csr_matrix:
        """The directions that these normals, a set for each block of weights, do not
        see: an orthonormal basis (P, m)."""
        alone = np.ones(self.objective.size, bool)
        blocks = []
        for own, rows in normals:
            if len(rows):
                alone[own] = False
                blocks.append(Block(own, _unseen(rows, self.units[own])))
        ones = [Block(np.array([k]), np.ones((1, 1))) for k in np.flatnonzero(alone)]
        return self._columns([*ones, *blocks])

    def _columns(self, blocks: list[Block]) -> scipy.sparse.csr_matrix:
        """Columns (P, k) that hold each block (places, k) at its places."""
        width = sum(block.rows.shape[1] for block in blocks)
        found = scipy.sparse.lil_matrix((self.objective.size, width))
        count = 0
        for own, columns in blocks:
            found[own, count : count + columns.shape[1]] = columns
            count += columns.shape[1]
        return found.tocsr()  # pyright: ignore (a matrix of a matrix, whatever the stubs say)


def _steeper(own: First, probed: Probed) -> First:
    """Of the units' own weights, or what random directions found where that is more."""
    known = own.residual if own.falls else 0.0
    if not probed.residual > known:
        return own
    return First(probed.slope, probed.residual, probed.direction, falls=True)


def _upright(normal: np.ndarray) -> np.ndarray:
    """The same normal, or its opposite, whose largest entry is positive."""
    return normal * np.sign(normal[np.argmax(np.abs(normal))])


def _against(rest: np.ndarray) -> np.ndarray:
    """The direction -rest, without minus zeros."""
    return 0.0 - unit_vector(rest)


def _unseen(normals: np.ndarray, units: np.ndarray) -> np.ndarray:
    """An orthonormal basis (U, m) of what is orthogonal to all rows; which these are is
    told in the units of the weights."""
    outside = row_space(of_length_one(normals * units))[1]
    return orthonormal(units[:, None] * outside)


def _seen(normals: np.ndarray, units: np.ndarray) -> np.ndarray:
    """An orthonormal basis (U, k) of the span of all rows, told likewise."""
    inside = row_space(of_length_one(normals * units))[0]
    return orthonormal(inside / units[:, None])
