"""Runs: experiments trained, one or many, what was recorded, and its folder on disk.

What a run means is said by the rooms above.
"""

from __future__ import annotations

from .ensembles import Ensemble, Failure, train_many
from .run import Run, train
from .store import load_run, save_run

__all__ = ["Ensemble", "Failure", "Run", "load_run", "save_run", "train", "train_many"]
