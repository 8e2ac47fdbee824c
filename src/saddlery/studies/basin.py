"""How close to an invariant manifold is close enough to be guided to its
fixed point? An open question of the paper.

A run starts on the manifold of effective width one, at distance `size` from the origin on the path
that leaves it fastest, plus noise N(0, d^2) on all weights. It is guided if its map comes near that
of the fixed point at the end of this path. The critical distance d_c is the noise at which that
ends. Derived here for two things to learn, driven at rates 1 and r < 1 (linear, or ReLU on
orthogonal inputs): until the first has been learned, after ln(1/max(size, d)), noise along the
second has grown to d max(size, d)^(-r), which must not exceed some c, so
    d_c = c size^r             for size >> d_c, where the start is near the manifold,
    d_c = c^(1 / (1 - r))      for size << d_c, whatever the size: the start is as good as isotropic.
Quadratic units compete by size alone: whichever is largest is learned
alone, and d_c is of order one whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Objective
from ..rules import GradientFlow
from ..saddles.narrow_networks import state_of
from ..symmetry import best_silent_unit
from ..tasks import LinearTeacher, OrthogonalReLU, Task, Teacher
from ..training import Stop, driver
from .base import Claim, Row, Study, of, paired, slopes
from .intervals import Real
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "Zhang, Saxe & Latham 2026, Section 7 (open); the exponent is derived here"
RATE_RATIOS = (0.4, 0.6, 0.8)  # rate of the second thing to learn over the first's
# Sizes of the start on the manifold: large beside the noise, small beside it, and of quadratic
# units.
NEAR_SIZES = (0.1, 0.03, 0.01)
ISOTROPIC = (1e-12, 1e-13)
QUADRATIC = (0.03, 0.01, 0.003)
UNITS = 10
GUIDED = 0.01  # a run whose map comes this near to the fixed point's, of the targets, is guided
LEAST_NOISE = 1e-14  # the critical noise is sought between this and 1,
NOISE_HALVINGS = 11  # by halving its logarithm so many times
AT_REST = 1e-4  # the flow on the manifold rests below this share of its largest gradient
LONGER = 1.5  # a run is watched so many times as long as the flow on the manifold takes to rest


def two_things(name: str, ratio: float) -> Task:
    """Two things to learn, the second driven `ratio` times as strongly."""
    if name == "linear":
        return LinearTeacher((1.0, ratio))
    if name == "relu":
        return OrthogonalReLU((1.0, -ratio))
    like = Experiment.named(name).task
    assert isinstance(like, Teacher)
    return replace(like, strengths=(1.0, -ratio))


def _sizes(name: str) -> tuple[float, ...]:
    return QUADRATIC if name == "quadratic" else NEAR_SIZES + ISOTROPIC


def _duration(name: str, size: float) -> float:
    """Plateaus last as 1/size for quadratic units, as ln(1/size) for those
    of degree one."""
    if name == "quadratic":
        return 20 / size
    return 4 * (float(np.log(1 / size)) + 10)


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, ratio in product(
        ("linear", "relu", "quadratic"),
        RATE_RATIOS,
    ):
        for size, seed in product(_sizes(name), range(seeds)):
            e = changed(
                name,
                task=two_things(name, ratio),
                scale=size,
                width=UNITS,
                seed=seed,
                stop=Stop(flow_time=_duration(name, size)),
                rule=GradientFlow(1e-6),
            )
            yield {"network": name, "ratio": ratio, "size": size}, e


@in_float64
def measure(experiment: Experiment) -> Row:
    """d_c of an experiment whose initial scale is the size on the path.

    NaN where no noise below one ends the guidance.
    """
    objective = experiment.objective()
    size = experiment.initialization.scale
    on = size * leaving(objective, experiment.seed)
    end, time = _rest(experiment, objective, on)
    stop = Stop(flow_time=LONGER * time)

    def guided(log: float) -> bool:
        scale = float(np.exp(log))
        noisy = experiment.replace(
            initialization=Initialization(scale=scale),
        )
        start = on + noisy.initial_state()
        run = driver.run(
            objective.function,
            objective.samples,
            start,
            experiment.rule,
            stop,
        )
        maps = np.asarray(
            jax.vmap(objective.predictions)(jnp.asarray(run.states)),
        )
        return min(objective.map_error(f, end) for f in maps) <= GUIDED

    low, high = float(np.log(LEAST_NOISE)), 0.0
    if guided(high) or not guided(low):
        return {"critical": float("nan")}
    for _ in range(NOISE_HALVINGS):
        middle = 0.5 * (low + high)
        if guided(middle):
            low = middle
        else:
            high = middle
    return {"critical": float(np.exp(0.5 * (low + high)))}


def _rest(
    experiment: Experiment,
    objective: Objective,
    start: Float[np.ndarray, " P"],
) -> tuple[np.ndarray, float]:
    """The map on which the flow on the manifold comes to rest, and the flow
    time when it does."""
    found = driver.run(
        objective.function,
        objective.samples,
        start,
        experiment.rule,
        experiment.stop,
    )
    largest = np.maximum.accumulate(found.gradient_norm)
    calm = found.gradient_norm <= AT_REST * largest
    k = int(np.flatnonzero(calm)[0])
    return np.asarray(objective.predictions(found.states[k])), float(
        found.flow_time[k],
    )


def leaving(objective: Objective, seed: int) -> Float[np.ndarray, " P"]:
    """The direction (P,), of length one, in which the origin is left
    fastest.

    The best silent unit, shared at random among all units where they are
    linear.
    """
    best = best_silent_unit(objective, np.zeros(objective.size))
    width = objective.network.widths[0]
    shares = np.eye(width)[0]
    if objective.network.layers[0].unit.symmetry.linear:
        shares = np.random.default_rng(seed).standard_normal(width)
    shares = shares / np.linalg.norm(shares)
    return state_of(
        objective,
        np.outer(shares, best.u),
        np.outer(shares, best.v),
    )


def draw(rows: Sequence[Row], axes: Axes) -> None:
    markers = {"linear": "o", "relu": "s", "quadratic": "^"}
    for name, (k, ratio) in product(markers, enumerate(RATE_RATIOS)):
        line = {"color": f"C{k}", "markersize": 4}
        label: str | None = f"{name}, {ratio:g}"
        regimes = (QUADRATIC,) if name == "quadratic" else (NEAR_SIZES, ISOTROPIC)
        for regime in regimes:
            means = []
            for size in regime:
                found = of(
                    rows,
                    "critical",
                    network=name,
                    ratio=ratio,
                    size=size,
                )
                means.append(_geometric_mean(found))
            axes.loglog(
                regime,
                means,
                markers[name] + "-",
                label=label,
                **line,
            )
            label = None  # once for both regimes
    axes.set_xlabel("size of the weights on the manifold")
    axes.set_ylabel("critical distance from it")
    axes.legend(frameon=False, fontsize=6, ncols=3)


def _geometric_mean(values: np.ndarray) -> float:
    """Of the values that are numbers; NaN where there is none."""
    if not np.isfinite(values).any():
        return float("nan")
    return float(np.exp(np.nanmean(np.log(values))))


def _exponent(
    name: str,
    ratio: float,
    sizes: Sequence[float],
    most: float = np.inf,
) -> Callable[[Sequence[Row]], list[float]]:
    """Of d_c in the size, seed by seed, over these sizes where d_c is at
    most so many times the size."""

    def within(row: Row) -> bool:
        critical = row["critical"] or np.inf
        return row["size"] in sizes and critical <= most * row["size"]

    def values(rows: Sequence[Row]) -> list[float]:
        chosen = [row for row in rows if within(row)]
        return slopes(
            chosen,
            "critical",
            "size",
            network=name,
            ratio=ratio,
        )

    return values


def _claims(name: str, ratio: float) -> Iterator[Claim]:
    yield Claim(
        id=f"basin.{name}.{ratio:g}.near",
        sentence=(
            f"{name}, rates 1 : {ratio:g}: near the manifold the critical distance "
            f"goes as size^{ratio:g}."
        ),
        source=QUESTION,
        quantity=(
            "exponent of the critical distance in the size, sizes 0.1 to 0.01 that "
            "are twice as large or more"
        ),
        low=ratio - 0.15,
        high=ratio + 0.15,
        values=_exponent(name, ratio, NEAR_SIZES, most=0.5),
        kind=Real(),
    )
    yield Claim(
        id=f"basin.{name}.{ratio:g}.isotropic",
        sentence=(
            f"{name}, rates 1 : {ratio:g}: where noise is the larger part, it does "
            "not depend on the size."
        ),
        source=QUESTION,
        quantity="exponent of the critical distance in the size, sizes 1e-12 and 1e-13",
        low=-0.05,
        high=0.05,
        values=_exponent(name, ratio, ISOTROPIC),
        kind=Real(),
    )


def _spectrum(name: str) -> Claim:
    """(1 - r) ln d_c = ln c, the same for all r."""
    least, most = RATE_RATIOS[0], RATE_RATIOS[-1]

    def values(rows: Sequence[Row]) -> np.ndarray:
        labels = {"network": name, "size": ISOTROPIC[0]}
        above, below = paired(
            rows,
            "critical",
            {**labels, "ratio": most},
            {**labels, "ratio": least},
        )
        return (1 - most) * np.log(above) / ((1 - least) * np.log(below))

    return Claim(
        id=f"basin.{name}.spectrum",
        sentence=f"{name}: from isotropic weights the critical scale is c^(1 / (1 - r)),"
        " one c for all ratios r of the rates.",
        source=QUESTION,
        quantity=f"(1 - r) ln d_c at r = {most:g} over that at {least:g}",
        low=0.8,
        high=1.2,
        values=values,
        kind=Real(),
    )


def _quadratic(ratio: float) -> Claim:
    return Claim(
        id=f"basin.quadratic.{ratio:g}",
        sentence=f"quadratic, strengths 1 : {ratio:g}: the critical distance does not"
        " depend on the size on the manifold.",
        source=QUESTION,
        quantity="exponent of the critical distance in the size, sizes 0.03 to 0.003",
        low=-0.2,
        high=0.2,
        values=_exponent("quadratic", ratio, QUADRATIC),
        kind=Real(),
    )


def _all_claims() -> Iterator[Claim]:
    for name, ratio in product(("linear", "relu"), RATE_RATIOS):
        yield from _claims(name, ratio)
    yield _spectrum("linear")
    yield _spectrum("relu")
    yield from map(_quadratic, RATE_RATIOS)


STUDY = Study(
    name="basin",
    title="How far from a manifold a start may be and still be guided to its fixed point",
    design=design,
    measure=measure,
    claims=tuple(_all_claims()),
    draw=draw,
    quick=3,
    full=40,
)
