"""Real data: the plateaus of handwritten digits against closed forms, pair
by pair, and what stands behind them.

Three studies: a linear network on principal components, whose saddles and
jumps are all known beforehand; pairs of digits with two-dimensional
targets, as in Figure 3 and Table 1 of Zhang, Saxe & Latham (2026), there on
MNIST; and ReLU and quadratic networks, of whose plateaus only a part has a
fixed point behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Data, Layer, Network
from ..plateaus import Stages, certify, stages
from ..predictions import compare, predict
from ..rules import GradientDescent, GradientFlow
from ..runs import Run, train
from ..saddles import Certificate
from ..tasks import Digits
from ..theory import linear_saddles
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, labelled, of, ratio
from .intervals import Kind, Real, Share
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INF = float("inf")


# ------------------------------------------------- all digits, principal components, linear
def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for seed in range(seeds):
        yield {"network": "linear"}, changed("digits", seed=seed)


def second_moments(
    data: Data,
) -> tuple[Float[np.ndarray, "D D"], Float[np.ndarray, "O D"], float]:
    """E[x x'], E[y x'] and E|y|^2 of the samples, not centred.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import Data
    >>> from saddlery.studies.digits import second_moments
    >>> x = np.eye(2)
    >>> second_moments(Data((2,), 1, x, x @ np.array([[2.0], [0.0]])))[1].tolist()
    [[1.0, 0.0]]
    """
    assert data.inputs is not None and data.targets is not None
    samples = len(data.inputs)
    x = data.inputs.reshape(samples, -1)
    y = data.targets
    covariance = x.T @ x / samples
    correlation = y.T @ x / samples
    return covariance, correlation, float(np.sum(y**2) / samples)


def saddle_path(data: Data, width: int) -> Float[np.ndarray, " saddles"]:
    """Losses of the saddles in the order of dynamics.

    From each, the mode joins that has the largest part of the leading
    singular vector of what is left of the correlation, E[r x'] = (1 - P_A)
    E[y x']. Closed forms: Baldi & Hornik (1989).
    """
    covariance, correlation, target = second_moments(data)
    saddles = linear_saddles(covariance, correlation, target, width)
    modes = len(saddles.strengths)
    learned: list[int] = []
    losses = [saddles.saddle(learned).loss]
    while len(learned) < min(modes, width):
        e = saddles.vectors[:, learned]
        rest = correlation - e @ (e.T @ correlation)
        leading = np.linalg.svd(rest)[0][:, 0]
        parts = np.array(
            [abs(saddles.vectors[:, k] @ leading) for k in range(modes)],
        )
        parts[learned] = -np.inf
        learned.append(int(parts.argmax()))
        losses.append(saddles.saddle(learned).loss)
    return np.array(losses)


def measure(experiment: Experiment) -> Row:
    """The certified losses beside the path of closed forms, and the
    predicted jumps beside the run's."""
    found = certify(train(experiment))
    data = experiment.task.data(experiment.seed)
    path = saddle_path(data, experiment.network.widths[0])
    certified = np.array([point.loss for point in found.fixed_points])
    errors = np.abs(certified[:, None] - path[None])
    at = errors.argmin(axis=1)
    whole = at[0] == 0 and at[-1] == len(path) - 1
    (prediction,) = predict(experiment, theory="directions one by one")
    jumps = []
    for stage in compare(prediction, found).stages:
        if stage.error is not None:
            jumps.append(abs(stage.error))
    return {
        "error": float(errors.min(axis=1).max()),
        "order": float(whole and bool(np.all(np.diff(at) > 0))),
        "jumps": max(jumps) if len(jumps) == len(path) - 1 else float("nan"),
        "certified": len(certified) / len(found),
        "levels": certified.tolist(),
        "path": path.tolist(),
    }


def _certificates(found: Stages) -> list[Certificate]:
    return [stage.certificate for stage in found.stages if stage.certificate is not None]


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for row in rows:
        levels = row["levels"]
        seeds = [row["seed"]] * len(levels)
        axes.plot(seeds, levels, "o", color="#1b4965", markersize=5)
    for loss in rows[0]["path"] if rows else []:
        axes.axhline(loss, color="#888888", linewidth=0.6, zorder=0)
    axes.set_xlabel("seed of the initial weights")
    axes.set_ylabel("losses of fixed points; lines: closed form")


STUDY = Study(
    name="digits",
    title="A linear network on handwritten digits: every saddle and every jump as theory says",
    design=design,
    measure=measure,
    claims=(
        Claim(
            id="digits.losses",
            sentence=(
                "Every certified fixed point has the loss of a saddle on the path that "
                "the closed forms give."
            ),
            source="Baldi & Hornik 1989",
            quantity="largest error of a loss",
            low=0.0,
            high=1e-9,
            values=lambda rows: of(rows, "error"),
            kind=Real(least=0.0),
        ),
        Claim(
            id="digits.order",
            sentence=(
                "They are visited in the order of the singular values of what is left of the "
                "correlation, first to last."
            ),
            source="Zhang, Saxe & Latham 2026, Section 5.1",
            quantity="share of seeds whose fixed points are in this order",
            low=1.0,
            high=1.0,
            values=lambda rows: of(rows, "order"),
            kind=Share(),
        ),
        Claim(
            id="digits.certified",
            sentence="There is a certified fixed point behind every plateau.",
            source="Zhang, Saxe & Latham 2026, Theorem 1",
            quantity="share of plateaus with one",
            low=1.0,
            high=1.0,
            values=lambda rows: of(rows, "certified"),
            kind=Share(),
        ),
        Claim(
            id="digits.jumps",
            sentence="All nine jumps come when they are predicted"
            " from the initial weights, to a twentieth.",
            source="Zhang, Saxe & Latham 2026, eqs 10 and 12",
            quantity="largest relative error of a jump time",
            low=0.0,
            high=0.05,
            values=lambda rows: of(rows, "jumps"),
            kind=Real(least=0.0),
        ),
    ),
    draw=draw,
    quick=2,
    full=10,
)

# --------------------------------------------------------------------- pairs of digits
PAIRS = tuple(combinations(range(10), 2))
# The pairs of digits that ReLU networks learn; linear ones learn all.
RELU_PAIRS = (
    (0, 1),
    (3, 5),
    (2, 7),
    (4, 9),
)
PAIR_WIDTH, PAIR_SCALE, PAIR_TIME = 50, 1e-5, 100.0
FIGURE3 = "Zhang, Saxe & Latham 2026, Figure 3 and Table 1 (there MNIST)"


def design_pairs(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    """Full-batch descent for ReLU units, as in the paper: the flow would
    resolve every kink of 360 samples."""
    cases = (
        ("linear", PAIRS, GradientFlow()),
        ("relu", RELU_PAIRS, GradientDescent(0.02)),
    )
    for unit, pairs, rule in cases:
        for pair, seed in product(pairs, range(seeds)):
            e = Experiment(
                task=Digits(classes=pair, centred=False),
                network=Network((Layer(make(unit), PAIR_WIDTH),)),
                stop=Stop(flow_time=PAIR_TIME),
                initialization=Initialization(scale=PAIR_SCALE),
                rule=rule,
                seed=seed,
                name=unit,
            )
            yield {"unit": unit, "pair": "/".join(map(str, pair))}, e


def second_values(data: Data) -> tuple[float, float]:
    """What governs the second plateau: |(1 - e e') E[y x']|_2.

    With e the leading eigenvector of E[y x'] E[x x']^-1 E[x y'], where the
    first learned direction ends, or the leading left singular vector of E[y
    x'], where it begins; the latter is the second singular value of E[y
    x'].
    """
    covariance, correlation, target = second_moments(data)
    saddle = linear_saddles(covariance, correlation, target, 1).saddle([0])
    singular = np.linalg.svd(correlation, compute_uv=False)
    return float(saddle.escape[0]), float(singular[1])


def measure_pairs(experiment: Experiment) -> Row:
    """The length of the second plateau beside what governs it, and when
    singular values of U grow beside the drops."""
    run = train(experiment)
    found = stages(run)
    between = [stage for stage in found.stages if stage.kind == "intermediate"]
    two_plateaus = len(between) == 1 and found[0].kind == "initial"
    ends, begins = second_values(experiment.task.data(experiment.seed))
    row: Row = {
        "plateaus": float(two_plateaus),
        "saddle value": ends,
        "singular value": begins,
    }
    if not two_plateaus:
        return row | dict.fromkeys(
            ("length", "lag", "third"),
            float("nan"),
        )
    (second,) = between
    row["length"] = second.end - second.start
    return row | singular_growth(run, second.index)


def singular_growth(run: Run, resting: int) -> Row:
    """How singular values of U grow with the drops.

    lag: the larger relative difference between the time of a drop, half-way
    in loss, and the time at which the first or second singular value of U
    has half of what it has after that drop. third: the third over the
    second, nine tenths down.
    """
    trajectory = run.trajectory
    values = _singular_values(run)
    start, rest, end = (float(trajectory.loss[k]) for k in (0, resting, -1))
    drops = ((start, rest), (rest, end))
    after = (values[resting, 0], values[-1, 1])
    lags = []
    for k, (above, below) in enumerate(drops):
        grown = np.flatnonzero(values[:, k] >= 0.5 * after[k])[0]
        drop = trajectory.crossing(0.5 * (above + below))
        lag = abs(trajectory.flow_time[grown] / drop - 1) if drop else float("nan")
        lags.append(lag)
    above = trajectory.loss > 0.9 * end + 0.1 * rest
    down = int(np.flatnonzero(above)[-1])
    third = values[down, 2] / values[down, 1]
    return {"lag": float(max(lags)), "third": float(third)}


def _singular_values(run: Run) -> Float[np.ndarray, "T 3"]:
    """The three largest of U at every saved point."""
    objective = run.objective()
    values = []
    for state in run.trajectory.states:
        params = objective.params(np.asarray(state, float))
        u = np.asarray(params[0]["u"])
        values.append(np.linalg.svd(u, compute_uv=False)[:3])
    return np.array(values)


def draw_pairs(rows: Sequence[Row], axes: Axes) -> None:
    chosen = labelled(rows, unit="linear", seed=0)
    lengths = [row["length"] for row in chosen]
    colors = {"singular value": "#1b4965", "saddle value": "#ca6702"}
    for quantity, color in colors.items():
        values = [row[quantity] for row in chosen]
        axes.plot(
            values,
            lengths,
            "o",
            color=color,
            alpha=0.6,
            label=quantity,
        )
    axes.set_xlabel("second value of a pair of digits")
    axes.set_ylabel("length of the second plateau (flow time)")
    axes.legend(frameon=False, fontsize=7)


def _ranked(rows: Sequence[Row], value: str) -> list[float]:
    """Spearman's correlation over pairs between the second plateau's length
    and a value, for every seed; NaN for one of fewer than three pairs with
    two plateaus."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        chosen = labelled(rows, seed=seed, unit="linear", plateaus=1.0)
        correlation = float("nan")
        if len(chosen) > 2:
            lengths = [row["length"] for row in chosen]
            values = [row[value] for row in chosen]
            correlation, _ = np.asarray(spearmanr(lengths, values))
        found.append(float(correlation))
    return found


def _over_pairs(
    rows: Sequence[Row],
    quantity: str,
    unit: str,
) -> list[float]:
    """The mean of a quantity over the pairs that have it, for every seed;
    NaN where none has."""
    by_seed: dict[int, list[float]] = {}
    for row in labelled(rows, unit=unit):
        values = by_seed.setdefault(row["seed"], [])
        if row[quantity] is not None:
            values.append(row[quantity])
    of_pairs = [by_seed[seed] for seed in sorted(by_seed)]
    return [float(np.mean(values)) if values else float("nan") for values in of_pairs]


def _pairs_claim(
    unit: str,
    quantity: str,
    sentence: str,
    words: str,
    low: float,
    high: float,
) -> Claim:
    values = lambda rows: _over_pairs(rows, quantity, unit)
    kind: Kind = Real()
    over = ", mean over pairs"
    if quantity == "plateaus":
        values = lambda rows: of(rows, quantity, unit=unit)
        kind = Share()
        over = " of every seed"
    return Claim(
        id=f"digits_pairs.{unit}.{quantity}",
        sentence=sentence,
        source=FIGURE3,
        quantity=words + over,
        low=low,
        high=high,
        values=values,
        kind=kind,
    )


PAIRS_STUDY = Study(
    name="digits_pairs",
    title="Pairs of digits: two plateaus, the second longer the smaller the second singular value",
    design=design_pairs,
    measure=measure_pairs,
    claims=(
        *(
            _pairs_claim(
                unit=unit,
                quantity="plateaus",
                sentence=f"{unit} networks rest twice before the end.",
                words="share of pairs with two plateaus",
                low=0.9,
                high=1.0,
            )
            for unit in ("linear", "relu")
        ),
        Claim(
            id="digits_pairs.length.saddle",
            sentence=(
                "The second plateau is the shorter the larger the second value, with e1 "
                "the leading eigenvector."
            ),
            source=FIGURE3,
            quantity="rank correlation of the second plateau's length with |(1 - e1 e1') E[y x']|_2",
            low=-1.0,
            high=-0.8,
            values=lambda rows: _ranked(rows, "saddle value"),
            kind=Real(-1.0, 1.0),
        ),
        Claim(
            id="digits_pairs.length.singular",
            sentence=(
                "The same with e1 the leading left singular vector, along which the "
                "first direction is learned."
            ),
            source=FIGURE3
            + "; added after four pairs had been looked at, whose plateaus lay there",
            quantity=(
                "rank correlation of the second plateau's length with the second "
                "singular value of E[y x']"
            ),
            low=-1.0,
            high=-0.8,
            values=lambda rows: _ranked(rows, "singular value"),
            kind=Real(-1.0, 1.0),
        ),
        Claim(
            id="digits_pairs.harder",
            sentence="The plateau of 3 and 5 is longer than that of 0 and 1.",
            source=FIGURE3,
            quantity="second plateau of 3/5 over that of 0/1",
            low=1.0,
            high=INF,
            values=lambda rows: ratio(
                rows,
                "length",
                above={"unit": "linear", "pair": "3/5"},
                below={"unit": "linear", "pair": "0/1"},
            ),
            kind=Real(least=0.0),
        ),
        *(
            _pairs_claim(
                unit=unit,
                quantity="lag",
                sentence=(
                    "The first and second singular values of U grow with the first and "
                    f"second drop ({unit})."
                ),
                words="larger relative difference of the two pairs of half-way times",
                low=0.0,
                high=0.1,
            )
            for unit in ("linear", "relu")
        ),
        *(
            _pairs_claim(
                unit=unit,
                quantity="third",
                sentence=f"The third singular value of U stays near zero ({unit}).",
                words="third over second singular value, nine tenths down the second drop",
                low=0.0,
                high=0.1,
            )
            for unit in ("linear", "relu")
        ),
    ),
    draw=draw_pairs,
    quick=1,
    full=10,
)


# --------------------------------------------------- ReLU and quadratic: what is behind
def design_plateaus(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    relu = Experiment.named("digits_relu")
    units = Layer(make("quadratic"), relu.network.widths[0])
    quadratic = relu.replace(
        name="digits_quadratic",
        network=Network((units,)),
        initialization=Initialization(scale=1e-3),
        stop=Stop(flow_time=3000.0),
    )
    for e, seed in product((relu, quadratic), range(seeds)):
        yield {"network": e.name}, e.replace(seed=seed)


def measure_plateaus(experiment: Experiment) -> Row:
    """The share of plateaus with a certified fixed point behind, and why
    the others have none."""
    found = certify(train(experiment))
    certificates = _certificates(found)
    missed = [c for c in certificates if not c.certified]
    return {
        "certified": float(np.mean([c.certified for c in certificates])),
        "plateaus": len(certificates),
        "levels": [stage.loss for stage in found.stages],
        "sound": [c.certified for c in certificates],
        "reasons": [c.reason.split(":")[0] for c in missed],
    }


def draw_plateaus(rows: Sequence[Row], axes: Axes) -> None:
    names = ("digits_relu", "digits_quadratic")
    dark = "#1b4965"
    for k, name in enumerate(names):
        for row in labelled(rows, network=name):
            for level, sound in zip(
                row["levels"],
                row["sound"],
                strict=True,
            ):
                inside = dark if sound else "none"
                axes.plot(
                    [k],
                    [level],
                    "o",
                    color=dark,
                    mfc=inside,
                    alpha=0.6,
                )
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("losses of the plateaus; filled: fixed point certified")


PLATEAUS_STUDY = Study(
    name="digits_plateaus",
    title=(
        "ReLU and quadratic networks on digits: how many plateaus have a "
        "certified fixed point behind them"
    ),
    design=design_plateaus,
    measure=measure_plateaus,
    claims=tuple(
        Claim(
            id=f"digits_plateaus.{unit}",
            sentence=f"Behind the plateaus of a {unit} network on digits are fixed points.",
            source="asked in Zhang, Saxe & Latham 2026, Section 7"
            " (are there others than embedded ones?)",
            quantity="share of plateaus with a certified fixed point",
            low=0.9,
            high=1.0,
            values=lambda rows, unit=unit: of(
                rows,
                "certified",
                network=f"digits_{unit}",
            ),
            kind=Share(),
        )
        for unit in ("relu", "quadratic")
    ),
    draw=draw_plateaus,
    quick=2,
    full=10,
)
