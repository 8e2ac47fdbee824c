"""A report is one well-formed, self-contained page that says everything and trusts nothing."""

# ruff: noqa: RUF001 (labels as printed)

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from outcomes import refusal
from saddlery import Experiment, compare, plots, predict, report, saddle_graph, train
from saddlery.basis.checks import InputError, StorageError
from saddlery.basis.records import number
from saddlery.plateaus import Stages, certify
from saddlery.plateaus import stages as find_stages
from saddlery.report import figures, quantities, sections
from saddlery.saddles import Refusal

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, in order, with their attributes; it insists that every element is
    closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(word for words in self.text.values() for word in words)


def refused() -> Refusal:
    return refusal(reason="left the basin: <b>far & away</b>", narrow_units=())


@pytest.fixture(scope="module")
def linear():
    return certify(train("linear"))


@pytest.fixture(scope="module")
def attention():
    return find_stages(train("linear_attention"))


@pytest.fixture(scope="module")
def deep():
    text = """
    name = "two layers"
    task = {kind = "linear_teacher", singular_values = [1.0, 0.4]}
    network = {layers = [{unit = "linear", width = 5, mixes = false}, {unit = "linear", width = 4}]}
    initialization = {scale = 3e-2}
    stop = {flow_time = 60.0}
    """
    return find_stages(train(Experiment.from_toml(text)))


def varied(found: Stages, **changes) -> Stages:
    """The same stages of a run whose experiment, trajectory or warnings differ."""
    run = found.run
    for name in ("experiment", "trajectory"):
        if name in changes:
            run = replace(run, **{name: replace(getattr(run, name), **changes.pop(name))})
    return replace(found, run=replace(run, **changes))


def without(found: Stages) -> Stages:
    return replace(found, stages=())


# ----------------------------------------------------------------- one run
def test_every_stage_and_every_field_is_on_the_page(linear):
    page = Page(report.run_page(linear))
    for stage in linear.stages:
        assert stage.certificate.reason in page.words
        for name, _ in stage.certificate.rows():
            assert name in page.words
    cards = [a for a in page.all("article") if a.get("class") == "card"]
    assert len(cards) == len(linear) == 3
    for words in ("linear 50", "linear_teacher", ("exact moments of the input "
        "feature"), "80", linear.run.versions["jax"],
                  linear.run.experiment.identity):  # fmt: skip
        assert words in page.words
    assert linear.run.experiment.to_toml() in "".join(page.text["pre"])


def test_a_page_has_what_a_screen_reader_needs(linear):
    page = Page(report.tour_page([linear, linear]))
    assert page.all("html")[0]["lang"] == "en"
    assert page.text["title"] == ["A tour of saddles"]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    assert all(th.get("scope") in ("col", "row", "rowgroup") for th in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("h1")) == 1
    assert all(
        a.get("aria-label") and a["tabindex"] == "0"
        for a in page.all("div")
        if a.get("role") == "region"
    )
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_every_verdict_is_said_in_words_beside_its_sign(linear):
    page = report.run_page(linear)
    for stage in linear.stages:
        assert f"</i>{stage.certificate.verdict}</span>" in page


def test_figures_say_what_their_axes_are(linear):
    words = Page(report.run_page(linear)).text["text"]
    of_curves = (
        "loss (½ mean |y − f|²)",
        "flow time (learning rate × steps)",
        "singular values of Σ v u′",
        "1 unit",
    )
    of_stages = ("Hessian eigenvalue", "incoming weight u₁", "49 negative (index)")
    for label in (*of_curves, *of_stages, "unit strength |u| |v| (50 units)"):
        assert label in words, label


# -------------------------------------------------------------- self-contained
def pages(linear, attention, deep):
    return report.tour_page([linear, attention, deep], {"runs": []})


def test_no_request_leaves_the_page(linear, attention, deep):
    text = pages(linear, attention, deep)
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]|@import|@font-face|javascript:", text)
    for tag in ("script", "link", "img", "iframe", "object", "image", "base", "form"):
        assert not page.all(tag), tag
    for _, attributes in page.elements:
        assert "src" not in attributes and not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_ids_are_unique_and_every_reference_has_its_target(linear, attention, deep):
    text = pages(linear, attention, deep)
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r"url\(#([^)]*)\)", text)
    references += [
        attributes["href"][1:] for _, attributes in page.elements if "href" in attributes
    ]
    references += [
        attributes["aria-labelledby"]
        for _, attributes in page.elements
        if "aria-labelledby" in attributes
    ]
    assert references and set(references) <= set(ids)


def test_the_page_is_small(linear, attention, deep):
    assert (
        len(pages(linear, attention, deep).encode()) < 4e6 / 3
    )  # a tour has seven runs, of these sizes or less


def test_colours_follow_the_page(linear):
    body = report.run_page(linear).split("</style>", 1)[1]
    assert "var(--ink)" in body and not re.search(
        r"#[0-9a-f]{6}\b(?!-)", re.sub(r"\(#[^)]*\)|href=\"#[^\"]*\"", "", body)
    )


def test_the_same_input_gives_the_same_bytes(linear):
    again = replace(linear)  # equal, but not the same object: nothing remembered is used
    assert report.run_page(again) == report.run_page(linear)


# -------------------------------------------------------------------- escaping
NASTY = '<script>alert("1")</script> & \'"><img src=x onerror=alert(1)>'


def test_whatever_a_user_can_name_is_escaped(linear):
    stage = replace(linear.stages[1], certificate=refused())
    found = varied(replace(linear, stages=(stage,)), experiment={"name": NASTY, "description": NASTY},
                   trajectory={"status": "interrupted", "reason": NASTY}, warnings=(NASTY,),
                   versions={NASTY: NASTY}, data=NASTY)  # fmt: skip
    for text in (report.run_page(found), report.tour_page([found], {NASTY: NASTY})):
        page = Page(text)
        assert not page.all("script") and not page.all("img") and not page.all("b")
        assert NASTY in page.words


# --------------------------------------------------------------- awkward stages
def test_a_run_without_stages_says_so(linear):
    for text in (report.run_page(without(linear)), report.tour_page([without(linear)])):
        assert "No plateau was found on this run." in text and not Page(text).all("article")
    assert "no plateau found" in report.tour_page([without(linear)])


def test_uncertified_stages_are_shown_as_such(attention):
    page = Page(report.run_page(attention))
    assert page.words.count("not certified") >= 2 * len(attention)
    assert "Hessian eigenvalue" not in page.text["text"]
    assert "the Hessian at the fixed point" not in page.words
    assert "key or query, entry 1" in page.text["text"]


def test_not_a_fixed_point_is_a_full_answer(linear):
    found = replace(
        linear, stages=(linear.stages[0], replace(linear.stages[1], certificate=refused()))
    )
    page = Page(report.run_page(found))
    assert "left the basin: <b>far & away</b>" in page.words
    assert "nan" not in page.words.lower().split()
    assert "no fixed point found:" in page.text["text"]
    assert any("No fixed point was found" in (svg["aria-label"] or "") for svg in page.all("svg"))


def test_interrupted_runs_and_warnings_stand_out(linear):
    found = varied(
        linear,
        trajectory={"status": "interrupted", "reason": "stopped by the keyboard"},
        warnings=("float32 is short",),
    )
    page = Page(report.run_page(found))
    assert [a["role"] for a in page.all("p") if a.get("class") == "note"] == ["note", "note"]
    assert "This run was not completed: interrupted, stopped by the keyboard." in page.words


def test_every_layer_has_its_pictures(deep):
    page = Page(report.run_page(deep))
    labels = [svg["aria-label"] for svg in page.all("svg")]
    for k in (1, 2):
        assert sum(f"Units of layer {k} at" in label for label in labels) == len(deep)
        assert f"The strength of every unit of layer {k} against flow time." in labels


def test_a_run_without_observables_is_shown(linear):
    page = Page(report.run_page(varied(linear, trajectory={"observables": {}})))
    assert "singular values" not in " ".join(page.text["text"])


def test_the_experiment_may_have_one_unit():
    experiment = Experiment.named("linear").table() | {"name": "narrow"}
    experiment["network"]["layers"][0]["width"] = 1
    experiment["stop"] = {"flow_time": 20.0}
    from saddlery.experiments.experiment import from_table

    found = find_stages(train(from_table(experiment)))
    assert "unit strength |u| |v| (1 unit)" in report.run_page(found)


# ------------------------------------------------------------------------ tours
def test_the_summary_comes_first_and_links_every_run(linear, attention):
    text = report.tour_page([linear, attention, without(linear)])
    page = Page(text)
    assert text.index("<table") < text.index("<section")
    links = [a["href"] for a in page.all("a")]
    assert (
        links
        == [f"#{section['id']}" for section in page.all("section")]
        == ["#run-0", "#run-1", "#run-2"]
    )
    summary = text[text.index("<table") : text.index("</table>")]
    assert summary.count("<tr>") == 1 + len(linear) + len(attention) + 1
    assert "3 runs, 6 plateaus, 3 certified fixed points" in page.words


def test_the_same_run_twice_keeps_its_places(linear):
    page = Page(report.tour_page([linear, linear]))
    assert [section["id"] for section in page.all("section")] == ["run-0", "run-1"]


def test_the_record_is_on_the_page_if_asked(linear):
    assert '{\n "runs": 7\n}' in "".join(Page(report.tour_page([linear], {"runs": 7})).text["pre"])
    assert "Record of the tour" not in report.tour_page([linear])


def test_an_empty_tour_is_a_page():
    assert "0 runs, 0 plateaus" in Page(report.tour_page([])).words


def test_a_growing_tour_redraws_nothing(linear, attention, monkeypatch):
    report.tour_page([linear])
    monkeypatch.setattr(sections, "_draw_section", lambda found, k, heading: f"drawn {k}")
    other = replace(attention, stages=attention.stages[:1])
    text = report.tour_page([linear, other])
    assert "drawn 1" in text and "drawn 0" not in text


# ----------------------------------------------------------------------- files
def test_reports_are_written_whole(linear, tmp_path):
    path = report.write_report(linear, tmp_path / "sub" / "run.html")
    assert path.read_text(encoding="utf-8") == report.run_page(linear)
    assert [p.name for p in path.parent.iterdir()] == ["run.html"]
    report.write_report([linear, without(linear)], path)
    assert Page(path.read_text(encoding="utf-8")).text["title"] == ["A tour of saddles"]


# -------------------------------------------- predictions beside a run, graphs
@pytest.fixture(scope="module")
def beside(linear):
    return [compare(prediction, linear) for prediction in predict("linear")]


@pytest.fixture(scope="module")
def saddles():
    e = Experiment.named("linear")
    e = e.replace(network=e.network.with_widths([3]))
    return saddle_graph(e), e


def cells(text: str) -> list[str]:
    return re.findall(r"<td>([^<]*)</td>", text)


@pytest.mark.slow
def test_a_page_of_comparisons_has_a_figure_and_the_table_of_every_theory(beside, linear):
    text = report.comparisons_page(beside)
    page = Page(text)
    assert [words.strip() for words in page.text["h2"]] == [c.prediction.theory for c in beside]
    assert (
        len(page.all("svg")) == len(page.all("table")) == len(page.all("figure")) == len(beside) > 2
    )
    assert cells(text) == [number(cell) for c in beside for row in c.table()[1] for cell in row]
    for c in beside:
        assert f"fixed points, {c.prediction.theory}" in page.text["text"]
        assert f"{c.prediction.source}; {c.prediction.limit}." in page.words
    assert page.text["title"] == ["linear, predictions beside a run of saddlery"]
    assert linear.run.experiment.to_toml() in "".join(page.text["pre"])


def test_plateaus_that_were_not_predicted_stand_out(beside):
    one, two = replace(beside[0], extra=1), replace(beside[0], extra=2)
    assert "1 plateau of the run was not predicted." in report.comparisons_page([one])
    assert "2 plateaus of the run were not predicted." in report.comparisons_page([two])
    assert 'role="note"' not in report.comparisons_page(beside[:1])


def test_a_page_of_a_graph_has_its_figure_its_nodes_and_its_paths(saddles):
    graph, e = saddles
    text = report.graph_page(graph, e)
    page = Page(text)
    assert len(page.all("svg")) == 1 and len(page.all("table")) == 2
    nodes = [number(cell) for row in graph.table()[1] for cell in row]
    assert cells(text)[: len(nodes)] == nodes
    assert cells(text)[len(nodes) :][:7] == [
        "0",
        "1",
        "0.5",
        "2",
        "1",
        "0.58",
        "0.08",
    ]  # (a) s/2, s, and what is left
    assert (
        "4 fixed points, 4 paths" in page.words
        and "units of the narrow network" in page.text["text"]
    )
    assert e.to_toml() in "".join(page.text["pre"]) and 'role="note"' not in text


def test_an_unfinished_graph_says_so(saddles):
    graph, e = saddles
    text = report.graph_page(
        replace(graph, complete=False, failures=("an escape <b>ran off</b>",)), e
    )
    assert "Not all escapes were followed: raise the budget." in text
    assert "Not followed: an escape <b>ran off</b>" in Page(text).words and not Page(text).all("b")
    assert Page(report.graph_page(replace(graph, edges=()), e)).words.count("0 paths") == 1


def test_these_pages_are_self_contained_accessible_and_repeatable(beside, saddles):
    for make in (lambda: report.comparisons_page(beside), lambda: report.graph_page(*saddles)):
        text = make()
        page = Page(text)
        assert not re.search(r"https?:|//[a-z]|@import|@font-face|javascript:", text)
        for tag in ("script", "link", "img", "iframe", "object", "image", "base", "form"):
            assert not page.all(tag), tag
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)) and set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
        assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
        assert all(th.get("scope") in ("col", "row", "rowgroup") for th in page.all("th"))
        assert len(page.all("caption")) == len(page.all("table")) and len(page.all("h1")) == 1
        body = re.sub(r"\(#[^)]*\)|href=\"#[^\"]*\"", "", text.split("</style>", 1)[1])
        assert "var(--ink)" in body and not re.search(r"#[0-9a-f]{6}\b(?!-)", body)
        assert make() == text


def test_names_on_these_pages_are_escaped(beside, saddles):
    named = Experiment.named("linear").replace(name=NASTY, description=NASTY)
    prediction = replace(beside[0].prediction, theory=NASTY, source=NASTY, limit=NASTY)
    found = replace(beside[0], prediction=prediction, run=replace(beside[0].run, experiment=named))
    for text in (report.comparisons_page([found]), report.graph_page(saddles[0], named)):
        page = Page(text)
        assert not page.all("script") and not page.all("img") and NASTY in page.words


def test_misuse_of_these_pages(beside, saddles):
    with pytest.raises(InputError, match=r"comparisons must be at least one, got \[\]"):
        report.comparisons_page([])
    with pytest.raises(
        InputError, match="comparisons must be of one run, got 2; write one page for each"
    ):
        report.comparisons_page([beside[0], replace(beside[0], run=replace(beside[0].run))])
    with pytest.raises(
        InputError, match="a page of comparisons must be made of Comparisons, got 'str'"
    ):
        report.comparisons_page(["linear"])
    with pytest.raises(
        InputError, match="a page of a graph must be made of a SaddleGraph, got 'str'"
    ):
        report.graph_page("linear", saddles[1])


def test_bad_input_is_named(linear, tmp_path):
    with pytest.raises(InputError, match="a report must be made of the Stages of a run, got 'Run'"):
        report.run_page(linear.run)
    with pytest.raises(InputError, match="a tour must be made of the Stages of runs, got 'str'"):
        report.tour_page(["linear"])
    (tmp_path / "file").write_text("")
    with pytest.raises((StorageError, OSError)):
        report.write_report(without(linear), tmp_path / "file" / "run.html")


@pytest.mark.parametrize(
    ("distances", "largest"),
    [([None, 1.0], 1.0), ([1.0, None], 1.0), ([2.0, float("nan"), 1.0], 2.0)],
)
def test_the_largest_distance_is_that_of_those_that_exist(distances, largest):
    assert quantities._largest(distances) == largest
    assert np.isnan(quantities._largest([None]))


# ------------------------------------------------- figures of one's own, sessions of one's own
@pytest.fixture
def own():
    """A figure registered under a name, and taken away again."""
    names = []

    def add(name, *draws):
        names.append(name)
        pictures = [plots.Picture(draw, f"picture of {name}") for draw in draws]
        plots.register(name)(lambda found: pictures)

    yield add
    for name in names:
        del plots.FIGURES.members[name]


def test_a_figure_that_is_registered_later_is_drawn_too(linear, own):
    """The page of the same stages was that of before."""
    assert "picture of mine" not in report.run_page(linear)
    own("mine", lambda axes: axes.plot([1, 2]))
    assert "picture of mine" in report.run_page(linear)


def test_the_name_of_a_figure_is_no_markup(linear, own):
    own('a"><script>alert(1)</script>', lambda axes: axes.plot([1, 2]))
    assert "<script" not in report.run_page(replace(linear))


def test_ids_of_several_pictures_of_a_figure_are_unique(linear, own):
    draw = lambda axes: axes.plot([1, 2], marker="o")
    own("twice", draw, draw)
    ids = re.findall(r' id="([^"]*)"', report.run_page(replace(linear)))
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "settings", [{"axes.grid": True, "lines.linewidth": 7}, {"text.usetex": True}]
)
def test_a_page_does_not_depend_on_the_style_of_a_session(settings):
    draw = lambda axes: axes.set(xlabel="50%")
    plain = figures.figure(draw, "x", "caption", (3.0, 2.0))
    with matplotlib.rc_context(settings):
        assert figures.figure(draw, "x", "caption", (3.0, 2.0)) == plain


def test_an_image_keeps_its_size():
    """Factors of a transformation were rounded as if they were points: 3% of an image, or all."""
    image = np.zeros((200, 20000))
    draw = lambda axes: axes.imshow(image, interpolation="none", aspect="auto")
    svg = figures.figure(draw, "x", "caption", (4.0, 2.6))
    across, down = re.findall(r"matrix\(([\d.e-]+) 0 0 ([\d.e-]+)", svg)[0]
    _, _, width, height = figures._frame((4.0, 2.6))
    assert float(across) * 20000 == pytest.approx(72 * 4.0 * width, rel=1e-3)
    assert float(down) * 200 == pytest.approx(72 * 2.6 * height, rel=1e-3)


def test_one_fixed_point_is_one(saddles):
    graph, e = saddles
    page = report.graph_page(replace(graph, nodes=graph.nodes[:1], edges=()), e)
    assert "1 fixed point, 0 paths." in Page(page).words
