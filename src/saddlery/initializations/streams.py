"""Random numbers of several seeds side by side: what a generator draws, with
a leading run axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, UInt32

from ..tasks.base import checked_seed


class Streams:
    """A stream of random numbers for each of R seeds; every draw has the run
    axis first.

    Each run's numbers are those of its seed alone, whatever seeds stand
    beside it.

    seeds (R,): whole numbers of at least zero, however large.
    label: of what is drawn, so that data and initial weights never share
        random numbers.

    Cost: R generators to make, and a call of each for every draw.

    Example
    -------
    >>> from saddlery.initializations.streams import Streams
    >>> one, several = Streams([7], "weights"), Streams([3, 7], "weights")
    >>> drawn = several.standard_normal((2, 2))
    >>> drawn.shape, bool((one.standard_normal((2, 2))[0] == drawn[1]).all())
    ((2, 2, 2), True)
    """

    def __init__(self, seeds: Sequence[int], label: str) -> None:
        letters = np.frombuffer(label.encode(), np.uint8)
        self._generators: list[np.random.Generator] = []
        for seed in seeds:
            words = np.concatenate([_words(seed), letters], dtype=np.uint32)
            self._generators.append(np.random.default_rng(words))

    def __iter__(self) -> Iterator[np.random.Generator]:
        return iter(self._generators)

    def standard_normal(self, shape: tuple[int, ...]) -> Float[np.ndarray, "R ..."]:
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


def _words(seed: int) -> UInt32[np.ndarray, " words"]:
    """A seed in words of 32 bits, lowest first, as NumPy takes whole numbers
    apart.

    An array of words is seeded three times as fast as a list of numbers.
    """
    number = checked_seed(seed)
    count = -(-number.bit_length() // 32) or 1
    return np.frombuffer(number.to_bytes(4 * count, "little"), "<u4")
