"""Solvers of plain functions: fixed points, spectra and descents of what is given as callables and
arrays.

No network, unit or task is known here.
"""

from __future__ import annotations

from .higher_order import DescentDirection, find_descent
from .refinement import Refinement, refine
from .spectra import Spectrum, dense_spectrum, lanczos_spectrum

__all__ = [
    "DescentDirection",
    "Refinement",
    "Spectrum",
    "dense_spectrum",
    "find_descent",
    "lanczos_spectrum",
    "refine",
]
