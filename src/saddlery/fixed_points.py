"""The fixed point behind a state, by way of its narrow network or directly.

*Reduce*: reduce the state to its narrow network, refine that to a fixed point, embed it back beside the state (Theorem 1).
*Direct*: refine the wide state itself. The first comes first, because the narrow problem is small and keeps only the
symmetry of its own units; the second is tried where the first does not end at a fixed point near the state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from .curvature import hessian
from .networks import flatten
from .objectives import Objective
from .refinement import Refinement, refine
from .symmetry import Reduction, embed_near, reduce
from .symmetry.reduction import sides

TOLERANCE = 1e-12  # of the gradient norm, relative to the task's gradient scale: the project's criterion
DENSE = 2000  # parameters up to which the Hessian is formed
BASIN = 1.0  # a fixed point farther from the state than this multiple of its own norm is not the one behind it


@dataclass(frozen=True, eq=False)
class Found:
    """A fixed point of the wide network and how it was reached."""

    state: np.ndarray
    reduction: Reduction | None
    narrow: np.ndarray | None
    refinement: Refinement
    route: str


def find_fixed_point(
    objective: Objective, theta: np.ndarray, scale: float, tolerance: float, route: str, reduction: Reduction | None
) -> Found:
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
        lambda t: np.asarray(objective.gradient(t)),
        start,
        tolerance=TOLERANCE,
        scale=scale,
        basin=None if basin is None else basin * max(float(np.linalg.norm(start)), 1e-3),
        hessian=(lambda t: hessian(objective, t)) if dense else None,
        hessian_vector=None if dense else (lambda t, d: np.asarray(objective.hessian_vector(t, d))),
        loss=lambda t: float(objective.loss(t)),
    )


def fixed_point(small: Objective, start: np.ndarray, scale: float, basin: float | None) -> Refinement:
    """The fixed point of a narrow network near a state: Newton refinement, from where it settles if need be.

    Newton's method alone can miss when the run leaves the saddle before it has come near. The narrow network then settles
    in its own minimum first, as the flow on the invariant manifold would (trust-region minimisation by scipy, whose only
    role is a better start; what counts is the refinement after it).
    """
    first = refined(small, start, scale, basin)
    if first.converged or small.size > DENSE:
        return first
    found = minimize(
        lambda t: float(small.loss(t)),
        start,
        jac=lambda t: np.asarray(small.gradient(t)),
        hess=lambda t: hessian(small, t),
        method="trust-exact",
        options={"gtol": 1e-9 * scale, "maxiter": 200},
    )
    again = refined(small, found.x, scale, None)
    distance, allowed = float(np.linalg.norm(again.point - start)), max(float(np.linalg.norm(start)), 1e-3)
    if again.converged and basin is not None and distance > basin * allowed:
        return replace(
            again,
            status="left the basin",
            distance=distance,
            reason=f"the narrow network settles {distance:.3g}"
            f" away from its reduction, farther than the allowed {basin * allowed:.3g}",
        )
    return replace(again, distance=distance) if again.converged else first


def _direct(objective: Objective, theta: np.ndarray, scale: float) -> Found:
    refinement = refined(objective, theta, scale, BASIN)
    reduction = reduce(objective, refinement.point) if refinement.converged else None
    return Found(refinement.point, reduction, None, refinement, "direct")


def _through_narrow(objective: Objective, theta: np.ndarray, reduction: Reduction, scale: float) -> Found:
    if not any(reduction.widths):
        return _origin(objective, theta, reduction, scale)
    small = objective.with_network(reduction.network)
    refinement = fixed_point(small, reduction.theta, scale, BASIN)
    state = embed_state_near(objective, small, refinement.point, reduction)
    return Found(state, reduction, refinement.point, _checked_wide(objective, state, refinement, scale), "reduce")


def _origin(objective: Objective, theta: np.ndarray, reduction: Reduction, scale: float) -> Found:
    """No units are left: all of them silent, which is a fixed point if every layer's units have a silent point."""
    state = np.zeros_like(theta)
    norm = float(np.linalg.norm(np.asarray(objective.gradient(state))))
    status = "converged" if norm <= TOLERANCE * scale else "stalled"
    refinement = Refinement(
        state,
        float(objective.loss(state)),
        norm,
        norm / scale,
        float(np.linalg.norm(theta)),
        0,
        status,
        f"all units silent; gradient norm {norm:.1e}",
        (norm,),
    )
    return Found(state, reduction, reduction.theta, refinement, "reduce")


def _checked_wide(objective: Objective, state: np.ndarray, refinement: Refinement, scale: float) -> Refinement:
    """The same refinement, called converged only if the wide gradient at the embedded point is zero as well."""
    norm = float(np.linalg.norm(np.asarray(objective.gradient(state))))
    if refinement.converged and norm > TOLERANCE * scale:
        return replace(
            refinement,
            status="stalled",
            gradient_norm=norm,
            relative_gradient=norm / scale,
            reason=f"the narrow fixed point converged, but embedded in the wide network its gradient norm is"
            f" {norm:.1e}, above the tolerance {TOLERANCE * scale:.1e}",
        )
    return (
        replace(refinement, gradient_norm=norm, relative_gradient=norm / scale) if refinement.converged else refinement
    )


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
