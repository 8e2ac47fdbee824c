"""Kernels: phi(z; u) = sigma(u * z), one number a position; no padding, no bias."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..basis.checks import known, require, unpacked, whole
from .base import Shape, Unit
from .dense import ACTIVATIONS, SMOOTH


def positions(size: Shape, kernel: Shape, stride: int) -> Shape:
    """How many places a kernel takes along each axis, floor((L - K)/stride) + 1.

    Example
    -------
    >>> from saddlery.units.convolution import positions
    >>> positions((5, 7), kernel=(2, 3), stride=2)
    (2, 3)
    """
    lengths = zip(size, kernel, strict=True)
    return tuple((n - k) // stride + 1 for n, k in lengths)


def channels_first(shape: Shape, dimensions: int) -> Shape:
    """The shape (C, *size) of an input given with or without its channel axis."""
    require(
        len(shape) in (dimensions, dimensions + 1),
        "the input of a convolution",
        needed=f"of shape (C, *size) or (*size,) with {dimensions} spatial axes",
        given=shape,
    )
    if len(shape) == dimensions:
        return 1, *shape
    return shape


@functools.cache
def patch_index(size: Shape, kernel: Shape, stride: int) -> np.ndarray:
    """Which entries of a channel the kernel sees at each of its places.

    Flat indices, of shape (positions, entries of the kernel), both row by row.

    Example
    -------
    >>> from saddlery.units.convolution import patch_index
    >>> patch_index((5,), kernel=(3,), stride=2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    places = itertools.product(*map(range, positions(size, kernel, stride)))
    offsets = list(itertools.product(*map(range, kernel)))
    rows = []
    for place in places:
        corner = stride * np.array(place)
        row = [np.ravel_multi_index(corner + offset, size) for offset in offsets]
        rows.append(row)
    return np.array(rows, dtype=np.int32)


def convolution(
    activation: str = "linear",
    kernel: Sequence[int] = (2,),
    stride: int = 1,
) -> Unit:
    """A kernel swept over a 1-D or 2-D signal,

        phi(z; u)_p = sigma(sum_{c, k} u_{c, k} z_{c, stride p + k}).

    activation: as for `dense`.
    kernel: its length (K,) or its two sides.
    stride: how far it moves between two positions.

    z has shape (C, L) or (C, A, B) (the channel axis may be left out when C = 1);
    u has shape (C, *kernel); phi has one entry a position,
    floor((L - K)/stride) + 1 an axis, and v one weight for every position and
    output. Raises InputError for other kernels and strides; the unit does for
    inputs shorter than its kernel.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units import convolution
    >>> edge = convolution("relu", kernel=(2,))
    >>> edge.phi(jnp.array([0.0, 1.0, 1.0, 3.0]), jnp.array([[-1.0, 1.0]])).tolist()
    [1.0, 0.0, 2.0]
    """
    lengths = unpacked(kernel)
    require(
        isinstance(lengths, tuple) and len(lengths) in (1, 2),
        "kernel",
        needed="a list of one or two lengths",
        given=kernel,
    )
    return _convolution(
        known(activation, ACTIVATIONS, "activation"),
        tuple(whole(length, "kernel") for length in lengths),
        whole(stride, "stride"),
    )


@functools.cache
def _convolution(activation: str, kernel: Shape, stride: int) -> Unit:
    sigma, symmetry = ACTIVATIONS[activation]
    dimensions = len(kernel)

    def shape(z_shape: Shape) -> Shape:
        channels, *size = channels_first(tuple(z_shape), dimensions)
        fits = all(n >= k for n, k in zip(size, kernel, strict=True))
        require(
            fits,
            "kernel",
            needed=f"no longer than the input {size}",
            given=kernel,
            remedy="shorten the kernel",
        )
        return (channels, *kernel)

    def phi(z: Array, u: Array) -> Array:
        channels, *sides = channels_first(z.shape, dimensions)
        size = tuple(sides)
        index = patch_index(size, kernel, stride)
        signal = z.reshape(channels, math.prod(size))
        patches = signal[:, index]  # (C, positions, entries)
        response = jnp.zeros(len(index), z.dtype)  # what no channels at all give
        for c in range(channels):
            response = response + patches[c] @ u[c].ravel()
        return sigma(response).reshape(positions(size, kernel, stride))

    return Unit(
        name=f"conv_{activation}",
        phi=phi,
        shape=shape,
        symmetry=symmetry,
        mixed=dimensions,
        linear_in_input=activation == "linear",
        smooth=activation in SMOOTH,
        channels=True,
        tensors=lambda z_shape: {"kernel": shape(z_shape)},
        example=(2, *(2 * k + 1 for k in kernel)),
        options=MappingProxyType({"kernel": list(kernel), "stride": stride}),
    )
