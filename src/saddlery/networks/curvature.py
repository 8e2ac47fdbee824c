"""Dense Hessians that use the structure of a sum of units.

For one layer f_n = sum_i phi_in v_i with squared loss L = 1/(2N) sum
|y_n - f_n|^2, write t_n for the features of all units and their derivatives with
respect to u. With G = mean t_n t_n' (one matrix product) and e = f - y,

    d2L/dv_i dv_j = G[phi_i, phi_j] (x) I_O
    d2L/dv_i du_j = G[phi_i, dphi_j] v_j      + delta_ij mean(dphi_i e)
    d2L/du_i du_j = G[dphi_i, dphi_j] v_i.v_j + delta_ij mean(d2phi_i v_i.e)

so that the cost is one Gram matrix of H (1 + dim u) features instead of P
Hessian-vector products: the outputs never multiply the work over samples.
Networks and losses outside this form use forward-over-reverse differentiation.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..basis.precision import in_float64
from ..units.base import shapes_of
from .network import unflatten
from .objectives import MeanLoss, Objective, Samples

# Hessian columns differentiated at a time on the general path.
CHUNK = 32


@in_float64
def hessian(
    objective: Objective,
    theta: Float[np.ndarray, " P"],
) -> Float[np.ndarray, "P P"]:
    """d^2 L / d theta^2 in float64, dense, symmetric.

    At a state on kinks (silent ReLU units included) there is no Hessian: what is
    returned takes JAX's slope at the kink and means something only on directions
    that cross none (`kinks.Kinks.smooth`), as `judging.spectrum_at` takes it.

    Cost: N (H (1 + U))^2 for one layer of sums of units with squared loss
    (U numbers in u), else P Hessian-vector products. Memory P^2 doubles: 32 MB at
    2,000 parameters.

    Example
    -------
    Of L = 1/2 (2 - v u)^2 with one linear unit, at u = v = 1:

    >>> import numpy as np
    >>> from saddlery.networks import Data, Layer, Network, hessian, objective
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("linear"), 1),))
    >>> x, y = np.array([[1.0]]), np.array([[2.0]])
    >>> data = Data(shape=(1,), outputs=1, inputs=x, targets=y)
    >>> hessian(objective(network, data), np.array([1.0, 1.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if objective.size == 0:  # a network without units
        return np.zeros((0, 0))
    function, samples = objective.function, objective.samples
    at = np.asarray(theta, float)
    if is_structured(function):
        factor = function.loss.factor(objective.targets.shape[1:])
        matrix = factor * np.asarray(_structured(function, at, samples))
    else:
        matrix = np.asarray(_general(function, at, samples))
    return 0.5 * (matrix + matrix.T)


def is_structured(function: MeanLoss) -> bool:
    """Whether the sum-of-units formula applies: one layer that mixes everything,
    quadratic loss, vector output."""
    network = function.network
    layer = network.layers[0]
    if len(network.layers) > 1 or network.readout or layer.residual:
        return False
    if not function.loss.quadratic or network.reads != "all" or layer.width == 0:
        return False
    _, features = shapes_of(layer.unit, function.shape)
    return len(features) == layer.unit.mixed


@functools.partial(jax.jit, static_argnums=0)
def _general(function: MeanLoss, theta: Array, samples: Samples) -> Array:
    """A column after the other, forward over reverse."""
    slope = lambda t: jax.grad(function)(t, samples)
    column = lambda d: jax.jvp(slope, (theta,), (d,))[1]
    directions = jnp.eye(theta.size, dtype=theta.dtype)
    return jax.lax.map(column, directions, batch_size=CHUNK)


@functools.partial(jax.jit, static_argnums=0)
def _structured(function: MeanLoss, theta: Array, samples: Samples) -> Array:
    """Of the squared loss; of other quadratic ones it is a multiple."""
    inputs, targets, _ = samples
    unit = function.reading.layers[0].unit
    (params,) = unflatten(function.network, theta, function.shape, function.outputs)
    width, *shape = params["u"].shape
    u = params["u"].reshape(width, -1)
    outputs = targets.shape[-1]
    v = params["v"].reshape(width, -1, outputs)  # (H, F, O)

    def features(w: Array) -> Array:
        """Of one unit on all samples, (N, F)."""
        return jax.vmap(lambda z: unit.phi(z, w.reshape(shape)).ravel())(inputs)

    phi = jax.vmap(features)(u)  # (H, N, F)
    slope = jax.vmap(jax.jacfwd(features))(u)  # (H, N, F, U)
    gram = _gram(phi, slope)
    vv, vu, uu = _blocks(gram, v, phi.shape[2], u.shape[1])

    # Of a unit's own weights also the second derivatives of its map, times e/N.
    count = len(targets)
    error = jnp.einsum("hnf,hfo->no", phi, v) - targets.reshape(count, outputs)
    error = error / count
    own_vu = jnp.einsum("no,hnfa->hfoa", error, slope)
    weighted = lambda w, c: jnp.sum(features(w) * c)
    weights = jnp.einsum("no,hfo->hnf", error, v)
    own_uu = jax.vmap(jax.hessian(weighted))(u, weights)
    every = jnp.arange(width)
    vu = vu.at[every, :, :, every].add(own_vu)
    uu = uu.at[every, :, every].add(own_uu)

    # In the flat order, u before v.
    uu = uu.reshape(u.size, u.size)
    vu = vu.reshape(v.size, u.size)
    vv = vv.reshape(v.size, v.size)
    return jnp.block([[uu, vu.T], [vu, vv]])


def _gram(phi: Array, slope: Array) -> Array:
    """G over (unit, feature, 1 + U) twice, as (H, F, 1 + U, H, F, 1 + U)."""
    rows = jnp.concatenate([phi[..., None], slope], axis=-1)  # (H, N, F, 1 + U)
    moved = jnp.moveaxis(rows, 1, 0)
    count, *axes = moved.shape
    flat = moved.reshape(count, -1)
    gram = flat.T @ flat / count
    return gram.reshape(*axes, *axes)


def _blocks(
    gram: Array,
    v: Array,
    features: int,
    incoming: int,
) -> tuple[Array, Array, Array]:
    """The Gauss-Newton blocks vv (H,F,O,H,F,O), vu (H,F,O,H,U) and uu (H,U,H,U)."""
    # First entries of G are phi, the others dphi/du.
    phi_phi = gram[:, :, 0, :, :, 0]
    phi_slope = gram[:, :, 0, :, :, 1:]
    slope_slope = gram[:, :, 1:, :, :, 1:]
    identity = jnp.eye(v.shape[2], dtype=v.dtype)
    overlap = jnp.einsum("ifo,jgo->ifjg", v, v)

    vv = jnp.einsum("ifjg,op->ifojgp", phi_phi, identity)
    vu = jnp.einsum("ifjga,jgo->ifoja", phi_slope, v)
    uu = jnp.einsum("ifajgb,ifjg->iajb", slope_slope, overlap)
    return vv, vu, uu
