"""The rules as tables: what stands, what is asked, what comes out; no store, no clock."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from earmark.clock import END_OF_TIME
from earmark.errors import Reason
from earmark.ledger.alerting import mark_alerted
from earmark.ledger.rules import decide
from earmark.ledger.values import (
    AS_HELD,
    Accepted,
    Account,
    Amounts,
    Decision,
    Extend,
    LimitWindow,
    OnReservation,
    Presume,
    Refused,
    Release,
    Repeated,
    Reservation,
    Reserve,
    Scope,
    Settle,
    State,
)
from earmark.money import LARGEST_LIMIT_NANOS, LARGEST_NANOS, LARGEST_SUM

NOW, SEQ = 1_000_000, 42


def account(
    limit: int, settled: int = 0, held: int = 0, *, unit: str = "usd", number: int = 1
) -> Account:
    """Return an account of the budget `a` without alerts."""
    return Account(LimitWindow(number, "a", unit, "day", 0, 10**18, limit), settled, held)


def stands(
    state: State, hold: int = 5, actual: int | None = None, tokens: int | None = None
) -> Reservation:
    """Return a reservation `k` of *hold* in *state*."""
    held = Amounts(hold, 1, tokens)
    told = None if actual is None else Amounts(actual, 1, tokens)
    return Reservation("k", "a", held, held, state, (1,), 1, 2, 0, told, "", 7, 9)


def check(
    accounts: tuple[Account, ...], known: Reservation | None, op: OnReservation, outcome: str
) -> Decision:
    """Assert that *op* comes out as *outcome*: its kind, then what each account has afterwards."""
    decision = decide(scope(*accounts), known, op, NOW, SEQ)
    assert outline(decision, accounts) == outcome
    return decision


def scope(*accounts: Account) -> Scope:
    """Return *accounts* as what stands above a path."""
    return Scope(accounts, tuple(each.id for each in accounts))


def outline(decision: Decision, accounts: tuple[Account, ...]) -> str:
    """Return a decision on *accounts* in one short line."""
    match decision:
        case Accepted():
            settled = decision.settled or [each.settled for each in accounts]
            sums = " ".join(f"{s}+{h}" for s, h in zip(settled, decision.held, strict=False))
            state = decision.reservation.state if decision.reservation else ""
            return f"{state} {sums}".strip()
        case Repeated():
            return "repeated"
        case Refused(why="exceeded"):
            where = decision.account.line.id if decision.account else 0
            return f"{decision.reason} at {where}"
        case Refused():
            return decision.why


def reserve(usd: int, calls: int = 1, tokens: int | None = None) -> Reserve:
    """Return the reservation of *usd* nano-dollars as `k` under `a`."""
    return Reserve("k", "a", Amounts(usd, calls, tokens), 60)


RESERVES: list[tuple[tuple[Account, ...], Reserve, str]] = [
    ((account(10),), reserve(10), "open 0+10"),
    ((account(10),), reserve(0), "open 0+0"),
    ((account(10, 3, 4),), reserve(3), "open 3+7"),
    ((account(10, 3, 4),), reserve(4), "held at 1"),
    ((account(10, 7, 0),), reserve(4), "exhausted at 1"),
    ((account(10, 4, 4),), reserve(6), "held at 1"),
    ((account(10, 4, 4),), reserve(7), "exhausted at 1"),
    ((account(10),), reserve(11), "too_large at 1"),
    ((account(0),), reserve(1), "too_large at 1"),
    ((account(0),), reserve(0), "open 0+0"),
    ((account(10, 12, 0),), reserve(0), "exhausted at 1"),
    ((account(10, 0, 12),), reserve(0), "held at 1"),
    ((account(3, unit="calls"),), reserve(99), "open 0+1"),
    ((account(3, 2, 1, unit="calls"),), reserve(0), "held at 1"),
    ((account(3, unit="calls"),), reserve(0, calls=4), "too_large at 1"),
    ((account(9, unit="tokens"),), reserve(5), "unpriced at 1"),
    ((account(9, unit="tokens"),), reserve(5, tokens=9), "open 0+9"),
    ((account(9, unit="tokens"),), reserve(5, tokens=0), "open 0+0"),
    ((account(5), account(9, number=2)), reserve(5), "open 0+5 0+5"),
    ((account(5), account(9, 6, number=2)), reserve(5), "exhausted at 2"),
    ((account(5, 0, 3), account(9, 6, number=2)), reserve(5), "exhausted at 2"),
    ((account(5, 0, 3), account(4, number=2)), reserve(5), "too_large at 2"),
    ((account(5, 0, 3), account(9, 0, 6, number=2)), reserve(5), "held at 1"),
    ((account(5, 5), account(9, unit="tokens", number=2)), reserve(5), "unpriced at 2"),
    ((account(LARGEST_LIMIT_NANOS),), reserve(LARGEST_NANOS), f"open 0+{LARGEST_NANOS}"),
    ((), reserve(1), "no_budget"),
]


@pytest.mark.parametrize(("accounts", "op", "outcome"), RESERVES)
def test_what_a_reserve_comes_to(accounts: tuple[Account, ...], op: Reserve, outcome: str) -> None:
    """A new reservation is held on all accounts, or refused at the one that lasts longest."""
    check(accounts, None, op, outcome)


@pytest.mark.parametrize(("accounts", "op", "outcome"), RESERVES)
def test_an_observed_tree_accepts_what_a_limit_would_refuse(
    accounts: tuple[Account, ...], op: Reserve, outcome: str
) -> None:
    """With what refuses it elsewhere as its mark; all else is decided as everywhere."""
    refused = check(accounts, None, op, outcome)
    decision = decide(replace(scope(*accounts), observed=True), None, op, NOW, SEQ)
    if not isinstance(refused, Refused) or refused.reason in {None, Reason.UNPRICED}:
        assert decision == refused
        return
    assert isinstance(decision, Accepted)
    added = [held - each.held for held, each in zip(decision.held, accounts, strict=True)]
    assert added == [getattr(op.amounts, each.line.unit) for each in accounts]
    mark, account = decision.entry.would_refuse, refused.account
    assert mark is not None
    assert mark == decision.would_refuse
    assert account is not None
    assert (mark.reason, mark.budget) == (refused.reason, account.line.budget)
    assert mark.over == refused.requested - account.available > 0


def test_an_observed_tree_refuses_what_no_account_can_count() -> None:
    """However little of it there is: every open reservation can be presumed."""
    observed = replace(scope(account(10, LARGEST_SUM - 9, 5)), observed=True)
    assert isinstance(decide(observed, None, reserve(4), NOW, SEQ), Accepted)
    refused = decide(observed, None, reserve(5), NOW, SEQ)
    assert isinstance(refused, Refused)
    assert refused.why == "uncountable"


_FULL = (account(10, 3, 5),)
_SPENT = (account(10, 8, 0),)
_BOOKED = (account(10, 5, 0),)
_OVER = (account(10, 9, 5),)

#: Open, and not past its deadline.
living = replace(stands("open"), expires=NOW + 1)

TRANSITIONS: list[tuple[Reservation | None, OnReservation, tuple[Account, ...], str]] = [
    # open, holding 5 of the 8 that are used
    (stands("open"), reserve(5), _FULL, "repeated"),
    (stands("open"), reserve(6), _FULL, "key_reused"),
    (stands("open"), Reserve("k", "b", Amounts(5), 60), _FULL, "key_reused"),
    (stands("open"), Settle("k", Amounts(2, AS_HELD)), _FULL, "settled 5+0"),
    (stands("open"), Settle("k", Amounts(0, AS_HELD)), _FULL, "settled 3+0"),
    (stands("open"), Settle("k", Amounts(99, AS_HELD)), _FULL, "settled 102+0"),
    (stands("open"), Release("k"), _FULL, "released 3+0"),
    (stands("open"), Presume("k"), _FULL, "presumed 8+0"),
    (stands("open"), Presume("k", known=Amounts(4)), _FULL, "presumed 8+0"),
    (stands("open"), Presume("k", known=Amounts(7)), _FULL, "presumed 10+0"),
    (stands("open"), Extend("k", Amounts(2, 0), "x"), _FULL, "open 3+7"),
    (stands("open"), Extend("k", Amounts(3, 0), "x"), _FULL, "exhausted at 1"),
    (stands("open"), Extend("k", Amounts(2, 0), "x", 60), _FULL, "closed"),
    (living, Extend("k", Amounts(2, 0), "x", 60), _FULL, "open 3+7"),
    (living, Extend("k", Amounts(3, 0), "x", 60), _FULL, "exhausted at 1"),
    (living, Extend("k", Amounts(0, 0), "x", 60), _OVER, "open"),
    (living, Extend("k", Amounts(0, 0), "x", END_OF_TIME), _FULL, "too_late"),
    (replace(living, expires=NOW), Extend("k", Amounts(0, 0), "x", 60), _FULL, "closed"),
    # settled at 5
    (stands("settled", actual=5), reserve(5), _BOOKED, "repeated"),
    (stands("settled", actual=5), Settle("k", Amounts(5, AS_HELD)), _BOOKED, "repeated"),
    (stands("settled", actual=5), Settle("k", Amounts(4, AS_HELD)), _BOOKED, "key_reused"),
    (stands("settled", actual=5), Settle("k", Amounts(5, 2)), _BOOKED, "key_reused"),
    (stands("settled", actual=5), Release("k"), _BOOKED, "closed"),
    (stands("settled", actual=5), Presume("k"), _BOOKED, "closed"),
    (stands("settled", actual=5), Extend("k", Amounts(0, 0), "x"), _BOOKED, "closed"),
    # released
    (stands("released", actual=0), reserve(5), _BOOKED, "repeated"),
    (stands("released", actual=0), Release("k"), _BOOKED, "repeated"),
    (stands("released", actual=0), Settle("k", Amounts(0, AS_HELD)), _BOOKED, "closed"),
    (stands("released", actual=0), Presume("k"), _BOOKED, "closed"),
    (stands("released", actual=0), Extend("k", Amounts(0, 0), "x"), _BOOKED, "closed"),
    # presumed to have cost its 5
    (stands("presumed", actual=5), reserve(5), _SPENT, "repeated"),
    (stands("presumed", actual=5), Presume("k"), _SPENT, "repeated"),
    (stands("presumed", actual=5), Presume("k", known=Amounts(5)), _SPENT, "repeated"),
    (stands("presumed", actual=5), Presume("k", known=Amounts(6)), _SPENT, "presumed 9+0"),
    (stands("presumed", actual=5), Settle("k", Amounts(2, AS_HELD)), _SPENT, "settled 5+0"),
    (stands("presumed", actual=5), Settle("k", Amounts(5, AS_HELD)), _SPENT, "settled 8+0"),
    (stands("presumed", actual=5), Settle("k", Amounts(9, AS_HELD)), _SPENT, "settled 12+0"),
    (stands("presumed", actual=5), Release("k"), _SPENT, "released 3+0"),
    (stands("presumed", actual=5), Extend("k", Amounts(0, 0), "x"), _SPENT, "closed"),
    # never opened
    (None, Settle("k", Amounts(1, AS_HELD)), (), "not_found"),
    (None, Release("k"), (), "not_found"),
    (None, Presume("k"), (), "not_found"),
    (None, Extend("k", Amounts(1, 0), "x"), (), "not_found"),
]


@pytest.mark.parametrize(("known", "op", "accounts", "outcome"), TRANSITIONS)
def test_what_becomes_of_a_reservation(
    known: Reservation | None, op: OnReservation, accounts: tuple[Account, ...], outcome: str
) -> None:
    """Each operation on each state: a new state and new sums, the first answer, or a refusal."""
    check(accounts, known, op, outcome)


def test_an_entry_continues_its_reservation() -> None:
    """The entry carries its number, its instant, the operation's amounts and the entry before."""
    decision = check(_FULL, stands("open"), Settle("k", Amounts(2, AS_HELD)), "settled 5+0")
    assert isinstance(decision, Accepted)
    entry = decision.entry
    assert (entry.seq, entry.at, entry.kind, entry.prior) == (SEQ, NOW, "settle", 9)
    assert entry.amounts == Amounts(2, 1, None)
    assert decision.reservation is not None
    assert (decision.reservation.last, decision.reservation.closed) == (SEQ, NOW)


def test_units_not_told_are_those_held() -> None:
    """A settlement that tells dollars only settles the calls and tokens that were held."""
    known = stands("open", tokens=7)
    spent = account(100, 0, 7, unit="tokens")
    check((spent,), known, Settle("k", Amounts(1, AS_HELD)), "settled 7+0")
    check((spent,), known, Settle("k", Amounts(1, AS_HELD, 3)), "settled 3+0")


def thresholds(settled: int, alerted: int, limit: int = 100) -> Account:
    """Return an account that alerts at 50 %, 80 % and 100 %."""
    line = LimitWindow(1, "a", "usd", "day", 0, 10**18, limit, (500_000, 800_000, 1_000_000))
    due = [ppm for ppm in line.thresholds if ppm > alerted]
    alert_at = -(-limit * due[0] // 1_000_000) if due else 1 << 62
    return Account(line, settled, 5, alerted, line.limit, alert_at)


@pytest.mark.parametrize(
    ("settled", "alerted", "cost", "told"),
    [
        (0, 0, 49, []),
        (0, 0, 50, [500_000]),
        (0, 0, 79, [500_000]),
        (0, 0, 80, [500_000, 800_000]),
        (0, 0, 1000, [500_000, 800_000, 1_000_000]),
        (50, 500_000, 29, []),
        (50, 500_000, 30, [800_000]),
        (99, 800_000, 0, []),
        (99, 800_000, 1, [1_000_000]),
        (100, 1_000_000, 50, []),
    ],
)
def test_which_thresholds_a_settlement_crosses(
    settled: int, alerted: int, cost: int, told: list[int]
) -> None:
    """Each threshold reached and not told before is told by the settlement that reaches it."""
    account = thresholds(settled, alerted)
    op = Settle("k", Amounts(cost, AS_HELD))
    decision = decide(scope(account), stands("open"), op, NOW, SEQ)
    assert isinstance(decision, Accepted)
    assert [alert.threshold for alert in decision.alerts] == told
    assert {alert.settled for alert in decision.alerts} <= {settled + cost}
    assert (account.alerted, account.alerted_of) == (alerted, account.line.limit)
    for alert in decision.alerts:
        mark_alerted(account, alert)
    again = Settle("k", Amounts(cost, AS_HELD))
    decision = decide(scope(account), stands("open"), again, NOW, SEQ)
    assert isinstance(decision, Accepted)
    assert decision.alerts == ()


def test_a_threshold_is_rounded_up() -> None:
    """80 % of 7 nano-dollars is reached at 6, not at 5."""
    line = LimitWindow(1, "a", "usd", "day", 0, 10**18, 7, (800_000,))
    at_risk = Account(line, 0, 5, 0, 0, 6)
    for cost, told in ((5, 0), (6, 1)):
        op = Settle("k", Amounts(cost, AS_HELD))
        decision = decide(scope(at_risk), stands("open"), op, NOW, SEQ)
        assert isinstance(decision, Accepted)
        assert len(decision.alerts) == told


AMOUNT = st.integers(0, 30)


@given(
    st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT), min_size=1, max_size=5),
    AMOUNT,
    st.sampled_from([None, "open"]),
)
def test_nothing_is_admitted_over_a_limit(
    rows: list[tuple[int, int, int]], amount: int, state: Any
) -> None:
    """Accepted, a reserve or an extension fits every account; refused, it fits not all of them."""
    accounts = tuple(account(*row, number=n) for n, row in enumerate(rows))
    known = None if state is None else stands("open")
    op = reserve(amount) if known is None else Extend("k", Amounts(amount, 0), "x")
    decision = decide(scope(*accounts), known, op, NOW, SEQ)
    fits = all(amount <= limit - settled - held for limit, settled, held in rows)
    assert isinstance(decision, Accepted) is fits
    if isinstance(decision, Accepted):
        pairs = zip(accounts, decision.held, strict=True)
        assert all(a.settled + held <= a.line.limit for a, held in pairs)
    else:
        assert isinstance(decision, Refused)
        assert decision.reason in {Reason.TOO_LARGE, Reason.EXHAUSTED, Reason.HELD}


@given(AMOUNT, AMOUNT, AMOUNT, st.sampled_from(["settle", "release", "presume"]))
def test_closing_moves_exactly_the_hold(hold: int, other: int, cost: int, act: str) -> None:
    """Closing takes the hold away once and settles the cost; other holds stay."""
    acts: dict[str, tuple[OnReservation, int]] = {
        "settle": (Settle("k", Amounts(cost, AS_HELD)), cost),
        "release": (Release("k"), 0),
        "presume": (Presume("k"), hold),
    }
    op, settled = acts[act]
    before = account(0, 3, hold + other)
    decision = decide(scope(before), stands("open", hold), op, NOW, SEQ)
    assert isinstance(decision, Accepted)
    assert (decision.settled, decision.held) == ((3 + settled,), (other,))
    assert before == account(0, 3, hold + other)
