"""`saddlery graph`: the saddles of an experiment and what connects them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial

from ...basis.interruptions import endable, finishing
from ..arguments import RECORD_OUT, add_experiment, add_page, add_tolerance
from ..codes import DONE
from ..command import Command


def _options(parser: ArgumentParser) -> None:
    add_experiment(parser)
    add_tolerance(parser)
    add_page(parser, "also write one self-contained HTML page, a figure and tables")


@finishing
def graph(options: Namespace) -> int:
    """Find the saddles of an experiment and what connects them."""
    from ...plateaus import saddle_graph
    from ...report import graph_page
    from ..outputs import out_to_write, page_to_write, show, write_page, write_record
    from ..progress import progress
    from ..subjects import experiment_of

    target, page = out_to_write(options), page_to_write(options)
    experiment = experiment_of(options)
    with progress(f"graph {experiment.name}") as report:
        looked = lambda left, of: report(left / of, f"{of} fixed points")
        found = endable(partial(saddle_graph, progress=looked), experiment)
    record = {"experiment": experiment.name, "seed": experiment.seed, **found.record()}
    write_record(record, target)
    show(options, record, repr(found))
    try:
        endable(write_page, page, lambda: graph_page(found, experiment))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; no page was written") from None
    return DONE


COMMAND = Command(
    name="graph",
    help="find the saddles that can be reached from the origin, and what connects them",
    example="saddlery graph relu --page relu.html",
    function=graph,
    options=_options,
    out=RECORD_OUT,
    seed="seed of the data (default: the experiment's own)",
)
