"""(d) Random problems over all units against brute force: no verdict is refuted.
`benchmarks/adversary.py` draws more."""

from __future__ import annotations

import dataclasses
from decimal import Decimal, localcontext

import numpy as np
import pytest

from adversary.brute import DECIMAL, DIGITS, PHI, Plain
from adversary.judge import Tally, judged, refutations
from adversary.problems import UNITS, Problem
from saddlery import certify, train

FEW = range(2 * len(UNITS))  # every unit at widths 1 and 2
# Refuted once: a state that is zero to 1e-5, whose curvatures of 1e-16 counted as negative; a
# saddle and a minimum at a hundredth of the natural weights, where boxes were too wide (the adversary's)
ONCE = (130, 4025, 4361)


@pytest.mark.slow
@pytest.mark.parametrize("number", (*FEW, *ONCE))
def test_no_verdict_is_refuted(number):
    tally = Tally()
    judged(number, tally)
    assert tally.refuted == []


def test_the_adversary_sees_wrong_verdicts():
    """Broken on purpose: a saddle called a minimum, a state beside the fixed point, another index,
    a wrong direction."""
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


@pytest.mark.parametrize("unit", PHI)
def test_decimals_are_the_same_functions(unit):
    with localcontext() as context:
        context.prec = DIGITS
        for a in (-11.5, -3.3, -0.4, 0.0, 1e-9, 0.7, 2.9, 20.0):
            expected = float(PHI[unit][0](np.asarray(a)))
            assert float(DECIMAL[unit](Decimal(a))) == pytest.approx(expected, rel=1e-14, abs=1e-17)


def test_eighty_digits_of_erf():
    for a in (Decimal("0.3"), Decimal(6), Decimal("-11.5"), Decimal("13.9")):
        with localcontext() as context:
            context.prec = DIGITS + 20
            longer = DECIMAL["erf"](a)
            context.prec = DIGITS
            assert abs(DECIMAL["erf"](a) - longer) < Decimal(10) ** (2 - DIGITS)


def test_decimals_see_what_long_doubles_do_not():
    """(a) (v u^2 - y)^2 / 2 with y of 1e-18 falls by y t^3 along u = v: 1e-45 at t = 1e-9, and
    rises against it."""
    plain = Plain("quadratic", 1, np.ones((1, 1)), np.array([[1e-18]]))
    falls, rises = (-plain.change(np.zeros(2), sign * np.ones(2), 1e-9) for sign in (1, -1))
    assert float(falls) == pytest.approx(1e-45, rel=1e-6) and float(rises) == pytest.approx(
        -1e-45, rel=1e-6
    )
