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
    objective: Objective,
    state: np.ndarray,
    kernel: np.ndarray | None,
    *,
    seed: int = 0,
) -> dict[str, int]:
    """Zero modes by cause; the counts add up to the columns of `kernel` (P, k).

    symmetry: directions that leave the map unchanged to first order on *any* input
        (tangents of rescalings, of mixtures of linear units, of shares within a ray).
    silent: directions within units at their silent point.
    data: directions that change the map, but not on the training inputs.
    unexplained: the rest.

    state (P,): the fixed point.
    kernel: of its Hessian; {} where none is known.
    seed: of the random inputs.

    Method: ranks of the network's Jacobian, restricted to the kernel, on random
    Gaussian inputs and on the data, in natural units of weights and of outputs;
    every entry of a random input is as large as that of the data. Cost: k
    Jacobian-vector products on the data and on about k / O random inputs.

    Example
    -------
    Nothing moves units of degree two from their silent point at second order.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("quadratic").objective()
    >>> origin, all_of_them = np.zeros(objective.size), np.eye(objective.size)
    >>> explain_zero_modes(objective, origin, all_of_them)
    {'symmetry': 0, 'silent': 30, 'data': 0, 'unexplained': 0}
    """
    if kernel is None:
        return {}
    total = kernel.shape[1]
    if total == 0:
        return {"symmetry": 0, "silent": 0, "data": 0, "unexplained": 0}
    natural = orthonormal(kernel / objective.units_at(state)[:, None])
    pushed = _Pushed(objective, state, natural)
    inputs = np.asarray(objective.inputs)

    free = natural @ _null(pushed.on(_random_inputs(objective, pushed.room, seed)))
    unseen = _null(pushed.on(inputs)).shape[1]
    outside = ~silent_coordinates(objective, state)
    silent = _null(free[outside]).shape[1] if free.shape[1] else 0
    symmetry = free.shape[1] - silent
    data = max(0, unseen - free.shape[1])
    return {
        "symmetry": symmetry,
        "silent": silent,
        "data": data,
        "unexplained": total - symmetry - silent - data,
    }


def _random_inputs(objective: Objective, directions: int, seed: int) -> np.ndarray:
    """So many Gaussian inputs that their predictions see so many directions, and
    some more, of the size of the data."""
    inputs = np.asarray(objective.inputs)
    outputs = max(1, int(np.prod(objective.targets.shape[1:])))
    count = -(-(directions + 8) // outputs)
    drawn = np.random.default_rng(seed).standard_normal((count, *inputs.shape[1:]))
    return drawn * column_sizes(inputs)


class _Pushed:
    """The first-order change of the predictions along directions (P, k) of the
    weights, in natural units of both."""

    def __init__(
        self,
        objective: Objective,
        state: np.ndarray,
        natural: np.ndarray,
    ) -> None:
        self.objective, self.state = objective, state
        self.count = natural.shape[1]
        # Few sizes, and few programs.
        self.room = 2 ** int(np.ceil(np.log2(self.count)))
        padding = np.zeros((len(natural), self.room - self.count))
        units = objective.units_at(state)
        self.columns = units[:, None] * np.hstack([natural, padding])

    def on(self, samples: np.ndarray) -> np.ndarray:
        """On samples (N, ...), (N O, k)."""
        function = self.objective.function
        found = np.asarray(_pushed(function, self.state, samples, self.columns))
        size = self.objective.target_scale or 1.0
        return found[:, : self.count] / (size * np.sqrt(len(samples)))


def _pushed(function, theta, inputs, directions):
    """The first-order change of the predictions along each column of
    `directions`, (N O, k)."""

    def predict(t):
        return function.predict(t, inputs).ravel()

    def along(d):
        return jax.jvp(predict, (theta,), (d,))[1]

    return jax.vmap(along, in_axes=1, out_axes=1)(directions)


_pushed = jax.jit(_pushed, static_argnums=0)


def _null(matrix: np.ndarray, tolerance: float = 1e-7) -> np.ndarray:
    """An orthonormal basis (k, m) of the right null space, singular values within
    `tolerance` of zero relative to max(1, largest)."""
    columns = matrix.shape[1]
    if matrix.shape[0] == 0 or columns == 0:
        return np.eye(columns)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    largest = np.sqrt(max(values[-1], 0.0))
    # Of the products M' M the eigenvalues are squares.
    return vectors[:, values <= (tolerance * max(1.0, largest)) ** 2]
