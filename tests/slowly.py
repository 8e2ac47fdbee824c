"""Some cases of a parametrized test marked slow: those that repeat, at length, what the others
show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slowly(cases: Iterable[Any], *slow: Any) -> list[Any]:
    """The cases, those equal to one of `slow` marked so; a tuple is the arguments of one test."""
    cases = list(cases)
    assert all(case in cases for case in slow), "a case that is not there"
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[pytest.mark.slow] * (case in slow),
        )
        for case in cases
    ]
