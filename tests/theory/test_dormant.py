"""Dormant units against quadrature (a), an independent integration (d), homogeneity, and misuse;
leading tensors by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from saddlery import Experiment
from saddlery.basis.checks import InputError, NumericalError
from saddlery.networks import Data, Layer, Network, objective
from saddlery.symmetry import leading_tensor
from saddlery.theory import blow_up, dormant, escapes, grow
from saddlery.units import make

MATRIX = np.array([[1.0, 0.3, 0.0], [0.3, -0.5, 0.2], [0.0, 0.2, 0.4]])


def test_escapes_of_quadratic_units():
    """(a) The exact integral, for units that keep the sign of v and units that turn it."""
    values, vectors = np.linalg.eigh(MATRIX)
    rng = np.random.default_rng(0)
    u, v = 1e-3 * rng.standard_normal((40, 3)), 1e-3 * rng.standard_normal((40, 1))
    found = escapes(MATRIX[None], u, v)
    exact = [blow_up(float(v[k, 0]), vectors.T @ u[k], values) for k in range(40)]
    np.testing.assert_allclose(found.time, [e.time for e in exact], rtol=1e-5)
    ends = np.abs(found.u @ vectors)
    assert all(
        ends[k].argmax() == e.direction and np.sign(found.v[k, 0]) == e.sign
        for k, e in enumerate(exact)
    )
    assert np.ptp(found.time) > 100


def test_units_that_die():
    """(a) All eigenvalues positive, v < 0 and larger than |u| / sqrt 2: never."""
    found = escapes(np.array([[[1.0]]]), np.array([[0.01], [0.01]]), np.array([[-0.02], [0.02]]))
    assert np.isinf(found.time[0]) and np.isfinite(found.time[1])


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("outputs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_growth_against_an_independent_integration(degree, outputs):
    """(d) theta' = grad U by scipy, half-way to the escape and just before it."""
    rng = np.random.default_rng([degree, outputs])
    form = rng.standard_normal((outputs, *[3] * degree))
    form = form + np.swapaxes(form, 1, 2)
    if degree == 3:
        form = sum(np.transpose(form, (0, *axes)) for axes in [(1, 2, 3), (2, 3, 1), (3, 1, 2)])
    u, v = 0.1 * rng.standard_normal((4, 3)), 0.1 * rng.standard_normal((4, outputs))
    times = escapes(form, u, v).time
    escape = np.isfinite(times)
    u, v, times = u[escape], v[escape], times[escape]

    def slope(_, theta):
        once = form
        for _ in range(degree - 1):
            once = once @ theta[:3]
        return np.concatenate([degree * theta[3:] @ once, once @ theta[:3]])

    for share in (0.5, 0.99):
        grown = grow(form, u, v, share * times)
        for k in range(len(times)):
            begin = np.concatenate([u[k], v[k]])
            end = solve_ivp(
                slope, (0, share * times[k]), begin, "DOP853", rtol=1e-10, atol=1e-14
            ).y[:, -1]
            np.testing.assert_allclose(
                np.concatenate([grown.u[k], grown.v[k]]), end, rtol=2e-4, atol=1e-6
            )


def test_times_scale_with_the_weights():
    """(b) |theta|^(1 - p), here p = 3."""
    form = np.zeros((1, 2, 2, 2))
    form[0, 0, 0, 0], form[0, 1, 1, 1] = 1.0, 0.4
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((5, 2)), rng.standard_normal((5, 1))
    slow, fast = escapes(form, 1e-3 * u, 1e-3 * v).time, escapes(form, 1e-2 * u, 1e-2 * v).time
    np.testing.assert_allclose(slow, 100 * fast, rtol=1e-9)


def test_groups_stop_at_their_first():
    rng = np.random.default_rng(0)
    u, v = 1e-3 * rng.standard_normal((6, 3)), 1e-3 * rng.standard_normal((6, 1))
    alone, together = (
        escapes(MATRIX[None], u, v).time,
        escapes(MATRIX[None], u, v, groups=np.array([0, 0, 0, 1, 1, 1])).time,
    )
    for members in (slice(0, 3), slice(3, 6)):
        assert together[members].min() == alone[members].min()
        assert np.sum(np.isfinite(together[members])) == 1


@pytest.mark.parametrize("time", [101.0, 150.0, 1e6])
def test_a_unit_cannot_be_older_than_its_escape(time):
    """(a) v' = v^2 from 0.01 escapes at 100."""
    form, start = np.array([[[0.5]]]), (np.array([[np.sqrt(2) * 0.01]]), np.array([[0.01]]))
    assert grow(form, *start, time=99.0).v == pytest.approx(1.0, rel=1e-3)
    with pytest.raises(NumericalError, match=r"a unit escapes before it is .* old; ask for times"):
        grow(form, *start, time=time)


@pytest.mark.parametrize("size", [1e-82, 1e-120, 1e-170, 1e-250])
def test_small_units_escape_too(size):
    """(a) v' = v^2 from `size`, and a form of that size: products of these underflow."""
    unit, form = (np.array([[np.sqrt(2.0)]]), np.array([[1.0]])), np.array([[[0.5]]])
    u, v = size * unit[0], size * unit[1]
    assert escapes(form, u, v).time * size == pytest.approx(1.0, rel=1e-6)
    assert escapes(size * form, *unit).time * size == pytest.approx(1.0, rel=1e-6)
    half = grow(form, u, v, time=0.5 / size)
    np.testing.assert_allclose(half.v, 2 * v, rtol=1e-4)


@pytest.mark.parametrize("u", [1e-8, 1e-10, 1e-30])
def test_a_unit_of_little_u_escapes_in_the_end(u):
    """(a) By quadrature (p = 2), also where most of u dies first, and by u' = 3 v T u^2 (p = 3): a
    unit that hardly moves yet counted as dead."""
    one = np.array([[1.0]])
    for strengths, start in ((np.array([0.5]), [u]), (np.array([-0.5, 0.5]), [1.0, u])):
        found = escapes(np.diag(strengths)[None], np.array([start]), one)
        exact = blow_up(1.0, np.array(start), strengths)
        assert found.time[0] == pytest.approx(exact.time, rel=1e-6)
    cubic = escapes(np.array([[[[0.5]]]]), u * one, one)
    assert cubic.time * u == pytest.approx(1 / 1.5, rel=1e-5)


def test_a_unit_that_stands_still_is_there_at_any_time():
    """(b) u = 0 moves nothing; a small u where all directions die is gone, to a share of the
    unit."""
    form = np.array([np.diag([0.5, 0.3])])
    u, v = np.array([[0.0, 0.0], [1e-12, 1e-13]]), np.array([[0.01], [-0.01]])
    later = grow(form, u, v, time=1e9)
    np.testing.assert_array_equal(later.v, v)
    np.testing.assert_allclose(later.u, u, atol=1e-11)
    assert np.isinf(escapes(form, u, v).time).all()
    assert np.isinf(escapes(form, 0 * u, 0 * v).time).all()
    assert np.isinf(escapes(0 * form, u, v).time).all()


def test_a_unit_that_is_not_followed_so_far_is_not_said_to_escape(monkeypatch):
    """(a) u_1' = -2e-7 v u_1 takes 1e7 to fall by e^-2: thirty million steps of what u_2 asks
    for."""
    monkeypatch.setattr(dormant, "MOST_STEPS", 400)
    form = np.array([np.diag([-1e-7, -1.0])])
    with pytest.raises(NumericalError, match=r"a unit is not followed to 1e\+06 within 400 steps"):
        grow(form, np.array([[1e-3, 1e-3]]), np.array([[1.0]]), time=1e6)


def test_no_units_are_nobody():
    """Where one unit is all there is, none is left when it has escaped."""
    form, u, v = np.full((1, 1, 1), 0.5), np.zeros((0, 1)), np.zeros((0, 1))
    assert escapes(form, u, v).time.shape == grow(form, u, v, np.zeros(0)).time.shape == (0,)


@pytest.mark.parametrize("time", [-50.0, np.array([1.0, -1e-9])])
def test_there_is_no_time_before_the_start(time):
    with pytest.raises(InputError, match="time must be at or after 0, got -"):
        grow(MATRIX[None], np.ones((2, 3)), np.ones((2, 1)), time=time)


@pytest.mark.wrong_shapes
def test_misuse():
    with pytest.raises(InputError, match="form, u and v must be of shapes"):
        escapes(np.zeros((1, 2, 2)), np.zeros((3, 3)), np.zeros((3, 1)))
    tanh = objective(Network((Layer(make("relu"), 2),)), Data((2,), 1, np.eye(2), np.ones((2, 1))))
    with pytest.raises(InputError, match="has no smooth silent point"):
        leading_tensor(tanh, np.zeros(6))


# ------------------------------------------------------------- leading tensors
@pytest.mark.parametrize(
    ("unit", "degree"),
    [("linear", 1), ("tanh", 1), ("quadratic", 2), ("x_tanh_x", 2), ("cubic", 3)],
)
def test_leading_tensors_are_correlations_with_powers_of_the_input(unit, degree):
    """(a) mean r x (x) ... (x) x at the origin, where the residual is the target."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 2))
    subject = objective(Network((Layer(make(unit), 4),)), Data((3,), 2, x, y), moments=False)
    letters = "abc"[:degree]
    expected = (
        np.einsum(f"no,{','.join('n' + k for k in letters)}->o{letters}", y, *[x] * degree) / 50
    )
    np.testing.assert_allclose(
        leading_tensor(subject, np.zeros(subject.size)), expected, atol=1e-12
    )


def test_a_leading_tensor_along_a_trajectory():
    e = Experiment.named("linear_attention")
    subject = e.objective()
    rng = np.random.default_rng(0)
    states = rng.standard_normal((3, subject.size))
    together = leading_tensor(subject, states)
    assert together.shape == (3, 1, 4, 4)
    np.testing.assert_allclose(together[1], leading_tensor(subject, states[1]), atol=1e-14)
