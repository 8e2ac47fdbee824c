"""Figure 6: deep networks with more skip connections learn faster, from saddle to saddle all the
same.

The paper's three networks have four layers of weights and no skip, one over one layer, or one over
two. A residual layer here is z + sum_i phi(z; u_i) v_i, a skip over the two weight matrices of its
units, so that a skip over one alone has no equivalent. Instead none, one or both of the last two of
three layers of units are residual: at lowest order the map is a product of four, three or two
matrices, as in the paper, and the wait from weights of size e is of order e^-2, e^-1 or ln(1/e).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

WIDTH, SCALE = 20, 4e-3
WEAK = 0.2  # of the strong mode: far enough for a plateau between where waits are logarithms
SKIPS = ("none", "one", "two")
TASKS = {"linear": LinearTeacher((1.0, WEAK)), "relu": OrthogonalReLU((1.0, -WEAK))}
LEFT = {
    "linear": 0.5 * WEAK**2,
    "relu": 0.25 * WEAK**2,
}  # half the mean square of what the weaker mode is to explain
PAPER = "Zhang, Saxe & Latham 2026, Figure 6 (residual layers in place of its skips)"


def network(unit: str, skips: str) -> Network:
    """Three layers of units, of which none, the second, or the second and third are residual."""
    plain, last = Layer(make(unit), WIDTH, mixes=False), Layer(make(unit), WIDTH)
    residual = Layer(make(unit), WIDTH, residual=True)
    layers = {
        "none": (plain, plain, last),
        "one": (plain, residual, last),
        "two": (plain, residual, residual),
    }
    return Network(layers[skips], readout=skips == "two")


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    stop = Stop(flow_time=1e6, loss=1e-9)
    for unit, task in TASKS.items():
        for skips in SKIPS:
            for seed in range(seeds):
                start = Initialization(scale=SCALE)
                e = Experiment(task, network(unit, skips), stop, start, seed=seed, name=unit)
                yield {"unit": unit, "skips": skips}, e


def measure(experiment: Experiment) -> Row:
    """Whether the run rests between at the loss of one mode, and when each mode is half learned."""
    run, left = train(experiment), LEFT[experiment.name]
    time, loss = run.trajectory.flow_time, run.trajectory.loss
    between = [
        plateau.loss for plateau in find_plateaus(time, loss) if plateau.kind == "intermediate"
    ]
    return {
        "plateau": float(len(between) == 1 and abs(between[0] - left) <= NEAR * float(loss.max())),
        "first": falls_below(run, 0.5 * (float(loss[0]) + left)),
        "learned": falls_below(run, 0.5 * left),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for unit, color in (("linear", "#1b4965"), ("relu", "#ca6702")):
        for quantity, line in (("first", "o--"), ("learned", "s-")):
            means = [np.nanmean(of(rows, quantity, unit=unit, skips=skips)) for skips in SKIPS]
            axes.plot(
                SKIPS,
                means,
                line,
                color=color,
                label=f"{unit}, {'strong' if quantity == 'first' else 'weak'} mode",
            )
    axes.set_yscale("log")
    axes.set_xlabel("residual layers")
    axes.set_ylabel("flow time until a mode is half learned")
    axes.legend(frameon=False, fontsize=7)


def _plateau(unit: str, skips: str) -> Claim:
    words = {
        "none": "no residual layer",
        "one": "one residual layer",
        "two": "two residual layers",
    }[skips]
    return Claim(
        f"figure6.{unit}.{skips}.plateau",
        f"The {unit} network with {words} rests between, at the loss with one mode learned.",
        PAPER,
        (
            f"share of seeds with one plateau between, within {NEAR:g} of the "
            "initial loss from that loss"
        ),
        0.9,
        1.0,
        lambda rows: of(rows, "plateau", unit=unit, skips=skips),
        kind=Share(),
    )


def _faster(unit: str, more: str, fewer: str) -> Claim:
    return Claim(
        f"figure6.{unit}.{more}.faster",
        (
            f"The {unit} network with {more} of its layers residual learns faster "
            f"than that with {fewer}."
        ),
        PAPER,
        "time until both modes are half learned, over that with a residual layer less",
        -float("inf"),
        1.0,
        lambda rows: ratio(
            rows, "learned", {"unit": unit, "skips": more}, {"unit": unit, "skips": fewer}
        ),
        kind=Real(least=0.0),
    )


STUDY = Study(
    "figure6",
    (
        "Deep networks with no, one and two residual layers: all learn in stages, and "
        "those with more of them faster"
    ),
    design,
    measure,
    tuple(
        claim
        for unit in TASKS
        for claim in (
            *(_plateau(unit, skips) for skips in SKIPS),
            _faster(unit, "one", "none"),
            _faster(unit, "two", "one"),
        )
    ),
    draw,
    quick=2,
    full=40,
)
