"""Plateaus: where a run dwells, the stages this makes, the fixed points it visits, and
how it leaves them.

What theory expected is said elsewhere.
"""

from __future__ import annotations

from .graph import GraphTolerances, SaddleGraph, saddle_graph
from .growth import GrowthTolerances, mechanism
from .plateau import Plateau, PlateauTolerances, clean_log, find_plateaus
from .rest import RestTolerances
from .stage import Stage, Stages, WidthTolerances, certify, stages
from .visits import visit

__all__ = [
    "GraphTolerances",
    "GrowthTolerances",
    "Plateau",
    "PlateauTolerances",
    "RestTolerances",
    "SaddleGraph",
    "Stage",
    "Stages",
    "WidthTolerances",
    "certify",
    "clean_log",
    "find_plateaus",
    "mechanism",
    "saddle_graph",
    "stages",
    "visit",
]
