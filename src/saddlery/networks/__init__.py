"""Networks of units, and the loss of one on data as a function of a flat vector:
its derivatives, scales and rounding.

How weights move is said elsewhere, and so is where data come from.
"""

from __future__ import annotations

from .curvature import hessian
from .losses import Loss, loss_named
from .network import Layer, Network, Params, flatten, unflatten
from .objectives import Data, MeanLoss, Moments, Objective, draw_batch, input_moments, objective
from .rounding import RoundingTolerances
from .tensors import weight_tensors

__all__ = [
    "Data",
    "Layer",
    "Loss",
    "MeanLoss",
    "Moments",
    "Network",
    "Objective",
    "Params",
    "RoundingTolerances",
    "draw_batch",
    "flatten",
    "hessian",
    "input_moments",
    "loss_named",
    "objective",
    "unflatten",
    "weight_tensors",
]
