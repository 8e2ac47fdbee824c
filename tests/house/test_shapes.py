"""The shapes that signatures state are checked while tests run."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest

from saddlery.symmetry import ray
from saddlery.theory import balanced_path


def test_axes_of_the_same_letter_must_agree():
    with pytest.raises(jaxtyping.TypeCheckError):
        balanced_path(np.ones(1), np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)))


def test_the_number_of_axes_counts():
    with pytest.raises(jaxtyping.TypeCheckError):
        ray(np.ones(3), np.ones((3, 1)), 0, 1.0, 0.5)


@pytest.mark.wrong_shapes
def test_unless_a_test_asks_for_the_errors_of_saddlery():
    with pytest.raises(ValueError, match="must be of shapes"):
        balanced_path(np.ones(1), np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)))
