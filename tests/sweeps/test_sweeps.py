"""Sweeps: which runs there are, that what is stored is what `train` gives, and that nothing
finished is lost or done twice."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student

from saddlery import Experiment, stages, train
from saddlery.basis.checks import InputError, StorageError
from saddlery.cli import main
from saddlery.engines import Here
from saddlery.initializations import Initialization
from saddlery.report.quantities import QUANTITIES, Quantity, estimate, quantities
from saddlery.report.sketches import sketch
from saddlery.report.sweeps import sweep_page
from saddlery.rules import AlternatingFlow, GradientDescent
from saddlery.studies.intervals import Real, Share
from saddlery.sweeps import (
    Drawn,
    Sweep,
    arrays,
    export,
    failures,
    index,
    kept,
    plan,
    query,
    run_sweep,
    running,
    storage,
    work,
)
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop

BASE = Experiment.named("linear").replace(stop=Stop(flow_time=40.0))
WIDTH, SCALE = "network.layers.0.width", "initialization.scale"
SMALL = Sweep(
    BASE, grid={WIDTH: (4, 7), SCALE: (1e-3, 1e-5)}, seeds=3, first_seed=5, batch=5, name="small"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "small"
    run_sweep(SMALL, folder, engine=Here())
    return folder


# ------------------------------------------------------------------------ design
def test_runs_are_numbered_as_nested_loops():
    """(d) Written out: the grid's fields from first to last, then draws, then seeds."""
    drawn = {"stop.flow_time": Drawn("uniform", (60.0, 90.0))}
    sweep = replace(SMALL, random=drawn, draws=2, seeds=3)
    numbers = itertools.count()
    times = [sweep.point(3 * k)["stop.flow_time"] for k in range(2)]
    for width, scale, k, seed in itertools.product((4, 7), (1e-3, 1e-5), range(2), range(5, 8)):
        number = next(numbers)
        e = sweep.experiment_of(number)
        assert (e.network.widths[0], e.initialization.scale, e.seed) == (width, scale, seed)
        assert e.stop.flow_time == times[k] and 60 <= times[k] <= 90
    assert next(numbers) == len(sweep) and times[0] != times[1]
    assert list(sweep.experiments(range(7, 12))) == [sweep.experiment_of(n) for n in range(7, 12)]
    assert [n for b in sweep.batches() for n in sweep.numbers(b)] == list(range(len(sweep)))


@given(
    st.dictionaries(
        st.sampled_from([WIDTH, "stop.flow_time", "description"]),
        st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True),
        max_size=2,
    ),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_a_sweep_is_its_toml(grid, seeds, draws):
    grid = {
        path: tuple(map(str, values)) if path == "description" else tuple(values)
        for path, values in grid.items()
    }
    random = {SCALE: Drawn("log_uniform", (1e-6, 1e-2))} if draws > 1 else {}
    sweep = Sweep(
        BASE, grid=grid, random=random, draws=draws, seeds=seeds, measure=("observables",), name="n"
    )
    again = Sweep.from_toml(sweep.to_toml())
    assert again == sweep and again.identity == sweep.identity
    assert [again.point(k) for k in range(len(again))] == [
        sweep.point(k) for k in range(len(sweep))
    ]


@pytest.mark.parametrize(
    ("drawn", "accept"),
    [
        (Drawn("uniform", (2, 3)), lambda v: 2 <= v <= 3),
        (Drawn("log_uniform", (1e-6, 1e-2)), lambda v: 1e-6 <= v <= 1e-2),
        (Drawn("integers", (3, 5)), lambda v: v in (3, 4, 5)),
        (Drawn("choice", ("a", "b")), lambda v: v in "ab"),
    ],
    ids=lambda d: getattr(d, "way", ""),
)
def test_random_fields(drawn, accept):
    values = [drawn.draw(np.random.default_rng(k)) for k in range(200)]
    assert all(map(accept, values)) and len(set(values)) > 1
    if drawn.way == "log_uniform":
        assert np.median(np.log10(values)) == pytest.approx(-4, abs=0.4)
    if drawn.way == "integers":
        assert set(values) == {3, 4, 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[grid]\ninitialization.scal = [1]",
            "grid initialization.scal = 1: .*did you mean 'scale'",
        ),
        ("[grid]\nnetwork.layer.0.width = [1]", "there is no 'layer' here; did you mean 'layers'"),
        ("[grid]\ninitialization.scale = []", "at least one value, got an empty list"),
        (
            "[grid]\ninitialization.scale = [1e-3, -1]",
            "grid initialization.scale = -1: .*above zero",
        ),
        (
            "[grid]\ninitialization.scale = 1e-3",
            "grid initialization.scale must be a list of values",
        ),
        ("[grid]\nseed = [1, 2]", "other than the seed"),
        ("[grid]\nwidth = [1, 2]", "the width is network.layers.0.width"),
        (
            "[grid]\ninitialization.scale = [1e-3, 1e-3]",
            r"different values, got \[0.001\] twice; seeds = N",
        ),
        ('[grid]\nnetwork.layers = [["x"]]', "network.layers = "),
        ("[grid]\nnetwork.layers.0.width = [99999999999999999999999999999999]", "below 2"),
        (
            "[grid]\nrule.learning_rate = [0.1]\ninitialization.scale = [1e-3]",
            "grid rule.learning_rate = 0.1: ",
        ),
        ("name = 3", "name must be text, got 3"),
        ("name = ['x']", "name must be text"),
        ("name = '../up'", "name must be of a folder, without / or #"),
        ("imports = 3", "imports must be a list of module names, got 3"),
        ("imports = 'json'", "imports must be a list of module names, got 'json'"),
        ("imports = ['..x']", "imports: ..x cannot be imported"),
        ("[random]\nfields = 3", r"\[random.fields\] must be a table, got 3"),
        (
            "[random.fields]\ninitialization.scale = {uniform = [-2, -1]}",
            "random initialization.scale = -.*above zero",
        ),
        ("seeds = 0", "seeds must be a whole number of at least 1"),
        ("[grids]", "key 'grids' is not known; did you mean 'grid'"),
        ("[random]\ndraws = 3", r"\[random.fields\] must be at least one field"),
        (
            "[random.fields]\ninitialization.scale = {normal = [0, 1]}",
            "random field 'normal' is not known",
        ),
        ("[random.fields]\ninitialization.scale = {uniform = [2, 1]}", "low at most high"),
        ("[measure]\ncertificate = true", "did you mean 'certificates'"),
        (
            'imports = ["no_such_module_here"]',
            "imports: no_such_module_here cannot be imported .*on PYTHONPATH",
        ),
        ('imports = ["own.py"]', r"own.py cannot be imported .*leave out the ending: own$"),
        ("seeds = ", "not valid TOML"),
    ],
)
def test_bad_designs_are_one_sentence(text, message):
    with pytest.raises(InputError, match=message):
        Sweep.from_toml(f'experiment = "linear"\n{text}')


def test_more_bad_designs(tmp_path):
    with pytest.raises(
        InputError, match="experiment must be a shipped name, a TOML file or a table, got nothing"
    ):
        Sweep.from_toml("seeds = 3")
    with pytest.raises(InputError, match="in the grid or random, not both"):
        replace(SMALL, random={WIDTH: Drawn("integers", (3, 5))})
    with pytest.raises(InputError, match=r"10,000,000 runs, more than 1,000,000; .*--yes"):
        run_sweep(replace(SMALL, grid={}, seeds=10_000_000), tmp_path / "out")
    with pytest.raises(InputError, match="no run of this sweep is possible"):
        plan(
            replace(
                SMALL,
                grid={},
                experiment=BASE.replace(
                    stop=Stop(flow_time=1.0), moments=True, network=Experiment.named("tanh").network
                ),
            )
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("field", ["grid", "random", "slurm"])
@pytest.mark.parametrize("given", [5, None, ["a"]])
def test_tables_that_are_none_are_one_sentence(field, given):
    with pytest.raises(InputError, match=f"^{field} must be a table, got "):
        Sweep(BASE, **{field: given})


def test_what_is_given_to_a_sweep_may_change_later():
    """It keeps what it was given: its experiments and its identity stay what they were."""
    grid = {WIDTH: [4, 7]}
    random = {SCALE: Drawn("uniform", (1e-3, 1e-2))}
    slurm = {"partition": "short", "extra": {"gres": ["gpu"]}}
    sweep = Sweep(BASE, grid=grid, random=random, slurm=slurm)
    before, identity = sweep.to_toml(), sweep.identity
    points = [sweep.point(number) for number in range(len(sweep))]
    grid[WIDTH].append(9)
    random[SCALE] = Drawn("uniform", (0.5, 0.6))
    slurm["extra"]["gres"].append("all")
    assert sweep.to_toml() == before and sweep.identity == identity
    assert [sweep.point(number) for number in range(len(sweep))] == points


LISTED = {SCALE: Drawn("uniform", (1e-3, 1e-2)), WIDTH: Drawn("integers", (3, 9))}
OTHERWISE = dict(reversed(LISTED.items()))


def test_the_order_of_random_fields_is_no_part_of_an_identity():
    """(c) Their experiments do not depend on it either."""
    one, other = (Sweep(BASE, random=random, draws=3) for random in (LISTED, OTHERWISE))
    assert one == other and list(one.experiments(range(3))) == list(other.experiments(range(3)))
    assert one.identity == other.identity
    assert len({*one.former_identities, *other.former_identities}) == 2


def test_the_order_of_the_grid_numbers_the_runs():
    grid = {SCALE: (1e-3, 1e-2), WIDTH: (3, 9)}
    one, other = (Sweep(BASE, grid=table) for table in (grid, dict(reversed(grid.items()))))
    assert one.point(1) != other.point(1)
    assert one != other and one.identity != other.identity
    assert one == Sweep(BASE, grid=dict(grid)) and one != grid


@pytest.mark.parametrize("listed", [LISTED, OTHERWISE], ids=["listed", "otherwise"])
def test_a_folder_named_by_the_order_of_random_fields_goes_on(listed, tmp_path):
    """As earlier versions wrote it, and whichever order is given now."""
    folder = tmp_path / "out"
    sweep = Sweep(BASE, random=listed, draws=2, batch=1)
    run_sweep(sweep, folder, engine=Here())
    former = sweep.former_identities[0]
    record = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**record, "identity": former}))
    for path in folder.glob("*/*"):
        path.rename(path.with_name(path.name.replace(sweep.identity, former)))
    next((folder / "index").glob("000001-*")).unlink()
    for random in (LISTED, OTHERWISE):
        again = run_sweep(replace(sweep, random=random), folder, engine=Here(), resume=True)
        assert again.made + again.kept == 2
    assert len(index(folder)) == 2 and again.kept == 2


# ------------------------------------------------------------------------ content
def test_rows_and_arrays_are_those_of_the_runs(done):
    """(d) Each row and array against the same run trained alone."""
    table, data = index(done).set_index("run"), arrays(done)
    assert len(table) == len(SMALL) == data.sizes["run"]
    for number in (0, 4, 11):
        e = SMALL.experiment_of(number)
        row, found = table.loc[number], stages(train(e))
        assert (row["identity"], row["seed"], row["width"], row[WIDTH], row[SCALE]) == (
            *(e.identity, e.seed, e.network.widths[0], e.network.widths[0]),
            e.initialization.scale,
        )
        assert row["status"] == "stopped" and row["data"] == "input"
        assert list(row["units"]) == [s.effective_units for s in found.stages] == [0, 1, 2]
        np.testing.assert_allclose(
            list(row["stage_loss"]), [s.loss for s in found.stages], rtol=1e-3, atol=1e-9
        )
        run = data.sel(run=number)
        curve = run["loss"].values[: row["saved"]]
        assert np.isnan(run["loss"].values[row["saved"] :]).all() and curve[-1] == row["loss"]
        state = run["states"].values[len(found)]
        theta = state[: e.objective().size]
        assert np.isnan(state[e.objective().size :]).all()
        assert float(e.objective().loss(theta)) == pytest.approx(row["loss"], rel=1e-6, abs=1e-14)


def test_certificates_predictions_and_observables(tmp_path):
    e = BASE.replace(initialization=Initialization(scale=1e-5), stop=Stop(flow_time=60.0))
    sweep = Sweep(e, seeds=1, measure=("certificates", "predictions", "observables"))
    run_sweep(sweep, tmp_path / "out", engine=Here())
    (row,) = index(tmp_path / "out").to_dict("records")
    assert list(row["verdict"]) == ["strict saddle", "strict saddle", "minimum"] and list(
        row["index"]
    ) == [100, 49, 0]
    assert row["theory"] == "directions one by one" or row["theory"] in (
        "linear modes",
        "exact linear path",
    )
    assert row["predicted"] and row["jump_error"] < 0.02
    assert arrays(tmp_path / "out")["observable.unit_norms_0"].dims == (
        "run",
        "point",
        "observable.unit_norms_0_0",
    )


@pytest.fixture(scope="module")
def of_two_lengths(tmp_path_factory):
    """A batch of two alternating gradient flows, whose states hold flags."""
    base = BASE.replace(rule=AlternatingFlow())
    sweep = Sweep(base, grid={"stop.flow_time": (1.0, 200.0)}, measure=("observables",))
    folder = tmp_path_factory.mktemp("sweeps") / "lengths"
    run_sweep(sweep, folder, engine=Here())
    return sweep, folder


def test_flags_beyond_the_end_of_a_run_are_minus_one(of_two_lengths):
    """They used to be true there."""
    sweep, folder = of_two_lengths
    data, saved = arrays(folder), index(folder)["saved"].tolist()
    assert saved[0] < saved[1]
    shown = train(sweep.experiment_of(0)).trajectory.observables
    for name in ("active", "moving"):
        found = data[f"observable.{name}"].values[0]
        np.testing.assert_array_equal(found[: saved[0]], shown[name])
        assert found.dtype == np.int8 and (found[saved[0] :] == -1).all()


def test_flags_of_0_1_0_are_read_as_those_of_today(of_two_lengths, tmp_path):
    """It wrote them as flags, true beyond the end of a run."""
    sweep, folder = of_two_lengths
    today = arrays(folder)
    old = today.drop_vars(["seed", "status", "stop.flow_time"]).map(
        lambda values: values != 0 if values.dtype == np.int8 else values
    )
    assert old["observable.moving"].dtype == bool
    shutil.copytree(folder, tmp_path / "old")
    name = storage.batch_name(sweep.identity, 0)
    rows = index(folder).drop(columns=["folder", "sweep"])
    storage.write_batch(tmp_path / "old", name, old, rows)
    xr.testing.assert_equal(arrays(tmp_path / "old"), today)


def test_runs_of_two_precisions_keep_their_own(tmp_path):
    """(d) Every curve is that of its run trained alone. Those of float64 used to be cut to float32,
    and the batch was damaged then."""
    sweep = Sweep(BASE, grid={"precision": ("float32", "float64")})
    run_sweep(sweep, tmp_path / "out", engine=Here())
    data = arrays(tmp_path / "out")
    for number in range(2):
        loss = train(sweep.experiment_of(number)).trajectory.loss
        found = data["loss"].values[number, : len(loss)]
        np.testing.assert_allclose(found, loss, rtol=1e-9)
        assert (
            data["loss"].dtype == np.float64
            and found[-1] == index(tmp_path / "out")["loss"][number]
        )


def test_a_run_that_diverges_has_its_row(tmp_path):
    sweep = Sweep(
        BASE.replace(stop=Stop(steps=200)),
        grid={"rule.kind": ("descent",), "rule.learning_rate": (0.05, 50.0)},
        seeds=2,
    )
    assert not run_sweep(sweep, tmp_path / "out", engine=Here()).failed
    table = index(tmp_path / "out")
    assert table["status"].isin(["diverged", "not finite"]).tolist() == [False, False, True, True]
    assert table["stages"].isna().tolist() == [False, False, True, True]


def test_query_catalog_and_export(done, tmp_path):
    assert len(query(done, "width >= 5 and units[2] = 1")) == 6
    assert len(query(done, f'"{SCALE}" < 1e-4 and seed = 6')) == 2
    assert (
        len(query(done, f"{SCALE} < 1e-4 and status = '{SCALE}'")) == 0
    )  # a field as it is written elsewhere, and a text
    assert len(query(done, f"{SCALE} < 1e-4 and seed = 6 -- and so on")) == 2
    shutil.copytree(done, tmp_path / "copy")
    both = query([done, tmp_path / "copy"], "seed = 6")
    assert len(both) == 8 and set(both["sweep"]) == {"small"}
    with pytest.raises(InputError, match="not a condition"):
        query(done, "1 = 1) UNION SELECT * FROM read_csv('/etc/passwd'")
    csv, nc, npz = (export(done, tmp_path / f"all.{ending}") for ending in ("csv", "nc", "npz"))
    rows = pd.read_csv(csv)
    assert len(rows) == 12 and rows["loss"].tolist() == index(done)["loss"].tolist()
    assert [json.loads(cell) for cell in rows["stage_loss"]] == [
        list(row) for row in index(done)["stage_loss"]
    ]
    with xr.open_dataset(nc, engine="scipy") as stored:
        np.testing.assert_array_equal(stored["loss"].values, arrays(done)["loss"].values)
        np.testing.assert_array_equal(stored[SCALE].values, index(done)[SCALE].to_numpy())
    with np.load(npz, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["loss"], arrays(done)["loss"].values)
        assert stored["seed"].tolist() == index(done)["seed"].tolist() and set(
            stored["status"]
        ) == {"stopped"}
    with pytest.raises(InputError, match=r"ending of an export '.mat' is not known"):
        export(done, tmp_path / "all.mat")
    with pytest.raises(InputError, match="one whole sweep"):
        export(done, tmp_path / "some.nc", "seed = 6")
    some = json.loads(export(done, tmp_path / "some.JSON", "seed = 6").read_text())
    assert [row["loss"] for row in some] == query(done, "seed = 6")["loss"].tolist() and some[0][
        "verdict"
    ] is None
    for path in (done / "sweep.json", done / "index" / "x.csv", done / "sweep.toml.csv"):
        if path.suffix == ".csv" and path.parent == done:
            continue
        with pytest.raises(InputError, match="which belongs to the sweep"):
            export(done, path)


def test_numbers_beyond_32_bits_are_exported(tmp_path):
    """netCDF 3 has none: float64 where that is exact."""
    sweep = Sweep(BASE, seeds=2, first_seed=2**40)
    run_sweep(sweep, tmp_path / "out", engine=Here())
    with xr.open_dataset(export(tmp_path / "out", tmp_path / "all.nc"), engine="scipy") as stored:
        assert stored["seed"].values.tolist() == [2**40, 2**40 + 1] and "seed" in stored.coords
    sweep = Sweep(BASE, seeds=2, first_seed=2**60)
    run_sweep(sweep, tmp_path / "further", engine=Here())
    words = r"seed in an .nc must be of whole numbers that float64 holds, .*; write an .npz$"
    with pytest.raises(InputError, match=words):
        export(tmp_path / "further", tmp_path / "all.nc")
    with np.load(export(tmp_path / "further", tmp_path / "all.npz")) as stored:
        assert stored["seed"].tolist() == [2**60, 2**60 + 1]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("H >= 5", "there is no column 'H'; "),
        ("widht >= 5", "there is no column 'widht'; did you mean 'width'"),
        ("initialization.scal < 1", "there is no column 'initialization"),
        ('status = "stopped"', "text goes in single quotes, 'stopped'"),
        ("width >=", r"is not a condition on the runs: .*columns are run, seed"),
        ("width >= 5; drop table runs", "is not a condition on the runs"),
        ("width >= 5 union select * from runs", "is not a condition on the runs"),
        (3, "FILTER must be a text"),
    ],
)
def test_filters_that_are_none(done, condition, words):
    with pytest.raises(InputError, match=words):
        query(done, condition)


SHARE = Quantity("share", lambda row: row["x"], Share())


def test_intervals_are_over_seeds():
    """(c) Runs of one seed do not count as several: Student's interval of the seeds' means, and of
    shares the exact one."""
    rng = np.random.default_rng(3)
    seeds = np.repeat(np.arange(6), 50)
    values = rng.normal(size=6)[seeds] + 0.01 * rng.normal(size=300)  # the noise is of the seeds
    found = estimate(Quantity("x", lambda row: row["x"], Real()), values, seeds)
    means = values.reshape(6, 50).mean(axis=1)
    low, high = student.interval(0.95, 5, means.mean(), means.std(ddof=1) / np.sqrt(6))
    assert found[:3] == pytest.approx((means.mean(), low, high)) and found.runs == 300
    hits = np.array([1.0, 1, 1, 0])
    exact = estimate(SHARE, hits, np.arange(4))
    assert (exact.low, exact.high) == pytest.approx(
        tuple(binomtest(3, 4).proportion_ci(0.95, "exact"))
    )
    assert estimate(SHARE, np.ones(4), np.arange(4))[1:3] == pytest.approx((0.025**0.25, 1.0))
    twice = estimate(SHARE, np.tile(hits, 2), np.tile(np.arange(4), 2))
    assert 0.0 <= twice.low < twice.mean == 0.75 < twice.high <= 1.0
    one = estimate(SHARE, hits, np.zeros(4))
    assert one.mean == 0.75 and np.isnan(one.low) and np.isnan(one.high)
    assert estimate(SHARE, np.full(2, np.nan), np.arange(2)).runs == 0


def test_what_a_page_says_of_a_run(done):
    """(d) By the run trained again."""
    table = index(done)
    row = table[table["run"] == 5].to_dict("records")[0]
    found = stages(train(SMALL.experiment_of(5)))
    shown = {q.title: q.of(row) for q in quantities(table)}
    assert shown["number of plateaus"] == len(found)
    assert shown["length of the initial plateau (flow time)"] == pytest.approx(
        found[0].end - found[0].start, rel=1e-4
    )
    assert shown["length of the first plateau between (flow time)"] == pytest.approx(
        found[1].end - found[1].start, rel=1e-3
    )
    assert shown["share of runs that failed"] == 0
    assert "largest distance to a certified fixed point" not in shown  # none was asked for
    assert Quantity("", QUANTITIES[7].of).of({**row, "status": "impossible"}) is None


def test_folders_that_are_none(done, tmp_path):
    for folders, words in (
        ([], "at least one sweep's folder, got none"),
        ([done, str(done) + "/."], "must be different ones, got .* twice"),
        (done.parent / "smal", "there is no folder .*smal; did you mean .*small"),
        (tmp_path, "not a sweep folder, there is no sweep.json in it"),
        (done / "sweep.toml", "there is no folder"),
    ):
        with pytest.raises(InputError, match=words):
            index(folders)


def test_an_impossible_draw_is_a_row_and_leaves_the_others(tmp_path):
    """Two values that exclude each other: a flow time shorter than a step."""
    base = BASE.replace(rule=GradientDescent(0.05))
    drawn = {
        "rule.learning_rate": Drawn("choice", (0.05, 50.0)),
        "stop.flow_time": Drawn("choice", (20.0, 40.0)),
    }
    sweep = Sweep(base, random=drawn, draws=8, seeds=2, name="drawn")
    run_sweep(sweep, tmp_path / "out", engine=Here())
    rows = index(tmp_path / "out")
    too_long = rows["rule.learning_rate"] == 50.0
    assert 0 < too_long.sum() < 16 and not failures(tmp_path / "out")
    assert set(rows["status"][too_long]) == {"impossible"} and set(rows["status"][~too_long]) == {
        "stopped"
    }
    assert (
        rows["reason"][too_long]
        .str.contains("learning_rate must be at most the run's flow time")
        .all()
    )
    assert len(arrays(tmp_path / "out")["run"]) == (~too_long).sum()
    assert "impossible" in sweep_page(tmp_path / "out")


def test_it_opens_with_xarray_and_pandas_alone(done):
    from zarr.storage import ZipStore

    part = sorted((done / "parts").glob("*.zip"))[0]
    with xr.open_zarr(ZipStore(part, mode="r"), consolidated=False, chunks=None) as data:
        assert data["loss"].dims == ("run", "point") and "mean over samples" in data.attrs["loss"]
    assert len(pd.read_parquet(done / "index")) == 12


# ------------------------------------------------------------------------ resume
def same(one, other):
    left, right = (index(f).drop(columns=["wall_seconds", "folder"]) for f in (one, other))
    pd.testing.assert_frame_equal(left, right, check_exact=True)
    xr.testing.assert_identical(arrays(one), arrays(other))


def test_resume_repeats_nothing_and_equals_an_undisturbed_sweep(done, tmp_path):
    folder = tmp_path / "out"
    made = []

    def stop(fraction, words):
        made.append(fraction)
        if fraction >= 0.45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(SMALL, folder, engine=Here(), progress=stop)
    assert 0 < len(list((folder / "index").iterdir())) < 3
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.zip")}
    with pytest.raises(InputError, match="give --resume"):
        run_sweep(SMALL, folder, engine=Here())
    finished = run_sweep(SMALL, folder, engine=Here(), resume=True)
    assert finished.made + finished.kept == 12 and finished.kept >= 5
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    same(folder, done)
    assert run_sweep(SMALL, folder, engine=Here(), resume=True).made == 0


def test_a_part_without_its_index_is_done_again(done, tmp_path):
    """As a process that died between the two leaves it; and stray temporary files are no
    obstacle."""
    folder = tmp_path / "out"
    shutil.copytree(done, folder)
    sorted((folder / "index").iterdir())[1].unlink()
    for half in ("parts/.000001-half.zarr.zip-x", "index/.000002-half.parquet-x.parquet"):
        (folder / half).write_bytes(b"PK")
    os.utime(folder / "parts/.000001-half.zarr.zip-x", (0, 0))
    with pytest.raises(InputError, match="7 of its 12 runs done"):
        run_sweep(SMALL, folder, engine=Here())
    assert len(index(folder)) == 7
    assert run_sweep(SMALL, folder, engine=Here(), resume=True).made == 5
    same(folder, done)
    strays = [path.name for path in folder.rglob(".*")]
    assert strays == [
        ".000002-half.parquet-x.parquet"
    ]  # the old one is swept up, one that may be in use is not


def test_a_folder_that_was_being_made_is_made(done, tmp_path):
    """As a process killed before sweep.json leaves it; another design there is a stranger's."""
    folder = tmp_path / "out"
    for name in storage.FOLDERS:
        (folder / name).mkdir(parents=True)
    (folder / "sweep.toml").write_text(SMALL.pinned().to_toml())
    (folder / ".sweep.json-0123abcd.json").write_text("{")
    assert kept(folder) == 0
    assert run_sweep(SMALL, folder, engine=Here(), resume=True).made == 12
    same(folder, done)
    for stranger in ("sweep.toml", "parts/wheel.stl", "thesis.tex"):
        folder = tmp_path / stranger.replace("/", "-")
        (folder / "parts").mkdir(parents=True)
        (folder / stranger).write_text('experiment = "linear"')
        with pytest.raises(StorageError, match="exists already and is not a sweep"):
            run_sweep(SMALL, folder, engine=Here(), resume=True)
        assert (folder / stranger).read_text() == 'experiment = "linear"'


def test_batches_are_in_order_beyond_six_digits(tmp_path):
    """The millionth came before the one that precedes it."""
    names = ["999999-id.parquet", "1000000-id.parquet", "000002-id.parquet"]
    (tmp_path / "index").mkdir()
    for name in (*names, "3rd.parquet"):
        (tmp_path / "index" / name).touch()
    found = [path.name for path in storage.finished(tmp_path, "index")]
    assert found == [names[2], names[0], names[1], "3rd.parquet"]


def test_folders_that_are_not_this_sweep(done, tmp_path):
    other = replace(SMALL, seeds=4)
    with pytest.raises(
        InputError, match="holds another sweep, 'small', seeds = 3 there and 4 here; choose"
    ):
        run_sweep(other, done, engine=Here(), resume=True)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StorageError, match="is not a sweep"):
        run_sweep(SMALL, tmp_path, engine=Here())
    half = tmp_path / "half"
    shutil.copytree(done, half)
    (half / "sweep.toml").unlink()
    with pytest.raises(
        InputError,
        match=r"sweep.toml is missing, as in a folder that is half copied; copy the folder",
    ):
        run_sweep(SMALL, half, engine=Here(), resume=True)
    assert len(index(half)) == len(SMALL)
    (half / "sweep.json").unlink()
    with pytest.raises(InputError, match=r"a sweep without its sweep.json, copied in part"):
        index(half)
    shutil.copytree(done, tmp_path / "cut")
    part = sorted((tmp_path / "cut" / "parts").iterdir())[0]
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(InputError, match=r"damaged .*--resume, which repeats its batch"):
        arrays(tmp_path / "cut")
    part.unlink()
    with pytest.raises(InputError, match=r"zip: missing; --resume, which repeats its batch"):
        arrays(tmp_path / "cut")
    part.write_bytes(b"PK")
    assert run_sweep(SMALL, tmp_path / "cut", engine=Here(), resume=True).made == 5
    same(tmp_path / "cut", done)
    record = json.loads((half.parent / "cut" / "sweep.json").read_text())
    (half / "sweep.json").write_text(json.dumps({**record, "version": 9}))
    with pytest.raises(InputError, match="version 9"):
        index(half)


def test_a_batch_that_fails_twice_is_named_and_the_rest_goes_on(tmp_path, monkeypatch):
    real = work.measure

    def broken(run, wanted):
        if run.experiment.seed == 6 and run.experiment.network.widths == (4,):
            raise ZeroDivisionError("on purpose")
        return real(run, wanted)

    monkeypatch.setattr(work, "measure", broken)
    folder = tmp_path / "out"
    finished = run_sweep(SMALL, folder, engine=Here())
    assert list(finished.failed) == [0] and "ZeroDivisionError: on purpose" in finished.failed[0]
    assert finished.made == 7 and "batch 0 failed, runs 0 to 4" in repr(finished)
    assert failures(folder)[0]["runs"] == [0, 4] and failures(folder)[0]["attempts"] == 2
    monkeypatch.setattr(work, "measure", real)
    assert run_sweep(SMALL, folder, engine=Here(), resume=True).made == 5 and not failures(folder)


def test_a_full_disk_is_a_sentence_and_the_folder_resumes(tmp_path, monkeypatch):
    real = storage._write_zarr

    def full(data, path):
        raise OSError(28, "No space left on device")

    folder = tmp_path / "out"
    monkeypatch.setattr(storage, "_write_zarr", full)
    with pytest.raises(
        StorageError,
        match=r"No space left on device.*free some space; 0 of 12 runs are kept, and --resume",
    ):
        run_sweep(SMALL, folder, engine=Here())
    assert not list((folder / "parts").iterdir())
    monkeypatch.setattr(storage, "_write_zarr", real)
    assert run_sweep(SMALL, folder, engine=Here(), resume=True).made == 12


# ------------------------------------------------------------------------ plan, page, command
def test_plan_counts_and_measures():
    found = plan(SMALL)
    record = found.record()
    assert (
        record["runs"] == 12 and record["batches"] == 3 and record["programs"] == 1
    )  # both in a span of four units
    assert (
        0 < found.seconds_a_run < 5
        and 1e3 < found.bytes_a_run < 1e6
        and record["data"] == ["exact moments of input"]
    )
    assert "core-hours" in repr(found)


def test_time_left_leaves_compiling_out(monkeypatch):
    """(a) Ten seconds to compile, then one run a second."""
    clock, said = [0.0], []
    monkeypatch.setattr(running.time, "perf_counter", lambda: clock[0])
    told = running._Told(SMALL, 0, 0.0, lambda fraction, words: said.append(words))
    for seconds, done in ((5.0, 0.0), (10.0, 0.2), (12.0, 0.6), (13.0, 0.8)):
        clock[0] = seconds
        told.under_way({"batch": done})
    assert "seconds left" not in said[0]
    assert (
        said[2] == "3 of 12 runs, 1 a second, 9 seconds left"
        and said[3] == "4 of 12 runs, 1 a second, 8 seconds left"
    )


def test_programs_are_extrapolated_only_where_each_point_has_its_own():
    assert running._extrapolated(1, 12, 400) == 1 and running._extrapolated(6, 12, 400) == 6
    assert running._extrapolated(12, 12, 400) == 400 and running._extrapolated(5, 5, 5) == 5


def test_packages_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PACKAGES", ("pandas", "no_such_package"))
    with pytest.raises(
        InputError, match=r"a sweep needs no_such_package; .*pip install 'saddlery\[sweeps\]'"
    ):
        run_sweep(SMALL, tmp_path / "out", engine=Here())
    assert not (tmp_path / "out").exists()


def test_ctrl_c_says_what_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SMALL.to_toml())
    real = work.write_batch

    def pressed(folder, name, *rest):
        if name.startswith("000002"):
            raise KeyboardInterrupt
        real(folder, name, *rest)

    monkeypatch.setattr(work, "write_batch", pressed)
    assert main(["sweep", "s.toml", "--engine", "here"]) == 130
    assert (
        "interrupted; 10 of 12 runs are kept in sweeps/small, --resume goes on"
        in capsys.readouterr().err
    )


def test_the_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SMALL.to_toml())
    assert main(["sweep", "s.toml", "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 12
    assert main(["sweep", "s.toml", "--engine", "here", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 12
    assert main(["sweep", "s.toml", "--engine", "here"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["runs", "sweeps/small", "width = 4", "--json", "--out", "chosen.csv"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6 == len(pd.read_csv("chosen.csv"))
    assert main(["runs", "sweeps/small", "--columns", "run,unit"]) == 2
    assert "did you mean 'units'" in capsys.readouterr().err
    assert main(["report", "sweeps/small"]) == 0
    page = (tmp_path / "sweeps" / "small" / "report.html").read_text()
    assert "12 of 12 runs" in page and page.count("<svg") >= 4 and "sweeps/small#11" in page
    table = index("sweeps/small")
    for run in range(12):  # a link, its card, and on the card the plateaus of the index
        assert f'<a href="#run-{run}">{run}</a>' in page
        card = page.split(f'<article class=card id="run-{run}">')[1].split("</article>")[0]
        (row,) = table[table["run"] == run].to_dict("records")
        assert card.count("<rect") == row["stages"] == card.count("<br>") and "<polyline" in card
        assert all(f"{kind}:" in card for kind in row["stage_kind"])
    capsys.readouterr()
    assert main(["stages", "sweeps/small#11", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["seed"] == 7
    assert main(["stages", "sweeps/small#12"]) == 2
    assert "from 0 to 11" in capsys.readouterr().err
    assert main(["sweep", "s.toml", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "belongs to --engine dask" in capsys.readouterr().err
    assert (
        main(["runs", "nowhere"]) == 2 and "there is no folder nowhere" in capsys.readouterr().err
    )
    assert (
        main(["report", "linear", "--fields", "a,b"]) == 2
        and "--fields is for" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_page_shows_combinations_that_are_impossible(tmp_path):
    """Each value is possible, two of them together are not: a row and a card with the reason, and
    no curve."""
    base = BASE.replace(task=LinearTeacher((1.0, 0.4), inputs=3, outputs=3))
    grid = {"task.inputs": (2, 3), "task.singular_values": ([1.0], [1.0, 0.5, 0.2])}
    folder = tmp_path / "mixed"
    run_sweep(Sweep(base, grid=grid), folder, engine=Here())
    statuses = index(folder).sort_values("run")["status"].tolist()
    assert statuses == ["stopped", "impossible", "stopped", "stopped"]
    page = sweep_page(folder)
    card = page.split('id="run-1"')[1].split("</article>")[0]
    assert "impossible" in card and "inputs" in card and "<svg" not in card


@pytest.mark.parametrize("plateaus", [[], [(0.0, 1.0), (2.0, 5.0)]])
def test_a_sketch_is_the_curve(plateaus):
    """(d) Points of the polyline, read back, lie on the loss; a constant loss of zero is drawn
    too."""
    time, loss = np.array([0.0, 1.0, 2.0, 5.0]), np.array([2.0, 2.0, 0.5, 0.0])
    drawn = sketch(time, loss, plateaus)
    points = np.array(
        [p.split(",") for p in re.findall(r'points="([^"]*)"', drawn)[0].split()], float
    )
    last = 5.0 if not plateaus else 1.15 * 2.0
    np.testing.assert_allclose(
        1 - points[:, 1] / 90, np.interp(points[:, 0] / 240 * last, time, loss) / 2, atol=0.01
    )
    assert "<polyline" in sketch(time, 0 * loss, plateaus)
