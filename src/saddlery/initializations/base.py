"""How weights start: one frozen description, drawn from a seed, or for several at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..basis.checks import NOTHING, known, positive, real, require, settle, whole
from ..networks import Data, Network, Params, input_moments
from ..networks.network import Shape, flatten_runs
from .linear import aligned, lambda_balanced
from .streams import Streams
from .units import add_manifold, balanced

KINDS = ("isotropic", "balanced", "manifold", "lambda_balanced", "aligned")


@dataclass(frozen=True)
class Initialization:
    """How weights start.

    isotropic: every weight N(0, scale^2).
    balanced: isotropic, then |v_i| made equal to |u_i| unit by unit in each mixing layer, which is
        the diagonal of W2'W2 = W1W1' and no more (to sqrt(p) balance for degree p is left to the
        flow, which conserves the difference); for the whole matrix take lambda_balanced.
    manifold: a random state on the invariant manifold of effective width `width` in each layer,
        which must mix, plus N(0, scale^2) noise on all weights; scale = 0 starts exactly on it (a
        read-out has the noise only). `width` random units with entries N(0, size^2), of which every
        unit is a random combination (units linear in u) or multiple (homogeneous ones, a positive
        one where only that is allowed), the rest silent (units with a silent point), or every unit
        a copy of one (others). Large low-rank starts of linear networks give stages without a first
        plateau.
    lambda_balanced: W2'W2 - W1W1' = imbalance I exactly, for a linear network of two weight
        matrices W1 (H, D), W2 (O, H): any shape for 0, H <= O above, H <= D below. One side is N(0,
        scale^2), the other has its basis over units. With no imbalance and D = O <= H the sign of
        det W2W1 never changes: half of all draws cannot learn the last mode, and only rounding lets
        a run do so.
    aligned: decoupled modes of a linear network of any depth: every weight matrix diagonal in the
        singular bases of E[y x'], with random orthonormal bases inside, and every mode with weight
        `scale` in each of the L matrices, so of strength scale^L in their product; as many modes as
        E[y x'] and the narrowest layer have. Needs the data.
    Source: Zhang, Saxe & Latham (2026), Theorem 3 and Figure 2C (manifold); Domine et al. (2025)
    (lambda_balanced); Saxe, McClelland & Ganguli (2014), Section 1.2 (aligned).

    Example
    -------
    >>> from saddlery.initializations import Initialization
    >>> Initialization(scale=1e-3).kind
    'isotropic'
    """

    kind: str = "isotropic"
    scale: float = 1e-3
    width: int = 0
    size: float = 0.0
    imbalance: float = 0.0

    def __post_init__(self) -> None:
        known(self.kind, KINDS, "initialization")
        if self.kind == "manifold":
            require(
                real(self.scale, "scale of the initialization") >= 0,
                "scale of the initialization",
                "at least zero",
                self.scale,
                "0 starts exactly on the manifold",
            )
            whole(self.width, "width of the initialization")
            positive(self.size, "size of the initialization")
        else:
            positive(
                self.scale, "scale of the initialization", "saddle-to-saddle runs use 1e-2 to 1e-6"
            )
            require(
                self.width == 0 and self.size == 0,
                "width and size",
                'left out unless kind is "manifold"',
                (self.width, self.size),
            )
        real(self.imbalance, "imbalance of the initialization")
        require(
            self.kind == "lambda_balanced" or self.imbalance == 0,
            "imbalance",
            'left out unless kind is "lambda_balanced"',
            self.imbalance,
        )
        settle(self)

    def draw(
        self, network: Network, inputs: Shape, outputs: int, seed: int, *, data: Data | None = None
    ) -> np.ndarray:
        """The initial flat parameter vector (P,), float64: `draws` of one seed. data: what an
        aligned start is aligned with."""
        return self.draws(network, inputs, outputs, [seed], data=data)[0]

    def draws(
        self,
        network: Network,
        inputs: Shape,
        outputs: int,
        seeds: Sequence[int],
        *,
        data: Data | None = None,
    ) -> np.ndarray:
        """The initial flat parameter vectors of R seeds (R, P), float64; each is that of its seed
        alone, to the last bit.

        inputs: the shape of a sample. outputs: numbers a sample. data: what an aligned start is
        aligned with. Raises InputError for networks that this start does not fit. Cost: R
        generators of random numbers, and arrays from there on.

        Example
        -------
        >>> from saddlery import Experiment
        >>> from saddlery.initializations import Initialization
        >>> Initialization().draws(Experiment.named("linear").network, (2,), 2, range(5)).shape
        (5, 200)
        """
        streams = Streams(seeds, "initial weights")
        return flatten_runs(self._params(network, network.shapes(inputs, outputs), streams, data))

    def _params(
        self, network: Network, shapes: Params, streams: Streams, data: Data | None
    ) -> Params:
        """Every array with the run axis first."""
        if self.kind == "lambda_balanced":
            return lambda_balanced(network, shapes, self.scale, self.imbalance, streams)
        if self.kind == "aligned":
            require(
                data is not None,
                "data",
                "given for an aligned start",
                NOTHING,
                "use Experiment.initial_state()",
            )
            assert data is not None
            cross = input_moments(network, data).cross
            return aligned(network, shapes, cross, self.scale, streams)
        params = tuple(
            {k: streams.standard_normal(p[k]) * self.scale for k in sorted(p)} for p in shapes
        )
        if self.kind == "balanced":
            return tuple(balanced(p) for p in params)
        if self.kind == "manifold":
            units = (layer.unit for layer in network.layers)
            return tuple(
                add_manifold(p, unit, self.width, self.size, streams)
                for p, unit in zip(params, units, strict=True)
            )
        return params


def make(**options: Any) -> Initialization:
    """From the table of an experiment file; unknown keys raise InputError."""
    fields = [f.name for f in dataclasses.fields(Initialization)]
    for name in options:
        known(name, fields, "option of the initialization")
    return Initialization(**options)
