"""A tree marked `observed` at its root counts without refusing; every store, both façades."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from earmark.errors import BudgetExceeded, InvalidLimit, NoBudget, Reason
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Reservation
from earmark.ledger.would_refuse import WouldRefuse
from earmark.testing import ManualClock
from support.ledger_books import check_books, only, standing, tamper


def observed(ledger: Ledger, **fields: Any) -> None:
    """Make an observed tree that has 2 USD."""
    ledger.set_budget("acme", limits=["2 usd total"], observed=True, **fields)
    ledger.set_budget("acme/x", limits=["5 usd total"])


def mark(reservation: Reservation) -> WouldRefuse:
    """Return which limit *reservation* did not fit on."""
    assert reservation.would_refuse is not None
    return reservation.would_refuse


def test_what_does_not_fit_is_held_and_marked(ledger: Ledger) -> None:
    """With the most lasting reason, the limit and by how much; so is what an earlier hold adds."""
    observed(ledger)
    ledger.set_budget("acme", observed=False)
    assert ledger.reserve("acme/x", 1, key="fits").would_refuse is None
    ledger.set_budget("acme", observed=True)
    over = ledger.reserve("acme/x", "1.5", key="over")
    held = WouldRefuse(Reason.HELD, "acme", "usd", "total", 2_000_000_000, 500_000_000)
    assert mark(over) == held
    grown = ledger.extend("fits", 3, operation="grows", deadline="30min")
    assert mark(grown).budget == "acme"
    assert mark(grown).reason is Reason.TOO_LARGE
    assert standing(ledger, "acme") == ("2", "0", "5.5", "-3.5")
    marks = [entry.would_refuse for entry in ledger.entries(key="over")]
    assert marks == [held]
    (_, extended) = ledger.entries(key="fits")
    assert extended.would_refuse == mark(grown)
    assert extended.operation == "grows"
    assert extended.expires is not None
    report = ledger.audit()
    assert (report.would_refuse, str(report.would_refuse_usd)) == (2, "4.5")
    ledger.settle("over", "1.5")
    ledger.settle("fits", 4)
    assert only(ledger, "acme").observed
    assert only(ledger, "acme/x").observed


def test_what_no_limit_decides_is_refused_as_everywhere(ledger: Ledger) -> None:
    """A pause, no budget, a unit that was not counted."""
    observed(ledger)
    ledger.set_budget("acme/tokens", limits=["5 tokens total", "1 usd total"])
    with pytest.raises(BudgetExceeded, match="tokens") as unpriced:
        ledger.reserve("acme/tokens", 7)
    assert unpriced.value.reason is Reason.UNPRICED
    with pytest.raises(NoBudget):
        ledger.reserve("other", 1)
    ledger.pause("acme", actor="Ada", reason="stop")
    with pytest.raises(BudgetExceeded) as paused:
        ledger.reserve("acme/x", "0.1")
    assert paused.value.reason is Reason.PAUSED


def test_only_a_root_is_observed(ledger: Ledger, edges: list[Ledger]) -> None:
    """And all that is below it, whatever stands there."""
    for books in (ledger, *edges):
        with pytest.raises(InvalidLimit, match="set it on 'acme'"):
            books.set_budget("acme/x", observed=True)


def test_a_preview_says_both(ledger: Ledger) -> None:
    """That it would be let in, and that a limit would refuse it."""
    observed(ledger)
    assert ledger.preview("acme/x", 3) is None
    refused = ledger.preview("acme/x", 3, enforced=True)
    assert refused is not None
    assert refused.reason is Reason.TOO_LARGE
    assert ledger.preview("acme/x", 2, enforced=True) is None


def test_turned_off_it_refuses_until_all_fits(ledger: Ledger) -> None:
    """As after a limit that was lowered; what was accepted meanwhile stays marked."""
    observed(ledger)
    ledger.reserve("acme/x", 3, key="over")
    ledger.set_budget("acme", observed=False)
    assert not only(ledger, "acme/x").observed
    for act in (
        lambda: ledger.reserve("acme/x", 0),
        lambda: ledger.reserve("acme", "0.01"),
        lambda: ledger.extend("over", "0.01"),
    ):
        with pytest.raises(BudgetExceeded):
            act()
    ledger.settle("over", 1)
    assert ledger.reserve("acme/x", 1, key="fits").would_refuse is None
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme/x", "0.01")
    check_books(ledger)
    assert ledger.audit().would_refuse == 1


def test_no_process_accepts_what_does_not_fit_once_another_turned_it_off(
    open_store: Callable[[], Ledger], clock: ManualClock
) -> None:
    """It goes by the books as they are, however lately it decided, alone or in a batch."""
    one, other = open_store(), open_store()
    observed(one)
    one.reserve("acme/x", 3, key="over")
    for turn in range(3):
        assert mark(other.reserve("acme/x", "0.5", key=f"other-{turn}"))
        # Now this one knows all sums, and that what does not fit is let in.
        assert mark(one.reserve("acme/x", "0.5", key=f"one-{turn}"))
        before = standing(other, "acme")
        other.set_budget("acme", observed=False)
        with pytest.raises(BudgetExceeded):
            one.reserve("acme/x", "0.5", key=f"late-{turn}")
        with pytest.raises(BudgetExceeded):
            one.extend("over", "0.5")
        assert standing(one, "acme") == before
        check_books(one)
        other.set_budget("acme", observed=True)
        clock.advance(timedelta(seconds=1))
        assert mark(one.reserve("acme/x", "0.5", key=f"again-{turn}"))
    check_books(other)


def test_an_audit_finds_what_went_over_while_nobody_observed(
    open_store: Callable[[], Ledger],
) -> None:
    """Such an entry is a fault of the books, and so is a mark that says nothing."""
    ledger = open_store()
    observed(ledger)
    ledger.reserve("acme/x", 3, key="over")
    ledger.set_budget("acme", observed=False)
    assert ledger.audit().ok
    (seq,) = [e.seq for e in ledger.entries() if e.would_refuse]
    assert tamper(ledger, f"UPDATE entry SET data = data || '}}' WHERE seq = {seq}")  # noqa: S608
    (problem,) = ledger.audit().problems
    assert problem == f"entry {seq} does not say which limit it did not fit on"
    tamper(ledger, f"UPDATE entry SET data = replace(data, '}}}}', '}}') WHERE seq = {seq}")  # noqa: S608
    assert ledger.audit().ok
    tamper(ledger, "UPDATE entry SET data = replace(data, '\"observed\": true', '\"alerts\": []')")
    assert any("was not observed" in problem for problem in ledger.audit().problems)


def test_entries_obey_what_stood_when_they_were_committed(
    open_store: Callable[[], Ledger],
) -> None:
    """Threads of two processes spend while others switch: in order, no entry goes by the past."""
    ledgers = [open_store(), open_store()]
    ledgers[0].set_budget("acme", limits=["2 usd total"])

    def spend(name: int) -> None:
        books = ledgers[name % 2]
        for turn in range(16):
            key = f"{name}-{turn}"
            with suppress(BudgetExceeded):
                books.reserve("acme/x", "0.5", key=key)
                if turn % 3:
                    books.release(key)

    def switch(name: int) -> None:
        for turn in range(8):
            ledgers[name % 2].set_budget("acme", observed=(turn + name) % 2 == 0)

    with ThreadPoolExecutor(6) as threads:
        work = [threads.submit(spend, name) for name in range(4)]
        work += [threads.submit(switch, name) for name in range(2)]
        for each in work:
            each.result()
    held: dict[str, int] = {}
    is_observed, marks = False, 0
    for entry in ledgers[0].entries():
        if entry.kind == "limit":
            is_observed = json.loads(entry.data).get("observed", False)
        elif entry.kind == "release":
            del held[entry.key]
        else:
            held[entry.key] = entry.amounts.usd
            fits = sum(held.values()) <= 2 * 10**9
            assert fits == (entry.would_refuse is None), "marked, or it fits"
            assert fits or is_observed, "over a limit only while observed"
            marks += not fits
    assert marks == ledgers[1].audit().would_refuse
    check_books(ledgers[1])


def test_a_mark_is_decided_on_the_books_as_they_are(
    open_store: Callable[[], Ledger],
) -> None:
    """What another process gave back meanwhile makes room: what fits by then is not marked."""
    one, other = open_store(), open_store()
    observed(one)
    for turn in range(3):
        for books, name in ((other, "other"), (one, "one")):
            assert mark(books.reserve("acme/x", 3, key=f"{name}-{turn}"))
        assert mark(one.reserve("acme/x", 1, key=f"known-{turn}"))
        for name in ("other", "one", "known"):
            other.release(f"{name}-{turn}")
        fits = one.reserve("acme/x", 2, key=f"fits-{turn}")
        assert fits.would_refuse is None
        assert standing(other, "acme") == ("2", "0", "2", "0")
        other.release(fits.key)
    check_books(one)
