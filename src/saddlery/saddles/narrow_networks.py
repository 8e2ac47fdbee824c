"""The narrow network inside: the units of a layer that have grown, at their fixed point,
and others that join them.

The objects of predictions and of the saddle graph. One layer of units; the network has
room for more units than have grown, all of them silent, so that one compiled program
serves many widths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..basis.checks import NumericalError
from ..basis.precision import in_float64
from ..basis.values import Value
from ..networks import Objective, hessian
from ..networks.network import places_of_units
from ..symmetry import leading_tensor
from .fixed_points import fixed_point
from .settling import REST, Held, Settled, settle

# A new unit joins the flow at this share of the natural weights.
BEGIN = 0.03
# The narrow network has room for so many units to begin with.
ROOM = 8
# Of so many units: (N, U) and (N, V).
Sides = tuple[np.ndarray, np.ndarray]


def with_units(objective: Objective, units: int) -> Objective:
    """The same objective with so many units."""
    return objective.with_network(objective.network.with_widths([units]))


def state_of(objective: Objective, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The flat parameters (P,) of a network with units u (h, U) and v (h, V), and silent
    ones.

    Example
    -------
    One unit of two inputs and two outputs in a network of three.

    >>> from saddlery import Experiment
    >>> objective = with_units(Experiment.named("linear").objective(), 3)
    >>> state = state_of(objective, np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    >>> u, v = first_sides(objective, state, 2)
    >>> u.tolist(), v.tolist()
    ([[1.0, 2.0], [0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]])
    """
    return states_of(objective, u[None], v[None])[0]


def states_of(objective: Objective, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The flat parameters (M, P) of networks with units u (M, h, U) and v (M, h, V), and
    silent ones."""
    function = objective.function
    states = np.zeros((len(u), objective.size))
    (places, *_) = places_of_units(objective.network, function.shape, function.outputs)
    for side, place in zip((u, v), places, strict=True):
        padded = np.zeros((len(side), *place.shape))
        padded[:, : side.shape[1]] = side
        states[:, place.numbers] = padded.reshape(len(side), -1)
    return states


def first_sides(objective: Objective, state: np.ndarray, count: int) -> Sides:
    """u (count, U) and v (count, V) of the first units of a state (P,)."""
    network, params = objective.network, objective.params(state)
    u = np.asarray(network.incoming(params, 0))
    v = np.asarray(network.outgoing(params, 0))
    return u[:count], v[:count]


@dataclass(frozen=True, eq=False)
class NarrowNetwork(Value):
    """The units that have grown, at rest.

    objective: of a network with room for more.
    state (P,): of that, with silent units.
    count: how many have grown.

    Example
    -------
    From nothing along the residual correlation, whose first singular pair is the first
    mode: one unit takes s^2 / 2 = 0.5 off the loss.

    >>> from saddlery import Experiment
    >>> nothing = NarrowNetwork.nothing(Experiment.named("linear").objective())
    >>> left, values, right = np.linalg.svd(nothing.residual())
    >>> values.round(6).tolist()
    [1.0, 0.4]
    >>> one, path = nothing.join((0.1 * right[:1], 0.1 * left[:, :1].T))
    >>> one.count, round(nothing.loss, 6), round(one.loss, 6)
    (1, 0.58, 0.08)
    """

    objective: Objective
    state: np.ndarray
    count: int

    @staticmethod
    def nothing(objective: Objective) -> NarrowNetwork:
        """No unit, and room for a few."""
        room = with_units(objective, min(ROOM, objective.network.widths[0]))
        return NarrowNetwork(room, np.zeros(room.size), count=0)

    @property
    @in_float64
    def loss(self) -> float:
        return float(self.objective.loss(self.state))

    def residual(self) -> np.ndarray:
        """The leading form (V, U, ..., U) of one more unit."""
        return leading_tensor(self.objective, self.state)

    def sides(self) -> Sides:
        """u (h, U) and v (h, V) of the units that have grown."""
        return first_sides(self.objective, self.state, self.count)

    def lowest_curvature(self) -> float:
        """The lowest eigenvalue of the Hessian within the units that have grown; 0 where
        none has."""
        own = self._own_coordinates()
        if not len(own):
            return 0.0
        curvature = hessian(self.objective, self.state)[np.ix_(own, own)]
        return float(np.linalg.eigvalsh(curvature)[0])

    def _own_coordinates(self) -> np.ndarray:
        """Where the weights of the units that have grown lie in the flat vector."""
        u, v = self.sides()
        marked = state_of(self.objective, np.ones_like(u), np.ones_like(v))
        return np.flatnonzero(marked)

    def size_to_join(self, strength: float, order: int) -> float:
        """The size |theta| of a new unit whose correlation is `strength` of the first:
        small for what it has to learn."""
        natural = with_units(self.objective, 1).scales.weights
        return BEGIN * natural * strength ** (1 / order)

    def with_room(self, units: int) -> Objective:
        """The objective of a network with room for so many units."""
        width = self.objective.network.widths[0]
        if units <= width:
            return self.objective
        # Twice the width, so that few widths are compiled.
        return with_units(self.objective, 2 * width)

    def join(
        self,
        new: Sides,
        *,
        rest: float = REST,
        held: Held | None = None,
    ) -> tuple[NarrowNetwork, Settled]:
        """The flow of these units and new ones to rest: the connecting path along the
        manifold of the larger width.

        new: u (k, U) and v (k, V).
        rest, held: see `settle`.

        Raises NumericalError where it does not come to rest at a fixed point.
        """
        own_u, own_v = self.sides()
        u, v = np.vstack([own_u, new[0]]), np.vstack([own_v, new[1]])
        count = len(u)
        larger = self.with_room(count)
        try:
            settled = settle(larger, state_of(larger, u, v), rest=rest, held=held)
        except NumericalError as error:
            raise NumericalError(f"with {count} units {error}") from None
        if not np.array_equal(_first(larger, settled.end, count), settled.end):
            settled = _refined_alone(larger, settled, count)
        if not settled.refinement.converged:
            raise NumericalError(
                f"with {count} units the flow ends at no fixed point: {settled.refinement}"
            )
        return NarrowNetwork(larger, settled.end, count), settled


def _first(objective: Objective, state: np.ndarray, count: int) -> np.ndarray:
    """The state with its units after the first `count` silent."""
    return state_of(objective, *first_sides(objective, state, count))


@in_float64
def _refined_alone(objective: Objective, settled: Settled, count: int) -> Settled:
    """The same flow, its end refined in a network of these units alone: with silent ones
    beside them Newton's method has found a fixed point of more units."""
    alone = with_units(objective, count)
    start = state_of(alone, *first_sides(objective, settled.states[-1], count))
    refinement = fixed_point(alone, start, alone.scales.gradient, 1.0)
    point = state_of(objective, *first_sides(alone, refinement.point, count))
    return replace(settled, refinement=replace(refinement, point=point))
