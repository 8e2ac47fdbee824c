"""Plateaus of a loss curve, where a saddle-to-saddle run dwells, found without a threshold on the loss.

The loss is read as a road: `fallen` = loss lost so far, never decreasing, and flow time as a function of it.
A plateau is a stretch where a little loss costs much time compared with both neighbouring drops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.optimize import isotonic_regression

from .checks import finite, positive, require

RESOLUTION = 1e-6  # drops below this share of the whole loss range are never drops: ten roundings of a float32 loss
EDGE = 0.05  # an interval ends where the loss is this share of the neighbouring drop away from the plateau
WINDOW = 0.10  # plateau speed is averaged over this share of the smaller neighbouring drop (half of it at a border)
SETTLED = 0.01  # the tail is converged while within this share of the last drop from its final loss
HIDDEN = 1.0  # noise up to this multiple of the local step makes no rises
BORDER = 1e-3  # a first (last) drop below this share of its neighbour belongs to the initial (end) plateau
RISES = 1e-9  # rises of the loss above this share of its range are noise to be reckoned with
KNOTS = 5000  # the taut string runs through at most so many samples
BAND = 1.0  # added to the band's sqrt(2 log n) quantile


@dataclass(frozen=True)
class Plateau:
    kind: str
    start: float
    end: float
    loss: float
    strength: float
    quietest: int
    first: int
    last: int


@dataclass(frozen=True)
class _Road:
    """Monotone curve: `fallen` (T), strictly rising with `time` (T), and the noise `width` (T) of fallen."""

    time: np.ndarray
    fallen: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def sure(self, before: float, after: float) -> bool:
        """Whether the band proves that loss was lost between these two points of the road."""
        a, b = np.searchsorted(self.fallen, (before, after))
        return bool(self.low[a] > self.high[min(b, len(self.high) - 1)])

    def when(self, fallen):
        return np.interp(fallen, self.fallen, self.time)

    def spans(self, low: float, high: float, size: float) -> np.ndarray:
        """Times taken by all windows of `size` within [low, high] that begin or end on a sample, or at a bound."""
        a, b = np.searchsorted(self.fallen, (low, high))
        knots = self.fallen[a:b]
        begin = np.concatenate([knots, knots - size, [low, high - size]])
        begin = np.clip(begin, low, max(low, high - size))
        return self.when(begin + size) - self.when(begin)


def find_plateaus(flow_time, loss, *, prominence: float = 1.25) -> tuple[Plateau, ...]:
    time, values = _checked(flow_time, loss)
    positive(prominence, "prominence")
    reach = float(values.max() - values.min())
    if len(values) < 2 or reach <= 8 * np.finfo(float).eps * float(np.abs(values).max()):
        return (_constant(time, values),)
    road = _road(time, values / reach)
    stations = _stations(road, prominence)
    return _describe(road, stations, values, prominence)


def _checked(flow_time, loss):
    time = finite(np.asarray(flow_time, dtype=float), "flow_time")
    values = finite(np.asarray(loss, dtype=float), "loss")
    require(time.ndim == 1, "flow_time", "one-dimensional", time.shape)
    require(values.shape == time.shape, "loss", f"of the shape of flow_time, {time.shape}", values.shape)
    require(bool(np.all(np.diff(time) > 0)), "flow_time", "strictly increasing", "a step that is not positive")
    return time, values


def _constant(time, values):
    return Plateau("end", float(time[0]), float(time[-1]), float(values[-1]), math.inf, len(time) - 1, 0, len(time) - 1)


# ---------------------------------------------------------------- noise
def _road(time, loss):
    calm = isotonic_regression(loss, increasing=False).x
    rejected = loss - calm
    low = high = calm
    if np.abs(rejected).max() > RISES:
        low, high = _band(loss, calm, rejected)
        calm = _thread(time, low, high, *_ends(loss, low, high, rejected))
    share = (time - time[0]) / (time[-1] - time[0])
    return _Road(time, np.maximum.accumulate(calm[0] - calm) + 1e-12 * share, low, high)


def _mean(values, size):
    return np.maximum(uniform_filter1d(np.asarray(values, dtype=float), size, mode="nearest"), 0.0)


def _noise(loss, rejected):
    """Local standard deviation (T) and correlation length in samples of what isotonic regression rejects."""
    size = max(3, min(65, len(rejected) // 8))
    seen = _mean(rejected**2, size) / np.maximum(_mean(rejected != 0, size), 1 / size)
    scale = np.sqrt(maximum_filter1d(seen, size, mode="nearest"))
    hidden = HIDDEN * _mean(-np.gradient(loss - rejected), 9)
    scale = np.maximum(scale, np.minimum(3 * scale.max(), hidden))
    white = np.divide(rejected, scale, out=np.zeros_like(rejected), where=scale > 0)
    length, power = 1.0, float(white @ white)
    for lag in range(1, size):
        share = float(white[lag:] @ white[:-lag]) / power
        if share < 0.05:
            break
        length += 2 * share
    return scale, length


def _band(loss, calm, rejected):
    """Confidence band of a falling loss: past means bound it above, future means below, at every dyadic length."""
    scale, length = _noise(loss, rejected)
    n = len(loss)
    total = np.concatenate([[0.0], np.cumsum(loss)])
    square = np.concatenate([[0.0], np.cumsum(scale**2)])
    high, low = np.full(n, np.inf), np.full(n, -np.inf)
    size = 1
    while size <= max(1, n // 2):
        mean = (total[size:] - total[:-size]) / size
        spread = np.sqrt((square[size:] - square[:-size]) / size * min(1.0, length / size))
        spread = spread * (BAND + math.sqrt(2 * math.log(math.e * n / max(size, min(length, n)))))
        high[size - 1 :] = np.minimum(high[size - 1 :], mean + spread)
        low[: n - size + 1] = np.maximum(low[: n - size + 1], mean - spread)
        size *= 2
    high, low = np.minimum.accumulate(high), np.maximum.accumulate(low[::-1])[::-1]
    return np.minimum(low, calm), np.maximum(high, calm)


def _ends(loss, low, high, rejected):
    scale, length = _noise(loss, rejected)
    first = _level(loss, scale[0], length)
    last = _level(loss[::-1], scale[-1], length)
    return float(np.clip(first, low[0], high[0])), float(np.clip(last, low[-1], high[-1]))


def _level(loss, scale, length):
    """Mean of the longest opening stretch (dyadic) whose two halves agree within the noise."""
    size = 1
    while 4 * size <= len(loss):
        gap = abs(loss[:size].mean() - loss[size : 2 * size].mean())
        if gap > 2 * scale * math.sqrt(min(1.0, length / size) * 2):
            break
        size *= 2
    return loss[:size].mean()


def _thread(time, low, high, first, last):
    """Taut string through the band: of all curves in it, the one whose speed has the fewest peaks and valleys."""
    step = -(-len(time) // KNOTS)
    pick = np.unique(np.append(np.arange(0, len(time), step), len(time) - 1))
    floor, ceiling = low[pick].copy(), high[pick].copy()
    floor[0] = ceiling[0] = first
    floor[-1] = ceiling[-1] = last
    x, y = _funnel(time[pick].tolist(), floor.tolist(), ceiling.tolist())
    return np.interp(time, x, y)


def _funnel(x, floor, ceiling):
    """Shortest path from the first to the last gate (x_k, [floor_k, ceiling_k]); both end gates are points."""
    path = [(x[0], floor[0])]
    up, down = [path[0]], [path[0]]  # taut chains along the ceiling (convex) and the floor (concave)
    for k in range(1, len(x)):
        _stretch(path, up, down, (x[k], ceiling[k]), 1)
        _stretch(path, down, up, (x[k], floor[k]), -1)
    path.extend(down[1:])
    return [p[0] for p in path], [p[1] for p in path]


def _stretch(path, chain, other, point, sign):
    """Append a point to a chain, keep it taut, and move the apex where the chains would cross."""
    while len(chain) > 1 and sign * (_slope(chain[-1], point) - _slope(chain[-2], chain[-1])) <= 0:
        chain.pop()
    while len(chain) == 1 and len(other) > 1 and sign * (_slope(chain[0], point) - _slope(other[0], other[1])) < 0:
        path.append(other[1])
        del other[0]
        chain[0] = other[0]
    chain.append(point)


def _slope(a, b):
    return (b[1] - a[1]) / (b[0] - a[0])


# ---------------------------------------------------------------- stations
def _stations(road, prominence):
    """Fallen loss at the start, at every plateau that stands out by `prominence`, and at the end."""
    inner = _valleys(road, prominence)
    stations = [float(road.fallen[0]), *inner, float(road.fallen[-1])]
    depth = lru_cache(maxsize=None)(lambda a, b, c: _depth(road, a, b, c))
    while len(stations) > 2:
        depths = [depth(*stations[k - 1 : k + 2]) for k in range(1, len(stations) - 1)]
        weakest = int(np.argmin(depths))
        if depths[weakest] >= prominence:
            break
        del stations[weakest + 1]
    return stations


def _valleys(road, prominence):
    """Middles of the segments where log speed has a minimum of at least `prominence`, one per resolved level."""
    speed = np.diff(road.fallen) / np.diff(road.time)
    log = np.log(np.maximum(speed, np.finfo(float).tiny))
    keep = _persistent(log, prominence)
    if not keep:
        return []
    keep = np.array(keep)
    middle = 0.5 * (road.fallen[keep] + road.fallen[keep + 1])
    order = np.lexsort((log[keep], np.floor(middle / RESOLUTION)))
    _, lead = np.unique(np.floor(middle / RESOLUTION)[order], return_index=True)
    return sorted(set(middle[order][lead].tolist()))


def _persistent(log, prominence):
    """Indices of the interior minima left when every rise below `prominence` is ignored."""
    turn = np.flatnonzero(np.diff(np.sign(np.diff(log))) != 0) + 1
    found, top, best, rising = [], log[0], 0, False
    peak = log[0]
    best = None
    for k in [*turn.tolist(), len(log) - 1]:
        value = log[k]
        if best is None:
            if value > peak:
                peak = value
            elif value <= peak - prominence:
                best = k
        elif value < log[best]:
            best = k
        elif value >= log[best] + prominence:
            found.append(best)
            best, peak = None, value
    return found


def _depth(road, before, here, after):
    left, right = here - before, after - here
    faint = before == road.fallen[0] and left < BORDER * right or after == road.fallen[-1] and right < BORDER * left
    if faint or min(left, right) <= RESOLUTION or not (road.sure(before, here) and road.sure(here, after)):
        return -math.inf
    size = WINDOW * min(left, right)
    slow = road.spans(here - size, here + size, size).max() / size
    return math.log(slow / max(_pace(road, before, here), _pace(road, here, after)))


def _pace(road, begin, finish):
    """Time per loss over the fastest half of a drop."""
    half = 0.5 * (finish - begin)
    return max(float(road.spans(begin, finish, half).min()), 1e-300) / half


# ---------------------------------------------------------------- report
def _describe(road, stations, values, prominence):
    drops = np.diff(stations)
    found = []
    strength = _opening(road, stations[0], stations[1])
    if strength >= prominence:
        found.append(_interval(road, values, "initial", road.fallen[0], stations[0] + EDGE * drops[0], strength))
    for k in range(1, len(stations) - 1):
        least = min(drops[k - 1], drops[k])
        low = stations[k] - EDGE * math.sqrt(drops[k - 1] * least)
        high = stations[k] + EDGE * math.sqrt(drops[k] * least)
        strength = _depth(road, *stations[k - 1 : k + 2])
        found.append(_interval(road, values, "intermediate", low, high, strength))
    strength = _closing(road, stations[-2], stations[-1])
    if strength >= prominence:
        low = stations[-1] - EDGE * drops[-1]
        found.append(_interval(road, values, "end", low, road.fallen[-1], strength))
    return tuple(found)


def _opening(road, begin, finish):
    size = WINDOW * (finish - begin)
    slow = (road.when(begin + size) - road.time[0]) / size
    return math.log(max(slow, 1e-300) / _pace(road, begin, finish))


def _closing(road, begin, finish):
    drop = finish - begin
    size = max(SETTLED * drop, min(float(road.high[-1] - road.low[-1]), 0.5 * drop))
    rest = road.time[-1] - road.when(finish - size)
    middle = road.when(finish - 0.1 * drop) - road.when(begin + 0.1 * drop)
    unseen = math.log(size / (SETTLED * drop)) / math.log(9)
    if rest < middle * (1 + unseen):
        return -math.inf
    return math.log(rest / size / _pace(road, begin, finish))


def _interval(road, values, kind, low, high, strength):
    start = float(road.time[0] if kind == "initial" else road.when(low))
    end = float(road.time[-1] if kind == "end" else road.when(high))
    first = int(np.searchsorted(road.time, start))
    last = int(np.searchsorted(road.time, end, side="right")) - 1
    if last < first:
        first = last = int(np.argmin(np.abs(road.time - 0.5 * (start + end))))
    quietest = last if kind == "end" else _quietest(road, first, last)
    return Plateau(kind, start, end, float(values[quietest]), float(strength), quietest, first, last)


def _quietest(road, first, last):
    """Sample in the middle of the slowest window of 1e-9 of the loss range (or of two steps, where those are larger)."""
    centre = road.fallen[first : last + 1]
    low, high = np.maximum(centre - 5e-10, road.fallen[0]), np.minimum(centre + 5e-10, road.fallen[-1])
    begin, finish = road.when(low), road.when(high)
    speed = (high - low) / np.maximum(finish - begin, np.finfo(float).tiny)
    slow = np.flatnonzero(speed <= speed.min() * (1 + 1e-6))
    best = slow[len(slow) // 2]
    middle = 0.5 * (begin[best] + finish[best])
    return first + int(np.argmin(np.abs(road.time[first : last + 1] - middle)))
