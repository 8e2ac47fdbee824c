"""A compiled function of many rows, a block of fixed size at a time: one program whatever their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def by_blocks(function: Callable[[Any], Any], rows: np.ndarray, size: int) -> Any:
    """function (size, ...) -> arrays with a leading axis of `size`, applied to (T, ...); the last block is padded."""
    padding = np.broadcast_to(rows[-1], (-len(rows) % size, *rows.shape[1:]))
    blocks = np.concatenate([rows, padding]).reshape(-1, size, *rows.shape[1:])
    found = [jax.tree.map(np.asarray, function(block)) for block in blocks]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *found)
