"""Certificates: the fixed point behind a state, to machine precision, of which kind it is and which network it embeds.

Two routes. *Reduce*: reduce the state to its narrow network, refine that to a fixed point, embed it back beside the
state (Theorem 1). *Direct*: refine the wide state itself. The first is the default where the reduction leaves fewer
units, because the narrow problem is small and keeps only the symmetry of its own units; the second is tried when the
first does not end at a fixed point near the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from .checks import InputError, finite, known
from .curvature import hessian
from .descent import Descent, find_descent
from .networks import flatten
from .objectives import Objective
from .precision import in_float64
from .records import html_table, number, text_table
from .refinement import Refinement, refine
from .spectra import Spectrum, dense_spectrum, lanczos_spectrum
from .symmetry import (
    Reduction,
    Utility,
    best_silent_unit,
    embed_near,
    reduce,
    silent_coordinates,
    silent_direction,
    silent_units,
)
from .symmetry.reduction import sides

VERDICTS = ("minimum", "strict saddle", "degenerate saddle", "not a fixed point")
TOLERANCE = 1e-12  # of the gradient norm, relative to the task's gradient scale: the project's criterion
DENSE = 2000  # parameters up to which the Hessian is formed
BASIN = 1.0  # a fixed point farther from the state than this multiple of its own norm is not the one behind it


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
            "verdict": self.verdict, "loss": self.loss, "gradient_norm": self.gradient_norm, "distance": self.distance,
            "index": self.index, "zero_modes": self.zero_modes,
            "utility": None if self.utility is None else self.utility.value,
            "construction": self.construction, "narrow_units": width, "reason": self.reason,
            "tolerance": self.tolerance, "gradient_scale": self.gradient_scale, "precision": self.precision,
            "relative_distance": self.relative_distance, "lowest_eigenvalue": self.lowest_eigenvalue,
            "zero_tolerance": self.zero_tolerance, "zero_modes_explained": dict(self.explained),
            "escape_rate": self.escape_rate, "escape_order": self.escape_order, "route": self.route, "steps": self.steps,
            "spectrum": self.method,
        }

    def rows(self) -> list[tuple[str, object]]:
        zero = ", ".join(f"{v} {k}" for k, v in self.explained.items() if v)
        utility = "-" if self.utility is None else f"{number(self.utility.value)} (order {self.utility.order})"
        return [("verdict", self.verdict), ("reason", self.reason), ("loss", number(self.loss, 12)),
                ("gradient norm", f"{self.gradient_norm:.1e} (tolerance {self.tolerance:.1e}, float64)"),
                ("distance", f"{number(self.distance)} ({number(self.relative_distance)} of the state)"),
                ("index", self.index), ("zero modes", f"{number(self.zero_modes)}{f' ({zero})' if zero else ''}"),
                ("lowest eigenvalue", number(self.lowest_eigenvalue, 10)), ("utility", utility),
                ("escape order", self.escape_order), ("escape rate", self.escape_rate), ("construction", self.construction),
                ("narrow units", ", ".join(map(str, self.narrow_units)) or "-"), ("route", self.route)]

    def __repr__(self) -> str:
        return text_table(("certificate", ""), self.rows())

    def _repr_html_(self) -> str:
        return html_table(("certificate", ""), self.rows())


@dataclass(frozen=True, eq=False)
class _Found:
    """A fixed point of the wide network and how it was reached."""

    state: np.ndarray
    reduction: Reduction | None
    narrow: np.ndarray | None
    refinement: Refinement
    route: str


@in_float64
def certify_state(
    objective: Objective, theta: np.ndarray, *, gradient_scale: float | None = None, tolerance: float = 0.02,
    route: str = "auto", reduction: Reduction | None = None, seed: int = 0,
) -> Certificate:
    """The certificate of the fixed point behind one state.

    gradient_scale: of the task; by default the gradient norm of the state plus that of the zero state's targets is not
        known, so the norm at a state of unit weights is taken. tolerance: of the reduction (see `reduce`). route:
        "auto", "reduce" or "direct". reduction: of this state, if known.

    Raises InputError for a state that is not finite or of the wrong size. Cost: a few Newton steps on the narrow
    network, one Hessian of the wide one and its eigenvalues: under 1 s at 750 parameters.
    """
    known(route, ("auto", "reduce", "direct"), "route")
    theta = finite(np.asarray(theta, dtype=float), "the state")
    if theta.shape != (objective.size,):
        raise InputError(f"the state must have shape ({objective.size},) for this network, got {theta.shape}")
    scale = gradient_scale if gradient_scale is not None else default_scale(objective)
    found = _find(objective, theta, scale, tolerance, route, reduction)
    if not found.refinement.converged:
        return _refusal(objective, theta, found, scale)
    return _judge(objective, theta, found, scale, seed)


def default_scale(objective: Objective) -> float:
    """A gradient scale without a run: the gradient norm at weights drawn from N(0, 1/sqrt(H)), seed 0."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(objective.size) / np.sqrt(max(objective.network.widths))
    return float(np.linalg.norm(np.asarray(objective.gradient(theta)))) or 1.0


# ------------------------------------------------------------------- finding
def _find(objective: Objective, theta: np.ndarray, scale: float, tolerance: float, route: str,
          reduction: Reduction | None) -> _Found:
    if route == "direct":
        return _direct(objective, theta, scale)
    reduction = reduction or reduce(objective, theta, tolerance=tolerance)
    first = _through_narrow(objective, theta, reduction, scale)
    if first.refinement.converged or route == "reduce" or objective.size > DENSE:
        return first
    second = _direct(objective, theta, scale)
    return second if second.refinement.converged else first


def refined(objective: Objective, start: np.ndarray, scale: float, basin: float | None) -> Refinement:
    """Newton refinement of a state; `basin` is relative to the norm of the start."""
    dense = objective.size <= DENSE
    return refine(
        lambda t: np.asarray(objective.gradient(t)), start, tolerance=TOLERANCE, scale=scale,
        basin=None if basin is None else basin * max(float(np.linalg.norm(start)), 1e-3),
        hessian=(lambda t: hessian(objective, t)) if dense else None,
        hessian_vector=None if dense else (lambda t, d: np.asarray(objective.hessian_vector(t, d))),
        loss=lambda t: float(objective.loss(t)))


def fixed_point(small: Objective, start: np.ndarray, scale: float, basin: float | None) -> Refinement:
    """The fixed point of a narrow network near a state: Newton refinement, from where it settles if need be.

    Newton's method alone can miss when the run leaves the saddle before it has come near. The narrow network then settles
    in its own minimum first, as the flow on the invariant manifold would (trust-region minimisation by scipy, whose only
    role is a better start; what counts is the refinement after it).
    """
    first = refined(small, start, scale, basin)
    if first.converged or small.size > DENSE:
        return first
    found = minimize(lambda t: float(small.loss(t)), start, jac=lambda t: np.asarray(small.gradient(t)),
                     hess=lambda t: hessian(small, t), method="trust-exact", options={"gtol": 1e-9 * scale, "maxiter": 200})
    again = refined(small, found.x, scale, None)
    distance, allowed = float(np.linalg.norm(again.point - start)), max(float(np.linalg.norm(start)), 1e-3)
    if again.converged and basin is not None and distance > basin * allowed:
        return replace(again, status="left the basin", distance=distance, reason=f"the narrow network settles {distance:.3g}"
                       f" away from its reduction, farther than the allowed {basin * allowed:.3g}")
    return replace(again, distance=distance) if again.converged else first


def _direct(objective: Objective, theta: np.ndarray, scale: float) -> _Found:
    refinement = refined(objective, theta, scale, BASIN)
    reduction = reduce(objective, refinement.point) if refinement.converged else None
    return _Found(refinement.point, reduction, None, refinement, "direct")


def _through_narrow(objective: Objective, theta: np.ndarray, reduction: Reduction, scale: float) -> _Found:
    if not any(reduction.widths):
        return _origin(objective, theta, reduction, scale)
    small = objective.with_network(reduction.network)
    refinement = fixed_point(small, reduction.theta, scale, BASIN)
    state = embed_state_near(objective, small, refinement.point, reduction)
    return _Found(state, reduction, refinement.point, _checked_wide(objective, state, refinement, scale), "reduce")


def _origin(objective: Objective, theta: np.ndarray, reduction: Reduction, scale: float) -> _Found:
    """No units are left: all of them silent, which is a fixed point if every layer's units have a silent point."""
    state = np.zeros_like(theta)
    norm = float(np.linalg.norm(np.asarray(objective.gradient(state))))
    status = "converged" if norm <= TOLERANCE * scale else "stalled"
    refinement = Refinement(state, float(objective.loss(state)), norm, norm / scale, float(np.linalg.norm(theta)), 0,
                            status, f"all units silent; gradient norm {norm:.1e}", (norm,))
    return _Found(state, reduction, reduction.theta, refinement, "reduce")


def _checked_wide(objective: Objective, state: np.ndarray, refinement: Refinement, scale: float) -> Refinement:
    """The same refinement, called converged only if the wide gradient at the embedded point is zero as well."""
    norm = float(np.linalg.norm(np.asarray(objective.gradient(state))))
    if refinement.converged and norm > TOLERANCE * scale:
        return replace(refinement, status="stalled", gradient_norm=norm, relative_gradient=norm / scale,
                       reason=f"the narrow fixed point converged, but embedded in the wide network its gradient norm is"
                              f" {norm:.1e}, above the tolerance {TOLERANCE * scale:.1e}")
    return replace(refinement, gradient_norm=norm, relative_gradient=norm / scale) if refinement.converged else refinement


def embed_state_near(objective: Objective, small: Objective, narrow: np.ndarray, reduction: Reduction) -> np.ndarray:
    """The narrow network embedded in the wide one by Theorem 1, as near to the reduced state as its coefficients allow.

    Undoes the reduction layer by layer from the last, each against the sides the layer had before it was reduced.
    """
    network, params = small.network, small.params(jnp.asarray(narrow))
    for index in reversed(range(len(network.layers))):
        unit, before = network.layers[index].unit, reduction.before[index]
        if len(before[0]) > network.layers[index].width:
            near = embed_near(sides(network, params, index), before, unit)
            network, params = network.with_sides(params, index, *near)
    return flatten(params)


# ------------------------------------------------------------------- judging
def _refusal(objective: Objective, theta: np.ndarray, found: _Found, scale: float) -> Certificate:
    refinement, reduction = found.refinement, found.reduction
    return Certificate(
        verdict="not a fixed point", reason=f"{refinement.status}: {refinement.reason}", loss=float("nan"),
        gradient_norm=float(np.linalg.norm(np.asarray(objective.gradient(theta)))), tolerance=TOLERANCE * scale,
        gradient_scale=scale, distance=float("nan"), relative_distance=float("nan"), index=None, zero_modes=None,
        zero_tolerance=None, explained={}, lowest_eigenvalue=None, escape_order=None, escape_rate=None,
        escape_direction=None, utility=None,
        construction=None, narrow_units=reduction.widths if reduction else (), narrow=None, state=None, eigenvalues=None,
        route=found.route, steps=refinement.steps)


def _judge(objective: Objective, theta: np.ndarray, found: _Found, scale: float, seed: int) -> Certificate:
    state = found.state
    spectrum = spectrum_at(objective, state, seed=seed)
    utility = _best_utility(objective, state, seed)
    escape = _escape(objective, state, spectrum, utility, seed)
    distance = float(np.linalg.norm(state - theta))
    lowest = float(spectrum.eigenvalues[0])
    return Certificate(
        verdict=escape.verdict, reason=escape.reason, loss=float(objective.loss(state)), gradient_norm=found.refinement.gradient_norm,
        tolerance=TOLERANCE * scale, gradient_scale=scale, distance=distance,
        relative_distance=distance / max(float(np.linalg.norm(theta)), 1e-300), index=spectrum.index,
        zero_modes=spectrum.zero_modes, zero_tolerance=spectrum.tolerance,
        explained=explain_zero_modes(objective, state, spectrum.kernel, seed=seed), lowest_eigenvalue=lowest,
        escape_order=escape.order, escape_rate=escape.rate, escape_direction=escape.direction, utility=utility,
        construction=found.reduction.construction if found.reduction else None,
        narrow_units=found.reduction.widths if found.reduction else (), narrow=found.narrow, state=state,
        eigenvalues=spectrum.eigenvalues, route=found.route, steps=found.refinement.steps, method=spectrum.method)


def spectrum_at(objective: Objective, state: np.ndarray, *, seed: int = 0) -> Spectrum:
    """The Hessian's spectrum at a state: dense up to 2,000 parameters, its lower and upper end by Lanczos beyond."""
    if objective.size <= DENSE:
        return dense_spectrum(hessian(objective, state))
    return lanczos_spectrum(lambda d: np.asarray(objective.hessian_vector(state, d)), objective.size, seed=seed)


def _best_utility(objective: Objective, state: np.ndarray, seed: int) -> Utility | None:
    best = None
    for index, layer in enumerate(objective.network.layers):
        if layer.unit.symmetry.degree is None or not silent_units(objective, state, index).any():
            continue
        found = best_silent_unit(objective, state, index, seed=seed)
        best = found if best is None or found.value > best.value else best
    return best


@dataclass(frozen=True, eq=False)
class _Escape:
    """The kind of fixed point and the way down from it, if there is one."""

    verdict: str
    reason: str
    order: int | None = None
    rate: float | None = None
    direction: np.ndarray | None = None


def _escape(objective: Objective, state: np.ndarray, spectrum: Spectrum, utility: Utility | None, seed: int) -> _Escape:
    """Second order first, then one silent unit, then (deep networks) several layers at once."""
    lowest = float(spectrum.eigenvalues[0])
    if lowest < -spectrum.tolerance:
        count = "some" if spectrum.index is None else spectrum.index
        reason = f"{count} negative Hessian eigenvalues, the lowest {lowest:.6g} (zero means within {spectrum.tolerance:.1e})"
        return _Escape("strict saddle", reason, 2, -lowest, spectrum.lowest_vector)
    if utility is not None and utility.value > _zero_utility(objective, utility):
        words = (f"no negative Hessian eigenvalue, but a silent unit of utility {utility.value:.6g} > 0 lowers the loss at"
                 f" order {utility.order}")
        verdict = "strict saddle" if utility.order == 2 else "degenerate saddle"
        return _Escape(verdict, words, utility.order, utility.rate, silent_direction(objective, state, utility))
    ending = "no unit is silent" if utility is None else f"silent units have utility {utility.value:.1e}, zero to rounding"
    joint = _joint_descent(objective, state, spectrum, seed)
    if joint is not None:
        words = (f"no negative Hessian eigenvalue, but units of several layers together lower the loss at order {joint.order}"
                 f" (measured {joint.measured_order:.2f}, by {joint.fall:.1e} at radius {joint.radius:.2g})")
        return _Escape("degenerate saddle", words, joint.order, None, joint.direction)
    return _Escape("minimum", f"no Hessian eigenvalue below {-spectrum.tolerance:.1e}, and {ending}")


def _joint_descent(objective: Objective, state: np.ndarray, spectrum: Spectrum, seed: int) -> Descent | None:
    """In a deep network silent units of one layer can need those of another: search the Hessian's kernel for a descent."""
    network = objective.network
    alone = len(network.layers) == 1 and not network.readout
    if alone or spectrum.kernel is None or float(objective.loss(state)) - objective.constant < 1e-14:
        return None
    radius = 0.05 * max(1.0, float(np.linalg.norm(state)) / np.sqrt(max(network.widths)))
    return find_descent(lambda t: float(objective.loss(t)), lambda t: np.asarray(objective.gradient(t)), state,
                        spectrum.kernel, radius=radius, seed=seed)


def _zero_utility(objective: Objective, utility: Utility) -> float:
    """Utilities below this are zero: 1e-9 of the utility where nothing has been learned, theta = 0."""
    reference = best_silent_unit(objective, np.zeros(objective.size), utility.layer)
    return 1e-9 * reference.value


# ---------------------------------------------------------------- zero modes
def explain_zero_modes(objective: Objective, state: np.ndarray, kernel: np.ndarray | None, *, seed: int = 0) -> dict[str, int]:
    """Count zero modes by cause; the counts add up to the columns of `kernel` (P, k).

    symmetry: directions that leave the map unchanged to first order on *any* input (tangents of rescalings, of mixtures
    of linear units, of shares within a ray). silent: directions within units at their silent point. data: directions
    that change the map, but not on the training inputs. unexplained: the rest. {} where no kernel is known.

    Method: ranks of the network's Jacobian, restricted to the kernel, on random Gaussian inputs and on the data.
    """
    if kernel is None:
        return {}
    if kernel.shape[1] == 0:
        return {"symmetry": 0, "silent": 0, "data": 0, "unexplained": 0}
    inputs = np.asarray(objective.inputs)
    outputs = max(1, int(np.prod(objective.targets.shape[1:])))
    count = -(-(kernel.shape[1] + 8) // outputs)
    random = np.random.default_rng(seed).standard_normal((count, *inputs.shape[1:]))
    function = objective.function
    free = kernel @ _null(np.asarray(_pushed(function, jnp.asarray(state), jnp.asarray(random), jnp.asarray(kernel))))
    unseen = _null(np.asarray(_pushed(function, jnp.asarray(state), jnp.asarray(inputs), jnp.asarray(kernel)))).shape[1]
    outside = ~silent_coordinates(objective, state)
    silent = _null(free[outside]).shape[1] if free.shape[1] else 0
    total, symmetry = kernel.shape[1], free.shape[1] - silent
    data = max(0, unseen - free.shape[1])
    return {"symmetry": symmetry, "silent": silent, "data": data, "unexplained": total - symmetry - silent - data}


def _pushed(function, theta, inputs, directions):
    """The first-order change of the predictions along each column of `directions`, (N O, k)."""
    predict = lambda t: function.predict(t, inputs).ravel()
    return jax.vmap(lambda d: jax.jvp(predict, (theta,), (d,))[1], in_axes=1, out_axes=1)(directions)


_pushed = jax.jit(_pushed, static_argnums=0)


def _null(matrix: np.ndarray, tolerance: float = 1e-7) -> np.ndarray:
    """An orthonormal basis (k, m) of the right null space, singular values within `tolerance` of zero relative to
    max(1, largest)."""
    columns = matrix.shape[1]
    if matrix.shape[0] == 0 or columns == 0:
        return np.eye(columns)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    return vectors[:, values <= (tolerance * max(1.0, np.sqrt(max(values[-1], 0.0)))) ** 2]
