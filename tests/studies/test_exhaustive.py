"""The study of exhaustive constructions: planted fixed points of every class, its design, and what
it says."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from outcomes import fixed_point, refusal
from planted import random_fixed_point
from saddlery import certify_state
from saddlery.basis.checks import NumericalError
from saddlery.networks import Layer, Network, flatten
from saddlery.report.studies import studies_page
from saddlery.studies import STUDIES, Study, exhaustive, run_study
from saddlery.studies.base import judge
from saddlery.studies.exhaustive import ARCHITECTURES, CLASSES, classify, design, notes
from saddlery.symmetry import embed
from saddlery.units import dense

PLANTED = (  # unit, units of the planted network, units of the wide one, construction, class
    ("tanh", 2, 4, "ii", "embedded"),
    ("relu", 2, 4, "iii", "embedded"),
    ("linear", 1, 3, "iv", "embedded"),
    ("tanh", 2, 4, "i", "duplicate"),
    ("tanh", 2, 2, "i", "full"),
)


def planted(unit, narrow, wide, construction):
    """(objective, theta): data for which `narrow` random units are a fixed point, embedded in a
    network of `wide`."""
    network = Network((Layer(dense(unit), narrow),))
    objective, theta = random_fixed_point(network, (3,), 2, seed=3, samples=20)
    if wide == narrow:
        return objective, theta
    params = objective.params(jnp.asarray(theta))
    larger, params = embed(network, params, wide, construction=construction, seed=1)
    return objective.with_network(larger), flatten(params)


@pytest.fixture(scope="module")
def certified():
    """Every planted point with its certificate: state, objective, certificate, class."""
    found = []
    for unit, narrow, wide, construction, name in PLANTED:
        objective, theta = planted(unit, narrow, wide, construction)
        found.append((objective, theta, certify_state(objective, theta), name))
    return found


def check_classes(certified):
    for objective, _, certificate, name in certified:
        assert classify(objective, certificate)[0] == name


# ------------------------------------------------------------------ classification
@pytest.mark.slow
def test_planted_fixed_points(certified):
    """(b) Every construction makes its own class, and all units of a generic fixed point are
    needed."""
    check_classes(certified)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [True, False])
def test_a_broken_classifier_is_seen(certified, wrong, monkeypatch):
    """Broken on purpose: duplicates taken for embedded units, and the other way round."""
    monkeypatch.setattr(exhaustive, "_embeds", lambda *arguments: wrong)
    with pytest.raises(AssertionError):
        check_classes(certified)


def planted_certificate(unit, narrow, wide, construction):
    """What a certificate says of a planted point, without the cost of judging which kind of saddle
    it is."""
    objective, theta = planted(unit, narrow, wide, construction)
    narrower = {"narrow_units": (narrow,), "narrow_state": theta[:0], "construction": construction}
    return objective, fixed_point(verdict="minimum", state=theta, **narrower)


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: "-".join(map(str, case)))
def test_classes_from_certificates(case):
    """(b) The class follows from the planted state and the narrow units alone."""
    objective, certificate = planted_certificate(*case[:4])
    assert classify(objective, certificate)[0] == case[4]


def test_no_class_without_a_fixed_point_behind_the_plateau():
    """A refusal is none; an inexact narrow network is not enough."""
    objective, certificate = planted_certificate(*PLANTED[0][:4])
    refused = refusal(reason="far: away", nearest=certificate)
    assert classify(objective, refused) == ("none", "far: away")
    assert classify(objective, dataclasses.replace(certificate, narrow_state=None))[0] == "full"


# ------------------------------------------------------------------------ design
@pytest.mark.slow
def test_the_design_is_determined_by_numbers():
    """Experiments are the same every time, all different, and the quick ones the first of the full
    ones."""
    study = STUDIES["exhaustive"]
    quick, again = list(design(study.quick)), list(design(study.quick))
    assert [e.identity for _, e in quick] == [e.identity for _, e in again]
    full = {e.identity for _, e in design(study.full)}
    assert {e.identity for _, e in quick} <= full
    assert 60 <= len(quick) <= 100 and len(full) >= 2000


def test_quick_experiments_share_their_programs():
    """One width an architecture in the quick size, two in the full one, and data of one shape."""
    for name, architecture in ARCHITECTURES.items():
        drawn = [architecture.experiment(name, k) for k in range(40)]
        assert (
            len({e.network.widths for e in drawn[:6]}) == 1
            and len({e.network.widths for e in drawn}) == 2
        )
        assert len({len(e.objective().inputs) for e in drawn[:6]}) == 1


# --------------------------------------------------------------------- what it says
def row(name, number, classes, exceptions=()):
    """A row as `measure` makes it, from (stage, class) pairs."""
    counts = {kind: {c: classes.count((kind, c)) for c in CLASSES} for kind in exhaustive.KINDS}
    rest = {"farthest": 0.1, "verdicts": {}, "settled": 1.0, "exceptions": list(exceptions)}
    return {
        "architecture": name,
        "seed": number,
        "share": 1.0,
        "between": None,
        "counts": counts,
        **rest,
    }


EXCEPTION = {"identity": "abc", "number": 4, "stage": "intermediate", "class": "none", "loss": 0.25}
ROWS = [
    row("linear", 0, [("initial", "embedded"), ("intermediate", "embedded"), ("end", "full")]),
    row(
        "linear",
        1,
        [("initial", "embedded"), ("intermediate", "none")],
        [{**EXCEPTION, "reason": "stalled: at 1e-3"}],
    ),
    row(
        "linear",
        2,
        [("initial", "embedded"), ("intermediate", "none")],
        [{**EXCEPTION, "reason": "stalled: at 2e-3"}],
    ),
]


def test_notes_group_exceptions():
    """One line an architecture, one a kind of exception with its count and one example, however
    many there are."""
    said = notes(ROWS)
    assert said[0] == (
        "1 of 3 intermediate plateaus have a fixed point beside them, and 1 of these are embedded"
    )
    assert said[1] == (
        "linear: embedded 3 of 3 initial, 1 of 3 intermediate, 0 of 1 end; 3 "
        "of 3 runs ended at rest"
    )
    assert said[2] == "- 2 intermediate none stalled, as number 4 (abc, loss 0.25)"
    assert said[3].startswith("stalled: ") and len(said) == 4


def test_a_run_that_fails_is_an_exception(monkeypatch):
    def fails(experiment):
        raise NumericalError("it diverged")

    monkeypatch.setattr(exhaustive, "train", fails)
    found = exhaustive.measure(ARCHITECTURES["linear"].experiment("linear", 7))
    assert np.isnan(found["share"]) and found["settled"] == 0
    assert (
        found["exceptions"][0]["number"] == 7 and found["exceptions"][0]["reason"] == "it diverged"
    )
    assert notes([{"architecture": "linear", **found}])[2].startswith(
        "- 1 run failed it diverged, as number 7"
    )


def test_claims_speak_of_runs_with_such_plateaus():
    """Runs that have none are left out, those that failed are not measured."""
    of_none = row("linear", 3, [("initial", "embedded"), ("end", "full")])
    failed = row("linear", 4, [], [{**EXCEPTION, "class": "failed"}]) | {"share": None}
    claims = {claim.id: claim for claim in STUDIES["exhaustive"].claims}
    between = judge("exhaustive", claims["exhaustive.linear.between"], [*ROWS, of_none, failed])
    before_end = judge("exhaustive", claims["exhaustive.linear"], [*ROWS, of_none, failed])
    assert (between.seeds, between.unmeasured) == (0, 4)  # `row` measures no share between
    assert (before_end.seeds, before_end.unmeasured) == (4, 1)


def test_shares_in_the_picture():
    """(a) Bars of one architecture stack to one, before the end and at the end."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    axes = Figure().subplots()
    exhaustive.draw(ROWS, axes)
    heights = np.array(
        [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    ).reshape(2, len(CLASSES))
    np.testing.assert_allclose(heights.sum(axis=1), 1.0)
    np.testing.assert_allclose(heights[0], [4 / 6, 0, 0, 2 / 6])


def small_study(monkeypatch, names, measure=None):
    study = STUDIES["exhaustive"]
    monkeypatch.setattr(STUDIES, "members", {})
    chosen = lambda seeds: [pair for pair in design(seeds) if pair[0]["architecture"] in names]
    parts = (study.claims, study.draw, 1, 1, study.notes)
    return Study(study.name, study.title, chosen, measure or study.measure, *parts)


def test_notes_are_shown(monkeypatch, tmp_path):
    """In a terminal and on the page; kept rows are not measured again."""
    kept = {k: v for k, v in ROWS[1].items() if k not in ("architecture", "seed")}
    first = run_study(small_study(monkeypatch, ["linear"], lambda e: kept), folder=tmp_path)
    line = "- 1 intermediate none stalled, as number 4 (abc, loss 0.25)"
    assert line in repr(first) and line in studies_page([first])

    def never(experiment):
        raise AssertionError("measured twice")

    assert (
        run_study(small_study(monkeypatch, ["linear"], never), folder=tmp_path).judged
        == first.judged
    )


@pytest.mark.slow
def test_end_to_end(monkeypatch, tmp_path):
    """(a) Four architectures whose theory is complete: all plateaus of one experiment each are
    embedded fixed points."""
    names = ("linear", "relu_orthogonal", "quadratic", "attention_rank1")
    outcome = run_study(small_study(monkeypatch, names), folder=tmp_path)
    assert [r["share"] for r in outcome.rows] == [1.0] * 4 and not outcome.failed
    assert all(r["settled"] and not r["exceptions"] for r in outcome.rows)
    claims = {j.claim: j.verdict for j in outcome.judged}
    assert claims["exhaustive.linear"] != "fails" and claims["exhaustive.tanh"] == "undecided"
