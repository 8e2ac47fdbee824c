"""How large the numbers of a data set are, each in its own unit of measure:
what zeros are told from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

# Stands in for a size of zero wherever one divides by it: neither it nor its root is
# zero, so that ratios to it are numbers.
TINY = 1e-300


def column_sizes(inputs: Float[np.ndarray, "N ..."]) -> Float[np.ndarray, ...]:
    """Root-mean-square sizes (...) of every entry of an input; of all entries
    where one is always zero, and one where all are.

    inputs (N, ...): samples first.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.sizes import column_sizes
    >>> column_sizes(np.array([[3.0, 0.0], [3.0, 0.0]])).round(3).tolist()
    [3.0, 2.121]
    """
    squares = np.mean(inputs**2, axis=0)
    of_all = np.mean(squares) or 1.0
    return np.sqrt(np.where(squares > 0, squares, of_all))


def moment_sizes(moments: Float[np.ndarray, "M M"]) -> Float[np.ndarray, " M"]:
    """Root-mean-square sizes (M,) of the features of E[l l'], each in its own
    unit of measure; zeros count as one.

    moments (M, M): E[l l'], a mean over samples.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.sizes import moment_sizes
    >>> moment_sizes(np.diag([4.0, 0.0])).tolist()
    [2.0, 1.0]
    """
    squares = np.diagonal(np.asarray(moments, float))
    return np.sqrt(np.where(squares > 0, squares, 1.0))


def powers_apart(
    rows: Float[np.ndarray, "... N"],
) -> tuple[Float[np.ndarray, "... N"], Int[np.ndarray, " ..."]]:
    """Rows of numbers as rows whose largest entry lies between 1/2 and 1, times 2^k.

    rows (..., N). The result (..., N) and k (...), 0 for a row of zeros. Squares of the
    one neither underflow nor overflow, and no digit changes.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.sizes import powers_apart
    >>> rows, k = powers_apart(np.array([[3e-200, 4e-200]]))
    >>> length = np.ldexp(np.linalg.norm(rows, axis=1), k)
    >>> float(length[0])
    5e-200
    """
    _, powers = np.frexp(np.abs(rows).max(axis=-1, initial=0.0))
    return np.ldexp(rows, -powers[..., None]), powers


def lengths(rows: Float[np.ndarray, "... N"]) -> Float[np.ndarray, ...]:
    """|row| (...) of rows (..., N), also where squares underflow or overflow.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.sizes import lengths
    >>> lengths(np.array([[3e-200, 4e-200], [0.0, 0.0]])).tolist()
    [5e-200, 0.0]
    """
    near_one, powers = powers_apart(rows)
    return np.ldexp(np.linalg.norm(near_one, axis=-1), powers)


def common_power(*arrays: Float[np.ndarray, ...]) -> int:
    """k of the largest entry of all arrays, which is from 2^(k-1) to 2^k; 0 for zeros.

    Divided by 2^k (`np.ldexp(x, -k)`) no digit of them changes, and no square of what
    counts underflows.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.basis.sizes import common_power
    >>> common_power(np.array([3.0]), np.array([0.5, -5.0])), common_power(np.zeros(2))
    (3, 0)
    """
    largest = max((float(np.abs(x).max(initial=0.0)) for x in arrays), default=0.0)
    return int(np.frexp(largest)[1])
