"""Zero modes: why the Hessian of a fixed point is flat in so many directions."""

from __future__ import annotations

import jax
import numpy as np

from ..basis.precision import in_float64
from ..basis.sizes import column_sizes
from ..networks import Objective
from ..solvers.spectra import orthonormal
from ..symmetry import silent_coordinates


@in_float64
def explain_zero_modes(
    objective: Objective, state: np.ndarray, kernel: np.ndarray | None, *, seed: int = 0
) -> dict[str, int]:
    """Count zero modes by cause; the counts add up to the columns of `kernel` (P, k).

    symmetry: directions that leave the map unchanged to first order on *any* input (tangents of
    rescalings, of mixtures of linear units, of shares within a ray). silent: directions within
    units at their silent point. data: directions that change the map, but not on the training
    inputs. unexplained: the rest. {} where no kernel is known.

    Method: ranks of the network's Jacobian, restricted to the kernel, on random Gaussian inputs and
    on the data, in natural units of weights and of outputs; every entry of a random input is as
    large as that of the data. Cost: k Jacobian-vector products on the data and on about k / O
    random inputs.
    """
    if kernel is None:
        return {}
    if kernel.shape[1] == 0:
        return {"symmetry": 0, "silent": 0, "data": 0, "unexplained": 0}
    inputs = np.asarray(objective.inputs)
    outputs = max(1, int(np.prod(objective.targets.shape[1:])))
    room = 2 ** int(np.ceil(np.log2(kernel.shape[1])))  # few sizes, and few programs
    count = -(-(room + 8) // outputs)
    random = np.random.default_rng(seed).standard_normal((count, *inputs.shape[1:])) * column_sizes(
        inputs
    )
    units, size = objective.units_at(state), objective.target_scale or 1.0
    natural = orthonormal(kernel / units[:, None])
    columns = units[:, None] * np.hstack([natural, np.zeros((len(kernel), room - kernel.shape[1]))])

    def pushed(samples: np.ndarray) -> np.ndarray:
        found = np.asarray(_pushed(objective.function, state, samples, columns))[
            :, : kernel.shape[1]
        ]
        return found / (size * np.sqrt(len(samples)))

    free = natural @ _null(pushed(random))
    unseen = _null(pushed(inputs)).shape[1]
    outside = ~silent_coordinates(objective, state)
    silent = _null(free[outside]).shape[1] if free.shape[1] else 0
    total, symmetry = kernel.shape[1], free.shape[1] - silent
    data = max(0, unseen - free.shape[1])
    return {
        "symmetry": symmetry,
        "silent": silent,
        "data": data,
        "unexplained": total - symmetry - silent - data,
    }


def _pushed(function, theta, inputs, directions):
    """The first-order change of the predictions along each column of `directions`, (N O, k)."""
    predict = lambda t: function.predict(t, inputs).ravel()
    return jax.vmap(lambda d: jax.jvp(predict, (theta,), (d,))[1], in_axes=1, out_axes=1)(
        directions
    )


_pushed = jax.jit(_pushed, static_argnums=0)


def _null(matrix: np.ndarray, tolerance: float = 1e-7) -> np.ndarray:
    """An orthonormal basis (k, m) of the right null space, singular values within `tolerance` of
    zero relative to max(1, largest)."""
    columns = matrix.shape[1]
    if matrix.shape[0] == 0 or columns == 0:
        return np.eye(columns)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    return vectors[:, values <= (tolerance * max(1.0, np.sqrt(max(values[-1], 0.0)))) ** 2]
