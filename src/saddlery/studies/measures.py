"""What several studies measure on a run."""

from __future__ import annotations

from typing import Any

from ..experiments import Experiment
from ..plateaus import Stages, stages
from ..runs import Run, train


def changed(name: str, **changes: Any) -> Experiment:
    """A shipped experiment with other fields.

    `width` and `scale` are short for those of its layer and initialization.

    Example
    -------
    >>> from saddlery.studies.measures import changed
    >>> changed("linear", width=3, seed=1).network.widths
    (3,)
    """
    e = Experiment.named(name)
    if "width" in changes:
        width = changes.pop("width")
        changes["network"] = e.network.with_widths([width])
    if "scale" in changes:
        scale = changes.pop("scale")
        changes["initialization"] = type(e.initialization)(scale=scale)
    return e.replace(**changes)


def plateaus(experiment: Experiment) -> dict[str, float]:
    """Numbers of the staircase.

    Plateaus before the end, those between the first and the end, and the
    length of the first.
    """
    return counts(stages(train(experiment)))


def counts(found: Stages) -> dict[str, float]:
    kinds = [stage.kind for stage in found.stages]
    first = found[0].end if kinds[:1] == ["initial"] else 0.0
    return {
        "initial": kinds.count("initial"),
        "intermediate": kinds.count("intermediate"),
        "first_length": first,
        "final_loss": found.run.final_loss,
    }


def falls_below(run: Run, level: float) -> float:
    """The flow time at which the loss falls through a level for good; NaN
    if it never does."""
    found = run.trajectory.crossing(level)
    return float("nan") if found is None else found
