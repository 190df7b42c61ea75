"""A run that was cut off, or goes on, as its journal and the books tell it together.

Where the journal lies in the ledger's own store, one commit closes the reservation of a call and
writes its line. A process that is killed before leaves a reservation without a line: open, or
presumed at its deadline. So does one whose call was not sent (its hold is given back by itself) or
whose journal lies elsewhere. Line and reservation carry the same key, so nothing is lost: what the
books have of a run without a line is a line too, of an outcome that nobody wrote down.
"""

import json
from typing import Any, Final

from msgspec import structs

from earmark.ledger.details import read_details, unknown_counters
from earmark.ledger.ledger import Ledger
from earmark.ledger.requests import MOST_LISTED
from earmark.ledger.values import Reservation
from earmark.runs.journal import RunRecord
from earmark.runs.statement_line import NOTHING, LineOutcome, StatementLine

_NOTE: Final = "no line was written: it is under way, or the run was cut off"


def reconciled(record: RunRecord, ledger: Ledger) -> RunRecord:
    """Return a run without a statement with the books' say on each of its attempts, as of now.

    What its lines settled and held adds up to what the ledger has on its budget. A run that has a
    statement is returned as it is. To be read from the journal before it is given here: a line that
    is written meanwhile must not be missed in both.

    Raises:
        StoreError: The books cannot be read.
    """
    if record.statement is not None:
        return record
    reservations = {
        each.key: each for each in ledger.holds(record.budget, state=None, most=MOST_LISTED)
    }
    lines = [_as_booked(line, reservations.pop(line.key, None)) for line in record.lines]
    first = 1 + max((line.number for line in lines), default=0)
    lines.extend(
        _unwritten(each, number) for number, each in enumerate(reservations.values(), start=first)
    )
    return structs.replace(record, lines=tuple(lines))


def _as_booked(line: StatementLine, reservation: Reservation | None) -> StatementLine:
    if reservation is None:
        return line
    details = read_details(reservation.details)
    unknown = tuple(unknown_counters(details))
    if reservation.state == "presumed":
        unknown = unknown or line.unknown
    return structs.replace(
        line,
        state=reservation.state,
        hold=reservation.amount,
        settled=reservation.settled or NOTHING,
        overrun=reservation.overrun,
        unknown=unknown,
        request_id=str(details.get("request_id") or "") or line.request_id,
    )


def _unwritten(reservation: Reservation, number: int) -> StatementLine:
    labels: dict[str, Any] = json.loads(reservation.labels) if reservation.labels else {}
    path = str(labels.get("path", ""))
    attempt = reservation.key.rpartition("#")[2]
    line = StatementLine(
        path="" if path == "/" else path,
        stage=str(labels.get("stage", "")),
        stage_id="",
        number=number,
        attempt=int(attempt) if attempt.isdecimal() and attempt.isascii() else 1,
        outcome=LineOutcome.UNKNOWN,
        started_at=reservation.opened,
        key=reservation.key,
        model=labels.get("model"),
        note=_NOTE,
    )
    return _as_booked(line, reservation)
