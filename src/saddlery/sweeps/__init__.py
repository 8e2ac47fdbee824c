"""Sweeps: thousands of runs of one experiment, stored so that nothing that finished is ever lost."""

from __future__ import annotations

from .design import Drawn, Sweep, import_modules
from .reading import arrays, as_records, export, export_place, index, query, write_rows
from .running import Finished, Plan, plan, run_sweep
from .storage import design_of, failures, identities, kept, read_record, with_data

__all__ = [
    "Drawn",
    "Finished",
    "Plan",
    "Sweep",
    "arrays",
    "as_records",
    "design_of",
    "export",
    "export_place",
    "failures",
    "identities",
    "import_modules",
    "index",
    "kept",
    "plan",
    "query",
    "read_record",
    "run_sweep",
    "with_data",
    "write_rows",
]
