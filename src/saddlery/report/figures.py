"""Pictures inside a page: small SVG whose text is text and whose colours
are variables of the page's style."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..basis.echo import said
from ..plots import axes as drawn
from .markup import Markup, fill
from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Axes"], object]
WIDE, SQUARE = (4.0, 2.6), (2.5, 2.3)  # sizes of pictures in inches
# Attributes of a document of its own, which a picture within a page does not need.
OF_DOCUMENT = r' ?(?:xmlns(?::xlink)?|version|width|height)="[^"]*"'

# Transforms that hold factors, which are no coordinates: a hundredth is much of them.
SCALING = re.compile("matrix|scale")


@contextmanager
def _style(salt: str):
    """Matplotlib's settings for figures of a page, inside the context only."""
    import matplotlib
    from cycler import cycler

    settings: dict[Any, Any] = {
        "svg.hashsalt": salt,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 8.5,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.linewidth": 0.7,
        "axes.edgecolor": drawn.MUTED,
        "axes.labelcolor": drawn.INK,
        "axes.facecolor": "none",
        "axes.prop_cycle": cycler(color=drawn.CYCLE),
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": drawn.INK,
        "xtick.color": drawn.MUTED,
        "ytick.color": drawn.MUTED,
        "xtick.labelcolor": drawn.INK,
        "ytick.labelcolor": drawn.INK,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "legend.labelcolor": drawn.INK,
        "path.simplify": True,
        "path.simplify_threshold": 0.2,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a session or a matplotlibrc prefers
        matplotlib.rcParams.update(settings)
        yield


def figure(
    draw: Draw,
    name: str,
    caption: str,
    size: tuple[float, float],
    *,
    shown: bool = True,
) -> Markup:
    """One picture as inline SVG with ids of its own, which begin with the name.

    The caption is its description, and printed below it if `shown`.
    """
    drawn.new_axes()  # the message where matplotlib is missing
    from matplotlib.figure import Figure

    name = _as_id(name)
    with _style(name):
        canvas = Figure(figsize=size)
        draw(canvas.add_axes(_frame(size)))
        svg = _svg(canvas, name)
    below = Markup()
    if shown:
        below = fill("<figcaption>{}</figcaption>", caption)
    return fill(
        '<figure><svg role="img" aria-label="{}" {}{}</figure>',
        caption,
        svg,
        below,
    )


def not_drawn(name: str, error: Exception) -> Markup:
    """The note in place of a figure whose own code failed."""
    words = f"The figure {name} could not be drawn: {type(error).__name__}: {said(error)}."
    return fill('<p class="note" role="note">{}</p>', words)


def _as_id(name: str) -> str:
    """A name as it may begin an id: letters of ASCII, digits, - and _, others by their codes."""
    return re.sub(r"[^\w-]", lambda letter: f"_{ord(letter[0]):x}", name, flags=re.ASCII)


def _frame(size: tuple[float, float]) -> tuple[float, float, float, float]:
    """The same margins in inches for every picture of a size, so that their
    axes line up in a grid."""
    width, height = size
    left, right, bottom, top = 0.62, 0.24, 0.44, 0.06
    if width > 3:
        left, bottom, top = 0.68, 0.58, 0.36
    return (
        left / width,
        bottom / height,
        (width - left - right) / width,
        (height - bottom - top) / height,
    )


def _svg(canvas: Figure, name: str) -> Markup:
    """The picture's SVG after its first word, small and safe to inline.

    No header, no metadata, unused ids dropped and the others prefixed. Only
    tags are changed, never text between them; Matplotlib escapes the text
    and the attributes it writes.
    """
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->",
        "",
        text,
        flags=re.DOTALL,
    )
    opening, rest = text.removeprefix("<svg ").split(">", 1)
    opening = re.sub(OF_DOCUMENT, "", opening)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    # Tags are every second piece: in quotes and in text, Matplotlib writes &gt; for >.
    pieces = re.split(r"(<[^>]*>)", rest)
    for k in range(1, len(pieces), 2):
        pieces[k] = _tag(pieces[k], name, used)
    text = _coloured(opening) + ">" + "".join(pieces)
    return Markup(re.sub(r">\s+<", "><", text).strip())


def _tag(tag: str, name: str, used: Collection[str]) -> str:
    """One tag: short, its id and references prefixed, its colours variables of the page."""

    def prefixed(match: re.Match[str]) -> str:
        own = match[1]
        return f' id="{name}-{own}"' if own in used else ""

    def rounded(match: re.Match[str]) -> str:
        if SCALING.search(match[2]):
            return match[0]
        return match[1] + _rounded(match[2])

    def referring(match: re.Match[str]) -> str:
        return f"{match[1]}{name}-"

    tag = tag.replace("xlink:href=", "href=")
    tag = re.sub(r' id="([^"]*)"', prefixed, tag)
    tag = re.sub(r'(url\(#|href="#)', referring, tag)
    tag = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
    coordinates = r'( (?:d|x|y|transform|clip-path)=")([^"]*)'
    return re.sub(coordinates, rounded, _coloured(tag))


def _coloured(tag: str) -> str:
    for variable, (colour, _) in COLOURS.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag


def _rounded(numbers: str) -> str:
    """Coordinates to a hundredth of a point."""

    def short(match: re.Match[str]) -> str:
        return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")

    return " ".join(re.sub(r"-?\d+\.\d{3,}", short, numbers).split())
