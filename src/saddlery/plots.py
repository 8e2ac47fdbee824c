"""Pictures of what was computed: each function draws on the given axes, or on those of a new figure, and returns them.

Nothing here simulates and no global style is touched. `Figure` objects are made outside pyplot, so that nothing needs a
display: `loss_curve(run).figure.savefig("loss.pdf")`. Colours are those of Okabe & Ito, safe for the colour-blind, and
whatever colour says is also said by a marker, a place or a word.
"""

# ruff: noqa: RUF001 (figures are set like print: a minus is a minus, a times sign a times sign)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .certificates import Certificate
from .checks import InputError, known, require
from .precision import in_float64
from .runs import Run
from .stage import Stage, Stages
from .symmetry.reduction import sides
from .units import Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE = "#1a1a1a", "#6b6b6b", "#c4c4c4"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
LOSS_NAMES = {"squared": "loss (½ mean |y − f|²)", "cross_entropy": "loss (mean cross-entropy, nats)"}
FLOW_TIME = "flow time (learning rate × steps)"
TAIL = 1.25  # the converged tail is cropped to a quarter of what came before
SMALL = 8  # points, of labels inside the axes


def new_axes(axes: Axes | None = None, size: tuple[float, float] = (5.0, 3.0)) -> Axes:
    """The given axes, or those of a new figure of `size` inches; raises InputError where matplotlib is not installed."""
    if axes is None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise InputError('pictures need matplotlib; install it with pip install "saddlery[plots]"') from None
        axes = Figure(figsize=size, layout="constrained").add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _parts(subject: Run | Stages) -> tuple[Run, tuple[Stage, ...]]:
    require(isinstance(subject, (Run, Stages)), "what is drawn", "a Run or its Stages", type(subject).__name__)
    return (subject, ()) if isinstance(subject, Run) else (subject.run, subject.stages)


# ------------------------------------------------------------------ flow time
@dataclass(frozen=True)
class Window:
    """The part of flow time that is drawn, and on which scale."""

    start: float
    end: float
    last: float
    log: bool = False

    def place(self, flow_time: float) -> float:
        """Where a flow time falls, as a fraction of the axis."""
        inside = min(max(flow_time, self.start), self.end)
        if self.log:
            return float(np.log(inside / self.start) / np.log(self.end / self.start))
        return (inside - self.start) / (self.end - self.start)

    @property
    def label(self) -> str:
        return FLOW_TIME + (
            f"\ncropped at {readable(self.end)} of {readable(self.last)}" if self.end < 0.99 * self.last else ""
        )


def readable(value: float) -> str:
    """Four digits, with commas rather than exponents up to a million."""
    return f"{float(f'{value:.4g}'):,.10g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def window(subject: Run | Stages) -> Window:
    """The window in which the stages of a run are legible.

    From zero to a quarter beyond the last change of the loss (of a five-hundredth of its range, or the last plateau's
    start). Logarithmic only where the narrowest pair of neighbouring stages would be less than 3% of a linear axis apart
    and the logarithm at least doubles that.
    """
    run, stages = _parts(subject)
    t, loss = run.trajectory.flow_time, run.trajectory.loss
    last = float(t[-1]) if np.isfinite(t[-1]) and t[-1] > 0 else 1.0
    moving = np.flatnonzero(~(np.abs(loss - loss[-1]) <= 2e-3 * np.ptp(loss)))
    settled = float(t[min(moving[-1] + 1, len(t) - 1)]) if len(moving) else last
    if len(stages) > 1:
        settled = max(settled, stages[-1].start)
    linear = Window(0.0, min(TAIL * settled, last) or last, last)
    first = stages[0].end / 3 if stages else 0.0
    if len(stages) < 3 or not 0 < first < linear.end:
        return linear
    log = Window(first, linear.end, last, log=True)
    gap, log_gap = (float(np.min(np.diff(_middles(stages, w)))) for w in (linear, log))
    return log if gap < 0.03 and log_gap > 2 * gap else linear


def _middles(stages: Sequence[Stage], shown: Window) -> list[float]:
    return [0.5 * (shown.place(s.start) + shown.place(s.end)) for s in stages]


def _time_axis(axes: Axes, shown: Window) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if shown.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(shown.start, shown.end)
    axes.set_xlabel(shown.label)


def _bands(axes: Axes, stages: Sequence[Stage]) -> None:
    for k, stage in enumerate(stages):
        axes.axvspan(stage.start, stage.end, color=SKY, alpha=(0.28, 0.15)[k % 2], linewidth=0, zorder=0)


def units_label(stage: Stage) -> str:
    """ "1 unit", "2 units", or "1 > 2 units" for several layers."""
    units = stage.effective_units
    if isinstance(units, int):
        return f"{units} unit" + ("" if units == 1 else "s")
    return " > ".join(map(str, units)) + " units"


def _name_bands(axes: Axes, stages: Sequence[Stage], shown: Window) -> None:
    """Effective units above each band: in words where there is room, else the number, in two rows where that is tight."""
    figure = axes.get_figure(root=True)
    width = 72 * axes.get_position().width * (figure.get_figwidth() if figure is not None else 5.0)  # points
    middles = _middles(stages, shown)
    room = [width * min([abs(m - n) for k, n in enumerate(middles) if k != j] or [1.0]) for j, m in enumerate(middles)]
    raised = False
    for stage, middle, free in zip(stages, middles, room, strict=True):
        words = units_label(stage)
        words = words if len(words) * 0.6 * SMALL < free else words.removesuffix("s").removesuffix(" unit")
        raised = not raised if len(words) * 0.7 * SMALL > free else False
        half = 0.3 * len(words) * SMALL / width
        axes.annotate(
            words,
            (min(max(middle, half), 1 - half), 1),
            (0, 12 if raised else 3),
            "axes fraction",
            "offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=MUTED,
        )


# --------------------------------------------------------------------- curves
def loss_curve(subject: Run | Stages, axes: Axes | None = None, *, log: bool = False) -> Axes:
    """Loss against flow time; plateaus are shaded and named by effective units, certified fixed-point losses dashed.

    subject: a run, or its stages. log: a logarithmic loss axis (losses at or below zero, which rounding makes, are left
    out). The time axis is chosen so that the staircase is legible, see `window`; its label says what was cropped.

    Example
    -------
    >>> from saddlery import stages, train
    >>> from saddlery.plots import loss_curve
    >>> loss_curve(stages(train("linear"))).get_xlabel().startswith("flow time")
    True
    """
    run, stages = _parts(subject)
    axes, t, shown = new_axes(axes), run.trajectory, window(subject)
    loss = np.where(np.isfinite(t.loss) & ((t.loss > 0) | (not log)), t.loss, np.nan)
    _bands(axes, stages)
    for stage in stages:
        certificate = stage.certificate
        if certificate is not None and certificate.certified and not (log and certificate.loss <= 0):
            axes.axhline(certificate.loss, color=VERMILION, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    axes.plot(t.flow_time, loss, color=INK, linewidth=1.7, solid_joinstyle="round", zorder=3)
    _time_axis(axes, shown)
    _loss_limits(axes, loss[(t.flow_time <= shown.end) & np.isfinite(loss)], log)
    axes.set_ylabel(LOSS_NAMES.get(run.objective().function.loss.name, "loss (mean over samples)"))
    _name_bands(axes, stages, shown)
    return axes


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
        axes.set_ylim(min(0.0, float(values.min())) - 0.03 * float(values.max()), 1.05 * float(values.max()))


def _recorded(run: Run, name: str) -> np.ndarray:
    known(name, run.trajectory.observables, "observable")
    return np.asarray(run.trajectory.observables[name]).reshape(len(run.trajectory.loss), -1)


def singular_values(
    subject: Run | Stages, axes: Axes | None = None, *, layer: int = 0, product: bool | None = None
) -> Axes:
    """A layer's recorded singular values against flow time, the largest twelve.

    product: those of the product of both sides, sum_i v_i u_i' (linear units only), instead of those of the weights [u, v]
    side by side; by default where they were recorded. Raises InputError for an observable that was not recorded.
    """
    run, stages = _parts(subject)
    stacked, of_product = f"singular_values_{layer}", f"product_singular_values_{layer}"
    name = of_product if product or (product is None and of_product in run.trajectory.observables) else stacked
    axes, values, shown = new_axes(axes), _recorded(run, name), window(subject)
    _bands(axes, stages)
    for k in range(values.shape[1]):
        axes.plot(run.trajectory.flow_time, values[:, k], color=CYCLE[k] if k < len(CYCLE) else MUTED, linewidth=1.4)
    _time_axis(axes, shown)
    _name_lines(axes, values[np.searchsorted(run.trajectory.flow_time, shown.end, side="right") - 1])
    of = "Σ v u′" if name == of_product else "[u, v]"
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
    run, stages = _parts(subject)
    axes, values = new_axes(axes), _recorded(run, f"unit_norms_{layer}")
    _bands(axes, stages)
    count = values.shape[1]
    axes.plot(run.trajectory.flow_time, values, color=INK, linewidth=0.8 if count > 12 else 1.3, alpha=0.6)
    _time_axis(axes, window(subject))
    axes.set_ylabel(f"unit strength |u| |v| ({count} unit{'s' if count != 1 else ''}){_layer_name(run, layer)}")
    return axes


def _layer_name(run: Run, layer: int) -> str:
    return f", layer {layer + 1}" if len(run.experiment.network.layers) > 1 else ""


# ---------------------------------------------------------------------- units
@dataclass(frozen=True, eq=False)
class View:
    """What the pictures of one layer share, so that stages compare: a plane, its names and common limits.

    basis (2, U): the plane, as rows. names: of its two axes. reach: of points in it. strength: the largest |u||v|.
    span: of the inputs where units have kinks on them, with a margin. slope: the largest change of slope at a kink.
    """

    basis: np.ndarray
    names: tuple[str, str]
    reach: float
    strength: float
    span: tuple[float, float] = (-1.0, 1.0)
    slope: float = 1.0


@in_float64
def layer_sides(run: Run, state: Stage | np.ndarray, layer: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Incoming u (H, U) and outgoing v (H, V) weights of a layer at a stage of the run or at a state (P,)."""
    layers = len(run.experiment.network.layers)
    require(isinstance(layer, int) and 0 <= layer < layers, "layer", f"one of the {layers}, counted from 0", layer)
    theta = np.asarray(run.trajectory.states[state.index] if isinstance(state, Stage) else state, float)
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
    require(len(states) > 0, "states", "at least one stage or state", "none")
    found = [layer_sides(run, state, layer) for state in states]
    unit = run.experiment.network.layers[layer].unit
    points = np.concatenate([_points(unit, u, v) for u, v in found])
    basis, names = _plane(unit, points)
    strength = max(float(_strength(u, v).max(initial=0.0)) for u, v in found)
    reach = float(np.abs(points @ basis.T).max(initial=0.0))
    common = View(basis, names, 1.12 * reach if reach > 0 else 1.0, strength if strength > 0 else 1.0)
    return _kink_view(run, layer, found, common) if has_kinks(unit, found[0][0]) else common


def _kink_view(run: Run, layer: int, found: Sequence[tuple[np.ndarray, np.ndarray]], common: View) -> View:
    """The common view with the span of the inputs (or, in later layers, of the kinks) and the largest change of slope."""
    kinks = [_kink(u, v, common) for u, v in found]
    places = np.asarray(run.objective().inputs) if layer == 0 else np.concatenate([place for place, _ in kinks])
    low, high = (float(places.min()), float(places.max())) if places.size else (-1.0, 1.0)
    margin = 0.08 * (high - low) or 1.0
    slope = max(float(np.abs(change).max(initial=0.0)) for _, change in kinks)
    return replace(common, span=(low - margin, high + margin), slope=slope if slope > 0 else 1.0)


def has_kinks(unit: Unit, u: np.ndarray) -> bool:
    """Whether the units are ReLU-like with one input and a bias, so that each bends the map at one input."""
    return unit.extra == 1 and u.shape[1] == 2 and unit.name in ("relu", "leaky_relu")


def _kink(u: np.ndarray, v: np.ndarray, shared: View) -> tuple[np.ndarray, np.ndarray]:
    """Place -b/w and change of slope |w| v of every unit stronger than a thousandth of the strongest of the view."""
    kept = (_strength(u, v) > 1e-3 * shared.strength) & (u[:, 0] != 0)
    (w, b), after = u[kept].T, v[kept]
    return -b / w, np.abs(w) * (after[:, 0] if v.shape[1] == 1 else np.linalg.norm(after, axis=1))


def _strength(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)


def is_head(unit: Unit) -> bool:
    return unit.name.startswith(("attention", "in_context"))


def _points(unit: Unit, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """What is drawn as points (n, M): keys above queries for separate heads; (u, v) of units with one weight; else u."""
    if is_head(unit) and "rank" in unit.options:
        rank = int(unit.options["rank"])
        return np.moveaxis(u.reshape(len(u), 2, -1, rank), (1, 3), (0, 1)).reshape(2 * rank * len(u), -1)
    if u.shape[1] == 1:
        return np.column_stack([u[:, 0], v[:, 0] if v.shape[1] == 1 else np.linalg.norm(v, axis=1)])
    return u


def _plane(unit: Unit, points: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    size = points.shape[1]
    if size == 1:  # keys and queries of one entry
        return np.array([[1.0], [0.0]]), ("key or query", "")
    if size == 2:
        names = {1: ("weight w", "bias b")}.get(unit.extra, ("incoming weight u₁", "incoming weight u₂"))
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
    """The units of a layer at one stage or state, as in the figures of Zhang, Saxe & Latham (2026): see `draw_units`.

    shared: a common `view` of several stages; by default the view of this state alone.
    """
    run = _parts(run)[0]
    u, v = layer_sides(run, state, layer)
    unit = run.experiment.network.layers[layer].unit
    return draw_units(unit, u, v, shared or view(run, [state], layer=layer), axes)


def draw_units(unit: Unit, u: np.ndarray, v: np.ndarray, shared: View, axes: Axes | None = None) -> Axes:
    """Units u (H, U), v (H, V), each kind in its own way.

    Heads: bars of their strengths |u||v|, sorted. ReLU-like units with one input and a bias: their kinks -b/w and the
    change of slope there. Units with one incoming weight: points (u, v). Others: points in the plane of both incoming
    weights, or of the first two principal axes (not centred) where there are more, which the labels say with their
    share of the squared weights.
    """
    axes = new_axes(axes, (2.6, 2.6))
    if is_head(unit):
        return _heads(axes, u, v, shared)
    if has_kinks(unit, u):
        return _kinks(axes, u, v, shared)
    points = _points(unit, u, v) @ shared.basis.T
    _cross(axes, shared)
    axes.scatter(*points.T, s=16, color=INK, alpha=0.75, linewidth=0, zorder=3)
    names = shared.names if u.shape[1] > 1 else ("incoming weight u", "outgoing weight v" if v.shape[1] == 1 else "|v|")
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
    """Keys (dots) and queries (rings) of heads with separate ones, in the plane of `view`, as `draw_units` says."""
    run = _parts(run)[0]
    unit = run.experiment.network.layers[layer].unit
    require(is_head(unit) and "rank" in unit.options, "units", "heads with separate keys and queries", unit.name)
    u, v = layer_sides(run, state, layer)
    shared = shared or view(run, [state], layer=layer)
    axes, points = new_axes(axes, (2.6, 2.6)), _points(unit, u, v) @ shared.basis.T
    keys, queries = points[: len(points) // 2], points[len(points) // 2 :]
    _cross(axes, shared)
    axes.scatter(*keys.T, s=14, color=INK, linewidth=0, label="key", zorder=3)
    axes.scatter(*queries.T, s=42, facecolor="none", edgecolor=VERMILION, linewidth=1.1, label="query", zorder=3)
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


# -------------------------------------------------------------------- spectra
def spectrum(certificate: Certificate, axes: Axes | None = None) -> Axes:
    """The Hessian's eigenvalues in ascending order: negative (down), zero (dots) and positive (up); counts in the legend.

    The axis is symmetric-logarithmic where non-zero eigenvalues span more than a factor of 300. Where only the two ends of
    the spectrum are known (Lanczos), the label says so. Without a fixed point the axes say that instead.
    """
    axes = new_axes(axes, (2.6, 2.6))
    values = certificate.eigenvalues
    if values is None or not len(values):
        words = "not a fixed point:\nno spectrum" if not certificate.certified else "no spectrum"
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color=MUTED, fontsize=SMALL + 1)
        axes.set(xticks=[], yticks=[], xlabel="eigenvalue, in ascending order", ylabel="Hessian eigenvalue")
        return axes
    zero, place = certificate.zero_tolerance or 0.0, np.arange(1, len(values) + 1)
    complete = certificate.state is None or len(values) == len(certificate.state)
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
            place[kept], values[kept], s=9, color=colour, marker=marker, linewidth=0, label=f"{shown} {words}", zorder=3
        )
    axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
    axes.legend(fontsize=SMALL - 1, frameon=False, loc="upper left", borderpad=0, handletextpad=0.1, labelspacing=0.3)
    found = "in ascending order" if complete else f"the {len(values)} known, ascending"
    axes.set(xlabel=f"eigenvalue, {found}", ylabel="Hessian eigenvalue")
    return axes


def _thinned(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Indices (from zero) of points, without those that would lie on top of others in a picture 200 points wide."""
    size = np.sign(values) * np.log1p(np.abs(values) / max(float(np.abs(values).max(initial=0.0)), 1e-300) * 1e6)
    cells = np.column_stack([place * 200 // max(count, 200), np.round(size * 15)])
    return place[np.sort(np.unique(cells, axis=0, return_index=True)[1])] - 1 if len(place) else place


def _eigenvalue_axis(axes: Axes, values: np.ndarray) -> None:
    """Linear or symmetric-logarithmic, with head room for the legend, which stands where an ascending curve is not."""
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
        3 * low if low < 0 else -(10.0**floor), high * 10 ** (0.4 * (top - floor)) if high > 0 else 10.0**floor
    )


def _power(value: float) -> str:
    """10⁻³, without mathematical type."""
    if value == 0:
        return "0"
    exponent = round(np.log10(abs(value)))
    return ("−" if value < 0 else "") + "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
