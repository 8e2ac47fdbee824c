"""How far theories hold: random problems that nobody chose, and how often
what a theory states is true of runs.

Each theory is asked about problems drawn by a fixed generator: spectra,
covariances, widths and scales. Where it answers, its 90% intervals must
hold 85 to 95% of the jumps of other draws of the initial weights; theories
of one run at a time must err by no more than they state. The limits between
which theories answer (`predictions.ranges`) were set by the quick size of
this study and others like it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import InputError
from ..basis.precision import in_float64
from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Layer, Network
from ..predictions import Prediction, predict
from ..rules import GradientDescent, GradientFlow, Rule
from ..tasks import LinearTeacher, OrthogonalReLU, Task, Teacher
from ..training import Stop, Trajectory, driver
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCE = "the limits of saddlery.predictions.ranges"
PROBLEM_SEED = 17  # seed of the generator of problems
PROBLEMS = 6  # problems of each theory
DRAWS = 20  # draws of the initial weights for one row
SIDE_BY_SIDE = 5  # runs of a row that go on at once
# Draws of the initial weights for one row of theories that speak of one run at a time.
SINGLE_DRAWS = 3
# The seeds of draws begin here: they are others than those the intervals are made from.
FIRST_DRAW = 7_000
LATER = 4.0  # a run may take so many times the last time that is predicted
RESOLVED_TIME = 1e-3  # runs and their records know a jump time to this share of it
PATH = 0.02  # a run takes a path whose saddles it passes within this share of the whole fall
Draw = Callable[[np.random.Generator], Experiment]


# ------------------------------------------------------------------ problems
def _experiment(
    task: Task,
    unit: str,
    width: int,
    scale: float,
    **options: Any,
) -> Experiment:
    return Experiment(
        task=task,
        network=Network((Layer(make(unit), width),)),
        stop=Stop(flow_time=1.0),
        initialization=Initialization(scale=float(f"{scale:.3g}")),
        **options,
    )


def _scale(rng: np.random.Generator, low: float, high: float) -> float:
    return float(10 ** rng.uniform(low, high))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values.round(3))


def _spectrum(
    rng: np.random.Generator,
    most: int = 4,
) -> tuple[float, ...]:
    count = int(rng.integers(2, most))
    values = np.sort(rng.uniform(0.3, 2.0, count))
    return _rounded(values[::-1])


def _variances(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    return _rounded(np.exp(rng.uniform(-1, 1, count)))


# In each of these the numbers are drawn in one order, which is a part of what a problem is.
def _linear_modes(rng: np.random.Generator) -> Experiment:
    s = _spectrum(rng)
    descends = rng.uniform() < 1 / 3
    is_white = rng.uniform() < 0.6
    task = LinearTeacher(s)
    if not is_white:
        variances = _variances(rng, len(s))
        task = LinearTeacher(s, covariance=variances, rotate=False)
    rule: Rule = GradientFlow()
    if descends:
        rate = rng.uniform(0.02, 0.25)
        rule = GradientDescent(round(float(rate), 3))
    width = int(rng.integers(2, 21))
    scale = _scale(rng, -5, -1.2)
    return _experiment(task, "linear", width, scale, rule=rule)


def _directions(rng: np.random.Generator) -> Experiment:
    s = _spectrum(rng)
    task = LinearTeacher(s, covariance=_variances(rng, len(s)))
    width = int(rng.integers(3, 21))
    scale = _scale(rng, -5, -1.5)
    return _experiment(task, "linear", width, scale)


def _units(rng: np.random.Generator) -> Experiment:
    dimensions = int(rng.integers(2, 4))
    strengths = np.sort(rng.uniform(0.4, 1.5, 2))[::-1]
    task = Teacher(
        "quadratic",
        count=2,
        inputs=(dimensions,),
        samples=40,
        strengths=_rounded(strengths),
    )
    rule = GradientFlow(solver="kvaerno5")
    width = int(rng.integers(3, 9))
    scale = _scale(rng, -3.5, -1.5)
    return _experiment(task, "quadratic", width, scale, rule=rule)


def _orthogonal_relu(rng: np.random.Generator) -> Experiment:
    count = int(rng.integers(2, 5))
    sizes = rng.uniform(0.3, 1.2, count)
    sign = np.where(rng.uniform(size=1) < 0.5, 1, -1)
    targets = sizes * sign
    targets[-1] *= -1  # of both signs
    width = int(rng.integers(15, 51))
    scale = _scale(rng, -5, -2)
    return _experiment(
        OrthogonalReLU(_rounded(targets)),
        "relu",
        width,
        scale,
    )


def _diagonal(rng: np.random.Generator) -> Experiment:
    inputs = int(rng.integers(2, 5))
    task: Task = LinearTeacher((1.0,), inputs=inputs, outputs=1)
    is_correlated = rng.uniform() < 0.5
    if is_correlated:
        task = Teacher(
            "linear",
            count=1,
            inputs=(inputs + 1,),
            samples=inputs,
        )
    return _experiment(task, "diagonal", 1, _scale(rng, -8, -3))


def _exact(rng: np.random.Generator) -> Experiment:
    task = LinearTeacher(_spectrum(rng))
    width = int(rng.integers(4, 12))
    scale = _scale(rng, -5, -0.3)
    e = _experiment(task, "linear", width, scale)
    kind = "aligned" if rng.uniform() < 0.5 else "lambda_balanced"
    start = Initialization(kind, e.initialization.scale)
    return e.replace(initialization=start)


def _vanishing(rng: np.random.Generator) -> Experiment:
    samples = int(rng.integers(20, 61))
    unit = ("linear", "relu", "quadratic")[int(rng.integers(3))]
    tasks: dict[str, Task] = {
        "linear": LinearTeacher(_spectrum(rng)),
        "relu": Teacher("relu", count=2, inputs=(3,), samples=samples),
        "quadratic": Teacher(
            "quadratic",
            count=2,
            inputs=(3,),
            samples=40,
        ),
    }
    solver, low, high = "tsit5", -6.0, -3.0
    if unit == "quadratic":
        solver, low, high = "kvaerno5", -3.5, -2.5
    width = int(rng.integers(5, 21))
    scale = _scale(rng, low, high)
    rule = GradientFlow(solver=solver)
    return _experiment(tasks[unit], unit, width, scale, rule=rule)


INTERVALS: dict[str, Draw] = {
    "linear modes": _linear_modes,
    "directions one by one": _directions,
    "units one by one": _units,
    "orthogonal ReLU": _orthogonal_relu,
    "diagonal jumps": _diagonal,
}
OF_ONE_RUN: dict[str, Draw] = {
    "exact linear path": _exact,
    "alternating gradient flows": _vanishing,
}
PROBLEMS_OF: dict[str, Draw] = {**INTERVALS, **OF_ONE_RUN}


def problem(theory: str, k: int, seed: int) -> Experiment:
    """The k-th problem that a theory is asked about, on the data of a seed.

    Example
    -------
    >>> from saddlery.studies.range import problem
    >>> problem("linear modes", 0, 0) == problem("linear modes", 0, 0)
    True
    """
    rng = np.random.default_rng([PROBLEM_SEED, k, *theory.encode()])
    drawn = PROBLEMS_OF[theory](rng)
    return drawn.replace(name=f"{theory} {k}", seed=seed)


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for theory, k, seed in product(
        PROBLEMS_OF,
        range(PROBLEMS),
        range(seeds),
    ):
        yield {"theory": theory, "problem": k}, problem(theory, k, seed)


# ------------------------------------------------------------------ measured
def measure(experiment: Experiment) -> Row:
    """answered: whether the theory speaks of it; right: the share of jumps
    that are as it states; verdict: of its range."""
    theory = experiment.name.rpartition(" ")[0]
    try:
        prediction = predict(experiment, theory=theory)[0]
    except InputError as reason:
        return {
            "answered": 0.0,
            "right": None,
            "verdict": "outside",
            "reason": str(reason),
        }
    of_many = theory in INTERVALS
    hits = _inside(experiment, prediction) if of_many else _within_error(experiment, theory)
    return {
        "answered": 1.0,
        "right": float(np.mean(hits)) if hits else None,
        "verdict": "within" if prediction.range is None else prediction.range.verdict,
        "reason": "",
    }


def _inside(experiment: Experiment, prediction: Prediction) -> list[bool]:
    """Of every jump of every draw (that takes the path, where there are
    several): whether the interval holds it."""
    stages = prediction.stages
    losses = [stage.loss for stage in stages]
    latest = [stage.high for stage in stages[1:] if stage.low is not None]
    highs = [high for high in latest if high is not None]
    if not highs:
        return []
    several = any(stage.share is not None for stage in stages)
    hits = []
    for trajectory in _runs(experiment, losses, LATER * max(highs)):
        if several and not _takes(trajectory, losses):
            continue
        for stage, jump in zip(
            stages[1:],
            _jumps(trajectory, losses),
            strict=True,
        ):
            if stage.low is not None and stage.high is not None:
                hits.append(
                    jump is not None and stage.low <= jump <= stage.high,
                )
    return hits


def _jumps(
    trajectory: Trajectory,
    losses: Sequence[float],
) -> list[float | None]:
    """The flow times half-way in loss between one saddle and the next."""
    levels = [0.5 * (above + below) for above, below in pairwise(losses)]
    return [trajectory.crossing(level) for level in levels]


def _until_learned(losses: Sequence[float], duration: float) -> Stop:
    """Stop when the last jump is over, or after a duration."""
    last_but_one, last = losses[-2], losses[-1]
    return Stop(
        flow_time=duration,
        loss=last + 0.2 * (last_but_one - last),
    )


@in_float64
def _runs(
    experiment: Experiment,
    losses: Sequence[float],
    duration: float,
) -> list[Trajectory]:
    """Other draws of the initial weights on the same data, until the last jump is over."""
    objective = experiment.objective()
    stop = _until_learned(losses, duration)
    first = FIRST_DRAW + DRAWS * experiment.seed
    found: list[Trajectory] = []
    for begin in range(first, first + DRAWS, SIDE_BY_SIDE):
        found += driver.run_chunk(
            objective.function,
            objective.samples,
            experiment.initial_states(range(begin, begin + SIDE_BY_SIDE)),
            [experiment.rule] * SIDE_BY_SIDE,
            [stop] * SIDE_BY_SIDE,
            seeds=[0] * SIDE_BY_SIDE,
        )
    return found


def _takes(trajectory: Trajectory, losses: Sequence[float]) -> bool:
    """Whether a run passes near the losses of all saddles between the first
    and the last."""
    near = PATH * (losses[0] - losses[-1])
    for level in losses[1:-1]:
        away = np.abs(trajectory.loss - level)
        if not np.any(away < near):
            return False
    return True


def _within_error(experiment: Experiment, theory: str) -> list[bool]:
    """Of every jump of a few runs: whether its predicted time errs by no
    more than is stated."""
    hits = []
    first = FIRST_DRAW + SINGLE_DRAWS * experiment.seed
    for k in range(SINGLE_DRAWS):
        one = experiment.replace(seed=first + k)
        try:
            prediction = predict(one, theory=theory)[0]
        except InputError:
            continue
        hits += _as_predicted(one, prediction)
    return hits


def _as_predicted(
    experiment: Experiment,
    prediction: Prediction,
) -> list[bool]:
    predicted = [stage.jump for stage in prediction.stages if stage.jump is not None]
    if not predicted:
        return []
    losses = [stage.loss for stage in prediction.stages]
    stop = _until_learned(losses, LATER * max(predicted))
    jumps = _jumps(_alone(experiment, stop), losses)
    allowed = max(prediction.error or 0.0, RESOLVED_TIME)
    hits = []
    for stage, jump in zip(prediction.stages[1:], jumps, strict=True):
        if stage.jump is not None:
            right = jump is not None and abs(stage.jump / jump - 1) <= allowed
            hits.append(right)
    return hits


@in_float64
def _alone(experiment: Experiment, stop: Stop) -> Trajectory:
    objective = experiment.objective()
    return driver.run(
        objective.function,
        objective.samples,
        experiment.initial_state(),
        experiment.rule,
        stop,
    )


# ------------------------------------------------------------------ shown and judged
def _finite(rows: Sequence[Row], **labels: Any) -> np.ndarray:
    """The shares of jumps that are as stated, of the problems with an answer."""
    values = of(rows, "right", **labels)
    return values[np.isfinite(values)]


def draw(rows: Sequence[Row], axes: Axes) -> None:
    names = list(PROBLEMS_OF)
    for k, name in enumerate(names):
        values = _finite(rows, theory=name)
        axes.plot(values, np.full(len(values), k), "o", alpha=0.4)
    axes.axvspan(0.85, 0.95, alpha=0.15)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("share of jumps that are as stated, each problem")


def notes(rows: Sequence[Row]) -> list[str]:
    """For each theory: what was right within its range and near its limits,
    and how many problems it left alone."""
    found = []
    for name in PROBLEMS_OF:
        parts = []
        for verdict in ("within", "near"):
            values = _finite(rows, theory=name, verdict=verdict)
            if len(values):
                percent = f"{100 * values.mean():.0f}%"
                parts.append(
                    f"{verdict} {percent} ({len(values)} problems)",
                )
        right = ", ".join(parts) or "nowhere"
        left = int(np.sum(of(rows, "answered", theory=name) == 0))
        found.append(f"{name}: right {right}; no answer to {left}")
    return found


def _claims() -> Iterator[Claim]:
    for name in PROBLEMS_OF:
        if name in INTERVALS:
            low, high, states, cases = (
                0.85,
                0.95,
                "90% intervals",
                DRAWS,
            )
        else:
            low, high, states, cases = (
                0.9,
                1.0,
                "stated errors",
                SINGLE_DRAWS,
            )
        key = name.replace(" ", "_")
        yield Claim(
            id=f"range.{key}",
            sentence=f"Within the range it claims, the {states} of “{name}” are as often"
            " right as they say.",
            source=SOURCE,
            quantity="share of jumps that are as stated",
            low=low,
            high=high,
            values=lambda rows, name=name: of(rows, "right", theory=name, answered=1.0),
            kind=Share(cases=cases),
        )
    yield Claim(
        id="range.answered",
        sentence="The theories answer at least half of the problems they are asked.",
        source=SOURCE,
        quantity="share of problems with an answer",
        low=0.5,
        high=1.0,
        values=lambda rows: [row["answered"] for row in rows],
        kind=Share(),
    )


STUDY = Study(
    name="range",
    title="Theories are right as often as they say, on problems that nobody chose",
    design=design,
    measure=measure,
    claims=tuple(_claims()),
    draw=draw,
    quick=1,
    full=10,
    notes=notes,
)
