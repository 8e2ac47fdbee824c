"""Dense Hessians that use the structure of a sum of units.

For one layer f_n = sum_i phi_in v_i with squared loss L = 1/(2N) sum |y_n - f_n|^2, write t_n for
the features of all units and their derivatives with respect to u. With G = mean t_n t_n' (one
matrix product) and e = f - y,

    d2L/dv_i dv_j = G[phi_i, phi_j] (x) I_O
    d2L/dv_i du_j = G[phi_i, dphi_j] v_j      + delta_ij mean(dphi_i e)
    d2L/du_i du_j = G[dphi_i, dphi_j] v_i.v_j + delta_ij mean(d2phi_i v_i.e)

so that the cost is one Gram matrix of H (1 + dim u) features instead of P Hessian-vector products:
the outputs never multiply the work over samples. Networks and losses outside this form use
forward-over-reverse differentiation.
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

CHUNK = 32  # Hessian columns differentiated at a time on the general path


@in_float64
def hessian(objective: Objective, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, "P P"]:
    """d^2 L / d theta^2 in float64, dense, symmetric.

    At a state on kinks (silent ReLU units included) there is no Hessian: what is returned takes
    JAX's slope at the kink and means something only on directions that cross none
    (`kinks.Kinks.smooth`), as `judging.spectrum_at` takes it.

    Cost: N (H (1 + U))^2 for one layer of sums of units with squared loss (U numbers in u), else P
    Hessian-vector products. Memory P^2 doubles: 32 MB at 2,000 parameters.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.networks.curvature import hessian
    >>> experiment = Experiment.named("linear")
    >>> hessian(experiment.objective(), experiment.initial_state()).shape
    (200, 200)
    """
    if objective.size == 0:  # a network without units
        return np.zeros((0, 0))
    function, factor = objective.function, 1.0
    compute = _general
    if is_structured(function):
        compute, factor = _structured, function.loss.factor(objective.targets.shape[1:])
    matrix = factor * np.asarray(compute(function, np.asarray(theta, float), objective.samples))
    return 0.5 * (matrix + matrix.T)


def is_structured(function: MeanLoss) -> bool:
    """Whether the sum-of-units formula applies: one layer that mixes everything, quadratic loss,
    vector output."""
    network = function.network
    layer = network.layers[0]
    plain = len(network.layers) == 1 and not network.readout and not layer.residual
    if not (plain and function.loss.quadratic and network.reads == "all" and layer.width):
        return False
    _, features = shapes_of(layer.unit, function.shape)
    return len(features) == layer.unit.mixed


@functools.partial(jax.jit, static_argnums=0)
def _general(function: MeanLoss, theta: Array, samples: Samples) -> Array:
    slope = lambda t: jax.grad(function)(t, samples)
    column = lambda d: jax.jvp(slope, (theta,), (d,))[1]
    return jax.lax.map(column, jnp.eye(theta.size, dtype=theta.dtype), batch_size=CHUNK)


@functools.partial(jax.jit, static_argnums=0)
def _structured(function: MeanLoss, theta: Array, samples: Samples) -> Array:
    """Of the squared loss; of other quadratic ones it is a multiple."""
    inputs, targets, _ = samples
    unit = function.reading.layers[0].unit
    (params,) = unflatten(function.network, theta, function.shape, function.outputs)
    width, shape = params["u"].shape[0], params["u"].shape[1:]
    u = params["u"].reshape(width, -1)
    outputs = targets.shape[-1]
    v = params["v"].reshape(width, -1, outputs)  # (H, F, O)

    def features(w: Array) -> Array:  # one unit on all samples, (N, F)
        return jax.vmap(lambda z: unit.phi(z, w.reshape(shape)).ravel())(inputs)

    phi = jax.vmap(features)(u)  # (H, N, F)
    slope = jax.vmap(jax.jacfwd(features))(u)  # (H, N, F, U)
    error = (jnp.einsum("hnf,hfo->no", phi, v) - targets.reshape(len(targets), outputs)) / len(
        targets
    )
    gram = _gram(phi, slope)
    vv, vu, uu = _blocks(gram, v, phi.shape[2], u.shape[1])
    weights = jnp.einsum("no,hfo->hnf", error, v)
    own_vu = jnp.einsum("no,hnfa->hfoa", error, slope)
    own_uu = jax.vmap(lambda w, c: jax.hessian(lambda x: jnp.sum(features(x) * c))(w))(u, weights)
    diagonal = jnp.arange(width)
    vu = vu.at[diagonal, :, :, diagonal].add(own_vu)
    uu = uu.at[diagonal, :, diagonal].add(own_uu)
    rows_u, rows_v = u.size, v.size  # flat order: u before v
    uu, vu, vv = uu.reshape(rows_u, rows_u), vu.reshape(rows_v, rows_u), vv.reshape(rows_v, rows_v)
    return jnp.block([[uu, vu.T], [vu, vv]])


def _gram(phi: Array, slope: Array) -> Array:
    """G over (unit, feature, 1 + U) twice, as (H, F, 1 + U, H, F, 1 + U)."""
    rows = jnp.concatenate([phi[..., None], slope], axis=-1)  # (H, N, F, 1 + U)
    moved = jnp.moveaxis(rows, 1, 0)
    flat = moved.reshape(moved.shape[0], -1)
    return (flat.T @ flat / len(flat)).reshape(*moved.shape[1:], *moved.shape[1:])


def _blocks(gram: Array, v: Array, features: int, incoming: int) -> tuple[Array, Array, Array]:
    """The Gauss-Newton blocks vv (H,F,O,H,F,O), vu (H,F,O,H,U) and uu (H,U,H,U)."""
    identity = jnp.eye(v.shape[2], dtype=v.dtype)
    vv = jnp.einsum("ifjg,op->ifojgp", gram[:, :, 0, :, :, 0], identity)
    vu = jnp.einsum("ifjga,jgo->ifoja", gram[:, :, 0, :, :, 1:], v)
    overlap = jnp.einsum("ifo,jgo->ifjg", v, v)
    uu = jnp.einsum("ifajgb,ifjg->iajb", gram[:, :, 1:, :, :, 1:], overlap)
    return vv, vu, uu
