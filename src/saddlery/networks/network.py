"""Networks: stacks of layers, each a sum of units of one kind.

Parameters are a tuple with one dict a layer. A layer that *mixes* owns both sides
of its units, {"u": (H, ...), "v": (H, *mixed, O)}, and returns sum_i phi(z; u_i)
v_i. A layer that *passes on* owns {"u"} only and returns its H features as the
channels of the next layer, whose incoming weights are then the outgoing weights
v_i of its units: that is how a fully connected network W3 sigma(W2 sigma(W1 x))
is two layers of units.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..basis.checks import InputError, Words, flag, known, require, settle, whole
from ..basis.precision import precision_context
from ..basis.records import Printed, Result, plain
from ..units import Unit
from ..units.base import shapes_of

Params = tuple[dict[str, Any], ...]
Side = Float[Array, "_ _"] | Float[np.ndarray, "_ _"]  # (units, numbers a unit)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """H units of one kind.

    unit: of which kind.
    width: H.
    mixes: whether the layer has outgoing weights of its own, v (H, *mixed, O);
        the last layer always does.
    outputs: the dimension O of what it returns, None for the task's (last layer)
        or the input's (residual).
    residual: add the layer's input to its output (needs mixes, and an output of the
        input's shape).

    Raises InputError for other values.

    Example
    -------
    >>> from saddlery.networks import Layer
    >>> from saddlery.units import dense
    >>> Layer(dense("tanh"), 20, mixes=False)
    Layer(unit=tanh(), width=20, mixes=False, outputs=None, residual=False)
    """

    unit: Unit
    width: int
    mixes: bool = True
    outputs: int | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        # No units at all is what a reduction may leave.
        whole(self.width, "width of a layer", least=0)
        flag(self.mixes, "mixes")
        flag(self.residual, "residual")
        if self.outputs is not None:
            whole(self.outputs, "outputs of a layer")
        require(
            self.mixes or not self.residual,
            "a residual layer",
            needed="one that mixes",
            given="mixes = false",
            remedy="remove residual or set mixes = true",
        )
        require(
            isinstance(self.unit, Unit),
            "unit of a layer",
            needed="a Unit",
            given=self.unit,
            remedy="such as units.make('relu')",
        )
        settle(self)


@dataclass(frozen=True, repr=False)
class Network(Result):
    """f(x): layers of units, an optional linear read-out, and which token is read.

    layers: first to last, at least one.
    readout: whether a matrix of its own follows the last layer, which then needs
        `outputs` or residual.
    reads: "all" of the output, or the "last" token of a sequence.

    Parameters are a tuple with one dict a layer, as above, or one flat vector
    (P,): see `flatten`. Raises InputError for layers that do not fit each other.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("relu"), 2),))
    >>> network.count((3,), outputs=1)
    8
    >>> params = ({"u": jnp.eye(2, 3), "v": jnp.array([[1.0], [2.0]])},)
    >>> network.apply(params, jnp.array([5.0, 7.0, 9.0])).tolist()
    [19.0]
    """

    layers: tuple[Layer, ...]
    readout: bool = False
    reads: Literal["all", "last"] = "all"

    def __post_init__(self) -> None:
        require(
            _are_layers(self.layers),
            "layers",
            needed="a list of layers",
            given=self.layers,
            remedy="such as (Layer(units.make('relu'), 50),)",
        )
        require(
            len(self.layers) > 0,
            "layers",
            needed="at least one layer",
            given=Words("none"),
        )
        flag(self.readout, "readout")
        known(self.reads, ("all", "last"), "reads")
        settle(self)
        self._demand_an_end()
        self._demand_that_layers_fit()

    def _demand_an_end(self) -> None:
        """The last layer returns what the task, or the read-out, takes."""
        last = self.layers[-1]
        require(
            last.mixes,
            "the last layer",
            needed="one that mixes, since nothing follows it",
            given="mixes = false",
        )
        require(
            not self.readout or last.residual or last.outputs is not None,
            "the last layer",
            needed="residual or given `outputs` when a read-out follows",
            given=Words("neither"),
        )

    def _demand_that_layers_fit(self) -> None:
        """Every other layer returns what the next one sees."""
        for layer in self.layers[:-1]:
            require(
                not layer.mixes or layer.residual or layer.outputs is not None,
                "an inner layer that mixes",
                needed="residual or given `outputs`",
                given=Words("neither"),
                remedy="set outputs, or mixes = false to pass units on",
            )
        for layer, after in zip(self.layers, self.layers[1:], strict=False):
            require(
                layer.mixes or after.unit.channels,
                "a layer that passes its units on",
                needed="followed by units with a weight for each of them (channels)",
                given=after.unit,
                remedy="set mixes = true and outputs",
            )

    def printed(self) -> Printed:
        columns = ("layer", "unit", "width", "mixes", "residual", "outputs")
        rows = []
        for k, layer in enumerate(self.layers):
            kept = [getattr(layer, column) for column in columns[2:]]
            rows.append([k, layer.unit.name, *kept])
        return Printed(columns, rows, head=[f"network: {self.architecture}"])

    def record(self) -> dict[str, object]:
        """JSON form."""
        columns, rows, *_ = self.printed()
        kept = {
            "architecture": self.architecture,
            "readout": self.readout,
            "reads": self.reads,
            "layers": [dict(zip(columns, row, strict=True)) for row in rows],
            "options": [dict(layer.unit.options) for layer in self.layers],
        }
        return plain(kept)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(layer.width for layer in self.layers)

    @property
    def architecture(self) -> str:
        """A short description, for example "relu 50" or "linear 20 > linear 20"."""
        tags = []
        for layer in self.layers:
            skip = " +skip" if layer.residual else ""
            tags.append(f"{layer.unit.name} {layer.width}{skip}")
        if self.readout:
            tags.append("readout")
        return " > ".join(tags)

    def with_widths(self, widths: Sequence[int]) -> Network:
        """The same network with other widths."""
        if tuple(widths) == self.widths:
            return self
        layers = []
        for layer, width in zip(self.layers, widths, strict=True):
            layers.append(replace(layer, width=width))
        return replace(self, layers=tuple(layers))

    def with_width(self, index: int, width: int) -> Network:
        """The same network with another width of one layer."""
        widths = list(self.widths)
        widths[index] = width
        return self.with_widths(widths)

    def with_unit(self, index: int, unit: Unit) -> Network:
        """The same network with another kind of unit in one layer."""
        layers = list(self.layers)
        layers[index] = replace(layers[index], unit=unit)
        return replace(self, layers=tuple(layers))

    # ------------------------------------------------------------------ shapes
    def shapes(self, inputs: Shape, outputs: int) -> Params:
        """The shapes of all parameters for samples of shape `inputs` and
        `outputs` numbers each."""
        return self._walk(inputs, outputs)[1]

    def seen(self, inputs: Shape, outputs: int) -> tuple[Shape, ...]:
        """The shape of what each layer sees of one sample, first to last."""
        return self._walk(inputs, outputs)[0]

    def _walk(
        self,
        inputs: Shape,
        outputs: int,
    ) -> tuple[tuple[Shape, ...], Params]:
        """What each layer sees of one sample, and the shapes of its weights."""
        shape = tuple(inputs)
        seen, result = [], []
        for k, layer in enumerate(self.layers):
            seen.append(shape)
            u, features = shapes_of(layer.unit, shape)
            entry = {"u": (layer.width, *u)}
            if layer.mixes:
                mixed = mixed_shape(layer.unit, features)
                positions = features[: len(features) - len(mixed)]
                dimension = self._dimension(k, shape, outputs)
                entry["v"] = (layer.width, *mixed, dimension)
                returned = (*positions, dimension)
                # Otherwise one would be repeated along the other's positions.
                require(
                    not layer.residual or returned == shape,
                    f"what residual layer {k} adds to its input",
                    needed=f"of its input's shape {shape}",
                    given=Words(f"{returned} of units {layer.unit.name!r}"),
                )
                shape = returned
            else:
                shape = (layer.width, *features)
            result.append(entry)
        if self.readout:
            result[-1]["readout"] = (shape[-1], outputs)
        return tuple(seen), tuple(result)

    def count(self, inputs: Shape, outputs: int) -> int:
        """The number of parameters P."""
        return _flat(self, tuple(inputs), outputs).size

    def _dimension(self, k: int, shape: Shape, outputs: int) -> int:
        """What layer k returns, O, of an input of a shape."""
        layer = self.layers[k]
        if layer.residual:
            require(
                layer.outputs in (None, shape[-1]),
                f"outputs of residual layer {k}",
                needed=f"the dimension {shape[-1]} of its input",
                given=layer.outputs,
            )
            return shape[-1]
        if k == len(self.layers) - 1 and not self.readout:
            require(
                layer.outputs in (None, outputs),
                "outputs of the last layer",
                needed=f"the task's {outputs}",
                given=layer.outputs,
                remedy="leave it out",
            )
            return outputs
        assert layer.outputs is not None  # established in __post_init__
        return layer.outputs

    def zeros(self, inputs: Shape, outputs: int) -> Params:
        """All parameters at zero, in JAX's current default precision."""
        shapes = self.shapes(inputs, outputs)
        return jax.tree.map(jnp.zeros, shapes, is_leaf=_is_shape)

    # ------------------------------------------------------------------- maps
    def apply(self, params: Params, z: Float[Array, ...]) -> Float[Array, ...]:
        """f(z) for one sample; `vmap` it over samples."""
        z = self._through(params, z, len(self.layers))
        if self.readout:
            z = z @ params[-1]["readout"]
        if self.reads == "last":
            return z[-1]
        return z

    def features(
        self,
        params: Params,
        z: Float[Array, ...],
        index: int,
    ) -> Float[Array, "H ..."]:
        """phi(z; u_i) of every unit of a layer, for one sample."""
        seen = self._through(params, z, index)
        return self.layers[index].unit.features(seen, params[index]["u"])

    def _through(self, params: Params, z: Array, count: int) -> Array:
        """What the first `count` layers make of one sample."""
        for layer, p in zip(self.layers[:count], params, strict=False):
            if not layer.mixes:
                z = layer.unit.features(z, p["u"])
                continue
            mixed = sum_of_units(layer.unit, z, p["u"], p["v"])
            z = z + mixed if layer.residual else mixed
        return z

    def outputs(
        self,
        params: Params,
        inputs: Float[Array, "N ..."],
    ) -> Float[Array, "N ..."]:
        """f of every sample, leading axis N."""
        # Within, samples are the last axis, along which processors compute side by
        # side.
        one = lambda z: self.apply(params, z)
        every = jax.vmap(one, in_axes=-1, out_axes=-1)
        last = every(jnp.moveaxis(inputs, 0, -1))
        return jnp.moveaxis(last, -1, 0)

    # ------------------------------------------------- the two sides of units
    def incoming(self, params: Params, index: int) -> Side:
        """u_i of every unit of a layer, flattened, (H, U)."""
        return as_rows(params[index]["u"])

    def outgoing(self, params: Params, index: int) -> Side:
        """v_i of every unit of a layer, flattened, (H, V); read from the next
        layer where the layer passes its units on."""
        if self.layers[index].mixes:
            return as_rows(params[index]["v"])
        channels, _ = self._channels(params, index)
        return as_rows(_arrays(channels).moveaxis(channels, 1, 0))

    def with_sides(
        self,
        params: Params,
        index: int,
        u: Array | np.ndarray,
        v: Array | np.ndarray,
    ) -> tuple[Network, Params]:
        """Replace both sides of one layer's units, u (H', U) and v (H', V); the
        width may change."""
        width = u.shape[0]
        new = [dict(p) for p in params]
        new[index]["u"] = u.reshape(width, *params[index]["u"].shape[1:])
        if self.layers[index].mixes:
            new[index]["v"] = v.reshape(width, *params[index]["v"].shape[1:])
        else:
            new[index + 1]["u"] = self._from_channels(params, index, v)
        return self.with_width(index, width), tuple(new)

    def streams(self, index: int) -> bool:
        """Whether the units of a layer are themselves what the next, residual
        layer adds to: their number is then fixed."""
        if self.layers[index].mixes or index + 1 == len(self.layers):
            return False
        return self.layers[index + 1].residual

    def _channels(self, params: Params, index: int) -> tuple[Array, Array]:
        """The next layer's weights as (H', H, entries a channel), and its entries
        tied to no channel."""
        after = params[index + 1]["u"]
        flat = as_rows(after)
        tied = flat.shape[1] - self.layers[index + 1].unit.extra
        width = self.layers[index].width
        entries = tied // width if width else math.prod(after.shape[2:])
        channels = flat[:, :tied].reshape(flat.shape[0], width, entries)
        return channels, flat[:, tied:]

    def _from_channels(
        self,
        params: Params,
        index: int,
        v: Array | np.ndarray,
    ) -> Array | np.ndarray:
        """The next layer's u with v (H, V) for its weights to this one's units."""
        _, rest = self._channels(params, index)
        arrays = _arrays(rest, v)
        after, *sizes = params[index + 1]["u"].shape
        split = v.reshape(len(v), after, v.shape[1] // max(after, 1))
        moved = arrays.moveaxis(split, 0, 1)  # (H', H, entries)
        flat = arrays.concatenate([as_rows(moved), rest], axis=1)
        if len(sizes) == 1:  # flat itself, entries tied to no channel included
            return flat
        return flat.reshape(after, len(v), *sizes[1:])


def _arrays(*given: Any) -> Any:
    """NumPy for what is NumPy's: nothing is compiled, and float64 stays what it
    is whatever JAX's precision; else JAX's."""
    if all(isinstance(a, np.ndarray) for a in given):
        return np
    return jnp


def _are_layers(value: Any) -> bool:
    if not isinstance(value, (tuple, list)):
        return False
    return all(isinstance(layer, Layer) for layer in value)


def _is_shape(value: Any) -> bool:
    if not isinstance(value, tuple):
        return False
    return all(isinstance(k, int) for k in value)


def as_rows(array: Any) -> Any:
    """All axes but the first flattened, (H, U), also where there are no rows."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def mixed_shape(unit: Unit, features: Shape) -> Shape:
    """The trailing axes of phi that the outgoing weights contract.

    features: the shape of phi, (*positions, *mixed).
    """
    return features[len(features) - unit.mixed :]


def sum_of_units(
    unit: Unit,
    z: Array,
    u: Float[Array, "H ..."],
    v: Float[Array, "H ... O"],
) -> Float[Array, "... O"]:
    """sum_i phi(z; u_i) v_i of one sample z.

    Of more units than outputs that are linear in u it is computed as
    phi(z; sum_i v_i u_i), an output at a time.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.networks.network import sum_of_units
    >>> from saddlery.units import dense
    >>> u, v = jnp.array([[1.0], [-1.0]]), jnp.array([[10.0], [100.0]])
    >>> sum_of_units(dense("relu"), jnp.array([3.0]), u, v).tolist()
    [30.0]
    """
    more_units = v.shape[1] < v.shape[0]
    if unit.symmetry.linear and unit.mixed == 0 and more_units:
        products = jnp.tensordot(v, u, axes=(0, 0))
        return jnp.moveaxis(unit.features(z, products), 0, -1)
    return mix(unit.features(z, u), v, unit.mixed)


def mix(
    features: Float[Array, "H ..."],
    v: Float[Array, "H ... O"],
    mixed: int,
) -> Float[Array, "... O"]:
    """sum_i phi_i v_i: contract the unit axis and the last `mixed` axes of the
    features."""
    of_v = list(range(mixed + 1))
    of_features = [0, *range(features.ndim - mixed, features.ndim)]
    summed = jnp.tensordot(v, features, axes=(of_v, of_features))
    return jnp.moveaxis(summed, 0, -1)


# ---------------------------------------------------------------- flat vectors
def flatten(params: Params) -> Float[np.ndarray, " P"]:
    """All parameters as one float64 NumPy vector: layer by layer, "readout", "u",
    "v" within a layer.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import flatten
    >>> u, v = np.array([[1, 2], [3, 4]]), np.array([[5], [6]])
    >>> flatten(({"u": u, "v": v},)).tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    return np.concatenate([array.ravel() for array in _in_order(params)])


def flatten_runs(params: Params) -> Float[np.ndarray, "R P"]:
    """The parameters of R networks, run axis first, as flat vectors in the order
    of `flatten`."""
    return np.concatenate([as_rows(array) for array in _in_order(params)], axis=1)


def _in_order(params: Params) -> Iterator[np.ndarray]:
    """Every array, in the order of the flat vector."""
    for entry in params:
        for name in sorted(entry):
            yield np.asarray(entry[name], dtype=float)


@dataclass(frozen=True)
class UnitWeights:
    """Where the units of a network that is a single sum of them lie in the flat vector.

    index: (N, d), the places of theta_i = (u_i, v_i).
    order: the degree kappa in theta_i at which a unit's map starts.
    smooth: whether that leading form is a polynomial.
    alike: whether it is the same for all units, as for whole ones.
    """

    index: tuple[tuple[int, ...], ...]
    order: int
    smooth: bool
    alike: bool


def unit_weights(network: Network, inputs: Shape, outputs: int) -> UnitWeights:
    """The units of a single sum, the smaller ones where units are separable.

    inputs: the shape of a sample, (D,) for vectors.
    outputs: O.

    Raises InputError for networks of more than one sum, and units without a
    silent point.

    Example
    -------
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.network import unit_weights
    >>> from saddlery.units import dense
    >>> unit_weights(Network((Layer(dense("relu"), 2),)), (2,), outputs=1).index
    ((0, 1, 4), (2, 3, 5))
    """
    layer = network.layers[0]
    require(
        len(network.layers) == 1 and not network.readout and not layer.residual,
        "the network",
        needed="a single sum of units",
        given=Words(network.architecture),
        remedy="choose another rule",
    )
    unit = layer.unit
    degree = unit.symmetry.degree
    if degree is None:
        raise InputError(
            f"units {unit.name!r} have no silent point, so none is ever "
            "dormant; choose another rule"
        )
    every = np.arange(network.count(inputs, outputs))
    (sides,) = places_of_units(network, tuple(inputs), outputs)
    u, v = (every[place.numbers].reshape(place.shape) for place in sides)
    if unit.separable:
        u, v = u.reshape(u.size, 1), v.reshape(u.size, -1)
    index = np.hstack([u, v])
    return UnitWeights(
        index=tuple(map(tuple, index.tolist())),
        order=degree + 1,
        smooth=unit.smooth,
        alike=not unit.separable,
    )


def unflatten(
    network: Network,
    vector: Array | np.ndarray,
    inputs: Shape,
    outputs: int,
) -> Params:
    """The inverse of `flatten`; keeps the vector's precision.

    vector (P,): of NumPy's the parameters are views.
    inputs: the shape of a sample, (D,) for vectors.
    outputs: O.

    Raises InputError for a vector of another length.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import Layer, Network, unflatten
    >>> from saddlery.units import dense
    >>> network = Network((Layer(dense("relu"), 2),))
    >>> (layer,) = unflatten(network, np.arange(6.0), inputs=(2,), outputs=1)
    >>> layer["u"].tolist(), layer["v"].tolist()
    ([[0.0, 1.0], [2.0, 3.0]], [[4.0], [5.0]])
    """
    flat = _flat(network, tuple(inputs), outputs)
    if vector.shape != (flat.size,):
        needed = f"{flat.size} parameters for this network"
        raise InputError(f"the state must have {needed}, got shape {vector.shape}")
    params = []
    for entries in flat.entries:
        arrays = {}
        for name, start, end, shape in entries:
            arrays[name] = vector[start:end].reshape(shape)
        params.append(arrays)
    return tuple(params)


class Place(NamedTuple):
    """A side of a layer's units in the flat vector (P,).

    numbers: which of them. shape: (H, U) or (H, V), what they make.
    """

    numbers: slice | np.ndarray
    shape: tuple[int, ...]


@functools.lru_cache(maxsize=64)
def places_of_units(
    network: Network,
    inputs: Shape,
    outputs: int,
) -> tuple[tuple[Place, Place], ...]:
    """Where u (H, U) and v (H, V) of every layer lie in the flat vector.

    Example
    -------
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.network import places_of_units
    >>> from saddlery.units import dense
    >>> ((u, v),) = places_of_units(Network((Layer(dense("relu"), 2),)), (3,), 1)
    >>> u.numbers, v.numbers
    (slice(0, 6, None), slice(6, 8, None))
    """
    # The places themselves, written into the vector and read where u and v are.
    with precision_context("float64"):  # float32 holds whole numbers to 2^24
        every = np.arange(network.count(inputs, outputs), dtype=float)
        params = unflatten(network, every, inputs, outputs)
        places = []
        for k in range(len(network.layers)):
            u, v = network.incoming(params, k), network.outgoing(params, k)
            places.append((_place(u), _place(v)))
        return tuple(places)


def _place(side: Array | np.ndarray) -> Place:
    """The place of a side that holds its own numbers; a slice where they follow
    each other, which is read without a copy."""
    numbers = np.asarray(side).astype(int).ravel()
    if len(numbers) == 0:
        return Place(numbers, side.shape)
    first = int(numbers[0])
    end = first + len(numbers)
    if np.array_equal(numbers, np.arange(first, end)):
        return Place(slice(first, end), side.shape)
    return Place(numbers, side.shape)


class _Flat(NamedTuple):
    """How the flat vector is made up.

    size: P.
    entries: a layer's (name, from, to, shape) of all its arrays.
    """

    size: int
    entries: tuple[tuple[tuple[str, int, int, Shape], ...], ...]


@functools.lru_cache(maxsize=1024)
def _flat(network: Network, inputs: Shape, outputs: int) -> _Flat:
    entries, start = [], 0
    for shapes in network.shapes(inputs, outputs):
        entry = []
        for name in sorted(shapes):
            end = start + math.prod(shapes[name])
            entry.append((name, start, end, shapes[name]))
            start = end
        entries.append(tuple(entry))
    return _Flat(start, tuple(entries))
