"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..basis.text import visible
from .interrupts import check
from .streams import Tolerated, say

# Without a terminal the first line comes after so many seconds, the others so many
# apart.
FIRST, EVERY = 2.0, 10.0


class Report(Protocol):
    def __call__(self, fraction: float, words: str) -> None: ...


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Yield a function to be called with (fraction done, what is being done).

    A fraction below an earlier one (work that turned out larger, a worker
    that died) is shown as the earlier one.
    """
    if sys.stderr.isatty():
        yield from _bar(visible(title))
    else:
        yield from _lines(title)


def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<36}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[percent]:3d}%"),
        TimeElapsedColumn(),
    )
    console = Console(file=Tolerated(sys.stderr))  # type: ignore[arg-type]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0, percent=0)
        shown = 0.0

        def report(fraction: float, words: str) -> None:
            nonlocal shown
            check()
            shown = max(shown, fraction)
            now = f"{title}: {visible(words)}"
            bar.update(task, completed=shown, description=now, percent=_percent(shown))

        yield report


def _lines(title: str) -> Iterator[Report]:
    due, shown = time.monotonic() + FIRST, 0.0

    def report(fraction: float, words: str) -> None:
        nonlocal due, shown
        check()
        shown = max(shown, fraction)
        if shown < 1 and time.monotonic() > due:
            due = time.monotonic() + EVERY
            say(f"{title}: {_percent(shown)}% ({words})")

    yield report


def _percent(fraction: float) -> int:
    """Whole percents that are done: 100 at the end alone."""
    return min(round(100 * fraction), 99 if fraction < 1 else 100)
