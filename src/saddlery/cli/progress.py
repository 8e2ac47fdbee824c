"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .interrupts import check

FIRST, EVERY = 2.0, 10.0  # seconds to the first line and between lines where there is no terminal


class Report(Protocol):
    def __call__(self, fraction: float, words: str) -> None: ...


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Yield a function to be called with (fraction done, what is being done)."""
    if sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield from _lines(title)


def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def report(fraction: float, words: str) -> None:
            check()
            bar.update(task, completed=fraction, description=f"{title}: {words}")

        yield report


def _lines(title: str) -> Iterator[Report]:
    due = time.monotonic() + FIRST

    def report(fraction: float, words: str) -> None:
        nonlocal due
        check()
        if fraction < 1 and time.monotonic() > due:
            due = time.monotonic() + EVERY
            sys.stderr.write(f"{title}: {100 * fraction:.0f}% ({words})\n")

    yield report
