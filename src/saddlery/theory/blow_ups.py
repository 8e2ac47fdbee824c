"""Units that grow on their own: blow-up times of quadratic units near zero, exactly.

Near zero a unit f = v u'Zu of a network with scalar output obeys, with S = E[y Z]
symmetric and l_d, u_d in its eigenbasis,
    v' = u'Su,    u' = 2 v S u.
With s = integral of v dt each u_d is u_d(0) e^(2 l_d s), so that
    v^2 = R(s) = v(0)^2 + 1/2 sum_d u_d(0)^2 (e^(4 l_d s) - 1),    dt = ds / v,
and the unit blows up after t_inf = integral ds / sqrt(R), to where s runs off, or
never (it dies: R tends to a constant). R is convex: s moves the way of v(0) until R is
zero, if it ever is, and from there the other way for good.

Source: Zhang, Saxe & Latham (2026), eq 14 and Appendix H for the system; the
integral is derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import brentq

from ..basis.checks import Words, finite, real, require
from ..basis.sizes import TINY

EXPONENT = 60.0  # the fastest exponential is taken alone once it is e^60 times the largest weight
LARGEST_EXPONENT = 500.0  # largest exponent that is tried; e^709 is the last that float64 holds
PRECISION = 1e-11  # relative precision of a quadrature
EXACTLY = 1e-14  # relative precision of a root, a few roundings
HALVINGS = 2000  # a root is found after so many steps, however near to zero it lies
QUADRATURE_PIECES = 12  # pieces into which the integral to infinity is cut


@dataclass(frozen=True)
class BlowUp:
    """When and how a unit escapes.

    time: flow time, good to about 1e-8 relative; inf for a unit that dies.
    sign: of v then, 0 for one that dies.
    direction: the eigenvector, counted as given, along which u grows; None
        for one that dies.
    """

    time: float
    sign: int
    direction: int | None


NEVER = BlowUp(time=float("inf"), sign=0, direction=None)


def blow_up(
    v: float,
    u: Float[np.ndarray, " D"],
    strengths: Float[np.ndarray, " D"],
) -> BlowUp:
    """The blow-up of one unit, in the eigenbasis of S = E[y Z].

    v: its outgoing weight. u (D,): its incoming weights.
    strengths (D,): l_d, the eigenvalues of S (loss 1/2 mean (y - f)^2; flow time).

    A balanced unit along one eigenvector, v' = 2 l v^2, takes 1 / (2 l v).
    Times scale like 1 / (size of the weights). Raises InputError for shapes
    that do not fit. Cost: one or two quadratures.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import blow_up
    >>> found = blow_up(0.01, np.array([np.sqrt(2) * 0.01]), np.array([0.5]))
    >>> round(found.time, 6), found.sign, found.direction
    (100.0, 1, 0)
    """
    u = finite(np.asarray(u, float), "u")
    strengths = finite(np.asarray(strengths, float), "strengths")
    require(
        u.ndim == 1 and u.shape == strengths.shape,
        "u and strengths",
        needed="of one shape (D,)",
        given=Words(f"{u.shape}, {strengths.shape}"),
    )
    v = real(v, "v")
    # What is not there cannot grow.
    there = np.flatnonzero(u)
    size = max(abs(v), float(np.abs(u).max()))
    fastest = float(np.abs(strengths[there]).max(initial=0.0))
    if size == 0 or fastest == 0:
        return NEVER
    logs = 2 * (np.log(np.abs(u[there])) - np.log(size)) - np.log(2.0)
    found = _natural(v / size, logs, 4 * strengths[there] / fastest)
    if found.direction is None:
        return NEVER
    return BlowUp(
        time=found.time / fastest / size,
        sign=found.sign,
        direction=int(there[found.direction]),
    )


def _natural(v: float, logs: np.ndarray, rates: np.ndarray) -> BlowUp:
    """The same in natural units, where the largest weight and the largest strength are
    one.

    logs (D,): of u_d^2 / 2, none of them zero. rates (D,): 4 l_d.
    """
    # with v(0) = 0 the first step is v' = u'Su
    heading = np.sign(v) or np.sign(float(np.exp(logs) @ rates))
    if heading == 0:
        return NEVER

    ahead = heading * rates
    forward = _Path(v**2, logs=logs, rates=ahead)
    turn = forward.turn() if v != 0 else None
    if turn is None:
        return _ended(forward.time(), int(heading), ahead)
    back = _Path(0.0, logs=logs + ahead * turn, rates=-ahead)
    time = forward.between(turn) + back.time()
    return _ended(time, -int(heading), -ahead)


def _ended(time: float, sign: int, rates: np.ndarray) -> BlowUp:
    if not np.isfinite(time):
        return NEVER
    return BlowUp(time=float(time), sign=sign, direction=int(np.argmax(rates)))


@dataclass(frozen=True)
class _Path:
    """R(s) = squared + sum_d e^logs_d (e^(rates_d s) - 1) for s >= 0, and its time."""

    squared: float
    logs: np.ndarray
    rates: np.ndarray

    def value(self, s: float) -> float:
        """R(s)."""
        return self.squared + _grown(self.logs, self.rates * s)

    def slope(self, s: float) -> float:
        """R'(s)."""
        return float(self.rates @ np.exp(self.logs + self.rates * s))

    def turn(self) -> float | None:
        """The first s > 0 at which R is zero, if there is one."""
        lowest = self._lowest()
        if lowest is None or self.value(lowest) >= 0:
            return None
        return _root(self.value, lowest)

    def _lowest(self) -> float | None:
        """Where the convex R is least; None where it only grows."""
        if self.slope(0.0) >= 0:
            return None
        fastest = float(np.abs(self.rates).max())
        end = 1.0 / fastest
        while self.slope(end) < 0 and end * fastest < LARGEST_EXPONENT:
            end *= 2
        if self.slope(end) <= 0:
            return end
        return _root(self.slope, end)

    def between(self, turn: float) -> float:
        """The time from s = 0 to the turn, where 1 / sqrt(R) has an
        integrable singularity.

        With s = turn - w^2 the integrand is smooth.
        """

        def inside(w: float) -> float:
            return 2 * w / np.sqrt(max(self._near(turn, w * w), TINY))

        return _integral(inside, 0.0, np.sqrt(turn))

    def _near(self, turn: float, gap: float) -> float:
        """R(turn - gap), without the cancellation."""
        return _grown(self.logs + self.rates * turn, -self.rates * gap)

    def time(self) -> float:
        """The time from s = 0 to infinity; inf where R stays bounded.

        In the end the fastest exponential is alone, whose integral is known.
        Before it s = w^2, since R may begin at zero.
        """
        fastest = int(np.argmax(self.rates))
        rate = float(self.rates[fastest])
        if rate <= 0:
            return float("inf")

        def inside(w: float) -> float:
            return 2 * w / np.sqrt(max(self.value(w * w), TINY))

        size = max(float(np.log(max(self.squared, TINY))), float(self.logs.max()))
        end = (EXPONENT + size - float(self.logs[fastest])) / rate
        points = np.sqrt(end) * np.linspace(0, 1, QUADRATURE_PIECES + 1)
        body = sum(_integral(inside, a, b) for a, b in pairwise(points))
        return body + 2 / rate / np.sqrt(max(self.value(end), TINY))


def _grown(logs: np.ndarray, exponents: np.ndarray) -> float:
    """sum_d e^logs_d (e^x_d - 1).

    No weight is too small to be seen once it has grown, and no digits are lost where it
    has not.
    """
    near = np.exp(logs) * np.expm1(np.minimum(exponents, 1.0))
    far = np.exp(logs + exponents) - np.exp(logs)
    return float(np.sum(np.where(exponents > 1, far, near)))


def _root(function: Callable[[float], float], end: float) -> float:
    """Between 0 and `end`, to a share of itself."""
    # The stubs know no Python float for rtol, and results of another kind.
    root = brentq(function, 0.0, end, xtol=TINY, rtol=EXACTLY, maxiter=HALVINGS)  # pyright: ignore
    return float(root)  # pyright: ignore


def _integral(function, low: float, high: float) -> float:
    return float(quad(function, low, high, epsabs=0, epsrel=PRECISION, limit=400)[0])
