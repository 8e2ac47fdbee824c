"""Two-layer linear networks from balanced weights, exactly, and finite for any horizon.

With white inputs, C = S_yx, and W2' W2 - W1 W1' = lambda I (kept by the flow), Q = [W1'; W2] (D +
O, H) obeys
    d(QQ')/dt = F QQ' + QQ' F - (QQ')^2,    F = [[-lambda/2 I, C'], [C, lambda/2 I]],
    QQ'(t) = e^(Ft) Q0 [I + Q0' (integral_0^t e^(2Fs) ds) Q0]^(-1) Q0' e^(Ft).
Printed like this it overflows. In the eigenbasis F = V f V', with g_i^2 = 2 f_i / (1 - e^(-2 f_i
t)) and Z = diag(e^(f_i t) / g_i) V' Q0, it is V g [Z (I + Z'Z)^(-1) Z'] g V', and the bracket is
the upper left corner of the orthogonal projector on the columns of [Z; I]: a QR decomposition of
rows of very different sizes, which is stable when they are sorted. Only the ratios of rows matter,
and only where they are not astronomical.
Source: Braun, Domine, Fitzgerald & Saxe (2022), Theorem 3.1 (lambda = 0); Domine et al. (2025),
Theorem 4.3; the stable form is derived here.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import qr

from ..basis.checks import InputError, Words, finite, require

GAP = 45.0  # nats: one row more than e^45 times another cannot be seen from it in float64


def balanced_path(
    flow_time: Float[np.ndarray, " T"],
    first: Float[np.ndarray, "H D"],
    second: Float[np.ndarray, "O H"],
    correlation: Float[np.ndarray, "O D"],
    *,
    tolerance: float = 1e-9,
) -> Float[np.ndarray, "T D+O D+O"]:
    """QQ'(t) = [[W1'W1, (W2 W1)'], [W2 W1, W2 W2']] along gradient flow on 1/2 mean |y - W2 W1
    x|^2, mean xx' = I.

    flow_time: at or after 0, however long. correlation: C = mean y x'. tolerance: allowed departure
    of W2'W2 - W1W1' from lambda I, relative to the weights. Raises InputError for shapes that do
    not fit and for unbalanced weights, with the departure. Cost: one QR of (D + O + H, H) a time.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.theory import balanced_path
    >>> w = np.array([[1e-3]])
    >>> float(balanced_path(np.array([1e6]), w, w, np.array([[0.4]]))[0, 1, 0].round(12))
    0.4
    """
    u, v, c = (
        finite(np.asarray(a, dtype=float), name)
        for a, name in ((first, "first"), (second, "second"), (correlation, "correlation"))
    )
    require(
        u.ndim == v.ndim == c.ndim == 2
        and v.shape[1] == u.shape[0]
        and c.shape == (v.shape[0], u.shape[1]),
        "first, second and correlation",
        "of shapes (H, D), (O, H) and (O, D)",
        Words(f"{u.shape}, {v.shape}, {c.shape}"),
    )
    t = np.atleast_1d(np.asarray(flow_time, dtype=float))
    require(bool(np.all(t >= 0)), "flow_time", "at or after 0", float(t.min(initial=0.0)))
    rates, basis = np.linalg.eigh(_generator(c, _imbalance(u, v, tolerance)))
    start = basis.T @ np.vstack([u.T, v])
    return np.stack([_at(basis, rates, start, time) for time in t])


def _imbalance(u: np.ndarray, v: np.ndarray, tolerance: float) -> float:
    difference = v.T @ v - u @ u.T
    constant = float(np.trace(difference)) / len(difference)
    departure = float(np.linalg.norm(difference - constant * np.eye(len(difference))))
    size = max(float(np.linalg.norm(u)) ** 2, float(np.linalg.norm(v)) ** 2)
    if departure > tolerance * size:
        raise InputError(
            "the weights must be balanced, W2'W2 - W1W1' = lambda I, but depart from it by"
            f" {departure:.2e}"
            f" ({departure / size:.1e} of their size); start from"
            ' Initialization(kind="lambda_balanced", ...)'
            " or integrate the flow"
        )
    return constant


def _generator(c: np.ndarray, constant: float) -> np.ndarray:
    outputs, inputs = c.shape
    half = 0.5 * constant
    return np.block([[-half * np.eye(inputs), c.T], [c, half * np.eye(outputs)]])


def _at(basis: np.ndarray, rates: np.ndarray, start: np.ndarray, time: float) -> np.ndarray:
    if time == 0:
        return basis @ start @ start.T @ basis.T
    log_gain, pull = _gains(rates, time)
    scaled = basis * pull
    return scaled @ _corner(log_gain, start) @ scaled.T


def _gains(rates: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """log sqrt(integral_0^t e^(2 f s) ds), and g = e^(f t) over that root, for every rate f;
    neither overflows."""
    x = 2 * rates * time
    small = np.abs(x) < 1e-12
    safe = np.where(small, 1.0, x)
    filled = np.where(small, 1.0, -np.expm1(-np.abs(safe)) / np.abs(safe))  # (1 - e^-|x|) / |x|
    log_gain = 0.5 * (np.log(time * filled) + np.maximum(x, 0.0))
    return log_gain, np.exp(np.minimum(0.5 * x, 0.0)) / np.sqrt(time * filled)


def _corner(log_gain: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Z (I + Z'Z)^(-1) Z' for Z = diag(e^log_gain) start."""
    width = start.shape[1]
    sizes = np.concatenate(
        [log_gain + np.log(np.maximum(np.linalg.norm(start, axis=1), 1e-300)), np.zeros(width)]
    )
    order = np.argsort(-sizes, kind="stable")
    shown = _compressed(sizes[order])
    rows = np.vstack(
        [start / np.maximum(np.linalg.norm(start, axis=1, keepdims=True), 1e-300), np.eye(width)]
    )
    q = qr(rows[order] * np.exp(shown)[:, None], mode="economic", pivoting=True)[0]
    unsorted = np.empty_like(q)
    unsorted[order] = q
    return unsorted[: len(start)] @ unsorted[: len(start)].T


def _compressed(sizes: np.ndarray) -> np.ndarray:
    """Descending logarithms with every gap cut to what float64 can see, centred."""
    most = min(GAP, 1300.0 / max(len(sizes), 1)) if sizes[0] - sizes[-1] > 1300.0 else np.inf
    shown = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(sizes), -most))])
    return shown - 0.5 * shown[-1]
