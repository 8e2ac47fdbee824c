"""JAX's switches: scoped 64-bit precision, so that importing saddlery never
changes a global one, and its compiled programs."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from .checks import InputError
from .echo import said

P = ParamSpec("P")
R = TypeVar("R")
# JAX's switches that would refuse a computation or change its random numbers, at their
# usual values.
RULES: dict[str, Any] = {
    "numpy_dtype_promotion": "standard",
    "numpy_rank_promotion": "allow",
    "transfer_guard": "allow",
    "disable_jit": False,
    "debug_nans": False,  # a run that diverges is a status, not an error
    "debug_infs": False,
    "debug_key_reuse": False,
    "default_prng_impl": "threefry2x32",  # the same seed, the same numbers
    "threefry_partitionable": True,
}
# Ends of the names of switches that guard transfers on one way alone.
WAYS = ("_host_to_device", "_device_to_device", "_device_to_host")
# Pairs of a rule and the name of a switch that it is about.
SWITCHES = [
    *((name, f"jax_{name}") for name in RULES),
    *(("transfer_guard", f"jax_transfer_guard{way}") for way in WAYS),
]


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` inside JAX's scoped 64-bit context, whatever the
    caller's setting is.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.basis.precision import in_float64, precision_context
    >>> third = lambda: jnp.ones(1) / 3
    >>> with precision_context("float32"):
    ...     third().dtype.name, in_float64(third)().dtype.name
    ('float32', 'float64')
    """

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with precision_context("float64"):
            return function(*args, **kwargs)

    return inside


class NoDevice(InputError):
    """There is nothing that JAX could compute on, whatever is computed."""


@contextlib.contextmanager
def precision_context(precision: str) -> Iterator[None]:
    """Within: JAX computes in "float64" or "float32", by its usual rules.

    Raises NoDevice where the platform that was asked for is not there.
    """
    import jax

    with usual_rules(), jax.enable_x64(precision == "float64"):
        yield


@contextlib.contextmanager
def usual_rules() -> Iterator[None]:
    """Within: JAX follows the rules that saddlery is written for, whatever
    the caller or the environment has set; in the caller's precision.

    Raises NoDevice.
    """
    import jax

    check_platform()
    with contextlib.ExitStack() as stack:
        for name in _broken():  # a context costs 7 microseconds, a look 0.2
            stack.enter_context(getattr(jax, name)(RULES[name]))
        yield


def _broken() -> list[str]:
    """The rules that a switch of JAX's differs from, each once; in one pass,
    since every scope within another asks again."""
    import jax

    found = []
    for name, switch in SWITCHES:
        now = getattr(jax.config, switch, None)
        now = getattr(now, "value", now)
        # None: a JAX that has no such switch, or leaves it open
        if now is not None and now != RULES[name] and name not in found:
            found.append(name)
    return found


@functools.cache
def check_platform() -> None:
    """Raise NoDevice where JAX finds no device, as with JAX_PLATFORMS=cuda on
    a machine without a card."""
    import jax

    try:
        jax.devices()
    except Exception as error:  # also of JAX's own assertions, and under -O what comes after them
        where, remedy = "to compute on", "set JAX_PLATFORMS=cpu"
        if asked := os.environ.get("JAX_PLATFORMS"):
            where = f"for JAX_PLATFORMS={asked}"
            remedy = "unset that variable, or set it to cpu"
        raise NoDevice(f"JAX finds no device {where}; {remedy} ({said(error)})") from None


# ------------------------------------------------------------------ compiled programs
# JAX reports this event once for every program that it compiles.
COMPILED = "/jax/core/compile/backend_compile_duration"
# The maps are read after so many compiled programs: reading takes a millisecond,
# compiling these a second or more.
LOOK = 50
# Programs are let go when the process has more memory maps: each takes some 17, and
# Linux ends a process at 65,530.
MAPS = 7_000
# Where the system does not say how many maps there are, programs are let go when more
# have been compiled.
PROGRAMS = 400


class _Compiled:
    """How many programs JAX has compiled in this process, as it tells those
    that
    listen: since programs were last let go, and since the last look.

    Nothing is listened to before the first question.
    """

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
    """Let compiled programs go before there are so many that memory, or the
    system's limit on a process's maps, runs out.

    The verbs of the library call it when they begin: a process may work on
    any number of different networks. What is still needed is compiled again.

    Cost: nothing between two looks, see LOOK; and what letting go costs: the programs of
    some ten different small networks.
    """
    _COMPILED.listen()
    if _COMPILED.unseen < LOOK:
        return
    _COMPILED.unseen = 0
    if _many():
        drop_programs()


def _many() -> bool:
    maps = maps_of_process()
    if maps is None:
        return _COMPILED.programs > PROGRAMS
    return maps > MAPS


def maps_of_process() -> int | None:
    """How many memory maps this process has, where the system says so
    (Linux)."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    return maps.read_bytes().count(b"\n")


def drop_programs() -> None:
    """Let all compiled programs go."""
    import jax

    jax.clear_caches()
    _COMPILED.programs = _COMPILED.unseen = 0
