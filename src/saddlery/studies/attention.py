"""Linear attention: the fixed points it visits, their losses, and what the rank of key and query
does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..experiments import Experiment
from ..plateaus import certify
from ..plots.axes import MUTED
from ..rules import GradientFlow
from ..runs import train
from ..tasks import InContextRegression
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Count, Real
from .measures import changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALUES, LENGTH = np.array([0.4, 0.3, 0.2, 0.1]), 31
SOURCE = "Zhang, Singh, Latham & Saxe 2025, eq 19"


def saddle_losses() -> np.ndarray:
    """Half of tr L - sum_{d <= m} l_d / (1 + (1 + tr L / l_d) / N), m = 0, ..., D."""
    gains = VALUES / (1 + (1 + VALUES.sum() / VALUES) / LENGTH)
    return 0.5 * (VALUES.sum() - np.concatenate([[0.0], np.cumsum(gains)]))


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    task = InContextRegression(tuple(VALUES.tolist()), length=LENGTH)
    for rank in (1, 2, 4):
        for seed in range(seeds):
            e = changed(
                "linear_attention",
                task=task,
                seed=seed,
                scale=1e-3,
                rule=GradientFlow(solver="kvaerno5"),
            )
            network = e.network.with_unit(0, make("in_context_linear", rank=rank))
            yield {"rank": rank}, e.replace(network=network, stop=Stop(flow_time=2e6))


def measure(experiment: Experiment) -> Row:
    """Which of the D + 1 losses the certified fixed points have, the largest error of these, and
    the share of the time on plateaus that is spent after numbers of eigenvectors that the rank does
    not divide."""
    found = certify(train(experiment))
    losses = np.array([point.loss for point in found.fixed_points])
    errors = np.abs(losses[:, None] - saddle_losses()[None])
    at = errors.argmin(axis=1)
    rank = experiment.network.layers[0].unit.options["rank"]
    resting = [stage for stage in found.stages if stage.fixed_point is not None]
    lengths = np.array([stage.end - stage.start for stage in resting])
    lengths = lengths[:-1]  # the end lasts as long as one looks
    return {
        "visited": float(len(set(at.tolist()))),
        "error": float(errors.min(axis=1).max()),
        "between": float(lengths[at[:-1] % rank != 0].sum() / lengths.sum()),
        "eigenvectors": at.tolist(),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    for row in rows:
        height = [2 * saddle_losses()[m] for m in row["eigenvectors"]]
        axes.plot([row["rank"]] * len(height), height, "o", alpha=0.4, color="C0")
    for loss in saddle_losses():
        axes.axhline(2 * loss, color=MUTED, linewidth=0.6)
    axes.set_xlabel("rank of key and query")
    axes.set_ylabel("losses of the fixed points visited")


STUDY = Study(
    "attention",
    "Linear attention visits D + 1 fixed points, fewer with key and query of higher rank",
    design,
    measure,
    (
        Claim(
            "attention.losses",
            "Every fixed point that is visited has one of the D + 1 losses of the theory.",
            SOURCE,
            "largest error of a loss",
            0.0,
            1e-9,
            lambda rows: of(rows, "error", rank=1),
            kind=Real(least=0.0),
        ),
        Claim(
            "attention.all",
            "With key and query of rank one all D + 1 of them are visited.",
            SOURCE,
            "fixed points visited, of five",
            4.8,
            5.0,
            lambda rows: of(rows, "visited", rank=1),
            kind=Count(most=5),
        ),
        *(
            Claim(
                f"attention.rank{rank}",
                (
                    f"With rank {rank} the conspicuous plateaus are those after multiples "
                    f"of {rank} eigenvectors."
                ),
                "Zhang, Singh, Latham & Saxe 2025, Section 5",
                "share of the time on plateaus that is spent after other numbers",
                0.0,
                0.1,
                lambda rows, rank=rank: of(rows, "between", rank=rank),
                kind=Real(0.0, 1.0),
            )
            for rank in (2, 4)
        ),
    ),
    draw,
    quick=2,
    full=40,
)
