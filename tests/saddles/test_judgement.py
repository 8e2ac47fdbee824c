"""Judging a state: what calls it zero, near, the same or a minimum, each held to a second route.

Verdicts at states chosen for being hard are in `test_verdicts.py`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saddlery import Experiment, Initialization, certify, load_run, reduce, save_run, train
from saddlery.basis.checks import InputError
from saddlery.networks import Data, Layer, Network, flatten, objective
from saddlery.saddles import certify_state
from saddlery.saddles.fixed_points import find_fixed_point
from saddlery.saddles.judging import at_lower_bound, excess, spectrum_at
from saddlery.saddles.zero_modes import explain_zero_modes
from saddlery.symmetry import best_silent_unit, effective_units, silent_direction, silent_units
from saddlery.symmetry.utility import silent_coordinates
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop
from saddlery.units import make
from slowly import slowly


def linear(width, strengths=(1.0, 0.4), size=3):
    return objective(
        Network((Layer(make("linear"), width),)),
        LinearTeacher(strengths, inputs=size, outputs=size).data(0),
    )


def planted(subject, rank):
    """Balanced weights of the leading `rank` modes of a linear task, in the first units."""
    q, s, rt = np.linalg.svd(subject.targets.T @ subject.inputs / len(subject.inputs))
    width = subject.network.widths[0]
    u, v = np.zeros((width, rt.shape[1])), np.zeros((width, q.shape[0]))
    u[:rank], v[:rank] = np.sqrt(s[:rank, None]) * rt[:rank], np.sqrt(s[:rank, None]) * q.T[:rank]
    return flatten(({"u": u, "v": v},))


# ---------------------------------------------------------- starts
@functools.cache
def ended(name, scale):
    found = certify(
        train(Experiment.named(name).replace(initialization=Initialization(scale=scale)))
    )
    return found[len(found) - 1]


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize("scale", slowly([1.0, 2.0], 1.0))
def test_the_end_of_a_run_from_large_weights(name, scale):
    """(a) A loss of zero is a minimum, and the run is at it.

    The fall from large weights used to set the tolerance of the end, above one: no units were left,
    and the end was a strict saddle at the origin.
    """
    end = ended(name, scale)
    c = end.certificate
    assert end.kind == "end" and end.tolerance <= 0.02
    assert (c.verdict, c.index) == ("minimum", 0)
    assert c.loss < 1e-20 and c.relative_distance < 0.01


def test_the_start_of_a_run_sets_no_tolerance():
    """(c) The same task has the same zero gradient. It used to grow with the gradient at the
    start."""
    small, large = ended("linear", 1.0).certificate, ended("linear", 2.0).certificate
    assert small.gradient_scale == large.gradient_scale and small.tolerance == large.tolerance


# ---------------------------------------------------------- scales
@pytest.mark.parametrize("strengths", [(1.0, 0.4), (1e-6, 4e-7), (300.0, 1.0)])
def test_natural_scales_of_a_linear_network(strengths):
    """(d) Two matrices in NumPy: the smallest power of two that makes |V'U x| as large as |y|, and
    the gradient there."""
    subject = linear(5, strengths)
    x, y = subject.inputs, subject.targets
    theta = np.random.default_rng(0).standard_normal(30)
    u, v = theta[:15].reshape(5, 3), theta[15:].reshape(5, 3)
    target = np.sqrt(sum(row @ row for row in y) / len(y))
    grown = [
        c
        for c in 2.0 ** np.arange(-40, 40)
        if np.sqrt(np.mean(np.sum((c**2 * x @ u.T @ v) ** 2, axis=1))) >= target
    ]
    u, v = grown[0] * u, grown[0] * v
    rest = (x @ u.T @ v - y) / len(x)
    slope = np.concatenate([(v @ rest.T @ x).ravel(), (u @ x.T @ rest).ravel()])
    assert subject.scales.weights == pytest.approx(grown[0] * np.linalg.norm(theta), rel=1e-12)
    assert subject.scales.gradient == pytest.approx(np.linalg.norm(slope), rel=1e-10)
    assert subject.scales.curvature == pytest.approx(
        subject.scales.gradient / subject.scales.weights, rel=1e-12
    )
    assert subject.scales.loss == pytest.approx(0.5 * target**2, rel=1e-12)
    assert certify_state(subject, np.zeros(30)).tolerance == pytest.approx(
        1e-12 * np.linalg.norm(slope), rel=1e-10
    )


# ---------------------------------------------------------- zeros
def test_lanczos_allows_for_the_gradient_that_is_left(monkeypatch):
    """(d) Beside a minimum, zero modes have eigenvalues of the size of the error, of either sign,
    dense or by Lanczos.

    The zero of the Lanczos route used to be 1e-9 of the largest eigenvalue whatever the gradient: a
    saddle of index 40.
    """
    subject = linear(20)
    state = planted(subject, 2) + 1e-5 * np.random.default_rng(0).standard_normal(subject.size)
    norm = float(np.linalg.norm(subject.gradient(state)))
    blurred, sharp = spectrum_at(subject, state, gradient_norm=norm), spectrum_at(subject, state)
    monkeypatch.setattr("saddlery.saddles.fixed_points.DENSE", 10)
    lanczos = spectrum_at(subject, state, gradient_norm=norm)
    assert (blurred.method, lanczos.method) == ("dense", "lanczos")
    (unit,) = set(
        subject.units_at(state)
    )  # inputs and targets are of one size here, and so are natural units
    size = max(unit * subject.standard.weights, np.linalg.norm(state))
    expected = np.sqrt(norm * np.abs(blurred.eigenvalues).max() / size)
    assert blurred.tolerance == pytest.approx(expected, rel=1e-12)
    assert lanczos.tolerance == pytest.approx(expected, rel=0.1)
    assert blurred.index == lanczos.index == 0 < sharp.index


@pytest.mark.parametrize("rank", [0, 1])
def test_the_index_is_the_same_beyond_dense_hessians(rank, monkeypatch):
    """(a) (modes left) x (units left), all of them, where a cap of one or of a batch would leave a
    part."""
    subject = linear(30)
    monkeypatch.setattr("saddlery.saddles.fixed_points.DENSE", 10)
    found = spectrum_at(subject, planted(subject, rank))
    assert (found.method, found.index) == ("lanczos", (2 - rank) * (30 - rank))


# ---------------------------------------------------------- precision
def arrays(found):
    leaves = jax.tree.leaves(
        [found] if isinstance(found, (np.ndarray, dict)) else list(vars(found).values())
    )
    return [np.asarray(a) for a in leaves if isinstance(a, (np.ndarray, float, int))]


QUADRATIC = objective(
    Network((Layer(make("quadratic"), 3),)),
    Data(
        (3,),
        1,
        np.random.default_rng(0).standard_normal((40, 3)),
        np.random.default_rng(1).standard_normal((40, 1)),
    ),
    moments=False,
)
STATE = np.r_[
    np.zeros(3), 0.3, -0.1 / 3, 0.2, 1e-12, 0.0, 0.0, 0.0, 0.7, 1e-12
]  # one silent, one tiny unit
CALLS = {
    "silent_units": lambda: silent_units(
        QUADRATIC, STATE * 1e-40, 0
    ),  # tiny in float64, zero in float32
    "silent_coordinates": lambda: silent_coordinates(QUADRATIC, STATE * 1e-40),
    "best_silent_unit": lambda: best_silent_unit(QUADRATIC, STATE, starts=4, steps=20),
    "silent_direction": lambda: silent_direction(
        QUADRATIC, STATE, best_silent_unit(QUADRATIC, STATE, starts=4, steps=20)
    ),
    "reduce": lambda: reduce(QUADRATIC, STATE, tolerance=1e-9),
    "effective_units": lambda: effective_units(QUADRATIC, STATE, tolerance=1e-9)[0],
    "spectrum_at": lambda: spectrum_at(QUADRATIC, STATE),
    "find_fixed_point": lambda: find_fixed_point(QUADRATIC, STATE),
    "explain_zero_modes": lambda: explain_zero_modes(QUADRATIC, STATE, np.eye(12)[:, :5]),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_judgement_is_made_in_float64(name):
    """(c) Bit for bit what it is in a float64 context. Several used to follow the caller's, where
    1e-52 is zero."""
    expected = arrays(CALLS[name]())
    with jax.enable_x64(False):
        found = arrays(CALLS[name]())
    assert len(expected) == len(found) > 0
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


# ---------------------------------------------------------- runs on disk
@pytest.mark.parametrize(
    "change", [("seed = 0", "seed = 5"), ("flow_time = 1.0", "flow_time = 2.0")]
)
def test_a_run_is_judged_by_the_experiment_it_was_trained_by(tmp_path, change):
    """(c) Nothing certifies one experiment's states on another's data. An edited file used to be
    believed."""
    e = Experiment.named("linear")
    run = train(e.replace(network=e.network.with_widths([3]), stop=Stop(flow_time=1.0)))
    file = save_run(run, tmp_path / "run") / "experiment.toml"
    text = file.read_text()
    assert text.count(change[0]) == 1
    file.write_text(text.replace(*change))
    with pytest.raises(InputError, match="not the one this run was trained by"):
        load_run(tmp_path / "run")
    file.write_text(text)
    assert jnp.array_equal(load_run(tmp_path / "run").trajectory.states, run.trajectory.states)


# ---------------------------------------------------------- the lower bound
@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("unit", ["linear", "quadratic"])
def test_noise_that_no_map_removes_is_below_nothing(unit, moments):
    """(a) The lower bound of a loss is the same by samples as by their moments: at the least
    squares of noisy targets nothing is left, however large the loss, and a part of a thousandth
    of the weights away something is."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 1))
    y = 0.7 * (x if unit == "linear" else x**2) + rng.standard_normal((40, 1))
    feature = x if unit == "linear" else x**2
    slope = (feature.T @ y / (feature.T @ feature)).item()
    noisy = Data((1,), 1, inputs=x, targets=y)
    subject = objective(Network((Layer(make(unit), 1),)), noisy, moments=moments)
    least, beside = np.array([1.0, slope]), np.array([1.0, 1.001 * slope])
    assert excess(subject, least) == pytest.approx(0, abs=1e-14)
    assert [at_lower_bound(subject, state) for state in (least, beside)] == [True, False]
    assert certify_state(subject, least).verdict == "minimum"
    left = 0.5 * (0.001 * slope) ** 2 * np.mean(feature**2)
    assert excess(subject, beside) == pytest.approx(left, rel=1e-8)
