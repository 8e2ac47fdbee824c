"""Every test runs in float64 by JAX's scoped context; nothing here changes a global switch."""

from __future__ import annotations

import os

import hypothesis
import jax
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
hypothesis.settings.register_profile("saddlery", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("saddlery")


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield
