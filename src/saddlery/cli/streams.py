"""All that a terminal is told: escaped, and never the reason that work is
lost. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from ..basis.text import visible, visible_lines


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """Within: streams that are closed swallow what is said, and letters that
    an encoding lacks are spelled out."""
    _fill_descriptors()
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    closed = [name for name, stream in streams.items() if stream is None]
    before = {name: stream.errors for name, stream in streams.items() if _adjustable(stream)}
    for name in closed:
        setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for name in before:
        getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for name in closed:
            getattr(sys, name).close()
            setattr(sys, name, None)
        for name, errors in before.items():
            with contextlib.suppress(OSError, ValueError):
                getattr(sys, name).reconfigure(errors=errors)


def _fill_descriptors() -> None:
    """A closed descriptor below 3 is given to the next file that is opened,
    and libraries that talk write into that file."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _adjustable(stream: object) -> bool:
    return hasattr(stream, "reconfigure") and hasattr(stream, "errors")


def say(words: str) -> None:
    """One line on stderr; a stderr that takes nothing is no reason to
    stop."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(visible(words) + "\n")
        sys.stderr.flush()


def put(text: str) -> None:
    """The result on stdout. A reader that has seen enough, such as `head`, is
    no error; a disk that is full is one."""
    try:
        sys.stdout.write(visible_lines(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """What is still buffered goes nowhere, so that Python does not fail again
    on its way out."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def settle_stdout() -> None:
    """Where stdout itself is what failed, `discard_stdout`."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        discard_stdout()


class Tolerated:
    """A stream for others to write to: what it does not take is lost, and
    nobody is stopped by that."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)
