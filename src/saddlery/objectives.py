"""An objective: the loss of a network on data, as a function of one flat parameter vector.

Where the network is polynomial in its units and the loss is squared, the data enter only through second moments of a
feature l(z). Any data with the same moments give the same loss, gradient and Hessian, so the samples are replaced by at
most dim(l) *equivalent samples* (rows of a square root of the feature moments) plus a constant: the cost of a step no
longer depends on the number of samples, and every other routine sees ordinary samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .checks import InputError, finite, require
from .losses import LOSSES, Loss
from .networks import Network, Params, Shape, unflatten


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of a feature l and targets y: all means over samples, not centred.

    feature: the name of the lift they belong to ("input" for z itself). features: E[l l'], (M, M).
    cross: E[y l'], (O, M). target: E[|y|^2].
    """

    feature: str
    features: Float[np.ndarray, "M M"]
    cross: Float[np.ndarray, "O M"]
    target: float


@dataclass(frozen=True, eq=False)
class Data:
    """What a task hands to training: samples, or exact moments, or both.

    inputs: (N, *shape); targets: (N, *output shape). moments: exact second moments where the task knows them.
    shape: of one input. outputs: numbers a sample (the last axis of a target). loss: see `losses`.
    """

    shape: Shape
    outputs: int
    inputs: np.ndarray | None = None
    targets: np.ndarray | None = None
    moments: Moments | None = None
    loss: Loss = LOSSES["squared"]

    def __post_init__(self) -> None:
        require(self.moments is not None or self.inputs is not None, "data", "samples or moments", "neither")
        if self.inputs is not None and self.targets is not None:
            finite(self.inputs, "inputs")
            finite(self.targets, "targets")
            require(len(self.inputs) == len(self.targets), "inputs and targets", "equally many",
                    f"{len(self.inputs)} and {len(self.targets)}")


@dataclass(frozen=True, eq=False)
class Objective:
    """loss(theta) = mean_n loss(y_n, f(x_n; theta)) + constant, for flat theta of P numbers.

    network: the network that is trained. reading: the same network as it reads `inputs` (its unit lifted when the data
    are moments of a feature). exact: "samples", or the name of the feature whose moments replace the samples.
    """

    network: Network
    reading: Network
    inputs: Float[np.ndarray, "N ..."]
    targets: Float[np.ndarray, "N ..."]
    loss_kind: Loss
    shape: Shape
    outputs: int
    constant: float = 0.0
    exact: str = "samples"

    @functools.cached_property
    def size(self) -> int:
        shapes = self.network.shapes(self.shape, self.outputs)
        return sum(int(np.prod(s)) for p in shapes for s in p.values())

    def params(self, theta: Array) -> Params:
        """The flat vector as the network's parameters."""
        return unflatten(self.network, theta, self.shape, self.outputs)

    def predictions(self, theta: Float[Array, " P"]) -> Float[Array, "N ..."]:
        """f(x_n; theta) of every (equivalent) sample."""
        return self.reading.outputs(self.params(theta), jnp.asarray(self.inputs))

    def loss_on(self, theta: Array, inputs: Array, targets: Array) -> Array:
        """The mean loss of given samples plus the constant."""
        f = self.reading.outputs(self.params(theta), inputs)
        return jnp.mean(jax.vmap(self.loss_kind.function)(targets, f)) + self.constant

    def loss(self, theta: Float[Array, " P"]) -> Float[Array, ""]:
        """The loss; cost: one pass over the (equivalent) samples."""
        return self.loss_on(theta, jnp.asarray(self.inputs), jnp.asarray(self.targets))

    def with_network(self, network: Network) -> Objective:
        """The same data read by a network of other widths (its units must be of the same kinds)."""
        return Objective(network, _reading(network, self.exact), self.inputs, self.targets, self.loss_kind, self.shape,
                         self.outputs, self.constant, self.exact)

    # Compiled forms, made once an objective. They must be called in the precision they were first used in.
    @functools.cached_property
    def compiled_loss(self) -> Callable[[Array], Array]:
        return jax.jit(self.loss)

    @functools.cached_property
    def compiled_gradient(self) -> Callable[[Array], Array]:
        return jax.jit(jax.grad(self.loss))

    @functools.cached_property
    def compiled_hessian_vector(self) -> Callable[[Array, Array], Array]:
        return jax.jit(lambda theta, d: jax.jvp(jax.grad(self.loss), (theta,), (d,))[1])

    @functools.cached_property
    def compiled_predictions(self) -> Callable[[Array], Array]:
        return jax.jit(self.predictions)

    @property
    def target_scale(self) -> float:
        """sqrt(mean |y|^2), the size against which errors of the map are judged."""
        return float(np.sqrt(np.sum(self.targets**2) / len(self.targets)))

    def map_error(self, f: np.ndarray, g: np.ndarray) -> float:
        """sqrt(mean_n |f_n - g_n|^2) over `target_scale`, for two sets of predictions."""
        return float(np.sqrt(np.sum((f - g) ** 2) / len(f)) / (self.target_scale or 1.0))


def objective(network: Network, data: Data, *, moments: bool | None = None) -> Objective:
    """The objective of a network on data.

    moments: True to demand exact moments, False to forbid them, None to use them where they apply and save work.
    Raises InputError where moments are demanded and do not apply, or where the data hold neither form.
    """
    feature = feature_needed(network)
    possible = feature is not None and data.loss.quadratic
    given = data.moments if possible and data.moments is not None and data.moments.feature == feature else None
    if moments and not possible:
        raise InputError("moments were asked for, but this network is not polynomial in one feature or the loss is not"
                         " squared; train it on samples (moments = false)")
    if moments is False or not possible:
        return _from_samples(network, data)
    if given is not None:
        return _from_moments(network, data, given)
    if data.inputs is None:
        return _from_samples(network, data)
    assert feature is not None
    if not moments and feature_count(network, data.shape) >= len(data.inputs):
        return _from_samples(network, data)
    return _from_moments(network, data, sample_moments(network, data, feature))


def feature_needed(network: Network) -> str | None:
    """The feature whose second moments suffice for this network: "input", the name of a lift, or None."""
    if network.reads == "all" and all(layer.unit.linear_in_input for layer in network.layers):
        return "input"
    unit = network.layers[0].unit
    alone = len(network.layers) == 1 and not network.readout and not network.layers[0].residual
    return unit.lift.name if alone and unit.lift is not None else None


def feature_count(network: Network, shape: Shape) -> int:
    lift = network.layers[0].unit.lift
    if lift is None:
        return int(np.prod(shape))
    return int(np.prod(jax.eval_shape(lift.features, jax.ShapeDtypeStruct(shape, jnp.float32)).shape))


def sample_moments(network: Network, data: Data, feature: str) -> Moments:
    """The sample moments of the feature a network needs; cost N M^2."""
    assert data.inputs is not None and data.targets is not None
    lift = network.layers[0].unit.lift
    flat = data.inputs.reshape(len(data.inputs), -1)
    rows = flat if lift is None else np.asarray(jax.vmap(lift.features)(jnp.asarray(data.inputs)))
    y = data.targets.reshape(len(rows), -1)
    n = len(rows)
    return Moments(feature, rows.T @ rows / n, y.T @ rows / n, float(np.sum(y**2) / n))


def equivalent_samples(moments: Moments) -> tuple[np.ndarray, np.ndarray, float]:
    """(inputs, targets, constant) with the given moments: inputs = sqrt(M) S^(1/2), targets = inputs W*'.

    W* = E[y l'] E[l l']^+ is the least-squares map and constant = 1/2 (E|y|^2 - <W*, E[y l']>) what no map removes.
    Null directions of E[l l'] are dropped. Raises InputError if E[l l'] is not symmetric positive semi-definite.
    """
    s = np.asarray(moments.features, float)
    require(s.ndim == 2 and s.shape[0] == s.shape[1] and np.allclose(s, s.T, atol=1e-12 * np.abs(s).max()),
            "the feature moments", "a symmetric matrix", f"shape {s.shape}")
    values, vectors = np.linalg.eigh(s)
    floor = max(values[-1], 0) * len(s) * np.finfo(float).eps * 8
    require(values[0] >= -max(floor, 1e-14), "the feature moments", "positive semi-definite",
            f"a lowest eigenvalue of {values[0]:.2e}")
    keep = values > floor
    require(bool(keep.any()), "the feature moments", "non-zero", "all zero")
    values, vectors = values[keep], vectors[:, keep]
    best = moments.cross @ (vectors / values) @ vectors.T
    root = np.sqrt(len(values)) * np.sqrt(values)[:, None] * vectors.T
    return root, root @ best.T, 0.5 * (moments.target - float(np.sum(best * moments.cross)))


def _reading(network: Network, exact: str) -> Network:
    return network if exact in ("samples", "input") else network.with_unit(0, network.layers[0].unit.lifted())


def _from_moments(network: Network, data: Data, moments: Moments) -> Objective:
    inputs, targets, constant = equivalent_samples(moments)
    if moments.feature == "input":
        inputs = inputs.reshape(len(inputs), *data.shape)
    return Objective(network, _reading(network, moments.feature), inputs, targets, data.loss, data.shape, data.outputs,
                     constant, moments.feature)


def _from_samples(network: Network, data: Data) -> Objective:
    if data.inputs is None or data.targets is None:
        have = data.moments.feature if data.moments else "nothing"
        raise InputError(f"this task states moments of the feature {have!r} only, which this network does not live on;"
                         " sample the task instead (population = false)")
    spec = jax.eval_shape(lambda p, z: network.apply(p, z), network.zeros(data.shape, data.outputs),
                          jax.ShapeDtypeStruct(data.shape, jnp.float32))
    require(spec.shape == data.targets.shape[1:], "the output of the network",
            f"of the targets' shape {data.targets.shape[1:]}", spec.shape, "check `outputs`, `reads` and `readout`")
    return Objective(network, network, np.asarray(data.inputs, float), np.asarray(data.targets, float), data.loss,
                     data.shape, data.outputs)

