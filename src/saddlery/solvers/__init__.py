"""Solvers of plain functions: fixed points, spectra and descents of what is given as
callables and arrays.

No network, unit or task is known here.
"""

from __future__ import annotations

from .higher_order import DescentDirection, OrderTolerances, find_descent
from .refinement import Refinement, refine
from .spectra import Spectrum, SpectrumTolerances, dense_spectrum, lanczos_spectrum

__all__ = [
    "DescentDirection",
    "OrderTolerances",
    "Refinement",
    "Spectrum",
    "SpectrumTolerances",
    "dense_spectrum",
    "find_descent",
    "lanczos_spectrum",
    "refine",
]
