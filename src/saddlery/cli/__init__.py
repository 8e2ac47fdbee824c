"""The command line: parse, typed configuration, call, record. Data to stdout, talk and progress to stderr.

Exit codes: 0 done; 1 a numerical failure (a diverging run); 2 misuse or bad input; 3 storage (cannot be written);
4 an unexpected error; 130 interrupted by the keyboard (what was finished is saved).
"""

from __future__ import annotations

import os
import sys

from .parser import parse

CODES = {"numerical": 1, "input": 2, "storage": 3, "unexpected": 4, "interrupted": 130}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices: more threads only contend
    options = parse(sys.argv[1:] if arguments is None else arguments)
    from ..checks import InputError, NumericalError, StorageError
    from . import commands

    try:
        code = commands.COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except NumericalError as error:
        return _fail(error, "numerical")
    except InputError as error:
        return _fail(error, "input")
    except StorageError as error:
        return _fail(error, "storage")
    except KeyboardInterrupt:
        return _fail("interrupted; what was finished before is saved and readable", "interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("SADDLERY_TRACEBACK"):
            raise
        return _fail(f"unexpected {type(error).__name__}: {error}; set SADDLERY_TRACEBACK=1 to see where", "unexpected")


def _fail(error: object, kind: str) -> int:
    sys.stderr.write(f"saddlery: {error}\n")
    return CODES[kind]
