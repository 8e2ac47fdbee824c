"""What a mutation computed is gone after it, in tests too."""

from __future__ import annotations

import functools


@functools.cache
def computed():
    return object()


def test_what_tests_keep_is_forgotten(request):
    """A certificate of broken code, made by a test that a mutation calls, was that of the test
    itself when its turn came: it failed in whole runs alone."""
    before = computed()
    assert computed() is before
    request.getfixturevalue("fresh_programs")
    assert computed() is not before
