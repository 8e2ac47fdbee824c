"""`saddlery new`: an experiment of one's own, begun with a shipped one."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from ..arguments import add_shipped
from ..codes import DONE
from ..command import Command

if TYPE_CHECKING:
    from pathlib import Path


def new(options: Namespace) -> int:
    """Copy the TOML of a shipped experiment to a file that is not there
    yet."""
    from pathlib import Path
    from shlex import join

    from ...doors.outlets import write_text
    from .. import shipped
    from ..outputs import as_word, say, show

    text = shipped.text_of(options.name)
    target = _unused(Path(options.out or f"{options.name}.toml"))
    write_text(target, text)
    say(f"{target} is yours: change it, then {join(['saddlery', 'train', as_word(target)])}")
    show(options, {"experiment": options.name, "file": str(target)}, str(target))
    return DONE


def _unused(target: Path) -> Path:
    """The path, if a new experiment may be written there."""
    from ...basis.checks import StorageError, require
    from ..outputs import file_to_write

    file_to_write(target)
    if os.path.lexists(target):
        raise StorageError(f"{target} exists already and is not replaced; choose another --out")
    ending = target.suffix.lower() == ".toml"
    require(ending, "--out", "a file that ends in .toml, as an experiment does", str(target))
    return target


COMMAND = Command(
    name="new",
    help="begin an experiment of your own: copy the TOML file of a shipped one",
    example="saddlery new relu --out mine.toml",
    function=new,
    options=add_shipped,
    out="the file (default: NAME.toml here); must not exist",
    seed="refused, since nothing is drawn",
    refusal="nothing is drawn here; give --seed to train, or change seed in the file",
)
