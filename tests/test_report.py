"""Pages and pictures: complete, self-contained, escaped, the same twice."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser

import pytest

from saddlery import Experiment, certify, plots, stages, train
from saddlery.driver import Stop
from saddlery.networks import Layer, Network
from saddlery.report import run_page, tour_page, write_report
from saddlery.tasks import OrthogonalReLU
from saddlery.units import dense


@functools.lru_cache(maxsize=8)
def certified(name: str, evil: bool = False):
    e = Experiment.named(name)
    if evil:
        e = e.replace(name="<script>alert(1)</script>", description='"><img src=x>')
    return certify(train(e))


class Checker(HTMLParser):
    """Collects ids, tags and links; complains about tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for key, value in attributes:
            if key == "id":
                self.ids.append(value)
            if key in ("href", "src", "xlink:href"):
                self.links.append(value)


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    return checker


@pytest.mark.parametrize("name", ["linear", "relu", "linear_attention"])
def test_a_page_is_complete_and_self_contained(name):
    found = certified(name)
    page = run_page(found)
    checker = parsed(page)
    assert checker.tags.count("svg") >= 3 + 2 * len(found) and "title" in checker.tags and "details" in checker.tags
    assert all(link.startswith("#") for link in checker.links)
    assert not re.search(r"url\((?!#)", page)
    for stage in found.stages:
        assert stage.certificate.verdict in page and stage.kind in page
    assert page.count("aria-label") >= checker.tags.count("svg")


def test_ids_are_unique_on_a_tour_page():
    page = tour_page([certified("linear"), certified("relu")])
    ids = parsed(page).ids
    assert len(ids) == len(set(ids))


def test_names_are_escaped():
    page = tour_page([certified("linear", evil=True)])
    assert "<script>" not in page and "<img" not in page


def test_the_same_page_twice(tmp_path):
    found = certified("linear")
    assert run_page(found) == run_page(found)
    assert write_report(found, tmp_path / "a" / "x.html").read_text() == run_page(found)


def test_pages_without_certificates_or_fixed_points():
    run = certified("linear").run
    assert "not certified" in run_page(stages(run))
    page = run_page(certified("digits_relu"))
    assert "not a fixed point" in page


@pytest.mark.parametrize("name", ["linear", "relu", "quadratic", "linear_attention", "digits"])
def test_axes_are_labelled(name):
    found = certified(name)
    run, stage = found.run, found[1]
    drawn = [
        plots.loss_curve(found),
        plots.loss_curve(run, log=True),
        plots.spectrum(stage.certificate),
        plots.unit_weights(run, stage),
        plots.unit_norms(run),
        plots.singular_values(run),
    ]
    for axes in drawn:
        assert axes.get_xlabel() and axes.get_ylabel()


def test_kinks_of_units_with_one_input_and_a_bias():
    network = Network((Layer(dense("relu", bias=True), 6),))
    run = train(Experiment(OrthogonalReLU((1.0,)), network, Stop(flow_time=1.0)))
    assert "kink" in plots.unit_weights(run, run.trajectory.states[-1]).get_xlabel()
