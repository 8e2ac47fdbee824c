"""Saddles: the fixed point behind a state, of which kind it is, and the proof.

A state is all that is needed: no run, no plateau and no experiment is known here.
"""

from __future__ import annotations

from .certificates import Certificate, FixedPoint, Refusal, certify_state

__all__ = ["Certificate", "FixedPoint", "Refusal", "certify_state"]
