"""`earmark entries`: every accepted operation, in the order of commits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from earmark.budget.fields import PLAIN_FIELDS, PlainValue, show_plain
from earmark.budget.limit import show_amount
from earmark.budget.units import CALLS, TOKENS, UNITS, USD
from earmark.cli.runs import budget_of_run
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_existing
from earmark.cli.table import Table
from earmark.cli.time_options import AGO, WHEN
from earmark.ledger.amounts import counted_units
from earmark.ledger.details import remarks
from earmark.ledger.values import CLOSING, Entry
from earmark.workspace.resources.books import ENTRY, data_of
from earmark.workspace.time_expressions import parse_past

app = group("List what was booked, in the order of commits.")

#: The units that have a column also where no entry counts them.
_COLUMNS: Final = (USD, CALLS, TOKENS)


@command(app)
def entries(
    session: Session,
    budget: Annotated[
        str | None, typer.Option(metavar="PATH", help="At or below this budget.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Of this run.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="With this key.")] = None,
    since: Annotated[str | None, typer.Option(metavar=WHEN, help=f"Then or later: {AGO}")] = None,
    until: Annotated[str | None, typer.Option(metavar=WHEN, help="Before then.")] = None,
    after: Annotated[
        int, typer.Option(metavar="SEQ", min=0, help="Go on after this number: the next page.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1000,
) -> None:
    """List entries; amounts are the operation's own: what it reserved, added, or really cost."""
    with open_existing(session) as ledger:
        found = ledger.entries(
            budget_of_run(ledger, run, budget),
            key=key,
            since=parse_past(since, ledger.clock),
            until=parse_past(until, ledger.clock),
            after=after,
            most=limit,
        )
    last, more = found[-1].seq if found else after, len(found) == limit
    plain: dict[tuple[str, str], PlainValue] = {}
    units = [
        each
        for each in UNITS
        if each in _COLUMNS or any(each in counted_units(one.amounts) for one in found)
    ]
    headings = (">seq", "at", "kind", "budget", "key", *(f">{unit}" for unit in units), "says")
    session.answer(
        {"entries": [ENTRY.encode(each) for each in found], "after": last, "more": more},
        Table(
            headings=headings,
            rows=[_row(each, plain, units) for each in found],
            empty="no entries",
        ),
    )
    if more and not session.json:
        session.tell(f"there may be more: go on with --after {last}")


def _row(
    entry: Entry, plain: dict[tuple[str, str], PlainValue], units: Sequence[str]
) -> tuple[str, ...]:
    """Return the row of *entry*; *plain* has plain fields of budgets as of the row before it."""
    own: Mapping[str, int] = {}
    if entry.kind in _WITH_AMOUNTS:
        own = {USD: entry.amounts.usd, **counted_units(entry.amounts)}
    return (
        str(entry.seq),
        f"{entry.moment:%Y-%m-%d %H:%M:%S}Z",
        entry.kind,
        entry.budget,
        entry.key,
        *(show_amount(unit, own[unit]) if unit in own else "" for unit in units),
        "; ".join(filter(None, (*_plain_changes(entry, plain), _says(entry)))),
    )


_WITH_AMOUNTS: Final = frozenset({"reserve", "extend", "settle", "presume", "release"})


def _plain_changes(entry: Entry, plain: dict[tuple[str, str], PlainValue]) -> Iterator[str]:
    """Yield what *entry* says of its budget's plain fields that changed or are first listed."""
    if entry.kind != "limit":
        return
    data = data_of(entry)
    for field in PLAIN_FIELDS:
        new = data.get(field.name, field.default)
        old = plain.get((entry.budget, field.name), field.default)
        listed = (entry.budget, field.name) in plain
        plain[entry.budget, field.name] = new
        if new == old:
            continue
        change = f"{show_plain(old)} → {show_plain(new)}" if listed else show_plain(new)
        yield f"{field.label} {change}"


def _says(entry: Entry) -> str:
    """Return what *entry* says beside its amounts, most telling first."""
    data = data_of(entry)
    if entry.kind in CLOSING:
        return "; ".join(remarks(data))
    parts = [", ".join(data["limits"]) or "no limits"] if "limits" in data else []
    parts += [str(data[name]) for name in ("limit", "reason") if data.get(name)]
    parts += [f"by {data['actor']}"] if data.get("actor") else []
    parts += [f"until {data['deadline']}"] if data.get("deadline") else []
    labels: Mapping[str, Any] = data.get("labels") or {}
    parts += [f"{name}={value}" for name, value in labels.items()]
    return "; ".join(parts)
