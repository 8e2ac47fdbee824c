"""A worker process: a job a line on standard input, what became of it a
line on standard output.

Ends when its input does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from ..basis.precision import spare_programs
from .base import Job, answer_at_once, failure, perform

SECONDS_BETWEEN_WORDS = 0.5  # least time between two words on progress


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    _open_stderr()
    os.dup2(2, 1)  # whatever prints goes to standard error
    # Ctrl-C in a terminal reaches all; the supervisor ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_at_once()
    last = 0.0

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    def progress(fraction: float, _: str) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN_WORDS:
            last = time.monotonic()
            say({"fraction": fraction})

    for line in sys.stdin:
        try:
            job = Job.from_json(line)
            perform(job, progress)
            say({"key": job.key})
        except Exception as error:
            say(failure(error))
        spare_programs()


def _open_stderr() -> None:
    """Where the process that started this one had closed its standard
    error, the words of libraries go nowhere."""
    try:
        os.fstat(2)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    main()
