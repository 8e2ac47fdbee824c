"""Tolerances: the numbers that decide what is said of a run, as records with
a meaning and an origin.

Each decision has one record: where a plateau ends, when a fixed point is behind it, from
when on a curvature is zero. A record lives beside the code that decides, and is read
there by `now()`. Other values hold inside a `using` block, for every verb within it and
nothing else:

    with using(BehindTolerances(weights=0.1)):
        certified = certify(run)

What was decided by other values than the defaults says so in its record
(`changed`). docs/tolerances.md lists all of them and is made from the code.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, ClassVar, Self

from .checks import InputError, known, positive, require

RECORDS: dict[str, type[Tolerances]] = {}
_NOTHING: Mapping[str, Tolerances] = MappingProxyType({})
_CHOSEN: ContextVar[Mapping[str, Tolerances]] = ContextVar("tolerances", default=_NOTHING)


class Tolerances:
    """Base of the records. A record is a frozen dataclass of positive numbers
    (or pairs of them), each made by `chosen`; its class names the decision,
    as in

        @dataclass(frozen=True)
        class BehindTolerances(Tolerances, decides="behind"): ...

    Raises InputError for other values.
    """

    decides: ClassVar[str]

    def __init_subclass__(cls, *, decides: str) -> None:
        cls.decides = decides
        RECORDS[decides] = cls

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            place, value = f"{self.decides}.{field.name}", getattr(self, field.name)
            checked = _limits if isinstance(field.default, tuple) else _limit
            kept = checked(value, place, field.metadata["most"])
            object.__setattr__(self, field.name, kept)

    @classmethod
    def now(cls) -> Self:
        """The values that hold here: those of the innermost `using` block
        around, else the defaults."""
        chosen = _CHOSEN.get().get(cls.decides)
        if isinstance(chosen, cls):
            return chosen
        return _defaults(cls)


def _limit(value: Any, place: str, most: float) -> float:
    kept = positive(value, place)
    require(kept <= most, place, f"at most {most:g}", value)
    return kept


def _limits(value: Any, place: str, most: float) -> tuple[float, float]:
    """Near and outside."""
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    require(pair, place, "two numbers, near and outside", value)
    near, outside = (_limit(entry, place, most) for entry in value)
    require(near < outside, place, "two rising numbers, near and outside", value)
    return near, outside


def chosen(default: Any, meaning: str, origin: str, most: float = float("inf")) -> Any:
    """A field of a record: a number, or two, near and outside.

    meaning: what is compared with it, and of what it is a share.
    origin: where the value comes from: measured, derived, a bound, or a
        judgement.
    most: the largest that has a meaning.
    """
    metadata = {"meaning": meaning, "origin": origin, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


def _defaults(cls: type[Any]) -> Any:
    if "defaults" not in vars(cls):
        cls.defaults = cls()
    return vars(cls)["defaults"]


@contextlib.contextmanager
def using(*records: Tolerances) -> Iterator[None]:
    """Within: decisions are made by these records; those not given stay as
    they are around.

    Threads and processes that are started within begin with the defaults;
    sweeps and studies, which keep what they find, are refused. Raises
    InputError for what is no record.

    Example
    -------
    >>> from saddlery import certify, train
    >>> from saddlery.basis.tolerances import using
    >>> from saddlery.saddles import BehindTolerances
    >>> run = train("linear")
    >>> with using(BehindTolerances(weights=1e-4)):
    ...     [stage.certificate.verdict for stage in certify(run).stages]
    ['no fixed point found', 'no fixed point found', 'minimum']
    """
    for record in records:
        require(isinstance(record, Tolerances), "using", "given records of tolerances", record)
    given = {record.decides: record for record in records}
    token = _CHOSEN.set({**_CHOSEN.get(), **given})
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def demand_defaults(what: str) -> None:
    """Raise InputError where others than the defaults hold: `what` keeps what it
    finds for later, in processes that begin with the defaults."""
    given = []
    for decides, others in changed().items():
        given += [f"{decides}.{name}" for name in others]
    if given:
        raise InputError(
            f"{what} decides by the default tolerances, got others for"
            f" {', '.join(given)}; call it outside `using`"
        )


def changed() -> dict[str, dict[str, Any]]:
    """What differs from the defaults here, by decision and field; empty where
    nothing does."""
    found: dict[str, dict[str, Any]] = {}
    for decides, record in _CHOSEN.get().items():
        others = _differences(record)
        if others:
            found[decides] = others
    return found


def _differences(record: Tolerances) -> dict[str, Any]:
    usual = vars(_defaults(type(record)))
    return {name: value for name, value in vars(record).items() if value != usual[name]}


def shown(value: float | tuple[float, ...]) -> str:
    """A number, or near and outside, as `parsed` reads them."""
    numbers = value if isinstance(value, tuple) else (value,)
    return ",".join(f"{number:g}" for number in numbers)


def parsed(changes: list[str]) -> list[Tolerances]:
    """Records from texts: DECISION.NAME=VALUE.

    Raises InputError, which says what there is.

    Example
    -------
    >>> from saddlery.basis.tolerances import parsed
    >>> from saddlery.saddles import BehindTolerances
    >>> (record,) = parsed(["behind.weights=0.1", "behind.drop=0.2"])
    >>> record == BehindTolerances(weights=0.1, drop=0.2)
    True
    """
    values: dict[str, dict[str, Any]] = {}
    for change in changes:
        place, equals, text = change.partition("=")
        decides, dot, name = place.strip().partition(".")
        if not (equals and dot):
            raise InputError(
                f"a tolerance is written DECISION.NAME=VALUE, as behind.weights=0.1, got {change!r}"
            )
        record = RECORDS[known(decides, RECORDS, "decision")]
        names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
        known(name, names, f"tolerance of {decides}")
        if name in values.setdefault(decides, {}):
            raise InputError(f"{decides}.{name} is given more than once; give it once")
        values[decides][name] = _number(text, place.strip())
    return [RECORDS[decides](**fields) for decides, fields in values.items()]


def _number(text: str, place: str) -> float | tuple[float, ...]:
    """ "0.1", or "0.03,0.2" of a pair."""
    try:
        first, *others = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{place} must be a number, got {text.strip()!r}") from None
    if not others:
        return first
    return first, *others
