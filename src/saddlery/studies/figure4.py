"""Figure 4: which activation functions visit the fixed point of width one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from ..experiments import Experiment
from ..initializations import Initialization
from ..plateaus import visit
from ..plots.axes import MUTED
from ..runs import train
from ..tasks import Teacher
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VISITING = ("x_tanh_x", "cubic", "quadratic")
PASSING = ("tanh", "erf")
VISIT = 0.1  # a run visits a fixed point where it comes within this share of its norm


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, seed in product((*VISITING, *PASSING), range(seeds)):
        yield {"unit": name}, _experiment(name).replace(seed=seed)


def _experiment(name: str) -> Experiment:
    """Teachers and students of one kind: two units, along the axes where
    these are even and of degree two.

    Cubic units see Gaussian samples. Along the axes one unit v (u.x)^3 is
    any two odd cubics at once, and a network that one unit solves has no
    second fixed point to go to. They wait like the inverse square of their
    initial weights: they start from larger, still small ones, and are given
    the time to leave the first fixed point as well.
    """
    if name in ("quadratic", "x_tanh_x", "tanh"):
        return Experiment.named(name)
    like = Experiment.named("x_tanh_x" if name == "cubic" else "tanh")
    assert isinstance(like.task, Teacher)
    made = like.replace(
        name=name,
        task=dataclasses.replace(like.task, unit=name),
        network=like.network.with_unit(0, make(name)),
    )
    if name != "cubic":
        return made
    return made.replace(
        task=dataclasses.replace(like.task, unit=name, design="gaussian"),
        initialization=Initialization(scale=1e-3),
        stop=Stop(flow_time=60_000.0),
    )


def measure(experiment: Experiment) -> Row:
    found = visit(train(experiment), 1)
    return {
        "distance": found.relative,
        "visited": float(found.verdict == "visited"),
        "at_end": float(found.at_end),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    names = (*VISITING, *PASSING)
    for k, name in enumerate(names):
        values = of(rows, "distance", unit=name)
        color = "C0" if name in VISITING else "C1"
        axes.plot([k] * len(values), values, "o", alpha=0.5, color=color)
    axes.set_xticks(range(len(names)), names)
    axes.set_yscale("log")
    axes.axhline(VISIT, color=MUTED, linewidth=0.8)
    axes.set_ylabel("closest approach (at most), of the fixed point's norm")


def _claim(name: str) -> Claim:
    does, low, high = "does not visit", 0.0, 0.2
    if name in VISITING:
        does, low, high = "visits", 0.8, 1.0
    return Claim(
        id=f"figure4.{name}",
        sentence=f"A network of {name} units {does} its fixed point of width one.",
        source="Zhang, Saxe & Latham 2026, Figure 4",
        quantity=f"share of seeds that come within {VISIT:g} of its norm",
        low=low,
        high=high,
        values=lambda rows: of(rows, "visited", unit=name),
        kind=Share(),
    )


STUDY = Study(
    name="figure4",
    title=(
        "Units of degree two and more visit the fixed point of one unit; tanh and erf, "
        "linear at lowest order, do not"
    ),
    design=design,
    measure=measure,
    claims=tuple(_claim(name) for name in (*VISITING, *PASSING)),
    draw=draw,
    quick=3,
    full=40,
)
