"""Sweeps: thousands of runs of one experiment, stored so that nothing that finished is ever lost."""

from __future__ import annotations

from .design import Drawn, Sweep
from .running import Finished, Plan, plan, run_sweep
from .storage import arrays, export, failures, index, kept, query, read_record

__all__ = [
    "Drawn",
    "Finished",
    "Plan",
    "Sweep",
    "arrays",
    "export",
    "failures",
    "index",
    "kept",
    "plan",
    "query",
    "read_record",
    "run_sweep",
]
