"""Stages of a run: its plateaus, the effective units on each, and, when certified, the fixed point
behind each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..basis.interruptions import giving_up
from ..basis.precision import in_float64, spare_programs
from ..basis.records import html_table, plain, text_table, tiny
from ..basis.text import visible
from ..basis.values import Value
from ..networks import Objective
from ..runs import Run
from ..runs.store import Subject, run_of
from ..saddles import Certificate, certify_state
from ..saddles.behind import Around, level_units
from ..symmetry import EffectiveUnits, Reduction, effective_units, reduce
from .plateau import Plateau, find_plateaus
from .rest import Rest, rest_of
from .seeding import SEEDED, kept_width

# a map error is tolerated up to this share of the smaller neighbouring drop's size, sqrt(2 dL)
SHARE = 0.2
# of the targets: what is tolerated at most on the last plateau, where nothing is still to come
CONVERGED = 0.02


@dataclass(frozen=True, eq=False)
class Stage(Value):
    """One plateau of a run.

    kind: initial, intermediate or end. start, end: flow time. loss: where the run is nearest to
    rest. strength: of the plateau (see `find_plateaus`). index: the saved point nearest to rest.
    effective: effective units of each layer.
    reduction: the narrow network that reproduces the map within `tolerance` (relative to the
    targets), which is derived from the neighbouring drops of the loss. certificate: None until
    `certify`. note: what a reader should know of the plateau, such as that rounding alone ends it.
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
            "effective": [
                {"active": e.active, "rays": e.rays, "rank": e.rank, "minimal": e.minimal}
                for e in self.effective
            ],
            "certificate": None if self.certificate is None else plain(self.certificate.record()),
            **({"reason": "not certified yet"} if self.certificate is None else {}),
        }


@dataclass(frozen=True, eq=False)
class Stages(Value):
    """The stages of one run, in order; prints as a table.

    rest: whether the run rests where it ends, None where nobody looked.
    """

    run: Run
    stages: tuple[Stage, ...]
    rest: Rest | None = None

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
        return (*unfinished, *seeded, *(f"stage {k}: {c.verdict}; {c.reason}" for k, c in missed))

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
                "|gradient|",
                "distance",
                "index",
                "zero",
                "utility",
                "case",
            ]
            if certified
            else []
        )
        return tuple(columns), [_row(stage, certified) for stage in self.stages]

    def __repr__(self) -> str:
        columns, rows = self.table()
        name = visible(self.run.experiment.name)
        title = f"{name}: {self.run.experiment.network.architecture}"
        shown = f"{title}\n{text_table(columns, rows)}" if rows else f"{name}: no plateau found"
        return "\n".join([shown, *self.notes])

    def _repr_html_(self) -> str:
        return html_table(*self.table(), caption=repr(self.run.experiment))


def _row(stage: Stage, certified: bool) -> list[object]:
    units = stage.effective_units
    row: list[object] = [
        stage.kind,
        f"{stage.start:.4g} - {stage.end:.4g}",
        stage.loss,
        units if isinstance(units, int) else " > ".join(map(str, units)),
    ]
    c = stage.certificate
    if not certified:
        return row
    if c is None:
        return row + [None] * 8
    return [
        *row,
        c.verdict,
        c.loss,
        tiny(c.gradient_norm),
        c.distance,
        c.index,
        c.zero_modes,
        None if c.utility is None else c.utility.value,
        c.construction,
    ]


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
    return Stages(run, tuple(_noted(run, objective, made)), rest)


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
    """min(SHARE, SHARE sqrt(2 min dL) / sqrt(mean |y|^2)), dL the drops of the loss before and
    after plateau k.

    To the neighbouring plateaus, or to the run's first or last loss where there is none. Nothing
    drops before an initial plateau or after the end, and at the end at most CONVERGED is tolerated.
    (A fall of the squared loss by dL needs a change of the map of sqrt(2 dL) or more, and so does
    one of the cross-entropy. A fall from large random weights is larger than the targets, and says
    nothing of units: hence the cap.)
    """
    here = found[k]
    smaller = smaller_drop(run, found, k)
    derived = SHARE * float(np.sqrt(2 * smaller)) / (objective.target_scale or 1.0)
    return min(derived, CONVERGED if here.kind == "end" else SHARE)


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
    return replace(found, stages=tuple(certified))
