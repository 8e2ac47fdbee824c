"""Learning rules: gradient flow by adaptive solvers, and rules of fixed steps,
through optax where it has them.

A rule moves a `Walker` and knows no model: it sees flat parameters and a gradient
function, and where it asks for them the places of the weight matrices and of the
units.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..basis.checks import InputError, known, settle
from ..basis.echo import said
from .alternating import AlternatingFlow
from .base import RULES, Gradient, Matrices, Rule, Walker
from .descent import Adam, Descent, GradientDescent, Momentum, NormalisedDescent, SignDescent
from .flow import GradientFlow
from .matrices import Muon, SchattenDescent, SpectralDescent

__all__ = [
    "RULES",
    "Adam",
    "AlternatingFlow",
    "Descent",
    "Gradient",
    "GradientDescent",
    "GradientFlow",
    "Matrices",
    "Momentum",
    "Muon",
    "NormalisedDescent",
    "Rule",
    "SchattenDescent",
    "SignDescent",
    "SpectralDescent",
    "Walker",
    "make",
]


def make(kind: str, **options: Any) -> Rule:
    """The rule called `kind`; see `RULES`.

    options: fields of that rule.

    Raises InputError for kinds, options and values that are not known.

    Example
    -------
    >>> from saddlery import rules
    >>> rules.make("descent", learning_rate=0.1)
    GradientDescent(learning_rate=0.1, batch=0)
    """
    cls = RULES.named(kind)
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options:
        known(name, fields, f"option of rule {kind!r}")
    try:
        return settle(cls(**options))
    except TypeError as error:
        given = sorted(options)
        raise InputError(f"rule {kind!r} could not be made from {given}: {said(error)}") from None
