"""Initial weights: isotropic, on an invariant manifold, or such that a linear network's whole path is known."""

from .base import KINDS, Initialization, make

__all__ = ["KINDS", "Initialization", "make"]
