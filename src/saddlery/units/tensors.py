"""The tensors of a unit: what its flat weights hold, one tensor after the other,
row by row.

A phi is written in kernels, biases, keys and queries; everything else sees one
flat u. `split` is the way from one to the other, and there is no way back: what
moves weights moves u.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from ..basis.checks import Words, require

Shape = tuple[int, ...]
# name -> shape, in the order in which they lie in the flat weights
Shapes = dict[str, Shape]


def split(u: Any, tensors: Mapping[str, Shape]) -> dict[str, Any]:
    """The tensors that lie in u, for a phi that is written in them.

    u: of one unit (U,), or of many with axes before it, (..., U).
    tensors: the shape of each, as `Unit.tensors` gives them; one of shape s comes
        back as (..., *s). Of a NumPy array they are views.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.units import split
    >>> parts = split(np.arange(7), {"kernel": (2, 3), "bias": ()})
    >>> parts["kernel"].tolist(), int(parts["bias"])
    ([[0, 1, 2], [3, 4, 5]], 6)
    """
    parts, start = {}, 0
    for name, shape in tensors.items():
        end = start + math.prod(shape)
        parts[name] = u[..., start:end].reshape((*u.shape[:-1], *shape))
        start = end
    return parts


def check_tensors(declared: Any, size: int, unit: str, side: str) -> Shapes:
    """What a unit declares of its tensors, if they fill one of its sides.

    size: how many numbers there are to fill.
    unit: its name.
    side: of the numbers, their name in words, "u".

    Raises InputError naming the first tensor that reaches past the end, or the
    last one where numbers are left over.
    """
    require(
        _is_table(declared) and len(declared) > 0,
        f"tensors of unit {unit!r}",
        needed='a table of names and shapes, such as {"kernel": (3,), "bias": ()}',
        given=declared,
    )
    found: Shapes = {}
    start, last = 0, ""
    for name, shape in declared.items():
        last = f"tensor {name!r} of unit {unit!r}"
        require(
            is_shape(shape),
            last,
            needed="of a shape, a tuple of whole numbers",
            given=shape,
        )
        found[name] = tuple(map(int, shape))
        end = start + math.prod(found[name])
        require(
            end <= size,
            last,
            needed=f"within the {size} numbers of {side}",
            given=Words(f"{start} to {end - 1}, counted from 0"),
            remedy="tensors lie one after the other",
        )
        start = end
    require(
        start == size,
        last,
        needed=f"followed by another, or end where the {size} numbers of {side} do",
        given=Words(f"an end after {start}"),
    )
    return found


def _is_table(declared: Any) -> bool:
    if not isinstance(declared, Mapping):
        return False
    return all(isinstance(name, str) for name in declared)


def is_shape(given: Any) -> bool:
    """Whether it is a tuple or list of whole numbers of at least 0."""
    if not isinstance(given, (tuple, list)):
        return False
    return all(isinstance(k, numbers.Integral) and int(k) >= 0 for k in given)
