"""Pictures show the numbers they were given, say what their axes are, and leave everything else
alone."""

# ruff: noqa: RUF001 (labels as printed)

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from outcomes import fixed_point, refusal
from saddlery import Experiment, plots, saddle_graph, stages, train
from saddlery.basis.checks import InputError
from saddlery.plateaus import SaddleGraph, Stages, certify
from saddlery.plateaus import stages as find_stages
from saddlery.plateaus.graph import Edge, Node, Step
from saddlery.plots import Window, spectra, units_of_a_layer
from saddlery.plots.axes import INK, VERMILION, time_axis
from saddlery.predictions import PredictedStage, Prediction, compare, predict
from saddlery.units import attention, convolution, dense, in_context
from slowly import slowly

graph_module = sys.modules["saddlery.plots.graph"]  # `plots.graph` is the function

DRAWN = ("loss_curve", "singular_values", "unit_norms")


@pytest.fixture(scope="module")
def linear():
    return certify(train("linear"))


@pytest.fixture(scope="module")
def kinks(tmp_path_factory):
    """One input, a bias, and a target with kinks at -1 and 0.5."""
    x = np.linspace(-2, 2, 21)[:, None]
    path = tmp_path_factory.mktemp("kinks") / "data.npz"
    np.savez(path, inputs=x, targets=np.maximum(x - 0.5, 0) - 0.7 * np.maximum(-x - 1, 0))
    return find_stages(
        train(
            experiment(
                "arrays", f'inputs = "{path}"', ['unit = "relu"\nwidth = 12\nbias = true'], 200.0
            )
        )
    )


@pytest.fixture(scope="module")
def deep():
    layers = ['unit = "linear"\nwidth = 5\nmixes = false', 'unit = "linear"\nwidth = 4']
    return find_stages(
        train(
            experiment("linear_teacher", "singular_values = [1.0, 0.4]", layers, 60.0, scale=3e-2)
        )
    )


def experiment(
    task: str, options: str, layers: list[str], flow_time: float, scale: float = 1e-4
) -> Experiment:
    tables = "\n".join(f"[[network.layers]]\n{layer}" for layer in layers)
    text = (
        f'[task]\nkind = "{task}"\n{options}\n{tables}\n[initialization]\nscale = '
        f"{scale}\n[stop]\nflow_time = {flow_time}\n"
    )
    return Experiment.from_toml(text)


def fake(flow_time, loss, spans=(), last="end"):
    """A run and stages of which only the times and losses matter."""
    run = find_stages(fake.run).run  # any run: its trajectory is replaced
    time, loss = np.asarray(flow_time, float), np.asarray(loss, float)
    count = np.resize(np.arange(len(run.trajectory.loss)), len(time))
    recorded = {
        name: getattr(run.trajectory, name)[count] for name in ("step", "gradient_norm", "states")
    }
    trajectory = replace(run.trajectory, flow_time=time, loss=loss, **recorded)
    run = replace(run, trajectory=trajectory)
    kinds = ["initial", *["intermediate"] * (len(spans) - 2), last][: len(spans)]
    stage = find_stages(fake.run).stages[0]
    made = tuple(
        replace(stage, kind=k, start=float(a), end=float(b))
        for k, (a, b) in zip(kinds, spans, strict=True)
    )
    return Stages(run, made)


@pytest.fixture(scope="module", autouse=True)
def a_run(linear):
    fake.run, fake.stages = linear.run, linear


def lines(axes, colour):
    return [line for line in axes.get_lines() if line.get_color() == colour]


def labels(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


# ---------------------------------------------------------------- loss curves
def test_the_loss_curve_draws_the_recorded_loss_and_the_certified_ones(linear):
    axes = plots.loss_curve(linear)
    (curve,) = lines(axes, INK)
    np.testing.assert_array_equal(
        curve.get_xydata(),
        np.column_stack([linear.run.trajectory.flow_time, linear.run.trajectory.loss]),
    )
    dashed = [line.get_ydata()[0] for line in lines(axes, VERMILION)]
    np.testing.assert_allclose(
        dashed, [0.58, 0.08, 0.0], atol=1e-12
    )  # closed form: what is left of 1^2/2 + 0.4^2/2
    assert labels(axes) == ["0 units", "1 unit", "2 units"]
    assert [patch.get_x() for patch in axes.patches] == [stage.start for stage in linear.stages]


def test_labels_name_quantity_and_unit(linear):
    axes = plots.loss_curve(linear)
    assert axes.get_ylabel() == "loss (½ mean |y − f|²)"
    assert axes.get_xlabel().startswith("flow time (learning rate × steps)\ncropped at ")
    assert axes.get_xlabel().endswith(" of 80")


def test_uncertified_stages_and_bare_runs_are_drawn(linear):
    assert not lines(plots.loss_curve(stages(linear.run)), VERMILION)
    assert not plots.loss_curve(linear.run).patches


def test_the_last_drop_is_shown_and_the_tail_cropped(linear):
    end = plots.loss_curve(linear).get_xlim()[1]
    assert linear.stages[-1].start < end < 0.5 * linear.run.trajectory.flow_time[-1]


def test_a_run_that_still_moves_is_not_cropped():
    t = np.linspace(0, 10, 50)
    assert plots.window(fake(t, 1 - t / 20).run).end == 10


@pytest.mark.parametrize(
    "loss",
    [np.ones(9), np.zeros(9), np.full(9, np.nan), [1, 2, 4, 8, 1e3, 1e6, np.inf, np.nan, np.nan]],
)
@pytest.mark.parametrize("log", [False, True])
def test_constant_and_broken_losses_still_make_a_picture(loss, log):
    axes = plots.loss_curve(fake(np.arange(9.0), loss).run, log=log)
    assert axes.get_xlim() == (0, 8)
    axes.figure.draw_without_rendering()


def test_a_single_saved_point_still_makes_a_picture():
    plots.loss_curve(fake([0.0], [1.0]).run).figure.draw_without_rendering()


def test_time_is_logarithmic_only_where_stages_crowd():
    t = np.geomspace(0.1, 4000, 400)
    crowded = fake(t, np.exp(-t / 300), [(0, 83), (92, 97), (108, 112), (126, 154), (949, 4000)])
    spread = fake(t, np.exp(-t / 300), [(0, 1500), (1508, 2700), (2730, 4000)])
    assert plots.window(crowded).log and plots.loss_curve(crowded).get_xscale() == "log"
    assert not plots.window(spread).log and plots.loss_curve(spread).get_xscale() == "linear"


def test_crowded_names_shrink_to_numbers_and_keep_their_order():
    t = np.linspace(0, 100, 400)
    axes = plots.loss_curve(fake(t, 1 - t / 100, [(0, 40), (49, 50), (52, 53), (60, 100)]))
    assert labels(axes) == ["0 units", "0", "0", "0 units"]


def test_a_log_loss_axis_leaves_out_what_rounding_made_negative():
    axes = plots.loss_curve(fake(np.arange(4.0), [1, 1e-3, -1e-16, 1e-9]).run, log=True)
    assert np.isnan(lines(axes, INK)[0].get_ydata()[2])


# ---------------------------------------------------------------- observables
def test_singular_values_are_those_recorded(linear):
    record = linear.run.trajectory.observables
    axes = plots.singular_values(linear)
    drawn = np.column_stack([line.get_ydata() for line in axes.get_lines()])
    np.testing.assert_array_equal(drawn, record["product_singular_values_0"])
    assert labels(plots.singular_values(linear)) == ["s₁", "s₂"]


def test_unit_norms_are_those_recorded_and_counted(linear):
    axes = plots.unit_norms(linear)
    assert len(axes.get_lines()) == 50 and "(50 units)" in axes.get_ylabel()


@pytest.mark.parametrize("name", ["singular_values", "unit_norms"])
def test_a_missing_layer_is_named(linear, name):
    with pytest.raises(InputError, match=r"observable '.*_3' is not known"):
        getattr(plots, name)(linear, layer=3)


@pytest.mark.parametrize("name", DRAWN)
def test_layers_are_told_apart_where_there_are_several(deep, name):
    if name != "loss_curve":
        assert getattr(plots, name)(deep, layer=1).get_ylabel().endswith(", layer 2")


# ---------------------------------------------------------------------- units
def test_two_incoming_weights_are_the_plane(linear):
    stage = linear.stages[-1]
    axes = plots.unit_weights(linear, stage)
    state = linear.run.trajectory.states[stage.index]
    u = np.asarray(linear.run.objective().params(state)[0]["u"])  # read apart from `layer_sides`
    np.testing.assert_allclose(axes.collections[0].get_offsets(), u)
    assert axes.get_xlabel() == "incoming weight u₁"
    np.testing.assert_allclose(
        plots.unit_weights(linear.run, state).collections[0].get_offsets(), u
    )


def test_limits_are_common_to_the_stages(linear):
    shared = plots.view(linear.run, linear.stages)
    limits = {
        plots.unit_weights(linear, stage, shared=shared).get_xlim() for stage in linear.stages
    }
    assert len(limits) == 1
    largest = max(np.abs(plots.layer_sides(linear.run, stage)[0]).max() for stage in linear.stages)
    assert limits.pop()[1] > largest


def test_more_weights_are_shown_on_principal_axes_and_say_so():
    rng = np.random.default_rng(0)
    u = rng.standard_normal((40, 1)) * np.array([[3.0, 0, 0, 4.0, 0]]) + 0.01 * rng.standard_normal(
        (40, 5)
    )
    basis, names = units_of_a_layer._plane(dense("relu"), u)
    np.testing.assert_allclose(
        basis[0], [0.6, 0, 0, 0.8, 0], atol=0.01
    )  # the direction the points were made along
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
    assert names[0] == "principal axis 1 of 5 (100%)"


def test_kinks_are_where_the_target_bends(kinks):
    axes = plots.unit_weights(kinks, kinks.stages[-1])
    place, change = axes.collections[-1].get_offsets().T
    for x, slope in ((-1.0, -0.7), (0.5, 1.0)):  # closed form: the target's own kinks
        near = np.abs(place - x) < 0.3
        assert near.any() and np.sign(change[near].sum()) == np.sign(slope)
    assert axes.get_xlabel() == "kink −b/w (input)"
    assert axes.get_xlim()[0] < -2 and axes.get_xlim()[1] > 2


def test_kinks_outside_the_inputs_are_counted():
    u, v = np.array([[1.0, 0.0], [1.0, -9.0]]), np.ones((2, 1))
    shared = plots.View(np.eye(2), ("w", "b"), 1.0, 1.0)
    assert labels(plots.draw_units(dense("relu", True), u, v, shared)) == ["1 outside"]


def test_heads_are_bars_of_their_strengths():
    u, v = np.zeros((4, 2, 3, 1)), np.array([[1.0], [5.0], [2.0], [0.0]])
    u[:, 0, 0, 0] = [3.0, 1.0, 0.0, 7.0]
    unit, rows = in_context("linear"), u.reshape(4, -1)
    shared = plots.View(np.eye(2, 3), ("", ""), 1.0, 5.0)
    axes = plots.draw_units(unit, rows, v, shared)
    assert [bar.get_height() for bar in axes.patches] == [5.0, 3.0, 0.0, 0.0]  # by hand
    points = units_of_a_layer._points(unit, rows, v)
    np.testing.assert_array_equal(points[:4, 0], [3.0, 1.0, 0.0, 7.0])  # keys first
    assert not points[4:].any()


def test_keys_and_queries_of_any_rank_are_their_columns():
    rng = np.random.default_rng(1)
    u = rng.standard_normal((3, 2, 4, 2))
    points = units_of_a_layer._points(attention("linear", 2), u.reshape(3, -1), np.ones((3, 1)))
    keys = {tuple(u[h, 0, :, r]) for h in range(3) for r in range(2)}
    assert {tuple(p) for p in points[:6]} == keys and len(points) == 12


def test_one_incoming_weight_is_drawn_against_the_outgoing_one():
    u, v = np.array([[0.5], [-2.0]]), np.array([[1.0], [3.0]])
    shared = plots.View(np.eye(2), ("", ""), 4.0, 1.0)
    axes = plots.draw_units(dense("linear"), u, v, shared)
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), np.hstack([u, v]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("incoming weight u", "outgoing weight v")


@pytest.mark.parametrize(
    ("unit", "size"),
    [(dense("tanh"), 1), (dense("tanh"), 2), (dense("tanh"), 7), (dense("tanh", True), 2), (dense("relu", True), 2),
     (convolution("relu", (2, 2)), 4), (attention("merged"), 9), (attention("softmax"), 6), (in_context("linear"), 2)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_every_kind_of_unit_is_drawn_even_one_and_even_silent(unit, size, count, scale):
    rng = np.random.default_rng(size)
    u, v = scale * rng.standard_normal((count, size)), scale * rng.standard_normal((count, 2))
    basis, names = units_of_a_layer._plane(unit, units_of_a_layer._points(unit, u, v))
    axes = plots.draw_units(unit, u, v, plots.View(basis, names, 1.0, 1.0))
    axes.figure.draw_without_rendering()
    assert axes.get_xlabel() and axes.get_ylabel()


def test_inner_layers_are_drawn(deep):
    assert (
        plots.unit_weights(deep, deep.stages[0], layer=1)
        .get_xlabel()
        .startswith("principal axis 1 of 5")
    )


@pytest.mark.parametrize(
    "name",
    slowly(
        ["relu_conv", "quadratic", "linear_attention", "digits_relu"], "relu_conv", "digits_relu"
    ),
)
def test_shipped_experiments_have_labelled_pictures(name):
    found = find_stages(train(name))
    shared = plots.view(found.run, found.stages)
    drawn = [getattr(plots, picture)(found) for picture in DRAWN]
    drawn += [plots.unit_weights(found, stage, shared=shared) for stage in found.stages]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in drawn)
    assert labels(drawn[0]) and len(labels(drawn[0])) == len(found)


def test_bad_input_is_named(linear):
    with pytest.raises(InputError, match="layer must be one of the 1, counted from 0, got 1"):
        plots.unit_weights(linear, linear.stages[0], layer=1)
    with pytest.raises(InputError, match="state must be of shape"):
        plots.unit_weights(linear, np.zeros(3))
    with pytest.raises(InputError, match="states must be at least one"):
        plots.view(linear.run, [])
    with pytest.raises(InputError, match="heads with separate keys and queries"):
        plots.head_directions(linear, linear.stages[0])
    with pytest.raises(InputError, match="a Run or its Stages"):
        plots.loss_curve("linear")


# -------------------------------------------------------------------- spectra
def certificate(values, size=None, index=0, zero_modes=0):
    state = np.zeros(size or len(values))
    counts = {"index": index, "zero_modes": zero_modes}
    return fixed_point(eigenvalues=np.asarray(values, float), state=state, **counts)


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_spectrum_tells_negative_zero_and_positive_apart(linear):
    axes = plots.spectrum(linear.stages[1].certificate)
    assert legend(axes) == [
        "49 negative (index)",
        "99 zero modes",
        "52 positive",
    ]  # (2-1)(50-1); 200 in all
    drawn = [np.asarray(c.get_offsets())[:, 1] for c in axes.collections[:3]]
    assert drawn[0].max() < -0.3 and np.abs(drawn[1]).max() < 1e-9 and drawn[2].min() > 0.3
    assert len({tuple(c.get_facecolor()[0]) for c in axes.collections[:3]}) == 3


def test_no_fixed_point_has_no_spectrum():
    axes = plots.spectrum(refusal())
    assert (
        labels(axes) == ["no fixed point found:\nno spectrum"]
        and axes.get_ylabel() == "Hessian eigenvalue"
    )


def test_a_partial_spectrum_promises_only_what_is_known():
    axes = plots.spectrum(certificate([-2.0, -1.0, 5.0], size=5000, index=2, zero_modes=None))
    assert legend(axes) == ["2 negative (index)", "≥ 0 zero modes", "≥ 1 positive"]
    assert axes.get_xlabel() == "eigenvalue, the 3 known, ascending"


@pytest.mark.parametrize(
    ("values", "scale"), [([0, 0, 0], "linear"), ([-1, 0, 2], "linear"), ([1e-6, 1, 30], "symlog"), ([-1e-5, 0, 0], "linear"),
                          ([-3, -1e-5, 1e-5, 1e2], "symlog"), ([5], "linear"), ([-1e8, -1], "symlog")],
)  # fmt: skip
def test_wide_spectra_get_a_symmetric_logarithm(values, scale):
    axes = plots.spectrum(certificate(values))
    assert axes.get_yscale() == scale
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert low < min(values) or (low <= 0 == min(values))
    assert high > max(values)


def test_thinning_drops_only_what_would_be_hidden():
    values = np.concatenate([np.zeros(1500), np.linspace(0, 1, 500)])
    kept = spectra._thinned(np.arange(1, 2001), values, 2000)
    assert len(kept) < 1000 and kept[0] == 0
    assert np.diff([*kept, 2000]).max() <= 10  # 2000 points in a picture 200 points wide


# ---------------------------------------------------------------------- style
def test_given_axes_are_used_and_no_global_style_is_touched(linear):
    before = dict(matplotlib.rcParams)
    axes = Figure().add_subplot()
    assert plots.loss_curve(linear, axes) is axes
    assert dict(matplotlib.rcParams) == before
    assert plots.new_axes().figure is not plots.new_axes().figure


def test_missing_matplotlib_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'pip install "saddlery\[plots\]"'):
        plots.new_axes()


@pytest.mark.parametrize(
    ("value", "words"),
    [(25.83, "25.83"), (8420.0, "8,420"), (15000, "15,000"), (0, "0"), (2e7, "2e+07")],
)
def test_times_are_written_for_people(value, words):
    assert plots.readable(value) == words


# ------------------------------------------------- predictions beside a run
@pytest.fixture(scope="module")
def beside(linear):
    return compare(predict("linear", theory="linear modes")[0], linear)


def by_label(axes, words):
    return [line for line in axes.get_lines() if line.get_label() == words]


def horizontal(axes) -> list[float]:
    """Heights of the lines across the whole axes."""
    return [line.get_ydata()[0] for line in axes.get_lines() if tuple(line.get_xdata()) == (0, 1)]


def test_a_comparison_draws_the_numbers_of_its_table(beside, linear):
    axes = plots.comparison(beside)
    (curve,) = by_label(axes, "run")
    t = linear.run.trajectory
    np.testing.assert_array_equal(curve.get_xydata(), np.column_stack([t.flow_time, t.loss]))
    np.testing.assert_allclose(
        horizontal(axes), [0.58, 0.08, 0.0], atol=1e-12
    )  # closed form: 1^2/2 + 0.4^2/2
    points = {
        tuple(line.get_xydata()[0]) for line in axes.get_lines() if len(line.get_xydata()) == 1
    }
    spans = [line.get_xydata() for line in axes.get_lines() if line.get_linewidth() == 3]
    for stage, height, span in zip(beside.stages[1:], (0.33, 0.04), spans, strict=True):
        p = stage.predicted
        for time in (p.jump, p.mean, stage.jump):
            assert any(abs(x - time) < 1e-12 and abs(y - height) < 1e-9 for x, y in points)
        np.testing.assert_allclose(span, [[p.low, height], [p.high, height]])
        assert np.interp(stage.jump, t.flow_time, t.loss) == pytest.approx(
            height, rel=1e-2
        )  # (d) on the run's own curve


def test_a_comparison_names_its_axes_its_stages_and_its_errors(beside):
    axes = plots.comparison(beside)
    assert axes.get_ylabel() == "loss (½ mean |y − f|²)" and axes.get_xlabel().startswith(
        "flow time (learning rate × steps)"
    )
    errors = [f"{100 * stage.error:+.2f}%".replace("-", "−") for stage in beside.stages[1:]]
    assert all(abs(stage.error) < 1e-3 for stage in beside.stages[1:])
    assert sorted(labels(axes)) == sorted(["0 units", "1 unit", "2 units", *errors])
    assert legend(axes) == [
        "run",
        "fixed points, linear modes",
        "90% of draws",
        "mean of draws",
        "jump of the run",
        "predicted jump",
    ]


def compared(losses, jumps, spread=0.0, measured=None, **changes):
    """A made-up prediction beside a run that jumps at these times."""
    t = np.geomspace(0.1, 2 * max(jumps), 2000)
    steps = np.array(losses)[np.searchsorted(jumps if measured is None else measured, t)]
    stages = [PredictedStage(losses[0], (0,))] + [
        PredictedStage(loss, (k + 1,), jump, jump, (1 - spread) * jump, (1 + spread) * jump)
        for k, (loss, jump) in enumerate(zip(losses[1:], jumps, strict=True))
    ]
    prediction = Prediction("made up", "nobody", "nothing", tuple(stages), **changes)
    return compare(prediction, fake(t, steps))


def boxes(axes):
    axes.figure.draw_without_rendering()
    return [text.get_window_extent() for text in axes.texts if text.get_text()]


@pytest.mark.parametrize("count", [1, 2, 9, 30])
@pytest.mark.parametrize("growth", [1.02, 1.2, 2.0])
def test_words_never_cover_each_other(count, growth):
    jumps = [100 * growth**k for k in range(count)]
    axes = plots.comparison(compared(list(0.9 ** np.arange(count + 1)), jumps, spread=0.3))
    assert len(horizontal(axes)) == count + 1
    found = boxes(axes)
    assert not [1 for k, a in enumerate(found) for b in found[:k] if a.overlaps(b)]


def test_time_is_logarithmic_where_predicted_jumps_crowd():
    losses = [1.0, 0.8, 0.6, 0.4, 0.2]
    near, even = (
        compared(losses, [10.0, 12.0, 15.0, 900.0]),
        compared(losses, [10.0, 20.0, 30.0, 40.0]),
    )
    assert (
        plots.comparison(near).get_xscale() == "log"
        and plots.comparison(even).get_xscale() == "linear"
    )
    assert plots.comparison(near).get_xlim()[0] < 10


def test_a_jump_beyond_the_run_is_shown(beside):
    late = replace(
        beside.prediction,
        stages=(*beside.prediction.stages[:2], replace(beside.prediction.stages[2], jump=400.0)),
    )
    axes = plots.comparison(compare(late, fake.stages))
    assert axes.get_xlim()[1] > 400 and "cropped" not in axes.get_xlabel()


def test_the_exact_curve_of_a_theory_is_dashed(beside):
    times, loss = np.linspace(0, 30, 40), np.linspace(0.58, 0, 40)
    exact = replace(beside, prediction=replace(beside.prediction, curve=(times, loss)))
    (line,) = by_label(plots.comparison(exact), "theory")
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([times, loss]))
    assert line.is_dashed()


def test_stages_that_were_not_seen_say_so():
    axes = plots.comparison(
        compared([1.0, 0.5, 0.0], [10.0, 20.0])
    )  # the made-up run has no plateaus at all
    assert "1 unit, not seen" in labels(axes)


@pytest.mark.parametrize(
    "stages",
    [(), (PredictedStage(1.0, (0,)),), (PredictedStage(1.0, (0,)), PredictedStage(0.5, (1,)))],
)
def test_a_prediction_without_jumps_is_drawn(stages):
    """No stage, one, and one whose time the theory does not say."""
    plots.comparison(
        compare(Prediction("made up", "nobody", "nothing", stages), fake([0.0, 1.0], [1.0, 1.0]))
    ).figure.draw_without_rendering()


# ------------------------------------------------------------------- the graph
VERDICTS = ("degenerate saddle", "strict saddle", "minimum")


def made_graph(nodes, edges):
    """Nodes of (units, loss); edges of (start, end, utility)."""
    made = tuple(
        Node(units, loss, np.zeros(1), SimpleNamespace(verdict=VERDICTS[k % 3], index=0), None)
        for k, (units, loss) in enumerate(nodes)
    )
    return SaddleGraph(
        made, tuple(Edge(a, b, utility, 2, 2 * utility, None) for a, b, utility in edges), True, ()
    )


def cube(values):
    """(a) The fixed points of a linear network and what connects them."""
    sets = sorted(
        (len(s), s) for k in range(len(values) + 1) for s in combinations(range(len(values)), k)
    )
    nodes = [
        (k, 0.5 * sum(values[i] ** 2 for i in range(len(values)) if i not in s)) for k, s in sets
    ]
    places = {s: k for k, (_, s) in enumerate(sets)}
    edges = [
        (places[s], places[tuple(sorted((*s, i)))], 0.5 * values[i])
        for _, s in sets for i in range(len(values)) if i not in s
    ]  # fmt: skip
    return made_graph(nodes, edges)


def arrows(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def offsets(axes, words):
    (found,) = [c for c in axes.collections if c.get_label() == words]
    return np.asarray(found.get_offsets())


def test_a_graph_draws_its_nodes_by_units_and_loss():
    subject = cube((1.0, 0.5, 0.25))
    axes = plots.graph(subject)
    assert axes.get_xlabel() == "units of the narrow network"
    assert axes.get_ylabel() == "loss of the fixed point (mean over samples)"
    for verdict in VERDICTS:
        expected = [(n.units, n.loss) for n in subject.nodes if n.certificate.verdict == verdict]
        np.testing.assert_allclose(offsets(axes, verdict), expected)
    assert sorted(labels(axes)) == sorted(f"{k}: {n.loss:.3g}" for k, n in enumerate(subject.nodes))
    assert len(arrows(axes)) == 12


def test_arrows_are_as_thick_as_their_utility():
    axes = plots.graph(cube((1.0, 0.5, 0.25)))
    widths = sorted({round(a.get_linewidth(), 9) for a in arrows(axes)})
    step = 2.4 - 0.5  # thick - thin
    assert widths == pytest.approx([0.5 + step * u for u in (0.25, 0.5, 1.0)])
    assert legend(axes)[-2:] == ["escape of utility 0.5", "escape of utility 0.125"]


def test_the_route_of_a_run_stands_out():
    subject = cube((1.0, 0.5))
    steps = [Step(node, None) for node in (0, 2, None, 3)]  # one stage is of no node
    axes = plots.graph(subject, route=steps)
    taken = [a for a in arrows(axes) if to_hex(a.get_edgecolor()) == INK]
    assert len(taken) == 2 and len(arrows(axes)) == 4
    rings = [c for c in axes.collections if not c.get_facecolor().size]
    np.testing.assert_allclose(
        rings[0].get_offsets(), [(subject.nodes[k].units, subject.nodes[k].loss) for k in (0, 2, 3)]
    )
    jumped = plots.graph(subject, route=[Step(0, None), Step(3, None)])
    assert [a.get_linestyle() for a in arrows(jumped) if to_hex(a.get_edgecolor()) == INK] == [":"]


@pytest.mark.parametrize(
    "values", [(1.0,), (1.0, 0.9), (1.0, 0.5, 0.25), (1.0, 0.8, 0.6, 0.5), (1.0, 1.0, 1.0, 1.0)]
)
def test_labels_of_a_graph_never_cover_each_other(values):
    axes = plots.graph(cube(values))
    found = boxes(axes)
    assert not [1 for k, a in enumerate(found) for b in found[:k] if a.overlaps(b)]
    named = [
        int(k)
        for text in labels(axes)
        for line in text.split("\n")
        for k in line.split(":")[0].split(",")
    ]
    assert sorted(named) == list(range(2 ** len(values)))


def test_labels_of_neighbours_in_loss_are_moved_apart():
    nodes = [(0, 1.0), *((1, 0.4 + 0.033 * k) for k in range(5)), (2, 0.0)]
    found = boxes(plots.graph(made_graph(nodes, [])))
    assert len(found) == 7 and not [
        1 for k, a in enumerate(found) for b in found[:k] if a.overlaps(b)
    ]


def test_nodes_of_one_loss_stand_side_by_side():
    axes = plots.graph(
        made_graph([(0, 1.0), (1, 0.5), (1, 0.5), (2, 0.0)], [(0, 1, 0.5), (0, 2, 0.5)])
    )
    placed = np.vstack([offsets(axes, verdict) for verdict in VERDICTS])
    assert len(np.unique(placed.round(6), axis=0)) == 4 and "1, 2: 0.5" in labels(axes)


def test_a_graph_of_one_node_is_drawn():
    axes = plots.graph(made_graph([(0, 0.0)], []))
    axes.figure.draw_without_rendering()
    assert labels(axes) == ["0: 0"]


def test_a_real_graph_is_drawn():
    e = Experiment.named("linear")
    subject = saddle_graph(e.replace(network=e.network.with_widths([2])))
    assert labels(plots.graph(subject)) == ["0: 0.58", "1: 0.08", "2: 0.5", "3: 0"]


def test_misuse_of_comparison_and_graph(beside):
    with pytest.raises(
        InputError,
        match=r"a Comparison, got 'Prediction'; pass compare\(prediction, stages\(run\)\)",
    ):
        plots.comparison(beside.prediction)
    with pytest.raises(InputError, match="a SaddleGraph, got 'str'"):
        plots.graph("linear")
    with pytest.raises(
        InputError, match="the route must be through the 1 nodes of this graph, got node 3"
    ):
        plots.graph(made_graph([(0, 1.0)], []), route=[Step(3, None)])


def test_neither_touches_global_style(beside):
    before = dict(matplotlib.rcParams)
    axes = Figure().add_subplot()
    assert plots.comparison(beside, axes) is axes
    other = Figure().add_subplot()
    assert plots.graph(cube((1.0, 0.5)), other) is other
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "words",
    [r"$\frac{$", "$a$ $", "cost: 5$", r"\$", r"$\notacommand$ and $x_{$", "plain", "a_b^c"],
)
def test_text_of_others_is_drawn_letter_by_letter(words):
    """(c) What Matplotlib draws is what was given; read as mathematics, the first one ends with its
    parser's error."""
    drawn = Figure().text(0, 0, plots.literal(words))
    assert drawn._preprocess_math(drawn.get_text()) == (words, False)
    axes = plots.heat_map(
        np.eye(2), np.full((2, 2, 2), np.nan), [words, "b"], ["c", words], (words,) * 3
    )
    axes.figure.draw_without_rendering()
    assert axes.get_xticklabels()[0].get_text() == plots.literal(words)


def test_signs_that_steer_a_terminal_become_visible():
    assert plots.literal("a\x1b[31m\nb\u202e") == "a\\x1b[31m\\nb\\u202e"


def test_a_diverged_loss_has_a_logarithmic_axis(linear):
    """Margins beyond the largest float were limits of infinity."""
    count = len(linear.run.trajectory.loss)
    axes = plots.loss_curve(of_loss(linear.run, np.geomspace(1.0, 1e300, count)), log=True)
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert 0 < low < 1 and high == pytest.approx(1e250)


def test_margins_are_of_the_range_that_is_shown(linear):
    """A negative loss lay on the edge of the picture where it began near zero."""
    count = len(linear.run.trajectory.loss)
    axes = plots.loss_curve(of_loss(linear.run, np.linspace(1e-3, -2.0, count)))
    low, high = axes.get_ylim()
    assert low < -2.05 and high > 0.05


def of_loss(run, loss):
    return replace(run, trajectory=replace(run.trajectory, loss=loss))


def test_a_kink_of_leaky_relu_bends_less():
    """(f) The change of slope that is drawn is that of the map, by differences on both sides."""
    unit = dense("leaky_relu", bias=True)
    u, v = np.array([[2.0, -1.0]]), np.array([[3.0]])
    axes = plots.draw_units(unit, u, v, units_of_a_layer.View(np.eye(2), ("", ""), 1.0, 1.0))
    ((place, change),) = axes.collections[-1].get_offsets()

    def slope(x):
        step = 1e-3
        above, below = (float(unit.phi(np.array([z]), u[0])) for z in (x + step, x - step))
        return 3.0 * (above - below) / (2 * step)

    assert place == pytest.approx(0.5)
    assert change == pytest.approx(slope(0.75) - slope(0.25), rel=1e-3)
    assert axes.get_ylabel() == "change of slope 0.9 |w| v"


@pytest.mark.parametrize("size", [1e-170, 1.0, 1e170])
def test_shares_of_principal_axes_do_not_depend_on_the_size_of_weights(size):
    points = size * np.diag([2.0, 1.0, 0.0])
    names = units_of_a_layer._plane(dense("linear"), points)[1]
    assert names == ("principal axis 1 of 3 (80%)", "principal axis 2 of 3 (20%)")


@pytest.mark.parametrize("value", [1e-9, 1e20])
def test_the_span_of_one_input_is_of_its_size(tmp_path, value):
    """A margin of one hid what is smaller, and was lost beside what is larger."""
    path = tmp_path / "data.npz"
    np.savez(path, inputs=[[value]], targets=[[1.0]])
    layer = ['unit = "relu"\nwidth = 2\nbias = true']
    text = experiment("arrays", f'inputs = "{path}"', layer, 1e-3)
    run = SimpleNamespace(
        experiment=text, objective=lambda: SimpleNamespace(inputs=np.array([[value]]))
    )
    common = units_of_a_layer.View(np.eye(2), ("", ""), 1.0, 1.0)
    sides = np.array([[1.0, 1.0]]), np.array([[1.0]])
    span = units_of_a_layer._kink_view(run, 0, [sides], common).span
    assert span == pytest.approx((0.0, 2 * value))


@pytest.mark.parametrize("heads", [1, 6, 500])
def test_numbers_of_heads_are_few_and_whole(heads):
    u, v = np.ones((heads, 4)), np.ones((heads, 2))
    shared = units_of_a_layer.View(np.eye(2, 4), ("", ""), 1.0, 4.0)
    axes = plots.draw_units(attention("linear"), u, v, shared)
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 1 <= len(shown) <= 7
    assert all(tick == round(tick) for tick in shown)


@pytest.mark.parametrize("decades", [1, 3, 6, 12])
def test_a_logarithmic_axis_has_a_legible_number_of_times(decades):
    """Three a decade ran into each other, and of twelve decades none was left."""
    shown = Window(1.0, 10.0**decades, last=10.0**decades, log=True)
    axes = plots.new_axes()
    time_axis(axes, shown)
    inside = [tick for tick in axes.get_xticks() if shown.start <= tick <= shown.end]
    assert 2 <= len(inside) <= 10


def test_many_nodes_of_one_loss_stay_at_their_number_of_units():
    """Thirteen of one unit reached from 0.2 to 1.8."""
    subject = made_graph([(0, 1.0)] + [(1, 0.5)] * 13 + [(2, 0.0)], [])
    places = graph_module._places(subject.nodes)
    np.testing.assert_array_equal(np.round(places[:, 0]), [0] + [1] * 13 + [2])


def test_arrows_without_utility_are_thin():
    subject = made_graph([(0, 1.0), (1, 0.5)], [(0, 1, 0.0)])
    (arrow,) = arrows(plots.graph(subject))
    assert arrow.get_linewidth() == graph_module.THIN


def test_numbers_of_units_do_not_crowd():
    subject = made_graph([(0, 1.0), (100, 0.5)], [])
    assert len(plots.graph(subject).get_xticks()) <= graph_module.TICKS + 1


def test_values_that_differ_have_names_that_differ():
    """1.01e-4 and 1.04e-4 were both 1.0e-04 below a map."""
    means = np.array([[1.0, 2.0]])
    axes = plots.heat_map(
        means, np.full((1, 2, 2), np.nan), [1.01e-4, 1.04e-4], [True], ("scale", "bias", "loss")
    )
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.000101", "0.000104"]


def test_a_long_name_of_colours_is_folded():
    words = "share of plateaus with a certified fixed point"
    axes = plots.heat_map(
        np.array([[1.0]]), np.full((1, 1, 2), np.nan), [1], [1], ("a", "b", f"{words} in $")
    )
    label = axes.figure.axes[-1].get_ylabel()
    assert label.replace("\n", " ") == f"{words} in \\$"
    assert max(map(len, label.split("\n"))) <= 40


def test_an_observable_of_ones_own_is_not_taken_for_another(linear):
    """A name that ended like that of a figure made its page say that it could not be drawn."""
    recorded = {"my_unit_norms_0": np.ones((len(linear.run.trajectory.loss), 3))}
    trajectory = replace(linear.run.trajectory, observables=recorded)
    found = replace(linear, run=replace(linear.run, trajectory=trajectory))
    assert list(plots.FIGURES.named("unit_norms")(found)) == []
    assert len(list(plots.FIGURES.named("unit_norms")(linear))) == 1


def test_a_node_visited_twice_in_a_row_has_no_path_to_itself():
    steps = [Step(0, None), Step(0, None)]
    assert arrows(plots.graph(made_graph([(0, 1.0)], []), route=steps)) == []


@pytest.mark.parametrize("losses", [[1.0], [1.0, np.nan, np.nan]])
def test_a_single_finite_loss_is_seen(losses):
    """A line of one point is nothing."""
    axes = plots.loss_curve(fake(range(len(losses)), losses).run)
    assert axes.lines[-1].get_marker() == "."


def test_the_power_of_ten_of_a_loss_lies_on_no_name(linear):
    """Losses of small targets: 1e-13 lay on "0 units"."""
    scaled = of_loss(linear.run, 1e-12 * linear.run.trajectory.loss)
    axes = plots.loss_curve(replace(linear, run=scaled))
    axes.figure.draw_without_rendering()
    power = axes.yaxis.get_offset_text()
    assert power.get_text()
    names = [text for text in axes.texts if "unit" in text.get_text()]
    assert not any(power.get_window_extent().overlaps(name.get_window_extent()) for name in names)
