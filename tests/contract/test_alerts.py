"""Alerts: each threshold of each amount of a limit is told once, when it is crossed."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import pytest

from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.testing import ManualClock


def told(ledger: Ledger, budget: str | None = None) -> list[tuple[str, int]]:
    """Return (budget, per cent) of each alert, in the order of commits."""
    return [(alert.budget, alert.threshold // 10_000) for alert in ledger.alerts(budget)]


def spend(ledger: Ledger, amount: str, actual: str | None = None, path: str = "acme") -> None:
    """Reserve *amount* and settle *actual*."""
    hold = ledger.reserve(path, amount)
    ledger.settle(hold.key, actual or amount)


def test_each_threshold_is_told_once(ledger: Ledger) -> None:
    """80 % and 100 % of a limit alert once each, at the settlement that reaches them."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    spend(ledger, "7.999999999")
    assert told(ledger) == []
    spend(ledger, "0.000000001")
    assert told(ledger) == [("acme", 80)]
    spend(ledger, "1.9")
    assert told(ledger) == [("acme", 80)]
    spend(ledger, "0.1")
    assert told(ledger) == [("acme", 80), ("acme", 100)]


def test_alerts_are_listed_from_one_on(ledger: Ledger) -> None:
    """Who has seen some asks for what came after the last of them."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    spend(ledger, "8")
    spend(ledger, "2")
    first, second = ledger.alerts()
    assert ledger.store.alerts(Filter(after=first.seq, most=10)) == [second]
    assert ledger.store.alerts(Filter(after=second.seq, most=10)) == []


def test_a_hold_alone_alerts_nobody(ledger: Ledger) -> None:
    """Alerts go by what is settled, not by what is held."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    hold = ledger.reserve("acme", 10)
    assert told(ledger) == []
    ledger.presume(hold.key)
    assert told(ledger) == [("acme", 80), ("acme", 100)]


def test_one_settlement_may_cross_two(ledger: Ledger) -> None:
    """A settlement from below 80 % to above 100 % tells both, in order."""
    ledger.set_budget("acme", limits=["1 usd per day"], alerts=[0.5, 0.8, 1.0, 1.5])
    spend(ledger, "0.1", "1.2")
    assert told(ledger) == [("acme", 50), ("acme", 80), ("acme", 100)]
    first = ledger.alerts()[0]
    assert (first.limit, first.settled, first.unit, first.window) == (
        10**9,
        12 * 10**8,
        "usd",
        "day",
    )


def test_every_account_above_alerts_for_itself(ledger: Ledger) -> None:
    """A settlement alerts on each budget whose threshold it crosses, and on no other."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.set_budget("acme/a", limits=["1 usd per day", "1 usd total"])
    spend(ledger, "0.9", path="acme/a")
    assert told(ledger) == [("acme/a", 80), ("acme/a", 80)]
    assert [alert.window for alert in ledger.alerts("acme/a")] == ["day", "total"]


def test_a_correction_and_a_second_crossing_tell_nothing_new(ledger: Ledger) -> None:
    """After the truth lowers what was presumed, crossing the same threshold again is silent."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    hold = ledger.reserve("acme", "0.9")
    ledger.presume(hold.key)
    assert told(ledger) == [("acme", 80)]
    ledger.settle(hold.key, "0.1")
    spend(ledger, "0.8")
    assert told(ledger) == [("acme", 80)]
    spend(ledger, "0.1")
    assert told(ledger) == [("acme", 80), ("acme", 100)]


def test_a_lowered_limit_crosses(ledger: Ledger) -> None:
    """Lowering a limit below what is spent crosses its thresholds there and then."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    spend(ledger, "5")
    ledger.set_budget("acme", limits=["6 usd per day"])
    assert told(ledger) == [("acme", 80)]
    ledger.set_budget("acme", limits=["4 usd per day"])
    assert told(ledger) == [("acme", 80), ("acme", 80), ("acme", 100)]
    for _ in range(2):
        ledger.set_budget("acme", limits=["10 usd per day"])
        ledger.set_budget("acme", limits=["4 usd per day"])
    assert told(ledger) == [("acme", 80), ("acme", 80), ("acme", 100)]


def amounts(ledger: Ledger) -> list[tuple[int, int]]:
    """Return (limit, per cent) of each alert, in the order of commits."""
    return [(alert.limit // 10**9, alert.threshold // 10_000) for alert in ledger.alerts()]


def test_a_raised_limit_tells_its_own_thresholds(ledger: Ledger) -> None:
    """8 of 10 told, then 86 of 100 is told too; back under 10, what was told of it stays told."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    spend(ledger, "8")
    ledger.set_budget("acme", limits=["100 usd per day"])
    spend(ledger, "71")
    assert amounts(ledger) == [(10, 80)]
    spend(ledger, "7")
    assert amounts(ledger) == [(10, 80), (100, 80)]
    ledger.set_budget("acme", limits=["10 usd per day"])
    assert amounts(ledger) == [(10, 80), (100, 80), (10, 100)]
    ledger.set_budget("acme", limits=["100 usd per day"])
    spend(ledger, "14")
    assert amounts(ledger) == [(10, 80), (100, 80), (10, 100), (100, 100)]
    assert len({alert.id for alert in ledger.alerts()}) == 4


def test_an_extended_limit_is_exhausted_again(ledger: Ledger, clock: ManualClock) -> None:
    """10 of 10 told, extended by 10: 16 and 20 of 20 are told; after it nothing is told again."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    hold = ledger.reserve("acme", 1)
    spend(ledger, "9")
    ledger.settle(hold.key, 1)
    ledger.extend_budget("acme", "10 usd per day", until=clock.now + timedelta(hours=1))
    spend(ledger, "6")
    spend(ledger, "4")
    assert amounts(ledger) == [(10, 80), (10, 100), (20, 80), (20, 100)]
    late = ledger.reserve("acme", 0)
    clock.advance(timedelta(hours=1))
    ledger.settle(late.key, 1)
    ledger.set_budget("acme", alerts=[0.8, 1.0, 2.0])
    assert amounts(ledger) == [(10, 80), (10, 100), (20, 80), (20, 100), (10, 200)]


def test_a_raised_limit_moves_what_is_not_told_yet(ledger: Ledger) -> None:
    """A threshold goes by the limit of now."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    spend(ledger, "7")
    ledger.set_budget("acme", limits=["20 usd per day"])
    spend(ledger, "8")
    assert told(ledger) == []
    spend(ledger, "1")
    assert told(ledger) == [("acme", 80)]


def test_an_added_threshold_is_told(ledger: Ledger) -> None:
    """A threshold added above those told is told when it is passed already."""
    ledger.set_budget("acme", limits=["10 usd per day"], alerts=[0.5])
    spend(ledger, "8")
    ledger.set_budget("acme", limits=["10 usd per day"], alerts=[0.5, 0.75, 1.0])
    assert told(ledger) == [("acme", 50), ("acme", 75)]


def test_a_new_interval_tells_anew(ledger: Ledger, clock: ManualClock) -> None:
    """Tomorrow's account has thresholds of its own."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    spend(ledger, "0.8")
    clock.advance(timedelta(days=1))
    spend(ledger, "0.8")
    assert told(ledger) == [("acme", 80), ("acme", 80)]
    assert len({alert.id for alert in ledger.alerts()}) == 2


def test_an_extension_that_ended_counts_no_more(ledger: Ledger, clock: ManualClock) -> None:
    """After an extension, thresholds are shares of the plain limit again."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    hold = ledger.reserve("acme", "8.5")
    ledger.extend_budget("acme", "10 usd per day", until=clock.now + timedelta(minutes=30))
    clock.advance(timedelta(minutes=30))
    ledger.settle(hold.key, "8.5")
    assert told(ledger) == [("acme", 80)]
    assert ledger.alerts()[0].limit == 10 * 10**9


def test_no_thresholds_no_alerts(ledger: Ledger) -> None:
    """A budget without thresholds never alerts; a limit of zero has none to cross."""
    ledger.set_budget("acme", limits=["1 usd per day"], alerts=[])
    ledger.set_budget("zero", limits=["0 usd per day", "10 calls per day"], alerts=[1.0])
    spend(ledger, "0.5", "2")
    spend(ledger, "0", "1", path="zero")
    assert told(ledger) == []


def test_calls_and_tokens_alert_too(ledger: Ledger) -> None:
    """Thresholds count in the limit's own unit."""
    ledger.set_budget("acme", limits=["5 calls per day", "100 tokens per day"])
    for _ in range(4):
        hold = ledger.reserve("acme", units={"tokens": 20})
        ledger.settle(hold.key, 0)
    assert sorted(alert.unit for alert in ledger.alerts()) == ["calls", "tokens"]


def test_alerts_list_by_budget(ledger: Ledger) -> None:
    """Alerts of a budget are those at or below it, without siblings that begin alike."""
    for path in ("acme", "acme-2", "acme/a"):
        ledger.set_budget(path, limits=["1 usd per day"], alerts=[0.5])
        spend(ledger, "0.6" if path != "acme/a" else "0.3", path=path)
    spend(ledger, "0.1", "0.4", path="acme/a")
    assert told(ledger, "acme") == [("acme", 50), ("acme/a", 50)]
    assert len(told(ledger)) == 3


def test_a_restart_after_a_raise_tells_each_amount_once(
    open_store: Callable[[], Ledger],
) -> None:
    """Of which amount a threshold was told is in the store."""
    first = open_store()
    first.set_budget("acme", limits=["1 usd per day"])
    spend(first, "0.9")
    first.set_budget("acme", limits=["2 usd per day"])
    second = open_store()
    spend(second, "0.8")
    spend(first, "0.1")
    third = open_store()
    third.set_budget("acme", limits=["1 usd per day"])
    third.set_budget("acme", limits=["2 usd per day"])
    spend(third, "0.1")
    found = [(alert.limit // 10**9, alert.threshold // 10_000) for alert in first.alerts()]
    assert found == [(1, 80), (2, 80), (1, 100)]


def test_a_restart_tells_nothing_twice(open_store: Callable[[], Ledger]) -> None:
    """After reopening the books, told thresholds stay told and others are still told."""
    first = open_store()
    first.set_budget("acme", limits=["1 usd per day"])
    spend(first, "0.85")
    second = open_store()
    spend(second, "0.1")
    spend(first, "0.01")
    spend(second, "0.04")
    assert told(first) == [("acme", 80), ("acme", 100)]
    assert told(second) == told(first)


@pytest.mark.parametrize(
    ("more", "alerts"), [("0.1", []), ("20", [("acme", 50)])], ids=["grown", "refused"]
)
def test_what_grew_after_its_day_alerts_by_the_limit_it_grew_under(
    ledger: Ledger, clock: ManualClock, more: str, alerts: list[tuple[str, int]]
) -> None:
    """An extension brings its day under the limit of now; one that is refused changes nothing."""
    ledger.set_budget("acme", limits=["1 usd per day"], alerts=[0.5])
    ledger.reserve("acme", "0.4", key="late", deadline="3d")
    clock.advance(timedelta(days=1))
    ledger.set_budget("acme", limits=["10 usd per day"])
    with nullcontext() if not alerts else pytest.raises(BudgetExceeded):
        ledger.extend("late", more)
    ledger.settle("late", "0.5")
    assert told(ledger) == alerts
