"""Networks: stacks of layers, each a sum of units of one kind.

Parameters are a tuple with one dict a layer. A layer that *mixes* owns both sides of its units,
{"u": (H, ...), "v": (H, *mixed, O)}, and returns sum_i phi(z; u_i) v_i. A layer that *passes on*
owns {"u"} only and returns its H features as the channels of the next layer, whose incoming weights
are then the outgoing weights v_i of its units: that is how a fully connected network W3 sigma(W2
sigma(W1 x)) is two layers of units.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
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

    width: H. mixes: whether the layer has outgoing weights of its own; the last layer always does.
    outputs: the dimension O of what it returns, None for the task's (last layer) or the input's
    (residual). residual: add the layer's input to its output (needs mixes and O equal to the
    input's dimension).
    """

    unit: Unit
    width: int
    mixes: bool = True
    outputs: int | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        whole(self.width, "width of a layer", 0)  # zero units: what a reduction may leave
        flag(self.mixes, "mixes")
        flag(self.residual, "residual")
        if self.outputs is not None:
            whole(self.outputs, "outputs of a layer")
        require(
            self.mixes or not self.residual,
            "a residual layer",
            "one that mixes",
            "mixes = false",
            "remove residual or set mixes = true",
        )
        require(
            isinstance(self.unit, Unit),
            "unit of a layer",
            "a Unit",
            self.unit,
            "such as units.make('relu')",
        )
        settle(self)


@dataclass(frozen=True, repr=False)
class Network(Result):
    """f(x): layers of units, an optional linear read-out, and which token is read.

    layers: first to last. readout: a matrix of its own after the last layer, which then needs
        `outputs` or residual.
    reads: "all" of the output, or the "last" token of a sequence.

    Example
    -------
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.units import dense
    >>> Network((Layer(dense("relu"), 50),)).widths
    (50,)
    """

    layers: tuple[Layer, ...]
    readout: bool = False
    reads: Literal["all", "last"] = "all"

    def __post_init__(self) -> None:
        made = isinstance(self.layers, (tuple, list)) and all(
            isinstance(layer, Layer) for layer in self.layers
        )
        require(
            made,
            "layers",
            "a list of layers",
            self.layers,
            "such as (Layer(units.make('relu'), 50),)",
        )
        require(len(self.layers) > 0, "layers", "at least one layer", Words("none"))
        flag(self.readout, "readout")
        known(self.reads, ("all", "last"), "reads")
        settle(self)
        last = self.layers[-1]
        require(
            last.mixes,
            "the last layer",
            "one that mixes, since nothing follows it",
            "mixes = false",
        )
        require(
            not self.readout or last.residual or last.outputs is not None,
            "the last layer",
            "residual or given `outputs` when a read-out follows",
            Words("neither"),
        )
        for layer in self.layers[:-1]:
            require(
                not layer.mixes or layer.residual or layer.outputs is not None,
                "an inner layer that mixes",
                "residual or given `outputs`",
                Words("neither"),
                "set outputs, or mixes = false to pass units on",
            )

        for layer, after in zip(self.layers, self.layers[1:], strict=False):
            require(
                layer.mixes or after.unit.channels,
                "a layer that passes its units on",
                "followed by units with a weight for each of them (channels)",
                after.unit,
                "set mixes = true and outputs",
            )

    def printed(self) -> Printed:
        columns = ("layer", "unit", "width", "mixes", "residual", "outputs")
        rows = [
            [k, layer.unit.name, layer.width, layer.mixes, layer.residual, layer.outputs]
            for k, layer in enumerate(self.layers)
        ]
        return Printed(columns, rows, head=[f"network: {self.architecture}"])

    def record(self) -> dict[str, object]:
        """JSON form."""
        columns, rows, *_ = self.printed()
        layers = [dict(zip(columns, row, strict=True)) for row in rows]
        options = [{**layer.unit.options} for layer in self.layers]
        kept = {"architecture": self.architecture, "readout": self.readout, "reads": self.reads}
        return plain({**kept, "layers": layers, "options": options})

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(layer.width for layer in self.layers)

    @property
    def architecture(self) -> str:
        """A short description, for example "relu 50" or "linear 20 > linear 20"."""
        tags = [
            f"{layer.unit.name} {layer.width}{' +skip' if layer.residual else ''}"
            for layer in self.layers
        ]
        return " > ".join(tags) + (" > readout" if self.readout else "")

    def with_widths(self, widths: Sequence[int]) -> Network:
        """The same network with other widths."""
        if tuple(widths) == self.widths:
            return self
        layers = tuple(
            replace(layer, width=h) for layer, h in zip(self.layers, widths, strict=True)
        )
        return replace(self, layers=layers)

    def with_width(self, index: int, width: int) -> Network:
        """The same network with another width of one layer."""
        return self.with_widths([*self.widths[:index], width, *self.widths[index + 1 :]])

    def with_unit(self, index: int, unit: Unit) -> Network:
        """The same network with another kind of unit in one layer."""
        layers = list(self.layers)
        layers[index] = replace(layers[index], unit=unit)
        return replace(self, layers=tuple(layers))

    # ------------------------------------------------------------------ shapes
    def shapes(self, inputs: Shape, outputs: int) -> Params:
        """The shapes of all parameters for samples of shape `inputs` and `outputs` numbers each."""
        return self._walk(inputs, outputs)[1]

    def seen(self, inputs: Shape, outputs: int) -> tuple[Shape, ...]:
        """The shape of what each layer sees of one sample, first to last."""
        return self._walk(inputs, outputs)[0]

    def _walk(self, inputs: Shape, outputs: int) -> tuple[tuple[Shape, ...], Params]:
        shape, seen, result = tuple(inputs), [], []
        for k, layer in enumerate(self.layers):
            seen.append(shape)
            u, features = shapes_of(layer.unit, shape)
            entry = {"u": (layer.width, *u)}
            if layer.mixes:
                entry["v"] = (
                    layer.width,
                    *mixed_shape(layer.unit, features),
                    self._dimension(k, shape, outputs),
                )
                shape = (*features[: len(features) - layer.unit.mixed], entry["v"][-1])
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
        layer = self.layers[k]
        if layer.residual:
            require(
                layer.outputs in (None, shape[-1]),
                f"outputs of residual layer {k}",
                f"the dimension {shape[-1]} of its input",
                layer.outputs,
            )
            return shape[-1]
        if k == len(self.layers) - 1 and not self.readout:
            require(
                layer.outputs in (None, outputs),
                "outputs of the last layer",
                f"the task's {outputs}",
                layer.outputs,
                "leave it out",
            )
            return outputs
        assert layer.outputs is not None  # established in __post_init__
        return layer.outputs

    def zeros(self, inputs: Shape, outputs: int) -> Params:
        """All parameters at zero, in JAX's current default precision."""
        return jax.tree.map(jnp.zeros, self.shapes(inputs, outputs), is_leaf=_is_shape)

    # ------------------------------------------------------------------- maps
    def apply(self, params: Params, z: Float[Array, ...]) -> Float[Array, ...]:
        """f(z) for one sample; `vmap` it over samples."""
        z = self._through(params, z, len(self.layers))
        if self.readout:
            z = z @ params[-1]["readout"]
        return z[-1] if self.reads == "last" else z

    def features(self, params: Params, z: Float[Array, ...], index: int) -> Float[Array, "H ..."]:
        """phi(z; u_i) of every unit of a layer, for one sample."""
        return self.layers[index].unit.features(self._through(params, z, index), params[index]["u"])

    def _through(self, params: Params, z: Array, count: int) -> Array:
        """What the first `count` layers make of one sample."""
        for layer, p in zip(self.layers[:count], params, strict=False):
            if not layer.mixes:
                z = layer.unit.features(z, p["u"])
                continue
            mixed = sum_of_units(layer.unit, z, p["u"], p["v"])
            z = z + mixed if layer.residual else mixed
        return z

    def outputs(self, params: Params, inputs: Float[Array, "N ..."]) -> Float[Array, "N ..."]:
        """f of every sample, leading axis N. Within, samples are the last axis, along which
        processors compute side by side."""
        last = jax.vmap(lambda z: self.apply(params, z), in_axes=-1, out_axes=-1)(
            jnp.moveaxis(inputs, 0, -1)
        )
        return jnp.moveaxis(last, -1, 0)

    # ------------------------------------------------- the two sides of units
    def incoming(self, params: Params, index: int) -> Side:
        """u_i of every unit of a layer, flattened, (H, U)."""
        return as_rows(params[index]["u"])

    def outgoing(self, params: Params, index: int) -> Side:
        """v_i of every unit of a layer, flattened, (H, V); read from the next layer where the layer
        passes its units on."""
        if self.layers[index].mixes:
            return as_rows(params[index]["v"])
        channels, _ = self._channels(params, index)
        return as_rows(_arrays(channels).moveaxis(channels, 1, 0))

    def with_sides(
        self, params: Params, index: int, u: Array | np.ndarray, v: Array | np.ndarray
    ) -> tuple[Network, Params]:
        """Replace both sides of one layer's units, u (H', U) and v (H', V); the width may
        change."""
        width = u.shape[0]
        new = [dict(p) for p in params]
        new[index]["u"] = u.reshape(width, *params[index]["u"].shape[1:])
        if self.layers[index].mixes:
            new[index]["v"] = v.reshape(width, *params[index]["v"].shape[1:])
        else:
            new[index + 1]["u"] = self._from_channels(params, index, v)
        return self.with_width(index, width), tuple(new)

    def streams(self, index: int) -> bool:
        """Whether the units of a layer are themselves what the next, residual layer adds to: their
        number is then fixed."""
        after = self.layers[index + 1] if index + 1 < len(self.layers) else None
        return not self.layers[index].mixes and after is not None and after.residual

    def _channels(self, params: Params, index: int) -> tuple[Array, Array]:
        """The next layer's weights as (H', H, entries a channel), and its entries tied to no
        channel."""
        after = params[index + 1]["u"]
        flat = as_rows(after)
        tied, width = flat.shape[1] - self.layers[index + 1].unit.extra, self.layers[index].width
        entries = tied // width if width else math.prod(after.shape[2:])
        return flat[:, :tied].reshape(flat.shape[0], width, entries), flat[:, tied:]

    def _from_channels(
        self, params: Params, index: int, v: Array | np.ndarray
    ) -> Array | np.ndarray:
        _, rest = self._channels(params, index)
        arrays, shape = _arrays(rest, v), params[index + 1]["u"].shape
        split = v.reshape(v.shape[0], shape[0], v.shape[1] // max(shape[0], 1))
        moved = arrays.moveaxis(split, 0, 1)  # (H', H, entries)
        flat = arrays.concatenate([as_rows(moved), rest], axis=1)
        return flat if len(shape) == 2 else flat.reshape(shape[0], v.shape[0], *shape[2:])


def _arrays(*given: Any) -> Any:
    """NumPy for what is NumPy's: nothing is compiled, and float64 stays what it is whatever JAX's
    precision; else JAX's."""
    return np if all(isinstance(a, np.ndarray) for a in given) else jnp


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(k, int) for k in value)


def as_rows(array: Any) -> Any:
    """All axes but the first flattened, also where there are no rows."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def mixed_shape(unit: Unit, features: Shape) -> Shape:
    """The trailing axes of phi that the outgoing weights contract."""
    return features[len(features) - unit.mixed :]


def sum_of_units(
    unit: Unit, z: Array, u: Float[Array, "H ..."], v: Float[Array, "H ... O"]
) -> Float[Array, "... O"]:
    """sum_i phi(z; u_i) v_i; of more units than outputs that are linear in u as phi(z; sum_i v_i
    u_i), an output at a time."""
    if unit.symmetry.linear and unit.mixed == 0 and v.shape[1] < v.shape[0]:
        return jnp.moveaxis(unit.features(z, jnp.tensordot(v, u, axes=(0, 0))), 0, -1)
    return mix(unit.features(z, u), v, unit.mixed)


def mix(
    features: Float[Array, "H ..."], v: Float[Array, "H ... O"], mixed: int
) -> Float[Array, "... O"]:
    """sum_i phi_i v_i: contract the unit axis and the last `mixed` axes of the features."""
    axes = [0, *range(features.ndim - mixed, features.ndim)]
    return jnp.moveaxis(jnp.tensordot(v, features, axes=(list(range(mixed + 1)), axes)), 0, -1)


# ---------------------------------------------------------------- flat vectors
def flatten(params: Params) -> Float[np.ndarray, " P"]:
    """All parameters as one float64 NumPy vector: layer by layer, "readout", "u", "v" within a
    layer."""
    return np.concatenate(
        [np.asarray(entry[name], dtype=float).ravel() for entry in params for name in sorted(entry)]
    )


def flatten_runs(params: Params) -> Float[np.ndarray, "R P"]:
    """The parameters of R networks, run axis first, as flat vectors in the order of `flatten`."""
    arrays = [np.asarray(entry[name], dtype=float) for entry in params for name in sorted(entry)]
    return np.concatenate([as_rows(array) for array in arrays], axis=1)


@dataclass(frozen=True)
class UnitWeights:
    """Where the units of a network that is a single sum of them lie in the flat vector.

    index: (N, d), the places of theta_i = (u_i, v_i). order: the degree kappa in theta_i at which a
        unit's map starts.
    smooth: whether that leading form is a polynomial. alike: whether it is the same for all units,
    as for whole ones.
    """

    index: tuple[tuple[int, ...], ...]
    order: int
    smooth: bool
    alike: bool


def unit_weights(network: Network, inputs: Shape, outputs: int) -> UnitWeights:
    """The units of a single sum, the smaller ones where units are separable. Raises InputError for
    other networks."""
    layer, unit = network.layers[0], network.layers[0].unit
    single = len(network.layers) == 1 and not network.readout and not layer.residual
    require(
        single,
        "the network",
        "a single sum of units",
        Words(network.architecture),
        "choose another rule",
    )
    degree = unit.symmetry.degree
    if degree is None:
        raise InputError(
            f"units {unit.name!r} have no silent point, so none is ever "
            "dormant; choose another rule"
        )
    every, (sides,) = (
        np.arange(network.count(inputs, outputs)),
        places_of_units(network, tuple(inputs), outputs),
    )
    u, v = (every[place.numbers].reshape(place.shape) for place in sides)
    if unit.separable:
        u, v = u.reshape(u.size, 1), v.reshape(u.size, -1)
    index = np.hstack([u, v])
    return UnitWeights(
        tuple(map(tuple, index.tolist())), degree + 1, unit.smooth, not unit.separable
    )


def unflatten(network: Network, vector: Array | np.ndarray, inputs: Shape, outputs: int) -> Params:
    """The inverse of `flatten`; keeps the vector's precision."""
    flat = _flat(network, tuple(inputs), outputs)
    if vector.shape != (flat.size,):
        raise InputError(
            f"the state must have {flat.size} parameters for this network, got shape {vector.shape}"
        )
    return tuple(
        {name: vector[a:b].reshape(shape) for name, a, b, shape in entry} for entry in flat.entries
    )


class Place(NamedTuple):
    """Which numbers of the flat vector, and the shape (H, numbers a unit) they make."""

    numbers: slice | np.ndarray
    shape: tuple[int, ...]


@functools.lru_cache(maxsize=64)
def places_of_units(
    network: Network, inputs: Shape, outputs: int
) -> tuple[tuple[Place, Place], ...]:
    """Where u (H, U) and v (H, V) of every layer lie in the flat vector."""
    with precision_context("float64"):  # float32 holds whole numbers to 2^24
        params = unflatten(
            network, np.arange(network.count(inputs, outputs), dtype=float), inputs, outputs
        )
        sides = lambda k: (_place(network.incoming(params, k)), _place(network.outgoing(params, k)))
        return tuple(sides(k) for k in range(len(network.layers)))


def _place(side: Array | np.ndarray) -> Place:
    numbers = np.asarray(side).astype(int).ravel()
    together = len(numbers) > 0 and np.array_equal(
        numbers, np.arange(numbers[0], numbers[0] + len(numbers))
    )
    return Place(
        slice(int(numbers[0]), int(numbers[0]) + len(numbers)) if together else numbers, side.shape
    )


class _Flat(NamedTuple):
    """size: P. entries: a layer's (name, from, to, shape) of all its arrays in the flat vector."""

    size: int
    entries: tuple[tuple[tuple[str, int, int, Shape], ...], ...]


@functools.lru_cache(maxsize=1024)
def _flat(network: Network, inputs: Shape, outputs: int) -> _Flat:
    entries, start = [], 0
    for shapes in network.shapes(inputs, outputs):
        entry = []
        for name in sorted(shapes):
            entry.append((name, start, start + math.prod(shapes[name]), shapes[name]))
            start = entry[-1][2]
        entries.append(tuple(entry))
    return _Flat(start, tuple(entries))
