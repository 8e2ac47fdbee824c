"""Refinement: the fixed point of a gradient field near a start, of any Hessian index, to machine precision.

Eigen-filtered Newton in a trust region. With H = Q diag(l) Q', g = grad L and c = Q'g the step is

    d = - sum_k q_k l_k c_k / (l_k^2 + m)      over |l_k| > cutoff max|l|,

where m = 0 if that step fits in the radius and otherwise |d| = radius: the minimizer of |g + H d| there. At m = 0 it is
the Newton step in the pseudo-inverse sense, attracted by saddles as much as by minima; the eigenvalues left out are the
flat directions that every network has from its symmetry. As m grows it turns into the Levenberg-Marquardt step and then
into steepest descent on |g|^2/2. Where the gradient lies along eigenvalues under the cutoff (a degenerate saddle,
approached linearly) the cutoff of that step is lowered. Without a dense Hessian the same step is taken in the Krylov
space of (H, g), which holds the minimum-norm solution (MINRES with a filtered, damped small problem).

Source: More (1978), "The Levenberg-Marquardt algorithm", for the radius; Paige and Saunders (1975) for MINRES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from .checks import finite, positive, require, whole

Vector = Float[np.ndarray, " P"]
Matrix = Float[np.ndarray, "P P"]

POLISH = 8  # most steps taken below the tolerance, as long as each at least halves |g|
SHRINK = 10  # times the radius is quartered before a step is given up
HOPS = 3  # steps taken although |g| grows, once nothing lowers it (kinks, minima of |g| that are no fixed points)
STEADY = 0.85  # Newton steps that keep this much of their length from one point to the next do not converge
RELATIVE = 1e-3  # and are called a flight to infinity if they are outward and longer than this fraction of |x|
KRYLOV, FORCING = 400, 1e-6  # matrix-free: most products a step, and the residual of |g + H d| that ends them early
REMEDY = "float32 stalls at a gradient of 1e-8 and cannot certify a saddle; use float64 (jax.enable_x64)"


@dataclass(frozen=True, eq=False)
class Refinement:
    """How a refinement ended.

    point (P,): where |g| was least. loss: there, if a loss was given. gradient_norm: absolute 2-norm;
    relative_gradient: that over `scale`. distance: |point - start|. steps: steps taken, hops that led nowhere included.
    status: "converged"; "diverged" (the iterates run off to infinity); "left the basin" (converged, but farther away than
    allowed); "stalled" (nothing lowers |g| further, or the steps are used up); "not finite". reason: a sentence with the
    numbers. history: gradient norms, the start's first.
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

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


def refine(
    gradient: Callable[[Vector], Vector],
    start: Vector,
    *,
    hessian: Callable[[Vector], Matrix] | None = None,
    hessian_vector: Callable[[Vector, Vector], Vector] | None = None,
    loss: Callable[[Vector], float] | None = None,
    tolerance: float = 1e-12,
    scale: float = 1.0,
    radius: float | None = None,
    basin: float | None = None,
    cutoff: float = 1e-9,
    max_steps: int = 60,
) -> Refinement:
    """Find x with gradient(x) = 0 near `start`, be it a minimum, a saddle of any index or a maximum.

    gradient: (P,) -> (P,) float64. Either hessian: (P,) -> (P, P) symmetric, or hessian_vector: (x, d) -> H(x) d for
    matrix-free work. tolerance: of |gradient| / scale, with `scale` the gradient norm that counts as one in the task
    (default 1e-12: two orders above what float64 reaches for a network of a thousand weights); steps go on below it
    while they halve |gradient|. radius: longest first step (default |start|/2, at least 0.1). basin: distance from the
    start beyond which a fixed point is not the one looked for. cutoff: eigenvalues under this fraction of the largest
    are flat; it is lowered for a step whose gradient lies mostly along them.

    A point that meets the tolerance while the Newton steps still carry it outwards at constant or growing length is
    "diverged", not "converged": its fixed point lies at infinity.

    Raises InputError for float32 or non-finite starts, a gradient or Hessian of another shape or dtype, an asymmetric
    Hessian, or not exactly one of hessian and hessian_vector. Cost a step: one eigendecomposition, about 10 P^3, or at
    most 400 Hessian-vector products; one or two gradients. Regular fixed points take 3-8 steps from nearby, degenerate
    ones about 30 (|g| falls by 2.2-4 times a step).

    Warning: nothing ties the result to the start but the radius and `basin`; read `distance`.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.refinement import refine
    >>> found = refine(lambda x: np.array([x[0], -x[1]]), np.array([0.3, 0.2]), hessian=lambda x: np.diag([1.0, -1.0]),
    ...                radius=1.0)
    >>> found.status, found.gradient_norm, found.steps
    ('converged', 0.0, 1)
    """
    x = _checked_start(start)
    one = (hessian is None) != (hessian_vector is None)
    require(one, "hessian or hessian_vector", "given, one of the two", "both" if hessian else "neither")
    target = positive(tolerance, "tolerance") * positive(scale, "scale")
    reach = positive(radius, "radius") if radius is not None else max(0.5 * float(np.linalg.norm(x)), 0.1)
    if basin is not None:
        reach = min(reach, positive(basin, "basin"))
    model = _Dense(hessian) if hessian is not None else _Free(hessian_vector)
    search = _Search(gradient, model, target, positive(cutoff, "cutoff"), whole(max_steps, "max_steps"))
    best, trail = search.run(_Place(x, _checked_gradient(gradient, x), reach, np.nan))
    status, reason = _verdict(best, trail, target, basin)
    best.x.flags.writeable = False
    return Refinement(best.x, None if loss is None else float(loss(best.x)), best.norm, best.norm / scale,
                      float(np.linalg.norm(best.x - x)), len(trail) - 1, status, reason, tuple(p.norm for p in trail))


# ------------------------------------------------------------------- checks
def _checked_start(start: Vector) -> Vector:
    x = np.asarray(start)
    good = x.dtype == np.float64 and x.ndim == 1
    require(good, "the start of a refinement", "a flat float64 array", f"{x.dtype} of shape {x.shape}", REMEDY)
    return finite(x, "the start of a refinement").copy()


def _checked_gradient(gradient: Callable[[Vector], Vector], x: Vector) -> Vector:
    g = np.asarray(gradient(x))
    require(g.shape == x.shape, "the gradient", f"of the start's shape {x.shape}", g.shape)
    require(g.dtype == np.float64, "the gradient", "float64", str(g.dtype), REMEDY)
    return g


# ------------------------------------------------------------------- linear models of the gradient
class _Linear(NamedTuple):
    """g + H d on a subspace, diagonal: d = basis @ a changes coefficient k by values_k a_k."""

    values: np.ndarray  # (K,) eigenvalues, or singular values on a Krylov space
    basis: np.ndarray  # (P, K)
    coefficients: np.ndarray  # (K,) of the gradient

    def filtered(self, cutoff: float, share: float = 0.5) -> _Linear:
        """Without the values under the cutoff, which is lowered until they hold at most `share` of the gradient."""
        size, total = np.abs(self.values), np.linalg.norm(self.coefficients)
        largest, least = np.max(size, initial=0.0), len(self.basis) * np.finfo(float).eps
        keep = size > cutoff * largest
        while np.linalg.norm(self.coefficients[~keep]) > share * total and cutoff > least:
            cutoff = max(1e-1 * cutoff, least)
            keep = size > cutoff * largest
        return _Linear(self.values[keep], self.basis[:, keep], self.coefficients[keep])

    def amounts(self, damping: float) -> np.ndarray:
        return -self.values * self.coefficients / (self.values**2 + damping)

    def within(self, radius: float) -> np.ndarray:
        """The amounts of the step that minimizes |g + H d| over |d| <= radius."""
        free = -self.coefficients / self.values
        if not np.linalg.norm(free) > radius:
            return free
        top = float(np.linalg.norm(self.values * self.coefficients)) / radius
        excess = lambda m: 1.0 / radius - 1.0 / max(float(np.linalg.norm(self.amounts(m))), 1e-300)  # noqa: E731
        inside = excess(1e-30 * top) > 0 > excess(top)
        amounts = self.amounts(brentq(excess, 1e-30 * top, top, xtol=1e-30 * top, rtol=1e-3) if inside else top)
        return amounts * min(1.0, radius / max(float(np.linalg.norm(amounts)), 1e-300))

    def residual(self, amounts: np.ndarray) -> float:
        """|g|^2 - |g + H d|^2, the predicted fall."""
        moved = self.values * amounts
        return float(-moved @ (2 * self.coefficients + moved))


class _Dense:
    """The model from the eigenvectors of a dense Hessian."""

    def __init__(self, hessian: Callable[[Vector], Matrix]) -> None:
        self.hessian = hessian

    def __call__(self, x: Vector, g: Vector) -> _Linear | None:
        h = np.asarray(self.hessian(x))
        require(h.shape == (x.size, x.size), "the Hessian", f"of shape {(x.size, x.size)}", h.shape)
        require(h.dtype == np.float64, "the Hessian", "float64", str(h.dtype), REMEDY)
        if not np.all(np.isfinite(h)):
            return None
        skew, size = float(np.abs(h - h.T).max()), float(np.abs(h).max())
        require(skew <= 1e-8 * size, "the Hessian", "symmetric", f"asymmetry {skew:.1e} of {size:.1e}")
        values, vectors = np.linalg.eigh(0.5 * (h + h.T))
        return _Linear(values, vectors, vectors.T @ g)


class _Free:
    """The model on the Krylov space of (H, g): H V = V+ T with T tridiagonal (K+1, K), then the singular values of T."""

    def __init__(self, hessian_vector: Callable[[Vector, Vector], Vector] | None) -> None:
        self.hessian_vector = hessian_vector

    def __call__(self, x: Vector, g: Vector) -> _Linear | None:
        size = float(np.linalg.norm(g))
        limit = min(x.size, KRYLOV)
        v, t = np.zeros((limit + 1, x.size)), np.zeros((limit + 1, limit))
        v[0] = g / size
        for k in range(limit):
            w = self._product(x, v[k])
            if not np.all(np.isfinite(w)):
                return None
            t[:k + 1, k] = v[:k + 1] @ w
            for _ in range(2):  # twice is enough: orthogonal to rounding
                w = w - v[:k + 1].T @ (v[:k + 1] @ w)
            t[k + 1, k] = np.linalg.norm(w)
            ended = t[k + 1, k] <= 1e-13 * np.abs(t).max()
            if ended or k + 1 == limit or (k % 10 == 9 and _residual(t[:k + 2, :k + 1]) < FORCING):
                break
            v[k + 1] = w / t[k + 1, k]
        left, values, right = np.linalg.svd(t[:k + 2, :k + 1], full_matrices=False)
        return _Linear(values, v[:k + 1].T @ right.T, size * left[0])

    def _product(self, x: Vector, d: Vector) -> Vector:
        w = np.asarray(self.hessian_vector(x, d))  # type: ignore[misc]
        require(w.shape == x.shape, "the Hessian-vector product", f"of shape {x.shape}", w.shape)
        require(w.dtype == np.float64, "the Hessian-vector product", "float64", str(w.dtype), REMEDY)
        return w


def _residual(t: np.ndarray) -> float:
    """min |e_1 + T y|: what is left of the gradient, relatively."""
    rhs = np.zeros(len(t))
    rhs[0] = 1.0
    return float(np.linalg.norm(rhs - t @ np.linalg.lstsq(t, rhs, rcond=1e-12)[0]))


# ------------------------------------------------------------------- the walk
class _Place(NamedTuple):
    x: Vector
    g: Vector
    radius: float
    newton: float  # length of the full Newton step that led here, before the radius cut it

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.g))


class _Search(NamedTuple):
    gradient: Callable[[Vector], Vector]
    model: _Dense | _Free
    target: float
    cutoff: float
    max_steps: int

    def run(self, place: _Place) -> tuple[_Place, list[_Place]]:
        """(the place of least |g|, all places from the start on)."""
        trail, best, hops, below, reach = [place], place, 0, 0, place.radius
        while len(trail) <= self.max_steps and np.isfinite(place.norm) and place.norm > 0 and below <= POLISH:
            linear = self.model(place.x, place.g)
            if linear is None:
                break
            linear = linear.filtered(self.cutoff if place.norm > self.target else max(self.cutoff, 1e-9))
            new = self._lower(place, linear)
            if new is None and best.norm > self.target and hops < HOPS:
                new, hops = self._move(place, linear, reach / 4 ** (HOPS - 1 - hops)), hops + 1
            if new is None or not np.isfinite(new.norm):
                break
            trail.append(new)
            below += new.norm <= self.target
            slow = best.norm <= self.target and new.norm > 0.5 * best.norm
            place, best = new, (new if new.norm < best.norm else best)
            if slow or np.linalg.norm(place.x) > 1e8 * (1 + np.linalg.norm(trail[0].x)):
                break
        return best, trail

    def _lower(self, place: _Place, linear: _Linear) -> _Place | None:
        """The next place: the step in the largest radius that lowers |g|, or None."""
        radius = place.radius
        for _ in range(SHRINK if place.norm > self.target else 2):
            new = self._move(place, linear, radius)
            if new is None:
                return None
            if new.norm < place.norm:
                return new
            radius = 0.25 * min(radius, float(np.linalg.norm(new.x - place.x)))
        return None

    def _move(self, place: _Place, linear: _Linear, radius: float) -> _Place | None:
        """The place one step away, its radius adapted to how well the fall of |g|^2 was predicted."""
        amounts = linear.within(radius)
        length = float(np.linalg.norm(amounts))
        if not np.isfinite(length) or length <= 1e-17 * float(np.linalg.norm(place.x)):
            return None
        x = place.x + linear.basis @ amounts
        g = np.asarray(self.gradient(x))
        fall = (place.norm**2 - float(g @ g)) / max(linear.residual(amounts), 1e-300)
        factor = 0.5 if not fall > 0.25 else 4.0 if fall > 0.75 and length > 0.9 * radius else 1.0
        newton = float(np.linalg.norm(linear.coefficients / linear.values))
        return _Place(x, g, factor * radius, newton)


# ------------------------------------------------------------------- the verdict
def _verdict(best: _Place, trail: list[_Place], target: float, basin: float | None) -> tuple[str, str]:
    start, norm, steps = trail[0].x, best.norm, len(trail) - 1
    size, before, distance = (float(np.linalg.norm(v)) for v in (best.x, start, best.x - start))
    if not np.isfinite(norm):
        return "not finite", f"the gradient is not finite where the refinement stood after {steps} steps"
    if _runs_away(trail):
        return "diverged", (f"the point grew from norm {before:.3g} to {size:.3g} in {steps} steps and the last Newton step is"
                            f" {trail[-1].newton:.2g} long, at gradient norm {norm:.1e}: the fixed point lies at infinity")
    if norm > target:
        return "stalled", f"the gradient norm stays at {norm:.1e} after {steps} steps, above the tolerance {target:.1e}"
    if basin is not None and distance > basin:
        return "left the basin", (f"the fixed point found (gradient norm {norm:.1e}, {steps} steps) is {distance:.3g} from"
                                  f" the start, farther than the allowed {basin:.3g}")
    return "converged", f"gradient norm {norm:.1e} after {steps} steps, {distance:.3g} from the start"


def _runs_away(trail: list[_Place]) -> bool:
    """Whether the last steps lead outwards and the Newton steps behind them do not get shorter."""
    if len(trail) < 4:
        return False
    sizes = np.array([np.linalg.norm(p.x) for p in trail])
    if sizes[-1] > 1e8 * (1 + sizes[0]):
        return True
    newton = np.array([p.newton for p in trail[-3:]])
    steady = np.all(newton[1:] > STEADY * newton[:-1]) and newton[-1] > RELATIVE * sizes[-1]
    return bool(steady and np.all(np.diff(sizes[-4:]) > 0) and sizes[-1] > 1.2 * sizes[0])
