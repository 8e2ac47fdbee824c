"""The weight tensors of a network: where they lie in the flat vector, and of
which matrices they consist.

The weights of a layer are two blocks of the flat vector, a unit a row: u (H, U)
and v (H, V). A tensor is some columns of a block. As matrices, inputs by outputs,
it is one of three things:

- what every unit weighs its input with (a neuron's weights, a kernel, a bias):
  units are the outputs, and the layer's matrix is (numbers a unit) x H;
- what weighs the features of all units: these are the inputs, (H times features a
  unit) x O;
- matrices of every unit's own (`Unit.own_matrices`: a head), H of them.

Sources: kernels are flattened, and key, query and value taken apart, as in Jordan
et al. (2024); vectors are no part of a matrix there either. That heads are taken
apart too, where they leave them side by side, is a choice: a head is a unit, and
only its own matrices make its map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..basis.records import Printed, Result, plain
from ..units.base import tensors_of
from ..units.tensors import Shapes
from .network import Network, Shape


@dataclass(frozen=True)
class Block:
    """Weights of a layer within the flat vector (P,): one of its units a row.

    layer: which. start: where the first row begins.
    rows: H. columns: numbers a unit.
    """

    layer: int
    start: int
    rows: int
    columns: int

    @property
    def numbers(self) -> slice:
        return slice(self.start, self.start + self.rows * self.columns)

    def of(self, theta: Any) -> Any:
        """The block (H, columns) of a flat vector (P,)."""
        return theta[self.numbers].reshape(self.rows, self.columns)


@dataclass(frozen=True)
class WeightTensor:
    """One tensor of all units of a layer.

    name: as the unit calls it. block: the weights it is a part of.
    first: its first column in the block.
    shape: of one unit's.
    stack: (matrices, inputs, outputs), the matrices it consists of.
    turned: whether units are the outputs, so that the block is transposed.
    """

    name: str
    block: Block
    first: int
    shape: Shape
    stack: tuple[int, int, int]
    turned: bool

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + math.prod(self.shape))

    def view(self, theta: Any) -> Any:
        """The tensor (H, *shape) of a flat vector (P,); of NumPy's a view."""
        return self.block.of(theta)[:, self.columns].reshape(self.block.rows, *self.shape)

    def take(self, theta: Any) -> Any:
        """Its matrices, of shape `stack`, of a flat vector (P,)."""
        found = self.block.of(theta)[:, self.columns]
        if self.turned:
            found = found.T
        return found.reshape(self.stack)

    def put(self, theta: Any, stack: Any) -> Any:
        """The flat vector, a JAX array, with these matrices in place of its own."""
        rows, numbers = self.block.rows, math.prod(self.shape)
        units = (numbers, rows) if self.turned else (rows, numbers)
        found = stack.reshape(units)
        if self.turned:
            found = found.T
        block = self.block.of(theta).at[:, self.columns].set(found)
        return theta.at[self.block.numbers].set(block.ravel())


@dataclass(frozen=True, repr=False)
class WeightTensors(Result):
    """All tensors of a network, in the order of the flat vector (P,); prints as a
    table."""

    each: tuple[WeightTensor, ...]

    def __iter__(self) -> Iterator[WeightTensor]:
        return iter(self.each)

    def views(self, theta: Any) -> tuple[dict[str, Any], ...]:
        """The tensors of a flat vector (P,) by name, a dict a layer, the units of
        the layer as the first axis; views of the vector, where it is a NumPy
        array."""
        layers = 1 + self.each[-1].block.layer
        found: list[dict[str, Any]] = [{} for _ in range(layers)]
        for tensor in self.each:
            found[tensor.block.layer][tensor.name] = tensor.view(theta)
        return tuple(found)

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Columns and rows of the printed table."""
        columns = ("layer", "tensor", "shape", "matrices")
        rows = []
        for tensor in self.each:
            block = tensor.block
            shape = _by(block.rows, *tensor.shape)
            rows.append([block.layer, tensor.name, shape, _many(tensor)])
        return columns, rows

    def printed(self) -> Printed:
        return Printed(*self.table())

    def record(self) -> list[dict[str, object]]:
        """The stable JSON form, an entry a tensor."""
        columns, rows = self.table()
        return [plain(dict(zip(columns, row, strict=True))) for row in rows]


def weight_tensors(
    network: Network,
    inputs: Shape,
    outputs: int,
) -> WeightTensors:
    """The tensors of a network for samples of shape `inputs`, (D,) for vectors,
    and `outputs` numbers each.

    Raises InputError naming a tensor of a unit that does not fit its weights.

    Example
    -------
    >>> from saddlery.networks import Layer, Network, weight_tensors
    >>> from saddlery.units import attention
    >>> heads = Network((Layer(attention("linear", rank=2), 4),))
    >>> weight_tensors(heads, inputs=(8, 3), outputs=1)
    layer  tensor  shape      matrices
    -----  ------  ---------  ----------
    0      key     4 x 3 x 2  4 of 3 x 2
    0      query   4 x 3 x 2  4 of 3 x 2
    0      value   4 x 3 x 1  4 of 3 x 1
    """
    found: list[WeightTensor] = []
    start = 0
    seen = network.seen(inputs, outputs)
    for k, shapes in enumerate(network.shapes(inputs, outputs)):
        unit = network.layers[k].unit
        incoming, features = tensors_of(unit, seen[k])
        for side in sorted(shapes):  # the order of the flat vector
            rows, *rest = shapes[side]
            block = Block(k, start, rows, math.prod(rest))
            start = block.numbers.stop
            own = unit.own_matrices
            if side == "u":
                found += _incoming(block, incoming, own=own)
            elif side == "v":
                found += _outgoing(block, features, rest[-1], own=own)
            else:
                found += _outgoing(block, {side: ()}, rest[-1], own=False)
    return WeightTensors(tuple(found))


def _incoming(
    block: Block,
    shapes: Shapes,
    *,
    own: bool,
) -> Iterator[WeightTensor]:
    """The tensors of u, each of a shape a unit. own: of matrices of every unit's
    own."""
    first = 0
    for name, shape in shapes.items():
        numbers = math.prod(shape)
        stack = (1, numbers, block.rows)
        if own:
            stack = (block.rows, math.prod(shape[:1]), math.prod(shape[1:]))
        yield WeightTensor(
            name,
            block,
            first=first,
            shape=shape,
            stack=stack,
            turned=not own,
        )
        first += numbers


def _outgoing(
    block: Block,
    shapes: Shapes,
    outputs: int,
    *,
    own: bool,
) -> Iterator[WeightTensor]:
    """The tensors of v, each of a shape a unit and output."""
    first = 0
    for name, shape in shapes.items():
        features = math.prod(shape)
        stack = (1, block.rows * features, outputs)
        # A scalar of every unit is one row of a matrix, and no matrix of its own.
        if own and len(shape) > 0:
            stack = (block.rows, features, outputs)
        yield WeightTensor(
            name,
            block,
            first=first,
            shape=(*shape, outputs),
            stack=stack,
            turned=False,
        )
        first += features * outputs


def _by(*sizes: int) -> str:
    return " x ".join(map(str, sizes))


def _many(tensor: WeightTensor) -> str:
    matrices, inputs, outputs = tensor.stack
    return f"{matrices} of {_by(inputs, outputs)}"
