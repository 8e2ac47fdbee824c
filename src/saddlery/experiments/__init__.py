"""Experiments: everything that determines a run, as an object and as TOML;
those that are shipped.

Nothing is trained here.
"""

from __future__ import annotations

from .experiment import Experiment

__all__ = ["Experiment"]
