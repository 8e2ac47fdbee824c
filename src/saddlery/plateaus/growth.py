"""How weights grow at an escape: many units along one direction, or one unit alone;
measured, and expected from theory.

The growth of a layer from a plateau to half-way down the next drop is a matrix with a
row a unit, D = Theta(half) - Theta, Theta = [u, v] (H, U + V). Participation ratios
count what grows (k equal sizes count k):

    units       N = (sum |D_i|^2)^2 / sum |D_i|^4   over rows
    directions  R = (sum s^2)^2 / sum s^4           over singular values

Growth by directions (units linear at lowest order) has R = 1 and many units: N about a
third of the width for linear units, fewer for ReLU ones, of which only those grow that
the samples turn on (3 to 10 of 50). Growth by units (degree two or more) has N = R = 1.

Source: Zhang, Saxe & Latham (2026), Section 5 (the two mechanisms); the measure is this
project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.precision import in_float64
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY
from ..basis.tolerances import Tolerances, chosen
from ..doors import labels
from ..runs import Run
from ..runs.store import Subject
from ..symmetry.reduction import sides
from ..units import Unit
from .stage import Stages, half_way, stages_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class GrowthTolerances(Tolerances, decides="growth"):
    """Whether a jump is made by directions or by units (`mechanism`)."""

    shared: float = chosen(
        2.0,
        "growing units for each growing direction; more is growth by directions",
        "a judgement",
    )


# The fields of a `Growth`, in the order of its table.
FIELDS = ("escape", "layer", "units", "directions", "measured", "expected")
# A layer of fewer units says nothing of how many of them grow.
FEWEST_UNITS = 4


@dataclass(frozen=True, repr=False)
class Growth(Result):
    """One layer at one escape.

    escape, layer: which, from 0 on.
    units: N, the units that grow.
    directions: R, the directions along which they do.
    measured: "directions" or "units"; None where the layer has fewer than four units.
    expected: the same by theory; None where the units declare no leading degree.
    """

    escape: int
    layer: int
    units: float
    directions: float
    measured: str | None
    expected: str | None

    def printed(self) -> Printed:
        return Printed(("growth", ""), list(vars(self).items()))

    def record(self) -> dict[str, Any]:
        return plain(vars(self))


@dataclass(frozen=True, eq=False, repr=False)
class Mechanism(Result):
    """The growth of every layer at every escape of a run."""

    growths: tuple[Growth, ...]

    def __len__(self) -> int:
        return len(self.growths)

    def __getitem__(self, k: int) -> Growth:
        return self.growths[k]

    def printed(self) -> Printed:
        rows = [list(vars(growth).values()) for growth in self.growths]
        return Printed(FIELDS, rows)

    def record(self) -> list[dict[str, Any]]:
        """JSON form, an entry a layer and escape."""
        return [growth.record() for growth in self.growths]

    def _columns(self) -> dict[str, list[Any]]:
        """By the names of the schema."""
        names = {"escape": "drop", "layer": "layer_number"}
        columns = {}
        for field in FIELDS:
            name = names.get(field, field)
            columns[name] = [getattr(growth, field) for growth in self.growths]
        return columns

    def to_dataframe(self) -> pd.DataFrame:
        """A row a layer and escape, by the names of `schema.LABELS["mechanism"]`. Needs
        pandas."""
        return labels.frame("mechanism", self._columns(), {})

    def to_xarray(self) -> xr.Dataset:
        """The same along `escape`. Needs xarray."""
        return labels.dataset({"mechanism": self._columns()}, {})


@in_float64
def mechanism(subject: Stages | Subject) -> Mechanism:
    """What grew at each drop between two plateaus of a run, layer by layer, beside what
    the leading degree of units predicts.

    The growth is that of the weights (P,) from the plateau to where the loss is first
    half-way down to the next one.

    subject: the stages of a run, a run or its folder, or an experiment, which is
        trained.

    Cost: a singular value decomposition a drop and layer.

    Example
    -------
    Of units of degree two one grows alone; of linear ones many, along one direction.

    >>> from saddlery import mechanism, train
    >>> [growth.measured for growth in mechanism(train("quadratic"))]
    ['units', 'units']
    >>> first = mechanism(train("linear"))[0]
    >>> first.measured, round(first.directions, 2), first.units > 10
    ('directions', 1.0, True)
    """
    found = stages_of(subject)
    run = found.run
    growths = []
    for k, here in enumerate(found.stages[:-1]):
        half = half_way(found, k)
        for layer in range(len(run.experiment.network.layers)):
            growths.append(_growth(run, here.index, half, escape=k, layer=layer))
    return Mechanism(tuple(growths))


def _growth(run: Run, before: int, half: int, *, escape: int, layer: int) -> Growth:
    """From one saved point to another."""
    grown = _weights(run, half, layer) - _weights(run, before, layer)
    units = _participation(np.linalg.norm(grown, axis=1))
    directions = _participation(np.linalg.svd(grown, compute_uv=False))
    return Growth(
        escape=escape,
        layer=layer,
        units=units,
        directions=directions,
        measured=_measured(units, directions, of=len(grown)),
        expected=_expected(run.experiment.network.layers[layer].unit),
    )


def _weights(run: Run, index: int, layer: int) -> np.ndarray:
    """Those of a layer at a saved point, a row a unit, (H, U + V)."""
    objective = run.objective()
    params = objective.params(np.asarray(run.trajectory.states[index], float))
    return np.hstack(sides(objective.network, params, layer))


def _expected(unit: Unit) -> str | None:
    degree = unit.symmetry.degree
    if degree is None:
        return None
    return "directions" if degree == 1 else "units"


def _measured(units: float, directions: float, *, of: int) -> str | None:
    """By the counts of what grows, of so many units."""
    if of < FEWEST_UNITS:
        return None
    many = units > GrowthTolerances.now().shared * directions
    return "directions" if many else "units"


def _participation(sizes: np.ndarray) -> float:
    """(sum s^2)^2 / sum s^4 of sizes (K,); 0 where all are zero."""
    squares = (sizes / max(float(sizes.max()), TINY)) ** 2
    return float(squares.sum() ** 2 / max(float(np.sum(squares**2)), TINY))
