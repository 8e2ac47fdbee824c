"""`saddlery stages`: the plateaus of a run."""

from __future__ import annotations

from argparse import Namespace

from ...basis.interruptions import finishing
from ..arguments import RECORD_OUT, SEED_OF_RUN, add_run
from ..codes import DONE
from ..command import Command


@finishing
def stages(options: Namespace) -> int:
    """Find the plateaus and the effective units on each."""
    from ..outputs import out_to_write, show, write_record
    from ..subjects import run_of, stages_of

    target = out_to_write(options)
    found = stages_of(*run_of(options))
    record = {"runs": [found.record()]}
    write_record(record, target)
    show(options, record, repr(found))
    return DONE


COMMAND = Command(
    name="stages",
    help="find the plateaus of a run and the effective units on each",
    example="saddlery stages runs/relu",
    function=stages,
    options=add_run,
    out=RECORD_OUT,
    seed=SEED_OF_RUN,
)
