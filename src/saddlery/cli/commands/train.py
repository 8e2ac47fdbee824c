"""`saddlery train`: a run of an experiment, and its folder."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from ...basis.interruptions import finishing
from ..arguments import add_experiment
from ..codes import DONE, INTERRUPTED
from ..command import Command

if TYPE_CHECKING:
    from pathlib import Path


@finishing
def train(options: Namespace) -> int:
    """Train an experiment and save its run folder, also when Ctrl-C ends it
    early."""
    from pathlib import Path

    from ...doors.outlets import refuse_existing
    from ...runs import save_run
    from ..interrupts import asked, uninterrupted
    from ..outputs import place_to_write, say, show
    from ..subjects import default_folder, experiment_of, trained

    experiment = experiment_of(options)
    out = Path(options.out or default_folder(experiment))
    refuse_existing(out)
    place_to_write(out)
    run = trained(experiment)
    with uninterrupted():
        save_run(run, out)
        interrupted = run.trajectory.status == "interrupted" or asked()
        words = f"saved in {out}"
        if interrupted:
            words = f"interrupted; what was finished is {words}"
        say(words)
        show(options, _record(run, out), repr(run))
    return INTERRUPTED if interrupted else DONE


def _record(run: Any, out: Path) -> dict[str, Any]:
    kept = run.record()
    which = {name: kept[name] for name in ("experiment", "identity", "seed")}
    return {**which, "folder": str(out), **kept}


COMMAND = Command(
    name="train",
    help="train an experiment (a shipped name or a TOML file) and save its run folder",
    example="saddlery train relu --seed 3 --set network.layers.0.width=20 --out runs/relu",
    function=train,
    options=add_experiment,
    out="run folder (default: runs/NAME-seedSEED-ID); must not exist",
    seed="seed of the data, the initial weights and the batches (default: the experiment's own)",
)
