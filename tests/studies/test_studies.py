"""Claims are judged as stated, studies go on where they stopped, and what they say is seen to turn
when the network does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from saddlery import Experiment, Initialization
from saddlery.basis.checks import InputError, NumericalError
from saddlery.cli import main
from saddlery.report.studies import studies_page
from saddlery.studies import STUDIES, Claim, Study, run_study, write_claims
from saddlery.studies.base import judge, of, ratio, slopes
from saddlery.studies.intervals import Count, Real, Share
from saddlery.studies.work import former_row_path, row_path
from saddlery.training import Stop


def claim(low, high, kind=Real()):  # noqa: B008 (frozen)
    return Claim(
        "c", "A sentence.", "a source", "a number", low, high, lambda rows: of(rows, "x"), kind
    )


def rows(*values):
    return [{"seed": k, "x": value} for k, value in enumerate(values)]


# ---------------------------------------------------------------------- judging
@pytest.mark.parametrize(
    ("kind", "low", "high", "values", "verdict"),
    [
        (Real(), 0, 1, [0.4, 0.5, 0.6], "holds"),
        (Real(), 0, 1, [1.9, 2.0, 2.1], "fails"),
        (Real(), 0, 1, [0.7, 1.0, 1.3], "undecided"),
        (Real(), 0, 1, [0.5], "undecided"),  # one value says nothing of the next
        (Real(), 0, 1, [2.0], "undecided"),
        (Real(), 1, float("inf"), [5.0, 7.0, 6.0], "holds"),
        (Real(), 0, 0.5, [0.5, 0.5, 0.5], "undecided"),  # equal to within what was resolved
        (Share(), 0.9, 1, [1.0] * 40, "holds"),
        (
            Share(),
            0.9,
            1,
            [1.0] * 20,
            "undecided",
        ),  # a true share of 0.86 gives this in one case of twenty
        (Share(), 0.9, 1, [1.0] * 10 + [0.0] * 10, "fails"),
        (Share(), 0, 0.1, [0.0] * 40, "holds"),
        (Count(), 0, 0.1, [0.0] * 40, "holds"),
        (Count(), 0, 0.1, [0.0] * 4, "undecided"),
        (Count(), 1.9, 2.1, [2.0] * 4, "undecided"),
        (Count(most=2), 1.9, 2, [2.0] * 40, "holds"),
        (Count(most=2), 1.9, 2, [2.0] * 4, "undecided"),
        (Count(), 1.9, 2, [0.0] * 4, "fails"),
        (Count(), 1, 1, [1.0, 1.0, 1.0], "holds"),  # of the mean itself
        (Count(), 1, 1, [1.0, 1.0, 0.0], "fails"),
        (Real(), 0, 1, [], "undecided"),
        (Real(), 0, 1, [None, None], "undecided"),
    ],
)
def test_verdicts(kind, low, high, values, verdict):
    assert judge("s", claim(low, high, kind), rows(*values)).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "values", "verdict", "measured", "seeds", "unmeasured"),
    [
        (-np.inf, 0.1, [np.inf, np.inf, None, 0.01, 0.01], "fails", np.inf, 4, 1),
        (0.0, 0.1, [-np.inf, 0.01, 0.01], "fails", -np.inf, 3, 0),
        (0.0, 0.1, [-np.inf, np.inf, 0.01], "fails", None, 3, 0),
        (0.1, 0.1, [np.inf, 0.1], "fails", np.inf, 2, 0),
        (0.1, np.inf, [np.inf, 0.01, 0.01], "undecided", np.inf, 3, 0),
        (0.1, np.inf, [np.inf, 5.0, 5.0], "undecided", np.inf, 3, 0),
        (-np.inf, np.inf, [-np.inf, np.inf], "undecided", None, 2, 0),
        (0.0, 0.1, [None, 0.01, 0.01, 0.01], "holds", 0.01, 3, 1),
        (0.0, 0.1, [None, None], "undecided", None, 0, 2),
    ],
)
def test_what_is_infinite_is_a_number_and_what_could_not_be_measured_is_counted(
    low, high, values, verdict, measured, seeds, unmeasured
):
    """The first of them used to hold, by its last two seeds."""
    found = judge("s", claim(low, high), rows(*values))
    assert found.verdict == verdict and found.measured == pytest.approx(measured)
    assert (found.seeds, found.unmeasured) == (seeds, unmeasured)
    assert found.uncertainty is None or np.isfinite(found.uncertainty)


# ---------------------------------------------------------------------- intervals
@pytest.mark.parametrize("value", [0.0, 1.0, 2.0, 7.0])
def test_counts_that_agree_are_judged_alike_whatever_they_are(value):
    """(a) The next seed differs with a probability up to p, (1 - p)^4 = 0.025. It used to be 0 +-
    0.60 and 2 +- 0."""
    found = judge("s", claim(-9, 9, Count()), rows(*[value] * 4))
    assert found.uncertainty == pytest.approx(1 - 0.025**0.25, abs=1e-12)
    low, high = Count().interval(np.full(4, value))
    assert low == pytest.approx(max(0.0, value - found.uncertainty)) and high == pytest.approx(
        value + found.uncertainty
    )


@pytest.mark.parametrize("kind", [Share(), Count(), Real()])
def test_values_that_agree_leave_an_interval(kind):
    """Its width is never zero, and it closes in with the seeds."""
    widths = [np.diff(kind.interval(np.ones(n)))[0] for n in (2, 4, 40)]
    assert widths[0] > widths[1] > widths[2] > 0


def test_worse_seeds_never_read_better():
    """(c) 39 hits and a half say less than 40 hits. They used to say more: 0.96 instead of 0.91."""
    lows = [
        Share().interval(np.array([1.0] * 39 + [last]))[0] for last in (1.0, 0.9, 0.5, 0.1, 0.0)
    ]
    assert lows == sorted(lows, reverse=True)


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda rng, n: rng.binomial(5, 0.4, n), 2.0),
        (lambda rng, n: rng.poisson(0.1, n), 0.1),
        (lambda rng, n: 2 - (rng.random(n) < 0.05), 1.95),
        (lambda rng, n: np.where(rng.random(n) < 0.1, 4, 1), 1.3),
    ],
    ids=["binomial", "rare", "one below", "skewed"],
)
@pytest.mark.parametrize("n", [4, 10, 40])
def test_the_interval_of_a_count_covers_its_mean(draw, mean, n):
    """(d) In 95 of 100 draws, within what 400 of them resolve. Student's covers "rare" in 33 of 100
    at four seeds."""
    rng = np.random.default_rng(n)
    intervals = [Count().interval(np.asarray(draw(rng, n), float)) for _ in range(400)]
    assert np.mean([low <= mean <= high for low, high in intervals]) > 0.925


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("n", [4, 10, 60])
def test_the_interval_of_shares_of_many_cases_covers_their_mean(spread, n):
    """(d) Twenty cases a seed, with shares of their own about 0.9: covered in 95 of 100 draws,
    within what 400 of them resolve, and as narrow as the spread allows: one case a seed would make
    it twice as wide."""
    rng = np.random.default_rng(n)
    mean, cases = 0.9, 20
    size = 0.09 / spread**2 - 1 if spread else np.inf  # of a beta distribution with that spread
    draw = lambda: rng.beta(mean * size, (1 - mean) * size, n) if spread else np.full(n, mean)
    intervals = [Share(cases).interval(rng.binomial(cases, draw()) / cases) for _ in range(400)]
    assert np.mean([low <= mean <= high for low, high in intervals]) > 0.925
    if n == 60 and spread < 0.1:
        assert np.median(np.diff(intervals)) < 0.5 * np.diff(Share().interval(np.full(n, mean)))[0]


def test_one_seed_of_many_cases_says_nothing_of_others():
    assert Share(20).interval(np.array([0.9])) == Share().interval(np.array([0.9]))


def test_what_a_number_can_be_bounds_its_interval():
    values = np.array([0.01, 0.02, 0.05])
    assert Real().interval(values)[0] < 0 == Real(least=0.0).interval(values)[0]
    assert Count(most=2).interval(np.full(4, 2.0))[1] == 2 < Count().interval(np.full(4, 2.0))[1]
    assert 2 < Count(most=2).interval(np.array([2.0, 3.0]))[1] <= 3  # what was seen can be
    with pytest.raises(InputError, match="shares must be from 0 to 1"):
        Share().interval(np.array([0.5, 1.5]))


def test_the_uncertainty_is_students():
    """(d) At the edge of the interval a t test has p = 0.05."""
    values = np.array([0.3, 0.5, 0.9, 1.1])
    found = judge("s", claim(0, 1), rows(*values))
    assert found.measured == pytest.approx(values.mean()) and found.seeds == 4
    assert ttest_1samp(values, values.mean() + found.uncertainty).pvalue == pytest.approx(0.05)


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (3, 9), (20, 20)])
def test_the_interval_of_a_share_is_exact(hits, n):
    """(d) scipy's own Clopper-Pearson interval."""
    low, high = Share().interval(np.array([1.0] * hits + [0.0] * (n - hits)))
    found = binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_criteria_in_words():
    assert claim(0.5, 1).criterion == "a number from 0.5 to 1"
    assert (
        claim(2, 2).criterion == "a number is 2"
        and claim(2, float("inf")).criterion == "a number at least 2"
    )
    assert claim(-float("inf"), 2).criterion == "a number at most 2"


def test_helpers_of_claims():
    """(a) Ratios seed by seed, and exponents of exact power laws."""
    data = [
        {"seed": s, "kind": k, "eps": e, "y": (s + 1) * e**0.7}
        for s in (1, 0)
        for k in "ab"
        for e in (1e-2, 1e-4)
    ]
    assert slopes(data, "y", "eps", kind="a") == pytest.approx([0.7, 0.7])
    np.testing.assert_allclose(
        ratio(data, "y", {"kind": "a", "eps": 1e-2}, {"kind": "b", "eps": 1e-4}), 100**0.7
    )
    lost = [row | {"y": None} if row["seed"] == 1 and row["eps"] == 1e-4 else row for row in data]
    assert slopes(lost, "y", "eps", kind="a") == pytest.approx([0.7, np.nan], nan_ok=True)


def test_ratios_are_of_one_seed():
    """(a) Seeds that only one side has are left out, in whatever order rows stand; what is over
    zero is infinite."""
    data = [
        *({"seed": seed, "side": "above", "y": y} for seed, y in ((2, 100.0), (1, 1.0), (5, 3.0))),
        *({"seed": seed, "side": "below", "y": y} for seed, y in ((0, 4.0), (1, 8.0), (5, 0.0))),
    ]
    found = ratio(data, "y", {"side": "above"}, {"side": "below"})
    assert found.tolist() == [1 / 8, np.inf]
    with pytest.raises(InputError, match=r"one of every seed, got 6 of 4 seeds; give more labels"):
        ratio(data, "y", {}, {"side": "below"})


@pytest.mark.parametrize(
    ("study", "name", "labels", "quantity"),
    [
        ("diagonal", "diagonal.falls", [{"scale": 1e-16}, {"scale": 1e-4}], "error"),
        ("figure2d", "figure2d.shorter", [{"scale": 1e-6}, {"scale": 1e-4}], "first_length"),
        (
            "basin",
            "basin.linear.spectrum",
            [{"network": "linear", "size": 1e-12, "ratio": r} for r in (0.4, 0.8)],
            "critical",
        ),
    ],
)
def test_claims_of_two_rows_a_seed_leave_out_a_seed_that_lacks_one(study, name, labels, quantity):
    """A run that fails leaves its seed alone in one of two cases."""
    (claim,) = [claim for claim in STUDIES[study].claims if claim.id == name]
    numbers = iter([0.2, 0.3, 0.5, 0.7, 0.11, 0.13])
    data = [
        {**label, "seed": seed, quantity: next(numbers)} for label in labels for seed in range(3)
    ]
    whole = list(claim.values(data))
    assert len(whole) == 3 and list(claim.values(data[1:])) == whole[1:]


# -------------------------------------------------------------------- running
@pytest.fixture
def counted(monkeypatch):
    """A small study that counts its measurements, and fails on one experiment."""
    calls = []

    def measure(experiment):
        calls.append(experiment.seed)
        if experiment.seed == 2:
            raise NumericalError("the run failed")
        return {"x": float(experiment.seed)}

    def design(seeds):
        for seed in range(seeds):
            yield {"case": "only"}, Experiment.named("linear").replace(seed=seed)

    monkeypatch.setattr(STUDIES, "members", {})
    study = Study(
        "small",
        "A small study",
        design,
        measure,
        (claim(0, 3),),
        lambda r, axes: axes.plot(of(r, "x")),
        4,
        6,
    )
    return study, calls


def test_a_study_goes_on_where_it_stopped(counted, tmp_path):
    """Nothing is measured twice, and a damaged row anew; the full size only adds."""
    study, calls = counted
    first = run_study(study, folder=tmp_path)
    assert calls == [0, 1, 2, 3] and first.judged[0].seeds == 3
    assert (
        len(first.failed) == 1
        and "the run failed" in first.failed[0]
        and "not measured" in repr(first)
    )
    again = run_study(study, folder=tmp_path)
    assert calls == [0, 1, 2, 3] and again.judged == first.judged
    run_study(study, folder=tmp_path, full=True)
    assert calls == [0, 1, 2, 3, 4, 5]
    half = study.design(1)
    row_path(tmp_path, study.name, next(iter(half))[1]).write_text('{"x": ')
    assert run_study(study, folder=tmp_path).judged == first.judged and calls == [
        0,
        1,
        2,
        3,
        4,
        5,
        0,
    ]


def test_a_stopped_study_equals_an_undisturbed_one(counted, tmp_path):
    study, _ = counted
    whole = run_study(study)

    def stop(fraction, words):
        if fraction >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, folder=tmp_path, progress=stop)
    assert run_study(study, folder=tmp_path).judged == whole.judged


def test_studies_that_share_a_folder_share_no_rows(counted, tmp_path):
    """Each is judged by what it measured itself, and what the other measured is kept."""
    first, calls = counted
    second = replace(first, name="second", measure=lambda experiment: {"x": 7.0})
    before = run_study(first, folder=tmp_path)
    assert [row["x"] for row in run_study(second, folder=tmp_path).rows] == [7.0] * 4
    assert run_study(first, folder=tmp_path).judged == before.judged and calls == [0, 1, 2, 3]


def test_rows_of_0_1_0_bear_no_study(counted, tmp_path):
    study, calls = counted
    before = run_study(study, folder=tmp_path)
    for _, experiment in study.design(study.quick):
        row_path(tmp_path, study.name, experiment).rename(former_row_path(tmp_path, experiment))
    assert run_study(study, folder=tmp_path).judged == before.judged and calls == [0, 1, 2, 3]


def test_pages_and_claims(counted, tmp_path):
    outcome = run_study(counted[0])
    page = studies_page([outcome])
    assert (
        "<svg" in page
        and "A sentence." in page
        and "http" not in page.split("<body>")[1].replace("http://www.w3.org", "")
    )
    write_claims([outcome], tmp_path / "claims.json")
    (entry,) = json.loads((tmp_path / "claims.json").read_text())
    assert set(entry) == {
        "study", "claim", "sentence", "source", "criterion", "measured", "uncertainty", "verdict", "seeds",
        "unmeasured",
    }  # fmt: skip


def test_a_figure_that_fails_loses_no_claim(counted):
    def broken(rows, axes):
        raise ValueError("no such <column>")

    page = studies_page([run_study(replace(counted[0], name="undrawn", draw=broken))])
    words = "could not be drawn: ValueError: no such &lt;column&gt;."
    assert words in page and "A sentence." in page and "<svg" not in page


def test_seeds_that_could_not_be_measured_are_said(counted, tmp_path):
    """In the table and on the page."""
    study, _ = counted
    holed = replace(
        study,
        name="holed",
        measure=lambda e: {"x": 1.0 if e.seed else float("nan")},
        claims=(claim(0, 3),),
    )
    outcome = run_study(holed)
    words = "c: 1 of 4 seeds could not be measured and have no part in its mean"
    assert outcome.judged[0].unmeasured == 1
    assert words in " ".join(repr(outcome).split()) and words in studies_page([outcome])


# ------------------------------------------------------------- shipped studies
def test_shipped_studies_are_well_formed():
    """Ids are unique and begin with their study; sizes grow; every criterion and source is
    there."""
    ids = [c.id for study in STUDIES.values() for c in study.claims]
    assert len(ids) == len(set(ids)) and len(STUDIES) >= 11
    for study in STUDIES.values():
        assert 1 <= study.quick <= study.full and study.claims
        assert all(
            c.id.startswith(f"{study.name}.") and c.low <= c.high and c.source for c in study.claims
        )
        experiments = list(study.design(1))
        assert len({e.identity for _, e in experiments}) == len(experiments)


def test_claims_turn_when_the_networks_do(monkeypatch):
    """Broken on purpose: from large weights the study of the initial scale finds no stages, and
    says that claims fail."""
    study = STUDIES["figure2d"]
    right = {j.claim: j.verdict for j in run_study(study).judged}
    assert (
        right["figure2d.shorter"] == "holds" and "fails" not in right.values()
    )  # four seeds leave counts undecided
    large = Initialization(scale=1.0)
    swapped = lambda seeds: (
        (labels, e.replace(initialization=large)) for labels, e in study.design(seeds)
    )
    monkeypatch.setattr(STUDIES, "members", {})
    broken = Study(study.name, study.title, swapped, study.measure, study.claims, study.draw, 2, 2)
    assert {j.claim: j.verdict for j in run_study(broken).judged}["figure2d.small"] == "fails"


def test_the_exponent_of_theorem_4():
    """(a) 1 - s2/s1, from two seeds."""
    study = STUDIES["theorem4"]
    pairs = [(labels, e) for labels, e in study.design(2) if labels["ratio"] == 0.5]
    measured = [{**labels, "seed": e.seed, **study.measure(e)} for labels, e in pairs]
    assert slopes(measured, "rest", "scale", ratio=0.5) == pytest.approx([0.5, 0.5], abs=0.02)


# -------------------------------------------------------------- command line
def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study = STUDIES["figure2c"]
    monkeypatch.setattr(STUDIES, "members", {})
    Study(study.name, study.title, study.design, study.measure, study.claims, study.draw, 1, 1)
    assert main(["study", "figure2c", "--json"]) == 0
    out = capsys.readouterr().out
    assert len(json.loads(out)) == len(study.claims)
    assert json.loads((tmp_path / "studies/figure2c/claims.json").read_text()) == json.loads(out)
    assert (tmp_path / "studies/figure2c/index.html").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "theorem5"], "study 'theorem5' is not known; did you mean 'theorem4'"),
        (["study"], "name one study or give --all"),
        (["study", "theorem4", "--all"], "name one study or give --all"),
        (["study", "theorem4", "--seed", "1"], "a study has its own seeds"),
    ],
)
def test_misuse(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_graph_in_a_terminal(capsys):
    assert main(["graph", "linear", "--set", "network.layers.0.width=3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["nodes"]) == 4 and len(record["edges"]) == 4


def test_an_experiment_is_its_own_key():
    """Its row is found by its content."""
    a, b = Experiment.named("linear"), Experiment.named("linear").replace(stop=Stop(flow_time=1.0))
    assert a.identity != b.identity
    with pytest.raises(InputError):
        a.replace(nothing=1)
