"""Initial weights: isotropic, balanced, and low-rank plus a perturbation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import InputError, known, positive, require, whole
from .networks import Network, Shape, flatten

KINDS = ("isotropic", "balanced", "low_rank")


@dataclass(frozen=True)
class Initialization:
    """How weights start.

    isotropic: every weight N(0, scale^2).
    balanced: isotropic, then |v_i| made equal to |u_i| in each mixing layer (to sqrt(p) balance for degree p is left
        to the flow, which conserves the difference).
    low_rank: weights of rank `rank` and entries N(0, size^2) on both sides of the units, plus N(0, scale^2) noise; large
        low-rank starts give stages without a first plateau (Zhang, Saxe & Latham 2026, Figure 2C).

    Example
    -------
    >>> from saddlery.initializations import Initialization
    >>> Initialization(scale=1e-3).kind
    'isotropic'
    """

    kind: str = "isotropic"
    scale: float = 1e-3
    rank: int = 0
    size: float = 0.0

    def __post_init__(self) -> None:
        known(self.kind, KINDS, "initialization")
        positive(self.scale, "scale of the initialization", "saddle-to-saddle runs use 1e-2 to 1e-6")
        if self.kind == "low_rank":
            whole(self.rank, "rank of the initialization")
            positive(self.size, "size of the initialization")
        else:
            require(
                self.rank == 0 and self.size == 0,
                "rank and size",
                'left out unless kind is "low_rank"',
                (self.rank, self.size),
            )

    def draw(self, network: Network, inputs: Shape, outputs: int, seed: int) -> np.ndarray:
        """The initial flat parameter vector (P,), float64."""
        rng = np.random.default_rng([seed, *b"initial weights"])
        shapes = network.shapes(inputs, outputs)
        params = tuple({k: rng.standard_normal(p[k]) * self.scale for k in sorted(p)} for p in shapes)
        if self.kind == "balanced":
            params = tuple(_balanced(p) for p in params)
        if self.kind == "low_rank":
            params = tuple(_add_low_rank(p, self.rank, self.size, rng) for p in params)
        return flatten(params)


def _sides(params: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if "v" not in params:
        raise InputError(
            "this initialization needs layers that mix (with outgoing weights of their own);"
            " use isotropic for layers that pass on"
        )
    width = len(params["u"])
    return params["u"].reshape(width, -1), params["v"].reshape(width, -1)


def _balanced(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    u, v = _sides(params)
    scaled = v * (np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1))[:, None]
    return {**params, "v": scaled.reshape(params["v"].shape)}


def _add_low_rank(
    params: dict[str, np.ndarray], rank: int, size: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    u, v = _sides(params)
    require(rank <= len(u), "rank of the initialization", f"at most the width {len(u)}", rank)
    mixing = rng.standard_normal((len(u), rank)) / np.sqrt(rank)
    sides = {"u": u, "v": v}
    low = {k: size * mixing @ rng.standard_normal((rank, side.shape[1])) for k, side in sides.items()}
    return {**params, **{k: params[k] + low[k].reshape(params[k].shape) for k in low}}


def make(**options: Any) -> Initialization:
    """From the table of an experiment file; unknown keys raise InputError."""
    fields = [f.name for f in dataclasses.fields(Initialization)]
    for name in options:
        known(name, fields, "option of the initialization")
    return Initialization(**options)
