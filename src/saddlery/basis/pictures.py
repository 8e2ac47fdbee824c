"""Which picture a result has: drawn in a room far above the results, which
says so itself.

A function that draws is registered for the types it draws (`picture_of`), and
`Pictured.plot` calls it. The room of pictures is imported when the first one
is asked for; the package says where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = TypeVar("Draw", bound=Callable[..., Any])
PICTURES: dict[type, Callable[..., Any]] = {}
# called before anything is drawn: imports what draws, if the package has said so
LOADERS: list[Callable[[], object]] = []


def picture_of(*kinds: type) -> Callable[[Draw], Draw]:
    """Make a function known that draws results of these types, and of those
    derived from them, on the axes that it is given second."""

    def add(draw: Draw) -> Draw:
        PICTURES.update(dict.fromkeys(kinds, draw))
        return draw

    return add


class Pictured:
    """A result that has a picture."""

    __slots__ = ()

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """The picture of this result in `saddlery.plots`, on the given axes
        or those of a new figure.

        options: those of the function that draws it.

        Needs matplotlib.

        Example
        -------
        >>> from saddlery import stages, train
        >>> stages(train("linear")).plot(log=True).get_yscale()
        'log'
        """
        for load in LOADERS:
            load()
        draw = next(PICTURES[kind] for kind in type(self).__mro__ if kind in PICTURES)
        return draw(self, ax, **options)
