"""The units of a layer at a stage: points in a plane of weights, kinks, heads."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..basis.checks import Words, require
from ..basis.precision import in_float64
from ..plateaus import Stage, Stages
from ..runs import Run
from ..symmetry.reduction import sides
from ..units import Unit
from .axes import INK, MUTED, RULE, SMALL, VERMILION, new_axes, parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class View:
    """What the pictures of one layer share, so that stages compare: a plane, its names and common
    limits.

    basis (2, U): the plane, as rows. names: of its two axes. reach: of points in it. strength: the
        largest |u||v|.
    span: of the inputs where units have kinks on them, with a margin. slope: the largest change of
    slope at a kink.
    """

    basis: np.ndarray
    names: tuple[str, str]
    reach: float
    strength: float
    span: tuple[float, float] = (-1.0, 1.0)
    slope: float = 1.0


@in_float64
def layer_sides(
    run: Run, state: Stage | np.ndarray, layer: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Incoming u (H, U) and outgoing v (H, V) weights of a layer at a stage of the run or at a
    state (P,)."""
    layers = len(run.experiment.network.layers)
    require(
        isinstance(layer, int) and 0 <= layer < layers,
        "layer",
        f"one of the {layers}, counted from 0",
        layer,
    )
    theta = np.asarray(
        run.trajectory.states[state.index] if isinstance(state, Stage) else state, float
    )
    require(
        theta.shape == run.trajectory.states.shape[1:],
        "state",
        f"of shape {run.trajectory.states.shape[1:]}",
        theta.shape,
    )
    objective = run.objective()
    return sides(objective.network, objective.params(theta), layer)


def view(run: Run, states: Sequence[Stage | np.ndarray], *, layer: int = 0) -> View:
    """The common view of one layer at several stages or states (at least one)."""
    require(len(states) > 0, "states", "at least one stage or state", Words("none"))
    found = [layer_sides(run, state, layer) for state in states]
    unit = run.experiment.network.layers[layer].unit
    points = np.concatenate([_points(unit, u, v) for u, v in found])
    basis, names = _plane(unit, points)
    strength = max(float(_strength(u, v).max(initial=0.0)) for u, v in found)
    reach = float(np.abs(points @ basis.T).max(initial=0.0))
    common = View(
        basis, names, 1.12 * reach if reach > 0 else 1.0, strength if strength > 0 else 1.0
    )
    return _kink_view(run, layer, found, common) if has_kinks(unit, found[0][0]) else common


def _kink_view(
    run: Run, layer: int, found: Sequence[tuple[np.ndarray, np.ndarray]], common: View
) -> View:
    """The common view with the span of the inputs (or, in later layers, of the kinks) and the
    largest change of slope."""
    kinks = [_kink(u, v, common) for u, v in found]
    places = (
        np.asarray(run.objective().inputs)
        if layer == 0
        else np.concatenate([place for place, _ in kinks])
    )
    low, high = (float(places.min()), float(places.max())) if places.size else (-1.0, 1.0)
    margin = 0.08 * (high - low) or 1.0
    slope = max(float(np.abs(change).max(initial=0.0)) for _, change in kinks)
    return replace(common, span=(low - margin, high + margin), slope=slope if slope > 0 else 1.0)


def has_kinks(unit: Unit, u: np.ndarray) -> bool:
    """Whether the units are ReLU-like with one input and a bias, so that each bends the map at one
    input."""
    return unit.extra == 1 and u.shape[1] == 2 and unit.name in ("relu", "leaky_relu")


def _kink(u: np.ndarray, v: np.ndarray, shared: View) -> tuple[np.ndarray, np.ndarray]:
    """Place -b/w and change of slope |w| v of every unit stronger than a thousandth of the
    strongest of the view."""
    kept = (_strength(u, v) > 1e-3 * shared.strength) & (u[:, 0] != 0)
    (w, b), after = u[kept].T, v[kept]
    return -b / w, np.abs(w) * (after[:, 0] if v.shape[1] == 1 else np.linalg.norm(after, axis=1))


def _strength(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)


def is_head(unit: Unit) -> bool:
    return unit.name.startswith(("attention", "in_context"))


def _points(unit: Unit, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """What is drawn as points (n, M): keys above queries for separate heads; (u, v) of units with
    one weight; else u."""
    if is_head(unit) and "rank" in unit.options:
        rank = int(unit.options["rank"])
        return np.moveaxis(u.reshape(len(u), 2, -1, rank), (1, 3), (0, 1)).reshape(
            2 * rank * len(u), -1
        )
    if u.shape[1] == 1:
        return np.column_stack([u[:, 0], v[:, 0] if v.shape[1] == 1 else np.linalg.norm(v, axis=1)])
    return u


def _plane(unit: Unit, points: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    size = points.shape[1]
    if size == 1:  # keys and queries of one entry
        return np.array([[1.0], [0.0]]), ("key or query", "")
    if size == 2:
        names = {1: ("weight w", "bias b")}.get(
            unit.extra, ("incoming weight u₁", "incoming weight u₂")
        )
        return np.eye(2), ("key or query, entry 1", "entry 2") if is_head(unit) else names
    squares, rows = np.linalg.svd(points, full_matrices=False)[1:]
    basis = np.zeros((2, size))
    basis[: min(2, len(rows))] = rows[:2]
    basis *= np.where(basis[np.arange(2), np.abs(basis).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    share = np.concatenate([squares**2, [0.0]]) / max(float(np.sum(squares**2)), 1e-300)
    return basis, tuple(f"principal axis {k + 1} of {size} ({share[k]:.0%})" for k in range(2))  # type: ignore[return-value]


def unit_weights(
    run: Run | Stages,
    state: Stage | np.ndarray,
    axes: Axes | None = None,
    *,
    layer: int = 0,
    shared: View | None = None,
) -> Axes:
    """The units of a layer at one stage or state, as in the figures of Zhang, Saxe & Latham (2026):
    see `draw_units`.

    shared: a common `view` of several stages; by default the view of this state alone.
    """
    run = parts(run)[0]
    u, v = layer_sides(run, state, layer)
    unit = run.experiment.network.layers[layer].unit
    return draw_units(unit, u, v, shared or view(run, [state], layer=layer), axes)


def draw_units(
    unit: Unit, u: np.ndarray, v: np.ndarray, shared: View, axes: Axes | None = None
) -> Axes:
    """Units u (H, U), v (H, V), each kind in its own way.

    Heads: bars of their strengths |u||v|, sorted. ReLU-like units with one input and a bias: their
    kinks -b/w and the change of slope there. Units with one incoming weight: points (u, v). Others:
    points in the plane of both incoming weights, or of the first two principal axes (not centred)
    where there are more, which the labels say with their share of the squared weights.
    """
    axes = new_axes(axes, (2.6, 2.6))
    if is_head(unit):
        return _heads(axes, u, v, shared)
    if has_kinks(unit, u):
        return _kinks(axes, u, v, shared)
    points = _points(unit, u, v) @ shared.basis.T
    _cross(axes, shared)
    axes.scatter(*points.T, s=16, color=INK, alpha=0.75, linewidth=0, zorder=3)
    names = (
        shared.names
        if u.shape[1] > 1
        else ("incoming weight u", "outgoing weight v" if v.shape[1] == 1 else "|v|")
    )
    axes.set(xlabel=names[0], ylabel=names[1])
    return axes


def head_directions(
    run: Run | Stages,
    state: Stage | np.ndarray,
    axes: Axes | None = None,
    *,
    layer: int = 0,
    shared: View | None = None,
) -> Axes:
    """Keys (dots) and queries (rings) of heads with separate ones, in the plane of `view`, as
    `draw_units` says."""
    run = parts(run)[0]
    unit = run.experiment.network.layers[layer].unit
    require(
        is_head(unit) and "rank" in unit.options,
        "units",
        "heads with separate keys and queries",
        unit.name,
    )
    u, v = layer_sides(run, state, layer)
    shared = shared or view(run, [state], layer=layer)
    axes, points = new_axes(axes, (2.6, 2.6)), _points(unit, u, v) @ shared.basis.T
    keys, queries = points[: len(points) // 2], points[len(points) // 2 :]
    _cross(axes, shared)
    axes.scatter(*keys.T, s=14, color=INK, linewidth=0, label="key", zorder=3)
    axes.scatter(
        *queries.T,
        s=42,
        facecolor="none",
        edgecolor=VERMILION,
        linewidth=1.1,
        label="query",
        zorder=3,
    )
    axes.legend(fontsize=SMALL - 1, frameon=False, loc="upper left", borderpad=0, handletextpad=0.1)
    axes.set(xlabel=shared.names[0], ylabel=shared.names[1])
    return axes


def _cross(axes: Axes, shared: View) -> None:
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.axvline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.set(xlim=(-shared.reach, shared.reach), ylim=(-shared.reach, shared.reach))
    axes.set_box_aspect(1)
    axes.locator_params(nbins=4)


def _heads(axes: Axes, u: np.ndarray, v: np.ndarray, shared: View) -> Axes:
    strength = np.sort(_strength(u, v))[::-1]
    place = np.arange(1, len(strength) + 1)
    axes.bar(place, strength, color=INK, width=0.7)
    axes.set(
        xlabel="head, by strength",
        ylabel="strength |u| |v|",
        ylim=(0, 1.08 * shared.strength),
        xlim=(0.3, len(strength) + 0.7),
        xticks=np.unique([1, *place[4::5], len(strength)]),
    )
    axes.set_box_aspect(1)
    return axes


def _kinks(axes: Axes, u: np.ndarray, v: np.ndarray, shared: View) -> Axes:
    """A stem at every kink within the span of the inputs, and how many are outside."""
    place, change = _kink(u, v, shared)
    reach = 1.12 * shared.slope
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.vlines(place, 0, change, color=INK, linewidth=1)
    axes.scatter(place, change, s=16, color=INK, linewidth=0, zorder=3)
    outside = int(np.sum((place < shared.span[0]) | (place > shared.span[1])))
    if outside:
        axes.text(
            0.98,
            0.98,
            f"{outside} outside",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=SMALL,
            color=MUTED,
        )
    axes.set(
        xlabel="kink −b/w (input)",
        ylabel="change of slope |w| v" if v.shape[1] == 1 else "|w| |v|",
        xlim=shared.span,
        ylim=(-reach if v.shape[1] == 1 else 0, reach),
    )
    axes.locator_params(nbins=4)
    axes.set_box_aspect(1)
    return axes
