"""The saddle graph: fixed points of every width, and between any two of them one path, that of the
fastest escape.

From a fixed point of width h a unit breaks its silence along a critical point of its utility; the
flow then runs along the invariant manifold of width h + 1 to a fixed point there (Theorem 3 and the
end of Section 4.3 of Zhang, Saxe & Latham 2026). Nodes are certified in the network as wide as
asked, and are one where their maps are one; edges carry the path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import NumericalError, Words, known, require, whole
from ..basis.pictures import Pictured
from ..basis.precision import in_float64, spare_programs
from ..basis.records import Printed, Result, plain
from ..basis.tolerances import Tolerances, chosen
from ..doors import labels
from ..networks import Objective
from ..runs.store import Subject, experiment_of
from ..saddles import Certificate, FixedPoint, certify_state
from ..saddles.narrow_networks import NarrowNetwork, Sides, state_of, with_units
from ..saddles.settling import Held, Settled
from ..symmetry import leading_tensor, nearest_of_width, utility_maxima
from .stage import Stages, certificate_columns

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


# times the size at which units join predictions: escapes that are not the fastest are left sooner
# by noise
BEGIN = 5.0


@dataclass(frozen=True, eq=False, repr=False)
class Node(Result):
    """A fixed point. units: of the narrow network. state (P,): embedded in the wide one.
    certificate: there."""

    units: int
    loss: float
    state: np.ndarray
    certificate: Certificate
    narrow: NarrowNetwork

    def printed(self) -> Printed:
        rows = [("units", self.units), ("loss of the node", self.loss), *self.certificate.rows()]
        return Printed(("node", ""), rows)

    def record(self) -> dict[str, object]:
        """JSON form, without the state."""
        certificate = self.certificate.record()
        return plain({"units": self.units, "loss": self.loss, "certificate": certificate})


@dataclass(frozen=True, eq=False, repr=False)
class Edge(Result):
    """A connecting path from node `start` to node `end`. utility: of the unit that escapes, max
    over its size on the sphere;
    order: p + 1; rate: sigma of its growth e^(sigma t) for p = 1, else None. path: the flow on the
    manifold of width h + 1."""

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
    """Nodes in the order they were found, the origin first; edges; whether every escape that was
    found has been followed.

    failures: escapes whose flow came to no fixed point, in words.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    complete: bool
    failures: tuple[str, ...]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table: one node a row, with where its escapes lead."""
        columns = ("node", "units", "loss", "verdict", "index", "escapes to (utility)")
        return columns, [self._row(k) for k in range(len(self.nodes))]

    def _row(self, k: int) -> list[object]:
        node = self.nodes[k]
        point = node.certificate
        index = point.index if isinstance(point, FixedPoint) else None
        return [k, node.units, node.loss, point.verdict, index, self._escapes(k)]

    def _escapes(self, k: int) -> str:
        return (
            ", ".join(f"{edge.end} ({edge.utility:.3g})" for edge in self.edges if edge.start == k)
            or "-"
        )

    def printed(self) -> Printed:
        left = [] if self.complete else ["not all escapes were followed: raise the budget"]
        return Printed(*self.table(), notes=[*left, *self.failures])

    def record(self) -> dict[str, object]:
        """JSON form, without states and paths."""
        return {
            "nodes": [node.record() for node in self.nodes],
            "edges": [edge.record() for edge in self.edges],
            "complete": self.complete,
            "failures": list(self.failures),
        }

    def _columns(self, of: str) -> dict[str, list[Any]]:
        """Of the nodes or of the edges, by the names of the schema."""
        if of == "edges":
            names = {"start": "start", "end": "end", "edge_utility": "utility"}
            names |= {"order": "order", "rate": "rate"}
            return {
                name: [getattr(edge, own) for edge in self.edges] for name, own in names.items()
            }
        own = {name: [getattr(node, name) for node in self.nodes] for name in ("units", "loss")}
        return {**own, **certificate_columns([node.certificate for node in self.nodes])}

    def to_dataframe(self, of: str = "nodes") -> pd.DataFrame:
        """A row a node, or of="edges" a row an edge, by the names of `schema.LABELS`. Needs
        pandas."""
        return labels.frame(known(of, ("nodes", "edges"), "of"), self._columns(of), self._about())

    def to_xarray(self) -> xr.Dataset:
        """Nodes along `node`, with their weights, and edges along `edge`. Needs xarray."""
        nodes = {**self._columns("nodes"), "states": np.array([node.state for node in self.nodes])}
        values = {"nodes": nodes, "edges": self._columns("edges")}
        return labels.dataset(values, self._about())

    def _about(self) -> dict[str, Any]:
        return {"complete": int(self.complete), "failures": list(self.failures)}


@in_float64
def saddle_graph(
    subject: Subject,
    *,
    budget: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> SaddleGraph:
    """All fixed points that can be reached from the origin by one unit after another, and the paths
    between them.

    Escapes are the critical points of the utility of a new unit: all singular pairs of the residual
    correlation for units linear in u, all eigenvectors for units of degree two with one output, and
    otherwise the local maxima found from 64 starts. One layer of units with a silent point; at most
    `budget` nodes are left, those of lowest width first. progress: called with (nodes left, nodes
    found). subject: an experiment, its shipped name, TOML path or table, a run or its folder.

    Raises InputError for other networks, and where equal singular values or eigenvalues leave a
    continuum of saddles.
    Cost: one flow of a narrow network an edge, one certificate a node.

    Example
    -------
    >>> from saddlery import Experiment, saddle_graph
    >>> graph = saddle_graph(Experiment.named("linear"))
    >>> len(graph.nodes), len(graph.edges)
    (4, 4)
    """
    spare_programs()
    experiment = experiment_of(subject)
    network = experiment.network
    single = len(network.layers) == 1 and not network.readout and not network.layers[0].residual
    require(
        single,
        "the network",
        "one sum of units",
        network.architecture,
        "deep networks have no saddle graph yet",
    )
    unit = network.layers[0].unit
    require(
        unit.symmetry.degree is not None, "units", "with a silent point and a leading degree", unit
    )
    remedy = (
        "its coordinates join one by one within it: predict(experiment, "
        'theory="diagonal jumps") has their saddles'
    )
    require(not unit.separable, "units", "whole", unit, remedy)
    whole(budget, "budget")
    objective = experiment.objective()
    nodes, edges, failures = [_node(objective, NarrowNetwork.nothing(objective))], [], []
    first, left = 0.0, 0
    no_utility = GraphTolerances.now().no_utility
    while left < len(nodes) and left < budget:
        node = nodes[left]
        found = _escapes(node.narrow) if node.units < network.widths[0] else []
        first = first or max((size for size, _ in found), default=0.0)
        found = [(size, direction) for size, direction in found if size > no_utility * first]
        _demand_isolated(node.narrow, found, left)
        for k, (size, direction) in enumerate(found):
            order = (unit.symmetry.degree or 0) + 1
            amplitude = BEGIN * node.narrow.size_to_join(size / first, order)
            try:
                narrow, path = node.narrow.join(
                    (amplitude * direction[0], amplitude * direction[1]),
                    rest=GraphTolerances.now().calm,
                    held=_faster(node.narrow, found[:k]),
                )
            except NumericalError as error:
                failures.append(f"an escape from node {left} (utility {size:.3g}): {error}")
                continue
            end = _place(objective, nodes, narrow)
            if all((edge.start, edge.end) != (left, end) for edge in edges) and end != left:
                edges.append(Edge(left, end, size, order, 2 * size if order == 2 else None, path))
        left += 1
        if progress is not None:
            progress(left, len(nodes))
    return SaddleGraph(tuple(nodes), tuple(edges), left == len(nodes), tuple(failures))


def _node(objective: Objective, narrow: NarrowNetwork) -> Node:
    state = state_of(objective, *narrow.sides())
    return Node(
        narrow.count, float(objective.loss(state)), state, certify_state(objective, state), narrow
    )


def _same_map(objective: Objective, node: Node, predictions: np.ndarray) -> bool:
    """Whether a node has these predictions (N, O)."""
    error = objective.map_error(predictions, np.asarray(objective.predictions(node.state)))
    return error <= GraphTolerances.now().same_map


def _place(objective: Objective, nodes: list[Node], narrow: NarrowNetwork) -> int:
    """The node of the same map, or a new one."""
    found = np.asarray(narrow.objective.predictions(narrow.state))
    for k, node in enumerate(nodes):
        if _same_map(objective, node, found):
            return k
    nodes.append(_node(objective, narrow))
    return len(nodes) - 1


def _escapes(narrow: NarrowNetwork) -> list[tuple[float, Sides]]:
    """(utility, unit direction (u, v) of size one) of the critical points of a new unit's utility,
    highest first."""
    unit = narrow.objective.network.layers[0].unit
    if unit.symmetry.linear:
        q, s, rt = np.linalg.svd(
            leading_tensor(narrow.objective, narrow.state), full_matrices=False
        )
        half = np.sqrt(0.5)
        return [
            (0.5 * float(x), (half * b[None], half * a[None]))
            for x, a, b in zip(s, q.T, rt, strict=True)
        ]
    if _spectral(narrow):
        values, vectors = np.linalg.eigh(leading_tensor(narrow.objective, narrow.state)[0])
        u, v = np.sqrt(2 / 3), np.sqrt(1 / 3)
        found = [
            (u**2 * v * abs(float(x)), (u * vectors[:, [k]].T, np.array([[np.sign(x) * v]])))
            for k, x in enumerate(values)
        ]
        return sorted(found, key=lambda pair: -pair[0])
    return [
        (m.value, (m.u[None], m.v[None])) for m in utility_maxima(narrow.objective, narrow.state)
    ]


def _spectral(narrow: NarrowNetwork) -> bool:
    """Whether escapes are all singular pairs, or all eigenvectors, of the residual correlation."""
    unit = narrow.objective.network.layers[0].unit
    quadratic = unit.symmetry.degree == 2 and unit.smooth and narrow.sides()[1].shape[1] == 1
    return unit.symmetry.linear or quadratic


def _demand_isolated(narrow: NarrowNetwork, found: list[tuple[float, Sides]], node: int) -> None:
    """Raise InputError where two singular pairs, or eigenvectors of one sign, have equal values and
    different maps."""
    one = with_units(narrow.objective, 1)
    linear = narrow.objective.network.layers[0].unit.symmetry.linear
    limits, small = GraphTolerances.now(), 1e-3 * one.scales.weights
    for (size, a), (other, b) in combinations(found, 2) if _spectral(narrow) else ():
        if size - other > limits.same_utility * size or not (
            linear or np.sign(a[1]) == np.sign(b[1])
        ):
            continue
        maps = [np.asarray(one.predictions(state_of(one, small * u, small * v))) for u, v in (a, b)]
        same = np.linalg.norm(maps[1] - maps[0]) <= limits.same_map * np.linalg.norm(maps[0])
        words = Words(
            f"two of equal utility {size:.3g} from node {node}, and with them "
            "a continuum of saddles"
        )
        require(same, "escapes", "isolated", words, "break the tie in the data")


def _faster(narrow: NarrowNetwork, found: list[tuple[float, Sides]]) -> Held | None:
    """The faster escapes, on every unit: the path of a slower one does not move along them. Of
    units of degree two only their u, which grows as v u does."""
    if not found or not _spectral(narrow):
        return None
    larger, units = narrow.with_room(narrow.count + 1), np.eye(narrow.count + 1)
    if narrow.objective.network.layers[0].unit.symmetry.linear:
        rows = [
            state_of(larger, e[:, None] * u, e[:, None] * v) for _, (u, v) in found for e in units
        ]
        return Held(np.array(rows), 2 * max(size for size, _ in found))
    rows = [
        state_of(larger, e[:, None] * u / np.linalg.norm(u), 0 * e[:, None] * v)
        for _, (u, v) in found
        for e in units
    ]
    value = max(size / (float(np.sum(u**2)) * float(np.abs(v).max())) for size, (u, v) in found)
    return Held(np.array(rows), 2 * value * larger.scales.weights)


# ------------------------------------------------------------- which path a run took
@dataclass(frozen=True)
class Step:
    """One stage of a run in the graph. node: of its certified fixed point, None where the graph has
    none of its map. departure: the largest distance of the run to the manifold of one more unit,
    relative to its weights, from half-way down to the next stage on (before, the small weights of
    the dormant units are no less than those of the one that grows); None at the end."""

    node: int | None
    departure: float | None


@in_float64
def route(graph: SaddleGraph, found: Stages) -> tuple[Step, ...]:
    """The nodes that a certified run visited, and how closely it followed the manifolds between
    them.

    Raises InputError for stages that are not certified. Cost: one nearest state of given width a
    saved point.
    """
    objective, states = found.run.objective(), found.run.trajectory.states
    require(
        all(s.certificate is not None for s in found.stages),
        "stages",
        "certified",
        Words("stages that are not"),
        "pass certify(run)",
    )
    steps = []
    for k, stage in enumerate(found.stages):
        node = _matching(graph, objective, stage.fixed_point)
        departure = None
        if k + 1 < len(found.stages) and node is not None:
            between = states[_half_way(found, k) : found[k + 1].index + 1]
            width = graph.nodes[node].units + 1
            departure = max(
                _departure(objective, np.asarray(state, float), width) for state in between
            )
        steps.append(Step(node, departure))
    return tuple(steps)


def _half_way(found: Stages, k: int) -> int:
    """The first saved point after stage k at which the loss is half-way to the next."""
    loss, begin = found.run.trajectory.loss, found[k].index
    return begin + int(np.flatnonzero(loss[begin:] <= 0.5 * (found[k].loss + found[k + 1].loss))[0])


def _matching(graph: SaddleGraph, objective: Objective, point: FixedPoint | None) -> int | None:
    if point is None:
        return None
    found = np.asarray(objective.predictions(point.state))
    same = [_same_map(objective, node, found) for node in graph.nodes]
    return same.index(True) if True in same else None


def _departure(objective: Objective, state: np.ndarray, width: int) -> float:
    params = objective.params(state)
    u, v = (
        np.asarray(side(params, 0))
        for side in (objective.network.incoming, objective.network.outgoing)
    )
    nearest = nearest_of_width(u, v, objective.network.layers[0].unit, width)
    return nearest.distance / max(float(np.linalg.norm(np.hstack([u, v]))), 1e-300)
