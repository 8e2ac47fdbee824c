"""Scoped 64-bit precision: importing saddlery never changes JAX's global switch."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
