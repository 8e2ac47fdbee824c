"""Whether units of one's own are what they declare, at the inputs they meet in a network.

Training, theory and certificates believe what a unit declares: linear units are trained in
the span of their weights, silent ones are added to a narrow network. A false declaration
makes all three wrong in silence, so that none begins before it is tried.
"""

from __future__ import annotations

import functools

from ..units import Unit, check_smooth, check_symmetry, shipped
from .network import Network, Shape


def check_units(network: Network, shape: Shape, outputs: int) -> None:
    """Try what each unit of one's own declares, on inputs of the shape that its layer sees;
    saddlery's own are taken as they are.

    shape: of one sample. outputs: the numbers of a target.

    Raises InputError with the declaration that does not hold (see
    `units.check_symmetry`). Cost: half a second a unit and shape, once a process.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.basis.checks import InputError
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.declared import check_units
    >>> from saddlery.units import Symmetry, Unit
    >>> sine = Unit("sine", lambda z, u: jnp.sin(z @ u), tuple, Symmetry(parity="even"))
    >>> try:
    ...     check_units(Network((Layer(sine, 5),)), (2,), 1)
    ... except InputError as error:
    ...     print(str(error)[:40])
    unit 'sine' must be even, phi(z; -u) = p
    """
    if all(shipped(layer.unit) for layer in network.layers):
        return
    seen = network.seen(shape, outputs)
    for layer, z in zip(network.layers, seen, strict=True):
        if not shipped(layer.unit):
            _check_unit(layer.unit, z)


@functools.lru_cache(maxsize=256)
def _check_unit(unit: Unit, z: Shape) -> None:
    # Channels are tried by mixing them: on the unit's own example, which has some.
    check_symmetry(unit, None if unit.channels else z)
    check_smooth(unit, z)
