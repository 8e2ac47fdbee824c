"""How weights start: one frozen description, drawn from a seed, or for
several at once, by the function of its kind."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..basis.checks import NOTHING, known, positive, real, require, settle, whole
from ..basis.echo import Words
from ..basis.families import Family
from ..networks import Data, Network, Params, flatten, input_moments
from ..networks.network import Shape, flatten_runs
from .linear_networks import aligned, lambda_balanced
from .streams import Streams
from .unit_relations import add_manifold, balanced


class Weights(NamedTuple):
    """What is to be drawn: the weights of a network.

    shapes: of the parameters of every layer, by name: u (H, U), v (H, O), or
        of more axes.
    data: those of the experiment; None where it is not known yet.
    """

    network: Network
    shapes: Params
    data: Data | None


@dataclass(frozen=True)
class Initialization:
    """How weights start.

    kind:
        isotropic: every weight N(0, scale^2).
        balanced: isotropic, then |v_i| made equal to |u_i| unit by unit in
            each layer, which must mix: the diagonal of W2'W2 = W1W1' and no
            more (to sqrt(p) balance for degree p is left to the flow, which
            conserves the difference); for the whole matrix take
            lambda_balanced.
        manifold: a random state on the invariant manifold of effective width
            `width` in each layer, which must mix, plus N(0, scale^2) noise on
            all weights (a read-out has the noise only); see below.
        lambda_balanced: W2'W2 - W1W1' = imbalance I exactly, for a linear
            network of two weight matrices W1 (H, D), W2 (O, H): any shape for
            0, H <= O above, H <= D below. One side is N(0, scale^2), the
            other has its basis over units.
        aligned: decoupled modes of a linear network of any depth: every
            weight matrix diagonal in the singular bases of E[y x'], with
            random orthonormal bases inside, and every mode with weight
            `scale` in each of the L matrices, so of strength scale^L in their
            product; as many modes as E[y x'] and the narrowest layer have.
            Needs the data.
    scale: above zero; for a manifold also 0, which starts exactly on it.
    width, size: of a manifold alone; at least 1, above zero.
    imbalance: of lambda_balanced alone.

    On a manifold there are `width` random units with entries N(0, size^2), of
    which every unit is a random combination (units linear in u) or multiple
    (homogeneous ones, a positive one where only that is allowed), the rest
    silent (units with a silent point), or every unit a copy of one (others).
    Large low-rank starts of linear networks give stages without a first
    plateau.

    With no imbalance and D = O <= H the sign of det W2W1 never changes: half
    of all draws cannot learn the last mode, and only rounding lets a run do
    so.

    Raises InputError for an unknown kind and for numbers that do not belong
    to it.

    Source: Zhang, Saxe & Latham (2026), Theorem 3 and Figure 2C (manifold);
    Domine et al. (2025) (lambda_balanced); Saxe, McClelland & Ganguli (2014),
    Section 1.2 (aligned).

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.initializations import Initialization
    >>> from saddlery.initializations.linear_networks import factors
    >>> from saddlery.networks import Layer, Network, unflatten
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("linear"), 2),))
    >>> start = Initialization("lambda_balanced", scale=0.1, imbalance=0.5)
    >>> theta = start.draw(network, inputs=(3,), outputs=2, seed=0)
    >>> first, second = factors(network, unflatten(network, theta, (3,), 2))
    >>> np.abs(second.T @ second - first @ first.T).round(12).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """

    kind: str = "isotropic"
    scale: float = 1e-3
    width: int = 0
    size: float = 0.0
    imbalance: float = 0.0

    def __post_init__(self) -> None:
        INITIALIZATIONS.named(self.kind)
        if self.kind == "manifold":
            self._demand_manifold()
        else:
            self._demand_no_manifold()
        real(self.imbalance, "imbalance of the initialization")
        require(
            self.kind == "lambda_balanced" or self.imbalance == 0,
            "imbalance",
            needed='left out unless kind is "lambda_balanced"',
            given=self.imbalance,
        )
        settle(self)

    def _demand_manifold(self) -> None:
        require(
            real(self.scale, "scale of the initialization") >= 0,
            "scale of the initialization",
            needed="at least zero",
            given=self.scale,
            remedy="0 starts exactly on the manifold",
        )
        whole(self.width, "width of the initialization")
        positive(self.size, "size of the initialization")

    def _demand_no_manifold(self) -> None:
        usual = "saddle-to-saddle runs use 1e-2 to 1e-6"
        positive(self.scale, "scale of the initialization", usual)
        require(
            self.width == 0 and self.size == 0,
            "width and size",
            needed='left out unless kind is "manifold"',
            given=(self.width, self.size),
        )

    def draw(
        self,
        network: Network,
        inputs: Shape,
        outputs: int,
        seed: int,
        *,
        data: Data | None = None,
    ) -> Float[np.ndarray, " P"]:
        """The initial flat parameter vector (P,), float64: `draws` of one
        seed.

        data: what an aligned start is aligned with.
        """
        return self.draws(network, inputs, outputs, seeds=[seed], data=data)[0]

    def draws(
        self,
        network: Network,
        inputs: Shape,
        outputs: int,
        seeds: Sequence[int],
        *,
        data: Data | None = None,
    ) -> Float[np.ndarray, "R P"]:
        """The initial flat parameter vectors of R seeds (R, P), float64; each
        is that of its seed alone, to the last bit.

        inputs: the shape of a sample.
        outputs: numbers a sample.
        seeds (R,): whole numbers of at least zero.
        data: what an aligned start is aligned with.

        Raises InputError for networks that this start does not fit, and for seeds that
        are none. Cost: R generators of random numbers, and arrays from there on.

        Example
        -------
        >>> from saddlery import Experiment
        >>> from saddlery.initializations import Initialization
        >>> network = Experiment.named("linear").network
        >>> Initialization().draws(network, (2,), 2, range(5)).shape
        (5, 200)
        """
        streams = Streams(seeds, "initial weights")
        weights = Weights(network, network.shapes(inputs, outputs), data)
        draw = INITIALIZATIONS.named(self.kind)
        return flatten_runs(draw(self, weights, streams))


# Of R runs: every array has the run axis first. Of one run: none has it.
Start = Callable[[Initialization, Weights, Streams], Params]
OneStart = Callable[[Initialization, Weights, np.random.Generator], Params]
INITIALIZATIONS: Family[Start] = Family("initialization")


def register(kind: str) -> Callable[[OneStart], OneStart]:
    """Make a function that draws weights known as a `kind` of initialization,
    as a decorator.

    The function takes the `Initialization`, whose `scale` is its number (the
    other options belong to kinds of saddlery), the `Weights` to be drawn and
    a generator; it gives a dict of arrays for every layer, of the shapes that
    `weights.shapes` has. It is asked once for every seed.

    Raises InputError where the name is taken.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery import Initialization
    >>> from saddlery.initializations import register
    >>> @register("constant")
    ... def constant(start, weights, rng):
    ...     like = lambda p: {name: start.scale * np.ones(p[name]) for name in p}
    ...     return [like(p) for p in weights.shapes]
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("relu"), 1),))
    >>> Initialization("constant", scale=0.1).draw(network, (2,), 1, seed=0).tolist()
    [0.1, 0.1, 0.1]
    """

    def add(one: OneStart) -> OneStart:
        INITIALIZATIONS.add(kind, _one_by_one(kind, one))
        return one

    return add


def _one_by_one(kind: str, one: OneStart) -> Start:
    """The draws of a function that draws for one seed, with the run axis
    first."""

    @functools.wraps(one)
    def several(start: Initialization, weights: Weights, streams: Streams) -> Params:
        argument = f"what the initialization {kind!r} draws"
        runs = []
        for rng in streams:
            drawn = one(start, weights, rng)
            runs.append(_checked(argument, weights, drawn))
        return _stacked(runs, weights.shapes)

    return several


def _stacked(runs: Sequence[Params], shapes: Params) -> Params:
    layers = []
    for k, names in enumerate(shapes):
        own = [run[k] for run in runs]
        layers.append({name: np.stack([p[name] for p in own]) for name in names})
    return tuple(layers)


def isotropic(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """Every weight N(0, scale^2)."""
    layers = []
    for shapes in weights.shapes:
        drawn = {}
        # Stored runs were drawn in this order, which is that of `flatten`.
        for name in sorted(shapes):
            drawn[name] = streams.standard_normal(shapes[name]) * start.scale
        layers.append(drawn)
    return tuple(layers)


def _balanced(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """Isotropic, then |v_i| made equal to |u_i|."""
    return tuple(balanced(p) for p in isotropic(start, weights, streams))


def _manifold(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """A random state on an invariant manifold, and isotropic noise."""
    layers = []
    noise = isotropic(start, weights, streams)
    for p, layer in zip(noise, weights.network.layers, strict=True):
        layers.append(add_manifold(p, layer.unit, start.width, start.size, streams))
    return tuple(layers)


def _lambda_balanced(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """W2'W2 - W1W1' = imbalance I, for a linear network of two weight
    matrices."""
    return lambda_balanced(
        weights.network,
        weights.shapes,
        scale=start.scale,
        imbalance=start.imbalance,
        streams=streams,
    )


def _aligned(start: Initialization, weights: Weights, streams: Streams) -> Params:
    """Every weight matrix of a linear network diagonal in the singular bases
    of E[y x']."""
    require(
        weights.data is not None,
        "data",
        needed="given for an aligned start",
        given=NOTHING,
        remedy="use Experiment.initial_state()",
    )
    assert weights.data is not None
    return aligned(
        weights.network,
        weights.shapes,
        correlation=input_moments(weights.network, weights.data).cross,
        scale=start.scale,
        streams=streams,
    )


INITIALIZATIONS.members.update(
    isotropic=isotropic,
    balanced=_balanced,
    manifold=_manifold,
    lambda_balanced=_lambda_balanced,
    aligned=_aligned,
)


def _checked(argument: str, weights: Weights, drawn: Any) -> Params:
    """What was drawn for one seed. Raises InputError unless it is what
    `Weights` asks for."""
    shapes = [dict(p) for p in weights.shapes]
    found = _shapes_of(drawn)
    needed = f"arrays a layer of the shapes {shapes}"
    require(found == shapes, argument, needed, given=found)
    vector = flatten(tuple(drawn))
    usable = vector.dtype.kind in "fiu" and bool(np.all(np.isfinite(vector)))
    words = Words(f"{vector.dtype}, not all finite")
    require(usable, argument, needed="finite numbers", given=words)
    return tuple(drawn)


def _shapes_of(drawn: Any) -> Any:
    """Of every array, by layer and name; what is no list of layers as it
    is."""
    if not isinstance(drawn, (tuple, list)):
        return drawn
    if not all(isinstance(p, dict) for p in drawn):
        return drawn
    return [{name: np.shape(p[name]) for name in p} for p in drawn]


def make(**options: Any) -> Initialization:
    """The `Initialization` that the table of an experiment file asks for.

    Raises InputError for unknown keys, as for numbers that do not belong to
    the kind.
    """
    fields = [f.name for f in dataclasses.fields(Initialization)]
    for name in options:
        known(name, fields, "option of the initialization")
    return Initialization(**options)
