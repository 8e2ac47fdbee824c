"""Sizes of arrays whose squares their type does not hold."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery.basis.precision import precision_context
from saddlery.rules.norms import norm, of_order_one, power_of_two


@pytest.mark.parametrize("exponent", [-125, -60, -1, 0, 1, 60, 126])
def test_the_power_of_two(exponent):
    """(a) Exactly, for numbers from 2^k up to 2^(k+1), compiled or not; one of zeros."""
    with precision_context("float32"):
        for number in (1.0, 1.5, np.float32(2) - np.finfo(np.float32).eps):
            x = jnp.array([0.0, -number * 2.0**exponent])
            for function in (power_of_two, jax.jit(power_of_two)):
                assert float(function(x)) == 2.0**exponent
            assert np.abs(of_order_one(x)).max() == np.float32(number)
        assert float(power_of_two(jnp.zeros(2))) == float(power_of_two(jnp.zeros(0))) == 1.0


def test_norms_are_those_of_numpy_where_numbers_allow_it():
    """(d) To the last bit; and beyond, by homogeneity."""
    x = np.random.default_rng(0).standard_normal((5, 7))
    with precision_context("float64"):
        for axis in (None, 0, 1):
            usual = np.asarray(jnp.linalg.norm(x, axis=axis))
            np.testing.assert_array_equal(norm(jnp.asarray(x), axis), usual)
            for power in (2.0**-1000, 2.0**1000):
                found = norm(jnp.asarray(power * x), axis)
                np.testing.assert_array_equal(found, power * usual)
