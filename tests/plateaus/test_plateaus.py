"""Plateaus: staircases with known answers (closed form), invariances, and curves that have none."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from saddlery.basis.checks import InputError
from saddlery.plateaus import Plateau, clean_log, find_plateaus
from saddlery.plateaus.plateau import last_digits


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def staircase(t, heights, rates, middles):
    return sum(
        a * (1 - sigmoid(2 * s * (t - m))) ** 2
        for a, s, m in zip(heights, rates, middles, strict=True)
    )


def linear_network(t, u0, strengths=(2.0, 1.0, 0.5, 0.25, 0.125)):
    """0.5 sum (s - u)^2 with u' = 2 u (s - u), u(0) = u0 (Saxe, McClelland, Ganguli 2014)."""
    u = [s / (1 + (s / u0 - 1) * np.exp(-2 * s * t)) for s in strengths]
    return 0.5 * sum((s - v) ** 2 for s, v in zip(strengths, u, strict=True))


def blow_up(t, v0):
    """0.5 (1 - v)^2 along v' = v^2 (1 - v), from 1/v0 - 1/v + logit v - logit v0 = t."""
    w = np.concatenate([np.geomspace(v0, 0.5, 20000), 1 - np.geomspace(0.5, 1e-14, 20000)[1:]])
    when = 1 / v0 - 1 / w + np.log(w / (1 - w)) - np.log(v0 / (1 - v0))
    return 0.5 * (1 - np.interp(t, when, w)) ** 2


def kinds(found):
    return [p.kind for p in found]


def moving(found):
    return [p for p in found if p.kind != "end"]


def steps(count):
    return ["initial", *["intermediate"] * (count - 1), "end"]


def random_staircase(rng, count, ratio=100.0):
    """Heights, rates, middles and duration with every dwell 2 to 20 widths of the slower
    neighbouring drop."""
    heights, rates = np.exp(rng.uniform(0, np.log(ratio), count)), np.exp(rng.uniform(-1, 2, count))
    middles, now = [], 0.0
    for k in range(count):
        dwell = (
            np.exp(rng.uniform(np.log(2), np.log(20))) * 1.85 / min(rates[max(k - 1, 0)], rates[k])
        )
        middles.append(now + dwell + 1.46 / rates[k])
        now = middles[-1] + 0.39 / rates[k]
    return heights, rates, np.array(middles), now + 10 / rates[-1]


THREE = ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.0, 10.0, 16.0])
GRID = np.linspace(0, 20, 4001)


def check_staircase(found, heights, rates, middles, reach=4.0):
    """Kinds right, each interval between the neighbouring drops and covering most of the way, level
    right."""
    assert kinds(found) == steps(len(heights))
    levels = np.append(np.cumsum(heights[::-1])[::-1], 0.0)
    for k, p in enumerate(found):
        if k > 0:
            assert middles[k - 1] < p.start < middles[k - 1] + reach / rates[k - 1]
        if k < len(middles):
            assert middles[k] - reach / rates[k] < p.end < middles[k]
        assert p.loss == pytest.approx(levels[k], abs=0.1 * min(heights[max(k - 1, 0) : k + 1]))


# ---------------------------------------------------------------- known answers (closed form)
def test_three_steps():
    found = find_plateaus(GRID, staircase(GRID, *THREE))
    check_staircase(found, *THREE)
    for p in found:
        assert np.all(
            (GRID[p.first : p.last + 1] >= p.start) & (GRID[p.first : p.last + 1] <= p.end)
        )
        assert p.first <= p.quietest <= p.last


def test_interval_ends_where_loss_is_a_twentieth_of_the_drop_away():
    loss = staircase(GRID, *THREE)
    middle = find_plateaus(GRID, loss)[1]
    assert np.interp(middle.start, GRID, loss) == pytest.approx(2.05, abs=0.002)
    assert np.interp(middle.end, GRID, loss) == pytest.approx(1.95, abs=0.002)


def test_strength_is_log_ratio_of_speeds_by_a_second_route():
    """Two straight drops of slope 1 joined by a straight plateau of slope 1/20."""
    t, loss = np.array([0.0, 1.0, 11.0, 12.0]), np.array([2.5, 1.5, 1.0, 0.0])
    (plateau,) = moving(
        find_plateaus(np.linspace(0, 12, 1201), np.interp(np.linspace(0, 12, 1201), t, loss))
    )
    assert plateau.kind == "intermediate"
    assert plateau.strength == pytest.approx(np.log(20), abs=1e-6)


def test_quietest_is_where_a_noise_free_run_is_slowest():
    t = np.linspace(0, 60, 6001)
    strengths, u0 = (1.0, 0.5), 1e-6
    u = [s / (1 + (s / u0 - 1) * np.exp(-2 * s * t)) for s in strengths]
    speed = sum((s - v) * 2 * v * (s - v) for s, v in zip(strengths, u, strict=True))
    first, second, last = find_plateaus(t, linear_network(t, u0, strengths))
    assert first.quietest == 0 and last.quietest == len(t) - 1
    inside = slice(second.first, second.last + 1)
    assert abs(second.quietest - (second.first + int(np.argmin(speed[inside])))) <= 1


@pytest.mark.parametrize("u0", [1e-8, 1e-7, 1e-6])
def test_linear_network_shows_all_its_saddles(u0):
    t = np.linspace(0, 160, 20001)
    found = find_plateaus(t, linear_network(t, u0))
    assert kinds(found) == steps(5)
    saddles = [0.5 * sum(s**2 for s in (2.0, 1.0, 0.5, 0.25, 0.125)[k:]) for k in range(5)]
    for p, level in zip(found, saddles, strict=False):
        assert p.loss == pytest.approx(level, rel=0.15)
    drops = [np.log(s / u0) / (2 * s) for s in (2.0, 1.0, 0.5, 0.25, 0.125)]
    for p, before, after in zip(found[1:], drops, drops[1:], strict=False):
        assert before < p.start < p.end < after


@pytest.mark.parametrize("u0", [1e-4, 1e-3])
def test_linear_network_from_a_large_start_has_no_dwell_between_its_drops(u0):
    """Modes a factor 2 apart overlap: speed between the drops never falls to half of the slower
    one's."""
    t = np.linspace(0, 160, 20001)
    assert kinds(find_plateaus(t, linear_network(t, u0))) == ["initial", "end"]


@pytest.mark.parametrize("v0", [1e-2, 1e-3, 1e-4])
def test_blow_up(v0):
    t = np.linspace(0, 2 / v0, 5001)
    first, last = find_plateaus(t, blow_up(t, v0))
    jump = 1 / v0 + np.log(1 / v0) - 2
    assert (first.kind, last.kind) == ("initial", "end")
    assert first.quietest == 0
    assert jump - 45 < first.end < jump < last.start < jump + 10


@pytest.mark.parametrize("count", range(1, 7))
def test_one_to_six_drops(count):
    t = np.linspace(0, 10 * count + 10, 3001)
    made = ([1.0] * count, [1.5] * count, 10.0 * np.arange(1, count + 1) - 3)
    check_staircase(find_plateaus(t, staircase(t, *made)), *made)


@pytest.mark.parametrize(
    "made",
    [
        ([1.0, 0.05, 1.0], [2.0, 2.0, 2.0], [8.0, 16.0, 24.0]),  # two plateaus 5 % apart
        (
            [1.0, 1.0, 1.0],
            [6.0, 6.0, 6.0],
            [4.0, 6.0, 26.0],
        ),  # one ten times shorter than its neighbour
        ([1.0, 0.01, 1.0], [2.0, 2.0, 2.0], [8.0, 18.0, 28.0]),  # a drop 100 times smaller, inside
        ([1.0, 0.01], [2.0, 2.0], [8.0, 20.0]),  # last
        ([0.01, 1.0], [2.0, 2.0], [8.0, 20.0]),  # first
    ],
)
def test_unequal_steps(made):
    t = np.linspace(0, 40, 4001)
    check_staircase(find_plateaus(t, staircase(t, *made)), *made)


# ---------------------------------------------------------------- curves without a dwell
CONVEX = {
    "exponential": lambda t: 3 * np.exp(-t / 2) + 0.3,
    "two exponentials": lambda t: np.exp(-t) + np.exp(-t / 20),
    "power": lambda t: 1 / (1 + t),
    "root": lambda t: 1 / np.sqrt(1 + t),
    "stretched": lambda t: np.exp(-np.sqrt(t)),
    "compressed": lambda t: np.exp(-((t / 3) ** 1.5)),
    "ramp": lambda t: 5 - t,
    "rising": lambda t: t,
}


@pytest.mark.parametrize("name", CONVEX)
@pytest.mark.parametrize("last", [1.0, 20.0, 1000.0])
def test_no_plateau_in_a_curve_that_only_slows_down(name, last):
    for t in (
        np.linspace(0, last, 997),
        np.append(0, np.geomspace(last / 1e4, last, 500)),
        np.linspace(0, last, 17),
    ):
        assert moving(find_plateaus(t, CONVEX[name](t))) == []


def test_end_only_after_the_speed_has_died_out():
    for last, wanted in ((3.0, []), (5.0, []), (6.5, []), (7.5, ["end"]), (40.0, ["end"])):
        t = np.linspace(0, last, 2001)
        assert kinds(find_plateaus(t, np.exp(-t))) == wanted
    assert kinds(find_plateaus(GRID, 5 - GRID)) == []


def test_single_sigmoid():
    assert kinds(find_plateaus(GRID, sigmoid(-3 * (GRID - 10)))) == ["initial", "end"]


def test_shoulder_without_dwell():
    for gap, wanted in (
        (2.0, 0),
        (3.0, 0),
        (4.0, 1),
        (6.0, 1),
    ):  # two sigmoids of width 1 merge as they near
        loss = sigmoid(-2 * (GRID - 8)) + sigmoid(-2 * (GRID - 8 - gap))
        assert kinds(find_plateaus(GRID, loss)).count("intermediate") == wanted


def test_a_ramp_underneath_makes_a_shoulder():
    for slope, wanted in (
        (0.001, 1),
        (0.3, 0),
    ):  # the drops' fastest halves lose about 0.5 per unit of time
        loss = staircase(GRID, [1.0, 1.0], [1.0, 1.0], [6.0, 13.0]) - slope * GRID
        assert kinds(find_plateaus(GRID, loss)).count("intermediate") == wanted


@pytest.mark.parametrize("n", range(1, 6))
def test_few_samples(n):
    t = np.arange(n) * 1.0
    rng = np.random.default_rng(n)
    for loss in (t[::-1], t[::-1] ** 3, rng.normal(size=n), 2.0**-t):
        found = find_plateaus(t, loss)
        assert all(0 <= p.first <= p.quietest <= p.last < n and p.start <= p.end for p in found)
    assert n > 1 or kinds(found) == ["end"]


@pytest.mark.parametrize("value", [0.0, 1.0, -3e200, 1e-300])
def test_constant_loss_is_one_end(value):
    (only,) = find_plateaus(np.arange(7), np.full(7, value))
    assert only == Plateau("end", 0.0, 6.0, value, np.inf, 6, 0, 6)


def test_small_swings_are_no_plateaus():
    t = np.linspace(0, 20, 4001)
    for rate in (
        2.0,
        8.0,
        100.0,
        300.0,
    ):  # speed varying by a factor 3, or the loss truly rising; see find_plateaus
        assert moving(find_plateaus(t, np.exp(-t / 3) * (1 + 0.02 * np.sin(rate * t)))) == []
    overshoot = staircase(t, *THREE) - 0.05 * np.exp(-(((t - 5) / 0.3) ** 2))
    check_staircase(find_plateaus(t, overshoot), *THREE)


def test_spikes_are_ignored():
    loss = staircase(GRID, *THREE) + 0.01 * np.random.default_rng(0).normal(size=GRID.size)
    loss[[700, 1500, 1501]] = 40.0
    check_staircase(find_plateaus(GRID, loss), *THREE)


# ---------------------------------------------------------------- invariance
def same(one, other, time_factor=1.0, *, ends=0.08, strength=0.15):
    assert kinds(one) == kinds(other)
    for p, q in zip(one, other, strict=True):
        length = p.end - p.start
        assert q.start / time_factor == pytest.approx(p.start, abs=ends * length)
        assert q.end / time_factor == pytest.approx(p.end, abs=ends * length)
        assert q.strength == pytest.approx(p.strength, abs=strength)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 6),
    st.sampled_from([1e-9, 0.3, 1e12]),
    st.sampled_from([-50.0, 4.0, 200.0]),
)
def test_random_staircases_and_rescalings(seed, count, factor, shift):
    *made, last = random_staircase(np.random.default_rng(seed), count)
    t = np.linspace(0, last, 4001)
    loss = staircase(t, *made)
    found = find_plateaus(t, loss)
    check_staircase(found, *made)
    exact = {"ends": 1e-6, "strength": 1e-6}
    same(found, find_plateaus(t, factor * loss), **exact)
    same(found, find_plateaus(t * factor, loss), factor, **exact)
    same(found, find_plateaus(t, loss + shift), ends=1e-4, strength=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_save_grids_agree(seed, count):
    rng = np.random.default_rng(seed)
    *made, last = random_staircase(rng, count)
    fine = np.linspace(0, last, 40001)
    arc = (
        np.append(0, np.cumsum(np.abs(np.diff(staircase(fine, *made))))) / sum(made[0])
        + 0.2 * fine / last
    )
    found = find_plateaus(fine, staircase(fine, *made))
    for t in (
        np.linspace(0, last, 1500),
        np.unique(np.append(rng.uniform(0, last, 4000), [0, last])),
        np.append(0, np.geomspace(last / 1e4, last, 6000)),
        np.interp(
            np.linspace(0, arc[-1], 1000), arc, fine
        ),  # dense where the loss moves, sparse on plateaus
    ):
        same(
            found, find_plateaus(t, staircase(t, *made)), strength=0.6
        )  # coarse grids blunt the fastest drops


def test_rounding_and_single_precision_change_nothing():
    t = np.linspace(0, 200, 10001)
    loss = linear_network(t, 1e-7)
    found = find_plateaus(t, loss)
    jitter = np.random.default_rng(0).normal(size=t.size)
    assert found[-1].loss < 1e-14
    same(found, find_plateaus(t, loss + 1e-16 * jitter), ends=1e-3, strength=1e-3)
    same(
        found, find_plateaus(t, np.maximum(loss, 1e-14 * np.abs(jitter))), ends=1e-3, strength=1e-3
    )
    same(found, find_plateaus(t, loss.astype(np.float32)), ends=5e-3, strength=1e-2)
    same(found, find_plateaus(t, loss * (1 + 1e-7 * jitter)), ends=0.06, strength=0.1)


# ---------------------------------------------------------------- noise
def noise(rng, n, memory=0.0):
    return lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.normal(size=n + 2000))[2000:]


@pytest.mark.parametrize("memory", [0.0, 0.9])
@pytest.mark.parametrize("sd", [0.01, 0.03])
def test_mini_batch_noise_leaves_the_plateaus(sd, memory):
    rng = np.random.default_rng(3)
    for n in (3000, 10000):
        t = np.linspace(0, 20, n)
        clean = staircase(t, *THREE)
        check_staircase(find_plateaus(t, clean + sd * noise(rng, n, memory)), *THREE, reach=6.0)
        if not memory:
            same(
                find_plateaus(t, clean),
                find_plateaus(t, clean + sd * noise(rng, n)),
                ends=0.2,
                strength=4.0,
            )


@pytest.mark.slow
def test_random_noisy_staircases():
    rng = np.random.default_rng(1)
    for _ in range(60):
        *made, last = random_staircase(rng, count := int(rng.integers(1, 6)), ratio=10.0)
        t = np.linspace(0, last, int(rng.integers(3000, 8000)))
        found = find_plateaus(t, staircase(t, *made) + 0.01 * made[0].min() * noise(rng, t.size))
        assert kinds(found) == steps(count)


def test_proportional_noise_leaves_the_plateaus():
    loss = (staircase(GRID, *THREE) + 0.1) * (
        1 + 0.02 * np.random.default_rng(1).normal(size=GRID.size)
    )
    assert kinds(find_plateaus(GRID, loss)) == steps(3)


@pytest.mark.parametrize("sd", [1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3])
def test_noise_makes_no_plateaus(sd):
    rng = np.random.default_rng(5)
    false = 0
    for name in ("exponential", "two exponentials", "power", "stretched", "ramp"):
        for n in (300, 1000, 5000):
            t = np.linspace(0, 10, n)
            loss = CONVEX[name](t)
            false += bool(moving(find_plateaus(t, loss + sd * np.ptp(loss) * noise(rng, n))))
    assert false == 0


def unsteady(rng, last, n, freedom):
    """Time and the progress of a run whose steps are independent chi-square values, as with batches
    of a few samples."""
    return np.linspace(0, last, n), np.cumsum(rng.chisquare(freedom, n) / freedom) * last / n


@pytest.mark.slow
@pytest.mark.parametrize("freedom", [1, 2, 5])
def test_random_speed_makes_no_plateaus_and_hides_none(freedom):
    """The loss never rises, so that only the jitter of its speed shows the noise."""
    rng = np.random.default_rng(11)
    for n in (300, 1000, 5000):
        for name in CONVEX:
            t, progress = unsteady(rng, 10, n, freedom)
            loss = CONVEX[name](np.minimum(progress, 10.5))
            assert [p for p in find_plateaus(t, loss) if p.kind == "intermediate"] == []
        t, progress = unsteady(rng, 20, n, freedom)
        assert kinds(find_plateaus(t, staircase(progress, *THREE))) == steps(3)


def times(rng, grid: str, last: float, n: int) -> np.ndarray:
    made = {
        "even": lambda: np.linspace(0, last, n),
        "random": lambda: np.unique(rng.uniform(0, last, n)),
        "log": lambda: np.concatenate([[0.0], np.geomspace(1e-2, last, n - 1)]),
    }
    return made[grid]()


@pytest.mark.parametrize("n", [30, 60, 120, 250])
@pytest.mark.parametrize("grid", ["even", "random", "log"])
def test_few_samples_at_any_times_are_not_taken_for_noise(grid, n):
    """(a) Smooth staircases of 2 to 5 drops far apart: found are all plateaus but those beside a
    drop without a sample, and no others."""
    rng = np.random.default_rng(7)
    found = seen = there = 0
    for _ in range(40):
        drops = rng.integers(2, 6)
        centres, sizes = np.cumsum(rng.uniform(8, 25, drops)), rng.uniform(0.2, 1, drops)
        t = times(rng, grid, centres[-1] + 10, n)
        shown = kinds(find_plateaus(t, 0.3 + 0.5 * (1 - np.tanh(t[:, None] - centres)) @ sizes))
        samples = np.count_nonzero(np.abs(t[:, None] - centres) < 2.0, axis=0)
        found, there = found + shown.count("intermediate"), there + drops - 1
        seen += np.count_nonzero(np.minimum(samples[1:], samples[:-1]) >= 1)
    assert 0.98 * seen <= found <= there


@pytest.mark.parametrize(("n", "most"), [(30, 0.2), (60, 0.05), (100, 0.02)])
def test_random_speed_makes_few_plateaus_of_few_samples(n, most):
    rng = np.random.default_rng(5)
    false = total = 0
    for _ in range(15):
        for name in CONVEX:
            t, progress = unsteady(rng, 10, n, int(rng.choice([1, 2, 5])))
            false += "intermediate" in kinds(
                find_plateaus(t, CONVEX[name](np.minimum(progress, 10.5)))
            )
            total += 1
    assert false <= most * total


@pytest.mark.slow
def test_more_noise_claims_fewer_plateaus():
    rng = np.random.default_rng(7)
    clean = staircase(GRID, *THREE)
    counts = [
        np.mean(
            [len(find_plateaus(GRID, clean + sd * noise(rng, GRID.size, 0.9))) for _ in range(20)]
        )
        for sd in (0.0, 0.1, 0.3, 1.0, 3.0)
    ]
    assert counts[0] == 4 and counts[-1] < 1
    assert all(later <= earlier for earlier, later in pairwise(counts))


def test_a_drop_below_the_noise_is_not_claimed():
    rng = np.random.default_rng(9)
    t = np.linspace(0, 30, 3001)
    clean = staircase(t, [1.0, 0.02], [2.0, 2.0], [8.0, 20.0])
    assert kinds(find_plateaus(t, clean)) == steps(2)
    for _ in range(5):
        assert kinds(find_plateaus(t, clean + 0.1 * noise(rng, t.size)))[:2] == ["initial", "end"]


# ---------------------------------------------------------------- rounded losses
def significant(x, digits):
    step = 10.0 ** (np.floor(np.log10(np.where(x > 0, x, 1.0))) - digits + 1)
    return np.round(x / step) * step


ROUNDED = {
    "4 decimals": lambda x: np.round(x, 4),
    "3 decimals": lambda x: np.round(x, 3),
    "3 digits": lambda x: significant(x, 3),
    "float16": lambda x: x.astype(np.float16).astype(float),
    "float32": lambda x: x.astype(np.float32).astype(float),
    "whole numbers": lambda x: np.round(1000 * x / x.max()),
    "scaled and shifted": lambda x: 0.37 * np.round(3777 * x / x.max()) + 5,
}


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("n", [500, 4001])
def test_rounded_losses_have_the_plateaus_of_exact_ones(name, n):
    """(a) Two modes, 1 and 0.4, as the shipped linear run. They used to have 41 to 126 plateaus:
    every level was one."""
    t = np.linspace(0, 80, n)
    exact = linear_network(t, 1e-7, (1.0, 0.4))
    found = find_plateaus(t, ROUNDED[name](exact))
    assert kinds(found) == kinds(find_plateaus(t, exact)) == steps(2)
    for p, level in zip(found, (0.58, 0.08, 0.0), strict=True):
        offset, unit = {
            "whole numbers": (0, 1000 / exact[0]),
            "scaled and shifted": (5, 0.37 * 3777 / exact[0]),
        }.get(name, (0, 1))
        assert (p.loss - offset) / unit == pytest.approx(level, abs=2e-3)


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_makes_no_plateaus_nor_does_noise_with_it(name):
    rng = np.random.default_rng(2)
    for curve in ("exponential", "two exponentials", "power", "stretched"):
        for n in (300, 3000):
            t = np.linspace(0, 10, n)
            loss = CONVEX[curve](t)
            for sd in (0.0, 0.01):
                shown = ROUNDED[name](np.maximum(loss + sd * np.ptp(loss) * noise(rng, n), 0.0))
                assert "intermediate" not in kinds(find_plateaus(t, shown))
    noisy = staircase(GRID, *THREE) + 0.01 * noise(rng, GRID.size)
    assert kinds(find_plateaus(GRID, ROUNDED[name](np.maximum(noisy, 0.0)))) == steps(3)


def test_the_step_of_the_last_digit():
    """(a) Of decimals one everywhere, of significant digits one a decade, of float16 one a power of
    two; of exact losses none."""
    t = np.linspace(0, 6, 20000)
    loss = np.exp(-t)
    assert np.allclose(last_digits(np.round(loss, 3)), 1e-3)
    digits = last_digits(significant(loss, 3))
    assert np.allclose(digits[(loss > 0.11) & (loss < 0.99)], 1e-3) and np.allclose(
        digits[(loss > 0.011) & (loss < 0.09)], 1e-4
    )
    halves = last_digits(loss.astype(np.float16).astype(float))
    assert np.allclose(halves[(loss > 0.51) & (loss < 0.99)], 2.0**-11)
    assert last_digits(loss).max() == 0.0
    repeated = np.repeat(np.sort(np.random.default_rng(0).uniform(size=500))[::-1], 2)
    assert last_digits(repeated).max() == 0.0


def test_a_staircase_of_few_levels_is_none_of_digits():
    """Few values on a coarse grid are what they seem: error counts that rest at 9, 5 and 1."""
    levels = np.repeat([9.0, 9, 5, 5, 1, 1], 50)
    loss = np.convolve(np.pad(levels, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    assert kinds(find_plateaus(np.arange(300), loss)) == steps(2)
    assert kinds(find_plateaus(np.arange(300), levels)) == steps(2)


# ---------------------------------------------------------------- small drops at the borders, ends
@pytest.mark.parametrize("small", [1e-3, 3e-4, 1e-4, 1e-5])
def test_a_small_last_or_first_drop_has_its_own_dwell(small):
    """(a) A last drop below a thousandth of its neighbour used to belong to the end plateau, a
    first one to the initial one."""
    t = np.linspace(0, 40, 4001)
    for heights, middles in (([1.0, small], [8.0, 24.0]), ([small, 1.0], [8.0, 20.0])):
        made = (heights, [2.0, 2.0], middles)
        check_staircase(find_plateaus(t, staircase(t, *made)), *made, reach=6.0)
    three = ([1.0, 0.3, small], [2.0, 2.0, 2.0], [8.0, 16.0, 30.0])
    check_staircase(find_plateaus(t, staircase(t, *three)), *three, reach=6.0)


@pytest.mark.parametrize("small", [9e-4, 1e-4, 1e-5])
def test_settling_onto_the_initial_plateau_is_no_drop(small):
    t = np.linspace(0, 40, 4001)
    loss = staircase(t, [1.0], [2.0], [15.0]) + small * np.exp(-3 * t)
    assert kinds(find_plateaus(t, loss)) == ["initial", "end"]


def test_an_end_is_judged_by_the_fall_just_before():
    """(a) s' = 4 s^(3/2) (10 - s), the last mode of four linear layers, followed to 5e-6 of its
    drop, twelve time constants. Its slow beginning used to be the measure of the end, and there was
    none."""
    from scipy.integrate import solve_ivp

    t = np.linspace(0, 0.2, 4001)
    mode = lambda _, s: 4 * s**1.5 * (10 - s)
    s = solve_ivp(mode, (0, 0.2), [0.12], t_eval=t, rtol=1e-10, atol=1e-12, method="LSODA").y[0]
    loss = 0.5 * (10 - s) ** 2
    cut = int(np.argmax(loss < 2.7e-4))
    assert kinds(find_plateaus(t[:cut], loss[:cut])) == ["initial", "end"]
    early = int(np.argmax(loss < 1.0))
    assert kinds(find_plateaus(t[:early], loss[:early])) == ["initial"]


def test_prominence_is_the_least_strength_reported():
    t = np.linspace(0, 160, 8001)
    strengths = [p.strength for p in find_plateaus(t, linear_network(t, 1e-6), prominence=0.5)]
    for level in (1.0, 1.6, 3.0, 5.0):
        found = find_plateaus(t, linear_network(t, 1e-6), prominence=level)
        assert all(p.strength >= level for p in found)
        assert len(found) <= len(strengths)


# ---------------------------------------------------------------- robustness, misuse, cost
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_any_finite_input_gives_ordered_intervals(loss, seed, falling):
    loss = np.sort(loss)[::-1] if falling else np.array(loss)
    t = np.cumsum(np.random.default_rng(seed).exponential(size=len(loss)) + 1e-9)
    found = find_plateaus(t, loss)
    for p in found:
        assert t[0] <= p.start <= p.end <= t[-1]
        assert 0 <= p.first <= p.quietest <= p.last < len(t)
    assert all(p.end <= q.start for p, q in pairwise(found))


@pytest.mark.parametrize(
    ("time", "loss", "words"),
    [
        ([], [], "flow_time must be a non-empty array"),
        ([0, 1], [1, np.nan], "loss must be finite"),
        ([0, np.inf], [1, 1], "flow_time must be finite"),
        ([0, 1, 2], [1, 1], "loss must be of the shape of flow_time"),
        (
            [0, 1, 1],
            [3, 2, 1],
            (
                "flow_time must be strictly increasing, got 1 and then 1 at index "
                "2, 1 such places in all"
            ),
        ),
        ([0, 1, 1], [3, 2, 1], "resumed logs some steps twice: keep the later ones"),
        ([0, 1], [1, np.nan], "leave these rows of a log out"),
        ([[0, 1]], [[1, 0]], "flow_time must be one-dimensional"),
    ],
)
def test_misuse(time, loss, words):
    with pytest.raises(InputError, match=words):
        find_plateaus(time, loss)


def test_a_resumed_log_is_cleaned():
    """(c) What the later rows replace does not matter; rows that are not finite, or masked, are
    left out."""
    loss = staircase(GRID, *THREE)
    again = slice(2400, None)
    time = np.concatenate([GRID[:3000], GRID[again], [20.5]])
    logged = np.concatenate([loss[:2400], loss[2400:3000] + 7.0, loss[again], [np.nan]])
    cleaned = clean_log(time, logged)
    assert np.array_equal(cleaned[0], GRID) and np.array_equal(cleaned[1], loss)
    assert [len(a) for a in clean_log([1.0, np.inf], [np.nan, 2.0])] == [0, 0]
    with pytest.raises(InputError, match="loss must be of the shape of flow_time"):
        clean_log([0, 1, 2], [1, 1])


def test_masked_entries_are_left_out():
    """(c) As if they had not been logged; indices are those of the whole arrays. What a mask hides
    used to be read."""
    loss, hidden = staircase(GRID, *THREE), np.arange(GRID.size) % 3 == 1
    masked = np.ma.array(np.where(hidden, -1e9, loss), mask=hidden)
    found, bare = (
        find_plateaus(np.ma.array(GRID, mask=False), masked),
        find_plateaus(GRID[~hidden], loss[~hidden]),
    )
    places = np.flatnonzero(~hidden)
    for p, q in zip(found, bare, strict=True):
        assert (p.start, p.end, p.loss, p.strength) == (q.start, q.end, q.loss, q.strength)
        assert [p.first, p.quietest, p.last] == places[[q.first, q.quietest, q.last]].tolist()


@pytest.mark.parametrize("prominence", [0, -1.0, np.nan, "deep"])
def test_prominence_must_be_positive(prominence):
    with pytest.raises(InputError, match="prominence must be a finite number above zero"):
        find_plateaus([0, 1], [1, 0], prominence=prominence)


def test_arguments_are_left_alone():
    t, loss = GRID.copy(), staircase(GRID, *THREE) + 0.01 * np.sin(1e4 * GRID)
    before = loss.copy()
    find_plateaus(t, loss)
    assert np.array_equal(t, GRID) and np.array_equal(loss, before)
