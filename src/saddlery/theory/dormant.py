"""Dormant units: how units near their silent points grow while the others rest at a saddle.

With p >= 2 the leading degree of phi in u, a unit (u, v) near silence follows the gradient of its
utility,
    theta' = grad U(theta),    U(u, v) = v . T[u, ..., u],    theta = (u, v),
T the leading form of the residual correlation at the saddle (V, U, ..., U), symmetric in its p last
axes. U is homogeneous of degree kappa = p + 1 > 2, so the size obeys |theta|' = kappa U(n)
|theta|^(kappa - 1) with n = theta / |theta|: it runs to infinity in finite time, t = 1 / ((kappa -
2) kappa U(n) |theta|^(kappa - 2)) once n has settled, or for ever stays small.
Source: Zhang, Saxe & Latham (2026), eq 14; Kunin et al. (2025), eqs 5-7, of whose dormant phase
this is the form with finite initial weights. For p = 2 and one output `blow_up` has the same times
by quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..basis.checks import Words, finite, require
from ..basis.values import Value

# of a Runge-Kutta step of order four, in units of the time in which a unit can change by itself
STEP = 0.1
# a unit this many times its initial size (and settled) is followed no further: the rest is closed
AWAY = 1e3
SETTLED = (
    1e-3  # |component of grad U across n| / |grad U| from which the direction counts as settled
)
STILL = 1e-9  # of the largest grad U at its size: a unit whose own is below has died
LIMIT = 40_000  # steps; a unit that has not escaped by then counts as one that never does


@dataclass(frozen=True, eq=False)
class Grown(Value):
    """N units after growing. time (N,): at which each escapes, inf where it never does; or the time
    asked for. u (N, U), v (N, V): the units there; escaped ones with their last direction at unit
    size."""

    time: Float[np.ndarray, " N"]
    u: Float[np.ndarray, "N U"]
    v: Float[np.ndarray, "N V"]


def escapes(
    form: np.ndarray,
    u: Float[np.ndarray, "N U"],
    v: Float[np.ndarray, "N V"],
    groups: np.ndarray | None = None,
) -> Grown:
    """When each of N dormant units escapes, and in which direction.

    form: T (V, U, ..., U), p >= 2 last axes. groups (N,): whole numbers; where given, units are
    followed only until the first of their group has escaped, and the others count as never
    escaping. Times are good to about 1e-6 relative and scale like |theta|^(1 - p).
    Raises InputError for shapes that do not fit. Cost: a few hundred products with T for all units
    at once.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import escapes
    >>> grown = escapes(np.array([[[0.5]]]), np.array([[np.sqrt(2) * 0.01]]), np.array([[0.01]]))
    >>> round(float(grown.time[0]), 1)
    100.0
    """
    theta, split = _checked(form, u, v)
    time, ends = np.full(len(theta), np.inf), theta.copy()
    first, passed, alive = _sizes(theta), np.zeros(len(theta)), np.arange(len(theta))
    groups = np.arange(len(theta)) if groups is None else np.asarray(groups)
    best = np.full(int(groups.max(initial=-1)) + 1, np.inf)
    rate = _rate(form)
    for _ in range(LIMIT):
        alive = alive[passed[alive] <= best[groups[alive]]]
        if not len(alive) or rate == 0:
            break
        slope = _slope(form, theta[alive], split)
        size = _sizes(theta[alive])
        across = slope - (np.sum(slope * theta[alive], axis=1) / size**2)[:, None] * theta[alive]
        settled = _sizes(across) <= SETTLED * _sizes(slope)
        done = (size > AWAY * first[alive]) & settled
        dead = _sizes(slope) <= STILL * rate * size ** (form.ndim - 1)
        for k in np.flatnonzero(done):
            time[alive[k]] = passed[alive[k]] + _rest(theta[alive[k]], slope[k], form.ndim)
            ends[alive[k]] = theta[alive[k]] / size[k]
        np.minimum.at(best, groups[alive[done]], time[alive[done]])
        alive, size = alive[~done & ~dead], size[~done & ~dead]
        step = STEP / (rate * size ** (form.ndim - 2))
        theta[alive] = _runge_kutta(form, theta[alive], split, step)
        passed[alive] += step
    time[time > best[groups]] = np.inf
    ends[np.isinf(time)] = theta[np.isinf(time)]
    return Grown(time, ends[:, :split], ends[:, split:])


def grow(
    form: np.ndarray,
    u: Float[np.ndarray, "N U"],
    v: Float[np.ndarray, "N V"],
    time: np.ndarray | float,
) -> Grown:
    """N dormant units after a time of their own each, all of them below their escape. Arguments as
    for `escapes`."""
    theta, split = _checked(form, u, v)
    until = np.broadcast_to(np.asarray(time, float), (len(theta),))
    passed, rate = np.zeros(len(theta)), _rate(form)
    for _ in range(LIMIT):
        alive = np.flatnonzero(passed < until * (1 - 1e-12))
        if not len(alive) or rate == 0:
            break
        step = np.minimum(
            STEP / (rate * _sizes(theta[alive]) ** (form.ndim - 2)), until[alive] - passed[alive]
        )
        theta[alive] = _runge_kutta(form, theta[alive], split, step)
        passed[alive] += step
    return Grown(until.copy(), theta[:, :split], theta[:, split:])


def _checked(form: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, int]:
    finite(np.asarray(form, float), "form")
    fits = (
        form.ndim >= 3 and u.shape == (len(u), form.shape[1]) and v.shape == (len(u), form.shape[0])
    )
    require(
        fits,
        "form, u and v",
        "of shapes (V, U, U, ...), (N, U) and (N, V)",
        Words(f"{form.shape}, {u.shape}, {v.shape}"),
    )
    return np.hstack([np.asarray(u, float), np.asarray(v, float)]), u.shape[1]


def _rate(form: np.ndarray) -> float:
    """A bound of |grad U| on the unit sphere: kappa times the Frobenius norm."""
    return float(form.ndim * np.linalg.norm(form))


def _sizes(theta: np.ndarray) -> np.ndarray:
    return np.maximum(np.linalg.norm(theta, axis=1), 1e-300)


def _contract(form: np.ndarray, u: np.ndarray, times: int) -> np.ndarray:
    """T with its last `times` axes contracted with u, for every unit: (N, V, ...)."""
    found = np.tensordot(u, form, axes=(1, form.ndim - 1))  # (N, V, U, ...)
    for _ in range(times - 1):
        found = np.einsum("n...k,nk->n...", found, u)
    return found


def _slope(form: np.ndarray, theta: np.ndarray, split: int) -> np.ndarray:
    """grad U = (p v . T[u, .., u, .], T[u, ..., u])."""
    u, v = theta[:, :split], theta[:, split:]
    degree = form.ndim - 1
    once = _contract(form, u, degree - 1)  # (N, V, U)
    return np.hstack([degree * np.einsum("nvk,nv->nk", once, v), np.einsum("nvk,nk->nv", once, u)])


def _runge_kutta(form: np.ndarray, theta: np.ndarray, split: int, step: np.ndarray) -> np.ndarray:
    h = step[:, None]
    a = _slope(form, theta, split)
    b = _slope(form, theta + 0.5 * h * a, split)
    c = _slope(form, theta + 0.5 * h * b, split)
    d = _slope(form, theta + h * c, split)
    return theta + h / 6 * (a + 2 * b + 2 * c + d)


def _rest(theta: np.ndarray, slope: np.ndarray, kappa: int) -> float:
    """The time a unit of settled direction still needs: |theta|^2 / ((kappa - 2) theta . grad
    U)."""
    return float(theta @ theta / ((kappa - 2) * (theta @ slope)))
