"""Teacher networks of every architecture: a few units draw the targets, more units learn them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .. import units
from ..basis.checks import finite, flag, known, numbers, positive, require, whole
from ..basis.precision import precision_context
from ..networks import Data, Layer, Network
from .base import Task, generator, room, square, whitened


@dataclass(frozen=True)
class Teacher(Task):
    """Targets drawn from a network of `count` units of the named kind, on random inputs of any
    shape.

    y = sum_{i <= count} phi(x; u_i*) v_i*, u_i* random with norm `norm` (orthogonal to each other
    where the dimension allows), v_i* of norm strengths[i] (default 1, 1/2, 1/4, ...; negative ones
    flip the sign of a scalar output).
    inputs: the shape of x. outputs: numbers a sample. samples: N. design: "gaussian" inputs,
    whitened exactly, or "axes": each sample lies along one teacher direction u_i*, so that units
    see separate data and every narrower teacher is a fixed point of its own width. options: of the
    unit, for example {"kernel": [2]} or {"rank": 1}. Attention heads read tokens (N, D) and predict
    at the last one.
    split: each unit has an output of its own (outputs = count), whose sum is what a scalar teacher
    would give.
    """

    kind: ClassVar[str] = "teacher"
    unit: str = "relu"
    count: int = 2
    inputs: tuple[int, ...] = (4,)
    outputs: int = 1
    samples: int = 200
    strengths: tuple[float, ...] = ()
    norm: float = 1.0
    design: str = "gaussian"
    options_of_unit: Mapping[str, Any] = field(default_factory=dict)
    split: bool = False

    def network(self) -> Network:
        """The teacher's architecture."""
        unit = units.make(self.unit, **dict(self.options_of_unit))
        reads = "last" if unit.mixed == 1 and self.unit.startswith("attention") else "all"
        return Network((Layer(unit, whole(self.count, "count")),), reads=reads)

    def weights(self, seed: int) -> dict[str, np.ndarray]:
        """u* (count, ...) and v* (count, ..., O)."""
        rng = generator(seed, self.kind + " weights")
        network = self.network()
        (shapes,) = network.shapes(self.inputs, self.outputs)
        weights = square(math.prod(shapes["u"][1:]), "the weights of a unit of the teacher")
        room("count, inputs and outputs", self.count, weights + math.prod(shapes["v"][1:]))
        strengths = finite(
            numbers(self.strengths or [2.0**-k for k in range(self.count)], "strengths"),
            "strengths",
        )
        require(
            len(strengths) == self.count,
            "strengths",
            f"{self.count} numbers, one a unit",
            self.strengths,
        )
        u = positive(self.norm, "norm") * _spread(rng, self.count, math.prod(shapes["u"][1:]))
        require(
            not flag(self.split, "split") or self.outputs == self.count,
            "outputs",
            f"{self.count} when split, one a unit",
            self.outputs,
        )
        v = rng.standard_normal(
            (self.count, math.prod(shapes["v"][1:]) // (self.count if self.split else 1))
        )
        if v.shape[1] == 1:
            v = np.ones_like(v)
        v *= (strengths / np.linalg.norm(v, axis=1))[:, None]
        if self.split:
            v = v[:, :, None] * np.eye(self.count)[:, None]
        return {"u": u.reshape(shapes["u"]), "v": v.reshape(shapes["v"])}

    def data(self, seed: int) -> Data:
        whole(self.samples, "samples")
        whole(self.outputs, "outputs")
        require(
            isinstance(self.inputs, tuple) and len(self.inputs) > 0,
            "inputs",
            "the shape of a sample, like (4,)",
            self.inputs,
        )
        for size in self.inputs:
            whole(size, "inputs")
        room("samples, inputs and outputs", self.samples, math.prod(self.inputs) + self.outputs)
        weights = self.weights(seed)
        x = self._draw(seed).reshape(self.samples, *self.inputs)
        with precision_context("float64"):
            params = (jax.tree.map(jnp.asarray, weights),)
            y = np.asarray(self.network().outputs(params, jnp.asarray(x)))
        return Data(self.inputs, self.outputs, x, y)

    def _draw(self, seed: int) -> np.ndarray:
        """Inputs (N, D), flat."""
        rng = generator(seed, self.kind + " inputs")
        d = math.prod(self.inputs)
        if known(self.design, ("gaussian", "axes"), "design") == "gaussian":
            return (
                whitened(rng, self.samples, d)
                if self.samples >= d
                else rng.standard_normal((self.samples, d))
            )
        directions = self.weights(seed)["u"].reshape(self.count, -1)
        require(
            directions.shape[1] == d,
            'design "axes"',
            f"used with units of {d} weights, one an input",
            directions.shape[1],
        )
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        amplitudes = np.sqrt(self.count) * whitened(rng, self.samples, 1)
        return amplitudes * directions[np.arange(self.samples) % self.count]


def _spread(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Unit vectors, orthogonal to each other in groups of `dimension`."""
    groups = [
        np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
        for _ in range(-(-count // dimension))
    ]
    return np.concatenate(groups)[:count]
