"""Refinement: the fixed point of a gradient field near a start, of any Hessian index, to machine precision.

Eigen-filtered Newton with a trust region. With H = Q diag(l) Q' and g = grad L, the step is
    d = - sum_{|l_k| > c max|l|} q_k (q_k . g) / l_k,
the Newton step in the pseudo-inverse sense: it is attracted by saddles as much as by minima, and leaves alone the flat
directions that every network has from its symmetry. A step is kept if |g| falls; otherwise the radius shrinks and, at
last, a Levenberg-Marquardt step on |g|^2/2, d = -(H^2 + m 1)^{-1} H g, is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, lsmr

from .checks import finite, positive, require

Vector = Float[np.ndarray, " P"]
POLISH = 8  # extra steps taken below the tolerance, as long as they improve
GROWTH = 1e-3  # a relative step that is still larger than this at convergence, outwards, means: on the way to infinity


@dataclass(frozen=True)
class Refinement:
    """How a refinement ended.

    point (P,): the last iterate. loss: there, if a loss was given. gradient_norm, relative_gradient: 2-norm, absolute and
    over the scale. distance: |point - start|. steps: Newton steps taken. status: "converged", "diverged" (the iterates
    run off to infinity), "left the basin" (converged, but farther from the start than allowed), "stalled" (no step
    lowers |g| further) or "not finite". reason: in words. history: gradient norms, the start's first.
    """

    point: Vector
    loss: float | None
    gradient_norm: float
    relative_gradient: float
    distance: float
    steps: int
    status: str
    reason: str
    history: tuple[float, ...]

    @property
    def converged(self) -> bool:
        return self.status == "converged"


def refine(
    gradient: Callable[[Vector], Vector],
    start: Vector,
    *,
    hessian: Callable[[Vector], np.ndarray] | None = None,
    hessian_vector: Callable[[Vector, Vector], Vector] | None = None,
    loss: Callable[[Vector], float] | None = None,
    tolerance: float = 1e-12,
    scale: float = 1.0,
    radius: float | None = None,
    basin: float | None = None,
    cutoff: float = 1e-9,
    max_steps: int = 100,
) -> Refinement:
    """Find the zero of `gradient` near `start`.

    gradient (P,) -> (P,); hessian (P,) -> (P, P) symmetric, or hessian_vector(x, d) -> (P,) for matrix-free work.
    tolerance: of the gradient norm relative to `scale`, the gradient scale of the task; polishing goes on below it while
    it helps. radius: of the trust region at first (default: half the norm of the start, at least 0.1). basin: greatest
    allowed distance from the start. cutoff: eigenvalues below this fraction of the largest are left out of the step.

    Raises InputError for float32 or non-finite starts, a gradient of another shape, or without a Hessian. Cost: one
    eigendecomposition, P^3, a step (dense), or a few hundred Hessian-vector products (matrix-free).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.refinement import refine
    >>> found = refine(lambda x: np.array([x[0], -x[1]]), np.array([0.3, 0.2]), hessian=lambda x: np.diag([1.0, -1.0]))
    >>> found.status, found.gradient_norm
    ('converged', 0.0)
    """
    x = _checked(start, gradient)
    positive(tolerance, "tolerance")
    positive(scale, "scale")
    require(hessian is not None or hessian_vector is not None, "hessian", "given, or hessian_vector", "neither")
    model = _Dense(hessian, cutoff) if hessian is not None else _Free(hessian_vector)
    reach = radius if radius is not None else max(0.5 * float(np.linalg.norm(x)), 0.1)
    g = np.asarray(gradient(x))
    history, last, polish, damping = [float(np.linalg.norm(g))], np.inf, 0, cutoff
    while len(history) <= max_steps and history[-1] > 0:
        done = history[-1] <= tolerance * scale
        if done and polish >= POLISH:
            break
        model.at(x)
        step = _accepted(model, gradient, x, g, reach, damping)
        if step is None:
            break
        d, g, reach = step
        x, last, polish = x + d, float(np.linalg.norm(d)), polish + done
        history.append(float(np.linalg.norm(g)))
        if np.linalg.norm(x) > 1e8 * (1 + np.linalg.norm(start)):
            break
    return _result(x, np.asarray(start), history, last, tolerance, scale, basin, loss)


def _checked(start: Vector, gradient: Callable[[Vector], Vector]) -> Vector:
    x = np.asarray(start)
    require(x.dtype == np.float64 and x.ndim == 1, "the start of a refinement", "a flat float64 array",
            f"{x.dtype} of shape {x.shape}", "float32 never certifies; convert it and enable 64-bit JAX")
    finite(x, "the start of a refinement")
    g = np.asarray(gradient(x))
    require(g.shape == x.shape, "the gradient", f"of shape {x.shape}", g.shape)
    require(g.dtype == np.float64, "the gradient", "float64", g.dtype, "enable 64-bit JAX")
    return x.copy()


class _Dense:
    """Newton and Levenberg-Marquardt steps from an eigendecomposition."""

    def __init__(self, hessian: Callable[[Vector], np.ndarray], cutoff: float) -> None:
        self.hessian, self.cutoff = hessian, cutoff

    def at(self, x: Vector) -> None:
        self.values, self.vectors = np.linalg.eigh(np.asarray(self.hessian(x)))
        self.largest = float(np.max(np.abs(self.values), initial=1e-300))

    def newton(self, g: Vector) -> Vector:
        keep = np.abs(self.values) > self.cutoff * self.largest
        q = self.vectors[:, keep]
        return -q @ ((q.T @ g) / self.values[keep])

    def damped(self, g: Vector, mu: float) -> Vector:
        weights = self.values / (self.values**2 + mu * self.largest**2)
        return -self.vectors @ (weights * (self.vectors.T @ g))


class _Free:
    """The same steps by LSMR, which returns the minimum-norm solution of a singular system."""

    def __init__(self, hessian_vector: Callable[[Vector, Vector], Vector] | None) -> None:
        self.hessian_vector = hessian_vector

    def at(self, x: Vector) -> None:
        product = lambda d: np.asarray(self.hessian_vector(x, d.ravel()))  # type: ignore[misc]  # noqa: E731
        self.operator = LinearOperator((x.size, x.size), matvec=product, rmatvec=product, dtype=float)
        probe = np.random.default_rng(0).standard_normal(x.size)
        self.largest = float(np.linalg.norm(product(probe)) / np.linalg.norm(probe))

    def newton(self, g: Vector) -> Vector:
        return -lsmr(self.operator, g, atol=1e-10, btol=1e-10, conlim=1e9, maxiter=400)[0]

    def damped(self, g: Vector, mu: float) -> Vector:
        return -lsmr(self.operator, g, damp=np.sqrt(mu) * self.largest, atol=1e-8, btol=1e-8, maxiter=400)[0]


def _accepted(model: _Dense | _Free, gradient, x: Vector, g: Vector, reach: float, damping: float):
    """The first step that lowers |g|: (step, new gradient, new radius), or None."""
    norm = float(np.linalg.norm(g))
    for d, limit in _candidates(model, g, reach):
        size = float(np.linalg.norm(d))
        if not np.isfinite(size) or size == 0.0:
            continue
        d = d * min(1.0, limit / size)
        new = np.asarray(gradient(x + d))
        if np.all(np.isfinite(new)) and np.linalg.norm(new) < norm:
            return d, new, max(reach, 2 * float(np.linalg.norm(d))) if limit == reach else 2 * limit
    return None


def _candidates(model: _Dense | _Free, g: Vector, reach: float):
    newton = model.newton(g)
    for k in range(4):
        yield newton, reach / 4**k
    for mu in (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 1e2):
        yield model.damped(g, mu), reach


def _result(x: Vector, start: Vector, history: list[float], last: float, tolerance: float, scale: float,
            basin: float | None, loss: Callable[[Vector], float] | None) -> Refinement:
    norm, distance = history[-1], float(np.linalg.norm(x - start))
    status, reason = _status(x, start, history, last, tolerance * scale, distance, basin)
    return Refinement(x, None if loss is None else float(loss(x)), norm, norm / scale, distance, len(history) - 1, status,
                      reason, tuple(history))


def _status(x: Vector, start: Vector, history: list[float], last: float, target: float, distance: float,
            basin: float | None) -> tuple[str, str]:
    norm, size = history[-1], float(np.linalg.norm(x))
    growing = size > 2 * float(np.linalg.norm(start)) + 1e-6 and np.isfinite(last) and last > GROWTH * size
    if not np.isfinite(norm):
        return "not finite", "the gradient is not finite"
    if growing:
        return "diverged", (f"the weights grew from {np.linalg.norm(start):.3g} to {size:.3g} and still move by {last:.1e} a"
                            f" step at gradient norm {norm:.1e}: the fixed point lies at infinity")
    if norm > target:
        return "stalled", f"the gradient norm stays at {norm:.1e}, above the asked {target:.1e}, after {len(history) - 1} steps"
    if basin is not None and distance > basin:
        return "left the basin", f"the nearest fixed point found is {distance:.3g} away, farther than the allowed {basin:.3g}"
    return "converged", f"gradient norm {norm:.1e} after {len(history) - 1} steps, {distance:.3g} from the start"
