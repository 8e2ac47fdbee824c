"""The 95% interval of a mean over seeds, by the kind of number that is
averaged: a share, a count or a real number.

What seeds say of a number depends on what it can be, not on what it
happened to be: of seeds that all agree Student's interval has no width,
although the next may differ. A share has the exact interval of hits among
trials; a count is a sum of shares, one a level; a real number has
Student's, since values without steps agree only to within what was
resolved.

Sources: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404; E. L.
Korn and B. I. Graubard, Survey Methodology 24 (1998) 193, for shares of
cases that come in groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import beta
from scipy.stats import t as student

from ..basis.checks import require

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
FEWEST_THAT_SPREAD = 10  # from so many seeds on their shares show how they spread
RESOLVED = 1e-6  # a measurement resolves a real number to this share, as `find_plateaus` a loss


@dataclass(frozen=True)
class Share:
    """From 0 to 1 of every seed: whether something happened, or in which
    part of the seed's own cases.

    cases: how many of these every seed has.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.studies.intervals import Share
    >>> low, high = Share().interval(np.ones(40))
    >>> round(low, 3), high
    (0.912, 1.0)
    """

    cases: int = 1

    def interval(
        self,
        values: Float[np.ndarray, " n"],
    ) -> tuple[float, float]:
        """Clopper & Pearson's, of the sum as the number of hits.

        Numbers between 0 and 1 spread no further than hits and misses of
        the same mean. Of n ones it is from 0.025^(1/n) to 1: from 0.91 for
        forty.

        Of seeds with several cases each the trials are as many as have the
        variance that the seeds' shares show (Korn & Graubard's), from one a
        seed to all cases; one a seed where fewer than ten seeds show none.
        """
        allowed = values.min() >= 0 and values.max() <= 1
        require(allowed, "shares", "from 0 to 1", values.tolist())
        n = self._trials(values)
        hits = float(values.mean()) * n
        return interval_of_share(hits, n)

    def _trials(self, values: Float[np.ndarray, " n"]) -> float:
        fewest, most = len(values), self.cases * len(values)
        if self.cases == 1 or fewest < FEWEST_THAT_SPREAD:
            return float(fewest)
        variance = float(values.var(ddof=1)) / fewest
        if variance == 0:
            return float(most)
        mean = float(values.mean())
        # Few seeds know their variance badly: Student's factors say by how much.
        wide = float(student.ppf(TAIL, fewest - 1))
        narrow = float(student.ppf(TAIL, most - 1))
        narrowed = (narrow / wide) ** 2
        effective = narrowed * mean * (1 - mean) / variance
        return min(max(effective, float(fewest)), float(most))


@dataclass(frozen=True)
class Count:
    """A whole number from 0 of every seed (or a mean of such numbers).

    most: the largest it can be.
    """

    most: float = np.inf

    def interval(
        self,
        values: Float[np.ndarray, " n"],
    ) -> tuple[float, float]:
        """x = b + sum_j min(max(x - b - j + 1, 0), 1), a sum of shares over
        the levels b + j from one below the least value seen to one above
        the largest: the sum of their intervals.

        (That no seed differs by more than one from all that were seen is
        what is assumed of the others.) Of n equal values m it is from m - d
        to m + d, d = 1 - 0.025^(1/n): 0.60 of four.
        """
        least, largest = np.floor(values.min()), np.ceil(values.max())
        base = max(least - 1, 0.0)
        top = max(min(largest + 1, self.most), largest)
        low = high = base
        for level in np.arange(base, top):
            reached = np.clip(values - level, 0, 1)
            hits = float(reached.sum())
            one, other = interval_of_share(hits, len(values))
            low += one
            high += other
        return float(low), float(high)


@dataclass(frozen=True)
class Real:
    """A number without steps, such as a time, an error or an exponent.

    least, most: what it can be.
    """

    least: float = -np.inf
    most: float = np.inf

    def interval(
        self,
        values: Float[np.ndarray, " n"],
    ) -> tuple[float, float]:
        """Student's, within what the number can be (and what was seen)."""
        low, high = interval_of_mean(values)
        least = min(self.least, float(values.min()))
        most = max(self.most, float(values.max()))
        return max(low, least), min(high, most)


Kind = Share | Count | Real


def interval_of_share(hits: float, n: float) -> tuple[float, float]:
    """The exact 95% interval of a share, of `hits` among n (Clopper &
    Pearson 1934).

    Example
    -------
    >>> from saddlery.studies.intervals import interval_of_share
    >>> low, high = interval_of_share(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.444, 0.975)
    """
    low, high = 0.0, 1.0
    if hits > 0:
        low = float(beta.ppf(TAIL, hits, n - hits + 1))
    if hits < n:
        high = float(beta.ppf(1 - TAIL, hits + 1, n - hits))
    return low, high


def interval_of_mean(
    values: Float[np.ndarray, " n"],
) -> tuple[float, float]:
    """The 95% interval of a mean by Student's t.

    Of one value, which says nothing of others, all numbers.

    A spread below what a measurement resolves (1e-6 of the number, and
    rounding of one) is taken to be that: values that are equal to the last
    digit are equal to within it.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.studies.intervals import interval_of_mean
    >>> low, high = interval_of_mean(np.array([1.0, 2.0, 3.0]))
    >>> round(float(low), 3), round(float(high), 3)
    (-0.484, 4.484)
    """
    n, mean = len(values), float(values.mean())
    if n == 1:
        return -np.inf, np.inf
    resolved = RESOLVED * abs(mean)
    rounding = float(np.finfo(float).eps)
    spread = max(float(values.std(ddof=1)), resolved, rounding)
    half = float(student.ppf(1 - TAIL, n - 1)) * spread / np.sqrt(n)
    return mean - half, mean + half
