"""Closed forms: arrays in, arrays out.

Nothing here knows a network or an experiment; which theory speaks of which
experiment is said in `predictions`.
"""

from .balanced import balanced_path
from .blow_ups import BlowUp, blow_up
from .diagonal import Jump, diagonal_jumps, diagonal_paths
from .dormant import Grown, escapes, grow
from .modes import mode_strength, mode_time
from .saddles import LinearSaddle, LinearSaddles, linear_saddles

__all__ = [
    "BlowUp",
    "Grown",
    "Jump",
    "LinearSaddle",
    "LinearSaddles",
    "balanced_path",
    "blow_up",
    "diagonal_jumps",
    "diagonal_paths",
    "escapes",
    "grow",
    "linear_saddles",
    "mode_strength",
    "mode_time",
]
