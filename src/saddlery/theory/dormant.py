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
from ..basis.sizes import TINY
from ..basis.values import Value

# Length of a Runge-Kutta step of order four, in units of the time in which a unit can
# change by itself.
STEP_SHARE = 0.1
# A unit this many times its initial size, and settled, is followed no further: its
# escape is known in closed form.
GROWN_SINCE_START = 1e3
# A unit this many times its initial size has escaped: what is left of the time is below rounding.
BEYOND = 1e30
# A direction n has settled up to this share of grad U across it, |component across n| /
# |grad U|.
ACROSS = 1e-3
# A unit whose grad U is below this share of the largest at its size has died, if no
# direction of u grows there faster than by this share.
STILL = 1e-9
# A unit that has not escaped after so many steps never does; one that has not come to a
# time asked for is refused.
MOST_STEPS = 40_000
ARRIVED = 1e-12  # of the time asked for this share may be left

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
    u (N, U), v (N, V): the units at time 0, of any size.
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
    form, theta, split = _checked(form, u, v)
    form, theta, pace, size_of_one = _natural(form, theta)
    count = len(theta)
    alone = np.arange(count)
    groups = alone if groups is None else np.asarray(groups)

    time, ends = np.full(count, np.inf), size_of_one[:, None] * theta
    earliest = np.full(int(groups.max(initial=-1)) + 1, np.inf)  # escape of every group
    first, passed = _sizes(theta), np.zeros(count)
    alive = np.arange(count)
    for _ in range(MOST_STEPS):
        alive = alive[passed[alive] <= earliest[groups[alive]]]
        if not len(alive):
            break
        own = theta[alive]
        slope, size = _slope(form, own, split), _sizes(own)
        grown = size > GROWN_SINCE_START * first[alive]
        done = grown & _settled(own, slope, size)
        dead = _dead(form, own, slope, split)

        for k in np.flatnonzero(done):
            unit = alive[k]
            time[unit] = passed[unit] + _left(own[k], slope[k], form.ndim) / pace[unit]
            ends[unit] = own[k] / size[k]
        escaped = alive[done]
        np.minimum.at(earliest, groups[escaped], time[escaped])

        alive = alive[~done & ~dead]
        step = _step(form, theta[alive], split)
        theta[alive] = _runge_kutta(form, theta[alive], split, step)
        with np.errstate(over="ignore"):  # longer than float64 counts
            passed[alive] += step / pace[alive]

    time[time > earliest[groups]] = np.inf
    never = np.isinf(time)
    ends[never] = size_of_one[never, None] * theta[never]
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

    Raises InputError for shapes that do not fit and for times that are not finite or
    lie before 0, NumericalError for a time beyond the escape of a unit, or beyond what
    40,000 steps reach.

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
    form, theta, split = _checked(form, u, v)
    if not len(theta):
        return Grown(np.zeros(0), u=theta[:, :split], v=theta[:, split:])
    time = finite(np.asarray(time, float), "time", "units that never escape have none")
    require(bool(np.all(time >= 0)), "time", needed="at or after 0", given=float(time.min()))
    form, theta, pace, size_of_one = _natural(form, theta)
    asked = np.broadcast_to(time, (len(theta),))
    until, passed = asked * pace, np.zeros(len(theta))
    for _ in range(MOST_STEPS):
        escaped = _sizes(theta) > BEYOND
        alive = np.flatnonzero((passed < until * (1 - ARRIVED)) & ~escaped)
        arrived = alive[_at_rest(form, theta[alive], split)]
        passed[arrived] = until[arrived]
        alive = np.setdiff1d(alive, arrived)
        if not len(alive):
            break
        longest = _step(form, theta[alive], split)
        step = np.minimum(longest, until[alive] - passed[alive])
        theta[alive] = _runge_kutta(form, theta[alive], split, step)
        passed[alive] += step
    short = passed < until * (1 - ARRIVED)
    escaped = short & (_sizes(theta) > BEYOND)
    if escaped.any():
        raise NumericalError(
            f"a unit escapes before it is {asked[escaped].max():.3g} old; ask for times"
            " below `escapes`"
        )
    if short.any():
        raise NumericalError(
            f"a unit is not followed to {asked[short].max():.3g} within {MOST_STEPS} steps;"
            " ask for an earlier time"
        )
    theta = size_of_one[:, None] * theta
    return Grown(asked.copy(), u=theta[:, :split], v=theta[:, split:])


def _checked(form: Array, u: Array, v: Array) -> tuple[Array, Array, int]:
    """T, theta = (u, v) (N, U + V), and where u ends."""
    form = finite(np.asarray(form, float), "form")
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
    return form, theta, u.shape[1]


def _natural(form: Array, theta: Array) -> tuple[Array, Array, Array, Array]:
    """T and every unit over its largest entry, since products of small weights underflow.

    With them, how much faster the clock of each unit runs then, |T| |theta|^(p - 1) (N,),
    and its largest entry (N,).
    """
    strength = max(float(np.abs(form).max()), TINY)
    size = np.maximum(np.abs(theta).max(axis=1, initial=0.0), TINY)
    pace = np.maximum(strength * size ** (form.ndim - 2), TINY)
    return form / strength, theta / size[:, None], pace, size


def _sizes(theta: Array) -> Array:
    return np.maximum(np.linalg.norm(theta, axis=1), TINY)


def _rate(form: Array) -> float:
    """A bound of |grad U| on the unit sphere: kappa times the Frobenius norm."""
    return float(form.ndim * np.linalg.norm(form))


def _dead(form: Array, theta: Array, slope: Array, split: int) -> Array:
    """Whether units (N,) stay where they are: grad U is zero, or as good as zero where no
    direction of u grows,

        u' = p v . T[u, .., u, .]
    having a derivative without positive eigenvalues. A small u that does grow escapes in
    the end, however small.
    """
    kappa, size = form.ndim, _sizes(theta)
    still = np.linalg.norm(slope, axis=1) <= STILL * _rate(form) * size ** (kappa - 1)
    found = still.copy()
    for k in np.flatnonzero(still):
        if not slope[k].any():
            continue
        u, v = theta[k, :split], theta[k, split:]
        growth = np.tensordot(v, form, axes=1)  # v . T, (U, ..., U)
        for _ in range(kappa - 3):
            growth = growth @ (u / max(float(np.linalg.norm(u)), TINY))
        fastest = float(np.linalg.eigvalsh(growth)[-1])
        found[k] = fastest <= STILL * float(np.linalg.norm(form)) * size[k]
    return found


def _settled(theta: Array, slope: Array, size: Array) -> Array:
    """Whether grad U points along theta."""
    along = np.sum(slope * theta, axis=1) / size / size
    across = slope - along[:, None] * theta
    return _sizes(across) <= ACROSS * _sizes(slope)


def _at_rest(form: Array, theta: Array, split: int) -> Array:
    """Whether units (N,) are where they will be, to a share STILL of their weights: dead,
    and u as good as gone, or exactly on a saddle of U."""
    slope = _slope(form, theta, split)
    gone = np.linalg.norm(theta[:, :split], axis=1) <= STILL * _sizes(theta)
    return (_dead(form, theta, slope, split) & gone) | ~slope.any(axis=1)


def _step(form: Array, theta: Array, split: int) -> Array:
    """A share of the time in which a unit can change, at the least.

    |theta| / |grad U| for units with |u| = |v|, and for those of little u, which change as
    |u|^(p - 2), so much longer.
    """
    size = _sizes(theta)
    little = np.minimum(np.sqrt(2.0) * _sizes(theta[:, :split]), size)
    return STEP_SHARE / (max(_rate(form), TINY) * size * little ** (form.ndim - 3))


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
