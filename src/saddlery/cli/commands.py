"""The commands. Each parses nothing, holds no mathematics, and returns an exit code."""

from __future__ import annotations

import json
import sys
import tomllib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..checks import InputError
from ..records import plain, text_table
from .progress import progress

INTERRUPTED = 130


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")


def _show(options: Namespace, record: Any, text: str) -> None:
    sys.stdout.write((json.dumps(plain(record), indent=1) if options.json else text) + "\n")


# -------------------------------------------------------------------- train
def train(options: Namespace) -> int:
    from ..experiments import find, from_table
    from ..store import refuse_existing, save_run

    experiment = find(options.experiment)
    if options.changes:
        experiment = from_table(changed(experiment.table(), options.changes))
    if options.seed is not None:
        experiment = experiment.replace(seed=options.seed)
    out = Path(options.out or f"runs/{experiment.name}-seed{experiment.seed}-{experiment.identity}")
    refuse_existing(out)
    _writable(out)
    run = _trained(experiment)
    save_run(run, out)
    _say(f"saved in {out}")
    record = {
        "experiment": experiment.name,
        "identity": experiment.identity,
        "seed": experiment.seed,
        "folder": str(out),
        "status": run.trajectory.status,
        "reason": run.trajectory.reason,
        "final_loss": run.final_loss,
        "steps": int(run.trajectory.step[-1]),
        "wall_seconds": run.wall_seconds,
        "warnings": list(run.warnings),
    }
    _show(options, record, repr(run))
    return INTERRUPTED if run.trajectory.status == "interrupted" else 0


def _can_draw() -> None:
    """Find out before training, not after it, whether matplotlib is installed."""
    from ..plots import new_axes

    new_axes()


def _trained(experiment: Any) -> Any:
    from ..runs import train as run_experiment

    with progress(f"train {experiment.name}") as report:
        return run_experiment(experiment, progress=lambda fraction, loss: report(fraction, f"train, loss {loss:.3g}"))


def _writable(out: Path) -> None:
    """Find out before a long run, not after it."""
    from ..store import storage_errors

    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.parent / f".{out.name}-probe"
        probe.write_text("")
        probe.unlink()


def changed(table: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The table with dotted entries replaced: "network.layers.0.width=20"."""
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set needs KEY=VALUE, for example --set initialization.scale=1e-5, got {change!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *parents, last = path.strip().split(".")
        place: Any = table
        for key in parents:
            place = _entry(place, key, path)
        if isinstance(place, list):
            raise InputError(f"--set {path}: entry {last!r} of a list cannot be replaced whole; name a key in it")
        if last == "kind" and place.get(last) != value:
            place.clear()  # the options of the old kind do not fit the new one
        place[last] = value
    return table


def _entry(place: Any, key: str, path: str) -> Any:
    try:
        return place[int(key)] if isinstance(place, list) else place[key]
    except (KeyError, ValueError, IndexError, TypeError):
        have = (
            ", ".join(place)
            if isinstance(place, dict)
            else f"0 to {len(place) - 1}"
            if isinstance(place, list)
            else "nothing"
        )
        raise InputError(f"--set {path}: there is no {key!r} here; choose one of {have}") from None


# ---------------------------------------------------------- stages, certify, report
def _run_of(options: Namespace) -> Any:
    """A stored run, or an experiment trained now."""
    from ..experiments import find
    from ..store import load_run

    if Path(options.run).is_dir():
        run = load_run(options.run)
        if options.seed not in (None, run.experiment.seed):
            raise InputError(
                f"{options.run} was trained with seed {run.experiment.seed}, got --seed {options.seed};"
                " leave it out, or name an experiment to train"
            )
        return run
    try:
        experiment = find(options.run)
    except InputError as error:
        raise InputError(f"RUN must be a run folder or an experiment: {error}") from None
    run = _trained(experiment if options.seed is None else experiment.replace(seed=options.seed))
    if run.trajectory.status == "interrupted":
        raise KeyboardInterrupt
    return run


def _certified(run: Any) -> Any:
    from ..stage import certify as certify_run

    with progress(f"certify {run.experiment.name}") as report:
        return certify_run(run, progress=lambda fraction, kind: report(fraction, f"certify, {kind}"))


def _write_record(options: Namespace, found: Any, default: Path | None) -> None:
    from ..store import write_text

    target = Path(options.out) if options.out else default
    if target is not None:
        write_text(target, json.dumps(plain({"runs": [found.record()]}), indent=1))
        _say(f"record in {target}")


def stages(options: Namespace) -> int:
    from ..stage import stages as find_stages

    found = find_stages(_run_of(options))
    _write_record(options, found, None)
    _show(options, {"runs": [found.record()]}, repr(found))
    return 0


def certify(options: Namespace) -> int:
    found = _certified(_run_of(options))
    folder = Path(options.run)
    _write_record(options, found, folder / "stages.json" if folder.is_dir() else None)
    reasons = "\n".join(f"{s.kind}: {s.certificate.reason}" for s in found.stages)
    _show(options, {"runs": [found.record()]}, f"{found!r}\n\n{reasons}")
    return 0


def report(options: Namespace) -> int:
    from ..report import write_report

    folder = Path(options.run)
    target = (
        Path(options.out) if options.out else folder / "report.html" if folder.is_dir() else Path(f"{folder.stem}.html")
    )
    _writable(target)
    _can_draw()
    found = _certified(_run_of(options))
    write_report(found, target)
    _show(options, {"report": str(target)}, str(target))
    return 0


# --------------------------------------------------------------- tour, list
def tour(options: Namespace) -> int:
    from .. import tour as tours

    out = tours.prepare(options.out or "tour")
    _writable(out)
    _can_draw()
    with progress("tour") as show:
        runs = tours.tour(out, seed=options.seed, progress=show)
    _say(f"page in {out / 'index.html'}, record in {out / 'summary.json'}")
    _show(options, tours.summary(runs), tours.table(runs))
    return 0


def listing(options: Namespace) -> int:
    if options.seed is not None:
        raise InputError("--seed has no meaning for list; leave it out")
    rows = LISTS[options.kind]()
    text = text_table((options.kind.removesuffix("s"), ""), rows)
    if options.out:
        from ..store import write_text

        write_text(options.out, text + "\n")
    _show(options, [{"name": name, "description": words} for name, words in rows], text)
    return 0


def _units() -> list[tuple[str, str]]:
    from .. import units

    return [(name, _properties(units.make(name))) for name in units.names()]


def _properties(unit: Any) -> str:
    s = unit.symmetry
    words = [
        "linear in u" if s.linear else f"homogeneous ({s.homogeneous})" if s.homogeneous else "",
        f"degree {s.degree}" if s.degree else "no silent point",
    ]
    return ", ".join(w for w in words if w)


def _first_lines(classes: dict[str, type]) -> list[tuple[str, str]]:
    return [(name, (cls.__doc__ or "").strip().splitlines()[0]) for name, cls in sorted(classes.items())]


def _tasks() -> list[tuple[str, str]]:
    from ..tasks import TASKS

    return _first_lines(TASKS)


def _rules() -> list[tuple[str, str]]:
    from ..rules import RULES

    return _first_lines(RULES)


def _experiments() -> list[tuple[str, str]]:
    folder = Path(__file__).parent.parent / "catalog"
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))]
    return [(table["name"], table["description"]) for table in tables]


LISTS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "units": _units,
    "tasks": _tasks,
    "rules": _rules,
    "experiments": _experiments,
}
COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "tour": tour,
    "train": train,
    "stages": stages,
    "certify": certify,
    "report": report,
    "list": listing,
}
