"""Diagonal linear networks from vanishing weights: the exact saddles and jump times.

    f(x) = sum_d u_d v_d x_d,    beta = u v,    u(0) = sqrt(2) a 1,    v(0) = 0,
    L(beta) = 1/2 beta' G beta - b' beta + constant.
As a -> 0 and in the time t / ln(1/a), the flow jumps between saddles: with the
integrated gradient s, started at 0, a coordinate can be non-zero only where s = +-1,
and
    wait     until some s_d - delta dL/dbeta_d reaches +-1 (it is then released),
    jump     to the minimum of L over beta_d >= 0 where s_d = 1,
             beta_d <= 0 where s_d = -1, and beta_d = 0 elsewhere.
Coordinates can be released and taken back. The sequence ends at the first zero of the
gradient.

Source: Pesme & Flammarion (2023), Algorithm 1 and Theorem 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from ..basis.checks import NumericalError, Words, finite, require
from ..basis.sizes import TINY, moment_sizes
from ..basis.values import Value

VANISHED = 1e-10  # components of a gradient below this share of the first one are zero
RANK = 1e-12  # eigenvalues of G below this share of the largest are zero
OUTSIDE = 1e-9  # b may lie outside the range of G by this share of it
# Coordinates whose times to their walls differ by no more, relatively, reach them at
# once.
AT_ONCE = 1e-12

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Jump(Value):
    """One stage.

    time: when it begins, t / ln(1/a) in flow time.
    beta (D,): the saddle rested at from then on.
    loss: there, less the constant that no beta removes.
    """

    time: float
    beta: Float[np.ndarray, " D"]
    loss: float


def diagonal_jumps(
    curvature: Float[np.ndarray, "D D"],
    correlation: Float[np.ndarray, " D"],
    *,
    walls: tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]] | None = None,
    limit: int = 1000,
) -> tuple[Jump, ...]:
    """The saddles of a diagonal linear network in order, from beta = 0 to the
    minimum.

    curvature (D, D): G = mean x x', positive semi-definite.
    correlation (D,): b = mean y x, in the range of G; L carries the half.
    walls: at how much integrated gradient a coordinate is released to positive
        and to negative values, both (D,); 1 and 1 by default, in the time
        t / ln(1/a). With ln(2/|u + v|) and ln(2/|u - v|) of some small weights
        u, v the times are flow times for these.
    limit: of jumps.

    Flow time is that of theta' = -dL/dtheta; with flow on L/2 or a sum over
    samples it scales alike. Raises InputError for impossible data, NumericalError
    beyond `limit` jumps. Cost: one non-negative least-squares problem a jump.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import diagonal_jumps
    >>> jumps = diagonal_jumps(np.eye(2), np.array([1.0, -0.5]))
    >>> [(round(jump.time, 6), jump.beta.round(6).tolist()) for jump in jumps]
    [(0.0, [0.0, 0.0]), (1.0, [1.0, 0.0]), (2.0, [1.0, -0.5])]
    """
    if walls is None:
        one = np.ones(np.size(correlation))
        walls = one, one
    high, low = (np.asarray(wall, float)[None] for wall in walls)
    paths = diagonal_paths(curvature, correlation, high, low, limit=limit)
    return paths[0]


def diagonal_paths(
    curvature: Float[np.ndarray, "D D"],
    correlation: Float[np.ndarray, " D"],
    high: Float[np.ndarray, "R D"],
    low: Float[np.ndarray, "R D"],
    *,
    limit: int = 1000,
) -> tuple[tuple[Jump, ...], ...]:
    """`diagonal_jumps` of R small weights side by side.

    curvature (D, D), correlation (D,), limit: as for `diagonal_jumps`.
    high (R, D), low (R, D): at how much integrated gradient a coordinate is
        released to positive and to negative values, for each of them.

    Cost: one non-negative least-squares problem a saddle that any of them
    visits, and arrays (R, D) a jump.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import diagonal_paths
    >>> walls = np.array([[1.0, 1.0], [3.0, 1.0]])
    >>> paths = diagonal_paths(np.eye(2), np.array([1.0, -0.5]), walls, walls)
    >>> [[round(jump.time, 6) for jump in path] for path in paths]
    [[0.0, 1.0, 2.0], [0.0, 2.0, 3.0]]
    """
    g, b = _checked(curvature, correlation)
    _check_walls(high, low, len(b))
    saddles = _Saddles(g, b, *_least_squares(g, b))
    signs, s = np.zeros(high.shape), np.zeros(high.shape)
    time = np.zeros(len(high))
    paths = [[Jump(0.0, np.zeros(len(b)), saddles.floor)] for _ in high]
    left = np.arange(len(high))
    still = VANISHED * max(float(np.abs(b).max()), TINY)
    while True:
        slopes = [saddles.at(row).slope for row in signs[left]]
        slope = np.array(slopes).reshape(-1, len(b))
        moving = np.abs(slope) > still
        going = moving.any(axis=1)
        left, slope, moving = left[going], slope[going], moving[going]
        if not len(left):
            return tuple(map(tuple, paths))
        if len(paths[left[0]]) > limit:
            raise NumericalError(f"more than {limit} jumps; raise the limit")
        above, below, at = high[left], low[left], s[left]
        # to the wall the gradient pushes s towards
        distance = np.where(slope > 0, at + below, above - at)
        speed = np.where(moving, np.abs(slope), 1.0)
        waits = np.where(moving, distance / speed, np.inf)
        wait = waits.min(axis=1, keepdims=True)
        hit = waits <= wait * (1 + AT_ONCE)
        wall = np.where(slope > 0, -below, above)
        at = np.where(moving, at - wait * slope, at)
        at = np.where(hit, wall, at)
        negative = np.where(at == -below, -1.0, 0.0)
        time[left] += wait[:, 0]
        s[left] = at
        signs[left] = np.where(at == above, 1.0, negative)
        for k in left:
            saddle = saddles.at(signs[k])
            paths[k].append(Jump(float(time[k]), saddle.beta, saddle.loss))


class _Saddle(NamedTuple):
    beta: np.ndarray
    slope: np.ndarray
    loss: float


class _Saddles:
    """The saddles by the signs of their coordinates, each computed when
    it is first visited.

    g (D, D), b (D,): of the loss, which is 1/2 |root beta - target|^2.
    floor: the loss at zero.
    """

    def __init__(
        self,
        g: np.ndarray,
        b: np.ndarray,
        root: np.ndarray,
        target: np.ndarray,
        floor: float,
    ) -> None:
        self.g, self.b = g, b
        self.root, self.target = root, target
        self.floor = floor
        self.known: dict[bytes, _Saddle] = {}

    def at(self, signs: np.ndarray) -> _Saddle:
        key = signs.tobytes()
        if key not in self.known:
            beta = _constrained(self.root, self.target, signs)
            loss = 0.5 * float(np.sum((self.root @ beta - self.target) ** 2))
            self.known[key] = _Saddle(beta, self.g @ beta - self.b, loss)
        return self.known[key]


def _checked(curvature: Array, correlation: Array) -> tuple[Array, Array]:
    """G (D, D), made symmetric to the last digit, and b (D,)."""
    g = finite(np.asarray(curvature, float), "curvature")
    b = finite(np.asarray(correlation, float), "correlation")
    require(
        b.ndim == 1 and g.shape == (b.size, b.size),
        "curvature and correlation",
        needed="of shapes (D, D) and (D,)",
        given=Words(f"{g.shape} and {b.shape}"),
    )
    rounding = 1e-12 * np.abs(g).max()
    require(
        bool(np.allclose(g, g.T, rtol=0, atol=rounding)),
        "curvature",
        needed="symmetric",
        given=Words("no such matrix"),
    )
    return 0.5 * (g + g.T), b


def _least_squares(g: Array, b: Array) -> tuple[Array, Array, float]:
    """(root R, target y, loss at zero) with L = 1/2 |R beta - y|^2."""
    size = moment_sizes(g)
    values, vectors = np.linalg.eigh(g / size / size[:, None])
    zero = RANK * max(values[-1], 0.0)
    require(
        values[0] >= -zero,
        "curvature",
        needed="positive semi-definite",
        given=float(values[0]),
    )
    keep = values > zero
    kept = vectors[:, keep].T
    lengths = np.sqrt(values[keep])
    root = lengths[:, None] * kept * size
    target = (kept @ (b / size)) / lengths

    outside = float(np.linalg.norm((root.T @ target - b) / size))
    whole = max(float(np.linalg.norm(b / size)), TINY)
    require(
        outside <= OUTSIDE * whole,
        "correlation",
        needed="zero where the inputs are",
        given=Words(f"a part of norm {outside:.1e} outside the range of the curvature"),
    )
    return root, target, 0.5 * float(target @ target)


def _check_walls(high: np.ndarray, low: np.ndarray, size: int) -> None:
    finite(high, "walls")
    finite(low, "walls")
    fits = high.shape == low.shape == (len(high), size)
    positive = fits and bool(np.all(high > 0) and np.all(low > 0))
    require(
        positive,
        "walls",
        needed=f"two arrays of {size} positive numbers",
        given=Words(f"{high}, {low}"),
    )


def _constrained(root: Array, target: Array, signs: Array) -> Array:
    """The least-squares solution with these signs, and zero where they are zero."""
    beta = np.zeros(len(signs))
    free = signs != 0
    if free.any():
        columns = root[:, free] * signs[free]
        beta[free] = signs[free] * nnls(columns, target)[0]
    return beta
