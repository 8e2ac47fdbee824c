"""Engines: where the jobs of a sweep or a study are done: here, in processes of this machine, on a
cluster.

What a job does is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..basis.checks import require
from .base import ENGINES, Done, Engine, Job, perform
from .cluster import Dask, Slurm
from .local import Here, Local

__all__ = [
    "ENGINES",
    "Dask",
    "Done",
    "Engine",
    "Here",
    "Job",
    "Local",
    "Slurm",
    "engine_of",
    "make",
    "perform",
]


def engine_of(given: Engine | str | None, default: type[Engine]) -> Engine:
    """The engine meant by what every verb takes: one that is made, its name, or None for the
    default."""
    if isinstance(given, str):
        return make(given)
    require(
        given is None or isinstance(given, Engine), "engine", "an Engine or the name of one", given
    )
    return default() if given is None else given


def make(name: str = "local", workers: int = 0, options: Mapping[str, Any] | None = None) -> Engine:
    """The engine called "local" (processes of this machine), "here" (this process), "dask" or
    "slurm"."""
    return ENGINES.named(name)(workers, dict(options or {}))
