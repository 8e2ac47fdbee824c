"""Moments at which an interruption may come, and moments at which it has to
wait. Imports nothing heavy.

Whoever handles signals (the command line) asks here: `finishing` marks
functions in whose hands is something finished that is not safe yet,
`giving_up` functions that leave nothing behind when they are ended. The
innermost mark counts.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
# Seconds between two looks at a thread that is waited for: Python handles signals
# between them.
LOOK = 0.1
# Such a thread is asked to stop so many times at most, which takes milliseconds; one
# that does not end is left behind.
TRIES = 50

_FINISHING: set[CodeType] = set()
_GIVING_UP: set[CodeType] = set()
_WHOLE: contextvars.ContextVar[bool] = contextvars.ContextVar("whole", default=False)


def finishing(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that is ended by its own looks at the flag only, or not
    at all."""
    _FINISHING.add(_code(function))
    return function


def giving_up(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that may be ended anywhere."""
    _GIVING_UP.add(_code(function))
    return function


def _code(function: Any) -> CodeType:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function.__code__


@giving_up
def endable(work: Callable[..., R], *arguments: Any) -> R:
    """What `work` makes of the arguments; it may be ended anywhere, also
    within a function that may not."""
    return work(*arguments)


def may_end(frame: FrameType | None) -> bool:
    """Whether what runs in a frame and its callers may be ended here.

    Example
    -------
    >>> import inspect
    >>> from saddlery.basis.interruptions import endable, finishing, may_end
    >>> here = lambda: may_end(inspect.currentframe())
    >>> saving = finishing(lambda: (here(), endable(here)))
    >>> here(), saving()
    (True, (False, True))
    """
    while frame is not None:
        if frame.f_code in _GIVING_UP:
            return True
        if frame.f_code in _FINISHING:
            return False
        frame = frame.f_back
    return True


@contextlib.contextmanager
def whole_runs() -> Iterator[None]:
    """Within: a run that is interrupted ends in KeyboardInterrupt, since the
    part of it that was done is of no use."""
    before = _WHOLE.set(True)
    try:
        yield
    finally:
        _WHOLE.reset(before)


def partial_runs_count() -> bool:
    """Whether a run that is interrupted is worth keeping."""
    return not _WHOLE.get()


def patiently(call: Callable[[], R], stop: Callable[[], object]) -> R:
    """The result of a call of another library that handles no signals.

    It runs in a thread of its own, and `stop` is called where the one who
    waits is interrupted.

    Raises what the call raises. Cost: a thread, and at the most 0.1 seconds until an
    interruption is heard.

    Example
    -------
    >>> from saddlery.basis.interruptions import patiently
    >>> patiently(lambda: sum(range(5)), stop=lambda: None)
    10
    """
    done: list[R] = []
    failed: list[BaseException] = []
    over = threading.Event()  # an interrupted join of Python 3.11 takes its thread for ended

    def run() -> None:
        try:
            done.append(call())
        except BaseException as error:
            failed.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        while not over.wait(LOOK):
            pass
    except BaseException:
        for _ in range(TRIES):  # asked before it has begun it would not hear
            if not over.is_set():
                stop()
                over.wait(LOOK)
        raise
    if failed:
        raise failed[0]
    return done[0]
