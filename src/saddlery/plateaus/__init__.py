"""Plateaus: where a run dwells, the stages this makes, the fixed points it visits, and how it
leaves them.

What theory expected is said elsewhere.
"""

from __future__ import annotations

from .graph import SaddleGraph, saddle_graph
from .growth import mechanism
from .plateau import Plateau, clean_log, find_plateaus
from .stage import Stage, Stages, certify, stages
from .visits import visit

__all__ = [
    "Plateau",
    "SaddleGraph",
    "Stage",
    "Stages",
    "certify",
    "clean_log",
    "find_plateaus",
    "mechanism",
    "saddle_graph",
    "stages",
    "visit",
]
