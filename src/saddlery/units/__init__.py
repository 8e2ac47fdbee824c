"""Units: neurons, kernels and heads, what is true of each, and the registry through which
experiments name them.

Nothing here knows how many units there are, or what they are trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from copyreg import pickle as _register_reducer
from dataclasses import fields as _fields
from importlib import import_module as _import
from inspect import signature as _signature
from types import MappingProxyType as _Proxy
from typing import Any

from ..basis.checks import InputError, flag, known, require, unpacked
from ..basis.echo import said, shown
from ..basis.families import Family
from ..basis.values import demand_travels
from .attention import attention, in_context
from .base import Lift, Symmetry, Unit, check_smooth, check_symmetry, debug, leading_form
from .convolution import convolution
from .dense import ACTIVATIONS, dense, diagonal
from .tensors import split

__all__ = [
    "UNITS",
    "Lift",
    "Symmetry",
    "Unit",
    "attention",
    "check_smooth",
    "check_symmetry",
    "convolution",
    "debug",
    "dense",
    "diagonal",
    "in_context",
    "leading_form",
    "make",
    "names",
    "options",
    "register",
    "shipped",
    "split",
]

Maker = Callable[..., Unit]


def _dense_maker(activation: str) -> Maker:
    return lambda bias=False: dense(activation, flag(bias, "bias"))


def _convolution_maker(activation: str) -> Maker:
    return lambda kernel=(2,), stride=1: convolution(activation, _lengths(kernel), stride)


def _lengths(kernel: Any) -> tuple[int, ...]:
    require(isinstance(kernel, (tuple, list)), "kernel", "a list of one or two lengths", kernel)
    return tuple(kernel)


def _attention_maker(factory: Callable[[str, int], Unit], kind: str) -> Maker:
    return (lambda: factory(kind, 1)) if kind == "merged" else (lambda rank=1: factory(kind, rank))


_SHIPPED: dict[str, Maker] = {
    **{name: _dense_maker(name) for name in ACTIVATIONS},
    "diagonal": lambda: diagonal(),
    **{f"conv_{name}": _convolution_maker(name) for name in ("linear", "relu")},
    **{
        f"attention_{kind}": _attention_maker(attention, kind)
        for kind in ("merged", "linear", "softmax")
    },
    **{
        f"in_context_{kind}": _attention_maker(in_context, kind)
        for kind in ("merged", "linear", "softmax")
    },
}
UNITS: Family[Maker] = Family("unit")
UNITS.members.update(_SHIPPED)


def names() -> list[str]:
    """The names an experiment may use for its units."""
    return sorted(UNITS)


ELSEWHERE = (
    "width",
    "mixes",
    "outputs",
    "residual",
)  # options of a layer, that a misspelling may have meant


def options(name: str) -> dict[str, Any]:
    """The options that the unit called `name` takes, with their defaults."""
    return {
        key: parameter.default
        for key, parameter in _signature(UNITS.named(name)).parameters.items()
    }


def _sent(unit: Unit) -> tuple[Callable[..., Unit], tuple[Any, ...]]:
    """How a unit is sent to another process: by its name where it has one, else by those of its
    functions, since functions themselves are not sent."""
    named = _named(unit)
    if named == unit:
        return _received, (unit.name, dict(unit.options), unit.phi.__module__)
    if named is not None and named.lift is not None and named.lifted() == unit:
        return Unit.lifted, (named,)
    values = {field.name: getattr(unit, field.name) for field in _fields(unit)}
    lift = () if unit.lift is None else (unit.lift.features, unit.lift.coefficients)
    declared = [one for one in (unit.tensors, unit.outgoing) if one is not None]
    for function in (unit.phi, unit.shape, *declared, *lift):
        demand_travels(function, f"every function of unit {unit.name!r}, which is not registered,")
    return _made, ({**values, "options": dict(unit.options)},)


def _named(unit: Unit) -> Unit | None:
    """The unit of the same name and options; None where no such is known."""
    try:
        return make(unit.name, **unit.options)
    except InputError:
        return None


def _received(name: str, chosen: dict[str, Any], module: str) -> Unit:
    """A unit by name; one of one's own is known once its module is imported."""
    if name not in UNITS:
        _import(module)
    return make(name, **chosen)


def _made(values: dict[str, Any]) -> Unit:
    return Unit(**{**values, "options": _Proxy(values["options"])})


_register_reducer(Unit, _sent)


def register(unit: Unit) -> Unit:
    """Make a unit of one's own available by name (in this process); returns it.

    Raises InputError for a name that is taken, or where phi is not what the unit declares (see
    `check_symmetry`).
    """
    check_symmetry(unit)
    UNITS.add(unit.name, lambda: unit)
    return unit


def shipped(unit: Unit) -> bool:
    """Whether a unit is one of saddlery's own, whose declarations its tests verify."""
    if unit.name not in _SHIPPED:
        return False
    try:
        return make(unit.name, **unit.options) is unit
    except InputError:
        return False


def make(name: str, **chosen: Any) -> Unit:
    """The unit called `name`, for example make("conv_relu", kernel=(3,), stride=2).

    Raises InputError for an unknown name (with the nearest valid one) or an option the unit does
    not have.
    """
    maker = UNITS.named(name)
    for option in chosen:
        known(option, [*options(name), *ELSEWHERE], f"option of unit {name!r}")
        require(
            option not in ELSEWHERE, f"option {option!r}", "given to the layer", f"unit {name!r}"
        )
    try:
        return maker(**{option: unpacked(value) for option, value in chosen.items()})
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"unit {name!r} could not be made from {shown(chosen)}: {said(error)}"
        ) from None
