"""Initial weights of a thousand draws as arrays, beside the plain loop over single draws.

What is drawn, followed and compared draw by draw in the plain loop: initial weights
(`initial_sides`), the jumps of diagonal networks (`diagonal_paths`) and the states of new units
(`states_of`). Calls are those that cProfile counts, those into NumPy included.

Demanded, before it was measured: where the loop takes most of its time, `predict` makes at most a
tenth of the calls and takes at most half of the CPU time. What drawing alone takes is shown beside
it: the calls that are left are those of NumPy, which seeds a generator in eight.

    .venv/bin/python benchmarks/draws.py [EXPERIMENT ...]
"""

from __future__ import annotations

import contextlib
import cProfile
import pstats
import sys
from collections.abc import Callable, Iterator

import numpy as np
from common import Bench

from saddlery import Experiment
from saddlery.basis.precision import in_float64
from saddlery.predictions import diagonal, directions, draws, orthogonal_relu, predict, unit_by_unit
from saddlery.saddles.narrow_networks import states_of
from saddlery.theory import diagonal_jumps

EXPERIMENTS = ("linear", "diagonal", "digits", "relu", "linear_attention", "quadratic")
FEWER, FASTER = 10, 2


def sides_one_by_one(experiment, objective, seeds):
    f, network = objective.function, objective.network
    states = [experiment.initialization.draw(network, f.shape, f.outputs, seed) for seed in seeds]
    found = [objective.params(state) for state in states]
    return (
        np.array([np.asarray(network.incoming(params, 0)) for params in found]),
        np.array([np.asarray(network.outgoing(params, 0)) for params in found]),
    )


def paths_one_by_one(curvature, correlation, high, low):
    walls = zip(high, low, strict=True)
    return tuple(diagonal_jumps(curvature, correlation, walls=pair) for pair in walls)


def states_one_by_one(objective, u, v):
    return np.array([states_of(objective, a[None], b[None])[0] for a, b in zip(u, v, strict=True)])


@contextlib.contextmanager
def plain_loop() -> Iterator[None]:
    """Within, predictions draw and follow their draws one by one."""
    loops = [
        (room, "initial_sides", sides_one_by_one)
        for room in (diagonal, directions, orthogonal_relu)
    ]
    loops += [
        (unit_by_unit, "initial_sides", sides_one_by_one),
        (unit_by_unit, "states_of", states_one_by_one),
    ]
    loops += [(diagonal, "diagonal_paths", paths_one_by_one)]
    kept = [getattr(room, name) for room, name, _ in loops]
    for room, name, loop in loops:
        setattr(room, name, loop)
    try:
        yield
    finally:
        for (room, name, _), function in zip(loops, kept, strict=True):
            setattr(room, name, function)


def looped(name: str) -> None:
    with plain_loop():
        predict(name)


def calls(work: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(work)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined]


def compare(bench: Bench, name: str) -> None:
    experiment = Experiment.named(name)
    objective, seeds = experiment.objective(), draws.other_seeds(experiment)
    arrays = in_float64(lambda: draws.initial_sides(experiment, objective, seeds))
    loop = in_float64(lambda: sides_one_by_one(experiment, objective, seeds))
    for one, other in zip(arrays(), loop(), strict=True):
        np.testing.assert_array_equal(one, other)
    bench.race({f"{name}: drawing": arrays, f"{name}: drawing in a loop": loop}, repeats=5)
    bench.note(f"{name}: drawing", calls=calls(arrays), loop=calls(loop))

    ways = {f"{name}: predict": lambda: predict(name), f"{name}: in a loop": lambda: looped(name)}
    fast, slow = bench.race(ways, repeats=3)
    few, many = calls(lambda: predict(name)), calls(lambda: looped(name))
    bench.note(f"{name}: predict", calls=few, loop=many)
    if slow - fast > 0.5 * slow:  # the loop took most of it
        bench.demand(f"{name}: predict makes {FEWER} times fewer calls", FEWER * few <= many)
        bench.demand(f"{name}: predict is {FASTER} times as fast", FASTER * fast <= slow)


def main() -> None:
    bench = Bench("draws")
    for name in sys.argv[1:] or EXPERIMENTS:
        compare(bench, name)
    bench.finish()


if __name__ == "__main__":
    main()
