"""`earmark run`: a composition under a budget of its own, watched while it runs."""

import asyncio
import os
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from earmark.budget.path import parse_path
from earmark.cli.inputs import read_graph, read_input
from earmark.cli.mistyped import refuse_mistyped
from earmark.cli.plan import Allow, GraphArgument, Stages, allowed
from earmark.cli.run_display import RunDisplay, display_run
from earmark.cli.session import Session, command, group
from earmark.cli.stages_file import KnownStages, known
from earmark.cli.statement import statement_parts
from earmark.cli.store_access import open_books, settings_of
from earmark.composition.ast import Composition
from earmark.config.assemble import Providers, key_from, policy_of, price_book
from earmark.errors import EarmarkError, InvalidFile
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.runs.events import RunEnded, RunEvent
from earmark.runs.options import Options
from earmark.runs.runner import run_async
from earmark.runs.statement import Statement

app = group("Run a composition under a budget of its own.")

#: Whose budget a run is below unless it is said.
DEFAULT_UNDER: Final = "runs"

#: What a shell shows for a program that a signal ended: 128 and the signal's number.
_BY_SIGNAL: Final = 128


@command(app)
def run(
    session: Session,
    graph: GraphArgument,
    *,
    budget: Annotated[str, typer.Option(metavar="USD", help="The most the run may spend.")],
    input: Annotated[  # noqa: A002 - the format's own word
        str, typer.Option(metavar="JSON", help="Its input: JSON, @FILE, or - for stdin.")
    ] = "null",
    under: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help=f"The budget that pays, {DEFAULT_UNDER} if not given; the run's is below it.",
        ),
    ] = None,
    stages: Stages = None,
    allow: Allow = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most so many stages at once.")
    ] = None,
    max_repeats: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="At most so many repeated attempts.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long a call waits for budget: 30s.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long an attempt may take: 2min.")
    ] = None,
) -> None:
    """Run a composition; every run prints and keeps a statement of what it cost."""
    if graph == input == "-":
        raise InvalidFile(path="-", detail="standard input is the graph or the input, not both")
    order = _RunArguments(
        read_graph(graph), read_input(input), parse_path(under or DEFAULT_UNDER), Money(budget)
    )
    settings = settings_of(session)
    at_hand = known(settings, stages or [])
    options = _options(at_hand, concurrency, wait, timeout)
    repeats = settings.run.max_repeats if max_repeats is None else max_repeats
    if repeats is not None:
        options["max_repeats"] = repeats
    options["allow"] = allowed(at_hand, allow)
    with open_books(session, settings) as ledger:
        if under is not None:
            refuse_mistyped(ledger, under)
        _carry_out(session, order, ledger, at_hand, options)


@dataclass(frozen=True, slots=True)
class _RunArguments:
    composition: Composition
    input: Any
    under: str
    budget: Money


def _options(
    at_hand: KnownStages, concurrency: int | None, wait: str | None, timeout: str | None
) -> Options:
    settings = at_hand.settings
    options = Options(stages=at_hand.stages, policy=policy_of(settings))
    at_once = concurrency or settings.run.concurrency
    if at_once is not None:
        options["concurrency"] = at_once
    patience = wait or settings.admission.wait
    if patience is not None:
        options["wait"] = patience
    if timeout is not None:
        options["timeout"] = timeout
    return options


def _carry_out(
    session: Session, order: _RunArguments, ledger: Ledger, at_hand: KnownStages, options: Options
) -> None:
    seen = _RunObserver(display_run(order.composition, ledger.clock))
    options["on_event"] = seen
    try:
        # A stage's own prints must not get between the lines of the answer.
        with redirect_stdout(sys.stderr), seen.display:
            asyncio.run(_run(order, ledger, at_hand, options, seen))
    except EarmarkError as error:
        if error.statement is not None and not session.json:
            session.answer({}, *statement_parts(error.statement))
        raise
    except (KeyboardInterrupt, asyncio.CancelledError):
        _answer(session, seen)
        session.tell("interrupted: what was under way is booked")
        raise typer.Exit(_BY_SIGNAL + seen.signal) from None
    _answer(session, seen)


async def _run(
    order: _RunArguments,
    ledger: Ledger,
    at_hand: KnownStages,
    options: Options,
    seen: "_RunObserver",
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        _cancel_on(number, seen)
    providers = Providers(
        at_hand.settings,
        book=price_book(at_hand.settings),
        clock=ledger.clock,
        key=key_from(os.environ),
    )
    options["providers"] = providers
    try:
        await run_async(
            order.composition,
            order.input,
            ledger=ledger.as_async(),
            under=order.under,
            budget=order.budget,
            **options,
        )
    finally:
        await providers.aclose()


def _cancel_on(number: signal.Signals, seen: "_RunObserver") -> None:
    """Cancel this task on a signal, also on a second one, so that what is under way is booked.

    Python's own way with a second interrupt is to raise in the middle of whatever runs then.
    """
    task = asyncio.current_task()
    assert task is not None, "the run has a task"

    def cancel() -> None:
        seen.signal = number
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(number, cancel)


class _RunObserver:
    """Passes a run's events on, and keeps its statement."""

    def __init__(self, display: RunDisplay) -> None:
        self.display = display
        self.statement: Statement | None = None
        self.signal: int = signal.SIGINT

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, RunEnded):
            self.statement = event.statement
        self.display.show(event)


def _answer(session: Session, seen: _RunObserver) -> None:
    if seen.statement is not None:
        session.answer(seen.statement.to_json(), *statement_parts(seen.statement))
