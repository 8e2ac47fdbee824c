"""Stages of a run: its plateaus, the effective units on each, and, when certified,
the fixed point behind each."""

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
    """How many effective units a plateau has: the map that the narrow
    network must reproduce."""

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


# Names of the tolerances that decide of stages before they are certified.
FOUND_BY = ("plateaus", "rest", "width")
# Entries of a certificate's record that data frames and arrays take over.
JUDGED = (
    "verdict",
    "gradient_norm",
    "distance",
    "relative_distance",
    "index",
    "zero_modes",
    "lowest_eigenvalue",
    "escape_order",
    "escape_rate",
    "utility",
    "construction",
    "reason",
)
# Columns of the printed table: of every stage, and of certified ones.
FOUND_COLUMNS = ("stage", "flow time", "loss", "units")
CERTIFIED_COLUMNS = (
    "verdict",
    "fixed-point loss",
    "gradient norm",
    "distance",
    "index",
    "zero modes",
    "utility",
    "case",
)
# A drop below this share of all that the loss fell in a run is rounding.
NO_DROP = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Stage(Result):
    """One plateau of a run.

    kind: "initial", "intermediate" or "end".
    start, end: flow time.
    loss: where the run is nearest to rest.
    strength: of the plateau, in nats (see `find_plateaus`).
    index: of the saved point nearest to rest, among the T of the run.
    effective: the effective units of each layer.
    reduction: the narrow network that reproduces the map within `tolerance`.
    tolerance: relative to the targets; follows from the neighbouring drops of the loss
        (see `map_tolerance`).
    certificate: a `FixedPoint` or a `Refusal`; None until `certify`.
    note: what a reader should know of the plateau, such as that rounding alone
        ends it.

    Example
    -------
    >>> from saddlery import certify, train
    >>> stage = certify(train("linear"))[1]
    >>> stage.kind, stage.effective_units, stage.fixed_point.index
    ('intermediate', 1, 49)
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
        """Units of the smallest network with this map: one number for one layer, else
        one a layer."""
        counts = tuple(layer.minimal for layer in self.effective)
        return counts[0] if len(counts) == 1 else counts

    @property
    def fixed_point(self) -> FixedPoint | None:
        """The certified fixed point behind it; None where there is none, or nobody
        looked."""
        return self.certificate if isinstance(self.certificate, FixedPoint) else None

    @property
    def units(self) -> str:
        """The effective units in a word: one number a layer."""
        return " > ".join(str(layer.minimal) for layer in self.effective)

    def printed(self) -> Printed:
        rows: list[tuple[str, object]] = [
            ("kind", self.kind),
            ("flow time", _interval(self)),
            ("loss on the plateau", self.loss),
            ("strength", self.strength),
            ("effective units", self.units),
            ("map tolerance", self.tolerance),
        ]
        if self.note:
            rows.append(("note", self.note))
        if self.certificate is None:
            rows.append(("verdict", "not certified yet"))
        else:
            rows += self.certificate.rows()
        return Printed(("stage", ""), rows)

    def record(self) -> dict[str, object]:
        """The stable JSON form."""
        kept: dict[str, object] = {
            "kind": self.kind,
            "start": self.start,
            "end": self.end,
            "loss": self.loss,
            "strength": self.strength,
        }
        if self.note:
            kept["note"] = self.note
        kept["effective_units"] = plain(self.effective_units)
        kept["effective"] = [layer.record() for layer in self.effective]
        if self.certificate is None:
            return {**kept, "certificate": None, "reason": "not certified yet"}
        return {**kept, "certificate": self.certificate.record()}


@dataclass(frozen=True, eq=False, repr=False)
class Stages(Pictured, Result):
    """The stages of one run, in order; prints as a table.

    run: whose they are.
    rest: whether the run rests where it ends; None where nobody looked.
    tolerances: those that were not the defaults, by decision
        (see `basis.tolerances`).

    Example
    -------
    >>> from saddlery import stages, train
    >>> found = stages(train("linear"))
    >>> [(stage.kind, round(stage.loss, 3)) for stage in found]
    [('initial', 0.58), ('intermediate', 0.08), ('end', 0.0)]
    >>> found.rest.kind
    'at rest'
    """

    run: Run
    stages: tuple[Stage, ...]
    rest: Rest | None = None
    tolerances: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the stages should know, in sentences."""
        said = [
            f"decided with {decision}.{name} = {shown(value)}, not the default"
            for decision, values in self.tolerances.items()
            for name, value in values.items()
        ]
        if self.rest is not None and not self.rest.at_rest:
            said.append(self.rest.sentence)
        for stage in self.stages:
            if stage.note:
                said.append(f"{stage.kind} plateau: {stage.note}")
        for k, stage in enumerate(self.stages):
            found = stage.certificate
            if found is not None and not found.certified:
                said.append(f"stage {k}: {found.verdict}; {found.reason}")
        return tuple(said)

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
        experiment, trajectory = self.run.experiment, self.run.trajectory
        kept = {
            "experiment": experiment.name,
            "architecture": experiment.network.architecture,
            "seed": experiment.seed,
            "final_loss": plain(self.run.final_loss),
            "identity": experiment.identity,
            "status": trajectory.status,
        }
        if trajectory.status != "stopped":
            kept["reason"] = trajectory.reason
        kept["warnings"] = list(self.run.warnings)
        kept["rest"] = None if self.rest is None else self.rest.record()
        if self.tolerances:
            kept["tolerances"] = plain(self.tolerances)
        kept["stages"] = [stage.record() for stage in self.stages]
        return kept

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        certified = any(stage.certificate for stage in self.stages)
        rows = [_row(stage, certified) for stage in self.stages]
        if not certified:
            return FOUND_COLUMNS, rows
        return FOUND_COLUMNS + CERTIFIED_COLUMNS, rows

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
        columns["effective_units"] = [_total_units(stage) for stage in self.stages]
        return {**columns, **certificate_columns([stage.certificate for stage in self.stages])}

    def to_dataframe(self) -> pd.DataFrame:
        """A row a stage, by the names of `schema.LABELS["stages"]`; what does not exist
        is missing. Needs pandas.

        Example
        -------
        >>> from saddlery import certify, train
        >>> certify(train("linear")).to_dataframe()["index"].tolist()
        [100, 49, 0]
        """
        return labels.frame("stages", self._columns(), self.run.about())

    def to_xarray(self) -> xr.Dataset:
        """The same along `stage`, S of them, with the effective units of every layer
        (S, layers) and the weights (S, P). Needs xarray."""
        indices = [stage.index for stage in self.stages]
        units = [[layer.minimal for layer in stage.effective] for stage in self.stages]
        layers = len(self.run.experiment.network.layers)
        values = {
            **self._columns(),
            "effective_units_by_layer": np.array(units, int).reshape(len(units), layers),
            "states": self.run.trajectory.states[indices],
        }
        return labels.dataset({"stages": values}, self.run.about())


def _interval(stage: Stage) -> str:
    """The flow time of a stage in a word."""
    return f"{stage.start:.4g} - {stage.end:.4g}"


def _total_units(stage: Stage) -> int:
    """The effective units of all layers together."""
    return sum(layer.minimal for layer in stage.effective)


def certificate_columns(
    certificates: Sequence[Certificate | None],
) -> dict[str, list[Any]]:
    """What certificates say, a column each by the names of the schema; nothing without
    certificates.

    Example
    -------
    >>> from saddlery import certify, train
    >>> found = certify(train("linear"))
    >>> columns = certificate_columns([stage.certificate for stage in found])
    >>> columns["index"], columns["escape_order"]
    ([100, 49, 0], [2, 2, None])
    """
    if not any(certificates):
        return {}
    records = [{} if each is None else each.record() for each in certificates]
    columns: dict[str, list[Any]] = {
        "certified": [None if each is None else each.certified for each in certificates],
        "fixed_point_loss": [record.get("loss") for record in records],
    }
    for name in JUDGED:
        columns[name] = [record.get(name) for record in records]
    return columns


def _row(stage: Stage, certified: bool) -> list[object]:
    plateau: list[object] = [stage.kind, _interval(stage), stage.loss, stage.units]
    if not certified:
        return plateau
    verdict = None if stage.certificate is None else stage.certificate.verdict
    return [*plateau, verdict, *fixed_point_cells(stage)]


def fixed_point_cells(stage: Stage) -> list[object]:
    """For a row of a table: loss, gradient norm, distance, index, zero modes, utility
    and construction of the fixed point; None where there is none."""
    point = stage.fixed_point
    if point is None:
        return [None] * 7
    utility = None if point.utility is None else point.utility.value
    return [
        point.loss,
        tiny(point.gradient_norm),
        point.distance,
        point.index,
        point.zero_modes,
        utility,
        point.construction,
    ]


@in_float64
@giving_up
def stages(subject: Subject) -> Stages:
    """The plateaus of a run, and the effective units on each.

    Plateaus come from the loss curve alone (`find_plateaus`, no threshold on the
    loss). On each the weights (P,) nearest to rest are reduced to the narrowest network
    that has their map, within a tolerance that follows from the neighbouring drops
    (`map_tolerance`). Whether the run rests where it ends is said by `rest` (see
    `rest_of`); an end that oscillates is no plateau.

    subject: a run or its folder, or an experiment (also its shipped name, TOML path or
        table), which is trained.

    Raises InputError for what is no run and no experiment. Cost: a few passes over the
    samples a plateau.

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
    """With a note where a run from exactly on an invariant manifold gains more units
    than it can have there."""
    units = [_total_units(stage) for stage in made]
    width = kept_width(run, objective, max(units, default=0))
    if width is None:
        return made
    first_wider = next(k for k, count in enumerate(units) if count > width)
    if first_wider == 0:
        return made
    noted = list(made)
    noted[first_wider - 1] = replace(made[first_wider - 1], note=SEEDED.format(width))
    return noted


def _stage(run: Run, objective: Objective, found: tuple[Plateau, ...], k: int) -> Stage:
    plateau = found[k]
    tolerance = map_tolerance(run, objective, found, k)
    state = np.asarray(run.trajectory.states[plateau.quietest], float)
    reduction = reduce(objective, state, tolerance=tolerance)
    effective = effective_units(objective, state, tolerance=tolerance, reduction=reduction)
    return Stage(
        kind=plateau.kind,
        start=plateau.start,
        end=plateau.end,
        loss=plateau.loss,
        strength=plateau.strength,
        index=plateau.quietest,
        effective=effective,
        reduction=reduction,
        tolerance=tolerance,
    )


def map_tolerance(run: Run, objective: Objective, found: tuple[Plateau, ...], k: int) -> float:
    """The map error that is tolerated on plateau k, relative to the targets.

        min(s, s sqrt(2 dL / c) / sqrt(mean |y|^2)),  s = `width.drop`

    dL is the smaller of the neighbouring drops of the loss (`smaller_drop`). A fall of
    the squared loss by dL needs a change of the map of sqrt(2 dL) or more, and so does
    one of the cross-entropy; of a multiple c of the squared loss, one of sqrt(2 dL /
    c). So a fifth of the change that a drop stands for is tolerated.

    A fall from large random weights is larger than the targets, and says nothing of
    units: hence at most s; at the end, after which nothing drops, at most `width.end`.
    """
    limits = WidthTolerances.now()
    most = limits.end if found[k].kind == "end" else limits.drop
    change = _least_change(objective, smaller_drop(run, found, k))
    return min(limits.drop * change, most)


def _least_change(objective: Objective, drop: float) -> float:
    """sqrt(2 dL / c) / sqrt(mean |y|^2): the change of the map, relative to the targets,
    that lowers the loss by dL."""
    loss, factor = objective.function.loss, 1.0
    if loss.quadratic:
        factor = loss.factor(objective.targets.shape[1:])
    return float(np.sqrt(2 * drop / factor)) / (objective.target_scale or 1.0)


def smaller_drop(run: Run, found: Sequence[Plateau] | Sequence[Stage], k: int) -> float:
    """The smaller of the drops of the loss before and after plateau k, to its
    neighbours or the run's first or last loss.

    Nothing drops before an initial plateau or after the end. Where neither drop is more
    than rounding, all that the loss fell in the run.

    Example
    -------
    Two modes, s = 1 and 0.4, whose drops of the loss are s^2 / 2 each.

    >>> from saddlery import stages, train
    >>> found = stages(train("linear"))
    >>> [round(smaller_drop(found.run, found.stages, k), 3) for k in range(3)]
    [0.5, 0.08, 0.08]
    """
    loss, here = run.trajectory.loss, found[k]
    drops = []
    if here.kind != "initial":
        before = found[k - 1].loss if k > 0 else float(loss[0])
        drops.append(before - here.loss)
    if here.kind != "end":
        after = found[k + 1].loss if k + 1 < len(found) else float(loss[-1])
        drops.append(here.loss - after)
    total = float(loss.max() - loss.min()) or 1.0
    return min((drop for drop in drops if drop > NO_DROP * total), default=total)


def around(found: Stages, k: int) -> Around:
    """What the run says of the plateau of stage k: its neighbouring drops, and where it
    came how close to a fixed point (P,).

    Example
    -------
    Between its neighbours the run comes closest to the saddle on the plateau itself.

    >>> from saddlery import certify, train
    >>> found = certify(train("linear"))
    >>> around(found, 1).closest(found[1].fixed_point.state)
    1.0
    """
    run, stage = found.run, found[k]
    trajectory = run.trajectory
    first = found[k - 1].index if k > 0 else 0
    last = found[k + 1].index if k + 1 < len(found) else len(trajectory.flow_time) - 1
    time = trajectory.flow_time[first : last + 1]
    states = trajectory.states[first : last + 1]
    within = np.flatnonzero((time >= stage.start) & (time <= stage.end))
    quietest = np.asarray(trajectory.states[stage.index], float)
    units = level_units(run.objective(), quietest)

    def closest(point: np.ndarray) -> float:
        away = np.asarray(states, float) - point
        distances = np.linalg.norm(away / units, axis=1)
        # A plateau may lie between two saved points: its quietest one counts.
        here = min(distances[within].min(initial=np.inf), distances[stage.index - first])
        return float(here / max(distances.min(), np.finfo(float).tiny))

    return Around(
        drop=smaller_drop(run, found.stages, k),
        epsilon=float(np.finfo(states.dtype).eps),
        closest=closest,
    )


def half_way(found: Stages, k: int) -> int:
    """The first saved point after stage k at which the loss is half-way to that of the
    next stage."""
    here, after = found[k], found[k + 1]
    fallen = found.run.trajectory.loss[here.index :] <= 0.5 * (here.loss + after.loss)
    return here.index + int(np.flatnonzero(fallen)[0])


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
    """The stages of a run, each with the certificate of the fixed point behind it.

    A stage without a fixed point nearby gets a certificate that says so. A float32 run
    is certified from its weights (P,) in float64; no verdict ever rests on float32
    arithmetic.

    subject: a run, its stages or its folder, or an experiment, which is trained.
    route: "auto", "reduce" or "direct" (see `certify_state`).
    progress: called with (fraction done, stage kind).

    Raises InputError for another route. Cost: one `certify_state` a stage.

    Example
    -------
    >>> from saddlery import certify, train
    >>> [stage.certificate.verdict for stage in certify(train("linear")).stages]
    ['strict saddle', 'strict saddle', 'minimum']
    """
    spare_programs()
    found = stages_of(subject)
    kept = {name: found.tolerances[name] for name in FOUND_BY if name in found.tolerances}
    certified = []
    for k, stage in enumerate(found.stages):
        certified.append(replace(stage, certificate=_certificate(found, k, route)))
        if progress is not None:
            progress((k + 1) / len(found), stage.kind)
    return replace(found, stages=tuple(certified), tolerances={**kept, **changed()})


def _certificate(found: Stages, k: int, route: str) -> Certificate:
    """Of what is behind stage k."""
    run, stage = found.run, found[k]
    return certify_state(
        run.objective(),
        np.asarray(run.trajectory.states[stage.index], float),
        tolerance=stage.tolerance,
        reduction=stage.reduction,
        route=route,
        around=around(found, k),
    )
