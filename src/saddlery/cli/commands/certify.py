"""`saddlery certify`: the fixed point behind every plateau of a run."""

from __future__ import annotations

import os
from argparse import Namespace

from ...basis.interruptions import finishing
from ..arguments import SEED_OF_RUN, add_run
from ..codes import DONE
from ..command import Command


@finishing
def certify(options: Namespace) -> int:
    """Certify the fixed point behind every plateau; the record also goes into
    the run folder."""
    from pathlib import Path

    from ...plateaus.earlier import changed_verdicts, read_stages
    from ..interrupts import uninterrupted
    from ..outputs import file_to_write, out_to_write, say, show, write_record
    from ..subjects import certified, run_of, stop

    target, before = out_to_write(options), None
    if target is None and os.path.isdir(options.run):
        target = file_to_write(Path(options.run) / "stages.json")
    if target is not None:
        before = read_stages(target)
    run, fresh = run_of(options)
    found, complete = certified(run, fresh)
    if not complete and not any(stage.certificate for stage in found.stages):
        stop(run, fresh)
    record = {"runs": [found.record()]}
    with uninterrupted():
        for words in changed_verdicts(before, found):
            say(f"note: {words} ({target}); CHANGELOG.md says what changed between versions")
        if complete or (target is not None and not os.path.isfile(target)):
            write_record(record, target)
        done = [stage for stage in found.stages if stage.certificate]
        reasons = "\n".join(f"{stage.kind}: {stage.certificate.reason}" for stage in done)
        show(options, record, f"{found!r}\n\n{reasons}".rstrip())
        if not complete:
            stop(run, fresh, f"{len(done)} of {len(found)} stages are certified")
    return DONE


COMMAND = Command(
    name="certify",
    help="certify the fixed point behind every plateau of a run",
    example="saddlery certify runs/relu --json",
    function=certify,
    options=add_run,
    out="file of the JSON record (default: RUN/stages.json if RUN is a folder)",
    seed=SEED_OF_RUN,
)
