"""Every result, of whatever room, prints as a table in any terminal and as HTML in a notebook, and
has a record that JSON holds; labelled data are named by the one written schema.

The results are enumerated: one without an example here fails.
"""

from __future__ import annotations

import importlib
import inspect
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import rooms

from outcomes import fixed_point, refusal
from saddlery import Experiment, embed, reduce
from saddlery.basis import records
from saddlery.basis.checks import InputError
from saddlery.basis.pictures import PICTURES, Pictured
from saddlery.basis.records import Result
from saddlery.basis.text import width
from saddlery.doors.labels import frame, stacked
from saddlery.doors.schema import LABELS
from saddlery.plateaus import Stages
from saddlery.plateaus import stages as find_stages
from saddlery.plateaus.graph import Edge, Node, SaddleGraph
from saddlery.plateaus.growth import Growth, Mechanism
from saddlery.plateaus.rest import Rest
from saddlery.plateaus.visits import Visit
from saddlery.predictions import PredictedStage, Prediction, Range, compare
from saddlery.runs import Failure, train
from saddlery.runs.ensembles import Ensemble
from saddlery.studies import STUDIES
from saddlery.studies.base import Judged, Outcome
from saddlery.sweeps import Finished, Plan, Sweep
from saddlery.symmetry.utility import Utility
from saddlery.training import Stop

NASTY = '<script>alert("1")</script> & \'"><img src=x onerror=alert(1)> \x1b[31m\u202e 字'
NAN = float("nan")
WIDTHS = (20, 37, 80, 200)


def all_results(kind: type = Result) -> set[type]:
    """Every type of result there is."""
    for path in rooms.modules():
        if path.name not in ("__main__.py",) and "worker" not in path.name:
            importlib.import_module(f"saddlery.{rooms.module_of(path)}")
    found: set[type] = set()
    for derived in kind.__subclasses__():
        found |= all_results(derived) | ({derived} if not inspect.isabstract(derived) else set())
    return {one for one in found if one.__module__.startswith("saddlery.")}


@pytest.fixture(scope="module")
def made() -> dict[type, Result]:
    """One of each, with a hostile text where it holds text, and a number that does not exist where
    one may be missing."""
    base = Experiment.named("linear")
    network = base.network.with_widths([3])
    small = base.replace(network=network, stop=Stop(flow_time=40.0), name=NASTY, description=NASTY)
    run = train(small)
    found = find_stages(run)
    certified = [fixed_point(reason=NASTY), refusal(reason=NASTY, nearest=fixed_point())]
    stages = tuple(
        type(stage)(**{**vars(stage), "certificate": certified[k % 2], "note": NASTY})
        for k, stage in enumerate(found.stages)
    )
    found = Stages(run, stages, found.rest)
    whole = Range(NASTY, NAN, 0.1, 0.2)
    expected = PredictedStage(0.5, (1,), jump=3.0, index=4, range=whole)
    predicted = Prediction(
        NASTY, NASTY, NASTY, (PredictedStage(0.6, (0,)), expected), ranges=(whole,)
    )
    compared = compare(predicted, found)
    nodes = tuple(Node(k, 0.5, np.zeros(2), certified[k], None) for k in range(2))
    edge = Edge(0, 1, 0.5, 3, None, None)
    growth = Growth(0, 0, 2.0, NAN, None, NASTY)
    sweep = Sweep(small, seeds=2, name=NASTY.replace("/", ""))
    judged = Judged(NASTY, NASTY, NASTY, NASTY, "1", None, NAN, "undecided", 2, 1)
    objective = small.objective()
    state = run.trajectory.states[-1]
    failed = Failure(small, NASTY)
    examples = [
        *certified, stages[0], found, found.rest, run, run.trajectory, failed, Ensemble((run, failed)),
        small, network, objective, reduce(objective, state), stages[0].effective[0],
        embed(network, objective.params(state), 4), whole, expected, predicted, compared,
        compared.stages[0], nodes[0], edge, SaddleGraph(nodes, (edge,), False, (NASTY,)), growth,
        Mechanism((growth,)), Visit((1,), "no fixed point", NASTY, NAN, NAN, NAN, NAN, NAN, None),
        Rest("at rest", NASTY, {"fall": NAN}), Utility(0.5, 3, None, np.ones(2), np.ones(1), 0, 0.0),
        sweep, Finished("folder", sweep, 1, 0, {0: NASTY}, 1.0), Plan(sweep, 1, 1, 0.1, 1.0, 9.0, (NASTY,)),
        Outcome(STUDIES["figure1"], (), (judged,), (NASTY,)), objective.tensors,
    ]  # fmt: skip
    return {type(example): example for example in examples}


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        assert not attributes


def check_prints(result: Result, columns: int, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = repr(result).split("\n")
    assert lines[0] and max(map(width, lines)) <= columns
    assert all(line.isprintable() for line in lines)


def check_html(result: Result) -> None:
    text = result._repr_html_()
    assert Tags(text).names <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    assert "\x1b" not in text and "\u202e" not in text


def check_record(result: Result) -> None:
    record = result.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_every_result_has_an_example(made):
    assert {one.__name__ for one in all_results()} == {one.__name__ for one in made}


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_result_fits_the_terminal(made, monkeypatch, columns):
    for result in made.values():
        check_prints(result, columns, monkeypatch)


def test_words_are_not_lost_in_a_narrow_terminal(made, monkeypatch):
    """(c) Whatever the width, the same letters, and each column once with the first in every
    table."""
    run = made[type(made[Stages].run)]
    letters = lambda: sorted(repr(run).replace(" ", "").replace("-", "").replace("\n", ""))
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = letters()
    monkeypatch.setenv("COLUMNS", "30")
    assert letters() == whole
    columns = ("stage", "loss", "units")
    assert records.text_table(columns, [["first", "0.5", "many of them"]]).split("\n") == [
        "stage  loss  units",
        "-----  ----  ------------",
        "first  0.5   many of them",
    ]
    monkeypatch.setenv("COLUMNS", "19")
    assert records.text_table(columns, [["first", "0.5", "many of them"]]).split("\n") == [
        *("stage  loss", "-----  ----", "first  0.5", ""),
        *("stage  units", "-----  ------------", "first  many of them"),
    ]
    monkeypatch.setenv("COLUMNS", "15")
    assert records.text_table(columns, [["first", "0.5", "many of them"]]).split("\n")[4:] == [
        *("stage  units", "-----  --------", "first  many of", "       them"),
    ]


def test_every_result_is_escaped_in_a_notebook(made):
    for result in made.values():
        check_html(result)
    assert "&lt;script&gt;" in made[Stages]._repr_html_()


def test_every_record_is_json(made):
    for result in made.values():
        check_record(result)


def test_results_that_break_the_rules_are_seen(made, monkeypatch):
    """Broken on purpose: nothing is escaped, nothing wraps, NaN in a record."""
    with monkeypatch.context() as broken:
        broken.setattr(records.html, "escape", lambda text: text)
        with pytest.raises(AssertionError):
            check_html(made[Stages])
    with monkeypatch.context() as broken:
        broken.setattr(records, "room", lambda: None)
        with pytest.raises(AssertionError):
            check_prints(made[Stages], 37, broken)
    with monkeypatch.context() as broken:
        broken.setattr("saddlery.plateaus.visits.plain", lambda value: value)
        with pytest.raises(ValueError, match="JSON"):
            check_record(made[Visit])


# -------------------------------------------------------------- labelled data
def labelled(made):
    return [
        one
        for one in made.values()
        if hasattr(one, "to_dataframe") and not isinstance(one, Finished)
    ]


def test_labelled_data_are_named_by_the_schema(made):
    """(c) Every column and every variable has its units and its definition, from the schema."""
    known = {label.name for table in LABELS.values() for label in table}
    assert len(labelled(made)) >= 8
    for result in labelled(made):
        table, data = result.to_dataframe(), result.to_xarray()
        names = [name for name in table if not name.startswith("observable.")]
        assert set(names) <= known and set(table.attrs["units"]) == set(table)
        assert all(table.attrs["definitions"].values())
        for name, variable in data.variables.items():
            assert variable.attrs["definition"] and (name in data.sizes or variable.attrs["units"])
        json.dumps(table.attrs, allow_nan=False)


def test_labelled_values_are_those_of_the_result(made):
    """(d) By the fields themselves; what does not exist is missing."""
    run, found = made[type(made[Stages].run)], made[Stages]
    table, data = run.to_dataframe(), run.to_xarray()
    assert np.array_equal(table["loss"], run.trajectory.loss)
    assert np.array_equal(data["states"], run.trajectory.states) and data["loss"].dims == ("point",)
    assert "flow_time" in data.coords and data.attrs["identity"] == run.experiment.identity
    stages, arrays = found.to_dataframe(), found.to_xarray()
    assert list(stages["kind"]) == [stage.kind for stage in found.stages]
    assert list(stages["certified"]) == [stage.certificate.certified for stage in found.stages]
    assert stages["index"].isna().tolist() == [not c for c in stages["certified"]]
    assert arrays["index"].values.tolist() == [1 if c else -1 for c in stages["certified"]]
    assert np.isnan(arrays["fixed_point_loss"].values).tolist() == stages["index"].isna().tolist()
    graph = made[SaddleGraph]
    assert graph.to_dataframe("edges")["edge_utility"].tolist() == [0.5]
    with pytest.raises(InputError, match="of 'edge' is not known; did you mean 'edges'"):
        graph.to_dataframe("edge")


def test_an_ensemble_is_its_runs_side_by_side(made):
    """(d) Beside a loop over the members: shorter runs are filled up, and failures are no runs."""
    run, failed = made[Ensemble].members
    short = type(run)(**{**vars(run), "trajectory": cut(run.trajectory, 5)})
    found = Ensemble.of([(2, short), (0, run), (1, failed)])
    data = found.to_xarray()
    assert data["run"].values.tolist() == [0, 2] and data["loss"].dims == ("run", "point")
    assert np.array_equal(data["loss"][0], run.trajectory.loss)
    assert np.array_equal(data["loss"][1, :5], run.trajectory.loss[:5])
    assert np.isnan(data["loss"][1, 5:]).all() and (data["step"][1, 5:] == -1).all()
    assert found.to_dataframe()["final_loss"].isna().tolist() == [False, True, False]
    with pytest.raises(InputError, match="members must be at least one that ran, got none"):
        Ensemble((failed,)).to_xarray()


def cut(trajectory, count):
    arrays = ("flow_time", "step", "loss", "gradient_norm", "states")
    return type(trajectory)(**{
        **vars(trajectory), "observables": {}, **{name: getattr(trajectory, name)[:count] for name in arrays}
    })  # fmt: skip


def test_stacked_arrays_are_seen_where_they_are_not():
    assert stacked([np.array([1, 2]), np.array([3])]).tolist() == [[1, 2], [3, -1]]
    assert stacked([np.array([True]), np.zeros(0, bool)]).tolist() == [[1], [-1]]


@pytest.mark.parametrize(
    ("types", "common"),
    [
        ([np.float32, np.float64], np.float64),
        ([np.float32, np.float32], np.float32),
        ([np.int32, np.int64], np.int64),
        ([bool, bool], np.int8),
        ([bool, np.float32], np.float32),
    ],
)
def test_stacked_arrays_hold_the_numbers_of_all(types, common):
    """In either order."""
    for kinds in (types, types[::-1]):
        found = stacked([np.array([1], kind) for kind in kinds])
        assert found.dtype == common and found.tolist() == [[1], [1]]


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("saddlery.basis.checks.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a data frame needs pandas; install it by: pip install"):
        frame("run", {}, {})


# ------------------------------------------------------------------ pictures
def test_pictures_are_those_of_plots(made):
    """Each result that has a picture is drawn by the function of `plots` that says so."""
    import saddlery.plots as plots

    drawn = [one for one in made.values() if isinstance(one, Pictured)]
    assert len(drawn) == 6
    for result in drawn:
        axes = plots.new_axes()
        assert result.plot(axes) is axes and axes.has_data() | bool(axes.texts)
    assert made[Stages].plot(log=True).get_yscale() == "log"
    assert set(PICTURES.values()) <= {getattr(plots, name) for name in plots.__all__}
