"""Certificates without the work: a fixed point and a refusal, of which a test says what matters."""

from __future__ import annotations

from typing import Any

import numpy as np

from saddlery.saddles import FixedPoint, Refusal

SHARED = {
    "reason": "planted",
    "tolerance": 1e-12,
    "gradient_scale": 1.0,
    "narrow_units": (1,),
    "route": "direct",
    "steps": 3,
    "behind": None,
}


def fixed_point(**changes: Any) -> FixedPoint:
    """The origin of a loss of two weights, with eigenvalues -1 and 1."""
    numbers = {
        "verdict": "strict saddle",
        "loss": 0.5,
        "gradient_norm": 0.0,
        "distance": 0.1,
        "relative_distance": 0.2,
        "index": 1,
        "zero_modes": 0,
        "zero_tolerance": 1e-9,
        "explained": {},
        "lowest_eigenvalue": -1.0,
        "escape_order": 2,
        "escape_rate": 1.0,
        "escape_direction": np.array([1.0, 0.0]),
        "utility": None,
        "construction": None,
        "narrow_state": None,
        "state": np.zeros(2),
        "eigenvalues": np.array([-1.0, 1.0]),
        "method": "dense",
        "smooth_dimension": 2,
    }
    return FixedPoint(**{**SHARED, **numbers, **changes})


def refusal(**changes: Any) -> Refusal:
    """Nothing was found."""
    return Refusal(**{**SHARED, "verdict": "no fixed point found", "residual": 0.1, **changes})
