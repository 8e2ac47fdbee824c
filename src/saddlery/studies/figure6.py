"""Figure 6: deep networks with more skip connections learn faster, from
saddle to saddle all the same.

The paper's three networks have four layers of weights and no skip, one over
one layer, or one over two. A residual layer here is z + sum_i phi(z; u_i)
v_i, a skip over the two weight matrices of its units, so that a skip over
one alone has no equivalent. Instead none, one or both of the last two of
three layers of units are residual: at lowest order the map is a product of
four, three or two matrices, as in the paper, and the wait from weights of
size e is of order e^-2, e^-1 or ln(1/e).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Layer, Network
from ..plateaus import find_plateaus
from ..runs import train
from ..tasks import LinearTeacher, OrthogonalReLU
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of, ratio
from .figure5 import NEAR
from .intervals import Real, Share
from .measures import falls_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIDDEN_UNITS, START_SCALE = 20, 4e-3
WEAK = 0.2  # weak mode over strong: far enough for a plateau between where waits are logarithms
SKIPS = ("none", "one", "two")
TASKS = {
    "linear": LinearTeacher((1.0, WEAK)),
    "relu": OrthogonalReLU((1.0, -WEAK)),
}
# Loss with the strong mode learned: half the mean square of what the weak one is to explain.
LEFT = {"linear": 0.5 * WEAK**2, "relu": 0.25 * WEAK**2}
FIGURE6 = "Zhang, Saxe & Latham 2026, Figure 6 (residual layers in place of its skips)"


def network(unit: str, skips: str) -> Network:
    """Three layers of units, of which none, the second, or the second and
    third are residual."""
    plain = Layer(make(unit), HIDDEN_UNITS, mixes=False)
    residual = Layer(make(unit), HIDDEN_UNITS, residual=True)
    last = Layer(make(unit), HIDDEN_UNITS)
    layers = {
        "none": (plain, plain, last),
        "one": (plain, residual, last),
        "two": (plain, residual, residual),
    }
    return Network(layers[skips], readout=skips == "two")


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for unit, skips, seed in product(TASKS, SKIPS, range(seeds)):
        e = Experiment(
            task=TASKS[unit],
            network=network(unit, skips),
            stop=Stop(flow_time=1e6, loss=1e-9),
            initialization=Initialization(scale=START_SCALE),
            seed=seed,
            name=unit,
        )
        yield {"unit": unit, "skips": skips}, e


def measure(experiment: Experiment) -> Row:
    """Whether the run rests between at the loss of one mode, and when each
    mode is half learned."""
    run = train(experiment)
    left = LEFT[experiment.name]
    time, loss = run.trajectory.flow_time, run.trajectory.loss
    between = []
    for plateau in find_plateaus(time, loss):
        if plateau.kind == "intermediate":
            between.append(plateau.loss)
    reach = NEAR * float(loss.max())
    return {
        "plateau": float(
            len(between) == 1 and abs(between[0] - left) <= reach,
        ),
        "first": falls_below(run, 0.5 * (float(loss[0]) + left)),
        "learned": falls_below(run, 0.5 * left),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    colors = {"linear": "#1b4965", "relu": "#ca6702"}
    modes = {"first": ("strong", "o--"), "learned": ("weak", "s-")}
    for unit, color in colors.items():
        for quantity, (mode, line) in modes.items():
            means = []
            for skips in SKIPS:
                times = of(rows, quantity, unit=unit, skips=skips)
                means.append(np.nanmean(times))
            label = f"{unit}, {mode} mode"
            axes.plot(SKIPS, means, line, color=color, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("residual layers")
    axes.set_ylabel("flow time until a mode is half learned")
    axes.legend(frameon=False, fontsize=7)


def _plateau(unit: str, skips: str) -> Claim:
    words = {
        "none": "no residual layer",
        "one": "one residual layer",
        "two": "two residual layers",
    }
    return Claim(
        id=f"figure6.{unit}.{skips}.plateau",
        sentence=f"The {unit} network with {words[skips]} rests between,"
        " at the loss with one mode learned.",
        source=FIGURE6,
        quantity=f"share of seeds with one plateau between, within {NEAR:g} of the"
        " initial loss from that loss",
        low=0.9,
        high=1.0,
        values=lambda rows: of(rows, "plateau", unit=unit, skips=skips),
        kind=Share(),
    )


def _faster(unit: str, more: str, fewer: str) -> Claim:
    above = {"unit": unit, "skips": more}
    below = {"unit": unit, "skips": fewer}
    return Claim(
        id=f"figure6.{unit}.{more}.faster",
        sentence=f"The {unit} network with {more} of its layers residual learns faster"
        f" than that with {fewer}.",
        source=FIGURE6,
        quantity="time until both modes are half learned, over that with a residual layer less",
        low=-float("inf"),
        high=1.0,
        values=lambda rows: ratio(rows, "learned", above, below),
        kind=Real(least=0.0),
    )


def _claims(unit: str) -> Iterator[Claim]:
    for skips in SKIPS:
        yield _plateau(unit, skips)
    yield _faster(unit, "one", "none")
    yield _faster(unit, "two", "one")


STUDY = Study(
    name="figure6",
    title=(
        "Deep networks with no, one and two residual layers: all learn in stages, and "
        "those with more of them faster"
    ),
    design=design,
    measure=measure,
    claims=tuple(claim for unit in TASKS for claim in _claims(unit)),
    draw=draw,
    quick=2,
    full=40,
)
