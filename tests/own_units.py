"""Units of one's own with several weight tensors, as somebody outside the package writes them."""

from __future__ import annotations

import jax.numpy as jnp

from saddlery.units import Symmetry, Unit, split

LENGTH = 3  # of the kernel
RANK = 2  # columns of key, query and value


def kernel_and_bias(inputs):
    """A kernel over all channels of a signal (C, L), and one bias."""
    return {"kernel": (inputs[0], LENGTH), "bias": ()}


def response(z, u):
    """tanh(kernel * z + bias), one number a position."""
    w = split(u, kernel_and_bias(z.shape))
    places = range(z.shape[1] - LENGTH + 1)
    return jnp.tanh(
        jnp.stack([jnp.sum(w["kernel"] * z[:, p : p + LENGTH]) for p in places]) + w["bias"]
    )


KERNEL = Unit(
    "own_kernel",
    response,
    shape=lambda inputs: (inputs[0] * LENGTH + 1,),
    symmetry=Symmetry(silent=True, degree=1, parity="odd"),
    mixed=1,
    extra=1,
    channels=True,
    tensors=kernel_and_bias,
    example=(2, 5),
)


def three_matrices(inputs):
    """Query, key and value of a head on tokens (N, D)."""
    return dict.fromkeys(("query", "key", "value"), (inputs[1], RANK))


def attended(z, u):
    """(Z Q)(Z K)' / N Z V, (N, RANK), of which the outgoing weights contract the last axis."""
    w = split(u, three_matrices(z.shape))
    scores = (z @ w["query"]) @ (z @ w["key"]).T / z.shape[0]
    return scores @ (z @ w["value"])


HEAD = Unit(
    "own_head",
    attended,
    shape=lambda inputs: (3 * inputs[1] * RANK,),
    symmetry=Symmetry(silent=True, degree=3, parity="odd"),
    mixed=1,
    tensors=three_matrices,
    outgoing=lambda inputs: {"output": (RANK,)},
    own_matrices=True,
    example=(4, 3),
)
