"""How weights grow at an escape: many units along one direction, or one unit alone; measured, and
expected from theory.

The growth of a layer from a plateau to half-way down the next drop is a matrix with a row a unit, D
= Theta(half) - Theta. Its participation ratios count the units that grow, N = (sum |D_i|^2)^2 / sum
|D_i|^4, and the directions, R = (sum s^2)^2 / sum s^4 over singular values. Growth by directions
(units linear at lowest order) has R = 1 and many units: N about a third of the width for linear
units, fewer for ReLU ones, of which only those grow that the samples turn on (3 to 10 of 50);
growth by units (degree two or more) has N = R = 1.
Source: Zhang, Saxe & Latham (2026), Section 5 (the two mechanisms); the measure is this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..basis.precision import in_float64
from ..basis.records import text_table
from ..basis.values import Value
from ..runs.store import Subject
from .stage import Stages, stages_of

# growing units for each growing direction: more is growth by directions, fewer growth by units
SHARED = 2.0


@dataclass(frozen=True)
class Growth:
    """One layer at one escape. units: N; directions: R. measured, expected: "directions" or
    "units"; expected is None where the units declare no leading degree, measured where the layer
    has fewer than four units."""

    escape: int
    layer: int
    units: float
    directions: float
    measured: str | None
    expected: str | None


@dataclass(frozen=True, eq=False)
class Mechanism(Value):
    """The growth of every layer at every escape of a run."""

    growths: tuple[Growth, ...]

    def __len__(self) -> int:
        return len(self.growths)

    def __getitem__(self, k: int) -> Growth:
        return self.growths[k]

    def __repr__(self) -> str:
        rows = [
            [g.escape, g.layer, g.units, g.directions, g.measured, g.expected] for g in self.growths
        ]
        return text_table(("escape", "layer", "units", "directions", "measured", "expected"), rows)


@in_float64
def mechanism(subject: Stages | Subject) -> Mechanism:
    """What grew at each drop between two plateaus of a run, layer by layer, beside what the leading
    degree of units predicts.

    subject: the stages of a run, a run or its folder, or an experiment, which is trained.
    Cost: two states a drop.

    Example
    -------
    >>> from saddlery import mechanism, stages, train
    >>> [(growth.measured, growth.expected) for growth in mechanism(stages(train("quadratic"))).growths]
    [('units', 'units'), ('units', 'units')]
    """
    found = stages_of(subject)
    objective, trajectory = found.run.objective(), found.run.trajectory
    growths = []
    for k, (here, after) in enumerate(pairwise(found.stages)):
        fallen = trajectory.loss[here.index :] <= 0.5 * (here.loss + after.loss)
        half = here.index + int(np.flatnonzero(fallen)[0])
        ends = [
            objective.params(np.asarray(trajectory.states[index], float))
            for index in (here.index, half)
        ]
        for layer in range(len(objective.network.layers)):
            growths.append(_growth(objective.network, ends, k, layer))
    return Mechanism(tuple(growths))


def _growth(network, ends: list, escape: int, layer: int) -> Growth:
    before, after = (
        np.hstack(
            [
                np.asarray(network.incoming(params, layer)),
                np.asarray(network.outgoing(params, layer)),
            ]
        )
        for params in ends
    )
    grown = after - before
    units = _participation(np.linalg.norm(grown, axis=1))
    directions = _participation(np.linalg.svd(grown, compute_uv=False))
    degree = network.layers[layer].unit.symmetry.degree
    expected = None if degree is None else "directions" if degree == 1 else "units"
    enough = len(grown) >= 4
    measured = ("directions" if units > SHARED * directions else "units") if enough else None
    return Growth(escape, layer, units, directions, measured, expected)


def _participation(sizes: np.ndarray) -> float:
    squares = (sizes / max(float(sizes.max()), 1e-300)) ** 2
    return float(squares.sum() ** 2 / max(float(np.sum(squares**2)), 1e-300))
