"""Tensors of units: what is taken apart, and declarations that do not fit are refused where a unit
is registered."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from own_units import HEAD, KERNEL
from registries import kept
from saddlery import units
from saddlery.basis.checks import InputError
from saddlery.units import Symmetry, Unit, check_symmetry, make, split
from saddlery.units.base import tensors_of


def test_split_by_loops():
    """(d) Number by number, in the order of the declaration; views of a NumPy array."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((5, 10))
    parts = split(u, {"matrix": (3, 2), "bias": (), "vector": (3,)})
    for i in range(5):
        numbers = iter(u[i])
        for row in range(3):
            for column in range(2):
                assert parts["matrix"][i, row, column] == next(numbers)
        assert parts["bias"][i] == next(numbers)
        assert [float(x) for x in parts["vector"][i]] == list(numbers)
    assert all(np.shares_memory(part, u) for part in parts.values())


@pytest.mark.parametrize("name", units.names())
def test_shipped_units_declare_tensors_that_fit(name):
    unit = make(name)
    incoming, _ = tensors_of(unit, unit.example)
    assert sum(map(math.prod, incoming.values())) == math.prod(unit.shape(unit.example))


def test_names_of_shipped_tensors():
    """(a) And of a unit that names none."""
    assert tensors_of(make("relu", bias=True), (4,)) == ({"weight": (4,), "bias": ()}, {"v": ()})
    assert tensors_of(make("conv_relu", kernel=(3,)), (2, 7)) == (
        {"kernel": (2, 3)},
        {"v": (5,)},
    )
    assert tensors_of(make("attention_softmax", rank=2), (5, 3)) == (
        {"key": (3, 2), "query": (3, 2)},
        {"value": (3,)},
    )
    plain = Unit("plain", lambda z, u: z @ u, lambda shape: shape)
    assert tensors_of(plain, (4,)) == ({"u": (4,)}, {"v": ()})


WRONG = {
    "overlap": (
        {"kernel": (2, 3), "bias": (2,)},
        r"^tensor 'bias' of unit 'mine' must be within the 7 numbers of u, got 6 to 7, counted"
        r" from 0; tensors lie one after the other$",
    ),
    "gap": (
        {"kernel": (2, 3)},
        "^tensor 'kernel' of unit 'mine' must be followed by another, or end where the 7 numbers of"
        " u do, got an end after 6$",
    ),
    "size": (
        {"kernel": (3, 3), "bias": ()},
        "^tensor 'kernel' of unit 'mine' must be within the 7",
    ),
    "no tensor": ({}, "^tensors of unit 'mine' must be a table of names and shapes"),
    "no table": ([(2, 3), ()], "^tensors of unit 'mine' must be a table of names and shapes"),
    "no name": ({1: (7,)}, "^tensors of unit 'mine' must be a table of names and shapes"),
    "no shape": ({"kernel": 7}, "^tensor 'kernel' of unit 'mine' must be of a shape, .* got 7$"),
    "half a shape": ({"kernel": (3.5, 2)}, "^tensor 'kernel' of unit 'mine' must be of a shape"),
    "negative": ({"kernel": (-1, -7)}, "^tensor 'kernel' of unit 'mine' must be of a shape"),
    "the name of v": (
        {"kernel": (2, 3), "v": ()},
        "^name of tensor 'v' of unit 'mine' must be another than .*kernel",
    ),
    "a reserved name": (
        {"readout": (7,)},
        "^name of tensor 'readout' of unit 'mine' must be another than readout",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(name):
    """One sentence with the name of the tensor, and the unit is not known afterwards."""
    declared, words = WRONG[name]
    wrong = dataclasses.replace(KERNEL, name="mine", tensors=lambda inputs: declared)
    with kept():
        with pytest.raises(InputError, match=words):
            units.register(wrong)
        assert "mine" not in units.names()


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"output": (3,)}, "tensor 'output' .* within the 2 numbers of phi that v contracts"),
        ({"output": ()}, "tensor 'output' .* end where the 2 numbers of phi that v contracts do"),
        ({"key": (2,)}, "name of tensor 'key' of unit 'own_head' must be another than"),
    ],
)
def test_outgoing_tensors_that_do_not_fit_are_refused(declared, words):
    wrong = dataclasses.replace(HEAD, outgoing=lambda inputs: declared)
    with pytest.raises(InputError, match=words):
        check_symmetry(wrong)


def test_a_declaration_that_raises_is_one_sentence():
    wrong = dataclasses.replace(KERNEL, tensors=lambda inputs: {"kernel": inputs[7]})
    with pytest.raises(
        InputError, match=r"^tensors of unit 'own_kernel' must be a function of the"
    ):
        check_symmetry(wrong)


@pytest.mark.parametrize(
    ("unit", "wrong"),
    [
        (KERNEL, Symmetry(silent=True, degree=2)),
        (KERNEL, Symmetry(silent=True, degree=1, parity="even")),
        (HEAD, Symmetry(silent=True, degree=2)),
        (HEAD, Symmetry(silent=True, homogeneous="positive", degree=3)),
    ],
)
def test_symmetries_are_verified_as_of_any_unit(unit, wrong):
    check_symmetry(unit)
    with pytest.raises(InputError, match=f"unit '{unit.name}' must be"):
        check_symmetry(dataclasses.replace(unit, symmetry=wrong))
