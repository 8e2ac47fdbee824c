"""Sweeps: thousands of runs of one experiment, stored so that nothing that finished is ever lost.

Nothing here looks at what the numbers mean.
"""

from __future__ import annotations

from .design import Drawn, Sweep, as_written, import_modules
from .reading import arrays, as_records, export, export_place, index, query, write_rows
from .running import Finished, Plan, plan, run_sweep
from .storage import design_of, failures, kept, read_record

__all__ = [
    "Drawn",
    "Finished",
    "Plan",
    "Sweep",
    "arrays",
    "as_records",
    "as_written",
    "design_of",
    "export",
    "export_place",
    "failures",
    "import_modules",
    "index",
    "kept",
    "plan",
    "query",
    "read_record",
    "run_sweep",
    "write_rows",
]
