"""Text on its way to a terminal or into the name of a file: what cannot be
seen is spelled out. Imports nothing heavy."""

from __future__ import annotations

import os

# A name that becomes part of a file's is cut to so many bytes; systems allow 255, and
# seed and identity follow.
LONGEST = 100


def visible(text: str) -> str:
    r"""The text on one line, with nothing in it that a terminal would obey.

    Control characters (line breaks, the escape that begins a colour or a
    title), directions of writing and other letters without a shape are
    written as in a Python
    string: \n, \x1b, \u202e. What can be seen stays, in any script.

    Example
    -------
    >>> from saddlery.basis.text import visible
    >>> print(visible("red \x1b[31mé\n"))
    red \x1b[31mé\n
    """
    if text.isprintable():
        return text
    return "".join(map(_seen, text))


def _seen(letter: str) -> str:
    import unicodedata  # costs a millisecond of --help, where all can be seen

    # Spaces of other scripts have a width, though Python does not print them.
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def visible_lines(text: str) -> str:
    """`visible` of every line of a text that has lines of its own, such as a
    table."""
    return "\n".join(map(visible, text.split("\n")))


def width(text: str) -> int:
    """Columns that a visible text takes on a terminal: two for wide letters,
    none for marks upon the letter before.

    Example
    -------
    >>> from saddlery.basis.text import width
    >>> width("ab"), width("字"), width("e\\u0301")
    (2, 2, 1)
    """
    if text.isascii():
        return len(text)
    import unicodedata

    columns = 0
    for letter in text:
        if not unicodedata.combining(letter):
            columns += 1 + (unicodedata.east_asian_width(letter) in "WF")
    return columns


def room() -> int | None:
    """Columns of the terminal that is printed to, or of COLUMNS where that is
    set; None, for as many as one likes, where text goes elsewhere: files and
    notebooks have no width."""
    import shutil  # these cost --help milliseconds
    import sys

    said = os.environ.get("COLUMNS", "")
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if not terminal and not (said.isdecimal() and int(said)):
        return None
    return shutil.get_terminal_size().columns


def wrapped(text: str, most: int | None) -> list[str]:
    """A visible text in lines of at most `most` columns (two at least; None:
    one line), broken between words; a word that is longer than a line is cut.

    Example
    -------
    >>> from saddlery.basis.text import wrapped
    >>> wrapped("a saddle of index forty-nine", 9)
    ['a saddle', 'of index', 'forty-nin', 'e']
    """
    if most is None or width(text) <= most:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(f"{lines[-1]} {word}") <= most:
            lines[-1] += f" {word}"
        else:
            lines += _cut(word, most)
    return lines


def _cut(word: str, most: int) -> list[str]:
    """A word in pieces of at most `most` columns."""
    pieces = [""]
    for letter in word:
        if width(pieces[-1] + letter) > most:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def file_name(name: str) -> str:
    """A name for people as part of the name of a file: no separators, nothing
    invisible, not hidden, and not too long.

    Example
    -------
    >>> from saddlery.basis.text import file_name
    >>> file_name("../a b\\n"), file_name("..")
    ('..-a b-', '--')
    """
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # the system's encoding lacks a letter
        name = name.encode("ascii", "replace").decode("ascii").replace("?", "-")
    kept = "".join(map(_allowed, name))
    kept = os.fsencode(kept)[:LONGEST].decode(errors="ignore")
    if not kept.strip(". "):
        return "-" * len(kept)
    return kept


def _allowed(letter: str) -> str:
    if letter.isprintable() and letter not in "/\\":
        return letter
    return "-"
