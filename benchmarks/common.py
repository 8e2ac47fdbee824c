"""Timing shared by the benchmarks: medians of repeats, one JSON line a method, a table, and ratios
that must hold."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saddlery.basis.records import text_table


def kept_programs() -> dict[str, str]:
    """The environment in which JAX keeps compiled programs for the next process: where compiling is
    most of the work.

    For what is checked, not timed: a benchmark's processes compile for themselves.
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "saddlery-programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@dataclass
class Bench:
    """Collects measurements of one script."""

    name: str
    rows: list[tuple] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def measure(
        self, method: str, call: Callable[[], object], *, repeats: int = 5, **facts: object
    ) -> float:
        """Median seconds of a call after one that compiles; prints one JSON line."""
        begin = time.perf_counter()
        call()
        first = time.perf_counter() - begin
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
        median = statistics.median(seconds)
        print(
            json.dumps(
                {
                    "benchmark": self.name,
                    "method": method,
                    "seconds": median,
                    "best": min(seconds),
                    "first_call": first,
                    "repeats": repeats,
                    **facts,
                }
            ),
            flush=True,
        )
        self.rows.append(
            (
                method,
                f"{1e3 * median:.2f} ms",
                f"{first:.2f} s",
                *[f"{k}={v}" for k, v in facts.items()],
            )
        )
        return median

    def race(
        self, calls: Mapping[str, Callable[[], object]], *, repeats: int = 15, **facts: object
    ) -> list[float]:
        """Median CPU seconds of each call, taken in turns so that what disturbs one disturbs all;
        prints one JSON line each."""
        for call in calls.values():
            call()
        seconds: dict[str, list[float]] = {method: [] for method in calls}
        for _ in range(repeats):
            for method, call in calls.items():
                begin = time.process_time()
                call()
                seconds[method].append(time.process_time() - begin)
        medians = {method: statistics.median(values) for method, values in seconds.items()}
        for method, values in seconds.items():
            entry = {
                "benchmark": self.name,
                "method": method,
                "cpu_seconds": medians[method],
                "best": min(values),
            }
            print(json.dumps({**entry, "repeats": repeats, **facts}), flush=True)
            self.rows.append(
                (
                    method,
                    f"{1e3 * medians[method]:.2f} ms",
                    "-",
                    *[f"{k}={v}" for k, v in facts.items()],
                )
            )
        return list(medians.values())

    def note(self, method: str, **facts: object) -> None:
        """What was seen, as one JSON line and a row of the table."""
        print(json.dumps({"benchmark": self.name, "method": method, **facts}), flush=True)
        self.rows.append((method, "-", "-", *[f"{k}={v}" for k, v in facts.items()]))

    def demand(self, claim: str, holds: bool) -> None:
        """A stated ratio or bound; a missed one makes the script exit non-zero."""
        print(f"{'holds ' if holds else 'MISSED'}  {claim}")
        if not holds:
            self.missed.append(claim)

    def finish(self) -> None:
        width = max(len(row) for row in self.rows)
        print(
            text_table(
                ("method", "median", "first call", *[""] * (width - 3)),
                [(*row, *[""] * (width - len(row))) for row in self.rows],
            )
        )
        sys.exit(1 if self.missed else 0)
