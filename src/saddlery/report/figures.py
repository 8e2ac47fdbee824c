"""Pictures inside a page: small SVG whose text is text and whose colours are variables of the page's style."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..plots import axes as drawn
from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Axes"], object]
WIDE, SQUARE = (4.0, 2.6), (2.5, 2.3)  # inches


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
    with matplotlib.rc_context(settings):
        yield


def figure(draw: Draw, name: str, caption: str, size: tuple[float, float], *, shown: bool = True) -> str:
    """One picture as inline SVG with ids of its own; the caption is its description, and printed below it if `shown`."""
    drawn.new_axes()  # the message where matplotlib is missing
    from matplotlib.figure import Figure

    with _style(name):
        canvas = Figure(figsize=size)
        draw(canvas.add_axes(_frame(size)))
        svg = _svg(canvas, name)
    label = html.escape(caption)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure>{svg}{f'<figcaption>{label}</figcaption>' if shown else ''}</figure>"


def _frame(size: tuple[float, float]) -> tuple[float, float, float, float]:
    """The same margins in inches for every picture of a size, so that their axes line up in a grid."""
    width, height = size
    left, right, bottom, top = (
        0.68 if width > 3 else 0.62,
        0.24,
        0.58 if width > 3 else 0.44,
        0.36 if width > 3 else 0.06,
    )
    return left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height


def _svg(canvas: Figure, name: str) -> str:
    """The picture's SVG, small and safe to inline: no header, no metadata, unused ids dropped and the others prefixed."""
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    opening, rest = text.split(">", 1)
    text = re.sub(r' (?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", opening) + ">" + rest
    text = text.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for variable, (colour, _) in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r'( (?:d|x|y|transform|clip-path)=")([^"]*)', lambda m: m[1] + _rounded(m[2]), text)
    return re.sub(r">\s+<", "><", text).strip()


def _rounded(numbers: str) -> str:
    """Coordinates to a fiftieth of a point."""
    return " ".join(re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), numbers).split())
