"""The audit: recomputes every balance from the entries and finds each kind of tampering."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from earmark.errors import BudgetExceeded, KeyReused
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.rows import ENTRY_COLUMNS, RESERVATION_COLUMNS
from earmark.testing import ManualClock
from support.ledger_books import standing, tamper

#: Columns of a row that is made up after another one.
GHOST = RESERVATION_COLUMNS.replace('"key"', "'ghost'", 1)
TWIN = ENTRY_COLUMNS.replace("seq", "99", 1)
LATEST = ENTRY_COLUMNS.replace("seq", "(SELECT max(seq) + 1 FROM entry)", 1)


def work(ledger: Ledger) -> None:
    """Do one of everything under two budgets."""
    ledger.set_budget("acme", limits=["10 usd per day", "50 calls per day"])
    ledger.set_budget("acme/a", limits=["5 usd total", "9000 tokens per hour"])
    for key in ("open", "settled", "released", "presumed", "extended", "over"):
        ledger.reserve("acme/a", "0.5", key=key, units={"tokens": 100})
    ledger.settle("settled", "0.3")
    ledger.release("released")
    ledger.presume("presumed")
    later = datetime(2026, 12, 24, tzinfo=UTC)
    ledger.extend_budget("acme", "1 usd per day", until=later, actor="Ada", reason="demo")
    ledger.pause("acme/a", actor="Ada", until=later)
    ledger.resume("acme/a")
    ledger.extend("extended", "0.2", units={"tokens": 5}, deadline="2h")
    ledger.settle("over", "1.5", units={"tokens": 250})
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme/a", 20, units={"tokens": 1})
    with pytest.raises(KeyReused):
        ledger.settle("settled", "0.4")


def test_the_audit_counts_what_it_read(ledger: Ledger) -> None:
    """A clean audit says how much it looked at and what is unresolved."""
    work(ledger)
    report = ledger.audit()
    assert (report.ok, report.problems, report.over) == (True, (), ())
    assert (report.entries, report.reservations, report.unresolved) == (16, 6, 3)
    assert (report.settled, report.held) == (Money("2.3"), Money("1.2"))
    assert report.accounts == 4


def test_empty_books_are_in_order(ledger: Ledger) -> None:
    """Books nobody used pass the audit."""
    report = ledger.audit()
    assert (report.ok, report.entries, report.reservations) == (True, 0, 0)


def test_accounts_above_their_limit_are_named(ledger: Ledger) -> None:
    """An overrun and a lowered limit are true, not problems: they are told apart."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", 1, key="a")
    ledger.settle("a", 2)
    report = ledger.audit()
    assert report.ok
    assert len(report.over) == 1
    assert "acme" in report.over[0]


#: Each edit an accountant would want to hear of, and what the audit names.
TAMPERED = {
    "a balance is lowered": ("UPDATE account SET settled = settled - 1 WHERE id = 1", "settled"),
    "a hold is forgotten": ("UPDATE account SET held = 0 WHERE id = 1", "held"),
    "an account is deleted": ("DELETE FROM account WHERE id = 2", "account 2 is missing"),
    "a limit is raised": (
        "UPDATE budget SET body = replace(body, '10 usd per day', '99 usd per day')",
        "'acme' is not what its entries say",
    ),
    "a budget is another's": (
        "UPDATE budget SET kind = 'run' WHERE path = 'acme/a'", "'acme/a' is not what its entries"
    ),
    "a budget is deleted": ("DELETE FROM budget WHERE path = 'acme/a'", "'acme/a' is missing"),
    "a limit's entry is changed": (
        "UPDATE entry SET data = replace(data, '10 usd', '99 usd') WHERE seq = 1",
        "'acme' is not what its entries say",
    ),
    "a cost is lowered": (
        "UPDATE reservation SET actual_usd = 0 WHERE \"key\" = 'settled'", "settled",
    ),
    "a hold is lowered": ("UPDATE reservation SET usd = 1 WHERE \"key\" = 'open'", "open"),
    "a deadline is moved": (
        "UPDATE reservation SET expires = expires + 1 WHERE \"key\" = 'extended'",
        "'extended' is due at",
    ),
    "a settlement follows on another's entry": (
        "UPDATE entry SET prior = 1 WHERE kind = 'settle' AND \"key\" = 'settled'",
        "does not follow on an entry of 'settled'",
    ),
    "a reservation is reopened": (
        (
            "UPDATE reservation SET state = 'open', actual_usd = NULL, actual_calls = NULL,"
            " actual_tokens = NULL WHERE \"key\" = 'over'"
        ),
        "'over' is open",
    ),
    "a reservation is released": (
        "UPDATE reservation SET state = 'released' WHERE \"key\" = 'presumed'", "presumed",
    ),
    "a reservation is deleted": (
        "DELETE FROM reservation WHERE \"key\" = 'open'", "reservation 'open' is missing",
    ),
    "a reservation is made up": (
        (
            f"INSERT INTO reservation ({RESERVATION_COLUMNS}) SELECT {GHOST}"  # noqa: S608
            " FROM reservation WHERE \"key\" = 'settled'"
        ),
        "'ghost' has no entry",
    ),
    "a reservation moves to another budget": (
        "UPDATE reservation SET budget = 'acme' WHERE \"key\" = 'open'", "'open'",
    ),
    "a reservation is charged elsewhere": (
        "UPDATE reservation SET accounts = '1' WHERE \"key\" = 'settled'", "sum to",
    ),
    "tokens are lowered": (
        "UPDATE reservation SET actual_tokens = 1 WHERE \"key\" = 'over'", "'over'",
    ),
    "an entry is deleted": ("DELETE FROM entry WHERE seq = 8", "stands where|counted"),
    "the last entry is deleted": (
        "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)", "'over'",
    ),
    "an entry's amount is changed": (
        "UPDATE entry SET usd = usd + 1 WHERE kind = 'settle'", "'settled'",
    ),
    "an entry's kind is changed": (
        "UPDATE entry SET kind = 'release', usd = 0 WHERE \"key\" = 'over' AND kind = 'settle'",
        "'over'",
    ),
    "an entry's key is changed": (
        "UPDATE entry SET \"key\" = 'open' WHERE kind = 'release'", "does not follow",
    ),
    "an entry is moved in time": ("UPDATE entry SET at = at - 1 WHERE seq = 5", "earlier"),
    "an entry is repeated": (
        (
            f"INSERT INTO entry ({ENTRY_COLUMNS}) SELECT {TWIN}"  # noqa: S608
            " FROM entry WHERE kind = 'settle' LIMIT 1"
        ),
        "stands where|counted",
    ),
    "a reserve is repeated": (
        (
            f"INSERT INTO entry ({ENTRY_COLUMNS}) SELECT {LATEST}"  # noqa: S608
            " FROM entry WHERE \"key\" = 'open'"
        ),
        "reserved twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_found(
    what: str, open_store: Callable[[], Ledger], clock: ManualClock
) -> None:
    """Whatever row is changed behind the ledger's back, the audit turns red and names it."""
    ledger = open_store()
    work(ledger)
    clock.advance(timedelta(seconds=1))
    assert ledger.audit().ok
    sql, named = TAMPERED[what]
    assert tamper(ledger, sql) > 0
    report = ledger.audit()
    assert not report.ok
    assert re.search(named, " ".join(report.problems))


def test_a_thousand_faults_are_told_in_a_hundred(
    open_store: Callable[[], Ledger],
) -> None:
    """A damaged store is described by its first faults, not by all of them."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["100 usd per day"])
    for _ in range(120):
        ledger.reserve("acme", "0.1")
    tamper(ledger, "UPDATE reservation SET usd = usd + 1")
    assert len(ledger.audit().problems) == 100


def test_an_audit_changes_nothing(open_store: Callable[[], Ledger]) -> None:
    """Auditing twice finds the same and writes nothing, while another ledger goes on writing."""
    first, second = open_store(), open_store()
    work(first)
    before = first.audit()
    assert first.audit() == before
    second.reserve("acme", "0.1")
    assert second.audit().entries == before.entries + 1
    assert standing(first, "acme")[2] == "1.3"
