"""How weights start: one frozen description, drawn from a seed, or for several at once, by the
function of its kind."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..basis.checks import NOTHING, known, positive, real, require, settle, whole
from ..basis.echo import Words
from ..basis.families import Family
from ..networks import Data, Network, Params, flatten, input_moments
from ..networks.network import Shape, flatten_runs
from .linear_networks import aligned, lambda_balanced
from .streams import Streams
from .unit_relations import add_manifold, balanced


class Weights(NamedTuple):
    """What is to be drawn: the weights of a network. shapes: the parameters of every layer, of
    their shapes. data: those of the experiment; None where it is not known yet."""

    network: Network
    shapes: Params
    data: Data | None


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
        INITIALIZATIONS.named(self.kind)
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
        weights = Weights(network, network.shapes(inputs, outputs), data)
        return flatten_runs(INITIALIZATIONS.named(self.kind)(self, weights, streams))


Start = Callable[[Initialization, Weights, Streams], Params]  # every array with the run axis first
OneStart = Callable[[Initialization, Weights, np.random.Generator], Params]
INITIALIZATIONS: Family[Start] = Family("initialization")


def register(kind: str) -> Callable[[OneStart], OneStart]:
    """Make a function that draws weights known as a `kind` of initialization, as a decorator;
    raises InputError where the name is taken.

    The function takes the `Initialization`, whose `scale` is its number (the other options belong
    to kinds of saddlery), the `Weights` to be drawn and a generator; it gives a dict of arrays for
    every layer, of the shapes that `weights.shapes` has. It is asked once for every seed.

    Example
    -------
    >>> from saddlery import Initialization
    >>> from saddlery.initializations import register
    >>> @register("constant")
    ... def constant(start, weights, rng):
    ...     return [{name: start.scale * np.ones(p[name]) for name in p} for p in weights.shapes]
    >>> Initialization("constant", scale=0.1).kind
    'constant'
    """

    def add(one: OneStart) -> OneStart:
        INITIALIZATIONS.add(kind, _one_by_one(kind, one))
        return one

    return add


def _one_by_one(kind: str, one: OneStart) -> Start:
    """The draws of a function that draws for one seed, with the run axis first."""

    @functools.wraps(one)
    def several(start: Initialization, weights: Weights, streams: Streams) -> Params:
        argument = f"what the initialization {kind!r} draws"
        drawn = [_checked(argument, weights, one(start, weights, rng)) for rng in streams]
        stacked = [
            {name: np.stack([run[k][name] for run in drawn]) for name in layer}
            for k, layer in enumerate(weights.shapes)
        ]
        return tuple(stacked)

    return several


def isotropic(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """Every weight N(0, scale^2)."""
    return tuple(
        {k: streams.standard_normal(p[k]) * start.scale for k in sorted(p)} for p in weights.shapes
    )


def _balanced(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """Isotropic, then |v_i| made equal to |u_i|."""
    return tuple(balanced(p) for p in isotropic(start, weights, streams))


def _manifold(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """A random state on an invariant manifold, and isotropic noise."""
    noise = isotropic(start, weights, streams)
    units = (layer.unit for layer in weights.network.layers)
    return tuple(
        add_manifold(p, unit, start.width, start.size, streams)
        for p, unit in zip(noise, units, strict=True)
    )


def _lambda_balanced(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """W2'W2 - W1W1' = imbalance I, for a linear network of two weight matrices."""
    return lambda_balanced(
        weights.network, weights.shapes, start.scale, start.imbalance, streams=streams
    )


def _aligned(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """Every weight matrix of a linear network diagonal in the singular bases of E[y x']."""
    remedy = "use Experiment.initial_state()"
    require(weights.data is not None, "data", "given for an aligned start", NOTHING, remedy)
    assert weights.data is not None
    cross = input_moments(weights.network, weights.data).cross
    return aligned(weights.network, weights.shapes, cross, start.scale, streams)


INITIALIZATIONS.members.update(
    isotropic=isotropic,
    balanced=_balanced,
    manifold=_manifold,
    lambda_balanced=_lambda_balanced,
    aligned=_aligned,
)


def _checked(argument: str, weights: Weights, drawn: Any) -> Params:
    """What was drawn for one seed. Raises InputError unless it is what `Weights` asks for."""
    listed = isinstance(drawn, (tuple, list)) and all(isinstance(p, dict) for p in drawn)
    shapes = [dict(p) for p in weights.shapes]
    found = [{name: np.shape(p[name]) for name in p} for p in drawn] if listed else drawn
    require(found == shapes, argument, f"arrays a layer of the shapes {shapes}", found)
    vector = flatten(tuple(drawn))
    real = vector.dtype.kind in "fiu" and bool(np.all(np.isfinite(vector)))
    require(real, argument, "finite numbers", Words(f"{vector.dtype}, not all finite"))
    return tuple(drawn)


def make(**options: Any) -> Initialization:
    """From the table of an experiment file; unknown keys raise InputError."""
    fields = [f.name for f in dataclasses.fields(Initialization)]
    for name in options:
        known(name, fields, "option of the initialization")
    return Initialization(**options)
