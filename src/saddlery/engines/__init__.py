"""Engines: where the jobs of a sweep or a study are done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checks import known
from .base import ENGINES, Done, Engine, Job, perform
from .cluster import Dask, Slurm
from .local import Here, Local

__all__ = ["ENGINES", "Dask", "Done", "Engine", "Here", "Job", "Local", "Slurm", "make", "perform"]


def make(name: str = "local", workers: int = 0, options: Mapping[str, Any] | None = None) -> Engine:
    """The engine called "local" (processes of this machine), "here" (this process), "dask" or "slurm"."""
    return ENGINES[known(name, ENGINES, "engine")](workers, dict(options or {}))
