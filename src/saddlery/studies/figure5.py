"""Figure 5: six deep networks, each from the origin to a saddle with one
mode learned to a solution with two, and which of their layers gain units at
each drop.

What the narrowest network of one mode leaves of the loss is known
beforehand: half the square of the weaker singular value (linear, on white
inputs), half the mean square of the output that is still to come (two
outputs with data of their own), of the negative targets (ReLU on orthogonal
inputs), or eq 19 of Zhang, Singh, Latham & Saxe (2025) (linear attention).
Which mode is first is a matter of the data where layers grow by directions,
of the initial weights too where units race each other (quadratic ones and
heads). The layers of linear, quadratic and attention networks are smooth,
and their saddles are certified; ReLU layers can rest on kinks, and their
units are counted on the plateaus instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Layer, Network
from ..plateaus import Stages, certify, stages
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
from .base import Claim, Row, Study, labelled, of
from .figure1 import SADDLES, share_as_expected
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A plateau whose loss is within this share, of all that is learned, of that of one mode rests
# there.
NEAR = 0.02
EXACT = 1e-9  # a certified saddle has the loss of one mode to within this (absolute)
# Units of a layer: of linear ones, of ReLU ones, and of first layers that grow unit by unit.
LINEAR_WIDTH, RELU_WIDTH, UNIT_WIDTH = 20, 50, 10
PATCHES: dict[str, Any] = {"kernel": (2,), "stride": 2}
EIGENVALUES = (0.7, 0.3)  # eigenvalues of the input covariance of linear attention
CONTEXT = 31  # pairs of its contexts
FIGURE5 = "Zhang, Saxe & Latham 2026, Figure 5"
ASKED = "asked in Zhang, Saxe & Latham 2026, Section 7; expected from the narrowest network"


def _two(
    first: str,
    width: int,
    second: str,
    hidden: int,
    **options: Any,
) -> Network:
    below = Layer(make(first, **options), width, mixes=False)
    above = Layer(make(second), hidden)
    return Network((below, above))


def _outputs(
    unit: str,
    strengths: tuple[float, float],
    **options: Any,
) -> Teacher:
    """A teacher of two units whose scalar output is split into two, as in
    panels B and F."""
    return Teacher(
        unit,
        2,
        outputs=2,
        strengths=strengths,
        split=True,
        **options,
    )


# By name: the training set, the network, and the scale of its initial weights.
NETWORKS: dict[str, tuple[Task, Network, float]] = {
    "linear": (
        LinearTeacher((1.0, 0.4)),
        _two("linear", LINEAR_WIDTH, "linear", LINEAR_WIDTH),
        1e-2,
    ),
    "linear_conv": (
        _outputs(
            "conv_linear",
            (1.0, 0.4),
            inputs=(1, 4),
            options_of_unit=PATCHES,
        ),
        _two(
            "conv_linear",
            LINEAR_WIDTH,
            "linear",
            LINEAR_WIDTH,
            **PATCHES,
        ),
        1e-2,
    ),
    "relu": (
        OrthogonalReLU((1.0, -0.5)),
        _two("relu", RELU_WIDTH, "relu", RELU_WIDTH),
        1e-2,
    ),
    "relu_conv": (
        OrthogonalPatches((1.0, 0.4), split=True),
        _two("conv_relu", RELU_WIDTH, "relu", RELU_WIDTH, **PATCHES),
        3e-3,
    ),
    "attention": (
        InContextRegression(EIGENVALUES, CONTEXT),
        _two(
            "in_context_linear",
            UNIT_WIDTH,
            "linear",
            LINEAR_WIDTH,
            rank=1,
        ),
        2e-2,
    ),
    "quadratic": (
        _outputs(
            "quadratic",
            (1.0, 0.6),
            inputs=(2,),
            design="axes",
            samples=4000,
        ),
        _two("quadratic", UNIT_WIDTH, "linear", LINEAR_WIDTH),
        1e-2,
    ),
}
SMOOTH = ("linear", "linear_conv", "attention", "quadratic")
# Units that each layer of the narrowest network gains with each mode. A scalar output, as that of
# attention, leaves a linear layer only one.
GAINS = dict.fromkeys(NETWORKS, ((1, 1), (1, 1)))
GAINS["attention"] = ((1, 1), (1, 0))


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, seed in product(NETWORKS, range(seeds)):
        yield {"network": name}, experiment(name, seed)


def experiment(name: str, seed: int) -> Experiment:
    """The experiment of a network.

    Attention leaves a loss that nothing removes; the others stop where they
    have learned their targets.
    """
    task, network, scale = NETWORKS[name]
    learned = None if name == "attention" else 1e-9
    return Experiment(
        task=task,
        network=network,
        stop=Stop(flow_time=10_000.0, loss=learned),
        initialization=Initialization(scale=scale),
        seed=seed,
        name=name,
    )


def one_learned(e: Experiment) -> tuple[float, ...]:
    """The losses of the saddles with one of two modes learned, in closed
    form.

    Of the stronger, and of the weaker where units race.

    Example
    -------
    >>> from saddlery.studies import figure5
    >>> [round(loss, 6) for loss in figure5.one_learned(figure5.experiment("linear", 0))]
    [0.08]
    """
    if isinstance(e.task, LinearTeacher):
        weaker = float(e.task.spectrum()[1])
        return (0.5 * weaker**2,)
    if isinstance(e.task, InContextRegression):
        total = sum(EIGENVALUES)
        return tuple(0.5 * (total - _gain(value, total)) for value in EIGENVALUES)
    targets = e.task.data(e.seed).targets
    assert targets is not None
    if targets.shape[1] == 1:
        negative = np.minimum(targets, 0.0)
        return (0.5 * float(np.mean(negative**2)),)
    left = 0.5 * np.mean(targets**2, axis=0)
    if e.name == "quadratic":
        return tuple(map(float, left[::-1]))
    return tuple(map(float, left[1:]))


def _gain(value: float, total: float) -> float:
    """What one eigenvector takes from tr L (eq 19 of Zhang, Singh, Latham & Saxe 2025)."""
    return value / (1 + (1 + total / value) / CONTEXT)


def measure(e: Experiment) -> Row:
    """Whether the run rests between at the loss of one mode, which layers
    gain units, and how their weights grow."""
    run = train(e)
    smooth = e.name in SMOOTH
    found = certify(run) if smooth else stages(run)
    expected = one_learned(e)
    losses = [stage.loss for stage in found.stages]
    widths = [[layer.minimal for layer in stage.effective] for stage in found.stages]
    # Three stages make two drops; other numbers are none of those that are claimed.
    first = second = None
    if len(widths) == 3:
        first, second = map(tuple, np.diff(widths, axis=0).tolist())
    return {
        "plateau": float(_rests_between(found, expected)),
        "first": float(first == GAINS[e.name][0]),
        "second": float(second == GAINS[e.name][1]),
        "mechanism": share_as_expected(found),
        "saddle": _certified(found, expected) if smooth else float("nan"),
        "levels": [loss / losses[0] for loss in losses],
        "expected": [loss / losses[0] for loss in expected] if losses else [],
        "widths": widths,
    }


def _rests_between(found: Stages, expected: Sequence[float]) -> bool:
    """Whether there is one plateau between, at one of these losses."""
    between = [stage.loss for stage in found.stages if stage.kind == "intermediate"]
    if len(between) != 1:
        return False
    loss = found.run.trajectory.loss
    reach = NEAR * float(loss.max() - loss.min())
    return min(abs(between[0] - closed) for closed in expected) <= reach


def _certified(found: Stages, expected: Sequence[float]) -> float:
    """Whether the plateau between is certified a saddle of exactly one of these losses."""
    for stage in found.stages:
        point = stage.fixed_point
        if stage.kind != "intermediate" or point is None or point.verdict not in SADDLES:
            continue
        if min(abs(point.loss - loss) for loss in expected) <= EXACT:
            return 1.0
    return 0.0


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for k, name in enumerate(NETWORKS):
        for row in labelled(rows, network=name):
            _draw_run(row, k, axes)
    names = [name.replace("_", "\n") for name in NETWORKS]
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_xlim(-0.5, len(names) - 0.3)
    axes.set_ylabel("losses of the plateaus, of the first; units a layer")


def _draw_run(row: Row, k: int, axes: Axes) -> None:
    """The levels of a run beside the closed forms; of one seed with the
    units of each layer."""
    levels = row["levels"]
    places = [k] * len(levels)
    axes.plot(places, levels, "o", color="#1b4965", alpha=0.4, markersize=5)
    axes.hlines(
        row["expected"],
        k - 0.25,
        k + 0.08,
        color="#888888",
        linewidth=0.6,
        zorder=0,
    )
    if row["seed"] != 0:
        return
    for level, widths in zip(levels, row["widths"], strict=True):
        axes.annotate(
            literal(" > ".join(map(str, widths))),
            (k, level),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
        )


def _claim(name: str) -> Iterator[Claim]:
    source, drop = FIGURE5, "both layers gain one unit"
    if name == "quadratic":
        source += "; either mode, and more samples, since the first quick run"
    if name == "attention":
        drop = "attention gains a head, the linear layer nothing"

    def claim(
        quantity: str,
        sentence: str,
        source: str,
        words: str,
    ) -> Claim:
        return Claim(
            id=f"figure5.{name}.{quantity}",
            sentence=sentence,
            source=source,
            quantity=words,
            low=0.9,
            high=1.0,
            values=lambda rows: of(rows, quantity, network=name),
            kind=Share(),
        )

    yield claim(
        "plateau",
        f"The deep {name} network rests on one plateau between, at the loss with one mode learned.",
        source=source,
        words=f"share of seeds with one plateau between, within {NEAR:g} of what is"
        " learned from that loss",
    )
    yield claim(
        "first",
        f"At the first drop both layers of the deep {name} network gain one unit.",
        source=ASKED,
        words="share of seeds in which they do",
    )
    yield claim(
        "second",
        f"At the second drop of the deep {name} network {drop}.",
        source=ASKED,
        words="share of seeds in which this is so",
    )
    yield claim(
        "mechanism",
        f"Each layer of the deep {name} network grows by directions or by units as the"
        " leading degree of its units says.",
        source=FIGURE5,
        words="share of layers and drops with the expected mechanism",
    )
    if name in SMOOTH:
        yield claim(
            "saddle",
            f"Behind the plateau between of the deep {name} network is a saddle with"
            " exactly that loss.",
            source=FIGURE5,
            words=f"share of seeds with a certified saddle of this loss to {EXACT:g}",
        )


STUDY = Study(
    name="figure5",
    title="Six deep networks learn two modes one after the other; which layers gain units when",
    design=design,
    measure=measure,
    claims=tuple(claim for name in NETWORKS for claim in _claim(name)),
    draw=draw,
    quick=2,
    full=40,
)
