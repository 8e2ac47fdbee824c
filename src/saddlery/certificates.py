"""Certificates: the fixed point behind a state, of which kind it is, and which narrower network it embeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .checks import InputError, finite, known, positive
from .fixed_points import TOLERANCE, Found, find_fixed_point
from .judging import escape_from, excess, spectrum_at, utilities_at
from .objectives import Objective
from .precision import in_float64
from .records import html_table, number, text_table
from .spectra import Spectrum
from .symmetry import Reduction, Utility
from .zero_modes import explain_zero_modes

FAR = 0.3  # of the norm of the state: a fixed point farther away is called far from the plateau
VERDICTS = ("minimum", "strict saddle", "degenerate saddle", "undecided", "not a fixed point")


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is behind a plateau, with the evidence.

    verdict: "minimum" (no negative eigenvalue, no silent unit that helps), "strict saddle" (a descent direction of
        second order: a negative Hessian eigenvalue, or a silent unit of positive utility with p = 1), "degenerate
        saddle" (none of second order, but a silent unit of positive utility of order p + 1 > 2, or units of several
        layers that lower the loss together), "undecided" (the number that would decide is within rounding of zero, and
        nothing else decides), or "not a fixed point".
    reason: in words, with the numbers that decided. loss, gradient_norm: at the fixed point (NaN where there is none);
        tolerance is absolute, TOLERANCE times gradient_scale. precision: always "float64".
    distance: from the state to the fixed point, 2-norm in weights; relative_distance: over the norm of the state.
    index, zero_modes: negative and zero Hessian eigenvalues, those within `zero_tolerance` of zero being called zero;
        None beyond what Lanczos established. explained: zero modes by cause (see `explain_zero_modes`).
    lowest_eigenvalue; escape_order: the order in distance at which the loss falls (2 for strict saddles, None without
        descent); escape_rate: of exponential escape, -lambda_min or that of a p = 1 silent unit, None where the escape is
        not exponential; escape_direction: the unit direction (P,).
    utility: the best silent unit's, None where no unit is silent. construction, narrow_units: how Theorem 1 embeds the
        narrow network (one number of units a layer); narrow: its flat parameters. route: "reduce" or "direct".
    """

    verdict: str
    reason: str
    loss: float
    gradient_norm: float
    tolerance: float
    gradient_scale: float
    distance: float
    relative_distance: float
    index: int | None
    zero_modes: int | None
    zero_tolerance: float | None
    explained: Mapping[str, int]
    lowest_eigenvalue: float | None
    escape_order: int | None
    escape_rate: float | None
    escape_direction: np.ndarray | None
    utility: Utility | None
    construction: str | None
    narrow_units: tuple[int, ...]
    narrow: np.ndarray | None
    state: np.ndarray | None
    eigenvalues: np.ndarray | None
    route: str
    steps: int
    method: str = ""
    precision: str = "float64"

    @property
    def certified(self) -> bool:
        """Whether a fixed point was found at all."""
        return self.verdict != "not a fixed point"

    def record(self) -> dict[str, object]:
        """The stable JSON form; a value that does not exist is None and `reason` says why."""
        width = self.narrow_units[0] if len(self.narrow_units) == 1 else list(self.narrow_units)
        return {
            "verdict": self.verdict,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "distance": self.distance,
            "index": self.index,
            "zero_modes": self.zero_modes,
            "utility": None if self.utility is None else self.utility.value,
            "construction": self.construction,
            "narrow_units": width,
            "reason": self.reason,
            "tolerance": self.tolerance,
            "gradient_scale": self.gradient_scale,
            "precision": self.precision,
            "relative_distance": self.relative_distance,
            "lowest_eigenvalue": self.lowest_eigenvalue,
            "zero_tolerance": self.zero_tolerance,
            "zero_modes_explained": dict(self.explained),
            "escape_rate": self.escape_rate,
            "escape_order": self.escape_order,
            "route": self.route,
            "steps": self.steps,
            "spectrum": self.method,
        }

    def rows(self) -> list[tuple[str, object]]:
        zero = ", ".join(f"{v} {k}" for k, v in self.explained.items() if v)
        utility = "-" if self.utility is None else f"{number(self.utility.value)} (order {self.utility.order})"
        return [
            ("verdict", self.verdict),
            ("reason", self.reason),
            ("loss", number(self.loss, 12)),
            ("gradient norm", f"{self.gradient_norm:.1e} (tolerance {self.tolerance:.1e}, float64)"),
            ("distance", f"{number(self.distance)} ({number(self.relative_distance)} of the state)"),
            ("index", self.index),
            ("zero modes", f"{number(self.zero_modes)}{f' ({zero})' if zero else ''}"),
            ("lowest eigenvalue", number(self.lowest_eigenvalue, 10)),
            ("utility", utility),
            ("escape order", self.escape_order),
            ("escape rate", self.escape_rate),
            ("construction", self.construction),
            ("narrow units", ", ".join(map(str, self.narrow_units)) or "-"),
            ("route", self.route),
        ]

    def __repr__(self) -> str:
        return text_table(("certificate", ""), self.rows())

    def _repr_html_(self) -> str:
        return html_table(("certificate", ""), self.rows())


@in_float64
def certify_state(
    objective: Objective,
    theta: np.ndarray,
    *,
    gradient_scale: float | None = None,
    tolerance: float = 0.02,
    route: str = "auto",
    reduction: Reduction | None = None,
    seed: int = 0,
) -> Certificate:
    """The certificate of the fixed point behind one state.

    theta: flat parameters (P,), cast to float64. gradient_scale: of the task, against which a gradient counts as zero; by
    default its norm at random weights where the map is as large as the targets (`Objective.scales`), so that no start
    loosens it. tolerance: of the reduction (see `reduce`; 2% of the targets by default). route: "auto", "reduce" or
    "direct" (see `find_fixed_point`). reduction: of this state, if known.

    Raises InputError for a state that is not finite or of the wrong size. Cost: a few Newton steps on the narrow
    network, one Hessian of the wide one and its eigenvalues: about 0.1 s at 750 parameters once compiled.

    Example
    -------
    >>> from saddlery import Experiment, certify_state
    >>> experiment = Experiment.named("linear")
    >>> certify_state(experiment.objective(), 0 * experiment.initial_state()).index
    100
    """
    known(route, ("auto", "reduce", "direct"), "route")
    theta = finite(np.asarray(theta, dtype=float), "the state")
    if theta.shape != (objective.size,):
        raise InputError(f"the state must have shape ({objective.size},) for this network, got {theta.shape}")
    scale = objective.scales.gradient if gradient_scale is None else positive(gradient_scale, "gradient_scale")
    found = find_fixed_point(objective, theta, scale=scale, tolerance=tolerance, route=route, reduction=reduction)
    if not found.refinement.converged:
        refinement = found.refinement
        return _refusal(objective, theta, found, scale, f"{refinement.status}: {refinement.reason}")
    return _judge(objective, theta, found, scale, seed)


# ------------------------------------------------------------------- judging
def _refusal(objective: Objective, theta: np.ndarray, found: Found, scale: float, reason: str) -> Certificate:
    reduction = found.reduction
    return Certificate(
        verdict="not a fixed point",
        reason=reason,
        loss=float("nan"),
        gradient_norm=float(np.linalg.norm(np.asarray(objective.gradient(theta)))),
        tolerance=TOLERANCE * scale,
        gradient_scale=scale,
        distance=float("nan"),
        relative_distance=float("nan"),
        index=None,
        zero_modes=None,
        zero_tolerance=None,
        explained={},
        lowest_eigenvalue=None,
        escape_order=None,
        escape_rate=None,
        escape_direction=None,
        utility=None,
        construction=None,
        narrow_units=reduction.widths if reduction else (),
        narrow=None,
        state=None,
        eigenvalues=None,
        route=found.route,
        steps=found.refinement.steps,
    )


def _judge(objective: Objective, theta: np.ndarray, found: Found, scale: float, seed: int) -> Certificate:
    state = found.state
    spectrum = spectrum_at(objective, state, seed=seed, gradient_norm=found.refinement.gradient_norm)
    if _vanished(objective, state, spectrum):
        words = (
            "the loss is flat to rounding at its lower bound, as on the way to an infimum at infinity: largest eigenvalue"
            f" {np.abs(spectrum.eigenvalues).max():.1e}, where {objective.scales.curvature:.1e} is natural"
        )
        return _refusal(objective, theta, found, scale, words)
    utilities = utilities_at(objective, state, seed)
    escape = escape_from(objective, found, spectrum, utilities, scale, seed)
    distance = float(np.linalg.norm(state - theta))
    return Certificate(
        verdict=escape.verdict,
        reason=escape.reason + _far(distance, theta, found),
        loss=float(objective.loss(state)),
        gradient_norm=found.refinement.gradient_norm,
        tolerance=TOLERANCE * scale,
        gradient_scale=scale,
        distance=distance,
        relative_distance=distance / max(float(np.linalg.norm(theta)), 1e-300),
        index=spectrum.index,
        zero_modes=spectrum.zero_modes,
        zero_tolerance=spectrum.tolerance,
        explained=explain_zero_modes(objective, state, spectrum.kernel, seed=seed),
        lowest_eigenvalue=float(spectrum.eigenvalues[0]),
        escape_order=escape.order,
        escape_rate=escape.rate,
        escape_direction=escape.direction,
        utility=escape.utility or max(utilities, key=lambda u: u.value, default=None),
        construction=found.reduction.construction if found.reduction else None,
        narrow_units=found.reduction.widths if found.reduction else (),
        narrow=found.narrow,
        state=state,
        eigenvalues=spectrum.eigenvalues,
        route=found.route,
        steps=found.refinement.steps,
        method=spectrum.method,
    )


def _far(distance: float, theta: np.ndarray, found: Found) -> str:
    """A warning where the fixed point is not close to the plateau; the origin is as far as the state is large."""
    size = float(np.linalg.norm(theta))
    away = found.reduction is not None and any(found.reduction.widths) and distance > FAR * size
    return f"; far from the plateau, {distance:.3g} away at a state of norm {size:.3g}" if away else ""


def _vanished(objective: Objective, state: np.ndarray, spectrum: Spectrum) -> bool:
    """Whether loss and curvature are both nothing but rounding, at weights that are not zero."""
    scales = objective.scales
    flat = float(np.abs(spectrum.eigenvalues).max(initial=0.0)) <= TOLERANCE * scales.curvature
    return flat and bool(state.any()) and excess(objective, state) <= TOLERANCE * scales.loss
