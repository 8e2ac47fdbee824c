"""Saddles: the fixed point behind a state, of which kind it is, and the proof.

A state is all that is needed: no run, no plateau and no experiment is known here.
"""

from __future__ import annotations

from .behind import BehindTolerances
from .certificates import Certificate, FixedPoint, Refusal, certify_state
from .fixed_points import FixedPointTolerances
from .kinks import KinkTolerances

__all__ = [
    "BehindTolerances",
    "Certificate",
    "FixedPoint",
    "FixedPointTolerances",
    "KinkTolerances",
    "Refusal",
    "certify_state",
]
