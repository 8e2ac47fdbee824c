"""Closed forms: what theory says beforehand."""

from .balanced import balanced_path
from .modes import mode_strength, mode_time

__all__ = ["balanced_path", "mode_strength", "mode_time"]
