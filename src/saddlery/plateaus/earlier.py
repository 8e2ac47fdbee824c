"""What was said of the same run before, by this or an earlier version, and where the
verdict is another now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..basis.checks import InputError
from ..doors import schema
from ..doors.door import read_json
from ..saddles.certificates import UNFOUND
from .stage import Stages


def read_stages(path: str | Path) -> dict[str, Any] | None:
    """The content of a stages.json; None where there is none that can be read.

    What is no regular file, such as a pipe, is not looked at.
    """
    if not os.path.isfile(path):
        return None
    try:
        return schema.check_stages(read_json(path), path)
    except InputError:
        return None


def changed_verdicts(before: Mapping[str, Any] | None, found: Stages) -> list[str]:
    """In words, stages whose verdict in an earlier record (see `read_stages`) is another
    than now; none where the record is of another run or has other stages.

    Example
    -------
    >>> from saddlery import certify, train
    >>> found = certify(train("linear"))
    >>> before = {"runs": [found.record()]}
    >>> before["runs"][0]["stages"][2]["certificate"]["verdict"] = "undecided"
    >>> changed_verdicts(before, found)
    ["stage 2 was 'undecided' and is 'minimum' now"]
    """
    runs = before["runs"] if before else []
    own = [run for run in runs if run["identity"] == found.run.experiment.identity]
    if not own or len(own[0]["stages"]) != len(found.stages):
        return []
    changed = []
    pairs = zip(own[0]["stages"], found.stages, strict=True)
    for k, (entry, stage) in enumerate(pairs):
        then = (entry["certificate"] or {}).get("verdict")
        if then is None or stage.certificate is None:
            continue
        now = stage.certificate.verdict
        if _word(then) != _word(now):
            changed.append(f"stage {k} was {then!r} and is {now!r} now")
    return changed


def _word(verdict: Any) -> Any:
    """The verdict, one word for both that were used for none."""
    return UNFOUND[0] if verdict in UNFOUND else verdict
