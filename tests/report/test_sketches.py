"""What the page of a sweep says of its runs: sketches, captions, names of values and colours."""

from __future__ import annotations

import re
import shlex

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from saddlery.report import sweeps
from saddlery.report.markup import counted
from saddlery.report.quantities import QUANTITIES, Quantity
from saddlery.report.sketches import setting, sketch

LENGTH = Quantity("length of the initial plateau (flow time)", lambda row: row["length"])


def heights(drawn: str) -> np.ndarray:
    """Of the points of a sketch, from its bottom, as a share of it."""
    points = re.findall(r'points="([^"]*)"', drawn)[0].split()
    return 1 - np.array([float(point.split(",")[1]) for point in points]) / 90


def table_of(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


# ---------------------------------------------------------------------- sketches
def test_a_sketch_says_the_loss_at_the_time_it_names():
    """(d) The last loss is that of the end of the run, which the sketch may not reach."""
    time, loss = np.array([0.0, 1.0, 100.0]), np.array([1.0, 0.5, 0.0])
    drawn = sketch(time, loss, [(0.0, 0.1), (1.0, 2.0)])
    assert "Loss from 1 to 0.4992 up to flow time 1.15." in drawn


def test_a_sketch_of_one_plateau_shows_the_whole_run():
    """A plateau that begins a little after zero hid all that came after it."""
    time, loss = np.array([0.0, 1.0, 100.0]), np.array([1.0, 0.5, 0.0])
    drawn = sketch(time, loss, [(1e-3, 0.1)])
    assert "Loss from 1 to 0 up to flow time 100." in drawn


def test_a_run_without_a_finite_loss_has_no_sketch():
    drawn = sketch(np.array([]), np.array([]), [])
    assert "<svg" not in drawn and "No finite loss" in drawn


@pytest.mark.parametrize("loss", [[-1.0, -2.0], [1.0, -1.0], [1e-3, 0.0]])
def test_a_loss_that_falls_falls_in_its_sketch(loss):
    """A loss below zero rose, or lay on the bottom."""
    found = heights(sketch(np.array([0.0, 1.0]), np.array(loss), []))
    assert found[0] == pytest.approx(1) and found[-1] == pytest.approx(0)
    assert np.all(np.diff(found) < 0)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_loss_that_begins_at_zero_rises(size):
    found = heights(sketch(np.array([0.0, 1.0]), np.array([0.0, size]), []))
    assert found[0] == pytest.approx(0) and found[-1] == pytest.approx(1)


# -------------------------------------------------------------------- quantities
@pytest.mark.parametrize(
    ("loss", "logarithm"),
    [(1e-50, -50.0), (0.1, -1.0), (0.0, None), (-1.0, None), (np.inf, None), (np.nan, None)],
)
def test_the_logarithm_of_a_loss_is_its_own(loss, logarithm):
    """Losses of targets of 1e-25 were all 1e-40, and so was a loss of -1."""
    (quantity,) = [one for one in QUANTITIES if one.title == "log10 of the last loss"]
    found = quantity.of({"loss": loss})
    assert found == (None if logarithm is None else pytest.approx(logarithm))


# ------------------------------------------------------------- pictures of a sweep
def captions(table: pd.DataFrame, pair: tuple[str, ...]) -> str:
    return str(sweeps._section(table, [LENGTH], pair, 0))


def test_where_only_seeds_vary_a_point_is_a_seed_and_the_mean_is_said():
    """The caption promised means with intervals above bare points."""
    table = table_of(seed=range(100), length=np.linspace(1.0, 3.0, 100))
    section = captions(table, ())
    assert "a point a seed; their mean is 2, its 95% interval 1.8" in section
    assert "all other fields" not in section
    axes = Figure().add_subplot()
    sweeps._draw(table, (), LENGTH, LENGTH.values(table), axes)
    assert len(axes.get_xticks()) <= 10


def test_one_seed_has_no_interval():
    table = table_of(seed=[0, 1], length=[1.0, np.nan])
    words = sweeps._means(table, (), LENGTH, LENGTH.values(table))
    assert words == "a point a seed; their mean is 1"


def test_groups_are_told_apart_without_colours_and_beside_the_points():
    """Of eight widths two had the colour of another, and the legend lay on the points."""
    widths, scales = range(8), np.geomspace(1e-5, 1e-2, 30)
    rows = [(width, scale) for width in widths for scale in scales]
    table = table_of(
        seed=0, width=[row[0] for row in rows], scale=[row[1] for row in rows], length=1.0
    )
    axes = Figure().add_subplot()
    sweeps._draw(table, ("width", "scale"), LENGTH, LENGTH.values(table), axes)
    looks = set()
    for group in axes.collections:
        shape = group.get_paths()[0].vertices.tobytes()
        looks.add((shape, group.get_facecolor().tobytes()))
    assert len(looks) == 8
    axes.figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert legend.x0 >= axes.get_window_extent().x1 - 1


def test_values_of_a_field_keep_their_digits():
    """1.25e-4 was 1.3e-04 in the table and on the card of its run."""
    assert setting(1.25e-4) == "0.000125"
    assert setting(7) == 7 and setting("relu") == "relu"


@pytest.mark.parametrize(("runs", "words"), [((3, 3), "Run 3 failed"), ((3, 4), "Runs 3 to 4")])
def test_one_run_that_failed_is_one(runs, words):
    assert words in sweeps._failure({"runs": runs, "error": "why"})


def test_the_command_of_a_run_is_one_of_a_shell(tmp_path, monkeypatch):
    """A quote in the name of the folder ended the word."""
    monkeypatch.setattr(sweeps, "curves", lambda folder, runs: {})
    row = {"run": 0, "seed": 0, "status": "stopped", "units": None, "loss": 1.0, "reason": ""}
    row |= dict.fromkeys(("verdict", "stage_kind", "stage_start", "stage_end", "stage_loss"))
    page = sweeps._runs(pd.DataFrame([row]), [], "it's mine")
    command = (
        re.findall("<code>(.*?)</code>", page)[0].replace("&#x27;", "'").replace("&quot;", '"')
    )
    assert shlex.split(command) == ["saddlery", "report", "it's mine#0"]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 paths"), (1, "1 path"), (2, "2 paths"), (12000, "12,000 paths")]
)
def test_counts_are_said_as_people_do(count, words):
    assert counted(count, "path") == words


def test_nothing_of_a_session_is_touched():
    before = dict(matplotlib.rcParams)
    captions(table_of(seed=[0, 1], length=[1.0, 2.0]), ())
    assert dict(matplotlib.rcParams) == before
