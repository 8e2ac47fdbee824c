"""Studies: the figures and statements of the theory as claims that are measured and judged. One
file a study, or a few.

No claim is judged anywhere else.
"""

from __future__ import annotations

from . import (
    agf,
    attention,
    basin,
    conditions,
    diagonal,
    digits,
    exhaustive,
    figure1,
    figure2,
    figure4,
    figure5,
    figure6,
    range,
    rules,
    theorems,
)
from .base import STUDIES, Claim, Judged, Outcome, Study
from .running import run_study, write_claims

__all__ = [
    "STUDIES",
    "Claim",
    "Judged",
    "Outcome",
    "Study",
    "agf",
    "attention",
    "basin",
    "conditions",
    "diagonal",
    "digits",
    "exhaustive",
    "figure1",
    "figure2",
    "figure4",
    "figure5",
    "figure6",
    "range",
    "rules",
    "run_study",
    "theorems",
    "write_claims",
]
