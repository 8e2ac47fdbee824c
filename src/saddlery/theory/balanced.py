"""Two-layer linear networks from balanced weights, exactly, and finite for any
horizon.

With white inputs, C = S_yx, and W2' W2 - W1 W1' = lambda I (kept by the flow),
Q = [W1'; W2] (D + O, H) obeys
    d(QQ')/dt = F QQ' + QQ' F - (QQ')^2,
    F = [[-lambda/2 I, C'], [C, lambda/2 I]],
    QQ'(t) = e^(Ft) Q0 [I + Q0' (integral_0^t e^(2Fs) ds) Q0]^(-1) Q0' e^(Ft).
Printed like this it overflows. In the eigenbasis F = V f V', with
    g_i^2 = 2 f_i / (1 - e^(-2 f_i t)),    Z = diag(e^(f_i t) / g_i) V' Q0,
it is
    V g [Z (I + Z'Z)^(-1) Z'] g V',
and the bracket is the upper left corner of the orthogonal projector on the columns
of [Z; I]: a QR decomposition of rows of very different sizes, which is stable when
they are sorted. Only the ratios of rows matter, and only where they are not
astronomical.

Source: Braun, Domine, Fitzgerald & Saxe (2022), Theorem 3.1 (lambda = 0);
Domine et al. (2025), Theorem 4.3; the stable form is derived here.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import qr

from ..basis.checks import InputError, Words, finite, require
from ..basis.sizes import TINY

# Nats to which a gap between rows is cut: beside one e^45 times as large a row cannot
# be seen in float64.
LARGEST_GAP = 45.0
# Nats that rows may span before gaps are cut: e^x overflows beyond 709, and they are
# centred at 0.
LARGEST_SPAN = 1300.0
# Rates with a smaller |2 f t| than this count as f = 0, which is exact to all digits.
STANDING = 1e-12

Array = np.ndarray


def balanced_path(
    flow_time: Float[np.ndarray, " T"],
    first: Float[np.ndarray, "H D"],
    second: Float[np.ndarray, "O H"],
    correlation: Float[np.ndarray, "O D"],
    *,
    tolerance: float = 1e-9,
) -> Float[np.ndarray, "T D+O D+O"]:
    """QQ'(t) along gradient flow on 1/2 mean |y - W2 W1 x|^2, where mean xx' = I.

        QQ' = [[W1'W1, (W2 W1)'],
               [W2 W1, W2 W2'  ]]

    flow_time (T,): at or after 0, however long.
    first (H, D), second (O, H): the weights W1, W2 at time 0.
    correlation (O, D): C = mean y x'.
    tolerance: allowed departure of W2'W2 - W1W1' from lambda I,
        relative to the weights.

    Raises InputError for shapes that do not fit and for unbalanced weights,
    with the departure. Cost: one QR of (D + O + H, H) a time.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import balanced_path
    >>> w = np.array([[1e-3]])
    >>> path = balanced_path(np.array([1e6]), w, w, np.array([[0.4]]))
    >>> float(path[0, 1, 0].round(12))
    0.4
    """
    u = finite(np.asarray(first, dtype=float), "first")
    v = finite(np.asarray(second, dtype=float), "second")
    c = finite(np.asarray(correlation, dtype=float), "correlation")
    require(
        _fit(u, v, c),
        "first, second and correlation",
        needed="of shapes (H, D), (O, H) and (O, D)",
        given=Words(f"{u.shape}, {v.shape}, {c.shape}"),
    )
    times = np.atleast_1d(np.asarray(flow_time, dtype=float))
    require(
        bool(np.all(np.isfinite(times) & (times >= 0))),
        "flow_time",
        needed="finite and at or after 0",
        given=times.tolist(),
    )
    imbalance = _imbalance(u, v, tolerance)
    rates, basis = np.linalg.eigh(_generator(c, imbalance))
    start = basis.T @ np.vstack([u.T, v])
    path = [_at(basis, rates, start, time) for time in times]
    return np.array(path).reshape(len(times), len(basis), len(basis))


def _fit(u: Array, v: Array, c: Array) -> bool:
    """Whether they are of shapes (H, D), (O, H) and (O, D)."""
    if not u.ndim == v.ndim == c.ndim == 2:
        return False
    width, inputs = u.shape
    outputs = len(v)
    return v.shape == (outputs, width) and c.shape == (outputs, inputs)


def _imbalance(u: Array, v: Array, tolerance: float) -> float:
    """lambda; raises InputError where W2'W2 - W1W1' is no multiple of the identity."""
    difference = v.T @ v - u @ u.T
    width = len(difference)
    constant = float(np.trace(difference)) / width
    rest = difference - constant * np.eye(width)
    departure = float(np.linalg.norm(rest))
    sizes = float(np.linalg.norm(u)), float(np.linalg.norm(v))
    size = max(sizes[0] ** 2, sizes[1] ** 2)
    if departure <= tolerance * size:
        return constant
    raise InputError(
        "the weights must be balanced, W2'W2 - W1W1' = lambda I,"
        f" but depart from it by {departure:.2e}"
        f" ({departure / size:.1e} of their size);"
        ' start from Initialization(kind="lambda_balanced", ...)'
        " or integrate the flow"
    )


def _generator(c: Array, constant: float) -> Array:
    """F, (D + O, D + O)."""
    outputs, inputs = c.shape
    half = 0.5 * constant
    above = -half * np.eye(inputs)
    below = half * np.eye(outputs)
    return np.block([[above, c.T], [c, below]])


def _at(basis: Array, rates: Array, start: Array, time: float) -> Array:
    """QQ' at one time; start: V' Q0."""
    if time == 0:
        return basis @ start @ start.T @ basis.T
    log_gain, pull = _gains(rates, time)
    scaled = basis * pull
    return scaled @ _corner(log_gain, start) @ scaled.T


def _gains(rates: Array, time: float) -> tuple[Array, Array]:
    """log(e^(f t) / g) = log sqrt(integral_0^t e^(2 f s) ds), and g, for every
    rate f.

    Neither overflows.
    """
    x = 2 * rates * time
    small = np.abs(x) < STANDING
    safe = np.where(small, 1.0, x)
    filled = -np.expm1(-np.abs(safe)) / np.abs(safe)  # (1 - e^-|x|) / |x|
    filled = np.where(small, 1.0, filled)

    log_gain = 0.5 * (np.log(time * filled) + np.maximum(x, 0.0))
    falling = np.exp(np.minimum(0.5 * x, 0.0))
    return log_gain, falling / np.sqrt(time * filled)


def _corner(log_gain: Array, start: Array) -> Array:
    """Z (I + Z'Z)^(-1) Z' for Z = diag(e^log_gain) start."""
    count, width = start.shape
    lengths = np.maximum(np.linalg.norm(start, axis=1), TINY)
    logs = log_gain + np.log(lengths)  # of the rows of Z
    sizes = np.concatenate([logs, np.zeros(width)])
    directions = np.vstack([start / lengths[:, None], np.eye(width)])

    order = np.argsort(-sizes, kind="stable")
    shown = np.exp(_compressed(sizes[order]))
    rows = directions[order] * shown[:, None]
    q = qr(rows, mode="economic", pivoting=True)[0]
    unsorted = np.empty_like(q)
    unsorted[order] = q
    upper = unsorted[:count]
    return upper @ upper.T


def _compressed(sizes: Array) -> Array:
    """Descending logarithms with every gap cut to what float64 can see, centred."""
    most = np.inf
    if sizes[0] - sizes[-1] > LARGEST_SPAN:
        most = min(LARGEST_GAP, LARGEST_SPAN / len(sizes))
    gaps = np.maximum(np.diff(sizes), -most)
    shown = np.concatenate([[0.0], np.cumsum(gaps)])
    return shown - 0.5 * shown[-1]
