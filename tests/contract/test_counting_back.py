"""What a limit counts of what was before it: in another time zone, of a new window, of a hold."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from earmark.errors import BudgetExceeded, InputError, Reason
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import AS_HELD, Amounts, Reserve, SetLimits, Settle
from earmark.money import LARGEST_SUM
from earmark.testing import ManualClock
from support.ledger_books import standing, tamper

HOUR = timedelta(hours=1)
#: Noon, 22 November in UTC. In Los Angeles the day began at 8:00 UTC, in Tokyo it ends at 15:00.
WEST, EAST = "America/Los_Angeles", "Asia/Tokyo"


def spend(ledger: Ledger, path: str, amount: int, key: str | None = None) -> None:
    """Reserve and settle *amount*."""
    hold = ledger.reserve(path, amount, key=key)
    ledger.settle(hold.key, amount)


@pytest.fixture
def day(ledger: Ledger, clock: ManualClock) -> Ledger:
    """Books with 2 USD settled at 6:00, 3 at 10:00 and 1 held since 6:00, of 10 a day in UTC."""
    clock.set(datetime(2026, 11, 22, 6, tzinfo=UTC))
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.set_budget("acme/agent", limits=["100 usd per day"])
    spend(ledger, "acme/agent", 2, key="early")
    ledger.reserve("acme", 1, key="open", deadline="2d")
    clock.advance(4 * HOUR)
    spend(ledger, "acme/agent", 3, key="late")
    clock.advance(2 * HOUR)
    return ledger


def test_another_zone_gives_nothing_back(day: Ledger) -> None:
    """Its account begins with what was settled in its interval and with what is held."""
    day.set_budget("acme", timezone=EAST)
    assert standing(day, "acme") == ("10", "5", "1", "4")
    day.set_budget("acme", timezone=WEST)
    assert standing(day, "acme") == ("10", "3", "1", "6")
    with pytest.raises(BudgetExceeded):
        day.reserve("acme/agent", "6.01")
    day.reserve("acme/agent", 6)


def test_zones_changed_back_and_forth_neither_lose_nor_count_twice(day: Ledger) -> None:
    """Each interval counts what was opened in it, under whatever zone, once."""
    for number, zone in enumerate([WEST, "UTC", EAST, WEST, EAST, "UTC", WEST, "UTC"]):
        day.set_budget("acme", timezone=zone)
        day.settle(day.reserve("acme", "0.1").key, "0.1")
        early = 0 if zone == WEST else 2
        settled = f"{early + 3 + (number + 1) / 10:g}"
        assert standing(day, "acme")[1:3] == (settled, "1")
        assert day.audit().problems == ()
    day.settle("open", 2)
    assert standing(day, "acme")[1:] == ("7.8", "0", "2.2")


@pytest.mark.parametrize(
    ("end", "sums"),
    [
        ("settle", ("4.5", "0")),
        ("release", ("3", "0")),
        ("presume", ("4", "0")),
        ("correct", ("3.5", "0")),
        ("extend", ("3", "3")),
    ],
)
def test_what_was_open_goes_on_counting_in_the_other_zone(
    day: Ledger, end: str, sums: tuple[str, str]
) -> None:
    """Its settlement, release, presumption, correction and extension change the new account."""
    day.set_budget("acme", timezone=WEST)
    match end:
        case "settle":
            day.settle("open", "1.5")
        case "release":
            day.release("open")
        case "presume":
            day.presume("open")
        case "correct":
            day.presume("open")
            day.settle("open", "0.5")
        case _:
            day.extend("open", 2)
    assert standing(day, "acme")[1:3] == sums
    day.set_budget("acme", timezone="UTC")
    assert standing(day, "acme")[1:3] == (str(float(sums[0]) + 2).removesuffix(".0"), sums[1])


def test_what_was_presumed_before_the_change_is_corrected_after_it(day: Ledger) -> None:
    """The truth changes both accounts."""
    day.reserve("acme", 4, key="lost")
    day.presume("lost")
    day.set_budget("acme", timezone=WEST)
    assert standing(day, "acme")[1] == "7"
    day.settle("lost", 1)
    assert standing(day, "acme")[1] == "4"
    day.set_budget("acme", timezone="UTC")
    assert standing(day, "acme")[1] == "6"


def test_a_zone_without_another_interval_changes_no_account(
    ledger: Ledger, clock: ManualClock
) -> None:
    """`total` is one everywhere, half hours turn alike, and months may begin but not end alike."""
    clock.set(datetime(2026, 3, 20, 12, tzinfo=UTC))
    limits = ["10 usd total", "5 usd per 30min", "9 usd per month"]
    ledger.set_budget("acme", limits=limits, timezone="Europe/Berlin")
    spend(ledger, "acme", 1)
    ledger.set_budget("acme", timezone="Africa/Algiers")
    assert "opened" not in ledger.entries()[-1].data
    month = ledger.balances("acme")[2]
    assert (str(month.settled), month.resets_at) == ("1", datetime(2026, 3, 31, 23, tzinfo=UTC))
    clock.set(datetime(2026, 3, 31, 22, 30, tzinfo=UTC))
    spend(ledger, "acme", 2)
    assert str(ledger.balances("acme")[2].settled) == "3"


def test_the_change_is_one_entry_that_says_what_was_counted(day: Ledger) -> None:
    """Who, why, and with how much of how many the account began."""
    before = len(day.entries())
    day.set_budget("acme", timezone=WEST, actor="ann", reason="we moved")
    (entry,) = day.entries()[before:]
    for said in ("ann", "we moved", '"settled": 3000000000', '"held": 1000000000', ": 2, "):
        assert said in entry.data


def test_a_new_window_counts_from_now_unless_asked_to_count_back(day: Ledger) -> None:
    """Then it counts what was settled in its interval and what is held."""
    both = ["10 usd per day", "20 usd per month"]
    day.set_budget("acme", limits=both)
    assert [str(each.settled) for each in day.balances("acme")] == ["5", "0"]
    day.set_budget("acme", limits=["20 usd per week"], count_back=True)
    assert standing(day, "acme") == ("20", "5", "1", "14")
    day.set_budget("acme", limits=[*both, "20 usd per week", "9 calls total"], count_back=True)
    sums = [(str(each.settled), str(each.held)) for each in day.balances("acme")]
    assert sums == [("5", "1"), ("5", "1"), ("5", "1"), ("2", "1")]


def test_counting_back_again_counts_nothing_twice(day: Ledger, clock: ManualClock) -> None:
    """A repeat changes nothing, also the next day; limits that stood are as they were."""
    limits = ["10 usd per day", "20 usd per month"]
    day.set_budget("acme", limits=limits, count_back=True)
    entries, before = len(day.entries()), day.balances("acme")
    day.set_budget("acme", limits=limits, count_back=True)
    assert (len(day.entries()), day.balances("acme")) == (entries, before)
    clock.advance(timedelta(days=1))
    day.set_budget("acme", limits=limits, count_back=True)
    assert str(day.balances("acme")[0].held) == "0"


def test_a_new_budget_counts_back_what_was_spent_below_it(day: Ledger) -> None:
    """By budgets above and below; those that only begin alike are others."""
    day.set_budget("acme-2", limits=["9 usd per day"])
    spend(day, "acme-2", 4)
    day.set_budget("acme/agent/x", limits=["9 usd per day"], count_back=True)
    day.set_budget("acme/agent", limits=["9 usd total"], count_back=True)
    assert standing(day, "acme/agent/x")[1] == "0"
    assert standing(day, "acme/agent")[1] == "5"


def test_changes_in_one_commit_count_each_other(ledger: Ledger, clock: ManualClock) -> None:
    """What the same batch reserves, settles and moves before is counted, what it ends is not."""
    limits = ledger.set_budget("acme", limits=["10 usd per day"]).limits
    ledger.store.apply([Reserve("s", "acme", Amounts(32), 10**12)], clock.instant())
    ops = [
        Settle("s", Amounts(64)),
        Reserve("a", "acme", Amounts(1), 10**12),
        Reserve("b", "acme", Amounts(2), 10**12),
        SetLimits("acme", {"timezone": WEST}),
        Settle("a", Amounts(4)),
        Reserve("c", "acme", Amounts(8), 10**12),
        SetLimits("acme", {"limits": limits, "timezone": EAST}),
        Settle("b", Amounts(16)),
    ]
    ledger.store.apply(ops, clock.instant())
    assert [each.held for each in ledger.store.accounts("acme", clock.instant())] == [8]
    for zone in (EAST, WEST, "UTC"):
        ledger.set_budget("acme", timezone=zone)
        assert standing(ledger, "acme")[1:3] == ("0.000000084", "0.000000008")


def test_sums_that_no_store_holds_are_refused(ledger: Ledger, clock: ManualClock) -> None:
    """Days that could each be counted are too much together; the budget stays as it is."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    for key in ("a", "b"):
        most = Amounts(LARGEST_SUM - 1, AS_HELD, None)
        ops = [Reserve(key, "acme", Amounts(0), 10**12), Settle(key, most)]
        ledger.store.apply(ops, clock.instant())
        clock.advance(timedelta(days=1))
    with pytest.raises(InputError, match="can count up to"):
        ledger.set_budget("acme", limits=["10 usd total"], count_back=True)
    assert [str(limit) for limit in ledger.budgets()[0].limits] == ["10 usd per day"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE reservation SET accounts = '1' WHERE \"key\" = 'late'", "does not count"),
        ("UPDATE entry SET data = replace(data, ': 3000000000', ': 2000000000')", "sum to"),
        ("UPDATE entry SET data = replace(data, '\"held\": 1', '\"held\": 2')", "sum to"),
        (
            "DELETE FROM account WHERE id = (SELECT max(id) FROM account)",
            "account of acme, usd per day, is missing",
        ),
    ],
)
def test_the_audit_recounts_what_was_counted_back(
    open_store: Callable[[], Ledger], sql: str, said: str
) -> None:
    """One who is missing, and sums that the entries before do not have, are found."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["10 usd per day"])
    spend(ledger, "acme", 3, key="late")
    ledger.reserve("acme", 1, key="open")
    ledger.set_budget("acme", timezone=WEST)
    assert ledger.audit().ok
    assert tamper(ledger, sql) > 0
    assert any(said in problem for problem in ledger.audit().problems)


def test_another_process_settles_on_the_new_account_too(
    open_store: Callable[[], Ledger],
) -> None:
    """Though it has the reservation in its working set as it was."""
    first, second = open_store(), open_store()
    first.set_budget("acme", limits=["10 usd per day"])
    second.reserve("acme", 5, key="held")
    first.set_budget("acme", timezone=WEST)
    second.settle("held", 4)
    for ledger in (first, second):
        assert standing(ledger, "acme") == ("10", "4", "0", "6")
        assert ledger.audit().problems == ()


# What grows ---------------------------------------------------------------------------------------


def test_limits_set_since_bind_what_grows(ledger: Ledger) -> None:
    """Also those of budgets above that were made since; what they do not allow changes nothing."""
    ledger.set_budget("acme/agent", limits=["100 usd per day"])
    ledger.reserve("acme/agent", 1, key="x")
    ledger.set_budget("acme", limits=["2 usd per day"])
    ledger.set_budget("acme/agent", limits=["100 usd per day", "1 usd per hour"])
    for amount, budget in (("90", "acme/agent"), ("1.5", "acme/agent")):
        with pytest.raises(BudgetExceeded) as refused:
            ledger.extend("x", amount)
        assert (refused.value.budget, refused.value.reason) == (budget, Reason.TOO_LARGE)
    assert ledger.extend("x", 1).amount.in_nanos == 2 * 10**9
    assert standing(ledger, "acme") == ("2", "0", "1", "1")
    with pytest.raises(BudgetExceeded, match="'acme/agent'"):
        ledger.extend("x", "0.1")
    ledger.set_budget("acme/agent", limits=["100 usd per day", "3 usd per hour"])
    ledger.extend("x", 1)
    with pytest.raises(BudgetExceeded, match="'acme'"):
        ledger.extend("x", "0.1")
    ledger.settle("x", 3)
    assert standing(ledger, "acme") == ("2", "2", "0", "0")


@pytest.mark.parametrize(
    ("end", "actual", "sums"),
    [
        ("settle", "5.5", "0.5"),
        ("settle", "5", "0"),
        ("settle", "0", "0"),
        ("settle", "9", "4"),
        ("presume", "", "3"),
        ("release", "", "0"),
    ],
)
def test_what_was_added_is_given_back_once(
    ledger: Ledger, end: str, actual: str, sums: str
) -> None:
    """A limit set since counts what the hold grew by, and of the cost what is above the rest."""
    ledger.set_budget("acme", limits=["100 usd per day"])
    ledger.reserve("acme", 5, key="x")
    ledger.set_budget("acme", limits=["100 usd per day", "10 usd total"])
    ledger.extend("x", 1)
    ledger.extend("x", 2)
    day, total = ledger.balances("acme")
    assert (str(day.held), str(total.held)) == ("8", "3")
    arguments = (actual,) if actual else ()
    getattr(ledger, end)("x", *arguments)
    if end == "presume":
        assert str(ledger.balances("acme")[1].settled) == sums
        ledger.settle("x", 6)
        sums = "1"
    day, total = ledger.balances("acme")
    assert (str(total.settled), str(total.held)) == (sums, "0")
    assert ledger.audit().problems == ()


def test_a_tokens_limit_set_since_counts_the_tokens_that_are_added(ledger: Ledger) -> None:
    """Nobody counted tokens before; who names none now is refused."""
    ledger.set_budget("acme", limits=["100 usd per day"])
    ledger.reserve("acme", 5, key="x")
    ledger.set_budget("acme", limits=["100 usd per day", "10 tokens per day"])
    with pytest.raises(BudgetExceeded) as refused:
        ledger.extend("x", 1)
    assert refused.value.reason is Reason.UNPRICED
    ledger.extend("x", 1, units={"tokens": 4})
    assert standing(ledger, "acme", "tokens") == ("10", "0", "4", "6")
    ledger.settle("x", 6, units={"tokens": 3})
    assert standing(ledger, "acme", "tokens") == ("10", "3", "0", "7")


def test_a_limit_lowered_since_binds_what_grows_of_yesterday(
    ledger: Ledger, clock: ManualClock
) -> None:
    """It grows in its own interval, under the limit of now; today's account is another."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.reserve("acme", 1, key="x", deadline="3d")
    clock.advance(timedelta(days=1))
    ledger.set_budget("acme", limits=["2 usd per day"])
    with pytest.raises(BudgetExceeded):
        ledger.extend("x", "1.01")
    ledger.extend("x", 1)
    assert standing(ledger, "acme") == ("2", "0", "0", "2")


def test_a_budget_above_that_was_paused_since_binds_what_grows(ledger: Ledger) -> None:
    """Also one that was made since."""
    ledger.set_budget("acme/agent", limits=["10 usd per day"])
    ledger.reserve("acme/agent", 1, key="x")
    ledger.set_budget("acme")
    ledger.pause("acme")
    with pytest.raises(BudgetExceeded) as refused:
        ledger.extend("x", 1)
    assert refused.value.reason is Reason.PAUSED


def test_what_grew_under_a_new_limit_survives_a_restart(
    open_store: Callable[[], Ledger],
) -> None:
    """Which account counts which part is in the store."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["100 usd per day"])
    ledger.reserve("acme", 5, key="x")
    ledger.set_budget("acme", limits=["100 usd per day", "10 usd total"])
    ledger.extend("x", 3)
    again = open_store()
    again.settle("x", 7)
    assert [str(each.settled) for each in again.balances("acme")] == ["7", "2"]
    assert again.audit().problems == ()
