"""Figures: what the page of a run shows of it, each found by its name; one of your own is drawn on
every page once it is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..basis.families import Family
from ..plateaus import Stages
from .curves import loss_curve, singular_values, unit_norms

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Picture(NamedTuple):
    """draw: on given axes. caption: one sentence or more, also read aloud in the place of the
    picture. layer: which one it shows, None for the whole run."""

    draw: Callable[[Axes], object]
    caption: str
    layer: int | None = None


Figure = Callable[[Stages], Iterable[Picture]]
FIGURES: Family[Figure] = Family("figure")


def register(name: str) -> Callable[[Figure], Figure]:
    """Have the page of every run show a figure, as a decorator; raises InputError where the name is
    taken.

    A figure is a function from the stages of a run to its pictures: none where it has nothing to
    say.

    Example
    -------
    >>> from saddlery.plots import Picture, register
    >>> @register("gradient")
    ... def gradient(found):
    ...     t = found.run.trajectory
    ...     draw = lambda axes: axes.semilogy(t.flow_time, t.gradient_norm)
    ...     yield Picture(draw, "The norm of the gradient against flow time.")
    """
    return lambda figure: FIGURES.add(name, figure)


@register("loss")
def loss(found: Stages) -> Iterator[Picture]:
    """The loss, its plateaus and the fixed points behind them."""
    dashed = any(stage.fixed_point is not None for stage in found.stages)
    words = "Loss against flow time."
    words += " Shaded: plateaus, named by effective units." if found.stages else ""
    words += " Dashed: the loss of each certified fixed point." if dashed else ""
    yield Picture(partial(loss_curve, found), words)


@register("singular_values")
def _singular_values(found: Stages) -> Iterator[Picture]:
    """The largest singular values of every layer."""
    for layer in _recorded(found, "singular_values"):
        words = f"The largest singular values{_of(found, layer)} against flow time."
        yield Picture(partial(singular_values, found, layer=layer), words, layer)


@register("unit_norms")
def _unit_norms(found: Stages) -> Iterator[Picture]:
    """The strength of every unit of every layer."""
    for layer in _recorded(found, "unit_norms"):
        words = f"The strength of every unit{_of(found, layer)} against flow time."
        yield Picture(partial(unit_norms, found, layer=layer), words, layer)


def _recorded(found: Stages, name: str) -> list[int]:
    """The layers of which an observable was recorded, also of the product."""
    layers = range(len(found.run.experiment.network.layers))
    names = found.run.trajectory.observables
    return [k for k in layers if f"{name}_{k}" in names or f"product_{name}_{k}" in names]


def _of(found: Stages, layer: int) -> str:
    several = len(found.run.experiment.network.layers) > 1
    return f" of layer {layer + 1}" if several else ""
