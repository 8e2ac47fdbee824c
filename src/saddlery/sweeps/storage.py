"""A sweep on disk: immutable parts of labelled arrays, and one index file a
batch, written last, that says its runs are done.

Layout of a sweep folder, schema version 1:

    sweep.toml            the frozen design (see `design`)
    sweep.json            {"schema": "saddlery-sweep", "version": 1, "identity",
                          "name", "runs", "batch", "fields", "created",
                          "versions", "git"}
    parts/BATCH.zarr.zip  the arrays of one batch of runs, an xarray dataset
                          (Zarr 3 in a zip file)
    index/BATCH.parquet   one row a run of that batch, with the digest of the part;
                          a batch is done when this file is there and the part is
                          the one it names
    failed/BATCH.json     a batch that could not be done:
                          {"batch", "runs", "error", "attempts"}
BATCH is a number of six digits and more, a dash and the sweep's identity.
Every file is written beside its place, flushed to the disk and renamed:
whatever kills a process leaves whole files only. Nothing is ever changed,
so that any number of processes may write into one folder without locks,
also on shared file systems: two that do the same batch write the same
content.

Arrays: dimensions run, point (saved points; beyond a run's own NaN, or -1 of
steps and flags), stage, parameter (NaN beyond a run's own); variables flow_time, loss,
gradient_norm, step (run, point), states (run, stage, parameter) at the
stages and at the end, observable.NAME where asked for. Loss: mean over
samples, squared loss with the half. Index columns: see `rows`.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import subprocess
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..basis.checks import (
    InputError,
    StorageError,
    installed,
    nearest,
    require,
)
from ..basis.echo import shown
from ..doors import schema
from ..doors.door import read_json
from ..doors.outlets import placed, storage_errors, write_text
from ..runs.run import versions
from .design import Sweep, as_written

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

SWEEP_SCHEMA, SWEEP_VERSION = "saddlery-sweep", 1
PACKAGES = ("xarray", "zarr", "pandas", "pyarrow", "duckdb")
FOLDERS = ("parts", "index", "failed")
MOST_DIGITS = 18  # numbers of batches have fewer digits than this: they fit into 64 bits
NO_BATCH = 10**MOST_DIGITS  # beyond all numbers of batches
COPY = "copy the folder again"
REPEAT = f"remove it and {schema.AGAIN_BATCH}"
ABANDONED = 86_400.0  # seconds after which a half-written file belongs to nobody


def create(
    sweep: Sweep,
    folder: str | Path,
    *,
    resume: bool = False,
) -> Sweep:
    """Freeze a sweep in a new folder, or find the same one there.

    Returns it as frozen, on the data files of `sweep`.

    The same sweep may be on data that were moved since: their digest
    decides. Raises InputError where another sweep or something else is
    there, or the same one unless `resume`.
    """
    installed(PACKAGES, "a sweep", "sweeps")
    target = Path(folder)
    if os.path.exists(target / "sweep.json"):
        return _found(sweep, target, resume)
    frozen = sweep.pinned()
    _refuse_strangers(target, frozen)
    with storage_errors(target):
        for name in FOLDERS:
            (target / name).mkdir(parents=True, exist_ok=True)
    write_text(target / "sweep.toml", frozen.to_toml())
    write_text(
        target / "sweep.json",
        json.dumps(_record_of(frozen), indent=1),
    )
    return frozen


def _found(sweep: Sweep, target: Path, resume: bool) -> Sweep:
    """The sweep of a folder, if it is this one."""
    frozen = design_of(target, imports=sweep.imports)
    here = sweep.experiment.found(target)
    pinned = sweep.on(here.task).pinned()
    if _determined(pinned) != _determined(frozen):
        first = differences(frozen.table(), pinned.table())[:3]
        differs = "".join(f", {words}" for words in first)
        raise InputError(
            f"{target} holds another sweep, {frozen.name!r}{differs}; choose another --out",
        )
    require(
        resume,
        argument=f"{target}",
        needed="a new folder",
        given=f"the same sweep, {kept(target):,} of its {len(sweep):,} runs done",
        remedy="give --resume to go on with it",
    )
    sweep_up(target)
    return frozen.on(pinned.experiment.task)


def _determined(sweep: Sweep) -> str:
    return sweep.hashed(sweep.experiment.determining())


def _refuse_strangers(target: Path, frozen: Sweep) -> None:
    """Raise StorageError where something is there that creating this sweep
    does not leave when it is killed."""
    if not os.path.exists(target):
        return
    if not target.is_dir():
        raise StorageError(
            f"{target} is no folder, and a sweep needs one; choose another --out",
        )
    if not all(_is_beginning(path, frozen) for path in target.iterdir()):
        raise StorageError(
            f"{target} exists already and is not a sweep; choose another --out",
        )


def _is_beginning(path: Path, frozen: Sweep) -> bool:
    """Whether it is an empty folder of a sweep, the design of this one, or
    a file that was not renamed yet."""
    if path.name in FOLDERS:
        return path.is_dir() and not any(path.iterdir())
    if path.name == "sweep.toml":
        return path.is_file() and path.read_bytes() == frozen.to_toml().encode()
    return path.name.startswith(".sweep.")


def _record_of(frozen: Sweep) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    return {
        "schema": SWEEP_SCHEMA,
        "version": SWEEP_VERSION,
        "identity": frozen.identity,
        "name": frozen.name,
        "runs": len(frozen),
        "batch": frozen.batch,
        "fields": list(frozen.fields),
        "created": now.isoformat(timespec="seconds"),
        "versions": dict(versions()),
        "git": git_state(),
    }


def design_of(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    imports: Sequence[str] = (),
) -> Sweep:
    """The frozen design of a sweep's folder, its data files where they are
    now.

    data: where they are; without it they are looked for near the folder
    (see `store.load_run`). imports: modules that may be imported for it; a
    folder may be a stranger's, and reading it runs no code.

    Raises InputError where it is no sweep, its design was changed, or it
    needs modules that are not granted.
    """
    record = read_record(folder)
    design = Path(folder) / "sweep.toml"
    if not design.exists():
        raise InputError(
            f"{design} is missing, as in a folder that is half copied; copy the folder again",
        )
    frozen = as_written(design, imports)
    if record["identity"] not in (frozen.identity, *frozen.former_identities):
        raise InputError(
            f"{design} is not the design this folder was made for; restore it",
        )
    designed = {
        "runs": len(frozen),
        "batch": frozen.batch,
        "fields": list(frozen.fields),
    }
    for name, value in designed.items():
        if record[name] != value:
            words = f"{name} is {shown(record[name])}, and the design has {shown(value)}"
            raise schema.damaged(Path(folder) / "sweep.json", words, COPY)
    # Its batches are named by it, whichever version made them.
    vars(frozen)["identity"] = record["identity"]
    found = frozen.experiment.found(folder, data=data)
    return frozen.on(found.task)


def differences(there: Any, here: Any, path: str = "") -> list[str]:
    """In words, where two tables of designs differ in what determines
    results.

    Example
    -------
    >>> from saddlery.sweeps.storage import differences
    >>> differences({"seeds": 2, "stop": {"loss": 0.1}}, {"seeds": 2, "stop": {}})
    ['stop.loss = 0.1 there and None here']
    """
    if not (isinstance(there, Mapping) and isinstance(here, Mapping)):
        if there == here:
            return []
        return [f"{path} = {there!r} there and {here!r} here"]
    found = []
    for key in {**there, **here}:
        if key in ("name", "description", "slurm"):
            continue
        inner = f"{path}.{key}" if path else key
        found += differences(there.get(key), here.get(key), inner)
    return found


def git_state() -> dict[str, object] | None:
    """The commit of the folder one works in, and whether it has changes;
    None where git is not used."""
    try:
        return {
            "commit": _git("rev-parse", "HEAD").decode("ascii"),
            "changed": bool(_git("status", "--porcelain")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> bytes:
    answer = subprocess.run(
        ["git", *words],
        capture_output=True,
        timeout=10,
        check=True,
    )
    return answer.stdout.strip()


def read_record(folder: str | Path) -> dict[str, Any]:
    """sweep.json of a folder.

    Raises InputError where it is no sweep, or one of another version of the
    schema.
    """
    path = Path(folder) / "sweep.json"
    if not os.path.isfile(path):  # also of names that no file can have
        raise InputError(_no_record(Path(folder)))
    with schema.as_damaged(path, COPY):
        record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SWEEP_SCHEMA:
        raise InputError(f"{path}: not the record of a saddlery sweep")
    version = record.get("version")
    if version != SWEEP_VERSION:
        raise InputError(
            f"{path}: written in version {shown(version)} of the format,"
            f" this saddlery reads version {SWEEP_VERSION}; install the matching saddlery"
        )
    return schema.check(record, schema.SWEEP_RECORD, path, COPY)


def _no_record(folder: Path) -> str:
    if not os.path.isdir(folder):
        beside = nearest(
            folder.name,
            [path.name for path in folder.parent.glob("*/")],
        )
        remedy = "check the path"
        if beside:
            remedy = f"did you mean {folder.parent / beside}?"
        return f"there is no folder {folder}; {remedy}"
    if any((folder / name).is_dir() for name in FOLDERS):
        return (
            f"{folder}: a sweep without its sweep.json, copied in part;"
            " copy it again, sweep.json and sweep.toml with it"
        )
    return (
        f"{folder}: not a sweep folder, there is no sweep.json in it;"
        " name a folder that saddlery sweep wrote"
    )


# --------------------------------------------------------------------- batches
def batch_name(sweep_identity: str, batch: int) -> str:
    return f"{batch:06d}-{sweep_identity}"


def is_done(folder: Path, sweep: Sweep, batch: int) -> bool:
    """Whether a batch is finished.

    Its index is there and whole, and its part is the one that the index
    names.

    Cost: reading both, a few milliseconds, where they are there.
    """
    name = batch_name(sweep.identity, batch)
    place = folder / "index" / f"{name}.parquet"
    if not place.is_file():
        return False
    runs = sweep.numbers(batch)
    try:
        rows = rows_of(place, runs, sweep.fields, sweep.identity)
        check_part(folder / "parts" / f"{name}.zarr.zip", rows)
    except InputError:
        return False
    return True


def rows_of(
    path: Path,
    runs: range,
    fields: Sequence[str],
    identity: str,
) -> pd.DataFrame:
    """The rows of one batch, checked.

    Raises InputError where the file is missing or damaged.
    """
    try:
        return schema.read_rows(path, runs, fields, identity)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {schema.AGAIN_BATCH}") from None


def check_part(path: Path, rows: pd.DataFrame) -> None:
    """Raise InputError unless the part is the one that its rows name.

    For folders of older versions, unless it is whole.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; {schema.AGAIN_BATCH}")
    try:
        found = digest(path)
    except Exception as error:  # zipfile and zlib have a dozen kinds for a damaged file
        raise schema.damaged(path, error, REPEAT) from None
    if "digest" in rows and any(found != named for named in rows["digest"]):
        words = "not the numbers that its index names"
        raise schema.damaged(path, words, REPEAT)


def digest(path: Path) -> str:
    """SHA-256 of the names and the content of a part's entries, its first
    32 hexadecimal digits.

    Not of the file: a zip file holds the minute in which it was written,
    and two processes that do the same batch write the same content. Reading
    an entry compares its check sum.

    Raises zipfile's errors, and ValueError for entries that unpack to more
    than the file, since those of a part are stored as they are.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > path.stat().st_size:
            raise ValueError("entries that unpack to more than the file")
        content = [
            (
                entry.filename,
                hashlib.sha256(archive.read(entry)).digest(),
            )
            for entry in entries
        ]
    hashed = hashlib.sha256()
    for name, inside in sorted(content):
        hashed.update(name.encode() + b"\0" + inside)
    return hashed.hexdigest()[:32]


def kept(folder: str | Path) -> int:
    """How many runs of a folder are done, from the names and sizes of its
    batches alone; 0 where it is no sweep yet."""
    if not os.path.exists(Path(folder) / "sweep.json"):
        return 0
    record = read_record(folder)
    runs, size = record["runs"], record["batch"]
    done = set()
    for path in finished(folder, "index"):
        number = number_of(path)
        if number is not None:
            done.add(number)
    # The last batch may be a small one, and numbers beyond it are no batches.
    return sum(max(min(size, runs - k * size), 0) for k in done)


def finished(folder: str | Path, kind: str) -> list[Path]:
    """The whole files of a kind, in the order of their batches; those that
    are of none come last."""

    def place(path: Path) -> tuple[int, str]:
        number = number_of(path)
        return NO_BATCH if number is None else number, path.name

    # Those that a killed process was still writing begin with a dot.
    return sorted(Path(folder, kind).glob("[0-9]*"), key=place)


def number_of(path: Path) -> int | None:
    """The number of the batch that a file is named by; None for other names.

    Example
    -------
    >>> from pathlib import Path
    >>> from saddlery.sweeps.storage import number_of
    >>> number_of(Path("index/000003-0123456789ab.parquet")), number_of(Path("3rd.parquet"))
    (3, None)
    """
    number = path.name.partition("-")[0]
    if not number.isdecimal() or len(number) >= MOST_DIGITS:
        return None
    return int(number)


def sweep_up(folder: Path) -> None:
    """Remove what processes that were killed long ago had begun to write."""
    for path in (*folder.glob("*/.[0-9]*"), *folder.glob(".sweep.*")):
        with contextlib.suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if age > ABANDONED:
                path.unlink()


def write_batch(
    folder: Path,
    name: str,
    arrays: xr.Dataset,
    rows: pd.DataFrame,
) -> None:
    """The part, then the index that says it is there, and what its numbers are."""
    with placed(folder / "parts" / f"{name}.zarr.zip") as staging:
        _write_zarr(arrays, staging)
        rows = rows.assign(digest=digest(staging))
    with placed(folder / "index" / f"{name}.parquet") as staging:
        rows.to_parquet(staging, index=False, write_page_checksum=True)
    with contextlib.suppress(FileNotFoundError):
        (folder / "failed" / f"{name}.json").unlink()


def _write_zarr(arrays: xr.Dataset, path: Path) -> None:
    import warnings

    from zarr.storage import ZipStore

    store = ZipStore(path, mode="w")
    try:
        with warnings.catch_warnings():
            # The string type of Zarr 3 is young; the file says which one it is.
            warnings.simplefilter("ignore")
            arrays.to_zarr(
                store,
                mode="w",
                consolidated=False,
                zarr_format=3,
            )
    finally:
        store.close()


def write_failure(
    folder: Path,
    name: str,
    entry: Mapping[str, Any],
) -> None:
    """What a batch failed of; never the end of a sweep."""
    (folder / "failed").mkdir(exist_ok=True)
    write_text(
        folder / "failed" / f"{name}.json",
        json.dumps(entry, indent=1),
    )


def failures(folder: str | Path) -> list[dict[str, Any]]:
    """The batches that could not be done."""
    return [_failure(path) for path in finished(folder, "failed")]


def _failure(path: Path) -> dict[str, Any]:
    remedy = "remove it, and --resume tries its batch again"
    with schema.as_damaged(path, remedy):
        return schema.check(read_json(path), schema.FAILURE, path, remedy)
