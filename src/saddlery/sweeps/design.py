"""A sweep: one experiment over seeds and over any grid or random design of its fields; the same
thing as its TOML file."""

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
from ..experiments.experiment import MOST as WIDEST
from ..experiments.experiment import WORDS, chosen, find, from_table, is_file, made_from_toml
from ..experiments.fields import VERSION, check_version, completed, essential
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
BATCH = 64  # runs of one unit of work: what is lost when a process dies
RUNS = 10**9  # more would take years, and even their numbers would not fit the memory
TRIED = 8  # draws of which one must be possible
WAYS = ("uniform", "log_uniform", "integers", "choice")


@dataclass(frozen=True)
class Drawn:
    """How a field is drawn: "uniform" or "log_uniform" between two numbers, "integers" from low to
    high, both included, or a "choice" among values."""

    way: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        known(self.way, WAYS, "random field")
        object.__setattr__(self, "values", tuple(_listed(self.way, self.values)))
        if self.way == "choice":
            require(len(self.values) > 0, "choice", "at least one value", Words("none"))
            return
        require(len(self.values) == 2, self.way, "two numbers, [low, high]", list(self.values))
        low, high = (real(value, self.way) for value in self.values)
        require(low <= high, self.way, "[low, high] with low at most high", list(self.values))
        require(
            math.isfinite(high - low),
            self.way,
            "two numbers less than 1e308 apart",
            list(self.values),
        )
        require(
            self.way != "log_uniform" or low > 0,
            self.way,
            "of numbers above zero",
            list(self.values),
        )
        if self.way == "integers":
            for value in self.values:
                require(isinstance(value, int), "integers", "two whole numbers", list(self.values))

    def draw(self, rng: np.random.Generator) -> Any:
        if self.way == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        low, high = self.values
        if self.way == "integers":
            return int(rng.integers(low, high, endpoint=True))
        return float(
            rng.uniform(low, high)
            if self.way == "uniform"
            else math.exp(rng.uniform(*np.log([low, high])))
        )


@dataclass(frozen=True, repr=False)
class Sweep(Result):
    """Runs of one experiment: every point of `grid` times every one of `draws` random points times
    `seeds` seeds.

    experiment: what is varied. grid: dotted path -> values, as in --set. random: dotted path ->
    `Drawn`; draws: how many points, of random numbers from `draw_seed`. seeds: how many, from
    `first_seed` up, for each point. batch: runs of one unit of work. chunk: runs stepped side by
    side, 0 for what fits the cache (`ensembles.time_chunks` measures others). measure: which of
    "certificates", "predictions" and "observables" to keep beside losses and stages. imports:
    modules that workers import first, for units, tasks and rules of one's own. version: of
    experiments, in which the grid was written (see `experiments.fields`). slurm: options of
    that engine.

    Runs are numbered with seeds fastest, then the last field of the grid; draws come last of all
    but seeds.

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
    version: int = VERSION

    def __post_init__(self) -> None:
        keep = lambda name, value: object.__setattr__(self, name, value)
        keep("experiment", chosen(self.experiment))
        for name in ("name", "description"):
            keep(name, text(getattr(self, name), name))
        plain = self.name not in ("", ".", "..") and not set(self.name) & set("/\\#\0\n")
        require(plain, "name", "of a folder, without / or #", self.name)
        check_version(self.version)
        for name in ("seeds", "draws", "batch"):
            keep(name, whole(getattr(self, name), name))
        keep("first_seed", whole(self.first_seed, "first_seed", 0))
        keep("chunk", whole(self.chunk, "chunk", 0, "0 takes what fits the cache"))
        keep("draw_seed", whole(self.draw_seed, "seed of the random design", 0))
        last = self.first_seed + self.seeds - 1
        require(
            last < LARGEST,
            "the last seed",
            "below 2^63",
            Words(f"first_seed + {self.seeds - 1:,}"),
            "lower first_seed",
        )
        for name in ("measure", "imports"):
            values = getattr(self, name)
            listed = isinstance(values, (list, tuple)) and all(
                isinstance(value, str) for value in values
            )
            require(listed, name, "a list of names", values)
            keep(name, tuple(map(str, values)))
        for name in self.measure:
            known(name, MEASURES, "measure")
        require(
            bool(self.random) or self.draws == 1,
            "draws",
            "left out where nothing is random",
            self.draws,
        )
        both = sorted(set(self.grid) & set(self.random))
        require(not both, "a field", "in the grid or random, not both", both)
        for name in ("grid", "random", "slurm"):
            require(isinstance(getattr(self, name), Mapping), name, "a table", getattr(self, name))
        keep("grid", {str(path): _different(path, values) for path, values in self.grid.items()})
        keep("slurm", {str(key): unpacked(value) for key, value in self.slurm.items()})
        size = math.prod(map(len, self.grid.values())) * self.draws * self.seeds
        require(
            size <= RUNS,
            "a sweep",
            f"of at most {RUNS:,} runs",
            Words(f"{size:.3g}"),
            "lower seeds or draws",
        )
        for path, drawn in self.random.items():
            require(
                isinstance(drawn, Drawn),
                f"random {path}",
                "a Drawn",
                drawn,
                "such as Drawn('uniform', (0.0, 1.0))",
            )
        for path in self.fields:
            require(
                path != "seed", "a field", "other than the seed", path, "give seeds and first_seed"
            )
            require(
                path != "width",
                "a field",
                "a dotted path",
                path,
                "the width is network.layers.0.width",
            )
        self._try()

    def _try(self) -> None:
        """Every value of every field of the grid makes an experiment beside the first values of the
        others, and so does one of the first draws."""
        table, first = (
            self._experiment_table(),
            {path: values[0] for path, values in self.grid.items()},
        )
        _made(table, first, f"grid {_blamed(table, first)}")
        for path, values in self.grid.items():
            for value in values:
                label = f"grid {path} = {shown(value)}: "
                made = _made(table, {**first, path: value}, label)
                widest = max(made.network.widths)
                require(
                    widest <= WIDEST,
                    f"{label}width",
                    f"at most {WIDEST:,}",
                    widest,
                    "a run keeps every state whole",
                )
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
        require(
            0 <= number < len(self), "the number of a run", f"from 0 to {len(self) - 1}", number
        )
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
        """The experiment of the run of a number."""
        (found,) = self.experiments([number])
        if isinstance(found, str):
            raise InputError(found)
        return found

    def experiments(self, numbers: Sequence[int]) -> Iterator[Experiment | str]:
        """The experiments of many runs, or why there is none, such as two values that exclude each
        other; those that differ in the seed only are made once."""
        table = self._experiment_table()
        for _, same in itertools.groupby(numbers, key=lambda number: number // self.seeds):
            first, *rest = same
            try:
                made = _made(table, self.point(first), "")
            except InputError as error:
                yield from (str(error) for _ in (first, *rest))
            else:
                yield from (made.replace(seed=self.seed(number)) for number in (first, *rest))

    def batches(self) -> range:
        """The numbers of the batches."""
        return range(-(-len(self) // self.batch))

    def numbers(self, batch: int) -> range:
        """The runs of a batch."""
        return range(batch * self.batch, min((batch + 1) * self.batch, len(self)))

    @functools.cached_property
    def identity(self) -> str:
        """A short hash of everything that determines the results; name, description and engine
        options do not."""
        return self.hashed(self.experiment.determining())

    @property
    def former_identity(self) -> str:
        """The identity as version 0.1.0 had it, of which the places of data files were part; the
        same without such files."""
        return self.hashed(self.experiment.determining(places=True))

    def hashed(self, experiment: Mapping[str, Any]) -> str:
        """The short hash of a sweep of this experiment's table."""
        table = {k: v for k, v in self.table().items() if k not in (*WORDS, "slurm")}
        own = {
            k: v
            for k, v in table.items()
            if k not in ("imports", "measure", "grid", "random", "experiment")
        }
        defaults = {f.name: f.default for f in fields(self)}
        table = {
            **essential("sweep", own, defaults),
            **{k: v for k, v in table.items() if k not in own},
            "measure": essential("measure", table["measure"], dict.fromkeys(MEASURES, False)),
        }
        return hashlib.sha256(
            tomli_w.dumps({**table, "experiment": experiment}).encode()
        ).hexdigest()[:12]

    def pinned(self) -> Sweep:
        """The sweep with the content of its experiment's files fixed."""
        return replace(self, experiment=self.experiment.pinned())

    def on(self, task: Task) -> Sweep:
        """The same sweep, called what it is called, on its task's data where they are now."""
        if task is self.experiment.task:
            return self
        moved = replace(self, experiment=self.experiment.replace(task=task))
        vars(moved)["identity"] = self.identity
        return moved

    # --------------------------------------------------------------------- TOML
    def _experiment_table(self) -> dict[str, Any]:
        return {**self.experiment.table(), "version": self.version}

    def table(self) -> dict[str, Any]:
        """The sweep as nested dicts of plain values; `from_table` gives it back."""
        random = {
            "draws": self.draws,
            "seed": self.draw_seed,
            "fields": {
                path: {drawn.way: list(drawn.values)} for path, drawn in self.random.items()
            },
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
            **(
                {"grid": {path: list(values) for path, values in self.grid.items()}}
                if self.grid
                else {}
            ),
            **({"random": random} if self.random else {}),
            **({"slurm": dict(self.slurm)} if self.slurm else {}),
            "experiment": self._experiment_table(),
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
        """The sweep a TOML text describes; files it names are relative to `folder`. Errors begin
        with `source`.

        imports: the modules that may be imported for it, of those that it names; None for all of
        them, since a design of one's own is trusted. Raises InputError where it needs others.
        """
        return made_from_toml(text, source, lambda table: from_sweep_table(table, folder, imports))

    @staticmethod
    def load(path: str | Path, *, imports: Sequence[str] | None = None) -> Sweep:
        """From a TOML file, data with a digest where they are now (see `Experiment.found`). Of the
        frozen design in a sweep's folder nothing is imported but what `imports` names."""
        sweep = as_written(path, imports)
        return sweep.on(sweep.experiment.found(Path(path).parent).task)

    def printed(self) -> Printed:
        fields = ", ".join(self.fields) or "nothing but seeds"
        words = (
            f"Sweep {self.name!r}: {len(self):,} runs of {self.experiment.name!r} over "
            f"{fields}, id {self.identity}"
        )
        return Printed(head=[words])

    def record(self) -> dict[str, Any]:
        """JSON form: its table, with its identity."""
        return plain({"identity": self.identity, **self.table()})


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
            return f"{path} = {shown(values[path])}: "
    return ""


def sweep_of(subject: Sweep | str | Path) -> Sweep:
    """The sweep meant by what every verb takes: one that is made, or the path of its file."""
    return subject if isinstance(subject, Sweep) else Sweep.load(subject)


def _listed(path: str, values: Any) -> list[Any]:
    """Values as a file would hold them: texts, numbers of Python, and lists of them. Raises
    InputError for others."""
    kept = unpacked(values)
    require(isinstance(kept, tuple), path, "a list of values", values)
    return [_plain(path, value) for value in kept]


def _plain(path: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(path, entry) for entry in value]
    require(
        isinstance(value, (str, bool, int, float)),
        path,
        "a list of texts, numbers, true or false",
        value,
    )
    whole = isinstance(value, int)
    require(
        not whole or abs(value) < LARGEST,
        path,
        "of whole numbers below 2^63 in size",
        value,
        "write 1.0e30",
    )
    return value


def _different(path: str, values: Any) -> tuple[Any, ...]:
    """The values of a field of the grid, as a file would hold them, no two the same."""
    found = _listed(f"grid {path}", values)
    require(len(found) > 0, f"grid {path}", "at least one value", Words("an empty list"))
    seen: set[Any] = set()
    for value in found:
        key = unpacked(value)
        if key in seen:
            twice = Words(f"[{shown(value)}] twice")
            require(False, f"grid {path}", "different values", twice, "seeds = N repeats a point")
        seen.add(key)
    return tuple(found)


def _made(table: Mapping[str, Any], values: Mapping[str, Any], label: str) -> Experiment:
    new = changed(table, values, label or "")
    try:
        return from_table(new)
    except InputError as error:
        raise InputError(f"{label}{error}") from None


def as_written(path: str | Path, imports: Sequence[str] | None = None) -> Sweep:
    """The sweep of a TOML file with its data files where the file says; imports: see
    `Sweep.load`."""
    require(isinstance(path, (str, Path)), "a sweep", "the path of a TOML file", path)
    folder = Path(path).parent
    stored = os.path.exists(folder / "sweep.json")
    if imports is None and stored:
        imports = ()
    make = lambda table: from_sweep_table(table, folder, imports, unsaid=1 if stored else VERSION)
    return made_from_toml(Path(path), str(path), make)


def from_sweep_table(
    table: Mapping[str, Any],
    folder: str | Path = ".",
    granted: Sequence[str] | None = None,
    *,
    unsaid: int = VERSION,
) -> Sweep:
    """A sweep from nested dicts; each error names the key. granted: see `Sweep.from_toml`; unsaid:
    see that of experiments."""
    for key in table:
        known(key, KEYS, "key")
    require(
        "experiment" in table,
        "experiment",
        "a shipped name, a TOML file or a table",
        Words("nothing"),
    )
    imports = table.get("imports", [])
    listed = isinstance(imports, list) and all(isinstance(name, str) for name in imports)
    require(listed, "imports", "a list of module names", imports)
    import_modules(imports if granted is None else allowed(imports, granted))
    given, version = table["experiment"], VERSION
    if isinstance(given, str):
        path = Path(folder) / given
        experiment = find(path) if is_file(given) else find(given)
    else:
        require(
            isinstance(given, Mapping),
            "experiment",
            "a shipped name, a TOML file or a table",
            given,
        )
        version = check_version(given.get("version", unsaid))
        experiment = from_table(given, folder, unsaid=unsaid)
        table = completed("sweep", table, version)
    for key in ("grid", "random", "measure", "slurm"):
        require(isinstance(table.get(key, {}), Mapping), f"[{key}]", "a table", table.get(key))
    measure = completed("measure", table.get("measure", {}), version)
    for name, wanted in measure.items():
        known(name, MEASURES, "measure")
        flag(wanted, f"measure {name}")
    plain = {
        key: table[key]
        for key in ("name", "description", "seeds", "first_seed", "batch", "chunk")
        if key in table
    }
    return Sweep(
        experiment,
        grid={
            path: _values(f"grid {path}", values) for path, values in _flat(table.get("grid", {}))
        },
        measure=tuple(name for name in MEASURES if measure.get(name)),
        imports=tuple(imports),
        slurm=dict(table.get("slurm", {})),
        version=version,
        **_random(table.get("random", {})),
        **plain,
    )


def import_modules(names: Sequence[str]) -> None:
    """Import modules that hold units, tasks and rules of one's own: this runs their code."""
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, TypeError, ValueError) as error:
            raise InputError(
                f"imports: {name} cannot be imported ({error}); is its folder on PYTHONPATH?"
            ) from None


def allowed(named: Sequence[str], granted: Sequence[str]) -> list[str]:
    """Of the modules that a folder names, those that may be imported. What is imported already runs
    nothing any more.

    Raises InputError where it needs others: a folder may be a stranger's, and reading it runs no
    code.
    """
    refused = [name for name in named if name not in granted and name not in sys.modules]
    if refused:
        raise InputError(
            f"it needs modules of its own, {', '.join(refused)}, and reading imports none; look"
            " at them, then give"
            f" --imports {','.join(refused)}, or imports={refused!r} in Python"
        )
    return [name for name in named if name in granted]


def _values(path: str, values: Any) -> tuple[Any, ...]:
    require(isinstance(values, list), path, "a list of values", values)
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
            bool(parent),
            f"random {path}",
            "a field and how it is drawn",
            values,
            f"choose among {', '.join(WAYS)}",
        )
        found[parent] = Drawn(way, _values(f"random {path}", values))
    require(bool(found), "[random.fields]", "at least one field", Words("none"))
    return {"random": found, "draws": table.get("draws", 1), "draw_seed": table.get("seed", 0)}
