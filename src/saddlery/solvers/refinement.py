"""Refinement: the fixed point of a gradient field near a start, of any index, to
machine precision.

Eigen-filtered Newton in a trust region. With H = Q diag(l) Q', g = grad L and c = Q'g
the step is

    d = - sum_k q_k l_k c_k / (l_k^2 + m)      over |l_k| > cutoff max|l|,

where m = 0 if that step fits in the radius and otherwise |d| = radius: the minimizer of
|g + H d| there. At m = 0 it is the Newton step in the pseudo-inverse sense, attracted
by saddles as much as by minima; as m grows it turns into the Levenberg-Marquardt step
and then into steepest descent on |g|^2/2. Left out are the flat directions that every
network has from its symmetry: their eigenvalues are zero only at the fixed point and of
order |g| nearby, so the cutoff is never under |g| / first radius. Where most of the
gradient lies in what was left out (a degenerate saddle, approached linearly) the cutoff
of that step is lowered. A step that does not clearly lower |g| gets chord steps
-H^+ g(x + d), which lead back to the floor of a curved valley of |g|. Without a dense
Hessian the same steps are taken in the Krylov space of (H, g), which holds the
minimum-norm solution (MINRES with a filtered, damped small problem).

Sources: More (1978), "The Levenberg-Marquardt algorithm", for the radius; Paige and
Saunders (1975) for MINRES; Yamashita and Fukushima (2001) for regularizing by |g| where
zeros are not isolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from ..basis.checks import Words, finite, positive, require, whole
from ..basis.sizes import TINY
from ..basis.values import Value

Vector = Float[np.ndarray, " P"]
Matrix = Float[np.ndarray, "P P"]

# Below the tolerance so many steps are taken at most, as long as each at least halves
# |g|.
POLISH = 8
# A step is given up when its radius has been quartered so often: above the tolerance,
# and below it.
SHRINK, SHRINK_BELOW = 10, 2
# A badly predicted step that leaves more than this of |g| gets up to so many chord
# steps.
LEAVES, CHORDS = 0.9, 4
# Newton steps that keep this share of their length from one point to the next, over so
# many points (three below the tolerance), do not converge.
STEADY, STEADY_POINTS = 0.95, 8
# They are a flight to infinity if they lead outwards, too, and are longer than this
# share of |x|.
OUTWARD = 1e-3
# A point so many times farther out than the start is in flight, too.
FLOWN = 1e8
# Without a matrix a step takes so many products at most, fewer where the residual of |g
# + H d| falls below this share.
KRYLOV, FORCING = 400, 1e-6
# The radius grows where more than this share of the predicted fall of |g|^2 is found,
# and shrinks where less than the second is.
PREDICTED_WELL, PREDICTED_BADLY = 0.75, 0.25
# The damping is sought over so many e-folds, from steepest descent down to rounding.
DAMPINGS = 70.0
ZEROS_NEED_DOUBLE = (
    "float32 stalls at a gradient of 1e-8 and cannot certify a saddle; use float64 (jax.enable_x64)"
)


@dataclass(frozen=True, eq=False)
class Refinement(Value):
    """How a refinement ended.

    point (P,): where |g| is least, read-only.
    loss: there, if a loss was given.
    gradient_norm: absolute 2-norm.
    relative_gradient: that over `scale`.
    distance: |point - start|.
    steps: steps taken.
    status: "converged"; "diverged" (the iterates run off to infinity); "left the basin"
        (converged, but farther away than allowed); "stalled" (nothing lowers |g|
        further, or the steps are used up); "not finite".
    reason: a sentence with the numbers.
    history: gradient norms, the start's first.
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
        """Whether a fixed point was found that counts as the one near the start."""
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
    """Find x with gradient(x) = 0 near `start`: a minimum, a saddle of any index, or a
    maximum.

    gradient: (P,) -> (P,) float64.
    start (P,): float64.
    hessian: (P,) -> (P, P) symmetric; or
    hessian_vector: (x, d) -> H(x) d for matrix-free work.
    loss: (P,) -> number, to be told at the point found.
    tolerance: of |gradient| / scale, with `scale` the gradient norm that counts as one
        in the task (default 1e-12: two orders above what float64 reaches for a network
        of a thousand weights); steps go on below it while they halve |gradient|.
    radius: longest first step (default |start|/2, at least 0.1).
    basin: distance from the start beyond which a fixed point is not the one looked for.
    cutoff: eigenvalues under this fraction of the largest are flat; it is lowered for a
        step whose gradient lies mostly along them.

    A point that meets the tolerance (or runs out of steps) while the Newton steps still
    carry it outwards at constant or growing length is "diverged", not "converged": its
    fixed point lies at infinity.

    Raises InputError for float32 or non-finite starts, a gradient or Hessian of another
    shape or dtype, an asymmetric Hessian, or not exactly one of hessian and
    hessian_vector. Cost a step: one eigendecomposition, about 10 P^3, or at most 400
    Hessian-vector products; one or two gradients. Regular fixed points take 3-8 steps
    from nearby, degenerate ones about 30 (|g| falls by 2.2-4 times a step).

    Warning: nothing ties the result to the start but the radius and `basin`; read
    `distance`. Every accepted step lowers |g|, which from afar may have minima that are
    no zeros ("stalled"), or fall for ever along a valley that leads away: start near
    the fixed point. On piecewise smooth gradients (ReLU) a zero that lies on a kink is
    not reached.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.solvers.refinement import refine
    >>> found = refine(
    ...     lambda x: np.array([x[0], -x[1]]),
    ...     np.array([0.3, 0.2]),
    ...     hessian=lambda x: np.diag([1.0, -1.0]),
    ...     radius=1.0,
    ... )
    >>> found.status, found.gradient_norm, found.steps
    ('converged', 0.0, 1)
    """
    x = _checked_start(start)
    target = positive(tolerance, "tolerance") * positive(scale, "scale")
    search = _Search(
        gradient=gradient,
        model=_model(hessian, hessian_vector),
        target=target,
        cutoff=positive(cutoff, "cutoff"),
        reach=_first_radius(x, radius, basin),
        max_steps=whole(max_steps, "max_steps"),
    )
    slope = _checked_gradient(gradient, x)
    begin = _Place(x, slope, radius=search.reach, newton=np.nan)
    # Trial points may be wild; they are not accepted.
    with np.errstate(over="ignore", invalid="ignore"):
        trail, ended = search.run(begin)

    best = trail[-1]
    status, reason = _verdict(trail, ended, target, basin)
    best.x.flags.writeable = False
    return Refinement(
        point=best.x,
        loss=None if loss is None else float(loss(best.x)),
        gradient_norm=best.norm,
        relative_gradient=best.norm / scale,
        distance=float(np.linalg.norm(best.x - x)),
        steps=len(trail) - 1,
        status=status,
        reason=reason,
        history=tuple(place.norm for place in trail),
    )


def _model(
    hessian: Callable[[Vector], Matrix] | None,
    hessian_vector: Callable[[Vector, Vector], Vector] | None,
) -> _Dense | _Free:
    """How the gradient is modelled near a place, by what was given."""
    require(
        (hessian is None) != (hessian_vector is None),
        "hessian or hessian_vector",
        needed="given, one of the two",
        given=Words("both" if hessian else "neither"),
    )
    return _Dense(hessian) if hessian is not None else _Free(hessian_vector)


def _first_radius(x: Vector, radius: float | None, basin: float | None) -> float:
    """The longest first step within the basin: as asked, or by the size of the start."""
    reach = max(0.5 * float(np.linalg.norm(x)), 0.1)
    if radius is not None:
        reach = positive(radius, "radius")
    if basin is not None:
        reach = min(reach, positive(basin, "basin"))
    return reach


# ------------------------------------------------------------------- checks
def _checked_start(start: Vector) -> Vector:
    x = np.asarray(start)
    require(
        x.dtype == np.float64 and x.ndim == 1,
        "the start of a refinement",
        needed="a flat float64 array",
        given=f"{x.dtype} of shape {x.shape}",
        remedy=ZEROS_NEED_DOUBLE,
    )
    return finite(x, "the start of a refinement").copy()


def _checked_gradient(gradient: Callable[[Vector], Vector], x: Vector) -> Vector:
    g = np.asarray(gradient(x))
    _require_array(g, "the gradient", x.shape, f"of the start's shape {x.shape}")
    return g


def _require_array(
    array: np.ndarray,
    name: str,
    shape: tuple[int, ...],
    needed: str,
) -> None:
    require(array.shape == shape, name, needed=needed, given=array.shape)
    double = array.dtype == np.float64
    require(double, name, needed="float64", given=str(array.dtype), remedy=ZEROS_NEED_DOUBLE)


# ------------------------------------------------------------------- models of the gradient
class _Linear(NamedTuple):
    """g + H d on a subspace, diagonal: d = basis @ a changes the coefficient c_k by l_k
    a_k.

    values (K,): l, eigenvalues, or singular values on a Krylov space.
    basis (P, K): of the subspace.
    coefficients (K,): c, of the gradient.
    """

    values: np.ndarray
    basis: np.ndarray
    coefficients: np.ndarray

    def filtered(self, cutoff: float, share: float = 0.5) -> _Linear:
        """Without the values under the cutoff.

        It is lowered until they hold at most `share` of the gradient.
        """
        size, total = np.abs(self.values), np.linalg.norm(self.coefficients)
        largest = np.max(size, initial=0.0)
        least = len(self.basis) * np.finfo(float).eps
        keep = size > cutoff * largest
        while cutoff > least:
            left_out = np.linalg.norm(self.coefficients[~keep])
            if not left_out > share * total:
                break
            cutoff = max(0.1 * cutoff, least)
            keep = size > cutoff * largest
        return _Linear(self.values[keep], self.basis[:, keep], self.coefficients[keep])

    def amounts(self, damping: float) -> np.ndarray:
        """Of the damped step, - l c / (l^2 + m)."""
        return -self.values * self.coefficients / (self.values**2 + damping)

    def fall(self, amounts: np.ndarray) -> float:
        """|g|^2 - |g + H d|^2, as the model predicts it."""
        moved = self.values * amounts
        return float(-moved @ (2 * self.coefficients + moved))

    def newton(self) -> np.ndarray:
        """Amounts of the full step, - c / l."""
        return -self.coefficients / self.values

    def within(self, radius: float) -> np.ndarray:
        """The amounts of the step that minimizes |g + H d| over |d| <= radius."""
        free = self.newton()
        length = float(np.linalg.norm(free))
        if not length > radius:
            return free
        # At the upper end steepest descent fits in half the radius; the lower is beyond
        # rounding.
        steepest = float(np.linalg.norm(self.values * self.coefficients))
        top = np.log(max(2 * steepest / radius, TINY))
        bottom = top - DAMPINGS
        if self._excess(bottom, radius) <= 0:
            return free * (radius / length)
        found = brentq(self._excess, bottom, top, args=(radius,), xtol=1e-4)
        amounts = self.amounts(np.exp(float(found)))  # pyright: ignore (stubs)
        return amounts * min(1.0, radius / float(np.linalg.norm(amounts)))

    def _excess(self, log_damping: float, radius: float) -> float:
        """1 - radius / |d|: zero where the damped step is `radius` long.

        Nearly linear in the damping (More 1978).
        """
        length = float(np.linalg.norm(self.amounts(np.exp(log_damping))))
        return 1.0 - radius / max(length, TINY)


class _Dense:
    """The model from the eigenvectors of a dense Hessian."""

    def __init__(self, hessian: Callable[[Vector], Matrix]) -> None:
        self.hessian = hessian

    def __call__(self, x: Vector, g: Vector) -> _Linear | None:
        h = np.asarray(self.hessian(x))
        shape = (x.size, x.size)
        _require_array(h, "the Hessian", shape, f"of shape {shape}")
        if not np.all(np.isfinite(h)):
            return None
        skew, size = float(np.abs(h - h.T).max()), float(np.abs(h).max())
        require(
            skew <= 1e-8 * size,
            "the Hessian",
            needed="symmetric",
            given=f"asymmetry {skew:.1e} of {size:.1e}",
        )
        values, vectors = np.linalg.eigh(0.5 * (h + h.T))
        return _Linear(values, vectors, vectors.T @ g)


class _Free:
    """The model on the Krylov space of (H, g).

    H V = V+ T with T tridiagonal (K+1, K), then the singular values of T.
    """

    def __init__(
        self,
        hessian_vector: Callable[[Vector, Vector], Vector] | None,
    ) -> None:
        self.hessian_vector = hessian_vector

    def __call__(self, x: Vector, g: Vector) -> _Linear | None:
        size = float(np.linalg.norm(g))
        limit = min(x.size, KRYLOV)
        v, t = np.zeros((limit + 1, x.size)), np.zeros((limit + 1, limit))
        v[0] = g / size
        for k in range(limit):
            done = v[: k + 1]
            w = self._product(x, v[k])
            if not np.all(np.isfinite(w)):
                return None
            t[: k + 1, k] = done @ w
            for _ in range(2):  # twice is enough: orthogonal to rounding
                w = w - done.T @ (done @ w)
            t[k + 1, k] = np.linalg.norm(w)
            if k + 1 == limit or _ends(t, k):
                break
            v[k + 1] = w / t[k + 1, k]
        left, values, right = np.linalg.svd(t[: k + 2, : k + 1], full_matrices=False)
        return _Linear(values, v[: k + 1].T @ right.T, size * left[0])

    def _product(self, x: Vector, d: Vector) -> Vector:
        w = np.asarray(self.hessian_vector(x, d))  # type: ignore[misc]
        _require_array(w, "the Hessian-vector product", x.shape, f"of shape {x.shape}")
        return w


def _ends(t: np.ndarray, k: int) -> bool:
    """Whether the Krylov space is exhausted or, as is looked at now and then, holds the
    solution."""
    if t[k + 1, k] <= 1e-13 * np.abs(t).max():
        return True
    return k % 10 == 9 and _residual(t[: k + 2, : k + 1]) < FORCING


def _residual(t: np.ndarray) -> float:
    """min |e_1 + T y|: what is left of the gradient, relatively."""
    rhs = np.zeros(len(t))
    rhs[0] = 1.0
    solution = np.linalg.lstsq(t, rhs, rcond=1e-12)[0]
    return float(np.linalg.norm(rhs - t @ solution))


# ------------------------------------------------------------------- the walk
class _Place(NamedTuple):
    """A point of the walk.

    x, g (P,): the point, and the gradient there.
    radius: longest step from here.
    newton: length of the full Newton step that led here, before the radius cut it.
    """

    x: Vector
    g: Vector
    radius: float
    newton: float

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.g))


class _Search(NamedTuple):
    """What is walked on, and how far.

    reach: the first radius, the length scale of the problem.
    """

    gradient: Callable[[Vector], Vector]
    model: _Dense | _Free
    target: float
    cutoff: float
    reach: float
    max_steps: int

    def run(self, place: _Place) -> tuple[list[_Place], str]:
        """All places from the start on, |g| falling from each to the next, and why there
        are no more."""
        trail, below = [place], 0
        farthest = FLOWN * (1 + np.linalg.norm(place.x))
        while 0 < place.norm < np.inf and below <= POLISH:
            if len(trail) > self.max_steps:
                return trail, "the steps are used up"
            linear = self.model(place.x, place.g)
            if linear is None:
                return trail, "the Hessian is not finite"
            new = self._lower(place, linear)
            if new is None:
                return trail, "no step lowers it"
            trail.append(new)
            below += new.norm <= self.target
            slow = place.norm <= self.target and new.norm > 0.5 * place.norm
            place = new
            if slow or np.linalg.norm(place.x) > farthest:
                break
        return trail, "" if np.isfinite(place.norm) else "the gradient is not finite"

    def _lower(self, place: _Place, linear: _Linear) -> _Place | None:
        """The next place: the step in the largest radius that lowers |g|, or None.

        Corrected by chord steps if need be.
        """
        filtered = linear.filtered(self._blurred(linear, place.norm, self.reach))
        above = place.norm > self.target
        radius = place.radius
        for _ in range(SHRINK if above else SHRINK_BELOW):
            if not radius > 1e-16 * np.linalg.norm(place.x):
                return None
            new = self._tried(place, filtered, radius)
            if new is None:
                return None
            predicted = new.norm < place.norm and new.radius >= radius
            if predicted or new.norm < LEAVES * place.norm:
                return new
            if above:
                new = self._corrected(place, new, linear, radius)
            if new.norm < place.norm:
                return new
            radius *= 0.25
        return None

    def _tried(self, place: _Place, linear: _Linear, radius: float) -> _Place | None:
        """The place one step away, its radius by how well the fall was predicted."""
        amounts = linear.within(radius)
        length = float(np.linalg.norm(amounts))
        if not np.isfinite(length) or length == 0:
            return None
        x = place.x + linear.basis @ amounts
        g = np.asarray(self.gradient(x))
        fall = place.norm**2 - float(g @ g)
        ratio = fall / max(linear.fall(amounts), TINY)
        factor = 1.0
        if not ratio > PREDICTED_BADLY:
            factor = 0.5
        elif ratio > PREDICTED_WELL and length > 0.9 * radius:
            factor = 4.0
        newton = float(np.linalg.norm(linear.newton()))
        return _Place(x, g, radius=factor * radius, newton=newton)

    def _corrected(
        self,
        place: _Place,
        new: _Place,
        linear: _Linear,
        radius: float,
    ) -> _Place:
        """The best of a trial and its chord steps.

        They are taken in the directions stiff enough not to undo it.
        """
        x, g, best = new.x, new.g, new
        for _ in range(CHORDS):
            size = float(np.linalg.norm(g))
            if not np.isfinite(size):
                break
            here = linear._replace(coefficients=linear.basis.T @ g)
            stiff = here.filtered(self._blurred(linear, size, 0.5 * radius), share=1.0)
            x = x + stiff.basis @ stiff.within(radius)
            g = np.asarray(self.gradient(x))
            norm = np.linalg.norm(g)
            if norm < best.norm:
                factor = 2.0 if norm < LEAVES * place.norm else 1.0
                best = new._replace(x=x, g=g, radius=factor * radius)
        return best

    def _blurred(self, linear: _Linear, norm: float, length: float) -> float:
        """The cutoff under which an eigenvalue is no larger than the gradient makes it.

        |l| < |g| / length
        """
        largest = float(np.max(np.abs(linear.values), initial=TINY))
        return min(max(self.cutoff, norm / (length * largest)), 0.5)


# ------------------------------------------------------------------- the verdict
def _verdict(
    trail: list[_Place], ended: str, target: float, basin: float | None
) -> tuple[str, str]:
    """The status, and a sentence with the numbers.

    ended: why there were no more steps.
    """
    best, start, steps = trail[-1], trail[0].x, len(trail) - 1
    norm = best.norm
    distance = float(np.linalg.norm(best.x - start))
    if not norm <= target and ended.endswith("not finite"):
        return "not finite", (
            f"{ended} after {steps} steps, {distance:.3g} from the start;"
            f" the gradient norm is {norm:.1e}"
        )
    if _runs_away(trail, target):
        first, last = float(np.linalg.norm(start)), float(np.linalg.norm(best.x))
        return "diverged", (
            f"the point grew from norm {first:.3g} to {last:.3g} in {steps} steps"
            f" and the last Newton step is {best.newton:.2g} long,"
            f" at gradient norm {norm:.1e}: the fixed point lies at infinity"
        )
    if norm > target:
        return "stalled", (
            f"the gradient norm is {norm:.1e} after {steps} steps,"
            f" above the tolerance {target:.1e}, and {ended};"
            f" {distance:.3g} from the start"
        )
    if basin is not None and distance > basin:
        return "left the basin", (
            f"the fixed point found (gradient norm {norm:.1e}, {steps} steps)"
            f" is {distance:.3g} from the start, farther than the allowed {basin:.3g}"
        )
    return "converged", (
        f"gradient norm {norm:.1e} after {steps} steps, {distance:.3g} from the start"
    )


def _runs_away(trail: list[_Place], target: float) -> bool:
    """Whether the last steps lead outwards and the Newton steps do not get shorter."""
    sizes = np.array([np.linalg.norm(place.x) for place in trail])
    if sizes[-1] > FLOWN * (1 + sizes[0]):
        return True
    done = trail[-1].norm <= target
    window = 3 if done else STEADY_POINTS
    if len(trail) <= window:
        return False
    newton = np.array([place.newton for place in trail[-window:]])
    steady = np.all(newton[1:] > STEADY * newton[:-1])
    outwards = np.all(np.diff(sizes[-1 - window :]) > 0)
    if not done:
        steady = steady and newton[-1] >= newton[0]
        outwards = outwards and sizes[-1] > 1.2 * sizes[0]
    falls = trail[-1].norm < 0.95 * trail[-1 - window].norm
    long = newton[-1] > OUTWARD * sizes[-1]
    return bool(steady and outwards and falls and long)
