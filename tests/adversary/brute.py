"""Verdicts by brute force: losses and slopes written again in NumPy, and descent in small boxes
around a point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from scipy.optimize import minimize
from scipy.special import erf

Function = Callable[[np.ndarray], np.ndarray]
ROOT = np.sqrt(2.0)


def _gelu(a: np.ndarray) -> np.ndarray:
    return 0.5 * a * (1 + erf(np.asarray(a, float) / ROOT))


def _gelu_slope(a: np.ndarray) -> np.ndarray:
    b = np.asarray(a, float)
    return 0.5 * (1 + erf(b / ROOT)) + b * np.exp(-(b**2) / 2) / np.sqrt(2 * np.pi)


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


# name: phi(a), phi'(a) away from kinks, relative rounding of the two
PHI: dict[str, tuple[Function, Function, float]] = {
    "linear": (lambda a: a, np.ones_like, 1e-19),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) * np.ones_like(a), 1e-19),
    "leaky_relu": (
        lambda a: np.where(a >= 0, a, a / 10),
        lambda a: np.where(a >= 0, np.ones_like(a), np.ones_like(a) / 10),
        1e-17,
    ),
    "quadratic": (lambda a: a**2, lambda a: 2 * a, 1e-19),
    "cubic": (lambda a: a**3, lambda a: 3 * a**2, 1e-19),
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2, 1e-19),
    "x_tanh_x": (lambda a: a * np.tanh(a), lambda a: np.tanh(a) + a * (1 - np.tanh(a) ** 2), 1e-19),
    "erf": (
        lambda a: erf(np.asarray(a, float)),
        lambda a: 2 / np.sqrt(np.pi) * np.exp(-(a**2)),
        1e-16,
    ),
    "gelu": (_gelu, _gelu_slope, 1e-16),
    "sine": (np.sin, np.cos, 1e-19),
    "sigmoid": (_sigmoid, lambda a: _sigmoid(a) * (1 - _sigmoid(a)), 1e-19),
    "own_abs": (np.abs, np.sign, 1e-19),
    "own_clip": (
        lambda a: np.clip(a, 0, 1),
        lambda a: ((a > 0) & (a < 1)) * np.ones_like(a),
        1e-19,
    ),
    "own_softened": (
        lambda a: np.tanh(a) ** 2,
        lambda a: 2 * np.tanh(a) * (1 - np.tanh(a) ** 2),
        1e-19,
    ),
}


def _series(a: Decimal, factor: Callable[[int], Decimal]) -> Decimal:
    """sum_k t_k, t_0 = a, t_k = t_(k-1) a^2 factor(k), until nothing is added."""
    total, term, k = Decimal(0), a, 0
    while total + term != total:
        total, k = total + term, k + 1
        term *= a * a * factor(k)
    return total


def _tanh(a: Decimal) -> Decimal:
    return 1 - 2 / ((2 * a).exp() + 1)


def _erf(a: Decimal) -> Decimal:
    """2 / sqrt(pi) sum_k (-1)^k a^(2 k + 1) / (k! (2 k + 1)); of numbers beyond 14 one, to eighty
    digits."""
    if abs(a) > 14:
        return Decimal(1).copy_sign(a)
    with localcontext() as context:
        context.prec += 10 + int(a * a / 2)  # terms grow to e^(a^2) before they fall
        found = 2 * _series(a, lambda k: Decimal(1 - 2 * k) / (k * (2 * k + 1))) / PI.sqrt()
    return +found


DIGITS = 80
PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651"
)
DECIMAL: dict[str, Callable[[Decimal], Decimal]] = {
    "linear": lambda a: a,
    "relu": lambda a: max(a, Decimal(0)),
    "leaky_relu": lambda a: a if a >= 0 else a / 10,
    "quadratic": lambda a: a**2,
    "cubic": lambda a: a**3,
    "tanh": _tanh,
    "x_tanh_x": lambda a: a * _tanh(a),
    "erf": _erf,
    "gelu": lambda a: a / 2 * (1 + _erf(a / Decimal(2).sqrt())),
    "sine": lambda a: _series(a % (2 * PI), lambda k: Decimal(-1) / (2 * k * (2 * k + 1))),
    "sigmoid": lambda a: (1 + _tanh(a / 2)) / 2,
    "own_abs": abs,
    "own_clip": lambda a: min(max(a, Decimal(0)), Decimal(1)),
    "own_softened": lambda a: _tanh(a) ** 2,
}


@dataclass(frozen=True, eq=False)
class Plain:
    """L(theta) = 1/2 mean |y - phi(x u') v|^2 in long double; theta: u (H, D) row by row, then v
    (H, O)."""

    unit: str
    width: int
    x: np.ndarray
    y: np.ndarray

    def _parts(self, theta: np.ndarray, dtype: type) -> tuple[np.ndarray, ...]:
        x, y, theta = (np.asarray(a, dtype) for a in (self.x, self.y, theta))
        u = theta[: self.width * x.shape[1]].reshape(self.width, -1)
        return x, y, u, theta[u.size :].reshape(self.width, -1)

    def loss(self, theta: np.ndarray) -> np.longdouble:
        x, y, u, v = self._parts(theta, np.longdouble)
        phi = PHI[self.unit][0]
        return np.sum((phi(x @ u.T) @ v - y) ** 2) / (2 * len(x))

    def change(self, point: np.ndarray, direction: np.ndarray, step: float) -> Decimal:
        """L(point + step direction) - L(point) in decimals of eighty digits."""
        with localcontext() as context:
            context.prec = DIGITS
            exact = np.vectorize(lambda a: Decimal(float(a)), otypes=[object])
            phi = np.vectorize(DECIMAL[self.unit], otypes=[object])
            start, way = exact(point), exact(direction)
            x, y = exact(self.x), exact(self.y)

            def loss(theta: np.ndarray) -> Decimal:
                u = theta[: self.width * x.shape[1]].reshape(self.width, -1)
                v = theta[u.size :].reshape(self.width, -1)
                return ((phi(x @ u.T) @ v - y) ** 2).sum() / (2 * len(x))

            return loss(start + Decimal(step) * way) - loss(start)

    def slope(self, theta: np.ndarray, dtype: type = np.longdouble) -> np.ndarray:
        """dL/dtheta (P,); on kinks one of the one-sided values."""
        x, y, u, v = self._parts(theta, dtype)
        phi, derivative, _ = PHI[self.unit]
        a = x @ u.T
        error = (phi(a) @ v - y) / len(x)
        return np.concatenate(
            [((error @ v.T * derivative(a)).T @ x).ravel(), (phi(a).T @ error).ravel()]
        )

    def natural_slope(self, theta: np.ndarray) -> float:
        """|dL/dtheta| with inputs and targets measured by their own sizes, of that at random
        weights of the sizes this makes."""
        x, y = (np.sqrt(np.mean(a**2)) for a in (self.x, self.y))
        u = self.width * self.x.shape[1]
        units = np.where(np.arange(len(theta)) < u, 1 / x, y)
        size = lambda t: float(np.linalg.norm(units * np.asarray(self.slope(t), float)))
        return size(theta) / size(units * np.random.default_rng(1).standard_normal(len(theta)))

    @property
    def noise(self) -> float:
        """Rounding of a loss, of targets that a network does not reach."""
        return 64 * max(PHI[self.unit][2], 1e-19) * float(np.mean(np.sum(self.y**2, axis=1)))

    def fall(self, point: np.ndarray, radius: float, *, starts: int = 12, seed: int = 0) -> float:
        """The largest fall of the loss that descent finds within a box of this half-width around a
        point, from many starts."""
        rng, base = np.random.default_rng(seed), self.loss(point)
        box = np.stack([point - radius, point + radius], axis=1)
        best = 0.0
        for k in range(starts):
            d = rng.standard_normal(len(point))
            start = point + radius * (0.9 if k % 2 else 0.3) * d / np.abs(d).max()
            found = minimize(
                lambda t: (float(self.loss(t) - base), np.asarray(self.slope(t), float)),
                start, jac=True, bounds=box, method="L-BFGS-B", options={"maxiter": 200, "ftol": 0.0, "gtol": 0.0},
            )  # fmt: skip
            best = max(best, float(base - self.loss(found.x)))
        return best

    def one_sided(self, point: np.ndarray, direction: np.ndarray, step: float = 1e-7) -> float:
        """The directional derivative L'(point; direction) by one one-sided difference in long
        double."""
        moved = np.asarray(point, np.longdouble) + np.longdouble(step) * direction
        return float((self.loss(moved) - self.loss(point)) / np.longdouble(step))

    def hessian(self, point: np.ndarray, step: float) -> np.ndarray:
        """Central differences of the slope; for smooth units."""
        columns = []
        for e in np.eye(len(point)):
            ahead, behind = (
                self.slope(np.asarray(point, np.longdouble) + s * step * e) for s in (1, -1)
            )
            columns.append(np.asarray((ahead - behind) / (2 * step), float))
        matrix = np.array(columns)
        return (matrix + matrix.T) / 2
