"""Ctrl-C: never lost, and never in the middle of saving. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_asked = False


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Remember Ctrl-C beside raising it: raised inside a callback of the garbage collector it is printed and forgotten.

    Does nothing outside the main thread, or where whoever started the process chose another handler or to ignore it.
    """
    global _asked
    _asked = False
    if not _main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """A second Ctrl-C does not spoil the saving of what the first one left."""
    if not _main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
