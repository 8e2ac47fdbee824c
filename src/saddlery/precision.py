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


COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's own event, once for every program it compiles
LOOK = 50  # programs compiled between two looks: reading the maps takes a millisecond, compiling these a second or more
MAPS = 7_000  # memory maps of a process: every program takes some 17, and Linux ends a process at 65,530
PROGRAMS = 400  # compiled since the last time all were let go, where the system does not say how many maps there are


class _Compiled:
    """How many programs JAX has compiled in this process, as it tells those that listen: since programs were last let go, and
    since the last look. Nothing is listened to before the first question."""

    def __init__(self) -> None:
        self.listening, self.programs, self.unseen = False, 0, 0

    def listen(self) -> None:
        import jax

        if not self.listening:
            jax.monitoring.register_event_duration_secs_listener(self._heard)
            self.listening = True

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED:
            self.programs += 1
            self.unseen += 1


_COMPILED = _Compiled()


def spare_programs() -> None:
    """Let compiled programs go before there are so many that memory, or the system's limit on a process's maps, runs out.

    The verbs of the library call it when they begin: a process may work on any number of different networks. What is still
    needed is compiled again. Cost: nothing between two looks, see LOOK; and what letting go costs: the programs of some ten
    different small networks.
    """
    _COMPILED.listen()
    if _COMPILED.unseen < LOOK:
        return
    _COMPILED.unseen = 0
    maps = maps_of_process()
    many = _COMPILED.programs > PROGRAMS if maps is None else maps > MAPS
    if many:
        drop_programs()


def maps_of_process() -> int | None:
    """How many memory maps this process has, where the system says so (Linux)."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else None


def drop_programs() -> None:
    """Let all compiled programs go."""
    import jax

    jax.clear_caches()
    _COMPILED.programs = _COMPILED.unseen = 0
