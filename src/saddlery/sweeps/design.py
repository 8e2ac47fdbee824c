"""A sweep: one experiment over seeds and over any grid or random design of
its fields; the same thing as its TOML file."""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from ..basis.checks import (
    LARGEST,
    InputError,
    Words,
    flag,
    known,
    real,
    require,
    text,
    unpacked,
    whole,
)
from ..basis.echo import shown
from ..basis.records import Printed, Result, plain
from ..experiments import Experiment
from ..experiments.changes import changed
from ..experiments.experiment import (
    MOST_PARAMETERS,
    WORDS,
    chosen,
    find,
    from_table,
    is_file,
    made_from_toml,
)
from ..experiments.fields import (
    VERSION,
    check_version,
    completed,
    essential,
)
from ..tasks import Task

KEYS = (
    "name",
    "description",
    "experiment",
    "seeds",
    "first_seed",
    "batch",
    "chunk",
    "grid",
    "random",
    "measure",
    "imports",
    "slurm",
)
MEASURES = ("certificates", "predictions", "observables")
# Entries of a sweep's table that are tables or lists themselves; all others are fields
# of its own.
INNER = ("imports", "measure", "grid", "random", "experiment")
RUNS_OF_A_BATCH = 64  # runs of a batch unless told otherwise: what is lost when a process dies
RUNS = 10**9  # most runs: more would take years, and their numbers would not fit the memory
TRIED = 8  # so many draws are tried at most, of which one must be possible
WAYS_TO_DRAW = ("uniform", "log_uniform", "integers", "choice")


@dataclass(frozen=True)
class Drawn:
    """How a field is drawn.

    way: "uniform" or "log_uniform" between two numbers, "integers" from low
    to high, both included, or a "choice" among values.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.sweeps import Drawn
    >>> Drawn("integers", (5, 5)).draw(np.random.default_rng(0))
    5
    """

    way: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        known(self.way, WAYS_TO_DRAW, "random field")
        values = tuple(_listed(self.way, self.values))
        object.__setattr__(self, "values", values)
        if self.way == "choice":
            require(
                len(values) > 0,
                "choice",
                "at least one value",
                Words("none"),
            )
            return
        self._need(len(values) == 2, "two numbers, [low, high]")
        low, high = (real(value, self.way) for value in values)
        self._need(low <= high, "[low, high] with low at most high")
        self._need(
            math.isfinite(high - low),
            "two numbers less than 1e308 apart",
        )
        if self.way == "log_uniform":
            self._need(low > 0, "of numbers above zero")
        if self.way == "integers":
            whole_numbers = all(isinstance(value, int) for value in values)
            self._need(whole_numbers, "two whole numbers")

    def _need(self, condition: bool, needed: str) -> None:
        require(condition, self.way, needed, list(self.values))

    def draw(self, rng: np.random.Generator) -> Any:
        """One value of the field."""
        if self.way == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        low, high = self.values
        if self.way == "integers":
            return int(rng.integers(low, high, endpoint=True))
        if self.way == "uniform":
            return float(rng.uniform(low, high))
        low, high = np.log([low, high])
        return float(math.exp(rng.uniform(low, high)))


@dataclass(frozen=True, repr=False)
class Sweep(Result):
    """Runs of one experiment.

    Every point of `grid` times every one of `draws` random points times
    `seeds` seeds.

    Fields:
        experiment: what is varied.
        grid: dotted path -> values, as in --set.
        random: dotted path -> `Drawn`.
        draws: how many random points, of random numbers from `draw_seed`.
        seeds: how many, from `first_seed` up, for each point.
        batch: runs of one unit of work.
        chunk: runs stepped side by side, 0 for what fits the cache
            (`ensembles.time_chunks` measures others).
        measure: which of "certificates", "predictions" and "observables" to keep
            beside losses and stages.
        imports: modules that workers import first, for units, tasks and rules of
            one's own.
        slurm: options of that engine.
        version: of experiments, in which the grid was written (see
            `experiments.fields`).

    Runs are numbered with seeds fastest, then draws, then the last field of
    the grid.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.sweeps import Sweep
    >>> grid = {"initialization.scale": (1e-3, 1e-6)}
    >>> sweep = Sweep(Experiment.named("linear"), grid=grid, seeds=5)
    >>> seventh = sweep.experiment_of(7)
    >>> len(sweep), seventh.initialization.scale, seventh.seed
    (10, 1e-06, 2)
    """

    experiment: Experiment
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    random: Mapping[str, Drawn] = field(default_factory=dict)
    draws: int = 1
    draw_seed: int = 0
    seeds: int = 1
    first_seed: int = 0
    batch: int = RUNS_OF_A_BATCH
    chunk: int = 0
    measure: tuple[str, ...] = ()
    name: str = "sweep"
    description: str = ""
    imports: tuple[str, ...] = ()
    slurm: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        self._keep("experiment", chosen(self.experiment))
        self._settle_names()
        check_version(self.version)
        self._settle_numbers()
        self._settle_lists()
        self._settle_tables()
        self._check_random()
        for path in self.fields:
            _check_path(path)
        self._try()

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _settle_names(self) -> None:
        for name in ("name", "description"):
            self._keep(name, text(getattr(self, name), name))
        parts_of_paths = set(self.name) & set("/\\#\0\n")
        plain = self.name not in ("", ".", "..") and not parts_of_paths
        require(plain, "name", "of a folder, without / or #", self.name)

    def _settle_numbers(self) -> None:
        for name in ("seeds", "draws", "batch"):
            self._keep(name, whole(getattr(self, name), name))
        first = whole(self.first_seed, "first_seed", 0)
        chunk = whole(
            self.chunk,
            "chunk",
            0,
            "0 takes what fits the cache",
        )
        draw_seed = whole(self.draw_seed, "seed of the random design", 0)
        self._keep("first_seed", first)
        self._keep("chunk", chunk)
        self._keep("draw_seed", draw_seed)
        further = self.seeds - 1
        require(
            first + further < LARGEST,
            argument="the last seed",
            needed="below 2^63",
            given=Words(f"first_seed + {further:,}"),
            remedy="lower first_seed",
        )

    def _settle_lists(self) -> None:
        for name in ("measure", "imports"):
            values = getattr(self, name)
            require(
                _is_list_of_names(values),
                name,
                "a list of names",
                values,
            )
            self._keep(name, tuple(map(str, values)))
        for name in self.measure:
            known(name, MEASURES, "measure")

    def _settle_tables(self) -> None:
        for name in ("grid", "random", "slurm"):
            table = getattr(self, name)
            require(isinstance(table, Mapping), name, "a table", table)
        require(
            bool(self.random) or self.draws == 1,
            argument="draws",
            needed="left out where nothing is random",
            given=self.draws,
        )
        both = sorted(set(self.grid) & set(self.random))
        require(
            not both,
            "a field",
            "in the grid or random, not both",
            both,
        )
        grid = {}
        for path, values in self.grid.items():
            grid[str(path)] = _different(path, values)
        self._keep("grid", grid)
        self._keep("random", {str(path): drawn for path, drawn in self.random.items()})
        self._keep("slurm", unpacked(self.slurm))
        size = self._size()
        require(
            size <= RUNS,
            argument="a sweep",
            needed=f"of at most {RUNS:,} runs",
            given=Words(f"{size:.3g}"),
            remedy="lower seeds or draws",
        )

    def _check_random(self) -> None:
        for path, drawn in self.random.items():
            require(
                isinstance(drawn, Drawn),
                argument=f"random {path}",
                needed="a Drawn",
                given=drawn,
                remedy="such as Drawn('uniform', (0.0, 1.0))",
            )

    def _try(self) -> None:
        """Make an experiment of every value of every field of the grid,
        beside the first values of the others, and of one of the first
        draws."""
        table = self._experiment_table()
        first = {path: values[0] for path, values in self.grid.items()}
        _made(table, first, f"grid {_blamed(table, first)}")
        for path, values in self.grid.items():
            for value in values:
                label = f"grid {path} = {shown(value)}: "
                made = _made(table, {**first, path: value}, label)
                _check_width(made, label)
        for k in range(min(self.draws, TRIED)):
            if not _fails(table, {**first, **self._drawn(k)}):
                return
        drawn = self._drawn(0)
        _made(
            table,
            {**first, **drawn},
            f"random {_blamed(table, drawn)}",
        )

    def __eq__(self, other: object) -> bool:
        """The same runs by the same numbers: the order of the grid counts, that of the random
        fields does not."""
        if not isinstance(other, Sweep):
            return NotImplemented
        own, others = (
            (tuple(sweep.grid), *(getattr(sweep, part.name) for part in fields(sweep)))
            for sweep in (self, other)
        )
        return own == others

    def __len__(self) -> int:
        """How many runs."""
        return self._size()

    def _size(self) -> int:
        # Not `len`, which is for designs that were found small enough.
        points = math.prod(len(values) for values in self.grid.values())
        return points * self.draws * self.seeds

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths that vary."""
        return (*self.grid, *self.random)

    def _drawn(self, k: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.draw_seed, k])
        # In one order, so that a design is the same however its file lists the fields.
        paths = sorted(self.random)
        return {path: self.random[path].draw(rng) for path in paths}

    def point(self, number: int) -> dict[str, Any]:
        """The values of the fields that vary, of the run of a number."""
        last = len(self) - 1
        require(
            0 <= number <= last,
            argument="the number of a run",
            needed=f"from 0 to {last}",
            given=number,
        )
        place, draw = divmod(number // self.seeds, self.draws)
        of_grid: dict[str, Any] = {}
        for path in reversed(list(self.grid)):
            values = self.grid[path]
            place, k = divmod(place, len(values))
            of_grid[path] = values[k]
        in_order = {path: of_grid[path] for path in self.grid}
        return in_order | self._drawn(draw)

    def seed(self, number: int) -> int:
        """The seed of the run of a number."""
        return self.first_seed + number % self.seeds

    def experiment_of(self, number: int) -> Experiment:
        """The experiment of the run of a number."""
        (found,) = self.experiments([number])
        if isinstance(found, str):
            raise InputError(found)
        return found

    def experiments(
        self,
        numbers: Sequence[int],
    ) -> Iterator[Experiment | str]:
        """The experiments of many runs, or why there is none.

        There is none where two values exclude each other, for example.
        Those that differ in the seed only are made once.
        """
        table = self._experiment_table()
        point_of = lambda number: number // self.seeds
        for _, group in itertools.groupby(numbers, key=point_of):
            same = list(group)
            try:
                made = _made(table, self.point(same[0]), "")
            except InputError as error:
                yield from itertools.repeat(str(error), len(same))
                continue
            for number in same:
                yield made.replace(seed=self.seed(number))

    def batches(self) -> range:
        """The numbers of the batches."""
        return range(math.ceil(len(self) / self.batch))

    def numbers(self, batch: int) -> range:
        """The runs of a batch."""
        first = batch * self.batch
        return range(first, min(first + self.batch, len(self)))

    @functools.cached_property
    def identity(self) -> str:
        """A short hash of everything that determines the results.

        Name, description and engine options do not.
        """
        return self.hashed(self.experiment.determining())

    @property
    def former_identities(self) -> tuple[str, str]:
        """The identities that it had before, of which the order was part in
        which [random.fields] are listed, and in version 0.1.0 the places of
        data files.

        The same where the fields are listed in order, and without such files.
        """
        return (
            self.hashed(self.experiment.determining(), listed=True),
            self.hashed(self.experiment.determining(places=True), listed=True),
        )

    def hashed(self, experiment: Mapping[str, Any], *, listed: bool = False) -> str:
        """The short hash of a sweep of this experiment's table.

        listed: with the random fields as they are listed, not in order.
        """
        own = self.table()
        if self.random and not listed:
            in_order = sorted(own["random"]["fields"].items())
            own["random"]["fields"] = dict(in_order)
        for name in (*WORDS, "slurm"):
            own.pop(name, None)
        inner = {name: own.pop(name) for name in INNER if name in own}
        nothing: dict[str, bool] = dict.fromkeys(MEASURES, False)
        inner["measure"] = essential("measure", inner["measure"], nothing)
        inner["experiment"] = experiment
        defaults = {field.name: field.default for field in fields(self)}
        whole_table = {**essential("sweep", own, defaults), **inner}
        content = tomli_w.dumps(whole_table).encode()
        return hashlib.sha256(content).hexdigest()[:12]

    def pinned(self) -> Sweep:
        """The sweep with the content of its experiment's files fixed."""
        return replace(self, experiment=self.experiment.pinned())

    def on(self, task: Task) -> Sweep:
        """The same sweep, called what it is called, on its task's data
        where they are now."""
        if task is self.experiment.task:
            return self
        moved = replace(
            self,
            experiment=self.experiment.replace(task=task),
        )
        vars(moved)["identity"] = self.identity
        return moved

    # --------------------------------------------------------------------- TOML
    def _experiment_table(self) -> dict[str, Any]:
        return {**self.experiment.table(), "version": self.version}

    def table(self) -> dict[str, Any]:
        """The sweep as nested dicts of plain values; `from_sweep_table` gives it back."""
        # In this order, which identities are hashes of.
        table: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "batch": self.batch,
            "chunk": self.chunk,
        }
        if self.imports:
            table["imports"] = list(self.imports)
        table["measure"] = {name: name in self.measure for name in MEASURES}
        if self.grid:
            table["grid"] = {path: list(values) for path, values in self.grid.items()}
        if self.random:
            table["random"] = self._random_table()
        if self.slurm:
            table["slurm"] = dict(self.slurm)
        table["experiment"] = self._experiment_table()
        return table

    def _random_table(self) -> dict[str, Any]:
        fields = {}
        for path, drawn in self.random.items():
            fields[path] = {drawn.way: list(drawn.values)}
        return {
            "draws": self.draws,
            "seed": self.draw_seed,
            "fields": fields,
        }

    def to_toml(self) -> str:
        return tomli_w.dumps(self.table())

    @staticmethod
    def from_toml(
        text: str,
        source: str = "sweep",
        folder: str | Path = ".",
        *,
        imports: Sequence[str] | None = None,
    ) -> Sweep:
        """The sweep a TOML text describes; files it names are relative to
        `folder`.

        Errors begin with `source`.

        imports: the modules that may be imported for it, of those that it
        names; None for all of them, since a design of one's own is trusted.
        Raises InputError where it needs others.
        """
        make = lambda table: from_sweep_table(table, folder, imports)
        return made_from_toml(text, source, make)

    @staticmethod
    def load(
        path: str | Path,
        *,
        imports: Sequence[str] | None = None,
    ) -> Sweep:
        """From a TOML file, data with a digest where they are now (see
        `Experiment.found`).

        Of the frozen design in a sweep's folder nothing is imported but
        what `imports` names.
        """
        sweep = as_written(path, imports)
        found = sweep.experiment.found(Path(path).parent)
        return sweep.on(found.task)

    def printed(self) -> Printed:
        fields = ", ".join(self.fields) or "nothing but seeds"
        runs = f"{len(self):,} runs of {self.experiment.name!r}"
        words = f"Sweep {self.name!r}: {runs} over {fields}, id {self.identity}"
        return Printed(head=[words])

    def record(self) -> dict[str, Any]:
        """JSON form: its table, with its identity."""
        return plain({"identity": self.identity, **self.table()})


def _is_list_of_names(values: Any) -> bool:
    if not isinstance(values, (list, tuple)):
        return False
    return all(isinstance(value, str) for value in values)


def _check_path(path: str) -> None:
    """Raise InputError for what varies otherwise than as a field."""
    require(
        path != "seed",
        argument="a field",
        needed="other than the seed",
        given=path,
        remedy="give seeds and first_seed",
    )
    require(
        path != "width",
        argument="a field",
        needed="a dotted path",
        given=path,
        remedy="the width is network.layers.0.width",
    )


def _check_width(experiment: Experiment, label: str) -> None:
    widest = max(experiment.network.widths)
    require(
        widest <= MOST_PARAMETERS,
        argument=f"{label}width",
        needed=f"at most {MOST_PARAMETERS:,}",
        given=widest,
        remedy="a run keeps every state whole",
    )


def _fails(table: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    try:
        _made(table, values, "")
    except InputError:
        return True
    return False


def _blamed(table: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Of changes that make no experiment together: the one without which the others do."""
    if not values or not _fails(table, values):
        return ""
    for path, value in values.items():
        others = {other: values[other] for other in values if other != path}
        if not _fails(table, others):
            return f"{path} = {shown(value)}: "
    return ""


def sweep_of(subject: Sweep | str | Path) -> Sweep:
    """The sweep meant by what every verb takes: one that is made, or the
    path of its file."""
    return subject if isinstance(subject, Sweep) else Sweep.load(subject)


def _listed(path: str, values: Any) -> list[Any]:
    """Values as a file would hold them: texts, numbers of Python, and lists
    of them.

    Raises InputError for others.
    """
    kept = unpacked(values)
    require(isinstance(kept, tuple), path, "a list of values", values)
    return [_plain(path, value) for value in kept]


def _plain(path: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(path, entry) for entry in value]
    require(
        isinstance(value, (str, bool, int, float)),
        argument=path,
        needed="a list of texts, numbers, true or false",
        given=value,
    )
    too_large = isinstance(value, int) and abs(value) >= LARGEST
    require(
        not too_large,
        argument=path,
        needed="of whole numbers below 2^63 in size",
        given=value,
        remedy="write 1.0e30",
    )
    return value


def _different(path: str, values: Any) -> tuple[Any, ...]:
    """The values of a field of the grid, as a file would hold them, no two the same."""
    what = f"grid {path}"
    found = _listed(what, values)
    require(
        len(found) > 0,
        what,
        "at least one value",
        Words("an empty list"),
    )
    seen: set[Any] = set()
    for value in found:
        key = unpacked(value)
        # The sentence is made where it is needed only: grids are long.
        if key in seen:
            require(
                False,
                argument=what,
                needed="different values",
                given=Words(f"[{shown(value)}] twice"),
                remedy="seeds = N repeats a point",
            )
        seen.add(key)
    return tuple(found)


def _made(
    table: Mapping[str, Any],
    values: Mapping[str, Any],
    label: str,
) -> Experiment:
    new = changed(table, values, label or "")
    try:
        return from_table(new)
    except InputError as error:
        raise InputError(f"{label}{error}") from None


def as_written(
    path: str | Path,
    imports: Sequence[str] | None = None,
) -> Sweep:
    """The sweep of a TOML file with its data files where the file says.

    imports: see `Sweep.load`.
    """
    is_path = isinstance(path, (str, Path))
    require(is_path, "a sweep", "the path of a TOML file", path)
    folder = Path(path).parent
    unsaid = VERSION
    if os.path.exists(folder / "sweep.json"):
        # The frozen design of a folder: a stranger's, perhaps, and an old one.
        unsaid = 1
        imports = () if imports is None else imports

    def make(table: Mapping[str, Any]) -> Sweep:
        return from_sweep_table(table, folder, imports, unsaid=unsaid)

    return made_from_toml(Path(path), str(path), make)


def from_sweep_table(
    table: Mapping[str, Any],
    folder: str | Path = ".",
    granted: Sequence[str] | None = None,
    *,
    unsaid: int = VERSION,
) -> Sweep:
    """A sweep from nested dicts; each error names the key.

    granted: see `Sweep.from_toml`; unsaid: see that of experiments.
    """
    for key in table:
        known(key, KEYS, "key")
    needed = "a shipped name, a TOML file or a table"
    require("experiment" in table, "experiment", needed, Words("nothing"))
    given = table["experiment"]
    imports = _imports(table, granted)
    version = VERSION
    if isinstance(given, str):
        path = Path(folder) / given
        experiment = find(path) if is_file(given) else find(given)
    else:
        require(isinstance(given, Mapping), "experiment", needed, given)
        version = check_version(given.get("version", unsaid))
        experiment = from_table(given, folder, unsaid=unsaid)
        table = completed("sweep", table, version)
    for key in ("grid", "random", "measure", "slurm"):
        inner = table.get(key, {})
        require(
            isinstance(inner, Mapping),
            f"[{key}]",
            "a table",
            table.get(key),
        )
    measure = _measures(table.get("measure", {}), version)
    plain = (
        "name",
        "description",
        "seeds",
        "first_seed",
        "batch",
        "chunk",
    )
    return Sweep(
        experiment,
        grid=_grid(table.get("grid", {})),
        measure=measure,
        imports=tuple(imports),
        slurm=dict(table.get("slurm", {})),
        version=version,
        **_random(table.get("random", {})),
        **{key: table[key] for key in plain if key in table},
    )


def _imports(
    table: Mapping[str, Any],
    granted: Sequence[str] | None,
) -> list[str]:
    """The modules that a table names, imported."""
    named = table.get("imports", [])
    listed = isinstance(named, list) and _is_list_of_names(named)
    require(listed, "imports", "a list of module names", named)
    import_modules(named if granted is None else allowed(named, granted))
    return named


def _grid(table: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    found = {}
    for path, values in _flat(table):
        found[path] = _values(f"grid {path}", values)
    return found


def _measures(table: Mapping[str, Any], version: int) -> tuple[str, ...]:
    measure = completed("measure", table, version)
    for name, wanted in measure.items():
        known(name, MEASURES, "measure")
        flag(wanted, f"measure {name}")
    return tuple(name for name in MEASURES if measure.get(name))


def import_modules(names: Sequence[str]) -> None:
    """Import modules that hold units, tasks and rules of one's own: this
    runs their code."""
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, TypeError, ValueError) as error:
            words = f"imports: {name} cannot be imported ({error})"
            raise InputError(f"{words}; {_remedy_of(name, error)}") from None


def _remedy_of(name: str, error: Exception) -> str:
    if name.endswith(".py"):
        return f"leave out the ending: {name.removesuffix('.py')}"
    if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
        return "is its folder on PYTHONPATH?"
    return "mend the module"


def allowed(named: Sequence[str], granted: Sequence[str]) -> list[str]:
    """Of the modules that a folder names, those that may be imported.

    What is imported already runs nothing any more.

    Raises InputError where it needs others: a folder may be a stranger's,
    and reading it runs no code.
    """
    harmless = {*granted, *sys.modules}
    refused = [name for name in named if name not in harmless]
    if refused:
        raise InputError(
            f"it needs modules of its own, {', '.join(refused)}, and reading imports none;"
            f" look at them, then give --imports {','.join(refused)},"
            f" or imports={refused!r} in Python"
        )
    return [name for name in named if name in granted]


def _values(path: str, values: Any) -> tuple[Any, ...]:
    require(isinstance(values, list), path, "a list of values", values)
    return tuple(values)


def _flat(
    table: Mapping[str, Any],
    before: str = "",
) -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted paths, so that `initialization.scale = [...]`
    needs no quotes."""
    for key, value in table.items():
        path = f"{before}.{key}" if before else key
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _random(table: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Sweep` that a [random] table gives."""
    for key in table:
        known(key, ("draws", "seed", "fields"), "key of [random]")
    if not table:
        return {}
    fields = table.get("fields", {})
    require(
        isinstance(fields, Mapping),
        "[random.fields]",
        "a table",
        fields,
    )
    found = {}
    for path, values in _flat(fields):
        parent, _, way = path.rpartition(".")
        require(
            bool(parent),
            argument=f"random {path}",
            needed="a field and how it is drawn",
            given=values,
            remedy=f"choose among {', '.join(WAYS_TO_DRAW)}",
        )
        found[parent] = Drawn(way, _values(f"random {path}", values))
    require(
        bool(found),
        "[random.fields]",
        "at least one field",
        Words("none"),
    )
    return {
        "random": found,
        "draws": table.get("draws", 1),
        "draw_seed": table.get("seed", 0),
    }
