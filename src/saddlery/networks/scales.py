"""The natural sizes of a task: how large weights, gradients and curvatures are where the map has
moved by what it must learn.

Everything that is called zero is called so against one of them, so that a verdict depends neither
on the start of a run nor on the units in which targets are measured. Inputs ten thousand times
larger make incoming weights as many times smaller and their curvature 10^8 times larger than that
of outgoing ones: signs are judged in natural units of each kind of weight (`natural_units`), where
all curvatures are comparable; eigenvalues and rates are those of the weights as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .network import Network, Params

EVEN = 10.0  # natural units within this ratio are taken as one: no sign is lost to rounding by it
ALIKE = 100.0  # nor by this one of the columns of inputs, which are then measured by one size
SEEN = 1e-8  # of what is to be learned: what a unit adds to the map beyond is its own
HALVINGS = 60  # of the weights: factors from 2^-60 to 2^60 are tried


@dataclass(frozen=True)
class Scales:
    """Norms at random weights that move the map as far as the targets are from the map of zero
    weights.

    weights: |theta|. gradient: |dL/dtheta|. curvature: gradient / weights. loss: at zero weights,
    less what no map can remove.
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
    """The natural scales of a task, from one random direction theta_0 of the weights (seed 0).

    theta = 2^k theta_0 with the smallest k at which sqrt(mean |f(theta) - f(0)|^2) >= target =
    sqrt(mean |y - f(0)|^2); k = 0 where nothing is to be learned. size: P. loss: at zero weights.
    Cost: at most 120 passes over the samples and one gradient.
    """
    direction = np.random.default_rng(0).standard_normal(size)
    origin = np.asarray(predictions(0 * direction))
    factor = (
        _factor(lambda c: _rms(np.asarray(predictions(c * direction)) - origin), target)
        if target > 0
        else 1.0
    )
    theta = factor * direction
    weights, slope = (
        float(np.linalg.norm(theta)),
        float(np.linalg.norm(np.asarray(gradient(theta)))),
    )
    slope = slope if np.isfinite(slope) and slope > 0 else 1.0
    return Scales(weights, slope, slope / weights if weights > 0 else slope, loss)


def natural_units(
    network: Network,
    shape: tuple[int, ...],
    outputs: int,
    inputs: float | np.ndarray,
    targets: float,
) -> np.ndarray:
    """The size (P,) of one unit of every weight: what makes products u.z and the outputs of order
    one, in their own units.

    inputs, targets: root-mean-square sizes of an input's entries and of what is to be learned;
    zeros count as one. Inputs whose entries (D,) are in units of their own have a size each, for
    neurons that read them one by one and for the residual stream of vectors; for others their mean
    counts. An incoming weight is measured by the inverse of what it multiplies (the inputs, or what
    a residual stream carries, or the order-one features of the layer before; a bias multiplies
    one), an outgoing one by what it must add to. Scaling inputs or targets scales these units as it
    does the weights of the same map.
    """
    stream, target = np.where(np.equal(inputs, 0), 1.0, inputs).ravel(), np.array([targets or 1.0])
    parts, last = [], len(network.layers) - 1
    for index, (layer, shapes) in enumerate(
        zip(network.layers, network.shapes(shape, outputs), strict=True)
    ):
        mean, own = np.sqrt(np.mean(stream**2, keepdims=True)), (len(stream) + layer.unit.extra,)
        u = np.ones((layer.width, int(np.prod(shapes["u"][1:]))))
        u[:, : u.shape[1] - layer.unit.extra] /= stream if shapes["u"][1:] == own else mean
        carried = np.ones(1)
        if layer.residual:
            carried = stream if shapes["v"][-1:] == stream.shape else mean
        elif index == last and not network.readout:
            carried = target
        readout = (
            [np.ones(shapes["readout"]) * target / carried[:, None]] if "readout" in shapes else []
        )
        outgoing = [np.ones(shapes["v"]) * carried] if "v" in shapes else []
        parts += [
            part.ravel() for part in (*readout, u, *outgoing)
        ]  # in the order of the flat vector
        stream = carried if layer.residual else np.ones(1)
    units = np.concatenate(parts)
    if units.size == 0 or units.max() > EVEN * units.min():
        return units
    return np.full_like(units, np.exp(np.mean(np.log(units))))


def balanced_units(network: Network, params: Params, units: Params) -> Params:
    """Natural units for a state whose units are far from balanced: u_i by c_i and v_i by c_i^-p,
    for forms phi of degree p.

    Rescaling a unit along its symmetry leaves the map as it is and must leave signs and zeros as
    they are. c_i makes u_i and v_i equally long in their units; units nearer to that than a factor
    of ten are left alone, and so are those that add less to the map than 1e-8 of it, |u|^p |v| in
    these units: one side of them is as good as zero, and its size says nothing.
    """
    for index, layer in enumerate(network.layers):
        degree = layer.unit.symmetry.degree if layer.unit.lift else None
        if layer.unit.symmetry.homogeneous:
            degree = 1
        if degree is None or layer.unit.extra or network.streams(index):
            continue
        u, v = (np.asarray(f(units, index)) for f in (network.incoming, network.outgoing))
        own_u, own_v = (np.asarray(f(params, index)) for f in (network.incoming, network.outgoing))
        a, b = np.linalg.norm(own_u / u, axis=1), np.linalg.norm(own_v / v, axis=1)
        seen = a**degree * b > SEEN
        c = np.where(seen, a / np.where(seen, b, 1.0), 1.0) ** (1.0 / (degree + 1))
        c = np.where((c > EVEN) | (c < 1 / EVEN), c, 1.0)[:, None]
        _, units = network.with_sides(units, index, u * c, v * c**-degree)
    return units


def _factor(size: Callable[[float], float], target: float) -> float:
    """The smallest power of two at which the map reaches the target; 1 where none does."""
    start = 0
    if size(1.0) >= target:
        while start > -HALVINGS and size(2.0 ** (start - 1)) >= target:
            start -= 1
        return 2.0**start
    while start < HALVINGS:
        start += 1
        reached = size(2.0**start)
        if not np.isfinite(reached):
            return 2.0 ** (start - 1)
        if reached >= target:
            return 2.0**start
    return 1.0


def _rms(f: np.ndarray) -> float:
    return float(np.sqrt(np.sum(f**2) / max(len(f), 1)))
