"""`saddlery tour`: the six networks of the paper and one on real data."""

from __future__ import annotations

from argparse import Namespace

from ..codes import DONE, NUMERICAL
from ..command import Command


def tour(options: Namespace) -> int:
    """The six networks of the paper and one on real data."""
    from .. import tour as tours
    from ..outputs import place_to_write, say, show
    from ..progress import progress

    out = tours.prepare(options.out or "tour")
    place_to_write(out / "index.html")
    with progress("tour") as show_progress:
        runs = tours.tour(out, seed=options.seed, progress=show_progress)
    say(f"page in {out / 'index.html'}, record in {out / 'summary.json'}")
    show(options, tours.summary(runs), tours.table(runs))
    failed = [found.run for found in runs if found.run.failed]
    for run in failed:
        say(f"the run of {run.experiment.name!r} failed: {run.trajectory.reason}")
    return NUMERICAL if failed else DONE


COMMAND = Command(
    name="tour",
    help=(
        "train and certify the six networks of the paper and one on real data; writes "
        "index.html, summary.json and runs/"
    ),
    example="saddlery tour --out tour",
    function=tour,
    out=(
        "folder of the tour (default: tour); an earlier tour there is "
        "replaced, anything else refused"
    ),
    seed="seed of every experiment (default: each one's own)",
)
