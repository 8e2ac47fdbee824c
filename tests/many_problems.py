"""A session that trains and certifies many different small networks in one process, and says what
it takes of the system.

    python tests/many_problems.py COUNT [FIRST]

A line of JSON a problem: maps (memory mappings), resident (MB) and verdicts. Used by
test_programs.py.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np

from saddlery import Experiment, certify, train, units
from saddlery.basis.checks import NumericalError
from saddlery.networks import Layer, Network
from saddlery.tasks import Teacher
from saddlery.training import Stop

UNITS = (
    "linear",
    "relu",
    "quadratic",
    "tanh",
    "cubic",
    "x_tanh_x",
    "erf",
    "sine",
    "gelu",
    "leaky_relu",
    "sigmoid",
)


def problem(seed: int) -> Experiment:
    """Unit, width, inputs, outputs and samples drawn at random; a flow of a few units of time."""
    rng = np.random.default_rng(seed)
    unit, width = str(rng.choice(UNITS)), int(rng.integers(1, 9))
    task = Teacher(
        unit=unit,
        count=int(rng.integers(1, 4)),
        inputs=(int(rng.integers(1, 6)),),
        outputs=int(rng.integers(1, 4)),
        samples=int(rng.integers(6, 40)),
    )
    base = Experiment.named("tanh").replace(
        name=f"problem {seed}", task=task, seed=seed, stop=Stop(flow_time=5.0)
    )
    start = type(base.initialization)(scale=0.05)  # type: ignore[call-arg]
    return base.replace(network=Network((Layer(units.make(unit), width),)), initialization=start)


def taken() -> dict[str, int]:
    """What this process takes of the system (Linux)."""
    status = Path("/proc/self/status").read_text()
    resident = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1024
    return {"maps": Path("/proc/self/maps").read_bytes().count(b"\n"), "resident": resident}


def main(count: int, first: int = 0) -> None:
    for seed in range(first, first + count):
        try:
            found = certify(train(problem(seed)))
            verdicts = [stage.certificate.verdict for stage in found.stages if stage.certificate]
        except NumericalError as error:
            verdicts = [str(error)]
        print(json.dumps({"problem": seed, **taken(), "verdicts": verdicts}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
