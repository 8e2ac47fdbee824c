"""Initial weights have the statistics and the structure they are named after."""

from __future__ import annotations

import numpy as np
import pytest

from saddlery import initializations
from saddlery.checks import InputError
from saddlery.initializations import Initialization
from saddlery.networks import Layer, Network, unflatten
from saddlery.units import attention, convolution, dense

WIDE = Network((Layer(dense("linear"), 100),))
DEEP = Network((Layer(dense("relu"), 4, mixes=False), Layer(dense("relu"), 3)))


def sides(network, theta, shape, outputs):
    (p,) = unflatten(network, theta, shape, outputs)
    return (np.asarray(p[k]).reshape(network.widths[0], -1) for k in ("u", "v"))


@pytest.mark.parametrize("scale", [1e-8, 0.3])
def test_isotropic(scale):
    """(a) Mean 0 and variance scale^2, each within 5 standard errors of 3,000 weights."""
    theta = Initialization(scale=scale).draw(WIDE, (20,), 10, 0) / scale
    assert theta.shape == (3000,) and theta.dtype == np.float64
    assert abs(theta.mean()) < 5 / np.sqrt(3000)
    assert abs(theta.var() - 1) < 5 * np.sqrt(2 / 3000)


def test_scale_only_scales_and_seeds_repeat():
    """(c) The same seed at another scale gives the same direction; another seed, another start."""
    draw = lambda scale, seed: Initialization(scale=scale).draw(DEEP, (3,), 2, seed)
    np.testing.assert_array_equal(draw(1e-3, 5), draw(1e-3, 5))
    np.testing.assert_allclose(draw(1e-3, 5) * 1e3, draw(1.0, 5), rtol=1e-15)
    assert not np.array_equal(draw(1e-3, 5), draw(1e-3, 6))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Network((Layer(dense("linear"), 5),)), (3,)),
        (Network((Layer(convolution("relu", (2,)), 4),)), (2, 5)),
        (Network((Layer(attention("linear", 2), 3),)), (4, 3)),
    ],
    ids=["dense", "conv", "attention"],
)
def test_balanced(network, shape):
    """(b) |u_i| = |v_i| for every unit; incoming weights as for isotropic."""
    u, v = sides(network, Initialization("balanced", 0.1).draw(network, shape, 2, 1), shape, 2)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1), rtol=1e-13)
    free, _ = sides(network, Initialization("isotropic", 0.1).draw(network, shape, 2, 1), shape, 2)
    np.testing.assert_array_equal(u, free)


def test_low_rank():
    """(b) Exactly `rank` large singular values of [u, v], entries of variance size^2, and the rest at the scale of the noise."""
    theta = Initialization("low_rank", 1e-6, rank=2, size=0.5).draw(WIDE, (20,), 10, 2)
    u, v = sides(WIDE, theta, (20,), 10)
    for side in (u, v, np.concatenate([u, v], axis=1)):
        values = np.linalg.svd(side, compute_uv=False)
        assert values[1] > 0.5 and values[2] < 1e-4
    several = [Initialization("low_rank", 1e-6, rank=2, size=0.5).draw(WIDE, (20,), 10, s) for s in range(40)]
    assert 0.2 < np.var(several) < 0.3  # size^2 = 0.25, within 20 percent


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Initialization("balance"), "did you mean 'balanced'"),
        (
            lambda: Initialization(scale=0.0),
            "scale of the initialization must be a finite number above zero, got 0.0; saddle-to",
        ),
        (lambda: Initialization(scale=-1e-3), "above zero"),
        (lambda: Initialization(scale=float("nan")), "above zero"),
        (lambda: Initialization("low_rank", 1e-3), "rank of the initialization must be a whole number of at least 1"),
        (
            lambda: Initialization("low_rank", 1e-3, rank=1),
            "size of the initialization must be a finite number above zero",
        ),
        (lambda: Initialization("isotropic", 1e-3, rank=1), "left out unless kind"),
        (lambda: Initialization("low_rank", 1e-3, 101, 1.0).draw(WIDE, (2,), 2, 0), "at most the width 100, got 101"),
        (lambda: Initialization("balanced").draw(DEEP, (2,), 2, 0), "use isotropic for layers that pass on"),
        (
            lambda: Initialization("low_rank", 1e-3, 1, 1.0).draw(DEEP, (2,), 2, 0),
            "use isotropic for layers that pass on",
        ),
        (lambda: initializations.make(scael=1.0), "did you mean 'scale'"),
    ],
)
def test_misuse(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_from_a_table():
    assert initializations.make(kind="low_rank", rank=1, size=2.0) == Initialization("low_rank", 1e-3, 1, 2.0)
