"""Random problems of one sum of units: data, weights, scale and units from a seed; few shapes,
whose programs are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from saddlery import Experiment, Initialization
from saddlery.networks import Data, Layer, Network
from saddlery.rules import GradientFlow
from saddlery.tasks import Task
from saddlery.tasks.base import TASKS
from saddlery.training import Stop
from saddlery.units import Symmetry, Unit, make

RAY = Symmetry(silent=True, homogeneous="positive", degree=1)
OWN = {  # units that a user might write
    "own_abs": Unit("own_abs", lambda z, u: jnp.abs(z @ u), lambda s: s, RAY, smooth=False),
    "own_clip": Unit(
        "own_clip",
        lambda z, u: jnp.clip(z @ u, 0.0, 1.0),
        lambda s: s,
        Symmetry(silent=True, degree=1),
        smooth=False,
    ),
    "own_softened": Unit(
        "own_softened",
        lambda z, u: jnp.tanh(z @ u) ** 2,
        lambda s: s,
        Symmetry(silent=True, degree=2),
    ),
}
SHIPPED = (
    "linear",
    "relu",
    "leaky_relu",
    "quadratic",
    "cubic",
    "tanh",
    "x_tanh_x",
    "erf",
    "gelu",
    "sine",
    "sigmoid",
)
UNITS = (*SHIPPED, *OWN)
WIDTHS = tuple(range(1, 9))
SHAPES = ((2, 1, 12), (3, 2, 9), (1, 1, 7))  # inputs D, outputs O, samples N
KINDS = ("teacher", "noise", "integers", "polynomial")


def unit_named(name: str) -> Unit:
    return OWN[name] if name in OWN else make(name)


@dataclass(frozen=True)
class Drawn(Task):
    """Samples drawn from a seed. style: how targets come about (`KINDS`); units: of them,
    10^exponent."""

    kind: ClassVar[str] = "adversary"
    style: str = "noise"
    draw: int = 0
    inputs: int = 2
    outputs: int = 1
    samples: int = 12
    exponent: int = 0

    def data(self, seed: int) -> Data:
        rng = np.random.default_rng([self.draw, KINDS.index(self.style)])
        x = rng.standard_normal((self.samples, self.inputs))
        if self.style == "integers":  # samples meet kinks exactly, and each other
            x = rng.integers(-2, 3, x.shape).astype(float)
        y = rng.standard_normal((self.samples, self.outputs))
        if self.style == "teacher":
            w = rng.standard_normal((self.inputs, 2))
            y = np.tanh(x @ w) @ rng.standard_normal((2, self.outputs)) + 0.3 * (
                x @ rng.standard_normal((self.inputs, self.outputs))
            )
        if (
            self.style == "polynomial"
        ):  # orthogonal to the lowest powers of the first input: saddles of higher order
            powers = np.vander(x[:, 0], int(rng.integers(1, 4)) + 1)
            y -= powers @ np.linalg.lstsq(powers, y, rcond=None)[0]
        return Data((self.inputs,), self.outputs, x, 10.0**self.exponent * y)


del TASKS.members[Drawn.kind]  # it is for this adversary alone, not one that experiments may name


@dataclass(frozen=True)
class Problem:
    """One problem; the same number is the same problem for ever."""

    number: int

    @property
    def alike(self) -> tuple[int, int]:
        """Of which unit and shape: problems that have these in common share compiled programs."""
        return self.number % len(UNITS), (self.number // (len(UNITS) * len(WIDTHS))) % len(SHAPES)

    def experiment(self) -> Experiment:
        """Units go round fastest, then widths, then shapes."""
        rng = np.random.default_rng([7, self.number])
        unit, shape = self.alike
        name = UNITS[unit]
        width = WIDTHS[(self.number // len(UNITS)) % len(WIDTHS)]
        inputs, outputs, samples = SHAPES[shape]
        exponent = int(rng.choice([0, 0, 0, -3, 3]))
        task = Drawn(str(rng.choice(KINDS)), self.number, inputs, outputs, samples, exponent)
        # weights follow the units of the targets, so that small means small
        scale = float(10.0 ** (rng.uniform(-4, -1) + exponent / 2))
        stop = Stop(flow_time=float(3e3 / 10.0**exponent), steps=20_000)
        network = Network((Layer(unit_named(name), width),))
        return Experiment(
            task,
            network,
            stop,
            Initialization(scale=scale),
            GradientFlow(),
            name=f"adversary {self.number}",
        )
