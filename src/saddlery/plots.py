"""Pictures: functions on matplotlib axes that draw what was computed and return the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .certificates import Certificate
from .checks import InputError
from .runs import Run
from .stage import Stage, Stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY, RED = "#0072b2", "#d55e00", "#666666", "#cc3311"  # Okabe & Ito: safe for the colour-blind
SHADES = {"initial": "#56b4e9", "intermediate": "#e69f00", "end": "#009e73"}


def axes_or_new(axes: Axes | None, size: tuple[float, float] = (5.0, 3.0)) -> Axes:
    """The given axes, or those of a new figure; raises InputError where matplotlib is not installed."""
    if axes is not None:
        return axes
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('pictures need matplotlib; install it with pip install "saddlery[plots]"') from None
    return Figure(figsize=size, layout="constrained").add_subplot()


def loss_curve(found: Run | Stages, axes: Axes | None = None, *, log: bool = False) -> Axes:
    """Loss against flow time, plateaus shaded and labelled by effective units, fixed-point losses dashed.

    The axis ends soon after the last drop: the converged tail is cropped to a quarter of what came before.
    """
    run, stages = (found, ()) if isinstance(found, Run) else (found.run, found.stages)
    axes, t = axes_or_new(axes), run.trajectory
    axes.plot(t.flow_time, t.loss, color="black", linewidth=1.6)
    for stage in stages:
        axes.axvspan(stage.start, stage.end, color=SHADES[stage.kind], alpha=0.18, linewidth=0)
        if stage.certificate is not None and stage.certificate.certified:
            axes.hlines(stage.certificate.loss, stage.start, stage.end, color=RED, linestyle="--", linewidth=1)
    end = stages[-1].start * 1.25 if len(stages) > 1 and stages[-1].kind == "end" else float(t.flow_time[-1])
    axes.set_xlim(0, max(end, 1e-12))
    if log:
        axes.set_yscale("log")
    for stage in stages:
        middle = 0.5 * (max(stage.start, 0) + min(stage.end, end))
        axes.annotate(
            label(stage),
            (middle, 0.5),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="center",
            fontsize=8,
            rotation=90,
        )
    axes.set(xlabel="flow time", ylabel="loss (mean over samples)")
    return axes


def label(stage: Stage) -> str:
    """The effective units of a stage in words."""
    units = stage.effective_units
    return f"{units} unit{'' if units == 1 else 's'}" if isinstance(units, int) else " > ".join(map(str, units))


def unit_weights(
    run: Run, state: np.ndarray, axes: Axes | None = None, *, layer: int = 0, limit: float | None = None
) -> Axes:
    """The incoming weights of a layer's units at one state, as in the saddle-to-saddle paper.

    Points in the plane of two weights; of the first two principal axes where u has more; kinks -b/w on the input axis for
    units with one input and a bias; bars of |u||v| for attention heads.
    """
    axes = axes_or_new(axes, (2.4, 2.4))
    network, params = run.experiment.network, run.objective().params(np.asarray(state, float))
    u, v = np.asarray(network.incoming(params, layer)), np.asarray(network.outgoing(params, layer))
    unit = network.layers[layer].unit
    if unit.name.startswith(("attention", "in_context")):
        strength = np.sort(np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))[::-1]
        axes.bar(np.arange(1, len(strength) + 1), strength, color="black")
        axes.set(xlabel="head", ylabel="|u| |v|")
        return axes
    if unit.extra and u.shape[1] == 2:
        axes.scatter(-u[:, 1] / np.where(u[:, 0] == 0, np.nan, u[:, 0]), u[:, 0], s=10, color="black")
        axes.set(xlabel="kink -b / w (input)", ylabel="w")
        return axes
    names = ("u[0]", "u[1]")
    if u.shape[1] > 2:
        final = np.asarray(
            network.incoming(run.objective().params(np.asarray(run.trajectory.states[-1], float)), layer)
        )
        u, names = u @ np.linalg.svd(final, full_matrices=False)[2][:2].T, ("principal axis 1", "principal axis 2")
    second = u[:, 1] if u.shape[1] > 1 else np.zeros(len(u))
    axes.scatter(u[:, 0], second, s=10, color="black", alpha=0.7, linewidth=0)
    reach = limit or 1.15 * max(float(np.abs(u).max()), 1e-12)
    axes.axhline(0, color=GREY, linewidth=0.5)
    axes.axvline(0, color=GREY, linewidth=0.5)
    axes.locator_params(nbins=3)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=names[0], ylabel=names[1], aspect="equal")
    return axes


def spectrum(certificate: Certificate, axes: Axes | None = None) -> Axes:
    """The Hessian's eigenvalues in ascending order: negative ones orange, zero modes grey, positive ones blue."""
    axes = axes_or_new(axes, (3.0, 2.4))
    if certificate.eigenvalues is None:
        axes.text(0.5, 0.5, "not a fixed point", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return axes
    values, zero = certificate.eigenvalues, certificate.zero_tolerance or 0.0
    place = np.arange(1, len(values) + 1)
    for colour, chosen, label in (
        (ORANGE, values < -zero, "negative"),
        (GREY, np.abs(values) <= zero, "zero"),
        (BLUE, values > zero, "positive"),
    ):
        axes.scatter(
            place[chosen], values[chosen], s=5, color=colour, linewidth=0, label=f"{int(chosen.sum())} {label}"
        )
    axes.legend(fontsize=6, frameon=False, loc="upper left")
    axes.set(xlabel="eigenvalue, in order", ylabel="Hessian eigenvalue")
    return axes


def observable(run: Run, name: str, axes: Axes | None = None) -> Axes:
    """A recorded observable against flow time, for example "singular_values_0" or "unit_norms_0"."""
    axes, t = axes_or_new(axes), run.trajectory
    if name not in t.observables:
        raise InputError(f"observable {name!r} was not recorded; choose one of {', '.join(sorted(t.observables))}")
    axes.plot(t.flow_time, t.observables[name], linewidth=1)
    axes.set(xlabel="flow time", ylabel=name.rsplit("_", 1)[0].replace("_", " ") + f", layer {name.rsplit('_', 1)[1]}")
    return axes


def stage_state(run: Run, stage: Stage) -> np.ndarray:
    """The state a stage is drawn at: where the run is nearest to rest."""
    return np.asarray(run.trajectory.states[stage.index], float)


def figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, np.ndarray]:
    """A figure outside pyplot, with a grid of axes."""
    axes_or_new(None)  # the message where matplotlib is missing
    from matplotlib.figure import Figure

    made = Figure(figsize=size, layout="constrained")
    return made, np.atleast_1d(made.subplots(rows, columns, squeeze=False))
