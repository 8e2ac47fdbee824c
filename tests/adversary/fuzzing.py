"""Spoilt inputs put through the command line, one after the other, each in a folder of its own;
what came out is a line of JSON.

An input of kind K and number n is always the same. Outcomes: "sentence" (one line and a code of
misuse), "accepted", "traceback" (an unexpected error, or none of our sentences), "wrong" (what must
be refused was taken, or the other way round).
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tomli_w

from . import mutations as m

SMALL = {
    "name": "small",
    "seed": 1,
    "task": {"kind": "linear_teacher", "singular_values": [1.0, 0.4]},
    "network": {"layers": [{"unit": "linear", "width": 3}]},
    "initialization": {"scale": 1e-2},
    "rule": {"kind": "descent", "learning_rate": 0.1},
    "stop": {"steps": 5, "flow_time": 10.0},
}
TANH = {"kind": "teacher", "unit": "tanh", "count": 2, "inputs": [2], "samples": 8}
BIASED = {"layers": [{"unit": "relu", "width": 3, "bias": True}]}
HEADS = {"layers": [{"unit": "in_context_linear", "width": 2}]}
OTHERS = (
    {**SMALL, "task": TANH, "rule": {"kind": "adam", "learning_rate": 0.01}},
    {**SMALL, "task": {"kind": "orthogonal_relu", "targets": [1.0, -0.5]}, "network": BIASED},
    {
        **SMALL,
        "task": {"kind": "in_context_regression", "eigenvalues": [0.7, 0.3], "length": 5},
        "network": HEADS,
    },
)
BRIEF = [
    "--set",
    "stop.steps=3",
    "--set",
    "stop.flow_time=1.0",
]  # whatever else was changed, the run is short
Outcome = tuple[str, str]


# ------------------------------------------------------------------ one call
def call(arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line."""
    from saddlery.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return code, out.getvalue(), err.getvalue()


def outcome(code: int, err: str, truth: str | None) -> Outcome:
    """What a call came to, held against the truth where it is known."""
    last = err.strip().splitlines()[-1] if err.strip() else ""
    if "Traceback" in err or "unexpected" in last or code not in (0, 1, 2, 3, 5, 130):
        return "traceback", last[:300]
    if code and not (last.startswith("saddlery: ") and len(last) < 700):
        return "traceback", f"code {code} with the words: {last[:300]}"
    if code == 0:
        return ("wrong", "accepted") if truth == m.REFUSE else ("accepted", "")
    return ("wrong", last[:300]) if truth == "accept" else ("sentence", last[:160])


# ------------------------------------------------------------------ kinds of input
def toml(rng: m.Rng, folder: Path) -> Outcome:
    table = m.pick(rng, (SMALL, *OTHERS))
    made, truth = m.pick(rng, m.TABLES)(rng, table)
    try:
        text = tomli_w.dumps(made).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, AttributeError):
        text = b"name = 3"
    if rng.random() < 0.3:
        text, _ = m.pick(rng, m.BYTES)(rng, text)
        truth = None
    (folder / "e.toml").write_bytes(text)
    overridden = made.get("stop") != table["stop"]  # BRIEF would replace what was spoilt
    code, _, err = call(["train", str(folder / "e.toml"), *BRIEF, "--out", str(folder / "run")])
    return outcome(code, err, None if overridden else truth)


def sweep(rng: m.Rng, folder: Path) -> Outcome:
    design = {
        "name": "s",
        "experiment": SMALL,
        "seeds": 2,
        "grid": {"network.layers.0.width": [2, 3]},
        "random": {"draws": 1, "fields": {"initialization.scale": {"log_uniform": [1e-3, 1e-2]}}},
    }
    made, _ = m.pick(rng, m.TABLES)(rng, design)
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        (folder / "s.toml").write_bytes(tomli_w.dumps(made).encode("utf-8", "surrogatepass"))
    if not (folder / "s.toml").exists():
        return "sentence", "no TOML could be made of it"
    code, _, err = call(["sweep", str(folder / "s.toml"), "--plan"])
    return outcome(code, err, None)


def data(rng: m.Rng, folder: Path) -> Outcome:
    table = rng.standard_normal((7, 3)).round(3)
    rows = [["a", "b", "y"], *[[repr(float(x)) for x in row] for row in table]]
    made, truth = m.pick(rng, m.ROWS)(rng, rows)
    content = "".join(",".join(row) + "\n" for row in made).encode()
    name = "d.csv"
    if rng.random() < 0.4:
        name, truth = m.pick(rng, ("d.npy", "d.npz")), None
        np.save(folder / "x.npy", table) if name == "d.npy" else np.savez(
            folder / "x.npz", inputs=table[:, :2], targets=table[:, 2:]
        )
        content, _ = m.pick(rng, m.BYTES)(rng, next(folder.glob("x.*")).read_bytes())
    elif rng.random() < 0.3:
        content, truth = m.pick(rng, m.BYTES)(rng, content)[0], None
    (folder / name).write_bytes(content)
    columns = {} if name == "d.npz" else {"columns": 1}
    e = {**SMALL, "task": {"kind": "arrays", "inputs": name, **columns}}
    (folder / "e.toml").write_text(tomli_w.dumps(e))
    code, _, err = call(["train", str(folder / "e.toml"), *BRIEF, "--out", str(folder / "run")])
    return outcome(code, err, truth)


def stored(kind: str) -> Path:
    return Path(__file__).parent.parent / "fixtures" / "schema-1" / kind


def run_folder(rng: m.Rng, folder: Path) -> Outcome:
    shutil.copytree(stored("runs/linear"), folder / "run")
    spoilt = m.pick(rng, sorted((folder / "run").iterdir()))
    truth = None
    if spoilt.suffix == ".json" and rng.random() < 0.7:
        record = json.loads(spoilt.read_text())
        made, _ = m.pick(rng, (m.another_kind, m.odd_value, m.lost_key))(rng, record)
        spoilt.write_text(json.dumps(made))
    elif spoilt.suffix == ".npz" and rng.random() < 0.6:
        arrays = dict(np.load(spoilt))
        name = m.pick(rng, sorted(arrays))
        change = m.pick(
            rng,
            (
                lambda a: a[:-1],
                lambda a: a * np.nan,
                lambda a: a.astype("U8"),
                lambda a: a[::-1],
                lambda a: a.astype(complex),
                lambda a: a[None],
            ),
        )
        arrays[name] = change(arrays[name])
        np.savez(spoilt, **arrays)
    else:
        spoilt.write_bytes(m.pick(rng, m.BYTES)(rng, spoilt.read_bytes())[0])
    command = m.pick(rng, ("stages", "certify", "report", "compare"))
    code, _, err = call([command, str(folder / "run")])
    return outcome(code, err, truth)


def sweep_folder(rng: m.Rng, folder: Path) -> Outcome:
    shutil.copytree(stored("sweep"), folder / "sweep")
    spoilt = m.pick(rng, sorted(p for p in (folder / "sweep").rglob("*") if p.is_file()))
    if spoilt.suffix == ".json" and rng.random() < 0.7:
        made, _ = m.pick(rng, (m.another_kind, m.odd_value, m.lost_key))(
            rng, json.loads(spoilt.read_text())
        )
        spoilt.write_text(json.dumps(made))
    else:
        spoilt.write_bytes(m.pick(rng, m.BYTES)(rng, spoilt.read_bytes())[0])
    target = str(folder / "sweep")
    command = m.pick(
        rng,
        (
            ["runs", target],
            ["report", target],
            ["stages", f"{target}#1"],
            ["runs", target, "seed = 1", "--out", str(folder / "o.npz")],
        ),
    )
    code, _, err = call(command)
    return outcome(code, err, None)


def filters(rng: m.Rng, folder: Path) -> Outcome:
    from saddlery.sweeps import index

    if rng.random() < 0.5:
        attack = m.pick(rng, m.ATTACKS)
        code, _, err = call(["runs", str(stored("sweep")), attack])
        return outcome(code, err, m.REFUSE)
    text, python = m.condition(rng)
    code, out, err = call(["runs", str(stored("sweep")), text, "--json"])
    found = outcome(code, err, "accept")
    if found[0] != "accepted":
        return found
    table = index(stored("sweep"))
    rows = json.loads(out)
    rows = rows["runs"] if isinstance(rows, dict) else rows
    right = int(python(table).sum())
    return (
        found
        if len(rows) == right
        else ("wrong", f"{len(rows)} rows of {text!r}, pandas has {right}")
    )


def options(rng: m.Rng, folder: Path) -> Outcome:
    commands = [
        "train",
        "stages",
        "certify",
        "predict",
        "runs",
        "report",
        "list",
        "sweep",
        "study",
        "graph",
        "tour",
    ]
    flags = ["--json", "--out", "--seed", "--set", "--engine", "--workers", "--help"]
    words = [
        *commands,
        *flags,
        "linear",
        "relu",
        "x.toml",
        "3",
        "-1",
        "1e9",
        "stop.steps=3",
        "a=b",
        "=",
        "units",
    ]
    words += ["", "\x00", "x" * 300]
    arguments = [m.pick(rng, words) for _ in range(int(rng.integers(1, 6)))]
    costly = {"tour", "study", "sweep"} & set(arguments[:1])
    if costly or (
        arguments[0] in ("train", "stages", "certify", "report", "graph")
        and {"linear", "relu"} & set(arguments[1:2])
    ):
        arguments = ["list", *arguments[1:]]
    with contextlib.chdir(folder):
        code, _, err = call(arguments)
    return outcome(code, err, None)


def changes(rng: m.Rng, folder: Path) -> Outcome:
    """--set with every path and odd values."""
    path = ".".join(map(str, m.pick(rng, m.leaves(SMALL))))
    value = m.pick(
        rng,
        (
            "3",
            "-1",
            "nan",
            "inf",
            "1e400",
            "'x'",
            "[1, 2]",
            "{}",
            "true",
            "9" * 5000,
            "[" * 2000,
            "2024-01-01",
            "",
            "x",
            "'\\u0000'",
        ),
    )
    code, _, err = call(
        ["train", "linear", "--set", f"{path}={value}", *BRIEF, "--out", str(folder / "run")]
    )
    return outcome(code, err, None)


KINDS: dict[str, Callable[[m.Rng, Path], Outcome]] = {
    "toml": toml,
    "sweep": sweep,
    "data": data,
    "run folder": run_folder,
    "sweep folder": sweep_folder,
    "filter": filters,
    "options": options,
    "changes": changes,
}


def one(kind: str, number: int) -> Outcome:
    rng = np.random.default_rng([number, *kind.encode()])
    with tempfile.TemporaryDirectory() as folder:
        try:
            return KINDS[kind](rng, Path(folder))
        except Exception:
            return "traceback", traceback.format_exc()[-400:]


def work() -> None:
    """Numbers come in on stdin, lines of JSON go out: ["begin", n], then ["end", n, outcome,
    words]."""
    out, kind = sys.stdout, sys.argv[2]
    for line in sys.stdin:
        number = int(line)
        out.write(json.dumps(["begin", number]) + "\n")
        out.flush()
        found, words = one(kind, number)
        out.write(json.dumps(["end", number, found, words]) + "\n")
        out.flush()
