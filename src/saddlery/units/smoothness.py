"""Whether phi is twice differentiable in u: jumps of phi, of its slope or of its
curvature along random lines of u.

Along a line p(t) = <w, phi(z; u + t d)>, an interval is halved again and again,
always towards the half with the larger discrepancy, D_0 = |p(b) - p(a) - h
(p'(a) + p'(b)) / 2|, D_1 the same one derivative higher, D_2 = |p''(b) - p''(a)|.
Of a function with so many continuous derivatives each D vanishes with the
interval; across a jump it stays what it was, however small the interval.
Derivatives are automatic ones at generic points; what they are *at* a kink is not
asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# Sizes of u at which jumps are sought: kinks may lie away from the origin.
SIZES = (1e-2, 1.0, 30.0, 1000.0)
# Lines of each size that miss the origin, beside one through it.
LINES = 2
# Lines run from -SPAN to SPAN times that size.
SPAN = 3.0
# A line is cut into so many intervals, each halved by itself.
CELLS = 128
# Every interval is halved DEEP times; a jump is as large after the last LATE as before.
DEEP, LATE = 30, 6
# A jump keeps more than this share of its discrepancy over the last LATE halvings, a
# smooth function 2^-6.
STAYS = 0.5
# Discrepancies below this share of the largest derivative of their order on the line
# are rounding.
SEEN = 1e-6
# So are those below these shares, by order, of the largest phi, t in units of the size: of units k
# times as steep as that, 1e-16 of phi is 1e-16 k^2 of its curvature (k up to 1e6).
FLOOR = (1e-6, 1e-6, 1e-3)
ORDERS = ("phi itself", "the slope of phi", "the curvature of phi")


class Jump(NamedTuple):
    """A jump of a derivative of phi along a line of u.

    order: of the derivative, 0, 1 or 2.
    size: |u| where it jumps.
    relative: by how much, of the largest such derivative on its line.
    """

    order: int
    size: float
    relative: float

    def __str__(self) -> str:
        where = f"{ORDERS[self.order]} at |u| = {self.size:.3g}"
        return f"a jump of {where}, by {self.relative:.1e} of the largest nearby"


def find_jump(
    phi: Callable,
    z: np.ndarray,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    sizes: tuple[float, ...] = SIZES,
) -> Jump | None:
    """The jump of lowest order found on random lines of u; None where none was.

    phi: (z, u) -> an array, of any shape.
    z: one input, (D,) for example.
    shape: of u, (D,) for example.
    rng: of the lines.
    sizes: of u on them, from 1e-2 to 1e3 unless others are given.

    Cost: some 4,000 evaluations of phi and two derivatives a line and order,
    compiled once: about half a second.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.units import dense
    >>> from saddlery.units.smoothness import find_jump
    >>> relu, rng = dense("relu").phi, np.random.default_rng(0)
    >>> find_jump(relu, np.ones(2), (2,), rng, sizes=(1.0,)).order
    1
    """
    silent = jnp.zeros(shape)
    weights = jnp.asarray(rng.standard_normal(jax.eval_shape(phi, z, silent).shape))

    @jax.jit
    def jets(base: Array, direction: Array, t: Array) -> Array:
        """p, p' and p'' at every t, (3, T)."""
        line = lambda s: jnp.sum(weights * phi(z, base + s * direction))
        slope = jax.grad(line)
        curvature = jax.grad(slope)
        return jnp.stack([jax.vmap(form)(t) for form in (line, slope, curvature)])

    found = []
    for size in sizes:
        for line in range(LINES + 1):
            base, direction = size * rng.standard_normal((2, *shape))
            if line == 0:  # the one through the origin
                base = 0 * base
            on_line = lambda t, b=base, d=direction: np.asarray(jets(b, d, t))
            jump = _on_line(on_line, rng)
            if jump is not None:
                order, place, relative = jump
                distance = np.linalg.norm(base + place * direction)
                found.append(Jump(order, float(distance), relative))
    return min(found, default=None)


def _on_line(
    jets: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[int, float, float] | None:
    """(order, place, relative size) of the jump of lowest order on the line."""
    # Edges at no round number, where a kink may lie.
    edges = np.linspace(-SPAN, SPAN, CELLS + 1) + 0.01 * rng.random()
    values = jets(edges)
    if not np.all(np.isfinite(values)):
        return None  # phi overflows there
    walks = [_halved(jets, order, edges, values) for order in range(3)]
    largest = np.max([walk.largest for walk in walks], axis=0)
    for order, walk in enumerate(walks):
        least = max(SEEN * largest[order], FLOOR[order] * largest[0])
        stays = (walk.late > STAYS * walk.early) & (walk.late > least)
        if stays.any():
            k = int(np.argmax(np.where(stays, walk.late, 0.0)))
            relative = walk.late[k] / largest[order]
            return order, float(walk.place[k]), float(relative)
    return None


class _Walk(NamedTuple):
    """Where the halving of every cell has led, its discrepancies at the end and
    LATE halvings before, and the largest |p|, |p'| and |p''| seen on the way."""

    place: np.ndarray
    early: np.ndarray
    late: np.ndarray
    largest: np.ndarray


def _halved(
    jets: Callable[[np.ndarray], np.ndarray],
    order: int,
    edges: np.ndarray,
    values: np.ndarray,
) -> _Walk:
    """Every cell halved DEEP times, towards the larger discrepancy of an order.

    edges (T,): of the cells. values (3, T): p, p' and p'' there, as `jets` gives.
    """
    a, at_a = edges[:-1], values[:, :-1]
    b, at_b = edges[1:], values[:, 1:]
    largest = np.abs(values).max(axis=1)
    sizes = [_discrepancy(order, b - a, at_a, at_b)]
    padding = np.zeros(1)  # one program serves edges and midpoints
    for _ in range(DEEP):
        middle = 0.5 * (a + b)
        at_middle = jets(np.concatenate([middle, padding]))[:, :-1]
        largest = np.fmax(largest, np.abs(at_middle).max(axis=1))

        left = _discrepancy(order, middle - a, at_a, at_middle)
        right = _discrepancy(order, b - middle, at_middle, at_b)
        sizes.append(np.maximum(left, right))

        go_left = left >= right
        a = np.where(go_left, a, middle)
        at_a = np.where(go_left, at_a, at_middle)
        b = np.where(go_left, middle, b)
        at_b = np.where(go_left, at_middle, at_b)
    return _Walk(
        place=0.5 * (a + b),
        early=sizes[DEEP - LATE],
        late=sizes[DEEP],
        largest=largest,
    )


def _discrepancy(
    order: int,
    width: np.ndarray,
    at_a: np.ndarray,
    at_b: np.ndarray,
) -> np.ndarray:
    """D_order of cells of these widths; see above."""
    change = at_b[order] - at_a[order]
    if order < 2:
        change = change - 0.5 * width * (at_a[order + 1] + at_b[order + 1])
    return np.abs(change)
