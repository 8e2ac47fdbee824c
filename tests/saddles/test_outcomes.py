"""A certificate is a fixed point or a refusal: what the one has and the other has not cannot be
read, and what is stored of both is what it was."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

from outcomes import fixed_point, refusal
from saddlery.saddles import Certificate, FixedPoint, Refusal
from saddlery.saddles.certificates import FirstOrder

NEAR = refusal(reason="far: away", nearest=fixed_point(loss=0.25))
FALLS = refusal(descent=FirstOrder(-0.5, np.array([0.0, 1.0])))
KEYS = [  # of every stages.json of version 0.2, in order
    *("verdict", "loss", "gradient_norm", "distance", "index", "zero_modes", "utility"),
    *("construction", "narrow_units", "reason", "tolerance", "gradient_scale", "precision"),
    *("relative_distance", "lowest_eigenvalue", "zero_tolerance", "zero_modes_explained"),
    *("smooth_dimension", "escape_rate", "escape_order", "route", "steps", "spectrum"),
    *("behind", "nearest"),
]


def word(certificate: Certificate) -> str:
    match certificate:
        case FixedPoint(loss=loss):
            return f"at {loss}"
        case Refusal(reason=reason):
            return reason
    raise AssertionError(certificate)


def test_three_ways_tell_them_apart():
    for certificate, found in ((fixed_point(), True), (refusal(), False)):
        assert certificate.certified == isinstance(certificate, FixedPoint) == found
        assert isinstance(certificate, Certificate) and certificate.verdict
    assert (word(fixed_point()), word(NEAR)) == ("at 0.5", "far: away")


def test_there_is_no_third():
    with pytest.raises(TypeError, match="abstract"):
        Certificate("minimum", "", 1e-12, 1.0, (), "direct", 0, None)


@pytest.mark.parametrize(
    "name", sorted({f.name for f in dataclasses.fields(FixedPoint)} - {f.name for f in dataclasses.fields(Refusal)})
)  # fmt: skip
def test_a_number_that_does_not_exist_cannot_be_read(name):
    with pytest.raises(
        AttributeError, match=f"^a refusal has no {name}: .*`reason` says why.*`residual`"
    ):
        getattr(refusal(), name)
    with pytest.raises(AttributeError, match=f"`nearest.{name}` is that of the nearest"):
        getattr(NEAR, name)
    assert getattr(refusal(), name, None) is None and not hasattr(NEAR, name)
    getattr(NEAR.nearest, name)


@pytest.mark.parametrize("name", ["residual", "nearest", "descent"])
def test_nor_what_only_a_refusal_has(name):
    with pytest.raises(AttributeError, match=f"^a fixed point has no {name}, which only a refusal"):
        getattr(fixed_point(), name)


def test_an_escape_exists_where_the_loss_falls_across_a_kink():
    assert FALLS.escape_order == 1 and FALLS.escape_direction.tolist() == [0, 1]
    assert FALLS.record()["escape_order"] == 1 and refusal().record()["escape_order"] is None


def test_other_names_are_as_usual():
    for certificate in (fixed_point(), refusal()):
        with pytest.raises(AttributeError, match="object has no attribute 'lost'"):
            certificate.lost  # noqa: B018


@pytest.mark.parametrize("certificate", [fixed_point(), NEAR, FALLS])
def test_copies_are_whole(certificate):
    for again in (copy.deepcopy(certificate), pickle.loads(pickle.dumps(certificate))):
        assert again.record() == certificate.record() and type(again) is type(certificate)


def test_the_stored_form_is_what_it_was():
    """(d) Key by key: those of a fixed point hold its fields, those of a refusal null."""
    for certificate in (fixed_point(), refusal(), NEAR, FALLS):
        record = json.loads(json.dumps(certificate.record(), allow_nan=False))
        assert list(record) == KEYS
    record = fixed_point(explained={"symmetry": 2}, method="lanczos").record()
    for name in KEYS:
        own = {"zero_modes_explained": "explained", "spectrum": "method"}.get(name, name)
        if name not in ("narrow_units", "nearest"):
            assert record[name] == getattr(
                fixed_point(explained={"symmetry": 2}, method="lanczos"), own
            )
    assert record["narrow_units"] == 1 and record["nearest"] is None
    assert NEAR.record()["nearest"]["loss"] == 0.25
    there = {
        "verdict",
        "narrow_units",
        "reason",
        "tolerance",
        "gradient_scale",
        "precision",
        "route",
        "steps",
    }
    assert {
        name for name, value in refusal().record().items() if value not in (None, {}, "")
    } == there


def test_a_refusal_prints_what_there_is():
    assert "nearest" in repr(NEAR) and "loss 0.25" in repr(NEAR) and "index" not in repr(NEAR)
    assert "-0.5 across a kink" in repr(FALLS)
