"""Are all fixed points that training visits embedded ones? Random
experiments of many architectures, each plateau classified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from .base import Claim, Row, Study, labelled, of
from .intervals import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASSES = ("embedded", "duplicate", "full", "none")
KINDS = ("initial", "intermediate", "end")
# Architectures whose certificates take several seconds get one in so many of the seeds of the
# others.
COSTLY = 3
# So many experiments of an architecture share its first width, and so its compiled programs.
SAME_WIDTH = 6
# An implicit rule: its steps grow with a plateau, and the end is really at rest.
IMPLICIT = GradientFlow(solver="kvaerno5")
# A coarse rule: a state that slides along a kink crosses it at every step.
COARSE = GradientFlow(relative_tolerance=1e-4)
# The beginning of a reason, and what it means as far as examples of it were looked into.
LIKELY = {
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
Draw = Callable[[np.random.Generator], Task]


# ------------------------------------------------------------------- the design
def spectrum(
    rng: np.random.Generator,
    count: int,
    low: float,
    high: float,
) -> tuple[float, ...]:
    """`count` log-uniform values, for every third draw two of them equal
    within 20% down to 0.2%."""
    logs = rng.uniform(np.log(low), np.log(high), count)
    values = np.exp(logs)
    if rng.random() < 1 / 3:
        values[1] = values[0] * (1 - 10.0 ** rng.uniform(-2.7, -0.7))
    return tuple(values.tolist())


def signed(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    """`count` numbers of random signs, their sizes log-uniform from 0.3 to 2."""
    sizes = np.exp(rng.uniform(np.log(0.3), np.log(2), count))
    signs = rng.choice([-1.0, 1.0], count)
    return tuple((sizes * signs).tolist())


def linear_task(rng: np.random.Generator) -> Task:
    """Two to four modes, with white inputs or with variances of their own
    that do not commute with the modes."""
    variances: tuple[float, ...] = ()
    if rng.random() < 0.5:
        variances = tuple(np.exp(rng.uniform(-1, 1, 4)).tolist())
    modes = int(rng.integers(2, 5))
    return LinearTeacher(
        spectrum(rng, modes, 0.3, 2),
        inputs=4,
        outputs=4,
        covariance=variances,
    )


def relu_conv_task(rng: np.random.Generator) -> Task:
    """Patches that are orthogonal, or samples of a teacher of two kernels."""
    if rng.random() < 0.5:
        return OrthogonalPatches(signed(rng, 3), kernel=3, positions=2)
    return Teacher(
        "conv_relu",
        count=2,
        inputs=(1, 6),
        outputs=1,
        samples=6,
        strengths=signed(rng, 2),
        options_of_unit={"kernel": [3], "stride": 3},
    )


def few_samples(rng: np.random.Generator) -> Task:
    """Six random inputs with targets from a ReLU teacher, or from fast
    sines, which are as good as random."""
    if rng.random() < 0.5:
        return Teacher("relu", 3, (3,), 1, 6, signed(rng, 3))
    return Teacher("sine", 6, (3,), 1, 6, (0.5,) * 6, norm=4.0)


def smooth(unit: str, outputs: int, norms: tuple[float, ...]) -> Draw:
    """Teachers of the students' kind: three units in two dimensions, of various norms."""

    def draw_task(rng: np.random.Generator) -> Task:
        strengths = signed(rng, 3)
        norm = float(rng.choice(norms))
        return Teacher(unit, 3, (2,), outputs, 24, strengths, norm=norm)

    return draw_task


def axes_or_not(rng: np.random.Generator) -> Task:
    """Two units of x tanh x, each seen alone by its samples or both at once."""
    strengths = signed(rng, 2)
    seen = str(rng.choice(["axes", "gaussian"]))
    return Teacher("x_tanh_x", 2, (2,), 1, 24, strengths, design=seen)


@dataclass(frozen=True, eq=False)
class Architecture:
    """What its experiments are drawn from, and the share of embedded
    plateaus that theory leads one to expect.

    layers: the kind of unit of each, with options. widths: the first of the
    first SAME_WIDTH experiments, then either.
    """

    layers: tuple[str, ...]
    task: Draw
    widths: tuple[int, int]
    scales: tuple[float, ...]
    stop: Stop
    rule: Rule
    least: float
    theory: str
    options: tuple[tuple[str, object], ...] = ()
    costly: bool = False

    def network(self, width: int) -> Network:
        """Layers of one width, of which only the last mixes its units."""
        layers = []
        for name in self.layers:
            unit = make(name, **dict(self.options))
            layers.append(Layer(unit, width, mixes=False))
        layers[-1] = replace(layers[-1], mixes=True)
        return Network(tuple(layers))

    def experiment(self, name: str, number: int) -> Experiment:
        """The experiment of a number, always the same."""
        rng = np.random.default_rng([number, *name.encode()])
        width = self.widths[0]
        if number >= SAME_WIDTH:
            width = self.widths[int(rng.integers(2))]
        scale = float(rng.choice(self.scales))
        return Experiment(
            task=self.task(rng),
            network=self.network(width),
            stop=self.stop,
            initialization=Initialization(scale=scale),
            rule=self.rule,
            seed=number,
            name=name,
        )


# What theory says of an architecture.
RAYS = "saddles of homogeneous units are known on orthogonal inputs only"
UNITS = "units of degree two grow one by one, and the others stay silent"
SPANNED = "all critical points of linear units are spanned by those of narrower layers"
NOTHING = (
    "theory promises nothing: layers of few directions are no invariant "
    "manifolds of tanh-like units"
)
# How long runs go on, and the scales from which units of degree one and two start.
PATIENT = Stop(flow_time=1e6, gradient_norm=1e-9)
QUICK = Stop(flow_time=300.0, steps=100_000, gradient_norm=1e-8)
PATCHES = (("kernel", (3,)), ("stride", 3))
SMALL_SCALES, LARGER_SCALES = (1e-3, 1e-4, 1e-6), (1e-2, 3e-3)
ARCHITECTURES = {
    "linear": Architecture(
        layers=("linear",),
        task=linear_task,
        widths=(10, 5),
        scales=SMALL_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.99,
        theory=SPANNED,
    ),
    "linear_conv": Architecture(
        layers=("conv_linear",),
        task=lambda rng: ConvolutionalLinearTeacher(
            spectrum(rng, 3, 0.3, 2),
            kernel=3,
            positions=3,
        ),
        widths=(8, 4),
        scales=SMALL_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.99,
        theory=SPANNED,
        options=PATCHES,
    ),
    "three_linear": Architecture(
        layers=("linear", "linear"),
        task=lambda rng: LinearTeacher(
            spectrum(rng, 3, 0.5, 2),
            inputs=3,
            outputs=3,
        ),
        widths=(5, 4),
        scales=(3e-2, 1e-2),
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.99,
        theory=SPANNED + ", layer by layer",
        costly=True,
    ),
    "relu_orthogonal": Architecture(
        layers=("relu",),
        task=lambda rng: OrthogonalReLU(signed(rng, 4)),
        widths=(10, 20),
        scales=SMALL_SCALES,
        stop=QUICK,
        rule=COARSE,
        least=0.95,
        theory=RAYS,
    ),
    "relu_few_samples": Architecture(
        layers=("relu",),
        task=few_samples,
        widths=(10, 20),
        scales=SMALL_SCALES,
        stop=QUICK,
        rule=COARSE,
        least=0.95,
        theory=RAYS,
    ),
    "relu_conv": Architecture(
        layers=("conv_relu",),
        task=relu_conv_task,
        widths=(10, 20),
        scales=SMALL_SCALES,
        stop=QUICK,
        rule=COARSE,
        least=0.95,
        theory=RAYS,
        options=PATCHES,
    ),
    "quadratic": Architecture(
        layers=("quadratic",),
        task=lambda rng: Teacher(
            "quadratic",
            3,
            (3,),
            1,
            60,
            signed(rng, 3),
        ),
        widths=(8, 12),
        scales=LARGER_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.95,
        theory=UNITS,
    ),
    "x_tanh_x": Architecture(
        layers=("x_tanh_x",),
        task=axes_or_not,
        widths=(8, 12),
        scales=LARGER_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.95,
        theory=UNITS,
    ),
    "attention_rank1": Architecture(
        layers=("in_context_linear",),
        task=lambda rng: InContextRegression(
            spectrum(rng, 3, 0.2, 1),
            rotate=True,
        ),
        widths=(6, 9),
        scales=LARGER_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.95,
        theory=UNITS,
        options=(("rank", 1),),
    ),
    "attention_rank2": Architecture(
        layers=("in_context_linear",),
        task=lambda rng: InContextRegression(
            spectrum(rng, 3, 0.2, 1),
            rotate=True,
        ),
        widths=(5, 8),
        scales=LARGER_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.95,
        theory=UNITS,
        options=(("rank", 2),),
    ),
    "tanh": Architecture(
        layers=("tanh",),
        task=smooth("tanh", 2, (0.5, 1.0, 3.0)),
        widths=(8, 12),
        scales=SMALL_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.95,
        theory=NOTHING,
        costly=True,
    ),
    "gelu": Architecture(
        layers=("gelu",),
        task=smooth("gelu", 2, (0.5, 1.0, 3.0)),
        widths=(8, 12),
        scales=SMALL_SCALES,
        stop=PATIENT,
        rule=IMPLICIT,
        least=0.95,
        theory=NOTHING,
        costly=True,
    ),
}


def design(seeds: int) -> Iterator[tuple[Row, Experiment]]:
    for name, architecture in ARCHITECTURES.items():
        count = seeds
        if architecture.costly:
            count = max(seeds // COSTLY, min(seeds, SAME_WIDTH))
        for number in range(count):
            e = architecture.experiment(name, number)
            labels = {
                "architecture": name,
                "task": e.task.kind,
                "width": e.network.widths[0],
                "scale": e.initialization.scale,
            }
            yield labels, e


# ------------------------------------------------------------- the classification
def classify(
    objective: Objective,
    certificate: Certificate,
) -> tuple[str, str]:
    """Which class of fixed point is behind a plateau, and why.

    embedded: a certified fixed point beside the state that is one of fewer
    units in some layer, by construction ii (it has exactly silent units),
    iii or iv (the units are homogeneous or linear). duplicate: only i makes
    it of a narrower one. full: it needs all units, or no narrower network's
    fixed point is known to make it. none: no fixed point beside the state.
    """
    if not isinstance(certificate, FixedPoint):
        return "none", certificate.reason
    narrow, wide = certificate.narrow_units, objective.network.widths
    fewer = [k for k in range(len(wide)) if narrow[k] < wide[k]]
    if not fewer:
        return "full", f"all units: {wide} are needed"
    if certificate.narrow_state is None:
        words = f"{narrow} units have the same map, but no fixed point beside it"
        return "full", f"not embedded: {words}"
    if any(_embeds(objective, certificate, k) for k in fewer):
        return "embedded", f"construction {certificate.construction}"
    words = "no unit is silent, and construction i alone explains the fixed point"
    return "duplicate", f"duplicates: {words}"


def _embeds(objective: Objective, point: FixedPoint, index: int) -> bool:
    """Whether ii, iii or iv made the units of a layer that a narrower network lacks."""
    symmetry = objective.network.layers[index].unit.symmetry
    if symmetry.homogeneous is not None:
        return True
    if not symmetry.silent:
        return False
    return bool(silent_units(objective, point.state, index).any())


def measure(experiment: Experiment) -> Row:
    """Counts of each class on initial, intermediate and end plateaus; every
    plateau that is not embedded, in words.

    share: of the plateaus before the end that are embedded; between: of
    those between the first and the end. farthest: the largest distance of
    an embedded fixed point, over the norm of the state. verdicts: on the
    embedded ones before the end. settled: whether the run ended at rest
    (has an end plateau). A run that fails is an exception too.
    """
    try:
        found = certify(train(experiment))
    except SaddleryError as error:
        return {
            **summary([]),
            "exceptions": [_failure(experiment, error)],
        }
    objective = found.run.objective()
    entries, exceptions = [], []
    for stage in found.stages:
        assert stage.certificate is not None  # from `certify`
        name, reason = classify(objective, stage.certificate)
        entries.append((stage, name, reason))
        if name != "embedded":
            exceptions.append(_exception(experiment, stage, name, reason))
    return {**summary(entries), "exceptions": exceptions}


def summary(entries: Sequence[tuple[Stage, str, str]]) -> Row:
    """The numbers of one run from its classified stages; NaN where there is
    no such plateau."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    verdicts: Counter[str] = Counter()
    away = []
    for stage, name, _ in entries:
        counts[stage.kind][name] += 1
        point = stage.fixed_point
        if name != "embedded" or point is None:
            continue
        if stage.kind != "end":
            verdicts[point.verdict] += 1
        if any(point.narrow_units):
            away.append(point.relative_distance)
    by_class = {}
    for kind, found in counts.items():
        by_class[kind] = {name: found[name] for name in CLASSES}
    return {
        "share": _share(counts["initial"] + counts["intermediate"]),
        "between": _share(counts["intermediate"]),
        "farthest": max(away, default=float("nan")),
        "verdicts": dict(verdicts),
        "settled": float(counts["end"].total() > 0),
        "counts": by_class,
    }


def _share(counts: Counter[str]) -> float:
    if not counts.total():
        return float("nan")
    return counts["embedded"] / counts.total()


def _exception(
    experiment: Experiment,
    stage: Stage,
    name: str,
    reason: str,
) -> Row:
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
    return {
        "identity": experiment.identity,
        "number": experiment.seed,
        "stage": "run",
        "class": "failed",
        "reason": str(error),
        "loss": float("nan"),
    }


# ------------------------------------------------------------ what people look at
def notes(rows: Sequence[Row]) -> list[str]:
    """Per architecture its plateaus, and its exceptions by stage and reason
    with one example each; then what reasons mean."""
    between = _total(rows, "intermediate")
    beside = between - _total(rows, "intermediate", "none")
    embedded = _total(rows, "intermediate", "embedded")
    sentences = [
        f"{beside} of {between} intermediate plateaus have a fixed point beside them,"
        f" and {embedded} of these are embedded"
    ]
    seen = set()
    for name in ARCHITECTURES:
        chosen = labelled(rows, architecture=name)
        if not chosen:
            continue
        exceptions = [e for row in chosen for e in row["exceptions"]]
        sentences.append(f"{name}: {_counted(chosen)}")
        sentences += _grouped(exceptions)
        seen |= {_kind(e) for e in exceptions}
    for kind, words in LIKELY.items():
        if kind in seen:
            sentences.append(f"{kind}: {words}")
    return sentences


def _counted(rows: Sequence[Row]) -> str:
    """How many plateaus of an architecture are embedded, and how many of
    its runs ended at rest."""
    parts = []
    for kind in KINDS:
        embedded = _total(rows, kind, "embedded")
        parts.append(f"{embedded} of {_total(rows, kind)} {kind}")
    rest = sum(row["settled"] for row in rows)
    minima = sum(row["verdicts"].get("minimum", 0) for row in rows)
    further = f"; {minima} of them before the end are minima" if minima else ""
    return f"embedded {', '.join(parts)}{further}; {rest:.0f} of {len(rows)} runs ended at rest"


def _total(
    rows: Sequence[Row],
    kind: str,
    name: str | None = None,
) -> int:
    """How many plateaus of a kind there are, of all classes or of one."""
    names = CLASSES if name is None else (name,)
    return sum(row["counts"][kind][name] for row in rows for name in names)


def _grouped(exceptions: Sequence[Row]) -> list[str]:
    """Exceptions of a stage, class and reason together: ends last, the
    largest groups first."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for e in exceptions:
        key = (e["stage"], e["class"], _kind(e))
        groups.setdefault(key, []).append(e)

    def order(key: tuple[str, str, str]) -> tuple[bool, int]:
        stage, _, _ = key
        return stage == "end", -len(groups[key])

    lines = []
    for key in sorted(groups, key=order):
        group, words = groups[key], " ".join(key)
        lines.append(f"- {len(group)} {words}, as {_example(group[0])}")
    return lines


def _kind(e: Row) -> str:
    return e["reason"].partition(":")[0]


def _example(e: Row) -> str:
    return f"number {e['number']} ({e['identity']}, loss {printed(e['loss'])})"


def draw(rows: Sequence[Row], axes: Axes) -> None:
    """Shares of the classes for every architecture: before the end (wide
    bars) and at the end (narrow ones)."""
    colours = ("#1b4965", "#e9c46a", "#bc4b51", "#bbbbbb")
    names = [name for name in ARCHITECTURES if labelled(rows, architecture=name)]
    places = np.arange(len(names))
    bars = (
        (-0.14, 0.45, ("initial", "intermediate"), CLASSES),
        (0.24, 0.2, ("end",), (None,) * len(CLASSES)),
    )
    for shift, width, kinds, labels in bars:
        base = np.zeros(len(names))
        for c, colour, label in zip(
            CLASSES,
            colours,
            labels,
            strict=True,
        ):
            height = np.array(
                [_part(rows, name, kinds, c) for name in names],
            )
            axes.bar(
                places + shift,
                height,
                width,
                base,
                color=colour,
                label=label,
            )
            base += height
    words = [name.replace("_", " ") for name in names]
    axes.set_xticks(places, words, fontsize=7, rotation=40, ha="right")
    axes.set_ylabel("share of plateaus (narrow: of ends)")
    axes.legend(
        frameon=False,
        ncols=4,
        fontsize=7,
        loc="upper center",
        bbox_to_anchor=(0.5, 1.12),
    )


def _part(
    rows: Sequence[Row],
    name: str,
    kinds: Sequence[str],
    c: str,
) -> float:
    chosen = labelled(rows, architecture=name)
    every = sum(_total(chosen, kind) for kind in kinds)
    of_class = sum(_total(chosen, kind, c) for kind in kinds)
    return of_class / max(every, 1)


def _may_rest(row: Row, kinds: Sequence[str]) -> bool:
    """Whether a claim on plateaus of these kinds speaks of a run: one that
    has some, or failed, so that nobody knows."""
    failed = any(exception["class"] == "failed" for exception in row["exceptions"])
    return failed or any(_total([row], kind) for kind in kinds)


def _claims(name: str) -> Iterator[Claim]:
    architecture = ARCHITECTURES[name]
    networks = f"{name.replace('_', ' ')} networks"

    def claim(
        slug: str,
        words: str,
        quantity: str,
        value: str,
        kinds: tuple[str, ...],
    ) -> Claim:
        def values(rows: Sequence[Row]) -> np.ndarray:
            concerned = [row for row in rows if _may_rest(row, kinds)]
            return of(concerned, value, architecture=name)

        return Claim(
            id=slug,
            sentence=f"{words} of {networks} is an embedded fixed point.",
            source=OPEN + architecture.theory,
            quantity=quantity,
            low=architecture.least,
            high=1.0,
            values=values,
            kind=Share(),
        )

    yield claim(
        f"exhaustive.{name}",
        "Every plateau before the end",
        quantity="share of plateaus before the end",
        value="share",
        kinds=("initial", "intermediate"),
    )
    yield claim(
        f"exhaustive.{name}.between",
        "Every plateau between two drops",
        quantity="share of intermediate plateaus",
        value="between",
        kinds=("intermediate",),
    )


STUDY = Study(
    name="exhaustive",
    title="Are the fixed points that training visits all embedded by Theorem 1, cases ii to iv?",
    design=design,
    measure=measure,
    claims=tuple(claim for name in ARCHITECTURES for claim in _claims(name)),
    draw=draw,
    quick=6,
    full=204,
    notes=notes,
)
