"""`earmark plan`: what a composition costs at least and at most, before anything runs."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from earmark.cli.inputs import read_graph
from earmark.cli.session import AnswerPart, Session, command, group
from earmark.cli.stages_file import KnownStages, known
from earmark.cli.store_access import settings_of
from earmark.cli.table import Table
from earmark.clock import SystemClock
from earmark.composition.catalogue import parse_allowed
from earmark.composition.effects import EffectName
from earmark.composition.plan import Plan, PlanLine
from earmark.composition.plan import plan as price_out
from earmark.config.assemble import Providers, no_key, price_book
from earmark.runs.prepare import Library, library_of
from earmark.stages.kinds.kind import Tools

app = group("Price a composition as [min, max] before it runs.")

GraphArgument = Annotated[
    str, typer.Argument(metavar="GRAPH", help="A composition in JSON: a file, or - for stdin.")
]
Stages = Annotated[
    list[str] | None,
    typer.Option("--stages", metavar="FILE", help="More stages: .toml, .json, .py; repeatable."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="EFFECT", help="llm, network or unknown: may go unpriced."),
]

_HEADINGS: Final = ("stage", "path", "kind", ">attempts", ">min usd", ">max usd", "")
_SHORT_ID: Final = 12


@command(app)
def plan(
    session: Session, graph: GraphArgument, *, stages: Stages = None, allow: Allow = None
) -> None:
    """Check a composition and price it: a line for each stage in it, and the total."""
    composition = read_graph(graph)
    at_hand = known(settings_of(session), stages or [])
    found = price_out(composition, _library(at_hand), allow=allowed(at_hand, allow))
    session.answer(found.to_json(), *plan_parts(found))


def plan_parts(found: Plan) -> list[AnswerPart | str]:
    """Return a plan for people: a line for each stage, then the totals."""
    rows = [_row(line) for line in found.lines]
    return [Table(headings=_HEADINGS, rows=rows, empty="no stages"), *_totals(found)]


def allowed(at_hand: KnownStages, more: list[str] | None) -> frozenset[EffectName]:
    """Return the effects that may go without a price; raises `InvalidConfig`."""
    return parse_allowed({*at_hand.settings.admission.allow_unpriced, *(more or [])})


def bounds(least: object, most: object) -> str:
    """Return what something costs, as `[min, max]`."""
    return f"[{least}, {'unknown' if most is None else most}] USD"


def _library(at_hand: KnownStages) -> Library:
    providers = Providers(
        at_hand.settings, book=price_book(at_hand.settings), clock=SystemClock(), key=no_key
    )
    return library_of(at_hand.stages, Tools(providers=providers))


def _row(line: PlanLine) -> tuple[str, ...]:
    return (
        line.stage if line.stage != line.stage_id else line.stage[:_SHORT_ID],
        line.path or "/",
        line.kind,
        str(line.attempts),
        str(line.min),
        "unknown" if line.max is None else str(line.max),
        line.note,
    )


def _totals(found: Plan) -> Iterable[str]:
    yield f"composition {found.composition_id[:_SHORT_ID]}: {bounds(found.min, found.max)}"
    yield f"{found.input} → {found.output}, effects: {', '.join(found.effects) or 'none'}"
    for warning in found.warnings:
        yield f"warning: {warning}"
