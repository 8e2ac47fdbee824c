"""The shapes that signatures state, checked where arrays are passed; numbers are left to saddlery's
own errors."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
import typing

import jax
import numpy as np
from jaxtyping import AbstractArray

ARRAYS = (np.ndarray, jax.Array)
_on = True


@contextlib.contextmanager
def checking(on: bool):
    """Checks are on, or off, inside the context."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


def check(function):
    """A type checker for jaxtyping's import hook: array arguments and results against their
    annotations, nothing else."""
    try:
        hints = {
            name: allowed
            for name, hint in typing.get_type_hints(function).items()
            if (allowed := _shapes(hint))
        }
    except (NameError, TypeError):  # names that exist for static checkers only
        return function
    if not hints:
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _check(function, name, value, hints)
        result = function(*args, **kwargs)
        _check(function, "return", result, hints)
        return result

    return checked


def _shapes(hint) -> tuple:
    """The array types an annotation allows; none where it is not about arrays alone."""
    members = (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )
    return tuple(m for m in members if inspect.isclass(m) and issubclass(m, AbstractArray))


def _check(function, name, value, hints) -> None:
    if _on and name in hints and isinstance(value, ARRAYS) and not isinstance(value, hints[name]):
        raise TypeError(
            f"{function.__qualname__}: {name} is annotated {hints[name]}, got "
            f"{value.dtype}{value.shape}"
        )
