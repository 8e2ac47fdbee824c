"""How large the numbers of a data set are, each in its own unit of measure: what zeros are told
from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def column_sizes(inputs: Float[np.ndarray, "N ..."]) -> Float[np.ndarray, ...]:
    """Root-mean-square sizes of every entry of an input; of all entries where one is always zero,
    and one where all are."""
    squares = np.mean(inputs**2, axis=0)
    return np.sqrt(np.where(squares > 0, squares, np.mean(squares) or 1.0))


def moment_sizes(moments: Float[np.ndarray, "M M"]) -> Float[np.ndarray, " M"]:
    """Root-mean-square sizes of the features of a matrix E[l l'], each in its own unit of measure;
    zeros count as one."""
    squares = np.diagonal(np.asarray(moments, float))
    return np.sqrt(np.where(squares > 0, squares, 1.0))
