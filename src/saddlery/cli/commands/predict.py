"""`saddlery predict`: what theory expects of an experiment."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..arguments import RECORD_OUT, add_experiment, add_tolerance
from ..codes import DONE
from ..command import Command


def _options(parser: ArgumentParser) -> None:
    add_experiment(parser)
    add_tolerance(parser)


def predict(options: Namespace) -> int:
    """Say which stages every theory that applies expects."""
    from ...predictions import predict as predict_stages
    from ..outputs import out_to_write, show, write_record
    from ..progress import progress
    from ..subjects import experiment_of

    target = out_to_write(options)
    experiment = experiment_of(options)
    with progress(f"predict {experiment.name}") as report:
        found = predict_stages(experiment, progress=report)
    record = {
        "experiment": experiment.name,
        "seed": experiment.seed,
        "predictions": [prediction.record() for prediction in found],
        "outside": found.outside,
    }
    write_record(record, target)
    show(options, record, "\n\n".join([*map(repr, found), *found.outside]))
    return DONE


COMMAND = Command(
    name="predict",
    help="say beforehand which stages theory expects of an experiment, and when",
    example="saddlery predict linear --set initialization.scale=1e-6",
    function=predict,
    options=_options,
    out=RECORD_OUT,
    seed="seed of the data and the initial weights (default: the experiment's own)",
)
