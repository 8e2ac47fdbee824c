"""Figure 2: what width, data spectrum, initialization structure and
initialization scale do to the plateaus.

Three modes; singular values of E[y x'] (linear) or positive ones of E[y Z]
(linear attention, half the square of an eigenvalue of the input covariance)
follow n^(-kappa) and sum to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ..experiments import Experiment
from ..initializations import Initialization
from ..plateaus import stages
from ..runs import Run, train
from ..tasks import InContextRegression, LinearTeacher
from ..training import Stop
from .base import Claim, Row, Study, of, paired, ratio
from .intervals import Count, Real
from .measures import changed, counts, falls_below, plateaus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE2 = "Zhang, Saxe & Latham 2026, Figure 2"
INF = float("inf")
CONTEXT = 31  # pairs of a context of linear attention
MARKERS = {"linear": "o", "attention": "s"}


def spectrum(kappa: float) -> Float[np.ndarray, " 3"]:
    """n^(-kappa), n = 1, 2, 3, over their sum.

    Example
    -------
    >>> from saddlery.studies.figure2 import spectrum
    >>> spectrum(1.0).round(3).tolist()
    [0.545, 0.273, 0.182]
    """
    values = np.arange(1, 4) ** -kappa
    return values / values.sum()


def linear(
    kappa: float,
    width: int,
    seed: int,
    scale: float = 1e-6,
) -> Experiment:
    """A linear network whose singular values follow a power law."""
    return changed(
        "linear",
        task=LinearTeacher(tuple(spectrum(kappa).tolist())),
        stop=Stop(flow_time=400.0),
        seed=seed,
        width=width,
        scale=scale,
    )


def attention(
    kappa: float,
    width: int,
    seed: int,
    scale: float = 1e-3,
) -> Experiment:
    """Linear attention, half of whose squared eigenvalues follow a power law."""
    eigenvalues = np.sqrt(2 * spectrum(kappa))
    return changed(
        "linear_attention",
        task=InContextRegression(
            tuple(eigenvalues.tolist()),
            length=CONTEXT,
        ),
        stop=Stop(flow_time=30_000.0),
        seed=seed,
        width=width,
        scale=scale,
    )


MAKERS = {"linear": linear, "attention": attention}


# ------------------------------------------------------------------------ A: width
WIDTHS = (6, 12, 24, 48)


def design_a(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, width, seed in product(MAKERS, WIDTHS, range(seeds)):
        yield (
            {"network": name, "width": width},
            MAKERS[name](1.0, width, seed),
        )


def measure_a(experiment: Experiment) -> Row:
    """The time at which nine tenths of what is learned in all has been learned."""
    run = train(experiment)
    return {
        "learned": falls_below(run, _level(run, 0.1)),
        "first": falls_below(run, 0.9 * run.trajectory.loss[0]),
    }


def _level(run: Run, left: float) -> float:
    """The loss when a share of what is learned in all is left to learn."""
    loss = run.trajectory.loss
    return float(loss[-1] + left * (loss[0] - loss[-1]))


def draw_a(rows: Sequence[Row], axes: Axes) -> None:
    for name, marker in MARKERS.items():
        means = []
        for width in WIDTHS:
            times = of(rows, "learned", network=name, width=width)
            means.append(times.mean())
        relative = [mean / means[0] for mean in means]
        axes.plot(WIDTHS, relative, marker + "-", label=name)
    axes.set_xlabel("width H")
    axes.set_ylabel(
        "time until nine tenths are learned, of the smallest width's",
    )
    axes.set_xscale("log", base=2)
    axes.legend(frameon=False)


def _speed_up(name: str) -> Callable[[Sequence[Row]], np.ndarray]:
    """The learning time of the widest network over that of the narrowest, seed by seed."""
    widest = {"network": name, "width": WIDTHS[-1]}
    narrowest = {"network": name, "width": WIDTHS[0]}
    return lambda rows: ratio(rows, "learned", widest, narrowest)


FIGURE2A = Study(
    name="figure2a",
    title=(
        "More heads shorten the plateaus of linear attention; more hidden units hardly "
        "those of a linear network"
    ),
    design=design_a,
    measure=measure_a,
    claims=(
        Claim(
            id="figure2a.attention",
            sentence="Eight times the heads learn at least twice as fast.",
            source=FIGURE2 + "A",
            quantity="learning time with 48 heads over that with 6",
            low=0.0,
            high=0.5,
            values=_speed_up("attention"),
            kind=Real(least=0.0),
        ),
        Claim(
            id="figure2a.attention.direction",
            sentence="More heads learn faster.",
            source=FIGURE2
            + "A (added after the first quick run, in which the factor of two failed)",
            quantity="learning time with 48 heads over that with 6",
            low=0.0,
            high=0.99,
            values=_speed_up("attention"),
            kind=Real(least=0.0),
        ),
        Claim(
            id="figure2a.linear",
            sentence=(
                "Eight times the hidden units change the learning time of a linear "
                "network by less than a fifth."
            ),
            source=FIGURE2 + "A",
            quantity="learning time with 48 hidden units over that with 6",
            low=0.8,
            high=1.2,
            values=_speed_up("linear"),
            kind=Real(least=0.0),
        ),
    ),
    draw=draw_a,
    quick=4,
    full=40,
)

# ----------------------------------------------------------------- B: data spectrum
KAPPAS = (0.0, 0.5, 1.0, 1.5)


def design_b(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, kappa, seed in product(MAKERS, KAPPAS, range(seeds)):
        yield (
            {"network": name, "kappa": kappa},
            MAKERS[name](kappa, 20, seed),
        )


def measure_b(experiment: Experiment) -> Row:
    """How many plateaus lie between, and how long after a tenth was learned
    nine tenths are."""
    run = train(experiment)
    loss = run.trajectory.loss
    tenth = float(loss[0] - 0.1 * (loss[0] - loss[-1]))
    spread = falls_below(run, _level(run, 0.1)) - falls_below(run, tenth)
    return {**counts(stages(run)), "spread": spread}


def draw_b(rows: Sequence[Row], axes: Axes) -> None:
    for name, marker in MARKERS.items():
        means = []
        for kappa in KAPPAS:
            between = of(rows, "intermediate", network=name, kappa=kappa)
            means.append(between.mean())
        axes.plot(KAPPAS, means, marker + "-", label=name)
    axes.set_xlabel("exponent kappa of the data spectrum")
    axes.set_ylabel("plateaus between the first and the end")
    axes.legend(frameon=False)


def _shorter(name: str) -> Claim:
    flatter = {"network": name, "kappa": 0.5}
    steeper = {"network": name, "kappa": 1.5}
    return Claim(
        id=f"figure2b.{name}.shorter",
        sentence=f"A smaller exponent shortens the plateaus of the {name} network.",
        source=FIGURE2 + "B",
        quantity="time from a tenth to nine tenths learned, kappa = 0.5 over kappa = 1.5",
        low=0.0,
        high=0.75,
        values=lambda rows: ratio(rows, "spread", flatter, steeper),
        kind=Real(least=0.0),
    )


FIGURE2B = Study(
    name="figure2b",
    title=(
        "Equal singular values leave a linear network only its first plateau, and "
        "linear attention all of them"
    ),
    design=design_b,
    measure=measure_b,
    claims=(
        Claim(
            id="figure2b.linear.equal",
            sentence="With equal singular values a linear network has no plateau but the first.",
            source=FIGURE2 + "B",
            quantity="intermediate plateaus at kappa = 0",
            low=0.0,
            high=0.0,
            values=lambda rows: of(
                rows,
                "intermediate",
                network="linear",
                kappa=0.0,
            ),
            kind=Count(),
        ),
        Claim(
            id="figure2b.linear.distinct",
            sentence="With singular values 1 : 1/2 : 1/3 it has two more.",
            source=FIGURE2 + "B",
            quantity="intermediate plateaus at kappa = 1",
            low=1.9,
            high=2.0,
            values=lambda rows: of(
                rows,
                "intermediate",
                network="linear",
                kappa=1.0,
            ),
            kind=Count(most=2),
        ),
        Claim(
            id="figure2b.attention.equal",
            sentence="With equal eigenvalues linear attention keeps plateaus after the first.",
            source=FIGURE2 + "B",
            quantity="intermediate plateaus at kappa = 0",
            low=0.5,
            high=INF,
            values=lambda rows: of(
                rows,
                "intermediate",
                network="attention",
                kappa=0.0,
            ),
            kind=Count(),
        ),
        *map(_shorter, MAKERS),
    ),
    draw=draw_b,
    quick=3,
    full=40,
)

# ------------------------------------------------------ C: initialization structure
STARTS = {
    "small": Initialization(scale=1e-4),
    "rank one": Initialization("manifold", 1e-4, 1, 0.1),
    "rank two": Initialization("manifold", 1e-4, 2, 0.1),
}
COUNTED_TO = 0.1  # a mean number of plateaus over seeds may be off by this


def design_c(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, start in STARTS.items():
        for seed in range(seeds):
            yield (
                {"start": name},
                changed("linear", initialization=start, seed=seed),
            )


def draw_c(rows: Sequence[Row], axes: Axes) -> None:
    names = list(STARTS)
    for offset, quantity in (
        (-0.15, "initial"),
        (0.15, "intermediate"),
    ):
        places = [k + offset for k in range(len(names))]
        means = [of(rows, quantity, start=name).mean() for name in names]
        axes.bar(places, means, width=0.3, label=quantity)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("plateaus")
    axes.legend(frameon=False)


def _count(
    start: str,
    quantity: str,
    value: float,
    sentence: str,
) -> Claim:
    slug = start.replace(" ", "_")
    return Claim(
        id=f"figure2c.{slug}.{quantity}",
        sentence=sentence,
        source=FIGURE2 + "C",
        quantity=f"{quantity} plateaus from a {start} start",
        low=value - COUNTED_TO,
        high=value + COUNTED_TO,
        values=lambda rows: of(rows, quantity, start=start),
        kind=Count(),
    )


FIGURE2C = Study(
    name="figure2c",
    title=(
        "Large low-rank weights: stages without a first plateau, and with the needed "
        "rank one exponential drop"
    ),
    design=design_c,
    measure=plateaus,
    claims=(
        _count(
            "small",
            "initial",
            value=1,
            sentence="From small weights there is a first plateau.",
        ),
        _count(
            "small",
            "intermediate",
            value=1,
            sentence="From small weights two modes make one plateau between.",
        ),
        _count(
            "rank one",
            "initial",
            value=0,
            sentence="From large weights of rank one there is no first plateau.",
        ),
        _count(
            "rank one",
            "intermediate",
            value=1,
            sentence="From large weights of rank one the plateau between is there.",
        ),
        _count(
            "rank two",
            "initial",
            value=0,
            sentence="From large weights of the needed rank there is no first plateau.",
        ),
        _count(
            "rank two",
            "intermediate",
            value=0,
            sentence="From large weights of the needed rank the loss falls in one drop.",
        ),
    ),
    draw=draw_c,
    quick=4,
    full=160,
)

# ---------------------------------------------------------- D: initialization scale
START_SCALES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)


def design_d(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for scale, seed in product(START_SCALES, range(seeds)):
        yield (
            {"scale": scale},
            changed("linear", scale=scale, seed=seed),
        )


def draw_d(rows: Sequence[Row], axes: Axes) -> None:
    lengths = [of(rows, "first_length", scale=scale).mean() for scale in START_SCALES]
    axes.plot(START_SCALES, lengths, "o-")
    axes.set_xscale("log")
    axes.set_xlabel("initial scale")
    axes.set_ylabel("length of the first plateau (flow time)")


def _before_end(rows: Sequence[Row], scale: float) -> np.ndarray:
    """The number of plateaus before the end, of every seed."""
    first = of(rows, "initial", scale=scale)
    return first + of(rows, "intermediate", scale=scale)


def _shortening(rows: Sequence[Row]) -> np.ndarray:
    """By how much a hundred times the scale shortens the first plateau, over ln(100)."""
    small, larger = paired(rows, "first_length", {"scale": 1e-6}, {"scale": 1e-4})
    return (small - larger) / np.log(100)


FIGURE2D = Study(
    name="figure2d",
    title="A larger initial scale shortens the plateaus and in the end removes them",
    design=design_d,
    measure=plateaus,
    claims=(
        Claim(
            id="figure2d.shorter",
            sentence=(
                "A hundred times the scale shortens the first plateau by ln(100), the theory's "
                "amount at unit singular value."
            ),
            source=FIGURE2 + "D; time ln(s/u0)/2s",
            quantity="first plateau at scale 1e-6 less that at 1e-4, over ln 100",
            low=0.9,
            high=1.1,
            values=_shortening,
            kind=Real(),
        ),
        Claim(
            id="figure2d.small",
            sentence="From small weights there are two plateaus before the end.",
            source=FIGURE2 + "D",
            quantity="plateaus before the end at scale 1e-6",
            low=1.9,
            high=2.0,
            values=lambda rows: _before_end(rows, 1e-6),
            kind=Count(most=2),
        ),
        Claim(
            id="figure2d.large",
            sentence="From large isotropic weights there is none.",
            source=FIGURE2 + "D",
            quantity="plateaus before the end at scale 1",
            low=0.0,
            high=0.1,
            values=lambda rows: _before_end(rows, 1.0),
            kind=Count(),
        ),
    ),
    draw=draw_d,
    quick=4,
    full=40,
)
