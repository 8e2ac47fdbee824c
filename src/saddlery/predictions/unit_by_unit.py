"""One unit at a time: networks whose units start at degree two or more, from
their own small initial weights.

At a saddle every unit that has not grown follows the gradient of its utility,
with the residual correlation of that saddle, and the first to escape in finite
time (`escapes`) is the next to join. The units that have grown, and it, then
flow to rest on the invariant manifold of their width (`settle`); the others
have moved on by what they would have anyway.

Source: Zhang, Saxe & Latham (2026), Section 5.2; the phases are those of Kunin
et al. (2025), here with finite weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ..basis.precision import in_float64
from ..basis.sizes import TINY
from ..experiments import Experiment
from ..networks import Objective
from ..saddles.narrow_networks import BEGIN, NarrowNetwork, states_of, with_units
from ..theory import escapes, grow
from .base import PredictedStage, Prediction, demand, register
from .draws import LEARNED, initial_sides, one_layer_from_small_weights, other_seeds, spread
from .ranges import Range, RangeTolerances, demand_range, sharpness_range

SAME = 0.99  # two new units whose maps have a larger cosine than this are taken for one
PROBE = 1e-3  # their maps are compared at this share of the natural size of a unit
MOST_ENTRIES = 200_000  # most entries of the leading form of a unit
# escapes nearer than this share of a wait are one: ten times the error of their times
TOGETHER = 1e-5
LIMIT = (
    "neglects what units do to each other while small; exact as the initial scale goes to zero"
    " (mean and interval are over the draws that take this path)"
)


@register("units one by one")
@in_float64
def units_one_by_one(experiment: Experiment) -> Prediction:
    """The units that join, in the order of their escape times.

    Raises DoesNotApply. Cost: the flow of each narrow network that is learned,
    and the escapes of H units in each of a thousand draws.

    Source: Zhang, Saxe & Latham (2026), Section 5.2.
    """
    objective = _conditions(experiment)
    path = _Path(experiment, objective)
    stages = tuple(path.stages())
    end = path.learned
    ranges = (
        path.start_range(),
        sharpness_range(experiment, end.objective, end.state),
    )
    demand_range(ranges)
    return Prediction(
        theory="units one by one",
        source="Zhang, Saxe & Latham 2026, Section 5.2",
        limit=LIMIT,
        stages=stages,
        ranges=ranges,
    )


def _conditions(experiment: Experiment) -> Objective:
    one_layer_from_small_weights(experiment)
    unit = experiment.network.layers[0].unit
    degree = unit.symmetry.degree
    demand(degree is not None, f"units {unit.name} have no silent point")
    assert degree is not None
    demand(
        degree >= 2,
        f"units {unit.name} start at degree {degree}, so they grow by directions, not one by one",
    )
    demand(unit.smooth, f"units {unit.name} are not smooth")
    objective = experiment.objective()
    sides = initial_sides(experiment, objective, [experiment.seed])
    u, v = (side.shape[2] for side in sides)
    entries = v * u**degree
    demand(
        entries <= MOST_ENTRIES,
        f"the leading form of a unit has {entries:,} entries, more than {MOST_ENTRIES:,}",
    )
    return objective


class _Path:
    """The stages of the experiment's own draw, and what part of other draws
    takes the same path, when."""

    def __init__(self, experiment: Experiment, objective: Objective) -> None:
        self.objective = objective
        self.learned = NarrowNetwork.nothing(objective)
        # |theta| of a unit that has learned.
        self.natural = self.learned.size_to_join(1.0, 2) / BEGIN
        self.own = _Draws.of(experiment, objective, [experiment.seed])
        self.others = _Draws.of(experiment, objective, other_seeds(experiment))
        self.first_size = float(self.own.sizes().max()) / self.natural

    def start_range(self) -> Range:
        return Range(
            "size of the largest unit at the start",
            self.first_size,
            *RangeTolerances.now().small,
        )

    def next_range(self) -> Range:
        largest = float(self.own.sizes().max(initial=0.0))
        return Range(
            "size of the next unit when one has grown",
            largest / self.natural,
            *RangeTolerances.now().next,
        )

    def stages(self) -> Iterator[PredictedStage]:
        share, first = 1.0, 0.0
        yield PredictedStage(self.learned.loss, (0,))
        for _ in range(self.objective.network.layers[0].width):
            form, before = self.learned.residual(), self.learned.loss
            size = float(np.linalg.norm(form))
            first = first or size
            demand(
                first > 0,
                "the leading correlation of a new unit with the targets is zero",
            )
            if size <= LEARNED * first:
                return
            wait, direction = self.own.escape(form)
            if not np.isfinite(wait[0]):
                return
            amplitude = self.learned.size_to_join(size / first, form.ndim)
            u, v = self.own.split(amplitude * direction)
            self.learned, settled = self.learned.join((u, v))
            # `since` counts to where the unit alone would be infinite: from
            # there back to where it joins, and on to half of the drop.
            delay = settled.half_time(before) - float(escapes(form, u, v).time[0])
            own = self.own.split(direction)
            self.others, part = _same_path(self.objective, self.others, form, own)
            share = share * part
            mean, low, high = spread(self.others.since + delay)
            yield PredictedStage(
                loss=self.learned.loss,
                units=(self.learned.count,),
                jump=float(self.own.since[0]) + delay,
                mean=mean,
                low=low,
                high=high,
                share=share,
                range=self.next_range(),
            )


@dataclass
class _Draws:
    """Units of many draws.

    u (M, H, U), v (M, H, V): their weights.
    dormant (M, H): which have not grown.
    since (M,): the flow time of the last escape.
    """

    u: np.ndarray
    v: np.ndarray
    dormant: np.ndarray
    since: np.ndarray

    @staticmethod
    def of(
        experiment: Experiment,
        objective: Objective,
        seeds: list[int],
    ) -> _Draws:
        u, v = initial_sides(experiment, objective, seeds)
        return _Draws(
            u,
            v,
            dormant=np.ones(u.shape[:2], bool),
            since=np.zeros(len(u)),
        )

    def sizes(self) -> np.ndarray:
        """|theta| of every unit that has not grown (M, H), 0 for the others."""
        sizes = np.sqrt(np.sum(self.u**2, axis=2) + np.sum(self.v**2, axis=2))
        return np.where(self.dormant, sizes, 0.0)

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        incoming = self.u.shape[2]
        return rows[:, :incoming], rows[:, incoming:]

    def only(self, chosen: np.ndarray) -> _Draws:
        return _Draws(
            u=self.u[chosen],
            v=self.v[chosen],
            dormant=self.dormant[chosen],
            since=self.since[chosen],
        )

    def escape(self, form: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first unit of each draw escapes; the rest move on by what
        they do meanwhile.

        form (V, U, ..., U): the leading form of a new unit at this saddle.

        Returns the wait (M,), infinite where none escapes, and the direction
        of the unit (M, U + V).
        """
        where = np.nonzero(self.dormant)
        found = escapes(form, self.u[where], self.v[where], groups=where[0])
        times = np.full(self.dormant.shape, np.inf)
        times[where] = found.time
        direction = np.zeros((*times.shape, self.u.shape[2] + self.v.shape[2]))
        direction[where] = np.hstack([found.u, found.v])
        first, wait = times.argmin(axis=1), times.min(axis=1)
        rows = np.arange(len(first))
        self.dormant[rows, first] &= ~np.isfinite(wait)
        left = np.nonzero(self.dormant & np.isfinite(wait)[:, None])
        # One that escapes at the same time, to the error of these times, waits there.
        until = np.minimum(wait[left[0]], (1 - TOGETHER) * times[left])
        later = grow(form, self.u[left], self.v[left], until)
        self.u[left], self.v[left] = later.u, later.v
        self.since = self.since + wait
        return wait, direction[rows, first]


def _same_path(
    objective: Objective,
    draws: _Draws,
    form: np.ndarray,
    own: tuple[np.ndarray, np.ndarray],
) -> tuple[_Draws, float]:
    """The draws whose next unit has the same map as our own, and their part of these.

    own (1, U), (1, V): the direction of our next unit.
    """
    if not len(draws.since):
        return draws, 0.0
    wait, rows = draws.escape(form)
    one = with_units(objective, 1)
    size = PROBE * one.scales.weights
    theirs = draws.split(rows)
    u, v = (np.vstack(pair) for pair in zip(own, theirs, strict=True))
    states = states_of(one, size * u[:, None], size * v[:, None])
    predictions = np.asarray(jax.vmap(one.predictions)(jnp.asarray(states)))
    maps = predictions.reshape(len(states), -1)
    norms = np.maximum(np.linalg.norm(maps, axis=1), TINY)
    alike = maps[1:] @ maps[0] > SAME * norms[1:] * norms[0]
    same = np.isfinite(wait) & alike
    return draws.only(same), float(np.mean(same))
