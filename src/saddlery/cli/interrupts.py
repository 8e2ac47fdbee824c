"""Ctrl-C, and SIGTERM like it: never lost, and never in the middle of saving. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_asked = False
SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}  # and their usual handlers


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Remember Ctrl-C beside raising it: raised inside a callback of the garbage collector it is printed and forgotten.

    Does nothing outside the main thread, or where whoever started the process chose another handler or to ignore it.
    """
    global _asked
    _asked = False
    ours = [number for number, usual in SIGNALS.items() if _main_thread() and signal.getsignal(number) is usual]
    for number in ours:
        signal.signal(number, _remember)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, SIGNALS[number])


def _remember(number: int, frame: object) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed, whoever swallowed it; progress reports call this."""
    if _asked:
        raise KeyboardInterrupt


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C (or SIGTERM) does not spoil the saving of what the first one left."""
    if not _main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
