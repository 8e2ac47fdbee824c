"""How a value is shown in a sentence: on one line, in so many letters at most, whatever it is."""

from __future__ import annotations

from typing import Any

MOST = 80  # letters of a value in a sentence
SHOWN = 20  # entries of a list of which a sentence can hold no more than that
# a whole number of more is told by its size; beyond 4,300 digits Python itself refuses to print it
DIGITS = 60


class Words(str):
    """What was given, in words of our own: printed without the quotes of a value, and whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shown(value: Any) -> str:
    """A value as a sentence repeats it: `repr`, shortened to `MOST` letters, without line breaks.

    Example
    -------
    >>> from saddlery.basis.echo import shown
    >>> shown("a" * 100)[-6:], shown(10**5000)
    ("aa...'", 'a whole number of about 5,001 digits')
    """
    if isinstance(value, Words):
        return str(value)
    return _cut(" ".join(_words(value, levels=4).split("\n")))


def said(error: BaseException) -> str:
    """What an error of another library says, on one line and not at length: it may hold what a file
    held; its kind, if nothing.

    Example
    -------
    >>> from saddlery.basis.echo import said
    >>> said(ValueError("File name\\nand header differ")), said(KeyError())
    ('File name and header differ', 'KeyError')
    """
    return _cut(" ".join(str(error).split()), 2 * MOST) or type(error).__name__


def _cut(text: str, most: int = MOST) -> str:
    if len(text) <= most:
        return text
    last = text[-1] if text[-1] in "'\"])}" else ""
    return f"{text[: most - 3 - len(last)]}...{last}"


def _words(value: Any, levels: int) -> str:
    if isinstance(value, str):
        return repr(value[: 2 * MOST])
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    if levels and isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        inside = ", ".join(_words(entry, levels - 1) for entry in value[:SHOWN])
        more = ", ..." if len(value) > SHOWN else ""
        if len(value) == 1 and type(value) is tuple:
            more = ","
        return f"[{inside}{more}]" if type(value) is list else f"({inside}{more})"
    if levels and type(value) is dict:
        first = list(value.items())[:SHOWN]
        return "{" + ", ".join(f"{_words(k, 0)}: {_words(v, levels - 1)}" for k, v in first) + "}"
    if not levels and isinstance(value, (list, tuple, dict)):
        return "[...]"
    try:
        return repr(value)
    except Exception:  # a stranger's object may do anything when it is printed
        return f"a value of kind {type(value).__name__}"


def _whole(value: int) -> str:
    digits = int(value.bit_length() * 0.30103) + 1  # log10(2)
    return repr(value) if digits <= DIGITS else f"a whole number of about {digits:,} digits"
