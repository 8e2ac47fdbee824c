"""What changes in flow time: the loss, the singular values, the strength of every unit."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..basis.checks import known
from ..basis.pictures import picture_of
from ..plateaus import Stage, Stages
from ..runs import Run
from .axes import (
    CYCLE,
    INK,
    MUTED,
    SMALL,
    VERMILION,
    bands,
    lone,
    name_bands,
    new_axes,
    parts,
    time_axis,
    window,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SILENT = 0.01  # singular values below this share of the axis have no name
APART = 0.07  # nor have those that are nearer than this share of its range to one that has
# A logarithmic axis of losses ends at so many decades on either side of one, and what diverged
# further leaves the picture: numbers along a longer axis would be beyond floats.
DECADES = 250
FEW_LINES = 12  # lines are drawn thicker where there are no more units than this


@picture_of(Run, Stages)
def loss_curve(subject: Run | Stages, axes: Axes | None = None, *, log: bool = False) -> Axes:
    """Loss against flow time; plateaus are shaded and named by effective units.

    Losses of certified fixed points are dashed. The time axis is chosen so that the
    staircase is legible, see `window`; its label says what was cropped.

    subject: a run, or its stages.
    log: a logarithmic loss axis (losses at or below zero, which rounding makes, are left
        out).

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.plots import loss_curve
    >>> loss_curve(stages(train("linear"))).get_xlabel().startswith("flow time")
    True
    """
    run, stages = parts(subject)
    axes, shown = new_axes(axes), window(subject)
    t = run.trajectory
    drawn = np.isfinite(t.loss) & ((t.loss > 0) | (not log))
    loss = np.where(drawn, t.loss, np.nan)

    # Before anything is drawn: Matplotlib's own limits of huge losses would be beyond floats.
    _loss_limits(axes, loss[(t.flow_time <= shown.end) & drawn], log)
    bands(axes, stages)
    for stage in stages:
        _dash_fixed_point(axes, stage, log)
    axes.plot(
        t.flow_time,
        loss,
        color=INK,
        marker=lone(loss),
        linewidth=1.7,
        solid_joinstyle="round",
        zorder=3,
    )
    time_axis(axes, shown)
    axes.set_ylabel(loss_label(run))
    # The power of ten of the losses stands left of the axis: above it are the names of the bands.
    axes.yaxis.get_offset_text().set(x=-0.02, horizontalalignment="right")
    name_bands(axes, stages, shown)
    return axes


def _dash_fixed_point(axes: Axes, stage: Stage, log: bool) -> None:
    point = stage.fixed_point
    if point is None or (log and point.loss <= 0):
        return
    axes.axhline(
        point.loss,
        color=VERMILION,
        linestyle=(0, (4, 3)),
        linewidth=0.9,
        zorder=1,
    )


def loss_label(run: Run) -> str:
    """What the loss of a run is."""
    return run.objective().function.loss.label


def _loss_limits(axes: Axes, values: np.ndarray, log: bool) -> None:
    """The range of what is shown, with the zero of the loss on a linear axis."""
    if log:
        axes.set_yscale("log")
    if not len(values) or values.max() <= 0:
        return
    least, most = float(values.min()), float(values.max())
    if not log:
        low = min(0.0, least)
        axes.set_ylim(low - 0.03 * (most - low), most + 0.05 * (most - low))
        return
    low, high = np.log10([least, most])
    margin = 0.05 * max(high - low, 1.0)
    powers = np.clip([low - margin, high + margin], -DECADES, DECADES)
    axes.set_ylim(*10.0**powers)


def _recorded(run: Run, name: str) -> np.ndarray:
    """An observable (T, K); raises InputError where it was not recorded."""
    observables = run.trajectory.observables
    known(name, observables, "observable")
    return np.asarray(observables[name]).reshape(len(run.trajectory.loss), -1)


def singular_values(subject: Run | Stages, axes: Axes | None = None, *, layer: int = 0) -> Axes:
    """A layer's recorded singular values against flow time, the largest twelve.

    Of sum_i v_i u_i' (V, U) for units linear in u, else of the weights [u, v] (H, U + V)
    side by side. Raises InputError where they were not recorded.

    Example
    -------
    >>> from saddlery import train
    >>> from saddlery.plots import singular_values
    >>> singular_values(train("linear")).get_ylabel()
    'singular values of Σ v u′'
    """
    run, stages = parts(subject)
    t = run.trajectory.flow_time
    product = f"product_singular_values_{layer}" in run.trajectory.observables
    prefix, of = ("product_", "Σ v u′") if product else ("", "[u, v]")
    axes, shown = new_axes(axes), window(subject)
    values = _recorded(run, f"{prefix}singular_values_{layer}")

    bands(axes, stages)
    for k in range(values.shape[1]):
        axes.plot(t, values[:, k], color=_colour(k), marker=lone(values), linewidth=1.4)
    time_axis(axes, shown)
    last = np.searchsorted(t, shown.end, side="right") - 1
    _name_lines(axes, values[last])
    axes.set_ylabel(f"singular values of {of}{_layer_name(run, layer)}")
    return axes


def _colour(k: int) -> str:
    return CYCLE[k] if k < len(CYCLE) else MUTED


def _name_lines(axes: Axes, ends: np.ndarray) -> None:
    """s1, s2, ... at the right end of lines neither silent nor in each other's way."""
    low, high = axes.get_ylim()
    taken: list[float] = []
    for k, value in enumerate(ends):
        near = any(abs(value - other) <= APART * (high - low) for other in taken)
        if value <= SILENT * high or near:
            continue
        taken.append(float(value))
        number = "₁₂₃₄₅₆₇₈₉"[k] if k < 9 else k + 1
        axes.annotate(
            f"s{number}",
            (1.01, value),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=SMALL,
            color=_colour(k),
        )


def unit_norms(subject: Run | Stages, axes: Axes | None = None, *, layer: int = 0) -> Axes:
    """The recorded strength |u||v| of every unit of a layer against flow time, (T, H).

    A line a unit. Raises InputError where it was not recorded.
    """
    run, stages = parts(subject)
    axes, values = new_axes(axes), _recorded(run, f"unit_norms_{layer}")
    bands(axes, stages)
    count = values.shape[1]
    axes.plot(
        run.trajectory.flow_time,
        values,
        color=INK,
        marker=lone(values),
        linewidth=1.3 if count <= FEW_LINES else 0.8,
        alpha=0.6,
    )
    time_axis(axes, window(subject))
    units = "1 unit" if count == 1 else f"{count} units"
    axes.set_ylabel(f"unit strength |u| |v| ({units}){_layer_name(run, layer)}")
    return axes


def _layer_name(run: Run, layer: int) -> str:
    if len(run.experiment.network.layers) == 1:
        return ""
    return f", layer {layer + 1}"
