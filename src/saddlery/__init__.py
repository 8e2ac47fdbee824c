"""saddlery: where saddles are made, found and ridden. Saddle-to-saddle learning dynamics of sums of
units.

A first session:

    >>> import saddlery
    >>> run = saddlery.train("linear")
    >>> certified = saddlery.certify(run)   # prints itself as a table: plateaus, effective units, verdicts

Names load when they are first used, so that importing saddlery is quick and changes no global
state.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .basis import pictures

if TYPE_CHECKING:
    from .experiments import Experiment as Experiment
    from .initializations import Initialization as Initialization
    from .networks import Layer as Layer
    from .networks import Network as Network
    from .plateaus import certify as certify
    from .plateaus import mechanism as mechanism
    from .plateaus import saddle_graph as saddle_graph
    from .plateaus import stages as stages
    from .plateaus import visit as visit
    from .predictions import compare as compare
    from .predictions import predict as predict
    from .runs import load_run as load_run
    from .runs import save_run as save_run
    from .runs import train as train
    from .saddles import certify_state as certify_state
    from .symmetry import effective_units as effective_units
    from .symmetry import embed as embed
    from .symmetry import reduce as reduce
    from .units import Symmetry as Symmetry
    from .units import Unit as Unit

_HOMES = {
    "Experiment": "experiments",
    "Initialization": "initializations",
    "Layer": "networks",
    "Network": "networks",
    "Symmetry": "units",
    "Unit": "units",
    "certify": "plateaus",
    "certify_state": "saddles",
    "compare": "predictions",
    "effective_units": "symmetry",
    "embed": "symmetry",
    "load_run": "runs",
    "mechanism": "plateaus",
    "predict": "predictions",
    "reduce": "symmetry",
    "saddle_graph": "plateaus",
    "save_run": "runs",
    "stages": "plateaus",
    "train": "runs",
    "visit": "plateaus",
}
__all__ = sorted(_HOMES)
pictures.LOADERS.append(lambda: import_module(".plots", __name__))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # takes longer to import than all else here

        return metadata.version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"saddlery has no {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
