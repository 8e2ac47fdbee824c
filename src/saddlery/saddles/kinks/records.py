"""Where a state stands on kinks, as a record, and matrices and spectra on the
directions that cross none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse

from ...basis.sizes import TINY
from ...solvers import Spectrum
from ...solvers.spectra import orthonormal
from .base import Vector


class Kink(NamedTuple):
    """One kink of a live unit, and the slopes of the loss along its unit normal.

    layer, unit, sample: which lies on the kink of which.
    forth, back: the slopes.

    Example
    -------
    The loss rises on one side of it and falls on the other: this is no fixed point.

    >>> Kink(layer=0, unit=3, sample=7, forth=0.5, back=-0.25).words
    'sample 7 on unit 3 (slopes 0.5 forth, -0.25 back)'
    """

    layer: int
    unit: int
    sample: int
    forth: float
    back: float

    @property
    def words(self) -> str:
        slopes = f"slopes {self.forth:.3g} forth, {self.back:.3g} back"
        return f"sample {self.sample} on unit {self.unit} ({slopes})"


class Crossing(NamedTuple):
    """A kink that can be left at no cost of first order.

    normal (P,): of unit length.
    side: 1 or -1, 2 for both.
    """

    normal: np.ndarray
    side: int


class Place(NamedTuple):
    """A sample on the kink of a unit."""

    layer: int
    unit: int
    sample: int

    @property
    def words(self) -> str:
        return f"sample {self.sample} on unit {self.unit} of layer {self.layer}"


@dataclass(frozen=True, eq=False)
class Kinks:
    """Where a state stands on kinks.

    live: kinks of units that the loss feels at first order.
    slope: L'(theta; direction) along a direction (P,) of unit length in plain weights,
        the steepest that was found; zero where there is no first-order descent, and the
        direction None where nothing is left.
    residual: the steepest slope, or what is left of the gradient, as the sizes of
        gradients are measured (`Objective.gradient_units`).
    decided: whether first order is, so that slope 0 proves B-stationarity.
    smooth (P, m): orthonormal basis of the directions that cross no kink, sparse.
    free (P, m'): of all directions, but those across kinks that cost first order on both
        sides.
    within (P, m''): of `free`, those across no kink of a silent unit.
    silent (P, k): those across kinks of silent units.
    crossings: kinks that can be left at no cost of first order.
    unknown: how many units stand on kinks of which that is not known.
    below: kinks that weights of the layers below cross, of first or of higher order; no
        derivative that passes through one of them is evidence.
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
        return int(self.smooth.shape[1])  # pyright: ignore (the stubs know no shape)

    @property
    def covered(self) -> bool:
        """Whether the Hessian on `smooth` and the utility of silent units are all of
        second order: whether leaving any kink of another unit costs first order."""
        return not self.crossings and not self.unknown and not self.below

    def scaled(self, units: Vector) -> Kinks:
        """The same directions for weights measured in units of their own (P,),
        theta / units: the bases orthonormal there."""
        if np.all(units == units[:1]):
            return self
        return replace(
            self,
            smooth=_orthonormal(self.smooth, units),
            free=_orthonormal(self.free, units),
            within=_orthonormal(self.within, units),
            silent=_orthonormal(self.silent, units),
        )

    def words(self) -> str:
        """The live kinks with their one-sided slopes, and those that layers below
        cross; empty where there are none."""
        said = []
        if self.live:
            said.append(_first_few([kink.words for kink in self.live]))
        if self.below:
            crossed = _first_few([place.words for place in self.below])
            said.append(f"{crossed}, where layers below cross it")
        return "; ".join(said)


def _first_few(words: list[str]) -> str:
    few = ", ".join(words[:3])
    if len(words) <= 3:
        return few
    return f"{few} and {len(words) - 3} more"


def _orthonormal(
    basis: scipy.sparse.csr_matrix,
    units: Vector,
) -> scipy.sparse.csr_matrix:
    """An orthonormal basis of the same directions d as d / units."""
    moved = basis.toarray() / units[:, None]
    return scipy.sparse.csr_matrix(orthonormal(moved))


# ------------------------------------------------------------------- on smooth directions
def restricted(matrix: np.ndarray, kinks: Kinks | None) -> np.ndarray:
    """A Hessian (P, P) on the directions that cross no kink, (m, m); itself
    where there are no kinks.

    Example
    -------
    A rectified unit whose second sample lies on its kink: one direction of three
    crosses it.

    >>> from saddlery.networks import Data, Layer, Network, hessian, objective
    >>> from saddlery.saddles.kinks import kinks_at
    >>> from saddlery.units import make
    >>> data = Data((2,), 1, np.eye(2), np.array([[1.0], [0.5]]))
    >>> subject = objective(Network((Layer(make("relu"), 1),)), data)
    >>> state = np.array([1.0, 0.0, 1.0])
    >>> found = kinks_at(subject, state, 1e-12)
    >>> restricted(hessian(subject, state), found).shape
    (2, 2)
    """
    if kinks is None:
        return matrix
    return kinks.smooth.T @ (kinks.smooth.T @ matrix).T


def padded(matrix: np.ndarray, kinks: Kinks | None) -> np.ndarray:
    """A Hessian (P, P) on the directions that cross no kink, zero across those of
    silent units, and as stiff as its largest entry across all others."""
    if kinks is None:
        return matrix
    basis = kinks.smooth.toarray()
    stiff = max(float(np.abs(matrix).max()), TINY)
    covered = np.linalg.qr(np.hstack([basis, kinks.silent.toarray()]))[0]
    others = np.eye(len(matrix)) - covered @ covered.T
    return basis @ restricted(matrix, kinks) @ basis.T + stiff * others


def spread(rows: np.ndarray, kinks: Kinks | None) -> np.ndarray:
    """Directions (K, m) among those that cross no kink as directions
    (K, P) of all weights."""
    if kinks is None:
        return rows
    return (kinks.smooth @ rows.T).T


def lifted(spectrum: Spectrum, kinks: Kinks | None) -> Spectrum:
    """The spectrum on the directions that cross no kink, its vectors as ones of all
    weights (P,)."""
    if kinks is None:
        return spectrum
    lowest = kinks.smooth @ spectrum.lowest_vector
    if spectrum.kernel is None:
        return replace(spectrum, lowest_vector=lowest)
    kernel = kinks.smooth @ spectrum.kernel
    return replace(spectrum, lowest_vector=lowest, kernel=kernel)


def with_silent(kinks: Kinks | None, kernel: np.ndarray) -> np.ndarray:
    """The kernel (P, k) of a Hessian on smooth directions, with what belongs to
    silent units across their kinks: where their utility is zero the loss is flat to
    second order there as well."""
    if kinks is None:
        return kernel
    return np.hstack([kernel, kinks.silent.toarray()])
