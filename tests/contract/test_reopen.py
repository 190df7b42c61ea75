"""Books on disk: closed and opened again, by one ledger or several, they are the same books."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from earmark.errors import BudgetExceeded, KeyReused, Reason, ReservationClosed
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Accepted, Amounts, Reserve
from earmark.money import NANOS_PER_USD
from earmark.testing import ManualClock
from support.ledger_books import check_books, standing

Opener = Callable[[], Ledger]


def everything(ledger: Ledger) -> tuple[object, ...]:
    """Return all a reader can see."""
    return (
        ledger.budgets(),
        ledger.holds(state=None),
        ledger.entries(),
        ledger.alerts(),
        [ledger.balances(budget.path) for budget in ledger.budgets()],
    )


def test_everything_is_still_there(open_store: Opener, clock: ManualClock) -> None:
    """Budgets, pauses, extensions, reservations, entries and alerts survive a restart."""
    with open_store() as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"], timezone="Europe/Berlin")
        ledger.extend_budget("acme", "5 usd per day", until=clock.now + timedelta(hours=3))
        ledger.reserve("acme", 9, key="a", units={"tokens": 4}, labels={"run": "1"})
        ledger.extend("a", 1, operation="more")
        ledger.settle("a", 13)
        ledger.reserve("acme", 1, key="b")
        ledger.pause("acme", actor="Ada", reason="stop")
        before = everything(ledger)
        assert ledger.alerts() != []
    with open_store() as ledger:
        assert everything(ledger) == before
        check_books(ledger)


def test_keys_are_remembered(open_store: Opener) -> None:
    """After a restart a repeat still gives the first answer, and other content is refused."""
    with open_store() as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
        first = ledger.reserve("acme", 1, key="a")
        ledger.extend("a", 1, operation="more")
    with open_store() as ledger:
        assert ledger.reserve("acme", 1, key="a").seq == first.seq
        assert str(ledger.extend("a", 1, operation="more").amount) == "2"
        with pytest.raises(KeyReused):
            ledger.reserve("acme", 3, key="a")
        with pytest.raises(KeyReused):
            ledger.extend("a", 2, operation="more")
        assert standing(ledger, "acme") == ("10", "0", "2", "8")


def test_time_does_not_go_back_over_a_restart(open_store: Opener, clock: ManualClock) -> None:
    """A machine that starts with yesterday's clock goes on today."""
    with open_store() as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        ledger.settle(ledger.reserve("acme", 1).key, 1)
    clock.set(clock.now - timedelta(days=1))
    with open_store() as ledger, pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.1")


def test_what_fell_due_while_nobody_looked(open_store: Opener, clock: ManualClock) -> None:
    """A reservation left open by a dead process is presumed by whoever comes next."""
    with open_store() as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        ledger.reserve("acme", "0.6", key="a", deadline="10min")
    clock.advance(timedelta(minutes=9))
    with open_store() as ledger:
        assert [hold.key for hold in ledger.holds()] == ["a"]
    clock.advance(timedelta(minutes=1))
    with open_store() as ledger:
        assert ledger.holds() == []
        assert standing(ledger, "acme") == ("1", "0.6", "0", "0.4")
        assert ledger.settle("a", "0.1").state == "settled"


def test_an_extension_of_time_alone_is_remembered(open_store: Opener) -> None:
    """It adds nothing to the hold, and is an entry like any other, also for the next process."""
    with open_store() as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        ledger.reserve("acme", "0.6", key="a")
        ledger.extend("a", deadline="2h")
    with open_store() as ledger:
        ledger.settle("a", "0.1")
        check_books(ledger)


def test_two_ledgers_share_the_books(open_store: Opener) -> None:
    """What one ledger reserves, settles, changes or pauses, the other decides by at once."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["1 usd per day"])
    for n in range(5):
        (one if n % 2 else two).reserve("acme", "0.2", key=f"k{n}")
    for ledger in (one, two):
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve("acme", "0.1")
        assert refused.value.reason is Reason.HELD
    one.settle("k0", "0.1")
    two.reserve("acme", "0.1", key="k5")
    two.release("k1")
    one.reserve("acme", "0.2", key="k6")
    one.set_budget("acme", limits=["2 usd per day"])
    two.reserve("acme", 1, key="k7")
    two.pause("acme")
    with pytest.raises(BudgetExceeded) as refused:
        one.reserve("acme", "0.1")
    assert refused.value.reason is Reason.PAUSED
    assert one.reserve("acme", 1, key="k7").seq == two.reservation("k7").seq
    assert everything(one) == everything(two)
    check_books(one)


def test_reading_does_not_stop_writing(open_store: Opener) -> None:
    """However reads and writes of two ledgers alternate, each write goes through."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["100 usd per day"])
    for n in range(20):
        writer, reader = (one, two) if n % 2 else (two, one)
        writer.reserve("acme", 1, key=f"k{n}")
        assert reader.reservation(f"k{n}").state == "open"
        assert len(reader.entries(most=5)) >= 1
        writer.reserve("acme", 1, key=f"k{n}")
        reader.settle(f"k{n}", "0.5")
    assert standing(two, "acme") == ("100", "10", "0", "90")


def test_other_ledgers_changes_are_noticed(open_store: Opener) -> None:
    """A store tells that another ledger has written, also right after a read; else it does not."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["100 usd per day"])
    hold = one.reserve("acme", 1)
    seen = two.store.watch(["acme"], -1, 0)
    for _ in range(5):
        two.reservation(hold.key)
        assert two.store.watch(["acme"], seen, 0) == seen
        one.release(one.reserve("acme", 1).key)
        before, seen = seen, two.store.watch(["acme"], seen, 10)
        assert before != seen


@pytest.mark.parametrize("change", ["lower", "pause", "raise", "resume"])
def test_a_budget_that_another_ledger_changed_binds_at_once(
    open_store: Opener, change: str
) -> None:
    """What one ledger has cached of a budget is worth nothing once another changes the budget."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["2 usd per day"])
    if change == "resume":
        one.pause("acme", actor="Ada", reason="")
    else:
        one.settle(one.reserve("acme", 1).key, "0.5")
    with suppress(BudgetExceeded):
        one.reserve("acme", 9)
    match change:
        case "lower":
            two.set_budget("acme", limits=["1 usd per day"])
        case "pause":
            two.pause("acme", actor="Ada", reason="")
        case "raise":
            two.set_budget("acme", limits=["20 usd per day"])
        case _:
            two.resume("acme", actor="Ada", reason="")
    if change in {"lower", "pause"}:
        with pytest.raises(BudgetExceeded):
            one.reserve("acme", 1)
    else:
        assert one.reserve("acme", "1.5").state == "open"


def test_another_ledgers_settlement_makes_room_and_alerts_once(open_store: Opener) -> None:
    """Two ledgers that each know only their own sums tell each threshold once, and refuse truly."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["10 usd per day"])
    holds = [ledger.reserve("acme", 2) for ledger in (one, two, one, two, one)]
    for n, hold in enumerate(holds):
        (one, two)[n % 2].settle(hold.key, 2)
    assert [alert.threshold for alert in one.alerts()] == [800_000, 1_000_000]
    for ledger in (one, two):
        with pytest.raises(BudgetExceeded, match="10 settled"):
            ledger.reserve("acme", 1)


def test_another_ledgers_settlement_is_not_settled_over(open_store: Opener) -> None:
    """Who opened a hold cannot close it a second time after another ledger closed it."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["10 usd per day"])
    settled, released = one.reserve("acme", 2, key="s"), one.reserve("acme", 2, key="r")
    one.reserve("acme", 5)
    two.settle(settled.key, 1)
    two.release(released.key)
    with pytest.raises(KeyReused):
        one.settle(settled.key, 2)
    with pytest.raises(ReservationClosed):
        one.settle(released.key, 2)
    assert one.settle(settled.key, 1).state == "settled"
    assert standing(two, "acme") == ("10", "1", "5", "4")


def test_no_one_is_refused_for_what_another_ledger_gave_back(
    open_store: Opener, clock: ManualClock
) -> None:
    """A refusal rests on the sums as they are, also when others of its batch are accepted."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["10 usd per day"])
    one.reserve("acme", 8, key="most")
    two.release("most")
    small, large = (
        Reserve(key, "acme", Amounts(usd * NANOS_PER_USD), 10**12)
        for key, usd in (("small", 1), ("large", 9))
    )
    decisions = one.store.apply([small, large], clock.instant())
    assert [type(decision) for decision in decisions] == [Accepted, Accepted]


def test_an_extension_counts_what_another_ledger_holds(open_store: Opener) -> None:
    """A hold grows only into what is free of all holds, also of those it has not seen."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["10 usd per day"])
    hold = one.reserve("acme", 1)
    two.reserve("acme", 8)
    with pytest.raises(BudgetExceeded, match="9 held"):
        one.extend(hold.key, 2)


def test_midnight_comes_with_another_ledgers_clock(open_store: Opener, clock: ManualClock) -> None:
    """Once one ledger has booked on the next day, a clock that is behind books there, too."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["10 usd per day"])
    evening = clock.now.replace(hour=23, minute=59, second=59)
    clock.set(evening)
    one.reserve("acme", 1)
    clock.advance(timedelta(seconds=2))
    two.reserve("acme", 2)
    clock.set(evening)
    late = one.reserve("acme", 4)
    assert late.opened_at == evening + timedelta(seconds=2)
    assert standing(two, "acme") == ("10", "0", "6", "4")


def test_another_ledgers_deadline_passes_first(open_store: Opener, clock: ManualClock) -> None:
    """What fell due is presumed before anything later is decided, whoever opened it."""
    one, two = open_store(), open_store()
    one.set_budget("acme", limits=["10 usd per day"])
    one.reserve("acme", 1)
    two.reserve("acme", 1, key="short", deadline="1s")
    clock.advance(timedelta(seconds=10))
    one.reserve("acme", 1)
    assert [entry.kind for entry in one.entries()][-2:] == ["presume", "reserve"]
