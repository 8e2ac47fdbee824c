"""Training: one driving loop and its compiled part, for every rule and any number
of members.

Callables and arrays; no model is known here, and nothing is kept on disk.
"""

from __future__ import annotations

from .driver import Stop, Trajectory

__all__ = ["Stop", "Trajectory"]
