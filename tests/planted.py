"""A device for tests: data for which any chosen weights are a fixed point with a non-zero residual.

The gradient is J' r with J the Jacobian of the predictions and r = (f - y)/N, so targets y = f - r
with r drawn from the null space of J' make the weights a fixed point of the squared loss, whatever
the network.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from saddlery.networks import Data, Network, Objective, flatten, objective


def random_fixed_point(
    network: Network,
    shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    samples: int = 60,
    size: float = 1.0,
) -> tuple[Objective, np.ndarray]:
    """(objective, theta): random weights and data on which their gradient vanishes to rounding."""
    rng = np.random.default_rng(seed)
    theta = size * rng.standard_normal(len(flatten(network.zeros(shape, outputs))))
    x = rng.standard_normal((samples, *shape))
    output = jax.eval_shape(
        network.apply, network.zeros(shape, outputs), jax.ShapeDtypeStruct(shape, float)
    ).shape
    draft = objective(network, Data(shape, outputs, x, np.zeros((samples, *output))), moments=False)
    predict = lambda t: draft.function.predict(t, jnp.asarray(x)).ravel()
    jacobian = np.asarray(jax.jacfwd(predict)(jnp.asarray(theta)))
    left, values, _ = np.linalg.svd(jacobian, full_matrices=False)
    span = left[:, values > 1e-10 * values[0]]
    noise = rng.standard_normal(
        len(jacobian)
    )  # projected, so that no basis of the null space enters, which LAPACK chooses
    for _ in range(2):
        noise -= span @ (span.T @ noise)
    targets = (np.asarray(predict(jnp.asarray(theta))) - noise).reshape(samples, *output)
    return objective(network, Data(shape, outputs, x, targets), moments=False), theta


def gradient_norm(subject: Objective, theta: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(subject.gradient(theta))))
