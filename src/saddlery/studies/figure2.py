"""Figure 2: what width, data spectrum, initialization structure and initialization scale do to the
plateaus.

Three modes; singular values of E[y x'] (linear) or positive ones of E[y Z] (linear attention, half
the square of an eigenvalue of the input covariance) follow n^(-kappa) and sum to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..initializations import Initialization
from ..plateaus import stages
from ..runs import train
from ..tasks import InContextRegression, LinearTeacher
from ..training import Stop
from .base import Claim, Row, Study, of, ratio
from .intervals import Count, Real
from .measures import changed, counts, falls_below, plateaus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER = "Zhang, Saxe & Latham 2026, Figure 2"
INF = float("inf")
LENGTH = 31


def spectrum(kappa: float) -> np.ndarray:
    values = np.arange(1, 4) ** -kappa
    return values / values.sum()


def linear(kappa: float, width: int, seed: int, scale: float = 1e-6) -> Experiment:
    task, stop = LinearTeacher(tuple(spectrum(kappa).tolist())), Stop(flow_time=400.0)
    return changed("linear", task=task, stop=stop, seed=seed, width=width, scale=scale)


def attention(kappa: float, width: int, seed: int, scale: float = 1e-3) -> Experiment:
    task = InContextRegression(tuple(np.sqrt(2 * spectrum(kappa)).tolist()), length=LENGTH)
    return changed(
        "linear_attention",
        task=task,
        stop=Stop(flow_time=30_000.0),
        seed=seed,
        width=width,
        scale=scale,
    )


MAKERS = {"linear": linear, "attention": attention}


# ------------------------------------------------------------------------ A: width
WIDTHS = (6, 12, 24, 48)


def design_a(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, make in MAKERS.items():
        for width in WIDTHS:
            for seed in range(seeds):
                yield {"network": name, "width": width}, make(1.0, width, seed)


def measure_a(experiment: Experiment) -> Row:
    """The time at which nine tenths of what is learned in all has been learned."""
    run = train(experiment)
    loss = run.trajectory.loss
    return {
        "learned": falls_below(run, float(loss[-1] + 0.1 * (loss[0] - loss[-1]))),
        "first": falls_below(run, 0.9 * loss[0]),
    }


def draw_a(rows: Sequence[Row], axes: Axes) -> None:
    for name, marker in (("linear", "o"), ("attention", "s")):
        base = of(rows, "learned", network=name, width=WIDTHS[0]).mean()
        means = [of(rows, "learned", network=name, width=w).mean() / base for w in WIDTHS]
        axes.plot(WIDTHS, means, marker + "-", label=name)
    axes.set_xlabel("width H")
    axes.set_ylabel("time until nine tenths are learned, of the smallest width's")
    axes.set_xscale("log", base=2)
    axes.legend(frameon=False)


FIGURE2A = Study(
    "figure2a",
    (
        "More heads shorten the plateaus of linear attention; more hidden units hardly "
        "those of a linear network"
    ),
    design_a,
    measure_a,
    (
        Claim(
            "figure2a.attention",
            "Eight times the heads learn at least twice as fast.",
            PAPER + "A",
            "learning time with 48 heads over that with 6",
            0.0,
            0.5,
            lambda rows: ratio(
                rows,
                "learned",
                {"network": "attention", "width": 48},
                {"network": "attention", "width": 6},
            ),
            kind=Real(least=0.0),
        ),
        Claim(
            "figure2a.attention.direction",
            "More heads learn faster.",
            PAPER + "A (added after the first quick run, in which the factor of two failed)",
            "learning time with 48 heads over that with 6",
            0.0,
            0.99,
            lambda rows: ratio(
                rows,
                "learned",
                {"network": "attention", "width": 48},
                {"network": "attention", "width": 6},
            ),
            kind=Real(least=0.0),
        ),
        Claim(
            "figure2a.linear",
            (
                "Eight times the hidden units change the learning time of a linear "
                "network by less than a fifth."
            ),
            PAPER + "A",
            "learning time with 48 hidden units over that with 6",
            0.8,
            1.2,
            lambda rows: ratio(
                rows,
                "learned",
                {"network": "linear", "width": 48},
                {"network": "linear", "width": 6},
            ),
            kind=Real(least=0.0),
        ),
    ),
    draw_a,
    quick=4,
    full=40,
)

# ----------------------------------------------------------------- B: data spectrum
KAPPAS = (0.0, 0.5, 1.0, 1.5)


def design_b(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, make in MAKERS.items():
        for kappa in KAPPAS:
            for seed in range(seeds):
                yield {"network": name, "kappa": kappa}, make(kappa, 20, seed)


def measure_b(experiment: Experiment) -> Row:
    """How many plateaus lie between, and how long after a tenth was learned nine tenths are."""
    run = train(experiment)
    loss = run.trajectory.loss
    tenth = falls_below(run, float(loss[0] - 0.1 * (loss[0] - loss[-1])))
    most = falls_below(run, float(loss[-1] + 0.1 * (loss[0] - loss[-1])))
    return {**counts(stages(run)), "spread": most - tenth}


def draw_b(rows: Sequence[Row], axes: Axes) -> None:
    for name, marker in (("linear", "o"), ("attention", "s")):
        means = [of(rows, "intermediate", network=name, kappa=k).mean() for k in KAPPAS]
        axes.plot(KAPPAS, means, marker + "-", label=name)
    axes.set_xlabel("exponent kappa of the data spectrum")
    axes.set_ylabel("plateaus between the first and the end")
    axes.legend(frameon=False)


FIGURE2B = Study(
    "figure2b",
    (
        "Equal singular values leave a linear network only its first plateau, and "
        "linear attention all of them"
    ),
    design_b,
    measure_b,
    (
        Claim(
            "figure2b.linear.equal",
            "With equal singular values a linear network has no plateau but the first.",
            PAPER + "B",
            "intermediate plateaus at kappa = 0",
            0.0,
            0.0,
            lambda rows: of(rows, "intermediate", network="linear", kappa=0.0),
            kind=Count(),
        ),
        Claim(
            "figure2b.linear.distinct",
            "With singular values 1 : 1/2 : 1/3 it has two more.",
            PAPER + "B",
            "intermediate plateaus at kappa = 1",
            1.9,
            2.0,
            lambda rows: of(rows, "intermediate", network="linear", kappa=1.0),
            kind=Count(most=2),
        ),
        Claim(
            "figure2b.attention.equal",
            "With equal eigenvalues linear attention keeps plateaus after the first.",
            PAPER + "B",
            "intermediate plateaus at kappa = 0",
            0.5,
            INF,
            lambda rows: of(rows, "intermediate", network="attention", kappa=0.0),
            kind=Count(),
        ),
        *(
            Claim(
                f"figure2b.{name}.shorter",
                f"A smaller exponent shortens the plateaus of the {name} network.",
                PAPER + "B",
                "time from a tenth to nine tenths learned, kappa = 0.5 over kappa = 1.5",
                0.0,
                0.75,
                lambda rows, name=name: ratio(
                    rows, "spread", {"network": name, "kappa": 0.5}, {"network": name, "kappa": 1.5}
                ),
                kind=Real(least=0.0),
            )
            for name in MAKERS
        ),
    ),
    draw_b,
    quick=3,
    full=40,
)

# ------------------------------------------------------ C: initialization structure
STARTS = {
    "small": Initialization(scale=1e-4),
    "rank one": Initialization("manifold", 1e-4, 1, 0.1),
    "rank two": Initialization("manifold", 1e-4, 2, 0.1),
}


def design_c(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, start in STARTS.items():
        for seed in range(seeds):
            yield {"start": name}, changed("linear", initialization=start, seed=seed)


def draw_c(rows: Sequence[Row], axes: Axes) -> None:
    names = list(STARTS)
    for offset, quantity in ((-0.15, "initial"), (0.15, "intermediate")):
        axes.bar(
            [k + offset for k in range(len(names))],
            [of(rows, quantity, start=name).mean() for name in names],
            width=0.3,
            label=quantity,
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("plateaus")
    axes.legend(frameon=False)


def _count(start: str, quantity: str, value: float, sentence: str) -> Claim:
    slug = f"figure2c.{start.replace(' ', '_')}.{quantity}"
    words = f"{quantity} plateaus from a {start} start"
    tolerance = 0.1
    return Claim(
        slug,
        sentence,
        PAPER + "C",
        words,
        value - tolerance,
        value + tolerance,
        lambda rows: of(rows, quantity, start=start),
        kind=Count(),
    )


FIGURE2C = Study(
    "figure2c",
    (
        "Large low-rank weights: stages without a first plateau, and with the needed "
        "rank one exponential drop"
    ),
    design_c,
    plateaus,
    (
        _count("small", "initial", 1, "From small weights there is a first plateau."),
        _count(
            "small", "intermediate", 1, "From small weights two modes make one plateau between."
        ),
        _count(
            "rank one", "initial", 0, "From large weights of rank one there is no first plateau."
        ),
        _count(
            "rank one",
            "intermediate",
            1,
            "From large weights of rank one the plateau between is there.",
        ),
        _count(
            "rank two",
            "initial",
            0,
            "From large weights of the needed rank there is no first plateau.",
        ),
        _count(
            "rank two",
            "intermediate",
            0,
            "From large weights of the needed rank the loss falls in one drop.",
        ),
    ),
    draw_c,
    quick=4,
    full=160,
)

# ---------------------------------------------------------- D: initialization scale
SCALES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)


def design_d(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for scale in SCALES:
        for seed in range(seeds):
            yield {"scale": scale}, changed("linear", scale=scale, seed=seed)


def draw_d(rows: Sequence[Row], axes: Axes) -> None:
    axes.plot(SCALES, [of(rows, "first_length", scale=s).mean() for s in SCALES], "o-")
    axes.set_xscale("log")
    axes.set_xlabel("initial scale")
    axes.set_ylabel("length of the first plateau (flow time)")


FIGURE2D = Study(
    "figure2d",
    "A larger initial scale shortens the plateaus and in the end removes them",
    design_d,
    plateaus,
    (
        Claim(
            "figure2d.shorter",
            (
                "A hundred times the scale shortens the first plateau by ln(100), the theory's "
                "amount at unit singular value."
            ),
            PAPER + "D; time ln(s/u0)/2s",
            "first plateau at scale 1e-6 less that at 1e-4, over ln 100",
            0.9,
            1.1,
            lambda rows: (
                (of(rows, "first_length", scale=1e-6) - of(rows, "first_length", scale=1e-4))
                / np.log(100)
            ),
            kind=Real(),
        ),
        Claim(
            "figure2d.small",
            "From small weights there are two plateaus before the end.",
            PAPER + "D",
            "plateaus before the end at scale 1e-6",
            1.9,
            2.0,
            lambda rows: of(rows, "initial", scale=1e-6) + of(rows, "intermediate", scale=1e-6),
            kind=Count(most=2),
        ),
        Claim(
            "figure2d.large",
            "From large isotropic weights there is none.",
            PAPER + "D",
            "plateaus before the end at scale 1",
            0.0,
            0.1,
            lambda rows: of(rows, "initial", scale=1.0) + of(rows, "intermediate", scale=1.0),
            kind=Count(),
        ),
    ),
    draw_d,
    quick=4,
    full=40,
)
