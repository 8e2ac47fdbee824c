"""Flows to rest: closed forms of where and when, and flows that never rest."""

from __future__ import annotations

import numpy as np
import pytest

from saddlery.basis.checks import NumericalError
from saddlery.networks import Data, Layer, Network, objective
from saddlery.saddles.settling import settle
from saddlery.tasks import LinearTeacher
from saddlery.theory import mode_time
from saddlery.units import make


def test_one_linear_unit_settles_on_one_mode():
    """(a) The rank-one minimum, and the half-loss time of the mode from where it began."""
    task = LinearTeacher((1.0, 0.4))
    subject = objective(Network((Layer(make("linear"), 1),)), task.data(0))
    q, _, rt = np.linalg.svd(task.data(0).moments.cross)
    start = np.concatenate([0.05 * rt[0], 0.05 * q[:, 0]])
    found = settle(subject, start)
    assert found.refinement.converged and float(subject.loss(found.end)) == pytest.approx(
        0.08, abs=1e-14
    )
    expected = mode_time(1 - np.sqrt(0.5), 1.0, 0.05**2)
    assert found.half_time(0.58) == pytest.approx(expected, rel=2e-3)
    assert found.flow_time[0] == 0 and np.all(np.diff(found.flow_time) >= 0)
    assert len(found.loss) == len(found.states) == len(found.flow_time)


def test_a_flow_without_rest():
    """One tanh unit and a linear target: the fit improves for ever, towards infinite v."""
    x = np.linspace(-1, 1, 21)[:, None]
    subject = objective(Network((Layer(make("tanh"), 1),)), Data((1,), 1, x, x), moments=False)
    with pytest.raises(NumericalError, match="did not come to rest"):
        settle(subject, np.array([0.3, 0.3]))
