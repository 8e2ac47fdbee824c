"""(d) Random problems over all units against brute force: no verdict is refuted. `benchmarks/adversary.py` draws more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adversary.judge import Tally, judged, refutations
from adversary.problems import UNITS, Problem
from saddlery import certify, train

FEW = range(2 * len(UNITS))  # every unit at widths 1 and 2
ONCE = (130,)  # refuted once: a state that is zero to 1e-5, whose curvatures of 1e-16 counted as negative


@pytest.mark.slow
@pytest.mark.parametrize("number", (*FEW, *ONCE))
def test_no_verdict_is_refuted(number):
    tally = Tally()
    judged(number, tally)
    assert tally.refuted == []


def test_the_adversary_sees_wrong_verdicts():
    """Broken on purpose: a saddle called a minimum, a state beside the fixed point, another index, a wrong direction."""
    found = certify(train(Problem(UNITS.index("tanh")).experiment()))
    saddle = next(k for k, s in enumerate(found.stages) if s.certificate.verdict == "strict saddle")
    c = found[saddle].certificate
    assert refutations(found, saddle, c) == []
    wrong = {
        "minimum": dataclasses.replace(c, verdict="minimum", reason="no descent up to order 4"),
        "gradient": dataclasses.replace(c, state=c.state + 0.05),
        "index": dataclasses.replace(c, index=c.index + 3),
        "loss": dataclasses.replace(c, loss=c.loss * 1.01),
        "direction": dataclasses.replace(c, escape_direction=np.zeros_like(c.state)),
    }
    assert all(refutations(found, saddle, broken) for broken in wrong.values())
