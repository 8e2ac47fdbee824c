"""What changes in flow time: the loss, the singular values, the strength of every unit."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..basis.checks import known
from ..basis.pictures import picture_of
from ..plateaus import Stages
from ..runs import Run
from .axes import (
    CYCLE,
    INK,
    MUTED,
    SMALL,
    VERMILION,
    bands,
    name_bands,
    new_axes,
    parts,
    time_axis,
    window,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@picture_of(Run, Stages)
def loss_curve(subject: Run | Stages, axes: Axes | None = None, *, log: bool = False) -> Axes:
    """Loss against flow time; plateaus are shaded and named by effective units, certified
    fixed-point losses dashed.

    subject: a run, or its stages. log: a logarithmic loss axis (losses at or below zero, which
    rounding makes, are left out). The time axis is chosen so that the staircase is legible, see
    `window`; its label says what was cropped.

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.plots import loss_curve
    >>> loss_curve(stages(train("linear"))).get_xlabel().startswith("flow time")
    True
    """
    run, stages = parts(subject)
    axes, t, shown = new_axes(axes), run.trajectory, window(subject)
    loss = np.where(np.isfinite(t.loss) & ((t.loss > 0) | (not log)), t.loss, np.nan)
    bands(axes, stages)
    for stage in stages:
        point = stage.fixed_point
        if point is not None and not (log and point.loss <= 0):
            axes.axhline(
                point.loss, color=VERMILION, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1
            )
    axes.plot(t.flow_time, loss, color=INK, linewidth=1.7, solid_joinstyle="round", zorder=3)
    time_axis(axes, shown)
    _loss_limits(axes, loss[(t.flow_time <= shown.end) & np.isfinite(loss)], log)
    axes.set_ylabel(loss_label(run))
    name_bands(axes, stages, shown)
    return axes


def loss_label(run: Run) -> str:
    """What the loss of a run is."""
    return run.objective().function.loss.label


def _loss_limits(axes: Axes, values: np.ndarray, log: bool) -> None:
    """The range of what is shown, with the zero of the loss on a linear axis."""
    if log:
        axes.set_yscale("log")
    if not len(values) or values.max() <= 0:
        return
    if log:
        low, high = np.log10([values.min(), values.max()])
        margin = 0.05 * max(high - low, 1.0)
        axes.set_ylim(10 ** (low - margin), 10 ** (high + margin))
    else:
        axes.set_ylim(
            min(0.0, float(values.min())) - 0.03 * float(values.max()), 1.05 * float(values.max())
        )


def _recorded(run: Run, name: str) -> np.ndarray:
    known(name, run.trajectory.observables, "observable")
    return np.asarray(run.trajectory.observables[name]).reshape(len(run.trajectory.loss), -1)


def singular_values(subject: Run | Stages, axes: Axes | None = None, *, layer: int = 0) -> Axes:
    """A layer's recorded singular values against flow time, the largest twelve.

    Of sum_i v_i u_i' for units linear in u, else of the weights [u, v] side by side. Raises
    InputError where they were not recorded.
    """
    run, stages = parts(subject)
    product = f"product_singular_values_{layer}" in run.trajectory.observables
    name = f"{'product_' * product}singular_values_{layer}"
    axes, values, shown = new_axes(axes), _recorded(run, name), window(subject)
    bands(axes, stages)
    for k in range(values.shape[1]):
        axes.plot(
            run.trajectory.flow_time,
            values[:, k],
            color=CYCLE[k] if k < len(CYCLE) else MUTED,
            linewidth=1.4,
        )
    time_axis(axes, shown)
    _name_lines(
        axes, values[np.searchsorted(run.trajectory.flow_time, shown.end, side="right") - 1]
    )
    of = "Σ v u′" if product else "[u, v]"
    axes.set_ylabel(f"singular values of {of}{_layer_name(run, layer)}")
    return axes


def _name_lines(axes: Axes, ends: np.ndarray) -> None:
    """s1, s2, ... at the right end of lines that are neither silent nor in each other's way."""
    low, high = axes.get_ylim()
    taken: list[float] = []
    for k, value in enumerate(ends):
        if value > 0.01 * high and all(abs(value - other) > 0.07 * (high - low) for other in taken):
            taken.append(float(value))
            axes.annotate(
                f"s{'₁₂₃₄₅₆₇₈₉'[k] if k < 9 else k + 1}",
                (1.01, value),
                xycoords=axes.get_yaxis_transform(),
                va="center",
                fontsize=SMALL,
                color=CYCLE[k] if k < len(CYCLE) else MUTED,
            )


def unit_norms(subject: Run | Stages, axes: Axes | None = None, *, layer: int = 0) -> Axes:
    """The recorded strength |u||v| of every unit of a layer against flow time, one line a unit."""
    run, stages = parts(subject)
    axes, values = new_axes(axes), _recorded(run, f"unit_norms_{layer}")
    bands(axes, stages)
    count = values.shape[1]
    axes.plot(
        run.trajectory.flow_time, values, color=INK, linewidth=0.8 if count > 12 else 1.3, alpha=0.6
    )
    time_axis(axes, window(subject))
    axes.set_ylabel(
        f"unit strength |u| |v| ({count} unit{'s' if count != 1 else ''}){_layer_name(run, layer)}"
    )
    return axes


def _layer_name(run: Run, layer: int) -> str:
    return f", layer {layer + 1}" if len(run.experiment.network.layers) > 1 else ""
