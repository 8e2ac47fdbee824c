"""The 95% interval of a mean over seeds, by the kind of number that is averaged: a share, a count
or a real number.

What seeds say of a number depends on what it can be, not on what it happened to be: of seeds that
all agree Student's interval has no width, although the next may differ. A share has the exact
interval of hits among trials; a count is a sum of shares, one a level; a real number has Student's,
since values without steps agree only to within what was resolved.

Sources: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404; E. L. Korn and B. I. Graubard,
Survey Methodology 24 (1998) 193, for shares of cases that come in groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student

from ..basis.checks import require

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
SHOWN = 10  # seeds, from which their shares show how they spread
RESOLVED = 1e-6  # of a real number: what a measurement resolves, as `find_plateaus` does of a loss


@dataclass(frozen=True)
class Share:
    """From 0 to 1 of every seed: whether something happened, or in which part of the seed's own
    cases. cases: how many of these every seed has."""

    cases: int = 1

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Clopper & Pearson's, of the sum as the number of hits: numbers between 0 and 1 spread no
        further than hits and misses of the same mean. Of n ones it is from 0.025^(1/n) to 1: from
        0.91 for forty.

        Of seeds with several cases each the trials are as many as have the variance that the seeds'
        shares show (Korn & Graubard's), from one a seed to all cases; one a seed where fewer than
        ten seeds show none."""
        require(values.min() >= 0 and values.max() <= 1, "shares", "from 0 to 1", values.tolist())
        n = self._trials(values)
        return interval_of_share(float(values.mean()) * n, n)

    def _trials(self, values: np.ndarray) -> float:
        n, most, mean = len(values), self.cases * len(values), float(values.mean())
        if self.cases == 1 or n < SHOWN:
            return float(n)
        variance = float(values.var(ddof=1)) / n
        if variance == 0:
            return float(most)
        narrowed = (float(student.ppf(TAIL, most - 1)) / float(student.ppf(TAIL, n - 1))) ** 2
        return min(max(narrowed * mean * (1 - mean) / variance, float(n)), float(most))


@dataclass(frozen=True)
class Count:
    """A whole number from 0 of every seed (or a mean of such numbers). most: the largest it can
    be."""

    most: float = np.inf

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """x = b + sum_j min(max(x - b - j + 1, 0), 1), a sum of shares over the levels b + j from
        one below the least value seen to one above the largest: the sum of their intervals. (That
        no seed differs by more than one from all that were seen is what is assumed of the others.)
        Of n equal values m it is from m - d to m + d, d = 1 - 0.025^(1/n): 0.60 of four."""
        base = max(np.floor(values.min()) - 1, 0.0)
        top = max(min(np.ceil(values.max()) + 1, self.most), np.ceil(values.max()))
        low = high = base
        for level in np.arange(base, top):
            reached = np.clip(values - level, 0, 1)
            one, other = interval_of_share(float(reached.sum()), len(values))
            low, high = low + one, high + other
        return float(low), float(high)


@dataclass(frozen=True)
class Real:
    """A number without steps, such as a time, an error or an exponent. least, most: what it can
    be."""

    least: float = -np.inf
    most: float = np.inf

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        low, high = interval_of_mean(values)
        return max(low, min(self.least, float(values.min()))), min(
            high, max(self.most, float(values.max()))
        )


Kind = Share | Count | Real


def interval_of_share(hits: float, n: float) -> tuple[float, float]:
    """The exact 95% interval of a share, of `hits` among n (Clopper & Pearson 1934)."""
    low = float(beta.ppf(TAIL, hits, n - hits + 1)) if hits > 0 else 0.0
    return low, float(beta.ppf(1 - TAIL, hits + 1, n - hits)) if hits < n else 1.0


def interval_of_mean(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of a mean by Student's t; of one value, which says nothing of others, all
    numbers.

    A spread below what a measurement resolves (1e-6 of the number, and rounding of one) is taken to
    be that: values that are equal to the last digit are equal to within it."""
    n, mean = len(values), float(values.mean())
    if n == 1:
        return -np.inf, np.inf
    spread = max(float(values.std(ddof=1)), RESOLVED * abs(mean), float(np.finfo(float).eps))
    half = float(student.ppf(1 - TAIL, n - 1)) * spread / np.sqrt(n)
    return mean - half, mean + half
