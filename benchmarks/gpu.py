"""Whole ensembles on a GPU, beside a scan under vmap written by hand: runs a second from 1 to
100,000 seeds, and the share of the card's bandwidth and arithmetic that is reached.

The job of `ensembles.py` (10-50-5, full-batch descent, 1,000 steps), with exact statistics and on
the 200 samples, in float32 and float64; ours and the peer in turns, in wall-clock seconds. The peer
keeps the loss every ten steps and the last weights. Demanded of saddlery: the peer's speed at
10,000 seeds, half of it with stages and observables, and that the most seeds end without running
out of memory. Limits are those of the card's data sheet where it is known here, else none is
printed. Where JAX sees no GPU the same is asked of the CPU, of fewer seeds, so that the script is
known to work; the demands are those of a card.

usage: gpu.py [MOST SEEDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import Bench
from ensembles import (
    INPUTS,
    OUTPUTS,
    SAMPLES,
    WIDTH,
    experiments,
    given,
    jax_job,
    jax_vmap,
    last_losses,
)

STEPS = 1000
SEEDS = (1, 10, 100, 1000, 10_000, 100_000)
JUDGED = 10_000  # seeds at which ours is held to the peer
MOST = {"gpu": 100_000, "cpu": 1000}  # seeds, unless others are asked for
LOOKED = 1000  # most seeds with stages and observables
REPEATS = 3  # in turns, where both take less than LONG seconds; else one
LONG = 10.0
# card: (bytes a second, operations a second in float32, in float64); NVIDIA data sheets, SXM
LIMITS = {
    "H100": (3.35e12, 67e12, 34e12),
    "H200": (4.8e12, 67e12, 34e12),
    "A100": (2.0e12, 19.5e12, 9.7e12),
}
BYTES = {"float32": 4, "float64": 8}


def work(moments: bool, size: int) -> tuple[float, float]:
    """(bytes of weights read and written, operations) of one step of one run, at least."""
    width = min(WIDTH, INPUTS + OUTPUTS)  # in their span
    rows = INPUTS if moments else SAMPLES
    weights = width * (INPUTS + OUTPUTS)
    # The product and its two gradients; samples there and back.
    operations = 2 * (3 * width + 2 * rows) * INPUTS * OUTPUTS
    return 2.0 * size * weights, operations


def shares(card: str, speed: float, moments: bool, precision: str) -> dict[str, str]:
    """Of the card's limits, where they are known."""
    limits = next((known for name, known in LIMITS.items() if name in card), None)
    if limits is None:
        return {}
    bandwidth, single, double = limits
    moved, operations = work(moments, BYTES[precision])
    arithmetic = single if precision == "float32" else double
    return {
        "of_bandwidth": f"{speed * STEPS * moved / bandwidth:.1%}",
        "of_arithmetic": f"{speed * STEPS * operations / arithmetic:.1%}",
    }


# ------------------------------------------------------------------------ who is timed
def peer(precision: str, moments: bool, seeds: int) -> Callable[[], np.ndarray]:
    """A scan under vmap from the same weights, all seeds at once; every call draws nothing and
    compiles once."""
    x, y, u, v = given(min(seeds, 100))
    rounds = -(-seeds // len(u))
    kind = np.dtype(precision)
    with jax.enable_x64(precision == "float64"):
        first = jnp.asarray(np.tile(u, (rounds, 1, 1))[:seeds].astype(kind))
        second = np.tile(v.transpose(0, 2, 1), (rounds, 1, 1))[:seeds]
        start = first, jnp.asarray(second.astype(kind))
        job = jax_vmap(jax_job(x.astype(kind), y.astype(kind), False, moments, STEPS))

    def call() -> np.ndarray:
        with jax.enable_x64(precision == "float64"):
            return np.asarray(job(start)[1])

    return call


def in_turns(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, after a call that compiles."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(REPEATS):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
        if max(map(max, seconds.values())) > LONG:
            break
    return {name: statistics.median(times) for name, times in seconds.items()}


# ------------------------------------------------------------------------ what is demanded
def ladder(bench: Bench, card: str, precision: str, moments: bool, most: int) -> None:
    """Runs a second from one seed to the most, and what is demanded of them."""
    kind = f"{precision}, {'statistics' if moments else 'data'}"
    judged = min(JUDGED, most)
    for seeds in (n for n in SEEDS if n <= most):
        made = [
            e.replace(precision=precision) for e in experiments("linear", seeds, STEPS, moments)
        ]
        calls: dict[str, Callable[[], Any]] = {
            "saddlery": lambda made=made: last_losses(made, False),
            "by hand": peer(precision, moments, seeds),
        }
        if seeds <= LOOKED:
            calls["with looks"] = lambda made=made: last_losses(made, True)
        speeds = {name: seeds / spent for name, spent in in_turns(calls).items()}
        found = shares(card, speeds["saddlery"], moments, precision)
        rounded = {name: round(speed, 1) for name, speed in speeds.items()}
        bench.note(f"{kind}, {seeds} seeds", runs_a_second=rounded, card=card, **found)
        if seeds == judged:
            compare(bench, f"{kind}, {seeds} seeds", speeds["saddlery"], speeds["by hand"], 1.0)
        if seeds == min(LOOKED, judged):
            words = f"{kind}, {seeds} seeds with stages and observables"
            compare(bench, words, speeds["with looks"], speeds["by hand"], 0.5)


def compare(bench: Bench, words: str, own: float, other: float, least: float) -> None:
    ratio = own / other
    bench.demand(f"{words}: {least:g} of the speed by hand at least ({ratio:.3g})", ratio >= least)


def main() -> None:
    backend = jax.default_backend()
    card = jax.devices()[0].device_kind
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MOST.get(backend, MOST["gpu"])
    bench = Bench("gpu")
    for precision in BYTES:
        for moments in (True, False):
            ladder(bench, card, precision, moments, most)
    bench.finish()


if __name__ == "__main__":
    main()
