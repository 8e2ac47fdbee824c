"""Figure 5: six deep networks, each from the origin to a saddle with one mode learned to a solution
with two, and which of their layers gain units at each drop.

What the narrowest network of one mode leaves of the loss is known beforehand: half the square of
the weaker singular value (linear, on white inputs), half the mean square of the output that is
still to come (two outputs with data of their own), of the negative targets (ReLU on orthogonal
inputs), or eq 19 of Zhang, Singh, Latham & Saxe (2025) (linear attention). Which mode is first is a
matter of the data where layers grow by directions, of the initial weights too where units race each
other (quadratic ones and heads). The layers of linear, quadratic and attention networks are smooth,
and their saddles are certified; ReLU layers can rest on kinks, and their units are counted on the
plateaus instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Layer, Network
from ..plateaus import Stages, certify, mechanism, stages
from ..plots import literal
from ..runs import train
from ..tasks import (
    InContextRegression,
    LinearTeacher,
    OrthogonalPatches,
    OrthogonalReLU,
    Task,
    Teacher,
)
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of
from .figure1 import SADDLES
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEAR = (
    0.02  # of all that is learned: a plateau whose loss is nearer to that of one mode rests there
)
EXACT = 1e-9  # the same for certified fixed points
HIDDEN, KINKED, SINGLE = (
    20,
    50,
    10,
)  # units: of linear layers, of ReLU layers, of first layers that grow unit by unit
KERNEL: dict[str, Any] = {"kernel": (2,), "stride": 2}
EIGENVALUES, LENGTH = (0.7, 0.3), 31
PAPER = "Zhang, Saxe & Latham 2026, Figure 5"


def _two(first: str, width: int, second: str, hidden: int, **options: Any) -> Network:
    return Network((Layer(make(first, **options), width, mixes=False), Layer(make(second), hidden)))


def _outputs(unit: str, strengths: tuple[float, float], **options: Any) -> Teacher:
    """A teacher of two units whose scalar output is split into two, as in panels B and F."""
    return Teacher(unit, 2, outputs=2, strengths=strengths, split=True, **options)


# the training set, the network, and the scale of its initial weights
NETWORKS: dict[str, tuple[Task, Network, float]] = {
    "linear": (LinearTeacher((1.0, 0.4)), _two("linear", HIDDEN, "linear", HIDDEN), 1e-2),
    "linear_conv": (
        _outputs("conv_linear", (1.0, 0.4), inputs=(1, 4), options_of_unit=KERNEL),
        _two("conv_linear", HIDDEN, "linear", HIDDEN, **KERNEL),
        1e-2,
    ),
    "relu": (OrthogonalReLU((1.0, -0.5)), _two("relu", KINKED, "relu", KINKED), 1e-2),
    "relu_conv": (
        OrthogonalPatches((1.0, 0.4), split=True),
        _two("conv_relu", KINKED, "relu", KINKED, **KERNEL),
        3e-3,
    ),
    "attention": (
        InContextRegression(EIGENVALUES, LENGTH),
        _two("in_context_linear", SINGLE, "linear", HIDDEN, rank=1),
        2e-2,
    ),
    "quadratic": (
        _outputs("quadratic", (1.0, 0.6), inputs=(2,), design="axes", samples=4000),
        _two("quadratic", SINGLE, "linear", HIDDEN),
        1e-2,
    ),
}
SMOOTH = ("linear", "linear_conv", "attention", "quadratic")
GAINS = {name: ((1, 1), (1, 0) if name == "attention" else (1, 1)) for name in NETWORKS}
"""Units each layer of the narrowest network gains with each mode; a scalar output leaves a linear layer only one."""


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name in NETWORKS:
        for seed in range(seeds):
            yield {"network": name}, experiment(name, seed)


def experiment(name: str, seed: int) -> Experiment:
    """Attention leaves a loss that nothing removes; the others stop where they have learned their
    targets."""
    task, network, scale = NETWORKS[name]
    stop = Stop(flow_time=10_000.0, loss=None if name == "attention" else 1e-9)
    return Experiment(task, network, stop, Initialization(scale=scale), seed=seed, name=name)


def one_learned(e: Experiment) -> tuple[float, ...]:
    """The losses of the saddles with one of two modes learned, in closed form: the stronger, and
    the weaker where units race."""
    if isinstance(e.task, LinearTeacher):
        return (0.5 * float(e.task.spectrum()[1] ** 2),)
    if isinstance(e.task, InContextRegression):
        total = sum(EIGENVALUES)
        return tuple(
            0.5 * (total - value / (1 + (1 + total / value) / LENGTH)) for value in EIGENVALUES
        )
    targets = e.task.data(e.seed).targets
    assert targets is not None
    if targets.shape[1] == 1:
        return (0.5 * float(np.mean(np.minimum(targets, 0.0) ** 2)),)
    left = 0.5 * np.mean(targets**2, axis=0)
    return tuple(map(float, left[::-1] if e.name == "quadratic" else left[1:]))


def measure(e: Experiment) -> Row:
    """Whether the run rests between at the loss of one mode, which layers gain units, and how their
    weights grow."""
    run = train(e)
    found = certify(run) if e.name in SMOOTH else stages(run)
    expected, losses = one_learned(e), [stage.loss for stage in found.stages]
    between = [stage.loss for stage in found.stages if stage.kind == "intermediate"]
    resting = min((abs(loss - closed) for loss in between for closed in expected), default=np.inf)
    reach = NEAR * float(run.trajectory.loss.max() - run.trajectory.loss.min())
    widths = [[layer.minimal for layer in stage.effective] for stage in found.stages]
    gains = np.diff(widths, axis=0).tolist() if len(widths) == 3 else []
    grown = mechanism(found).growths
    return {
        "plateau": float(len(between) == 1 and resting <= reach),
        "first": float(bool(gains) and tuple(gains[0]) == GAINS[e.name][0]),
        "second": float(bool(gains) and tuple(gains[1]) == GAINS[e.name][1]),
        "mechanism": float(np.mean([g.measured == g.expected for g in grown]))
        if grown
        else float("nan"),
        "saddle": _certified(found, expected) if e.name in SMOOTH else float("nan"),
        "levels": [loss / losses[0] for loss in losses],
        "expected": [loss / losses[0] for loss in expected] if losses else [],
        "widths": widths,
    }


def _certified(found: Stages, expected: Sequence[float]) -> float:
    """Whether the plateau between is certified a saddle of exactly one of these losses."""
    between = [stage.fixed_point for stage in found.stages if stage.kind == "intermediate"]
    saddles = [point for point in between if point is not None and point.verdict in SADDLES]
    near = lambda loss: min(abs(loss - other) for other in expected) <= EXACT
    return float(any(near(saddle.loss) for saddle in saddles))


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(NETWORKS):
        for row in (row for row in rows if row["network"] == name):
            axes.plot(
                [k] * len(row["levels"]),
                row["levels"],
                "o",
                color="#1b4965",
                alpha=0.4,
                markersize=5,
            )
            axes.hlines(
                row["expected"], k - 0.25, k + 0.08, color="#888888", linewidth=0.6, zorder=0
            )
            for level, widths in zip(row["levels"], row["widths"], strict=True):
                if row["seed"] == 0:
                    words = " > ".join(map(str, widths))
                    axes.annotate(
                        literal(words),
                        (k, level),
                        (8, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=6,
                    )
    axes.set_xticks(range(len(NETWORKS)), [n.replace("_", "\n") for n in NETWORKS], fontsize=7)
    axes.set_xlim(-0.5, len(NETWORKS) - 0.3)
    axes.set_ylabel("losses of the plateaus, of the first; units a layer")


def _claim(name: str) -> Iterator[Claim]:
    words = (
        "attention gains a head, the linear layer nothing"
        if name == "attention"
        else "both layers gain one unit"
    )
    yield Claim(
        f"figure5.{name}.plateau",
        f"The deep {name} network rests on one plateau between, at the loss with one mode learned.",
        PAPER
        + (
            "; either mode, and more samples, since the first quick run"
            if name == "quadratic"
            else ""
        ),
        (
            f"share of seeds with one plateau between, within {NEAR:g} of what is "
            "learned from that loss"
        ),
        0.9,
        1.0,
        lambda rows: of(rows, "plateau", network=name),
        kind=Share(),
    )
    yield Claim(
        f"figure5.{name}.first",
        f"At the first drop both layers of the deep {name} network gain one unit.",
        "asked in Zhang, Saxe & Latham 2026, Section 7; expected from the narrowest network",
        "share of seeds in which they do",
        0.9,
        1.0,
        lambda rows: of(rows, "first", network=name),
        kind=Share(),
    )
    yield Claim(
        f"figure5.{name}.second",
        f"At the second drop of the deep {name} network {words}.",
        "asked in Zhang, Saxe & Latham 2026, Section 7; expected from the narrowest network",
        "share of seeds in which this is so",
        0.9,
        1.0,
        lambda rows: of(rows, "second", network=name),
        kind=Share(),
    )
    yield Claim(
        f"figure5.{name}.mechanism",
        (
            f"Each layer of the deep {name} network grows by directions or by units as the "
            "leading degree of its units says."
        ),
        PAPER,
        "share of layers and drops with the expected mechanism",
        0.9,
        1.0,
        lambda rows: of(rows, "mechanism", network=name),
        kind=Share(),
    )
    if name in SMOOTH:
        yield Claim(
            f"figure5.{name}.saddle",
            (
                f"Behind the plateau between of the deep {name} network is a saddle "
                "with exactly that loss."
            ),
            PAPER,
            f"share of seeds with a certified saddle of this loss to {EXACT:g}",
            0.9,
            1.0,
            lambda rows: of(rows, "saddle", network=name),
            kind=Share(),
        )


STUDY = Study(
    "figure5",
    "Six deep networks learn two modes one after the other; which layers gain units when",
    design,
    measure,
    tuple(claim for name in NETWORKS for claim in _claim(name)),
    draw,
    quick=2,
    full=40,
)
