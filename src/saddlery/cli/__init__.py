"""The command line: parse, typed configuration, call, record. Data to stdout, talk and progress to stderr.

Exit codes are in `codes`. Every failure is one sentence on stderr; SADDLERY_TRACEBACK=1 adds where it came from.
"""

from __future__ import annotations

import contextlib
import os
import sys

from .codes import DONE, INPUT, INTERRUPTED, NUMERICAL, STORAGE, UNEXPECTED
from .interrupts import watch
from .parser import parse

NOTHING = "interrupted before anything was finished; nothing was saved"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Help and misuse of options leave by SystemExit."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices: more threads only contend
    try:
        with watch():
            try:
                return _command(sys.argv[1:] if arguments is None else arguments)
            finally:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_stdout()
        return DONE
    except (Exception, KeyboardInterrupt) as error:
        return _failure(error)


def _command(arguments: list[str]) -> int:
    options = parse(arguments)
    from .commands import COMMANDS

    return COMMANDS[options.command](options)


def _failure(error: BaseException) -> int:
    """Say what went wrong in one sentence and return the code of its kind."""
    if os.environ.get("SADDLERY_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    code, sentence = _sentence(error)
    sys.stderr.write(f"saddlery: {sentence}\n")
    return code


def _sentence(error: BaseException) -> tuple[int, str]:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or NOTHING
    from ..checks import InputError, NumericalError, StorageError

    for kind, code in ((NumericalError, NUMERICAL), (InputError, INPUT), (StorageError, STORAGE)):
        if isinstance(error, kind):
            return code, str(error)
    if isinstance(error, OSError):
        _discard_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return STORAGE, f"{where}{error.strerror or error}; free some space or choose another place for the output"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return UNEXPECTED, "out of memory; lower the width, the samples or the number of saved points"
    words = " ".join(str(error).split())
    return UNEXPECTED, f"unexpected {type(error).__name__}: {words}; set SADDLERY_TRACEBACK=1 to see where"


def _discard_stdout() -> None:
    """What is still buffered goes nowhere, so that Python does not fail again on its way out."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
