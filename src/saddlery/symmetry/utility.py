"""The utility of a silent unit: whether a new unit, born at its silent point, lowers the loss, and at which order.

For a unit whose phi starts at degree p in u, a silent unit (u, v) changes the loss by -U(u, v) + higher orders, with
    U(u, v) = mean <phi_p(.; u) v, residual> = v . G(u),   residual = -d loss / d output,  G(u) = -dL/dv of a unit at v = 0
homogeneous of degree p + 1. For p >= 2 the Hessian on silent units is zero, so only U tells a saddle from a minimum:
max U > 0 on the unit sphere proves a descent direction of order p + 1, max U <= 0 that there is none of that order.
Source: the utility of Kunin et al. (2025), eq 3; derived for saddle-to-saddle networks in the project's theory notes.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import InputError
from ..networks import Network, flatten, unflatten
from ..objectives import MeanLoss, Objective
from ..precision import in_float64
from ..units.base import lowest_order
from .reduction import sides

SAME = 0.999  # cosine between two maximisers that are one


@dataclass(frozen=True)
class Utility:
    """The best silent unit of one layer.

    value: max U over |u|^2 + |v|^2 = 1. order: p + 1, the order in the size of the unit at which the loss falls. rate:
    for p = 1 the exponential rate 2 U at which the unit grows from its silent point; None for higher p (it grows like a
    power). u, v: the maximiser, flattened. layer: which. spread: relative difference between the best two of the
    starts that found it, a measure of how well the maximum was located.
    """

    value: float
    order: int
    rate: float | None
    u: np.ndarray
    v: np.ndarray
    layer: int
    spread: float


@in_float64
def best_silent_unit(
    objective: Objective, theta: np.ndarray, layer: int = 0, *, starts: int = 32, steps: int = 200, seed: int = 0
) -> Utility:
    """max U over silent units of one layer at a state, from many starts of a shifted power iteration on the sphere.

    The maximum over v is closed: v is along G(u), and |u|^2 = p/(p+1) is the best split, so
    max U = (p/(p+1))^(p/2) (p+1)^(-1/2) max_{|u|=1} |G(u)|. The search over u is a local method from `starts` random and
    data-free starts: the value is a proven lower bound of the maximum (a positive value proves descent).

    Raises InputError for a unit without a silent point. Cost: steps passes over the samples with `starts` extra units.
    """
    u, gain, degree = _climbed(objective, theta, layer, starts, steps, seed)
    return _record(u, gain, degree, layer)


@in_float64
def utility_maxima(
    objective: Objective, theta: np.ndarray, layer: int = 0, *, starts: int = 64, steps: int = 400, seed: int = 0
) -> list[Utility]:
    """The local maxima of the utility found from many starts, highest first, each direction once (and not its mirror image,
    where units have a parity); see `best_silent_unit`."""
    u, gain, degree = _climbed(objective, theta, layer, starts, steps, seed)
    found: list[Utility] = []
    flip = objective.network.layers[layer].unit.symmetry.flip
    for k in np.argsort(-np.linalg.norm(gain.reshape(len(gain), -1), axis=1)):
        one = _record(u[[k]], gain[[k]], degree, layer)
        seen = any(_alike(one, other, flip) > SAME for other in found)
        if one.value > 0 and not seen:
            found.append(one)
    return found


def _alike(one: Utility, other: Utility, flip: float | None) -> float:
    """The cosine between two units, or between one and the mirror image of the other."""
    u, v = float(one.u @ other.u), float(one.v @ other.v)
    return u + v if flip is None else max(u + v, -u + flip * v)


def _climbed(
    objective: Objective, theta: np.ndarray, layer: int, starts: int, steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    unit = objective.network.layers[layer].unit
    degree = unit.symmetry.degree
    if degree is None:
        raise InputError(f"unit {unit.name!r} declares no leading degree, so silent units have no utility")
    shape = objective.params(np.asarray(theta))[layer]["u"].shape[1:]
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((starts, *shape))
    network = objective.network
    function = objective.with_network(network.with_width(layer, network.widths[layer] + starts)).function
    u, gain = _ascend(function, network, layer, steps, u, np.asarray(theta, float), objective.samples)
    return np.asarray(u), np.asarray(gain), degree


@in_float64
def leading_tensor(objective: Objective, theta: np.ndarray, layer: int = 0) -> np.ndarray:
    """T (V, U, ..., U) with the utility of a silent unit U(u, v) = v . T[u, ..., u], symmetric in its p last axes.

    theta: a state (P,), or several (T, P), for which the result has a leading axis T.
    T = -(1/p!) d^p/du^p dL/dv of a new unit at u = 0, v = 0, for p the unit's leading degree: for quadratic units and one
    output the matrix E[r Z], r the residual. Raises InputError for units that are not smooth or have no silent point.
    Cost: U^(p-1) passes over the samples.
    """
    unit = objective.network.layers[layer].unit
    degree = unit.symmetry.degree
    if degree is None or not unit.smooth:
        raise InputError(f"unit {unit.name!r} has no smooth silent point, so its utility has no leading tensor")
    network = objective.network
    function = objective.with_network(network.with_width(layer, network.widths[layer] + 1)).function
    return np.asarray(_leading(function, network, layer, np.asarray(theta, float), objective.samples))


@in_float64
def silent_units(objective: Objective, state: np.ndarray, index: int) -> np.ndarray:
    """Which units of a layer stand at their silent point, u = 0 and v = 0, as booleans (H,)."""
    u, v = sides(objective.network, objective.params(np.asarray(state, float)), index)
    return (np.linalg.norm(u, axis=1) == 0) & (np.linalg.norm(v, axis=1) == 0)


@in_float64
def silent_direction(objective: Objective, state: np.ndarray, utility: Utility) -> np.ndarray:
    """The unit vector (P,) that moves the first silent unit of a layer along the maximiser of the utility."""
    params = objective.params(np.zeros(objective.size))
    first = int(np.flatnonzero(silent_units(objective, state, utility.layer))[0])
    u, v = (np.array(side) for side in sides(objective.network, params, utility.layer))
    u[first], v[first] = utility.u, utility.v
    _, moved = objective.network.with_sides(params, utility.layer, u, v)
    return flatten(moved)


@in_float64
def silent_coordinates(objective: Objective, state: np.ndarray) -> np.ndarray:
    """Booleans (P,): which parameters belong to units at their silent point."""
    network, params = objective.network, objective.params(np.zeros(objective.size))
    for index in range(len(network.layers)):
        mask = silent_units(objective, state, index)
        u, v = (np.array(side) for side in sides(network, params, index))
        u[mask], v[mask] = 1.0, 1.0
        _, params = network.with_sides(params, index, u, v)
    return flatten(params) > 0


def _record(u: np.ndarray, gain: np.ndarray, degree: int, layer: int) -> Utility:
    sizes = np.linalg.norm(gain.reshape(len(gain), -1), axis=1)
    order = np.argsort(-sizes)
    best, size = order[0], float(sizes[order[0]])
    a, b = np.sqrt(degree / (degree + 1)), np.sqrt(1 / (degree + 1))
    value = float(a**degree * b * size)
    spread = float((size - sizes[order[1]]) / size) if size > 0 and len(order) > 1 else 0.0
    direction = gain[best].ravel() / size if size > 0 else gain[best].ravel()
    return Utility(
        value, degree + 1, 2 * value if degree == 1 else None, a * u[best].ravel(), b * direction, layer, spread
    )


def gain(function: MeanLoss, network: Network, layer: int, u: jax.Array, theta: jax.Array, samples) -> jax.Array:
    """G(u_k) = -dL/dv_k of extra units k with incoming weights u_k and v_k = 0, shape (K, V)."""
    narrow = unflatten(network, theta, function.shape, function.outputs)

    def loss(v: jax.Array) -> jax.Array:
        own = network.incoming(narrow, layer), network.outgoing(narrow, layer)
        both = (jnp.concatenate([own[0], u.reshape(len(u), -1)]), jnp.concatenate([own[1], v]))
        _, params = network.with_sides(narrow, layer, *both)
        flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
        return function(flat, samples)

    size = network.outgoing(narrow, layer).shape[1]
    return -jax.grad(loss)(jnp.zeros((len(u), size), theta.dtype))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _ascend(function: MeanLoss, network: Network, layer: int, steps: int, u, theta, samples):
    unit = network.layers[layer].unit

    def leading(u: jax.Array) -> jax.Array:
        """The degree-p form of G at u."""
        return lowest_order(unit, lambda eps: gain(function, network, layer, eps * u, theta, samples))

    def total(u: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sqrt(jnp.sum(leading(u).reshape(len(u), -1) ** 2, axis=1) + 1e-60))

    def step(u: jax.Array, _: None) -> tuple[jax.Array, None]:
        _size, slope = jax.value_and_grad(lambda w: total(w))(u)
        norms = jnp.linalg.norm(slope.reshape(len(u), -1), axis=1)
        slope = slope / jnp.maximum(norms, 1e-300).reshape(-1, *[1] * (u.ndim - 1))
        return _on_sphere(u + slope), None

    u, _ = jax.lax.scan(step, _on_sphere(u), None, length=steps)
    return u, leading(u)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _leading(function: MeanLoss, network: Network, layer: int, theta: jax.Array, samples) -> jax.Array:
    shape = network.shapes(function.shape, function.outputs)[layer]["u"][1:]
    degree = network.layers[layer].unit.symmetry.degree or 0

    def at(state: jax.Array) -> jax.Array:
        form = lambda u: gain(function, network, layer, u.reshape(1, *shape), state, samples)[0]
        for _ in range(degree):
            form = jax.jacfwd(form)
        return form(jnp.zeros(math.prod(shape), theta.dtype)) / math.factorial(degree)

    return at(theta) if theta.ndim == 1 else jax.lax.map(at, theta)


def _on_sphere(u: jax.Array) -> jax.Array:
    norms = jnp.linalg.norm(u.reshape(len(u), -1), axis=1)
    return u / jnp.maximum(norms, 1e-300).reshape(-1, *[1] * (u.ndim - 1))
