"""Teacher networks of every architecture: a few units draw the targets, more
units learn them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .. import units
from ..basis.checks import finite, flag, known, numbers, positive, require, whole
from ..basis.precision import precision_context
from ..networks import Data, Layer, Network
from .base import Task, generator, room, square, whitened


@dataclass(frozen=True)
class Teacher(Task):
    """Targets drawn from a network of `count` units of the named kind, on
    random inputs of any shape.

        y = sum_{i <= count} phi(x; u_i*) v_i*

    unit: its name; attention heads read tokens (T, D) and predict at the last
        one.
    inputs: the shape of x.
    outputs: O, numbers a sample.
    samples: N.
    strengths (count,): the norms of v_i*; 1, 1/2, 1/4, ... where left out.
        Negative ones flip the sign of a scalar output.
    norm: of every u_i*; they are random, and orthogonal to each other where
        the dimension allows.
    design: "gaussian" inputs, whitened exactly (of fewer samples than numbers
        in one as drawn), or "axes": each sample lies along one teacher
        direction u_i*, so that units see separate data and every narrower
        teacher is a fixed point of its own width.
    options_of_unit: for example {"kernel": [2]} or {"rank": 1}.
    split: each unit has an output of its own (outputs = count), whose sum is
        what a scalar teacher would give.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks import Teacher
    >>> task = Teacher("relu", count=2, inputs=(3,), samples=50)
    >>> true, x = task.weights(seed=0), task.data(seed=0).inputs
    >>> y = np.maximum(x @ true["u"].T, 0.0) @ true["v"]
    >>> true["v"].tolist(), bool(np.allclose(y, task.data(seed=0).targets))
    ([[1.0], [0.5]], True)
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
        head = unit.mixed == 1 and self.unit.startswith("attention")
        layer = Layer(unit, whole(self.count, "count"))
        return Network((layer,), reads="last" if head else "all")

    def weights(self, seed: int) -> dict[str, np.ndarray]:
        """u* (count, ...) and v* (count, ..., O)."""
        rng = generator(seed, self.kind + " weights")
        (shapes,) = self.network().shapes(self.inputs, self.outputs)
        incoming, outgoing = (math.prod(shapes[name][1:]) for name in ("u", "v"))
        square(incoming, "the weights of a unit of the teacher")
        room("count, inputs and outputs", self.count, incoming + outgoing)
        strengths = self._strengths()
        u = positive(self.norm, "norm") * _spread(rng, self.count, incoming)
        require(
            not flag(self.split, "split") or self.outputs == self.count,
            "outputs",
            needed=f"{self.count} when split, one a unit",
            given=self.outputs,
        )
        own = outgoing // self.count if self.split else outgoing
        v = _with_norms(rng.standard_normal((self.count, own)), strengths)
        if self.split:
            v = v[:, :, None] * np.eye(self.count)[:, None]
        return {"u": u.reshape(shapes["u"]), "v": v.reshape(shapes["v"])}

    def _strengths(self) -> Float[np.ndarray, " count"]:
        given = self.strengths or [2.0**-k for k in range(self.count)]
        strengths = finite(numbers(given, "strengths"), "strengths")
        require(
            len(strengths) == self.count,
            "strengths",
            needed=f"{self.count} numbers, one a unit",
            given=self.strengths,
        )
        return strengths

    def data(self, seed: int) -> Data:
        whole(self.samples, "samples")
        whole(self.outputs, "outputs")
        require(
            isinstance(self.inputs, tuple) and len(self.inputs) > 0,
            "inputs",
            needed="the shape of a sample, like (4,)",
            given=self.inputs,
        )
        for size in self.inputs:
            whole(size, "inputs")
        numbers_a_sample = math.prod(self.inputs) + self.outputs
        room("samples, inputs and outputs", self.samples, numbers_a_sample)
        weights = self.weights(seed)
        x = self._draw(seed).reshape(self.samples, *self.inputs)
        with precision_context("float64"):
            params = (jax.tree.map(jnp.asarray, weights),)
            y = np.asarray(self.network().outputs(params, jnp.asarray(x)))
        return Data(self.inputs, self.outputs, inputs=x, targets=y)

    def _draw(self, seed: int) -> Float[np.ndarray, "N D"]:
        """Inputs, flat."""
        rng = generator(seed, self.kind + " inputs")
        d = math.prod(self.inputs)
        if known(self.design, ("gaussian", "axes"), "design") == "axes":
            return self._on_axes(rng, self.weights(seed)["u"].reshape(self.count, -1))
        if self.samples < d:  # too few to be whitened
            return rng.standard_normal((self.samples, d))
        return whitened(rng, self.samples, d)

    def _on_axes(
        self, rng: np.random.Generator, directions: Float[np.ndarray, "count U"]
    ) -> Float[np.ndarray, "N D"]:
        """Samples along one direction each, in turns."""
        d = math.prod(self.inputs)
        require(
            directions.shape[1] == d,
            'design "axes"',
            needed=f"used with units of {d} weights, one an input",
            given=directions.shape[1],
        )
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        amplitudes = np.sqrt(self.count) * whitened(rng, self.samples, 1)
        return amplitudes * directions[np.arange(self.samples) % self.count]


def _spread(rng: np.random.Generator, count: int, dimension: int) -> Float[np.ndarray, "count U"]:
    """Unit vectors, orthogonal to each other in groups of `dimension`."""
    groups = []
    for _ in range(-(-count // dimension)):
        q, _r = np.linalg.qr(rng.standard_normal((dimension, dimension)))
        groups.append(q)
    return np.concatenate(groups)[:count]


def _with_norms(
    v: Float[np.ndarray, "count V"], norms: Float[np.ndarray, " count"]
) -> Float[np.ndarray, "count V"]:
    """Rows of the given norms; of a scalar output the signs are those of the
    norms."""
    if v.shape[1] == 1:
        v = np.ones_like(v)
    return v * (norms / np.linalg.norm(v, axis=1))[:, None]
