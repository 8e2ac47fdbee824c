"""How close to an invariant manifold is close enough to be guided to its fixed point? An open
question of the paper.

A run starts on the manifold of effective width one, at distance `size` from the origin on the path
that leaves it fastest, plus noise N(0, d^2) on all weights. It is guided if its map comes near that
of the fixed point at the end of this path. The critical distance d_c is the noise at which that
ends. Derived here for two things to learn, driven at rates 1 and r < 1 (linear, or ReLU on
orthogonal inputs): until the first has been learned, after ln(1/max(size, d)), noise along the
second has grown to d max(size, d)^(-r), which must not exceed some c, so
    d_c = c size^r             for size >> d_c, where the start is near the manifold,
    d_c = c^(1 / (1 - r))      for size << d_c, whatever the size: the start is as good as isotropic.
Quadratic units compete by size alone: whichever is largest is learned alone, and d_c is of order
one whatever the size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Objective
from ..rules import GradientFlow
from ..saddles.narrow import state_of
from ..symmetry import best_silent_unit
from ..tasks import LinearTeacher, OrthogonalReLU, Task, Teacher
from ..training import Stop, driver
from .base import Claim, Row, Study, of, slopes
from .intervals import Real
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "Zhang, Saxe & Latham 2026, Section 7 (open); the exponent is derived here"
RATIOS = (0.4, 0.6, 0.8)
NEAR_SIZES, ISOTROPIC = (0.1, 0.03, 0.01), (1e-12, 1e-13)
QUADRATIC = (0.03, 0.01, 0.003)
WIDTH = 10
NEAR = 0.01  # of the targets: a map this near to the fixed point's has been guided to it
LEAST, HALVINGS = 1e-14, 11  # the noise is sought between LEAST and 1, by halving its logarithm
REST = 1e-4  # of the largest gradient: the flow on the manifold rests
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


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name in ("linear", "relu", "quadratic"):
        for ratio in RATIOS:
            for size in QUADRATIC if name == "quadratic" else NEAR_SIZES + ISOTROPIC:
                for seed in range(seeds):
                    wait = 20 / size if name == "quadratic" else 4 * (np.log(1 / size) + 10)
                    stop, rule = Stop(flow_time=float(wait)), GradientFlow(1e-6)
                    labels = {"network": name, "ratio": ratio, "size": size}
                    task = two_things(name, ratio)
                    yield (
                        labels,
                        changed(
                            name,
                            task=task,
                            scale=size,
                            width=WIDTH,
                            seed=seed,
                            stop=stop,
                            rule=rule,
                        ),
                    )


@in_float64
def measure(experiment: Experiment) -> Row:
    """d_c of an experiment whose initial scale is the size on the path; NaN where no noise below
    one ends the guidance."""
    objective = experiment.objective()
    on = experiment.initialization.scale * leaving(objective, experiment.seed)
    found = driver.run(objective.function, objective.samples, on, experiment.rule, experiment.stop)
    calm = found.gradient_norm <= REST * np.maximum.accumulate(found.gradient_norm)
    k = int(np.flatnonzero(calm)[0])
    end, stop = (
        np.asarray(objective.predictions(found.states[k])),
        Stop(flow_time=LONGER * float(found.flow_time[k])),
    )

    def guided(log: float) -> bool:
        noise = experiment.replace(
            initialization=Initialization(scale=float(np.exp(log)))
        ).initial_state()
        run = driver.run(objective.function, objective.samples, on + noise, experiment.rule, stop)
        maps = np.asarray(jax.vmap(objective.predictions)(jnp.asarray(run.states)))
        return min(objective.map_error(f, end) for f in maps) <= NEAR

    low, high = float(np.log(LEAST)), 0.0
    if guided(high) or not guided(low):
        return {"critical": float("nan")}
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if guided(middle) else (low, middle)
    return {"critical": float(np.exp(0.5 * (low + high)))}


def leaving(objective: Objective, seed: int) -> np.ndarray:
    """The direction (P,), of length one, in which the origin is left fastest: the best silent unit,
    shared at random among all units where they are linear."""
    best, width = best_silent_unit(objective, np.zeros(objective.size)), objective.network.widths[0]
    linear = objective.network.layers[0].unit.symmetry.linear
    shares = np.random.default_rng(seed).standard_normal(width) if linear else np.eye(width)[0]
    shares = shares / np.linalg.norm(shares)
    return state_of(objective, np.outer(shares, best.u), np.outer(shares, best.v))


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for name, marker in (("linear", "o"), ("relu", "s"), ("quadratic", "^")):
        for k, ratio in enumerate(RATIOS):
            for regime in (QUADRATIC,) if name == "quadratic" else (NEAR_SIZES, ISOTROPIC):
                found = [
                    of(rows, "critical", network=name, ratio=ratio, size=size) for size in regime
                ]
                means = [
                    np.exp(np.nanmean(np.log(v))) if np.isfinite(v).any() else np.nan for v in found
                ]
                label = f"{name}, {ratio:g}" if regime != ISOTROPIC else None
                axes.loglog(regime, means, marker + "-", color=f"C{k}", markersize=4, label=label)
    axes.set_xlabel("size of the weights on the manifold")
    axes.set_ylabel("critical distance from it")
    axes.legend(frameon=False, fontsize=6, ncols=3)


def _exponent(name: str, ratio: float, sizes: Sequence[float], most: float = np.inf):
    """Of d_c in the size, seed by seed, over these sizes where d_c is at most so many times the
    size."""
    within = lambda row: row["size"] in sizes and (row["critical"] or np.inf) <= most * row["size"]
    chosen = lambda rows: [row for row in rows if within(row)]
    return lambda rows: slopes(chosen(rows), "critical", "size", network=name, ratio=ratio)


def _claims(name: str, ratio: float) -> Iterator[Claim]:
    yield Claim(
        f"basin.{name}.{ratio:g}.near",
        (
            f"{name}, rates 1 : {ratio:g}: near the manifold the critical distance "
            f"goes as size^{ratio:g}."
        ),
        QUESTION,
        (
            "exponent of the critical distance in the size, sizes 0.1 to 0.01 that "
            "are twice as large or more"
        ),
        ratio - 0.15,
        ratio + 0.15,
        _exponent(name, ratio, NEAR_SIZES, most=0.5),
        kind=Real(),
    )
    yield Claim(
        f"basin.{name}.{ratio:g}.isotropic",
        (
            f"{name}, rates 1 : {ratio:g}: where noise is the larger part, it does "
            "not depend on the size."
        ),
        QUESTION,
        "exponent of the critical distance in the size, sizes 1e-12 and 1e-13",
        -0.05,
        0.05,
        _exponent(name, ratio, ISOTROPIC),
        kind=Real(),
    )


def _spectrum(name: str) -> Claim:
    """(1 - r) ln d_c = ln c, the same for all r."""

    def values(rows: Sequence[Row]) -> np.ndarray:
        logs = [
            np.log(of(rows, "critical", network=name, ratio=r, size=ISOTROPIC[0])) for r in RATIOS
        ]
        return (1 - RATIOS[-1]) * logs[-1] / ((1 - RATIOS[0]) * logs[0])

    return Claim(
        f"basin.{name}.spectrum",
        (
            f"{name}: from isotropic weights the critical scale is c^(1 / (1 - r)), one c for "
            "all ratios r of the rates."
        ),
        QUESTION,
        f"(1 - r) ln d_c at r = {RATIOS[-1]:g} over that at {RATIOS[0]:g}",
        0.8,
        1.2,
        values,
        kind=Real(),
    )


STUDY = Study(
    "basin",
    "How far from a manifold a start may be and still be guided to its fixed point",
    design,
    measure,
    (
        *(
            claim
            for name in ("linear", "relu")
            for ratio in RATIOS
            for claim in _claims(name, ratio)
        ),
        _spectrum("linear"),
        _spectrum("relu"),
        *(
            Claim(
                f"basin.quadratic.{ratio:g}",
                (
                    f"quadratic, strengths 1 : {ratio:g}: the critical distance does not depend on "
                    "the size on the manifold."
                ),
                QUESTION,
                "exponent of the critical distance in the size, sizes 0.03 to 0.003",
                -0.2,
                0.2,
                _exponent("quadratic", ratio, QUADRATIC),
                kind=Real(),
            )
            for ratio in RATIOS
        ),
    ),
    draw,
    quick=3,
    full=40,
)
