"""Are all fixed points that training visits embedded ones? Random experiments of many
architectures, each plateau classified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..basis.checks import SaddleryError
from ..basis.records import number as printed
from ..experiments import Experiment
from ..initializations import Initialization
from ..networks import Layer, Network, Objective
from ..plateaus import Stage, certify
from ..rules import GradientFlow, Rule
from ..runs import train
from ..saddles import Certificate, FixedPoint
from ..symmetry import silent_units
from ..tasks import (
    ConvolutionalLinearTeacher,
    InContextRegression,
    LinearTeacher,
    OrthogonalPatches,
    OrthogonalReLU,
    Task,
    Teacher,
)
from ..training import Stop
from ..units import make
from .base import Claim, Row, Study, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASSES = ("embedded", "duplicate", "full", "none")
# of the seeds of the others: architectures whose certificates take several seconds get one in so
# many
COSTLY = 3
SHARED = (
    6  # experiments of an architecture that share its first width, and so its compiled programs
)
STIFF = GradientFlow(solver="kvaerno5")  # steps grow with a plateau, and the end is really at rest
KINKED = GradientFlow(
    relative_tolerance=1e-4
)  # a state that slides along a kink crosses it at every step
LIKELY = {  # the beginning of a reason, and what it means as far as examples of it were looked into
    "far": (
        "the run is only slow there: it turns or leaves before it comes near the "
        "fixed point of as few units"
    ),
    "diverged": (
        "the narrower network has no fixed point nearby: its loss falls towards infinite weights"
    ),
    "stalled": (
        "no smooth fixed point is near; in ReLU networks the narrower network rests on a "
        "kink, where no gradient is zero"
    ),
    "not embedded": (
        "a fixed point in its own right, which what is left of the initial weights "
        "keeps off the embedded one"
    ),
    "another loss": (
        "the nearest fixed point belongs to another plateau, or the run was on its "
        "way when it was measured"
    ),
    "no slowing down": (
        "the run is slow for another reason than this fixed point: a valley, or another one nearby"
    ),
    "passed elsewhere": "the run comes closer to that fixed point outside the plateau",
    "left the basin": "the only fixed point found is farther away than the state is large",
}
OPEN = "open question of Zhang, Saxe & Latham 2026, Theorem 1; "


# ------------------------------------------------------------------- the design
def spectrum(rng: np.random.Generator, count: int, low: float, high: float) -> tuple[float, ...]:
    """`count` log-uniform values, for every third draw two of them equal within 20% down to
    0.2%."""
    values = np.exp(rng.uniform(np.log(low), np.log(high), count))
    if rng.random() < 1 / 3:
        values[1] = values[0] * (1 - 10.0 ** rng.uniform(-2.7, -0.7))
    return tuple(values.tolist())


def signed(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    """`count` numbers of random signs, their sizes log-uniform from 0.3 to 2."""
    return tuple(
        (
            np.exp(rng.uniform(np.log(0.3), np.log(2), count)) * rng.choice([-1.0, 1.0], count)
        ).tolist()
    )


def linear_task(rng: np.random.Generator) -> Task:
    """Two to four modes, with white inputs or with variances of their own that do not commute with
    the modes."""
    variances = tuple(np.exp(rng.uniform(-1, 1, 4)).tolist()) if rng.random() < 0.5 else ()
    return LinearTeacher(
        spectrum(rng, int(rng.integers(2, 5)), 0.3, 2), inputs=4, outputs=4, covariance=variances
    )


def relu_conv_task(rng: np.random.Generator) -> Task:
    options = {"kernel": [3], "stride": 3}
    if rng.random() < 0.5:
        return OrthogonalPatches(signed(rng, 3), kernel=3, positions=2)
    return Teacher("conv_relu", 2, (1, 6), 1, 6, signed(rng, 2), options_of_unit=options)


def few_samples(rng: np.random.Generator) -> Task:
    """Six random inputs with targets from a ReLU teacher, or from fast sines, which are as good as
    random."""
    if rng.random() < 0.5:
        return Teacher("relu", 3, (3,), 1, 6, signed(rng, 3))
    return Teacher("sine", 6, (3,), 1, 6, (0.5,) * 6, norm=4.0)


def smooth(
    unit: str, outputs: int, norms: tuple[float, ...]
) -> Callable[[np.random.Generator], Task]:
    """Teachers of the students' kind: three units in two dimensions, of various norms."""
    return lambda rng: Teacher(
        unit, 3, (2,), outputs, 24, signed(rng, 3), norm=float(rng.choice(norms))
    )


def axes_or_not(rng: np.random.Generator) -> Task:
    """Two units of x tanh x, each seen alone by its samples or both at once."""
    return Teacher(
        "x_tanh_x", 2, (2,), 1, 24, signed(rng, 2), design=str(rng.choice(["axes", "gaussian"]))
    )


@dataclass(frozen=True, eq=False)
class Architecture:
    """What its experiments are drawn from, and the share of embedded plateaus that theory leads one
    to expect.

    layers: the kind of unit of each, with options. widths: the first of the first SHARED
    experiments, then either.
    """

    layers: tuple[str, ...]
    task: Callable[[np.random.Generator], Task]
    widths: tuple[int, int]
    scales: tuple[float, ...]
    stop: Stop
    rule: Rule
    least: float
    theory: str
    options: tuple[tuple[str, object], ...] = ()
    costly: bool = False

    def network(self, width: int) -> Network:
        units = [make(name, **dict(self.options)) for name in self.layers]
        last = len(units) - 1
        return Network(tuple(Layer(unit, width, mixes=k == last) for k, unit in enumerate(units)))

    def experiment(self, name: str, number: int) -> Experiment:
        """The experiment of a number, always the same."""
        rng = np.random.default_rng([number, *name.encode()])
        width = self.widths[0 if number < SHARED else int(rng.integers(2))]
        start = Initialization(scale=float(rng.choice(self.scales)))
        return Experiment(
            self.task(rng), self.network(width), self.stop, start, self.rule, number, name
        )


RAYS = "saddles of homogeneous units are known on orthogonal inputs only"
UNITS = "units of degree two grow one by one, and the others stay silent"
SPAN = "all critical points of linear units are spanned by those of narrower layers"
BENT = (
    "theory promises nothing: layers of few directions are no invariant "
    "manifolds of tanh-like units"
)
PATIENT = Stop(flow_time=1e6, gradient_norm=1e-9)
QUICK = Stop(flow_time=300.0, steps=100_000, gradient_norm=1e-8)
KERNEL = (("kernel", (3,)), ("stride", 3))
SMALL, LARGER = (1e-3, 1e-4, 1e-6), (1e-2, 3e-3)
ARCHITECTURES = {
    "linear": Architecture(("linear",), linear_task, (10, 5), SMALL, PATIENT, STIFF, 0.99, SPAN),
    "linear_conv": Architecture(
        ("conv_linear",),
        lambda rng: ConvolutionalLinearTeacher(spectrum(rng, 3, 0.3, 2), kernel=3, positions=3),
        (8, 4), SMALL, PATIENT, STIFF, 0.99, SPAN, KERNEL,
    ),
    "three_linear": Architecture(
        ("linear", "linear"),
        lambda rng: LinearTeacher(spectrum(rng, 3, 0.5, 2), inputs=3, outputs=3),
        (5, 4), (3e-2, 1e-2), PATIENT, STIFF, 0.99, SPAN + ", layer by layer", costly=True,
    ),
    "relu_orthogonal": Architecture(
        ("relu",), lambda rng: OrthogonalReLU(signed(rng, 4)), (10, 20), SMALL, QUICK, KINKED, 0.95, RAYS
    ),
    "relu_few_samples": Architecture(("relu",), few_samples, (10, 20), SMALL, QUICK, KINKED, 0.95, RAYS),
    "relu_conv": Architecture(("conv_relu",), relu_conv_task, (10, 20), SMALL, QUICK, KINKED, 0.95, RAYS, KERNEL),
    "quadratic": Architecture(
        ("quadratic",),
        lambda rng: Teacher("quadratic", 3, (3,), 1, 60, signed(rng, 3)),
        (8, 12), LARGER, PATIENT, STIFF, 0.95, UNITS,
    ),
    "x_tanh_x": Architecture(("x_tanh_x",), axes_or_not, (8, 12), LARGER, PATIENT, STIFF, 0.95, UNITS),
    "attention_rank1": Architecture(
        ("in_context_linear",),
        lambda rng: InContextRegression(spectrum(rng, 3, 0.2, 1), rotate=True),
        (6, 9), LARGER, PATIENT, STIFF, 0.95, UNITS, (("rank", 1),),
    ),
    "attention_rank2": Architecture(
        ("in_context_linear",),
        lambda rng: InContextRegression(spectrum(rng, 3, 0.2, 1), rotate=True),
        (5, 8), LARGER, PATIENT, STIFF, 0.95, UNITS, (("rank", 2),),
    ),
    "tanh": Architecture(
        ("tanh",), smooth("tanh", 2, (0.5, 1.0, 3.0)), (8, 12), SMALL, PATIENT, STIFF, 0.95, BENT, costly=True
    ),
    "gelu": Architecture(
        ("gelu",), smooth("gelu", 2, (0.5, 1.0, 3.0)), (8, 12), SMALL, PATIENT, STIFF, 0.95, BENT, costly=True
    ),
}  # fmt: skip


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, architecture in ARCHITECTURES.items():
        for number in range(
            max(seeds // COSTLY, min(seeds, SHARED)) if architecture.costly else seeds
        ):
            e = architecture.experiment(name, number)
            labels = {"architecture": name, "task": e.task.kind, "width": e.network.widths[0]}
            yield {**labels, "scale": e.initialization.scale}, e


# ------------------------------------------------------------- the classification
def classify(objective: Objective, certificate: Certificate) -> tuple[str, str]:
    """Which class of fixed point is behind a plateau, and why.

    embedded: a certified fixed point beside the state that is one of fewer units in some layer, by
    construction ii (it has exactly silent units), iii or iv (the units are homogeneous or linear).
    duplicate: only i makes it of a narrower one.
    full: it needs all units, or no narrower network's fixed point is known to make it. none: no
        fixed point beside the state.
    """
    if not isinstance(certificate, FixedPoint):
        return "none", certificate.reason
    widths = zip(certificate.narrow_units, objective.network.widths, strict=True)
    fewer = [k for k, (narrow, wide) in enumerate(widths) if narrow < wide]
    if not fewer:
        return "full", f"all units: {objective.network.widths} are needed"
    if certificate.narrow is None:
        return (
            "full",
            (
                f"not embedded: {certificate.narrow_units} units have the same map, but "
                "no fixed point beside it"
            ),
        )
    if any(_embeds(objective, certificate, k) for k in fewer):
        return "embedded", f"construction {certificate.construction}"
    return (
        "duplicate",
        "duplicates: no unit is silent, and construction i alone explains the fixed point",
    )


def _embeds(objective: Objective, point: FixedPoint, index: int) -> bool:
    """Whether ii, iii or iv made the units of a layer that a narrower network lacks."""
    symmetry = objective.network.layers[index].unit.symmetry
    silent = symmetry.silent and bool(silent_units(objective, point.state, index).any())
    return silent or symmetry.homogeneous is not None


def measure(experiment: Experiment) -> Row:
    """Counts of each class on initial, intermediate and end plateaus; every plateau that is not
    embedded, in words.

    share: of the plateaus before the end that are embedded; between: of those between the first and
    the end. farthest: the largest distance of an embedded fixed point, over the norm of the state.
    verdicts: on the embedded ones before the end.
    settled: whether the run ended at rest (has an end plateau). A run that fails is an exception
        too.
    """
    try:
        found = certify(train(experiment))
    except SaddleryError as error:
        return {**summary([]), "exceptions": [_failure(experiment, error)]}
    objective = found.run.objective()
    entries = []
    for stage in found.stages:
        assert stage.certificate is not None  # from `certify`
        entries.append((stage, *classify(objective, stage.certificate)))
    exceptions = [_exception(experiment, *entry) for entry in entries if entry[1] != "embedded"]
    return {**summary(entries), "exceptions": exceptions}


def summary(entries: Sequence[tuple[Stage, str, str]]) -> Row:
    """The numbers of one run from its classified stages; NaN where there is no such plateau."""
    counts = {
        kind: Counter(c for s, c, _ in entries if s.kind == kind)
        for kind in ("initial", "intermediate", "end")
    }
    embedded = [
        (s.kind, s.fixed_point)
        for s, c, _ in entries
        if c == "embedded" and s.fixed_point is not None
    ]
    away = [c.relative_distance for _, c in embedded if any(c.narrow_units)]
    return {
        "share": _share(counts["initial"] + counts["intermediate"]),
        "between": _share(counts["intermediate"]),
        "farthest": max(away, default=float("nan")),
        "verdicts": dict(Counter(c.verdict for kind, c in embedded if kind != "end")),
        "settled": float(any(s.kind == "end" for s, _, _ in entries)),
        "counts": {kind: {name: found[name] for name in CLASSES} for kind, found in counts.items()},
    }


def _share(counts: Counter[str]) -> float:
    return counts["embedded"] / counts.total() if counts.total() else float("nan")


def _exception(experiment: Experiment, stage: Stage, name: str, reason: str) -> Row:
    """Everything needed to look at one plateau again."""
    certificate, point = stage.certificate, stage.fixed_point
    assert certificate is not None
    return {
        "identity": experiment.identity,
        "number": experiment.seed,
        "stage": stage.kind,
        "class": name,
        "reason": reason,
        "verdict": certificate.verdict,
        "certificate": certificate.reason,
        "loss": stage.loss,
        "fixed_point_loss": None if point is None else point.loss,
        "relative_distance": None if point is None else point.relative_distance,
        "effective_units": stage.effective_units,
        "narrow_units": certificate.narrow_units,
        "widths": experiment.network.widths,
        "flow_time": [stage.start, stage.end],
        "strength": stage.strength,
        "tolerance": stage.tolerance,
    }


def _failure(experiment: Experiment, error: Exception) -> Row:
    words = {"stage": "run", "class": "failed", "reason": str(error), "loss": float("nan")}
    return {"identity": experiment.identity, "number": experiment.seed, **words}


# ------------------------------------------------------------ what people look at
def notes(rows: Sequence[Row]) -> list[str]:
    """Per architecture its plateaus, and its exceptions by stage and reason with one example each;
    then what reasons mean."""
    beside = [_total(rows, "intermediate", name) for name in CLASSES if name != "none"]
    sentences = [
        f"{sum(beside)} of {_total(rows, 'intermediate')} intermediate plateaus have a fixed"
        " point beside them, and"
        f" {_total(rows, 'intermediate', 'embedded')} of these are embedded"
    ]
    for name in ARCHITECTURES:
        chosen = [row for row in rows if row["architecture"] == name]
        if not chosen:
            continue
        counted = [
            f"{_total(chosen, kind, 'embedded')} of {_total(chosen, kind)} {kind}" for kind in KINDS
        ]
        rest = sum(row["settled"] for row in chosen)
        minima = sum(row["verdicts"].get("minimum", 0) for row in chosen)
        further = f"; {minima} of them before the end are minima" if minima else ""
        sentences.append(
            f"{name}: embedded {', '.join(counted)}{further}; {rest:.0f} of "
            f"{len(chosen)} runs ended at rest"
        )
        sentences += _grouped([e for row in chosen for e in row["exceptions"]])
    seen = {_kind(e) for row in rows for e in row["exceptions"]}
    return [*sentences, *(f"{kind}: {words}" for kind, words in LIKELY.items() if kind in seen)]


KINDS = ("initial", "intermediate", "end")


def _total(rows: Sequence[Row], kind: str, name: str | None = None) -> int:
    return sum(row["counts"][kind][c] for row in rows for c in ((name,) if name else CLASSES))


def _grouped(exceptions: Sequence[Row]) -> list[str]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for e in exceptions:
        groups.setdefault((e["stage"], e["class"], _kind(e)), []).append(e)
    ordered = sorted(groups.items(), key=lambda pair: (pair[0][0] == "end", -len(pair[1])))
    return [
        f"- {len(group)} {' '.join(words)}, as {_example(group[0])}" for words, group in ordered
    ]


def _kind(e: Row) -> str:
    return e["reason"].partition(":")[0]


def _example(e: Row) -> str:
    return f"number {e['number']} ({e['identity']}, loss {printed(e['loss'])})"


def draw(rows: Sequence[Row], axes: Axes) -> None:
    """Shares of the classes for every architecture: before the end (wide bars) and at the end
    (narrow ones)."""
    colours = dict(zip(CLASSES, ("#1b4965", "#e9c46a", "#bc4b51", "#bbbbbb"), strict=True))
    names = [name for name in ARCHITECTURES if any(row["architecture"] == name for row in rows)]
    for shift, width, kinds in ((-0.14, 0.45, ("initial", "intermediate")), (0.24, 0.2, ("end",))):
        base = np.zeros(len(names))
        for c in CLASSES:
            height = np.array([_part(rows, name, kinds, c) for name in names])
            label = c if shift < 0 else None
            axes.bar(
                np.arange(len(names)) + shift, height, width, base, color=colours[c], label=label
            )
            base += height
    axes.set_xticks(
        range(len(names)), [n.replace("_", " ") for n in names], fontsize=7, rotation=40, ha="right"
    )
    axes.set_ylabel("share of plateaus (narrow: of ends)")
    axes.legend(frameon=False, ncols=4, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.12))


def _part(rows: Sequence[Row], name: str, kinds: Sequence[str], c: str) -> float:
    chosen = [row for row in rows if row["architecture"] == name]
    every = sum(_total(chosen, kind) for kind in kinds)
    return sum(_total(chosen, kind, c) for kind in kinds) / max(every, 1)


def _claims(name: str) -> tuple[Claim, Claim]:
    a = ARCHITECTURES[name]
    make_claim = lambda end, words, quantity, value: Claim(
        f"exhaustive.{name}{end}",
        f"{words} of {name.replace('_', ' ')} networks is an embedded fixed point.",
        OPEN + a.theory,
        quantity,
        a.least,
        1.0,
        lambda rows: of(rows, value, architecture=name),
        kind=Share(),
    )
    return (
        make_claim("", "Every plateau before the end", "share of plateaus before the end", "share"),
        make_claim(
            ".between",
            "Every plateau between two drops",
            "share of intermediate plateaus",
            "between",
        ),
    )


STUDY = Study(
    "exhaustive",
    "Are the fixed points that training visits all embedded by Theorem 1, cases ii to iv?",
    design,
    measure,
    tuple(claim for name in ARCHITECTURES for claim in _claims(name)),
    draw,
    quick=6,
    full=204,
    notes=notes,
)
