"""Neurons: phi(z; u) = sigma(u . z), or sigma(w . z + b) with u = (w, b)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array

from ..basis.checks import known
from .base import Lift, Symmetry, Unit
from .tensors import Shape, Shapes

LINEAR = Symmetry(silent=True, homogeneous="real", linear=True, degree=1, parity="odd")
RAY = Symmetry(silent=True, homogeneous="positive", degree=1)
ODD = Symmetry(silent=True, degree=1, parity="odd")
LEAK = 0.1

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Symmetry]] = {
    "linear": (lambda a: a, LINEAR),
    "relu": (jax.nn.relu, RAY),
    "leaky_relu": (lambda a: jnp.where(a >= 0, a, LEAK * a), RAY),
    "quadratic": (lambda a: a**2, Symmetry(silent=True, degree=2, parity="even")),
    "cubic": (lambda a: a**3, Symmetry(silent=True, degree=3, parity="odd")),
    "tanh": (jnp.tanh, ODD),
    "x_tanh_x": (lambda a: a * jnp.tanh(a), Symmetry(silent=True, degree=2, parity="even")),
    "erf": (erf, ODD),
    "gelu": (lambda a: jax.nn.gelu(a, approximate=False), Symmetry(silent=True, degree=1)),
    "sine": (jnp.sin, ODD),
    "sigmoid": (jax.nn.sigmoid, Symmetry()),
}
SMOOTH = frozenset(ACTIVATIONS) - {"relu", "leaky_relu"}
POWERS = {"quadratic": 2, "cubic": 3}


def power(vector: Array, degree: int) -> Array:
    """The flattened tensor power of a vector, D^degree entries."""
    flat = vector.ravel()
    return functools.reduce(
        lambda product, _: jnp.outer(product, flat).ravel(), range(degree - 1), flat
    )


@functools.cache
def dense(activation: str = "linear", bias: bool = False) -> Unit:
    """A neuron sigma(w . z [+ b]); z of any shape is flattened, u has prod(shape) [+ 1] entries,
    phi is a scalar.

    activation: linear, relu, leaky_relu (slope 0.1), quadratic (a^2), cubic (a^3), tanh, x_tanh_x
    (a tanh a), erf, gelu (exact), sine, sigmoid. With a bias the declarations hold for u = (w, b)
    as a whole.

    Example
    -------
    >>> from saddlery.units import dense
    >>> dense("relu").symmetry.homogeneous
    'positive'
    """
    known(activation, ACTIVATIONS, "activation")
    sigma, symmetry = ACTIVATIONS[activation]
    degree = POWERS.get(activation)

    def phi(z: Array, u: Array) -> Array:
        flat = z.ravel()
        return sigma(u[:-1] @ flat + u[-1] if bias else u @ flat)

    def tensors(shape: Shape) -> Shapes:
        weight: Shapes = {"weight": (math.prod(shape),)}
        return {**weight, "bias": ()} if bias else weight

    lift = None
    if degree is not None and not bias:
        lift = Lift(f"power {degree}", lambda z: power(z, degree), lambda u: power(u, degree))
    return Unit(
        name=activation,
        phi=phi,
        shape=lambda shape: (math.prod(shape) + int(bias),),
        symmetry=symmetry,
        extra=int(bias),
        linear_in_input=activation == "linear" and not bias,
        lift=lift,
        smooth=activation in SMOOTH,
        channels=True,
        tensors=tensors,
        options=MappingProxyType({"bias": True} if bias else {}),
    )


@functools.cache
def diagonal() -> Unit:
    """A weight for each entry of z: phi = u * z, which v contracts, so that one unit is a diagonal
    linear network.

    f = sum_d u_d v_d z_d for a layer of width 1. Source: Pesme & Flammarion (2023).

    Example
    -------
    >>> from saddlery.units.dense import diagonal
    >>> diagonal().shape((4,))
    (4,)
    """
    return Unit(
        name="diagonal",
        phi=lambda z, u: u * z.ravel(),
        shape=lambda shape: (math.prod(shape),),
        symmetry=LINEAR,
        mixed=1,
        linear_in_input=True,
        tensors=lambda shape: {"weight": (math.prod(shape),)},
        separable=True,
    )
