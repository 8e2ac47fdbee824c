"""The page of a saddle graph: its figure, its fixed points and its paths."""

from __future__ import annotations

from .. import plots
from ..basis.checks import require
from ..experiments import Experiment
from ..plateaus import SaddleGraph
from .figures import figure
from .markup import Markup, counted, fill, joined
from .pages import page
from .tables import grid

GRAPH_SIZE = (6.4, 4.2)  # inches
LEAD = (
    "Fixed points that can be reached from the origin by one unit after another,"
    " certified in the wide network, and the paths between them."
)


def graph_page(graph: SaddleGraph, experiment: Experiment) -> str:
    """One self-contained page about the saddle graph of an experiment.

    Cost: one picture, about 0.3 s.
    """
    require(
        isinstance(graph, SaddleGraph),
        argument="a page of a graph",
        needed="made of a SaddleGraph",
        given=type(graph).__name__,
    )
    e = experiment
    parts = [
        fill(
            "<header><p class=small>saddlery: saddle graph</p><h1>{}</h1>"
            "<p class=lead>{}, {}. {}</p></header>",
            e.name,
            counted(len(graph.nodes), "fixed point"),
            counted(len(graph.edges), "path"),
            LEAD,
        )
    ]
    for note in _notes(graph):
        parts.append(fill('<p class="note" role="note">{}</p>', note))
    parts.append(_fixed_points(graph))
    if graph.edges:
        parts.append(fill("<h3>Paths</h3>{}", _paths(graph)))
    toml = "<details><summary>The experiment (TOML)</summary><pre>{}</pre></details>"
    parts.append(fill(toml, e.to_toml()))
    words = "<p class=small>Experiment id {}, seed {}.</p>"
    parts.append(fill(words, e.identity, e.seed))
    return page(f"{e.name}, a saddle graph of saddlery", joined(parts))


def _notes(graph: SaddleGraph) -> list[str]:
    notes = [f"Not followed: {words}" for words in graph.failures]
    if not graph.complete:
        notes.insert(
            0,
            "Not all escapes were followed: raise the budget.",
        )
    return notes


def _fixed_points(graph: SaddleGraph) -> Markup:
    picture = figure(
        lambda axes: plots.graph(graph, axes),
        name="graph",
        caption="Loss of each fixed point against its units."
        " Arrows: escapes, as thick as their utility.",
        size=GRAPH_SIZE,
    )
    nodes = grid(
        *graph.table(),
        caption="Nodes, in the order in which they were found.",
    )
    return fill(
        "<div class=curves>{}</div><h3>Fixed points</h3>{}",
        picture,
        nodes,
    )


def _paths(graph: SaddleGraph) -> Markup:
    columns = (
        "from",
        "to",
        "utility",
        "order",
        "growth rate",
        "loss before",
        "loss after",
    )
    rows = []
    for edge in graph.edges:
        row = (
            edge.start,
            edge.end,
            edge.utility,
            edge.order,
            edge.rate,
            graph.nodes[edge.start].loss,
            graph.nodes[edge.end].loss,
        )
        rows.append(row)
    caption = (
        "Escapes: the utility of the unit that breaks its silence,"
        " the order of the fall of the loss, the rate of growth."
    )
    return grid(columns, rows, caption=caption)
