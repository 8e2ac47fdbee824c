"""The command line: parse, typed configuration, call, record. Data to stdout,
talk and progress to stderr.

Nothing here computes, and no other room imports from here.

A command is a file in `commands`. Exit codes are in `codes`. Every failure is
one sentence on stderr; SADDLERY_TRACEBACK=1 adds where it came from.
"""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator

from .codes import DONE, INPUT, INTERRUPTED, NUMERICAL, STORAGE, UNEXPECTED
from .command import Command
from .interrupts import asked, check, watch
from .parser import parse
from .streams import discard_stdout, say, settle_stdout, tolerant

NOTHING = "interrupted before anything was finished; nothing was saved"
TOO_LATE = "interrupted when everything was done; nothing is lost"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Help and misuse of options
    leave by SystemExit."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices: more threads only contend
    if arguments is None:
        arguments = sys.argv[1:]
    with tolerant():
        try:
            with watch():
                return _ended(_command(arguments))
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            discard_stdout()
            return DONE
        except (Exception, KeyboardInterrupt) as error:
            return _failure(error)


def _command(arguments: list[str]) -> int:
    try:
        command, options = parse(arguments)
        _admit(command, options)
        check()
        with _deciding(options):
            return command.function(options)
    finally:
        sys.stdout.flush()


def _admit(command: Command, options: Namespace) -> None:
    """Raise InputError where a seed is given to a command that draws nothing
    by it."""
    if options.seed is not None and command.refusal:
        from ..basis.checks import InputError

        raise InputError(command.refusal.format(seed=options.seed))


@contextlib.contextmanager
def _deciding(options: Namespace) -> Iterator[None]:
    """Within: decisions are made by the tolerances that were given."""
    given = getattr(options, "tolerances", [])
    if not given:
        yield
        return
    # Of all rooms that decide: each has records of its own.
    from .. import predictions  # noqa: F401
    from ..basis.tolerances import parsed, using

    with using(*parsed(given)):
        yield


def _ended(code: int) -> int:
    """The code of a command that is over; a signal that came too late to stop
    it is not passed over in silence."""
    if code != DONE or not asked():
        return code
    say(TOO_LATE)
    return INTERRUPTED


def _failure(error: BaseException) -> int:
    """Say what went wrong in one sentence and return the code of its kind."""
    if os.environ.get("SADDLERY_TRACEBACK"):
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
    code, sentence = _sentence(error)
    say(f"saddlery: {sentence}")
    return code


def _sentence(error: BaseException) -> tuple[int, str]:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or NOTHING
    from ..basis.checks import InputError, NumericalError, StorageError

    # Ours first: a StorageError is an OSError too.
    if isinstance(error, NumericalError):
        return NUMERICAL, str(error)
    if isinstance(error, InputError):
        return INPUT, str(error)
    if isinstance(error, StorageError):
        return STORAGE, str(error)
    if isinstance(error, OSError):
        return STORAGE, _of_the_system(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        remedy = "lower the width, the samples or the number of saved points"
        return UNEXPECTED, f"out of memory; {remedy}"
    if _refused_by_jax(error):
        return INPUT, _of_jax(error)
    from ..basis.echo import said

    what = f"unexpected {type(error).__name__}: {said(error)}"
    return UNEXPECTED, f"{what}; set SADDLERY_TRACEBACK=1 to see where"


def _refused_by_jax(error: BaseException) -> bool:
    """Whether it came up where JAX reads its settings from the environment,
    when it is imported."""
    import traceback

    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get("__name__") for frame in frames]
    return "jax" not in sys.modules and modules[-1:] == ["jax._src.config"]


def _of_jax(error: BaseException) -> str:
    """With the variables whose value it repeats."""
    from ..basis.echo import said

    told = []
    for name, value in os.environ.items():
        if name.startswith("JAX_") and value and value in str(error):
            told.append(name)
    which = " and ".join(told) or "the variables JAX_... of the environment"
    return f"JAX does not start here: {said(error)}; mend {which}, or unset it"


def _of_the_system(error: OSError) -> str:
    from ..doors.outlets import remedy

    settle_stdout()
    sentence = f"{error.strerror or error}"
    if isinstance(error.filename, (str, bytes)):
        sentence = f"{os.fsdecode(error.filename)}: {sentence}"
    return f"{sentence}; {remedy(error, 'set SADDLERY_TRACEBACK=1 to see where')}"
