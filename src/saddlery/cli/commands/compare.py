"""`saddlery compare`: prediction and measurement of a run side by side."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial

from ...basis.interruptions import finishing
from ..arguments import RECORD_OUT, SEED_OF_RUN, add_page, add_run
from ..codes import DONE
from ..command import Command


def _options(parser: ArgumentParser) -> None:
    add_run(parser)
    words = "also write one self-contained HTML page, a figure and a table for each theory"
    add_page(parser, words)


@finishing
def compare(options: Namespace) -> int:
    """Put every prediction that applies beside a run."""
    from ...predictions import compare as put_beside
    from ...predictions import predict as predict_stages
    from ...report import comparisons_page
    from ..outputs import out_to_write, page_to_write, show, write_page, write_record
    from ..progress import progress
    from ..subjects import after, run_of, stages_of

    target, page = out_to_write(options), page_to_write(options)
    run, fresh = run_of(options)
    with progress(f"predict {run.experiment.name}") as report:
        predicted = partial(predict_stages, progress=report)
        predictions = after(run, fresh, predicted, run.experiment)
    found = stages_of(run, fresh)
    compared = [after(run, fresh, put_beside, prediction, found) for prediction in predictions]
    record = {"comparisons": [comparison.record() for comparison in compared]}
    write_record(record, target)
    show(options, record, "\n\n".join(map(repr, compared)))
    draw = lambda: comparisons_page(compared)
    after(run, fresh, write_page, page, draw, words="no page was written")
    return DONE


COMMAND = Command(
    name="compare",
    help="put prediction and measurement of a run side by side",
    example="saddlery compare runs/linear --page beside.html",
    function=compare,
    options=_options,
    out=RECORD_OUT,
    seed=SEED_OF_RUN,
)
