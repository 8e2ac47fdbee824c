"""JAX's switches: scoped 64-bit precision, so that importing saddlery never changes a global one, and its compiled programs."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from .checks import InputError

P = ParamSpec("P")
R = TypeVar("R")
# JAX's switches that would refuse a computation or change its random numbers, at their usual values.
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
WAYS = ("", "_host_to_device", "_device_to_device", "_device_to_host")  # a guard may stand on one of them alone


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` inside JAX's scoped 64-bit context, whatever the caller's setting is."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with precision_context("float64"):
            return function(*args, **kwargs)

    return inside


class NoDevice(InputError):
    """There is nothing that JAX could compute on, whatever is computed."""


@contextlib.contextmanager
def precision_context(precision: str) -> Iterator[None]:
    """Within: JAX computes in "float64" or "float32", by its usual rules. Raises NoDevice where the platform that was asked
    for is not there."""
    import jax

    with usual_rules(), jax.enable_x64(precision == "float64"):
        yield


@contextlib.contextmanager
def usual_rules() -> Iterator[None]:
    """Within: JAX follows the rules that saddlery is written for, whatever the caller or the environment has set; in the
    caller's precision. Raises NoDevice."""
    import jax

    check_platform()
    with contextlib.ExitStack() as stack:
        for name, value in RULES.items():
            if _differs(name, value):  # a context costs 7 microseconds, a look 0.2
                stack.enter_context(getattr(jax, name)(value))
        yield


def _differs(name: str, value: Any) -> bool:
    import jax

    names = [f"jax_{name}{way}" for way in (WAYS if name == "transfer_guard" else ("",))]
    now = [getattr(jax.config, name, None) for name in names]  # None: a JAX that has no such switch, or leaves it open
    return any(getattr(found, "value", found) not in (value, None) for found in now)


@functools.cache
def check_platform() -> None:
    """Raise NoDevice where JAX finds no device, as with JAX_PLATFORMS=cuda on a machine without a card."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # an assertion where no platform of the list is there
        asked = os.environ.get("JAX_PLATFORMS")
        where = f"for JAX_PLATFORMS={asked}" if asked else "to compute on"
        remedy = "unset that variable, or set it to cpu" if asked else "set JAX_PLATFORMS=cpu"
        reason = " ".join(str(error).split())
        raise NoDevice(f"JAX finds no device {where}; {remedy}" + (f" ({reason})" if reason else "")) from None


MAPS = 30_000  # memory maps of a process: every compiled program takes a few, and Linux ends a process at 65,530


def spare_programs() -> None:
    """Drop compiled programs before there are so many that the system refuses the process another."""
    import jax

    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()
