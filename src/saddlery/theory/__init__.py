"""Closed forms: what theory says beforehand."""

from .balanced import balanced_path
from .diagonal import Jump, diagonal_jumps
from .modes import mode_strength, mode_time
from .saddles import LinearSaddle, LinearSaddles, linear_saddles
from .units import BlowUp, blow_up

__all__ = [
    "BlowUp",
    "Jump",
    "LinearSaddle",
    "LinearSaddles",
    "balanced_path",
    "blow_up",
    "diagonal_jumps",
    "linear_saddles",
    "mode_strength",
    "mode_time",
]
