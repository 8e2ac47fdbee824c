"""Kernels: phi(z; u) = sigma(u * z), one number a position; no padding, no bias."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..basis.checks import known, require, whole
from .base import Shape, Unit
from .dense import ACTIVATIONS, SMOOTH


def positions(size: Shape, kernel: Shape, stride: int) -> Shape:
    """How many places a kernel takes along each axis."""
    return tuple((n - k) // stride + 1 for n, k in zip(size, kernel, strict=True))


def channels_first(shape: Shape, dimensions: int) -> Shape:
    """The shape (C, *size) of an input given with or without its channel axis."""
    require(
        len(shape) in (dimensions, dimensions + 1),
        "the input of a convolution",
        f"of shape (C, *size) or (*size,) with {dimensions} spatial axes",
        shape,
    )
    return shape if len(shape) == dimensions + 1 else (1, *shape)


@functools.cache
def patch_index(size: Shape, kernel: Shape, stride: int) -> np.ndarray:
    """Flat indices into one channel, shape (positions, entries of the kernel)."""
    places = itertools.product(*(range(n) for n in positions(size, kernel, stride)))
    offsets = list(itertools.product(*(range(k) for k in kernel)))
    corners = [tuple(stride * p for p in place) for place in places]
    rows = [[np.ravel_multi_index(np.add(c, o), size) for o in offsets] for c in corners]
    return np.array(rows, dtype=np.int32)


@functools.cache
def convolution(
    activation: str = "linear", kernel: tuple[int, ...] = (2,), stride: int = 1
) -> Unit:
    """A kernel swept over a 1-D or 2-D signal.

    z has shape (C, L) or (C, A, B) (the channel axis may be left out when C = 1); u has shape (C,
    *kernel); phi has one entry a position, floor((L - K) / stride) + 1 an axis, and v one weight
    for every position and output.

    Example
    -------
    >>> from saddlery.units import convolution
    >>> convolution("relu", kernel=(2,), stride=2).shape((1, 4))
    (1, 2)
    """
    known(activation, ACTIVATIONS, "activation")
    require(len(kernel) in (1, 2), "kernel", "one or two lengths", kernel)
    kernel = tuple(whole(length, "kernel") for length in kernel)
    stride = whole(stride, "stride")
    sigma, symmetry = ACTIVATIONS[activation]
    dimensions = len(kernel)

    def shape(z_shape: Shape) -> Shape:
        channels, *size = channels_first(tuple(z_shape), dimensions)
        require(
            all(n >= k for n, k in zip(size, kernel, strict=True)),
            "kernel",
            f"no longer than the input {size}",
            kernel,
            "shorten the kernel",
        )
        return (channels, *kernel)

    def phi(z: Array, u: Array) -> Array:
        channels, *size = channels_first(z.shape, dimensions)
        index = patch_index(tuple(size), kernel, stride)
        patches = z.reshape(channels, math.prod(size))[:, index]  # (C, positions, entries)
        silence = jnp.zeros(len(index), z.dtype)  # what no channels at all give
        response = functools.reduce(
            operator.add, (patches[c] @ u[c].ravel() for c in range(channels)), silence
        )
        return sigma(response).reshape(positions(tuple(size), kernel, stride))

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
