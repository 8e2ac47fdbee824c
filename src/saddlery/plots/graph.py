"""The saddle graph: fixed points by number of units and loss, and the paths between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import Words, require
from ..basis.pictures import picture_of
from ..basis.sizes import TINY
from ..plateaus import SaddleGraph
from ..plateaus.graph import Node, Step
from .axes import BLUE, INK, MUTED, PURPLE, SMALL, VERMILION, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {
    "minimum": ("o", BLUE),
    "strict saddle": ("^", VERMILION),
    "degenerate saddle": ("D", PURPLE),
    "undecided": ("P", MUTED),
    "no fixed point found": ("s", MUTED),
}
GRAPH_INCHES = (6.0, 4.0)
# Nodes of one width nearer than this share of the range of losses stand side by side.
CLOSE = 0.03
SIDE_BY_SIDE = 0.13  # distance of such nodes on the axis of units
REACH = 0.8  # they take no more of it together, so that each is nearest to its own number
TICKS = 12  # at most so many numbers of units along the axis
THIN, THICK = 0.5, 2.4  # thickness in points of arrows of no utility and of the largest
PALE = 0.45  # opacity of arrows that are not on the route
LABEL_LINE = 1.2 * (SMALL - 1)  # height of a line of a label, in points
ROUNDED_LOSS = 1e-12  # a loss below this share of the largest is written as zero


@picture_of(SaddleGraph)
def graph(
    graph: SaddleGraph, axes: Axes | None = None, route: Sequence[Step] | None = None
) -> Axes:
    """Nodes by number of units and loss, labelled "node: loss"; arrows as thick as their utility.

    There is a marker for each verdict.

    route: that of a run (`saddlery.plateaus.graph.route`): its nodes ringed and its
        paths in black; a dotted line where the graph has no path between two nodes that
        were visited one after the other.

    Example
    -------
    >>> from saddlery import Experiment, plots, saddle_graph
    >>> axes = plots.graph(saddle_graph(Experiment.named("linear")))
    >>> axes.get_xlabel(), [text.get_text() for text in axes.texts]
    ('units of the narrow network', ['0: 0.58', '1: 0.08', '2: 0.5', '3: 0'])
    """
    require(
        isinstance(graph, SaddleGraph),
        "what is drawn",
        needed="a SaddleGraph",
        given=type(graph).__name__,
    )
    visited = [step.node for step in route or () if step.node is not None]
    count = len(graph.nodes)
    require(
        all(node < count for node in visited),
        "the route",
        needed=f"through the {count} nodes of this graph",
        given=Words(f"node {max(visited, default=0)}"),
        remedy="pass route(graph, stages) of the same graph",
    )
    axes = new_axes(axes, GRAPH_INCHES)
    places = _places(graph.nodes)
    _frame(axes, graph, places)
    _arrows(axes, graph, places, visited)
    _markers(axes, graph, places, visited)
    _labels(axes, graph.nodes, places)
    _legend(axes, graph, visited)
    return axes


def _places(nodes: Sequence[Node]) -> np.ndarray:
    """(units, loss) of every node (N, 2); those of as good as one place stand side by side."""
    places = np.array([(node.units, node.loss) for node in nodes], float)
    for cluster in _clusters(nodes):
        count = len(cluster)
        centred = np.arange(count) - 0.5 * (count - 1)
        apart = min(SIDE_BY_SIDE, REACH / max(count - 1, 1))
        places[cluster, 0] += apart * centred
    return places


def _clusters(nodes: Sequence[Node]) -> list[list[int]]:
    """Nodes of one width whose losses follow each other closely.

    In ascending order of width and of loss.
    """
    order = sorted(range(len(nodes)), key=lambda k: (nodes[k].units, nodes[k].loss))
    near = CLOSE * max(float(np.ptp([node.loss for node in nodes])), TINY)
    found: list[list[int]] = []
    for k in order:
        node = nodes[k]
        if found:
            last = nodes[found[-1][-1]]
            if last.units == node.units and node.loss - last.loss < near:
                found[-1].append(k)
                continue
        found.append([k])
    return found


def _frame(axes: Axes, graph: SaddleGraph, places: np.ndarray) -> None:
    """Limits with room for the labels, whole numbers of units, and what the axes are."""
    (left, low), (right, high) = places.min(axis=0), places.max(axis=0)
    span = (high - low) or max(abs(high), 1.0)
    axes.set_xlim(left - 0.25, right + 0.7)
    axes.set_ylim(low - 0.08 * span, high + 0.12 * span)
    most = max(node.units for node in graph.nodes)
    axes.set_xticks(range(0, most + 1, most // TICKS + 1))
    axes.set_xlabel("units of the narrow network")
    axes.set_ylabel("loss of the fixed point (mean over samples)")


def _arrows(axes: Axes, graph: SaddleGraph, places: np.ndarray, visited: Sequence[int]) -> None:
    """Paths as arrows; those of the route above the others."""
    strongest = max((edge.utility for edge in graph.edges), default=1.0)
    steps = {(start, end) for start, end in pairwise(visited) if start != end}
    for edge in graph.edges:
        taken = (edge.start, edge.end) in steps
        colour, opacity = (INK, 1.0) if taken else (MUTED, PALE)
        _arrow(
            axes,
            places[edge.start],
            places[edge.end],
            width=_thickness(edge.utility, strongest),
            colour=colour,
            alpha=opacity,
        )
    missing = steps - {(edge.start, edge.end) for edge in graph.edges}
    for start, end in missing:
        _arrow(axes, places[start], places[end], width=1.2, colour=INK, linestyle=":")


def _thickness(utility: float, strongest: float) -> float:
    if strongest <= 0:
        return THIN
    return THIN + (THICK - THIN) * utility / strongest


def _arrow(
    axes: Axes, start: np.ndarray, end: np.ndarray, *, width: float, colour: str, **style: Any
) -> None:
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch(
        tuple(start),
        tuple(end),
        arrowstyle="-|>",
        mutation_scale=5 + 1.6 * width,
        shrinkA=6,
        shrinkB=6,
        linewidth=width,
        color=colour,
        zorder=3 if colour == INK else 2,
        **style,
    )
    axes.add_patch(arrow)


def _markers(axes: Axes, graph: SaddleGraph, places: np.ndarray, visited: Sequence[int]) -> None:
    verdicts = [node.certificate.verdict for node in graph.nodes]
    for verdict, (marker, colour) in MARKERS.items():
        chosen = [k for k, own in enumerate(verdicts) if own == verdict]
        if not chosen:
            continue
        axes.scatter(
            *places[chosen].T,
            s=46,
            marker=marker,
            color=colour,
            linewidth=0,
            zorder=4,
            label=verdict,
        )
    if visited:
        axes.scatter(
            *places[list(visited)].T,
            s=150,
            facecolor="none",
            edgecolor=INK,
            linewidth=1.1,
            zorder=5,
        )


def _labels(axes: Axes, nodes: Sequence[Node], places: np.ndarray) -> None:
    """ "node: loss" to the upper right of every node, or a line each for nodes side by side.

    Moved up where two would meet.
    """
    height = _points_high(axes)
    low, high = axes.get_ylim()
    width, free = -1, -np.inf  # of the column, and from where on it is free
    for cluster in _clusters(nodes):
        own = nodes[cluster[0]].units
        if own != width:
            width, free = own, -np.inf
        x, y = places[cluster].max(axis=0)
        at = (y - low) / (high - low) * height + 5
        raised = max(at, free)
        lines = _lines(nodes, cluster)
        free = raised + LABEL_LINE * (lines.count("\n") + 1)
        axes.annotate(
            lines,
            (x, y),
            xytext=(6, 5 + raised - at),
            xycoords="data",
            textcoords="offset points",
            va="bottom",
            fontsize=SMALL - 1,
            linespacing=1.1,
            zorder=6,
        )


def _points_high(axes: Axes) -> float:
    """The height of the axes."""
    figure = axes.get_figure(root=True)
    inches = GRAPH_INCHES[1] if figure is None else float(figure.get_figheight())
    return 72 * axes.get_position().height * inches


def _lines(nodes: Sequence[Node], cluster: Sequence[int]) -> str:
    """The labels of nodes side by side, the highest first.

    "3, 4: 0.125" where one number says both losses.
    """
    by_loss: dict[str, list[int]] = {}
    for k in reversed(cluster):
        by_loss.setdefault(_loss(nodes, k), []).append(k)
    lines = []
    for loss, members in by_loss.items():
        names = ", ".join(map(str, sorted(members)))
        lines.append(f"{names}: {loss}")
    return "\n".join(lines)


def _loss(nodes: Sequence[Node], k: int) -> str:
    """Three digits; zero where rounding is all there is."""
    largest = max(abs(node.loss) for node in nodes)
    loss = nodes[k].loss
    if abs(loss) < ROUNDED_LOSS * largest:
        return "0"
    return f"{loss:.3g}"


def _legend(axes: Axes, graph: SaddleGraph, visited: Sequence[int]) -> None:
    """The verdicts that occur, the strongest and the weakest escape, and the route."""
    from matplotlib.lines import Line2D

    handles = list(axes.get_legend_handles_labels()[0])
    utilities = sorted({edge.utility for edge in graph.edges})
    ends = utilities[:: max(len(utilities) - 1, 1)]
    for utility in reversed(ends):
        line = Line2D(
            [],
            [],
            color=MUTED,
            alpha=PALE,
            linewidth=_thickness(utility, utilities[-1]),
            label=f"escape of utility {utility:.3g}",
        )
        handles.append(line)
    if visited:
        route = Line2D([], [], color=INK, linewidth=1.5, label="route of the run")
        handles.append(route)
    axes.legend(
        handles=handles,
        fontsize=SMALL - 1,
        frameon=False,
        loc="upper right",
        labelspacing=0.35,
        handlelength=1.6,
    )
