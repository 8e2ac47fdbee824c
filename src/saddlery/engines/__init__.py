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


def engine_of(
    given: Engine | str | None,
    default: type[Engine],
) -> Engine:
    """The engine meant by what every verb takes.

    One that is made, its name, or None for the default.

    Example
    -------
    >>> from saddlery.engines import Local, engine_of
    >>> engine_of("here", Local).name, engine_of(None, Local).name
    ('here', 'local')
    """
    if given is None:
        return default()
    if isinstance(given, str):
        return make(given)
    require(
        isinstance(given, Engine),
        argument="engine",
        needed="an Engine or the name of one",
        given=given,
    )
    return given


def make(
    name: str = "local",
    workers: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Engine:
    """The engine of a name.

    "local": processes of this machine; "here": this process; "dask" or
    "slurm": a cluster.
    """
    return ENGINES.named(name)(workers, dict(options or {}))
