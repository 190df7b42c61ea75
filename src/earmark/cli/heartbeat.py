"""`earmark heartbeat`: the always-on dispatcher, one cycle of it, or what it would do."""

import asyncio
import os
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from earmark.budget.path import parse_path
from earmark.cli.plan import allowed
from earmark.cli.session import Session, command, group
from earmark.cli.stages_file import known
from earmark.cli.store_access import open_books, open_existing, settings_of
from earmark.cli.table import Table
from earmark.clock import NANOS_PER_SECOND, parse_duration
from earmark.config import values
from earmark.config.assemble import KeyLookup, Providers, key_from, no_key, policy_of, price_book
from earmark.config.channels import channels_of
from earmark.config.load import reload_settings
from earmark.config.settings import HeartbeatSettings, Settings
from earmark.errors import InvalidConfig, InvalidDuration
from earmark.heartbeat.cycle_report import CycleReport
from earmark.heartbeat.heartbeat import Heartbeat
from earmark.heartbeat.model_task import transports_of
from earmark.heartbeat.preview import DispatchPreview
from earmark.heartbeat.runtime import WHOLE_ANSWER, Runtime
from earmark.heartbeat.settings_reload import SettingsReloader
from earmark.nudges.courier import Courier
from earmark.workspace.health import Health, health
from earmark.workspace.workspace import Workspace, open_workspace

app = group("Run the always-on dispatcher, or one cycle of it.")

#: What a shell shows for a program that a signal ended: 128 and the signal's number.
_BY_SIGNAL: Final = 128
_FAILED: Final = 1
_HEADINGS: Final = ("#", "task", "priority", "model", ">bound usd", "fits", "why")


@command(app)
def heartbeat(
    session: Session,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Do one cycle and end; 1 if it went wrong.")
    ] = False,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Show what a cycle would dispatch; change nothing.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show how the heartbeat does, as /health does.")
    ] = False,
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose heartbeat: `Cloud Lu` unless told.")
    ] = None,
    interval: Annotated[
        str | None, typer.Option(metavar="TIME", help="From one cycle to the next: 30min.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="PATH", help="Who pays: c8/cloud-lu unless told.")
    ] = None,
) -> None:
    """Give the board's tasks to models within their budgets, cycle after cycle.

    It runs until SIGTERM or Ctrl-C: what is under way then has its grace to end, and a second
    signal ends it at once. Where nothing on the budget's path has a limit, it sets its own.
    """
    if status:
        _show_health(session, agent)
        return
    settings = settings_of(session, ask=False)
    options = _HeartbeatOptions(agent, interval, budget)
    heartbeat_settings = options.over(settings.heartbeat)
    with (
        open_books(session, settings) as ledger,
        open_workspace(ledger, sibling=heartbeat_settings.sibling) as workspace,
    ):
        if simulate:
            asyncio.run(_simulate(session, settings, heartbeat_settings, workspace))
        else:
            _beat(session, settings, options, workspace, once=once)


@dataclass(frozen=True, slots=True)
class _HeartbeatOptions:
    """What the command line says of the heartbeat."""

    agent: str | None
    interval: str | None
    budget: str | None

    def over(self, settings: HeartbeatSettings) -> HeartbeatSettings:
        """Return *settings* with it laid over them."""
        options: dict[str, Any] = {}
        if self.agent is not None:
            options["agent"] = _agent(self.agent)
        if self.interval is not None:
            options["interval"] = _interval(self.interval)
        if self.budget is not None:
            options["budget"] = parse_path(self.budget)
        return settings.model_copy(update=options)

    def again(self, settings: Settings) -> SettingsReloader | None:
        """Return what reads the file of *settings* anew; None if they come from none."""
        if settings.file is None:
            return None
        return SettingsReloader(
            settings.file, lambda: self.over(reload_settings(settings, os.environ).heartbeat)
        )


def _interval(text: str) -> timedelta:
    if not parse_duration(text):
        raise InvalidDuration(text=text, want="a duration above 0")
    return timedelta(seconds=parse_duration(text) / NANOS_PER_SECOND)


def _agent(name: str) -> str:
    try:
        return values.agent(name)
    except ValueError as error:
        raise InvalidConfig(place="--agent", detail=str(error)) from None


# Running ------------------------------------------------------------------------------------------


def _beat(
    session: Session,
    settings: Settings,
    options: _HeartbeatOptions,
    workspace: Workspace,
    *,
    once: bool,
) -> None:
    signals = _Signals()
    try:
        # What stages print must not get between the lines of the answer.
        with redirect_stdout(sys.stderr):
            form = asyncio.run(_run(session, settings, options, workspace, signals, once=once))
    except asyncio.CancelledError:
        session.tell("ended at once: what was under way is booked")
        raise typer.Exit(_BY_SIGNAL + signals.last) from None
    session.answer(form)
    session.tell(_farewell(**form["stopped"]))
    cycle: CycleReport | None = form.get("cycle")
    if cycle is not None and (cycle.errors or cycle.state == "error"):
        raise typer.Exit(_FAILED)


def _farewell(agent: str, why: str, cycles: int, patch: str | None) -> str:
    count = "1 cycle" if cycles == 1 else f"{cycles} cycles"
    wrote = f"patch '{patch}' is written" if patch else "its end could not be written"
    return f"'{agent}' stopped ({why}) after {count}; {wrote}"


async def _run(
    session: Session,
    settings: Settings,
    options: _HeartbeatOptions,
    workspace: Workspace,
    signals: "_Signals",
    *,
    once: bool,
) -> dict[str, Any]:
    heartbeat_settings = options.over(settings.heartbeat)
    stop = signals.listen()
    providers = _providers(settings, workspace, key_from(os.environ))
    try:
        runtime = _runtime(settings, workspace, providers)
        beat = Heartbeat(
            workspace,
            heartbeat_settings,
            runtime,
            clock=workspace.ledger.clock,
            on_cycle=lambda done: session.tell(done.line()),
            reload_settings=options.again(settings),
        )
        interval_s = heartbeat_settings.interval.total_seconds()
        session.tell(
            f"'{heartbeat_settings.agent}' beats every {interval_s:g} s"
            f" on {workspace.ledger.store.name}, paid by {heartbeat_settings.budget}"
        )
        done = await _once(beat, stop) if once else await _for_good(beat, stop)
    finally:
        await providers.aclose()
    state = beat.state
    stopped = {
        "agent": state.agent,
        "why": signal.Signals(signals.last).name if stop.is_set() else "--once",
        "cycles": beat.cycles,
        "patch": None if state.running else state.patch_name,
    }
    return {**done, "heartbeat": state, "stopped": stopped}


async def _once(beat: Heartbeat, stop: asyncio.Event) -> dict[str, Any]:
    await beat.start(stop)
    try:
        return {"cycle": await beat.cycle()}
    finally:
        await beat.stop()


async def _for_good(beat: Heartbeat, stop: asyncio.Event) -> dict[str, Any]:
    await beat.run(stop)
    return {}


class _Signals:
    """The first SIGTERM or SIGINT asks it to stop, the next one ends it."""

    def __init__(self) -> None:
        self.last: int = signal.SIGTERM

    def listen(self) -> asyncio.Event:
        """Return the event that the first signal sets; in the event loop's thread."""
        stop = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None, "the heartbeat has a task"

        def on_signal(number: signal.Signals) -> None:
            self.last = number
            if stop.is_set():
                task.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        return stop


def _runtime(settings: Settings, workspace: Workspace, providers: Providers) -> Runtime:
    at_hand = known(settings, ())
    clock = workspace.ledger.clock
    channels = channels_of(settings, os.environ, clock)
    strict = settings.admission.policy == "strict"
    return Runtime(
        providers=providers,
        stages=at_hand.stages,
        allow=allowed(at_hand, None),
        transports=transports_of(settings),
        policy=WHOLE_ANSWER if strict else policy_of(settings),
        courier=Courier(workspace.nudges, channels, clock),
        channels=tuple(channels),
        folder=Path() if settings.file is None else settings.file.absolute().parent,
    )


def _providers(settings: Settings, workspace: Workspace, key: KeyLookup) -> Providers:
    return Providers(settings, book=price_book(settings), clock=workspace.ledger.clock, key=key)


# Looking ------------------------------------------------------------------------------------------


async def _simulate(
    session: Session,
    settings: Settings,
    heartbeat_settings: HeartbeatSettings,
    workspace: Workspace,
) -> None:
    providers = _providers(settings, workspace, no_key)
    try:
        runtime = _runtime(settings, workspace, providers)
        verdict, planned = Heartbeat(
            workspace, heartbeat_settings, runtime, clock=workspace.ledger.clock
        ).simulate()
    finally:
        await providers.aclose()
    rows = [_row(each) for each in planned]
    form = {
        "may_dispatch": verdict.ok,
        "state": verdict.state or "idle",
        "reason": verdict.reason,
        "tasks": [each.to_json() for each in planned],
    }
    said = () if verdict.ok else (f"nothing would be dispatched: {verdict.reason}",)
    session.answer(form, Table(headings=_HEADINGS, rows=rows, empty="no task is ready"), *said)


def _row(planned: DispatchPreview) -> tuple[str, ...]:
    return (
        str(planned.number),
        planned.title,
        planned.priority,
        planned.model,
        planned.bound_usd or "unknown",
        "yes" if planned.fits else "no",
        planned.why,
    )


def _show_health(session: Session, agent: str | None) -> None:
    with open_existing(session, ask=False) as ledger, open_workspace(ledger) as workspace:
        found = health(workspace, agent=agent, clock=ledger.clock)
    session.answer(found.to_json(), *_health_parts(found))
    if found.status == "fail":
        raise typer.Exit(_FAILED)


def _health_parts(found: Health) -> list[str]:
    said = f": {found.output}" if found.output else ""
    blocks = {
        "heartbeat": found.heartbeat,
        "budget": found.budget,
        "persistence": found.persistence,
    }
    lines = [
        f"{block}.{name}: {'-' if value is None or value == '' else value}"
        for block, values in blocks.items()
        for name, value in values.items()
    ]
    return [f"{found.status}{said}", *lines]
