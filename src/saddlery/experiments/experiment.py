"""An experiment: network, task, initialization, rule, stop and seed;
immutable, and the same thing as its TOML file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tomli_w

from .. import initializations, rules, tasks, units
from ..basis.checks import NOTHING, InputError, flag, known, nearest, require, text, whole
from ..basis.echo import Words, shown
from ..basis.records import Printed, Result, plain
from ..doors.door import read_toml
from ..initializations import Initialization
from ..networks import Data, Layer, Network, Objective, objective
from ..rules import GradientFlow, Rule
from ..tasks import Task
from ..training import Stop
from .fields import VERSION, as_meant, as_stored, check_version, essential

T = TypeVar("T")
PARTS = {
    "task": Task,
    "network": Network,
    "stop": Stop,
    "initialization": Initialization,
    "rule": Rule,
}
SECTIONS = (
    "version",
    "name",
    "description",
    "seed",
    "precision",
    "moments",
    "task",
    "network",
    "initialization",
    "rule",
    "stop",
)
REQUIRED = ("task", "network", "stop")
SIMPLE = ("name", "description", "seed", "precision", "moments")
NETWORK_KEYS = ("layers", "readout", "reads")
MOST_PARAMETERS = 1_000_000  # most parameters: a state is 8 MB then, and a run keeps hundreds
LAYER_KEYS = ("unit", "width", "mixes", "outputs", "residual")


@dataclass(frozen=True, repr=False)
class Experiment(Result):
    """Everything that determines a run.

    task: what is learned, and from which data.
    network, initialization: what learns it, and from which weights.
    rule, stop: how the weights move, and until when.
    seed: a whole number from 0 on; of the weights, of batches, and of
        data that are drawn.
    name, description: words for people; they determine nothing.
    precision: "float64", or "float32" for training only (certificates are
        always made in float64).
    moments: None to use exact data moments where they apply and save work,
        True to demand, False to forbid them.

    Raises InputError, naming the field, for values that do not go together.

    Example
    -------
    >>> from saddlery import Experiment
    >>> Experiment.named("relu").network.architecture
    'relu 50'
    """

    task: Task
    network: Network
    stop: Stop
    initialization: Initialization = field(default_factory=Initialization)
    rule: Rule = field(default_factory=GradientFlow)
    seed: int = 0
    name: str = "experiment"
    description: str = ""
    precision: str = "float64"
    moments: bool | None = None

    def __post_init__(self) -> None:
        for name, kind in PARTS.items():
            part = getattr(self, name)
            require(isinstance(part, kind), name, f"a {kind.__name__}", part)
        object.__setattr__(self, "seed", whole(self.seed, "seed", 0))
        for name in ("name", "description"):
            object.__setattr__(self, name, text(getattr(self, name), name))
        if self.moments is not None:
            object.__setattr__(self, "moments", flag(self.moments, "moments"))
        known(self.precision, ("float64", "float32"), "precision")
        for layer in self.network.layers:
            whole(
                layer.width,
                "width of a layer",
                remedy="a layer needs at least one unit",
            )
        require(
            not (self.rule.batch and self.moments),
            "moments",
            needed="false for a rule with a batch size",
            given=self.moments,
        )
        step, last = getattr(self.rule, "learning_rate", 0.0), self.stop.flow_time
        require(
            last is None or step <= last,
            "learning_rate",
            needed=f"at most the run's flow time {last}",
            given=step,
            remedy="or stop on steps",
        )

    # ------------------------------------------------------------ what it means
    def pinned(self) -> Experiment:
        """The experiment with the content of its task's files fixed (see
        `Task.pinned`); `train` does this."""
        return dataclasses.replace(self, task=self.task.pinned())

    @property
    def data(self) -> Data:
        """What the task hands to training; the latest few are kept."""
        made = self._kept(_data)
        return made(self.task, self._data_seed)

    def objective(self) -> Objective:
        """The loss this experiment trains, on its task's data; the
        latest few are kept.

        Raises InputError where the network is too large for a run to be
        recorded, before anything of that size is made.

        Example
        -------
        >>> from saddlery import Experiment
        >>> relu = Experiment.named("relu")
        >>> relu.objective().size == relu.initial_state().size
        True
        """
        moments = False if self.rule.batch else self.moments
        made = self._kept(_objective)
        return made(self.network, self.task, self._data_seed, moments)

    @property
    def _data_seed(self) -> int:
        return self.seed if self.task.seeded else 0

    def _kept(self, function: Any) -> Any:
        """The function with its memory; without it where data come from files,
        which may change, or options cannot be hashed."""
        return function if _fixed(self.task) else function.__wrapped__

    def initial_state(self, seed: int | None = None) -> np.ndarray:
        """The initial flat parameters (P,); those of another seed, on the same
        data, where one is given."""
        drawn = self.seed if seed is None else seed
        return self.initial_states([drawn])[0]

    def initial_states(self, seeds: Sequence[int]) -> np.ndarray:
        """The initial flat parameters of R seeds (R, P), all on this
        experiment's data; each is what `initial_state` gives for its seed."""
        data = self.data
        _admit(self.network, data)
        drawn = [whole(seed, "seed", 0) for seed in seeds]
        return self.initialization.draws(
            self.network,
            data.shape,
            data.outputs,
            drawn,
            data=data,
        )

    @property
    def identity(self) -> str:
        """A short hash of everything that determines the run. Name and
        description do not, nor does where data files lie once the digest of
        their numbers is known.

        Example
        -------
        >>> from saddlery import Experiment
        >>> relu = Experiment.named("relu")
        >>> relu.replace(name="mine").identity == relu.identity
        True
        >>> relu.replace(seed=1).identity == relu.identity
        False
        """
        return _hash(self.determining())

    @property
    def former_identity(self) -> str:
        """The identity as version 0.1.0 had it, of which the places of data
        files were part; the same without such files."""
        return _hash(self.determining(places=True))

    def determining(self, *, places: bool = False) -> dict[str, Any]:
        """What determines the run, as a nested dict of plain values: the same
        in every version (see `fields`).

        places: with those of data files whose digest is known.
        """
        own = _values(self, but=(*PARTS, *WORDS))
        return {
            **essential("experiment", own, _defaults(self)),
            "task": self._determining_task(places),
            "network": self._determining_network(),
            "initialization": _essential("initialization", self.initialization),
            "rule": self._determining_rule(),
            "stop": _essential("stop", self.stop),
        }

    def _determining_task(self, places: bool) -> dict[str, Any]:
        task = self.task.values()
        if not places:
            task = self.task.without_places(task)
        family = f"task {self.task.kind}"
        return {"kind": self.task.kind, **essential(family, task, _defaults(self.task))}

    def _determining_network(self) -> dict[str, Any]:
        layers = [_determining(layer) for layer in self.network.layers]
        return {"layers": layers, **_essential("network", self.network, but=("layers",))}

    def _determining_rule(self) -> dict[str, Any]:
        kind = self.rule.kind
        return {"kind": kind, **_essential(f"rule {kind}", self.rule, always=True)}

    def found(
        self,
        *folders: str | Path,
        data: str | Path | None = None,
    ) -> Experiment:
        """The experiment with its data files where they are now: at `data` (a
        file or a folder), where they were, or beside or above one of the
        folders, by the last parts of their paths. Only files with the numbers
        of the digest are taken."""
        given = None if data is None else Path(data)
        if given is not None:
            self._demand_data(given)
        task = self.task.found([Path(folder) for folder in folders], given)
        return self if task is self.task else dataclasses.replace(self, task=task)

    def _demand_data(self, given: Path) -> None:
        """Raise InputError unless data can be given anew, and those of the
        digest are at the given place."""
        digest = getattr(self.task, "digest", "")
        require(
            bool(digest),
            "data",
            needed="given for a run or a sweep on files of one's own",
            given=f"{given}",
            remedy="leave it out, or name the files in the experiment",
        )
        if not os.path.exists(given):
            missing = "there is no such file or folder of data"
            raise InputError(f"{given}: {missing}; check the path")
        self.task.demand_at(given)

    def replace(self, **changes: Any) -> Experiment:
        """A copy with other fields; unknown ones raise InputError."""
        fields = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            known(name, fields, "field of an experiment")
        return dataclasses.replace(self, **changes)

    # ------------------------------------------------------------------- TOML
    def table(self) -> dict[str, Any]:
        """The experiment as nested dicts of plain values, without what is absent."""
        stop = dataclasses.asdict(self.stop)
        moments = {} if self.moments is None else {"moments": self.moments}
        return {
            "version": VERSION,
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "precision": self.precision,
            **moments,
            "task": as_stored(self.task.options()),
            "network": _network_table(self.network),
            "initialization": dataclasses.asdict(self.initialization),
            "rule": self.rule.options(),
            "stop": _present(stop),
        }

    def to_toml(self) -> str:
        """The experiment as TOML text; `from_toml` gives it back.

        Example
        -------
        >>> from saddlery import Experiment
        >>> relu = Experiment.named("relu")
        >>> Experiment.from_toml(relu.to_toml()) == relu
        True
        """
        return tomli_w.dumps(self.table())

    @staticmethod
    def from_toml(
        text: str,
        source: str = "experiment",
        folder: str | Path = ".",
    ) -> Experiment:
        """The experiment a TOML text describes; the data files it names are
        relative to `folder`.

        Raises InputError naming the file, the line or the key.
        """
        return made_from_toml(text, source, lambda table: from_table(table, folder))

    @staticmethod
    def load(path: str | Path) -> Experiment:
        """From a TOML file."""
        guess, stem = "", Path(path).stem
        if _is_named(path):
            guess = f"; for a shipped experiment leave out the ending: {stem}"
            if not Path(path).suffix:
                guess = f"; a shipped experiment is Experiment.named({stem!r})"
        return as_written(path, guess).found(Path(path).parent)

    @staticmethod
    def named(name: str) -> Experiment:
        """One of the experiments that ship with saddlery."""
        known(name, catalog(), "experiment")
        text = (_catalog() / f"{name}.toml").read_text("utf-8")
        return Experiment.from_toml(text, name)

    def printed(self) -> Printed:
        content = f"{self.network.architecture} on {self.task.kind}"
        title = f"Experiment {self.name!r}: {content}"
        ends = _present(vars(self.stop))
        stop = ", ".join(f"{name} {value:g}" for name, value in ends.items())
        rows: list[tuple[str, object]] = [
            ("task", self.task.kind),
            ("architecture", self.network.architecture),
            ("rule", self.rule.kind),
            ("initial weights", self.initialization.kind),
            ("initial scale", self.initialization.scale),
            ("seed", self.seed),
            ("precision", self.precision),
            ("stop", stop),
            ("identity", self.identity),
        ]
        if self.description:
            rows.insert(0, ("description", self.description))
        return Printed(("experiment", ""), rows, head=[title])

    def record(self) -> dict[str, Any]:
        """JSON form: its table, with its identity."""
        return plain({"identity": self.identity, **self.table()})


def as_written(path: str | Path, missing: str = "") -> Experiment:
    """The experiment of a TOML file with its data files where the file says.

    missing: see `door.read_text`.
    """
    folder = Path(path).parent
    # A file in a run folder that does not say its version is of the first one.
    unsaid = 1 if os.path.exists(folder / "record.json") else VERSION
    make = lambda table: from_table(table, folder, unsaid=unsaid)
    return made_from_toml(Path(path), str(path), make, missing=missing)


def made_from_toml(
    given: str | Path,
    source: str,
    maker: Callable[[dict[str, Any]], T],
    *,
    missing: str = "",
) -> T:
    """What `maker` makes of a TOML text, or of the file at a `Path`; errors
    begin with `source`.

    Example
    -------
    >>> from saddlery.experiments.experiment import made_from_toml
    >>> made_from_toml("width = 20", "mine", lambda table: table["width"])
    20
    """
    table = read_toml(given, source, missing=missing)
    try:
        return maker(table)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


WORDS = ("name", "description")  # fields of an experiment that do not determine it


def _hash(table: Mapping[str, Any]) -> str:
    return hashlib.sha256(tomli_w.dumps(table).encode()).hexdigest()[:12]


# Data and objectives of so many tasks and seeds are kept: an ensemble asks for the same
# again and again.
KEPT = 8


@functools.lru_cache(maxsize=KEPT)
def _data(task: Task, seed: int) -> Data:
    return task.data(seed)


@functools.lru_cache(maxsize=KEPT)
def _objective(
    network: Network,
    task: Task,
    seed: int,
    moments: bool | None,
) -> Objective:
    data = _data(task, seed) if _fixed(task) else task.data(seed)
    _admit(network, data)
    return objective(network, data, moments=moments)


def _admit(network: Network, data: Data) -> None:
    """Raise InputError where a network has more parameters than a run can keep."""
    count = network.count(data.shape, data.outputs)
    require(
        count <= MOST_PARAMETERS,
        "the network",
        needed=f"of at most {MOST_PARAMETERS:,} parameters, since every saved state is kept whole",
        given=Words(f"{count:,}"),
        remedy="lower a width",
    )


def _fixed(task: Task) -> bool:
    """Whether its data stay the same while its options do."""
    try:
        hash(task)
    except TypeError:
        return False
    return not task.FILES


def catalog() -> list[str]:
    """The names of the shipped experiments.

    Example
    -------
    >>> from saddlery.experiments.experiment import catalog
    >>> catalog()[:3]
    ['diagonal', 'digits', 'digits_relu']
    """
    files = [file.name for file in _catalog().iterdir()]
    texts = [name for name in files if name.endswith(".toml")]
    return sorted(name.removesuffix(".toml") for name in texts)


def _catalog() -> Traversable:
    return resources.files("saddlery.experiments") / "catalog"


def _is_named(path: str | Path) -> bool:
    return Path(path).stem in catalog()


def find(reference: str | Path) -> Experiment:
    """An experiment by the path of its TOML file or by its shipped name."""
    require(
        isinstance(reference, (str, Path)),
        "an experiment",
        needed="a shipped name or the path of a TOML file",
        given=reference,
    )
    if is_file(reference):
        return Experiment.load(reference)
    return Experiment.named(str(reference))


def is_file(reference: str | Path) -> bool:
    """Whether words mean a file rather than a shipped experiment: by their
    ending, in letters of either case, or a slash.

    Example
    -------
    >>> from saddlery.experiments.experiment import is_file
    >>> is_file("relu"), is_file("relu.toml"), is_file("mine/relu")
    (False, True, True)
    """
    words = str(reference)
    return words.lower().endswith(".toml") or "/" in words


def chosen(subject: Experiment | Mapping[str, Any] | str | Path) -> Experiment:
    """The experiment meant by what every verb takes: one that is made, its
    table, its shipped name or the path of its file."""
    if isinstance(subject, Experiment):
        return subject
    if isinstance(subject, Mapping):
        return from_table(subject)
    return find(subject)


def from_table(
    table: Mapping[str, Any],
    folder: str | Path = ".",
    *,
    unsaid: int = VERSION,
) -> Experiment:
    """An experiment from nested dicts.

    folder: data files are relative to it.
    unsaid: the version of a table that does not say: today's, or the first one
        for what is stored.

    Raises InputError, naming the key.

    Example
    -------
    >>> from saddlery.experiments.experiment import from_table
    >>> made = from_table(
    ...     {
    ...         "task": {"kind": "linear_teacher", "singular_values": [1.0, 0.4]},
    ...         "network": {"layers": [{"unit": "linear", "width": 5}]},
    ...         "stop": {"flow_time": 10.0},
    ...     }
    ... )
    >>> made.network.architecture, made.rule.kind
    ('linear 5', 'flow')
    """
    for key in table:
        known(key, SECTIONS, "key")
    table = as_meant(table, check_version(table.get("version", unsaid)))
    rule = table.get("rule", {})
    require(
        isinstance(rule, Mapping),
        "[rule]",
        needed="a table",
        given=rule,
        remedy='such as kind = "flow"',
    )
    example = "see `saddlery show linear` for an example"
    for key in REQUIRED:
        require(
            key in table,
            f"[{key}]",
            needed="given",
            given=NOTHING,
            remedy=example,
        )

    def task(kind: str, **options: Any) -> Task:
        return tasks.make(kind, folder, **options)

    with_rule = {**table, "rule": {"kind": "flow", **rule}}
    made = {
        "task": _section(table, "task", task, kinds="tasks"),
        "network": _section(table, "network", _network),
        "stop": _section(table, "stop", _stop),
        "initialization": _section(table, "initialization", initializations.make),
        "rule": _section(with_rule, "rule", rules.make, kinds="rules"),
    }
    simple = {key: table[key] for key in SIMPLE if key in table}
    flag(simple.get("moments") or False, "moments")
    return Experiment(**made, **simple)


def _section(
    table: Mapping[str, Any],
    name: str,
    maker: Any,
    kinds: str = "",
) -> Any:
    """What `maker` makes of a section; kinds: what is listed where it
    must name a kind."""
    section = table.get(name, {})
    require(isinstance(section, Mapping), f"[{name}]", "a table", section)
    if kinds:
        listed = f"see `saddlery list {kinds}`"
        require(
            "kind" in section,
            f"[{name}] kind",
            needed="given",
            given=NOTHING,
            remedy=listed,
        )
    try:
        return maker(**section)
    except InputError as error:
        words = str(error).removeprefix(f"{name}: ")
        raise InputError(f"[{name}] {words}") from None
    except TypeError as error:
        words = shown(Words(error))
        refused = f"[{name}] has a value or a key of the wrong kind"
        raise InputError(f"{refused}: {words}") from None


def _network(
    layers: Any = None,
    readout: bool = False,
    reads: str = "all",
    **rest: Any,
) -> Network:
    for key in rest:
        known(key, NETWORK_KEYS, "key")
    listed = isinstance(layers, list) and len(layers) > 0
    tables = listed and all(isinstance(entry, Mapping) for entry in layers)
    require(tables, "layers", "a list of tables, [[network.layers]]", layers)
    made = tuple(_layer(k, dict(entry)) for k, entry in enumerate(layers))
    return Network(made, readout, reads)  # type: ignore[arg-type]


def _layer(index: int, entry: dict[str, Any]) -> Layer:
    others = [name for name in entry if name not in LAYER_KEYS]
    for key in ("unit", "width"):
        misspelt = nearest(key, others)
        remedy = f"was it meant by {misspelt!r}?" if misspelt else ""
        require(
            key in entry,
            f"layer {index}: {key}",
            needed="given",
            given=NOTHING,
            remedy=remedy,
        )
    whole(
        entry["width"],
        f"layer {index}: width",
        remedy="a layer needs at least one unit",
    )
    own = {key: entry.pop(key) for key in LAYER_KEYS if key in entry}
    unit = units.make(own.pop("unit"), **entry)
    return Layer(unit, **own)


def _stop(**options: Any) -> Stop:
    keys = [f.name for f in dataclasses.fields(Stop)]
    for key in options:
        known(key, keys, "key")
    return Stop(**options)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is absent."""
    return {name: value for name, value in values.items() if value is not None}


def _network_table(network: Network) -> dict[str, Any]:
    """As it stands in a file, without what is usual."""
    layers = [_layer_table(layer) for layer in network.layers]
    table: dict[str, Any] = {"layers": layers}
    if network.readout:
        table["readout"] = True
    if network.reads != "all":
        table["reads"] = network.reads
    return table


def _layer_table(layer: Layer) -> dict[str, Any]:
    table: dict[str, Any] = {"unit": layer.unit.name}
    usual = _defaults(layer)
    for key, value in _values(layer, but=("unit",)).items():
        is_usual = key in usual and value == usual[key]
        if value is not None and not is_usual:
            table[key] = value
    return {**table, **as_stored(layer.unit.options)}


# ------------------------------------------------------- what is part of an identity
def _determining(layer: Layer) -> dict[str, Any]:
    """What determines a run, of a layer."""
    unit = layer.unit
    usual = units.options(unit.name) if unit.name in units.names() else {}
    options = as_stored(unit.options)
    return {
        "unit": unit.name,
        **_essential("layer", layer, but=("unit",)),
        **essential(f"unit {unit.name}", options, usual, always=True),
    }


def _essential(
    family: str,
    made: Any,
    but: tuple[str, ...] = (),
    *,
    always: bool = False,
) -> dict[str, Any]:
    """Of the fields of a dataclass, those that are part of an identity."""
    return essential(family, _values(made, but), _defaults(made), always=always)


def _values(made: Any, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass as they stand in a file."""
    names = [f.name for f in dataclasses.fields(made) if f.name not in but]
    return {name: as_stored(getattr(made, name)) for name in names}


def _defaults(made: Any) -> dict[str, Any]:
    """Its fields that have a default."""
    fields = dataclasses.fields(made)
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
