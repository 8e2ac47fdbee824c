"""A task: a frozen description that makes data (samples, exact moments, or
both) from a seed."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Float

from ..basis.checks import InputError, Words, known, require, scalar, settle, unpacked, whole
from ..basis.echo import said
from ..basis.families import Family
from ..networks import Data

# Most rows of the square matrices that tasks draw and decompose: half a minute, 134 MB.
WIDEST = 4096
# Most numbers in the samples that a task draws: half a gigabyte.
DRAWN = 2**26
TASKS: Family[type[Task]] = Family("task")


class Task(ABC):
    """Base of all tasks. A concrete task is a frozen dataclass with a class
    variable `kind` and a method `data`.

    Subclasses register themselves under `kind`; the first sentence of their
    docstring is what `saddlery list tasks` shows. The data are N samples with
    targets (N, O), their exact moments, or both.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks import LinearTeacher
    >>> data = LinearTeacher(singular_values=(1.0, 0.4)).data(seed=0)
    >>> np.linalg.svd(data.moments.cross, compute_uv=False).round(12).tolist()
    [1.0, 0.4]
    """

    kind: ClassVar[str] = ""
    seeded: ClassVar[bool] = True  # whether other seeds give other data
    # Options that name files: in an experiment file, relative to its folder.
    FILES: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("kind"):
            TASKS.add(cls.kind, cls)

    def __post_init__(self) -> None:
        settle(self)

    @abstractmethod
    def data(self, seed: int) -> Data:
        """The data; the same seed gives the same data.

        Raises InputError for impossible settings.
        """

    def pinned(self) -> Task:
        """The same task with the content of its files fixed, so that a run is
        never judged by other data than it saw."""
        return self

    def notes(self) -> tuple[str, ...]:
        """What a reader of a run should know of how its data were read;
        nothing where nothing was."""
        return ()

    def found(self, folders: Sequence[Path], given: Path | None = None) -> Task:
        """The same task with its files where they are now (see
        `Arrays.found`); itself where it has none."""
        return self

    def demand_at(self, given: Path) -> None:
        """Raise InputError unless the files of this task are at the given
        place."""
        raise InputError(f"the task {self.kind!r} has no files of data; leave {given} out")

    def places(self) -> dict[str, str]:
        """The absolute paths of its files, by the names of their options."""
        return {name: str(path.absolute()) for name, path in self._files().items()}

    def _files(self) -> dict[str, Path]:
        """The paths as they were given."""
        given = {name: getattr(self, name) for name in self.FILES}
        return {name: Path(path) for name, path in given.items() if path}

    def without_places(self, options: dict[str, Any]) -> dict[str, Any]:
        """Of the options, those that determine the data."""
        return options

    def values(self) -> dict[str, Any]:
        """All fields, as they stand in an experiment file."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            found[field.name] = _lists(unpacked(getattr(self, field.name)))
        return found

    def options(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as they stand in an
        experiment file, and the kind."""
        usual = {f.name: f.default for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        others = {k: v for k, v in self.values().items() if unpacked(v) != usual[k]}
        return {"kind": self.kind, **others}


def make(kind: str, folder: str | Path = ".", /, **options: Any) -> Task:
    """The task called `kind`; lists become tuples, files are relative to
    `folder`.

    Raises InputError for an unknown kind or option.

    Example
    -------
    >>> from saddlery import tasks
    >>> tasks.make("orthogonal_relu", targets=[1.0, -0.5])
    OrthogonalReLU(targets=(1.0, -0.5), inputs=0)
    """
    cls = TASKS.named(kind)
    fields = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options:
        known(name, fields, f"option of task {kind!r}")
    for name in cls.FILES:
        if isinstance(options.get(name), str) and options[name]:
            options[name] = str(Path(folder) / options[name])
    try:
        return settle(cls(**{k: _tuples(v) for k, v in options.items()}))
    except TypeError as error:
        raise InputError(
            f"task {kind!r} could not be made from {sorted(options)}: {said(error)}"
        ) from None


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def square(dimension: int, argument: str) -> int:
    """A dimension of at least one in which a task draws and decomposes a
    matrix.

    Raises InputError beyond `WIDEST`, before it does.
    """
    whole(dimension, argument)
    require(
        dimension <= WIDEST,
        argument,
        needed=f"at most {WIDEST:,}, since matrices of that size are drawn",
        given=dimension,
    )
    return dimension


def room(argument: str, *sizes: int) -> int:
    """How many numbers samples of these sizes hold.

    Raises InputError beyond `DRAWN`, before they are made.
    """
    count = math.prod(sizes)
    size = Words(" x ".join(f"{entries:,}" for entries in sizes))
    require(
        count <= DRAWN,
        argument,
        needed=f"such that all samples together hold at most {DRAWN:,} numbers",
        given=size,
    )
    return count


def generator(seed: int, label: str) -> np.random.Generator:
    """A random generator of a task's own, so that data and initial weights
    never share random numbers.

    Raises InputError for a seed that is none.
    """
    return np.random.default_rng([checked_seed(seed), *label.encode()])


def checked_seed(seed: Any) -> int:
    """The whole number of at least 0, however large, that random numbers begin with."""
    number = scalar(seed)
    require(
        isinstance(number, int) and not isinstance(number, bool) and number >= 0,
        "seed",
        needed="a whole number of at least 0",
        given=seed,
    )
    return number


class Normals(Protocol):
    """Whatever draws normal numbers: a generator, or those of several runs
    side by side."""

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray: ...


def orthogonal(rng: Normals, rows: int, columns: int) -> Float[np.ndarray, "... N K"]:
    """Random orthonormal columns (N, K), behind the run axis where what draws
    has one.

        q' q = I

    rows: N.
    columns: K, at most N.

    Cost: a QR decomposition of (N, N) for each run.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks.base import orthogonal
    >>> q = orthogonal(np.random.default_rng(0), 4, 2)
    >>> q.shape, bool(np.allclose(q.T @ q, np.eye(2)))
    ((4, 2), True)
    """
    q = np.linalg.qr(rng.standard_normal((rows, rows)))[0]
    return q[..., :columns]


def whitened(rng: np.random.Generator, samples: int, dimension: int) -> Float[np.ndarray, "N D"]:
    """Random samples (N, D) whose second moments are exactly those of white
    noise.

        mean z z' = I,    and mean z = 0 where N > D

    samples: N, at least D; N = D gives sqrt(D) times a rotation.
    dimension: D.

    Cost: one singular value decomposition.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks.base import whitened
    >>> z = whitened(np.random.default_rng(0), samples=5, dimension=2)
    >>> bool(np.allclose(z.T @ z / 5, np.eye(2))), bool(np.allclose(z.mean(axis=0), 0))
    (True, True)
    """
    z = rng.standard_normal((samples, dimension))
    if samples > dimension:
        z -= z.mean(axis=0)
    u, _, vt = np.linalg.svd(z, full_matrices=False)
    return np.sqrt(samples) * u @ vt
