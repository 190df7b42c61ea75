"""A cost that is not fully known is marked wherever a line of a run is shown."""

from typing import Any

from msgspec import structs

from earmark.admission.guard import Charge
from earmark.cli.statement import remark
from earmark.composition.ast import Composition, Stage
from earmark.money import Money
from earmark.runs.attempt import of_charge
from earmark.runs.journal import RunRecord
from earmark.runs.reconcile import reconciled
from earmark.runs.statement import RunStatus, Statement
from earmark.runs.statement_line import LineOutcome, StatementLine
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock

COUNTER = "usage.thoughts = 7"
MARK = f"cost not fully known: {COUNTER}"
LINE = StatementLine(
    path="",
    stage="work",
    stage_id="id",
    attempt=1,
    outcome=LineOutcome.OK,
    started_at=1,
    key="r:/#1",
    state="presumed",
    unknown=(COUNTER,),
    request_id="req_1",
)


def test_a_line_keeps_its_mark() -> None:
    """Through the journal and back; one without says nothing of it."""
    form = LINE.to_json()
    assert (form["unknown"], form["request_id"]) == ([COUNTER], "req_1")
    assert StatementLine.from_json(form) == LINE
    plain = structs.replace(LINE, unknown=(), request_id=None)
    assert plain.to_json().keys() == form.keys() - {"unknown", "request_id"}
    assert (plain.mark, StatementLine.from_json(plain.to_json())) == ("", plain)


def test_a_statement_shows_it() -> None:
    """In the table of the library and in that of the command line."""
    statement = Statement(
        run_id="r",
        composition_id="c",
        budget="acme/run-r",
        limit=Money(1),
        status=RunStatus.OK,
        lines=(LINE,),
        started_at=1,
        ended_at=2,
    )
    assert MARK in statement.table()
    assert MARK in remark(LINE)


def test_a_charge_brings_it() -> None:
    """What the guard booked is in the line that is written with it."""
    charge = Charge(
        key="k",
        budget="acme",
        hold=Money(1),
        settled=Money(1),
        overrun=Money(),
        state="presumed",
        unknown=(COUNTER,),
        request_id="req_1",
    )
    booked = of_charge(charge)
    assert (booked.unknown, booked.request_id) == ((COUNTER,), "req_1")


def test_the_books_tell_of_a_line_that_was_not_written() -> None:
    """A run that was cut off: the details of its reservations, and those that came later."""
    details: dict[str, Any] = {"unknown": [COUNTER], "request_id": "req_2"}
    with open_ledger("memory:", clock=ManualClock()) as ledger:
        ledger.set_budget("acme/run-r", limits=["9 usd total"])
        for key in ("r:/#1", "r:/#2"):
            ledger.reserve("acme/run-r", "1", key=key)
            ledger.presume(key, details=details)
        record = RunRecord(
            run_id="r",
            composition_id="c",
            composition=Composition(description="", root=Stage("work")),
            input=None,
            budget="acme/run-r",
            limit=Money(9),
            started_at=1,
            status=RunStatus.RUNNING,
            lines=(LINE,),
        )
        first, second = reconciled(record, ledger).lines
        assert (first.mark, first.request_id) == (MARK, "req_2")
        assert (second.outcome, second.mark, second.request_id) == (
            LineOutcome.UNKNOWN,
            MARK,
            "req_2",
        )
        ledger.settle("r:/#1", "0.5")
        known, _ = reconciled(record, ledger).lines
        assert (known.mark, known.request_id, known.state) == ("", "req_2", "settled")
