"""Predictions: what theory expects of an experiment, and how right that was.

The mathematics lives in `theory`; here it is said when it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from ..basis.checks import InputError, NumericalError
from ..basis.precision import spare_programs
from ..runs.store import Subject, experiment_of
from . import (
    diagonal,
    directions,
    exact,
    linear_modes,
    orthogonal_relu,
    unit_by_unit,
    vanishing,
)
from .base import THEORIES, DoesNotApply, PredictedStage, Prediction, register
from .comparison import ComparedStage, Comparison, ComparisonTolerances, compare
from .ranges import OutsideRange, Range, RangeTolerances

__all__ = [
    "THEORIES",
    "ComparedStage",
    "Comparison",
    "ComparisonTolerances",
    "DoesNotApply",
    "OutsideRange",
    "PredictedStage",
    "Prediction",
    "Predictions",
    "Range",
    "RangeTolerances",
    "compare",
    "diagonal",
    "directions",
    "exact",
    "linear_modes",
    "orthogonal_relu",
    "predict",
    "register",
    "unit_by_unit",
    "vanishing",
]


class Predictions(tuple[Prediction, ...]):
    """The predictions of one experiment.

    outside: the theories that speak of such experiments but not of this one,
        since an assumption holds too little: a sentence each, with the number.

    Example
    -------
    >>> from saddlery import predict
    >>> [prediction.theory for prediction in predict("diagonal")]
    ['diagonal jumps', 'alternating gradient flows']
    """

    outside: tuple[str, ...] = ()


def predict(
    experiment: Subject,
    *,
    theory: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Predictions:
    """The stages that theory expects, by every theory that applies, before the
    experiment is run.

    experiment: one, its shipped name, TOML path or table, a run or its folder.
    theory: only this one.
    progress: called with (fraction done, theory) before each.

    Raises InputError where none applies, with the condition that fails for each.
    Cost: a few decompositions, and for most theories the flow of the
    narrow networks that are learned, about a second each; the experiment
    itself is not trained.

    Example
    -------
    >>> from saddlery.predictions import predict
    >>> [(round(stage.loss, 6), stage.units) for stage in predict("linear")[0].stages]
    [(0.58, (0,)), (0.08, (1,)), (0.0, (2,))]
    """
    spare_programs()
    subject = experiment_of(experiment)
    asked = THEORIES if theory is None else {theory: THEORIES.named(theory)}
    found, refusals, outside = [], [], []
    for k, (name, stages_of) in enumerate(asked.items()):
        if progress is not None:
            progress(k / len(asked), name)
        try:
            found.append(stages_of(subject))
        except (DoesNotApply, NumericalError) as reason:
            refusal = f"{name}: {reason}"
            refusals.append(refusal)
            if isinstance(reason, OutsideRange):
                outside.append(refusal)
    if not found:
        raise InputError(f"no theory applies to {subject.name!r}; " + "; ".join(refusals))
    answer = Predictions(found)
    answer.outside = tuple(outside)
    return answer
