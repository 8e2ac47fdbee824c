"""The exit codes: one table for the code, --help and the documents. Imports
nothing."""

from __future__ import annotations

DONE, NUMERICAL, INPUT, STORAGE, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 4, 130

CODES = {
    DONE: "done",
    NUMERICAL: "numerical failure, such as a diverging run",
    INPUT: "misuse or bad input: a name, an option, a file, a damaged run",
    STORAGE: "storage: the output exists already or cannot be written",
    UNEXPECTED: "unexpected error; SADDLERY_TRACEBACK=1 shows where",
    INTERRUPTED: "interrupted by Ctrl-C or SIGTERM; what was finished is saved",
}


def table() -> str:
    """The codes as --help shows them."""
    return "exit codes:\n" + "\n".join(f"  {code:<4} {words}" for code, words in CODES.items())
