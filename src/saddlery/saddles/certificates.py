"""Certificates: the fixed point behind a state, of which kind it is, and which narrower
network it embeds; or the refusal, where there is none.

The two are two types. A number of a fixed point that was not found does not exist, and
cannot be read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NoReturn

import numpy as np

from ..basis.checks import InputError, finite, known, positive
from ..basis.pictures import Pictured
from ..basis.precision import in_float64, spare_programs
from ..basis.records import Printed, Result, number, plain, tiny
from ..basis.sizes import TINY
from ..basis.values import Value
from ..networks import Objective
from ..solvers import Spectrum
from ..symmetry import Reduction, Utility
from .behind import Around, Behind
from .fixed_points import FixedPointTolerances, Found, find_fixed_point, own_fixed_point
from .judging import escape_from, excess, spectrum_at, utilities_at
from .kinks import Kinks, kinks_at
from .zero_modes import explain_zero_modes

# The verdict on a plateau behind which there is no fixed point.
NOTHING = "no fixed point found"
# Verdicts that say so; the second stands in what was written before version 0.2.
UNFOUND = (NOTHING, "not a fixed point")
VERDICTS = ("minimum", "strict saddle", "degenerate saddle", "undecided", NOTHING)
# Keys of the stable JSON form, in order.
KEYS = (
    "verdict",
    "loss",
    "gradient_norm",
    "distance",
    "index",
    "zero_modes",
    "utility",
    "construction",
    "narrow_units",
    "reason",
    "tolerance",
    "gradient_scale",
    "precision",
    "relative_distance",
    "lowest_eigenvalue",
    "zero_tolerance",
    "zero_modes_explained",
    "smooth_dimension",
    "escape_rate",
    "escape_order",
    "route",
    "steps",
    "spectrum",
    "behind",
    "nearest",
)
EMPTY = dict.fromkeys(KEYS) | {"zero_modes_explained": {}, "spectrum": ""}
# Attributes of a fixed point that have the same name in JSON.
NUMBERS = (
    "loss",
    "gradient_norm",
    "distance",
    "relative_distance",
    "index",
    "zero_modes",
    "zero_tolerance",
    "smooth_dimension",
    "lowest_eigenvalue",
    "escape_rate",
    "escape_order",
    "construction",
)


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Pictured, Result, ABC):
    """What is behind a plateau, with the evidence: a `FixedPoint` or a `Refusal`, never
    anything else.

    `certified` tells them apart, and so do `isinstance` and `match`. A number that only
    the other one has cannot be read: AttributeError says what there is in its place.

    verdict: one of VERDICTS.
    reason: in words, with the numbers that decided.
    tolerance: of the gradient norm, absolute: the limit (`fixed_points.gradient`) times
        gradient_scale.
    narrow_units: of the narrow network that the state was reduced to, one number a
        layer.
    route: "reduce" or "direct".
    steps: of Newton's method.
    behind: the conditions under which a fixed point is the one behind the state, with
        their margins; None where there was no fixed point to hold against them.
    precision: always "float64".

    Example
    -------
    >>> from saddlery import Experiment, certify_state
    >>> from saddlery.saddles import FixedPoint, Refusal
    >>> experiment = Experiment.named("linear")
    >>> match certify_state(experiment.objective(), 0 * experiment.initial_state()):
    ...     case FixedPoint(verdict=verdict, index=index):
    ...         print(verdict, index)
    ...     case Refusal(reason=reason):
    ...         print(reason)
    strict saddle 100
    """

    verdict: str
    reason: str
    tolerance: float
    gradient_scale: float
    narrow_units: tuple[int, ...]
    route: str
    steps: int
    behind: Behind | None
    certified: ClassVar[bool]
    precision: ClassVar[str] = "float64"

    @abstractmethod
    def rows(self) -> list[tuple[str, object]]:
        """The printed table: what, and how much of it."""

    @abstractmethod
    def _kept(self) -> dict[str, object]:
        """The entries of the record that this outcome has; the others are null."""

    def printed(self) -> Printed:
        return Printed(("certificate", ""), self.rows())

    def record(self) -> dict[str, object]:
        """The stable JSON form; a value that does not exist is None and `reason` says
        why."""
        width = self.narrow_units[0] if len(self.narrow_units) == 1 else self.narrow_units
        kept = {
            **EMPTY,
            "verdict": self.verdict,
            "narrow_units": width,
            "reason": self.reason,
            "tolerance": self.tolerance,
            "gradient_scale": self.gradient_scale,
            "precision": self.precision,
            "route": self.route,
            "steps": self.steps,
            "behind": None if self.behind is None else self.behind.record(),
        }
        return plain({**kept, **self._kept()})

    def _common_rows(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = [
            ("narrow units", ", ".join(map(str, self.narrow_units)) or "-"),
            ("route", self.route),
        ]
        margins = () if self.behind is None else self.behind.margins
        for margin in margins:
            measured = f"{number(margin.measured)} (at most {margin.limit:g})"
            rows.append((f"behind: {margin.name}", measured))
        return rows

    def _slope(self, norm: float) -> str:
        return f"{tiny(norm)} (tolerance {self.tolerance:.1e}, {self.precision})"

    if not TYPE_CHECKING:  # which sees what there is from the fields alone

        def __getattr__(self, name: str) -> NoReturn:
            """Asked only for what is not there."""
            words = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(instead(self, name) or words, name=name, obj=self)


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint(Certificate):
    """The certified fixed point behind a state.

    verdict: "minimum" (no negative eigenvalue, no silent unit that helps), "strict
        saddle" (a descent direction of second order: a negative Hessian eigenvalue, or
        a silent unit of positive utility with p = 1), "degenerate saddle" (none of
        second order, but a silent unit of positive utility of order p + 1 > 2, or units
        of several layers that lower the loss together), or "undecided" (on kinks across
        which second order is not known, or the number that would decide is within
        rounding of zero, and nothing else decides).
    state (P,): the fixed point.
    loss, gradient_norm: there.
    distance: from the state that was given, 2-norm in weights.
    relative_distance: over the norm of that state.
    smooth_dimension: in how many directions the loss is smooth there, to which index,
        zero modes and eigenvalues belong: all P of them unless units lie on kinks.
    index, zero_modes: negative and zero Hessian eigenvalues, those within
        `zero_tolerance` of zero being called zero; None beyond what Lanczos
        established.
    explained: zero modes by cause (see `explain_zero_modes`).
    eigenvalues: those known, ascending, by `method`.
    lowest_eigenvalue: the first of them.
    escape_order: the order in distance at which the loss falls (2 for strict saddles,
        None without descent).
    escape_rate: of exponential escape, -lambda_min or that of a p = 1 silent unit, None
        where the escape is not exponential.
    escape_direction (P,): of unit length.
    utility: the best silent unit's, None where no unit is silent.
    construction: how Theorem 1 embeds the narrow network, None where none was found.
    narrow_state (P',): its parameters, flat.

    Example
    -------
    The origin of 50 linear units that learn a map of singular values 1 and 0.4: each
    of them can join either mode, and grows at rate s.

    >>> from saddlery import Experiment, certify_state
    >>> objective = Experiment.named("linear").objective()
    >>> origin = certify_state(objective, np.zeros(objective.size))
    >>> origin.index, origin.escape_order, round(origin.escape_rate, 6)
    (100, 2, 1.0)
    """

    loss: float
    gradient_norm: float
    distance: float
    relative_distance: float
    index: int | None
    zero_modes: int | None
    zero_tolerance: float
    explained: Mapping[str, int]
    lowest_eigenvalue: float
    escape_order: int | None
    escape_rate: float | None
    escape_direction: np.ndarray | None
    utility: Utility | None
    construction: str | None
    narrow_state: np.ndarray | None
    state: np.ndarray
    eigenvalues: np.ndarray
    method: str
    smooth_dimension: int
    certified: ClassVar[bool] = True

    def _kept(self) -> dict[str, object]:
        return {
            **{name: getattr(self, name) for name in NUMBERS},
            "utility": None if self.utility is None else self.utility.value,
            "zero_modes_explained": dict(self.explained),
            "spectrum": self.method,
        }

    def rows(self) -> list[tuple[str, object]]:
        away = f"{number(self.distance)} ({number(self.relative_distance)} of the state)"
        return [
            ("verdict", self.verdict),
            ("reason", self.reason),
            ("loss", number(self.loss, 12)),
            ("gradient norm", self._slope(self.gradient_norm)),
            ("distance", away),
            ("index", self.index),
            ("zero modes", self._zero_modes()),
            ("lowest eigenvalue", number(self.lowest_eigenvalue, 10)),
            ("utility", _utility(self.utility)),
            ("escape order", self.escape_order),
            ("escape rate", self.escape_rate),
            ("construction", self.construction),
            *self._common_rows(),
        ]

    def _zero_modes(self) -> str:
        count = number(self.zero_modes)
        causes = [f"{share} {cause}" for cause, share in self.explained.items() if share]
        return f"{count} ({', '.join(causes)})" if causes else count


def _utility(found: Utility | None) -> str | None:
    if found is None:
        return None
    return f"{number(found.value)} (order {found.order})"


@dataclass(frozen=True, eq=False)
class FirstOrder(Value):
    """A descent of first order, across the kink that a state lies on.

    slope: of the loss along `direction`.
    direction (P,): of unit length.
    """

    slope: float
    direction: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Refusal(Certificate):
    """No fixed point is behind the state, and why.

    verdict: "no fixed point found": none at all, or none that is close in weights,
        close in loss and where the run slows down (see `behind`).
    reason: how the search ended, or how the nearest misses.
    residual: the gradient norm where the search ended.
    nearest: the certificate of the nearest fixed point that was found, None where there
        was none; `behind.miss` says how it misses.
    descent: of first order, where the search ended on a kink across which the loss
        falls; else None. Only then are there an escape_order, which is 1, and an
        escape_direction (P,).

    Example
    -------
    Between two saddles, half-way down, nothing slows the run down.

    >>> from saddlery import certify_state, train
    >>> run = train("linear")
    >>> half_way = int(np.argmax(run.trajectory.loss < 0.33))
    >>> refusal = certify_state(run.objective(), run.trajectory.states[half_way])
    >>> refusal.certified, refusal.behind.record()["weights"]["holds"]
    (False, False)
    >>> round(refusal.nearest.loss, 3)
    0.08
    """

    residual: float
    nearest: FixedPoint | None = None
    descent: FirstOrder | None = None
    certified: ClassVar[bool] = False

    @property
    def escape_order(self) -> int:
        if self.descent is None:
            raise AttributeError(instead(self, "escape_order"))
        return 1

    @property
    def escape_direction(self) -> np.ndarray:
        if self.descent is None:
            raise AttributeError(instead(self, "escape_direction"))
        return self.descent.direction

    def _kept(self) -> dict[str, object]:
        return {
            "escape_order": None if self.descent is None else 1,
            "nearest": None if self.nearest is None else self.nearest.record(),
        }

    def rows(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = [
            ("verdict", self.verdict),
            ("reason", self.reason),
        ]
        if self.nearest is not None:
            loss = number(self.nearest.loss, 12)
            rows.append(("nearest", f"{self.nearest.verdict}, loss {loss}"))
        if self.descent is not None:
            slope = f"{self.descent.slope:.6g}"
            rows.append(("slope", f"{slope} across a kink (escape order 1)"))
        rows.append(("residual", self._slope(self.residual)))
        return rows + self._common_rows()


def instead(outcome: Certificate, name: str) -> str:
    """About a value that only the other outcome has: what there is in its place; empty
    for other names."""
    if isinstance(outcome, Refusal):
        return _of_a_refusal(outcome, name)
    if name not in _names(Refusal):
        return ""
    return (
        f"a fixed point has no {name}, which only a refusal has; `state` is the point and"
        " `gradient_norm` what is left of the gradient there"
    )


def _of_a_refusal(refusal: Refusal, name: str) -> str:
    if name not in _names(FixedPoint):
        return ""
    there = "`residual` how near to rest the search came"
    if refusal.nearest is not None:
        there = f"`nearest.{name}` is that of the nearest fixed point found"
    nothing = f"a refusal has no {name}: no fixed point is behind the state"
    return f"{nothing}; `reason` says why, {there}"


def _names(outcome: type[Certificate]) -> set[str]:
    return {field.name for field in fields(outcome)}


@in_float64
def certify_state(
    objective: Objective,
    theta: np.ndarray,
    *,
    gradient_scale: float | None = None,
    tolerance: float = 0.02,
    route: str = "auto",
    reduction: Reduction | None = None,
    around: Around | None = None,
    seed: int = 0,
) -> FixedPoint | Refusal:
    """The certificate of the fixed point behind one state, or the refusal where there is
    none.

    theta (P,): flat parameters, cast to float64.
    gradient_scale: of the task, against which a gradient counts as zero; by default its
        norm at random weights where the map is as large as the targets
        (`Objective.scales`), so that no start loosens it.
    tolerance: of the reduction (see `reduce`; 2% of the targets by default).
    route: "auto", "reduce" or "direct" (see `find_fixed_point`).
    reduction: of this state, if known.
    around: what is known of its plateau; without it a fixed point is held against the
        state alone.
    seed: of the searches.

    Raises InputError for a state that is not finite or of the wrong size, or a unit of
    one's own that is declared smooth and has kinks. Cost: a few Newton steps on the
    narrow network, one Hessian of the wide one and its eigenvalues: about 0.1 s at 750
    parameters once compiled.

    Example
    -------
    >>> from saddlery import Experiment, certify_state
    >>> experiment = Experiment.named("linear")
    >>> certify_state(experiment.objective(), 0 * experiment.initial_state()).index
    100
    """
    spare_programs()
    known(route, ("auto", "reduce", "direct"), "route")
    theta = _checked(objective, theta)
    scale = objective.scales.gradient
    if gradient_scale is not None:
        scale = positive(gradient_scale, "gradient_scale")
    found = find_fixed_point(
        objective,
        theta,
        scale=scale,
        tolerance=tolerance,
        route=route,
        reduction=reduction,
        around=around,
    )
    ended = found.refinement
    if not ended.converged:
        return _nothing(found, scale, f"{ended.status}: {ended.reason}")
    judge = _Judge(objective, theta, scale=scale, around=around, seed=seed)
    judged = judge.certificate(found)
    if not isinstance(judged, FixedPoint):
        return judged
    if found.is_behind:
        return judge.with_units_as_they_are(found, judged)
    assert found.behind is not None  # it converged
    nearest = f"the nearest fixed point found is a {judged.verdict}: {judged.reason}"
    words = f"{found.behind.miss}; {nearest}"
    return _nothing(found, scale, words, behind=found.behind, nearest=judged)


def _checked(objective: Objective, theta: np.ndarray) -> np.ndarray:
    """A state (P,) in float64, that fits the network."""
    remedy = "give one of a run that did not diverge"
    state = finite(np.asarray(theta, dtype=float), "the state", remedy)
    if state.shape != (objective.size,):
        needed = f"the state must have shape ({objective.size},) for this network"
        raise InputError(f"{needed}, got {state.shape}")
    return state


# ------------------------------------------------------------------- refusals
def _nothing(
    found: Found,
    scale: float,
    reason: str,
    *,
    behind: Behind | None = None,
    nearest: FixedPoint | None = None,
    descent: FirstOrder | None = None,
) -> Refusal:
    """No fixed point is behind the state."""
    return Refusal(
        verdict=NOTHING,
        reason=reason,
        tolerance=FixedPointTolerances.now().gradient * scale,
        gradient_scale=scale,
        narrow_units=found.narrow_units,
        route=found.route,
        steps=found.refinement.steps,
        behind=behind,
        residual=found.refinement.gradient_norm,
        nearest=nearest,
        descent=descent,
    )


def _falling(found: Found, scale: float, on: Kinks) -> Refusal:
    """The refusal of a point whose gradient is zero on one side of its kinks only."""
    assert on.direction is not None  # it falls along one
    falls = f"the loss falls at slope {on.slope:.6g} along a direction across it"
    words = f"first-order descent on a kink: {falls} ({on.words()})"
    return _nothing(found, scale, words, descent=FirstOrder(on.slope, on.direction))


def _flat_to_rounding(
    found: Found,
    scale: float,
    spectrum: Spectrum,
    natural: float,
) -> Refusal:
    """The refusal of a point where nothing is left of loss and curvature.

    natural: the task's curvature.
    """
    flat = "the loss is flat to rounding at its lower bound"
    how = "as on the way to an infimum at infinity"
    largest = f"largest eigenvalue {_largest(spectrum):.1e}"
    words = f"{flat}, {how}: {largest}, where {natural:.1e} is natural"
    return _nothing(found, scale, words)


def _largest(spectrum: Spectrum) -> float:
    return float(np.abs(spectrum.eigenvalues).max(initial=0.0))


def _vanished(objective: Objective, state: np.ndarray, spectrum: Spectrum) -> bool:
    """Whether loss and curvature are both nothing but rounding, at weights that are not
    zero."""
    scales, least = objective.scales, FixedPointTolerances.now().gradient
    flat = _largest(spectrum) <= least * scales.curvature
    return flat and bool(state.any()) and excess(objective, state) <= least * scales.loss


# ------------------------------------------------------------------- judging
class _Judge(NamedTuple):
    """What all points behind one state are judged by.

    theta (P,): the state.
    scale: of gradients.
    around: what is known of its plateau.
    seed: of the searches.
    """

    objective: Objective
    theta: np.ndarray
    scale: float
    around: Around | None
    seed: int

    def certificate(self, found: Found) -> FixedPoint | Refusal:
        """Of a point at which refinement converged."""
        objective, state, seed = self.objective, found.state, self.seed
        zero = FixedPointTolerances.now().gradient * self.scale
        norm = found.refinement.gradient_norm
        on = kinks_at(objective, state, zero)
        if on is not None and on.slope < 0:
            return _falling(found, self.scale, on)
        spectrum = spectrum_at(objective, state, seed=seed, gradient_norm=norm)
        if _vanished(objective, state, spectrum):
            natural = objective.scales.curvature
            return _flat_to_rounding(found, self.scale, spectrum, natural)
        utilities = utilities_at(objective, state, seed)
        escape = escape_from(objective, found, spectrum, utilities, on, seed)
        best = escape.utility or max(utilities, key=lambda u: u.value, default=None)
        distance = float(np.linalg.norm(state - self.theta))
        size = max(float(np.linalg.norm(self.theta)), TINY)
        return FixedPoint(
            verdict=escape.verdict,
            reason=escape.reason,
            loss=float(objective.loss(state)),
            gradient_norm=norm,
            tolerance=zero,
            gradient_scale=self.scale,
            distance=distance,
            relative_distance=distance / size,
            index=spectrum.index,
            zero_modes=spectrum.zero_modes,
            zero_tolerance=spectrum.tolerance,
            explained=explain_zero_modes(objective, state, spectrum.kernel, seed=seed),
            lowest_eigenvalue=float(spectrum.eigenvalues[0]),
            escape_order=escape.order,
            escape_rate=escape.rate,
            escape_direction=escape.direction,
            utility=best,
            construction=found.construction,
            narrow_units=found.narrow_units,
            narrow_state=found.narrow_state,
            state=state,
            eigenvalues=spectrum.eigenvalues,
            route=found.route,
            steps=found.refinement.steps,
            method=spectrum.method,
            smooth_dimension=spectrum.size,
            behind=found.behind,
        )

    def with_units_as_they_are(self, found: Found, judged: FixedPoint) -> FixedPoint:
        """The certificate of the state's own fixed point, where one in which small units
        are silent is left through these alone and the state rests at one of another
        kind. (Of two of a kind that with silent units is the narrower network.)"""
        utility = judged.utility
        if utility is None or not utility.value > 0:
            return judged
        if judged.verdict == "minimum" or judged.index != 0:
            return judged
        own = own_fixed_point(
            self.objective,
            self.theta,
            found,
            utility,
            scale=self.scale,
            around=self.around,
        )
        if own is None:
            return judged
        other = self.certificate(own)
        if not isinstance(other, FixedPoint) or other.verdict == judged.verdict:
            return judged
        return other
