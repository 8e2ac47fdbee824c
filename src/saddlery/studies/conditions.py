"""When stages do not come: one unit suffices, or the start is far from
every manifold of few units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..experiments import Experiment
from ..tasks import LinearTeacher
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Count
from .measures import changed, plateaus

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _cases() -> dict[str, tuple[Experiment, str]]:
    """The experiments, and what each is an example of."""
    attention = Experiment.named("linear_attention")
    merged = attention.replace(
        name="merged",
        network=attention.network.with_unit(0, make("in_context_merged")),
        stop=Stop(flow_time=100.0),
    )
    one_output = LinearTeacher((1.0,), inputs=3, outputs=1)
    return {
        "scalar_output": (
            changed("linear", task=one_output),
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
        "tanh": (
            Experiment.named("tanh"),
            "A rank-one tanh layer is no invariant manifold",
        ),
    }


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, (experiment, _) in _cases().items():
        for seed in range(seeds):
            yield {"case": name}, experiment.replace(seed=seed)


def draw(rows: Sequence[Row], axes: Axes) -> None:
    names = list(_cases())
    means = [of(rows, "intermediate", case=name).mean() for name in names]
    labels = [name.replace("_", "\n") for name in names]
    axes.bar(range(len(names)), means)
    axes.set_xticks(range(len(names)), labels)
    axes.set_ylabel("plateaus between the first and the end")


STUDY = Study(
    name="conditions",
    title="No intermediate plateau where a condition of saddle-to-saddle learning fails",
    design=design,
    measure=plateaus,
    claims=tuple(
        Claim(
            id=f"conditions.{name}",
            sentence=f"{words}: no intermediate plateau.",
            source="Zhang, Saxe & Latham 2026, Section 5.3",
            quantity="intermediate plateaus",
            low=0.0,
            high=0.1,
            values=lambda rows, name=name: of(
                rows,
                "intermediate",
                case=name,
            ),
            kind=Count(),
        )
        for name, (_, words) in _cases().items()
    ),
    draw=draw,
    quick=4,
    full=40,
)
