"""Random problems over all units, trained, certified and held against brute force: no verdict may
be refuted.

    python benchmarks/adversary.py [COUNT [FIRST]]      (28 problems from number 0 by default)

The same number is the same problem. Prints the share of every verdict, also of "no fixed point
found" and "undecided", and each refutation with its number. Exit code 1 where there is one.
Problems of one unit and one shape are taken together, 28 at most, in a process of their own: they
share programs, and a crash is one line of the list.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from common import kept_programs

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from adversary.problems import Problem  # noqa: E402 (from the tests' folder)

TOGETHER = 28
WORK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax
jax.config.update("jax_enable_x64", True)
from adversary.judge import Tally, judged
tally = Tally()
for number in sys.argv[2:]:
    judged(int(number), tally)
print(json.dumps([dict(tally.verdicts), tally.refuted, tally.failed]))
"""


def main() -> int:
    count, first = (int(text) for text in (sys.argv[1:] + ["28", "0"][len(sys.argv) - 1 :]))
    verdicts: dict[str, int] = {}
    refuted: list[str] = []
    failed: list[str] = []
    begin = time.perf_counter()
    judged = 0
    for numbers in together(range(first, first + count)):
        command = [sys.executable, "-c", WORK, str(TESTS), *map(str, numbers)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**kept_programs(), **os.environ}
        )
        judged += len(numbers)
        if done.returncode:
            refuted.append(
                f"{numbers}: the process ended with {done.returncode}: {done.stderr[-300:]}"
            )
            print(refuted[-1], flush=True)
            continue
        found, more, said = json.loads(done.stdout.splitlines()[-1])
        for name, number in found.items():
            verdicts[name] = verdicts.get(name, 0) + number
        refuted += more
        print(*more, sep="\n", end="\n" * bool(more))
        failed += said
        print(
            (
                f"{judged} problems, {time.perf_counter() - begin:.0f} s: {verdicts}, "
                f"{len(refuted)} refuted"
            ),
            flush=True,
        )
    print("\n".join(f"failed {words}" for words in failed))
    return 1 if refuted else 0


def together(numbers: range) -> Iterator[list[int]]:
    """The numbers of problems that share compiled programs, TOGETHER at most."""
    alike = lambda number: Problem(number).alike
    for _, group in itertools.groupby(sorted(numbers, key=alike), alike):
        same = list(group)
        yield from (same[begin : begin + TOGETHER] for begin in range(0, len(same), TOGETHER))


if __name__ == "__main__":
    sys.exit(main())
