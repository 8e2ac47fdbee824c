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

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from ..basis.checks import NumericalError, Words, finite, require
from ..basis.sizes import moment_sizes

VANISHED = 1e-10  # of the first gradient: components below are zero
RANK = 1e-12  # of the largest: eigenvalues of G below are zero
OUTSIDE = 1e-9  # of b: what may lie outside the range of G
AT_ONCE = 1e-12  # relative: coordinates that reach their walls this near in time do so at once
TINY = 1e-300  # in place of a size of zero, to which others are compared

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Jump:
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
    """The saddles of a diagonal linear network in order, from beta = 0 to the minimum.

    curvature (D, D): G = mean x x', positive semi-definite.
    correlation (D,): b = mean y x, in the range of G; L carries the half.
    walls: at how much integrated gradient a coordinate is released to positive and to
        negative values, both (D,); 1 and 1 by default, in the time t / ln(1/a). With
        ln(2/|u + v|) and ln(2/|u - v|) of some small weights u, v the times are flow
        times for these.
    limit: of jumps.

    Flow time is that of theta' = -dL/dtheta; with flow on L/2 or a sum over samples it
    scales alike. Raises InputError for impossible data, NumericalError beyond `limit`
    jumps. Cost: one non-negative least-squares problem a jump.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import diagonal_jumps
    >>> jumps = diagonal_jumps(np.eye(2), np.array([1.0, -0.5]))
    >>> [(round(jump.time, 6), jump.beta.round(6).tolist()) for jump in jumps]
    [(0.0, [0.0, 0.0]), (1.0, [1.0, 0.0]), (2.0, [1.0, -0.5])]
    """
    g, b = _checked(curvature, correlation)
    root, target, floor = _least_squares(g, b)
    high, low = _walls(walls, len(b))
    still = VANISHED * max(float(np.abs(b).max()), TINY)

    time, s, beta = 0.0, np.zeros(len(b)), np.zeros(len(b))
    jumps = [Jump(time, beta, floor)]
    while True:
        slope = g @ beta - b
        moving = np.abs(slope) > still
        if not moving.any():
            return tuple(jumps)
        if len(jumps) > limit:
            raise NumericalError(f"more than {limit} jumps; raise the limit")

        # every s_d runs at the rate -slope_d to the wall that lies this way
        distance = np.where(slope > 0, s + low, high - s)
        waits = np.full(len(b), np.inf)
        waits[moving] = distance[moving] / np.abs(slope[moving])
        wait = float(waits.min())
        hit = waits <= wait * (1 + AT_ONCE)
        s = np.where(moving, s - wait * slope, s)
        s[hit] = np.where(slope > 0, -low, high)[hit]

        time += wait
        signs = np.where(s == high, 1.0, 0.0) - np.where(s == -low, 1.0, 0.0)
        beta = _constrained(root, target, signs)
        rest = root @ beta - target
        loss = 0.5 * float(np.sum(rest**2))
        jumps.append(Jump(time, beta, loss))


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


def _walls(walls: tuple[Array, Array] | None, size: int) -> tuple[Array, Array]:
    if walls is None:
        return np.ones(size), np.ones(size)
    high, low = (finite(np.asarray(side, float), "walls") for side in walls)
    shaped = high.shape == low.shape == (size,)
    require(
        shaped and bool(np.all(high > 0) and np.all(low > 0)),
        "walls",
        needed=f"two arrays of {size} positive numbers",
        given=Words(f"{high}, {low}"),
    )
    return high, low


def _constrained(root: Array, target: Array, signs: Array) -> Array:
    """The least-squares solution with these signs, and zero where they are zero."""
    beta = np.zeros(len(signs))
    free = signs != 0
    if free.any():
        columns = root[:, free] * signs[free]
        beta[free] = signs[free] * nnls(columns, target)[0]
    return beta
