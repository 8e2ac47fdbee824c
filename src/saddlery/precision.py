"""JAX's switches: scoped 64-bit precision, so that importing saddlery never changes a global one, and its compiled programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` inside JAX's scoped 64-bit context, whatever the caller's setting is."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        import jax

        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return inside


def precision_context(precision: str):
    """The JAX context manager of "float64" or "float32"."""
    import jax

    return jax.enable_x64(precision == "float64")


MAPS = 30_000  # memory maps of a process: every compiled program takes a few, and Linux ends a process at 65,530


def spare_programs() -> None:
    """Drop compiled programs before there are so many that the system refuses the process another."""
    import jax

    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()
