"""Ctrl-C, and SIGTERM like it: heard once, at a moment when it can do no
harm. Imports nothing heavy.

The first signal raises KeyboardInterrupt, but not within an import, a trace
or a compilation (what is half done there stays broken), nor in functions that
hold what is finished but not safe (`interruptions`): then it waits, and is
tried again. Whatever comes after it changes nothing. `check`, which progress
reports call, raises it wherever it waits.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from ..basis.interruptions import may_end

# The signals that are heard, each with its usual handler.
SIGNALS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
# Seconds until a signal that had to wait is tried again.
AGAIN = 0.05
# No exception is raised within these packages: they import, trace or compile, and hold
# locks and caches of their own meanwhile.
DELICATE = {"importlib", "jax", "jaxlib", "equinox", "diffrax", "optax", "lineax", "optimistix"}
# Where JAX waits for a result nothing is half done, and an exception is raised.
WAITING = "jax._src.array"

_asked = False  # whether a signal came
_raised = False  # whether it was raised where the frames allowed it
_held = 0  # how many `uninterrupted` are open
_last = False  # whether the process ends with its command
# Set when nothing is to be tried again.
_over = threading.Event()
_over.set()
# Held while one is sent: none goes to a main thread that has ceased to handle them.
_sending = threading.Lock()


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Handle the signals. Does nothing outside the main thread, or where
    whoever started the process chose another handler or to ignore it."""
    if not _main_thread():
        yield
        return
    global _asked, _raised
    _asked = _raised = False
    # Whoever started the process may ignore them, or handle them otherwise.
    ours = [number for number, usual in SIGNALS.items() if signal.getsignal(number) is usual]
    hook = sys.unraisablehook
    sys.unraisablehook = _swallowed
    _over.clear()
    for number in ours:
        signal.signal(number, _heard)
    try:
        _unblock()
        yield
    finally:
        with _sending:
            _over.set()
        for number in ours:
            signal.signal(number, signal.SIG_IGN if _last else SIGNALS[number])
        if not _last:
            sys.unraisablehook = hook


def end_with_the_command() -> None:
    """Have no signal do anything once `watch` is over: for a process that
    does nothing else.

    To block signals is not enough then: a mask is that of one thread, and another
    one, of JAX's or dask's, is given what the main thread does not take. Nor is a
    handler: Python takes it off before the process has ended, and a signal then
    ends it with another code. So signals are ignored.
    """
    global _last
    _last = True


def block() -> None:
    """Have signals wait until `watch` begins: for the first lines of a
    process, and for its last."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _unblock() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _heard(number: int, frame: FrameType | None) -> None:
    global _asked, _raised
    first, _asked = not _asked, True
    if _raised or _over.is_set():
        return
    if not _held and not _delicate(frame) and may_end(frame):
        _raised = True
        raise KeyboardInterrupt
    if first:
        threading.Thread(target=_try_again, args=(number,), daemon=True).start()


def _delicate(frame: FrameType | None) -> bool:
    """Whether an exception here would leave something half done that cannot
    be done again."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] in DELICATE and module != WAITING:
            return True
        frame = frame.f_back
    return False


def _try_again(number: int) -> None:
    main = threading.main_thread().ident
    while not _over.wait(AGAIN) and not _raised:
        with _sending:
            if not _over.is_set() and hasattr(signal, "pthread_kill") and main is not None:
                signal.pthread_kill(main, number)  # wakes a main thread that waits, too


def _swallowed(unraisable: sys.UnraisableHookArgs) -> None:
    """What is raised within a callback of the garbage collector goes nowhere;
    try again. What Python says of a signal that is not handled any more, too."""
    global _raised
    if _over.is_set() and unraisable.exc_type in (KeyboardInterrupt, OSError):
        return
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    _raised = False
    threading.Thread(target=_try_again, args=(signal.SIGINT,), daemon=True).start()


def check() -> None:
    """Raise KeyboardInterrupt if a signal came and waits; progress reports
    call this."""
    global _raised
    if _asked and _main_thread():
        _raised = True
        raise KeyboardInterrupt


def asked() -> bool:
    """Whether a signal came to the command that runs in the main thread."""
    return _asked and not _over.is_set() and _main_thread()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within: signals wait, so that they do not spoil the saving of what is
    finished."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
