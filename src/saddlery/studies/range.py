"""How far theories hold: random problems that nobody chose, and how often what a theory states is
true of runs.

Each theory is asked about problems drawn by a fixed generator: spectra, covariances, widths and
scales. Where it answers, its 90% intervals must hold 85 to 95% of the jumps of other draws of the
initial weights; theories of one run at a time must err by no more than they state. The limits
between which theories answer (`predictions.ranges`) were set by the quick size of this study and
others like it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.checks import InputError
from ..basis.precision import in_float64
from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Layer, Network
from ..predictions import Prediction, predict
from ..rules import GradientDescent, GradientFlow
from ..tasks import LinearTeacher, OrthogonalReLU, Task, Teacher
from ..training import Stop, Trajectory, driver
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCE = "the limits of saddlery.predictions.ranges"
SEED = 17  # of the generator of problems
PROBLEMS = 6  # of each theory
DRAWS, CHUNK = 20, 5  # initial weights of one row; runs stepped side by side
SINGLE = 3  # initial weights of one row, of theories that speak of one run at a time
FIRST = 7_000  # seeds of these weights: others than those the intervals are made from
LATER = 4.0  # of the last time that is predicted: how long a run may take
FINE = 1e-3  # of a jump time: what runs and their records are good for
PATH = 0.02  # of the whole fall: how near a run passes the saddles of its path
Draw = Callable[[np.random.Generator], Experiment]


# ------------------------------------------------------------------ problems
def _experiment(task: Task, unit: str, width: int, scale: float, **options: Any) -> Experiment:
    network = Network((Layer(make(unit), width),))
    start = Initialization(scale=float(f"{scale:.3g}"))
    return Experiment(
        task=task, network=network, stop=Stop(flow_time=1.0), initialization=start, **options
    )


def _scale(rng: np.random.Generator, low: float, high: float) -> float:
    return float(10 ** rng.uniform(low, high))


def _spectrum(rng: np.random.Generator, most: int = 4) -> tuple[float, ...]:
    values = np.sort(rng.uniform(0.3, 2.0, int(rng.integers(2, most))))[::-1]
    return tuple(float(value) for value in values.round(3))


def _variances(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.exp(rng.uniform(-1, 1, count)).round(3))


def _linear_modes(rng: np.random.Generator) -> Experiment:
    s, descent = _spectrum(rng), rng.uniform() < 1 / 3
    white = rng.uniform() < 0.6
    task = (
        LinearTeacher(s)
        if white
        else LinearTeacher(s, covariance=_variances(rng, len(s)), rotate=False)
    )
    rule = GradientDescent(round(float(rng.uniform(0.02, 0.25)), 3)) if descent else GradientFlow()
    return _experiment(task, "linear", int(rng.integers(2, 21)), _scale(rng, -5, -1.2), rule=rule)


def _directions(rng: np.random.Generator) -> Experiment:
    s = _spectrum(rng)
    task = LinearTeacher(s, covariance=_variances(rng, len(s)))
    return _experiment(task, "linear", int(rng.integers(3, 21)), _scale(rng, -5, -1.5))


def _units(rng: np.random.Generator) -> Experiment:
    dimensions = int(rng.integers(2, 4))
    strengths = tuple(float(value) for value in np.sort(rng.uniform(0.4, 1.5, 2))[::-1].round(3))
    task = Teacher("quadratic", count=2, inputs=(dimensions,), samples=40, strengths=strengths)
    rule = GradientFlow(solver="kvaerno5")
    return _experiment(
        task, "quadratic", int(rng.integers(3, 9)), _scale(rng, -3.5, -1.5), rule=rule
    )


def _orthogonal_relu(rng: np.random.Generator) -> Experiment:
    targets = rng.uniform(0.3, 1.2, int(rng.integers(2, 5))) * np.where(
        rng.uniform(size=1) < 0.5, 1, -1
    )
    targets[-1] *= -1  # of both signs
    task = OrthogonalReLU(tuple(float(y) for y in targets.round(3)))
    return _experiment(task, "relu", int(rng.integers(15, 51)), _scale(rng, -5, -2))


def _diagonal(rng: np.random.Generator) -> Experiment:
    inputs = int(rng.integers(2, 5))
    correlated = Teacher("linear", count=1, inputs=(inputs + 1,), samples=inputs)
    task = correlated if rng.uniform() < 0.5 else LinearTeacher((1.0,), inputs=inputs, outputs=1)
    return _experiment(task, "diagonal", 1, _scale(rng, -8, -3))


def _exact(rng: np.random.Generator) -> Experiment:
    e = _experiment(
        LinearTeacher(_spectrum(rng)), "linear", int(rng.integers(4, 12)), _scale(rng, -5, -0.3)
    )
    kind = "aligned" if rng.uniform() < 0.5 else "lambda_balanced"
    return e.replace(initialization=Initialization(kind, e.initialization.scale))


def _vanishing(rng: np.random.Generator) -> Experiment:
    relu = Teacher("relu", count=2, inputs=(3,), samples=int(rng.integers(20, 61)))
    quadratic = Teacher("quadratic", count=2, inputs=(3,), samples=40)
    unit = ("linear", "relu", "quadratic")[int(rng.integers(3))]
    task = {"linear": LinearTeacher(_spectrum(rng)), "relu": relu, "quadratic": quadratic}[unit]
    rule = GradientFlow(solver="kvaerno5" if unit == "quadratic" else "tsit5")
    low, high = (-3.5, -2.5) if unit == "quadratic" else (-6.0, -3.0)
    return _experiment(task, unit, int(rng.integers(5, 21)), _scale(rng, low, high), rule=rule)


INTERVALS: dict[str, Draw] = {
    "linear modes": _linear_modes,
    "directions one by one": _directions,
    "units one by one": _units,
    "orthogonal ReLU": _orthogonal_relu,
    "diagonal jumps": _diagonal,
}
POINTS: dict[str, Draw] = {"exact linear path": _exact, "alternating gradient flows": _vanishing}
PROBLEMS_OF: dict[str, Draw] = {**INTERVALS, **POINTS}


def problem(theory: str, k: int, seed: int) -> Experiment:
    """The k-th problem that a theory is asked about, on the data of a seed."""
    rng = np.random.default_rng([SEED, k, *theory.encode()])
    return PROBLEMS_OF[theory](rng).replace(name=f"{theory} {k}", seed=seed)


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for theory in PROBLEMS_OF:
        for k in range(PROBLEMS):
            for seed in range(seeds):
                yield {"theory": theory, "problem": k}, problem(theory, k, seed)


# ------------------------------------------------------------------ measured
def measure(experiment: Experiment) -> Row:
    """answered: whether the theory speaks of it; right: the share of jumps that are as it states;
    verdict: of its range."""
    theory = experiment.name.rpartition(" ")[0]
    try:
        prediction = predict(experiment, theory=theory)[0]
    except InputError as reason:
        return {"answered": 0.0, "right": None, "verdict": "outside", "reason": str(reason)}
    hits = (
        _inside(experiment, prediction)
        if theory in INTERVALS
        else _within_error(experiment, theory)
    )
    verdict = "within" if prediction.range is None else prediction.range.verdict
    return {
        "answered": 1.0,
        "right": float(np.mean(hits)) if hits else None,
        "verdict": verdict,
        "reason": "",
    }


def _inside(experiment: Experiment, prediction: Prediction) -> list[bool]:
    """Of every jump of every draw (that takes the path, where there are several): whether the
    interval holds it."""
    losses, hits = [stage.loss for stage in prediction.stages], []
    several = any(stage.share is not None for stage in prediction.stages)
    known = [
        stage for stage in prediction.stages[1:] if stage.low is not None and stage.high is not None
    ]
    if not known:
        return []
    last = max(float(stage.high or 0.0) for stage in known)
    for trajectory in _runs(experiment, losses, LATER * last):
        if several and not _takes(trajectory, losses):
            continue
        for stage, (above, below) in zip(prediction.stages[1:], pairwise(losses), strict=True):
            jump = trajectory.crossing(0.5 * (above + below))
            if stage.low is not None and stage.high is not None:
                hits.append(jump is not None and stage.low <= jump <= stage.high)
    return hits


@in_float64
def _runs(experiment: Experiment, losses: Sequence[float], duration: float) -> Iterator[Trajectory]:
    """Other draws of the initial weights on the same data, until the last jump is over."""
    objective, rule = experiment.objective(), experiment.rule
    stop = Stop(flow_time=duration, loss=losses[-1] + 0.2 * (losses[-2] - losses[-1]))
    first = FIRST + DRAWS * experiment.seed
    found: list[Trajectory] = []
    for begin in range(first, first + DRAWS, CHUNK):
        starts = experiment.initial_states(range(begin, begin + CHUNK))
        found += driver.run_chunk(
            objective.function,
            objective.samples,
            starts,
            [rule] * CHUNK,
            [stop] * CHUNK,
            seeds=[0] * CHUNK,
        )
    return iter(found)


def _takes(trajectory: Trajectory, losses: Sequence[float]) -> bool:
    """Whether a run passes near the losses of all saddles between the first and the last."""
    near = PATH * (losses[0] - losses[-1])
    return all(bool(np.any(np.abs(trajectory.loss - level) < near)) for level in losses[1:-1])


def _within_error(experiment: Experiment, theory: str) -> list[bool]:
    """Of every jump of a few runs: whether its predicted time errs by no more than is stated."""
    hits = []
    for k in range(SINGLE):
        one = experiment.replace(seed=FIRST + SINGLE * experiment.seed + k)
        try:
            prediction = predict(one, theory=theory)[0]
        except InputError:
            continue
        jumps = [stage.jump for stage in prediction.stages if stage.jump is not None]
        if not jumps:
            continue
        losses = [stage.loss for stage in prediction.stages]
        stop = Stop(flow_time=LATER * max(jumps), loss=losses[-1] + 0.2 * (losses[-2] - losses[-1]))
        run = _alone(one, stop)
        for stage, (above, below) in zip(prediction.stages[1:], pairwise(losses), strict=True):
            jump = run.crossing(0.5 * (above + below))
            if stage.jump is not None:
                allowed = max(prediction.error or 0.0, FINE)
                hits.append(jump is not None and abs(stage.jump / jump - 1) <= allowed)
    return hits


@in_float64
def _alone(experiment: Experiment, stop: Stop) -> Trajectory:
    objective = experiment.objective()
    return driver.run(
        objective.function, objective.samples, experiment.initial_state(), experiment.rule, stop
    )


# ------------------------------------------------------------------ shown and judged
def draw(rows: Sequence[Row], axes: Axes) -> None:
    names = list(PROBLEMS_OF)
    for k, name in enumerate(names):
        values = of(rows, "right", theory=name)
        values = values[np.isfinite(values)]
        axes.plot(values, np.full(len(values), k), "o", alpha=0.4)
    axes.axvspan(0.85, 0.95, alpha=0.15)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("share of jumps that are as stated, each problem")


def notes(rows: Sequence[Row]) -> list[str]:
    """For each theory: what was right within its range and near its limits, and how many problems
    it left alone."""
    found = []
    for name in PROBLEMS_OF:
        parts = []
        for verdict in ("within", "near"):
            values = of(rows, "right", theory=name, verdict=verdict)
            values = values[np.isfinite(values)]
            parts += (
                [f"{verdict} {100 * values.mean():.0f}% ({len(values)} problems)"]
                if len(values)
                else []
            )
        left = int(np.sum(of(rows, "answered", theory=name) == 0))
        found.append(f"{name}: right {', '.join(parts) or 'nowhere'}; no answer to {left}")
    return found


def _claims() -> Iterator[Claim]:
    for name in PROBLEMS_OF:
        key = name.replace(" ", "_")
        low, high = (0.85, 0.95) if name in INTERVALS else (0.9, 1.0)
        states = "90% intervals" if name in INTERVALS else "stated errors"
        yield Claim(
            f"range.{key}",
            f"Within the range it claims, the {states} of “{name}” are as often right as they say.",
            SOURCE,
            "share of jumps that are as stated",
            low,
            high,
            lambda rows, name=name: of(rows, "right", theory=name),
            kind=Share(cases=DRAWS if name in INTERVALS else SINGLE),
        )
    yield Claim(
        "range.answered",
        "The theories answer at least half of the problems they are asked.",
        SOURCE,
        "share of problems with an answer",
        0.5,
        1.0,
        lambda rows: [row["answered"] for row in rows],
        kind=Share(),
    )


STUDY = Study(
    "range",
    "Theories are right as often as they say, on problems that nobody chose",
    design,
    measure,
    tuple(_claims()),
    draw,
    quick=1,
    full=10,
    notes=notes,
)
