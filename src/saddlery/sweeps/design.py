"""A sweep: one experiment over seeds and over any grid or random design of its fields; the same thing as its TOML file."""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from ..changes import changed
from ..checks import InputError, Words, flag, known, real, require, whole
from ..experiments import Experiment, find, from_table, made_from_toml, text_of
from ..records import plain

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
BATCH = 64  # runs of one unit of work: what is lost when a process dies
TRIED = 8  # draws of which one must be possible
WAYS = ("uniform", "log_uniform", "integers", "choice")


@dataclass(frozen=True)
class Drawn:
    """How a field is drawn: "uniform" or "log_uniform" between two numbers, "integers" from low to high, both included, or a
    "choice" among values."""

    way: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        known(self.way, WAYS, "random field")
        if self.way == "choice":
            require(len(self.values) > 0, "choice", "at least one value", Words("none"))
            return
        require(len(self.values) == 2, self.way, "two numbers, [low, high]", list(self.values))
        low, high = (real(value, self.way) for value in self.values)
        require(low <= high, self.way, "[low, high] with low at most high", list(self.values))
        require(self.way != "log_uniform" or low > 0, self.way, "of numbers above zero", list(self.values))
        if self.way == "integers":
            for value in self.values:
                require(isinstance(value, int), "integers", "two whole numbers", list(self.values))

    def draw(self, rng: np.random.Generator) -> Any:
        if self.way == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        low, high = self.values
        if self.way == "integers":
            return int(rng.integers(low, high + 1))
        return float(rng.uniform(low, high) if self.way == "uniform" else math.exp(rng.uniform(*np.log([low, high]))))


@dataclass(frozen=True)
class Sweep:
    """Runs of one experiment: every point of `grid` times every one of `draws` random points times `seeds` seeds.

    experiment: what is varied. grid: dotted path -> values, as in --set. random: dotted path -> `Drawn`; draws: how many
    points, of random numbers from `draw_seed`. seeds: how many, from `first_seed` up, for each point. batch: runs of one unit of
    work. chunk: runs stepped side by side, 0 for what fits the cache (`ensembles.time_chunks` measures others). measure: which of
    "certificates", "predictions" and "observables" to keep beside losses and stages. imports: modules that workers import first,
    for units, tasks and rules of one's own. slurm: options of that engine. files: where data files are today, by
    the path that the design gives, where they were moved; no part of what a sweep is, since their digest decides.

    Runs are numbered with seeds fastest, then the last field of the grid; draws come last of all but seeds.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.sweeps import Sweep
    >>> sweep = Sweep(Experiment.named("linear"), grid={"initialization.scale": (1e-3, 1e-6)}, seeds=5)
    >>> len(sweep), sweep.experiment_of(7).initialization.scale, sweep.experiment_of(7).seed
    (10, 1e-06, 2)
    """

    experiment: Experiment
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    random: Mapping[str, Drawn] = field(default_factory=dict)
    draws: int = 1
    draw_seed: int = 0
    seeds: int = 1
    first_seed: int = 0
    batch: int = BATCH
    chunk: int = 0
    measure: tuple[str, ...] = ()
    name: str = "sweep"
    description: str = ""
    imports: tuple[str, ...] = ()
    slurm: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        made = isinstance(self.experiment, Experiment)
        require(made, "experiment", "an Experiment", self.experiment, "such as Experiment.named('linear')")
        for name in ("name", "description"):
            require(isinstance(getattr(self, name), str), name, "a text", getattr(self, name))
        plain = self.name not in ("", ".", "..") and not set(self.name) & set("/\\#\0\n")
        require(plain, "name", "of a folder, without / or #", self.name)
        for name in ("seeds", "draws", "batch"):
            whole(getattr(self, name), name)
        whole(self.first_seed, "first_seed", 0)
        whole(self.chunk, "chunk", 0, "0 takes what fits the cache")
        whole(self.draw_seed, "seed of the random design", 0)
        for name in ("measure", "imports"):
            values = getattr(self, name)
            listed = isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)
            require(listed, name, "a list of names", values)
            object.__setattr__(self, name, tuple(values))
        for name in self.measure:
            known(name, MEASURES, "measure")
        require(bool(self.random) or self.draws == 1, "draws", "left out where nothing is random", self.draws)
        both = sorted(set(self.grid) & set(self.random))
        require(not both, "a field", "in the grid or random, not both", both)
        object.__setattr__(self, "grid", {path: _listed(path, values) for path, values in self.grid.items()})
        for path, drawn in self.random.items():
            require(
                isinstance(drawn, Drawn), f"random {path}", "a Drawn", drawn, "such as Drawn('uniform', (0.0, 1.0))"
            )
        for path in self.fields:
            require(path != "seed", "a field", "other than the seed", path, "give seeds and first_seed")
            require(path != "width", "a field", "a dotted path", path, "the width is network.layers.0.width")
        self._try()

    def _try(self) -> None:
        """Every value of every field of the grid makes an experiment beside the first values of the others, and so does one of
        the first draws."""
        table, first = self.experiment.table(), {path: values[0] for path, values in self.grid.items()}
        _made(table, first, f"grid {_blamed(table, first)}")
        for path, values in self.grid.items():
            for value in values[1:]:
                _made(table, {**first, path: value}, f"grid {path} = {value!r}: ")
        for k in range(min(self.draws, TRIED)):
            drawn = self._drawn(k)
            if not _fails(table, {**first, **drawn}):
                return
        drawn = self._drawn(0)
        _made(table, {**first, **drawn}, f"random {_blamed(table, drawn)}")

    def __len__(self) -> int:
        """How many runs."""
        return math.prod(len(values) for values in self.grid.values()) * self.draws * self.seeds

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths that vary."""
        return (*self.grid, *self.random)

    def _drawn(self, k: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.draw_seed, k])
        return {path: self.random[path].draw(rng) for path in sorted(self.random)}

    def point(self, number: int) -> dict[str, Any]:
        """The values of the fields that vary, of the run of a number."""
        require(0 <= number < len(self), "the number of a run", f"from 0 to {len(self) - 1}", number)
        k, draw = divmod(number // self.seeds, self.draws)
        chosen: dict[str, Any] = {}
        for path, values in reversed(list(self.grid.items())):
            k, place = divmod(k, len(values))
            chosen[path] = values[place]
        return {path: chosen[path] for path in self.grid} | self._drawn(draw)

    def seed(self, number: int) -> int:
        """The seed of the run of a number."""
        return self.first_seed + number % self.seeds

    def experiment_of(self, number: int) -> Experiment:
        """The experiment of the run of a number, its data where they are today."""
        (found,) = self.experiments([number])
        if isinstance(found, str):
            raise InputError(found)
        return found

    def experiments(self, numbers: Sequence[int]) -> Iterator[Experiment | str]:
        """The experiments of many runs, or why there is none, such as two values that exclude each other; those that differ in
        the seed only are made once."""
        table = self.experiment.table()
        for _, same in itertools.groupby(numbers, key=lambda number: number // self.seeds):
            first, *rest = same
            try:
                made = _made(table, self.point(first), "")
            except InputError as error:
                yield from (str(error) for _ in (first, *rest))
            else:
                made = at(made, self.files)
                yield from (made.replace(seed=self.seed(number)) for number in (first, *rest))

    def recorded(self, experiment: Experiment) -> Experiment:
        """A run's experiment with the paths of the design, wherever its data are today: what its identity is of."""
        return at(experiment, {today: given for given, today in self.files.items()})

    def batches(self) -> range:
        """The numbers of the batches."""
        return range(-(-len(self) // self.batch))

    def numbers(self, batch: int) -> range:
        """The runs of a batch."""
        return range(batch * self.batch, min((batch + 1) * self.batch, len(self)))

    @functools.cached_property
    def identity(self) -> str:
        """A short hash of everything that determines the results; name, description and engine options do not."""
        return hashlib.sha256(tomli_w.dumps(self._identifying()).encode()).hexdigest()[:12]

    def _identifying(self) -> dict[str, Any]:
        table = {k: v for k, v in self.table().items() if k not in ("name", "description", "slurm")}
        table["experiment"] = {k: v for k, v in table["experiment"].items() if k not in ("name", "description")}
        return table

    def pinned(self) -> Sweep:
        """The sweep with the content of its experiment's files fixed."""
        return replace(self, experiment=at(self.experiment, self.files).pinned(), files={})

    def same_as(self, other: Sweep) -> bool:
        """Whether two pinned sweeps are the same: of one identity, or different only in the paths of data of one digest."""
        if self.identity == other.identity:
            return True
        digests = [getattr(sweep.experiment.task, "digest", "") for sweep in (self, other)]
        return bool(digests[0]) and digests[0] == digests[1] and self._without_paths() == other._without_paths()

    def _without_paths(self) -> dict[str, Any]:
        table = self._identifying()
        task = {k: v for k, v in table["experiment"]["task"].items() if k not in self.experiment.task.FILES}
        return {**table, "experiment": {**table["experiment"], "task": task}}

    # --------------------------------------------------------------------- TOML
    def table(self) -> dict[str, Any]:
        """The sweep as nested dicts of plain values; `from_table` gives it back."""
        random = {
            "draws": self.draws,
            "seed": self.draw_seed,
            "fields": {path: {drawn.way: list(drawn.values)} for path, drawn in self.random.items()},
        }
        return {
            "name": self.name,
            "description": self.description,
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "batch": self.batch,
            "chunk": self.chunk,
            **({"imports": list(self.imports)} if self.imports else {}),
            "measure": {name: name in self.measure for name in MEASURES},
            **({"grid": {path: list(values) for path, values in self.grid.items()}} if self.grid else {}),
            **({"random": random} if self.random else {}),
            **({"slurm": dict(self.slurm)} if self.slurm else {}),
            "experiment": self.experiment.table(),
        }

    def to_toml(self) -> str:
        return tomli_w.dumps(self.table())

    @staticmethod
    def from_toml(
        text: str, source: str = "sweep", folder: str | Path = ".", *, imports: Sequence[str] | None = None
    ) -> Sweep:
        """The sweep a TOML text describes; files it names are relative to `folder`. Errors begin with `source`.

        imports: the modules that may be imported for it, of those that it names; None for all of them, since a design of one's
        own is trusted. Raises InputError where it needs others.
        """
        return made_from_toml(text, source, lambda table: from_sweep_table(table, folder, imports))

    @staticmethod
    def load(path: str | Path, *, imports: Sequence[str] | None = None) -> Sweep:
        """From a TOML file. Of the frozen design in a sweep's folder nothing is imported but what `imports` names."""
        if imports is None and (Path(path).parent / "sweep.json").exists():
            imports = ()
        return Sweep.from_toml(text_of(path), str(path), Path(path).parent, imports=imports)

    def __repr__(self) -> str:
        fields = ", ".join(self.fields) or "nothing but seeds"
        return f"Sweep {self.name!r}: {len(self):,} runs of {self.experiment.name!r} over {fields}, id {self.identity}"


def _fails(table: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    try:
        _made(table, values, "")
    except InputError:
        return True
    return False


def _blamed(table: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Of changes that make no experiment together: the one without which the others do."""
    for path in values:
        others = {other: value for other, value in values.items() if other != path}
        if _fails(table, values) and not _fails(table, others):
            return f"{path} = {values[path]!r}: "
    return ""


def _listed(path: str, values: Any) -> tuple[Any, ...]:
    """The values of a field of the grid, as a file would hold them."""
    require(isinstance(values, (list, tuple, np.ndarray)), f"grid {path}", "a list of values", values)
    found = tuple(plain(value) for value in values)
    require(len(found) > 0, f"grid {path}", "at least one value", Words("an empty list"))
    twice = [value for k, value in enumerate(found) if value in found[:k]]
    require(not twice, f"grid {path}", "different values", Words(f"{twice[:1]} twice"), "seeds = N repeats a point")
    return found


def _made(table: Mapping[str, Any], values: Mapping[str, Any], label: str) -> Experiment:
    new = changed(table, values, label or "")
    try:
        return from_table(new)
    except InputError as error:
        raise InputError(f"{label}{error}") from None


def at(experiment: Experiment, files: Mapping[str, str]) -> Experiment:
    """The experiment with the data files of its task at other paths."""
    task = experiment.task
    moved = {name: files[getattr(task, name)] for name in task.FILES if getattr(task, name) in files}
    return experiment.replace(task=replace(task, **moved)) if moved else experiment  # type: ignore[type-var]


def from_sweep_table(table: Mapping[str, Any], folder: str | Path = ".", granted: Sequence[str] | None = None) -> Sweep:
    """A sweep from nested dicts; each error names the key. granted: see `Sweep.from_toml`."""
    for key in table:
        known(key, KEYS, "key")
    require("experiment" in table, "experiment", "a shipped name, a TOML file or a table", Words("nothing"))
    imports = table.get("imports", [])
    listed = isinstance(imports, list) and all(isinstance(name, str) for name in imports)
    require(listed, "imports", "a list of module names", imports)
    import_modules(imports if granted is None else allowed(imports, granted))
    given = table["experiment"]
    if isinstance(given, str):
        path = Path(folder) / given
        experiment = find(path) if given.endswith(".toml") else find(given)
    else:
        require(isinstance(given, Mapping), "experiment", "a shipped name, a TOML file or a table", given)
        experiment = from_table(given, folder)
    for key in ("grid", "random", "measure", "slurm"):
        require(isinstance(table.get(key, {}), Mapping), f"[{key}]", "a table", table.get(key))
    measure = table.get("measure", {})
    for name, wanted in measure.items():
        known(name, MEASURES, "measure")
        flag(wanted, f"measure {name}")
    plain = {
        key: table[key] for key in ("name", "description", "seeds", "first_seed", "batch", "chunk") if key in table
    }
    return Sweep(
        experiment,
        grid={path: _values(path, values) for path, values in _flat(table.get("grid", {}))},
        measure=tuple(name for name in MEASURES if measure.get(name)),
        imports=tuple(imports),
        slurm=dict(table.get("slurm", {})),
        **_random(table.get("random", {})),
        **plain,
    )


def import_modules(names: Sequence[str]) -> None:
    """Import modules that hold units, tasks and rules of one's own: this runs their code."""
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, TypeError, ValueError) as error:
            raise InputError(f"imports: {name} cannot be imported ({error}); is its folder on PYTHONPATH?") from None


def allowed(named: Sequence[str], granted: Sequence[str]) -> list[str]:
    """Of the modules that a folder names, those that may be imported. What is imported already runs nothing any more.

    Raises InputError where it needs others: a folder may be a stranger's, and reading it runs no code.
    """
    refused = [name for name in named if name not in granted and name not in sys.modules]
    if refused:
        raise InputError(
            f"it needs modules of its own, {', '.join(refused)}, and reading imports none; look at them, then give"
            f" --imports {','.join(refused)}, or imports={refused!r} in Python"
        )
    return [name for name in named if name in granted]


def _values(path: str, values: Any) -> tuple[Any, ...]:
    require(isinstance(values, list), f"grid {path}", "a list of values", values)
    return tuple(values)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted paths, so that `initialization.scale = [...]` needs no quotes."""
    for key, value in table.items():
        path = f"{before}.{key}" if before else key
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _random(table: Mapping[str, Any]) -> dict[str, Any]:
    for key in table:
        known(key, ("draws", "seed", "fields"), "key of [random]")
    if not table:
        return {}
    fields, found = table.get("fields", {}), {}
    require(isinstance(fields, Mapping), "[random.fields]", "a table", fields)
    for path, values in _flat(fields):
        parent, _, way = path.rpartition(".")
        require(
            bool(parent), f"random {path}", "a field and how it is drawn", values, f"choose among {', '.join(WAYS)}"
        )
        found[parent] = Drawn(way, _values(path, values))
    require(bool(found), "[random.fields]", "at least one field", Words("none"))
    return {"random": found, "draws": table.get("draws", 1), "draw_seed": table.get("seed", 0)}
