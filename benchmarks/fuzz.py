"""Spoilt inputs of every kind through the command line: sentences, tracebacks, hangs, memory and
wrong acceptances are counted.

    python benchmarks/fuzz.py [COUNT [FIRST [KIND ...]]]      (50 of each kind from number 0 by default)

Kinds: toml, sweep, data, run folder, sweep folder, filter, options, changes, environment. The same
number is the same input. An input that takes more than 20 seconds, or 2 GB of memory, ends its
process and counts as a hang or as memory. Exit code 1 where anything but a sentence or a right
acceptance came out.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from common import kept_programs

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))
SECONDS, BYTES = 20.0, 2 * 1024**3
WORK = "import sys; sys.path.insert(0, sys.argv[1]); from adversary.fuzzing import work; work()"
BAD = ("traceback", "hang", "memory", "wrong", "crash")
VARIABLES = {
    "PYTHONIOENCODING": ("ascii", "cp1252", "utf-16"),
    "LANG": ("C", "tr_TR.UTF-8", "xx"),
    "COLUMNS": ("1", "0", "-3", "x"),
    "TERM": ("dumb", "", "xterm"),
    "HOME": ("/nonexistent", ""),
    "TMPDIR": ("/nonexistent", ""),
    "JAX_PLATFORMS": ("cpu", "cuda", "tpu", "x"),
    "JAX_ENABLE_X64": ("1", "0", "x"),
    "JAX_NUMPY_DTYPE_PROMOTION": ("strict", "standard"),
    "JAX_TRANSFER_GUARD": ("disallow", "log"),
    "JAX_DEBUG_NANS": ("1",),
    "JAX_DISABLE_JIT": ("0",),
    "SADDLERY_DEBUG": ("1",),
    "PYTHONOPTIMIZE": ("2",),
    "MPLBACKEND": ("Agg", "nonsense"),
    "OMP_NUM_THREADS": ("0", "x", "64"),
}


class Worker:
    """A process that takes numbers of one kind; ended and begun again where an input hangs or takes
    too much."""

    def __init__(self, kind: str) -> None:
        command, pipe = [sys.executable, "-c", WORK, str(TESTS), kind], subprocess.PIPE
        environment = {**kept_programs(), **os.environ}
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def ask(self, number: int) -> tuple[str, str]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        begin: float | None = None
        while True:
            try:
                line = self.lines.get(timeout=0.25)
            except queue.Empty:
                line = None
            if line == "":
                return "crash", f"the process ended with {self.process.wait()}"
            if line is not None:
                entry = json.loads(line)
                if entry[0] == "end":
                    return entry[2], entry[3]
                begin = time.perf_counter()
            if begin is not None and time.perf_counter() - begin > SECONDS:
                return "hang", f"more than {SECONDS:g} s"
            if resident(self.process.pid) > BYTES:
                return "memory", f"more than {BYTES >> 30} GB"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def resident(pid: int) -> int:
    """Bytes in memory; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def fuzz(kind: str, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Outcomes of `count` inputs of a kind, and every bad one in words."""
    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    worker = Worker(kind)
    for number in range(first, first + count):
        found, words = worker.ask(number)
        outcomes[found] += 1
        if found in BAD:
            bad.append(f"{kind} {number}: {found}: {words}")
            print(bad[-1], flush=True)
        if found in ("hang", "memory", "crash"):
            worker.end()
            worker = Worker(kind)
    worker.end()
    return outcomes, bad


def fuzz_environment(first: int, count: int) -> tuple[Counter[str], list[str]]:
    """A short run in a process of its own, with odd variables and some of its streams closed."""
    import numpy as np

    from adversary.fuzzing import BRIEF, outcome

    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    for number in range(first, first + count):
        rng = np.random.default_rng([number, 99])
        names = rng.choice(sorted(VARIABLES), size=int(rng.integers(1, 5)), replace=False)
        changed = {str(name): str(rng.choice(VARIABLES[name])) for name in names}
        closed = str(rng.choice(["", "", "2>&-", ">&-", ">&- 2>&-", "<&-"]))
        with tempfile.TemporaryDirectory() as folder:
            words = [
                sys.executable,
                "-m",
                "saddlery",
                "train",
                "linear",
                *BRIEF,
                "--out",
                f"{folder}/run",
            ]
            command = " ".join(f"'{word}'" for word in words) + f" {closed}"
            try:
                done = subprocess.run(
                    ["bash", "-c", command],
                    env={**kept_programs(), **os.environ, **changed},
                    capture_output=True,
                    timeout=3 * SECONDS,
                )
                err = done.stderr.decode(changed.get("PYTHONIOENCODING", "utf-8"), errors="replace")
                unheard = "2>&-" in closed and done.returncode and not err
                found, said = outcome(
                    done.returncode, "saddlery: (to nobody)" if unheard else err, None
                )
            except subprocess.TimeoutExpired:
                found, said = "hang", f"more than {3 * SECONDS:g} s"
            if found == "accepted" and not Path(folder, "run", "record.json").exists():
                found, said = "wrong", "done, but nothing was saved"
        outcomes[found] += 1
        if found in BAD:
            bad.append(f"environment {number} {changed} {closed}: {found}: {said}")
            print(bad[-1], flush=True)
    return outcomes, bad


def main() -> int:
    from adversary.fuzzing import KINDS

    count, first = (int(text) for text in (sys.argv[1:3] + ["50", "0"][len(sys.argv[1:3]) :]))
    kinds = sys.argv[3:] or [*KINDS, "environment"]
    begin, total, worst = time.perf_counter(), 0, 0
    for kind in kinds:
        outcomes, bad = (
            fuzz_environment(first, count) if kind == "environment" else fuzz(kind, first, count)
        )
        total, worst = total + count, worst + len(bad)
        print(
            f"{kind}: {', '.join(f'{n} {name}' for name, n in outcomes.most_common())}", flush=True
        )
    seconds = time.perf_counter() - begin
    print(f"{total} inputs in {seconds:.0f} s, {3600 * total / seconds:,.0f} an hour; {worst} bad")
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
