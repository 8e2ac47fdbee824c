"""`saddlery study`: the claims of studies, measured and judged."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...basis.interruptions import endable, finishing
from ..arguments import add_engine, add_imports, given
from ..codes import DONE
from ..command import Command

if TYPE_CHECKING:
    from pathlib import Path

    from ...studies import Study


def _options(parser: ArgumentParser) -> None:
    words = "its name (saddlery list studies)"
    parser.add_argument("study", metavar="STUDY", nargs="?", type=given, help=words)
    parser.add_argument("--all", action="store_true", help="every study")
    words = "the full number of seeds, not that of a minute or two"
    parser.add_argument("--full", action="store_true", help=words)
    add_imports(parser)
    add_engine(parser)


@finishing
def study(options: Namespace) -> int:
    """Measure and judge the claims of one study or of all."""
    from pathlib import Path

    from ...basis.checks import InputError
    from ...doors.outlets import write_text
    from ...report.studies import studies_page
    from ...studies import STUDIES, write_claims
    from ..outputs import place_to_write, say, show
    from ..subjects import engine_of, import_given

    if options.all == (options.study is not None):
        raise InputError("name one study or give --all; see `saddlery list studies`")
    import_given(options)
    out = Path(options.out or "studies")
    if options.all:
        chosen, target = list(STUDIES.values()), out
    else:
        chosen = [STUDIES.named(options.study)]
        target = out / chosen[0].name
    place_to_write(out / "claims.json")
    engine, outcomes = engine_of(options, out), []
    for one in chosen:
        outcome = _outcome(options, one, out, engine)
        outcomes.append(outcome)
        if options.all:
            verdicts = ", ".join(f"{judged.claim} {judged.verdict}" for judged in outcome.judged)
            say(f"{one.name}: {verdicts}")
    write_claims(outcomes, target / "claims.json")
    write_text(target / "index.html", studies_page(outcomes))
    say(f"page in {target / 'index.html'}, claims in {target / 'claims.json'}")
    record = [entry for outcome in outcomes for entry in outcome.record()]
    show(options, record, "\n\n".join(map(repr, outcomes)))
    return DONE


def _outcome(options: Namespace, one: Study, out: Path, engine: Any) -> Any:
    """What one study found; what was measured before it was interrupted is
    kept."""
    from ...studies import run_study
    from ..progress import progress

    with progress(f"study {one.name}") as report:
        measure = partial(
            run_study,
            full=options.full,
            folder=(out / one.name).absolute(),
            engine=engine,
            imports=options.imports,
            progress=report,
        )
        try:
            return endable(measure, one)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; what was measured is kept in {out / one.name}"
            ) from None


COMMAND = Command(
    name="study",
    help=(
        "measure the claims of a study, or of all; writes index.html and claims.json, "
        "and goes on where it stopped"
    ),
    example="saddlery study theorem4 --out studies",
    function=study,
    options=_options,
    out=(
        "folder of the studies (default: studies); what was measured there "
        "before is not measured again"
    ),
    seed="refused, since a study has its own seeds",
    refusal="a study has its own seeds; leave --seed out",
)
