"""Plateaus of a loss curve: where a saddle-to-saddle run dwells, found without a
threshold on the loss.

The curve is read as a road: `fallen` is the loss lost so far (it never decreases),
flow time a function of it. A plateau is a stretch of road where a little loss costs
much time compared with both neighbouring drops.

1. *Noise.* Loss cannot rise along a flow, so whatever isotonic regression rejects
   is noise. Past means bound a falling loss from above and future means from below,
   at every dyadic length: a confidence band. The taut string through the band is the
   curve in it whose speed has the fewest peaks and valleys: a valley it keeps is in
   the data. Where the loss never rises, noise is in its speed: a random step is a
   random progress. What such a jitter makes by chance of a stretch of so many samples
   is taken off its strength. Where a loss was rounded, to decimals, to significant
   digits or to float16, it says no more than that the loss was within half a step of
   the last digit: the band is so wide.
2. *Dwell.* Valleys of log speed are merged, weakest first, until each is
   `prominence` deep when speed is averaged over loss: over half a drop for a drop,
   over a tenth of the smaller neighbouring drop for the plateau.

All is relative to the curve's own drops, so rescaling loss or flow time, or
shifting the loss, changes nothing.

Sources: P. L. Davies and A. Kovac, Ann. Statist. 29 (2001) 1 (taut string); L.
Duembgen, J. Nonparametr. Stat. 15 (2003) 83 (multiscale bands for monotone curves);
H. Edelsbrunner, D. Letscher and A. Zomorodian, Discrete Comput. Geom. 28 (2002) 511
(persistence).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d, uniform_filter1d
from scipy.optimize import isotonic_regression

from ..basis.checks import Words, finite, positive, require
from ..basis.tolerances import Tolerances, chosen


@dataclass(frozen=True)
class PlateauTolerances(Tolerances, decides="plateaus"):
    """What a plateau of a loss curve is, and where it begins and ends."""

    prominence: float = chosen(
        1.25,
        "nats by which a plateau is slower than the drops beside it",
        "measured: between curves without dwell (up to 1.2) and staircases (1.36 and more)",
    )
    window: float = chosen(
        0.10,
        "loss over which the speed of a plateau is averaged, of the smaller drop beside it",
        "a judgement, part of the definition of strength",
        most=0.5,
    )
    edge: float = chosen(
        0.05,
        "loss by which an interval's ends differ from the plateau, of the drop beside it",
        "a judgement, part of the definition of an interval",
        most=0.5,
    )
    settled: float = chosen(
        0.01,
        "loss above its final value at which the tail is at rest, of the last drop",
        "a judgement: an exponential is there after 4.6 time constants",
        most=0.5,
    )
    border: float = chosen(
        1e-3,
        "a first fall that is the way onto the initial plateau, of the next drop",
        "a judgement",
        most=0.5,
    )
    resolution: float = chosen(
        1e-6,
        "the smallest drop there is, of the loss range",
        "a bound: ten roundings of a float32 loss",
        most=0.5,
    )
    rises: float = chosen(
        1e-9,
        "rises that are noise and not rounding, of the loss range",
        "a bound: a thousandth of the smallest drop",
    )
    band: float = chosen(
        1.0,
        "added to the quantile sqrt(2 log(e n / length)) of the confidence band",
        "measured: of 5,500 noisy curves without plateau 7 are given one",
    )


TINY = float(np.finfo(float).tiny)
# The common step of values is sought in so many differences between neighbouring ones.
GAPS = (2, 4, 8)
# Shown by fewer differences than the last of GAPS, a step counts if the least and the
# largest loss are so many steps apart: else it may be a staircase's.
FEW = 20
# Neighbouring values fewer steps apart than this are coarse.
FINE = 16
# The taut string passes through at most about so many samples.
KNOTS = 5000
# Median product of neighbouring changes of independent normal values, over their
# variance.
INDEPENDENT = -0.327

LOGGED = (
    "leave these rows of a log out, for example by saddlery.plateaus.clean_log(flow_time, loss)"
)
RESUMED = (
    "a run that was resumed logs some steps twice: keep the later ones, for example by "
    "saddlery.plateaus.clean_log"
)


@dataclass(frozen=True)
class Plateau:
    """One plateau. Times are in the units of `flow_time`, losses in those of `loss`.

    kind: "initial" (slow, then the first drop), "intermediate" (between two drops) or "end"
        (at rest).
    start, end: flow time between which the loss is at the plateau, within about 5 % of the
        neighbouring drops.
    loss: at the quietest point (of the denoised curve, if there is noise).
    strength: nats; log of (speed in the slower neighbouring drop / speed on the plateau),
        less what speed that jitters makes by chance, see find_plateaus.
    quietest: index of the sample of least speed, nearest to rest; of an end plateau, the
        last sample.
    first, last: indices of the first and last sample within [start, end].
    """

    kind: str
    start: float
    end: float
    loss: float
    strength: float
    quietest: int
    first: int
    last: int


def find_plateaus(flow_time, loss, *, prominence: float | None = None) -> tuple[Plateau, ...]:
    """Plateaus of a loss curve in order of flow time.

    Equation: with drops A, B before and after a plateau and <v>_h the loss lost per
    time while the loss falls by h,

        strength = log( min(max <v>_{A/2}, max <v>_{B/2}) / min <v>_{min(A, B)/10} )  (intermediate)
        strength = log( max <v>_{B/2} / <v>_{B/10}, from the start on )  (initial)
        strength = log( max <v>_{A/2} / <v> over the last A/100 )  (end)

    so e^strength says how much slower the plateau is than the slower of its drops.
    Where log speed jitters from sample to sample by sd, sd * quantile * sqrt(1/n +
    1/m) is taken off an intermediate one, n and m the samples on the plateau and in
    a drop. An end plateau must also have stayed within A/100 of its final loss
    (within the noise, if that is larger, and then for longer) for 2.2 time
    constants of the fall, of its middle 80 % or of that from A/10 to A/100,
    whichever is faster (some drops begin slowly): an exponential decay converges
    after seven time constants. A first fall of less than a thousandth of the next
    drop that nothing dwells before is the way from the start onto the initial
    plateau, and belongs to it. An interval extends to where the loss is 0.05 sqrt(A
    min(A, B)) above and 0.05 sqrt(B min(A, B)) below the plateau.

    Arguments: `flow_time` (T), strictly increasing, any spacing; `loss` (T), any
    scale and offset, noise allowed, rounded or not; masked entries of either are
    left out; `prominence` > 0, the least strength reported, that of
    `PlateauTolerances` by default. (For logs see `clean_log`.)

    The default 1.25 (3.5 times slower) lies in the gap between what has no dwell
    and what a person calls one: ripples whose speed varies by a factor 4 reach 1.2,
    a drop that starts at rest like a cosine 1.1, a Gaussian 1.0, any convex curve 0
    or less; the weakest plateau of a diagonal linear network with s = 2, 1, .5,
    .25, .125 and u0 = 1e-6 has 1.36, dwells twice as long as a drop 2 and more.

    Measured at the default:

    - Staircases of 1 to 5 drops within a factor 10, dwells of 2 to 20 drop widths,
      2000 to 8000 samples, Gaussian noise of 0, 1, 3, 10 and 30 % of the *smallest*
      drop: intermediate plateaus missed 0, 0, 0, 1 and 18 % of 202, none invented.
    - Curves without plateau (exponentials, power laws, stretched exponentials,
      ramps; 30 to 8000 samples; noise 1e-5 to 30 % of the range, white, correlated
      over 20 or 100 samples, or proportional to the loss): 7 false of 5500.
    - The same curves run through at random speed (steps of 1, 2 or 5 chi-square
      degrees of freedom; 300 samples or more): none false of 288, and no plateau of
      90 staircases of three drops missed; with 60 samples 2 false of 144, with 30
      14.
    - Smooth staircases of 2 to 5 drops, saved sparsely (plateaus found of all):
      evenly 30 samples 114 of 114; at random times 30 samples 104 of 115, 60 131 of
      132; at logarithmic times, of which few fall among the late drops, 60 samples
      111 of 130, 120 137 of 142, 250 141 of 141.
    - Losses of all shipped experiments on 500 and 4001 even times, rounded to 3 and
      4 decimals, 3 and 4 significant digits, 1000 and 3777 whole numbers, float16
      and float32: the plateaus of the unrounded ones, less those beside drops of a
      few steps.
    - The curves without plateau (30 to 5000 samples), rounded to 3 digits or
      decimals and more: none false of 1800; to two digits or 30 whole numbers, of
      which 300 samples or fewer may be a staircase: 33 of 648.

    Raises InputError: non-finite values, unequal shapes, not one-dimensional, times
    not increasing, no sample; each says what to do with a log.
    Cost: O(T log T); 10,000 samples take about 20 ms with noise or rounding, 2 ms
    without, a third of a second where speed is random.

    Example:
        >>> t = np.linspace(0, 20, 2001)
        >>> found = find_plateaus(t, 3 - np.tanh(t - 5) - np.tanh(t - 14))
        >>> [p.kind for p in found], round(found[1].loss, 3)
        (['initial', 'intermediate', 'end'], 3.0)

    Warning: drops below 1e-6 of the range are ignored. A ripple that all but stops
    the run at every turn (speed down by 4 or more, hardly a rise) is, by this
    definition, a staircase; a larger one counts as noise. Drops faster than the
    save grid make `strength` a lower bound. The last plateau of a run that is cut
    short cannot be told from its end.
    """
    time, values, kept = _checked(flow_time, loss)
    if prominence is None:
        prominence = PlateauTolerances.now().prominence
    positive(prominence, "prominence")
    size = float(np.abs(values).max()) or 1.0
    step = last_digits(values / size)
    unit = _despiked(values / size)
    reach = float(np.ptp(unit))
    if reach <= 8 * np.finfo(float).eps:
        return (_flat(time, values, kept),)
    road = _road(time, unit / reach, 0.5 * step / reach)
    stations = _stations(road, prominence)
    found = _describe(road, stations, size * reach, prominence)
    return tuple(_among(kept, plateau) for plateau in found)


def _flat(time, values, kept) -> Plateau:
    """The one plateau of a loss that does not change."""
    first, last = int(kept[0]), int(kept[-1])
    return Plateau(
        kind="end",
        start=float(time[0]),
        end=float(time[-1]),
        loss=float(values[-1]),
        strength=math.inf,
        quietest=last,
        first=first,
        last=last,
    )


def _among(kept, plateau: Plateau) -> Plateau:
    """Its indices among all entries, where these were kept."""
    return replace(
        plateau,
        quietest=int(kept[plateau.quietest]),
        first=int(kept[plateau.first]),
        last=int(kept[plateau.last]),
    )


def clean_log(flow_time, loss):
    """The rows of a log that `find_plateaus` can read: its times (T) and losses (T).

    Left out are masked entries, rows whose time or loss is not finite, and rows
    that a later one replaces: a run that was resumed logs some steps twice, and
    goes on from the later ones. What a run did after its loss stopped being finite
    is not looked at.

    Example:
        >>> clean_log([0, 1, 2, 3, 2, 3, 4], [9, 8, 7, 6, 7.5, 6.5, float("nan")])
        (array([0., 1., 2., 3.]), array([9. , 8. , 7.5, 6.5]))
    """
    time = np.ma.masked_invalid(np.ma.asarray(flow_time, dtype=float))
    values = np.ma.masked_invalid(np.ma.asarray(loss, dtype=float))
    _same_shape(time, values)
    there = _unmasked(time, values)
    time, values = time.data[there], values.data[there]
    # A row is replaced where a later one has its time or an earlier one.
    earliest = np.minimum.accumulate(time[::-1])[::-1]
    replaced = np.zeros(len(time), bool)
    replaced[:-1] = time[:-1] >= earliest[1:]
    return time[~replaced], values[~replaced]


def _checked(flow_time, loss):
    """Times and losses as arrays, and the places of the entries that are not masked."""
    time = np.ma.asarray(flow_time, dtype=float)
    values = np.ma.asarray(loss, dtype=float)
    _same_shape(time, values)
    kept = np.flatnonzero(_unmasked(time, values))
    time = finite(time.data[kept], "flow_time", LOGGED)
    values = finite(values.data[kept], "loss", LOGGED)
    back = np.flatnonzero(np.diff(time) <= 0)
    if len(back):
        k = int(back[0])
        here = f"{time[k]:g} and then {time[k + 1]:g} at index {kept[k + 1]}"
        given = Words(f"{here}, {len(back)} such places in all")
        require(False, "flow_time", "strictly increasing", given, RESUMED)
    return time, values, kept


def _unmasked(time, values):
    return ~(np.ma.getmaskarray(time) | np.ma.getmaskarray(values))


def _same_shape(time, values):
    require(time.ndim == 1, "flow_time", "one-dimensional", time.shape)
    same = values.shape == time.shape
    require(same, "loss", f"of the shape of flow_time, {time.shape}", values.shape)


# ---------------------------------------------------------------- the digits that a log keeps
def last_digits(loss):
    """(T): what one step of the last digit kept is worth at each value of a loss
    that was rounded, 0 where none was.

    A log keeps so many decimals, or so many significant digits, or float16: then values
    repeat, and nearby ones differ by whole multiples of one step. It is the greatest
    common divisor of GAPS neighbouring differences between the values that occur, the
    largest of those beside a value: the step changes from power to power of ten or two.
    Of numbers that were not rounded the divisor is rounding itself. Few values on a
    coarse grid (`FEW`) are a staircase as likely: they are taken as they are.
    """
    values, where, times = np.unique(loss, return_inverse=True, return_counts=True)
    step = np.zeros(len(values))
    if 2 < len(values) < len(loss):
        for size in GAPS:
            if size < len(values):
                step = np.maximum(step, _steps(values, times > 1, size))
    return step[where]


def _steps(values, repeated, size):
    """The step (V) at each of the rising values, the largest of the windows of
    `size` differences that it bounds."""
    limits = PlateauTolerances.now()
    reach = float(values[-1] - values[0])
    arithmetic = 64 * np.finfo(float).eps * float(np.abs(values).max())
    rounding = max(0.1 * limits.rises * reach, arithmetic)
    windows = sliding_window_view(np.diff(values), size)
    step = _common_divisor(windows, rounding)
    # Of values that are coarse and repeat, and a step that rounding alone does not make.
    sound = sliding_window_view(repeated, size + 1).any(axis=1)
    sound &= step > max(0.1 * limits.resolution * reach, 10 * rounding)
    sound &= windows.min(axis=1) < FINE * step
    if size < GAPS[-1]:
        sound &= step * FEW <= reach
    beyond = np.zeros(size)
    around = np.concatenate([beyond, np.where(sound, step, 0.0), beyond])
    return sliding_window_view(around, size + 1).max(axis=1)


def _common_divisor(numbers, rounding):
    """Of each row of numbers (R, C) > 0 the greatest common divisor, remainders below
    `rounding` being zero (Euclid)."""
    found = numbers[:, 0].copy()
    for column in numbers[:, 1:].T:
        larger, smaller = np.maximum(found, column), np.minimum(found, column)
        going = smaller > rounding
        while going.any():
            high, low = larger[going], smaller[going]
            remainder = high - np.round(high / low) * low
            larger[going], smaller[going] = low, np.abs(remainder)
            going = smaller > rounding
        found = larger
    return found


def _despiked(loss):
    """Loss (T) with isolated spikes of one or two samples set to the median of
    five; monotone curves stay."""
    calm = median_filter(loss, 5, mode="nearest")
    gap = np.abs(loss - calm)
    highest = maximum_filter1d(calm, 21, mode="nearest")
    lowest = minimum_filter1d(calm, 21, mode="nearest")
    usual = median_filter(gap, 21, mode="nearest")
    return np.where(gap > 10 * usual + (highest - lowest), calm, loss)


# --------------------------------------------------------- the road: a monotone curve free of noise
@dataclass(frozen=True)
class _Road:
    """A loss curve as a road.

    time (T): of the samples.
    fallen (T): the loss lost so far, which rises with it.
    level (T): the denoised loss, of its range.
    low, high (T): the confidence band.
    """

    time: np.ndarray
    fallen: np.ndarray
    level: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def when(self, fallen):
        return np.interp(fallen, self.fallen, self.time)

    def spans(self, begin: float, finish: float, size: float) -> np.ndarray:
        """Times of all windows of `size` in [begin, finish] with a sample or a bound at
        one end (the extremes)."""
        a, b = np.searchsorted(self.fallen, (begin, finish))
        knots = self.fallen[a:b]
        left = np.concatenate([knots, knots - size, [begin, finish - size]])
        left = np.clip(left, begin, max(begin, finish - size))
        return self.when(left + size) - self.when(left)

    def sure(self, before: float, after: float) -> bool:
        """Whether the band proves that loss was lost between two points of the road."""
        a, b = np.searchsorted(self.fallen, (before, after))
        return bool(self.low[a] > self.high[b])

    def chance(self, before: float, here: float, after: float, size: float) -> float:
        """How much slower than the drops beside it a window of `size` may be by chance,
        where log speed jitters."""
        places = (before, here - size, here, here + size, after)
        a, low, b, high, c = np.searchsorted(self.fallen, places)
        within = max(1, (high - low) / 2)
        beside = max(1, min(b - a, c - b) / 2)
        quantile = _quantile(len(self.time), within)
        return self._jitter(a, c) * quantile * math.sqrt(1 / within + 1 / beside)

    def _jitter(self, first: int, last: int) -> float:
        """Standard deviation of log speed from sample to sample, by the products of
        its neighbouring changes.

        Of independent values they are negative, with a median of -0.327 of the variance
        (normal values); where speed changes smoothly they are positive. Three turns are
        the stretch's own, two fastest places and a slowest: with no more it is smooth,
        however few its samples.
        """
        products, counts = self._bends
        stretch = slice(first, max(first, last - 2))
        products = products[stretch][counts[stretch]]
        turns = np.count_nonzero(products < 0)
        if turns <= 3:
            return 0.0
        return math.sqrt(max(0.0, -float(np.median(products))) / -INDEPENDENT)

    @cached_property
    def _bends(self) -> tuple[np.ndarray, np.ndarray]:
        """Products of neighbouring changes of log speed (T - 3), and which count: steps
        of less than `rises` are rounding."""
        limits = PlateauTolerances.now()
        lost = np.diff(self.fallen)
        speed = np.maximum(lost, limits.rises) / np.diff(self.time)
        change = np.diff(np.log(speed))
        counts = lost > limits.rises
        return change[1:] * change[:-1], counts[2:] & counts[1:-1] & counts[:-2]


def _quantile(samples: int, size: float) -> float:
    """What the mean of a stretch of `size` among so many `samples` exceeds nowhere by
    chance, in standard errors."""
    stretches = math.e * samples / min(size, samples)
    return PlateauTolerances.now().band + math.sqrt(2 * math.log(stretches))


def _road(time, loss, rounded):
    """The road of a loss (T) of range one. rounded (T): how far the loss may have been
    rounded to the digits that were kept."""
    limits = PlateauTolerances.now()
    level = isotonic_regression(loss, increasing=False).x
    rejected = loss - level
    low, high = level, level
    first, last = level[0], level[-1]
    noisy = np.abs(rejected).max() > limits.rises
    if noisy:
        scale, length = _noise(level, rejected)
        low, high = _band(loss, level, scale, length)
        first = _opening_mean(loss, scale, length)
        last = _opening_mean(loss[::-1], scale[::-1], length)
    coarse = rounded.max() > limits.rises
    if coarse:
        low, high = _falling(low - rounded, high + rounded)
    if noisy or coarse:
        level = _thread(time, low, high, first, last)
    # A little of the time is added, so that the road goes on where no loss is lost.
    share = (time - time[0]) / (time[-1] - time[0])
    fallen = np.maximum.accumulate(level[0] - level) + 1e-12 * share
    return _Road(time=time, fallen=fallen, level=level, low=low, high=high)


def _falling(low, high):
    """The bounds (T), (T) of a loss that falls: below all past ones,
    above all future ones."""
    return np.maximum.accumulate(low[::-1])[::-1], np.minimum.accumulate(high)


def _noise(level, rejected):
    """Local standard deviation (T) and correlation length (samples) of what
    isotonic regression rejects.

    Where the loss falls fast, noise up to about one step per sample makes no
    rises: there it may hide.
    """
    size = max(3, min(65, len(rejected) // 8))
    share = np.maximum(_mean(rejected != 0, size), 1 / size)
    seen = _mean(rejected**2, size) / share
    scale = np.sqrt(maximum_filter1d(seen, size, mode="nearest"))
    hidden = np.minimum(3 * scale.max(), _mean(-np.gradient(level), 9))
    scale = np.maximum(scale, hidden)
    white = np.divide(rejected, scale, out=np.zeros_like(rejected), where=scale > 0)
    return scale, _correlation_length(white, size)


def _correlation_length(white, most):
    """1 + 2 sum of correlations, up to the first lag below `most` at
    which hardly any is left."""
    length = 1.0
    for lag in range(1, most):
        share = float(white[lag:] @ white[:-lag]) / float(white @ white)
        if share < 0.05:
            break
        length += 2 * share
    return length


def _mean(values, size):
    values = np.asarray(values, dtype=float)
    return np.maximum(uniform_filter1d(values, size, mode="nearest"), 0.0)


def _band(loss, level, scale, length):
    """Band (T), (T) of a falling loss: below every past mean plus its error, above
    every future mean less its error."""
    n, size = len(loss), 1
    total = np.concatenate([[0.0], np.cumsum(loss)])
    power = np.concatenate([[0.0], np.cumsum(scale**2)])
    high, low = np.full(n, np.inf), np.full(n, -np.inf)
    while size <= max(1, n // 2):
        mean = (total[size:] - total[:-size]) / size
        variance = (power[size:] - power[:-size]) / size
        # As many independent samples as correlation lengths fit in.
        error = np.sqrt(variance * min(1.0, length / size))
        error *= _quantile(n, max(size, length))
        past, future = slice(size - 1, None), slice(None, n - size + 1)
        high[past] = np.minimum(high[past], mean + error)
        low[future] = np.maximum(low[future], mean - error)
        size *= 2
    low, high = _falling(low, high)
    return np.minimum(low, level), np.maximum(high, level)


def _opening_mean(loss, scale, length):
    """Mean of the longest opening stretch (of dyadic length) that agrees with the
    next one within the noise."""
    size = 1
    while 4 * size <= len(loss):
        gap = abs(loss[:size].mean() - loss[size : 2 * size].mean())
        if gap > 2 * scale[0] * math.sqrt(2 * min(1.0, length / size)):
            break
        size *= 2
    return float(loss[:size].mean())


def _thread(time, low, high, first, last):
    """Taut string through the band (T) from a first to a last loss, on every few
    samples if there are very many."""
    step = -(-len(time) // KNOTS)
    pick = np.unique(np.append(np.arange(0, len(time), step), len(time) - 1))
    floor, ceiling = low[pick], high[pick]
    floor[0] = ceiling[0] = min(max(first, low[0]), high[0])
    floor[-1] = ceiling[-1] = min(max(last, low[-1]), high[-1])
    corners = _funnel(time[pick].tolist(), floor.tolist(), ceiling.tolist())
    return np.interp(time, *corners)


def _funnel(x, floor, ceiling):
    """Corners of the shortest path through the gates (x_k, floor_k to ceiling_k); the
    end gates are points. O(n)."""
    path = [(x[0], floor[0])]
    above, below = [path[0]], [path[0]]
    for k in range(1, len(x)):
        _stretch(path, above, below, point=(x[k], ceiling[k]), sign=1)
        _stretch(path, below, above, point=(x[k], floor[k]), sign=-1)
    path.extend(below[1:])
    return [p[0] for p in path], [p[1] for p in path]


def _stretch(path, chain, other, *, point, sign):
    """Append a corner to one chain of the funnel, keep it taut, and move the apex
    on if the chains would cross."""
    while len(chain) > 1:
        bend = _slope(chain[-1], point) - _slope(chain[-2], chain[-1])
        if not sign * bend <= 0:
            break
        chain.pop()
    while len(chain) == 1 and len(other) > 1:
        bend = _slope(chain[0], point) - _slope(other[0], other[1])
        if not sign * bend < 0:
            break
        path.append(other[1])
        del other[0]
        chain[0] = other[0]
    chain.append(point)


def _slope(a, b):
    return (b[1] - a[1]) / (b[0] - a[0])


# ---------------------------------------------------------- stations: points of rest along the road
def _stations(road, prominence):
    """Fallen loss at the start, at each plateau between two drops, and at the end;
    weak ones are merged away."""
    at = [float(road.fallen[0]), *_valleys(road, prominence), float(road.fallen[-1])]
    before, after = list(range(-1, len(at) - 1)), list(range(1, len(at) + 1))

    def strength(k):
        """With its place, so that of equal ones the first is merged first."""
        stretch = at[before[k]], at[k], at[after[k]]
        if _settles(road, *stretch, prominence):
            return -math.inf, k
        return _strength(road, *stretch), k

    found = {k: strength(k) for k in range(1, len(at) - 1)}
    weakest = list(found.values())
    heapq.heapify(weakest)
    while weakest and weakest[0][0] < prominence:
        entry = heapq.heappop(weakest)
        k = entry[1]
        if found.get(k) != entry:
            continue  # it has changed since
        del found[k]
        after[before[k]], before[after[k]] = after[k], before[k]
        for near in (before[k], after[k]):
            if near in found:
                found[near] = strength(near)
                heapq.heappush(weakest, found[near])
    return [at[0], *(at[k] for k in sorted(found)), at[-1]]


def _valleys(road, prominence):
    """Fallen loss at the minima of log speed that stand out by `prominence` (a
    necessary condition), one per level."""
    limits = PlateauTolerances.now()
    speed = np.diff(road.fallen) / np.diff(road.time)
    log = np.log(np.maximum(speed, TINY))
    keep = np.array(_persistent(log, prominence), dtype=int)
    middle = 0.5 * (road.fallen[keep] + road.fallen[keep + 1])
    level = np.floor(middle / limits.resolution)
    order = np.lexsort((log[keep], level))
    _, slowest = np.unique(level[order], return_index=True)
    return middle[order][slowest].tolist()


def _persistent(log, prominence):
    """Indices of the interior minima that remain when every rise or fall below
    `prominence` is ignored."""
    turns = np.flatnonzero(np.diff(np.sign(np.diff(log)))) + 1
    found, peak, best = [], log[0], None
    for k in [*turns.tolist(), len(log) - 1]:
        if best is None:
            peak = max(peak, log[k])
            best = k if log[k] <= peak - prominence else None
        elif log[k] < log[best]:
            best = k
        elif log[k] >= log[best] + prominence:
            found.append(best)
            peak, best = log[k], None
    return found


def _settles(road, before, here, after, prominence):
    """Whether a small first fall is the way from the start onto the initial plateau, no
    drop: nothing dwells before it."""
    small = here - before < PlateauTolerances.now().border * (after - here)
    if not (before == road.fallen[0] and small):
        return False
    return _initial_strength(road, before, here) < prominence


def _strength(road, before, here, after):
    """Strength of an intermediate plateau, the logarithm of its time per loss over that
    of the drops; -inf if a drop beside it is below the resolution or the noise."""
    limits = PlateauTolerances.now()
    smaller = min(here - before, after - here)
    if not smaller > limits.resolution:
        return -math.inf
    if not (road.sure(before, here) and road.sure(here, after)):
        return -math.inf
    size = limits.window * smaller
    dwelling = road.spans(here - size, here + size, size).max() / size
    falling = max(_pace(road, before, here), _pace(road, here, after))
    return math.log(dwelling / falling) - road.chance(before, here, after, size)


def _pace(road, begin, finish):
    """Time per loss over the fastest half of a drop."""
    half = 0.5 * (finish - begin)
    return max(float(road.spans(begin, finish, half).min()), TINY) / half


def _initial_strength(road, begin, finish):
    limits = PlateauTolerances.now()
    size = limits.window * (finish - begin)
    dwelling = max(float(road.when(begin + size)) - float(road.time[0]), TINY) / size
    return math.log(dwelling / _pace(road, begin, finish))


def _constant(road, finish, above, below):
    """Time constant of the fall from `above` to `below` the end, as
    if it were exponential."""
    return float(road.when(finish - below) - road.when(finish - above)) / math.log(above / below)


def _end_strength(road, begin, finish):
    """Strength of the tail, or -inf if not at rest. Noise hides the last of an
    exponential: allow for it."""
    limits = PlateauTolerances.now()
    drop = finish - begin
    noise = float(road.high[-1] - road.low[-1])
    size = max(limits.settled * drop, min(noise, 0.5 * drop))
    rest = float(road.time[-1] - road.when(finish - size))
    middle = _constant(road, finish, above=0.9 * drop, below=0.1 * drop)
    late = _constant(road, finish, above=min(10 * size, 0.9 * drop), below=size)
    # An exponential of that time constant would have come as near.
    enough = min(middle, late) * math.log(9 * size / (limits.settled * drop))
    if rest <= 0 or rest < enough:
        return -math.inf
    return math.log(rest / size / _pace(road, begin, finish))


# ---------------------------------------------------------------- report
def _describe(road, stations, scale, prominence):
    """The plateaus at all stations, and at both ends those of the least strength."""
    limits = PlateauTolerances.now()
    drops = np.diff(stations)
    begin, finish = float(road.time[0]), float(road.time[-1])
    strength = _initial_strength(road, *stations[:2])
    if strength >= prominence:
        end = float(road.when(stations[0] + limits.edge * drops[0]))
        yield _plateau(road, scale, "initial", begin, end, strength)
    for k in range(1, len(stations) - 1):
        here, left, right = stations[k], drops[k - 1], drops[k]
        small = min(left, right)
        above = here - limits.edge * math.sqrt(left * small)
        below = here + limits.edge * math.sqrt(right * small)
        start, end = float(road.when(above)), float(road.when(below))
        strength = _strength(road, *stations[k - 1 : k + 2])
        yield _plateau(road, scale, "intermediate", start, end, strength)
    strength = _end_strength(road, *stations[-2:])
    if strength >= prominence:
        start = float(road.when(stations[-1] - limits.edge * drops[-1]))
        yield _plateau(road, scale, "end", start, finish, strength)


def _plateau(road, scale, kind, start, end, strength):
    first = int(np.searchsorted(road.time, start))
    last = int(np.searchsorted(road.time, end, side="right")) - 1
    if last < first:  # no sample within
        first = last = int(np.argmin(np.abs(road.time - 0.5 * (start + end))))
    quietest = last if kind == "end" else _quietest(road, first, last)
    return Plateau(
        kind=kind,
        start=start,
        end=end,
        loss=float(scale * road.level[quietest]),
        strength=float(strength),
        quietest=quietest,
        first=first,
        last=last,
    )


def _quietest(road, first, last):
    """Sample amid the slowest window of 1e-9 of the loss range (or of its two steps,
    where those are larger)."""
    centre = road.fallen[first : last + 1]
    low = np.maximum(centre - 5e-10, road.fallen[0])
    high = np.minimum(centre + 5e-10, road.fallen[-1])
    begin, finish = road.when(low), road.when(high)
    speed = (high - low) / np.maximum(finish - begin, TINY)
    slow = np.flatnonzero(speed <= speed.min() * (1 + 1e-6))
    best = slow[len(slow) // 2]
    amid = 0.5 * (begin[best] + finish[best])
    return first + int(np.argmin(np.abs(road.time[first : last + 1] - amid)))
