"""The Hessian's spectrum at a fixed point."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..basis.pictures import picture_of
from ..saddles import Certificate, FixedPoint
from .axes import BLUE, MUTED, RULE, SMALL, VERMILION, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@picture_of(Certificate)
def spectrum(certificate: Certificate, axes: Axes | None = None) -> Axes:
    """The Hessian's eigenvalues in ascending order: negative (down), zero (dots) and positive (up);
    counts in the legend.

    The axis is symmetric-logarithmic where non-zero eigenvalues span more than a factor of 300.
    Where only the two ends of the spectrum are known (Lanczos), the label says so. Without a fixed
    point the axes say that instead.
    """
    axes = new_axes(axes, (2.6, 2.6))
    if not isinstance(certificate, FixedPoint) or not len(certificate.eigenvalues):
        words = "no spectrum" if certificate.certified else "no fixed point found:\nno spectrum"
        axes.text(
            0.5,
            0.5,
            words,
            ha="center",
            va="center",
            transform=axes.transAxes,
            color=MUTED,
            fontsize=SMALL + 1,
        )
        axes.set(
            xticks=[],
            yticks=[],
            xlabel="eigenvalue, in ascending order",
            ylabel="Hessian eigenvalue",
        )
        return axes
    values, zero = certificate.eigenvalues, certificate.zero_tolerance
    place = np.arange(1, len(values) + 1)
    complete = len(values) == len(certificate.state)
    groups = (
        (values < -zero, VERMILION, "v", certificate.index, "negative (index)"),
        (np.abs(values) <= zero, MUTED, "o", certificate.zero_modes, "zero modes"),
        (values > zero, BLUE, "^", int(np.sum(values > zero)) if complete else None, "positive"),
    )
    _eigenvalue_axis(axes, values[np.abs(values) > zero])
    for chosen, colour, marker, count, words in groups:
        kept = _thinned(place[chosen], values[chosen], len(values))
        shown = f"{count}" if count is not None else f"≥ {int(chosen.sum())}"
        axes.scatter(
            place[kept],
            values[kept],
            s=9,
            color=colour,
            marker=marker,
            linewidth=0,
            label=f"{shown} {words}",
            zorder=3,
        )
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.legend(
        fontsize=SMALL - 1,
        frameon=False,
        loc="upper left",
        borderpad=0,
        handletextpad=0.1,
        labelspacing=0.3,
    )
    found = "in ascending order" if complete else f"the {len(values)} known, ascending"
    axes.set(xlabel=f"eigenvalue, {found}", ylabel="Hessian eigenvalue")
    return axes


def _thinned(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Indices (from zero) of points, without those that would lie on top of others in a picture 200
    points wide."""
    size = np.sign(values) * np.log1p(
        np.abs(values) / max(float(np.abs(values).max(initial=0.0)), 1e-300) * 1e6
    )
    cells = np.column_stack([place * 200 // max(count, 200), np.round(size * 15)])
    return (
        place[np.sort(np.unique(cells, axis=0, return_index=True)[1])] - 1 if len(place) else place
    )


def _eigenvalue_axis(axes: Axes, values: np.ndarray) -> None:
    """Linear or symmetric-logarithmic, with head room for the legend, which stands where an
    ascending curve is not."""
    if not len(values):
        axes.set(ylim=(-1, 1), yticks=[0])
        return
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    least, most = float(np.abs(values).min()), float(np.abs(values).max())
    if most <= 300 * least:
        span = high - low
        axes.set_ylim(low - 0.08 * span, high + 0.3 * span)
        axes.locator_params(axis="y", nbins=5)
        return
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    floor, top = int(np.floor(np.log10(least))), int(np.ceil(np.log10(most)))
    powers = range(floor, top + 1, max(1, (top - floor + 2) // 3))
    axes.set_yscale("symlog", linthresh=10.0**floor, linscale=0.6)
    ticks = [-(10.0**p) for p in powers if low < 0] + [0.0] + [10.0**p for p in powers if high > 0]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axes.set_ylim(
        3 * low if low < 0 else -(10.0**floor),
        high * 10 ** (0.4 * (top - floor)) if high > 0 else 10.0**floor,
    )


def _power(value: float) -> str:
    """10⁻³, without mathematical type."""
    if value == 0:
        return "0"
    exponent = round(np.log10(abs(value)))
    return (
        ("−" if value < 0 else "")
        + "10"
        + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    )
