"""The Hessian's spectrum at a fixed point."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..basis.pictures import picture_of
from ..basis.sizes import TINY
from ..saddles import Certificate, FixedPoint
from .axes import BLUE, MUTED, RULE, SMALL, VERMILION, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LINEAR_RATIO = 300.0  # the axis is linear up to this ratio of non-zero eigenvalues
# Cells across a picture, and to an e-fold of size: of the points in one only one is drawn.
CELLS_WIDE, CELLS_HIGH = 200, 15
SIZES_SHOWN = 1e6  # eigenvalues below the largest over this all count as zero


class _Group(NamedTuple):
    """Eigenvalues that are drawn alike."""

    chosen: np.ndarray
    colour: str
    marker: str
    count: int | None  # where it is known
    words: str


@picture_of(Certificate)
def spectrum(certificate: Certificate, axes: Axes | None = None) -> Axes:
    """The Hessian's eigenvalues in ascending order, with their counts in the legend.

    Negative ones point down, zero ones are dots and positive ones point up. The axis is
    symmetric-logarithmic where non-zero eigenvalues span more than a factor of 300.
    Where only the two ends of the spectrum are known (Lanczos), the label says so.
    Without a fixed point the axes say that instead.

    Example
    -------
    >>> from saddlery import certify
    >>> from saddlery.plots import spectrum
    >>> axes = spectrum(certify("linear")[0].certificate)
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['100 negative (index)', '0 zero modes', '100 positive']
    """
    axes = new_axes(axes, (2.6, 2.6))
    if not isinstance(certificate, FixedPoint) or not len(certificate.eigenvalues):
        return _without(axes, certificate)
    values, zero = certificate.eigenvalues, certificate.zero_tolerance
    place = np.arange(1, len(values) + 1)
    complete = len(values) == len(certificate.state)
    _eigenvalue_axis(axes, values[np.abs(values) > zero])
    for group in _groups(certificate, values, zero=zero, complete=complete):
        chosen = group.chosen
        kept = _thinned(place[chosen], values[chosen], len(values))
        count = f"≥ {int(chosen.sum())}" if group.count is None else f"{group.count}"
        axes.scatter(
            place[kept],
            values[kept],
            s=9,
            color=group.colour,
            marker=group.marker,
            linewidth=0,
            label=f"{count} {group.words}",
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


def _without(axes: Axes, certificate: Certificate) -> Axes:
    """Axes that say why they are empty."""
    words = "no spectrum"
    if not certificate.certified:
        words = "no fixed point found:\nno spectrum"
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


def _groups(
    certificate: FixedPoint, values: np.ndarray, *, zero: float, complete: bool
) -> tuple[_Group, ...]:
    above = values > zero
    return (
        _Group(
            chosen=values < -zero,
            colour=VERMILION,
            marker="v",
            count=certificate.index,
            words="negative (index)",
        ),
        _Group(
            chosen=np.abs(values) <= zero,
            colour=MUTED,
            marker="o",
            count=certificate.zero_modes,
            words="zero modes",
        ),
        _Group(
            chosen=above,
            colour=BLUE,
            marker="^",
            count=int(np.sum(above)) if complete else None,
            words="positive",
        ),
    )


def _thinned(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Indices (from zero) of points, without those that would lie on top of others.

    place (K,): of the eigenvalues, from one. values (K,): these. count: of all.
    """
    if not len(place):
        return place
    largest = max(float(np.abs(values).max(initial=0.0)), TINY)
    size = np.sign(values) * np.log1p(np.abs(values) / largest * SIZES_SHOWN)
    across = place * CELLS_WIDE // max(count, CELLS_WIDE)
    cells = np.column_stack([across, np.round(size * CELLS_HIGH)])
    first = np.unique(cells, axis=0, return_index=True)[1]
    return place[np.sort(first)] - 1


def _eigenvalue_axis(axes: Axes, values: np.ndarray) -> None:
    """Linear or symmetric-logarithmic, with head room for the legend.

    That stands where an ascending curve is not.
    """
    if not len(values):
        axes.set(ylim=(-1, 1), yticks=[0])
        return
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    sizes = np.abs(values)
    least, most = float(sizes.min()), float(sizes.max())
    if most > LINEAR_RATIO * least:
        _logarithmic(axes, low, high, least=least, most=most)
        return
    span = high - low
    axes.set_ylim(low - 0.08 * span, high + 0.3 * span)
    axes.locator_params(axis="y", nbins=5)


def _logarithmic(axes: Axes, low: float, high: float, *, least: float, most: float) -> None:
    """The symmetric-logarithmic axis from low <= 0 to high >= 0, of sizes least to most."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    floor, top = int(np.floor(np.log10(least))), int(np.ceil(np.log10(most)))
    smallest = 10.0**floor
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.6)
    powers = range(floor, top + 1, max(1, (top - floor + 2) // 3))
    ticks = [0.0]
    if low < 0:
        ticks = [-(10.0**power) for power in powers] + ticks
    if high > 0:
        ticks = ticks + [10.0**power for power in powers]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    bottom = 3 * low if low < 0 else -smallest
    head = high * 10 ** (0.4 * (top - floor)) if high > 0 else smallest
    axes.set_ylim(bottom, head)


def _power(value: float) -> str:
    """10⁻³, without mathematical type."""
    if value == 0:
        return "0"
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    exponent = str(round(np.log10(abs(value)))).translate(raised)
    sign = "−" if value < 0 else ""
    return f"{sign}10{exponent}"
