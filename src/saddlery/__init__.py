"""saddlery: where saddles are made, found and ridden. Saddle-to-saddle learning dynamics of sums of units.

A first session:

    >>> import saddlery
    >>> run = saddlery.train("linear")
    >>> certified = saddlery.certify(run)   # prints itself as a table: plateaus, effective units, verdicts

Names load when they are first used, so that importing saddlery is quick and changes no global state.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .certificates import certify_state as certify_state
    from .experiments import Experiment as Experiment
    from .initializations import Initialization as Initialization
    from .networks import Layer as Layer
    from .networks import Network as Network
    from .predictions import compare as compare
    from .predictions import predict as predict
    from .runs import train as train
    from .stage import certify as certify
    from .stage import stages as stages
    from .store import load_run as load_run
    from .store import save_run as save_run
    from .symmetry import effective_units as effective_units
    from .symmetry import embed as embed
    from .symmetry import reduce as reduce
    from .units import Symmetry as Symmetry
    from .units import Unit as Unit
    from .visits import visit as visit

_HOMES = {
    "Experiment": "experiments",
    "Initialization": "initializations",
    "Layer": "networks",
    "Network": "networks",
    "Symmetry": "units",
    "Unit": "units",
    "certify": "stage",
    "certify_state": "certificates",
    "compare": "predictions",
    "effective_units": "symmetry",
    "embed": "symmetry",
    "load_run": "store",
    "mechanism": "growth",
    "predict": "predictions",
    "reduce": "symmetry",
    "saddle_graph": "graph",
    "save_run": "store",
    "stages": "stage",
    "train": "runs",
    "visit": "visits",
}
__all__ = sorted(_HOMES)


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
