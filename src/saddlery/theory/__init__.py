"""Closed forms: what theory says beforehand."""

from .balanced import balanced_path
from .modes import mode_strength, mode_time
from .saddles import LinearSaddle, LinearSaddles, linear_saddles

__all__ = ["LinearSaddle", "LinearSaddles", "balanced_path", "linear_saddles", "mode_strength", "mode_time"]
