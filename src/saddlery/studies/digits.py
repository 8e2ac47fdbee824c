"""Real data: the plateaus of handwritten digits against closed forms, pair by pair, and what stands
behind them.

Three studies: a linear network on principal components, whose saddles and jumps are all known
beforehand; pairs of digits with two-dimensional targets, as in Figure 3 and Table 1 of Zhang, Saxe
& Latham (2026), there on MNIST; and ReLU and quadratic networks, of whose plateaus only a part has
a fixed point behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Data, Layer, Network
from ..plateaus import certify, stages
from ..predictions import compare, predict
from ..rules import GradientDescent, GradientFlow
from ..runs import Run, train
from ..tasks import Digits
from ..theory import linear_saddles
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of, ratio
from .intervals import Real, Share
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INF = float("inf")


# ------------------------------------------------- all digits, principal components, linear
def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for seed in range(seeds):
        yield {"network": "linear"}, changed("digits", seed=seed)


def second_moments(data: Data) -> tuple[np.ndarray, np.ndarray, float]:
    """E[x x'], E[y x'] and E|y|^2 of the samples, not centred."""
    assert data.inputs is not None and data.targets is not None
    x, y = data.inputs.reshape(len(data.inputs), -1), data.targets
    return x.T @ x / len(x), y.T @ x / len(x), float(np.sum(y**2) / len(x))


def saddle_path(data: Data, width: int) -> np.ndarray:
    """Losses of the saddles in the order of dynamics: from each, the mode joins that has the
    largest part of the leading singular vector of what is left of the correlation, E[r x'] = (1 -
    P_A) E[y x']. Closed forms: Baldi & Hornik (1989)."""
    covariance, correlation, target = second_moments(data)
    saddles = linear_saddles(covariance, correlation, target, width)
    learned: list[int] = []
    losses = [saddles.saddle(learned).loss]
    while len(learned) < min(len(saddles.strengths), width):
        e = saddles.vectors[:, learned]
        leading = np.linalg.svd(correlation - e @ (e.T @ correlation))[0][:, 0]
        left = [k for k in range(len(saddles.strengths)) if k not in learned]
        learned.append(max(left, key=lambda k: abs(saddles.vectors[:, k] @ leading)))
        losses.append(saddles.saddle(learned).loss)
    return np.array(losses)


def measure(experiment: Experiment) -> Row:
    """The certified losses beside the path of closed forms, and the predicted jumps beside the
    run's."""
    found = certify(train(experiment))
    path = saddle_path(experiment.task.data(experiment.seed), experiment.network.widths[0])
    certified = np.array([point.loss for point in found.fixed_points])
    errors = np.abs(certified[:, None] - path[None])
    at = errors.argmin(axis=1)
    (prediction,) = predict(experiment, theory="directions one by one")
    jumps = [
        abs(stage.error) for stage in compare(prediction, found).stages if stage.error is not None
    ]
    return {
        "error": float(errors.min(axis=1).max()),
        "order": float(at[0] == 0 and at[-1] == len(path) - 1 and bool(np.all(np.diff(at) > 0))),
        "jumps": max(jumps) if len(jumps) == len(path) - 1 else float("nan"),
        "certified": len(certified) / len(found),
        "levels": certified.tolist(),
        "path": path.tolist(),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for row in rows:
        axes.plot(
            [row["seed"]] * len(row["levels"]), row["levels"], "o", color="#1b4965", markersize=5
        )
    for loss in rows[0]["path"] if rows else []:
        axes.axhline(loss, color="#888888", linewidth=0.6, zorder=0)
    axes.set_xlabel("seed of the initial weights")
    axes.set_ylabel("losses of fixed points; lines: closed form")


STUDY = Study(
    "digits",
    "A linear network on handwritten digits: every saddle and every jump as theory says",
    design,
    measure,
    (
        Claim(
            "digits.losses",
            (
                "Every certified fixed point has the loss of a saddle on the path that "
                "the closed forms give."
            ),
            "Baldi & Hornik 1989",
            "largest error of a loss",
            0.0,
            1e-9,
            lambda rows: of(rows, "error"),
            kind=Real(least=0.0),
        ),
        Claim(
            "digits.order",
            (
                "They are visited in the order of the singular values of what is left of the "
                "correlation, first to last."
            ),
            "Zhang, Saxe & Latham 2026, Section 5.1",
            "share of seeds whose fixed points are in this order",
            1.0,
            1.0,
            lambda rows: of(rows, "order"),
            kind=Share(),
        ),
        Claim(
            "digits.certified",
            "There is a certified fixed point behind every plateau.",
            "Zhang, Saxe & Latham 2026, Theorem 1",
            "share of plateaus with one",
            1.0,
            1.0,
            lambda rows: of(rows, "certified"),
            kind=Share(),
        ),
        Claim(
            "digits.jumps",
            "All nine jumps come when they are predicted from the initial weights, to a twentieth.",
            "Zhang, Saxe & Latham 2026, eqs 10 and 12",
            "largest relative error of a jump time",
            0.0,
            0.05,
            lambda rows: of(rows, "jumps"),
            kind=Real(least=0.0),
        ),
    ),
    draw,
    quick=2,
    full=10,
)

# --------------------------------------------------------------------- pairs of digits
PAIRS = tuple(combinations(range(10), 2))
KINKED = ((0, 1), (3, 5), (2, 7), (4, 9))  # pairs that ReLU networks learn
WIDTH, SCALE, TIME = 50, 1e-5, 100.0
PAPER = "Zhang, Saxe & Latham 2026, Figure 3 and Table 1 (there MNIST)"


def design_pairs(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    """Full-batch descent for ReLU units, as in the paper: the flow would resolve every kink of 360
    samples."""
    for unit, pairs, rule in (
        ("linear", PAIRS, GradientFlow()),
        ("relu", KINKED, GradientDescent(0.02)),
    ):
        for pair in pairs:
            for seed in range(seeds):
                yield (
                    {"unit": unit, "pair": "/".join(map(str, pair))},
                    _pair(unit, pair, seed, rule),
                )


def _pair(
    unit: str, pair: tuple[int, int], seed: int, rule: GradientFlow | GradientDescent
) -> Experiment:
    task, network = Digits(classes=pair, centred=False), Network((Layer(make(unit), WIDTH),))
    return Experiment(
        task, network, Stop(flow_time=TIME), Initialization(scale=SCALE), rule, seed=seed, name=unit
    )


def second_values(data: Data) -> tuple[float, float]:
    """What governs the second plateau: |(1 - e e') E[y x']|_2, with e the leading eigenvector of
    E[y x'] E[x x']^-1 E[x y'], where the first learned direction ends, or the leading left singular
    vector of E[y x'], where it begins; the latter is the second singular value of E[y x']."""
    covariance, correlation, target = second_moments(data)
    saddle = linear_saddles(covariance, correlation, target, 1).saddle([0])
    return float(saddle.escape[0]), float(np.linalg.svd(correlation, compute_uv=False)[1])


def measure_pairs(experiment: Experiment) -> Row:
    """The length of the second plateau beside what governs it, and when singular values of U grow
    beside the drops."""
    run = train(experiment)
    found = stages(run)
    between = [stage for stage in found.stages if stage.kind == "intermediate"]
    one = len(between) == 1 and found[0].kind == "initial"
    ends, begins = second_values(experiment.task.data(experiment.seed))
    row = {"plateaus": float(one), "saddle value": ends, "singular value": begins}
    if not one:
        return {**row, "length": float("nan"), "lag": float("nan"), "third": float("nan")}
    return {
        **row,
        "length": between[0].end - between[0].start,
        **singular_growth(run, between[0].index),
    }


def singular_growth(run: Run, resting: int) -> Row:
    """lag: the larger relative difference between the time of a drop, half-way in loss, and the
    time at which the first or second singular value of U has half of what it has after that drop.
    third: the third over the second, nine tenths down."""
    subject, trajectory = run.objective(), run.trajectory
    u = (
        np.asarray(subject.params(np.asarray(state, float))[0]["u"]) for state in trajectory.states
    )
    values = np.array([np.linalg.svd(matrix, compute_uv=False)[:3] for matrix in u])
    losses = [float(trajectory.loss[k]) for k in (0, resting, -1)]
    drops = [trajectory.crossing(0.5 * (losses[k] + losses[k + 1])) for k in range(2)]
    after = [values[resting, 0], values[-1, 1]]
    grown = [
        trajectory.flow_time[np.flatnonzero(values[:, k] >= 0.5 * after[k])[0]] for k in range(2)
    ]
    down = int(np.flatnonzero(trajectory.loss > 0.9 * losses[2] + 0.1 * losses[1])[-1])
    lags = [
        abs(t / drop - 1) if drop else float("nan") for t, drop in zip(grown, drops, strict=True)
    ]
    return {"lag": float(max(lags)), "third": float(values[down, 2] / values[down, 1])}


def draw_pairs(rows: Sequence[Row], axes: Axes) -> None:
    chosen = [row for row in rows if row["unit"] == "linear" and row["seed"] == 0]
    for quantity, color in (("singular value", "#1b4965"), ("saddle value", "#ca6702")):
        axes.plot(
            [r[quantity] for r in chosen],
            [r["length"] for r in chosen],
            "o",
            color=color,
            alpha=0.6,
            label=quantity,
        )
    axes.set_xlabel("second value of a pair of digits")
    axes.set_ylabel("length of the second plateau (flow time)")
    axes.legend(frameon=False, fontsize=7)


def _ranked(rows: Sequence[Row], value: str) -> list[float]:
    """Spearman's correlation over pairs between the second plateau's length and a value, for every
    seed."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        chosen = [
            r for r in rows if r["seed"] == seed and r["unit"] == "linear" and r["plateaus"] == 1.0
        ]
        if len(chosen) > 2:
            correlation = np.asarray(
                spearmanr([r["length"] for r in chosen], [r[value] for r in chosen])
            )[0]
            found.append(float(correlation))
    return found


def _over_pairs(rows: Sequence[Row], quantity: str, unit: str) -> list[float]:
    """The mean of a quantity over pairs, for every seed."""
    chosen = [row for row in rows if row["unit"] == unit and row[quantity] is not None]
    seeds = sorted({row["seed"] for row in chosen})
    return [
        float(np.mean([row[quantity] for row in chosen if row["seed"] == seed])) for seed in seeds
    ]


def _pairs_claim(
    unit: str, quantity: str, sentence: str, words: str, low: float, high: float
) -> Claim:
    values = lambda rows: (
        of(rows, quantity, unit=unit)
        if quantity == "plateaus"
        else _over_pairs(rows, quantity, unit)
    )
    kind = Share() if quantity == "plateaus" else Real()
    words += " of every seed" if quantity == "plateaus" else ", mean over pairs"
    return Claim(f"digits_pairs.{unit}.{quantity}", sentence, PAPER, words, low, high, values, kind)


PAIRS_STUDY = Study(
    "digits_pairs",
    "Pairs of digits: two plateaus, the second longer the smaller the second singular value",
    design_pairs,
    measure_pairs,
    (
        *(
            _pairs_claim(
                unit,
                "plateaus",
                f"{unit} networks rest twice before the end.",
                "share of pairs with two plateaus",
                0.9,
                1.0,
            )
            for unit in ("linear", "relu")
        ),
        Claim(
            "digits_pairs.length.saddle",
            (
                "The second plateau is the shorter the larger the second value, with e1 "
                "the leading eigenvector."
            ),
            PAPER,
            "rank correlation of the second plateau's length with |(1 - e1 e1') E[y x']|_2",
            -1.0,
            -0.8,
            lambda rows: _ranked(rows, "saddle value"),
            kind=Real(-1.0, 1.0),
        ),
        Claim(
            "digits_pairs.length.singular",
            (
                "The same with e1 the leading left singular vector, along which the "
                "first direction is learned."
            ),
            PAPER + "; added after four pairs had been looked at, whose plateaus lay there",
            (
                "rank correlation of the second plateau's length with the second "
                "singular value of E[y x']"
            ),
            -1.0,
            -0.8,
            lambda rows: _ranked(rows, "singular value"),
            kind=Real(-1.0, 1.0),
        ),
        Claim(
            "digits_pairs.harder",
            "The plateau of 3 and 5 is longer than that of 0 and 1.",
            PAPER,
            "second plateau of 3/5 over that of 0/1",
            1.0,
            INF,
            lambda rows: ratio(
                rows, "length", {"unit": "linear", "pair": "3/5"}, {"unit": "linear", "pair": "0/1"}
            ),
            kind=Real(least=0.0),
        ),
        *(
            _pairs_claim(
                unit,
                "lag",
                (
                    "The first and second singular values of U grow with the first and "
                    f"second drop ({unit})."
                ),
                "larger relative difference of the two pairs of half-way times",
                0.0,
                0.1,
            )
            for unit in ("linear", "relu")
        ),
        *(
            _pairs_claim(
                unit,
                "third",
                f"The third singular value of U stays near zero ({unit}).",
                "third over second singular value, nine tenths down the second drop",
                0.0,
                0.1,
            )
            for unit in ("linear", "relu")
        ),
    ),
    draw_pairs,
    quick=1,
    full=10,
)


# --------------------------------------------------- ReLU and quadratic: what is behind
def design_plateaus(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    relu = Experiment.named("digits_relu")
    network, start = (
        Network((Layer(make("quadratic"), relu.network.widths[0]),)),
        Initialization(scale=1e-3),
    )
    quadratic = relu.replace(
        name="digits_quadratic", network=network, initialization=start, stop=Stop(flow_time=3000.0)
    )
    for e in (relu, quadratic):
        for seed in range(seeds):
            yield {"network": e.name}, e.replace(seed=seed)


def measure_plateaus(experiment: Experiment) -> Row:
    """The share of plateaus with a certified fixed point behind, and why the others have none."""
    found = certify(train(experiment))
    certificates = [stage.certificate for stage in found.stages if stage.certificate is not None]
    return {
        "certified": float(np.mean([c.certified for c in certificates])),
        "plateaus": len(certificates),
        "levels": [stage.loss for stage in found.stages],
        "sound": [c.certified for c in certificates],
        "reasons": [c.reason.split(":")[0] for c in certificates if not c.certified],
    }


def draw_plateaus(rows: Sequence[Row], axes: Axes) -> None:
    names = ("digits_relu", "digits_quadratic")
    for k, name in enumerate(names):
        for row in (row for row in rows if row["network"] == name):
            for level, sound in zip(row["levels"], row["sound"], strict=True):
                axes.plot(
                    [k],
                    [level],
                    "o",
                    color="#1b4965",
                    mfc="#1b4965" if sound else "none",
                    alpha=0.6,
                )
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("losses of the plateaus; filled: fixed point certified")


PLATEAUS_STUDY = Study(
    "digits_plateaus",
    (
        "ReLU and quadratic networks on digits: how many plateaus have a "
        "certified fixed point behind them"
    ),
    design_plateaus,
    measure_plateaus,
    tuple(
        Claim(
            f"digits_plateaus.{unit}",
            f"Behind the plateaus of a {unit} network on digits are fixed points.",
            "asked in Zhang, Saxe & Latham 2026, Section 7 (are there others than embedded ones?)",
            "share of plateaus with a certified fixed point",
            0.9,
            1.0,
            lambda rows, unit=unit: of(rows, "certified", network=f"digits_{unit}"),
            kind=Share(),
        )
        for unit in ("relu", "quadratic")
    ),
    draw_plateaus,
    quick=2,
    full=10,
)
