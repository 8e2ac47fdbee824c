"""Linear attention: the fixed points it visits, their losses, and what the
rank of key and query does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

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

# Eigenvalues of the input covariance.
VALUES = np.array([0.4, 0.3, 0.2, 0.1])
LENGTH = 31  # pairs of a context, N
RANKS = (1, 2, 4)  # ranks of key and query
SOURCE = "Zhang, Singh, Latham & Saxe 2025, eq 19"


def saddle_losses() -> Float[np.ndarray, " saddles"]:
    """Half of tr L - sum_{d <= m} l_d / (1 + (1 + tr L / l_d) / N), m = 0,
    ..., D (eq 19).

    Example
    -------
    >>> from saddlery.studies.attention import saddle_losses
    >>> saddle_losses().round(3).tolist()
    [0.5, 0.32, 0.189, 0.105, 0.068]
    """
    total = VALUES.sum()
    gains = VALUES / (1 + (1 + total / VALUES) / LENGTH)
    learned = np.concatenate([[0.0], np.cumsum(gains)])
    return 0.5 * (total - learned)


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    task = InContextRegression(tuple(VALUES.tolist()), length=LENGTH)
    for rank, seed in product(RANKS, range(seeds)):
        e = changed(
            "linear_attention",
            task=task,
            seed=seed,
            scale=1e-3,
            rule=GradientFlow(solver="kvaerno5"),
            stop=Stop(flow_time=2e6),
        )
        heads = make("in_context_linear", rank=rank)
        yield (
            {"rank": rank},
            e.replace(network=e.network.with_unit(0, heads)),
        )


def measure(experiment: Experiment) -> Row:
    """Which of the D + 1 losses the certified fixed points have, the
    largest error of these, and the share of the time on plateaus that is
    spent after numbers of eigenvectors that the rank does not divide."""
    losses, lengths = [], []
    for stage in certify(train(experiment)).stages:
        if stage.fixed_point is not None:
            losses.append(stage.fixed_point.loss)
            lengths.append(stage.end - stage.start)
    errors = np.abs(np.array(losses)[:, None] - saddle_losses()[None])
    at = errors.argmin(axis=1)
    # The end lasts as long as one looks.
    before_end, learned = np.array(lengths)[:-1], at[:-1]
    rank = experiment.network.layers[0].unit.options["rank"]
    between = before_end[learned % rank != 0]
    return {
        "visited": float(len(set(at.tolist()))),
        "error": float(errors.min(axis=1).max()),
        "between": float(between.sum() / before_end.sum()),
        "eigenvectors": at.tolist(),
    }


def draw(rows: Sequence[Row], axes: Axes) -> None:
    # Axes show the loss without its half, as in the paper.
    levels = 2 * saddle_losses()
    for row in rows:
        visited = row["eigenvectors"]
        height = [levels[m] for m in visited]
        axes.plot(
            [row["rank"]] * len(visited),
            height,
            "o",
            alpha=0.4,
            color="C0",
        )
    for level in levels:
        axes.axhline(level, color=MUTED, linewidth=0.6)
    axes.set_xlabel("rank of key and query")
    axes.set_ylabel("losses of the fixed points visited")


STUDY = Study(
    name="attention",
    title="Linear attention visits D + 1 fixed points, fewer with key and query of higher rank",
    design=design,
    measure=measure,
    claims=(
        Claim(
            id="attention.losses",
            sentence="Every fixed point that is visited has one of the D + 1 losses of the theory.",
            source=SOURCE,
            quantity="largest error of a loss",
            low=0.0,
            high=1e-9,
            values=lambda rows: of(rows, "error", rank=1),
            kind=Real(least=0.0),
        ),
        Claim(
            id="attention.all",
            sentence="With key and query of rank one all D + 1 of them are visited.",
            source=SOURCE,
            quantity="fixed points visited, of five",
            low=4.8,
            high=5.0,
            values=lambda rows: of(rows, "visited", rank=1),
            kind=Count(most=5),
        ),
        *(
            Claim(
                id=f"attention.rank{rank}",
                sentence=(
                    f"With rank {rank} the conspicuous plateaus are those after multiples "
                    f"of {rank} eigenvectors."
                ),
                source="Zhang, Singh, Latham & Saxe 2025, Section 5",
                quantity="share of the time on plateaus that is spent after other numbers",
                low=0.0,
                high=0.1,
                values=lambda rows, rank=rank: of(
                    rows,
                    "between",
                    rank=rank,
                ),
                kind=Real(0.0, 1.0),
            )
            for rank in (2, 4)
        ),
    ),
    draw=draw,
    quick=2,
    full=40,
)
