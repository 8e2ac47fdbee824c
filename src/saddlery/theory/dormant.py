"""Dormant units: how units near their silent points grow while the others rest.

With p >= 2 the leading degree of phi in u, a unit (u, v) near silence follows the
gradient of its utility,
    theta' = grad U(theta),    U(u, v) = v . T[u, ..., u],    theta = (u, v),
T the leading form of the residual correlation at the saddle (V, U, ..., U), symmetric
in its p last axes. U is homogeneous of degree kappa = p + 1 > 2, so that with
n = theta / |theta| the size obeys
    |theta|' = kappa U(n) |theta|^(kappa - 1):
it runs to infinity in finite time,
    t = 1 / ((kappa - 2) kappa U(n) |theta|^(kappa - 2))
once n has settled, or for ever stays small.

Source: Zhang, Saxe & Latham (2026), eq 14; Kunin et al. (2025), eqs 5-7, of
whose dormant phase this is the form with finite initial weights. For p = 2 and
one output `blow_up` has the same times by quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..basis.checks import NumericalError, Words, finite, require
from ..basis.values import Value

# Length of a Runge-Kutta step of order four, in units of the time in which a unit can
# change by itself.
STEP_SHARE = 0.1
# A unit this many times its initial size, and settled, is followed no further: its
# escape is known in closed form.
GROWN_SINCE_START = 1e3
# A direction n has settled up to this share of grad U across it, |component across n| /
# |grad U|.
ACROSS = 1e-3
STILL = 1e-9  # a unit whose grad U is below this share of the largest at its size has died
# A unit that has not escaped after so many steps never does; one that has not come to a
# time asked for is refused.
MOST_STEPS = 40_000
ARRIVED = 1e-12  # of the time asked for this share may be left
TINY = 1e-300  # stands in for a size of zero wherever one divides by it

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Grown(Value):
    """N units after growing.

    time (N,): at which each escapes, inf where it never does; or the time
        asked for.
    u (N, U), v (N, V): the units there; escaped ones with their last
        direction at unit size.
    """

    time: Float[np.ndarray, " N"]
    u: Float[np.ndarray, "N U"]
    v: Float[np.ndarray, "N V"]


def escapes(
    form: Float[np.ndarray, "V U ..."],
    u: Float[np.ndarray, "N U"],
    v: Float[np.ndarray, "N V"],
    groups: Int[np.ndarray, " N"] | None = None,
) -> Grown:
    """When each of N dormant units escapes, and in which direction.

    form (V, U, ..., U): T, with p >= 2 last axes.
    u (N, U), v (N, V): the units at time 0.
    groups (N,): whole numbers; where given, units are followed only until the
        first of their group has escaped, and the others count as never escaping.

    Times are good to about 1e-6 relative and scale like |theta|^(1 - p).
    Raises InputError for shapes that do not fit. Cost: a few hundred products
    with T for all units at once.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import escapes
    >>> form = np.array([[[0.5]]])
    >>> grown = escapes(form, np.array([[np.sqrt(2) * 0.01]]), np.array([[0.01]]))
    >>> round(float(grown.time[0]), 1)
    100.0
    """
    theta, split = _checked(form, u, v)
    count = len(theta)
    alone = np.arange(count)
    groups = alone if groups is None else np.asarray(groups)
    rate = _rate(form)

    time, ends = np.full(count, np.inf), theta.copy()
    earliest = np.full(int(groups.max(initial=-1)) + 1, np.inf)  # escape of every group
    first, passed = _sizes(theta), np.zeros(count)
    alive = np.arange(count)
    for _ in range(MOST_STEPS):
        alive = alive[passed[alive] <= earliest[groups[alive]]]
        if not len(alive) or rate == 0:
            break
        own = theta[alive]
        slope, size = _slope(form, own, split), _sizes(own)
        grown = size > GROWN_SINCE_START * first[alive]
        done = grown & _settled(own, slope, size)
        dead = _sizes(slope) <= STILL * rate * size ** (form.ndim - 1)

        for k in np.flatnonzero(done):
            unit = alive[k]
            time[unit] = passed[unit] + _left(own[k], slope[k], form.ndim)
            ends[unit] = own[k] / size[k]
        escaped = alive[done]
        np.minimum.at(earliest, groups[escaped], time[escaped])

        on = ~done & ~dead
        alive, size = alive[on], size[on]
        step = _step(rate, size, form.ndim)
        theta[alive] = _runge_kutta(form, theta[alive], split, step)
        passed[alive] += step

    time[time > earliest[groups]] = np.inf
    never = np.isinf(time)
    ends[never] = theta[never]
    return Grown(time, u=ends[:, :split], v=ends[:, split:])


def grow(
    form: Float[np.ndarray, "V U ..."],
    u: Float[np.ndarray, "N U"],
    v: Float[np.ndarray, "N V"],
    time: Float[np.ndarray, " N"] | float,
) -> Grown:
    """N dormant units after a time of their own each, all of them below their escape.

    form (V, U, ..., U), u (N, U), v (N, V): as for `escapes`.
    time (N,): of every unit, or one of all.

    Raises InputError for shapes that do not fit and times that are not finite,
    NumericalError for a time beyond the escape of a unit.

    Example
    -------
    A balanced unit with one weight, v' = v^2, is 1 / (100 - t) after a time t.

    >>> import numpy as np
    >>> from saddlery.theory import grow
    >>> form = np.array([[[0.5]]])
    >>> start = np.array([[np.sqrt(2) * 0.01]]), np.array([[0.01]])
    >>> grow(form, *start, time=50.0).v.round(6)
    array([[0.02]])
    """
    theta, split = _checked(form, u, v)
    time = finite(np.asarray(time, float), "time", "units that never escape have none")
    until = np.broadcast_to(time, (len(theta),))
    passed, rate = np.zeros(len(theta)), _rate(form)
    for _ in range(MOST_STEPS):
        alive = np.flatnonzero(passed < until * (1 - ARRIVED))
        if not len(alive) or rate == 0:
            break
        longest = _step(rate, _sizes(theta[alive]), form.ndim)
        step = np.minimum(longest, until[alive] - passed[alive])
        with np.errstate(over="ignore", invalid="ignore"):  # beyond an escape
            theta[alive] = _runge_kutta(form, theta[alive], split, step)
        passed[alive] += step
    short = passed < until * (1 - ARRIVED)
    if rate > 0 and (short.any() or not np.isfinite(theta).all()):
        raise NumericalError(
            f"a unit escapes before it is {until.max():.3g} old; ask for times below `escapes`"
        )
    return Grown(until.copy(), u=theta[:, :split], v=theta[:, split:])


def _checked(form: Array, u: Array, v: Array) -> tuple[Array, int]:
    """theta = (u, v) (N, U + V), and where u ends."""
    finite(np.asarray(form, float), "form")
    fits = (
        form.ndim >= 3
        and u.shape == (len(u), form.shape[1])
        and v.shape == (len(u), form.shape[0])
    )  # fmt: skip
    require(
        fits,
        "form, u and v",
        needed="of shapes (V, U, U, ...), (N, U) and (N, V)",
        given=Words(f"{form.shape}, {u.shape}, {v.shape}"),
    )
    theta = np.hstack([np.asarray(u, float), np.asarray(v, float)])
    return theta, u.shape[1]


def _rate(form: Array) -> float:
    """A bound of |grad U| on the unit sphere: kappa times the Frobenius norm."""
    return float(form.ndim * np.linalg.norm(form))


def _sizes(theta: Array) -> Array:
    return np.maximum(np.linalg.norm(theta, axis=1), TINY)


def _settled(theta: Array, slope: Array, size: Array) -> Array:
    """Whether grad U points along theta."""
    along = np.sum(slope * theta, axis=1) / size**2
    across = slope - along[:, None] * theta
    return _sizes(across) <= ACROSS * _sizes(slope)


def _step(rate: float, size: Array, kappa: int) -> Array:
    """A share of the time |theta| / |grad U|, at the least, in which a
    unit can change."""
    return STEP_SHARE / (rate * size ** (kappa - 2))


def _contract(form: Array, u: Array, times: int) -> Array:
    """T with its last `times` axes contracted with u, for every unit: (N, V, ...)."""
    found = np.tensordot(u, form, axes=(1, form.ndim - 1))  # (N, V, U, ...)
    for _ in range(times - 1):
        found = np.einsum("n...k,nk->n...", found, u)
    return found


def _slope(form: Array, theta: Array, split: int) -> Array:
    """grad U = (p v . T[u, .., u, .], T[u, ..., u])."""
    u, v = theta[:, :split], theta[:, split:]
    degree = form.ndim - 1
    once = _contract(form, u, degree - 1)  # (N, V, U)
    by_u = degree * np.einsum("nvk,nv->nk", once, v)
    by_v = np.einsum("nvk,nk->nv", once, u)
    return np.hstack([by_u, by_v])


def _runge_kutta(form: Array, theta: Array, split: int, step: Array) -> Array:
    h = step[:, None]
    a = _slope(form, theta, split)
    b = _slope(form, theta + 0.5 * h * a, split)
    c = _slope(form, theta + 0.5 * h * b, split)
    d = _slope(form, theta + h * c, split)
    return theta + h / 6 * (a + 2 * b + 2 * c + d)


def _left(theta: Array, slope: Array, kappa: int) -> float:
    """The time that a unit of settled direction still needs.

    |theta|^2 / ((kappa - 2) theta . grad U)
    """
    return float(theta @ theta / ((kappa - 2) * (theta @ slope)))
