"""`earmark nudge`: what siblings were asked to look at, and whether it reached them."""

import asyncio
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_existing, operator, settings_of
from earmark.cli.table import Table
from earmark.clock import Clock, SystemClock, iso, to_datetime
from earmark.config.channels import channels_of
from earmark.config.settings import Settings
from earmark.errors import OUTCOMES, InvalidConfig, NotFound
from earmark.ids import new_key
from earmark.nudges.channels.channel import Channel, DeliveryFailed, carry
from earmark.nudges.nudges import Delivery, Nudge, Nudges
from earmark.stores.open_tables import open_tables
from earmark.workspace.resources.agents import NUDGE

app = group("List, acknowledge and test nudges.")

_HEADINGS: Final = (">number", "raised", "kind", "title", "delivered", "acknowledged")
_FAILED: Final = OUTCOMES["stage_failed"].exit_code


@command(app, "list")
def list_(
    session: Session,
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="Those too that somebody acknowledged.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1000,
) -> None:
    """List the latest nudges that nobody acknowledged, in the order they were raised."""
    with _nudges(session) as nudges:
        acked = None if all_ else False
        found = nudges.find(acked=acked, most=limit, newest_first=True)[::-1]
        ways = nudges.deliveries_of([nudge.id for nudge in found])
    _answer(session, found, ways)


@command(app)
def ack(
    session: Session,
    nudge: Annotated[str, typer.Argument(metavar="ID", help="Its id, or its number.")],
    *,
    actor: Annotated[str | None, typer.Option(help="Who has seen it; you unless given.")] = None,
) -> None:
    """Acknowledge a nudge: you have seen it. Who was first stays."""
    with _nudges(session) as nudges:
        seen = nudges.ack(_id(nudges, nudge), actor or operator())
        ways = nudges.deliveries_of([seen.id])
    _answer(session, [seen], ways)


@command(app, "test")
def try_out(
    session: Session,
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="Only this one; all unless given.")
    ] = None,
) -> None:
    """Send a nudge of kind `test` through the channels, and say what happened on each."""
    settings, clock = settings_of(session), SystemClock()
    channels = _asked(channels_of(settings, os.environ, clock), channel)
    nudge = _a_test(settings, clock)
    errors = asyncio.run(_send(nudge, channels))
    form = [
        {"channel": name, "ok": error is None, "error": error} for name, error in errors.items()
    ]
    rows = [(name, "ok" if error is None else f"failed: {error}") for name, error in errors.items()]
    session.answer(
        {"nudge": nudge.id, "channels": form}, Table(headings=("channel", "outcome"), rows=rows)
    )
    if any(error is not None for error in errors.values()):
        raise typer.Exit(_FAILED)


async def _send(nudge: Nudge, channels: Mapping[str, Channel]) -> dict[str, str | None]:
    """Send *nudge* through all *channels* at once; return why each failed, None where it did not.

    Nothing of it is written: what is tested is the way out, not the outbox.
    """

    async def one(channel: Channel) -> str | None:
        try:
            await carry(channel, nudge)
        except DeliveryFailed as failed:
            return failed.detail
        return None

    outcomes = await asyncio.gather(*(one(channel) for channel in channels.values()))
    return dict(zip(channels, outcomes, strict=True))


def _a_test(settings: Settings, clock: Clock) -> Nudge:
    return Nudge(
        id=f"test/{new_key(clock)}",
        number=0,
        kind="test",
        budget=settings.heartbeat.budget,
        recipient=settings.heartbeat.sibling,
        title="A test: this is how nudges arrive",
        data={"type": "test", "by": operator()},
        created_at=clock.instant(),
    )


def _asked(channels: Mapping[str, Channel], name: str | None) -> Mapping[str, Channel]:
    if not channels:
        detail = "no channel is configured: add a table [nudges.<name>]"
        raise InvalidConfig(place="nudges", detail=detail)
    if name is None:
        return channels
    if name not in channels:
        raise NotFound(kind="channel", name=name, hint=f"there is {', '.join(channels)}")
    return {name: channels[name]}


def _id(nudges: Nudges, name: str) -> str:
    if not (name.isascii() and name.isdigit()):
        return name
    number = int(name[:18])
    found = nudges.find(after=number - 1, most=1)
    if not found or found[0].number != number:
        raise NotFound(kind="nudge", name=name, hint="`earmark nudge list --all` shows them")
    return found[0].id


@contextmanager
def _nudges(session: Session) -> Generator[Nudges]:
    with open_existing(session) as ledger:
        tables = open_tables(ledger.store)
        try:
            yield Nudges(tables, ledger.clock)
        finally:
            tables.close()


def _answer(session: Session, found: list[Nudge], ways: Mapping[str, list[Delivery]]) -> None:
    rows = [_row(nudge, ways[nudge.id]) for nudge in found]
    session.answer(
        {"nudges": [NUDGE.encode(nudge, deliveries=ways[nudge.id]) for nudge in found]},
        Table(headings=_HEADINGS, rows=rows, empty="no nudges"),
    )


def _row(nudge: Nudge, ways: list[Delivery]) -> tuple[str, ...]:
    acked = f"{nudge.acked_by}, {_minute(nudge.acked_at)}" if nudge.acked_at else ""
    raised, to = _minute(nudge.created_at), ", ".join(_way(each) for each in ways)
    return str(nudge.number), raised, nudge.kind, nudge.title, to, acked


def _way(delivery: Delivery) -> str:
    match delivery.state:
        case "delivered":
            return f"{delivery.channel} {_minute(delivery.delivered_at)}"
        case "given_up":
            return f"{delivery.channel} given up: {delivery.error}"
        case "waiting":
            why = f" ({delivery.error})" if delivery.error else ""
            return f"{delivery.channel} at {iso(delivery.next_at)[:16]}Z{why}"


def _minute(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%d %H:%M}Z"
