"""The units of a layer at a stage: points in a plane of weights, kinks, heads."""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ..basis.checks import Words, require
from ..basis.precision import in_float64
from ..plateaus import Stage, Stages
from ..runs import Run
from ..symmetry.reduction import sides
from ..units import Unit
from ..units.dense import LEAK
from .axes import INK, MUTED, RULE, SMALL, VERMILION, new_axes, parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PANEL_INCHES = (2.6, 2.6)
AXES_MARGIN = 1.12  # the axes end at so many times what has to be seen
TICKS = 5  # at most so many numbers below the bars of heads
VISIBLE_STRENGTH = 1e-3  # kinks of units below this share of a view's strongest are not drawn

Side = Float[np.ndarray, "H _"]
State = Float[np.ndarray, " P"]


@dataclass(frozen=True, eq=False)
class View:
    """What the pictures of one layer share, so that stages compare.

    basis (2, U): the plane, as rows. names: of its two axes.
    reach: of points in it.
    strength: the largest |u||v|.
    span: of the inputs where units have kinks on them, with a margin.
    slope: the largest change of slope at a kink.
    """

    basis: Float[np.ndarray, "2 U"]
    names: tuple[str, str]
    reach: float
    strength: float
    span: tuple[float, float] = (-1.0, 1.0)
    slope: float = 1.0


@in_float64
def layer_sides(run: Run, state: Stage | State, layer: int = 0) -> tuple[Side, Side]:
    """Incoming u (H, U) and outgoing v (H, V) weights of a layer.

    state: a stage of the run, or a state (P,). layer: counted from 0.

    Raises InputError for layers that do not exist and states of other shapes.

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.plots import layer_sides
    >>> found = stages(train("linear"))
    >>> [side.shape for side in layer_sides(found.run, found[0])]
    [(50, 2), (50, 2)]
    """
    layers = len(run.experiment.network.layers)
    states = run.trajectory.states
    require(
        isinstance(layer, int) and 0 <= layer < layers,
        "layer",
        needed=f"one of the {layers}, counted from 0",
        given=layer,
    )
    chosen = states[state.index] if isinstance(state, Stage) else state
    theta = np.asarray(chosen, float)
    require(
        theta.shape == states.shape[1:],
        "state",
        needed=f"of shape {states.shape[1:]}",
        given=theta.shape,
    )
    objective = run.objective()
    return sides(objective.network, objective.params(theta), layer)


def view(run: Run, states: Sequence[Stage | State], *, layer: int = 0) -> View:
    """The common view of one layer at several stages or states (P,), at least one.

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.plots import view
    >>> found = stages(train("linear"))
    >>> view(found.run, [found[0], found[-1]]).basis.shape
    (2, 2)
    """
    require(len(states) > 0, "states", needed="at least one stage or state", given=Words("none"))
    found = [layer_sides(run, state, layer) for state in states]
    unit = run.experiment.network.layers[layer].unit
    points = np.concatenate([_points(unit, u, v) for u, v in found])
    basis, names = _plane(unit, points)
    strength = max(float(_strength(u, v).max(initial=0.0)) for u, v in found)
    reach = float(np.abs(points @ basis.T).max(initial=0.0))
    common = View(
        basis=basis,
        names=names,
        reach=_or_one(AXES_MARGIN * reach),
        strength=_or_one(strength),
    )
    if not has_kinks(unit, found[0][0]):
        return common
    return _kink_view(run, layer, found, common)


def _kink_view(run: Run, layer: int, found: Sequence[tuple[Side, Side]], common: View) -> View:
    """The common view with the span of the inputs and the largest change of slope.

    In later layers the span is that of the kinks.
    """
    unit = run.experiment.network.layers[layer].unit
    kinks = [_kink(unit, u, v, common) for u, v in found]
    places = np.concatenate([place for place, _ in kinks])
    if layer == 0:
        places = np.asarray(run.objective().inputs)
    low, high = common.span
    if places.size:
        low, high = float(places.min()), float(places.max())
    margin = 0.08 * (high - low) or abs(high) or 1.0
    slope = max(float(np.abs(change).max(initial=0.0)) for _, change in kinks)
    return replace(common, span=(low - margin, high + margin), slope=_or_one(slope))


def _or_one(size: float) -> float:
    """A limit of axes: one where there is nothing to be seen."""
    return size if size > 0 else 1.0


def has_kinks(unit: Unit, u: Side) -> bool:
    """Whether each of the units bends the map at one input.

    ReLU-like ones with one input and a bias do. u (H, U): their incoming weights.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.plots import has_kinks
    >>> from saddlery.units import dense
    >>> has_kinks(dense("relu", bias=True), np.ones((3, 2)))
    True
    """
    return unit.extra == 1 and u.shape[1] == 2 and unit.name in ("relu", "leaky_relu")


def _bend(unit: Unit) -> float:
    """The change of slope of the activation itself at its kink."""
    return 1.0 - LEAK if unit.name == "leaky_relu" else 1.0


def _kink(unit: Unit, u: Side, v: Side, shared: View) -> tuple[np.ndarray, np.ndarray]:
    """Place -b/w and change of slope of every unit that is strong enough to be seen.

    The change is |w| v, times that of the activation (`_bend`).
    """
    kept = (_strength(u, v) > VISIBLE_STRENGTH * shared.strength) & (u[:, 0] != 0)
    w, b = u[kept].T
    return -b / w, _bend(unit) * np.abs(w) * _outgoing(v)[kept]


def _outgoing(v: Side) -> np.ndarray:
    """The outgoing weight where there is one output, else its length."""
    if v.shape[1] == 1:
        return v[:, 0]
    return np.linalg.norm(v, axis=1)


def _strength(u: Side, v: Side) -> np.ndarray:
    return np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)


def is_head(unit: Unit) -> bool:
    """Whether a unit is a head of attention.

    Example
    -------
    >>> from saddlery.plots import is_head
    >>> from saddlery.units import attention, dense
    >>> is_head(attention("linear")), is_head(dense("relu"))
    (True, False)
    """
    return unit.name.startswith(("attention", "in_context"))


def _points(unit: Unit, u: Side, v: Side) -> np.ndarray:
    """What is drawn as points (n, M).

    Keys above queries for separate heads; (u, v) of units with one weight; else u.
    """
    if is_head(unit) and "rank" in unit.options:
        rank = int(unit.options["rank"])
        heads = u.reshape(len(u), 2, -1, rank)  # key and query, their entries, their columns
        columns = np.moveaxis(heads, (1, 3), (0, 1))
        return columns.reshape(2 * rank * len(u), -1)
    if u.shape[1] == 1:
        return np.column_stack([u[:, 0], _outgoing(v)])
    return u


def _plane(unit: Unit, points: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """The plane (2, M) in which points (n, M) are drawn, and the names of its axes."""
    size = points.shape[1]
    if size == 1:  # keys and queries of one entry
        return np.array([[1.0], [0.0]]), ("key or query", "")
    if size == 2:
        return np.eye(2), _two_names(unit)
    squares, rows = np.linalg.svd(points, full_matrices=False)[1:]
    basis = np.zeros((2, size))
    basis[: min(2, len(rows))] = rows[:2]
    # the entry of greatest magnitude of each axis is positive
    largest = basis[np.arange(2), np.abs(basis).argmax(axis=1)]
    basis *= np.where(largest < 0, -1.0, 1.0)[:, None]
    first, second = _shares(squares)
    return basis, (
        f"principal axis 1 of {size} ({first:.0%})",
        f"principal axis 2 of {size} ({second:.0%})",
    )


def _shares(values: np.ndarray) -> tuple[float, float]:
    """What the first two singular values have of the sum of squares, whatever their size."""
    largest = float(values.max(initial=0.0)) or 1.0
    squares = np.concatenate([(values / largest) ** 2, [0.0]])
    total = float(squares.sum()) or 1.0
    return float(squares[0]) / total, float(squares[1]) / total


def _two_names(unit: Unit) -> tuple[str, str]:
    if is_head(unit):
        return "key or query, entry 1", "entry 2"
    if unit.extra == 1:
        return "weight w", "bias b"
    return "incoming weight u₁", "incoming weight u₂"


def unit_weights(
    run: Run | Stages,
    state: Stage | State,
    axes: Axes | None = None,
    *,
    layer: int = 0,
    shared: View | None = None,
) -> Axes:
    """The units of a layer at one stage or state: see `draw_units`.

    state: a stage of the run, or a state (P,). layer: counted from 0.
    shared: a common `view` of several stages; by default the view of this state alone.

    Source: as in the figures of Zhang, Saxe & Latham (2026).

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.plots import unit_weights
    >>> found = stages(train("linear"))
    >>> unit_weights(found, found[-1]).get_xlabel()
    'incoming weight u₁'
    """
    run = parts(run)[0]
    u, v = layer_sides(run, state, layer)
    unit = run.experiment.network.layers[layer].unit
    return draw_units(unit, u, v, shared or view(run, [state], layer=layer), axes)


def draw_units(unit: Unit, u: Side, v: Side, shared: View, axes: Axes | None = None) -> Axes:
    """Units, each kind in its own way.

    Heads: bars of their strengths |u||v|, sorted. ReLU-like units with one input and a
    bias: their kinks -b/w and the change of slope there. Units with one incoming weight:
    points (u, v). Others: points in the plane of both incoming weights, or of the first
    two principal axes (not centred) where there are more, which the labels say with
    their share of the squared weights.

    u (H, U), v (H, V): the layer. shared: a `view`.
    """
    axes = new_axes(axes, PANEL_INCHES)
    if is_head(unit):
        return _heads(axes, u, v, shared)
    if has_kinks(unit, u):
        return _kinks(axes, unit, u, v, shared)
    points = _points(unit, u, v) @ shared.basis.T
    _cross(axes, shared)
    axes.scatter(*points.T, s=16, color=INK, alpha=0.75, linewidth=0, zorder=3)
    names = shared.names
    if u.shape[1] == 1:
        names = "incoming weight u", "outgoing weight v" if v.shape[1] == 1 else "|v|"
    axes.set(xlabel=names[0], ylabel=names[1])
    return axes


def head_directions(
    run: Run | Stages,
    state: Stage | State,
    axes: Axes | None = None,
    *,
    layer: int = 0,
    shared: View | None = None,
) -> Axes:
    """Keys (dots) and queries (rings) of heads with separate ones, in the plane of `view`.

    Arguments as for `unit_weights`. Raises InputError for other units.
    """
    run = parts(run)[0]
    unit = run.experiment.network.layers[layer].unit
    require(
        is_head(unit) and "rank" in unit.options,
        "units",
        needed="heads with separate keys and queries",
        given=unit.name,
    )
    u, v = layer_sides(run, state, layer)
    shared = shared or view(run, [state], layer=layer)
    points = _points(unit, u, v) @ shared.basis.T
    half = len(points) // 2
    keys, queries = points[:half], points[half:]
    axes = new_axes(axes, PANEL_INCHES)
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
    axes.legend(
        fontsize=SMALL - 1,
        frameon=False,
        loc="upper left",
        borderpad=0,
        handletextpad=0.1,
    )
    axes.set(xlabel=shared.names[0], ylabel=shared.names[1])
    return axes


def _cross(axes: Axes, shared: View) -> None:
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.axvline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.set(xlim=(-shared.reach, shared.reach), ylim=(-shared.reach, shared.reach))
    axes.set_box_aspect(1)
    axes.locator_params(nbins=4)


def _heads(axes: Axes, u: Side, v: Side, shared: View) -> Axes:
    from matplotlib.ticker import MaxNLocator

    strength = np.sort(_strength(u, v))[::-1]
    place = np.arange(1, len(strength) + 1)
    axes.bar(place, strength, color=INK, width=0.7)
    axes.set(
        xlabel="head, by strength",
        ylabel="strength |u| |v|",
        ylim=(0, 1.08 * shared.strength),
        xlim=(0.3, len(strength) + 0.7),
    )
    axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True, min_n_ticks=1))
    axes.set_box_aspect(1)
    return axes


def _kinks(axes: Axes, unit: Unit, u: Side, v: Side, shared: View) -> Axes:
    """A stem at every kink within the span of the inputs, and how many are outside."""
    place, change = _kink(unit, u, v, shared)
    low, high = shared.span
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.vlines(place, 0, change, color=INK, linewidth=1)
    axes.scatter(place, change, s=16, color=INK, linewidth=0, zorder=3)
    outside = int(np.sum((place < low) | (place > high)))
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
    reach = AXES_MARGIN * shared.slope
    signed = v.shape[1] == 1
    bend = _bend(unit)
    size = "|w|" if bend == 1 else f"{bend:g} |w|"
    axes.set(
        xlabel="kink −b/w (input)",
        ylabel=f"change of slope {size} v" if signed else f"{size} |v|",
        xlim=shared.span,
        ylim=(-reach if signed else 0, reach),
    )
    axes.locator_params(nbins=4)
    axes.set_box_aspect(1)
    return axes
