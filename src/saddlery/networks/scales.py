"""The natural sizes of a task: how large weights, gradients and curvatures are
where the map has moved by what it must learn.

Everything that is called zero is called so against one of them, so that a verdict
depends neither on the start of a run nor on the units in which targets are
measured. Inputs ten thousand times larger make incoming weights as many times
smaller and their curvature 10^8 times larger than that of outgoing ones: signs
are judged in natural units of each kind of weight (`natural_units`), where all
curvatures are comparable; eigenvalues and rates are those of the weights as they
are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..units import Unit
from .network import Layer, Network, Params

# Natural units within this ratio are taken as one: no sign is lost to rounding by it.
EVEN = 10.0
# Columns of inputs whose sizes lie within this ratio are measured by one size: that
# loses no sign either.
ALIKE = 100.0
# A unit that adds less than this share to the map keeps its natural units: one side of
# it is as good as zero.
SEEN = 1e-8
# The factor of the weights is sought among the powers of two from 2^-512 to 2^512: at
# either end the square of a weight is still a number, and `Data` admits no others.
HALVINGS = 512
# So many random directions are tried: ReLU units that no sample turns on have no map
# along the first.
DIRECTIONS = 8


@dataclass(frozen=True)
class Scales:
    """Norms at random weights that move the map as far as the targets are from
    the map of zero weights.

    weights: |theta|.
    gradient: |dL/dtheta|.
    curvature: gradient / weights.
    loss: at zero weights, less what no map can remove as far as second moments tell
        (see `Objective.irreducible`).
    """

    weights: float
    gradient: float
    curvature: float
    loss: float


def natural_scales(
    predictions: Callable[[np.ndarray], Any],
    gradient: Callable[[np.ndarray], Any],
    size: int,
    target: float,
    loss: float,
) -> Scales:
    """The natural scales of a task, from one random direction theta_0 of the
    weights (seed 0, or the next that moves the map at all): those at theta = 2^k
    theta_0 with the k nearest to zero at which

        sqrt(mean |f(theta) - f(0)|^2) >= target,

    and at k - 1 not yet; k = 0 where nothing is to be learned, or nothing moves.

    predictions: theta (P,) -> f of every sample (N, ...).
    gradient: theta (P,) -> dL/dtheta (P,).
    size: P.
    target: sqrt(mean |y - f(0)|^2).
    loss: at zero weights, less what no map can remove; kept as it is.

    Cost: |k| + 3 passes over the samples and one gradient.

    Example
    -------
    Of f = theta_1, to be moved by 3, with L = 1/2 (3 - f)^2. The random direction
    begins with 0.126, and 2^5 is the first power of two that takes it beyond 3:

    >>> import numpy as np
    >>> from saddlery.networks.scales import natural_scales
    >>> first = lambda theta: theta[:1]
    >>> slope = lambda theta: np.array([theta[0] - 3, 0.0])
    >>> scales = natural_scales(first, slope, size=2, target=3.0, loss=4.5)
    >>> theta = 32 * np.random.default_rng(0).standard_normal(2)
    >>> bool(scales.weights == np.linalg.norm(theta))
    True
    """
    origin = np.asarray(predictions(np.zeros(size)))

    def moved(theta: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # far too large weights
            return _rms(np.asarray(predictions(theta)) - origin)

    theta = np.random.default_rng(0).standard_normal(size)
    if target > 0 and size > 0:
        direction = _direction(moved, theta)
        theta = _factor(lambda c: moved(c * direction), target) * direction
    weights = float(np.linalg.norm(theta))
    slope = float(np.linalg.norm(np.asarray(gradient(theta))))
    if not np.isfinite(slope) or slope == 0:
        slope = 1.0
    return Scales(
        weights=weights,
        gradient=slope,
        curvature=slope / weights if weights > 0 else slope,
        loss=loss,
    )


def natural_units(
    network: Network,
    shape: tuple[int, ...],
    outputs: int,
    inputs: float | np.ndarray,
    targets: float,
) -> np.ndarray:
    """The size (P,) of one unit of every weight: what makes products u.z and the
    outputs of order one, in their own units.

    shape, outputs: of a sample, (D,) for vectors, and O of its target.
    inputs: root-mean-square size of an input's entries, zeros count as one.
        Inputs whose entries are in units of their own have a size each, (D,), for
        neurons that read them one by one and for the residual stream of vectors;
        for others their mean counts.
    targets: root-mean-square size of what is to be learned, zero counts as one.

    An incoming weight is measured by the inverse of what it multiplies (the
    inputs, or what a residual stream carries, or the order-one features of the
    layer before; a bias multiplies one), an outgoing one by what it must add to.
    Scaling inputs or targets scales these units as it does the weights of the
    same map. Where they are alike within a factor of ten, all are their mean.

    Example
    -------
    Inputs of size 100 and targets of size 1, through two ReLU units:

    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.scales import natural_units
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("relu"), 2),))
    >>> natural_units(network, (1,), 1, inputs=100.0, targets=1.0).tolist()
    [0.01, 0.01, 1.0, 1.0]
    """
    stream = np.where(np.equal(inputs, 0), 1.0, inputs).ravel()
    target = np.array([targets or 1.0])
    parts = []
    last = len(network.layers) - 1
    every = network.shapes(shape, outputs)
    for index, (layer, shapes) in enumerate(zip(network.layers, every, strict=True)):
        mean = np.sqrt(np.mean(stream**2, keepdims=True))
        carried = np.ones(1)
        if layer.residual:
            carried = stream if shapes["v"][-1:] == stream.shape else mean
        elif index == last and not network.readout:
            carried = target

        # In the order of the flat vector.
        if "readout" in shapes:
            parts.append(np.ones(shapes["readout"]) * target / carried[:, None])
        parts.append(_incoming_units(layer, shapes["u"], stream, mean))
        if "v" in shapes:
            parts.append(np.ones(shapes["v"]) * carried)
        stream = carried if layer.residual else np.ones(1)
    units = np.concatenate([part.ravel() for part in parts])
    if units.size == 0 or units.max() > EVEN * units.min():
        return units
    return np.full_like(units, np.exp(np.mean(np.log(units))))


def _incoming_units(
    layer: Layer,
    shape: tuple[int, ...],
    stream: np.ndarray,
    mean: np.ndarray,
) -> np.ndarray:
    """The units of u (H, U), of a shape, whose inputs have these sizes."""
    _, *of_unit = shape
    units = np.ones((layer.width, int(np.prod(of_unit))))
    tied = units.shape[1] - layer.unit.extra
    # A weight for each entry of the stream, or else for what the mean stands for.
    one_by_one = of_unit == [len(stream) + layer.unit.extra]
    units[:, :tied] /= stream if one_by_one else mean
    return units


def balanced_units(network: Network, params: Params, units: Params) -> Params:
    """Natural units for a state whose units are far from balanced: u_i by c_i and
    v_i by c_i^-p, for forms phi of degree p.

    params: the state, u (H, U) and v (H, V) of every layer.
    units: the natural units of all weights, in the same form, as the result.

    Rescaling a unit along its symmetry leaves the map as it is and must leave
    signs and zeros as they are. c_i makes u_i and v_i equally long in their
    units; units nearer to that than a factor of ten are left alone, and so are
    those that add less to the map than 1e-8 of it, |u|^p |v| in these units: one
    side of them is as good as zero, and its size says nothing.
    """
    for index, layer in enumerate(network.layers):
        degree = _degree_of_form(layer.unit)
        if degree is None or layer.unit.extra or network.streams(index):
            continue
        u = np.asarray(network.incoming(units, index))
        v = np.asarray(network.outgoing(units, index))
        a = np.linalg.norm(np.asarray(network.incoming(params, index)) / u, axis=1)
        b = np.linalg.norm(np.asarray(network.outgoing(params, index)) / v, axis=1)

        seen = a**degree * b > SEEN
        ratio = np.where(seen, a / np.where(seen, b, 1.0), 1.0)
        c = ratio ** (1.0 / (degree + 1))
        c = np.where((c > EVEN) | (c < 1 / EVEN), c, 1.0)[:, None]
        _, units = network.with_sides(units, index, u * c, v * c**-degree)
    return units


def _degree_of_form(unit: Unit) -> int | None:
    """p with phi(z; c u) = c^p phi(z; u) for c > 0, where it is known."""
    if unit.symmetry.homogeneous:
        return 1
    if unit.lift is not None:
        return unit.symmetry.degree
    return None


def _direction(moved: Callable[[np.ndarray], float], first: np.ndarray) -> np.ndarray:
    """The first random direction of the weights (P,) that moves the map; `first`, that
    of seed 0, where none is found."""
    for seed in range(DIRECTIONS):
        direction = np.random.default_rng(seed).standard_normal(len(first))
        if moved(direction) != 0:
            return direction
    return first


def _factor(size: Callable[[float], float], target: float) -> float:
    """The power of two nearest to 1 at which the map reaches the target, and at half of
    which it does not; 1 where none does."""

    k = 0
    # What is no number is too large to be one.
    if not size(1.0) < target:
        while k > -HALVINGS and not size(2.0 ** (k - 1)) < target:
            k -= 1
        return 2.0**k
    while k < HALVINGS:
        k += 1
        moved = size(2.0**k)
        if not np.isfinite(moved):
            return 2.0 ** (k - 1)
        if moved >= target:
            return 2.0**k
    return 1.0


def _rms(f: np.ndarray) -> float:
    """sqrt(mean_n |f_n|^2)."""
    return float(np.sqrt(np.sum(f**2) / max(len(f), 1)))
