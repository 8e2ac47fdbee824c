"""The saddle graph: fixed points of every width, and between any two of them one path,
that of the fastest escape.

From a fixed point of width h a unit breaks its silence along a critical point of its
utility; the flow then runs along the invariant manifold of width h + 1 to a fixed point
there (Theorem 3 and the end of Section 4.3 of Zhang, Saxe & Latham 2026). Nodes are
certified in the network as wide as asked, and are one where their maps are one; edges
carry the path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..basis.checks import NumericalError, Words, known, require, whole
from ..basis.pictures import Pictured
from ..basis.precision import in_float64, spare_programs
from ..basis.records import Printed, Result, plain
from ..basis.sizes import TINY
from ..basis.tolerances import Tolerances, chosen
from ..doors import labels
from ..networks import Network, Objective
from ..runs.store import Subject, experiment_of
from ..saddles import Certificate, FixedPoint, certify_state
from ..saddles.narrow_networks import NarrowNetwork, Sides, state_of, with_units
from ..saddles.settling import Held, Settled
from ..symmetry import leading_tensor, nearest_of_width, utility_maxima
from ..symmetry.reduction import sides
from ..units import Unit
from .stage import Stages, certificate_columns, half_way

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class GraphTolerances(Tolerances, decides="graph"):
    """Which fixed points are one, and which escapes are followed."""

    same_map: float = chosen(
        1e-6,
        "difference of two maps that are one, of the targets",
        "a judgement: along third order a gradient of 1e-12 leaves a weight known to 1e-6",
    )
    same_utility: float = chosen(
        1e-6,
        "relative difference of two utilities that are one",
        "a judgement",
    )
    no_utility: float = chosen(
        1e-7,
        "utility of a direction that does not escape, of the first utility",
        "a judgement",
    )
    calm: float = chosen(
        1e-3,
        "gradient where a path ends, of the largest on it",
        "a judgement: before noise has left the manifold of the path",
    )


# Units join at so many times the size at which predictions have them join: escapes that
# are not the fastest are left sooner by noise.
TIMES_JOINING = 5.0
# A unit smaller than this share of the natural weights has the map of its leading form
# alone.
SMALL = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Node(Result):
    """A fixed point of the graph.

    units: of the narrow network.
    loss: there.
    state (P,): embedded in the wide network.
    certificate: there.
    narrow: the units that have grown.
    """

    units: int
    loss: float
    state: np.ndarray
    certificate: Certificate
    narrow: NarrowNetwork

    def printed(self) -> Printed:
        rows = [("units", self.units), ("loss of the node", self.loss)]
        return Printed(("node", ""), [*rows, *self.certificate.rows()])

    def record(self) -> dict[str, object]:
        """JSON form, without the state."""
        kept = {"units": self.units, "loss": self.loss}
        return plain({**kept, "certificate": self.certificate.record()})


@dataclass(frozen=True, eq=False, repr=False)
class Edge(Result):
    """A connecting path between two nodes.

    start, end: the nodes.
    utility: of the unit that escapes, max over its size on the sphere.
    order: p + 1.
    rate: sigma of its growth e^(sigma t) for p = 1, else None.
    path: the flow on the manifold of width h + 1, through states (T, P).
    """

    start: int
    end: int
    utility: float
    order: int
    rate: float | None
    path: Settled

    def printed(self) -> Printed:
        return Printed(("edge", ""), list(self.record().items()))

    def record(self) -> dict[str, object]:
        """JSON form, without the path."""
        kept = ("start", "end", "utility", "order", "rate")
        return plain({name: getattr(self, name) for name in kept})


@dataclass(frozen=True, eq=False, repr=False)
class SaddleGraph(Pictured, Result):
    """The fixed points that were found from the origin on, and the paths between them.

    nodes: in the order they were found, the origin first.
    edges: between them.
    complete: whether every escape that was found has been followed.
    failures: escapes whose flow came to no fixed point, in words.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    complete: bool
    failures: tuple[str, ...]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table: one node a row, with where its
        escapes lead."""
        columns = ("node", "units", "loss", "verdict", "index", "escapes to (utility)")
        return columns, [self._row(k) for k in range(len(self.nodes))]

    def _row(self, k: int) -> list[object]:
        node = self.nodes[k]
        point = node.certificate
        index = point.index if isinstance(point, FixedPoint) else None
        return [k, node.units, node.loss, point.verdict, index, self._escapes(k)]

    def _escapes(self, k: int) -> str:
        own = [edge for edge in self.edges if edge.start == k]
        return ", ".join(f"{edge.end} ({edge.utility:.3g})" for edge in own) or "-"

    def printed(self) -> Printed:
        notes = list(self.failures)
        if not self.complete:
            notes.insert(0, "not all escapes were followed: raise the budget")
        return Printed(*self.table(), notes=notes)

    def record(self) -> dict[str, object]:
        """JSON form, without states and paths."""
        return {
            "nodes": [node.record() for node in self.nodes],
            "edges": [edge.record() for edge in self.edges],
            "complete": self.complete,
            "failures": list(self.failures),
        }

    def _columns(self, of: str) -> dict[str, Any]:
        """Of the nodes or of the edges, by the names of the schema."""
        if of == "edges":
            return {
                "start": [edge.start for edge in self.edges],
                "end": [edge.end for edge in self.edges],
                "edge_utility": [edge.utility for edge in self.edges],
                "order": [edge.order for edge in self.edges],
                "rate": [edge.rate for edge in self.edges],
            }
        return {
            "units": [node.units for node in self.nodes],
            "loss": [node.loss for node in self.nodes],
            **certificate_columns([node.certificate for node in self.nodes]),
        }

    def to_dataframe(self, of: str = "nodes") -> pd.DataFrame:
        """A row a node, or of="edges" a row an edge, by the names of `schema.LABELS`.

        Raises InputError for another `of`. Needs pandas.
        """
        known(of, ("nodes", "edges"), "of")
        return labels.frame(of, self._columns(of), self._about())

    def to_xarray(self) -> xr.Dataset:
        """Nodes along `node`, with their weights (node, P), and edges along `edge`.
        Needs xarray."""
        nodes = self._columns("nodes")
        nodes["states"] = np.array([node.state for node in self.nodes])
        edges = self._columns("edges")
        return labels.dataset({"nodes": nodes, "edges": edges}, self._about())

    def _about(self) -> dict[str, Any]:
        return {"complete": int(self.complete), "failures": list(self.failures)}


@in_float64
def saddle_graph(
    subject: Subject,
    *,
    budget: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> SaddleGraph:
    """All fixed points that can be reached from the origin by one unit after another,
    and the paths between them.

    Escapes are the critical points of the utility of a new unit: all singular pairs of
    the residual correlation for units linear in u, all eigenvectors for units of degree
    two with one output, and otherwise the local maxima found from 64 starts. One layer
    of units with a silent point. Every node is a state (P,) of the network as wide as
    asked.

    subject: an experiment, its shipped name, TOML path or table, a run or its folder.
    budget: so many nodes are left at most, those of lowest width first.
    progress: called with (nodes left, nodes found).

    Raises InputError for other networks, and where equal singular values or eigenvalues
    leave a continuum of saddles. Cost: one flow of a narrow network an edge, one
    certificate a node.

    Example
    -------
    Two modes, s = 1 and 0.4, can be learned in either order: a utility of s / 2 each.

    >>> from saddlery import Experiment, saddle_graph
    >>> graph = saddle_graph(Experiment.named("linear"))
    >>> [(edge.start, edge.end, round(edge.utility, 3)) for edge in graph.edges]
    [(0, 1, 0.5), (0, 2, 0.2), (1, 3, 0.2), (2, 3, 0.5)]
    >>> [node.certificate.verdict for node in graph.nodes][2:]
    ['strict saddle', 'minimum']
    """
    spare_programs()
    experiment = experiment_of(subject)
    _check(experiment.network)
    whole(budget, "budget")
    search = _Search(experiment.objective())
    left = 0
    while left < len(search.nodes) and left < budget:
        search.leave(left)
        left += 1
        if progress is not None:
            progress(left, len(search.nodes))
    return search.graph(complete=left == len(search.nodes))


def _check(network: Network) -> None:
    """Raise InputError for a network that has no saddle graph."""
    layer = network.layers[0]
    single = len(network.layers) == 1 and not network.readout and not layer.residual
    deep = "deep networks have no saddle graph yet"
    require(single, "the network", "one sum of units", network.architecture, deep)
    unit = layer.unit
    silent = unit.symmetry.degree is not None
    require(silent, "units", "with a silent point and a leading degree", unit)
    remedy = (
        "its coordinates join one by one within it: predict(experiment, "
        'theory="diagonal jumps") has their saddles'
    )
    require(not unit.separable, "units", "whole", unit, remedy)


class _Escape(NamedTuple):
    """A critical point of a new unit's utility.

    utility: its value there.
    direction: u (1, U) and v (1, V), together of length one.
    """

    utility: float
    direction: Sides


class _Search:
    """A graph on the way: what has been found from the origin on."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.width = objective.network.widths[0]
        self.nodes = [_node(objective, NarrowNetwork.nothing(objective))]
        self.edges: list[Edge] = []
        self.failures: list[str] = []
        # Utility of the first escape of all, which the others are measured by.
        self.first = 0.0

    def graph(self, *, complete: bool) -> SaddleGraph:
        return SaddleGraph(
            nodes=tuple(self.nodes),
            edges=tuple(self.edges),
            complete=complete,
            failures=tuple(self.failures),
        )

    def leave(self, k: int) -> None:
        """Follow every escape from node k."""
        narrow = self.nodes[k].narrow
        found = self._escapes(narrow)
        _demand_isolated(narrow, found, k)
        for rank, escape in enumerate(found):
            self._follow(k, escape, faster=found[:rank])

    def _escapes(self, narrow: NarrowNetwork) -> list[_Escape]:
        """Of a new unit, where there is room for one, highest utility first."""
        found = _critical_points(narrow) if narrow.count < self.width else []
        largest = max((escape.utility for escape in found), default=0.0)
        self.first = self.first or largest
        least = GraphTolerances.now().no_utility * self.first
        return [escape for escape in found if escape.utility > least]

    def _follow(self, start: int, escape: _Escape, *, faster: list[_Escape]) -> None:
        """The path from a node along one escape to the node where it ends."""
        narrow, utility = self.nodes[start].narrow, escape.utility
        order = _degree(narrow) + 1
        amplitude = TIMES_JOINING * narrow.size_to_join(utility / self.first, order)
        u, v = escape.direction
        try:
            wider, path = narrow.join(
                (amplitude * u, amplitude * v),
                rest=GraphTolerances.now().calm,
                held=_held(narrow, faster),
            )
        except NumericalError as error:
            from_where = f"an escape from node {start} (utility {utility:.3g})"
            self.failures.append(f"{from_where}: {error}")
            return
        end = self._place(wider)
        between = [(edge.start, edge.end) for edge in self.edges]
        if end == start or (start, end) in between:
            return
        edge = Edge(
            start=start,
            end=end,
            utility=utility,
            order=order,
            # At second order a unit along its escape grows as e^(2 U t).
            rate=2 * utility if order == 2 else None,
            path=path,
        )
        self.edges.append(edge)

    def _place(self, narrow: NarrowNetwork) -> int:
        """The node of the same map, or a new one."""
        predictions = np.asarray(narrow.objective.predictions(narrow.state))
        found = _with_map(self.objective, self.nodes, predictions)
        if found is not None:
            return found
        self.nodes.append(_node(self.objective, narrow))
        return len(self.nodes) - 1


def _node(objective: Objective, narrow: NarrowNetwork) -> Node:
    state = state_of(objective, *narrow.sides())
    return Node(
        units=narrow.count,
        loss=float(objective.loss(state)),
        state=state,
        certificate=certify_state(objective, state),
        narrow=narrow,
    )


def _with_map(
    objective: Objective,
    nodes: Sequence[Node],
    predictions: np.ndarray,
) -> int | None:
    """The first node that has these predictions (N, O), or None."""
    most = GraphTolerances.now().same_map
    for k, node in enumerate(nodes):
        own = np.asarray(objective.predictions(node.state))
        if objective.map_error(predictions, own) <= most:
            return k
    return None


# ------------------------------------------------------------------- the escapes of a unit
def _unit(narrow: NarrowNetwork) -> Unit:
    return narrow.objective.network.layers[0].unit


def _degree(narrow: NarrowNetwork) -> int:
    """p of its units."""
    return _unit(narrow).symmetry.degree or 0


def _critical_points(narrow: NarrowNetwork) -> list[_Escape]:
    """Of the utility of a new unit, highest first."""
    if _unit(narrow).symmetry.linear:
        return _singular_pairs(leading_tensor(narrow.objective, narrow.state))
    if _spectral(narrow):
        return _eigenvectors(leading_tensor(narrow.objective, narrow.state)[0])
    maxima = utility_maxima(narrow.objective, narrow.state)
    return [_Escape(found.value, (found.u[None], found.v[None])) for found in maxima]


def _spectral(narrow: NarrowNetwork) -> bool:
    """Whether escapes are all singular pairs, or all eigenvectors, of the residual
    correlation."""
    unit = _unit(narrow)
    outputs = narrow.sides()[1].shape[1]
    quadratic = unit.symmetry.degree == 2 and unit.smooth and outputs == 1
    return unit.symmetry.linear or quadratic


def _singular_pairs(residual: np.ndarray) -> list[_Escape]:
    """Of a correlation R (V, U): v' R u on the sphere is s / 2 at a singular pair with
    |u|^2 = |v|^2 = 1/2."""
    left, values, right = np.linalg.svd(residual, full_matrices=False)
    half = np.sqrt(0.5)
    found = []
    for s, v, u in zip(values, left.T, right, strict=True):
        found.append(_Escape(0.5 * float(s), (half * u[None], half * v[None])))
    return found


def _eigenvectors(residual: np.ndarray) -> list[_Escape]:
    """Of a form R (U, U): v u' R u on the sphere is (2/3) sqrt(1/3) |r| at an
    eigenvector u with |u|^2 = 2/3, v^2 = 1/3."""
    values, vectors = np.linalg.eigh(residual)
    u, v = np.sqrt(2 / 3), np.sqrt(1 / 3)
    found = []
    for k, r in enumerate(values):
        direction = u * vectors[:, [k]].T, np.array([[np.sign(r) * v]])
        found.append(_Escape(u**2 * v * abs(float(r)), direction))
    return sorted(found, key=lambda escape: -escape.utility)


def _demand_isolated(narrow: NarrowNetwork, found: list[_Escape], node: int) -> None:
    """Raise InputError where two singular pairs, or eigenvectors of one sign, have equal
    values and different maps."""
    if not _spectral(narrow):
        return
    linear = _unit(narrow).symmetry.linear
    limits = GraphTolerances.now()
    for one, other in combinations(found, 2):
        if one.utility - other.utility > limits.same_utility * one.utility:
            continue
        alike = linear or np.sign(one.direction[1]) == np.sign(other.direction[1])
        if not alike:
            continue
        first, second = _map_of(narrow, one), _map_of(narrow, other)
        apart = np.linalg.norm(second - first)
        same = apart <= limits.same_map * np.linalg.norm(first)
        words = Words(
            f"two of equal utility {one.utility:.3g} from node {node}, and with them "
            "a continuum of saddles"
        )
        require(same, "escapes", "isolated", words, "break the tie in the data")


def _map_of(narrow: NarrowNetwork, escape: _Escape) -> np.ndarray:
    """The predictions (N, O) of one small unit along an escape."""
    alone = with_units(narrow.objective, 1)
    small = SMALL * alone.scales.weights
    u, v = escape.direction
    return np.asarray(alone.predictions(state_of(alone, small * u, small * v)))


def _held(narrow: NarrowNetwork, faster: list[_Escape]) -> Held | None:
    """The faster escapes, on every unit: the path of a slower one does not move along
    them.

    Of units of degree two only their u, which grows as v u does.
    """
    if not faster or not _spectral(narrow):
        return None
    larger = narrow.with_room(narrow.count + 1)
    if _unit(narrow).symmetry.linear:
        rate = 2 * max(escape.utility for escape in faster)
        directions = [escape.direction for escape in faster]
    else:
        rate = 2 * max(map(_eigenvalue, faster)) * larger.scales.weights
        directions = [_incoming_alone(escape) for escape in faster]
    rows = []
    for u, v in directions:
        for place in np.eye(narrow.count + 1):
            rows.append(state_of(larger, place[:, None] * u, place[:, None] * v))
    return Held(np.array(rows), rate)


def _eigenvalue(escape: _Escape) -> float:
    """|r| of v u' R u, from the utility |v| |u|^2 |r|."""
    u, v = escape.direction
    return escape.utility / (float(np.sum(u**2)) * float(np.abs(v).max()))


def _incoming_alone(escape: _Escape) -> Sides:
    u, v = escape.direction
    return u / np.linalg.norm(u), 0 * v


# ------------------------------------------------------------- which path a run took
@dataclass(frozen=True)
class Step:
    """One stage of a run in the graph.

    node: of its certified fixed point, None where the graph has none of its map.
    departure: the largest distance of the run to the manifold of one more unit,
        relative to its weights, from half-way down to the next stage on (before, the
        small weights of the dormant units are no less than those of the one that
        grows); None at the end.
    """

    node: int | None
    departure: float | None


@in_float64
def route(graph: SaddleGraph, found: Stages) -> tuple[Step, ...]:
    """The nodes that a certified run visited, and how closely its weights (P,) followed
    the manifolds between them.

    Raises InputError for stages that are not certified. Cost: one nearest state of
    given width a saved point.

    Example
    -------
    >>> from saddlery import certify, saddle_graph, train
    >>> steps = route(saddle_graph("linear"), certify(train("linear")))
    >>> [step.node for step in steps]
    [0, 1, 3]
    """
    certified = all(stage.certificate is not None for stage in found.stages)
    given = Words("stages that are not")
    require(certified, "stages", "certified", given, "pass certify(run)")
    objective = found.run.objective()
    steps = []
    for k, stage in enumerate(found.stages):
        node = _node_of(graph, objective, stage.fixed_point)
        departure = None
        if node is not None and k + 1 < len(found.stages):
            wider = graph.nodes[node].units + 1
            departure = _largest_departure(found, k, width=wider)
        steps.append(Step(node, departure))
    return tuple(steps)


def _node_of(
    graph: SaddleGraph,
    objective: Objective,
    point: FixedPoint | None,
) -> int | None:
    if point is None:
        return None
    predictions = np.asarray(objective.predictions(point.state))
    return _with_map(objective, graph.nodes, predictions)


def _largest_departure(found: Stages, k: int, *, width: int) -> float:
    """From the manifold of a width, from half-way down after stage k on to the next."""
    objective, states = found.run.objective(), found.run.trajectory.states
    between = states[half_way(found, k) : found[k + 1].index + 1]
    return max(_departure(objective, state, width) for state in between)


def _departure(objective: Objective, state: np.ndarray, width: int) -> float:
    network, params = objective.network, objective.params(np.asarray(state, float))
    u, v = sides(network, params, 0)
    nearest = nearest_of_width(u, v, network.layers[0].unit, width)
    return nearest.distance / max(float(np.linalg.norm(np.hstack([u, v]))), TINY)
