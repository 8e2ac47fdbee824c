"""Certificates: the fixed point behind a state, of which kind it is, and which narrower network it embeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from . import fixed_points
from .checks import InputError, finite, known, positive
from .curvature import hessian
from .descent import Descent, find_descent
from .fixed_points import TOLERANCE, Found, find_fixed_point
from .networks import flatten
from .objectives import Objective
from .precision import in_float64
from .records import html_table, number, text_table
from .spectra import ROUNDING, Spectrum, dense_spectrum, lanczos_spectrum
from .symmetry import Reduction, Utility, best_silent_unit, silent_direction, silent_units
from .symmetry.reduction import sides
from .zero_modes import explain_zero_modes

FAR = 0.3  # of the norm of the state: a fixed point farther away is called far from the plateau
VERDICTS = ("minimum", "strict saddle", "degenerate saddle", "not a fixed point")


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is behind a plateau, with the evidence.

    verdict: "minimum" (no negative eigenvalue, no silent unit that helps), "strict saddle" (a descent direction of
        second order: a negative Hessian eigenvalue, or a silent unit of positive utility with p = 1), "degenerate
        saddle" (none of second order, but a silent unit of positive utility of order p + 1 > 2, or units of several
        layers that lower the loss together), or "not a fixed point".
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
    utilities = _utilities(objective, state, seed)
    escape = _escape(objective, found, spectrum, utilities, scale, seed)
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
    return flat and bool(state.any()) and _excess(objective, state) <= TOLERANCE * scales.loss


def _excess(objective: Objective, state: np.ndarray) -> float:
    """How far the loss is above its lower bound."""
    return float(objective.loss(state)) - objective.constant


@in_float64
def spectrum_at(objective: Objective, state: np.ndarray, *, seed: int = 0, gradient_norm: float = 0.0) -> Spectrum:
    """The Hessian's spectrum at a state (P,): dense up to 2,000 parameters, its two ends by Lanczos beyond.

    The state is a fixed point only up to its gradient g. Where the Hessian is flat, an error d of the state leaves
    g ~ d^2 and eigenvalues ~ d, so eigenvalues up to sqrt(g max|l| / |theta|) cannot be told from zero, |theta| at least
    the task's natural weights; nor can those that are rounding beside the task's natural curvature. The zero tolerance is
    the larger of the two, or the rounding of the decomposition where that is larger. Cost: see `dense_spectrum`.
    """
    scales = objective.scales
    size = max(scales.weights, float(np.linalg.norm(state)))
    rounding = ROUNDING * np.finfo(float).eps * scales.curvature
    blur = lambda largest: max(rounding, float(np.sqrt(gradient_norm * largest / size)))
    if objective.size <= fixed_points.DENSE:
        return dense_spectrum(hessian(objective, state), blur=blur)
    product = lambda d: np.asarray(objective.hessian_vector(state, d))
    return lanczos_spectrum(product, objective.size, blur=blur, seed=seed)


def _utilities(objective: Objective, state: np.ndarray, seed: int) -> list[Utility]:
    """The best silent unit of every layer that has one."""
    layers = enumerate(objective.network.layers)
    able = [k for k, layer in layers if layer.unit.symmetry.degree and silent_units(objective, state, k).any()]
    return [best_silent_unit(objective, state, k, seed=seed) for k in able]


@dataclass(frozen=True, eq=False)
class _Escape:
    """The kind of fixed point and the way down from it, if there is one."""

    verdict: str
    reason: str
    order: int | None = None
    rate: float | None = None
    direction: np.ndarray | None = None
    utility: Utility | None = None


def _escape(
    objective: Objective, found: Found, spectrum: Spectrum, utilities: list[Utility], scale: float, seed: int
) -> _Escape:
    """Second order first, then (above the lower bound of the loss) one silent unit, then all flat directions together."""
    lowest = float(spectrum.eigenvalues[0])
    if lowest < -spectrum.tolerance:
        count = "some" if spectrum.index is None else spectrum.index
        reason = f"{count} negative Hessian eigenvalues, the lowest {lowest:.6g} (zero means within {spectrum.tolerance:.1e})"
        return _Escape("strict saddle", reason, 2, -lowest, spectrum.lowest_vector)
    flat = f"no Hessian eigenvalue below {-spectrum.tolerance:.1e}"
    if _excess(objective, found.state) <= TOLERANCE * objective.scales.loss:
        return _Escape("minimum", f"{flat}, and the loss is at its lower bound")
    helpful = [u for u in utilities if u.value > _zero_utility(objective, u, scale)]
    if helpful:
        best = min(helpful, key=lambda u: (u.order, -u.value))
        words = (
            f"no negative Hessian eigenvalue, but a silent unit of utility {best.value:.6g} > 0 lowers the loss at"
            f" order {best.order}"
        )
        verdict = "strict saddle" if best.order == 2 else "degenerate saddle"
        return _Escape(verdict, words, best.order, best.rate, silent_direction(objective, found.state, best), best)
    joint, searched = _joint_descent(objective, found, spectrum, seed)
    if joint is not None:
        words = (
            f"no negative Hessian eigenvalue and no single silent unit of the lowest order, but the loss falls along flat"
            f" directions at order {joint.order} (measured {joint.measured_order:.2f}, by {joint.fall:.1e} at radius"
            f" {joint.radius:.2g})"
        )
        direction = joint.direction if len(joint.direction) == objective.size else None
        return _Escape("degenerate saddle", words, joint.order, None, direction)
    silent = f"; silent units have utility {max(u.value for u in utilities):.1e}, zero to rounding" if utilities else ""
    return _Escape("minimum", f"{flat}{silent}; {searched}")


def _joint_descent(objective: Objective, found: Found, spectrum: Spectrum, seed: int) -> tuple[Descent | None, str]:
    """Search the flat directions for a descent of higher order; and in words what was searched.

    Beyond dense Hessians the same question is put to the narrow network with two silent units more a layer, which embeds
    the same map: what more of them could do, two can.
    """
    if spectrum.kernel is None:
        small = _padded(objective, found)
        if small is None:
            return None, "flat directions were not searched: the network has too many parameters"
        objective, state = small
        spectrum = spectrum_at(objective, state, seed=seed, gradient_norm=found.refinement.gradient_norm)
        assert spectrum.kernel is not None
    else:
        state = found.state
    kernel, rounding = spectrum.kernel, 32 * np.finfo(float).eps
    descent = find_descent(
        lambda t: float(objective.loss(t)),
        lambda t: np.asarray(objective.gradient(t)),
        state,
        lambda d: kernel @ (kernel.T @ d),
        size=objective.scales.weights,
        noise=rounding * max(float(objective.loss(state)), objective.scales.loss),
        stiff=_stiff(objective, state, kernel),
        seed=seed,
    )
    return descent, f"a search of the {kernel.shape[1]} flat directions found no descent"


def _stiff(objective: Objective, state: np.ndarray, kernel: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """g -> H^+ g on the complement of the kernel."""
    matrix = hessian(objective, state)
    factors = scipy.linalg.lu_factor(matrix + np.abs(matrix).max(initial=1e-300) * kernel @ kernel.T)

    def solve(g: np.ndarray) -> np.ndarray:
        return scipy.linalg.lu_solve(factors, g - kernel @ (kernel.T @ g))

    return solve


def _padded(objective: Objective, found: Found) -> tuple[Objective, np.ndarray] | None:
    """The narrow fixed point with up to two silent units more a layer, if that is small and every unit can be silent."""
    network = objective.network
    if found.narrow is None or found.reduction is None or not all(x.unit.symmetry.silent for x in network.layers):
        return None
    narrow = found.reduction.network
    params = objective.with_network(narrow).params(jnp.asarray(found.narrow))
    for index in reversed(range(len(network.layers))):
        u, v = sides(narrow, params, index)
        more = ((0, min(2, network.widths[index] - len(u))), (0, 0))
        narrow, params = narrow.with_sides(params, index, np.pad(u, more), np.pad(v, more))
    small = objective.with_network(narrow)
    return (small, flatten(params)) if small.size <= fixed_points.DENSE else None


def _zero_utility(objective: Objective, utility: Utility, scale: float) -> float:
    """Utilities below this are zero: 1e-9 of the utility where nothing has been learned, theta = 0 (which vanishes in deep
    networks), and 1e-12 of the gradient scale."""
    reference = best_silent_unit(objective, np.zeros(objective.size), utility.layer)
    return max(1e-9 * reference.value, TOLERANCE * scale)
