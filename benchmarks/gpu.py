"""Whole ensembles on a GPU: runs a second from 1 to 100,000 seeds, and the share of the memory and
arithmetic limits reached.

The job of `ensembles.py` (10-50-5, full-batch descent), with exact statistics and on the 200
samples, in float32 and float64. Skipped with a message where JAX sees no GPU. Limits are those of
the card's data sheet where it is known here, else none is printed.

usage: gpu.py [MOST SEEDS]
"""

from __future__ import annotations

import json
import sys
import time

import jax
from common import Bench
from ensembles import INPUTS, OUTPUTS, SAMPLES, WIDTH, experiments

from saddlery.runs import train_many

STEPS = 1000
# card: (bytes a second, operations a second in float32, in float64); NVIDIA data sheets, SXM
LIMITS = {
    "H100": (3.35e12, 67e12, 34e12),
    "H200": (4.8e12, 67e12, 34e12),
    "A100": (2.0e12, 19.5e12, 9.7e12),
}


def work(moments: bool, size: int) -> tuple[float, float]:
    """(bytes of weights read and written, operations) of one step of one run, at least."""
    width = min(WIDTH, INPUTS + OUTPUTS)  # in their span
    rows = INPUTS if moments else SAMPLES
    weights = width * (INPUTS + OUTPUTS)
    operations = (
        2 * (3 * width + 2 * rows) * INPUTS * OUTPUTS
    )  # the product and its two gradients; samples there and back
    return 2.0 * size * weights, operations


def main() -> None:
    try:
        card = jax.devices("gpu")[0].device_kind
    except RuntimeError:
        print(json.dumps({"benchmark": "gpu", "skipped": "JAX sees no GPU here"}))
        return
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    bench = Bench("gpu")
    limits = next((v for name, v in LIMITS.items() if name in card), None)
    for precision, size in (("float32", 4), ("float64", 8)):
        for moments in (True, False):
            best = 0.0
            for seeds in (n for n in (1, 10, 100, 1000, 10_000, 100_000) if n <= most):
                es = [
                    e.replace(precision=precision)
                    for e in experiments("linear", seeds, STEPS, moments)
                ]
                go = lambda es=es: sum(1 for _ in train_many(es, observables=False))
                go()
                begin = time.perf_counter()
                go()
                speed = seeds / (time.perf_counter() - begin)
                moved, operations = work(moments, size)
                shares = {}
                if limits:
                    shares = {
                        "of_bandwidth": f"{speed * STEPS * moved / limits[0]:.1%}",
                        "of_arithmetic": f"{speed * STEPS * operations / limits[1 if size == 4 else 2]:.1%}",
                    }
                kind = "statistics" if moments else "data"
                bench.note(
                    f"{precision}, {kind}, {seeds} seeds",
                    runs_a_second=round(speed, 1),
                    card=card,
                    **shares,
                )
                best = max(best, speed)
            bench.demand(
                (
                    f"{precision}, {'statistics' if moments else 'data'}: wide ensembles "
                    "are faster a run than one"
                ),
                best > 10,
            )
    bench.finish()


if __name__ == "__main__":
    main()
