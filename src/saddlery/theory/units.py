"""Units that grow on their own: blow-up times of quadratic units near zero, exactly.

Near zero a unit f = v u'Zu of a network with scalar output obeys, with S = E[y Z] symmetric and
l_d, u_d in its eigenbasis,
    v' = u'Su,    u' = 2 v S u.
With s = integral of v dt each u_d is u_d(0) e^(2 l_d s), so that
    v^2 = R(s) = v(0)^2 + 1/2 sum_d u_d(0)^2 (e^(4 l_d s) - 1),    dt = ds / v,
and the unit blows up after t_inf = integral ds / sqrt(R), to where s runs off, or never (it dies: R
tends to a constant).
R is convex: s moves the way of v(0) until R is zero, if it ever is, and from there the other way
    for good.
Source: Zhang, Saxe & Latham (2026), eq 14 and Appendix H for the system; the integral is derived
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import brentq

from ..basis.checks import Words, finite, real, require

EXPONENT = 60.0  # e^-60 of the rest of an integral is left out
TINY = 1e-300


@dataclass(frozen=True)
class BlowUp:
    """When and how a unit escapes.

    time: flow time, good to about 1e-8 relative; inf for a unit that dies. sign: of v then, 0 for
        one that dies.
    direction: the eigenvector, counted as given, along which u grows; None for one that dies.
    """

    time: float
    sign: int
    direction: int | None


def blow_up(v: float, u: Float[np.ndarray, " D"], strengths: Float[np.ndarray, " D"]) -> BlowUp:
    """The blow-up of one unit from outgoing weight v and incoming weights u (D,), in the eigenbasis
    of S = E[y Z].

    strengths: l_d, the eigenvalues of S (loss 1/2 mean (y - f)^2; flow time). A balanced unit along
    one eigenvector, v' = 2 l v^2, takes 1 / (2 l v). Times scale like 1 / (size of the weights).
    Raises InputError for shapes that do not fit.
    Cost: one or two quadratures.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import blow_up
    >>> blow_up(0.01, np.array([np.sqrt(2) * 0.01]), np.array([0.5])).time.__round__(6)
    100.0
    """
    u, rates = (
        finite(np.asarray(u, float), "u"),
        4 * finite(np.asarray(strengths, float), "strengths"),
    )
    require(
        u.ndim == 1 and u.shape == rates.shape,
        "u and strengths",
        "of one shape (D,)",
        Words(f"{u.shape}, {rates.shape}"),
    )
    weights, squared = 0.5 * u**2, real(v, "v") ** 2
    heading = np.sign(v) or np.sign(float(weights @ rates))
    if heading == 0:
        return BlowUp(float("inf"), 0, None)
    forward = _Path(squared, weights, heading * rates)
    turn = forward.turn() if v != 0 else None
    if turn is None:
        return _ended(forward.time(), int(heading), weights, heading * rates)
    back = _Path(0.0, weights * np.exp(heading * rates * turn), -heading * rates)
    inside = forward.between(turn)
    return _ended(inside + back.time(), -int(heading), weights, -heading * rates)


def _ended(time: float, sign: int, weights: np.ndarray, rates: np.ndarray) -> BlowUp:
    if not np.isfinite(time):
        return BlowUp(time, 0, None)
    return BlowUp(float(time), sign, int(np.argmax(np.where(weights > 0, rates, -np.inf))))


@dataclass(frozen=True)
class _Path:
    """R(s) = squared + sum_d weights_d (e^(rates_d s) - 1) for s >= 0, and the time it takes."""

    squared: float
    weights: np.ndarray
    rates: np.ndarray

    def value(self, s: float) -> float:
        return self.squared + float(self.weights @ np.expm1(self.rates * s))

    def turn(self) -> float | None:
        """The first s > 0 at which R is zero, if there is one."""
        lowest = self._lowest()
        if lowest is None or self.value(lowest) >= 0:
            return None
        return float(brentq(self.value, 0.0, lowest, xtol=1e-15, rtol=1e-14))  # pyright: ignore (stubs)

    def _lowest(self) -> float | None:
        """Where the convex R is least; None where it only grows."""
        slope = lambda s: float((self.weights * self.rates) @ np.exp(self.rates * s))
        if slope(0.0) >= 0:
            return None
        end = 1.0 / max(float(np.abs(self.rates).max()), TINY)
        while slope(end) < 0 and end * float(np.abs(self.rates).max()) < 500:
            end *= 2
        return float(brentq(slope, 0.0, end)) if slope(end) > 0 else end  # pyright: ignore (stubs)

    def between(self, turn: float) -> float:
        """The time from s = 0 to the turn, where 1 / sqrt(R) has an integrable singularity."""
        inside = lambda w: 2 * w / np.sqrt(max(self._near(turn, w * w), TINY))
        return float(quad(inside, 0.0, np.sqrt(turn), epsabs=0, epsrel=1e-11, limit=400)[0])

    def _near(self, turn: float, gap: float) -> float:
        """R(turn - gap), without the cancellation."""
        return float((self.weights * np.exp(self.rates * turn)) @ np.expm1(-self.rates * gap))

    def time(self) -> float:
        """The time from s = 0 to infinity, where the fastest exponential is alone in the end; inf
        where R stays bounded."""
        fastest = int(np.argmax(np.where(self.weights > 0, self.rates, -np.inf)))
        top, least = float(self.rates[fastest]), float(self.weights[fastest])
        if top <= 0 or least <= 0:
            return float("inf")
        size = max(self.squared, float(self.weights.max()))
        end = (EXPONENT + float(np.log(size) - np.log(least))) / top
        inside = lambda w: 2 * w / np.sqrt(max(self.value(w * w), TINY))
        points = np.sqrt(end) * np.linspace(0, 1, 13)
        body = sum(
            quad(inside, a, b, epsabs=0, epsrel=1e-11, limit=400)[0] for a, b in pairwise(points)
        )
        return float(body) + 2 / top / np.sqrt(max(self.value(end), TINY))
