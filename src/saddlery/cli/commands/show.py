"""`saddlery show`: the file of a shipped experiment."""

from __future__ import annotations

from argparse import Namespace

from ..arguments import add_shipped
from ..codes import DONE
from ..command import Command


def show(options: Namespace) -> int:
    """Print the TOML of a shipped experiment; with --json the table that it
    holds."""
    from .. import shipped
    from ..outputs import out_to_write, write_words
    from ..outputs import show as print_result

    text = shipped.text_of(options.name).rstrip("\n")
    table = shipped.table_of(options.name)
    write_words(options, table, text, out_to_write(options), "experiment")
    print_result(options, table, text)
    return DONE


COMMAND = Command(
    name="show",
    help="print the TOML file of a shipped experiment",
    example="saddlery show relu",
    function=show,
    options=add_shipped,
    out="also write it to this file (as JSON with --json); to begin one of your own: saddlery new",
    seed="refused, since nothing is drawn",
    refusal="--seed has no meaning for show, which is not random; leave it out",
)
