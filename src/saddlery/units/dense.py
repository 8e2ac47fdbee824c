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

from ..basis.checks import flag, known
from .base import Lift, Symmetry, Unit
from .tensors import Shape, Shapes

LINEAR = Symmetry(silent=True, homogeneous="real", linear=True, degree=1, parity="odd")
RAY = Symmetry(silent=True, homogeneous="positive", degree=1)
FIRST_ORDER = Symmetry(silent=True, degree=1)
ODD = Symmetry(silent=True, degree=1, parity="odd")
EVEN = Symmetry(silent=True, degree=2, parity="even")
CUBIC = Symmetry(silent=True, degree=3, parity="odd")
LEAK = 0.1

# By name: sigma, and what is true of sigma(u . z) as a function of u.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Symmetry]] = {
    "linear": (lambda a: a, LINEAR),
    "relu": (jax.nn.relu, RAY),
    "leaky_relu": (lambda a: jnp.where(a >= 0, a, LEAK * a), RAY),
    "quadratic": (lambda a: a**2, EVEN),
    "cubic": (lambda a: a**3, CUBIC),
    "tanh": (jnp.tanh, ODD),
    "x_tanh_x": (lambda a: a * jnp.tanh(a), EVEN),
    "erf": (erf, ODD),
    "gelu": (lambda a: jax.nn.gelu(a, approximate=False), FIRST_ORDER),
    "sine": (jnp.sin, ODD),
    "sigmoid": (jax.nn.sigmoid, Symmetry()),
}
SMOOTH = frozenset(ACTIVATIONS) - {"relu", "leaky_relu"}
POWERS = {"quadratic": 2, "cubic": 3}


def power(vector: Array, degree: int) -> Array:
    """The flattened tensor power of a vector (D,), D^degree entries.

    <power(u, p), power(z, p)> = (u . z)^p, which is how a polynomial unit is
    linear in features of z.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units.dense import power
    >>> power(jnp.array([1.0, 3.0]), 2).tolist()
    [1.0, 3.0, 3.0, 9.0]
    """
    flat = vector.ravel()
    product = flat
    for _ in range(degree - 1):
        product = jnp.outer(product, flat).ravel()
    return product


def dense(activation: str = "linear", bias: bool = False) -> Unit:
    """A neuron phi(z; u) = sigma(w . z + b), a scalar.

    activation: linear, relu, leaky_relu (slope 0.1), quadratic (a^2), cubic
        (a^3), tanh, x_tanh_x (a tanh a), erf, gelu (exact), sine, sigmoid.
    bias: u is (w, b), and the declarations hold for it as a whole; without one u
        is w and b = 0.

    z of any shape is flattened to (D,), as w is. Raises InputError for an
    activation that is not known.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units import dense
    >>> neuron = dense("relu", bias=True)
    >>> float(neuron.phi(jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0, -2.5])))
    0.5
    >>> neuron.symmetry.homogeneous
    'positive'
    """
    return _dense(known(activation, ACTIVATIONS, "activation"), flag(bias, "bias"))


# Units are compared by the functions they are made of, so each is made once, however its
# options were written.
@functools.cache
def _dense(activation: str, bias: bool) -> Unit:
    sigma, symmetry = ACTIVATIONS[activation]
    degree = POWERS.get(activation)

    def phi(z: Array, u: Array) -> Array:
        flat = z.ravel()
        if bias:
            return sigma(u[:-1] @ flat + u[-1])
        return sigma(u @ flat)

    def tensors(shape: Shape) -> Shapes:
        parts: Shapes = {"weight": (math.prod(shape),)}
        if bias:
            parts["bias"] = ()
        return parts

    # With a bias the features would be powers of (z, 1), which no task states.
    lift = None
    if degree is not None and not bias:
        raised = lambda vector: power(vector, degree)
        lift = Lift(f"power {degree}", features=raised, coefficients=raised)
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
    """A weight for each entry of z, phi(z; u) = u * z, which v contracts: one
    unit is a diagonal linear network,

        f = sum_d u_d v_d z_d.

    u and z have D entries, phi (D,), and v one an entry and output.

    Source: Pesme & Flammarion (2023).

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units import diagonal
    >>> diagonal().phi(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [3.0, 8.0]
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
