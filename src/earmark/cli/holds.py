"""`earmark holds`: reservations, and the truth about those whose outcome nobody knew."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from earmark.cli.runs import budget_of_run
from earmark.cli.session import Session, command, default, group
from earmark.cli.store_access import open_existing
from earmark.cli.table import Table
from earmark.cli.time_options import AGO, WHEN
from earmark.errors import KeyReused
from earmark.ledger.details import read_details, remarks
from earmark.ledger.values import Reservation, State
from earmark.money import Money
from earmark.workspace.resources.books import RESERVATION, labels_of
from earmark.workspace.time_expressions import parse_past

app = group("List reservations whose true cost is not known, and settle them.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key of the reservation.")]
Keys = Annotated[list[str], typer.Argument(metavar="KEY...", help="The keys of reservations.")]

_HEADINGS: Final = (
    *("key", "budget", "state", ">hold", ">settled", "opened", "deadline", "labels"),
    "details",
)


#: A settlement of so many times its hold is asked about: a slip of the point is ten times.
_FAR_ABOVE: Final = 10


class HoldFilter(StrEnum):
    """The reservations that are listed."""

    UNRESOLVED = "unresolved"
    OPEN = "open"
    PRESUMED = "presumed"
    SETTLED = "settled"
    RELEASED = "released"
    ALL = "all"


_STATES: Final[dict[HoldFilter, tuple[State | None, ...]]] = {
    HoldFilter.UNRESOLVED: ("open", "presumed"),
    HoldFilter.OPEN: ("open",),
    HoldFilter.PRESUMED: ("presumed",),
    HoldFilter.SETTLED: ("settled",),
    HoldFilter.RELEASED: ("released",),
    HoldFilter.ALL: (None,),
}


@default(app)
def holds(
    session: Session,
    budget: Annotated[
        str | None, typer.Option(metavar="PATH", help="At or below this budget.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Of this run.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="With this key.")] = None,
    state: Annotated[
        HoldFilter,
        typer.Option(help="`unresolved` is open or presumed: the true cost is not known."),
    ] = HoldFilter.UNRESOLVED,
    since: Annotated[
        str | None, typer.Option(metavar=WHEN, help=f"Opened then or later: {AGO}")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar=WHEN, help="Opened before then.")] = None,
    after: Annotated[
        int, typer.Option(metavar="SEQ", min=0, help="Go on after this number: the next page.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1000,
) -> None:
    """List reservations in the order they were opened: those whose true cost is not known yet."""
    with open_existing(session) as ledger:
        within = budget_of_run(ledger, run, budget)
        found = [
            each
            for one in _STATES[state]
            for each in ledger.holds(
                within,
                state=one,
                key=key,
                since=parse_past(since, ledger.clock),
                until=parse_past(until, ledger.clock),
                after=after,
                most=limit,
            )
        ]
    found = sorted(found, key=lambda each: each.seq)[:limit]
    last, more = found[-1].seq if found else after, len(found) == limit
    _answer(session, found, after=last, more=more)
    if more and not session.json:
        session.tell(f"there may be more: go on with --after {last}")


@command(app)
def extend(
    session: Session,
    key: KeyArgument,
    usd: Annotated[str, typer.Argument(metavar="USD", help="What to add to the hold.")] = "0",
    deadline: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long it is to last from now: 10min.")
    ] = None,
) -> None:
    """Add to an open reservation's hold, on every budget above it or on none, or to its time."""
    with open_existing(session) as ledger:
        _answer(session, [ledger.extend(key, usd, deadline=deadline)])


@command(app)
def settle(
    session: Session,
    key: KeyArgument,
    usd: Annotated[str, typer.Argument(metavar="USD", help="What it really cost: 0.0421.")],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where it is ten times the hold or more.")
    ] = False,
) -> None:
    """Book what a reservation really cost, in full; also one that was presumed spent.

    It is booked once: another amount is refused from then on. What was booked too much by mistake
    is added to the limit: `earmark budget extend PATH "0.37 usd per day" --until WHEN`.
    """
    with open_existing(session) as ledger:
        amount, found = Money(usd), ledger.reservation(key)
        counted = max(found.amount, found.settled or found.amount)
        if amount and amount >= counted * _FAR_ABOVE and found.state != "settled" and not yes:
            detail = f"{amount} usd is {_FAR_ABOVE} times what {key!r} counts, {counted} usd, or"
            detail += " more, and a settlement is final: if that is meant, say --yes"
            raise typer.BadParameter(detail, param_hint="'USD'")
        try:
            settled = ledger.settle(key, amount)
        except KeyReused as refusal:
            if (found := ledger.reservation(key)).state == "settled":
                refusal.advice = (
                    f"already settled to {found.settled} usd; a settlement is final: to give back"
                    " what was booked too much see `earmark budget extend`"
                )
            raise
        _warn_of_open(session, [found])
        _answer(session, [settled])


@command(app)
def presume(
    session: Session,
    key: KeyArgument,
    known: Annotated[
        str | None, typer.Option(metavar="USD", help="What it cost at least, where that is known.")
    ] = None,
) -> None:
    """Count a hold as spent, or what is known if that is more: nobody knows what it cost."""
    with open_existing(session) as ledger:
        _answer(session, [ledger.presume(key, known=known)])


@command(app)
def release(session: Session, keys: Keys) -> None:
    """Give reservations back: nothing was spent; also those that were presumed spent.

    Where one of them is not there or was settled, none is given back.
    """
    with open_existing(session) as ledger:
        found = [ledger.reservation(key) for key in dict.fromkeys(keys)]
        # A settled one first: it is refused.
        found.sort(key=lambda each: each.state != "settled")
        released = {each.key: ledger.release(each.key) for each in found}
        _warn_of_open(session, found)
        _answer(session, [released[key] for key in dict.fromkeys(keys)])


def _warn_of_open(session: Session, before: list[Reservation]) -> None:
    """Warn of those that were open *before* they were closed: their callers know nothing of it."""
    for each in before:
        if each.state == "open":
            session.tell(
                f"'{each.key}' was open, with a deadline at {each.deadline:%Y-%m-%d %H:%M:%S}Z: its"
                " call may be under way, and what it costs is not booked any more"
            )


def _answer(session: Session, found: list[Reservation], **page: object) -> None:
    session.answer(
        {"holds": [RESERVATION.encode(each) for each in found], **page},
        Table(headings=_HEADINGS, rows=[_row(each) for each in found], empty="no holds"),
    )


def _row(reservation: Reservation) -> tuple[str, ...]:
    settled = reservation.settled
    overrun = f" (overrun {reservation.overrun})" if reservation.overrun else ""
    return (
        reservation.key,
        reservation.budget,
        reservation.state,
        str(reservation.amount),
        "" if settled is None else f"{settled}{overrun}",
        f"{reservation.opened_at:%Y-%m-%d %H:%M:%S}Z",
        f"{reservation.deadline:%Y-%m-%d %H:%M:%S}Z",
        " ".join(f"{name}={value}" for name, value in labels_of(reservation).items()),
        "; ".join(remarks(read_details(reservation.details))),
    )
