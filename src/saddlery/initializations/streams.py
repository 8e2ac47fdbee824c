"""Random numbers of several seeds side by side: what a generator draws, with a leading run axis."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence

import numpy as np


class Streams:
    """A stream of random numbers for each of R seeds; every draw has the run axis first.

    Each run's numbers are those of its seed alone, whatever seeds stand beside it. label: of what
    is drawn, so that data and initial weights never share random numbers.

    Example
    -------
    >>> from saddlery.initializations.streams import Streams
    >>> one, several = Streams([7], "weights"), Streams([3, 7], "weights")
    >>> bool((one.standard_normal((2, 2))[0] == several.standard_normal((2, 2))[1]).all())
    True
    """

    def __init__(self, seeds: Sequence[int], label: str) -> None:
        letters = np.frombuffer(label.encode(), np.uint8)
        self._generators = [
            np.random.default_rng(np.concatenate([_words(seed), letters], dtype=np.uint32))
            for seed in seeds
        ]

    def __iter__(self) -> Iterator[np.random.Generator]:
        return iter(self._generators)

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Independent N(0, 1) numbers (R, *shape)."""
        drawn = np.empty((len(self._generators), *shape))
        for row, generator in zip(drawn, self._generators, strict=True):
            generator.standard_normal(out=row)
        return drawn

    def permutation(self, entries: np.ndarray) -> np.ndarray:
        """The entries (n,) in a random order for each run: (R, n)."""
        drawn = np.empty((len(self._generators), len(entries)), entries.dtype)
        for row, generator in zip(drawn, self._generators, strict=True):
            row[:] = generator.permutation(entries)
        return drawn


def _words(seed: int) -> np.ndarray:
    """A seed in words of 32 bits, lowest first, as NumPy takes whole numbers apart; an array of
    words is seeded three times as fast as a list of numbers."""
    number = operator.index(seed)
    words = -(-number.bit_length() // 32) or 1
    return np.frombuffer(number.to_bytes(4 * words, "little"), "<u4")
