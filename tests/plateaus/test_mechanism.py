"""Growth by directions or by units: matrices made for it, and the networks of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from saddlery import Experiment, mechanism, stages, train
from saddlery.plateaus.growth import _participation


def test_participation_counts():
    """(a) k equal sizes count k, whatever their scale; zeros do not count."""
    assert _participation(np.array([3.0] * 5 + [0.0] * 7)) == pytest.approx(5)
    assert _participation(np.array([1e-200, 1e-200])) == pytest.approx(2)
    assert _participation(np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("name", "expected", "units"),
    [("linear", "directions", 50 / 3), ("relu", "directions", 5), ("quadratic", "units", 1)],
)
def test_networks_of_the_paper(name, expected, units):
    """(a) Gaussian coefficients on one direction count a third of the units; a unit alone counts
    one."""
    found = mechanism(stages(train(name)))
    assert [(g.measured, g.expected) for g in found.growths] == [(expected, expected)] * 2
    for growth in found.growths:
        assert growth.directions == pytest.approx(1, abs=0.01) and growth.units == pytest.approx(
            units, rel=0.4
        )
    assert "directions" in repr(found) and found[1].escape == 1 and len(found) == 2


def test_few_units_say_nothing():
    e = Experiment.named("quadratic")
    found = mechanism(stages(train(e.replace(network=e.network.with_widths([3])))))
    assert len(found) > 0 and {g.measured for g in found.growths} == {None}
