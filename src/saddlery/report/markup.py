"""Where text enters a page: the one place.

Text is escaped as it is put in, whoever forgets what; only `Markup` passes.

A page is made of templates, which are written in this package, and of
values. `fill` escapes every value that is no `Markup`, and gives `Markup`;
an f-string of markup is plain text again and would be shown with its
brackets, so that a mistake is seen and does no harm. In templates every
value of an attribute stands in double quotes.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any, LiteralString

from ..basis import records


class Markup(str):
    """Text that is HTML.

    Made by `fill` and `joined`; by name only of what this package or
    Matplotlib wrote.
    """

    __slots__ = ()

    def __add__(self, other: str) -> Markup:
        return Markup(str(self) + str(escaped(other)))

    def __radd__(self, other: str) -> Markup:
        return Markup(str(escaped(other)) + str(self))


def escaped(value: object) -> Markup:
    """Any value as it may stand in a page, between tags or in a quoted
    attribute.

    Numbers as people write them, and letters without a shape, such as
    directions of writing, spelled out (`text.visible`).

    Example
    -------
    >>> from saddlery.report.markup import escaped
    >>> escaped("a < b"), escaped(0.000012345)
    ('a &lt; b', '1.2e-05')
    """
    if isinstance(value, Markup):
        return value
    return Markup(records.escaped(value))


def fill(
    template: LiteralString,
    *values: object,
    **named: object,
) -> Markup:
    """The template with its {} and {names} filled in, escaped; a format, as
    in {:,}, is of numbers.

    Example
    -------
    >>> from saddlery.report.markup import fill
    >>> fill("<p>{}</p>", "a < b")
    '<p>a &lt; b</p>'
    >>> fill("<h1>{}</h1>{}", "x", fill("<p>{:,}</p>", 1000))
    '<h1>x</h1><p>1,000</p>'
    """
    return Markup(_FORMATTER.vformat(template, values, named))


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """Parts one after the other, each escaped unless it is markup.

    Example
    -------
    >>> from saddlery.report.markup import Markup, joined
    >>> joined(["a", "b < c"], Markup("<br>"))
    'a<br>b &lt; c'
    """
    texts = [str(escaped(part)) for part in parts]
    return Markup(str(escaped(between)).join(texts))


def counted(count: int, noun: str, several: str = "") -> str:
    """A number and what it counts.

    several: the noun for other numbers than one, by default with an s.

    Example
    -------
    >>> from saddlery.report.markup import counted
    >>> counted(1, "run"), counted(1000, "run"), counted(2, "match", "matches")
    ('1 run', '1,000 runs', '2 matches')
    """
    words = noun if count == 1 else several or f"{noun}s"
    return f"{count:,} {words}"


class _Escaping(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec:
            value = format(value, format_spec)
        return str(escaped(value))

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        # No attributes of values, which a format may ask for.
        if not (field_name.isidentifier() or field_name.isdecimal()):
            raise ValueError(
                f"a template holds names and places, got {field_name!r}",
            )
        return super().get_field(field_name, args, kwargs)


_FORMATTER = _Escaping()
