"""Initial weights: isotropic, on an invariant manifold, or such that a linear
network's whole path is known.

Nothing here moves weights that are there.
"""

from .base import INITIALIZATIONS, Initialization, Weights, make, register

__all__ = ["INITIALIZATIONS", "Initialization", "Weights", "make", "register"]
