"""How a value is shown in a sentence: on one line, in so many letters at
most, whatever it is."""

from __future__ import annotations

from typing import Any

# A sentence repeats at most so many letters of a value.
LETTERS = 80
# A sentence names at most so many entries of a list: it can hold no more.
SHOWN = 20
# Lists within lists are written out down to so many levels.
LEVELS = 4
# A whole number of more digits is told by its size; beyond 4,300 digits Python itself
# refuses to print it.
DIGITS = 60
LOG10_OF_2 = 0.30103


class Words(str):
    """What was given, in words of our own: printed without the quotes of a
    value, and whole.

    Example
    -------
    >>> from saddlery.basis.echo import Words, shown
    >>> shown("nothing"), shown(Words("nothing"))
    ("'nothing'", 'nothing')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shown(value: Any) -> str:
    """A value as a sentence repeats it: `repr`, shortened to `LETTERS` letters,
    without line breaks.

    Example
    -------
    >>> from saddlery.basis.echo import shown
    >>> shown("a" * 100)[-6:], shown(10**5000)
    ("aa...'", 'a whole number of about 5,001 digits')
    """
    if isinstance(value, Words):
        return str(value)
    return _cut(" ".join(_words(value, LEVELS).split("\n")))


def said(error: BaseException) -> str:
    """What an error of another library says, on one line and not at length:
    it may hold what a file held; its kind, if nothing.

    Example
    -------
    >>> from saddlery.basis.echo import said
    >>> said(ValueError("File name\\nand header differ")), said(KeyError())
    ('File name and header differ', 'KeyError')
    """
    one_line = " ".join(str(error).split())
    return _cut(one_line, 2 * LETTERS) or type(error).__name__


def _cut(text: str, most: int = LETTERS) -> str:
    """The beginning of a long text, with the quote or bracket that closes
    it."""
    if len(text) <= most:
        return text
    last = text[-1]
    if last not in "'\"])}":
        last = ""
    return f"{text[: most - 3 - len(last)]}...{last}"


def _words(value: Any, levels: int) -> str:
    if isinstance(value, str):
        return repr(value[: 2 * LETTERS])
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    if not levels and isinstance(value, (list, tuple, dict)):
        return "[...]"
    # Only Python's own: what derives from them may print itself in another way.
    if type(value) is list:
        return f"[{_entries(value, levels)}]"
    if type(value) is tuple:
        comma = "," if len(value) == 1 else ""
        return f"({_entries(value, levels)}{comma})"
    if type(value) is dict:
        return "{" + _pairs(value, levels) + "}"
    try:
        return repr(value)
    except Exception:  # a stranger's object may do anything when it is printed
        return f"a value of kind {type(value).__name__}"


def _entries(values: list[Any] | tuple[Any, ...], levels: int) -> str:
    words = [_words(entry, levels - 1) for entry in values[:SHOWN]]
    if len(values) > SHOWN:
        words.append("...")
    return ", ".join(words)


def _pairs(table: dict[Any, Any], levels: int) -> str:
    first = list(table.items())[:SHOWN]
    return ", ".join(f"{_words(key, 0)}: {_words(value, levels - 1)}" for key, value in first)


def _whole(value: int) -> str:
    digits = int(value.bit_length() * LOG10_OF_2) + 1
    if digits <= DIGITS:
        return repr(value)
    return f"a whole number of about {digits:,} digits"
