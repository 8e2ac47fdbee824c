"""A device for tests: the same problem in other units of targets, inputs, weights and loss."""

from __future__ import annotations

import numpy as np

from saddlery.networks import Data, Layer, Network, Objective, objective
from saddlery.units import make


def one_layer(unit: str, width: int, x, y, **options) -> Objective:
    x, y = np.asarray(x, float), np.asarray(y, float)
    return objective(
        Network((Layer(make(unit), width),)), Data(x.shape[1:], y.shape[1], x, y), **options
    )


def rescaled(
    subject: Objective,
    theta: np.ndarray,
    *,
    targets: float = 1.0,
    inputs: float | np.ndarray = 1.0,
    units: float = 1.0,
):
    """(objective, theta) with inputs b x and targets a y, whose map is a times the old one: u / b
    in the first layer, a v in the last. units: u by c and v by c^-p of every unit of a single layer
    that is a form of degree p."""
    f, network = subject.function, subject.network
    params = [dict(p) for p in subject.params(np.asarray(theta, float))]
    degree = network.layers[0].unit.symmetry.degree or 1
    params[0]["u"] = params[0]["u"] / inputs * units
    params[-1]["v"] = params[-1]["v"] * targets / units**degree
    data = Data(f.shape, f.outputs, inputs * subject.inputs, targets * subject.targets, loss=f.loss)
    from saddlery.networks import flatten

    return objective(network, data, moments=False), flatten(tuple(params))


def orthogonal_polynomial(points: int, degree: int) -> np.ndarray:
    """The discrete orthogonal polynomial of a degree on equally spaced points, in whole numbers,
    exactly."""
    from fractions import Fraction
    from math import gcd, lcm

    k = [Fraction(2 * n - points + 1, 2) for n in range(points)]
    basis: list[list[Fraction]] = []
    for power in range(degree + 1):
        row = [a**power for a in k]
        for b in basis:
            share = sum(p * q for p, q in zip(row, b, strict=True)) / sum(q * q for q in b)
            row = [p - share * q for p, q in zip(row, b, strict=True)]
        basis.append(row)
    common = lcm(*(a.denominator for a in basis[-1]))
    whole = [int(a * common) for a in basis[-1]]
    return np.array(whole, float) / gcd(*whole)
