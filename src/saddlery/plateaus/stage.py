"""Stages of a run: its plateaus, the effective units on each, and, when certified, the fixed point
behind each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basis.interruptions import giving_up
from ..basis.pictures import Pictured
from ..basis.precision import in_float64, spare_programs
from ..basis.records import Printed, Result, plain, tiny
from ..basis.tolerances import Tolerances, changed, chosen, shown
from ..doors import labels
from ..networks import Objective
from ..runs import Run
from ..runs.store import Subject, run_of
from ..saddles import Certificate, FixedPoint, certify_state
from ..saddles.behind import Around, level_units
from ..symmetry import EffectiveUnits, Reduction, effective_units, reduce
from .plateau import Plateau, find_plateaus
from .rest import Rest, rest_of
from .seeding import SEEDED, kept_width

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class WidthTolerances(Tolerances, decides="width"):
    """How many effective units a plateau has: the map that the narrow network must reproduce."""

    drop: float = chosen(
        0.2,
        "map error on a plateau, of the smaller neighbouring drop's size sqrt(2 dL)",
        "a judgement: a unit that counts changes the map by that drop",
        most=1.0,
    )
    end: float = chosen(
        0.02,
        "map error on the last plateau, of the targets",
        "a judgement: nothing is still to come that it could be measured by",
        most=1.0,
    )


FOUND_BY = ("plateaus", "rest", "width")  # what decides of stages before they are certified
JUDGED = (  # of a certificate's record, in data frames and arrays
    *("verdict", "gradient_norm", "distance", "relative_distance", "index", "zero_modes"),
    *("lowest_eigenvalue", "escape_order", "escape_rate", "utility", "construction", "reason"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Stage(Result):
    """One plateau of a run.

    kind: initial, intermediate or end. start, end: flow time. loss: where the run is nearest to
    rest. strength: of the plateau (see `find_plateaus`). index: the saved point nearest to rest.
    effective: effective units of each layer.
    reduction: the narrow network that reproduces the map within `tolerance` (relative to the
    targets), which is derived from the neighbouring drops of the loss. certificate: a `FixedPoint`
    or a `Refusal`; None until `certify`. note: what a reader should know of the plateau, such as that rounding alone ends it.
    """

    kind: str
    start: float
    end: float
    loss: float
    strength: float
    index: int
    effective: tuple[EffectiveUnits, ...]
    reduction: Reduction
    tolerance: float
    certificate: Certificate | None = None
    note: str = ""

    @property
    def effective_units(self) -> int | tuple[int, ...]:
        """Units of the smallest network with this map: one number for one layer, else one a
        layer."""
        counts = tuple(layer.minimal for layer in self.effective)
        return counts[0] if len(counts) == 1 else counts

    @property
    def fixed_point(self) -> FixedPoint | None:
        """The certified fixed point behind it; None where there is none, or nobody looked."""
        return self.certificate if isinstance(self.certificate, FixedPoint) else None

    @property
    def units(self) -> str:
        """The effective units in a word: one number a layer."""
        return " > ".join(str(layer.minimal) for layer in self.effective)

    def printed(self) -> Printed:
        judged = () if self.certificate is None else self.certificate.rows()
        rows = [
            ("kind", self.kind),
            ("flow time", f"{self.start:.4g} - {self.end:.4g}"),
            ("loss on the plateau", self.loss),
            ("strength", self.strength),
            ("effective units", self.units),
            ("map tolerance", self.tolerance),
            *([("note", self.note)] if self.note else []),
            *(judged or [("verdict", "not certified yet")]),
        ]
        return Printed(("stage", ""), rows)

    def record(self) -> dict[str, object]:
        """The stable JSON form."""
        return {
            "kind": self.kind,
            "start": self.start,
            "end": self.end,
            "loss": self.loss,
            "strength": self.strength,
            **({"note": self.note} if self.note else {}),
            "effective_units": plain(self.effective_units),
            "effective": [layer.record() for layer in self.effective],
            "certificate": None if self.certificate is None else self.certificate.record(),
            **({"reason": "not certified yet"} if self.certificate is None else {}),
        }


@dataclass(frozen=True, eq=False, repr=False)
class Stages(Pictured, Result):
    """The stages of one run, in order; prints as a table.

    rest: whether the run rests where it ends, None where nobody looked. tolerances: those that were
    not the defaults, by decision (see `basis.tolerances`).
    """

    run: Run
    stages: tuple[Stage, ...]
    rest: Rest | None = None
    tolerances: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the stages should know, in sentences."""
        unfinished = () if self.rest is None or self.rest.at_rest else (self.rest.sentence,)
        seeded = tuple(f"{stage.kind} plateau: {stage.note}" for stage in self.stages if stage.note)
        missed = [
            (k, s.certificate)
            for k, s in enumerate(self.stages)
            if s.certificate and not s.certificate.certified
        ]
        others = tuple(
            f"decided with {decision}.{name} = {shown(value)}, not the default"
            for decision, values in self.tolerances.items()
            for name, value in values.items()
        )
        return (
            *others,
            *unfinished,
            *seeded,
            *(f"stage {k}: {c.verdict}; {c.reason}" for k, c in missed),
        )

    @property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """The certified fixed points, in order; refusals have none."""
        points = (stage.fixed_point for stage in self.stages)
        return tuple(point for point in points if point is not None)

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, k: int) -> Stage:
        return self.stages[k]

    def record(self) -> dict[str, object]:
        """One entry of a tour's `runs`, the stable JSON form."""
        e = self.run.experiment
        return {
            "experiment": e.name,
            "architecture": e.network.architecture,
            "seed": e.seed,
            "final_loss": plain(self.run.final_loss),
            "identity": e.identity,
            "status": self.run.trajectory.status,
            **(
                {}
                if self.run.trajectory.status == "stopped"
                else {"reason": self.run.trajectory.reason}
            ),
            "warnings": list(self.run.warnings),
            "rest": None if self.rest is None else self.rest.record(),
            **({"tolerances": plain(self.tolerances)} if self.tolerances else {}),
            "stages": [stage.record() for stage in self.stages],
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = ["stage", "flow time", "loss", "units"]
        certified = any(stage.certificate for stage in self.stages)
        columns += (
            [
                "verdict",
                "fixed-point loss",
                "gradient norm",
                "distance",
                "index",
                "zero modes",
                "utility",
                "case",
            ]
            if certified
            else []
        )
        return tuple(columns), [_row(stage, certified) for stage in self.stages]

    def printed(self) -> Printed:
        experiment = self.run.experiment
        if not self.stages:
            return Printed(head=[f"{experiment.name}: no plateau found"], notes=self.notes)
        title = f"{experiment.name}: {experiment.network.architecture}"
        return Printed(*self.table(), head=[title], notes=self.notes)

    def _columns(self) -> dict[str, list[Any]]:
        """By the names of the schema; of certificates only where there are any."""
        plateaus = ("kind", "start", "end", "loss", "strength")
        columns = {name: [getattr(stage, name) for stage in self.stages] for name in plateaus}
        columns["effective_units"] = [
            sum(layer.minimal for layer in stage.effective) for stage in self.stages
        ]
        return {**columns, **certificate_columns([stage.certificate for stage in self.stages])}

    def to_dataframe(self) -> pd.DataFrame:
        """A row a stage, by the names of `schema.LABELS["stages"]`; what does not exist is missing.
        Needs pandas.

        Example
        -------
        >>> from saddlery import certify, train
        >>> certify(train("linear")).to_dataframe()["index"].tolist()
        [100, 49, 0]
        """
        return labels.frame("stages", self._columns(), self.run.about())

    def to_xarray(self) -> xr.Dataset:
        """The same along `stage`, with the effective units of every layer and the weights. Needs
        xarray."""
        indices = [stage.index for stage in self.stages]
        units = [[layer.minimal for layer in stage.effective] for stage in self.stages]
        layers = len(self.run.experiment.network.layers)
        values = {
            **self._columns(),
            "effective_units_by_layer": np.array(units, int).reshape(len(units), layers),
            "states": self.run.trajectory.states[indices],
        }
        return labels.dataset({"stages": values}, self.run.about())


def certificate_columns(certificates: Sequence[Certificate | None]) -> dict[str, list[Any]]:
    """What certificates say, by the names of the schema; nothing without certificates."""
    if not any(certificates):
        return {}
    records = [{} if each is None else each.record() for each in certificates]
    return {
        "certified": [None if each is None else each.certified for each in certificates],
        "fixed_point_loss": [record.get("loss") for record in records],
        **{name: [record.get(name) for record in records] for name in JUDGED},
    }


def _row(stage: Stage, certified: bool) -> list[object]:
    plateau = [stage.kind, f"{stage.start:.4g} - {stage.end:.4g}", stage.loss, stage.units]
    if not certified:
        return plateau
    verdict = None if stage.certificate is None else stage.certificate.verdict
    return [*plateau, verdict, *fixed_point_cells(stage)]


def fixed_point_cells(stage: Stage) -> list[object]:
    """For a row of a table: loss, gradient norm, distance, index, zero modes, utility and
    construction of the fixed point; None where there is none."""
    point = stage.fixed_point
    if point is None:
        return [None] * 7
    utility = None if point.utility is None else point.utility.value
    slope, counts = tiny(point.gradient_norm), [point.index, point.zero_modes]
    return [point.loss, slope, point.distance, *counts, utility, point.construction]


@in_float64
@giving_up
def stages(subject: Subject) -> Stages:
    """Find the plateaus of a run, or of the run in a folder, and the effective units on each.

    Plateaus come from the loss curve alone (`find_plateaus`, no threshold). The tolerance of the
    reduction on each is derived from the neighbouring drops: a drop dL means a change of the map of
    about sqrt(2 dL), and a fifth of the smaller one is tolerated. Whether the run rests where it
    ends is said by `rest` (see `rest_of`); an end that oscillates is no plateau. Cost: a few passes
    over the samples a plateau.

    Example
    -------
    >>> from saddlery import stages, train
    >>> [stage.effective_units for stage in stages(train("linear")).stages]
    [0, 1, 2]
    """
    spare_programs()
    run = run_of(subject)
    found = find_plateaus(run.trajectory.flow_time, run.trajectory.loss)
    objective = run.objective()
    rest = rest_of(run, found)
    if rest.kind == "oscillates":
        found = tuple(plateau for plateau in found if plateau.kind != "end")
    made = [_stage(run, objective, found, k) for k in range(len(found))]
    return Stages(run, tuple(_noted(run, objective, made)), rest, changed())


def _noted(run: Run, objective: Objective, made: list[Stage]) -> list[Stage]:
    """With a note where a run from exactly on an invariant manifold gains more units than it can
    have there."""
    units = [sum(layer.minimal for layer in stage.effective) for stage in made]
    width = kept_width(run, objective, max(units, default=0))
    if width is None:
        return made
    left = next(k for k, count in enumerate(units) if count > width) - 1
    if left < 0:
        return made
    return [*made[:left], replace(made[left], note=SEEDED.format(width)), *made[left + 1 :]]


def _stage(run: Run, objective: Objective, found: tuple[Plateau, ...], k: int) -> Stage:
    plateau = found[k]
    tolerance = map_tolerance(run, objective, found, k)
    state = np.asarray(run.trajectory.states[plateau.quietest], float)
    reduction = reduce(objective, state, tolerance=tolerance)
    effective = effective_units(objective, state, tolerance=tolerance, reduction=reduction)
    return Stage(
        plateau.kind,
        plateau.start,
        plateau.end,
        plateau.loss,
        plateau.strength,
        plateau.quietest,
        effective,
        reduction,
        tolerance,
    )


def map_tolerance(run: Run, objective: Objective, found: tuple[Plateau, ...], k: int) -> float:
    """min(s, s sqrt(2 min dL) / sqrt(mean |y|^2)), dL the drops of the loss before and after
    plateau k, s = `width.drop`.

    To the neighbouring plateaus, or to the run's first or last loss where there is none. Nothing
    drops before an initial plateau or after the end, and at the end at most `width.end` is tolerated.
    (A fall of the squared loss by dL needs a change of the map of sqrt(2 dL) or more, and so does
    one of the cross-entropy; of a multiple c of it, one of sqrt(2 dL / c). A fall from large random
    weights is larger than the targets, and says nothing of units: hence the cap.)
    """
    here = found[k]
    smaller = smaller_drop(run, found, k)
    limits = WidthTolerances.now()
    loss, shape = objective.function.loss, objective.targets.shape[1:]
    factor = loss.factor(shape) if loss.quadratic else 1.0
    size = float(np.sqrt(2 * smaller / factor)) / (objective.target_scale or 1.0)
    return min(limits.drop * size, limits.end if here.kind == "end" else limits.drop)


def smaller_drop(run: Run, found: Sequence[Plateau] | Sequence[Stage], k: int) -> float:
    """The smaller of the drops of the loss before and after plateau k, to its neighbours or the
    run's first or last loss.

    Nothing drops before an initial plateau or after the end. Where neither drop is more than
    rounding, all that the loss fell in the run.
    """
    loss, here = run.trajectory.loss, found[k]
    before = found[k - 1].loss if k > 0 else float(loss[0])
    after = found[k + 1].loss if k + 1 < len(found) else float(loss[-1])
    drops = [before - here.loss] * (here.kind != "initial") + [here.loss - after] * (
        here.kind != "end"
    )
    total = float(loss.max() - loss.min()) or 1.0
    return min((drop for drop in drops if drop > 1e-9 * total), default=total)


def around(found: Stages, k: int) -> Around:
    """What the run says of the plateau of stage k: its neighbouring drops, and where it came how
    close to a fixed point."""
    run, stage = found.run, found[k]
    states, time = run.trajectory.states, run.trajectory.flow_time
    first = found[k - 1].index if k > 0 else 0
    last = found[k + 1].index if k + 1 < len(found) else len(time) - 1
    within = np.flatnonzero(
        (time[first : last + 1] >= stage.start) & (time[first : last + 1] <= stage.end)
    )

    units = level_units(run.objective(), np.asarray(states[stage.index], float))

    def closest(point: np.ndarray) -> float:
        away = np.asarray(states[first : last + 1], float) - point
        distances = np.linalg.norm(away / units, axis=1)
        here = min(distances[within].min(initial=np.inf), distances[stage.index - first])
        return float(here / max(distances.min(), np.finfo(float).tiny))

    return Around(smaller_drop(run, found.stages, k), float(np.finfo(states.dtype).eps), closest)


def stages_of(subject: Stages | Subject) -> Stages:
    """The stages meant: those that are at hand, or those of a run (see `run_of`)."""
    return subject if isinstance(subject, Stages) else stages(subject)


@in_float64
@giving_up
def certify(
    subject: Stages | Subject,
    *,
    route: str = "auto",
    progress: Callable[[float, str], None] | None = None,
) -> Stages:
    """Certify the fixed point behind every stage of a run.

    subject: a run, its stages or its folder, or an experiment, which is trained. route: "auto", "reduce" or "direct" (see
    `certificates`). progress: called with (fraction done, stage kind). A stage without a fixed
    point nearby gets a certificate that says so.

    A float32 run is certified from its weights in float64; no verdict ever rests on float32
    arithmetic.

    Example
    -------
    >>> from saddlery import certify, train
    >>> [stage.certificate.verdict for stage in certify(train("linear")).stages]
    ['strict saddle', 'strict saddle', 'minimum']
    """
    spare_programs()
    found = stages_of(subject)
    run, objective = found.run, found.run.objective()
    kept = {name: found.tolerances[name] for name in FOUND_BY if name in found.tolerances}
    certified = []
    for k, stage in enumerate(found.stages):
        state = np.asarray(run.trajectory.states[stage.index], float)
        certificate = certify_state(
            objective,
            state,
            tolerance=stage.tolerance,
            reduction=stage.reduction,
            route=route,
            around=around(found, k),
        )
        certified.append(replace(stage, certificate=certificate))
        if progress is not None:
            progress((k + 1) / len(found), stage.kind)
    return replace(found, stages=tuple(certified), tolerances={**kept, **changed()})
