"""The mode of a deep linear network in time, exactly.

From balanced weights along one pair of singular directions, the strength u of that
mode in the product of L >= 2 weight matrices obeys, with input variance c along it,
    u' = L u^(2 - 2/L) (s - c u),    loss 1/2 mean |y - f|^2, flow time,
and ends at s/c. With p = c u / s in (0, 1) and z = log(p / (1 - p)),
    z' = L c^(2/L - 1) s^(2 - 2/L) p^(1 - 2/L),
which is what is inverted here: neither small p nor p near 1 loses digits.

Source: Saxe, McClelland & Ganguli (2014), eqs 6-9 (two layers) and
Section 1.2 (any depth).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import digamma, expit

from ..basis.checks import positive, require, whole

Times = Float[np.ndarray, " T"]
Numbers = np.ndarray | np.floating | float

TERMS = 64  # terms of two power series with ratio at most 1/2
EXACTLY = 1e-15  # Newton's method ends with a step below this share of z, a few roundings
INVERSION_STEPS = 200


def mode_strength(
    flow_time: Times | float,
    s: float,
    start: float,
    *,
    layers: int = 2,
    variance: float = 1.0,
) -> Float[np.ndarray, "*T"]:
    """u(t) of one mode from u(0) = start > 0; any start, below or above its end s/c.

    flow_time (T,): at or after 0, or one number.
    s: singular value of the input-output correlation, at or above 0.
    layers: L, weight matrices.
    variance: c of the input along the mode.

    Two layers: u = (s/c) / (1 + (s/(c u0) - 1) exp(-2 s t)); s = 0 decays
    as a power. More layers: from inverting `mode_time` by Newton's method,
    to 1e-13 relative.
    Raises InputError for a negative time, strength or start, or (more than two
    layers) s = 0 or a start above s/c.

    Example
    -------
    >>> from saddlery.theory import mode_strength
    >>> round(float(mode_strength(5.0, 1.0, 1e-4)), 6)
    0.68778
    """
    t = np.asarray(flow_time, dtype=float)
    require(
        bool(np.all(t >= 0)),
        "flow_time",
        needed="at or after 0",
        given=float(np.min(t, initial=0.0)),
    )
    _check(s, start, layers, variance)
    if layers == 2:
        ratio = _ratio(2 * s * t, start * variance, s, t)
        return np.asarray(start * ratio)

    end = s / variance
    require(
        s > 0 and start < end,
        "start",
        needed=f"below the end of the mode, {end:g}, for more than two layers",
        given=start,
    )
    z0 = _logit(start / end)
    grown = _rate(s, layers, variance) * t
    return np.asarray(end * expit(_advance(z0, grown, layers)))


def _ratio(grown: Numbers, pull: float, s: float, t: Numbers) -> Numbers:
    """u/u0 of two layers; grown: 2 s t, pull: c u0.

    1 / (exp(-2 s t) + c u0 (1 - exp(-2 s t)) / s), and 1 / (1 + 2 c u0 t) where s = 0
    """
    filled = 2 * pull * t if s == 0 else -pull * np.expm1(-grown) / s
    return 1 / (np.exp(-grown) + filled)


def mode_time(
    u: float,
    s: float,
    start: float,
    *,
    layers: int = 2,
    variance: float = 1.0,
) -> float:
    """The flow time at which the mode reaches u, from start.

        t = [T(u) - T(start)] / (L c^(2/L - 1) s^(2 - 2/L)),
    T(p) = log(p / (1 - p)) for two layers, in general the integral of p^(2/L - 1) dz.

    u, start: strictly between 0 and the end of the mode, s/c.
    s, layers, variance: as for `mode_strength`.

    Raises InputError elsewhere.

    Example
    -------
    >>> from saddlery.theory import mode_time
    >>> round(mode_time(0.5, 1.0, 1e-4), 6)
    4.60512
    """
    _check(s, start, layers, variance)
    end = s / variance
    require(
        0 < u < end and start < end,
        "u and start",
        needed=f"between 0 and the end of the mode, {end:g}",
        given=(u, start),
    )
    begun = _clock(_logit(start / end), layers)
    ended = _clock(_logit(u / end), layers)
    return float((ended - begun) / _rate(s, layers, variance))


def _check(s: float, start: float, layers: int, variance: float) -> None:
    possible = np.isfinite(s) and s >= 0
    require(possible, "s", needed="a finite singular value of at least 0", given=s)
    positive(start, "start")
    positive(variance, "variance")
    whole(layers, "layers", 2)


def _rate(s: float, layers: int, variance: float) -> float:
    """L c^(2/L - 1) s^(2 - 2/L): dz/dt is this times p^(1 - 2/L)."""
    return layers * variance ** (2 / layers - 1) * s ** (2 - 2 / layers)


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def _clock(z: Numbers, layers: int) -> Numbers:
    """T: the integral of p^(b - 1) dz, b = 2/L.

    p^(b - 1) / (b - 1) + [the incomplete beta integral of p^b / (p (1 - p))]
    """
    z = np.asarray(z, dtype=float)
    if layers == 2:
        return z
    b = 2 / layers
    p, rest = expit(z), expit(-z)
    beta = np.where(z < 0, _series(p, b), _series_at_one(rest, z, b))
    return p ** (b - 1) / (b - 1) + beta


def _series(p: Numbers, b: float) -> Numbers:
    """The integral of x^(b-1) / (1 - x) from 0 to p <= 1/2: sum p^(b+n) / (b+n)."""
    n = np.arange(TERMS)
    small = np.minimum(p, 0.5)[..., None]
    return np.sum(small ** (b + n) / (b + n), axis=-1)


def _series_at_one(rest: Numbers, z: Numbers, b: float) -> Numbers:
    """The same for p >= 1/2, by the expansion of 2F1(1, b; 1 + b; p) at p = 1.

    rest: 1 - p. Source: Abramowitz & Stegun, 15.3.10.
    """
    n = np.arange(TERMS)
    small = np.minimum(rest, 0.5)
    log_rest = -np.logaddexp(0.0, z)
    factors = (b + n[:-1]) / (n[:-1] + 1)
    weights = np.cumprod(np.concatenate([[1.0], factors]))
    inner = digamma(n + 1) - digamma(n + b) - log_rest[..., None]
    terms = weights * inner * small[..., None] ** n
    return (1 - small) ** b * np.sum(terms, axis=-1)


def _advance(z0: float, grown: Numbers, layers: int) -> Numbers:
    """The z at which the clock has moved on by `grown`: Newton's method between
    bounds."""
    target = _clock(z0, layers) + grown
    # 0 <= dz/d(clock) = p^(1 - b) <= 1
    low = np.full_like(target, z0)
    high = z0 + grown + 0.0
    z = np.where(target > 0, np.maximum(target, z0), z0) + 0.0
    z = np.clip(z, low, high)
    for _ in range(INVERSION_STEPS):
        error = _clock(z, layers) - target
        low = np.where(error < 0, z, low)
        high = np.where(error > 0, z, high)
        step = z - error * expit(z) ** (1 - 2 / layers)
        inside = (step > low) & (step < high)
        after = np.where(inside, step, 0.5 * (low + high))
        if np.all(np.abs(after - z) <= EXACTLY * np.maximum(1.0, np.abs(z))):
            return after
        z = after
    return z
