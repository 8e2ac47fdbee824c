"""python -m saddlery, and the command `saddlery`: a process whose first and last lines no signal
can spoil."""

import signal
import sys


def main() -> int:
    """Run the command line as a process of its own; signals wait until it is ready for them, and no
    longer count in the end."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    from .cli import main as command_line
    from .cli.interrupts import block, end_with_the_command

    end_with_the_command()
    try:
        return command_line()
    finally:
        block()


if __name__ == "__main__":
    sys.exit(main())
