"""When stages do not come: one unit suffices, or the start is far from every manifold of few
units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..experiments import Experiment
from ..tasks import LinearTeacher
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Count
from .measures import changed, plateaus

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _cases() -> dict[str, tuple[Experiment, str]]:
    attention = Experiment.named("linear_attention")
    merged = attention.replace(
        name="merged",
        network=attention.network.with_unit(0, make("in_context_merged")),
        stop=type(attention.stop)(flow_time=100.0),
    )
    scalar = changed("linear", task=LinearTeacher((1.0,), inputs=3, outputs=1))
    return {
        "scalar_output": (
            scalar,
            "A linear network with one output expresses everything with one unit",
        ),
        "merged_attention": (
            merged,
            "Linear attention with merged key and query expresses everything with one head",
        ),
        "large_weights": (
            changed("linear", scale=1.0),
            "Large isotropic weights are far from every manifold of few units",
        ),
        "tanh": (Experiment.named("tanh"), "A rank-one tanh layer is no invariant manifold"),
    }


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, (experiment, _) in _cases().items():
        for seed in range(seeds):
            yield {"case": name}, experiment.replace(seed=seed)


def draw(rows: Sequence[Row], axes: Axes) -> None:
    names = list(_cases())
    axes.bar(range(len(names)), [of(rows, "intermediate", case=name).mean() for name in names])
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    axes.set_ylabel("plateaus between the first and the end")


STUDY = Study(
    "conditions",
    "No intermediate plateau where a condition of saddle-to-saddle learning fails",
    design,
    plateaus,
    tuple(
        Claim(
            f"conditions.{name}",
            f"{words}: no intermediate plateau.",
            "Zhang, Saxe & Latham 2026, Section 5.3",
            "intermediate plateaus",
            0.0,
            0.1,
            lambda rows, name=name: of(rows, "intermediate", case=name),
            kind=Count(),
        )
        for name, (_, words) in _cases().items()
    ),
    draw,
    quick=4,
    full=40,
)
