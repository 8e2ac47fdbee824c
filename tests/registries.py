"""The families of saddlery, and what a test adds to them taken back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from saddlery.basis import families
from saddlery.basis.families import Family
from saddlery.cli import commands
from saddlery.engines import ENGINES
from saddlery.initializations import INITIALIZATIONS
from saddlery.networks.losses import LOSSES
from saddlery.networks.observables import OBSERVABLES
from saddlery.plots import FIGURES
from saddlery.predictions import THEORIES
from saddlery.rules import RULES
from saddlery.studies import STUDIES
from saddlery.tasks import TASKS
from saddlery.units import UNITS

ALL: tuple[Family, ...] = (
    *(UNITS, TASKS, LOSSES, INITIALIZATIONS, RULES),
    *(OBSERVABLES, THEORIES, STUDIES, FIGURES, ENGINES, commands.added()),
)
FAMILIES = {family.noun: family for family in ALL}


@contextmanager
def kept() -> Iterator[None]:
    """Members, imported modules and what is known of entry points are as they were afterwards."""
    members = [dict(family.members) for family in ALL]
    modules, tried, searched = set(sys.modules), dict(families._tried), families._searched
    try:
        yield
    finally:
        for family, before in zip(ALL, members, strict=True):
            family.members = before
        for name in [name for name in sys.modules if name.startswith("own_")]:
            if name not in modules:
                del sys.modules[name]
        families._tried.clear()
        families._tried.update(tried)
        families._searched = searched
