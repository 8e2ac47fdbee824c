"""The page of a saddle graph: its figure, its fixed points and its paths."""

from __future__ import annotations

from .. import plots
from ..basis.checks import require
from ..experiments import Experiment
from ..plateaus import SaddleGraph
from .figures import figure
from .markup import Markup, fill, joined
from .pages import page
from .tables import grid

SIZE = (6.4, 4.2)  # inches
WORDS = (
    "Fixed points that can be reached from the origin by one unit after another, certified in the"
    " wide network, and the paths"
    " between them."
)


def graph_page(graph: SaddleGraph, experiment: Experiment) -> str:
    """One self-contained page about the saddle graph of an experiment. Cost: one picture, about 0.3
    s."""
    require(
        isinstance(graph, SaddleGraph),
        "a page of a graph",
        "made of a SaddleGraph",
        type(graph).__name__,
    )
    e = experiment
    head = fill(
        (
            "<header><p class=small>saddlery: saddle graph</p><h1>{}</h1><p class=lead>{} fixed "
            "points, {} paths. {}</p></header>"
        ),
        e.name,
        len(graph.nodes),
        len(graph.edges),
        WORDS,
    )
    notes = [] if graph.complete else ["Not all escapes were followed: raise the budget."]
    notes += [f"Not followed: {words}" for words in graph.failures]
    caption = (
        "Loss of each fixed point against its units. Arrows: escapes, as thick as their utility."
    )
    picture = figure(lambda axes: plots.graph(graph, axes), "graph", caption, SIZE)
    nodes = grid(*graph.table(), caption="Nodes, in the order in which they were found.")
    body = joined(
        (
            head,
            *(fill('<p class="note" role="note">{}</p>', note) for note in notes),
            fill("<div class=curves>{}</div><h3>Fixed points</h3>{}", picture, nodes),
            fill("<h3>Paths</h3>{}", _paths(graph)) if graph.edges else "",
            fill(
                "<details><summary>The experiment (TOML)</summary><pre>{}</pre></details>",
                e.to_toml(),
            ),
            fill("<p class=small>Experiment id {}, seed {}.</p>", e.identity, e.seed),
        )
    )
    return page(f"{e.name}, a saddle graph of saddlery", body)


def _paths(graph: SaddleGraph) -> Markup:
    columns = ("from", "to", "utility", "order", "growth rate", "loss before", "loss after")
    loss = [node.loss for node in graph.nodes]
    rows = [
        [e.start, e.end, e.utility, e.order, e.rate, loss[e.start], loss[e.end]]
        for e in graph.edges
    ]
    caption = (
        "Escapes: the utility of the unit that breaks its silence, the order of the fall of "
        "the loss, the rate of growth."
    )
    return grid(columns, rows, caption=caption)
