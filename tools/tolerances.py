"""Every tolerance that decides what is said of a run, on one page: docs/tolerances.md is made of the code.

python tools/tolerances.py            whether the page is up to date (exit code 1 where not)
python tools/tolerances.py --write    brings it up to date
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

import saddlery
from saddlery.basis.tolerances import RECORDS, shown

PAGE = Path(__file__).parent.parent / "docs" / "tolerances.md"
HEAD = """# Tolerances

Every number that decides what is said of a run: what is compared with it, and where it comes from. *Measured* ones were set by
runs whose answer is known, *bounds* follow from the arithmetic, *derived* ones from the theory, and *judgements* are
somebody's choice that another could make otherwise. This page is made of the code (`tools/tolerances.py --write`).

Other values hold inside a `using` block, for every verb within it:

    from saddlery import certify, train
    from saddlery.basis.tolerances import using
    from saddlery.saddles import BehindTolerances

    with using(BehindTolerances(weights=0.1)):
        certified = certify(train("linear"))

and on the command line by `--tolerance behind.weights=0.1`, as often as needed. Stages that were found or certified with
others than the defaults say so, in their table and in their record (`tolerances`).
"""


def page() -> str:
    """The text of the page."""
    for module in pkgutil.walk_packages(saddlery.__path__, "saddlery."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return "\n".join([HEAD, *(section(record) for _, record in sorted(RECORDS.items()))])


def section(record: type[Any]) -> str:
    """One decision: its sentence, and a row a tolerance."""
    sentences = " ".join((record.__doc__ or "").split())
    rows = [
        f"| `{field.name}` | {shown(field.default)} | {field.metadata['meaning']} | {field.metadata['origin']} |"
        for field in dataclasses.fields(record)
    ]
    title = f"## {record.decides}\n{sentences} `{record.__module__}.{record.__name__}`\n"
    return "\n".join(
        [title, "| name | value | compared with it | origin |", "|---|---|---|---|", *rows, ""]
    )


def main() -> int:
    if "--write" in sys.argv:
        PAGE.write_text(page(), "utf-8")
        return 0
    if PAGE.read_text("utf-8") == page():
        return 0
    print(f"{PAGE.name} is not that of the code; run: python tools/tolerances.py --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())
