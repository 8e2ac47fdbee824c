"""Units: neurons, kernels and heads, what is true of each, and the registry
through which experiments name them.

Nothing here knows how many units there are, or what they are trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from copyreg import pickle as _register_reducer
from dataclasses import fields as _fields
from importlib import import_module as _import
from inspect import signature as _signature
from typing import Any

from ..basis.checks import InputError, known, require, unpacked
from ..basis.echo import said, shown
from ..basis.families import Family
from ..basis.values import demand_travels
from .attention import KINDS, attention, in_context
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
    return lambda bias=False: dense(activation, bias)


def _convolution_maker(activation: str) -> Maker:
    return lambda kernel=(2,), stride=1: convolution(activation, kernel, stride)


def _attention_maker(factory: Callable[..., Unit], kind: str) -> Maker:
    if kind == "merged":  # one matrix, whose rank nothing limits
        return lambda: factory(kind)
    return lambda rank=1: factory(kind, rank)


def _makers() -> dict[str, Maker]:
    """What saddlery ships, by the name that experiments use."""
    makers: dict[str, Maker] = {}
    for name in ACTIVATIONS:
        makers[name] = _dense_maker(name)
    makers["diagonal"] = lambda: diagonal()
    for name in ("linear", "relu"):
        makers[f"conv_{name}"] = _convolution_maker(name)
    for kind in KINDS:
        makers[f"attention_{kind}"] = _attention_maker(attention, kind)
    for kind in KINDS:
        makers[f"in_context_{kind}"] = _attention_maker(in_context, kind)
    return makers


_SHIPPED = _makers()
UNITS: Family[Maker] = Family("unit")
UNITS.members.update(_SHIPPED)

# Options of a layer, that a misspelt option of a unit may have meant.
ELSEWHERE = ("width", "mixes", "outputs", "residual")


def names() -> list[str]:
    """The names an experiment may use for its units."""
    return sorted(UNITS)


def options(name: str) -> dict[str, Any]:
    """The options that the unit called `name` takes, with their defaults.

    Raises InputError for an unknown name.

    Example
    -------
    >>> from saddlery import units
    >>> units.options("conv_relu")
    {'kernel': (2,), 'stride': 1}
    """
    parameters = _signature(UNITS.named(name)).parameters
    return {key: parameter.default for key, parameter in parameters.items()}


def _sent(unit: Unit) -> tuple[Callable[..., Unit], tuple[Any, ...]]:
    """How a unit is sent to another process: by its name where it has one, else
    by those of its functions, since functions themselves are not sent."""
    named = _named(unit)
    if named == unit:
        return _received, (unit.name, dict(unit.options), unit.phi.__module__)
    if named is not None and named.lift is not None and named.lifted() == unit:
        return Unit.lifted, (named,)

    what = f"every function of unit {unit.name!r}, which is not registered,"
    for function in _functions(unit):
        demand_travels(function, what)
    values = {field.name: getattr(unit, field.name) for field in _fields(unit)}
    values["options"] = dict(unit.options)  # a proxy does not travel
    return _made, (values,)


def _functions(unit: Unit) -> list[Callable[..., Any]]:
    """All that a unit is made of, in the order in which it is asked for."""
    functions: list[Callable[..., Any]] = [unit.phi, unit.shape]
    for declared in (unit.tensors, unit.outgoing):
        if declared is not None:
            functions.append(declared)
    if unit.lift is not None:
        functions += [unit.lift.features, unit.lift.coefficients]
    return functions


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
    return Unit(**values)


_register_reducer(Unit, _sent)


def register(unit: Unit) -> Unit:
    """Make a unit of one's own available by name (in this process); returns it.

    Raises InputError for a name that is taken, or where phi is not what the unit
    declares (see `check_symmetry`). Cost: that of the checks, about half a
    second.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery import units
    >>> softplus = units.Unit(
    ...     name="softplus",
    ...     phi=lambda z, u: jnp.log1p(jnp.exp(u @ z)),
    ...     shape=lambda shape: shape,
    ... )
    >>> units.register(softplus) is units.make("softplus")
    True
    """
    check_symmetry(unit)
    UNITS.add(unit.name, lambda: unit)
    return unit


def shipped(unit: Unit) -> bool:
    """Whether a unit is one of saddlery's own, whose declarations its tests
    verify: nobody needs to check them again."""
    if unit.name not in _SHIPPED:
        return False
    try:
        return make(unit.name, **unit.options) is unit
    except InputError:
        return False


def make(name: str, **chosen: Any) -> Unit:
    """The unit called `name`, with the options chosen.

    name: one of `names()`. chosen: some of `options(name)`.

    Raises InputError for an unknown name (with the nearest valid one) or an
    option the unit does not have.

    Example
    -------
    >>> from saddlery import units
    >>> units.make("conv_relu", kernel=(3,), stride=2)
    conv_relu(kernel=[3], stride=2)
    """
    maker = UNITS.named(name)
    for option in chosen:
        known(option, [*options(name), *ELSEWHERE], f"option of unit {name!r}")
        require(
            option not in ELSEWHERE,
            f"option {option!r}",
            needed="given to the layer",
            given=f"unit {name!r}",
        )
    values = {option: unpacked(value) for option, value in chosen.items()}
    try:
        return maker(**values)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"unit {name!r} could not be made from {shown(chosen)}: {said(error)}"
        ) from None
